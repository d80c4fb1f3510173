/* SPDX-License-Identifier: MIT */
/*
 * waiting.h - how a coroutine waits: the one place where coroutines meet what they
 * wait for. An op, a timer, a future and a queue of waiters all use it, so
 * cancellation and deadlines behave the same in each.
 *
 * A wait lives on the waiting coroutine's stack:
 *
 *	struct my_wait { struct weir_wait wait; ... } w;
 *
 *	if ((r = weir__wait_check(deadline)))		not started: nothing to undo
 *		return r;
 *	weir__wait_init(&w.wait);
 *	start(&w);					arranges that wake(&w.wait, res) comes once
 *	r = weir__wait_park(&w.wait, "read", cancel_fn, deadline);
 *
 * park returns what wake() was given. When the coroutine is cancelled or a deadline passes,
 * cancel_fn(wait, reason) is called with -ECANCELED or -ETIMEDOUT, at most once in the life
 * of a wait, on its worker, while the coroutine does not run (or by park itself, when the
 * coroutine was cancelled since the check). A waiter that can simply leave its queue does so
 * there and calls wake(wait, reason). One that cannot (an op in flight) asks for its end and
 * lets the op's own completion call wake() later: park does not return before wake() was
 * called. wait->reason says afterwards whether somebody asked. wake() may come before park
 * (then park does not switch), and it may come to a wait while its coroutine is parked in
 * another.
 */
#ifndef WEIR_CORE_WAITING_H
#define WEIR_CORE_WAITING_H

#include "core/weir_core.h"

struct weir_coro;
struct weir_wait;

typedef void (*weir__wait_cancel_fn)(struct weir_wait *wait, int reason);

struct weir_wait {
	struct weir_coro *coro;		/* who waits; set by weir__wait_init */
	weir__wait_cancel_fn cancel;
	const char *what;		/* "read", "sleep": shown in dumps */
	int res;			/* what wake() gave */
	int reason;			/* 0, or -ECANCELED / -ETIMEDOUT once cancel was called */
	bool woken;
};

/*
 * What a waiting call answers before it starts anything: 0, -EDEADLK outside a
 * coroutine, -ECANCELED, or -ETIMEDOUT when deadline_ns or the coroutine's deadline passed.
 */
int weir__wait_check(int64_t deadline_ns);

/* Binds wait to the running coroutine. Must be called before wake() can come. */
void weir__wait_init(struct weir_wait *wait);

/* Asks for the end of wait, unless it has one or was asked before: what cancelling does. */
static inline void weir__wait_end(struct weir_wait *wait, int reason)
{
	if (wait->woken || wait->reason || !wait->cancel)
		return;
	wait->reason = reason;
	wait->cancel(wait, reason);
}

/* Waits. cancel may be NULL: then nothing ends the wait early. Returns wait->res. */
int weir__wait_park(struct weir_wait *wait, const char *what, weir__wait_cancel_fn cancel,
		    int64_t deadline_ns);

/* Ends the wait with res: the coroutine becomes ready. Once per wait, on its worker. */
void weir__wait_wake(struct weir_wait *wait, int res);

#endif
