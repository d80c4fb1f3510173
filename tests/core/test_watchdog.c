/* SPDX-License-Identifier: MIT */
/*
 * test_watchdog.c - tasks that hold their core are named, with where they are; an idle
 * runtime's watchdog sleeps.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "core/watchdog.h"
#include "tests/support/thread_runtime.h"

/* Longer than a loaded machine keeps a thread waiting for its CPU. */
#define STALL_NS (100 * WEIR_MS)

/* ThreadSanitizer holds signals back until the thread calls the C library. */
#if defined(__SANITIZE_THREAD__)
#define SIGNALS_ARE_LATE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIGNALS_ARE_LATE 1
#endif
#endif
#ifndef SIGNALS_ARE_LATE
#define SIGNALS_ARE_LATE 0
#endif

static struct thread_runtime rt;
static int fds[2] = { -1, -1 };		/* the pipe that a stalled task reads from */
static struct {
	unsigned count;		/* atomic */
	unsigned core;
	char name[32];
	int64_t held_ns;
	int frame_count;
	bool innermost_in_burn;
} seen;

static int64_t begun_ns;		/* when the runtime was started */
static volatile bool enough;	/* a report came: the stalled task may end */

/* The function that stalls is alone in a section, whose bounds the linker gives. */
extern const char __start_text_burn[], __stop_text_burn[];

static void on_stall(const struct weir_stall *stall, void *arg)
{
	const char *innermost = stall->frame_count ? stall->frames[0] : NULL;

	/* It was 8 hours, since the machine was started, when the first look came early. */
	if (stall->held_ns > weir_clock() - begun_ns)
		abort();
	seen.core = stall->core;
	seen.held_ns = stall->held_ns;
	seen.frame_count = stall->frame_count;
	strncpy(seen.name, stall->name, sizeof(seen.name) - 1);
	seen.innermost_in_burn = innermost >= __start_text_burn && innermost < __stop_text_burn;
	__atomic_add_fetch(&seen.count, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&enough, true, __ATOMIC_SEQ_CST);
	if (fds[1] >= 0 && write(fds[1], "", 1) < 0)
		abort();
}

__attribute__((noinline, section("text_burn"))) static void burn(void)
{
	while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST))
		;
}

static int run(unsigned cores, int (*service)(void *arg), void *arg)
{
	memset(&seen, 0, sizeof(seen));
	enough = false;
	begun_ns = weir_clock();
	thread_runtime_init(&rt, cores, service, arg);
	rt.plan.stall_ns = STALL_NS;
	rt.plan.on_stall = on_stall;
	return thread_runtime_run(&rt);
}

static int burning_body(void *arg)
{
	burn();
	return 0;
}

static int burning_service(void *arg)
{
	struct weir_coro_opts opts = { .name = "hungry", .detached = true };

	if (weir_core() == 1)
		return weir_coro_spawn(&opts, burning_body, NULL, NULL);
	while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST))
		weir_sleep(WEIR_MS);
	return 0;
}

static void a_coroutine_that_computes_too_long_is_named_with_its_place(void **state)
{
	assert_int_equal(run(2, burning_service, NULL), 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.core, 1);
	assert_true(seen.held_ns >= STALL_NS);
	if (SIGNALS_ARE_LATE)
		return;
	assert_string_equal(seen.name, "hungry");
	assert_true(seen.innermost_in_burn);
	/* And who called it. */
	assert_true(seen.frame_count >= 2);
}

/* read(2) goes on after the watchdog's signal; the report ends it. */
static int blocking_service(void *arg)
{
	char byte;

	return read(fds[0], &byte, 1) == 1 ? 0 : -errno;
}

static void a_coroutine_blocked_in_a_system_call_is_named(void **state)
{
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(run(1, blocking_service, NULL), 0);
	close(fds[0]);
	close(fds[1]);
	fds[1] = -1;
	assert_int_equal(seen.count, 1);
	if (SIGNALS_ARE_LATE)
		return;
	assert_true(seen.frame_count > 0);
	assert_string_equal(seen.name, "service");
}

static void burn_in_task(void *arg)
{
	burn();
}

static int task_service(void *arg)
{
	return weir_post_try(0, burn_in_task, NULL);
}

static void a_callback_outside_of_coroutines_is_a_task(void **state)
{
	assert_int_equal(run(1, task_service, NULL), 0);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.name, "task");
}

static void spin_for(int64_t ns)
{
	int64_t until = weir_clock() + ns;

	while (weir_clock() < until)
		;
}

static int busy_service(void *arg)
{
	int i;

	/* Four times the limit in all, but no task for longer than a tenth of it. */
	for (i = 0; i < 40; i++) {
		spin_for(STALL_NS / 10);
		weir_yield();
	}
	return 0;
}

static void a_busy_core_of_short_tasks_is_not_stalled(void **state)
{
	assert_int_equal(run(1, busy_service, NULL), 0);
	assert_int_equal(seen.count, 0);
}

static int sleepy_service(void *arg)
{
	weir_sleep(4 * STALL_NS);
	return 0;
}

static void a_sleeping_core_is_not_stalled(void **state)
{
	assert_int_equal(run(2, sleepy_service, NULL), 0);
	assert_int_equal(seen.count, 0);
}

static int flood_service(void *arg)
{
	int i;

	for (i = 0; i < WEIR__STALL_REPORTS + 3; i++) {
		spin_for(2 * STALL_NS);
		weir_yield();
	}
	return 0;
}

static int long_service(void *arg)
{
	spin_for(4 * STALL_NS);
	return 0;
}

static void a_stall_is_reported_once(void **state)
{
	assert_int_equal(run(1, long_service, NULL), 0);
	assert_int_equal(seen.count, 1);
}

static void reports_are_limited(void **state)
{
	assert_int_equal(run(1, flood_service, NULL), 0);
	assert_true(seen.count >= 1 && seen.count <= WEIR__STALL_REPORTS);
}

static bool dozed;

static int doze_service(void *arg)
{
	struct weir_runtime *runtime = weir_runtime_self();
	int i;

	/* Long enough for the quiet after which it sleeps. */
	if (weir_sleep(1500 * WEIR_MS))
		return -EPROTO;
	/* The wake has ended its sleep: that it slept shows in the next one's stall. */
	for (i = 0; i < 200 && runtime->watchdog_dozes; i++)
		weir_sleep(WEIR_MS);
	dozed = !runtime->watchdog_dozes;
	burn();
	return 0;
}

static void a_watchdog_that_slept_with_its_cores_is_awake_when_they_are(void **state)
{
	dozed = false;
	assert_int_equal(run(1, doze_service, NULL), 0);
	assert_true(dozed);
	assert_int_equal(seen.count, 1);
}

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * WEIR_S + ts.tv_nsec;
}

struct measurement {
	struct weir_runtime *runtime;
	int64_t idle_ns;
};

/* Measures while the service sleeps, without waking it; then ends it. */
static void *measure(void *arg)
{
	struct measurement *measurement = arg;
	int64_t before_ns;

	while (!__atomic_load_n(&measurement->runtime->watchdog_dozes, __ATOMIC_SEQ_CST))
		poll(NULL, 0, 10);
	before_ns = cpu_ns();
	poll(NULL, 0, 800);
	measurement->idle_ns = cpu_ns() - before_ns;
	weir__runtime_stop(measurement->runtime);
	return NULL;
}

static int idle_service(void *arg)
{
	struct measurement *measurement = arg;
	pthread_t thread;

	if (weir_core())
		return 0;
	measurement->runtime = weir_runtime_self();
	if (pthread_create(&thread, NULL, measure, measurement))
		return -EAGAIN;
	weir_sleep(3600 * WEIR_S);
	pthread_join(thread, NULL);
	return 0;
}

static void an_idle_runtime_costs_no_cpu(void **state)
{
	struct measurement measurement = { .idle_ns = -1 };

	assert_int_equal(run(2, idle_service, &measurement), 0);
	/* The measuring itself; a spinning core would cost 800 ms, a watchdog that polls 2. */
	assert_true(measurement.idle_ns >= 0);
	if (!SIGNALS_ARE_LATE)		/* ThreadSanitizer has a thread that polls */
		assert_true(measurement.idle_ns < WEIR_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_coroutine_that_computes_too_long_is_named_with_its_place),
		cmocka_unit_test(a_coroutine_blocked_in_a_system_call_is_named),
		cmocka_unit_test(a_callback_outside_of_coroutines_is_a_task),
		cmocka_unit_test(a_busy_core_of_short_tasks_is_not_stalled),
		cmocka_unit_test(a_sleeping_core_is_not_stalled),
		cmocka_unit_test(a_stall_is_reported_once),
		cmocka_unit_test(reports_are_limited),
		cmocka_unit_test(a_watchdog_that_slept_with_its_cores_is_awake_when_they_are),
		cmocka_unit_test(an_idle_runtime_costs_no_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
