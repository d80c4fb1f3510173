/* SPDX-License-Identifier: MIT */
/*
 * stream_chain.c - one stream after the other: concat, start_with, on_error_resume, retry. Each has
 * one input at a time; what was asked for and not sent is asked of the next one.
 */
#include "futures/stream.h"

struct chain {
	struct weir__stage stage;
	struct weir__input input;
	struct weir_stream **sources;
	unsigned count, at;
	/* retry: */
	struct weir_timer timer;
	weir_stream_retry_fn fn;
	void *arg;
	unsigned retries_max, retries;	/* of retry */
	unsigned attempt;		/* of retry_when, in a row */
};

static struct chain *chain_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct chain, stage);
}

static struct chain *chain_of_in(struct weir_subscriber *in)
{
	return chain_of(weir__input_of(in)->stage);
}

static void chain_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);

	if (weir__stage_demand(stage, n))
		weir__input_ask(&chain_of(stage)->input, n);
}

static void chain_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__input *input = weir__input_of(in);

	weir__input_subscribed(in, up);
	if (input->stage->demand)
		weir__input_ask(input, input->stage->demand);
}

static void chain_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__input *input = weir__input_of(in);

	if (weir_unlikely(input->over || input->stage->over)) {
		weir__item_drop(input->source, item);
		return;
	}
	chain_of(input->stage)->attempt = 0;
	weir__stage_give(input->stage, item);
}

static void chain_start(struct weir__stage *stage)
{
	struct chain *chain = chain_of(stage);

	chain->at = 0;
	chain->retries = 0;
	chain->attempt = 0;
	chain->input.stage = stage;
	chain->input.up = NULL;
	chain->input.over = true;
}

static void chain_stop(struct weir__stage *stage)
{
	struct chain *chain = chain_of(stage);

	weir__input_cancel(&chain->input);
	weir_timer_cancel(&chain->timer);
}

static void go_on(struct chain *chain, const struct weir_subscriber_ops *ops)
{
	chain->input.source = chain->sources[chain->at];
	weir__input_start(&chain->input, ops);
}

static const struct weir_subscription_ops chain_out = { chain_request, weir__stage_cancel };

static struct chain *make_chain(struct weir_stream *const *streams, unsigned count,
				const struct weir__stage_kind *kind)
{
	struct weir_arena *arena = streams[0]->arena;
	struct chain *chain = weir__stage_new(arena, sizeof(*chain), kind, NULL, &chain_out);

	if (!chain)
		return NULL;
	chain->sources = weir_arena_alloc(arena, count * sizeof(struct weir_stream *));
	if (!chain->sources)
		return NULL;
	memcpy(chain->sources, streams, count * sizeof(struct weir_stream *));
	chain->count = count;
	chain->stage.counts = true;
	chain->stage.stream.drop = streams[0]->drop;
	return chain;
}

static struct weir_stream *stream_of(struct chain *chain, struct weir_stream *const *streams)
{
	return chain ? &chain->stage.stream : &streams[0]->arena->broken.stream;
}

/* --- concat --- */

static const struct weir_subscriber_ops concat_in;

static void concat_ended(struct weir_subscriber *in, int error)
{
	struct chain *chain = chain_of_in(in);

	if (!weir__input_end(&chain->input))
		return;
	if (error || ++chain->at == chain->count)
		weir__stage_end(&chain->stage, error);
	else
		go_on(chain, &concat_in);
}

static const struct weir_subscriber_ops concat_in = { chain_subscribed, chain_next, concat_ended };

static void concat_begin(struct weir__stage *stage)
{
	go_on(chain_of(stage), &concat_in);
}

struct weir_stream *weir_stream_concat(struct weir_stream *const *streams, unsigned count)
{
	static const struct weir__stage_kind kind = {
		.name = "concat", .start = chain_start, .begin = concat_begin, .stop = chain_stop
	};

	if (weir__streams_bad(streams, count))
		return weir__streams_bad(streams, count);
	return stream_of(make_chain(streams, count, &kind), streams);
}

struct weir_stream *weir_stream_start_with(struct weir_stream *stream,
					   const struct weir_item *items, size_t count)
{
	struct weir_stream *streams[] = { weir_stream_array(stream->arena, items, count), stream };
	struct weir_stream *whole = weir_stream_concat(streams, 2);

	if (whole != &whole->arena->broken.stream)
		whole->drop = stream->drop;
	return whole;
}

/* --- on_error_resume --- */

static const struct weir_subscriber_ops resume_in;

static void resume_ended(struct weir_subscriber *in, int error)
{
	struct chain *chain = chain_of_in(in);

	if (!weir__input_end(&chain->input))
		return;
	if (!error || ++chain->at == chain->count)
		weir__stage_end(&chain->stage, error);
	else
		go_on(chain, &resume_in);
}

static const struct weir_subscriber_ops resume_in = { chain_subscribed, chain_next, resume_ended };

static void resume_begin(struct weir__stage *stage)
{
	go_on(chain_of(stage), &resume_in);
}

struct weir_stream *weir_stream_on_error_resume(struct weir_stream *stream,
						struct weir_stream *other)
{
	static const struct weir__stage_kind kind = {
		.name = "on_error_resume",
		.start = chain_start,
		.begin = resume_begin,
		.stop = chain_stop
	};
	struct weir_stream *streams[] = { stream, other };

	if (weir__streams_bad(streams, 2))
		return weir__streams_bad(streams, 2);
	return stream_of(make_chain(streams, 2, &kind), streams);
}

/* --- retry --- */

static const struct weir_subscriber_ops retry_in;

static void retry_begin(struct weir__stage *stage)
{
	go_on(chain_of(stage), &retry_in);
}

static void retry_fire(struct weir_timer *timer)
{
	retry_begin(&weir_container_of(timer, struct chain, timer)->stage);
}

/* Not in here, but from a timer: what fails at once shall not build up the stack. */
static void retry_ended(struct weir_subscriber *in, int error)
{
	struct chain *chain = chain_of_in(in);
	int64_t wait_ns = 0;

	if (!weir__input_end(&chain->input))
		return;
	if (error && chain->fn)
		wait_ns = chain->fn(error, ++chain->attempt, chain->arg);
	else if (error && chain->retries++ == chain->retries_max)
		wait_ns = -1;
	if (!error || wait_ns < 0) {
		weir__stage_end(&chain->stage, error);
		return;
	}
	weir_timer_arm(&chain->timer, weir_in(wait_ns));
}

static const struct weir_subscriber_ops retry_in = { chain_subscribed, chain_next, retry_ended };

static struct weir_stream *make_retry(struct weir_stream *stream, unsigned count,
				      weir_stream_retry_fn fn, void *arg,
				      const struct weir__stage_kind *kind)
{
	struct chain *chain = make_chain(&stream, 1, kind);

	if (chain) {
		chain->retries_max = count;
		chain->fn = fn;
		chain->arg = arg;
		weir_timer_init(&chain->timer, retry_fire);
	}
	return stream_of(chain, &stream);
}

struct weir_stream *weir_stream_retry(struct weir_stream *stream, unsigned count)
{
	static const struct weir__stage_kind kind = {
		.name = "retry", .start = chain_start, .begin = retry_begin, .stop = chain_stop
	};

	return make_retry(stream, count, NULL, NULL, &kind);
}

struct weir_stream *weir_stream_retry_when(struct weir_stream *stream, weir_stream_retry_fn fn,
					   void *arg)
{
	static const struct weir__stage_kind kind = {
		.name = "retry_when", .start = chain_start, .begin = retry_begin, .stop = chain_stop
	};

	if (!fn)
		return weir__arena_fail(stream->arena, -EINVAL);
	return make_retry(stream, 0, fn, arg, &kind);
}
