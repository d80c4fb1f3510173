/* SPDX-License-Identifier: MIT */
/*
 * test_memo.c - results by key: asked for once by all who ask at once, kept as long as was said,
 * bounded, and whose cancel ends what.
 */
#include "on_worker.h"

#include "futures/siphash.h"
#include "futures/weir_share.h"

#define FLIGHTS 64

/* What start was called for; the test lets it land. */
static struct {
	struct pair flights[FLIGHTS];
	char keys[FLIGHTS][16];
	unsigned count;
	unsigned cancels;
	unsigned drops;
	bool is_plain;			/* flights have no hook: a cancel ends them at once */
	struct weir_future *gives;	/* instead, unless NULL */
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

static struct weir_future *start_flight(const void *key, size_t key_size, void *arg)
{
	struct pair *flight = &seen.flights[seen.count];

	assert_ptr_equal(arg, &seen);
	assert_null(weir_coro_self());
	assert_true(seen.count < FLIGHTS && key_size < sizeof(seen.keys[0]));
	memcpy(seen.keys[seen.count++], key, key_size);
	if (seen.gives)
		return seen.gives;
	*flight = pair();
	if (!seen.is_plain)
		weir_promise_on_cancel(&flight->promise, note_cancel, NULL);
	return flight->future;
}

static struct weir_memo *memo_of(const struct weir_memo_opts *opts)
{
	struct weir_memo_opts own = *opts;
	struct weir_memo *memo;

	memset(&seen, 0, sizeof(seen));
	own.start = start_flight;
	own.arg = &seen;
	assert_int_equal(weir_memo_create(&own, &memo), 0);
	return memo;
}

static struct weir_memo *memo_for(int64_t ttl_ns)
{
	return memo_of(&(struct weir_memo_opts){ .ttl_ns = ttl_ns });
}

static struct weir_future *get(struct weir_memo *memo, const char *key)
{
	return weir_memo_get(memo, key, strlen(key));
}

static ssize_t result_of(struct weir_future *future)
{
	return weir_await(future, WEIR_NEVER, NULL);
}

static void land(unsigned flight, ssize_t res)
{
	assert_int_equal(weir_promise_resolve(&seen.flights[flight].promise, res), 0);
}

/* Gets key, and lets its flight land with res. */
static void keep(struct weir_memo *memo, const char *key, ssize_t res)
{
	struct weir_future *future = get(memo, key);
	unsigned flight = seen.count;

	turns(2);
	assert_int_equal(seen.count, flight + 1);
	land(flight, res);
	assert_int_equal(result_of(future), res);
}

static struct weir_memo_info levels(struct weir_memo *memo)
{
	struct weir_memo_info levels;

	assert_int_equal(weir_memo_info(memo, &levels), 0);
	return levels;
}

/* --- one flight for all --- */

static void of_many_who_ask_at_once_one_asks_for_all(void)
{
	struct weir_memo *memo = memo_for(0);
	struct weir_future *futures[10];
	struct weir_share *mine[10];
	int number;

	for (unsigned i = 0; i < 10; i++) {
		futures[i] = get(memo, "a");
		if (i == 4)
			turns(3);
	}
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.keys[0], "a");
	weir_promise_resolve_value(&seen.flights[0].promise, 5, &number, count_drop);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(weir_await(futures[i], WEIR_NEVER, (void **)&mine[i]), 5);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(seen.drops, 0);
		assert_ptr_equal(weir_share_value(mine[i]), &number);
		assert_int_equal(weir_share_release(mine[i]), 0);
	}
	assert_int_equal(seen.drops, 1);
	assert_int_equal(levels(memo).misses, 1);
	assert_int_equal(levels(memo).joins, 9);
	assert_int_equal(levels(memo).hits, 0);
	assert_int_equal(levels(memo).entries, 0);
	assert_int_equal(weir_memo_destroy(memo), 0);
}

static void start_is_not_called_inside_get(void)
{
	struct weir_memo *memo = memo_for(0);
	struct weir_future *future = get(memo, "a");

	assert_int_equal(seen.count, 0);
	turns(2);
	assert_int_equal(seen.count, 1);
	land(0, 1);
	assert_int_equal(result_of(future), 1);
	weir_memo_destroy(memo);
}

static void each_key_has_a_flight_of_its_own(void)
{
	struct weir_memo *memo = memo_for(0);
	struct weir_future *a = get(memo, "a"), *ab = get(memo, "ab"), *none = get(memo, "");
	struct weir_future *nil = weir_memo_get(memo, NULL, 0);

	turns(2);
	assert_int_equal(seen.count, 3);
	for (unsigned i = 0; i < 3; i++)
		land(i, i);
	assert_int_equal(result_of(a), 0);
	assert_int_equal(result_of(ab), 1);
	assert_int_equal(result_of(none), 2);
	assert_int_equal(result_of(nil), 2);
	weir_memo_destroy(memo);
}

static void the_key_is_copied(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	char key[] = "abc";
	struct weir_future *future = get(memo, key);

	memset(key, 'x', 3);
	turns(2);
	assert_string_equal(seen.keys[0], "abc");
	land(0, 1);
	assert_int_equal(result_of(future), 1);
	assert_int_equal(result_of(get(memo, "abc")), 1);
	assert_int_equal(seen.count, 1);
	weir_memo_destroy(memo);
}

/* --- how long it is kept --- */

static void by_default_nothing_is_kept(void)
{
	struct weir_memo *memo = memo_for(0);

	keep(memo, "a", 1);
	keep(memo, "a", 2);
	weir_memo_destroy(memo);
}

static void a_result_is_kept_for_its_time_and_then_asked_for_again(void)
{
	struct weir_memo *memo = memo_for(10 * WEIR_MS);
	struct weir_future *future = get(memo, "a");

	weir_sleep(WEIR_S);	/* on its way: the time runs from when it is there */
	land(0, 1);
	assert_int_equal(result_of(future), 1);
	weir_sleep(9 * WEIR_MS);
	assert_int_equal(result_of(get(memo, "a")), 1);
	assert_int_equal(levels(memo).hits, 1);
	weir_sleep(WEIR_MS);
	keep(memo, "a", 2);
	assert_int_equal(result_of(get(memo, "a")), 2);
	assert_int_equal(levels(memo).entries, 1);
	weir_memo_destroy(memo);
}

static void what_is_kept_for_good_is_kept(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);

	keep(memo, "a", 1);
	weir_sleep(3600 * 24 * 365 * WEIR_S);
	assert_int_equal(result_of(get(memo, "a")), 1);
	weir_memo_destroy(memo);
}

static void errors_are_not_kept_unless_that_was_asked_for(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);

	keep(memo, "a", -EIO);
	keep(memo, "a", 1);
	weir_memo_destroy(memo);
	memo = memo_of(&(struct weir_memo_opts){ .error_ttl_ns = 5 * WEIR_MS });
	keep(memo, "a", -EIO);
	assert_int_equal(result_of(get(memo, "a")), -EIO);
	weir_sleep(5 * WEIR_MS);
	keep(memo, "a", 1);
	keep(memo, "a", 1);
	weir_memo_destroy(memo);
}

static void a_cancel_is_never_kept(void)
{
	struct weir_memo *memo = memo_of(&(struct weir_memo_opts){
		.ttl_ns = WEIR_NEVER,
		.error_ttl_ns = WEIR_NEVER,
	});

	keep(memo, "a", -ECANCELED);
	keep(memo, "a", 1);
	weir_memo_destroy(memo);
}

static void a_value_goes_when_the_memo_and_all_who_have_it_let_go(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *future = get(memo, "a");
	struct weir_share *mine;
	int number;

	turns(2);
	weir_promise_resolve_value(&seen.flights[0].promise, 1, &number, count_drop);
	assert_int_equal(weir_await(future, WEIR_NEVER, (void **)&mine), 1);
	weir_share_release(mine);
	assert_int_equal(seen.drops, 0);
	assert_int_equal(weir_await(get(memo, "a"), WEIR_NEVER, (void **)&mine), 1);
	assert_int_equal(weir_memo_destroy(memo), 0);
	assert_int_equal(seen.drops, 0);
	assert_ptr_equal(weir_share_value(mine), &number);
	weir_share_release(mine);
	assert_int_equal(seen.drops, 1);
}

/* --- bounds --- */

static void the_one_not_asked_for_the_longest_makes_room(void)
{
	struct weir_memo *memo = memo_of(&(struct weir_memo_opts){
		.ttl_ns = WEIR_NEVER,
		.entries_max = 3,
	});

	keep(memo, "a", 1);
	keep(memo, "b", 2);
	keep(memo, "c", 3);
	assert_int_equal(result_of(get(memo, "a")), 1);
	keep(memo, "d", 4);
	assert_int_equal(levels(memo).evicted, 1);
	assert_int_equal(levels(memo).entries, 3);
	assert_int_equal(result_of(get(memo, "a")), 1);
	assert_int_equal(result_of(get(memo, "c")), 3);
	assert_int_equal(result_of(get(memo, "d")), 4);
	keep(memo, "b", 5);
	weir_memo_destroy(memo);
}

static void when_all_are_under_way_another_is_refused(void)
{
	struct weir_memo *memo = memo_of(&(struct weir_memo_opts){
		.ttl_ns = WEIR_NEVER,
		.entries_max = 2,
	});
	struct weir_future *a = get(memo, "a"), *b = get(memo, "b"), *again;

	assert_int_equal(result_of(get(memo, "c")), -ENOBUFS);
	assert_int_equal(levels(memo).refused, 1);
	assert_int_equal(levels(memo).flights, 2);
	again = get(memo, "a");
	turns(2);
	land(0, 1);
	land(1, 2);
	assert_int_equal(result_of(a), 1);
	assert_int_equal(result_of(again), 1);
	assert_int_equal(result_of(b), 2);
	keep(memo, "c", 3);
	weir_memo_destroy(memo);
}

static void ten_thousand_keys_are_told_apart(void)
{
	struct weir_memo *memo = memo_of(&(struct weir_memo_opts){
		.ttl_ns = WEIR_NEVER,
		.entries_max = 10000,
	});
	char key[16];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10000; i++) {
			snprintf(key, sizeof(key), "key %d", i);
			seen.count = 0;
			seen.gives = weir_future_of(i);
			assert_int_equal(result_of(get(memo, key)), i);
			assert_int_equal(seen.count, !round);
		}
	}
	assert_int_equal(levels(memo).entries, 10000);
	assert_int_equal(levels(memo).hits, 10000);
	weir_memo_destroy(memo);
}

/* --- cancel --- */

static void who_gives_up_does_not_end_it_for_the_others(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *a = get(memo, "a"), *b = get(memo, "a");

	turns(2);
	assert_int_equal(weir_await(a, weir_in(WEIR_MS), NULL), -ETIMEDOUT);
	assert_int_equal(seen.cancels, 0);
	land(0, 1);
	assert_int_equal(result_of(b), 1);
	weir_memo_destroy(memo);
}

static void the_last_who_gives_up_ends_it_and_the_next_starts_anew(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *a = get(memo, "a"), *b;

	turns(2);
	weir_future_cancel(a);
	assert_int_equal(seen.cancels, 1);
	b = get(memo, "a");
	turns(2);
	assert_int_equal(seen.count, 2);
	assert_int_equal(levels(memo).flights, 2);
	land(0, -ECANCELED);
	assert_int_equal(result_of(a), -ECANCELED);
	land(1, 2);
	assert_int_equal(result_of(b), 2);
	assert_int_equal(result_of(get(memo, "a")), 2);
	assert_int_equal(levels(memo).flights, 0);
	weir_memo_destroy(memo);
}

static void cancelled_before_it_took_off_it_is_not_started(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *a = get(memo, "a");

	weir_future_cancel(a);
	assert_int_equal(result_of(a), -ECANCELED);
	assert_int_equal(seen.count, 0);
	keep(memo, "a", 1);
	weir_memo_destroy(memo);
}

/* --- forget --- */

static void what_is_forgotten_is_asked_for_again(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *old, *young;

	assert_int_equal(weir_memo_forget(memo, "a", 1), -ENOENT);
	keep(memo, "a", 1);
	assert_int_equal(weir_memo_forget(memo, "a", 1), 0);
	assert_int_equal(weir_memo_forget(memo, "a", 1), -ENOENT);
	old = get(memo, "a");
	turns(2);
	assert_int_equal(weir_memo_forget(memo, "a", 1), 0);
	young = get(memo, "a");
	turns(2);
	assert_int_equal(seen.count, 3);
	land(2, 3);
	assert_int_equal(result_of(young), 3);
	land(1, 2);
	assert_int_equal(result_of(old), 2);
	assert_int_equal(result_of(get(memo, "a")), 3);
	weir_memo_destroy(memo);
}

/* --- the end --- */

static int destroys(void *arg)
{
	return weir_memo_destroy(arg);
}

static void destroying_ends_what_is_under_way_and_waits_for_it(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *a, *b;
	struct weir_coro *coro;
	int res;

	keep(memo, "c", 3);
	a = get(memo, "a");
	b = get(memo, "b");
	turns(2);
	coro = start(destroys, memo);
	turns(2);
	assert_int_equal(seen.cancels, 2);
	weir_coro_cancel(coro);		/* it cannot be interrupted */
	turns(2);
	assert_int_equal(result_of(get(memo, "c")), -ESHUTDOWN);
	assert_int_equal(weir_memo_destroy(memo), -EBUSY);
	land(1, -ECANCELED);
	turns(2);
	assert_int_equal(weir_coro_join(coro, weir_in(WEIR_MS), &res), -ETIMEDOUT);
	land(2, 7);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 0);
	assert_int_equal(result_of(a), -ECANCELED);
	assert_int_equal(result_of(b), 7);
}

static void destroyed_before_it_took_off_it_is_not_started(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct weir_future *a = get(memo, "a");

	assert_int_equal(weir_memo_destroy(memo), 0);
	assert_int_equal(seen.count, 0);
	assert_int_equal(result_of(a), -ECANCELED);
}

struct closing_task {
	struct weir_task task;
	struct weir_memo *memo;
	int res;
};

static void destroy_in_task(struct weir_task *task)
{
	struct closing_task *closing = weir_container_of(task, struct closing_task, task);

	closing->res = weir_memo_destroy(closing->memo);
}

static void outside_a_coroutine_it_does_not_wait(void)
{
	struct weir_memo *memo = memo_for(0);
	struct weir_future *a = get(memo, "a");
	struct closing_task closing = { .memo = memo };

	turns(2);
	weir_task_init(&closing.task, destroy_in_task);
	weir_task_ready(&closing.task);
	turns(1);
	assert_int_equal(closing.res, -EDEADLK);
	assert_int_equal(seen.cancels, 0);
	land(0, 1);
	assert_int_equal(result_of(a), 1);
	weir_task_ready(&closing.task);
	turns(1);
	assert_int_equal(closing.res, 0);
}

/* --- what cannot be --- */

static struct weir_memo *asked_again;

static ssize_t pass(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static struct weir_future *asks_again(const void *key, size_t key_size, void *arg)
{
	struct weir_future *future = weir_memo_get(asked_again, key, key_size);

	return arg ? weir_then(future, pass, NULL) : future;
}

static void a_start_that_waits_for_its_own_key_is_rejected(void)
{
	for (int i = 0; i < 2; i++) {
		const struct weir_memo_opts opts = {
			.start = asks_again,
			.arg = i ? &asked_again : NULL,
		};

		assert_int_equal(weir_memo_create(&opts, &asked_again), 0);
		assert_int_equal(weir_await(get(asked_again, "a"), weir_in(WEIR_S), NULL),
				 -EDEADLK);
		assert_int_equal(weir_memo_destroy(asked_again), 0);
	}
}

static struct weir_future *gives_nothing(const void *key, size_t key_size, void *arg)
{
	(void)key;
	(void)key_size;
	(void)arg;
	return NULL;
}

static void what_cannot_be_started_is_rejected(void)
{
	const struct weir_memo_opts opts = { .start = gives_nothing };
	struct weir_memo *memo;

	assert_int_equal(weir_memo_create(&opts, &memo), 0);
	assert_int_equal(result_of(get(memo, "a")), -EINVAL);
	assert_int_equal(weir_memo_destroy(memo), 0);
	memo = memo_for(WEIR_NEVER);
	seen.gives = weir_future_of(-ENOBUFS);
	assert_int_equal(result_of(get(memo, "a")), -ENOBUFS);
	assert_int_equal(result_of(get(memo, "a")), -ENOBUFS);
	assert_int_equal(seen.count, 2);
	assert_int_equal(weir_memo_destroy(memo), 0);
}

static void without_futures_left_nothing_is_started(void)
{
	struct weir_memo *memo = memo_for(WEIR_NEVER);
	struct pair p = pair();

	for (unsigned max = 1; max < 4; max++) {
		weir_futures_set_max(max);
		assert_int_equal(result_of(get(memo, "a")), -ENOBUFS);
		turns(2);
		assert_int_equal(seen.count, 0);
		assert_int_equal(levels(memo).entries + levels(memo).flights, 0);
		assert_int_equal(info().count, 1);
	}
	weir_futures_set_max(100);
	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(result_of(p.future), 0);
	keep(memo, "a", 1);
	weir_memo_destroy(memo);
}

static void wrong_arguments_are_refused(void)
{
	static const struct weir_memo_opts wrong[] = {
		{ .ttl_ns = 0 },
		{ .start = start_flight, .ttl_ns = -1 },
		{ .start = start_flight, .error_ttl_ns = -1 },
		{ .start = start_flight, .entries_max = (1u << 24) + 1 },
		{ .start = start_flight, .key_size_max = 65537 },
	};
	struct weir_memo *memo;

	assert_int_equal(weir_memo_create(NULL, &memo), -EINVAL);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(weir_memo_create(&wrong[i], &memo), -EINVAL);
	assert_int_equal(weir_memo_destroy(NULL), 0);
	assert_int_equal(weir_memo_info(NULL, NULL), -EINVAL);
	assert_int_equal(weir_memo_forget(NULL, "a", 1), -EINVAL);
	assert_int_equal(result_of(weir_memo_get(NULL, "a", 1)), -EINVAL);
	memo = memo_of(&(struct weir_memo_opts){ .key_size_max = 3 });
	assert_int_equal(result_of(get(memo, "abcd")), -EMSGSIZE);
	assert_int_equal(result_of(weir_memo_get(memo, NULL, 1)), -EINVAL);
	keep(memo, "abc", 1);
	assert_int_equal(weir_memo_destroy(memo), 0);
}

static struct weir_memo *elsewhere;

static void make_elsewhere(void)
{
	elsewhere = memo_for(0);
}

static void outside_its_worker_a_memo_answers_nothing(void **state)
{
	static struct fake_driver fake;
	static struct weir_worker worker;
	void (*body)(void) = make_elsewhere;
	const struct weir_memo_opts opts = { .start = start_flight };
	struct weir_memo_info levels_there;

	(void)state;
	assert_int_equal(weir_memo_create(&opts, &elsewhere), -EDEADLK);
	fake_driver_init(&fake);
	assert_int_equal(weir__worker_init(&worker, &fake.driver, NULL), 0);
	go(on_worker_body, &body);
	assert_int_equal(weir__worker_loop(&worker), 0);
	weir__self = NULL;
	assert_int_equal(result_of(get(elsewhere, "a")), -EDEADLK);
	assert_int_equal(weir_memo_forget(elsewhere, "a", 1), -EDEADLK);
	assert_int_equal(weir_memo_info(elsewhere, &levels_there), -EDEADLK);
	assert_int_equal(weir_memo_destroy(elsewhere), -EPROTO);
	weir__self = &worker;
	assert_int_equal(weir_memo_destroy(elsewhere), 0);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
}

/* The vector of the paper's appendix: key 00..0f, message 00..0e. */
static void the_hash_is_siphash(void **state)
{
	const uint64_t key[2] = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
	unsigned char message[15];

	(void)state;
	for (unsigned char i = 0; i < 15; i++)
		message[i] = i;
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
	skip();
#endif
	assert_true(weir__siphash(key, message, 15, 2, 4) == UINT64_C(0xa129ca6149be45e5));
	assert_true(weir__siphash(key, message, 8, 1, 3) != weir__siphash(key, message, 7, 1, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(of_many_who_ask_at_once_one_asks_for_all),
		on_worker(start_is_not_called_inside_get),
		on_worker(each_key_has_a_flight_of_its_own),
		on_worker(the_key_is_copied),
		on_worker(by_default_nothing_is_kept),
		on_worker(a_result_is_kept_for_its_time_and_then_asked_for_again),
		on_worker(what_is_kept_for_good_is_kept),
		on_worker(errors_are_not_kept_unless_that_was_asked_for),
		on_worker(a_cancel_is_never_kept),
		on_worker(a_value_goes_when_the_memo_and_all_who_have_it_let_go),
		on_worker(the_one_not_asked_for_the_longest_makes_room),
		on_worker(when_all_are_under_way_another_is_refused),
		on_worker(ten_thousand_keys_are_told_apart),
		on_worker(who_gives_up_does_not_end_it_for_the_others),
		on_worker(the_last_who_gives_up_ends_it_and_the_next_starts_anew),
		on_worker(cancelled_before_it_took_off_it_is_not_started),
		on_worker(what_is_forgotten_is_asked_for_again),
		on_worker(destroying_ends_what_is_under_way_and_waits_for_it),
		on_worker(destroyed_before_it_took_off_it_is_not_started),
		on_worker(outside_a_coroutine_it_does_not_wait),
		on_worker(a_start_that_waits_for_its_own_key_is_rejected),
		on_worker(what_cannot_be_started_is_rejected),
		on_worker(without_futures_left_nothing_is_started),
		on_worker(wrong_arguments_are_refused),
		cmocka_unit_test(outside_its_worker_a_memo_answers_nothing),
		cmocka_unit_test(the_hash_is_siphash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
