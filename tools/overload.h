/* SPDX-License-Identifier: MIT */
/* overload.h - the parts of weir overload: the measurement, and its plot. */
#ifndef WEIR_TOOLS_OVERLOAD_H
#define WEIR_TOOLS_OVERLOAD_H

#include <stdint.h>

#include "futures/weir_admit.h"

/* A time of constant load, in parts of the capacity. */
struct overload_phase {
	const char *name;
	double load;
	double part;		/* of the whole run */
};

#define OVERLOAD_PHASES 5
extern const struct overload_phase overload_phases[OVERLOAD_PHASES];

enum overload_fate { OVERLOAD_LOST, OVERLOAD_SHED, OVERLOAD_LATE, OVERLOAD_GOOD };

/* Times are nanoseconds from the start of the run. */
struct overload_request {
	int64_t scheduled_ns;
	int64_t done_ns;	/* 0: not answered */
	enum overload_fate fate;
};

struct overload_run {
	/* What is asked for. */
	int64_t work_ns;
	int64_t patience_ns;	/* who waited longer is gone */
	int64_t run_ns;
	double capacity;	/* requests a second; 0: measure it */
	bool admits;
	enum weir_limiter_kind limiter;

	/* What was measured. requests is the caller's to free. */
	struct overload_request *requests;
	unsigned count;
	int64_t ends_ns[OVERLOAD_PHASES];
	struct weir_admit_info admit;
};

/* Runs it on one core. Returns 0 or -errno. */
int overload_run(struct overload_run *run);

/* Latency that percent of the answers to what was scheduled in [from, to) do not exceed; 0: none.
 */
int64_t overload_percentile(const struct overload_run *run, int64_t from_ns, int64_t to_ns,
			    double percent);

/* Good answers a second that left in [from, to), and requests a second that came. */
double overload_goodput(const struct overload_run *run, int64_t from_ns, int64_t to_ns);
double overload_offered(const struct overload_run *run, int64_t from_ns, int64_t to_ns);

/* runs: for each of count amounts of work one without and one with admission. 0 or -errno. */
int overload_plot(const char *path, const struct overload_run *runs, unsigned count);

#endif
