/* SPDX-License-Identifier: MIT */
/*
 * http.c - a web server under faults: every response is whole, right and in order, or an error.
 *
 * Clients pipeline, keep connections, stream bodies up and down, read slowly and leave in the
 * middle; the server makes some answers, and takes others from its simulated disk. What a
 * request asks for says what the answer must be, so the client checks each without knowing the
 * server. The service drains in the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/sim/http_client.h"
#include "tools/sim/scenario.h"

#define PORT 8080
#define CLIENTS_MAX 4
#define PIPELINE_MAX 8
#define FILES 5

static const uint32_t file_sizes[FILES] = { 0, 1, 4096, 30000, 200000 };

static struct {
	struct weir_opts opts;
	struct weir_http_opts http;
	struct weir_http_files_opts files;
	unsigned clients;
	uint64_t handled;
} world;

/* --- the server --- */

/* "/made?SIZE.STREAM" */
static bool parse_made(struct weir_http_req *req, uint32_t *ret_size, uint32_t *ret_stream)
{
	struct weir_http_text query = weir_http_req_query(req);
	char text[32] = "";

	if (!query.data || query.size >= sizeof(text))
		return false;
	memcpy(text, query.data, query.size);
	return sscanf(text, "%u.%u", ret_size, ret_stream) == 2;
}

/* In one piece, or streamed. */
static int answer_made(struct weir_http_req *req, uint32_t size, uint32_t stream)
{
	char *body = malloc(size + 1);
	uint32_t at = 0;
	int r;

	if (!body)
		return -ENOMEM;
	scenario_fill(body, size, stream, 0);
	if (weir_sim_choose("http-streams", 2) == 0) {
		r = weir_http_reply(req, 200, NULL, body, size);
	} else {
		bool chunked = weir_sim_choose("http-chunked", 2);

		r = weir_http_reply_start(req, 200, NULL,
					  chunked ? WEIR_HTTP_CHUNKED : (int64_t)size);
		while (!r && at < size) {
			uint32_t n = 1 + scenario_draw_size("http-part", 15);

			n = n < size - at ? n : size - at;
			r = weir_http_reply_write(req, body + at, n);
			at += n;
			if (!r)
				r = scenario_pause("http-part-pause", 3);
		}
		if (!r)
			r = weir_http_reply_end(req);
	}
	free(body);
	return r;
}

/* Reads a body and tells its size and hash. */
static int answer_sum(struct weir_http_req *req)
{
	char buf[3000], text[32];
	uint32_t size = 0, hash = 0;
	ssize_t n;

	while ((n = weir_http_req_read(req, buf, sizeof(buf))) > 0) {
		hash = scenario_hash(hash, buf, (size_t)n);
		size += (uint32_t)n;
		if (scenario_once_in("http-reads-slowly", 16))
			weir_sleep(20 * WEIR_MS);
	}
	if (n < 0)
		return (int)n;
	return weir_http_reply(req, 200, NULL, text,
			       (size_t)snprintf(text, sizeof(text), "%u.%08x", size, hash));
}

static int handle(struct weir_http_req *req, void *arg)
{
	uint32_t size, stream;

	world.handled++;
	if (scenario_once_in("http-thinks", 4))
		scenario_pause("http-think", 30);
	if (weir_http_req_is_path(req, "/sum"))
		return answer_sum(req);
	if (weir_http_req_is_path(req, "/made") && parse_made(req, &size, &stream))
		return answer_made(req, size, stream);
	return weir_http_files(req, arg);
}

static int service(void *arg)
{
	struct weir_http_files *files;
	int r;

	(void)arg;
	do {
		r = weir_http_files_create("/www", &world.files, &files);
		if (r < 0)
			continue;
		r = weir_http_serve("tcp://0.0.0.0:8080", &world.http, handle, files);
		weir_http_files_destroy(files);
	} while (r < 0 && r != -ECANCELED && r != -ESHUTDOWN && !weir_sleep(100 * WEIR_MS));
	return 0;
}

static int server_main(void *arg)
{
	return weir_run(&world.opts, service, arg);
}

/* --- what is asked, and what the answer must be --- */

enum kind { MADE, FILE_WHOLE, FILE_RANGE, MISSING, SUM, HEAD_MADE };

struct ask {
	enum kind kind;
	uint32_t size, stream, from;
	unsigned file;
};

static struct ask draw_ask(void)
{
	struct ask ask = { .kind = (enum kind)weir_sim_choose("http-kind", 6) };

	ask.stream = weir_sim_choose("http-stream", 1000);
	ask.size = scenario_draw_size("http-size", 17);
	if (ask.kind == FILE_WHOLE || ask.kind == FILE_RANGE) {
		ask.file = weir_sim_choose("http-file", FILES);
		ask.size = file_sizes[ask.file];
		ask.stream = 5000 + ask.file;
	}
	if (ask.kind == FILE_RANGE) {
		if (!ask.size) {
			ask.kind = FILE_WHOLE;
			return ask;
		}
		ask.from = weir_sim_choose("http-from", ask.size);
		ask.size = 1 + weir_sim_choose("http-to", ask.size - ask.from);
	}
	return ask;
}

/* Streams a body of ask up, by its size or in chunks. */
static int write_sum(struct weir_conn *conn, const struct ask *ask)
{
	char text[128], body[4096];
	bool chunked = weir_sim_choose("http-up-chunked", 2);
	uint32_t at = 0;
	int r, n = snprintf(text, sizeof(text), "POST /sum HTTP/1.1\r\nHost: x\r\n");

	n += chunked ? snprintf(text + n, sizeof(text) - (size_t)n,
				"Transfer-Encoding: chunked\r\n\r\n") :
		       snprintf(text + n, sizeof(text) - (size_t)n, "Content-Length: %u\r\n\r\n",
				ask->size);
	r = weir_conn_write_all(conn, text, (size_t)n);
	while (!r && at < ask->size) {
		uint32_t size = 1 + scenario_draw_size("http-up-part", 12) % sizeof(body);

		size = size < ask->size - at ? size : ask->size - at;
		scenario_fill(body, size, ask->stream, at);
		at += size;
		if (chunked) {
			n = snprintf(text, sizeof(text), "%x\r\n", size);
			r = weir_conn_write_all(conn, text, (size_t)n);
		}
		if (!r)
			r = weir_conn_write_all(conn, body, size);
		if (!r && chunked)
			r = weir_conn_write_all(conn, "\r\n", 2);
		if (!r && scenario_once_in("http-up-pauses", 16))
			r = scenario_pause("http-up-pause", 100);
	}
	return !r && chunked ? weir_conn_write_all(conn, "0\r\n\r\n", 5) : r;
}

static int write_ask(struct weir_conn *conn, const struct ask *ask)
{
	char text[128];
	int n = 0;

	if (ask->kind == SUM)
		return write_sum(conn, ask);
	if (ask->kind == MADE || ask->kind == HEAD_MADE)
		n = snprintf(text, sizeof(text), "%s /made?%u.%u HTTP/1.1\r\nHost: x\r\n\r\n",
			     ask->kind == MADE ? "GET" : "HEAD", ask->size, ask->stream);
	else if (ask->kind == MISSING)
		n = snprintf(text, sizeof(text), "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
	else if (ask->kind == FILE_WHOLE)
		n = snprintf(text, sizeof(text), "GET /%u.bin HTTP/1.1\r\nHost: x\r\n\r\n",
			     ask->file);
	else
		n = snprintf(text, sizeof(text),
			     "GET /%u.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=%u-%u\r\n\r\n",
			     ask->file, ask->from, ask->from + ask->size - 1);
	return weir_conn_write_all(conn, text, (size_t)n);
}

static void check_body(const struct ask *ask, const struct http_answer *answer)
{
	char sum[32];
	char *body = malloc(ask->size + 1);

	if (ask->kind == SUM) {
		if (body)
			scenario_fill(body, ask->size, ask->stream, 0);
		snprintf(sum, sizeof(sum), "%u.%08x", ask->size,
			 body ? scenario_hash(0, body, ask->size) : 0);
		weir_sim_checkf(answer->size == strlen(sum) &&
					!memcmp(answer->body, sum, answer->size),
				"http: a body that was sent arrived", "%.*s for %s",
				(int)answer->size, answer->body, sum);
	} else {
		uint32_t size = ask->kind == HEAD_MADE ? 0 : ask->size;

		weir_sim_checkf(answer->size == size &&
					scenario_matches(answer->body, size, ask->stream,
							 ask->from),
				"http: every response is whole, right and in order",
				"%zu bytes for %u of kind %d", answer->size, size, ask->kind);
	}
	free(body);
}

/* An upload that ends in the middle, for the network ended it, is a bad request. */
static bool may_be_cut(const struct ask *ask)
{
	return ask->kind == SUM && (weir_sim_armed(weir_sim_world()) & WEIR_SIM_RESET);
}

static void check_answer(const struct ask *ask, const struct http_answer *answer, bool must_pass)
{
	int good = ask->kind == FILE_RANGE ? 206 : ask->kind == MISSING ? 404 : 200;

	if (answer->status == good) {
		if (ask->kind != MISSING)
			check_body(ask, answer);
		weir_sim_sometimes(ask->kind == FILE_RANGE, "http: a range of a file");
		weir_sim_sometimes(ask->kind == SUM && ask->size > 65536, "http: a large upload");
		return;
	}
	weir_sim_checkf(!must_pass && (answer->status >= 500 || answer->status == 408 ||
					  (answer->status == 400 && may_be_cut(ask))),
			"http: the status is the right one, or an error of the server",
			"%d, not %d", answer->status, good);
	weir_sim_sometimes(true, "http: an error of the server");
}

/* --- a client --- */

struct pipeline {
	struct weir_conn *conn;
	struct ask asks[PIPELINE_MAX];
	unsigned count;
	int write_res;
};

static int write_asks(void *arg)
{
	struct pipeline *p = arg;

	for (unsigned i = 0; !p->write_res && i < p->count; i++)
		p->write_res = write_ask(p->conn, &p->asks[i]);
	return 0;
}

/* Answers in the order of the questions. 0, 1: it left, 2: the server closed, or -errno. */
static int read_answers(struct pipeline *p, bool must_pass)
{
	unsigned leave_at = PIPELINE_MAX;
	int r = 0;

	if (!must_pass && scenario_once_in("http-leaves", 6))
		leave_at = weir_sim_choose("http-leave", p->count);
	for (unsigned i = 0; !r && i < p->count; i++) {
		struct http_answer answer;

		if (i == leave_at)
			return 1;
		if (scenario_once_in("http-reads-late", 8))
			scenario_pause("http-read-late", 300);
		r = http_read_answer(p->conn, p->asks[i].kind == HEAD_MADE, &answer);
		if (r < 0)
			return r;
		check_answer(&p->asks[i], &answer, must_pass);
		r = answer.closes ? 2 : 0;
		free(answer.memory);
	}
	return r;
}

static int pipeline_run(struct pipeline *p, bool must_pass)
{
	struct weir_coro *writer;
	int64_t own_ns = weir_coro_set_deadline(scenario_patience());
	int r;

	p->count = scenario_draw("http-pipelined", 1, PIPELINE_MAX);
	p->write_res = 0;
	for (unsigned i = 0; i < p->count; i++)
		p->asks[i] = draw_ask();
	r = weir_coro_spawn(NULL, write_asks, p, &writer);
	if (!r) {
		r = read_answers(p, must_pass);
		if (r)
			weir_coro_cancel(writer);
		scenario_join(writer);
	}
	weir_coro_set_deadline(own_ns);
	weir_sim_sometimes(!r && p->count == PIPELINE_MAX, "http: eight pipelined requests");
	return r;
}

static void one_connection(bool must_pass)
{
	struct pipeline p = { 0 };
	unsigned rounds = scenario_draw("http-rounds", 1, 4);
	char address[64];
	int r = scenario_connect(scenario_address("server", PORT, address), NULL, &p.conn);

	weir_sim_checkf(!r, "http: a connection is to be had", "%d", r);
	if (r < 0)
		return;
	for (unsigned i = 0; !r && i < rounds; i++) {
		r = pipeline_run(&p, must_pass);
		if (!r)
			r = scenario_pause("http-between", 500);
	}
	weir_sim_checkf(r != -ETIMEDOUT,
			"http: a request is answered, or its connection ends", "%d", r);
	weir_sim_checkf(!must_pass || !r, "http: in a healed world nothing fails", "%d", r);
	weir_sim_sometimes(r == 1, "http: a client leaves in the middle");
	if (r)
		weir_conn_abort(p.conn);
	else
		weir_conn_close(p.conn);
}

static int client(void *arg)
{
	unsigned conns = scenario_draw("http-conns", 1, 4);
	int r = 0;

	(void)arg;
	for (unsigned i = 0; !r && i < conns && !scenario_is_healed(); i++) {
		one_connection(false);
		r = scenario_pause("http-reconnects", 200);
	}
	return r;
}

static int clients(void *arg)
{
	char none[CLIENTS_MAX];
	int r = scenario_crowd(world.clients, client, none, 1);

	(void)arg;
	if (!r)
		r = scenario_wait_healed();
	if (!r)
		one_connection(true);
	return r;
}

/* --- the world --- */

static int put_files(struct weir_sim_host *host)
{
	char *data = malloc(file_sizes[FILES - 1]);
	char path[32];
	int r = data ? weir_sim_put_dir(host, "/www") : -ENOMEM;

	for (unsigned i = 0; !r && i < FILES; i++) {
		snprintf(path, sizeof(path), "/www/%u.bin", i);
		scenario_fill(data, file_sizes[i], 5000 + i, 0);
		r = weir_sim_put_file(host, path, data, file_sizes[i]);
	}
	free(data);
	return r;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts one_core = { .cores = 1 };
	struct weir_sim_host *server;

	(void)arg;
	world.handled = 0;
	world.opts = scenario_opts(scenario_draw("http-cores", 1, 2));
	world.http = (struct weir_http_opts){
		.serve = { .backlog = scenario_once_in("http-backlog", 4) ? 2 : 64 },
		.idle_ns = 300 * WEIR_S,
		.head_ns = 300 * WEIR_S,
		.body_ns = 300 * WEIR_S,
		.write_ns = 300 * WEIR_S,
	};
	world.http.serve.conn.zc_min = scenario_once_in("http-zc", 3) ? 512 : 0;
	world.files = (struct weir_http_files_opts){
		.file_max = scenario_once_in("http-cached", 2) ? 100 : 0,
		.fresh_ns = scenario_once_in("http-fresh", 3) ? -1 : 0,
	};
	world.clients = scenario_draw("http-clients", 1, CLIENTS_MAX);
	server = weir_sim_host(sim, "server", NULL, server_main, NULL);
	if (!server || !weir_sim_workload(sim, "near", &one_core, clients, NULL))
		return -ENOMEM;
	if (scenario_once_in("http-two", 2) &&
	    !weir_sim_workload(sim, "far", &one_core, clients, NULL))
		return -ENOMEM;
	return put_files(server);
}

const struct weir_sim_scenario scenario_http = {
	.name = "http",
	.about = "every response is whole, right and in order, or an error",
	.build = build,
	.faults = WEIR_SIM_DEFAULT | WEIR_SIM_FILE_ERROR,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
