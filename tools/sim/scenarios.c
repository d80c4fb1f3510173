/* SPDX-License-Identifier: MIT */
/*
 * scenarios.c - the scenarios that ship with weir, as `weir sim --list` shows them.
 */
#include "ring/sim/raw.h"
#include "tools/sim/scenario.h"

const struct weir_sim_scenario *const weir_scenarios[] = {
	&scenario_http,
	&scenario_echo_coroutine,
	&scenario_echo_callback,
	&scenario_echo_future,
	&scenario_commit,
	&scenario_cancel,
	&scenario_emfile,
	&scenario_mesh,
	&scenario_chan,
	&scenario_scope,
	&scenario_pool,
	&scenario_stream,
	&scenario_admit,
	&scenario_drain,
	&weir__sim_raw,
	NULL,
};
