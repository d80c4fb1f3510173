/* SPDX-License-Identifier: MIT */
/*
 * wheel.c - the timer wheel; wheel.h tells how it works and where it comes from.
 *
 * A timer's place follows from its tick and the wheel's alone (place()), so expiring a slot
 * and cascading it are the same act: go to the slot's time and place its timers anew. Two
 * lists take what is due; firing drains one while callbacks arm into the other, so a
 * callback that arms for the past ends no batch late.
 *
 * Rejected: a binary heap (Linux' hrtimers, libuv) costs 30-100 ns with a million pending,
 * and cancelling, the common end of a timeout, costs as much as firing. Rejected: placing by
 * distance instead of by differing digit (Linux' old timers) cascades less often, but then a
 * level wraps round and timers of one tick sit in several slots, out of order.
 */
#include "core/wheel.h"

#include <string.h>

#include "core/ensure.h"

#define DUE (WEIR__WHEEL_LEVELS * WEIR__WHEEL_SLOTS) /* the first of the two due slots */

/* timer->slot_ is 0 when idle, else its slot's index + 1. */

/* Rounded up: a timer never fires early. */
static uint64_t tick_of(int64_t deadline_ns)
{
	if (deadline_ns <= 0)
		return 0;
	return ((uint64_t)deadline_ns + WEIR__TICK_NS - 1) >> WEIR__TICK_BITS;
}

static int64_t tick_ns(uint64_t tick)
{
	if (tick > (uint64_t)INT64_MAX >> WEIR__TICK_BITS)
		return WEIR_NEVER - 1;
	return (int64_t)(tick << WEIR__TICK_BITS);
}

/* The slot for tick. */
static uint32_t place(const struct weir_wheel *wheel, uint64_t tick)
{
	uint32_t level;

	if (tick <= wheel->tick)
		return wheel->due;
	level = (uint32_t)(63 - __builtin_clzll(tick ^ wheel->tick)) / WEIR__WHEEL_BITS;
	return level * WEIR__WHEEL_SLOTS +
	       ((tick >> (level * WEIR__WHEEL_BITS)) & (WEIR__WHEEL_SLOTS - 1));
}

static void link_last(struct weir_wheel *wheel, struct weir_timer *timer, uint32_t index,
		      uint64_t tick)
{
	struct weir_wheel_slot *slot = &wheel->slots[index];

	timer->next_ = NULL;
	timer->prev_ = slot->last;
	timer->slot_ = index + 1;
	if (slot->last) {
		slot->last->next_ = timer;
		slot->last = timer;
		if (tick < slot->tick_min)
			slot->tick_min = tick;
		return;
	}
	slot->first = timer;
	slot->last = timer;
	slot->tick_min = tick;
	if (index < DUE) {
		wheel->occupied[index / WEIR__WHEEL_SLOTS] |= UINT64_C(1)
							      << index % WEIR__WHEEL_SLOTS;
		wheel->levels |= 1u << index / WEIR__WHEEL_SLOTS;
	}
}

/* The slot at index holds nothing any more. */
static void mark_empty(struct weir_wheel *wheel, uint32_t index)
{
	uint32_t level = index / WEIR__WHEEL_SLOTS;

	if (index >= DUE)
		return;
	wheel->occupied[level] &= ~(UINT64_C(1) << index % WEIR__WHEEL_SLOTS);
	if (!wheel->occupied[level])
		wheel->levels &= ~(1u << level);
}

static void unlink_timer(struct weir_wheel *wheel, struct weir_timer *timer)
{
	struct weir_wheel_slot *slot = &wheel->slots[timer->slot_ - 1];
	struct weir_timer *next = timer->next_;
	struct weir_timer *prev = timer->prev_;

	if (next)
		next->prev_ = prev;
	else
		slot->last = prev;
	if (prev)
		prev->next_ = next;
	else
		slot->first = next;
	if (!slot->first)
		mark_empty(wheel, timer->slot_ - 1);
	timer->slot_ = 0;
}

void weir__wheel_init(struct weir_wheel *wheel, int64_t now_ns)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->tick = now_ns > 0 ? (uint64_t)now_ns >> WEIR__TICK_BITS : 0;
	wheel->due = DUE;
}

void weir__wheel_arm(struct weir_wheel *wheel, struct weir_timer *timer, int64_t deadline_ns)
{
	uint64_t tick = tick_of(deadline_ns);
	uint32_t index = place(wheel, tick);

	weir_assert(deadline_ns != WEIR_NEVER);
	timer->deadline_ns = deadline_ns;
	if (timer->slot_ == index + 1) {
		/* An idle deadline pushed on at each request mostly stays in its slot. */
		if (tick < wheel->slots[index].tick_min)
			wheel->slots[index].tick_min = tick;
		return;
	}
	if (timer->slot_)
		unlink_timer(wheel, timer);
	else
		wheel->count++;
	link_last(wheel, timer, index, tick);
}

void weir__wheel_cancel(struct weir_wheel *wheel, struct weir_timer *timer)
{
	weir_assert(timer->slot_ && wheel->count);
	unlink_timer(wheel, timer);
	wheel->count--;
}

/* The earliest occupied slot; some level is occupied. *ret_tick is the time it begins at. */
static uint32_t first_slot(const struct weir_wheel *wheel, uint64_t *ret_tick)
{
	uint32_t level = (uint32_t)__builtin_ctz(wheel->levels);
	uint32_t slot = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
	uint32_t shift = level * WEIR__WHEEL_BITS;
	uint64_t above = wheel->tick >> (shift + WEIR__WHEEL_BITS);

	*ret_tick = (above << WEIR__WHEEL_BITS | slot) << shift;
	return level * WEIR__WHEEL_SLOTS + slot;
}

int64_t weir__wheel_next(const struct weir_wheel *wheel)
{
	uint64_t begin;

	if (wheel->slots[DUE].first || wheel->slots[DUE + 1].first)
		return tick_ns(wheel->tick);
	if (!wheel->levels)
		return WEIR_NEVER;
	return tick_ns(wheel->slots[first_slot(wheel, &begin)].tick_min);
}

/* Empties the slot at index, whose time the wheel has reached. */
static void place_anew(struct weir_wheel *wheel, uint32_t index)
{
	struct weir_timer *timer = wheel->slots[index].first;

	wheel->slots[index].first = NULL;
	wheel->slots[index].last = NULL;
	mark_empty(wheel, index);
	while (timer) {
		struct weir_timer *next = timer->next_;
		uint64_t tick = tick_of(timer->deadline_ns);

		link_last(wheel, timer, place(wheel, tick), tick);
		timer = next;
	}
}

/* Moves what is due at tick into the due slot. */
static void collect(struct weir_wheel *wheel, uint64_t tick)
{
	while (wheel->levels) {
		uint64_t begin;
		uint32_t index = first_slot(wheel, &begin);

		if (begin > tick)
			break;
		weir_assert(begin > wheel->tick);
		wheel->tick = begin;
		place_anew(wheel, index);
	}
	wheel->tick = tick;
}

unsigned weir__wheel_advance(struct weir_wheel *wheel, int64_t now_ns)
{
	uint64_t tick = now_ns > 0 ? (uint64_t)now_ns >> WEIR__TICK_BITS : 0;
	uint32_t firing = wheel->due ^ DUE ^ (DUE + 1);
	struct weir_timer *timer;
	unsigned count = 0;

	if (tick > wheel->tick)
		collect(wheel, tick);
	if (!wheel->slots[firing].first) { /* nothing left over from the last call */
		wheel->due = firing;
		firing = wheel->due ^ DUE ^ (DUE + 1);
	}
	while (count < WEIR__WHEEL_FIRE_MAX && (timer = wheel->slots[firing].first)) {
		weir__wheel_cancel(wheel, timer);
		timer->fire_(timer); /* timer may be gone from here on */
		count++;
	}
	return count;
}
