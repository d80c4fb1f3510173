/* SPDX-License-Identifier: MIT */
/*
 * test_file.c - files, on real files of the real kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/files.h"
#include "tests/support/bent_kernel.h"
#include "tests/support/ring_fixture.h"

static char root_path[64];
static struct bent bent;

/* --- a directory of its own for each test --- */

static int make_root(void **state)
{
	(void)state;
	strcpy(root_path, "/tmp/weir-test-file-XXXXXX");
	return mkdtemp(root_path) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root_path);
	return system(command);
}

static const char *in_root(const char *name)
{
	static char path[2][128];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", root_path, name);
	return path[turn];
}

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static struct weir_file *open_with(const char *name, int flags, bool direct)
{
	const struct weir_open_opts opts = { .flags = flags, .direct = direct };
	struct weir_file *file;

	assert_int_equal(weir_file_open(NULL, in_root(name), &opts, &file), 0);
	return file;
}

static struct weir_file *open_new(const char *name)
{
	return open_with(name, O_RDWR | O_CREAT, false);
}

static struct weir_files_info files_info(void)
{
	struct weir_files_info info;

	assert_int_equal(weir_files_info(&info), 0);
	return info;
}

static uint64_t ops_so_far(void)
{
	return weir__ring_self()->ops;
}

/* Runs body on a bent kernel. */
static void on_bent(void (*body)(void))
{
	struct ring_fixture fixture = ring_fixture_defaults();

	bent_init(&bent);
	fixture.ring.kernel = &bent.kernel;
	assert_int_equal(on_ring_with(&fixture, ring_test_body, &body), 0);
}

#define bent_test(body)                                                                           \
	static void on_bent_##body(void **state)                                                  \
	{                                                                                         \
		(void)state;                                                                      \
		on_bent(body);                                                                    \
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

static void after_misses_attempts_are_spared_until_a_hit(void)
{
	struct weir_file *file = open_new("a");
	char page[4096] = "";
	uint64_t ops;

	for (int i = 0; i < 64; i++)
		assert_int_equal(weir_file_write_all(file, page, sizeof(page), i * 4096), 0);
	assert_int_equal(weir_file_sync(file), 0);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_RANDOM);
	posix_fadvise(weir_file_fd(file), 0, 0, POSIX_FADV_DONTNEED);
	for (int i = 0; i < 32; i++)
		assert_int_equal(weir_file_read(file, page, sizeof(page), i * 2 * 4096), 4096);
	if (!files_info().cold_reads)
		return ring_test_skip("this file system keeps its pages");
	assert_in_range(files_info().cold_reads, 3, 6);	/* 1 + 1 + 3 + 7 + 15 reads apart */
	for (int i = 0; i < 32; i++)
		assert_int_equal(weir_file_read(file, page, sizeof(page), i * 2 * 4096), 4096);
	ops = ops_so_far();
	assert_int_equal(weir_file_read(file, page, sizeof(page), 0), 4096);
	assert_int_equal(ops_so_far(), ops);
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

bent_test(short_transfers_are_continued)

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

/* --- opening --- */

static void errors_of_open_are_the_kernels(void)
{
	struct weir_file *file;
	const struct weir_open_opts write = { .flags = O_RDWR };
	const struct weir_open_opts nonsense = { .flags = 1 << 30 };
	char path[5000];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(weir_file_open(NULL, in_root("none"), NULL, &file), -ENOENT);
	assert_int_equal(weir_file_open(NULL, root_path, &write, &file), -EISDIR);
	assert_int_equal(weir_file_open(NULL, "", NULL, &file), -ENOENT);
	assert_int_equal(weir_file_open(NULL, path, NULL, &file), -ENAMETOOLONG);
	assert_int_equal(weir_file_open(NULL, in_root("none"), &nonsense, &file), -EINVAL);
	assert_int_equal(files_info().open, 0);
}

static void a_new_file_gets_its_mode(void)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT, .mode = 0600 };
	struct weir_file *file;
	struct weir_stat stat;

	assert_int_equal(weir_file_open(NULL, in_root("a"), &opts, &file), 0);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.mode, S_IFREG | 0600);
	assert_int_equal(fcntl(weir_file_fd(file), F_GETFD), FD_CLOEXEC);
	weir_file_close(file);
}

static int open_below(struct weir_dir *dir, const char *path, bool no_symlinks)
{
	const struct weir_open_opts opts = { .no_symlinks = no_symlinks };
	struct weir_file *file;
	int r = weir_file_open(dir, path, &opts, &file);

	if (!r)
		weir_file_close(file);
	return r;
}

static void a_path_below_a_directory_does_not_leave_it(void)
{
	struct weir_dir *dir, *strict;

	mkdir(in_root("top"), 0755);
	mkdir(in_root("top/sub"), 0755);
	close(open(in_root("secret"), O_CREAT, 0644));
	close(open(in_root("top/sub/file"), O_CREAT, 0644));
	assert_int_equal(symlink("../secret", in_root("top/out")), 0);
	assert_int_equal(symlink("/etc/passwd", in_root("top/absolute")), 0);
	assert_int_equal(symlink("sub/file", in_root("top/in")), 0);
	assert_int_equal(symlink("/proc/self/root", in_root("top/magic")), 0);
	assert_int_equal(weir_dir_open(NULL, in_root("top"), 0, &dir), 0);
	assert_int_equal(weir_dir_open(NULL, in_root("top"), WEIR_DIR_NO_SYMLINKS, &strict), 0);

	assert_int_equal(open_below(dir, "sub/file", false), 0);
	assert_int_equal(open_below(dir, "sub/../sub/file", false), 0);
	assert_int_equal(open_below(dir, "in", false), 0);
	assert_int_equal(open_below(dir, "in", true), -ELOOP);
	assert_int_equal(open_below(strict, "in", false), -ELOOP);
	assert_int_equal(open_below(strict, "sub/file", false), 0);
	assert_int_equal(open_below(dir, "../secret", false), -EXDEV);
	assert_int_equal(open_below(dir, "sub/../../secret", false), -EXDEV);
	assert_int_equal(open_below(dir, in_root("secret"), false), -EXDEV);
	assert_int_equal(open_below(dir, "/etc/passwd", false), -EXDEV);
	assert_int_equal(open_below(dir, "out", false), -EXDEV);
	assert_int_equal(open_below(dir, "absolute", false), -EXDEV);
	assert_int_equal(open_below(dir, "magic/etc/passwd", false), -EXDEV);
	weir_dir_close(strict);
	weir_dir_close(dir);
}

static void directories_nest_as_roots(void)
{
	struct weir_dir *dir, *sub;

	mkdir(in_root("sub"), 0755);
	close(open(in_root("file"), O_CREAT, 0644));
	assert_int_equal(weir_dir_open(NULL, root_path, 0, &dir), 0);
	assert_int_equal(weir_dir_open(dir, "sub", 0, &sub), 0);
	assert_int_equal(open_below(sub, "../file", false), -EXDEV);
	assert_int_equal(weir_dir_open(dir, "file", 0, &sub), -ENOTDIR);
	weir_dir_close(sub);
	assert_int_equal(weir_dir_sync(dir), 0);
	weir_dir_close(dir);
}

static void names_are_made_moved_and_removed_below_a_directory(void)
{
	struct weir_dir *dir;
	struct stat stat;

	assert_int_equal(weir_dir_open(NULL, root_path, 0, &dir), 0);
	assert_int_equal(weir_path_mkdir(dir, "sub", 0755), 0);
	assert_int_equal(weir_path_mkdir(dir, "sub", 0755), -EEXIST);
	assert_int_equal(weir_path_mkdir(dir, "sub/deep", 0755), 0);
	close(open(in_root("sub/file"), O_CREAT, 0644));
	assert_int_equal(weir_path_rename(dir, "sub/file", "sub/deep/moved"), 0);
	assert_int_equal(lstat(in_root("sub/deep/moved"), &stat), 0);
	assert_int_equal(weir_path_rmdir(dir, "sub/deep"), -ENOTEMPTY);
	assert_int_equal(weir_path_unlink(dir, "sub/deep/moved"), 0);
	assert_int_equal(weir_path_unlink(dir, "sub/deep/moved"), -ENOENT);
	assert_int_equal(weir_path_unlink(dir, "sub/deep"), -EISDIR);
	assert_int_equal(weir_path_rmdir(dir, "sub/deep"), 0);
	assert_int_equal(weir_path_rmdir(NULL, in_root("sub")), 0);
	weir_dir_close(dir);
}

static void names_do_not_leave_their_directory(void)
{
	struct weir_dir *dir;
	char path[5000];

	memset(path, 'x', sizeof(path));
	path[4500] = '/';
	path[sizeof(path) - 1] = '\0';
	mkdir(in_root("top"), 0755);
	close(open(in_root("top/file"), O_CREAT, 0644));
	close(open(in_root("secret"), O_CREAT, 0644));
	assert_int_equal(symlink("..", in_root("top/up")), 0);
	assert_int_equal(weir_dir_open(NULL, in_root("top"), 0, &dir), 0);
	assert_int_equal(weir_path_unlink(dir, "../secret"), -EXDEV);
	assert_int_equal(weir_path_unlink(dir, "up/secret"), -EXDEV);
	assert_int_equal(weir_path_unlink(dir, in_root("secret")), -EXDEV);
	assert_int_equal(weir_path_mkdir(dir, "../new", 0755), -EXDEV);
	assert_int_equal(weir_path_rename(dir, "file", "../file"), -EXDEV);
	assert_int_equal(weir_path_rename(dir, "../secret", "file"), -EXDEV);
	assert_int_equal(weir_path_unlink(dir, ".."), -EINVAL);
	assert_int_equal(weir_path_unlink(dir, "."), -EINVAL);
	assert_int_equal(weir_path_unlink(dir, ""), -EINVAL);
	assert_int_equal(weir_path_rmdir(dir, "sub/"), -EINVAL);
	assert_int_equal(weir_path_unlink(dir, path), -ENAMETOOLONG);
	assert_int_equal(access(in_root("secret"), F_OK), 0);
	assert_int_equal(access(in_root("top/file"), F_OK), 0);
	weir_dir_close(dir);
}

static void no_descriptor_left_is_an_error_that_passes(void)
{
	struct rlimit old, limit;
	struct weir_file *file;
	struct weir_files_info info;
	int r;

	close(open(in_root("a"), O_CREAT, 0644));
	getrlimit(RLIMIT_NOFILE, &old);
	limit = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &limit);
	r = weir_file_open(NULL, in_root("a"), NULL, &file);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(r, -EMFILE);
	info = files_info();
	assert_int_equal(info.open, 0);
	assert_int_equal(weir_file_open(NULL, in_root("a"), NULL, &file), 0);
	assert_int_equal(weir_file_close(file), 0);
}

/* --- cancelling and closing --- */

struct opening {
	const char *path;
	int flags;
	int res;
	struct weir_file *file;
	enum weir_verdict verdict;
};

static int do_open(void *arg)
{
	struct opening *opening = arg;
	const struct weir_open_opts opts = { .flags = opening->flags };

	opening->res = weir_file_open(NULL, opening->path, &opts, &opening->file);
	opening->verdict = weir_verdict();
	return 0;
}

static void cancelled_opening(struct opening *opening, unsigned yields)
{
	struct weir_coro *coro;

	assert_int_equal(weir_coro_spawn(NULL, do_open, opening, &coro), 0);
	while (yields--)
		weir_yield();
	weir_coro_cancel(coro);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, NULL), 0);
}

/* monoio#318, tokio#7983: the descriptor of a cancelled open that had succeeded leaked. */
static void a_cancelled_open_leaks_no_descriptor(void)
{
	struct opening opening = { .path = in_root("a") };
	unsigned before;

	close(open(opening.path, O_CREAT, 0644));
	files_info();
	before = count_fds();
	for (unsigned yields = 0; yields < 4; yields++) {
		opening.res = 1;
		cancelled_opening(&opening, yields);
		if (!opening.res)
			assert_int_equal(weir_file_close(opening.file), 0);
		else
			assert_int_equal(opening.res, -ECANCELED);
		assert_int_equal(count_fds(), before);
		assert_int_equal(files_info().open, 0);
	}
}

static void an_open_that_waits_for_ever_can_be_cancelled(void)
{
	/* O_CREAT: the kernel opens it in a thread of its own, where it waits for a writer. */
	struct opening opening = { .path = in_root("fifo"), .flags = O_RDONLY | O_CREAT };
	unsigned before;

	assert_int_equal(mkfifo(opening.path, 0600), 0);
	files_info();
	before = count_fds();
	cancelled_opening(&opening, 3);
	assert_int_equal(opening.res, -ECANCELED);
	assert_int_equal(opening.verdict, WEIR_CANCELLED);
	assert_int_equal(count_fds(), before);
}

static int do_read(void *arg)
{
	char buf[16];

	return (int)weir_file_read(arg, buf, sizeof(buf), -1);
}

static int do_close(void *arg)
{
	return weir_file_close(arg);
}

static struct weir_file *open_fifo(void)
{
	assert_int_equal(mkfifo(in_root("fifo"), 0600), 0);
	return open_with("fifo", O_RDWR, false);
}

static void a_read_that_waits_can_be_cancelled_and_says_so(void)
{
	struct weir_file *file = open_fifo();
	struct weir_coro *reader;
	int64_t deadline;
	char buf[8];
	int res;

	assert_int_equal(weir_coro_spawn(NULL, do_read, file, &reader), 0);
	weir_yield();
	weir_coro_cancel(reader);
	assert_int_equal(weir_coro_join(reader, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ECANCELED);
	assert_int_equal(weir_verdict(), WEIR_CANCELLED);

	deadline = weir_coro_set_deadline(weir_in(WEIR_MS));
	assert_int_equal(weir_file_read(file, buf, sizeof(buf), -1), -ETIMEDOUT);
	assert_int_equal(weir_file_read(file, buf, sizeof(buf), -1), -ETIMEDOUT);
	assert_int_equal(weir_verdict(), WEIR_NOT_STARTED);
	weir_coro_set_deadline(deadline);
	weir_file_close(file);
}

static void close_waits_for_calls_and_refuses_new_ones(void)
{
	struct weir_file *file = open_fifo();
	struct weir_coro *reader, *closer;
	char byte;
	int res;

	assert_int_equal(weir_coro_spawn(NULL, do_read, file, &reader), 0);
	weir_yield();
	assert_int_equal(weir_coro_spawn(NULL, do_close, file, &closer), 0);
	weir_yield();
	weir_coro_cancel(closer);	/* does not end its wait */
	assert_int_equal(weir_file_read(file, &byte, 1, -1), -EBADF);
	assert_int_equal(weir_file_write(file, &byte, 1, -1), -EBADF);
	assert_int_equal(weir_file_sync(file), -EBADF);
	assert_int_equal(weir_file_close(file), -EBUSY);
	assert_int_equal(files_info().open, 1);
	assert_int_equal(write(weir_file_fd(file), "end", 3), 3);
	assert_int_equal(weir_coro_join(reader, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 3);
	assert_int_equal(weir_coro_join(closer, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 0);
	assert_int_equal(files_info().open, 0);
}

static int close_nothing(void *arg)
{
	(void)arg;
	assert_int_equal(weir_file_close(NULL), 0);
	return weir_dir_close(NULL);
}

static int open_and_forget(void *arg)
{
	(void)arg;
	open_new("a");
	open_with("b", O_RDWR | O_CREAT, true);
	return 0;
}

static void what_is_left_open_is_closed_with_the_worker(void **state)
{
	unsigned before;

	(void)state;
	assert_int_equal(on_ring(close_nothing, NULL), 0);
	before = count_fds();
	assert_int_equal(on_ring(open_and_forget, NULL), 0);
	assert_int_equal(count_fds(), before);
}

static void outside_a_coroutine_calls_are_refused(void **state)
{
	struct weir_file *file;
	struct weir_files_info info;

	(void)state;
	assert_int_equal(weir_file_open(NULL, "/dev/null", NULL, &file), -EDEADLK);
	assert_int_equal(weir_files_info(&info), -EDEADLK);
	assert_null(weir_aligned_alloc(4096));
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

bent_test(a_failed_sync_fails_the_file_for_good)

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

/* --- O_DIRECT --- */

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

static void with_a_small_table(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();
	void (*body)(void) = a_full_table_leaves_direct_files_their_descriptors;

	(void)state;
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

bent_test(the_pool_is_as_large_as_may_be_locked)

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

bent_test(without_lockable_memory_direct_files_work)

#define in_dir(body)                                                                              \
	{                                                                                         \
		.name = #body, .test_func = ring_test_run, .setup_func = make_root,          \
		.teardown_func = remove_root, .initial_state = (void *)(uintptr_t)(body),         \
	}
#define plain(body) cmocka_unit_test_setup_teardown(body, make_root, remove_root)

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
		plain(on_bent_short_transfers_are_continued),
		in_dir(a_full_disk_ends_write_all_with_its_error),
		in_dir(the_size_limit_ends_write_all_with_its_error),
#ifndef WEIR_DEBUG
		in_dir(arguments_out_of_range_are_refused),
#endif
		in_dir(offsets_the_kernel_refuses_are_its_errors),
		in_dir(bad_memory_is_an_error),
		in_dir(errors_of_open_are_the_kernels),
		in_dir(a_new_file_gets_its_mode),
		in_dir(a_path_below_a_directory_does_not_leave_it),
		in_dir(directories_nest_as_roots),
		in_dir(names_are_made_moved_and_removed_below_a_directory),
		in_dir(names_do_not_leave_their_directory),
		in_dir(no_descriptor_left_is_an_error_that_passes),
		in_dir(a_cancelled_open_leaks_no_descriptor),
		in_dir(an_open_that_waits_for_ever_can_be_cancelled),
		in_dir(a_read_that_waits_can_be_cancelled_and_says_so),
		in_dir(close_waits_for_calls_and_refuses_new_ones),
		plain(what_is_left_open_is_closed_with_the_worker),
		plain(outside_a_coroutine_calls_are_refused),
		plain(on_bent_a_failed_sync_fails_the_file_for_good),
		in_dir(a_cancelled_sync_does_not_fail_the_file),
		in_dir(sizes_are_changed_and_told),
		in_dir(truncate_works_without_the_operation),
		in_dir(splice_moves_bytes_into_a_pipe),
		in_dir(direct_files_use_the_rings_table_and_memory),
		in_dir(unaligned_direct_transfers_are_refused_and_the_remedy_is_told),
		plain(with_a_small_table),
		in_dir(aligned_memory_comes_back_to_the_pool),
		plain(on_bent_the_pool_is_as_large_as_may_be_locked),
		plain(on_bent_without_lockable_memory_direct_files_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
