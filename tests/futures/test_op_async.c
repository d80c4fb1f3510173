/* SPDX-License-Identifier: MIT */
/*
 * test_op_async.c - ops of the ring and files as futures, on the real kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "futures/weir_file_async.h"
#include "futures/weir_op_async.h"
#include "tests/support/ring_fixture.h"

#define DEPTH 256	/* of the fixture's ring */

static int start_nop(struct weir_op *op, const struct weir_op_args *args)
{
	(void)args;
	return weir_op_nop(op);
}

static int start_read(struct weir_op *op, const struct weir_op_args *args)
{
	return weir_op_read(op, args->fd, args->buf, args->size, args->offset);
}

static int start_refused(struct weir_op *op, const struct weir_op_args *args)
{
	(void)op;
	(void)args;
	return -EBADMSG;
}

static void pipe_make(int *fds)
{
	assert_int_equal(pipe(fds), 0);
}

static void pipe_close(int *fds)
{
	close(fds[0]);
	close(fds[1]);
}

static struct weir_future *read_async(int fd, void *buf, size_t size)
{
	const struct weir_op_args args = { .fd = fd, .buf = buf, .size = size, .offset = -1 };

	return weir_op_async(start_read, &args, "test read");
}

static unsigned inflight(void)
{
	struct weir_ring_info info;

	assert_int_equal(weir_ring_info(&info), 0);
	return info.inflight;
}

static void nothing_is_left(void)
{
	struct weir_futures_info info;

	assert_int_equal(weir_futures_info(&info), 0);
	assert_int_equal(info.count, 0);
	assert_int_equal(inflight(), 0);
}

static void an_op_is_a_future_of_its_result(void)
{
	char buf[16] = "";
	int fds[2];
	struct weir_future *future;

	pipe_make(fds);
	future = read_async(fds[0], buf, sizeof(buf));
	assert_false(weir_future_is_settled(future));
	assert_int_equal(write(fds[1], "weir", 4), 4);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), 4);
	assert_string_equal(buf, "weir");
	pipe_close(fds);
	nothing_is_left();
}

static void an_op_that_is_refused_is_a_rejection(void)
{
	const struct weir_op_args args = { .fd = -1 };

	assert_int_equal(weir_await(weir_op_async(start_refused, &args, "test"), 0, NULL),
			 -EBADMSG);
	assert_int_equal(weir_await(read_async(-1, NULL, 0), WEIR_NEVER, NULL), -EBADF);
	nothing_is_left();
}

/* traps.md 1 and 4: the buffer is free when the await has returned, and the op is gone. */
static void a_timed_out_await_leaves_no_op_in_flight(void)
{
	char buf[16] = "";
	int fds[2];

	pipe_make(fds);
	assert_int_equal(weir_await(read_async(fds[0], buf, sizeof(buf)), weir_in(WEIR_MS), NULL),
			 -ETIMEDOUT);
	nothing_is_left();
	assert_int_equal(write(fds[1], "weir", 4), 4);
	assert_int_equal(read(fds[0], buf, sizeof(buf)), 4);
	pipe_close(fds);
}

static void a_cancelled_future_gives_the_verdict(void)
{
	char buf[16] = "";
	int fds[2];
	struct weir_future *future;

	pipe_make(fds);
	future = read_async(fds[0], buf, sizeof(buf));
	assert_int_equal(weir_future_cancel(future), 0);
	assert_false(weir_future_is_settled(future));
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	pipe_close(fds);
	nothing_is_left();
}

static void the_loser_of_a_race_has_retired_when_the_race_is_over(void)
{
	char bufs[2][16];
	int fds[2][2];
	struct weir_future *parts[2];
	struct weir_result results[2];

	pipe_make(fds[0]);
	pipe_make(fds[1]);
	for (int i = 0; i < 2; i++)
		parts[i] = read_async(fds[i][0], bufs[i], sizeof(bufs[i]));
	assert_int_equal(write(fds[1][1], "won", 3), 3);
	assert_int_equal(weir_await(weir_join(WEIR_RACE, parts, 2, results), WEIR_NEVER, NULL), 3);
	assert_int_equal(results[0].res, -ECANCELED);
	assert_int_equal(results[1].res, 3);
	pipe_close(fds[0]);
	pipe_close(fds[1]);
	nothing_is_left();
}

/* More than the ring has slots: the rest stays pending in turn, nothing is dropped or refused. */
static void ops_beyond_the_depth_wait_for_a_slot(void)
{
	static struct weir_future *parts[4 * DEPTH];
	const struct weir_op_args args = { .fd = -1 };

	for (unsigned i = 0; i < 4 * DEPTH; i++)
		parts[i] = weir_op_async(start_nop, &args, "nop");
	assert_true(inflight() <= DEPTH);
	assert_int_equal(weir_await(weir_all(parts, 4 * DEPTH), weir_in(5 * WEIR_S), NULL), 0);
	nothing_is_left();
}

static void an_op_that_waits_for_a_slot_can_be_cancelled(void)
{
	static struct weir_future *parts[DEPTH + 2];
	static char bufs[DEPTH + 2];
	int fds[2];

	pipe_make(fds);
	for (unsigned i = 0; i < DEPTH + 2; i++)
		parts[i] = read_async(fds[0], &bufs[i], 1);
	assert_int_equal(weir_future_cancel(parts[DEPTH]), 0);
	assert_true(weir_future_is_settled(parts[DEPTH]));
	assert_int_equal(weir_await(weir_all(parts, DEPTH + 2), weir_in(5 * WEIR_S), NULL),
			 -ECANCELED);
	pipe_close(fds);
	nothing_is_left();
}

static void no_room_for_a_combinator_still_ends_the_ops(void)
{
	char bufs[2][16];
	int fds[2];
	struct weir_future *parts[2];

	pipe_make(fds);
	assert_int_equal(weir_futures_set_max(2), 0);
	parts[0] = read_async(fds[0], bufs[0], sizeof(bufs[0]));
	parts[1] = read_async(fds[0], bufs[1], sizeof(bufs[1]));
	assert_int_equal(weir_await(read_async(fds[0], NULL, 0), WEIR_NEVER, NULL), -ENOBUFS);
	assert_int_equal(weir_await(weir_all(parts, 2), WEIR_NEVER, NULL), -ENOBUFS);
	pipe_close(fds);
	nothing_is_left();
}

/* --- files --- */

static struct weir_file *file_make(const char *text)
{
	char path[] = "/tmp/weir-futures-XXXXXX";
	const struct weir_open_opts opts = { .flags = O_RDWR };
	struct weir_file *file;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(weir_file_open(NULL, path, &opts, &file), 0);
	unlink(path);
	return file;
}

static void two_reads_at_once_under_one_deadline(void)
{
	struct weir_file *file = file_make("headbody");
	char head[5] = "", body[5] = "";
	struct weir_future *parts[] = {
		weir_file_read_async(file, head, 4, 0),
		weir_file_read_async(file, body, 4, 4),
	};

	assert_int_equal(weir_await(weir_all(parts, 2), weir_in(5 * WEIR_S), NULL), 0);
	assert_string_equal(head, "head");
	assert_string_equal(body, "body");
	assert_int_equal(weir_file_close(file), 0);
	nothing_is_left();
}

static ssize_t read_back(struct weir_result *result, void *arg)
{
	static char text[8];

	(void)result;
	return weir_follow(result, weir_file_read_async(arg, text, sizeof(text), 0));
}

static void a_write_is_read_back_by_the_next_step(void)
{
	struct weir_file *file = file_make("");
	struct weir_future *future = weir_file_write_async(file, "written", 7, 0);

	future = weir_then(future, read_back, file);
	assert_int_equal(weir_await(future, weir_in(5 * WEIR_S), NULL), 7);
	assert_int_equal(weir_file_close(file), 0);
	nothing_is_left();
}

static void closing_a_file_waits_for_its_futures(void)
{
	struct weir_file *file = file_make("text");
	char buf[8];
	struct weir_future *future = weir_file_read_async(file, buf, sizeof(buf), 0);

	assert_int_equal(weir_file_close(file), 0);
	assert_true(weir_future_is_settled(future));
	assert_int_equal(weir_await(future, 0, NULL), 4);
	nothing_is_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(an_op_is_a_future_of_its_result),
		ring_test(an_op_that_is_refused_is_a_rejection),
		ring_test(a_timed_out_await_leaves_no_op_in_flight),
		ring_test(a_cancelled_future_gives_the_verdict),
		ring_test(the_loser_of_a_race_has_retired_when_the_race_is_over),
		ring_test(ops_beyond_the_depth_wait_for_a_slot),
		ring_test(an_op_that_waits_for_a_slot_can_be_cancelled),
		ring_test(no_room_for_a_combinator_still_ends_the_ops),
		ring_test(two_reads_at_once_under_one_deadline),
		ring_test(a_write_is_read_back_by_the_next_step),
		ring_test(closing_a_file_waits_for_its_futures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
