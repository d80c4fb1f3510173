/* SPDX-License-Identifier: MIT */
/*
 * stack.c - the pool of stacks drawn in stack.h: the mapping, the guards, and the slow
 * halves of taking and giving back.
 *
 * Rejected: a mapping for each stack (two mappings each, and a system call to make and to
 * drop); stacks from the heap (no guard); filling stacks with a pattern to measure them (it
 * touches every page, which is what is to be saved).
 */
#include "core/stack.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/ensure.h"
#include "core/world.h"

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id) (void)(id)
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

#define GUARD_SIZE ((size_t)16 << 10)	/* a frame larger than it may jump over it */
#define COUNT_LEAST 16			/* stacks without which there is no point */
#define MAPS_MAX_DEFAULT 65530		/* the kernel's */
#define PAGES_AT_ONCE 256
#define TSAN_COUNT_MAX 2000		/* of its 8,128 threads and fibers in a process */

/* What guards of all workers took of vm.max_map_count; bounded by maps_budget(). */
static atomic_uint maps_claimed;

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t round_up(size_t size, size_t unit)
{
	return (size + unit - 1) / unit * unit;
}

/* --- what the kernel allows --- */

static unsigned maps_max_read(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	unsigned long count;

	if (fd < 0)
		return MAPS_MAX_DEFAULT;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	count = n > 0 ? strtoul(text, NULL, 10) : 0;
	return count && count < INT32_MAX ? (unsigned)count : MAPS_MAX_DEFAULT;
}

static unsigned maps_used(void)
{
	char text[4096];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	unsigned count = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			count += text[i] == '\n';
	close(fd);
	return count;
}

/* Mappings that guards may take; an eighth is left to the rest of the process. */
static unsigned maps_budget(void)
{
	unsigned max = weir__world ? MAPS_MAX_DEFAULT : maps_max_read();
	unsigned kept = max / 8 + (weir__world ? 0 : maps_used());

	return max > kept ? max - kept : 0;
}

static void limit(struct weir_stacks *stacks, unsigned count, const char *why)
{
	if (count >= stacks->count_max)
		return;
	snprintf(stacks->limit_note, sizeof(stacks->limit_note),
		 "%u coroutines a core instead of %u: %s", count, stacks->count_max, why);
	stacks->count_max = count;
}

/* --- life --- */

static int map(struct weir_stacks *stacks)
{
	size_t list_size;

	for (;;) {
		list_size = round_up(stacks->count_max * sizeof(*stacks->free), page_size());
		stacks->map_size = list_size + stacks->count_max * stacks->stride;
		stacks->map = mmap(NULL, stacks->map_size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
		if (stacks->map != MAP_FAILED)
			break;
		stacks->map = NULL;
		if (stacks->count_max <= COUNT_LEAST)
			return -ENOMEM;
		limit(stacks, stacks->count_max / 2,
		      "no address space: raise RLIMIT_AS, or set vm.overcommit_memory to 0 or 1");
	}
	stacks->free = (uint32_t *)(void *)stacks->map;
	stacks->stacks = stacks->map + list_size;
	/* A huge page would give every stack 2 MiB; -EINVAL where there are none. */
	madvise(stacks->map, stacks->map_size, MADV_NOHUGEPAGE);
	return 0;
}

/* Tries the guard of the first stack; it is made again when that stack is. */
static void choose_guard(struct weir_stacks *stacks, const struct weir_stacks_opts *opts)
{
	unsigned budget;

	if (!opts->mprotect_guards &&
	    !madvise(stacks->stacks, stacks->guard_size, MADV_GUARD_INSTALL))
		return;
	stacks->mprotect_guards = true;
	budget = maps_budget();
	stacks->maps_max = opts->maps_max && opts->maps_max < budget ? opts->maps_max : budget;
	limit(stacks, stacks->maps_max / 2,
	      "each guard takes 2 mappings: raise vm.max_map_count, or use Linux 6.13");
}

static int init_notes(struct weir_stacks *stacks)
{
#ifdef WEIR__TSAN
	limit(stacks, TSAN_COUNT_MAX, "ThreadSanitizer counts fibers as threads");
	stacks->notes_count = stacks->count_max;
	stacks->fibers = weir__calloc(stacks->notes_count, sizeof(*stacks->fibers));
	if (!stacks->fibers)
		return -ENOMEM;
#endif
	if (!RUNNING_ON_VALGRIND)
		return 0;
	stacks->notes_count = stacks->count_max;
	stacks->valgrind_ids = weir__calloc(stacks->notes_count, sizeof(*stacks->valgrind_ids));
	return stacks->valgrind_ids ? 0 : -ENOMEM;
}

int weir__stacks_init(struct weir_stacks *stacks, const struct weir_stacks_opts *opts)
{
	int r;

	*stacks = (struct weir_stacks){ 0 };
	if (!opts->count_max || opts->count_max > WEIR__STACKS_MAX ||
	    opts->stack_size < WEIR__STACK_SIZE_MIN || opts->stack_size > WEIR__STACK_SIZE_MAX)
		return -EINVAL;
	stacks->count_max = opts->count_max;
	stacks->stack_size = round_up(opts->stack_size, page_size());
	stacks->guard_size = round_up(GUARD_SIZE, page_size());
	stacks->stride = stacks->guard_size + stacks->stack_size;
	stacks->warm_count = opts->warm_count;
	r = map(stacks);
	if (r == 0) {
		choose_guard(stacks, opts);
		r = stacks->count_max ? init_notes(stacks) : -ENOMEM;
	}
	if (r < 0)
		weir__stacks_fini(stacks);
	return r;
}

static void drop_notes(struct weir_stacks *stacks)
{
	uint32_t i;

	for (i = 0; i < stacks->carved; i++) {
#ifdef WEIR__TSAN
		__tsan_destroy_fiber(stacks->fibers[i]);
#endif
		if (stacks->valgrind_ids)
			VALGRIND_STACK_DEREGISTER(stacks->valgrind_ids[i]);
	}
	weir__free(stacks->fibers, stacks->notes_count * sizeof(*stacks->fibers));
	weir__free(stacks->valgrind_ids, stacks->notes_count * sizeof(*stacks->valgrind_ids));
}

void weir__stacks_fini(struct weir_stacks *stacks)
{
	drop_notes(stacks);
	if (stacks->map) {
		weir__notes_unpoison(stacks->stacks, stacks->carved * stacks->stride);
		munmap(stacks->map, stacks->map_size);
	}
	atomic_fetch_sub(&maps_claimed, stacks->maps_claimed);
	*stacks = (struct weir_stacks){ 0 };
}

/* --- stacks --- */

/* Two mappings of what all workers share. */
static bool claim_maps(struct weir_stacks *stacks)
{
	if (atomic_fetch_add(&maps_claimed, 2) + 2 > stacks->maps_max) {
		atomic_fetch_sub(&maps_claimed, 2);
		return false;
	}
	stacks->maps_claimed += 2;
	return true;
}

static int guard(struct weir_stacks *stacks, char *low)
{
	if (!stacks->mprotect_guards)
		return madvise(low, stacks->guard_size, MADV_GUARD_INSTALL) ? -ENOMEM : 0;
	if (claim_maps(stacks) && !mprotect(low, stacks->guard_size, PROT_NONE))
		return 0;
	limit(stacks, stacks->carved,
	      "the cores' guards took all mappings: raise vm.max_map_count, or use Linux 6.13");
	return -ENOBUFS;
}

int weir__stacks_carve(struct weir_stacks *stacks, uint32_t *ret_index)
{
	uint32_t index = stacks->carved;
	char *low;
	int r;

	if (index == stacks->count_max)
		return -ENOBUFS;
	low = weir__stack_low(stacks, index);
	r = guard(stacks, low - stacks->guard_size);
	if (r < 0)
		return r;
#ifdef WEIR__TSAN
	stacks->fibers[index] = __tsan_create_fiber(0);
#endif
	if (stacks->valgrind_ids)
		stacks->valgrind_ids[index] =
			VALGRIND_STACK_REGISTER(low, low + stacks->stack_size);
	stacks->carved++;
	*ret_index = index;
	return 0;
}

unsigned weir__stacks_trim(struct weir_stacks *stacks, unsigned count_max)
{
	unsigned end = stacks->free_low;
	unsigned count = 0;

	weir_assert(stacks->cold_count <= end && end <= stacks->free_count);
	if (stacks->free_count < stacks->warm_count + end)
		end = stacks->free_count > stacks->warm_count
			      ? stacks->free_count - stacks->warm_count
			      : 0;
	while (count < count_max && stacks->cold_count < end) {
		uint32_t index = stacks->free[stacks->cold_count++];
		size_t high = weir__stack_high(stacks, index);

		if (high > stacks->high)
			stacks->high = high;
		madvise(weir__stack_low(stacks, index), stacks->stack_size, MADV_DONTNEED);
		count++;
	}
	weir__stacks_mark(stacks);
	return count;
}

/* --- measuring --- */

size_t weir__stack_high(const struct weir_stacks *stacks, uint32_t index)
{
	unsigned char pages[PAGES_AT_ONCE];
	char *low = weir__stack_low(stacks, index);
	char *top = low + stacks->stack_size;
	size_t page = page_size();

	for (; low < top; low += sizeof(pages) * page) {
		size_t left = (size_t)(top - low) / page;
		size_t count = left < sizeof(pages) ? left : sizeof(pages);

		if (mincore(low, count * page, pages))
			return 0;
		for (size_t i = 0; i < count; i++)
			if (pages[i] & 1)
				return (size_t)(top - low) - i * page;
	}
	return 0;
}

size_t weir__stacks_high(const struct weir_stacks *stacks)
{
	size_t max = stacks->high;
	uint32_t i;

	for (i = 0; i < stacks->carved; i++) {
		size_t high = weir__stack_high(stacks, i);

		if (high > max)
			max = high;
	}
	return max;
}

bool weir__stacks_find_guard(const struct weir_stacks *stacks, const void *addr,
			     uint32_t *ret_index)
{
	size_t offset = (uintptr_t)addr - (uintptr_t)stacks->stacks;

	if (!stacks->stacks || (uintptr_t)addr < (uintptr_t)stacks->stacks ||
	    offset >= stacks->carved * stacks->stride ||
	    offset % stacks->stride >= stacks->guard_size)
		return false;
	*ret_index = (uint32_t)(offset / stacks->stride);
	return true;
}
