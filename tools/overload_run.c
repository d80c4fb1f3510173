/* SPDX-License-Identifier: MIT */
/*
 * overload_run.c - a service on one core, and more requests than it can answer.
 *
 * The load is open: each request has a time at which it is sent, drawn before the run (Poisson, the
 * same with and without admission), and latency counts from that time, however late the service
 * gets to see the request. Each is a coroutine that computes for work_ns by the clock, so that what
 * a busy machine steals counts as work. A client waits for patience_ns; the service without
 * admission does not know that and works for those who are gone, as services do.
 */
#include "tools/overload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/weir_coro.h"
#include "ring/weir_run.h"

#define CLOSED 8			/* clients that measure the capacity */
#define CAPACITY_NS (100 * WEIR_MS)
#define CAPACITY_ROUNDS 5
#define COROS_MAX 32768

const struct overload_phase overload_phases[OVERLOAD_PHASES] = {
	{ "quiet", 0.5, 0.25 },	   { "1.4x", 1.4, 0.25 }, { "calm", 0.5, 0.125 },
	{ "spike 2x", 2.0, 0.25 }, { "after", 0.5, 0.125 },
};

static struct overload_run *run;
static struct weir_admit admit;
static int64_t start_ns;
static unsigned in_flight;
static uint64_t worked;
static bool measuring;

static void work(void)
{
	int64_t end_ns = weir_clock() + run->work_ns;

	while (weir_clock() < end_ns)
		;
}

/* --- the capacity --- */

static int closed_client(void *arg)
{
	(void)arg;
	while (measuring) {
		work();
		worked++;
		weir_yield();
	}
	in_flight--;
	return 0;
}

static double measure_rate(void)
{
	int64_t begun_ns = weir_clock();
	uint64_t before = worked;

	while (weir_clock() < begun_ns + CAPACITY_NS)
		weir_yield();
	return (double)(worked - before) * 1e9 / (double)(weir_clock() - begun_ns);
}

/* The best of a few rounds: what others do on this machine is not the service's. */
static int measure_capacity(void)
{
	const struct weir_coro_opts opts = { .name = "closed", .detached = true };
	int r = 0;

	measuring = true;
	for (unsigned i = 0; i < CLOSED && !r; i++) {
		r = weir_coro_spawn(&opts, closed_client, NULL, NULL);
		in_flight += !r;
	}
	for (unsigned i = 0; i < CAPACITY_ROUNDS && !r; i++) {
		double rate = measure_rate();

		if (rate > run->capacity)
			run->capacity = rate;
	}
	measuring = false;
	while (in_flight)
		weir_yield();
	return r;
}

/* --- the schedule --- */

static double uniform(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return ((double)(*seed >> 11) + 0.5) / 9007199254740992.0;
}

/* Draws the times; with requests NULL it only counts them. */
static unsigned schedule(struct overload_request *requests)
{
	double at_ns = 0, end_ns = 0;
	uint64_t seed = 1;
	unsigned count = 0;

	for (unsigned i = 0; i < OVERLOAD_PHASES; i++) {
		double gap_ns = 1e9 / (run->capacity * overload_phases[i].load);

		at_ns = end_ns;
		end_ns += overload_phases[i].part * (double)run->run_ns;
		run->ends_ns[i] = (int64_t)end_ns;
		while ((at_ns -= log(uniform(&seed)) * gap_ns) < end_ns) {
			if (requests)
				requests[count].scheduled_ns = (int64_t)at_ns;
			count++;
		}
	}
	return count;
}

/* --- the run --- */

static int request(void *arg)
{
	struct overload_request *request = arg;
	int64_t deadline_ns = start_ns + request->scheduled_ns + run->patience_ns;
	struct weir_ticket ticket;

	if (run->admits && weir_admit_enter(&admit, 0, deadline_ns, &ticket)) {
		request->fate = OVERLOAD_SHED;
		in_flight--;
		return 0;
	}
	work();
	if (run->admits)
		weir_ticket_done(&ticket, WEIR_TICKET_OK);
	request->done_ns = weir_clock() - start_ns;
	request->fate = start_ns + request->done_ns <= deadline_ns ? OVERLOAD_GOOD : OVERLOAD_LATE;
	in_flight--;
	return 0;
}

/* Sends what is due whenever it gets its turn. */
static int send_all(void)
{
	const struct weir_coro_opts opts = { .name = "request", .detached = true };
	unsigned next = 0;
	int r = 0;

	start_ns = weir_clock();
	while (next < run->count && !r) {
		int64_t now_ns = weir_clock() - start_ns;

		while (next < run->count && run->requests[next].scheduled_ns <= now_ns)
			if (!weir_coro_spawn(&opts, request, &run->requests[next++], NULL))
				in_flight++;
		r = weir_yield();
	}
	while (in_flight)
		weir_yield();
	return r;
}

static int init_admit(void)
{
	const struct weir_admit_opts opts = {
		.name = "overload",
		/* One core that computes: more than one more waiting inside brings nothing. */
		.limiter = { .kind = run->limiter, .limit_initial = 2, .alpha = 1, .beta = 2,
			     .headroom = 1, .tolerance = 1.5 },
		.order = WEIR_ADMIT_LIFO,
		.target_ns = run->work_ns * 3 / 2,
		.interval_ns = 10 * run->work_ns,
	};

	return weir_admit_init(&admit, &opts);
}

static int service(void *arg)
{
	int r = run->capacity > 0 ? 0 : measure_capacity();

	(void)arg;
	if (!r && run->admits)
		r = init_admit();
	if (r)
		return r;
	run->count = schedule(NULL);
	run->requests = calloc(run->count, sizeof(*run->requests));
	if (!run->requests)
		return -ENOMEM;
	schedule(run->requests);
	r = send_all();
	if (run->admits) {
		weir_admit_info(&admit, &run->admit);
		weir_admit_fini(&admit);
	}
	return r;
}

int overload_run(struct overload_run *r)
{
	struct weir_opts opts = { .cores = 1, .coros_max = COROS_MAX, .stall_ns = -1,
				  .no_pin = true };

	run = r;
	return weir_run(&opts, service, NULL);
}

/* --- what was measured --- */

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

int64_t overload_percentile(const struct overload_run *of, int64_t from_ns, int64_t to_ns,
			    double percent)
{
	int64_t *latencies = malloc(of->count * sizeof(*latencies)), value = 0;
	unsigned count = 0;

	for (unsigned i = 0; latencies && i < of->count; i++) {
		const struct overload_request *q = &of->requests[i];

		if (q->done_ns && q->scheduled_ns >= from_ns && q->scheduled_ns < to_ns)
			latencies[count++] = q->done_ns - q->scheduled_ns;
	}
	if (count) {
		qsort(latencies, count, sizeof(*latencies), compare);
		value = latencies[(unsigned)ceil(percent / 100 * count) - 1];
	}
	free(latencies);
	return value;
}

double overload_goodput(const struct overload_run *of, int64_t from_ns, int64_t to_ns)
{
	unsigned count = 0;

	for (unsigned i = 0; i < of->count; i++) {
		const struct overload_request *q = &of->requests[i];

		count += q->fate == OVERLOAD_GOOD && q->done_ns >= from_ns && q->done_ns < to_ns;
	}
	return count * 1e9 / (double)(to_ns - from_ns);
}

double overload_offered(const struct overload_run *of, int64_t from_ns, int64_t to_ns)
{
	unsigned count = 0;

	for (unsigned i = 0; i < of->count; i++)
		count += of->requests[i].scheduled_ns >= from_ns &&
			 of->requests[i].scheduled_ns < to_ns;
	return count * 1e9 / (double)(to_ns - from_ns);
}
