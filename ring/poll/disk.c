/* SPDX-License-Identifier: MIT */
/*
 * disk.c - everything that may wait for a disk, a server behind a file system, or a name; and
 * reads and writes, which do or do not by what their file is.
 *
 * The layers above try cached reads themselves before they come here (ring/file.c), so a disk's
 * file goes to a thread at once. Streams are read and written here and now, or when epoll says so.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/poll/parts.h"

static inline void *at(uint64_t addr)
{
	return (void *)(uintptr_t)addr;
}

/* --- what a file is --- */

static uint8_t kind_of(struct weir_poll_file *file)
{
	struct stat st;

	if (file->kind != WEIR_POLL_UNKNOWN)
		return file->kind;
	file->kind = WEIR_POLL_STREAM;
	if (!fstat(file->fd, &st) &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)))
		file->kind = WEIR_POLL_DISK;
	return file->kind;
}

/* --- reading and writing --- */

struct transfer {
	struct iovec one;
	const struct iovec *iov;
	int count;
	int64_t offset;
	int flags;
	bool writes;
};

static struct transfer transfer_of(const struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	bool vector = sqe->opcode == IORING_OP_READV || sqe->opcode == IORING_OP_WRITEV;
	struct transfer t = {
		.one = { at(sqe->addr), sqe->len },
		.iov = at(sqe->addr),
		.count = vector ? (int)sqe->len : 1,
		.offset = (int64_t)sqe->off,
		.flags = (int)sqe->rw_flags,
		.writes = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV ||
			  sqe->opcode == IORING_OP_WRITE_FIXED,
	};

	if (!vector)
		t.iov = NULL;
	return t;
}

static ssize_t move(const struct transfer *t, int fd, int64_t offset, int flags)
{
	const struct iovec *iov = t->iov ? t->iov : &t->one;
	ssize_t n = t->writes ? pwritev2(fd, iov, t->count, offset, flags) :
				preadv2(fd, iov, t->count, offset, flags);

	return n < 0 ? -errno : n;
}

static int64_t size_of(const struct transfer *t)
{
	int64_t size = 0;

	if (!t->iov)
		return (int64_t)t->one.iov_len;
	for (int i = 0; i < t->count; i++)
		size += (int64_t)t->iov[i].iov_len;
	return size;
}

static int is_ready(int fd, short events)
{
	struct pollfd pollfd = { .fd = fd, .events = events };
	int r = poll(&pollfd, 1, 0);

	return r < 0 ? -errno : r;
}

/* Where the file has no way to be asked not to wait, whether it would is asked first. */
static ssize_t move_ready(struct weir_poll_file *file, const struct transfer *t)
{
	int r = is_ready(file->fd, t->writes ? POLLOUT : POLLIN);

	if (r <= 0)
		return r < 0 ? r : -EAGAIN;
	return move(t, file->fd, -1, t->flags);
}

static bool must_not_wait(struct weir_poll_file *file, const struct transfer *t)
{
	int flags = t->flags & RWF_NOWAIT ? 0 : fcntl(file->fd, F_GETFL);

	return (t->flags & RWF_NOWAIT) || (flags >= 0 && (flags & O_NONBLOCK));
}

static int move_stream(struct weir_poll_req *p, const struct transfer *t)
{
	struct weir_poll_file *file = weir__poll_file(p);
	ssize_t n = move(t, file->fd, -1, t->flags | RWF_NOWAIT);

	if (n == -EOPNOTSUPP)
		n = move_ready(file, t);
	if (n != -EAGAIN || must_not_wait(file, t))
		return (int)n;
	return weir__poll_arm(p, t->writes ? EPOLLOUT : EPOLLIN);
}

static int read_selected(struct weir_poll_req *p, struct transfer *t)
{
	struct weir_soft *soft = p->req.soft;
	int r = weir__soft_bufs_peek(soft, p->req.sqe.buf_group, &t->one, 1,
				     t->one.iov_len ? t->one.iov_len : INT32_MAX);

	if (r < 0)
		return r;
	if (kind_of(weir__poll_file(p)) == WEIR_POLL_DISK)
		r = (int)move(t, weir__poll_file(p)->fd, t->offset, t->flags);
	else
		r = move_stream(p, t);
	if (r > 0)
		weir__soft_bufs_take(&p->req, (size_t)r);
	return r;
}

static int move_disk(struct weir_poll_req *p, const struct transfer *t)
{
	struct weir_poll_file *file = weir__poll_file(p);

	if (t->flags & RWF_NOWAIT)
		return (int)move(t, file->fd, t->offset, t->flags);
	return weir__poll_disk(p);
}

int weir__poll_transfer(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	struct transfer t = transfer_of(p);
	int r;

	if (sqe->opcode == IORING_OP_READ_FIXED || sqe->opcode == IORING_OP_WRITE_FIXED) {
		r = weir__soft_buffer_check(p->req.soft, sqe->buf_index, sqe->addr, sqe->len);
		if (r < 0)
			return r;
	}
	if (sqe->flags & IOSQE_BUFFER_SELECT)
		return sqe->opcode == IORING_OP_READ ? read_selected(p, &t) : -EINVAL;
	p->req.want = size_of(&t);
	if (kind_of(weir__poll_file(p)) == WEIR_POLL_DISK)
		return move_disk(p, &t);
	return move_stream(p, &t);
}

/* --- splice --- */

/* The file that is read: a slot, or a plain descriptor. NULL: there is none. */
static struct weir_poll_file *file_in(struct weir_poll_req *p)
{
	struct weir_soft *soft = p->req.soft;
	unsigned slot = (unsigned)p->req.sqe.splice_fd_in;
	struct weir_poll_file *file;

	if (!(p->req.sqe.splice_flags & SPLICE_F_FD_IN_FIXED))
		return weir__poll_file_create(weir__poll_ring(&p->req), p->req.sqe.splice_fd_in,
					      false);
	file = slot < soft->files_size ? soft->files[slot] : NULL;
	if (file)
		weir__poll_file_ref(file);
	return file;
}

static int64_t splice_now(const struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	loff_t in = (loff_t)sqe->splice_off_in, out = (loff_t)sqe->off;
	unsigned flags = sqe->splice_flags & ~SPLICE_F_FD_IN_FIXED;
	ssize_t n;

	if (sqe->opcode == IORING_OP_TEE)
		n = tee(p->job_other_fd, p->job_fd, sqe->len, flags | SPLICE_F_NONBLOCK);
	else
		n = splice(p->job_other_fd, in == -1 ? NULL : &in, p->job_fd,
			   out == -1 ? NULL : &out, sqe->len, flags | SPLICE_F_NONBLOCK);
	return n < 0 ? -errno : n;
}

/* A thread must not sit in a pipe that nobody empties: it says EAGAIN, and epoll waits. */
static int wait_for_pipe(struct weir_poll_req *p)
{
	if (p->req.sqe.splice_flags & SPLICE_F_NONBLOCK)
		return -EAGAIN;
	if (kind_of(weir__poll_file(p)) != WEIR_POLL_DISK && is_ready(p->job_fd, POLLOUT) != 1)
		return weir__poll_arm(p, EPOLLOUT);
	return weir__poll_arm_on(p, p->other, EPOLLIN);
}

int weir__poll_splice(struct weir_poll_req *p)
{
	int r;

	if (!p->other)
		p->other = file_in(p);
	if (!p->other)
		return -EBADF;
	r = weir__poll_file_own(p->other);
	if (r < 0)
		return r;
	p->req.want = p->req.sqe.len;
	p->job_other_fd = p->other->fd;
	return weir__poll_disk(p);
}

/* --- a thread does it --- */

/* What is opened for a slot is a descriptor here all the same: no child inherits it. */
static int slot_flags(const struct io_uring_sqe *sqe)
{
	return sqe->file_index ? O_CLOEXEC : 0;
}

static long open_below(const struct io_uring_sqe *sqe)
{
	struct open_how how;

	if (sqe->len != sizeof(how)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&how, at(sqe->off), sizeof(how));
	how.flags |= (unsigned)slot_flags(sqe);
	return syscall(__NR_openat2, sqe->fd, at(sqe->addr), &how, sizeof(how));
}

static long names(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_OPENAT:
		return openat(sqe->fd, at(sqe->addr), (int)sqe->open_flags | slot_flags(sqe),
			      (mode_t)sqe->len);
	case IORING_OP_OPENAT2:
		return open_below(sqe);
	case IORING_OP_STATX:
		return statx(sqe->fd, at(sqe->addr), (int)sqe->statx_flags, sqe->len,
			     at(sqe->off));
	case IORING_OP_RENAMEAT:
		return renameat2(sqe->fd, at(sqe->addr), (int)sqe->len, at(sqe->off),
				 sqe->rename_flags);
	case IORING_OP_UNLINKAT:
		return unlinkat(sqe->fd, at(sqe->addr), (int)sqe->unlink_flags);
	case IORING_OP_MKDIRAT:
		return mkdirat(sqe->fd, at(sqe->addr), (mode_t)sqe->len);
	case IORING_OP_SYMLINKAT:
		return symlinkat(at(sqe->addr), sqe->fd, at(sqe->off));
	case IORING_OP_LINKAT:
		return linkat(sqe->fd, at(sqe->addr), (int)sqe->len, at(sqe->off),
			      (int)sqe->hardlink_flags);
	default:
		errno = EINVAL;
		return -1;
	}
}

static long open_file(const struct io_uring_sqe *sqe, int fd)
{
	switch (sqe->opcode) {
	case IORING_OP_FSYNC:
		return sqe->fsync_flags & IORING_FSYNC_DATASYNC ? fdatasync(fd) : fsync(fd);
	case IORING_OP_SYNC_FILE_RANGE:
		return sync_file_range(fd, (off_t)sqe->off, sqe->len, sqe->sync_range_flags);
	case IORING_OP_FALLOCATE:
		return fallocate(fd, (int)sqe->len, (off_t)sqe->off, (off_t)sqe->addr);
	case IORING_OP_FTRUNCATE:
		return ftruncate(fd, (off_t)sqe->off);
	case IORING_OP_FADVISE:
		errno = posix_fadvise(fd, (off_t)sqe->off, sqe->len, (int)sqe->fadvise_advice);
		return errno ? -1 : 0;
	default:
		return names(sqe);
	}
}

int64_t weir__poll_carry_out(const struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	struct transfer t;
	long r;

	switch (sqe->opcode) {
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_READ_FIXED:
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
	case IORING_OP_WRITE_FIXED:
		t = transfer_of(p);
		return move(&t, p->job_fd, t.offset, t.flags);
	case IORING_OP_SPLICE:
	case IORING_OP_TEE:
		return splice_now(p);
	case IORING_OP_CLOSE:
		return weir__poll_result(close(sqe->fd));
	default:
		r = open_file(sqe, p->job_fd);
		return r < 0 ? -errno : r;
	}
}

/* An open for the ring's own table. */
static int install(struct weir_poll_req *p, int fd)
{
	struct weir_poll_file *file = weir__poll_file_create(weir__poll_ring(&p->req), fd, true);
	int r = -ENOMEM;

	if (file)
		r = weir__soft_install(&p->req, file);
	if (r >= 0)
		return r;
	if (file)
		weir__poll_file_put(file);
	else
		close(fd);
	return r;
}

int weir__poll_carried_out(struct weir_poll_req *p)
{
	unsigned opcode = p->req.sqe.opcode;
	int res = (int)p->job_res;

	p->handed_over = false;
	if ((opcode == IORING_OP_SPLICE || opcode == IORING_OP_TEE) && res == -EAGAIN)
		res = wait_for_pipe(p);
	if (p->other && res != WEIR_SOFT_LATER) {
		weir__poll_file_put(p->other);
		p->other = NULL;
	}
	if ((opcode == IORING_OP_OPENAT || opcode == IORING_OP_OPENAT2) && res >= 0 &&
	    p->req.sqe.file_index)
		return install(p, res);
	return res;
}

int weir__poll_disk(struct weir_poll_req *p)
{
	struct weir_poll_file *file = weir__poll_file(p);
	int r = file ? weir__poll_file_own(file) : 0;

	/* No descriptor is left to keep it by: at once, then. */
	if (r == -EMFILE || r == -ENFILE) {
		p->job_fd = file->fd;
		p->job_res = weir__poll_carry_out(p);
		return weir__poll_carried_out(p);
	}
	if (r < 0)
		return r;
	p->job_fd = file ? file->fd : -1;
	return weir__poll_hand_over(p);
}

/* Only what a file system stands behind may wait in close(2). */
int weir__poll_close(struct weir_poll_req *p)
{
	struct weir_poll_file file = { .fd = p->req.sqe.fd };

	if (kind_of(&file) == WEIR_POLL_DISK)
		return weir__poll_disk(p);
	return weir__poll_result(close(p->req.sqe.fd));
}
