/* SPDX-License-Identifier: MIT */
/*
 * A ring on the real kernel: operations, deadlines, cancellation, the set-up ladder,
 * what is in flight, and the end.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/worker.h"
#include "ring/ring.h"
#include "tests/support/ring_fixture.h"

static ssize_t pipe_read(int fd, void *buf, size_t size, int64_t deadline_ns)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r = weir__op_begin(&w, "read", deadline_ns, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_read(sqe, fd, buf, (unsigned)size, 0);
	return weir__op_end(&w, sqe, deadline_ns);
}

static int read_what_a_pipe_has(void *arg)
{
	int fds[2];
	char buf[8] = "";

	(void)arg;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "hello", 5), 5);
	assert_int_equal(pipe_read(fds[0], buf, sizeof(buf), WEIR_NEVER), 5);
	assert_string_equal(buf, "hello");
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static void a_coroutine_reads_through_the_ring(void **state)
{
	(void)state;
	assert_int_equal(on_ring(read_what_a_pipe_has, NULL), 0);
}

static int read_with_deadline(void *arg)
{
	int fds[2];
	char buf[8] = "";

	(void)arg;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe_read(fds[0], buf, sizeof(buf), weir_in(WEIR_MS)), -ETIMEDOUT);
	assert_int_equal(weir_verdict(), WEIR_CANCELLED);
	assert_int_equal(weir__ring_self()->taken[WEIR_TRANSIENT], 0);
	/* Nothing reads any more: what is written now is there for the next. */
	assert_int_equal(write(fds[1], "late", 4), 4);
	assert_int_equal(pipe_read(fds[0], buf, sizeof(buf), WEIR_NEVER), 4);
	assert_int_equal(weir_verdict(), WEIR_COMPLETED);
	assert_int_equal(pipe_read(fds[0], buf, sizeof(buf), weir_now() - 1), -ETIMEDOUT);
	assert_int_equal(weir_verdict(), WEIR_NOT_STARTED);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static void a_deadline_ends_a_read_and_loses_nothing(void **state)
{
	(void)state;
	assert_int_equal(on_ring(read_with_deadline, NULL), 0);
}

static int blocked_reader(void *arg)
{
	char buf[8];

	return (int)pipe_read(*(int *)arg, buf, sizeof(buf), WEIR_NEVER);
}

static int cancel_a_reader(void *arg)
{
	struct weir_coro_opts opts = { .name = "blocked" };
	struct weir_coro *coro;
	int fds[2], res = 0;

	(void)arg;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(weir_coro_spawn(&opts, blocked_reader, &fds[0], &coro), 0);
	weir_yield();
	assert_int_equal(weir__ring_self()->taken[WEIR_TRANSIENT], 1);
	weir_coro_cancel(coro);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ECANCELED);
	assert_int_equal(weir__ring_self()->taken[WEIR_TRANSIENT], 0);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static void cancelling_a_coroutine_ends_its_read(void **state)
{
	(void)state;
	assert_int_equal(on_ring(cancel_a_reader, NULL), 0);
}

/* --- what is in flight --- */

struct seen {
	int fd;
	unsigned count;
	struct weir_inflight op;
};

static int remember(const struct weir_inflight *op, void *arg)
{
	struct seen *seen = arg;

	if (op->fd == seen->fd) {
		seen->count++;
		seen->op = *op;
	}
	return 0;
}

static int list_a_reader(void *arg)
{
	struct weir_coro_opts opts = { .name = "patient" };
	struct weir_ring_info info;
	struct weir_coro *coro;
	struct seen seen = { 0 };
	int fds[2];

	(void)arg;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(weir_coro_spawn(&opts, blocked_reader, &fds[0], &coro), 0);
	weir_sleep(2 * WEIR_MS);
	seen.fd = fds[0];
	assert_int_equal(weir_inflight_list(remember, &seen), 0);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.op.opcode, "READ");
	assert_string_equal(seen.op.name, "patient");
	assert_false(seen.op.armed);
	assert_false(seen.op.cancelling);
	assert_true(seen.op.age_ns >= WEIR_MS);
	assert_int_equal(weir_ring_info(&info), 0);
	assert_int_equal(info.inflight, 1);
	assert_int_equal(info.cq_overflow, 0);
	weir_coro_cancel(coro);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, NULL), 0);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static void what_is_in_flight_is_listed_by_opcode_descriptor_age_and_name(void **state)
{
	(void)state;
	assert_int_equal(on_ring(list_a_reader, NULL), 0);
}

/* --- callback form --- */

struct many {
	struct weir_op op[512];
	struct weir_coro *waiter;
	unsigned done;
};

static void many_done(struct weir_op *op, int res, uint32_t flags)
{
	struct many *many = (struct many *)(void *)op->name;

	(void)flags;
	assert_int_equal(res, 0);
	many->done++;
}

static int run_many(void *arg)
{
	static struct many many;
	struct weir_ring_info info;

	(void)arg;
	many.done = 0;
	for (int round = 0; round < 20; round++) {
		unsigned before = many.done;

		for (int i = 0; i < 512; i++) {
			weir_op_init(&many.op[i], many_done, (const char *)&many);
			while (weir_op_nop(&many.op[i]) == -EAGAIN)
				weir_yield();
		}
		while (many.done < before + 512)
			weir_yield();
	}
	assert_int_equal(many.done, 20 * 512);
	assert_int_equal(weir_ring_info(&info), 0);
	assert_int_equal(info.cq_overflow, 0);
	assert_int_equal(info.inflight, 0);
	return 0;
}

/* libuv#3991, libuv#4598: a burst overflowed the CQ. */
static void a_burst_beyond_the_depth_completes_without_an_overflow(void **state)
{
	(void)state;
	assert_int_equal(on_ring(run_many, NULL), 0);
}

static void poll_done(struct weir_op *op, int res, uint32_t flags)
{
	(void)flags;
	op->name = res & POLLIN ? "in" : "other";
}

static int poll_a_pipe(void *arg)
{
	struct weir_op op;
	int fds[2];

	(void)arg;
	assert_int_equal(pipe(fds), 0);
	weir_op_init(&op, poll_done, "poll");
	assert_int_equal(weir_op_poll(&op, fds[0], POLLIN), 0);
#ifndef WEIR_DEBUG
	assert_int_equal(weir_op_nop(&op), -EBUSY);
#endif
	weir_yield();
	assert_true(weir_op_is_inflight(&op));
	assert_int_equal(write(fds[1], "x", 1), 1);
	while (weir_op_is_inflight(&op))
		weir_yield();
	assert_string_equal(op.name, "in");
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static void a_poll_completes_when_the_descriptor_is_ready(void **state)
{
	(void)state;
	assert_int_equal(on_ring(poll_a_pipe, NULL), 0);
}

/* --- the set-up ladder --- */

static uint32_t refused;

static int picky_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
		       struct io_uring_params *params)
{
	struct weir_kernel *real = host_kernel();

	(void)kernel;
	if (params->flags & refused)
		return -EINVAL;
	return real->ops->ring_setup(real, entries, uring, params);
}

static void a_refused_set_up_flag_is_dropped_recorded_and_the_ring_works(void **state)
{
	static const uint32_t flags[] = { IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER,
					  IORING_SETUP_SUBMIT_ALL, IORING_SETUP_COOP_TASKRUN,
					  IORING_SETUP_CQSIZE };
	struct weir_kernel_ops ops = *host_kernel()->ops;
	struct weir_kernel picky = { .ops = &ops };
	struct ring_fixture fixture = ring_fixture_defaults();

	(void)state;
	ops.ring_setup = picky_setup;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct weir_ring_opts opts = { .kernel = &picky, .depth = 64, .armed_max = 8,
					       .sq_size = 64, .cq_size = 256 };
		struct weir_ring *ring;

		refused = flags[i];
		assert_int_equal(weir__ring_create(&opts, &ring), 0);
		assert_true(ring->refused_flags & refused);
		assert_false(ring->setup_flags & refused);
		/* DEFER needs SINGLE_ISSUER: that one pair falls together, nothing else does. */
		if (refused != IORING_SETUP_SINGLE_ISSUER)
			assert_int_equal(ring->refused_flags, refused);
		weir__ring_destroy(ring);
	}
	refused = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER;
	fixture.ring.kernel = &picky;
	assert_int_equal(on_ring_with(&fixture, read_what_a_pipe_has, NULL), 0);
}

static int refusing_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
			  struct io_uring_params *params)
{
	(void)kernel;
	(void)entries;
	(void)uring;
	(void)params;
	return -EPERM;
}

static void a_kernel_that_refuses_the_ring_is_an_error_and_leaks_nothing(void **state)
{
	struct weir_kernel_ops ops = *host_kernel()->ops;
	struct weir_kernel refusing = { .ops = &ops };
	struct weir_ring_opts opts = { .kernel = &refusing, .depth = 64, .armed_max = 8,
				       .sq_size = 64, .cq_size = 256 };
	struct weir_ring *ring = NULL;

	(void)state;
	ops.ring_setup = refusing_setup;
	assert_int_equal(weir__ring_create(&opts, &ring), -EPERM);
	assert_null(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_coroutine_reads_through_the_ring),
		cmocka_unit_test(a_deadline_ends_a_read_and_loses_nothing),
		cmocka_unit_test(cancelling_a_coroutine_ends_its_read),
		cmocka_unit_test(what_is_in_flight_is_listed_by_opcode_descriptor_age_and_name),
		cmocka_unit_test(a_burst_beyond_the_depth_completes_without_an_overflow),
		cmocka_unit_test(a_poll_completes_when_the_descriptor_is_ready),
		cmocka_unit_test(a_refused_set_up_flag_is_dropped_recorded_and_the_ring_works),
		cmocka_unit_test(a_kernel_that_refuses_the_ring_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
