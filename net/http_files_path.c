/* SPDX-License-Identifier: MIT */
/*
 * http_files_path.c - from a request's path to a path below the root, and back.
 *
 * Decoded exactly once: what is left encoded after that ("%252e") is a name with a percent sign.
 * Dot segments are resolved on the decoded text, before the file system is asked, so "%2e%2e" is
 * "..". An encoded slash is refused: it would make two paths out of one. The kernel's
 * RESOLVE_BENEATH stands behind all of this, not in its place.
 */
#include <string.h>

#include "net/http_files.h"

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Reads one byte at *at. Returns it, or -1. */
static int decode_one(const char **at, const char *end)
{
	const char *from = *at;
	int high, low, c;

	if (*from != '%') {
		*at = from + 1;
		return (unsigned char)*from;
	}
	if (end - from < 3 || (high = hex_value(from[1])) < 0 || (low = hex_value(from[2])) < 0)
		return -1;
	*at = from + 3;
	c = high << 4 | low;
	return c < ' ' || c == 0x7f || c == '/' ? -1 : c;
}

/* Ends the segment buf[start..size). Returns the new size, or minus a status. */
static int end_segment(const struct weir_http_files *files, char *buf, size_t start, size_t size)
{
	const char *segment = buf + start;
	size_t length = size - start;

	if (!length || segment[0] != '.')
		return (int)size;
	if (length == 1)
		return (int)start;
	if (length == 2 && segment[1] == '.') {
		if (!start)
			return -400;
		start--;	/* the slash before it */
		while (start && buf[start - 1] != '/')
			start--;
		return (int)start;
	}
	if (files->opts.dotfiles || (!start && length == 11 && !memcmp(segment, ".well-known", 11)))
		return (int)size;
	return -404;
}

int weir__files_path(const struct weir_http_files *files, struct weir_http_text path, char *buf)
{
	const char *at = path.data;
	const char *end = path.data + path.size;
	size_t size = 0, start = 0;
	int r, c;

	if (path.size >= WEIR_FILES_PATH_MAX || *at != '/')
		return path.size && *at == '/' ? -404 : -400;
	at++;
	while (at < end) {
		bool slash = *at == '/';

		c = decode_one(&at, end);
		if (c < 0)
			return -400;
		if (!slash) {
			buf[size++] = (char)c;
			continue;
		}
		r = end_segment(files, buf, start, size);
		if (r < 0)
			return r;
		size = (size_t)r;
		if (size && buf[size - 1] != '/')
			buf[size++] = '/';
		start = size;
	}
	r = end_segment(files, buf, start, size);
	if (r >= 0)
		buf[r] = '\0';
	return r;
}

size_t weir__files_path_encode(const char *path, size_t size, char *buf)
{
	static const char digits[] = "0123456789ABCDEF";
	char *to = buf;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)path[i];

		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
		    (c && strchr("-._~/!$&'()*+,;=:@", c))) {
			*to++ = (char)c;
			continue;
		}
		*to++ = '%';
		*to++ = digits[c >> 4];
		*to++ = digits[c & 15];
	}
	*to = '\0';
	return (size_t)(to - buf);
}
