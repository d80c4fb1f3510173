/* SPDX-License-Identifier: MIT */
/*
 * weir_run.h - start a service on every core, and end it.
 *
 * weir_run() starts one worker per CPU the process may use, pins each to its CPU, and
 * runs the service function in a coroutine on each. It returns when every coroutine on
 * every core has ended: by itself, or because the service was drained.
 *
 *	running --SIGTERM, SIGINT or weir_drain()--> draining: listeners stop accepting,
 *		connections finish what they have begun
 *	draining --everything ended--> weir_run() returns
 *	draining --drain_ns passed, or a second signal--> every coroutine is cancelled
 */
#ifndef WEIR_RUN_H
#define WEIR_RUN_H

#include "weir_core.h"
#include "weir_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero means the default for every member. */
struct weir_opts {
	unsigned cores; /* workers; default and maximum: the CPUs that affinity and the cgroup's
			 * quota (rounded up) allow */
	const char *kernel; /* "uring", "poll" or "auto": io_uring, and where the host refuses it
			     * poll, which does the same with epoll and threads; default: the
			     * environment's WEIR_KERNEL, or "auto" */
	unsigned depth;		/* transient slots of each ring, i.e. operations in flight per core;
				 * default 4096, 16..32768, rounded up to a power of two */
	unsigned conns_max; /* connections per core; default 16384 or what RLIMIT_NOFILE leaves */
	unsigned bufs;		/* receive buffers per core; default 2048, power of two <= 32768 */
	unsigned buf_size;	/* bytes of each; default 4096 */
	unsigned coros_max;	/* coroutines per core; default 65536 */
	unsigned futures_max;	/* futures and promises per core; default 1048576 */
	size_t stack_size; /* bytes of each stack; default 64 KiB, >= 16 KiB, rounded up to pages */
	unsigned
		mesh_depth; /* messages in the ring between two cores; default 4096, power of two */
	int64_t spin_ns; /* longest adaptive spin before a worker sleeps; default 50 us; negative:
			    never */
	int64_t drain_ns;	/* grace of a drain; default 10 s */
	int64_t stall_ns; /* a task that runs longer is reported; default 100 ms; negative: never */
	bool no_pin;		/* leave the workers where the kernel puts them */
	bool no_signals;	/* leave SIGTERM, SIGINT and SIGUSR1 alone */
	void (*on_stall)(const struct weir_stall *stall, void *arg); /* on the watchdog's thread */
	void (*on_dump)(void *arg);	/* SIGUSR1: called on each core in turn, as a task */
	void *arg;		/* for the hooks */
};

/* The kernel interface that serves, and why it was chosen. */
struct weir_kernel_info {
	const char *name;	/* "uring" or "poll" */
	char reason[160];	/* "asked for", "io_uring serves", or what refuses io_uring */
	const char *remedy;	/* how io_uring would be allowed, or "" */
};

/*
 * What weir_run() would choose for opts.kernel (NULL: as there) on this host, found by trying: it
 * makes a small ring and closes it. A service that runs reads its own choice in weir_ring_info().
 * Fills *ret_info, also on failure. Any thread. Returns 0, -EINVAL (no such kernel: *ret_info is
 * not filled), or what "uring" is refused with: -EPERM, -EACCES, -ENOSYS, or a lack that may pass:
 * -ENOMEM, -EMFILE, -ENFILE.
 */
WEIR_API int weir_kernel_info(const char *kernel, struct weir_kernel_info *ret_info);

/* Runs once on each core, in a coroutine called "service". Non-zero stops every core. */
typedef int (*weir_service_fn)(void *arg);

/*
 * Runs service(arg) on every core until all has ended. opts may be NULL. Blocks; call it
 * from a thread that is no worker. One runtime at a time when signals are handled.
 * Returns 0, the first non-zero result of a service function; what the kernel refused to go on with
 * (a seccomp filter that came later: -EPERM; then the memory that operations in flight may use is
 * never given back); or before anything was started: -EINVAL (an option is out of range), -ENOMEM,
 * -EMFILE, -EBUSY; where opts.kernel is "uring" also what refuses it: -ENOSYS, -EPERM, -EACCES
 * (weir_kernel_info() and `weir doctor` name the remedy).
 */
WEIR_API int weir_run(const struct weir_opts *opts, weir_service_fn service, void *arg);

/*
 * Fills what NULL or zero options become on this machine. Returns 0, or -EINVAL with *ret_why (may
 * be NULL) naming the option and its range.
 */
WEIR_API int weir_opts_resolve(struct weir_opts *opts, const char **ret_why);

#ifdef __cplusplus
}
#endif

#endif
