/* SPDX-License-Identifier: MIT */
/*
 * weir_stream_to.h - where streams end: what asks for items, and says by a future when all is over.
 *
 * Each consumes stream and, with the last one that runs in it, the arena: when the future is
 * settled, nothing of the pipeline runs any more, and nothing that it was lent is in use.
 * Cancelling the future cancels the pipeline. It is rejected with what the stream ended with, with
 * weir_arena_error(), or -ENOBUFS at futures_max, -EDEADLK outside a worker, -EPROTO on another
 * one: then the arena is gone as well.
 */
#ifndef WEIR_STREAM_TO_H
#define WEIR_STREAM_TO_H

#include "weir_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_chan;
struct weir_file;
struct weir_future;

/* item is lent during the call. A negative errno ends the pipeline with it. */
typedef int (*weir_stream_each_fn)(struct weir_item item, void *arg);

/* Calls fn for each item. Fulfilled with how many there were. */
WEIR_API struct weir_future *weir_stream_for_each(struct weir_stream *stream,
						  weir_stream_each_fn fn, void *arg);

/* Changes *acc by item, which is lent during the call. A negative errno ends the pipeline. */
typedef int (*weir_stream_fold_fn)(struct weir_item *acc, struct weir_item item, void *arg);

/* Folds all items into *acc, lent until the future is settled. Fulfilled with how many there were.
 */
WEIR_API struct weir_future *weir_stream_reduce(struct weir_stream *stream, struct weir_item *acc,
						weir_stream_fold_fn fn, void *arg);

/*
 * Puts all items into items[0..max), lent until the future is settled; they are the caller's to
 * free. Asks for no more than max + 1: if there are, -ENOBUFS, and the first max are there.
 */
WEIR_API struct weir_future *weir_stream_collect(struct weir_stream *stream,
						 struct weir_item *items, size_t max);

/* The first, or the last item into *ret_item, the caller's. Fulfilled with 1, or 0: no item. */
WEIR_API struct weir_future *weir_stream_first(struct weir_stream *stream,
					       struct weir_item *ret_item);
WEIR_API struct weir_future *weir_stream_last(struct weir_stream *stream,
					      struct weir_item *ret_item);

/* Fulfilled with the number of items. */
WEIR_API struct weir_future *weir_stream_count(struct weir_stream *stream);

/* item is lent during the call. */
typedef bool (*weir_stream_test_fn)(struct weir_item item, void *arg);

/* Fulfilled with 1 or 0: whether all pass, or any does; ends the stream once that is known. */
WEIR_API struct weir_future *weir_stream_all(struct weir_stream *stream, weir_stream_test_fn test,
					     void *arg);
WEIR_API struct weir_future *weir_stream_any(struct weir_stream *stream, weir_stream_test_fn test,
					     void *arg);

/* --- in a coroutine of its own: fn may wait --- */

/*
 * As for_each, but fn runs in a coroutine and may wait; up to prefetch items (at least 1) are asked
 * for ahead. Cancelling the future cancels the coroutine.
 */
WEIR_API struct weir_future *weir_stream_each(struct weir_stream *stream, unsigned prefetch,
					      weir_stream_each_fn fn, void *arg);

/*
 * Sends each item to chan, whose item_size is that of struct weir_item; closes it at the end if
 * closes. Items are chan's then; -EPIPE when it was hung up.
 */
WEIR_API struct weir_future *weir_stream_to_chan(struct weir_stream *stream, struct weir_chan *chan,
						 bool closes);

/* Writes each item (ptr and size) to file, one after the other, from offset on. */
WEIR_API struct weir_future *weir_stream_to_file(struct weir_stream *stream, struct weir_file *file,
						 int64_t offset);

/*
 * The rest of the pipeline on another core: build(stream, arg) runs there, with a stream of what
 * this one sends and an arena of that core, and returns the future of its terminal operation,
 * whose result (not its value) is this one's. Up to room items are on the way: demand of that core
 * reaches this one through the channel between. Items cross by value: what they point to must be
 * right to use, and to drop, on that core.
 */
WEIR_API struct weir_future *
weir_stream_observe_on(struct weir_stream *stream, unsigned core, unsigned room,
		       struct weir_future *(*build)(struct weir_stream *stream, void *arg),
		       void *arg);

#ifdef __cplusplus
}
#endif

#endif
