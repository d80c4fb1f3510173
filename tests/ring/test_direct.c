/* SPDX-License-Identifier: MIT */
/*
 * test_direct.c - files for O_DIRECT, and the memory for them.
 */
#include "tests/ring/files_fixture.h"

/* NULL where the file system has no O_DIRECT. */
static struct weir_file *open_direct(const char *name)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT, .direct = true };
	struct weir_file *file;
	int r = weir_file_open(NULL, in_root(name), &opts, &file);

	if (r == -EINVAL)
		return NULL;
	assert_int_equal(r, 0);
	return file;
}

static void direct_files_use_the_rings_table_and_memory(void)
{
	struct weir_file *file = open_direct("a");
	char *buf = weir_aligned_alloc(8192);
	char *plain = NULL;
	struct weir_stat stat;

	if (!file)
		return ring_test_skip("no O_DIRECT here");
	assert_int_equal(posix_memalign((void **)&plain, 4096, 8192), 0);
	assert_int_equal(files_info().open_direct, 1);
	assert_int_equal(files_info().pool_size, WEIR_ALIGNED_POOL);
	memset(buf, 'd', 8192);
	assert_int_equal(weir_file_write_all(file, buf, 8192, 0), 0);
	memset(buf, 0, 8192);
	assert_int_equal(weir_file_read_exact(file, buf, 8192, 0), 0);
	assert_int_equal(buf[8191], 'd');
	assert_int_equal(weir_file_read_exact(file, plain, 8192, 0), 0);
	assert_memory_equal(plain, buf, 8192);
	assert_int_equal(weir_file_readv(file, &(struct iovec){ plain, 4096 }, 1, 4096), 4096);
	assert_int_equal(weir_file_writev(file, &(struct iovec){ plain, 4096 }, 1, 8192), 4096);
	assert_int_equal(weir_file_sync(file), 0);
	assert_int_equal(weir_file_allocate(file, 0, 0, 65536), 0);
	assert_int_equal(weir_file_truncate(file, 4096), 0);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.size, 4096);
	free(plain);
	weir_aligned_free(buf, 8192);
	assert_int_equal(weir_file_close(file), 0);
	assert_int_equal(files_info().open_direct, 0);
}

static void unaligned_direct_transfers_are_refused_and_the_remedy_is_told(void)
{
	struct weir_file *file = open_direct("a");
	char *buf = weir_aligned_alloc(8192);
	struct weir_stat stat;

	if (!file)
		return ring_test_skip("no O_DIRECT here");
	assert_int_equal(weir_file_stat(file, &stat), 0);
	if (stat.offset_align <= 1)
		return ring_test_skip("any alignment will do here");
	assert_int_equal(weir_file_write_all(file, buf, 8192, 0), 0);
	assert_int_equal(weir_file_read(file, buf + 1, 4096, 0), -EINVAL);
	assert_int_equal(weir_file_read(file, buf, 4096, 1), -EINVAL);
	assert_int_equal(weir_file_read(file, buf, 100, 0), -EINVAL);
	assert_int_equal(weir_file_write(file, buf, 100, 0), -EINVAL);
	assert_int_equal(weir_file_read(file, buf, stat.offset_align, stat.offset_align),
			 stat.offset_align);
	weir_aligned_free(buf, 8192);
	weir_file_close(file);
}

static void a_full_table_leaves_direct_files_their_descriptors(void)
{
	struct weir_file *files[20];
	char *buf = weir_aligned_alloc(4096);
	char name[8];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%d", i);
		files[i] = open_direct(name);
		if (!files[i])
			return ring_test_skip("no O_DIRECT here");
		memset(buf, i, 4096);
		assert_int_equal(weir_file_write_all(files[i], buf, 4096, 0), 0);
	}
	assert_int_equal(files_info().open_direct, 16);
	assert_int_equal(files_info().direct_error, -ENFILE);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(weir_file_read_exact(files[i], buf, 4096, 0), 0);
		assert_int_equal(buf[0], i);
		assert_int_equal(weir_file_close(files[i]), 0);
	}
	assert_int_equal(files_info().open_direct, 0);
	weir_aligned_free(buf, 4096);
}

/* Runs the body in *state on a ring whose table holds 16 files. */
static void with_a_small_table(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();
	void (*body)(void) = (void (*)(void))(uintptr_t)*state;

	fixture.ring.direct_max = 16;
	assert_int_equal(on_ring_with(&fixture, ring_test_body, &body), 0);
}

static void aligned_memory_comes_back_to_the_pool(void)
{
	char *whole, *part[4];

	for (int i = 0; i < 4; i++) {
		part[i] = weir_aligned_alloc(5000);
		assert_non_null(part[i]);
		assert_int_equal((uintptr_t)part[i] % 4096, 0);
		memset(part[i], i, 5000);
	}
	assert_int_equal(files_info().pool_used, 4 * 8192);
	weir_aligned_free(part[1], 5000);
	weir_aligned_free(part[2], 5000);
	whole = weir_aligned_alloc(16384);
	assert_ptr_equal(whole, part[1]);
	weir_aligned_free(whole, 16384);
	weir_aligned_free(part[0], 5000);
	weir_aligned_free(part[3], 5000);
	assert_int_equal(files_info().pool_used, 0);

	whole = weir_aligned_alloc(WEIR_ALIGNED_POOL);
	assert_int_equal(files_info().pool_used, WEIR_ALIGNED_POOL);
	part[0] = weir_aligned_alloc(4096);	/* ordinary memory now */
	assert_non_null(part[0]);
	assert_int_equal((uintptr_t)part[0] % 4096, 0);
	part[0][4095] = 1;
	weir_aligned_free(part[0], 4096);
	weir_aligned_free(whole, WEIR_ALIGNED_POOL);
	assert_null(weir_aligned_alloc(0));
	assert_null(weir_aligned_alloc(SIZE_MAX));
	weir_aligned_free(NULL, 1);
}

static void the_pool_is_as_large_as_may_be_locked(void)
{
	char *buf;

	bent.register_max = 1 << 20;
	buf = weir_aligned_alloc(4096);
	assert_non_null(buf);
	assert_int_equal(files_info().pool_size, 1 << 20);
	assert_int_equal(files_info().pool_error, -ENOMEM);
	weir_aligned_free(buf, 4096);
}

static void without_lockable_memory_direct_files_work(void)
{
	struct weir_file *file = open_direct("a");
	char *buf;

	if (!file)
		return ring_test_skip("no O_DIRECT here");
	bent.register_max = 1;
	buf = weir_aligned_alloc(4096);
	assert_int_equal(files_info().pool_size, 0);
	assert_int_equal(files_info().pool_error, -ENOMEM);
	memset(buf, 'x', 4096);
	assert_int_equal(weir_file_write_all(file, buf, 4096, 0), 0);
	assert_int_equal(weir_file_read_exact(file, buf, 4096, 0), 0);
	weir_aligned_free(buf, 4096);
	weir_file_close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(direct_files_use_the_rings_table_and_memory),
		in_dir(unaligned_direct_transfers_are_refused_and_the_remedy_is_told),
		in_dir_by(a_full_table_leaves_direct_files_their_descriptors, with_a_small_table),
		in_dir(aligned_memory_comes_back_to_the_pool),
		bent_in_dir(the_pool_is_as_large_as_may_be_locked),
		bent_in_dir(without_lockable_memory_direct_files_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
