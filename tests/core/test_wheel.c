/* SPDX-License-Identifier: MIT */
/*
 * test_wheel.c - the timer wheel against a model that looks at every timer each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/wheel.h"

#define TICK WEIR__TICK_NS
#define TIMERS 256

static uint64_t random_state;

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators". */
static uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(2685821657736338717);
}

static uint64_t random_below(uint64_t limit)
{
	return random_next() % limit;
}

/* A number of up to bits_max bits, each length as likely. */
static int64_t random_span(unsigned bits_max)
{
	return (int64_t)(random_next() >> (64 - bits_max)) >> random_below(bits_max);
}

static int64_t tick_up(int64_t ns)
{
	if (ns <= 0)
		return 0;
	return ns > WEIR_NEVER - TICK ? WEIR_NEVER : (ns + TICK - 1) / TICK * TICK;
}

/* One timer and what the model knows of it. */
struct entry {
	struct weir_timer timer;
	bool armed;
	bool due; /* in the batch that is being fired */
	int64_t deadline_ns;
	unsigned fired;
};

struct world {
	struct weir_wheel wheel;
	struct entry entries[TIMERS];
	int64_t now;
	int64_t last_tick; /* the tick of the timer that fired before, in this batch */
	unsigned count;	   /* armed */
	unsigned batch;	   /* fired in this batch */
	bool meddle;	   /* callbacks arm and cancel others */
};

static struct world *world;

static void entry_arm(struct entry *entry, int64_t deadline_ns)
{
	weir__wheel_arm(&world->wheel, &entry->timer, deadline_ns);
	world->count += !entry->armed;
	entry->armed = true;
	entry->due = false;
	entry->deadline_ns = deadline_ns;
}

static void entry_cancel(struct entry *entry)
{
	if (!entry->armed)
		return;
	weir__wheel_cancel(&world->wheel, &entry->timer);
	entry->armed = false;
	entry->due = false;
	world->count--;
}

static struct entry *random_entry(void)
{
	return &world->entries[random_below(TIMERS)];
}

static void entry_arm_somewhere(struct entry *entry)
{
	int64_t deadline = world->now + random_span(56);

	if (!random_below(16))
		deadline = world->now - random_span(40);
	entry_arm(entry, deadline);
}

static void on_fire(struct weir_timer *timer)
{
	struct entry *entry = weir_container_of(timer, struct entry, timer);

	assert_true(entry->armed);
	assert_true(entry->due);
	assert_true(entry->deadline_ns <= world->now);
	assert_true(timer->deadline_ns == entry->deadline_ns);
	assert_int_equal(timer->slot_, 0);
	entry->armed = false;
	entry->due = false;
	entry->fired++;
	world->count--;
	world->batch++;
	if (!world->meddle)
		return;
	if (!random_below(3))
		entry_arm_somewhere(entry);
	if (!random_below(4))
		entry_arm_somewhere(random_entry());
	if (!random_below(4))
		entry_cancel(random_entry());
}

/* Moves time to now, unless it is later already, and checks that exactly what is due fired. */
static void world_advance(int64_t now)
{
	unsigned i, fired;

	if (now > world->now)
		world->now = now;
	world->batch = 0;
	for (i = 0; i < TIMERS; i++)
		world->entries[i].due = world->entries[i].armed &&
					tick_up(world->entries[i].deadline_ns) <= world->now;
	fired = weir__wheel_advance(&world->wheel, now);
	assert_int_equal(fired, world->batch);
	for (i = 0; i < TIMERS; i++)
		assert_false(world->entries[i].due);
	assert_int_equal(world->wheel.count, world->count);
}

static int64_t world_earliest(void)
{
	int64_t earliest = WEIR_NEVER;
	unsigned i;

	for (i = 0; i < TIMERS; i++)
		if (world->entries[i].armed && tick_up(world->entries[i].deadline_ns) < earliest)
			earliest = tick_up(world->entries[i].deadline_ns);
	return earliest;
}

static int world_setup(void **state)
{
	unsigned i;

	(void)state;
	random_state = UINT64_C(0x9e3779b97f4a7c15);
	world = calloc(1, sizeof(*world));
	if (!world)
		return -1;
	for (i = 0; i < TIMERS; i++)
		world->entries[i].timer.fire_ = on_fire;
	world->now = 12345678901;
	weir__wheel_init(&world->wheel, world->now);
	return 0;
}

static int world_teardown(void **state)
{
	(void)state;
	free(world);
	return 0;
}

static void a_million_random_steps_agree_with_the_model(void **state)
{
	unsigned step;

	(void)state;
	world->meddle = true;
	for (step = 0; step < 1000000; step++) {
		switch (random_below(8)) {
		case 0:
			world_advance(world->now + random_span(step % 64 ? 30 : 52));
			if (world->now > INT64_MAX / 4) {
				unsigned i;

				for (i = 0; i < TIMERS; i++)
					entry_cancel(&world->entries[i]);
				world->now = 1;
				weir__wheel_init(&world->wheel, world->now);
			}
			break;
		case 1:
			if (step % 16 == 0) /* a clock that goes back is a clock that stands */
				world_advance(world->now - random_span(30));
			break;
		case 2:
		case 3:
			entry_cancel(random_entry());
			break;
		default:
			entry_arm_somewhere(random_entry());
		}
		if (step % 4 == 0) {
			int64_t earliest = world_earliest();

			if (earliest < world->now)
				earliest = world->now;
			assert_true(weir__wheel_next(&world->wheel) <= earliest);
		}
	}
	assert_int_equal(world->wheel.count, world->count);
}

static void next_is_the_earliest_deadline_rounded_up_when_nothing_was_cancelled(void **state)
{
	unsigned step;

	(void)state;
	assert_true(weir__wheel_next(&world->wheel) == WEIR_NEVER);
	for (step = 0; step < 20000; step++) {
		struct entry *entry = random_entry();

		if (!entry->armed)
			entry_arm(entry, world->now + 1 + random_span(50));
		assert_true(weir__wheel_next(&world->wheel) == world_earliest());
		if (!random_below(4))
			world_advance(world->now + random_span(44));
	}
}

static void whoever_wakes_at_next_is_never_early_and_less_than_a_tick_late(void **state)
{
	unsigned i, wakes = 0;

	(void)state;
	for (i = 0; i < TIMERS; i++)
		entry_arm(&world->entries[i], world->now + 1 + random_span(55));
	while (world->count) {
		int64_t next = weir__wheel_next(&world->wheel);
		int64_t earliest = INT64_MAX;

		for (i = 0; i < TIMERS; i++)
			if (world->entries[i].armed && world->entries[i].deadline_ns < earliest)
				earliest = world->entries[i].deadline_ns;
		assert_true(next > world->now && next >= earliest && next - earliest < TICK);
		world_advance(next);
		assert_true(world->batch > 0);
		wakes++;
	}
	assert_true(wakes <= TIMERS);
	assert_true(weir__wheel_next(&world->wheel) == WEIR_NEVER);
}

static void a_timer_fires_on_its_tick_at_every_boundary_of_every_level(void **state)
{
	static const int64_t starts[] = { 0, 1, 62, 63, 64, 4095, 4096, 262143, 1000003 };
	struct entry *entry = &world->entries[0];
	unsigned level, i;
	int off;

	(void)state;
	for (level = 0; level < WEIR__WHEEL_LEVELS - 1; level++)
		for (i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
			for (off = -1; off <= 1; off++) {
				int64_t span = (INT64_C(1) << level * WEIR__WHEEL_BITS) + off;

				world->now = starts[i] * TICK;
				weir__wheel_init(&world->wheel, world->now);
				if (span <= 0)
					continue;
				entry_arm(entry, world->now + span * TICK);
				world_advance(entry->deadline_ns - 1);
				assert_true(entry->armed);
				world_advance(entry->deadline_ns);
				assert_false(entry->armed);
			}
}

static void a_deadline_of_a_tick_and_a_nanosecond_waits_for_the_second_tick(void **state)
{
	struct entry *entry = &world->entries[0];

	(void)state;
	world->now = 0;
	weir__wheel_init(&world->wheel, 0);
	entry_arm(entry, TICK + 1);
	world_advance(2 * TICK - 1);
	assert_true(entry->armed);
	world_advance(2 * TICK);
	assert_false(entry->armed);
}

static void a_deadline_that_passed_is_due_at_once_even_a_negative_one(void **state)
{
	(void)state;
	entry_arm(&world->entries[0], world->now);
	entry_arm(&world->entries[1], world->now - 5 * TICK);
	entry_arm(&world->entries[2], INT64_MIN);
	assert_true(weir__wheel_next(&world->wheel) <= world->now);
	world_advance(world->now + TICK);
	assert_int_equal(world->batch, 3);
}

static void the_last_deadline_before_never_can_be_armed_and_cancelled(void **state)
{
	(void)state;
	entry_arm(&world->entries[0], WEIR_NEVER - 1);
	assert_true(weir__wheel_next(&world->wheel) < WEIR_NEVER);
	world_advance(INT64_MAX / 2);
	assert_true(world->entries[0].armed);
	entry_cancel(&world->entries[0]);
	assert_true(weir__wheel_next(&world->wheel) == WEIR_NEVER);
}

static void time_that_goes_backwards_stands_still(void **state)
{
	(void)state;
	world_advance(4 * 64 * 64 * 64 * TICK);
	entry_arm(&world->entries[0], world->now + 10 * TICK);
	world_advance(world->now - 100 * TICK);
	assert_true(world->entries[0].armed);
	entry_arm(&world->entries[1], world->now + 70 * TICK);
	entry_arm(&world->entries[2], world->now + 5 * TICK);
	world_advance(world->now + 5 * TICK);
	assert_false(world->entries[2].armed);
	world_advance(world->now + 5 * TICK);
	assert_false(world->entries[0].armed);
	assert_true(world->entries[1].armed);
}

static struct entry *order[TIMERS];
static unsigned order_count;

static void note_order(struct weir_timer *timer)
{
	order[order_count++] = weir_container_of(timer, struct entry, timer);
}

static void timers_of_one_tick_fire_in_the_order_in_which_they_were_armed(void **state)
{
	int64_t deadline = tick_up(world->now) + 5000 * TICK;
	unsigned i;

	(void)state;
	order_count = 0;
	for (i = 0; i < TIMERS; i++) {
		world->entries[i].timer.fire_ = note_order;
		if (i == TIMERS / 2) /* half of them are armed from closer by */
			weir__wheel_advance(&world->wheel, deadline - 3 * TICK);
		weir__wheel_arm(&world->wheel, &world->entries[i].timer, deadline);
	}
	assert_int_equal(weir__wheel_advance(&world->wheel, deadline), TIMERS);
	for (i = 0; i < TIMERS; i++)
		assert_ptr_equal(order[i], &world->entries[i]);
}

static void a_jump_over_many_deadlines_fires_them_in_order(void **state)
{
	unsigned i;

	(void)state;
	order_count = 0;
	for (i = 0; i < TIMERS; i++) {
		world->entries[i].timer.fire_ = note_order;
		weir__wheel_arm(&world->wheel, &world->entries[i].timer,
				world->now + 1 + random_span(45));
	}
	assert_int_equal(weir__wheel_advance(&world->wheel, world->now + 3600 * 24 * WEIR_S),
			 TIMERS);
	for (i = 1; i < TIMERS; i++)
		assert_true(tick_up(order[i - 1]->timer.deadline_ns) <=
			    tick_up(order[i]->timer.deadline_ns));
}

static void arm_again_in_the_past(struct weir_timer *timer)
{
	order_count++;
	weir__wheel_arm(&world->wheel, timer, world->now - TICK);
}

static void a_callback_that_arms_again_for_the_past_ends_the_batch(void **state)
{
	struct weir_timer *timer = &world->entries[0].timer;
	unsigned i;

	(void)state;
	order_count = 0;
	timer->fire_ = arm_again_in_the_past;
	weir__wheel_arm(&world->wheel, timer, world->now - TICK);
	for (i = 1; i <= 5; i++) {
		assert_int_equal(weir__wheel_advance(&world->wheel, world->now), 1);
		assert_int_equal(order_count, i);
		assert_true(weir__wheel_next(&world->wheel) <= world->now);
	}
}

static void cancel_the_others(struct weir_timer *timer)
{
	unsigned i;

	(void)timer;
	order_count++;
	for (i = 0; i < TIMERS; i++)
		if (world->entries[i].timer.slot_)
			weir__wheel_cancel(&world->wheel, &world->entries[i].timer);
}

static void a_timer_cancelled_by_another_of_its_batch_does_not_fire(void **state)
{
	unsigned i;

	(void)state;
	order_count = 0;
	for (i = 0; i < TIMERS; i++) {
		world->entries[i].timer.fire_ = cancel_the_others;
		weir__wheel_arm(&world->wheel, &world->entries[i].timer, world->now + i % 7);
	}
	assert_int_equal(weir__wheel_advance(&world->wheel, world->now + 9 * TICK), 1);
	assert_int_equal(order_count, 1);
	assert_int_equal(world->wheel.count, 0);
	assert_true(weir__wheel_next(&world->wheel) == WEIR_NEVER);
}

static void free_itself(struct weir_timer *timer)
{
	memset(timer, 0xa5, sizeof(*timer));
	free(timer);
	order_count++;
}

static void a_timer_may_be_freed_by_its_own_callback(void **state)
{
	unsigned i;

	(void)state;
	order_count = 0;
	for (i = 0; i < 10; i++) {
		struct weir_timer *timer = calloc(1, sizeof(*timer));

		assert_non_null(timer);
		timer->fire_ = free_itself;
		weir__wheel_arm(&world->wheel, timer, world->now + i * TICK / 2);
	}
	assert_int_equal(weir__wheel_advance(&world->wheel, world->now + 10 * TICK), 10);
	assert_int_equal(order_count, 10);
}

static void count_fire(struct weir_timer *timer)
{
	(void)timer;
	order_count++;
}

static void one_advance_fires_no_more_than_its_bound_and_the_rest_stays_due(void **state)
{
	enum { COUNT = WEIR__WHEEL_FIRE_MAX * 2 + 3 };
	struct weir_timer *timers = calloc(COUNT, sizeof(*timers));
	unsigned i;

	(void)state;
	assert_non_null(timers);
	order_count = 0;
	for (i = 0; i < COUNT; i++) {
		timers[i].fire_ = count_fire;
		weir__wheel_arm(&world->wheel, &timers[i], world->now + TICK);
	}
	world->now += 2 * TICK;
	assert_int_equal(weir__wheel_advance(&world->wheel, world->now), WEIR__WHEEL_FIRE_MAX);
	assert_true(weir__wheel_next(&world->wheel) <= world->now);
	assert_int_equal(weir__wheel_advance(&world->wheel, world->now), WEIR__WHEEL_FIRE_MAX);
	assert_int_equal(weir__wheel_advance(&world->wheel, world->now), 3);
	assert_int_equal(order_count, COUNT);
	assert_true(weir__wheel_next(&world->wheel) == WEIR_NEVER);
	free(timers);
}

static void moving_an_armed_timer_leaves_one_deadline(void **state)
{
	struct entry *entry = &world->entries[0];

	(void)state;
	entry_arm(entry, world->now + 3 * TICK);
	entry_arm(entry, world->now + 30 * WEIR_S);
	entry_arm(entry, world->now + 30 * WEIR_S + TICK);
	assert_int_equal(world->wheel.count, 1);
	world_advance(world->now + 30 * WEIR_S);
	assert_int_equal(entry->fired, 0);
	world_advance(world->now + 3 * TICK);
	assert_int_equal(entry->fired, 1);
}

#define wheel_test(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		wheel_test(a_million_random_steps_agree_with_the_model),
		wheel_test(next_is_the_earliest_deadline_rounded_up_when_nothing_was_cancelled),
		wheel_test(whoever_wakes_at_next_is_never_early_and_less_than_a_tick_late),
		wheel_test(a_timer_fires_on_its_tick_at_every_boundary_of_every_level),
		wheel_test(a_deadline_of_a_tick_and_a_nanosecond_waits_for_the_second_tick),
		wheel_test(a_deadline_that_passed_is_due_at_once_even_a_negative_one),
		wheel_test(the_last_deadline_before_never_can_be_armed_and_cancelled),
		wheel_test(time_that_goes_backwards_stands_still),
		wheel_test(timers_of_one_tick_fire_in_the_order_in_which_they_were_armed),
		wheel_test(a_jump_over_many_deadlines_fires_them_in_order),
		wheel_test(a_callback_that_arms_again_for_the_past_ends_the_batch),
		wheel_test(a_timer_cancelled_by_another_of_its_batch_does_not_fire),
		wheel_test(a_timer_may_be_freed_by_its_own_callback),
		wheel_test(one_advance_fires_no_more_than_its_bound_and_the_rest_stays_due),
		wheel_test(moving_an_armed_timer_leaves_one_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
