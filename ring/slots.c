/* SPDX-License-Identifier: MIT */
/*
 * slots.c - the slot table: how an op goes in flight, how it retires, who waits.
 *
 * user_data of an op's SQE is its slot's generation and index; of a cancel, the same
 * with TAG_CANCEL. A CQE whose generation does not match belongs to an op that is gone:
 * it is counted and ignored, and can never reach an op that reuses the memory. No op has
 * generation 0: wakes do.
 *
 * Invariant (slots_check): the slots of the free list and the taken ones are together
 * the slots that were ever used, and a free slot has no op and nothing pending.
 */
#include "ring/slots.h"

#include <string.h>

#include "core/plant.h"
#include "core/worker.h"
#include "ring/uapi.h"

#define INDEX_MASK 0x00ffffffu
#define TAG_CANCEL 0x80000000u

static inline uint64_t user_data_of(const struct weir_ring *ring, const struct weir_slot *slot)
{
	return (uint64_t)slot->generation << 32 | (uint32_t)(slot - ring->slots);
}

static void slots_check(const struct weir_ring *ring)
{
	unsigned taken = 0;

	for (int purse = 0; purse < WEIR_PURSES; purse++) {
		weir_assert(ring->taken[purse] <= ring->limit[purse]);
		taken += ring->taken[purse];
	}
	weir_assert(taken <= ring->slots_used && ring->slots_used <= ring->slots_size);
}

static inline bool has_credit(const struct weir_ring *ring, enum weir_purse purse)
{
	if (purse != WEIR_TRANSIENT)
		return ring->taken[purse] < ring->limit[purse];
	if (ring->redeeming)
		return true;
	return ring->taken[purse] + ring->promised < ring->limit[purse];
}

/* An SQE, flushing the queue once when it is full. NULL: the kernel takes no more now. */
static inline struct io_uring_sqe *get_sqe(struct weir_ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (weir_likely(sqe))
		return sqe;
	weir__ring_flush(ring);
	sqe = io_uring_get_sqe(&ring->uring);
	ring->again |= !sqe;
	return sqe;
}

struct io_uring_sqe *weir__op_sqe(struct weir_ring *ring, enum weir_purse purse)
{
	if (weir_unlikely(!has_credit(ring, purse)))
		return NULL;
	return get_sqe(ring);
}

struct io_uring_sqe *weir__bare_sqe(struct weir_ring *ring)
{
	return get_sqe(ring);
}

static inline struct weir_slot *slot_take(struct weir_ring *ring)
{
	struct weir_slot *slot;

	if (weir_likely(ring->free_head)) {
		slot = &ring->slots[ring->free_head - 1];
		ring->free_head = slot->next_free;
		return slot;
	}
	weir_assert(ring->slots_used < ring->slots_size);
	slot = &ring->slots[ring->slots_used++];
	slot->generation = 1;
	return slot;
}

void weir__op_go(struct weir_ring *ring, struct weir_op *op, struct io_uring_sqe *sqe,
		 enum weir_purse purse)
{
	struct weir_slot *slot = slot_take(ring);

	weir_assert(!op->slot_);
	slot->op = op;
	slot->pending = PENDING_FINAL;
	slot->purse = (uint8_t)purse;
	slot->opcode = sqe->opcode;
	slot->sqe_flags = sqe->flags;
	slot->fd = sqe->fd;
	slot->cancel_wanted = false;
	slot->since_ns = weir__self->now_ns;
	sqe->user_data = user_data_of(ring, slot);
	op->slot_ = (uint32_t)(slot - ring->slots) + 1;
	ring->taken[purse]++;
	ring->ops++;
	if (purse == WEIR_TRANSIENT) {
		if (ring->redeeming) {
			ring->redeeming = false;
			ring->promised--;
		}
		if (ring->taken[WEIR_TRANSIENT] > ring->high)
			ring->high = ring->taken[WEIR_TRANSIENT];
	}
}

static void send_cancel(struct weir_ring *ring, struct weir_slot *slot, struct io_uring_sqe *sqe)
{
	uint64_t target = user_data_of(ring, slot);

	io_uring_prep_cancel64(sqe, target, 0);
	sqe->user_data = target | TAG_CANCEL;
	slot->pending |= PENDING_CANCEL;
}

void weir__op_cancel(struct weir_ring *ring, struct weir_op *op)
{
	struct weir_slot *slot;
	struct io_uring_sqe *sqe;

	if (!op->slot_)
		return;
	slot = &ring->slots[op->slot_ - 1];
	if ((slot->pending & PENDING_CANCEL) || slot->cancel_wanted)
		return;
	if (!(slot->pending & PENDING_FINAL))
		return;		/* only the NOTIF is missing: nothing is left to cancel */
	sqe = get_sqe(ring);
	if (sqe) {
		send_cancel(ring, slot, sqe);
		return;
	}
	if (WEIR__PLANT(CANCEL_DROPPED))
		return;
	slot->cancel_wanted = true;
	ring->cancels_wanted++;
}

void weir__slots_retry_cancels(struct weir_ring *ring)
{
	for (uint32_t i = 0; i < ring->slots_used && ring->cancels_wanted; i++) {
		struct weir_slot *slot = &ring->slots[i];
		struct io_uring_sqe *sqe;

		if (!slot->op || !slot->cancel_wanted)
			continue;
		sqe = get_sqe(ring);
		if (!sqe)
			return;
		slot->cancel_wanted = false;
		ring->cancels_wanted--;
		send_cancel(ring, slot, sqe);
	}
}

void weir__slots_cancel_all(struct weir_ring *ring)
{
	for (uint32_t i = 0; i < ring->slots_used; i++)
		if (ring->slots[i].op)
			weir__op_cancel(ring, ring->slots[i].op);
}

unsigned weir__slots_taken(const struct weir_ring *ring)
{
	slots_check(ring);
	return ring->taken[WEIR_TRANSIENT] + ring->taken[WEIR_ARMED] + ring->taken[WEIR_RESERVED];
}

/* --- waiting for a slot --- */

/* Whether get_sqe() would give one. */
static bool has_sqe(struct weir_ring *ring)
{
	if (weir_likely(io_uring_sq_space_left(&ring->uring)))
		return true;
	weir__ring_flush(ring);
	if (io_uring_sq_space_left(&ring->uring))
		return true;
	ring->again = true;
	return false;
}

/* Each once: who could not go on after all stands in line again. */
void weir__slots_feed(struct weir_ring *ring)
{
	unsigned left = ring->parked;
	struct weir_node *node;

	while (left-- &&
	       ring->taken[WEIR_TRANSIENT] + ring->promised < ring->limit[WEIR_TRANSIENT] &&
	       has_sqe(ring) && (node = weir__list_pop(&ring->waiters))) {
		struct weir_slot_wait *wait = (struct weir_slot_wait *)(void *)node;

		ring->parked--;
		ring->promised++;
		ring->redeeming = true;
		wait->run_(wait);
		if (ring->redeeming) {	/* not used: the next in line may have it */
			ring->redeeming = false;
			ring->promised--;
		}
	}
}

void weir__slot_wait(struct weir_ring *ring, struct weir_slot_wait *wait,
		     void (*run)(struct weir_slot_wait *wait))
{
	static_assert(offsetof(struct weir_slot_wait, next_) == offsetof(struct weir_node, next) &&
		      offsetof(struct weir_slot_wait, prev_) == offsetof(struct weir_node, prev),
		      "a slot wait begins as a node");
	wait->run_ = run;
	weir__list_push(&ring->waiters, (struct weir_node *)(void *)wait);
	ring->parked++;
	ring->again |= ring->taken[WEIR_TRANSIENT] + ring->promised < ring->limit[WEIR_TRANSIENT];
}

void weir__slot_wait_cancel(struct weir_ring *ring, struct weir_slot_wait *wait)
{
	weir__node_remove((struct weir_node *)(void *)wait);
	ring->parked--;
}

/* --- completion --- */

static inline void retire(struct weir_ring *ring, struct weir_slot *slot, int res, uint32_t flags)
{
	struct weir_op *op = slot->op;

	if (weir_unlikely(slot->cancel_wanted))
		ring->cancels_wanted--;
	ring->taken[slot->purse]--;
	slot->op = NULL;
	slot->pending = 0;
	if (weir_unlikely(!++slot->generation))
		slot->generation = 1;
	slot->next_free = ring->free_head;
	ring->free_head = (uint32_t)(slot - ring->slots) + 1;
	op->slot_ = 0;
	op->done_(op, res, flags);		/* op may be gone from here on */
	if (weir_unlikely(!weir__list_is_empty(&ring->waiters)))
		weir__slots_feed(ring);
}

/* Everything but a plain final result: more to come, notifications, cancels, strangers. */
static void complete_slow(struct weir_ring *ring, struct weir_slot *slot, bool is_cancel, int res,
			  uint32_t flags)
{
	struct weir_op *op = slot->op;

	if (is_cancel) {
		slot->pending &= (uint8_t)~PENDING_CANCEL;
		if (WEIR__PLANT(CANCEL_RETIRES))
			slot->pending = 0;
	} else if (flags & IORING_CQE_F_NOTIF) {
		slot->pending &= (uint8_t)~(PENDING_NOTIF | PENDING_FINAL);
	} else if (slot->opcode == IORING_OP_SEND_ZC || slot->opcode == IORING_OP_SENDMSG_ZC) {
		op->res_ = res;
		op->flags_ = 0;
		slot->pending &= (uint8_t)~PENDING_FINAL;
		if ((flags & IORING_CQE_F_MORE) && !WEIR__PLANT(NOTIF_IGNORED))
			slot->pending |= PENDING_NOTIF;
	} else if (flags & IORING_CQE_F_MORE) {
		op->done_(op, res, flags);
		return;
	} else {
		op->res_ = res;
		op->flags_ = flags;
		slot->pending &= (uint8_t)~PENDING_FINAL;
	}
	if (!slot->pending)
		retire(ring, slot, op->res_, op->flags_);
}

void weir__slots_complete(struct weir_ring *ring, uint64_t user_data, int res, uint32_t flags)
{
	uint32_t index = (uint32_t)user_data & INDEX_MASK;
	bool is_cancel = user_data & TAG_CANCEL;
	struct weir_slot *slot = &ring->slots[index];

	if (weir_unlikely(!(user_data >> 32))) {	/* a wake: being awake is all it means */
		if (user_data)
			weir__ring_wake_failed(ring, (unsigned)user_data - 1);
		return;
	}
	if (weir_unlikely(index >= ring->slots_used || slot->generation != user_data >> 32 ||
			  !slot->op)) {
		ring->stale++;
		return;
	}
	weir__worker_completed(weir__self, index);
	if (weir_likely(slot->pending == PENDING_FINAL && !is_cancel &&
			!(flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF))))
		retire(ring, slot, res, flags);
	else
		complete_slow(ring, slot, is_cancel, res, flags);
}
