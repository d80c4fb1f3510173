/* SPDX-License-Identifier: MIT */
/*
 * test_open.c - opening and closing files, directories and the names in them.
 */
#include <sys/resource.h>

#include "tests/ring/files_fixture.h"

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
	touch("secret");
	touch("top/sub/file");
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
	touch("file");
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
	touch("sub/file");
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
	touch("top/file");
	touch("secret");
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

	touch("a");
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

	touch("a");
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
	weir_sleep(WEIR_MS);
	assert_int_equal(files_info().open, 1);
	assert_true(fcntl(weir_file_fd(file), F_GETFD) >= 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		without_worker(what_is_left_open_is_closed_with_the_worker),
		without_worker(outside_a_coroutine_calls_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
