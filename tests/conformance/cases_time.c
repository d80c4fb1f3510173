/* SPDX-License-Identifier: MIT */
/*
 * cases_time.c - timeouts: when they fire, how they are taken back and moved.
 */
#include "tests/conformance/conform.h"

#include <time.h>

#define FAR_NS (1000 * WEIR_S)

static struct __kernel_timespec *span(struct cf *c, int64_t ns)
{
	struct __kernel_timespec *ts = cf_mem(c, sizeof(*ts));

	ts->tv_sec = ns / WEIR_S;
	ts->tv_nsec = ns % WEIR_S;
	return ts;
}

static void timeout(struct cf *c, const char *name, int64_t ns, unsigned flags)
{
	io_uring_prep_timeout(cf_sqe(c, name), span(c, ns), 0, flags);
}

static void a_timeout_fires_after_its_time(struct cf *c)
{
	int64_t from_ns = c->kernel->ops->now(c->kernel);

	timeout(c, "timeout", 2 * WEIR_MS, 0);
	cf_await(c, 1);
	cf_note(c, "%s", c->kernel->ops->now(c->kernel) - from_ns >= 2 * WEIR_MS ? "in time" :
										   "too early");
}

static void timeouts_fire_in_the_order_of_their_times(struct cf *c)
{
	timeout(c, "c", 12 * WEIR_MS, 0);
	timeout(c, "a", 2 * WEIR_MS, 0);
	timeout(c, "b", 7 * WEIR_MS, 0);
	cf_await_in_order(c, 3);
}

static void an_absolute_timeout(struct cf *c)
{
	int64_t at_ns = c->kernel->ops->now(c->kernel) + 2 * WEIR_MS;

	timeout(c, "timeout", at_ns, IORING_TIMEOUT_ABS);
	cf_await(c, 1);
	cf_note(c, "%s", c->kernel->ops->now(c->kernel) >= at_ns ? "in time" : "too early");
}

static void an_absolute_timeout_that_has_passed_fires_at_once(struct cf *c)
{
	timeout(c, "timeout", 1, IORING_TIMEOUT_ABS);
	cf_await(c, 1);
}

static void a_timeout_of_the_wall_clock(struct cf *c)
{
	timeout(c, "past", c->kernel->ops->realtime(c->kernel) - WEIR_S,
		IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME);
	timeout(c, "soon", c->kernel->ops->realtime(c->kernel) + 2 * WEIR_MS,
		IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME);
	timeout(c, "far", c->kernel->ops->realtime(c->kernel) + FAR_NS,
		IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME);
	cf_await(c, 2);
	cf_quiet(c);
}

static void a_timeout_of_no_time_fires(struct cf *c)
{
	timeout(c, "timeout", 0, 0);
	cf_await(c, 1);
}

static void a_timeout_of_negative_time_is_refused(struct cf *c)
{
	struct __kernel_timespec *ts = span(c, 0);

	ts->tv_sec = -1;
	io_uring_prep_timeout(cf_sqe(c, "timeout"), ts, 0, 0);
	cf_await(c, 1);
}

static void a_timeout_with_unknown_flags_is_refused(struct cf *c)
{
	timeout(c, "timeout", WEIR_MS, 1U << 20);
	timeout(c, "two clocks", WEIR_MS, IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME);
	cf_await(c, 2);
}

/* For who is linked behind it -ETIME is a failure, unless it asked for success. */
static void a_timeout_in_a_chain(struct cf *c)
{
	struct io_uring_sqe *sqe = cf_sqe(c, "a");

	io_uring_prep_timeout(sqe, span(c, WEIR_MS), 0, 0);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(cf_sqe(c, "after a"));
	sqe = cf_sqe(c, "b");
	io_uring_prep_timeout(sqe, span(c, WEIR_MS), 0, IORING_TIMEOUT_ETIME_SUCCESS);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_nop(cf_sqe(c, "bafter"));
	cf_await(c, 4);
}

static void a_timeout_that_counts_completions(struct cf *c)
{
	io_uring_prep_timeout(cf_sqe(c, "timeout"), span(c, FAR_NS), 2, 0);
	cf_submit(c);
	io_uring_prep_nop(cf_sqe(c, "nop"));
	io_uring_prep_nop(cf_sqe(c, "nop"));
	cf_await(c, 3);
}

static void a_multishot_timeout_fires_as_often_as_it_says(struct cf *c)
{
	io_uring_prep_timeout(cf_sqe(c, "timeout"), span(c, WEIR_MS), 3, IORING_TIMEOUT_MULTISHOT);
	cf_await_end(c, "timeout");
	cf_quiet(c);
}

static void a_multishot_timeout_goes_on_until_it_is_removed(struct cf *c)
{
	io_uring_prep_timeout(cf_sqe(c, "timeout"), span(c, 4 * WEIR_MS), 0,
			      IORING_TIMEOUT_MULTISHOT);
	cf_await(c, 2);
	io_uring_prep_timeout_remove(cf_step(c), cf_data(c, "timeout"), 0);
	cf_note_res(c, "remove", cf_do(c));
}

static void a_timeout_is_removed_once(struct cf *c)
{
	timeout(c, "timeout", FAR_NS, 0);
	cf_submit(c);
	io_uring_prep_timeout_remove(cf_sqe(c, "remove"), cf_data(c, "timeout"), 0);
	cf_await(c, 2);
	io_uring_prep_timeout_remove(cf_sqe(c, "again"), cf_data(c, "timeout"), 0);
	cf_await(c, 1);
}

static void a_timeout_is_cancelled(struct cf *c)
{
	timeout(c, "timeout", FAR_NS, 0);
	cf_submit(c);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "timeout"), 0);
	cf_await(c, 2);
	io_uring_prep_cancel64(cf_sqe(c, "cancel"), cf_data(c, "timeout"), 0);
	cf_await(c, 1);
}

static void only_a_timeout_can_be_removed(struct cf *c)
{
	int fds[2];

	cf_pair(c, AF_INET, fds);
	io_uring_prep_recv(cf_sqe(c, "recv"), fds[0], cf_mem(c, 8), 8, 0);
	cf_submit(c);
	io_uring_prep_timeout_remove(cf_sqe(c, "remove"), cf_data(c, "recv"), 0);
	cf_await(c, 1);
}

static void a_timeout_is_moved_nearer(struct cf *c)
{
	timeout(c, "timeout", FAR_NS, 0);
	cf_submit(c);
	io_uring_prep_timeout_update(cf_sqe(c, "update"), span(c, 2 * WEIR_MS),
				     cf_data(c, "timeout"), 0);
	cf_await_in_order(c, 2);
}

static void a_timeout_is_moved_away(struct cf *c)
{
	timeout(c, "timeout", 20 * WEIR_MS, 0);
	cf_submit(c);
	io_uring_prep_timeout_update(cf_sqe(c, "update"), span(c, FAR_NS), cf_data(c, "timeout"),
				     0);
	cf_await(c, 1);
	timeout(c, "later", 30 * WEIR_MS, 0);
	cf_await(c, 1);
}

static void a_timeout_is_moved_to_an_absolute_time(struct cf *c)
{
	int64_t at_ns = c->kernel->ops->now(c->kernel) + 2 * WEIR_MS;

	timeout(c, "timeout", FAR_NS, 0);
	cf_submit(c);
	io_uring_prep_timeout_update(cf_sqe(c, "update"), span(c, at_ns), cf_data(c, "timeout"),
				     IORING_TIMEOUT_ABS);
	cf_await(c, 2);
}

static void a_timeout_that_has_fired_cannot_be_moved(struct cf *c)
{
	timeout(c, "timeout", WEIR_MS, 0);
	cf_await(c, 1);
	io_uring_prep_timeout_update(cf_sqe(c, "update"), span(c, FAR_NS), cf_data(c, "timeout"),
				     0);
	cf_await(c, 1);
}

static void a_link_timeout_is_moved(struct cf *c)
{
	struct io_uring_sqe *sqe;
	int fds[2];

	cf_pair(c, AF_INET, fds);
	sqe = cf_sqe(c, "recv");
	io_uring_prep_recv(sqe, fds[0], cf_mem(c, 8), 8, 0);
	sqe->flags |= IOSQE_IO_LINK;
	io_uring_prep_link_timeout(cf_sqe(c, "timeout"), span(c, FAR_NS), 0);
	cf_submit(c);
	io_uring_prep_timeout_update(cf_sqe(c, "wrong"), span(c, WEIR_MS), cf_data(c, "timeout"),
				     0);
	cf_await(c, 1);
	io_uring_prep_timeout_update(cf_sqe(c, "update"), span(c, WEIR_MS), cf_data(c, "timeout"),
				     IORING_LINK_TIMEOUT_UPDATE);
	cf_await(c, 3);
}

const struct cf_case cf_cases_time[] = {
	CF_CASE(a_timeout_fires_after_its_time, CF_LEGAL(WILL("timeout -ETIME; in time"))),
	CF_CASE(timeouts_fire_in_the_order_of_their_times,
		CF_LEGAL(WILL("a -ETIME; b -ETIME; c -ETIME"))),
	CF_CASE(an_absolute_timeout, CF_LEGAL(WILL("timeout -ETIME; in time"))),
	CF_CASE(an_absolute_timeout_that_has_passed_fires_at_once,
		CF_LEGAL(WILL("timeout -ETIME"))),
	CF_CASE(a_timeout_of_the_wall_clock, CF_LEGAL(WILL("past -ETIME; soon -ETIME; quiet"))),
	CF_CASE(a_timeout_of_no_time_fires, CF_LEGAL(WILL("timeout -ETIME"))),
	CF_CASE(a_timeout_of_negative_time_is_refused, CF_LEGAL(WILL("timeout -EINVAL"))),
	CF_CASE(a_timeout_with_unknown_flags_is_refused,
		CF_LEGAL(WILL("timeout -EINVAL; two clocks -EINVAL"))),
	CF_CASE(a_timeout_in_a_chain, .whole = true,
		CF_LEGAL(WILL("a -ETIME; after a -ECANCELED; b -ETIME; bafter 0"))),
	CF_CASE(a_timeout_that_counts_completions, .prompt = true,
		CF_LEGAL(WILL("nop 0; nop 0; timeout 0"))),
	CF_CASE(a_multishot_timeout_fires_as_often_as_it_says, .since = 604,
		CF_LEGAL(WILL("timeout -ETIME+; timeout -ETIME+; timeout -ETIME; quiet"))),
	CF_CASE(a_multishot_timeout_goes_on_until_it_is_removed, .since = 604,
		CF_LEGAL(WILL("timeout -ETIME+; timeout -ETIME+; remove 0"))),
	CF_CASE(a_timeout_is_removed_once, .prompt = true,
		CF_LEGAL(WILL("remove 0; timeout -ECANCELED; again -ENOENT"))),
	CF_CASE(a_timeout_is_cancelled, .prompt = true,
		CF_LEGAL(WILL("cancel 0; timeout -ECANCELED; cancel -ENOENT"))),
	CF_CASE(only_a_timeout_can_be_removed, CF_LEGAL(WILL("remove -ENOENT"))),
	CF_CASE(a_timeout_is_moved_nearer, .prompt = true,
		CF_LEGAL(WILL("update 0; timeout -ETIME"))),
	CF_CASE(a_timeout_is_moved_away, .prompt = true, CF_LEGAL(WILL("update 0; later -ETIME"))),
	CF_CASE(a_timeout_is_moved_to_an_absolute_time, .prompt = true,
		CF_LEGAL(WILL("timeout -ETIME; update 0"))),
	CF_CASE(a_timeout_that_has_fired_cannot_be_moved,
		CF_LEGAL(WILL("timeout -ETIME; update -ENOENT"))),
	CF_CASE(a_link_timeout_is_moved, .whole = true, .prompt = true,
		CF_LEGAL(WILL("wrong -ENOENT; recv -ECANCELED; timeout -ETIME; update 0"))),
	{ .name = NULL }
};
