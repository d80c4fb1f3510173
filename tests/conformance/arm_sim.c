/* SPDX-License-Identifier: MIT */
/*
 * arm_sim.c - the simulated kernel: each round is a world of its own, with one host. The first two
 * have no faults; in the others the seed arms some of those that a kernel may show without
 * breaking a promise: other orders, late beginnings, races of cancels, enters that do half.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ring/sim/sim.h"
#include "tests/conformance/arm.h"

#define ROUNDS 64
#define FAULTS                                                                                    \
	(WEIR_SIM_ORDER | WEIR_SIM_LATE | WEIR_SIM_ENTER | WEIR_SIM_CANCEL | WEIR_SIM_LINK |      \
	 WEIR_SIM_NOTIF | WEIR_SIM_SCRIBBLE | WEIR_SIM_REUSE)
#define LATE (WEIR_SIM_LATE | WEIR_SIM_LINK)
#define FDS_FIRST 3		/* 0, 1 and 2 are not counted */
#define WAIT_NS (60 * WEIR_S)
#define BODY_NS (3600 * WEIR_S)

static struct {
	const struct cf_case *test;
	unsigned round;
	struct cf *c;
	bool ended;
} run;

static int limit_fds(unsigned room)
{
	struct weir_sim_host *host = weir_sim_self();

	host->opts.fds_max = FDS_FIRST + host->fds_open + room;
	return 0;
}

static int host_main(void *arg)
{
	struct cf *c = run.c;

	(void)arg;
	c->kernel = &weir_sim_self()->seam->kernel;
	c->test = run.test;
	c->dir = "/";
	c->setup_flags = cf_setup_flags(run.test, run.round);
	c->wait_ns = WAIT_NS;
	c->limit_fds = limit_fds;
	cf_run(c);
	run.ended = true;
	return 0;
}

static const char *look(void *arg)
{
	(void)arg;
	return run.ended ? NULL : "the body has not ended";
}

static int build(struct weir_sim *sim, void *arg)
{
	(void)arg;
	if (!weir_sim_host(sim, "host", NULL, host_main, NULL))
		return -ENOMEM;
	return weir_sim_eventually(sim, "the body ends", look, NULL);
}

static void run_sim(const struct cf_case *test, unsigned round, struct cf_result *ret)
{
	const struct weir_sim_scenario scenario = {
		.name = "conformance",
		.build = build,
		.faults = FAULTS & ~(test->prompt ? LATE : 0) & ~(test->whole ? WEIR_SIM_ENTER : 0),
		.faults_ns = BODY_NS,
	};
	const struct weir_sim_opts opts = {
		.seed = round,
		.faults_given = round < 2,
		.profile = "6.18",
	};
	struct weir_sim_report report;

	memset(ret, 0, sizeof(*ret));
	run.test = test;
	run.round = round;
	run.ended = false;
	run.c = calloc(1, sizeof(*run.c));
	if (!run.c)
		abort();
	if (weir_sim_run(&scenario, &opts, &report))
		snprintf(ret->text, sizeof(ret->text), "BROKEN: %s: %s; %.1024s", report.failed,
			 report.message, run.c->text);
	else
		memcpy(ret->text, run.c->text, sizeof(ret->text));
	ret->skipped = run.c->skipped;
	free(run.c);
}

const struct cf_arm cf_arm_sim = {
	.name = "sim",
	.on = CF_ON_SIM,
	.rounds = ROUNDS,
	.is_complete = true,
	.run = run_sim,
};
