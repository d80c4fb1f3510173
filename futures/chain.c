/* SPDX-License-Identifier: MIT */
/*
 * chain.c - one after the other: then, recover, finally, and a deadline.
 *
 * A link is a future that waits for its source. When the source is READY the link's
 * task is readied; the task takes the source's result, runs the step when the step is for
 * such a result, and settles the link. One task and one cell a link, the source's cell
 * goes back before the step runs: a chain that is built while it runs needs two.
 */
#include "futures/future.h"

struct link {
	struct weir_future future;
	weir_step_fn step;
	void *arg;
	struct weir_future *source;	/* a number too; NULL once taken */
};

static_assert(sizeof(struct link) <= FUTURE_SIZE, "a small future");

static struct link *link_of(const struct weir_future *future)
{
	return weir_container_of(future, struct link, future);
}

static struct weir_future *link_source(const struct weir_future *future)
{
	return link_of(future)->source;
}

static const struct weir_future_kind then_kind = { .source = link_source };
static const struct weir_future_kind recover_kind = { .source = link_source };
static const struct weir_future_kind finally_kind = { .source = link_source };

static void link_end(struct link *link, const struct weir_result *result)
{
	weir__future_settle(&link->future, result->res, result->value, result->drop);
	weir__future_unref(&link->future);
}

/* The step gave a future. 0, or why the link cannot wait for it. */
static int link_follow(struct link *link, struct weir_future *next)
{
	int r = weir__source_adopt(&link->future, &link->source, next);

	if (r == 0)
		link->future.flags |= FUTURE_FOLLOWING;
	return r;
}

/*
 * Runs the step of then or recover on result, and makes the outcome the link's. An error of
 * its own has the link's own origin; one that it passes on keeps the one it came with.
 */
static void link_step(struct link *link, struct weir_result *result, const char *own_origin)
{
	ssize_t before = result->res;
	int r;

	result->res = link->step(result, link->arg);
	if (result->next_) {
		weir__value_drop(result->value, result->drop);
		result->value = NULL;
		r = link_follow(link, result->next_);
		if (r == 0)
			return;
		result->res = r;
	}
	if (result->res < 0) {
		weir__value_drop(result->value, result->drop);
		result->value = NULL;
	}
	if (result->res != before)
		link->future.origin = own_origin;
	link_end(link, result);
}

/* What passes through a finally waits in the link itself while its step's future is PENDING. */
static void finally_keep(struct weir_future *future, const struct weir_result *result)
{
	if (future->flags & FUTURE_STARVED) {
		weir__value_drop(result->value, result->drop);
		return;
	}
	future->res = result->res;
	future->value = result->value;
	future->drop = result->drop;
}

static void finally_step(struct link *link, struct weir_result *result, const char *own_origin)
{
	struct weir_result look = { .res = result->res, .value = result->value };
	ssize_t r = link->step(&look, link->arg);

	if (look.next_) {
		r = link_follow(link, look.next_);
		if (r == 0) {
			finally_keep(&link->future, result);
			return;
		}
	}
	if (r < 0 && r != result->res) {
		weir__value_drop(result->value, result->drop);
		*result = (struct weir_result){ .res = r };
		link->future.origin = own_origin;
	}
	link_end(link, result);
}

/* The future that the step gave is settled with result. */
static void link_followed(struct link *link, struct weir_result *result)
{
	struct weir_future *future = &link->future;

	if (future->kind != &finally_kind || result->res < 0) {
		if (future->kind == &finally_kind && !(future->flags & FUTURE_STARVED))
			weir__value_drop(future->value, future->drop);
		link_end(link, result);
		return;
	}
	weir__value_drop(result->value, result->drop);
	*result = (struct weir_result){ .res = 0 };
	if (!(future->flags & FUTURE_STARVED))
		*result = (struct weir_result){
			.res = future->res,
			.value = future->value,
			.drop = future->drop,
		};
	link_end(link, result);
}

static void link_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct link *link = link_of(future);
	const char *origin = future->origin;
	struct weir_result result;

	weir__source_take(&link->source, &result, &future->origin);
	if (future->flags & FUTURE_FOLLOWING) {
		link_followed(link, &result);
		return;
	}
	if (future->kind == &finally_kind) {
		finally_step(link, &result, origin);
		return;
	}
	if ((future->kind == &then_kind) != (result.res >= 0)) {
		link_end(link, &result);
		return;
	}
	link_step(link, &result, origin);
}

static struct weir_future *link_create(const struct weir_future_kind *kind,
				       struct weir_future *source, weir_step_fn step, void *arg,
				       const char *origin)
{
	struct weir_future *future;
	struct link *link;
	int r = weir__future_check(source);

	if (r)
		return weir_future_of(r);
	r = weir__future_create(kind, origin, &future);
	if (weir_unlikely(r))
		return weir__future_starve(&source, 1, r);
	weir_task_init(&future->task, link_run);
	link = link_of(future);
	link->step = step;
	link->arg = arg;
	weir__source_set(future, &link->source, source);
	return future;
}

struct weir_future *weir_then_at(struct weir_future *future, weir_step_fn step, void *arg,
				 const char *origin)
{
	return link_create(&then_kind, future, step, arg, origin);
}

struct weir_future *weir_recover_at(struct weir_future *future, weir_step_fn step, void *arg,
				    const char *origin)
{
	return link_create(&recover_kind, future, step, arg, origin);
}

struct weir_future *weir_finally_at(struct weir_future *future, weir_step_fn step, void *arg,
				    const char *origin)
{
	return link_create(&finally_kind, future, step, arg, origin);
}

ssize_t weir_follow(struct weir_result *result, struct weir_future *next)
{
	if (result->next_)
		return -EBUSY;
	result->next_ = next ? next : weir_future_of(-EINVAL);
	return 0;
}

/* --- a deadline --- */

struct limit {
	struct weir_future future;
	struct weir_timer timer;
	struct weir_future *source;
};

static_assert(sizeof(struct limit) <= FUTURE_SIZE_LARGE, "a large future");

static struct limit *limit_of(const struct weir_future *future)
{
	return weir_container_of(future, struct limit, future);
}

static struct weir_future *limit_source(const struct weir_future *future)
{
	return limit_of(future)->source;
}

static const struct weir_future_kind limit_kind = {
	.is_large = true,
	.source = limit_source,
};

static void limit_fire(struct weir_timer *timer)
{
	struct limit *limit = weir_container_of(timer, struct limit, timer);

	limit->future.flags |= FUTURE_DECIDED;
	weir_future_cancel(limit->source);
}

static void limit_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct limit *limit = limit_of(future);
	const char *origin = future->origin;
	struct weir_result result;

	weir_timer_cancel(&limit->timer);
	weir__source_take(&limit->source, &result, &future->origin);
	if (result.res == -ECANCELED && (future->flags & FUTURE_DECIDED)) {
		result.res = -ETIMEDOUT;
		future->origin = origin;
	}
	weir__future_settle(future, result.res, result.value, result.drop);
	weir__future_unref(future);
}

struct weir_future *weir_timeout_at(struct weir_future *source, int64_t deadline_ns,
				    const char *origin)
{
	struct weir_future *future;
	struct limit *limit;
	int r = weir__future_check(source);

	if (r)
		return weir_future_of(r);
	if (weir_future_is_settled(source) || deadline_ns == WEIR_NEVER)
		return source;
	r = weir__future_create(&limit_kind, origin, &future);
	if (weir_unlikely(r))
		return weir__future_starve(&source, 1, r);
	weir_task_init(&future->task, limit_run);
	limit = limit_of(future);
	weir_timer_init(&limit->timer, limit_fire);
	weir_timer_arm(&limit->timer, deadline_ns);
	weir__source_set(future, &limit->source, source);
	return future;
}
