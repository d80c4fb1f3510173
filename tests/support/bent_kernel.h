/* SPDX-License-Identifier: MIT */
/*
 * bent_kernel.h - the real kernel, bent: chosen operations are not carried out and give
 * the result a test asks for (an fsync that fails, a disk that is full), or move fewer bytes than
 * they were asked to. For what a real disk does once in its life.
 *
 *	bent_init(&bent);
 *	fixture.ring.kernel = &bent.kernel;
 *	bent.opcode = IORING_OP_FSYNC, bent.res = -EIO;		from now on
 */
#ifndef WEIR_TESTS_BENT_KERNEL_H
#define WEIR_TESTS_BENT_KERNEL_H

#include <string.h>

#include "tests/support/host_kernel.h"

#define BENT_MARKS 256

struct bent {
	struct weir_kernel kernel;
	struct weir_kernel_ops ops;
	struct weir_kernel *real;

	unsigned opcode;	/* these give res instead; 0 (NOP): none */
	unsigned opcode_too;	/* and these */
	unsigned pass;		/* but the next so many of them are carried out */
	unsigned hits_max;	/* and from this hit on all of them; 0: none */
	int res;
	unsigned hits;		/* how many were bent */
	unsigned size_max;	/* of reads and writes through the ring; 0: as asked */
	size_t register_max;	/* bytes of a buffer that may be registered; 0: any */

	uint64_t marks[BENT_MARKS];	/* user_data of what was bent and is under way */
	int marks_res[BENT_MARKS];
};

static inline struct bent *bent_of(struct weir_kernel *kernel)
{
	return (struct bent *)(void *)kernel;
}

static inline bool bent_is_transfer(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_WRITE ||
	       sqe->opcode == IORING_OP_READ_FIXED || sqe->opcode == IORING_OP_WRITE_FIXED;
}

static inline void bent_sqe(struct bent *bent, struct io_uring_sqe *sqe)
{
	uint64_t user_data = sqe->user_data;
	unsigned i = 0;

	if (bent->size_max && bent_is_transfer(sqe) && sqe->len > bent->size_max)
		sqe->len = bent->size_max;
	if (!sqe->opcode || (sqe->opcode != bent->opcode && sqe->opcode != bent->opcode_too))
		return;
	if (bent->pass) {
		bent->pass--;
		return;
	}
	if (bent->hits_max && bent->hits == bent->hits_max)
		return;
	while (bent->marks[i])
		i++;
	bent->marks[i] = user_data;
	bent->marks_res[i] = bent->res;
	bent->hits++;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = user_data;
}

static inline void bent_cqe(struct bent *bent, struct io_uring_cqe *cqe)
{
	for (unsigned i = 0; i < BENT_MARKS; i++) {
		if (!cqe->user_data || bent->marks[i] != cqe->user_data)
			continue;
		cqe->res = bent->marks_res[i];
		bent->marks[i] = 0;
	}
}

static inline int bent_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			     unsigned wait, unsigned flags, const void *arg, size_t size)
{
	struct bent *bent = bent_of(kernel);
	unsigned head = *uring->sq.khead;
	int r;

	for (unsigned i = 0; i < submit; i++)
		bent_sqe(bent, &uring->sq.sqes[(head + i) & uring->sq.ring_mask]);
	r = bent->real->ops->ring_enter(bent->real, uring, submit, wait, flags, arg, size);
	for (unsigned i = *uring->cq.khead; i != *uring->cq.ktail; i++)
		bent_cqe(bent, &uring->cq.cqes[i & uring->cq.ring_mask]);
	return r;
}

static inline int bent_register(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
				const void *arg, unsigned count)
{
	struct bent *bent = bent_of(kernel);
	const struct iovec *iov = arg;

	if (opcode == IORING_REGISTER_BUFFERS && bent->register_max &&
	    iov->iov_len > bent->register_max)
		return -ENOMEM;
	return bent->real->ops->ring_register(bent->real, uring, opcode, arg, count);
}

static inline void bent_init(struct bent *bent)
{
	memset(bent, 0, sizeof(*bent));
	bent->real = host_kernel();
	bent->ops = *bent->real->ops;
	bent->ops.ring_enter = bent_enter;
	bent->ops.ring_register = bent_register;
	bent->kernel.ops = &bent->ops;
}

#endif
