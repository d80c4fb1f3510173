/* SPDX-License-Identifier: MIT */
/*
 * call.c - a function called on another core, and its result awaited; call.h has the drawing.
 */
#include "core/call.h"

#include "core/coro.h"
#include "core/plant.h"
#include "core/waiting.h"
#include "core/worker.h"

static_assert(offsetof(struct weir__call, there) == WEIR__CACHE_LINE, "one line is shared");

static void answered(struct weir__call *call, unsigned count)
{
	weir_assert(call->owed >= count);
	call->owed -= count;
	if (!call->owed)
		call->done(call);
}

static void ended(void *arg)
{
	answered(arg, 1);
}

static void ended_twice(void *arg)
{
	answered(arg, 2);
}

/* --- on the callee's core --- */

static void send_back(struct weir__call *call, weir_post_fn fn)
{
	struct weir_port *port = &weir__self->port;

	if (weir_likely(weir__port_try(port, call->from, fn, call)))
		return;
	call->back = (struct weir_parcel){ .fn = fn, .arg = call };
	weir__port_send(port, call->from, &call->back);
}

static void answer(struct weir__call *call, int error)
{
	call->error = error;
	call->answered = true;
	send_back(call, call->stopped ? ended_twice : ended);
}

static int refusal(const struct weir__call *call)
{
	if (__atomic_load_n(&call->cancelled, __ATOMIC_RELAXED))
		return -ECANCELED;
	if (WEIR__PLANT(CALL_LATE))
		return 0;
	return call->deadline_ns <= weir__self->now_ns ? -ETIMEDOUT : 0;
}

static int body(void *arg)
{
	struct weir__call *call = arg;
	int error = refusal(call);

	if (!error)
		call->res = call->fn(call->arg);
	call->coro = NULL;
	answer(call, error);
	return 0;
}

static void begin(void *arg)
{
	struct weir__call *call = arg;
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
	struct weir__call *call = arg;
	int error = refusal(call);

	if (!error)
		call->res = call->fn(call->arg);
	answer(call, error);
}

static void stop(void *arg)
{
	struct weir__call *call = arg;

	if (!call->answered) {
		call->stopped = true;
		weir_coro_cancel(call->coro);
	} else if (weir__parcel_is_waiting(&call->back)) {
		call->back.fn = ended_twice;
	} else {
		send_back(call, ended);
	}
}

/* --- on the caller's --- */

void weir__call_start(struct weir__call *call, unsigned core, bool is_quick)
{
	call->there = (struct weir_parcel){ .fn = is_quick ? begin_quick : begin, .arg = call };
	call->back.node.next = NULL;
	call->from = weir__self->index;
	call->cancelled = false;
	call->answered = false;
	call->stopped = false;
	call->coro = NULL;
	call->to = core;
	call->owed = 1;
	weir__port_send(&weir__self->port, core, &call->there);
}

bool weir__call_recall(struct weir__call *call)
{
	if (!weir__parcel_is_waiting(&call->there))
		return false;
	weir__port_recall(&weir__self->port, call->to, &call->there);
	return true;
}

void weir__call_stop(struct weir__call *call)
{
	__atomic_store_n(&call->cancelled, true, __ATOMIC_RELAXED);
	call->owed++;
	call->there = (struct weir_parcel){ .fn = stop, .arg = call };
	weir__port_send(&weir__self->port, call->to, &call->there);
}

/* --- in a coroutine --- */

struct waiting_call {
	struct weir__call call WEIR__CACHE_ALIGNED;
	struct weir_wait wait;
};

static void done(struct weir__call *call)
{
	weir__wait_wake(&weir_container_of(call, struct waiting_call, call)->wait, call->error);
}

static void cancel(struct weir_wait *wait, int reason)
{
	struct waiting_call *waiting = weir_container_of(wait, struct waiting_call, wait);

	if (weir__call_recall(&waiting->call))
		weir__wait_wake(wait, reason);
	else if (reason == -ECANCELED)
		weir__call_stop(&waiting->call);
	/* The deadline travelled with the call: the callee's coroutine has it as its own. */
}

static int call_core(unsigned core, struct weir__call *call, bool is_quick, int *ret_res)
{
	struct waiting_call *waiting = weir_container_of(call, struct waiting_call, call);
	const struct weir_coro *self = weir_coro_self();
	int64_t deadline_ns = call->deadline_ns;
	int r;

	if (core >= weir_core_count())
		return -EINVAL;
	r = weir__self->port.ended ? -ESHUTDOWN : weir__wait_check(deadline_ns);
	if (r < 0)
		return r;
	if (!self->shields && self->deadline_ns < deadline_ns)
		call->deadline_ns = self->deadline_ns;
	call->done = done;
	weir__wait_init(&waiting->wait);
	weir__call_start(call, core, is_quick);
	r = weir__wait_park(&waiting->wait, "call", cancel, deadline_ns);
	if (!r && ret_res)
		*ret_res = call->res;
	return r;
}

int weir_call(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns, int *ret_res)
{
	struct waiting_call waiting;

	waiting.call.fn = fn;
	waiting.call.arg = arg;
	waiting.call.deadline_ns = deadline_ns;
	return call_core(core, &waiting.call, false, ret_res);
}

int weir_call_quick(unsigned core, weir_call_fn fn, void *arg, int64_t deadline_ns, int *ret_res)
{
	struct waiting_call waiting;

	waiting.call.fn = fn;
	waiting.call.arg = arg;
	waiting.call.deadline_ns = deadline_ns;
	return call_core(core, &waiting.call, true, ret_res);
}
