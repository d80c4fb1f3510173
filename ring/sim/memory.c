/* SPDX-License-Identifier: MIT */
/*
 * memory.c - what a process holds, so that it can be taken away when it is killed: a process
 * that dies in a world is not one of the system's, nobody else cleans up after it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/alloc.h"
#include "ring/sim/world.h"

#define REMOVED ((void *)1)

static size_t place_of(const struct weir_sim_memory *memory, const void *ptr)
{
	size_t mask = memory->slots_size - 1;
	size_t place = ((uintptr_t)ptr >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20 & mask;

	while (memory->slots[place].ptr && memory->slots[place].ptr != ptr)
		place = (place + 1) & mask;
	return place;
}

static bool make_room(struct weir_sim_memory *memory)
{
	struct weir_sim_memory wider = { .slots_size = memory->live > 128 ? memory->live * 4
									  : 512 };
	size_t size = 512;

	if (memory->used * 2 < memory->slots_size)
		return true;
	while (size < wider.slots_size)
		size *= 2;
	wider.slots_size = size;
	wider.slots = calloc(size, sizeof(*wider.slots));
	if (!wider.slots)
		return false;
	for (size_t i = 0; i < memory->slots_size; i++) {
		if (!memory->slots[i].ptr || memory->slots[i].ptr == REMOVED)
			continue;
		wider.slots[place_of(&wider, memory->slots[i].ptr)] = memory->slots[i];
		wider.used++;
	}
	wider.live = wider.used;
	free(memory->slots);
	*memory = wider;
	return true;
}

void weir__sim_memory_took(struct weir_sim_memory *memory, void *ptr, size_t size, bool is_map)
{
	struct weir_sim_block *slot;

	if (!make_room(memory))
		return;
	slot = &memory->slots[place_of(memory, ptr)];
	*slot = (struct weir_sim_block){ .ptr = ptr, .size = size, .is_map = is_map };
	memory->used++;
	memory->live++;
}

void weir__sim_memory_gave(struct weir_sim_memory *memory, const void *ptr)
{
	size_t place;

	if (!memory->slots_size)
		return;
	place = place_of(memory, ptr);
	if (!memory->slots[place].ptr)
		return;
	memory->slots[place].ptr = REMOVED;
	memory->live--;
}

void weir__sim_memory_free(struct weir_sim_memory *memory)
{
	for (size_t i = 0; i < memory->slots_size; i++) {
		const struct weir_sim_block *block = &memory->slots[i];

		if (!block->ptr || block->ptr == REMOVED)
			continue;
		weir__notes_unpoison(block->ptr, block->size);
		if (block->is_map)
			munmap(block->ptr, block->size);
		else
			weir__free(block->ptr, block->size);
	}
	free(memory->slots);
	memset(memory, 0, sizeof(*memory));
}
