/* SPDX-License-Identifier: MIT */
/*
 * timer.c - the public timers: the calling worker's wheel.
 */
#include <assert.h>

#include "core/ensure.h"
#include "core/worker.h"

static_assert(sizeof(struct weir_timer) <= 40, "weir_task.h promises the size");

void weir_timer_init(struct weir_timer *timer, weir_timer_fn fire)
{
	*timer = (struct weir_timer){ .fire_ = fire };
}

void weir_timer_arm(struct weir_timer *timer, int64_t deadline_ns)
{
	weir_assert(weir__self && timer->fire_);
	if (deadline_ns == WEIR_NEVER)
		weir_timer_cancel(timer);
	else
		weir__wheel_arm(&weir__self->wheel, timer, deadline_ns);
}

bool weir_timer_cancel(struct weir_timer *timer)
{
	if (!timer->slot_)
		return false;
	weir_assert(weir__self);
	weir__wheel_cancel(&weir__self->wheel, timer);
	return true;
}

bool weir_timer_is_armed(const struct weir_timer *timer)
{
	return timer->slot_ != 0;
}
