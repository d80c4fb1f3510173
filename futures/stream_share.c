/* SPDX-License-Identifier: MIT */
/*
 * stream_share.c - one stream, several subscribers: subjects, which others push into, and shared
 * streams, which go at the pace of the slowest.
 *
 * A shared stream asks for one item at a time, when every subscriber wants one: so whoever joins in
 * between misses no item that it has asked for, and no item waits for anybody.
 */
#include "futures/stream.h"

#define SUBSCRIBERS 8

struct cast;

struct branch {
	struct weir_subscription out;
	struct cast *cast;
	struct weir_subscriber *down;	/* NULL: free */
	int64_t demand;
	unsigned replay_left;		/* of what is kept, still to be sent */
	uint64_t born;			/* not sent what was pushed before */
	bool inside;			/* its subscriber is being called */
};

struct cast {
	struct weir__stage stage;	/* in: a shared stream's */
	struct branch *branches;
	unsigned max, count;
	struct weir__ring replay;
	void (*keep)(struct weir_item item);
	weir_item_drop_fn drop;		/* with keep of a reference, else of the item */
	enum weir_share_how how;
	uint64_t pushed;
	int error;
	bool is_subject;
	bool ended;
	bool connected;
	bool asked;			/* one item is on its way */
};

struct weir_subject {
	struct cast cast;
};

static struct cast *cast_of_stream(struct weir_stream *stream)
{
	return weir_container_of(stream, struct cast, stage.stream);
}

static struct branch *branch_of(struct weir_subscription *out)
{
	return weir_container_of(out, struct branch, out);
}

static void cast_keep(const struct cast *cast, struct weir_item item)
{
	if (cast->keep)
		cast->keep(item);
}

static void cast_drop(const struct cast *cast, struct weir_item item)
{
	if (cast->drop)
		cast->drop(item);
}

/* --- leaving --- */

static void branch_free(struct branch *branch)
{
	branch->down = NULL;
	branch->cast->count--;
}

static void branch_end(struct branch *branch)
{
	struct weir_subscriber *down = branch->down;

	branch_free(branch);
	down->ops->ended(down, branch->cast->error);
}

static void disconnect(struct cast *cast)
{
	struct weir_subscription *up = cast->stage.up;

	cast->connected = false;
	cast->asked = false;
	cast->stage.up = NULL;
	if (up)
		up->ops->cancel(up);
}

static void ask(struct cast *cast);

static void branch_cancel(struct weir_subscription *out)
{
	struct branch *branch = branch_of(out);
	struct cast *cast = branch->cast;

	if (!branch->down)
		return;
	branch_free(branch);
	if (cast->is_subject || cast->ended)
		return;
	if (!cast->count && cast->how == WEIR_SHARE_REF_COUNT)
		disconnect(cast);
	else
		ask(cast);
}

/* --- sending --- */

/* item is a reference of the branch's own. */
static void branch_give(struct branch *branch, struct weir_item item)
{
	weir__demand_use(&branch->demand);
	branch->down->ops->next(branch->down, item);
}

/* What was kept goes first. False: the branch has left meanwhile. */
static bool branch_replay(struct branch *branch)
{
	struct cast *cast = branch->cast;

	while (branch->down && branch->replay_left && branch->demand > 0) {
		const struct weir__ring *ring = &cast->replay;
		unsigned at = ring->head + ring->count - branch->replay_left--;
		struct weir_item item = ring->items[at < ring->size ? at : at - ring->size];

		cast_keep(cast, item);
		branch_give(branch, item);
	}
	return branch->down;
}

/* When every subscriber wants one, and none is on its way. */
static void ask(struct cast *cast)
{
	unsigned i;

	if (cast->is_subject || cast->asked || !cast->stage.up || !cast->count)
		return;
	for (i = 0; i < cast->max; i++)
		if (cast->branches[i].down &&
		    (!cast->branches[i].demand || cast->branches[i].replay_left))
			return;
	cast->asked = true;
	cast->stage.up->ops->request(cast->stage.up, 1);
}

static void branch_request(struct weir_subscription *out, int64_t n)
{
	struct branch *branch = branch_of(out);
	struct weir_subscriber *down = branch->down;

	if (!down)
		return;
	if (n <= 0) {
		branch_cancel(out);
		down->ops->ended(down, -EINVAL);
		return;
	}
	branch->demand = weir__demand_add(branch->demand, n);
	if (branch->inside)
		return;
	branch->inside = true;
	if (branch_replay(branch) && branch->cast->ended && !branch->replay_left)
		branch_end(branch);
	branch->inside = false;
	ask(branch->cast);
}

static const struct weir_subscription_ops branch_ops = { branch_request, branch_cancel };

static void remember(struct cast *cast, struct weir_item item)
{
	unsigned i;

	if (!cast->replay.size)
		return;
	if (weir__ring_is_full(&cast->replay)) {
		cast_drop(cast, weir__ring_pop(&cast->replay));
		for (i = 0; i < cast->max; i++)
			if (cast->branches[i].replay_left == cast->replay.size)
				cast->branches[i].replay_left--;
	}
	cast_keep(cast, item);
	weir__ring_push(&cast->replay, item);
}

/* Gives item, a reference, to who wants it. Returns to how many. */
static unsigned cast_push(struct cast *cast, struct weir_item item)
{
	uint64_t serial = ++cast->pushed;
	unsigned i, took = 0;

	remember(cast, item);
	for (i = 0; i < cast->max; i++) {
		struct branch *branch = &cast->branches[i];

		if (!branch->down || branch->born >= serial)
			continue;
		if (branch->replay_left) {	/* it has not come so far: this is one more */
			branch->replay_left += cast->replay.size > branch->replay_left;
			continue;
		}
		if (!branch->demand) {
			cast->stage.dropped++;
			continue;
		}
		took++;
		cast_keep(cast, item);
		branch_give(branch, item);
	}
	cast->stage.items++;
	if (cast->keep || !cast->replay.size)	/* else what is kept is the item itself */
		cast_drop(cast, item);
	return took;
}

static void cast_end(struct cast *cast, int error)
{
	unsigned i;

	if (cast->ended)
		return;
	cast->ended = true;
	cast->error = error;
	cast->stage.up = NULL;
	for (i = 0; i < cast->max; i++)
		if (cast->branches[i].down && !cast->branches[i].replay_left)
			branch_end(&cast->branches[i]);
}

/* --- above --- */

static void shared_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct cast *cast = weir_container_of(in, struct cast, stage.in);

	if (cast->stage.up || !cast->connected) {
		up->ops->cancel(up);
		return;
	}
	cast->stage.up = up;
	ask(cast);
}

static void shared_next(struct weir_subscriber *in, struct weir_item item)
{
	struct cast *cast = weir_container_of(in, struct cast, stage.in);

	if (!cast->connected || cast->ended) {
		cast_drop(cast, item);
		return;
	}
	cast_push(cast, item);
	cast->asked = false;
	ask(cast);
}

static void shared_ended(struct weir_subscriber *in, int error)
{
	struct cast *cast = weir_container_of(in, struct cast, stage.in);

	if (cast->connected)
		cast_end(cast, error);
}

static void connect(struct cast *cast)
{
	cast->connected = true;
	cast->stage.source->ops->subscribe(cast->stage.source, &cast->stage.in);
}

/* --- joining --- */

static void cast_subscribe(struct weir_stream *stream, struct weir_subscriber *down)
{
	struct cast *cast = cast_of_stream(stream);
	struct branch *branch = cast->branches;

	if (cast->count == cast->max || stream->arena->home != weir__self) {
		weir__refuse(down, cast->count == cast->max ? -ENOBUFS : -EPROTO);
		return;
	}
	while (branch->down)
		branch++;
	*branch = (struct branch){ .out.ops = &branch_ops, .cast = cast, .down = down,
				   .replay_left = cast->replay.count, .born = cast->pushed };
	cast->count++;
	down->ops->subscribed(down, &branch->out);
	if (branch->down == down && cast->ended && !branch->replay_left)
		branch_end(branch);
	else if (!cast->is_subject && !cast->connected && !cast->ended && cast->count &&
		 cast->how == WEIR_SHARE_REF_COUNT)
		connect(cast);
}

static void cast_dispose(struct weir__stage *stage)
{
	struct cast *cast = weir_container_of(stage, struct cast, stage);

	while (cast->replay.count)
		cast_drop(cast, weir__ring_pop(&cast->replay));
}

static unsigned cast_buffered(const struct weir__stage *stage)
{
	return ((const struct cast *)(const void *)stage)->replay.count;
}

static_assert(offsetof(struct cast, stage) == 0, "a cast begins with its stage");

static const struct weir_stream_ops cast_ops = { cast_subscribe };

static bool cast_init(struct cast *cast, unsigned max, unsigned replay)
{
	struct weir_arena *arena = cast->stage.stream.arena;

	cast->stage.stream.ops = &cast_ops;
	cast->max = max;
	cast->branches = weir_arena_alloc(arena, max * sizeof(*cast->branches));
	return cast->branches && (!replay || weir__ring_init(&cast->replay, arena, replay));
}

struct weir_stream *weir_stream_share(struct weir_stream *stream, enum weir_share_how how,
				      unsigned subscribers_max, unsigned replay,
				      void (*keep)(struct weir_item item))
{
	static const struct weir_subscriber_ops in = { shared_subscribed, shared_next,
						       shared_ended };
	static const struct weir__stage_kind kind = { .name = "share", .dispose = cast_dispose,
						      .buffered = cast_buffered };
	struct cast *cast = weir__stage_on(stream, sizeof(*cast), &kind, &in, &weir__stage_out);

	if (!subscribers_max)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (!cast || !cast_init(cast, subscribers_max, replay))
		return &stream->arena->broken.stream;
	cast->how = how;
	cast->keep = keep;
	cast->drop = stream->drop;
	cast->stage.stream.drop = keep ? stream->drop : NULL;
	return &cast->stage.stream;
}

int weir_stream_connect(struct weir_stream *stream)
{
	struct cast *cast = cast_of_stream(stream);

	if (stream->ops != &cast_ops || cast->is_subject || cast->how != WEIR_SHARE_PUBLISH)
		return -EINVAL;
	if (cast->connected || cast->ended)
		return -EALREADY;
	connect(cast);
	return 0;
}

/* --- subjects --- */

struct weir_subject *weir_subject_create(struct weir_arena *arena,
					 const struct weir_subject_opts *opts)
{
	static const struct weir__stage_kind kind = { .name = "subject", .dispose = cast_dispose,
						      .buffered = cast_buffered };
	struct weir_subject *subject =
		weir__stage_new(arena, sizeof(*subject), &kind, NULL, &weir__stage_out);

	if (!subject ||
	    !cast_init(&subject->cast,
		       opts && opts->subscribers_max ? opts->subscribers_max : SUBSCRIBERS,
		       opts ? opts->replay : 0))
		return NULL;
	subject->cast.is_subject = true;
	subject->cast.keep = opts ? opts->keep : NULL;
	subject->cast.drop = opts ? opts->drop : NULL;
	subject->cast.stage.stream.drop = opts && opts->keep ? opts->drop : NULL;
	return subject;
}

struct weir_stream *weir_subject_stream(struct weir_subject *subject)
{
	return &subject->cast.stage.stream;
}

int weir_subject_push(struct weir_subject *subject, struct weir_item item)
{
	if (subject->cast.stage.stream.arena->home != weir__self)
		return -EPROTO;
	if (subject->cast.ended)
		return -EPIPE;
	return (int)cast_push(&subject->cast, item);
}

void weir_subject_end(struct weir_subject *subject, int error)
{
	cast_end(&subject->cast, error);
}

unsigned weir_subject_count(const struct weir_subject *subject)
{
	return subject->cast.count;
}

/* --- across arenas --- */

static void import_start(struct weir__stage *stage)
{
	weir_arena_keep(stage->source->arena);
}

static void import_stop(struct weir__stage *stage)
{
	weir_arena_drop(stage->source->arena);
}

static void import_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	if (stage->over)
		weir__stage_lose(stage, item);
	else
		weir__stage_send(stage, item);
}

struct weir_stream *weir_stream_import(struct weir_arena *arena, struct weir_stream *stream)
{
	static const struct weir_subscriber_ops in = WEIR__STAGE_IN(import_next);
	static const struct weir__stage_kind kind = { .name = "import", .start = import_start,
						      .stop = import_stop };
	struct weir__stage *import =
		weir__stage_new(arena, sizeof(*import), &kind, &in, &weir__stage_out);

	if (import) {
		import->source = stream;
		import->stream.drop = stream->drop;
	}
	return weir__stage_stream(import, arena);
}
