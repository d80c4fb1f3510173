/* SPDX-License-Identifier: MIT */
/*
 * stream_rules.h - what the tests of the rules of Reactive Streams share: a subscriber that
 * watches, the publishers under test, and a publisher that says whatever the test wants. Included
 * once by each.
 */
#ifndef WEIR_TESTS_FUTURES_STREAM_RULES_H
#define WEIR_TESTS_FUTURES_STREAM_RULES_H

#include "futures/stream.h"

#include "marbles.h"

/* --- a subscriber that watches --- */

struct probe {
	struct weir_subscriber in;
	struct weir_subscription *up;
	struct weir_stream *stream;
	int64_t asked, got;
	unsigned subscribed, ended;
	int error;
	bool inside;			/* a signal is on the stack */
	bool asks_inside;		/* for one more, in next() */
	bool cancels_inside;
	unsigned overlaps;		/* signals within signals */
	unsigned too_many;		/* items that were not asked for */
	unsigned after;			/* signals after the end */
	uintptr_t deepest;		/* the stack, in next() */
};

static void probe_enter(struct probe *probe)
{
	probe->overlaps += probe->inside;
	probe->inside = true;
	probe->after += probe->ended != 0;
}

static void probe_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct probe *probe = weir_container_of(in, struct probe, in);

	probe->subscribed++;
	if (probe->up)
		up->ops->cancel(up);
	else
		probe->up = up;
}

static void probe_ask(struct probe *probe, int64_t n)
{
	if (n > 0 && __builtin_add_overflow(probe->asked, n, &probe->asked))
		probe->asked = INT64_MAX;
	probe->up->ops->request(probe->up, n);
}

static void probe_next(struct weir_subscriber *in, struct weir_item item)
{
	struct probe *probe = weir_container_of(in, struct probe, in);
	uintptr_t here = (uintptr_t)&item;

	probe_enter(probe);
	if (!probe->deepest || here < probe->deepest)
		probe->deepest = here;
	probe->too_many += ++probe->got > probe->asked;
	if (probe->stream->drop)
		probe->stream->drop(item);
	if (probe->cancels_inside)
		probe->up->ops->cancel(probe->up);
	probe->inside = false;
	if (probe->asks_inside)
		probe_ask(probe, 1);
}

static void probe_ended(struct weir_subscriber *in, int error)
{
	struct probe *probe = weir_container_of(in, struct probe, in);

	probe_enter(probe);
	probe->ended++;
	probe->error = error;
	probe->inside = false;
}

static void probe_start(struct probe *probe, struct weir_stream *stream)
{
	static const struct weir_subscriber_ops ops = { probe_subscribed, probe_next, probe_ended };

	*probe = (struct probe){ .in.ops = &ops, .stream = stream };
	assert_int_equal(weir_stream_subscribe(stream, &probe->in), 0);
}

static void run(void)
{
	for (int i = 0; i < 12; i++)
		weir_sleep(FRAME);
}

static struct probe probe;

/* --- the publishers under test: three items 'a' 'b' 'c', then the end or -EIO --- */

static int three(struct weir_emitter *emitter, void *arg)
{
	int r = 0;

	for (int i = 0; i < 3 && !r; i++)
		r = weir_emit(emitter, weir_item_number('a' + i));
	return r ? r : arg ? -EIO : 0;
}

static struct weir_stream *base(bool fails)
{
	return cold(fails ? "-(abc)#" : "-(abc)|");
}

static struct weir_stream *a_cold_one(bool fails)
{
	return base(fails);
}

static struct weir_stream *a_range(bool fails)
{
	struct weir_stream *streams[] = { weir_stream_range(arena, 'a', 3),
					  weir_stream_error(arena, -EIO) };

	return fails ? weir_stream_concat(streams, 2) : streams[0];
}

static struct weir_stream *a_generator(bool fails)
{
	return weir_stream_generate(arena, three, fails ? arena : NULL, NULL);
}

static bool anything(struct weir_item item, void *arg)
{
	return true;
}

static int as_it_is(struct weir_item *item, void *arg)
{
	return 0;
}

static int fold(struct weir_item *acc, struct weir_item item, void *arg)
{
	acc->number = item.number;
	return 0;
}

static int first_of(const struct weir_item *items, unsigned count, struct weir_item *ret, void *arg)
{
	*ret = items[0];
	return 0;
}

static struct weir_stream *one(struct weir_arena *in, struct weir_item item, void *arg)
{
	return weir_stream_value(in, weir_item_number(item.number));
}

static int64_t key_of(struct weir_item item, void *arg)
{
	return item.number;
}

static struct weir_stream *a_map(bool fails)
{
	return weir_stream_map(base(fails), as_it_is, NULL, count_drop);
}

static struct weir_stream *a_filter(bool fails)
{
	return weir_stream_filter(base(fails), anything, NULL);
}

static struct weir_stream *a_scan(bool fails)
{
	return weir_stream_scan(base(fails), weir_item_number(0), fold, NULL);
}

static struct weir_stream *a_take(bool fails)
{
	return weir_stream_take(base(fails), 9);
}

static struct weir_stream *a_take_while(bool fails)
{
	return weir_stream_take_while(base(fails), anything, NULL);
}

static struct weir_stream *a_take_until(bool fails)
{
	return weir_stream_take_until(base(fails), weir_stream_never(arena));
}

static struct weir_stream *a_skip(bool fails)
{
	return weir_stream_skip(base(fails), 0);
}

static struct weir_stream *a_distinct(bool fails)
{
	return weir_stream_distinct_until_changed(base(fails), NULL, NULL);
}

static struct weir_stream *a_merge(bool fails)
{
	struct weir_stream *streams[] = { base(fails), cold("|") };

	return weir_stream_merge(streams, 2);
}

static struct weir_stream *a_concat(bool fails)
{
	struct weir_stream *streams[] = { cold("|"), base(fails) };

	return weir_stream_concat(streams, 2);
}

static struct weir_stream *an_amb(bool fails)
{
	struct weir_stream *streams[] = { base(fails), weir_stream_never(arena) };

	return weir_stream_amb(streams, 2);
}

static struct weir_stream *a_zip(bool fails)
{
	struct weir_stream *streams[] = { base(fails), cold("(1234)-----") };

	return weir_stream_zip(streams, 2, first_of, NULL, NULL);
}

static struct weir_stream *a_combination(bool fails)
{
	struct weir_stream *streams[] = { base(fails), cold("1|") };

	return weir_stream_combine_latest(streams, 2, first_of, NULL, NULL);
}

static struct weir_stream *a_flat_map(bool fails)
{
	return weir_stream_flat_map(base(fails), one, NULL, NULL);
}

static struct weir_stream *a_concat_map(bool fails)
{
	return weir_stream_concat_map(base(fails), one, NULL, NULL);
}

static struct weir_stream *a_buffer(bool fails)
{
	return weir_stream_buffer(base(fails), 1, WEIR_NEVER, 4);
}

static struct weir_stream *a_window(bool fails)
{
	return weir_stream_window(base(fails), 1, WEIR_NEVER);
}

static struct weir_stream *a_grouping(bool fails)
{
	return weir_stream_group_by(base(fails), key_of, NULL, 4, 4);
}

static struct weir_stream *a_delay(bool fails)
{
	return weir_stream_delay(base(fails), fails ? 0 : FRAME, 8);
}

static struct weir_stream *a_timeout(bool fails)
{
	return weir_stream_timeout(base(fails), WEIR_S);
}

static struct weir_stream *a_rate_limit(bool fails)
{
	return weir_stream_rate_limit(base(fails), 100, WEIR_MS);
}

static struct weir_stream *a_retry(bool fails)
{
	return weir_stream_retry(base(fails), 0);
}

static struct weir_stream *a_resume(bool fails)
{
	return weir_stream_on_error_resume(cold("#"), base(fails));
}

static struct weir_stream *a_share(bool fails)
{
	return weir_stream_share(base(fails), WEIR_SHARE_REF_COUNT, 4, 0, NULL);
}

static struct weir_stream *a_prefetch(bool fails)
{
	return weir_stream_limit_rate(base(fails), 2, 1);
}

static struct weir_stream *an_overflow(bool fails)
{
	return weir_stream_on_overflow(base(fails), WEIR_OVERFLOW_ERROR, 8);
}

static struct weir_stream *an_import(bool fails)
{
	return weir_stream_import(arena, base(fails));
}

static struct weir_stream *(*const publishers[])(bool) = {
	a_cold_one,   a_range,	   a_generator,	 a_map,	      a_filter, a_scan,	     a_take,
	a_take_while, a_take_until, a_skip,	 a_distinct,  a_merge,	a_concat,    an_amb,
	a_zip,	      a_combination, a_flat_map, a_concat_map, a_buffer, a_window,   a_grouping,
	a_delay,      a_timeout,   a_rate_limit, a_retry,     a_resume, a_share,     a_prefetch,
	an_overflow,  an_import,
};

#define PUBLISHERS (sizeof(publishers) / sizeof(publishers[0]))

/* Each publisher in an arena of its own; the test's body follows. */
#define for_each_publisher(stream, fails)                                                         \
	for (unsigned i_ = 0; i_ < PUBLISHERS; i_++)                                              \
		for (struct weir_stream *stream = enter_arena(i_, fails); stream;                 \
		     stream = (leave_arena(), NULL))

static struct weir_stream *enter_arena(unsigned index, bool fails)
{
	/* Shown when a test fails. */
	print_message("publisher %u\n", index);
	probe = (struct probe){ 0 };
	new_arena();
	return publishers[index](fails);
}

static void leave_arena(void)
{
	if (probe.up && !probe.ended)
		probe.up->ops->cancel(probe.up);
	run();
	end_arena();
}

/* --- a publisher that says what the test wants --- */

struct voice {
	struct weir_stream stream;
	struct weir_subscription out;
	struct weir_subscriber *down;
	unsigned subscribed;
	int64_t asked;
	unsigned asks, cancels;
	unsigned calls_inside;		/* of the subscription, in ended() */
	bool in_ended;
	bool answers;			/* each request by as many items, at once */
	bool ends_at_once;
};

static struct voice voice;

static void voice_request(struct weir_subscription *out, int64_t n)
{
	voice.calls_inside += voice.in_ended;
	voice.asks++;
	if (__builtin_add_overflow(voice.asked, n, &voice.asked))
		voice.asked = INT64_MAX;
	for (int64_t i = 0; voice.answers && i < n && i < 3; i++)
		voice.down->ops->next(voice.down, weir_item_number('a' + (int)i));
	if (voice.ends_at_once)
		voice.down->ops->ended(voice.down, 0);
}

static void voice_cancel(struct weir_subscription *out)
{
	voice.calls_inside += voice.in_ended;
	voice.cancels++;
}

static void voice_subscribe(struct weir_stream *stream, struct weir_subscriber *down)
{
	voice.subscribed++;
	voice.down = down;
	down->ops->subscribed(down, &voice.out);
}

static void drop_nothing(struct weir_item item)
{
	freed++;
}

static struct weir_stream *speak(void)
{
	static const struct weir_subscription_ops out = { voice_request, voice_cancel };
	static const struct weir_stream_ops ops = { voice_subscribe };

	new_arena();
	voice = (struct voice){ .stream = { &ops, arena, drop_nothing }, .out.ops = &out };
	return &voice.stream;
}

static void say(int64_t number)
{
	made++;
	voice.down->ops->next(voice.down, weir_item_number(number));
}

static void say_end(int error)
{
	voice.in_ended = true;
	voice.down->ops->ended(voice.down, error);
	voice.in_ended = false;
}

static int nothing(struct weir_item item, void *arg)
{
	return 0;
}

static ssize_t result(struct weir_future *future)
{
	ssize_t res = weir_await(future, WEIR_NEVER, NULL);

	turns(2);
	return res;
}

#endif
