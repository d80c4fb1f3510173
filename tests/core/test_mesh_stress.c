/* SPDX-License-Identifier: MIT */
/*
 * test_mesh_stress.c - cores and outside threads that hammer each other with lanes so narrow
 * that everybody waits for room and sleeps all the time. A lost wake leaves everybody
 * asleep: then the test does not end, and the alarm ends it. A lost, doubled or
 * overtaken message breaks a sequence.
 *
 * The public bugs: glommio#261, Photon#261 and #520, dragonfly#2641.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "tests/support/thread_runtime.h"

#define CORES 3
#define OUTSIDERS 2
#define ALARM_S 50

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 3000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ROUNDS 3000
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 20000
#endif

static struct thread_runtime rt;

/* What core to has seen of core from: written by to only. */
static struct {
	uint64_t next;
	uint64_t broken;
} seen[CORES][CORES + OUTSIDERS] WEIR__CACHE_ALIGNED;

static void check_next(unsigned from, uint64_t number)
{
	unsigned to = (unsigned)weir_core();

	if (seen[to][from].next++ != number)
		seen[to][from].broken++;
}

static void receive(void *arg)
{
	uintptr_t message = (uintptr_t)arg;

	check_next(message % CORES, message / CORES);
}

static int set_up(void **state)
{
	memset(seen, 0, sizeof(seen));
	alarm(ALARM_S);
	return 0;
}

static int tear_down(void **state)
{
	alarm(0);
	return 0;
}

/* Posts to one core: sometimes a burst, sometimes one and a pause, so that cores sleep. */
static int sender(void *arg)
{
	unsigned to = (unsigned)(uintptr_t)arg;
	unsigned from = (unsigned)weir_core();
	uint64_t i;
	int r = 0;

	for (i = 0; i < ROUNDS && !r; i++) {
		r = weir_post(to, receive, (void *)(uintptr_t)(i * CORES + from), WEIR_NEVER);
		if (weir_random() % 64 == 0)
			weir_yield();
		if (weir_random() % 512 == 0)
			weir_sleep(20 * WEIR_US);
	}
	return r;
}

static int sending_service(void *arg)
{
	struct weir_coro *coros[CORES];
	unsigned i;
	int r, res;

	for (i = 0; i < CORES; i++) {
		r = weir_coro_spawn(NULL, sender, (void *)(uintptr_t)i, &coros[i]);
		if (r < 0)
			return r;
	}
	for (i = 0; i < CORES; i++)
		if (weir_coro_join(coros[i], WEIR_NEVER, &res) || res)
			return -EPROTO;
	return 0;
}

static void run(int (*service)(void *arg), unsigned depth, int64_t spin_ns)
{
	thread_runtime_init(&rt, CORES, service, NULL);
	rt.plan.mesh_depth = depth;
	rt.plan.worker.spin_ns_max = spin_ns;
	assert_int_equal(thread_runtime_run(&rt), 0);
}

static void assert_all_seen(void)
{
	unsigned to, from;

	for (to = 0; to < CORES; to++)
		for (from = 0; from < CORES; from++) {
			assert_int_equal(seen[to][from].next, ROUNDS);
			assert_int_equal(seen[to][from].broken, 0);
		}
}

static void narrow_lanes_lose_nothing_and_nobody_sleeps_for_ever(void **state)
{
	run(sending_service, 2, -1);
	assert_all_seen();
}

static void wide_lanes_lose_nothing_and_nobody_sleeps_for_ever(void **state)
{
	run(sending_service, 1024, -1);
	assert_all_seen();
}

static void cores_that_spin_before_they_sleep_lose_nothing(void **state)
{
	run(sending_service, 16, 20 * WEIR_US);
	assert_all_seen();
}

/* One message at a time round the ring of cores: every hop finds the next core asleep. */
static void pass_on(void *arg)
{
	uintptr_t left = (uintptr_t)arg;

	if (left)
		weir_post_try((unsigned)(weir_core() + 1) % CORES, pass_on, (void *)(left - 1));
	else
		__atomic_add_fetch(&seen[0][0].next, 1, __ATOMIC_SEQ_CST);
}

static int passing_service(void *arg)
{
	return weir_core() ? 0 : weir_post_try(1, pass_on, (void *)(uintptr_t)ROUNDS);
}

static void a_single_message_wakes_core_after_core(void **state)
{
	run(passing_service, 4, -1);
	assert_int_equal(seen[0][0].next, 1);
}

/* --- threads that are no workers --- */

struct letter {
	struct weir_post post;
	unsigned from;
	uint64_t number;
	bool delivered;		/* atomic: the memory is the sender's again */
};

static void deliver(struct weir_post *post)
{
	struct letter *letter = weir_container_of(post, struct letter, post);

	check_next(letter->from, letter->number);
	__atomic_store_n(&letter->delivered, true, __ATOMIC_RELEASE);
}

#define LETTERS 16

struct outsider {
	struct weir_runtime *runtime;
	unsigned from;
	struct letter letters[CORES][LETTERS];
};

static struct outsider outsiders[OUTSIDERS];
static pthread_t outside_threads[OUTSIDERS];
static unsigned outside_left;	/* atomic */

static void release(struct weir_post *post)
{
	weir__worker_release(weir__self);
}

static void *write_letters(void *arg)
{
	static struct weir_post last;
	struct outsider *self = arg;
	uint64_t i;
	unsigned to;

	for (i = 0; i < ROUNDS; i++)
		for (to = 0; to < CORES; to++) {
			struct letter *letter = &self->letters[to][i % LETTERS];

			while (!__atomic_load_n(&letter->delivered, __ATOMIC_ACQUIRE))
				sched_yield();
			letter->delivered = false;
			letter->from = self->from;
			letter->number = i;
			if (weir_post_any(self->runtime, to, &letter->post, deliver) < 0)
				abort();
		}
	if (!__atomic_sub_fetch(&outside_left, 1, __ATOMIC_SEQ_CST))
		weir_post_any(self->runtime, 0, &last, release);
	return NULL;
}

static int lettered_service(void *arg)
{
	unsigned i, to, k;

	if (weir_core())
		return 0;
	weir__worker_hold(weir__self);
	outside_left = OUTSIDERS;
	for (i = 0; i < OUTSIDERS; i++) {
		outsiders[i].runtime = weir_runtime_self();
		outsiders[i].from = CORES + i;
		for (to = 0; to < CORES; to++)
			for (k = 0; k < LETTERS; k++)
				outsiders[i].letters[to][k].delivered = true;
	}
	for (i = 0; i < OUTSIDERS; i++)
		if (pthread_create(&outside_threads[i], NULL, write_letters, &outsiders[i]))
			return -EAGAIN;
	return 0;
}

static void posts_of_other_threads_arrive_once_and_in_order(void **state)
{
	unsigned i, to;

	run(lettered_service, 4, -1);
	for (i = 0; i < OUTSIDERS; i++) {
		pthread_join(outside_threads[i], NULL);
		for (to = 0; to < CORES; to++) {
			assert_int_equal(seen[to][CORES + i].next, ROUNDS);
			assert_int_equal(seen[to][CORES + i].broken, 0);
		}
	}
}

/* --- many short lives --- */

static int brief_service(void *arg)
{
	unsigned to = (unsigned)weir_random() % CORES;

	return weir_post_try(to, pass_on, (void *)(uintptr_t)(weir_random() % 8));
}

static void runtimes_end_exactly_when_the_last_message_was_handled(void **state)
{
	unsigned i;

	for (i = 0; i < ROUNDS / 100; i++) {
		memset(seen, 0, sizeof(seen));
		run(brief_service, 4, i % 2 ? -1 : 10 * WEIR_US);
		/* Each core's message has made all its hops. */
		assert_int_equal(__atomic_load_n(&seen[0][0].next, __ATOMIC_SEQ_CST), CORES);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(narrow_lanes_lose_nothing_and_nobody_sleeps_for_ever),
		TEST(wide_lanes_lose_nothing_and_nobody_sleeps_for_ever),
		TEST(cores_that_spin_before_they_sleep_lose_nothing),
		TEST(a_single_message_wakes_core_after_core),
		TEST(posts_of_other_threads_arrive_once_and_in_order),
		TEST(runtimes_end_exactly_when_the_last_message_was_handled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
