/* SPDX-License-Identifier: MIT */
/*
 * ensure.c - the end of a process whose own proof failed. It writes with one write(2), so
 * that it works on a coroutine's small stack and in a signal handler.
 */
#include "core/ensure.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 512

static size_t append(char *line, size_t used, const char *text)
{
	size_t size = strlen(text);

	if (size > LINE_SIZE - used)
		size = LINE_SIZE - used;
	memcpy(line + used, text, size);
	return used + size;
}

void weir__assert_failed(const char *what, const char *file, int line)
{
	char text[LINE_SIZE];
	char digits[16];
	size_t at = sizeof(digits) - 1;
	size_t used;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + line % 10);
		line /= 10;
	} while (line > 0);
	used = append(text, 0, "weir: assertion failed: ");
	used = append(text, used, what);
	used = append(text, used, " at ");
	used = append(text, used, file);
	used = append(text, used, ":");
	used = append(text, used, digits + at);
	used = append(text, used, "\n");
	if (write(STDERR_FILENO, text, used) < 0)
		abort();
	abort();
}
