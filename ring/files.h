/* SPDX-License-Identifier: MIT */
/*
 * files.h - a worker's files, for the files of ring/ that work on them.
 */
#ifndef WEIR_RING_FILES_H
#define WEIR_RING_FILES_H

#include "core/alloc.h"
#include "core/waiting.h"
#include "core/worker.h"
#include "ring/ring.h"
#include "ring/weir_file.h"

/* What attempts before the ring are worth on a file. */
enum weir_media {
	WEIR_MEDIA_UNKNOWN,
	WEIR_MEDIA_DISK,	/* reads: RWF_NOWAIT is tried; writes: the ring */
	WEIR_MEDIA_MEMORY,	/* tmpfs: never waits, but knows no RWF_NOWAIT */
	WEIR_MEDIA_NONE,	/* neither: always the ring */
};

struct weir_file {
	struct weir_ring *ring;
	struct weir_files *files;
	int fd;
	int slot;		/* in the ring's table of direct descriptors; -1: none */
	uint32_t users;		/* calls that are in flight */
	uint8_t media;
	uint8_t misses;		/* reads tried inline in vain since the last hit; capped */
	uint8_t skip;		/* reads that go to the ring before the next try */
	bool direct;		/* O_DIRECT */
	bool closing;
	bool failed;		/* a sync failed */
	struct weir_wait *closer;
	struct weir_node node;	/* of weir_files.open */
};

/* A file that is only opened below, and synced. */
struct weir_dir {
	struct weir_file file;
	unsigned flags;
};

/* The memory for O_DIRECT: one mapping, registered as buffer 0, given out by pages. */
struct weir_pool {
	char *memory;		/* NULL: none */
	size_t size;
	size_t used;
	uint64_t *map;		/* a bit for each page: taken */
	int error;
};

struct weir_files {
	struct weir_ring *ring;
	struct weir_slab slab;	/* struct weir_dir, which begins with a struct weir_file */
	struct weir_node open;
	struct weir_pool pool;
	bool pool_tried;
	bool has_truncate;
	unsigned open_count;
	unsigned open_direct;
	int direct_error;
	uint64_t hot;		/* reads and writes without the ring */
	uint64_t cold_reads;	/* tried in vain */
	struct weir_worker_exit exit;
};

/* Of this worker, made on first use. Returns 0, -EDEADLK outside a worker, -ENOMEM. */
int weir__files_self(struct weir_files **ret_files);

/* Whether size bytes at ptr lie in the registered pool. */
static inline bool weir__pool_has(const struct weir_pool *pool, const void *ptr, size_t size)
{
	size_t offset = (size_t)((uintptr_t)ptr - (uintptr_t)pool->memory);

	return offset < pool->size && size <= pool->size - offset;
}

/* The ring does not use it any more. */
void weir__pool_fini(struct weir_ring *ring, struct weir_pool *pool);

/* A call on file begins (-EBADF when it is being closed), and has ended. */
static inline int weir__file_enter(struct weir_file *file)
{
	if (weir_unlikely(file->closing))
		return -EBADF;
	file->users++;
	return 0;
}

static inline void weir__file_leave(struct weir_file *file)
{
	weir_assert(file->users);
	if (!--file->users && weir_unlikely(file->closer))
		weir__wait_wake(file->closer, 0);
}

/*
 * An operation on a file has ended. Polling does not make a disk faster, it only burns the core:
 * to the worker (core/spin.h) a disk is as many sources as there are, so that it sleeps.
 */
static inline void weir__file_completed(void)
{
	weir__self->active_bits = UINT64_MAX;
}

/* Prepares a read or write: the direct descriptor and registered memory where there is one. */
void weir__file_prep_read(const struct weir_file *file, struct io_uring_sqe *sqe, void *buf,
			  size_t size, int64_t offset);
void weir__file_prep_write(const struct weir_file *file, struct io_uring_sqe *sqe, const void *buf,
			   size_t size, int64_t offset);

#endif
