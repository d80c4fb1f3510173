/* SPDX-License-Identifier: MIT */
/*
 * spin.h - whether an idle worker spins before it sleeps, and how long.
 *
 * Waking a sleeping core costs its waker 7 us and the sleeper 15-21 us, so a worker
 * that answers one peer in ping-pong wins by polling (round trip 48 -> 21 us). Polling
 * while 64 connections send at a steady rate only burns the core: sleeping lets their
 * work arrive in batches. So a worker spins when both hold:
 *
 *	- its recent gaps (from running out of work to the next work) were short;
 *	- the work came from few sources: then nobody else's work would pile up meanwhile.
 *
 * A spin that found nothing is not repeated before a growing number of short gaps has
 * been seen; one that found work clears that.
 *
 * Nothing here reads a clock or a queue: it is a function of what the worker saw, so
 * that tests replay sequences.
 */
#ifndef WEIR_CORE_SPIN_H
#define WEIR_CORE_SPIN_H

#include "core/weir_core.h"

/* Gaps whose average is below it are short. A sleep adds its own wake latency to the gap. */
#define WEIR__SPIN_GAP_NS (60 * WEIR_US)

/* A gap counts as at most this: after an idle hour a few short gaps are enough again. */
#define WEIR__SPIN_GAP_MAX_NS (200 * WEIR_US)

/* Sources are counted over this many completions. */
#define WEIR__SPIN_WINDOW 64

/* Few sources: at most this many of the 64 classes that sources hash to. */
#define WEIR__SPIN_SOURCES_MAX 8

/* Short gaps to be seen after the nth spin in vain: 2^n, at most this many. */
#define WEIR__SPIN_BACKOFF_MAX 64

struct weir_spin {
	int64_t max_ns;		/* 0: never spins */
	int64_t gap_ns;		/* weighted average of the last gaps */
	uint64_t window_start;	/* the count of completions at which the window began */
	unsigned sources;	/* of the last whole window, or of the present one if it has more */
	unsigned backoff;	/* short gaps to be seen after the next spin in vain */
	unsigned gaps_needed;	/* short gaps to be seen before the next spin */
};

enum weir_spin_end {
	WEIR_SPIN_NONE,		/* the worker slept at once */
	WEIR_SPIN_HIT,		/* the spin found work */
	WEIR_SPIN_MISS,		/* it did not: the worker slept after it */
};

void weir__spin_init(struct weir_spin *spin, int64_t max_ns);

/* How long to spin now, in nanoseconds; 0: sleep. */
int64_t weir__spin_plan(const struct weir_spin *spin);

/* What the wait that just ended was like. gap_ns is its whole length, the spin included. */
void weir__spin_learn(struct weir_spin *spin, int64_t gap_ns, enum weir_spin_end end);

/*
 * completions: how many came so far; *active has a bit set for the class of each source
 * that completed since it was last cleared, which happens here at the end of a window.
 */
void weir__spin_observe(struct weir_spin *spin, uint64_t completions, uint64_t *active);

#endif
