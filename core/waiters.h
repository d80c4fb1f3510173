/* SPDX-License-Identifier: MIT */
/*
 * waiters.h - a line of coroutines that wait for something of this core: first come, first served,
 * and who is cancelled leaves it. What credits, locks and channels are made of.
 */
#ifndef WEIR_CORE_WAITERS_H
#define WEIR_CORE_WAITERS_H

#include "core/queue.h"
#include "core/waiting.h"
#include "core/weir_waiters.h"
#include "core/worker.h"

struct weir_waiter {
	struct weir_wait wait;
	struct weir_node node;
	void (*left)(struct weir_waiter *waiter);	/* after it left early; may be NULL */
	void *of;		/* what it waits for */
	unsigned n;		/* how much of it, or how */
};

static inline struct weir_node *weir__waiters_head(struct weir_waiters *waiters)
{
	return (struct weir_node *)(void *)waiters;
}

static inline void weir__waiters_init(struct weir_waiters *waiters)
{
	weir__list_init(weir__waiters_head(waiters));
}

static inline bool weir__waiters_is_empty(const struct weir_waiters *waiters)
{
	return waiters->next_ == waiters;
}

/* The first in line; NULL when nobody waits. */
static inline struct weir_waiter *weir__waiters_first(struct weir_waiters *waiters)
{
	struct weir_node *head = weir__waiters_head(waiters);

	return head->next == head ? NULL : weir_container_of(head->next, struct weir_waiter, node);
}

/* waiter leaves the line and its coroutine goes on with res. */
static inline void weir__waiter_wake(struct weir_waiter *waiter, int res)
{
	weir__node_remove(&waiter->node);
	weir__wait_wake(&waiter->wait, res);
}

static inline void weir__waiters_wake_all(struct weir_waiters *waiters, int res)
{
	struct weir_waiter *waiter;

	while ((waiter = weir__waiters_first(waiters)))
		weir__waiter_wake(waiter, res);
}

/*
 * The running coroutine stands in line. waiter: left, of and n are set. Returns what wake() gave;
 * -EDEADLK, -ECANCELED, -ETIMEDOUT.
 */
int weir__waiters_wait(struct weir_waiters *waiters, struct weir_waiter *waiter, const char *what,
		       int64_t deadline_ns);

#endif
