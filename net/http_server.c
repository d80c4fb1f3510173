/* SPDX-License-Identifier: MIT */
/*
 * http_server.c - one core's HTTP server: who is idle, who has something to say, and the
 * coroutines that are taken for them.
 *
 *	IDLE --data--> READY --a runner takes it--> BUSY --nothing left to do--> IDLE
 *	IDLE --the peer's end, idle_ns, drain--> closed
 *
 * Coroutines are not taken per connection but per turn: everybody who became ready in a turn
 * waits in one queue, and the pump starts one runner for it. If the runner serves all without
 * waiting, that was all it cost. If a handler waits, the pump, which is queued behind the runner,
 * starts another for the rest. So handlers that never wait share one stack, and those that do
 * have one each.
 */
#include "net/http.h"

#include "core/weir_metrics.h"

/* Connections that one runner serves before others get their turn. */
#define RUN_MAX 64

/* Heads that came in parts, at once, on one core. */
#define HEADS_MAX 4096

/* In req->head offsets are 16 bits. */
#define HEAD_MAX (60 << 10)

/* On a runner's stack. */
struct runner {
	struct weir_node node;
	struct weir_coro *coro;
};

static void maybe_end(struct weir_http_server *server)
{
	if (server->ended && weir__list_is_empty(&server->runners) && !server->pump.queued_)
		weir__wait_wake(&server->wait, server->wait.reason);
}

/* --- connections --- */

void weir__http_conn_close(struct weir_http_conn *hc, bool cut)
{
	struct weir_conn *conn = hc->conn;

	if (weir__node_is_linked(&hc->node))
		weir__node_remove(&hc->node);
	weir__slab_put(&hc->server->conns, hc);
	if (cut)
		weir_conn_abort(conn);
	else
		weir_conn_close(conn);
}

void weir__http_conn_idle(struct weir_http_conn *hc)
{
	struct weir_http_server *server = hc->server;

	hc->state = HTTP_IDLE;
	hc->idle_since = weir_now();
	weir__list_push(&server->idle, &hc->node);
	if (weir_unlikely(!weir_timer_is_armed(&server->timer)))
		weir_timer_arm(&server->timer, hc->idle_since + server->opts.idle_ns);
	if (weir_unlikely(weir_listener_is_stopping(server->listener)))
		weir__http_conn_close(hc, false);
}

/*
 * Whether a connection that is idle long enough still sends: a slow peer is not an idle one. That
 * output moved shows only when a send is over, so it has write_ns for each.
 */
static bool is_sending(struct weir_http_conn *hc)
{
	const struct weir_http_opts *opts = &hc->server->opts;
	uint32_t out = (uint32_t)weir_conn_bytes_out(hc->conn);

	if (!weir_conn_pending(hc->conn))
		return false;
	hc->idle_rounds = out == hc->out_seen ? hc->idle_rounds + 1 : 1;
	hc->out_seen = out;
	return hc->idle_rounds * opts->idle_ns < opts->write_ns;
}

static void timer_fire(struct weir_timer *timer)
{
	struct weir_http_server *server = weir_container_of(timer, struct weir_http_server, timer);
	int64_t now = weir_now();

	while (!weir__list_is_empty(&server->idle)) {
		struct weir_http_conn *hc =
			weir_container_of(server->idle.next, struct weir_http_conn, node);

		if (hc->idle_since + server->opts.idle_ns > now) {
			weir_timer_arm(timer, hc->idle_since + server->opts.idle_ns);
			return;
		}
		if (is_sending(hc)) {
			weir__node_remove(&hc->node);
			weir__http_conn_idle(hc);
			continue;
		}
		weir__http_conn_close(hc, false);
	}
}

static void on_ready(struct weir_conn *conn)
{
	struct weir_http_conn *hc = weir_conn_user(conn);
	struct weir_http_server *server = hc->server;

	if (weir_unlikely(hc->in_line)) {
		weir__http_admit_ended(hc);
		return;
	}
	if (hc->state != HTTP_IDLE)
		return;		/* looked for before it is idle again */
	if (!conn->in_count) {
		weir__http_conn_close(hc, false);
		return;
	}
	weir__node_remove(&hc->node);
	weir__list_push(&server->ready, &hc->node);
	hc->state = HTTP_READY;
	weir_task_ready(&server->pump);
}

static void on_accept(struct weir_conn *conn, void *arg)
{
	struct weir_http_server *server = arg;
	struct weir_http_conn *hc = weir__slab_get(&server->conns);

	if (!hc) {
		weir__conn_refuse(conn);
		return;
	}
	*hc = (struct weir_http_conn){ .server = server, .conn = conn };
	weir_conn_set_user(conn, hc);
	weir__http_conn_idle(hc);
	weir_conn_set_ready(conn, on_ready);
}

static void on_drain(struct weir_conn *conn, void *arg)
{
	struct weir_http_conn *hc = weir_conn_user(conn);

	(void)arg;
	if (hc->state == HTTP_IDLE)
		weir__http_conn_close(hc, false);
}

static void on_end(void *arg)
{
	struct weir_http_server *server = arg;

	server->ended = true;
	maybe_end(server);
}

/* --- coroutines --- */

static struct weir_http_conn *next_ready(struct weir_http_server *server)
{
	struct weir_node *node = weir__list_pop(&server->ready);

	return node ? weir_container_of(node, struct weir_http_conn, node) : NULL;
}

static int runner_run(void *arg)
{
	struct weir_http_req req;
	struct weir_http_conn *hc;
	struct runner runner = { .coro = weir_coro_self() };

	req.server = arg;
	req.lease.data = req.kept.data = req.stash = NULL;
	req.in = req.in_end = NULL;
	req.head_leased = false;
	weir__list_push(&req.server->runners, &runner.node);
	/* Local data of one request is not another's: it ends with its coroutine. */
	for (int i = 0; i < RUN_MAX && !runner.coro->locals_set; i++) {
		hc = next_ready(req.server);
		if (!hc)
			break;
		weir__http_conn_serve(&req, hc);
	}
	weir__node_remove(&runner.node);
	maybe_end(req.server);
	return 0;
}

static void pump_run(struct weir_task *task)
{
	static const struct weir_coro_opts anonymous = { .name = "http", .detached = true };
	struct weir_http_server *server = weir_container_of(task, struct weir_http_server, pump);
	struct weir_coro_opts opts = anonymous;
	struct weir_http_conn *hc;

	if (weir__list_is_empty(&server->ready)) {
		maybe_end(server);
		return;
	}
	if (server->opts.serve.name)
		opts.name = server->opts.serve.name;
	if (!weir_coro_spawn(&opts, runner_run, server, NULL)) {
		weir_task_ready(task);
		return;
	}
	/* No coroutine is left: refuse, so that those who wait know. */
	while ((hc = next_ready(server))) {
		struct weir_conn *conn = hc->conn;

		weir__slab_put(&server->conns, hc);
		weir__conn_refuse(conn);
	}
}

/* --- serving --- */

static const struct weir_listener_events events = {
	.on_accept = on_accept,
	.on_drain = on_drain,
	.on_end = on_end,
};

static void serve_cancel(struct weir_wait *wait, int reason)
{
	struct weir_http_server *server = weir_container_of(wait, struct weir_http_server, wait);

	(void)reason;	/* maybe_end() gives it on */
	for (struct weir_node *node = server->runners.next; node != &server->runners;
	     node = node->next)
		weir_coro_cancel(weir_container_of(node, struct runner, node)->coro);
	if (!server->ended && !weir_listener_is_stopping(server->listener))
		weir_listener_stop(server->listener);
}

static void default_size(size_t *value, size_t to)
{
	if (!*value)
		*value = to;
}

static void default_ns(int64_t *value, int64_t to)
{
	if (!*value)
		*value = to;
}

static int set_opts(struct weir_http_server *server, const struct weir_http_opts *opts)
{
	struct weir_http_opts *o = &server->opts;

	if (opts)
		*o = *opts;
	default_size(&o->head_max, 16 << 10);
	default_size(&o->target_max, 8 << 10);
	default_size(&o->drain_max, 64 << 10);
	default_ns(&o->body_max, 1 << 20);
	default_ns(&o->head_ns, 10 * WEIR_S);
	default_ns(&o->idle_ns, 60 * WEIR_S);
	default_ns(&o->body_ns, 10 * WEIR_S);
	default_ns(&o->write_ns, 60 * WEIR_S);
	default_ns(&o->retry_after_ns, WEIR_S);
	if (!o->fields_max)
		o->fields_max = WEIR_HTTP_FIELDS_MAX;
	if (!o->rate_min)
		o->rate_min = 1024;
	if (o->head_max > HEAD_MAX || o->fields_max > WEIR_HTTP_FIELDS_MAX || o->head_ns < 0 ||
	    o->idle_ns < 0 || o->body_ns < 0 || o->write_ns < 0 || o->request_ns < 0 ||
	    o->retry_after_ns < 0)
		return -EINVAL;
	server->limits = (struct weir_http_limits){
		.head_max = (uint32_t)o->head_max,
		.target_max = o->target_max < o->head_max ? (uint32_t)o->target_max :
							    (uint32_t)o->head_max,
		.fields_max = o->fields_max,
	};
	return 0;
}

static int init(struct weir_http_server *server, const struct weir_http_opts *opts)
{
	struct weir_net *net;
	int r = set_opts(server, opts);

	if (!r)
		r = weir__net_self(&net);
	if (r < 0)
		return r;
	server->kernel = net->ring->kernel;
	weir__list_init(&server->idle);
	weir__list_init(&server->ready);
	weir__list_init(&server->runners);
	weir_task_init(&server->pump, pump_run);
	weir_timer_init(&server->timer, timer_fire);
	server->metric_requests =
		weir_metric_counter("weir_http_requests", "HTTP requests handled.");
	server->metric_bad = weir_metric_counter("weir_http_bad_requests",
						 "HTTP requests refused before the handler.");
	if (server->metric_requests < 0 || server->metric_bad < 0)
		return -ENOBUFS;
	r = weir__slab_init(&server->conns, sizeof(struct weir_http_conn),
			    weir__net_conns_max(net));
	return r < 0 ? r : weir__slab_init(&server->heads, server->opts.head_max, HEADS_MAX);
}

static void fini(struct weir_http_server *server)
{
	weir_timer_cancel(&server->timer);
	weir__slab_fini(&server->heads);
	weir__slab_fini(&server->conns);
}

int weir_http_serve(const char *address, const struct weir_http_opts *opts, weir_http_fn handler,
		    void *arg)
{
	struct weir_http_server server = { .handler = handler, .arg = arg };
	int r = weir__wait_check(WEIR_NEVER);

	if (r < 0)
		return r;
	weir_precond(handler, -EINVAL);
	r = init(&server, opts);
	if (r < 0)
		return r;
	weir__wait_init(&server.wait);
	r = weir__listener_create(address, &server.opts.serve, &events, &server,
				  (const void *)handler, &server.listener);
	if (!r) {
		if (server.opts.serve.on_listen)
			server.opts.serve.on_listen(server.listener, arg);
		r = weir__wait_park(&server.wait, "serve", serve_cancel, WEIR_NEVER);
	}
	fini(&server);
	return r;
}
