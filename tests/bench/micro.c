/* SPDX-License-Identifier: MIT */
/*
 * micro.c - the small numbers: nanoseconds of what everything else is made of. One JSON line
 * each, for tools/compare; with arguments only the parts they name.
 *
 *	{"name":"coroutine: switch","ns":1.02,"target_ns":3}
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/micro.h"

/* One topic each; a new one is a line here and a prototype in micro.h. */
static const struct {
	const char *name;
	int (*run)(micro_report_fn report);
} parts[] = {
	{ "across", micro_across },
	{ "chan", micro_chan },
	{ "coro", micro_coro },
	{ "future", micro_future },
	{ "mesh", micro_mesh },
	{ "pool", micro_pool },
	{ "process", micro_process },
	{ "seam", micro_seam },
	{ "sim", micro_sim },
	{ "stream", micro_stream },
	{ "timer", micro_timer },
};

#define PART_COUNT (sizeof(parts) / sizeof(parts[0]))

static void report(const char *name, double ns, double target_ns)
{
	if (target_ns > 0)
		printf("{\"name\":\"%s\",\"ns\":%.2f,\"target_ns\":%g}\n", name, ns, target_ns);
	else
		printf("{\"name\":\"%s\",\"ns\":%.2f}\n", name, ns);
	fflush(stdout);
}

static int usage(void)
{
	fprintf(stderr, "usage: micro [PART]...; parts:");
	for (size_t i = 0; i < PART_COUNT; i++)
		fprintf(stderr, " %s", parts[i].name);
	fprintf(stderr, "\n");
	return 2;
}

static bool is_asked_for(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	size_t count = 0;

	for (size_t i = 0; i < PART_COUNT; i++) {
		int r;

		if (!is_asked_for(parts[i].name, argc, argv))
			continue;
		count++;
		r = parts[i].run(report);
		if (r < 0) {
			fprintf(stderr, "micro: %s: %s\n", parts[i].name, strerror(-r));
			return 1;
		}
	}
	return count ? 0 : usage();
}
