/* SPDX-License-Identifier: MIT */
/*
 * chan.c - channels between cores under deadlines, cancels and closes: of each sender's items
 * nothing is lost, doubled or reordered, and what a send has taken is received or dropped.
 *
 * Every core runs some senders, which number what they send and repeat what was not taken. The
 * receiver takes one by one, in batches, or by select; at a moment of its choice it closes or
 * hangs up, and at the latest the last sender closes.
 */
#include <string.h>

#include "tools/sim/scenario.h"

#define CORES_MAX 3
#define SENDERS_MAX 4		/* on each core */
#define ITEMS_MAX 200		/* of each sender */
#define BATCH 16

struct item {
	uint16_t sender;
	uint16_t number;
};

static struct {
	struct weir_opts opts;
	struct weir_chan *chan;
	struct weir_chan *never;	/* nobody sends in it: for select */
	unsigned senders, items, capacity;
	unsigned ends_after;		/* items; 0: the receiver does not end it */
	bool hangs_up;
	unsigned senders_left;
	unsigned taken[CORES_MAX * SENDERS_MAX];	/* by the channel, of each sender */
	unsigned received[CORES_MAX * SENDERS_MAX];
	unsigned dropped;
} world;

static void count_drop(void *item, void *arg)
{
	(void)item;
	(void)arg;
	world.dropped++;
}

/* --- senders --- */

static int64_t some_deadline(void)
{
	if (weir_sim_choose("chan-hurries", 2))
		return WEIR_NEVER;
	return weir_in(scenario_draw_size("chan-deadline", 22));
}

static int send_one(unsigned sender)
{
	struct item item = { .sender = (uint16_t)sender, .number = (uint16_t)world.taken[sender] };
	int r;

	if (weir_sim_choose("chan-by-select", 4) == 3) {
		struct weir_case c = { .kind = WEIR_CASE_SEND, .chan = world.chan, .item = &item };

		r = weir_select(&c, 1, WEIR_SELECT_FAIR, some_deadline());
		r = r ? r : c.res;
	} else {
		r = weir_chan_send(world.chan, &item, some_deadline());
	}
	world.taken[sender] += r == 0;
	return r;
}

static int send_batch(unsigned sender)
{
	struct item batch[BATCH];
	unsigned count = 1 + weir_sim_choose("chan-batch", BATCH);
	ssize_t n;

	for (unsigned i = 0; i < count; i++)
		batch[i] = (struct item){ .sender = (uint16_t)sender,
					  .number = (uint16_t)(world.taken[sender] + i) };
	n = weir_chan_send_n(world.chan, batch, count, some_deadline());
	if (n > 0)
		world.taken[sender] += (unsigned)n;
	return n < 0 ? (int)n : 0;
}

/* Runs in a coroutine that may be cancelled at any moment; then another goes on. */
static int send_some(void *arg)
{
	unsigned sender = (unsigned)(uintptr_t)arg;
	int r = 0;

	while (world.taken[sender] < world.items) {
		r = weir_sim_choose("chan-sends-batch", 3) == 2 ? send_batch(sender) :
								  send_one(sender);
		weir_sim_checkf(!r || r == -ETIMEDOUT || r == -ECANCELED || r == -EPIPE,
				"chan: a send succeeds, or says why not", "%d", r);
		if (r == -EPIPE || r == -ECANCELED)
			return r;
		if (scenario_once_in("chan-rests", 16) && scenario_pause("chan-rest", 50))
			return -ECANCELED;
	}
	return 0;
}

static int sender_run(void *arg)
{
	struct weir_scope_result result;
	struct weir_scope scope;
	int r;

	do {
		r = weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER);
		if (!r)
			r = weir_scope_go(&scope, send_some, arg);
		if (!r && weir_sim_choose("chan-cancels", 2)) {
			weir_sleep(scenario_draw_size("chan-cancel-after", 24));
			weir_scope_cancel(&scope);
		}
		r = weir_scope_join(&scope, &result);
		weir_sim_sometimes(r == -ECANCELED, "chan: a sender is cancelled");
	} while (r == -ECANCELED);
	if (!--world.senders_left)
		weir_chan_close(world.chan);
	return 0;
}

static int senders_of_core(void *arg)
{
	unsigned first = (unsigned)weir_core() * SENDERS_MAX;
	struct weir_scope scope;
	int r = weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER);

	(void)arg;
	for (unsigned i = 0; !r && i < world.senders; i++)
		r = weir_scope_go(&scope, sender_run, (void *)(uintptr_t)(first + i));
	weir_sim_checkf(!r, "chan: senders start", "%d", r);
	return weir_scope_join(&scope, NULL);
}

static int call_senders(void *arg)
{
	unsigned core = (unsigned)(uintptr_t)arg;
	int res = 0;
	int r = weir_call(core, senders_of_core, NULL, WEIR_NEVER, &res);

	weir_sim_checkf(!r, "chan: a core can be called", "%d", r);
	return res;
}

/* --- the receiver --- */

static void note(const struct item *item)
{
	weir_sim_checkf(item->number == world.received[item->sender],
			"chan: of each sender nothing is lost, doubled or reordered",
			"%u instead of %u of sender %u", item->number,
			world.received[item->sender], item->sender);
	world.received[item->sender]++;
}

static ssize_t receive_some(struct item batch[BATCH])
{
	struct weir_case cases[2];
	int i;

	switch (weir_sim_choose("chan-receives", 3)) {
	case 0:
		i = weir_chan_receive(world.chan, batch, some_deadline());
		return i ? i : 1;
	case 1:
		return weir_chan_receive_n(world.chan, batch,
					   1 + weir_sim_choose("chan-takes", BATCH),
					   some_deadline());
	default:
		memset(cases, 0, sizeof(cases));
		cases[0] = (struct weir_case){ .kind = WEIR_CASE_RECEIVE, .chan = world.never,
					       .item = batch };
		cases[1] = (struct weir_case){ .kind = WEIR_CASE_RECEIVE, .chan = world.chan,
					       .item = batch };
		i = weir_select(cases, 2, WEIR_SELECT_FAIR, some_deadline());
		weir_sim_checkf(i, "chan: nothing comes from where nobody sends", "%d", i);
		return i < 0 ? i : cases[1].res ? cases[1].res : 1;
	}
}

static int receive_all(void *arg)
{
	struct item batch[BATCH];
	unsigned count = 0;
	ssize_t n;

	(void)arg;
	for (;;) {
		n = receive_some(batch);
		if (n == -EPIPE)
			return 0;
		weir_sim_checkf(n > 0 || n == -ETIMEDOUT, "chan: a receive says why not", "%zd", n);
		for (ssize_t i = 0; i < n; i++)
			note(&batch[i]);
		count += n > 0 ? (unsigned)n : 0;
		if (world.ends_after && count >= world.ends_after) {
			weir_sim_sometimes(true, "chan: the receiver ends it");
			if (!world.hangs_up) {
				weir_chan_close(world.chan);
				continue;
			}
			weir_chan_hang_up(world.chan);
			return 0;
		}
		if (scenario_once_in("chan-dawdles", 16))
			scenario_pause("chan-dawdle", 100);
	}
}

/* --- the world --- */

static int service(void *arg)
{
	const struct weir_chan_opts opts = {
		.item_size = sizeof(struct item), .capacity = world.capacity, .across = true,
		.drop = count_drop,
	};
	const struct weir_chan_opts none = { .item_size = sizeof(struct item) };
	struct weir_scope scope;
	int r;

	(void)arg;
	if (weir_core())
		return 0;
	r = weir_chan_create(&opts, &world.chan);
	if (!r)
		r = weir_chan_create(&none, &world.never);
	if (!r)
		r = weir_scope_open(&scope, WEIR_FAIL_FAST, WEIR_NEVER);
	weir_sim_checkf(!r, "chan: a channel is made", "%d", r);
	world.senders_left = world.senders * weir_core_count();
	for (unsigned i = 0; !r && i < weir_core_count(); i++)
		r = weir_scope_go(&scope, call_senders, (void *)(uintptr_t)i);
	if (!r)
		r = weir_scope_go(&scope, receive_all, NULL);
	if (!r)
		r = weir_scope_join(&scope, NULL);
	weir_chan_destroy(world.never);
	weir_chan_destroy(world.chan);
	return r;
}

static int cores_main(void *arg)
{
	int r = weir_run(&world.opts, service, arg);
	unsigned taken = 0, received = 0;

	for (unsigned i = 0; i < CORES_MAX * SENDERS_MAX; i++) {
		taken += world.taken[i];
		received += world.received[i];
	}
	weir_sim_checkf(!r, "chan: the runtime ends well", "%d", r);
	weir_sim_checkf(taken == received + world.dropped,
			"chan: what was taken is received or dropped", "%u taken, %u and %u", taken,
			received, world.dropped);
	return r;
}

static int wait_end(void *arg)
{
	int r = 0;

	(void)arg;
	while (!r && weir_sim_is_running(weir_sim_find("cores")))
		r = weir_sleep(WEIR_S);
	return r;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts cores = { 0 };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	cores.cores = scenario_draw("chan-cores", 2, CORES_MAX);
	world.opts = scenario_opts(cores.cores);
	world.senders = scenario_draw("chan-senders", 1, SENDERS_MAX);
	world.items = scenario_draw("chan-items", 1, ITEMS_MAX);
	world.capacity = 1 + scenario_draw_size("chan-capacity", 7);
	if (scenario_once_in("chan-ends-early", 3))
		world.ends_after = 1 + weir_sim_choose("chan-ends-after", ITEMS_MAX);
	world.hangs_up = weir_sim_choose("chan-hangs-up", 2);
	if (!weir_sim_host(sim, "cores", &cores, cores_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_chan = {
	.name = "chan",
	.about = "channels between cores: nothing is lost, doubled or reordered, until the end",
	.build = build,
	.faults = WEIR_SIM_DEFAULT,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
