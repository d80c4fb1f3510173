/* SPDX-License-Identifier: MIT */
/*
 * test_conn_order.c - what a connection makes of completions that come in an unlucky order, and
 * of callers who do something in the middle of something else. A scripted kernel gives the order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "core/weir_coro.h"
#include "tests/support/conn_scene.h"

/* A bug here is often a loop that does not end. */
#define ALARM_S 10

static int set_alarm(void **state)
{
	(void)state;
	alarm(ALARM_S);
	return 0;
}

static void turns(struct script *s, int count)
{
	while (count--)
		script_turn(s);
}

/* Ends a connection that has nothing in flight. */
static void close_idle(struct scene *scene)
{
	weir_conn_abort(scene->conn);
	scene->conn = NULL;
	turns(scene->s, 2);
	answer(scene->s, IORING_OP_CLOSE, 0, 0);
	close_scene(scene);
}

static int join_body(void *arg)
{
	return weir_coro_join(arg, WEIR_NEVER, NULL);
}

static void join(struct script *s, struct weir_coro *coro)
{
	const struct weir_coro_opts opts = { .detached = true };

	assert_int_equal(weir_coro_spawn(&opts, join_body, coro, NULL), 0);
	turns(s, 2);
}

/* --- the end of the input --- */

struct told {
	struct weir_reader reader;
	char buf[64];
	int count, res;
};

static void be_told(struct weir_reader *reader, int res)
{
	struct told *told = weir_container_of(reader, struct told, reader);

	told->count++;
	told->res = res;
}

static void start_reading(struct scene *scene, struct told *told)
{
	*told = (struct told){ .reader = { .done = be_told } };
	told->reader.buf = told->buf;
	told->reader.size = sizeof(told->buf);
	assert_int_equal(weir__conn_read_start(scene->conn, &told->reader), -EINPROGRESS);
}

/* The receive ended for want of a buffer before the cancel of the drain reached it. */
static void a_drain_ends_the_input_although_the_receive_ended_without_a_buffer(void **state)
{
	struct scene scene;
	struct told told;

	(void)state;
	open_scene(&scene, NULL);
	start_reading(&scene, &told);
	weir__conn_drain(scene.conn);
	script_turn(scene.s);
	answer(scene.s, IORING_OP_RECV, -ENOBUFS, 0);
	answer(scene.s, IORING_OP_ASYNC_CANCEL, -ENOENT, 0);
	turns(scene.s, 4);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.res, 0);
	close_idle(&scene);
}

/* --- lent output --- */

#define LARGE 20000

struct lender {
	struct weir_coro *coro;
	struct weir_conn *conn;
	char data[LARGE];
	int res;
	bool ended;
};

static int lend(void *arg)
{
	struct lender *lender = arg;

	lender->res = weir_conn_write_all(lender->conn, lender->data, LARGE);
	lender->ended = true;
	return 0;
}

static void start_lending(struct scene *scene, struct lender *lender)
{
	*lender = (struct lender){ .conn = scene->conn };
	assert_int_equal(weir_coro_spawn(NULL, lend, lender, &lender->coro), 0);
}

/* Each lent its memory, and each has to see the send end. */
static void every_cancelled_writer_of_lent_memory_comes_back(void **state)
{
	static struct lender lenders[2];
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	start_lending(&scene, &lenders[0]);
	start_lending(&scene, &lenders[1]);
	turns(scene.s, 2);
	assert_int_equal(taken(scene.s, IORING_OP_SENDMSG, NULL), 1);
	weir_coro_cancel(lenders[0].coro);
	weir_coro_cancel(lenders[1].coro);
	turns(scene.s, 2);
	assert_false(lenders[0].ended || lenders[1].ended);
	answer(scene.s, IORING_OP_SENDMSG, -ECANCELED, 0);
	answer(scene.s, IORING_OP_ASYNC_CANCEL, 0, 0);
	turns(scene.s, 2);
	assert_true(lenders[0].ended && lenders[1].ended);
	assert_int_equal(lenders[0].res, -ECANCELED);
	assert_int_equal(lenders[1].res, -ECANCELED);
	join(scene.s, lenders[0].coro);
	join(scene.s, lenders[1].coro);
	/* The input is cancelled with the output. */
	answer(scene.s, IORING_OP_RECV, -ECANCELED, 0);
	answer(scene.s, IORING_OP_ASYNC_CANCEL, 0, 0);
	close_idle(&scene);
}

static void close_now(void *arg)
{
	struct scene *scene = arg;

	scene->released++;
	weir_conn_close(scene->conn);
	scene->conn = NULL;
}

/* Nothing is in flight any more when the first of two pieces comes back. */
static void a_connection_may_be_closed_when_lent_output_comes_back(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	answer(scene.s, IORING_OP_RECV, 0, 0);
	assert_int_equal(weir_conn_write_ref(scene.conn, "one", 3, close_now, &scene), 0);
	assert_int_equal(weir_conn_write_ref(scene.conn, "two", 3, mark_released, &scene), 0);
	script_turn(scene.s);
	answer(scene.s, IORING_OP_SENDMSG, 6, 0);
	assert_int_equal(scene.released, 2);
	turns(scene.s, 2);
	answer(scene.s, IORING_OP_CLOSE, 0, 0);
	close_scene(&scene);
}

/* --- a half-close --- */

struct shutter {
	struct weir_conn *conn;
	int res;
	bool ended;
};

static int shut(void *arg)
{
	struct shutter *shutter = arg;

	shutter->res = weir_conn_shutdown(shutter->conn);
	shutter->ended = true;
	return 0;
}

static void a_half_close_that_was_cancelled_can_be_asked_for_again(void **state)
{
	const struct weir_coro_opts opts = { .detached = true };
	struct shutter shutter;
	struct weir_coro *coro;
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	shutter = (struct shutter){ .conn = scene.conn };
	assert_int_equal(weir_coro_spawn(NULL, shut, &shutter, &coro), 0);
	turns(scene.s, 2);
	assert_int_equal(taken(scene.s, IORING_OP_SHUTDOWN, NULL), 1);
	weir_coro_cancel(coro);
	script_turn(scene.s);
	answer(scene.s, IORING_OP_SHUTDOWN, -ECANCELED, 0);
	answer(scene.s, IORING_OP_ASYNC_CANCEL, 0, 0);
	turns(scene.s, 2);
	assert_true(shutter.ended);
	assert_int_equal(shutter.res, -ECANCELED);
	join(scene.s, coro);
	shutter.ended = false;
	assert_int_equal(weir_coro_spawn(&opts, shut, &shutter, NULL), 0);
	turns(scene.s, 2);
	assert_int_equal(taken(scene.s, IORING_OP_SHUTDOWN, NULL), 2);
	answer(scene.s, IORING_OP_SHUTDOWN, 0, 0);
	turns(scene.s, 2);
	assert_true(shutter.ended);
	assert_int_equal(shutter.res, 0);
	weir_conn_abort(scene.conn);
	scene.conn = NULL;
	script_turn(scene.s);
	answer(scene.s, IORING_OP_RECV, -ECANCELED, 0);
	answer(scene.s, IORING_OP_ASYNC_CANCEL, 0, 0);
	script_turn(scene.s);
	answer(scene.s, IORING_OP_CLOSE, 0, 0);
	close_scene(&scene);
}

/* --- when the kernel, or a purse, has nothing left --- */

/* A send that finds no place in the queue must not be offered the same slot without end. */
static void a_send_waits_while_the_kernel_takes_nothing(void **state)
{
	struct weir_op ops[SCRIPT_SQ];
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	scene.s->accept = 0;
	scene.s->ring->limit[WEIR_RESERVED] = 200;
	for (int i = 0; i < SCRIPT_SQ; i++) {
		struct io_uring_sqe *sqe = weir__op_sqe(scene.s->ring, WEIR_RESERVED);

		assert_non_null(sqe);
		io_uring_prep_nop(sqe);
		weir_op_init(&ops[i], NULL, NULL);
		sqe->user_data = 0;
	}
	assert_int_equal(weir_conn_write_try(scene.conn, "x", 1), 0);
	turns(scene.s, 3);
	assert_int_equal(taken(scene.s, IORING_OP_SEND, NULL), 0);
	scene.s->accept = SCRIPT_SQ;
	turns(scene.s, 3);
	assert_int_equal(taken(scene.s, IORING_OP_SEND, NULL), 1);
	answer(scene.s, IORING_OP_SEND, 1, 0);
	close_scene(&scene);
}

/* The reserve is in use; the slots that everybody competes for are not. */
static void a_send_from_an_empty_reserve_leaves_with_an_ordinary_slot(void **state)
{
	struct scene scene;

	(void)state;
	open_scene(&scene, NULL);
	scene.conn->send_purse = WEIR_RESERVED;
	scene.s->ring->limit[WEIR_RESERVED] = scene.s->ring->taken[WEIR_RESERVED];
	assert_int_equal(weir_conn_write_try(scene.conn, "x", 1), 0);
	turns(scene.s, 3);
	assert_int_equal(taken(scene.s, IORING_OP_SEND, NULL), 1);
	scene.s->ring->limit[WEIR_RESERVED] = 16;
	answer(scene.s, IORING_OP_SEND, 1, 0);
	close_scene(&scene);
}

/* --- marks --- */

static int write_thrice(void *arg)
{
	struct shutter *shutter = arg;
	static const char data[600];

	for (int i = 0; i < 3 && !shutter->res; i++)
		shutter->res = weir_conn_write_all(shutter->conn, data, sizeof(data));
	shutter->ended = true;
	return 0;
}

/* Nobody could wait for a level between the two. */
static void a_low_mark_above_the_high_one_counts_as_the_high_one(void **state)
{
	const struct weir_conn_opts conn_opts = { .out_high = 1000, .out_low = 5000 };
	const struct weir_coro_opts opts = { .detached = true };
	struct shutter writer;
	struct scene scene;

	(void)state;
	open_scene(&scene, &conn_opts);
	writer = (struct shutter){ .conn = scene.conn };
	assert_int_equal(weir_coro_spawn(&opts, write_thrice, &writer, NULL), 0);
	turns(scene.s, 2);
	assert_false(writer.ended);
	answer(scene.s, IORING_OP_SEND, 1200, 0);
	turns(scene.s, 2);
	assert_true(writer.ended);
	assert_int_equal(writer.res, 0);
	answer(scene.s, IORING_OP_SEND, 600, 0);
	close_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			a_drain_ends_the_input_although_the_receive_ended_without_a_buffer,
			set_alarm),
		cmocka_unit_test_setup(every_cancelled_writer_of_lent_memory_comes_back, set_alarm),
		cmocka_unit_test_setup(a_connection_may_be_closed_when_lent_output_comes_back,
				       set_alarm),
		cmocka_unit_test_setup(a_half_close_that_was_cancelled_can_be_asked_for_again,
				       set_alarm),
		cmocka_unit_test_setup(a_send_waits_while_the_kernel_takes_nothing, set_alarm),
		cmocka_unit_test_setup(a_send_from_an_empty_reserve_leaves_with_an_ordinary_slot,
				       set_alarm),
		cmocka_unit_test_setup(a_low_mark_above_the_high_one_counts_as_the_high_one,
				       set_alarm),
	};

	return cmocka_run_group_tests_name("net: the order of a connection's completions", tests,
					   NULL, NULL);
}
