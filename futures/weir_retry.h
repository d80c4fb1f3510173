/* SPDX-License-Identifier: MIT */
/*
 * weir_retry.h - once more: after a failure (retry), or because it takes too long (hedge).
 *
 *	static struct weir_future *ask(unsigned attempt, void *arg)
 *	{
 *		return weir_timeout(request_async(arg), weir_in(200 * WEIR_MS));
 *	}
 *
 *	const struct weir_retry_opts opts = { .attempts_max = 4, .deadline_ns = weir_in(WEIR_S) };
 *
 *	n = weir_await(weir_retry(&opts, ask, request), WEIR_NEVER, NULL);
 *
 * Both repeat what has side effects as readily as what has none: whoever answers must be able to
 * do the same thing twice. Retries and hedges are load; when everybody is slow they make it worse.
 * Retry in one layer only, and hedge what is slow for one in twenty, not for all.
 */
#ifndef WEIR_RETRY_H
#define WEIR_RETRY_H

#include "weir_core.h"
#include "weir_future.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How long to wait before the next attempt. random(a, b) is even in a..b. Many that failed together
 * must not come back together: see Brooker, "Exponential Backoff And Jitter", AWS Architecture
 * Blog, 2015, from where FULL and DECORRELATED are.
 */
enum weir_jitter {
	WEIR_JITTER_FULL,	  /* random(0, min(delay_ns_max, delay_ns * 2^n)), n from 0 */
	WEIR_JITTER_DECORRELATED, /* min(delay_ns_max, random(delay_ns, 3 * the last one)) */
	WEIR_JITTER_NONE	  /* min(delay_ns_max, delay_ns * 2^n): for one who is alone */
};

/* Zero means the default for every member. */
struct weir_retry_opts {
	unsigned attempts_max;	/* the first included; default 3 */
	enum weir_jitter jitter;
	int64_t delay_ns;	/* before the second attempt, about; default 10 ms */
	int64_t delay_ns_max;	/* default 10 s; counts when it is less than delay_ns */
	int64_t deadline_ns;	/* absolute, of all attempts together; default: none */
	/* Whether error, a negative errno, is worth another attempt. Called as a task with the arg
	 * of weir_retry(). Default: weir_retry_is_worth(error). */
	bool (*is_worth)(int error, void *arg);
};

/*
 * Whether the same call may well succeed a little later: -EAGAIN, -ENOBUFS, -EINTR, -ETIMEDOUT,
 * -EPIPE, -ECONNREFUSED, -ECONNRESET, -ECONNABORTED, -EHOSTUNREACH, -ENETUNREACH, -EHOSTDOWN,
 * -ENETDOWN, -ENETRESET. Not -ECANCELED: somebody wants no more. Any thread.
 */
WEIR_API bool weir_retry_is_worth(int error);

/*
 * The future of start(0, arg), of start(1, arg) when that was rejected, and so on: the first
 * fulfilment, with its value, or the last rejection. start runs as a task, one attempt after the
 * other has ended. opts may be NULL and is copied; arg must live until the future is settled.
 *
 * It ends with the last rejection when that error is not worth another attempt, when attempts_max
 * were made, and when the next attempt would begin at deadline_ns or later: then nobody waits for
 * it. An attempt that is under way at deadline_ns is asked to end and waited for: -ETIMEDOUT when
 * it had nothing to give then; a deadline that has passed before is -ETIMEDOUT without an attempt.
 * To bound one attempt, put weir_timeout() around it in start.
 *
 * A cancel goes to the attempt that is under way; between two it is -ECANCELED at once. What start
 * returned that cannot be waited for is that attempt's rejection: NULL -EINVAL, a future that
 * was consumed before -EBUSY, one that waits for this future -EDEADLK.
 *
 * Takes one future of the worker's bound. Rejected with -EINVAL (no start, a negative delay, no
 * such jitter), -ENOBUFS at futures_max, -ENOMEM, -EDEADLK outside a worker: start was not called.
 * Attempts after the first are counted: weir_retries.
 */
WEIR_API struct weir_future *weir_retry_at(const struct weir_retry_opts *opts, weir_start_fn start,
					   void *arg, const char *origin);
#define weir_retry(opts, start, arg) weir_retry_at(opts, start, arg, WEIR_HERE)

/*
 * The future of start(0, arg) and, when that has not ended after delay_ns, of start(1, arg) beside
 * it: whichever is fulfilled first, with its value. The other one is asked to end and waited for;
 * what it gives all the same is dropped. start runs as a task; arg must live until the future is
 * settled. With WEIR_NEVER there is no second attempt, with 0 it follows at once.
 *
 * A hedge is for what is slow, not for what fails: a rejection before the second attempt began is
 * the result; after that the other one may still be fulfilled, and the later rejection is the
 * result when both are rejected. weir_retry() goes around it or into start.
 *
 * With delay_ns at the 95th percentile of the time that an answer takes, one request in twenty is
 * sent twice, and the slow ones are as slow as two that are slow together: Dean and Barroso, "The
 * Tail at Scale", Communications of the ACM 56(2), 2013.
 *
 * A cancel goes to both. What start returned that cannot be waited for is that attempt's rejection,
 * as with weir_retry(); so is -ENOBUFS of the second, which does no harm to the first.
 *
 * Takes one future of the worker's bound. Rejected with -EINVAL (no start, a negative delay),
 * -ENOBUFS at futures_max, -ENOMEM, -EDEADLK outside a worker: start was not called. Counted:
 * weir_hedges (second attempts), weir_hedges_won (of them, the first to be fulfilled).
 */
WEIR_API struct weir_future *weir_hedge_at(int64_t delay_ns, weir_start_fn start, void *arg,
					   const char *origin);
#define weir_hedge(delay_ns, start, arg) weir_hedge_at(delay_ns, start, arg, WEIR_HERE)

#ifdef __cplusplus
}
#endif

#endif
