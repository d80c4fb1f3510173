/* SPDX-License-Identifier: MIT */
/*
 * version.c - the version as a function, so that a program can tell what it runs with
 * from what it was compiled with. WEIR_VERSION comes from the build.
 */
#include "core/weir_core.h"

const char *weir_version(void)
{
	return WEIR_VERSION;
}
