/* SPDX-License-Identifier: MIT */
/*
 * gather.c - gate, barrier, once and event: what coroutines meet at. The rest of weir_sync.h, what
 * is held, is in sync.c.
 */
#include "futures/weir_sync.h"

#include "core/waiters.h"

/* --- gate --- */

int weir_gate_init(struct weir_gate *gate)
{
	if (!weir__self)
		return -EDEADLK;
	*gate = (struct weir_gate){ .home_ = weir__self };
	weir__waiters_init(&gate->waiters_);
	return 0;
}

int weir_gate_fini(struct weir_gate *gate)
{
	if (gate->home_ != weir__self)
		return -EPROTO;
	return gate->inside_ || !weir__waiters_is_empty(&gate->waiters_) ? -EBUSY : 0;
}

int weir_gate_enter(struct weir_gate *gate)
{
	if (weir_unlikely(gate->home_ != weir__self))
		return -EPROTO;
	if (weir_unlikely(gate->closed_))
		return -ESHUTDOWN;
	gate->inside_++;
	return 0;
}

int weir_gate_leave(struct weir_gate *gate)
{
	if (weir_unlikely(gate->home_ != weir__self))
		return -EPROTO;
	if (weir_unlikely(!gate->inside_))
		return -EPERM;
	if (!--gate->inside_ && weir_unlikely(gate->closed_))
		weir__waiters_wake_all(&gate->waiters_, 0);
	return 0;
}

int weir_gate_close(struct weir_gate *gate, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = gate };

	if (gate->home_ != weir__self)
		return -EPROTO;
	gate->closed_ = true;
	if (!gate->inside_)
		return 0;
	return weir__waiters_wait(&gate->waiters_, &waiter, "gate", deadline_ns);
}

/* --- barrier --- */

int weir_barrier_init(struct weir_barrier *barrier, unsigned count)
{
	if (!count)
		return -EINVAL;
	if (!weir__self)
		return -EDEADLK;
	*barrier = (struct weir_barrier){ .count_ = count, .home_ = weir__self };
	weir__waiters_init(&barrier->waiters_);
	return 0;
}

int weir_barrier_fini(struct weir_barrier *barrier)
{
	if (barrier->home_ != weir__self)
		return -EPROTO;
	return weir__waiters_is_empty(&barrier->waiters_) ? 0 : -EBUSY;
}

static void barrier_left(struct weir_waiter *waiter)
{
	((struct weir_barrier *)waiter->of)->there_--;
}

int weir_barrier_wait(struct weir_barrier *barrier, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = barrier, .left = barrier_left };
	int r;

	if (barrier->home_ != weir__self)
		return -EPROTO;
	if (barrier->there_ + 1 == barrier->count_) {
		barrier->there_ = 0;
		weir__waiters_wake_all(&barrier->waiters_, 0);
		return 1;
	}
	r = weir__wait_check(deadline_ns);
	if (r)
		return r;
	barrier->there_++;
	return weir__waiters_wait(&barrier->waiters_, &waiter, "barrier", deadline_ns);
}

/* --- once --- */

int weir_once_init(struct weir_once *once)
{
	if (!weir__self)
		return -EDEADLK;
	*once = (struct weir_once){ .home_ = weir__self };
	weir__waiters_init(&once->waiters_);
	return 0;
}

int weir_once_fini(struct weir_once *once)
{
	if (once->home_ != weir__self)
		return -EPROTO;
	return once->runner_ ? -EBUSY : 0;
}

/* The caller, or the first in line, is the runner now. */
static int once_try(struct weir_once *once, int (*fn)(void *arg), void *arg)
{
	int r = fn(arg);
	struct weir_waiter *waiter;

	if (r >= 0) {
		once->done_ = true;
		once->res_ = r;
		once->runner_ = NULL;
		weir__waiters_wake_all(&once->waiters_, 0);
		return r;
	}
	waiter = weir__waiters_first(&once->waiters_);
	once->runner_ = waiter ? waiter->wait.coro : NULL;
	if (waiter)
		weir__waiter_wake(waiter, 0);
	return r;
}

int weir_once_run(struct weir_once *once, int (*fn)(void *arg), void *arg, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = once };
	struct weir_coro *coro;
	int r;

	if (weir_unlikely(once->home_ != weir__self))
		return -EPROTO;
	if (weir_likely(once->done_))
		return once->res_;
	coro = weir__self->coros.current;
	if (!coro || once->runner_ == coro)
		return -EDEADLK;
	if (once->runner_) {
		r = weir__waiters_wait(&once->waiters_, &waiter, "once", deadline_ns);
		if (r)
			return r;
		if (once->done_)
			return once->res_;
	}
	once->runner_ = coro;
	return once_try(once, fn, arg);
}

/* --- event --- */

int weir_event_init(struct weir_event *event)
{
	if (!weir__self)
		return -EDEADLK;
	*event = (struct weir_event){ .home_ = weir__self };
	weir__waiters_init(&event->waiters_);
	return 0;
}

int weir_event_fini(struct weir_event *event)
{
	if (event->home_ != weir__self)
		return -EPROTO;
	return weir__waiters_is_empty(&event->waiters_) ? 0 : -EBUSY;
}

int weir_event_set(struct weir_event *event)
{
	if (weir_unlikely(event->home_ != weir__self))
		return -EPROTO;
	event->set_ = true;
	weir__waiters_wake_all(&event->waiters_, 0);
	return 0;
}

int weir_event_clear(struct weir_event *event)
{
	if (weir_unlikely(event->home_ != weir__self))
		return -EPROTO;
	event->set_ = false;
	return 0;
}

bool weir_event_is_set(const struct weir_event *event)
{
	return event->set_;
}

int weir_event_wait(struct weir_event *event, int64_t deadline_ns)
{
	struct weir_waiter waiter = { .of = event };

	if (weir_unlikely(event->home_ != weir__self))
		return -EPROTO;
	if (event->set_)
		return 0;
	return weir__waiters_wait(&event->waiters_, &waiter, "event", deadline_ns);
}
