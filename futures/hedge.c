/* SPDX-License-Identifier: MIT */
/*
 * hedge.c - a second request beside one that takes too long; the first answer counts.
 *
 * Who was first is noted when an attempt is settled, everything else is done by the task: it takes
 * what has ended, starts what is due, and settles the hedge when nothing is under way.
 */
#include "futures/weir_retry.h"

#include "futures/future.h"

#define NOBODY 2

struct hedge {
	struct weir_future future;
	weir_start_fn start;
	void *arg;
	int64_t delay_ns;
	struct weir_timer timer;
	struct weir_future *sources[2];	/* that are under way, or ended and not taken */
	struct weir_result result;	/* the winner's, or the last rejection */
	uint8_t started;
	uint8_t winner;
	bool is_due;			/* the second attempt */
	bool asked;			/* the attempts to end */
};

static_assert(sizeof(struct hedge) <= FUTURE_SIZE_LARGE, "a large future");

static struct hedge *hedge_of(const struct weir_future *future)
{
	return weir_container_of(future, struct hedge, future);
}

static struct weir_future *hedge_source(const struct weir_future *future)
{
	(void)future;
	return NULL;
}

static struct weir_future *hedge_cancel(struct weir_future *future)
{
	weir__ready(future->home, &future->task);
	return NULL;
}

static void hedge_input(struct weir_future *future, struct weir_future *part)
{
	struct hedge *hedge = hedge_of(future);

	if (part->res >= 0 && hedge->winner == NOBODY)
		hedge->winner = hedge->sources[1] == part;
	weir__ready(future->home, &future->task);
}

static const struct weir_future_kind hedge_kind = {
	.is_large = true,
	.has_parts = true,
	.source = hedge_source,
	.cancel = hedge_cancel,
	.input = hedge_input,
};

/* What attempt i gave, once it has ended. */
static void take(struct hedge *hedge, unsigned i)
{
	const char *origin = hedge->future.origin;
	struct weir_result result;

	if (!hedge->sources[i] || !weir__source_is_over(hedge->sources[i]))
		return;
	weir__source_take(&hedge->sources[i], &result, &origin);
	if (result.res >= 0 && hedge->winner == NOBODY)
		hedge->winner = (uint8_t)i;
	if (hedge->winner == i) {
		hedge->result = result;
	} else if (hedge->winner == NOBODY) {
		hedge->result = result;
		hedge->future.origin = origin;
	} else {
		weir__value_drop(result.value, result.drop);
	}
}

static void hedge_fire(struct weir_timer *timer)
{
	struct hedge *hedge = weir_container_of(timer, struct hedge, timer);

	hedge->is_due = true;
	weir__ready(hedge->future.home, &hedge->future.task);
}

static void attempt_start(struct hedge *hedge)
{
	struct weir_future *future = &hedge->future, *next;
	unsigned i = hedge->started++;
	int r;

	if (i)
		weir__metric_add(&future->home->metrics, WEIR__M_HEDGES, 1);
	else if (hedge->delay_ns)
		weir_timer_arm(&hedge->timer, weir_in(hedge->delay_ns));
	else
		hedge_fire(&hedge->timer);
	next = hedge->start(i, hedge->arg);
	r = weir__source_adopt(future, &hedge->sources[i], next);
	if (r)
		weir__source_adopt(future, &hedge->sources[i], weir_future_of(r));
}

static bool is_pending(const struct hedge *hedge)
{
	return hedge->sources[0] || hedge->sources[1];
}

static bool is_stopped(const struct hedge *hedge)
{
	return hedge->winner != NOBODY || (hedge->future.flags & FUTURE_CANCELLED);
}

static void start_what_is_due(struct hedge *hedge)
{
	if (is_stopped(hedge))
		return;
	if (!hedge->started)
		attempt_start(hedge);
	else if (hedge->is_due && hedge->started == 1 && hedge->sources[0])
		attempt_start(hedge);
}

/* Once, and nothing is started after it. */
static void stop(struct hedge *hedge)
{
	if (!is_stopped(hedge) || hedge->asked)
		return;
	hedge->asked = true;
	weir_timer_cancel(&hedge->timer);
	for (unsigned i = 0; i < 2; i++)
		if (hedge->sources[i])
			weir_future_cancel(hedge->sources[i]);
}

static void hedge_end(struct hedge *hedge)
{
	struct weir_future *future = &hedge->future;

	weir_timer_cancel(&hedge->timer);
	if (hedge->winner == 1)
		weir__metric_add(&future->home->metrics, WEIR__M_HEDGES_WON, 1);
	weir__future_settle(future, hedge->result.res, hedge->result.value, hedge->result.drop);
	weir__future_unref(future);
}

static void hedge_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct hedge *hedge = hedge_of(future);

	take(hedge, 0);
	take(hedge, 1);
	start_what_is_due(hedge);
	stop(hedge);
	/* What was settled while this ran has readied the task. */
	if (!is_pending(hedge) && !task->queued_)
		hedge_end(hedge);
}

struct weir_future *weir_hedge_at(int64_t delay_ns, weir_start_fn start, void *arg,
				  const char *origin)
{
	struct weir_future *future;
	struct hedge *hedge;
	int r;

	if (!start || delay_ns < 0)
		return weir_future_of(-EINVAL);
	r = weir__future_create(&hedge_kind, origin, &future);
	if (weir_unlikely(r))
		return weir_future_of(r);
	weir_task_init(&future->task, hedge_run);
	hedge = hedge_of(future);
	hedge->start = start;
	hedge->arg = arg;
	hedge->delay_ns = delay_ns;
	weir_timer_init(&hedge->timer, hedge_fire);
	hedge->sources[0] = NULL;
	hedge->sources[1] = NULL;
	hedge->result = (struct weir_result){ .res = -ECANCELED };
	hedge->started = 0;
	hedge->winner = NOBODY;
	hedge->is_due = false;
	hedge->asked = false;
	weir__ready(future->home, &future->task);
	return future;
}
