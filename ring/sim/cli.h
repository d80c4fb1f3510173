/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what the files of the command line share.
 *
 *	cli.c		words into options, and what to do with them
 *	campaign.c	many seeds, several at a time, told in order
 *	job.c		one run in a process of its own
 *	guard.c		what keeps that process within the simulator
 *	shrink.c	a failing run made small
 *
 * A run is a process because it may crash, hang or leave the seam, and because each must begin
 * with the same memory. So the parent allocates nothing after its start: a seed of a campaign
 * finds the heap as it is when the seed is replayed alone. What a run has to say it writes into
 * memory shared with the parent, as it goes: also one that dies has said it.
 */
#ifndef WEIR_RING_SIM_CLI_H
#define WEIR_RING_SIM_CLI_H

#include "ring/sim/trace.h"

#define WEIR_SIM_JOBS_MAX 64
#define WEIR_SIM_MARKS 256
#define WEIR_SIM_MARK_SIZE 96
#define WEIR_SIM_SITE_SIZE 40
#define WEIR_SIM_RECORDED_MAX (1u << 18)

/* A choice that was not 0. */
struct weir_sim_made {
	char site[WEIR_SIM_SITE_SIZE];
	int host; /* -1: the world's */
	uint32_t value;
	uint64_t nth;
	uint64_t number; /* of all choices of the run */
	int64_t at_ns;
};

struct weir_sim_mark {
	char name[WEIR_SIM_MARK_SIZE];
	bool reached;
};

/* Shared with the process: what it says of its run. */
struct weir_sim_outcome {
	bool finished; /* weir_sim_run() has returned */
	struct weir_sim_report report;
	char left[128]; /* how it left the seam */
	struct weir_sim_mark marks[WEIR_SIM_MARKS];
	unsigned marks_count;
	char hosts[WEIR_SIM_HOSTS][32];
	unsigned hosts_count;
	bool records;	     /* its choices are wanted */
	uint64_t made_count; /* may exceed those kept */
	struct weir_sim_made made[WEIR_SIM_RECORDED_MAX];
	struct weir_sim_log log;
};

struct weir_sim_verdict {
	bool failed;
	char name[96]; /* of what is broken */
	char seen[256];
	int64_t at_ns;
	uint64_t choice;
};

/* What the command line says. */
struct weir_sim_cli {
	const char *name; /* as what the command shows itself: "weir sim" */
	const struct weir_sim_scenario *const *scenarios;
	const struct weir_sim_scenario *scenario;
	struct weir_sim_opts opts; /* of each run */
	const char *faults;	   /* as given, for the command that replays */
	uint64_t seed_first, seed_last;
	int64_t timeout_ns; /* real time that a run may take */
	unsigned jobs;
	bool shrink, twice, coverage, list, help;
	struct weir_sim_sink *sink; /* NULL: no trace is written */
	unsigned trials_max;
};

/* --- job.c --- */

struct weir_sim_job {
	struct weir_sim_outcome *outcome;
	int said_fd;  /* what the process wrote on stdout and stderr */
	pid_t pid;    /* 0: none runs */
	int alive_fd; /* hangs up when it has ended */
	int64_t began_ns, ended_ns, kill_ns;
	int64_t cpu_ns;		/* what it took */
	bool asked; /* to say where it hangs */
	bool late;
	int status; /* as waitpid() says */
	uint64_t seed;
};

/*
 * Zeroed memory for the parent, far from where mappings are otherwise: how much it has moves no
 * address of a run. Shared with the processes. NULL: none left. Never freed.
 */
void *weir__sim_far_alloc(size_t size);

/* The same, of which each process has its own copy: a stack, a buffer. */
void *weir__sim_far_alloc_own(size_t size);

/* Once, before the first: count jobs. 0, -errno. */
int weir__sim_jobs_create(struct weir_sim_job *jobs, unsigned count);

/* What else a run is asked to do. */
struct weir_sim_wish {
	bool log;     /* keep one */
	bool compare; /* with the one that is there */
	bool record;  /* its choices */
	bool trace;   /* into cli->sink */
};

/* Starts a run with opts. 0, -errno. */
int weir__sim_job_start(struct weir_sim_job *job, const struct weir_sim_cli *cli,
			const struct weir_sim_opts *opts, struct weir_sim_wish wish);
/* Waits at most 100 ms until one of those that run has ended: its index, or -1. */
int weir__sim_jobs_wait(struct weir_sim_job *jobs, unsigned count);
/* What became of a run that has ended. */
void weir__sim_job_judge(const struct weir_sim_job *job, struct weir_sim_verdict *ret_verdict);
/* What it said, at most size bytes. */
size_t weir__sim_job_said(const struct weir_sim_job *job, char *text, size_t size);

/* --- guard.c --- */

/* In the parent, before anything else. */
void weir__sim_guard_prepare(void);
/* In the process: from here on nothing but the simulator. trace_fd: may be written to; or -1. */
void weir__sim_guard_raise(struct weir_sim_outcome *outcome, int trace_fd);
/* Runs again with the same addresses each time, if it does not yet. */
void weir__sim_guard_fix_addresses(void);

/* --- campaign.c, shrink.c: exit codes --- */

int weir__sim_campaign(const struct weir_sim_cli *cli);

/* The command that replays seed, with choices. */
void weir__sim_print_replay(const struct weir_sim_cli *cli, uint64_t seed, const char *choices);
/* "FAILED invariant ..." */
void weir__sim_print_verdict(uint64_t seed, const struct weir_sim_verdict *verdict);
/* Makes the run of seed, which fails so, small, and prints it. 0, -errno. */
int weir__sim_shrink(const struct weir_sim_cli *cli, struct weir_sim_job *jobs, uint64_t seed,
		     const struct weir_sim_verdict *verdict);

/* cli.c: what a class of faults does, in a few words. */
const char *weir__sim_class_about(unsigned number);

#endif
