/* SPDX-License-Identifier: MIT */
/*
 * admit.c - crowds that ask for tickets, wait, give up, are cancelled and run out of time: who
 * comes is admitted or shed for one reason, limit and lines are kept, nobody is let in after his
 * deadline, and who was cancelled in line holds nothing.
 */
#include <string.h>

#include "tools/sim/scenario.h"

#define CLIENTS_MAX 24
#define ROUNDS_MAX 20
#define CLASSES_MAX 3
#define CORES_MAX 3

static struct {
	struct weir_opts opts;
	unsigned clients, rounds;
} world;

/* On its core's stack. */
struct house {
	struct weir_admit admit;
	struct weir_admit_opts opts;
	struct weir_admit_class classes[CLASSES_MAX];
	unsigned limit_high;		/* that there ever was */
	unsigned inside;
	bool stopped;
	uint64_t came, admitted, shed[WEIR_SHED_COUNT];
};

/* --- what holds at any time --- */

static void look(struct house *house)
{
	struct weir_admit_info info;
	struct weir_admit_class_info line;

	weir_admit_info(&house->admit, &info);
	if (info.limit > house->limit_high)
		house->limit_high = info.limit;
	weir_sim_checkf(info.limit >= 1 && info.limit <= house->opts.limiter.limit_max,
			"admit: the limit is in its bounds", "%u", info.limit);
	weir_sim_checkf(info.inflight <= house->limit_high, "admit: the limit is kept",
			"%u of %u", info.inflight, house->limit_high);
	weir_sim_checkf(info.waiting <= house->opts.queue_max, "admit: the line is bounded",
			"%u of %u", info.waiting, house->opts.queue_max);
	weir_sim_checkf(!info.waiting || info.inflight >= info.limit,
			"admit: nobody waits where there is a ticket", "%u wait, %u of %u",
			info.waiting, info.inflight, info.limit);
	for (unsigned i = 0; i < house->opts.class_count; i++) {
		weir_admit_class_info(&house->admit, i, &line);
		weir_sim_checkf(line.waiting <= house->classes[i].queue_max,
				"admit: a class keeps its bound", "%u of %u", line.waiting,
				house->classes[i].queue_max);
	}
	weir_sim_sometimes(info.waiting, "admit: somebody waits");
	weir_sim_sometimes(info.is_overloaded, "admit: overload");
}

static void judge_refusal(struct house *house, const struct weir_ticket *ticket, int r)
{
	static const int errors[WEIR_SHED_COUNT] = {
		[WEIR_SHED_FULL] = -EAGAIN,	    [WEIR_SHED_CODEL] = -EAGAIN,
		[WEIR_SHED_CLASS] = -EAGAIN,	    [WEIR_SHED_DEADLINE] = -ETIMEDOUT,
		[WEIR_SHED_CANCELLED] = -ECANCELED, [WEIR_SHED_STOPPING] = -ESHUTDOWN,
	};

	weir_sim_checkf(ticket->shed != WEIR_SHED_NONE && errors[ticket->shed] == r,
			"admit: the reason is the error's", "%d is %s", r,
			weir_shed_name(ticket->shed));
	weir_sim_checkf(!ticket->admit_, "admit: who was shed holds nothing", "%d", r);
	house->shed[ticket->shed]++;
	for (unsigned i = 1; i < WEIR_SHED_COUNT; i++)
		weir_sim_sometimes(ticket->shed == i, weir_shed_name((enum weir_shed)i));
}

/* --- clients --- */

static int work(void)
{
	if (!weir_sim_choose("admit-works", 3))
		return weir_yield();
	return weir_sleep(weir_sim_choose("admit-work", 20) * WEIR_MS / 4);
}

static int ask(struct house *house)
{
	int64_t deadline_ns = scenario_once_in("admit-hurries", 2) ?
				      weir_in(scenario_draw_size("admit-deadline", 25)) :
				      WEIR_NEVER;
	unsigned index = weir_sim_choose("admit-class", house->opts.class_count);
	struct weir_ticket ticket;
	bool late = house->stopped;
	int r;

	house->came++;
	if (scenario_once_in("admit-tries", 5))
		r = weir_admit_try(&house->admit, index, deadline_ns, &ticket);
	else
		r = weir_admit_enter(&house->admit, index, deadline_ns, &ticket);
	look(house);
	weir_sim_checkf(!late || r == -ESHUTDOWN, "admit: what has stopped lets nobody in", "%d",
			r);
	if (r < 0) {
		judge_refusal(house, &ticket, r);
		return r;
	}
	house->admitted++;
	house->inside++;
	weir_sim_checkf(house->inside <= house->limit_high, "admit: so many are inside",
			"%u of %u", house->inside, house->limit_high);
	weir_sim_checkf(ticket.begun_ns_ < deadline_ns, "admit: nobody enters too late",
			"%lld ns", (long long)(ticket.begun_ns_ - deadline_ns));
	work();
	house->inside--;
	weir_sim_checkf(!weir_ticket_done(&ticket, (enum weir_ticket_outcome)weir_sim_choose(
							   "admit-outcome", 3)),
			"admit: a ticket comes back", "%u", index);
	look(house);
	return 0;
}

static int client(void *arg)
{
	for (unsigned i = 0; i < world.rounds; i++) {
		if (ask(arg) == -ESHUTDOWN)
			break;
		scenario_pause("admit-pause", 4);
	}
	return 0;
}

/* --- a core --- */

static void draw_opts(struct house *house)
{
	struct weir_admit_opts *opts = &house->opts;

	*opts = (struct weir_admit_opts){
		.limiter = {
			.kind = (enum weir_limiter_kind)weir_sim_choose("admit-kind", 5),
			.limit_max = scenario_draw("admit-limit", 4, 12),
			.limit_initial = scenario_draw("admit-initial", 1, 4),
			.probe_ns = scenario_draw("admit-probe", 20, 2000) * WEIR_MS,
		},
		.order = (enum weir_admit_order)weir_sim_choose("admit-order", 2),
		.queue_max = scenario_draw("admit-queue", 1, 12),
		.target_ns = scenario_draw("admit-target", 1, 10) * WEIR_MS,
		.interval_ns = scenario_draw("admit-interval", 5, 100) * WEIR_MS,
		.classes = house->classes,
		.class_count = scenario_draw("admit-classes", 1, CLASSES_MAX),
	};
	for (unsigned i = 0; i < opts->class_count; i++)
		house->classes[i] = (struct weir_admit_class){
			.priority = scenario_draw("admit-priority", 0, 2),
			.share_percent = scenario_draw("admit-share", 0, 33),
			.queue_max = scenario_draw("admit-places", 1, 8),
		};
}

static void check_end(struct house *house)
{
	struct weir_admit_info info;

	weir_admit_info(&house->admit, &info);
	weir_sim_checkf(info.admitted == house->admitted, "admit: the admitted are counted",
			"%llu of %llu", (unsigned long long)info.admitted,
			(unsigned long long)house->admitted);
	for (unsigned i = 0; i < WEIR_SHED_COUNT; i++) {
		weir_sim_checkf(info.shed[i] == house->shed[i], "admit: the shed are counted",
				"%s", weir_shed_name((enum weir_shed)i));
		info.admitted += info.shed[i];
	}
	weir_sim_checkf(info.admitted == house->came, "admit: who came was admitted or shed",
			"%llu of %llu", (unsigned long long)info.admitted,
			(unsigned long long)house->came);
	weir_sim_checkf(!weir_admit_fini(&house->admit), "admit: it ends", "%u, %u", info.inflight,
			info.waiting);
}

static int service(void *arg)
{
	struct weir_coro *coros[CLIENTS_MAX];
	struct house house = { .came = 0 };
	unsigned count = 0;
	int r;

	(void)arg;
	draw_opts(&house);
	r = weir_admit_init(&house.admit, &house.opts);
	weir_sim_checkf(!r, "admit: it begins", "%d", r);
	while (count < world.clients && !weir_coro_spawn(NULL, client, &house, &coros[count]))
		count++;
	for (unsigned i = 0; i < count; i++)
		if (scenario_once_in("admit-cancels", 8)) {
			scenario_pause("admit-before", 20);
			weir_coro_cancel(coros[i]);
		}
	if (scenario_once_in("admit-stops", 4)) {
		scenario_pause("admit-until", 30);
		weir_admit_stop(&house.admit);
		house.stopped = true;
	}
	for (unsigned i = 0; i < count; i++)
		scenario_join(coros[i]);
	check_end(&house);
	return 0;
}

static int subject_main(void *arg)
{
	int r = weir_run(&world.opts, service, arg);

	weir_sim_checkf(!r, "admit: the runtime ends well", "%d", r);
	return 0;
}

static int build(struct weir_sim *sim, void *arg)
{
	struct weir_sim_host_opts subject = { .cores = CORES_MAX };
	struct weir_sim_host_opts reliable = { .cores = 1, .reliable = true };

	(void)arg;
	memset(&world, 0, sizeof(world));
	world.opts = scenario_opts(scenario_draw("admit-cores", 1, CORES_MAX));
	world.clients = scenario_draw("admit-clients", 1, CLIENTS_MAX);
	world.rounds = scenario_draw("admit-rounds", 1, ROUNDS_MAX);
	if (!weir_sim_host(sim, "subject", &subject, subject_main, NULL) ||
	    !weir_sim_workload(sim, "judge", &reliable, scenario_wait_end, NULL))
		return -ENOMEM;
	return 0;
}

const struct weir_sim_scenario scenario_admit = {
	.name = "admit",
	.about = "admission: who comes is admitted or shed, within limit, lines and deadlines",
	.build = build,
	.faults = WEIR_SIM_DEFAULT,
	.faults_ns = SCENARIO_FAULTS_NS,
	.heal_ns = SCENARIO_HEAL_NS,
};
