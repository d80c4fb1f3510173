/* SPDX-License-Identifier: MIT */
/*
 * disk_paths.c - operations on paths: open, stat, and those that make, move and take away names.
 * Their checks come in Linux's order, for the first that fails is what is told.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>

#include "ring/sim/disk.h"

#define LARGEFILE 0100000 /* the kernel's; O_LARGEFILE is 0 here */
#define TMPFILE (O_TMPFILE & ~O_DIRECTORY)
#define STAT_FLAGS (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)
#define PATH_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* --- opening --- */

static int make(struct weir_sim_disk *disk, struct weir_sim_walk *walk, unsigned mode)
{
	struct weir_sim_inode *inode;
	int r;

	if (!walk->dir->links)
		return -ENOENT;
	if (disk->broken)
		return disk->broken;
	inode = weir__sim_inode_create(disk, mode);
	if (!inode)
		return -ENOSPC;
	r = weir__sim_name_add(walk->dir, walk->name, inode);
	if (!r)
		walk->inode = inode;
	return r;
}

static int check_open(const struct weir_sim_walk *walk, const struct open_how *how)
{
	const struct weir_sim_inode *inode = walk->inode;
	bool writes = (how->flags & O_ACCMODE) != O_RDONLY || (how->flags & O_TRUNC);

	if ((how->flags & O_CREAT) && (how->flags & O_EXCL) &&
	    !weir__rule_is_broken(WEIR_RULE_EXCLUSIVE))
		return -EEXIST;
	if ((how->flags & O_DIRECTORY) && !S_ISDIR(inode->mode))
		return -ENOTDIR;
	if (S_ISLNK(inode->mode))
		return how->flags & O_PATH ? 0 : -ELOOP;
	if (S_ISDIR(inode->mode) && (writes || (how->flags & O_CREAT)))
		return -EISDIR;
	return S_ISSOCK(inode->mode) && !(how->flags & O_PATH) ? -ENXIO : 0;
}

static int find(struct weir_sim_inode *base, const char *path, const struct open_how *how,
		struct weir_sim_walk *ret)
{
	bool makes = how->flags & O_CREAT;
	bool follow = !(how->flags & O_NOFOLLOW) && !(makes && (how->flags & O_EXCL));
	int r = weir__sim_walk(base, path, follow ? WEIR_SIM_FOLLOW : WEIR_SIM_NOFOLLOW,
			       how->resolve, ret);

	if (makes && ret->slash && (!r || r == -ENOTDIR))
		return -EISDIR;
	if (r < 0)
		return r;
	if (how->flags & TMPFILE) {
		if (!ret->inode || !S_ISDIR(ret->inode->mode))
			return ret->inode ? -ENOTDIR : -ENOENT;
		ret->inode = weir__sim_inode_create(base->disk, S_IFREG | (how->mode & 07777));
		return ret->inode ? 0 : -ENOSPC;
	}
	if (ret->inode)
		return check_open(ret, how);
	return makes ? make(base->disk, ret, S_IFREG | (how->mode & 07777)) : -ENOENT;
}

static int check_how(const struct open_how *how)
{
	const uint64_t known = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
			       RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;
	const uint64_t exclusive = RESOLVE_BENEATH | RESOLVE_IN_ROOT;

	if ((how->resolve & ~known) || (how->resolve & exclusive) == exclusive)
		return -EINVAL;
	if ((how->flags & TMPFILE) && (!(how->flags & O_DIRECTORY) || (how->flags & O_CREAT) ||
				       (how->flags & O_ACCMODE) == O_RDONLY))
		return -EINVAL;
	if ((how->flags & O_CREAT) && (how->flags & O_DIRECTORY))
		return -EINVAL;
	if ((how->resolve & RESOLVE_CACHED) && (how->flags & (O_CREAT | O_TRUNC | TMPFILE)))
		return -EAGAIN;
	return 0;
}

static int open_at(struct weir_sim_inode *base, const char *path, const struct open_how *how,
		   struct weir_sim_file **ret_file)
{
	struct weir_sim_host *host = base->disk->host;
	struct weir_sim_open *open;
	struct weir_sim_walk walk;
	int r = check_how(how);

	if (r < 0)
		return r;
	if (weir__sim_fault(host->sim, host, WEIR_SIM_FDS, "open-fds"))
		return weir__sim_choose(host->sim, host, "open-fds-how", 2) ? -ENFILE : -EMFILE;
	r = find(base, path, how, &walk);
	if (r < 0)
		return r;
	if ((how->flags & O_TRUNC) && S_ISREG(walk.inode->mode) && walk.inode->now.size)
		r = weir__sim_inode_resize(walk.inode, 0);
	open = r < 0 ? NULL : calloc(1, sizeof(*open));
	if (!open)
		return r < 0 ? r : -ENOMEM;
	weir__sim_file_init(&open->file, &weir__sim_disk_file_ops, host);
	open->file.flags = (int)how->flags;
	open->inode = walk.inode;
	open->errors = walk.inode->errors_told ? walk.inode->errors : 0;
	open->inode->opens++;
	weir__sim_inode_get(open->inode);
	weir__sim_swap_soon(open->inode);
	*ret_file = &open->file;
	return 0;
}

/* openat(2) ignores what it does not know; openat2(2) does not. */
static bool is_wrong(const struct open_how *how)
{
	const uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
			       O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | LARGEFILE | O_NOFOLLOW |
			       O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
	bool makes = how->flags & (O_CREAT | TMPFILE);

	if ((how->flags & O_PATH) && (how->flags & ~(uint64_t)PATH_FLAGS))
		return true;
	return (how->flags & ~known) || (how->mode & ~(uint64_t)(makes ? 07777 : 0));
}

static int issue_open(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = weir__sim_req_host(req);
	const char *path = (const void *)(uintptr_t)sqe->addr;
	struct open_how how = { .flags = sqe->open_flags, .mode = sqe->len };
	struct weir_sim_inode *base;
	struct weir_sim_file *file = NULL;
	int r;

	if (sqe->opcode == IORING_OP_OPENAT2) {
		memcpy(&how, (const void *)(uintptr_t)sqe->addr2, sizeof(how));
		if (is_wrong(&how))
			return -EINVAL;
	} else if (how.flags & O_PATH) {
		how.flags &= PATH_FLAGS;
	}
	r = weir__sim_base(host, sqe->fd, how.resolve & RESOLVE_IN_ROOT ? "." : path, &base);
	if (!r)
		r = open_at(base, path, &how, &file);
	if (r < 0)
		return r;
	r = sqe->file_index ? weir__soft_install(&req->soft, file) : weir__sim_fd_add(host, file);
	if (r < 0)
		weir__sim_file_put(file);
	return r;
}

/* --- other operations on paths --- */

/* A directory has a link from its parent, from itself, and from each directory in it. */
static unsigned links_of(const struct weir_sim_inode *inode)
{
	unsigned links = inode->links;

	for (unsigned i = 0; links && i < inode->names.count; i++)
		links += S_ISDIR(inode->names.list[i].inode->mode);
	return links;
}

void weir__sim_disk_stat(const struct weir_sim_inode *inode, struct statx *ret_stat)
{
	const struct weir_sim_host *host = inode->disk->host;
	int64_t ns = inode->changed_ns + host->wall_offset_ns;

	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->stx_mask = STATX_BASIC_STATS;
	ret_stat->stx_blksize = WEIR_SIM_PAGE;
	ret_stat->stx_nlink = links_of(inode);
	ret_stat->stx_mode = (uint16_t)inode->mode;
	ret_stat->stx_ino = inode->number;
	ret_stat->stx_size = inode->target ? strlen(inode->target) : inode->now.size;
	ret_stat->stx_blocks = inode->now.pages_used * (WEIR_SIM_PAGE / 512);
	ret_stat->stx_mtime.tv_sec = ns / WEIR_S;
	ret_stat->stx_mtime.tv_nsec = (uint32_t)(ns % WEIR_S);
	ret_stat->stx_ctime = ret_stat->stx_atime = ret_stat->stx_mtime;
	ret_stat->stx_dev_major = 8;
	ret_stat->stx_dev_minor = host->index;
}

static int do_statx(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = weir__sim_req_host(req);
	const char *path = (const void *)(uintptr_t)sqe->addr;
	struct weir_sim_inode *base;
	struct weir_sim_walk walk;
	int r = weir__sim_base(host, sqe->fd, path, &base);

	if (sqe->statx_flags & ~(unsigned)STAT_FLAGS)
		return -EINVAL;
	if (r < 0)
		return r;
	if (!*path && (sqe->statx_flags & AT_EMPTY_PATH))
		walk.inode = base;
	else
		r = weir__sim_walk(base, path,
				   sqe->statx_flags & AT_SYMLINK_NOFOLLOW ? WEIR_SIM_NOFOLLOW
									  : WEIR_SIM_FOLLOW,
				   0, &walk);
	if (!r && !walk.inode)
		r = -ENOENT;
	if (!r)
		weir__sim_disk_stat(walk.inode, (struct statx *)(uintptr_t)sqe->off);
	return r;
}

static int walk_at(struct weir_sim_req *req, int dirfd, uint64_t path, enum weir_sim_end end,
		   struct weir_sim_walk *ret)
{
	const char *text = (const void *)(uintptr_t)path;
	struct weir_sim_inode *base;
	int r = weir__sim_base(weir__sim_req_host(req), dirfd, text, &base);

	return r < 0 ? r : weir__sim_walk(base, text, end, 0, ret);
}

static bool is_above(const struct weir_sim_inode *inode, const struct weir_sim_inode *dir)
{
	for (; dir != dir->parent; dir = dir->parent)
		if (dir == inode)
			return true;
	return dir == inode;
}

/* Of what is renamed, and what is there already. */
static int check_kinds(const struct weir_sim_walk *from, const struct weir_sim_walk *to)
{
	bool from_is_dir = S_ISDIR(from->inode->mode);
	bool to_is_dir = to->inode && S_ISDIR(to->inode->mode);

	if (!from_is_dir && (from->slash || to->slash))
		return -ENOTDIR;
	if (from_is_dir && is_above(from->inode, to->dir))
		return -EINVAL;
	if (to_is_dir && is_above(to->inode, from->dir))
		return -ENOTEMPTY;
	if (!to->inode)
		return to->dir->links ? 0 : -ENOENT;
	if (from->inode == to->inode)
		return 0;
	if (from_is_dir != to_is_dir)
		return from_is_dir ? -ENOTDIR : -EISDIR;
	return to_is_dir && to->inode->names.count ? -ENOTEMPTY : 0;
}

static int check_rename(const struct weir_sim_walk *from, const struct weir_sim_walk *to,
			bool no_replace)
{
	if (from->last != WEIR_SIM_NORMAL)
		return -EBUSY;
	if (to->last != WEIR_SIM_NORMAL)
		return no_replace ? -EEXIST : -EBUSY;
	if (!from->inode)
		return -ENOENT;
	if (no_replace && to->inode && !weir__rule_is_broken(WEIR_RULE_NOREPLACE))
		return -EEXIST;
	return check_kinds(from, to);
}

static int do_rename(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_walk from, to;
	int r = sqe->rename_flags & ~1u ? -EINVAL : 0; /* RENAME_NOREPLACE */

	if (!r)
		r = walk_at(req, sqe->fd, sqe->addr, WEIR_SIM_NAME, &from);
	if (!r)
		r = walk_at(req, (int)sqe->len, sqe->addr2, WEIR_SIM_NAME, &to);
	if (!r)
		r = check_rename(&from, &to, sqe->rename_flags);
	if (r < 0 || from.inode == to.inode)
		return r;
	return weir__sim_name_move(&from, &to);
}

static int check_unlink(const struct weir_sim_walk *walk)
{
	if (walk->last != WEIR_SIM_NORMAL)
		return -EISDIR;
	if (!walk->inode)
		return -ENOENT;
	if (S_ISDIR(walk->inode->mode))
		return -EISDIR;
	return walk->slash ? -ENOTDIR : 0;
}

static int check_rmdir(const struct weir_sim_walk *walk)
{
	static const int specials[] = {
		[WEIR_SIM_ROOT] = -EBUSY, [WEIR_SIM_DOT] = -EINVAL, [WEIR_SIM_DOTDOT] = -ENOTEMPTY
	};

	if (walk->last != WEIR_SIM_NORMAL)
		return specials[walk->last];
	if (!walk->inode)
		return -ENOENT;
	if (!S_ISDIR(walk->inode->mode))
		return -ENOTDIR;
	if (walk->inode->names.count && !weir__rule_is_broken(WEIR_RULE_FULL_DIRECTORY))
		return -ENOTEMPTY;
	return 0;
}

static int do_unlink(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	bool is_rmdir = sqe->unlink_flags & AT_REMOVEDIR;
	struct weir_sim_walk walk;
	int r = walk_at(req, sqe->fd, sqe->addr, WEIR_SIM_NAME, &walk);

	if (!r)
		r = is_rmdir ? check_rmdir(&walk) : check_unlink(&walk);
	if (r < 0)
		return r;
	return weir__sim_name_remove(walk.dir, walk.name);
}

/* Whether a name can be made there; a slash is for directories. */
static int check_new(const struct weir_sim_walk *walk, bool is_dir)
{
	if (walk->inode)
		return -EEXIST;
	return walk->slash && !is_dir ? -ENOENT : 0;
}

static int do_make(struct weir_sim_req *req, unsigned mode, const char *target)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = weir__sim_req_host(req);
	struct weir_sim_walk walk;
	int r = 0;

	if (target && (!*target || strlen(target) >= PATH_MAX))
		return *target ? -ENAMETOOLONG : -ENOENT;
	r = walk_at(req, sqe->fd, target ? sqe->addr2 : sqe->addr, WEIR_SIM_NAME, &walk);
	if (!r)
		r = check_new(&walk, S_ISDIR(mode));
	if (!r)
		r = make(host->disk, &walk, mode);
	if (!r && target) {
		walk.inode->target = strdup(target);
		r = walk.inode->target ? 0 : -ENOSPC;
	}
	if (!r && S_ISDIR(mode))
		walk.inode->links++;
	return r;
}

static int do_link(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	bool follow = sqe->hardlink_flags & AT_SYMLINK_FOLLOW;
	struct weir_sim_walk from, to;
	int r;

	if (sqe->hardlink_flags & ~(unsigned)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	r = walk_at(req, sqe->fd, sqe->addr, follow ? WEIR_SIM_FOLLOW : WEIR_SIM_NOFOLLOW, &from);
	if (!r && !from.inode)
		r = -ENOENT;
	if (!r)
		r = walk_at(req, (int)sqe->len, sqe->addr2, WEIR_SIM_NAME, &to);
	if (!r)
		r = check_new(&to, false);
	if (!r && !to.dir->links)
		r = -ENOENT;
	if (!r && S_ISDIR(from.inode->mode))
		r = -EPERM;
	return r < 0 ? r : weir__sim_name_add(to.dir, to.name, from.inode);
}

int weir__sim_path_issue(struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = weir__sim_req_host(req);
	int r;

	if (sqe->opcode == IORING_OP_OPENAT || sqe->opcode == IORING_OP_OPENAT2)
		return issue_open(req);
	if (sqe->opcode == IORING_OP_STATX)
		return weir__sim_finish_in(req, WEIR_SIM_WQ_NS, do_statx(req));
	r = weir__sim_transfer_fault(host, true);
	if (r < 0)
		return weir__sim_finish_in(req, WEIR_SIM_WQ_NS, r);
	switch (sqe->opcode) {
	case IORING_OP_RENAMEAT:
		r = do_rename(req);
		break;
	case IORING_OP_UNLINKAT:
		r = do_unlink(req);
		break;
	case IORING_OP_MKDIRAT:
		r = do_make(req, S_IFDIR | (sqe->len & 07777), NULL);
		break;
	case IORING_OP_SYMLINKAT:
		r = do_make(req, S_IFLNK | 0777, (const char *)(uintptr_t)sqe->addr);
		break;
	default:
		r = do_link(req);
		break;
	}
	return weir__sim_finish_in(req, WEIR_SIM_WQ_NS, r);
}
