/* SPDX-License-Identifier: MIT */
/*
 * test_mesh.c - lanes, inbox and sleep words, step by step on one thread: two cores whose
 * workers have no loop, and drivers that count their wakes.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/worker.h"
#include "tests/support/fake_driver.h"

#define DEPTH 8

static struct weir_mesh *mesh;
static struct fake_driver drivers[2];
static struct weir_worker workers[2];
static struct weir_port *const a = &workers[0].port;
static struct weir_port *const b = &workers[1].port;

static uintptr_t got[4096];
static unsigned got_count;

static void take(void *arg)
{
	got[got_count++] = (uintptr_t)arg;
}

static int begin(uint32_t depth)
{
	int i;

	got_count = 0;
	if (weir__mesh_create(2, depth, &mesh) < 0)
		return -1;
	for (i = 0; i < 2; i++) {
		fake_driver_init(&drivers[i]);
		workers[i].driver = &drivers[i].driver;
		if (weir__port_init(&workers[i].port, mesh, (unsigned)i, &workers[i]) < 0)
			return -1;
	}
	return 0;
}

static int set_up(void **state)
{
	return begin(DEPTH);
}

static int tear_down(void **state)
{
	int i;

	for (i = 0; i < 2; i++) {
		weir__port_fini(&workers[i].port);
		fake_driver_fini(&drivers[i]);
	}
	weir__mesh_destroy(mesh);
	return 0;
}

static bool post(uintptr_t number)
{
	return weir__port_try(a, 1, take, (void *)number);
}

static void assert_got(unsigned count)
{
	unsigned i;

	assert_int_equal(got_count, count);
	for (i = 0; i < count; i++)
		assert_int_equal(got[i], i);
}

static void messages_arrive_in_order_and_once(void **state)
{
	uintptr_t i;

	for (i = 0; i < 5; i++)
		assert_true(post(i));
	weir__port_publish(a);
	assert_int_equal(weir__port_drain(b), 5);
	assert_got(5);
	assert_int_equal(weir__port_drain(b), 0);
	assert_got(5);
}

static void a_message_is_not_seen_before_it_is_published(void **state)
{
	assert_true(post(0));
	assert_false(weir__port_is_flushed(a));
	assert_false(weir__port_is_ready(b));
	assert_int_equal(weir__port_drain(b), 0);
	weir__port_publish(a);
	assert_true(weir__port_is_flushed(a));
	assert_true(weir__port_is_ready(b));
	assert_int_equal(weir__port_drain(b), 1);
}

static void a_full_lane_refuses_and_takes_again_after_a_drain(void **state)
{
	uintptr_t i;

	for (i = 0; i < DEPTH; i++)
		assert_true(post(i));
	assert_false(post(99));
	weir__port_publish(a);
	assert_false(post(99));
	weir__port_drain(b);
	assert_true(post(DEPTH));
	weir__port_publish(a);
	weir__port_drain(b);
	assert_got(DEPTH + 1);
}

static void lanes_wrap_around_many_times(void **state)
{
	uintptr_t number = 0;
	unsigned round;

	for (round = 0; round < 500; round++) {
		unsigned i;

		for (i = 0; i < round % DEPTH + 1 && number < 2000; i++)
			assert_true(post(number++));
		weir__port_publish(a);
		weir__port_drain(b);
	}
	assert_got((unsigned)number);
}

static unsigned sent_count;

static void count_sent(struct weir_parcel *parcel)
{
	sent_count++;
}

static void parcels_wait_in_order_and_nobody_overtakes_them(void **state)
{
	struct weir_parcel parcels[3];
	uintptr_t i;

	sent_count = 0;
	for (i = 0; i < DEPTH; i++)
		post(i);
	for (i = 0; i < 3; i++) {
		parcels[i] = (struct weir_parcel){ .fn = take, .arg = (void *)(DEPTH + i),
						   .sent = count_sent };
		weir__port_send(a, 1, &parcels[i]);
		assert_true(weir__parcel_is_waiting(&parcels[i]));
	}
	weir__port_publish(a);
	weir__port_drain(b);
	/* There is room, but the parcels were there first. */
	assert_false(post(99));
	assert_true(weir__port_is_ready(a));
	weir__port_publish(a);
	assert_int_equal(sent_count, 3);
	assert_true(post(DEPTH + 3));
	weir__port_publish(a);
	weir__port_drain(b);
	assert_got(DEPTH + 4);
}

static void a_parcel_that_is_taken_back_is_not_sent(void **state)
{
	struct weir_parcel parcel = { .fn = take, .arg = (void *)99 };
	uintptr_t i;

	for (i = 0; i < DEPTH; i++)
		post(i);
	weir__port_send(a, 1, &parcel);
	weir__port_recall(a, 1, &parcel);
	assert_false(weir__parcel_is_waiting(&parcel));
	weir__port_publish(a);
	weir__port_drain(b);
	weir__port_publish(a);
	weir__port_drain(b);
	assert_got(DEPTH);
}

static void one_turn_takes_a_bounded_number_of_each_peer(void **state)
{
	uintptr_t i;

	tear_down(NULL);
	assert_int_equal(begin(1024), 0);
	for (i = 0; i < 600; i++)
		assert_true(post(i));
	weir__port_publish(a);
	assert_int_equal(weir__port_drain(b), WEIR__DRAIN_MAX);
	assert_true(weir__port_is_ready(b));
	assert_int_equal(weir__port_drain(b), WEIR__DRAIN_MAX);
	assert_int_equal(weir__port_drain(b), 600 - 2 * WEIR__DRAIN_MAX);
	assert_false(weir__port_is_ready(b));
	assert_got(600);
}

static void a_core_that_is_awake_is_not_woken(void **state)
{
	post(0);
	weir__port_publish(a);
	assert_int_equal(drivers[1].wakes, 0);
	assert_int_equal(a->wakes_skipped, 1);
}

static void a_core_that_sleeps_is_woken_once(void **state)
{
	struct weir_post outside = { 0 };

	assert_true(weir__port_lie_down(b));
	post(0);
	post(1);
	weir__port_publish(a);
	assert_int_equal(drivers[1].wakes, 1);
	assert_int_equal(a->wakes_sent, 1);
	post(2);
	weir__port_publish(a);
	assert_int_equal(weir__mesh_post(mesh, 1, &outside, NULL, NULL), 0);
	assert_int_equal(drivers[1].wakes, 1);
	weir__port_rise(b);
}

static void a_core_does_not_lie_down_on_a_message(void **state)
{
	post(0);
	weir__port_publish(a);
	assert_false(weir__port_lie_down(b));
	weir__port_rise(b);
	weir__port_drain(b);
	assert_true(weir__port_lie_down(b));
	weir__port_rise(b);
}

static void a_producer_that_sleeps_on_a_full_lane_is_told_of_room(void **state)
{
	struct weir_parcel parcel = { .fn = take, .arg = (void *)DEPTH };
	uintptr_t i;

	for (i = 0; i < DEPTH; i++)
		post(i);
	weir__port_send(a, 1, &parcel);
	weir__port_publish(a);
	assert_true(weir__port_lie_down(a));
	weir__port_drain(b);
	assert_int_equal(drivers[0].wakes, 1);
	weir__port_rise(a);
	weir__port_publish(a);
	weir__port_drain(b);
	assert_got(DEPTH + 1);
	/* Nobody waits any more: nobody is told. */
	post(99);
	weir__port_publish(a);
	assert_true(weir__port_lie_down(a));
	assert_int_equal(weir__port_drain(b), 1);
	assert_int_equal(drivers[0].wakes, 1);
	weir__port_rise(a);
}

static void a_kick_is_a_reason_to_stay_awake_once(void **state)
{
	weir__mesh_kick(mesh, 1, NULL);
	assert_int_equal(drivers[1].wakes, 0);
	assert_false(weir__port_lie_down(b));
	weir__port_rise(b);
	weir__port_drain(b);
	assert_true(weir__port_lie_down(b));
	weir__mesh_kick(mesh, 1, NULL);
	assert_int_equal(drivers[1].wakes, 1);
	weir__port_rise(b);
}

static struct weir_post outside[16];

static void take_outside(struct weir_post *message)
{
	got[got_count++] = (uintptr_t)(message - outside);
}

static void posts_of_other_threads_run_in_the_order_of_posting(void **state)
{
	unsigned i;

	for (i = 0; i < 16; i++) {
		assert_int_equal(weir__mesh_post(mesh, 1, &outside[i], take_outside, NULL), 0);
		if (i % 5 == 4)
			weir__port_drain(b);
	}
	assert_true(weir__port_is_ready(b));
	weir__port_drain(b);
	assert_got(16);
	assert_false(weir__port_is_ready(b));
}

static void a_closed_inbox_runs_what_it_has_and_refuses_the_rest(void **state)
{
	assert_int_equal(weir__mesh_post(mesh, 1, &outside[0], take_outside, NULL), 0);
	weir__port_close_inbox(b);
	assert_got(1);
	assert_int_equal(weir__mesh_post(mesh, 1, &outside[1], take_outside, NULL), -ESHUTDOWN);
	assert_int_equal(weir__mesh_post(mesh, 2, &outside[1], take_outside, NULL), -EINVAL);
	assert_false(weir__port_is_ready(b));
	weir__port_drain(b);
	weir__port_close_inbox(b);
	assert_got(1);
}

static bool poster_left;		/* atomic */

/* A thread between its push and its wake. */
static void *leave_late(void *arg)
{
	int i;

	for (i = 0; i < 100; i++)
		sched_yield();
	__atomic_store_n(&poster_left, true, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&mesh->berths[1].posters, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void closing_waits_for_whoever_is_about_to_wake(void **state)
{
	pthread_t thread;

	poster_left = false;
	mesh->berths[1].posters = 1;
	assert_int_equal(pthread_create(&thread, NULL, leave_late, NULL), 0);
	weir__port_close_inbox(b);
	assert_true(__atomic_load_n(&poster_left, __ATOMIC_SEQ_CST));
	pthread_join(thread, NULL);
}

static void a_mesh_of_nonsense_is_refused(void **state)
{
	struct weir_mesh *none;

	assert_int_equal(weir__mesh_create(0, 8, &none), -EINVAL);
	assert_int_equal(weir__mesh_create(2, 0, &none), -EINVAL);
	assert_int_equal(weir__mesh_create(2, 12, &none), -EINVAL);
	assert_int_equal(weir__mesh_create(WEIR__CORES_MAX + 1, 8, &none), -EINVAL);
	weir__mesh_destroy(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_arrive_in_order_and_once),
		TEST(a_message_is_not_seen_before_it_is_published),
		TEST(a_full_lane_refuses_and_takes_again_after_a_drain),
		TEST(lanes_wrap_around_many_times),
		TEST(parcels_wait_in_order_and_nobody_overtakes_them),
		TEST(a_parcel_that_is_taken_back_is_not_sent),
		TEST(one_turn_takes_a_bounded_number_of_each_peer),
		TEST(a_core_that_is_awake_is_not_woken),
		TEST(a_core_that_sleeps_is_woken_once),
		TEST(a_core_does_not_lie_down_on_a_message),
		TEST(a_producer_that_sleeps_on_a_full_lane_is_told_of_room),
		TEST(a_kick_is_a_reason_to_stay_awake_once),
		TEST(posts_of_other_threads_run_in_the_order_of_posting),
		TEST(a_closed_inbox_runs_what_it_has_and_refuses_the_rest),
		TEST(closing_waits_for_whoever_is_about_to_wake),
		TEST(a_mesh_of_nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
