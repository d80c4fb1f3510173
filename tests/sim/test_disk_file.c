/* SPDX-License-Identifier: MIT */
/*
 * test_disk_file.c - open files on the simulated disk: reads, writes, sizes and space. What can
 * be seen on any disk is compared with the one that the test runs on.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/falloc.h>

#include "tests/sim/disk_host.h"

#define STEPS_MAX 64
#define BYTES 20000
#define PAGE 4096
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

enum op { OP_OPEN, OP_MAKE_DIR, OP_UNLINK, OP_READ, OP_WRITE, OP_TRUNCATE, OP_ALLOCATE, OP_SIZE };

/* On one open file. */
struct step {
	enum op op;
	unsigned flags;
	int64_t offset, size;
};

#define OPEN(flags_)                                                                               \
	{                                                                                          \
		.op = OP_OPEN, .flags = (flags_)                                                   \
	}
#define MAKE_DIR                                                                                   \
	{                                                                                          \
		.op = OP_MAKE_DIR                                                                  \
	}
#define UNLINK                                                                                     \
	{                                                                                          \
		.op = OP_UNLINK                                                                    \
	}
#define READ(offset_, size_, flags_)                                                               \
	{                                                                                          \
		.op = OP_READ, .flags = (flags_), .offset = (offset_), .size = (size_)             \
	}
#define WRITE(offset_, size_, flags_)                                                              \
	{                                                                                          \
		.op = OP_WRITE, .flags = (flags_), .offset = (offset_), .size = (size_)            \
	}
#define TRUNCATE(size_)                                                                            \
	{                                                                                          \
		.op = OP_TRUNCATE, .size = (size_)                                                 \
	}
#define ALLOCATE(mode_, offset_, size_)                                                            \
	{                                                                                          \
		.op = OP_ALLOCATE, .flags = (mode_), .offset = (offset_), .size = (size_)          \
	}
#define SIZE                                                                                       \
	{                                                                                          \
		.op = OP_SIZE                                                                      \
	}

static char bytes[BYTES];

/* What the step numbered i writes. */
static void write_what(unsigned i)
{
	memset(bytes, 'a' + (int)i % 26, sizeof(bytes));
}

/* Size and sum of what was read. */
static int64_t read_what(int64_t r)
{
	uint32_t sum = 0;

	for (int64_t i = 0; i < r; i++)
		sum = sum * 31 + (unsigned char)bytes[i];
	return r < 0 ? r : r * INT64_C(1000000) + sum % 1000000;
}

/* --- the real disk --- */

static int64_t code(int64_t r)
{
	return r < 0 ? -errno : r;
}

static int64_t real_step(unsigned i, const struct step *step, int *fd)
{
	struct iovec iov = { bytes, (size_t)step->size };
	struct stat st;

	switch (step->op) {
	case OP_OPEN:
		close(*fd);
		*fd = open("f", (int)step->flags, 0644);
		return *fd < 0 ? -errno : 0;
	case OP_MAKE_DIR:
		return code(mkdir("f", 0755));
	case OP_UNLINK:
		return code(unlink("f"));
	case OP_READ:
		return read_what(code(preadv2(*fd, &iov, 1, step->offset, (int)step->flags)));
	case OP_WRITE:
		write_what(i);
		return code(pwritev2(*fd, &iov, 1, step->offset, (int)step->flags));
	case OP_TRUNCATE:
		return code(ftruncate(*fd, step->size));
	case OP_ALLOCATE:
		return code(fallocate(*fd, (int)step->flags, step->offset, step->size));
	case OP_SIZE:
		return fstat(*fd, &st) < 0 ? -errno : st.st_size;
	}
	return 0;
}

static void do_real(const struct step *steps, unsigned count, int64_t *ret)
{
	char path[] = "disk-file-XXXXXX";
	int fd = -1;

	assert_non_null(mkdtemp(path));
	assert_int_equal(chdir(path), 0);
	for (unsigned i = 0; i < count; i++)
		ret[i] = real_step(i, &steps[i], &fd);
	close(fd);
	unlink("f");
	rmdir("f");
	assert_int_equal(chdir(".."), 0);
	assert_int_equal(rmdir(path), 0);
}

/* --- the simulated one --- */

static int sim_read(int fd, int64_t offset, int64_t size, int flags)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_read(sqe, fd, bytes, (unsigned)size, (uint64_t)offset);
	sqe->rw_flags = flags;
	return bare_do(sqe).res;
}

static int64_t sim_size(int fd)
{
	struct io_uring_sqe *sqe = bare_sqe();
	struct statx st;
	int r;

	io_uring_prep_statx(sqe, fd, "", AT_EMPTY_PATH, STATX_SIZE, &st);
	r = bare_do(sqe).res;
	return r < 0 ? r : S_ISDIR(st.stx_mode) ? PAGE : (int64_t)st.stx_size;
}

static int64_t sim_step(unsigned i, const struct step *step, int *fd)
{
	switch (step->op) {
	case OP_OPEN:
		bare_close(*fd);
		*fd = disk_open("f", (int)step->flags);
		return *fd < 0 ? *fd : 0;
	case OP_MAKE_DIR:
		return disk_mkdir("f");
	case OP_UNLINK:
		return disk_unlink("f", 0);
	case OP_READ:
		return read_what(sim_read(*fd, step->offset, step->size, (int)step->flags));
	case OP_WRITE:
		write_what(i);
		return disk_write_with(*fd, bytes, (unsigned)step->size, step->offset,
				       (int)step->flags);
	case OP_TRUNCATE:
		return disk_truncate(*fd, step->size);
	case OP_ALLOCATE:
		return disk_fallocate(*fd, (int)step->flags, (uint64_t)step->offset,
				      (uint64_t)step->size);
	case OP_SIZE:
		return sim_size(*fd);
	}
	return 0;
}

static const struct step *sim_steps;
static unsigned sim_count;
static int64_t sim_seen[STEPS_MAX];

static void do_sim(unsigned life)
{
	int fd = -1;

	(void)life;
	for (unsigned i = 0; i < sim_count; i++)
		sim_seen[i] = sim_step(i, &sim_steps[i], &fd);
}

/* --- both --- */

static void compare(const struct step *steps, unsigned count)
{
	static const char *const ops[] = { "open",  "mkdir",	"unlink",   "read",
					   "write", "truncate", "allocate", "size" };
	int64_t seen[STEPS_MAX];
	unsigned wrong = 0;

	assert_in_range(count, 1, STEPS_MAX);
	do_real(steps, count, seen);
	sim_steps = steps;
	sim_count = count;
	assert_int_equal(disk_play(do_sim), 0);
	for (unsigned i = 0; i < count; i++) {
		if (seen[i] == -EOPNOTSUPP && steps[i].op == OP_ALLOCATE && !sim_seen[i]) {
			print_message("this file system does not know how to allocate\n");
			skip();
		}
		if (seen[i] == sim_seen[i])
			continue;
		wrong++;
		print_error("%u: %s %lld at %lld, 0x%x: %lld here, %lld simulated\n", i,
			    ops[steps[i].op], (long long)steps[i].size, (long long)steps[i].offset,
			    steps[i].flags, (long long)seen[i], (long long)sim_seen[i]);
	}
	assert_int_equal(wrong, 0);
}

#define COMPARE(...)                                                                               \
	do {                                                                                       \
		const struct step steps_[] = { __VA_ARGS__ };                                      \
		compare(steps_, sizeof(steps_) / sizeof(steps_[0]));                               \
	} while (0)
#define FILE_ OPEN(O_RDWR | O_CREAT)

static void reads_and_writes_end_as_they_do_here(void **state)
{
	(void)state;
	COMPARE(FILE_, READ(0, 10, 0), WRITE(0, 100, 0), SIZE, READ(0, 100, 0), READ(50, 100, 0),
		READ(99, 100, 0), READ(100, 100, 0), READ(101, 100, 0), READ(1 << 30, 1, 0),
		READ(10, 0, 0), WRITE(10, 0, 0), WRITE(1000, 0, 0), SIZE, WRITE(50, 100, 0),
		READ(0, 200, 0), WRITE(PAGE - 1, 2, 0), READ(0, BYTES, 0), SIZE,
		WRITE(9000, 9000, 0), READ(0, BYTES, 0), READ(PAGE, PAGE, 0),
		WRITE(PAGE, PAGE, RWF_DSYNC), READ(0, BYTES, RWF_NOWAIT), READ(-2, 10, 0),
		WRITE(-2, 10, 0), READ(0, 10, 1 << 20), WRITE(0, 10, 1 << 20));
}

static void a_position_moves_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(FILE_, WRITE(-1, 100, 0), WRITE(-1, 100, 0), SIZE, READ(-1, 100, 0),
		READ(50, 10, 0), WRITE(20, 10, 0), WRITE(-1, 10, 0), READ(0, 300, 0),
		OPEN(O_RDONLY), READ(-1, 50, 0), READ(0, 10, 0), READ(-1, 50, 0), READ(-1, 1000, 0),
		READ(-1, 1000, 0));
}

static void what_appends_goes_to_the_end_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(FILE_, WRITE(0, 100, 0), OPEN(O_RDWR | O_APPEND), WRITE(-1, 10, 0), SIZE,
		READ(-1, 100, 0), WRITE(-1, 10, 0), WRITE(20, 10, 0), SIZE, READ(0, 200, 0),
		TRUNCATE(50), WRITE(-1, 10, 0), READ(0, 200, 0), OPEN(O_RDWR),
		WRITE(20, 10, RWF_APPEND), READ(0, 200, 0), WRITE(-1, 10, RWF_APPEND),
		WRITE(-1, 10, 0), READ(0, 200, 0));
}

static void a_file_opened_for_one_way_refuses_the_other_as_here(void **state)
{
	(void)state;
	COMPARE(FILE_, WRITE(0, 100, 0), OPEN(O_RDONLY), WRITE(0, 10, 0), TRUNCATE(5),
		ALLOCATE(0, 0, 10), ALLOCATE(1 << 15, 0, 10), ALLOCATE(0, 0, 0), READ(0, 10, 0),
		OPEN(O_WRONLY), READ(0, 10, 0), WRITE(0, 10, 0), TRUNCATE(5), SIZE, OPEN(O_PATH),
		READ(0, 10, 0), WRITE(0, 10, 0), TRUNCATE(5), ALLOCATE(0, 0, 10), SIZE,
		OPEN(O_RDONLY | O_TRUNC), SIZE);
	COMPARE(MAKE_DIR, OPEN(O_RDONLY), READ(0, 10, 0), WRITE(0, 10, 0), TRUNCATE(0),
		ALLOCATE(0, 0, 10));
}

static void a_size_is_set_as_here(void **state)
{
	(void)state;
	COMPARE(FILE_, WRITE(0, 10000, 0), TRUNCATE(5000), SIZE, READ(0, BYTES, 0), TRUNCATE(5001),
		READ(0, BYTES, 0), TRUNCATE(9000), READ(0, BYTES, 0), TRUNCATE(PAGE),
		TRUNCATE(2 * PAGE), READ(0, BYTES, 0), TRUNCATE(0), SIZE, READ(0, 10, 0),
		TRUNCATE(300), READ(0, BYTES, 0), WRITE(200, 10, 0), TRUNCATE(200), TRUNCATE(220),
		READ(0, BYTES, 0), TRUNCATE(-1), SIZE, OPEN(O_RDWR | O_TRUNC), SIZE);
}

static void space_is_allocated_as_here(void **state)
{
	(void)state;
	COMPARE(FILE_, ALLOCATE(0, 0, 1000), SIZE, READ(0, BYTES, 0), WRITE(500, 100, 0),
		ALLOCATE(0, 0, 600), SIZE, READ(0, BYTES, 0), ALLOCATE(0, 5000, 5000), SIZE,
		READ(0, BYTES, 0), ALLOCATE(FALLOC_FL_KEEP_SIZE, 0, 15000), SIZE, READ(0, BYTES, 0),
		WRITE(12000, 10, 0), READ(0, BYTES, 0), ALLOCATE(0, -1, 10), ALLOCATE(0, 0, -1),
		ALLOCATE(0, 0, 0), ALLOCATE(0, 10, INT64_MAX));
}

static void holes_are_punched_as_here(void **state)
{
	(void)state;
	COMPARE(FILE_, WRITE(0, 15000, 0), ALLOCATE(PUNCH, 100, 200), READ(0, BYTES, 0),
		ALLOCATE(PUNCH, 4000, 5000), READ(0, BYTES, 0), WRITE(5000, 10, 0),
		READ(0, BYTES, 0), ALLOCATE(PUNCH, 14000, 5000), SIZE, READ(0, BYTES, 0),
		ALLOCATE(PUNCH, 18000, 5000), SIZE, ALLOCATE(FALLOC_FL_PUNCH_HOLE, 0, 10),
		ALLOCATE(FALLOC_FL_ZERO_RANGE | PUNCH, 0, 10));
	COMPARE(FILE_, WRITE(0, 15000, 0), ALLOCATE(FALLOC_FL_ZERO_RANGE, 100, 200),
		READ(0, BYTES, 0),
		ALLOCATE(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 14000, 5000), SIZE,
		READ(0, BYTES, 0), ALLOCATE(FALLOC_FL_ZERO_RANGE, 14000, 5000), SIZE,
		READ(0, BYTES, 0));
}

static void a_file_unlinked_while_open_lives_on_as_here(void **state)
{
	(void)state;
	COMPARE(FILE_, WRITE(0, 100, 0), UNLINK, READ(0, 100, 0), WRITE(50, 100, 0),
		READ(0, 200, 0), SIZE, TRUNCATE(120), READ(0, 200, 0), UNLINK, OPEN(O_RDWR), FILE_,
		SIZE);
}

/* --- O_DIRECT --- */

static void direct(unsigned life)
{
	static char block[2048] __attribute__((aligned(512)));
	int fd = disk_open("f", O_RDWR | O_CREAT | O_DIRECT);

	(void)life;
	EQUAL(disk_write(fd, block, 1024, 0), 1024);
	EQUAL(disk_write(fd, block, 511, 0), -EINVAL);
	EQUAL(disk_write(fd, block, 513, 0), -EINVAL);
	EQUAL(disk_write(fd, block, 512, 511), -EINVAL);
	EQUAL(disk_write(fd, block, 512, 1), -EINVAL);
	EQUAL(disk_write(fd, block + 1, 512, 0), -EINVAL);
	EQUAL(disk_write(fd, block + 256, 512, 0), -EINVAL);
	EQUAL(disk_read(fd, block, 512, 512), 512);
	EQUAL(disk_read(fd, block, 1024, 512), 512);
	EQUAL(disk_read(fd, block, 512, 1024), 0);
	EQUAL(disk_read(fd, block, 100, 0), -EINVAL);
	EQUAL(disk_read(fd, block + 1, 512, 0), -EINVAL);
	EQUAL(disk_read(fd, block, 512, 100), -EINVAL);
	EQUAL(disk_size_of("f"), 1024);
	EQUAL(disk_fsync(fd), 0);
}

static void direct_io_is_aligned_in_memory_offset_and_size(void **state)
{
	(void)state;
	assert_int_equal(disk_play(direct), 0);
}

static void takes_a_while(unsigned life)
{
	static char block[512] __attribute__((aligned(512)));
	int direct_fd = disk_open("f", O_RDWR | O_CREAT | O_DIRECT);
	int fd = disk_open("f", O_RDWR);
	int64_t from_ns = weir_sim_now(weir_sim_world());

	(void)life;
	EQUAL(disk_write(direct_fd, block, 512, 0), 512);
	EQUAL(weir_sim_now(weir_sim_world()) - from_ns > 50 * WEIR_US, true);
	from_ns = weir_sim_now(weir_sim_world());
	EQUAL(disk_read(direct_fd, block, 512, 0), 512);
	EQUAL(weir_sim_now(weir_sim_world()) - from_ns > 50 * WEIR_US, true);
	from_ns = weir_sim_now(weir_sim_world());
	EQUAL(disk_read(fd, block, 512, 0), 512);
	EQUAL(weir_sim_now(weir_sim_world()) - from_ns < 10 * WEIR_US, true);
}

static void a_device_takes_longer_than_a_cache(void **state)
{
	(void)state;
	assert_int_equal(disk_play(takes_a_while), 0);
}

/* --- calls without a ring --- */

static void calls(unsigned life)
{
	struct weir_kernel *kernel = bare_kernel();
	const struct weir_kernel_ops *ops = kernel->ops;
	struct iovec iov[2] = { { bytes, 5 }, { bytes + 10, 5 } };
	struct statx st;
	int fd = disk_open("f", O_RDWR | O_CREAT);
	int reader = disk_open("f", O_RDONLY);
	int path = disk_open("f", O_PATH);
	int sock = bare_socket(AF_INET, SOCK_STREAM);

	(void)life;
	memcpy(bytes, "01234.....56789", 15);
	EQUAL(ops->pwritev2(kernel, fd, iov, 2, 3, 0), 10);
	memset(bytes, 0, sizeof(bytes));
	EQUAL(ops->preadv2(kernel, fd, iov, 2, 4, RWF_NOWAIT), 9);
	EQUAL(memcmp(bytes, "12345", 5), 0);
	EQUAL(memcmp(bytes + 10, "6789", 5), 0);
	EQUAL(ops->pwritev2(kernel, reader, iov, 2, 0, 0), -EBADF);
	EQUAL(ops->preadv2(kernel, path, iov, 2, 0, 0), -EBADF);
	EQUAL(ops->preadv2(kernel, sock, iov, 2, 0, 0), -ESPIPE);
	EQUAL(ops->preadv2(kernel, 999, iov, 2, 0, 0), -EBADF);
	EQUAL(ops->statx(kernel, fd, STATX_BASIC_STATS, &st), 0);
	EQUAL(st.stx_size, 13);
	EQUAL(ops->statx(kernel, 999, STATX_BASIC_STATS, &st), -EBADF);
	EQUAL(ops->ftruncate(kernel, fd, 4), 0);
	EQUAL(ops->ftruncate(kernel, fd, -1), -EINVAL);
	EQUAL(ops->ftruncate(kernel, reader, 1), -EINVAL);
	EQUAL(ops->ftruncate(kernel, path, 1), -EBADF);
	EQUAL(disk_size_of("f"), 4);
	EQUAL(disk_mkdir("dir"), 0);
	EQUAL(ops->is_socket(kernel, "f"), 0);
	EQUAL(ops->unlink(kernel, "none"), -ENOENT);
	EQUAL(ops->unlink(kernel, "dir"), -EISDIR);
	EQUAL(ops->unlink(kernel, "f"), 0);
	EQUAL(ops->is_socket(kernel, "f"), -ENOENT);
}

static void a_call_ends_as_its_operation_does(void **state)
{
	(void)state;
	assert_int_equal(disk_play(calls), 0);
}

/* --- what a stat says --- */

static void stats(unsigned life)
{
	struct statx before, after;
	int fd = disk_open("f", O_RDWR | O_CREAT);

	(void)life;
	EQUAL(disk_statx("f", &before), 0);
	EQUAL(before.stx_mode, S_IFREG | 0644);
	EQUAL(before.stx_nlink, 1);
	EQUAL(before.stx_blocks, 0);
	bare_sleep(3 * WEIR_S);
	EQUAL(disk_write(fd, bytes, PAGE + 1, 0), PAGE + 1);
	EQUAL(disk_statx("f", &after), 0);
	EQUAL(after.stx_size, PAGE + 1);
	EQUAL(after.stx_blocks, 16);
	EQUAL(after.stx_ino, before.stx_ino);
	EQUAL(after.stx_mtime.tv_sec - before.stx_mtime.tv_sec, 3);
	EQUAL(disk_read(fd, bytes, 1, 0), 1);
	EQUAL(disk_rename("f", "g"), 0);
	EQUAL(disk_statx("g", &before), 0);
	EQUAL(before.stx_ino, after.stx_ino);
	EQUAL(before.stx_mtime.tv_nsec, after.stx_mtime.tv_nsec);
	EQUAL(disk_open("f", O_RDWR | O_CREAT) >= 0, true);
	EQUAL(disk_statx("f", &before), 0);
	EQUAL(before.stx_ino != after.stx_ino, true);
	EQUAL(before.stx_dev_minor, after.stx_dev_minor);
	EQUAL(disk_mkdir("dir"), 0);
	EQUAL(disk_mkdir("dir/a"), 0);
	EQUAL(disk_mkdir("dir/b"), 0);
	EQUAL(disk_statx("dir", &after), 0);
	EQUAL(after.stx_mode, S_IFDIR | 0755);
	EQUAL(after.stx_nlink, 4);
}

static void a_stat_tells_size_blocks_links_and_when_it_was_written(void **state)
{
	(void)state;
	assert_int_equal(disk_play(stats), 0);
}

/* --- a disk is full --- */

static int play_small(void (*body)(unsigned life), uint64_t size)
{
	int r;

	disk_opts.disk_size = size;
	r = disk_play(body);
	disk_opts.disk_size = 0;
	return r;
}

static int64_t bytes_free(void)
{
	struct statfs fs;
	int fd = disk_open("/", O_RDONLY);

	EQUAL(bare_kernel()->ops->fstatfs(bare_kernel(), fd, &fs), 0);
	bare_close(fd);
	return (int64_t)(fs.f_bavail * (uint64_t)fs.f_bsize);
}

static void full(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);
	int other = disk_open("other", O_RDWR | O_CREAT);

	(void)life;
	EQUAL(bytes_free(), 4 * PAGE);
	EQUAL(disk_write(fd, bytes, 4 * PAGE - 1, 0), 4 * PAGE - 1);
	EQUAL(disk_write(fd, bytes, 2, 4 * PAGE - 1), 1);
	EQUAL(disk_write(fd, bytes, 1, 4 * PAGE), -ENOSPC);
	EQUAL(disk_write(other, bytes, 1, 0), -ENOSPC);
	EQUAL(bytes_free(), 0);
	EQUAL(disk_write(fd, bytes, 2 * PAGE, PAGE), 2 * PAGE);
	EQUAL(disk_truncate(fd, 3 * PAGE + 1), 0);
	EQUAL(disk_write(other, bytes, 1, 0), -ENOSPC);
	EQUAL(disk_truncate(fd, 3 * PAGE), 0);
	EQUAL(bytes_free(), PAGE);
	EQUAL(disk_write(other, bytes, PAGE + 1, 0), PAGE);
	EQUAL(disk_unlink("f", 0), 0);
	EQUAL(bytes_free(), 0);
	bare_close(fd);
	EQUAL(bytes_free(), 3 * PAGE);
	EQUAL(disk_write(other, bytes, 4 * PAGE, 0), 4 * PAGE);
	EQUAL(disk_rename("other", "f"), 0);
	bare_close(other);
	EQUAL(bytes_free(), 0);
	EQUAL(disk_unlink("f", 0), 0);
	EQUAL(bytes_free(), 4 * PAGE);
}

static void a_full_disk_takes_only_what_has_a_page_and_names_give_pages_back(void **state)
{
	(void)state;
	assert_int_equal(play_small(full, 4 * PAGE), 0);
}

static void below(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);

	(void)life;
	EQUAL(bytes_free(), 3 * PAGE);
	EQUAL(disk_write(fd, bytes, 4 * PAGE, 0), 3 * PAGE);
	EQUAL(disk_write(fd, bytes, 1, 3 * PAGE), -ENOSPC);
}

static void above(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);

	(void)life;
	EQUAL(bytes_free(), 4 * PAGE);
	EQUAL(disk_write(fd, bytes, 4 * PAGE, 0), 4 * PAGE);
	EQUAL(disk_write(fd, bytes, 1, 4 * PAGE), -ENOSPC);
}

static void a_disk_has_the_whole_pages_of_its_size(void **state)
{
	(void)state;
	assert_int_equal(play_small(below, 4 * PAGE - 1), 0);
	assert_int_equal(play_small(above, 4 * PAGE), 0);
	assert_int_equal(play_small(above, 4 * PAGE + 1), 0);
}

static void holes(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);
	struct statx st;

	(void)life;
	EQUAL(disk_truncate(fd, 100 * PAGE), 0);
	EQUAL(bytes_free(), 4 * PAGE);
	EQUAL(disk_write(fd, bytes, 1, 50 * PAGE), 1);
	EQUAL(bytes_free(), 3 * PAGE);
	EQUAL(disk_statx("f", &st), 0);
	EQUAL(st.stx_size, 100 * PAGE);
	EQUAL(st.stx_blocks, 8);
	EQUAL(disk_write(fd, bytes, 4 * PAGE, 48 * PAGE), 4 * PAGE);
	EQUAL(disk_write(fd, bytes, 3 * PAGE, 51 * PAGE), PAGE);
	EQUAL(disk_fallocate(fd, PUNCH, 48 * PAGE, 2 * PAGE), 0);
	EQUAL(bytes_free(), 2 * PAGE);
	EQUAL(disk_fallocate(fd, PUNCH, 50 * PAGE, PAGE - 1), 0);
	EQUAL(bytes_free(), 2 * PAGE);
}

static void holes_take_no_space(void **state)
{
	(void)state;
	assert_int_equal(play_small(holes, 4 * PAGE), 0);
}

static void reserve(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);
	int other = disk_open("other", O_RDWR | O_CREAT);

	(void)life;
	EQUAL(disk_fallocate(fd, 0, 0, 5 * PAGE), -ENOSPC);
	EQUAL(bytes_free(), 4 * PAGE);
	EQUAL(disk_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE), 0);
	EQUAL(disk_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 3 * PAGE), 0);
	EQUAL(bytes_free(), PAGE);
	EQUAL(disk_write(other, bytes, 2 * PAGE, 0), PAGE);
	EQUAL(disk_write(fd, bytes, 3 * PAGE, 0), 3 * PAGE);
	EQUAL(disk_write(fd, bytes, 1, 3 * PAGE), -ENOSPC);
	EQUAL(disk_truncate(fd, PAGE), 0);
	EQUAL(disk_fallocate(fd, 0, PAGE, 2 * PAGE), 0);
	EQUAL(disk_read(fd, bytes, BYTES, 0), 3 * PAGE);
	EQUAL(bytes[PAGE], 0);
	EQUAL(disk_fallocate(fd, 0, 0, 4 * PAGE), -ENOSPC);
	EQUAL(disk_truncate(other, 0), 0);
	EQUAL(disk_fallocate(fd, 0, 0, 4 * PAGE), 0);
	EQUAL(bytes_free(), 0);
}

static void space_that_was_allocated_is_there_when_it_is_written(void **state)
{
	(void)state;
	assert_int_equal(play_small(reserve, 4 * PAGE), 0);
}

static void after_a_cut(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);

	if (life == 1) {
		int safe = disk_open("safe", O_RDWR | O_CREAT);

		EQUAL(disk_write(safe, bytes, PAGE, 0), PAGE);
		EQUAL(disk_fsync(safe), 0);
		disk_sync("/");
		EQUAL(disk_write(fd, bytes, 2 * PAGE, 0), 2 * PAGE);
		EQUAL(disk_fsync(fd), 0);
		EQUAL(disk_unlink("f", 0), 0);
		disk_sync("/");
		EQUAL(bytes_free(), PAGE);
		disk_cut_power();
	}
	EQUAL(bytes_free(), 3 * PAGE);
	EQUAL(disk_write(fd, bytes, 4 * PAGE, 0), 3 * PAGE);
}

static void what_has_no_name_after_a_power_cut_takes_no_space(void **state)
{
	(void)state;
	assert_int_equal(play_small(after_a_cut, 4 * PAGE), 0);
}

static void huge(unsigned life)
{
	const int64_t max = INT64_C(1) << 34;
	int fd = disk_open("f", O_RDWR | O_CREAT);

	(void)life;
	EQUAL(disk_truncate(fd, max - 1), 0);
	EQUAL(disk_truncate(fd, max), 0);
	EQUAL(disk_truncate(fd, max + 1), -EFBIG);
	EQUAL(disk_size_of("f"), max);
	EQUAL(disk_truncate(fd, 0), 0);
	EQUAL(disk_fallocate(fd, 0, (uint64_t)max - 10, 11), -EFBIG);
	EQUAL(disk_write(fd, bytes, 10, max), -EFBIG);
	EQUAL(disk_write(fd, bytes, 0, max), 0);
	EQUAL(disk_write(fd, bytes, 10, max - 10), 10);
	EQUAL(disk_write(fd, bytes, 10, max - 9), 9);
	EQUAL(disk_size_of("f"), max);
	EQUAL(disk_truncate(fd, 0), 0);
	EQUAL(disk_write(fd, bytes, 10, INT64_MAX - 5), -EFBIG);
	EQUAL(disk_size_of("f"), 0);
}

static void a_file_has_a_size_that_it_does_not_exceed(void **state)
{
	(void)state;
	assert_int_equal(disk_play(huge), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_end_as_they_do_here),
		cmocka_unit_test(a_position_moves_as_it_does_here),
		cmocka_unit_test(what_appends_goes_to_the_end_as_it_does_here),
		cmocka_unit_test(a_file_opened_for_one_way_refuses_the_other_as_here),
		cmocka_unit_test(a_size_is_set_as_here),
		cmocka_unit_test(space_is_allocated_as_here),
		cmocka_unit_test(holes_are_punched_as_here),
		cmocka_unit_test(a_file_unlinked_while_open_lives_on_as_here),
		cmocka_unit_test(direct_io_is_aligned_in_memory_offset_and_size),
		cmocka_unit_test(a_device_takes_longer_than_a_cache),
		cmocka_unit_test(a_call_ends_as_its_operation_does),
		cmocka_unit_test(a_stat_tells_size_blocks_links_and_when_it_was_written),
		cmocka_unit_test(a_full_disk_takes_only_what_has_a_page_and_names_give_pages_back),
		cmocka_unit_test(a_disk_has_the_whole_pages_of_its_size),
		cmocka_unit_test(holes_take_no_space),
		cmocka_unit_test(space_that_was_allocated_is_there_when_it_is_written),
		cmocka_unit_test(what_has_no_name_after_a_power_cut_takes_no_space),
		cmocka_unit_test(a_file_has_a_size_that_it_does_not_exceed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
