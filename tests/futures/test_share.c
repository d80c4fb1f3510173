/* SPDX-License-Identifier: MIT */
/*
 * test_share.c - one result for many: all have the same value, it goes with the last of them, and
 * who gives up takes nothing from the others.
 */
#include "on_worker.h"

#include "futures/weir_retry.h"
#include "futures/weir_share.h"

#define READERS 5

static unsigned drops;
static unsigned cancels;

static void count_drop(void *value)
{
	(void)value;
	drops++;
}

static void note_cancel(void *arg)
{
	(void)arg;
	cancels++;
}

/* A share, and the promise of what it gives. */
static struct weir_share *share(struct weir_promise *ret_promise)
{
	struct pair p = pair();
	struct weir_share *share;

	drops = 0;
	cancels = 0;
	assert_int_equal(weir_promise_on_cancel(&p.promise, note_cancel, NULL), 0);
	assert_int_equal(weir_share_create(p.future, &share), 0);
	*ret_promise = p.promise;
	return share;
}

static ssize_t read_now(struct weir_future *reader, struct weir_share **ret_share)
{
	*ret_share = NULL;
	return weir_await(reader, WEIR_NEVER, (void **)ret_share);
}

static ssize_t pass(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

/* --- the result --- */

static void all_who_read_have_the_same_value(void)
{
	struct weir_share *mine[READERS], *handle;
	struct weir_future *readers[READERS];
	struct weir_promise promise;
	int number;

	handle = share(&promise);
	assert_null(weir_share_value(handle));
	for (unsigned i = 0; i < READERS - 1; i++)
		readers[i] = weir_share_read(handle);
	turns(2);
	assert_false(weir_future_is_settled(readers[0]));
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	for (unsigned i = 0; i < READERS - 1; i++)
		assert_int_equal(read_now(readers[i], &mine[i]), 7);
	assert_int_equal(read_now(weir_share_read(handle), &mine[READERS - 1]), 7);
	for (unsigned i = 0; i < READERS; i++)
		assert_ptr_equal(weir_share_value(mine[i]), &number);
	assert_int_equal(weir_share_release(handle), 0);
	for (unsigned i = 0; i < READERS; i++) {
		assert_int_equal(drops, 0);
		assert_int_equal(weir_share_release(mine[i]), 0);
	}
	assert_int_equal(drops, 1);
}

static void readers_are_told_in_the_order_in_which_they_came(void)
{
	struct weir_future *readers[READERS];
	struct weir_result results[READERS];
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);

	for (unsigned i = 0; i < READERS; i++)
		readers[i] = weir_share_read(handle);
	weir_promise_resolve(&promise, 1);
	assert_int_equal(weir_await(weir_all_settled(readers, READERS, results), WEIR_NEVER, NULL),
			 READERS);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(results[i].rank, i);
	weir_share_release(handle);
}

static void a_rejection_is_everybodys_too(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise), *mine;
	struct weir_future *a = weir_share_read(handle), *b = weir_share_read(handle);

	weir_promise_resolve(&promise, -EIO);
	assert_int_equal(read_now(a, &mine), -EIO);
	assert_int_equal(read_now(b, &mine), -EIO);
	assert_int_equal(read_now(weir_share_read(handle), &mine), -EIO);
	assert_null(mine);
	weir_share_release(handle);
	assert_int_equal(info().unobserved, 0);
}

static void without_a_value_there_is_nothing_to_release(void)
{
	struct weir_share *handle, *mine;

	assert_int_equal(weir_share_create(weir_future_of(3), &handle), 0);
	assert_int_equal(read_now(weir_share_read(handle), &mine), 3);
	assert_null(mine);
	assert_null(weir_share_value(mine));
	assert_int_equal(weir_share_release(mine), 0);
	/* And nothing to allocate. */
	assert_int_equal(info().count, 1);
	weir_futures_set_max(1);
	assert_int_equal(read_now(weir_share_read(handle), &mine), 3);
	weir_share_release(handle);
}

static void what_no_reader_takes_is_given_back(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);
	int number;

	weir_future_drop(weir_share_read(handle));
	assert_int_equal(weir_await(weir_then(weir_share_read(handle), pass, NULL), 0, NULL),
			 -ETIMEDOUT);
	weir_future_drop(weir_then(weir_share_read(handle), pass, NULL));
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	turns(4);
	weir_future_drop(weir_share_read(handle));
	assert_int_equal(weir_await(weir_share_read(handle), 0, NULL), 7);
	assert_int_equal(drops, 0);
	weir_share_release(handle);
	assert_int_equal(drops, 1);
}

static void released_before_the_result_it_comes_all_the_same(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise), *mine;
	struct weir_future *reader = weir_share_read(handle);
	int number;

	assert_int_equal(weir_share_release(handle), 0);
	turns(2);
	assert_int_equal(cancels, 0);
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	assert_int_equal(read_now(reader, &mine), 7);
	assert_ptr_equal(weir_share_value(mine), &number);
	weir_share_release(mine);
	assert_int_equal(drops, 1);
}

static void released_and_never_read_the_value_is_dropped_and_an_error_is_counted(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);
	int number;

	weir_share_release(handle);
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	turns(2);
	assert_int_equal(drops, 1);
	handle = share(&promise);
	weir_promise_resolve(&promise, -EIO);
	turns(2);
	assert_int_equal(info().unobserved, 0);
	weir_share_release(handle);
	assert_int_equal(info().unobserved, 1);
}

static void one_may_hold_it_for_another(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise), *other = weir_share_hold(handle);
	int number;

	assert_ptr_equal(other, handle);
	assert_null(weir_share_hold(NULL));
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	turns(2);
	weir_share_release(handle);
	assert_int_equal(drops, 0);
	assert_ptr_equal(weir_share_value(other), &number);
	weir_share_release(other);
	assert_int_equal(drops, 1);
}

static void a_million_readers_take_no_stack(void)
{
	struct weir_future **readers = calloc(MILLION, sizeof(struct weir_future *)), *all;
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);

	assert_non_null(readers);
	weir_futures_set_max(MILLION + 3);
	for (unsigned i = 0; i < MILLION; i++)
		readers[i] = weir_share_read(handle);
	all = weir_all(readers, MILLION);
	assert_int_equal(info().count, MILLION + 3);
	weir_promise_resolve(&promise, 1);
	assert_int_equal(weir_await(all, WEIR_NEVER, NULL), 0);
	weir_share_release(handle);
	free(readers);
}

/* --- cancel --- */

static void who_gives_up_takes_nothing_from_the_others(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise), *mine;
	struct weir_future *readers[3];
	int number;

	for (unsigned i = 0; i < 3; i++)
		readers[i] = weir_share_read(handle);
	assert_int_equal(weir_future_cancel(readers[1]), 0);
	assert_int_equal(weir_await(readers[1], WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(weir_await(readers[0], weir_in(WEIR_MS), NULL), -ETIMEDOUT);
	assert_int_equal(cancels, 0);
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	assert_int_equal(read_now(readers[2], &mine), 7);
	weir_share_release(mine);
	weir_share_release(handle);
	assert_int_equal(drops, 1);
}

static void the_last_who_gives_up_ends_it_and_waits_for_the_end(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise), *mine;
	struct weir_future *a = weir_share_read(handle), *b = weir_share_read(handle);

	weir_future_cancel(a);
	assert_int_equal(cancels, 0);
	weir_future_cancel(b);
	weir_future_cancel(b);
	assert_int_equal(cancels, 1);
	turns(3);
	assert_true(weir_future_is_settled(a));
	assert_false(weir_future_is_settled(b));
	/* Whoever comes now has what comes of it, and may go again. */
	weir_future_drop(weir_share_read(handle));
	a = (weir_await(a, 0, NULL), weir_share_read(handle));
	weir_future_cancel(a);
	assert_int_equal(weir_await(a, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(cancels, 1);
	weir_promise_resolve(&promise, -ECANCELED);
	assert_int_equal(read_now(b, &mine), -ECANCELED);
	weir_share_release(handle);
}

static void a_result_that_came_in_spite_of_the_last_cancel_is_the_result(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise), *mine;
	struct weir_future *reader = weir_share_read(handle);
	int number;

	weir_share_release(handle);
	weir_future_cancel(reader);
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	assert_int_equal(read_now(reader, &mine), 7);
	weir_share_release(mine);
	assert_int_equal(drops, 1);
}

static void who_was_dropped_still_wants_it(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);
	struct weir_future *reader = weir_share_read(handle);

	weir_future_drop(weir_share_read(handle));
	weir_future_cancel(reader);
	assert_int_equal(weir_await(reader, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(cancels, 0);
	weir_promise_resolve(&promise, 1);
	turns(3);
	weir_share_release(handle);
}

/* --- readers are futures --- */

static void readers_may_be_combined_chained_and_tapped(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);
	struct weir_future *parts[3], *future;

	for (unsigned i = 0; i < 3; i++)
		parts[i] = weir_then(weir_share_read(handle), pass, NULL);
	future = weir_timeout(weir_all(parts, 3), weir_in(WEIR_S));
	weir_promise_resolve(&promise, 1);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	weir_share_release(handle);
}

static void a_reader_may_stand_in_for_what_there_was_no_memory_for(void)
{
	struct weir_promise promise;
	struct weir_share *handle = share(&promise);
	struct weir_future *parts[2] = { weir_share_read(handle), weir_share_read(handle) };
	struct weir_future *future;
	int number;

	weir_futures_set_max(4);
	future = weir_all(parts, 2);
	assert_int_equal(cancels, 1);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve_value(&promise, 7, &number, count_drop);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ENOBUFS);
	assert_int_equal(drops, 0);
	weir_share_release(handle);
	assert_int_equal(drops, 1);
}

/* --- cycles --- */

struct follower {
	struct weir_share *share;
	unsigned links;		/* between the step and the reader it follows */
};

static ssize_t follow_reader(struct weir_result *result, void *arg)
{
	struct follower *follower = arg;
	struct weir_future *next = weir_share_read(follower->share);

	for (unsigned i = 0; i < follower->links; i++)
		next = weir_then(next, pass, NULL);
	return weir_follow(result, next);
}

/* A share of a step, with links behind it, that follows the share. */
static void what_waits_for_its_own_share_is_rejected(void)
{
	for (unsigned above = 0; above < 6; above++) {
		for (unsigned below = 0; below < 6; below++) {
			struct follower follower = { .links = below };
			struct weir_future *future;

			future = weir_then(weir_future_of(1), follow_reader, &follower);
			for (unsigned i = 0; i < above; i++)
				future = weir_then(future, pass, NULL);
			weir_share_create(future, &follower.share);
			assert_int_equal(weir_await(weir_share_read(follower.share),
						    weir_in(WEIR_S), NULL),
					 -EDEADLK);
			weir_share_release(follower.share);
		}
	}
}

static void what_waits_for_another_share_is_not(void)
{
	struct weir_promise promise;
	struct follower follower = { .share = share(&promise), .links = 3 };
	struct weir_share *second;
	struct weir_future *future;

	future = weir_then(weir_future_of(1), follow_reader, &follower);
	assert_int_equal(weir_share_create(weir_then(future, pass, NULL), &second), 0);
	turns(3);
	weir_promise_resolve(&promise, 4);
	assert_int_equal(weir_await(weir_share_read(second), WEIR_NEVER, NULL), 4);
	weir_share_release(follower.share);
	weir_share_release(second);
}

static void a_cycle_through_two_shares_is_found(void)
{
	struct follower first = { .links = 1 }, second = { .links = 2 };
	struct weir_future *reader;

	weir_share_create(weir_then(weir_future_of(1), follow_reader, &second), &first.share);
	weir_share_create(weir_then(weir_future_of(1), follow_reader, &first), &second.share);
	reader = weir_share_read(first.share);
	assert_int_equal(weir_await(weir_share_read(second.share), weir_in(WEIR_S), NULL),
			 -EDEADLK);
	assert_int_equal(weir_await(reader, weir_in(WEIR_S), NULL), -EDEADLK);
	weir_share_release(first.share);
	weir_share_release(second.share);
}

/* --- what cannot be --- */

static void what_cannot_be_shared_stays_the_callers(void)
{
	struct pair p = pair();
	struct weir_share *handle = NULL;
	struct weir_future *reader;

	assert_int_equal(weir_share_create(NULL, &handle), -EINVAL);
	weir_futures_set_max(1);
	assert_int_equal(weir_share_create(p.future, &handle), -ENOBUFS);
	weir_futures_set_max(2);
	assert_int_equal(weir_share_create(p.future, &handle), 0);
	assert_int_equal(weir_await(weir_share_read(handle), 0, NULL), -ENOBUFS);
	weir_futures_set_max(3);
	reader = weir_share_read(handle);
	assert_int_equal(weir_await(p.future, 0, NULL), -EBUSY);
	weir_promise_resolve(&p.promise, 1);
	assert_int_equal(weir_await(reader, WEIR_NEVER, NULL), 1);
	weir_share_release(handle);
	assert_int_equal(weir_await(weir_share_read(NULL), 0, NULL), -EINVAL);
	assert_int_equal(weir_share_release(NULL), 0);
}

static struct weir_share *kept;

static struct weir_future *begin_promise(unsigned index, void *arg)
{
	(void)index;
	(void)arg;
	return pair().future;
}

static struct weir_future *fails(unsigned index, void *arg)
{
	(void)index;
	(void)arg;
	return weir_future_of(-EAGAIN);
}

static void keep_some(void)
{
	const struct weir_retry_opts opts = { .delay_ns = WEIR_S, .jitter = WEIR_JITTER_NONE };
	struct weir_promise promise;

	kept = share(&promise);
	weir_promise_resolve(&promise, 1);
	turns(2);
	/* None of them keeps the worker: a map's part, a delay, a hedge's, a reader. */
	weir_map(2, 1, begin_promise, NULL, NULL);
	weir_retry(&opts, fails, NULL);
	weir_hedge(WEIR_S, begin_promise, NULL);
	weir_share_read(share(&promise));
	turns(3);
}

static void what_is_held_at_the_end_of_its_worker_goes_with_it(void **state)
{
	static struct fake_driver fake;
	static struct weir_worker worker;
	void (*body)(void) = keep_some;
	struct weir_share *handle;

	(void)state;
	assert_int_equal(weir_share_create(weir_future_of(1), &handle), -EDEADLK);
	fake_driver_init(&fake);
	assert_int_equal(weir__worker_init(&worker, &fake.driver, NULL), 0);
	go(on_worker_body, &body);
	assert_int_equal(weir__worker_loop(&worker), 0);
	weir__self = NULL;
	assert_int_equal(weir_await(weir_share_read(kept), 0, NULL), -EDEADLK);
	assert_int_equal(weir_share_release(kept), -EPROTO);
	assert_null(weir_share_hold(kept));
	weir__self = &worker;
	assert_int_equal(info().count, 9);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(all_who_read_have_the_same_value),
		on_worker(readers_are_told_in_the_order_in_which_they_came),
		on_worker(a_rejection_is_everybodys_too),
		on_worker(without_a_value_there_is_nothing_to_release),
		on_worker(what_no_reader_takes_is_given_back),
		on_worker(released_before_the_result_it_comes_all_the_same),
		on_worker(released_and_never_read_the_value_is_dropped_and_an_error_is_counted),
		on_worker(one_may_hold_it_for_another),
		on_worker(a_million_readers_take_no_stack),
		on_worker(who_gives_up_takes_nothing_from_the_others),
		on_worker(the_last_who_gives_up_ends_it_and_waits_for_the_end),
		on_worker(a_result_that_came_in_spite_of_the_last_cancel_is_the_result),
		on_worker(who_was_dropped_still_wants_it),
		on_worker(readers_may_be_combined_chained_and_tapped),
		on_worker(a_reader_may_stand_in_for_what_there_was_no_memory_for),
		on_worker(what_waits_for_its_own_share_is_rejected),
		on_worker(what_waits_for_another_share_is_not),
		on_worker(a_cycle_through_two_shares_is_found),
		on_worker(what_cannot_be_shared_stays_the_callers),
		cmocka_unit_test(what_is_held_at_the_end_of_its_worker_goes_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
