/* SPDX-License-Identifier: MIT */
/*
 * stream_net.c - connections and listeners as streams.
 *
 * A connection is paused unless the coroutine that reads it waits for data: so the kernel receives
 * only what was asked for, and what one receive had taken before it was disarmed.
 *
 * An item is where its bytes lie, and drop is given nothing else: the buffer is found by its
 * address, and whose it is stands in the ring's table of buffers.
 */
#include "futures/stream.h"
#include "futures/weir_sync.h"
#include "net/conn_parts.h"
#include "net/weir_stream_net.h"

/* --- what arrives --- */

struct arrivals {
	struct weir_arena *arena;
	struct weir_conn *conn;
	struct weir_semaphore leases;	/* that are not out */
};

static void arrival_drop(struct weir_item item)
{
	struct weir_ring *ring = weir__self->ring;
	uint16_t id = weir__buf_id(&ring->bufs, item.ptr);
	struct arrivals *arrivals = weir__buf_owner(&ring->bufs.table[id]);
	struct weir_lease lease = { .data = item.ptr, .size = item.size, .id_ = id };

	weir_conn_release(arrivals->conn, &lease);
	weir_semaphore_release(&arrivals->leases, 1);
	weir_arena_drop(arrivals->arena);
}

/* One lease, asked for and received. */
static ssize_t arrive(struct weir_emitter *emitter, struct arrivals *arrivals,
		      struct weir_item *ret_item)
{
	struct weir_lease lease;
	ssize_t n = weir__emit_wait(emitter);

	if (!n)
		n = weir_semaphore_acquire(&arrivals->leases, 1, WEIR_NEVER);
	if (n < 0)
		return n;
	weir_conn_resume(arrivals->conn);
	n = weir_conn_lease(arrivals->conn, &lease);
	if (n <= 0) {
		weir_semaphore_release(&arrivals->leases, 1);
		return n;
	}
	weir__buf_set_owner(&arrivals->conn->net->ring->bufs.table[lease.id_], arrivals);
	weir_arena_keep(arrivals->arena);
	*ret_item = weir_item_ptr((void *)(uintptr_t)lease.data, lease.size);
	return n;
}

static int emit_arrivals(struct weir_emitter *emitter, void *arg)
{
	struct arrivals *arrivals = arg;
	struct weir_item item;
	ssize_t n;

	weir_conn_pause(arrivals->conn);
	while ((n = arrive(emitter, arrivals, &item)) > 0) {
		n = weir_emit(emitter, item);
		if (n < 0) {
			arrival_drop(item);
			break;
		}
		if (!weir_emit_is_wanted(emitter))
			weir_conn_pause(arrivals->conn);
	}
	weir_conn_resume(arrivals->conn);
	return (int)n;
}

struct weir_stream *weir_stream_conn(struct weir_arena *arena, struct weir_conn *conn,
				     unsigned leases)
{
	struct arrivals *arrivals = weir_arena_alloc(arena, sizeof(*arrivals));
	struct weir_stream *stream;

	if (!conn || !leases)
		return weir__arena_fail(arena, -EINVAL);
	if (!arrivals || weir_semaphore_init(&arrivals->leases, leases, leases) < 0)
		return &arena->broken.stream;
	arrivals->arena = arena;
	arrivals->conn = conn;
	stream = weir__stream_generate(arena, "conn", emit_arrivals, arrivals);
	if (stream != &arena->broken.stream)
		stream->drop = arrival_drop;
	return stream;
}

/* --- who connects --- */

struct listens {
	struct weir__stage stage;
	const char *address;
	struct weir_serve_opts opts;
	struct weir_listener *listener;	/* NULL: there is none, or it was stopped */
	struct weir__ring ring;
	bool listening;			/* on_end is still to come */
	bool begun;
};

static struct listens *listens_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct listens, stage);
}

static void conn_drop(struct weir_item item)
{
	weir_conn_abort(item.ptr);
}

static void accepted(struct weir_conn *conn, void *arg)
{
	struct listens *listens = arg;
	struct weir__stage *stage = &listens->stage;

	if (stage->over || weir__ring_is_full(&listens->ring)) {
		stage->dropped += !stage->over;
		weir_conn_abort(conn);
	} else if (stage->demand > 0) {
		weir__stage_give(stage, weir_item_ptr(conn, 0));
	} else {
		weir__ring_push(&listens->ring, weir_item_ptr(conn, 0));
	}
}

/* The last connection is gone as well. */
static void listening_ended(void *arg)
{
	struct listens *listens = arg;

	listens->listening = false;
	listens->listener = NULL;
	weir__stage_end(&listens->stage, 0);
	weir__arena_release(listens->stage.stream.arena);
}

static void listen_begin(struct listens *listens)
{
	static const struct weir_listener_events events = { .on_accept = accepted,
							    .on_end = listening_ended };
	int r;

	listens->begun = true;
	weir__arena_hold(listens->stage.stream.arena);
	listens->listening = true;
	r = weir_listener_create(listens->address, &listens->opts, &events, listens,
				 &listens->listener);
	if (!r)
		return;
	listens->listening = false;
	weir__stage_end(&listens->stage, r);
	weir__arena_release(listens->stage.stream.arena);
}

static void listen_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct listens *listens = listens_of(stage);

	if (!weir__stage_demand(stage, n))
		return;
	if (!listens->begun)
		listen_begin(listens);
	while (!stage->over && stage->demand > 0 && listens->ring.count)
		weir__stage_give(stage, weir__ring_pop(&listens->ring));
}

static void listen_start(struct weir__stage *stage)
{
	listens_of(stage)->begun = listens_of(stage)->listening;
}

static void listen_stop(struct weir__stage *stage)
{
	struct listens *listens = listens_of(stage);
	struct weir_listener *listener = listens->listener;

	weir__ring_clear(&listens->ring, &stage->stream);
	listens->listener = NULL;
	if (listener)
		weir_listener_stop(listener);
}

static unsigned listen_buffered(const struct weir__stage *stage)
{
	return listens_of((struct weir__stage *)(uintptr_t)stage)->ring.count;
}

struct weir_stream *weir_stream_listen(struct weir_arena *arena, const char *address,
				       const struct weir_serve_opts *opts, unsigned room)
{
	static const struct weir_subscription_ops out = { listen_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "listen",
						      .start = listen_start,
						      .stop = listen_stop,
						      .buffered = listen_buffered };
	struct listens *listens = weir__stage_new(arena, sizeof(*listens), &kind, NULL, &out);

	if (!address || !room)
		return weir__arena_fail(arena, -EINVAL);
	if (!listens || !weir__ring_init(&listens->ring, arena, room))
		return &arena->broken.stream;
	listens->address = address;
	if (opts)
		listens->opts = *opts;
	listens->stage.counts = true;
	listens->stage.stream.drop = conn_drop;
	return &listens->stage.stream;
}

/* --- what is sent --- */

static int write_item(struct weir_item item, void *arg)
{
	return weir_conn_write_all(arg, item.ptr, item.size);
}

struct weir_future *weir_stream_to_conn(struct weir_stream *stream, struct weir_conn *conn)
{
	return weir_stream_each(stream, 2, write_item, conn);
}
