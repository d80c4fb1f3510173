/* SPDX-License-Identifier: MIT */
/*
 * test_fds.c - descriptors over Unix sockets: they arrive whole, close-on-exec, and none is left
 * open when a message is not what it should be.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "ring/weir_fds.h"
#include "tests/support/ring_fixture.h"

static int ends[2];

static void open_pair(int type)
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
}

static void close_pair(void)
{
	close(ends[0]);
	close(ends[1]);
}

static unsigned open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static bool is_same(int a, int b)
{
	struct stat one, other;

	return !fstat(a, &one) && !fstat(b, &other) && one.st_ino == other.st_ino &&
	       one.st_dev == other.st_dev;
}

static void descriptors_arrive_in_order_and_close_on_exec(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	int sent[WEIR_FDS_MAX], got[WEIR_FDS_MAX];

	for (unsigned t = 0; t < 3; t++) {
		unsigned before = open_fds();

		open_pair(types[t]);
		for (unsigned i = 0; i < WEIR_FDS_MAX; i++) {
			assert_int_equal(pipe2(got, O_CLOEXEC), 0);
			close(got[1]);
			sent[i] = got[0];
		}
		assert_int_equal(weir_fds_send(ends[0], sent, 2, WEIR_NEVER), 0);
		assert_int_equal(weir_fds_send(ends[0], sent, WEIR_FDS_MAX, WEIR_NEVER), 0);
		assert_int_equal(weir_fds_receive(ends[1], got, 2, WEIR_NEVER), 2);
		assert_true(is_same(got[0], sent[0]) && is_same(got[1], sent[1]));
		assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
		close(got[0]);
		close(got[1]);
		assert_int_equal(weir_fds_receive(ends[1], got, WEIR_FDS_MAX, WEIR_NEVER),
				 WEIR_FDS_MAX);
		for (unsigned i = 0; i < WEIR_FDS_MAX; i++) {
			assert_true(is_same(got[i], sent[i]));
			close(got[i]);
			close(sent[i]);
		}
		close_pair();
		assert_int_equal(open_fds(), before);
	}
}

static int receive_later(void *arg)
{
	return weir_fds_receive(ends[1], arg, 4, WEIR_NEVER);
}

static void who_receives_waits(void)
{
	struct weir_coro *coro;
	int got[4], res;

	open_pair(SOCK_STREAM);
	assert_int_equal(weir_coro_spawn(NULL, receive_later, got, &coro), 0);
	weir_yield();
	assert_int_equal(weir_fds_send(ends[0], ends, 1, WEIR_NEVER), 0);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 1);
	close(got[0]);
	assert_int_equal(weir_fds_receive(ends[1], got, 4, weir_in(WEIR_MS)), -ETIMEDOUT);
	/* Cancelled, and nothing that comes later is lost. */
	assert_int_equal(weir_coro_spawn(NULL, receive_later, got, &coro), 0);
	weir_yield();
	weir_coro_cancel(coro);
	assert_int_equal(weir_coro_join(coro, WEIR_NEVER, &res), 0);
	assert_int_equal(res, -ECANCELED);
	assert_int_equal(weir_fds_send(ends[0], ends, 1, WEIR_NEVER), 0);
	assert_int_equal(weir_fds_receive(ends[1], got, 4, WEIR_NEVER), 1);
	close(got[0]);
	close_pair();
}

static void what_is_not_as_it_should_be_is_closed(void)
{
	int fds[3], got[3];
	unsigned before;

	open_pair(SOCK_STREAM);
	for (unsigned i = 0; i < 3; i++)
		fds[i] = ends[0];
	before = open_fds();
	assert_int_equal(weir_fds_send(ends[0], fds, 3, WEIR_NEVER), 0);
	assert_int_equal(weir_fds_receive(ends[1], got, 2, WEIR_NEVER), -EPROTO);
	assert_int_equal(open_fds(), before);
	assert_int_equal(send(ends[0], "x", 1, 0), 1);
	assert_int_equal(weir_fds_receive(ends[1], got, 2, WEIR_NEVER), -EPROTO);
	assert_int_equal(open_fds(), before);
	close(ends[0]);
	assert_int_equal(weir_fds_receive(ends[1], got, 2, WEIR_NEVER), -EPIPE);
	assert_int_equal(weir_fds_send(ends[1], &ends[1], 1, WEIR_NEVER), -EPIPE);
	close(ends[1]);
}

static void wrong_calls_are_refused(void)
{
	int fd = -1, got[1], many[WEIR_FDS_MAX + 1] = { 0 };

	open_pair(SOCK_STREAM);
	assert_int_equal(weir_fds_send(ends[0], &fd, 1, WEIR_NEVER), -EBADF);
	assert_int_equal(weir_fds_send(-1, ends, 1, WEIR_NEVER), -EBADF);
	assert_int_equal(weir_fds_send(ends[0], ends, 0, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_fds_send(ends[0], NULL, 1, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_fds_send(ends[0], many, WEIR_FDS_MAX + 1, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_fds_receive(ends[1], got, 0, WEIR_NEVER), -EINVAL);
	assert_int_equal(weir_fds_receive(ends[1], NULL, 1, WEIR_NEVER), -EINVAL);
	close_pair();
}

static void without_room_for_all_none_is_kept(void)
{
	struct rlimit before, few;
	int fds[8], got[8];
	unsigned open_before;

	open_pair(SOCK_STREAM);
	for (unsigned i = 0; i < 8; i++)
		fds[i] = ends[0];
	assert_int_equal(weir_fds_send(ends[0], fds, 8, WEIR_NEVER), 0);
	open_before = open_fds();
	getrlimit(RLIMIT_NOFILE, &before);
	/* The next free number and three more. */
	fds[0] = dup(ends[0]);
	few = (struct rlimit){ (rlim_t)fds[0] + 3, before.rlim_max };
	close(fds[0]);
	setrlimit(RLIMIT_NOFILE, &few);
	assert_int_equal(weir_fds_receive(ends[1], got, 8, WEIR_NEVER), -EPROTO);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(open_fds(), open_before);
	close_pair();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(descriptors_arrive_in_order_and_close_on_exec),
		ring_test(who_receives_waits),
		ring_test(what_is_not_as_it_should_be_is_closed),
		ring_test(wrong_calls_are_refused),
		ring_test(without_room_for_all_none_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
