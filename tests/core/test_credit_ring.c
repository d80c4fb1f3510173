/* SPDX-License-Identifier: MIT */
/*
 * test_credit_ring.c - coroutines that wait for each other's credit are found and named; those that
 * only wait are not.
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

#define COUNT_MAX 10

/* Has room of one credit, then wants some of another. */
struct party {
	struct weir_credit *has, *wants;
	struct weir_coro *coro;
	int64_t pause_ns;
	int res;
};

static struct weir_credit credits[COUNT_MAX];
static struct party parties[COUNT_MAX];

static void make(unsigned count)
{
	static const char *const names[COUNT_MAX] = { "a", "b", "c", "d", "e",
						      "f", "g", "h", "i", "j" };

	for (unsigned i = 0; i < count; i++)
		assert_int_equal(weir_credit_init(&credits[i], &(struct weir_credit_opts){
			.name = names[i], .items_max = 1 }), 0);
}

static int takes_two(void *arg)
{
	struct party *p = arg;

	assert_int_equal(weir_credit_take(p->has, 1, 0, WEIR_NEVER), 0);
	weir_sleep(p->pause_ns);
	p->res = weir_credit_take(p->wants, 1, 0, WEIR_NEVER);
	weir_credit_give(p->has, 1, 0);
	if (!p->res)
		weir_credit_give(p->wants, 1, 0);
	return 0;
}

static void start(struct party *party, const char *name, unsigned has, unsigned wants)
{
	const struct weir_coro_opts opts = { .name = name };

	*party = (struct party){ .has = &credits[has], .wants = &credits[wants] };
	assert_int_equal(weir_coro_spawn(&opts, takes_two, party, &party->coro), 0);
}

static void end(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		weir_coro_cancel(parties[i].coro);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(weir_coro_join(parties[i].coro, WEIR_NEVER, NULL), 0);
}

static uint64_t counted(void)
{
	return weir__metric_get(&weir__self->metrics, WEIR__M_CREDIT_RINGS);
}

static void two_that_hold_what_the_other_wants_are_named(void)
{
	struct weir_credit_ring ring;

	make(2);
	start(&parties[0], "left", 0, 1);
	start(&parties[1], "right", 1, 0);
	weir_yield();
	weir_yield();
	assert_int_equal(weir_credit_ring_find(0, &ring), 0);
	assert_int_equal(ring.count, 2);
	assert_string_equal(ring.links[0].coro, "left");
	assert_string_equal(ring.links[0].credit, "b");
	assert_string_equal(ring.links[1].coro, "right");
	assert_string_equal(ring.links[1].credit, "a");
	assert_true(ring.links[0].since_ns > 0);
	assert_int_equal(weir_credit_ring_find(WEIR_S, &ring), -ENOENT);
	end(2);
	assert_int_equal(weir_credit_ring_find(0, &ring), -ENOENT);
}

static void who_got_it_in_line_is_its_taker(void)
{
	struct weir_credit_ring ring;

	make(2);
	assert_int_equal(weir_credit_take(&credits[0], 1, 0, WEIR_NEVER), 0);
	start(&parties[0], "left", 0, 1);
	start(&parties[1], "right", 1, 0);
	weir_yield();
	assert_int_equal(weir_credit_give(&credits[0], 1, 0), 0);
	weir_sleep(WEIR_MS);
	assert_int_equal(weir_credit_ring_find(0, &ring), 0);
	end(2);
}

static void a_ring_is_counted_once_after_a_second(void)
{
	struct weir_credit_ring ring;

	make(3);
	for (unsigned i = 0; i < 3; i++) {
		start(&parties[i], "party", i, (i + 1) % 3);
		parties[i].pause_ns = i * 250 * WEIR_MS;
	}
	weir_sleep(1400 * WEIR_MS);
	assert_int_equal(counted(), 0);
	assert_int_equal(weir_credit_ring_find(0, &ring), 0);
	assert_int_equal(weir_credit_ring_find(WEIR_S, &ring), -ENOENT);
	weir_sleep(200 * WEIR_MS);
	assert_int_equal(counted(), 1);
	assert_int_equal(weir_credit_ring_find(WEIR_S, &ring), 0);
	assert_int_equal(ring.count, 3);
	weir_sleep(5 * WEIR_S);
	assert_int_equal(counted(), 1);
	end(3);
}

static void who_waits_for_one_that_goes_on_is_in_no_ring(void)
{
	struct weir_credit_ring ring;

	make(3);
	assert_int_equal(weir_credit_take(&credits[2], 1, 0, WEIR_NEVER), 0);
	start(&parties[0], "party", 0, 1);
	start(&parties[1], "party", 1, 2);
	weir_sleep(2 * WEIR_S);
	assert_int_equal(counted(), 0);
	assert_int_equal(weir_credit_ring_find(0, &ring), -ENOENT);
	assert_int_equal(weir_credit_give(&credits[2], 1, 0), 0);
	weir_sleep(WEIR_MS);
	end(2);
	assert_int_equal(parties[0].res, 0);
	assert_int_equal(parties[1].res, 0);
}

/* It gave the room back that it waits for now: others hold it, and will give it. */
static void nobody_waits_for_himself(void)
{
	struct weir_credit_ring ring;

	make(1);
	assert_int_equal(weir_credit_take(&credits[0], 1, 0, WEIR_NEVER), 0);
	assert_int_equal(weir_credit_take(&credits[0], 1, 0, weir_in(2 * WEIR_S)), -ETIMEDOUT);
	assert_int_equal(counted(), 0);
	assert_int_equal(weir_credit_ring_find(0, &ring), -ENOENT);
	assert_int_equal(weir_credit_give(&credits[0], 1, 0), 0);
}

/* --- bounded queues: who produces takes, who consumes gives --- */

static int stage(void *arg)
{
	struct party *p = arg;

	p->res = weir_credit_give(p->has, 1, 0);	/* consumed from one, ... */
	while (!p->res)					/* produces into the other */
		p->res = weir_credit_take(p->wants, 1, 0, WEIR_NEVER);
	return 0;
}

static void start_stage(struct party *party, const char *name, unsigned from, unsigned to)
{
	const struct weir_coro_opts opts = { .name = name };

	*party = (struct party){ .has = &credits[from], .wants = &credits[to] };
	assert_int_equal(weir_coro_spawn(&opts, stage, party, &party->coro), 0);
}

static void full_queues_between_two_stages_are_named(void)
{
	struct weir_credit_ring ring;

	make(2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(weir_credit_take(&credits[i], 1, 0, WEIR_NEVER), 0);
	start_stage(&parties[0], "request", 0, 1);
	start_stage(&parties[1], "answer", 1, 0);
	weir_sleep(2 * WEIR_S);
	assert_int_equal(counted(), 1);
	assert_int_equal(weir_credit_ring_find(WEIR_S, &ring), 0);
	assert_int_equal(ring.count, 2);
	assert_string_equal(ring.links[0].coro, "answer");
	assert_string_equal(ring.links[0].credit, "a");
	assert_string_equal(ring.links[1].coro, "request");
	assert_string_equal(ring.links[1].credit, "b");
	end(2);
}

static void a_parent_that_has_no_room_is_what_is_waited_for(void)
{
	struct weir_credit parent, child;
	struct weir_credit_ring ring;

	make(1);
	assert_int_equal(weir_credit_init(&parent, &(struct weir_credit_opts){
		.name = "parent", .items_max = 1 }), 0);
	assert_int_equal(weir_credit_init(&child, &(struct weir_credit_opts){
		.name = "child", .items_max = 5, .parent = &parent }), 0);
	start(&parties[0], "one", 0, 0);
	parties[0].wants = &child;
	start(&parties[1], "two", 0, 0);
	parties[1].has = &child;
	weir_sleep(WEIR_MS);
	assert_int_equal(weir_credit_ring_find(0, &ring), 0);
	assert_string_equal(ring.links[0].credit, "parent");
	end(2);
}

static void a_ring_of_eight_is_found_and_one_of_nine_is_not(void)
{
	struct weir_credit_ring ring;

	for (unsigned count = 8; count <= 9; count++) {
		make(count);
		for (unsigned i = 0; i < count; i++)
			start(&parties[i], "party", i, (i + 1) % count);
		weir_sleep(WEIR_MS);
		assert_int_equal(weir_credit_ring_find(0, &ring), count == 8 ? 0 : -ENOENT);
		end(count);
	}
	assert_int_equal(ring.count, 8);
}

static void one_that_has_ended_is_nobody_though_its_stack_is_used_again(void)
{
	struct weir_credit_ring ring;

	make(3);
	start(&parties[0], "gone", 0, 1);
	assert_int_equal(weir_coro_join(parties[0].coro, WEIR_NEVER, NULL), 0);
	assert_int_equal(weir_credit_take_reserve(&credits[1], 1, 0), 0);
	credits[1].taker_ = credits[1].giver_;		/* as if it had been the last */
	start(&parties[0], "new", 0, 2);		/* on the same stack */
	assert_int_equal(weir_credit_take(&credits[2], 1, 0, WEIR_NEVER), 0);
	start(&parties[1], "other", 2, 1);
	weir_credit_give(&credits[2], 1, 0);
	weir_yield();
	weir_sleep(WEIR_MS);
	assert_int_equal(weir_credit_ring_find(0, &ring), -ENOENT);
	weir_credit_give(&credits[1], 1, 0);
	end(2);
}

#define test(body)                                                                                \
	{                                                                                         \
		.name = #body, .test_func = on_worker,                                            \
		.initial_state = (void *)(uintptr_t)(body),                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(two_that_hold_what_the_other_wants_are_named),
		test(who_got_it_in_line_is_its_taker),
		test(a_ring_is_counted_once_after_a_second),
		test(who_waits_for_one_that_goes_on_is_in_no_ring),
		test(nobody_waits_for_himself),
		test(full_queues_between_two_stages_are_named),
		test(a_parent_that_has_no_room_is_what_is_waited_for),
		test(a_ring_of_eight_is_found_and_one_of_nine_is_not),
		test(one_that_has_ended_is_nobody_though_its_stack_is_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
