/* SPDX-License-Identifier: MIT */
/*
 * weir_file.h - files in direct style: every call waits in its coroutine and no longer
 * than the coroutine's deadline.
 *
 *	struct weir_dir *root;
 *	struct weir_file *file;
 *
 *	if (!(r = weir_dir_open(NULL, "/srv/www", 0, &root)))
 *		r = weir_file_open(root, "index.html", NULL, &file);
 *	...
 *	n = weir_file_read(file, buf, sizeof(buf), 0);
 *	...
 *	weir_file_close(file);
 *
 * Two kinds of file. A buffered one (the default) goes through the page cache: a read
 * whose pages are there is answered in the call itself, without the ring; what would
 * have to wait goes through the ring. One opened with direct (O_DIRECT) bypasses the page
 * cache: buffers, offsets and sizes are multiples of what weir_file_stat() says, and
 * buffers of weir_aligned_alloc() are registered with the kernel, which saves it work.
 *
 * A file belongs to the worker that opened it. Any number of coroutines of that worker may
 * use one at once; which of two overlapping writes wins is not defined.
 *
 * Every call adds to the errors of weir_core.h what the system call of its name gives, and
 *	-ECANCELED, -ETIMEDOUT	the coroutine's end was asked for; weir_verdict() tells
 *				whether the operation took place
 *	-EBADF			the file is being closed
 *	-EDEADLK		outside a coroutine
 */
#ifndef WEIR_FILE_H
#define WEIR_FILE_H

#include <sys/uio.h>

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_file;
struct weir_dir;

/* Zero means the default for every member. */
struct weir_open_opts {
	int flags;		/* O_* of open(2); default O_RDONLY. O_CLOEXEC is always added. */
	unsigned mode;		/* of a file that O_CREAT makes; default 0644, less the umask */
	bool direct;		/* bypass the page cache (O_DIRECT) */
	bool no_symlinks;	/* -ELOOP when any part of the path is a symbolic link */
};

/*
 * Opens path. dir NULL: as open(2) does. Else path is below dir and stays there: `..`, an
 * absolute path or a symbolic link that would leave it is -EXDEV (openat2(2),
 * RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS). opts may be NULL. *ret_file is the caller's to close.
 * An open that succeeded although its coroutine was cancelled is a success. A FIFO is opened as
 * with O_NONBLOCK: not waiting for the other end.
 * Returns 0, -ENOENT, -EACCES, -EISDIR (a directory opened for writing) ..., -EMFILE
 * (raise RLIMIT_NOFILE), -EINVAL for direct where the file system has none: open it without;
 * -ENOBUFS when WEIR_FILES_MAX files are open on this worker, -ENOMEM.
 */
WEIR_API int weir_file_open(struct weir_dir *dir, const char *path,
			    const struct weir_open_opts *opts, struct weir_file **ret_file);

/* Files one worker can have open, and directories. */
#define WEIR_FILES_MAX 65536

/*
 * Waits until the other coroutines' calls on file have ended (later ones answer -EBADF), then
 * closes it. Neither cancellation nor a deadline ends this wait. NULL is allowed.
 * Returns 0 or what close(2) said about writes that failed: file is gone all the same.
 * -EBUSY when somebody else is closing it, -EDEADLK: file is still the caller's.
 */
WEIR_API int weir_file_close(struct weir_file *file);

/*
 * Reads up to size bytes from byte offset (-1: the file's own position) into buf. Returns the
 * count, 0 at the end of the file; fewer than asked for does not mean the end. For a direct file
 * -EINVAL says that buf, size or offset is not aligned: see weir_file_stat().
 */
WEIR_API ssize_t weir_file_read(struct weir_file *file, void *buf, size_t size, int64_t offset);

/* The same into up to 1024 buffers; more is -EINVAL. iov is lent until it returns. */
WEIR_API ssize_t weir_file_readv(struct weir_file *file, const struct iovec *iov, unsigned count,
				 int64_t offset);

/*
 * Reads exactly size bytes from offset >= 0. Returns 0, -ENODATA when the file ends before (buf
 * then holds what there was), or as weir_file_read().
 */
WEIR_API int weir_file_read_exact(struct weir_file *file, void *buf, size_t size, int64_t offset);

/*
 * Writes up to size bytes of buf at byte offset (-1: the file's own position; O_APPEND:
 * its end). Returns the count, which may be smaller than size. -EIO after a failed
 * weir_file_sync(), for good.
 */
WEIR_API ssize_t weir_file_write(struct weir_file *file, const void *buf, size_t size,
				 int64_t offset);

/* The same from up to 1024 buffers. */
WEIR_API ssize_t weir_file_writev(struct weir_file *file, const struct iovec *iov, unsigned count,
				  int64_t offset);

/*
 * Writes all size bytes at offset >= 0. Returns 0, or as weir_file_write(): a part may have
 * been written then.
 */
WEIR_API int weir_file_write_all(struct weir_file *file, const void *buf, size_t size,
				 int64_t offset);

/*
 * Makes what was written durable: data and metadata (fsync), or data and what is needed to
 * read it (fdatasync). After an error nobody knows which of the writes are on disk, and asking
 * again would answer 0 without knowing either: the file has failed for good, every later
 * write and sync answers -EIO, also in other coroutines. Close it, and recover what it held.
 */
WEIR_API int weir_file_sync(struct weir_file *file);
WEIR_API int weir_file_datasync(struct weir_file *file);

/* Whether a sync has failed. */
WEIR_API bool weir_file_is_failed(const struct weir_file *file);

/* What is known of a file. */
struct weir_stat {
	uint64_t size;		/* bytes */
	uint64_t blocks;	/* of 512 bytes, allocated */
	int64_t mtime_ns;	/* since 1970 */
	int64_t ctime_ns;
	uint64_t inode;
	uint64_t device;
	uint32_t mode;		/* S_IF* | permissions */
	uint32_t links;
	uint32_t uid, gid;
	uint32_t buf_align;	/* O_DIRECT: of addresses; 0: not here, or not known */
	uint32_t offset_align;	/* O_DIRECT: of offsets and sizes */
};

/*
 * Fills *ret_stat. Does not wait: a network file system answers what it last knew. Also outside
 * a coroutine.
 */
WEIR_API int weir_file_stat(struct weir_file *file, struct weir_stat *ret_stat);

/* fallocate(2): mode is 0 or FALLOC_FL_*. */
WEIR_API int weir_file_allocate(struct weir_file *file, int mode, int64_t offset, int64_t size);

/* Makes the file size bytes long. Before 6.9 the ring has no operation for it: the core waits. */
WEIR_API int weir_file_truncate(struct weir_file *file, int64_t size);

/*
 * Moves up to size bytes from offset of file into the pipe pipe_fd, without copying. Returns the
 * count, 0 at the end of the file.
 */
WEIR_API ssize_t weir_file_splice(struct weir_file *file, int64_t offset, int pipe_fd,
				  size_t size);

/* The descriptor, for what this header lacks. It stays the file's. */
WEIR_API int weir_file_fd(const struct weir_file *file);

/* --- directories, and names in them --- */

/*
 * Opens a directory as the root of opens below it. flags is 0 or WEIR_DIR_*. Errors as
 * weir_file_open(), -ENOTDIR.
 */
#define WEIR_DIR_NO_SYMLINKS 1u	/* no path below it may contain a symbolic link: -ELOOP */

WEIR_API int weir_dir_open(struct weir_dir *dir, const char *path, unsigned flags,
			   struct weir_dir **ret_dir);

/* No call is using dir any more. Waits as weir_file_close(). NULL is allowed. */
WEIR_API int weir_dir_close(struct weir_dir *dir);

/* Makes creations, renames and removals in dir itself durable. */
WEIR_API int weir_dir_sync(struct weir_dir *dir);

/*
 * Names below dir, which they do not leave (-EXDEV); dir NULL: as the system calls do. The last
 * part of a path must be a name: `.`, `..` or nothing is -EINVAL. A path longer than 4095 bytes is
 * -ENAMETOOLONG. Symbolic links in the last part are not followed.
 */
WEIR_API int weir_path_unlink(struct weir_dir *dir, const char *path);
WEIR_API int weir_path_rmdir(struct weir_dir *dir, const char *path);
WEIR_API int weir_path_mkdir(struct weir_dir *dir, const char *path, unsigned mode);

/* Replaces `to` when it exists, atomically. Both below dir. */
WEIR_API int weir_path_rename(struct weir_dir *dir, const char *from, const char *to);

/* --- memory for direct files --- */

/*
 * size bytes aligned to a page, for O_DIRECT. The first call on a worker registers a pool of
 * WEIR_ALIGNED_POOL bytes with the ring, less when RLIMIT_MEMLOCK allows no more; what lies in
 * it is read and written without the kernel mapping it each time. Once the pool is
 * full, or where there is none, the memory is ordinary and works as well, a little slower.
 * NULL when there is no memory or size is 0. Not for every operation: keep the buffer.
 */
#define WEIR_ALIGNED_POOL (4u << 20)

WEIR_API void *weir_aligned_alloc(size_t size);

/* On the worker that allocated it, with the same size; no operation uses it. ptr may be NULL. */
WEIR_API void weir_aligned_free(void *ptr, size_t size);

/* Levels of this worker's files. */
struct weir_files_info {
	unsigned open;		/* files and directories */
	unsigned open_direct;	/* of them in the ring's own table */
	size_t pool_size;	/* registered; 0: none was asked for, or none was allowed */
	size_t pool_used;
	int pool_error;		/* 0, or why the pool is smaller than WEIR_ALIGNED_POOL: -ENOMEM
				 * is RLIMIT_MEMLOCK */
	int direct_error;	/* why a direct file is not in the ring's table: -ENFILE: full */
	uint64_t hot;		/* reads and writes that did not need the ring */
	uint64_t cold_reads;	/* reads tried without the ring in vain */
};

/* Returns 0, or -EDEADLK outside a worker. */
WEIR_API int weir_files_info(struct weir_files_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
