/* SPDX-License-Identifier: MIT */
/*
 * weir_file_async.h - reads and writes of files as futures: several at once.
 *
 *	struct weir_future *parts[] = {
 *		weir_file_read_async(file, head, sizeof(head), 0),
 *		weir_file_read_async(file, body, sizeof(body), sizeof(head)),
 *	};
 *
 *	r = weir_await(weir_all(parts, 2), weir_in(50 * WEIR_MS), NULL);
 *
 * Each goes through the ring: for one read of pages that are cached weir_file_read() is
 * cheaper. The buffer is lent until the future is settled, and weir_file_close() waits for
 * that. A file opened with direct asks the same alignment as in direct style.
 */
#ifndef WEIR_FILE_ASYNC_H
#define WEIR_FILE_ASYNC_H

#include "weir_file.h"
#include "weir_future.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The future of weir_file_read(): fulfilled with the bytes read, 0 at the end of the file.
 * Adds to its errors -ENOBUFS at futures_max and -ENOMEM: nothing was started then.
 */
WEIR_API struct weir_future *weir_file_read_async(struct weir_file *file, void *buf, size_t size,
						  int64_t offset);

/* The future of weir_file_write(): fulfilled with the bytes written, perhaps fewer than size. */
WEIR_API struct weir_future *weir_file_write_async(struct weir_file *file, const void *buf,
						   size_t size, int64_t offset);

#ifdef __cplusplus
}
#endif

#endif
