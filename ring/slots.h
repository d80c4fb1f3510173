/* SPDX-License-Identifier: MIT */
/*
 * slots.h - what ring.c needs of slots.c: completing, feeding, emptying the table.
 */
#ifndef WEIR_RING_SLOTS_H
#define WEIR_RING_SLOTS_H

#include "ring/ring.h"

/* One CQE: finds its op and moves it on. */
void weir__slots_complete(struct weir_ring *ring, uint64_t user_data, int res, uint32_t flags);

/* An SQE without a slot, for what nobody waits for; user_data is below 2^32. */
struct io_uring_sqe *weir__bare_sqe(struct weir_ring *ring);

/* Gives free slots to those who wait for them. */
void weir__slots_feed(struct weir_ring *ring);

/* The FIFO before the table. */
void weir__slot_wait(struct weir_ring *ring, struct weir_slot_wait *wait,
		     void (*run)(struct weir_slot_wait *wait));
void weir__slot_wait_cancel(struct weir_ring *ring, struct weir_slot_wait *wait);

/* Cancels that found no SQE when they were asked for. */
void weir__slots_retry_cancels(struct weir_ring *ring);

void weir__slots_cancel_all(struct weir_ring *ring);

/* Of all purses. */
unsigned weir__slots_taken(const struct weir_ring *ring);

#endif
