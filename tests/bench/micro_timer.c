/* SPDX-License-Identifier: MIT */
/*
 * micro_timer.c - what arming, cancelling and firing a timer cost with a million
 * others pending, and what counting costs.
 */
#include <stdint.h>
#include <stdlib.h>

#include "core/weir_histogram.h"
#include "core/wheel.h"
#include "tests/bench/micro.h"

#define PENDING 1000000u
#define ROUNDS 4000000u
#define SPAN_NS (60 * WEIR_S)

static uint64_t random_state = 88172645463325252u;

/* xorshift64: Marsaglia, "Xorshift RNGs". */
static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static unsigned fired;

static void on_fire(struct weir_timer *timer)
{
	fired++;
}

static struct weir_wheel wheel;

/* The usual life of a timeout: armed when a request begins, cancelled when it ends. */
static void arm_cancel(micro_report_fn report)
{
	struct weir_timer timer = { .fire_ = on_fire };
	double begin = micro_now_ns();
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		weir__wheel_arm(&wheel, &timer, 30 * WEIR_S + i);
		weir__wheel_cancel(&wheel, &timer);
	}
	report("timer: arm + cancel, 1 M pending", (micro_now_ns() - begin) / ROUNDS, 40);
}

/* Three cache misses each: the timer and its two neighbours. */
static void move_random(struct weir_timer *timers, micro_report_fn report)
{
	double begin = micro_now_ns();
	unsigned i;

	for (i = 0; i < ROUNDS / 4; i++)
		weir__wheel_arm(&wheel, &timers[random_next() % PENDING],
				(int64_t)(random_next() % (uint64_t)SPAN_NS));
	report("timer: move a random one of 1 M", (micro_now_ns() - begin) / (ROUNDS / 4), 0);
}

static void fire_all(micro_report_fn report)
{
	double begin = micro_now_ns();
	int64_t next;

	while ((next = weir__wheel_next(&wheel)) != WEIR_NEVER)
		weir__wheel_advance(&wheel, next);
	report("timer: fire, 1 M pending", (micro_now_ns() - begin) / fired, 0);
}

static void observe(micro_report_fn report)
{
	struct weir_histogram *histogram;
	double begin;
	unsigned i;

	if (weir_histogram_create(&histogram))
		return;
	begin = micro_now_ns();
	for (i = 0; i < ROUNDS; i++)
		weir_histogram_observe(histogram, (uint64_t)i * 7919);
	report("histogram: observe", (micro_now_ns() - begin) / ROUNDS, 0);
	weir_histogram_destroy(histogram);
}

int micro_timer(micro_report_fn report)
{
	struct weir_timer *timers = calloc(PENDING, sizeof(*timers));
	unsigned i;

	if (!timers)
		return -ENOMEM;
	weir__wheel_init(&wheel, 0);
	for (i = 0; i < PENDING; i++) {
		timers[i].fire_ = on_fire;
		weir__wheel_arm(&wheel, &timers[i],
				(int64_t)(random_next() % (uint64_t)SPAN_NS));
	}
	arm_cancel(report);
	move_random(timers, report);
	fire_all(report);
	observe(report);
	free(timers);
	return 0;
}
