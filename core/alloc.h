/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - memory: every byte the library keeps comes through weir__alloc(), so that a
 * user can give his own allocator and a test can make the Nth allocation fail; and slabs,
 * from which a worker takes objects of one size without calling it.
 */
#ifndef WEIR_CORE_ALLOC_H
#define WEIR_CORE_ALLOC_H

#include <string.h>

#include "core/ensure.h"

#if defined(__SANITIZE_ADDRESS__)
#define WEIR__SLAB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR__SLAB_ASAN 1
#endif
#endif

/* Any thread. NULL when there is none, or size is 0. Aligned to 16. */
void *weir__alloc(size_t size);

/* The same, zeroed; NULL when count * size overflows. */
void *weir__calloc(size_t count, size_t size);

/* align is a power of two. */
void *weir__alloc_aligned(size_t size, size_t align);

/* size is what was asked for (count * size of a calloc). ptr may be NULL. */
void weir__free(void *ptr, size_t size);

struct weir_slab_chunk;
struct weir_worker;

/*
 * Objects of one size for one worker: get and put without a lock, the one put last is
 * got first. Objects never move and begin on a cache line. Memory grows by chunks, up to
 * count_max objects, and goes back by weir__slab_trim(). The members are read only.
 */
struct weir_slab {
	void *free;	    /* put objects; the first word of each links to the next */
	char *fresh;	    /* the newest chunk's part that was never got, to fresh_end */
	char *fresh_end;
	size_t object_size;
	size_t stride;	    /* object size rounded up to a cache line */
	size_t chunk_size;  /* a power of two, also the alignment of chunks */
	size_t count_max;
	size_t in_use;
	size_t high;	    /* the most that were in use at once */
	uint64_t refused;   /* gets that found the bound, or no memory */
	size_t chunk_count;
	struct weir_slab_chunk *chunks; /* newest first */
	struct weir_worker *home; /* in a debug build: who got the first object */
};

/*
 * Allocates nothing yet. Returns 0, or -EINVAL: object_size is 0 or above 16 MiB,
 * count_max is 0.
 */
int weir__slab_init(struct weir_slab *slab, size_t object_size, size_t count_max);

/* Every object was put. Gives all memory back. */
void weir__slab_fini(struct weir_slab *slab);

/* An object with undefined content, or NULL: weir__slab_error() says why. */
void *weir__slab_get(struct weir_slab *slab);

/* object came from this slab. Only its first word changes (under ASan it is poisoned). */
void weir__slab_put(struct weir_slab *slab, void *object);

/*
 * The same two without a call, where a nanosecond counts; the call where something is
 * checked: under ASan, in a debug build.
 */
static inline void *weir__slab_get_hot(struct weir_slab *slab)
{
#if !defined(WEIR__SLAB_ASAN) && !defined(WEIR_DEBUG)
	void *object = slab->free;

	if (weir_likely(object && slab->in_use < slab->high)) {
		memcpy(&slab->free, object, sizeof(slab->free));
		slab->in_use++;
		return object;
	}
#endif
	return weir__slab_get(slab);
}

static inline void weir__slab_put_hot(struct weir_slab *slab, void *object)
{
#if defined(WEIR__SLAB_ASAN) || defined(WEIR_DEBUG)
	weir__slab_put(slab, object);
#else
	slab->in_use--;
	memcpy(object, &slab->free, sizeof(slab->free));
	slab->free = object;
#endif
}

/* Why the last get failed: -ENOBUFS at count_max, else -ENOMEM. */
static inline int weir__slab_error(const struct weir_slab *slab)
{
	return slab->in_use == slab->count_max ? -ENOBUFS : -ENOMEM;
}

/*
 * Gives back every chunk without an object in use; walks the free objects, so it is for
 * quiet moments. Returns how many bytes went back.
 */
size_t weir__slab_trim(struct weir_slab *slab);

#endif
