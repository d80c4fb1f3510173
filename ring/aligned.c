/* SPDX-License-Identifier: MIT */
/*
 * aligned.c - memory for O_DIRECT.
 *
 * One mapping for each worker, registered with its ring as one buffer: whatever lies in it is
 * read and written with the FIXED operations, which find its pages instead of pinning
 * them each time. It is given out by pages from a bitmap, first fit: buffers are taken
 * when a service starts, not for each operation, so the search may be linear.
 *
 * How much the kernel registers is RLIMIT_MEMLOCK's affair (8 MiB is usual, for all rings of
 * a user together): the pool is halved until it agrees.
 */
#include "ring/files.h"

#include <string.h>

#define PAGE 4096
#define POOL_MIN (256u << 10)
#define WORD_BITS 64

static size_t pages_of(size_t size)
{
	return size / PAGE + (size % PAGE != 0);
}

static size_t map_bytes(const struct weir_pool *pool)
{
	return pool->size / PAGE / WORD_BITS * sizeof(uint64_t);
}

static int register_memory(struct weir_ring *ring, void *memory, size_t size)
{
	struct iovec iov = { memory, size };

	return ring->kernel->ops->ring_register(ring->kernel, &ring->uring,
						IORING_REGISTER_BUFFERS, &iov, 1);
}

/* Makes the pool, as large as is allowed. */
static void pool_init(struct weir_ring *ring, struct weir_pool *pool)
{
	struct weir_kernel *kernel = ring->kernel;

	for (size_t size = WEIR_ALIGNED_POOL; !pool->memory && size >= POOL_MIN; size /= 2) {
		void *memory = kernel->ops->map(kernel, size);
		int r = memory ? register_memory(ring, memory, size) : -ENOMEM;

		if (!r) {
			pool->memory = memory;
			pool->size = size;
			break;
		}
		pool->error = r;
		if (memory)
			kernel->ops->unmap(kernel, memory, size);
		if (r != -ENOMEM)
			return;
	}
	if (!pool->memory)
		return;
	pool->map = weir__calloc(1, map_bytes(pool));
	if (!pool->map)
		pool->used = pool->size;	/* registered, but nothing can be given out */
}

void weir__pool_fini(struct weir_ring *ring, struct weir_pool *pool)
{
	if (!pool->memory)
		return;
	weir__free(pool->map, map_bytes(pool));
	ring->kernel->ops->unmap(ring->kernel, pool->memory, pool->size);
	*pool = (struct weir_pool){ 0 };
}

static bool is_taken(const struct weir_pool *pool, size_t page)
{
	return pool->map[page / WORD_BITS] >> (page % WORD_BITS) & 1;
}

static void set_taken(struct weir_pool *pool, size_t first, size_t count, bool taken)
{
	for (size_t page = first; page < first + count; page++) {
		uint64_t bit = UINT64_C(1) << (page % WORD_BITS);

		weir_assert(is_taken(pool, page) != taken);
		pool->map[page / WORD_BITS] ^= bit;
	}
	pool->used += taken ? count * PAGE : -(count * PAGE);
}

/* count free pages in a row. NULL: there are none. */
static void *pool_take(struct weir_pool *pool, size_t count)
{
	size_t run = 0;

	if (pool->size - pool->used < count * PAGE)
		return NULL;
	for (size_t page = 0; page < pool->size / PAGE; page++) {
		run = is_taken(pool, page) ? 0 : run + 1;
		if (run == count) {
			set_taken(pool, page + 1 - count, count, true);
			return pool->memory + (page + 1 - count) * PAGE;
		}
	}
	return NULL;
}

void *weir_aligned_alloc(size_t size)
{
	struct weir_files *files;
	void *ptr = NULL;

	if (!size || size > SIZE_MAX - PAGE || weir__files_self(&files) < 0)
		return NULL;
	if (!files->pool_tried) {
		files->pool_tried = true;
		pool_init(files->ring, &files->pool);
	}
	if (size <= files->pool.size)
		ptr = pool_take(&files->pool, pages_of(size));
	return ptr ? ptr : weir__alloc_aligned(pages_of(size) * PAGE, PAGE);
}

void weir_aligned_free(void *ptr, size_t size)
{
	struct weir_files *files;

	if (!ptr)
		return;
	if (!weir__files_self(&files) && weir__pool_has(&files->pool, ptr, size))
		set_taken(&files->pool, (size_t)((char *)ptr - files->pool.memory) / PAGE,
			  pages_of(size), false);
	else
		weir__free(ptr, pages_of(size) * PAGE);
}
