/* SPDX-License-Identifier: MIT */
/*
 * host_kernel.h - the kernel interface that the tests run on: what weir_run() would choose,
 * so WEIR_KERNEL=poll in the environment runs every test on the poll kernel.
 */
#ifndef WEIR_TESTS_HOST_KERNEL_H
#define WEIR_TESTS_HOST_KERNEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/choose.h"

/* Ends the program with 77 and the reason where WEIR_KERNEL names what the host refuses. */
static inline struct weir_kernel *host_kernel(void)
{
	static struct weir_kernel *kernel;
	struct weir_opts opts = { .kernel = NULL };
	struct weir_kernel_info info;

	if (kernel)
		return kernel;
	if (weir_opts_resolve(&opts, NULL) < 0 ||
	    weir__kernel_choose(opts.kernel, &kernel, &info) < 0) {
		fprintf(stderr, "skipped: %s is refused here\n", opts.kernel);
		exit(77);
	}
	return kernel;
}

/* For what only one of the interfaces has. */
static inline bool host_kernel_is(const char *name)
{
	return !strcmp(host_kernel()->ops->name, name);
}

#endif
