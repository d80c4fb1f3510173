/* SPDX-License-Identifier: MIT */
/*
 * test_faults.c - workers of a runtime that do what workers do, each allocation of which fails
 * in turn: what cannot begin says so, what has begun ends.
 */
#include "core/weir_coro.h"
#include "core/weir_metrics.h"
#include "core/weir_mesh.h"
#include "tests/support/nth.h"
#include "tests/support/thread_runtime.h"

#define CHILDREN 8

struct work {
	struct weir_timer timer;
	struct weir_coro *waiter;
	unsigned ran;
};

static void timer_fired(struct weir_timer *timer)
{
	struct work *work = weir_container_of(timer, struct work, timer);

	work->ran++;
	weir_coro_cancel(work->waiter);
}

static int wait_for_the_timer(void *arg)
{
	(void)arg;
	return weir_sleep(NTH_WAIT_NS) == -ECANCELED ? 0 : -ETIMEDOUT;
}

static int child(void *arg)
{
	struct work *work = arg;
	int r = weir_yield();

	work->ran++;
	return r < 0 ? r : weir_sleep(10 * WEIR_US);
}

/* Joins what could be spawned; the first error counts. */
static int family(struct work *work)
{
	struct weir_coro *coros[CHILDREN];
	unsigned count = 0;
	int r = 0;

	while (!r && count < CHILDREN)
		r = weir_coro_spawn(NULL, child, work, &coros[count++]);
	if (r < 0)
		count--;
	for (unsigned i = 0; i < count; i++) {
		int res = 0, joined = weir_coro_join(coros[i], nth_in(), &res);

		if (!r)
			r = joined < 0 ? joined : res;
		if (joined < 0)
			weir_coro_detach(coros[i]);
	}
	return r;
}

static int with_timer(struct work *work)
{
	int r = weir_coro_spawn(NULL, wait_for_the_timer, work, &work->waiter);
	int res = 0;

	if (r < 0)
		return r;
	weir_timer_init(&work->timer, timer_fired);
	weir_timer_arm(&work->timer, weir_in(20 * WEIR_US));
	r = weir_coro_join(work->waiter, nth_in(), &res);
	weir_timer_cancel(&work->timer);
	if (r < 0)
		weir_coro_detach(work->waiter);
	return r < 0 ? r : res;
}

static int answer(void *arg)
{
	return weir_yield() < 0 ? -ECANCELED : *(int *)arg;
}

static int quick_answer(void *arg)
{
	return *(int *)arg;
}

static void posted(void *arg)
{
	__atomic_add_fetch((unsigned *)arg, 1, __ATOMIC_RELAXED);
}

static int with_others(void)
{
	static unsigned posts;
	unsigned other = (unsigned)(weir_core() + 1) % weir_core_count();
	int number = 7, res = 0;
	int r = weir_post(other, posted, &posts, nth_in());

	if (!r)
		r = weir_call(other, answer, &number, nth_in(), &res);
	if (!r && res != number)
		r = res;
	if (!r)
		r = weir_call_quick(other, quick_answer, &number, nth_in(), &res);
	return r || res == number ? r : -EPROTO;
}

static int counted(void)
{
	static int id;

	id = weir_metric_counter("test_faults", "Rounds.");
	weir_metric_add(id, 1);
	return id < 0 ? id : 0;
}

static int service(void *arg)
{
	struct work work = { .ran = 0 };
	int r = family(&work);

	(void)arg;
	if (!r)
		r = with_timer(&work);
	if (!r)
		r = with_others();
	return r ? r : counted();
}

static int two_cores(void *arg)
{
	struct thread_runtime rt;

	thread_runtime_init(&rt, 2, service, arg);
	rt.plan.stall_ns = 10 * WEIR_S;
	return thread_runtime_run(&rt);
}

static int with_signals(void *arg)
{
	struct thread_runtime rt;

	thread_runtime_init(&rt, 1, service, arg);
	rt.plan.no_signals = false;
	return thread_runtime_run(&rt);
}

static void each_allocation_of_two_cores_may_fail(void **state)
{
	(void)state;
	nth_allocations("two cores", two_cores, NULL);
}

static void each_allocation_of_a_core_that_heeds_signals_may_fail(void **state)
{
	(void)state;
	nth_allocations("with signals", with_signals, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_of_two_cores_may_fail),
		cmocka_unit_test(each_allocation_of_a_core_that_heeds_signals_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
