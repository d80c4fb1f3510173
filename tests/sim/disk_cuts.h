/* SPDX-License-Identifier: MIT */
/*
 * disk_cuts.h - for tests of what a disk may do: files of one letter, and outcomes counted over
 * many seeds, for each of them must come up.
 */
#ifndef WEIR_TESTS_DISK_CUTS_H
#define WEIR_TESTS_DISK_CUTS_H

#include "tests/sim/disk_host.h"

#define SEEDS 100
#define BIG (16 << 10)

static char big[BIG];

/* How often each outcome was seen, by its number. */
static unsigned seen[8];

static inline void forget(void)
{
	memset(seen, 0, sizeof(seen));
}

/* size times letter, not synced. */
static inline void fill(const char *path, char letter, int size)
{
	int fd = disk_open(path, O_WRONLY | O_CREAT);

	memset(big, letter, sizeof(big));
	EQUAL(disk_write(fd, big, (unsigned)size, 0), size);
	bare_close(fd);
}

/* The file into big. */
static inline int load(const char *path)
{
	int fd = disk_open(path, O_RDONLY);
	int size;

	CHECK(fd >= 0);
	memset(big, '?', sizeof(big));
	size = disk_read(fd, big, sizeof(big), 0);
	bare_close(fd);
	return size;
}

static inline int count_of(char letter, int size)
{
	int count = 0;

	for (int i = 0; i < size; i++)
		count += big[i] == letter;
	return count;
}

#endif
