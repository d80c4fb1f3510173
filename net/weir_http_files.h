/* SPDX-License-Identifier: MIT */
/*
 * weir_http_files.h - a directory tree over HTTP, with a bounded cache in memory.
 *
 *	static int service(void *arg)			on each core
 *	{
 *		struct weir_http_files *files;
 *		int r = weir_http_files_create("/srv/www", NULL, &files);
 *
 *		if (r < 0)
 *			return r;
 *		r = weir_http_serve("tcp://127.0.0.1:8080", NULL, weir_http_files, files);
 *		weir_http_files_destroy(files);
 *		return r;
 *	}
 *
 * GET and HEAD, with Content-Type by the name's extension, Last-Modified, ETag, conditional
 * requests and single ranges (RFC 9110). A path is decoded once and resolved before the file
 * system sees it, and never leaves the tree (openat2(2), RESOLVE_BENEATH): an encoded slash or
 * NUL, and a path that climbs above the root, are 400. A directory answers with its index file,
 * and without its slash with a redirect; it is never listed.
 *
 * Small files are kept in memory and sent from there; a file that changed is noticed within
 * fresh_ns. Larger ones are read while they are sent; one that changes meanwhile ends the
 * connection, since nothing else can tell the peer that the rest is not what the beginning
 * promised.
 */
#ifndef WEIR_HTTP_FILES_H
#define WEIR_HTTP_FILES_H

#include "weir_core.h"
#include "weir_http.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_http_files;

/* Zero means the default for every member. */
struct weir_http_files_opts {
	size_t cache_size;	/* bytes of content kept per core; default 64 MiB; less than a
				 * file: that file is read each time */
	size_t file_max;	/* the largest file that is kept; default 1 MiB */
	unsigned entries_max;	/* files known per core, kept or not; default 4096 */
	unsigned streams_max;	/* files that are read while they are sent, per core, 64 KiB of
				 * memory each; above: 503; default 1024 */
	int64_t fresh_ns;	/* how long a file is taken for unchanged; default 1 s; negative:
				 * every request looks */
	const char *index;	/* served for a directory; borrowed; default "index.html" */
	const char *cache_control;	/* value of a Cache-Control header; borrowed; default:
					 * none */
	bool dotfiles;		/* serve names that begin with a dot; default: 404, but for
				 * /.well-known/ (RFC 8615) */
	bool symlinks;		/* follow symbolic links inside the tree; default: 404 */
};

/*
 * Opens root. For this core. In a coroutine. opts may be NULL. Returns 0, -ENOENT, -ENOTDIR,
 * -EACCES (of root), -EINVAL (index is empty or has a slash), -EMFILE, -ENOMEM.
 */
WEIR_API int weir_http_files_create(const char *root, const struct weir_http_files_opts *opts,
				    struct weir_http_files **ret_files);

/* No request uses it any more. Waits until its directory is closed. NULL is allowed. */
WEIR_API void weir_http_files_destroy(struct weir_http_files *files);

/* Answers req out of the tree: a weir_http_fn. files is a struct weir_http_files. */
WEIR_API int weir_http_files(struct weir_http_req *req, void *files);

/* What is known and kept on this core. */
struct weir_http_files_info {
	unsigned entries;	/* files known */
	size_t used;		/* bytes of content kept, or still being sent */
	unsigned streams;	/* being sent from disk now */
	uint64_t hits;		/* answered without the file system */
	uint64_t loads;		/* read into memory */
	uint64_t checks;	/* looked at whether they changed */
};

WEIR_API void weir_http_files_info(const struct weir_http_files *files,
				   struct weir_http_files_info *ret_info);

/*
 * The Content-Type for a file of that name (size bytes), by its extension: a literal,
 * "application/octet-stream" when it is not known. Any thread.
 */
WEIR_API const char *weir_http_type(const char *name, size_t size);

#ifdef __cplusplus
}
#endif

#endif
