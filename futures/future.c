/* SPDX-License-Identifier: MIT */
/*
 * future.c - how a result comes to be, and how it reaches the one who waits for it.
 *
 * settle() is the producer's side, take() the holder's; deliver() between them tells the
 * holder. deliver() wakes a coroutine or readies a task and does nothing else, so the
 * stack is as flat after a million links as after one, and a callback never runs inside a
 * call of its author.
 *
 * Rejected: several holders with a count, as std::shared_future. Then nobody could own the
 * value, and a cancel by one would be a surprise to the others. A tap looks, one holder takes.
 */
#include "futures/future.h"

int weir__future_check(const struct weir_future *future)
{
	if (weir_unlikely(!future))
		return -EINVAL;
	if (weir__future_is_number(future))
		return 0;
	if (weir_unlikely(future->home != weir__self))
		return weir__self ? -EPROTO : -EDEADLK;
	return future->use == FUTURE_HELD ? 0 : -EBUSY;
}

/* --- taps --- */

static void tap_link(struct weir_future *future, struct weir_tap *tap)
{
	struct weir_tap *last = future->flags & FUTURE_OBSERVED ? future->taps : NULL;

	future->flags |= FUTURE_OBSERVED;
	if (last) {
		tap->next_ = last->next_;
		last->next_ = tap;
	} else {
		tap->next_ = tap;
	}
	future->taps = tap;
}

static struct weir_tap *tap_first(struct weir_future *future)
{
	return future->taps->next_;
}

/* prev is linked before tap; tap itself when it is alone. */
static void tap_unlink(struct weir_future *future, struct weir_tap *prev, struct weir_tap *tap)
{
	prev->next_ = tap->next_;
	if (future->taps == tap)
		future->taps = prev == tap ? NULL : prev;
}

static void taps_ready(struct weir_future *future)
{
	struct weir_tap *tap = future->taps;

	do {
		tap = tap->next_;
		weir_task_ready(&tap->task_);
	} while (tap != future->taps);
}

/* --- settled: telling the holder --- */

/* The holder never looked. */
static void discard(struct weir_future *future)
{
	bool is_asked = future->res == -ECANCELED && (future->flags & FUTURE_CANCELLED);

	if (future->res < 0 && !is_asked && !(future->flags & FUTURE_OBSERVED))
		weir__unobserved_count(future->home->futures, future->origin, future->res);
	weir__value_drop(future->value, future->drop);
	weir__future_unref(future);
}

static void tell_parent(struct weir_future *part)
{
	struct weir_future *parent = part->parent;

	if (weir_unlikely(part->flags & FUTURE_BLOCKER)) {
		weir__value_drop(part->value, part->drop);
		weir__future_unref(part);
		weir__future_starved_end(parent);
	} else if (parent->kind->input) {
		parent->kind->input(parent, part);
	} else {
		weir__ready(parent->home, &parent->task);
	}
}

static void deliver(struct weir_future *future)
{
	future->state = FUTURE_READY;
	switch (future->use) {
	case FUTURE_HELD:
		break;
	case FUTURE_AWAITED:
		weir__wait_wake(future->waiter, 0);
		break;
	case FUTURE_INPUT:
		tell_parent(future);
		break;
	case FUTURE_DROPPED:
		discard(future);
		break;
	}
}

static bool has_taps(const struct weir_future *future)
{
	return (future->flags & FUTURE_OBSERVED) && future->taps;
}

void weir__future_settle(struct weir_future *future, ssize_t res, void *value,
			 void (*drop)(void *value))
{
	weir_assert(future->state == FUTURE_PENDING);
	if (weir_unlikely(future->flags & FUTURE_STARVED)) {
		weir__value_drop(value, drop);
		weir__future_starved_end(future);
		return;
	}
	future->res = res;
	future->value = value;
	if (value)
		future->drop = drop;
	if (weir_unlikely(has_taps(future))) {
		future->state = FUTURE_TAPPED;
		taps_ready(future);
		return;
	}
	deliver(future);
}

void weir__future_consume(struct weir_future *parent, struct weir_future *part)
{
	part->use = FUTURE_INPUT;
	part->parent = parent;
	if (part->state == FUTURE_READY)
		tell_parent(part);
}

/* --- the calls --- */

struct weir_future *weir_future_of(ssize_t res)
{
	return (struct weir_future *)(((uintptr_t)res << 1) | 1);
}

bool weir_future_is_settled(const struct weir_future *future)
{
	return weir__future_is_number(future) || future->state != FUTURE_PENDING;
}

int weir_future_cancel(struct weir_future *future)
{
	if (!future)
		return -EINVAL;
	if (weir_future_is_settled(future))
		return -EALREADY;
	if (future->home != weir__self)
		return -EPROTO;
	while (future && !weir_future_is_settled(future) &&
	       !(future->flags & FUTURE_CANCELLED)) {
		future->flags |= FUTURE_CANCELLED;
		future = future->kind->cancel ? future->kind->cancel(future) :
						future->kind->source(future);
	}
	return 0;
}

static void number_drop(ssize_t res)
{
	struct weir_futures *futures;

	if (res < 0 && weir__futures_self(&futures) == 0)
		weir__unobserved_count(futures, "weir_future_of", res);
}

void weir_future_drop(struct weir_future *future)
{
	if (weir__future_check(future))
		return;
	if (weir__future_is_number(future)) {
		number_drop(weir__future_number(future));
		return;
	}
	future->use = FUTURE_DROPPED;
	if (future->state == FUTURE_READY)
		discard(future);
}

static void tap_run(struct weir_task *task)
{
	struct weir_tap *tap = weir_container_of(task, struct weir_tap, task_);
	struct weir_future *future = tap->future_;

	if (weir__future_is_number(future)) {
		tap->fn_(tap, weir__future_number(future), NULL);
		return;
	}
	weir_assert(tap_first(future) == tap);
	tap_unlink(future, future->taps, tap);
	tap->fn_(tap, future->res, future->value);
	if (!future->taps)
		deliver(future);
}

int weir_future_tap(struct weir_future *future, struct weir_tap *tap, weir_tap_fn fn)
{
	int r = weir__future_check(future);

	if (r)
		return r;
	weir_task_init(&tap->task_, tap_run);
	tap->future_ = future;
	tap->fn_ = fn;
	if (weir__future_is_number(future)) {
		weir_task_ready(&tap->task_);
		return 0;
	}
	tap_link(future, tap);
	if (future->state != FUTURE_PENDING) {
		future->state = FUTURE_TAPPED;
		weir_task_ready(&tap->task_);
	}
	return 0;
}

int weir_future_untap(struct weir_tap *tap)
{
	struct weir_future *future = tap->future_;
	struct weir_tap *prev;

	if (weir_future_is_settled(future))
		return -EALREADY;
	for (prev = future->taps; prev->next_ != tap; prev = prev->next_)
		;
	tap_unlink(future, prev, tap);
	if (!future->taps)
		future->flags &= ~FUTURE_OBSERVED;
	return 0;
}

/* --- await --- */

struct await {
	struct weir_wait wait;
	struct weir_future *future;
};

static void await_ask(struct weir_wait *wait, int reason)
{
	(void)reason;	/* kept in the wait, and read there */
	weir_future_cancel(weir_container_of(wait, struct await, wait)->future);
}

static ssize_t await_take(struct weir_future *future, void **ret_value)
{
	ssize_t res = future->res;

	if (ret_value && res >= 0)
		*ret_value = future->value;
	else if (weir_unlikely(future->value != NULL))
		weir__value_drop(future->value, future->drop);
	weir__future_unref(future);
	return res;
}

/* The wait is over before it began, for reason: only the end is waited for. */
static void await_end(struct await *await, int reason)
{
	weir_future_cancel(await->future);
	weir__wait_park(&await->wait, "await", NULL, WEIR_NEVER);
	await->wait.reason = reason;
}

static ssize_t await_pending(struct weir_future *future, struct weir_coro *coro,
			     int64_t deadline_ns, void **ret_value)
{
	struct await await = { .wait = { .coro = coro }, .future = future };
	ssize_t res;

	future->use = FUTURE_AWAITED;
	future->waiter = &await.wait;
	if (weir_unlikely(deadline_ns <= future->home->now_ns))
		await_end(&await, weir__wait_check(deadline_ns));
	else
		weir__wait_park(&await.wait, "await", await_ask, deadline_ns);
	res = await_take(future, ret_value);
	return res == -ECANCELED && await.wait.reason ? await.wait.reason : res;
}

static __attribute__((noinline)) ssize_t await_slow(struct weir_future *future, int64_t deadline_ns,
						    void **ret_value)
{
	struct weir_coro *coro;
	int r = weir__future_check(future);

	if (weir_unlikely(r))
		return r;
	if (weir__future_is_number(future)) {
		if (ret_value && weir__future_number(future) >= 0)
			*ret_value = NULL;
		return weir__future_number(future);
	}
	if (future->state == FUTURE_READY)
		return await_take(future, ret_value);
	coro = future->home->coros.current;
	if (weir_likely(coro != NULL))
		return await_pending(future, coro, deadline_ns, ret_value);
	weir_future_cancel(future);
	weir_future_drop(future);
	return -EDEADLK;
}

/* READY, HELD, small, its producer gone: nothing but a result, compared as one word. */
static inline bool is_plain(const struct weir_future *future)
{
	return future->state == FUTURE_READY && future->use == FUTURE_HELD &&
	       future->flags == 0 && future->refs == 1;
}

ssize_t weir_await(struct weir_future *future, int64_t deadline_ns, void **ret_value)
{
	ssize_t res;

	if (weir_unlikely(!future || weir__future_is_number(future) || !is_plain(future) ||
			  future->value || future->home != weir__self))
		return await_slow(future, deadline_ns, ret_value);
	res = future->res;
	if (ret_value && res >= 0)
		*ret_value = NULL;
	weir__future_free(future);
	return res;
}

/* --- cycles --- */

/* What future waits for; future itself when that has many answers, NULL when it has none. */
static const struct weir_future *upstream(const struct weir_future *future)
{
	struct weir_future *source;

	if (future->kind->has_parts || (future->flags & FUTURE_STARVED))
		return future;
	source = future->kind->source(future);
	return source && !weir__future_is_number(source) ? source : NULL;
}

/*
 * Each future has one holder, so what waits for target is a line, and next waits for target if it
 * lies on it, or if target lies on the line of what next waits for. Either line may be long; so
 * both are walked in step, and when one ends the answer is no: a long chain whose steps give fresh
 * futures stays linear. A shared future has several holders: where the first line ends in one, the
 * second is walked to its end.
 */
bool weir__future_is_cycle(const struct weir_future *target, const struct weir_future *next)
{
	const struct weir_future *up = next, *down = target, *above;

	while (down != next && up != target) {
		if (down->use == FUTURE_INPUT)
			down = down->parent;
		else if (!down->kind->is_shared)
			return false;
		above = upstream(up);
		if (!above || (above == up && down->kind->is_shared))
			return false;
		up = above;
	}
	return true;
}

int weir__future_check_next(struct weir_future *parent, struct weir_future *next)
{
	int r;

	if (next == parent)
		return -EDEADLK;
	if ((r = weir__future_check(next)))
		return r;
	if (weir__future_is_number(next) || !weir__future_is_cycle(parent, next))
		return 0;
	weir_future_drop(next);
	return -EDEADLK;
}

/* --- the one future that a composed one waits for --- */

int weir__source_adopt(struct weir_future *future, struct weir_future **place,
		       struct weir_future *next)
{
	int r = weir__future_check_next(future, next);

	if (r)
		return r;
	weir__source_set(future, place, next);
	if (future->flags & FUTURE_CANCELLED)
		weir_future_cancel(next);
	return 0;
}
