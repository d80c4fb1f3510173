/* SPDX-License-Identifier: MIT */
/*
 * disk_file.c - open files and what is done with them: when it completes, and which faults
 * strike it. What has to wait for the disk is done at once and told later; what comes between
 * sees it, as in a page cache.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "ring/sim/disk.h"

#define DEVICE_NS (80 * WEIR_US)
#define SYNC_NS (70 * WEIR_US)
#define SLOW_NS_MAX (5 * WEIR_S)
#define SWAP_NS_MAX (10 * WEIR_MS)
#define BLOCK 512 /* of O_DIRECT */
#define RWF_KNOWN (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)

static struct weir_sim *sim_of(const struct weir_sim_host *host)
{
	return host->sim;
}

static bool strikes(struct weir_sim_host *host, uint64_t one_class, const char *site)
{
	return weir__sim_fault(sim_of(host), host, one_class, site);
}

static unsigned draw(struct weir_sim_host *host, const char *site, unsigned n)
{
	return weir__sim_choose(sim_of(host), host, site, n);
}

/* --- faults --- */

int weir__sim_transfer_fault(struct weir_sim_host *host, bool is_write)
{
	static const int errors[] = { -EIO, -ENOSPC, -EDQUOT, -EROFS };
	struct weir_sim_disk *disk = host->disk;

	if (disk->broken && is_write)
		return disk->broken;
	if (strikes(host, WEIR_SIM_FILE_ERROR, "file-error")) {
		int r = errors[is_write ? draw(host, "file-errno", 4) : 0];

		if (is_write && draw(host, "file-error-stays", 4) == 1)
			disk->broken = r;
		return r;
	}
	return 0;
}

/* How much of size is moved; or -EINTR, -EAGAIN. */
static int64_t cut_short(struct weir_sim_host *host, size_t size)
{
	if (size < 2 || !strikes(host, WEIR_SIM_FILE_SHORT, "file-short"))
		return (int64_t)size;
	switch (draw(host, "file-short-how", 6)) {
	case 4:
		return -EINTR;
	case 5:
		return -EAGAIN;
	default:
		return 1 + (int64_t)draw(host, "file-short-by",
					 size > UINT32_MAX ? UINT32_MAX : (uint32_t)size - 1);
	}
}

static void rot(struct weir_sim_host *host, const struct iovec *iov, int64_t size)
{
	if (size > 0 && strikes(host, WEIR_SIM_CORRUPT, "bit-rot"))
		*(char *)iov->iov_base ^= (char)(1 << draw(host, "bit", 8));
}

static void swap_now(struct weir_sim_event *event)
{
	struct weir_sim_disk *disk = weir_container_of(event, struct weir_sim_disk, swap);

	weir__sim_inode_resize(disk->swapped, disk->swapped->now.size / 2);
}

void weir__sim_swap_soon(struct weir_sim_inode *inode)
{
	struct weir_sim_disk *disk = inode->disk;
	struct weir_sim_host *host = disk->host;

	if (!S_ISREG(inode->mode) || disk->swap.place || !strikes(host, WEIR_SIM_SWAP, "swap"))
		return;
	disk->swapped = inode;
	disk->swap.run = swap_now;
	weir__sim_event_arm(host->sim, &disk->swap,
			    host->sim->now_ns +
				    weir__sim_delay(host->sim, host, "swap-in", SWAP_NS_MAX));
}

/* --- transfers --- */

static bool is_aligned(const struct iovec *iov, int count, int64_t offset)
{
	for (int i = 0; i < count; i++)
		if ((uintptr_t)iov[i].iov_base % BLOCK || iov[i].iov_len % BLOCK)
			return false;
	return offset % BLOCK == 0;
}

static int check_transfer(const struct weir_sim_open *open, const struct iovec *iov, int count,
			  int64_t offset, bool is_write)
{
	int access = open->file.flags & O_ACCMODE;

	if (open->file.flags & O_PATH)
		return -EBADF;
	if (access == (is_write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (S_ISDIR(open->inode->mode))
		return -EISDIR;
	if (!S_ISREG(open->inode->mode))
		return -EINVAL;
	if ((open->file.flags & O_DIRECT) && !is_aligned(iov, count, offset))
		return -EINVAL;
	return 0;
}

int64_t weir__sim_disk_in(struct weir_sim_open *open, const struct iovec *iov, int count,
			  int64_t offset, int flags)
{
	struct weir_sim_host *host = open->file.host;
	const struct weir_sim_content *content = &open->inode->now;
	bool moves = offset == -1;
	int64_t size;
	int r;

	if (flags & ~RWF_KNOWN)
		return -EOPNOTSUPP;
	if (moves)
		offset = open->position;
	r = check_transfer(open, iov, count, offset, false);
	if (!r && offset < 0)
		r = -EINVAL;
	if (!r && (flags & RWF_NOWAIT) && strikes(host, WEIR_SIM_LATE, "not-cached"))
		r = -EAGAIN;
	if (!r)
		r = weir__sim_transfer_fault(host, false);
	if (r < 0)
		return r;
	size = cut_short(host, weir__sim_iov_size(iov, count));
	if (size < 0)
		return size;
	if (strikes(host, WEIR_SIM_CORRUPT, "stale"))
		content = &open->inode->safe;
	size = weir__sim_inode_read(content, (uint64_t)offset, iov, count, (size_t)size);
	rot(host, iov, size);
	if ((moves || weir__rule_is_broken(WEIR_RULE_OWN_POSITION)) && size > 0)
		open->position += size;
	return size;
}

/* Failed: what was not synced never will be, the pages count as clean from now on. */
int weir__sim_disk_sync(struct weir_sim_open *open, bool last)
{
	struct weir_sim_host *host = open->file.host;
	struct weir_sim_inode *inode = open->inode;

	if (host->disk->broken == -EIO || strikes(host, WEIR_SIM_FSYNC, "fsync-fails")) {
		weir__sim_inode_forget(inode);
		inode->errors++;
		inode->errors_told = false;
	} else if (last) {
		weir__sim_inode_sync_last(inode);
	} else {
		weir__sim_inode_sync(inode);
	}
	if (open->errors == inode->errors)
		return 0;
	open->errors = inode->errors;
	inode->errors_told = true;
	return -EIO;
}

int64_t weir__sim_disk_out(struct weir_sim_open *open, const struct iovec *iov, int count,
			   int64_t offset, int flags)
{
	struct weir_sim_host *host = open->file.host;
	bool moves = offset == -1;
	int64_t size;
	int r;

	if (flags & ~RWF_KNOWN)
		return -EOPNOTSUPP;
	if (moves)
		offset = open->position;
	r = check_transfer(open, iov, count, offset, true);
	if (!r && offset < 0)
		r = -EINVAL;
	if (!r)
		r = weir__sim_transfer_fault(host, true);
	if (r < 0)
		return r;
	size = cut_short(host, weir__sim_iov_size(iov, count));
	if (size < 0)
		return size;
	if (((open->file.flags & O_APPEND) || (flags & RWF_APPEND)) &&
	    !weir__rule_is_broken(WEIR_RULE_APPEND))
		offset = (int64_t)open->inode->now.size;
	else if (strikes(host, WEIR_SIM_CORRUPT, "misdirected"))
		offset += WEIR_SIM_PAGE;
	size = weir__sim_inode_write(open->inode, (uint64_t)offset, iov, count, (size_t)size);
	if (moves && size > 0)
		open->position = offset + size;
	if (size > 0 && ((flags & (RWF_DSYNC | RWF_SYNC)) || (open->file.flags & O_DSYNC)))
		r = weir__sim_disk_sync(open, true);
	return r < 0 ? r : size;
}

static int64_t slow_by(struct weir_sim_host *host, uint64_t one_class, const char *site)
{
	if (!strikes(host, one_class, site))
		return 0;
	return weir__sim_delay(host->sim, host, "slow-by", SLOW_NS_MAX);
}

static int issue_read(struct weir_sim_req *req, struct weir_sim_open *open)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = open->file.host;
	bool selects = sqe->flags & IOSQE_BUFFER_SELECT;
	struct iovec iov[WEIR_SIM_IOVS];
	int count = weir__sim_buffers(req, iov, WEIR_SIM_IOVS, SIZE_MAX);
	int64_t r;

	if (count < 0)
		return count;
	req->soft.want = (int64_t)weir__sim_iov_size(iov, count);
	r = weir__sim_disk_in(open, iov, count, (int64_t)sqe->off, (int)sqe->rw_flags);
	if (r >= 0 && selects)
		weir__soft_bufs_take(&req->soft, (size_t)r);
	if (r < 0 || !((open->file.flags & O_DIRECT) || (sqe->flags & IOSQE_ASYNC)))
		return (int)r;
	return weir__sim_finish_in(req, DEVICE_NS + slow_by(host, WEIR_SIM_FILE_SHORT, "slow-read"),
				   (int)r);
}

static int issue_write(struct weir_sim_req *req, struct weir_sim_open *open)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = open->file.host;
	struct iovec iov[WEIR_SIM_IOVS];
	int count = weir__sim_buffers(req, iov, WEIR_SIM_IOVS, SIZE_MAX);
	bool direct = open->file.flags & O_DIRECT;
	int64_t r;

	if (count < 0)
		return count;
	if ((sqe->rw_flags & RWF_NOWAIT) && !direct)
		return -EAGAIN;
	req->soft.want = (int64_t)weir__sim_iov_size(iov, count);
	r = weir__sim_disk_out(open, iov, count, (int64_t)sqe->off, (int)sqe->rw_flags);
	if (r < 0)
		return (int)r;
	return weir__sim_finish_in(req,
				   (direct ? DEVICE_NS : WEIR_SIM_WQ_NS) +
					   slow_by(host, WEIR_SIM_FILE_SHORT, "slow-write"),
				   (int)r);
}

static int issue_fsync(struct weir_sim_req *req, struct weir_sim_open *open)
{
	struct weir_sim_host *host = open->file.host;
	int64_t ns = SYNC_NS + slow_by(host, WEIR_SIM_FSYNC, "slow-fsync");
	int r = host->disk->broken == -EIO ? -EIO : 0;

	/* sync_file_range(2) begins to write; what is durable then it does not say. */
	if (req->soft.sqe.opcode == IORING_OP_SYNC_FILE_RANGE)
		return weir__sim_finish_in(req, SYNC_NS, r);
	if (!S_ISDIR(open->inode->mode))
		r = weir__sim_disk_sync(open, false);
	else if (!r)
		weir__sim_names_sync(open->inode);
	return weir__sim_finish_in(req, ns, r);
}

static int allocate(struct weir_sim_inode *inode, unsigned mode, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size;
	int r = 0;

	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		r = weir__sim_inode_punch(inode, offset, size);
	if (!r && !(mode & FALLOC_FL_PUNCH_HOLE))
		r = weir__sim_inode_reserve(inode, offset, size);
	if (!r && !(mode & FALLOC_FL_KEEP_SIZE) && end > inode->now.size)
		r = weir__sim_inode_resize(inode, end);
	return r;
}

static bool is_known_mode(unsigned mode)
{
	switch (mode & ~(unsigned)FALLOC_FL_KEEP_SIZE) {
	case 0:
	case FALLOC_FL_ZERO_RANGE:
		return true;
	case FALLOC_FL_PUNCH_HOLE:
		return mode & FALLOC_FL_KEEP_SIZE;
	default:
		return false;
	}
}

static int check_fallocate(const struct weir_sim_open *open, unsigned mode, uint64_t offset,
			   uint64_t size)
{
	if (!size || (int64_t)offset < 0 || (int64_t)size < 0)
		return -EINVAL;
	if (!is_known_mode(mode))
		return -EOPNOTSUPP;
	if ((open->file.flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (!S_ISREG(open->inode->mode))
		return -ENODEV;
	return offset + size > INT64_MAX ? -EFBIG : 0;
}

static int issue_fallocate(struct weir_sim_req *req, struct weir_sim_open *open)
{
	uint64_t offset = req->soft.sqe.off;
	uint64_t size = req->soft.sqe.addr;
	unsigned mode = req->soft.sqe.len;
	int r = weir__sim_transfer_fault(open->file.host, true);

	if (!r)
		r = check_fallocate(open, mode, offset, size);
	if (!r)
		r = allocate(open->inode, mode, offset, size);
	return weir__sim_finish_in(req, WEIR_SIM_WQ_NS, r);
}

static int issue_truncate(struct weir_sim_req *req, struct weir_sim_open *open)
{
	int r = weir__sim_transfer_fault(open->file.host, true);

	if (!r && (open->file.flags & O_ACCMODE) == O_RDONLY)
		r = -EINVAL;
	if (!r && !S_ISREG(open->inode->mode))
		r = -EINVAL;
	if (!r && (int64_t)req->soft.sqe.off < 0)
		r = -EINVAL;
	if (!r)
		r = weir__sim_inode_resize(open->inode, req->soft.sqe.off);
	return weir__sim_finish_in(req, WEIR_SIM_WQ_NS, r);
}

static int file_issue(struct weir_sim_req *req)
{
	struct weir_sim_open *open = weir__sim_open_of(weir__sim_req_file(req));

	if (open->file.flags & O_PATH)
		return -EBADF;
	switch (req->soft.sqe.opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_READ_FIXED:
		return issue_read(req, open);
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
	case IORING_OP_WRITE_FIXED:
		return issue_write(req, open);
	case IORING_OP_FSYNC:
	case IORING_OP_SYNC_FILE_RANGE:
		return issue_fsync(req, open);
	case IORING_OP_FALLOCATE:
		return issue_fallocate(req, open);
	case IORING_OP_FTRUNCATE:
		return issue_truncate(req, open);
	case IORING_OP_FADVISE:
		return 0;
	case IORING_OP_SEND:
	case IORING_OP_SEND_ZC:
	case IORING_OP_SENDMSG:
	case IORING_OP_SENDMSG_ZC:
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
	case IORING_OP_ACCEPT:
	case IORING_OP_CONNECT:
	case IORING_OP_SHUTDOWN:
	case IORING_OP_BIND:
	case IORING_OP_LISTEN:
		return -ENOTSOCK;
	default:
		return -EINVAL;
	}
}

static unsigned file_poll(struct weir_sim_file *file)
{
	(void)file;
	return POLLIN | POLLOUT;
}

static void file_close(struct weir_sim_file *file, bool dead)
{
	struct weir_sim_open *open = weir__sim_open_of(file);

	(void)dead;
	open->inode->opens--;
	weir__sim_inode_settle(open->inode);
	weir__sim_inode_put(open->inode);
	weir__sim_disk_bury(file->host->disk);
	free(open);
}

const struct weir_sim_file_ops weir__sim_disk_file_ops = {
	.kind = "file",
	.issue = file_issue,
	.poll = file_poll,
	.close = file_close,
};
