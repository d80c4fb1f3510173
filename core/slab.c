/* SPDX-License-Identifier: MIT */
/*
 * slab.c - objects of one size, for one worker; alloc.h has the interface.
 *
 * A chunk is aligned to its size, a power of two, so an object finds its chunk by a mask
 * and trim needs no search. Get and put do not use that: they touch the object and the slab
 * only, and a new chunk's objects are handed out one after the other, not linked first, so
 * memory that is never used is never touched.
 *
 * Rejected: counting per chunk at each put, to free a chunk the moment it is empty. It costs
 * a cache line per put, and gives memory back that is wanted again in the next burst.
 */
#include "core/alloc.h"

#include <assert.h>

#include <string.h>

#include "core/ensure.h"
#include "core/worker.h"

#define LINE_SIZE 64
#define OBJECT_SIZE_MAX (16u << 20)
#define CHUNK_SIZE (64u << 10) /* at least; larger when fewer than CHUNK_OBJECTS fit */
#define CHUNK_OBJECTS 8

#ifdef WEIR__SLAB_ASAN
#include <sanitizer/asan_interface.h>
#define poison(ptr, size) __asan_poison_memory_region(ptr, size)
#define unpoison(ptr, size) __asan_unpoison_memory_region(ptr, size)
#else
#define poison(ptr, size) ((void)(ptr), (void)(size))
#define unpoison(ptr, size) ((void)(ptr), (void)(size))
#endif

/* At the start of a chunk; the objects begin LINE_SIZE behind it. */
struct weir_slab_chunk {
	struct weir_slab_chunk *next;
	size_t unused; /* during a trim: objects that are not in use */
};

static_assert(sizeof(struct weir_slab_chunk) <= LINE_SIZE, "the objects begin there");

static size_t objects_per_chunk(const struct weir_slab *slab)
{
	return (slab->chunk_size - LINE_SIZE) / slab->stride;
}

static struct weir_slab_chunk *chunk_of(const struct weir_slab *slab, void *object)
{
	return (void *)((char *)object - ((uintptr_t)object & (slab->chunk_size - 1)));
}

static void slab_check(const struct weir_slab *slab)
{
	weir_assert(slab->in_use <= slab->high && slab->high <= slab->count_max);
	weir_assert(!slab->chunks == !slab->chunk_count);
	weir_assert(slab->fresh <= slab->fresh_end);
}

/* The worker that gets the first object is home: no other may get or put. */
static void home_check(struct weir_slab *slab)
{
#ifdef WEIR_DEBUG
	if (!slab->home)
		slab->home = weir__self;
	weir_assert(slab->home == weir__self);
#else
	(void)slab;
#endif
}

int weir__slab_init(struct weir_slab *slab, size_t object_size, size_t count_max)
{
	size_t wanted, count = CHUNK_OBJECTS;

	weir_precond(object_size && object_size <= OBJECT_SIZE_MAX && count_max, -EINVAL);
	memset(slab, 0, sizeof(*slab));
	slab->object_size = object_size < sizeof(void *) ? sizeof(void *) : object_size;
	slab->stride = (object_size + LINE_SIZE - 1) & ~(size_t)(LINE_SIZE - 1);
	slab->count_max = count_max;

	if (count * slab->stride < CHUNK_SIZE - LINE_SIZE)
		count = (CHUNK_SIZE - LINE_SIZE) / slab->stride;
	if (count > count_max)
		count = count_max;
	wanted = LINE_SIZE + count * slab->stride;
	slab->chunk_size = LINE_SIZE;
	while (slab->chunk_size < wanted)
		slab->chunk_size *= 2;
	return 0;
}

static void chunk_free(struct weir_slab *slab, struct weir_slab_chunk *chunk)
{
	unpoison(chunk, slab->chunk_size);
	weir__free(chunk, slab->chunk_size);
	slab->chunk_count--;
}

void weir__slab_fini(struct weir_slab *slab)
{
	struct weir_slab_chunk *chunk;

	weir_assert(!slab->in_use);
	while ((chunk = slab->chunks)) {
		slab->chunks = chunk->next;
		chunk_free(slab, chunk);
	}
	weir_assert(!slab->chunk_count);
	slab->free = NULL;
	slab->fresh = NULL;
	slab->fresh_end = NULL;
}

/* A new chunk. Everything is in use, so no part of an older one is fresh. */
static bool grow(struct weir_slab *slab)
{
	struct weir_slab_chunk *chunk = weir__alloc_aligned(slab->chunk_size, slab->chunk_size);

	if (!chunk)
		return false;
	weir_assert(chunk_of(slab, chunk) == chunk);
	chunk->next = slab->chunks;
	slab->chunks = chunk;
	slab->chunk_count++;
	slab->fresh = (char *)chunk + LINE_SIZE;
	slab->fresh_end = slab->fresh + objects_per_chunk(slab) * slab->stride;
	poison(slab->fresh, slab->chunk_size - LINE_SIZE);
	return true;
}

static void *take_fresh(struct weir_slab *slab)
{
	void *object = slab->fresh;

	slab->fresh += slab->stride;
	unpoison(object, slab->object_size);
	return object;
}

static void *take_free(struct weir_slab *slab)
{
	void *object = slab->free;

	unpoison(object, slab->object_size);
	memcpy(&slab->free, object, sizeof(slab->free));
	return object;
}

void *weir__slab_get(struct weir_slab *slab)
{
	void *object;

	home_check(slab);
	if (weir_unlikely(slab->in_use == slab->count_max))
		goto refused;
	if (weir_likely(slab->free))
		object = take_free(slab);
	else if (slab->fresh != slab->fresh_end || grow(slab))
		object = take_fresh(slab);
	else
		goto refused;
	if (++slab->in_use > slab->high)
		slab->high = slab->in_use;
	return object;

refused:
	slab->refused++;
	return NULL;
}

void weir__slab_put(struct weir_slab *slab, void *object)
{
	home_check(slab);
	weir_assert(slab->in_use);
	slab->in_use--;
	memcpy(object, &slab->free, sizeof(slab->free));
	slab->free = object;
	poison(object, slab->stride);
}

/* What comes after object on the free list. */
static void *free_next(const struct weir_slab *slab, void *object)
{
	void *next;

	unpoison(object, sizeof(next));
	memcpy(&next, object, sizeof(next));
	poison(object, slab->stride);
	return next;
}

static void free_link(const struct weir_slab *slab, void *object, void *next)
{
	unpoison(object, sizeof(next));
	memcpy(object, &next, sizeof(next));
	poison(object, slab->stride);
}

/* Counts the unused objects of each chunk. */
static void trim_count(struct weir_slab *slab)
{
	struct weir_slab_chunk *chunk;
	void *object;

	for (chunk = slab->chunks; chunk; chunk = chunk->next)
		chunk->unused = 0;
	for (object = slab->free; object; object = free_next(slab, object))
		chunk_of(slab, object)->unused++;
	if (slab->fresh != slab->fresh_end)
		slab->chunks->unused += (size_t)(slab->fresh_end - slab->fresh) / slab->stride;
}

/* Drops the objects of empty chunks from the free list; the others keep their order. */
static void trim_list(struct weir_slab *slab)
{
	void *object = slab->free;
	void *last = NULL;

	slab->free = NULL;
	while (object) {
		void *next = free_next(slab, object);

		if (chunk_of(slab, object)->unused < objects_per_chunk(slab)) {
			if (last)
				free_link(slab, last, object);
			else
				slab->free = object;
			last = object;
		}
		object = next;
	}
	if (last)
		free_link(slab, last, NULL);
}

size_t weir__slab_trim(struct weir_slab *slab)
{
	struct weir_slab_chunk **link = &slab->chunks;
	size_t before = slab->chunk_count;

	trim_count(slab);
	trim_list(slab);
	if (slab->fresh != slab->fresh_end && slab->chunks->unused == objects_per_chunk(slab)) {
		slab->fresh = NULL;
		slab->fresh_end = NULL;
	}
	while (*link) {
		struct weir_slab_chunk *chunk = *link;

		if (chunk->unused == objects_per_chunk(slab)) {
			*link = chunk->next;
			chunk_free(slab, chunk);
		} else {
			link = &chunk->next;
		}
	}
	slab_check(slab);
	return (before - slab->chunk_count) * slab->chunk_size;
}
