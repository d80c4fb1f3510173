/* SPDX-License-Identifier: MIT */
/*
 * retry.c - the same thing again after a failure, later each time.
 *
 * One future, one task and one timer, which is never needed twice at once: while an attempt is
 * under way it is the deadline's, between two attempts it is the delay's.
 *
 *	source set:	an attempt is under way; the task runs when it has ended
 *	source NULL:	between two; the task runs when the delay is over, or when cancelled
 */
#include "futures/weir_retry.h"

#include "futures/future.h"

#define ATTEMPTS_MAX 3
#define DELAY_NS (10 * WEIR_MS)
#define DELAY_NS_MAX (10 * WEIR_S)

struct retry {
	struct weir_future future;
	struct weir_retry_opts opts;	/* without zeros but deadline_ns */
	weir_start_fn start;
	void *arg;
	struct weir_future *source;
	struct weir_timer timer;
	const char *origin;
	int64_t delay_ns; /* the next one, before jitter; DECORRELATED: the last one */
	unsigned attempts;		/* that were made */
};

static_assert(sizeof(struct retry) <= FUTURE_SIZE_LARGE, "a large future");

static struct retry *retry_of(const struct weir_future *future)
{
	return weir_container_of(future, struct retry, future);
}

static struct weir_future *retry_source(const struct weir_future *future)
{
	return retry_of(future)->source;
}

static struct weir_future *retry_cancel(struct weir_future *future)
{
	struct weir_future *source = retry_of(future)->source;

	if (!source)
		weir__ready(future->home, &future->task);
	return source;
}

static const struct weir_future_kind retry_kind = {
	.is_large = true,
	.source = retry_source,
	.cancel = retry_cancel,
};

bool weir_retry_is_worth(int error)
{
	switch (error) {
	case -EAGAIN:
	case -ENOBUFS:
	case -EINTR:
	case -ETIMEDOUT:
	case -EPIPE:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ECONNABORTED:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -EHOSTDOWN:
	case -ENETDOWN:
	case -ENETRESET:
		return true;
	default:
		return false;
	}
}

static bool is_worth_by_default(int error, void *arg)
{
	(void)arg;
	return weir_retry_is_worth(error);
}

/* --- delays --- */

/* ns times factor, at most max; neither is negative, ns <= max. */
static int64_t grow(int64_t ns, int64_t factor, int64_t max)
{
	return ns > max / factor ? max : ns * factor;
}

/* low <= high. The bias of the remainder is below 2^-20 for delays of less than an hour. */
static int64_t random_between(int64_t low, int64_t high)
{
	return low + (int64_t)(weir_random() % ((uint64_t)(high - low) + 1));
}

static int64_t next_delay(struct retry *retry)
{
	const struct weir_retry_opts *opts = &retry->opts;
	int64_t now = retry->delay_ns;

	if (opts->jitter == WEIR_JITTER_DECORRELATED) {
		retry->delay_ns = random_between(opts->delay_ns, grow(now, 3, opts->delay_ns_max));
		return retry->delay_ns;
	}
	retry->delay_ns = grow(now, 2, opts->delay_ns_max);
	return opts->jitter == WEIR_JITTER_NONE ? now : random_between(0, now);
}

/* --- one attempt after the other --- */

static void retry_end(struct retry *retry, const struct weir_result *result)
{
	weir__future_settle(&retry->future, result->res, result->value, result->drop);
	weir__future_unref(&retry->future);
}

static void retry_reject(struct retry *retry, int error)
{
	retry->future.origin = retry->origin;
	retry_end(retry, &(struct weir_result){ .res = error });
}

static bool is_too_late(const struct retry *retry, int64_t when_ns)
{
	return retry->opts.deadline_ns && when_ns >= retry->opts.deadline_ns;
}

/* Whether the rejection is to be followed by another attempt: then the timer runs until that. */
static bool try_later(struct retry *retry, int error)
{
	const struct weir_retry_opts *opts = &retry->opts;
	int64_t when_ns;

	if (retry->future.flags & (FUTURE_CANCELLED | FUTURE_DECIDED))
		return false;
	if (retry->attempts >= opts->attempts_max || !opts->is_worth(error, retry->arg))
		return false;
	when_ns = weir_in(next_delay(retry));
	if (is_too_late(retry, when_ns))
		return false;
	weir_timer_arm(&retry->timer, when_ns);
	return true;
}

static void attempt_ended(struct retry *retry, struct weir_result *result)
{
	weir_timer_cancel(&retry->timer);
	if (result->res == -ECANCELED && (retry->future.flags & FUTURE_DECIDED))
		retry_reject(retry, -ETIMEDOUT);
	else if (result->res >= 0 || !try_later(retry, (int)result->res))
		retry_end(retry, result);
}

static void attempt_start(struct retry *retry)
{
	struct weir_future *future = &retry->future, *next;
	int r;

	if (retry->attempts)
		weir__metric_add(&future->home->metrics, WEIR__M_RETRIES, 1);
	if (retry->opts.deadline_ns)
		weir_timer_arm(&retry->timer, retry->opts.deadline_ns);
	next = retry->start(retry->attempts++, retry->arg);
	r = weir__source_adopt(future, &retry->source, next);
	if (r)
		weir__source_adopt(future, &retry->source, weir_future_of(r));
}

static void retry_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct retry *retry = retry_of(future);
	struct weir_result result;

	if (retry->source) {
		if (!weir__source_is_over(retry->source))
			return;
		weir__source_take(&retry->source, &result, &future->origin);
		attempt_ended(retry, &result);
	} else if (future->flags & FUTURE_CANCELLED) {
		weir_timer_cancel(&retry->timer);
		retry_reject(retry, -ECANCELED);
	} else if (is_too_late(retry, weir_now())) {
		retry_reject(retry, -ETIMEDOUT);
	} else {
		attempt_start(retry);
	}
}

static void retry_fire(struct weir_timer *timer)
{
	struct retry *retry = weir_container_of(timer, struct retry, timer);

	if (!retry->source) {
		weir__ready(retry->future.home, &retry->future.task);
		return;
	}
	retry->future.flags |= FUTURE_DECIDED;
	weir_future_cancel(retry->source);
}

static bool are_sound(const struct weir_retry_opts *opts)
{
	return opts->delay_ns >= 0 && opts->delay_ns_max >= 0 &&
	       (unsigned)opts->jitter <= WEIR_JITTER_NONE;
}

static void set_opts(struct weir_retry_opts *opts, const struct weir_retry_opts *given)
{
	*opts = given ? *given : (struct weir_retry_opts){ .attempts_max = 0 };
	if (!opts->attempts_max)
		opts->attempts_max = ATTEMPTS_MAX;
	if (!opts->delay_ns)
		opts->delay_ns = DELAY_NS;
	if (!opts->delay_ns_max)
		opts->delay_ns_max = DELAY_NS_MAX;
	if (opts->delay_ns > opts->delay_ns_max)
		opts->delay_ns = opts->delay_ns_max;
	if (!opts->is_worth)
		opts->is_worth = is_worth_by_default;
}

struct weir_future *weir_retry_at(const struct weir_retry_opts *opts, weir_start_fn start,
				  void *arg, const char *origin)
{
	struct weir_future *future;
	struct retry *retry;
	int r;

	if (!start || (opts && !are_sound(opts)))
		return weir_future_of(-EINVAL);
	r = weir__future_create(&retry_kind, origin, &future);
	if (weir_unlikely(r))
		return weir_future_of(r);
	weir_task_init(&future->task, retry_run);
	retry = retry_of(future);
	set_opts(&retry->opts, opts);
	retry->start = start;
	retry->arg = arg;
	retry->source = NULL;
	weir_timer_init(&retry->timer, retry_fire);
	retry->origin = origin;
	retry->delay_ns = retry->opts.delay_ns;
	retry->attempts = 0;
	weir__ready(future->home, &future->task);
	return future;
}
