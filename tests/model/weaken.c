/* SPDX-License-Identifier: MIT */
/*
 * weaken.c - models with weakened memory orders.
 */
#include "tests/model/weaken.h"

#include <stdio.h>
#include <string.h>

static const char *const op_names[] = { "load", "store", "change" };
static const char *const order_names[] = { "relaxed", "consume", "acquire",
					   "release", "acq_rel", "seq_cst" };

bool model_holds(const struct model *model)
{
	struct model_result result;

	model_explore(model, NULL, &result);
	fprintf(stderr, "%s: %llu executions, %llu blocked, %u atomic accesses, %.2f s\n",
		model->name, (unsigned long long)result.executions,
		(unsigned long long)result.blocked, result.events_max, result.seconds);
	if (result.error)
		fprintf(stderr, "%s\n", result.error);
	return !result.error;
}

bool model_is_caught(const struct model *const *models, const struct model_weakening *weakening)
{
	struct model_result result;

	for (; *models; models++) {
		model_explore(*models, weakening, &result);
		if (result.error)
			return true;
	}
	return false;
}

/* --- the sweep --- */

static bool is_weaker(enum model_op op, int order, int than)
{
	switch (order) {
	case __ATOMIC_RELAXED:
		return than != __ATOMIC_RELAXED;
	case __ATOMIC_ACQUIRE:
		return op != MODEL_STORE && (than == __ATOMIC_ACQ_REL || than == __ATOMIC_SEQ_CST);
	case __ATOMIC_RELEASE:
		return op != MODEL_LOAD && (than == __ATOMIC_ACQ_REL || than == __ATOMIC_SEQ_CST);
	case __ATOMIC_ACQ_REL:
		return op == MODEL_RMW && than == __ATOMIC_SEQ_CST;
	default:
		return false;
	}
}

static void sweep_site(const struct model *const *models, const struct model_site *site)
{
	for (int order = __ATOMIC_ACQ_REL; order >= __ATOMIC_RELAXED; order--) {
		struct model_weakening weakening = { *site, order };
		const struct model *const *model;
		struct model_result result;

		if (!is_weaker(site->op, order, site->order))
			continue;
		for (model = models; *model; model++) {
			model_explore(*model, &weakening, &result);
			if (result.error)
				break;
		}
		printf("%-10s %-6s %-7s -> %-7s  ", site->name, op_names[site->op],
		       order_names[site->order], order_names[order]);
		if (*model)
			printf("%s: %.*s\n", (*model)->name, (int)strcspn(result.error, "\n"),
			       result.error);
		else
			printf("holds\n");
		fflush(stdout);
	}
}

static unsigned add_sites(struct model_site *sites, unsigned count,
			  const struct model_result *result)
{
	for (unsigned i = 0; i < result->site_count; i++) {
		const struct model_site *site = &result->sites[i];
		unsigned j = 0;

		while (j < count && (strcmp(sites[j].name, site->name) ||
				     sites[j].op != site->op || sites[j].order != site->order))
			j++;
		if (j == count && count < MODEL_SITES_MAX)
			sites[count++] = *site;
	}
	return count;
}

void model_sweep(const struct model *const *models)
{
	static struct model_site sites[MODEL_SITES_MAX];
	unsigned count = 0;

	for (const struct model *const *model = models; *model; model++) {
		struct model_result result;

		model_explore(*model, NULL, &result);
		count = add_sites(sites, count, &result);
	}
	for (unsigned i = 0; i < count; i++)
		sweep_site(models, &sites[i]);
}
