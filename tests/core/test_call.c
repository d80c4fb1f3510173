/* SPDX-License-Identifier: MIT */
/*
 * test_call.c - functions called on another core: results, deadlines that travel, and
 * cancellation that waits for the callee.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "tests/support/thread_runtime.h"

static struct thread_runtime rt;
static unsigned ran;		/* atomic: functions that were run on the callee */

/* What the service of core 0 does; the other cores only answer. */
static int (*scenario)(void);

static int service(void *arg)
{
	return weir_core() == 0 ? scenario() : 0;
}

static int run_with_depth(int (*fn)(void), unsigned depth)
{
	scenario = fn;
	ran = 0;
	thread_runtime_init(&rt, 2, service, NULL);
	rt.plan.mesh_depth = depth;
	return thread_runtime_run(&rt);
}

static int run(int (*fn)(void))
{
	return run_with_depth(fn, 64);
}

/* In a service: fails the run by the line where it broke. */
#define check(x)                                                                                  \
	do {                                                                                      \
		if (!(x))                                                                         \
			return -__LINE__;                                                         \
	} while (0)

static int where(void *arg)
{
	__atomic_add_fetch(&ran, 1, __ATOMIC_SEQ_CST);
	return weir_core() * 100 + *(int *)arg;
}

static int nap_where(void *arg)
{
	weir_sleep(WEIR_MS);
	return where(arg);
}

static int call_and_back(void)
{
	int arg = 7;
	int res = 0;
	int i;

	for (i = 0; i < 100; i++) {
		check(!weir_call(1, where, &arg, WEIR_NEVER, &res) && res == 107);
		check(!weir_call_quick(1, where, &arg, WEIR_NEVER, &res) && res == 107);
	}
	check(!weir_call(1, nap_where, &arg, weir_in(10 * WEIR_S), &res) && res == 107);
	check(!weir_call(1, where, &arg, WEIR_NEVER, NULL));
	return 0;
}

static void a_call_runs_there_and_its_result_comes_back(void **state)
{
	assert_int_equal(run(call_and_back), 0);
}

static int call_oneself(void)
{
	int arg = 7;
	int res = 0;

	check(!weir_call(0, nap_where, &arg, WEIR_NEVER, &res) && res == 7);
	check(!weir_call_quick(0, where, &arg, WEIR_NEVER, &res) && res == 7);
	return 0;
}

static void a_call_to_the_own_core_works_the_same(void **state)
{
	assert_int_equal(run(call_oneself), 0);
}

static int refuse(void)
{
	int arg = 0;
	int res = 5;

	check(weir_call(2, where, &arg, WEIR_NEVER, &res) == -EINVAL);
	check(weir_call_quick(2, where, &arg, WEIR_NEVER, &res) == -EINVAL);
	check(weir_call(1, where, &arg, weir_in(-1), &res) == -ETIMEDOUT);
	check(weir_post(2, NULL, NULL, WEIR_NEVER) == -EINVAL);
	check(res == 5 && !ran);
	return 0;
}

static void a_call_that_cannot_be_made_is_refused(void **state)
{
	int arg = 0;

	assert_int_equal(run(refuse), 0);
	assert_int_equal(weir_call(0, where, &arg, WEIR_NEVER, NULL), -EINVAL);
}

/* --- deadlines --- */

static bool blocked, go;	/* atomic: the callee's core is held by a task */

static void hold_core(void *arg)
{
	__atomic_store_n(&blocked, true, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&go, __ATOMIC_SEQ_CST))
		;
	/* Until a deadline 5 ms away has passed for certain. */
	while (weir_clock() < *(int64_t *)arg)
		;
}

static int late_call(void)
{
	int64_t free_at;
	int64_t deadline;
	int arg = 0;

	blocked = false;
	go = false;
	check(!weir_post_try(1, hold_core, &free_at));
	while (!__atomic_load_n(&blocked, __ATOMIC_SEQ_CST))
		weir_sleep(WEIR_MS);
	deadline = weir_clock() + 5 * WEIR_MS;
	free_at = deadline + 5 * WEIR_MS;
	__atomic_store_n(&go, true, __ATOMIC_SEQ_CST);
	check(weir_call(1, where, &arg, deadline, NULL) == -ETIMEDOUT);
	check(!ran);
	check(weir_clock() >= deadline);
	return 0;
}

/* The public bug: deadlines stopped counting in the cross-core queue (scylladb#5055). */
static void a_call_whose_deadline_passed_in_the_queue_is_not_run(void **state)
{
	assert_int_equal(run(late_call), 0);
}

static int long_sleep(void *arg)
{
	__atomic_add_fetch(&ran, 1, __ATOMIC_SEQ_CST);
	return weir_sleep(3600 * WEIR_S);
}

static int call_until(void)
{
	int res = 0;

	check(!weir_call(1, long_sleep, NULL, weir_in(20 * WEIR_MS), &res));
	check(res == -ETIMEDOUT && ran == 1);
	/* The caller's own deadline travels as well. */
	weir_coro_set_deadline(weir_in(20 * WEIR_MS));
	check(!weir_call(1, long_sleep, NULL, WEIR_NEVER, &res));
	check(res == -ETIMEDOUT && ran == 2);
	return 0;
}

static void a_deadline_ends_the_waits_of_the_called_function(void **state)
{
	assert_int_equal(run(call_until), 0);
}

/* --- cancelling --- */

static int call_result;

/* Whether nobody writes to the stack where the call has been. */
__attribute__((noinline)) static bool stack_is_ours(void)
{
	volatile unsigned char bytes[2048];
	unsigned i;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = 0xa5;
	weir_coro_shield();
	weir_sleep(WEIR_MS);
	weir_coro_unshield();
	for (i = 0; i < sizeof(bytes); i++)
		if (bytes[i] != 0xa5)
			return false;
	return true;
}

static int call_body(void *arg)
{
	int res = 0;
	int r = weir_call(1, long_sleep, NULL, WEIR_NEVER, &res);

	call_result = res;
	return stack_is_ours() ? r : -EFAULT;
}

static int cancel_call(void)
{
	struct weir_coro *coro;
	int res = 1;

	check(!weir_coro_spawn(NULL, call_body, NULL, &coro));
	while (!__atomic_load_n(&ran, __ATOMIC_SEQ_CST))
		weir_sleep(WEIR_MS);
	weir_coro_cancel(coro);
	check(!weir_coro_join(coro, WEIR_NEVER, &res));
	check(!res && call_result == -ECANCELED);
	return 0;
}

static void cancelling_the_caller_cancels_what_it_called(void **state)
{
	assert_int_equal(run(cancel_call), 0);
	/* With room for one message the two answers come in different turns. */
	assert_int_equal(run_with_depth(cancel_call, 1), 0);
}

static int cancel_at_once(void)
{
	struct weir_coro *coro;
	int i, res;

	/* At every stage that a race of two threads can reach. */
	for (i = 0; i < 100; i++) {
		check(!weir_coro_spawn(NULL, call_body, NULL, &coro));
		weir_yield();
		if (i % 3)
			weir_sleep((i % 20) * WEIR_US);
		weir_coro_cancel(coro);
		check(!weir_coro_join(coro, WEIR_NEVER, &res));
		check(res == -ECANCELED || (!res && call_result == -ECANCELED));
	}
	return 0;
}

static void a_caller_that_is_cancelled_at_any_time_gets_its_stack_back_unused(void **state)
{
	assert_int_equal(run(cancel_at_once), 0);
}

/* --- full lanes --- */

static void nothing(void *arg)
{
}

static int call_where_body(void *arg)
{
	return weir_call(1, where, arg, WEIR_NEVER, NULL);
}

static int post_body(void *arg)
{
	return weir_post(1, nothing, NULL, weir_in(2 * WEIR_MS));
}

/* Holds core 1 and fills the lane to it. */
static int64_t held_until;

static int fill(void)
{
	blocked = false;
	go = false;
	held_until = 0;
	check(!weir_post_try(1, hold_core, &held_until));
	while (!__atomic_load_n(&blocked, __ATOMIC_SEQ_CST))
		weir_sleep(WEIR_MS);
	while (!weir_post_try(1, nothing, NULL))
		;
	check(weir_post_try(1, nothing, NULL) == -EAGAIN);
	return 0;
}

static int wait_for_room(void)
{
	struct weir_coro *call, *post, *posts[3];
	int arg = 1;
	int i, res;

	check(!fill());
	check(!weir_coro_spawn(NULL, call_where_body, &arg, &call));
	check(!weir_coro_spawn(NULL, post_body, NULL, &post));
	weir_yield();
	/* Both are in the queue for room. A deadline and a cancellation take them out. */
	check(!weir_coro_join(post, WEIR_NEVER, &res) && res == -ETIMEDOUT);
	weir_coro_cancel(call);
	check(!weir_coro_join(call, WEIR_NEVER, &res) && res == -ECANCELED);
	check(!ran);
	/* These wait until there is room. */
	for (i = 0; i < 3; i++)
		check(!weir_coro_spawn(NULL, call_where_body, &arg, &posts[i]));
	weir_yield();
	__atomic_store_n(&go, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < 3; i++)
		check(!weir_coro_join(posts[i], WEIR_NEVER, &res) && res == 0);
	check(ran == 3);
	return 0;
}

static void callers_wait_for_room_in_a_full_lane_and_may_leave(void **state)
{
	assert_int_equal(run_with_depth(wait_for_room, 4), 0);
}

#define CALLERS 100

static int back_and_forth(void *arg)
{
	int res = 0;
	int i;

	for (i = 0; i < 20; i++)
		if (weir_call((unsigned)(weir_core() ^ 1), where, &res, WEIR_NEVER, &res))
			return -EPROTO;
	return 0;
}

static int crowd_of(void)
{
	struct weir_coro *coros[CALLERS];
	int i, res;

	for (i = 0; i < CALLERS; i++)
		check(!weir_coro_spawn(NULL, back_and_forth, NULL, &coros[i]));
	for (i = 0; i < CALLERS; i++)
		check(!weir_coro_join(coros[i], WEIR_NEVER, &res) && !res);
	return 0;
}

static int crowd_service(void *arg)
{
	return crowd_of();
}

static void crowds_that_call_each_other_through_narrow_lanes_do_not_deadlock(void **state)
{
	ran = 0;
	thread_runtime_init(&rt, 2, crowd_service, NULL);
	rt.plan.mesh_depth = 2;
	assert_int_equal(thread_runtime_run(&rt), 0);
	assert_int_equal(ran, 2 * CALLERS * 20);
}

/* --- a callee without room --- */

#define COROS_MAX 4

/* Core 1 takes its last coroutines; the service of core 0 stays within its own. */
static void occupy(void *arg)
{
	struct weir_coro_opts opts = { .detached = true };
	int i;

	for (i = 0; i < COROS_MAX; i++)
		weir_coro_spawn(&opts, long_sleep, NULL, NULL);
	__atomic_store_n(&blocked, true, __ATOMIC_SEQ_CST);
}

static int exhaust(void)
{
	int arg = 0;
	int res = 5;

	blocked = false;
	check(!weir_post_try(1, occupy, NULL));
	while (!__atomic_load_n(&blocked, __ATOMIC_SEQ_CST))
		weir_sleep(WEIR_MS);
	check(weir_call(1, where, &arg, WEIR_NEVER, &res) == -ENOBUFS && res == 5);
	check(!weir_call_quick(1, where, &arg, WEIR_NEVER, &res) && res == 100);
	weir_stop();
	return 0;
}

static void a_callee_without_a_free_coroutine_says_so(void **state)
{
	scenario = exhaust;
	ran = 0;
	thread_runtime_init(&rt, 2, service, NULL);
	rt.plan.worker.coros.coros_max = COROS_MAX;
	assert_int_equal(thread_runtime_run(&rt), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_runs_there_and_its_result_comes_back),
		cmocka_unit_test(a_call_to_the_own_core_works_the_same),
		cmocka_unit_test(a_call_that_cannot_be_made_is_refused),
		cmocka_unit_test(a_call_whose_deadline_passed_in_the_queue_is_not_run),
		cmocka_unit_test(a_deadline_ends_the_waits_of_the_called_function),
		cmocka_unit_test(cancelling_the_caller_cancels_what_it_called),
		cmocka_unit_test(a_caller_that_is_cancelled_at_any_time_gets_its_stack_back_unused),
		cmocka_unit_test(callers_wait_for_room_in_a_full_lane_and_may_leave),
		cmocka_unit_test(crowds_that_call_each_other_through_narrow_lanes_do_not_deadlock),
		cmocka_unit_test(a_callee_without_a_free_coroutine_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
