/* SPDX-License-Identifier: MIT */
/*
 * signals.h - SIGTERM, SIGINT and SIGUSR1 while a runtime runs: handlers that count and
 * write to an eventfd, which the thread that called weir_run() reads.
 *
 * Handlers and not signalfd(2) or sigwaitinfo(2), because those work only when every
 * thread of the process blocks the signals, threads of other libraries included, and
 * because a blocked signal stays blocked in the children that a service starts.
 */
#ifndef WEIR_CORE_SIGNALS_H
#define WEIR_CORE_SIGNALS_H

#include <signal.h>

#include "core/weir_core.h"

#define WEIR__SIGNALS 3

struct weir_signals {
	struct sigaction before[WEIR__SIGNALS];
	sigset_t mask_before;
};

/*
 * From now on the signals write to fd, an eventfd. The calling thread receives them.
 * Returns 0, or -EBUSY when another runtime has them.
 */
int weir__signals_take(struct weir_signals *signals, int fd);

/* On the thread that took them. */
void weir__signals_give_back(struct weir_signals *signals);

/* How many came since the last call: those that ask to end, and those that ask for a dump. */
void weir__signals_read(unsigned *ret_ends, unsigned *ret_dumps);

/* What a worker thread blocks: all but those that its own code raises, and the watchdog's. */
void weir__signals_worker_mask(sigset_t *mask);

/* Ignored by default, so that one that comes late does nothing. */
#define WEIR__SIGNAL_WATCHDOG SIGURG

#endif
