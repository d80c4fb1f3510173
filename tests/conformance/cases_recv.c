/* SPDX-License-Identifier: MIT */
/*
 * cases_recv.c - multishot receives: what keeps them going, and each thing that ends them.
 */
#include "tests/conformance/conform.h"

static void arm(struct cf *c, int fd)
{
	struct io_uring_sqe *sqe = cf_sqe(c, "recv");

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_submit(c);
}

static void a_multishot_receive_takes_what_comes(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_bufs(c, &bufs, 1, 8, 64, 0);
	cf_bufs_add(c, &bufs, 8);
	arm(c, fds[1]);
	cf_quiet(c);
	for (int i = 0; i < 3; i++) {
		cf_send(c, fds[0], "abcd");
		cf_await(c, 1);
	}
	cf_note(c, "%.4s", bufs.memory + 64);
}

static void a_multishot_receive_ends_with_the_stream(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_bufs(c, &bufs, 1, 8, 64, 0);
	cf_bufs_add(c, &bufs, 8);
	arm(c, fds[1]);
	cf_send(c, fds[0], "abcd");
	cf_await(c, 1);
	cf_close(c, fds[0]);
	cf_await_end(c, "recv");
}

/* The bytes stay where they are; armed again with a buffer, the receive takes them. */
static void a_multishot_receive_ends_without_buffers(struct cf *c)
{
	struct cf_bufs bufs;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_bufs(c, &bufs, 1, 4, 4, 0);
	cf_bufs_add(c, &bufs, 2);
	cf_send(c, fds[0], "aaaabbbbcccc");
	arm(c, fds[1]);
	cf_await_end(c, "recv");
	arm(c, fds[1]);
	cf_await_end(c, "recv");
	cf_bufs_add(c, &bufs, 1);
	arm(c, fds[1]);
	cf_await(c, 1);
	cf_note(c, "%.12s", bufs.memory);
}

/* uring.md: at once, although nothing has come yet. */
static void a_receive_from_an_empty_group_fails_at_once(struct cf *c)
{
	struct cf_bufs bufs;
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_bufs(c, &bufs, 1, 4, 64, 0);
	arm(c, fds[1]);
	cf_await_end(c, "recv");
	sqe = cf_sqe(c, "once");
	io_uring_prep_recv(sqe, fds[1], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_await(c, 1);
}

/* reliability.md 3.2: a queue of 4 and 10 datagrams. What is left is there for the next. */
static void a_multishot_receive_ends_with_a_full_queue(struct cf *c)
{
	struct cf_bufs bufs;
	struct cf_addr addr;
	int from = cf_socket(c, AF_INET, SOCK_DGRAM);
	int to = cf_socket(c, AF_INET, SOCK_DGRAM);

	cf_bind(c, to, AF_INET, "", &addr);
	cf_bufs(c, &bufs, 1, 16, 64, 0);
	cf_bufs_add(c, &bufs, 16);
	for (int i = 0; i < 10; i++) {
		io_uring_prep_sendto(cf_step(c), from, "abcd", 4, 0, &addr.any, addr.size);
		cf_must(c, cf_do(c), "sendto");
	}
	io_uring_prep_poll_add(cf_step(c), to, POLLIN);
	cf_must(c, cf_do(c), "poll");
	cf_quiet(c);
	arm(c, to);
	cf_await_end(c, "recv");
	io_uring_prep_recv(cf_sqe(c, "left"), to, cf_mem(c, 8), 8, MSG_DONTWAIT);
	cf_await(c, 1);
}

static void a_multishot_receive_without_buffers_to_select_is_refused(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv_multishot(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_await(c, 1);
}

static void a_multishot_receive_of_all_is_refused(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv_multishot(sqe, fds[1], NULL, 0, MSG_WAITALL);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_await(c, 1);
}

static void a_group_that_is_not_there(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_send(c, fds[0], "abc");
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 99;
	cf_await(c, 1);
}

/* --- datagrams with their senders --- */

static void arm_msg(struct cf *c, int fd, unsigned name_size)
{
	struct msghdr *msg = cf_mem(c, sizeof(*msg));
	struct io_uring_sqe *sqe = cf_sqe(c, "recvmsg");

	msg->msg_namelen = name_size;
	io_uring_prep_recvmsg_multishot(sqe, fd, msg, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_submit(c);
}

static void note_message(struct cf *c, const char *buf, unsigned name_size)
{
	const struct io_uring_recvmsg_out *out = (const void *)buf;
	const char *data = buf + sizeof(*out) + name_size;

	cf_note(c, "name %u, payload %u, flags %x, \"%.*s\"", out->namelen, out->payloadlen,
		out->flags, (int)(out->payloadlen > 8 ? 8 : out->payloadlen), data);
}

static void a_multishot_receive_of_messages(struct cf *c)
{
	struct cf_bufs bufs;
	struct cf_addr addr;
	int from = cf_socket(c, AF_INET, SOCK_DGRAM);
	int to = cf_socket(c, AF_INET, SOCK_DGRAM);

	cf_bind(c, to, AF_INET, "", &addr);
	cf_bufs(c, &bufs, 1, 4, 64, 0);
	cf_bufs_add(c, &bufs, 4);
	arm_msg(c, to, 16);
	io_uring_prep_sendto(cf_step(c), from, "abcd", 4, 0, &addr.any, addr.size);
	cf_must(c, cf_do(c), "sendto");
	cf_await(c, 1);
	if (!c->broken)
		note_message(c, bufs.memory, 16);
	io_uring_prep_sendto(cf_step(c), from, cf_mem(c, 100), 100, 0, &addr.any, addr.size);
	cf_must(c, cf_do(c), "sendto");
	cf_await(c, 1);
	if (!c->broken)
		note_message(c, bufs.memory + 64, 16);
}

static void a_buffer_too_small_for_its_header(struct cf *c)
{
	struct cf_bufs bufs;
	struct cf_addr addr;
	int from = cf_socket(c, AF_INET, SOCK_DGRAM);
	int to = cf_socket(c, AF_INET, SOCK_DGRAM);

	cf_bind(c, to, AF_INET, "", &addr);
	cf_bufs(c, &bufs, 1, 4, 16, 0);
	cf_bufs_add(c, &bufs, 4);
	arm_msg(c, to, 16);
	io_uring_prep_sendto(cf_step(c), from, "abcd", 4, 0, &addr.any, addr.size);
	cf_must(c, cf_do(c), "sendto");
	cf_await_end(c, "recvmsg");
}

#define BOTH(body_, ...)                                                                          \
	CF_CASE_ARG(body_, tcp, AF_INET, __VA_ARGS__),                                            \
		CF_CASE_ARG(body_, unix, AF_UNIX, __VA_ARGS__)

const struct cf_case cf_cases_recv[] = {
	BOTH(a_multishot_receive_takes_what_comes,
	     CF_LEGAL(WILL("quiet; recv 4+ buf 0; recv 4+ buf 1; recv 4+ buf 2; abcd"))),
	BOTH(a_multishot_receive_ends_with_the_stream, CF_LEGAL(WILL("recv 4+ buf 0; recv 0"))),
	BOTH(a_multishot_receive_ends_without_buffers,
	     CF_LEGAL(WILL("recv 4+ buf 0; recv 4+ buf 1; recv -ENOBUFS; recv -ENOBUFS; "
			   "recv 4+ buf 2; aaaabbbbcccc"))),
	BOTH(a_receive_from_an_empty_group_fails_at_once,
	     CF_LEGAL(WILL("recv -ENOBUFS; once -ENOBUFS"))),
	CF_CASE(a_multishot_receive_ends_with_a_full_queue, .sq = 4, .cq = 4,
		CF_LEGAL(WILL("quiet; recv 4+ buf 0; recv 4+ buf 1; recv 4+ buf 2; recv 4+ buf 3; "
			      "recv 4 buf 4; left 4"))),
	BOTH(a_multishot_receive_without_buffers_to_select_is_refused,
	     CF_LEGAL(WILL("recv -EINVAL"))),
	BOTH(a_multishot_receive_of_all_is_refused, CF_LEGAL(WILL("recv -EINVAL"))),
	BOTH(a_group_that_is_not_there, CF_LEGAL(WILL("recv -ENOBUFS"))),
	CF_CASE(a_multishot_receive_of_messages, NOT_POLL,
		CF_LEGAL(WILL("recvmsg 36+ buf 0; name 16, payload 4, flags 0, \"abcd\"; "
			      "recvmsg 64+ buf 1; name 16, payload 32, flags 20, \"\""))),
	CF_CASE(a_buffer_too_small_for_its_header, NOT_POLL, CF_LEGAL(WILL("recvmsg -EFAULT"))),
	{ .name = NULL }
};
