/* SPDX-License-Identifier: MIT */
/*
 * disk_calls.c - what of the seam is the disk's, and how scenarios put files there and look at
 * them.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/sim/disk.h"

static int walk_to(struct weir_sim_host *host, const char *path, struct weir_sim_walk *ret)
{
	return weir__sim_walk(host->disk->root, path, WEIR_SIM_FOLLOW, 0, ret);
}

static int walk_name(struct weir_sim_host *host, const char *path, struct weir_sim_walk *ret)
{
	return weir__sim_walk(host->disk->root, path, WEIR_SIM_NOFOLLOW, 0, ret);
}

/* --- the seam --- */

static int open_of(struct weir_kernel *kernel, int fd, struct weir_sim_open **ret)
{
	struct weir_sim_file *file = weir__sim_fd_get(weir__sim_host_of(kernel), fd);

	if (!file)
		return -EBADF;
	if (file->ops != &weir__sim_disk_file_ops)
		return -ESPIPE;
	*ret = weir__sim_open_of(file);
	return 0;
}

static ssize_t call_preadv2(struct weir_kernel *kernel, int fd, const struct iovec *iov, int count,
			    int64_t offset, int flags)
{
	struct weir_sim_open *open;
	int r = open_of(kernel, fd, &open);

	return r < 0 ? r : weir__sim_disk_in(open, iov, count, offset, flags);
}

static ssize_t call_pwritev2(struct weir_kernel *kernel, int fd, const struct iovec *iov, int count,
			     int64_t offset, int flags)
{
	struct weir_sim_open *open;
	int r = open_of(kernel, fd, &open);

	return r < 0 ? r : weir__sim_disk_out(open, iov, count, offset, flags);
}

static int call_statx(struct weir_kernel *kernel, int fd, unsigned mask, struct statx *ret_stat)
{
	struct weir_sim_file *file = weir__sim_fd_get(weir__sim_host_of(kernel), fd);

	(void)mask;
	if (!file)
		return -EBADF;
	if (file->ops == &weir__sim_disk_file_ops) {
		weir__sim_disk_stat(weir__sim_open_of(file)->inode, ret_stat);
		return 0;
	}
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->stx_mask = STATX_BASIC_STATS;
	ret_stat->stx_mode = S_IFSOCK | 0777;
	ret_stat->stx_ino = file->number;
	return 0;
}

static int call_fstatfs(struct weir_kernel *kernel, int fd, struct statfs *ret_fs)
{
	struct weir_sim_host *host = weir__sim_host_of(kernel);

	if (!weir__sim_fd_get(host, fd))
		return -EBADF;
	memset(ret_fs, 0, sizeof(*ret_fs));
	ret_fs->f_type = 0xef53; /* ext4 */
	ret_fs->f_bsize = WEIR_SIM_PAGE;
	ret_fs->f_blocks = host->opts.disk_size / WEIR_SIM_PAGE;
	if (host->disk->used < host->opts.disk_size)
		ret_fs->f_bfree = (host->opts.disk_size - host->disk->used) / WEIR_SIM_PAGE;
	ret_fs->f_bavail = ret_fs->f_bfree;
	ret_fs->f_files = host->opts.files_max;
	ret_fs->f_ffree = host->opts.files_max - host->disk->files;
	ret_fs->f_namelen = 255;
	return 0;
}

static int call_ftruncate(struct weir_kernel *kernel, int fd, int64_t size)
{
	struct weir_sim_open *open;
	int r = open_of(kernel, fd, &open);

	if (r < 0)
		return r;
	if (open->file.flags & O_PATH)
		return -EBADF;
	if (size < 0 || !S_ISREG(open->inode->mode) || (open->file.flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	return weir__sim_inode_resize(open->inode, (uint64_t)size);
}

static int call_unlink(struct weir_kernel *kernel, const char *path)
{
	struct weir_sim_walk walk;
	int r = walk_name(weir__sim_host_of(kernel), path, &walk);

	if (r < 0)
		return r;
	if (!walk.inode)
		return -ENOENT;
	return S_ISDIR(walk.inode->mode) ? -EISDIR : weir__sim_name_remove(walk.dir, walk.name);
}

static int call_is_socket(struct weir_kernel *kernel, const char *path)
{
	struct weir_sim_walk walk;
	int r = walk_name(weir__sim_host_of(kernel), path, &walk);

	if (r < 0)
		return r;
	return walk.inode ? S_ISSOCK(walk.inode->mode) : -ENOENT;
}

void weir__sim_disk_ops(struct weir_kernel_ops *ops)
{
	ops->preadv2 = call_preadv2;
	ops->pwritev2 = call_pwritev2;
	ops->statx = call_statx;
	ops->fstatfs = call_fstatfs;
	ops->ftruncate = call_ftruncate;
	ops->unlink = call_unlink;
	ops->is_socket = call_is_socket;
}

/* --- sockets with a path --- */

int weir__sim_disk_bind(struct weir_sim_host *host, const char *path, struct weir_sim_file *file)
{
	struct weir_sim_walk walk;
	struct weir_sim_inode *inode;
	int r = walk_name(host, path, &walk);

	if (r < 0)
		return r;
	if (walk.inode)
		return -EADDRINUSE;
	inode = weir__sim_inode_create(host->disk, S_IFSOCK | 0755);
	if (!inode)
		return -ENOSPC;
	inode->socket = file;
	return weir__sim_name_add(walk.dir, walk.name, inode);
}

struct weir_sim_file *weir__sim_disk_lookup(struct weir_sim_host *host, const char *path)
{
	struct weir_sim_walk walk;

	if (walk_to(host, path, &walk) < 0 || !walk.inode)
		return NULL;
	return walk.inode->socket;
}

/* --- for scenarios --- */

static int make(struct weir_sim_host *host, const char *path, unsigned mode,
		struct weir_sim_inode **ret)
{
	struct weir_sim_walk walk;
	int r = walk_to(host, path, &walk);

	if (r < 0)
		return r;
	*ret = walk.inode;
	if (walk.inode)
		return S_ISDIR(mode) ? -EEXIST : 0;
	*ret = weir__sim_inode_create(host->disk, mode);
	if (!*ret)
		return -ENOMEM;
	r = weir__sim_name_add(walk.dir, walk.name, *ret);
	if (!r && S_ISDIR(mode))
		(*ret)->links++;
	weir__sim_names_sync(walk.dir);
	return r;
}

int weir_sim_put_file(struct weir_sim_host *host, const char *path, const void *data, size_t size)
{
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct weir_sim_inode *inode;
	int64_t n;
	int r = make(host, path, S_IFREG | 0644, &inode);

	if (!r)
		r = weir__sim_inode_resize(inode, 0);
	if (r < 0)
		return r;
	n = weir__sim_inode_write(inode, 0, &iov, 1, size);
	weir__sim_inode_sync(inode);
	return n == (int64_t)size ? 0 : -ENOMEM;
}

int weir_sim_put_dir(struct weir_sim_host *host, const char *path)
{
	struct weir_sim_inode *inode;

	return make(host, path, S_IFDIR | 0755, &inode);
}

/* Of `safe`: the names must be durable as well. */
static struct weir_sim_inode *find_safe(struct weir_sim_host *host, const char *path)
{
	struct weir_sim_inode *at = host->disk->root;

	while (at && *(path += strspn(path, "/"))) {
		size_t size = strcspn(path, "/");
		struct weir_sim_inode *next = NULL;

		for (unsigned i = 0; i < at->safe_names.count; i++)
			if (!strncmp(at->safe_names.list[i].name, path, size) &&
			    !at->safe_names.list[i].name[size])
				next = at->safe_names.list[i].inode;
		at = next;
		path += size;
	}
	return at;
}

int64_t weir_sim_get_file(struct weir_sim_host *host, const char *path, void *data, size_t size,
			  bool durable)
{
	struct iovec iov = { data, size };
	struct weir_sim_walk walk = { .inode = NULL };
	int r = 0;

	if (durable)
		walk.inode = find_safe(host, path);
	else
		r = walk_to(host, path, &walk);
	if (r < 0)
		return r;
	if (!walk.inode)
		return -ENOENT;
	if (!S_ISREG(walk.inode->mode))
		return -EISDIR;
	return weir__sim_inode_read(durable ? &walk.inode->safe : &walk.inode->now, 0, &iov, 1,
				    size);
}
