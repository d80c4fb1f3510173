/* SPDX-License-Identifier: MIT */
/*
 * cases_stream.c - streams, TCP and AF_UNIX: how they begin, and what passes through them.
 */
#include "tests/conformance/conform.h"

#include <netinet/tcp.h>

#define BIG (1U << 20)

static void a_socket_is_made(struct cf *c)
{
	io_uring_prep_socket(cf_sqe_fd(c, "stream"), AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0);
	io_uring_prep_socket(cf_sqe_fd(c, "datagram"), AF_INET, SOCK_DGRAM, 0, 0);
	io_uring_prep_socket(cf_sqe_fd(c, "unix"), AF_UNIX, SOCK_STREAM, 0, 0);
	io_uring_prep_socket(cf_sqe_fd(c, "family"), 200, SOCK_STREAM, 0, 0);
	io_uring_prep_socket(cf_sqe_fd(c, "protocol"), AF_INET, SOCK_STREAM, IPPROTO_UDP, 0);
	cf_await(c, 5);
}

static void a_connection_carries_bytes_both_ways(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_send(cf_sqe(c, "send"), fds[0], "hello", 5, 0);
	cf_await(c, 1);
	cf_recv(c, fds[1], "there", 64);
	io_uring_prep_write(cf_sqe(c, "write"), fds[1], "world", 5, 0);
	cf_await(c, 1);
	cf_recv(c, fds[0], "back", 64);
}

static void a_stream_has_no_boundaries(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_send(c, fds[0], "ab");
	cf_send(c, fds[0], "cdef");
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], text, 6, MSG_WAITALL);
	cf_await(c, 1);
	cf_note(c, "%s", text);
}

static void more_to_read_is_announced(struct cf *c)
{
	int fds[2];

	c->show = IORING_CQE_F_SOCK_NONEMPTY;
	cf_pair(c, c->test->arg, fds);
	cf_send(c, fds[0], "abcdefgh");
	io_uring_prep_poll_add(cf_sqe(c, "poll"), fds[1], POLLIN);
	cf_await(c, 1);
	io_uring_prep_recv(cf_sqe(c, "part"), fds[1], cf_mem(c, 8), 4, 0);
	cf_await(c, 1);
	io_uring_prep_recv(cf_sqe(c, "rest"), fds[1], cf_mem(c, 8), 8, 0);
	cf_await(c, 1);
}

static void a_receive_waits_for_bytes(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_quiet(c);
	cf_send(c, fds[0], "abcd");
	cf_await(c, 1);
}

static void receives_by_their_flags(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv(cf_sqe(c, "empty"), fds[1], cf_mem(c, 8), 8, MSG_DONTWAIT);
	cf_await(c, 1);
	cf_send(c, fds[0], "abcd");
	io_uring_prep_poll_add(cf_sqe(c, "poll"), fds[1], POLLIN);
	cf_await(c, 1);
	io_uring_prep_recv(cf_sqe(c, "peek"), fds[1], text, 8, MSG_PEEK);
	cf_await(c, 1);
	io_uring_prep_recv(cf_sqe(c, "take"), fds[1], text, 8, MSG_DONTWAIT);
	cf_await(c, 1);
	cf_note(c, "%s", text);
}

static void a_receive_of_all_waits_for_all(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], text, 8, MSG_WAITALL);
	cf_submit(c);
	cf_send(c, fds[0], "abcd");
	cf_quiet(c);
	cf_send(c, fds[0], "efgh");
	cf_await(c, 1);
	cf_note(c, "%s", text);
}

static void read_and_write_work_on_sockets(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_read(cf_sqe(c, "read"), fds[1], text, 8, 0);
	cf_submit(c);
	io_uring_prep_write(cf_sqe(c, "write"), fds[0], "abc", 3, 0);
	cf_await(c, 2);
	cf_note(c, "%s", text);
}

static struct msghdr *message(struct cf *c, char *a, size_t a_size, char *b, size_t b_size)
{
	struct iovec *iov = cf_mem(c, 2 * sizeof(*iov));
	struct msghdr *msg = cf_mem(c, sizeof(*msg));

	iov[0] = (struct iovec){ a, a_size };
	iov[1] = (struct iovec){ b, b_size };
	msg->msg_iov = iov;
	msg->msg_iovlen = 2;
	return msg;
}

static void messages_gather_and_scatter(struct cf *c)
{
	char *a = cf_mem(c, 16);
	char *b = cf_mem(c, 16);
	char one[] = "abc", two[] = "defgh";
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_sendmsg(cf_sqe(c, "sendmsg"), fds[0], message(c, one, 3, two, 5), 0);
	cf_await(c, 1);
	io_uring_prep_recvmsg(cf_sqe(c, "recvmsg"), fds[1], message(c, a, 2, b, 6), MSG_WAITALL);
	cf_await(c, 1);
	cf_note(c, "%s|%s", a, b);
}

/* The header and its vector may be gone once they are submitted. */
static void a_message_header_is_read_at_submission(struct cf *c)
{
	char *a = cf_mem(c, 16);
	char *b = cf_mem(c, 16);
	struct msghdr *msg = message(c, a, 2, b, 6);
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recvmsg(cf_sqe(c, "recvmsg"), fds[1], msg, MSG_WAITALL);
	cf_submit(c);
	memset(msg->msg_iov, 0, 2 * sizeof(*msg->msg_iov));
	msg->msg_iov = NULL;
	cf_send(c, fds[0], "abcdefgh");
	cf_await(c, 1);
	cf_note(c, "%s|%s", a, b);
}

/* MSG_WAITALL: a send goes on until all is taken, however small the room. */
static void a_send_of_all_waits_for_the_reader(struct cf *c)
{
	char *from = cf_mem(c, BIG);
	char *to = cf_mem(c, BIG);
	int fds[2];

	for (unsigned i = 0; i < BIG; i++)
		from[i] = (char)(i * 7 + i / 251);
	cf_pair(c, c->test->arg, fds);
	cf_setsockopt(c, fds[0], SOL_SOCKET, SO_SNDBUF, 16384);
	cf_setsockopt(c, fds[1], SOL_SOCKET, SO_RCVBUF, 16384);
	io_uring_prep_send(cf_sqe(c, "send"), fds[0], from, BIG, MSG_WAITALL);
	cf_quiet(c);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], to, BIG, MSG_WAITALL);
	cf_await(c, 2);
	cf_note(c, "%s", memcmp(from, to, BIG) ? "changed" : "whole");
}

static void a_send_without_room_does_not_wait_if_told(struct cf *c)
{
	char *from = cf_mem(c, BIG);
	int first, second;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_setsockopt(c, fds[0], SOL_SOCKET, SO_SNDBUF, 16384);
	io_uring_prep_send(cf_step(c), fds[0], from, BIG, MSG_DONTWAIT);
	first = cf_do(c);
	for (second = first; second > 0;) {
		io_uring_prep_send(cf_step(c), fds[0], from, BIG, MSG_DONTWAIT);
		second = cf_do(c);
	}
	cf_note(c, "%s", first <= 0 ? "nothing" : first < (int)BIG ? "a part" : "all");
	cf_note_res(c, "then", second);
}

static void a_send_of_nothing(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_send(cf_sqe(c, "send"), fds[0], "", 0, 0);
	cf_await(c, 1);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_quiet(c);
}

static void poll_first_waits_before_it_tries(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_send(c, fds[0], "abc");
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 8), 8, 0);
	sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
	cf_await(c, 1);
}

/* --- beginnings --- */

static void a_connect_to_nobody_is_refused(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);
	int fd = cf_socket(c, c->test->arg, SOCK_STREAM);

	cf_close(c, listener);
	io_uring_prep_connect(cf_sqe(c, "connect"), fd, &addr.any, addr.size);
	cf_await(c, 1);
	if (addr.any.sa_family != AF_UNIX || c->broken)
		return;
	c->kernel->ops->unlink(c->kernel, addr.un.sun_path);
	io_uring_prep_connect(cf_sqe(c, "gone"), fd, &addr.any, addr.size);
	cf_await(c, 1);
}

static void a_socket_connects_once(struct cf *c)
{
	struct cf_addr addr;
	int fd;

	cf_listener(c, c->test->arg, &addr);
	fd = cf_connect(c, &addr);
	io_uring_prep_connect(cf_sqe(c, "again"), fd, &addr.any, addr.size);
	cf_await(c, 1);
}

static void a_socket_that_is_not_connected(struct cf *c)
{
	int fd = cf_socket(c, c->test->arg, SOCK_STREAM);

	io_uring_prep_recv(cf_sqe(c, "recv"), fd, cf_mem(c, 8), 8, 0);
	io_uring_prep_send(cf_sqe(c, "send"), fd, "x", 1, MSG_NOSIGNAL);
	io_uring_prep_shutdown(cf_sqe(c, "shutdown"), fd, SHUT_RDWR);
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), fd, NULL, NULL, 0);
	cf_await(c, 4);
}

static void what_is_no_socket(struct cf *c)
{
	int fd = cf_file(c, "file", "");

	io_uring_prep_recv(cf_sqe(c, "recv"), fd, cf_mem(c, 8), 8, 0);
	io_uring_prep_send(cf_sqe(c, "send"), fd, "x", 1, 0);
	io_uring_prep_shutdown(cf_sqe(c, "shutdown"), fd, SHUT_RDWR);
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), fd, NULL, NULL, 0);
	io_uring_prep_recv(cf_sqe(c, "bad"), 999, cf_mem(c, 8), 8, 0);
	cf_await(c, 5);
}

static void an_address_is_used_once(struct cf *c)
{
	struct cf_addr addr;
	int fd;

	cf_listener(c, c->test->arg, &addr);
	fd = cf_socket(c, c->test->arg, SOCK_STREAM);
	if (c->broken)
		return;
	cf_note_res(c, "bind", c->kernel->ops->bind(c->kernel, fd, &addr.any, addr.size));
}

static void bind_and_listen_by_the_ring(struct cf *c)
{
	struct cf_addr addr = { .in = { .sin_family = AF_INET }, .size = sizeof(addr.in) };
	int fd = cf_socket(c, AF_INET, SOCK_STREAM);

	addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	io_uring_prep_bind(cf_sqe(c, "bind"), fd, &addr.any, addr.size);
	cf_await(c, 1);
	io_uring_prep_listen(cf_sqe(c, "listen"), fd, 8);
	cf_await(c, 1);
	io_uring_prep_bind(cf_sqe(c, "bind"), fd, &addr.any, addr.size);
	cf_await(c, 1);
	if (!c->broken)
		cf_must(c, c->kernel->ops->getsockname(c->kernel, fd, &addr.any, &addr.size),
			"getsockname");
	cf_connect(c, &addr);
	cf_accept(c, fd);
}

static void a_foreign_address_is_not_bound(struct cf *c)
{
	struct cf_addr addr = { .in = { .sin_family = AF_INET }, .size = sizeof(addr.in) };
	int fd = cf_socket(c, AF_INET, SOCK_STREAM);

	addr.in.sin_addr.s_addr = htonl(0x01020304);
	if (!c->broken)
		cf_note_res(c, "bind",
			    c->kernel->ops->bind(c->kernel, fd, &addr.any, addr.size));
}

static void both_ends_know_their_addresses(struct cf *c)
{
	struct cf_addr addr, a = { .size = sizeof(a.un) }, b = { .size = sizeof(b.un) };
	int listener = cf_listener(c, AF_INET, &addr);
	int fds[2];

	fds[0] = cf_connect(c, &addr);
	fds[1] = cf_accept(c, listener);
	if (c->broken)
		return;
	cf_note_res(c, "name", c->kernel->ops->getsockname(c->kernel, fds[0], &a.any, &a.size));
	cf_note_res(c, "peer", c->kernel->ops->getpeername(c->kernel, fds[1], &b.any, &b.size));
	cf_note(c, "%s", !memcmp(&a.in, &b.in, sizeof(a.in)) && a.size == b.size ? "equal" :
										   "different");
	b.size = sizeof(b.un);
	cf_note_res(c, "peer", c->kernel->ops->getpeername(c->kernel, fds[0], &b.any, &b.size));
	cf_note(c, "%s", b.in.sin_port == addr.in.sin_port ? "the listener's" : "another");
	cf_note_res(c, "none", c->kernel->ops->getpeername(c->kernel, listener, &b.any, &b.size));
}

static void options_of_sockets(struct cf *c)
{
	const struct weir_kernel_ops *ops = c->kernel->ops;
	int fd = cf_socket(c, AF_INET, SOCK_STREAM);
	int value = 1;
	socklen_t size = sizeof(value);

	if (c->broken)
		return;
	cf_note_res(c, "reuse",
		    ops->setsockopt(c->kernel, fd, SOL_SOCKET, SO_REUSEADDR, &value, size));
	cf_note_res(c, "port",
		    ops->setsockopt(c->kernel, fd, SOL_SOCKET, SO_REUSEPORT, &value, size));
	cf_note_res(c, "nodelay",
		    ops->setsockopt(c->kernel, fd, IPPROTO_TCP, TCP_NODELAY, &value, size));
	cf_note_res(c, "unknown", ops->setsockopt(c->kernel, fd, SOL_SOCKET, 9999, &value, size));
	cf_note_res(c, "bad", ops->setsockopt(c->kernel, 999, SOL_SOCKET, SO_REUSEADDR, &value,
					      size));
	cf_note_res(c, "get",
		    ops->getsockopt(c->kernel, fd, SOL_SOCKET, SO_REUSEADDR, &value, &size));
	cf_note(c, "%d", value);
	cf_note_res(c, "error",
		    ops->getsockopt(c->kernel, fd, SOL_SOCKET, SO_ERROR, &value, &size));
	cf_note(c, "%d", value);
}

static void ports_are_shared_by_those_who_ask(struct cf *c)
{
	struct cf_addr addr;
	int a = cf_socket(c, AF_INET, SOCK_STREAM);
	int b = cf_socket(c, AF_INET, SOCK_STREAM);
	int alone = cf_socket(c, AF_INET, SOCK_STREAM);

	cf_setsockopt(c, a, SOL_SOCKET, SO_REUSEPORT, 1);
	cf_setsockopt(c, b, SOL_SOCKET, SO_REUSEPORT, 1);
	cf_bind(c, a, AF_INET, "", &addr);
	if (c->broken)
		return;
	cf_note_res(c, "b", c->kernel->ops->bind(c->kernel, b, &addr.any, addr.size));
	cf_note_res(c, "alone", c->kernel->ops->bind(c->kernel, alone, &addr.any, addr.size));
	cf_note_res(c, "listen", c->kernel->ops->listen(c->kernel, a, 8));
	cf_note_res(c, "listen", c->kernel->ops->listen(c->kernel, b, 8));
	cf_connect(c, &addr);
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), a, NULL, NULL, 0);
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), b, NULL, NULL, 0);
	cf_await(c, 1);
	cf_quiet(c);
}

#define BOTH(body_, ...)                                                                          \
	CF_CASE_ARG(body_, tcp, AF_INET, __VA_ARGS__),                                            \
		CF_CASE_ARG(body_, unix, AF_UNIX, __VA_ARGS__)

const struct cf_case cf_cases_stream[] = {
	CF_CASE(a_socket_is_made, .ops = { IORING_OP_SOCKET },
		CF_LEGAL(WILL("datagram fd; family -EAFNOSUPPORT; protocol -EPROTONOSUPPORT; "
			      "stream fd; unix fd"))),
	BOTH(a_connection_carries_bytes_both_ways,
	     CF_LEGAL(WILL("send 5; there \"hello\"; write 5; back \"world\""))),
	BOTH(a_stream_has_no_boundaries, CF_LEGAL(WILL("recv 6; abcdef"))),
	/* The runtime does not look at it. */
	BOTH(more_to_read_is_announced, CF_LEGAL(WILL("poll 1; part 4 nonempty; rest 4"),
						 ONLY(CF_ON_POLL, "poll 1; part 4; rest 4"))),
	BOTH(a_receive_waits_for_bytes, CF_LEGAL(WILL("quiet; recv 4"))),
	BOTH(receives_by_their_flags,
	     CF_LEGAL(WILL("empty -EAGAIN; poll 1; peek 4; take 4; abcd"))),
	BOTH(a_receive_of_all_waits_for_all, CF_LEGAL(WILL("quiet; recv 8; abcdefgh"))),
	BOTH(read_and_write_work_on_sockets, CF_LEGAL(WILL("read 3; write 3; abc"))),
	BOTH(messages_gather_and_scatter, CF_LEGAL(WILL("sendmsg 8; recvmsg 8; ab|cdefgh"))),
	BOTH(a_message_header_is_read_at_submission, NOT_POLL,
	     CF_LEGAL(WILL("recvmsg 8; ab|cdefgh"))),
	BOTH(a_send_of_all_waits_for_the_reader,
	     CF_LEGAL(WILL("quiet; recv 1048576; send 1048576; whole"))),
	BOTH(a_send_without_room_does_not_wait_if_told, CF_LEGAL(WILL("a part; then -EAGAIN"))),
	BOTH(a_send_of_nothing, CF_LEGAL(WILL("send 0; quiet"))),
	BOTH(poll_first_waits_before_it_tries, CF_LEGAL(WILL("recv 3"))),
	CF_CASE_ARG(a_connect_to_nobody_is_refused, tcp, AF_INET,
		    CF_LEGAL(WILL("connect -ECONNREFUSED"))),
	CF_CASE_ARG(a_connect_to_nobody_is_refused, unix, AF_UNIX,
		    CF_LEGAL(WILL("connect -ECONNREFUSED; gone -ENOENT"))),
	BOTH(a_socket_connects_once, CF_LEGAL(WILL("again -EISCONN"))),
	CF_CASE_ARG(a_socket_that_is_not_connected, tcp, AF_INET,
		    CF_LEGAL(WILL("accept -EINVAL; recv -ENOTCONN; send -EPIPE; "
				  "shutdown -ENOTCONN"))),
	CF_CASE_ARG(a_socket_that_is_not_connected, unix, AF_UNIX,
		    CF_LEGAL(WILL("accept -EINVAL; recv -EINVAL; send -ENOTCONN; shutdown 0"))),
	CF_CASE(what_is_no_socket,
		CF_LEGAL(WILL("accept -ENOTSOCK; bad -EBADF; recv -ENOTSOCK; send -ENOTSOCK; "
			      "shutdown -ENOTSOCK"))),
	BOTH(an_address_is_used_once, CF_LEGAL(WILL("bind -EADDRINUSE"))),
	CF_CASE(bind_and_listen_by_the_ring, .ops = { IORING_OP_BIND, IORING_OP_LISTEN },
		CF_LEGAL(WILL("bind 0; listen 0; bind -EINVAL"))),
	CF_CASE(a_foreign_address_is_not_bound, CF_LEGAL(WILL("bind -EADDRNOTAVAIL"))),
	CF_CASE(both_ends_know_their_addresses,
		CF_LEGAL(WILL("name 0; peer 0; equal; peer 0; the listener's; none -ENOTCONN"))),
	CF_CASE(options_of_sockets,
		CF_LEGAL(WILL("reuse 0; port 0; nodelay 0; unknown -ENOPROTOOPT; bad -EBADF; "
			      "get 0; 1; error 0; 0"))),
	CF_CASE(ports_are_shared_by_those_who_ask,
		CF_LEGAL(WILL("b 0; alone -EADDRINUSE; listen 0; listen 0; accept fd; quiet"))),
	{ .name = NULL }
};
