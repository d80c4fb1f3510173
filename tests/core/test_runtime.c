/* SPDX-License-Identifier: MIT */
/*
 * test_runtime.c - workers that start together, drain and stop together, and leave when
 * nothing can happen any more.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "tests/support/thread_runtime.h"

#define CORES 3

static struct thread_runtime rt;
static unsigned count;		/* atomic: whatever a test counts on several cores */
static unsigned per_core[CORES];

static void add(unsigned *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

static unsigned get(const unsigned *counter)
{
	return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static int set_up(void **state)
{
	count = 0;
	memset(per_core, 0, sizeof(per_core));
	return 0;
}

static int run(int (*service)(void *arg), void *arg)
{
	thread_runtime_init(&rt, CORES, service, arg);
	return thread_runtime_run(&rt);
}

/* --- beginning and ending --- */

static int count_service(void *arg)
{
	add(&per_core[weir_core()]);
	return weir_core_count() == CORES && weir_runtime_self() ? 0 : -EPROTO;
}

static void the_service_runs_once_on_each_core(void **state)
{
	unsigned i;

	assert_int_equal(run(count_service, NULL), 0);
	for (i = 0; i < CORES; i++) {
		assert_int_equal(per_core[i], 1);
		assert_true(rt.thread_drivers[i].stopped);
	}
}

static int failing_service(void *arg)
{
	if (weir_core() == 1)
		return -ENOSPC;
	/* The others are told to end. */
	return weir_sleep(3600 * WEIR_S) == -ECANCELED ? 0 : -EPROTO;
}

static void a_service_that_fails_ends_every_core_and_is_the_result(void **state)
{
	assert_int_equal(run(failing_service, NULL), -ENOSPC);
}

static void a_core_that_cannot_start_keeps_the_service_from_running(void **state)
{
	unsigned i;

	thread_runtime_init(&rt, CORES, count_service, NULL);
	rt.thread_drivers[1].start_error = -EMFILE;
	assert_int_equal(thread_runtime_run(&rt), -EMFILE);
	for (i = 0; i < CORES; i++)
		assert_int_equal(per_core[i], 0);
	assert_true(rt.thread_drivers[0].stopped);
	assert_false(rt.thread_drivers[1].stopped);
}

static int sleeping_service(void *arg)
{
	add(&count);
	weir_sleep(3600 * WEIR_S);
	return 0;
}

static void a_driver_that_fails_ends_the_runtime(void **state)
{
	thread_runtime_init(&rt, CORES, sleeping_service, NULL);
	rt.thread_drivers[2].fail_at_turn = 1;
	assert_int_equal(thread_runtime_run(&rt), -EIO);
}

static void a_plan_without_cores_is_refused(void **state)
{
	thread_runtime_init(&rt, 0, count_service, NULL);
	assert_int_equal(weir__runtime_run(&rt.plan), -EINVAL);
	thread_runtime_init(&rt, 1, count_service, NULL);
	rt.plan.mesh_depth = 7;
	assert_int_equal(thread_runtime_run(&rt), -EINVAL);
}

/* A message that posts itself on to the next core: between two hops no core has any work. */
static void hop(void *arg)
{
	add(&count);
	if (get(&count) < 2000)
		assert_int_equal(weir_post_try((unsigned)(weir_core() + 1) % CORES, hop, NULL), 0);
}

static int hop_service(void *arg)
{
	return weir_core() == 0 ? weir_post_try(1, hop, NULL) : 0;
}

static void a_message_under_way_keeps_the_runtime_running(void **state)
{
	assert_int_equal(run(hop_service, NULL), 0);
	assert_int_equal(count, 2000);
}

static int late_body(void *arg)
{
	weir_sleep(20 * WEIR_MS);
	add(&count);
	return 0;
}

static void spawn_late(void *arg)
{
	struct weir_coro_opts opts = { .detached = true };

	assert_int_equal(weir_coro_spawn(&opts, late_body, NULL, NULL), 0);
}

static int post_service(void *arg)
{
	return weir_core() == 0 ? weir_post_try(2, spawn_late, NULL) : 0;
}

static void work_that_arrives_at_an_idle_core_is_waited_for(void **state)
{
	assert_int_equal(run(post_service, NULL), 0);
	assert_int_equal(count, 1);
}


static int where_service(void *arg)
{
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	per_core[weir_core()] = (unsigned)CPU_COUNT(&set);
	return 0;
}

static void workers_are_pinned_and_a_refused_pin_is_no_error(void **state)
{
	const int cpus[CORES] = { sched_getcpu(), CPU_SETSIZE - 1, -1 };

	thread_runtime_init(&rt, CORES, where_service, NULL);
	rt.plan.cpus = cpus;
	assert_int_equal(thread_runtime_run(&rt), 0);
	assert_int_equal(per_core[0], 1);
	assert_true(per_core[1] >= 1);
}

/* --- draining and stopping --- */

struct hook {
	struct weir_drain_hook hook;
	struct weir_worker *worker;
};

static void on_drain(struct weir_drain_hook *hook)
{
	add(&per_core[weir_core()]);
	weir__worker_release(weir_container_of(hook, struct hook, hook)->worker);
}

/* As a listener: it holds its worker until it is asked to drain. */
static int listening_service(void *arg)
{
	static struct hook hooks[CORES];
	struct hook *hook = &hooks[weir_core()];

	*hook = (struct hook){ .hook.run = on_drain, .worker = weir__self };
	weir__worker_hold(weir__self);
	weir__worker_on_drain(weir__self, &hook->hook);
	if (weir_core() == 1) {
		weir_sleep(WEIR_MS);
		weir_drain();
		return weir_is_draining() ? 0 : -EPROTO;
	}
	return 0;
}

static void draining_runs_the_hooks_of_every_core(void **state)
{
	unsigned i;

	assert_int_equal(run(listening_service, NULL), 0);
	for (i = 0; i < CORES; i++)
		assert_int_equal(per_core[i], 1);
}

static int stubborn_service(void *arg)
{
	if (weir_core() == 0)
		weir_drain();
	/* Draining alone cancels nothing. */
	if (weir_sleep(3600 * WEIR_S) == -ECANCELED)
		add(&count);
	return 0;
}

static void what_outlives_the_grace_of_a_drain_is_cancelled(void **state)
{
	thread_runtime_init(&rt, CORES, stubborn_service, NULL);
	rt.plan.drain_ns = 20 * WEIR_MS;
	assert_int_equal(thread_runtime_run(&rt), 0);
	assert_int_equal(count, CORES);
}

static int stopping_service(void *arg)
{
	struct weir_coro_opts opts = { .detached = true };

	if (weir_core() == 2)
		weir_stop();
	if (weir_sleep(3600 * WEIR_S) != -ECANCELED)
		return -EPROTO;
	return weir_coro_spawn(&opts, late_body, NULL, NULL) == -ESHUTDOWN ? 0 : -EPROTO;
}

static void stopping_cancels_every_coroutine_and_refuses_new_ones(void **state)
{
	assert_int_equal(run(stopping_service, NULL), 0);
}

/* --- signals --- */

static int terminated_service(void *arg)
{
	int r;

	add(&count);
	while (!weir_is_draining() && !(r = weir_sleep(WEIR_MS)))
		if (weir_core() == 0 && get(&count) == CORES) {
			add(&count);
			kill(getpid(), SIGTERM);
		}
	return weir_is_draining() ? 0 : -EPROTO;
}

static void the_first_sigterm_drains(void **state)
{
	thread_runtime_init(&rt, CORES, terminated_service, NULL);
	rt.plan.no_signals = false;
	assert_int_equal(thread_runtime_run(&rt), 0);
}

static int killed_service(void *arg)
{
	if (weir_core() == 0) {
		kill(getpid(), SIGTERM);
		while (!weir_is_draining())
			weir_sleep(WEIR_MS);
		kill(getpid(), SIGINT);
	}
	return weir_sleep(3600 * WEIR_S) == -ECANCELED ? 0 : -EPROTO;
}

static void the_second_signal_cancels_every_coroutine(void **state)
{
	thread_runtime_init(&rt, CORES, killed_service, NULL);
	rt.plan.no_signals = false;
	rt.plan.drain_ns = WEIR_NEVER;
	assert_int_equal(thread_runtime_run(&rt), 0);
}

static unsigned dumps[CORES];
static unsigned dump_count;	/* atomic */

static void on_dump(void *arg)
{
	assert_ptr_equal(arg, &rt);
	dumps[get(&dump_count)] = (unsigned)weir_core();
	add(&dump_count);
}

static int dumping_service(void *arg)
{
	if (weir_core() == 0)
		kill(getpid(), SIGUSR1);
	while (get(&dump_count) < CORES)
		weir_sleep(WEIR_MS);
	return 0;
}

static void sigusr1_dumps_each_core_in_turn(void **state)
{
	unsigned i;

	dump_count = 0;
	thread_runtime_init(&rt, CORES, dumping_service, NULL);
	rt.plan.no_signals = false;
	rt.plan.on_dump = on_dump;
	rt.plan.hook_arg = &rt;
	assert_int_equal(thread_runtime_run(&rt), 0);
	for (i = 0; i < CORES; i++)
		assert_int_equal(dumps[i], i);
}

static volatile sig_atomic_t own_handler_ran;

static void own_handler(int number)
{
	own_handler_ran = 1;
}

static void signals_are_the_callers_again_afterwards(void **state)
{
	struct sigaction own = { .sa_handler = own_handler };
	struct sigaction after;
	sigset_t block, mask;

	sigaction(SIGTERM, &own, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	the_first_sigterm_drains(state);
	sigaction(SIGTERM, NULL, &after);
	assert_ptr_equal(after.sa_handler, own_handler);
	pthread_sigmask(SIG_UNBLOCK, &block, &mask);
	assert_true(sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM));
	raise(SIGTERM);
	assert_true(own_handler_ran);
}

/* --- other threads --- */

static struct weir_runtime *kept;
static struct weir_post outside;

static void from_outside(struct weir_post *post)
{
	add(&per_core[weir_core()]);
	weir__worker_release(weir__self);
}

static void *posting_thread(void *arg)
{
	assert_int_equal(weir_post_any(arg, CORES, &outside, from_outside), -EINVAL);
	assert_int_equal(weir_post_any(arg, 1, &outside, from_outside), 0);
	return NULL;
}

static int posted_service(void *arg)
{
	static pthread_t thread;

	if (weir_core() != 1)
		return 0;
	weir__worker_hold(weir__self);
	kept = weir_runtime_self();
	weir_runtime_keep(kept);
	*(pthread_t **)arg = &thread;
	return -pthread_create(&thread, NULL, posting_thread, kept);
}

static void a_thread_that_is_no_worker_posts_and_is_refused_after_the_end(void **state)
{
	pthread_t *thread;

	assert_int_equal(run(posted_service, &thread), 0);
	pthread_join(*thread, NULL);
	assert_int_equal(per_core[1], 1);
	assert_int_equal(weir_post_any(kept, 1, &outside, from_outside), -ESHUTDOWN);
	assert_int_equal(per_core[1], 1);
	weir_runtime_drop(kept);
}

/* --- workers that are not our threads --- */

struct own_threads {
	pthread_t threads[CORES];
	unsigned started;
	unsigned fail_at;	/* the index that cannot be started */
};

struct start {
	void (*body)(void *ctx, unsigned index);
	void *ctx;
	unsigned index;
};

static void *own_main(void *arg)
{
	struct start start = *(struct start *)arg;

	test_free(arg);
	start.body(start.ctx, start.index);
	return NULL;
}

static int own_start(void *arg, unsigned index, void (*body)(void *ctx, unsigned index), void *ctx)
{
	struct own_threads *own = arg;
	struct start *start;

	if (index == own->fail_at)
		return -EAGAIN;
	start = test_malloc(sizeof(*start));
	*start = (struct start){ body, ctx, index };
	own->started++;
	return -pthread_create(&own->threads[index], NULL, own_main, start);
}

static void own_join(void *arg)
{
	struct own_threads *own = arg;
	unsigned i;

	for (i = 0; i < own->started; i++)
		pthread_join(own->threads[i], NULL);
}

static void own_pause(void *arg)
{
	sched_yield();
}

static int run_on_own_threads(unsigned fail_at)
{
	struct own_threads own = { .fail_at = fail_at };
	struct weir__threads threads = { own_start, own_join, own_pause, &own };

	thread_runtime_init(&rt, CORES, count_service, NULL);
	rt.plan.threads = &threads;
	return thread_runtime_run(&rt);
}

static void workers_run_on_what_the_plan_says(void **state)
{
	assert_int_equal(run_on_own_threads(CORES), 0);
	assert_int_equal(per_core[2], 1);
}

static void a_thread_that_cannot_be_started_ends_those_that_were(void **state)
{
	assert_int_equal(run_on_own_threads(0), -EAGAIN);
	assert_int_equal(run_on_own_threads(2), -EAGAIN);
	assert_int_equal(per_core[0] + per_core[1] + per_core[2], 0);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_service_runs_once_on_each_core),
		TEST(a_service_that_fails_ends_every_core_and_is_the_result),
		TEST(a_core_that_cannot_start_keeps_the_service_from_running),
		TEST(a_driver_that_fails_ends_the_runtime),
		TEST(a_plan_without_cores_is_refused),
		TEST(a_message_under_way_keeps_the_runtime_running),
		TEST(work_that_arrives_at_an_idle_core_is_waited_for),
		TEST(workers_are_pinned_and_a_refused_pin_is_no_error),
		TEST(draining_runs_the_hooks_of_every_core),
		TEST(what_outlives_the_grace_of_a_drain_is_cancelled),
		TEST(stopping_cancels_every_coroutine_and_refuses_new_ones),
		TEST(the_first_sigterm_drains),
		TEST(the_second_signal_cancels_every_coroutine),
		TEST(sigusr1_dumps_each_core_in_turn),
		TEST(signals_are_the_callers_again_afterwards),
		TEST(a_thread_that_is_no_worker_posts_and_is_refused_after_the_end),
		TEST(workers_run_on_what_the_plan_says),
		TEST(a_thread_that_cannot_be_started_ends_those_that_were),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
