/* SPDX-License-Identifier: MIT */
/*
 * coro.h - a coroutine and a worker's coroutines, as the library itself sees them.
 *
 * A coroutine's struct is the top of its own stack, so that one which waits has touched
 * one page, and nothing but the pool allocates. Where it stands:
 *
 *	running		coros->current == coro
 *	ready		its task is queued in the worker's run queue
 *	waiting		coro->wait is the wait it is parked in (waiting.h)
 *	ended		fn has returned; kept until it is joined or detached
 *
 * All of them, ended ones included, are in coros->all, oldest first.
 */
#ifndef WEIR_CORE_CORO_H
#define WEIR_CORE_CORO_H

#include "core/annotate.h"
#include "core/queue.h"
#include "core/stack.h"
#include "core/switch.h"
#include "core/weir_coro.h"
#include "core/weir_task.h"

struct weir_wait;
struct weir_worker;

/*
 * Coroutines that belong together, for scopes (futures/scope.c). owner opened it; groups that it
 * has open nest. Who is cancelled when: core/group.c. It waits for nothing and frees nothing.
 */
struct weir_group {
	struct weir_group *outer;	/* owner's others, NULL at the ends */
	struct weir_group *inner;
	struct weir_coro *owner;
	struct weir_node children;	/* weir_coro.sibling, oldest first */
	bool cancelled;
	bool shielded;			/* what is outside of it does not cancel owner */
	void (*ended)(struct weir_group *group, struct weir_coro *child);
	void (*abandoned)(struct weir_group *group);	/* owner's fn returned: closes it, waits */
};

struct weir_coro_local {
	void *value;
	void (*drop)(void *value);
};

struct weir_coro {
	/* Touched by every switch. */
	struct weir_context_root root;	/* the stack grows down from here */
	struct weir_context context;	/* where it continues */
	struct weir_task task;

	/* And by every wait. */
	struct weir_wait *wait;		/* parked in it, or NULL */
	struct weir_worker *worker;
	int64_t deadline_ns;
	int64_t since_ns;		/* when it entered its state */
	unsigned shields;
	bool cancelled;			/* its waiting calls say so */
	bool asked;			/* by weir_coro_cancel() */
	bool detached;
	bool ended;
	uint8_t locals_set;		/* bit n: locals[n] has a value */
	struct weir_wait *joiner;	/* who waits for its end */
	const char *name;
	weir_coro_fn fn;

	void *arg;
	struct weir_group *group;	/* it is a child of, or NULL */
	struct weir_group *groups;	/* it has open: the innermost, or NULL */
	struct weir_node sibling;	/* group->children */
	int res;			/* what fn returned */
	uint64_t number;		/* from 1, never used twice on this worker */
	uint32_t index;			/* of its stack */
	struct weir_node node;		/* coros->all */
	struct weir_coro_local locals[WEIR_CORO_LOCALS]; /* where locals_set says so */
	struct weir_notes notes;
} __attribute__((aligned(64)));

/* Zero means the default for every member. */
struct weir_coros_opts {
	unsigned coros_max;	/* alive at once, joinable ended ones included; default 65,536 */
	size_t stack_size;	/* bytes, 16 KiB to 64 MiB, rounded up to pages; default 64 KiB */
	unsigned stacks_warm;	/* free stacks that keep their memory; default 256 */
	bool mprotect_guards;	/* guards as on a kernel before 6.13: for tests */
	unsigned maps_max;	/* mappings such guards may take; default: the kernel's limit */
};

struct weir_coros {
	struct weir_coro *current;	/* NULL: the worker's loop runs */
	struct weir_coro *dead;		/* ended and detached; its stack is free after the switch */
	struct weir_context loop;	/* where the worker's loop continues */
	struct weir_node all;
	unsigned count;
	unsigned count_high;
	uint64_t spawned;
	bool trimming;			/* trim is armed */
	struct weir_timer trim;
	struct weir_stacks stacks;	/* stacks.count_max is the bound, stacks.limit_note why */
	struct weir_notes loop_notes;
};

/* Part of a worker, on its thread. Returns 0, -EINVAL (stack_size, coros_max) or -ENOMEM. */
int weir__coros_init(struct weir_coros *coros, const struct weir_coros_opts *opts);

/* Coroutines that have not ended are abandoned where they wait. weir__self is their worker. */
void weir__coros_fini(struct weir_coros *coros);

/* Cancels every coroutine. */
void weir__coros_cancel_all(struct weir_coros *coros);

/*
 * The running coroutine's name; NULL when none runs on this thread. Safe in a signal
 * handler.
 */
const char *weir__coros_current_name(void);

/* The run function of a coroutine's task: switches to it until it waits. */
void weir__coro_run(struct weir_task *task);

/* As in struct weir_coro_info. */
const char *weir__coro_state(const struct weir_coro *coro);

/* Frees an ended coroutine. Nothing runs on its stack. */
void weir__coro_free(struct weir_coro *coro);

/* --- group.c --- */

/* The running coroutine opens group inside those it has open. The rest of group is set. */
void weir__group_open(struct weir_group *group);

/* It is the innermost, and has no children. */
void weir__group_close(struct weir_group *group);

/* coro, just spawned, becomes the youngest child: cancelled, when owner would be in group. */
void weir__group_add(struct weir_group *group, struct weir_coro *coro);

/* Cancels the children, and owner until it closes group. */
void weir__group_cancel(struct weir_group *group);

/* Brings coro->cancelled up to date with who asked. */
void weir__coro_ask(struct weir_coro *coro);

/* coro's fn has returned: whose child it is learns of it, what it has open is closed. May wait. */
void weir__groups_abandon(struct weir_coro *coro);

/*
 * Reports a stack overflow by its coroutine's name; see overflow.c. Once for each
 * thread that runs coroutines; more often does nothing. Returns 0 or -ENOMEM.
 */
int weir__overflow_watch(void);

#endif
