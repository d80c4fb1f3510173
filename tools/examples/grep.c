/* SPDX-License-Identifier: MIT */
/*
 * grep.c - the lines of a file that have a word in them, numbered: a pipeline from the disk to the
 * terminal, in which nothing is read that was not asked for.
 *
 *	grep WORD FILE [MAX]	prints "N: LINE" for at most MAX lines, and how many there were
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir.h>

#define LINE_MAX 4096

struct search {
	const char *word, *path;
	uint64_t max;
	int64_t number;
};

/* Counts lines, and keeps the number of the last one. */
static bool has_word(struct weir_item line, void *arg)
{
	struct search *search = arg;

	search->number++;
	return strstr(line.text, search->word);
}

static int print(struct weir_item line, void *arg)
{
	struct search *search = arg;

	return printf("%lld: %s\n", (long long)search->number, line.text) < 0 ? -EIO : 0;
}

static int service(void *arg)
{
	struct search *search = arg;
	struct weir_stream *lines;
	struct weir_arena *arena;
	struct weir_file *file;
	ssize_t n;
	int r = weir_file_open(NULL, search->path, NULL, &file);

	if (r < 0)
		return r;
	r = weir_arena_create(&(struct weir_arena_opts){ .name = "grep", .size = 64 << 10 },
			      &arena);
	if (r == 0) {
		lines = weir_stream_file_lines(arena, file, LINE_MAX, 4);
		lines = weir_stream_take(weir_stream_filter(lines, has_word, search), search->max);
		n = weir_await(weir_stream_for_each(lines, print, search), WEIR_NEVER, NULL);
		r = n < 0 ? (int)n : 0;
		if (r == 0)
			printf("%zd lines\n", n);
	}
	weir_file_close(file);
	return r;
}

int main(int argc, char **argv)
{
	const struct weir_opts opts = { .cores = 1 };
	struct search search = { .max = UINT64_MAX };
	int r;

	if (argc < 3 || argc > 4 || (argc == 4 && !(search.max = strtoull(argv[3], NULL, 10)))) {
		fprintf(stderr, "usage: grep WORD FILE [MAX]\n");
		return 2;
	}
	search.word = argv[1];
	search.path = argv[2];
	r = weir_run(&opts, service, &search);
	if (r < 0)
		fprintf(stderr, "grep: %s: %s\n", search.path, strerror(-r));
	return r < 0;
}
