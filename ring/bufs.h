/* SPDX-License-Identifier: MIT */
/*
 * bufs.h - the receive buffers of one core: a ring the kernel takes from when data
 * arrives, and the credit that bounds what is lent out of it.
 *
 *	IN RING --a receive's CQE--> LENT --weir__buf_give()--> IN RING
 *
 * An idle connection holds none. When all but an eighth are lent, receives of those who hold
 * some are disarmed, before the kernel finds the ring empty (which would end everybody's with
 * -ENOBUFS). The last eighth is for those who hold none: they may take one at a time, so
 * that a few handlers which do not read cannot stop all the others. Those who get nothing wait in
 * two lines: the hungry, who hold none, go on as soon as a buffer is back; the starved when a
 * quarter is.
 */
#ifndef WEIR_RING_BUFS_H
#define WEIR_RING_BUFS_H

#include <string.h>

#include "core/queue.h"
#include "ring/kernel.h"

struct weir_ring;

#define WEIR_BUF_GROUP 1
#define WEIR_BUF_NONE UINT16_MAX

/* What is known of a LENT buffer; next links the buffers of one connection. */
struct weir_buf {
	uint32_t offset;	/* of what is left to read */
	uint32_t size;		/* of what is left to read */
	uint16_t next;
};

/* Who has a buffer that is leased, where its place stood: offset and size are not read any more. */
static inline void weir__buf_set_owner(struct weir_buf *buf, void *owner)
{
	static_assert(sizeof(owner) <= offsetof(struct weir_buf, next), "there is room for it");
	memcpy(buf, &owner, sizeof(owner));
}

static inline void *weir__buf_owner(const struct weir_buf *buf)
{
	void *owner;

	memcpy(&owner, buf, sizeof(owner));
	return owner;
}

/* Waits for buffers to come back. run() is called once; the node has left the list then. */
struct weir_bufs_wait {
	struct weir_node node;
	void (*run)(struct weir_bufs_wait *wait);
};

struct weir_bufs {
	struct io_uring_buf_ring *ring;	/* shared with the kernel; NULL: no buffers here */
	char *memory;
	struct weir_buf *table;		/* by buffer id */
	unsigned count;			/* power of two */
	unsigned size;			/* bytes of each */
	unsigned lent, lent_high;
	unsigned unpublished;		/* given back, not yet shown to the kernel */
	struct weir_node hungry;	/* struct weir_bufs_wait, FIFO: they hold none */
	struct weir_node starved;	/* the same: they hold some */
	uint64_t dry_events;		/* how often a receive ended with -ENOBUFS or was refused */
};

/* On the ring's worker, enabled. count 0: none. Returns 0 or -errno. */
int weir__bufs_init(struct weir_ring *ring, unsigned count, unsigned size);
/* Nothing is lent and nothing armed any more. */
void weir__bufs_fini(struct weir_ring *ring);

/* A CQE lent buffer id with size bytes in it. */
static inline struct weir_buf *weir__buf_take(struct weir_bufs *bufs, uint16_t id, uint32_t size)
{
	struct weir_buf *buf = &bufs->table[id];

	weir_assert(id < bufs->count && size <= bufs->size);
	buf->offset = 0;
	buf->size = size;
	buf->next = WEIR_BUF_NONE;
	if (++bufs->lent > bufs->lent_high)
		bufs->lent_high = bufs->lent;
	return buf;
}

/* The bytes of buffer id that are left to read. */
static inline char *weir__buf_data(struct weir_bufs *bufs, uint16_t id)
{
	return bufs->memory + (size_t)id * bufs->size + bufs->table[id].offset;
}

/* The buffer in which data lies. */
static inline uint16_t weir__buf_id(const struct weir_bufs *bufs, const char *data)
{
	weir_assert(data >= bufs->memory && data < bufs->memory + (size_t)bufs->count * bufs->size);
	return (uint16_t)((size_t)(data - bufs->memory) / bufs->size);
}

/* Gives buffer id back; the kernel sees it with the next turn. */
static inline void weir__buf_give(struct weir_bufs *bufs, uint16_t id)
{
	weir_assert(id < bufs->count && bufs->lent > 0);
	io_uring_buf_ring_add(bufs->ring, bufs->memory + (size_t)id * bufs->size, bufs->size, id,
			      (int)bufs->count - 1, (int)bufs->unpublished++);
	bufs->lent--;
}

/* Shows the kernel what was given back. Once a turn, before the kernel is entered. */
static inline void weir__bufs_publish(struct weir_bufs *bufs)
{
	if (bufs->unpublished) {
		io_uring_buf_ring_advance(bufs->ring, (int)bufs->unpublished);
		bufs->unpublished = 0;
	}
}

/* Whether receives should be disarmed: an eighth or less is left. */
static inline bool weir__bufs_are_low(const struct weir_bufs *bufs)
{
	return bufs->lent >= bufs->count - bufs->count / 8;
}

/* Whether the kernel would find none. */
static inline bool weir__bufs_are_out(const struct weir_bufs *bufs)
{
	return bufs->lent == bufs->count;
}

/* Queues wait until buffers are back. */
void weir__bufs_wait(struct weir_bufs *bufs, struct weir_bufs_wait *wait, bool holds_none);

/* Tells those who wait, while there is something for them. Once a turn. */
void weir__bufs_feed(struct weir_bufs *bufs);

static inline bool weir__bufs_are_awaited(const struct weir_bufs *bufs)
{
	return !weir__list_is_empty(&bufs->hungry) || !weir__list_is_empty(&bufs->starved);
}

#endif
