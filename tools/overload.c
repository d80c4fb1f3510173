/* SPDX-License-Identifier: MIT */
/*
 * overload.c - weir overload: one core that is asked for 1.4 and for 2 times what it can do, with
 * and without admission, and a table of what became of it.
 */
#include "tools/overload.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/command.h"

#define WORKS 2
#define P99_TIMES 3 /* the quiet value: an answer slower than that is not well */
#define BUCKET_NS (20 * WEIR_MS)

static const int64_t works_ns[WORKS] = { WEIR_MS, 100 * WEIR_US };
static const char *const kinds[] = { "fixed", "aimd", "vegas", "gradient2", "pid" };

/* How long somebody waits for an answer to so much work. */
static int64_t patience_of(int64_t work_ns)
{
	return 20 * WEIR_MS + 30 * work_ns;
}

static int64_t phase_start(const struct overload_run *run, unsigned phase)
{
	return phase ? run->ends_ns[phase - 1] : 0;
}

static int64_t quiet_p99(const struct overload_run *run)
{
	return overload_percentile(run, 0, run->ends_ns[0], 99);
}

/* Whether what came in the time from from_ns on got good answers as if nothing had been. */
static bool is_well(const struct overload_run *run, int64_t from_ns)
{
	int64_t limit_ns = P99_TIMES * quiet_p99(run);
	unsigned count = 0, bad = 0;

	for (unsigned i = 0; i < run->count; i++) {
		const struct overload_request *q = &run->requests[i];

		if (q->scheduled_ns < from_ns || q->scheduled_ns >= from_ns + BUCKET_NS)
			continue;
		count++;
		bad += q->fate != OVERLOAD_GOOD || q->done_ns - q->scheduled_ns > limit_ns;
	}
	return bad * 100 <= count;
}

/* From the end of the spike until 99 % are well for two buckets; < 0: not in this run. */
static int64_t recovery_ns(const struct overload_run *run)
{
	int64_t spike_end_ns = run->ends_ns[OVERLOAD_PHASES - 2];
	int64_t end_ns = run->ends_ns[OVERLOAD_PHASES - 1] - 2 * BUCKET_NS;

	for (int64_t at_ns = spike_end_ns; at_ns < end_ns; at_ns += WEIR_MS)
		if (is_well(run, at_ns) && is_well(run, at_ns + BUCKET_NS))
			return at_ns - spike_end_ns;
	return -1;
}

static void show_phase(const struct overload_run *run, unsigned phase)
{
	int64_t from_ns = phase_start(run, phase), to_ns = run->ends_ns[phase];
	int64_t p99_ns = overload_percentile(run, from_ns, to_ns, 99);

	printf("  %-9s %8.0f/s %8.0f/s %6.1f %% %9.2f ms %9.2f ms %7.1fx\n",
	       overload_phases[phase].name, overload_offered(run, from_ns, to_ns),
	       overload_goodput(run, from_ns, to_ns),
	       overload_goodput(run, from_ns, to_ns) * 100 / run->capacity,
	       (double)overload_percentile(run, from_ns, to_ns, 50) / 1e6, (double)p99_ns / 1e6,
	       (double)p99_ns / (double)quiet_p99(run));
}

static void show(const struct overload_run *run)
{
	int64_t back_ns = recovery_ns(run);

	printf("%g ms of work, capacity %.0f/s, %s admission\n", (double)run->work_ns / 1e6,
	       run->capacity, run->admits ? "with" : "without");
	printf("  %-9s %10s %10s %8s %12s %12s %8s\n", "load", "offered", "goodput", "of cap.",
	       "p50", "p99", "/quiet");
	for (unsigned i = 0; i < OVERLOAD_PHASES; i++)
		show_phase(run, i);
	if (back_ns < 0)
		printf("  after the spike: not well again in this run\n");
	else
		printf("  after the spike: well again in %.0f ms\n", (double)back_ns / 1e6);
	if (run->admits) {
		printf("  limit at the end %u; admitted %llu; shed:", run->admit.limit,
		       (unsigned long long)run->admit.admitted);
		for (unsigned i = 1; i < WEIR_SHED_COUNT; i++)
			printf(" %s %llu", weir_shed_name((enum weir_shed)i),
			       (unsigned long long)run->admit.shed[i]);
		printf("\n");
	}
	printf("\n");
	fflush(stdout);
}

static int run_all(double seconds, enum weir_limiter_kind limiter, const char *plot)
{
	struct overload_run runs[2 * WORKS] = { { .count = 0 } };
	int r = 0;

	printf("A service on one core. An answer is good when it comes within the client's\n"
	       "patience; latencies are of the answered, from the time the request was sent.\n\n");
	for (unsigned i = 0; i < 2 * WORKS && !r; i++) {
		runs[i] = (struct overload_run){
			.work_ns = works_ns[i / 2],
			.patience_ns = patience_of(works_ns[i / 2]),
			.run_ns = (int64_t)(seconds * 1e9 / (2 * WORKS)),
			.capacity = i % 2 ? runs[i - 1].capacity : 0,
			.admits = i % 2,
			.limiter = limiter,
		};
		r = overload_run(&runs[i]);
		if (!r)
			show(&runs[i]);
	}
	if (!r && plot)
		r = overload_plot(plot, runs, WORKS);
	for (unsigned i = 0; i < 2 * WORKS; i++)
		free(runs[i].requests);
	if (r < 0)
		fprintf(stderr, "weir overload: %s\n", strerror(-r));
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

static int parse_limiter(const char *name, enum weir_limiter_kind *ret_kind)
{
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(name, kinds[i])) {
			*ret_kind = (enum weir_limiter_kind)i;
			return 0;
		}
	return -EINVAL;
}

static int show_help(void)
{
	printf("usage: weir overload [--seconds S] [--limiter KIND] [--plot FILE]\n\n"
	       "Asks a service on one core for 1.4 and 2 times what it can do, with 1 ms and\n"
	       "100 us of work, without and with admission, and shows what came of it. About\n"
	       "S seconds; default 16. KIND: fixed, aimd, vegas, gradient2, pid; default\n"
	       "vegas. FILE: an SVG.\n");
	return EXIT_OK;
}

int overload_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", 1, NULL, 's' },
		{ "limiter", 1, NULL, 'l' },
		{ "plot", 1, NULL, 'p' },
		{ "help", 0, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	enum weir_limiter_kind limiter = WEIR_LIMITER_VEGAS;
	const char *plot = NULL;
	double seconds = 16;
	char *end = "";
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return show_help();
		if (c == 'p')
			plot = optarg;
		else if (c == 'l' && parse_limiter(optarg, &limiter))
			return usage_error("overload", "there is no limiter '%s'", optarg);
		if (c == 's')
			seconds = strtod(optarg, &end);
		if (c == '?' || *end || !(seconds >= 1 && seconds <= 600))
			return usage_error("overload", "--seconds takes a number from 1 to 600, "
						       "--plot a file, --limiter a kind");
	}
	if (optind < argc)
		return usage_error("overload", "it takes no argument, but got '%s'", argv[optind]);
	if (check_kernel("overload", NULL))
		return EXIT_USAGE;
	return run_all(seconds, limiter, plot);
}
