/* SPDX-License-Identifier: MIT */
/*
 * http_files.c - a request for a file: which one, and what to answer when there is none.
 */
#include <string.h>

#include "net/http_files.h"

static int not_allowed(struct weir_http_req *req)
{
	struct weir_http_fields fields;
	char text[32];

	weir_http_fields_init(&fields, text, sizeof(text));
	weir_http_fields_add(&fields, "Allow", "GET, HEAD");
	return weir_http_reply(req, 405, &fields, "Method Not Allowed\n", 19);
}

/* To the same path with a slash. Made anew from the decoded one: "//host" cannot come out of it. */
static int redirect(struct weir_http_req *req, const char *path, size_t size)
{
	static const struct weir_http_text none = { "", 0 };
	struct weir_http_text query = weir_http_req_query(req);
	size_t room = 3 * size + query.size + 8;
	struct weir_http_fields fields;
	char *buf = weir__alloc(2 * room + 16);
	size_t end;
	int r;

	if (!buf)
		return -ENOMEM;
	if (!query.data)
		query = none;
	buf[0] = '/';
	end = 1 + weir__files_path_encode(path, size, buf + 1);
	buf[end++] = '/';
	if (query.size) {
		buf[end++] = '?';
		memcpy(buf + end, query.data, query.size);
		end += query.size;
	}
	weir_http_fields_init(&fields, buf + room, room + 16);
	weir_http_fields_add_text(&fields, "Location", (struct weir_http_text){ buf, end });
	r = weir_http_reply(req, 301, &fields, NULL, 0);
	weir__free(buf, 2 * room + 16);
	return r;
}

/* What the file system says, to the peer: nothing about what lies outside the tree. */
static int failed(struct weir_http_req *req, int error)
{
	switch (error) {
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
	case -EXDEV:
	case -ENAMETOOLONG:
	case -EILSEQ:
		return weir__http_reply_plain(req, 404);
	case -EMFILE:
	case -ENFILE:
	case -EBUSY:
		return weir__http_reply_plain(req, 503);
	default:
		return error;
	}
}

static int serve(struct weir_http_req *req, struct weir_http_files *files, const char *path,
		 size_t size)
{
	struct weir_file_entry *entry;
	int r;

	do {
		r = weir__entry_get(files, path, size, &entry);
		if (weir_unlikely(r == -EISDIR))
			return redirect(req, path, size);
		if (weir_unlikely(r < 0))
			return r;
		r = weir__entry_send(req, entry);
		weir__entry_put(entry);
	} while (weir_unlikely(r == -ESTALE && !weir_http_req_is_answered(req)));
	return r;
}

int weir_http_files(struct weir_http_req *req, void *arg)
{
	struct weir_http_files *files = arg;
	enum weir_http_method method = weir_http_req_method(req);
	char path[WEIR_FILES_PATH_MAX];
	int size, r;

	if (weir_unlikely(method != WEIR_HTTP_GET && method != WEIR_HTTP_HEAD))
		return not_allowed(req);
	size = weir__files_path(files, weir_http_req_path(req), path);
	if (weir_unlikely(size < 0))
		return weir__http_reply_plain(req, -size);
	if (!size || path[size - 1] == '/') {
		if ((size_t)size + files->index_size >= sizeof(path))
			return weir__http_reply_plain(req, 404);
		memcpy(path + size, files->opts.index, files->index_size + 1);
		size += (int)files->index_size;
	}
	r = serve(req, files, path, (size_t)size);
	if (weir_unlikely(r < 0 && !weir_http_req_is_answered(req)))
		return failed(req, r);
	return r;
}

/* --- life --- */

static int set_opts(struct weir_http_files *files, const struct weir_http_files_opts *opts)
{
	struct weir_http_files_opts *o = &files->opts;
	struct weir_http_fields fields;
	char text[256];

	if (opts)
		*o = *opts;
	if (!o->cache_size)
		o->cache_size = 64 << 20;
	if (!o->file_max)
		o->file_max = 1 << 20;
	if (!o->entries_max)
		o->entries_max = 4096;
	if (!o->streams_max)
		o->streams_max = 1024;
	if (!o->fresh_ns)
		o->fresh_ns = WEIR_S;
	if (!o->index)
		o->index = "index.html";
	files->index_size = strlen(o->index);
	weir_http_fields_init(&fields, text, sizeof(text));
	if (o->cache_control)
		weir_http_fields_add(&fields, "Cache-Control", o->cache_control);
	if (!files->index_size || strchr(o->index, '/') || files->index_size > 255 ||
	    o->entries_max > 1 << 24 || fields.error_)
		return -EINVAL;
	return 0;
}

int weir_http_files_create(const char *root, const struct weir_http_files_opts *opts,
			   struct weir_http_files **ret_files)
{
	struct weir_http_files *files = weir__calloc(1, sizeof(*files));
	int r;

	if (!files)
		return -ENOMEM;
	r = set_opts(files, opts);
	if (!r)
		r = weir__slab_init(&files->pieces, WEIR_FILES_PIECE, files->opts.streams_max);
	if (!r)
		r = weir_dir_open(NULL, root, files->opts.symlinks ? 0 : WEIR_DIR_NO_SYMLINKS,
				  &files->dir);
	if (!r)
		r = weir__cache_init(files);
	if (r < 0) {
		weir_dir_close(files->dir);
		weir__free(files, sizeof(*files));
		return r;
	}
	*ret_files = files;
	return 0;
}

void weir_http_files_destroy(struct weir_http_files *files)
{
	if (!files)
		return;
	weir__cache_fini(files);
	weir__slab_fini(&files->pieces);
	weir_dir_close(files->dir);
	weir__free(files, sizeof(*files));
}

void weir_http_files_info(const struct weir_http_files *files,
			  struct weir_http_files_info *ret_info)
{
	*ret_info = (struct weir_http_files_info){
		.entries = files->entries,
		.used = files->used,
		.streams = (unsigned)files->pieces.in_use,
		.hits = files->hits,
		.loads = files->loads,
		.checks = files->checks,
	};
}
