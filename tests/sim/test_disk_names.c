/* SPDX-License-Identifier: MIT */
/*
 * test_disk_names.c - what the simulated disk says about names, against the kernel that the test
 * runs on: the same steps are done in a real directory and in a simulated one, and must end in
 * the same way.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/openat2.h>
#include <sys/syscall.h>

#include "tests/sim/disk_host.h"

#define STEPS_MAX 100
#define NOREPLACE 1 /* RENAME_NOREPLACE */

enum op {
	OP_OPEN,    /* path, flags */
	OP_OPEN2,   /* path, flags, resolve */
	OP_HOLD,    /* path, flags: it stays open */
	OP_HELD,    /* path beneath what is held, flags */
	OP_DROP,    /* what is held */
	OP_RENAME,  /* path, path2, flags */
	OP_MOVE,    /* path, path2 beneath what is held */
	OP_UNLINK,  /* path, flags */
	OP_MKDIR,   /* path */
	OP_SYMLINK, /* target, path */
	OP_LINK,    /* path, path2 */
	OP_STAT,    /* path, flags */
	OP_STAT_HELD,
};

struct step {
	enum op op;
	const char *path, *path2;
	unsigned flags;
	uint64_t resolve;
	unsigned mode;
};

static int held;

/* Type and mode, and links and size where file systems agree on them. */
static int judge(int r, const struct statx *st)
{
	int rest = S_ISDIR(st->stx_mode) ? 0 : (int)st->stx_nlink * 100 + (int)st->stx_size;

	return r < 0 ? r : st->stx_mode * 1000 + rest;
}

/* --- the real kernel --- */

static int code(long r)
{
	return r < 0 ? -errno : (int)r;
}

static int real_open(int dir, const struct step *step)
{
	struct open_how how = { .flags = step->flags,
				.resolve = step->resolve,
				.mode = step->mode };

	if (step->op == OP_OPEN2)
		return code(syscall(SYS_openat2, dir, step->path, &how, sizeof(how)));
	return code(openat(dir, step->path, (int)step->flags, 0644));
}

static int closed(int fd)
{
	return fd < 0 ? fd : close(fd);
}

static int real_stat(int dir, const char *path, unsigned flags)
{
	struct statx st = { 0 };
	int r = code(statx(dir, path, (int)flags, STATX_BASIC_STATS, &st));

	return judge(r, &st);
}

static int real_step(int dir, const struct step *step)
{
	switch (step->op) {
	case OP_OPEN:
	case OP_OPEN2:
		return closed(real_open(dir, step));
	case OP_HOLD:
		return (held = real_open(dir, step)) < 0 ? held : 0;
	case OP_HELD:
		return closed(real_open(held, step));
	case OP_DROP:
		return closed(held);
	case OP_RENAME:
		return code(renameat2(dir, step->path, dir, step->path2, step->flags));
	case OP_MOVE:
		return code(renameat2(dir, step->path, held, step->path2, 0));
	case OP_UNLINK:
		return code(unlinkat(dir, step->path, (int)step->flags));
	case OP_MKDIR:
		return code(mkdirat(dir, step->path, 0755));
	case OP_SYMLINK:
		return code(symlinkat(step->path, dir, step->path2));
	case OP_LINK:
		return code(linkat(dir, step->path, dir, step->path2, (int)step->flags));
	case OP_STAT:
		return real_stat(dir, step->path, step->flags);
	case OP_STAT_HELD:
		return real_stat(held, "", AT_EMPTY_PATH);
	}
	return 0;
}

static void clear(const char *path)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", path);
	assert_int_equal(system(command), 0);
}

static void do_real(const struct step *steps, unsigned count, int *ret)
{
	char path[] = "disk-names-XXXXXX";
	mode_t mask = umask(0);
	int dir;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(dir >= 0);
	assert_int_equal(fchmod(dir, 0755), 0);
	for (unsigned i = 0; i < count; i++)
		ret[i] = real_step(dir, &steps[i]);
	close(dir);
	umask(mask);
	clear(path);
}

/* --- the simulated one --- */

static int sim_open(int dir, const struct step *step)
{
	struct open_how how = { .flags = step->flags,
				.resolve = step->resolve,
				.mode = step->mode };
	struct io_uring_sqe *sqe = bare_sqe();

	if (step->op == OP_OPEN2)
		io_uring_prep_openat2(sqe, dir, step->path, &how);
	else
		io_uring_prep_openat(sqe, dir, step->path, (int)step->flags, 0644);
	return bare_do(sqe).res;
}

static int sim_closed(int fd)
{
	return fd < 0 ? fd : bare_close(fd);
}

static int sim_stat(int dir, const char *path, unsigned flags)
{
	struct io_uring_sqe *sqe = bare_sqe();
	struct statx st = { 0 };

	io_uring_prep_statx(sqe, dir, path, (int)flags, STATX_BASIC_STATS, &st);
	return judge(bare_do(sqe).res, &st);
}

static int sim_path(int dir, const struct step *step)
{
	struct io_uring_sqe *sqe = bare_sqe();

	if (step->op == OP_RENAME)
		io_uring_prep_renameat(sqe, dir, step->path, dir, step->path2, step->flags);
	else if (step->op == OP_MOVE)
		io_uring_prep_renameat(sqe, dir, step->path, held, step->path2, 0);
	else if (step->op == OP_UNLINK)
		io_uring_prep_unlinkat(sqe, dir, step->path, (int)step->flags);
	else if (step->op == OP_MKDIR)
		io_uring_prep_mkdirat(sqe, dir, step->path, 0755);
	else if (step->op == OP_SYMLINK)
		io_uring_prep_symlinkat(sqe, step->path, dir, step->path2);
	else
		io_uring_prep_linkat(sqe, dir, step->path, dir, step->path2, (int)step->flags);
	return bare_do(sqe).res;
}

static int sim_step(int dir, const struct step *step)
{
	switch (step->op) {
	case OP_OPEN:
	case OP_OPEN2:
		return sim_closed(sim_open(dir, step));
	case OP_HOLD:
		return (held = sim_open(dir, step)) < 0 ? held : 0;
	case OP_HELD:
		return sim_closed(sim_open(held, step));
	case OP_DROP:
		return sim_closed(held);
	case OP_STAT:
		return sim_stat(dir, step->path, step->flags);
	case OP_STAT_HELD:
		return sim_stat(held, "", AT_EMPTY_PATH);
	default:
		return sim_path(dir, step);
	}
}

static const struct step *sim_steps;
static unsigned sim_count;
static int sim_seen[STEPS_MAX];

static void do_sim(unsigned life)
{
	int dir;

	(void)life;
	EQUAL(disk_mkdir("dir"), 0);
	dir = disk_open("dir", O_RDONLY | O_DIRECTORY);
	CHECK(dir >= 0);
	for (unsigned i = 0; i < sim_count; i++)
		sim_seen[i] = sim_step(dir, &sim_steps[i]);
}

/* --- both --- */

static void compare(const struct step *steps, unsigned count)
{
	static const char *const ops[] = { "open",   "open2", "hold",	  "held",  "drop",
					   "rename", "move",  "unlink",	  "mkdir", "symlink",
					   "link",   "stat",  "stat-held" };
	int seen[STEPS_MAX];
	unsigned wrong = 0;

	assert_in_range(count, 1, STEPS_MAX);
	do_real(steps, count, seen);
	sim_steps = steps;
	sim_count = count;
	assert_int_equal(disk_play(do_sim), 0);
	for (unsigned i = 0; i < count; i++) {
		if (seen[i] == sim_seen[i])
			continue;
		wrong++;
		print_error("%u: %s %.40s %.40s 0x%x: %d here, %d simulated\n", i, ops[steps[i].op],
			    steps[i].path ? steps[i].path : "",
			    steps[i].path2 ? steps[i].path2 : "", steps[i].flags, seen[i],
			    sim_seen[i]);
	}
	assert_int_equal(wrong, 0);
}

#define COMPARE(...)                                                                               \
	do {                                                                                       \
		const struct step steps_[] = { __VA_ARGS__ };                                      \
		compare(steps_, sizeof(steps_) / sizeof(steps_[0]));                               \
	} while (0)

#define OPEN(path_, flags_)                                                                        \
	{                                                                                          \
		.op = OP_OPEN, .path = (path_), .flags = (flags_)                                  \
	}
#define OPEN2(path_, flags_, resolve_, mode_)                                                      \
	{                                                                                          \
		.op = OP_OPEN2, .path = (path_), .flags = (flags_), .resolve = (resolve_),         \
		.mode = (mode_)                                                                    \
	}
#define HOLD(path_, flags_)                                                                        \
	{                                                                                          \
		.op = OP_HOLD, .path = (path_), .flags = (flags_)                                  \
	}
#define HELD(path_, flags_)                                                                        \
	{                                                                                          \
		.op = OP_HELD, .path = (path_), .flags = (flags_)                                  \
	}
#define DROP                                                                                       \
	{                                                                                          \
		.op = OP_DROP                                                                      \
	}
#define RENAME(from_, to_, flags_)                                                                 \
	{                                                                                          \
		.op = OP_RENAME, .path = (from_), .path2 = (to_), .flags = (flags_)                \
	}
#define MOVE(from_, to_)                                                                           \
	{                                                                                          \
		.op = OP_MOVE, .path = (from_), .path2 = (to_)                                     \
	}
#define UNLINK(path_, flags_)                                                                      \
	{                                                                                          \
		.op = OP_UNLINK, .path = (path_), .flags = (flags_)                                \
	}
#define MKDIR(path_)                                                                               \
	{                                                                                          \
		.op = OP_MKDIR, .path = (path_)                                                    \
	}
#define SYMLINK(target_, path_)                                                                    \
	{                                                                                          \
		.op = OP_SYMLINK, .path = (target_), .path2 = (path_)                              \
	}
#define LINK(from_, to_)                                                                           \
	{                                                                                          \
		.op = OP_LINK, .path = (from_), .path2 = (to_)                                     \
	}
#define STAT(path_, flags_)                                                                        \
	{                                                                                          \
		.op = OP_STAT, .path = (path_), .flags = (flags_)                                  \
	}
#define STAT_HELD                                                                                  \
	{                                                                                          \
		.op = OP_STAT_HELD                                                                 \
	}
#define MAKE(name_) OPEN(name_, O_RDWR | O_CREAT)
#define HAS(name_) STAT(name_, AT_SYMLINK_NOFOLLOW)
/* file, dir/, dir/in, full/sub/, to-file, to-dir, dangling, loop */
#define TREE                                                                                       \
	MAKE("file"), MKDIR("dir"), MAKE("dir/in"), MKDIR("full"), MKDIR("full/sub"),              \
		SYMLINK("file", "to-file"), SYMLINK("dir", "to-dir"),                              \
		SYMLINK("nothing", "dangling"), SYMLINK("loop", "loop")

static char long_name[257], long_path[4200];

static const char *name_of(int size)
{
	memset(long_name, 'n', sizeof(long_name));
	long_name[size] = '\0';
	return long_name;
}

/* "./././": beneath the directory, size bytes. */
static const char *path_of(int size)
{
	for (int i = 0; i < size; i++)
		long_path[i] = i % 2 ? '/' : '.';
	long_path[size] = '\0';
	return long_path;
}

static void an_open_ends_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(TREE, OPEN("", 0), OPEN("none", 0), OPEN("none/file", 0),
		OPEN("none/file", O_CREAT), OPEN("file/in", 0), OPEN("file/", 0), OPEN("file/.", 0),
		OPEN("file/..", 0), OPEN("dir", 0), OPEN("dir/", 0), OPEN("dir//.//in", 0),
		OPEN("dir/../file", 0), OPEN(".", 0), OPEN("dir", O_RDWR), OPEN("dir", O_WRONLY),
		OPEN("dir", O_TRUNC), OPEN("dir", O_CREAT), OPEN("dir", O_CREAT | O_EXCL),
		OPEN("file", O_CREAT | O_EXCL), OPEN("file", O_RDWR | O_CREAT),
		OPEN("file", O_EXCL), OPEN("to-file", O_CREAT | O_EXCL),
		OPEN("dangling", O_CREAT | O_EXCL), OPEN("dangling", 0), OPEN("file", O_DIRECTORY),
		OPEN("to-dir", O_DIRECTORY), OPEN("to-file", 0), OPEN("to-file", O_NOFOLLOW),
		OPEN("to-dir", O_NOFOLLOW), OPEN("to-dir", O_NOFOLLOW | O_DIRECTORY),
		OPEN("to-dir/", O_NOFOLLOW), OPEN("to-dir/in", O_NOFOLLOW), OPEN("loop", 0),
		OPEN("loop/in", 0), OPEN("loop", O_NOFOLLOW), OPEN("new/", O_CREAT),
		OPEN("file/", O_CREAT), OPEN("dir/", O_CREAT), OPEN(".", O_CREAT),
		OPEN("..", O_CREAT), OPEN("file", O_RDONLY | O_TRUNC),
		OPEN("dangling", O_RDWR | O_CREAT), HAS("nothing"), OPEN("dir", O_TMPFILE | O_RDWR),
		OPEN("dir", O_TMPFILE), OPEN("file", O_TMPFILE | O_RDWR),
		OPEN("none", O_TMPFILE | O_RDWR));
}

static void names_and_paths_may_be_so_long_and_no_longer(void **state)
{
	(void)state;
	COMPARE(OPEN(name_of(254), O_CREAT), MKDIR(name_of(254)));
	COMPARE(OPEN(name_of(255), O_CREAT), HAS(long_name), OPEN(long_name, 0));
	COMPARE(OPEN(name_of(256), O_CREAT), OPEN(long_name, 0), MKDIR(long_name),
		SYMLINK("x", long_name), UNLINK(long_name, 0), RENAME(long_name, "x", 0),
		HAS(long_name));
	COMPARE(OPEN(path_of(4094), 0));
	COMPARE(OPEN(path_of(4095), 0), SYMLINK(long_path, "link"), OPEN("link", 0));
	COMPARE(OPEN(path_of(4096), 0), SYMLINK(long_path, "link"), OPEN("link", 0));
}

static void so_many_symlinks_are_followed_and_no_more(void **state)
{
	struct step steps[44] = { MAKE("l0") };
	char names[43][8];

	(void)state;
	for (int i = 0; i < 43; i++)
		snprintf(names[i], sizeof(names[i]), "l%d", i);
	for (int i = 1; i < 42; i++)
		steps[i] = (struct step)SYMLINK(names[i - 1], names[i]);
	steps[42] = (struct step)OPEN("l40", 0);
	steps[43] = (struct step)OPEN("l41", 0);
	compare(steps, 44);
}

static void an_open_of_a_path_only_ends_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(TREE, OPEN("file", O_PATH), OPEN("dir", O_PATH), OPEN("file", O_PATH | O_DIRECTORY),
		OPEN("to-file", O_PATH | O_NOFOLLOW),
		OPEN("to-file", O_PATH | O_NOFOLLOW | O_DIRECTORY), OPEN("new", O_PATH | O_CREAT),
		OPEN("file", O_PATH | O_CREAT | O_EXCL), OPEN("dir", O_PATH | O_RDWR),
		OPEN("loop", O_PATH), OPEN2("file", O_PATH | O_RDWR, 0, 0),
		OPEN2("file", O_PATH | O_TRUNC, 0, 0), OPEN2("file", O_PATH | O_CLOEXEC, 0, 0),
		HOLD("dir", O_PATH), HELD("in", 0), HELD("../file", 0), STAT_HELD, DROP,
		HOLD("to-file", O_PATH | O_NOFOLLOW), STAT_HELD, HELD("in", 0), DROP);
}

#define BENEATH(path_) OPEN2(path_, 0, RESOLVE_BENEATH, 0)
#define IN_ROOT(path_) OPEN2(path_, 0, RESOLVE_IN_ROOT, 0)
#define NO_LINKS(path_) OPEN2(path_, 0, RESOLVE_NO_SYMLINKS, 0)

static void what_openat2_allows_is_what_it_allows_here(void **state)
{
	(void)state;
	COMPARE(TREE, SYMLINK("..", "up"), SYMLINK("/file", "absolute"),
		SYMLINK("../file", "dir/back"), BENEATH("file"), BENEATH("dir/../file"),
		BENEATH(".."), BENEATH("../dir"), BENEATH("dir/../.."), BENEATH("/file"),
		BENEATH("up"), BENEATH("up/file"), BENEATH("absolute"), BENEATH("dir/back"),
		BENEATH("to-dir/back"), BENEATH("."), BENEATH("loop"), BENEATH("none"),
		IN_ROOT("/file"), IN_ROOT("absolute"), IN_ROOT("../../file"), IN_ROOT("up/file"),
		IN_ROOT("dir/back"), IN_ROOT("none"), NO_LINKS("file"), NO_LINKS("to-file"),
		NO_LINKS("to-dir/in"), NO_LINKS("to-dir/"), NO_LINKS("dangling"),
		OPEN2("to-file", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS, 0),
		OPEN2("to-file", O_NOFOLLOW, RESOLVE_NO_SYMLINKS, 0),
		OPEN2("file", 0, RESOLVE_NO_XDEV, 0), OPEN2("to-file", 0, RESOLVE_NO_MAGICLINKS, 0),
		OPEN2("file", 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0),
		OPEN2("file", 0, 1 << 10, 0), OPEN2("file", 0, 0, 0644),
		OPEN2("m", O_CREAT | O_RDWR, 0, 0600), HAS("m"),
		OPEN2("m", O_CREAT | O_RDWR, 0, 010000), OPEN2("f", O_CREAT, RESOLVE_CACHED, 0),
		OPEN2("file", O_TRUNC, RESOLVE_CACHED, 0), OPEN2("file", O_RDONLY | 1 << 30, 0, 0),
		OPEN2("dir", O_RDONLY | O_TMPFILE, 0, 0600));
}

static void a_rename_ends_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(TREE, MAKE("other"), MKDIR("empty"), RENAME("none", "x", 0),
		RENAME("file", "none/x", 0), RENAME("file", "file/x", 0), RENAME("file", "dir", 0),
		RENAME("dir", "file", 0), RENAME("dir", "full", 0), RENAME("full", "full/sub", 0),
		RENAME("full", "full/sub/x", 0), RENAME("full/sub", "full", 0),
		RENAME("full", "full", 0), RENAME(".", "x", 0), RENAME("dir/.", "x", 0),
		RENAME("dir/..", "x", 0), RENAME("file", ".", 0), RENAME("file", "..", 0),
		RENAME("file", "new/", 0), RENAME("file/", "new", 0),
		RENAME("file", "other", NOREPLACE), RENAME("none", "other", NOREPLACE),
		RENAME("full", "full/sub", NOREPLACE), RENAME("file", ".", NOREPLACE),
		RENAME("file", "file", NOREPLACE), RENAME("file", "x", 1 << 8), RENAME("", "x", 0),
		RENAME("file", "", 0), RENAME("file", "other", 0), HAS("file"), HAS("other"),
		LINK("other", "second"), RENAME("other", "second", 0), HAS("other"), HAS("second"),
		RENAME("to-dir", "moved", 0), HAS("moved"), HAS("to-dir"),
		RENAME("dir/in", "full/in", 0), HAS("dir/in"), HAS("full/in"),
		RENAME("dir", "empty/", 0), HAS("dir"), HAS("empty"), RENAME("empty", "dir/", 0),
		HAS("dir"), RENAME("full/sub", "dir/sub", 0), HAS("full"), HAS("dir"),
		RENAME("dangling", "dir", 0), RENAME("dangling", "second", NOREPLACE),
		RENAME("loop", "second", 0), HAS("second"));
}

static void a_replaced_directory_takes_no_names(void **state)
{
	(void)state;
	COMPARE(MKDIR("a"), MKDIR("b"), HOLD("b", 0), RENAME("a", "b", 0), HELD("x", O_CREAT),
		HELD(".", 0), STAT_HELD, DROP);
}

static void an_unlink_ends_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(TREE, UNLINK("", 0), UNLINK("none", 0), UNLINK("none/x", 0), UNLINK("file/x", 0),
		UNLINK("file/", 0), UNLINK("dir", 0), UNLINK("dir/", 0), UNLINK(".", 0),
		UNLINK("..", 0), UNLINK("dir/.", 0), UNLINK("dir/..", 0),
		UNLINK("file", AT_REMOVEDIR), UNLINK("none", AT_REMOVEDIR),
		UNLINK("full", AT_REMOVEDIR), UNLINK(".", AT_REMOVEDIR),
		UNLINK("full/sub/.", AT_REMOVEDIR), UNLINK("full/sub/..", AT_REMOVEDIR),
		UNLINK("to-dir", AT_REMOVEDIR), UNLINK("to-dir/", AT_REMOVEDIR),
		UNLINK("to-dir/", 0), UNLINK("to-file/", 0), UNLINK("dangling/", 0),
		UNLINK("file", 1 << 4), UNLINK("to-dir/in", 0), UNLINK("to-dir", 0), HAS("dir"),
		UNLINK("full/sub/", AT_REMOVEDIR), HAS("full"), UNLINK("full", AT_REMOVEDIR),
		HAS("full"), UNLINK("loop", 0), UNLINK("file", 0), HAS("file"), UNLINK("file", 0));
}

static void a_new_directory_or_link_ends_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(TREE, MKDIR(""), MKDIR("dir"), MKDIR("file"), MKDIR("file/x"), MKDIR("none/x"),
		MKDIR("dangling"), MKDIR("loop"), MKDIR("loop/x"), MKDIR("."), MKDIR(".."),
		MKDIR("dir/."), MKDIR("new/"), HAS("new"), HAS("full"), MKDIR("full/two"),
		HAS("full"), SYMLINK("", "x"), SYMLINK("y", ""), SYMLINK("y", "file"),
		SYMLINK("y", "none/x"), SYMLINK("y", "x/"), SYMLINK("y", "dangling"),
		SYMLINK("y", "."), SYMLINK("12345", "five"), HAS("five"), LINK("none", "x"),
		LINK("file", "dir"), LINK("dir", "x"), LINK("dir", "file"), LINK("file", "x/"),
		LINK("file/", "x"), LINK("file", "none/x"), LINK("", "x"), LINK("file", "second"),
		HAS("file"), LINK("to-file", "third"), HAS("third"), HAS("file"), UNLINK("file", 0),
		HAS("second"));
}

static void a_removed_directory_is_empty_for_good(void **state)
{
	(void)state;
	COMPARE(MKDIR("dir"), MAKE("file"), HOLD("dir", O_DIRECTORY), HELD("..", O_DIRECTORY),
		UNLINK("dir", AT_REMOVEDIR), HELD("x", O_CREAT), MOVE("file", "x"), HELD("x", 0),
		HELD(".", 0), HELD("../file", 0), STAT_HELD, DROP, MKDIR("dir"), HOLD("file", 0),
		HELD("x", 0), HELD("", 0), UNLINK("file", 0), STAT_HELD, DROP, HAS("file"));
}

static void a_stat_ends_as_it_does_here(void **state)
{
	(void)state;
	COMPARE(TREE, STAT("", 0), STAT("none", 0), STAT("file/x", 0), STAT("file/", 0),
		STAT("dir/", 0), STAT(".", 0), STAT("full", 0), STAT("full/sub", 0),
		STAT("to-file", 0), STAT("to-dir", 0), HAS("to-dir"), HAS("to-dir/"),
		STAT("dangling", 0), HAS("dangling"), STAT("loop", 0), HAS("loop"),
		STAT("", AT_EMPTY_PATH), STAT("file", 1 << 20));
}

/* --- where the base does not matter, and where it does --- */

static void bases(unsigned life)
{
	struct step step = OPEN("/file", 0);
	struct step relative = OPEN("file", 0);
	int fd;

	(void)life;
	disk_put("file", "x");
	fd = disk_open("file", O_RDONLY);
	EQUAL(sim_closed(sim_open(999, &step)), 0);
	EQUAL(sim_closed(sim_open(999, &relative)), -EBADF);
	EQUAL(sim_closed(sim_open(fd, &step)), 0);
	EQUAL(sim_closed(sim_open(fd, &relative)), -ENOTDIR);
	CHECK(sim_stat(999, "/file", 0) > 0);
	EQUAL(sim_stat(999, "file", 0), -EBADF);
	step = (struct step)RENAME("/file", "/new", 0);
	EQUAL(sim_path(999, &step), 0);
	step = (struct step)MKDIR("/dir");
	EQUAL(sim_path(999, &step), 0);
	step = (struct step)UNLINK("/new", 0);
	EQUAL(sim_path(999, &step), 0);
	step = (struct step)UNLINK("new", 0);
	EQUAL(sim_path(999, &step), -EBADF);
	EQUAL(sim_path(fd, &step), -ENOTDIR);
	step = (struct step)UNLINK("/", AT_REMOVEDIR);
	EQUAL(sim_path(fd, &step), -EBUSY);
	step.flags = 0;
	EQUAL(sim_path(fd, &step), -EISDIR);
	EQUAL(disk_mkdir("/"), -EEXIST);
	EQUAL(disk_rename("/", "x"), -EBUSY);
	EQUAL(disk_has("../../.."), true);
}

static void an_absolute_path_asks_for_no_base(void **state)
{
	(void)state;
	assert_int_equal(disk_play(bases), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_ends_as_it_does_here),
		cmocka_unit_test(names_and_paths_may_be_so_long_and_no_longer),
		cmocka_unit_test(so_many_symlinks_are_followed_and_no_more),
		cmocka_unit_test(an_open_of_a_path_only_ends_as_it_does_here),
		cmocka_unit_test(what_openat2_allows_is_what_it_allows_here),
		cmocka_unit_test(a_rename_ends_as_it_does_here),
		cmocka_unit_test(a_replaced_directory_takes_no_names),
		cmocka_unit_test(an_unlink_ends_as_it_does_here),
		cmocka_unit_test(a_new_directory_or_link_ends_as_it_does_here),
		cmocka_unit_test(a_removed_directory_is_empty_for_good),
		cmocka_unit_test(a_stat_ends_as_it_does_here),
		cmocka_unit_test(an_absolute_path_asks_for_no_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
