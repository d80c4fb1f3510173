/* SPDX-License-Identifier: MIT */
/*
 * trace.c - what happened, as a hash, as a file for Perfetto, as a log to compare with.
 *
 * The hash is over (time, host, core, name, a, b) of each record. A name counts by its letters,
 * which are hashed once: the table below is indexed by its address, which changes nothing.
 *
 * The file is Chrome's trace event format (an array of JSON objects), which Perfetto reads: a host
 * is a process, a core a thread, an operation an asynchronous slice from its SQE to its end with
 * an instant for each CQE, everything else an instant. Times are virtual microseconds since the
 * world began.
 */
#include "ring/sim/trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/ensure.h"
#include "ring/ring.h"

#define NAMES 1024
#define CORES 64
#define EVENT_SIZE_MAX 512

#define WORLD_PID 1
#define KERNEL_CORE (-1)

struct name {
	const char *text;
	uint64_t hash;
};

struct weir_sim_tracer {
	uint64_t hash;
	struct weir_sim_sink *sink;
	struct weir_sim_log *log;
	bool opened;			    /* sink is ours */
	uint64_t named[WEIR_SIM_HOSTS + 1]; /* a bit for each thread track that has its name */
	struct name names[NAMES];
};

static struct weir_sim_sink *given_sink;
static struct weir_sim_log *given_log;

void weir__sim_tracer_give(struct weir_sim_sink *sink, struct weir_sim_log *log)
{
	given_sink = sink;
	given_log = log;
}

/* --- the hash --- */

/* Multiply and fold, as in wyhash (Wang Yi, public domain). */
static inline uint64_t mix(uint64_t x, uint64_t y)
{
	unsigned __int128 product = (unsigned __int128)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static void hash_record(struct weir_sim_tracer *tracer, uint64_t name,
			const struct weir_sim_record *record)
{
	uint64_t where = (uint64_t)(uint32_t)record->host << 32 | (uint32_t)record->core;
	uint64_t hash = tracer->hash;

	hash = mix(hash ^ (uint64_t)record->at_ns, name ^ where ^ UINT64_C(0x9e3779b97f4a7c15));
	hash = mix(hash ^ (uint64_t)record->a, (uint64_t)record->b ^ UINT64_C(0xe7037ed1a0b428db));
	tracer->hash = hash;
}

/* FNV-1a. */
static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_name(struct weir_sim_tracer *tracer, const char *text)
{
	struct name *name = &tracer->names[((uintptr_t)text ^ (uintptr_t)text >> 10) % NAMES];

	if (weir_unlikely(name->text != text))
		*name = (struct name){ text, hash_text(text) };
	return name->hash;
}

/* --- the log --- */

static void log_add(struct weir_sim_log *log, const struct weir_sim_record *record,
		    const char *name)
{
	struct weir_sim_record full = *record;

	strncpy(full.name, name, sizeof(full.name) - 1);
	if (!log->compares) {
		if (log->count < WEIR_SIM_LOG_MAX)
			log->records[log->count++] = full;
		return;
	}
	if (log->differs || log->count == WEIR_SIM_LOG_MAX)
		return;
	if (log->count == log->first_count ||
	    memcmp(&log->records[log->count], &full, sizeof(full))) {
		log->differs = true;
		log->longer = log->count == log->first_count;
		log->found = full;
		return;
	}
	log->count++;
}

static void log_end(struct weir_sim_log *log)
{
	if (log->compares && !log->differs && log->count < log->first_count) {
		log->differs = true;
		log->shorter = true;
	}
}

/* --- the file --- */

static void sink_flush(struct weir_sim_sink *sink)
{
	size_t at = 0;

	while (at < sink->size && !sink->error) {
		ssize_t n = write(sink->fd, sink->text + at, sink->size - at);

		if (n > 0)
			at += (size_t)n;
		else if (errno != EINTR)
			sink->error = -errno;
	}
	sink->size = 0;
}

/* size is at most EVENT_SIZE_MAX. */
static void sink_put(struct weir_sim_sink *sink, const char *text, size_t size)
{
	if (size > sizeof(sink->text) - sink->size)
		sink_flush(sink);
	memcpy(sink->text + sink->size, text, size);
	sink->size += size;
}

/* One object of the array. What does not fit is not written: it would be no JSON. */
__attribute__((format(printf, 2, 3))) static void sink_event(struct weir_sim_sink *sink,
							     const char *format, ...)
{
	char text[EVENT_SIZE_MAX];
	va_list args;
	int size;

	if (sink->events == WEIR_SIM_SINK_EVENTS_MAX)
		return;
	va_start(args, format);
	size = vsnprintf(text + 2, sizeof(text) - 2, format, args);
	va_end(args);
	if (size < 0 || (size_t)size >= sizeof(text) - 2)
		return;
	text[0] = sink->events++ ? ',' : '[';
	text[1] = '\n';
	sink_put(sink, text, (size_t)size + 2);
}

int weir__sim_sink_end(struct weir_sim_sink *sink)
{
	static const char empty[] = "[\n]\n", end[] = "\n]\n";

	if (!sink->ended) {
		sink->ended = true;
		if (sink->events)
			sink_put(sink, end, sizeof(end) - 1);
		else
			sink_put(sink, empty, sizeof(empty) - 1);
	}
	sink_flush(sink);
	return sink->error;
}

static int pid_of(int host)
{
	return WORLD_PID + 1 + host;
}

static int tid_of(int core)
{
	return core + 1;
}

/* text between quotes, at most size bytes with the zero. */
static const char *quote(char *to, size_t size, const char *text)
{
	size_t at = 0;

	for (; *text && at + 3 < size; text++) {
		if (*text == '"' || *text == '\\')
			to[at++] = '\\';
		to[at++] = (unsigned char)*text < 0x20 ? ' ' : *text;
	}
	to[at] = 0;
	return to;
}

/* Names the tracks of host and core when they are first used. */
static void name_tracks(struct weir_sim *sim, int host, int core)
{
	struct weir_sim_tracer *tracer = sim->tracer;
	uint64_t *named = &tracer->named[host + 1];
	uint64_t bit = UINT64_C(1) << (core + 1) % CORES;
	char name[64];

	if (*named & bit)
		return;
	if (!*named)
		sink_event(tracer->sink,
			   "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"tid\":0,"
			   "\"args\":{\"name\":\"%s\"}}",
			   pid_of(host),
			   quote(name, sizeof(name), host < 0 ? "world" : sim->hosts[host]->name));
	*named |= bit;
	if (core >= 0)
		snprintf(name, sizeof(name), "core %d", core);
	sink_event(tracer->sink,
		   "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%d,\"tid\":%d,"
		   "\"args\":{\"name\":\"%s\"}}",
		   pid_of(host), tid_of(core), core < 0 ? "kernel" : name);
}

/* The beginning that all events have: ts is in microseconds. */
#define COMMON "{\"ph\":\"%s\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"ts\":%" PRId64 ".%03d"
#define COMMON_ARGS(ph, name, record)                                                              \
	(ph), (name), pid_of((record)->host), tid_of((record)->core), (record)->at_ns / 1000,      \
		(int)((record)->at_ns % 1000)

static void write_instant(struct weir_sim *sim, const struct weir_sim_record *record,
			  const char *text)
{
	char name[128];

	name_tracks(sim, record->host, record->core);
	sink_event(sim->tracer->sink,
		   COMMON ",\"s\":\"t\",\"args\":{\"choice\":%" PRIu64 ",\"a\":%" PRId64
			  ",\"b\":%" PRId64 "}}",
		   COMMON_ARGS("i", quote(name, sizeof(name), text), record),
		   sim->report ? sim->report->choices_made : 0, record->a, record->b);
}

static void write_op(struct weir_sim *sim, const struct weir_soft_req *req,
		     enum weir_soft_event event, const struct weir_sim_record *record)
{
	static const char *const phases[] = {
		[WEIR_SOFT_BEGINS] = "b",
		[WEIR_SOFT_POSTS] = "n",
		[WEIR_SOFT_ENDS] = "e",
	};
	const struct weir_sim_ring *ring = weir__sim_ring(req->soft);
	const char *name = weir__opcode_name(req->sqe.opcode);
	char args[96] = "";

	if (event == WEIR_SOFT_BEGINS)
		snprintf(args, sizeof(args), "\"fd\":%d,\"len\":%u,\"flags\":%u", req->sqe.fd,
			 req->sqe.len, req->sqe.flags);
	else if (event == WEIR_SOFT_POSTS)
		snprintf(args, sizeof(args), "\"res\":%d,\"flags\":%u", (int)(int32_t)record->b,
			 (unsigned)((uint64_t)record->b >> 32));
	name_tracks(sim, record->host, record->core);
	sink_event(sim->tracer->sink,
		   COMMON ",\"cat\":\"op\",\"id\":\"%d.%u.%" PRIu64 "\",\"args\":{%s}}",
		   COMMON_ARGS(phases[event], name, record), record->host, ring->number,
		   req->serial, args);
}

/* --- records --- */

/* The core whose fiber runs on host, else the kernel's track. */
static int core_of(const struct weir_sim *sim, const struct weir_sim_host *host)
{
	const struct weir_sim_fiber *fiber = sim->current;

	return fiber && fiber->host == host ? (int)fiber->core : KERNEL_CORE;
}

static struct weir_sim_record record_make(const struct weir_sim *sim,
					  const struct weir_sim_host *host, int64_t a, int64_t b)
{
	return (struct weir_sim_record){
		.at_ns = sim->now_ns - sim->began_ns,
		.a = a,
		.b = b,
		.host = host ? (int)host->index : -1,
		.core = core_of(sim, host),
	};
}

void weir__sim_trace(struct weir_sim *sim, const struct weir_sim_host *host, const char *name,
		     int64_t a, int64_t b)
{
	struct weir_sim_record record = record_make(sim, host, a, b);
	struct weir_sim_tracer *tracer = sim->tracer;

	if (!tracer)
		return;
	hash_record(tracer, hash_name(tracer, name), &record);
	if (weir_unlikely(tracer->log))
		log_add(tracer->log, &record, name);
	if (weir_unlikely(tracer->sink))
		write_instant(sim, &record, name);
}

void weir__sim_trace_op(struct weir_soft_req *req, enum weir_soft_event event, int res,
			uint32_t cflags)
{
	struct weir_sim_ring *ring = weir__sim_ring(req->soft);
	struct weir_sim *sim = ring->host->sim;
	struct weir_sim_tracer *tracer = sim->tracer;
	struct weir_sim_record record =
		record_make(sim, ring->host,
			    (int64_t)(req->serial << 16 | (ring->number & 0x3fff) << 2 | event),
			    (int64_t)((uint64_t)cflags << 32 | (uint32_t)res));

	if (!tracer)
		return;
	hash_record(tracer, req->sqe.opcode, &record);
	if (weir_unlikely(tracer->log))
		log_add(tracer->log, &record, weir__opcode_name(req->sqe.opcode));
	if (weir_unlikely(tracer->sink))
		write_op(sim, req, event, &record);
}

/* --- life --- */

static int sink_open(const char *path, struct weir_sim_sink **ret_sink)
{
	struct weir_sim_sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return -ENOMEM;
	sink->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (sink->fd < 0) {
		int r = -errno;

		free(sink);
		return r;
	}
	*ret_sink = sink;
	return 0;
}

int weir__sim_tracer_create(struct weir_sim *sim, const char *path)
{
	struct weir_sim_tracer *tracer = calloc(1, sizeof(*tracer));
	int r;

	if (!tracer)
		return -ENOMEM;
	tracer->hash = UINT64_C(0xa0761d6478bd642f);
	tracer->sink = given_sink;
	tracer->log = given_log;
	if (path && !tracer->sink) {
		r = sink_open(path, &tracer->sink);
		if (r) {
			free(tracer);
			return r;
		}
		tracer->opened = true;
	}
	weir__sim_tracer_give(NULL, NULL);
	sim->tracer = tracer;
	return 0;
}

uint64_t weir__sim_tracer_end(struct weir_sim *sim)
{
	struct weir_sim_tracer *tracer = sim->tracer;
	uint64_t hash;

	if (!tracer)
		return 0;
	hash = tracer->hash;
	if (tracer->log)
		log_end(tracer->log);
	if (tracer->sink)
		weir__sim_sink_end(tracer->sink);
	if (tracer->opened) {
		close(tracer->sink->fd);
		free(tracer->sink);
	}
	free(tracer);
	sim->tracer = NULL;
	return hash;
}
