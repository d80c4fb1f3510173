/* SPDX-License-Identifier: MIT */
/*
 * owner.c - the ownership of memory, which no real kernel checks: from the SQE to the final
 * CQE (the NOTIF of a zero-copy send) the kernel owns the buffer. What is sent is hashed at
 * the start and at the end; what is received into is poisoned for AddressSanitizer meanwhile,
 * and scribbled over when nothing came, so that who looks at it too early sees it.
 */
#include <string.h>

#include "ring/ring.h"
#include "ring/sim/world.h"
#include "ring/slots.h"

static bool is_sent(unsigned opcode)
{
	switch (opcode) {
	case IORING_OP_SEND:
	case IORING_OP_SEND_ZC:
	case IORING_OP_SENDMSG:
	case IORING_OP_SENDMSG_ZC:
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
	case IORING_OP_WRITE_FIXED:
		return true;
	default:
		return false;
	}
}

static bool is_received(unsigned opcode)
{
	switch (opcode) {
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_READ_FIXED:
		return true;
	default:
		return false;
	}
}

static int buffers_of(struct weir_sim_req *req, struct iovec *iov)
{
	if (req->soft.sqe.flags & IOSQE_BUFFER_SELECT)
		return 0;
	return weir__sim_buffers(req, iov, WEIR_SIM_IOVS, SIZE_MAX);
}

static uint64_t hash_of(struct weir_sim_req *req)
{
	struct iovec iov[WEIR_SIM_IOVS];
	int count = buffers_of(req, iov);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (int i = 0; i < count; i++) {
		const unsigned char *p = iov[i].iov_base;
		size_t size = iov[i].iov_len;
		uint64_t word;

		for (; size >= 8; p += 8, size -= 8) {
			memcpy(&word, p, 8);
			hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
			hash ^= hash >> 32;
		}
		for (; size; p++, size--)
			hash = (hash ^ *p) * UINT64_C(0x100000001b3);
	}
	return hash;
}

/* The operation's name as its owner gave it; when the ring is a worker's. */
static const char *owner_name(const struct weir_soft_req *req)
{
	const struct weir_ring *ring = weir__ring_self();
	uint32_t index = (uint32_t)req->sqe.user_data;

	if (!ring || &ring->uring != req->soft->uring || index >= ring->slots_used ||
	    !ring->slots[index].op)
		return "nobody";
	return ring->slots[index].op->name ? ring->slots[index].op->name : "no name";
}

static void violation(struct weir_sim_req *req)
{
	weir__sim_fail(weir__sim_req_host(req)->sim, "the kernel owns a buffer until the end",
		       "the buffer of %s, owned by \"%s\", changed while it was being sent",
		       weir__opcode_name(req->soft.sqe.opcode), req->owner);
}

/* Nothing came, and the kernel may have used the buffer all the same. */
static void scribble(struct weir_sim_req *req)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	struct iovec iov[WEIR_SIM_IOVS];
	int count;

	if (!weir__sim_fault(host->sim, host, WEIR_SIM_SCRIBBLE, "scribble"))
		return;
	count = buffers_of(req, iov);
	for (int i = 0; i < count; i++)
		memset(iov[i].iov_base, 0xdb, iov[i].iov_len);
}

static void poison(struct weir_sim_req *req, bool on)
{
#ifdef WEIR__ASAN
	struct iovec iov[WEIR_SIM_IOVS];
	int count = buffers_of(req, iov);

	for (int i = 0; i < count; i++) {
		if (on)
			weir__notes_poison(iov[i].iov_base, iov[i].iov_len);
		else
			weir__notes_unpoison(iov[i].iov_base, iov[i].iov_len);
	}
#endif
	(void)req;
	(void)on;
}

void weir__sim_owner_begin(struct weir_sim_req *req)
{
	unsigned opcode = req->soft.sqe.opcode;

	req->owner = owner_name(&req->soft);
	if (is_sent(opcode))
		req->guard = hash_of(req);
	else if (is_received(opcode))
		poison(req, true);
}

void weir__sim_owner_end(struct weir_sim_req *req, int res)
{
	unsigned opcode = req->soft.sqe.opcode;

	if (is_sent(opcode) && hash_of(req) != req->guard)
		violation(req);
	if (!is_received(opcode))
		return;
	poison(req, false);
	if (res < 0)
		scribble(req);
}
