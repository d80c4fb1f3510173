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
	bool cancelled;
	bool detached;
	bool ended;
	uint8_t locals_set;		/* bit n: locals[n] has a value */
	struct weir_wait *joiner;	/* who waits for its end */
	const char *name;
	weir_coro_fn fn;

	void *arg;
	int res;			/* what fn returned */
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

/* Frees an ended coroutine. Nothing runs on its stack. */
void weir__coro_free(struct weir_coro *coro);

/*
 * Reports a stack overflow by its coroutine's name; see overflow.c. Once for each
 * thread that runs coroutines; more often does nothing. Returns 0 or -ENOMEM.
 */
int weir__overflow_watch(void);

#endif
