/* SPDX-License-Identifier: MIT */
/*
 * net_recv.c - receiving: RECV, RECVMSG and READ, once or as a multishot, into memory that
 * the operation names or into provided buffers. A buffer is chosen before there is data, as in
 * Linux: without one it is -ENOBUFS at once.
 */
#include <fcntl.h>
#include <string.h>

#include "ring/sim/net.h"

#define RUN_MAX 33		/* results of a multishot in one run */
#define FLAGS_KNOWN                                                                                \
	(IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT | IORING_RECVSEND_BUNDLE)

static struct weir_sim *sim_of(const struct weir_sim_req *req)
{
	return weir__sim_req_host(req)->sim;
}

static bool is_receive(const struct weir_sim_req *req)
{
	return req->soft.sqe.opcode == IORING_OP_RECV || req->soft.sqe.opcode == IORING_OP_RECVMSG;
}

static bool is_multishot(const struct weir_sim_req *req)
{
	return is_receive(req) && (req->soft.sqe.ioprio & IORING_RECV_MULTISHOT);
}

static bool selects(const struct weir_sim_req *req)
{
	return req->soft.sqe.flags & IOSQE_BUFFER_SELECT;
}

static int flags_of(const struct weir_sim_req *req)
{
	return is_receive(req) ? (int)req->soft.sqe.msg_flags : 0;
}

static bool may_wait(const struct weir_sim_socket *sock, const struct weir_sim_req *req)
{
	return is_receive(req) ? !(flags_of(req) & MSG_DONTWAIT) :
				 !(sock->file.flags & O_NONBLOCK);
}

static int check(const struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;

	if (!is_receive(req))
		return sqe->off && sqe->off != UINT64_MAX ? -ESPIPE : 0;
	if (sqe->ioprio & ~FLAGS_KNOWN)
		return -EINVAL;
	if (is_multishot(req) && (!selects(req) || (sqe->msg_flags & MSG_WAITALL)))
		return -EINVAL;
	if ((sqe->ioprio & IORING_RECVSEND_BUNDLE) && sqe->opcode == IORING_OP_RECVMSG)
		return -EINVAL;
	return 0;
}

/* --- memory --- */

/* A provided buffer for RECVMSG, whose sqe->len is not a size. */
static int select_for_message(struct weir_sim_req *req, struct iovec *iov)
{
	size_t want = SIZE_MAX;

	if (!req->vec)
		return -EFAULT;
	if (!is_multishot(req) && req->vec->count)
		want = req->vec->iov[0].iov_len;
	return weir__soft_bufs_peek(req->soft.soft, req->soft.sqe.buf_group, iov, 1, want);
}

static int find_memory(struct weir_sim_req *req, struct weir_sim_span *span)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	int count;

	if (selects(req) && weir__sim_fault(host->sim, host, WEIR_SIM_BUFS, "no-buffer"))
		return -ENOBUFS;
	if (selects(req) && req->soft.sqe.opcode == IORING_OP_RECVMSG)
		count = select_for_message(req, span->iov);
	else
		count = weir__sim_buffers(req, span->iov, WEIR_SIM_IOVS, SIZE_MAX);
	if (count < 0)
		return count;
	span->count = count;
	span->size = weir__sim_iov_size(span->iov, count);
	span->done = (size_t)req->soft.done;
	return 0;
}

/* Less than there is, down to a byte. */
static void shorten(const struct weir_sim_socket *sock, struct weir_sim_req *req,
		    struct weir_sim_span *span)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	size_t size = weir__sim_stream_unread(sock);
	size_t left = weir__sim_span_left(span);

	if (size > left)
		size = left;
	if (size < 2 || (flags_of(req) & MSG_WAITALL))
		return;
	if (weir__sim_fault(host->sim, host, WEIR_SIM_SHORT, "recv-short"))
		size -= weir__sim_choose(host->sim, host, "recv-cut", (uint32_t)size);
	else if (selects(req) && weir__sim_fault(host->sim, host, WEIR_SIM_BUFS, "one-byte"))
		size = 1;
	else
		return;
	span->size = span->done + size;
}

/* --- once --- */

static bool has_more(const struct weir_sim_socket *sock)
{
	if (!weir__sim_is_stream(sock))
		return !weir__queue_is_empty(&sock->dgrams);
	return sock->stream && (weir__sim_stream_unread(sock) ||
				(sock->family != AF_UNIX &&
				 sock->stream->way[!sock->side].fin_arrived));
}

static ssize_t receive(struct weir_sim_socket *sock, struct weir_sim_req *req,
		       struct weir_sim_span *span, struct msghdr *msg)
{
	if (!weir__sim_is_stream(sock))
		return weir__sim_dgram_recv(sock, span, flags_of(req), msg);
	if (msg)
		msg->msg_namelen = 0;
	if (weir_unlikely(sim_of(req)->armed & (WEIR_SIM_SHORT | WEIR_SIM_BUFS)))
		shorten(sock, req, span);
	return weir__sim_stream_recv(sock, span, flags_of(req));
}

/* RECVMSG into a provided buffer, as a multishot: a header, the name, then the bytes. */
static ssize_t receive_framed(struct weir_sim_socket *sock, struct weir_sim_req *req,
			      struct weir_sim_span *span)
{
	const struct msghdr *user = &req->vec->msg;
	struct io_uring_recvmsg_out out = { 0 };
	struct sockaddr_storage name;
	struct msghdr msg = { .msg_name = &name, .msg_namelen = user->msg_namelen };
	size_t head = sizeof(out) + user->msg_namelen + user->msg_controllen;
	size_t size;
	ssize_t n;

	if (head > span->size)
		return -EFAULT;
	if (msg.msg_namelen > sizeof(name))
		msg.msg_namelen = sizeof(name);
	span->done = head;
	n = receive(sock, req, span, &msg);
	if (n < 0 || (!n && weir__sim_is_stream(sock)))
		return n;
	size = span->done - head;
	out.namelen = msg.msg_namelen;
	out.payloadlen = (uint32_t)n;
	out.flags = (uint32_t)msg.msg_flags;
	weir__sim_scatter(span->iov, span->count, 0, &out, sizeof(out));
	weir__sim_scatter(span->iov, span->count, sizeof(out), &name,
			  msg.msg_namelen < user->msg_namelen ? msg.msg_namelen :
								user->msg_namelen);
	return (ssize_t)(head + size);
}

static void report(struct weir_sim_req *req, const struct msghdr *msg)
{
	struct msghdr *user = req->vec ? req->vec->user : NULL;

	if (!user || req->soft.sqe.opcode != IORING_OP_RECVMSG)
		return;
	user->msg_namelen = msg->msg_namelen;
	user->msg_controllen = 0;
	user->msg_flags = msg->msg_flags;
}

/* Bytes, 0 at the end, -EAGAIN, -errno. Sets the result's flags. */
static ssize_t once(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	struct msghdr msg = { 0 };
	struct weir_sim_span span;
	ssize_t n;
	int r = find_memory(req, &span);

	if (r < 0)
		return r;
	req->soft.cflags = 0;
	if (req->vec && req->soft.sqe.opcode == IORING_OP_RECVMSG)
		msg = req->vec->msg;
	msg.msg_flags = 0;
	if (is_multishot(req) && req->soft.sqe.opcode == IORING_OP_RECVMSG)
		n = receive_framed(sock, req, &span);
	else
		n = receive(sock, req, &span, &msg);
	if (n < 0)
		return n;
	report(req, &msg);
	if (n && selects(req))
		weir__soft_bufs_take(&req->soft, (size_t)n < span.done ? (size_t)n : span.done);
	if (is_receive(req) && has_more(sock))
		req->soft.cflags |= IORING_CQE_F_SOCK_NONEMPTY;
	return n;
}

static int wait_or_end(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	if (!may_wait(sock, req))
		return req->soft.done ? (int)req->soft.done : -EAGAIN;
	return weir__sim_socket_wait(sock, req, POLLIN);
}

static int single(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	bool whole = (flags_of(req) & MSG_WAITALL) && weir__sim_is_stream(sock) && !selects(req) &&
		     !(flags_of(req) & (MSG_PEEK | MSG_TRUNC)) &&
		     !weir__rule_is_broken(WEIR_RULE_WAITALL);
	struct weir_sim_span span;
	ssize_t n = once(sock, req);

	if (n == -EAGAIN)
		return wait_or_end(sock, req);
	if (!whole)
		return (int)n;
	if (n < 0)
		return req->soft.done ? (int)req->soft.done : (int)n;
	req->soft.done += n;
	find_memory(req, &span);
	req->soft.want = (int64_t)span.size;
	if (n && weir__sim_span_left(&span))
		return wait_or_end(sock, req);
	return (int)req->soft.done;
}

static int multishot(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	struct weir_sim_host *host = weir__sim_req_host(req);

	for (unsigned i = 0; i < RUN_MAX; i++) {
		ssize_t n = once(sock, req);

		if (n == -EAGAIN)
			return wait_or_end(sock, req);
		if (n < 0 || (!n && weir__sim_is_stream(sock)))
			return (int)n;
		if (weir__sim_fault(host->sim, host, WEIR_SIM_MULTISHOT, "recv-ends") ||
		    !weir__soft_more(&req->soft, (int)n, req->soft.cflags))
			return (int)n;
	}
	weir__soft_ready(&req->soft);
	return WEIR_SOFT_LATER;
}

int weir__sim_issue_recv(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	int r = check(req);

	if (r < 0)
		return r;
	if (is_receive(req) && (req->soft.sqe.ioprio & IORING_RECVSEND_POLL_FIRST) &&
	    !req->soft.polled) {
		req->soft.polled = true;
		if (!(weir__sim_socket_poll(&sock->file) & POLLIN))
			return weir__sim_wait(req, POLLIN);
	}
	return is_multishot(req) ? multishot(sock, req) : single(sock, req);
}
