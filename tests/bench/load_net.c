/* SPDX-License-Identifier: MIT */
/*
 * load_net.c - the connections, on one ring: multishot receive, one send for each batch.
 *
 * At a fixed rate a batch has its moment in a schedule that no answer moves; when nobody is
 * idle at that moment it leaves late, and its latency counts from the moment. Without a rate
 * a connection's next batch is due when its last one was answered.
 *
 * Sends post a completion only when they are short or fail. Nothing else is needed: a batch
 * that was answered was sent, and its bytes never change.
 */
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/bench/load.h"

#define SQ 4096
#define CQ 32768
#define GROUP 1
#define BUF_BYTES (4u << 20) /* of receive buffers, at most; 64 buffers at least */
#define NS_PER_S 1000000000
#define STEP_NS 100000000 /* sleep no longer, to see that all is over */

enum kind { RECV, SEND };

struct load_counts load_counts;

static struct io_uring ring;
static struct io_uring_buf_ring *buf_ring;
static char *bufs;
static unsigned buf_count, bufs_given;
static size_t buf_stride;

static struct load_conn *conns;
static int *fds;

/* The schedule. Idle connections in a FIFO: everybody gets his turn. */
static bool starting;
static int64_t interval_ns, next_due_ns;
static unsigned *idle, idle_head, idle_count;

int64_t load_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static unsigned index_of(const struct load_conn *conn)
{
	return (unsigned)(conn - conns);
}

static struct io_uring_sqe *get_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	while (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static void arm_recv(struct load_conn *conn)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_recv_multishot(sqe, (int)index_of(conn), NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	sqe->user_data = (uint64_t)RECV << 32 | index_of(conn);
}

static void send_rest(struct load_conn *conn)
{
	struct io_uring_sqe *sqe = get_sqe();
	const char *from = load_batch + conn->at + (load_batch_size - conn->send_left);

	io_uring_prep_send(sqe, (int)index_of(conn), from, conn->send_left,
			   MSG_WAITALL | MSG_NOSIGNAL);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = (uint64_t)SEND << 32 | index_of(conn);
}

static void start_batch(struct load_conn *conn, int64_t due_ns)
{
	conn->due_ns = due_ns;
	conn->waiting = load_opts.depth;
	conn->send_left = load_batch_size;
	conn->got = 0;
	load_counts.waiting++;
	send_rest(conn);
}

void load_fail(struct load_conn *conn, const char *format, ...)
{
	va_list args;

	if (conn->dead)
		return;
	if (!load_counts.errors++) {
		fprintf(stderr, "load: connection %u: ", index_of(conn));
		va_start(args, format);
		vfprintf(stderr, format, args);
		va_end(args);
		fprintf(stderr, "\n");
	}
	conn->dead = true;
	load_counts.alive--;
	load_counts.waiting -= conn->waiting > 0;
	shutdown(fds[index_of(conn)], SHUT_RDWR);
}

static void push_idle(const struct load_conn *conn)
{
	idle[(idle_head + idle_count++) % load_opts.conns] = index_of(conn);
}

static struct load_conn *pop_idle(void)
{
	struct load_conn *conn = &conns[idle[idle_head]];

	idle_head = (idle_head + 1) % load_opts.conns;
	idle_count--;
	return conn;
}

static void batch_done(struct load_conn *conn, int64_t now)
{
	load_counts.waiting--;
	if (!load_opts.http)
		conn->at = (conn->at + load_batch_size) % LOAD_PERIOD;
	if (starting && !interval_ns)
		start_batch(conn, now);
	else
		push_idle(conn);
}

static void give_back(unsigned id)
{
	io_uring_buf_ring_add(buf_ring, bufs + id * buf_stride, load_opts.buf_size,
			      (unsigned short)id, (int)buf_count - 1, (int)bufs_given++);
}

static void recv_done(struct load_conn *conn, const struct io_uring_cqe *cqe, int64_t now)
{
	if (cqe->res > 0) {
		unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		unsigned answers = load_answer(conn, bufs + id * buf_stride, (uint32_t)cqe->res);

		give_back(id);
		if (answers) {
			load_record(now - conn->due_ns, answers);
			conn->waiting -= answers;
			if (!conn->waiting && !conn->dead)
				batch_done(conn, now);
		}
	}
	if (cqe->flags & IORING_CQE_F_MORE)
		return;
	if (cqe->res > 0 || cqe->res == -ENOBUFS)
		arm_recv(conn);
	else
		load_fail(conn, "the server ended it: %s", cqe->res ? strerror(-cqe->res) : "EOF");
}

static void send_done(struct load_conn *conn, int res)
{
	if (res <= 0) {
		load_fail(conn, "send: %s", strerror(-res));
		return;
	}
	conn->send_left -= (uint32_t)res;
	if (conn->send_left && !conn->dead)
		send_rest(conn);
}

static void reap(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	int64_t now = load_now_ns();

	io_uring_for_each_cqe(&ring, head, cqe)
	{
		struct load_conn *conn = &conns[(uint32_t)cqe->user_data];

		if (cqe->user_data >> 32 == RECV)
			recv_done(conn, cqe, now);
		else
			send_done(conn, cqe->res);
		count++;
	}
	io_uring_cq_advance(&ring, count);
	if (bufs_given)
		io_uring_buf_ring_advance(buf_ring, (int)bufs_given);
	bufs_given = 0;
}

/* Submits, then looks until there is a completion or it is until_ns. */
static bool look(int64_t now, int64_t until_ns)
{
	int64_t begin = now;
	bool found;

	io_uring_submit_and_get_events(&ring);
	while (!(found = io_uring_cq_ready(&ring)) && now < until_ns) {
		if (IO_URING_READ_ONCE(*ring.sq.kflags) & IORING_SQ_TASKRUN)
			io_uring_get_events(&ring);
		now = load_now_ns();
	}
	load_counts.spun_ns += now - begin;
	return found;
}

static void sleep_until(int64_t now, int64_t until_ns)
{
	int64_t ns = until_ns > now ? until_ns - now : 0;
	struct __kernel_timespec ts = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
	struct io_uring_cqe *cqe;

	io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &ts, NULL);
}

/* Starts what is due, waits, takes what came. until_ns: when to be back. */
static void turn(int64_t now, int64_t until_ns)
{
	int64_t spin_ns = (int64_t)load_opts.spin_us * 1000;

	while (starting && interval_ns && next_due_ns <= now && idle_count) {
		struct load_conn *conn = pop_idle();

		if (conn->dead)
			continue;
		start_batch(conn, next_due_ns);
		next_due_ns += interval_ns;
	}
	if (starting && interval_ns && idle_count && next_due_ns < until_ns)
		until_ns = next_due_ns;
	if (until_ns > now + STEP_NS)
		until_ns = now + STEP_NS;
	if (!spin_ns || !look(now, until_ns < now + spin_ns ? until_ns : now + spin_ns))
		sleep_until(load_now_ns(), until_ns);
	reap();
}

void load_run(double seconds)
{
	int64_t now = load_now_ns(), end_ns = now + (int64_t)(seconds * NS_PER_S);

	for (; now < end_ns && load_counts.alive; now = load_now_ns())
		turn(now, end_ns);
}

void load_drain(double limit_s)
{
	int64_t now = load_now_ns(), end_ns = now + (int64_t)(limit_s * NS_PER_S);

	starting = false;
	for (; now < end_ns && load_counts.waiting; now = load_now_ns())
		turn(now, end_ns);
}

unsigned load_greet(double limit_s)
{
	int64_t now = load_now_ns();

	for (unsigned i = 0; i < load_opts.conns; i++)
		start_batch(&conns[i], now);
	load_drain(limit_s);
	return load_opts.conns - load_counts.waiting - (unsigned)load_counts.errors;
}

void load_start(void)
{
	int64_t now = load_now_ns();

	starting = true;
	if (load_opts.rate > 0)
		interval_ns = (int64_t)(1e9 * load_opts.depth / load_opts.rate);
	next_due_ns = now;
	while (!interval_ns && idle_count) {
		struct load_conn *conn = pop_idle();

		if (!conn->dead)
			start_batch(conn, now);
	}
}

static void make_bufs(void)
{
	int r;

	for (buf_count = 1024; buf_count > 64 && buf_count * load_opts.buf_size > BUF_BYTES;)
		buf_count /= 2;
	buf_stride = ((size_t)load_opts.buf_size + 63) / 64 * 64 + 64;
	bufs = malloc(buf_count * buf_stride);
	buf_ring = io_uring_setup_buf_ring(&ring, buf_count, GROUP, 0, &r);
	if (!bufs || !buf_ring)
		load_die("no memory for receive buffers");
	for (unsigned i = 0; i < buf_count; i++)
		give_back(i);
	io_uring_buf_ring_advance(buf_ring, (int)bufs_given);
	bufs_given = 0;
}

static void make_ring(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = CQ,
	};
	int r = io_uring_queue_init_params(SQ, &ring, &params);

	if (r < 0)
		load_die("io_uring: %s", strerror(-r));
	io_uring_register_ring_fd(&ring);
	make_bufs();
}

static int connect_one(void)
{
	/* Closed with RST: thousands of short runs leave no TIME_WAIT behind. */
	struct linger linger = { .l_onoff = 1 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&load_opts.addr, sizeof(load_opts.addr)) ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		return -errno;
	return fd;
}

void load_connect_all(void)
{
	struct rlimit limit;
	int r;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	prctl(PR_SET_TIMERSLACK, 1);
	conns = calloc(load_opts.conns, sizeof(*conns));
	idle = calloc(load_opts.conns, sizeof(*idle));
	fds = calloc(load_opts.conns, sizeof(*fds));
	if (!conns || !idle || !fds)
		load_die("no memory for connections");
	make_ring();
	for (unsigned i = 0; i < load_opts.conns; i++) {
		fds[i] = connect_one();
		if (fds[i] < 0)
			load_die("connection %u of %u: %s", i, load_opts.conns, strerror(-fds[i]));
		if (!load_opts.http)
			conns[i].at = (uint32_t)(i * UINT64_C(2531) % LOAD_PERIOD);
	}
	load_counts.alive = load_opts.conns;
	r = io_uring_register_files(&ring, fds, load_opts.conns);
	if (r < 0)
		load_die("registered files: %s", strerror(-r));
	for (unsigned i = 0; i < load_opts.conns; i++)
		arm_recv(&conns[i]);
}
