/* SPDX-License-Identifier: MIT */
/*
 * bare_uring_echo.c - the yardstick: an echo server by hand on bare liburing. What weir adds
 * to this is what weir costs.
 *
 * Each buffer is sent from where it was received, and goes back when it was sent. One send is
 * in flight on a connection; what arrives meanwhile waits in order, and leaves as one sendmsg.
 * With a deep pipeline that is what decides. A connection is a list of buffers, the first
 * `sending` of them in flight: short sends and any depth need nothing more, and a connection
 * without traffic holds nothing.
 *
 *	bare_uring_echo --port-file FILE [--bufs COUNT] [--buf-size BYTES] [--spin-us US]
 */
#include "tests/bench/bare_uring.h"

#define IOVS_MAX 64 /* buffers in one sendmsg */

/* All zero while its descriptor is free. */
struct conn {
	uint16_t first, last; /* its buffers; meaningful when count > 0 */
	uint16_t count;
	uint16_t sending;
	bool dirty;  /* is in the list of those that have something to send */
	bool ended;  /* its receive is over; close when all is sent */
	bool broken; /* a send failed: what is received is dropped */
};

/* Of each received buffer: what is left to send, and who comes after it. */
static struct {
	uint32_t offset, size;
	uint16_t next;
} * received;

static struct conn *conns;
static unsigned dirty[BARE_CONNS_MAX], dirty_count;

static void mark_dirty(unsigned index)
{
	if (conns[index].dirty)
		return;
	conns[index].dirty = true;
	dirty[dirty_count++] = index;
}

/* The kernel has copied iovs and msg when the submission is over (SUBMIT_STABLE). */
static void send_many(unsigned index)
{
	static struct iovec iovs[BARE_SQ][IOVS_MAX];
	static struct msghdr msgs[BARE_SQ];
	static unsigned next;
	struct conn *conn = &conns[index];
	struct io_uring_sqe *sqe = bare_sqe();
	struct iovec *iov = iovs[next];
	struct msghdr *msg = &msgs[next];
	unsigned id = conn->first, count = 0;

	next = (next + 1) % BARE_SQ;
	for (; count < conn->count && count < IOVS_MAX; count++, id = received[id].next) {
		iov[count].iov_base = bare_buf(id) + received[id].offset;
		iov[count].iov_len = received[id].size;
	}
	conn->sending = (uint16_t)count;
	msg->msg_iov = iov;
	msg->msg_iovlen = count;
	io_uring_prep_sendmsg(sqe, (int)index, msg, MSG_WAITALL | MSG_NOSIGNAL);
	sqe->flags |= IOSQE_FIXED_FILE;
	bare_tag(sqe, BARE_SEND, index);
}

static void flush(unsigned index)
{
	struct conn *conn = &conns[index];
	unsigned id = conn->first;

	conn->dirty = false;
	if (conn->sending)
		return;
	if (conn->count == 1) {
		conn->sending = 1;
		bare_send(index, bare_buf(id) + received[id].offset, received[id].size);
	} else if (conn->count) {
		send_many(index);
	} else if (conn->ended) {
		*conn = (struct conn){ 0 };
		bare_close(index);
	}
}

static void recv_done(unsigned index, const struct io_uring_cqe *cqe)
{
	struct conn *conn = &conns[index];

	if (cqe->res > 0) {
		unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

		if (conn->broken) {
			bare_give_back(id);
		} else {
			received[id].offset = 0;
			received[id].size = (uint32_t)cqe->res;
			if (conn->count++)
				received[conn->last].next = (uint16_t)id;
			else
				conn->first = (uint16_t)id;
			conn->last = (uint16_t)id;
			mark_dirty(index);
		}
	}
	if (cqe->flags & IORING_CQE_F_MORE || bare_recv_goes_on(index, cqe->res))
		return;
	conn->ended = true;
	mark_dirty(index);
}

static void drop_first(struct conn *conn)
{
	unsigned id = conn->first;

	conn->first = received[id].next;
	conn->count--;
	bare_give_back(id);
}

static void send_done(unsigned index, int res)
{
	struct conn *conn = &conns[index];

	conn->sending = 0;
	if (res <= 0) {
		conn->broken = true;
		while (conn->count)
			drop_first(conn);
	}
	for (unsigned left = res > 0 ? (unsigned)res : 0; left;) {
		unsigned id = conn->first;

		if (left < received[id].size) {
			received[id].offset += left;
			received[id].size -= left;
			break;
		}
		left -= received[id].size;
		drop_first(conn);
	}
	if (conn->count || conn->ended)
		mark_dirty(index);
}

static void turn(unsigned spin_us)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	bare_submit_and_wait(spin_us);
	io_uring_for_each_cqe(&ring, head, cqe)
	{
		unsigned index = (unsigned)cqe->user_data;
		enum bare_kind kind = (enum bare_kind)(cqe->user_data >> 32);

		if (kind == BARE_RECV)
			recv_done(index, cqe);
		else if (kind == BARE_SEND)
			send_done(index, cqe->res);
		else if (kind == BARE_ACCEPT)
			bare_accepted(cqe);
		else
			bare_closed();
		count++;
	}
	io_uring_cq_advance(&ring, count);
	bare_return_bufs();
	for (unsigned i = 0; i < dirty_count; i++)
		flush(dirty[i]);
	dirty_count = 0;
}

int main(int argc, char **argv)
{
	struct bare_opts opts = { .buf_count = 1024, .buf_size = 2048 };

	bare_options(argc, argv, &opts);
	conns = calloc(BARE_CONNS_MAX, sizeof(*conns));
	received = calloc(opts.buf_count, sizeof(*received));
	if (!conns || !received)
		bare_die("connections", ENOMEM);
	bare_make_ring(&opts);
	for (;;)
		turn(opts.spin_us);
}
