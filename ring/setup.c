/* SPDX-License-Identifier: MIT */
/*
 * setup.c - making a ring on whatever kernel there is.
 *
 * The ladder: all the flags we want are asked for at once. When the kernel answers
 * -EINVAL they are dropped one by one, newest first, until it agrees; then each that was
 * dropped is tried once more alone, so that only what is really refused stays away. What
 * was refused is recorded, and `weir doctor` shows it.
 */
#include "ring/setup.h"

#include <string.h>

#include "core/alloc.h"
#include "ring/slots.h"
#include "ring/uapi.h"

#define WANTED_FLAGS                                                                              \
	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |    \
	 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |              \
	 IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED)

/* In the order in which they are given up: what came last to the kernel first. */
static const uint32_t ladder[] = {
	IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_COOP_TASKRUN,  IORING_SETUP_SUBMIT_ALL,	IORING_SETUP_R_DISABLED,
	IORING_SETUP_CLAMP,	    IORING_SETUP_CQSIZE,
};

#define LADDER_STEPS (sizeof(ladder) / sizeof(ladder[0]))

static int try_setup(struct weir_ring *ring, uint32_t flags)
{
	struct io_uring_params params;
	int r;

	memset(&params, 0, sizeof(params));
	memset(&ring->uring, 0, sizeof(ring->uring));
	params.flags = flags;
	if (flags & IORING_SETUP_CQSIZE)
		params.cq_entries = ring->opts.cq_size;
	r = ring->kernel->ops->ring_setup(ring->kernel, ring->opts.sq_size, &ring->uring, &params);
	if (r < 0)
		return r;
	ring->setup_flags = flags;
	ring->features = params.features;
	return 0;
}

/* Takes back the flags that were given up only because another had to go. Oldest first. */
static uint32_t retry_dropped(struct weir_ring *ring, uint32_t flags)
{
	for (size_t i = LADDER_STEPS; i-- > 0;) {
		struct io_uring held = ring->uring;

		if (flags & ladder[i])
			continue;
		if (try_setup(ring, flags | ladder[i]) < 0) {
			ring->uring = held;
			continue;
		}
		flags |= ladder[i];
		ring->kernel->ops->ring_teardown(ring->kernel, &held);
	}
	return flags;
}

int weir__ring_setup(struct weir_ring *ring)
{
	uint32_t flags = WANTED_FLAGS;
	int r = try_setup(ring, flags);

	for (size_t i = 0; r == -EINVAL && i < LADDER_STEPS; i++) {
		flags &= ~ladder[i];
		r = try_setup(ring, flags);
	}
	if (r < 0)
		return r;
	/* Twice: TASKRUN_FLAG may need DEFER_TASKRUN, which comes after it. */
	for (int pass = 0; flags != WANTED_FLAGS && pass < 2; pass++)
		flags = retry_dropped(ring, flags);
	ring->refused_flags = WANTED_FLAGS & ~flags;
	return 0;
}

static int enable(struct weir_ring *ring)
{
	if (!(ring->setup_flags & IORING_SETUP_R_DISABLED))
		return 0;
	return ring->kernel->ops->ring_register(ring->kernel, &ring->uring,
						IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* A table of direct descriptors, as large as the kernel and RLIMIT_NOFILE allow. */
static void register_direct(struct weir_ring *ring)
{
	struct io_uring_rsrc_register reg;

	for (unsigned n = ring->opts.direct_max; n >= 16 && !ring->has_direct; n /= 2) {
		memset(&reg, 0, sizeof(reg));
		reg.nr = n;
		reg.flags = IORING_RSRC_REGISTER_SPARSE;
		if (!ring->kernel->ops->ring_register(ring->kernel, &ring->uring,
						      IORING_REGISTER_FILES2, &reg, sizeof(reg))) {
			ring->has_direct = true;
			ring->opts.direct_max = n;
		}
	}
}

static void choose_enter_flags(struct weir_ring *ring)
{
	ring->enter_flags = 0;
	if (ring->features & IORING_FEAT_MIN_TIMEOUT)	/* 6.12, like absolute timers */
		ring->enter_flags |= IORING_ENTER_ABS_TIMER;
	if (ring->features & IORING_FEAT_NO_IOWAIT)
		ring->enter_flags |= IORING_ENTER_NO_IOWAIT;
}

int weir__ring_start(struct weir_ring *ring)
{
	/* io-wq: few threads for what the kernel cannot do inline, so that they are no crowd. */
	unsigned workers[2] = { 4, 4 };
	struct weir_kernel *kernel = ring->kernel;
	int r = enable(ring);

	if (r < 0)
		return r;
	choose_enter_flags(ring);
	ring->looks = kernel->ops->ring_look;
	if (kernel->ops->ring_register(kernel, &ring->uring, IORING_REGISTER_RING_FDS, NULL, 0) ==
	    1)
		ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
	kernel->ops->ring_register(kernel, &ring->uring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers,
				   2);
	if (ring->opts.direct_max)
		register_direct(ring);
	r = weir__bufs_init(ring, ring->opts.bufs, ring->opts.buf_size);
	if (r < 0)
		return r;
	ring->enabled = true;
	return 0;
}
