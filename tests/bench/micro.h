/* SPDX-License-Identifier: MIT */
/*
 * micro.h - between the micro benchmark and its parts, one file per topic.
 */
#ifndef WEIR_BENCH_MICRO_H
#define WEIR_BENCH_MICRO_H

#include <time.h>

/* One line of the table; target_ns 0: no target. */
typedef void (*micro_report_fn)(const char *name, double ns, double target_ns);

static inline double micro_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Each runs its part and returns 0 or -errno. */
int micro_across(micro_report_fn report);
int micro_chan(micro_report_fn report);	/* and locks, credit, scopes */
int micro_coro(micro_report_fn report);
int micro_future(micro_report_fn report);
int micro_mesh(micro_report_fn report);
int micro_pool(micro_report_fn report);
int micro_process(micro_report_fn report);
int micro_seam(micro_report_fn report);
int micro_sim(micro_report_fn report);
int micro_stream(micro_report_fn report);
int micro_timer(micro_report_fn report);	/* and histograms */

#endif
