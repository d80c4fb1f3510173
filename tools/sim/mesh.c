/* SPDX-License-Identifier: MIT */
/*
 * mesh.c - cores that post, call and resolve futures of each other, through narrow lanes and with
 * wakes that fail: nothing is lost, what one core sends another arrives in order, and a
 * deadline counts while a call is queued.
 *
 * Each core runs some coroutines that send messages to cores of their choice. A message
 * carries the sender's number for that pair; the receiver expects the next. Whoever waits for an
 * answer waits at most as long as the world may stand still, and then some.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/sim/scenario.h"

#define CORES_MAX 4
#define SENDERS_MAX 4
#define SLACK_NS (60 * WEIR_S)

static struct {
	struct weir_opts opts;
	unsigned senders, messages, kinds;
	uint64_t sent[CORES_MAX][CORES_MAX], received[CORES_MAX][CORES_MAX];
	uint64_t posted, ran;		/* all kinds */
	unsigned cores_done;
} world;

/* --- posts --- */

struct note {
	uint64_t number;
	unsigned from;
};

static void note_arrives(void *arg)
{
	struct note *note = arg;
	unsigned to = (unsigned)weir_core();

	weir_sim_checkf(note->number == world.received[note->from][to],
			"mesh: messages of a pair arrive in order", "%u instead of %u, %u to %u",
			(unsigned)note->number, (unsigned)world.received[note->from][to],
			note->from, to);
	world.received[note->from][to]++;
	world.ran++;
	free(note);
}

static int send_note(unsigned to)
{
	struct note *note = malloc(sizeof(*note));
	unsigned from = (unsigned)weir_core();
	int r;

	if (!note)
		return -ENOMEM;
	*note = (struct note){ .from = from, .number = world.sent[from][to]++ };
	/* Numbered in the order of the calls, which is the order of the line for a full lane. */
	r = weir_post(to, note_arrives, note, WEIR_NEVER);
	weir_sim_checkf(!r, "mesh: a post is taken", "%d", r);
	world.posted++;
	return r;
}

/* --- calls --- */

struct errand {
	int64_t deadline_ns, asked_ns;
	unsigned from;
	int answer;
};

static int errand_run(void *arg)
{
	struct errand *errand = arg;

	world.ran++;
	weir_sim_check(weir_now() < errand->deadline_ns,
		       "mesh: a call whose deadline passed in the queue is not run");
	weir_sim_checkf(weir_now() - errand->asked_ns < SLACK_NS, "mesh: a call arrives in time",
			"after %d s", (int)((weir_now() - errand->asked_ns) / WEIR_S));
	scenario_pause("mesh-errand", 20);
	return errand->answer;
}

static int call_one(unsigned to)
{
	bool quick = weir_sim_choose("mesh-quick", 2);
	struct errand errand = {
		.deadline_ns = WEIR_NEVER,
		.asked_ns = weir_now(),
		.from = (unsigned)weir_core(),
		.answer = (int)weir_sim_choose("mesh-answer", 1000),
	};
	int res = -1;
	int r;

	if (scenario_once_in("mesh-hurries", 2))
		errand.deadline_ns = weir_in(scenario_draw_size("mesh-deadline", 24));
	r = (quick ? weir_call_quick : weir_call)(to, errand_run, &errand, errand.deadline_ns,
						  &res);
	weir_sim_checkf(!r || (r == -ETIMEDOUT && weir_now() >= errand.deadline_ns) ||
				r == -ENOBUFS,
			"mesh: a call is answered, or says why not", "%d", r);
	weir_sim_checkf(r || res == errand.answer, "mesh: the answer is the callee's",
			"%d instead of %d", res, errand.answer);
	weir_sim_checkf(weir_now() - errand.asked_ns < SLACK_NS, "mesh: an answer comes in time",
			"after %d s", (int)((weir_now() - errand.asked_ns) / WEIR_S));
	weir_sim_sometimes(r == -ETIMEDOUT, "mesh: a call's deadline passes");
	return 0;
}

/* --- futures --- */

struct favour {
	struct weir_promise promise;
	int answer;
	bool dropped;
};

static void favour_done(void *arg)
{
	struct favour *favour = arg;

	world.ran++;
	if (favour->dropped)
		weir_promise_drop(&favour->promise);
	else
		weir_promise_resolve_any(&favour->promise, favour->answer, NULL, NULL);
	free(favour);
}

static int ask_favour(unsigned to)
{
	struct favour *favour = malloc(sizeof(*favour));
	struct weir_future *future;
	int64_t asked_ns = weir_now();
	ssize_t expected, res;
	int r;

	if (!favour)
		return -ENOMEM;
	favour->answer = (int)weir_sim_choose("mesh-favour", 1000);
	favour->dropped = scenario_once_in("mesh-breaks", 8);
	expected = favour->dropped ? -EPIPE : favour->answer;
	r = weir_promise_create_any(&favour->promise, &future);
	if (!r)
		r = weir_post(to, favour_done, favour, WEIR_NEVER);
	weir_sim_checkf(!r, "mesh: a favour can be asked", "%d", r);
	if (r < 0)
		return r;
	world.posted++;
	res = weir_await(future, WEIR_NEVER, NULL);
	weir_sim_checkf(res == expected, "mesh: a future has the result that it was given",
			"%zd instead of %zd", res, expected);
	weir_sim_checkf(weir_now() - asked_ns < SLACK_NS, "mesh: a future is settled in time",
			"after %d s", (int)((weir_now() - asked_ns) / WEIR_S));
	return 0;
}

/* --- a core --- */

static int send_some(void *arg)
{
	unsigned count = scenario_draw("mesh-count", 1, world.messages);
	int r = 0;

	(void)arg;
	for (unsigned i = 0; !r && i < count; i++) {
		unsigned to = weir_sim_choose("mesh-to", weir_core_count());
		unsigned kind = weir_sim_choose("mesh-kind", world.kinds);

		if (kind == 1)
			r = call_one(to);
		else if (kind == 2)
			r = ask_favour(to);
		else
			r = send_note(to);
		if (!r && scenario_once_in("mesh-rests", 64))
			r = scenario_pause("mesh-rest", 100);
	}
	return r;
}

static int service(void *arg)
{
	char none[SENDERS_MAX];
	int r = scenario_crowd(world.senders, send_some, none, 1);

	(void)arg;
	world.cores_done++;
	return r;
}

static int cores_main(void *arg)
{
	int r = weir_run(&world.opts, service, arg);

	for (unsigned from = 0; from < CORES_MAX; from++)
		for (unsigned to = 0; to < CORES_MAX; to++)
			weir_sim_checkf(world.sent[from][to] == world.received[from][to],
					"mesh: nothing is lost", "%u of %u, %u to %u",
					(unsigned)world.received[from][to],
					(unsigned)world.sent[from][to], from, to);
	weir_sim_checkf(!r, "mesh: the runtime ends well", "%d", r);
	return r;
}

/* --- the world --- */

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
	cores.cores = scenario_draw("mesh-cores", 2, CORES_MAX);
	world.opts = scenario_opts(cores.cores);
	world.senders = scenario_draw("mesh-senders", 1, SENDERS_MAX);
	world.messages = scenario_draw("mesh-messages", 1, 300);
	/* Only posts fill lanes: the others wait for an answer before the next. */
	world.kinds = scenario_draw("mesh-kinds", 1, 6);
	if (!weir_sim_host(sim, "cores", &cores, cores_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_mesh = {
	.name = "mesh",
	.about = "nothing between cores is lost or late, whatever happens to wakes",
	.build = build,
	.faults = WEIR_SIM_ORDER | WEIR_SIM_LATE | WEIR_SIM_ENTER | WEIR_SIM_OVERFLOW |
		  WEIR_SIM_SQ_FULL | WEIR_SIM_OLD | WEIR_SIM_WAKE | WEIR_SIM_CLOCK |
		  WEIR_SIM_PAUSE | WEIR_SIM_RANDOM | WEIR_SIM_BUGGIFY | WEIR_SIM_SCRIBBLE |
		  WEIR_SIM_CANCEL,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
