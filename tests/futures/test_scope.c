/* SPDX-License-Identifier: MIT */
/*
 * test_scope.c - scopes: nothing ends before its children, a cancel reaches every wait in the
 * tree, and no child is left behind, whoever forgets, fails or returns.
 */
#include "on_worker.h"

#include "futures/weir_scope.h"

/* ThreadSanitizer has room for few fibers. */
#ifdef WEIR__TSAN
#define DEEP 1000
#else
#define DEEP 20000
#endif

struct child {
	int64_t sleep_ns;
	int res;		/* what it returns when its sleep was not ended */
	int slept;		/* what its sleep returned */
	int ended;		/* the how-manieth to end */
	unsigned again;		/* sleeps that it goes on with after one was ended */
};

static int endings;

static int sleeper(void *arg)
{
	struct child *c = arg;

	c->slept = weir_sleep(c->sleep_ns);
	while (c->again--)
		assert_int_equal(weir_sleep(WEIR_S), c->slept);
	c->ended = ++endings;
	return c->slept ? c->slept : c->res;
}

static struct weir_scope open_scope(int policy, int64_t deadline_ns)
{
	struct weir_scope scope;

	endings = 0;
	assert_int_equal(weir_scope_open(&scope, policy, deadline_ns), 0);
	return scope;
}

static uint64_t metric(unsigned id)
{
	return weir__metric_get(&weir__self->metrics, id);
}

static void a_scope_without_children_joins_at_once(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct weir_scope_result result = { .started = 7 };

	assert_int_equal(metric(WEIR__M_SCOPES), 1);
	assert_int_equal(weir_scope_join(&scope, &result), 0);
	assert_int_equal(metric(WEIR__M_SCOPES), 0);
	assert_int_equal(result.started, 0);
	assert_int_equal(result.failed, 0);
	assert_null(result.name);
}

static void join_waits_for_every_child(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct child a = { .sleep_ns = 30 * WEIR_MS }, b = { .sleep_ns = 10 * WEIR_MS, .res = 5 };
	int64_t begin = weir_now();

	assert_int_equal(weir_scope_go(&scope, sleeper, &a), 0);
	assert_int_equal(weir_scope_go(&scope, sleeper, &b), 0);
	assert_int_equal(weir_scope_join(&scope, NULL), 0);
	assert_int_equal(b.ended, 1);
	assert_int_equal(a.ended, 2);
	assert_true(weir_now() - begin >= 30 * WEIR_MS);
}

static void the_first_failure_cancels_the_rest_and_is_the_result(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct child fails = { .sleep_ns = WEIR_MS, .res = -EIO };
	struct child rest = { .sleep_ns = WEIR_S, .again = 3 };
	struct weir_scope_result result;

	weir_scope_go(&scope, sleeper, &rest);
	weir_scope_go_named(&scope, "fails", sleeper, &fails);
	assert_int_equal(weir_scope_join(&scope, &result), -EIO);
	assert_int_equal(rest.slept, -ECANCELED);
	assert_int_equal(rest.ended, 2);
	assert_int_equal(result.started, 2);
	assert_int_equal(result.failed, 1);
	assert_int_equal(result.error, -EIO);
	assert_string_equal(result.name, "fails");
}

static void where_failures_are_collected_nobody_is_cancelled(void)
{
	struct weir_scope scope = open_scope(WEIR_COLLECT, WEIR_NEVER);
	struct child a = { .sleep_ns = 2 * WEIR_MS, .res = -EIO };
	struct child b = { .sleep_ns = WEIR_MS, .res = -EPIPE }, c = { .sleep_ns = WEIR_S };
	struct weir_scope_result result;

	weir_scope_go(&scope, sleeper, &a);
	weir_scope_go(&scope, sleeper, &b);
	weir_scope_go(&scope, sleeper, &c);
	assert_int_equal(weir_scope_join(&scope, &result), -EPIPE);
	assert_int_equal(c.slept, 0);
	assert_int_equal(result.failed, 2);
	assert_int_equal(result.started, 3);
}

static void a_child_that_returns_ecanceled_of_its_own_will_has_failed(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct child c = { .sleep_ns = WEIR_MS, .res = -ECANCELED };
	struct weir_scope_result result;

	weir_scope_go(&scope, sleeper, &c);
	assert_int_equal(weir_scope_join(&scope, &result), -ECANCELED);
	assert_int_equal(result.failed, 1);
}

static void a_cancelled_scope_ends_its_owners_waits_until_the_join_and_no_longer(void)
{
	struct weir_scope outer = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct weir_scope inner = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct child fails = { .sleep_ns = WEIR_MS, .res = -EIO };

	weir_scope_go(&inner, sleeper, &fails);
	assert_int_equal(weir_sleep(WEIR_S), -ECANCELED);
	assert_true(weir_coro_is_cancelled());
	assert_true(weir_scope_is_cancelled(&inner));
	assert_false(weir_scope_is_cancelled(&outer));
	assert_int_equal(weir_yield(), -ECANCELED);
	assert_int_equal(weir_scope_join(&inner, NULL), -EIO);
	assert_false(weir_coro_is_cancelled());
	assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_int_equal(weir_scope_join(&outer, NULL), 0);
}

static void cancelling_reaches_children_and_says_so_at_the_join(void)
{
	struct weir_scope scope = open_scope(WEIR_COLLECT, WEIR_NEVER);
	struct child a = { .sleep_ns = WEIR_S }, late = { .sleep_ns = WEIR_S };
	struct weir_scope_result result;

	weir_scope_go(&scope, sleeper, &a);
	assert_int_equal(weir_scope_cancel(&scope), 0);
	assert_int_equal(weir_scope_cancel(&scope), 0);
	assert_int_equal(weir_scope_go(&scope, sleeper, &late), 0);
	assert_int_equal(weir_scope_join(&scope, &result), -ECANCELED);
	assert_int_equal(a.slept, -ECANCELED);
	assert_int_equal(late.slept, -ECANCELED);
	assert_int_equal(result.failed, 0);
	assert_int_equal(result.error, 0);
}

static void the_deadline_ends_children_and_owner(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, weir_in(5 * WEIR_MS));
	struct child a = { .sleep_ns = WEIR_S };

	weir_scope_go(&scope, sleeper, &a);
	assert_int_equal(weir_sleep(WEIR_S), -ETIMEDOUT);
	assert_int_equal(weir_scope_join(&scope, NULL), -ETIMEDOUT);
	assert_int_equal(a.slept, -ETIMEDOUT);
	assert_int_equal(weir_sleep(WEIR_MS), 0);
}

static int ignores_its_deadline(void *arg)
{
	(void)arg;
	weir_coro_set_deadline(WEIR_NEVER);
	return weir_sleep(WEIR_S) == -ECANCELED ? 0 : -EPROTO;
}

static void a_child_that_forgets_its_deadline_is_cancelled_by_the_join(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, weir_in(5 * WEIR_MS));
	int64_t begin = weir_now();

	weir_scope_go(&scope, ignores_its_deadline, NULL);
	assert_int_equal(weir_scope_join(&scope, NULL), -ETIMEDOUT);
	assert_true(weir_now() - begin < 100 * WEIR_MS);
}

static void the_deadline_of_what_is_outside_counts_inside(void)
{
	int64_t near = weir_in(5 * WEIR_MS);
	struct weir_scope outer = open_scope(WEIR_FAIL_FAST, near);
	struct weir_scope inner = open_scope(WEIR_FAIL_FAST, weir_in(WEIR_S));
	struct child a = { .sleep_ns = WEIR_S }, b = { .sleep_ns = WEIR_S };

	assert_int_equal(weir_coro_deadline(), near);
	weir_scope_go(&inner, sleeper, &a);
	weir_scope_go(&outer, sleeper, &b);
	assert_int_equal(weir_scope_join(&inner, NULL), -ETIMEDOUT);
	assert_int_equal(weir_scope_join(&outer, NULL), -ETIMEDOUT);
	assert_int_equal(a.slept, -ETIMEDOUT);
	assert_int_equal(weir_coro_deadline(), WEIR_NEVER);
}

static void a_child_of_the_outer_scope_keeps_the_outer_deadline(void)
{
	struct weir_scope outer = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct weir_scope inner = open_scope(WEIR_FAIL_FAST, weir_in(5 * WEIR_MS));
	struct child b = { .sleep_ns = 50 * WEIR_MS };

	weir_scope_cancel(&inner);
	weir_scope_go(&outer, sleeper, &b);
	assert_int_equal(weir_scope_join(&inner, NULL), -ECANCELED);
	assert_int_equal(weir_scope_join(&outer, NULL), 0);
	assert_int_equal(b.slept, 0);
}

struct shielded {
	struct weir_scope *outer;
	int body;		/* what the wait in the shield returned */
	int after;		/* and the one behind it */
	int joined;
	struct child inside;
};

static int work_in_a_shield(void *arg)
{
	struct shielded *s = arg;
	struct weir_scope shield;

	assert_int_equal(weir_scope_open(&shield, WEIR_FAIL_FAST | WEIR_SHIELD, WEIR_NEVER), 0);
	weir_scope_go(&shield, sleeper, &s->inside);
	s->body = weir_sleep(20 * WEIR_MS);
	s->joined = weir_scope_join(&shield, NULL);
	s->after = weir_sleep(WEIR_MS);
	return 0;
}

static void a_shield_keeps_cancel_and_deadline_of_the_outside_out(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, weir_in(10 * WEIR_MS));
	struct shielded s = { .inside = { .sleep_ns = 40 * WEIR_MS } };

	weir_scope_go(&scope, work_in_a_shield, &s);
	weir_sleep(WEIR_MS);
	weir_scope_cancel(&scope);
	assert_int_equal(weir_scope_join(&scope, NULL), -ECANCELED);
	assert_int_equal(s.body, 0);
	assert_int_equal(s.inside.slept, 0);
	assert_int_equal(s.joined, 0);
	assert_int_equal(s.after, -ECANCELED);
}

static void a_shield_can_be_cancelled_itself(void)
{
	struct weir_scope shield = open_scope(WEIR_FAIL_FAST | WEIR_SHIELD, WEIR_NEVER);
	struct child a = { .sleep_ns = WEIR_S };

	weir_scope_go(&shield, sleeper, &a);
	weir_scope_cancel(&shield);
	assert_int_equal(weir_sleep(WEIR_S), -ECANCELED);
	assert_int_equal(weir_scope_join(&shield, NULL), -ECANCELED);
}

static struct child left[3];

static int returns_with_open_scopes(void *arg)
{
	struct weir_scope outer = open_scope(WEIR_FAIL_FAST, WEIR_NEVER), inner;

	(void)arg;
	weir_scope_go(&outer, sleeper, &left[0]);
	assert_int_equal(weir_scope_open(&inner, WEIR_COLLECT, WEIR_NEVER), 0);
	weir_scope_go(&inner, sleeper, &left[1]);
	weir_scope_go(&inner, sleeper, &left[2]);
	weir_sleep(WEIR_MS);
	return 9;
}

static void who_returns_with_open_scopes_ends_after_their_children(void)
{
	struct weir_coro *coro;
	int res;

	for (int i = 0; i < 3; i++)
		left[i] = (struct child){ .sleep_ns = WEIR_S };
	coro = start(returns_with_open_scopes, NULL);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 9);
	for (int i = 0; i < 3; i++)
		assert_int_equal(left[i].slept, -ECANCELED);
	assert_int_equal(metric(WEIR__M_SCOPES_ABANDONED), 2);
	assert_int_equal(metric(WEIR__M_SCOPES), 0);
}

static void joining_the_outer_scope_joins_what_is_open_in_it(void)
{
	struct weir_scope outer = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct weir_scope inner = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);
	struct child a = { .sleep_ns = WEIR_S }, b = { .sleep_ns = WEIR_MS };

	weir_scope_go(&inner, sleeper, &a);
	weir_scope_go(&outer, sleeper, &b);
	assert_int_equal(weir_scope_join(&outer, NULL), 0);
	assert_int_equal(a.slept, -ECANCELED);
	assert_int_equal(b.slept, 0);
	assert_int_equal(metric(WEIR__M_SCOPES_ABANDONED), 1);
}

static int joins_anothers(void *arg)
{
	return weir_scope_join(arg, NULL);
}

static void calls_in_the_wrong_state_have_a_defined_answer(void)
{
	struct weir_scope scope, copy;
	struct weir_scope_result result;

	assert_int_equal(weir_scope_open(&scope, 2, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_scope_open(&scope, -1, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_scope_open(&scope, 8, WEIR_NEVER), -EINVAL);
	scope = open_scope(WEIR_COLLECT, WEIR_NEVER);
	copy = scope;
	weir_scope_go(&scope, joins_anothers, &copy);
	assert_int_equal(weir_scope_join(&scope, &result), -EPROTO);
	assert_int_equal(result.error, -EPROTO);
	assert_int_equal(weir_scope_join(&scope, NULL), -EBUSY);
	assert_int_equal(weir_scope_go(&scope, sleeper, NULL), -EBUSY);
	assert_int_equal(weir_scope_cancel(&scope), -EBUSY);
	assert_false(weir_scope_is_cancelled(&scope));
}

static void outside_a_coroutine_no_scope_is_opened(void **state)
{
	struct weir_scope scope;

	(void)state;
	assert_int_equal(weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER), -EDEADLK);
}

/* Each level: one scope with one child. The last fails. */
static int level(void *arg)
{
	uintptr_t depth = (uintptr_t)arg;
	struct weir_scope scope;
	int r;

	if (!depth)
		return weir_sleep(WEIR_S);
	assert_int_equal(weir_scope_open(&scope, WEIR_FAIL_FAST, WEIR_NEVER), 0);
	r = weir_scope_go(&scope, level, (void *)(depth - 1));
	if (r)
		weir_scope_cancel(&scope);
	r = weir_scope_join(&scope, NULL);
	endings += r == -ECANCELED;
	return r;
}

static void a_tree_of_any_depth_is_cancelled_without_recursion(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, WEIR_NEVER);

	weir_scope_go(&scope, level, (void *)(uintptr_t)DEEP);
	turns(DEEP + 2);
	weir_scope_cancel(&scope);
	assert_int_equal(weir_scope_join(&scope, NULL), -ECANCELED);
	assert_int_equal(endings, DEEP);
}

static int goes_on(void *arg)
{
	struct weir_scope *scope = arg;
	static struct child grandchild;

	grandchild = (struct child){ .sleep_ns = 5 * WEIR_MS, .res = -ENOENT };
	return weir_scope_go(scope, sleeper, &grandchild);
}

static void children_start_children_of_the_same_scope_while_it_is_joined(void)
{
	struct weir_scope scope = open_scope(WEIR_FAIL_FAST, WEIR_NEVER), copy = scope;
	struct weir_scope_result result;

	weir_scope_go(&scope, goes_on, &copy);
	assert_int_equal(weir_scope_join(&scope, &result), -ENOENT);
	assert_int_equal(result.started, 2);
}

static void the_bound_of_scopes_refuses_the_next_and_takes_it_again(void)
{
	struct weir_scope scopes[3], one;
	size_t count_max;

	open_scope(WEIR_COLLECT, WEIR_NEVER);
	count_max = ((struct weir_futures *)weir__self->futures)->scopes.count_max;
	((struct weir_futures *)weir__self->futures)->scopes.count_max = 3;
	for (int i = 0; i < 2; i++)
		scopes[i] = open_scope(WEIR_COLLECT, WEIR_NEVER);
	assert_int_equal(weir_scope_open(&one, WEIR_COLLECT, WEIR_NEVER), -ENOBUFS);
	assert_int_equal(metric(WEIR__M_FUTURES_REFUSED), 1);
	assert_int_equal(weir_scope_join(&scopes[1], NULL), 0);
	assert_int_equal(weir_scope_open(&one, WEIR_COLLECT, WEIR_NEVER), 0);
	((struct weir_futures *)weir__self->futures)->scopes.count_max = count_max;
}

/* --- the tree --- */

struct seen {
	unsigned count;
	unsigned depths[8];
	char lines[8][96];
};

static int see(const struct weir_tree_node *node, void *arg)
{
	struct seen *seen = arg;
	char *line = seen->lines[seen->count];

	seen->depths[seen->count++] = node->depth;
	snprintf(line, sizeof(seen->lines[0]), "%s %s%s%s", node->name, node->state,
		 node->scope ? " of " : "", node->scope ? node->scope : "");
	return 0;
}

static int parent(void *arg)
{
	struct weir_scope scope;

	assert_int_equal(weir_scope_open_at(&scope, WEIR_COLLECT, WEIR_NEVER, "inner"), 0);
	weir_scope_go_named(&scope, "leaf", sleeper, arg);
	return weir_scope_join(&scope, NULL);
}

static void the_tree_says_who_waits_for_what_and_where(void)
{
	static const char *const expected[] = {
		"test running", "parent join of outer", "leaf sleep of inner",
		"second sleep of outer", "other sleep of next",
	};
	struct child c = { .sleep_ns = WEIR_MS }, d = c, e = c;
	struct weir_scope outer, next;
	struct seen seen = { 0 };

	assert_int_equal(weir_scope_open_at(&outer, WEIR_COLLECT, WEIR_NEVER, "outer"), 0);
	weir_scope_go_named(&outer, "parent", parent, &c);
	weir_scope_go_named(&outer, "second", sleeper, &d);
	assert_int_equal(weir_scope_open_at(&next, WEIR_COLLECT, WEIR_NEVER, "next"), 0);
	weir_scope_go_named(&next, "other", sleeper, &e);
	turns(3);
	assert_int_equal(weir_tree_list(see, &seen), 0);
	assert_int_equal(seen.count, 5);
	for (unsigned i = 0; i < seen.count; i++)
		assert_string_equal(seen.lines[i], expected[i]);
	assert_int_equal(seen.depths[0], 0);
	assert_int_equal(seen.depths[1], 1);
	assert_int_equal(seen.depths[2], 2);
	assert_int_equal(seen.depths[4], 1);
	assert_int_equal(weir_scope_join(&next, NULL), 0);
	assert_int_equal(weir_scope_join(&outer, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_worker(a_scope_without_children_joins_at_once),
		on_worker(join_waits_for_every_child),
		on_worker(the_first_failure_cancels_the_rest_and_is_the_result),
		on_worker(where_failures_are_collected_nobody_is_cancelled),
		on_worker(a_child_that_returns_ecanceled_of_its_own_will_has_failed),
		on_worker(a_cancelled_scope_ends_its_owners_waits_until_the_join_and_no_longer),
		on_worker(cancelling_reaches_children_and_says_so_at_the_join),
		on_worker(the_deadline_ends_children_and_owner),
		on_worker(a_child_that_forgets_its_deadline_is_cancelled_by_the_join),
		on_worker(the_deadline_of_what_is_outside_counts_inside),
		on_worker(a_child_of_the_outer_scope_keeps_the_outer_deadline),
		on_worker(a_shield_keeps_cancel_and_deadline_of_the_outside_out),
		on_worker(a_shield_can_be_cancelled_itself),
		on_worker(who_returns_with_open_scopes_ends_after_their_children),
		on_worker(joining_the_outer_scope_joins_what_is_open_in_it),
		on_worker(calls_in_the_wrong_state_have_a_defined_answer),
		cmocka_unit_test(outside_a_coroutine_no_scope_is_opened),
		on_worker(a_tree_of_any_depth_is_cancelled_without_recursion),
		on_worker(children_start_children_of_the_same_scope_while_it_is_joined),
		on_worker(the_bound_of_scopes_refuses_the_next_and_takes_it_again),
		on_worker(the_tree_says_who_waits_for_what_and_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
