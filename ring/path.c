/* SPDX-License-Identifier: MIT */
/*
 * path.c - names below a directory: unlink, rmdir, mkdir, rename.
 *
 * These system calls know no RESOLVE_BENEATH. So the path is split: everything up to the
 * last slash is opened as a directory, with openat2's rules, and the call itself gets that
 * directory and a plain name, which cannot lead anywhere.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "ring/files.h"

/* A directory, and a name in it. */
struct place {
	struct weir_dir *parent;	/* opened for it; NULL: dir itself */
	int fd;
	const char *name;
};

static int find_place(struct weir_dir *dir, const char *path, struct place *ret)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char parent[PATH_MAX];
	size_t size = (size_t)(name - path);
	int r;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	*ret = (struct place){ .fd = dir ? dir->file.fd : AT_FDCWD, .name = name };
	if (!dir)
		ret->name = path;
	if (!dir || !slash)
		return 0;
	if (size >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, size);
	parent[size] = '\0';
	r = weir_dir_open(dir, parent, 0, &ret->parent);
	if (r < 0)
		return r;
	ret->fd = ret->parent->file.fd;
	return 0;
}

/* The verdict stays that of the call it was opened for. */
static void leave_place(const struct place *place)
{
	struct weir_ring *ring = weir__ring_self();
	enum weir_verdict verdict;

	if (!place->parent)
		return;
	verdict = ring->verdict;
	weir_dir_close(place->parent);
	ring->verdict = verdict;
}

static int unlink_at(struct weir_dir *dir, const char *path, const char *what, int flags)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	struct place place;
	int r = find_place(dir, path, &place);

	if (r < 0)
		return r;
	r = weir__op_begin(&w, what, WEIR_NEVER, &sqe);
	if (!r) {
		io_uring_prep_unlinkat(sqe, place.fd, place.name, flags);
		r = weir__op_end(&w, sqe, WEIR_NEVER);
	}
	leave_place(&place);
	return r;
}

int weir_path_unlink(struct weir_dir *dir, const char *path)
{
	return unlink_at(dir, path, "unlink", 0);
}

int weir_path_rmdir(struct weir_dir *dir, const char *path)
{
	return unlink_at(dir, path, "rmdir", AT_REMOVEDIR);
}

int weir_path_mkdir(struct weir_dir *dir, const char *path, unsigned mode)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	struct place place;
	int r = find_place(dir, path, &place);

	if (r < 0)
		return r;
	r = weir__op_begin(&w, "mkdir", WEIR_NEVER, &sqe);
	if (!r) {
		io_uring_prep_mkdirat(sqe, place.fd, place.name, mode);
		r = weir__op_end(&w, sqe, WEIR_NEVER);
	}
	leave_place(&place);
	return r;
}

int weir_path_rename(struct weir_dir *dir, const char *from, const char *to)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	struct place source, target;
	int r = find_place(dir, from, &source);

	if (r < 0)
		return r;
	r = find_place(dir, to, &target);
	if (r < 0)
		goto close_source;
	r = weir__op_begin(&w, "rename", WEIR_NEVER, &sqe);
	if (!r) {
		io_uring_prep_renameat(sqe, source.fd, source.name, target.fd, target.name, 0);
		r = weir__op_end(&w, sqe, WEIR_NEVER);
	}
	leave_place(&target);
close_source:
	leave_place(&source);
	return r;
}
