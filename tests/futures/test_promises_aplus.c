/* SPDX-License-Identifier: MIT */
/*
 * test_promises_aplus.c - the rules of Promises/A+ (promisesaplus.com, sections 2.1 to 2.3), one
 * test each: the number is in the name, the rule in our words before it.
 *
 * The two arguments of its `then` are weir_then() and weir_recover() here. A future has one
 * holder, so several handlers of one promise are taps. A "thenable", an object that only looks
 * like a promise, is foreign code here: a function that was handed a promise and keeps it as it
 * likes. Where a rule needs a stand-in like that, its comment says so.
 */
#include "on_worker.h"

#include <limits.h>

/* What the steps of a test saw, in order. */
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

static ssize_t result_of(struct weir_future *future)
{
	return weir_await(future, WEIR_NEVER, NULL);
}

/* --- 2.1 states --- */

/* What is pending becomes fulfilled or rejected. */
static void rule_2_1_1_1_a_pending_future_may_become_either(void)
{
	struct pair a = pair(), b = pair();

	assert_false(weir_future_is_settled(a.future));
	assert_false(weir_future_is_settled(b.future));
	assert_int_equal(weir_promise_resolve(&a.promise, 7), 0);
	assert_int_equal(weir_promise_resolve(&b.promise, -EIO), 0);
	assert_true(weir_future_is_settled(a.future));
	assert_true(weir_future_is_settled(b.future));
	assert_int_equal(result_of(a.future), 7);
	assert_int_equal(result_of(b.future), -EIO);
}

/* What is fulfilled stays so: rejecting, dropping and cancelling change nothing. */
static void rule_2_1_2_1_what_is_fulfilled_is_not_rejected(void)
{
	struct pair p = pair();

	assert_int_equal(weir_promise_resolve(&p.promise, 1), 0);
	assert_int_equal(weir_promise_resolve(&p.promise, -EIO), -EALREADY);
	weir_promise_drop(&p.promise);
	assert_int_equal(weir_future_cancel(p.future), -EALREADY);
	assert_int_equal(result_of(p.future), 1);
}

/* Its result stays the same, number and value. */
static void rule_2_1_2_2_the_value_of_a_fulfilled_future_stays(void)
{
	struct pair p = pair();
	int first = 1, second = 2;
	void *value = NULL;

	assert_int_equal(weir_promise_resolve_value(&p.promise, 1, &first, NULL), 0);
	assert_int_equal(weir_promise_resolve_value(&p.promise, 2, &second, NULL), -EALREADY);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 1);
	assert_ptr_equal(value, &first);
}

/* What is rejected stays so. */
static void rule_2_1_3_1_what_is_rejected_is_not_fulfilled(void)
{
	struct pair p = pair();

	assert_int_equal(weir_promise_resolve(&p.promise, -EIO), 0);
	assert_int_equal(weir_promise_resolve(&p.promise, 2), -EALREADY);
	assert_int_equal(weir_future_cancel(p.future), -EALREADY);
	assert_int_equal(result_of(p.future), -EIO);
}

/* Its error stays the same. */
static void rule_2_1_3_2_the_error_of_a_rejected_future_stays(void)
{
	struct pair p = pair();

	assert_int_equal(weir_promise_resolve(&p.promise, -EIO), 0);
	assert_int_equal(weir_promise_resolve(&p.promise, -ENOENT), -EALREADY);
	weir_promise_drop(&p.promise);
	assert_int_equal(result_of(p.future), -EIO);
}

/* --- 2.2 then --- */

/* Only a handler of rejections is given: a fulfilment has none, and that is no error. */
static void rule_2_2_1_1_what_to_do_when_fulfilled_is_optional(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	struct weir_future *future = weir_recover(p.future, step, &log);

	weir_promise_resolve(&p.promise, 5);
	assert_int_equal(result_of(future), 5);
	assert_int_equal(log.count, 0);
}

/* Only a handler of fulfilments is given. */
static void rule_2_2_1_2_what_to_do_when_rejected_is_optional(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	struct weir_future *future = weir_then(p.future, step, &log);

	weir_promise_resolve(&p.promise, -EIO);
	assert_int_equal(result_of(future), -EIO);
	assert_int_equal(log.count, 0);
}

/* The step of then runs after fulfilment, with the result: number and value. */
static ssize_t see_value(struct weir_result *result, void *arg)
{
	*(void **)arg = result->value;
	return result->res;
}

static void rule_2_2_2_1_then_gets_the_result(void)
{
	struct pair p = pair();
	struct weir_future *future;
	void *seen = NULL;
	int number;

	future = weir_then(p.future, see_value, &seen);
	weir_promise_resolve_value(&p.promise, 5, &number, NULL);
	assert_int_equal(result_of(future), 5);
	assert_ptr_equal(seen, &number);
}

/* Not before. */
static void rule_2_2_2_2_then_does_not_run_before_fulfilment(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	struct weir_future *future = weir_then(p.future, step, &log);

	turns(5);
	weir_sleep(WEIR_S);
	assert_int_equal(log.count, 0);
	weir_promise_resolve(&p.promise, 5);
	assert_int_equal(result_of(future), 0);
	assert_int_equal(log.count, 1);
}

/* Once, however often and whenever one tries to fulfil. */
static void rule_2_2_2_3_then_runs_once(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	struct weir_future *future = weir_then(p.future, step, &log);

	weir_promise_resolve(&p.promise, 5);
	weir_promise_resolve(&p.promise, 6);
	turns(3);
	assert_int_equal(log.count, 1);
	weir_promise_resolve(&p.promise, 7);
	turns(3);
	assert_int_equal(result_of(future), 0);
	assert_int_equal(log.count, 1);
	assert_int_equal(log.seen[0], 5);
}

/* The step of recover runs after rejection, with the error. */
static void rule_2_2_3_1_recover_gets_the_error(void)
{
	struct pair p = pair();
	struct log log = { .answer = 3 };
	struct weir_future *future = weir_recover(p.future, step, &log);

	weir_promise_resolve(&p.promise, -EIO);
	assert_int_equal(result_of(future), 3);
	assert_int_equal(log.seen[0], -EIO);
}

/* Not before. */
static void rule_2_2_3_2_recover_does_not_run_before_rejection(void)
{
	struct pair p = pair();
	struct log log = { .answer = 3 };
	struct weir_future *future = weir_recover(p.future, step, &log);

	turns(5);
	weir_sleep(WEIR_S);
	assert_int_equal(log.count, 0);
	weir_promise_resolve(&p.promise, -EIO);
	assert_int_equal(result_of(future), 3);
	assert_int_equal(log.count, 1);
}

/* Once. */
static void rule_2_2_3_3_recover_runs_once(void)
{
	struct pair p = pair();
	struct log log = { .answer = 3 };
	struct weir_future *future = weir_recover(p.future, step, &log);

	weir_promise_resolve(&p.promise, -EIO);
	weir_promise_resolve(&p.promise, -ENOENT);
	turns(3);
	weir_promise_drop(&p.promise);
	turns(3);
	assert_int_equal(result_of(future), 3);
	assert_int_equal(log.count, 1);
	assert_int_equal(log.seen[0], -EIO);
}

/* A step never runs inside the call that makes it possible, whichever comes first. */
static void rule_2_2_4_a_step_runs_on_a_clean_stack(void)
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
	assert_int_equal(result_of(a), 0);
	assert_int_equal(result_of(b), 0);
	assert_int_equal(result_of(c), 0);
	assert_int_equal(log.count, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(log.seen[i], i + 1);
}

/*
 * Handlers are called as functions, without `this`. C has none; what a step has in its place
 * is arg, and nothing of the coroutine that registered it: it runs in no coroutine.
 */
static ssize_t see_coroutine(struct weir_result *result, void *arg)
{
	*(struct weir_coro **)arg = weir_coro_self();
	return result->res;
}

static void rule_2_2_5_a_step_has_its_argument_and_no_coroutine(void)
{
	struct weir_coro *seen = weir_coro_self();

	assert_non_null(seen);
	assert_int_equal(result_of(weir_then(weir_future_of(1), see_coroutine, &seen)), 1);
	assert_null(seen);
}

struct noter {
	struct weir_tap tap;
	struct noter *adds;	/* tapped on while this one runs */
	struct weir_future *future;
	char name;
	char *order;
	ssize_t expected;
};

static void note(struct weir_tap *tap, ssize_t res, void *value)
{
	struct noter *noter = weir_container_of(tap, struct noter, tap);
	size_t n = strlen(noter->order);

	assert_int_equal(res, noter->expected);
	assert_null(value);
	noter->order[n] = noter->name;
	if (noter->adds)
		assert_int_equal(weir_future_tap(noter->future, &noter->adds->tap, note), 0);
}

static void handlers_run_in_order(ssize_t res)
{
	struct pair p = pair();
	char order[8] = "";
	struct noter late = { .name = 'd', .order = order, .expected = res };
	struct noter a = { .name = 'a', .order = order, .expected = res };
	struct noter b = a, c = a;

	a.adds = &late;
	a.future = p.future;
	b.name = 'b';
	c.name = 'c';
	assert_int_equal(weir_future_tap(p.future, &a.tap, note), 0);
	assert_int_equal(weir_future_tap(p.future, &b.tap, note), 0);
	weir_promise_resolve(&p.promise, res);
	assert_int_equal(weir_future_tap(p.future, &c.tap, note), 0);
	assert_string_equal(order, "");
	turns(3);
	assert_string_equal(order, "abcd");
	assert_int_equal(result_of(p.future), res);
}

/* Several handlers run in the order in which they came, one added by another after all. */
static void rule_2_2_6_1_handlers_of_a_fulfilment_run_in_order(void)
{
	handlers_run_in_order(9);
}

static void rule_2_2_6_2_handlers_of_a_rejection_run_in_order(void)
{
	handlers_run_in_order(-EIO);
}

/* What a handler returns is what the future of its then has: a number, or a future's result. */
static void rule_2_2_7_1_what_a_step_returns_is_the_result_of_its_future(void)
{
	struct log a = { .answer = 11 }, b = { .answer = 12 };
	struct pair inner = pair();
	struct log c = { .next = inner.future };
	struct weir_future *future;

	assert_int_equal(result_of(weir_then(weir_future_of(1), step, &a)), 11);
	assert_int_equal(result_of(weir_recover(weir_future_of(-EIO), step, &b)), 12);
	future = weir_then(weir_future_of(1), step, &c);
	turns(3);
	assert_int_equal(c.count, 1);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&inner.promise, 13);
	assert_int_equal(result_of(future), 13);
}

/* A handler that throws rejects: here, one that returns a negative errno. */
static void rule_2_2_7_2_a_step_that_fails_rejects_its_future(void)
{
	struct log a = { .answer = -EBADMSG }, b = { .answer = -ENOENT };

	assert_int_equal(result_of(weir_then(weir_future_of(1), step, &a)), -EBADMSG);
	assert_int_equal(result_of(weir_recover(weir_future_of(-EIO), step, &b)), -ENOENT);
}

/* Without a handler for it, a fulfilment passes, with its value. */
static void rule_2_2_7_3_a_fulfilment_passes_unhandled(void)
{
	struct pair p = pair();
	struct log log = { .answer = 0 };
	int number;
	void *value = NULL;

	weir_promise_resolve_value(&p.promise, 8, &number, NULL);
	assert_int_equal(weir_await(weir_recover(p.future, step, &log), WEIR_NEVER, &value), 8);
	assert_ptr_equal(value, &number);
	assert_int_equal(log.count, 0);
}

/* So does a rejection. */
static void rule_2_2_7_4_a_rejection_passes_unhandled(void)
{
	struct log log = { .answer = 0 };

	assert_int_equal(result_of(weir_then(weir_future_of(-EIO), step, &log)), -EIO);
	assert_int_equal(log.count, 0);
}

/* --- 2.3 the resolution procedure --- */

/*
 * What would wait for itself is rejected: a TypeError there, -EDEADLK here; as a promise, as a
 * step that gives its own future, and with others in between.
 */
static void rule_2_3_1_a_future_cannot_wait_for_itself(void)
{
	struct pair p = pair(), q = pair();
	struct log own = { 0 }, log = { .answer = 0 };
	struct weir_future *future;

	assert_int_equal(weir_promise_follow(&p.promise, p.future), -EDEADLK);
	assert_int_equal(result_of(p.future), -EDEADLK);

	own.next = weir_then(weir_future_of(1), step, &own);
	assert_int_equal(result_of(own.next), -EDEADLK);

	future = weir_then(weir_then(q.future, step, &log), step, &log);
	assert_int_equal(weir_promise_follow(&q.promise, future), -EDEADLK);
	assert_int_equal(result_of(future), -EDEADLK);
	assert_int_equal(log.count, 0);
}

/* Who follows a pending future is pending as long as that is. */
static void rule_2_3_2_1_who_follows_a_pending_future_stays_pending(void)
{
	struct pair outer = pair(), inner = pair();

	assert_int_equal(weir_promise_follow(&outer.promise, inner.future), 0);
	turns(5);
	weir_sleep(WEIR_S);
	assert_false(weir_future_is_settled(outer.future));
	weir_promise_resolve(&inner.promise, 2);
	assert_int_equal(result_of(outer.future), 2);
}

static void follower_gets(ssize_t res)
{
	struct pair outer = pair(), inner = pair();

	weir_promise_resolve(&inner.promise, res);
	assert_int_equal(weir_promise_follow(&outer.promise, inner.future), 0);
	assert_int_equal(result_of(outer.future), res);
	outer = pair();
	inner = pair();
	assert_int_equal(weir_promise_follow(&outer.promise, inner.future), 0);
	turns(2);
	weir_promise_resolve(&inner.promise, res);
	assert_int_equal(result_of(outer.future), res);
}

/* Who follows what is or becomes fulfilled has its result. */
static void rule_2_3_2_2_who_follows_a_fulfilled_future_has_its_result(void)
{
	follower_gets(4);
}

/* Who follows what is or becomes rejected has its error. */
static void rule_2_3_2_3_who_follows_a_rejected_future_has_its_error(void)
{
	follower_gets(-EIO);
}

/*
 * The property `then` of a thenable is read once. Nothing is looked up in C; the nearest is that
 * a future is taken once: the second who would follow it is told so.
 */
static void rule_2_3_3_1_a_future_is_followed_once(void)
{
	struct pair a = pair(), b = pair(), inner = pair();

	assert_int_equal(weir_promise_follow(&a.promise, inner.future), 0);
	assert_int_equal(weir_promise_follow(&b.promise, inner.future), -EBUSY);
	weir_promise_resolve(&inner.promise, 1);
	weir_promise_resolve(&b.promise, 2);
	assert_int_equal(result_of(a.future), 1);
	assert_int_equal(result_of(b.future), 2);
}

/*
 * When the look-up itself throws, the promise is rejected with that. The nearest: the call that
 * should give the future to follow fails; the error it gives in its place is the result.
 */
static void rule_2_3_3_2_what_cannot_be_begun_rejects(void)
{
	struct log log = { .next = weir_future_of(-ENOBUFS) };
	struct pair p = pair();

	assert_int_equal(result_of(weir_then(weir_future_of(1), step, &log)), -ENOBUFS);
	assert_int_equal(weir_promise_follow(&p.promise, weir_future_of(-ENOMEM)), 0);
	assert_int_equal(result_of(p.future), -ENOMEM);
	p = pair();
	assert_int_equal(weir_promise_follow(&p.promise, NULL), -EINVAL);
	weir_promise_drop(&p.promise);
	assert_int_equal(result_of(p.future), -EPIPE);
}

/* Foreign code: it is handed a promise, and keeps it as script says. */
struct foreign {
	const char *script;	/* f: fulfil, r: reject, F: follow next, e: fail */
	struct weir_future *next;
	struct weir_promise promise;
	unsigned calls;
};

static int foreign_call(struct foreign *foreign, struct weir_promise promise)
{
	foreign->calls++;
	foreign->promise = promise;
	for (const char *now = foreign->script; *now; now++) {
		switch (*now) {
		case 'f':
			weir_promise_resolve(&foreign->promise, 1);
			break;
		case 'r':
			weir_promise_resolve(&foreign->promise, -EIO);
			break;
		case 'F':
			weir_promise_follow(&foreign->promise, foreign->next);
			break;
		case 'e':
			return -EFAULT;
		}
	}
	return 0;
}

/* The future of what foreign code does with a promise; its failure is its last word. */
static struct weir_future *future_of_foreign(struct foreign *foreign)
{
	struct pair p = pair();
	int r = foreign_call(foreign, p.promise);

	if (r)
		weir_promise_resolve(&foreign->promise, r);
	return p.future;
}

/* A thenable is called once, with what settles the promise. */
static void rule_2_3_3_3_foreign_code_is_called_once_with_the_promise(void)
{
	struct foreign foreign = { .script = "f" };

	assert_int_equal(result_of(future_of_foreign(&foreign)), 1);
	assert_int_equal(foreign.calls, 1);
	assert_int_equal(weir_promise_resolve(&foreign.promise, 2), -EALREADY);
}

/* What it gives may be a future, and that one may follow another. */
static void rule_2_3_3_3_1_foreign_code_may_give_a_future_that_gives_a_future(void)
{
	struct pair last = pair();
	struct foreign inner = { .script = "F", .next = last.future };
	struct foreign outer = { .script = "F", .next = future_of_foreign(&inner) };
	struct weir_future *future = future_of_foreign(&outer);

	turns(3);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&last.promise, 6);
	assert_int_equal(result_of(future), 6);
}

/* It may reject. */
static void rule_2_3_3_3_2_foreign_code_may_reject(void)
{
	struct foreign foreign = { .script = "r" };

	assert_int_equal(result_of(future_of_foreign(&foreign)), -EIO);
}

/* Its first word counts, also when that is to follow a future that is settled later. */
static void rule_2_3_3_3_3_the_first_resolution_wins(void)
{
	struct foreign fulfils = { .script = "fr" }, rejects = { .script = "rf" };
	struct pair inner = pair();
	struct foreign follows = { .script = "Frf", .next = inner.future };
	struct weir_future *future = future_of_foreign(&follows);

	assert_int_equal(result_of(future_of_foreign(&fulfils)), 1);
	assert_int_equal(result_of(future_of_foreign(&rejects)), -EIO);
	turns(3);
	assert_false(weir_future_is_settled(future));
	weir_promise_resolve(&inner.promise, 9);
	assert_int_equal(result_of(future), 9);
}

/* What throws after it has settled the promise changes nothing. */
static void rule_2_3_3_3_4_1_a_failure_after_the_resolution_is_ignored(void)
{
	struct foreign fulfils = { .script = "fe" }, rejects = { .script = "re" };

	assert_int_equal(result_of(future_of_foreign(&fulfils)), 1);
	assert_int_equal(result_of(future_of_foreign(&rejects)), -EIO);
}

/* What throws before is rejected with that. */
static void rule_2_3_3_3_4_2_a_failure_before_the_resolution_rejects(void)
{
	struct foreign foreign = { .script = "ef" };

	assert_int_equal(result_of(future_of_foreign(&foreign)), -EFAULT);
}

/*
 * An object without a function `then` is a value. In C no value is looked into: a pointer to a
 * promise, or to anything else, is handed on as it is.
 */
static void rule_2_3_3_4_a_value_is_not_looked_into(void)
{
	struct pair p = pair(), inner = pair();
	void *value = NULL;

	weir_promise_resolve_value(&p.promise, 0, &inner.promise, NULL);
	assert_int_equal(weir_await(p.future, WEIR_NEVER, &value), 0);
	assert_ptr_equal(value, &inner.promise);
	assert_false(weir_future_is_settled(inner.future));
	weir_promise_drop(&inner.promise);
	assert_int_equal(result_of(inner.future), -EPIPE);
}

/* What is no object fulfils as it is: a number. */
static void rule_2_3_4_a_number_fulfils(void)
{
	struct pair p = pair();

	weir_promise_resolve(&p.promise, 0);
	assert_int_equal(result_of(p.future), 0);
	assert_int_equal(result_of(weir_future_of(SSIZE_MAX / 2)), SSIZE_MAX / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(rule_2_1_1_1_a_pending_future_may_become_either),
		on_worker(rule_2_1_2_1_what_is_fulfilled_is_not_rejected),
		on_worker(rule_2_1_2_2_the_value_of_a_fulfilled_future_stays),
		on_worker(rule_2_1_3_1_what_is_rejected_is_not_fulfilled),
		on_worker(rule_2_1_3_2_the_error_of_a_rejected_future_stays),
		on_worker(rule_2_2_1_1_what_to_do_when_fulfilled_is_optional),
		on_worker(rule_2_2_1_2_what_to_do_when_rejected_is_optional),
		on_worker(rule_2_2_2_1_then_gets_the_result),
		on_worker(rule_2_2_2_2_then_does_not_run_before_fulfilment),
		on_worker(rule_2_2_2_3_then_runs_once),
		on_worker(rule_2_2_3_1_recover_gets_the_error),
		on_worker(rule_2_2_3_2_recover_does_not_run_before_rejection),
		on_worker(rule_2_2_3_3_recover_runs_once),
		on_worker(rule_2_2_4_a_step_runs_on_a_clean_stack),
		on_worker(rule_2_2_5_a_step_has_its_argument_and_no_coroutine),
		on_worker(rule_2_2_6_1_handlers_of_a_fulfilment_run_in_order),
		on_worker(rule_2_2_6_2_handlers_of_a_rejection_run_in_order),
		on_worker(rule_2_2_7_1_what_a_step_returns_is_the_result_of_its_future),
		on_worker(rule_2_2_7_2_a_step_that_fails_rejects_its_future),
		on_worker(rule_2_2_7_3_a_fulfilment_passes_unhandled),
		on_worker(rule_2_2_7_4_a_rejection_passes_unhandled),
		on_worker(rule_2_3_1_a_future_cannot_wait_for_itself),
		on_worker(rule_2_3_2_1_who_follows_a_pending_future_stays_pending),
		on_worker(rule_2_3_2_2_who_follows_a_fulfilled_future_has_its_result),
		on_worker(rule_2_3_2_3_who_follows_a_rejected_future_has_its_error),
		on_worker(rule_2_3_3_1_a_future_is_followed_once),
		on_worker(rule_2_3_3_2_what_cannot_be_begun_rejects),
		on_worker(rule_2_3_3_3_foreign_code_is_called_once_with_the_promise),
		on_worker(rule_2_3_3_3_1_foreign_code_may_give_a_future_that_gives_a_future),
		on_worker(rule_2_3_3_3_2_foreign_code_may_reject),
		on_worker(rule_2_3_3_3_3_the_first_resolution_wins),
		on_worker(rule_2_3_3_3_4_1_a_failure_after_the_resolution_is_ignored),
		on_worker(rule_2_3_3_3_4_2_a_failure_before_the_resolution_rejects),
		on_worker(rule_2_3_3_4_a_value_is_not_looked_into),
		on_worker(rule_2_3_4_a_number_fulfils),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
