/* SPDX-License-Identifier: MIT */
/*
 * prep.c - what is wrong with an SQE on sight. The kernel looks before it begins anything of a
 * chain, and before it looks up the descriptor; so does the soft ring, for all its backends.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>

#include "ring/soft/soft.h"

#define SEND_KNOWN                                                                                \
	(IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_FIXED_BUF | IORING_SEND_ZC_REPORT_USAGE |   \
	 IORING_RECVSEND_BUNDLE)
#define RECV_KNOWN (IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT | IORING_RECVSEND_BUNDLE)
#define TIMEOUT_KNOWN                                                                             \
	(IORING_TIMEOUT_ABS | IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME |                 \
	 IORING_TIMEOUT_ETIME_SUCCESS | IORING_TIMEOUT_MULTISHOT)
#define MESSAGE_KNOWN (IORING_MSG_RING_CQE_SKIP | IORING_MSG_RING_FLAGS_PASS)

int64_t weir__soft_span(uint64_t addr)
{
	const struct __kernel_timespec *ts = (const void *)(uintptr_t)addr;

	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= WEIR_S)
		return -1;
	return ts->tv_sec >= WEIR_NEVER / WEIR_S ? WEIR_NEVER : ts->tv_sec * WEIR_S + ts->tv_nsec;
}

static bool times_wrongly(const struct io_uring_sqe *sqe)
{
	const unsigned clocks = IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME;

	return (sqe->timeout_flags & ~TIMEOUT_KNOWN) || sqe->len != 1 ||
	       (sqe->timeout_flags & clocks) == clocks || weir__soft_span(sqe->addr) < 0;
}

/* A slot has no use for close-on-exec. */
static bool opens_wrongly(const struct io_uring_sqe *sqe)
{
	const struct open_how *how = (const void *)(uintptr_t)sqe->addr2;

	if (sqe->opcode == IORING_OP_OPENAT)
		return sqe->file_index && (sqe->open_flags & O_CLOEXEC);
	return sqe->len < sizeof(*how) || (sqe->file_index && (how->flags & O_CLOEXEC));
}

static bool accepts_wrongly(const struct io_uring_sqe *sqe)
{
	if (sqe->accept_flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return true;
	if (!sqe->file_index)
		return false;
	return (sqe->accept_flags & SOCK_CLOEXEC) ||
	       ((sqe->ioprio & IORING_ACCEPT_MULTISHOT) &&
		sqe->file_index != IORING_FILE_INDEX_ALLOC);
}

static bool receives_wrongly(const struct io_uring_sqe *sqe)
{
	if (sqe->ioprio & ~RECV_KNOWN)
		return true;
	if (!(sqe->ioprio & IORING_RECV_MULTISHOT))
		return false;
	return !(sqe->flags & IOSQE_BUFFER_SELECT) || (sqe->msg_flags & MSG_WAITALL);
}

static bool is_wrong(const struct io_uring_sqe *sqe)
{
	switch (sqe->opcode) {
	case IORING_OP_TIMEOUT:
	case IORING_OP_LINK_TIMEOUT:
		return times_wrongly(sqe);
	case IORING_OP_FSYNC:
		return sqe->fsync_flags & ~IORING_FSYNC_DATASYNC;
	case IORING_OP_OPENAT:
	case IORING_OP_OPENAT2:
		return opens_wrongly(sqe);
	case IORING_OP_UNLINKAT:
		return sqe->unlink_flags & ~AT_REMOVEDIR;
	case IORING_OP_ACCEPT:
		return accepts_wrongly(sqe);
	case IORING_OP_SOCKET:
		return sqe->rw_flags || (sqe->file_index && (sqe->off & SOCK_CLOEXEC));
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
		return receives_wrongly(sqe);
	case IORING_OP_SEND_ZC:
	case IORING_OP_SENDMSG_ZC:
		return sqe->ioprio & ~SEND_KNOWN;
	case IORING_OP_MSG_RING:
		return sqe->msg_ring_flags & ~MESSAGE_KNOWN;
	default:
		return false;
	}
}

int weir__soft_prep(const struct io_uring_sqe *sqe)
{
	return is_wrong(sqe) && !weir__rule_is_broken(WEIR_RULE_PREP) ? -EINVAL : 0;
}
