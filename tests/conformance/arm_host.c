/* SPDX-License-Identifier: MIT */
/*
 * arm_host.c - the arms that work on this host: its own io_uring, and the poll kernel. Each run
 * has an empty directory in TMPDIR.
 */
#define _XOPEN_SOURCE 700

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/conformance/arm.h"

#define WAIT_NS (3 * WEIR_S)

static struct rlimit fds_limit;

static int limit_fds(unsigned room)
{
	struct rlimit limit = fds_limit;
	int lowest = dup(STDERR_FILENO);

	if (lowest < 0)
		return -errno;
	close(lowest);
	limit.rlim_cur = (rlim_t)lowest + room;
	return setrlimit(RLIMIT_NOFILE, &limit) ? -errno : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* 600 + 12 for 6.12 */
static unsigned kernel_version(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return 0;
	return major * 100 + minor;
}

static void run_on(struct weir_kernel *kernel, const struct cf_case *test, unsigned round,
		   struct cf_result *ret)
{
	const char *tmp = getenv("TMPDIR");
	char dir[128];
	struct cf *c = calloc(1, sizeof(*c));

	snprintf(dir, sizeof(dir), "%s/weir-conform-XXXXXX", tmp ? tmp : "/tmp");
	memset(ret, 0, sizeof(*ret));
	if (!c || !mkdtemp(dir)) {
		snprintf(ret->text, sizeof(ret->text), "BROKEN: no directory");
		free(c);
		return;
	}
	getrlimit(RLIMIT_NOFILE, &fds_limit);
	c->kernel = kernel;
	c->test = test;
	c->dir = dir;
	c->setup_flags = cf_setup_flags(test, round);
	c->wait_ns = WAIT_NS;
	c->limit_fds = limit_fds;
	cf_run(c);
	memcpy(ret->text, c->text, sizeof(ret->text));
	ret->skipped = c->skipped;
	setrlimit(RLIMIT_NOFILE, &fds_limit);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(c);
}

static void run_uring(const struct cf_case *test, unsigned round, struct cf_result *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (test->since > kernel_version())
		ret->skipped = "this kernel is older than that";
	else
		run_on(weir__kernel_uring(), test, round, ret);
}

static void run_poll(const struct cf_case *test, unsigned round, struct cf_result *ret)
{
	run_on(weir__kernel_poll(), test, round, ret);
}

const struct cf_arm cf_arm_uring = {
	.name = "uring",
	.on = CF_ON_URING,
	.rounds = 6,
	.run = run_uring,
};

const struct cf_arm cf_arm_poll = {
	.name = "poll",
	.on = CF_ON_POLL,
	.rounds = 6,
	.run = run_poll,
};
