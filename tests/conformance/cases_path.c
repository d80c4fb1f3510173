/* SPDX-License-Identifier: MIT */
/*
 * cases_path.c - names: how they are resolved and confined, and how they come and go.
 */
#include "tests/conformance/conform.h"

#include <linux/fs.h>
#include <linux/openat2.h>

/* In the directory: dir/, dir/file, file, loop -> loop, up -> .., in -> dir, abs -> /file. */
static int tree(struct cf *c)
{
	int fd = cf_dir(c);

	io_uring_prep_mkdirat(cf_step(c), fd, "dir", 0755);
	cf_must(c, cf_do(c), "mkdir");
	cf_file(c, "dir/file", "inner");
	cf_file(c, "file", "outer");
	return fd;
}

static void link_to(struct cf *c, int dir, const char *name, const char *target)
{
	io_uring_prep_symlinkat(cf_step(c), target, dir, name);
	cf_must(c, cf_do(c), name);
}

static void resolve(struct cf *c, int dir, const char *path, uint64_t flags)
{
	struct open_how *how = cf_mem(c, sizeof(*how));
	struct io_uring_sqe *sqe = cf_sqe_fd(c, path);

	how->flags = O_RDONLY;
	how->resolve = flags;
	io_uring_prep_openat2(sqe, dir, path, how);
	cf_await(c, 1);
}

static void a_name_beneath_is_opened(struct cf *c)
{
	int fd = tree(c);

	resolve(c, fd, "file", RESOLVE_BENEATH);
	resolve(c, fd, "dir/file", RESOLVE_BENEATH);
	resolve(c, fd, "dir/../file", RESOLVE_BENEATH);
	resolve(c, fd, "./dir//file", RESOLVE_BENEATH);
}

static void nothing_beneath_leads_out(struct cf *c)
{
	int fd = tree(c);

	link_to(c, fd, "up", "..");
	link_to(c, fd, "abs", "/file");
	link_to(c, fd, "in", "dir");
	resolve(c, fd, "..", RESOLVE_BENEATH);
	resolve(c, fd, "dir/../../file", RESOLVE_BENEATH);
	resolve(c, fd, "/file", RESOLVE_BENEATH);
	resolve(c, fd, "up/file", RESOLVE_BENEATH);
	resolve(c, fd, "abs", RESOLVE_BENEATH);
	resolve(c, fd, "in/file", RESOLVE_BENEATH);
}

static void no_symlink_is_followed(struct cf *c)
{
	int fd = tree(c);

	link_to(c, fd, "in", "dir");
	link_to(c, fd, "last", "file");
	resolve(c, fd, "file", RESOLVE_NO_SYMLINKS);
	resolve(c, fd, "in/file", RESOLVE_NO_SYMLINKS);
	resolve(c, fd, "last", RESOLVE_NO_SYMLINKS);
}

static void a_directory_as_root(struct cf *c)
{
	int fd = tree(c);

	link_to(c, fd, "abs", "/dir/file");
	link_to(c, fd, "dir/up", "../../../file");
	resolve(c, fd, "/file", RESOLVE_IN_ROOT);
	resolve(c, fd, "../../file", RESOLVE_IN_ROOT);
	resolve(c, fd, "abs", RESOLVE_IN_ROOT);
	resolve(c, fd, "dir/up", RESOLVE_IN_ROOT);
}

static void a_loop_of_symlinks_ends(struct cf *c)
{
	int fd = tree(c);

	link_to(c, fd, "a", "b");
	link_to(c, fd, "b", "a");
	resolve(c, fd, "a", 0);
	resolve(c, fd, "a", RESOLVE_BENEATH);
}

static void a_how_that_is_wrong_is_refused(struct cf *c)
{
	struct open_how *how = cf_mem(c, 64);
	struct io_uring_sqe *sqe;
	int fd = tree(c);

	resolve(c, fd, "file", 1ULL << 40);
	resolve(c, fd, "file", RESOLVE_BENEATH | RESOLVE_IN_ROOT);
	how->flags = 1ULL << 50;
	io_uring_prep_openat2(cf_sqe_fd(c, "flags"), fd, "file", how);
	cf_await(c, 1);
	how->flags = O_RDONLY;
	how->mode = 0644;
	io_uring_prep_openat2(cf_sqe_fd(c, "mode"), fd, "file", how);
	cf_await(c, 1);
	how->mode = 0;
	sqe = cf_sqe_fd(c, "size");
	io_uring_prep_openat2(sqe, fd, "file", how);
	sqe->len = 8;
	cf_await(c, 1);
}

static void open_with(struct cf *c, const char *name, const char *path, int flags)
{
	io_uring_prep_openat(cf_sqe_fd(c, name), AT_FDCWD, cf_path(c, path), flags, 0644);
	cf_await(c, 1);
}

static void opens_that_fail(struct cf *c)
{
	char *text = cf_mem(c, 400);

	tree(c);
	memset(text, 'x', 300);
	open_with(c, "missing", "none", O_RDONLY);
	open_with(c, "parent", "none/file", O_RDWR | O_CREAT);
	open_with(c, "through", "file/file", O_RDONLY);
	open_with(c, "exclusive", "file", O_RDWR | O_CREAT | O_EXCL);
	open_with(c, "directory", "file", O_RDONLY | O_DIRECTORY);
	open_with(c, "write", "dir", O_RDWR);
	open_with(c, "long", text, O_RDONLY);
	io_uring_prep_openat(cf_sqe_fd(c, "empty"), AT_FDCWD, "", O_RDONLY, 0);
	cf_await(c, 1);
	io_uring_prep_openat(cf_sqe_fd(c, "base"), 999, "file", O_RDONLY, 0);
	cf_await(c, 1);
	io_uring_prep_openat(cf_sqe_fd(c, "slash"), AT_FDCWD, cf_path(c, "file/"), O_RDONLY, 0);
	cf_await(c, 1);
}

static void a_symlink_itself_is_not_opened(struct cf *c)
{
	int fd = tree(c);

	link_to(c, fd, "link", "file");
	link_to(c, fd, "dangling", "none");
	open_with(c, "follow", "link", O_RDONLY);
	open_with(c, "nofollow", "link", O_RDONLY | O_NOFOLLOW);
	open_with(c, "dangling", "dangling", O_RDONLY);
	open_with(c, "exclusive", "dangling", O_RDWR | O_CREAT | O_EXCL);
	open_with(c, "create", "dangling", O_RDWR | O_CREAT);
	open_with(c, "created", "none", O_RDONLY);
}

static void symlink_to(struct cf *c, const char *name, const char *target, const char *path)
{
	io_uring_prep_symlinkat(cf_sqe(c, name), target, AT_FDCWD, cf_path(c, path));
	cf_await(c, 1);
}

static void symlinks_are_made(struct cf *c)
{
	tree(c);
	symlink_to(c, "make", "dir/file", "link");
	symlink_to(c, "again", "dir/file", "link");
	symlink_to(c, "over", "dir/file", "file");
	symlink_to(c, "parent", "file", "none/link");
	symlink_to(c, "empty", "", "another");
	cf_note_file(c, cf_open(c, "link", O_RDONLY));
}

static void an_open_may_truncate(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");

	open_with(c, "open", "file", O_RDWR | O_TRUNC);
	cf_note_file(c, fd);
}

/* --- names that come and go --- */

static void make_dir(struct cf *c, const char *name, const char *path)
{
	io_uring_prep_mkdirat(cf_sqe(c, name), AT_FDCWD, cf_path(c, path), 0755);
	cf_await(c, 1);
}

static void remove_name(struct cf *c, const char *name, const char *path, int flags)
{
	io_uring_prep_unlinkat(cf_sqe(c, name), AT_FDCWD, cf_path(c, path), flags);
	cf_await(c, 1);
}

static void rename_it(struct cf *c, const char *name, const char *from, const char *to, int flags)
{
	io_uring_prep_renameat(cf_sqe(c, name), AT_FDCWD, cf_path(c, from), AT_FDCWD,
			       cf_path(c, to), (unsigned)flags);
	cf_await(c, 1);
}

static void directories_are_made(struct cf *c)
{
	cf_file(c, "file", "");
	make_dir(c, "make", "dir");
	make_dir(c, "again", "dir");
	make_dir(c, "over", "file");
	make_dir(c, "parent", "none/dir");
	make_dir(c, "inside", "dir/dir");
	make_dir(c, "through", "file/dir");
	open_with(c, "open", "dir/dir", O_RDONLY | O_DIRECTORY);
}

static void names_are_removed(struct cf *c)
{
	tree(c);
	remove_name(c, "directory", "dir", 0);
	remove_name(c, "full", "dir", AT_REMOVEDIR);
	remove_name(c, "nodir", "file", AT_REMOVEDIR);
	remove_name(c, "file", "dir/file", 0);
	remove_name(c, "again", "dir/file", 0);
	remove_name(c, "empty", "dir", AT_REMOVEDIR);
	remove_name(c, "flags", "file", 1 << 20);
	open_with(c, "left", "file", O_RDONLY);
}

static void a_removed_file_is_there_while_it_is_open(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");

	remove_name(c, "remove", "file", 0);
	cf_note_file(c, fd);
	open_with(c, "open", "file", O_RDONLY);
	cf_file(c, "file", "new");
	cf_note_file(c, fd);
}

static void a_rename_replaces(struct cf *c)
{
	int a = cf_file(c, "a", "aaa");
	int b = cf_file(c, "b", "bbb");

	rename_it(c, "rename", "a", "b", 0);
	open_with(c, "old", "a", O_RDONLY);
	cf_note_file(c, cf_open(c, "b", O_RDONLY));
	cf_note_file(c, a);
	cf_note_file(c, b);
}

static void renames_that_fail(struct cf *c)
{
	tree(c);
	make_dir(c, "empty", "empty");
	rename_it(c, "missing", "none", "other", 0);
	rename_it(c, "parent", "file", "none/file", 0);
	rename_it(c, "onto directory", "file", "dir", 0);
	rename_it(c, "onto file", "dir", "file", 0);
	rename_it(c, "onto full", "empty", "dir", 0);
	rename_it(c, "onto empty", "dir", "empty", 0);
	rename_it(c, "into itself", "empty", "empty/below", 0);
	rename_it(c, "flags", "file", "other", 1 << 20);
}

static void a_rename_may_be_told_not_to_replace(struct cf *c)
{
	cf_file(c, "a", "aaa");
	cf_file(c, "b", "bbb");
	rename_it(c, "taken", "a", "b", RENAME_NOREPLACE);
	rename_it(c, "free", "a", "c", RENAME_NOREPLACE);
	cf_note_file(c, cf_open(c, "c", O_RDONLY));
	rename_it(c, "both", "c", "b", RENAME_EXCHANGE | RENAME_NOREPLACE);
}

static void two_names_change_places(struct cf *c)
{
	cf_file(c, "a", "aaa");
	cf_file(c, "b", "bbb");
	rename_it(c, "exchange", "a", "b", RENAME_EXCHANGE);
	cf_note_file(c, cf_open(c, "b", O_RDONLY));
	cf_note_file(c, cf_open(c, "a", O_RDONLY));
	rename_it(c, "alone", "a", "none", RENAME_EXCHANGE);
}

static void two_names_of_one_file(struct cf *c)
{
	int fd = cf_file(c, "a", "abc");

	io_uring_prep_linkat(cf_sqe(c, "link"), AT_FDCWD, cf_path(c, "a"), AT_FDCWD,
			     cf_path(c, "b"), 0);
	cf_await(c, 1);
	io_uring_prep_linkat(cf_sqe(c, "again"), AT_FDCWD, cf_path(c, "a"), AT_FDCWD,
			     cf_path(c, "b"), 0);
	cf_await(c, 1);
	rename_it(c, "same", "a", "b", 0);
	remove_name(c, "remove", "a", 0);
	cf_note_file(c, fd);
	cf_note_file(c, cf_open(c, "b", O_RDONLY));
}

/* --- statx --- */

static void stat_of(struct cf *c, const char *name, int dir, const char *path, int flags)
{
	struct statx *st = cf_mem(c, sizeof(*st));

	io_uring_prep_statx(cf_sqe(c, name), dir, path, flags, STATX_BASIC_STATS, st);
	cf_await(c, 1);
	if (c->last_res >= 0 && !c->broken)
		cf_note(c, "%s size %llu", S_ISDIR(st->stx_mode) ? "dir" :
			S_ISLNK(st->stx_mode)			 ? "link" :
								   "file",
			S_ISDIR(st->stx_mode) ? 0ULL : (unsigned long long)st->stx_size);
}

static void names_are_looked_at(struct cf *c)
{
	int fd = tree(c);
	int file = cf_open(c, "file", O_RDONLY);

	link_to(c, fd, "link", "file");
	stat_of(c, "file", fd, "file", 0);
	stat_of(c, "dir", fd, "dir", 0);
	stat_of(c, "link", fd, "link", 0);
	stat_of(c, "itself", fd, "link", AT_SYMLINK_NOFOLLOW);
	stat_of(c, "open", file, "", AT_EMPTY_PATH);
	stat_of(c, "missing", fd, "none", 0);
	stat_of(c, "through", fd, "file/x", 0);
	stat_of(c, "empty", fd, "", 0);
	stat_of(c, "base", 999, "file", 0);
}

/* SUBMIT_STABLE: a path may be gone once it is submitted. */
static void a_path_is_read_at_submission(struct cf *c)
{
	char *path;

	cf_file(c, "file", "abc");
	path = cf_mem(c, 256);
	strcpy(path, cf_path(c, "file"));
	io_uring_prep_openat(cf_sqe_fd(c, "open"), AT_FDCWD, path, O_RDONLY, 0);
	cf_submit(c);
	memset(path, 'x', 255);
	cf_await(c, 1);
}

static void a_socket_is_told_from_a_file(struct cf *c)
{
	struct cf_addr addr;

	cf_file(c, "file", "");
	cf_listener(c, AF_UNIX, &addr);
	if (c->broken)
		return;
	cf_note_res(c, "socket", c->kernel->ops->is_socket(c->kernel, addr.un.sun_path));
	cf_note_res(c, "file", c->kernel->ops->is_socket(c->kernel, cf_path(c, "file")));
	cf_note_res(c, "missing", c->kernel->ops->is_socket(c->kernel, cf_path(c, "none")));
	cf_note_res(c, "unlink", c->kernel->ops->unlink(c->kernel, addr.un.sun_path));
	cf_note_res(c, "again", c->kernel->ops->unlink(c->kernel, addr.un.sun_path));
	cf_note_res(c, "socket", c->kernel->ops->is_socket(c->kernel, addr.un.sun_path));
	open_with(c, "open", "none", O_RDONLY);
}

const struct cf_case cf_cases_path[] = {
	CF_CASE(a_name_beneath_is_opened,
		CF_LEGAL(WILL("file fd; dir/file fd; dir/../file fd; ./dir//file fd"))),
	CF_CASE(nothing_beneath_leads_out,
		CF_LEGAL(WILL(".. -EXDEV; dir/../../file -EXDEV; /file -EXDEV; up/file -EXDEV; "
			      "abs -EXDEV; in/file fd"))),
	CF_CASE(no_symlink_is_followed, CF_LEGAL(WILL("file fd; in/file -ELOOP; last -ELOOP"))),
	CF_CASE(a_directory_as_root, CF_LEGAL(WILL("/file fd; ../../file fd; abs fd; dir/up fd"))),
	CF_CASE(a_loop_of_symlinks_ends, CF_LEGAL(WILL("a -ELOOP; a -ELOOP"))),
	CF_CASE(a_how_that_is_wrong_is_refused,
		CF_LEGAL(WILL("file -EINVAL; file -EINVAL; flags -EINVAL; mode -EINVAL; "
			      "size -EINVAL"))),
	CF_CASE(opens_that_fail,
		CF_LEGAL(WILL("missing -ENOENT; parent -ENOENT; through -ENOTDIR; "
			      "exclusive -EEXIST; directory -ENOTDIR; write -EISDIR; "
			      "long -ENAMETOOLONG; empty -ENOENT; base -EBADF; slash -ENOTDIR"))),
	CF_CASE(a_symlink_itself_is_not_opened,
		CF_LEGAL(WILL("follow fd; nofollow -ELOOP; dangling -ENOENT; exclusive -EEXIST; "
			      "create fd; created fd"))),
	CF_CASE(symlinks_are_made,
		CF_LEGAL(WILL("make 0; again -EEXIST; over -EEXIST; parent -ENOENT; "
			      "empty -ENOENT; \"inner\""))),
	CF_CASE(an_open_may_truncate, CF_LEGAL(WILL("open fd; \"\""))),
	CF_CASE(directories_are_made,
		CF_LEGAL(WILL("make 0; again -EEXIST; over -EEXIST; parent -ENOENT; inside 0; "
			      "through -ENOTDIR; open fd"))),
	CF_CASE(names_are_removed,
		CF_LEGAL(WILL("directory -EISDIR; full -ENOTEMPTY; nodir -ENOTDIR; file 0; "
			      "again -ENOENT; empty 0; flags -EINVAL; left fd"))),
	CF_CASE(a_removed_file_is_there_while_it_is_open,
		CF_LEGAL(WILL("remove 0; \"abc\"; open -ENOENT; \"abc\""))),
	CF_CASE(a_rename_replaces,
		CF_LEGAL(WILL("rename 0; old -ENOENT; \"aaa\"; \"aaa\"; \"bbb\""))),
	CF_CASE(renames_that_fail,
		CF_LEGAL(WILL("empty 0; missing -ENOENT; parent -ENOENT; onto directory -EISDIR; "
			      "onto file -ENOTDIR; onto full -ENOTEMPTY; onto empty 0; "
			      "into itself -EINVAL; flags -EINVAL"))),
	CF_CASE(a_rename_may_be_told_not_to_replace,
		CF_LEGAL(WILL("taken -EEXIST; free 0; \"aaa\"; both -EINVAL"))),
	/* The runtime does not, and the simulated disk does not either. */
	CF_CASE(two_names_change_places, .arms = CF_ON_URING | CF_ON_POLL,
		CF_LEGAL(WILL("exchange 0; \"aaa\"; \"bbb\"; alone -ENOENT"))),
	CF_CASE(two_names_of_one_file,
		CF_LEGAL(WILL("link 0; again -EEXIST; same 0; remove 0; \"abc\"; \"abc\""))),
	CF_CASE(names_are_looked_at,
		CF_LEGAL(WILL("file 0; file size 5; dir 0; dir size 0; link 0; file size 5; "
			      "itself 0; link size 4; open 0; file size 5; missing -ENOENT; "
			      "through -ENOTDIR; empty -ENOENT; base -EBADF"))),
	CF_CASE(a_path_is_read_at_submission, NOT_POLL, CF_LEGAL(WILL("open fd"))),
	CF_CASE(a_socket_is_told_from_a_file,
		CF_LEGAL(WILL("socket 1; file 0; missing -ENOENT; unlink 0; again -ENOENT; "
			      "socket -ENOENT; open -ENOENT"))),
	{ .name = NULL }
};
