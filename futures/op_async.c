/* SPDX-License-Identifier: MIT */
/*
 * op_async.c - an op of the ring, lifted to a future.
 *
 * The op, its place in the queue for a slot and the future are one cell, so initiating an
 * operation costs one slab object and its end one settle. The producer is the op: the future
 * is settled by done(), which the ring calls when the op has retired, so a cancelled
 * future ends when the kernel has let go of the buffer and not before.
 */
#include "futures/op_async.h"

#include "futures/future.h"

struct lift {
	struct weir_future future;
	struct weir_op op;
	struct weir_slot_wait slot_wait;
	weir_op_start_fn start;
	weir__op_ended_fn ended;
	struct weir_op_args args;
	bool is_parked;		/* in the queue for a slot */
};

static_assert(sizeof(struct lift) <= FUTURE_SIZE_LARGE, "a large future");

static struct lift *lift_of(const struct weir_future *future)
{
	return weir_container_of(future, struct lift, future);
}

static struct weir_future *lift_source(const struct weir_future *future)
{
	(void)future;
	return NULL;
}

static void lift_end(struct lift *lift, ssize_t res)
{
	if (lift->ended)
		lift->ended(&lift->args);
	weir__future_settle(&lift->future, res, NULL, NULL);
	weir__future_unref(&lift->future);
}

static struct weir_future *lift_cancel(struct weir_future *future)
{
	struct lift *lift = lift_of(future);

	if (lift->is_parked) {
		weir_slot_wait_cancel(&lift->slot_wait);
		lift_end(lift, -ECANCELED);
	} else {
		weir_op_cancel(&lift->op);
	}
	return NULL;
}

static const struct weir_future_kind lift_kind = {
	.is_large = true,
	.source = lift_source,
	.cancel = lift_cancel,
};

static void lift_done(struct weir_op *op, int res, uint32_t flags)
{
	struct lift *lift = weir_container_of(op, struct lift, op);

	weir_assert(!(flags & WEIR_OP_MORE));
	if (res == -EINTR && (lift->future.flags & FUTURE_CANCELLED))
		res = -ECANCELED;
	lift_end(lift, res);
}

static void lift_run(struct weir_slot_wait *slot_wait)
{
	struct lift *lift = weir_container_of(slot_wait, struct lift, slot_wait);
	int r;

	lift->is_parked = false;
	r = lift->start(&lift->op, &lift->args);
	if (r)
		lift_end(lift, r);
}

struct weir_future *weir__op_async(weir_op_start_fn start, weir__op_ended_fn ended,
				   const struct weir_op_args *args, const char *name)
{
	struct weir_future *future;
	struct lift *lift;
	int r = weir__future_create(&lift_kind, name, &future);

	if (weir_unlikely(r)) {
		if (ended)
			ended(args);
		return weir_future_of(r);
	}
	lift = lift_of(future);
	weir_op_init(&lift->op, lift_done, name);
	lift->start = start;
	lift->ended = ended;
	lift->args = *args;
	lift->is_parked = false;
	r = start(&lift->op, &lift->args);
	if (r == -EAGAIN) {
		lift->is_parked = true;
		weir_slot_wait(&lift->slot_wait, lift_run);
	} else if (r) {
		lift_end(lift, r);
	}
	return future;
}

struct weir_future *weir_op_async(weir_op_start_fn start, const struct weir_op_args *args,
				  const char *name)
{
	return weir__op_async(start, NULL, args, name);
}
