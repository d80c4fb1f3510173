/* SPDX-License-Identifier: MIT */
/*
 * handover.h - who runs next, and getting there: from the worker's loop into a coroutine,
 * from one coroutine straight into the next that is ready, and back.
 *
 * Handing over directly saves the way through the loop, and more: the processor predicts
 * each return from the calls it has seen. Two coroutines that wait in the same function are
 * the same calls deep, so the second's returns are predicted by the first's calls. Coming
 * from the loop they are all wrong, 5 to 9 ns each.
 *
 * worker->tasks_left bounds it: tasks that may run before the loop looks at its budget. The
 * loop sets it, and a coroutine that hands over counts the task it starts.
 */
#ifndef WEIR_CORE_HANDOVER_H
#define WEIR_CORE_HANDOVER_H

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

/* Lets others run until the running coroutine coro is run again. */
static inline __attribute__((always_inline)) void weir__coro_suspend(struct weir_coro *coro)
{
	struct weir_coro *next = weir__coro_pick(coro->worker);

	if (next != coro)
		weir__coro_switch(coro->worker, coro, next);
}

#endif
