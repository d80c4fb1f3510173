/* SPDX-License-Identifier: MIT */
/*
 * sim.c - a world from its seed to its report: hosts begin, the scheduler lets one fiber after
 * the other run and the clock jump when none can, the faults heal, the workloads end, the
 * services drain, and everything is taken apart.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/sim/trace.h"
#include "ring/sim/world.h"

#define BEGIN_NS (1000 * WEIR_S)
#define STEPS_MAX 20000000
#define FAULTS_NS (20 * WEIR_S)
#define HEAL_NS (120 * WEIR_S)
#define DRAIN_NS (60 * WEIR_S)

_Thread_local struct weir_sim *weir__sim;

void (*weir__sim_at_end)(const struct weir_sim *sim);

struct at {
	struct weir_sim_event event;
	struct weir_sim *sim;
	void (*run)(void *arg);
	void *arg;
	struct at *next;
};

struct weir_sim *weir_sim_world(void)
{
	return weir__sim;
}

int64_t weir_sim_now(const struct weir_sim *sim)
{
	return sim->now_ns - sim->began_ns;
}

uint64_t weir_sim_armed(const struct weir_sim *sim)
{
	return sim->armed;
}

bool weir_sim_is_healed(const struct weir_sim *sim)
{
	return sim->healed;
}

/* --- hooks at a time --- */

static void run_at(struct weir_sim_event *event)
{
	struct at *at = weir_container_of(event, struct at, event);

	at->run(at->arg);
}

int weir_sim_at(struct weir_sim *sim, int64_t delay_ns, void (*run)(void *arg), void *arg)
{
	struct at *at = calloc(1, sizeof(*at));

	if (!at)
		return -ENOMEM;
	at->event.run = run_at;
	at->run = run;
	at->arg = arg;
	at->next = sim->ats;
	sim->ats = at;
	weir__sim_event_arm(sim, &at->event, sim->now_ns + delay_ns);
	return 0;
}

/* --- life --- */

static int create(const struct weir_sim_scenario *scenario, const struct weir_sim_opts *opts,
		  struct weir_sim_report *report, struct weir_sim **ret_sim)
{
	struct weir_sim *sim = calloc(1, sizeof(*sim));
	int r;

	if (!sim)
		return -ENOMEM;
	sim->scenario = scenario;
	if (opts)
		sim->opts = *opts;
	if (!sim->opts.steps_max)
		sim->opts.steps_max = STEPS_MAX;
	sim->report = report;
	sim->now_ns = sim->began_ns = BEGIN_NS;
	weir__list_init(&sim->ready);
	weir__sim = sim;
	r = weir__sim_tracer_create(sim, sim->opts.trace);
	if (!r)
		r = weir__sim_choices_create(sim);
	if (!r)
		r = weir__sim_invariants_create(sim);
	if (!r)
		r = weir__sim_net_create(sim);
	*ret_sim = sim;
	return r;
}

static void destroy(struct weir_sim *sim)
{
	struct weir_sim_seam *seam;
	struct at *at;

	sim->over = true;
	for (unsigned i = 0; i < sim->hosts_count; i++)
		weir__sim_host_bury(sim->hosts[i], true);
	while (sim->hosts_count)
		weir__sim_host_destroy(sim->hosts[--sim->hosts_count]);
	if (sim->net)
		weir__sim_net_destroy(sim);
	weir__sim_invariants_destroy(sim);
	weir__sim_choices_destroy(sim);
	while ((at = sim->ats)) {
		sim->ats = at->next;
		free(at);
	}
	while ((seam = sim->seams)) {
		sim->seams = seam->next;
		free(seam);
	}
	weir__sim_events_fini(sim);
	weir__sim = NULL;
	free(sim);
}

/* --- the scheduler --- */

static struct weir_sim_fiber *pick(struct weir_sim *sim)
{
	struct weir_node *node = sim->ready.next;

	if (sim->ready_count > 1)
		for (unsigned i = weir__sim_choose(sim, NULL, "schedule", sim->ready_count); i; i--)
			node = node->next;
	weir__node_remove(node);
	sim->ready_count--;
	return weir_container_of(node, struct weir_sim_fiber, ready);
}

static void run_fiber(struct weir_sim *sim, struct weir_sim_fiber *fiber)
{
	struct weir_sim_host *host = fiber->host;

	weir__sim_fiber_run(sim, fiber);
	if (fiber->state == FIBER_ENDED)
		weir__sim_fiber_ended(fiber);
	weir__sim_host_reap(host);
}

/* One step. False: nothing can happen any more before limit_ns. */
static bool step(struct weir_sim *sim, int64_t limit_ns)
{
	sim->report->steps++;
	if (sim->ready_count) {
		run_fiber(sim, pick(sim));
	} else {
		if (!sim->events.count || sim->events.heap[1]->at_ns > limit_ns)
			return false;
		weir__sim_events_step(sim);
	}
	weir__sim_invariants_step(sim);
	if (sim->report->steps >= sim->opts.steps_max && !sim->over) {
		weir__sim_fail(sim, "time goes on", "%llu steps in %lld ms: a live-lock",
			       (unsigned long long)sim->report->steps,
			       (long long)(weir_sim_now(sim) / WEIR_MS));
		sim->report->result = -ELOOP;
	}
	return true;
}

static bool workloads_ended(const struct weir_sim *sim)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sim->hosts_count; i++) {
		if (sim->hosts[i]->is_workload && !sim->hosts[i]->finished)
			return false;
		count += sim->hosts[i]->is_workload;
	}
	return count;
}

static bool processes_ended(struct weir_sim *sim)
{
	for (unsigned i = 0; i < sim->hosts_count; i++)
		if (sim->hosts[i]->running)
			return false;
	return true;
}

/* Until done(sim), or until limit_ns has come. */
static void run_until(struct weir_sim *sim, int64_t limit_ns, bool (*done)(struct weir_sim *sim))
{
	while (!sim->over && !(done && done(sim)))
		if (!step(sim, limit_ns))
			break;
	if (!sim->over && !(done && done(sim)) && limit_ns > sim->now_ns && limit_ns != WEIR_NEVER)
		sim->now_ns = limit_ns;
}

static bool is_done(struct weir_sim *sim)
{
	return workloads_ended(sim);
}

static bool is_settled(struct weir_sim *sim)
{
	bool settled = weir__sim_invariants_settled(sim);
	unsigned workloads = 0;

	for (unsigned i = 0; i < sim->hosts_count; i++)
		workloads += sim->hosts[i]->is_workload;
	return settled && (!workloads || workloads_ended(sim));
}

static void heal(struct weir_sim *sim)
{
	sim->healed = true;
	weir__sim_trace(sim, NULL, "healed", 0, 0);
	weir__sim_net_heal(sim);
	for (unsigned i = 0; i < sim->hosts_count; i++) {
		sim->hosts[i]->paused_until_ns = 0;
		weir__sim_disk_heal(sim->hosts[i]);
	}
}

static void name_the_late(struct weir_sim *sim)
{
	for (unsigned i = 0; i < sim->hosts_count; i++) {
		struct weir_sim_host *host = sim->hosts[i];

		if (!host->is_workload || host->finished)
			continue;
		weir__sim_fail(sim, "workloads end", "%s had not ended %lld s after the faults",
			       host->name, (long long)(sim->now_ns - sim->healed_ns) / WEIR_S);
		sim->report->result = -ETIME;
		return;
	}
	weir__sim_invariants_end(sim);
}

/* Everything ends in order: SIGTERM, and what is left then is a fault of its own. */
static void end_orderly(struct weir_sim *sim)
{
	sim->ending = true;
	for (unsigned i = 0; i < sim->hosts_count; i++) {
		weir__sim_event_disarm(sim, &sim->hosts[i]->restart);
		weir_sim_terminate(sim->hosts[i]);
	}
	run_until(sim, sim->now_ns + DRAIN_NS, processes_ended);
	for (unsigned i = 0; !sim->over && i < sim->hosts_count; i++)
		if (sim->hosts[i]->running)
			weir__sim_fail(sim, "a service drains", "%s still ran %d s after SIGTERM",
				       sim->hosts[i]->name, (int)(DRAIN_NS / WEIR_S));
}

static void live(struct weir_sim *sim)
{
	const struct weir_sim_scenario *scenario = sim->scenario;
	int64_t faults_ns = scenario->faults_ns ? scenario->faults_ns : FAULTS_NS;
	int64_t heal_ns = scenario->heal_ns ? scenario->heal_ns : HEAL_NS;

	for (unsigned i = 0; i < sim->hosts_count && !sim->over; i++)
		if (weir__sim_host_begin(sim->hosts[i]) < 0)
			weir__sim_fail(sim, "the simulator has memory", "for a process");
	run_until(sim, sim->now_ns + faults_ns, is_done);
	if (sim->over)
		return;
	heal(sim);
	sim->healed_ns = sim->now_ns;
	run_until(sim, sim->now_ns + heal_ns, is_settled);
	if (!sim->over && !is_settled(sim))
		name_the_late(sim);
	if (!sim->over)
		end_orderly(sim);
	if (!sim->over)
		weir__sim_invariants_end(sim);
}

int weir_sim_run(const struct weir_sim_scenario *scenario, const struct weir_sim_opts *opts,
		 struct weir_sim_report *ret_report)
{
	struct weir_sim_report *report = ret_report;
	struct weir_sim *sim = NULL;
	int r;

	weir_precond(scenario && scenario->build && report, -EINVAL);
	memset(report, 0, sizeof(*report));
	if (weir__sim)
		return report->result = -EBUSY;
	if (opts && opts->profile && !weir__sim_profile(opts->profile))
		return report->result = -EINVAL;
	r = create(scenario, opts, report, &sim);
	if (r == -ENOMEM && !weir__sim)
		return report->result = r;
	if (!r) {
		weir__sim_faults_arm(sim);
		r = scenario->build(sim, scenario->arg);
	}
	if (!r)
		live(sim);
	if (r)
		report->result = r;
	else if (!report->result && sim->opts.stop_at &&
		 report->choices_made >= sim->opts.stop_at)
		report->result = -EINTR;
	report->virtual_ns = weir_sim_now(sim);
	report->hash = weir__sim_tracer_end(sim);
	if (sim->opts.record_choices && sim->choices)
		report->choices = weir__sim_choices_text(sim);
	if (weir__sim_at_end)
		weir__sim_at_end(sim);
	destroy(sim);
	return report->result;
}
