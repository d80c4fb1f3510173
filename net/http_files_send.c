/* SPDX-License-Identifier: MIT */
/*
 * http_files_send.c - conditions (RFC 9110, 13), single ranges (14), and the two ways to
 * send: from memory by reference, and from disk piece by piece.
 *
 * A piece is read only once the one before was taken by the kernel, and checked against what the
 * head promised before it is written: size, times and identity of the file.
 */
#include <string.h>
#include <strings.h>

#include "net/http_files.h"

/* The request's headers that decide what is sent; data is NULL: not there. */
struct conditions {
	struct weir_http_text if_match;
	struct weir_http_text if_none_match;
	struct weir_http_text if_modified_since;
	struct weir_http_text if_unmodified_since;
	struct weir_http_text if_range;
	struct weir_http_text range;
};

struct part {
	uint64_t at;
	uint64_t size;
};

/* --- which headers --- */

static struct weir_http_text *place_for(struct conditions *c, const char *name, size_t size)
{
	static const struct {
		const char *name;
		size_t size;
		size_t at;
	} names[] = {
		{ "If-None-Match", 13, offsetof(struct conditions, if_none_match) },
		{ "If-Modified-Since", 17, offsetof(struct conditions, if_modified_since) },
		{ "If-Match", 8, offsetof(struct conditions, if_match) },
		{ "If-Unmodified-Since", 19, offsetof(struct conditions, if_unmodified_since) },
		{ "If-Range", 8, offsetof(struct conditions, if_range) },
		{ "Range", 5, offsetof(struct conditions, range) },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].size == size && !strncasecmp(names[i].name, name, size))
			return (struct weir_http_text *)(void *)((char *)c + names[i].at);
	return NULL;
}

/* Returns whether there are any. */
static bool find_conditions(const struct weir_http_req *req, struct conditions *ret)
{
	bool any = false;

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < req->head.count; i++) {
		const struct weir_http_field_at *field = &req->head.fields[i];
		const char *name = req->base + field->name.at;
		struct weir_http_text *place;

		if ((*name | 0x20) != 'i' && (*name | 0x20) != 'r')
			continue;
		place = place_for(ret, name, field->name.size);
		if (!place || place->data)
			continue;
		*place = (struct weir_http_text){ req->base + field->value.at, field->value.size };
		any = true;
	}
	return any;
}

/* --- conditions --- */

/* Whether list, "*" or a list of entity tags, names tag. weak: W/ does not matter. */
static bool names_tag(struct weir_http_text list, struct weir_http_text tag, bool weak)
{
	const char *at = list.data, *end = list.data + list.size;

	if (list.size == 1 && *at == '*')
		return true;
	while (at < end) {
		bool is_weak = false;
		const char *close;

		while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
			at++;
		if (end - at > 2 && at[0] == 'W' && at[1] == '/') {
			is_weak = true;
			at += 2;
		}
		if (at == end || *at != '"')
			return false;
		close = memchr(at + 1, '"', (size_t)(end - at - 1));
		if (!close)
			return false;
		if ((weak || !is_weak) && (size_t)(close + 1 - at) == tag.size &&
		    !memcmp(at, tag.data, tag.size))
			return true;
		at = close + 1;
	}
	return false;
}

/* Whether the file is not newer than date says. A date that is none says nothing. */
static bool is_unchanged_since(struct weir_http_text date, const struct weir_file_entry *entry,
			       bool otherwise)
{
	int64_t seconds;

	if (weir_http_date_parse(date, &seconds) < 0)
		return otherwise;
	return entry->stat.mtime_ns / WEIR_S <= seconds;
}

/* The status that the conditions lead to, in the order of RFC 9110, 13.2.2. */
static int evaluate(const struct conditions *c, const struct weir_file_entry *entry)
{
	if (c->if_match.data) {
		if (!names_tag(c->if_match, entry->etag, false))
			return 412;
	} else if (c->if_unmodified_since.data) {
		if (!is_unchanged_since(c->if_unmodified_since, entry, true))
			return 412;
	}
	if (c->if_none_match.data)
		return names_tag(c->if_none_match, entry->etag, true) ? 304 : 200;
	if (c->if_modified_since.data)
		return is_unchanged_since(c->if_modified_since, entry, false) ? 304 : 200;
	return 200;
}

/* --- ranges --- */

static bool read_number(const char **at, const char *end, uint64_t *ret)
{
	const char *from = *at;

	*ret = 0;
	while (*at < end && **at >= '0' && **at <= '9')
		if (__builtin_mul_overflow(*ret, 10, ret) ||
		    __builtin_add_overflow(*ret, (uint64_t)(*(*at)++ - '0'), ret))
			return false;
	return *at > from;
}

/*
 * One range in bytes. Returns 206 with *ret_part, 416 when it lies behind the end, 200 for
 * whatever else: several ranges, another unit, no range at all may be ignored (RFC 9110, 14.2).
 */
static int parse_range(struct weir_http_text range, uint64_t size, struct part *ret_part)
{
	const char *at = range.data + 6, *end = range.data + range.size;
	uint64_t first = 0, last = size - 1;
	bool has_first;

	if (range.size < 8 || strncasecmp(range.data, "bytes=", 6))
		return 200;
	has_first = *at != '-';
	if ((has_first && !read_number(&at, end, &first)) || at == end || *at++ != '-')
		return 200;
	if (at < end && !read_number(&at, end, &last))
		return 200;
	if (at != end || (!has_first && end[-1] == '-') ||
	    (has_first && last < first && size > first))
		return 200;
	if (!has_first) {	/* the last so many */
		if (!last || !size)
			return 416;
		first = last < size ? size - last : 0;
		last = size - 1;
	}
	if (first >= size)
		return 416;
	if (last >= size)
		last = size - 1;
	*ret_part = (struct part){ first, last - first + 1 };
	return 206;
}

static int choose_part(const struct conditions *c, const struct weir_file_entry *entry,
		       struct part *part)
{
	if (!c->range.data)
		return 200;
	/* The range counts only for the version that the peer has a part of. */
	if (c->if_range.data) {
		bool is_tag = c->if_range.size && c->if_range.data[c->if_range.size - 1] == '"';

		if (is_tag ? !names_tag(c->if_range, entry->etag, false) :
			     c->if_range.size != entry->modified.size ||
				     memcmp(c->if_range.data, entry->modified.data,
					    entry->modified.size))
			return 200;
	}
	return parse_range(c->range, entry->stat.size, part);
}

/* --- sending --- */

static void release_entry(void *arg)
{
	weir__entry_put(arg);
}

static int send_kept(struct weir_http_req *req, struct weir_file_entry *entry,
		     const struct part *part)
{
	int r;

	entry->refs++;
	r = weir_http_reply_lend(req, entry->data + part->at, part->size, release_entry, entry);
	if (r < 0)
		weir__entry_put(entry);
	return r;
}

/* Whether the open file still has the content it had; that it lost its name does not matter. */
static bool is_untouched(const struct weir_stat *now, const struct weir_stat *then)
{
	return now->size == then->size && now->mtime_ns == then->mtime_ns &&
	       (now->ctime_ns == then->ctime_ns || now->links != then->links);
}

static int send_pieces(struct weir_http_req *req, struct weir_file_entry *entry,
		       struct weir_file *file, const struct part *part, char *buf)
{
	uint64_t done = 0;

	while (done < part->size) {
		size_t size = part->size - done < WEIR_FILES_PIECE ? (size_t)(part->size - done) :
								     WEIR_FILES_PIECE;
		int r = weir_file_read_exact(file, buf, size, (int64_t)(part->at + done));
		struct weir_stat stat;

		if (!r)
			r = weir_file_stat(file, &stat);
		if (!r && !is_untouched(&stat, &entry->stat))
			r = -EIO;
		if (!r)
			r = weir_http_reply_write(req, buf, size);
		if (r < 0)
			return r;
		done += size;
	}
	return 0;
}

static int send_from_disk(struct weir_http_req *req, struct weir_file_entry *entry,
			  struct weir_file *file, const struct part *part)
{
	struct weir_http_files *files = entry->files;
	char *buf = weir__slab_get(&files->pieces);
	int r;

	if (!buf)
		return -ENOBUFS;
	r = send_pieces(req, entry, file, part, buf);
	weir__slab_put(&files->pieces, buf);
	return r;
}

static int send_body(struct weir_http_req *req, struct weir_file_entry *entry,
		     struct weir_file *file, const struct part *part)
{
	int r = 0;

	if (entry->data)
		r = send_kept(req, entry, part);
	else if (part->size && !req->skip_body)
		r = send_from_disk(req, entry, file, part);
	return r < 0 ? r : weir_http_reply_end(req);
}

static int send_range(struct weir_http_req *req, struct weir_file_entry *entry,
		      struct weir_file *file, const struct part *part)
{
	char text[WEIR_FILES_FIELDS + 128], range[80];
	struct weir_http_fields fields;
	char *to = range;
	int r;

	memcpy(to, "bytes ", 6);
	to = weir__http_put_number(to + 6, part->at);
	*to++ = '-';
	to = weir__http_put_number(to, part->at + part->size - 1);
	*to++ = '/';
	to = weir__http_put_number(to, entry->stat.size);
	*to = '\0';
	weir_http_fields_init(&fields, text, sizeof(text));
	memcpy(text, entry->fields.text_, entry->fields.size_);
	fields.size_ = entry->fields.size_;
	weir_http_fields_add(&fields, "Content-Range", range);
	r = weir_http_reply_start(req, 206, &fields, (int64_t)part->size);
	return r < 0 ? r : send_body(req, entry, file, part);
}

static int refuse_range(struct weir_http_req *req, const struct weir_file_entry *entry)
{
	struct weir_http_fields fields;
	char text[64], range[40] = "bytes */";

	*weir__http_put_number(range + 8, entry->stat.size) = '\0';
	weir_http_fields_init(&fields, text, sizeof(text));
	weir_http_fields_add(&fields, "Content-Range", range);
	return weir_http_reply(req, 416, &fields, NULL, 0);
}

static int send_whole(struct weir_http_req *req, struct weir_file_entry *entry,
		      struct weir_file *file)
{
	const struct part part = { 0, entry->stat.size };
	int r;

	/* Small enough to be copied behind its head. */
	if (entry->data && part.size <= WEIR_HTTP_COPY_MAX)
		return weir_http_reply(req, 200, &entry->fields, entry->data, part.size);
	r = weir_http_reply_start(req, 200, &entry->fields, (int64_t)part.size);
	return r < 0 ? r : send_body(req, entry, file, &part);
}

/* What is not in memory is opened before the head promises anything about it. */
static int open_same(struct weir_file_entry *entry, struct weir_file **ret_file)
{
	struct weir_stat stat;
	int r;

	if (entry->data || !entry->stat.size)
		return 0;
	r = weir__files_open(entry->files, entry->key, 0, ret_file);
	if (r < 0)
		return r;
	r = weir_file_stat(*ret_file, &stat);
	if (!r && !weir__stat_is_same(&stat, &entry->stat)) {
		weir__entry_forget(entry);
		r = -ESTALE;
	}
	if (r < 0)
		weir_file_close(*ret_file);
	return r;
}

static int send_opened(struct weir_http_req *req, struct weir_file_entry *entry,
		       struct weir_file *file)
{
	struct conditions conditions;
	struct part part;
	int status;

	if (weir_likely(!find_conditions(req, &conditions)))
		return send_whole(req, entry, file);
	status = evaluate(&conditions, entry);
	if (status != 200)
		return weir_http_reply(req, status, status == 304 ? &entry->fields : NULL, NULL, 0);
	/* A range is defined for GET alone. */
	if (weir_http_req_method(req) == WEIR_HTTP_GET)
		status = choose_part(&conditions, entry, &part);
	if (status == 416)
		return refuse_range(req, entry);
	return status == 206 ? send_range(req, entry, file, &part) :
			       send_whole(req, entry, file);
}

int weir__entry_send(struct weir_http_req *req, struct weir_file_entry *entry)
{
	struct weir_file *file = NULL;
	int r = open_same(entry, &file);

	if (r < 0)
		return r;
	r = send_opened(req, entry, file);
	if (weir_unlikely(file))
		weir_file_close(file);
	return r;
}
