/* SPDX-License-Identifier: MIT */
/*
 * json.h - writes JSON (RFC 8259) for dumps, into a buffer that grows up to a bound.
 *
 * Commas and nesting are the writer's concern:
 *
 *	weir__json_init(&json, 1 << 20);
 *	weir__json_object_begin(&json);
 *	weir__json_field_string(&json, "name", "worker 0");
 *	weir__json_key(&json, "ops");
 *	weir__json_array_begin(&json);
 *	weir__json_int(&json, 1);
 *	weir__json_array_end(&json);
 *	weir__json_object_end(&json);
 *	if (!json.error)
 *		send(json.data, json.size);
 *	weir__json_fini(&json);
 *
 * An error sticks: what comes after it does nothing, so it is looked at once, at the end.
 * An object without an end, or a value without a key, is a bug of ours and asserted.
 */
#ifndef WEIR_CORE_JSON_H
#define WEIR_CORE_JSON_H

#include "core/weir_core.h"

#define WEIR__JSON_DEPTH_MAX 32

struct weir_json {
	char *data; /* size bytes, not ended by a zero; the writer's */
	size_t size;
	size_t capacity;
	size_t size_max;
	int error; /* 0, -ENOMEM, or -ENOBUFS: size_max was reached */
	unsigned depth;
	uint32_t is_object; /* bit n: level n is an object */
	uint32_t has_items; /* bit n: level n needs a comma before its next item */
	bool has_key;	    /* a key waits for its value */
};

void weir__json_init(struct weir_json *json, size_t size_max);
void weir__json_fini(struct weir_json *json);

void weir__json_object_begin(struct weir_json *json);
void weir__json_object_end(struct weir_json *json);
void weir__json_array_begin(struct weir_json *json);
void weir__json_array_end(struct weir_json *json);
void weir__json_key(struct weir_json *json, const char *key);

/* NULL is written as null. What is no valid UTF-8 becomes U+FFFD. */
void weir__json_string(struct weir_json *json, const char *string);
void weir__json_int(struct weir_json *json, int64_t value);
void weir__json_uint(struct weir_json *json, uint64_t value);
void weir__json_bool(struct weir_json *json, bool value);

/* A key and its value. */
void weir__json_field_string(struct weir_json *json, const char *key, const char *value);
void weir__json_field_int(struct weir_json *json, const char *key, int64_t value);
void weir__json_field_uint(struct weir_json *json, const char *key, uint64_t value);
void weir__json_field_bool(struct weir_json *json, const char *key, bool value);

#endif
