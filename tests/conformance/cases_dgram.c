/* SPDX-License-Identifier: MIT */
/*
 * cases_dgram.c - datagrams, UDP and AF_UNIX: boundaries, senders, and nobody there.
 */
#include "tests/conformance/conform.h"

static int receiver(struct cf *c, int domain, struct cf_addr *ret_addr)
{
	int fd = cf_socket(c, domain, SOCK_DGRAM);

	cf_bind(c, fd, domain, "receiver", ret_addr);
	return fd;
}

static void send_to(struct cf *c, int fd, const struct cf_addr *addr, const char *text,
		    unsigned size)
{
	io_uring_prep_sendto(cf_step(c), fd, text, size, 0, &addr->any, addr->size);
	cf_must(c, cf_do(c), "sendto");
}

static void datagrams_keep_their_boundaries(struct cf *c)
{
	struct cf_addr addr;
	int to = receiver(c, c->test->arg, &addr);
	int from = cf_socket(c, c->test->arg, SOCK_DGRAM);

	send_to(c, from, &addr, "abc", 3);
	send_to(c, from, &addr, "", 0);
	send_to(c, from, &addr, "defgh", 5);
	for (int i = 0; i < 3; i++)
		cf_recv(c, to, "recv", 64);
}

static void what_does_not_fit_is_cut(struct cf *c)
{
	struct cf_addr addr;
	int to = receiver(c, c->test->arg, &addr);
	int from = cf_socket(c, c->test->arg, SOCK_DGRAM);

	send_to(c, from, &addr, "abcdefgh", 8);
	send_to(c, from, &addr, "ijklmnop", 8);
	send_to(c, from, &addr, "q", 1);
	cf_recv(c, to, "recv", 4);
	io_uring_prep_recv(cf_sqe(c, "trunc"), to, cf_mem(c, 8), 4, MSG_TRUNC);
	cf_await(c, 1);
	cf_recv(c, to, "recv", 4);
}

static void a_receive_tells_the_sender(struct cf *c)
{
	struct iovec *iov = cf_mem(c, sizeof(*iov));
	struct msghdr *msg = cf_mem(c, sizeof(*msg));
	struct sockaddr_in *name = cf_mem(c, sizeof(*name));
	struct cf_addr to_addr, from_addr;
	int to = receiver(c, AF_INET, &to_addr);
	int from = receiver(c, AF_INET, &from_addr);

	*iov = (struct iovec){ cf_mem(c, 4), 4 };
	msg->msg_iov = iov;
	msg->msg_iovlen = 1;
	msg->msg_name = name;
	msg->msg_namelen = sizeof(*name);
	send_to(c, from, &to_addr, "abcdefgh", 8);
	io_uring_prep_recvmsg(cf_sqe(c, "recvmsg"), to, msg, 0);
	cf_await(c, 1);
	cf_note(c, "%s %u flags %x",
		name->sin_port == from_addr.in.sin_port ? "the sender" : "another",
		(unsigned)msg->msg_namelen, (unsigned)msg->msg_flags);
}

static void a_connected_datagram_socket(struct cf *c)
{
	struct cf_addr addr, other;
	int to = receiver(c, AF_INET, &addr);
	int from = receiver(c, AF_INET, &other);
	int stranger = cf_socket(c, AF_INET, SOCK_DGRAM);

	io_uring_prep_connect(cf_sqe(c, "connect"), from, &addr.any, addr.size);
	cf_await(c, 1);
	io_uring_prep_send(cf_sqe(c, "send"), from, "abc", 3, 0);
	cf_await(c, 1);
	cf_recv(c, to, "recv", 8);
	send_to(c, stranger, &other, "xyz", 3);
	send_to(c, to, &other, "def", 3);
	cf_recv(c, from, "recv", 8);
}

static void a_datagram_to_nobody(struct cf *c)
{
	struct cf_addr addr;
	int to = receiver(c, AF_INET, &addr);
	int from = cf_socket(c, AF_INET, SOCK_DGRAM);
	int connected = cf_socket(c, AF_INET, SOCK_DGRAM);

	cf_close(c, to);
	io_uring_prep_sendto(cf_sqe(c, "lost"), from, "abc", 3, 0, &addr.any, addr.size);
	cf_await(c, 1);
	io_uring_prep_connect(cf_step(c), connected, &addr.any, addr.size);
	cf_must(c, cf_do(c), "connect");
	io_uring_prep_send(cf_sqe(c, "send"), connected, "abc", 3, 0);
	cf_await(c, 1);
	io_uring_prep_recv(cf_sqe(c, "recv"), connected, cf_mem(c, 8), 8, 0);
	cf_await(c, 1);
}

static void a_datagram_without_address(struct cf *c)
{
	int fd = cf_socket(c, c->test->arg, SOCK_DGRAM);

	io_uring_prep_send(cf_sqe(c, "send"), fd, "abc", 3, 0);
	cf_await(c, 1);
}

static void a_datagram_too_large(struct cf *c)
{
	struct cf_addr addr;
	int from = cf_socket(c, AF_INET, SOCK_DGRAM);
	char *big = cf_mem(c, 70000);

	receiver(c, AF_INET, &addr);
	io_uring_prep_sendto(cf_sqe(c, "large"), from, big, 65508, 0, &addr.any, addr.size);
	cf_await(c, 1);
	io_uring_prep_sendto(cf_sqe(c, "largest"), from, big, 65507, 0, &addr.any, addr.size);
	cf_await(c, 1);
}

static void a_local_datagram_to_nobody(struct cf *c)
{
	struct cf_addr addr;
	int to = receiver(c, AF_UNIX, &addr);
	int from = cf_socket(c, AF_UNIX, SOCK_DGRAM);

	cf_close(c, to);
	io_uring_prep_sendto(cf_sqe(c, "closed"), from, "abc", 3, 0, &addr.any, addr.size);
	cf_await(c, 1);
	if (!c->broken)
		c->kernel->ops->unlink(c->kernel, addr.un.sun_path);
	io_uring_prep_sendto(cf_sqe(c, "gone"), from, "abc", 3, 0, &addr.any, addr.size);
	cf_await(c, 1);
}

static void a_datagram_socket_does_not_listen(struct cf *c)
{
	struct cf_addr addr;
	int fd = receiver(c, c->test->arg, &addr);

	if (!c->broken)
		cf_note_res(c, "listen", c->kernel->ops->listen(c->kernel, fd, 8));
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), fd, NULL, NULL, 0);
	cf_await(c, 1);
}

#define BOTH(body_, ...)                                                                          \
	CF_CASE_ARG(body_, udp, AF_INET, __VA_ARGS__),                                            \
		CF_CASE_ARG(body_, unix, AF_UNIX, __VA_ARGS__)

const struct cf_case cf_cases_dgram[] = {
	BOTH(datagrams_keep_their_boundaries,
	     CF_LEGAL(WILL("recv \"abc\"; recv 0; recv \"defgh\""))),
	BOTH(what_does_not_fit_is_cut, CF_LEGAL(WILL("recv \"abcd\"; trunc 8; recv \"q\""))),
	CF_CASE(a_receive_tells_the_sender, CF_LEGAL(WILL("recvmsg 4; the sender 16 flags 20"))),
	CF_CASE(a_connected_datagram_socket,
		CF_LEGAL(WILL("connect 0; send 3; recv \"abc\"; recv \"def\""))),
	CF_CASE(a_datagram_to_nobody, CF_LEGAL(WILL("lost 3; send 3; recv -ECONNREFUSED"))),
	CF_CASE_ARG(a_datagram_without_address, udp, AF_INET,
		    CF_LEGAL(WILL("send -EDESTADDRREQ"))),
	CF_CASE_ARG(a_datagram_without_address, unix, AF_UNIX, CF_LEGAL(WILL("send -ENOTCONN"))),
	CF_CASE(a_datagram_too_large, CF_LEGAL(WILL("large -EMSGSIZE; largest 65507"))),
	CF_CASE(a_local_datagram_to_nobody, CF_LEGAL(WILL("closed -ECONNREFUSED; gone -ENOENT"))),
	BOTH(a_datagram_socket_does_not_listen,
	     CF_LEGAL(WILL("listen -EOPNOTSUPP; accept -EOPNOTSUPP"))),
	{ .name = NULL }
};
