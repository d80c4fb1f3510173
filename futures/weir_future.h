/* SPDX-License-Identifier: MIT */
/*
 * weir_future.h - a result that is not there yet.
 *
 * A future is the right to one result, a promise the right and the duty to give it.
 * What was started goes on at once, whether or not anybody waits (futures are eager).
 *
 *	PENDING --resolved, or its promise dropped--> SETTLED: fulfilled (res >= 0) or
 *		rejected (res < 0), once, for good
 *
 *	struct weir_promise promise;
 *	struct weir_future *future;
 *
 *	if ((r = weir_promise_create(&promise, &future)))
 *		return r;
 *	start_something(&promise);		later: weir_promise_resolve(&promise, 42)
 *	n = weir_await(future, weir_in(50 * WEIR_MS), NULL);
 *
 * A result is res, the number every call of the library returns (a count or 0, or a
 * negative errno), and with a fulfilment an optional value: a pointer and the function
 * that frees what nobody takes. A rejection carries no value and costs what a
 * fulfilment costs.
 *
 * Ownership has three rules.
 *
 * 1. A future has one owner. Whatever takes one (await, then, all, drop ...) *consumes*
 *    it, also when it fails: do not use the pointer afterwards. What a call cannot do it
 *    says in the future it returns, so calls nest without checks between them, and a
 *    function that returns a future never returns NULL. weir_future_tap() only looks.
 * 2. What an operation was lent (a buffer) stays lent until its future is settled. No
 *    await and no combinator ends before the operations under it have: they ask
 *    for cancellation, then wait for the end.
 * 3. Nothing of yours runs inside a call: a function given to then, recover, finally or tap
 *    runs as a task on the future's home worker, never in resolve, never in then
 *    itself, and in the order of registration.
 *
 * Futures and promises belong to the worker that made them; the two calls that may be made
 * elsewhere say "any thread". A worker keeps at most futures_max of them, an option of
 * weir_run().
 */
#ifndef WEIR_FUTURE_H
#define WEIR_FUTURE_H

#include "weir_core.h"
#include "weir_task.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A handle. Small results live in the pointer itself: never look behind it. */
struct weir_future;

/* The caller's memory; to move it, copy it and forget the old one. */
struct weir_promise {
	struct weir_future *future_;	/* NULL: resolved or dropped */
};

struct weir_result {
	ssize_t res;			/* 0 or a count, or -errno */
	void *value;			/* NULL when res < 0 */
	void (*drop)(void *value);	/* frees value; NULL: nothing to free */
	unsigned rank;			/* in a join: how many parts were settled before this one */
	struct weir_future *next_;
};

#define WEIR_STRING_(x) #x
#define WEIR_STRING(x) WEIR_STRING_(x)

/* The place of a call, "file.c:42": the origin of what is rejected there. */
#define WEIR_HERE __FILE__ ":" WEIR_STRING(__LINE__)

/* --- promises --- */

/*
 * Makes a pair. *promise is filled, to be resolved or dropped once; *ret_future is the
 * caller's. origin is borrowed for good: a literal.
 * Returns 0, -ENOBUFS at futures_max, -ENOMEM, -EDEADLK outside a worker.
 */
WEIR_API int weir_promise_create_at(struct weir_promise *promise, struct weir_future **ret_future,
				    const char *origin);
#define weir_promise_create(promise, ret_future)                                                  \
	weir_promise_create_at(promise, ret_future, WEIR_HERE)

/*
 * The same for a promise that another core or thread will resolve, with
 * weir_promise_resolve_any(). The worker does not end before that, or before it is dropped.
 */
WEIR_API int weir_promise_create_any_at(struct weir_promise *promise,
					struct weir_future **ret_future, const char *origin);
#define weir_promise_create_any(promise, ret_future)                                              \
	weir_promise_create_any_at(promise, ret_future, WEIR_HERE)

/*
 * Settles the future with res, and ends the promise.
 * Returns 0; -EALREADY when promise was resolved or dropped before; -ECANCELED when the future
 * was cancelled meanwhile: it is settled, nobody takes this result; -EPROTO on another core than
 * its own.
 */
WEIR_API int weir_promise_resolve(struct weir_promise *promise, ssize_t res);

/*
 * The same with a value, given on success: whoever takes the result owns it, else
 * drop(value) (may be NULL) is called on this core. -EINVAL for a value with res < 0.
 */
WEIR_API int weir_promise_resolve_value(struct weir_promise *promise, ssize_t res, void *value,
					void (*drop)(void *value));

/*
 * Any thread, for a promise of weir_promise_create_any(). The future is settled on its
 * own core, with memory that is part of the promise: never refused for lack of room. A value
 * that comes too late (the future was cancelled) is dropped there.
 * Returns 0, -EALREADY, -EINVAL for a value with res < 0, -EPROTO for a promise of
 * weir_promise_create() on another core; on error nothing was given.
 */
WEIR_API int weir_promise_resolve_any(struct weir_promise *promise, ssize_t res, void *value,
				      void (*drop)(void *value));

/*
 * The future will have future's result (Promises/A+ 2.3.2): the promise ends now, future is
 * consumed. Cancelling goes on to future.
 * Returns 0, -EALREADY, -ECANCELED, -EPROTO: future is still the caller's. -EDEADLK when future
 * waits for this very promise: then the promise is rejected with -EDEADLK and future is still
 * the caller's.
 */
WEIR_API int weir_promise_follow(struct weir_promise *promise, struct weir_future *future);

/*
 * Breaks the promise: the future is rejected with -EPIPE. Does nothing once resolved. A
 * promise of weir_promise_create_any() may be dropped on any thread.
 */
WEIR_API void weir_promise_drop(struct weir_promise *promise);

/*
 * Calls cancel(arg) once when somebody asks the future to end; the future then stays PENDING
 * until the promise is resolved: -ECANCELED if it worked, the result if it was too late.
 * Without this, a cancelled future is rejected with -ECANCELED at once. cancel runs inside the
 * call that cancels, on the home worker, must not wait, and may resolve the promise.
 * For a promise that travels: set it before it leaves.
 * Returns 0, -EALREADY, -ECANCELED (the request was made already; cancel is not called).
 */
WEIR_API int weir_promise_on_cancel(struct weir_promise *promise, void (*cancel)(void *arg),
				    void *arg);

/* Whether anybody may still take the result: false once cancelled, or the future was dropped. */
WEIR_API bool weir_promise_is_wanted(const struct weir_promise *promise);

/* --- futures --- */

/*
 * A settled future with the result res: no memory, no bound, never fails.
 * Any thread, and the future may be used on any.
 */
WEIR_API struct weir_future *weir_future_of(ssize_t res);

/* Whether the result is there: an await would not wait (once the taps have run). */
WEIR_API bool weir_future_is_settled(const struct weir_future *future);

/*
 * Waits for the result and consumes future. Returns res. *ret_value (may be NULL: the
 * value is dropped) is the value, the caller's from now on; set when res >= 0.
 *
 * A result that is there is returned whatever the deadline and the coroutine's
 * cancellation say: nothing is lost. Else, when deadline_ns passes or the coroutine is
 * cancelled, future is asked to end and waited for; what it did do all the same is
 * returned (n bytes), and -ETIMEDOUT or -ECANCELED if nothing.
 * Adds -EBUSY (somebody else consumed future: it is left alone) and, outside a coroutine,
 * -EDEADLK: future was cancelled and dropped, what it was lent is still lent.
 */
WEIR_API ssize_t weir_await(struct weir_future *future, int64_t deadline_ns, void **ret_value);

/*
 * Asks future to end, and what it waits for. Does not wait and does not consume: await it
 * for the verdict, -ECANCELED or the result if it was too late. Functions given to then and
 * finally see -ECANCELED as any rejection. Asking twice does nothing.
 * Returns 0, or -EALREADY when it is settled.
 */
WEIR_API int weir_future_cancel(struct weir_future *future);

/*
 * Consumes future without looking at the result: what was started goes on, its value is
 * dropped, and a rejection (other than a cancel that was asked for) is counted as unobserved
 * with its origin. What was lent is still lent until the end.
 */
WEIR_API void weir_future_drop(struct weir_future *future);

struct weir_tap;

/* value is lent during the call. Must not wait. tap is the caller's again. */
typedef void (*weir_tap_fn)(struct weir_tap *tap, ssize_t res, void *value);

/* The caller's memory. */
struct weir_tap {
	struct weir_task task_;
	struct weir_tap *next_;
	struct weir_future *future_;
	weir_tap_fn fn_;
};

/*
 * Looks at a result without taking it: fn(tap, res, value) runs as a task once future is
 * settled, before whoever consumes future sees the result, taps in the order in
 * which they came. future stays the caller's. tap is lent until fn().
 * Returns 0, -EBUSY when future is consumed already.
 */
WEIR_API int weir_future_tap(struct weir_future *future, struct weir_tap *tap, weir_tap_fn fn);

/*
 * Takes tap back: fn() will not run. Cost: the taps of that future. Returns 0, -EALREADY when
 * the future is settled: fn() ran, or will in this turn or the next.
 */
WEIR_API int weir_future_untap(struct weir_tap *tap);

/* --- one after the other --- */

/*
 * A step of a chain. *result is the step's: what it leaves there in value and drop is the
 * value of the step's own future, what it returns the res (a rejection drops what is left in
 * value). To go on with a future, return weir_follow(result, future). Must not wait.
 */
typedef ssize_t (*weir_step_fn)(struct weir_result *result, void *arg);

/*
 * The future of step(result, arg), called when future is fulfilled; a rejection passes
 * through. arg must live until step ran or the returned future is settled.
 * Adds to what the returned future may be rejected with: -ENOBUFS at futures_max,
 * -ENOMEM (both: future was asked to end and has ended, step was not called), -EDEADLK
 * outside a worker, -EBUSY when future was consumed before, -EPROTO on another core.
 */
WEIR_API struct weir_future *weir_then_at(struct weir_future *future, weir_step_fn step, void *arg,
					  const char *origin);
#define weir_then(future, step, arg) weir_then_at(future, step, arg, WEIR_HERE)

/* The same for a rejection: what step returns replaces it. A fulfilment passes through. */
WEIR_API struct weir_future *weir_recover_at(struct weir_future *future, weir_step_fn step,
					     void *arg, const char *origin);
#define weir_recover(future, step, arg) weir_recover_at(future, step, arg, WEIR_HERE)

/*
 * The same for both: step looks, the result passes through, unless step returns a negative
 * errno: that is the result then. It may wait for a future, whose fulfilment changes nothing.
 */
WEIR_API struct weir_future *weir_finally_at(struct weir_future *future, weir_step_fn step,
					     void *arg, const char *origin);
#define weir_finally(future, step, arg) weir_finally_at(future, step, arg, WEIR_HERE)

/*
 * Inside a step, as `return weir_follow(result, next)`: the step's future will have next's
 * result. Consumes next (a second call in one step is -EBUSY and does not). A chain that would
 * wait for itself is rejected with -EDEADLK. Returns 0.
 */
WEIR_API ssize_t weir_follow(struct weir_result *result, struct weir_future *next);

/*
 * future, asked to end at deadline_ns (absolute): rejected with -ETIMEDOUT when it had
 * nothing to give then, once it has ended. A result that came in spite of that is kept.
 * Failures as weir_then().
 */
WEIR_API struct weir_future *weir_timeout_at(struct weir_future *future, int64_t deadline_ns,
					     const char *origin);
#define weir_timeout(future, deadline_ns) weir_timeout_at(future, deadline_ns, WEIR_HERE)

/* --- several at once --- */

enum weir_how {
	WEIR_ALL,	/* 0 when every part is fulfilled; the first rejection decides */
	WEIR_ALL_SETTLED, /* how many parts were fulfilled; nothing decides early */
	WEIR_ANY,	/* the first fulfilment decides; else the last rejection */
	WEIR_RACE	/* the first to settle decides */
};

/*
 * One future of count parts. Consumes the parts; the array is read during the call only.
 * What decides early asks the other parts to end, and the future is settled when all have:
 * no part is running, and nothing that was lent is in use, after it.
 *
 * results (may be NULL) is lent until the future is settled: results[i] is filled with the
 * result of parts[i], losers included, and the values in it are the caller's. Without
 * it, the value of the part that decided ANY and RACE is the future's, all others are
 * dropped.
 *
 * No parts: ALL and ALL_SETTLED are fulfilled with 0, ANY and RACE rejected with -EINVAL. A part
 * that is NULL counts as rejected with -EINVAL, one that was consumed before with -EBUSY.
 * Takes one future of the worker's bound, nothing per part. Failures as weir_then().
 */
WEIR_API struct weir_future *weir_join(enum weir_how how, struct weir_future *const *parts,
				       unsigned count, struct weir_result *results);

/* weir_join() by name, without results. */
WEIR_API struct weir_future *weir_all(struct weir_future *const *parts, unsigned count);
WEIR_API struct weir_future *weir_any(struct weir_future *const *parts, unsigned count);
WEIR_API struct weir_future *weir_race(struct weir_future *const *parts, unsigned count);

/* results is lent until the future is settled and then holds every part's result. */
WEIR_API struct weir_future *weir_all_settled(struct weir_future *const *parts, unsigned count,
					      struct weir_result *results);

/* --- many, a few at a time --- */

/*
 * Starts one of a series: number index, from 0. Returns its future, which the caller consumes; an
 * error is weir_future_of(-errno). Runs as a task: must not wait.
 */
typedef struct weir_future *(*weir_start_fn)(unsigned index, void *arg);

/*
 * The future of start(0, arg) to start(count - 1, arg), called in this order, never more of their
 * futures PENDING than in_flight_max. Fulfilled with 0 when all are. The first rejection decides:
 * nothing more is started, what is under way is asked to end, and the map is rejected with that
 * error when it has ended. Cancelling the map does the same: -ECANCELED, unless everything was
 * started before and fulfilled in spite of it.
 *
 * results (may be NULL: the values are dropped) is lent until the map is settled: results[i] is
 * filled with the result of start(i), or -ECANCELED when that was never called; the values in it
 * are the caller's. arg must live as long.
 *
 * What start returned that cannot be waited for counts as rejected: NULL with -EINVAL, a future
 * that was consumed before with -EBUSY, one that waits for this map with -EDEADLK.
 *
 * Takes one future of the worker's bound, and at most as many again as are under way. Rejected
 * with -EINVAL (in_flight_max 0, no start), -ENOBUFS at futures_max, -ENOMEM, -EDEADLK outside a
 * worker: start was not called. count 0 is fulfilled with 0.
 */
WEIR_API struct weir_future *weir_map(unsigned count, unsigned in_flight_max, weir_start_fn start,
				      void *arg, struct weir_result *results);

/*
 * The same, but nothing decides early: fulfilled with how many parts were, when all have ended.
 * Cancelled, it starts nothing more and is fulfilled with how many were by then.
 */
WEIR_API struct weir_future *weir_map_settled(unsigned count, unsigned in_flight_max,
					      weir_start_fn start, void *arg,
					      struct weir_result *results);

/* --- bounds and what nobody looked at --- */

/*
 * At most count futures on this worker from now on, instead of futures_max. What is there stays.
 * Returns 0, -EINVAL for 0, -EDEADLK outside a worker, -ENOMEM.
 */
WEIR_API int weir_futures_set_max(unsigned count);

/* Levels of this worker. */
struct weir_futures_info {
	unsigned count;		/* futures and promises that take memory now */
	unsigned count_high;	/* the most at once */
	unsigned count_max;	/* futures_max */
	uint64_t refused;	/* for lack of room or memory */
	uint64_t unobserved;	/* rejections that nobody looked at */
};

/* Returns 0, -EDEADLK outside a worker. */
WEIR_API int weir_futures_info(struct weir_futures_info *ret_info);

/* A place from which rejections came that nobody looked at. */
struct weir_unobserved {
	const char *origin;	/* "file.c:42", or the call; "others" once the table is full */
	uint64_t count;
	int res;		/* the last of them */
};

#define WEIR_UNOBSERVED_MAX 64

/*
 * Calls visit for each origin of this worker, at most WEIR_UNOBSERVED_MAX + 1, until it returns
 * non-zero, and returns that; else 0.
 */
WEIR_API int weir_unobserved_list(int (*visit)(const struct weir_unobserved *place, void *arg),
				  void *arg);

#ifdef __cplusplus
}
#endif

#endif
