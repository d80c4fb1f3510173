/* SPDX-License-Identifier: MIT */
/*
 * weir_credit.h - a bound that can be waited for: so many items and so many bytes may be out.
 *
 *	room --weir_credit_take()--> out --weir_credit_give()--> room
 *
 * Whoever makes something that takes room (a message, a request, a buffer) takes credit first and
 * gives it back when the thing is gone. What is full makes its producers wait, first come, first
 * served: that is all the back-pressure there is in weir, in one object. A credit may have a
 * parent, whose room it takes as well: a core's budget for all connections, say, and in it one for
 * each. What is taken is taken on all levels or on none.
 *
 * A part of the room may be kept for what makes progress possible (the message that says "stop", an
 * error reply): the reserve, for weir_credit_take_reserve() alone.
 *
 * A credit belongs to the worker that made it; every call elsewhere returns -EPROTO. Nothing here
 * allocates or locks.
 */
#ifndef WEIR_CREDIT_H
#define WEIR_CREDIT_H

#include "weir_core.h"
#include "weir_task.h"
#include "weir_waiters.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_credit;
struct weir_credit_watch;

/* The bound was pressed, or is not any more. A task of its own: may give and take, must not wait.
 */
typedef void (*weir_credit_watch_fn)(struct weir_credit_watch *watch, bool is_pressed);

/* Zero means the default for every member. */
struct weir_credit_opts {
	const char *name;		/* for dumps; borrowed. Default "credit" */
	struct weir_credit *parent;	/* of the same worker, outlives this. Default: none */
	uint64_t items_max;		/* default: not bounded */
	uint64_t bytes_max;		/* default: not bounded */
	uint64_t items_reserve;		/* of items_max, below it. Default 0 */
	uint64_t bytes_reserve;		/* of bytes_max, below it. Default 0 */
	unsigned high_percent;		/* of either max: pressed from here on. Default 75 */
	unsigned low_percent; /* of both: not pressed any more. At most high. Default 50 */
};

/* The caller's memory. */
struct weir_credit {
	uint64_t items_;
	uint64_t bytes_;
	uint64_t items_max_, bytes_max_;
	uint64_t items_reserve_, bytes_reserve_;
	struct weir_waiters waiters_;
	struct weir_waiters stalled_;	/* children whose first in line needs our room */
	struct weir_waiters sibling_;	/* in parent_'s stalled_ */
	struct weir_credit *parent_;
	struct weir_credit_watch *watch_;
	void *home_;
	uint64_t taker_, giver_;	/* coroutines' numbers: who did so last; 0: nobody */
	unsigned high_percent_, low_percent_;
	unsigned children_;
	bool pressed_;
	const char *name_;
	uint64_t waits_, refused_;
};

/* The caller's memory. */
struct weir_credit_watch {
	struct weir_task task_;
	weir_credit_watch_fn fn_;
	struct weir_credit *credit_;
	bool told_;
};

/* Returns 0, -EINVAL for a reserve that is not below its max, or low above high, or high above 100,
 * -EPROTO for a parent of another worker, -EDEADLK outside a worker. */
WEIR_API int weir_credit_init(struct weir_credit *credit, const struct weir_credit_opts *opts);

/* Returns 0, -EBUSY while something is out, somebody waits, or a child or a watch is there. */
WEIR_API int weir_credit_fini(struct weir_credit *credit);

/*
 * Takes room for items and bytes (either may be 0), waits until it is there. Behind those who wait
 * already: a small one does not overtake a large one.
 * Returns 0, -EINVAL for more than there will ever be, -ECANCELED, -ETIMEDOUT, -EDEADLK outside a
 * coroutine; then nothing was taken. What is there is taken whatever deadline and cancellation say.
 */
WEIR_API int weir_credit_take(struct weir_credit *credit, uint64_t items, uint64_t bytes,
			      int64_t deadline_ns);

/* The same without waiting: -EAGAIN when there is no room now, or others wait. */
WEIR_API int weir_credit_try(struct weir_credit *credit, uint64_t items, uint64_t bytes);

/* The same with the reserve, past those who wait: -EAGAIN when that is full too. */
WEIR_API int weir_credit_take_reserve(struct weir_credit *credit, uint64_t items, uint64_t bytes);

/* Gives back what was taken, or a part of it. Returns 0, -EINVAL for more than is out. */
WEIR_API int weir_credit_give(struct weir_credit *credit, uint64_t items, uint64_t bytes);

/*
 * Calls fn(watch, true) once credit has reached its high mark on its own level, fn(watch, false)
 * once it is at its low mark or below, and so on in turn. A change that is undone before fn ran is
 * not told. One watch a credit. watch is lent until weir_credit_unwatch(). Returns 0, -EBUSY when
 * there is one already.
 */
WEIR_API int weir_credit_watch(struct weir_credit *credit, struct weir_credit_watch *watch,
			       weir_credit_watch_fn fn);

/*
 * fn will not run any more. Not while it was readied and has not run: then -EAGAIN, try in the next
 * turn. -EINVAL when watch does not watch credit.
 */
WEIR_API int weir_credit_unwatch(struct weir_credit *credit, struct weir_credit_watch *watch);

/* Levels. */
struct weir_credit_info {
	const char *name;
	uint64_t items, bytes;		/* out now */
	uint64_t items_max, bytes_max;	/* 0: not bounded */
	uint64_t waits;			/* takes that had to wait */
	uint64_t refused;		/* tries that found no room */
	unsigned waiting;		/* who waits now */
	bool is_pressed;
};

/* Returns 0. */
WEIR_API int weir_credit_info(const struct weir_credit *credit, struct weir_credit_info *ret_info);

/* --- rings of waits --- */

#define WEIR_CREDIT_RING_MAX 8

/*
 * Coroutines that wait for each other: that of links[i] waits for room in its credit, which that of
 * the next link (after the last: the first) was the last one to take or to give back; so with two
 * bounded queues between two stages that both are full. A channel takes part by its credit.
 */
struct weir_credit_ring {
	unsigned count;
	struct {
		const char *coro;	/* names, while the wait lasts */
		const char *credit;
		int64_t since_ns;	/* the weir_now() clock */
	} links[WEIR_CREDIT_RING_MAX];
};

/*
 * Looks for a ring on this core in which everybody has waited for waited_ns at least. A credit
 * knows only who took and gave last: with several holders another one may yet make room, so a ring
 * that is young may go by; one of a second hardly does. Rings of more than WEIR_CREDIT_RING_MAX are
 * not found, nor those through anything that is no credit. For dumps: looks at each wait.
 * Each ring is counted once, after a second, in the metric weir_credit_rings.
 * Returns 0, -ENOENT when there is none, -EDEADLK outside a worker.
 */
WEIR_API int weir_credit_ring_find(int64_t waited_ns, struct weir_credit_ring *ret_ring);

#ifdef __cplusplus
}
#endif

#endif
