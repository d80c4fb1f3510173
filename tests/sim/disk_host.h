/* SPDX-License-Identifier: MIT */
/*
 * disk_host.h - a bare host (bare_host.h) that has to do with its disk: operations on files, one
 * after the other, and worlds in which the host dies and comes back.
 */
#ifndef WEIR_TESTS_DISK_HOST_H
#define WEIR_TESTS_DISK_HOST_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "tests/sim/bare_host.h"

#define CHECK(x) weir_sim_check(x, #x)
/* With what was seen instead. */
#define EQUAL(a, b)                                                                                \
	do {                                                                                       \
		long long seen_ = (long long)(a);                                                  \
		weir_sim_checkf(seen_ == (long long)(b), #a, "line %d: %lld, not %s", __LINE__,    \
				seen_, #b);                                                        \
	} while (0)

/* --- operations: results, or -errno --- */

static inline int disk_open(const char *path, int flags)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_openat(sqe, AT_FDCWD, path, flags, 0644);
	return bare_do(sqe).res;
}

/* offset -1: the file's position. */
static inline int disk_write_with(int fd, const void *data, unsigned size, int64_t offset,
				  int flags)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_write(sqe, fd, data, size, (uint64_t)offset);
	sqe->rw_flags = flags;
	return bare_do(sqe).res;
}

static inline int disk_write(int fd, const void *data, unsigned size, int64_t offset)
{
	return disk_write_with(fd, data, size, offset, 0);
}

static inline int disk_read(int fd, void *data, unsigned size, int64_t offset)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_read(sqe, fd, data, size, (uint64_t)offset);
	return bare_do(sqe).res;
}

static inline int disk_fsync(int fd)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_fsync(sqe, fd, 0);
	return bare_do(sqe).res;
}

static inline int disk_truncate(int fd, int64_t size)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_ftruncate(sqe, fd, size);
	return bare_do(sqe).res;
}

static inline int disk_fallocate(int fd, int mode, uint64_t offset, uint64_t size)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_fallocate(sqe, fd, mode, offset, size);
	return bare_do(sqe).res;
}

static inline int disk_rename(const char *from, const char *to)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_renameat(sqe, AT_FDCWD, from, AT_FDCWD, to, 0);
	return bare_do(sqe).res;
}

static inline int disk_unlink(const char *path, int flags)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_unlinkat(sqe, AT_FDCWD, path, flags);
	return bare_do(sqe).res;
}

static inline int disk_mkdir(const char *path)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_mkdirat(sqe, AT_FDCWD, path, 0755);
	return bare_do(sqe).res;
}

static inline int disk_statx(const char *path, struct statx *ret)
{
	struct io_uring_sqe *sqe = bare_sqe();

	io_uring_prep_statx(sqe, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, ret);
	return bare_do(sqe).res;
}

static inline bool disk_has(const char *path)
{
	struct statx st;

	return disk_statx(path, &st) == 0;
}

static inline int64_t disk_size_of(const char *path)
{
	struct statx st;
	int r = disk_statx(path, &st);

	return r < 0 ? r : (int64_t)st.stx_size;
}

/* --- several at once --- */

/* A directory, or a file. */
static inline void disk_sync(const char *path)
{
	int fd = disk_open(path, O_RDONLY);

	CHECK(fd >= 0);
	EQUAL(disk_fsync(fd), 0);
	bare_close(fd);
}

static inline void disk_put(const char *path, const char *text)
{
	int fd = disk_open(path, O_WRONLY | O_CREAT | O_TRUNC);

	CHECK(fd >= 0);
	EQUAL(disk_write(fd, text, (unsigned)strlen(text), 0), (int)strlen(text));
	bare_close(fd);
}

static inline void disk_put_safe(const char *path, const char *text)
{
	disk_put(path, text);
	disk_sync(path);
	disk_sync("/");
}

static inline bool disk_is(const char *path, const char *text)
{
	char is[256];
	int fd = disk_open(path, O_RDONLY);
	int size;

	if (fd < 0)
		return false;
	size = disk_read(fd, is, sizeof(is), 0);
	bare_close(fd);
	return size == (int)strlen(text) && !memcmp(is, text, strlen(text));
}

/* --- worlds --- */

static struct weir_sim_report disk_report;
static struct weir_sim_host_opts disk_opts;
static void (*disk_body)(unsigned life);
static unsigned disk_life, disk_ended;

/* Does not return. */
static inline void disk_cut_power(void)
{
	weir_sim_power_cut(weir_sim_self());
	bare_sleep(WEIR_S);
}

static inline void disk_die(void)
{
	weir_sim_kill(weir_sim_self());
	bare_sleep(WEIR_S);
}

static inline int disk_main(void *arg)
{
	(void)arg;
	bare_begin();
	disk_body(++disk_life);
	bare_end();
	disk_ended++;
	return 0;
}

static inline int disk_build(struct weir_sim *sim, void *arg)
{
	(void)arg;
	disk_opts.restarts = true;
	return weir_sim_host(sim, "server", &disk_opts, disk_main, NULL) ? 0 : -ENOMEM;
}

/* The result of a world with one host; its main runs again when it died. */
static inline int disk_play_with(void (*body)(unsigned life), const struct weir_sim_opts *opts)
{
	struct weir_sim_scenario scenario = { .name = "disk",
					      .build = disk_build,
					      .faults = WEIR_SIM_ALL,
					      .faults_ns = 10 * 3600 * WEIR_S };

	disk_body = body;
	disk_life = disk_ended = 0;
	if (weir_sim_run(&scenario, opts, &disk_report))
		fprintf(stderr, "seed %llu: %s: %s\n", (unsigned long long)opts->seed,
			disk_report.failed, disk_report.message);
	return disk_report.result ? disk_report.result : disk_ended == 1 ? 0 : -ECHILD;
}

static inline int disk_play_seed(void (*body)(unsigned life), uint64_t seed)
{
	return disk_play_with(body, &(struct weir_sim_opts){ .seed = seed, .faults_given = true });
}

static inline int disk_play(void (*body)(unsigned life))
{
	return disk_play_seed(body, 3);
}

/* Over seeds 1 to count. */
static inline int disk_play_many(void (*body)(unsigned life), unsigned count)
{
	int r = 0;

	for (uint64_t seed = 1; !r && seed <= count; seed++)
		r = disk_play_seed(body, seed);
	return r;
}

#endif
