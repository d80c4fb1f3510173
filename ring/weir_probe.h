/* SPDX-License-Identifier: MIT */
/*
 * weir_probe.h - what this host offers weir, item by item, with the remedy for each
 * refusal. `weir doctor` prints it; a service may ask before it starts.
 *
 * Nothing is concluded from a version number: each item was tried.
 */
#ifndef WEIR_PROBE_H
#define WEIR_PROBE_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_probe_kind {
	WEIR_PROBE_HOST,	/* kernel, sysctl, seccomp, cgroup, CPUs */
	WEIR_PROBE_LIMIT,	/* a resource limit */
	WEIR_PROBE_SETUP,	/* a flag of ring set-up */
	WEIR_PROBE_FEATURE,	/* something the ring can do besides operations */
	WEIR_PROBE_OPCODE	/* an operation */
};

enum weir_probe_state {
	WEIR_PROBE_OK,
	WEIR_PROBE_MISSING,	/* weir works without it, slower or with less */
	WEIR_PROBE_REFUSED	/* weir cannot use io_uring here: it runs on the poll kernel */
};

struct weir_probe_item {
	enum weir_probe_kind kind;
	enum weir_probe_state state;
	const char *name;	/* "DEFER_TASKRUN" */
	const char *since;	/* kernel version that brought it, or "" */
	const char *value;	/* what was found: "yes", "no: EPERM", "20000" */
	const char *remedy;	/* what to do when the state is not OK, else "" */
};

/*
 * Tries everything and calls visit for each item, until it returns non-zero (which is
 * returned). Strings live during the call. Makes and closes a ring of its own. Any thread.
 * Returns 0 when weir can use io_uring here, -ENOSYS when it cannot (an item is REFUSED) and
 * weir_run() chooses the poll kernel, unless told otherwise.
 */
WEIR_API int weir_probe(int (*visit)(const struct weir_probe_item *item, void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
