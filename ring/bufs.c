/* SPDX-License-Identifier: MIT */
/*
 * bufs.c - making the buffer ring, and waking those who starve for it.
 *
 * Incremental buffers and bundles measured no faster for messages up to a buffer's
 * size (README, decisions), so a buffer holds what one receive brought and comes back whole.
 */
#include "ring/bufs.h"

#include <string.h>

#include "core/alloc.h"
#include "ring/ring.h"

static size_t ring_bytes(unsigned count)
{
	size_t size = count * sizeof(struct io_uring_buf);

	return (size + 4095) & ~(size_t)4095;
}

static int register_ring(struct weir_ring *ring, struct weir_bufs *bufs)
{
	struct io_uring_buf_reg reg;

	memset(&reg, 0, sizeof(reg));
	reg.ring_addr = (uintptr_t)bufs->ring;
	reg.ring_entries = bufs->count;
	reg.bgid = WEIR_BUF_GROUP;
	return ring->kernel->ops->ring_register(ring->kernel, &ring->uring,
						IORING_REGISTER_PBUF_RING, &reg, 1);
}

static void release(struct weir_ring *ring)
{
	struct weir_bufs *bufs = &ring->bufs;
	struct weir_kernel *kernel = ring->kernel;

	if (bufs->memory)
		kernel->ops->unmap(kernel, bufs->memory, (size_t)bufs->count * bufs->size);
	if (bufs->ring)
		kernel->ops->unmap(kernel, bufs->ring, ring_bytes(bufs->count));
	if (bufs->table)
		weir__free(bufs->table, bufs->count * sizeof(*bufs->table));
	memset(bufs, 0, sizeof(*bufs));
	weir__list_init(&bufs->hungry);
	weir__list_init(&bufs->starved);
}

int weir__bufs_init(struct weir_ring *ring, unsigned count, unsigned size)
{
	struct weir_bufs *bufs = &ring->bufs;
	struct weir_kernel *kernel = ring->kernel;
	int r;

	weir_assert(!(count & (count - 1)) && count <= 32768);
	memset(bufs, 0, sizeof(*bufs));
	weir__list_init(&bufs->hungry);
	weir__list_init(&bufs->starved);
	if (!count)
		return 0;
	bufs->count = count;
	bufs->size = size;
	bufs->ring = kernel->ops->map(kernel, ring_bytes(count));
	bufs->memory = kernel->ops->map(kernel, (size_t)count * size);
	bufs->table = weir__alloc(count * sizeof(*bufs->table));
	r = bufs->ring && bufs->memory && bufs->table ? register_ring(ring, bufs) : -ENOMEM;
	if (r < 0) {
		release(ring);
		return r;
	}
	io_uring_buf_ring_init(bufs->ring);
	bufs->lent = count;
	for (unsigned id = 0; id < count; id++)
		weir__buf_give(bufs, (uint16_t)id);
	weir__bufs_publish(bufs);
	return 0;
}

void weir__bufs_fini(struct weir_ring *ring)
{
	struct weir_bufs *bufs = &ring->bufs;
	struct io_uring_buf_reg reg;

	if (!bufs->ring)
		return;
	weir_assert(!bufs->lent && !weir__bufs_are_awaited(bufs));
	memset(&reg, 0, sizeof(reg));
	reg.bgid = WEIR_BUF_GROUP;
	ring->kernel->ops->ring_register(ring->kernel, &ring->uring, IORING_UNREGISTER_PBUF_RING,
					 &reg, 1);
	release(ring);
}

void weir__bufs_wait(struct weir_bufs *bufs, struct weir_bufs_wait *wait, bool holds_none)
{
	weir__list_push(holds_none ? &bufs->hungry : &bufs->starved, &wait->node);
	bufs->dry_events++;
}

/* Runs those of list while at most lent_max buffers are lent. Each once: it may queue itself again.
 */
static void feed(struct weir_bufs *bufs, struct weir_node *list, unsigned lent_max)
{
	struct weir_node *last = list->prev;
	struct weir_node *node;

	while (bufs->lent <= lent_max && (node = weir__list_pop(list))) {
		struct weir_bufs_wait *wait = weir_container_of(node, struct weir_bufs_wait, node);

		wait->run(wait);
		if (node == last)
			break;
	}
}

void weir__bufs_feed(struct weir_bufs *bufs)
{
	feed(bufs, &bufs->hungry, bufs->count - 1);
	feed(bufs, &bufs->starved, bufs->count - bufs->count / 4);
}
