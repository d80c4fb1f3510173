/* SPDX-License-Identifier: MIT */
/*
 * cases_direct.c - direct descriptors: the table, its slots, and what goes in and out.
 */
#include "tests/conformance/conform.h"

static void table(struct cf *c, unsigned nr)
{
	struct io_uring_rsrc_register reg = { .nr = nr, .flags = IORING_RSRC_REGISTER_SPARSE };

	cf_must(c, cf_register(c, IORING_REGISTER_FILES2, &reg, sizeof(reg)), "files");
}

static int update(struct cf *c, unsigned slot, int *fds, unsigned nr)
{
	struct io_uring_files_update arg = { .offset = slot, .fds = (uintptr_t)fds };

	return cf_register(c, IORING_REGISTER_FILES_UPDATE, &arg, nr);
}

static void read_slot(struct cf *c, int slot)
{
	struct io_uring_sqe *sqe;
	char *text = cf_mem(c, 16);

	sqe = cf_sqe(c, "read");
	io_uring_prep_read(sqe, slot, text, 8, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_await(c, 1);
	if (c->last_res >= 0)
		cf_note(c, "%s", text);
}

static void a_slot_is_used_like_a_descriptor(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");

	table(c, 4);
	cf_note_res(c, "update", update(c, 2, &fd, 1));
	read_slot(c, 2);
	cf_close(c, fd);
	read_slot(c, 2);
}

static void an_empty_slot_is_a_bad_descriptor(struct cf *c)
{
	table(c, 4);
	read_slot(c, 1);
	read_slot(c, 100);
}

static void without_a_table_there_is_no_slot(struct cf *c)
{
	int fd = cf_file(c, "file", "abc");

	read_slot(c, 0);
	cf_note_res(c, "update", update(c, 0, &fd, 1));
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_FILES, NULL, 0));
}

static void a_table_is_made_once(struct cf *c)
{
	struct io_uring_rsrc_register reg = { .nr = 4, .flags = IORING_RSRC_REGISTER_SPARSE };

	table(c, 4);
	cf_note_res(c, "again", cf_register(c, IORING_REGISTER_FILES2, &reg, sizeof(reg)));
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_FILES, NULL, 0));
	cf_note_res(c, "again", cf_register(c, IORING_REGISTER_FILES2, &reg, sizeof(reg)));
}

static void an_update_beyond_the_table_is_refused(struct cf *c)
{
	int fds[2] = { -1, -1 };

	table(c, 4);
	cf_note_res(c, "inside", update(c, 2, fds, 2));
	cf_note_res(c, "across", update(c, 3, fds, 2));
}

static void an_update_ends_at_what_it_cannot_do(struct cf *c)
{
	int fds[3] = { cf_file(c, "file", "abc"), 999, -1 };

	table(c, 4);
	cf_note_res(c, "update", update(c, 0, fds, 3));
	read_slot(c, 0);
	/* The slot is empty all the same. */
	cf_note_res(c, "bad", update(c, 0, fds + 1, 1));
	read_slot(c, 0);
}

static void an_update_skips(struct cf *c)
{
	int a = cf_file(c, "a", "aaa");
	int b = cf_file(c, "b", "bbb");
	int fds[2] = { a, b };

	table(c, 4);
	update(c, 0, fds, 2);
	fds[0] = IORING_REGISTER_FILES_SKIP;
	fds[1] = -1;
	cf_note_res(c, "update", update(c, 0, fds, 2));
	read_slot(c, 0);
	read_slot(c, 1);
}

static void an_update_by_the_ring(struct cf *c)
{
	int *fds = cf_mem(c, sizeof(int));

	fds[0] = cf_file(c, "file", "abc");
	table(c, 4);
	io_uring_prep_files_update(cf_sqe(c, "update"), fds, 1, 3);
	cf_await(c, 1);
	read_slot(c, 3);
	fds[0] = -1;
	io_uring_prep_files_update(cf_sqe(c, "update"), fds, 1, 3);
	cf_await(c, 1);
	read_slot(c, 3);
}

static void an_update_by_the_ring_finds_a_slot(struct cf *c)
{
	int *fds = cf_mem(c, 3 * sizeof(int));

	fds[0] = fds[1] = fds[2] = cf_file(c, "file", "abc");
	table(c, 2);
	io_uring_prep_files_update(cf_sqe(c, "update"), fds, 3, (int)IORING_FILE_INDEX_ALLOC);
	cf_await(c, 1);
	cf_note(c, "%d %d", fds[0], fds[1]);
	io_uring_prep_files_update(cf_sqe(c, "update"), fds, 1, (int)IORING_FILE_INDEX_ALLOC);
	cf_await(c, 1);
}

static void open_direct(struct cf *c, const char *name, unsigned slot)
{
	io_uring_prep_openat_direct(cf_sqe(c, "open"), AT_FDCWD, cf_path(c, name),
				    O_RDWR | O_CREAT, 0644, slot);
	cf_await(c, 1);
}

static void a_file_is_opened_into_a_slot(struct cf *c)
{
	cf_file(c, "file", "abc");
	table(c, 2);
	open_direct(c, "file", 1);
	read_slot(c, 1);
	open_direct(c, "file", 5);
}

static void slots_are_given_in_turn_until_there_is_none(struct cf *c)
{
	cf_file(c, "file", "abc");
	table(c, 3);
	for (int i = 0; i < 4; i++)
		open_direct(c, "file", IORING_FILE_INDEX_ALLOC);
}

static void a_freed_slot_is_given_again(struct cf *c)
{
	cf_file(c, "file", "abc");
	table(c, 4);
	for (int i = 0; i < 3; i++)
		open_direct(c, "file", IORING_FILE_INDEX_ALLOC);
	io_uring_prep_close_direct(cf_sqe(c, "close"), 0);
	cf_await(c, 1);
	open_direct(c, "file", IORING_FILE_INDEX_ALLOC);
	open_direct(c, "file", IORING_FILE_INDEX_ALLOC);
	open_direct(c, "file", IORING_FILE_INDEX_ALLOC);
}

static void slots_are_given_from_a_range(struct cf *c)
{
	struct io_uring_file_index_range range = { .off = 2, .len = 2 };

	cf_file(c, "file", "abc");
	table(c, 6);
	cf_note_res(c, "range", cf_register(c, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0));
	for (int i = 0; i < 3; i++)
		open_direct(c, "file", IORING_FILE_INDEX_ALLOC);
	range.off = 5;
	cf_note_res(c, "range", cf_register(c, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0));
}

static void a_slot_is_closed_once(struct cf *c)
{
	cf_file(c, "file", "abc");
	table(c, 2);
	open_direct(c, "file", 0);
	io_uring_prep_close_direct(cf_sqe(c, "close"), 0);
	cf_await(c, 1);
	read_slot(c, 0);
	io_uring_prep_close_direct(cf_sqe(c, "close"), 0);
	cf_await(c, 1);
	io_uring_prep_close_direct(cf_sqe(c, "beyond"), 50);
	cf_await(c, 1);
}

static void a_full_slot_is_replaced(struct cf *c)
{
	cf_file(c, "a", "aaa");
	cf_file(c, "b", "bbb");
	table(c, 2);
	open_direct(c, "a", 0);
	open_direct(c, "b", 0);
	read_slot(c, 0);
}

static void install(struct cf *c, int slot)
{
	io_uring_prep_fixed_fd_install(cf_sqe_fd(c, "install"), slot, 0);
	cf_await(c, 1);
}

static void a_slot_becomes_a_descriptor(struct cf *c)
{
	int fd;

	cf_file(c, "file", "abc");
	table(c, 2);
	open_direct(c, "file", 0);
	install(c, 0);
	fd = c->last_res;
	io_uring_prep_close_direct(cf_sqe(c, "close"), 0);
	cf_await(c, 1);
	cf_note_file(c, fd);
	install(c, 0);
}

static void only_a_slot_can_become_a_descriptor(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	struct io_uring_sqe *sqe = cf_sqe_fd(c, "install");

	io_uring_prep_fixed_fd_install(sqe, fd, 0);
	sqe->flags = 0;
	cf_await(c, 1);
}

static void a_socket_is_made_in_a_slot(struct cf *c)
{
	struct io_uring_sqe *sqe;
	struct cf_addr addr;
	int listener = cf_listener(c, AF_INET, &addr);
	int fd;

	table(c, 2);
	io_uring_prep_socket_direct(cf_sqe(c, "socket"), AF_INET, SOCK_STREAM, 0, 1, 0);
	cf_await(c, 1);
	sqe = cf_sqe(c, "connect");
	io_uring_prep_connect(sqe, 1, &addr.any, addr.size);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_await(c, 1);
	fd = cf_accept(c, listener);
	cf_send(c, fd, "abc");
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, 1, cf_mem(c, 8), 8, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_await(c, 1);
	io_uring_prep_close_direct(cf_sqe(c, "close"), 1);
	cf_await(c, 1);
	cf_recv(c, fd, "end", 8);
}

static void a_direct_descriptor_cannot_be_close_on_exec(struct cf *c)
{
	table(c, 2);
	io_uring_prep_socket_direct_alloc(cf_sqe(c, "socket"), AF_INET, SOCK_STREAM | SOCK_CLOEXEC,
					  0, 0);
	io_uring_prep_openat_direct(cf_sqe(c, "open"), AT_FDCWD, cf_path(c, "file"),
				    O_RDWR | O_CREAT | O_CLOEXEC, 0644, 0);
	cf_await(c, 2);
}

/* What is in flight keeps its file: the slot is free at once, the peer hears later. */
static void a_closed_slot_is_kept_by_what_is_in_flight(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	table(c, 2);
	update(c, 0, &fds[1], 1);
	cf_close(c, fds[1]);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, 0, cf_mem(c, 8), 8, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_submit(c);
	io_uring_prep_close_direct(cf_sqe(c, "close"), 0);
	cf_await(c, 1);
	cf_send(c, fds[0], "abcd");
	cf_await(c, 1);
	cf_recv(c, fds[0], "peer", 8);
}

const struct cf_case cf_cases_direct[] = {
	CF_CASE(a_slot_is_used_like_a_descriptor,
		CF_LEGAL(WILL("update 1; read 3; abc; read 3; abc"))),
	CF_CASE(an_empty_slot_is_a_bad_descriptor, CF_LEGAL(WILL("read -EBADF; read -EBADF"))),
	CF_CASE(without_a_table_there_is_no_slot,
		CF_LEGAL(WILL("read -EBADF; update -ENXIO; unregister -ENXIO"))),
	CF_CASE(a_table_is_made_once, CF_LEGAL(WILL("again -EBUSY; unregister 0; again 0"))),
	CF_CASE(an_update_beyond_the_table_is_refused, CF_LEGAL(WILL("inside 2; across -EINVAL"))),
	CF_CASE(an_update_ends_at_what_it_cannot_do,
		CF_LEGAL(WILL("update 1; read 3; abc; bad -EBADF; read -EBADF"))),
	CF_CASE(an_update_skips, CF_LEGAL(WILL("update 2; read 3; aaa; read -EBADF"))),
	CF_CASE(an_update_by_the_ring,
		CF_LEGAL(WILL("update 1; read 3; abc; update 1; read -EBADF"))),
	CF_CASE(an_update_by_the_ring_finds_a_slot,
		CF_LEGAL(WILL("update 2; 0 1; update -ENFILE"))),
	CF_CASE(a_file_is_opened_into_a_slot, CF_LEGAL(WILL("open 0; read 3; abc; open -EINVAL"))),
	CF_CASE(slots_are_given_in_turn_until_there_is_none,
		CF_LEGAL(WILL("open 0; open 1; open 2; open -ENFILE"))),
	CF_CASE(a_freed_slot_is_given_again,
		CF_LEGAL(WILL("open 0; open 1; open 2; close 0; open 0; open 3; open -ENFILE"))),
	CF_CASE(slots_are_given_from_a_range,
		CF_LEGAL(WILL("range 0; open 2; open 3; open -ENFILE; range -EINVAL"))),
	CF_CASE(a_slot_is_closed_once,
		CF_LEGAL(WILL("open 0; close 0; read -EBADF; close -EBADF; beyond -EINVAL"))),
	CF_CASE(a_full_slot_is_replaced, CF_LEGAL(WILL("open 0; open 0; read 3; bbb"))),
	CF_CASE(a_slot_becomes_a_descriptor, .ops = { IORING_OP_FIXED_FD_INSTALL },
		CF_LEGAL(WILL("open 0; install fd; close 0; \"abc\"; install -EBADF"))),
	CF_CASE(only_a_slot_can_become_a_descriptor, .ops = { IORING_OP_FIXED_FD_INSTALL },
		CF_LEGAL(WILL("install -EBADF"))),
	CF_CASE(a_socket_is_made_in_a_slot,
		CF_LEGAL(WILL("socket 0; connect 0; recv 3; close 0; end 0"))),
	CF_CASE(a_direct_descriptor_cannot_be_close_on_exec,
		CF_LEGAL(WILL("open -EINVAL; socket -EINVAL"))),
	CF_CASE(a_closed_slot_is_kept_by_what_is_in_flight, .prompt = true,
		CF_LEGAL(WILL("close 0; recv 4; peer 0"))),
	{ .name = NULL }
};
