/* SPDX-License-Identifier: MIT */
/*
 * stack.h - a worker's stacks: guarded, reused, given back when idle, measured.
 *
 * One mapping holds them all, so that 40,000 guarded stacks are one mapping and not 80,000
 * (the kernel allows a process 65,530 of them: srs#509). It reserves addresses, not memory:
 *
 *	| free list | guard | stack 0 | guard | stack 1 | guard | stack 2 | ...
 *
 * A guard is made when its stack is first used: MADV_GUARD_INSTALL since Linux 6.13, which
 * leaves the mapping whole; before that mprotect(), which splits it, so there are then no more
 * stacks than vm.max_map_count allows, and limit_note says so.
 *
 * Free stacks are a LIFO list of indices. The one put last is warm in the caches; those at
 * the bottom were idle longest, and their pages go back to the kernel:
 *
 *	free[0 .. cold_count)		without pages
 *	free[.. free_low)		idle since the last weir__stacks_trim()
 *	free[.. free_count)		free
 *
 * Invariant: cold_count <= free_low <= free_count <= carved <= count_max.
 */
#ifndef WEIR_CORE_STACK_H
#define WEIR_CORE_STACK_H

#include "core/annotate.h"
#include "core/weir_core.h"

#define WEIR__STACK_SIZE_MIN ((size_t)16 << 10)
#define WEIR__STACK_SIZE_MAX ((size_t)64 << 20)
#define WEIR__STACKS_MAX (1u << 24)

struct weir_stacks_opts {
	unsigned count_max;	/* 1 to WEIR__STACKS_MAX */
	size_t stack_size;	/* bytes, rounded up to pages */
	unsigned warm_count;	/* free stacks that keep their pages */
	bool mprotect_guards;	/* as on a kernel before 6.13 */
	unsigned maps_max;	/* mappings for such guards; 0: from vm.max_map_count */
};

/* The members are read only. */
struct weir_stacks {
	char *stacks;		/* the first guard */
	size_t stride;		/* guard and stack */
	size_t guard_size;
	size_t stack_size;
	uint32_t *free;
	unsigned free_count;
	unsigned free_low;
	unsigned cold_count;
	unsigned carved;	/* stacks that were ever used */
	unsigned count_max;	/* what there is; at most what was asked for */
	unsigned warm_count;
	bool mprotect_guards;
	size_t high;		/* of the stacks whose pages went back; weir__stacks_high() */
	char *map;
	size_t map_size;
	unsigned maps_claimed;	/* of vm.max_map_count, by guards that split the mapping */
	unsigned maps_max;
	char limit_note[192];	/* why count_max is less than asked for, with the remedy; else "" */
	unsigned notes_count;
	void **fibers;		/* ThreadSanitizer's, one for each stack */
	unsigned *valgrind_ids;	/* NULL outside of valgrind */
};

/* Returns 0, -EINVAL, or -ENOMEM when there are no addresses for a few stacks. */
int weir__stacks_init(struct weir_stacks *stacks, const struct weir_stacks_opts *opts);

/* Whatever runs on the stacks is gone. Also after a failed init. */
void weir__stacks_fini(struct weir_stacks *stacks);

/* A stack's lowest byte, above its guard; stack_size bytes begin there. */
static inline char *weir__stack_low(const struct weir_stacks *stacks, uint32_t index)
{
	return stacks->stacks + index * stacks->stride + stacks->guard_size;
}

/* The slow half of get: makes a stack that was never used. */
int weir__stacks_carve(struct weir_stacks *stacks, uint32_t *ret_index);

/* Takes a stack. Returns 0, -ENOBUFS when count_max are in use, -ENOMEM. */
static inline int weir__stacks_get(struct weir_stacks *stacks, uint32_t *ret_index)
{
	if (!stacks->free_count)
		return weir__stacks_carve(stacks, ret_index);
	*ret_index = stacks->free[--stacks->free_count];
	if (stacks->free_count < stacks->free_low) {
		stacks->free_low = stacks->free_count;
		if (stacks->cold_count > stacks->free_count)
			stacks->cold_count = stacks->free_count;
	}
	weir__notes_unpoison(weir__stack_low(stacks, *ret_index), stacks->stack_size);
	return 0;
}

/* Gives a stack back that nothing runs on. */
static inline void weir__stacks_put(struct weir_stacks *stacks, uint32_t index)
{
	weir__notes_poison(weir__stack_low(stacks, index), stacks->stack_size);
	stacks->free[stacks->free_count++] = index;
}

/* Whether more free stacks have their pages than are to be kept warm. */
static inline bool weir__stacks_is_trimmable(const struct weir_stacks *stacks)
{
	return stacks->free_count - stacks->cold_count > stacks->warm_count;
}

/*
 * Gives back the pages of up to count_max free stacks that were idle since the last call,
 * except of the warm_count uppermost: about 2 us each. Returns how many.
 */
unsigned weir__stacks_trim(struct weir_stacks *stacks, unsigned count_max);

/* Begins a period of idling, as weir__stacks_trim() does at its end. */
static inline void weir__stacks_mark(struct weir_stacks *stacks)
{
	stacks->free_low = stacks->free_count;
}

/*
 * How much of a stack has ever been touched since its pages last went back: whole pages, as
 * the kernel counts them, without touching any. What was swapped out is missing. One
 * system call; 0 where it does not work.
 */
size_t weir__stack_high(const struct weir_stacks *stacks, uint32_t index);

/* The most of any stack, ever. Walks the stacks: for dumps. */
size_t weir__stacks_high(const struct weir_stacks *stacks);

/* Whether addr is in a guard, and whose. Safe in a signal handler. */
bool weir__stacks_find_guard(const struct weir_stacks *stacks, const void *addr,
			     uint32_t *ret_index);

#endif
