/* SPDX-License-Identifier: MIT */
/*
 * stream_file.c - files as streams: pieces and lines of them, and items written to them.
 *
 * Pieces are memory of the arena, a fixed number, handed out and given back by drop: while all are
 * in use nothing is read. Each that is out keeps the arena.
 */
#include "futures/stream.h"

#include "futures/weir_sync.h"
#include "ring/weir_file.h"

struct pieces;

struct piece {
	struct piece *next;		/* given back */
	struct pieces *of;
	char data[];
};

struct pieces {
	struct weir_arena *arena;
	struct weir_file *file;
	size_t size;			/* of a piece, or of the longest line */
	struct piece *free;
	struct weir_semaphore count;	/* of free */
	char *block;			/* of lines: as it was read */
	size_t block_size;
};

static void piece_drop(struct weir_item item)
{
	struct piece *piece = weir_container_of(item.ptr, struct piece, data);
	struct pieces *pieces = piece->of;

	piece->next = pieces->free;
	pieces->free = piece;
	weir_semaphore_release(&pieces->count, 1);
	weir_arena_drop(pieces->arena);
}

static int piece_get(struct pieces *pieces, struct piece **ret_piece)
{
	int r = weir_semaphore_acquire(&pieces->count, 1, WEIR_NEVER);

	if (r < 0)
		return r;
	*ret_piece = pieces->free;
	pieces->free = pieces->free->next;
	weir_arena_keep(pieces->arena);
	return 0;
}

static int piece_send(struct weir_emitter *emitter, struct piece *piece, size_t size)
{
	struct weir_item item = weir_item_ptr(piece->data, size);
	int r = weir_emit(emitter, item);

	if (r < 0)
		piece_drop(item);
	return r;
}

static int emit_chunks(struct weir_emitter *emitter, void *arg)
{
	struct pieces *pieces = arg;
	int64_t offset = 0;
	struct piece *piece = NULL;
	ssize_t n;
	int r;

	for (;;) {
		/* Nothing is read that nobody has asked for. */
		r = weir__emit_wait(emitter);
		if (!r)
			r = piece_get(pieces, &piece);
		if (r < 0)
			return r;
		n = weir_file_read(pieces->file, piece->data, pieces->size, offset);
		if (n <= 0) {
			piece_drop(weir_item_ptr(piece->data, 0));
			return (int)n;
		}
		offset += n;
		r = piece_send(emitter, piece, (size_t)n);
		if (r < 0)
			return r;
	}
}

static int send_line(struct weir_emitter *emitter, struct pieces *pieces, const char *line,
		     size_t size)
{
	struct piece *piece = NULL;
	int r;

	if (size > pieces->size)
		return -EMSGSIZE;
	r = weir__emit_wait(emitter);
	if (!r)
		r = piece_get(pieces, &piece);
	if (r < 0)
		return r;
	memcpy(piece->data, line, size);
	piece->data[size] = '\0';
	return piece_send(emitter, piece, size);
}

/* Whole lines of block[0..used); *ret_rest is where the last, unfinished one begins. */
static int send_lines(struct weir_emitter *emitter, struct pieces *pieces, size_t used,
		      size_t *ret_rest)
{
	size_t at = 0;
	const char *end;
	int r = 0;

	while (!r && (end = memchr(pieces->block + at, '\n', used - at))) {
		size_t size = (size_t)(end - pieces->block) - at;

		r = send_line(emitter, pieces, pieces->block + at, size);
		at += size + 1;
	}
	*ret_rest = at;
	return r;
}

static int emit_lines(struct weir_emitter *emitter, void *arg)
{
	struct pieces *pieces = arg;
	int64_t offset = 0;
	size_t used = 0, rest;
	ssize_t n;
	int r;

	for (;;) {
		r = weir__emit_wait(emitter);
		if (r < 0)
			return r;
		n = weir_file_read(pieces->file, pieces->block + used, pieces->block_size - used,
				   offset);
		if (n < 0)
			return (int)n;
		if (!n)
			return used ? send_line(emitter, pieces, pieces->block, used) : 0;
		offset += n;
		used += (size_t)n;
		r = send_lines(emitter, pieces, used, &rest);
		if (r < 0)
			return r;
		used -= rest;
		memmove(pieces->block, pieces->block + rest, used);
		if (used == pieces->block_size)
			return -EMSGSIZE;
	}
}

static struct pieces *make_pieces(struct weir_arena *arena, struct weir_file *file, size_t size,
				  unsigned count)
{
	struct pieces *pieces = weir_arena_alloc(arena, sizeof(*pieces));
	unsigned i;

	if (!file || !size || !count) {
		weir__arena_fail(arena, -EINVAL);
		return NULL;
	}
	if (!pieces || weir_semaphore_init(&pieces->count, count, count) < 0)
		return NULL;
	pieces->arena = arena;
	pieces->file = file;
	pieces->size = size;
	for (i = 0; i < count; i++) {
		struct piece *piece = weir_arena_alloc(arena, sizeof(*piece) + size + 1);

		if (!piece)
			return NULL;
		piece->of = pieces;
		piece->next = pieces->free;
		pieces->free = piece;
	}
	return pieces;
}

static struct weir_stream *stream_pieces(struct weir_arena *arena, const char *name,
					 weir_emit_fn fn, struct pieces *pieces)
{
	struct weir_stream *stream = weir__stream_generate(arena, name, fn, pieces);

	if (stream != &arena->broken.stream)
		stream->drop = piece_drop;
	return stream;
}

struct weir_stream *weir_stream_file_chunks(struct weir_arena *arena, struct weir_file *file,
					    size_t size, unsigned pieces)
{
	struct pieces *made = make_pieces(arena, file, size, pieces);

	if (!made)
		return &arena->broken.stream;
	return stream_pieces(arena, "file_chunks", emit_chunks, made);
}

#define BLOCK 4096

struct weir_stream *weir_stream_file_lines(struct weir_arena *arena, struct weir_file *file,
					   size_t size_max, unsigned lines)
{
	struct pieces *made = make_pieces(arena, file, size_max, lines);

	if (!made)
		return &arena->broken.stream;
	made->block_size = size_max + 1 > BLOCK ? size_max + 1 : BLOCK;
	made->block = weir_arena_alloc(arena, made->block_size);
	if (!made->block)
		return &arena->broken.stream;
	return stream_pieces(arena, "file_lines", emit_lines, made);
}

/* --- to a file --- */

struct to_file {
	struct weir_file *file;
	int64_t offset;
};

static int write_item(struct weir_item item, void *arg)
{
	struct to_file *to = arg;
	int r = weir_file_write_all(to->file, item.ptr, item.size, to->offset);

	to->offset += (int64_t)item.size;
	return r;
}

struct weir_future *weir_stream_to_file(struct weir_stream *stream, struct weir_file *file,
					int64_t offset)
{
	struct to_file *to = weir_arena_alloc(stream->arena, sizeof(*to));

	if (to)
		*to = (struct to_file){ file, offset };
	return weir_stream_each(to ? stream : &stream->arena->broken.stream, 2, write_item, to);
}
