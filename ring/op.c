/* SPDX-License-Identifier: MIT */
/*
 * op.c - operations as their users see them: the callback form, and the wait of a
 * coroutine that keeps its op on its stack, which is safe because the wait ends when
 * the op has retired and not before.
 */
#include <limits.h>

#include "core/plant.h"
#include "core/weir_coro.h"
#include "core/worker.h"
#include "ring/ring.h"
#include "ring/slots.h"

void weir_op_init(struct weir_op *op, weir_op_fn done, const char *name)
{
	*op = (struct weir_op){ .done_ = done, .name = name };
}

bool weir_op_is_inflight(const struct weir_op *op)
{
	return op->slot_ != 0;
}

void weir_op_cancel(struct weir_op *op)
{
	weir__op_cancel(weir__ring_self(), op);
}

enum weir_verdict weir_verdict(void)
{
	struct weir_ring *ring = weir__ring_self();

	return ring ? ring->verdict : WEIR_NOT_STARTED;
}

/* --- callback form --- */

static int begin(struct weir_op *op, struct weir_ring **ret_ring, struct io_uring_sqe **ret_sqe)
{
	struct weir_ring *ring = weir__ring_self();

	weir_precond(ring, -EDEADLK);
	weir_precond(!op->slot_, -EBUSY);
	if (weir_unlikely(ring->draining))
		return -ESHUTDOWN;
	*ret_ring = ring;
	*ret_sqe = weir__op_sqe(ring, WEIR_TRANSIENT);
	return *ret_sqe ? 0 : -EAGAIN;
}

int weir_op_nop(struct weir_op *op)
{
	struct weir_ring *ring;
	struct io_uring_sqe *sqe;
	int r = begin(op, &ring, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_nop(sqe);
	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

int weir_op_read(struct weir_op *op, int fd, void *buf, size_t size, int64_t offset)
{
	struct weir_ring *ring;
	struct io_uring_sqe *sqe;
	int r;

	weir_precond(size <= INT_MAX, -EINVAL);
	r = begin(op, &ring, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_read(sqe, fd, buf, (unsigned)size, (uint64_t)offset);
	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

int weir_op_write(struct weir_op *op, int fd, const void *buf, size_t size, int64_t offset)
{
	struct weir_ring *ring;
	struct io_uring_sqe *sqe;
	int r;

	weir_precond(size <= INT_MAX, -EINVAL);
	r = begin(op, &ring, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_write(sqe, fd, buf, (unsigned)size, (uint64_t)offset);
	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

int weir_op_recv(struct weir_op *op, int fd, void *buf, size_t size)
{
	struct weir_ring *ring;
	struct io_uring_sqe *sqe;
	int r;

	weir_precond(size <= INT_MAX, -EINVAL);
	r = begin(op, &ring, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_recv(sqe, fd, buf, size, 0);
	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

int weir_op_send(struct weir_op *op, int fd, const void *buf, size_t size)
{
	struct weir_ring *ring;
	struct io_uring_sqe *sqe;
	int r;

	weir_precond(size <= INT_MAX, -EINVAL);
	r = begin(op, &ring, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_send(sqe, fd, buf, size, MSG_NOSIGNAL);
	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

int weir_op_poll(struct weir_op *op, int fd, unsigned events)
{
	struct weir_ring *ring;
	struct io_uring_sqe *sqe;
	int r = begin(op, &ring, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_poll_add(sqe, fd, events);
	weir__op_go(ring, op, sqe, WEIR_TRANSIENT);
	return 0;
}

void weir_slot_wait(struct weir_slot_wait *wait, void (*run)(struct weir_slot_wait *wait))
{
	struct weir_ring *ring = weir__ring_self();

	weir__slot_wait(ring, wait, run);
	weir__metric_add(&weir__self->metrics, WEIR__M_SLOTS_PARKED, 1);
}

void weir_slot_wait_cancel(struct weir_slot_wait *wait)
{
	weir__slot_wait_cancel(weir__ring_self(), wait);
}

/* --- a coroutine's wait --- */

static void op_wait_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_op_wait *w = weir_container_of(op, struct weir_op_wait, op);

	(void)flags;
	weir__wait_wake(&w->wait, res);
}

static void op_wait_cancel(struct weir_wait *wait, int reason)
{
	struct weir_op_wait *w = weir_container_of(wait, struct weir_op_wait, wait);

	weir__op_cancel(w->ring, &w->op);
	if (WEIR__PLANT(CANCEL_RETURNS))
		weir__wait_wake(wait, reason);
}

/* A coroutine in the FIFO before the slot table. */
struct slot_park {
	struct weir_slot_wait slot;
	struct weir_wait wait;
	struct weir_ring *ring;
};

/* The slot stays put aside until the coroutine runs and takes it. */
static void slot_park_run(struct weir_slot_wait *slot)
{
	struct slot_park *park = weir_container_of(slot, struct slot_park, slot);

	park->ring->redeeming = false;
	weir__wait_wake(&park->wait, 0);
}

static void slot_park_cancel(struct weir_wait *wait, int reason)
{
	struct slot_park *park = weir_container_of(wait, struct slot_park, wait);

	if (wait->woken)
		return;		/* it has its slot: it goes on, and is cancelled with its op */
	weir__slot_wait_cancel(park->ring, &park->slot);
	weir__wait_wake(wait, reason);
}

static int park_for_slot(struct weir_ring *ring, int64_t deadline_ns)
{
	struct slot_park park = { .ring = ring };

	weir__wait_init(&park.wait);
	weir__slot_wait(ring, &park.slot, slot_park_run);
	weir__metric_add(&weir__self->metrics, WEIR__M_SLOTS_PARKED, 1);
	return weir__wait_park(&park.wait, "slot", slot_park_cancel, deadline_ns);
}

static struct io_uring_sqe *sqe_in_turn(struct weir_ring *ring)
{
	return weir__list_is_empty(&ring->waiters) ? weir__op_sqe(ring, WEIR_TRANSIENT) : NULL;
}

int weir__op_begin(struct weir_op_wait *w, const char *what, int64_t deadline_ns,
		   struct io_uring_sqe **ret_sqe)
{
	struct weir_ring *ring = weir__ring_self();
	struct io_uring_sqe *sqe;
	int r = weir__wait_check(deadline_ns);

	if (weir_unlikely(r < 0)) {
		if (ring)
			ring->verdict = WEIR_NOT_STARTED;
		return r;
	}
	sqe = sqe_in_turn(ring);
	while (weir_unlikely(!sqe)) {
		r = park_for_slot(ring, deadline_ns);
		if (r < 0) {
			ring->verdict = WEIR_NOT_STARTED;
			return r;
		}
		ring->redeeming = true;
		sqe = weir__op_sqe(ring, WEIR_TRANSIENT);
		if (!sqe) {	/* the kernel takes no more now: back into the line */
			ring->redeeming = false;
			ring->promised--;
		}
	}
	w->ring = ring;
	weir_op_init(&w->op, op_wait_done, NULL);
	weir__wait_init(&w->wait);
	w->op.name = weir_coro_name(w->wait.coro);
	w->wait.what = what;
	*ret_sqe = sqe;
	return 0;
}

int weir__op_end(struct weir_op_wait *w, struct io_uring_sqe *sqe, int64_t deadline_ns)
{
	int res;

	weir__op_go(w->ring, &w->op, sqe, WEIR_TRANSIENT);
	res = weir__wait_park(&w->wait, w->wait.what, op_wait_cancel, deadline_ns);
	if (weir_unlikely(w->wait.reason && (res == -ECANCELED || res == -EINTR ||
					     WEIR__PLANT(CANCEL_HIDES)))) {
		w->ring->verdict = WEIR_CANCELLED;
		return w->wait.reason;
	}
	w->ring->verdict = WEIR_COMPLETED;
	return res;
}
