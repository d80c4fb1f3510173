/* SPDX-License-Identifier: MIT */
/*
 * call_async.c - a call on another core, lifted to a future.
 *
 * The call is part of the future's cell, and core/call.h keeps it until the other core knows
 * nothing of it any more: a cancelled future ends when the function over there has, as a cancelled
 * op ends when the kernel has let go of the buffer.
 */
#include "futures/weir_call_async.h"

#include "core/call.h"
#include "futures/future.h"

struct far_call {
	struct weir_future future;
	struct weir__call call;
};

static_assert(sizeof(struct far_call) <= FUTURE_SIZE_LARGE, "a large future");

static struct far_call *far_of(const struct weir_future *future)
{
	return weir_container_of(future, struct far_call, future);
}

static struct weir_future *far_source(const struct weir_future *future)
{
	(void)future;
	return NULL;
}

static void far_end(struct far_call *far, ssize_t res)
{
	weir__worker_release(far->future.home);
	weir__future_settle(&far->future, res, NULL, NULL);
	weir__future_unref(&far->future);
}

static struct weir_future *far_cancel(struct weir_future *future)
{
	struct far_call *far = far_of(future);

	if (weir__call_recall(&far->call))
		far_end(far, -ECANCELED);
	else
		weir__call_stop(&far->call);
	return NULL;
}

static const struct weir_future_kind far_kind = {
	.is_large = true,
	.source = far_source,
	.cancel = far_cancel,
};

static void far_done(struct weir__call *call)
{
	far_end(weir_container_of(call, struct far_call, call),
		call->error ? call->error : call->res);
}

/* Why the call cannot be made, or 0. */
static int refusal(unsigned core, weir_call_fn fn, int64_t deadline_ns)
{
	if (!weir__self)
		return -EDEADLK;
	if (core >= weir_core_count() || !fn)
		return -EINVAL;
	if (weir__self->port.ended)
		return -ESHUTDOWN;
	return deadline_ns <= weir_now() ? -ETIMEDOUT : 0;
}

struct weir_future *weir_call_async_at(unsigned core, weir_call_fn fn, void *arg,
				       int64_t deadline_ns, const char *origin)
{
	struct weir_future *future;
	struct far_call *far;
	int r = refusal(core, fn, deadline_ns);

	if (!r)
		r = weir__future_create(&far_kind, origin, &future);
	if (weir_unlikely(r))
		return weir_future_of(r);
	weir__worker_hold(future->home);
	far = far_of(future);
	far->call.fn = fn;
	far->call.arg = arg;
	far->call.deadline_ns = deadline_ns;
	far->call.done = far_done;
	weir__call_start(&far->call, core, false);
	return future;
}
