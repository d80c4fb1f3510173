/* SPDX-License-Identifier: MIT */
/* tour.h - the two halves of weir tour: the load on a file server, and back-pressure. */
#ifndef WEIR_TOOLS_TOUR_H
#define WEIR_TOOLS_TOUR_H

#include <stdint.h>

#include "core/weir_histogram.h"

#define TOUR_FILES 8

/* A file that is served: the load checks every byte of what comes back. */
struct tour_file {
	const char *name;
	uint32_t size;
	char *content;
};

struct tour_load {
	const char *address;
	const struct tour_file *files;
	unsigned conns;
	int64_t warmup_ns, run_ns;
	void (*progress)(double left_s, double rate);
	void (*begin)(void *arg);	/* the measured time begins */
	void *arg;

	uint64_t requests, errors, bytes;
	double seconds;
	struct weir_histogram *latency;	/* nanoseconds; the caller's to destroy */
};

/* Runs the load in this process, on one core. Returns 0 or -errno. */
int tour_load(struct tour_load *load);

struct tour_pressure {
	int64_t run_ns;			/* of each half */
	/* What was measured. */
	double free_rate, slowed_rate;	/* bytes a second the producer got rid of */
	double consumer_rate;		/* bytes a second the slow consumer takes */
	uint64_t sent, received;	/* bytes, slow half */
	bool intact;			/* every byte came, in order */
	uint64_t held_high;		/* the most the runtime held: receive buffers and output */
	uint64_t held_bound;
	unsigned slots_high;
};

/* A fast producer and a slow consumer over loopback, on one core. Returns 0 or -errno. */
int tour_pressure(struct tour_pressure *pressure);

/* GET path at address; the body in *ret_body (malloc, NUL-ended). Inside a coroutine. 0 or -errno.
 */
int tour_get(const char *address, const char *path, char **ret_body);

#endif
