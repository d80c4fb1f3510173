/* SPDX-License-Identifier: MIT */
/*
 * test_stream_file.c - streams of real files, to real files, and across cores.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_future.h"
#include "futures/weir_stream_from.h"
#include "futures/weir_stream_ops.h"
#include "futures/weir_stream_to.h"
#include "ring/weir_file.h"
#include "ring/weir_run.h"
#include "tests/support/ring_fixture.h"

static struct weir_arena *arena;
static struct weir_file *file;
static char path[64];

static void open_file(const char *content, size_t size)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT | O_TRUNC, .mode = 0600 };

	snprintf(path, sizeof(path), "/tmp/weir-stream-%d", getpid());
	assert_int_equal(weir_file_open(NULL, path, &opts, &file), 0);
	if (size)
		assert_int_equal(weir_file_write_all(file, content, size, 0), 0);
	assert_int_equal(weir_arena_create(NULL, &arena), 0);
}

static void close_file(void)
{
	assert_int_equal(weir_file_close(file), 0);
	unlink(path);
}

static char text[65536];
static size_t text_size;
static unsigned items, longest;

static int gather(struct weir_item item, void *arg)
{
	(void)arg;
	memcpy(text + text_size, item.ptr, item.size);
	text_size += item.size;
	text[text_size++] = '.';
	items++;
	if (item.size > longest)
		longest = (unsigned)item.size;
	return 0;
}

static ssize_t read_all(struct weir_stream *stream)
{
	text_size = items = longest = 0;
	return weir_await(weir_stream_for_each(stream, gather, NULL), WEIR_NEVER, NULL);
}

static void a_file_comes_in_pieces(void)
{
	open_file("abcdefghij", 10);
	assert_int_equal(read_all(weir_stream_file_chunks(arena, file, 4, 2)), 3);
	assert_int_equal(text_size, 13);
	assert_memory_equal(text, "abcd.efgh.ij.", 13);
	close_file();
	open_file("", 0);
	assert_int_equal(read_all(weir_stream_file_chunks(arena, file, 4, 2)), 0);
	close_file();
}

static void a_file_comes_line_by_line(void)
{
	open_file("one\n\nthree\nlast", 15);
	assert_int_equal(read_all(weir_stream_file_lines(arena, file, 8, 1)), 4);
	assert_int_equal(text_size, 16);
	assert_memory_equal(text, "one..three.last.", 16);
	close_file();
	open_file("one\n", 4);
	assert_int_equal(read_all(weir_stream_file_lines(arena, file, 3, 1)), 1);
	close_file();
	open_file("ab\nfour\n", 8);
	assert_int_equal(read_all(weir_stream_file_lines(arena, file, 3, 1)), -EMSGSIZE);
	assert_int_equal(items, 1);
	close_file();
}

/* Lines that lie across the blocks that are read. */
static void lines_of_a_large_file_are_whole(void)
{
	static char content[20000];
	size_t size = 0;
	unsigned lines = 0;

	while (size < sizeof(content) - 200) {
		unsigned length = 1 + lines * 37 % 150;

		memset(content + size, 'a' + (int)(lines % 26), length);
		content[size + length] = '\n';
		size += length + 1;
		lines++;
	}
	open_file(content, size);
	assert_int_equal(read_all(weir_stream_file_lines(arena, file, 200, 4)), lines);
	assert_int_equal(text_size, size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(text[i], content[i] == '\n' ? '.' : content[i]);
	close_file();
}

/* All pieces are out: nothing is read until one is back. */
static void no_more_pieces_are_out_than_there_are(void)
{
	struct weir_item held[4];
	struct weir_future *future;
	struct weir_stream *stream;
	weir_item_drop_fn drop;

	open_file("abcdefghij", 10);
	stream = weir_stream_file_chunks(arena, file, 2, 2);
	drop = stream->drop;
	future = weir_stream_collect(stream, held, 4);
	for (int i = 0; i < 50; i++)
		weir_sleep(WEIR_MS / 10);
	assert_false(weir_future_is_settled(future));
	weir_future_cancel(future);
	assert_int_equal(weir_await(future, WEIR_NEVER, NULL), -ECANCELED);
	assert_memory_equal(held[0].ptr, "ab", 2);
	assert_memory_equal(held[1].ptr, "cd", 2);
	/* The arena outlives its pipeline while pieces of it are out. */
	weir_yield();
	drop(held[0]);
	drop(held[1]);
	close_file();
}

static struct weir_stream *whole_file(struct weir_arena *in, struct weir_item item, void *arg)
{
	(void)item;
	(void)arg;
	return weir_stream_file_chunks(in, file, 4, 3);	/* one to find the end with */
}

/* Pieces of three inner streams, one after the other in the same arena, are held at once. */
static void an_inner_arena_is_not_used_again_while_pieces_of_it_are_out(void)
{
	const struct weir_inner_opts opts = { .size = 4096 };
	struct weir_item held[4];
	weir_item_drop_fn drop;
	struct weir_arena *own;

	open_file("abcdefgh", 8);
	assert_int_equal(weir_arena_destroy(arena), 0);
	assert_int_equal(weir_arena_create(&(struct weir_arena_opts){ .size = 64 << 10 }, &arena),
			 0);
	assert_int_equal(weir_arena_create(NULL, &own), 0);
	drop = weir_stream_file_chunks(own, file, 4, 1)->drop;
	assert_int_equal(weir_arena_destroy(own), 0);
	assert_int_equal(weir_await(weir_stream_collect(
					    weir_stream_concat_map(weir_stream_range(arena, 0, 1),
								   whole_file, NULL, &opts),
					    held, 4),
				    WEIR_NEVER, NULL),
			 2);
	assert_memory_equal(held[0].ptr, "abcd", 4);
	assert_memory_equal(held[1].ptr, "efgh", 4);
	drop(held[0]);
	drop(held[1]);
	close_file();
}

static void items_are_written_one_after_the_other(void)
{
	static const struct weir_item pieces[] = { { .text = "abc", .size = 3 },
						   { .text = "", .size = 0 },
						   { .text = "defg", .size = 4 } };
	char got[16] = "";

	open_file("0123456789", 10);
	assert_int_equal(weir_await(weir_stream_to_file(weir_stream_array(arena, pieces, 3), file,
							2),
				    WEIR_NEVER, NULL),
			 3);
	assert_int_equal(weir_file_read(file, got, 10, 0), 10);
	assert_string_equal(got, "01abcdefg9");
	close_file();
}

/* --- across cores --- */

#define COUNT 20000

static int64_t sum_there;
static int core_there;

static int add(struct weir_item item, void *arg)
{
	(void)arg;
	core_there = weir_core();
	sum_there += item.number;
	return 0;
}

static struct weir_future *add_all(struct weir_stream *stream, void *arg)
{
	(void)arg;
	return weir_stream_for_each(stream, add, NULL);
}

static struct weir_future *add_three(struct weir_stream *stream, void *arg)
{
	(void)arg;
	return weir_stream_for_each(weir_stream_take(stream, 3), add, NULL);
}

static ssize_t observe(struct weir_stream *stream,
		       struct weir_future *(*build)(struct weir_stream *, void *))
{
	sum_there = 0;
	core_there = -1;
	return weir_await(weir_stream_observe_on(stream, 1, 16, build, NULL), WEIR_NEVER, NULL);
}

#define check(x)                                                                                  \
	do {                                                                                      \
		if (!(x))                                                                         \
			return -__LINE__;                                                         \
	} while (0)

static int observe_service(void *arg)
{
	struct weir_stream *streams[2];
	struct weir_future *future;

	(void)arg;
	if (weir_core())
		return 0;
	check(weir_arena_create(NULL, &arena) == 0);
	check(observe(weir_stream_range(arena, 1, COUNT), add_all) == COUNT);
	check(sum_there == (int64_t)COUNT * (COUNT + 1) / 2 && core_there == 1);
	/* The pipeline there ends first. */
	check(weir_arena_create(NULL, &arena) == 0);
	check(observe(weir_stream_range(arena, 1, UINT64_MAX), add_three) == 3 && sum_there == 6);
	/* An error goes across. */
	check(weir_arena_create(NULL, &arena) == 0);
	streams[0] = weir_stream_range(arena, 1, 3);
	streams[1] = weir_stream_error(arena, -EIO);
	check(observe(weir_stream_concat(streams, 2), add_all) == -EIO && sum_there == 6);
	/* So does a cancellation. */
	check(weir_arena_create(NULL, &arena) == 0);
	future = weir_stream_observe_on(weir_stream_never(arena), 1, 16, add_all, NULL);
	weir_sleep(WEIR_MS);
	weir_future_cancel(future);
	check(weir_await(future, WEIR_NEVER, NULL) == -ECANCELED);
	check(weir_arena_create(NULL, &arena) == 0);
	check(weir_await(weir_stream_observe_on(weir_stream_never(arena), 9, 16, add_all, NULL),
			 WEIR_NEVER, NULL) == -EINVAL);
	return 0;
}

static void the_rest_of_a_pipeline_runs_on_another_core(void **state)
{
	const struct weir_opts opts = { .cores = 2, .no_signals = true };

	(void)state;
	assert_int_equal(weir_run(&opts, observe_service, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(a_file_comes_in_pieces),
		ring_test(a_file_comes_line_by_line),
		ring_test(lines_of_a_large_file_are_whole),
		ring_test(no_more_pieces_are_out_than_there_are),
		ring_test(an_inner_arena_is_not_used_again_while_pieces_of_it_are_out),
		ring_test(items_are_written_one_after_the_other),
		cmocka_unit_test(the_rest_of_a_pipeline_runs_on_another_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
