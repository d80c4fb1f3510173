/* SPDX-License-Identifier: MIT */
/*
 * test_chan_across.c - channels between cores and threads: nothing is lost, doubled or reordered of
 * one sender, and the end is agreed upon. Real threads; cmocka's assertions belong to the main one.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/runtime.h"
#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_chan.h"
#include "futures/weir_sync.h"
#include "tests/support/thread_runtime.h"

#define EACH 20000

#define must(x)                                                                                   \
	do {                                                                                      \
		if (!(x)) {                                                                       \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                   \
			abort();                                                                  \
		}                                                                                 \
	} while (0)

static struct weir_chan *chan;
static unsigned drops;

static void count_drop(void *item, void *arg)
{
	(void)item;
	(void)arg;
	__atomic_add_fetch(&drops, 1, __ATOMIC_RELAXED);
}

static struct weir_chan *make(unsigned capacity)
{
	const struct weir_chan_opts opts = { .item_size = sizeof(uint64_t), .capacity = capacity,
					     .across = true, .drop = count_drop };
	struct weir_chan *made;

	drops = 0;
	must(weir_chan_create(&opts, &made) == 0);
	return made;
}

static void run(unsigned cores, int (*service)(void *), void *arg)
{
	static struct thread_runtime rt;

	thread_runtime_init(&rt, cores, service, arg);
	assert_int_equal(thread_runtime_run(&rt), 0);
}

/* What each core does, once core 0 has made chan of this capacity. */
struct play {
	unsigned capacity;
	int (*home)(void *arg);		/* a coroutine of core 0 */
	int (*away)(void *arg);		/* a coroutine of each core, with its number + 1 as arg */
	unsigned cores;
};

static struct play play;
static unsigned ready;

static int on_core(void *arg)
{
	struct weir_coro *coro;
	int res;

	if (!play.away)
		return 0;
	must(weir_coro_spawn(NULL, play.away, arg, &coro) == 0);
	must(weir_coro_join(coro, WEIR_NEVER, &res) == 0);
	return res;
}

struct there {
	unsigned core;
	struct weir_coro *coro;
};

static int call_there(void *arg)
{
	struct there *there = arg;
	int res = 0;

	must(weir_call(there->core, on_core, (void *)(uintptr_t)(there->core + 1), WEIR_NEVER,
		       &res) == 0);
	return res;
}

static int service(void *arg)
{
	struct there theres[THREAD_RUNTIME_CORES_MAX];
	int res = 0;

	(void)arg;
	if (weir_core())
		return 0;
	chan = make(play.capacity);
	for (unsigned i = 0; i < play.cores; i++) {
		theres[i].core = i;
		must(weir_coro_spawn(NULL, call_there, &theres[i], &theres[i].coro) == 0);
	}
	res = play.home(NULL);
	for (unsigned i = 0; i < play.cores; i++)
		must(weir_coro_join(theres[i].coro, WEIR_NEVER, NULL) == 0);
	must(weir_chan_destroy(chan) == 0);
	return res;
}

static void play_on(unsigned cores, struct play p)
{
	play = p;
	play.cores = cores;
	ready = 0;
	run(cores, service, NULL);
}

/* --- everything arrives, in order --- */

static unsigned left;

static int sends(void *arg)
{
	uint64_t from = (uintptr_t)arg << 32;

	for (uint64_t i = 0; i < EACH; i++) {
		uint64_t value = from | i;

		must(weir_chan_send(chan, &value, WEIR_NEVER) == 0);
	}
	if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0)
		weir_chan_close(chan);
	return 0;
}

static int sends_batches(void *arg)
{
	uint64_t values[37], from = (uintptr_t)arg << 32, i = 0;

	while (i < EACH) {
		unsigned n = 0;

		for (; n < 37 && i + n < EACH; n++)
			values[n] = from | (i + n);
		must(weir_chan_send_n(chan, values, n, WEIR_NEVER) == n);
		i += n;
	}
	if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0)
		weir_chan_close(chan);
	return 0;
}

static uint64_t next_of[THREAD_RUNTIME_CORES_MAX + 2];

static void note(uint64_t value)
{
	unsigned from = (unsigned)(value >> 32);

	must(from < THREAD_RUNTIME_CORES_MAX + 2);
	must((uint32_t)value == next_of[from]);
	next_of[from]++;
}

static int receives_all(void *arg)
{
	uint64_t value;
	int r;

	(void)arg;
	while ((r = weir_chan_receive(chan, &value, WEIR_NEVER)) == 0)
		note(value);
	must(r == -EPIPE);
	return 0;
}

static int receives_batches(void *arg)
{
	uint64_t values[50];
	ssize_t n;

	(void)arg;
	while ((n = weir_chan_receive_n(chan, values, 50, WEIR_NEVER)) > 0)
		for (ssize_t i = 0; i < n; i++)
			note(values[i]);
	must(n == -EPIPE);
	return 0;
}

static void everything_arrives(unsigned cores, struct play p)
{
	memset(next_of, 0, sizeof(next_of));
	left = cores;
	play_on(cores, p);
	for (unsigned i = 0; i < cores; i++)
		assert_int_equal(next_of[i + 1], EACH);
	assert_int_equal(drops, 0);
}

static void what_all_cores_send_arrives_in_each_ones_order(void **state)
{
	static const unsigned capacities[] = { 1, 2, 64, 1000 };

	(void)state;
	for (unsigned c = 0; c < 4; c++)
		everything_arrives(3, (struct play){ .capacity = capacities[c],
						     .home = receives_all, .away = sends });
}

static void batches_arrive_whole_and_in_order(void **state)
{
	static const unsigned capacities[] = { 1, 16, 1024 };

	(void)state;
	for (unsigned c = 0; c < 3; c++)
		everything_arrives(3, (struct play){ .capacity = capacities[c],
						     .home = receives_batches,
						     .away = sends_batches });
}

/* --- other threads --- */

static void *thread_sends(void *arg)
{
	return (void *)(intptr_t)sends(arg);
}

static int receives_of_a_thread(void *arg)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, thread_sends,
			    (void *)(uintptr_t)(THREAD_RUNTIME_CORES_MAX + 1)) == 0);
	receives_batches(arg);
	must(pthread_join(thread, NULL) == 0);
	return 0;
}

static void a_thread_that_is_no_worker_sends_too_and_waits_for_room(void **state)
{
	(void)state;
	memset(next_of, 0, sizeof(next_of));
	left = 3;
	play_on(2, (struct play){ .capacity = 4, .home = receives_of_a_thread, .away = sends });
	assert_int_equal(next_of[1], EACH);
	assert_int_equal(next_of[2], EACH);
	assert_int_equal(next_of[THREAD_RUNTIME_CORES_MAX + 1], EACH);
}

static int thread_res[2];

static void *thread_is_refused(void *arg)
{
	uint64_t value = 1;

	thread_res[0] = weir_chan_send(chan, &value, weir_in(5 * WEIR_MS));
	/* Until home closes. */
	thread_res[1] = weir_chan_send(chan, &value, WEIR_NEVER);
	__atomic_store_n(&ready, 2, __ATOMIC_SEQ_CST);
	(void)arg;
	return NULL;
}

static void *thread_fills(void *arg)
{
	uint64_t value = 1;

	for (int i = 0; i < 2; i++)
		must(weir_chan_send(chan, &value, 0) == 0);
	must(weir_chan_send(chan, &value, 0) == -ETIMEDOUT);
	__atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
	return thread_is_refused(arg);
}

static int closes_while_a_thread_waits(void *arg)
{
	uint64_t value = 0;
	pthread_t thread;

	(void)arg;
	must(pthread_create(&thread, NULL, thread_fills, NULL) == 0);
	while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST))
		weir_sleep(WEIR_MS);
	weir_sleep(10 * WEIR_MS);
	must(weir_chan_close(chan) == 0);
	must(pthread_join(thread, NULL) == 0);
	for (int i = 0; i < 2; i++)
		must(weir_chan_receive(chan, &value, WEIR_NEVER) == 0);
	must(weir_chan_receive(chan, &value, WEIR_NEVER) == -EPIPE);
	return 0;
}

static void a_thread_that_waits_ends_by_its_deadline_or_the_close(void **state)
{
	(void)state;
	play_on(1, (struct play){ .capacity = 2, .home = closes_while_a_thread_waits });
	/* The first may have been overtaken by the close on a slow machine. */
	assert_true(thread_res[0] == -ETIMEDOUT || thread_res[0] == -EPIPE);
	assert_int_equal(thread_res[1], -EPIPE);
}

/* --- the end --- */

static unsigned sent_count;

static int sends_until_the_end(void *arg)
{
	uint64_t value = (uintptr_t)arg;
	int r;

	while ((r = weir_chan_send(chan, &value, WEIR_NEVER)) == 0)
		__atomic_add_fetch(&sent_count, 1, __ATOMIC_RELAXED);
	must(r == -EPIPE);
	must(weir_chan_send(chan, &value, WEIR_NEVER) == -EPIPE);
	return 0;
}

static unsigned received_count;

static int closes_in_the_middle(void *arg)
{
	uint64_t values[8];
	ssize_t n;

	(void)arg;
	while ((n = weir_chan_receive_n(chan, values, 8, WEIR_NEVER)) > 0) {
		received_count += (unsigned)n;
		if (received_count > 5000)
			weir_chan_close(chan);
	}
	must(n == -EPIPE);
	return 0;
}

static void what_was_taken_before_a_close_is_received_every_time(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		sent_count = received_count = 0;
		play_on(3, (struct play){ .capacity = 1u << (round % 5),
					  .home = closes_in_the_middle,
					  .away = sends_until_the_end });
		assert_int_equal(sent_count, received_count);
		assert_int_equal(drops, 0);
	}
}

static int hangs_up(void *arg)
{
	uint64_t value;

	(void)arg;
	for (int i = 0; i < 100; i++)
		must(weir_chan_receive(chan, &value, WEIR_NEVER) == 0);
	must(weir_chan_hang_up(chan) == 0);
	must(weir_chan_hang_up(chan) == 0);
	must(weir_chan_receive(chan, &value, WEIR_NEVER) == -EPIPE);
	return 0;
}

static void who_hangs_up_ends_all_senders_and_what_is_inside_is_dropped(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		sent_count = 0;
		play_on(3, (struct play){ .capacity = 8, .home = hangs_up,
					  .away = sends_until_the_end });
		assert_int_equal(sent_count, 100 + drops);
	}
}

/* --- waiting, leaving, selecting --- */

static int waits_in_vain(void *arg)
{
	uint64_t value = 7;

	(void)arg;
	must(weir_chan_receive(chan, &value, weir_in(2 * WEIR_MS)) == -ETIMEDOUT);
	must(weir_chan_receive(chan, &value, 0) == -ETIMEDOUT);
	must(value == 7);
	must(weir_chan_send(chan, &value, 0) == 0);
	must(weir_chan_send(chan, &value, weir_in(2 * WEIR_MS)) == -ETIMEDOUT);
	must(weir_chan_receive(chan, &value, 0) == 0);
	must(weir_chan_send(chan, &value, 0) == 0);
	return 0;
}

static void who_waits_too_long_leaves_with_nothing(void **state)
{
	(void)state;
	play_on(1, (struct play){ .capacity = 1, .home = waits_in_vain });
	assert_int_equal(drops, 1);
}

static struct weir_chan *back;

static int answers(void *arg)
{
	struct weir_case cases[2];
	uint64_t value = 0;

	(void)arg;
	for (int i = 0; i < 1000; i++) {
		memset(cases, 0, sizeof(cases));
		cases[0] =
			(struct weir_case){ .kind = WEIR_CASE_SEND, .chan = chan, .item = &value };
		cases[1] = (struct weir_case){ .kind = WEIR_CASE_TIME,
					       .at_ns = weir_in(10 * WEIR_S) };
		must(weir_select(cases, 2, WEIR_SELECT_FAIR, WEIR_NEVER) == 0);
		value++;
	}
	return 0;
}

static int selects(void *arg)
{
	const struct weir_chan_opts opts = { .item_size = 8, .capacity = 1 };
	uint64_t value = 0, other = 0;
	struct weir_case cases[2];

	(void)arg;
	must(weir_chan_create(&opts, &back) == 0);
	for (uint64_t i = 0; i < 1000; i++) {
		memset(cases, 0, sizeof(cases));
		cases[0] = (struct weir_case){ .kind = WEIR_CASE_RECEIVE, .chan = back,
					       .item = &other };
		cases[1] = (struct weir_case){ .kind = WEIR_CASE_RECEIVE, .chan = chan,
					       .item = &value };
		must(weir_select(cases, 2, WEIR_SELECT_FAIR, WEIR_NEVER) == 1);
		must(value == i);
	}
	must(weir_chan_destroy(back) == 0);
	return 0;
}

static int answers_from_core_1(void *arg)
{
	return (uintptr_t)arg == 2 ? answers(arg) : 0;
}

static void both_sides_select(void **state)
{
	(void)state;
	play_on(2, (struct play){ .capacity = 2, .home = selects, .away = answers_from_core_1 });
}

static int calls_at_home_only(void *arg)
{
	struct weir_chan_room room;
	struct weir_chan_info levels;
	uint64_t value;

	if ((uintptr_t)arg != 2)
		return 0;
	must(weir_chan_receive(chan, &value, 0) == -EPROTO);
	must(weir_chan_receive_n(chan, &value, 1, 0) == -EPROTO);
	must(weir_chan_hang_up(chan) == -EPROTO);
	must(weir_chan_destroy(chan) == -EPROTO);
	must(weir_chan_reserve(chan, 1, 0, &room) == -EPROTO);
	must(weir_chan_info(chan, &levels) == -EPROTO);
	return 0;
}

static int wrong_calls(void *arg)
{
	const struct weir_chan_opts wrong[] = {
		{ .item_size = 1, .across = true },
		{ .item_size = 1, .across = true, .capacity = (1u << 24) + 1 },
		{ .item_size = 1, .across = true, .capacity = 1, .lanes = 2 },
		{ .item_size = 1, .across = true, .capacity = 1, .kind = WEIR_WATCH },
	};
	struct weir_chan_info levels;
	struct weir_chan_room room;
	struct weir_chan *made;
	uint64_t value = 1;

	(void)arg;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		must(weir_chan_create(&wrong[i], &made) == -EINVAL);
	must(weir_chan_reserve(chan, 1, 0, &room) == -EINVAL);
	must(weir_chan_send_lane(chan, 1, &value, 0) == -EINVAL);
	must(weir_chan_send(chan, &value, 0) == 0);
	must(weir_chan_info(chan, &levels) == 0);
	must(levels.capacity == 8 && levels.count == 1 && !levels.is_closed);
	return 0;
}

static void wrong_calls_have_a_defined_answer(void **state)
{
	(void)state;
	play_on(2, (struct play){ .capacity = 5, .home = wrong_calls, .away = calls_at_home_only });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_all_cores_send_arrives_in_each_ones_order),
		cmocka_unit_test(batches_arrive_whole_and_in_order),
		cmocka_unit_test(a_thread_that_is_no_worker_sends_too_and_waits_for_room),
		cmocka_unit_test(a_thread_that_waits_ends_by_its_deadline_or_the_close),
		cmocka_unit_test(what_was_taken_before_a_close_is_received_every_time),
		cmocka_unit_test(who_hangs_up_ends_all_senders_and_what_is_inside_is_dropped),
		cmocka_unit_test(who_waits_too_long_leaves_with_nothing),
		cmocka_unit_test(both_sides_select),
		cmocka_unit_test(wrong_calls_have_a_defined_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
