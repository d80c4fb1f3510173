/* SPDX-License-Identifier: MIT */
/*
 * watchdog.h - tells which task holds its core for too long, and where in the code it is.
 *
 * One thread looks at every core a few times per stall_ns: a core that does not wait in its
 * driver and has run the same task or callback since stall_ns ago is stalled, be it busy
 * or blocked in a system call. A signal makes the stalled thread record its own
 * backtrace. When every core has slept for a second, the thread sleeps too, until the
 * first core wakes: an idle service costs nothing.
 */
#ifndef WEIR_CORE_WATCHDOG_H
#define WEIR_CORE_WATCHDOG_H

#include "core/runtime.h"

/* Reports in a minute; what exceeds them is counted only (weir_stalls). */
#define WEIR__STALL_REPORTS 5
#define WEIR__STALL_WINDOW_NS (60 * WEIR_S)
#define WEIR__STALL_FRAMES 64

/* Does nothing when the plan has no stall_ns. Returns 0, -ENOMEM or -EAGAIN. */
int weir__watchdog_start(struct weir_runtime *runtime);

/* The workers' threads are joined, or still there; not in between. */
void weir__watchdog_stop(struct weir_runtime *runtime);

#endif
