/* SPDX-License-Identifier: MIT */
/*
 * stream_coro.c - streams that coroutines send and take: generate, each, channels, another core.
 */
#include "futures/stream.h"

#include "core/waiters.h"
#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_chan.h"

/* --- generate --- */

struct generator {
	struct weir__stage stage;
	weir_emit_fn fn;
	void *arg;
	struct weir_coro *coro;		/* of this subscription; NULL: none yet, or it is over */
	struct weir_emitter *emitter;	/* once that runs */
	bool begun;
};

/* On the coroutine's stack: it may end after its stage was subscribed to anew. */
struct weir_emitter {
	struct generator *generator;
	struct weir_waiters line;
	bool over;
};

static struct generator *generator_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct generator, stage);
}

int weir__emit_wait(struct weir_emitter *emitter)
{
	while (!emitter->over && !emitter->generator->stage.demand) {
		struct weir_waiter waiter = { 0 };
		int r = weir__waiters_wait(&emitter->line, &waiter, "emit", WEIR_NEVER);

		if (r < 0)
			return emitter->over ? -ECANCELED : r;
	}
	return emitter->over ? -ECANCELED : 0;
}

int weir_emit(struct weir_emitter *emitter, struct weir_item item)
{
	int r = weir__emit_wait(emitter);

	if (!r)
		weir__stage_give(&emitter->generator->stage, item);
	return r;
}

bool weir_emit_is_wanted(const struct weir_emitter *emitter)
{
	return !emitter->over && emitter->generator->stage.demand > 0;
}

static int generator_body(void *arg)
{
	struct generator *generator = arg;
	struct weir_arena *arena = generator->stage.stream.arena;
	struct weir_emitter emitter = { .generator = generator };
	int r;

	weir__waiters_init(&emitter.line);
	if (generator->coro == weir_coro_self()) {
		generator->emitter = &emitter;
		r = generator->fn(&emitter, generator->arg);
		if (!emitter.over) {
			generator->coro = NULL;
			generator->emitter = NULL;
			weir__stage_end(&generator->stage, r < 0 ? r : 0);
		}
	}
	weir__arena_release(arena);
	return 0;
}

static void generator_start(struct weir__stage *stage)
{
	struct generator *generator = generator_of(stage);

	generator->coro = NULL;
	generator->emitter = NULL;
	generator->begun = false;
}

static void generator_stop(struct weir__stage *stage)
{
	struct generator *generator = generator_of(stage);

	if (generator->emitter)
		generator->emitter->over = true;
	if (generator->coro)
		weir_coro_cancel(generator->coro);
	generator->coro = NULL;
	generator->emitter = NULL;
}

static void generator_begin(struct generator *generator)
{
	struct weir_coro_opts opts = { .name = generator->stage.name,
				       .detached = true,
				       .deadline_ns = WEIR_NEVER };
	int r;

	generator->begun = true;
	weir__arena_hold(generator->stage.stream.arena);
	r = weir_coro_spawn(&opts, generator_body, generator, &generator->coro);
	if (r == 0)
		return;
	generator->coro = NULL;
	weir__stage_end(&generator->stage, r);
	weir__arena_release(generator->stage.stream.arena);
}

static void generator_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct generator *generator = generator_of(stage);

	if (!weir__stage_demand(stage, n))
		return;
	if (!generator->begun)
		generator_begin(generator);
	else if (generator->emitter)
		weir__waiters_wake_all(&generator->emitter->line, 0);
}

struct weir_stream *weir__stream_generate(struct weir_arena *arena, const char *name,
					  weir_emit_fn fn, void *arg)
{
	static const struct weir_subscription_ops out = { generator_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "generate",
						      .start = generator_start,
						      .stop = generator_stop };
	struct generator *generator = weir__stage_new(arena, sizeof(*generator), &kind, NULL, &out);

	if (!fn)
		return weir__arena_fail(arena, -EINVAL);
	if (!generator)
		return &arena->broken.stream;
	generator->stage.counts = true;
	generator->stage.name = name;
	generator->fn = fn;
	generator->arg = arg;
	return &generator->stage.stream;
}

static struct weir_stream *with_drop(struct weir_stream *stream, weir_item_drop_fn drop)
{
	if (stream != &stream->arena->broken.stream)
		stream->drop = drop;
	return stream;
}

struct weir_stream *weir_stream_generate(struct weir_arena *arena, weir_emit_fn fn, void *arg,
					 weir_item_drop_fn drop)
{
	return with_drop(weir__stream_generate(arena, "generate", fn, arg), drop);
}

/* --- from a channel --- */

/* Received only when it is asked for: nothing is taken out that nobody wants. */
static int emit_chan(struct weir_emitter *emitter, void *arg)
{
	struct weir_item item;
	int r;

	while (!(r = weir__emit_wait(emitter)) &&
	       !(r = weir_chan_receive(arg, &item, WEIR_NEVER))) {
		if (emitter->over)
			weir__item_drop(&emitter->generator->stage.stream, item);
		else
			r = weir_emit(emitter, item);
		if (r)
			break;
	}
	return r == -EPIPE ? 0 : r;
}

struct weir_stream *weir_stream_chan(struct weir_arena *arena, struct weir_chan *chan,
				     weir_item_drop_fn drop)
{
	if (!chan)
		return weir__arena_fail(arena, -EINVAL);
	return with_drop(weir__stream_generate(arena, "chan", emit_chan, chan), drop);
}

/* --- to a coroutine --- */

struct drain {
	struct weir__sink sink;
	struct weir__ring ring;
	struct weir_waiters line;	/* the coroutine waits for an item */
	struct weir_coro *coro;
	int (*begin)(struct drain *drain);		/* in the coroutine; may be NULL */
	/* 0: item was taken; 1: it was looked at, and is dropped; or an error */
	int (*take)(struct drain *drain, struct weir_item item);
	int (*finish)(struct drain *drain, int error);	/* after the last; may be NULL */
	weir_stream_each_fn fn;
	void *arg;
	int64_t offset;
	int64_t count;
	int error;
	bool is_last;			/* what is in the ring is all */
	bool flag;
};

static struct drain *drain_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct drain, sink.in);
}

static void drain_next(struct weir_subscriber *in, struct weir_item item)
{
	struct drain *drain = drain_of(in);

	if (drain->sink.over || weir__ring_is_full(&drain->ring)) {
		weir__item_drop(drain->sink.source, item);
		weir__sink_end(&drain->sink, -EPROTO);	/* unless it is over */
		return;
	}
	weir__ring_push(&drain->ring, item);
	weir__waiters_wake_all(&drain->line, 0);
}

static void drain_ended(struct weir_subscriber *in, int error)
{
	struct drain *drain = drain_of(in);

	drain->sink.up = NULL;
	drain->is_last = true;
	drain->error = error;
	weir__waiters_wake_all(&drain->line, 0);
}

static void drain_stop(struct weir__sink *sink)
{
	struct drain *drain = weir_container_of(sink, struct drain, sink);

	if (drain->coro)
		weir_coro_cancel(drain->coro);
}

/* The next item: 1, or 0: the end, or an error. */
static int drain_get(struct drain *drain, struct weir_item *ret_item)
{
	while (!drain->ring.count && !drain->is_last && !drain->sink.over) {
		struct weir_waiter waiter = { 0 };
		int r = weir__waiters_wait(&drain->line, &waiter, "stream", WEIR_NEVER);

		if (r < 0)
			return r;
	}
	if (drain->sink.over || !drain->ring.count)
		return drain->sink.over ? -ECANCELED : drain->error;
	*ret_item = weir__ring_pop(&drain->ring);
	return 1;
}

static int drain_loop(struct drain *drain)
{
	struct weir_item item;
	int r;

	while ((r = drain_get(drain, &item)) == 1) {
		r = drain->take(drain, item);
		if (r)
			weir__item_drop(drain->sink.source, item);
		if (r < 0)
			return r;
		drain->count++;
		if (drain->sink.up)
			drain->sink.up->ops->request(drain->sink.up, 1);
	}
	return r;
}

static int drain_body(void *arg)
{
	struct drain *drain = arg;
	struct weir_arena *arena = drain->sink.arena;
	int r = drain->begin ? drain->begin(drain) : 0;

	if (!r)
		r = drain_loop(drain);
	if (drain->finish)
		r = drain->finish(drain, r);
	drain->coro = NULL;
	weir__sink_end(&drain->sink, r < 0 ? r : drain->count);
	weir__ring_clear(&drain->ring, drain->sink.source);
	weir__arena_release(arena);
	return 0;
}

static struct drain *make_drain(struct weir_stream *stream, unsigned prefetch,
				struct weir_future **ret_future)
{
	static const struct weir_subscriber_ops in = { weir__sink_subscribed, drain_next,
						       drain_ended };
	struct drain *drain = weir__sink_new(stream, sizeof(*drain), &in, ret_future);

	if (!drain)
		return NULL;
	weir__waiters_init(&drain->line);
	drain->sink.stop = drain_stop;
	if (prefetch && weir__ring_init(&drain->ring, stream->arena, prefetch))
		return drain;
	weir__sink_end(&drain->sink, prefetch ? -ENOBUFS : -EINVAL);
	return NULL;
}

static void run_drain(struct drain *drain)
{
	const struct weir_coro_opts opts = { .name = "stream", .detached = true,
					     .deadline_ns = WEIR_NEVER };
	int r = weir_coro_spawn(&opts, drain_body, drain, &drain->coro);

	if (r < 0) {
		drain->coro = NULL;
		weir__sink_end(&drain->sink, r);
		return;
	}
	weir__arena_hold(drain->sink.arena);
	weir__sink_run(&drain->sink, drain->ring.size);
}

static int take_each(struct drain *drain, struct weir_item item)
{
	int r = drain->fn(item, drain->arg);

	return r < 0 ? r : 1;
}

struct weir_future *weir_stream_each(struct weir_stream *stream, unsigned prefetch,
				     weir_stream_each_fn fn, void *arg)
{
	struct weir_future *future;
	struct drain *drain = make_drain(stream, prefetch, &future);

	if (drain) {
		drain->take = take_each;
		drain->fn = fn;
		drain->arg = arg;
		run_drain(drain);
	}
	return future;
}

static int take_chan(struct drain *drain, struct weir_item item)
{
	return weir_chan_send(drain->arg, &item, WEIR_NEVER);
}

static int finish_chan(struct drain *drain, int r)
{
	if (drain->flag)
		weir_chan_close(drain->arg);
	return r;
}

#define CHAN_PREFETCH 16

struct weir_future *weir_stream_to_chan(struct weir_stream *stream, struct weir_chan *chan,
					bool closes)
{
	struct weir_future *future;
	struct drain *drain = make_drain(stream, CHAN_PREFETCH, &future);

	if (drain) {
		drain->take = take_chan;
		drain->finish = finish_chan;
		drain->arg = chan;
		drain->flag = closes;
		run_drain(drain);
	}
	return future;
}

/* --- another core --- */

/* Of both cores, in the arena of this one. */
struct there {
	struct weir_chan *chan;		/* that core's: it receives */
	struct weir_future *(*build)(struct weir_stream *stream, void *arg);
	void *arg;
	weir_item_drop_fn drop;
	unsigned core, room;
	int error; /* what the stream ended with here, before chan was closed */
	int res;			/* of the pipeline there, or why there was none */
	struct weir_coro *coro;		/* waits for it */
};

static int open_there(void *arg)
{
	struct there *there = arg;
	const struct weir_chan_opts opts = { .item_size = sizeof(struct weir_item),
					     .capacity = there->room,
					     .across = true,
					     .name = "observe_on" };

	return weir_chan_create(&opts, &there->chan);
}

static int close_there(void *arg)
{
	return weir_chan_destroy(((struct there *)arg)->chan);
}

static int emit_there(struct weir_emitter *emitter, void *arg)
{
	struct there *there = arg;
	int r = emit_chan(emitter, there->chan);

	return r ? r : there->error;
}

static int build_there(struct there *there)
{
	struct weir_arena *arena;
	int r = weir_arena_create(NULL, &arena);

	if (r < 0)
		return r;
	return (int)weir_await(there->build(weir_stream_generate(arena, emit_there, there,
								 there->drop),
					    there->arg),
			       WEIR_NEVER, NULL);
}

static int run_there(void *arg)
{
	struct there *there = arg;
	struct weir_item item;
	int r = build_there(there);

	/* What is on the way comes to nobody; who sends is told so. */
	weir_coro_shield();
	weir_chan_close(there->chan);
	while (!weir_chan_receive(there->chan, &item, WEIR_NEVER))
		if (there->drop)
			there->drop(item);
	weir_coro_unshield();
	return r;
}

static int await_there(void *arg)
{
	struct there *there = arg;
	int res = 0;
	int r = weir_call(there->core, run_there, there, WEIR_NEVER, &res);

	there->res = r < 0 ? r : res;
	return 0;
}

static int begin_there(struct drain *drain)
{
	const struct weir_coro_opts opts = { .name = "observe_on", .deadline_ns = WEIR_NEVER };
	struct there *there = drain->arg;
	int res = 0;
	int r = weir_call(there->core, open_there, there, WEIR_NEVER, &res);

	if (!r && !res)
		r = weir_coro_spawn(&opts, await_there, there, &there->coro);
	return r < 0 ? r : res;
}

static int take_there(struct drain *drain, struct weir_item item)
{
	return weir_chan_send(((struct there *)drain->arg)->chan, &item, WEIR_NEVER);
}

/* Whatever happens: the other core uses our memory until it has answered. */
static int finish_there(struct drain *drain, int r)
{
	struct there *there = drain->arg;

	if (!there->chan)
		return r;
	weir_coro_shield();
	there->error = r == -EPIPE ? 0 : r;
	weir_chan_close(there->chan);
	if (there->coro) {
		if (r == -ECANCELED)
			weir_coro_cancel(there->coro);
		weir_coro_join(there->coro, WEIR_NEVER, NULL);
	}
	weir_call(there->core, close_there, there, WEIR_NEVER, NULL);
	weir_coro_unshield();
	if (!there->coro || r == -ECANCELED)
		return r;
	drain->count = there->res;
	return there->res < 0 ? there->res : 0;
}

struct weir_future *
weir_stream_observe_on(struct weir_stream *stream, unsigned core, unsigned room,
		       struct weir_future *(*build)(struct weir_stream *stream, void *arg),
		       void *arg)
{
	struct weir_future *future;
	struct drain *drain = make_drain(stream, CHAN_PREFETCH, &future);
	struct there *there = drain ? weir_arena_alloc(stream->arena, sizeof(*there)) : NULL;

	if (!drain)
		return future;
	if (!there || !room || !build || core >= weir_core_count()) {
		weir__sink_end(&drain->sink, there ? -EINVAL : -ENOBUFS);
		return future;
	}
	*there = (struct there){ .build = build, .arg = arg, .drop = stream->drop, .core = core,
				 .room = room };
	drain->begin = begin_there;
	drain->take = take_there;
	drain->finish = finish_there;
	drain->arg = there;
	run_drain(drain);
	return future;
}
