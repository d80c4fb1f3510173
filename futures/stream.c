/* SPDX-License-Identifier: MIT */
/*
 * stream.c - what all stages do, and the arena that they live in.
 */
#include "futures/stream.h"

#include "core/alloc.h"
#include "core/coro.h"
#include "futures/future.h"

#define SIZE (16u << 10)
#define SIZE_MAX_ (1u << 30)

/* --- what refuses --- */

static void nothing_request(struct weir_subscription *subscription, int64_t n)
{
	(void)subscription;
	(void)n;
}

static void nothing_cancel(struct weir_subscription *subscription)
{
	(void)subscription;
}

static const struct weir_subscription_ops nothing_ops = { nothing_request, nothing_cancel };
static struct weir_subscription nothing = { &nothing_ops };

void weir__refuse(struct weir_subscriber *subscriber, int error)
{
	subscriber->ops->subscribed(subscriber, &nothing);
	subscriber->ops->ended(subscriber, error);
}

int weir_stream_subscribe(struct weir_stream *stream, struct weir_subscriber *subscriber)
{
	if (!stream || !subscriber)
		return -EINVAL;
	stream->ops->subscribe(stream, subscriber);
	return 0;
}

/* --- stages --- */

void weir__stage_subscribe(struct weir_stream *stream, struct weir_subscriber *down)
{
	struct weir__stage *stage = weir_container_of(stream, struct weir__stage, stream);

	if (stage->stream.arena->home != weir__self) {
		weir__refuse(down, -EPROTO);
		return;
	}
	if (stage->down) {
		weir__refuse(down, -EBUSY);
		return;
	}
	stage->down = down;
	stage->send = down->ops->next;
	stage->over = false;
	stage->up = NULL;
	stage->demand = 0;
	if (stage->kind->start)
		stage->kind->start(stage);
	if (stage->source) {
		stage->source->ops->subscribe(stage->source, &stage->in);
		return;
	}
	down->ops->subscribed(down, &stage->out);
	if (!stage->over && stage->kind->begin)
		stage->kind->begin(stage);
}

void weir__stage_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	if (stage->up || stage->over) {
		up->ops->cancel(up);
		return;
	}
	stage->up = up;
	stage->down->ops->subscribed(stage->down, &stage->out);
}

/* stage is over; what is above and below it is forgotten. */
static struct weir_subscription *leave(struct weir__stage *stage)
{
	struct weir_subscription *up = stage->up;

	stage->over = true;
	stage->up = NULL;
	stage->down = NULL;
	if (stage->kind->stop)
		stage->kind->stop(stage);
	return up;
}

void weir__stage_end(struct weir__stage *stage, int error)
{
	struct weir_subscriber *down = stage->down;
	struct weir_subscription *up;

	if (stage->over)
		return;
	up = leave(stage);
	if (up)
		up->ops->cancel(up);
	down->ops->ended(down, error);
}

void weir__stage_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	stage->up = NULL;
	weir__stage_end(stage, error);
}

void weir__stage_cancel(struct weir_subscription *out)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct weir_subscription *up;

	if (stage->over)
		return;
	up = leave(stage);
	if (up)
		up->ops->cancel(up);
}

void weir__stage_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);

	if (weir_unlikely(n <= 0))
		weir__stage_end(stage, -EINVAL);
	else if (stage->up)
		stage->up->ops->request(stage->up, n);
}

const struct weir_subscription_ops weir__stage_out = { weir__stage_request, weir__stage_cancel };

bool weir__stage_demand(struct weir__stage *stage, int64_t n)
{
	if (weir_unlikely(n <= 0))
		weir__stage_end(stage, -EINVAL);
	if (stage->over)
		return false;
	stage->demand = weir__demand_add(stage->demand, n);
	return true;
}

static const struct weir_stream_ops stage_ops = { weir__stage_subscribe };

void *weir__stage_new(struct weir_arena *arena, size_t size, const struct weir__stage_kind *kind,
		      const struct weir_subscriber_ops *in, const struct weir_subscription_ops *out)
{
	struct weir__stage *stage = weir_arena_alloc(arena, size);

	if (!stage)
		return NULL;
	stage->stream.ops = &stage_ops;
	stage->stream.arena = arena;
	stage->in.ops = in;
	stage->out.ops = out;
	stage->kind = kind;
	stage->over = true;
	arena->stage_count++;
	weir__queue_push(&arena->stages, &stage->link);
	return stage;
}

void *weir__stage_on(struct weir_stream *source, size_t size, const struct weir__stage_kind *kind,
		     const struct weir_subscriber_ops *in, const struct weir_subscription_ops *out)
{
	struct weir__stage *stage = weir__stage_new(source->arena, size, kind, in, out);

	if (!stage)
		return NULL;
	stage->source = source;
	stage->stream.drop = source->drop;
	return stage;
}

/* --- inputs --- */

void weir__input_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__input *input = weir__input_of(in);

	if (input->up || input->over)
		up->ops->cancel(up);
	else
		input->up = up;
}

bool weir__input_end(struct weir__input *input)
{
	bool was_over = input->over || input->stage->over;

	input->over = true;
	input->up = NULL;
	return !was_over;
}

void weir__input_start(struct weir__input *input, const struct weir_subscriber_ops *ops)
{
	input->in.ops = ops;
	input->up = NULL;
	input->over = false;
	input->source->ops->subscribe(input->source, &input->in);
}

void weir__input_cancel(struct weir__input *input)
{
	struct weir_subscription *up = input->up;

	input->over = true;
	input->up = NULL;
	if (up)
		up->ops->cancel(up);
}

/* --- rings --- */

bool weir__ring_init(struct weir__ring *ring, struct weir_arena *arena, unsigned size)
{
	ring->items = weir_arena_alloc(arena, size * sizeof(*ring->items));
	ring->size = size;
	ring->head = ring->count = 0;
	return ring->items;
}

void weir__ring_clear(struct weir__ring *ring, const struct weir_stream *stream)
{
	while (ring->count)
		weir__item_drop(stream, weir__ring_pop(ring));
}

/* --- arenas --- */

static void broken_subscribe(struct weir_stream *stream, struct weir_subscriber *subscriber)
{
	weir__refuse(subscriber, stream->arena->error);
}

static const struct weir_stream_ops broken_ops = { broken_subscribe };
static const struct weir__stage_kind broken_kind = { .name = "broken" };

/* Of streams that have no arena: never written to. */
static struct weir_arena nowhere = {
	.name = "nowhere",
	.error = -EINVAL,
	.broken = {
		.stream = { .ops = &broken_ops, .arena = &nowhere },
		.kind = &broken_kind,
	},
};

struct weir_stream *weir__streams_bad(struct weir_stream *const *streams, unsigned count)
{
	unsigned i;

	if (!streams || !count || !streams[0])
		return &nowhere.broken.stream;
	if (count > WEIR_STREAMS_MAX)
		return weir__arena_fail(streams[0]->arena, -EINVAL);
	for (i = 1; i < count; i++)
		if (!streams[i] || streams[i]->arena != streams[0]->arena)
			return weir__arena_fail(streams[0]->arena, -EINVAL);
	return NULL;
}

static void settle(struct weir_task *task);

static void arena_init(struct weir_arena *arena, struct weir_worker *home, size_t size)
{
	*arena = (struct weir_arena){ .size = size, .home = home };
	arena->memory = (char *)arena + (sizeof(*arena) + 15) / 16 * 16;
	weir__queue_init(&arena->stages);
	weir__queue_init(&arena->sinks);
	weir_task_init(&arena->task, settle);
	arena->broken.stream = (struct weir_stream){ .ops = &broken_ops, .arena = arena };
	arena->broken.kind = &broken_kind;
}

static size_t arena_size(const struct weir_arena *arena)
{
	return (sizeof(*arena) + 15) / 16 * 16 + arena->size;
}

int weir_arena_create(const struct weir_arena_opts *opts, struct weir_arena **ret_arena)
{
	size_t size = opts && opts->size ? (opts->size + 15) / 16 * 16 : SIZE;
	struct weir_futures *futures;
	struct weir_arena *arena;
	int r = weir__futures_self(&futures);

	if (r < 0)
		return r;
	if (size > SIZE_MAX_)
		return -EINVAL;
	arena = weir__alloc((sizeof(*arena) + 15) / 16 * 16 + size);
	if (!arena)
		return -ENOMEM;
	arena_init(arena, weir__self, size);
	arena->name = opts && opts->name ? opts->name : "stream";
	weir__list_push(&futures->arenas, &arena->node);
	weir__metric_add(&weir__self->metrics, WEIR__M_STREAMS, 1);
	*ret_arena = arena;
	return 0;
}

static void dispose(struct weir_arena *arena)
{
	const struct weir_link *link;

	for (link = arena->stages.head; link; link = link->next) {
		struct weir__stage *stage =
			weir_container_of((void *)(uintptr_t)link, struct weir__stage, link);

		if (stage->kind->dispose)
			stage->kind->dispose(stage);
		weir__metric_add(&arena->home->metrics, WEIR__M_STREAM_DROPS, stage->dropped);
	}
}

static void destroy(struct weir_arena *arena)
{
	dispose(arena);
	weir__node_remove(&arena->node);
	weir__metric_add(&arena->home->metrics, WEIR__M_STREAMS, (uint64_t)-1);
	weir__free(arena, arena_size(arena));
}

int weir_arena_destroy(struct weir_arena *arena)
{
	if (!arena)
		return 0;
	if (arena->home != weir__self)
		return -EPROTO;
	if (arena->running || arena->holds || arena->keeps || arena->task.queued_)
		return -EBUSY;
	destroy(arena);
	return 0;
}

struct weir_arena *weir__arena_inner(struct weir_arena *outer, void *memory, size_t size)
{
	struct weir_arena *arena = memory;
	size_t header = (sizeof(*arena) + 15) / 16 * 16;

	weir_assert(size >= header);
	arena_init(arena, outer->home, size - header);
	arena->name = outer->name;
	return arena;
}

void weir__arena_reset(struct weir_arena *arena)
{
	weir_assert(!weir__arena_is_busy(arena) && !arena->running);
	dispose(arena);
	arena->used = 0;
	arena->needed = 0;
	arena->error = 0;
	arena->stage_count = 0;
	weir__queue_init(&arena->stages);
}

void *weir_arena_alloc(struct weir_arena *arena, size_t size)
{
	void *memory;

	if (arena == &nowhere)
		return NULL;
	if (!size || size > SIZE_MAX_) {
		weir__arena_fail(arena, -EINVAL);
		return NULL;
	}
	size = (size + 15) / 16 * 16;
	arena->needed += size;
	if (size > arena->size - arena->used) {
		weir__arena_fail(arena, -ENOBUFS);
		return NULL;
	}
	memory = memset(arena->memory + arena->used, 0, size);
	arena->used += size;
	return memory;
}

/* The first error is the one that counts. */
struct weir_stream *weir__arena_fail(struct weir_arena *arena, int error)
{
	if (!arena->error)
		arena->error = error;
	return &arena->broken.stream;
}

int weir_arena_error(const struct weir_arena *arena)
{
	return arena->error;
}

void weir_arena_keep(struct weir_arena *arena)
{
	arena->keeps++;
}

void weir_arena_drop(struct weir_arena *arena)
{
	weir_assert(arena->keeps);
	arena->keeps--;
	weir__arena_check(arena);
}

/* A sink's future is settled when nothing that it started goes on; of several, the last waits. */
static bool may_settle(const struct weir_arena *arena, const struct weir__sink *sink)
{
	return sink->over && (!arena->holds || arena->running > 1);
}

static void settle(struct weir_task *task)
{
	struct weir_arena *arena = weir_container_of(task, struct weir_arena, task);
	struct weir_queue later;
	struct weir_link *link;

	weir__queue_init(&later);
	while ((link = weir__queue_pop(&arena->sinks))) {
		struct weir__sink *sink = weir_container_of(link, struct weir__sink, link);

		if (!may_settle(arena, sink)) {
			weir__queue_push(&later, link);
			continue;
		}
		arena->running--;
		weir_promise_resolve(&sink->promise, sink->res);
	}
	weir__queue_splice(&arena->sinks, &later);
	if (arena->is_given && !arena->running && !arena->holds && !arena->keeps)
		destroy(arena);
}

void weir__arena_check(struct weir_arena *arena)
{
	if (arena->idle) {
		if (!arena->holds)
			arena->idle(arena);
	} else if (arena->is_given) {
		weir__ready(arena->home, &arena->task);
	}
}

void weir__arena_release(struct weir_arena *arena)
{
	weir_assert(arena->holds);
	arena->holds--;
	weir__arena_check(arena);
}

void weir_arena_info(const struct weir_arena *arena, struct weir_arena_info *ret_info)
{
	*ret_info = (struct weir_arena_info){
		.name = arena->name,
		.size = arena->size,
		.needed = arena->needed,
		.stages = arena->stage_count,
		.running = arena->running,
	};
}

static const char *state_of(const struct weir__stage *stage)
{
	if (stage->down)
		return "active";
	return stage->items || stage->dropped ? "over" : "idle";
}

int weir_arena_list(const struct weir_arena *arena,
		    int (*visit)(const struct weir_stage_info *info, void *arg), void *arg)
{
	const struct weir_link *link;
	int r = 0;

	for (link = arena->stages.head; link && !r; link = link->next) {
		const struct weir__stage *stage = weir_container_of(link, struct weir__stage, link);
		const struct weir_stage_info info = {
			.name = stage->name ? stage->name : stage->kind->name,
			.state = state_of(stage),
			.demand = stage->counts ? stage->demand : -1,
			.items = stage->items,
			.buffered = stage->kind->buffered ? stage->kind->buffered(stage) : 0,
			.dropped = stage->dropped,
		};

		r = visit(&info, arg);
	}
	return r;
}

struct listing {
	int (*visit)(const char *arena, const struct weir_stage_info *info, void *arg);
	void *arg;
	const char *name;
};

static int visit_one(const struct weir_stage_info *info, void *arg)
{
	const struct listing *listing = arg;

	return listing->visit(listing->name, info, listing->arg);
}

int weir_stream_list(int (*visit)(const char *arena, const struct weir_stage_info *info, void *arg),
		     void *arg)
{
	struct listing listing = { visit, arg, NULL };
	struct weir_futures *futures;
	struct weir_node *node;
	int r = weir__futures_self(&futures);

	if (r < 0)
		return r;
	for (node = futures->arenas.next; node != &futures->arenas && !r; node = node->next) {
		const struct weir_arena *arena = weir_container_of(node, struct weir_arena, node);

		listing.name = arena->name;
		r = weir_arena_list(arena, visit_one, &listing);
	}
	return r;
}

/* --- sinks --- */

void *weir__sink_new(struct weir_stream *stream, size_t size,
		     const struct weir_subscriber_ops *ops, struct weir_future **ret_future)
{
	struct weir_arena *arena = stream ? stream->arena : NULL;
	struct weir__sink *sink;
	int r;

	if (!arena || arena == &nowhere || arena->home != weir__self) {
		*ret_future = weir_future_of(!arena || arena == &nowhere ? -EINVAL : -EPROTO);
		return NULL;
	}
	arena->is_given = true;
	sink = weir_arena_alloc(arena, size);
	r = sink ? weir_promise_create(&sink->promise, ret_future) : arena->error;
	if (r < 0) {
		weir__arena_check(arena);
		*ret_future = weir_future_of(r);
		return NULL;
	}
	sink->in.ops = ops;
	sink->arena = arena;
	sink->source = stream;
	arena->running++;
	weir__queue_push(&arena->sinks, &sink->link);
	return sink;
}

static void sink_cancel(void *arg)
{
	weir__sink_end(arg, -ECANCELED);
}

void weir__sink_run(struct weir__sink *sink, int64_t n)
{
	weir_promise_on_cancel(&sink->promise, sink_cancel, sink);
	sink->ask = n;
	sink->source->ops->subscribe(sink->source, &sink->in);
}

void weir__sink_end(struct weir__sink *sink, ssize_t res)
{
	struct weir_subscription *up = sink->up;

	if (sink->over)
		return;
	sink->over = true;
	sink->up = NULL;
	sink->res = res;
	if (up)
		up->ops->cancel(up);
	if (sink->stop)
		sink->stop(sink);
	weir__arena_check(sink->arena);
}

void weir__sink_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__sink *sink = weir_container_of(in, struct weir__sink, in);

	if (sink->up || sink->over) {
		up->ops->cancel(up);
		return;
	}
	sink->up = up;
	up->ops->request(up, sink->ask);
}

void weir__sink_ended(struct weir_subscriber *in, int error)
{
	struct weir__sink *sink = weir_container_of(in, struct weir__sink, in);

	sink->up = NULL;
	weir__sink_end(sink, error ? error : sink->res);
}
