/* SPDX-License-Identifier: MIT */
/*
 * raw.c - a scenario of the simulator's own: raw SQEs of all kinds, in chains, with link
 * timeouts, cancelled at random, and what io_uring promises of any of them: each SQE has
 * exactly one final CQE, a zero-copy send one NOTIF more, and nothing comes after that.
 *
 * It is what reaches the faults that weir's own code has no use for: links, datagrams.
 */
#include "ring/sim/raw.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "ring/kernel.h"

#define OPS 64
#define ROUNDS 120
#define BUFS 16
#define BUF_SIZE 128
#define GROUP 1

enum { OPEN_FINAL = 1, OPEN_NOTIF = 2 };

struct op {
	unsigned open;		/* what it still waits for */
	bool is_zc;
	bool skips;		/* CQE_SKIP_SUCCESS: a success is not heard of */
	char data[256];
	struct iovec iov;
	struct msghdr msg;
	struct __kernel_timespec ts;
	uint32_t word;
};

struct raw {
	struct weir_kernel *kernel;
	struct io_uring ring;
	struct io_uring_buf_ring *bufs;
	char *buf_memory;
	unsigned bufs_tail;
	int udp[2], tcp[2], file;
	struct sockaddr_in peer;	/* a datagram socket of the other host */
	struct op ops[OPS];
	unsigned open;
	uint64_t word;
};

static struct raw raws[2];
static bool is_done[2];

/* --- results --- */

static void give_buf(struct raw *raw, unsigned id)
{
	io_uring_buf_ring_add(raw->bufs, raw->buf_memory + id * BUF_SIZE, BUF_SIZE,
			      (unsigned short)id, io_uring_buf_ring_mask(BUFS), 0);
	io_uring_buf_ring_advance(raw->bufs, 1);
}

static void end_part(struct raw *raw, struct op *op, unsigned part)
{
	weir_sim_checkf(op->open & part, "each SQE has one final CQE",
			"op %td had a second %s", op - raw->ops,
			part == OPEN_FINAL ? "final CQE" : "NOTIF");
	op->open &= ~part;
	if (!op->open)
		raw->open--;
}

static void take(struct raw *raw, const struct io_uring_cqe *cqe)
{
	struct op *op;

	if (cqe->flags & IORING_CQE_F_BUFFER)
		give_buf(raw, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	if (cqe->user_data >= OPS)	/* a cancel's, a message's */
		return;
	op = &raw->ops[cqe->user_data];
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		weir_sim_check(op->is_zc, "only zero-copy sends have a NOTIF");
		end_part(raw, op, OPEN_NOTIF);
	} else if (!(cqe->flags & IORING_CQE_F_MORE)) {
		/* No F_MORE: the kernel gave up before it used the buffer. */
		if (op->open & OPEN_NOTIF)
			end_part(raw, op, OPEN_NOTIF);
		end_part(raw, op, OPEN_FINAL);
	} else if (op->is_zc) {
		end_part(raw, op, OPEN_FINAL);
	}
	weir_sim_sometimes(cqe->res == -ECANCELED, "raw: a chain is broken");
	weir_sim_sometimes(cqe->res == -ETIME, "raw: a link timeout fires");
}

static int turn(struct raw *raw, unsigned wait, int64_t ns)
{
	struct __kernel_timespec ts = { .tv_sec = ns / WEIR_S, .tv_nsec = ns % WEIR_S };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };
	struct io_uring *ring = &raw->ring;
	unsigned pending = ring->sq.sqe_tail - *ring->sq.khead;
	unsigned head;
	int r;

	io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
	r = raw->kernel->ops->ring_enter(raw->kernel, ring, pending, wait,
					IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
					sizeof(arg));
	for (head = *ring->cq.khead; head != *ring->cq.ktail; head++)
		take(raw, &ring->cq.cqes[head & ring->cq.ring_mask]);
	io_uring_smp_store_release(ring->cq.khead, head);
	return r;
}

static struct io_uring_sqe *get_sqe(struct raw *raw)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);

	while (!sqe) {
		turn(raw, 0, 0);
		sqe = io_uring_get_sqe(&raw->ring);
	}
	return sqe;
}

/* --- operations --- */

static void prep_datagram(struct raw *raw, struct io_uring_sqe *sqe, struct op *op, bool is_send)
{
	unsigned side = weir_sim_choose("raw-side", 2);

	op->iov = (struct iovec){ op->data, 1 + weir_sim_choose("raw-size", sizeof(op->data)) };
	if (op->iov.iov_len > sizeof(op->data))
		op->iov.iov_len = sizeof(op->data);
	op->msg = (struct msghdr){ .msg_iov = &op->iov, .msg_iovlen = 1 };
	if (!is_send) {
		io_uring_prep_recvmsg(sqe, raw->udp[side], &op->msg, 0);
		return;
	}
	op->msg.msg_name = &raw->peer;
	op->msg.msg_namelen = sizeof(raw->peer);
	io_uring_prep_sendmsg(sqe, raw->udp[side], &op->msg, MSG_NOSIGNAL);
}

static void prep(struct raw *raw, struct io_uring_sqe *sqe, struct op *op)
{
	unsigned size = 1 + weir_sim_choose("raw-size", sizeof(op->data));
	unsigned side = weir_sim_choose("raw-side", 2);

	size = size > sizeof(op->data) ? sizeof(op->data) : size;
	switch (weir_sim_choose("raw-op", 12)) {
	case 0:
		io_uring_prep_nop(sqe);
		break;
	case 1:
		prep_datagram(raw, sqe, op, true);
		break;
	case 2:
		prep_datagram(raw, sqe, op, false);
		break;
	case 3:
		io_uring_prep_send(sqe, raw->tcp[side], op->data, size, MSG_NOSIGNAL | MSG_WAITALL);
		break;
	case 4:
		io_uring_prep_recv(sqe, raw->tcp[side], op->data, size, MSG_WAITALL);
		break;
	case 5:
		op->is_zc = true;
		io_uring_prep_send_zc(sqe, raw->tcp[side], op->data, size, MSG_NOSIGNAL, 0);
		break;
	case 6:
		io_uring_prep_recv_multishot(sqe, raw->tcp[side], NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = GROUP;
		break;
	case 7:
		io_uring_prep_write(sqe, raw->file, op->data, size, size);
		break;
	case 8:
		io_uring_prep_read(sqe, raw->file, op->data, sizeof(op->data), 0);
		break;
	case 9:
		io_uring_prep_fsync(sqe, raw->file, IORING_FSYNC_DATASYNC);
		break;
	case 10:
		io_uring_prep_poll_multishot(sqe, raw->tcp[side], POLLIN);
		break;
	default:
		op->ts.tv_nsec = 1 + weir_sim_choose("raw-timeout", 50000000);
		io_uring_prep_timeout(sqe, &op->ts, 0, IORING_TIMEOUT_ETIME_SUCCESS);
		break;
	}
}

static struct op *free_op(struct raw *raw)
{
	for (unsigned i = 0; i < OPS; i++)
		if (!raw->ops[i].open)
			return &raw->ops[i];
	return NULL;
}

static struct io_uring_sqe *begin(struct raw *raw, struct op *op)
{
	struct io_uring_sqe *sqe = get_sqe(raw);

	memset(op, 0, sizeof(*op));
	op->open = OPEN_FINAL;
	raw->open++;
	return sqe;
}

static void end_begin(struct raw *raw, struct io_uring_sqe *sqe, struct op *op, unsigned flags)
{
	if (op->is_zc)
		op->open |= OPEN_NOTIF;
	sqe->flags |= flags;
	sqe->user_data = (uint64_t)(op - raw->ops);
}

static void watch(struct raw *raw, unsigned flags)
{
	struct op *op = free_op(raw);
	struct io_uring_sqe *sqe;

	if (!op)
		return;
	sqe = begin(raw, op);
	op->ts.tv_nsec = 1 + weir_sim_choose("raw-timeout", 20000000);
	io_uring_prep_link_timeout(sqe, &op->ts, 0);
	end_begin(raw, sqe, op, flags);
}

/* One to three operations, linked softly or hard, each perhaps with a link timeout. */
static void chain(struct raw *raw)
{
	unsigned length = 1 + weir_sim_choose("raw-length", 3);
	unsigned link = weir_sim_choose("raw-hard", 4) ? IOSQE_IO_LINK : IOSQE_IO_HARDLINK;
	unsigned room = raw->ring.sq.ring_entries - (raw->ring.sq.sqe_tail - *raw->ring.sq.khead);

	/* A chain does not outlive its submission. */
	if (room < 2 * length)
		turn(raw, 0, 0);
	for (unsigned i = 0; i < length && raw->open + 2 <= OPS; i++) {
		bool watched = weir_sim_choose("raw-watch", 3) == 1 && raw->open + 3 <= OPS;
		bool goes_on = i + 1 < length && raw->open + 4 + watched <= OPS;
		struct op *op = free_op(raw);
		struct io_uring_sqe *sqe = begin(raw, op);

		prep(raw, sqe, op);
		end_begin(raw, sqe, op, watched || goes_on ? link : 0);
		if (watched)
			watch(raw, goes_on ? link : 0);
	}
}

static void cancel(struct raw *raw, uint64_t user_data, unsigned flags)
{
	struct io_uring_sqe *sqe = get_sqe(raw);

	io_uring_prep_cancel64(sqe, user_data, (int)flags);
	sqe->user_data = OPS;
}

/* --- the world --- */

static int open_datagrams(struct raw *raw)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	raw->peer.sin_family = AF_INET;
	raw->peer.sin_addr.s_addr = inet_addr(raw == raws ? "10.0.0.2" : "10.0.0.1");
	raw->peer.sin_port = htons(7000);
	for (unsigned i = 0; i < 2; i++) {
		int r = raw->kernel->ops->socket(raw->kernel, AF_INET, SOCK_DGRAM, 0);

		if (r < 0)
			return r;
		raw->udp[i] = r;
		any.sin_port = htons((uint16_t)(7000 + i));
		r = raw->kernel->ops->bind(raw->kernel, raw->udp[i], (void *)&any, sizeof(any));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Its result, before anything else is in flight. */
static int run_one(struct raw *raw, struct io_uring_sqe *sqe)
{
	struct io_uring *ring = &raw->ring;
	int res;

	sqe->user_data = OPS;
	io_uring_smp_store_release(ring->sq.ktail, ring->sq.sqe_tail);
	while (*ring->cq.khead == *ring->cq.ktail) {
		unsigned pending = ring->sq.sqe_tail - *ring->sq.khead;

		raw->kernel->ops->ring_enter(raw->kernel, ring, pending, 1, IORING_ENTER_GETEVENTS,
					    NULL, 0);
	}
	res = ring->cq.cqes[*ring->cq.khead & ring->cq.ring_mask].res;
	io_uring_smp_store_release(ring->cq.khead, *ring->cq.khead + 1);
	return res;
}

static int open_stream(struct raw *raw)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(7010) };
	struct weir_kernel *kernel = raw->kernel;
	struct io_uring_sqe *sqe;
	int listener = kernel->ops->socket(kernel, AF_INET, SOCK_STREAM, 0);
	int r;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0)
		return listener;
	r = kernel->ops->bind(kernel, listener, (void *)&addr, sizeof(addr));
	if (!r)
		r = kernel->ops->listen(kernel, listener, 4);
	if (!r)
		r = raw->tcp[0] = kernel->ops->socket(kernel, AF_INET, SOCK_STREAM, 0);
	if (r >= 0) {
		sqe = get_sqe(raw);
		io_uring_prep_connect(sqe, raw->tcp[0], (void *)&addr, sizeof(addr));
		r = run_one(raw, sqe);
	}
	if (r >= 0) {
		sqe = get_sqe(raw);
		io_uring_prep_accept(sqe, listener, NULL, NULL, 0);
		r = raw->tcp[1] = run_one(raw, sqe);
	}
	kernel->ops->close(kernel, listener);
	return r < 0 ? r : 0;
}

static int open_ring(struct raw *raw)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP,
	};
	struct io_uring_buf_reg reg = { .ring_entries = BUFS, .bgid = GROUP };
	struct weir_kernel *kernel = raw->kernel;
	int r = kernel->ops->ring_setup(kernel, 32, &raw->ring, &params);

	if (r < 0)
		return r;
	raw->bufs = kernel->ops->map(kernel, 4096);
	raw->buf_memory = kernel->ops->map(kernel, (size_t)BUFS * BUF_SIZE);
	if (!raw->bufs || !raw->buf_memory)
		return -ENOMEM;
	reg.ring_addr = (uintptr_t)raw->bufs;
	r = kernel->ops->ring_register(kernel, &raw->ring, IORING_REGISTER_PBUF_RING, &reg, 1);
	for (unsigned id = 0; id < BUFS; id++)
		give_buf(raw, id);
	return r;
}

/* Where a fault keeps it from being opened, the operations on it fail, and end all the same. */
static void open_file(struct raw *raw)
{
	struct open_how how = { .flags = O_RDWR | O_CREAT, .mode = 0600 };
	struct io_uring_sqe *sqe = get_sqe(raw);

	io_uring_prep_openat2(sqe, AT_FDCWD, "/raw", &how);
	raw->file = run_one(raw, sqe);
}

static void drain(struct raw *raw)
{
	for (unsigned i = 0; raw->open && i < 10000; i++) {
		if (i % 100 == 0)
			cancel(raw, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
		turn(raw, 1, 10 * WEIR_MS);
	}
	weir_sim_checkf(!raw->open, "each SQE has one final CQE", "%u wait for theirs for ever",
			raw->open);
}

static void close_all(struct raw *raw)
{
	struct weir_kernel *kernel = raw->kernel;
	const int fds[] = { raw->udp[0], raw->udp[1], raw->tcp[0], raw->tcp[1], raw->file };

	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] > 0)
			kernel->ops->close(kernel, fds[i]);
	if (raw->ring.sq.khead)
		kernel->ops->ring_teardown(kernel, &raw->ring);
	if (raw->bufs)
		kernel->ops->unmap(kernel, raw->bufs, 4096);
	if (raw->buf_memory)
		kernel->ops->unmap(kernel, raw->buf_memory, (size_t)BUFS * BUF_SIZE);
}

static int raw_main(void *arg)
{
	struct raw *raw = arg;
	int r;

	memset(raw, 0, sizeof(*raw));
	raw->kernel = weir__world->kernel;
	r = open_ring(raw);
	if (!r)
		r = open_datagrams(raw);
	if (!r)
		r = open_stream(raw);
	if (!r)
		open_file(raw);
	/* Where a fault has struck already there is nothing to do. */
	for (unsigned i = 0; !r && i < ROUNDS; i++) {
		chain(raw);
		if (weir_sim_choose("raw-cancel", 4) == 1)
			cancel(raw, weir_sim_choose("raw-whom", OPS), 0);
		raw->word += raw->kernel->ops->random(raw->kernel);
		turn(raw, weir_sim_choose("raw-wait", 2), 1 + weir_sim_choose("raw-ns", 5000000));
	}
	if (!r)
		drain(raw);
	close_all(raw);
	is_done[raw - raws] = true;
	return 0;
}

static const char *look_done(void *arg)
{
	(void)arg;
	return is_done[0] && is_done[1] ? NULL : "they still run";
}

static int build(struct weir_sim *sim, void *arg)
{
	static const struct weir_sim_host_opts opts = { .restarts = true };

	(void)arg;
	for (unsigned i = 0; i < 2; i++) {
		is_done[i] = false;
		if (!weir_sim_host(sim, i ? "raw-1" : "raw-0", &opts, raw_main, &raws[i]))
			return -ENOMEM;
	}
	return weir_sim_eventually(sim, "the raw operations end", look_done, NULL);
}

const struct weir_sim_scenario weir__sim_raw = {
	.name = "raw",
	.about = "raw SQEs in chains: each has one final CQE, and a NOTIF where there is one",
	.build = build,
	.faults = WEIR_SIM_ALL,
	.faults_ns = 2 * WEIR_S,
};
