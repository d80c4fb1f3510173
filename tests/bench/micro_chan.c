/* SPDX-License-Identifier: MIT */
/*
 * micro_chan.c - what it costs to pass a value and to wait for each other: channels, select, locks,
 * scopes, credit, tickets; on a worker without a kernel.
 */
#include <string.h>

#include "core/ensure.h"
#include "core/weir_coro.h"
#include "core/weir_credit.h"
#include "core/worker.h"
#include "futures/weir_admit.h"
#include "futures/weir_chan.h"
#include "futures/weir_scope.h"
#include "futures/weir_sync.h"
#include "tests/bench/micro.h"
#include "tests/support/fake_driver.h"

#define ROUNDS 2000u
#define ITEMS 1000u
#define BATCH 64u

static micro_report_fn report;
static struct weir_chan *chan;

/* The best round is reported: what disturbs the others is not ours. */
static double least(double best, double ns)
{
	return best == 0 || ns < best ? ns : best;
}

static struct weir_chan *make(unsigned capacity)
{
	const struct weir_chan_opts opts = { .item_size = 8, .capacity = capacity };
	struct weir_chan *made;

	weir_assert(weir_chan_create(&opts, &made) == 0);
	return made;
}

/* --- channels --- */

static int sends(void *arg)
{
	uint64_t value;

	for (value = 0; value < ITEMS; value++)
		weir_assert(weir_chan_send(arg, &value, WEIR_NEVER) == 0);
	return 0;
}

static int sends_batches(void *arg)
{
	uint64_t values[BATCH] = { 0 };

	for (unsigned i = 0; i < ITEMS; i++)
		weir_assert(weir_chan_send_n(arg, values, BATCH, WEIR_NEVER) == BATCH);
	return 0;
}

static struct weir_coro *start(weir_coro_fn fn, void *arg)
{
	struct weir_coro *coro;

	weir_assert(weir_coro_spawn(NULL, fn, arg, &coro) == 0);
	return coro;
}

/* With room for one, each item is a send, a receive and a switch each way for every other item. */
static void pass(const char *name, unsigned capacity, double target)
{
	double spent = 0;

	chan = make(capacity);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct weir_coro *coro = start(sends, chan);
		double begin = micro_now_ns();
		uint64_t value = 0;

		for (unsigned i = 0; i < ITEMS; i++)
			weir_assert(weir_chan_receive(chan, &value, WEIR_NEVER) == 0);
		spent = least(spent, micro_now_ns() - begin);
		weir_assert(value == ITEMS - 1);
		weir_coro_join(coro, WEIR_NEVER, NULL);
	}
	weir_chan_destroy(chan);
	report(name, spent / ITEMS, target);
}

static void batches(void)
{
	uint64_t values[BATCH];
	double spent = 0;

	chan = make(BATCH);
	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		struct weir_coro *coro = start(sends_batches, chan);
		double begin = micro_now_ns();

		for (unsigned left = ITEMS * BATCH; left;)
			left -= (unsigned)weir_chan_receive_n(chan, values, BATCH, WEIR_NEVER);
		spent = least(spent, micro_now_ns() - begin);
		weir_coro_join(coro, WEIR_NEVER, NULL);
	}
	weir_chan_destroy(chan);
	report("channel: batch of 64, per item", spent / ITEMS / BATCH, 4);
}

static void without_switch(void)
{
	double spent = 0;
	uint64_t value;

	chan = make(BATCH);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double begin = micro_now_ns();

		for (value = 0; value < BATCH; value++)
			weir_chan_send(chan, &value, 0);
		for (unsigned i = 0; i < BATCH; i++)
			weir_chan_receive(chan, &value, 0);
		spent = least(spent, micro_now_ns() - begin);
	}
	weir_chan_destroy(chan);
	report("channel: send + receive, no switch", spent / BATCH, 0);
}

static void select_of_two(void)
{
	struct weir_chan *other = make(1);
	uint64_t value = 0, received;
	struct weir_case cases[2];
	double spent = 0;

	chan = make(1);
	memset(cases, 0, sizeof(cases));
	for (int i = 0; i < 2; i++)
		cases[i] = (struct weir_case){ .kind = WEIR_CASE_RECEIVE,
					       .chan = i ? chan : other, .item = &received };
	for (unsigned round = 0; round < ROUNDS; round++) {
		double begin = micro_now_ns();

		for (unsigned i = 0; i < BATCH; i++) {
			weir_chan_send(chan, &value, 0);
			weir_select(cases, 2, WEIR_SELECT_ORDERED, 0);
		}
		spent = least(spent, micro_now_ns() - begin);
	}
	weir_chan_destroy(chan);
	weir_chan_destroy(other);
	report("select: of two channels, one ready, with the send", spent / BATCH, 0);
}

/* --- locks --- */

#define TIMED(name, target, statement)                                                            \
	do {                                                                                      \
		double spent = 0;                                                                 \
		for (unsigned round = 0; round < ROUNDS; round++) {                               \
			double begin = micro_now_ns();                                            \
			for (unsigned i = 0; i < ITEMS; i++) {                                    \
				statement;                                                        \
			}                                                                         \
			spent = least(spent, micro_now_ns() - begin);                             \
		}                                                                                 \
		report(name, spent / ITEMS, target);                                              \
	} while (0)

static void locks(void)
{
	struct weir_semaphore semaphore;
	struct weir_rwlock rwlock;
	struct weir_mutex mutex;
	struct weir_gate gate;

	weir_mutex_init(&mutex);
	weir_rwlock_init(&rwlock);
	weir_semaphore_init(&semaphore, 1, 1);
	weir_gate_init(&gate);
	TIMED("mutex: lock + unlock", 3, weir_mutex_lock(&mutex, WEIR_NEVER);
	      weir_mutex_unlock(&mutex));
	TIMED("rwlock: read + unlock", 0, weir_rwlock_read(&rwlock, WEIR_NEVER);
	      weir_rwlock_unlock(&rwlock));
	TIMED("semaphore: acquire + release", 3, weir_semaphore_acquire(&semaphore, 1, WEIR_NEVER);
	      weir_semaphore_release(&semaphore, 1));
	TIMED("gate: enter + leave", 3, weir_gate_enter(&gate); weir_gate_leave(&gate));
}

static void credits(void)
{
	const struct weir_credit_opts parent_opts = { .bytes_max = 1 << 20 };
	struct weir_credit_opts opts = { .bytes_max = 4096, .items_max = 4 };
	struct weir_credit parent, credit;

	weir_assert(weir_credit_init(&parent, &parent_opts) == 0);
	opts.parent = &parent;
	weir_assert(weir_credit_init(&credit, &opts) == 0);
	TIMED("credit: take + give, one level", 0, weir_credit_take(&parent, 1, 64, WEIR_NEVER);
	      weir_credit_give(&parent, 1, 64));
	TIMED("credit: take + give, two levels", 0, weir_credit_take(&credit, 1, 64, WEIR_NEVER);
	      weir_credit_give(&credit, 1, 64));
}

/* The clock is a load here: a real one, read twice, adds about 40 ns. */
static void tickets(void)
{
	const struct weir_admit_opts learned = { .limiter = { .kind = WEIR_LIMITER_VEGAS } };
	struct weir_admit fixed, vegas;
	struct weir_ticket ticket;

	weir_assert(weir_admit_init(&fixed, NULL) == 0);
	weir_assert(weir_admit_init(&vegas, &learned) == 0);
	TIMED("admit: enter + done, fixed limit", 0,
	      weir_admit_enter(&fixed, 0, WEIR_NEVER, &ticket);
	      weir_ticket_done(&ticket, WEIR_TICKET_OK));
	TIMED("admit: enter + done, Vegas", 0, weir_admit_enter(&vegas, 0, WEIR_NEVER, &ticket);
	      weir_ticket_done(&ticket, WEIR_TICKET_OK));
}

/* --- scopes --- */

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void scopes(void)
{
	struct weir_scope scope;

	TIMED("scope: open + join", 0, weir_scope_open(&scope, WEIR_FAIL_FAST, WEIR_NEVER);
	      weir_scope_join(&scope, NULL));
	TIMED("scope: open + go + join", 90, weir_scope_open(&scope, WEIR_FAIL_FAST, WEIR_NEVER);
	      weir_scope_go(&scope, nothing, NULL); weir_scope_join(&scope, NULL));
}

static int body(void *arg)
{
	(void)arg;
	pass("channel: rendezvous, send + receive + switches", 0, 25);
	pass("channel: capacity 1, send + receive + switches", 1, 25);
	pass("channel: capacity 64, send + receive + switches", 64, 25);
	without_switch();
	batches();
	select_of_two();
	locks();
	credits();
	tickets();
	scopes();
	return 0;
}

int micro_chan(micro_report_fn report_fn)
{
	static struct fake_driver fake;
	static struct weir_worker worker;
	const struct weir_coro_opts coro_opts = { .detached = true };
	const struct weir_worker_opts opts = { .index = 0 };
	int r;

	report = report_fn;
	fake_driver_init(&fake);
	r = weir__worker_init(&worker, &fake.driver, &opts);
	if (r < 0)
		return r;
	r = weir_coro_spawn(&coro_opts, body, NULL, NULL);
	if (r == 0)
		r = weir__worker_loop(&worker);
	weir__worker_fini(&worker);
	fake_driver_fini(&fake);
	return r;
}
