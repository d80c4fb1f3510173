/* SPDX-License-Identifier: MIT */
/*
 * micro_mesh.c - between two cores on real rings: posts in bulk, and a call and its answer
 * while both cores poll, and when both sleep each time. Medians: one preemption is
 * longer than all calls.
 *
 * What a machine can do at all depends on where the host has put its two CPUs today (a cache
 * line moves in 40 or in 250 ns), so two bare threads are measured beside: they hand one
 * word to and fro, by polling it and by futex(2).
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cpus.h"
#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_call_async.h"
#include "ring/weir_run.h"
#include "tests/bench/micro.h"

#define POSTS 20000000
#define POST_ROUNDS 5
#define CALLS_AWAKE 50000
#define CALLS_WARM 1000
#define CALLS_ASLEEP 2000

static micro_report_fn report_line;
static uint64_t received;	/* by core 1 */
static bool all_received;	/* atomic */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* --- two bare threads --- */

#define BARE_POLLS 100000
#define BARE_WAKES 2000

static struct {
	uint32_t ping __attribute__((aligned(128)));
	uint32_t pong __attribute__((aligned(128)));
	bool sleeps;
	uint32_t rounds;
} bare;

static void wait_for(uint32_t *word, uint32_t value)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != value)
		if (bare.sleeps)
			syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void hand_over(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	if (bare.sleeps)
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *play(void *arg)
{
	uint32_t i;

	for (i = 1; i <= bare.rounds; i++) {
		wait_for(&bare.ping, i);
		hand_over(&bare.pong, i);
	}
	return NULL;
}

static int start_on(int cpu, pthread_t *thread, void *(*fn)(void *arg))
{
	pthread_attr_t attr;
	cpu_set_t set;
	int r;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	r = -pthread_create(thread, &attr, fn, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

static void *serve(void *arg)
{
	static double samples[BARE_POLLS];
	uint32_t i;

	for (i = 1; i <= bare.rounds; i++) {
		double before = micro_now_ns();

		hand_over(&bare.ping, i);
		wait_for(&bare.pong, i);
		samples[i - 1] = micro_now_ns() - before;
	}
	report_line(bare.sleeps ? "mesh: two bare threads, a word and back, asleep"
				: "mesh: two bare threads, a word and back, awake",
		    median(samples, bare.rounds), 0);
	return NULL;
}

static int bench_bare(bool sleeps, uint32_t rounds)
{
	int cpus[2] = { 0, 0 };
	pthread_t threads[2];
	int r;

	weir__cpus_list(cpus, 2);
	bare.ping = 0;
	bare.pong = 0;
	bare.sleeps = sleeps;
	bare.rounds = rounds;
	r = start_on(cpus[1], &threads[1], play);
	if (r < 0)
		return r;
	r = start_on(cpus[0], &threads[0], serve);
	if (r < 0)
		return r;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	return 0;
}

/* --- posts --- */

static void receive(void *arg)
{
	if (++received % POSTS == 0)
		__atomic_store_n(&all_received, true, __ATOMIC_RELEASE);
}

static double time_posts(void)
{
	double before = micro_now_ns();
	unsigned i;

	__atomic_store_n(&all_received, false, __ATOMIC_RELAXED);
	for (i = 0; i < POSTS; i++)
		while (weir_post_try(1, receive, NULL) == -EAGAIN)
			weir_yield();
	while (!__atomic_load_n(&all_received, __ATOMIC_ACQUIRE))
		weir_yield();
	return (micro_now_ns() - before) / POSTS;
}

static void bench_posts(void)
{
	double rounds[POST_ROUNDS];
	int i;

	for (i = 0; i < POST_ROUNDS; i++)
		rounds[i] = time_posts();
	report_line("mesh: post, batched", median(rounds, POST_ROUNDS), 33);
}

/* --- calls --- */

static int answer(void *arg)
{
	return 0;
}

typedef int (*call_fn)(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns,
		       int *ret_res);

static int bench_calls(const char *name, call_fn call, int count, double target_ns)
{
	double *samples = calloc((size_t)count, sizeof(*samples));
	int i, r = 0;

	if (!samples)
		return -ENOMEM;
	for (i = -CALLS_WARM; i < count && !r; i++) {
		double before = micro_now_ns();

		r = call(1, answer, NULL, WEIR_NEVER, NULL);
		if (i >= 0)
			samples[i] = micro_now_ns() - before;
	}
	if (!r)
		report_line(name, median(samples, (size_t)count), target_ns);
	free(samples);
	return r;
}

static int call_async(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns, int *ret_res)
{
	return (int)weir_await(weir_call_async(core, fn, arg, deadline_ns), WEIR_NEVER, NULL);
}

static int service_awake(void *arg)
{
	int r;

	if (weir_core())
		return 0;
	bench_posts();
	r = bench_calls("mesh: call and answer, awake", weir_call, CALLS_AWAKE, 500);
	if (!r)
		r = bench_calls("mesh: call and answer as a future, awake", call_async, CALLS_AWAKE,
				0);
	if (!r)
		r = bench_calls("mesh: quick call and answer, awake", weir_call_quick, CALLS_AWAKE,
				0);
	return r;
}

static int service_asleep(void *arg)
{
	if (weir_core())
		return 0;
	return bench_calls("mesh: call and answer, asleep", weir_call, CALLS_ASLEEP, 45000);
}

int micro_mesh(micro_report_fn report)
{
	struct weir_opts opts = { .cores = 2, .no_signals = true, .stall_ns = -1 };
	int r;

	report_line = report;
	if (weir_cpus() < 2) {
		fprintf(stderr, "micro: mesh needs two CPUs\n");
		return 0;
	}
	r = bench_bare(false, BARE_POLLS);
	if (!r)
		r = bench_bare(true, BARE_WAKES);
	if (!r)
		r = weir_run(&opts, service_awake, NULL);
	opts.spin_ns = -1;
	return r < 0 ? r : weir_run(&opts, service_asleep, NULL);
}
