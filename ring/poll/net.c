/* SPDX-License-Identifier: MIT */
/*
 * net.c - sockets: each operation is tried at once, and again at each event of its file.
 *
 * A receive of a stream that brought less than there was room for has emptied the
 * socket, and the next byte is a new event: so there is no second call only to be told EAGAIN.
 * Not so when the end of the stream has been announced: that was the last event.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ring/poll/parts.h"

#define SHOTS_MAX 32		/* results of one multishot before others have their turn */

/* --- receiving --- */

static void find_kind(struct weir_poll_file *file)
{
	int type = 0;
	socklen_t size = sizeof(type);

	file->kind = WEIR_POLL_PACKETS;
	if (!getsockopt(file->fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM)
		file->kind = WEIR_POLL_STREAM;
}

static bool is_emptied(struct weir_poll_file *file, size_t got, size_t room)
{
	if (got == room || file->ended)
		return false;
	if (weir_unlikely(file->kind == WEIR_POLL_UNKNOWN))
		find_kind(file);
	return file->kind == WEIR_POLL_STREAM;
}

/* n of a call that must not wait: the result, or LATER with p armed. */
static int settle(struct weir_poll_req *p, ssize_t n, uint32_t events)
{
	if (n >= 0)
		return (int)n;
	if (errno != EAGAIN)
		return -errno;
	return p->req.sqe.msg_flags & MSG_DONTWAIT ? -EAGAIN : weir__poll_arm(p, events);
}

static int recv_multishot(struct weir_poll_req *p)
{
	struct weir_poll_file *file = weir__poll_file(p);
	const struct io_uring_sqe *sqe = &p->req.sqe;
	int flags = (int)sqe->msg_flags | MSG_DONTWAIT;

	for (int shots = 0; shots < SHOTS_MAX; shots++) {
		struct iovec iov;
		ssize_t n = weir__soft_bufs_peek(p->req.soft, sqe->buf_group, &iov, 1,
						 sqe->len ? sqe->len : INT32_MAX);

		if (weir_unlikely(n < 0))
			return (int)n;
		n = recv(file->fd, iov.iov_base, iov.iov_len, flags);
		if (n <= 0)
			return settle(p, n, EPOLLIN);
		weir__soft_bufs_take(&p->req, (size_t)n);
		if (weir_unlikely(!weir__soft_more(&p->req, (int)n, p->req.cflags)))
			return (int)n;
		if (is_emptied(file, (size_t)n, iov.iov_len))
			return weir__poll_arm(p, EPOLLIN);
	}
	weir__soft_ready(&p->req);
	return WEIR_SOFT_LATER;
}

static int recv_selected(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	struct iovec iov;
	ssize_t n = weir__soft_bufs_peek(p->req.soft, sqe->buf_group, &iov, 1,
					 sqe->len ? sqe->len : INT32_MAX);

	if (n < 0)
		return (int)n;
	n = recv(weir__poll_file(p)->fd, iov.iov_base, iov.iov_len,
		 (int)sqe->msg_flags | MSG_DONTWAIT);
	if (n > 0)
		weir__soft_bufs_take(&p->req, (size_t)n);
	return settle(p, n, EPOLLIN);
}

/* n more bytes of a transfer that has to be whole: LATER, or what it comes to. */
static int go_on(struct weir_poll_req *p, ssize_t n, int64_t want, uint32_t events)
{
	if (n > 0) {
		p->req.done += n;
		if (p->req.done < want)
			return weir__poll_arm(p, events);
		return (int)p->req.done;
	}
	if (n < 0 && errno == EAGAIN &&
	    !(p->req.done && (p->req.sqe.msg_flags & MSG_DONTWAIT)))
		return settle(p, n, events);
	if (p->req.done)
		return (int)p->req.done;
	return n < 0 ? -errno : 0;
}

int weir__poll_recv(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	bool whole = sqe->msg_flags & MSG_WAITALL;
	size_t done = (size_t)p->req.done;
	ssize_t n;

	if (sqe->ioprio & ~(IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST))
		return -EINVAL;
	if (sqe->ioprio & IORING_RECV_MULTISHOT)
		return sqe->flags & IOSQE_BUFFER_SELECT ? recv_multishot(p) : -EINVAL;
	if (sqe->flags & IOSQE_BUFFER_SELECT)
		return recv_selected(p);
	n = recv(weir__poll_file(p)->fd, (char *)(uintptr_t)sqe->addr + done, sqe->len - done,
		 (int)sqe->msg_flags | MSG_DONTWAIT);
	if (!whole)
		return settle(p, n, EPOLLIN);
	p->req.want = sqe->len;
	return go_on(p, n, sqe->len, EPOLLIN);
}

int weir__poll_recvmsg(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;

	if ((sqe->ioprio & ~IORING_RECVSEND_POLL_FIRST) || (sqe->flags & IOSQE_BUFFER_SELECT))
		return -EINVAL;
	return settle(p,
		      recvmsg(weir__poll_file(p)->fd, (struct msghdr *)(uintptr_t)sqe->addr,
			      (int)sqe->msg_flags | MSG_DONTWAIT),
		      EPOLLIN);
}

/* --- sending --- */

/* The kernel has its own copy of what it took: a zero-copy send is noted at once. */
static int sent(struct weir_poll_req *p, int r)
{
	unsigned opcode = p->req.sqe.opcode;

	if (r == WEIR_SOFT_LATER ||
	    (opcode != IORING_OP_SEND_ZC && opcode != IORING_OP_SENDMSG_ZC))
		return r;
	p->req.notify = true;
	weir__soft_notified(&p->req, 0);
	return r;
}

int weir__poll_send(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	size_t done = (size_t)p->req.done;
	ssize_t n;

	if (sqe->ioprio & ~IORING_RECVSEND_POLL_FIRST)
		return -EINVAL;
	n = sendto(weir__poll_file(p)->fd, (const char *)(uintptr_t)sqe->addr + done,
		   sqe->len - done, (int)sqe->msg_flags | MSG_DONTWAIT,
		   (const struct sockaddr *)(uintptr_t)sqe->addr2, sqe->addr_len);
	if (weir_likely(n == (ssize_t)sqe->len))
		return sent(p, (int)n);
	if (!(sqe->msg_flags & MSG_WAITALL))
		return sent(p, settle(p, n, EPOLLOUT));
	p->req.want = sqe->len;
	return sent(p, go_on(p, n, sqe->len, EPOLLOUT));
}

#define IOVS_MAX 1024

static int64_t msg_size(const struct msghdr *msg)
{
	int64_t size = 0;

	for (size_t i = 0; i < msg->msg_iovlen; i++)
		size += (int64_t)msg->msg_iov[i].iov_len;
	return size;
}

/* What is left of msg behind done bytes, without touching the caller's. */
static void msg_rest(struct msghdr *msg, struct iovec *iov, size_t done)
{
	size_t first = 0, count;

	while (done >= msg->msg_iov[first].iov_len)
		done -= msg->msg_iov[first++].iov_len;
	count = msg->msg_iovlen - first;
	memcpy(iov, msg->msg_iov + first, count * sizeof(*iov));
	iov->iov_base = (char *)iov->iov_base + done;
	iov->iov_len -= done;
	msg->msg_iov = iov;
	msg->msg_iovlen = count;
	msg->msg_control = NULL;	/* went with the first bytes */
	msg->msg_controllen = 0;
}

static ssize_t send_rest(struct weir_poll_req *p)
{
	struct msghdr msg = *(const struct msghdr *)(uintptr_t)p->req.sqe.addr;
	struct iovec iov[IOVS_MAX];

	msg_rest(&msg, iov, (size_t)p->req.done);
	return sendmsg(weir__poll_file(p)->fd, &msg, (int)p->req.sqe.msg_flags | MSG_DONTWAIT);
}

int weir__poll_sendmsg(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	const struct msghdr *msg = (const void *)(uintptr_t)sqe->addr;
	ssize_t n;

	if (sqe->ioprio & ~IORING_RECVSEND_POLL_FIRST)
		return -EINVAL;
	if (msg->msg_iovlen > IOVS_MAX)
		return -EMSGSIZE;
	if (weir_unlikely(p->req.done))
		n = send_rest(p);
	else
		n = sendmsg(weir__poll_file(p)->fd, msg, (int)sqe->msg_flags | MSG_DONTWAIT);
	if (!(sqe->msg_flags & MSG_WAITALL))
		return sent(p, settle(p, n, EPOLLOUT));
	p->req.want = msg_size(msg);
	return sent(p, go_on(p, n, p->req.want, EPOLLOUT));
}

/* --- connections --- */

/* accept(2) and connect(2) have no flag for it: the file itself must not block. */
static int make_nonblocking(struct weir_poll_file *file, bool *ret_was_blocking)
{
	int flags;

	if (file->nonblocking)
		return 0;
	flags = fcntl(file->fd, F_GETFL);
	if (flags >= 0 && !(flags & O_NONBLOCK)) {
		if (ret_was_blocking)
			*ret_was_blocking = true;
		flags = fcntl(file->fd, F_SETFL, flags | O_NONBLOCK);
	}
	file->nonblocking = flags >= 0;
	return flags < 0 ? -errno : 0;
}

void weir__poll_connect_end(struct weir_poll_req *p)
{
	struct weir_poll_file *file = weir__poll_file(p);
	int flags;

	if (!p->was_blocking)
		return;
	flags = fcntl(file->fd, F_GETFL);
	if (flags >= 0)
		fcntl(file->fd, F_SETFL, flags & ~O_NONBLOCK);
	file->nonblocking = false;
	p->was_blocking = false;
}

/* fd, new, goes where the operation wants it: the descriptor, its slot, 0, or -errno. */
static int place(struct weir_poll_req *p, int fd, uint8_t kind)
{
	struct weir_poll_file *file;
	int r;

	if (!p->req.sqe.file_index)
		return fd;
	file = weir__poll_file_create(weir__poll_ring(&p->req), fd, true);
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	file->kind = kind;
	r = weir__soft_install(&p->req, file);
	if (r < 0)
		weir__poll_file_put(file);
	return r;
}

/* A connection is what its listener is. */
static int accept_one(struct weir_poll_req *p)
{
	struct weir_poll_file *file = weir__poll_file(p);
	const struct io_uring_sqe *sqe = &p->req.sqe;
	int flags = (int)sqe->accept_flags | (sqe->file_index ? SOCK_CLOEXEC : 0);
	int fd = accept4(file->fd, (struct sockaddr *)(uintptr_t)sqe->addr,
			 (socklen_t *)(uintptr_t)sqe->addr2, flags);

	if (fd < 0)
		return -errno;
	if (file->kind == WEIR_POLL_UNKNOWN)
		find_kind(file);
	return place(p, fd, file->kind);
}

int weir__poll_accept(struct weir_poll_req *p)
{
	bool multishot = p->req.sqe.ioprio & IORING_ACCEPT_MULTISHOT;
	int r = make_nonblocking(weir__poll_file(p), NULL);

	if (r < 0)
		return r;
	for (int shots = 0; shots < SHOTS_MAX; shots++) {
		r = accept_one(p);
		/* A Unix listener that was shut down does not say so to who must not wait. */
		if (r == -EAGAIN && weir__poll_file(p)->ended)
			return -EINVAL;
		if (r == -EAGAIN)
			return p->req.sqe.ioprio & IORING_ACCEPT_DONTWAIT ?
				       -EAGAIN :
				       weir__poll_arm(p, EPOLLIN);
		if (r < 0 || !multishot || !weir__soft_more(&p->req, r, 0))
			return r;
	}
	weir__soft_ready(&p->req);
	return WEIR_SOFT_LATER;
}

/* Called again once it is writable: connect(2) then tells what became of it. */
int weir__poll_connect(struct weir_poll_req *p)
{
	struct weir_poll_file *file = weir__poll_file(p);
	int r = make_nonblocking(file, &p->was_blocking);

	if (r < 0)
		return r;
	if (connect(file->fd, (const struct sockaddr *)(uintptr_t)p->req.sqe.addr,
		    (socklen_t)p->req.sqe.addr2))
		r = -errno;
	if (r == -EINPROGRESS || r == -EALREADY)
		r = weir__poll_arm(p, EPOLLOUT);
	else if (r == -EAGAIN)	/* a Unix socket whose backlog is full: nobody will tell us */
		r = weir__poll_retry(p);
	if (r != WEIR_SOFT_LATER)
		weir__poll_connect_end(p);
	return r;
}

int weir__poll_socket(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	int type = (int)sqe->off | (sqe->file_index ? SOCK_CLOEXEC : 0);
	int fd = socket(sqe->fd, type, (int)sqe->len);

	return fd < 0 ? -errno : place(p, fd, WEIR_POLL_UNKNOWN);
}

/* --- readiness itself --- */

/* Those that poll(2) and epoll have in common. */
#define EVENTS 0x3fffu

int weir__poll_poll(struct weir_poll_req *p)
{
	const struct io_uring_sqe *sqe = &p->req.sqe;
	/* That the peer has closed is told unasked, as by io_uring. */
	struct pollfd pollfd = { .fd = weir__poll_file(p)->fd,
				 .events = (short)(sqe->poll32_events | POLLRDHUP) };

	if (sqe->len & ~IORING_POLL_ADD_MULTI)
		return -EINVAL;
	if (poll(&pollfd, 1, 0) < 0)
		return -errno;
	if (pollfd.revents & POLLNVAL)
		return -EBADF;
	if (pollfd.revents && (!(sqe->len & IORING_POLL_ADD_MULTI) ||
			       !weir__soft_more(&p->req, pollfd.revents, 0)))
		return pollfd.revents;
	return weir__poll_arm(p, (sqe->poll32_events & EVENTS) | EPOLLRDHUP);
}
