/* SPDX-License-Identifier: MIT */
/*
 * races.c - for each byte and thread, when the thread last read and wrote it.
 *
 * When is the number of atomic events that the thread had made, plus one. The access is over for
 * another thread that has seen the event after it: whose view of the thread is more than that
 * number of events.
 */
#include "tests/model/races.h"

#include <assert.h>
#include <string.h>

#define BYTES 8			/* of a cell */
#define CELLS (1u << 14)

struct cell {
	uintptr_t address;		/* a multiple of BYTES */
	uint32_t execution;		/* in which what follows was written */
	uint16_t read[MODEL_THREADS_MAX][BYTES];
	uint16_t written[MODEL_THREADS_MAX][BYTES];
};

static struct cell cells[CELLS];
static uint32_t execution;

void races_reset(void)
{
	execution++;
}

static struct cell *find(uintptr_t address)
{
	unsigned i = (unsigned)((address / BYTES) * 0x9e3779b1u) % CELLS;
	unsigned tries;

	for (tries = 0; tries < CELLS; tries++, i = (i + 1) % CELLS) {
		struct cell *cell = &cells[i];

		if (cell->execution == execution && cell->address == address)
			return cell;
		if (cell->execution == execution)
			continue;
		memset(cell, 0, sizeof(*cell));
		cell->address = address;
		cell->execution = execution;
		return cell;
	}
	assert(!"more memory than a model may use");
	return NULL;
}

static bool is_over(uint16_t when, const struct clock *view, unsigned thread)
{
	return !when || view->of[thread] >= when;
}

static int look(const struct cell *cell, unsigned byte, bool is_write, const struct clock *view,
		unsigned self)
{
	for (unsigned i = 0; i < MODEL_THREADS_MAX; i++) {
		if (i == self)
			continue;
		if (!is_over(cell->written[i][byte], view, i))
			return (int)i;
		if (is_write && !is_over(cell->read[i][byte], view, i))
			return (int)i;
	}
	return -1;
}

int races_atomic(const void *ptr, unsigned size, bool is_write, const struct clock *view,
		 unsigned thread)
{
	uintptr_t address = (uintptr_t)ptr;

	for (unsigned i = 0; i < size; i++) {
		uintptr_t at = address + i;
		int with = look(find(at & ~(uintptr_t)(BYTES - 1)), at % BYTES, is_write, view,
				thread);

		if (with >= 0)
			return with;
	}
	return -1;
}

int races_plain(const void *ptr, unsigned size, bool is_write, const struct clock *view,
		unsigned thread)
{
	uintptr_t address = (uintptr_t)ptr;
	int with = races_atomic(ptr, size, is_write, view, thread);

	for (unsigned i = 0; i < size; i++) {
		uintptr_t at = address + i;
		struct cell *cell = find(at & ~(uintptr_t)(BYTES - 1));
		uint16_t when = (uint16_t)(view->of[thread] + 1);

		if (is_write)
			cell->written[thread][at % BYTES] = when;
		else
			cell->read[thread][at % BYTES] = when;
	}
	return with;
}
