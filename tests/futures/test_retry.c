/* SPDX-License-Identifier: MIT */
/*
 * test_retry.c - the same again after a failure: how often, when, for which errors, and that it
 * ends when nobody waits any more. The clock is virtual: what is asserted of it is exact but for
 * the timer's tick.
 */
#include "on_worker.h"

#include <limits.h>

#include "futures/weir_retry.h"

#define ATTEMPTS 32
#define TICK_NS (40 * WEIR_US)

/* What the attempts give, and when they were made. */
static struct {
	ssize_t fates[ATTEMPTS];	/* PENDING: the test settles it */
	struct pair pairs[ATTEMPTS];
	int64_t began_ns[ATTEMPTS];
	unsigned count;
	struct weir_future *cancel;	/* the attempt cancels it */
	int worth;			/* is_worth() says so of this error only */
	unsigned asked;
	unsigned cancels;
} seen;

#define PENDING SSIZE_MAX

static void note_cancel(void *arg)
{
	(void)arg;
	seen.cancels++;
}

static struct weir_future *attempt(unsigned index, void *arg)
{
	assert_ptr_equal(arg, &seen);
	assert_int_equal(index, seen.count);
	assert_true(seen.count < ATTEMPTS);
	assert_null(weir_coro_self());
	seen.began_ns[seen.count++] = weir_now();
	if (seen.cancel)
		weir_future_cancel(seen.cancel);
	if (seen.fates[index] != PENDING)
		return weir_future_of(seen.fates[index]);
	seen.pairs[index] = pair();
	weir_promise_on_cancel(&seen.pairs[index].promise, note_cancel, NULL);
	return seen.pairs[index].future;
}

static void all_fates(ssize_t fate)
{
	memset(&seen, 0, sizeof(seen));
	for (unsigned i = 0; i < ATTEMPTS; i++)
		seen.fates[i] = fate;
}

static ssize_t retry(const struct weir_retry_opts *opts)
{
	return weir_await(weir_retry(opts, attempt, &seen), WEIR_NEVER, NULL);
}

static int64_t delay_before(unsigned i)
{
	return seen.began_ns[i] - seen.began_ns[i - 1];
}

static uint64_t metric(unsigned id)
{
	return weir__metric_get(&weir__self->metrics, id);
}

/* --- how often --- */

static void what_succeeds_at_once_is_not_repeated(void)
{
	all_fates(7);
	assert_int_equal(retry(NULL), 7);
	assert_int_equal(seen.count, 1);
	assert_int_equal(metric(WEIR__M_RETRIES), 0);
}

static void what_fails_is_repeated_until_it_succeeds(void)
{
	all_fates(-EAGAIN);
	seen.fates[2] = 5;
	assert_int_equal(retry(NULL), 5);
	assert_int_equal(seen.count, 3);
	assert_int_equal(metric(WEIR__M_RETRIES), 2);
}

static void after_the_last_attempt_its_error_is_the_result(void)
{
	const struct weir_retry_opts opts = { .attempts_max = 4 };

	all_fates(-EAGAIN);
	seen.fates[3] = -ETIMEDOUT;
	assert_int_equal(retry(&opts), -ETIMEDOUT);
	assert_int_equal(seen.count, 4);
}

static void one_attempt_is_none_again(void)
{
	const struct weir_retry_opts opts = { .attempts_max = 1 };

	all_fates(-EAGAIN);
	assert_int_equal(retry(&opts), -EAGAIN);
	assert_int_equal(seen.count, 1);
}

static unsigned drops;

static void count_drop(void *value)
{
	(void)value;
	drops++;
}

static void the_value_of_the_attempt_that_succeeds_is_the_result(void)
{
	struct weir_future *future;
	int number;
	void *value = NULL;

	drops = 0;
	all_fates(PENDING);
	seen.fates[0] = -EAGAIN;
	future = weir_retry(NULL, attempt, &seen);
	while (seen.count < 2)
		weir_sleep(WEIR_MS);
	weir_promise_resolve_value(&seen.pairs[1].promise, 3, &number, count_drop);
	assert_int_equal(weir_await(future, WEIR_NEVER, &value), 3);
	assert_ptr_equal(value, &number);
	assert_int_equal(drops, 0);
}

/* --- which errors --- */

static void only_what_may_pass_is_worth_another_attempt(void)
{
	static const int worth[] = {
		-EAGAIN,       -ENOBUFS,      -EINTR,	    -ETIMEDOUT,	   -EPIPE,
		-ECONNREFUSED, -ECONNRESET,   -ECONNABORTED, -EHOSTUNREACH, -ENETUNREACH,
		-EHOSTDOWN,    -ENETDOWN,     -ENETRESET,
	};
	static const int not_worth[] = { -ECANCELED, -EINVAL, -ENOENT, -EACCES, -EDEADLK, -EBUSY };

	for (unsigned i = 0; i < sizeof(worth) / sizeof(*worth); i++)
		assert_true(weir_retry_is_worth(worth[i]));
	for (unsigned i = 0; i < sizeof(not_worth) / sizeof(*not_worth); i++) {
		assert_false(weir_retry_is_worth(not_worth[i]));
		all_fates(not_worth[i]);
		assert_int_equal(retry(NULL), not_worth[i]);
		assert_int_equal(seen.count, 1);
	}
}

static bool is_the_one(int error, void *arg)
{
	assert_ptr_equal(arg, &seen);
	seen.asked++;
	return error == seen.worth;
}

static void the_caller_may_say_which_errors_are_worth_it(void)
{
	const struct weir_retry_opts opts = { .attempts_max = 5, .is_worth = is_the_one };

	all_fates(-ENOENT);
	seen.worth = -ENOENT;
	seen.fates[2] = -EAGAIN;
	assert_int_equal(retry(&opts), -EAGAIN);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.asked, 3);
}

/* --- when --- */

static void without_jitter_each_delay_is_twice_the_last_up_to_the_bound(void)
{
	const struct weir_retry_opts opts = {
		.attempts_max = 7,
		.delay_ns = WEIR_MS,
		.delay_ns_max = 6 * WEIR_MS,
		.jitter = WEIR_JITTER_NONE,
	};
	static const int64_t delays[] = { 1, 2, 4, 6, 6, 6 };

	all_fates(-EAGAIN);
	assert_int_equal(retry(&opts), -EAGAIN);
	assert_int_equal(seen.count, 7);
	for (unsigned i = 0; i < 6; i++) {
		assert_true(delay_before(i + 1) >= delays[i] * WEIR_MS);
		assert_true(delay_before(i + 1) <= delays[i] * WEIR_MS + TICK_NS);
	}
}

static void the_default_is_ten_milliseconds_at_most_and_three_attempts(void)
{
	int64_t most = 0;

	for (unsigned i = 0; i < 200; i++) {
		all_fates(-EAGAIN);
		assert_int_equal(retry(NULL), -EAGAIN);
		assert_int_equal(seen.count, 3);
		assert_true(delay_before(1) <= 10 * WEIR_MS + TICK_NS);
		assert_true(delay_before(2) <= 20 * WEIR_MS + TICK_NS);
		if (delay_before(2) > most)
			most = delay_before(2);
	}
	assert_true(most > 15 * WEIR_MS);
}

/* The mean of full jitter is half of the bound; and no part of the range is left out. */
static void full_jitter_is_even_between_nothing_and_the_bound(void)
{
	const struct weir_retry_opts opts = {
		.attempts_max = ATTEMPTS,
		.delay_ns = 8 * WEIR_MS,
		.delay_ns_max = 8 * WEIR_MS,
	};
	unsigned buckets[8] = { 0 };

	for (unsigned round = 0; round < 100; round++) {
		all_fates(-EAGAIN);
		retry(&opts);
		for (unsigned i = 1; i < ATTEMPTS; i++) {
			assert_true(delay_before(i) <= 8 * WEIR_MS + TICK_NS);
			if (delay_before(i) < 8 * WEIR_MS)
				buckets[delay_before(i) / WEIR_MS]++;
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		assert_true(buckets[i] > 3100 / 8 * 3 / 4);
		assert_true(buckets[i] < 3100 / 8 * 5 / 4);
	}
}

static void decorrelated_jitter_is_between_the_base_and_thrice_the_last(void)
{
	const struct weir_retry_opts opts = {
		.attempts_max = ATTEMPTS,
		.delay_ns = WEIR_MS,
		.delay_ns_max = 50 * WEIR_MS,
		.jitter = WEIR_JITTER_DECORRELATED,
	};
	int64_t most = 0;

	for (unsigned round = 0; round < 100; round++) {
		int64_t before = WEIR_MS;

		all_fates(-EAGAIN);
		retry(&opts);
		for (unsigned i = 1; i < ATTEMPTS; i++) {
			int64_t delay = delay_before(i);

			assert_true(delay >= WEIR_MS);
			assert_true(delay <= 3 * before + 2 * TICK_NS);
			assert_true(delay <= 50 * WEIR_MS + TICK_NS);
			before = delay;
			most = delay > most ? delay : most;
		}
	}
	assert_true(most > 40 * WEIR_MS);
}

/* A delay that would overflow stops at its bound. */
static void delays_of_any_size_do_not_overflow(void)
{
	static const enum weir_jitter jitters[] = {
		WEIR_JITTER_FULL, WEIR_JITTER_DECORRELATED, WEIR_JITTER_NONE,
	};

	for (unsigned i = 0; i < 3; i++) {
		const struct weir_retry_opts opts = {
			.attempts_max = 4,
			.jitter = jitters[i],
			.delay_ns = INT64_MAX / 2,
			.delay_ns_max = INT64_MAX,
			.deadline_ns = weir_in(WEIR_S),
		};

		all_fates(-EAGAIN);
		assert_int_equal(retry(&opts), -EAGAIN);
		assert_true(seen.count <= 2);
	}
}

static void a_bound_below_the_base_counts(void)
{
	const struct weir_retry_opts opts = {
		.delay_ns = WEIR_S,
		.delay_ns_max = WEIR_MS,
		.jitter = WEIR_JITTER_NONE,
	};

	all_fates(-EAGAIN);
	retry(&opts);
	assert_true(delay_before(1) <= WEIR_MS + TICK_NS);
}

/* --- deadline --- */

static void an_attempt_that_would_begin_after_the_deadline_is_not_waited_for(void)
{
	int64_t began_ns = weir_now();
	const struct weir_retry_opts opts = {
		.attempts_max = 10,
		.delay_ns = 10 * WEIR_MS,
		.delay_ns_max = 10 * WEIR_MS,
		.jitter = WEIR_JITTER_NONE,
		.deadline_ns = began_ns + 25 * WEIR_MS,
	};

	all_fates(-ECONNREFUSED);
	assert_int_equal(retry(&opts), -ECONNREFUSED);
	assert_int_equal(seen.count, 3);
	assert_true(weir_now() < began_ns + 21 * WEIR_MS);
}

static void the_attempt_at_the_deadline_is_asked_to_end_and_waited_for(void)
{
	const struct weir_retry_opts opts = { .deadline_ns = weir_in(WEIR_MS) };
	struct weir_future *future;

	all_fates(PENDING);
	future = weir_retry(&opts, attempt, &seen);
	weir_sleep(2 * WEIR_MS);
	assert_int_equal(seen.cancels, 1);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&seen.pairs[0].promise, -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ETIMEDOUT);
	assert_int_equal(seen.count, 1);
}

static void what_an_attempt_gives_after_the_deadline_is_the_result(void)
{
	static const ssize_t fates[] = { 9, -EAGAIN };

	for (unsigned i = 0; i < 2; i++) {
		const struct weir_retry_opts opts = { .deadline_ns = weir_in(WEIR_MS) };
		struct weir_future *future;

		all_fates(PENDING);
		future = weir_retry(&opts, attempt, &seen);
		weir_sleep(2 * WEIR_MS);
		weir_promise_resolve(&seen.pairs[0].promise, fates[i]);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), fates[i]);
		assert_int_equal(seen.count, 1);
	}
}

static void after_the_deadline_nothing_is_begun(void)
{
	const struct weir_retry_opts opts = { .deadline_ns = weir_now() };

	all_fates(1);
	assert_int_equal(retry(&opts), -ETIMEDOUT);
	assert_int_equal(seen.count, 0);
}

/* --- cancel --- */

static void a_cancel_goes_to_the_attempt(void)
{
	struct weir_future *future;

	all_fates(PENDING);
	future = weir_retry(NULL, attempt, &seen);
	turns(2);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(seen.cancels, 1);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&seen.pairs[0].promise, -EAGAIN);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EAGAIN);
	assert_int_equal(seen.count, 1);
}

static void between_two_attempts_a_cancel_ends_it_at_once(void)
{
	const struct weir_retry_opts opts = {
		.delay_ns = WEIR_S,
		.jitter = WEIR_JITTER_NONE,
	};
	int64_t began_ns = weir_now();
	struct weir_future *future;

	all_fates(-EAGAIN);
	future = weir_retry(&opts, attempt, &seen);
	turns(3);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(seen.count, 1);
	assert_int_equal(weir_now(), began_ns);
	weir_sleep(2 * WEIR_S);
	assert_int_equal(seen.count, 1);
}

static void cancelled_before_it_began_it_makes_no_attempt(void)
{
	struct weir_future *future;

	all_fates(1);
	future = weir_retry(NULL, attempt, &seen);
	weir_future_cancel(future);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(seen.count, 0);
}

static void an_attempt_may_cancel_its_own_retry(void)
{
	struct weir_future *future;

	all_fates(PENDING);
	future = weir_retry(NULL, attempt, &seen);
	seen.cancel = future;
	turns(4);
	assert_int_equal(seen.cancels, 1);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&seen.pairs[0].promise, -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(seen.count, 1);
}

static void an_await_with_a_deadline_ends_it(void)
{
	const struct weir_retry_opts opts = { .delay_ns = WEIR_S, .jitter = WEIR_JITTER_NONE };

	all_fates(-EAGAIN);
	assert_int_equal(weir_await(weir_retry(&opts, attempt, &seen), weir_in(WEIR_MS), NULL),
			 -ETIMEDOUT);
	assert_int_equal(seen.count, 1);
}

static void dropped_it_goes_on(void)
{
	all_fates(-EAGAIN);
	seen.fates[2] = 1;
	weir_future_drop(weir_retry(NULL, attempt, &seen));
	weir_sleep(WEIR_S);
	assert_int_equal(seen.count, 3);
}

/* --- what cannot be --- */

static struct weir_future *given;

static struct weir_future *give(unsigned index, void *arg)
{
	(void)index;
	(void)arg;
	return given;
}

static ssize_t pass(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static void an_attempt_that_cannot_be_waited_for_is_rejected(void)
{
	struct pair used = pair();
	struct weir_future *outer, *future;

	given = NULL;
	assert_int_equal(weir_await(weir_retry(NULL, give, NULL), WEIR_NEVER, NULL), -EINVAL);
	given = used.future;
	future = weir_then(used.future, pass, NULL);
	assert_int_equal(weir_await(weir_retry(NULL, give, NULL), WEIR_NEVER, NULL), -EBUSY);
	weir_promise_resolve(&used.promise, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
	future = weir_retry(NULL, give, NULL);
	given = future;
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EDEADLK);
	outer = weir_then(weir_retry(NULL, give, NULL), pass, NULL);
	given = outer;	/* dropped, since it would wait for itself */
	turns(5);
	assert_int_equal(info().count, 0);
}

static void wrong_arguments_are_refused(void)
{
	const struct weir_retry_opts wrong[] = {
		{ .delay_ns = -1 },
		{ .delay_ns_max = -1 },
		{ .jitter = (enum weir_jitter)3 },
	};
	struct pair p;

	assert_int_equal(weir_await(weir_retry(NULL, NULL, NULL), 0, NULL), -EINVAL);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(weir_await(weir_retry(&wrong[i], attempt, NULL), 0, NULL),
				 -EINVAL);
	weir_futures_set_max(1);
	p = pair();
	assert_int_equal(weir_await(weir_retry(NULL, attempt, NULL), 0, NULL), -ENOBUFS);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(weir_await(p.future, 0, NULL), 0);
}

static void outside_a_worker_there_is_no_retry(void **state)
{
	(void)state;
	assert_int_equal(weir_await(weir_retry(NULL, attempt, NULL), 0, NULL), -EDEADLK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(what_succeeds_at_once_is_not_repeated),
		on_worker(what_fails_is_repeated_until_it_succeeds),
		on_worker(after_the_last_attempt_its_error_is_the_result),
		on_worker(one_attempt_is_none_again),
		on_worker(the_value_of_the_attempt_that_succeeds_is_the_result),
		on_worker(only_what_may_pass_is_worth_another_attempt),
		on_worker(the_caller_may_say_which_errors_are_worth_it),
		on_worker(without_jitter_each_delay_is_twice_the_last_up_to_the_bound),
		on_worker(the_default_is_ten_milliseconds_at_most_and_three_attempts),
		on_worker(full_jitter_is_even_between_nothing_and_the_bound),
		on_worker(decorrelated_jitter_is_between_the_base_and_thrice_the_last),
		on_worker(delays_of_any_size_do_not_overflow),
		on_worker(a_bound_below_the_base_counts),
		on_worker(an_attempt_that_would_begin_after_the_deadline_is_not_waited_for),
		on_worker(the_attempt_at_the_deadline_is_asked_to_end_and_waited_for),
		on_worker(what_an_attempt_gives_after_the_deadline_is_the_result),
		on_worker(after_the_deadline_nothing_is_begun),
		on_worker(a_cancel_goes_to_the_attempt),
		on_worker(between_two_attempts_a_cancel_ends_it_at_once),
		on_worker(cancelled_before_it_began_it_makes_no_attempt),
		on_worker(an_attempt_may_cancel_its_own_retry),
		on_worker(an_await_with_a_deadline_ends_it),
		on_worker(dropped_it_goes_on),
		on_worker(an_attempt_that_cannot_be_waited_for_is_rejected),
		on_worker(wrong_arguments_are_refused),
		cmocka_unit_test(outside_a_worker_there_is_no_retry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
