/* SPDX-License-Identifier: MIT */
/*
 * call.c - a function called on another core, and its result awaited.
 *
 * The call lives on the caller's stack and is all the memory that its messages need, so
 * neither an answer nor a cancellation can be refused for want of room:
 *
 *	caller				callee
 *	there  -----begin()----->	a coroutine runs fn
 *	stop   -----stop()------>	cancels it		(when the caller is cancelled)
 *	       <----ended()------	stopped
 *	       <----ended()------	back
 *
 * The caller goes on when every answer it is owed has come (owed counts them): the callee
 * has then seen each message, and nobody knows the caller's stack any more.
 */
#include "core/coro.h"
#include "core/plant.h"
#include "core/waiting.h"
#include "core/worker.h"

/* The first line is the only one that both cores touch, unless a lane is full. */
struct call {
	/* Written before the call is sent. */
	weir_call_fn fn WEIR__CACHE_ALIGNED;
	void *arg;
	int64_t deadline_ns;
	unsigned from;
	bool cancelled;		/* later: the callee looks at it before it starts fn */
	/* The callee's. */
	int error;		/* why fn was not run, or 0 */
	int res;
	struct weir_coro *coro;	/* runs fn */

	/* The caller's. */
	struct weir_wait wait WEIR__CACHE_ALIGNED;
	struct weir_parcel there;
	unsigned owed;		/* answers still to come */
	unsigned to;

	/* Of messages that find their lane full: the caller's, and the callee's. */
	struct weir_parcel stop;
	struct weir_parcel back;
	struct weir_parcel stopped;
};

static_assert(offsetof(struct call, wait) == WEIR__CACHE_LINE, "one line is shared");

static void ended(void *arg)
{
	struct call *call = arg;

	if (!--call->owed)
		weir__wait_wake(&call->wait, call->error);
}

/* --- on the callee's core --- */

static void answer(struct call *call, int error)
{
	struct weir_port *port = &weir__self->port;

	call->error = error;
	if (weir_likely(weir__port_try(port, call->from, ended, call)))
		return;
	call->back = (struct weir_parcel){ .fn = ended, .arg = call };
	weir__port_send(port, call->from, &call->back);
}

static int refusal(const struct call *call)
{
	if (__atomic_load_n(&call->cancelled, __ATOMIC_RELAXED))
		return -ECANCELED;
	if (WEIR__PLANT(CALL_LATE))
		return 0;
	return call->deadline_ns <= weir__self->now_ns ? -ETIMEDOUT : 0;
}

static int body(void *arg)
{
	struct call *call = arg;
	int error = refusal(call);

	if (!error)
		call->res = call->fn(call->arg);
	call->coro = NULL;
	answer(call, error);
	return 0;
}

static void begin(void *arg)
{
	struct call *call = arg;
	struct weir_coro_opts opts = {
		.name = "call",
		.deadline_ns = call->deadline_ns,
		.detached = true,
	};
	int r = refusal(call);

	if (!r)
		r = weir_coro_spawn(&opts, body, call, &call->coro);
	if (r < 0)
		answer(call, r);
}

static void begin_quick(void *arg)
{
	struct call *call = arg;
	int error = refusal(call);

	if (!error)
		call->res = call->fn(call->arg);
	answer(call, error);
}

static void stop(void *arg)
{
	struct call *call = arg;

	if (call->coro)
		weir_coro_cancel(call->coro);
	call->stopped = (struct weir_parcel){ .fn = ended, .arg = call };
	weir__port_send(&weir__self->port, call->from, &call->stopped);
}

/* --- on the caller's --- */

static void cancel(struct weir_wait *wait, int reason)
{
	struct call *call = weir_container_of(wait, struct call, wait);
	struct weir_port *port = &weir__self->port;

	if (weir__parcel_is_waiting(&call->there)) {
		weir__port_recall(port, call->to, &call->there);
		weir__wait_wake(wait, reason);
		return;
	}
	/* The deadline travelled with the call: the callee's coroutine has it as its own. */
	if (reason != -ECANCELED)
		return;
	__atomic_store_n(&call->cancelled, true, __ATOMIC_RELAXED);
	call->owed++;
	call->stop = (struct weir_parcel){ .fn = stop, .arg = call };
	weir__port_send(port, call->to, &call->stop);
}

static int call_core(unsigned core, struct call *call, weir_post_fn begin_fn, int64_t deadline_ns)
{
	const struct weir_coro *self = weir_coro_self();
	int r;

	if (core >= weir_core_count())
		return -EINVAL;
	r = weir__self->port.ended ? -ESHUTDOWN : weir__wait_check(deadline_ns);
	if (r < 0)
		return r;
	call->deadline_ns = deadline_ns;
	if (!self->shields && self->deadline_ns < deadline_ns)
		call->deadline_ns = self->deadline_ns;
	call->there = (struct weir_parcel){ .fn = begin_fn, .arg = call };
	call->from = weir__self->index;
	call->cancelled = false;
	call->coro = NULL;
	call->to = core;
	call->owed = 1;
	weir__wait_init(&call->wait);
	weir__port_send(&weir__self->port, core, &call->there);
	return weir__wait_park(&call->wait, "call", cancel, deadline_ns);
}

int weir_call(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns, int *ret_res)
{
	struct call call;
	int r;

	call.fn = fn;
	call.arg = arg;
	r = call_core(core, &call, begin, deadline_ns);
	if (!r && ret_res)
		*ret_res = call.res;
	return r;
}

int weir_call_quick(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns, int *ret_res)
{
	struct call call;
	int r;

	call.fn = fn;
	call.arg = arg;
	r = call_core(core, &call, begin_quick, deadline_ns);
	if (!r && ret_res)
		*ret_res = call.res;
	return r;
}
