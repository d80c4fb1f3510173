/* SPDX-License-Identifier: MIT */
/*
 * weir_op_async.h - any op of the ring as a future.
 *
 * Write the function that submits the op; the future brings the op's memory, waits for a
 * slot of the ring when none is free, and asks the kernel when it is cancelled:
 *
 *	static int start(struct weir_op *op, const struct weir_op_args *args)
 *	{
 *		return weir_op_recv(op, args->fd, args->buf, args->size);
 *	}
 *
 *	struct weir_op_args args = { .fd = fd, .buf = buf, .size = sizeof(buf) };
 *
 *	n = weir_await(weir_op_async(start, &args, "recv"), deadline_ns, NULL);
 */
#ifndef WEIR_OP_ASYNC_H
#define WEIR_OP_ASYNC_H

#include "weir_future.h"
#include "weir_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What start needs to submit: use what fits. Copied into the future. */
struct weir_op_args {
	void *object;		/* lent until the future is settled, as is buf */
	void *buf;
	size_t size;
	int64_t offset;
	int fd;
};

/* Submits op, once: one of the weir_op_ submissions. Returns 0, or why it was refused. */
typedef int (*weir_op_start_fn)(struct weir_op *op, const struct weir_op_args *args);

/*
 * The future of the op that start submits: its res is the future's. start is called now, or
 * (after -EAGAIN) once a slot is put aside for it, in the order of those who wait. name is
 * shown in dumps and is the origin of a rejection; borrowed for good. Cancelling the future
 * cancels the op; it is settled once the op has retired, never before.
 * Rejected with what start refused with, -ENOBUFS at futures_max, -ENOMEM, -EDEADLK outside a
 * worker: then nothing was started.
 */
WEIR_API struct weir_future *weir_op_async(weir_op_start_fn start, const struct weir_op_args *args,
					   const char *name);

#ifdef __cplusplus
}
#endif

#endif
