/* SPDX-License-Identifier: MIT */
/*
 * stream_to.c - where streams end in a function or a value.
 */
#include "futures/stream.h"

struct ends {
	struct weir__sink sink;
	union {
		weir_stream_each_fn each;
		weir_stream_fold_fn fold;
		weir_stream_test_fn test;
	};
	void *arg;
	struct weir_item *items;
	size_t max;
	bool decides;			/* all, any: the answer that ends it early */
	bool has_item;			/* last: *items is one */
};

static inline struct ends *ends_of(struct weir_subscriber *in)
{
	return weir_container_of(in, struct ends, sink.in);
}

static inline bool is_lost(struct ends *ends, struct weir_item item)
{
	if (weir_likely(!ends->sink.over))
		return false;
	weir__item_drop(ends->sink.source, item);
	return true;
}

#define ENDS_IN(next_fn)                                                                          \
	{                                                                                         \
		.subscribed = weir__sink_subscribed, .next = next_fn, .ended = weir__sink_ended,  \
	}

/* --- functions --- */

static void each_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);
	int r;

	if (is_lost(ends, item))
		return;
	r = ends->each(item, ends->arg);
	weir__item_drop(ends->sink.source, item);
	ends->sink.res++;
	if (weir_unlikely(r < 0))
		weir__sink_end(&ends->sink, r);
}

struct weir_future *weir_stream_for_each(struct weir_stream *stream, weir_stream_each_fn fn,
					 void *arg)
{
	static const struct weir_subscriber_ops in = ENDS_IN(each_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends) {
		ends->each = fn;
		ends->arg = arg;
		weir__sink_run(&ends->sink, WEIR_UNBOUNDED);
	}
	return future;
}

static void fold_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);
	int r;

	if (is_lost(ends, item))
		return;
	r = ends->fold(ends->items, item, ends->arg);
	weir__item_drop(ends->sink.source, item);
	ends->sink.res++;
	if (weir_unlikely(r < 0))
		weir__sink_end(&ends->sink, r);
}

struct weir_future *weir_stream_reduce(struct weir_stream *stream, struct weir_item *acc,
				       weir_stream_fold_fn fn, void *arg)
{
	static const struct weir_subscriber_ops in = ENDS_IN(fold_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends) {
		ends->fold = fn;
		ends->arg = arg;
		ends->items = acc;
		weir__sink_run(&ends->sink, WEIR_UNBOUNDED);
	}
	return future;
}

static void count_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);

	if (is_lost(ends, item))
		return;
	weir__item_drop(ends->sink.source, item);
	ends->sink.res++;
}

struct weir_future *weir_stream_count(struct weir_stream *stream)
{
	static const struct weir_subscriber_ops in = ENDS_IN(count_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends)
		weir__sink_run(&ends->sink, WEIR_UNBOUNDED);
	return future;
}

/* --- items --- */

static void collect_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);

	if (is_lost(ends, item))
		return;
	if ((size_t)ends->sink.res < ends->max) {
		ends->items[ends->sink.res++] = item;
		return;
	}
	weir__item_drop(ends->sink.source, item);
	weir__sink_end(&ends->sink, -ENOBUFS);
}

struct weir_future *weir_stream_collect(struct weir_stream *stream, struct weir_item *items,
					size_t max)
{
	static const struct weir_subscriber_ops in = ENDS_IN(collect_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends) {
		ends->items = items;
		ends->max = max;
		weir__sink_run(&ends->sink, max < INT64_MAX ? (int64_t)max + 1 : WEIR_UNBOUNDED);
	}
	return future;
}

static void first_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);

	if (is_lost(ends, item))
		return;
	*ends->items = item;
	weir__sink_end(&ends->sink, 1);
}

struct weir_future *weir_stream_first(struct weir_stream *stream, struct weir_item *ret_item)
{
	static const struct weir_subscriber_ops in = ENDS_IN(first_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends) {
		ends->items = ret_item;
		weir__sink_run(&ends->sink, 1);
	}
	return future;
}

static void last_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);

	if (is_lost(ends, item))
		return;
	if (ends->has_item)
		weir__item_drop(ends->sink.source, *ends->items);
	*ends->items = item;
	ends->has_item = true;
	ends->sink.res = 1;
}

/* After an error there is no last one. */
static void last_stop(struct weir__sink *sink)
{
	struct ends *ends = weir_container_of(sink, struct ends, sink);

	if (sink->res < 0 && ends->has_item)
		weir__item_drop(sink->source, *ends->items);
}

struct weir_future *weir_stream_last(struct weir_stream *stream, struct weir_item *ret_item)
{
	static const struct weir_subscriber_ops in = ENDS_IN(last_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends) {
		ends->items = ret_item;
		ends->sink.stop = last_stop;
		weir__sink_run(&ends->sink, WEIR_UNBOUNDED);
	}
	return future;
}

/* --- questions --- */

static void test_next(struct weir_subscriber *in, struct weir_item item)
{
	struct ends *ends = ends_of(in);
	bool passes;

	if (is_lost(ends, item))
		return;
	passes = ends->test(item, ends->arg);
	weir__item_drop(ends->sink.source, item);
	if (passes == ends->decides)
		weir__sink_end(&ends->sink, passes);
}

static struct weir_future *run_test(struct weir_stream *stream, weir_stream_test_fn test, void *arg,
				    bool decides)
{
	static const struct weir_subscriber_ops in = ENDS_IN(test_next);
	struct weir_future *future;
	struct ends *ends = weir__sink_new(stream, sizeof(*ends), &in, &future);

	if (ends) {
		ends->test = test;
		ends->arg = arg;
		ends->decides = decides;
		ends->sink.res = !decides;
		weir__sink_run(&ends->sink, WEIR_UNBOUNDED);
	}
	return future;
}

struct weir_future *weir_stream_all(struct weir_stream *stream, weir_stream_test_fn test, void *arg)
{
	return run_test(stream, test, arg, false);
}

struct weir_future *weir_stream_any(struct weir_stream *stream, weir_stream_test_fn test, void *arg)
{
	return run_test(stream, test, arg, true);
}
