/* SPDX-License-Identifier: MIT */
/*
 * listener.c - accepting.
 *
 *	PAUSED --arm()--> ARMED --its last CQE--> settle(): arm() again, or PAUSED, or OVER
 *	ARMED --disarm(): limit near, stop--> ENDING --its last CQE--> settle()
 *
 * Every last CQE ends in settle(), so no accept that ended for whatever reason is
 * forgotten. A multishot accept takes as many as wait, without asking us in between: it is used
 * while there is room for a whole backlog and one-shot accepts after that, so that a limit
 * holds exactly and those above it wait in the kernel's queue.
 */
#include "net/listener.h"

#include <string.h>

#include "core/plant.h"
#include "core/weir_metrics.h"
#include "core/worker.h"
#include "net/bound.h"

#define BACKLOG 4096

/* How long accepting rests when the kernel is out of something. */
#define REST_NS (100 * WEIR_MS)

enum accept_state { PAUSED, ARMED, ENDING, OVER };

struct weir_listener {
	struct weir_op op;
	struct weir_timer timer;	/* PAUSED: when to try again */
	struct weir_net *net;
	struct weir_bound *bound;
	int fd;
	enum accept_state state;
	bool is_multishot;
	bool stopping;
	unsigned conns;
	struct weir_serve_opts opts;
	const struct weir_listener_events *events;
	void *arg;
	struct weir_conn_owner owner;
	struct weir_drain_hook drain;
	uint64_t accepted, refused, paused;
	int pause_error;
	int metric_accepted, metric_refused, metric_paused;
	char address[WEIR_ADDR_TEXT];
};

static struct weir_listener *listener_of(const struct weir_conn *conn)
{
	return weir_container_of(conn->owner, struct weir_listener, owner);
}

/* --- room --- */

/* Connections that this core can still have. */
static unsigned room_on_core(const struct weir_listener *listener)
{
	unsigned max = weir__net_conns_max(listener->net);
	unsigned used = (unsigned)listener->net->conns.in_use;

	return used < max ? max - used : 0;
}

static unsigned room(const struct weir_listener *listener)
{
	unsigned core = room_on_core(listener);
	unsigned own = listener->opts.conns_max - listener->conns;

	return own < core ? own : core;
}

/* --- arming --- */

static void pause_accept(struct weir_listener *listener, int error, bool with_timer)
{
	if (listener->state != PAUSED || listener->pause_error != error) {
		listener->paused++;
		weir_metric_add(listener->metric_paused, 1);
	}
	listener->state = PAUSED;
	listener->pause_error = error;
	if (with_timer)
		weir_timer_arm(&listener->timer, weir_in(REST_NS));
}

static void prep_accept(struct weir_listener *listener, struct io_uring_sqe *sqe)
{
	int fd = listener->fd;

	if (!listener->net->ring->has_direct && listener->is_multishot)
		io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	else if (!listener->net->ring->has_direct)
		io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	else if (listener->is_multishot)
		io_uring_prep_multishot_accept_direct(sqe, fd, NULL, NULL, 0);
	else
		io_uring_prep_accept_direct(sqe, fd, NULL, NULL, 0, IORING_FILE_INDEX_ALLOC);
}

static void arm(struct weir_listener *listener)
{
	struct weir_ring *ring = listener->net->ring;
	unsigned free = room(listener);
	struct io_uring_sqe *sqe;

	if (!free) {
		/* The core's room may come back with a connection that is not ours. */
		pause_accept(listener, 0, !room_on_core(listener));
		return;
	}
	sqe = weir__op_sqe(ring, WEIR_ARMED);
	if (!sqe) {
		pause_accept(listener, -EAGAIN, true);
		return;
	}
	weir_timer_cancel(&listener->timer);
	listener->is_multishot = free / 2 >= (unsigned)listener->opts.backlog;
	prep_accept(listener, sqe);
	weir__op_go(ring, &listener->op, sqe, WEIR_ARMED);
	listener->state = ARMED;
}

static void disarm(struct weir_listener *listener)
{
	if (listener->state == ARMED) {
		listener->state = ENDING;
		weir__op_cancel(listener->net->ring, &listener->op);
	}
}

static void timer_fire(struct weir_timer *timer)
{
	struct weir_listener *listener = weir_container_of(timer, struct weir_listener, timer);

	if (listener->state == PAUSED && !listener->stopping)
		arm(listener);
}

/* --- the end --- */

static void maybe_end(struct weir_listener *listener)
{
	const struct weir_listener_events *events = listener->events;
	void *arg = listener->arg;

	if (listener->state != OVER || listener->conns)
		return;
	weir__free(listener, sizeof(*listener));
	weir__worker_release(weir__self);
	if (events->on_end)
		events->on_end(arg);
}

/* Nothing is in flight: others may have the address. The listener may be gone afterwards. */
static void close_socket(struct weir_listener *listener)
{
	weir_timer_cancel(&listener->timer);
	weir__bound_put(listener->bound, weir__self->index, listener->fd);
	listener->state = OVER;
	maybe_end(listener);
}

static void drain_conns(struct weir_listener *listener)
{
	struct weir_node *all = &listener->net->all;
	struct weir_node *node = all->next;

	while (node != all) {
		struct weir_conn *conn = weir_container_of(node, struct weir_conn, node);

		node = node->next;
		if (conn->owner != &listener->owner || conn->closing)
			continue;
		if (WEIR__PLANT(DRAIN_FORGETS) && !conn->reader)
			continue;
		if (listener->events->on_drain)
			listener->events->on_drain(conn, listener->arg);
		else
			weir__conn_drain(conn);
	}
}

void weir_listener_stop(struct weir_listener *listener)
{
	weir_assert(!listener->stopping);
	listener->stopping = true;
	weir__worker_off_drain(weir__self, &listener->drain);
	disarm(listener);
	drain_conns(listener);
	if (listener->state == PAUSED)
		close_socket(listener);
}

static void drain_run(struct weir_drain_hook *hook)
{
	struct weir_listener *listener = weir_container_of(hook, struct weir_listener, drain);

	if (!listener->stopping)
		weir_listener_stop(listener);
}

/* --- accepting --- */

void weir__fd_drop(struct weir_ring *ring, int fd, bool is_direct)
{
	struct weir_kernel *kernel = ring->kernel;
	int none = -1;
	struct io_uring_files_update update = {
		.offset = (uint32_t)fd,
		.fds = (uintptr_t)&none,
	};

	if (is_direct)
		kernel->ops->ring_register(kernel, &ring->uring, IORING_REGISTER_FILES_UPDATE,
					   &update, 1);
	else
		kernel->ops->close(kernel, fd);
}

/* Nobody gets fd: the peer must see its end, and the slot must not leak. */
static void refuse(struct weir_listener *listener, int fd)
{
	weir__fd_drop(listener->net->ring, fd, listener->net->ring->has_direct);
	listener->refused++;
	weir_metric_add(listener->metric_refused, 1);
}

static void take(struct weir_listener *listener, int fd)
{
	struct weir_conn *conn;

	if (listener->stopping || !room(listener) ||
	    weir__conn_create(listener->net, fd, listener->net->ring->has_direct,
			      &listener->opts.conn, &conn) < 0) {
		refuse(listener, fd);
		return;
	}
	conn->owner = &listener->owner;
	listener->conns++;
	listener->accepted++;
	listener->net->accepted++;
	weir_metric_add(listener->metric_accepted, 1);
	listener->events->on_accept(conn, listener->arg);
}

/* What only concerns the connection that was being accepted: accept(2). */
static bool is_of_one_conn(int res)
{
	return res >= 0 || res == -ECANCELED || res == -EINTR || res == -EAGAIN ||
	       res == -ECONNABORTED || res == -EPROTO;
}

static void settle(struct weir_listener *listener, int res)
{
	if (listener->stopping)
		close_socket(listener);
	else if (WEIR__PLANT(ACCEPT_ENDED) && listener->is_multishot && res >= 0)
		return;
	else if (is_of_one_conn(res) || WEIR__PLANT(ACCEPT_SPINS))
		arm(listener);
	else if (!WEIR__PLANT(ACCEPT_EMFILE))
		pause_accept(listener, res, true);
}

static void accept_done(struct weir_op *op, int res, uint32_t flags)
{
	struct weir_listener *listener = weir_container_of(op, struct weir_listener, op);

	if (res >= 0)
		take(listener, res);
	if (!(flags & WEIR_OP_MORE))
		settle(listener, res);
	else if (room(listener) < (unsigned)listener->opts.backlog)
		disarm(listener);
}

static void conn_gone(struct weir_conn_owner *owner)
{
	struct weir_listener *listener = weir_container_of(owner, struct weir_listener, owner);

	listener->conns--;
	if (listener->stopping)
		maybe_end(listener);
	else if (listener->state == PAUSED)
		arm(listener);
}

void weir__conn_refuse(struct weir_conn *conn)
{
	struct weir_listener *listener = listener_of(conn);

	listener->refused++;
	weir_metric_add(listener->metric_refused, 1);
	weir_conn_abort(conn);
}

/* --- creating --- */

static int check_opts(const struct weir_serve_opts *opts, struct weir_serve_opts *ret_opts)
{
	static const struct weir_serve_opts none;

	*ret_opts = opts ? *opts : none;
	if (ret_opts->backlog < 0 || ret_opts->defer_s < 0)
		return -EINVAL;
	if (!ret_opts->backlog)
		ret_opts->backlog = BACKLOG;
	if (!ret_opts->conns_max)
		ret_opts->conns_max = UINT32_MAX;
	return 0;
}

static int open_socket(struct weir_listener *listener, const struct weir_addr *addr,
		       const void *tag)
{
	struct weir_bound_ask ask = {
		.kernel = listener->net->ring->kernel,
		.addr = addr,
		.opts = &listener->opts,
		.runtime = weir__self->runtime,
		.tag = tag,
		.core = weir__self->index,
	};
	int r = weir__bound_get(&ask, &listener->bound, &listener->fd);

	if (r < 0)
		return r;
	return weir_addr_format(weir__bound_addr(listener->bound), listener->address,
				sizeof(listener->address));
}

static void start(struct weir_listener *listener)
{
	weir_op_init(&listener->op, accept_done, listener->address);
	weir_timer_init(&listener->timer, timer_fire);
	listener->metric_accepted = weir_metric_counter("weir_accepted", "Connections accepted.");
	listener->metric_refused =
		weir_metric_counter("weir_conns_refused", "Connections closed at once.");
	listener->metric_paused = weir_metric_counter("weir_accept_paused",
						      "Times a listener paused accepting.");
	listener->owner.gone = conn_gone;
	listener->drain.run = drain_run;
	weir__worker_hold(weir__self);
	weir__worker_on_drain(weir__self, &listener->drain);
	arm(listener);
}

int weir__listener_create(const char *address, const struct weir_serve_opts *opts,
			  const struct weir_listener_events *events, void *arg, const void *tag,
			  struct weir_listener **ret_listener)
{
	struct weir_listener *listener;
	struct weir_addr addr;
	int r;

	weir_precond(weir__self && weir__self->ring, -EDEADLK);
	weir_precond(events && events->on_accept, -EINVAL);
	r = weir_addr_parse(address, &addr, NULL);
	if (r < 0)
		return r;
	if (weir__self->draining)
		return -ESHUTDOWN;
	listener = weir__calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->events = events;
	listener->arg = arg;
	r = check_opts(opts, &listener->opts);
	if (!r)
		r = weir__net_self(&listener->net);
	if (!r)
		r = open_socket(listener, &addr, tag);
	if (r < 0) {
		weir__free(listener, sizeof(*listener));
		return r;
	}
	start(listener);
	*ret_listener = listener;
	return 0;
}

int weir_listener_create(const char *address, const struct weir_serve_opts *opts,
			 const struct weir_listener_events *events, void *arg,
			 struct weir_listener **ret_listener)
{
	return weir__listener_create(address, opts, events, arg, (const void *)events,
				     ret_listener);
}

/* --- about a listener --- */

void *weir__conn_listener_arg(const struct weir_conn *conn)
{
	return listener_of(conn)->arg;
}

bool weir_listener_is_stopping(const struct weir_listener *listener)
{
	return listener->stopping;
}

const char *weir_listener_address(const struct weir_listener *listener)
{
	return listener->address;
}

void weir_listener_info(const struct weir_listener *listener, struct weir_listener_info *ret_info)
{
	*ret_info = (struct weir_listener_info){
		.conns = listener->conns,
		.conns_max = listener->opts.conns_max,
		.accepted = listener->accepted,
		.refused = listener->refused,
		.paused = listener->paused,
		.pause_error = listener->pause_error,
	};
}
