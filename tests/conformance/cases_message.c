/* SPDX-License-Identifier: MIT */
/*
 * cases_message.c - what one ring sends to another, and wakes: ring messages, descriptors,
 * notifications from elsewhere.
 */
#include "tests/conformance/conform.h"

static void second_ring(struct cf *c, unsigned sq, unsigned cq)
{
	cf_ring_make(c, &c->other, sq, cq, 0);
}

static void a_message_arrives_in_the_other_ring(struct cf *c)
{
	second_ring(c, 8, 16);
	io_uring_prep_msg_ring(cf_sqe(c, "send"), c->other.uring.ring_fd, 77, cf_data(c, "message"),
			       0);
	cf_await(c, 1);
	cf_use(c, &c->other);
	cf_await(c, 1);
}

static void messages_keep_their_order(struct cf *c)
{
	second_ring(c, 8, 16);
	for (unsigned i = 0; i < 5; i++) {
		struct io_uring_sqe *sqe = cf_sqe(c, "send");

		io_uring_prep_msg_ring(sqe, c->other.uring.ring_fd, i, cf_data(c, "message"), 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	}
	cf_submit(c);
	cf_quiet(c);
	cf_use(c, &c->other);
	cf_await_in_order(c, 5);
}

static void a_message_carries_flags(struct cf *c)
{
	second_ring(c, 8, 16);
	io_uring_prep_msg_ring_cqe_flags(cf_sqe(c, "send"), c->other.uring.ring_fd, 5,
					 cf_data(c, "message"), 0, IORING_CQE_F_MORE);
	cf_await(c, 1);
	cf_use(c, &c->other);
	cf_await(c, 1);
}

/* reliability.md 3.2 */
static void a_message_to_a_disabled_ring_is_refused(struct cf *c)
{
	cf_ring_make(c, &c->other, 8, 16, IORING_SETUP_R_DISABLED);
	io_uring_prep_msg_ring(cf_sqe(c, "send"), c->other.uring.ring_fd, 1, cf_data(c, "message"),
			       0);
	cf_await(c, 1);
}

static void a_message_to_what_is_no_ring_is_refused(struct cf *c)
{
	int fd = cf_keep(c, cf_must(c, c->kernel->ops->eventfd(c->kernel), "eventfd"));

	io_uring_prep_msg_ring(cf_sqe(c, "event"), fd, 1, 5, 0);
	io_uring_prep_msg_ring(cf_sqe(c, "nothing"), 999, 1, 5, 0);
	cf_await(c, 2);
}

static void a_message_of_unknown_kind_is_refused(struct cf *c)
{
	struct io_uring_sqe *sqe;

	second_ring(c, 8, 16);
	sqe = cf_sqe(c, "kind");
	io_uring_prep_msg_ring(sqe, c->other.uring.ring_fd, 1, 5, 0);
	sqe->addr = 99;
	io_uring_prep_msg_ring(cf_sqe(c, "flags"), c->other.uring.ring_fd, 1, 5, 1U << 20);
	cf_await(c, 2);
}

static void messages_overflow_and_none_is_lost(struct cf *c)
{
	second_ring(c, 4, 4);
	for (unsigned i = 0; i < 12; i++) {
		struct io_uring_sqe *sqe = cf_sqe(c, "send");

		io_uring_prep_msg_ring(sqe, c->other.uring.ring_fd, i, cf_data(c, "message"), 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	}
	cf_submit(c);
	cf_quiet(c);
	cf_use(c, &c->other);
	cf_await_in_order(c, 12);
}

static void a_notification_wakes_a_ring(struct cf *c)
{
	int r;

	if (c->broken)
		return;
	r = c->kernel->ops->notify(c->kernel, &c->ring.uring, cf_data(c, "wake"));
	cf_note_res(c, "notify", r);
	if (r >= 0)
		cf_await(c, 1);
}

static void a_notification_to_a_disabled_ring_is_refused(struct cf *c)
{
	cf_ring_make(c, &c->other, 8, 16, IORING_SETUP_R_DISABLED);
	if (!c->broken)
		cf_note_res(c, "notify",
			    c->kernel->ops->notify(c->kernel, &c->other.uring, 5));
}

/* --- descriptors --- */

static void tables(struct cf *c, unsigned here, unsigned there)
{
	struct io_uring_rsrc_register reg = { .flags = IORING_RSRC_REGISTER_SPARSE };

	second_ring(c, 8, 16);
	reg.nr = here;
	if (here)
		cf_must(c, cf_register(c, IORING_REGISTER_FILES2, &reg, sizeof(reg)), "files");
	reg.nr = there;
	cf_use(c, &c->other);
	if (there)
		cf_must(c, cf_register(c, IORING_REGISTER_FILES2, &reg, sizeof(reg)), "files");
	cf_use(c, &c->ring);
}

/* Puts fd into slot of the first ring. */
static void put(struct cf *c, int fd, unsigned slot)
{
	struct io_uring_files_update update = { .offset = slot, .fds = (uintptr_t)&fd };

	cf_must(c, cf_register(c, IORING_REGISTER_FILES_UPDATE, &update, 1), "update");
}

static void read_slot_of_other(struct cf *c, unsigned slot)
{
	struct io_uring_sqe *sqe;
	char *text = cf_mem(c, 16);

	cf_use(c, &c->other);
	sqe = cf_sqe(c, "read");
	io_uring_prep_read(sqe, (int)slot, text, 8, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	cf_await(c, 1);
	cf_note(c, "%s", text);
	cf_use(c, &c->ring);
}

static void a_descriptor_is_passed_to_a_chosen_slot(struct cf *c)
{
	tables(c, 4, 4);
	put(c, cf_file(c, "file", "abc"), 1);
	io_uring_prep_msg_ring_fd(cf_sqe(c, "send"), c->other.uring.ring_fd, 1, 2,
				  cf_data(c, "message"), 0);
	cf_await(c, 1);
	cf_use(c, &c->other);
	cf_await(c, 1);
	read_slot_of_other(c, 2);
}

static void a_descriptor_is_passed_to_any_slot(struct cf *c)
{
	tables(c, 4, 4);
	put(c, cf_file(c, "file", "abc"), 1);
	io_uring_prep_msg_ring_fd_alloc(cf_sqe(c, "send"), c->other.uring.ring_fd, 1,
					cf_data(c, "message"), IORING_MSG_RING_CQE_SKIP);
	cf_await(c, 1);
	read_slot_of_other(c, 0);
	cf_use(c, &c->other);
	cf_quiet(c);
}

static void a_descriptor_of_an_empty_slot_is_not_passed(struct cf *c)
{
	tables(c, 4, 4);
	io_uring_prep_msg_ring_fd(cf_sqe(c, "empty"), c->other.uring.ring_fd, 1, 2, 5, 0);
	io_uring_prep_msg_ring_fd(cf_sqe(c, "beyond"), c->other.uring.ring_fd, 100, 2, 5, 0);
	cf_await(c, 2);
}

static void a_descriptor_is_not_passed_to_a_ring_without_a_table(struct cf *c)
{
	tables(c, 4, 0);
	put(c, cf_file(c, "file", "abc"), 1);
	io_uring_prep_msg_ring_fd(cf_sqe(c, "chosen"), c->other.uring.ring_fd, 1, 0, 5, 0);
	io_uring_prep_msg_ring_fd_alloc(cf_sqe(c, "any"), c->other.uring.ring_fd, 1, 5, 0);
	cf_await(c, 2);
}

static void a_descriptor_is_not_passed_to_a_full_table(struct cf *c)
{
	tables(c, 4, 1);
	put(c, cf_file(c, "file", "abc"), 1);
	io_uring_prep_msg_ring_fd_alloc(cf_sqe(c, "a"), c->other.uring.ring_fd, 1, 5,
					IORING_MSG_RING_CQE_SKIP);
	cf_await(c, 1);
	io_uring_prep_msg_ring_fd_alloc(cf_sqe(c, "b"), c->other.uring.ring_fd, 1, 5,
					IORING_MSG_RING_CQE_SKIP);
	io_uring_prep_msg_ring_fd(cf_sqe(c, "c"), c->other.uring.ring_fd, 1, 5, 5,
				  IORING_MSG_RING_CQE_SKIP);
	cf_await(c, 2);
}

const struct cf_case cf_cases_message[] = {
	CF_CASE(a_message_arrives_in_the_other_ring, CF_LEGAL(WILL("send 0; message 77"))),
	CF_CASE(messages_keep_their_order, .prompt = true,
		CF_LEGAL(WILL("quiet; message 0; message 1; message 2; message 3; message 4"))),
	CF_CASE(a_message_carries_flags, .since = 603, CF_LEGAL(WILL("send 0; message 5+"))),
	CF_CASE(a_message_to_a_disabled_ring_is_refused, CF_LEGAL(WILL("send -EBADFD"))),
	CF_CASE(a_message_to_what_is_no_ring_is_refused,
		CF_LEGAL(WILL("event -EBADFD; nothing -EBADF"))),
	CF_CASE(a_message_of_unknown_kind_is_refused,
		CF_LEGAL(WILL("flags -EINVAL; kind -EINVAL"))),
	CF_CASE(messages_overflow_and_none_is_lost, .prompt = true,
		CF_LEGAL(WILL("quiet; message 0; message 1; message 2; message 3; message 4; "
			      "message 5; message 6; message 7; message 8; message 9; message 10; "
			      "message 11"))),
	CF_CASE(a_notification_wakes_a_ring,
		CF_LEGAL(WILL("notify 0; wake 0"), ONLY(CF_ON_URING, "notify -EINVAL"))),
	CF_CASE(a_notification_to_a_disabled_ring_is_refused,
		CF_LEGAL(WILL("notify -EBADFD"), ONLY(CF_ON_URING, "notify -EINVAL"))),
	CF_CASE(a_descriptor_is_passed_to_a_chosen_slot, NOT_POLL,
		CF_LEGAL(WILL("send 0; message 0; read 3; abc"))),
	CF_CASE(a_descriptor_is_passed_to_any_slot, NOT_POLL,
		CF_LEGAL(WILL("send 0; read 3; abc; quiet"))),
	CF_CASE(a_descriptor_of_an_empty_slot_is_not_passed, NOT_POLL,
		CF_LEGAL(WILL("beyond -EBADF; empty -EBADF"))),
	CF_CASE(a_descriptor_is_not_passed_to_a_ring_without_a_table, NOT_POLL,
		CF_LEGAL(WILL("any -ENFILE; chosen -ENXIO"))),
	CF_CASE(a_descriptor_is_not_passed_to_a_full_table, NOT_POLL,
		CF_LEGAL(WILL("a 0; b -ENFILE; c -EINVAL"))),
	{ .name = NULL }
};
