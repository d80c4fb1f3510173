/* SPDX-License-Identifier: MIT */
/*
 * test_promises_aplus.c - the rules of Promises/A+ (promisesaplus.com, sections 2.1 to
 * 2.3), each in our words, its number in the comment.
 *
 * What has no counterpart here: 2.2.1.1, 2.2.1.2, 2.2.7.3 and 2.2.7.4 speak of handlers that
 * are no functions (then has one handler, recover the other, and what is not given is not
 * called); 2.2.5 of `this`; 2.3.3 of thenables, objects that only look like promises. Several
 * handlers on one promise (2.2.6) are taps: one holder takes the result, all others look.
 */
#include "on_worker.h"

/* What the steps and taps of a test saw, in order. */
struct log {
	ssize_t seen[16];
	unsigned count;
	ssize_t answer;			/* what a step returns */
	struct weir_future *next;	/* what a step goes on with */
};

static ssize_t step(struct weir_result *result, void *arg)
{
	struct log *log = arg;

	log->seen[log->count++] = result->res;
	return log->next ? weir_follow(result, log->next) : log->answer;
}

/* 2.1.1.1 */
static void a_pending_future_may_become_fulfilled_or_rejected(void)
{
	struct pair a = pair(), b = pair();

	assert_false(weir_future_is_settled(a.future));
	assert_int_equal(weir_promise_resolve(&a.promise, 7), 0);
	assert_int_equal(weir_promise_resolve(&b.promise, -EIO), 0);
	assert_int_equal(weir_await(a.future, WEIR_NEVER, NULL), 7);
	assert_int_equal(weir_await(b.future, WEIR_NEVER, NULL), -EIO);
}

/* 2.1.2.1, 2.1.2.2 */
static void a_fulfilled_future_keeps_its_result_and_refuses_another(void)
{
	struct pair p = pair();

	assert_int_equal(weir_promise_resolve(&p.promise, 1), 0);
	assert_int_equal(weir_promise_resolve(&p.promise, 2), -EALREADY);
	assert_int_equal(weir_promise_resolve(&p.promise, -EIO), -EALREADY);
	weir_promise_drop(&p.promise);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 1);
}

/* 2.1.3.1, 2.1.3.2 */
static void a_rejected_future_keeps_its_error_and_refuses_another(void)
{
	struct pair p = pair();

	assert_int_equal(weir_promise_resolve(&p.promise, -EIO), 0);
	assert_int_equal(weir_promise_resolve(&p.promise, 2), -EALREADY);
	weir_promise_drop(&p.promise);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -EIO);
}

/* 2.2.2.1, 2.2.2.2, 2.2.2.3 */
static void then_runs_its_step_once_after_fulfilment_with_the_result(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	struct weir_future *future = weir_then(p.future, step, &log);

	turns(3);
	assert_int_equal(log.count, 0);
	weir_promise_resolve(&p.promise, 5);
	weir_promise_resolve(&p.promise, 6);
	turns(3);
	assert_int_equal(log.count, 1);
	assert_int_equal(log.seen[0], 5);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 0);
	assert_int_equal(log.count, 1);
}

/* 2.2.3.1, 2.2.3.2, 2.2.3.3 */
static void recover_runs_its_step_once_after_rejection_with_the_error(void)
{
	struct pair p = pair();
	struct log log = { .answer = 3 };
	struct weir_future *future = weir_recover(p.future, step, &log);

	turns(3);
	assert_int_equal(log.count, 0);
	weir_promise_resolve(&p.promise, -EIO);
	weir_promise_resolve(&p.promise, -ENOENT);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 3);
	assert_int_equal(log.count, 1);
	assert_int_equal(log.seen[0], -EIO);
}

/* 2.2.4 */
static void a_step_never_runs_inside_then_or_resolve(void)
{
	struct pair early = pair(), late = pair();
	struct log log = { .answer = 0 };
	struct weir_future *a, *b, *c;

	weir_promise_resolve(&early.promise, 1);
	a = weir_then(early.future, step, &log);
	assert_int_equal(log.count, 0);
	b = weir_then(late.future, step, &log);
	weir_promise_resolve(&late.promise, 2);
	assert_int_equal(log.count, 0);
	c = weir_then(weir_future_of(3), step, &log);
	assert_int_equal(log.count, 0);
	assert_int_equal(weir_await(a, WEIR_NEVER, NULL), 0);
	assert_int_equal(weir_await(b, WEIR_NEVER, NULL), 0);
	assert_int_equal(weir_await(c, WEIR_NEVER, NULL), 0);
	assert_int_equal(log.count, 3);
	assert_int_equal(log.seen[0], 1);
	assert_int_equal(log.seen[1], 2);
	assert_int_equal(log.seen[2], 3);
}

struct noter {
	struct weir_tap tap;
	struct noter *adds;	/* tapped on while this one runs */
	struct weir_future *future;
	char name;
	char *order;
};

static void note(struct weir_tap *tap, ssize_t res, void *value)
{
	struct noter *noter = weir_container_of(tap, struct noter, tap);
	size_t n = strlen(noter->order);

	assert_int_equal(res, 9);
	assert_null(value);
	noter->order[n] = noter->name;
	if (noter->adds)
		assert_int_equal(weir_future_tap(noter->future, &noter->adds->tap, note), 0);
}

/* 2.2.6.1, 2.2.6.2: for both fates, since a tap sees either */
static void handlers_run_in_the_order_of_registration_and_added_ones_after(void)
{
	struct pair p = pair();
	char order[8] = "";
	struct noter late = { .name = 'd', .order = order };
	struct noter a = { .name = 'a', .order = order, .adds = &late, .future = p.future };
	struct noter b = { .name = 'b', .order = order };
	struct noter c = { .name = 'c', .order = order };

	assert_int_equal(weir_future_tap(p.future, &a.tap, note), 0);
	assert_int_equal(weir_future_tap(p.future, &b.tap, note), 0);
	weir_promise_resolve(&p.promise, 9);
	assert_int_equal(weir_future_tap(p.future, &c.tap, note), 0);
	assert_string_equal(order, "");
	turns(3);
	assert_string_equal(order, "abcd");
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), 9);
}

/* 2.2.7.1 */
static void what_a_step_returns_is_the_result_of_its_future(void)
{
	struct log a = { .answer = 11 }, b = { .answer = 12 };

	assert_int_equal(weir_await(weir_then(weir_future_of(1), step, &a), WEIR_NEVER, NULL), 11);
	assert_int_equal(weir_await(weir_recover(weir_future_of(-EIO), step, &b), WEIR_NEVER, NULL),
			 12);
}

/* 2.2.7.2 */
static void a_step_that_fails_rejects_its_future(void)
{
	struct log a = { .answer = -EBADMSG }, b = { .answer = -ENOENT };

	assert_int_equal(weir_await(weir_then(weir_future_of(1), step, &a), WEIR_NEVER, NULL),
			 -EBADMSG);
	assert_int_equal(weir_await(weir_recover(weir_future_of(-EIO), step, &b), WEIR_NEVER, NULL),
			 -ENOENT);
}

/* 2.2.1, 2.2.7.3 */
static void a_fulfilment_passes_through_what_only_recovers(void)
{
	struct log log = { .answer = 0 };

	assert_int_equal(weir_await(weir_recover(weir_future_of(8), step, &log), WEIR_NEVER, NULL),
			 8);
	assert_int_equal(log.count, 0);
}

/* 2.2.1, 2.2.7.4 */
static void a_rejection_passes_through_what_only_goes_on(void)
{
	struct log log = { .answer = 0 };

	assert_int_equal(weir_await(weir_then(weir_future_of(-EIO), step, &log), WEIR_NEVER, NULL),
			 -EIO);
	assert_int_equal(log.count, 0);
}

/* 2.3.1 */
static void a_promise_that_follows_its_own_future_is_rejected(void)
{
	struct pair p = pair();

	assert_int_equal(weir_promise_follow(&p.promise, p.future), -EDEADLK);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, NULL), -EDEADLK);
}

/* 2.3.1, by way of a step */
static void a_step_that_returns_its_own_future_is_rejected(void)
{
	struct log log = { 0 };

	log.next = weir_then(weir_future_of(1), step, &log);
	assert_int_equal(weir_await(log.next, WEIR_NEVER, NULL), -EDEADLK);
}

/* 2.3.1, with others in between (2.3.3.3 of a cycle of thenables) */
static void a_cycle_of_several_futures_is_rejected(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	struct weir_future *future = weir_then(weir_then(p.future, step, &log), step, &log);

	assert_int_equal(weir_promise_follow(&p.promise, future), -EDEADLK);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -EDEADLK);
	assert_int_equal(log.count, 0);
}

/* 2.3.2.1 */
static void who_follows_a_pending_future_stays_pending(void)
{
	struct pair outer = pair(), inner = pair();

	assert_int_equal(weir_promise_follow(&outer.promise, inner.future), 0);
	turns(3);
	assert_false(weir_future_is_settled(outer.future));
	assert_int_equal(weir_promise_resolve(&outer.promise, 1), -EALREADY);
	weir_promise_resolve(&inner.promise, 2);
	assert_int_equal(weir_await(outer.future, WEIR_NEVER, NULL), 2);
}

/* 2.3.2.2, 2.3.2.3: settled before and after */
static void who_follows_a_future_gets_its_result(void)
{
	static const ssize_t fates[] = { 4, -EIO };

	for (unsigned i = 0; i < 4; i++) {
		struct pair outer = pair(), inner = pair();

		if (i < 2)
			weir_promise_resolve(&inner.promise, fates[i % 2]);
		assert_int_equal(weir_promise_follow(&outer.promise, inner.future), 0);
		if (i >= 2)
			weir_promise_resolve(&inner.promise, fates[i % 2]);
		assert_int_equal(weir_await(outer.future, WEIR_NEVER, NULL), fates[i % 2]);
	}
}

/* 2.2.7.1 with 2.3.2: a step goes on with a future */
static void a_step_that_gives_a_future_has_its_result(void)
{
	static const ssize_t fates[] = { 4, -EIO };

	for (unsigned i = 0; i < 2; i++) {
		struct pair inner = pair();
		struct log log = { .next = inner.future };
		struct weir_future *future = weir_then(weir_future_of(1), step, &log);

		turns(3);
		assert_int_equal(log.count, 1);
		assert_false(weir_future_is_settled(future));
		weir_promise_resolve(&inner.promise, fates[i]);
		assert_int_equal(weir_await(future, WEIR_NEVER, NULL), fates[i]);
	}
}

/* 2.3.3.3.3: the first resolution wins, however late the followed future settles */
static void the_first_resolution_wins(void)
{
	struct pair outer = pair(), first = pair(), second = pair();

	assert_int_equal(weir_promise_follow(&outer.promise, first.future), 0);
	assert_int_equal(weir_promise_follow(&outer.promise, second.future), -EALREADY);
	weir_promise_resolve(&second.promise, 2);
	assert_int_equal(weir_await(second.future, WEIR_NEVER, NULL), 2);
	assert_false(weir_future_is_settled(outer.future));
	weir_promise_resolve(&first.promise, 1);
	assert_int_equal(weir_await(outer.future, WEIR_NEVER, NULL), 1);
}

/* 2.3.4 */
static void a_plain_result_fulfils(void)
{
	struct pair p = pair();
	int number = 3;
	void *value = NULL;

	weir_promise_resolve_value(&p.promise, 0, &number, NULL);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 0);
	assert_true(value == &number);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(a_pending_future_may_become_fulfilled_or_rejected),
		on_worker(a_fulfilled_future_keeps_its_result_and_refuses_another),
		on_worker(a_rejected_future_keeps_its_error_and_refuses_another),
		on_worker(then_runs_its_step_once_after_fulfilment_with_the_result),
		on_worker(recover_runs_its_step_once_after_rejection_with_the_error),
		on_worker(a_step_never_runs_inside_then_or_resolve),
		on_worker(handlers_run_in_the_order_of_registration_and_added_ones_after),
		on_worker(what_a_step_returns_is_the_result_of_its_future),
		on_worker(a_step_that_fails_rejects_its_future),
		on_worker(a_fulfilment_passes_through_what_only_recovers),
		on_worker(a_rejection_passes_through_what_only_goes_on),
		on_worker(a_promise_that_follows_its_own_future_is_rejected),
		on_worker(a_step_that_returns_its_own_future_is_rejected),
		on_worker(a_cycle_of_several_futures_is_rejected),
		on_worker(who_follows_a_pending_future_stays_pending),
		on_worker(who_follows_a_future_gets_its_result),
		on_worker(a_step_that_gives_a_future_has_its_result),
		on_worker(the_first_resolution_wins),
		on_worker(a_plain_result_fulfils),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
