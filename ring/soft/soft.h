/* SPDX-License-Identifier: MIT */
/*
 * soft.h - the soft ring: what the kernel does with a ring, as a library. It owns the ring's
 * memory, consumes real SQEs, posts real CQEs, and knows what holds for every operation:
 * links, link timeouts, cancels, multishots, overflow, buffer rings, direct descriptors,
 * zero-copy notifications. What an operation does is a backend's business: ring/poll/
 * carries it out with system calls, ring/sim/ with simulated hosts.
 *
 * A request lives from its SQE to its final CQE (and NOTIF):
 *
 *	weir__soft_submit()	copies SQEs, forms chains, and issues the first of each
 *	ops->issue(req)		a result, or WEIR_SOFT_LATER: the backend has armed something
 *	weir__soft_ready(req)	there is something to try: req comes on the list of work
 *	weir__soft_finish(req)	the result is known: likewise
 *	weir__soft_run()	runs the work: issues again what is ready, posts what has finished
 *
 * The work is the kernel's task work: with IORING_SETUP_DEFER_TASKRUN its CQEs appear in an enter
 * with IORING_ENTER_GETEVENTS and not before. What ends within submit is visible after it.
 *
 * A soft ring belongs to one thread. What other threads have for it, a backend keeps until
 * the owner enters.
 */
#ifndef WEIR_RING_SOFT_H
#define WEIR_RING_SOFT_H

#include "core/queue.h"
#include "ring/kernel.h"
#include "ring/soft/rules.h"

/* What issue() returns when the request goes on later. No errno. */
#define WEIR_SOFT_LATER (-4096)

enum weir_soft_state {
	WEIR_SOFT_CHAINED,	/* waits for the one before it */
	WEIR_SOFT_ARMED,	/* the backend's: it will say ready or finish */
	WEIR_SOFT_TIMED,	/* a timeout that runs */
	WEIR_SOFT_NOTIFYING,	/* its result is posted; the buffer is still read */
};

struct weir_soft;

struct weir_soft_req {
	struct weir_node node;		/* in its bucket of soft->in_flight */
	struct weir_node work;		/* on soft->work when linked */
	struct weir_soft *soft;
	struct io_uring_sqe sqe;	/* as submitted */
	struct weir_soft_req *next;	/* of its chain; also the free list */
	struct weir_soft_req *timeout;	/* the link timeout that watches it */
	struct weir_soft_req *peer;	/* a link timeout: whom it watches */
	struct weir_node timed;		/* on soft->timers when linked */
	int64_t at_ns;			/* when a timeout fires */
	int64_t span_ns;		/* what it asked for, as read at its submission */
	uint64_t serial;		/* of all requests of the ring */
	void *file;			/* a reference, or NULL */
	int64_t want;			/* bytes; less is a failure for who is linked. 0: any */
	int64_t done;			/* bytes moved by earlier issues */
	int res;			/* when finished */
	uint32_t cflags;		/* of the next CQE: buffer, SOCK_NONEMPTY */
	uint8_t state;
	bool finished;			/* res is final */
	bool notified;			/* its buffer is no longer read */
	int notify_res;
	bool failed;
	bool cancelled;			/* will finish with -ECANCELED */
	bool notify; /* issue() sets it: F_MORE now, NOTIF by weir__soft_notified() */
	bool polled;			/* for the backend: it waits for readiness */
};

/* What happens to a request, for who keeps a record of it. */
enum weir_soft_event { WEIR_SOFT_BEGINS, WEIR_SOFT_POSTS, WEIR_SOFT_ENDS };

struct weir_soft_ops {
	size_t req_size; /* of the backend's struct, which begins with weir_soft_req */
	/* Carries it out. res >= 0, -errno, or WEIR_SOFT_LATER. Called again after ready(). */
	int (*issue)(struct weir_soft_req *req);
	/*
	 * 0: the backend has forgotten it, it ends with -ECANCELED. 1: likewise, and before the
	 * cancel does. -EALREADY: it ends by itself.
	 */
	int (*cancel)(struct weir_soft_req *req);
	/* A reference to what fd means in this process: 0, -EBADF, -ENOMEM. */
	int (*file_get)(struct weir_soft *soft, int fd, void **ret_file);
	/* It goes into a slot, and is to outlive the descriptor it was got from. NULL: it does. */
	int (*file_keep)(void *file);
	void (*file_ref)(void *file);
	void (*file_put)(void *file);
	/* Whether both are one open file. NULL: one file has one address. */
	bool (*file_same)(const void *a, const void *b);
	/* A descriptor for file, as FIXED_FD_INSTALL makes one; it takes a reference. */
	int (*fd_install)(struct weir_soft *soft, void *file);
	/* An IORING_OP_MSG_RING: its result. */
	int (*message)(struct weir_soft_req *req);
	/* The clock of a timeout: CLOCK_MONOTONIC, _BOOTTIME or _REALTIME. */
	int64_t (*now)(struct weir_soft *soft, int clock);
	/* There is work, or there are other timers. May be NULL. */
	void (*kick)(struct weir_soft *soft);
	/* Which of count things that are ready comes first. NULL: the oldest. */
	unsigned (*pick)(struct weir_soft *soft, unsigned count);
	/* NULL: nobody watches. res and cflags are what is posted. */
	void (*watch)(struct weir_soft_req *req, enum weir_soft_event event, int res,
		      uint32_t cflags);
};

/* What a kernel of some version has. */
struct weir_soft_profile {
	const char *name;
	uint32_t setup_flags;		/* other IORING_SETUP_*: -EINVAL */
	uint32_t features;		/* IORING_FEAT_* */
	uint32_t enter_flags;		/* other IORING_ENTER_*: -EINVAL */
	unsigned ops_end;		/* the first opcode it does not have */
	unsigned registers_end;		/* the first register opcode it does not have */
	uint64_t ops_refused[2];	/* a bit for each opcode that is refused all the same */
};

struct weir_soft_group {
	struct io_uring_buf_ring *ring;	/* NULL: not registered */
	uint16_t bgid;
	uint16_t head;
	uint16_t mask;
	bool incremental;
	unsigned used;			/* incremental: bytes of the head that are taken */
};

#define WEIR_SOFT_GROUPS 8
#define WEIR_SOFT_BUCKETS 1024

struct weir_soft_overflow {
	struct weir_link link;
	struct io_uring_cqe cqe;
};

struct weir_soft {
	const struct weir_soft_ops *ops;
	const struct weir_soft_profile *profile;
	struct io_uring *uring;
	uint32_t flags;			/* IORING_SETUP_* */
	bool disabled;			/* atomic */
	unsigned sq_head, sq_tail, sq_flags, sq_dropped;	/* shared memory */
	unsigned cq_head, cq_tail, cq_flags, cq_overflow;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned sq_entries, cq_entries;
	struct weir_queue overflow;	/* of weir_soft_overflow */
	unsigned overflow_count;

	struct weir_node in_flight[WEIR_SOFT_BUCKETS];	/* by user_data */
	unsigned in_flight_count;
	struct weir_node work;
	unsigned work_count;
	struct weir_node timers;	/* by at_ns */
	struct weir_soft_req *free;
	struct weir_soft_req *spare;	/* for what ends in its issue, when memory has run out */
	struct weir_soft_chunk *chunks;
	uint64_t serial;
	uint64_t posted;		/* CQEs ever, those that overflowed included */

	void **files;			/* direct descriptors; NULL in an empty slot */
	unsigned files_size;
	unsigned files_from, files_to;	/* what FILE_INDEX_ALLOC takes from */
	unsigned files_hint;		/* where it looks first: the slot freed or taken last */
	struct weir_soft_group groups[WEIR_SOFT_GROUPS];
	struct iovec *buffers;		/* registered */
	unsigned buffers_count;
};

/*
 * Fills uring, as io_uring_queue_init_params() would but for ring_fd, which is the backend's.
 * soft is zeroed but for ops and profile. Returns 0, -EINVAL (flags or sizes), -ENOMEM.
 */
int weir__soft_setup(struct weir_soft *soft, unsigned entries, struct io_uring *uring,
		     struct io_uring_params *params);
/* Ends everything in flight without a CQE, as closing the ring does. */
void weir__soft_teardown(struct weir_soft *soft);

/* Checks an enter's flags: 0, -EBADFD (disabled), -EINVAL. */
int weir__soft_check_enter(const struct weir_soft *soft, unsigned flags);
/* Takes at most count SQEs. Returns how many. */
unsigned weir__soft_submit(struct weir_soft *soft, unsigned count);
/* With GETEVENTS: posts what overflowed, as far as there is room. */
void weir__soft_flush(struct weir_soft *soft);
/* Runs at most max items of work. Returns how many. */
unsigned weir__soft_run(struct weir_soft *soft, unsigned max);
/* Fires the timeouts that are due. */
void weir__soft_expire(struct weir_soft *soft);
/* When the next timeout is due (monotonic); WEIR_NEVER. */
int64_t weir__soft_next_timeout(const struct weir_soft *soft);

static inline unsigned weir__soft_cq_ready(const struct weir_soft *soft)
{
	return soft->cq_tail - io_uring_smp_load_acquire(&soft->cq_head);
}

/* Any thread, where the ring cannot end meanwhile. */
static inline bool weir__soft_is_disabled(const struct weir_soft *soft)
{
	return __atomic_load_n(&soft->disabled, __ATOMIC_RELAXED);
}

static inline bool weir__soft_sq_is_empty(const struct weir_soft *soft)
{
	return soft->sq_head == io_uring_smp_load_acquire(&soft->sq_tail);
}

/* As io_uring_register(2), but for the ring's own descriptor. */
int weir__soft_register(struct weir_soft *soft, unsigned opcode, const void *arg, unsigned count);

/* --- for backends: of a request that is ARMED --- */

/* Issue it again. Once for any number of calls. */
void weir__soft_ready(struct weir_soft_req *req);
/* Its result. */
void weir__soft_finish(struct weir_soft_req *req, int res);
/* Its buffer is no longer read: the NOTIF, with res as its result. */
void weir__soft_notified(struct weir_soft_req *req, int res);

/* --- for backends: in issue() --- */

/*
 * A result of a multishot that goes on. False: there is no room, and issue() returns this
 * result as its last.
 */
bool weir__soft_more(struct weir_soft_req *req, int res, uint32_t cflags);
/* A CQE of no request: a ring message. */
void weir__soft_deliver(struct weir_soft *soft, uint64_t user_data, int res, uint32_t cflags);

/* Where sqe->file_index says. Takes the reference on success: the slot, 0 for a chosen one, -errno.
 */
int weir__soft_install(struct weir_soft_req *req, void *file);

/*
 * The next buffers of a group for at most want bytes, not taken yet. Returns how many iovecs
 * were filled, -ENOBUFS, or -EINVAL when there is no such group.
 */
int weir__soft_bufs_peek(struct weir_soft *soft, uint16_t bgid, struct iovec *iov, int max,
			 size_t want);
/* Takes the buffers that hold size bytes (one at least) and sets req->cflags. */
void weir__soft_bufs_take(struct weir_soft_req *req, size_t size);

/* len bytes at addr of registered buffer index: 0 or -EFAULT. */
int weir__soft_buffer_check(const struct weir_soft *soft, unsigned index, uint64_t addr,
			    uint64_t len);

/* --- between the parts of the soft ring --- */

void weir__soft_post(struct weir_soft *soft, uint64_t user_data, int res, uint32_t cflags);
void weir__soft_time(struct weir_soft_req *req, int64_t at_ns);
/* What the kernel finds wrong with an SQE before it begins: 0, -EINVAL. */
int weir__soft_prep(const struct io_uring_sqe *sqe);
/* The nanoseconds of the timespec at addr; -1: it is none. */
int64_t weir__soft_span(uint64_t addr);
/* The operations that are the ring's own. WEIR_SOFT_LATER + 1: it is the backend's. */
#define WEIR_SOFT_OTHER (-4097)
int weir__soft_issue_own(struct weir_soft_req *req);
static inline struct weir_node *weir__soft_bucket(struct weir_soft *soft, uint64_t user_data)
{
	return &soft->in_flight[(user_data ^ user_data >> 32) % WEIR_SOFT_BUCKETS];
}

/* Asks target to end: 0, -EALREADY, -ENOENT. */
int weir__soft_cancel(struct weir_soft_req *target);
/* The end of a request that is on no list. */
void weir__soft_complete(struct weir_soft_req *req, int res);
/* As weir__soft_install(), index as in an SQE's file_index. */
int weir__soft_file_install(struct weir_soft *soft, unsigned index, void *file);
/* A free slot of those that FILE_INDEX_ALLOC takes from, or -ENFILE. */
int weir__soft_file_slot(struct weir_soft *soft);
/* Puts file, or NULL, into slot; what was there loses its reference. */
int weir__soft_file_set(struct weir_soft *soft, unsigned slot, void *file);

#endif
