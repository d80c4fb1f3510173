/* SPDX-License-Identifier: MIT */
/*
 * fault_kernel.h - the real kernel, of which the Nth call fails as it might on a bad day: a
 * set-up call, an operation that was submitted, an enter, or a transfer that is cut short.
 *
 *	fault_install();			every ring of this process, weir_run()'s too
 *	fault_plan(FAULT_SQE, 7, false, 0);	the seventh operation fails
 *	...
 *	if (fault.hits) ...			it came to that
 *	fault_remove();
 *
 * What fails is not carried out, and gives an errno that its man page has. Never touched is what
 * gives up or takes back (close, unmap, teardown, cancels): its failure would be a lie about
 * ownership. A wake that fails is a kind of its own, FAULT_WAKE.
 */
#ifndef WEIR_TESTS_FAULT_KERNEL_H
#define WEIR_TESTS_FAULT_KERNEL_H

#include <stdio.h>
#include <string.h>

#include "core/ensure.h"
#include "tests/support/host_kernel.h"

enum fault_kind {
	FAULT_CALL = 1,		/* a call of the seam: ring_setup, socket, map, preadv2 ... */
	FAULT_SQE = 2,		/* an operation: its only CQE is an error */
	FAULT_ENTER = 4,	/* an enter, and the two after it: EINTR, EAGAIN, EBUSY */
	FAULT_SHORT = 8,	/* a transfer: moves half of what it was asked to */
	FAULT_WAKE = 16,	/* the wake of a core by a ring message */
};

#define FAULT_RINGS 8
#define FAULT_MARKS 512
#define FAULT_VARIANTS 3
#define FAULT_ENTERS 3		/* in a row */

/* What was seen of one ring's submission queue, and whose results are to be replaced. */
struct fault_ring {
	struct io_uring *uring;
	unsigned seen;		/* SQEs before this index were counted */
	bool asked;		/* whether the kernel can wake it without a ring */
	uint64_t marks[FAULT_MARKS];
	int marks_res[FAULT_MARKS];
	unsigned marks_used;
};

static struct {
	const struct weir_kernel_ops *real;
	struct weir_kernel_ops ops;
	enum fault_kind kind;
	uint64_t at;		/* the Nth of kind fails; 0: none */
	bool sticky;		/* and so do all after it */
	unsigned variant;	/* which errno of those that are plausible */
	uint64_t count;		/* of kind so far; atomic */
	unsigned hits;		/* that failed; atomic */
	char what[48];		/* the first of them */
	unsigned dead_at;	/* this enter of all rings and all after it are refused; 0: none */
	unsigned enters;	/* atomic */
	bool no_notify;		/* as a kernel before 6.13: who has no ring wakes by an eventfd */
	size_t mapped;		/* bytes of map() not given back; atomic */
	unsigned rings_used;	/* atomic */
	struct fault_ring rings[FAULT_RINGS];
} fault;

/* --- when --- */

static bool fault_strikes(enum fault_kind kind, const char *what, unsigned number)
{
	uint64_t n, last;

	if (fault.kind != kind || !fault.at)
		return false;
	n = __atomic_add_fetch(&fault.count, 1, __ATOMIC_RELAXED);
	last = kind == FAULT_ENTER ? fault.at + FAULT_ENTERS - 1 : fault.at;
	if (n < fault.at || (n > last && !fault.sticky))
		return false;
	if (!__atomic_fetch_add(&fault.hits, 1, __ATOMIC_RELAXED))
		snprintf(fault.what, sizeof(fault.what), "%s %u", what, number);
	return true;
}

static int fault_errno(const int *errnos)
{
	unsigned count = 0;

	while (count < FAULT_VARIANTS && errnos[count])
		count++;
	return -errnos[fault.variant % count];
}

/* A call of the seam: what it answers, or 0 when it is to be carried out. */
#define fault_call(name, ...)                                                                     \
	(fault_strikes(FAULT_CALL, name, 0) ?                                                     \
		 fault_errno((const int[FAULT_VARIANTS]){ __VA_ARGS__ }) :                        \
		 0)

/* --- operations --- */

/* The read of an eventfd's count: what the ring wakes by where the kernel has nothing better. */
static bool fault_is_wake_read(const struct io_uring_sqe *sqe)
{
	return sqe->opcode == IORING_OP_READ && sqe->len == sizeof(uint64_t);
}

static int fault_op_errno(unsigned opcode)
{
	static const int errnos[][FAULT_VARIANTS] = {
		[IORING_OP_NOP] = { ENOMEM },
		[IORING_OP_READV] = { EIO, ENOMEM },
		[IORING_OP_WRITEV] = { EIO, ENOSPC },
		[IORING_OP_FSYNC] = { EIO, ENOSPC },
		[IORING_OP_READ_FIXED] = { EIO, ENOMEM },
		[IORING_OP_WRITE_FIXED] = { EIO, ENOSPC },
		[IORING_OP_POLL_ADD] = { ENOMEM },
		[IORING_OP_SENDMSG] = { ECONNRESET, EPIPE, ENOBUFS },
		[IORING_OP_ACCEPT] = { EMFILE, ECONNABORTED, ENOMEM },
		[IORING_OP_CONNECT] = { ECONNREFUSED, ENETUNREACH },
		[IORING_OP_FALLOCATE] = { ENOSPC, EOPNOTSUPP },
		[IORING_OP_OPENAT2] = { EMFILE, ENOMEM, EIO },
		[IORING_OP_FILES_UPDATE] = { ENFILE, ENOMEM },
		[IORING_OP_STATX] = { EIO, ENOMEM },
		[IORING_OP_READ] = { EIO, ENOMEM },
		[IORING_OP_WRITE] = { EIO, ENOSPC },
		[IORING_OP_SEND] = { ECONNRESET, EPIPE, ENOBUFS },
		[IORING_OP_RECV] = { ECONNRESET, ENOBUFS, ENOMEM },
		[IORING_OP_SPLICE] = { EIO, ENOMEM },
		[IORING_OP_SHUTDOWN] = { ENOTCONN },
		[IORING_OP_RENAMEAT] = { EIO, ENOSPC },
		[IORING_OP_UNLINKAT] = { EIO, EROFS },
		[IORING_OP_MKDIRAT] = { EIO, ENOSPC },
		[IORING_OP_SEND_ZC] = { ECONNRESET, ENOBUFS },
		[IORING_OP_SENDMSG_ZC] = { ECONNRESET, ENOBUFS },
		[IORING_OP_FTRUNCATE] = { EIO, ENOSPC },
	};

	if (opcode < sizeof(errnos) / sizeof(errnos[0]) && errnos[opcode][0])
		return fault_errno(errnos[opcode]);
	return 0;
}

static bool fault_is_transfer(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_READ:
	case IORING_OP_WRITE:
	case IORING_OP_READ_FIXED:
	case IORING_OP_WRITE_FIXED:
	case IORING_OP_SEND:
	case IORING_OP_SEND_ZC:
		return sqe->len > 1;
	case IORING_OP_RECV:
		return sqe->len > 1 && !(sqe->flags & IOSQE_BUFFER_SELECT);
	default:
		return false;
	}
}

/*
 * Its result will be res: a NOP takes its place, and the CQE is rewritten when it comes. What is
 * reset is reset for both ends: then a shutdown takes its place.
 */
static void fault_replace(struct fault_ring *ring, struct io_uring_sqe *sqe, int res)
{
	struct io_uring_sqe was = *sqe;
	unsigned i = 0;

	while (i < ring->marks_used && ring->marks[i])
		i++;
	weir_assert(i < FAULT_MARKS);
	if (i == ring->marks_used)
		ring->marks_used++;
	ring->marks[i] = was.user_data;
	ring->marks_res[i] = res;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	if (res == -ECONNRESET || res == -EPIPE) {
		sqe->opcode = IORING_OP_SHUTDOWN;
		sqe->fd = was.fd;
		sqe->flags = was.flags & IOSQE_FIXED_FILE;
		sqe->len = SHUT_RDWR;
	}
	sqe->user_data = was.user_data;
}

static void fault_sqe(struct fault_ring *ring, struct io_uring_sqe *sqe)
{
	int res = fault_op_errno(sqe->opcode);

	if (fault_is_wake_read(sqe))
		return;
	if (sqe->opcode == IORING_OP_MSG_RING) {
		if (fault_strikes(FAULT_WAKE, "wake", 0))
			sqe->fd = -1;	/* the CQE comes in spite of CQE_SKIP_SUCCESS */
	} else if (fault_is_transfer(sqe) &&
		   fault_strikes(FAULT_SHORT, "opcode", sqe->opcode)) {
		sqe->len /= 2;
	} else if (res && fault_strikes(FAULT_SQE, "opcode", sqe->opcode)) {
		fault_replace(ring, sqe, res);
	}
}

static void fault_cqe(struct fault_ring *ring, struct io_uring_cqe *cqe)
{
	for (unsigned i = 0; i < ring->marks_used; i++) {
		if (!cqe->user_data || ring->marks[i] != cqe->user_data)
			continue;
		cqe->res = ring->marks_res[i];
		ring->marks[i] = 0;
	}
}

/* Only the ring's own worker asks. NULL: a place that is free. */
static struct fault_ring *fault_ring_of(struct io_uring *uring)
{
	unsigned used = __atomic_load_n(&fault.rings_used, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < used; i++)
		if (__atomic_load_n(&fault.rings[i].uring, __ATOMIC_RELAXED) == uring)
			return &fault.rings[i];
	return NULL;
}

static int fault_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
		       unsigned wait, unsigned flags, const void *arg, size_t size)
{
	struct fault_ring *ring = fault_ring_of(uring);
	unsigned tail = *uring->sq.ktail;
	int r;

	if (fault.dead_at &&
	    __atomic_add_fetch(&fault.enters, 1, __ATOMIC_RELAXED) >= fault.dead_at)
		return -EPERM;
	if (fault_strikes(FAULT_ENTER, "enter", submit))
		return fault_errno((const int[FAULT_VARIANTS]){ EINTR, EAGAIN, EBUSY });
	while (ring && ring->seen != tail)
		fault_sqe(ring, &uring->sq.sqes[ring->seen++ & uring->sq.ring_mask]);
	r = fault.real->ring_enter(kernel, uring, submit, wait, flags, arg, size);
	for (unsigned i = *uring->cq.khead; ring && i != io_uring_smp_load_acquire(uring->cq.ktail);
	     i++)
		fault_cqe(ring, &uring->cq.cqes[i & uring->cq.ring_mask]);
	return r;
}

/* --- the ring itself --- */

static int fault_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
		       struct io_uring_params *params)
{
	struct fault_ring *ring = fault_ring_of(uring);
	int r = fault_call("ring_setup", ENOMEM, EPERM, EINVAL);

	if (!r)
		r = fault.real->ring_setup(kernel, entries, uring, params);
	if (r < 0)
		return r;
	if (!ring)
		ring = fault_ring_of(NULL);	/* of one that is gone */
	if (!ring) {
		unsigned i = fault.rings_used;

		weir_assert(i < FAULT_RINGS);
		ring = &fault.rings[i];
		__atomic_store_n(&fault.rings_used, i + 1, __ATOMIC_RELEASE);
	}
	memset(ring, 0, sizeof(*ring));
	__atomic_store_n(&ring->uring, uring, __ATOMIC_RELAXED);
	ring->seen = *uring->sq.khead;
	return r;
}

static void fault_teardown(struct weir_kernel *kernel, struct io_uring *uring)
{
	struct fault_ring *ring = fault_ring_of(uring);

	if (ring)
		__atomic_store_n(&ring->uring, NULL, __ATOMIC_RELAXED);
	fault.real->ring_teardown(kernel, uring);
}

static bool fault_is_giving_up(unsigned opcode)
{
	return opcode == IORING_UNREGISTER_RING_FDS || opcode == IORING_UNREGISTER_PBUF_RING ||
	       opcode == IORING_UNREGISTER_BUFFERS || opcode == IORING_UNREGISTER_FILES ||
	       opcode == IORING_REGISTER_FILES_UPDATE;
}

static int fault_register(struct weir_kernel *kernel, struct io_uring *uring, unsigned opcode,
			  const void *arg, unsigned count)
{
	if (!fault_is_giving_up(opcode) && fault_strikes(FAULT_CALL, "register", opcode))
		return fault_errno((const int[FAULT_VARIANTS]){ ENOMEM, EINVAL, EPERM });
	return fault.real->ring_register(kernel, uring, opcode, arg, count);
}

/* The first asks whether the kernel can (a call like others), the later ones are wakes. */
static int fault_notify(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data)
{
	struct fault_ring *ring = fault_ring_of(uring);

	if (ring && !ring->asked) {
		ring->asked = true;
		if (fault.no_notify || fault_strikes(FAULT_CALL, "notify", 0))
			return -EINVAL;
	}
	return fault.real->notify(kernel, uring, user_data);
}

/* --- the control plane --- */

static void *fault_map(struct weir_kernel *kernel, size_t size)
{
	void *ptr = fault_call("map", ENOMEM) ? NULL : fault.real->map(kernel, size);

	if (ptr)
		__atomic_add_fetch(&fault.mapped, size, __ATOMIC_RELAXED);
	return ptr;
}

static void fault_unmap(struct weir_kernel *kernel, void *ptr, size_t size)
{
	__atomic_sub_fetch(&fault.mapped, size, __ATOMIC_RELAXED);
	fault.real->unmap(kernel, ptr, size);
}

static int fault_socket(struct weir_kernel *kernel, int domain, int type, int protocol)
{
	int r = fault_call("socket", EMFILE, ENOBUFS, ENOMEM);

	return r ? r : fault.real->socket(kernel, domain, type, protocol);
}

static int fault_bind(struct weir_kernel *kernel, int fd, const struct sockaddr *addr,
		      socklen_t size)
{
	int r = fault_call("bind", EADDRINUSE, EACCES, EADDRNOTAVAIL);

	return r ? r : fault.real->bind(kernel, fd, addr, size);
}

static int fault_listen(struct weir_kernel *kernel, int fd, int backlog)
{
	int r = fault_call("listen", EADDRINUSE);

	return r ? r : fault.real->listen(kernel, fd, backlog);
}

static int fault_setsockopt(struct weir_kernel *kernel, int fd, int level, int name,
			    const void *value, socklen_t size)
{
	int r = fault_call("setsockopt", ENOMEM, ENOPROTOOPT);

	return r ? r : fault.real->setsockopt(kernel, fd, level, name, value, size);
}

static int fault_getsockname(struct weir_kernel *kernel, int fd, struct sockaddr *addr,
			     socklen_t *size)
{
	int r = fault_call("getsockname", ENOBUFS);

	return r ? r : fault.real->getsockname(kernel, fd, addr, size);
}

static int fault_eventfd(struct weir_kernel *kernel)
{
	int r = fault_call("eventfd", EMFILE, ENOMEM);

	return r ? r : fault.real->eventfd(kernel);
}

static ssize_t fault_preadv2(struct weir_kernel *kernel, int fd, const struct iovec *iov,
			     int count, int64_t offset, int flags)
{
	struct iovec first = *iov;
	int r = fault_call("preadv2", EIO, EAGAIN);

	if (r)
		return r;
	if (first.iov_len > 1 && fault_strikes(FAULT_SHORT, "preadv2", 0)) {
		first.iov_len /= 2;
		return fault.real->preadv2(kernel, fd, &first, 1, offset, flags);
	}
	return fault.real->preadv2(kernel, fd, iov, count, offset, flags);
}

static ssize_t fault_pwritev2(struct weir_kernel *kernel, int fd, const struct iovec *iov,
			      int count, int64_t offset, int flags)
{
	struct iovec first = *iov;
	int r = fault_call("pwritev2", EIO, EAGAIN, ENOSPC);

	if (r)
		return r;
	if (first.iov_len > 1 && fault_strikes(FAULT_SHORT, "pwritev2", 0)) {
		first.iov_len /= 2;
		return fault.real->pwritev2(kernel, fd, &first, 1, offset, flags);
	}
	return fault.real->pwritev2(kernel, fd, iov, count, offset, flags);
}

static int fault_statx(struct weir_kernel *kernel, int fd, unsigned mask, struct statx *ret_stat)
{
	int r = fault_call("statx", EIO, ENOMEM);

	return r ? r : fault.real->statx(kernel, fd, mask, ret_stat);
}

static int fault_fstatfs(struct weir_kernel *kernel, int fd, struct statfs *ret_fs)
{
	int r = fault_call("fstatfs", EIO, ENOSYS);

	return r ? r : fault.real->fstatfs(kernel, fd, ret_fs);
}

static int fault_ftruncate(struct weir_kernel *kernel, int fd, int64_t size)
{
	int r = fault_call("ftruncate", EIO, ENOSPC);

	return r ? r : fault.real->ftruncate(kernel, fd, size);
}

/* --- in use --- */

/*
 * From now on the Nth of kind fails, and when sticky all after it. at 0: nothing does. No ring
 * exists.
 */
static inline void fault_plan(enum fault_kind kind, uint64_t at, bool sticky, unsigned variant)
{
	fault.kind = kind;
	fault.at = at;
	fault.sticky = sticky;
	fault.variant = variant;
	fault.count = 0;
	fault.hits = 0;
	fault.what[0] = '\0';
	fault.rings_used = 0;
}

/* Before a ring exists. */
static inline void fault_install(void)
{
	struct weir_kernel *kernel = host_kernel();
	const struct weir_kernel_ops *real = kernel->ops;

	if (real == &fault.ops)		/* of a test that failed */
		real = fault.real;
	memset(&fault, 0, sizeof(fault));
	kernel->ops = real;
	fault.real = real;
	fault.ops = *kernel->ops;
	fault.ops.ring_setup = fault_setup;
	fault.ops.ring_teardown = fault_teardown;
	fault.ops.ring_enter = fault_enter;
	fault.ops.ring_register = fault_register;
	fault.ops.notify = fault_notify;
	fault.ops.map = fault_map;
	fault.ops.unmap = fault_unmap;
	fault.ops.socket = fault_socket;
	fault.ops.bind = fault_bind;
	fault.ops.listen = fault_listen;
	fault.ops.setsockopt = fault_setsockopt;
	fault.ops.getsockname = fault_getsockname;
	fault.ops.eventfd = fault_eventfd;
	fault.ops.preadv2 = fault_preadv2;
	fault.ops.pwritev2 = fault_pwritev2;
	fault.ops.statx = fault_statx;
	fault.ops.fstatfs = fault_fstatfs;
	fault.ops.ftruncate = fault_ftruncate;
	kernel->ops = &fault.ops;
}

/* After the last ring is gone. */
static inline void fault_remove(void)
{
	host_kernel()->ops = fault.real;
}

#endif
