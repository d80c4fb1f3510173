/* SPDX-License-Identifier: MIT */
/*
 * micro_sim.c - the simulated kernel: how many completions it makes in a second of real time,
 * SQE, kernel, CQE, the runtime's own work and the record of the trace included.
 */
#include <string.h>

#include "tests/bench/micro.h"
#include "weir_coro.h"
#include "weir_ring.h"
#include "weir_sim.h"

#define DEPTH 64
#define COMPLETIONS 2000000

static unsigned left;

static void again(struct weir_op *op, int res, uint32_t flags)
{
	(void)flags;
	if (left && res >= 0) {
		left--;
		weir_op_nop(op);
	}
}

static int load(void *arg)
{
	struct weir_op ops[DEPTH];

	(void)arg;
	left = COMPLETIONS;
	for (unsigned i = 0; i < DEPTH; i++) {
		weir_op_init(&ops[i], again, "nop");
		weir_op_nop(&ops[i]);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		while (weir_op_is_inflight(&ops[i]))
			weir_sleep(WEIR_MS);
	return 0;
}

static int build(struct weir_sim *sim, void *arg)
{
	(void)arg;
	return weir_sim_workload(sim, "load", NULL, load, NULL) ? 0 : -ENOMEM;
}

int micro_sim(micro_report_fn report)
{
	static const struct weir_sim_scenario scenario = {
		.name = "nops",
		.build = build,
	};
	struct weir_sim_opts opts = { .seed = 1, .faults_given = true };
	struct weir_sim_report result;
	double start_ns = micro_now_ns();
	int r = weir_sim_run(&scenario, &opts, &result);

	if (r < 0)
		return r;
	report("simulated completion, 64 deep", (micro_now_ns() - start_ns) / (double)result.cqes,
	       500);
	return 0;
}
