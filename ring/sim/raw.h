/* SPDX-License-Identifier: MIT */
/*
 * raw.h - the simulator's own scenario, which `weir sim` ships with the others.
 */
#ifndef WEIR_RING_SIM_RAW_H
#define WEIR_RING_SIM_RAW_H

#include "ring/sim/sim.h"

extern const struct weir_sim_scenario weir__sim_raw;

#endif
