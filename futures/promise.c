/* SPDX-License-Identifier: MIT */
/*
 * promise.c - futures that somebody settles by hand.
 *
 * The promise is a pointer in its holder's memory that resolving clears: a second
 * resolve is an error and not a use after free, and there is nothing to free.
 */
#include "core/weir_mesh.h"
#include "futures/future.h"

struct pledge {
	struct weir_future future;
	void (*cancel)(void *arg);
	void *arg;
	struct weir_future *source;	/* FOLLOWING: whose result it will have */
};

/* One that another thread may resolve: with the memory for the message. */
struct far_pledge {
	struct pledge pledge;
	struct weir_post post;
	ssize_t res;
	void *value;
	void (*drop)(void *value);
};

static_assert(sizeof(struct pledge) <= FUTURE_SIZE, "a small future");
static_assert(sizeof(struct far_pledge) <= FUTURE_SIZE_LARGE, "a large future");

static struct pledge *pledge_of(const struct weir_future *future)
{
	return weir_container_of(future, struct pledge, future);
}

static struct weir_future *pledge_source(const struct weir_future *future)
{
	return future->flags & FUTURE_FOLLOWING ? pledge_of(future)->source : NULL;
}

static struct weir_future *pledge_cancel(struct weir_future *future)
{
	struct pledge *pledge = pledge_of(future);

	if (future->flags & FUTURE_FOLLOWING)
		return pledge->source;
	if (future->flags & FUTURE_HOOKED) {
		pledge->cancel(pledge->arg);
		return NULL;
	}
	future->flags |= FUTURE_ABANDONED;
	weir__future_settle(future, -ECANCELED, NULL, NULL);
	return NULL;
}

static const struct weir_future_kind pledge_kind = {
	.cancel = pledge_cancel,
	.source = pledge_source,
};

static const struct weir_future_kind far_pledge_kind = {
	.is_large = true,
	.cancel = pledge_cancel,
	.source = pledge_source,
};

static int create(const struct weir_future_kind *kind, struct weir_promise *promise,
		  struct weir_future **ret_future, const char *origin)
{
	struct weir_future *future;
	int r = weir__future_create(kind, origin, &future);

	if (weir_unlikely(r))
		return r;
	promise->future_ = future;
	*ret_future = future;
	return 0;
}

int weir_promise_create_at(struct weir_promise *promise, struct weir_future **ret_future,
			   const char *origin)
{
	return create(&pledge_kind, promise, ret_future, origin);
}

int weir_promise_create_any_at(struct weir_promise *promise, struct weir_future **ret_future,
			       const char *origin)
{
	int r = create(&far_pledge_kind, promise, ret_future, origin);

	if (r == 0)
		weir__worker_hold(promise->future_->home);
	return r;
}

/* The promise is over. */
static void finish(struct weir_future *future)
{
	if (future->kind == &far_pledge_kind)
		weir__worker_release(future->home);
	weir__future_unref(future);
}

/* Ends promise: 0 with the future that is to be settled, or why it cannot be. */
static int redeem(struct weir_promise *promise, struct weir_future **ret_future)
{
	struct weir_future *future = promise->future_;

	if (weir_unlikely(!future))
		return -EALREADY;
	if (weir_unlikely(future->home != weir__self))
		return -EPROTO;
	promise->future_ = NULL;
	if (weir_unlikely(future->flags & FUTURE_ABANDONED)) {
		finish(future);
		return -ECANCELED;
	}
	*ret_future = future;
	return 0;
}

int weir_promise_resolve(struct weir_promise *promise, ssize_t res)
{
	struct weir_future *future;
	int r = redeem(promise, &future);

	if (weir_unlikely(r))
		return r;
	weir__future_settle(future, res, NULL, NULL);
	finish(future);
	return 0;
}

int weir_promise_resolve_value(struct weir_promise *promise, ssize_t res, void *value,
			       void (*drop)(void *value))
{
	struct weir_future *future;
	int r;

	if (res < 0 && value)
		return -EINVAL;
	if ((r = redeem(promise, &future)))
		return r;
	weir__future_settle(future, res, value, drop);
	finish(future);
	return 0;
}

/* On the future's own core: what resolve_any() sent. */
static void arrive(struct weir_post *post)
{
	struct far_pledge *far = weir_container_of(post, struct far_pledge, post);
	struct weir_future *future = &far->pledge.future;

	if (future->flags & FUTURE_ABANDONED)
		weir__value_drop(far->value, far->drop);
	else
		weir__future_settle(future, far->res, far->value, far->drop);
	finish(future);
}

/* Elsewhere: nothing of the future but kind and home may be read, they never change. */
int weir_promise_resolve_any(struct weir_promise *promise, ssize_t res, void *value,
			     void (*drop)(void *value))
{
	struct weir_future *future = promise->future_;
	struct far_pledge *far;
	int r;

	if (!future)
		return -EALREADY;
	if (future->home == weir__self)
		return weir_promise_resolve_value(promise, res, value, drop);
	if (res < 0 && value)
		return -EINVAL;
	if (future->kind != &far_pledge_kind || !future->home->runtime)
		return -EPROTO;
	far = weir_container_of(future, struct far_pledge, pledge.future);
	far->res = res;
	far->value = value;
	far->drop = drop;
	promise->future_ = NULL;
	r = weir_post_any(future->home->runtime, future->home->index, &far->post, arrive);
	if (r)
		promise->future_ = future;
	return r;
}

void weir_promise_drop(struct weir_promise *promise)
{
	int r;

	if (!promise->future_)
		return;
	r = weir_promise_resolve_any(promise, -EPIPE, NULL, NULL);
	weir_assert(r == 0 || r == -ECANCELED);
}

int weir_promise_on_cancel(struct weir_promise *promise, void (*cancel)(void *arg), void *arg)
{
	struct weir_future *future = promise->future_;

	if (!future)
		return -EALREADY;
	weir_precond(future->home == weir__self, -EPROTO);
	weir_precond(cancel, -EINVAL);
	if (future->flags & FUTURE_CANCELLED)
		return -ECANCELED;
	future->flags |= FUTURE_HOOKED;
	pledge_of(future)->cancel = cancel;
	pledge_of(future)->arg = arg;
	return 0;
}

bool weir_promise_is_wanted(const struct weir_promise *promise)
{
	const struct weir_future *future = promise->future_;

	return future && future->use != FUTURE_DROPPED && !(future->flags & FUTURE_CANCELLED);
}

/* --- following --- */

static void pledge_run(struct weir_task *task)
{
	struct weir_future *future = weir_container_of(task, struct weir_future, task);
	struct weir_result result;

	weir__future_take(pledge_of(future)->source, &result, &future->origin);
	future->flags &= ~FUTURE_FOLLOWING;
	weir__future_settle(future, result.res, result.value, result.drop);
	finish(future);
}

int weir_promise_follow(struct weir_promise *promise, struct weir_future *next)
{
	struct weir_future *future;
	int r;

	r = weir__future_check(next);
	if (r && (r != -EBUSY || next != promise->future_))
		return r;
	if (weir__future_is_number(next))
		return weir_promise_resolve(promise, weir__future_number(next));
	if ((r = redeem(promise, &future)))
		return r;
	if (weir__future_is_cycle(future, next)) {
		weir__future_settle(future, -EDEADLK, NULL, NULL);
		finish(future);
		return -EDEADLK;
	}
	weir_task_init(&future->task, pledge_run);
	future->flags |= FUTURE_FOLLOWING;
	pledge_of(future)->source = next;
	weir__future_consume(future, next);
	if (future->flags & FUTURE_CANCELLED)
		weir_future_cancel(next);
	return 0;
}
