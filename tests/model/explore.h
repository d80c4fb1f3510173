/* SPDX-License-Identifier: MIT */
/*
 * explore.h - how the checker goes from one execution graph to the next.
 */
#ifndef WEIR_TESTS_MODEL_EXPLORE_H
#define WEIR_TESTS_MODEL_EXPLORE_H

#include "tests/model/model.h"

/* An exploration is given up, with an error, after so many graphs. */
#define EXPLORE_GRAPHS_MAX 20000000

/* The hash of each execution, whole or blocked, that an exploration has visited. */
struct explore_log {
	uint64_t *hashes;
	size_t count;
	size_t size;
};

/*
 * As model_explore(), which finds each execution once, the slow way: every order of events, with
 * a memory of the graphs that were seen. For tests of the checker.
 */
void explore_naively(const struct model *model, struct model_result *result);

/* Where the explorations that follow write what they visit; NULL: nowhere. */
void explore_log(struct explore_log *log);

#endif
