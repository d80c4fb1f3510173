/* SPDX-License-Identifier: MIT */
/*
 * weir_stream_from.h - where streams begin. Cold ones produce when they are asked, and anew for
 * each subscriber; hot ones (subjects) produce whatever anybody does.
 *
 * Nothing here fails: what is wrong is what the stream ends with. arena owns what is returned.
 * Streams of connections and listeners are in weir_stream_net.h.
 */
#ifndef WEIR_STREAM_FROM_H
#define WEIR_STREAM_FROM_H

#include "weir_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_chan;
struct weir_file;
struct weir_future;

/* One item, lent to the stream: it is not dropped. */
WEIR_API struct weir_stream *weir_stream_value(struct weir_arena *arena, struct weir_item item);

/* The numbers first, first + 1, ..., count of them. */
WEIR_API struct weir_stream *weir_stream_range(struct weir_arena *arena, int64_t first,
					       uint64_t count);

/* count items; the array is lent as long as the arena lives, the items are not dropped. */
WEIR_API struct weir_stream *weir_stream_array(struct weir_arena *arena,
					       const struct weir_item *items, size_t count);

/* Nothing, and its end; nothing, and no end; an error (negative). */
WEIR_API struct weir_stream *weir_stream_empty(struct weir_arena *arena);
WEIR_API struct weir_stream *weir_stream_never(struct weir_arena *arena);
WEIR_API struct weir_stream *weir_stream_error(struct weir_arena *arena, int error);

/* The number 0, delay_ns after the subscription. */
WEIR_API struct weir_stream *weir_stream_timer(struct weir_arena *arena, int64_t delay_ns);

/*
 * The numbers 0, 1, ... every period_ns. A tick that nobody has asked for is not sent later: the
 * next one carries its own number, so gaps show. Ends with -EINVAL for a period of 0 or less.
 */
WEIR_API struct weir_stream *weir_stream_interval(struct weir_arena *arena, int64_t period_ns);

/*
 * The result of future, which is consumed: res as number, or the value as ptr with res as size,
 * freed by drop; a rejection is the error. Cancelling the stream cancels the future; the pipeline
 * is over when that has ended.
 */
WEIR_API struct weir_stream *weir_stream_future(struct weir_arena *arena,
						struct weir_future *future,
						weir_item_drop_fn drop);

/* --- produced by a coroutine --- */

struct weir_emitter;

/*
 * Gives item to who subscribed; waits until it is asked for. Returns 0, -ECANCELED once nobody
 * wants more (item is still the caller's: free it, end), -ETIMEDOUT by the coroutine's deadline.
 */
WEIR_API int weir_emit(struct weir_emitter *emitter, struct weir_item item);

/* Whether something is asked for: weir_emit() would not wait. */
WEIR_API bool weir_emit_is_wanted(const struct weir_emitter *emitter);

/* Runs in a coroutine of its own: may wait. What it returns ends the stream: 0, or an error. */
typedef int (*weir_emit_fn)(struct weir_emitter *emitter, void *arg);

/*
 * What fn emits. It is begun by the first request, and cancelled with the subscription; the
 * pipeline is over when it has returned. drop frees the items (may be NULL).
 */
WEIR_API struct weir_stream *weir_stream_generate(struct weir_arena *arena, weir_emit_fn fn,
						  void *arg, weir_item_drop_fn drop);

/*
 * Items received from chan, whose item_size is that of struct weir_item; ends when it is closed and
 * empty. An item is received once it is asked for: what nobody wants stays inside. chan is lent;
 * drop frees its items (may be NULL).
 */
WEIR_API struct weir_stream *weir_stream_chan(struct weir_arena *arena, struct weir_chan *chan,
					      weir_item_drop_fn drop);

/*
 * Pieces of file, size bytes each but the last, from its beginning: ptr and size, to be read until
 * the item is dropped. file is lent. Pieces are memory of the arena: up to pieces (at least 1) of
 * them are held at once; while all are, nothing is read, and the end is not found.
 */
WEIR_API struct weir_stream *weir_stream_file_chunks(struct weir_arena *arena,
						     struct weir_file *file, size_t size,
						     unsigned pieces);

/*
 * Lines of file, without their line feed: text and size, and a 0 behind it, to be read until the
 * item is dropped. Up to lines (at least 1) of them are held at once, each in size_max + 1 bytes of
 * the arena, and reading waits while all are. A line longer than size_max ends the stream with
 * -EMSGSIZE.
 */
WEIR_API struct weir_stream *weir_stream_file_lines(struct weir_arena *arena,
						    struct weir_file *file, size_t size_max,
						    unsigned lines);

/* --- hot: a subject --- */

struct weir_subject;

/*
 * A stream that others push into: callbacks, actors, signals. Every subscriber gets what is pushed
 * while it is subscribed. A subscriber that has not asked for an item does not get it: it is
 * dropped for that one, and counted; give slow ones a weir_stream_on_overflow(). With keep, which
 * takes one more reference, each subscriber is given one of its own, freed by drop; keep NULL:
 * items are lent to subscribers, during next(), and freed when all have seen them.
 */
struct weir_subject_opts {
	unsigned subscribers_max;	/* default 8 */
	weir_item_drop_fn drop;
	void (*keep)(struct weir_item item);
	unsigned replay; /* the last so many are sent to a new one first. Default 0 */
};

/* opts may be NULL. NULL when the arena is full. */
WEIR_API struct weir_subject *weir_subject_create(struct weir_arena *arena,
						  const struct weir_subject_opts *opts);

/* The stream: any number of subscribers up to the bound, -ENOBUFS for more. */
WEIR_API struct weir_stream *weir_subject_stream(struct weir_subject *subject);

/* Gives item to all. Returns how many took it; -EPIPE after the end, -EPROTO (it is the caller's).
 */
WEIR_API int weir_subject_push(struct weir_subject *subject, struct weir_item item);

/* The end, for all: 0 or an error. Once. */
WEIR_API void weir_subject_end(struct weir_subject *subject, int error);

/* How many subscribers there are. */
WEIR_API unsigned weir_subject_count(const struct weir_subject *subject);

#ifdef __cplusplus
}
#endif

#endif
