/* SPDX-License-Identifier: MIT */
/*
 * admin.c - what an operator asks a running service: /metrics, /health, /inflight, /tasks, /tree,
 * /streams.
 *
 * It answers while the service is saturated, so it shares little with it: a listener of its
 * own, sends from the reserved purse of slots, a reader of GET requests of its own. What the other
 * cores know is fetched by calling them, one after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/runtime.h"
#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_scope.h"
#include "futures/weir_stream.h"
#include "net/conn.h"
#include "ring/weir_ring.h"
#include "tools/service.h"

#define HEAD_MAX 4096
#define JSON_MAX ((size_t)16 << 20)
#define ANSWER_NS (5 * WEIR_S)

/* --- JSON of one core, written on that core --- */

static int add_op(const struct weir_inflight *op, void *arg)
{
	struct weir_json *json = arg;

	weir__json_object_begin(json);
	weir__json_field_uint(json, "core", (uint64_t)weir_core());
	weir__json_field_string(json, "opcode", op->opcode);
	weir__json_field_string(json, "name", op->name);
	weir__json_field_int(json, op->direct ? "slot" : "fd", op->fd);
	weir__json_field_int(json, "age_ns", op->age_ns);
	weir__json_field_bool(json, "armed", op->armed);
	weir__json_field_bool(json, "cancelling", op->cancelling);
	weir__json_object_end(json);
	return json->error;
}

static int add_coro(const struct weir_coro_info *coro, void *arg)
{
	struct weir_json *json = arg;

	weir__json_object_begin(json);
	weir__json_field_uint(json, "core", (uint64_t)weir_core());
	weir__json_field_string(json, "name", coro->name);
	weir__json_field_string(json, "state", coro->state);
	weir__json_field_int(json, "since_ns", weir_now() - coro->since_ns);
	weir__json_field_uint(json, "stack_used", coro->stack_used);
	weir__json_field_uint(json, "stack_high", coro->stack_high);
	weir__json_field_bool(json, "cancelled", coro->cancelled);
	weir__json_object_end(json);
	return json->error;
}

/* Parents stand before their children; depth 0 is of no scope. */
static int add_node(const struct weir_tree_node *node, void *arg)
{
	struct weir_json *json = arg;

	weir__json_object_begin(json);
	weir__json_field_uint(json, "core", (uint64_t)weir_core());
	weir__json_field_uint(json, "depth", node->depth);
	weir__json_field_string(json, "name", node->name);
	weir__json_field_string(json, "state", node->state);
	weir__json_field_int(json, "since_ns", weir_now() - node->since_ns);
	if (node->scope)
		weir__json_field_string(json, "scope", node->scope);
	weir__json_field_bool(json, "cancelled", node->cancelled);
	weir__json_object_end(json);
	return json->error;
}

static int add_stage(const char *arena, const struct weir_stage_info *stage, void *arg)
{
	struct weir_json *json = arg;

	weir__json_object_begin(json);
	weir__json_field_uint(json, "core", (uint64_t)weir_core());
	weir__json_field_string(json, "arena", arena);
	weir__json_field_string(json, "stage", stage->name);
	weir__json_field_string(json, "state", stage->state);
	weir__json_field_int(json, "demand", stage->demand);
	weir__json_field_uint(json, "items", stage->items);
	weir__json_field_uint(json, "buffered", stage->buffered);
	weir__json_field_uint(json, "dropped", stage->dropped);
	weir__json_object_end(json);
	return json->error;
}

static int list_inflight(void *arg)
{
	return weir_inflight_list(add_op, arg);
}

static int list_coros(void *arg)
{
	return weir_coro_list(add_coro, arg);
}

static int list_tree(void *arg)
{
	return weir_tree_list(add_node, arg);
}

static int list_streams(void *arg)
{
	return weir_stream_list(add_stage, arg);
}

/* --- answers --- */

struct answer {
	int status;
	const char *type;
	char *body;
	size_t size;
};

static void answer_text(struct answer *answer, int status, const char *text)
{
	answer->status = status;
	answer->type = "text/plain";
	free(answer->body);
	answer->body = strdup(text);
	answer->size = answer->body ? strlen(text) : 0;
}

static void answer_list(struct answer *answer, weir_call_fn list)
{
	struct weir_json json;
	int r = 0, res = 0;

	weir__json_init(&json, JSON_MAX);
	weir__json_array_begin(&json);
	for (unsigned core = 0; !r && core < weir_core_count(); core++) {
		r = weir_call_quick(core, list, &json, weir_in(ANSWER_NS), &res);
		r = r ? r : res;
	}
	weir__json_array_end(&json);
	if (r || json.error) {
		answer_text(answer, 503, "the cores did not answer in time\n");
	} else {
		answer->status = 200;
		answer->type = "application/json";
		answer->body = malloc(json.size);
		answer->size = answer->body ? json.size : 0;
		if (answer->body)
			memcpy(answer->body, json.data, json.size);
	}
	weir__json_fini(&json);
}

static int write_stream(void *arg, const char *data, size_t size)
{
	return fwrite(data, 1, size, arg) == size ? 0 : -ENOMEM;
}

/* The text is ours and errno's: nothing in it needs to be escaped. */
static void write_kernel(FILE *stream)
{
	struct weir_ring_info info;

	weir_ring_info(&info);
	fprintf(stream,
		"# HELP weir_kernel_info The kernel interface that serves, and why.\n"
		"# TYPE weir_kernel_info gauge\n"
		"weir_kernel_info{kernel=\"%s\",reason=\"%s\"} 1\n",
		info.kernel, info.kernel_reason);
}

static void answer_metrics(struct answer *answer)
{
	struct weir_runtime *runtime = weir_runtime_self();
	unsigned count = weir_core_count();
	const struct weir_metrics **cores = calloc(count, sizeof(*cores));
	FILE *stream = open_memstream(&answer->body, &answer->size);
	int r = cores && stream ? 0 : -ENOMEM;

	for (unsigned i = 0; !r && i < count; i++)
		cores[i] = &weir__runtime_worker(runtime, i)->metrics;
	if (!r)
		r = weir__metrics_write_prometheus(write_stream, stream, cores, count);
	if (!r)
		write_kernel(stream);
	if (stream && fclose(stream))
		r = -ENOMEM;
	free(cores);
	answer->status = 200;
	answer->type = "text/plain; version=0.0.4";
	if (r)
		answer_text(answer, 503, "no memory\n");
}

static void answer_path(struct answer *answer, const char *path)
{
	if (!strcmp(path, "/metrics"))
		answer_metrics(answer);
	else if (!strcmp(path, "/health") && weir_is_draining())
		answer_text(answer, 503, "draining\n");
	else if (!strcmp(path, "/health"))
		answer_text(answer, 200, "ok\n");
	else if (!strcmp(path, "/inflight"))
		answer_list(answer, list_inflight);
	else if (!strcmp(path, "/tasks"))
		answer_list(answer, list_coros);
	else if (!strcmp(path, "/tree"))
		answer_list(answer, list_tree);
	else if (!strcmp(path, "/streams"))
		answer_list(answer, list_streams);
	else
		answer_text(answer, 404, "/metrics /health /inflight /tasks /tree /streams\n");
}

/* --- requests --- */

/* Reads a head up to its empty line. Returns 0, or -errno: nothing to answer. */
static int read_head(struct weir_conn *conn, char *head)
{
	size_t size = 0;

	while (size < HEAD_MAX - 1) {
		ssize_t n = weir_conn_read(conn, head + size, HEAD_MAX - 1 - size);

		if (n <= 0)
			return n ? (int)n : -EPIPE;
		size += (size_t)n;
		head[size] = '\0';
		if (strstr(head, "\r\n\r\n"))
			return 0;
	}
	return -EMSGSIZE;
}

static void handle(struct answer *answer, char *head)
{
	char *path = head + 4;
	char *end = strpbrk(path, " ?\r");

	if (strncmp(head, "GET /", 5) || !end || !strstr(end, " HTTP/1.")) {
		answer_text(answer, 400, "GET requests only\n");
		return;
	}
	*end = '\0';
	answer_path(answer, path);
}

static const char *status_name(int status)
{
	return status == 200 ? "OK" : status == 400 ? "Bad Request" :
	       status == 404 ? "Not Found" : "Service Unavailable";
}

static void admin_conn(struct weir_conn *conn, void *arg)
{
	struct answer answer = { .status = 400, .type = "text/plain" };
	char *head = malloc(HEAD_MAX);
	char line[256];
	int r, n;

	(void)arg;
	conn->send_purse = WEIR_RESERVED;
	weir_coro_set_deadline(weir_in(2 * ANSWER_NS));
	r = head ? read_head(conn, head) : -ENOMEM;
	if (!r)
		handle(&answer, head);
	free(head);
	if (r && r != -EMSGSIZE)
		return;
	n = snprintf(line, sizeof(line),
		     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		     "Connection: close\r\n\r\n",
		     answer.status, status_name(answer.status), answer.type, answer.size);
	if (!weir_conn_write_all(conn, line, (size_t)n) && answer.size)
		weir_conn_write_all(conn, answer.body, answer.size);
	weir_conn_flush(conn);
	free(answer.body);
}

int admin_serve(struct service *service)
{
	struct weir_serve_opts opts = {
		.name = "admin",
		.conns_max = 32,
		.on_listen = service_listening,
	};

	return weir_serve(service->admin.text, &opts, admin_conn, &service->admin);
}
