/* SPDX-License-Identifier: MIT */
/*
 * wheel.h - a worker's timers: arming and cancelling cost a few nanoseconds however
 * many are pending.
 *
 * Hierarchical timing wheel, scheme 7 of Varghese and Lauck, "Hashed and hierarchical
 * timing wheels" (SOSP 1987). Time is counted in ticks of 16.4 us. A timer's level is
 * the highest base-64 digit in which its tick differs from the wheel's, its slot is
 * that digit:
 *
 *	level 0: 64 slots of 16 us	level 3: of 4.3 s	level 6: of 13 days
 *	level 1: of 1 ms		level 4: of 4.6 min	level 7: of 2.3 years
 *	level 2: of 67 ms		level 5: of 4.9 h	level 8: of 146 years
 *
 * So all of a level is earlier than all of the next, in every level the lowest occupied
 * slot is the earliest, and finding the next one is two bit scans: no walk over ticks,
 * however far time jumps. When the wheel reaches a slot its timers are placed anew, one
 * level or more further down, or are due.
 */
#ifndef WEIR_CORE_WHEEL_H
#define WEIR_CORE_WHEEL_H

#include "core/weir_task.h"

#define WEIR__TICK_BITS 14
#define WEIR__TICK_NS (INT64_C(1) << WEIR__TICK_BITS)
#define WEIR__WHEEL_BITS 6
#define WEIR__WHEEL_SLOTS (1 << WEIR__WHEEL_BITS)
#define WEIR__WHEEL_LEVELS 9 /* 63 - 14 bits of ticks, 6 at a time */

/* Timers fired by one weir__wheel_advance() at most. */
#define WEIR__WHEEL_FIRE_MAX 1024

/* FIFO. first and last are NULL together. */
struct weir_wheel_slot {
	struct weir_timer *first;
	struct weir_timer *last;
	uint64_t tick_min; /* no timer here is earlier; stale only downwards, by cancelling */
};

struct weir_wheel {
	uint64_t tick;	      /* every slot before it was emptied */
	uint64_t count;	      /* armed timers, due ones included */
	uint32_t levels;      /* bit n: level n holds a timer */
	uint32_t due;	      /* the slot that takes what is due: the last two of slots, in turn */
	uint64_t occupied[WEIR__WHEEL_LEVELS]; /* bit n: slot n of the level holds a timer */
	struct weir_wheel_slot slots[WEIR__WHEEL_LEVELS * WEIR__WHEEL_SLOTS + 2];
};

void weir__wheel_init(struct weir_wheel *wheel, int64_t now_ns);

/*
 * Arms timer, or moves it when it is armed. A deadline that passed
 * is due within a tick. deadline_ns is not WEIR_NEVER.
 */
void weir__wheel_arm(struct weir_wheel *wheel, struct weir_timer *timer, int64_t deadline_ns);

/* timer is armed in wheel. */
void weir__wheel_cancel(struct weir_wheel *wheel, struct weir_timer *timer);

/*
 * When weir__wheel_advance() is to be called next: never later than the earliest deadline
 * rounded up to a tick; earlier only when a timer was cancelled or moved. In the past when
 * something is due already; WEIR_NEVER when nothing is armed. O(1).
 */
int64_t weir__wheel_next(const struct weir_wheel *wheel);

/*
 * Fires what is due at now_ns, in the order of ticks, those of one tick in the order in
 * which they were armed (one moved within its slot keeps its place). A timer fires at
 * most once per call, whatever the callbacks arm; they may arm, cancel and free any timer.
 * Returns how many fired.
 *
 * Bounded: fires WEIR__WHEEL_FIRE_MAX, the rest stays due. The search visits occupied
 * slots only, and a timer is placed anew at most WEIR__WHEEL_LEVELS times in its life,
 * about 5 ns each (cache misses aside): that is the only part with no bound per call.
 */
unsigned weir__wheel_advance(struct weir_wheel *wheel, int64_t now_ns);

#endif
