/* SPDX-License-Identifier: MIT */
/*
 * cancel.c - calls that are cancelled, or run out of time, at any moment.
 *
 * Victims do one thing after the other: each in a coroutine of its own, with a deadline or
 * with somebody who cancels it. Each call must return once, in time, with what it did or with
 * the reason for which it was asked to end; when it has returned nobody uses its memory; and what
 * it says it did not do has not happened. A peer on another host sends a stream and checks
 * another, so that a byte that was lost, or was sent out of memory that a call had given back,
 * shows there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/sim/scenario.h"

#define PORT 7100
#define VICTIMS_MAX 24
#define BLOCK 6000
#define BLOCKS 4
#define SLACK_NS (100 * WEIR_S)
#define TOGETHER_NS (200 * WEIR_MS)

static struct {
	struct weir_opts opts;
	unsigned victims, attempts;
	bool together;		/* all that is asked to end is so at the same times */
	uint32_t streams;
	unsigned tries;		/* so far: where nothing is chosen, kinds take turns */
	bool done;
} world;

/* --- the peer: sends stream, checks stream + 1 --- */

static int peer_send(void *arg)
{
	struct weir_conn *conn = arg;
	uint32_t stream = (uint32_t)(uintptr_t)weir_conn_user(conn);
	char buf[2000];
	uint64_t at = 0;
	int r = 0;

	while (!r) {
		uint32_t size = 1 + scenario_draw_size("peer-piece", 10);

		scenario_fill(buf, size, stream, at);
		r = weir_conn_write_all(conn, buf, size);
		at += size;
		if (!r)
			r = scenario_pause("peer-pause", 200);
	}
	return 0;
}

static void peer_check(struct weir_conn *conn, uint32_t stream)
{
	char buf[8192];
	uint64_t at = 0;
	ssize_t n;

	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0) {
		weir_sim_checkf(scenario_matches(buf, (size_t)n, stream, at),
				"cancel: what arrives is what was lent", "stream %u at %u", stream,
				(unsigned)at);
		at += (uint64_t)n;
		if (scenario_pause("peer-check-pause", 100))
			return;
	}
}

static void peer_handle(struct weir_conn *conn, void *arg)
{
	struct weir_coro *sender;
	uint32_t stream;

	(void)arg;
	if (weir_conn_read_exact(conn, &stream, sizeof(stream)) < 0)
		return;
	weir_conn_set_user(conn, (void *)(uintptr_t)stream);
	if (weir_coro_spawn(NULL, peer_send, conn, &sender) < 0)
		return;
	peer_check(conn, stream + 1);
	weir_coro_cancel(sender);
	scenario_join(sender);
}

static int peer_service(void *arg)
{
	(void)arg;
	return weir_serve("tcp://0.0.0.0:7100", NULL, peer_handle, NULL);
}

static int peer_main(void *arg)
{
	struct weir_opts opts = { .cores = 1, .conns_max = 256, .bufs = 256 };

	return weir_run(&opts, peer_service, arg);
}

/* --- a victim --- */

struct victim {
	struct weir_conn *conn;		/* NULL: none */
	uint32_t stream;
	uint64_t received, sent;
	struct weir_file *file;
	uint32_t blocks[BLOCKS];	/* the stream that each block of file holds */
	char path[32];
	/* The attempt. */
	int64_t limit_ns;		/* its deadline; WEIR_NEVER: it is cancelled instead */
	bool cancelled;
};

/* Memory that a call had: nobody else may write to it any more. */
static void watch(const void *buf, size_t size)
{
	uint32_t before = scenario_hash(0, buf, size);

	weir_coro_shield();
	scenario_pause("cancel-watch", 20);
	weir_coro_unshield();
	weir_sim_check(scenario_hash(0, buf, size) == before,
		       "cancel: nobody writes to memory that was given back");
}

/* -ETIMEDOUT before the time is over is TCP's. */
static int unless_of_network(const struct victim *v, int r)
{
	return r == -ETIMEDOUT && weir_now() < v->limit_ns ? -EHOSTUNREACH : r;
}

static void hang_up(struct victim *v)
{
	if (v->conn)
		weir_conn_abort(v->conn);
	v->conn = NULL;
}

/* Connects, if it is not, and says which stream it wants. */
static int call_peer(struct victim *v)
{
	char address[64];
	int r;

	if (v->conn)
		return 0;
	r = weir_connect(scenario_address("peer", PORT, address), NULL, &v->conn);
	if (r < 0)
		return unless_of_network(v, r);
	v->stream = world.streams += 2;
	v->received = v->sent = 0;
	r = weir_conn_write_all(v->conn, &v->stream, sizeof(v->stream));
	if (r < 0)
		hang_up(v);
	return unless_of_network(v, r);
}

/* What a read of the connection brought. Returns n. */
static int took(struct victim *v, const char *buf, ssize_t n)
{
	n = unless_of_network(v, (int)n);
	if (n > 0) {
		weir_sim_checkf(scenario_matches(buf, (size_t)n, v->stream, v->received),
				"cancel: a read that ended early loses nothing",
				"stream %u, %u bytes from %u", v->stream, (unsigned)n,
				(unsigned)v->received);
		v->received += (uint64_t)n;
	}
	if (n == 0 || (n < 0 && n != -ECANCELED && n != -ETIMEDOUT))
		hang_up(v);
	return (int)n;
}

static int try_read(struct victim *v)
{
	char buf[3000] = "";
	ssize_t n = call_peer(v);

	if (n < 0)
		return (int)n;
	n = weir_conn_read(v->conn, buf, sizeof(buf));
	watch(buf, sizeof(buf));
	return took(v, buf, n);
}

static int try_read_async(struct victim *v)
{
	char buf[3000] = "";
	bool in_time = scenario_once_in("cancel-timeout", 2);
	struct weir_future *future;
	ssize_t n = call_peer(v);

	if (n < 0)
		return (int)n;
	future = weir_conn_read_async(v->conn, buf, sizeof(buf));
	if (in_time)
		future = weir_timeout(future, weir_in(weir_sim_choose("cancel-ms", 50) * WEIR_MS));
	n = weir_await(future, WEIR_NEVER, NULL);
	watch(buf, sizeof(buf));
	if (in_time && n == -ETIMEDOUT)
		return 0;
	return took(v, buf, n);
}

static int try_write(struct victim *v)
{
	uint32_t size = 1 + scenario_draw_size("cancel-write", 17);
	char *buf;
	int r = call_peer(v);

	if (r < 0)
		return r;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	scenario_fill(buf, size, v->stream + 1, v->sent);
	r = weir_conn_write_all(v->conn, buf, size);
	memset(buf, 'x', size);		/* what is still to be sent has been copied */
	free(buf);
	v->sent += size;
	if (r < 0)
		hang_up(v);	/* part of it may have been sent */
	return unless_of_network(v, r);
}

static int try_connect(struct victim *v)
{
	struct weir_conn *conn;
	char address[64];
	int r;

	r = weir_connect(weir_sim_choose("cancel-where", 2) ?
				 "tcp://10.0.0.99:1" :
				 scenario_address("peer", PORT, address),
			 NULL, &conn);
	if (!r)
		weir_conn_close(conn);
	return unless_of_network(v, r);
}

static void ignore_conn(struct weir_conn *conn, void *arg)
{
	(void)conn;
	(void)arg;
}

static int try_serve(struct victim *v)
{
	char address[64];

	snprintf(address, sizeof(address), "tcp://0.0.0.0:%u",
		 7200 + weir_sim_choose("cancel-port", 100));
	(void)v;
	return weir_serve(address, NULL, ignore_conn, NULL);
}

static int open_own(struct victim *v)
{
	static const struct weir_open_opts create = { .flags = O_RDWR | O_CREAT };

	return v->file ? 0 : weir_file_open(NULL, v->path, &create, &v->file);
}

/* What block b of the file holds. */
static void check_block(struct victim *v, unsigned b, const char *what)
{
	char buf[BLOCK];
	int r;

	weir_coro_shield();
	r = weir_file_read_exact(v->file, buf, sizeof(buf), (int64_t)b * BLOCK);
	weir_coro_unshield();
	if (!r)
		weir_sim_check(scenario_matches(buf, sizeof(buf), v->blocks[b], 0), what);
}

static int try_file_read(struct victim *v)
{
	unsigned b = weir_sim_choose("cancel-block", BLOCKS);
	char buf[BLOCK] = "";
	int r = open_own(v);
	ssize_t n;

	if (r < 0 || !v->blocks[b])
		return r;
	if (weir_sim_choose("cancel-file-async", 2))
		n = weir_await(
			weir_file_read_async(v->file, buf, sizeof(buf), (int64_t)b * BLOCK),
			WEIR_NEVER, NULL);
	else
		n = weir_file_read(v->file, buf, sizeof(buf), (int64_t)b * BLOCK);
	watch(buf, sizeof(buf));
	if (n > 0)
		weir_sim_check(scenario_matches(buf, (size_t)n, v->blocks[b], 0),
			       "cancel: a read returns what is in the file");
	return (int)n;
}

/* A whole block at once, so that what it says it did can be compared with what is there. */
static int try_file_write(struct victim *v)
{
	unsigned b = weir_sim_choose("cancel-block", BLOCKS);
	uint32_t stream = world.streams += 2;
	char buf[BLOCK];
	ssize_t n = open_own(v);

	if (n < 0)
		return (int)n;
	scenario_fill(buf, sizeof(buf), stream, 0);
	n = weir_file_write(v->file, buf, sizeof(buf), (int64_t)b * BLOCK);
	memset(buf, 'x', sizeof(buf));
	if (n == BLOCK) {
		v->blocks[b] = stream;
		check_block(v, b, "cancel: what a write says it wrote is there");
	} else if (n != -ECANCELED && n != -ETIMEDOUT) {
		v->blocks[b] = 0;	/* a part: not known again before the next whole one */
	} else if (v->blocks[b]) {
		weir_sim_sometimes(weir_verdict() == WEIR_CANCELLED, "cancel: a write taken back");
		check_block(v, b, "cancel: a write that was taken back wrote nothing");
	}
	return (int)n;
}

static int try_open(struct victim *v)
{
	static const struct weir_open_opts create = { .flags = O_RDWR | O_CREAT };
	struct weir_file *file;
	int r = weir_file_open(NULL, "/touched", &create, &file);

	(void)v;
	if (!r)
		weir_file_close(file);
	return r;
}

static int try_sync(struct victim *v)
{
	int r = open_own(v);

	return r < 0 ? r : weir_file_sync(v->file);
}

struct errand {
	bool runs;
	bool was_asked;
};

static int errand_run(void *arg)
{
	struct errand *errand = arg;
	int r;

	errand->runs = true;
	r = scenario_pause("cancel-errand", 60);
	if (r < 0) {
		errand->was_asked = true;
		weir_coro_shield();
		scenario_pause("cancel-tidies", 20);
		weir_coro_unshield();
	}
	errand->runs = false;
	return r;
}

static int try_call(struct victim *v)
{
	struct errand errand = { 0 };
	unsigned core = weir_sim_choose("cancel-core", weir_core_count());
	int res = 0;
	int r;

	(void)v;
	r = weir_call(core, errand_run, &errand, WEIR_NEVER, &res);
	weir_sim_check(!errand.runs, "cancel: a call returns when the callee has");
	weir_sim_sometimes(errand.was_asked, "cancel: a callee is cancelled with its caller");
	return r ? r : res;
}

/* One of two reads decides, the other is asked to end: neither buffer is in use afterwards. */
static int try_race(struct victim *v)
{
	char a[BLOCK] = "", b[3000] = "";
	struct weir_future *parts[2];
	struct weir_result results[2];
	int r = call_peer(v);

	if (!r)
		r = open_own(v);
	if (r < 0)
		return r;
	parts[0] = weir_file_read_async(v->file, a, sizeof(a), 0);
	parts[1] = weir_conn_read_async(v->conn, b, sizeof(b));
	r = (int)weir_await(weir_join(WEIR_RACE, parts, 2, results), WEIR_NEVER, NULL);
	watch(a, sizeof(a));
	watch(b, sizeof(b));
	took(v, b, results[1].res);
	return unless_of_network(v, r);
}

static int try_sleep(struct victim *v)
{
	(void)v;
	return weir_sleep(weir_sim_choose("cancel-sleep", 4000) * WEIR_MS);
}

static int (*const kinds[])(struct victim *v) = {
	try_sleep, try_read,	  try_write, try_connect, try_file_read, try_file_write, try_open,
	try_call,  try_read_async, try_race,  try_sync,	   try_serve,
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int attempt(void *arg)
{
	struct victim *v = arg;
	int r = kinds[(world.tries++ + weir_sim_choose("cancel-kind", KINDS)) % KINDS](v);

	weir_sim_checkf(r != -ECANCELED || v->cancelled,
			"cancel: only what was cancelled says so", "%d", r);
	weir_sim_checkf(r != -ETIMEDOUT || weir_now() >= v->limit_ns,
			"cancel: only what ran out of time says so", "%d", r);
	weir_sim_sometimes(r == -ECANCELED, "cancel: a call was cancelled");
	weir_sim_sometimes(r == -ETIMEDOUT, "cancel: a call ran out of time");
	weir_sim_sometimes(r >= 0 && v->cancelled, "cancel: a cancel came too late");
	return 0;
}

static int one_attempt(struct victim *v)
{
	int64_t after_ns = (int64_t)scenario_draw_size("cancel-after", 21) * WEIR_US;
	struct weir_coro_opts opts = { .name = "attempt", .deadline_ns = WEIR_NEVER };
	struct weir_coro *coro;
	bool by_time = weir_sim_choose("cancel-by", 2);
	int64_t asked_ns;
	int r;

	v->cancelled = false;
	v->limit_ns = WEIR_NEVER;
	if (world.together)
		after_ns = TOGETHER_NS - weir_now() % TOGETHER_NS;
	if (by_time)
		v->limit_ns = opts.deadline_ns = weir_in(after_ns);
	r = weir_coro_spawn(&opts, attempt, v, &coro);
	if (r < 0)
		return r;
	weir_sleep(after_ns);
	asked_ns = weir_now();
	if (!by_time) {
		v->cancelled = true;
		weir_coro_cancel(coro);
	}
	scenario_join(coro);
	weir_sim_checkf(weir_now() - asked_ns < SLACK_NS, "cancel: what is asked to end does so",
			"after %d s", (int)((weir_now() - asked_ns) / WEIR_S));
	return 0;
}

static int victim_run(void *arg)
{
	struct victim *v = arg;
	unsigned count = world.attempts - weir_sim_choose("cancel-fewer", world.attempts);
	int r = 0;

	snprintf(v->path, sizeof(v->path), "/victim-%u", world.streams += 2);
	for (unsigned i = 0; !r && i < count; i++)
		r = one_attempt(v);
	hang_up(v);
	weir_file_close(v->file);
	return r;
}

static int service(void *arg)
{
	struct victim *victims;
	int r;

	(void)arg;
	if (weir_core())
		return 0;
	victims = calloc(VICTIMS_MAX, sizeof(*victims));
	r = victims ? scenario_crowd(world.victims, victim_run, victims, sizeof(*victims)) :
		      -ENOMEM;
	free(victims);
	world.done = true;
	return r;
}

static int subject_main(void *arg)
{
	return weir_run(&world.opts, service, arg);
}

/* --- the world --- */

/* When the last call has returned nothing is in flight, and the process ends by itself. */
static int wait_end(void *arg)
{
	struct weir_sim_host *host = weir_sim_find("subject");
	int64_t done_ns = WEIR_NEVER;
	int r = 0;

	(void)arg;
	while (!r && weir_sim_is_running(host)) {
		r = weir_sleep(WEIR_S);
		if (world.done && done_ns == WEIR_NEVER)
			done_ns = weir_in(SLACK_NS);
		weir_sim_check(weir_now() < done_ns,
			       "cancel: with all calls ended the process ends");
	}
	return r;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	world.opts = scenario_opts(scenario_draw("cancel-cores", 1, 2));
	world.victims = scenario_draw("cancel-victims", 1, VICTIMS_MAX);
	world.attempts = scenario_draw("cancel-attempts-max", 1, 20);
	world.together = weir_sim_choose("cancel-together", 2);
	if (!weir_sim_host(sim, "subject", NULL, subject_main, NULL) ||
	    !weir_sim_host(sim, "peer", &reliable, peer_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_cancel = {
	.name = "cancel",
	.about = "a call that is cancelled or late returns once, and leaves nothing behind",
	.build = build,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
