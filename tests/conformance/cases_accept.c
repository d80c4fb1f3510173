/* SPDX-License-Identifier: MIT */
/*
 * cases_accept.c - accepts: one, many, into slots, and without a descriptor left.
 */
#include "tests/conformance/conform.h"

static void table(struct cf *c, unsigned nr)
{
	struct io_uring_rsrc_register reg = { .nr = nr, .flags = IORING_RSRC_REGISTER_SPARSE };

	cf_must(c, cf_register(c, IORING_REGISTER_FILES2, &reg, sizeof(reg)), "files");
}

static void an_accept_waits_for_a_connection(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);

	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_quiet(c);
	cf_connect(c, &addr);
	cf_await(c, 1);
}

static void an_accept_tells_who_connected(struct cf *c)
{
	struct cf_addr addr, *peer = cf_mem(c, sizeof(*peer)), name = { .size = sizeof(name.un) };
	int listener = cf_listener(c, AF_INET, &addr);
	int fd = cf_connect(c, &addr);

	peer->size = sizeof(peer->in);
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, &peer->any, &peer->size, 0);
	cf_await(c, 1);
	if (c->broken)
		return;
	c->kernel->ops->getsockname(c->kernel, fd, &name.any, &name.size);
	cf_note(c, "%s %u", peer->in.sin_port == name.in.sin_port ? "the client" : "another",
		(unsigned)peer->size);
}

static void an_accept_of_none_does_not_wait_if_told(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);
	struct io_uring_sqe *sqe = cf_sqe_fd(c, "accept");

	io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
	sqe->ioprio |= IORING_ACCEPT_DONTWAIT;
	cf_await(c, 1);
}

static void a_multishot_accept_goes_on(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);

	io_uring_prep_multishot_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_submit(c);
	for (int i = 0; i < 3; i++) {
		cf_connect(c, &addr);
		cf_await(c, 1);
	}
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "accept"), 0);
	cf_await(c, 2);
	cf_connect(c, &addr);
	cf_quiet(c);
}

static void a_multishot_accept_takes_those_who_wait(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, c->test->arg, &addr);

	for (int i = 0; i < 3; i++)
		cf_connect(c, &addr);
	io_uring_prep_multishot_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_await(c, 3);
	cf_quiet(c);
}

static void a_multishot_accept_fills_slots_until_there_is_none(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);

	table(c, 2);
	for (int i = 0; i < 3; i++)
		cf_connect(c, &addr);
	io_uring_prep_multishot_accept_direct(cf_sqe(c, "accept"), listener, NULL, NULL, 0);
	cf_await_end(c, "accept");
	io_uring_prep_close_direct(cf_sqe(c, "close"), 0);
	cf_await(c, 1);
}

static void an_accept_into_a_slot(struct cf *c)
{
	struct io_uring_sqe *sqe;
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);
	int fd = cf_connect(c, &addr);

	table(c, 2);
	io_uring_prep_accept_direct(cf_sqe(c, "accept"), listener, NULL, NULL, 0, 1);
	cf_await(c, 1);
	cf_send(c, fd, "abc");
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, 1, cf_mem(c, 8), 8, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_await(c, 1);
}

static void an_accept_into_any_slot(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);

	table(c, 2);
	for (int i = 0; i < 3; i++) {
		cf_connect(c, &addr);
		io_uring_prep_accept_direct(cf_sqe(c, "accept"), listener, NULL, NULL, 0,
					    IORING_FILE_INDEX_ALLOC);
		cf_await(c, 1);
	}
}

static void an_accept_into_no_table(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);

	cf_connect(c, &addr);
	io_uring_prep_accept_direct(cf_sqe(c, "accept"), listener, NULL, NULL, 0,
				    IORING_FILE_INDEX_ALLOC);
	cf_await(c, 1);
}

static void a_multishot_accept_into_one_slot_is_refused(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);
	struct io_uring_sqe *sqe;

	table(c, 2);
	sqe = cf_sqe(c, "accept");
	io_uring_prep_accept_direct(sqe, listener, NULL, NULL, 0, 1);
	sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
	cf_await(c, 1);
}

/* reliability.md 3.2. The connection is not lost: it waits until there is a descriptor. */
static void without_descriptors_a_multishot_accept_ends(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);
	int clients[3];

	for (int i = 0; i < 3; i++)
		clients[i] = cf_connect(c, &addr);
	if (c->broken || cf_must(c, c->limit_fds(2), "limit") < 0)
		return;
	io_uring_prep_multishot_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_await_end(c, "accept");
	cf_close(c, clients[0]);
	io_uring_prep_accept(cf_sqe_fd(c, "again"), listener, NULL, NULL, 0);
	cf_await(c, 1);
}

static void without_descriptors_an_accept_fails(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);

	cf_connect(c, &addr);
	if (c->broken || cf_must(c, c->limit_fds(0), "limit") < 0)
		return;
	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	io_uring_prep_socket(cf_sqe_fd(c, "socket"), AF_INET, SOCK_STREAM, 0, 0);
	io_uring_prep_openat(cf_sqe_fd(c, "open"), AT_FDCWD, c->dir, O_RDONLY, 0);
	cf_await(c, 3);
	if (!c->broken)
		cf_note_res(c, "call", c->kernel->ops->socket(c->kernel, AF_INET, SOCK_STREAM, 0));
}

/* The limit counts when the accept is submitted, not when the connection comes. */
static void the_limit_is_that_of_the_submission(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);
	int fd = cf_socket(c, AF_INET, SOCK_STREAM);

	io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
	cf_submit(c);
	if (c->broken || cf_must(c, c->limit_fds(0), "limit") < 0)
		return;
	io_uring_prep_connect(cf_sqe(c, "connect"), fd, &addr.any, addr.size);
	cf_await(c, 2);
}

static void more_connections_are_announced(struct cf *c)
{
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);

	c->show = IORING_CQE_F_SOCK_NONEMPTY;
	cf_connect(c, &addr);
	cf_connect(c, &addr);
	cf_quiet(c);
	for (int i = 0; i < 2; i++) {
		io_uring_prep_accept(cf_sqe_fd(c, "accept"), listener, NULL, NULL, 0);
		cf_await(c, 1);
	}
}

#define BOTH(body_, ...)                                                                          \
	CF_CASE_ARG(body_, tcp, AF_INET, __VA_ARGS__),                                            \
		CF_CASE_ARG(body_, unix, AF_UNIX, __VA_ARGS__)

const struct cf_case cf_cases_accept[] = {
	BOTH(an_accept_waits_for_a_connection, CF_LEGAL(WILL("quiet; accept fd"))),
	CF_CASE(an_accept_tells_who_connected, CF_LEGAL(WILL("accept fd; the client 16"))),
	BOTH(an_accept_of_none_does_not_wait_if_told, .since = 610,
	     CF_LEGAL(WILL("accept -EAGAIN"))),
	BOTH(a_multishot_accept_goes_on, .prompt = true,
	     CF_LEGAL(WILL("accept fd+; accept fd+; accept fd+; accept -ECANCELED; cancel 0; "
			   "quiet"))),
	BOTH(a_multishot_accept_takes_those_who_wait,
	     CF_LEGAL(WILL("accept fd+; accept fd+; accept fd+; quiet"))),
	CF_CASE(a_multishot_accept_fills_slots_until_there_is_none,
		CF_LEGAL(WILL("accept 0+; accept 1+; accept -ENFILE; close 0"))),
	CF_CASE(an_accept_into_a_slot, CF_LEGAL(WILL("accept 0; recv 3"))),
	CF_CASE(an_accept_into_any_slot, CF_LEGAL(WILL("accept 0; accept 1; accept -ENFILE"))),
	CF_CASE(an_accept_into_no_table, CF_LEGAL(WILL("accept -ENFILE"))),
	CF_CASE(a_multishot_accept_into_one_slot_is_refused, CF_LEGAL(WILL("accept -EINVAL"))),
	CF_CASE(without_descriptors_a_multishot_accept_ends,
		CF_LEGAL(WILL("accept fd+; accept fd+; accept -EMFILE; again fd"),
			 /* It needs a descriptor of its own to wait. */
			 ONLY(CF_ON_POLL, "accept fd+; accept -EMFILE; again fd"))),
	CF_CASE(without_descriptors_an_accept_fails, .ops = { IORING_OP_SOCKET },
		CF_LEGAL(WILL("accept -EMFILE; open -EMFILE; socket -EMFILE; call -EMFILE"))),
	CF_CASE(the_limit_is_that_of_the_submission, .prompt = true,
		CF_LEGAL(WILL("accept fd; connect 0"),
			 ONLY(CF_ON_POLL, "accept -EMFILE; connect 0"))),
	CF_CASE(more_connections_are_announced,
		CF_LEGAL(WILL("quiet; accept fd nonempty; accept fd"),
			 ONLY(CF_ON_POLL, "quiet; accept fd; accept fd"))),
	{ .name = NULL }
};
