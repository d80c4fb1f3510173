/* SPDX-License-Identifier: MIT */
/*
 * sim.c - weir sim: the shipped scenarios in a simulated world, under seeds.
 */
#include "tools/command.h"
#include "tools/sim/scenario.h"

int sim_main(int argc, char **argv)
{
	static char name[] = "weir sim";

	argv[0] = name;
	return weir_sim_main(argc, argv, weir_scenarios);
}
