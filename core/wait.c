/* SPDX-License-Identifier: MIT */
/*
 * wait.c - parking and waking, and the two waits that need nothing else: yield and sleep.
 *
 * Two can end a wait, at most one does: wake() ends it, and whoever asks for its end
 * (cancel, a deadline) sets reason first and calls cancel_fn only when neither reason nor
 * woken was set. Everything happens on the worker that the coroutine belongs to, so
 * there is no race, only an order.
 */
#include "core/waiting.h"

#include "core/handover.h"
#include "core/plant.h"

/* The deadline of a wait on a stack. */
struct alarm {
	struct weir_timer timer;
	struct weir_wait *wait;
};

static struct weir_coro *running(void)
{
	return weir__self ? weir__self->coros.current : NULL;
}

static inline int check(const struct weir_coro *coro, int64_t deadline_ns)
{
	if (!coro->shields) {
		if (coro->cancelled)
			return -ECANCELED;
		if (coro->deadline_ns < deadline_ns)
			deadline_ns = coro->deadline_ns;
	}
	return deadline_ns <= coro->worker->now_ns ? -ETIMEDOUT : 0;
}

int weir__wait_check(int64_t deadline_ns)
{
	struct weir_coro *coro = running();

	return coro ? check(coro, deadline_ns) : -EDEADLK;
}

void weir__wait_init(struct weir_wait *wait)
{
	wait->coro = running();
	weir_assert(wait->coro);
	wait->cancel = NULL;
	wait->reason = 0;
	wait->woken = false;
}

void weir__wait_wake(struct weir_wait *wait, int res)
{
	struct weir_coro *coro = wait->coro;

	weir_assert(!wait->woken);
	wait->res = res;
	wait->woken = true;
	if (coro->wait != wait)
		return;
	coro->wait = NULL;
	coro->since_ns = coro->worker->now_ns;
	weir__ready(coro->worker, &coro->task);
}

static inline __attribute__((always_inline)) void park(struct weir_coro *coro,
						       struct weir_wait *wait)
{
	coro->wait = wait;
	coro->since_ns = coro->worker->now_ns;
	weir__coro_suspend(coro);
	weir_assert(wait->woken);
}

static void ring(struct weir_timer *timer)
{
	weir__wait_end(weir_container_of(timer, struct alarm, timer)->wait, -ETIMEDOUT);
}

/* Apart, so that a wait without a deadline does not carry the alarm on its stack. */
static __attribute__((noinline)) int park_until(struct weir_coro *coro, struct weir_wait *wait,
						int64_t deadline_ns)
{
	struct alarm alarm = { .wait = wait };

	weir_timer_init(&alarm.timer, ring);
	weir_timer_arm(&alarm.timer, deadline_ns);
	park(coro, wait);
	if (!WEIR__PLANT(TIMER_OUTLIVES))
		weir_timer_cancel(&alarm.timer);
	return wait->res;
}

int weir__wait_park(struct weir_wait *wait, const char *what, weir__wait_cancel_fn cancel,
		    int64_t deadline_ns)
{
	struct weir_coro *coro = wait->coro;

	weir_assert(coro->worker->coros.current == coro);
	wait->what = what;
	wait->cancel = cancel;
	if (!cancel)
		deadline_ns = WEIR_NEVER;
	else if (!coro->shields) {
		if (coro->cancelled)
			weir__wait_end(wait, -ECANCELED);
		if (coro->deadline_ns < deadline_ns)
			deadline_ns = coro->deadline_ns;
	}
	if (wait->woken)
		return wait->res;
	if (deadline_ns != WEIR_NEVER)
		return park_until(coro, wait, deadline_ns);
	park(coro, wait);
	return wait->res;
}

int weir_yield(void)
{
	struct weir_coro *coro = running();

	if (!coro)
		return -EDEADLK;
	coro->since_ns = coro->worker->now_ns;
	weir__ready(coro->worker, &coro->task);
	weir__coro_suspend(coro);
	return check(coro, WEIR_NEVER);
}

static void end_sleep(struct weir_wait *wait, int reason)
{
	weir__wait_wake(wait, reason);
}

int weir_sleep(int64_t ns)
{
	struct weir_wait wait;
	struct weir_coro *coro = running();
	int64_t deadline_ns = WEIR_NEVER;
	int64_t now_ns;
	int r;

	if (ns <= 0 || !coro)
		return weir_yield();
	r = check(coro, WEIR_NEVER);
	if (r)
		return r;
	now_ns = weir_clock();
	if (ns < WEIR_NEVER - now_ns)
		deadline_ns = now_ns + ns;
	weir__wait_init(&wait);
	r = weir__wait_park(&wait, "sleep", end_sleep, deadline_ns);
	if (r == -ETIMEDOUT && (coro->shields || deadline_ns <= coro->deadline_ns))
		return 0;
	return r;
}
