/* SPDX-License-Identifier: MIT */
/*
 * weir_task.h - what a worker runs: tasks from its run queue, and timers.
 *
 * A task is the smallest thing that can be made ready: memory the caller lends
 * and a function. Coroutines, futures and connections are built on it; use it
 * yourself when even a coroutine is too much.
 *
 *	IDLE --weir_task_ready()--> QUEUED --run(task)--> IDLE
 *
 * Nothing here locks or allocates, and everything belongs to the worker that
 * runs it.
 */
#ifndef WEIR_TASK_H
#define WEIR_TASK_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_task;

/* task is IDLE when this runs: it may be made ready again, or freed. Must not wait. */
typedef void (*weir_task_fn)(struct weir_task *task);

/* The caller's memory. run_ is set by weir_task_init(). */
struct weir_task {
	void *next_;
	weir_task_fn run_;
	bool queued_;
};

/* Makes task IDLE. Any thread. */
WEIR_API void weir_task_init(struct weir_task *task, weir_task_fn run);

/*
 * Queues task behind what is ready already; it runs in this turn when the turn's
 * budget allows, else in the next. Lent until run(). A task that is QUEUED stays
 * where it is.
 */
WEIR_API void weir_task_ready(struct weir_task *task);

/*
 * Queues task for the end of this turn: after the tasks that are ready, before the
 * kernel is entered. What is collected during a turn (one send per connection)
 * leaves from here. Lent until run(). A QUEUED task stays where it is.
 */
WEIR_API void weir_task_ready_last(struct weir_task *task);

struct weir_timer;

/* timer is IDLE when this runs: it may be armed again, or freed. Must not wait. */
typedef void (*weir_timer_fn)(struct weir_timer *timer);

/* The caller's memory: 40 bytes. */
struct weir_timer {
	void *next_;
	void *prev_;
	weir_timer_fn fire_;
	int64_t deadline_ns;	/* when it is due; read only */
	uint32_t slot_;
};

/* Makes timer IDLE. Any thread. */
WEIR_API void weir_timer_init(struct weir_timer *timer, weir_timer_fn fire);

/*
 * Fires timer on this worker at deadline_ns (absolute, the weir_now() clock), never
 * before it and at most one tick (about 16 us) plus a turn after it. An armed timer is
 * moved. WEIR_NEVER disarms. Lent until it fired or was cancelled. O(1).
 */
WEIR_API void weir_timer_arm(struct weir_timer *timer, int64_t deadline_ns);

/* Disarms timer: it will not fire. Returns whether it was armed. O(1). */
WEIR_API bool weir_timer_cancel(struct weir_timer *timer);

/* Whether timer is armed. */
WEIR_API bool weir_timer_is_armed(const struct weir_timer *timer);

#ifdef __cplusplus
}
#endif

#endif
