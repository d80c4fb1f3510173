/* SPDX-License-Identifier: MIT */
/*
 * http_head.c - from bytes to a parsed head, with llhttp, and what llhttp leaves open.
 *
 * llhttp tells pieces; they are kept as offsets from the first byte of the head, which
 * is contiguous (in the receive buffer, or put together elsewhere), so a piece that came in two
 * parts is just longer. llhttp stops behind the empty line: a body of known length needs no parser,
 * a chunked one is parsed on from there.
 *
 * Strict where others guess, since two that guess differently on one connection is how requests
 * are smuggled: see check_line() and check_fields(). llhttp itself, without its lenient flags,
 * refuses bare CR and LF, folded lines, space before a colon, control characters, two lengths, a
 * length beside chunks, and chunk sizes that overflow (all tested).
 */
#include <string.h>
#include <strings.h>

#include "net/http.h"

/* Bytes of chunk extensions and trailers of one body. */
#define EXTRA_MAX 4096

static struct weir_http_parser *parser_of(llhttp_t *llhttp)
{
	return weir_container_of(llhttp, struct weir_http_parser, llhttp);
}

static int refuse(struct weir_http_parser *parser, int status)
{
	parser->status = status;
	return HPE_USER;
}

/* --- llhttp's callbacks --- */

static int on_target(llhttp_t *llhttp, const char *at, size_t size)
{
	struct weir_http_parser *parser = parser_of(llhttp);
	struct weir_http_span *target = &parser->head->target;

	if (!target->size)
		target->at = (uint16_t)(at - parser->base);
	if (target->size + size > parser->limits->target_max)
		return refuse(parser, 414);
	target->size = (uint16_t)(target->size + size);
	return 0;
}

/* Trailers and chunk extensions are bounded and dropped. */
static int on_extra(llhttp_t *llhttp, const char *at, size_t size)
{
	struct weir_http_parser *parser = parser_of(llhttp);

	(void)at;
	parser->extra += (uint32_t)size + 1;
	return parser->extra > EXTRA_MAX ? refuse(parser, 431) : 0;
}

static int on_field(llhttp_t *llhttp, const char *at, size_t size)
{
	struct weir_http_parser *parser = parser_of(llhttp);
	struct weir_http_head *head = parser->head;
	struct weir_http_field_at *field;

	if (parser->in_body)
		return on_extra(llhttp, at, size);
	if (!parser->in_field) {
		if (head->count == parser->limits->fields_max)
			return refuse(parser, 431);
		field = &head->fields[head->count++];
		field->name.at = (uint16_t)(at - parser->base);
		field->name.size = 0;
		field->value.size = 0;
		parser->in_field = true;
		parser->in_value = false;
	}
	field = &head->fields[head->count - 1];
	field->name.size = (uint16_t)(field->name.size + size);
	return 0;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t size)
{
	struct weir_http_parser *parser = parser_of(llhttp);
	struct weir_http_field_at *field;

	if (parser->in_body)
		return on_extra(llhttp, at, size);
	field = &parser->head->fields[parser->head->count - 1];
	if (!parser->in_value) {
		field->value.at = (uint16_t)(at - parser->base);
		parser->in_value = true;
	}
	field->value.size = (uint16_t)(field->value.size + size);
	return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
	parser_of(llhttp)->in_field = false;
	return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
	struct weir_http_parser *parser = parser_of(llhttp);
	struct weir_http_head *head = parser->head;

	head->minor = llhttp->http_minor;
	head->keep_alive = llhttp->http_minor ? !(llhttp->flags & F_CONNECTION_CLOSE) :
						(llhttp->flags & F_CONNECTION_KEEP_ALIVE) != 0;
	head->chunked = llhttp->flags & F_CHUNKED;
	head->length = llhttp->flags & F_CONTENT_LENGTH ? llhttp->content_length : 0;
	/* Switching protocols would be the handler's choice: until then this is HTTP. */
	llhttp->upgrade = 0;
	parser->head_done = true;
	parser->in_body = head->chunked;
	return head->chunked ? HPE_PAUSED : 1;
}

static int on_message_complete(llhttp_t *llhttp)
{
	struct weir_http_parser *parser = parser_of(llhttp);

	parser->body_done = true;
	parser->in_body = false;
	return HPE_PAUSED;
}

static int on_chunk_header(llhttp_t *llhttp)
{
	struct weir_http_parser *parser = parser_of(llhttp);

	if (__builtin_add_overflow(parser->chunks_size, llhttp->content_length,
				   &parser->chunks_size))
		parser->chunks_size = UINT64_MAX;
	return 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t size)
{
	struct weir_http_parser *parser = parser_of(llhttp);

	parser->data = at;
	parser->data_size = size;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_url = on_target,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_chunk_extension_name = on_extra,
	.on_chunk_extension_value = on_extra,
	.on_chunk_header = on_chunk_header,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* --- what llhttp does not check --- */

static enum weir_http_method method_of(uint8_t method)
{
	switch (method) {
	case HTTP_GET:
		return WEIR_HTTP_GET;
	case HTTP_HEAD:
		return WEIR_HTTP_HEAD;
	case HTTP_POST:
		return WEIR_HTTP_POST;
	case HTTP_PUT:
		return WEIR_HTTP_PUT;
	case HTTP_DELETE:
		return WEIR_HTTP_DELETE;
	case HTTP_OPTIONS:
		return WEIR_HTTP_OPTIONS;
	case HTTP_PATCH:
		return WEIR_HTTP_PATCH;
	case HTTP_TRACE:
		return WEIR_HTTP_TRACE;
	default:
		return WEIR_HTTP_OTHER;
	}
}

/* Where the path begins in an absolute target, "http://host/path"; 0 when it is none. */
static size_t authority_end(const char *target, size_t size)
{
	size_t skip = size > 7 && !strncasecmp(target, "http://", 7)  ? 7 :
		      size > 8 && !strncasecmp(target, "https://", 8) ? 8 :
									0;

	if (!skip || target[skip] == '/' || target[skip] == '?')
		return 0;
	while (skip < size && target[skip] != '/' && target[skip] != '?')
		skip++;
	return skip;
}

/* Splits the target. Returns 0 or the status of the answer. */
static int split_target(const char *base, struct weir_http_head *head)
{
	const char *target = base + head->target.at;
	size_t size = head->target.size;
	const char *query;
	size_t skip = 0;

	if (memchr(target, '#', size))
		return 400;
	if (*target != '/') {
		if (size == 1 && *target == '*' && head->method == WEIR_HTTP_OPTIONS) {
			head->path = head->target;
			return 0;
		}
		skip = authority_end(target, size);
		if (!skip)
			return 400;
	}
	query = memchr(target + skip, '?', size - skip);
	head->has_query = query;
	head->path.at = (uint16_t)(head->target.at + skip);
	head->path.size = (uint16_t)((query ? (size_t)(query - target) : size) - skip);
	if (query) {
		head->query.at = (uint16_t)(query + 1 - base);
		head->query.size = (uint16_t)(target + size - query - 1);
	}
	return 0;
}

/* "METHOD target HTTP/1.x", one space each: llhttp would take more, and RTSP. */
static int check_line(struct weir_http_parser *parser)
{
	const char *base = parser->base;
	struct weir_http_head *head = parser->head;
	const char *method = llhttp_method_name(parser->llhttp.method);
	size_t size = strlen(method);
	const char *after = base + head->target.at + head->target.size;

	if (parser->llhttp.http_major != 1)
		return 505;
	if (head->target.at != size + 1 || memcmp(base, method, size) || base[size] != ' ' ||
	    memcmp(after, " HTTP/1.", 8))
		return 400;
	if (parser->llhttp.method == HTTP_CONNECT)
		return 501;	/* we are no proxy */
	head->name = (struct weir_http_span){ 0, (uint16_t)size };
	head->method = (uint8_t)method_of(parser->llhttp.method);
	return split_target(base, head);
}

/* uri-host [ ":" port ], RFC 3986: letters that belong there, at least one, and no list. */
static bool is_host(const char *value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)value[i];

		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			continue;
		if (!c || !strchr("-._~%!$&'()*+;=:[]", c))
			return false;
	}
	return size > 0;
}

static bool is_text(const char *base, struct weir_http_span span, const char *text, size_t size)
{
	return span.size == size && !strncasecmp(base + span.at, text, size);
}

#define IS(span, literal) is_text(base, span, literal, sizeof(literal) - 1)

static void trim(const char *base, struct weir_http_span *span)
{
	while (span->size &&
	       (base[span->at + span->size - 1] == ' ' || base[span->at + span->size - 1] == '\t'))
		span->size--;
}

static int check_fields(struct weir_http_parser *parser)
{
	const char *base = parser->base;
	struct weir_http_head *head = parser->head;
	unsigned hosts = 0, codings = 0;

	for (unsigned i = 0; i < head->count; i++) {
		struct weir_http_field_at *field = &head->fields[i];

		trim(base, &field->value);
		switch (field->name.size) {
		case 4:
			if (!IS(field->name, "Host"))
				break;
			if (++hosts > 1 || !is_host(base + field->value.at, field->value.size))
				return 400;
			break;
		case 6:
			if (!IS(field->name, "Expect") || !head->minor)
				break;
			if (!IS(field->value, "100-continue"))
				return 417;
			head->expects = true;
			break;
		case 17:
			if (!IS(field->name, "Transfer-Encoding"))
				break;
			/* Another coding, or a list of them, could be read in two ways. */
			if (++codings > 1 || !head->minor)
				return 400;
			if (!IS(field->value, "chunked"))
				return 501;
			break;
		}
	}
	return hosts || !head->minor ? 0 : 400;
}

/* --- parsing --- */

void weir__http_parser_init(struct weir_http_parser *parser, struct weir_http_head *head,
			    const struct weir_http_limits *limits)
{
	llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
	parser->head = head;
	parser->limits = limits;
	parser->in_body = false;
}

void weir__http_head_begin(struct weir_http_parser *parser, const char *base)
{
	struct weir_http_head *head = parser->head;

	memset(head, 0, offsetof(struct weir_http_head, fields));
	parser->base = base;
	parser->status = 0;
	parser->in_field = parser->in_value = false;
	parser->head_done = parser->body_done = false;
	parser->data_size = 0;
	parser->chunks_size = 0;
	parser->extra = 0;
}

/* Whether what was seen may be a method that we do not know: "MKCOL2 ". */
static bool is_method_like(const char *from, const char *end)
{
	const char *at = from;

	while (at < end && *at >= 'A' && *at <= 'Z')
		at++;
	return at > from && (at == end || *at == ' ');
}

/* Our status for what llhttp refused. end: of what was seen. */
static int status_of(struct weir_http_parser *parser, llhttp_errno_t error, const char *end)
{
	if (parser->status)
		return parser->status;
	if (error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE)
		return memcmp(llhttp_get_error_reason(&parser->llhttp), "Expected", 8) ? 505 : 400;
	if (error == HPE_INVALID_METHOD && is_method_like(parser->base, end))
		return 501;
	return 400;
}

int weir__http_head_parse(struct weir_http_parser *parser, const char *data, size_t size)
{
	llhttp_errno_t error;
	int status;

	error = llhttp_execute(&parser->llhttp, data, size);
	if (error == HPE_OK)
		return 0;
	if (error != HPE_PAUSED || !parser->head_done)
		return -status_of(parser, error, data + size);
	parser->head->size = (uint16_t)(llhttp_get_error_pos(&parser->llhttp) - parser->base);
	llhttp_resume(&parser->llhttp);
	status = check_line(parser);
	if (!status)
		status = check_fields(parser);
	return status ? -status : 1;
}

/* --- the same again --- */

/* Bytes of a head up to the last field it has. */
static size_t used_size(const struct weir_http_head *head)
{
	return offsetof(struct weir_http_head, fields) +
	       head->count * sizeof(struct weir_http_field_at);
}

bool weir__http_memo_recall(struct weir_http_memo *memo, const char *data, size_t size,
			    struct weir_http_head *head)
{
	if (!memo->size || size < memo->size || memcmp(data, memo->bytes, memo->size))
		return false;
	memcpy(head, &memo->head, used_size(&memo->head));
	memo->misses = 0;
	return true;
}

void weir__http_memo_keep(struct weir_http_memo *memo, const char *data,
			  const struct weir_http_head *head)
{
	/* Where nothing repeats itself, keeping should not cost much either. */
	if (head->size > sizeof(memo->bytes) || head->chunked || head->length ||
	    (memo->misses++ & 7) > 1)
		return;
	memcpy(memo->bytes, data, head->size);
	memcpy(&memo->head, head, used_size(head));
	memo->size = head->size;
}

ssize_t weir__http_chunks_parse(struct weir_http_parser *parser, const char *data, size_t size)
{
	llhttp_errno_t error;

	parser->data_size = 0;
	error = llhttp_execute(&parser->llhttp, data, size);
	if (error == HPE_OK)
		return (ssize_t)size;
	if (error != HPE_PAUSED)
		return -EPROTO;
	llhttp_resume(&parser->llhttp);
	return llhttp_get_error_pos(&parser->llhttp) - data;
}
