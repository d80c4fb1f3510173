/* SPDX-License-Identifier: MIT */
/*
 * bare_uring.h - the ring of the bare io_uring servers: what is known to be fast, by hand.
 *
 * One ring for one thread, completions run when we ask for them (DEFER_TASKRUN), its fd
 * registered. Multishot accept into direct descriptors; multishot receive from a ring of
 * buffers. One system call a turn submits and waits; with spin_us it looks for that long
 * before it sleeps.
 *
 * Buffers lie one cache line further apart than they are long: a stride of 4 KiB would put
 * the first line of each, the only one that a small message touches, into the same few sets
 * of the cache.
 */
#ifndef WEIR_BENCH_BARE_URING_H
#define WEIR_BENCH_BARE_URING_H

#include <liburing.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/bench/bare.h"

#define BARE_SQ 1024
#define BARE_CQ 8192
#define BARE_CONNS_MAX 16384
#define BARE_GROUP 1

enum bare_kind { BARE_ACCEPT, BARE_RECV, BARE_SEND, BARE_CLOSE };

static struct io_uring ring;
static struct io_uring_buf_ring *buf_ring;
static char *buf_memory;
static size_t buf_stride;
static unsigned buf_count, buf_size, bufs_given; /* given: back, since the last advance */
static unsigned conn_count_max;
static int listener;
static bool accept_paused;				/* the table of descriptors is full */
static unsigned starved[BARE_CONNS_MAX], starved_count; /* found no buffer */

static inline char *bare_buf(unsigned id)
{
	return buf_memory + id * buf_stride;
}

static inline struct io_uring_sqe *bare_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	while (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static inline void bare_tag(struct io_uring_sqe *sqe, enum bare_kind kind, unsigned conn)
{
	sqe->user_data = (uint64_t)kind << 32 | conn;
}

static inline void bare_arm_accept(void)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
	bare_tag(sqe, BARE_ACCEPT, 0);
	accept_paused = false;
}

static inline void bare_arm_recv(unsigned conn)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_recv_multishot(sqe, (int)conn, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->buf_group = BARE_GROUP;
	bare_tag(sqe, BARE_RECV, conn);
}

static inline void bare_send(unsigned conn, const void *data, size_t size)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_send(sqe, (int)conn, data, size, MSG_WAITALL | MSG_NOSIGNAL);
	sqe->flags |= IOSQE_FIXED_FILE;
	bare_tag(sqe, BARE_SEND, conn);
}

static inline void bare_close(unsigned conn)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_close_direct(sqe, conn);
	bare_tag(sqe, BARE_CLOSE, conn);
}

static inline void bare_give_back(unsigned id)
{
	io_uring_buf_ring_add(buf_ring, bare_buf(id), buf_size, (unsigned short)id,
			      (int)buf_count - 1, (int)bufs_given++);
}

/* A multishot receive ended with res: true when it goes on, false when the stream ended. */
static inline bool bare_recv_goes_on(unsigned conn, int res)
{
	if (res == -ENOBUFS)
		starved[starved_count++] = conn;
	else if (res > 0)
		bare_arm_recv(conn);
	return res > 0 || res == -ENOBUFS;
}

static inline void bare_accepted(const struct io_uring_cqe *cqe)
{
	if (cqe->res >= 0)
		bare_arm_recv((unsigned)cqe->res);
	if (cqe->flags & IORING_CQE_F_MORE)
		return;
	if (cqe->res == -ENFILE)
		accept_paused = true;
	else
		bare_arm_accept();
}

static inline void bare_closed(void)
{
	if (accept_paused)
		bare_arm_accept();
}

/* At the end of a turn: buffers go back at once, and those who found none try again. */
static inline void bare_return_bufs(void)
{
	if (!bufs_given)
		return;
	io_uring_buf_ring_advance(buf_ring, (int)bufs_given);
	bufs_given = 0;
	while (starved_count)
		bare_arm_recv(starved[--starved_count]);
}

static inline int64_t bare_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Submits, and looks for completions for spin_us; true when there is something. */
static inline bool bare_spin(unsigned spin_us)
{
	int64_t end;

	io_uring_submit_and_get_events(&ring);
	if (io_uring_cq_ready(&ring))
		return true;
	end = bare_now_ns() + (int64_t)spin_us * 1000;
	while (bare_now_ns() < end) {
		if (IO_URING_READ_ONCE(*ring.sq.kflags) & IORING_SQ_TASKRUN)
			io_uring_get_events(&ring);
		if (io_uring_cq_ready(&ring))
			return true;
	}
	return false;
}

static inline void bare_submit_and_wait(unsigned spin_us)
{
	if (!spin_us || !bare_spin(spin_us))
		io_uring_submit_and_wait(&ring, 1);
}

static inline void bare_make_bufs(const struct bare_opts *opts)
{
	int r;

	buf_count = opts->buf_count;
	buf_size = opts->buf_size;
	buf_stride = ((size_t)buf_size + 63) / 64 * 64 + 64;
	buf_memory = mmap(NULL, buf_count * buf_stride, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf_memory == MAP_FAILED)
		bare_die("receive buffers", errno);
	buf_ring = io_uring_setup_buf_ring(&ring, buf_count, BARE_GROUP, 0, &r);
	if (!buf_ring)
		bare_die("buffer ring", -r);
	for (unsigned i = 0; i < buf_count; i++)
		bare_give_back(i);
	bare_return_bufs();
}

static inline void bare_make_ring(const struct bare_opts *opts)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = BARE_CQ,
	};
	int r = io_uring_queue_init_params(BARE_SQ, &ring, &params);

	if (r < 0)
		bare_die("io_uring_setup", -r);
	conn_count_max = bare_raise_nofile();
	if (conn_count_max > BARE_CONNS_MAX)
		conn_count_max = BARE_CONNS_MAX;
	r = io_uring_register_files_sparse(&ring, conn_count_max);
	if (r < 0)
		bare_die("direct descriptors", -r);
	r = io_uring_register_ring_fd(&ring);
	if (r < 0)
		bare_die("registered ring fd", -r);
	bare_make_bufs(opts);
	listener = bare_listen(opts->port_file, 0);
	bare_arm_accept();
}

#endif
