/* SPDX-License-Identifier: MIT */
/*
 * issue.c - which operation is carried out by what. An operation without a row is refused, by the
 * probe and by the ring, as a kernel that does not have it would.
 */
#include <sys/socket.h>

#include "ring/poll/parts.h"

static int issue_shutdown(struct weir_poll_req *p)
{
	return weir__poll_result(shutdown(weir__poll_file(p)->fd, (int)p->req.sqe.len));
}

static int issue_bind(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;

	return weir__poll_result(bind(weir__poll_file(p)->fd,
				      (const struct sockaddr *)(uintptr_t)sqe->addr,
				      (socklen_t)sqe->addr2));
}

static int issue_listen(struct weir_poll_req *p)
{
	return weir__poll_result(listen(weir__poll_file(p)->fd, (int)p->req.sqe.len));
}

typedef int (*issue_fn)(struct weir_poll_req *p);

static const issue_fn rows[IORING_OP_LAST] = {
	[IORING_OP_READV] = weir__poll_transfer,
	[IORING_OP_WRITEV] = weir__poll_transfer,
	[IORING_OP_READ_FIXED] = weir__poll_transfer,
	[IORING_OP_WRITE_FIXED] = weir__poll_transfer,
	[IORING_OP_READ] = weir__poll_transfer,
	[IORING_OP_WRITE] = weir__poll_transfer,
	[IORING_OP_FSYNC] = weir__poll_disk,
	[IORING_OP_SYNC_FILE_RANGE] = weir__poll_disk,
	[IORING_OP_FALLOCATE] = weir__poll_disk,
	[IORING_OP_FTRUNCATE] = weir__poll_disk,
	[IORING_OP_FADVISE] = weir__poll_disk,
	[IORING_OP_OPENAT] = weir__poll_disk,
	[IORING_OP_OPENAT2] = weir__poll_disk,
	[IORING_OP_STATX] = weir__poll_disk,
	[IORING_OP_RENAMEAT] = weir__poll_disk,
	[IORING_OP_UNLINKAT] = weir__poll_disk,
	[IORING_OP_MKDIRAT] = weir__poll_disk,
	[IORING_OP_SYMLINKAT] = weir__poll_disk,
	[IORING_OP_LINKAT] = weir__poll_disk,
	[IORING_OP_CLOSE] = weir__poll_close,
	[IORING_OP_SPLICE] = weir__poll_splice,
	[IORING_OP_TEE] = weir__poll_splice,
	[IORING_OP_POLL_ADD] = weir__poll_poll,
	[IORING_OP_RECV] = weir__poll_recv,
	[IORING_OP_RECVMSG] = weir__poll_recvmsg,
	[IORING_OP_SEND] = weir__poll_send,
	[IORING_OP_SEND_ZC] = weir__poll_send,
	[IORING_OP_SENDMSG] = weir__poll_sendmsg,
	[IORING_OP_SENDMSG_ZC] = weir__poll_sendmsg,
	[IORING_OP_ACCEPT] = weir__poll_accept,
	[IORING_OP_CONNECT] = weir__poll_connect,
	[IORING_OP_SOCKET] = weir__poll_socket,
	[IORING_OP_SHUTDOWN] = issue_shutdown,
	[IORING_OP_BIND] = issue_bind,
	[IORING_OP_LISTEN] = issue_listen,
};

/* The soft ring does these itself. */
static bool is_the_rings(unsigned opcode)
{
	switch (opcode) {
	case IORING_OP_NOP:
	case IORING_OP_TIMEOUT:
	case IORING_OP_TIMEOUT_REMOVE:
	case IORING_OP_LINK_TIMEOUT:
	case IORING_OP_ASYNC_CANCEL:
	case IORING_OP_POLL_REMOVE:
	case IORING_OP_FIXED_FD_INSTALL:
	case IORING_OP_FILES_UPDATE:
	case IORING_OP_MSG_RING:
		return true;
	default:
		return false;
	}
}

bool weir__poll_knows(unsigned opcode)
{
	return opcode < IORING_OP_LAST && (rows[opcode] || is_the_rings(opcode));
}

int weir__poll_issue(struct weir_soft_req *req)
{
	return rows[req->sqe.opcode](weir__poll_req(req));
}
