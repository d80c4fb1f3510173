/* SPDX-License-Identifier: MIT */
/*
 * weir_sim.h - a world in which services run under a seed: simulated hosts with disks, a
 * network between them, a kernel that breaks, and a clock that jumps to the next event. The
 * services are ordinary: each host's main calls weir_run() and the rest of the library as it
 * would anywhere. All of it runs on the calling thread.
 *
 *	static int build(struct weir_sim *sim, void *arg)
 *	{
 *		weir_sim_host(sim, "server", NULL, server_main, NULL);
 *		weir_sim_workload(sim, "client", NULL, client, NULL);	// in a coroutine
 *		weir_sim_always(sim, "answers are whole", answers_are_whole, NULL);
 *		return 0;
 *	}
 *
 *	struct weir_sim_scenario echo = { .name = "echo", .build = build };
 *
 *	weir_sim_run(&echo, &(struct weir_sim_opts){ .seed = 42 }, &report);
 *
 * or weir_sim_main(argc, argv, list) for a program that runs, replays and shrinks its own
 * scenarios. tests/sim/README.md is a tutorial.
 *
 * Everything that is left to chance is a choice. A choice has a name, `site@host#nth`, and a
 * value; 0 is always the dull one: nothing fails, the first of many comes first, the shortest
 * delay. A run is determined by its choices, and the seed draws them; so a failing run is
 * replayed by its seed, and shrunk to the few choices that matter (Zeller, Hildebrandt,
 * "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002).
 *
 * Thread: all functions are called on the thread that called weir_sim_run(), from build(), from
 * hooks and from the code that runs on hosts. One world at a time in a process.
 *
 * Not simulated, and so not found: memory ordering (tests/model/ checks that), congestion
 * control, kTLS, bugs of real kernels and file systems.
 */
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_sim;
struct weir_sim_host;

/* Classes of faults: bits of a mask, names for `--faults`. A seed arms some of those allowed. */
#define WEIR_SIM_BIT(n) (UINT64_C(1) << (n))
#define WEIR_SIM_ORDER		WEIR_SIM_BIT(0) /* order: CQEs shuffled, one op starved */
#define WEIR_SIM_LATE		WEIR_SIM_BIT(1) /* late: inline, late, or very late completion */
#define WEIR_SIM_ENTER		WEIR_SIM_BIT(2) /* enter: short submit, EINTR, EAGAIN, EBUSY */
#define WEIR_SIM_OVERFLOW	WEIR_SIM_BIT(3) /* overflow: a tiny CQ */
#define WEIR_SIM_MULTISHOT	WEIR_SIM_BIT(4) /* multishot: ended early for no reason */
#define WEIR_SIM_CANCEL WEIR_SIM_BIT(5) /* cancel: completes anyway, EALREADY, either order */
#define WEIR_SIM_LINK		WEIR_SIM_BIT(6) /* link: a link timeout that races with the end */
#define WEIR_SIM_SQ_FULL	WEIR_SIM_BIT(7) /* sq-full: a tiny SQ, as if always full */
#define WEIR_SIM_BUFS		WEIR_SIM_BIT(8) /* bufs: ENOBUFS at will, 1-byte receives */
#define WEIR_SIM_NOTIF WEIR_SIM_BIT(9) /* notif: zero-copy notified seconds later, or copied */
#define WEIR_SIM_SCRIBBLE WEIR_SIM_BIT(10) /* scribble: on buffers of failed receives, on SQEs */
#define WEIR_SIM_REUSE WEIR_SIM_BIT(11)	   /* reuse: the last closed descriptor number comes next */
#define WEIR_SIM_OLD		WEIR_SIM_BIT(12) /* old: the kernel is an older one (profile) */
#define WEIR_SIM_WAKE		WEIR_SIM_BIT(13) /* wake: a ring message fails, an eventfd merges */
#define WEIR_SIM_SHORT WEIR_SIM_BIT(14) /* short: sends and receives of part, down to 1 byte */
#define WEIR_SIM_RESET		WEIR_SIM_BIT(15) /* reset: RST, FIN, half-close at any moment */
#define WEIR_SIM_CONNECT	WEIR_SIM_BIT(16) /* connect: refused, timed out; accept: aborted */
#define WEIR_SIM_FDS		WEIR_SIM_BIT(17) /* fds: EMFILE, ENFILE at accept, open, socket */
#define WEIR_SIM_LATENCY	WEIR_SIM_BIT(18) /* latency: exponential delays and jitter */
#define WEIR_SIM_PARTITION WEIR_SIM_BIT(19) /* partition: one-way, two-way, clog; for a while */
#define WEIR_SIM_WINDOW                                                                            \
	WEIR_SIM_BIT(20) /* window: a peer that reads nothing, or a byte a second                  \
			  */
#define WEIR_SIM_DATAGRAM                                                                          \
	WEIR_SIM_BIT(21) /* datagram: loss, duplication, reordering, truncation                    \
			  */
#define WEIR_SIM_HALF_OPEN WEIR_SIM_BIT(22) /* half-open: the peer is gone and nobody says so */
#define WEIR_SIM_FILE_SHORT WEIR_SIM_BIT(23) /* file-short: short reads and writes, EINTR, EAGAIN  \
					      */
#define WEIR_SIM_FILE_ERROR                                                                        \
	WEIR_SIM_BIT(24) /* file-error: EIO, ENOSPC, EROFS, once or for good                       \
			  */
#define WEIR_SIM_FSYNC WEIR_SIM_BIT(25) /* fsync: EIO once, then success with data gone; slow */
#define WEIR_SIM_POWER WEIR_SIM_BIT(26) /* power: unsynced writes kept, lost, torn, garbage */
#define WEIR_SIM_CORRUPT WEIR_SIM_BIT(27)	 /* corrupt: bit rot, stale and misdirected data */
#define WEIR_SIM_SWAP WEIR_SIM_BIT(28) /* swap: a file replaced, truncated between calls */
#define WEIR_SIM_CLOCK WEIR_SIM_BIT(29) /* clock: the wall clock jumps years, timers are late */
#define WEIR_SIM_PAUSE WEIR_SIM_BIT(30)		 /* pause: a core stands still for up to 30 s */
#define WEIR_SIM_KILL WEIR_SIM_BIT(31) /* kill: the process dies, or gets SIGTERM, at any step */
#define WEIR_SIM_MEMORY WEIR_SIM_BIT(32) /* memory: an allocation fails, once or from then on */
#define WEIR_SIM_RANDOM		WEIR_SIM_BIT(33) /* random: random numbers repeat */
#define WEIR_SIM_BUGGIFY	WEIR_SIM_BIT(34) /* buggify: the library's own rare branches */
#define WEIR_SIM_CLASSES	35
#define WEIR_SIM_ALL		((UINT64_C(1) << WEIR_SIM_CLASSES) - 1)

/* Name of a class by its number, as in `--faults`; NULL beyond the last. */
WEIR_API const char *weir_sim_class_name(unsigned number);

/* A mask from "all", "none", or names with commas, "-name" taking away. 0, -EINVAL. */
WEIR_API int weir_sim_classes_parse(const char *text, uint64_t *ret_mask);

struct weir_sim_opts {
	uint64_t seed;
	uint64_t faults;	/* classes that may be armed; a scenario's own mask restricts it */
	bool faults_given;	/* false: faults is what the scenario allows */
	/* "5.15" "6.1" "6.6" "6.12" "6.18"; NULL: drawn when WEIR_SIM_OLD is armed, else 6.18 */
	const char *profile;
	uint64_t steps_max;	/* of the scheduler; default 20 million: more is a live-lock */
	uint64_t stop_at;	/* stop at this choice, by its number; 0: run to the end */
	/* Replay these ("site@host#nth=value", spaces between); all others are 0. */
	const char *choices;
	bool record_choices;	/* report.choices */
	const char *trace;	/* file for a trace that Perfetto opens; NULL: none */
	bool every_class;	/* arm all that is allowed, draw nothing */
};

struct weir_sim_report {
	/*
	 * 0; -EPROTO: an invariant is broken; -ETIME: not over in time; -ELOOP: steps_max; -EINTR:
	 * stopped at stop_at; or what build() returned.
	 */
	int result;
	char failed[96];	/* the invariant's name */
	char message[256];	/* what was seen */
	uint64_t hash;		/* of the trace: equal for equal runs */
	uint64_t steps, choices_made, choices_set, cqes;
	uint64_t faults;	/* classes that were armed */
	uint64_t hits[WEIR_SIM_CLASSES];	/* faults injected, by class */
	int64_t virtual_ns;
	char *choices;		/* with record_choices: those that are not 0; free() */
};

struct weir_sim_scenario {
	const char *name;
	const char *about;	/* one line for --list */
	/* Makes hosts, workloads and invariants. 0, or -errno: the run has failed. */
	int (*build)(struct weir_sim *sim, void *arg);
	void *arg;
	uint64_t faults;	/* that make sense; 0: WEIR_SIM_DEFAULT */
	int64_t faults_ns;	/* so long the world is bad, then it heals; default 20 s */
	int64_t heal_ns;	/* so long what must happen eventually may take; default 120 s */
};

/* Everything but what changes what a service may promise. */
#define WEIR_SIM_DEFAULT                                                                           \
	(WEIR_SIM_ALL & ~(WEIR_SIM_KILL | WEIR_SIM_POWER | WEIR_SIM_CORRUPT | WEIR_SIM_MEMORY |    \
	  WEIR_SIM_SWAP | WEIR_SIM_FSYNC | WEIR_SIM_FILE_ERROR))

/*
 * Builds a world, runs it until every workload has ended or its time is over, and takes it
 * apart. Returns report->result. -EBUSY: a world exists already; -ENOMEM; -EINVAL: opts name
 * an unknown profile or a malformed choice.
 */
WEIR_API int weir_sim_run(const struct weir_sim_scenario *scenario,
			  const struct weir_sim_opts *opts, struct weir_sim_report *ret_report);

/*
 * The command line of `weir sim`, for the scenarios of a NULL-terminated list: runs seeds each in
 * a process of its own, replays, shrinks. argv[0] is the name shown. Returns the exit code: 0;
 * 1, a seed has failed (the command that replays each is printed); 64, wrong usage.
 *
 * To be called first in main(): it runs the program again, once, with addresses that are the
 * same each time. In the process of a run a system call or a clock outside of the simulator
 * ends the run; stdout and stderr are kept and shown when it has failed.
 */
WEIR_API int weir_sim_main(int argc, char **argv,
			   const struct weir_sim_scenario *const *scenarios);

/* --- building a world --- */

struct weir_sim_host_opts {
	unsigned cores;		/* what weir_cpus() says there; default 2 */
	unsigned fds_max;	/* RLIMIT_NOFILE; default 1024 */
	uint64_t disk_size;	/* bytes; default 256 MiB */
	unsigned files_max;	/* on its disk, directories ("/" too) among them; default 65536 */
	bool reliable;		/* no faults of the kernel, disk or process: only the network's */
	bool restarts;		/* main is run again 100 ms after it was killed or terminated */
};

/*
 * A host "name" whose process is main(arg). Its address is 10.0.0.N, N from 1 in the order of
 * creation, and 127.0.0.1; its disk has an empty directory "/". opts may be NULL. Returns the
 * host, which is the world's, or NULL without memory.
 */
WEIR_API struct weir_sim_host *weir_sim_host(struct weir_sim *sim, const char *name,
					     const struct weir_sim_host_opts *opts,
					     int (*main)(void *arg), void *arg);

/*
 * A host that runs body in a coroutine on one core, and is done when it returns: the world
 * ends when all workloads have. Not 0: the run has failed, "workload NAME returned ...".
 */
WEIR_API struct weir_sim_host *weir_sim_workload(struct weir_sim *sim, const char *name,
						 const struct weir_sim_host_opts *opts,
						 int (*body)(void *arg), void *arg);

/* A number for a workload to draw from, below n: from the seed, a choice like others. */
WEIR_API uint32_t weir_sim_choose(const char *site, uint32_t n);

/* The world that runs on this thread, or NULL: this is not a simulation. */
WEIR_API struct weir_sim *weir_sim_world(void);

/* The host whose code runs; NULL in hooks. */
WEIR_API struct weir_sim_host *weir_sim_self(void);
WEIR_API const char *weir_sim_host_name(const struct weir_sim_host *host);
/* Its address in dotted decimal. */
WEIR_API const char *weir_sim_host_address(const struct weir_sim_host *host);
WEIR_API struct weir_sim_host *weir_sim_find(const char *name);

/* Virtual time since the world began. */
WEIR_API int64_t weir_sim_now(const struct weir_sim *sim);
/* The classes of faults that are armed, also after they have healed. */
WEIR_API uint64_t weir_sim_armed(const struct weir_sim *sim);
/* Whether the faults are over. */
WEIR_API bool weir_sim_is_healed(const struct weir_sim *sim);

/* A file in host's disk with these bytes, durable. 0, -ENOMEM, -ENOENT (no such directory). */
WEIR_API int weir_sim_put_file(struct weir_sim_host *host, const char *path, const void *data,
			       size_t size);
/* Reads what is in the page cache, or what a power cut now would surely leave. Bytes, -errno. */
WEIR_API int64_t weir_sim_get_file(struct weir_sim_host *host, const char *path, void *data,
				   size_t size, bool durable);
/* A durable directory. 0, -ENOMEM, -EEXIST, -ENOENT. */
WEIR_API int weir_sim_put_dir(struct weir_sim_host *host, const char *path);

/* --- what must hold --- */

/* Looked at after every step. NULL: it holds; else what was seen. */
WEIR_API int weir_sim_always(struct weir_sim *sim, const char *name,
			     const char *(*look)(void *arg), void *arg);
/* Must hold once, after the faults have healed, before the world ends. */
WEIR_API int weir_sim_eventually(struct weir_sim *sim, const char *name,
				 const char *(*look)(void *arg), void *arg);
/* Must hold when all is over. */
WEIR_API int weir_sim_finally(struct weir_sim *sim, const char *name,
			      const char *(*look)(void *arg), void *arg);

/* In code on a host, or in hooks: the run fails unless holds. Outside a world: nothing. */
WEIR_API void weir_sim_check(bool holds, const char *name);
/* The same with what was seen, as printf. */
WEIR_API void weir_sim_checkf(bool holds, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A mark that a campaign of seeds should reach; which were is in the campaign's summary. */
WEIR_API void weir_sim_sometimes(bool holds, const char *name);

/* --- what a scenario does to its hosts --- */

/* kill -9: sockets are closed by the kernel, the page cache stays. */
WEIR_API void weir_sim_kill(struct weir_sim_host *host);
/* The power goes: what was not synced is kept, lost, torn or garbage, each by choice. */
WEIR_API void weir_sim_power_cut(struct weir_sim_host *host);
/* SIGTERM: weir_run() drains. */
WEIR_API void weir_sim_terminate(struct weir_sim_host *host);
/* Runs main again after delay_ns. Only a host that does not run. */
WEIR_API void weir_sim_restart(struct weir_sim_host *host, int64_t delay_ns);
WEIR_API bool weir_sim_is_running(const struct weir_sim_host *host);
/* All its cores stand still for ns. */
WEIR_API void weir_sim_pause(struct weir_sim_host *host, int64_t ns);
/* Its wall clock jumps. */
WEIR_API void weir_sim_jump_clock(struct weir_sim_host *host, int64_t ns);
/* Nothing passes from a to b (both ways: twice) until healed; NULL: any. */
WEIR_API void weir_sim_partition(struct weir_sim_host *a, struct weir_sim_host *b, bool cut);
/* Of the way from a to b: each packet takes latency_ns plus up to jitter_ns. */
WEIR_API void weir_sim_link(struct weir_sim_host *a, struct weir_sim_host *b, int64_t latency_ns,
			    int64_t jitter_ns);
/* How often class strikes where it can, in millionths; what the seed drew otherwise. */
WEIR_API void weir_sim_rate(struct weir_sim *sim, uint64_t one_class, unsigned ppm);
/* run(arg) after delay_ns, outside of any host. */
WEIR_API int weir_sim_at(struct weir_sim *sim, int64_t delay_ns, void (*run)(void *arg),
			 void *arg);

#ifdef __cplusplus
}
#endif

#endif
