/* SPDX-License-Identifier: MIT */
/*
 * inflight.c - what the kernel is working on: walking the slot table, with names.
 */
#include "core/worker.h"
#include "ring/ring.h"

/* One row per opcode this library uses; what is not here is shown by "OP". */
static const char *const names[] = {
	[IORING_OP_NOP] = "NOP",
	[IORING_OP_READV] = "READV",
	[IORING_OP_WRITEV] = "WRITEV",
	[IORING_OP_FSYNC] = "FSYNC",
	[IORING_OP_READ_FIXED] = "READ_FIXED",
	[IORING_OP_WRITE_FIXED] = "WRITE_FIXED",
	[IORING_OP_POLL_ADD] = "POLL_ADD",
	[IORING_OP_POLL_REMOVE] = "POLL_REMOVE",
	[IORING_OP_SENDMSG] = "SENDMSG",
	[IORING_OP_RECVMSG] = "RECVMSG",
	[IORING_OP_TIMEOUT] = "TIMEOUT",
	[IORING_OP_TIMEOUT_REMOVE] = "TIMEOUT_REMOVE",
	[IORING_OP_ACCEPT] = "ACCEPT",
	[IORING_OP_ASYNC_CANCEL] = "ASYNC_CANCEL",
	[IORING_OP_LINK_TIMEOUT] = "LINK_TIMEOUT",
	[IORING_OP_CONNECT] = "CONNECT",
	[IORING_OP_FALLOCATE] = "FALLOCATE",
	[IORING_OP_OPENAT] = "OPENAT",
	[IORING_OP_OPENAT2] = "OPENAT2",
	[IORING_OP_CLOSE] = "CLOSE",
	[IORING_OP_FILES_UPDATE] = "FILES_UPDATE",
	[IORING_OP_STATX] = "STATX",
	[IORING_OP_READ] = "READ",
	[IORING_OP_WRITE] = "WRITE",
	[IORING_OP_SEND] = "SEND",
	[IORING_OP_RECV] = "RECV",
	[IORING_OP_SPLICE] = "SPLICE",
	[IORING_OP_SHUTDOWN] = "SHUTDOWN",
	[IORING_OP_RENAMEAT] = "RENAMEAT",
	[IORING_OP_UNLINKAT] = "UNLINKAT",
	[IORING_OP_MKDIRAT] = "MKDIRAT",
	[IORING_OP_SYMLINKAT] = "SYMLINKAT",
	[IORING_OP_LINKAT] = "LINKAT",
	[IORING_OP_MSG_RING] = "MSG_RING",
	[IORING_OP_SOCKET] = "SOCKET",
	[IORING_OP_SEND_ZC] = "SEND_ZC",
	[IORING_OP_SENDMSG_ZC] = "SENDMSG_ZC",
	[IORING_OP_FUTEX_WAIT] = "FUTEX_WAIT",
	[IORING_OP_FUTEX_WAKE] = "FUTEX_WAKE",
	[IORING_OP_FIXED_FD_INSTALL] = "FIXED_FD_INSTALL",
	[IORING_OP_FTRUNCATE] = "FTRUNCATE",
};

const char *weir__opcode_name(unsigned opcode)
{
	if (opcode < sizeof(names) / sizeof(names[0]) && names[opcode])
		return names[opcode];
	return "OP";
}

int weir_inflight_list(int (*visit)(const struct weir_inflight *op, void *arg), void *arg)
{
	struct weir_ring *ring = weir__ring_self();

	for (uint32_t i = 0; ring && i < ring->slots_used; i++) {
		const struct weir_slot *slot = &ring->slots[i];
		struct weir_inflight info;
		int r;

		if (!slot->op)
			continue;
		info.opcode = weir__opcode_name(slot->opcode);
		info.name = slot->op->name;
		info.fd = slot->fd;
		info.direct = slot->sqe_flags & IOSQE_FIXED_FILE;
		info.armed = slot->purse == WEIR_ARMED;
		info.cancelling = slot->cancel_wanted || (slot->pending & PENDING_CANCEL);
		info.age_ns = weir__self->now_ns - slot->since_ns;
		r = visit(&info, arg);
		if (r)
			return r;
	}
	return 0;
}

int weir_ring_info(struct weir_ring_info *ret_info)
{
	const struct weir_ring *ring = weir__ring_self();

	if (!ring)
		return -EDEADLK;
	*ret_info = (struct weir_ring_info){
		.kernel = ring->kernel->ops->name,
		.kernel_reason = ring->opts.kernel_info ? ring->opts.kernel_info->reason : "",
		.depth = ring->limit[WEIR_TRANSIENT],
		.inflight = ring->taken[WEIR_TRANSIENT],
		.inflight_high = ring->high,
		.armed = ring->taken[WEIR_ARMED],
		.armed_max = ring->limit[WEIR_ARMED],
		.parked = ring->parked,
		.sq_size = ring->uring.sq.ring_entries,
		.cq_size = ring->uring.cq.ring_entries,
		.bufs = ring->bufs.count,
		.bufs_lent = ring->bufs.lent,
		.enters = ring->enters,
		.cq_overflow = ring->overflow,
		.setup_flags = ring->setup_flags,
		.refused_flags = ring->refused_flags,
	};
	return 0;
}
