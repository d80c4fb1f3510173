/* SPDX-License-Identifier: MIT */
/*
 * weir_commit.h - group commit: an append-only log that many coroutines write and that
 * reaches the disk once for all who wait.
 *
 *	r = weir_commit_append(log, record, size, &offset);	0: it is on the disk
 *
 * While one group is being written the next one collects, so that the more wait, the more
 * share a write:
 *
 *	COLLECTING --the write before it is done--> IN FLIGHT --durable--> everybody answered
 *	     ^--appends--- (group_size, group_count: beyond that, appends wait in line)
 *
 * Order. Appends get their places in the file in the order of the calls, without gaps. A group
 * is written after the one before it is durable: when an append has returned 0, so is everything
 * before its end. After a crash the file holds a prefix of the appends, of which the last
 * may be torn: give records a length and a checksum.
 *
 * Errors. When a write fails, nobody knows how much of it is on the disk, and trying
 * again would not tell (fsync(2), "fsyncgate"). The log has failed for good: everybody in this
 * group and after it gets the error, and the file fails with it (weir_file_is_failed()). Read the
 * file to find out what is there.
 *
 * A group is one write with RWF_DSYNC: as durable as write and fdatasync, in one operation.
 * The name of a new file is durable after weir_dir_sync(). A buffered log is fastest over
 * blocks that have been written before (a recycled file), a growing one with O_DIRECT:
 * measured in ring/README.md.
 */
#ifndef WEIR_COMMIT_H
#define WEIR_COMMIT_H

#include "weir_file.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_commit;

/* Zero means the default for every member. */
struct weir_commit_opts {
	size_t group_size;	/* bytes of one group, and of the largest append; default 256 KiB.
				 * The log takes twice as much memory. For a direct file a multiple
				 * of its alignment. */
	unsigned group_count;	/* appends in one group; default 1024 */
};

/*
 * A log that appends to file from byte offset on; -1: from its end. file is lent until
 * weir_commit_destroy(): open for writing, not with O_APPEND, written by nobody else. On a
 * direct file every append's size, and offset, must be a multiple of weir_stat's offset_align.
 * Returns 0, -EINVAL (an option or offset), -EDEADLK outside a coroutine, -ENOMEM, or why file
 * cannot be asked for its size.
 */
WEIR_API int weir_commit_create(struct weir_file *file, int64_t offset,
				const struct weir_commit_opts *opts, struct weir_commit **ret_log);

/*
 * Appends size bytes of data and waits until they are durable. *ret_offset (may be NULL) is where
 * they are in the file. Size 0 writes nothing and waits for everything appended before.
 *
 * Cancellation and deadlines end the wait for a place in a group, then nothing was appended. Once
 * the append has its place it is waited for, and its outcome returned: never in doubt.
 *
 * Returns 0; -EMSGSIZE: size is above group_size; -EINVAL: not aligned, on a direct file;
 * -ECANCELED, -ETIMEDOUT, -EDEADLK; -EBADF: log or file is being closed; or the error with which
 * the log has failed (-EIO, -ENOSPC ...): nothing of this append is acknowledged.
 */
WEIR_API int weir_commit_append(struct weir_commit *log, const void *data, size_t size,
				int64_t *ret_offset);

/*
 * Waits until everybody in the log is answered (later appends: -EBADF), then frees it; file is
 * the caller's again. Neither cancellation nor a deadline ends this wait. NULL is allowed.
 * Returns 0, the error with which the log had failed, or -EDEADLK, -EBUSY: log is still there.
 */
WEIR_API int weir_commit_destroy(struct weir_commit *log);

/* Levels of a log. */
struct weir_commit_info {
	int64_t end;		/* where the next append goes */
	int64_t durable;	/* everything before it is on the disk */
	unsigned waiting;	/* appends in groups now */
	unsigned parked;	/* appends that wait for a place in a group */
	uint64_t appends;	/* answered with 0 so far */
	uint64_t groups;	/* writes that answered them */
	int error;		/* 0, or with which the log has failed */
};

WEIR_API void weir_commit_info(const struct weir_commit *log, struct weir_commit_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
