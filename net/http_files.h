/* SPDX-License-Identifier: MIT */
/*
 * http_files.h - the parts of the static file server as they see each other.
 *
 *	http_files.c		a request: path, method, which file
 *	http_files_path.c	paths: decoding, dot segments, encoding
 *	http_files_cache.c	what is known and kept of files
 *	http_files_send.c	conditions, ranges, sending
 *	http_types.c		types by extension
 */
#ifndef WEIR_NET_HTTP_FILES_H
#define WEIR_NET_HTTP_FILES_H

#include "net/http.h"
#include "net/weir_http_files.h"
#include "ring/weir_file.h"

#define WEIR_FILES_PATH_MAX 4096

/* Bytes of the header fields of one file. */
#define WEIR_FILES_FIELDS 512

/* A file is read and sent in pieces of so many bytes. */
#define WEIR_FILES_PIECE (64 << 10)

enum weir_entry_state {
	ENTRY_LOADING,	/* somebody reads it; others wait in waiters */
	ENTRY_READY,	/* in the table */
	ENTRY_GONE,	/* not in the table any more: failed, replaced or evicted */
};

/* What is known of a file. Its content, fields and key are in the same allocation. */
struct weir_file_entry {
	struct weir_file_entry *next;	/* of the same bucket */
	struct weir_node lru;		/* least recently used first */
	struct weir_http_files *files;
	enum weir_entry_state state;
	unsigned refs;			/* the table's, and everybody's who uses it */
	int error;			/* GONE: why */
	struct weir_node waiters;
	int64_t checked_ns;
	uint32_t hash;
	uint32_t key_size;
	char *data;			/* NULL: not kept, read it from disk */
	struct weir_stat stat;
	struct weir_http_fields fields;
	struct weir_http_text etag;	/* in fields */
	struct weir_http_text modified;	/* in fields */
	char fields_text[WEIR_FILES_FIELDS];
	char key[];			/* the path below the root, NUL-terminated */
};

struct weir_http_files {
	struct weir_dir *dir;
	struct weir_http_files_opts opts;
	size_t index_size;
	uint64_t seed;
	struct weir_file_entry **buckets;
	unsigned buckets_count;		/* power of two */
	unsigned entries;
	struct weir_node lru;
	size_t used;
	struct weir_slab pieces;
	uint64_t hits, loads, checks;
};

/* --- paths --- */

/*
 * Decodes path into buf of WEIR_FILES_PATH_MAX bytes, without its leading slash, "." and ".."
 * resolved, repeated slashes one, NUL-terminated: "a/b", "a/" or "". Returns its size, or minus
 * the status of the answer.
 */
int weir__files_path(const struct weir_http_files *files, struct weir_http_text path, char *buf);

/* Encodes a path for a Location header; buf has 3 * size + 1 bytes. Returns the size. */
size_t weir__files_path_encode(const char *path, size_t size, char *buf);

/* --- cache --- */

/*
 * The entry of key, fresh; loads or checks it, waiting. The caller drops it with
 * weir__entry_put(). Returns 0, -EISDIR (it is a directory), -EACCES (no regular file), or the
 * file system's error.
 */
int weir__entry_get(struct weir_http_files *files, const char *key, size_t key_size,
		    struct weir_file_entry **ret_entry);
void weir__entry_put(struct weir_file_entry *entry);

/* The file behind entry is another one now. */
void weir__entry_forget(struct weir_file_entry *entry);

/* Whether two looks at a file saw the same content. */
bool weir__stat_is_same(const struct weir_stat *one, const struct weir_stat *two);

int weir__files_open(struct weir_http_files *files, const char *key, int flags,
		     struct weir_file **ret_file);

int weir__cache_init(struct weir_http_files *files);
void weir__cache_fini(struct weir_http_files *files);

/* --- sending --- */

int weir__entry_send(struct weir_http_req *req, struct weir_file_entry *entry);

#endif
