/* SPDX-License-Identifier: MIT */
/*
 * micro_seam.c - what the seam costs on the Linux kernel: the smallest turn there is, one NOP
 * submitted and reaped, through struct weir_kernel and by the bare system call, in turns.
 */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/kernel.h"
#include "tests/bench/micro.h"

#define ROUNDS 4000
#define NOPS 200

static int enter_bare(struct weir_kernel *kernel, struct io_uring *ring)
{
	(void)kernel;
	return (int)syscall(__NR_io_uring_enter, ring->enter_ring_fd, 1, 1,
			    IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL, 0);
}

static int enter_seam(struct weir_kernel *kernel, struct io_uring *ring)
{
	return kernel->ops->ring_enter(kernel, ring, 1, 1,
				       IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL,
				       0);
}

static inline __attribute__((always_inline)) double
nops(struct weir_kernel *kernel, struct io_uring *ring,
     int (*enter)(struct weir_kernel *kernel, struct io_uring *ring))
{
	double start_ns = micro_now_ns();

	for (unsigned i = 0; i < NOPS; i++) {
		io_uring_prep_nop(io_uring_get_sqe(ring));
		io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
		if (enter(kernel, ring) != 1)
			return 0;
		io_uring_cq_advance(ring, 1);
	}
	return (micro_now_ns() - start_ns) / NOPS;
}

int micro_seam(micro_report_fn report)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct weir_kernel *kernel = weir__kernel_uring();
	struct io_uring ring;
	double bare_ns = 1e9;
	double seam_ns = 1e9;
	int r;

	memset(&ring, 0, sizeof(ring));
	r = kernel->ops->ring_setup(kernel, 64, &ring, &params);
	if (r < 0)
		return r;
	kernel->ops->ring_register(kernel, &ring, IORING_REGISTER_RING_FDS, NULL, 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		double ns = nops(kernel, &ring, i % 2 ? enter_bare : enter_seam);

		if (i % 2 && ns < bare_ns)
			bare_ns = ns;
		if (i % 2 == 0 && ns < seam_ns)
			seam_ns = ns;
	}
	kernel->ops->ring_teardown(kernel, &ring);
	report("enter: one NOP by the bare system call", bare_ns, 0);
	report("enter: one NOP through the seam", seam_ns, bare_ns * 1.01);
	return 0;
}
