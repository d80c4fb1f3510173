/* SPDX-License-Identifier: MIT */
/*
 * script_kernel.h - a kernel whose completions the test writes by hand: the only way to
 * force the one order of CQEs that a bug needs. SQEs that weir submits are kept in
 * taken[]; what the test posts is delivered at the next enter. Time is virtual.
 */
#ifndef WEIR_TESTS_SCRIPT_KERNEL_H
#define WEIR_TESTS_SCRIPT_KERNEL_H

#include <stdlib.h>
#include <string.h>

#include "core/worker.h"
#include "ring/ring.h"

#define SCRIPT_SQ 64
#define SCRIPT_CQ 256
#define SCRIPT_TAKEN 1024

struct script {
	struct weir_kernel kernel;
	int64_t now;
	unsigned accept;		/* SQEs each enter takes at most */
	unsigned sq_head, sq_tail, sq_flags, cq_head, cq_tail, overflow, dropped, cq_flags;
	unsigned sq_mask, cq_mask;
	struct io_uring_sqe sqes[SCRIPT_SQ];
	struct io_uring_cqe cqes[SCRIPT_CQ];
	struct io_uring_sqe taken[SCRIPT_TAKEN];
	unsigned taken_count;
	struct io_uring_cqe posted[SCRIPT_CQ];
	unsigned posted_count;
	unsigned enters;
	int fds;			/* handed out by eventfd() */

	struct weir_ring *ring;
	struct weir_worker worker;
};

static inline struct script *script_of(struct weir_kernel *kernel)
{
	return weir_container_of(kernel, struct script, kernel);
}

static int script_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
			struct io_uring_params *params)
{
	struct script *s = script_of(kernel);

	(void)entries;
	s->sq_mask = SCRIPT_SQ - 1;
	s->cq_mask = SCRIPT_CQ - 1;
	uring->flags = params->flags;
	uring->ring_fd = uring->enter_ring_fd = -1;
	uring->sq.khead = &s->sq_head;
	uring->sq.ktail = &s->sq_tail;
	uring->sq.kflags = &s->sq_flags;
	uring->sq.kdropped = &s->dropped;
	uring->sq.sqes = s->sqes;
	uring->sq.ring_mask = s->sq_mask;
	uring->sq.ring_entries = SCRIPT_SQ;
	uring->cq.khead = &s->cq_head;
	uring->cq.ktail = &s->cq_tail;
	uring->cq.koverflow = &s->overflow;
	uring->cq.cqes = s->cqes;
	uring->cq.ring_mask = s->cq_mask;
	uring->cq.ring_entries = SCRIPT_CQ;
	params->features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
	return 0;
}

static int script_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			unsigned wait, unsigned flags, const void *arg, size_t size)
{
	struct script *s = script_of(kernel);
	unsigned n = submit < s->accept ? submit : s->accept;

	(void)uring;
	(void)arg;
	(void)size;
	s->enters++;
	for (unsigned i = 0; i < n; i++) {
		weir_assert(s->taken_count < SCRIPT_TAKEN);
		s->taken[s->taken_count++] = s->sqes[s->sq_head++ & s->sq_mask];
	}
	if (flags & IORING_ENTER_GETEVENTS) {
		for (unsigned i = 0; i < s->posted_count; i++)
			s->cqes[s->cq_tail++ & s->cq_mask] = s->posted[i];
		if (!s->posted_count && wait)
			s->now += WEIR_MS;
		s->posted_count = 0;
		s->sq_flags = 0;
	}
	return (int)n;
}

static int script_register(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
			   const void *arg, unsigned count)
{
	(void)kernel;
	(void)uring;
	(void)arg;
	(void)count;
	return opcode == IORING_REGISTER_RING_FDS ? -EINVAL : 0;
}

static void script_teardown(struct weir_kernel *kernel, struct io_uring *uring)
{
	(void)kernel;
	(void)uring;
}

static int script_notify(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data)
{
	(void)kernel;
	(void)uring;
	(void)user_data;
	return 0;
}

static int64_t script_now(struct weir_kernel *kernel)
{
	return script_of(kernel)->now;
}

static uint64_t script_random(struct weir_kernel *kernel)
{
	(void)kernel;
	return 4;
}

static void *script_map(struct weir_kernel *kernel, size_t size)
{
	(void)kernel;
	return calloc(1, size);
}

static void script_unmap(struct weir_kernel *kernel, void *ptr, size_t size)
{
	(void)kernel;
	(void)size;
	free(ptr);
}

static int script_close(struct weir_kernel *kernel, int fd)
{
	(void)kernel;
	(void)fd;
	return 0;
}

static const struct weir_kernel_ops script_ops = {
	.name = "script",
	.ring_setup = script_setup,
	.ring_enter = script_enter,
	.ring_register = script_register,
	.ring_teardown = script_teardown,
	.notify = script_notify,
	.now = script_now,
	.random = script_random,
	.map = script_map,
	.unmap = script_unmap,
	.close = script_close,
};

/* A worker with depth transient and armed_max armed slots on a scripted kernel. */
static inline struct script *script_start(unsigned depth, unsigned armed_max, unsigned bufs)
{
	struct script *s = calloc(1, sizeof(*s));
	struct weir_ring_opts ring_opts = { 0 };
	struct weir_worker_opts worker_opts = { .coros = { .coros_max = 64, .stack_size = 65536 } };

	weir_assert(s);
	s->kernel.ops = &script_ops;
	s->now = WEIR_S;
	s->accept = SCRIPT_SQ;
	ring_opts.kernel = &s->kernel;
	ring_opts.depth = depth;
	ring_opts.armed_max = armed_max;
	ring_opts.bufs = bufs;
	ring_opts.buf_size = 256;
	ring_opts.sq_size = SCRIPT_SQ;
	ring_opts.cq_size = SCRIPT_CQ;
	weir_assert(!weir__ring_create(&ring_opts, &s->ring));
	weir_assert(!weir__worker_init(&s->worker, &s->ring->driver, &worker_opts));
	weir__self = &s->worker;
	weir_assert(!s->ring->driver.ops->start(&s->ring->driver));
	return s;
}

static inline void script_turn(struct script *s)
{
	weir__worker_turn(&s->worker, 0);
}

static inline void script_post(struct script *s, uint64_t user_data, int res, uint32_t flags)
{
	weir_assert(s->posted_count < SCRIPT_CQ);
	s->sq_flags |= IORING_SQ_TASKRUN;	/* as a deferring ring says: enter to see it */
	s->posted[s->posted_count++] =
		(struct io_uring_cqe){ .user_data = user_data, .res = res, .flags = flags };
}

/* Posts the result of the n-th SQE ever taken. */
static inline void script_answer(struct script *s, unsigned n, int res, uint32_t flags)
{
	weir_assert(n < s->taken_count);
	script_post(s, s->taken[n].user_data, res, flags);
}

/* Nothing may be in flight. */
static inline void script_stop(struct script *s)
{
	s->ring->driver.ops->stop(&s->ring->driver);
	weir__worker_fini(&s->worker);
	weir__self = NULL;
	weir__ring_destroy(s->ring);
	free(s);
}

#endif
