/* SPDX-License-Identifier: MIT */
/*
 * weir_stream_ops.h - what happens to streams on their way. Names are those of ReactiveX.
 *
 * Each takes a stream and returns one that stands for it from then on; nothing fails here (see
 * weir_stream.h). Demand passes through one to one where nothing else is said. arg is lent as
 * long as the pipeline runs.
 */
#ifndef WEIR_STREAM_OPS_H
#define WEIR_STREAM_OPS_H

#include "weir_stream.h"
#include "weir_stream_to.h"	/* the types of functions */

#ifdef __cplusplus
extern "C" {
#endif

/* --- one by one --- */

/*
 * Changes *item, which fn owns during the call. On a negative errno the item is dropped, and the
 * stream ends. drop frees what comes out.
 */
typedef int (*weir_stream_map_fn)(struct weir_item *item, void *arg);
WEIR_API struct weir_stream *weir_stream_map(struct weir_stream *stream, weir_stream_map_fn fn,
					     void *arg, weir_item_drop_fn drop);

/* Those that pass test. */
WEIR_API struct weir_stream *weir_stream_filter(struct weir_stream *stream,
						weir_stream_test_fn test, void *arg);

/* The running fold: for each item what *acc is then. Items are dropped; what comes out is not. */
WEIR_API struct weir_stream *weir_stream_scan(struct weir_stream *stream, struct weir_item acc,
					      weir_stream_fold_fn fn, void *arg);

/* The first count; while test passes; until other sends something; for ns from the subscription. */
WEIR_API struct weir_stream *weir_stream_take(struct weir_stream *stream, uint64_t count);
WEIR_API struct weir_stream *weir_stream_take_while(struct weir_stream *stream,
						    weir_stream_test_fn test, void *arg);
WEIR_API struct weir_stream *weir_stream_take_until(struct weir_stream *stream,
						    struct weir_stream *other);
WEIR_API struct weir_stream *weir_stream_take_time(struct weir_stream *stream, int64_t ns);

/* All but those. */
WEIR_API struct weir_stream *weir_stream_skip(struct weir_stream *stream, uint64_t count);
WEIR_API struct weir_stream *weir_stream_skip_while(struct weir_stream *stream,
						    weir_stream_test_fn test, void *arg);
WEIR_API struct weir_stream *weir_stream_skip_until(struct weir_stream *stream,
						    struct weir_stream *other);
WEIR_API struct weir_stream *weir_stream_skip_time(struct weir_stream *stream, int64_t ns);

/* By what items are told apart. */
typedef int64_t (*weir_stream_key_fn)(struct weir_item item, void *arg);

/* Those whose key differs from the one before. key NULL: the number. */
WEIR_API struct weir_stream *weir_stream_distinct_until_changed(struct weir_stream *stream,
								weir_stream_key_fn key, void *arg);

/* count items first, at each subscription: lent as long as arena lives, and freed as stream's are.
 */
WEIR_API struct weir_stream *weir_stream_start_with(struct weir_stream *stream,
						    const struct weir_item *items, size_t count);

/*
 * Bytes (ptr and size, cut anywhere) as lines without their line feed: text and size, and a 0
 * behind it, to be read until the item is dropped. Up to lines (at least 1) of them are held at
 * once, each in size_max + 1 bytes of the arena. A line longer than size_max ends the stream with
 * -EMSGSIZE; the last one needs no line feed.
 */
WEIR_API struct weir_stream *weir_stream_lines(struct weir_stream *stream, size_t size_max,
					       unsigned lines);

/* --- many as one, and one as many --- */

/* What weir_stream_buffer() sends, as ptr; dropping it drops the items in it. */
struct weir_batch {
	unsigned count;
	struct weir_item *items;
};

/*
 * Batches of up to count items, sent when full or ns after their first one (WEIR_NEVER: only when
 * full), and at the end. count 0 is -EINVAL. Up to batches of them (at least 1) are memory of the
 * arena; nothing is asked for while all are in use.
 */
WEIR_API struct weir_stream *weir_stream_buffer(struct weir_stream *stream, unsigned count,
						int64_t ns, unsigned batches);

/*
 * The same as streams: each item's ptr is a struct weir_stream of up to count items, or of what
 * came in ns after the first. Up to four windows are there at once; while all are, nothing is asked
 * for: subscribe to each (weir_stream_import() for a pipeline in another arena), if only to cancel
 * it.
 */
WEIR_API struct weir_stream *weir_stream_window(struct weir_stream *stream, unsigned count,
						int64_t ns);

/*
 * A stream for each key: ptr is a struct weir_stream, size the key. At most groups of them at once
 * (more: -ENOBUFS); each holds up to room items that its subscriber has not asked for, and while
 * one is full nothing is asked for. A group that is cancelled drops what comes for it; when this
 * stream is cancelled, groups end with -ECANCELED.
 */
WEIR_API struct weir_stream *weir_stream_group_by(struct weir_stream *stream,
						  weir_stream_key_fn key, void *arg,
						  unsigned groups, unsigned room);

/*
 * The stream that item stands for, made in arena, which is empty and lives until that stream is
 * over; item is lent as long. NULL is an empty stream.
 */
typedef struct weir_stream *(*weir_stream_inner_fn)(struct weir_arena *arena,
						    struct weir_item item, void *arg);

/* Zero means the default for every member. */
struct weir_inner_opts {
	unsigned streams;	/* at once, of flat_map. Default 4 */
	unsigned room; /* items of each that wait to be asked for, of flat_map. Default 8 */
	size_t size;		/* of each arena. Default 1024 */
	weir_item_drop_fn drop;	/* of what the streams send */
};

/* What the inner streams send, in any order; all of the first, then of the second, ...; of the
 * latest only: an item ends the inner stream before. opts may be NULL. */
WEIR_API struct weir_stream *weir_stream_flat_map(struct weir_stream *stream,
						  weir_stream_inner_fn fn, void *arg,
						  const struct weir_inner_opts *opts);
WEIR_API struct weir_stream *weir_stream_concat_map(struct weir_stream *stream,
						    weir_stream_inner_fn fn, void *arg,
						    const struct weir_inner_opts *opts);
WEIR_API struct weir_stream *weir_stream_switch_map(struct weir_stream *stream,
						    weir_stream_inner_fn fn, void *arg,
						    const struct weir_inner_opts *opts);

/* --- several --- */

#define WEIR_STREAMS_MAX 32

/*
 * count streams of one arena, 1 to WEIR_STREAMS_MAX, whose items are freed alike: as they come (up
 * to 8 items of each wait to be asked for); one after the other; whoever is first to send or end,
 * the others are cancelled. The array is read during the call. Errors are passed on at once.
 */
WEIR_API struct weir_stream *weir_stream_merge(struct weir_stream *const *streams, unsigned count);
WEIR_API struct weir_stream *weir_stream_concat(struct weir_stream *const *streams, unsigned count);
WEIR_API struct weir_stream *weir_stream_amb(struct weir_stream *const *streams, unsigned count);

/* One item of each, lent, as one. A negative errno ends the stream. */
typedef int (*weir_stream_join_fn)(const struct weir_item *items, unsigned count,
				   struct weir_item *ret_item, void *arg);

/* The first of each, then the second of each, ...; ends with the shortest. drop frees results. */
WEIR_API struct weir_stream *weir_stream_zip(struct weir_stream *const *streams, unsigned count,
					     weir_stream_join_fn fn, void *arg,
					     weir_item_drop_fn drop);

/* At each item, the latest of each, once each has sent one. */
WEIR_API struct weir_stream *weir_stream_combine_latest(struct weir_stream *const *streams,
							unsigned count, weir_stream_join_fn fn,
							void *arg, weir_item_drop_fn drop);

/* At each item of stream, it and the latest of other; before other has sent one, none. */
WEIR_API struct weir_stream *weir_stream_with_latest_from(struct weir_stream *stream,
							  struct weir_stream *other,
							  weir_stream_join_fn fn, void *arg,
							  weir_item_drop_fn drop);

/* --- in time --- */

/*
 * These ask for as much as comes and keep one item: what is not asked for when its time has come
 * waits, and is dropped (and counted) for a newer one.
 *
 * sample: at each item of other, the latest that was not sent. debounce: an item once nothing has
 * come for ns after it. throttle: an item, then none for ns.
 */
WEIR_API struct weir_stream *weir_stream_sample(struct weir_stream *stream,
						struct weir_stream *other);
WEIR_API struct weir_stream *weir_stream_debounce(struct weir_stream *stream, int64_t ns);
WEIR_API struct weir_stream *weir_stream_throttle(struct weir_stream *stream, int64_t ns);

/* Each item and the end ns later; errors at once. Up to room items are under way. */
WEIR_API struct weir_stream *weir_stream_delay(struct weir_stream *stream, int64_t ns,
					       unsigned room);

/* Ends with -ETIMEDOUT when no item comes for ns after the one before, or the subscription. */
WEIR_API struct weir_stream *weir_stream_timeout(struct weir_stream *stream, int64_t ns);

/* At most count items in any ns: asks for no more. A token bucket, full at first. */
WEIR_API struct weir_stream *weir_stream_rate_limit(struct weir_stream *stream, unsigned count,
						    int64_t ns);

/* --- errors --- */

/* Subscribes anew up to count times when stream ends with an error. stream must be cold. */
WEIR_API struct weir_stream *weir_stream_retry(struct weir_stream *stream, unsigned count);

/*
 * Whether to go on after error, the attempt-th in a row (from 1): ns to wait first, or -1: the
 * error is passed on.
 */
typedef int64_t (*weir_stream_retry_fn)(int error, unsigned attempt, void *arg);
WEIR_API struct weir_stream *weir_stream_retry_when(struct weir_stream *stream,
						    weir_stream_retry_fn fn, void *arg);

/* Goes on with other when stream ends with an error. */
WEIR_API struct weir_stream *weir_stream_on_error_resume(struct weir_stream *stream,
							 struct weir_stream *other);

/* --- shared --- */

enum weir_share_how {
	WEIR_SHARE_REF_COUNT,	/* subscribes with the first, cancels with the last */
	WEIR_SHARE_PUBLISH	/* subscribes when weir_stream_connect() is called */
};

/*
 * One stream for several subscribers (subscribers_max; more: -ENOBUFS), at the pace of the slowest.
 * The last replay items are kept, and sent first to who comes later. With keep, which takes one
 * more reference, each subscriber is given one of its own, freed by stream's drop; keep NULL: items
 * are lent to subscribers, during next(), and freed when all have seen them.
 */
WEIR_API struct weir_stream *weir_stream_share(struct weir_stream *stream, enum weir_share_how how,
					       unsigned subscribers_max, unsigned replay,
					       void (*keep)(struct weir_item item));

/* Returns 0, -EINVAL for what is not PUBLISH, -EALREADY. */
WEIR_API int weir_stream_connect(struct weir_stream *stream);

/*
 * stream, which is of another arena (of the same worker), as a stream of arena: for pipelines of
 * their own on a subject, a shared stream, a window or a group. Keeps the other arena meanwhile.
 */
WEIR_API struct weir_stream *weir_stream_import(struct weir_arena *arena,
						struct weir_stream *stream);

/* --- demand --- */

/*
 * Asks for prefetch items at first, and for more once low of them are left: for stages whose
 * asking is dear. low below prefetch.
 */
WEIR_API struct weir_stream *weir_stream_limit_rate(struct weir_stream *stream, unsigned prefetch,
						    unsigned low);

enum weir_overflow {
	WEIR_OVERFLOW_ERROR,	/* ends with -ENOBUFS; what is held is sent first */
	WEIR_OVERFLOW_DROP_NEW,
	WEIR_OVERFLOW_DROP_OLD
};

/*
 * Takes what comes, asked for or not, and holds up to room items (at least 1; 1 with DROP_OLD is
 * "the latest"); what to do with one more. Drops are counted.
 */
WEIR_API struct weir_stream *weir_stream_on_overflow(struct weir_stream *stream,
						     enum weir_overflow overflow, unsigned room);

#ifdef __cplusplus
}
#endif

#endif
