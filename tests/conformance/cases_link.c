/* SPDX-License-Identifier: MIT */
/*
 * cases_link.c - chains: what runs after what, what severs them, and link timeouts.
 */
#include "tests/conformance/conform.h"

static void nop(struct cf *c, const char *name, unsigned flags)
{
	struct io_uring_sqe *sqe = cf_sqe(c, name);

	io_uring_prep_nop(sqe);
	sqe->flags |= flags;
}

/* Fails with -EBADF. */
static void failing(struct cf *c, const char *name, unsigned flags)
{
	struct io_uring_sqe *sqe = cf_sqe(c, name);

	io_uring_prep_fsync(sqe, -1, 0);
	sqe->flags |= flags;
}

static void link_timeout(struct cf *c, const char *name, int64_t ns)
{
	struct __kernel_timespec *ts = cf_mem(c, sizeof(*ts));

	ts->tv_sec = ns / WEIR_S;
	ts->tv_nsec = ns % WEIR_S;
	io_uring_prep_link_timeout(cf_sqe(c, name), ts, 0);
}

static void a_chain_runs_in_its_order(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	char *text = cf_mem(c, 16);
	struct io_uring_sqe *sqe = cf_sqe(c, "write");

	io_uring_prep_write(sqe, fd, "hello", 5, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = cf_sqe(c, "fsync");
	io_uring_prep_fsync(sqe, fd, 0);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_read(cf_sqe(c, "read"), fd, text, 5, 0);
	cf_await_in_order(c, 3);
	cf_note(c, "%s", text);
}

static void a_failure_cancels_the_rest(struct cf *c)
{
	nop(c, "a", IOSQE_IO_LINK);
	failing(c, "b", IOSQE_IO_LINK);
	nop(c, "c", IOSQE_IO_LINK);
	nop(c, "d", 0);
	nop(c, "after", 0);
	cf_await(c, 5);
}

static void a_hard_link_survives_a_failure(struct cf *c)
{
	failing(c, "a", IOSQE_IO_HARDLINK);
	nop(c, "b", IOSQE_IO_LINK);
	nop(c, "c", 0);
	cf_await(c, 3);
}

static void short_read(struct cf *c, unsigned flags)
{
	int fd = cf_file(c, "file", "abc");
	struct io_uring_sqe *sqe = cf_sqe(c, "read");

	io_uring_prep_read(sqe, fd, cf_mem(c, 64), 64, 0);
	sqe->flags |= flags;
	nop(c, "nop", 0);
	cf_await(c, 2);
}

/* reliability.md 3.2 */
static void a_short_read_severs_a_soft_link(struct cf *c)
{
	short_read(c, IOSQE_IO_LINK);
}

static void a_short_read_does_not_sever_a_hard_link(struct cf *c)
{
	short_read(c, IOSQE_IO_HARDLINK);
}

static void a_whole_read_keeps_the_link(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");
	struct io_uring_sqe *sqe = cf_sqe(c, "read");

	io_uring_prep_read(sqe, fd, cf_mem(c, 64), 3, 0);
	sqe->flags |= IOSQE_IO_LINK;
	nop(c, "nop", 0);
	cf_await(c, 2);
}

static void recv_then_nop(struct cf *c, int flags)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_send(c, fds[0], "abc");
	if (!c->broken)
		c->kernel->ops->shutdown(c->kernel, fds[0], SHUT_WR);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, flags);
	sqe->flags |= IOSQE_IO_LINK;
	nop(c, "nop", 0);
	cf_await(c, 2);
}

static void a_short_receive_keeps_a_link(struct cf *c)
{
	recv_then_nop(c, 0);
}

static void a_short_receive_of_all_severs_a_link(struct cf *c)
{
	recv_then_nop(c, MSG_WAITALL);
}

static void a_bad_sqe_fails_its_whole_chain_before_it_begins(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fd = cf_file(c, "file", "");

	sqe = cf_sqe(c, "write");
	io_uring_prep_write(sqe, fd, "hello", 5, 0);
	sqe->flags |= IOSQE_IO_LINK;
	cf_sqe(c, "bad")->opcode = 250;
	cf_await(c, 2);
	cf_note_file(c, fd);
}

static void a_chain_ends_with_its_submission(struct cf *c)
{
	failing(c, "a", IOSQE_IO_LINK);
	cf_submit(c);
	nop(c, "b", 0);
	cf_await(c, 2);
}

static void who_is_cancelled_is_not_skipped(struct cf *c)
{
	nop(c, "a", IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	failing(c, "b", IOSQE_IO_LINK);
	nop(c, "c", IOSQE_IO_LINK);
	nop(c, "d", 0);
	cf_await(c, 3);
	cf_quiet(c);
}

static void a_chain_of_a_skipped_success_goes_on(struct cf *c)
{
	nop(c, "a", IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	nop(c, "b", 0);
	cf_await(c, 1);
	cf_quiet(c);
}

static void a_link_timeout_ends_what_takes_too_long(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	link_timeout(c, "timeout", 2 * WEIR_MS);
	cf_await(c, 2);
}

static void a_link_timeout_is_cancelled_by_success(struct cf *c)
{
	nop(c, "nop", IOSQE_IO_LINK);
	link_timeout(c, "timeout", 1000 * WEIR_S);
	cf_await(c, 2);
}

static void a_link_timeout_behind_a_failure(struct cf *c)
{
	failing(c, "fsync", IOSQE_IO_LINK);
	link_timeout(c, "timeout", 1000 * WEIR_S);
	cf_await(c, 2);
}

static void a_receive_in_time_cancels_its_link_timeout(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	link_timeout(c, "timeout", 1000 * WEIR_S);
	cf_submit(c);
	cf_send(c, fds[0], "abc");
	cf_await(c, 2);
}

static void a_link_timeout_of_nobody_is_refused(struct cf *c)
{
	link_timeout(c, "timeout", WEIR_MS);
	cf_await(c, 1);
}

static void a_link_timeout_cancels_what_is_chained_behind(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	link_timeout(c, "timeout", 2 * WEIR_MS);
	c->ring.uring.sq.sqes[(c->ring.uring.sq.sqe_tail - 1) & c->ring.uring.sq.ring_mask].flags |=
		IOSQE_IO_LINK;
	nop(c, "nop", 0);
	cf_await(c, 3);
}

/* The bytes have come and the time is over: either may be first. */
static void a_link_timeout_races_with_the_receive(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	link_timeout(c, "timeout", 100 * WEIR_US);
	cf_submit(c);
	io_uring_prep_send(cf_sqe(c, "send"), fds[0], "abc", 3, 0);
	cf_await(c, 3);
}

/* Nothing begins late, and no chain is cut in two. */
#define AS_ASKED .prompt = true, .whole = true

const struct cf_case cf_cases_link[] = {
	CF_CASE(a_chain_runs_in_its_order, .whole = true,
		CF_LEGAL(WILL("write 5; fsync 0; read 5; hello"))),
	CF_CASE(a_failure_cancels_the_rest, .whole = true,
		CF_LEGAL(WILL("a 0; after 0; b -EBADF; c -ECANCELED; d -ECANCELED"))),
	CF_CASE(a_hard_link_survives_a_failure, .whole = true,
		CF_LEGAL(WILL("a -EBADF; b 0; c 0"))),
	CF_CASE(a_short_read_severs_a_soft_link, .whole = true,
		CF_LEGAL(WILL("nop -ECANCELED; read 3"))),
	CF_CASE(a_short_read_does_not_sever_a_hard_link, .whole = true,
		CF_LEGAL(WILL("nop 0; read 3"))),
	CF_CASE(a_whole_read_keeps_the_link, .whole = true, CF_LEGAL(WILL("nop 0; read 3"))),
	CF_CASE(a_short_receive_keeps_a_link, .whole = true, CF_LEGAL(WILL("nop 0; recv 3"))),
	CF_CASE(a_short_receive_of_all_severs_a_link, .whole = true,
		CF_LEGAL(WILL("nop -ECANCELED; recv 3"))),
	CF_CASE(a_bad_sqe_fails_its_whole_chain_before_it_begins, .whole = true,
		CF_LEGAL(WILL("bad -EINVAL; write -ECANCELED; \"\""))),
	CF_CASE(a_chain_ends_with_its_submission, CF_LEGAL(WILL("a -EBADF; b 0"))),
	CF_CASE(who_is_cancelled_is_not_skipped, .whole = true,
		CF_LEGAL(WILL("b -EBADF; c -ECANCELED; d -ECANCELED; quiet"))),
	CF_CASE(a_chain_of_a_skipped_success_goes_on, .whole = true, CF_LEGAL(WILL("b 0; quiet"))),
	CF_CASE(a_link_timeout_ends_what_takes_too_long, AS_ASKED,
		CF_LEGAL(WILL("recv -ECANCELED; timeout -ETIME"))),
	CF_CASE(a_link_timeout_is_cancelled_by_success, AS_ASKED,
		CF_LEGAL(WILL("nop 0; timeout -ECANCELED"))),
	CF_CASE(a_link_timeout_behind_a_failure, AS_ASKED,
		CF_LEGAL(WILL("fsync -EBADF; timeout -ECANCELED"))),
	CF_CASE(a_receive_in_time_cancels_its_link_timeout, AS_ASKED,
		CF_LEGAL(WILL("recv 3; timeout -ECANCELED"))),
	CF_CASE(a_link_timeout_of_nobody_is_refused, CF_LEGAL(WILL("timeout -EINVAL"))),
	CF_CASE(a_link_timeout_cancels_what_is_chained_behind, AS_ASKED,
		CF_LEGAL(WILL("nop -ECANCELED; recv -ECANCELED; timeout -ETIME"))),
	CF_CASE(a_link_timeout_races_with_the_receive, .whole = true,
		CF_LEGAL(WILL("recv 3; send 3; timeout -ECANCELED"),
			 WILL("recv -ECANCELED; send 3; timeout -ETIME"),
			 MAY("recv 3; send 3; timeout -ENOENT"),
			 MAY("recv 3; send 3; timeout -EALREADY"),
			 MAY("recv 3; send 3; timeout -ETIME"))),
	{ .name = NULL }
};
