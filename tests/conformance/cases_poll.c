/* SPDX-License-Identifier: MIT */
/*
 * cases_poll.c - polls: of what is ready, of what becomes ready, once and again and again.
 */
#include "tests/conformance/conform.h"

static int make_event(struct cf *c)
{
	return cf_keep(c, cf_must(c, c->kernel->ops->eventfd(c->kernel), "eventfd"));
}

static void signal_event(struct cf *c, int fd)
{
	const uint64_t one = 1;

	if (!c->broken)
		cf_must(c, (int)c->kernel->ops->write(c->kernel, fd, &one, sizeof(one)), "write");
}

static void take_event(struct cf *c, int fd)
{
	io_uring_prep_read(cf_step(c), fd, cf_mem(c, 8), 8, 0);
	cf_must(c, cf_do(c), "read");
}

static void a_poll_of_what_is_ready_completes(struct cf *c)
{
	int fd = make_event(c);

	signal_event(c, fd);
	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	cf_await(c, 1);
}

static void a_poll_completes_when_it_becomes_ready(struct cf *c)
{
	int fd = make_event(c);

	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	cf_quiet(c);
	signal_event(c, fd);
	cf_await(c, 1);
}

static void a_poll_says_only_what_was_asked(struct cf *c)
{
	int fd = make_event(c);

	signal_event(c, fd);
	io_uring_prep_poll_add(cf_sqe(c, "out"), fd, POLLOUT);
	io_uring_prep_poll_add(cf_sqe(c, "both"), fd, POLLIN | POLLOUT);
	cf_await(c, 2);
}

static void a_multishot_poll_goes_on(struct cf *c)
{
	int fd = make_event(c);

	io_uring_prep_poll_multishot(cf_sqe(c, "poll"), fd, POLLIN);
	cf_quiet(c);
	signal_event(c, fd);
	cf_await(c, 1);
	take_event(c, fd);
	signal_event(c, fd);
	cf_await(c, 1);
	io_uring_prep_poll_remove(cf_sqe(c, "remove"), cf_data(c, "poll"));
	cf_await(c, 2);
}

static void a_poll_is_removed_once(struct cf *c)
{
	int fd = make_event(c);

	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	cf_submit(c);
	io_uring_prep_poll_remove(cf_sqe(c, "remove"), cf_data(c, "poll"));
	cf_await(c, 2);
	io_uring_prep_poll_remove(cf_sqe(c, "again"), cf_data(c, "poll"));
	cf_await(c, 1);
}

static void only_a_poll_can_be_removed_as_one(struct cf *c)
{
	int fds[2];

	cf_pair(c, AF_INET, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[0], cf_mem(c, 8), 8, 0);
	cf_submit(c);
	io_uring_prep_poll_remove(cf_sqe(c, "remove"), cf_data(c, "recv"));
	cf_await(c, 1);
}

static void two_polls_of_one_descriptor(struct cf *c)
{
	int fd = make_event(c);

	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	cf_submit(c);
	signal_event(c, fd);
	cf_await(c, 2);
}

static void a_poll_of_a_stream_sees_what_comes(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_poll_add(cf_sqe(c, "out"), fds[0], POLLOUT);
	cf_await(c, 1);
	io_uring_prep_poll_add(cf_sqe(c, "in"), fds[1], POLLIN);
	cf_quiet(c);
	cf_send(c, fds[0], "x");
	cf_await(c, 1);
}

/* The end is told unasked, that of one direction too. */
static void a_poll_of_a_stream_sees_its_end(struct cf *c)
{
	int fds[2];

	cf_pair(c, c->test->arg, fds);
	io_uring_prep_poll_add(cf_sqe(c, "half"), fds[1], POLLIN);
	cf_submit(c);
	if (!c->broken)
		c->kernel->ops->shutdown(c->kernel, fds[0], SHUT_WR);
	cf_await(c, 1);
	if (!c->broken)
		c->kernel->ops->shutdown(c->kernel, fds[1], SHUT_WR);
	io_uring_prep_poll_add(cf_sqe(c, "hup"), fds[1], 0);
	cf_await(c, 1);
}

static void a_poll_of_a_listener_sees_a_connection(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);

	io_uring_prep_poll_add(cf_sqe(c, "poll"), listener, POLLIN);
	cf_quiet(c);
	cf_connect(c, &addr);
	cf_await(c, 1);
}

static void a_poll_of_a_bad_descriptor(struct cf *c)
{
	io_uring_prep_poll_add(cf_sqe(c, "poll"), 999, POLLIN);
	cf_await(c, 1);
}

static void a_file_is_always_ready(struct cf *c)
{
	int fd = cf_file(c, "file", "");

	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN | POLLOUT);
	cf_await(c, 1);
}

const struct cf_case cf_cases_poll[] = {
	CF_CASE(a_poll_of_what_is_ready_completes, CF_LEGAL(WILL("poll 1"))),
	CF_CASE(a_poll_completes_when_it_becomes_ready, CF_LEGAL(WILL("quiet; poll 1"))),
	CF_CASE(a_poll_says_only_what_was_asked, CF_LEGAL(WILL("both 5; out 4"))),
	CF_CASE(a_multishot_poll_goes_on, .prompt = true,
		CF_LEGAL(WILL("quiet; poll 1+; poll 1+; poll -ECANCELED; remove 0"))),
	CF_CASE(a_poll_is_removed_once, .prompt = true,
		CF_LEGAL(WILL("poll -ECANCELED; remove 0; again -ENOENT"))),
	CF_CASE(only_a_poll_can_be_removed_as_one, CF_LEGAL(WILL("remove -ENOENT"))),
	CF_CASE(two_polls_of_one_descriptor, CF_LEGAL(WILL("poll 1; poll 1"))),
	CF_CASE_ARG(a_poll_of_a_stream_sees_what_comes, tcp, AF_INET,
		    CF_LEGAL(WILL("out 4; quiet; in 1"))),
	CF_CASE_ARG(a_poll_of_a_stream_sees_what_comes, unix, AF_UNIX,
		    CF_LEGAL(WILL("out 4; quiet; in 1"))),
	CF_CASE_ARG(a_poll_of_a_stream_sees_its_end, tcp, AF_INET,
		    CF_LEGAL(WILL("half 8193; hup 8208"))),
	CF_CASE_ARG(a_poll_of_a_stream_sees_its_end, unix, AF_UNIX,
		    CF_LEGAL(WILL("half 8193; hup 8208"))),
	CF_CASE_ARG(a_poll_of_a_listener_sees_a_connection, tcp, AF_INET,
		    CF_LEGAL(WILL("quiet; poll 1"))),
	CF_CASE_ARG(a_poll_of_a_listener_sees_a_connection, unix, AF_UNIX,
		    CF_LEGAL(WILL("quiet; poll 1"))),
	CF_CASE(a_poll_of_a_bad_descriptor, CF_LEGAL(WILL("poll -EBADF"))),
	CF_CASE(a_file_is_always_ready, CF_LEGAL(WILL("poll 5"))),
	{ .name = NULL }
};
