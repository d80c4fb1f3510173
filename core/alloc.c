/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - the allocator hook.
 */
#include "core/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "core/world.h"

#define ALIGN_MIN 16 /* every allocation has at least this */

static void *default_alloc(void *arg, size_t size, size_t align)
{
	(void)arg;
	if (size > SIZE_MAX - align)
		return NULL;
	return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void default_free(void *arg, void *ptr, size_t size)
{
	(void)arg;
	(void)size;
	free(ptr);
}

static const struct weir_allocator default_allocator = {
	.alloc = default_alloc,
	.free = default_free,
};

/* Written before any other thread exists, as weir_set_allocator() asks. */
static struct weir_allocator current = {
	.alloc = default_alloc,
	.free = default_free,
};

int weir_set_allocator(const struct weir_allocator *allocator)
{
	if (!allocator)
		allocator = &default_allocator;
	if (!allocator->alloc || !allocator->free)
		return -EINVAL;
	current = *allocator;
	return 0;
}

static void *alloc_in_world(size_t size, size_t align)
{
	void *ptr;

	if (weir__world->refuses_memory(weir__world))
		return NULL;
	ptr = current.alloc(current.arg, size, align);
	if (ptr)
		weir__world->took(weir__world, ptr, size);
	return ptr;
}

void *weir__alloc_aligned(size_t size, size_t align)
{
	if (!size)
		return NULL;
	if (align < ALIGN_MIN)
		align = ALIGN_MIN;
	if (weir_unlikely(weir__world))
		return alloc_in_world(size, align);
	return current.alloc(current.arg, size, align);
}

void *weir__alloc(size_t size)
{
	return weir__alloc_aligned(size, ALIGN_MIN);
}

void *weir__calloc(size_t count, size_t size)
{
	void *ptr;
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	ptr = weir__alloc(total);
	if (ptr)
		memset(ptr, 0, total);
	return ptr;
}

void weir__free(void *ptr, size_t size)
{
	if (!ptr)
		return;
	if (weir_unlikely(weir__world))
		weir__world->gave(weir__world, ptr);
	current.free(current.arg, ptr, size);
}
