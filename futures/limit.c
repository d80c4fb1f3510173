/* SPDX-License-Identifier: MIT */
/*
 * limit.c - limits that are learned: windows of calls, and one rule for each kind that makes of a
 * window's mean RTT the next limit.
 *
 * A limit changes once a window. A window counts calls that began after the change before it, so
 * that a rule sees what its own last step did and not the one before: without delay in the loop
 * none of them oscillates. Netflix's code steps with every call, and base there is the next call's
 * RTT, whatever the load: here base is the least mean of a window, so that calls of different
 * length are compared as mixtures, and it is measured anew with an eighth of the limit.
 */
#include "futures/weir_limit.h"

#define LIMIT_MAX 1000
#define LIMIT_INITIAL 4
#define LIMIT_FIXED 64
#define WINDOW_SAMPLES 10
#define PROBE_SAMPLES 8
#define PROBE_PART 8			/* of the limit, and of probe_ns at most */
#define CONFIRMS 1.1			/* times base, without load: base is as it was */
#define LONG_WINDOWS 60			/* Netflix: 600 calls */
#define LONG_MAX 2			/* times base */
#define STEP_MAX 0.5			/* PID: of the limit, at once */

static double clamp(double value, double low, double high)
{
	return value < low ? low : value > high ? high : value;
}

/* log10(limit), whole, at least 1. */
static double digits(double limit)
{
	double n = 1;

	for (; limit >= 100; limit /= 10)
		n++;
	return n;
}

/* --- the rules: the limit after a window without drops --- */

static double aimd(struct weir_limiter *limiter, double mean)
{
	if (mean > (double)limiter->opts_.timeout_ns)
		return limiter->limit_ * limiter->opts_.backoff;
	return limiter->limit_ + 1;
}

static double vegas(struct weir_limiter *limiter, double mean)
{
	double limit = limiter->limit_, step = digits(limit);
	double alpha = limiter->opts_.alpha ? limiter->opts_.alpha : 3 * step;
	double beta = limiter->opts_.beta ? limiter->opts_.beta : 2 * alpha;
	double queue = limit * (1 - limiter->base_ / mean);

	if (limiter->slow_start_) {
		if (queue <= alpha)
			return 2 * limit;
		limiter->slow_start_ = false;
		return limit - queue + alpha;
	}
	if (queue > 2 * beta)		/* far off: not by steps of one */
		return limit - (queue - beta) / 2;
	if (queue > beta)
		return limit - step;
	return queue < alpha ? limit + step : limit;
}

static void learn_long(struct weir_limiter *limiter, double mean)
{
	if (limiter->long_ == 0)
		limiter->long_ = mean;
	limiter->long_ += (mean - limiter->long_) * 2 / (LONG_WINDOWS + 1);
	if (limiter->long_ > 2 * mean)
		limiter->long_ *= 0.95;
	limiter->long_ = clamp(limiter->long_, 0, LONG_MAX * limiter->base_);
}

static double gradient2(struct weir_limiter *limiter, double mean)
{
	const struct weir_limiter_opts *opts = &limiter->opts_;
	double gradient = clamp(opts->tolerance * limiter->long_ / mean, 0.5, 1);
	double next = limiter->limit_ * gradient + opts->headroom;

	if (limiter->slow_start_ && gradient >= 1)
		return 2 * limiter->limit_;
	limiter->slow_start_ = false;
	return limiter->limit_ + (next - limiter->limit_) * opts->smoothing;
}

static double pid(struct weir_limiter *limiter, double mean)
{
	const struct weir_limiter_opts *opts = &limiter->opts_;
	double wanted = opts->tolerance * limiter->base_, *last = limiter->errors_;
	double error = clamp((wanted - mean) / wanted, -1, 1);
	double step = opts->kp * (error - last[0]) + opts->ki * error +
		      opts->kd * (error - 2 * last[0] + last[1]);

	last[1] = last[0];
	last[0] = error;
	if (limiter->slow_start_ && error > 0)
		return 2 * limiter->limit_;
	limiter->slow_start_ = false;
	return limiter->limit_ * (1 + clamp(step, -STEP_MAX, STEP_MAX));
}

static double next_limit(struct weir_limiter *limiter, double mean)
{
	switch (limiter->opts_.kind) {
	case WEIR_LIMITER_AIMD:
		return aimd(limiter, mean);
	case WEIR_LIMITER_VEGAS:
		return vegas(limiter, mean);
	case WEIR_LIMITER_GRADIENT2:
		return gradient2(limiter, mean);
	case WEIR_LIMITER_PID:
		return pid(limiter, mean);
	case WEIR_LIMITER_FIXED:
		break;
	}
	return limiter->limit_;
}

/* --- the window --- */

static void window_begin(struct weir_limiter *limiter, int64_t now_ns)
{
	limiter->begun_ns_ = now_ns;
	limiter->sum_ = 0;
	limiter->learned_ = limiter->seen_ = limiter->inflight_max_ = 0;
	limiter->dropped_ = false;
}

static void window_add(struct weir_limiter *limiter, int64_t rtt_ns, unsigned inflight,
		       bool did_drop)
{
	if (did_drop) {
		limiter->dropped_ = true;
	} else if (rtt_ns > 0) {
		limiter->sum_ += (double)rtt_ns;
		limiter->learned_++;
		if (inflight > limiter->inflight_max_)
			limiter->inflight_max_ = inflight;
	} else {
		return;
	}
	limiter->seen_++;
}

static bool window_is_over(const struct weir_limiter *limiter, int64_t now_ns)
{
	double least = (double)limiter->opts_.window_ns;

	if (limiter->mean_ > least)
		least = limiter->mean_;
	return limiter->seen_ >= limiter->opts_.window_samples &&
	       (double)(now_ns - limiter->begun_ns_) >= least;
}

static bool window_used_limit(const struct weir_limiter *limiter)
{
	return limiter->inflight_max_ * 2.0 >= limiter->limit_;
}

static void window_learn(struct weir_limiter *limiter, int64_t now_ns)
{
	double mean = limiter->sum_ / limiter->learned_;

	limiter->mean_ = mean;
	if (limiter->base_ == 0 || mean < limiter->base_)
		limiter->base_ = mean;
	else if (mean < CONFIRMS * limiter->base_ && !window_used_limit(limiter))
		limiter->probe_begun_ns_ = now_ns;	/* base needs no probe */
	learn_long(limiter, mean);
}

static void window_end(struct weir_limiter *limiter, int64_t now_ns)
{
	const struct weir_limiter_opts *opts = &limiter->opts_;
	double limit = limiter->limit_;

	if (limiter->learned_)
		window_learn(limiter, now_ns);
	if (limiter->dropped_) {
		limiter->slow_start_ = false;
		limit *= opts->backoff;
	} else if (limiter->learned_ && window_used_limit(limiter)) {
		limit = next_limit(limiter, limiter->mean_);
	}
	limiter->limit_ = clamp(limit, opts->limit_min, opts->limit_max);
	window_begin(limiter, now_ns);
}

/* --- base --- */

static double probe_limit(const struct weir_limiter *limiter)
{
	return clamp(limiter->limit_ / PROBE_PART, limiter->opts_.limit_min, limiter->limit_);
}

static bool measures_base(const struct weir_limiter_opts *opts)
{
	return opts->kind >= WEIR_LIMITER_VEGAS && opts->probe_ns > 0;
}

static bool probe_is_due(const struct weir_limiter *limiter, int64_t now_ns)
{
	return measures_base(&limiter->opts_) &&
	       now_ns - limiter->probe_begun_ns_ >= limiter->opts_.probe_ns;
}

static void probe_begin(struct weir_limiter *limiter, int64_t now_ns)
{
	limiter->probing_ = true;
	limiter->probe_begun_ns_ = now_ns;
	limiter->probe_sum_ = 0;
	limiter->probe_count_ = 0;
}

static void probe_sample(struct weir_limiter *limiter, int64_t now_ns, int64_t rtt_ns,
			 unsigned inflight)
{
	int64_t begun_ns = limiter->probe_begun_ns_;

	if (rtt_ns > 0 && now_ns - rtt_ns >= begun_ns && inflight <= probe_limit(limiter)) {
		limiter->probe_sum_ += (double)rtt_ns;
		limiter->probe_count_++;
	}
	if (limiter->probe_count_ < PROBE_SAMPLES &&
	    now_ns - begun_ns < limiter->opts_.probe_ns / PROBE_PART)
		return;
	if (limiter->probe_count_)
		limiter->base_ = limiter->probe_sum_ / limiter->probe_count_;
	limiter->probing_ = false;
	limiter->probe_begun_ns_ = now_ns;
	window_begin(limiter, now_ns);
}

/* --- the calls --- */

void weir_limiter_sample(struct weir_limiter *limiter, int64_t now_ns, int64_t rtt_ns,
			 unsigned inflight, bool did_drop)
{
	if (limiter->opts_.kind == WEIR_LIMITER_FIXED)
		return;
	if (!limiter->probe_begun_ns_) {
		limiter->probe_begun_ns_ = now_ns - rtt_ns;
		window_begin(limiter, now_ns - rtt_ns);
	}
	if (limiter->probing_) {
		probe_sample(limiter, now_ns, did_drop ? 0 : rtt_ns, inflight);
		return;
	}
	if (now_ns - rtt_ns >= limiter->begun_ns_)
		window_add(limiter, rtt_ns, inflight, did_drop);
	if (probe_is_due(limiter, now_ns))
		probe_begin(limiter, now_ns);
	else if (window_is_over(limiter, now_ns))
		window_end(limiter, now_ns);
}

unsigned weir_limiter_limit(const struct weir_limiter *limiter)
{
	return (unsigned)(limiter->probing_ ? probe_limit(limiter) : limiter->limit_);
}

int64_t weir_limiter_base_ns(const struct weir_limiter *limiter)
{
	return (int64_t)limiter->base_;
}

/* --- options --- */

static void default_unsigned(unsigned *value, unsigned to)
{
	if (!*value)
		*value = to;
}

static void default_ns(int64_t *value, int64_t to)
{
	if (!*value)
		*value = to;
}

static void default_double(double *value, double to)
{
	if (*value == 0)
		*value = to;
}

static void fill(struct weir_limiter_opts *opts)
{
	bool is_fixed = opts->kind == WEIR_LIMITER_FIXED;
	unsigned initial = is_fixed ? LIMIT_FIXED : LIMIT_INITIAL;

	default_unsigned(&opts->limit_min, 1);
	default_unsigned(&opts->limit_max,
			 opts->limit_initial > LIMIT_MAX ? opts->limit_initial : LIMIT_MAX);
	default_unsigned(&opts->limit_initial,
			 (unsigned)clamp(initial, opts->limit_min, opts->limit_max));
	default_unsigned(&opts->window_samples, WINDOW_SAMPLES);
	default_unsigned(&opts->headroom, 4);
	default_ns(&opts->window_ns, WEIR_MS);
	default_ns(&opts->probe_ns, 10 * WEIR_S);
	default_ns(&opts->timeout_ns, 5 * WEIR_S);
	default_double(&opts->backoff, 0.9);
	default_double(&opts->smoothing, 0.2);
	default_double(&opts->tolerance, opts->kind == WEIR_LIMITER_PID ? 2 : 1.5);
	if (opts->kp == 0 && opts->ki == 0 && opts->kd == 0) {
		opts->kp = 0.3;
		opts->ki = 0.1;
		opts->kd = 0.05;
	}
}

static bool is_sound(const struct weir_limiter_opts *opts)
{
	return opts->kind <= WEIR_LIMITER_PID && opts->limit_min <= opts->limit_initial &&
	       opts->limit_initial <= opts->limit_max && opts->window_ns > 0 &&
	       opts->timeout_ns > 0 && opts->backoff > 0 && opts->backoff < 1 &&
	       opts->tolerance > 1 && opts->smoothing > 0 && opts->smoothing <= 1 &&
	       (!opts->beta || opts->beta >= opts->alpha) && opts->kp >= 0 && opts->ki >= 0 &&
	       opts->kd >= 0;
}

int weir_limiter_init(struct weir_limiter *limiter, const struct weir_limiter_opts *opts)
{
	struct weir_limiter_opts filled = { .limit_min = 0 };

	if (opts)
		filled = *opts;
	fill(&filled);
	if (!is_sound(&filled))
		return -EINVAL;
	*limiter = (struct weir_limiter){
		.opts_ = filled,
		.limit_ = filled.limit_initial,
		.slow_start_ = filled.kind != WEIR_LIMITER_AIMD,
		.probing_ = measures_base(&filled),
	};
	return 0;
}
