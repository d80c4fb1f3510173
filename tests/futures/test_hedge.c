/* SPDX-License-Identifier: MIT */
/*
 * test_hedge.c - a second request beside a slow one: when it is sent, who wins, that the loser has
 * ended before anybody goes on.
 */
#include "on_worker.h"

#include "futures/weir_retry.h"

static struct {
	struct pair pairs[2];
	struct weir_future *at[2];	/* what start gives instead, unless NULL */
	unsigned started;
	unsigned cancels;
	bool hooked;
	struct weir_future *cancel;	/* the attempt cancels it */
	unsigned drops;
} seen;

static void note_cancel(void *arg)
{
	(void)arg;
	seen.cancels++;
}

static void count_drop(void *value)
{
	(void)value;
	seen.drops++;
}

static struct weir_future *attempt(unsigned index, void *arg)
{
	assert_ptr_equal(arg, &seen);
	assert_int_equal(index, seen.started);
	assert_true(index < 2);
	assert_null(weir_coro_self());
	seen.started++;
	if (seen.cancel)
		weir_future_cancel(seen.cancel);
	if (seen.at[index])
		return seen.at[index];
	seen.pairs[index] = pair();
	if (seen.hooked)
		weir_promise_on_cancel(&seen.pairs[index].promise, note_cancel, NULL);
	return seen.pairs[index].future;
}

static struct weir_future *hedge(int64_t delay_ns)
{
	memset(&seen, 0, sizeof(seen));
	seen.hooked = true;
	return weir_hedge(delay_ns, attempt, &seen);
}

static void resolve(unsigned index, ssize_t res)
{
	assert_int_equal(weir_promise_resolve(&seen.pairs[index].promise, res), 0);
}

static uint64_t metric(unsigned id)
{
	return weir__metric_get(&weir__self->metrics, id);
}

/* --- when --- */

static void what_is_quick_is_asked_once(void)
{
	struct weir_future *future = hedge(WEIR_MS);
	int number;
	void *value = NULL;

	assert_int_equal(seen.started, 0);
	turns(2);
	assert_int_equal(seen.started, 1);
	weir_promise_resolve_value(&seen.pairs[0].promise, 5, &number, count_drop);
	assert_int_equal(weir_await(future, WEIR_NEVER, &value), 5);
	assert_ptr_equal(value, &number);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(seen.started, 1);
	assert_int_equal(metric(WEIR__M_HEDGES), 0);
}

static void what_takes_longer_than_the_delay_is_asked_again(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	weir_sleep(WEIR_MS - 100 * WEIR_US);
	assert_int_equal(seen.started, 1);
	weir_sleep(200 * WEIR_US);
	assert_int_equal(seen.started, 2);
	assert_int_equal(seen.cancels, 0);
	resolve(0, 1);
	turns(2);
	assert_int_equal(seen.cancels, 1);
	resolve(1, -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
	assert_int_equal(metric(WEIR__M_HEDGES), 1);
	assert_int_equal(metric(WEIR__M_HEDGES_WON), 0);
}

static void without_a_delay_the_second_follows_at_once(void)
{
	struct weir_future *future = hedge(0);
	int64_t began_ns = weir_now();

	turns(4);
	assert_int_equal(seen.started, 2);
	assert_true(weir_now() - began_ns < 100 * WEIR_US);
	resolve(0, 1);
	resolve(1, 2);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
}

static void with_no_end_of_the_delay_there_is_no_second(void)
{
	struct weir_future *future = hedge(WEIR_NEVER);

	weir_sleep(3600 * WEIR_S);
	assert_int_equal(seen.started, 1);
	resolve(0, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
}

/* --- who wins --- */

static void the_first_fulfilment_wins_and_the_loser_is_waited_for(void)
{
	struct weir_future *future = hedge(WEIR_MS);
	int numbers[2];
	void *value = NULL;

	weir_sleep(2 * WEIR_MS);
	weir_promise_resolve_value(&seen.pairs[1].promise, 2, &numbers[1], count_drop);
	turns(3);
	assert_int_equal(seen.cancels, 1);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve_value(&seen.pairs[0].promise, 1, &numbers[0], count_drop);
	assert_int_equal(weir_await(future, WEIR_NEVER, &value), 2);
	assert_ptr_equal(value, &numbers[1]);
	assert_int_equal(seen.drops, 1);
	assert_int_equal(metric(WEIR__M_HEDGES_WON), 1);
}

static void of_two_in_one_turn_the_earlier_wins(void)
{
	for (unsigned first = 0; first < 2; first++) {
		struct weir_future *future = hedge(WEIR_MS);

		weir_sleep(2 * WEIR_MS);
		resolve(first, first);
		resolve(!first, !first);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), first);
	}
}

static void a_rejection_before_the_second_began_is_the_result(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	turns(2);
	resolve(0, -EIO);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EIO);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(seen.started, 1);
}

static void after_that_the_other_may_still_be_fulfilled(void)
{
	for (unsigned fails = 0; fails < 2; fails++) {
		struct weir_future *future = hedge(WEIR_MS);

		weir_sleep(2 * WEIR_MS);
		resolve(fails, -EIO);
		turns(3);
		assert_int_equal(seen.cancels, 0);
		assert_false(weir_future_is_settled(future));
		resolve(!fails, 4);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 4);
	}
}

static void when_both_are_rejected_the_later_error_is_the_result(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	weir_sleep(2 * WEIR_MS);
	resolve(1, -EIO);
	turns(3);
	resolve(0, -ENOENT);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ENOENT);
}

static void a_second_that_cannot_begin_does_no_harm(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	seen.at[1] = weir_future_of(-ENOBUFS);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(seen.started, 2);
	assert_int_equal(seen.cancels, 0);
	resolve(0, 3);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 3);
}

static void an_answer_that_is_there_already_wins(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	seen.at[1] = weir_future_of(8);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(seen.cancels, 1);
	resolve(0, 3);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 8);
	future = hedge(WEIR_MS);
	seen.at[0] = weir_future_of(9);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 9);
	assert_int_equal(seen.started, 1);
}

/* --- cancel --- */

static void a_cancel_goes_to_both_and_is_waited_for(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	weir_sleep(2 * WEIR_MS);
	weir_future_cancel(future);
	turns(2);
	assert_int_equal(seen.cancels, 2);
	resolve(0, -ECANCELED);
	turns(2);
	assert_false(weir_future_is_settled(future));
	resolve(1, -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
}

static void cancelled_before_the_delay_there_is_no_second(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	turns(2);
	weir_future_cancel(future);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(seen.started, 1);
	resolve(0, 6);	/* too late to be cancelled: it is the result */
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 6);
}

static void cancelled_before_it_began_it_makes_no_attempt(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	weir_future_cancel(future);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(seen.started, 0);
}

static void an_attempt_may_cancel_its_own_hedge(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	seen.cancel = future;
	turns(4);
	assert_int_equal(seen.cancels, 1);
	assert_false(weir_future_is_settled(future));
	resolve(0, -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
}

static void an_await_with_a_deadline_ends_both(void)
{
	struct weir_future *future = hedge(WEIR_MS);

	seen.hooked = false;
	assert_int_equal(weir_await(future, weir_in(2 * WEIR_MS), NULL), -ETIMEDOUT);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(weir_promise_resolve(&seen.pairs[i].promise, 1), -ECANCELED);
}

/* --- what cannot be --- */

static ssize_t pass(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static void an_attempt_that_cannot_be_waited_for_is_rejected(void)
{
	struct pair used = pair();
	struct weir_future *consumed = weir_then(used.future, pass, NULL);
	struct weir_future *future;

	future = hedge(WEIR_MS);
	seen.at[0] = used.future;
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EBUSY);
	weir_promise_resolve(&used.promise, 1);
	assert_int_equal(weir_await(consumed, WEIR_NEVER, NULL), 1);
	future = hedge(WEIR_MS);
	seen.at[0] = future;
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EDEADLK);
	future = hedge(WEIR_MS);
	seen.at[0] = weir_then(future, pass, NULL);	/* dropped: it would wait for itself */
	turns(5);
	assert_int_equal(info().count, 0);
}

static void wrong_arguments_are_refused(void)
{
	struct pair p;

	assert_int_equal(weir_await(weir_hedge(0, NULL, NULL), 0, NULL), -EINVAL);
	assert_int_equal(weir_await(weir_hedge(-1, attempt, NULL), 0, NULL), -EINVAL);
	weir_futures_set_max(1);
	p = pair();
	assert_int_equal(weir_await(weir_hedge(0, attempt, NULL), 0, NULL), -ENOBUFS);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(weir_await(p.future, 0, NULL), 0);
}

static void outside_a_worker_there_is_no_hedge(void **state)
{
	(void)state;
	assert_int_equal(weir_await(weir_hedge(0, attempt, NULL), 0, NULL), -EDEADLK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(what_is_quick_is_asked_once),
		on_worker(what_takes_longer_than_the_delay_is_asked_again),
		on_worker(without_a_delay_the_second_follows_at_once),
		on_worker(with_no_end_of_the_delay_there_is_no_second),
		on_worker(the_first_fulfilment_wins_and_the_loser_is_waited_for),
		on_worker(of_two_in_one_turn_the_earlier_wins),
		on_worker(a_rejection_before_the_second_began_is_the_result),
		on_worker(after_that_the_other_may_still_be_fulfilled),
		on_worker(when_both_are_rejected_the_later_error_is_the_result),
		on_worker(a_second_that_cannot_begin_does_no_harm),
		on_worker(an_answer_that_is_there_already_wins),
		on_worker(a_cancel_goes_to_both_and_is_waited_for),
		on_worker(cancelled_before_the_delay_there_is_no_second),
		on_worker(cancelled_before_it_began_it_makes_no_attempt),
		on_worker(an_attempt_may_cancel_its_own_hedge),
		on_worker(an_await_with_a_deadline_ends_both),
		on_worker(an_attempt_that_cannot_be_waited_for_is_rejected),
		on_worker(wrong_arguments_are_refused),
		cmocka_unit_test(outside_a_worker_there_is_no_hedge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
