/* SPDX-License-Identifier: MIT */
/*
 * net_bytes.c - bytes on their way: queues of chunks that all connections share, since most
 * hold nothing most of the time. What is emptied last is used next.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/sim/net.h"

static struct weir_sim_chunk *chunk_get(struct weir_sim_net *net)
{
	struct weir_sim_chunk *chunk = net->chunks;

	if (!chunk)
		return malloc(sizeof(*chunk));
	net->chunks = chunk->next;
	return chunk;
}

static void chunk_put(struct weir_sim_net *net, struct weir_sim_chunk *chunk)
{
	chunk->next = net->chunks;
	net->chunks = chunk;
}

static bool grow(struct weir_sim_net *net, struct weir_sim_bytes *bytes)
{
	struct weir_sim_chunk *chunk = chunk_get(net);

	if (!chunk)
		return false;
	chunk->next = NULL;
	if (bytes->tail)
		bytes->tail->next = chunk;
	else
		bytes->head = chunk;
	if (bytes->head == chunk)
		bytes->from = 0;
	bytes->tail = chunk;
	bytes->to = 0;
	return true;
}

size_t weir__sim_bytes_put(struct weir_sim_net *net, struct weir_sim_bytes *bytes,
			   struct weir_sim_span *span, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t part;

		if ((!bytes->tail || bytes->to == WEIR_SIM_CHUNK) && !grow(net, bytes))
			break;
		part = WEIR_SIM_CHUNK - bytes->to;
		if (part > size - done)
			part = size - done;
		weir__sim_gather(span->iov, span->count, span->done,
				 bytes->tail->bytes + bytes->to, part);
		bytes->to += (unsigned)part;
		span->done += part;
		done += part;
	}
	return done;
}

static size_t in_head(const struct weir_sim_bytes *bytes)
{
	return (bytes->head == bytes->tail ? bytes->to : WEIR_SIM_CHUNK) - bytes->from;
}

void weir__sim_bytes_get(struct weir_sim_net *net, struct weir_sim_bytes *bytes,
			 struct weir_sim_span *span, size_t size)
{
	while (size) {
		struct weir_sim_chunk *chunk = bytes->head;
		size_t part = in_head(bytes);

		weir_assert(chunk);
		if (part > size)
			part = size;
		if (span) {
			weir__sim_scatter(span->iov, span->count, span->done,
					  chunk->bytes + bytes->from, part);
			span->done += part;
		}
		bytes->from += (unsigned)part;
		size -= part;
		if (in_head(bytes))
			continue;
		bytes->head = chunk->next;
		bytes->from = 0;
		if (!bytes->head)
			bytes->tail = NULL;
		chunk_put(net, chunk);
	}
}

void weir__sim_bytes_peek(const struct weir_sim_bytes *bytes, struct weir_sim_span *span,
			  size_t size)
{
	const struct weir_sim_chunk *chunk = bytes->head;
	unsigned from = bytes->from;

	for (; size; chunk = chunk->next) {
		size_t part = (chunk == bytes->tail ? bytes->to : WEIR_SIM_CHUNK) - from;

		if (part > size)
			part = size;
		weir__sim_scatter(span->iov, span->count, span->done, chunk->bytes + from, part);
		span->done += part;
		size -= part;
		from = 0;
	}
}

void weir__sim_bytes_drop(struct weir_sim_net *net, struct weir_sim_bytes *bytes)
{
	struct weir_sim_chunk *chunk;

	while ((chunk = bytes->head)) {
		bytes->head = chunk->next;
		chunk_put(net, chunk);
	}
	memset(bytes, 0, sizeof(*bytes));
}
