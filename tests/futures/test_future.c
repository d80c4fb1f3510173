/* SPDX-License-Identifier: MIT */
/*
 * test_future.c - one promise, one future: await, cancel, drop, taps, values, bounds.
 */
#include "on_worker.h"

static unsigned drops;

static void count_drop(void *value)
{
	(void)value;
	drops++;
}

static int place;

static void a_promise_that_is_dropped_rejects_its_future(void)
{
	struct pair p = pair();

	weir_promise_drop(&p.promise);
	weir_promise_drop(&p.promise);
	assert_int_equal(weir_promise_resolve(&p.promise, 0), -EALREADY);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -EPIPE);
}

static void a_number_is_a_future_that_takes_no_memory(void)
{
	static const ssize_t numbers[] = { 0, 1, 4096, INTPTR_MAX >> 1, -1, -EIO, -4095 };
	void *value = &place;

	for (unsigned i = 0; i < 7; i++) {
		struct weir_future *future = weir_future_of(numbers[i]);

		assert_true(weir_future_is_settled(future));
		assert_int_equal(weir_future_cancel(future), -EALREADY);
		assert_int_equal(weir_await(future, 0, &value), numbers[i]);
	}
	assert_null(value);
	assert_int_equal(info().count, 0);
}

static int resolver(void *arg)
{
	return weir_promise_resolve(arg, 21);
}

static void await_waits_until_another_coroutine_resolves(void)
{
	struct pair p = pair();

	go(resolver, &p.promise);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 21);
}

static void a_value_that_is_taken_is_not_dropped(void)
{
	struct pair p = pair();
	void *value = NULL;

	drops = 0;
	assert_int_equal(weir_promise_resolve_value(&p.promise, 1, &place, count_drop), 0);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 1);
	assert_true(value == &place);
	assert_int_equal(drops, 0);
}

static void a_value_that_nobody_takes_is_dropped_once(void)
{
	struct pair a = pair(), b = pair(), c = pair();

	drops = 0;
	weir_promise_resolve_value(&a.promise, 1, &place, count_drop);
	assert_int_equal(weir_await(a.future, WEIR_NEVER, NULL), 1);
	assert_int_equal(drops, 1);
	weir_promise_resolve_value(&b.promise, 1, &place, count_drop);
	weir_future_drop(b.future);
	assert_int_equal(drops, 2);
	weir_future_drop(c.future);
	weir_promise_resolve_value(&c.promise, 1, &place, count_drop);
	assert_int_equal(drops, 3);
}

static void a_rejection_carries_no_value_and_takes_none(void)
{
	struct pair p = pair();

	drops = 0;
	assert_int_equal(weir_promise_resolve_value(&p.promise, -EIO, &place, count_drop), -EINVAL);
	assert_int_equal(drops, 0);
	assert_int_equal(weir_promise_resolve(&p.promise, -EIO), 0);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -EIO);
}

static void await_gives_up_at_its_deadline_and_the_promise_learns_it(void)
{
	struct pair p = pair();
	int64_t start = weir_now();

	assert_true(weir_promise_is_wanted(&p.promise));
	assert_int_equal(weir_await(p.future, weir_in(5 * WEIR_MS), NULL), -ETIMEDOUT);
	assert_true(weir_now() >= start + 5 * WEIR_MS);
	assert_false(weir_promise_is_wanted(&p.promise));
	drops = 0;
	assert_int_equal(weir_promise_resolve_value(&p.promise, 1, &place, count_drop), -ECANCELED);
	assert_int_equal(drops, 0);
}

static int count_run(void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

static void await_after_its_deadline_does_not_wait(void)
{
	struct pair p = pair();
	unsigned runs = 0;

	go(count_run, &runs);
	assert_int_equal(weir_await(p.future, weir_now(), NULL), -ETIMEDOUT);
	assert_int_equal(runs, 0);
	assert_int_equal(weir_promise_resolve(&p.promise, 1), -ECANCELED);
	turns(2);
	assert_int_equal(runs, 1);
}

static void a_result_that_is_there_is_given_whatever_the_deadline_says(void)
{
	struct pair p = pair();

	weir_promise_resolve(&p.promise, 6);
	weir_coro_cancel(weir_coro_self());
	assert_int_equal(weir_await(p.future, 0, NULL), 6);
}

static int await_forever(void *arg)
{
	return (int)weir_await(arg, WEIR_NEVER, NULL);
}

static void a_cancelled_coroutine_ends_its_await(void)
{
	struct pair p = pair();
	struct weir_coro *coro = start(await_forever, p.future);
	int res;

	turns(2);
	weir_coro_cancel(coro);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ECANCELED);
	assert_int_equal(weir_promise_resolve(&p.promise, 1), -ECANCELED);
}

static void an_await_in_a_cancelled_coroutine_ends_the_future(void)
{
	struct pair p = pair();

	weir_coro_cancel(weir_coro_self());
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -ECANCELED);
	assert_int_equal(weir_promise_resolve(&p.promise, 1), -ECANCELED);
}

/* Somebody whose work takes time to end, as an op's in the kernel does. */
struct worker_like {
	struct weir_promise promise;
	unsigned asked;
};

static void ask(void *arg)
{
	((struct worker_like *)arg)->asked++;
}

static int end_later(void *arg)
{
	struct worker_like *work = arg;

	weir_sleep(20 * WEIR_MS);
	return weir_promise_resolve(&work->promise, work->asked ? -ECANCELED : 1);
}

/* Photon and glommio#52: a wait that returned while its op was in flight; traps.md 1 and 4. */
static void a_timed_out_await_returns_when_the_work_has_ended_not_before(void)
{
	struct worker_like work = { .asked = 0 };
	struct weir_future *future;
	int64_t begin = weir_now();

	assert_int_equal(weir_promise_create(&work.promise, &future), 0);
	assert_int_equal(weir_promise_on_cancel(&work.promise, ask, &work), 0);
	go(end_later, &work);
	assert_int_equal(weir_await(future, weir_in(5 * WEIR_MS), NULL), -ETIMEDOUT);
	assert_int_equal(work.asked, 1);
	assert_true(weir_now() >= begin + 20 * WEIR_MS);
}

static int resolve_9_later(void *arg)
{
	weir_sleep(20 * WEIR_MS);
	return weir_promise_resolve(arg, 9);
}

/* tokio's select! loses bytes; folly#1237 */
static void what_was_done_in_spite_of_a_timeout_is_not_lost(void)
{
	struct worker_like work = { .asked = 0 };
	struct weir_future *future;

	assert_int_equal(weir_promise_create(&work.promise, &future), 0);
	assert_int_equal(weir_promise_on_cancel(&work.promise, ask, &work), 0);
	go(resolve_9_later, &work.promise);
	assert_int_equal(weir_await(future, weir_in(5 * WEIR_MS), NULL), 9);
	assert_int_equal(work.asked, 1);
}

static void cancel_asks_once_and_the_await_gives_the_verdict(void)
{
	struct worker_like work = { .asked = 0 };
	struct weir_future *future;

	assert_int_equal(weir_promise_create(&work.promise, &future), 0);
	assert_int_equal(weir_promise_on_cancel(&work.promise, ask, &work), 0);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(work.asked, 1);
	assert_false(weir_future_is_settled(future));
	assert_int_equal(weir_promise_on_cancel(&work.promise, ask, &work), -ECANCELED);
	weir_promise_resolve(&work.promise, 3);
	assert_int_equal(weir_future_cancel(future), -EALREADY);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 3);
	assert_int_equal(weir_promise_on_cancel(&work.promise, ask, &work), -EALREADY);
}

static void a_cancel_goes_on_to_what_is_followed_later(void)
{
	struct worker_like work = { .asked = 0 };
	struct pair inner = pair();
	struct weir_future *future;

	assert_int_equal(weir_promise_create(&work.promise, &future), 0);
	assert_int_equal(weir_promise_on_cancel(&work.promise, ask, &work), 0);
	assert_int_equal(weir_future_cancel(future), 0);
	assert_int_equal(weir_promise_follow(&work.promise, inner.future), 0);
	assert_int_equal(weir_promise_resolve(&inner.promise, 1), -ECANCELED);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
}

static void cancel_without_a_hook_settles_at_once(void)
{
	struct pair p = pair();

	assert_int_equal(weir_future_cancel(p.future), 0);
	assert_true(weir_future_is_settled(p.future));
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -ECANCELED);
	weir_promise_drop(&p.promise);
}

static void a_consumed_future_refuses_a_second_holder(void)
{
	struct pair p = pair();
	struct weir_coro *coro = start(await_forever, p.future);
	struct weir_tap tap;
	int res;

	turns(2);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -EBUSY);
	assert_int_equal(weir_await(weir_then(p.future, NULL, NULL), WEIR_NEVER, NULL), -EBUSY);
	assert_int_equal(weir_future_tap(p.future, &tap, NULL), -EBUSY);
	weir_future_drop(p.future);
	weir_promise_resolve(&p.promise, 5);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 5);
}

static void no_future_is_an_error_and_no_crash(void)
{
	assert_int_equal(weir_await(NULL, WEIR_NEVER, NULL), -EINVAL);
	assert_int_equal(weir_future_cancel(NULL), -EINVAL);
	weir_future_drop(NULL);
	assert_int_equal(weir_await(weir_then(NULL, NULL, NULL), WEIR_NEVER, NULL), -EINVAL);
	assert_int_equal(weir_await(weir_timeout(NULL, 0), WEIR_NEVER, NULL), -EINVAL);
}

struct glimpse {
	struct weir_tap tap;
	ssize_t res;
	void *value;
	unsigned count;
};

static void look(struct weir_tap *tap, ssize_t res, void *value)
{
	struct glimpse *glimpse = weir_container_of(tap, struct glimpse, tap);

	glimpse->res = res;
	glimpse->value = value;
	glimpse->count++;
}

static void a_tap_sees_the_value_before_its_taker(void)
{
	struct pair p = pair();
	struct glimpse glimpse = { .count = 0 };
	void *value = NULL;

	weir_promise_resolve_value(&p.promise, 2, &place, NULL);
	assert_int_equal(weir_future_tap(p.future, &glimpse.tap, look), 0);
	assert_int_equal(glimpse.count, 0);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 2);
	assert_int_equal(glimpse.count, 1);
	assert_int_equal(glimpse.res, 2);
	assert_true(glimpse.value == &place && value == &place);
}

static void a_tap_sees_the_value_of_a_future_that_was_dropped(void)
{
	struct pair p = pair();
	struct glimpse a = { .count = 0 }, b = { .count = 0 };

	drops = 0;
	assert_int_equal(weir_future_tap(p.future, &a.tap, look), 0);
	assert_int_equal(weir_future_tap(p.future, &b.tap, look), 0);
	weir_future_drop(p.future);
	weir_promise_resolve_value(&p.promise, 2, &place, count_drop);
	assert_int_equal(drops, 0);
	turns(2);
	assert_int_equal(a.count, 1);
	assert_int_equal(b.count, 1);
	assert_true(a.value == &place && b.value == &place);
	assert_int_equal(drops, 1);
}

static void a_tap_on_a_number_runs_too(void)
{
	struct glimpse glimpse = { .count = 0 };

	assert_int_equal(weir_future_tap(weir_future_of(-EIO), &glimpse.tap, look), 0);
	assert_int_equal(glimpse.count, 0);
	turns(1);
	assert_int_equal(glimpse.count, 1);
	assert_int_equal(glimpse.res, -EIO);
}

static void a_tap_taken_back_does_not_run(void)
{
	struct pair p = pair();
	struct glimpse a = { .count = 0 }, b = { .count = 0 }, c = { .count = 0 };

	assert_int_equal(weir_future_tap(p.future, &a.tap, look), 0);
	assert_int_equal(weir_future_tap(p.future, &b.tap, look), 0);
	assert_int_equal(weir_future_tap(p.future, &c.tap, look), 0);
	assert_int_equal(weir_future_untap(&c.tap), 0);
	assert_int_equal(weir_future_untap(&a.tap), 0);
	weir_promise_resolve(&p.promise, 1);
	assert_int_equal(weir_future_untap(&b.tap), -EALREADY);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 1);
	assert_int_equal(a.count, 0);
	assert_int_equal(b.count, 1);
	assert_int_equal(c.count, 0);
}

static void the_bound_refuses_above_it_and_only_there(void)
{
	struct pair pairs[8];
	struct weir_promise promise;
	struct weir_future *future = NULL;
	uint64_t refused = info().refused;

	assert_int_equal(weir_futures_set_max(0), -EINVAL);
	assert_int_equal(weir_futures_set_max(8), 0);
	for (unsigned i = 0; i < 8; i++)
		pairs[i] = pair();
	assert_int_equal(info().count, 8);
	assert_int_equal(info().count_max, 8);
	assert_int_equal(weir_promise_create(&promise, &future), -ENOBUFS);
	assert_null(future);
	assert_int_equal(info().refused, refused + 1);
	weir_promise_resolve(&pairs[0].promise, 1);
	assert_int_equal(weir_await(pairs[0].future, WEIR_NEVER, NULL), 1);
	pairs[0] = pair();
	for (unsigned i = 0; i < 8; i++) {
		weir_promise_resolve(&pairs[i].promise, 1);
		assert_int_equal(weir_await(pairs[i].future, WEIR_NEVER, NULL), 1);
	}
	assert_int_equal(info().count, 0);
	assert_int_equal(info().count_high, 8);
}

static int find_place(const struct weir_unobserved *seen, void *arg)
{
	struct weir_unobserved *wanted = arg;

	if (strcmp(seen->origin, wanted->origin) != 0)
		return 0;
	*wanted = *seen;
	return 1;
}

static void a_rejection_nobody_looks_at_is_counted_with_its_origin(void)
{
	struct weir_promise promise;
	struct weir_future *future;
	struct weir_unobserved seen;
	int r;

	for (int i = 0; i < 3; i++) {
		/* One line, so that both have its number. */
		seen.origin = WEIR_HERE, r = weir_promise_create(&promise, &future);
		assert_int_equal(r, 0);
		if (i == 1)
			weir_future_drop(future);
		weir_promise_resolve(&promise, i == 2 ? -ENOENT : -EIO);
		if (i != 1)
			weir_future_drop(future);
	}
	assert_int_equal(weir_unobserved_list(find_place, &seen), 1);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.res, -ENOENT);
	assert_int_equal(info().unobserved, 3);
}

static ssize_t fine(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static ssize_t fail_with(struct weir_result *result, void *arg)
{
	(void)result;
	return *(const int *)arg;
}

static uint64_t count_of(const char *origin)
{
	struct weir_unobserved seen = { .origin = origin };

	return weir_unobserved_list(find_place, &seen) ? seen.count : 0;
}

static void an_error_of_a_step_has_the_steps_origin_one_passed_on_its_own(void)
{
	static const int error = -EBADMSG, same = -EIO;
	struct weir_promise promise;
	struct weir_future *future;

	assert_int_equal(weir_promise_create_at(&promise, &future, "source"), 0);
	weir_promise_resolve(&promise, -EIO);
	weir_future_drop(weir_recover_at(future, fail_with, (void *)&same, "passes on"));
	weir_future_drop(weir_recover_at(weir_future_of(-EIO), fail_with, (void *)&error, "fails"));
	weir_future_drop(weir_finally_at(weir_future_of(1), fail_with, (void *)&error, "fails"));
	turns(3);
	assert_int_equal(count_of("source"), 1);
	assert_int_equal(count_of("passes on"), 0);
	assert_int_equal(count_of("fails"), 2);
}

static void a_rejection_keeps_its_origin_through_a_chain(void)
{
	struct weir_promise promise;
	struct weir_future *future;
	struct weir_unobserved seen = { .origin = "the source" };

	assert_int_equal(weir_promise_create_at(&promise, &future, "the source"), 0);
	future = weir_timeout(weir_then(future, fine, NULL), weir_in(WEIR_S));
	future = weir_finally(weir_all(&future, 1), fine, NULL);
	weir_future_drop(future);
	weir_promise_resolve(&promise, -EIO);
	turns(6);
	assert_int_equal(weir_unobserved_list(find_place, &seen), 1);
	assert_int_equal(seen.count, 1);
}

static void what_was_seen_or_cancelled_is_not_counted(void)
{
	struct pair a = pair(), b = pair(), c = pair(), d = pair();
	struct glimpse glimpse = { .count = 0 };

	weir_promise_resolve(&a.promise, -EIO);
	assert_int_equal(weir_await(a.future, WEIR_NEVER, NULL), -EIO);
	weir_future_cancel(b.future);
	weir_future_drop(b.future);
	weir_promise_drop(&b.promise);
	assert_int_equal(weir_future_tap(c.future, &glimpse.tap, look), 0);
	weir_future_drop(c.future);
	weir_promise_resolve(&c.promise, -EIO);
	weir_promise_resolve(&d.promise, 5);
	weir_future_drop(d.future);
	turns(2);
	assert_int_equal(info().unobserved, 0);
}

static int count_places(const struct weir_unobserved *seen, void *arg)
{
	unsigned *counts = arg;

	counts[strcmp(seen->origin, "others") == 0]++;
	return 0;
}

static void the_table_of_origins_is_bounded_and_counts_the_rest_as_others(void)
{
	static char origins[WEIR_UNOBSERVED_MAX + 8][16];
	unsigned counts[2] = { 0, 0 };

	for (int i = 0; i < WEIR_UNOBSERVED_MAX + 8; i++) {
		struct weir_promise promise;
		struct weir_future *future;

		snprintf(origins[i], sizeof(origins[i]), "p%d", i);
		assert_int_equal(weir_promise_create_at(&promise, &future, origins[i]), 0);
		weir_promise_drop(&promise);
		weir_future_drop(future);
		weir_unobserved_list(count_places, counts);
		assert_int_equal(counts[1], i >= WEIR_UNOBSERVED_MAX);
		if (i < WEIR_UNOBSERVED_MAX + 7)
			memset(counts, 0, sizeof(counts));
	}
	assert_int_equal(counts[0], WEIR_UNOBSERVED_MAX);
	assert_int_equal(info().unobserved, WEIR_UNOBSERVED_MAX + 8);
}

static void outside_a_worker_nothing_is_made(void **state)
{
	struct weir_promise promise;
	struct weir_future *future;
	struct weir_futures_info levels;

	(void)state;
	assert_int_equal(weir_promise_create(&promise, &future), -EDEADLK);
	assert_int_equal(weir_await(weir_then(weir_future_of(1), fine, NULL), 0, NULL), -EDEADLK);
	assert_int_equal(weir_futures_info(&levels), -EDEADLK);
	assert_int_equal(weir_futures_set_max(1), -EDEADLK);
}

static struct weir_task task;
static struct pair task_pair;
static ssize_t task_res;

static void await_in_task(struct weir_task *unused)
{
	(void)unused;
	task_res = weir_await(task_pair.future, WEIR_NEVER, NULL);
}

static void await_outside_a_coroutine_is_refused_and_ends_the_future(void)
{
	task_pair = pair();
	weir_task_init(&task, await_in_task);
	weir_task_ready(&task);
	turns(2);
	assert_int_equal(task_res, -EDEADLK);
	assert_int_equal(weir_promise_resolve(&task_pair.promise, 1), -ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(a_promise_that_is_dropped_rejects_its_future),
		on_worker(a_number_is_a_future_that_takes_no_memory),
		on_worker(await_waits_until_another_coroutine_resolves),
		on_worker(a_value_that_is_taken_is_not_dropped),
		on_worker(a_value_that_nobody_takes_is_dropped_once),
		on_worker(a_rejection_carries_no_value_and_takes_none),
		on_worker(await_gives_up_at_its_deadline_and_the_promise_learns_it),
		on_worker(await_after_its_deadline_does_not_wait),
		on_worker(a_result_that_is_there_is_given_whatever_the_deadline_says),
		on_worker(a_cancelled_coroutine_ends_its_await),
		on_worker(an_await_in_a_cancelled_coroutine_ends_the_future),
		on_worker(a_timed_out_await_returns_when_the_work_has_ended_not_before),
		on_worker(what_was_done_in_spite_of_a_timeout_is_not_lost),
		on_worker(cancel_asks_once_and_the_await_gives_the_verdict),
		on_worker(a_cancel_goes_on_to_what_is_followed_later),
		on_worker(cancel_without_a_hook_settles_at_once),
		on_worker(a_consumed_future_refuses_a_second_holder),
		on_worker(no_future_is_an_error_and_no_crash),
		on_worker(a_tap_sees_the_value_before_its_taker),
		on_worker(a_tap_sees_the_value_of_a_future_that_was_dropped),
		on_worker(a_tap_on_a_number_runs_too),
		on_worker(a_tap_taken_back_does_not_run),
		on_worker(the_bound_refuses_above_it_and_only_there),
		on_worker(a_rejection_nobody_looks_at_is_counted_with_its_origin),
		on_worker(a_rejection_keeps_its_origin_through_a_chain),
		on_worker(an_error_of_a_step_has_the_steps_origin_one_passed_on_its_own),
		on_worker(what_was_seen_or_cancelled_is_not_counted),
		on_worker(the_table_of_origins_is_bounded_and_counts_the_rest_as_others),
		on_worker(await_outside_a_coroutine_is_refused_and_ends_the_future),
		cmocka_unit_test(outside_a_worker_nothing_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
