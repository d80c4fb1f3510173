/* SPDX-License-Identifier: MIT */
/*
 * test_cpus.c - how many workers a machine, a container or a CPU quota allows.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cpus.h"
#include "core/weir_runtime.h"

static void a_quota_is_rounded_up(void **state)
{
	assert_int_equal(weir__cpus_parse_max("100000 100000\n"), 1);
	assert_int_equal(weir__cpus_parse_max("150000 100000\n"), 2);
	assert_int_equal(weir__cpus_parse_max("1000 100000\n"), 1);
	assert_int_equal(weir__cpus_parse_max("400000 100000"), 4);
	assert_int_equal(weir__cpus_parse_cfs("250000\n", "100000\n"), 3);
}

static void no_quota_and_nonsense_limit_nothing(void **state)
{
	assert_int_equal(weir__cpus_parse_max("max 100000\n"), 0);
	assert_int_equal(weir__cpus_parse_max(""), 0);
	assert_int_equal(weir__cpus_parse_max("100000"), 0);
	assert_int_equal(weir__cpus_parse_max("100000 0\n"), 0);
	assert_int_equal(weir__cpus_parse_max("0 100000\n"), 0);
	assert_int_equal(weir__cpus_parse_max("-1 100000\n"), 0);
	assert_int_equal(weir__cpus_parse_max("99999999999999999999999999 1\n"), 0);
	assert_int_equal(weir__cpus_parse_max("18446744073709551615 18446744073709551615"), 0);
	assert_int_equal(weir__cpus_parse_cfs("-1\n", "100000\n"), 0);
	assert_int_equal(weir__cpus_parse_cfs("0\n", "100000\n"), 0);
	assert_int_equal(weir__cpus_parse_cfs("x", "y"), 0);
}

static void the_group_is_found_among_the_hierarchies(void **state)
{
	static const char both[] = "9:name=systemd:/x\n4:cpuacct:/acct\n"
				   "3:cpuset,cpu:/v1/mine\n0::/v2/mine\n";
	char path[64];

	assert_true(weir__cpus_parse_group(both, NULL, path, sizeof(path)));
	assert_string_equal(path, "/v2/mine");
	assert_true(weir__cpus_parse_group(both, "cpu", path, sizeof(path)));
	assert_string_equal(path, "/v1/mine");
	assert_true(weir__cpus_parse_group("0::/\n", NULL, path, sizeof(path)));
	assert_string_equal(path, "/");
	assert_false(weir__cpus_parse_group("0::/\n", "cpu", path, sizeof(path)));
	assert_false(weir__cpus_parse_group("", NULL, path, sizeof(path)));
	assert_false(weir__cpus_parse_group("nonsense\n::\n:\n", NULL, path, sizeof(path)));
	/* A path that does not fit is not cut short: that would be another group. */
	assert_false(weir__cpus_parse_group("0::/v2/mine\n", NULL, path, 8));
}

/* --- a file system of our own --- */

static char root[64];

static void put(const char *path, const char *text)
{
	char full[256];
	char *slash;
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_root(void **state)
{
	strcpy(root, "/tmp/weir-cpus-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void the_strictest_group_above_the_process_decides(void **state)
{
	put("/proc/self/cgroup", "0::/pod/box\n");
	assert_int_equal(weir__cpus_quota(root), 0);
	put("/sys/fs/cgroup/pod/box/cpu.max", "800000 100000\n");
	assert_int_equal(weir__cpus_quota(root), 8);
	put("/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
	assert_int_equal(weir__cpus_quota(root), 3);
	put("/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
	assert_int_equal(weir__cpus_quota(root), 3);
}

static void a_container_finds_its_quota_at_the_mount(void **state)
{
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
	assert_int_equal(weir__cpus_quota(root), 1);
}

static void groups_of_version_one_limit_too(void **state)
{
	put("/proc/self/cgroup", "2:cpu,cpuacct:/docker/x\n");
	put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
	assert_int_equal(weir__cpus_quota(root), 0);
	put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	assert_int_equal(weir__cpus_quota(root), 2);
}

static void the_affinity_mask_is_respected(void **state)
{
	int cpus[WEIR__CPUS_MAX];
	unsigned count = weir__cpus_list(cpus, WEIR__CPUS_MAX);
	cpu_set_t before, one;

	assert_true(count >= 1);
	assert_true(weir_cpus() >= 1 && weir_cpus() <= count);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET(cpus[count - 1], &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(weir_cpus(), 1);
	assert_int_equal(weir__cpus_list(cpus + count, 1), 1);
	assert_int_equal(cpus[count], cpus[count - 1]);
	sched_setaffinity(0, sizeof(before), &before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quota_is_rounded_up),
		cmocka_unit_test(no_quota_and_nonsense_limit_nothing),
		cmocka_unit_test(the_group_is_found_among_the_hierarchies),
		TEST(the_strictest_group_above_the_process_decides),
		TEST(a_container_finds_its_quota_at_the_mount),
		TEST(groups_of_version_one_limit_too),
		cmocka_unit_test(the_affinity_mask_is_respected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
