/* SPDX-License-Identifier: MIT */
/*
 * test_credit.c - room is taken on all levels or on none, in order, and comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/weir_credit.h"
#include "core/worker.h"
#include "tests/support/fake_driver.h"

/* --- a worker around a body --- */

static int run_body(void *arg)
{
	(*(void (**)(void))arg)();
	return 0;
}

static void on_worker(void **state)
{
	const struct weir_coro_opts coro_opts = { .name = "test", .detached = true };
	const struct weir_worker_opts opts = { .index = 0 };
	static struct weir_worker worker;
	static struct fake_driver fake;
	void (*body)(void) = *state;

	fake_driver_init(&fake);
	assert_int_equal(weir__worker_init(&worker, &fake.driver, &opts), 0);
	weir__self = &worker;
	assert_int_equal(weir_coro_spawn(&coro_opts, run_body, &body, NULL), 0);
	weir__self = NULL;
	assert_int_equal(weir__worker_loop(&worker), 0);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
}

struct taker {
	struct weir_credit *credit;
	uint64_t items, bytes;
	int64_t deadline_ns;
	int res;
	unsigned place;		/* the how-manieth that got it */
	struct weir_coro *coro;
};

static unsigned served;

static int takes(void *arg)
{
	struct taker *t = arg;

	t->res = weir_credit_take(t->credit, t->items, t->bytes, t->deadline_ns);
	if (!t->res)
		t->place = ++served;
	return 0;
}

static void start(struct taker *t, struct weir_credit *credit, uint64_t items, uint64_t bytes)
{
	*t = (struct taker){ .credit = credit,
			     .items = items,
			     .bytes = bytes,
			     .deadline_ns = t->deadline_ns ? t->deadline_ns : WEIR_NEVER,
			     .res = 1 };
	assert_int_equal(weir_coro_spawn(NULL, takes, t, &t->coro), 0);
}

static void join(struct taker *takers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(weir_coro_join(takers[i].coro, WEIR_NEVER, NULL), 0);
}

static void turns(unsigned count)
{
	while (count--)
		weir_yield();
}

static struct weir_credit make(const struct weir_credit_opts *opts)
{
	struct weir_credit credit;

	served = 0;
	assert_int_equal(weir_credit_init(&credit, opts), 0);
	return credit;
}

/* A credit in a line points to itself: it is made where it stays. */
static void make_at(struct weir_credit *credit, const struct weir_credit_opts *opts)
{
	served = 0;
	assert_int_equal(weir_credit_init(credit, opts), 0);
}

static void items_and_bytes_are_bounded_each(void)
{
	struct weir_credit credit;

	make_at(&credit, &(struct weir_credit_opts){ .items_max = 2, .bytes_max = 100 });
	assert_int_equal(weir_credit_try(&credit, 1, 100), 0);
	assert_int_equal(weir_credit_try(&credit, 0, 1), -EAGAIN);
	assert_int_equal(weir_credit_try(&credit, 1, 0), 0);
	assert_int_equal(weir_credit_try(&credit, 1, 0), -EAGAIN);
	assert_int_equal(weir_credit_try(&credit, 3, 0), -EINVAL);
	assert_int_equal(weir_credit_take(&credit, 0, 101, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_credit_give(&credit, 2, 50), 0);
	assert_int_equal(weir_credit_give(&credit, 1, 0), -EINVAL);
	assert_int_equal(weir_credit_give(&credit, 0, 51), -EINVAL);
	assert_int_equal(weir_credit_fini(&credit), -EBUSY);
	assert_int_equal(weir_credit_give(&credit, 0, 50), 0);
	assert_int_equal(weir_credit_fini(&credit), 0);
	assert_int_equal(weir_credit_try(&credit, 0, 0), -EPROTO);
}

static void who_waits_is_served_in_order_and_not_overtaken_by_the_small(void)
{
	struct weir_credit_info info;
	struct weir_credit credit;
	struct taker t[3] = { { .items = 0 } };

	make_at(&credit, &(struct weir_credit_opts){ .items_max = 4 });
	assert_int_equal(weir_credit_take(&credit, 3, 0, 0), 0);
	start(&t[0], &credit, 4, 0);
	start(&t[1], &credit, 1, 0);
	start(&t[2], &credit, 1, 0);
	turns(2);
	assert_int_equal(served, 0);
	assert_int_equal(weir_credit_try(&credit, 1, 0), -EAGAIN);
	weir_credit_info(&credit, &info);
	assert_int_equal(info.waiting, 3);
	assert_int_equal(info.waits, 3);
	assert_int_equal(info.refused, 1);
	assert_int_equal(info.items, 3);
	weir_credit_give(&credit, 3, 0);
	turns(2);
	assert_int_equal(t[0].place, 1);
	assert_int_equal(served, 1);
	weir_credit_give(&credit, 4, 0);
	join(t, 3);
	assert_int_equal(t[1].place, 2);
	assert_int_equal(t[2].place, 3);
	weir_credit_give(&credit, 2, 0);
	assert_int_equal(weir_credit_fini(&credit), 0);
}

static void who_leaves_lets_those_behind_go_on(void)
{
	struct weir_credit credit;
	struct taker t[3] = { { .deadline_ns = weir_in(WEIR_MS) }, { .items = 0 } };

	make_at(&credit, &(struct weir_credit_opts){ .items_max = 4 });
	weir_credit_take(&credit, 2, 0, 0);
	start(&t[0], &credit, 4, 0);
	start(&t[1], &credit, 3, 0);
	start(&t[2], &credit, 1, 0);
	turns(2);
	weir_coro_cancel(t[1].coro);
	join(t, 3);
	assert_int_equal(t[0].res, -ETIMEDOUT);
	assert_int_equal(t[1].res, -ECANCELED);
	assert_int_equal(t[2].res, 0);
	weir_credit_give(&credit, 3, 0);
	assert_int_equal(weir_credit_fini(&credit), 0);
}

static void the_reserve_is_for_those_who_ask_for_it(void)
{
	struct weir_credit credit;

	make_at(&credit, &(struct weir_credit_opts){ .items_max = 4, .items_reserve = 1 });
	assert_int_equal(weir_credit_take(&credit, 4, 0, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_credit_take(&credit, 3, 0, WEIR_NEVER), 0);
	assert_int_equal(weir_credit_try(&credit, 1, 0), -EAGAIN);
	assert_int_equal(weir_credit_take_reserve(&credit, 1, 0), 0);
	assert_int_equal(weir_credit_take_reserve(&credit, 1, 0), -EAGAIN);
	weir_credit_give(&credit, 4, 0);
	assert_int_equal(weir_credit_fini(&credit), 0);
}

static void a_parent_pays_too_and_nothing_is_taken_when_it_cannot(void)
{
	struct weir_credit parent, a, b;
	struct weir_credit_info info;

	make_at(&parent, &(struct weir_credit_opts){ .bytes_max = 100 });
	make_at(&a, &(struct weir_credit_opts){ .parent = &parent, .bytes_max = 80 });
	make_at(&b, &(struct weir_credit_opts){ .parent = &parent });
	assert_int_equal(weir_credit_try(&a, 1, 81), -EINVAL);
	assert_int_equal(weir_credit_try(&b, 1, 101), -EINVAL);
	assert_int_equal(weir_credit_try(&a, 1, 80), 0);
	assert_int_equal(weir_credit_try(&b, 1, 21), -EAGAIN);
	weir_credit_info(&b, &info);
	assert_int_equal(info.items, 0);
	assert_int_equal(weir_credit_try(&b, 1, 20), 0);
	weir_credit_info(&parent, &info);
	assert_int_equal(info.bytes, 100);
	assert_int_equal(info.items, 2);
	assert_int_equal(weir_credit_fini(&parent), -EBUSY);
	weir_credit_give(&a, 1, 80);
	weir_credit_give(&b, 1, 20);
	assert_int_equal(weir_credit_fini(&parent), -EBUSY);
	assert_int_equal(weir_credit_fini(&a), 0);
	assert_int_equal(weir_credit_fini(&b), 0);
	assert_int_equal(weir_credit_fini(&parent), 0);
}

static void children_that_wait_for_their_parents_room_get_it_in_turn(void)
{
	struct weir_credit parent, child[2];
	struct taker t[4] = { { .items = 0 } };

	make_at(&parent, &(struct weir_credit_opts){ .items_max = 1 });
	for (int i = 0; i < 2; i++)
		make_at(&child[i], &(struct weir_credit_opts){ .parent = &parent });
	assert_int_equal(weir_credit_take(&parent, 1, 0, 0), 0);
	start(&t[0], &child[0], 1, 0);
	start(&t[1], &child[0], 1, 0);
	start(&t[2], &child[1], 1, 0);
	turns(2);
	weir_credit_give(&parent, 1, 0);
	for (int i = 0; i < 2; i++) {
		turns(2);
		assert_int_equal(served, i + 1);
		weir_credit_give(i ? &child[1] : &child[0], 1, 0);
	}
	join(t, 3);
	assert_int_equal(t[0].place, 1);
	assert_int_equal(t[2].place, 2);
	assert_int_equal(t[1].place, 3);
	weir_credit_give(&child[0], 1, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(weir_credit_fini(&child[i]), 0);
	assert_int_equal(weir_credit_fini(&parent), 0);
}

static unsigned told;
static bool told_pressed;

static void note(struct weir_credit_watch *watch, bool is_pressed)
{
	(void)watch;
	told++;
	told_pressed = is_pressed;
}

static void marks_are_told_once_with_hysteresis(void)
{
	struct weir_credit_watch watch, other;
	struct weir_credit credit;

	told = 0;
	make_at(&credit, &(struct weir_credit_opts){ .items_max = 100, .high_percent = 80,
						     .low_percent = 20 });
	assert_int_equal(weir_credit_watch(&credit, &watch, note), 0);
	assert_int_equal(weir_credit_watch(&credit, &other, note), -EBUSY);
	weir_credit_take(&credit, 79, 0, 0);
	turns(2);
	assert_int_equal(told, 0);
	weir_credit_take(&credit, 1, 0, 0);
	assert_int_equal(told, 0);
	assert_int_equal(weir_credit_unwatch(&credit, &watch), -EAGAIN);
	turns(2);
	assert_int_equal(told, 1);
	assert_true(told_pressed);
	weir_credit_give(&credit, 59, 0);
	weir_credit_take(&credit, 70, 0, 0);
	turns(2);
	assert_int_equal(told, 1);
	weir_credit_give(&credit, 71, 0);
	turns(2);
	assert_int_equal(told, 2);
	assert_false(told_pressed);
	/* Up and down again before it was told. */
	weir_credit_take(&credit, 80, 0, 0);
	weir_credit_give(&credit, 100, 0);
	turns(2);
	assert_int_equal(told, 2);
	assert_int_equal(weir_credit_fini(&credit), -EBUSY);
	assert_int_equal(weir_credit_unwatch(&credit, &other), -EINVAL);
	assert_int_equal(weir_credit_unwatch(&credit, &watch), 0);
	assert_int_equal(weir_credit_fini(&credit), 0);
}

static void senseless_options_are_refused(void)
{
	struct weir_credit credit;
	struct weir_credit_opts o;

	o = (struct weir_credit_opts){ .items_max = 4, .items_reserve = 4 };
	assert_int_equal(weir_credit_init(&credit, &o), -EINVAL);
	o = (struct weir_credit_opts){ .bytes_reserve = 1 };
	assert_int_equal(weir_credit_init(&credit, &o), -EINVAL);
	o = (struct weir_credit_opts){ .high_percent = 101 };
	assert_int_equal(weir_credit_init(&credit, &o), -EINVAL);
	o = (struct weir_credit_opts){ .high_percent = 40 };
	assert_int_equal(weir_credit_init(&credit, &o), -EINVAL);
	credit = make(NULL);
	assert_int_equal(credit.items_, 0);
	credit.home_ = NULL;
	o = (struct weir_credit_opts){ .parent = &credit };
	assert_int_equal(weir_credit_init(&credit, &o), -EPROTO);
	assert_int_equal(weir_credit_take(&credit, 1, 1, 0), -EPROTO);
	assert_int_equal(weir_credit_take_reserve(&credit, 1, 1), -EPROTO);
	assert_int_equal(weir_credit_give(&credit, 0, 0), -EPROTO);
	assert_int_equal(weir_credit_fini(&credit), -EPROTO);
}

#define worker_test(body)                                                                         \
	{                                                                                         \
		.name = #body, .test_func = on_worker,                                            \
		.initial_state = (void *)(uintptr_t)(body),                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		worker_test(items_and_bytes_are_bounded_each),
		worker_test(who_waits_is_served_in_order_and_not_overtaken_by_the_small),
		worker_test(who_leaves_lets_those_behind_go_on),
		worker_test(the_reserve_is_for_those_who_ask_for_it),
		worker_test(a_parent_pays_too_and_nothing_is_taken_when_it_cannot),
		worker_test(children_that_wait_for_their_parents_room_get_it_in_turn),
		worker_test(marks_are_told_once_with_hysteresis),
		worker_test(senseless_options_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
