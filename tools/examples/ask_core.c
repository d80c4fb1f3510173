/* SPDX-License-Identifier: MIT */
/*
 * ask_core.c - core 0 asks every core for its part of a sum and adds up the answers.
 *
 *	ask_core		prints "core N: S" for each core, and the total
 */
#include <stdio.h>
#include <string.h>

#include <weir.h>

#define NUMBERS 1000000

/* Runs on the core that was asked: no lock, nothing shared. */
static int add_part(void *arg)
{
	long *sum = arg;

	for (long i = weir_core(); i < NUMBERS; i += (long)weir_core_count())
		*sum += i;
	return weir_core();
}

static int service(void *arg)
{
	long total = 0;

	(void)arg;
	if (weir_core() != 0)
		return 0;
	for (unsigned core = 0; core < weir_core_count(); core++) {
		long sum = 0;
		int answered;
		int r = weir_call(core, add_part, &sum, weir_in(WEIR_S), &answered);

		if (r < 0)
			return r;
		printf("core %d: %ld\n", answered, sum);
		total += sum;
	}
	printf("total: %ld\n", total);
	return 0;
}

int main(void)
{
	int r = weir_run(NULL, service, NULL);

	if (r < 0)
		fprintf(stderr, "ask_core: %s\n", strerror(-r));
	return r < 0;
}
