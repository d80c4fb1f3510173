/* SPDX-License-Identifier: MIT */
/*
 * conn_in.c - how a connection receives.
 *
 *	IDLE --arm()--> ARMED --disarm()--> DISARMING --its last CQE--> IDLE
 *	ARMED --last CQE: end of file, error--> ENDED
 *	ARMED --last CQE: -ENOBUFS--> STARVED --buffers are back--> ARMED
 *
 * Every last CQE ends in settle(), which decides anew; nothing else re-arms, so a
 * multishot that ended for whatever reason is never forgotten. Data comes in buffers of
 * the core's ring; a reader that waits gets it at once and the buffer goes straight back,
 * so only what nobody asked for yet is held, and that is bounded by the quota.
 */
#include "net/conn_parts.h"

#include <string.h>

#include "core/plant.h"
#include "core/worker.h"

static inline struct weir_bufs *bufs_of(struct weir_conn *conn)
{
	return &conn->net->ring->bufs;
}

/* Buffers the connection keeps from the others, read or not. */
static inline unsigned held(const struct weir_conn *conn)
{
	return (unsigned)conn->in_count + conn->leased;
}

static bool wants_data(const struct weir_conn *conn)
{
	return !conn->closing && !conn->paused && !conn->eof_soon &&
	       held(conn) < conn->opts.bufs_max;
}

/* --- the queue of received buffers --- */

static void queue_push(struct weir_conn *conn, uint16_t id)
{
	if (conn->in_tail == WEIR_BUF_NONE)
		conn->in_head = id;
	else
		bufs_of(conn)->table[conn->in_tail].next = id;
	conn->in_tail = id;
	conn->in_count++;
}

static uint16_t queue_pop(struct weir_conn *conn)
{
	uint16_t id = conn->in_head;

	conn->in_head = bufs_of(conn)->table[id].next;
	if (conn->in_head == WEIR_BUF_NONE)
		conn->in_tail = WEIR_BUF_NONE;
	conn->in_count--;
	return id;
}

/* --- arming --- */

static void starve_run(struct weir_bufs_wait *wait)
{
	struct weir_conn *conn = weir_container_of(wait, struct weir_conn, starve);

	conn->in_state = IN_IDLE;
	weir__conn_arm(conn);
}

static void starve(struct weir_conn *conn)
{
	conn->in_state = IN_STARVED;
	conn->starve.run = starve_run;
	weir__bufs_wait(bufs_of(conn), &conn->starve, !held(conn));
}

void weir__conn_arm(struct weir_conn *conn)
{
	struct weir_ring *ring = conn->net->ring;
	bool low = weir__bufs_are_low(&ring->bufs);
	struct io_uring_sqe *sqe;

	if (conn->in_state != IN_IDLE || !wants_data(conn))
		return;
	/* When buffers are low, one at a time, and only for those who hold none. */
	if (weir_unlikely(low && (held(conn) || weir__bufs_are_out(&ring->bufs)))) {
		starve(conn);
		return;
	}
	sqe = weir__op_sqe(ring, WEIR_ARMED);
	if (!sqe) {	/* the kernel takes no more now; every connection has its armed slot */
		starve(conn);
		return;
	}
	if (weir_likely(!low))
		io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	else
		io_uring_prep_recv(sqe, conn->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT | conn->sqe_flags;
	sqe->buf_group = WEIR_BUF_GROUP;
	weir__op_go(ring, &conn->recv_op, sqe, WEIR_ARMED);
	conn->in_state = IN_ARMED;
}

void weir__conn_disarm(struct weir_conn *conn)
{
	if (conn->in_state == IN_ARMED) {
		conn->in_state = IN_DISARMING;
		weir__op_cancel(conn->net->ring, &conn->recv_op);
	} else if (conn->in_state == IN_STARVED && conn->closing) {
		weir__node_remove(&conn->starve.node);
		conn->in_state = IN_IDLE;
	}
}

/* --- delivery --- */

/* Moves up to size bytes of the first buffer to buf; gives the buffer back once empty. */
static size_t copy_first(struct weir_conn *conn, char *to, size_t size)
{
	struct weir_bufs *bufs = bufs_of(conn);
	uint16_t id = conn->in_head;
	struct weir_buf *buf = &bufs->table[id];

	if (size > buf->size)
		size = buf->size;
	memcpy(to, weir__buf_data(bufs, id), size);
	buf->offset += (uint32_t)size;
	buf->size -= (uint32_t)size;
	if (!buf->size)
		weir__buf_give(bufs, queue_pop(conn));
	return size;
}

static size_t copy_queued(struct weir_conn *conn, char *to, size_t size)
{
	size_t done = 0;

	while (done < size && conn->in_count)
		done += copy_first(conn, to + done, size - done);
	return done;
}

static size_t lease_first(struct weir_conn *conn, struct weir_lease *lease)
{
	struct weir_bufs *bufs = bufs_of(conn);
	uint16_t id = queue_pop(conn);

	conn->leased++;
	lease->data = weir__buf_data(bufs, id);
	lease->size = bufs->table[id].size;
	lease->id_ = id;
	return lease->size;
}

/* Serves a reader out of what is queued; there is something. */
static ssize_t serve(struct weir_conn *conn, struct weir_reader *reader)
{
	conn->ready_told = false;
	if (reader->buf)
		return (ssize_t)copy_queued(conn, reader->buf, reader->size);
	return (ssize_t)lease_first(conn, reader->lease);
}

static void deliver_events(struct weir_conn *conn)
{
	struct weir_bufs *bufs = bufs_of(conn);

	while (conn->in_count && conn->events && !conn->paused && !conn->closing) {
		uint16_t id = queue_pop(conn);

		conn->events->on_data(conn, weir__buf_data(bufs, id), bufs->table[id].size, 0);
		weir__buf_give(bufs, id);
	}
	if (!conn->in_count && conn->in_state == IN_ENDED && conn->events && !conn->paused &&
	    !conn->closing && !conn->ready_told) {
		conn->ready_told = true;
		conn->events->on_data(conn, NULL, 0, conn->in_res);
	}
}

/* Something to read, or the end, is there: whoever reads is told. */
static void deliver(struct weir_conn *conn)
{
	if (conn->closing)
		return;
	if (conn->reader) {
		struct weir_reader *reader = conn->reader;

		conn->reader = NULL;
		reader->done(reader, conn->in_count ? (int)serve(conn, reader) : conn->in_res);
	} else if (conn->events) {
		deliver_events(conn);
	} else if (conn->ready && !conn->ready_told) {
		conn->ready_told = true;
		conn->ready(conn);
	}
}

static void input_ended(struct weir_conn *conn, int res)
{
	conn->in_state = IN_ENDED;
	conn->in_res = res;
	deliver(conn);
}

/* Whether a receive that gave res is the last: not taken back, and not for want of a buffer. */
static bool is_end(int res)
{
	return res <= 0 && res != -ECANCELED && res != -EINTR && res != -EAGAIN && res != -ENOBUFS;
}

/* The multishot is over: what now? */
static void settle(struct weir_conn *conn, int res)
{
	conn->in_state = IN_IDLE;
	if (conn->closing) {
		weir__conn_proceed_close(conn);
	} else if (is_end(res)) {
		input_ended(conn, res);
	} else if (conn->eof_soon) {
		input_ended(conn, conn->in_res);
	} else if (res == -ENOBUFS) {
		if (!WEIR__PLANT(RECV_ENOBUFS))
			starve(conn);
	} else if (!(WEIR__PLANT(RECV_ENDED) && res > 0)) {
		weir__metric_add(&weir__self->metrics, WEIR__M_MULTISHOT_REARMED, 1);
		weir__conn_arm(conn);
	}
}

static void received(struct weir_conn *conn, uint16_t id, uint32_t size)
{
	struct weir_bufs *bufs = bufs_of(conn);

	weir__buf_take(bufs, id, size);
	conn->bytes_in += size;
	conn->active_ns = weir__self->now_ns;
	if (weir_unlikely(conn->closing)) {
		if (!WEIR__PLANT(BUF_LEAKED))
			weir__buf_give(bufs, id);
		return;
	}
	queue_push(conn, id);
	deliver(conn);
	if (weir_unlikely(conn->in_state == IN_ARMED &&
			  (!wants_data(conn) || (conn->in_count && weir__bufs_are_low(bufs)))))
		weir__conn_disarm(conn);
}

void weir__conn_recv_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_conn *conn = weir_container_of(op, struct weir_conn, recv_op);

	if (weir_likely(res > 0 && (flags & IORING_CQE_F_BUFFER)))
		received(conn, (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT), (uint32_t)res);
	if (weir_unlikely(!(flags & IORING_CQE_F_MORE)))
		settle(conn, res);
}

void weir__conn_drop_input(struct weir_conn *conn)
{
	while (conn->in_count)
		weir__buf_give(bufs_of(conn), queue_pop(conn));
}

void weir__conn_end_input(struct weir_conn *conn, int res)
{
	if (conn->in_state == IN_ENDED)
		return;
	conn->eof_soon = true;
	conn->in_res = res;
	if (conn->in_state == IN_IDLE)
		input_ended(conn, res);
	else if (conn->in_state == IN_ARMED)
		weir__conn_disarm(conn);
	else if (conn->in_state == IN_STARVED) {
		weir__node_remove(&conn->starve.node);
		input_ended(conn, res);
	}
}

void weir__conn_drain(struct weir_conn *conn)
{
	if (!conn->closing)
		weir__conn_end_input(conn, 0);
}

/* --- reading --- */

int weir__conn_read_start(struct weir_conn *conn, struct weir_reader *reader)
{
	if (weir_unlikely(conn->reader || conn->events || conn->closing))
		return -EBUSY;
	if (conn->in_count) {
		int n = (int)serve(conn, reader);

		weir__conn_arm(conn);
		return n;
	}
	if (conn->in_state == IN_ENDED)
		return conn->in_res;
	conn->ready_told = false;
	conn->reader = reader;
	weir__conn_arm(conn);
	return -EINPROGRESS;
}

/* A coroutine that reads. */
struct coro_reader {
	struct weir_reader reader;
	struct weir_wait wait;
	struct weir_conn *conn;
};

static void coro_reader_done(struct weir_reader *reader, int res)
{
	weir__wait_wake(&weir_container_of(reader, struct coro_reader, reader)->wait, res);
}

/* The reader just leaves: what arrives is queued for the next. */
static void coro_reader_cancel(struct weir_wait *wait, int reason)
{
	struct coro_reader *r = weir_container_of(wait, struct coro_reader, wait);

	r->conn->reader = NULL;
	weir__wait_wake(wait, reason);
}

static ssize_t read_some(struct weir_conn *conn, void *buf, size_t size, struct weir_lease *lease)
{
	struct coro_reader r = { .reader = { coro_reader_done, buf, size, lease }, .conn = conn };
	int n = weir__wait_check(WEIR_NEVER);

	if (weir_unlikely(n < 0))
		return n;
	weir__wait_init(&r.wait);
	n = weir__conn_read_start(conn, &r.reader);
	if (n != -EINPROGRESS)
		return n;
	return weir__wait_park(&r.wait, "read", coro_reader_cancel, WEIR_NEVER);
}

ssize_t weir_conn_read(struct weir_conn *conn, void *buf, size_t size)
{
	weir_precond(size > 0, -EINVAL);
	return read_some(conn, buf, size, NULL);
}

ssize_t weir_conn_read_exact(struct weir_conn *conn, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = weir_conn_read(conn, (char *)buf + done, size - done);

		if (n <= 0)
			return n ? n : -EPIPE;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t weir_conn_lease(struct weir_conn *conn, struct weir_lease *ret_lease)
{
	return read_some(conn, NULL, 0, ret_lease);
}

void weir_conn_release(struct weir_conn *conn, struct weir_lease *lease)
{
	weir_assert(conn->leased > 0);
	weir__buf_give(bufs_of(conn), (uint16_t)lease->id_);
	conn->leased--;
	lease->data = NULL;
	lease->size = 0;
	weir__conn_arm(conn);
}

bool weir_conn_is_readable(const struct weir_conn *conn)
{
	return conn->in_count || conn->in_state == IN_ENDED;
}

/* --- callback style --- */

int weir_conn_set_events(struct weir_conn *conn, const struct weir_conn_events *events)
{
	weir_precond(!conn->reader, -EBUSY);
	conn->events = events;
	if (events) {
		conn->ready_told = false;
		deliver_events(conn);
		weir__conn_arm(conn);
	}
	return 0;
}

void weir_conn_pause(struct weir_conn *conn)
{
	conn->paused = true;
	weir__conn_disarm(conn);
}

void weir_conn_resume(struct weir_conn *conn)
{
	if (!conn->paused)
		return;
	conn->paused = false;
	deliver_events(conn);
	weir__conn_arm(conn);
}

void weir_conn_set_ready(struct weir_conn *conn, void (*ready)(struct weir_conn *conn))
{
	conn->ready = ready;
	conn->ready_told = false;
	if (ready && !conn->reader && weir_conn_is_readable(conn))
		deliver(conn);
}
