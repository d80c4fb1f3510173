/* SPDX-License-Identifier: MIT */
/*
 * test_wait.c - the wait protocol: one end for each wait, whoever comes first; nobody
 * returns before wake().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/waiting.h"
#include "core/worker.h"
#include "tests/support/fake_driver.h"

static struct fake_driver fake;
static struct weir_worker worker;

/* A waiter that leaves at once when asked, or, like an op in flight, one that does not. */
struct op {
	struct weir_wait wait;
	bool in_flight;
	unsigned asked;
	int reason;
	int64_t deadline_ns;
	struct weir_coro *coro;
	int res;
};

static void ask(struct weir_wait *wait, int reason)
{
	struct op *op = weir_container_of(wait, struct op, wait);

	op->asked++;
	op->reason = reason;
	if (!op->in_flight)
		weir__wait_wake(wait, reason);
}

static int waits(void *arg)
{
	struct op *op = arg;
	int r = weir__wait_check(op->deadline_ns);

	if (r)
		return r;
	weir__wait_init(&op->wait);
	op->res = weir__wait_park(&op->wait, "op", ask, op->deadline_ns);
	return op->res;
}

static void start(struct op *op)
{
	assert_int_equal(weir_coro_spawn(NULL, waits, op, &op->coro), 0);
	weir__worker_turn(&worker, 0);
}

static int finish(struct op *op)
{
	int res = 0;

	while (worker.live) {
		bool is_ready = !weir__queue_is_empty(&worker.ready);

		assert_int_equal(weir__worker_turn(&worker, is_ready ? 0 : WEIR_NEVER), 0);
	}
	assert_int_equal(weir_coro_join(op->coro, WEIR_NEVER, &res), 0);
	return res;
}

static int setup(void **state)
{
	const struct weir_worker_opts opts = { .coros.coros_max = 8 };

	fake_driver_init(&fake);
	return weir__worker_init(&worker, &fake.driver, &opts);
}

static int teardown(void **state)
{
	assert_int_equal(worker.wheel.count, 0);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
	return 0;
}

static void park_returns_what_wake_gave(void **state)
{
	struct op op = { .deadline_ns = WEIR_NEVER };

	start(&op);
	weir__wait_wake(&op.wait, 42);
	assert_int_equal(finish(&op), 42);
	assert_int_equal(op.asked, 0);
}

static int woken_early(void *arg)
{
	struct op *op = arg;
	uint64_t progress = worker.progress;

	weir__wait_init(&op->wait);
	weir__wait_wake(&op->wait, 5);
	op->res = weir__wait_park(&op->wait, "op", ask, 1);
	assert_true(worker.progress == progress);
	return op->res;
}

static void a_wake_before_the_park_does_not_switch(void **state)
{
	struct op op = { .deadline_ns = 0 };

	assert_int_equal(weir_coro_spawn(NULL, woken_early, &op, &op.coro), 0);
	assert_int_equal(finish(&op), 5);
	assert_int_equal(op.asked, 0);
}

static void a_waiter_that_can_leave_leaves_when_cancelled(void **state)
{
	struct op op = { .deadline_ns = WEIR_NEVER };

	start(&op);
	weir_coro_cancel(op.coro);
	assert_int_equal(finish(&op), -ECANCELED);
	assert_int_equal(op.asked, 1);
	assert_int_equal(op.wait.reason, -ECANCELED);
}

/* Photon returned from an interrupted wait while its op was in flight: the frame was dead. */
static void a_cancelled_op_in_flight_is_waited_for(void **state)
{
	struct op op = { .deadline_ns = WEIR_NEVER, .in_flight = true };

	start(&op);
	weir_coro_cancel(op.coro);
	weir__worker_turn(&worker, 0);
	assert_int_equal(worker.live, 1);
	assert_int_equal(op.asked, 1);
	weir__wait_wake(&op.wait, 100);
	assert_int_equal(finish(&op), 100);
	assert_int_equal(op.wait.reason, -ECANCELED);
}

static void the_deadline_asks_for_the_end(void **state)
{
	struct op op = { .deadline_ns = weir_in(WEIR_MS) };

	start(&op);
	assert_int_equal(finish(&op), -ETIMEDOUT);
	assert_int_equal(op.wait.reason, -ETIMEDOUT);
	assert_in_range(fake.now_ns, WEIR_S + WEIR_MS, WEIR_S + 2 * WEIR_MS);
}

static void cancelled_and_then_too_late_is_asked_once(void **state)
{
	struct op op = { .deadline_ns = weir_in(WEIR_MS), .in_flight = true };

	start(&op);
	weir_coro_cancel(op.coro);
	weir__worker_turn(&worker, WEIR_NEVER);
	weir__worker_turn(&worker, weir_in(WEIR_S));
	assert_int_equal(op.asked, 1);
	assert_int_equal(op.reason, -ECANCELED);
	weir__wait_wake(&op.wait, -ECANCELED);
	assert_int_equal(finish(&op), -ECANCELED);
}

static void too_late_and_then_cancelled_is_asked_once(void **state)
{
	struct op op = { .deadline_ns = weir_in(WEIR_MS), .in_flight = true };

	start(&op);
	weir__worker_turn(&worker, WEIR_NEVER);
	weir_coro_cancel(op.coro);
	assert_int_equal(op.asked, 1);
	assert_int_equal(op.reason, -ETIMEDOUT);
	weir__wait_wake(&op.wait, -ETIMEDOUT);
	assert_int_equal(finish(&op), -ETIMEDOUT);
}

static void cancelled_between_wake_and_run_the_result_counts(void **state)
{
	struct op op = { .deadline_ns = WEIR_NEVER };

	start(&op);
	weir__wait_wake(&op.wait, 3);
	weir_coro_cancel(op.coro);
	assert_int_equal(finish(&op), 3);
	assert_int_equal(op.asked, 0);
}

static void too_late_between_wake_and_run_the_result_counts(void **state)
{
	struct op op = { .deadline_ns = weir_in(WEIR_MS) };

	start(&op);
	weir__wait_wake(&op.wait, 3);
	fake.now_ns += WEIR_S;
	assert_int_equal(weir__wheel_advance(&worker.wheel, fake.now_ns), 1);
	assert_int_equal(op.asked, 0);
	assert_int_equal(finish(&op), 3);
	assert_int_equal(op.wait.reason, 0);
}

static void a_wait_that_ended_in_time_leaves_no_timer_behind(void **state)
{
	struct op op = { .deadline_ns = weir_in(WEIR_MS) };

	start(&op);
	assert_int_equal(worker.wheel.count, 1);
	weir__wait_wake(&op.wait, 3);
	assert_int_equal(finish(&op), 3);
	assert_int_equal(worker.wheel.count, 0);
}

static int cancelled_since_the_check(void *arg)
{
	struct op *op = arg;

	weir__wait_init(&op->wait);
	weir_coro_cancel(weir_coro_self());
	op->res = weir__wait_park(&op->wait, "op", ask, WEIR_NEVER);
	return op->res;
}

static void cancelled_between_check_and_park_is_asked(void **state)
{
	struct op op = { .deadline_ns = 0 };

	assert_int_equal(weir_coro_spawn(NULL, cancelled_since_the_check, &op, &op.coro), 0);
	assert_int_equal(finish(&op), -ECANCELED);
	assert_int_equal(op.asked, 1);
}

static void cancelled_between_check_and_park_an_op_in_flight_is_waited_for(void **state)
{
	struct op op = { .in_flight = true };

	assert_int_equal(weir_coro_spawn(NULL, cancelled_since_the_check, &op, &op.coro), 0);
	weir__worker_turn(&worker, 0);
	assert_int_equal(op.asked, 1);
	assert_int_equal(worker.live, 1);
	weir__wait_wake(&op.wait, 9);
	assert_int_equal(finish(&op), 9);
}

static int waits_for_good(void *arg)
{
	struct op *op = arg;

	weir__wait_init(&op->wait);
	op->res = weir__wait_park(&op->wait, "op", NULL, weir_in(WEIR_MS));
	return op->res;
}

static void a_wait_without_a_cancel_function_ends_by_wake_only(void **state)
{
	struct op op = { .res = 0 };

	assert_int_equal(weir_coro_spawn(NULL, waits_for_good, &op, &op.coro), 0);
	weir__worker_turn(&worker, 0);
	weir_coro_cancel(op.coro);
	weir__worker_turn(&worker, weir_in(WEIR_S));
	assert_int_equal(worker.live, 1);
	weir__wait_wake(&op.wait, 11);
	assert_int_equal(finish(&op), 11);
}

static void nothing_is_started_after_the_deadline(void **state)
{
	struct op op = { .deadline_ns = 1 };

	start(&op);
	assert_int_equal(finish(&op), -ETIMEDOUT);
	assert_int_equal(op.asked, 0);
}

static void outside_a_coroutine_nothing_is_started(void **state)
{
	assert_int_equal(weir__wait_check(WEIR_NEVER), -EDEADLK);
}

/* Two started at once, waited for one after the other. */
static struct op first, second;

static int waits_for_two(void *arg)
{
	weir__wait_init(&first.wait);
	weir__wait_init(&second.wait);
	first.res = weir__wait_park(&first.wait, "first", ask, WEIR_NEVER);
	second.res = weir__wait_park(&second.wait, "second", ask, WEIR_NEVER);
	return 0;
}

static void a_wake_for_the_other_of_two_waits_is_kept(void **state)
{
	first = second = (struct op){ .in_flight = true };
	assert_int_equal(weir_coro_spawn(NULL, waits_for_two, NULL, &first.coro), 0);
	weir__worker_turn(&worker, 0);
	weir__wait_wake(&second.wait, 2);
	weir__worker_turn(&worker, 0);
	assert_int_equal(worker.live, 1);
	weir__wait_wake(&first.wait, 1);
	assert_int_equal(finish(&first), 0);
	assert_int_equal(first.res, 1);
	assert_int_equal(second.res, 2);
}

static void both_of_two_waits_are_asked_when_cancelled(void **state)
{
	first = second = (struct op){ .in_flight = false };
	assert_int_equal(weir_coro_spawn(NULL, waits_for_two, NULL, &first.coro), 0);
	weir__worker_turn(&worker, 0);
	weir_coro_cancel(first.coro);
	assert_int_equal(finish(&first), 0);
	assert_int_equal(first.res, -ECANCELED);
	assert_int_equal(second.res, -ECANCELED);
}

#define wait_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		wait_test(park_returns_what_wake_gave),
		wait_test(a_wake_before_the_park_does_not_switch),
		wait_test(a_waiter_that_can_leave_leaves_when_cancelled),
		wait_test(a_cancelled_op_in_flight_is_waited_for),
		wait_test(the_deadline_asks_for_the_end),
		wait_test(cancelled_and_then_too_late_is_asked_once),
		wait_test(too_late_and_then_cancelled_is_asked_once),
		wait_test(cancelled_between_wake_and_run_the_result_counts),
		wait_test(too_late_between_wake_and_run_the_result_counts),
		wait_test(a_wait_that_ended_in_time_leaves_no_timer_behind),
		wait_test(cancelled_between_check_and_park_is_asked),
		wait_test(cancelled_between_check_and_park_an_op_in_flight_is_waited_for),
		wait_test(a_wait_without_a_cancel_function_ends_by_wake_only),
		wait_test(nothing_is_started_after_the_deadline),
		wait_test(outside_a_coroutine_nothing_is_started),
		wait_test(a_wake_for_the_other_of_two_waits_is_kept),
		wait_test(both_of_two_waits_are_asked_when_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
