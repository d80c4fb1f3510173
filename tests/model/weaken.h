/* SPDX-License-Identifier: MIT */
/*
 * weaken.h - the proof that models see something: memory orders weakened one at a time.
 */
#ifndef WEIR_TESTS_MODEL_WEAKEN_H
#define WEIR_TESTS_MODEL_WEAKEN_H

#include "tests/model/model.h"

/* Explores model; prints what it took, and the error if there is one. Returns whether it holds. */
bool model_holds(const struct model *model);

/* Whether one of models, which end with NULL, fails when what code does is weakened so. */
bool model_is_caught(const struct model *const *models, const struct model_weakening *weakening);

/*
 * Weakens each kind of access of models to each weaker order, and prints which are caught: for
 * people, for it takes a while.
 */
void model_sweep(const struct model *const *models);

#endif
