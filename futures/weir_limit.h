/* SPDX-License-Identifier: MIT */
/*
 * weir_limit.h - how many calls at once are good for a service: a number that is learned from how
 * long the calls take.
 *
 * By Little's law a service that is full answers no more when more calls are let in: they only take
 * longer. A limiter watches how long calls take (RTT: from being let in to being done) against how
 * many are in progress, and moves its limit to where the service is full and little waits inside.
 *
 *	FIXED		the limit is what you say
 *	AIMD		+1 while all is well and the limit is used, times backoff after a drop or a
 *			call longer than timeout_ns (as TCP Reno)
 *	VEGAS		keeps the estimated queue inside the service, limit * (1 - base / rtt),
 *			between alpha and beta (Brakmo, Peterson: TCP Vegas, 1995)
 *	GRADIENT2	times the gradient of a long-term over the present RTT, plus a head room
 *			(Netflix, concurrency-limits)
 *	PID		regulates the RTT to tolerance times base (as Uber's Cinnamon its share of
 *			rejections), in velocity form: nothing winds up
 *
 * What those are known to get wrong is handled: they begin low, with a few calls on their own, and
 * double (slow start) until calls wait for each other; nothing grows while less than half the limit
 * is in use; base, the RTT of an unloaded service, is measured anew now and then with the limit
 * lowered for a moment, so that it neither stays at what once was nor takes a standing queue for
 * normal; the long-term RTT of GRADIENT2 cannot exceed twice base, so overload does not become the
 * standard; a call that was dropped lowers the limit but its RTT is not learned from.
 *
 * Arithmetic only: no clock, no memory, no errors after init. One thread at a time, any thread.
 */
#ifndef WEIR_LIMIT_H
#define WEIR_LIMIT_H

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_limiter_kind {
	WEIR_LIMITER_FIXED,
	WEIR_LIMITER_AIMD,
	WEIR_LIMITER_VEGAS,
	WEIR_LIMITER_GRADIENT2,
	WEIR_LIMITER_PID
};

/* Zero means the default for every member. */
struct weir_limiter_opts {
	enum weir_limiter_kind kind;
	unsigned limit_min;	/* default 1 */
	unsigned limit_max;	/* default 1000 */
	unsigned limit_initial;	/* default 4; FIXED: 64 */
	unsigned window_samples;	/* calls between two changes of the limit; default 10 */
	int64_t window_ns;	/* and the least time; one RTT passes anyway. Default 1 ms */
	int64_t probe_ns;	/* between two measurements of base; default 10 s, < 0: never */
	int64_t timeout_ns;	/* AIMD: a mean RTT above it is as a drop; default 5 s */
	double backoff;		/* after a drop, every kind but FIXED; below 1. Default 0.9 */
	double tolerance;	/* GRADIENT2: default 1.5; PID: default 2. Above 1 */
	double smoothing;	/* GRADIENT2: the part of a step that is taken; default 0.2 */
	unsigned headroom;	/* GRADIENT2: default 4 */
	unsigned alpha;		/* VEGAS: grows below it; default 3 * log10(limit), at least 3 */
	unsigned beta;		/* VEGAS: shrinks above it; default twice alpha. At least alpha */
	double kp, ki, kd;	/* PID; all 0: the defaults 0.3, 0.1, 0.05 */
};

/* The caller's memory. */
struct weir_limiter {
	struct weir_limiter_opts opts_;
	double limit_;
	double base_;			/* RTT of the unloaded service, ns; 0: not known */
	double long_;			/* GRADIENT2: RTT in the long run */
	double errors_[2];		/* PID: of the last two windows */
	bool slow_start_;

	/* The window. */
	int64_t begun_ns_;		/* calls that began before it are not learned from */
	double sum_;			/* of the RTTs */
	double mean_;			/* of the window before, or 0 */
	unsigned learned_, seen_;	/* calls; with those that are not learned from */
	unsigned inflight_max_;
	bool dropped_;

	/* The measurement of base. */
	bool probing_;
	int64_t probe_begun_ns_;	/* or ended; 0: no call yet */
	double probe_sum_;
	unsigned probe_count_;
};

/* opts may be NULL. Returns 0, -EINVAL for min > max, a member out of range, or no such kind. */
WEIR_API int weir_limiter_init(struct weir_limiter *limiter, const struct weir_limiter_opts *opts);

/*
 * A call has ended at now_ns after rtt_ns, one of inflight calls when it began (itself included).
 * did_drop: it failed because of overload (a timeout, a refusal further down): rtt_ns means nothing
 * then. A call that failed for other reasons is none: pass rtt_ns 0, which only tells the time.
 */
WEIR_API void weir_limiter_sample(struct weir_limiter *limiter, int64_t now_ns, int64_t rtt_ns,
				  unsigned inflight, bool did_drop);

/* How many calls may be in progress now; limit_min to limit_max. */
WEIR_API unsigned weir_limiter_limit(const struct weir_limiter *limiter);

/* The RTT that the limiter holds for that of the unloaded service, ns; 0: not known yet. */
WEIR_API int64_t weir_limiter_base_ns(const struct weir_limiter *limiter);

#ifdef __cplusplus
}
#endif

#endif
