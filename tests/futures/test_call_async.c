/* SPDX-License-Identifier: MIT */
/*
 * test_call_async.c - functions called on another core, as futures: on one worker, where every
 * order is the test's own, and between two threads.
 */
#include "on_worker.h"

#include "core/weir_mesh.h"
#include "futures/weir_call_async.h"
#include "tests/support/thread_runtime.h"

static unsigned ran;		/* atomic: functions that began */
static unsigned ended;		/* atomic: and returned */

static unsigned load(unsigned *counter)
{
	return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static void count(unsigned *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

static void reset(void)
{
	ran = 0;
	ended = 0;
}

static int returns(void *arg)
{
	count(&ran);
	if (!weir_coro_self())
		return -EFAULT;
	count(&ended);
	return *(int *)arg;
}

/* Until it is cancelled or its deadline passes; then what *arg says, or why it ended. */
static int sleeps(void *arg)
{
	int r;

	count(&ran);
	r = weir_sleep(3600 * WEIR_S);
	weir_coro_shield();
	weir_sleep(WEIR_MS);
	weir_coro_unshield();
	count(&ended);
	return arg ? *(int *)arg : r;
}

static ssize_t call_and_wait(weir_call_fn fn, void *arg, int64_t deadline_ns)
{
	return weir_await(weir_call_async(0, fn, arg, deadline_ns), WEIR_NEVER, NULL);
}

/* --- on one worker --- */

static void what_the_function_returns_is_the_result(void)
{
	int good = 7, bad = -EIO;
	struct weir_future *future;

	reset();
	future = weir_call_async(0, returns, &good, WEIR_NEVER);
	assert_int_equal(ran, 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 7);
	assert_int_equal(call_and_wait(returns, &bad, WEIR_NEVER), -EIO);
}

static void a_deadline_travels_with_the_call(void)
{
	reset();
	assert_int_equal(call_and_wait(sleeps, NULL, weir_in(WEIR_MS)), -ETIMEDOUT);
	assert_int_equal(ended, 1);
	assert_int_equal(call_and_wait(sleeps, NULL, weir_now()), -ETIMEDOUT);
	assert_int_equal(ran, 1);
	/* The caller's own is not the call's. */
	weir_coro_set_deadline(weir_in(WEIR_MS));
	assert_int_equal(weir_await(weir_call_async(0, sleeps, NULL, weir_in(WEIR_S)), WEIR_NEVER,
				    NULL),
			 -ETIMEDOUT);
	weir_coro_set_deadline(WEIR_NEVER);
}

static void a_cancel_travels_and_the_function_has_ended_then(void)
{
	struct weir_future *future;
	int late = 5;

	reset();
	future = weir_call_async(0, sleeps, NULL, WEIR_NEVER);
	weir_sleep(WEIR_MS);
	assert_int_equal(ran, 1);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_future_cancel(future), 0);
	turns(3);
	assert_false(weir_future_is_settled(future));
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(ended, 1);
	/* What it gives all the same is the result. */
	assert_int_equal(weir_await(weir_call_async(0, sleeps, &late, WEIR_NEVER),
				    weir_in(WEIR_MS), NULL),
			 5);
	assert_int_equal(weir_await(weir_call_async(0, sleeps, NULL, WEIR_NEVER),
				    weir_in(WEIR_MS), NULL),
			 -ETIMEDOUT);
	assert_int_equal(ended, 3);
}

static void cancelled_before_it_began_it_is_not_run(void)
{
	struct weir_future *future;
	int number = 1;

	reset();
	future = weir_call_async(0, returns, &number, WEIR_NEVER);
	weir_future_cancel(future);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(ran, 0);
}

static int returns_when_told(void *arg)
{
	struct weir_future *future = arg;

	count(&ran);
	weir_await(future, WEIR_NEVER, NULL);
	count(&ended);
	return 3;
}

/* The answer is on its way when the cancel is sent: both arrive, and nothing is used after. */
static void a_cancel_may_cross_the_answer(void)
{
	struct pair p = pair();
	struct weir_future *future;

	reset();
	future = weir_call_async(0, returns_when_told, p.future, WEIR_NEVER);
	weir_sleep(WEIR_MS);
	assert_int_equal(ran, 1);
	weir_promise_resolve(&p.promise, 0);
	while (!ended)
		weir_yield();
	assert_false(weir_future_is_settled(future));
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 3);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void where_there_is_no_room_it_waits_its_turn_or_is_taken_back(void)
{
	struct weir_future *stays, *leaves;
	int number = 1;

	reset();
	while (weir_post_try(0, nothing, NULL) == 0)
		;
	stays = weir_call_async(0, returns, &number, WEIR_NEVER);
	leaves = weir_call_async(0, returns, &number, WEIR_NEVER);
	assert_int_equal(weir_future_cancel(leaves), 0);
	assert_true(weir_future_is_settled(leaves));
	assert_int_equal(weir_await(leaves, 0, NULL), -ECANCELED);
	assert_int_equal(weir_await(stays, WEIR_NEVER, NULL), 1);
	assert_int_equal(ran, 1);
}

static void dropped_it_runs_to_its_end(void)
{
	static int number = 1;

	reset();
	weir_future_drop(weir_call_async(0, returns, &number, WEIR_NEVER));
	turns(5);
	weir_sleep(WEIR_MS);
	assert_int_equal(ended, 1);
}

static void many_at_once_are_joined(void)
{
	struct weir_future *parts[100];
	struct weir_result results[100];
	int numbers[100];

	for (int i = 0; i < 100; i++) {
		numbers[i] = i;
		parts[i] = weir_call_async(0, returns, &numbers[i], WEIR_NEVER);
	}
	assert_int_equal(weir_await(weir_join(WEIR_ALL, parts, 100, results), WEIR_NEVER, NULL), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(results[i].res, i);
}

static void what_cannot_be_called_is_refused(void)
{
	struct pair p;
	int number = 1;

	reset();
	assert_int_equal(weir_await(weir_call_async(1, returns, &number, WEIR_NEVER), 0, NULL),
			 -EINVAL);
	assert_int_equal(weir_await(weir_call_async(0, NULL, &number, WEIR_NEVER), 0, NULL),
			 -EINVAL);
	weir_futures_set_max(1);
	p = pair();
	assert_int_equal(weir_await(weir_call_async(0, returns, &number, WEIR_NEVER), 0, NULL),
			 -ENOBUFS);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(weir_await(p.future, 0, NULL), 0);
	assert_int_equal(ran, 0);
}

static void outside_a_worker_nothing_is_called(void **state)
{
	int number = 1;

	(void)state;
	assert_int_equal(weir_await(weir_call_async(0, returns, &number, WEIR_NEVER), 0, NULL),
			 -EDEADLK);
}

/* --- between threads --- */

static struct thread_runtime rt;
static int (*scenario)(void);

static int service(void *arg)
{
	(void)arg;
	return weir_core() == 0 ? scenario() : 0;
}

static int run_cores(int (*fn)(void), unsigned cores, unsigned depth)
{
	scenario = fn;
	reset();
	thread_runtime_init(&rt, cores, service, NULL);
	rt.plan.mesh_depth = depth;
	return thread_runtime_run(&rt);
}

/* In a service: fails the run by the line where it broke. */
#define check(x)                                                                                  \
	do {                                                                                      \
		if (!(x))                                                                         \
			return -__LINE__;                                                         \
	} while (0)

static int where(void *arg)
{
	(void)arg;
	return weir_core();
}

static int call_all(void)
{
	struct weir_future *parts[4];
	struct weir_result results[4];

	for (unsigned i = 0; i < 4; i++)
		parts[i] = weir_call_async(i, where, NULL, WEIR_NEVER);
	check(weir_await(weir_join(WEIR_ALL, parts, 4, results), WEIR_NEVER, NULL) == 0);
	for (int i = 0; i < 4; i++)
		check(results[i].res == i);
	return 0;
}

static void it_runs_on_the_core_that_was_named(void **state)
{
	(void)state;
	assert_int_equal(run_cores(call_all, 4, 64), 0);
}

static int cancel_there(void)
{
	struct weir_future *future = weir_call_async(1, sleeps, NULL, WEIR_NEVER);

	while (!load(&ran))
		weir_sleep(WEIR_MS);
	check(weir_future_cancel(future) == 0);
	check(weir_await(future, WEIR_NEVER, NULL) == -ECANCELED);
	check(load(&ended) == 1);
	return 0;
}

static void a_cancel_reaches_the_other_core(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth <= 64; depth *= 8)
		assert_int_equal(run_cores(cancel_there, 2, depth), 0);
}

#define CALLS 8

static int takes_a_moment(void *arg)
{
	int *number = arg;
	int r = weir_sleep(*number % 7 * 10 * WEIR_US);

	weir_post_try(0, nothing, NULL);
	*number = -*number;
	return r;
}

/* At every stage that a race of two threads can reach, through lanes that are always full. */
static int cancel_at_any_time(void)
{
	for (int round = 0; round < 300; round++) {
		struct weir_future *futures[CALLS];
		int numbers[CALLS];

		for (int i = 0; i < CALLS; i++) {
			numbers[i] = round + i + 1;
			futures[i] = weir_call_async(1, takes_a_moment, &numbers[i], WEIR_NEVER);
		}
		if (round % 3)
			weir_sleep(round % 20 * 5 * WEIR_US);
		for (int i = 0; i < CALLS; i++)
			if ((round + i) % 4)
				weir_future_cancel(futures[i]);
		for (int i = 0; i < CALLS; i++) {
			ssize_t res = weir_await(futures[i], WEIR_NEVER, NULL);

			check(res == 0 || res == -ECANCELED);
			check(res == -ECANCELED || numbers[i] < 0);
		}
	}
	return 0;
}

static void cancelled_at_any_time_it_ends_once(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth <= 16; depth *= 4)
		assert_int_equal(run_cores(cancel_at_any_time, 2, depth), 0);
}

static int naps(void *arg)
{
	(void)arg;
	weir_sleep(5 * WEIR_MS);
	count(&ended);
	return 0;
}

static int leave(void)
{
	weir_future_drop(weir_call_async(1, naps, NULL, WEIR_NEVER));
	return 0;
}

static void the_runtime_does_not_end_before_it(void **state)
{
	(void)state;
	assert_int_equal(run_cores(leave, 2, 64), 0);
	assert_int_equal(ended, 1);
}

static int fill_there(void)
{
	struct weir_future *futures[9];
	unsigned refused = 0;

	for (int i = 0; i < 9; i++)
		futures[i] = weir_call_async(1, sleeps, NULL, WEIR_NEVER);
	while (load(&ran) < 7)
		weir_sleep(WEIR_MS);
	for (int i = 0; i < 9; i++)
		refused += weir_await(futures[i], weir_in(WEIR_MS), NULL) == -ENOBUFS;
	check(refused >= 1);
	check(load(&ran) == load(&ended));
	return 0;
}

static void a_core_without_a_free_coroutine_says_so(void **state)
{
	(void)state;
	scenario = fill_there;
	reset();
	thread_runtime_init(&rt, 2, service, NULL);
	rt.plan.worker.coros.coros_max = 8;
	assert_int_equal(thread_runtime_run(&rt), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(what_the_function_returns_is_the_result),
		on_worker(a_deadline_travels_with_the_call),
		on_worker(a_cancel_travels_and_the_function_has_ended_then),
		on_worker(cancelled_before_it_began_it_is_not_run),
		on_worker(a_cancel_may_cross_the_answer),
		on_worker(where_there_is_no_room_it_waits_its_turn_or_is_taken_back),
		on_worker(dropped_it_runs_to_its_end),
		on_worker(many_at_once_are_joined),
		on_worker(what_cannot_be_called_is_refused),
		cmocka_unit_test(outside_a_worker_nothing_is_called),
		cmocka_unit_test(it_runs_on_the_core_that_was_named),
		cmocka_unit_test(a_cancel_reaches_the_other_core),
		cmocka_unit_test(cancelled_at_any_time_it_ends_once),
		cmocka_unit_test(the_runtime_does_not_end_before_it),
		cmocka_unit_test(a_core_without_a_free_coroutine_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
