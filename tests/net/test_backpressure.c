/* SPDX-License-Identifier: MIT */
/*
 * test_backpressure.c - a slow disk behind fast clients, from end to end.
 *
 *	producers --TCP--> receive buffers --handlers--> slots --> "disk"
 *
 * The disk is a FIFO for each connection, and nobody reads it at first. So writes fill the slots of
 * the ring, writers park in line, handlers stop reading, buffers are not given back, receives are
 * disarmed, windows close, and the producers stand still: all of it without an error and within
 * bounds. Then the disk recovers, everything flows, and every byte is there once and in order.
 *
 * Producers and disk are one thread outside of the runtime, which uses poll() and nothing of weir.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/weir_coro.h"
#include "net/conn.h"
#include "net/weir_listener.h"
#include "ring/weir_file.h"
#include "tests/support/ring_fixture.h"

#define CONNS_MAX 16
#define SOCKET_SIZE (32 << 10)	/* SO_SNDBUF, SO_RCVBUF; the kernel doubles them */
#define FIFO_SIZE 4096
#define HANDLER_SIZE 4096
#define STILL_SAMPLES 100	/* so many milliseconds without progress are a standstill */

static char root_path[] = "/tmp/weir-test-backpressure-XXXXXX";

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root_path) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root_path);
	return system(command);
}

static void fifo_path(char path[64], unsigned index)
{
	snprintf(path, 64, "%s/%u", root_path, index);
}

/* What the byte at offset of a connection's stream is. The first one says which it is. */
static char byte_at(unsigned conn, uint64_t offset)
{
	return (char)(offset ? offset * 31 + offset / 251 + conn * 7 : conn);
}

/* --- the world outside --- */

static struct {
	unsigned conns;
	uint64_t size;		/* bytes of each stream */
	char address[WEIR_ADDR_TEXT];
	bool released;		/* the disk works; atomic */
	uint64_t sent;		/* by all producers; atomic */
	bool wrong;		/* what the disk got is not what was sent */
	struct {
		int socket;
		int disk;
		uint64_t sent, got;
		int of;		/* the stream that comes to this disk; -1: not known yet */
	} ends[CONNS_MAX];
} outside;

static void produce(unsigned i)
{
	char buf[4096];
	size_t size = sizeof(buf);
	uint64_t left = outside.size - outside.ends[i].sent;
	ssize_t n;

	if (size > left)
		size = (size_t)left;
	for (size_t j = 0; j < size; j++)
		buf[j] = byte_at(i, outside.ends[i].sent + j);
	n = send(outside.ends[i].socket, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) {
		outside.wrong |= errno != EAGAIN;
		return;
	}
	outside.ends[i].sent += (uint64_t)n;
	__atomic_add_fetch(&outside.sent, (uint64_t)n, __ATOMIC_RELAXED);
	if (outside.ends[i].sent == outside.size)
		shutdown(outside.ends[i].socket, SHUT_WR);
}

/* Returns whether the stream has ended. */
static bool consume(unsigned i)
{
	char buf[65536];
	ssize_t n = read(outside.ends[i].disk, buf, sizeof(buf));

	if (n < 0)
		return false;
	if (n > 0 && outside.ends[i].of < 0)
		outside.ends[i].of = buf[0];
	for (ssize_t j = 0; j < n; j++)
		outside.wrong |= buf[j] != byte_at((unsigned)outside.ends[i].of,
						   outside.ends[i].got + (uint64_t)j);
	outside.ends[i].got += (uint64_t)n;
	return n == 0 && outside.ends[i].got > 0;
}

static void *run_outside(void *arg)
{
	unsigned open = outside.conns;

	(void)arg;
	while (open) {
		struct pollfd fds[2 * CONNS_MAX];
		bool released = __atomic_load_n(&outside.released, __ATOMIC_ACQUIRE);

		for (unsigned i = 0; i < outside.conns; i++) {
			bool sends = outside.ends[i].sent < outside.size;
			bool reads = released && outside.ends[i].disk >= 0;

			fds[2 * i] = (struct pollfd){ sends ? outside.ends[i].socket : -1, POLLOUT,
						      0 };
			fds[2 * i + 1] =
				(struct pollfd){ reads ? outside.ends[i].disk : -1, POLLIN, 0 };
		}
		poll(fds, 2 * outside.conns, 1);
		for (unsigned i = 0; i < outside.conns; i++) {
			if (fds[2 * i].revents)
				produce(i);
			if (fds[2 * i + 1].revents && consume(i)) {
				close(outside.ends[i].disk);
				outside.ends[i].disk = -1;
				open--;
			}
		}
	}
	return NULL;
}

static void connect_producers(void)
{
	struct weir_addr addr;
	const int size = SOCKET_SIZE;

	assert_int_equal(weir_addr_parse(outside.address, &addr, NULL), 0);
	for (unsigned i = 0; i < outside.conns; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_true(fd >= 0);
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		assert_int_equal(connect(fd, &addr.sock.any, addr.size), 0);
		outside.ends[i].socket = fd;
		outside.ends[i].of = -1;
	}
}

static void make_disks(void)
{
	char path[64];

	for (unsigned i = 0; i < outside.conns; i++) {
		fifo_path(path, i);
		assert_int_equal(mkfifo(path, 0600), 0);
		outside.ends[i].disk = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		assert_true(outside.ends[i].disk >= 0);
		assert_true(fcntl(outside.ends[i].disk, F_SETPIPE_SZ, FIFO_SIZE) >= FIFO_SIZE);
	}
}

/* --- the service --- */

static struct {
	struct weir_listener *listener;
	unsigned handlers;	/* that ever began */
	unsigned ended;
	int error;
	unsigned dry;		/* receives that the kernel ended for want of a buffer */
	unsigned lent_high;
} service;

static int store(struct weir_conn *conn, struct weir_file *file)
{
	char buf[HANDLER_SIZE];
	ssize_t n, written;

	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0) {
		for (ssize_t done = 0; done < n; done += written) {
			written = weir_file_write(file, buf + done, (size_t)(n - done), -1);
			if (written < 0)
				return (int)written;
		}
	}
	return (int)n;
}

static void handle(struct weir_conn *conn, void *arg)
{
	const struct weir_open_opts opts = { .flags = O_WRONLY };
	struct weir_file *file;
	char path[64];
	int r;

	(void)arg;
	fifo_path(path, service.handlers++);
	r = weir_file_open(NULL, path, &opts, &file);
	if (!r) {
		r = store(conn, file);
		weir_file_close(file);
	}
	service.error = service.error ? service.error : r;
	service.ended++;
}

static void listening(struct weir_listener *listener, void *arg)
{
	(void)arg;
	service.listener = listener;
	strcpy(outside.address, weir_listener_address(listener));
}

static int serve(void *arg)
{
	const struct weir_serve_opts opts = { .on_listen = listening };

	return weir_serve("tcp://127.0.0.1:0", &opts, handle, arg);
}

/* The receive buffer of what is accepted is the listening socket's. */
static int listen_small(struct weir_kernel *kernel, int fd, int backlog)
{
	const int size = SOCKET_SIZE;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return host_kernel()->ops->listen(kernel, fd, backlog);
}

static int watching_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			  unsigned wait, unsigned flags, const void *arg, size_t size)
{
	const struct weir_kernel_ops *real = host_kernel()->ops;
	const struct io_uring_cq *cq = &uring->cq;
	int r = real->ring_enter(kernel, uring, submit, wait, flags, arg, size);

	for (unsigned i = *cq->khead; i != io_uring_smp_load_acquire(cq->ktail); i++)
		service.dry += cq->cqes[i & cq->ring_mask].res == -ENOBUFS;
	return r;
}

/* --- the story --- */

static struct weir_ring_info ring_info(void)
{
	struct weir_ring_info info;

	assert_int_equal(weir_ring_info(&info), 0);
	if (info.bufs_lent > service.lent_high)
		service.lent_high = info.bufs_lent;
	return info;
}

static uint64_t sent_so_far(void)
{
	return __atomic_load_n(&outside.sent, __ATOMIC_RELAXED);
}

/*
 * With buffers for everybody all have got as far as the disk: the slots are out, the others park
 * in line, and nobody receives (what is armed is the accept). Else some wait for a buffer, perhaps
 * before they have begun.
 */
static bool has_jammed(const struct weir_ring_info *info)
{
	if (service.dry)
		return info->inflight > 0 && info->bufs_lent > 0;
	return service.handlers == outside.conns && info->inflight == info->depth &&
	       info->parked == outside.conns - info->depth && info->armed == 1;
}

/* Until the producers have not moved for a while. Returns what they had sent. */
static uint64_t wait_for_standstill(void)
{
	uint64_t sent = 0;

	for (unsigned still = 0; still < STILL_SAMPLES; still++) {
		struct weir_ring_info info;

		assert_int_equal(weir_sleep(WEIR_MS), 0);
		info = ring_info();
		if (!has_jammed(&info) || sent_so_far() != sent)
			still = 0;
		sent = sent_so_far();
	}
	return sent;
}

static void everything_stands_still(void)
{
	uint64_t sent = wait_for_standstill();
	struct weir_ring_info info = ring_info();

	assert_int_equal(service.error, 0);
	assert_int_equal(service.ended, 0);
	assert_true(info.bufs_lent > 0 && info.bufs_lent <= info.bufs);
	/* The producers were stopped by their windows, far from their ends. */
	assert_true(sent < outside.conns * outside.size / 2);
	assert_true(sent <= outside.conns * (4 * SOCKET_SIZE + FIFO_SIZE + HANDLER_SIZE) +
				    (uint64_t)info.bufs * weir__ring_self()->bufs.size);
}

static void everything_flows(pthread_t thread)
{
	__atomic_store_n(&outside.released, true, __ATOMIC_RELEASE);
	while (service.ended < outside.conns) {
		assert_int_equal(weir_sleep(WEIR_MS), 0);
		ring_info();
	}
	pthread_join(thread, NULL);
	assert_int_equal(service.error, 0);
	assert_false(outside.wrong);
	for (unsigned i = 0; i < outside.conns; i++) {
		assert_int_equal(outside.ends[i].got, outside.size);
		close(outside.ends[i].socket);
	}
}

static int story(void *arg)
{
	struct weir_coro *server;
	struct weir_ring_info info;
	pthread_t thread;

	(void)arg;
	make_disks();
	assert_int_equal(weir_coro_spawn(NULL, serve, NULL, &server), 0);
	assert_int_equal(weir_yield(), 0);
	connect_producers();
	assert_int_equal(pthread_create(&thread, NULL, run_outside, NULL), 0);
	everything_stands_still();
	everything_flows(thread);
	weir_listener_stop(service.listener);
	assert_int_equal(weir_coro_join(server, WEIR_NEVER, NULL), 0);
	info = ring_info();
	assert_int_equal(info.bufs_lent, 0);
	assert_int_equal(info.inflight, 0);
	assert_int_equal(info.parked, 0);
	assert_int_equal(info.cq_overflow, 0);
	assert_int_equal(weir__ring_self()->stale, 0);
	return 0;
}

static void tell(unsigned conns, unsigned depth, unsigned bufs, uint64_t size)
{
	struct ring_fixture fixture = ring_fixture_defaults();
	struct weir_kernel_ops ops = *host_kernel()->ops;
	struct weir_kernel kernel = { .ops = &ops };

	memset(&outside, 0, sizeof(outside));
	memset(&service, 0, sizeof(service));
	outside.conns = conns;
	outside.size = size;
	ops.listen = listen_small;
	ops.ring_enter = watching_enter;
	fixture.ring.kernel = &kernel;
	fixture.ring.depth = depth;
	fixture.ring.bufs = bufs;
	fixture.ring.buf_size = 1024;
	assert_int_equal(on_ring_with(&fixture, story, NULL), 0);
	assert_int_equal(remove_root(NULL), 0);
	assert_int_equal(mkdir(root_path, 0700), 0);
}

/* What the kernel can take in one enter, before a cancel works: 20 items of 33 receives. */
#define BURST (20 * 33)

static void a_slow_disk_slows_the_producers_before_buffers_run_out(void **state)
{
	(void)state;
	tell(4, 2, 1024, 2 << 20);
	assert_int_equal(service.dry, 0);
	assert_true(service.lent_high <= 4 * 16 + BURST);
	assert_true(service.lent_high < 1024 - 1024 / 8);
}

/* Far fewer than everybody's quota: some starve, and all are served in the end. */
static void a_slow_disk_behind_too_few_buffers_loses_nothing(void **state)
{
	(void)state;
	tell(CONNS_MAX, 8, 64, 512 << 10);
	assert_true(service.lent_high <= 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_disk_slows_the_producers_before_buffers_run_out),
		cmocka_unit_test(a_slow_disk_behind_too_few_buffers_loses_nothing),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
