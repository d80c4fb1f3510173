/* SPDX-License-Identifier: MIT */
/*
 * plant.c - which planted bug is active; only in builds that have some.
 */
#include "core/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned weir__plant;

static const char *const names[] = {
	"NONE",
#define NAME(name) #name,
	WEIR__PLANTS(NAME)
#undef NAME
};

static __attribute__((constructor)) void choose(void)
{
	const char *name = getenv("WEIR_PLANT");

	if (!name)
		return;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name)) {
			weir__plant = i;
			return;
		}
	fprintf(stderr, "weir: WEIR_PLANT: there is no planted bug '%s'\n", name);
	exit(2);
}
