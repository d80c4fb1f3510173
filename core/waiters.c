/* SPDX-License-Identifier: MIT */
/*
 * waiters.c - standing in line, and leaving it early.
 */
#include "core/waiters.h"

static void leave(struct weir_wait *wait, int reason)
{
	struct weir_waiter *waiter = weir_container_of(wait, struct weir_waiter, wait);

	weir__waiter_wake(waiter, reason);
	if (waiter->left)
		waiter->left(waiter);
}

int weir__waiters_wait(struct weir_waiters *waiters, struct weir_waiter *waiter, const char *what,
		       int64_t deadline_ns)
{
	int r = weir__wait_check(deadline_ns);

	if (r)
		return r;
	weir__wait_init(&waiter->wait);
	weir__list_push(weir__waiters_head(waiters), &waiter->node);
	return weir__wait_park(&waiter->wait, what, leave, deadline_ns);
}
