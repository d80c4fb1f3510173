/* SPDX-License-Identifier: MIT */
/*
 * file.c - reading, writing and the rest of what is done with an open file.
 *
 * A read of a buffered file is first tried without the ring, by preadv2(RWF_NOWAIT): when
 * its pages are there that is all it takes, and cheaper than a completion. Where they
 * were not, the next attempts are spared: after n misses in a row, the next 2^n - 1 reads
 * (at most 15) go to the ring at once. Memory file systems know no RWF_NOWAIT
 * and never wait: they are read and written in the call, whereas the ring would hand
 * each to a thread. Buffered writes to disks always go to the ring, and there to a thread.
 *
 * A coroutine that reads hot pages never waits, so every HOT_BATCH of them it lets others run.
 */
#include <linux/magic.h>

#include "core/plant.h"
#include "core/weir_coro.h"
#include "ring/files.h"
#include "ring/jump_return.h"

#define HOT_BATCH 64		/* power of two */
#define MISSES_MAX 4
#define INLINE_MAX (1u << 20)	/* bytes that one call copies without the ring */
#define IO_MAX 0x7ffff000u	/* bytes that the kernel moves in one call */
#define IOV_COUNT_MAX 1024
#define AGAIN_MAX 16		/* attempts of a call that signals interrupt */

/* --- before the ring --- */

static void find_media(struct weir_file *file)
{
	struct weir_kernel *kernel = file->ring->kernel;
	struct statfs fs;

	file->media = WEIR_MEDIA_DISK;
	if (kernel->ops->fstatfs(kernel, file->fd, &fs) == 0 &&
	    (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
		file->media = WEIR_MEDIA_MEMORY;
}

/* Counts a read or write that did not wait. file may be gone after it. */
static inline void count_hot(struct weir_file *file)
{
	if (weir_unlikely(!(++file->files->hot & (HOT_BATCH - 1)))) {
		weir__metric_add(&weir__self->metrics, WEIR__M_FILES_HOT, HOT_BATCH);
		weir_yield();
	}
}

static inline ssize_t try_read(struct weir_file *file, const struct iovec *iov, unsigned count,
			       int64_t offset)
{
	struct weir_kernel *kernel = file->ring->kernel;

	return kernel->ops->preadv2(kernel, file->fd, iov, (int)count, offset,
				    file->media == WEIR_MEDIA_MEMORY ? 0 : RWF_NOWAIT);
}

/* The attempt gave n. Returns what the call returns, or -EAGAIN: to the ring. */
static ssize_t read_missed(struct weir_file *file, const struct iovec *iov, unsigned count,
			   int64_t offset, ssize_t n)
{
	if (n == -EOPNOTSUPP) {
		find_media(file);
		if (file->media == WEIR_MEDIA_MEMORY)
			return try_read(file, iov, count, offset);
		file->media = WEIR_MEDIA_NONE;
		return -EAGAIN;
	}
	if (n == -EINTR)
		return -EAGAIN;
	if (n != -EAGAIN)
		return n;
	if (file->misses < MISSES_MAX)
		file->misses++;
	file->skip = (uint8_t)((1u << file->misses) - 1);
	file->files->cold_reads++;
	return -EAGAIN;
}

/* Reads what is there without waiting. -EAGAIN: the ring has to. */
static inline __attribute__((always_inline)) ssize_t
read_hot(struct weir_file *file, const struct iovec *iov, unsigned count, int64_t offset)
{
	ssize_t n;

	if (weir_unlikely(file->media > WEIR_MEDIA_MEMORY || file->skip)) {
		if (file->skip)
			file->skip--;
		return -EAGAIN;
	}
	if (weir_unlikely(weir__wait_check(WEIR_NEVER) < 0))
		return -EAGAIN;		/* the way through the ring answers it */
	n = try_read(file, iov, count, offset);
	if (weir_unlikely(n < 0))
		return read_missed(file, iov, count, offset, n);
	file->misses = 0;
	count_hot(file);
	return n;
}

/* Writes to memory. -EAGAIN: the ring has to. */
static ssize_t write_hot(struct weir_file *file, const struct iovec *iov, unsigned count,
			 int64_t offset)
{
	struct weir_kernel *kernel = file->ring->kernel;
	ssize_t n;

	if (weir_unlikely(file->media == WEIR_MEDIA_UNKNOWN))
		find_media(file);
	if (file->media != WEIR_MEDIA_MEMORY || weir__wait_check(WEIR_NEVER) < 0)
		return -EAGAIN;
	n = kernel->ops->pwritev2(kernel, file->fd, iov, (int)count, offset, 0);
	count_hot(file);
	return n;
}

/* --- through the ring --- */

static int begin(struct weir_file *file, struct weir_op_wait *w, const char *what,
		 struct io_uring_sqe **ret_sqe)
{
	int r = weir__file_enter(file);

	if (r < 0)
		return r;
	r = weir__op_begin(w, what, WEIR_NEVER, ret_sqe);
	if (r < 0)
		weir__file_leave(file);
	return r;
}

static int end(struct weir_file *file, struct weir_op_wait *w, struct io_uring_sqe *sqe)
{
	int r = weir__op_end(w, sqe, WEIR_NEVER);

	weir__file_completed();
	weir__file_leave(file);
	return r;
}

/* The direct descriptor, when there is one. */
static inline void target(const struct weir_file *file, struct io_uring_sqe *sqe)
{
	if (file->slot >= 0) {
		sqe->fd = file->slot;
		sqe->flags |= IOSQE_FIXED_FILE;
	}
}

static inline bool is_registered(const struct weir_file *file, const void *buf, size_t size)
{
	return file->slot >= 0 && weir__pool_has(&file->files->pool, buf, size);
}

void weir__file_prep_read(const struct weir_file *file, struct io_uring_sqe *sqe, void *buf,
			  size_t size, int64_t offset)
{
	unsigned count = size < IO_MAX ? (unsigned)size : IO_MAX;

	if (is_registered(file, buf, size))
		io_uring_prep_read_fixed(sqe, file->fd, buf, count, (uint64_t)offset, 0);
	else
		io_uring_prep_read(sqe, file->fd, buf, count, (uint64_t)offset);
	target(file, sqe);
}

void weir__file_prep_write(const struct weir_file *file, struct io_uring_sqe *sqe, const void *buf,
			   size_t size, int64_t offset)
{
	unsigned count = size < IO_MAX ? (unsigned)size : IO_MAX;

	if (is_registered(file, buf, size))
		io_uring_prep_write_fixed(sqe, file->fd, buf, count, (uint64_t)offset, 0);
	else
		io_uring_prep_write(sqe, file->fd, buf, count, (uint64_t)offset);
	target(file, sqe);
}

/*
 * Whether an operation that ended with n is to be tried again: the kernel cannot restart one
 * that a signal interrupted (io_uring/rw.c: -ERESTARTSYS becomes -EINTR), and nothing was moved.
 */
static inline bool is_again(ssize_t n, unsigned *tries)
{
	return weir_unlikely(n == -EINTR) && ++*tries < AGAIN_MAX;
}

static ssize_t read_cold(struct weir_file *file, void *buf, size_t size, int64_t offset)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	unsigned tries = 0;
	ssize_t n;

	do {
		n = begin(file, &w, "read", &sqe);
		if (n < 0)
			return n;
		weir__file_prep_read(file, sqe, buf, size, offset);
		n = end(file, &w, sqe);
	} while (is_again(n, &tries));
	return n;
}

static ssize_t write_cold(struct weir_file *file, const void *buf, size_t size, int64_t offset)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	unsigned tries = 0;
	ssize_t n;

	do {
		n = begin(file, &w, "write", &sqe);
		if (n < 0)
			return n;
		weir__file_prep_write(file, sqe, buf, size, offset);
		n = end(file, &w, sqe);
	} while (is_again(n, &tries));
	return n;
}

/* --- reading --- */

WEIR__JUMP_RETURN ssize_t weir_file_read(struct weir_file *file, void *buf, size_t size,
					 int64_t offset)
{
	const struct iovec iov = { buf, size };
	ssize_t n = -EAGAIN;

	if (weir_likely(size <= INLINE_MAX))
		n = read_hot(file, &iov, 1, offset);
	if (weir_likely(n != -EAGAIN))
		return n;
	return read_cold(file, buf, size, offset);
}

/* Bytes of iov, or IO_MAX when they are more. */
static size_t iov_size(const struct iovec *iov, unsigned count)
{
	size_t size = 0;

	for (unsigned i = 0; i < count && size < IO_MAX; i++)
		size += iov[i].iov_len < IO_MAX ? iov[i].iov_len : IO_MAX;
	return size < IO_MAX ? size : IO_MAX;
}

ssize_t weir_file_readv(struct weir_file *file, const struct iovec *iov, unsigned count,
			int64_t offset)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	ssize_t n = -EAGAIN;
	unsigned tries = 0;

	weir_precond(count <= IOV_COUNT_MAX, -EINVAL);
	if (iov_size(iov, count) <= INLINE_MAX)
		n = read_hot(file, iov, count, offset);
	if (n != -EAGAIN)
		return n;
	do {
		n = begin(file, &w, "readv", &sqe);
		if (n < 0)
			return n;
		io_uring_prep_readv(sqe, file->fd, iov, count, (uint64_t)offset);
		target(file, sqe);
		n = end(file, &w, sqe);
	} while (is_again(n, &tries));
	return n;
}

int weir_file_read_exact(struct weir_file *file, void *buf, size_t size, int64_t offset)
{
	char *to = buf;

	weir_precond(offset >= 0, -EINVAL);
	for (size_t done = 0; done < size;) {
		ssize_t n = weir_file_read(file, to + done, size - done, offset + (int64_t)done);

		if (n <= 0)
			return n ? (int)n : -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

/* --- writing --- */

ssize_t weir_file_write(struct weir_file *file, const void *buf, size_t size, int64_t offset)
{
	const struct iovec iov = { (void *)(uintptr_t)buf, size };
	ssize_t n = -EAGAIN;

	if (weir_unlikely(file->failed))
		return -EIO;
	if (size <= INLINE_MAX)
		n = write_hot(file, &iov, 1, offset);
	return n != -EAGAIN ? n : write_cold(file, buf, size, offset);
}

ssize_t weir_file_writev(struct weir_file *file, const struct iovec *iov, unsigned count,
			 int64_t offset)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	ssize_t n = -EAGAIN;
	unsigned tries = 0;

	weir_precond(count <= IOV_COUNT_MAX, -EINVAL);
	if (file->failed)
		return -EIO;
	if (iov_size(iov, count) <= INLINE_MAX)
		n = write_hot(file, iov, count, offset);
	if (n != -EAGAIN)
		return n;
	do {
		n = begin(file, &w, "writev", &sqe);
		if (n < 0)
			return n;
		io_uring_prep_writev(sqe, file->fd, iov, count, (uint64_t)offset);
		target(file, sqe);
		n = end(file, &w, sqe);
	} while (is_again(n, &tries));
	return n;
}

int weir_file_write_all(struct weir_file *file, const void *buf, size_t size, int64_t offset)
{
	const char *from = buf;

	weir_precond(offset >= 0, -EINVAL);
	for (size_t done = 0; done < size;) {
		ssize_t n = weir_file_write(file, from + done, size - done, offset + (int64_t)done);

		if (n <= 0)
			return n ? (int)n : -EIO;
		done += WEIR__PLANT(WRITE_SHORT) ? size : (size_t)n;
	}
	return 0;
}

/* --- durability --- */

/* Whether a sync that ended with r has said something about the data. */
static bool is_sync_failure(struct weir_ring *ring, int r)
{
	return r < 0 && ring->verdict == WEIR_COMPLETED && r != -ECANCELED && r != -EINTR &&
	       r != -EINVAL && r != -EROFS;
}

static int sync_file(struct weir_file *file, const char *what, unsigned flags)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r;

	if (file->failed)
		return -EIO;
	r = begin(file, &w, what, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_fsync(sqe, file->fd, flags);
	target(file, sqe);
	r = weir__op_end(&w, sqe, WEIR_NEVER);
	if (is_sync_failure(w.ring, r))
		file->failed = !WEIR__PLANT(FSYNC_RETRIED);
	weir__file_completed();
	weir__file_leave(file);
	return r;
}

int weir_file_sync(struct weir_file *file)
{
	return sync_file(file, "fsync", 0);
}

int weir_file_datasync(struct weir_file *file)
{
	return sync_file(file, "fdatasync", IORING_FSYNC_DATASYNC);
}

bool weir_file_is_failed(const struct weir_file *file)
{
	return file->failed;
}

/* --- the rest --- */

int weir_file_stat(struct weir_file *file, struct weir_stat *ret_stat)
{
	struct weir_kernel *kernel = file->ring->kernel;
	struct statx stat = { 0 };
	int r = kernel->ops->statx(kernel, file->fd, STATX_BASIC_STATS | STATX_DIOALIGN, &stat);

	if (r < 0)
		return r;
	*ret_stat = (struct weir_stat){
		.size = stat.stx_size,
		.blocks = stat.stx_blocks,
		.mtime_ns = stat.stx_mtime.tv_sec * WEIR_S + stat.stx_mtime.tv_nsec,
		.ctime_ns = stat.stx_ctime.tv_sec * WEIR_S + stat.stx_ctime.tv_nsec,
		.inode = stat.stx_ino,
		.device = (uint64_t)stat.stx_dev_major << 32 | stat.stx_dev_minor,
		.mode = stat.stx_mode,
		.links = stat.stx_nlink,
		.uid = stat.stx_uid,
		.gid = stat.stx_gid,
	};
	if (stat.stx_mask & STATX_DIOALIGN) {
		ret_stat->buf_align = stat.stx_dio_mem_align;
		ret_stat->offset_align = stat.stx_dio_offset_align;
	}
	return 0;
}

int weir_file_allocate(struct weir_file *file, int mode, int64_t offset, int64_t size)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r = begin(file, &w, "fallocate", &sqe);

	if (r < 0)
		return r;
	io_uring_prep_fallocate(sqe, file->fd, mode, (uint64_t)offset, (uint64_t)size);
	target(file, sqe);
	return end(file, &w, sqe);
}

/* Without the operation, the core waits for the file system. */
static int truncate_here(struct weir_file *file, int64_t size)
{
	struct weir_kernel *kernel = file->ring->kernel;
	int r = weir__wait_check(WEIR_NEVER);

	if (!r && file->closing)
		r = -EBADF;
	return r < 0 ? r : kernel->ops->ftruncate(kernel, file->fd, size);
}

int weir_file_truncate(struct weir_file *file, int64_t size)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r;

	weir_precond(size >= 0, -EINVAL);
	if (!file->files->has_truncate)
		return truncate_here(file, size);
	r = begin(file, &w, "ftruncate", &sqe);
	if (r < 0)
		return r;
	io_uring_prep_ftruncate(sqe, file->fd, size);
	target(file, sqe);
	return end(file, &w, sqe);
}

ssize_t weir_file_splice(struct weir_file *file, int64_t offset, int pipe_fd, size_t size)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r = begin(file, &w, "splice", &sqe);

	if (r < 0)
		return r;
	io_uring_prep_splice(sqe, file->fd, offset, pipe_fd, -1,
			     size < IO_MAX ? (unsigned)size : IO_MAX, SPLICE_F_MOVE);
	return end(file, &w, sqe);
}

int weir_file_fd(const struct weir_file *file)
{
	return file->fd;
}
