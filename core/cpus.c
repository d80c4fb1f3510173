/* SPDX-License-Identifier: MIT */
/*
 * cpus.c - affinity by sched_getaffinity(2), quotas by reading the control group files.
 * A file that is not there or says nonsense limits nothing.
 */
#include "core/cpus.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/weir_runtime.h"
#include "core/world.h"

#define PATH_SIZE 4096
#define TEXT_SIZE 4096

unsigned weir__cpus_list(int *cpus, unsigned max)
{
	cpu_set_t set;
	unsigned count = 0;
	int cpu;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		CPU_ZERO(&set);
	for (cpu = 0; cpu < CPU_SETSIZE && count < max; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[count++] = cpu;
	if (!count)
		cpus[count++] = 0;
	return count;
}

/* --- what the files say --- */

static unsigned round_up(unsigned long long quota, unsigned long long period)
{
	unsigned long long cpus;

	if (!quota || !period || quota > 1ull << 60)
		return 0;
	cpus = (quota + period - 1) / period;
	return cpus > WEIR__CPUS_MAX ? 0 : (unsigned)cpus;
}

/* A decimal number at text, what follows it in *ret_end; 0 when there is none. */
static unsigned long long number(const char *text, const char **ret_end)
{
	char *end = NULL;
	unsigned long long value = 0;

	if (*text >= '0' && *text <= '9')
		value = strtoull(text, &end, 10);
	*ret_end = end ? end : text;
	return value;
}

unsigned weir__cpus_parse_max(const char *text)
{
	const char *rest;
	unsigned long long quota = number(text, &rest);

	if (rest == text || *rest != ' ')
		return 0;
	return round_up(quota, number(rest + 1, &rest));
}

unsigned weir__cpus_parse_cfs(const char *quota, const char *period)
{
	const char *rest;

	return round_up(number(quota, &rest), number(period, &rest));
}

/* Whether the comma-separated list [list, end) has name. */
static bool list_has(const char *list, const char *end, const char *name)
{
	size_t size = strlen(name);

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *stop = comma ? comma : end;

		if ((size_t)(stop - list) == size && !memcmp(list, name, size))
			return true;
		list = stop + 1;
	}
	return false;
}

bool weir__cpus_parse_group(const char *text, const char *controller, char *path, size_t size)
{
	/* Lines of "number:controllers:path"; version 2 has number 0 and no controllers. */
	while (*text) {
		const char *end = strchrnul(text, '\n');
		const char *list = memchr(text, ':', (size_t)(end - text));
		const char *colon = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;

		if (colon && (controller ? list_has(list + 1, colon, controller)
					 : colon == list + 1)) {
			size_t length = (size_t)(end - colon - 1);

			if (!length || colon[1] != '/' || length >= size)
				return false;
			memcpy(path, colon + 1, length);
			path[length] = '\0';
			return true;
		}
		text = *end ? end + 1 : end;
	}
	return false;
}

/* --- reading them --- */

/* Returns whether path could be read; text is terminated. */
static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count;

	if (fd < 0)
		return false;
	count = read(fd, text, size - 1);
	close(fd);
	if (count <= 0)
		return false;
	text[count] = '\0';
	return true;
}

static bool read_at(const char *root, const char *mount, const char *group, const char *file,
		    char text[TEXT_SIZE])
{
	char path[PATH_SIZE];
	int length = snprintf(path, sizeof(path), "%s%s%s/%s", root, mount, group, file);

	return length > 0 && length < (int)sizeof(path) && read_text(path, text, TEXT_SIZE);
}

static unsigned quota_at(const char *root, const char *group, bool v1)
{
	char quota[TEXT_SIZE];
	char period[TEXT_SIZE];

	if (!v1)
		return read_at(root, "/sys/fs/cgroup", group, "cpu.max", quota)
			       ? weir__cpus_parse_max(quota) : 0;
	if (!read_at(root, "/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us", quota) ||
	    !read_at(root, "/sys/fs/cgroup/cpu", group, "cpu.cfs_period_us", period))
		return 0;
	return weir__cpus_parse_cfs(quota, period);
}

static unsigned stricter(unsigned a, unsigned b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

/* The strictest of group and all above it; shortens group to "". */
static unsigned quota_of(const char *root, char *group, bool v1)
{
	unsigned quota = 0;

	for (;;) {
		char *slash = strrchr(group, '/');

		/* "/" itself: the mount's own directory, where a container finds its group. */
		if (slash && !slash[1])
			*slash = '\0';
		quota = stricter(quota, quota_at(root, group, v1));
		slash = strrchr(group, '/');
		if (!slash)
			return quota;
		*slash = '\0';
	}
}

unsigned weir__cpus_quota(const char *root)
{
	char text[TEXT_SIZE];
	char group[TEXT_SIZE];
	unsigned quota = 0;

	if (!read_at(root, "/proc/self", "", "cgroup", text))
		return 0;
	if (weir__cpus_parse_group(text, NULL, group, sizeof(group)))
		quota = quota_of(root, group, false);
	if (weir__cpus_parse_group(text, "cpu", group, sizeof(group)))
		quota = stricter(quota, quota_of(root, group, true));
	return quota;
}

unsigned weir_cpus(void)
{
	int cpus[WEIR__CPUS_MAX];
	unsigned count;

	if (weir__world)
		return weir__world->cpus;
	count = weir__cpus_list(cpus, WEIR__CPUS_MAX);
	return stricter(count, weir__cpus_quota(""));
}
