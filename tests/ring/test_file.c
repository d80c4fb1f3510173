/* SPDX-License-Identifier: MIT */
/*
 * test_file.c - reading, writing and syncing files.
 */
#include <linux/falloc.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "tests/ring/files_fixture.h"

static uint64_t ops_so_far(void)
{
	return weir__ring_self()->ops;
}

/* --- reading and writing --- */

static void what_is_written_is_read_back(void)
{
	struct weir_file *file = open_new("a");
	char buf[32] = "";

	assert_int_equal(weir_file_write(file, "hello world", 11, 0), 11);
	assert_int_equal(weir_file_read(file, buf, sizeof(buf), 6), 5);
	assert_string_equal(buf, "world");
	assert_int_equal(weir_file_read(file, buf, sizeof(buf), 11), 0);
	assert_int_equal(weir_file_close(file), 0);
}

static void several_buffers_are_read_and_written_in_order(void)
{
	struct weir_file *file = open_new("a");
	char one[4] = "", two[8] = "";
	struct iovec out[] = { { (void *)"abc", 3 }, { (void *)"defgh", 5 } };
	struct iovec in[] = { { one, 2 }, { two, 6 } };

	assert_int_equal(weir_file_writev(file, out, 2, 0), 8);
	assert_int_equal(weir_file_readv(file, in, 2, 0), 8);
	assert_string_equal(one, "ab");
	assert_memory_equal(two, "cdefgh", 6);
	weir_file_close(file);
}

static void a_file_has_a_position_of_its_own(void)
{
	struct weir_file *file = open_new("a");
	char buf[8] = "";

	assert_int_equal(weir_file_write(file, "abcdef", 6, 0), 6);
	assert_int_equal(weir_file_read(file, buf, 3, -1), 3);
	assert_int_equal(weir_file_read(file, buf, 3, -1), 3);
	assert_memory_equal(buf, "def", 3);
	weir_file_close(file);
}

static void a_hot_read_does_not_use_the_ring(void)
{
	struct weir_file *file = open_new("a");
	char buf[4096] = "x";
	uint64_t ops;

	assert_int_equal(weir_file_write_all(file, buf, sizeof(buf), 0), 0);
	ops = ops_so_far();
	assert_int_equal(weir_file_read(file, buf, sizeof(buf), 0), sizeof(buf));
	assert_int_equal(ops_so_far(), ops);
	assert_true(files_info().hot > 0);
	weir_file_close(file);
}

static void a_cold_read_goes_through_the_ring(void)
{
	struct weir_file *file = open_new("a");
	char out[4096], in[4096];
	uint64_t ops;

	memset(out, 'c', sizeof(out));
	assert_int_equal(weir_file_write_all(file, out, sizeof(out), 0), 0);
	assert_int_equal(weir_file_sync(file), 0);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_DONTNEED);
	ops = ops_so_far();
	assert_int_equal(weir_file_read(file, in, sizeof(in), 0), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	if (files_info().cold_reads)
		assert_int_equal(ops_so_far(), ops + 1);
	else
		ring_test_skip("this file system keeps its pages");
	weir_file_close(file);
}

/* Reads three pages that were just dropped. Returns how many were tried without the ring. */
static unsigned tries_of_three(struct weir_file *file)
{
	uint64_t before;
	char page[4096];

	for (int i = 0; i < 32; i++)
		assert_int_equal(weir_file_read(file, page, sizeof(page), 0), 4096);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_DONTNEED);
	before = files_info().cold_reads;
	for (int i = 0; i < 3; i++)
		assert_int_equal(weir_file_read(file, page, sizeof(page), i * 2 * 4096), 4096);
	return (unsigned)(files_info().cold_reads - before);
}

static void after_misses_attempts_are_spared_until_a_hit(void)
{
	struct weir_file *file = open_new("a");
	char page[4096] = "";
	unsigned tries = 0;

	for (int i = 0; i < 64; i++)
		assert_int_equal(weir_file_write_all(file, page, sizeof(page), i * 4096), 0);
	assert_int_equal(weir_file_sync(file), 0);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_RANDOM);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_DONTNEED);
	for (int i = 0; i < 32; i++)
		assert_int_equal(weir_file_read(file, page, sizeof(page), i * 2 * 4096), 4096);
	if (!files_info().cold_reads)
		return ring_test_skip("this file system keeps its pages");
	assert_in_range(files_info().cold_reads, 3, 16);	/* 5 when every page was dropped */
	for (int i = 0; i < 32; i++)	/* hits, but for the first that are spared */
		assert_int_equal(weir_file_read(file, page, sizeof(page), i * 2 * 4096), 4096);
	/* A miss, one that is spared, a miss: unless the kernel kept a page, so a few times. */
	for (int i = 0; i < 10 && tries != 2; i++)
		tries = tries_of_three(file);
	assert_int_equal(tries, 2);
	weir_file_close(file);
}

static void memory_files_never_use_the_ring(void)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT | O_TRUNC };
	struct weir_file *file;
	struct statfs fs;
	char path[64], buf[16] = "";
	uint64_t ops;

	if (statfs("/dev/shm", &fs) || fs.f_type != TMPFS_MAGIC)
		return ring_test_skip("/dev/shm is no tmpfs");
	snprintf(path, sizeof(path), "/dev/shm/weir-test-%d", (int)getpid());
	assert_int_equal(weir_file_open(NULL, path, &opts, &file), 0);
	ops = ops_so_far();
	assert_int_equal(weir_file_write_all(file, "in memory", 9, 0), 0);
	assert_int_equal(weir_file_read(file, buf, sizeof(buf), 3), 6);
	assert_string_equal(buf, "memory");
	assert_int_equal(ops_so_far(), ops);
	weir_file_close(file);
	unlink(path);
}

static int count_turns(void *arg)
{
	unsigned *turns = arg;

	while (!weir_yield())
		(*turns)++;
	return 0;
}

static void a_reader_of_hot_pages_lets_others_run(void)
{
	struct weir_file *file = open_new("a");
	struct weir_coro *other;
	unsigned turns = 0;
	char byte = 'x';

	assert_int_equal(weir_file_write_all(file, &byte, 1, 0), 0);
	assert_int_equal(weir_coro_spawn(NULL, count_turns, &turns, &other), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(weir_file_read(file, &byte, 1, 0), 1);
	assert_true(turns >= 10);
	weir_coro_cancel(other);
	assert_int_equal(weir_coro_join(other, WEIR_NEVER, NULL), 0);
	weir_file_close(file);
}

static void read_exact_tells_a_short_file_from_an_error(void)
{
	struct weir_file *file = open_new("a");
	char buf[16] = "";

	assert_int_equal(weir_file_write_all(file, "0123456789", 10, 0), 0);
	assert_int_equal(weir_file_read_exact(file, buf, 10, 0), 0);
	assert_int_equal(weir_file_read_exact(file, buf, 8, 4), -ENODATA);
	assert_memory_equal(buf, "456789", 6);
	weir_file_close(file);
}

/* Short reads and writes through the ring are continued (traps: a short write treated as done). */
static void short_transfers_are_continued(void)
{
	struct weir_file *file = open_new("a");
	char out[10000], in[10000];

	bent.size_max = 3000;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)i;
	assert_int_equal(weir_file_write(file, out, sizeof(out), 0), 3000);
	assert_int_equal(weir_file_write_all(file, out, sizeof(out), 0), 0);
	assert_int_equal(weir_file_sync(file), 0);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_DONTNEED);
	assert_int_equal(weir_file_read_exact(file, in, sizeof(in), 0), 0);
	assert_memory_equal(in, out, sizeof(in));
	weir_file_close(file);
}

static void interrupt_next(unsigned opcode, unsigned times)
{
	bent.opcode = opcode;
	bent.res = -EINTR;
	bent.hits = 0;
	bent.hits_max = times;
}

/* The kernel cannot restart what a signal interrupted: it says -EINTR, and nothing was moved. */
static void a_transfer_that_a_signal_interrupts_is_tried_again(void)
{
	struct weir_file *file = open_new("a");
	char text[] = "0123456789", in[10];
	const struct iovec from = { text, 10 }, to = { in, 10 };

	interrupt_next(IORING_OP_WRITE, 3);
	assert_int_equal(weir_file_write(file, text, 10, 0), 10);
	assert_int_equal(bent.hits, 3);
	interrupt_next(IORING_OP_WRITEV, 3);
	assert_int_equal(weir_file_writev(file, &from, 1, 10), 10);
	assert_int_equal(bent.hits, 3);
	bent.opcode = 0;
	assert_int_equal(weir_file_sync(file), 0);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_DONTNEED);
	file->skip = 15;	/* to the ring */
	interrupt_next(IORING_OP_READ, 3);
	assert_int_equal(weir_file_read(file, in, 10, 0), 10);
	assert_int_equal(bent.hits, 3);
	interrupt_next(IORING_OP_READV, 15);
	assert_int_equal(weir_file_readv(file, &to, 1, 10), 10);
	assert_memory_equal(in, text, 10);
	/* Bounded: a kernel that says so for ever is believed. */
	interrupt_next(IORING_OP_READ, 0);
	assert_int_equal(weir_file_read(file, in, 10, 0), -EINTR);
	assert_int_equal(bent.hits, 16);
	weir_file_close(file);
}

static void a_full_disk_ends_write_all_with_its_error(void)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT };
	struct weir_file *file;
	struct weir_stat stat;
	static char data[256 << 10];

	if (mount("weir-test", root_path, "tmpfs", 0, "size=64k") < 0)
		return ring_test_skip("cannot mount a small tmpfs");
	assert_int_equal(weir_file_open(NULL, in_root("full"), &opts, &file), 0);
	assert_int_equal(weir_file_write_all(file, data, sizeof(data), 0), -ENOSPC);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_true(stat.size > 0 && stat.size <= 64 << 10);
	assert_int_equal(weir_file_write_all(file, data, 100, 0), 0);
	assert_int_equal(weir_file_close(file), 0);
	assert_int_equal(umount(root_path), 0);
}

static void the_size_limit_ends_write_all_with_its_error(void)
{
	struct weir_file *file = open_new("a");
	struct rlimit old, limit;
	char data[10000] = "";
	struct weir_stat stat;
	int r;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){ .rlim_cur = 6000, .rlim_max = old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &limit);
	r = weir_file_write_all(file, data, sizeof(data), 0);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.size, 6000);
	weir_file_close(file);
}

#ifndef WEIR_DEBUG
static void arguments_out_of_range_are_refused(void)
{
	struct weir_file *file = open_new("a");
	struct iovec iov[1] = { { NULL, 0 } };
	char byte = 0;

	assert_int_equal(weir_file_readv(file, iov, 1025, 0), -EINVAL);
	assert_int_equal(weir_file_writev(file, iov, 1025, 0), -EINVAL);
	assert_int_equal(weir_file_read_exact(file, &byte, 1, -1), -EINVAL);
	assert_int_equal(weir_file_write_all(file, &byte, 1, -1), -EINVAL);
	assert_int_equal(weir_file_truncate(file, -1), -EINVAL);
	weir_file_close(file);
}
#endif

static void offsets_the_kernel_refuses_are_its_errors(void)
{
	struct weir_file *file = open_new("a");
	char byte = 0;

	assert_int_equal(weir_file_read(file, &byte, 1, -2), -EINVAL);
	assert_int_equal(weir_file_write(file, &byte, 1, -2), -EINVAL);
	assert_int_equal(weir_file_write(file, &byte, 1, INT64_C(1) << 60), -EFBIG);
	assert_int_equal(weir_file_allocate(file, 0, -5, 10), -EINVAL);
	weir_file_close(file);
}

static void bad_memory_is_an_error(void)
{
	struct weir_file *file = open_new("a");

	assert_int_equal(weir_file_write_all(file, "0123456789", 10, 0), 0);
	assert_int_equal(weir_file_read(file, (void *)8, 10, 0), -EFAULT);
	weir_file_close(file);
}

/* --- durability --- */

/* fsyncgate: an fsync that failed was tried again and "succeeded". */
static void a_failed_sync_fails_the_file_for_good(void)
{
	struct weir_file *file = open_new("a");
	char byte = 'x';

	bent.opcode = IORING_OP_FSYNC;
	bent.res = -EIO;
	assert_int_equal(weir_file_write(file, &byte, 1, 0), 1);
	assert_int_equal(weir_file_datasync(file), -EIO);
	assert_true(weir_file_is_failed(file));
	bent.opcode = 0;
	assert_int_equal(weir_file_sync(file), -EIO);
	assert_int_equal(weir_file_datasync(file), -EIO);
	assert_int_equal(weir_file_write(file, &byte, 1, 0), -EIO);
	assert_int_equal(weir_file_writev(file, &(struct iovec){ &byte, 1 }, 1, 0), -EIO);
	assert_int_equal(weir_file_write_all(file, &byte, 1, 0), -EIO);
	assert_int_equal(bent.hits, 1);
	assert_int_equal(weir_file_read(file, &byte, 1, 0), 1);
	assert_int_equal(weir_file_close(file), 0);

	file = open_new("a");
	assert_int_equal(weir_file_sync(file), 0);
	weir_file_close(file);
}

static int do_sync(void *arg)
{
	return weir_file_sync(arg);
}

static void a_cancelled_sync_does_not_fail_the_file(void)
{
	struct weir_file *file = open_new("a");
	struct weir_coro *coro;
	int res;

	for (unsigned yields = 0; yields < 3; yields++) {
		assert_int_equal(weir_file_write_all(file, "data", 4, 0), 0);
		assert_int_equal(weir_coro_spawn(NULL, do_sync, file, &coro), 0);
		for (unsigned i = 0; i < yields; i++)
			weir_yield();
		weir_coro_cancel(coro);
		assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
		assert_true(res == 0 || res == -ECANCELED);
		assert_false(weir_file_is_failed(file));
	}
	assert_int_equal(weir_file_sync(file), 0);
	weir_file_close(file);
}

/* --- the rest --- */

static void sizes_are_changed_and_told(void)
{
	struct weir_file *file = open_new("a");
	struct weir_stat stat;

	assert_int_equal(weir_file_allocate(file, 0, 0, 10000), 0);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.size, 10000);
	assert_true(stat.blocks * 512 >= 10000);
	assert_int_equal(weir_file_truncate(file, 5), 0);
	assert_int_equal(weir_file_allocate(file, FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.size, 5);
	assert_int_equal(stat.links, 1);
	assert_true(stat.mtime_ns > 0);
	weir_file_close(file);
}

static void truncate_works_without_the_operation(void)
{
	struct weir_file *file = open_new("a");
	struct weir_stat stat;

	weir__ring_self()->files->has_truncate = false;
	assert_int_equal(weir_file_truncate(file, 77), 0);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.size, 77);
	weir_file_close(file);
}

static void splice_moves_bytes_into_a_pipe(void)
{
	struct weir_file *file = open_new("a");
	char buf[16] = "";
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(weir_file_write_all(file, "0123456789", 10, 0), 0);
	assert_int_equal(weir_file_splice(file, 4, fds[1], 100), 6);
	assert_int_equal(read(fds[0], buf, sizeof(buf)), 6);
	assert_string_equal(buf, "456789");
	assert_int_equal(weir_file_splice(file, 10, fds[1], 100), 0);
	assert_int_equal(weir_file_splice(file, 0, -1, 100), -EBADF);
	close(fds[0]);
	close(fds[1]);
	weir_file_close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(what_is_written_is_read_back),
		in_dir(several_buffers_are_read_and_written_in_order),
		in_dir(a_file_has_a_position_of_its_own),
		in_dir(a_hot_read_does_not_use_the_ring),
		in_dir(a_cold_read_goes_through_the_ring),
		in_dir(after_misses_attempts_are_spared_until_a_hit),
		in_dir(memory_files_never_use_the_ring),
		in_dir(a_reader_of_hot_pages_lets_others_run),
		in_dir(read_exact_tells_a_short_file_from_an_error),
		bent_in_dir(short_transfers_are_continued),
		bent_in_dir(a_transfer_that_a_signal_interrupts_is_tried_again),
		in_dir(a_full_disk_ends_write_all_with_its_error),
		in_dir(the_size_limit_ends_write_all_with_its_error),
#ifndef WEIR_DEBUG
		in_dir(arguments_out_of_range_are_refused),
#endif
		in_dir(offsets_the_kernel_refuses_are_its_errors),
		in_dir(bad_memory_is_an_error),
		bent_in_dir(a_failed_sync_fails_the_file_for_good),
		in_dir(a_cancelled_sync_does_not_fail_the_file),
		in_dir(sizes_are_changed_and_told),
		in_dir(truncate_works_without_the_operation),
		in_dir(splice_moves_bytes_into_a_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
