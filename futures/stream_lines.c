/* SPDX-License-Identifier: MIT */
/*
 * stream_lines.c - bytes as they come, into lines: of a connection, of pieces of a file.
 *
 * An item of bytes is held until its last line was sent; what is left of it without a line feed is
 * carried over to the next. Lines are memory of the arena, given back by drop; while none is free,
 * or nobody asks, nothing more is asked for.
 */
#include "futures/stream.h"

struct lines;

struct line {
	struct lines *of;
	struct line *next;		/* free */
	char text[];
};

struct lines {
	struct weir__stage stage;
	struct line *free;
	size_t size_max;
	char *carry;			/* the beginning of a line */
	size_t carried;
	struct weir_item item;		/* bytes that are being looked at */
	size_t at;
	bool has_item;
	bool asked;			/* for an item, that has not come */
	bool is_last;			/* there will be none */
	bool busy;
};

static struct lines *lines_of(struct weir__stage *stage)
{
	return weir_container_of(stage, struct lines, stage);
}

static void lines_move(struct lines *lines);

static void line_drop(struct weir_item item)
{
	struct line *line = weir_container_of(item.ptr, struct line, text);
	struct lines *lines = line->of;

	line->next = lines->free;
	lines->free = line;
	lines_move(lines);
	weir_arena_drop(lines->stage.stream.arena);
}

/* What was carried and size bytes more are a line. */
static void give_line(struct lines *lines, const char *text, size_t size)
{
	struct line *line = lines->free;
	size_t whole = lines->carried + size;

	lines->free = line->next;
	memcpy(line->text, lines->carry, lines->carried);
	if (size)
		memcpy(line->text + lines->carried, text, size);
	line->text[whole] = '\0';
	lines->carried = 0;
	weir_arena_keep(lines->stage.stream.arena);
	weir__stage_give(&lines->stage, weir_item_ptr(line->text, whole));
}

static void release_item(struct lines *lines)
{
	lines->has_item = false;
	weir__stage_lose(&lines->stage, lines->item);
}

static bool may_give(const struct lines *lines)
{
	return lines->stage.demand > 0 && lines->free;
}

/* One line of the item, or its end. False: nothing can be done now. */
static bool next_line(struct lines *lines)
{
	const char *text = lines->item.text + lines->at;
	size_t left = lines->item.size - lines->at;
	const char *end = left ? memchr(text, '\n', left) : NULL;
	size_t size = end ? (size_t)(end - text) : left;

	if (lines->carried + size > lines->size_max) {
		weir__stage_end(&lines->stage, -EMSGSIZE);
		return false;
	}
	if (!end) {
		if (size)
			memcpy(lines->carry + lines->carried, text, size);
		lines->carried += size;
		release_item(lines);
		return true;
	}
	if (!may_give(lines))
		return false;
	lines->at += size + 1;
	give_line(lines, text, size);
	return true;
}

/* Without an item: the end, or another one. */
static void go_on(struct lines *lines)
{
	if (lines->is_last) {
		if (lines->carried && !may_give(lines))
			return;
		if (lines->carried)
			give_line(lines, NULL, 0);
		weir__stage_end(&lines->stage, 0);
	} else if (!lines->asked && may_give(lines)) {
		lines->asked = true;
		weir__stage_ask(&lines->stage, 1);
	}
}

/* As far as it goes. Not within itself. */
static void lines_move(struct lines *lines)
{
	if (lines->busy || lines->stage.over)
		return;
	lines->busy = true;
	while (!lines->stage.over && lines->has_item && next_line(lines))
		;
	lines->busy = false;
	if (!lines->stage.over && !lines->has_item)
		go_on(lines);
}

static void lines_request(struct weir_subscription *out, int64_t n)
{
	if (weir__stage_demand(weir__stage_of_out(out), n))
		lines_move(lines_of(weir__stage_of_out(out)));
}

static void lines_next(struct weir_subscriber *in, struct weir_item item)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct lines *lines = lines_of(stage);

	if (stage->over || lines->has_item) {
		weir__stage_lose(stage, item);
		weir__stage_end(stage, -EPROTO);	/* it was not asked for; unless over */
		return;
	}
	lines->asked = false;
	lines->item = item;
	lines->at = 0;
	lines->has_item = true;
	lines_move(lines);
}

static void lines_ended(struct weir_subscriber *in, int error)
{
	struct weir__stage *stage = weir__stage_of_in(in);
	struct lines *lines = lines_of(stage);

	stage->up = NULL;
	if (stage->over)
		return;
	lines->is_last = true;
	if (error)
		weir__stage_end(stage, error);
	else
		lines_move(lines);
}

static void lines_start(struct weir__stage *stage)
{
	struct lines *lines = lines_of(stage);

	lines->carried = 0;
	lines->asked = lines->is_last = false;
}

static void lines_stop(struct weir__stage *stage)
{
	struct lines *lines = lines_of(stage);

	if (lines->has_item)
		release_item(lines);
}

static unsigned lines_buffered(const struct weir__stage *stage)
{
	return lines_of((struct weir__stage *)(uintptr_t)stage)->has_item;
}

struct weir_stream *weir_stream_lines(struct weir_stream *stream, size_t size_max, unsigned lines)
{
	static const struct weir_subscriber_ops in = { weir__stage_subscribed, lines_next,
						       lines_ended };
	static const struct weir_subscription_ops out = { lines_request, weir__stage_cancel };
	static const struct weir__stage_kind kind = { .name = "lines",
						      .start = lines_start,
						      .stop = lines_stop,
						      .buffered = lines_buffered };
	struct lines *made = weir__stage_on(stream, sizeof(*made), &kind, &in, &out);
	unsigned i;

	if (!size_max || !lines)
		return weir__arena_fail(stream->arena, -EINVAL);
	if (!made)
		return &stream->arena->broken.stream;
	made->carry = weir_arena_alloc(stream->arena, size_max);
	for (i = 0; made->carry && i < lines; i++) {
		struct line *line =
			weir_arena_alloc(stream->arena, sizeof(*line) + size_max + 1);

		if (!line)
			return &stream->arena->broken.stream;
		line->of = made;
		line->next = made->free;
		made->free = line;
	}
	if (!made->carry)
		return &stream->arena->broken.stream;
	made->size_max = size_max;
	made->stage.counts = true;
	made->stage.stream.drop = line_drop;
	return &made->stage.stream;
}
