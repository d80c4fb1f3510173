/* SPDX-License-Identifier: MIT */
/*
 * post.c - posting: the calling worker's lanes for workers, the inbox for every thread.
 */
#include "core/runtime.h"
#include "core/waiting.h"
#include "core/worker.h"

int weir_core(void)
{
	return weir__self ? (int)weir__self->index : -1;
}

unsigned weir_core_count(void)
{
	return weir__self ? weir__self->port.count : 0;
}

/* What a post must be refused with before it is tried; 0: nothing speaks against it. */
static int check(unsigned core)
{
	if (core >= weir_core_count())
		return -EINVAL;
	return weir__self->port.ended ? -ESHUTDOWN : 0;
}

int weir_post_try(unsigned core, weir_post_fn fn, void *arg)
{
	int r = check(core);

	if (r < 0)
		return r;
	return weir__port_try(&weir__self->port, core, fn, arg) ? 0 : -EAGAIN;
}

/* A coroutine that waits for room in a lane. */
struct post_wait {
	struct weir_wait wait;
	struct weir_parcel parcel;
	unsigned core;
};

static void post_sent(struct weir_parcel *parcel)
{
	struct post_wait *w = weir_container_of(parcel, struct post_wait, parcel);

	weir__wait_wake(&w->wait, 0);
}

static void post_cancel(struct weir_wait *wait, int reason)
{
	struct post_wait *w = weir_container_of(wait, struct post_wait, wait);

	weir__port_recall(&weir__self->port, w->core, &w->parcel);
	weir__wait_wake(&w->wait, reason);
}

int weir_post(unsigned core, weir_post_fn fn, void *arg, int64_t deadline_ns)
{
	struct post_wait w = {
		.parcel = { .fn = fn, .arg = arg, .sent = post_sent },
		.core = core,
	};
	int r = check(core);

	if (!r)
		r = weir__wait_check(deadline_ns);
	if (r < 0)
		return r;
	if (weir__port_try(&weir__self->port, core, fn, arg))
		return 0;
	weir__wait_init(&w.wait);
	weir__port_send(&weir__self->port, core, &w.parcel);
	return weir__wait_park(&w.wait, "post", post_cancel, deadline_ns);
}

struct weir_runtime *weir_runtime_self(void)
{
	return weir__self ? weir__self->runtime : NULL;
}

int weir_post_any(struct weir_runtime *runtime, unsigned core, struct weir_post *post,
		  void (*fn)(struct weir_post *post))
{
	struct weir_worker *self = weir__self;
	struct weir_driver *from = self && self->runtime == runtime ? self->driver : NULL;

	return weir__mesh_post(weir__runtime_mesh(runtime), core, post, fn, from);
}
