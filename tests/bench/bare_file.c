/* SPDX-License-Identifier: MIT */
/*
 * bare_file.c - the yardstick of files: file_bench.c's three works by hand, without weir,
 * with the same options and output.
 *
 *	direct	a ring with a registered file and registered buffers, D reads in flight
 *	cached	pread in a loop
 *	commit	D appends are gathered, then one pwrite and one fdatasync for all of them: faster
 *		here than the same two through the ring, which go to io-wq threads. --direct-log:
 *		one pwrite past the page cache, durable when it returns (O_DIRECT | O_DSYNC).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define DEPTH_MAX 4096

static struct {
	const char *work;
	const char *path;
	unsigned depth;
	double seconds;
	int64_t file_size;
	bool direct_log;
} opts = { .work = "cached", .depth = 1, .seconds = 2, .file_size = INT64_C(64) << 20 };

static uint64_t ops, groups;

static double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Block i begins with i. */
static int write_file(void)
{
	static char chunk[256][BLOCK];
	struct stat stat;
	int fd = open(opts.path, O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		return -1;
	if (!fstat(fd, &stat) && stat.st_size >= opts.file_size)
		return close(fd);
	for (int64_t offset = 0; offset < opts.file_size; offset += sizeof(chunk)) {
		for (int i = 0; i < 256; i++) {
			uint64_t number = (uint64_t)offset / BLOCK + (uint64_t)i;

			memcpy(chunk[i], &number, sizeof(number));
		}
		if (pwrite(fd, chunk, sizeof(chunk), offset) != sizeof(chunk))
			return -1;
	}
	fsync(fd);
	return close(fd);
}

/* --- direct --- */

static uint64_t wanted[DEPTH_MAX];

static void submit_read(struct io_uring *ring, char *bufs, unsigned i, uint64_t *state)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	wanted[i] = next_random(state) % ((uint64_t)opts.file_size / BLOCK);
	io_uring_prep_read_fixed(sqe, 0, bufs + (size_t)i * BLOCK, BLOCK, wanted[i] * BLOCK, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = i;
}

static int read_direct(double end)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN |
						   IORING_SETUP_SUBMIT_ALL };
	int fd = open(opts.path, O_RDONLY | O_DIRECT);
	char *bufs = aligned_alloc(BLOCK, (size_t)opts.depth * BLOCK);
	struct iovec iov = { bufs, (size_t)opts.depth * BLOCK };
	uint64_t state = 88172645463325252u;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	unsigned inflight = 0;

	if (fd < 0 || !bufs || io_uring_queue_init_params(DEPTH_MAX, &ring, &params) < 0 ||
	    io_uring_register_files(&ring, &fd, 1) < 0 ||
	    io_uring_register_buffers(&ring, &iov, 1) < 0)
		return -1;
	io_uring_register_ring_fd(&ring);
	for (; inflight < opts.depth; inflight++)
		submit_read(&ring, bufs, inflight, &state);
	while (inflight) {
		unsigned head, count = 0;
		bool more = seconds_now() < end;

		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			unsigned i = (unsigned)cqe->user_data;

			if (cqe->res != BLOCK || memcmp(bufs + (size_t)i * BLOCK, &wanted[i], 8))
				return -1;
			ops++;
			inflight--;
			if (more) {
				submit_read(&ring, bufs, i, &state);
				inflight++;
			}
			count++;
		}
		io_uring_cq_advance(&ring, count);
	}
	io_uring_queue_exit(&ring);
	return 0;
}

/* --- cached --- */

static int read_cached(double end)
{
	static char buf[BLOCK] __attribute__((aligned(BLOCK)));
	uint64_t state = 88172645463325252u, blocks = (uint64_t)opts.file_size / BLOCK;
	int fd = open(opts.path, O_RDONLY);

	if (fd < 0)
		return -1;
	while (ops & 63 || seconds_now() < end) {
		uint64_t block = next_random(&state) % blocks;

		if (pread(fd, buf, BLOCK, (off_t)(block * BLOCK)) != BLOCK ||
		    memcmp(buf, &block, sizeof(block)))
			return -1;
		ops++;
	}
	return close(fd);
}

/* --- commit --- */

static int append(double end)
{
	size_t size = (size_t)opts.depth * BLOCK;
	char *group = aligned_alloc(BLOCK, size);
	int how = opts.direct_log ? O_DIRECT | O_DSYNC : 0;
	int fd = open(opts.path, O_RDWR | O_CREAT | O_TRUNC | how, 0644);
	off_t at = 0;

	if (fd < 0 || !group)
		return -1;
	memset(group, 'a', size);
	while (seconds_now() < end) {
		if (pwrite(fd, group, size, at) != (ssize_t)size ||
		    (!opts.direct_log && fdatasync(fd)))
			return -1;
		at += (off_t)size;
		ops += opts.depth;
		groups++;
	}
	free(group);
	return close(fd);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "work", 1, NULL, 'w' },      { "path", 1, NULL, 'p' },
		{ "depth", 1, NULL, 'd' },     { "seconds", 1, NULL, 's' },
		{ "file-size", 1, NULL, 'f' }, { "direct-log", 0, NULL, 'D' },
		{ NULL, 0, NULL, 0 },
	};
	double start, cpu;
	int c, r = 0;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'w')
			opts.work = optarg;
		else if (c == 'p')
			opts.path = optarg;
		else if (c == 'd')
			opts.depth = (unsigned)atoi(optarg);
		else if (c == 's')
			opts.seconds = atof(optarg);
		else if (c == 'f')
			opts.file_size = atoll(optarg);
		else if (c == 'D')
			opts.direct_log = true;
		else
			return 2;
	}
	if (!opts.path || !opts.depth || opts.depth > DEPTH_MAX) {
		fprintf(stderr, "usage: bare_file --work direct|cached|commit --path FILE "
				"[--depth N] [--seconds S] [--file-size BYTES] "
				"[--direct-log]\n");
		return 2;
	}
	if (strcmp(opts.work, "commit"))
		r = write_file();
	start = seconds_now();
	cpu = cpu_seconds();
	if (!r && !strcmp(opts.work, "direct"))
		r = read_direct(start + opts.seconds);
	else if (!r && !strcmp(opts.work, "cached"))
		r = read_cached(start + opts.seconds);
	else if (!r)
		r = append(start + opts.seconds);
	if (r) {
		perror("bare_file");
		return 1;
	}
	start = seconds_now() - start;
	cpu = cpu_seconds() - cpu;
	printf("{\"bench\": \"file\", \"on\": \"bare\", \"work\": \"%s\", \"depth\": %u, "
	       "\"ops\": %llu, \"seconds\": %.3f, \"ops_per_s\": %.0f, \"cpu_us_per_op\": %.3f, "
	       "\"groups\": %llu}\n",
	       opts.work, opts.depth, (unsigned long long)ops, start, (double)ops / start,
	       cpu * 1e6 / (double)ops, (unsigned long long)groups);
	return 0;
}
