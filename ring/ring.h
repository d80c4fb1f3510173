/* SPDX-License-Identifier: MIT */
/*
 * ring.h - one worker's ring: the slot table, what is parked before it, and how the
 * layers of weir put operations into it.
 *
 * An operation is put in flight in three steps, with nothing in between:
 *
 *	sqe = weir__op_sqe(ring, WEIR_TRANSIENT);	a free slot and a free SQE, or NULL
 *	io_uring_prep_read(sqe, ...);			any preparation
 *	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);	takes the slot: op is IN FLIGHT
 *
 * Slots come in three purses, three limits over one table: transient ops are what
 * producers compete for; armed ops (multishots) are bounded by connections and must
 * not starve them; reserved ops make progress possible (close, wake) and are never refused.
 * A cancel needs no slot at all: its CQE carries the slot of its target.
 *
 * Retirement: a slot is free again when nothing is pending on it any more - its own
 * final CQE, the NOTIF of a zero-copy send, the CQE of a cancel that was sent. done()
 * runs then and not before.
 */
#ifndef WEIR_RING_RING_H
#define WEIR_RING_RING_H

#include "core/driver.h"
#include "core/queue.h"
#include "core/waiting.h"
#include "core/weir_task.h"
#include "ring/bufs.h"
#include "ring/kernel.h"
#include "ring/weir_ring.h"
#include "ring/weir_run.h"

enum weir_purse { WEIR_TRANSIENT, WEIR_ARMED, WEIR_RESERVED, WEIR_PURSES };

/* What a slot still waits for. */
enum {
	PENDING_FINAL = 1,	/* the op's own last result */
	PENDING_NOTIF = 2,	/* zero-copy: the kernel still reads the buffer */
	PENDING_CANCEL = 4,	/* the CQE of the cancel we sent */
};

struct weir_slot {
	struct weir_op *op;	/* NULL: free */
	uint32_t generation;	/* of user_data; grows with each use */
	uint8_t pending;
	uint8_t purse;
	uint8_t opcode;
	uint8_t sqe_flags;
	int32_t fd;
	union {
		uint32_t next_free;	/* free: index + 1 */
		bool cancel_wanted;	/* in flight: on the list of cancels that found no SQE */
	};
	int64_t since_ns;
};

struct weir_ring_opts {
	struct weir_kernel *kernel;
	const struct weir_kernel_info *kernel_info;	/* why; outlives the ring. NULL: a test */
	unsigned depth;		/* transient slots */
	unsigned armed_max;
	unsigned direct_max;	/* direct descriptors; 0: none */
	unsigned bufs;		/* provided buffers */
	unsigned buf_size;
	unsigned sq_size;	/* default 1024 */
	unsigned cq_size;	/* default 8192, at least twice depth */
};

struct weir_ring {
	struct weir_driver driver;
	struct weir_kernel *kernel;
	struct io_uring uring;

	struct weir_slot *slots;
	uint32_t free_head;		/* index + 1 */
	uint32_t slots_used;		/* entries [0, slots_used) were taken at least once */
	uint32_t slots_size;
	unsigned taken[WEIR_PURSES];
	unsigned limit[WEIR_PURSES];
	unsigned high;			/* most transient slots ever taken */
	unsigned promised;		/* transient slots put aside for waiters that were woken */
	bool redeeming;			/* such a waiter runs now */
	struct weir_node waiters;	/* FIFO of struct weir_slot_wait */
	unsigned parked;
	unsigned cancels_wanted;	/* slots with cancel_wanted */

	struct weir_bufs bufs;
	struct weir_files *files;	/* files.h; NULL until used */
	enum weir_verdict verdict;	/* of the last waiting call that ended */

	unsigned enter_flags; /* REGISTERED_RING, NO_IOWAIT, ABS_TIMER as the kernel allows */
	uint32_t setup_flags, refused_flags;
	uint32_t features;
	bool has_direct;		/* direct descriptors are registered */
	bool has_notify;		/* the kernel can post to us without a ring */
	bool looks;			/* only a call tells whether there are completions */
	bool again;			/* somebody can go on in the next turn: do not wait */
	bool enabled, draining, stopping;
	int wake_fd;			/* eventfd where notify is not there, else -1 */
	struct weir_op wake_op;
	bool wake_wanted;		/* its read found no SQE */
	uint64_t wake_count;

	uint64_t enters, cqes, ops, stale, overflow, wakes;
	struct weir_ring_opts opts;
};

/* The ring of the worker that runs, or NULL. */
struct weir_ring *weir__ring_self(void);

/* On any thread: sets up the ring, disabled; the worker's driver start enables it. */
int weir__ring_create(const struct weir_ring_opts *opts, struct weir_ring **ret_ring);
/* After the worker has ended. Nothing is in flight, or the driver failed: then nothing is freed. */
void weir__ring_destroy(struct weir_ring *ring);

/* --- operations --- */

/*
 * An SQE for one op of purse, zeroed by the preparation that follows, or NULL when no slot
 * of it is free or the kernel takes no more now (then wait for a slot).
 */
struct io_uring_sqe *weir__op_sqe(struct weir_ring *ring, enum weir_purse purse);
void weir__op_go(struct weir_ring *ring, struct weir_op *op, struct io_uring_sqe *sqe,
		 enum weir_purse purse);
void weir__op_cancel(struct weir_ring *ring, struct weir_op *op);

/* --- a coroutine's own op: lives on its stack, waits until it has retired --- */

struct weir_op_wait {
	struct weir_op op;
	struct weir_wait wait;
	struct weir_ring *ring;
};

/*
 * Checks, and waits for a transient slot in the FIFO. Returns 0 with *ret_sqe to be
 * prepared at once, or what the waiting call must return.
 */
int weir__op_begin(struct weir_op_wait *w, const char *what, int64_t deadline_ns,
		   struct io_uring_sqe **ret_sqe);
/* Puts it in flight and waits for its end. Returns res, or -ECANCELED / -ETIMEDOUT. */
int weir__op_end(struct weir_op_wait *w, struct io_uring_sqe *sqe, int64_t deadline_ns);

/* Submits what is queued, without waiting. Returns 0 or -errno. */
int weir__ring_flush(struct weir_ring *ring);

/* A wake that this ring sent to core by message failed. */
void weir__ring_wake_failed(struct weir_ring *ring, unsigned core);

/* Name of an IORING_OP_*. */
const char *weir__opcode_name(unsigned opcode);

#endif
