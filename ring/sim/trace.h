/* SPDX-License-Identifier: MIT */
/*
 * trace.h - the record of a run: a hash over everything that happened, always; a file that
 * Perfetto opens, and a log that another run is compared with, on demand.
 *
 * The file and the log are memory that can be shared, because the process in which a world runs
 * may die in the middle and may open nothing (guard.h): who started it opens the file before,
 * and writes what was left in the buffer after.
 */
#ifndef WEIR_RING_SIM_TRACE_H
#define WEIR_RING_SIM_TRACE_H

#include "ring/sim/sim.h"

#define WEIR_SIM_SINK_SIZE 65536
/* A file has at most so many events: about 2 GB. */
#define WEIR_SIM_SINK_EVENTS_MAX (UINT64_C(1) << 24)

struct weir_sim_sink {
	int fd;
	int error;		/* 0, or why a write failed: nothing is written any more */
	bool ended;		/* the text is whole */
	uint64_t events;
	size_t size;		/* of text, not yet in the file */
	char text[WEIR_SIM_SINK_SIZE];
};

#define WEIR_SIM_RECORD_NAME 24

struct weir_sim_record {
	int64_t at_ns, a, b;
	int32_t host, core;	/* -1: the world's, the kernel's */
	char name[WEIR_SIM_RECORD_NAME];
};

#define WEIR_SIM_LOG_MAX (1u << 20)

/* The first run fills it, the second is compared with it. What exceeds it is not compared. */
struct weir_sim_log {
	bool compares;
	bool differs;		/* theirs is in records[count], ours in found */
	bool shorter;		/* the second has ended: theirs is one more */
	bool longer;		/* the first had ended */
	uint64_t count;		/* compares: how many were equal */
	uint64_t first_count;	/* how many the first had */
	struct weir_sim_record found;
	struct weir_sim_record records[WEIR_SIM_LOG_MAX];
};

/*
 * What the next tracer writes to, instead of opening its path, and keeps a log in; NULL: none.
 * Both are the caller's, and outlive the world.
 */
void weir__sim_tracer_give(struct weir_sim_sink *sink, struct weir_sim_log *log);

/* path: where to write a file, or NULL. 0, -ENOMEM, or why path cannot be opened. */
int weir__sim_tracer_create(struct weir_sim *sim, const char *path);
/* Ends the file. The hash; 0 without a tracer. */
uint64_t weir__sim_tracer_end(struct weir_sim *sim);

/* For struct weir_soft_ops.watch: an operation's SQE, CQEs and end. */
void weir__sim_trace_op(struct weir_soft_req *req, enum weir_soft_event event, int res,
			uint32_t cflags);

/* Ends the text of a run that died, writes what is left. 0, or why it could not be written. */
int weir__sim_sink_end(struct weir_sim_sink *sink);

#endif
