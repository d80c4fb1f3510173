/* SPDX-License-Identifier: MIT */
/*
 * weir_stream.h - values over time, at the pace of who takes them: the protocol, and what streams
 * of one pipeline share.
 *
 *	struct weir_arena *arena;
 *	struct weir_stream *stream;
 *
 *	r = weir_arena_create(NULL, &arena);
 *	stream = weir_stream_range(arena, 1, 1000);			weir_stream_from.h
 *	stream = weir_stream_filter(stream, is_prime, NULL);		weir_stream_ops.h
 *	n = weir_await(weir_stream_for_each(stream, print, NULL), WEIR_NEVER, NULL);	.._to.h
 *
 * A stream is a description until something subscribes to it; then items flow down and demand flows
 * up. Nobody sends an item that was not asked for, so nothing piles up anywhere but in the stages
 * that say so, with a bound. The protocol is that of Reactive Streams 1.0.4 (reactive-streams.org);
 * tests/futures/test_stream_rules.c has a test for each of its rules, by number.
 *
 *	subscriber --subscribe--> stream
 *	subscriber <--subscribed(subscription)-- stream
 *	           --request(n)-->  <--next(item)-- (at most n)
 *	           --cancel-->  or  <--ended(error)-- (0: complete), then nothing
 *
 * All stages of a pipeline live in its arena: one allocation, and one free once the pipeline is
 * over and everything it started has ended. Stages never fail to be made: what is wrong (a full
 * arena, a count of 0) is the result of the pipeline, so calls nest without checks between them.
 *
 * Items are owned: next() gives an item away. A stream knows how its items are freed (drop), and
 * who loses one (a filter, a cancelled stage, an overflow) frees it. A stream is subscribed to
 * once, unless it says otherwise.
 *
 * Everything belongs to the worker that made the arena; nothing here may be called elsewhere
 * (-EPROTO), and no function given to a stream may wait.
 */
#ifndef WEIR_STREAM_H
#define WEIR_STREAM_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An item: a number, or a pointer, and a size where there is one. By value. */
struct weir_item {
	union {
		int64_t number;
		void *ptr;
		const char *text;
	};
	size_t size;
};

static inline struct weir_item weir_item_number(int64_t number)
{
	struct weir_item item;

	item.number = number;
	item.size = 0;
	return item;
}

static inline struct weir_item weir_item_ptr(void *ptr, size_t size)
{
	struct weir_item item;

	item.ptr = ptr;
	item.size = size;
	return item;
}

/* Frees what item holds. */
typedef void (*weir_item_drop_fn)(struct weir_item item);

/* --- the protocol: for those who write publishers and subscribers of their own --- */

struct weir_subscription;
struct weir_subscriber;
struct weir_stream;

/* Demand without bound: as much as comes (rule 3.17). */
#define WEIR_UNBOUNDED INT64_MAX

struct weir_subscription_ops {
	/*
	 * n more items may come; adds up. May be called inside next(), and does not call next()
	 * itself more than one level deep. n of 0 or less ends the stream with -EINVAL. After
	 * the end it does nothing.
	 */
	void (*request)(struct weir_subscription *subscription, int64_t n);
	/* Nothing more shall come; what was under way may still. Again, it does nothing. */
	void (*cancel)(struct weir_subscription *subscription);
};

/* Embed it. */
struct weir_subscription {
	const struct weir_subscription_ops *ops;
};

struct weir_subscriber_ops {
	/* First, once: subscription is lent until ended(), or cancel. */
	void (*subscribed)(struct weir_subscriber *subscriber,
			   struct weir_subscription *subscription);
	/* item is given. */
	void (*next)(struct weir_subscriber *subscriber, struct weir_item item);
	/* Last, once: error is 0 (all came) or a negative errno. */
	void (*ended)(struct weir_subscriber *subscriber, int error);
};

/* Embed it. */
struct weir_subscriber {
	const struct weir_subscriber_ops *ops;
};

struct weir_arena;

struct weir_stream_ops {
	/* Calls subscribed(), also when it refuses: then ended(error) follows. */
	void (*subscribe)(struct weir_stream *stream, struct weir_subscriber *subscriber);
};

/* Embed it. A publisher of your own fills it, and lives in its arena (weir_arena_alloc()). */
struct weir_stream {
	const struct weir_stream_ops *ops;
	struct weir_arena *arena;
	weir_item_drop_fn drop;		/* of its items; NULL: nothing to free */
};

/* What subscription asks and ends; for readability. */
static inline void weir_subscription_request(struct weir_subscription *subscription, int64_t n)
{
	subscription->ops->request(subscription, n);
}

static inline void weir_subscription_cancel(struct weir_subscription *subscription)
{
	subscription->ops->cancel(subscription);
}

/* Subscribes, once: subscriber is lent until the end. NULL is refused: -EINVAL. Else 0. */
WEIR_API int weir_stream_subscribe(struct weir_stream *stream, struct weir_subscriber *subscriber);

/* --- arenas --- */

/* Zero means the default for every member. */
struct weir_arena_opts {
	const char *name;	/* for dumps; borrowed. Default "stream" */
	size_t size;		/* bytes for all stages and their buffers. Default 16 KiB */
};

/*
 * Makes an arena: the one allocation of a pipeline. It is freed once every terminal operation
 * (weir_stream_to.h) that was started on its streams is over. opts may be NULL.
 * Returns 0, -EINVAL (a size above 1 GiB), -ENOMEM, -EDEADLK outside a worker.
 */
WEIR_API int weir_arena_create(const struct weir_arena_opts *opts, struct weir_arena **ret_arena);

/*
 * Frees an arena whose streams nobody runs. NULL is fine. Returns 0, -EBUSY while one is run, or
 * it is kept.
 */
WEIR_API int weir_arena_destroy(struct weir_arena *arena);

/*
 * Keeps the arena beyond the end of what runs, for a subject or a shared stream that others
 * subscribe to later; weir_arena_drop() lets it go, and frees it if nothing runs. Nests.
 */
WEIR_API void weir_arena_keep(struct weir_arena *arena);
WEIR_API void weir_arena_drop(struct weir_arena *arena);

/* size bytes, zeroed, aligned to 16, that live as long as arena; NULL when it is full. */
WEIR_API void *weir_arena_alloc(struct weir_arena *arena, size_t size);

/*
 * Why what was made in arena will not run: 0, -ENOBUFS (weir_arena_info() says what size it
 * takes), -EINVAL.
 */
WEIR_API int weir_arena_error(const struct weir_arena *arena);

struct weir_arena_info {
	const char *name;
	size_t size;
	size_t needed;		/* what was asked for, what did not fit included */
	unsigned stages;
	unsigned running;	/* terminal operations */
};

/* Levels. */
WEIR_API void weir_arena_info(const struct weir_arena *arena, struct weir_arena_info *ret_info);

/* One stage of a pipeline in a listing. */
struct weir_stage_info {
	const char *name;	/* of the operation: "map", "merge" */
	const char *state;	/* "idle", "active", "over" */
	int64_t demand; /* items asked for and not sent; WEIR_UNBOUNDED; -1: passed through */
	uint64_t items;		/* sent; of stages that pass demand through, not counted */
	unsigned buffered;	/* inside */
	uint64_t dropped;	/* lost on purpose: overflow, sampling */
};

/*
 * Calls visit for each stage of arena, in the order in which they were made, until it returns
 * non-zero, and returns that; else 0. visit must not change any.
 */
WEIR_API int weir_arena_list(const struct weir_arena *arena,
			     int (*visit)(const struct weir_stage_info *info, void *arg),
			     void *arg);

/* The same for every arena of this worker: visit is told the arena's name too. */
WEIR_API int weir_stream_list(int (*visit)(const char *arena, const struct weir_stage_info *info,
					   void *arg),
			      void *arg);

#ifdef __cplusplus
}
#endif

#endif
