/* SPDX-License-Identifier: MIT */
/*
 * conn.c - the life of a connection: made from a descriptor, ended in steps.
 *
 * Closing never waits in one place: proceed_close() is called whenever something that
 * stands in the way may have gone (the send has drained, the receive has retired, the
 * descriptor is closed) and does what can be done now. The memory goes back when the
 * close's own CQE came: nothing of a connection is ever freed under an op.
 *
 *	output left, graceful --> wait for it (LINGER_NS at most)
 *	receive or send in flight --> cancelled, wait for its last CQE
 *	nothing in flight --> close op --> its CQE --> gone
 */
#include "net/conn_parts.h"

#include <string.h>
#include <unistd.h>

#include "core/weir_coro.h"
#include "core/worker.h"
#include "net/weir_addr.h"

#define LINGER_NS (5 * WEIR_S)

/* Output memory of a core: 8192 chunks of 8 KiB. */
#define CHUNKS_MAX 8192
#define REFS_MAX 65536

static void recv_or_close_done(struct weir_op *op, int res, uint32_t flags);

static void net_exit(struct weir_worker_exit *hook)
{
	struct weir_net *net = weir_container_of(hook, struct weir_net, exit);

	weir_assert(weir__list_is_empty(&net->all));
	weir__slab_fini(&net->conns);
	weir__slab_fini(&net->chunks);
	weir__slab_fini(&net->refs);
	weir__slab_fini(&net->msgs);
	weir__slab_fini(&net->asyncs);
	weir__self->net = NULL;
	weir__free(net, sizeof(*net));
}

int weir__net_self(struct weir_net **ret_net)
{
	struct weir_worker *worker = weir__self;
	struct weir_net *net = worker->net;

	if (!net) {
		net = weir__calloc(1, sizeof(*net));
		if (!net)
			return -ENOMEM;
		net->ring = worker->ring;
		weir__slab_init(&net->conns, sizeof(struct weir_conn),
				net->ring->limit[WEIR_ARMED]);
		weir__slab_init(&net->chunks, WEIR_OUT_CHUNK, CHUNKS_MAX);
		weir__slab_init(&net->refs, sizeof(struct weir_piece), REFS_MAX);
		weir__slab_init(&net->msgs, sizeof(struct weir_piece_msg), REFS_MAX);
		weir__slab_init(&net->asyncs, sizeof(struct weir_conn_async), REFS_MAX);
		weir__list_init(&net->all);
		net->exit.run = net_exit;
		weir__worker_at_exit(worker, &net->exit);
		worker->net = net;
	}
	*ret_net = net;
	return 0;
}

static struct weir_conn_opts with_defaults(const struct weir_conn_opts *opts)
{
	struct weir_conn_opts o = { 0 };

	if (opts)
		o = *opts;
	if (!o.bufs_max)
		o.bufs_max = 16;
	if (!o.out_high)
		o.out_high = 256 << 10;
	if (!o.out_low)
		o.out_low = o.out_high / 4;
	if (o.out_low > o.out_high)
		o.out_low = o.out_high;
	return o;
}

/* --- idle deadline: looked at when the timer fires, not re-armed by every message --- */

static void timer_fire(struct weir_timer *timer)
{
	struct weir_conn *conn = weir_container_of(timer, struct weir_conn, timer);
	int64_t due = conn->active_ns + conn->opts.idle_ns;

	if (conn->closing) {
		conn->graceful = false;
		weir__conn_proceed_close(conn);
	} else if (due > weir__self->now_ns) {
		weir_timer_arm(timer, due);
	} else {
		weir__conn_end_input(conn, -ETIMEDOUT);
		weir__conn_fail_output(conn, -ETIMEDOUT);
	}
}

void weir_conn_set_idle(struct weir_conn *conn, int64_t idle_ns)
{
	conn->opts.idle_ns = idle_ns > 0 ? idle_ns : 0;
	conn->active_ns = weir__self->now_ns;
	if (conn->closing)
		return;
	weir_timer_arm(&conn->timer, idle_ns > 0 ? weir_in(idle_ns) : WEIR_NEVER);
}

/* --- made --- */

int weir__conn_create(struct weir_net *net, int fd, bool is_direct,
		      const struct weir_conn_opts *opts, struct weir_conn **ret_conn)
{
	struct weir_conn *conn = weir__slab_get(&net->conns);

	if (!conn) {
		net->refused++;
		return net->conns.in_use >= net->conns.count_max ? -ENOBUFS : -ENOMEM;
	}
	memset(conn, 0, sizeof(*conn));
	conn->net = net;
	conn->fd = fd;
	conn->sqe_flags = is_direct ? IOSQE_FIXED_FILE : 0;
	conn->opts = with_defaults(opts);
	conn->in_head = conn->in_tail = WEIR_BUF_NONE;
	conn->in_state = IN_IDLE;
	weir_op_init(&conn->recv_op, recv_or_close_done, "connection");
	weir_op_init(&conn->send_op, weir__conn_send_done, "connection");
	weir_task_init(&conn->flush_task, weir__conn_flush_run);
	weir_timer_init(&conn->timer, timer_fire);
	weir__list_init(&conn->writers);
	weir__list_push(&net->all, &conn->node);
	weir_conn_set_idle(conn, conn->opts.idle_ns);
	weir__conn_arm(conn);
	*ret_conn = conn;
	return 0;
}

/* --- ended --- */

static void conn_free(struct weir_conn *conn)
{
	struct weir_net *net = conn->net;
	struct weir_conn_owner *owner = conn->owner;

	weir_timer_cancel(&conn->timer);
	weir__node_remove(&conn->node);
	net->closed++;
	if (conn->gone)
		conn->gone(conn->user);
	weir__slab_put(&net->conns, conn);
	weir__worker_release(weir__self);
	if (owner)
		owner->gone(owner);
}

/* The receive's op is free by now and carries the close. */
static void send_close(struct weir_conn *conn)
{
	struct weir_ring *ring = conn->net->ring;
	struct io_uring_sqe *sqe = weir__op_sqe(ring, WEIR_RESERVED);

	if (!sqe) {	/* the reserve is empty for the moment: in line with everybody */
		weir_timer_arm(&conn->timer, weir_in(WEIR_MS));
		return;
	}
	if (conn->sqe_flags & IOSQE_FIXED_FILE)
		io_uring_prep_close_direct(sqe, (unsigned)conn->fd);
	else
		io_uring_prep_close(sqe, conn->fd);
	conn->close_sent = true;
	weir__op_go(ring, &conn->recv_op, sqe, WEIR_RESERVED);
}

void weir__conn_proceed_close(struct weir_conn *conn)
{
	if (conn->close_sent)
		return;
	if (conn->graceful && conn->out_pending && !conn->out_res)
		return;		/* the send's completion or the linger timer comes back here */
	if (conn->send_op.slot_) {
		weir__op_cancel(conn->net->ring, &conn->send_op);
		return;
	}
	if (conn->waits_slot) {
		weir_slot_wait_cancel(&conn->send_slot);
		conn->waits_slot = false;
	}
	if (conn->flush_task.queued_)
		return;		/* it runs this turn, finds nothing to send and comes back */
	weir__conn_disarm(conn);
	if (conn->recv_op.slot_)
		return;
	weir__conn_drop_output(conn);
	send_close(conn);
}

static void recv_or_close_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_conn *conn = weir_container_of(op, struct weir_conn, recv_op);

	if (weir_likely(!conn->close_sent))
		weir__conn_recv_done(op, res, flags);
	else
		conn_free(conn);
}

static void close_conn(struct weir_conn *conn, bool graceful)
{
	weir_assert(!conn->closing && !conn->leased);
	weir_assert(!conn->reader && weir__list_is_empty(&conn->writers));
	/* Nothing may be in flight for a while (send_close()): the worker waits all the same. */
	weir__worker_hold(weir__self);
	conn->closing = true;
	conn->graceful = graceful && !conn->out_res;
	conn->events = NULL;
	conn->ready = NULL;
	weir__conn_disarm(conn);
	weir__conn_drop_input(conn);
	if (conn->graceful && conn->out_pending)
		weir_timer_arm(&conn->timer, weir_in(LINGER_NS));
	else
		weir_timer_cancel(&conn->timer);
	weir__conn_proceed_close(conn);
}

void weir_conn_close(struct weir_conn *conn)
{
	close_conn(conn, true);
}

void weir_conn_abort(struct weir_conn *conn)
{
	close_conn(conn, false);
}

int weir_conn_shutdown(struct weir_conn *conn)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r = weir_conn_flush(conn);

	if (r < 0 || conn->shutdown_sent)
		return r;
	r = weir__op_begin(&w, "shutdown", WEIR_NEVER, &sqe);
	if (r < 0)
		return r;
	conn->shutdown_sent = true;
	io_uring_prep_shutdown(sqe, conn->fd, SHUT_WR);
	sqe->flags |= conn->sqe_flags;
	r = weir__op_end(&w, sqe, WEIR_NEVER);
	if (weir_unlikely(r < 0 && w.ring->verdict == WEIR_CANCELLED))
		conn->shutdown_sent = false;	/* it was taken back */
	return r == -ENOTCONN ? -EPIPE : r;
}

/* A plain descriptor of the connection's socket: its own, or one installed for the caller to close.
 */
static int plain_fd(struct weir_conn *conn)
{
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	int r;

	if (!(conn->sqe_flags & IOSQE_FIXED_FILE))
		return conn->fd;
	r = weir__op_begin(&w, "peer", WEIR_NEVER, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_fixed_fd_install(sqe, conn->fd, 0);
	return weir__op_end(&w, sqe, WEIR_NEVER);
}

int weir_conn_peer(struct weir_conn *conn, char *text, size_t size)
{
	struct weir_kernel *kernel = conn->net->ring->kernel;
	struct sockaddr_storage sock;
	socklen_t sock_size = sizeof(sock);
	struct weir_addr addr;
	int fd = plain_fd(conn);
	int r;

	if (fd < 0)
		return fd;
	r = kernel->ops->getpeername(kernel, fd, (struct sockaddr *)&sock, &sock_size);
	if (conn->sqe_flags & IOSQE_FIXED_FILE)
		kernel->ops->close(kernel, fd);
	if (!r)
		r = weir_addr_from_sockaddr((struct sockaddr *)&sock, sock_size, &addr);
	return r < 0 ? r : weir_addr_format(&addr, text, size);
}

/* --- about a connection --- */

void weir_conn_set_user(struct weir_conn *conn, void *user)
{
	conn->user = user;
}

void *weir_conn_user(const struct weir_conn *conn)
{
	return conn->user;
}

void weir_conn_set_gone(struct weir_conn *conn, void (*gone)(void *user))
{
	conn->gone = gone;
}

uint64_t weir_conn_bytes_in(const struct weir_conn *conn)
{
	return conn->bytes_in;
}

uint64_t weir_conn_bytes_out(const struct weir_conn *conn)
{
	return conn->bytes_out;
}
