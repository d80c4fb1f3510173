/* SPDX-License-Identifier: MIT */
/*
 * cases_zc.c - zero-copy sends: two completions, and the second says that the memory is free.
 */
#include "tests/conformance/conform.h"

static void a_zero_copy_send_completes_twice(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	memcpy(text, "hello", 5);
	cf_pair(c, AF_INET, fds);
	io_uring_prep_send_zc(cf_sqe(c, "send"), fds[0], text, 5, 0, 0);
	cf_await_end(c, "send");
	cf_recv(c, fds[1], "there", 16);
}

/* The kernel copied, or did not; it says so when asked. */
static void a_zero_copy_send_reports_its_use(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, AF_INET, fds);
	io_uring_prep_send_zc(cf_sqe(c, "send"), fds[0], text, 5, 0, IORING_SEND_ZC_REPORT_USAGE);
	cf_await_end(c, "send");
}

static void a_zero_copy_message(struct cf *c)
{
	struct iovec *iov = cf_mem(c, 2 * sizeof(*iov));
	struct msghdr *msg = cf_mem(c, sizeof(*msg));
	char *text = cf_mem(c, 16);
	int fds[2];

	memcpy(text, "helloworld", 10);
	iov[0] = (struct iovec){ text, 5 };
	iov[1] = (struct iovec){ text + 5, 5 };
	msg->msg_iov = iov;
	msg->msg_iovlen = 2;
	cf_pair(c, AF_INET, fds);
	io_uring_prep_sendmsg_zc(cf_sqe(c, "sendmsg"), fds[0], msg, 0);
	cf_await_end(c, "sendmsg");
	cf_recv(c, fds[1], "there", 16);
}

/* reliability.md 3.2: an error announces its notification, too, whatever it is. */
static void a_zero_copy_send_that_fails_notifies(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, AF_INET, fds);
	io_uring_prep_shutdown(cf_step(c), fds[0], SHUT_WR);
	cf_must(c, cf_do(c), "shutdown");
	io_uring_prep_send_zc(cf_sqe(c, "send"), fds[0], text, 5, MSG_NOSIGNAL, 0);
	cf_await_end(c, "send");
	cf_quiet(c);
}

static void a_zero_copy_send_on_what_is_no_socket(struct cf *c)
{
	int fd = cf_file(c, "file", "");

	io_uring_prep_send_zc(cf_sqe(c, "bad"), 999, cf_mem(c, 8), 8, 0, 0);
	cf_await_end(c, "bad");
	io_uring_prep_send_zc(cf_sqe(c, "file"), fd, cf_mem(c, 8), 8, 0, 0);
	cf_await_end(c, "file");
	cf_quiet(c);
}

static void a_zero_copy_send_on_a_local_stream_is_refused(struct cf *c)
{
	int fds[2];

	cf_pair(c, AF_UNIX, fds);
	io_uring_prep_send_zc(cf_sqe(c, "send"), fds[0], cf_mem(c, 8), 8, 0, 0);
	cf_await_end(c, "send");
	cf_quiet(c);
}

static void a_zero_copy_send_of_registered_memory(struct cf *c)
{
	char *text = cf_mem(c, 4096);
	struct iovec iov = { text, 4096 };
	int fds[2];

	memcpy(text, "hello", 5);
	cf_pair(c, AF_INET, fds);
	cf_must(c, cf_register(c, IORING_REGISTER_BUFFERS, &iov, 1), "buffers");
	io_uring_prep_send_zc_fixed(cf_sqe(c, "send"), fds[0], text, 5, 0, 0, 0);
	cf_await_end(c, "send");
	cf_recv(c, fds[1], "there", 16);
	io_uring_prep_send_zc_fixed(cf_sqe(c, "index"), fds[0], text, 5, 0, 0, 7);
	cf_await_end(c, "index");
}

/* No room for it: it waits, is cancelled, and the notification still comes. */
static void a_cancelled_zero_copy_send_notifies(struct cf *c)
{
	char *text = cf_mem(c, 1 << 20);
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_setsockopt(c, fds[0], SOL_SOCKET, SO_SNDBUF, 16384);
	io_uring_prep_send(cf_sqe(c, "fill"), fds[0], text, 1 << 20, MSG_WAITALL);
	cf_quiet(c);
	io_uring_prep_cancel64(cf_step(c), cf_data(c, "fill"), 0);
	cf_must(c, cf_do(c), "cancel");
	cf_drop(c, 1);
	io_uring_prep_send_zc(cf_sqe(c, "send"), fds[0], text, 5, 0, 0);
	cf_quiet(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "send"), 0);
	cf_await(c, 3);
}

#define ZC .ops = { IORING_OP_SEND_ZC, IORING_OP_SENDMSG_ZC }

const struct cf_case cf_cases_zc[] = {
	CF_CASE(a_zero_copy_send_completes_twice, ZC,
		CF_LEGAL(WILL("send 5+; send 0 notif; there \"hello\""))),
	CF_CASE(a_zero_copy_send_reports_its_use, ZC, NOT_POLL, .since = 602,
		CF_LEGAL(MAY("send 5+; send 0 notif"),
			 WILL("send 5+; send -2147483648 notif"))),
	CF_CASE(a_zero_copy_message, ZC,
		CF_LEGAL(WILL("sendmsg 10+; sendmsg 0 notif; there \"helloworld\""))),
	CF_CASE(a_zero_copy_send_that_fails_notifies, ZC,
		CF_LEGAL(WILL("send -EPIPE+; send 0 notif; quiet"))),
	CF_CASE(a_zero_copy_send_on_what_is_no_socket, ZC,
		CF_LEGAL(WILL("bad -EBADF+; bad 0 notif; file -ENOTSOCK+; file 0 notif; quiet"))),
	CF_CASE(a_zero_copy_send_on_a_local_stream_is_refused, ZC,
		CF_LEGAL(WILL("send -EOPNOTSUPP+; send 0 notif; quiet"),
			 ONLY(CF_ON_POLL, "send 8+; send 0 notif; quiet"))),
	CF_CASE(a_zero_copy_send_of_registered_memory, ZC, NOT_POLL,
		CF_LEGAL(WILL("send 5+; send 0 notif; there \"hello\"; index -EFAULT+; "
			      "index 0 notif"))),
	CF_CASE(a_cancelled_zero_copy_send_notifies, ZC, .prompt = true,
		CF_LEGAL(WILL("quiet; quiet; cancel 0; send -ECANCELED+; send 0 notif"))),
	{ .name = NULL }
};
