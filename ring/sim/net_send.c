/* SPDX-License-Identifier: MIT */
/*
 * net_send.c - sending: SEND, SENDMSG, their zero-copy forms, and WRITE. The bytes are taken
 * at once; that a zero-copy send's buffer is read for longer is what its notification says.
 */
#include <fcntl.h>
#include <string.h>

#include "ring/sim/net.h"

#ifndef IORING_SEND_VECTORIZED
#define IORING_SEND_VECTORIZED (1U << 5)
#endif

#define LATE_NS_MAX (20 * WEIR_S)
#define SEND_KNOWN (IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_BUNDLE | IORING_SEND_VECTORIZED)
#define ZC_KNOWN                                                                                   \
	(IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_FIXED_BUF | IORING_SEND_ZC_REPORT_USAGE |   \
	 IORING_SEND_VECTORIZED)

static bool is_zero_copy(const struct weir_sim_req *req)
{
	return req->soft.sqe.opcode == IORING_OP_SEND_ZC ||
	       req->soft.sqe.opcode == IORING_OP_SENDMSG_ZC;
}

static bool is_send(const struct weir_sim_req *req)
{
	return req->soft.sqe.opcode == IORING_OP_SEND ||
	       req->soft.sqe.opcode == IORING_OP_SENDMSG || is_zero_copy(req);
}

static bool selects(const struct weir_sim_req *req)
{
	return req->soft.sqe.flags & IOSQE_BUFFER_SELECT;
}

static bool wants_all(const struct weir_sim_socket *sock, const struct weir_sim_req *req)
{
	return is_send(req) && (req->soft.sqe.msg_flags & MSG_WAITALL) &&
	       weir__sim_is_stream(sock) && !selects(req);
}

static bool may_wait(const struct weir_sim_socket *sock, const struct weir_sim_req *req)
{
	return is_send(req) ? !(req->soft.sqe.msg_flags & MSG_DONTWAIT) :
			      !(sock->file.flags & O_NONBLOCK);
}

static int check(const struct weir_sim_socket *sock, const struct weir_sim_req *req)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;

	if (!is_send(req))
		return sqe->off && sqe->off != UINT64_MAX ? -ESPIPE : 0;
	if (sqe->ioprio & ~(is_zero_copy(req) ? ZC_KNOWN : SEND_KNOWN))
		return -EINVAL;
	if ((sqe->ioprio & IORING_SEND_VECTORIZED) && !selects(req))
		return -EINVAL;
	return is_zero_copy(req) && sock->family == AF_UNIX ? -EOPNOTSUPP : 0;
}

/* --- notifications --- */

static void notify(struct weir_sim_event *event)
{
	struct weir_sim_req *req = weir_container_of(event, struct weir_sim_req, later);

	weir__soft_notified(&req->soft, req->later_res);
}

/* The operation is over with res: its buffer is free now, or later. */
static int end_zero_copy(struct weir_sim_socket *sock, struct weir_sim_req *req, int res)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	struct weir_sim_host *to = sock->stream ? sock->stream->host[!sock->side] : host;
	int64_t ns = res < 0 ? 0 : 2 * weir__sim_net_latency(host, to);
	bool copied = res < 0 || to == host;

	if (weir__sim_fault(host->sim, host, WEIR_SIM_NOTIF, "notify-late")) {
		ns += weir__sim_delay(host->sim, host, "notify-by", LATE_NS_MAX);
		copied ^= weir__sim_choose(host->sim, host, "copied", 2);
	}
	req->soft.notify = true;
	req->later_res = 0;
	if (copied && (req->soft.sqe.ioprio & IORING_SEND_ZC_REPORT_USAGE))
		req->later_res = (int)IORING_NOTIF_USAGE_ZC_COPIED;
	req->later.run = notify;
	weir__sim_event_arm(host->sim, &req->later, host->sim->now_ns + ns);
	return res;
}

void weir__sim_send_cancelled(struct weir_sim_req *req)
{
	if (is_zero_copy(req) && req->soft.done)
		end_zero_copy(weir__sim_socket_of(weir__sim_req_file(req)), req,
			      (int)req->soft.done);
}

/* --- sending --- */

static void shorten(struct weir_sim_req *req, struct weir_sim_span *span)
{
	struct weir_sim_host *host = weir__sim_req_host(req);
	size_t left = weir__sim_span_left(span);

	if (left > 1 && weir__sim_fault(host->sim, host, WEIR_SIM_SHORT, "send-short"))
		span->size -= weir__sim_choose(host->sim, host, "send-cut", (uint32_t)left);
}

static ssize_t send_dgram(struct weir_sim_socket *sock, struct weir_sim_req *req,
			  struct weir_sim_span *span)
{
	const struct io_uring_sqe *sqe = &req->soft.sqe;

	if (req->vec && req->vec->msg.msg_name)
		return weir__sim_dgram_send(sock, span, req->vec->msg.msg_name,
					    req->vec->msg.msg_namelen);
	if ((sqe->opcode == IORING_OP_SEND || sqe->opcode == IORING_OP_SEND_ZC) && sqe->addr2)
		return weir__sim_dgram_send(sock, span, (const void *)(uintptr_t)sqe->addr2,
					    sqe->addr_len);
	return weir__sim_dgram_send(sock, span, NULL, 0);
}

static int find_memory(struct weir_sim_req *req, struct weir_sim_span *span)
{
	int count = weir__sim_buffers(req, span->iov, WEIR_SIM_IOVS, SIZE_MAX);

	if (count < 0)
		return count;
	span->count = count;
	span->size = weir__sim_iov_size(span->iov, count);
	span->done = (size_t)req->soft.done;
	return 0;
}

/* The result, or -EAGAIN: nothing (more) goes now. */
static int attempt(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	bool all = wants_all(sock, req);
	struct weir_sim_span span;
	size_t whole;
	ssize_t n;
	int r = find_memory(req, &span);

	if (r < 0)
		return r;
	whole = span.size;
	if (all || !is_send(req))
		req->soft.want = (int64_t)whole;
	if (!weir__sim_is_stream(sock))
		return (int)send_dgram(sock, req, &span);
	shorten(req, &span);
	n = weir__sim_stream_send(sock, &span);
	if (n < 0)
		return req->soft.done && n != -EAGAIN ? (int)req->soft.done : (int)n;
	if (n && selects(req))
		weir__soft_bufs_take(&req->soft, (size_t)n);
	req->soft.done += n;
	/* What a fault cut short ends short, as it may in Linux. */
	if (all && span.size == whole && (size_t)req->soft.done < whole)
		return -EAGAIN;
	return (int)req->soft.done;
}

int weir__sim_issue_send(struct weir_sim_socket *sock, struct weir_sim_req *req)
{
	int r = check(sock, req);

	if (!r && is_send(req) && (req->soft.sqe.ioprio & IORING_RECVSEND_POLL_FIRST) &&
	    !req->soft.polled) {
		req->soft.polled = true;
		if (!(weir__sim_socket_poll(&sock->file) & POLLOUT))
			return weir__sim_wait(req, POLLOUT);
	}
	if (!r)
		r = attempt(sock, req);
	if (r == -EAGAIN) {
		if (may_wait(sock, req))
			return weir__sim_socket_wait(sock, req, POLLOUT);
		if (req->soft.done)
			r = (int)req->soft.done;
	}
	return is_zero_copy(req) ? end_zero_copy(sock, req, r) : r;
}
