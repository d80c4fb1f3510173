/* SPDX-License-Identifier: MIT */
/* setup.h - setup.c for ring.c: making a ring, and enabling it on its worker. */
#ifndef WEIR_RING_SETUP_H
#define WEIR_RING_SETUP_H

#include "ring/ring.h"

int weir__ring_setup(struct weir_ring *ring);
int weir__ring_start(struct weir_ring *ring);

#endif
