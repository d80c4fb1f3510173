/* SPDX-License-Identifier: MIT */
/*
 * test_chain.c - then, recover, finally and timeout: order, values, cancellation, length.
 */
#include "on_worker.h"

static unsigned drops;

static void count_drop(void *value)
{
	(void)value;
	drops++;
}

static ssize_t add_one(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res + 1;
}

static ssize_t count_call(struct weir_result *result, void *arg)
{
	++*(unsigned *)arg;
	return result->res;
}

static ssize_t fail_with(struct weir_result *result, void *arg)
{
	(void)result;
	return *(int *)arg;
}

static ssize_t go_on_with(struct weir_result *result, void *arg)
{
	return weir_follow(result, arg);
}

static void links_run_one_after_the_other(void)
{
	struct pair p = pair();
	struct weir_future *future = p.future;

	for (int i = 0; i < 10; i++)
		future = weir_then(future, add_one, NULL);
	weir_promise_resolve(&p.promise, 5);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 15);
}

/* Each link is a task of its own: deep recursion would end the 64 KiB stack long before. */
static void a_million_links_take_no_stack(void)
{
	struct pair p = pair();
	struct weir_future *future = p.future;

	weir_futures_set_max(MILLION + 1);
	for (int i = 0; i < MILLION; i++)
		future = weir_then(future, add_one, NULL);
	assert_int_equal(info().count, MILLION + 1);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), MILLION);
}

static void a_rejection_passes_a_million_links_and_a_cancel_too(void)
{
	for (int i = 0; i < 2; i++) {
		struct pair p = pair();
		struct weir_future *future = p.future;

		weir_futures_set_max(MILLION + 1);
		for (int k = 0; k < MILLION; k++)
			future = weir_then(future, add_one, NULL);
		if (i == 0)
			weir_promise_resolve(&p.promise, -EIO);
		else
			assert_int_equal(weir_future_cancel(future), 0);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), i ? -ECANCELED : -EIO);
		weir_promise_drop(&p.promise);
	}
}

struct countdown {
	int left;
	size_t high;
};

static ssize_t next_round(struct weir_result *result, void *arg)
{
	struct countdown *countdown = arg;
	struct weir_promise promise;
	struct weir_future *future;

	if (info().count > countdown->high)
		countdown->high = info().count;
	if (countdown->left-- == 0)
		return result->res;
	assert_int_equal(weir_promise_create(&promise, &future), 0);
	weir_promise_resolve(&promise, result->res + 1);
	return weir_follow(result, future);
}

static void a_million_futures_in_turn_are_never_many_at_once(void)
{
	struct countdown countdown = { .left = MILLION };
	struct weir_future *future = weir_future_of(0);

	for (int i = 0; i < MILLION; i += 1000) {
		for (int k = 0; k < 1000; k++)
			future = weir_then(future, next_round, &countdown);
		future = weir_future_of(weir_await(future, WEIR_NEVER, NULL));
	}
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), MILLION);
	assert_true(countdown.high <= 1001);
}

/* A cycle is looked for at each step: it must not make a long chain quadratic. */
static void following_fresh_futures_in_a_long_chain_stays_linear(void)
{
	struct countdown countdown = { .left = MILLION };
	struct pair p = pair();
	struct weir_future *future = p.future;

	weir_futures_set_max(MILLION + 8);
	for (int i = 0; i < MILLION; i++)
		future = weir_then(future, next_round, &countdown);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), MILLION);
}

static int place, other_place;

static ssize_t replace_value(struct weir_result *result, void *arg)
{
	assert_true(result->value == &place);
	weir__value_drop(result->value, result->drop);
	result->value = arg;
	return result->res;
}

static void a_value_goes_through_steps_that_leave_it(void)
{
	struct pair p = pair();
	unsigned calls = 0;
	void *value;

	drops = 0;
	weir_promise_resolve_value(&p.promise, 1, &place, count_drop);
	p.future = weir_finally(weir_then(p.future, count_call, &calls), count_call, &calls);
	p.future = weir_recover(p.future, count_call, &calls);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 1);
	assert_true(value == &place);
	assert_int_equal(calls, 2);
	assert_int_equal(drops, 0);
}

static void a_step_may_give_another_value(void)
{
	struct pair p = pair();
	void *value;

	drops = 0;
	weir_promise_resolve_value(&p.promise, 1, &place, count_drop);
	p.future = weir_then(p.future, replace_value, &other_place);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 1);
	assert_true(value == &other_place);
	assert_int_equal(drops, 1);
}

static void a_step_that_fails_or_goes_on_drops_the_value_it_left(void)
{
	struct pair a = pair(), b = pair();
	int error = -EIO;

	drops = 0;
	weir_promise_resolve_value(&a.promise, 1, &place, count_drop);
	a.future = weir_then(a.future, fail_with, &error);
	assert_int_equal(weir_await(a.future, WEIR_NEVER, NULL), -EIO);
	assert_int_equal(drops, 1);
	weir_promise_resolve_value(&b.promise, 1, &place, count_drop);
	b.future = weir_then(b.future, go_on_with, weir_future_of(4));
	assert_int_equal(weir_await(b.future, WEIR_NEVER, NULL), 4);
	assert_int_equal(drops, 2);
}

static void finally_sees_both_fates_and_changes_neither(void)
{
	static const ssize_t fates[] = { 7, -EIO };

	for (int i = 0; i < 2; i++) {
		unsigned calls = 0;
		struct weir_future *future;

		future = weir_finally(weir_future_of(fates[i]), count_call, &calls);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), fates[i]);
		assert_int_equal(calls, 1);
	}
}

static void what_finally_returns_does_not_replace_a_fulfilment(void)
{
	int other = 3;

	assert_int_equal(weir_await(weir_finally(weir_future_of(7), fail_with, &other), WEIR_NEVER,
				    NULL), 7);
}

static ssize_t note_value(struct weir_result *result, void *arg)
{
	*(void **)arg = result->value;
	return 0;
}

static void a_rejection_reaches_recover_without_the_value_that_was_left(void)
{
	struct pair p = pair();
	int error = -EIO;
	void *value = &error;

	drops = 0;
	weir_promise_resolve_value(&p.promise, 1, &place, count_drop);
	p.future = weir_recover(weir_then(p.future, fail_with, &error), note_value, &value);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 0);
	assert_null(value);
	assert_int_equal(drops, 1);
}

struct order {
	struct weir_tap tap;
	char *text;
};

static void order_tap(struct weir_tap *tap, ssize_t res, void *value)
{
	assert_int_equal(res, 1);
	assert_null(value);
	strcat(weir_container_of(tap, struct order, tap)->text, "tap ");
}

static ssize_t order_step(struct weir_result *result, void *arg)
{
	strcat(arg, "step");
	return result->res;
}

static void a_tap_sees_the_result_before_the_next_step(void)
{
	for (int i = 0; i < 2; i++) {
		struct pair p = pair();
		char text[16] = "";
		struct order order = { .text = text };

		if (i == 0)
			weir_promise_resolve(&p.promise, 1);
		assert_int_equal(weir_future_tap(p.future, &order.tap, order_tap), 0);
		p.future = weir_then(p.future, order_step, text);
		if (i == 1)
			weir_promise_resolve(&p.promise, 1);
		assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 1);
		assert_string_equal(text, "tap step");
	}
}

static void finally_that_fails_rejects_and_drops_the_value(void)
{
	struct pair p = pair();
	int error = -ENOSPC;

	drops = 0;
	weir_promise_resolve_value(&p.promise, 1, &place, count_drop);
	p.future = weir_finally(p.future, fail_with, &error);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -ENOSPC);
	assert_int_equal(drops, 1);
}

static void finally_waits_for_what_its_step_gives_and_keeps_the_value(void)
{
	static const ssize_t fates[] = { 100, -ENOSPC };

	for (int i = 0; i < 2; i++) {
		struct pair p = pair(), cleanup = pair();
		void *value = NULL;

		drops = 0;
		weir_promise_resolve_value(&p.promise, 1, &place, count_drop);
		p.future = weir_finally(p.future, go_on_with, cleanup.future);
		turns(3);
		assert_false(weir_future_is_settled(p.future));
		weir_promise_resolve(&cleanup.promise, fates[i]);
		assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), i ? -ENOSPC : 1);
		assert_int_equal(drops, i);
		assert_true(value == (i ? NULL : &place));
	}
}

static void cancelling_the_last_link_cancels_the_first_and_recover_sees_it(void)
{
	struct pair p = pair();
	unsigned thens = 0, recovers = 0;
	struct weir_future *future;

	future = weir_recover(weir_then(p.future, count_call, &thens), count_call, &recovers);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_false(weir_promise_is_wanted(&p.promise));
	assert_int_equal(weir_promise_resolve(&p.promise, 1), -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(thens, 0);
	assert_int_equal(recovers, 1);
}

static ssize_t cancel_then_follow(struct weir_result *result, void *arg)
{
	struct weir_future **futures = arg;

	weir_future_cancel(futures[0]);
	return weir_follow(result, futures[1]);
}

static void what_a_cancelled_step_goes_on_with_is_cancelled_too(void)
{
	struct pair p = pair();
	struct weir_future *futures[] = { NULL, p.future };

	futures[0] = weir_then(weir_future_of(1), cancel_then_follow, futures);
	turns(3);
	assert_int_equal(weir_promise_resolve(&p.promise, 1), -ECANCELED);
	assert_int_equal(weir_await(futures[0], WEIR_NEVER, NULL), -ECANCELED);
}

static void a_dropped_chain_still_runs(void)
{
	struct pair p = pair();
	unsigned calls = 0;

	weir_future_drop(weir_then(weir_then(p.future, count_call, &calls), count_call, &calls));
	assert_true(weir_promise_is_wanted(&p.promise));
	weir_promise_resolve(&p.promise, 1);
	turns(4);
	assert_int_equal(calls, 2);
}

static ssize_t follow_twice(struct weir_result *result, void *arg)
{
	assert_int_equal(weir_follow(result, weir_future_of(1)), 0);
	assert_int_equal(weir_follow(result, arg), -EBUSY);
	return 0;
}

static void a_step_goes_on_with_one_future_only(void)
{
	struct pair p = pair();
	struct weir_future *future = weir_then(weir_future_of(5), follow_twice, p.future);

	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
	weir_promise_resolve(&p.promise, 2);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 2);
}

static void a_step_cannot_go_on_with_no_future(void)
{
	struct weir_future *future = weir_then(weir_future_of(5), go_on_with, NULL);

	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EINVAL);
}

static void a_timeout_cancels_and_rejects_at_its_deadline(void)
{
	struct pair p = pair();
	int64_t begin = weir_now();
	struct weir_future *future = weir_timeout(p.future, weir_in(5 * WEIR_MS));

	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ETIMEDOUT);
	assert_true(weir_now() >= begin + 5 * WEIR_MS);
	assert_int_equal(weir_promise_resolve(&p.promise, 1), -ECANCELED);
}

static void a_timeout_passes_what_came_before_it(void)
{
	size_t armed = weir__self->wheel.count;
	struct pair p = pair();
	struct weir_future *future = weir_timeout(p.future, weir_in(5 * WEIR_MS));
	void *value = NULL;

	weir_promise_resolve_value(&p.promise, 3, &place, NULL);
	assert_int_equal(weir_await(future, WEIR_NEVER, &value), 3);
	assert_true(value == &place);
	assert_int_equal(weir__self->wheel.count, armed);
}

static int resolve_later(void *arg)
{
	weir_sleep(20 * WEIR_MS);
	return weir_promise_resolve(arg, 9);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void a_timeout_keeps_what_came_in_spite_of_it(void)
{
	struct pair p = pair();

	weir_promise_on_cancel(&p.promise, nothing, NULL);
	go(resolve_later, &p.promise);
	assert_int_equal(weir_await(weir_timeout(p.future, weir_in(WEIR_MS)), WEIR_NEVER, NULL), 9);
}

static void a_cancelled_timeout_is_cancelled_not_timed_out(void)
{
	struct pair p = pair();
	struct weir_future *future = weir_timeout(p.future, weir_in(5 * WEIR_MS));

	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	weir_promise_drop(&p.promise);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(links_run_one_after_the_other),
		on_worker(a_million_links_take_no_stack),
		on_worker(a_rejection_passes_a_million_links_and_a_cancel_too),
		on_worker(a_million_futures_in_turn_are_never_many_at_once),
		on_worker(following_fresh_futures_in_a_long_chain_stays_linear),
		on_worker(a_value_goes_through_steps_that_leave_it),
		on_worker(a_step_may_give_another_value),
		on_worker(a_step_that_fails_or_goes_on_drops_the_value_it_left),
		on_worker(finally_sees_both_fates_and_changes_neither),
		on_worker(what_finally_returns_does_not_replace_a_fulfilment),
		on_worker(a_rejection_reaches_recover_without_the_value_that_was_left),
		on_worker(a_tap_sees_the_result_before_the_next_step),
		on_worker(finally_that_fails_rejects_and_drops_the_value),
		on_worker(finally_waits_for_what_its_step_gives_and_keeps_the_value),
		on_worker(cancelling_the_last_link_cancels_the_first_and_recover_sees_it),
		on_worker(what_a_cancelled_step_goes_on_with_is_cancelled_too),
		on_worker(a_dropped_chain_still_runs),
		on_worker(a_step_goes_on_with_one_future_only),
		on_worker(a_step_cannot_go_on_with_no_future),
		on_worker(a_timeout_cancels_and_rejects_at_its_deadline),
		on_worker(a_timeout_passes_what_came_before_it),
		on_worker(a_timeout_keeps_what_came_in_spite_of_it),
		on_worker(a_cancelled_timeout_is_cancelled_not_timed_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
