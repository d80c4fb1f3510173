/* SPDX-License-Identifier: MIT */
/*
 * json.c - a JSON writer; json.h tells how it is used.
 */
#include "core/json.h"

#include <string.h>

#include "core/alloc.h"
#include "core/ensure.h"

#define CAPACITY_MIN 512

static void grow(struct weir_json *json, size_t size)
{
	size_t capacity = json->capacity ? json->capacity : CAPACITY_MIN;
	char *data;

	while (capacity - json->size < size)
		capacity *= 2;
	if (capacity > json->size_max)
		capacity = json->size_max;
	data = weir__alloc(capacity);
	if (!data) {
		json->error = -ENOMEM;
		return;
	}
	if (json->size)
		memcpy(data, json->data, json->size);
	weir__free(json->data, json->capacity);
	json->data = data;
	json->capacity = capacity;
}

static void put(struct weir_json *json, const char *data, size_t size)
{
	if (json->error)
		return;
	if (size > json->size_max - json->size) {
		json->error = -ENOBUFS;
		return;
	}
	if (size > json->capacity - json->size)
		grow(json, size);
	if (json->error)
		return;
	memcpy(json->data + json->size, data, size);
	json->size += size;
}

static void put_char(struct weir_json *json, char c)
{
	put(json, &c, 1);
}

/* Whether the innermost level has bit set. */
static bool level_has(const struct weir_json *json, uint32_t bits)
{
	return json->depth && (bits >> (json->depth - 1) & 1);
}

/* Before any value or key: the comma. */
static void item_begin(struct weir_json *json)
{
	if (level_has(json, json->has_items))
		put_char(json, ',');
	if (json->depth)
		json->has_items |= 1u << (json->depth - 1);
}

static void value_begin(struct weir_json *json)
{
	weir_assert(json->has_key == level_has(json, json->is_object));
	if (!json->has_key)
		item_begin(json);
	json->has_key = false;
}

static void level_begin(struct weir_json *json, char c, uint32_t is_object)
{
	value_begin(json);
	weir_assert(json->depth < WEIR__JSON_DEPTH_MAX);
	put_char(json, c);
	json->is_object &= ~(1u << json->depth);
	json->is_object |= is_object << json->depth;
	json->has_items &= ~(1u << json->depth);
	json->depth++;
}

static void level_end(struct weir_json *json, char c, bool is_object)
{
	weir_assert(json->depth && !json->has_key);
	weir_assert(level_has(json, json->is_object) == is_object);
	put_char(json, c);
	json->depth--;
}

void weir__json_init(struct weir_json *json, size_t size_max)
{
	*json = (struct weir_json){ .size_max = size_max };
}

void weir__json_fini(struct weir_json *json)
{
	weir__free(json->data, json->capacity);
	json->data = NULL;
	json->size = 0;
	json->capacity = 0;
}

void weir__json_object_begin(struct weir_json *json)
{
	level_begin(json, '{', 1);
}

void weir__json_object_end(struct weir_json *json)
{
	level_end(json, '}', true);
}

void weir__json_array_begin(struct weir_json *json)
{
	level_begin(json, '[', 0);
}

void weir__json_array_end(struct weir_json *json)
{
	level_end(json, ']', false);
}

/*
 * The size of the well-formed UTF-8 sequence at text, 0 when there is none. No overlong
 * forms, no surrogates, nothing above U+10FFFF (RFC 3629 section 4). text ends with a
 * zero, which is no continuation byte, so nothing behind it is read.
 */
static size_t utf8_size(const unsigned char *text)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t size, i;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	size = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	if (text[0] == 0xe0)
		low = 0xa0;
	else if (text[0] == 0xed)
		high = 0x9f;
	else if (text[0] == 0xf0)
		low = 0x90;
	else if (text[0] == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (i = 2; i < size; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	return size;
}

static void put_control(struct weir_json *json, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (c == '\n')
		put(json, "\\n", 2);
	else if (c == '\t')
		put(json, "\\t", 2);
	else
		put(json, escape, sizeof(escape));
}

static void put_quoted(struct weir_json *json, const char *string)
{
	const unsigned char *text = (const unsigned char *)string;

	put_char(json, '"');
	while (*text && !json->error) {
		size_t size = utf8_size(text);

		if (!size) {
			put(json, "\xef\xbf\xbd", 3);
			size = 1;
		} else if (*text == '"' || *text == '\\') {
			put_char(json, '\\');
			put_char(json, (char)*text);
		} else if (*text < 0x20 || *text == 0x7f) {
			put_control(json, *text);
		} else {
			put(json, (const char *)text, size);
		}
		text += size;
	}
	put_char(json, '"');
}

void weir__json_key(struct weir_json *json, const char *key)
{
	weir_assert(level_has(json, json->is_object) && !json->has_key);
	item_begin(json);
	put_quoted(json, key);
	put_char(json, ':');
	json->has_key = true;
}

void weir__json_string(struct weir_json *json, const char *string)
{
	value_begin(json);
	if (string)
		put_quoted(json, string);
	else
		put(json, "null", 4);
}

static void put_number(struct weir_json *json, uint64_t value, bool is_negative)
{
	char digits[21];
	size_t at = sizeof(digits);

	value_begin(json);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	if (is_negative)
		digits[--at] = '-';
	put(json, digits + at, sizeof(digits) - at);
}

void weir__json_int(struct weir_json *json, int64_t value)
{
	put_number(json, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
}

void weir__json_uint(struct weir_json *json, uint64_t value)
{
	put_number(json, value, false);
}

void weir__json_bool(struct weir_json *json, bool value)
{
	value_begin(json);
	put(json, value ? "true" : "false", value ? 4 : 5);
}

void weir__json_field_string(struct weir_json *json, const char *key, const char *value)
{
	weir__json_key(json, key);
	weir__json_string(json, value);
}

void weir__json_field_int(struct weir_json *json, const char *key, int64_t value)
{
	weir__json_key(json, key);
	weir__json_int(json, value);
}

void weir__json_field_uint(struct weir_json *json, const char *key, uint64_t value)
{
	weir__json_key(json, key);
	weir__json_uint(json, value);
}

void weir__json_field_bool(struct weir_json *json, const char *key, bool value)
{
	weir__json_key(json, key);
	weir__json_bool(json, value);
}
