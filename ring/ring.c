/* SPDX-License-Identifier: MIT */
/*
 * ring.c - one ring as the worker's driver: one system call a turn that submits what
 * was queued, waits if there is nothing else to do, and lets the kernel run what it
 * deferred; then every completion is handed to its slot.
 *
 * The CQ is drained before every enter, so a turn starts with an empty queue: what one
 * enter can post (uring.md: 20 deferred items of at most 33 completions, plus one for
 * each SQE submitted) fits, and the overflow counter stays 0. Completions are handed out
 * straight from the queue, not collected first: done() can submit but never reap, so the
 * stack stays flat all the same.
 */
#include "ring/ring.h"

#include <string.h>

#include "core/alloc.h"
#include "core/plant.h"
#include "core/worker.h"
#include "ring/setup.h"
#include "ring/slots.h"
#include "ring/uapi.h"

static inline struct weir_ring *ring_of(struct weir_driver *driver)
{
	return weir_container_of(driver, struct weir_ring, driver);
}

struct weir_ring *weir__ring_self(void)
{
	return weir__self ? weir__self->ring : NULL;
}

static inline unsigned sq_pending(const struct weir_ring *ring)
{
	return ring->uring.sq.sqe_tail - *ring->uring.sq.khead;
}

static inline unsigned cq_ready(const struct weir_ring *ring)
{
	return io_uring_smp_load_acquire(ring->uring.cq.ktail) - *ring->uring.cq.khead;
}

/* Whether only an enter makes more completions visible. */
static inline bool needs_enter(struct weir_ring *ring)
{
	if (IO_URING_READ_ONCE(*ring->uring.sq.kflags) &
	    (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
		return true;
	return weir_unlikely(ring->looks) &&
	       ring->kernel->ops->ring_look(ring->kernel, &ring->uring);
}

static bool ring_is_ready(struct weir_driver *driver)
{
	struct weir_ring *ring = ring_of(driver);

	return cq_ready(ring) || needs_enter(ring);
}

/* What the kernel answers when it only means "later" or "look again". */
static bool is_transient_error(int r)
{
	return r == -EINTR || r == -EAGAIN || r == -EBUSY || r == -ETIME || r == -EBADR ||
	       r == -ENOMEM;
}

static int enter(struct weir_ring *ring, unsigned wait, unsigned flags, int64_t wait_until_ns)
{
	unsigned submit = sq_pending(ring);
	struct io_uring_getevents_arg arg = { 0 };
	struct __kernel_timespec ts;
	const void *ptr = NULL;
	size_t size = 0;
	int r;

	flags |= ring->enter_flags & ~IORING_ENTER_ABS_TIMER;
	if (wait && wait_until_ns != WEIR_NEVER) {
		int64_t ns = wait_until_ns;

		if (ring->enter_flags & IORING_ENTER_ABS_TIMER)
			flags |= IORING_ENTER_ABS_TIMER;
		else if ((ns -= ring->kernel->ops->now(ring->kernel)) < 0)
			ns = 0;
		ts.tv_sec = ns / WEIR_S;
		ts.tv_nsec = ns % WEIR_S;
		arg.ts = (uintptr_t)&ts;
		flags |= IORING_ENTER_EXT_ARG;
		ptr = &arg;
		size = sizeof(arg);
	}
	io_uring_smp_store_release(ring->uring.sq.ktail, ring->uring.sq.sqe_tail);
	r = ring->kernel->ops->ring_enter(ring->kernel, &ring->uring, submit, wait, flags, ptr,
					  size);
	ring->enters++;
	if ((WEIR__PLANT(SHORT_SUBMIT) && r >= 0 && (unsigned)r < submit) ||
	    (WEIR__PLANT(ENTER_EINTR) && r == -EINTR))
		ring->uring.sq.sqe_tail = *ring->uring.sq.khead;
	return r < 0 && !is_transient_error(r) ? r : 0;
}

int weir__ring_flush(struct weir_ring *ring)
{
	return sq_pending(ring) ? enter(ring, 0, 0, 0) : 0;
}

static unsigned reap(struct weir_ring *ring)
{
	struct io_uring_cq *cq = &ring->uring.cq;
	unsigned head = *cq->khead;
	unsigned tail = io_uring_smp_load_acquire(cq->ktail);
	unsigned count = tail - head;

	for (; head != tail; head++) {
		const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
		uint64_t user_data = cqe->user_data;
		int res = cqe->res;
		uint32_t flags = cqe->flags;

		io_uring_smp_store_release(cq->khead, head + 1);
		weir__slots_complete(ring, user_data, res, flags);
	}
	ring->cqes += count;
	return count;
}

static void count_overflow(struct weir_ring *ring)
{
	if (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW)
		ring->overflow++;
}

static void publish_metrics(struct weir_ring *ring)
{
	struct weir_metrics *metrics = &weir__self->metrics;

	weir__metric_set(metrics, WEIR__M_OPS, ring->ops);
	weir__metric_set(metrics, WEIR__M_ENTERS, ring->enters);
	weir__metric_set(metrics, WEIR__M_CQES, ring->cqes);
	weir__metric_set(metrics, WEIR__M_STALE_CQES, ring->stale);
	weir__metric_set(metrics, WEIR__M_CQ_OVERFLOW, ring->overflow);
	weir__metric_set(metrics, WEIR__M_SLOTS_TAKEN, ring->taken[WEIR_TRANSIENT]);
	weir__metric_set(metrics, WEIR__M_SLOTS_HIGH, ring->high);
	weir__metric_set(metrics, WEIR__M_BUFS_LENT, ring->bufs.lent);
}

static void arm_wake_read(struct weir_ring *ring);

static int ring_turn(struct weir_driver *driver, int64_t wait_until_ns)
{
	struct weir_ring *ring = ring_of(driver);
	unsigned count;
	bool wait;
	int r = 0;

	if (weir_unlikely(ring->cancels_wanted))
		weir__slots_retry_cancels(ring);
	if (weir_unlikely(ring->wake_wanted))
		arm_wake_read(ring);
	weir__bufs_publish(&ring->bufs);
	if (weir_unlikely(weir__bufs_are_awaited(&ring->bufs)))
		weir__bufs_feed(&ring->bufs);
	wait = wait_until_ns && !cq_ready(ring) && !ring->again;
	ring->again = false;
	if (wait || sq_pending(ring) || needs_enter(ring))
		r = enter(ring, wait, IORING_ENTER_GETEVENTS, wait_until_ns);
	weir__worker_awake(driver->worker);
	if (r < 0)
		return r;
	count_overflow(ring);
	count = reap(ring);
	if (weir_unlikely(!weir__list_is_empty(&ring->waiters)))
		weir__slots_feed(ring);
	publish_metrics(ring);
	return (int)count;
}

/* --- waking --- */

static void arm_wake_read(struct weir_ring *ring)
{
	struct io_uring_sqe *sqe = weir__op_sqe(ring, WEIR_RESERVED);

	ring->wake_wanted = !sqe; /* the kernel takes no more now: the next turn tries again */
	if (!sqe)
		return;
	io_uring_prep_read(sqe, ring->wake_fd, &ring->wake_count, sizeof(ring->wake_count), 0);
	weir__op_go(ring, &ring->wake_op, sqe, WEIR_RESERVED);
}

static void wake_read_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_ring *ring = weir_container_of(op, struct weir_ring, wake_op);

	(void)res;
	(void)flags;
	if (!ring->stopping)
		arm_wake_read(ring);
}

/* Nothing else is in flight. A kernel that cannot go on is left with it: the teardown ends it. */
static void stop_wake(struct weir_ring *ring)
{
	ring->stopping = true;
	ring->wake_wanted = false;
	if (ring->wake_fd < 0)
		return;
	weir__op_cancel(ring, &ring->wake_op);
	while (ring->wake_op.slot_ && enter(ring, 1, IORING_ENTER_GETEVENTS, WEIR_NEVER) >= 0) {
		reap(ring);
		weir__slots_retry_cancels(ring);
	}
	ring->kernel->ops->close(ring->kernel, ring->wake_fd);
	ring->wake_fd = -1;
}

static void notify(struct weir_ring *ring)
{
	static const uint64_t one = 1;

	if (ring->has_notify)
		ring->kernel->ops->notify(ring->kernel, &ring->uring, 0);
	else if (ring->wake_fd >= 0)
		ring->kernel->ops->write(ring->kernel, ring->wake_fd, &one, sizeof(one));
}

static void ring_wake(struct weir_driver *driver, struct weir_driver *from)
{
	struct weir_ring *ring = ring_of(driver);
	struct io_uring_sqe *sqe = from ? weir__bare_sqe(ring_of(from)) : NULL;

	if (!sqe) {
		notify(ring);
		return;
	}
	io_uring_prep_msg_ring(sqe, ring->uring.ring_fd, 0, 0, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = 1 + driver->worker->index;
	ring_of(from)->wakes++;
}

/* The kernel had no memory for the message; a core that is not woken may sleep for ever. */
void weir__ring_wake_failed(struct weir_ring *ring, unsigned core)
{
	if (WEIR__PLANT(WAKE_FAILED))
		return;
	notify(ring_of(ring->driver.worker->port.mesh->berths[core].driver));
}

/* Without notify (before 6.13) other threads reach the ring through an eventfd. */
static int start_wake(struct weir_ring *ring)
{
	struct weir_kernel *kernel = ring->kernel;

	ring->has_notify = !kernel->ops->notify(kernel, &ring->uring, 0);
	if (ring->has_notify)
		return 0;
	ring->wake_fd = kernel->ops->eventfd(kernel);
	if (ring->wake_fd < 0)
		return ring->wake_fd;
	weir_op_init(&ring->wake_op, wake_read_done, "wake");
	arm_wake_read(ring);
	return 0;
}

/* --- life --- */

static int ring_start(struct weir_driver *driver)
{
	struct weir_ring *ring = ring_of(driver);
	int r = weir__ring_start(ring);

	driver->worker->ring = ring;
	if (r < 0)
		return r;
	r = start_wake(ring);
	if (r < 0) {
		weir__bufs_fini(ring);
		ring->enabled = false;
	}
	return r;
}

static bool ring_is_drained(struct weir_driver *driver)
{
	struct weir_ring *ring = ring_of(driver);

	if (!ring->draining) {
		ring->draining = true;
		weir__slots_cancel_all(ring);
	}
	/* The read of the wakes stays until stop(): others may have to tell us that all is over. */
	return weir__slots_taken(ring) == (ring->wake_op.slot_ != 0);
}

static void ring_stop(struct weir_driver *driver)
{
	struct weir_ring *ring = ring_of(driver);
	struct io_uring *uring = &ring->uring;

	stop_wake(ring);
	weir__bufs_fini(ring);
	if (ring->enter_flags & IORING_ENTER_REGISTERED_RING)
		ring->kernel->ops->ring_register(ring->kernel, uring,
						 IORING_UNREGISTER_RING_FDS, NULL, 0);
	ring->enabled = false;
}

static int64_t ring_now(struct weir_driver *driver)
{
	struct weir_kernel *kernel = ring_of(driver)->kernel;

	return kernel->ops->now(kernel);
}

static uint64_t ring_random(struct weir_driver *driver)
{
	struct weir_kernel *kernel = ring_of(driver)->kernel;

	return kernel->ops->random(kernel);
}

static const struct weir_driver_ops driver_ops = {
	.start = ring_start,
	.turn = ring_turn,
	.is_ready = ring_is_ready,
	.wake = ring_wake,
	.now = ring_now,
	.random = ring_random,
	.is_drained = ring_is_drained,
	.stop = ring_stop,
};

#define RESERVED_MAX 256

int weir__ring_create(const struct weir_ring_opts *opts, struct weir_ring **ret_ring)
{
	struct weir_ring *ring = weir__calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	ring->driver.ops = &driver_ops;
	ring->kernel = opts->kernel;
	ring->opts = *opts;
	ring->wake_fd = -1;
	ring->limit[WEIR_TRANSIENT] = opts->depth;
	ring->limit[WEIR_ARMED] = opts->armed_max;
	ring->limit[WEIR_RESERVED] = RESERVED_MAX;
	ring->slots_size = opts->depth + opts->armed_max + RESERVED_MAX;
	weir__list_init(&ring->waiters);
	weir__list_init(&ring->bufs.hungry);
	weir__list_init(&ring->bufs.starved);
	ring->slots = weir__calloc(ring->slots_size, sizeof(*ring->slots));
	r = ring->slots ? weir__ring_setup(ring) : -ENOMEM;
	if (r < 0) {
		weir__free(ring->slots, ring->slots_size * sizeof(*ring->slots));
		weir__free(ring, sizeof(*ring));
		return r;
	}
	*ret_ring = ring;
	return 0;
}

void weir__ring_destroy(struct weir_ring *ring)
{
	/* Never stopped: the kernel could not go on, and may use what is in flight for ever. */
	if (!ring || ring->enabled)
		return;
	weir_assert(!weir__slots_taken(ring));
	ring->kernel->ops->ring_teardown(ring->kernel, &ring->uring);
	weir__free(ring->slots, ring->slots_size * sizeof(*ring->slots));
	weir__free(ring, sizeof(*ring));
}
