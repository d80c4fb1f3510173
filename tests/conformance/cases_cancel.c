/* SPDX-License-Identifier: MIT */
/*
 * cases_cancel.c - cancels: whom they find, what they answer, and what becomes of the target.
 */
#include "tests/conformance/conform.h"

/* n receives that nothing ends. */
static void recvs(struct cf *c, int fds[2], unsigned n)
{
	cf_pair(c, AF_INET, fds);
	while (n--)
		io_uring_prep_recv(cf_sqe(c, "recv"), fds[1], cf_mem(c, 64), 64, 0);
	cf_submit(c);
}

static void a_cancel_ends_its_target(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 2);
}

/* No order is promised (man page); this kernel posts the cancel's CQE first. */
static void the_cancel_or_its_target_comes_first(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await_in_order(c, 2);
}

static void a_cancel_of_nothing_finds_nothing(struct cf *c)
{
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), 12345, 0);
	cf_await(c, 1);
}

static void a_second_cancel_comes_too_late(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 2);
	io_uring_prep_cancel64(cf_sqe(c, "again"), cf_data(c, "recv"), 0);
	cf_await(c, 1);
}

/* Both in one submission: the second finds what is ending already. */
static void two_cancels_at_once(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_cancel64(cf_sqe(c, "a"), cf_data(c, "recv"), 0);
	io_uring_prep_cancel64(cf_sqe(c, "b"), cf_data(c, "recv"), 0);
	cf_await(c, 3);
}

static void a_cancel_without_all_ends_one(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 3);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 2);
	cf_quiet(c);
}

static void with_all_the_answer_is_how_many(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 3);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), IORING_ASYNC_CANCEL_ALL);
	cf_await(c, 4);
}

static void with_all_and_nobody_there_the_answer_is_0(struct cf *c)
{
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), 12345, IORING_ASYNC_CANCEL_ALL);
	cf_await(c, 1);
}

static void a_cancel_by_descriptor(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 2);
	io_uring_prep_cancel_fd(cf_sqe(c, "other"), fds[0], IORING_ASYNC_CANCEL_ALL);
	cf_await(c, 1);
	io_uring_prep_cancel_fd(cf_sqe(c, "cancel"), fds[1], IORING_ASYNC_CANCEL_ALL);
	cf_await(c, 3);
}

static void a_cancel_by_direct_descriptor(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_must(c, cf_register(c, IORING_REGISTER_FILES, &fds[1], 1), "files");
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, 0, cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_submit(c);
	io_uring_prep_cancel_fd(cf_sqe(c, "cancel"), 0,
				IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD_FIXED);
	cf_await(c, 2);
}

static void a_cancel_of_any_ends_everything(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 2);
	io_uring_prep_poll_add(cf_sqe(c, "poll"), fds[1], POLLIN);
	cf_submit(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), 0,
			       IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	cf_await(c, 4);
}

static void a_cancel_of_any_without_all(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 2);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), 0, IORING_ASYNC_CANCEL_ANY);
	cf_await(c, 3);
}

static void a_cancel_by_operation(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_poll_add(cf_sqe(c, "poll"), fds[1], POLLIN);
	cf_submit(c);
	sqe = cf_sqe(c, "cancel");
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_ALL);
	sqe->len = IORING_OP_RECV;
	cf_await(c, 2);
	cf_quiet(c);
}

static void a_cancel_with_unknown_flags_is_refused(struct cf *c)
{
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), 0, 1 << 20);
	cf_await(c, 1);
}

static void a_cancelled_head_cancels_its_chain(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(cf_sqe(c, "nop"));
	cf_submit(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 3);
}

/* What has not begun cannot be found. */
static void a_chained_request_is_not_found(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(cf_sqe(c, "nop"));
	cf_submit(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "nop"), 0);
	cf_await(c, 1);
	cf_quiet(c);
}

/* The bytes are there, the receive is about to see them. */
static void a_cancel_races_with_success(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_send(cf_sqe(c, "send"), fds[0], "abcd", 4, 0);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 3);
}

/*
 * ASYNC: a thread of the kernel takes it, now or soon. Who cancels while the thread is about to arm
 * its poll is told -EALREADY or -ENOENT, and it waits on (io_wq_submit_work()): so it is asked
 * again.
 */
static void a_cancel_of_what_a_thread_does(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[1], cf_mem(c, 64), 64, 0);
	sqe->flags |= IOSQE_ASYNC;
	cf_submit(c);
	io_uring_prep_cancel64(cf_step(c), cf_data(c, "recv"), 0);
	cf_note_res(c, "cancel", cf_do(c));
	for (int i = 0; i < 1000 && !c->at->stashed; i++) {
		io_uring_prep_cancel64(cf_step(c), cf_data(c, "recv"), 0);
		cf_do(c);
	}
	cf_await(c, 1);
}

/* Nothing is lost: what the cancelled receive did not take, the next one gets. */
static void a_cancelled_receive_loses_no_bytes(struct cf *c)
{
	int fds[2];

	recvs(c, fds, 1);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 2);
	cf_send(c, fds[0], "abcd");
	cf_recv(c, fds[1], "next", 64);
}

static void a_multishot_is_cancelled(struct cf *c)
{
	struct cf_bufs bufs;
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	cf_bufs(c, &bufs, 1, 4, 64, 0);
	cf_bufs_add(c, &bufs, 4);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv_multishot(sqe, fds[1], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 1;
	cf_submit(c);
	cf_send(c, fds[0], "abcd");
	cf_await(c, 1);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "recv"), 0);
	cf_await(c, 2);
}

static void a_connect_that_has_ended_is_not_found(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);
	int fd = cf_socket(c, AF_INET, SOCK_STREAM);

	(void)listener;
	io_uring_prep_connect(cf_sqe(c, "connect"), fd, &addr.any, addr.size);
	cf_await(c, 1);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "connect"), 0);
	cf_await(c, 1);
}

static void an_accept_is_cancelled_and_the_listener_goes_on(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);

	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_submit(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "accept"), 0);
	cf_await(c, 2);
	cf_connect(c, &addr);
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_await(c, 1);
}

const struct cf_case cf_cases_cancel[] = {
	CF_CASE(a_cancel_ends_its_target, .prompt = true,
		CF_LEGAL(WILL("cancel 0; recv -ECANCELED"))),
	CF_CASE(the_cancel_or_its_target_comes_first, .prompt = true,
		CF_LEGAL(WILL("cancel 0; recv -ECANCELED"), WILL("recv -ECANCELED; cancel 0"))),
	CF_CASE(a_cancel_of_nothing_finds_nothing, .prompt = true,
		CF_LEGAL(WILL("cancel -ENOENT"))),
	CF_CASE(a_second_cancel_comes_too_late, .prompt = true,
		CF_LEGAL(WILL("cancel 0; recv -ECANCELED; again -ENOENT"))),
	CF_CASE(two_cancels_at_once, .prompt = true,
		CF_LEGAL(WILL("a 0; b 0; recv -ECANCELED"), MAY("a 0; b -ENOENT; recv -ECANCELED"),
			 MAY("a 0; b -EALREADY; recv -ECANCELED"))),
	CF_CASE(a_cancel_without_all_ends_one, .prompt = true,
		CF_LEGAL(WILL("cancel 0; recv -ECANCELED; quiet"))),
	CF_CASE(with_all_the_answer_is_how_many, .prompt = true,
		CF_LEGAL(WILL("cancel 3; recv -ECANCELED; recv -ECANCELED; recv -ECANCELED"))),
	CF_CASE(with_all_and_nobody_there_the_answer_is_0, .prompt = true,
		CF_LEGAL(WILL("cancel 0"))),
	CF_CASE(a_cancel_by_descriptor, .prompt = true,
		CF_LEGAL(WILL("other 0; cancel 2; recv -ECANCELED; recv -ECANCELED"))),
	CF_CASE(a_cancel_by_direct_descriptor, .prompt = true,
		CF_LEGAL(WILL("cancel 1; recv -ECANCELED"))),
	CF_CASE(a_cancel_of_any_ends_everything, .prompt = true,
		CF_LEGAL(WILL("cancel 3; poll -ECANCELED; recv -ECANCELED; recv -ECANCELED"))),
	CF_CASE(a_cancel_of_any_without_all, .prompt = true,
		CF_LEGAL(WILL("cancel 2; recv -ECANCELED; recv -ECANCELED"))),
	CF_CASE(a_cancel_by_operation, .prompt = true, .since = 606,
		CF_LEGAL(WILL("cancel 1; recv -ECANCELED; quiet"))),
	CF_CASE(a_cancel_with_unknown_flags_is_refused, .prompt = true,
		CF_LEGAL(WILL("cancel -EINVAL"))),
	CF_CASE(a_cancelled_head_cancels_its_chain, .whole = true, .prompt = true,
		CF_LEGAL(WILL("cancel 0; nop -ECANCELED; recv -ECANCELED"))),
	CF_CASE(a_chained_request_is_not_found, .whole = true, .prompt = true,
		CF_LEGAL(WILL("cancel -ENOENT; quiet"))),
	CF_CASE(a_cancel_races_with_success,
		CF_LEGAL(WILL("cancel 0; recv -ECANCELED; send 4"),
			 MAY("cancel -ENOENT; recv 4; send 4"),
			 MAY("cancel -EALREADY; recv 4; send 4"),
			 MAY("cancel -EALREADY; recv -ECANCELED; send 4"))),
	CF_CASE(a_cancel_of_what_a_thread_does, CF_LEGAL(WILL("cancel 0; recv -ECANCELED"),
							 WILL("cancel -EALREADY; recv -ECANCELED"),
							 MAY("cancel -ENOENT; recv -ECANCELED"))),
	CF_CASE(a_cancelled_receive_loses_no_bytes, .prompt = true,
		CF_LEGAL(WILL("cancel 0; recv -ECANCELED; next \"abcd\""))),
	CF_CASE(a_multishot_is_cancelled, .prompt = true,
		CF_LEGAL(WILL("recv 4+ buf 0; cancel 0; recv -ECANCELED"))),
	CF_CASE(a_connect_that_has_ended_is_not_found, .prompt = true,
		CF_LEGAL(WILL("connect 0; cancel -ENOENT"))),
	CF_CASE(an_accept_is_cancelled_and_the_listener_goes_on, .prompt = true,
		CF_LEGAL(WILL("accept -ECANCELED; cancel 0; accept fd"))),
	{ .name = NULL }
};
