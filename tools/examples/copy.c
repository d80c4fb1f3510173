/* SPDX-License-Identifier: MIT */
/*
 * copy.c - copies a file, eight pieces at a time, and ends when the copy is on the disk.
 *
 *	copy FROM TO
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <weir.h>

#define COROS 8
#define PIECE (256 << 10)

struct copy {
	const char *from, *to;
	struct weir_file *in, *out;
	int64_t next, size;
};

/* Takes the next piece until none is left. Coroutines of one core need no lock. */
static int copy_pieces(void *arg)
{
	struct copy *copy = arg;
	char *buf = weir_aligned_alloc(PIECE);
	int r = buf ? 0 : -ENOMEM;

	while (!r && copy->next < copy->size) {
		int64_t at = copy->next;
		size_t size = copy->size - at < PIECE ? (size_t)(copy->size - at) : PIECE;

		copy->next += PIECE;
		r = weir_file_read_exact(copy->in, buf, size, at);
		if (!r)
			r = weir_file_write_all(copy->out, buf, size, at);
	}
	weir_aligned_free(buf, PIECE);
	return r;
}

static int copy_all(struct copy *copy)
{
	struct weir_coro *coros[COROS];
	int count = 0, r = 0, piece_r;

	while (!r && count < COROS) {
		r = weir_coro_spawn(NULL, copy_pieces, copy, &coros[count]);
		count += !r;
	}
	while (count) {
		weir_coro_join(coros[--count], WEIR_NEVER, &piece_r);
		r = r ? r : piece_r;
	}
	return r ? r : weir_file_sync(copy->out);
}

static int service(void *arg)
{
	struct copy *copy = arg;
	struct weir_open_opts create = { .flags = O_WRONLY | O_CREAT | O_TRUNC };
	struct weir_stat stat = { 0 };
	int r = weir_file_open(NULL, copy->from, NULL, &copy->in);

	if (!r)
		r = weir_file_stat(copy->in, &stat);
	copy->size = (int64_t)stat.size;
	create.mode = stat.mode & 0777;
	if (!r)
		r = weir_file_open(NULL, copy->to, &create, &copy->out);
	if (!r)
		r = copy_all(copy);
	weir_file_close(copy->out);
	weir_file_close(copy->in);
	return r;
}

int main(int argc, char **argv)
{
	struct weir_opts opts = { .cores = 1 };
	struct copy copy = { 0 };
	int r;

	if (argc != 3) {
		fputs("usage: copy FROM TO\n", stderr);
		return 2;
	}
	copy.from = argv[1];
	copy.to = argv[2];
	r = weir_run(&opts, service, &copy);
	if (r < 0)
		fprintf(stderr, "copy: %s to %s: %s\n", copy.from, copy.to, strerror(-r));
	return r < 0;
}
