/* SPDX-License-Identifier: MIT */
/*
 * test_alloc.c - the allocator hook and the slabs on it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#define is_poisoned(ptr) __asan_address_is_poisoned(ptr)
#endif

/* Counts, and fails the allocation number fail_at (from 1; 0: none). */
struct counter {
	size_t live_size;
	unsigned allocs;
	unsigned frees;
	unsigned fail_at;
	size_t last_align;
};

static struct counter counter;

static void *counted_alloc(void *arg, size_t size, size_t align)
{
	struct counter *to = arg;
	void *ptr;

	if (++to->allocs == to->fail_at)
		return NULL;
	ptr = aligned_alloc(align, (size + align - 1) / align * align);
	if (ptr)
		to->live_size += size;
	to->last_align = align;
	return ptr;
}

static void counted_free(void *arg, void *ptr, size_t size)
{
	struct counter *to = arg;

	to->frees++;
	to->live_size -= size;
	free(ptr);
}

static int hook(void **state)
{
	struct weir_allocator allocator = { counted_alloc, counted_free, &counter };

	(void)state;
	memset(&counter, 0, sizeof(counter));
	return weir_set_allocator(&allocator);
}

static int unhook(void **state)
{
	(void)state;
	return weir_set_allocator(NULL);
}

static void an_allocator_without_a_function_is_refused(void **state)
{
	struct weir_allocator no_alloc = { NULL, counted_free, NULL };
	struct weir_allocator no_free = { counted_alloc, NULL, NULL };

	(void)state;
	assert_int_equal(weir_set_allocator(&no_alloc), -EINVAL);
	assert_int_equal(weir_set_allocator(&no_free), -EINVAL);
	weir__free(weir__alloc(1), 1);
	assert_int_equal(counter.allocs, 1);
}

static void every_byte_goes_through_the_hook_with_its_size(void **state)
{
	void *a = weir__alloc(100);
	void *b = weir__calloc(10, 30);
	void *c = weir__alloc_aligned(4096, 4096);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	assert_int_equal(counter.allocs, 3);
	assert_int_equal(counter.live_size, 100 + 300 + 4096);
	assert_int_equal((uintptr_t)a % 16, 0);
	assert_int_equal((uintptr_t)c % 4096, 0);
	weir__free(a, 100);
	weir__free(b, 300);
	weir__free(c, 4096);
	weir__free(NULL, 7);
	assert_int_equal(counter.live_size, 0);
	assert_int_equal(counter.frees, 3);
}

static void without_a_hook_memory_comes_from_libc(void **state)
{
	void *ptr;

	(void)state;
	assert_int_equal(weir_set_allocator(NULL), 0);
	ptr = weir__alloc_aligned(3, 256);
	assert_non_null(ptr);
	assert_int_equal((uintptr_t)ptr % 256, 0);
	assert_int_equal(counter.allocs, 0);
	weir__free(ptr, 3);
}

static void calloc_is_zero_and_refuses_what_overflows(void **state)
{
	static const char zeros[4000];
	char *dirty = weir__alloc(4000);
	char *clean;

	(void)state;
	memset(dirty, 0xff, 4000);
	weir__free(dirty, 4000);
	clean = weir__calloc(40, 100);
	assert_memory_equal(clean, zeros, 4000);
	weir__free(clean, 4000);
	assert_null(weir__calloc(SIZE_MAX / 2, 3));
	assert_null(weir__calloc(0, 3));
	assert_null(weir__alloc(0));
}

static void a_size_near_the_end_of_the_address_space_is_refused(void **state)
{
	(void)state;
	weir_set_allocator(NULL);
	assert_null(weir__alloc_aligned(SIZE_MAX - 8, 64));
}

static void objects_are_on_cache_lines_and_apart(void **state)
{
	enum { COUNT = 3000 };
	static unsigned char *objects[COUNT];
	struct weir_slab slab;
	unsigned i, k;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 100, COUNT), 0);
	assert_int_equal(counter.allocs, 0);
	for (i = 0; i < COUNT; i++) {
		objects[i] = weir__slab_get(&slab);
		assert_non_null(objects[i]);
		assert_int_equal((uintptr_t)objects[i] % 64, 0);
		memset(objects[i], (int)i, 100);
	}
	for (i = 0; i < COUNT; i++)
		for (k = 0; k < 100; k++)
			assert_int_equal(objects[i][k], (unsigned char)i);
	for (i = 0; i < COUNT; i++)
		weir__slab_put(&slab, objects[i]);
	weir__slab_fini(&slab);
	assert_int_equal(counter.live_size, 0);
}

static void the_object_put_last_is_got_first(void **state)
{
	struct weir_slab slab;
	void *a, *b;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 8, 10), 0);
	a = weir__slab_get(&slab);
	b = weir__slab_get(&slab);
	weir__slab_put(&slab, a);
	weir__slab_put(&slab, b);
	assert_ptr_equal(weir__slab_get(&slab), b);
	assert_ptr_equal(weir__slab_get(&slab), a);
	weir__slab_put(&slab, a);
	weir__slab_put(&slab, b);
	weir__slab_fini(&slab);
}

static void getting_and_putting_inline_keeps_the_same_counts(void **state)
{
	struct weir_slab slab;
	void *a, *b;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 8, 2), 0);
	assert_non_null(a = weir__slab_get_hot(&slab));
	assert_non_null(b = weir__slab_get_hot(&slab));
	assert_null(weir__slab_get_hot(&slab));
	assert_int_equal(slab.refused, 1);
	weir__slab_put_hot(&slab, a);
	assert_int_equal(slab.in_use, 1);
	assert_ptr_equal(weir__slab_get_hot(&slab), a);
	assert_int_equal(slab.in_use, 2);
	assert_int_equal(slab.high, 2);
	weir__slab_put_hot(&slab, a);
	weir__slab_put_hot(&slab, b);
	assert_ptr_equal(weir__slab_get(&slab), b);
	weir__slab_put(&slab, b);
	weir__slab_fini(&slab);
}

static void the_bound_refuses_and_a_put_makes_room(void **state)
{
	void *objects[5];
	struct weir_slab slab;
	unsigned i;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 40, 5), 0);
	for (i = 0; i < 5; i++)
		assert_non_null(objects[i] = weir__slab_get(&slab));
	assert_null(weir__slab_get(&slab));
	assert_int_equal(weir__slab_error(&slab), -ENOBUFS);
	assert_int_equal(slab.refused, 1);
	assert_int_equal(slab.high, 5);
	weir__slab_put(&slab, objects[3]);
	assert_int_equal(slab.in_use, 4);
	assert_non_null(objects[3] = weir__slab_get(&slab));
	for (i = 0; i < 5; i++)
		weir__slab_put(&slab, objects[i]);
	assert_int_equal(slab.high, 5);
	weir__slab_fini(&slab);
}

static void no_memory_for_a_chunk_is_refused_and_tried_again(void **state)
{
	struct weir_slab slab;
	void *object;

	(void)state;
	counter.fail_at = 1;
	assert_int_equal(weir__slab_init(&slab, 40, 5), 0);
	assert_null(weir__slab_get(&slab));
	assert_int_equal(weir__slab_error(&slab), -ENOMEM);
	assert_int_equal(slab.refused, 1);
	assert_int_equal(slab.in_use, 0);
	object = weir__slab_get(&slab);
	assert_non_null(object);
	weir__slab_put(&slab, object);
	weir__slab_fini(&slab);
	assert_int_equal(counter.live_size, 0);
}

#ifndef WEIR_DEBUG /* there a broken contract aborts */
static void sizes_out_of_range_are_refused(void **state)
{
	struct weir_slab slab;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 0, 5), -EINVAL);
	assert_int_equal(weir__slab_init(&slab, 5, 0), -EINVAL);
	assert_int_equal(weir__slab_init(&slab, (16u << 20) + 1, 5), -EINVAL);
}
#endif

static void trim_gives_back_empty_chunks_and_keeps_the_others(void **state)
{
	enum { COUNT = 4000 };
	static void *objects[COUNT];
	struct weir_slab slab;
	size_t before, trimmed;
	unsigned i;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 200, COUNT), 0);
	for (i = 0; i < COUNT; i++)
		objects[i] = weir__slab_get(&slab);
	assert_true(slab.chunk_count > 10);
	assert_int_equal(weir__slab_trim(&slab), 0);
	before = counter.live_size;
	for (i = 0; i < COUNT; i++)
		if (i != 7 && i != COUNT / 2)
			weir__slab_put(&slab, objects[i]);
	trimmed = weir__slab_trim(&slab);
	assert_int_equal(trimmed, before - counter.live_size);
	assert_int_equal(slab.chunk_count, 2);
	assert_int_equal(counter.live_size, 2 * slab.chunk_size);
	assert_int_equal(weir__slab_trim(&slab), 0);

	memset(objects[7], 1, 200); /* still there */
	memset(objects[COUNT / 2], 1, 200);
	for (i = 0; i < COUNT; i++)
		if (i != 7 && i != COUNT / 2)
			assert_non_null(objects[i] = weir__slab_get(&slab));
	for (i = 0; i < COUNT; i++) {
		memset(objects[i], 2, 200);
		weir__slab_put(&slab, objects[i]);
	}
	assert_true(weir__slab_trim(&slab) > 0);
	assert_int_equal(slab.chunk_count, 0);
	assert_int_equal(counter.live_size, 0);
	assert_non_null(objects[0] = weir__slab_get(&slab));
	weir__slab_put(&slab, objects[0]);
	weir__slab_fini(&slab);
}

static void trim_ends_the_free_list_where_a_dropped_chunk_began(void **state)
{
	enum { COUNT = 20 }; /* two chunks of 8 to 15 objects */
	void *objects[COUNT];
	struct weir_slab slab;
	unsigned i, put = 0;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 10000, COUNT), 0);
	for (i = 0; i < COUNT; i++)
		objects[i] = weir__slab_get(&slab);
	assert_int_equal(slab.chunk_count, 2);
	for (i = 0; i < COUNT - 1; i++) { /* the first chunk's are put first, so got last */
		weir__slab_put(&slab, objects[i]);
		put++;
	}
	assert_true(weir__slab_trim(&slab) > 0);
	assert_int_equal(slab.chunk_count, 1);
	for (i = 0; i < put; i++) {
		objects[i] = weir__slab_get(&slab);
		assert_non_null(objects[i]);
		memset(objects[i], 1, 10000);
	}
	assert_int_equal(slab.chunk_count, 2);
	for (i = 0; i < COUNT; i++)
		weir__slab_put(&slab, objects[i]);
	weir__slab_fini(&slab);
	assert_int_equal(counter.live_size, 0);
}

static void random_gets_puts_and_trims_never_hand_out_an_object_twice(void **state)
{
	enum { COUNT = 600 };
	static unsigned *objects[COUNT];
	struct weir_slab slab;
	uint32_t random = 12345;
	unsigned step, i, held = 0;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 1000, COUNT), 0);
	for (step = 0; step < 200000; step++) {
		random = random * 1664525 + 1013904223; /* Numerical Recipes */
		i = (random >> 8) % COUNT;
		if (objects[i]) {
			assert_int_equal(objects[i][0], i);
			assert_int_equal(objects[i][249], i);
			weir__slab_put(&slab, objects[i]);
			objects[i] = NULL;
			held--;
		} else if (random % 8 < 1 + 7 * (step / 20000 % 2)) {
			assert_non_null(objects[i] = weir__slab_get(&slab));
			objects[i][0] = i;
			objects[i][249] = i;
			held++;
		}
		if (step % 500 == 0)
			weir__slab_trim(&slab);
		assert_int_equal(slab.in_use, held);
	}
	for (i = 0; i < COUNT; i++)
		if (objects[i])
			weir__slab_put(&slab, objects[i]);
	weir__slab_fini(&slab);
	assert_int_equal(counter.live_size, 0);
}

#ifdef HAS_ASAN
static void objects_that_are_not_in_use_are_poisoned(void **state)
{
	struct weir_slab slab;
	char *a, *b;

	(void)state;
	assert_int_equal(weir__slab_init(&slab, 100, 10), 0);
	a = weir__slab_get(&slab);
	assert_false(is_poisoned(a));
	assert_false(is_poisoned(a + 99));
	assert_true(is_poisoned(a + 104));
	assert_true(is_poisoned(a + 128));
	b = weir__slab_get(&slab);
	weir__slab_put(&slab, a);
	assert_true(is_poisoned(a));
	assert_true(is_poisoned(a + 99));
	assert_ptr_equal(weir__slab_get(&slab), a);
	assert_false(is_poisoned(a));
	assert_true(is_poisoned(a + 104));
	weir__slab_put(&slab, a);
	weir__slab_put(&slab, b);
	weir__slab_trim(&slab);
	weir__slab_fini(&slab);
}
#endif

#define alloc_test(name) cmocka_unit_test_setup_teardown(name, hook, unhook)

int main(void)
{
	const struct CMUnitTest tests[] = {
		alloc_test(an_allocator_without_a_function_is_refused),
		alloc_test(every_byte_goes_through_the_hook_with_its_size),
		alloc_test(without_a_hook_memory_comes_from_libc),
		alloc_test(calloc_is_zero_and_refuses_what_overflows),
		alloc_test(a_size_near_the_end_of_the_address_space_is_refused),
		alloc_test(objects_are_on_cache_lines_and_apart),
		alloc_test(the_object_put_last_is_got_first),
		alloc_test(getting_and_putting_inline_keeps_the_same_counts),
		alloc_test(the_bound_refuses_and_a_put_makes_room),
		alloc_test(no_memory_for_a_chunk_is_refused_and_tried_again),
#ifndef WEIR_DEBUG
		alloc_test(sizes_out_of_range_are_refused),
#endif
		alloc_test(trim_gives_back_empty_chunks_and_keeps_the_others),
		alloc_test(trim_ends_the_free_list_where_a_dropped_chunk_began),
		alloc_test(random_gets_puts_and_trims_never_hand_out_an_object_twice),
#ifdef HAS_ASAN
		alloc_test(objects_that_are_not_in_use_are_poisoned),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
