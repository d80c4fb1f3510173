/* SPDX-License-Identifier: MIT */
/*
 * cases_end.c - how streams end: closed, half-closed, reset, and closed under who uses them.
 */
#include "tests/conformance/conform.h"

static void shut(struct cf *c, int fd, int how)
{
	io_uring_prep_shutdown(cf_step(c), fd, how);
	cf_must(c, cf_do(c), "shutdown");
}

static void a_closed_peer_is_the_end(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_send(c, fds[0], "abc");
	cf_close(c, fds[0]);
	cf_recv(c, fds[1], "first", 64);
	cf_recv(c, fds[1], "then", 64);
	cf_recv(c, fds[1], "still", 64);
}

static void a_half_closed_stream_goes_on_the_other_way(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	shut(c, fds[0], SHUT_WR);
	cf_recv(c, fds[1], "end", 64);
	io_uring_prep_recv(cf_sqe(c, "other"), fds[0], cf_mem(c, 8), 8, 0);
	cf_quiet(c);
	cf_send(c, fds[1], "abc");
	cf_await(c, 1);
	io_uring_prep_send(cf_sqe(c, "send"), fds[0], "x", 1, MSG_NOSIGNAL);
	cf_await(c, 1);
}

static void an_armed_receive_sees_the_end(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_submit(c);
	cf_close(c, fds[0]);
	cf_await(c, 1);
}

static void a_shutdown_ends_an_armed_receive(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_submit(c);
	shut(c, fds[1], SHUT_RD);
	cf_await(c, 1);
}

/* The first send may succeed: the answer to it is what says that nobody is there. */
static void sends_to_a_closed_peer_fail_in_the_end(struct cf *c)
{
	int fds[2];
	int r;

	cf_pair(c, c->test->arg, fds);
	cf_close(c, fds[0]);
	cf_recv(c, fds[1], "recv", 8);
	io_uring_prep_send(cf_step(c), fds[1], "x", 1, MSG_NOSIGNAL);
	r = cf_do(c);
	if (r > 0) {
		io_uring_prep_poll_add(cf_step(c), fds[1], POLLERR);
		cf_must(c, cf_do(c), "poll");
		io_uring_prep_send(cf_step(c), fds[1], "x", 1, MSG_NOSIGNAL);
		r = cf_do(c);
	}
	cf_note_res(c, "send", r);
}

/* reliability.md 3.3, N2: a close with bytes unread is a reset. */
static void a_close_with_bytes_unread_is_a_reset(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	cf_send(c, fds[0], "abc");
	io_uring_prep_poll_add(cf_step(c), fds[1], POLLIN);
	cf_must(c, cf_do(c), "poll");
	cf_close(c, fds[1]);
	cf_recv(c, fds[0], "recv", 8);
	cf_recv(c, fds[0], "then", 8);
}

static void a_linger_of_0_resets(struct cf *c)
{
	struct linger linger = { .l_onoff = 1 };
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_send(c, fds[0], "abc");
	if (c->broken)
		return;
	cf_must(c,
		c->kernel->ops->setsockopt(c->kernel, fds[0], SOL_SOCKET, SO_LINGER, &linger,
					   sizeof(linger)),
		"linger");
	io_uring_prep_poll_add(cf_step(c), fds[1], POLLIN);
	cf_must(c, cf_do(c), "poll");
	cf_close(c, fds[0]);
	io_uring_prep_poll_add(cf_step(c), fds[1], POLLHUP);
	cf_must(c, cf_do(c), "poll");
	cf_recv(c, fds[1], "recv", 8);
	cf_recv(c, fds[1], "then", 8);
	io_uring_prep_send(cf_sqe(c, "send"), fds[1], "x", 1, MSG_NOSIGNAL);
	cf_await(c, 1);
}

static void a_reset_ends_an_armed_receive(struct cf *c)
{
	struct linger linger = { .l_onoff = 1 };
	int fds[2];

	cf_pair(c, AF_INET, fds);
	if (c->broken)
		return;
	c->kernel->ops->setsockopt(c->kernel, fds[0], SOL_SOCKET, SO_LINGER, &linger,
				   sizeof(linger));
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_submit(c);
	cf_close(c, fds[0]);
	cf_await(c, 1);
}

/* reliability.md 3.2: the receive stays armed, and takes what comes after the close. */
static void a_closed_descriptor_s_receive_still_takes_bytes(struct cf *c)
{
	char *text = cf_mem(c, 16);
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], text, 8, 0);
	cf_submit(c);
	cf_close(c, fds[1]);
	cf_quiet(c);
	cf_send(c, fds[0], "abcd");
	cf_await(c, 1);
	cf_note(c, "%s", text);
	cf_recv(c, fds[0], "peer", 8);
}

/* And its number is free: the cancel by the old number does not find it. */
static void a_closed_descriptor_s_number_is_another_s(struct cf *c)
{
	int fds[2], again;

	cf_pair(c, AF_INET, fds);
	cf_socket(c, AF_INET, SOCK_STREAM);	/* takes the number of the pair's listener */
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 8), 8, 0);
	cf_submit(c);
	cf_close(c, fds[1]);
	again = cf_socket(c, AF_INET, SOCK_STREAM);
	cf_note(c, "%s", again == fds[1] ? "the same" : "another");
	io_uring_prep_cancel_fd(cf_sqe(c, "cancel"), again, IORING_ASYNC_CANCEL_ALL);
	cf_await(c, 1);
	cf_send(c, fds[0], "abcd");
	cf_await(c, 1);
}

static void a_shutdown_listener_accepts_no_more(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);

	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_submit(c);
	shut(c, listener, SHUT_RDWR);
	cf_await(c, 1);
}

static void a_connection_that_nobody_accepted_ends_with_its_listener(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);
	int fd = cf_connect(c, &addr);

	io_uring_prep_recv(cf_sqe(c, "recv"), fd, cf_mem(c, 8), 8, 0);
	cf_submit(c);
	cf_close(c, listener);
	cf_await(c, 1);
}

static void a_shutdown_twice(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_shutdown(cf_sqe(c, "first"), fds[0], SHUT_WR);
	cf_await(c, 1);
	io_uring_prep_shutdown(cf_sqe(c, "second"), fds[0], SHUT_WR);
	cf_await(c, 1);
	io_uring_prep_shutdown(cf_sqe(c, "how"), fds[0], 7);
	cf_await(c, 1);
}

#define BOTH(body_, ...)                                                                          \
	CF_CASE_ARG(body_, tcp, AF_INET, __VA_ARGS__),                                            \
		CF_CASE_ARG(body_, unix, AF_UNIX, __VA_ARGS__)

const struct cf_case cf_cases_end[] = {
	BOTH(a_closed_peer_is_the_end, CF_LEGAL(WILL("first \"abc\"; then 0; still 0"))),
	BOTH(a_half_closed_stream_goes_on_the_other_way,
	     CF_LEGAL(WILL("end 0; quiet; other 3; send -EPIPE"))),
	BOTH(an_armed_receive_sees_the_end, CF_LEGAL(WILL("recv 0"))),
	BOTH(a_shutdown_ends_an_armed_receive, CF_LEGAL(WILL("recv 0"))),
	BOTH(sends_to_a_closed_peer_fail_in_the_end, CF_LEGAL(WILL("recv 0; send -EPIPE"))),
	CF_CASE_ARG(a_close_with_bytes_unread_is_a_reset, tcp, AF_INET,
		    CF_LEGAL(WILL("recv -ECONNRESET; then 0"))),
	CF_CASE_ARG(a_close_with_bytes_unread_is_a_reset, unix, AF_UNIX,
		    CF_LEGAL(WILL("recv -ECONNRESET; then 0"))),
	CF_CASE(a_linger_of_0_resets,
		CF_LEGAL(WILL("recv \"abc\"; then -ECONNRESET; send -EPIPE"))),
	CF_CASE(a_reset_ends_an_armed_receive, CF_LEGAL(WILL("recv -ECONNRESET"))),
	BOTH(a_closed_descriptor_s_receive_still_takes_bytes, .prompt = true,
	     CF_LEGAL(WILL("quiet; recv 4; abcd; peer 0"))),
	CF_CASE(a_closed_descriptor_s_number_is_another_s, .prompt = true,
		CF_LEGAL(WILL("the same; cancel 0; recv 4"))),
	CF_CASE_ARG(a_shutdown_listener_accepts_no_more, tcp, AF_INET,
		    CF_LEGAL(WILL("accept -EINVAL"))),
	CF_CASE_ARG(a_shutdown_listener_accepts_no_more, unix, AF_UNIX,
		    CF_LEGAL(WILL("accept -EINVAL"))),
	CF_CASE_ARG(a_connection_that_nobody_accepted_ends_with_its_listener, tcp, AF_INET,
		    CF_LEGAL(WILL("recv -ECONNRESET"))),
	CF_CASE_ARG(a_connection_that_nobody_accepted_ends_with_its_listener, unix, AF_UNIX,
		    CF_LEGAL(WILL("recv -ECONNRESET"))),
	BOTH(a_shutdown_twice, CF_LEGAL(WILL("first 0; second 0; how -EINVAL"))),
	{ .name = NULL }
};
