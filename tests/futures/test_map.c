/* SPDX-License-Identifier: MIT */
/*
 * test_map.c - a series of which only so many are under way: the bound holds, who decides, who is
 * asked to end, what was never started.
 */
#include "on_worker.h"

#define SERIES 10

/* The parts of a series, settled by the test or at once. */
struct series {
	struct pair parts[SERIES];
	unsigned started;
	unsigned cancels;
	unsigned drops;
	bool hooked;			/* a part that is cancelled stays until the test ends it */
	struct weir_future *at[SERIES];	/* what start gives instead, unless NULL */
	struct weir_future *cancel;	/* start cancels it */
};

static struct series series;

static void note_cancel(void *arg)
{
	(void)arg;
	series.cancels++;
}

static void count_drop(void *value)
{
	(void)value;
	series.drops++;
}

static struct weir_future *begin(unsigned index, void *arg)
{
	struct pair *part = &series.parts[index];

	assert_ptr_equal(arg, &series);
	assert_int_equal(index, series.started);
	assert_true(series.started < SERIES);
	series.started++;
	if (series.cancel)
		assert_int_equal(weir_future_cancel(series.cancel), 0);
	if (series.at[index])
		return series.at[index];
	*part = pair();
	if (series.hooked)
		weir_promise_on_cancel(&part->promise, note_cancel, NULL);
	return part->future;
}

static struct weir_future *map(unsigned in_flight_max, struct weir_result *results)
{
	memset(&series, 0, sizeof(series));
	return weir_map(SERIES, in_flight_max, begin, &series, results);
}

static struct weir_future *map_settled(unsigned in_flight_max, struct weir_result *results)
{
	memset(&series, 0, sizeof(series));
	return weir_map_settled(SERIES, in_flight_max, begin, &series, results);
}

static void resolve(unsigned index, ssize_t res)
{
	assert_int_equal(weir_promise_resolve(&series.parts[index].promise, res), 0);
}

static void are_cancelled(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		assert_int_equal(weir_promise_resolve(&series.parts[i].promise, 1), -ECANCELED);
}

/* --- the bound --- */

static void no_more_are_under_way_than_were_allowed(void)
{
	struct weir_result results[SERIES];
	struct weir_future *future = map(3, results);

	assert_int_equal(series.started, 0);
	turns(2);
	assert_int_equal(series.started, 3);
	resolve(1, 1);
	turns(2);
	assert_int_equal(series.started, 4);
	resolve(0, 0);
	resolve(3, 3);
	turns(2);
	assert_int_equal(series.started, 6);
	for (unsigned i = 4; i < SERIES; i++) {
		resolve(i, i);
		turns(2);
	}
	assert_int_equal(series.started, SERIES);
	assert_false(weir_future_is_settled(future));
	resolve(2, 2);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	for (unsigned i = 0; i < SERIES; i++)
		assert_int_equal(results[i].res, i);
	assert_int_equal(results[1].rank, 0);
	assert_int_equal(results[2].rank, SERIES - 1);
}

static struct weir_future *begin_settled(unsigned index, void *arg)
{
	*(unsigned *)arg = index + 1;
	return weir_future_of(index % 2);
}

static int keeps_running(void *arg)
{
	bool *is_over = arg;
	int count = 0;

	while (!*is_over) {
		weir_yield();
		count++;
	}
	return count;
}

static void a_million_that_are_there_at_once_let_others_run(void)
{
	bool is_over = false;
	struct weir_coro *other = start(keeps_running, &is_over);
	unsigned started = 0;
	int res;

	assert_int_equal(weir_await(weir_map(MILLION, 1, begin_settled, &started, NULL),
				    WEIR_NEVER, NULL),
			 0);
	is_over = true;
	assert_int_equal(weir_coro_join(other, WEIR_NEVER, &res), 0);
	assert_int_equal(started, MILLION);
	assert_true(res > MILLION / 1000);
	assert_int_equal(info().count_high, 1);
}

/* Parts that end by themselves: each resolves the one that was started before it. */
static struct weir_promise last;

static ssize_t step(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static struct weir_future *begin_link(unsigned index, void *arg)
{
	struct pair part = pair();

	(void)arg;
	weir_promise_resolve(&last, 1);
	last = part.promise;
	if (index == MILLION - 1)
		weir_promise_resolve(&last, 1);
	return weir_then(part.future, step, NULL);
}

static void a_million_parts_take_the_memory_of_those_under_way(void)
{
	assert_int_equal(weir_await(weir_map_settled(MILLION, 100, begin_link, NULL, NULL),
				    WEIR_NEVER, NULL),
			 MILLION);
	assert_true(info().count_high <= 1 + 4 * 100);
}

/* --- who decides --- */

static void the_first_rejection_ends_all_and_starts_no_more(void)
{
	struct weir_result results[SERIES];
	struct weir_future *future = map(3, results);
	int value;

	series.hooked = true;
	turns(2);
	assert_int_equal(weir_promise_resolve_value(&series.parts[1].promise, 5, &value,
						    count_drop),
			 0);
	turns(2);
	resolve(0, -EIO);
	turns(2);
	assert_int_equal(series.started, 4);
	assert_int_equal(series.cancels, 2);
	resolve(2, -ENOENT);
	turns(2);
	assert_false(weir_future_is_settled(future));
	resolve(3, 7);	/* too late: it is the part's result all the same */
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EIO);
	assert_int_equal(series.started, 4);
	assert_int_equal(results[0].res, -EIO);
	assert_int_equal(results[1].res, 5);
	assert_ptr_equal(results[1].value, &value);
	assert_int_equal(results[2].res, -ENOENT);
	assert_int_equal(results[3].res, 7);
	for (unsigned i = 4; i < SERIES; i++)
		assert_int_equal(results[i].res, -ECANCELED);
	assert_int_equal(results[SERIES - 1].rank, SERIES - 1);
	assert_int_equal(series.drops, 0);
}

static void without_results_values_are_dropped(void)
{
	struct weir_future *future = map(SERIES, NULL);
	int value;

	turns(2);
	for (unsigned i = 0; i < SERIES; i++)
		assert_int_equal(weir_promise_resolve_value(&series.parts[i].promise, 1, &value,
							    count_drop),
				 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	assert_int_equal(series.drops, SERIES);
}

static void collected_nothing_decides_and_the_fulfilled_are_counted(void)
{
	struct weir_result results[SERIES];
	struct weir_future *future = map_settled(4, results);

	for (unsigned i = 0; i < SERIES; i++) {
		turns(2);
		resolve(i, i % 3 ? (ssize_t)i : -EIO);
	}
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 6);
	for (unsigned i = 0; i < SERIES; i++)
		assert_int_equal(results[i].res, i % 3 ? (ssize_t)i : -EIO);
}

/* --- cancel --- */

static void a_cancel_goes_to_all_and_is_waited_for(void)
{
	struct weir_result results[SERIES];
	struct weir_future *future = map(3, results);

	series.hooked = true;
	turns(2);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_future_cancel(future), 0);
	turns(2);
	assert_int_equal(series.cancels, 3);
	resolve(0, -ECANCELED);
	resolve(1, 5);
	turns(2);
	assert_false(weir_future_is_settled(future));
	resolve(2, -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(series.started, 3);
	assert_int_equal(results[1].res, 5);
	assert_int_equal(results[9].res, -ECANCELED);
}

static void cancelled_before_it_began_it_starts_nothing(void)
{
	struct weir_result results[SERIES];
	struct weir_future *future = map(3, results);

	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(series.started, 0);
	assert_int_equal(results[0].res, -ECANCELED);
}

static void a_cancel_that_comes_too_late_changes_nothing(void)
{
	struct weir_future *future = map(SERIES, NULL);

	series.hooked = true;
	turns(2);
	weir_future_cancel(future);
	turns(2);
	for (unsigned i = 0; i < SERIES; i++)
		resolve(i, i);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
}

static void one_that_collects_is_cancelled_with_what_it_has(void)
{
	struct weir_future *future = map_settled(2, NULL);

	turns(2);
	resolve(0, 0);
	turns(2);
	weir_future_cancel(future);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 1);
	assert_int_equal(series.started, 3);
	are_cancelled(1, 3);
}

static void start_may_cancel_its_own_map(void)
{
	struct weir_future *future = map(3, NULL);

	series.cancel = future;
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(series.started, 1);
	are_cancelled(0, 1);
}

static void a_deadline_ends_it_and_what_is_under_way(void)
{
	struct weir_future *future = map(3, NULL);

	assert_int_equal(weir_await(future, weir_in(WEIR_MS), NULL), -ETIMEDOUT);
	assert_int_equal(series.started, 3);
	are_cancelled(0, 3);
}

static void dropped_it_goes_on_to_the_end(void)
{
	struct weir_future *future = map(1, NULL);

	weir_future_drop(future);
	for (unsigned i = 0; i < SERIES; i++) {
		turns(2);
		assert_int_equal(series.started, i + 1);
		resolve(i, i);
	}
	turns(2);
}

/* --- what cannot be waited for --- */

static void what_start_gives_in_error_counts_as_rejected(void)
{
	struct weir_result results[SERIES];
	struct pair used = pair();
	struct weir_future *consumed = weir_then(used.future, step, NULL);
	struct weir_future *future = map_settled(1, results);

	series.at[1] = used.future;
	series.at[2] = future;
	series.at[3] = weir_then(future, step, NULL);
	for (unsigned i = 4; i < SERIES; i++)
		series.at[i] = weir_future_of(-EIO);
	turns(2);
	resolve(0, 0);
	turns(2);
	assert_int_equal(series.started, SERIES);
	assert_int_equal(results[0].res, 0);
	assert_int_equal(results[1].res, -EBUSY);
	assert_int_equal(results[2].res, -EDEADLK);
	assert_int_equal(results[3].res, -EDEADLK);
	assert_int_equal(results[4].res, -EIO);
	weir_promise_resolve(&used.promise, 1);
	assert_int_equal(weir_await(consumed, WEIR_NEVER, NULL), 1);
}

static struct weir_future *begin_nothing(unsigned index, void *arg)
{
	(void)index;
	(void)arg;
	return NULL;
}

static void wrong_arguments_are_refused(void)
{
	assert_int_equal(weir_await(weir_map(1, 0, begin, NULL, NULL), 0, NULL), -EINVAL);
	assert_int_equal(weir_await(weir_map(1, 1, NULL, NULL, NULL), 0, NULL), -EINVAL);
	assert_int_equal(weir_await(weir_map(0, 1, begin, NULL, NULL), 0, NULL), 0);
	assert_int_equal(weir_await(weir_map_settled(0, 1, begin, NULL, NULL), 0, NULL), 0);
	assert_int_equal(weir_await(weir_map(1, 1, begin_nothing, NULL, NULL), WEIR_NEVER, NULL),
			 -EINVAL);
	assert_int_equal(weir_futures_set_max(1), 0);
	struct pair p = pair();
	assert_int_equal(weir_await(weir_map(1, 1, begin, NULL, NULL), 0, NULL), -ENOBUFS);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(weir_await(p.future, 0, NULL), 0);
}

static void outside_a_worker_there_is_no_map(void **state)
{
	(void)state;
	assert_int_equal(weir_await(weir_map(1, 1, begin, NULL, NULL), 0, NULL), -EDEADLK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(no_more_are_under_way_than_were_allowed),
		on_worker(a_million_that_are_there_at_once_let_others_run),
		on_worker(a_million_parts_take_the_memory_of_those_under_way),
		on_worker(the_first_rejection_ends_all_and_starts_no_more),
		on_worker(without_results_values_are_dropped),
		on_worker(collected_nothing_decides_and_the_fulfilled_are_counted),
		on_worker(a_cancel_goes_to_all_and_is_waited_for),
		on_worker(cancelled_before_it_began_it_starts_nothing),
		on_worker(a_cancel_that_comes_too_late_changes_nothing),
		on_worker(one_that_collects_is_cancelled_with_what_it_has),
		on_worker(start_may_cancel_its_own_map),
		on_worker(a_deadline_ends_it_and_what_is_under_way),
		on_worker(dropped_it_goes_on_to_the_end),
		on_worker(what_start_gives_in_error_counts_as_rejected),
		on_worker(wrong_arguments_are_refused),
		cmocka_unit_test(outside_a_worker_there_is_no_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
