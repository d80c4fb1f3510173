/* SPDX-License-Identifier: MIT */
/*
 * The slot table against a kernel whose CQEs come in the order a bug needs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/weir_coro.h"
#include "tests/support/script_kernel.h"

struct counted {
	struct weir_op op;
	unsigned done;
	unsigned more;
	int res;
	uint32_t flags;
};

static void count_done(struct weir_op *op, int res, uint32_t flags)
{
	struct counted *c = weir_container_of(op, struct counted, op);

	c->res = res;
	c->flags = flags;
	if (flags & WEIR_OP_MORE)
		c->more++;
	else
		c->done++;
}

static void init(struct counted *c)
{
	memset(c, 0, sizeof(*c));
	weir_op_init(&c->op, count_done, "test");
}

static void an_op_retires_on_its_own_result(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;

	(void)state;
	init(&c);
	assert_int_equal(weir_op_nop(&c.op), 0);
	assert_true(weir_op_is_inflight(&c.op));
	assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 1);
	script_turn(s);
	assert_int_equal(c.done, 0);
	script_answer(s, 0, 7, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.res, 7);
	assert_false(weir_op_is_inflight(&c.op));
	assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 0);
	script_stop(s);
}

/* glommio#52, glommio#104, libfuse#1481: buffers were freed when the cancel's CQE came. */
static void a_cancel_s_completion_alone_does_not_retire_the_op(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;

	(void)state;
	init(&c);
	assert_int_equal(weir_op_nop(&c.op), 0);
	weir_op_cancel(&c.op);
	script_turn(s);
	assert_int_equal(s->taken_count, 2);
	assert_int_equal(s->taken[1].opcode, IORING_OP_ASYNC_CANCEL);
	script_answer(s, 1, -EALREADY, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(c.done, 0);
	assert_true(weir_op_is_inflight(&c.op));
	script_answer(s, 0, 5, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.res, 5);
	script_stop(s);
}

/* The man page promises no order: here the target's CQE comes first. */
static void a_slot_is_not_reused_before_the_cancel_s_completion_came(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;

	(void)state;
	init(&c);
	assert_int_equal(weir_op_nop(&c.op), 0);
	weir_op_cancel(&c.op);
	script_turn(s);
	script_answer(s, 0, -ECANCELED, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(c.done, 0);
	assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 1);
	script_answer(s, 1, 0, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.res, -ECANCELED);
	assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 0);
	script_stop(s);
}

static void cancelling_twice_sends_one_cancel(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;

	(void)state;
	init(&c);
	assert_int_equal(weir_op_nop(&c.op), 0);
	weir_op_cancel(&c.op);
	weir_op_cancel(&c.op);
	script_turn(s);
	assert_int_equal(s->taken_count, 2);
	script_answer(s, 1, -ENOENT, 0);
	script_answer(s, 0, 0, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(c.done, 1);
	script_stop(s);
}

/* libxev#233, tokio#8185: a completion reached the op that had reused the slot. */
static void a_stale_completion_is_counted_and_reaches_nobody(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted first, second;

	(void)state;
	init(&first);
	init(&second);
	assert_int_equal(weir_op_nop(&first.op), 0);
	script_turn(s);
	script_answer(s, 0, 1, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(first.done, 1);
	assert_int_equal(weir_op_nop(&second.op), 0);
	script_turn(s);
	assert_int_equal((uint32_t)s->taken[0].user_data, (uint32_t)s->taken[1].user_data);
	script_answer(s, 0, 2, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(second.done, 0);
	assert_int_equal(s->ring->stale, 1);
	script_answer(s, 1, 3, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(second.res, 3);
	script_stop(s);
}

static void a_completion_for_a_slot_that_never_was_is_ignored(void **state)
{
	struct script *s = script_start(16, 4, 8);

	(void)state;
	script_post(s, UINT64_C(1) << 32 | 0x123456, 0, 0);
	script_post(s, UINT64_MAX, 0, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(s->ring->stale, 2);
	script_stop(s);
}

static void every_result_of_a_multishot_is_delivered_and_the_last_frees_its_slot(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;
	struct io_uring_sqe *sqe;

	(void)state;
	init(&c);
	sqe = weir__op_sqe(s->ring, WEIR_ARMED);
	io_uring_prep_multishot_accept(sqe, 3, NULL, NULL, 0);
	weir__op_go(s->ring, &c.op, sqe, WEIR_ARMED);
	script_turn(s);
	script_answer(s, 0, 10, IORING_CQE_F_MORE);
	script_answer(s, 0, 11, IORING_CQE_F_MORE);
	script_answer(s, 0, -ENOBUFS, 0);
	script_turn(s);
	assert_int_equal(c.more, 2);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.res, -ENOBUFS);
	assert_int_equal(s->ring->taken[WEIR_ARMED], 0);
	script_stop(s);
}

/* Kernel fact: the error CQE of a zero-copy send carries F_MORE too; the buffer is busy until
 * NOTIF. */
static void a_zero_copy_send_is_over_with_its_notification_and_not_before(void **state)
{
	static const int results[] = { 100, -EPIPE };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct script *s = script_start(16, 4, 8);
		struct counted c;
		struct io_uring_sqe *sqe;

		init(&c);
		sqe = weir__op_sqe(s->ring, WEIR_TRANSIENT);
		io_uring_prep_send_zc(sqe, 3, "x", 1, 0, 0);
		weir__op_go(s->ring, &c.op, sqe, WEIR_TRANSIENT);
		script_turn(s);
		script_answer(s, 0, results[i], IORING_CQE_F_MORE);
		script_turn(s);
		script_turn(s);
		assert_int_equal(c.done + c.more, 0);
		script_answer(s, 0, 0, IORING_CQE_F_NOTIF);
		script_turn(s);
		assert_int_equal(c.done, 1);
		assert_int_equal(c.res, results[i]);
		script_stop(s);
	}
}

static void a_cancelled_zero_copy_send_waits_for_all_three(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;
	struct io_uring_sqe *sqe;

	(void)state;
	init(&c);
	sqe = weir__op_sqe(s->ring, WEIR_TRANSIENT);
	io_uring_prep_send_zc(sqe, 3, "x", 1, 0, 0);
	weir__op_go(s->ring, &c.op, sqe, WEIR_TRANSIENT);
	weir_op_cancel(&c.op);
	script_turn(s);
	script_answer(s, 0, 50, IORING_CQE_F_MORE);
	script_answer(s, 1, -ENOENT, 0);
	script_turn(s);
	assert_int_equal(c.done, 0);
	script_answer(s, 0, 0, IORING_CQE_F_NOTIF);
	script_turn(s);
	assert_int_equal(c.done, 1);
	assert_int_equal(c.res, 50);
	script_stop(s);
}

/* --- the bound --- */

static void answer_all(struct script *s, unsigned from)
{
	for (unsigned i = from; i < s->taken_count; i++)
		script_answer(s, i, 0, 0);
	script_turn(s);
}

static void at_the_depth_submissions_are_refused_and_lend_nothing(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c[17];

	(void)state;
	for (int i = 0; i < 16; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	init(&c[16]);
	assert_int_equal(weir_op_nop(&c[16].op), -EAGAIN);
	assert_false(weir_op_is_inflight(&c[16].op));
	assert_int_equal(s->ring->high, 16);
	script_turn(s);
	answer_all(s, 0);
	assert_int_equal(weir_op_nop(&c[16].op), 0);
	script_turn(s);
	answer_all(s, 16);
	assert_int_equal(c[16].done, 1);
	script_stop(s);
}

static void armed_and_reserved_ops_go_on_when_the_transient_purse_is_empty(void **state)
{
	struct script *s = script_start(16, 1, 8);
	struct counted c[16];

	(void)state;
	for (int i = 0; i < 16; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	assert_null(weir__op_sqe(s->ring, WEIR_TRANSIENT));
	assert_non_null(weir__op_sqe(s->ring, WEIR_RESERVED));
	assert_non_null(weir__op_sqe(s->ring, WEIR_ARMED));
	s->sqes[16].opcode = s->sqes[17].opcode = IORING_OP_NOP;
	s->sqes[16].user_data = s->sqes[17].user_data = 0;
	script_turn(s);
	answer_all(s, 0);
	script_stop(s);
}

/* zio#628: a cancel that found the SQ full was dropped, and its task hung for ever. */
static void a_cancel_that_finds_the_queue_full_is_sent_later(void **state)
{
	struct script *s = script_start(128, 4, 8);
	struct counted c[SCRIPT_SQ];

	(void)state;
	s->accept = 0;
	for (int i = 0; i < SCRIPT_SQ; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	weir_op_cancel(&c[0].op);
	weir_op_cancel(&c[0].op);
	script_turn(s);
	assert_int_equal(s->taken_count, 0);
	s->accept = SCRIPT_SQ;
	script_turn(s);
	script_turn(s);
	assert_int_equal(s->taken_count, SCRIPT_SQ + 1);
	assert_int_equal(s->taken[SCRIPT_SQ].opcode, IORING_OP_ASYNC_CANCEL);
	answer_all(s, 0);
	for (int i = 0; i < SCRIPT_SQ; i++)
		assert_int_equal(c[i].done, 1);
	script_stop(s);
}

/* Asio#464, acl: a full SQ was an error or a NULL pointer. */
static void a_full_submission_queue_is_flushed_and_nobody_notices(void **state)
{
	struct script *s = script_start(128, 4, 8);
	struct counted c[100];

	(void)state;
	for (int i = 0; i < 100; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	script_turn(s);
	assert_int_equal(s->taken_count, 100);
	answer_all(s, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(c[i].done, 1);
	script_stop(s);
}

struct line {
	struct weir_slot_wait wait;
	struct counted c;
	int order;
	int r;
};

static int served;

static void line_run(struct weir_slot_wait *wait)
{
	struct line *line = weir_container_of(wait, struct line, wait);

	line->order = ++served;
	line->r = weir_op_nop(&line->c.op);
}

static void those_who_wait_for_a_slot_get_it_in_order(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c[16];
	struct line lines[3];

	(void)state;
	served = 0;
	for (int i = 0; i < 16; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	for (int i = 0; i < 3; i++) {
		init(&lines[i].c);
		weir_slot_wait(&lines[i].wait, line_run);
	}
	assert_int_equal(s->ring->parked, 3);
	weir_slot_wait_cancel(&lines[1].wait);
	script_turn(s);
	answer_all(s, 0);
	assert_int_equal(lines[0].order, 1);
	assert_int_equal(lines[2].order, 2);
	assert_int_equal(lines[0].r, 0);
	assert_int_equal(lines[2].r, 0);
	assert_int_equal(s->ring->parked, 0);
	script_turn(s);
	answer_all(s, 16);
	assert_int_equal(lines[2].c.done, 1);
	assert_int_equal(s->ring->promised, 0);
	script_stop(s);
}

/* There are slots: who asks to be told must not wait for somebody else's completion. */
static void who_waits_while_there_are_slots_is_told_before_the_core_sleeps(void **state)
{
	struct script *s = script_start(16, 4, 8);
	int64_t begin = s->now;
	struct line line;

	(void)state;
	served = 0;
	init(&line.c);
	line.order = 0;
	weir_slot_wait(&line.wait, line_run);
	weir__worker_turn(&s->worker, WEIR_NEVER);
	assert_int_equal(line.order, 1);
	assert_int_equal(s->now, begin);
	script_turn(s);
	answer_all(s, 0);
	script_stop(s);
}

/* weir_slot_wait(): the next submission made from inside run() cannot fail with -EAGAIN. */
static void who_is_told_of_a_slot_finds_room_in_the_queue_too(void **state)
{
	struct script *s = script_start(128, 4, 8);
	struct counted c[SCRIPT_SQ];
	struct line line;

	(void)state;
	served = 0;
	s->accept = 0;
	for (int i = 0; i < SCRIPT_SQ; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	init(&line.c);
	line.order = 0;
	assert_int_equal(weir_op_nop(&line.c.op), -EAGAIN);
	weir_slot_wait(&line.wait, line_run);
	script_turn(s);
	script_turn(s);
	assert_int_equal(line.order, 0);
	s->accept = SCRIPT_SQ;
	script_turn(s);
	assert_int_equal(line.order, 1);
	assert_int_equal(line.r, 0);
	script_turn(s);
	answer_all(s, 0);
	script_stop(s);
}

/* --- coroutines --- */

static int nop_in_coroutine(void *arg)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int64_t *deadline = arg;
	int r = weir__op_begin(&w, "nop", *deadline, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_nop(sqe);
	return weir__op_end(&w, sqe, *deadline);
}

/* Photon: an interrupted coroutine returned while its op was in flight. */
static void a_cancelled_coroutine_stays_until_its_op_has_retired(void **state)
{
	struct script *s = script_start(16, 4, 8);
	int64_t deadline = WEIR_NEVER;
	struct weir_coro *coro;

	(void)state;
	assert_int_equal(weir_coro_spawn(NULL, nop_in_coroutine, &deadline, &coro), 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(s->taken_count, 1);
	weir_coro_cancel(coro);
	script_turn(s);
	script_turn(s);
	assert_int_equal(s->taken_count, 2);
	script_answer(s, 1, 0, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(s->worker.live, 1);
	assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 1);
	script_answer(s, 0, -ECANCELED, 0);
	script_turn(s);
	script_turn(s);
	assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 0);
	weir_coro_detach(coro);
	script_turn(s);
	assert_int_equal(s->worker.live, 0);
	script_stop(s);
}

struct timed {
	int64_t deadline;
	int res;
};

static int nop_until(void *arg)
{
	struct timed *timed = arg;

	timed->res = nop_in_coroutine(&timed->deadline);
	return 0;
}

static void a_deadline_cancels_the_op_and_a_result_that_came_all_the_same_counts(void **state)
{
	static const int results[] = { -ECANCELED, 9 };
	static const int expected[] = { -ETIMEDOUT, 9 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct script *s = script_start(16, 4, 8);
		struct weir_coro_opts opts = { .detached = true };
		struct timed timed = { .deadline = s->now + WEIR_MS, .res = 1 };

		assert_int_equal(weir_coro_spawn(&opts, nop_until, &timed, NULL), 0);
		script_turn(s);
		script_turn(s);
		assert_int_equal(s->taken_count, 1);
		s->now += 2 * WEIR_MS;
		script_turn(s);
		script_turn(s);
		assert_int_equal(s->taken_count, 2);
		assert_int_equal(timed.res, 1);
		script_answer(s, 0, results[i], 0);
		script_answer(s, 1, 0, 0);
		script_turn(s);
		script_turn(s);
		assert_int_equal(timed.res, expected[i]);
		assert_int_equal(s->ring->verdict, i ? WEIR_COMPLETED : WEIR_CANCELLED);
		script_stop(s);
	}
}

static struct script *refusing;

static void take_again(struct weir_task *task)
{
	(void)task;
	refusing->accept = SCRIPT_SQ;
}

/* The kernel takes nothing for a moment: what found the queue full leaves with the next turn. */
static void who_found_the_queue_full_goes_on_before_the_core_sleeps(void **state)
{
	const struct weir_coro_opts opts = { .detached = true };
	struct script *s = script_start(128, 4, 8);
	int64_t deadline = WEIR_NEVER, begin = s->now;
	struct counted c[SCRIPT_SQ];
	struct weir_task task;

	(void)state;
	refusing = s;
	s->accept = 0;
	for (int i = 0; i < SCRIPT_SQ; i++) {
		init(&c[i]);
		assert_int_equal(weir_op_nop(&c[i].op), 0);
	}
	assert_int_equal(weir_coro_spawn(&opts, nop_in_coroutine, &deadline, NULL), 0);
	weir_task_init(&task, take_again);
	weir_task_ready_last(&task);
	weir__worker_turn(&s->worker, WEIR_NEVER);
	weir__worker_turn(&s->worker, 0);
	assert_int_equal(s->taken_count, SCRIPT_SQ + 1);
	assert_int_equal(s->now, begin);
	answer_all(s, 0);
	script_turn(s);
	script_stop(s);
}

/* --- the end --- */

static int again_res;

static void do_it_again(struct weir_op *op, int res, uint32_t flags)
{
	struct counted *c = weir_container_of(op, struct counted, op);

	(void)flags;
	c->done++;
	c->res = res;
	again_res = weir_op_nop(op);
}

/* Everything in flight was cancelled, once: what begins after that would never end. */
static void at_the_end_nothing_new_begins(void **state)
{
	struct script *s = script_start(16, 4, 8);
	struct counted c;

	(void)state;
	memset(&c, 0, sizeof(c));
	weir_op_init(&c.op, do_it_again, "test");
	assert_int_equal(weir_op_nop(&c.op), 0);
	assert_false(s->ring->driver.ops->is_drained(&s->ring->driver));
	script_turn(s);
	assert_int_equal(s->taken_count, 2);
	script_answer(s, 0, -ECANCELED, 0);
	script_answer(s, 1, 0, 0);
	script_turn(s);
	assert_int_equal(c.done, 1);
	assert_int_equal(again_res, -ESHUTDOWN);
	assert_true(s->ring->driver.ops->is_drained(&s->ring->driver));
	script_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_op_retires_on_its_own_result),
		cmocka_unit_test(a_cancel_s_completion_alone_does_not_retire_the_op),
		cmocka_unit_test(a_slot_is_not_reused_before_the_cancel_s_completion_came),
		cmocka_unit_test(cancelling_twice_sends_one_cancel),
		cmocka_unit_test(a_stale_completion_is_counted_and_reaches_nobody),
		cmocka_unit_test(a_completion_for_a_slot_that_never_was_is_ignored),
		cmocka_unit_test(
			every_result_of_a_multishot_is_delivered_and_the_last_frees_its_slot),
		cmocka_unit_test(a_zero_copy_send_is_over_with_its_notification_and_not_before),
		cmocka_unit_test(a_cancelled_zero_copy_send_waits_for_all_three),
		cmocka_unit_test(at_the_depth_submissions_are_refused_and_lend_nothing),
		cmocka_unit_test(armed_and_reserved_ops_go_on_when_the_transient_purse_is_empty),
		cmocka_unit_test(a_cancel_that_finds_the_queue_full_is_sent_later),
		cmocka_unit_test(a_full_submission_queue_is_flushed_and_nobody_notices),
		cmocka_unit_test(those_who_wait_for_a_slot_get_it_in_order),
		cmocka_unit_test(a_cancelled_coroutine_stays_until_its_op_has_retired),
		cmocka_unit_test(
			a_deadline_cancels_the_op_and_a_result_that_came_all_the_same_counts),
		cmocka_unit_test(who_waits_while_there_are_slots_is_told_before_the_core_sleeps),
		cmocka_unit_test(who_is_told_of_a_slot_finds_room_in_the_queue_too),
		cmocka_unit_test(who_found_the_queue_full_goes_on_before_the_core_sleeps),
		cmocka_unit_test(at_the_end_nothing_new_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
