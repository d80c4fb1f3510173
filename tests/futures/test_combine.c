/* SPDX-License-Identifier: MIT */
/*
 * test_combine.c - all, all_settled, any, race: who decides, who is asked to end, and that
 * nothing ends before its parts have.
 */
#include "on_worker.h"

static unsigned drops;

static void count_drop(void *value)
{
	(void)value;
	drops++;
}

static int places[4];

static void make(struct pair *pairs, struct weir_future **parts, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		pairs[i] = pair();
		parts[i] = pairs[i].future;
	}
}

static void no_parts_have_a_defined_result(void)
{
	assert_int_equal(weir_await(weir_all(NULL, 0), 0, NULL), 0);
	assert_int_equal(weir_await(weir_all_settled(NULL, 0, NULL), 0, NULL), 0);
	assert_int_equal(weir_await(weir_any(NULL, 0), 0, NULL), -EINVAL);
	assert_int_equal(weir_await(weir_race(NULL, 0), 0, NULL), -EINVAL);
}

static void all_waits_for_the_last_and_keeps_every_value(void)
{
	struct pair pairs[3];
	struct weir_future *parts[3], *future;
	struct weir_result results[3];

	make(pairs, parts, 3);
	future = weir_join(WEIR_ALL, parts, 3, results);
	weir_promise_resolve_value(&pairs[2].promise, 2, &places[2], NULL);
	weir_promise_resolve_value(&pairs[0].promise, 0, &places[0], NULL);
	turns(3);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&pairs[1].promise, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(results[i].res, i);
	assert_true(results[0].value == &places[0] && results[2].value == &places[2]);
	assert_null(results[1].value);
	assert_int_equal(results[2].rank, 0);
	assert_int_equal(results[0].rank, 1);
	assert_int_equal(results[1].rank, 2);
}

static void all_of_what_is_settled_already_is_all_the_same(void)
{
	struct pair p = pair();
	struct weir_future *parts[] = { weir_future_of(1), p.future, weir_future_of(3) };
	struct weir_result results[3];

	weir_promise_resolve(&p.promise, 2);
	assert_int_equal(weir_await(weir_join(WEIR_ALL, parts, 3, results), WEIR_NEVER, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(results[i].res, i + 1);
}

static void the_first_rejection_cancels_the_rest_of_all_and_values_are_dropped(void)
{
	struct pair pairs[4];
	struct weir_future *parts[4], *future;

	drops = 0;
	make(pairs, parts, 4);
	future = weir_all(parts, 4);
	weir_promise_resolve_value(&pairs[0].promise, 0, &places[0], count_drop);
	weir_promise_resolve(&pairs[2].promise, -EIO);
	turns(2);
	assert_int_equal(weir_promise_resolve(&pairs[1].promise, 0), -ECANCELED);
	assert_int_equal(weir_promise_resolve(&pairs[3].promise, -ENOENT), -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EIO);
	assert_int_equal(drops, 1);
}

struct slow {
	struct weir_promise promise;
	unsigned asked;
	ssize_t res;
};

static void ask(void *arg)
{
	((struct slow *)arg)->asked++;
}

static int end_slowly(void *arg)
{
	struct slow *slow = arg;

	weir_sleep(20 * WEIR_MS);
	return weir_promise_resolve(&slow->promise, slow->res);
}

static struct weir_future *start_slow(struct slow *slow, ssize_t res)
{
	struct weir_future *future;

	*slow = (struct slow){ .res = res };
	assert_int_equal(weir_promise_create(&slow->promise, &future), 0);
	assert_int_equal(weir_promise_on_cancel(&slow->promise, ask, slow), 0);
	go(end_slowly, slow);
	return future;
}

static void ignore(struct weir_tap *tap, ssize_t res, void *value)
{
	(void)tap;
	(void)res;
	(void)value;
}

static void a_part_that_is_tapped_still_counts_once(void)
{
	struct pair pairs[2];
	struct weir_future *parts[2], *future;
	struct weir_tap taps[2];

	make(pairs, parts, 2);
	weir_promise_resolve(&pairs[0].promise, 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(weir_future_tap(parts[i], &taps[i], ignore), 0);
	future = weir_all(parts, 2);
	turns(4);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&pairs[1].promise, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
}

/* A part may be an op that writes into our buffer: traps.md 1 and 4; folly#1237. */
static void no_join_ends_before_the_parts_it_cancelled_have(void)
{
	static const struct {
		enum weir_how how;
		ssize_t first, res;
	} cases[] = {
		{ WEIR_ALL, -EIO, -EIO },
		{ WEIR_ANY, 4, 4 },
		{ WEIR_RACE, 5, 5 },
		{ WEIR_RACE, -EIO, -EIO },
	};

	for (unsigned i = 0; i < 4; i++) {
		struct slow slow;
		struct weir_future *parts[] = { start_slow(&slow, -ECANCELED),
						weir_future_of(cases[i].first) };
		int64_t begin = weir_now();
		ssize_t res;

		res = weir_await(weir_join(cases[i].how, parts, 2, NULL), WEIR_NEVER, NULL);
		assert_int_equal(res, cases[i].res);
		assert_int_equal(slow.asked, 1);
		assert_true(weir_now() >= begin + 20 * WEIR_MS);
	}
}

/* tokio: select! loses the bytes of the branch that did not win. */
static void what_a_loser_did_in_spite_of_it_is_in_the_results(void)
{
	struct slow slow;
	struct weir_future *parts[] = { start_slow(&slow, 17), weir_future_of(4) };
	struct weir_result results[2];

	assert_int_equal(weir_await(weir_join(WEIR_RACE, parts, 2, results), WEIR_NEVER, NULL), 4);
	assert_int_equal(results[0].res, 17);
	assert_int_equal(results[0].rank, 1);
	assert_int_equal(results[1].res, 4);
	assert_int_equal(results[1].rank, 0);
}

static void the_value_of_the_winner_is_given_and_the_losers_are_dropped(void)
{
	static const enum weir_how hows[] = { WEIR_ANY, WEIR_RACE };

	for (int i = 0; i < 2; i++) {
		struct pair pairs[3];
		struct weir_future *parts[3], *future;
		void *value = NULL;

		drops = 0;
		make(pairs, parts, 3);
		future = weir_join(hows[i], parts, 3, NULL);
		weir_promise_resolve_value(&pairs[1].promise, 1, &places[1], count_drop);
		weir_promise_resolve_value(&pairs[0].promise, 0, &places[0], count_drop);
		assert_int_equal(weir_await(future, WEIR_NEVER, &value), 1);
		assert_true(value == &places[1]);
		assert_int_equal(drops, 1);
		weir_promise_drop(&pairs[2].promise);
	}
}

static void any_waits_for_a_fulfilment_and_else_has_the_last_error(void)
{
	struct pair pairs[3];
	struct weir_future *parts[3], *future;

	make(pairs, parts, 3);
	future = weir_any(parts, 3);
	weir_promise_resolve(&pairs[0].promise, -EIO);
	turns(2);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&pairs[2].promise, 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	weir_promise_drop(&pairs[1].promise);

	make(pairs, parts, 3);
	future = weir_any(parts, 3);
	weir_promise_resolve(&pairs[0].promise, -EIO);
	weir_promise_resolve(&pairs[2].promise, -ENOENT);
	weir_promise_resolve(&pairs[1].promise, -EPERM);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EPERM);
}

static void race_takes_a_rejection_as_well(void)
{
	struct pair pairs[2];
	struct weir_future *parts[2], *future;

	make(pairs, parts, 2);
	future = weir_race(parts, 2);
	weir_promise_resolve(&pairs[1].promise, -EIO);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EIO);
	weir_promise_drop(&pairs[0].promise);
}

static void all_settled_never_cancels_and_counts_the_fulfilled(void)
{
	struct pair pairs[3];
	struct weir_future *parts[3], *future;
	struct weir_result results[3];

	make(pairs, parts, 3);
	future = weir_all_settled(parts, 3, results);
	weir_promise_resolve(&pairs[0].promise, -EIO);
	turns(2);
	assert_true(weir_promise_is_wanted(&pairs[1].promise));
	weir_promise_resolve(&pairs[1].promise, 1);
	weir_promise_drop(&pairs[2].promise);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
	assert_int_equal(results[0].res, -EIO);
	assert_int_equal(results[1].res, 1);
	assert_int_equal(results[2].res, -EPIPE);
}

static void cancelling_a_join_cancels_every_part(void)
{
	for (enum weir_how how = WEIR_ALL; how <= WEIR_RACE; how++) {
		struct pair pairs[3];
		struct weir_future *parts[3], *future;

		make(pairs, parts, 3);
		future = weir_join(how, parts, 3, NULL);
		assert_int_equal(weir_future_cancel(future), 0);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL),
				 how == WEIR_ALL_SETTLED ? 0 : -ECANCELED);
		for (int i = 0; i < 3; i++)
			assert_int_equal(weir_promise_resolve(&pairs[i].promise, 1), -ECANCELED);
	}
}

static void a_join_that_times_out_has_cancelled_its_parts(void)
{
	struct pair pairs[2];
	struct weir_future *parts[2];

	make(pairs, parts, 2);
	assert_int_equal(weir_await(weir_all(parts, 2), weir_in(5 * WEIR_MS), NULL), -ETIMEDOUT);
	assert_int_equal(weir_promise_resolve(&pairs[0].promise, 1), -ECANCELED);
	assert_int_equal(weir_promise_resolve(&pairs[1].promise, 1), -ECANCELED);
}

static void a_part_that_is_missing_or_taken_twice_rejects(void)
{
	struct pair p = pair();
	struct weir_future *parts[] = { p.future, NULL, p.future };
	struct weir_future *future;
	struct weir_result results[3];

	future = weir_all_settled(parts, 3, results);
	weir_promise_resolve(&p.promise, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
	assert_int_equal(results[0].res, 1);
	assert_int_equal(results[1].res, -EINVAL);
	assert_int_equal(results[2].res, -EBUSY);
	assert_int_equal(weir_await(weir_join((enum weir_how)99, parts, 0, NULL), 0, NULL), 0);
}

/* Depth costs tasks, not stack, to settle and to cancel. */
static void joins_nest_a_hundred_thousand_deep(void)
{
	for (int i = 0; i < 2; i++) {
		struct pair p = pair();
		struct weir_future *future = p.future;

		for (int k = 0; k < 100000; k++)
			future = weir_all(&future, 1);
		if (i == 0)
			weir_promise_resolve(&p.promise, 0);
		else
			weir_future_cancel(future);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), i ? -ECANCELED : 0);
		weir_promise_drop(&p.promise);
	}
}

static void a_million_parts_take_one_future_more(void)
{
	struct pair *pairs = calloc(MILLION, sizeof(*pairs));
	struct weir_future **parts = calloc(MILLION, sizeof(*parts)), *future;

	assert_true(pairs && parts);
	weir_futures_set_max(MILLION + 1);
	make(pairs, parts, MILLION);
	future = weir_all(parts, MILLION);
	assert_int_equal(info().count, MILLION + 1);
	for (int i = 0; i < MILLION; i++)
		weir_promise_resolve(&pairs[i].promise, i);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	free(pairs);
	free(parts);
}

static void no_room_for_a_join_still_waits_for_its_parts(void)
{
	struct slow slow[2];
	struct weir_future *parts[3], *future;
	int64_t begin = weir_now();

	weir_futures_set_max(2);
	parts[0] = weir_future_of(1);
	parts[1] = start_slow(&slow[0], -ECANCELED);
	parts[2] = start_slow(&slow[1], 5);
	future = weir_all(parts, 3);
	assert_int_equal(slow[0].asked, 1);
	assert_int_equal(slow[1].asked, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ENOBUFS);
	assert_true(weir_now() >= begin + 20 * WEIR_MS);
}

static void no_room_for_links_upon_links_still_waits(void)
{
	struct slow slow;
	struct weir_future *future;
	int64_t begin = weir_now();

	weir_futures_set_max(1);
	future = start_slow(&slow, 3);
	for (int i = 0; i < 3; i++) {
		struct weir_future *parts[] = { future, weir_future_of(1) };

		future = weir_all(parts, 2);
		future = weir_then(future, NULL, NULL);
		future = weir_timeout(future, weir_in(WEIR_MS));
	}
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ENOBUFS);
	assert_int_equal(slow.asked, 1);
	assert_true(weir_now() >= begin + 20 * WEIR_MS);
}

/* The stand-in is itself a join, a finally that keeps a value, a timeout. */
static ssize_t go_on_with(struct weir_result *result, void *arg)
{
	return weir_follow(result, arg);
}

static void a_composed_future_can_stand_in_for_another(void)
{
	struct slow slow[3];
	struct pair p = pair();
	struct weir_future *parts[3], *two[2];

	drops = 0;
	two[0] = start_slow(&slow[0], 1);
	two[1] = start_slow(&slow[1], -EIO);
	parts[0] = weir_all(two, 2);
	weir_promise_resolve_value(&p.promise, 1, &places[0], count_drop);
	parts[1] = weir_finally(p.future, go_on_with, start_slow(&slow[2], 1));
	turns(3);
	weir_futures_set_max(1);
	assert_int_equal(weir_await(weir_all(parts, 2), WEIR_NEVER, NULL), -ENOBUFS);
	assert_int_equal(drops, 1);

	weir_futures_set_max(10);
	p = pair();
	weir_promise_resolve_value(&p.promise, 1, &places[0], count_drop);
	parts[0] = weir_finally(p.future, go_on_with, start_slow(&slow[2], 1));
	turns(3);
	weir_futures_set_max(1);
	assert_int_equal(weir_await(weir_all(parts, 1), WEIR_NEVER, NULL), -ENOBUFS);
	assert_int_equal(drops, 2);
}

static void a_starved_finally_runs_its_step_and_drops_the_value(void)
{
	struct slow slow;
	struct pair p = pair();
	struct weir_future *cleanup = start_slow(&slow, 1), *future;

	drops = 0;
	assert_int_equal(weir_promise_on_cancel(&p.promise, ask, &slow), 0);
	future = weir_finally(p.future, go_on_with, cleanup);
	weir_futures_set_max(1);
	future = weir_then(future, NULL, NULL);
	assert_int_equal(weir_promise_resolve_value(&p.promise, 1, &places[0], count_drop), 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ENOBUFS);
	assert_int_equal(drops, 1);
	assert_int_equal(slow.asked, 2);
}

static void a_cycle_through_a_join_is_rejected(void)
{
	struct pair p = pair(), other = pair();
	struct weir_future *parts[] = { other.future, p.future };
	struct weir_future *future = weir_timeout(weir_all(parts, 2), weir_in(WEIR_S));

	assert_int_equal(weir_promise_follow(&p.promise, future), -EDEADLK);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EDEADLK);
	assert_int_equal(weir_promise_resolve(&other.promise, 1), -ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(no_parts_have_a_defined_result),
		on_worker(all_waits_for_the_last_and_keeps_every_value),
		on_worker(all_of_what_is_settled_already_is_all_the_same),
		on_worker(the_first_rejection_cancels_the_rest_of_all_and_values_are_dropped),
		on_worker(a_part_that_is_tapped_still_counts_once),
		on_worker(no_join_ends_before_the_parts_it_cancelled_have),
		on_worker(what_a_loser_did_in_spite_of_it_is_in_the_results),
		on_worker(the_value_of_the_winner_is_given_and_the_losers_are_dropped),
		on_worker(any_waits_for_a_fulfilment_and_else_has_the_last_error),
		on_worker(race_takes_a_rejection_as_well),
		on_worker(all_settled_never_cancels_and_counts_the_fulfilled),
		on_worker(cancelling_a_join_cancels_every_part),
		on_worker(a_join_that_times_out_has_cancelled_its_parts),
		on_worker(a_part_that_is_missing_or_taken_twice_rejects),
		on_worker(joins_nest_a_hundred_thousand_deep),
		on_worker(a_million_parts_take_one_future_more),
		on_worker(no_room_for_a_join_still_waits_for_its_parts),
		on_worker(no_room_for_links_upon_links_still_waits),
		on_worker(a_composed_future_can_stand_in_for_another),
		on_worker(a_starved_finally_runs_its_step_and_drops_the_value),
		on_worker(a_cycle_through_a_join_is_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
