/* SPDX-License-Identifier: MIT */
/*
 * files_fixture.h - each test of files in a directory of its own, in a coroutine, on the real
 * kernel or on a bent one.
 */
#ifndef WEIR_TESTS_RING_FILES_FIXTURE_H
#define WEIR_TESTS_RING_FILES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/files.h"
#include "tests/support/bent_kernel.h"
#include "tests/support/ring_fixture.h"

static char root_path[64];
static struct bent bent;

static inline int make_root(void **state)
{
	(void)state;
	strcpy(root_path, "/tmp/weir-test-files-XXXXXX");
	return mkdtemp(root_path) ? 0 : -1;
}

static inline int remove_root(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root_path);
	return system(command);
}

/* The path of name in the test's directory. The last two stay valid. */
static inline const char *in_root(const char *name)
{
	static char path[2][128];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", root_path, name);
	return path[turn];
}

static inline void touch(const char *name)
{
	int fd = open(in_root(name), O_CREAT | O_WRONLY, 0644);

	assert_true(fd >= 0);
	close(fd);
}

static inline unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static inline struct weir_file *open_with(const char *name, int flags, bool direct)
{
	const struct weir_open_opts opts = { .flags = flags, .direct = direct };
	struct weir_file *file;

	assert_int_equal(weir_file_open(NULL, in_root(name), &opts, &file), 0);
	return file;
}

static inline struct weir_file *open_new(const char *name)
{
	return open_with(name, O_RDWR | O_CREAT, false);
}

static inline struct weir_file *open_fifo(void)
{
	assert_int_equal(mkfifo(in_root("fifo"), 0600), 0);
	return open_with("fifo", O_RDWR, false);
}

static inline struct weir_files_info files_info(void)
{
	struct weir_files_info info;

	assert_int_equal(weir_files_info(&info), 0);
	return info;
}

/* Runs the body in *state on a bent kernel. */
static inline void on_bent(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();
	void (*body)(void) = (void (*)(void))(uintptr_t)*state;

	bent_init(&bent);
	fixture.ring.kernel = &bent.kernel;
	assert_int_equal(on_ring_with(&fixture, ring_test_body, &body), 0);
}

/* Entries of cmocka's table. */
#define in_dir_by(body, run)                                                                      \
	{                                                                                         \
		.name = #body, .test_func = run, .setup_func = make_root,                         \
		.teardown_func = remove_root, .initial_state = (void *)(uintptr_t)(body),         \
	}
#define in_dir(body) in_dir_by(body, ring_test_run)
#define bent_in_dir(body) in_dir_by(body, on_bent)
#define without_worker(body) cmocka_unit_test_setup_teardown(body, make_root, remove_root)

#endif
