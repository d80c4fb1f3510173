/* SPDX-License-Identifier: MIT */
/*
 * handover.h - who runs next, and getting there: from the worker's loop into a coroutine,
 * from one coroutine straight into the next that is ready, and back.
 *
 * All of it is inlined, for the processor predicts each return from the calls it has seen.
 * Two coroutines that wait in the same function are the same calls deep; when nothing between
 * them calls or returns, the second's returns are predicted by the first's calls. A loop
 * that calls a function to switch spoils this for every return on the way, at 5 to 9 ns each:
 * a yield by way of the loop took 32 ns that way and takes 15 ns inlined. Handing over
 * directly saves the loop's own work: 10 ns.
 *
 * worker->tasks_left bounds it: tasks that may run before the loop looks at its budget. The
 * loop sets it, and a coroutine that hands over counts the task it starts.
 */
#ifndef WEIR_CORE_HANDOVER_H
#define WEIR_CORE_HANDOVER_H

#include "core/waiting.h"
#include "core/worker.h"

/* The next ready coroutine, taken from the run queue; NULL: the loop is to continue. */
static inline struct weir_coro *weir__coro_pick(struct weir_worker *worker)
{
	struct weir_link *link = worker->ready.head;
	struct weir_task *task;

	if (!worker->tasks_left || !link)
		return NULL;
	task = weir_container_of((void *)link, struct weir_task, next_);
	if (task->run_ != weir__coro_run)
		return NULL;
	weir__queue_pop(&worker->ready);
	task->queued_ = false;
	worker->tasks_left--;
	weir__worker_progress(worker);
	return weir_container_of(task, struct weir_coro, task);
}

/* Frees a coroutine that has ended on the stack that was just left. */
static inline void weir__coro_bury(struct weir_coros *coros)
{
	struct weir_coro *dead = coros->dead;

	if (!dead)
		return;
	coros->dead = NULL;
	weir__coro_free(dead);
}

/* Stops running from and runs to; NULL is the loop. Comes back when somebody switches to from. */
static inline __attribute__((always_inline)) void
weir__coro_switch(struct weir_worker *worker, struct weir_coro *from, struct weir_coro *to)
{
	struct weir_coros *coros = &worker->coros;

	if (to)
		to->since_ns = worker->now_ns;
	coros->current = to;
	weir__notes_leave(from ? &from->notes : &coros->loop_notes,
			  to ? &to->notes : &coros->loop_notes);
	weir__context_switch(from ? &from->context : &coros->loop,
			     to ? &to->context : &coros->loop);
	weir__notes_arrive(from ? &from->notes : &coros->loop_notes, &coros->loop_notes);
	weir__coro_bury(coros);
}

/* From the worker's loop: runs coro until it, or whom it handed over to, lets the loop run. */
static inline __attribute__((always_inline)) void weir__coro_enter(struct weir_worker *worker,
								   struct weir_coro *coro)
{
	weir_assert(!worker->coros.current);
	weir__notes_thread(&worker->coros.loop_notes);
	weir__coro_switch(worker, NULL, coro);
}

/* Lets others run until the running coroutine coro is run again. */
static inline __attribute__((always_inline)) void weir__coro_suspend(struct weir_coro *coro)
{
	struct weir_coro *next = weir__coro_pick(coro->worker);

	if (next != coro)
		weir__coro_switch(coro->worker, coro, next);
}

/*
 * weir__wait_park() where the switch is in the calling function itself: for calls that two
 * coroutines make in turn, at 6 to 9 ns less. Only what has no deadline goes that way.
 */
static inline __attribute__((always_inline)) int
weir__wait_park_hot(struct weir_wait *wait, const char *what, weir__wait_cancel_fn cancel,
		    int64_t deadline_ns)
{
	struct weir_coro *coro = wait->coro;

	if (weir_unlikely(deadline_ns != WEIR_NEVER || coro->cancelled ||
			  coro->deadline_ns != WEIR_NEVER))
		return weir__wait_park(wait, what, cancel, deadline_ns);
	if (weir_unlikely(wait->woken))
		return wait->res;
	wait->what = what;
	wait->cancel = cancel;
	coro->wait = wait;
	coro->since_ns = coro->worker->now_ns;
	weir__coro_suspend(coro);
	weir_assert(wait->woken);
	return wait->res;
}

#endif
