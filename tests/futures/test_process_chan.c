/* SPDX-License-Identifier: MIT */
/*
 * test_process_chan.c - channels between real processes: everything arrives once and in order, the
 * end is told however it comes, and a peer that lies or is killed at any step harms only itself.
 * Children are waited for by pid; nothing sleeps to be right.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/shm_ring.h"
#include "core/weir_coro.h"
#include "futures/weir_process_chan.h"
#include "ring/weir_run.h"

static int fds[WEIR_PROCESS_CHAN_FDS];
static struct weir_process_chan *chan;
static int (*body)(void);

#define check(x)                                                                                  \
	do {                                                                                      \
		if (!(x)) {                                                                       \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                   \
			return -EIO;                                                              \
		}                                                                                 \
	} while (0)

static int service(void *arg)
{
	(void)arg;
	return body();
}

/* Runs fn in a coroutine of a worker of this process. */
static int run(int (*fn)(void))
{
	const struct weir_opts opts = { .cores = 1, .no_signals = true, .stall_ns = -1 };

	body = fn;
	return weir_run(&opts, service, NULL);
}

static void make(uint32_t item_size, uint32_t capacity)
{
	const struct weir_process_chan_opts opts = { item_size, capacity };

	assert_int_equal(weir_process_chan_create(&opts, fds), 0);
}

static void close_fds(void)
{
	for (int i = 0; i < WEIR_PROCESS_CHAN_FDS; i++)
		close(fds[i]);
}

/* A process of its own that runs fn. */
static pid_t start(int (*fn)(void))
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(run(fn) ? 1 : 0);
	return pid;
}

static int await(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* fds are the channel's once it is attached: each process keeps those that it closes itself. */
static int attach(enum weir_process_chan_side side)
{
	int mine[WEIR_PROCESS_CHAN_FDS];

	for (int i = 0; i < WEIR_PROCESS_CHAN_FDS; i++)
		mine[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	return weir_process_chan_attach(mine, side, &chan);
}

/* --- values --- */

#define COUNT 5000

static int sends_all(void)
{
	uint64_t values[7];

	check(attach(WEIR_SENDS) == 0);
	for (uint64_t next = 0; next < COUNT;) {
		unsigned n = 1 + (unsigned)(next % 7);

		for (unsigned i = 0; i < n; i++)
			values[i] = next + i;
		check(weir_process_chan_send_n(chan, values, n, WEIR_NEVER) == (ssize_t)n);
		next += n;
	}
	return weir_process_chan_destroy(chan);
}

static int receives_all(void)
{
	uint64_t values[5], next = 0;
	ssize_t n;

	check(attach(WEIR_RECEIVES) == 0);
	while ((n = weir_process_chan_receive_n(chan, values, 5, WEIR_NEVER)) > 0)
		for (ssize_t i = 0; i < n; i++)
			check(values[i] == next++);
	check(n == -EPIPE && next >= COUNT);
	return weir_process_chan_destroy(chan);
}

static void everything_arrives_once_and_in_order(void **state)
{
	static const uint32_t capacities[] = { 1, 8, 1024 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		pid_t pid;

		make(sizeof(uint64_t), capacities[i]);
		pid = start(sends_all);
		assert_int_equal(run(receives_all), 0);
		assert_int_equal(await(pid), 0);
		close_fds();
		/* And the other way round. */
		make(sizeof(uint64_t), capacities[i]);
		pid = start(receives_all);
		assert_int_equal(run(sends_all), 0);
		assert_int_equal(await(pid), 0);
		close_fds();
	}
}

/* --- both ends in one process --- */

static struct weir_process_chan *sender, *receiver;

static int open_both(void)
{
	check(attach(WEIR_SENDS) == 0);
	sender = chan;
	check(attach(WEIR_RECEIVES) == 0);
	receiver = chan;
	return 0;
}

static int bounds(void)
{
	struct weir_process_chan_info info;
	uint32_t value = 0, got = 9;

	check(open_both() == 0);
	for (value = 0; value < 4; value++)
		check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_process_chan_send(sender, &value, 0) == -ETIMEDOUT);
	check(weir_process_chan_send(sender, &value, weir_in(WEIR_MS)) == -ETIMEDOUT);
	check(weir_process_chan_info(sender, &info) == 0);
	check(info.count == 4 && info.capacity == 4 && info.item_size == 4);
	check(info.generation == 1 && info.peer_pid == getpid() && !info.peer_is_gone);
	for (value = 0; value < 4; value++)
		check(weir_process_chan_receive(receiver, &got, 0) == 0 && got == value);
	check(weir_process_chan_receive(receiver, &got, 0) == -ETIMEDOUT);
	check(weir_process_chan_send(receiver, &value, 0) == -EINVAL);
	check(weir_process_chan_receive(sender, &got, 0) == -EINVAL);
	/* What is inside is received after a close, then it is over. */
	check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_process_chan_close(sender) == 0 && weir_process_chan_close(sender) == 0);
	check(weir_process_chan_send(sender, &value, 0) == -EPIPE);
	check(weir_process_chan_receive(receiver, &got, WEIR_NEVER) == 0);
	check(weir_process_chan_receive(receiver, &got, WEIR_NEVER) == -EPIPE);
	check(weir_process_chan_destroy(sender) == 0);
	check(weir_process_chan_destroy(receiver) == 0);
	return weir_process_chan_destroy(NULL);
}

static void the_bound_holds_and_a_close_comes_after_what_was_sent(void **state)
{
	(void)state;
	make(4, 3);	/* four: a power of two */
	assert_int_equal(run(bounds), 0);
	close_fds();
}

static int receive_one(void *arg)
{
	uint32_t value;

	(void)arg;
	return weir_process_chan_receive(receiver, &value, WEIR_NEVER);
}

static int waits(void)
{
	uint32_t value = 1;
	struct weir_coro *coro;
	int res;

	check(open_both() == 0);
	check(weir_coro_spawn(NULL, receive_one, NULL, &coro) == 0);
	weir_sleep(WEIR_MS);
	check(weir_process_chan_receive(receiver, &value, 0) == -EBUSY);
	check(weir_process_chan_destroy(receiver) == -EBUSY);
	check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_coro_join(coro, WEIR_NEVER, &res) == 0 && res == 0);
	/* Cancelled; nothing is lost by it. */
	check(weir_coro_spawn(NULL, receive_one, NULL, &coro) == 0);
	weir_yield();
	weir_coro_cancel(coro);
	check(weir_coro_join(coro, WEIR_NEVER, &res) == 0 && res == -ECANCELED);
	check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_process_chan_receive(receiver, &value, WEIR_NEVER) == 0);
	/* A receiver that goes. */
	check(weir_process_chan_destroy(receiver) == 0);
	check(weir_process_chan_send(sender, &value, WEIR_NEVER) == -EPIPE);
	return weir_process_chan_destroy(sender);
}

static void waiting_is_for_one_and_may_be_cancelled(void **state)
{
	(void)state;
	make(4, 4);
	assert_int_equal(run(waits), 0);
	close_fds();
}

static int seats(void)
{
	struct weir_process_chan *first;
	uint32_t value = 5, got;

	check(open_both() == 0);
	check(attach(WEIR_SENDS) == -EBUSY);
	check(attach((enum weir_process_chan_side)7) == -EINVAL);
	check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_process_chan_close(sender) == 0);
	first = sender;
	/* Another takes the seat, and goes on where the first one was. */
	check(attach(WEIR_SENDS) == 0);
	sender = chan;
	value = 6;
	check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_process_chan_send(first, &value, 0) == -EPIPE);
	check(weir_process_chan_receive(receiver, &got, 0) == 0 && got == 5);
	check(weir_process_chan_receive(receiver, &got, 0) == 0 && got == 6);
	check(weir_process_chan_destroy(first) == 0);	/* does not close what is another's */
	check(weir_process_chan_send(sender, &value, 0) == 0);
	check(weir_process_chan_receive(receiver, &got, 0) == 0);
	check(weir_process_chan_destroy(sender) == 0);
	return weir_process_chan_destroy(receiver);
}

static void a_seat_is_taken_once_and_again_when_it_was_left(void **state)
{
	(void)state;
	make(4, 4);
	assert_int_equal(run(seats), 0);
	close_fds();
}

/* --- death --- */

static unsigned stop_at;	/* the child kills itself at this step */

static void step(unsigned number)
{
	if (number == stop_at)
		kill(getpid(), SIGKILL);
}

/* A sender by hand that puts 3 items, and dies at any step of it. */
static int dies_sending(void)
{
	struct weir__shm_ring ring;
	struct weir__shm_header *header;
	size_t size = weir__shm_size(8, 4);

	header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	check(header != MAP_FAILED);
	step(0);
	check(weir__shm_attach(&ring, header, size, WEIR__SHM_SENDER, (uint32_t)getpid()) == 0);
	step(1);
	for (uint64_t i = 0; i < 3; i++) {
		check(weir__shm_ready(&ring, 1) > 0);
		step(2 + 3 * (unsigned)i);
		weir__shm_move(&ring, (char *)&i, 1);
		step(3 + 3 * (unsigned)i);
		if (weir__shm_publish(&ring)) {
			step(4 + 3 * (unsigned)i);	/* the receiver sleeps on */
			check(write(fds[1], "", 1) == 1);
		}
	}
	step(11);
	kill(getpid(), SIGKILL);
	return 0;
}

static uint64_t received;

/* The victim has begun: who comes first attaches. */
static int receives_until_it_is_dead(void)
{
	uint64_t value;
	int r;

	received = 0;
	check(attach(WEIR_RECEIVES) == 0);
	for (;;) {
		r = weir_process_chan_receive(chan, &value, weir_in(20 * WEIR_MS));
		if (r == -ETIMEDOUT && stop_at == 0)
			break;		/* it died before anybody could know of it */
		check(r == 0 || r == -EPIPE || r == -ETIMEDOUT);
		if (r == -EPIPE)
			break;
		if (!r)
			check(value == received++);
	}
	return weir_process_chan_destroy(chan);
}

static void a_sender_killed_at_any_step_leaves_what_it_had_sent(void **state)
{
	(void)state;
	for (stop_at = 0; stop_at <= 11; stop_at++) {
		uint64_t published = stop_at < 4 ? 0 : (stop_at - 1) / 3;
		bool may_pass = stop_at >= 4 && (stop_at - 1) % 3 == 0;
		pid_t pid;

		make(8, 4);
		pid = start(dies_sending);
		assert_int_equal(run(receives_until_it_is_dead), 0);
		assert_true(WIFSIGNALED(await(pid)));
		/* Steps 4, 7, 10 are passed by when nobody sleeps there. */
		assert_true(received == published || (may_pass && received == 3));
		close_fds();
	}
}

static int fills_until_it_is_alone(void)
{
	uint64_t value = 0;
	int r = attach(WEIR_SENDS);

	check(r == 0);
	while ((r = weir_process_chan_send(chan, &value, WEIR_NEVER)) == 0)
		value++;
	check(r == -EPIPE);
	return weir_process_chan_destroy(chan);
}

static int takes_some_and_dies(void)
{
	uint64_t value;

	check(attach(WEIR_RECEIVES) == 0);
	for (unsigned i = 0; i < stop_at; i++)
		check(weir_process_chan_receive(chan, &value, WEIR_NEVER) == 0 && value == i);
	kill(getpid(), SIGKILL);
	return 0;
}

static void a_sender_that_waits_is_told_when_its_receiver_was_killed(void **state)
{
	(void)state;
	for (stop_at = 0; stop_at < 12; stop_at += 3) {
		pid_t pid;

		make(8, 4);
		pid = start(takes_some_and_dies);
		assert_int_equal(run(fills_until_it_is_alone), 0);
		assert_true(WIFSIGNALED(await(pid)));
		close_fds();
	}
}

static int sends_two_and_dies(void)
{
	uint64_t value = 0;

	check(attach(WEIR_SENDS) == 0);
	check(weir_process_chan_send(chan, &value, 0) == 0);
	value++;
	check(weir_process_chan_send(chan, &value, 0) == 0);
	kill(getpid(), SIGKILL);
	return 0;
}

static int takes_its_place(void)
{
	uint64_t value = 2, got;

	check(attach(WEIR_RECEIVES) == 0);
	receiver = chan;
	check(attach(WEIR_SENDS) == 0);
	sender = chan;
	check(weir_process_chan_send(sender, &value, 0) == 0);
	for (value = 0; value < 3; value++)
		check(weir_process_chan_receive(receiver, &got, WEIR_NEVER) == 0 && got == value);
	check(weir_process_chan_destroy(sender) == 0);
	return weir_process_chan_destroy(receiver);
}

static void another_process_goes_on_where_a_dead_one_was(void **state)
{
	(void)state;
	make(8, 4);
	assert_true(WIFSIGNALED(await(start(sends_two_and_dies))));
	assert_int_equal(run(takes_its_place), 0);
	close_fds();
}

/* --- lies --- */

static uint64_t seed = 1;

static uint32_t any(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 32);
}

static int is_lied_to(void)
{
	size_t size = weir__shm_size(8, 16);
	struct weir__shm_header *header =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	uint64_t values[16];

	check(header != MAP_FAILED);
	check(attach(WEIR_RECEIVES) == 0);
	for (unsigned i = 0; i < 3000; i++) {
		struct weir__shm_seat *seat = &header->seats[any() % 2];
		ssize_t n;

		switch (any() % 6) {
		case 0:
			header->seats[0].index = any();
			break;
		case 1:
			header->seats[0].index = header->seats[1].index + any() % 20;
			break;
		case 2:
			seat->sleeps = any() % 3;
			break;
		case 3:
			header->item_size = any();
			header->capacity = any();
			break;
		case 4:
			header->seats[0].closed = any() % 2;
			break;
		default:
			header->seats[1].index = any();
		}
		n = weir_process_chan_receive_n(chan, values, 16, 0);
		check(n == -EPROTO || n == -EPIPE || n == -ETIMEDOUT || (n > 0 && n <= 16));
	}
	munmap(header, size);
	return weir_process_chan_destroy(chan);
}

static void a_peer_that_lies_is_an_error_and_no_more(void **state)
{
	(void)state;
	make(8, 16);
	assert_int_equal(run(is_lied_to), 0);
	close_fds();
}

static int is_made_deaf(void)
{
	uint64_t value;

	check(attach(WEIR_RECEIVES) == 0);
	check(shutdown(fds[2], SHUT_RDWR) == 0);
	check(weir_process_chan_receive(chan, &value, WEIR_NEVER) == -EPROTO);
	check(weir_process_chan_receive(chan, &value, WEIR_NEVER) == -EPROTO);
	return weir_process_chan_destroy(chan);
}

/* Else every wait would end at once, and the next begin. */
static void a_bell_that_was_shut_down_is_an_error(void **state)
{
	(void)state;
	make(8, 16);
	assert_int_equal(run(is_made_deaf), 0);
	close_fds();
}

static int wrong_memory(void)
{
	struct weir__shm_header *header;
	int good = fds[0];

	/* Not sealed. */
	fds[0] = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	check(ftruncate(fds[0], 65536) == 0);
	check(attach(WEIR_SENDS) == -EPROTO);
	/* Sealed, and nothing in it. */
	check(fcntl(fds[0], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
	check(attach(WEIR_SENDS) == -EPROTO);
	/* More items than there is memory for. */
	header = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	weir__shm_format(header, 8, 1u << 20);
	check(attach(WEIR_SENDS) == -EPROTO);
	weir__shm_format(header, 8, 12);
	check(attach(WEIR_SENDS) == -EPROTO);
	munmap(header, 65536);
	close(fds[0]);
	fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	check(attach(WEIR_SENDS) == -EPROTO);
	close(fds[0]);
	fds[0] = good;
	check(attach(WEIR_SENDS) == 0);
	return weir_process_chan_destroy(chan);
}

static void memory_that_is_none_of_ours_is_refused(void **state)
{
	const struct weir_process_chan_opts none = { 0, 4 }, huge = { 1 << 20, 1 << 20 };

	(void)state;
	assert_int_equal(weir_process_chan_create(&none, fds), -EINVAL);
	assert_int_equal(weir_process_chan_create(&huge, fds), -EINVAL);
	make(8, 4);
	assert_int_equal(weir_process_chan_attach(fds, WEIR_SENDS, &chan), -EDEADLK);
	assert_int_equal(run(wrong_memory), 0);
	close_fds();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_arrives_once_and_in_order),
		cmocka_unit_test(the_bound_holds_and_a_close_comes_after_what_was_sent),
		cmocka_unit_test(waiting_is_for_one_and_may_be_cancelled),
		cmocka_unit_test(a_seat_is_taken_once_and_again_when_it_was_left),
		cmocka_unit_test(a_sender_killed_at_any_step_leaves_what_it_had_sent),
		cmocka_unit_test(a_sender_that_waits_is_told_when_its_receiver_was_killed),
		cmocka_unit_test(another_process_goes_on_where_a_dead_one_was),
		cmocka_unit_test(a_peer_that_lies_is_an_error_and_no_more),
		cmocka_unit_test(a_bell_that_was_shut_down_is_an_error),
		cmocka_unit_test(memory_that_is_none_of_ours_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
