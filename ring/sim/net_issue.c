/* SPDX-License-Identifier: MIT */
/*
 * net_issue.c - the other operations on a socket: BIND, LISTEN, CONNECT, ACCEPT, SHUTDOWN and
 * the commands of URING_CMD.
 */
#include <fcntl.h>
#include <string.h>

#include "ring/sim/net.h"

#ifndef IORING_ACCEPT_DONTWAIT
#define IORING_ACCEPT_DONTWAIT (1U << 1)
#define IORING_ACCEPT_POLL_FIRST (1U << 2)
#endif

#define ACCEPT_KNOWN                                                                               \
	(IORING_ACCEPT_MULTISHOT | IORING_ACCEPT_DONTWAIT | IORING_ACCEPT_POLL_FIRST)
#define FDS_FIRST 3

static void *pointer(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

/* --- CONNECT --- */

static int issue_connect(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	int r;

	/* polled: the handshake is this request's, and has begun. */
	if (!req->soft.polled) {
		r = weir__sim_socket_connect(sock, pointer(sqe->addr), (socklen_t)sqe->addr2);
		if (r == -EAGAIN)
			return weir__sim_wait(req, POLLOUT);
		if (r != -EINPROGRESS)
			return r;
		req->soft.polled = true;
	}
	if (sock->state == SOCKET_CONNECTING)
		return weir__sim_wait(req, POLLOUT);
	r = weir__sim_socket_error(sock);
	return !r && sock->state == SOCKET_OVER ? -ECONNRESET : r;
}

/* --- ACCEPT --- */

/* Where the peer's address goes, of a single accept. */
static void tell_peer(const struct weir_sim_req *req, const struct weir_sim_socket *child)
{
	struct sockaddr *addr = pointer(req->soft.sqe.addr);
	socklen_t *size = pointer(req->soft.sqe.addr2);

	if (addr && size)
		weir__sim_socket_peer(child, addr, size);
}

/* 0, or why nothing can be accepted though somebody waits. */
static int strike(struct weir_sim_socket *sock)
{
	static const int limits[] = { -EMFILE, -ENFILE };
	static const int errors[] = { -ECONNABORTED, -ENOBUFS, -ENOMEM };
	struct weir_sim_host *host = sock->file.host;
	int error;

	if (weir__sim_fault(host->sim, host, WEIR_SIM_FDS, "accept-fds"))
		return limits[weir__sim_choose(host->sim, host, "accept-limit", 2)];
	if (!weir__sim_fault(host->sim, host, WEIR_SIM_CONNECT, "accept-fails"))
		return 0;
	error = errors[weir__sim_choose(host->sim, host, "accept-how", 3)];
	if (error == -ECONNABORTED)
		weir__sim_file_put(&weir__sim_backlog_pop(sock)->file);
	return error;
}

/* The limit is that of the submission. */
static int add_fd(struct weir_sim_req *req, struct weir_sim_file *file)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	unsigned fds_max = host->opts.fds_max;
	int fd;

	host->opts.fds_max = (unsigned)req->later_res;
	fd = weir__sim_fd_add(host, file);
	host->opts.fds_max = fds_max;
	return fd;
}

static int accept_one(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	struct weir_sim_host *host = weir__sim_req_host(req);
	struct weir_sim_socket *child;
	int r;

	if (!weir__sim_is_stream(sock))
		return -EOPNOTSUPP;
	if (sock->state != SOCKET_LISTENS)
		return -EINVAL;
	/* The descriptor comes first, even when nobody waits. */
	if (!sqe->file_index && host->fds_open + FDS_FIRST >= (unsigned)req->later_res)
		return -EMFILE;
	if (weir__list_is_empty(&sock->backlog))
		return -EAGAIN;
	r = strike(sock);
	if (r < 0)
		return r;
	child = weir__sim_backlog_pop(sock);
	child->file.flags = sqe->accept_flags & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	tell_peer(req, child);
	r = sqe->file_index ? weir__soft_install(&req->soft, &child->file) :
			      add_fd(req, &child->file);
	if (r < 0)
		weir__sim_file_put(&child->file);
	req->soft.cflags = weir__list_is_empty(&sock->backlog) ? 0 : IORING_CQE_F_SOCK_NONEMPTY;
	return r;
}

static int issue_accept(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	bool is_multishot = sqe->ioprio & IORING_ACCEPT_MULTISHOT;
	struct weir_sim_host *host = weir__sim_req_host(req);
	int r;

	if ((sqe->ioprio & ~ACCEPT_KNOWN) ||
	    (sqe->accept_flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) ||
	    (sqe->file_index && (sqe->accept_flags & SOCK_CLOEXEC)) ||
	    (is_multishot && sqe->file_index && sqe->file_index != IORING_FILE_INDEX_ALLOC))
		return -EINVAL;
	if (!req->later_res || weir__rule_is_broken(WEIR_RULE_ACCEPT_LIMIT))
		req->later_res = (int)host->opts.fds_max;
	for (;;) {
		r = accept_one(sock, req);
		if (r == -EAGAIN && !(sqe->ioprio & IORING_ACCEPT_DONTWAIT))
			return weir__sim_wait(req, POLLIN);
		if (r < 0 || !is_multishot)
			return r;
		if (weir__sim_fault(host->sim, host, WEIR_SIM_MULTISHOT, "accept-ends") ||
		    !weir__soft_more(&req->soft, r, req->soft.cflags))
			return r;
	}
}

/* --- URING_CMD --- */

static int issue_command(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;
	socklen_t size = (socklen_t)sqe->optlen;
	int r;

	switch (sqe->cmd_op) {
	case SOCKET_URING_OP_SIOCINQ:
		return sock->state == SOCKET_LISTENS ? -EINVAL :
						       (int)weir__sim_stream_unread(sock);
	case SOCKET_URING_OP_SIOCOUTQ:
		if (sock->state == SOCKET_LISTENS)
			return -EINVAL;
		return sock->stream ? sock->send_size - (int)weir__sim_stream_room(sock) : 0;
	case SOCKET_URING_OP_SETSOCKOPT:
		return weir__sim_socket_set(sock, (int)sqe->level, (int)sqe->optname,
					    pointer(sqe->optval), size);
	case SOCKET_URING_OP_GETSOCKOPT:
		if (sqe->level != SOL_SOCKET)
			return -EOPNOTSUPP;
		r = weir__sim_socket_get(sock, SOL_SOCKET, (int)sqe->optname,
					 pointer(sqe->optval), &size);
		return r < 0 ? r : (int)size;
	default:
		return -EOPNOTSUPP;
	}
}

int weir__sim_socket_issue(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;

	switch (sqe->opcode) {
	case IORING_OP_RECV:
	case IORING_OP_RECVMSG:
	case IORING_OP_READ:
	case IORING_OP_READV:
	case IORING_OP_READ_FIXED:
		return weir__sim_issue_recv(sock, req);
	case IORING_OP_SEND:
	case IORING_OP_SENDMSG:
	case IORING_OP_SEND_ZC:
	case IORING_OP_SENDMSG_ZC:
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
	case IORING_OP_WRITE_FIXED:
		return weir__sim_issue_send(sock, req);
	case IORING_OP_ACCEPT:
		return issue_accept(sock, req);
	case IORING_OP_CONNECT:
		return issue_connect(sock, req);
	case IORING_OP_BIND:
		return weir__sim_socket_bind(sock, pointer(sqe->addr), (socklen_t)sqe->addr2);
	case IORING_OP_LISTEN:
		return weir__sim_socket_listen(sock, (int)sqe->len);
	case IORING_OP_SHUTDOWN:
		return weir__sim_socket_shutdown(sock, (int)sqe->len);
	case IORING_OP_URING_CMD:
		return issue_command(sock, req);
	default:
		return -EINVAL;
	}
}
