/* SPDX-License-Identifier: MIT */
/*
 * test_json.c - the JSON writer of the dumps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"

static struct weir_json json;

static int setup(void **state)
{
	(void)state;
	weir__json_init(&json, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	weir__json_fini(&json);
	return weir_set_allocator(NULL);
}

static void assert_json(const char *text)
{
	assert_int_equal(json.error, 0);
	assert_int_equal(json.depth, 0);
	assert_int_equal(json.size, strlen(text));
	assert_memory_equal(json.data, text, json.size);
}

static void commas_and_nesting_are_right(void **state)
{
	(void)state;
	weir__json_object_begin(&json);
	weir__json_field_string(&json, "name", "worker 0");
	weir__json_key(&json, "ops");
	weir__json_array_begin(&json);
	weir__json_int(&json, 1);
	weir__json_object_begin(&json);
	weir__json_object_end(&json);
	weir__json_array_begin(&json);
	weir__json_array_end(&json);
	weir__json_string(&json, NULL);
	weir__json_array_end(&json);
	weir__json_field_bool(&json, "yes", true);
	weir__json_field_bool(&json, "no", false);
	weir__json_object_end(&json);
	assert_json("{\"name\":\"worker 0\",\"ops\":[1,{},[],null],\"yes\":true,\"no\":false}");
}

static void numbers_are_exact_to_their_ends(void **state)
{
	(void)state;
	weir__json_array_begin(&json);
	weir__json_int(&json, INT64_MIN);
	weir__json_int(&json, INT64_MAX);
	weir__json_int(&json, 0);
	weir__json_int(&json, -1);
	weir__json_uint(&json, UINT64_MAX);
	weir__json_array_end(&json);
	assert_json("[-9223372036854775808,9223372036854775807,0,-1,18446744073709551615]");
}

static void strings_are_escaped_keys_too(void **state)
{
	(void)state;
	weir__json_object_begin(&json);
	weir__json_field_string(&json, "a\"b", "q\" b\\ n\n t\t e\x1b d\x7f 0\x01 /");
	weir__json_object_end(&json);
	assert_json("{\"a\\\"b\":\"q\\\" b\\\\ n\\n t\\t e\\u001b d\\u007f 0\\u0001 /\"}");
}

static void valid_utf8_is_kept_and_the_rest_is_replaced(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} cases[] = {
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "a\xff"
		  "b",
		  "a\xef\xbf\xbd"
		  "b" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },		/* overlong */
		{ "\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* surrogate */
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xf4\x8f\xbf\xbf" },
		{ "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },		/* cut off */
		{ "\xf0\x9f\x98", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\x80", "\xef\xbf\xbd" },
	};
	char want[64];
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *in = strdup(cases[i].in); /* on the heap: ASan sees a read behind its end */

		assert_non_null(in);
		weir__json_fini(&json);
		weir__json_init(&json, 1000);
		weir__json_string(&json, in);
		strcpy(want, "\"");
		strcat(want, cases[i].out);
		strcat(want, "\"");
		assert_json(want);
		free(in);
	}
}

static void a_long_text_grows_the_buffer(void **state)
{
	unsigned i;

	(void)state;
	weir__json_array_begin(&json);
	for (i = 0; i < 20000; i++)
		weir__json_uint(&json, 1234567);
	weir__json_array_end(&json);
	assert_int_equal(json.error, 0);
	assert_int_equal(json.size, 20000 * 8 + 1);
	assert_memory_equal(json.data + json.size - 9, ",1234567]", 9);
}

static void the_bound_is_kept_and_the_error_sticks(void **state)
{
	size_t size;
	unsigned i;

	(void)state;
	weir__json_init(&json, 100);
	weir__json_array_begin(&json);
	for (i = 0; i < 99; i++)
		weir__json_string(&json, "0123456789");
	assert_int_equal(json.error, -ENOBUFS);
	assert_true(json.size <= 100 && json.capacity <= 100);
	size = json.size;
	weir__json_int(&json, 1);
	weir__json_array_end(&json);
	assert_int_equal(json.size, size);
	assert_int_equal(json.error, -ENOBUFS);
}

static void a_text_that_just_fits_is_whole(void **state)
{
	(void)state;
	weir__json_init(&json, 12);
	weir__json_string(&json, "0123456789");
	assert_json("\"0123456789\"");
}

static unsigned allocs_left;

static void *few_allocs(void *arg, size_t size, size_t align)
{
	(void)arg;
	return allocs_left-- ? aligned_alloc(align, (size + align - 1) / align * align) : NULL;
}

static void few_free(void *arg, void *ptr, size_t size)
{
	(void)arg;
	(void)size;
	free(ptr);
}

static void no_memory_is_an_error_that_sticks_whichever_growth_fails(void **state)
{
	struct weir_allocator few = { few_allocs, few_free, NULL };
	unsigned n, i;

	(void)state;
	assert_int_equal(weir_set_allocator(&few), 0);
	for (n = 0; n < 3; n++) {
		allocs_left = n;
		weir__json_init(&json, 1 << 20);
		weir__json_array_begin(&json);
		for (i = 0; i < 1000; i++)
			weir__json_string(&json, "text");
		weir__json_array_end(&json);
		assert_int_equal(json.error, -ENOMEM);
		weir__json_fini(&json);
	}
}

#define json_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		json_test(commas_and_nesting_are_right),
		json_test(numbers_are_exact_to_their_ends),
		json_test(strings_are_escaped_keys_too),
		json_test(valid_utf8_is_kept_and_the_rest_is_replaced),
		json_test(a_long_text_grows_the_buffer),
		json_test(the_bound_is_kept_and_the_error_sticks),
		json_test(a_text_that_just_fits_is_whole),
		json_test(no_memory_is_an_error_that_sticks_whichever_growth_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
