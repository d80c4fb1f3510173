/* SPDX-License-Identifier: MIT */
/*
 * cases_wake.c - what wakes: eventfds, and futex words.
 */
#include "tests/conformance/conform.h"

#include <linux/futex.h>

#define SIZE_U32 2	/* FUTEX2_SIZE_U32, which older headers lack */

static int make_event(struct cf *c)
{
	return cf_keep(c, cf_must(c, c->kernel->ops->eventfd(c->kernel), "eventfd"));
}

static void add_event(struct cf *c, int fd, uint64_t count)
{
	if (!c->broken)
		cf_note_res(c, "add",
			    c->kernel->ops->write(c->kernel, fd, &count, sizeof(count)));
}

static void an_eventfd_is_read_when_it_is_written(struct cf *c)
{
	uint64_t *count = cf_mem(c, 8);
	int fd = make_event(c);

	io_uring_prep_read(cf_sqe(c, "read"), fd, count, 8, 0);
	cf_quiet(c);
	add_event(c, fd, 3);
	cf_await(c, 1);
	cf_note(c, "%llu", (unsigned long long)*count);
}

static void an_eventfd_sums(struct cf *c)
{
	uint64_t *count = cf_mem(c, 8);
	int fd = make_event(c);

	add_event(c, fd, 3);
	add_event(c, fd, 4);
	io_uring_prep_read(cf_sqe(c, "read"), fd, count, 8, 0);
	cf_await(c, 1);
	cf_note(c, "%llu", (unsigned long long)*count);
	io_uring_prep_read(cf_sqe(c, "read"), fd, count, 8, 0);
	cf_quiet(c);
}

static void an_eventfd_is_written_by_the_ring(struct cf *c)
{
	uint64_t *count = cf_mem(c, 8);
	int fd = make_event(c);

	*count = 5;
	io_uring_prep_write(cf_sqe(c, "write"), fd, count, 8, 0);
	cf_await(c, 1);
	*count = 0;
	io_uring_prep_read(cf_sqe(c, "read"), fd, count, 8, 0);
	cf_await(c, 1);
	cf_note(c, "%llu", (unsigned long long)*count);
	io_uring_prep_read(cf_sqe(c, "short"), fd, count, 4, 0);
	cf_await(c, 1);
}

static void two_readers_of_one_eventfd(struct cf *c)
{
	int fd = make_event(c);

	io_uring_prep_read(cf_sqe(c, "read"), fd, cf_mem(c, 8), 8, 0);
	io_uring_prep_read(cf_sqe(c, "read"), fd, cf_mem(c, 8), 8, 0);
	cf_submit(c);
	add_event(c, fd, 1);
	cf_await(c, 1);
	cf_quiet(c);
}

/* --- futexes --- */

static void wait_on(struct cf *c, const char *name, uint32_t *word, uint64_t value)
{
	io_uring_prep_futex_wait(cf_sqe(c, name), word, value, FUTEX_BITSET_MATCH_ANY,
				 SIZE_U32 | FUTEX_PRIVATE_FLAG, 0);
}

static void wake(struct cf *c, const char *name, uint32_t *word, uint64_t count)
{
	io_uring_prep_futex_wake(cf_sqe(c, name), word, count, FUTEX_BITSET_MATCH_ANY,
				 SIZE_U32 | FUTEX_PRIVATE_FLAG, 0);
}

static void a_word_that_differs_is_not_waited_for(struct cf *c)
{
	uint32_t *word = cf_mem(c, 4);

	wait_on(c, "wait", word, 1);
	cf_await(c, 1);
}

static void a_wake_ends_as_many_waits(struct cf *c)
{
	uint32_t *word = cf_mem(c, 4);

	wake(c, "nobody", word, 1);
	cf_await(c, 1);
	for (int i = 0; i < 3; i++)
		wait_on(c, "wait", word, 0);
	cf_quiet(c);
	wake(c, "wake", word, 2);
	cf_await(c, 3);
	wake(c, "wake", word, 9);
	cf_await(c, 2);
}

static void a_wake_of_another_word_ends_nothing(struct cf *c)
{
	uint32_t *word = cf_mem(c, 64);

	wait_on(c, "wait", word, 0);
	cf_submit(c);
	wake(c, "wake", word + 1, 1);
	cf_await(c, 1);
	cf_quiet(c);
}

static void a_wait_for_a_word_is_cancelled(struct cf *c)
{
	uint32_t *word = cf_mem(c, 4);

	wait_on(c, "wait", word, 0);
	cf_submit(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "wait"), 0);
	cf_await(c, 2);
	wake(c, "wake", word, 1);
	cf_await(c, 1);
}

#define FUTEX .ops = { IORING_OP_FUTEX_WAIT, IORING_OP_FUTEX_WAKE }

const struct cf_case cf_cases_wake[] = {
	CF_CASE(an_eventfd_is_read_when_it_is_written, CF_LEGAL(WILL("quiet; add 8; read 8; 3"))),
	CF_CASE(an_eventfd_sums, CF_LEGAL(WILL("add 8; add 8; read 8; 7; quiet"))),
	CF_CASE(an_eventfd_is_written_by_the_ring,
		CF_LEGAL(WILL("write 8; read 8; 5; short -EINVAL"))),
	CF_CASE(two_readers_of_one_eventfd, CF_LEGAL(WILL("add 8; read 8; quiet"))),
	CF_CASE(a_word_that_differs_is_not_waited_for, FUTEX, CF_LEGAL(WILL("wait -EAGAIN"))),
	CF_CASE(a_wake_ends_as_many_waits, FUTEX, .prompt = true,
		CF_LEGAL(WILL("nobody 0; quiet; wait 0; wait 0; wake 2; wait 0; wake 1"))),
	CF_CASE(a_wake_of_another_word_ends_nothing, FUTEX, CF_LEGAL(WILL("wake 0; quiet"))),
	CF_CASE(a_wait_for_a_word_is_cancelled, FUTEX, .prompt = true,
		CF_LEGAL(WILL("cancel 1; wait -ECANCELED; wake 0"))),
	{ .name = NULL }
};
