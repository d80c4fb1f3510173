/* SPDX-License-Identifier: MIT */
/*
 * file_bench.c - files on weir, one core: random O_DIRECT reads, cached reads, durable appends.
 * bare_file.c is the same without weir, with the same options and output.
 *
 *	file_bench --work direct --depth 32 --path FILE		D coroutines, 4 KiB random reads
 *	file_bench --work cached --path FILE			one coroutine, 4 KiB random reads
 *	file_bench --work commit --depth 16 --path FILE		16 writers, 4 KiB durable appends
 *
 * The log of `commit` may be opened for O_DIRECT (--direct-log), or lie over blocks that were
 * written before (--recycled). --no-spin sleeps at once when idle.
 *
 * One line of JSON: what was done, how much of it, and the process's CPU time for it. What
 * was read is checked against what was written there, and the log's length against its appends.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir_commit.h"
#include "weir_core.h"
#include "weir_coro.h"
#include "weir_file.h"
#include "weir_ring.h"
#include "weir_run.h"

#define BLOCK 4096
#define DEPTH_MAX 4096

static struct {
	const char *work;
	const char *path;
	unsigned depth;
	int64_t ns;
	int64_t file_size;
	bool direct_log;
	bool recycled;
} opts = { .work = "cached", .depth = 1, .ns = 2 * WEIR_S, .file_size = INT64_C(64) << 20 };

static struct weir_file *file;
static struct weir_commit *commit_log;
static int64_t end_ns;
static uint64_t ops, groups;
static int failed;

static double seconds_now(void)
{
	return (double)weir_clock() / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Block i begins with i. */
static int write_file(void)
{
	static char chunk[256][BLOCK];
	struct stat stat;
	int fd = open(opts.path, O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &stat) && stat.st_size >= opts.file_size)
		return close(fd);
	for (int64_t offset = 0; offset < opts.file_size; offset += sizeof(chunk)) {
		for (int i = 0; i < 256; i++) {
			uint64_t number = (uint64_t)offset / BLOCK + (uint64_t)i;

			memcpy(chunk[i], &number, sizeof(number));
		}
		if (pwrite(fd, chunk, sizeof(chunk), offset) != sizeof(chunk)) {
			close(fd);
			return -ENOSPC;
		}
	}
	fsync(fd);
	return close(fd);
}

/* xorshift64: what is random here must not cost. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int read_blocks(void *arg)
{
	uint64_t blocks = (uint64_t)opts.file_size / BLOCK;
	uint64_t state = 88172645463325252u + (uintptr_t)arg * 977;
	char *buf = weir_aligned_alloc(BLOCK);
	uint64_t count = 0;

	while (buf && (count & 63 || weir_clock() < end_ns)) {
		uint64_t block = next_random(&state) % blocks;
		ssize_t n = weir_file_read(file, buf, BLOCK, (int64_t)block * BLOCK);

		if (n != BLOCK || memcmp(buf, &block, sizeof(block))) {
			failed = n < 0 ? (int)n : -EIO;
			break;
		}
		count++;
	}
	weir_aligned_free(buf, BLOCK);
	ops += count;
	return 0;
}

static int append_blocks(void *arg)
{
	static char block[BLOCK];

	(void)arg;
	while (weir_clock() < end_ns && !failed) {
		int r = weir_commit_append(commit_log, block, sizeof(block), NULL);

		if (r < 0)
			failed = r;
		else
			ops++;
	}
	return 0;
}

static int run_coroutines(weir_coro_fn fn)
{
	static struct weir_coro *coros[DEPTH_MAX];
	unsigned count = 0;
	int r = 0;

	end_ns = weir_in(opts.ns);
	while (!r && count < opts.depth) {
		r = weir_coro_spawn(NULL, fn, (void *)(uintptr_t)count, &coros[count]);
		count += !r;
	}
	while (count)
		weir_coro_join(coros[--count], WEIR_NEVER, NULL);
	return r ? r : failed;
}

static int run_commit(void)
{
	struct weir_open_opts open_opts = {
		.flags = O_RDWR | O_CREAT | (opts.recycled ? 0 : O_TRUNC),
		.direct = opts.direct_log,
	};
	struct weir_commit_info info;
	struct weir_stat stat;
	int r = weir_file_open(NULL, opts.path, &open_opts, &file);

	if (r < 0)
		return r;
	r = weir_commit_create(file, 0, NULL, &commit_log);
	if (!r) {
		r = run_coroutines(append_blocks);
		weir_commit_info(commit_log, &info);
		groups = info.groups;
		weir_commit_destroy(commit_log);
	}
	if (!r)
		r = weir_file_stat(file, &stat);
	if (!r && (opts.recycled ? stat.size < ops * BLOCK : stat.size != ops * BLOCK))
		r = -EPROTO;
	weir_file_close(file);
	return r;
}

static int run_reads(bool direct)
{
	struct weir_open_opts open_opts = { .direct = direct };
	int r = weir_file_open(NULL, opts.path, &open_opts, &file);

	if (r < 0)
		return r;
	r = run_coroutines(read_blocks);
	weir_file_close(file);
	return r;
}

static int service(void *arg)
{
	double start = seconds_now(), cpu = cpu_seconds();
	struct weir_ring_info info;
	int r;

	(void)arg;
	if (!strcmp(opts.work, "commit"))
		r = run_commit();
	else
		r = run_reads(!strcmp(opts.work, "direct"));
	if (r < 0)
		return r;
	start = seconds_now() - start;
	cpu = cpu_seconds() - cpu;
	weir_ring_info(&info);
	printf("{\"bench\": \"file\", \"on\": \"weir\", \"work\": \"%s\", \"depth\": %u, "
	       "\"ops\": %llu, \"seconds\": %.3f, \"ops_per_s\": %.0f, \"cpu_us_per_op\": %.3f, "
	       "\"groups\": %llu, \"enters\": %llu}\n",
	       opts.work, opts.depth, (unsigned long long)ops, start, (double)ops / start,
	       cpu * 1e6 / (double)ops, (unsigned long long)groups,
	       (unsigned long long)info.enters);
	return 0;
}

static int usage(void)
{
	fputs("usage: file_bench --work direct|cached|commit --path FILE [--depth N]\n"
	      "                  [--seconds S] [--file-size BYTES] [--no-spin]\n"
	      "                  [--direct-log] [--recycled]\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "work", required_argument, NULL, 'w' },
		{ "path", required_argument, NULL, 'p' },
		{ "depth", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 's' },
		{ "file-size", required_argument, NULL, 'f' },
		{ "direct-log", no_argument, NULL, 'l' },
		{ "recycled", no_argument, NULL, 'r' },
		{ "no-spin", no_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	struct weir_opts run_opts = { .cores = 1 };
	int c, r = 0;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'w':
			opts.work = optarg;
			break;
		case 'p':
			opts.path = optarg;
			break;
		case 'd':
			opts.depth = (unsigned)atoi(optarg);
			break;
		case 's':
			opts.ns = (int64_t)(atof(optarg) * 1e9);
			break;
		case 'f':
			opts.file_size = atoll(optarg);
			break;
		case 'l':
			opts.direct_log = true;
			break;
		case 'r':
			opts.recycled = true;
			break;
		case 'n':
			run_opts.spin_ns = -1;
			break;
		default:
			return usage();
		}
	}
	if (!opts.path || !opts.depth || opts.depth > DEPTH_MAX || opts.file_size < BLOCK)
		return usage();
	if (strcmp(opts.work, "commit") || opts.recycled)
		r = write_file();
	if (!r)
		r = weir_run(&run_opts, service, NULL);
	if (r < 0)
		fprintf(stderr, "file_bench: %s: %s\n", opts.path, strerror(-r));
	return r ? 1 : 0;
}
