/* SPDX-License-Identifier: MIT */
/*
 * races.h - whether plain accesses to memory are ordered by what happens before them.
 */
#ifndef WEIR_TESTS_MODEL_RACES_H
#define WEIR_TESTS_MODEL_RACES_H

#include "tests/model/graph.h"

/* Another execution begins. */
void races_reset(void);

/*
 * A plain access of thread, after its first position events; view: of each other thread, how many
 * events happened before it. Returns the thread that it races with, or -1.
 */
int races_plain(const void *ptr, unsigned size, bool is_write, const struct clock *view,
		unsigned thread);

/* The same for an atomic access, which races with plain ones only, and is not remembered. */
int races_atomic(const void *ptr, unsigned size, bool is_write, const struct clock *view,
		 unsigned thread);

#endif
