/* SPDX-License-Identifier: MIT */
/*
 * cases_ring.c - the two queues and the call between them: what is accepted, what is seen when,
 * what overflows.
 */
#include "tests/conformance/conform.h"

static void nops(struct cf *c, unsigned n)
{
	while (n--)
		io_uring_prep_nop(cf_sqe(c, "nop"));
}

static void nops_complete_in_order(struct cf *c)
{
	io_uring_prep_nop(cf_sqe(c, "a"));
	io_uring_prep_nop(cf_sqe(c, "b"));
	io_uring_prep_nop(cf_sqe(c, "c"));
	cf_await(c, 3);
}

static void what_ends_in_submit_is_seen_after_it(struct cf *c)
{
	io_uring_prep_nop(cf_sqe(c, "nop"));
	cf_note(c, "taken %d", cf_submit(c));
	cf_note(c, "ready %u", cf_ready(c));
	cf_await(c, 1);
}

static void an_unknown_operation_is_refused_alone(struct cf *c)
{
	cf_sqe(c, "bad")->opcode = 250;
	io_uring_prep_nop(cf_sqe(c, "nop"));
	cf_await(c, 2);
}

static void unknown_flags_of_an_sqe_are_refused(struct cf *c)
{
	int fd = cf_file(c, "file", "");
	struct io_uring_sqe *sqe = cf_sqe(c, "nop");

	io_uring_prep_nop(sqe);
	sqe->flags |= 1U << 7;
	io_uring_prep_fsync(cf_sqe(c, "fsync"), fd, 1U << 30);
	cf_await(c, 2);
}

/* Without SUBMIT_ALL the SQE that is wrong is taken, and nothing behind it. */
static void without_submit_all_a_bad_sqe_ends_the_batch(struct cf *c)
{
	int r;

	c->setup_flags &= ~IORING_SETUP_SUBMIT_ALL;
	cf_ring_make(c, &c->other, 8, 16, 0);
	cf_use(c, &c->other);
	if (c->broken)
		return;
	cf_sqe(c, "bad")->opcode = 250;
	io_uring_prep_nop(cf_sqe(c, "nop"));
	io_uring_smp_store_release(c->at->uring.sq.ktail, c->at->uring.sq.sqe_tail);
	do {
		r = c->kernel->ops->ring_enter(c->kernel, &c->at->uring, 2, 0, 0, NULL, 0);
	} while (r == -EINTR || r == -EAGAIN || r == -EBUSY || !r);
	cf_note(c, "taken %d", r);
	cf_await(c, 2);
}

/* reliability.md 3.2: nothing is lost, nothing is refused, the counter stays 0. */
static void a_small_queue_overflows_and_loses_nothing(struct cf *c)
{
	struct io_uring *uring = &c->ring.uring;
	struct cf_cqe unused;
	bool in_order = true;
	unsigned taken = 0;
	unsigned seen = 0;

	(void)unused;
	for (unsigned i = 0; i < 200; i++) {
		struct io_uring_sqe *sqe = cf_sqe(c, "nop");

		io_uring_prep_nop(sqe);
		sqe->user_data = 1000 + i;
		taken += (unsigned)cf_submit(c);
	}
	if (c->broken)
		return;
	cf_note(c, "taken %u", taken);
	cf_note(c, "ready %u", cf_ready(c));
	cf_note(c, "flag %d", !!(*uring->sq.kflags & IORING_SQ_CQ_OVERFLOW));
	for (unsigned tries = 0; seen < 200 && tries < 1000; tries++) {
		while (cf_ready(c)) {
			struct io_uring_cqe *cqe =
				&uring->cq.cqes[*uring->cq.khead & uring->cq.ring_mask];

			in_order &= cqe->user_data == 1000 + seen++;
			io_uring_smp_store_release(uring->cq.khead, *uring->cq.khead + 1);
		}
		c->kernel->ops->ring_enter(c->kernel, uring, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	}
	cf_note(c, "seen %u%s", seen, in_order ? " in order" : "");
	cf_note(c, "flag %d", !!(*uring->sq.kflags & IORING_SQ_CQ_OVERFLOW));
	cf_note(c, "lost %u", *uring->cq.koverflow);
}

static bool is_pending(struct cf *c)
{
	if (IO_URING_READ_ONCE(*c->at->uring.sq.kflags) & IORING_SQ_TASKRUN)
		return true;
	return c->kernel->ops->ring_look && c->kernel->ops->ring_look(c->kernel, &c->at->uring);
}

/* What was armed completes only in an enter that asks for completions. */
static void deferred_work_waits_for_an_enter_that_asks(struct cf *c)
{
	const uint64_t one = 1;
	int fd = cf_keep(c, cf_must(c, c->kernel->ops->eventfd(c->kernel), "eventfd"));

	io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	cf_submit(c);
	if (c->broken)
		return;
	cf_must(c, (int)c->kernel->ops->write(c->kernel, fd, &one, sizeof(one)), "write");
	cf_note(c, "ready %u", cf_ready(c));
	cf_note(c, "pending %d", is_pending(c));
	io_uring_prep_nop(cf_sqe(c, "nop"));
	cf_submit(c);
	cf_note(c, "ready %u", cf_ready(c));
	cf_await(c, 2);
	cf_note(c, "pending %d", is_pending(c));
}

static void a_disabled_ring_does_nothing_until_it_is_enabled(struct cf *c)
{
	cf_ring_make(c, &c->other, 8, 16, IORING_SETUP_R_DISABLED);
	cf_use(c, &c->other);
	if (c->broken)
		return;
	io_uring_prep_nop(cf_sqe(c, "nop"));
	io_uring_smp_store_release(c->at->uring.sq.ktail, c->at->uring.sq.sqe_tail);
	cf_note_res(c, "enter",
		    c->kernel->ops->ring_enter(c->kernel, &c->at->uring, 1, 0, 0, NULL, 0));
	cf_note_res(c, "enable", cf_register(c, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	cf_await(c, 1);
	cf_note_res(c, "enable", cf_register(c, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
}

static int enter_once(struct cf *c, unsigned submit, unsigned wait, unsigned flags,
		      const void *arg, size_t size)
{
	int r = -EAGAIN;

	io_uring_smp_store_release(c->at->uring.sq.ktail, c->at->uring.sq.sqe_tail);
	for (int i = 0; i < 1000 && (r == -EAGAIN || r == -EINTR || r == -EBUSY); i++)
		r = c->kernel->ops->ring_enter(c->kernel, &c->at->uring, submit, wait, flags, arg,
					       size);
	return r;
}

static void no_more_is_taken_than_there_is(struct cf *c)
{
	nops(c, 2);
	cf_note_res(c, "enter", enter_once(c, 50, 0, 0, NULL, 0));
	cf_note_res(c, "enter", enter_once(c, 50, 0, 0, NULL, 0));
	cf_await(c, 2);
}

static void an_enter_with_unknown_flags_is_refused(struct cf *c)
{
	cf_note_res(c, "enter", enter_once(c, 0, 0, 1U << 30, NULL, 0));
}

static void a_wait_ends_with_its_time(struct cf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 2 * WEIR_MS };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	int64_t from_ns = c->kernel->ops->now(c->kernel);
	int r;

	do {
		r = enter_once(c, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
			       sizeof(arg));
	} while (!r);
	cf_note_res(c, "enter", r);
	cf_note(c, "%s", c->kernel->ops->now(c->kernel) - from_ns >= 2 * WEIR_MS ? "in time" :
										   "too early");
}

static void a_wait_ends_at_an_absolute_time(struct cf *c)
{
	int64_t at_ns = c->kernel->ops->now(c->kernel) + 2 * WEIR_MS;
	struct __kernel_timespec ts = { .tv_sec = at_ns / WEIR_S, .tv_nsec = at_ns % WEIR_S };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	int r;

	do {
		r = enter_once(c, 0, 1,
			       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
				       IORING_ENTER_ABS_TIMER,
			       &arg, sizeof(arg));
	} while (!r);
	cf_note_res(c, "enter", r);
	cf_note(c, "%s", c->kernel->ops->now(c->kernel) >= at_ns ? "in time" : "too early");
}

/* Not -ETIME: there is something. */
static void a_wait_for_more_than_there_will_be_ends_with_its_time(struct cf *c)
{
	struct __kernel_timespec ts = { .tv_nsec = 2 * WEIR_MS };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };

	nops(c, 1);
	cf_submit(c);
	cf_note_res(c, "enter",
		    enter_once(c, 0, 2, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
			       sizeof(arg)));
	cf_await(c, 1);
}

static void success_is_skipped_and_failure_is_not(struct cf *c)
{
	struct io_uring_sqe *sqe = cf_sqe(c, "nop");

	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe = cf_sqe(c, "fsync");
	io_uring_prep_fsync(sqe, -1, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	cf_await(c, 1);
	cf_quiet(c);
}

static void a_registered_ring_is_entered_by_its_number(struct cf *c)
{
	cf_note_res(c, "register", cf_register(c, IORING_REGISTER_RING_FDS, NULL, 0));
	nops(c, 1);
	cf_note_res(c, "enter",
		    enter_once(c, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL,
			       0));
	cf_await(c, 1);
	cf_note_res(c, "unregister", cf_register(c, IORING_UNREGISTER_RING_FDS, NULL, 0));
}

static void an_unknown_register_opcode_is_refused(struct cf *c)
{
	cf_note_res(c, "register", cf_register(c, 120, NULL, 0));
}

static void setup_refuses_what_does_not_fit(struct cf *c)
{
	static const struct {
		const char *what;
		unsigned flags, sq, cq;
	} tries[] = {
		{ "no entries", 0, 0, 0 },
		{ "deferred without single issuer", IORING_SETUP_DEFER_TASKRUN, 8, 0 },
		{ "flag without a run", IORING_SETUP_TASKRUN_FLAG, 8, 0 },
		{ "completions less than submissions", IORING_SETUP_CQSIZE, 8, 4 },
		{ "no completions", IORING_SETUP_CQSIZE, 8, 0 },
		{ "too many", 0, 40000, 0 },
		{ "too many but clamped", IORING_SETUP_CLAMP, 40000, 0 },
		{ "odd sizes", IORING_SETUP_CQSIZE, 5, 9 },
	};

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]) && !c->broken; i++) {
		struct io_uring_params params = { .flags = tries[i].flags,
						  .cq_entries = tries[i].cq };
		struct io_uring uring;
		int r = c->kernel->ops->ring_setup(c->kernel, tries[i].sq, &uring, &params);

		if (r < 0) {
			cf_note_res(c, tries[i].what, r);
			continue;
		}
		cf_note(c, "%s %u/%u", tries[i].what, params.sq_entries, params.cq_entries);
		c->kernel->ops->ring_teardown(c->kernel, &uring);
	}
}

/* The results of two enters at most: 20 items of work for each (uring.md). */
static void an_enter_does_a_bounded_amount_of_work(struct cf *c)
{
	const uint64_t one = 1;
	int fd = cf_keep(c, cf_must(c, c->kernel->ops->eventfd(c->kernel), "eventfd"));

	for (unsigned i = 0; i < 40; i++)
		io_uring_prep_poll_add(cf_sqe(c, "poll"), fd, POLLIN);
	cf_submit(c);
	if (c->broken)
		return;
	c->kernel->ops->write(c->kernel, fd, &one, sizeof(one));
	enter_once(c, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	cf_note(c, "%s", cf_ready(c) < 40 ? "some" : "all");
}

const struct cf_case cf_cases_ring[] = {
	CF_CASE(nops_complete_in_order, CF_LEGAL(WILL("a 0; b 0; c 0"))),
	CF_CASE(what_ends_in_submit_is_seen_after_it, CF_LEGAL(WILL("taken 1; ready 1; nop 0"))),
	CF_CASE(an_unknown_operation_is_refused_alone, CF_LEGAL(WILL("bad -EINVAL; nop 0"))),
	CF_CASE(unknown_flags_of_an_sqe_are_refused, CF_LEGAL(WILL("fsync -EINVAL; nop -EINVAL"))),
	CF_CASE(without_submit_all_a_bad_sqe_ends_the_batch,
		CF_LEGAL(WILL("taken 1; bad -EINVAL; nop 0"))),
	CF_CASE(a_small_queue_overflows_and_loses_nothing, .sq = 4, .cq = 4,
		CF_LEGAL(WILL("taken 200; ready 4; flag 1; seen 200 in order; flag 0; lost 0"))),
	CF_CASE(deferred_work_waits_for_an_enter_that_asks, .rings = CF_DEFER, .prompt = true,
		CF_LEGAL(WILL("ready 0; pending 1; ready 1; nop 0; poll 1; pending 0"))),
	CF_CASE(a_disabled_ring_does_nothing_until_it_is_enabled,
		CF_LEGAL(WILL("enter -EBADFD; enable 0; nop 0; enable -EBADFD"))),
	CF_CASE(no_more_is_taken_than_there_is, CF_LEGAL(WILL("enter 2; enter 0; nop 0; nop 0"))),
	CF_CASE(an_enter_with_unknown_flags_is_refused, CF_LEGAL(WILL("enter -EINVAL"))),
	CF_CASE(a_wait_ends_with_its_time, CF_LEGAL(WILL("enter -ETIME; in time"))),
	CF_CASE(a_wait_ends_at_an_absolute_time, .since = 612,
		CF_LEGAL(WILL("enter -ETIME; in time"))),
	CF_CASE(a_wait_for_more_than_there_will_be_ends_with_its_time,
		CF_LEGAL(WILL("enter 0; nop 0"))),
	CF_CASE(success_is_skipped_and_failure_is_not, CF_LEGAL(WILL("fsync -EBADF; quiet"))),
	CF_CASE(a_registered_ring_is_entered_by_its_number,
		CF_LEGAL(WILL("register 1; enter 1; nop 0; unregister 1"))),
	CF_CASE(an_unknown_register_opcode_is_refused, CF_LEGAL(WILL("register -EINVAL"))),
	CF_CASE(setup_refuses_what_does_not_fit,
		CF_LEGAL(WILL(
			"no entries -EINVAL; deferred without single issuer -EINVAL; "
			"flag without a run -EINVAL; "
			"completions less than submissions -EINVAL; no completions -EINVAL; "
			"too many -EINVAL; too many but clamped 32768/65536; odd sizes 8/16"))),
	CF_CASE(an_enter_does_a_bounded_amount_of_work, .rings = CF_DEFER,
		.arms = CF_ON_URING | CF_ON_SIM, CF_LEGAL(WILL("some"))),
	{ .name = NULL }
};
