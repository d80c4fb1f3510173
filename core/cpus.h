/* SPDX-License-Identifier: MIT */
/*
 * cpus.h - how many CPUs the process may use, and which: its affinity mask, and what the
 * control groups above it grant. A container with half a CPU on a machine of 64 gets one
 * worker and not 64 that wait for each other's quota.
 */
#ifndef WEIR_CORE_CPUS_H
#define WEIR_CORE_CPUS_H

#include "core/weir_core.h"

#define WEIR__CPUS_MAX 1024

/*
 * The CPUs of the calling thread's affinity mask in cpus, lowest first, at most max.
 * Returns how many, at least 1 (CPU 0 when the mask cannot be read).
 */
unsigned weir__cpus_list(int *cpus, unsigned max);

/*
 * CPUs that the control groups of this process grant, rounded up; 0: no limit. root stands for
 * "/" (tests give a directory of files). Groups of version 2 and 1, the strictest of the
 * process's own group and all above it.
 * Sources: Documentation/admin-guide/cgroup-v2.rst, cpu.max; scheduler/sched-bwc.rst.
 */
unsigned weir__cpus_quota(const char *root);

/* "max 100000" or "150000 100000" (cpu.max): 0 or 2; 0 for what is neither. */
unsigned weir__cpus_parse_max(const char *text);

/* cpu.cfs_quota_us and cpu.cfs_period_us: "-1" is no limit. */
unsigned weir__cpus_parse_cfs(const char *quota, const char *period);

/*
 * The group of this process in the hierarchy of controller ("cpu"; NULL: version 2), from the
 * text of /proc/self/cgroup, into path. Returns whether there is one and it fits.
 */
bool weir__cpus_parse_group(const char *text, const char *controller, char *path, size_t size);

#endif
