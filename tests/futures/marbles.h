/* SPDX-License-Identifier: MIT */
/*
 * marbles.h - streams drawn as strings, on virtual time (after the TestScheduler of RxJS):
 *
 *	"--a-(bc)-|"	a frame of 1 ms each: nothing (-), an item whose number is the character,
 *			several in one frame, the end (|), an error (#: -EIO)
 *
 *	expect(weir_stream_take(cold("-a-b-c|"), 2), "-a-(b|)");
 *
 * cold() begins when it is subscribed to; hot() has begun when it was made. An item that was not
 * asked for waits (cold) or is lost (hot); one that is sent without demand fails the test. Each
 * item that was made must come out, or be dropped, once: expect() counts.
 */
#ifndef WEIR_TESTS_FUTURES_MARBLES_H
#define WEIR_TESTS_FUTURES_MARBLES_H

#include "on_worker.h"

#include "futures/weir_stream.h"
#include "futures/weir_stream_from.h"
#include "futures/weir_stream_ops.h"
#include "futures/weir_stream_to.h"

#pragma GCC diagnostic ignored "-Wunused-function"

#define FRAME WEIR_MS
#define MARBLES_MAX 256

static struct weir_arena *arena;
static unsigned made, freed;	/* items */
static unsigned marble_subscriptions, marble_cancels;

/* A dot is not one of ours. */
static void count_drop(struct weir_item item)
{
	freed += item.number != '.';
}

/* --- a source --- */

struct marble {
	struct weir_stream stream;
	struct weir_subscription subscription;
	struct weir_subscriber *down;
	struct weir_timer timer;
	const char *text;
	const char *at;
	int64_t next_ns;
	int64_t demand;
	bool in_group;
	bool is_hot;
	bool waits;		/* an item, to be asked for */
	bool inside;		/* the loop below is on the stack */
};

/* Sends what is due, until the next frame. */
static void marble_play(struct marble *marble)
{
	if (marble->inside)
		return;
	marble->inside = true;
	marble->waits = false;
	while (*marble->at && (marble->down || marble->is_hot)) {
		struct weir_subscriber *down = marble->down;
		char c = *marble->at;

		if (c == '|' || c == '#') {
			marble->at = "";
			marble->down = NULL;
			if (down)
				down->ops->ended(down, c == '#' ? -EIO : 0);
			break;
		}
		if (c != '-' && c != '(' && c != ')' && !(marble->is_hot && !marble->demand)) {
			if (!marble->demand) {
				marble->waits = true;
				break;
			}
			if (marble->demand != WEIR_UNBOUNDED)
				marble->demand--;
			made++;
			marble->at++;
			down->ops->next(down, weir_item_number(c));
		} else {
			marble->at++;
		}
		if (c == '(' || c == ')')
			marble->in_group = c == '(';
		if (marble->in_group)
			continue;
		if (*marble->at && (marble->down || marble->is_hot)) {
			marble->next_ns += FRAME;
			weir_timer_arm(&marble->timer, marble->next_ns);
		}
		break;
	}
	marble->inside = false;
}

static void marble_fire(struct weir_timer *timer)
{
	marble_play(weir_container_of(timer, struct marble, timer));
}

static void marble_request(struct weir_subscription *subscription, int64_t n)
{
	struct marble *marble = weir_container_of(subscription, struct marble, subscription);

	if (!marble->down)
		return;
	assert_true(n > 0);
	if (__builtin_add_overflow(marble->demand, n, &marble->demand))
		marble->demand = WEIR_UNBOUNDED;
	if (marble->waits)
		marble_play(marble);
}

static void marble_cancel(struct weir_subscription *subscription)
{
	struct marble *marble = weir_container_of(subscription, struct marble, subscription);

	if (!marble->down)
		return;
	marble_cancels++;
	marble->down = NULL;
	marble->demand = 0;
	if (!marble->is_hot)
		weir_timer_cancel(&marble->timer);
}

static void marble_subscribe(struct weir_stream *stream, struct weir_subscriber *down)
{
	struct marble *marble = weir_container_of(stream, struct marble, stream);

	assert_null(marble->down);
	marble_subscriptions++;
	marble->down = down;
	marble->demand = 0;
	if (!marble->is_hot) {
		marble->at = marble->text;
		marble->in_group = false;
		marble->waits = false;
		marble->next_ns = weir_now();
		weir_timer_arm(&marble->timer, marble->next_ns);
	}
	down->ops->subscribed(down, &marble->subscription);
}

static struct weir_stream *cold(const char *text)
{
	static const struct weir_subscription_ops out = { marble_request, marble_cancel };
	static const struct weir_stream_ops ops = { marble_subscribe };
	struct marble *marble = weir_arena_alloc(arena, sizeof(*marble));

	assert_non_null(marble);
	marble->stream = (struct weir_stream){ &ops, arena, count_drop };
	marble->subscription.ops = &out;
	marble->text = marble->at = text;
	weir_timer_init(&marble->timer, marble_fire);
	return &marble->stream;
}

static struct weir_stream *hot(const char *text)
{
	struct weir_stream *stream = cold(text);
	struct marble *marble = weir_container_of(stream, struct marble, stream);

	marble->is_hot = true;
	marble->next_ns = weir_now();
	weir_timer_arm(&marble->timer, marble->next_ns);
	return stream;
}

/* --- what comes out --- */

struct recorder {
	struct weir_subscriber in;
	struct weir_subscription *up;
	int64_t begin_ns;
	int64_t demand;
	unsigned got;
	int error;
	bool ended;
	unsigned count;
	struct {
		int64_t frame;
		char c;
	} events[MARBLES_MAX];
	const struct weir_stream *stream;
};

static void record(struct recorder *recorder, char c)
{
	assert_true(recorder->count < MARBLES_MAX);
	recorder->events[recorder->count].frame =
		(weir_now() - recorder->begin_ns + FRAME / 4) / FRAME;
	recorder->events[recorder->count++].c = c;
}

static void recorder_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct recorder *recorder = weir_container_of(in, struct recorder, in);

	assert_null(recorder->up);
	recorder->up = up;
	if (recorder->demand)
		up->ops->request(up, recorder->demand);
}

static void recorder_next(struct weir_subscriber *in, struct weir_item item)
{
	struct recorder *recorder = weir_container_of(in, struct recorder, in);

	assert_false(recorder->ended);
	assert_true(recorder->demand > 0);
	if (recorder->demand != WEIR_UNBOUNDED)
		recorder->demand--;
	recorder->got++;
	record(recorder, (char)item.number);
	if (recorder->stream->drop)
		recorder->stream->drop(item);
}

static void recorder_ended(struct weir_subscriber *in, int error)
{
	struct recorder *recorder = weir_container_of(in, struct recorder, in);

	assert_non_null(recorder->up);
	assert_false(recorder->ended);
	recorder->ended = true;
	recorder->error = error;
	record(recorder, !error ? '|' : error == -EIO ? '#' : error == -ETIMEDOUT ? 'T' : '!');
}

static void recorder_start(struct recorder *recorder, struct weir_stream *stream, int64_t demand)
{
	static const struct weir_subscriber_ops ops = { recorder_subscribed, recorder_next,
							recorder_ended };

	*recorder = (struct recorder){ .in.ops = &ops, .demand = demand, .stream = stream };
	recorder->begin_ns = weir_now();
	weir_stream_subscribe(stream, &recorder->in);
}

static void recorder_ask(struct recorder *recorder, int64_t n)
{
	recorder->demand += n;
	recorder->up->ops->request(recorder->up, n);
}

/* What was recorded, as marbles. */
static const char *drawn(const struct recorder *recorder)
{
	static char text[4 * MARBLES_MAX];
	int64_t frame = 0;
	unsigned i = 0;
	char *to = text;

	while (i < recorder->count) {
		unsigned end = i;

		for (; frame < recorder->events[i].frame; frame++)
			*to++ = '-';
		while (end < recorder->count && recorder->events[end].frame == frame)
			end++;
		if (end - i > 1)
			*to++ = '(';
		else
			*to++ = recorder->events[i++].c;
		while (i < end)
			*to++ = recorder->events[i++].c;
		if (to[-1] != '-' && end >= 2 && recorder->events[end - 2].frame == frame)
			*to++ = ')';
		frame++;
	}
	*to = '\0';
	return text;
}

/* Runs stream for frames, or until it ends; with demand. */
static const char *watched(struct weir_stream *stream, int64_t demand, unsigned frames)
{
	static struct recorder recorder;

	recorder_start(&recorder, stream, demand);
	for (unsigned i = 0; i < frames && !recorder.ended; i++)
		weir_sleep(FRAME);
	if (!recorder.ended)
		recorder.up->ops->cancel(recorder.up);
	weir_sleep(5 * FRAME);
	return drawn(&recorder);
}

static void expect_at(struct weir_stream *stream, const char *expected, const char *file, int line)
{
	const char *got = watched(stream, WEIR_UNBOUNDED, 100);

	if (strcmp(got, expected)) {
		fprintf(stderr, "%s:%d: \"%s\" and not \"%s\"\n", file, line, got, expected);
		fail();
	}
	if (made != freed) {
		fprintf(stderr, "%s:%d: %u items made, %u freed\n", file, line, made, freed);
		fail();
	}
}

/* stream, asked for everything, is expected. */
#define expect(stream, expected) expect_at(stream, expected, __FILE__, __LINE__)

/* Each drawing has an arena of its own. */
static void new_arena(void)
{
	static const struct weir_arena_opts opts = { .name = "marbles", .size = 64 << 10 };

	made = freed = 0;
	marble_subscriptions = marble_cancels = 0;
	assert_int_equal(weir_arena_create(&opts, &arena), 0);
}

static void end_arena(void)
{
	assert_int_equal(weir_arena_error(arena), 0);
	assert_int_equal(weir_arena_destroy(arena), 0);
}

#endif
