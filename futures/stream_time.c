/* SPDX-License-Identifier: MIT */
/*
 * stream_time.c - what depends on time: sample, debounce, throttle, delay, timeout, rate_limit; and
 * what depends on demand alone: limit_rate, on_overflow.
 */
#include "futures/stream.h"

static inline bool is_lost(struct weir__stage *stage, struct weir_item item)
{
	if (weir_likely(!stage->over))
		return false;
	weir__stage_lose(stage, item);
	return true;
}

/* --- one item that waits: sample, debounce, throttle --- */

struct keeps {
	struct weir__stage stage;
	struct weir__input other;	/* of sample */
	struct weir_timer timer;
	int64_t ns;
	struct weir_item item;
	bool has_item;
	bool is_due;			/* it is to be sent when asked for */
	bool is_last;			/* then the end comes */
};

static struct keeps *keeps_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct keeps, stage);
}

static void keeps_start(struct weir__stage *stage)
{
	struct keeps *keeps = keeps_of(stage);

	keeps->has_item = keeps->is_due = keeps->is_last = false;
	keeps->other.stage = stage;
	keeps->other.over = true;
	keeps->other.up = NULL;
}

static void keeps_stop(struct weir__stage *stage)
{
	struct keeps *keeps = keeps_of(stage);

	weir__input_cancel(&keeps->other);
	weir_timer_cancel(&keeps->timer);
	if (keeps->has_item)
		weir__stage_lose(stage, keeps->item);
	keeps->has_item = false;
}

static unsigned keeps_buffered(const struct weir__stage *stage)
{
	return keeps_of((struct weir__stage *)(uintptr_t)stage)->has_item;
}

/* As much as comes, whatever is asked for. */
static void keeps_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	weir__stage_subscribed(in, up);
	if (stage->up == up)
		weir__stage_ask(stage, WEIR_UNBOUNDED);
}

/* A newer one takes the place of what waits. */
static void keep(struct keeps *keeps, struct weir_item item)
{
	if (keeps->has_item) {
		weir__stage_lose(&keeps->stage, keeps->item);
		keeps->stage.dropped++;
	}
	keeps->item = item;
	keeps->has_item = true;
}

/* Its time has come; it goes when it is asked for. */
static void send_due(struct keeps *keeps)
{
	struct weir__stage *stage = &keeps->stage;

	if (keeps->has_item && keeps->is_due && stage->demand > 0) {
		keeps->has_item = keeps->is_due = false;
		weir__stage_give(stage, keeps->item);
	}
	if (keeps->is_last && !(keeps->has_item && keeps->is_due))
		weir__stage_end(stage, 0);
}

static void keeps_request(struct weir_subscription *out, int64_t n)
{
	if (weir__stage_demand(weir__stage_of_out(out), n))
		send_due(keeps_of(weir__stage_of_out(out)));
}

static void keeps_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct keeps *keeps = keeps_of(stage);

	stage->up = NULL;
	if (stage->over)
		return;
	keeps->is_last = true;
	/* What was held back for its time goes before the end; a sample has none. */
	if (keeps->has_item && !keeps->other.source)
		keeps->is_due = true;
	if (error)
		weir__stage_end(stage, error);
	else
		send_due(keeps);
}

static const struct weir_subscription_ops keeps_out = { keeps_request, weir__stage_cancel };

static struct keeps *make_keeps(struct weir_stream *stream, const struct weir__stage_kind *kind,
				const struct weir_subscriber_ops *in, weir_timer_fn fire,
				int64_t ns)
{
	struct keeps *keeps = weir__stage_on(stream, sizeof(*keeps), kind, in, &keeps_out);

	if (!keeps)
		return NULL;
	keeps->stage.counts = true;
	keeps->ns = ns;
	weir_timer_init(&keeps->timer, fire);
	return keeps;
}

static struct weir_stream *keeps_stream(struct keeps *keeps, const struct weir_stream *stream)
{
	return keeps ? &keeps->stage.stream : &stream->arena->broken.stream;
}

#define KEEPS_KIND(name_)                                                                         \
	{                                                                                         \
		.name = name_, .start = keeps_start, .stop = keeps_stop,                          \
		.buffered = keeps_buffered,                                                       \
	}

static void sample_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	if (is_lost(stage, item))
		return;
	keeps_of(stage)->is_due = false;
	keep(keeps_of(stage), item);
}

static void ticked(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__input *other = weir__input_of(in);
	struct keeps *keeps = keeps_of(other->stage);

	weir__item_drop(other->source, item);
	if (other->over || other->stage->over)
		return;
	keeps->is_due = keeps->has_item;
	send_due(keeps);
}

static void ticks_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	weir__input_subscribed(in, up);
	weir__input_ask(weir__input_of(in), WEIR_UNBOUNDED);
}

static void ticks_ended(struct weir_subscriber *in, int error)
{
	struct weir__input *other = weir__input_of(in);

	if (weir__input_end(other))
		weir__stage_end(other->stage, error);
}

static void sample_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	static const struct weir_subscriber_ops ticks = { ticks_subscribed, ticked, ticks_ended };
	struct weir__stage *stage = weir__stage_of_in(in);

	keeps_subscribed(in, up);
	if (!stage->over && stage->up == up)
		weir__input_start(&keeps_of(stage)->other, &ticks);
}

struct weir_stream *weir_stream_sample(struct weir_stream *stream, struct weir_stream *other)
{
	static const struct weir_subscriber_ops in = { sample_subscribed, sample_next,
						       keeps_ended };
	static const struct weir__stage_kind kind = KEEPS_KIND("sample");
	struct weir_stream *streams[] = { stream, other };
	struct keeps *keeps;

	if (weir__streams_bad(streams, 2))
		return weir__streams_bad(streams, 2);
	keeps = make_keeps(stream, &kind, &in, NULL, 0);
	if (keeps)
		keeps->other.source = other;
	return keeps_stream(keeps, stream);
}

static void debounce_fire(struct weir_timer *timer)
{
	struct keeps *keeps = weir_container_of(timer, struct keeps, timer);

	keeps->is_due = true;
	send_due(keeps);
}

static void debounce_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct keeps *keeps = keeps_of(stage);

	if (is_lost(stage, item))
		return;
	keep(keeps, item);
	keeps->is_due = false;
	weir_timer_arm(&keeps->timer, weir_in(keeps->ns));
}

struct weir_stream *weir_stream_debounce(struct weir_stream *stream, int64_t ns)
{
	static const struct weir_subscriber_ops in = { keeps_subscribed, debounce_next,
						       keeps_ended };
	static const struct weir__stage_kind kind = KEEPS_KIND("debounce");

	return keeps_stream(make_keeps(stream, &kind, &in, debounce_fire, ns), stream);
}

/* The silence is over. */
static void throttle_fire(struct weir_timer *timer)
{
	(void)timer;
}

static void throttle_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct keeps *keeps = keeps_of(stage);

	if (is_lost(stage, item))
		return;
	if (weir_timer_is_armed(&keeps->timer)) {
		weir__stage_lose(stage, item);
		stage->dropped++;
		return;
	}
	weir_timer_arm(&keeps->timer, weir_in(keeps->ns));
	keep(keeps, item);
	keeps->is_due = true;
	send_due(keeps);
}

struct weir_stream *weir_stream_throttle(struct weir_stream *stream, int64_t ns)
{
	static const struct weir_subscriber_ops in = { keeps_subscribed, throttle_next,
						       keeps_ended };
	static const struct weir__stage_kind kind = KEEPS_KIND("throttle");

	return keeps_stream(make_keeps(stream, &kind, &in, throttle_fire, ns), stream);
}

/* --- items that wait: delay, on_overflow, limit_rate --- */

struct queue {
	struct weir__stage stage;
	struct weir__ring ring;
	int64_t *due;			/* delay: when each is, in step with the ring */
	struct weir_timer timer;
	int64_t ns;
	int64_t end_ns;			/* delay: when the end is due */
	enum weir_overflow overflow;
	unsigned low;			/* limit_rate */
	unsigned asked;			/* of above: on the way, or in the ring */
	int error;
	bool is_last;			/* what is inside is all */
	bool busy;
};

static struct queue *queue_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct queue, stage);
}

static void queue_start(struct weir__stage *stage)
{
	struct queue *queue = queue_of(stage);

	queue->is_last = queue->busy = false;
	queue->error = 0;
	queue->asked = 0;
}

static void queue_stop(struct weir__stage *stage)
{
	struct queue *queue = queue_of(stage);

	weir_timer_cancel(&queue->timer);
	weir__ring_clear(&queue->ring, stage->source);
}

static unsigned queue_buffered(const struct weir__stage *stage)
{
	return queue_of((struct weir__stage *)(uintptr_t)stage)->ring.count;
}

static struct queue *make_queue(struct weir_stream *stream, const struct weir__stage_kind *kind,
				const struct weir_subscriber_ops *in,
				const struct weir_subscription_ops *out, unsigned room)
{
	struct queue *queue = weir__stage_on(stream, sizeof(*queue), kind, in, out);

	if (!room)
		weir__arena_fail(stream->arena, -EINVAL);
	if (!queue || !room || !weir__ring_init(&queue->ring, stream->arena, room))
		return NULL;
	queue->stage.counts = true;
	return queue;
}

static struct weir_stream *queue_stream(struct queue *queue, const struct weir_stream *stream)
{
	return queue ? &queue->stage.stream : &stream->arena->broken.stream;
}

#define QUEUE_KIND(name_)                                                                         \
	{                                                                                         \
		.name = name_, .start = queue_start, .stop = queue_stop,                          \
		.buffered = queue_buffered,                                                       \
	}

/* What is inside and asked for. Not within itself. */
static void queue_send(struct queue *queue)
{
	struct weir__stage *stage = &queue->stage;

	if (queue->busy)
		return;
	queue->busy = true;
	while (!stage->over && stage->demand > 0 && queue->ring.count) {
		weir__stage_give(stage, weir__ring_pop(&queue->ring));
		if (!queue->low || stage->over || --queue->asked > queue->low)
			continue;
		/* limit_rate: the level is low. */
		weir__stage_ask(stage, queue->ring.size - queue->asked);
		queue->asked = queue->ring.size;
	}
	queue->busy = false;
	if (!stage->over && queue->is_last && !queue->ring.count)
		weir__stage_end(stage, queue->error);
}

static void queue_request(struct weir_subscription *out, int64_t n)
{
	if (weir__stage_demand(weir__stage_of_out(out), n))
		queue_send(queue_of(weir__stage_of_out(out)));
}

static void queue_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct queue *queue = queue_of(stage);

	stage->up = NULL;
	if (stage->over || queue->is_last)
		return;
	queue->is_last = true;
	queue->error = error;
	queue_send(queue);
}

static const struct weir_subscription_ops queue_out = { queue_request, weir__stage_cancel };

/* --- on_overflow --- */

static void overflow_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	weir__stage_subscribed(in, up);
	if (stage->up == up)
		weir__stage_ask(stage, WEIR_UNBOUNDED);
}

static void overflow(struct queue *queue, struct weir_item item)
{
	struct weir__stage *stage = &queue->stage;
	struct weir_subscription *up = stage->up;

	stage->dropped++;
	if (queue->overflow == WEIR_OVERFLOW_DROP_OLD) {
		weir__stage_lose(stage, weir__ring_pop(&queue->ring));
		weir__ring_push(&queue->ring, item);
		return;
	}
	weir__stage_lose(stage, item);
	if (queue->overflow == WEIR_OVERFLOW_DROP_NEW)
		return;
	queue->is_last = true;
	queue->error = -ENOBUFS;
	stage->up = NULL;
	if (up)
		up->ops->cancel(up);
}

static void overflow_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct queue *queue = queue_of(stage);

	if (queue->is_last || stage->over) {
		weir__stage_lose(stage, item);
		return;
	}
	if (weir__ring_is_full(&queue->ring))
		overflow(queue, item);
	else
		weir__ring_push(&queue->ring, item);
	queue_send(queue);
}

struct weir_stream *weir_stream_on_overflow(struct weir_stream *stream,
					    enum weir_overflow overflow, unsigned room)
{
	static const struct weir_subscriber_ops in = { overflow_subscribed, overflow_next,
						       queue_ended };
	static const struct weir__stage_kind kind = QUEUE_KIND("on_overflow");
	struct queue *queue = make_queue(stream, &kind, &in, &queue_out, room);

	if (queue)
		queue->overflow = overflow;
	return queue_stream(queue, stream);
}

/* --- limit_rate --- */

static void limit_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct queue *queue = queue_of(stage);

	weir__stage_subscribed(in, up);
	if (stage->up != up)
		return;
	queue->asked = queue->ring.size;
	weir__stage_ask(stage, queue->ring.size);
}

static void limit_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct queue *queue = queue_of(stage);

	if (is_lost(stage, item))
		return;
	if (weir__ring_is_full(&queue->ring)) {		/* it was not asked for */
		weir__stage_lose(stage, item);
		weir__stage_end(stage, -EPROTO);
		return;
	}
	weir__ring_push(&queue->ring, item);
	queue_send(queue);
}

struct weir_stream *weir_stream_limit_rate(struct weir_stream *stream, unsigned prefetch,
					   unsigned low)
{
	static const struct weir_subscriber_ops in = { limit_subscribed, limit_next, queue_ended };
	static const struct weir__stage_kind kind = QUEUE_KIND("limit_rate");
	struct queue *queue = make_queue(stream, &kind, &in, &queue_out, prefetch);

	if (low >= prefetch)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (queue)
		queue->low = low ? low : 1;
	return queue_stream(queue, stream);
}

/* --- delay --- */

static void delay_arm(struct queue *queue)
{
	if (queue->ring.count)
		weir_timer_arm(&queue->timer, queue->due[queue->ring.head]);
	else if (queue->is_last)
		weir_timer_arm(&queue->timer, queue->end_ns);
}

/* Sends what is due and asked for, then waits for the next. */
static void delay_send(struct queue *queue)
{
	struct weir__stage *stage = &queue->stage;

	if (queue->busy)
		return;
	queue->busy = true;
	while (!stage->over && stage->demand > 0 && queue->ring.count &&
	       queue->due[queue->ring.head] <= weir_now()) {
		weir__stage_give(stage, weir__ring_pop(&queue->ring));
		weir__stage_ask(stage, 1);
	}
	queue->busy = false;
	if (stage->over)
		return;
	if (queue->is_last && !queue->ring.count && queue->end_ns <= weir_now())
		weir__stage_end(stage, 0);
	else if (!queue->ring.count || queue->due[queue->ring.head] > weir_now())
		delay_arm(queue);
}

static void delay_fire(struct weir_timer *timer)
{
	delay_send(weir_container_of(timer, struct queue, timer));
}

static void delay_request(struct weir_subscription *out, int64_t n)
{
	if (weir__stage_demand(weir__stage_of_out(out), n))
		delay_send(queue_of(weir__stage_of_out(out)));
}

static void delay_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct queue *queue = queue_of(stage);
	unsigned at = queue->ring.head + queue->ring.count;

	if (is_lost(stage, item))
		return;
	if (weir__ring_is_full(&queue->ring)) {		/* it was not asked for */
		weir__stage_lose(stage, item);
		weir__stage_end(stage, -EPROTO);
		return;
	}
	queue->due[at < queue->ring.size ? at : at - queue->ring.size] = weir_in(queue->ns);
	weir__ring_push(&queue->ring, item);
	if (queue->ring.count == 1)
		delay_arm(queue);
}

static void delay_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct queue *queue = queue_of(stage);

	stage->up = NULL;
	if (error) {
		weir__stage_end(stage, error);
		return;
	}
	queue->is_last = true;
	queue->end_ns = weir_in(queue->ns);
	if (!stage->over && !queue->ring.count)
		delay_arm(queue);
}

static void delay_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	weir__stage_subscribed(in, up);
	if (stage->up == up)
		weir__stage_ask(stage, queue_of(stage)->ring.size);
}

struct weir_stream *weir_stream_delay(struct weir_stream *stream, int64_t ns, unsigned room)
{
	static const struct weir_subscriber_ops in = { delay_subscribed, delay_next, delay_ended };
	static const struct weir_subscription_ops out = { delay_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = QUEUE_KIND("delay");
	struct queue *queue = make_queue(stream, &kind, &in, &out, room);

	if (queue) {
		queue->ns = ns;
		queue->due = weir_arena_alloc(stream->arena, room * sizeof(*queue->due));
		weir_timer_init(&queue->timer, delay_fire);
	}
	return queue && queue->due ? &queue->stage.stream : &stream->arena->broken.stream;
}

/* --- timeout, rate_limit --- */

struct paced {
	struct weir__stage stage;
	struct weir_timer timer;
	int64_t ns;
	int64_t wanted;			/* rate_limit: asked of us, and not above yet */
	int64_t refilled_ns;		/* when the bucket was last looked at */
	int64_t level_ns;		/* what is in it: count items are ns */
	unsigned count;
};

static struct paced *paced_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct paced, stage);
}

static void paced_stop(struct weir__stage *stage)
{
	weir_timer_cancel(&paced_of(stage)->timer);
}

static struct paced *make_paced(struct weir_stream *stream, const struct weir__stage_kind *kind,
				const struct weir_subscriber_ops *in,
				const struct weir_subscription_ops *out, weir_timer_fn fire)
{
	struct paced *paced = weir__stage_on(stream, sizeof(*paced), kind, in, out);

	if (paced)
		weir_timer_init(&paced->timer, fire);
	return paced;
}

static struct weir_stream *paced_stream(struct paced *paced, const struct weir_stream *stream)
{
	return paced ? &paced->stage.stream : &stream->arena->broken.stream;
}

static void timeout_fire(struct weir_timer *timer)
{
	weir__stage_end(&weir_container_of(timer, struct paced, timer)->stage, -ETIMEDOUT);
}

static void timeout_subscribed(struct weir_subscriber *in, struct weir_subscription *up)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	weir__stage_subscribed(in, up);
	if (stage->up == up)
		weir_timer_arm(&paced_of(stage)->timer, weir_in(paced_of(stage)->ns));
}

static void timeout_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	if (is_lost(stage, item))
		return;
	weir_timer_arm(&paced_of(stage)->timer, weir_in(paced_of(stage)->ns));
	weir__stage_send(stage, item);
}

struct weir_stream *weir_stream_timeout(struct weir_stream *stream, int64_t ns)
{
	static const struct weir_subscriber_ops in = { timeout_subscribed, timeout_next,
						       weir__stage_ended };
	static const struct weir__stage_kind kind = { .name = "timeout", .stop = paced_stop };
	struct paced *paced = make_paced(stream, &kind, &in, &weir__stage_out, timeout_fire);

	if (paced)
		paced->ns = ns;
	return paced_stream(paced, stream);
}

static void rate_start(struct weir__stage *stage)
{
	struct paced *paced = paced_of(stage);

	paced->wanted = 0;
	paced->refilled_ns = weir_now();
	paced->level_ns = paced->ns;
}

/* Asks for what the bucket has, one item for ns / count of it, and comes back for the rest. */
static void rate_ask(struct paced *paced)
{
	int64_t price_ns = paced->ns / paced->count;
	int64_t now_ns = weir_now();
	int64_t n;

	paced->level_ns += now_ns - paced->refilled_ns;
	paced->refilled_ns = now_ns;
	if (paced->level_ns > paced->ns)
		paced->level_ns = paced->ns;
	n = paced->level_ns / price_ns;
	if (n > paced->wanted)
		n = paced->wanted;
	paced->level_ns -= n * price_ns;
	if (paced->wanted != WEIR_UNBOUNDED)
		paced->wanted -= n;
	if (paced->wanted)
		weir_timer_arm(&paced->timer, now_ns + price_ns - paced->level_ns % price_ns);
	if (n)
		weir__stage_ask(&paced->stage, n);
}

static void rate_fire(struct weir_timer *timer)
{
	rate_ask(weir_container_of(timer, struct paced, timer));
}

static void rate_request(struct weir_subscription *out, int64_t n)
{
	struct weir__stage *stage = weir__stage_of_out(out);
	struct paced *paced = paced_of(stage);

	if (n <= 0)
		weir__stage_end(stage, -EINVAL);
	if (stage->over)
		return;
	paced->wanted = weir__demand_add(paced->wanted, n);
	if (!weir_timer_is_armed(&paced->timer))
		rate_ask(paced);
}

static void rate_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);

	if (!is_lost(stage, item))
		weir__stage_send(stage, item);
}

struct weir_stream *weir_stream_rate_limit(struct weir_stream *stream, unsigned count, int64_t ns)
{
	static const struct weir_subscriber_ops in = WEIR__STAGE_IN(rate_next);
	static const struct weir_subscription_ops out = { rate_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "rate_limit",
						      .start = rate_start,
						      .stop = paced_stop };
	struct paced *paced;

	if (!count || ns < count)
		return weir__arena_fail(stream->arena, -EINVAL);
	paced = make_paced(stream, &kind, &in, &out, rate_fire);
	if (paced) {
		paced->count = count;
		paced->ns = ns;
	}
	return paced_stream(paced, stream);
}
