/* SPDX-License-Identifier: MIT */
/*
 * shm_ring.h - a ring of items in memory that two processes share: one puts, one takes, and neither
 * believes the other.
 *
 * The words are those of a lane of the mesh (mesh.h): each side has its own index, shows it to the
 * other, and keeps a copy of the other's. What is read from shared memory is bounded before it is
 * used: a peer that lies is -EPROTO, never an access outside. Item size and capacity are read once,
 * when a side attaches, and checked against the memory's size, which seals keep.
 *
 * Sleeping is the mesh's protocol too: who goes to sleep says so, then looks again; who publishes
 * does so, then looks whether the other sleeps; all four sequentially consistent. A lying sleep
 * word costs the other side a wake in vain, or its own time.
 *
 * An item is there once the tail says so, which is after it was written: of a process that dies in
 * between there is nothing to see. A side that was replaced (its generation is no longer the
 * header's) must not write: it is told so at its next call.
 */
#ifndef WEIR_CORE_SHM_RING_H
#define WEIR_CORE_SHM_RING_H

#include <string.h>

#include "core/mesh.h"

#define WEIR__SHM_MAGIC UINT64_C(0x676e697272696577)	/* "weirring" */
#define WEIR__SHM_ABI 1

enum weir__shm_side { WEIR__SHM_SENDER, WEIR__SHM_RECEIVER };

/* What one side tells the other. */
struct weir__shm_seat {
	uint32_t pid WEIR__CACHE_ALIGNED;	/* 0: nobody has attached yet */
	uint32_t generation;		/* how often somebody has */
	uint32_t closed;
	uint32_t index;			/* tail of the sender, head of the receiver */
	uint32_t sleeps;
};

struct weir__shm_header {
	uint64_t magic;
	uint32_t abi;
	uint32_t item_size;
	uint32_t capacity;		/* a power of two */
	struct weir__shm_seat seats[2];
	char items[] WEIR__CACHE_ALIGNED;
};

/* One side of it; in memory of its own process. */
struct weir__shm_ring {
	struct weir__shm_header *header;
	struct weir__shm_seat *own, *peer;
	enum weir__shm_side side;
	uint32_t item_size, capacity;
	uint32_t index;			/* ours; ahead of own->index until it is published */
	uint32_t seen;			/* the peer's, as it was last looked at */
	uint32_t generation;
};

static inline size_t weir__shm_size(uint32_t item_size, uint32_t capacity)
{
	return sizeof(struct weir__shm_header) + (size_t)item_size * capacity;
}

/* memory is zeroed. */
static inline void weir__shm_format(struct weir__shm_header *header, uint32_t item_size,
				    uint32_t capacity)
{
	header->abi = WEIR__SHM_ABI;
	header->item_size = item_size;
	header->capacity = capacity;
	__atomic_store_n(&header->magic, WEIR__SHM_MAGIC, __ATOMIC_RELEASE);
}

/*
 * Takes the seat of side in the size bytes at header. Returns 0, or -EPROTO: that is no such ring.
 * Whether the seat is free is for the caller to find out.
 */
static inline int weir__shm_attach(struct weir__shm_ring *ring, struct weir__shm_header *header,
				   size_t size, enum weir__shm_side side, uint32_t pid)
{
	uint32_t item_size, capacity;

	if (size < sizeof(*header) ||
	    __atomic_load_n(&header->magic, __ATOMIC_ACQUIRE) != WEIR__SHM_MAGIC ||
	    header->abi != WEIR__SHM_ABI)
		return -EPROTO;
	item_size = __atomic_load_n(&header->item_size, __ATOMIC_RELAXED);
	capacity = __atomic_load_n(&header->capacity, __ATOMIC_RELAXED);
	if (!item_size || !capacity || (capacity & (capacity - 1)) || capacity > 1u << 30 ||
	    size < weir__shm_size(item_size, capacity))
		return -EPROTO;
	*ring = (struct weir__shm_ring){
		.header = header,
		.own = &header->seats[side],
		.peer = &header->seats[!side],
		.side = side,
		.item_size = item_size,
		.capacity = capacity,
	};
	ring->index = __atomic_load_n(&ring->own->index, __ATOMIC_RELAXED);
	ring->seen = ring->index;
	ring->generation = __atomic_add_fetch(&ring->own->generation, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&ring->own->closed, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->own->sleeps, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->own->pid, pid, __ATOMIC_SEQ_CST);
	return 0;
}

static inline bool weir__shm_is_replaced(const struct weir__shm_ring *ring)
{
	return __atomic_load_n(&ring->own->generation, __ATOMIC_RELAXED) != ring->generation;
}

/*
 * How many items may be moved now, looking at the peer when fewer than wanted were known of.
 * Returns that, or -EPROTO: the peer's index cannot be.
 */
static inline int64_t weir__shm_ready(struct weir__shm_ring *ring, uint32_t wanted)
{
	bool sends = ring->side == WEIR__SHM_SENDER;
	/* Of a sender: what is inside; of a receiver too. */
	uint32_t inside = sends ? ring->index - ring->seen : ring->seen - ring->index;
	uint32_t ready = sends ? ring->capacity - inside : inside;

	if (inside <= ring->capacity && ready >= wanted)
		return ready;
	ring->seen = __atomic_load_n(&ring->peer->index, __ATOMIC_SEQ_CST);
	inside = sends ? ring->index - ring->seen : ring->seen - ring->index;
	if (inside > ring->capacity)
		return -EPROTO;
	return sends ? ring->capacity - inside : inside;
}

/* The place of item number index. */
static inline char *weir__shm_slot(const struct weir__shm_ring *ring, uint32_t index)
{
	return ring->header->items + (size_t)(index & (ring->capacity - 1)) * ring->item_size;
}

/* Moves count items that are ready between buf and the ring; not published yet. */
static inline void weir__shm_move(struct weir__shm_ring *ring, char *buf, uint32_t count)
{
	uint32_t first = ring->capacity - (ring->index & (ring->capacity - 1));
	char *slot = weir__shm_slot(ring, ring->index);
	size_t part, rest;

	if (first > count)
		first = count;
	part = (size_t)first * ring->item_size;
	rest = (size_t)(count - first) * ring->item_size;
	if (ring->side == WEIR__SHM_SENDER) {
		memcpy(slot, buf, part);
		memcpy(ring->header->items, buf + part, rest);
	} else {
		memcpy(buf, slot, part);
		memcpy(buf + part, ring->header->items, rest);
	}
	ring->index += count;
}

/* Shows the peer what was moved. True: it sleeps, and it is for the caller to wake it. */
static inline bool weir__shm_publish(struct weir__shm_ring *ring)
{
	__atomic_store_n(&ring->own->index, ring->index, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->peer->sleeps, __ATOMIC_SEQ_CST) &&
	       __atomic_exchange_n(&ring->peer->sleeps, 0, __ATOMIC_SEQ_CST);
}

/* About to sleep: look once more afterwards. */
static inline void weir__shm_lie_down(struct weir__shm_ring *ring)
{
	__atomic_store_n(&ring->own->sleeps, 1, __ATOMIC_SEQ_CST);
}

/* True: nobody has taken the flag, so no wake is on the way. */
static inline bool weir__shm_rise(struct weir__shm_ring *ring)
{
	return __atomic_exchange_n(&ring->own->sleeps, 0, __ATOMIC_SEQ_CST);
}

#endif
