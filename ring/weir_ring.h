/* SPDX-License-Identifier: MIT */
/*
 * weir_ring.h - this core's ring, and the operations in flight on it.
 *
 * The level below files and connections: what a library author or a researcher uses
 * when even a coroutine switch is too much. Each worker has one ring; every function
 * here acts on the ring of the worker that calls it. An op is memory the caller lends:
 *
 *	IDLE --weir_op_read()--> IN FLIGHT --done(op, res, flags)--> IDLE
 *
 * While in flight, the ring owns the op and the buffers it names. It comes back exactly
 * once, through done(): success, failure, timeout and cancel alike. Every op in flight
 * occupies a slot of the ring's table, and the table is as large as the ring is deep:
 * taking a slot is paying a credit.
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_op;

/* In done's flags: the op is still IN FLIGHT, more results follow (multishot only). */
#define WEIR_OP_MORE 2u

/*
 * res is what the operation returns: a count, or -errno (-ECANCELED: it was cancelled
 * before it did anything). Without WEIR_OP_MORE op is IDLE when this runs: done() may
 * submit it again, or free what it lives in. Must not wait. Other bits of flags are the
 * completion's own (IORING_CQE_F_*).
 */
typedef void (*weir_op_fn)(struct weir_op *op, int res, uint32_t flags);

/* What became of an op that somebody asked to end. */
enum weir_verdict {
	WEIR_COMPLETED,		/* it did what it was asked (perhaps in part): res counts */
	WEIR_NOT_STARTED,	/* nothing was begun */
	WEIR_CANCELLED		/* begun and taken back: no effect, no byte was moved */
};

/* The caller's memory. */
struct weir_op {
	weir_op_fn done_;
	const char *name;	/* who waits for it, in dumps; borrowed; may be NULL */
	uint32_t slot_;		/* of the table, + 1; 0: IDLE */
	int res_;
	uint32_t flags_;
};

/* Makes op IDLE. done runs on the worker that submits it. */
WEIR_API void weir_op_init(struct weir_op *op, weir_op_fn done, const char *name);

/* Whether op is IN FLIGHT. */
WEIR_API bool weir_op_is_inflight(const struct weir_op *op);

/*
 * Asks the kernel to end op. Does not wait: done() tells what happened, -ECANCELED (or
 * -EINTR when it had begun) or the result if it was too late. Never refused: it needs no
 * slot. An IDLE op is left alone.
 */
WEIR_API void weir_op_cancel(struct weir_op *op);

/*
 * What became of the operation in the calling coroutine's last waiting call on a file or a
 * connection, when that call returned -ECANCELED or -ETIMEDOUT: valid until it waits again.
 */
WEIR_API enum weir_verdict weir_verdict(void);

/*
 * Submissions. Each takes one transient slot and leaves with the turn's one system call.
 * The ring borrows op and the buffer until done(). offset is in bytes, -1: the file's own
 * position. size is in bytes, at most INT32_MAX.
 *
 * Returns 0, or -EAGAIN when no slot is free (weir_slot_wait() tells when there is one),
 * -EBUSY when op is in flight, -ESHUTDOWN when the worker's work has ended: what was still in
 * flight is being cancelled, nothing new begins. On error nothing was lent and done() will not run.
 */
WEIR_API int weir_op_nop(struct weir_op *op);
WEIR_API int weir_op_read(struct weir_op *op, int fd, void *buf, size_t size, int64_t offset);
WEIR_API int weir_op_write(struct weir_op *op, int fd, const void *buf, size_t size,
			   int64_t offset);
WEIR_API int weir_op_recv(struct weir_op *op, int fd, void *buf, size_t size);
WEIR_API int weir_op_send(struct weir_op *op, int fd, const void *buf, size_t size);

/* Completes once fd is ready for events (POLLIN, POLLOUT, ...); res is the ready set. One shot. */
WEIR_API int weir_op_poll(struct weir_op *op, int fd, unsigned events);

/* A place in the FIFO of those who wait for a slot. The caller's memory. */
struct weir_slot_wait {
	void *next_;
	void *prev_;
	void (*run_)(struct weir_slot_wait *wait);
};

/*
 * Calls run(wait) once a slot has been put aside for it: the next submission made from
 * inside run() cannot fail with -EAGAIN. FIFO with the coroutines that wait. Lent until run().
 */
WEIR_API void weir_slot_wait(struct weir_slot_wait *wait, void (*run)(struct weir_slot_wait *wait));

/* Leaves the FIFO; run() will not be called. */
WEIR_API void weir_slot_wait_cancel(struct weir_slot_wait *wait);

/* Levels of this worker's slot table. */
struct weir_ring_info {
	const char *kernel;		/* "uring", "poll" */
	const char *kernel_reason;	/* why it was chosen (weir_run.h) */
	unsigned depth;			/* transient slots */
	unsigned inflight;		/* of them taken now */
	unsigned inflight_high;		/* most ever taken */
	unsigned armed, armed_max;	/* long-lived ops: multishot accept, receive, poll */
	unsigned parked;		/* who waits for a slot now */
	unsigned sq_size, cq_size;	/* entries */
	unsigned bufs, bufs_lent;	/* receive buffers */
	uint64_t enters;		/* system calls made so far */
	uint64_t cq_overflow;		/* completions the kernel had to keep back: should be 0 */
	uint32_t setup_flags;		/* IORING_SETUP_* in force */
	uint32_t refused_flags;		/* of those asked for */
};

/* Fills *ret_info for this worker. Returns 0, or -EDEADLK outside a worker. */
WEIR_API int weir_ring_info(struct weir_ring_info *ret_info);

/* One operation in flight. */
struct weir_inflight {
	const char *opcode;	/* "RECV" */
	const char *name;	/* of who waits for it, or NULL */
	int fd;			/* descriptor or direct slot, -1: none */
	bool direct;		/* fd is a slot of the ring's own table */
	bool armed;		/* multishot, long-lived by nature */
	bool cancelling;	/* its end was asked for */
	int64_t age_ns;
};

/*
 * Calls visit for each op in flight of this worker until it returns non-zero, and returns
 * that; else 0. visit must not wait or submit.
 */
WEIR_API int weir_inflight_list(int (*visit)(const struct weir_inflight *op, void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
