/* SPDX-License-Identifier: MIT */
/*
 * test_disk.c - what a power cut leaves on the simulated disk: what was synced always, the rest
 * as the seed has it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/disk_cuts.h"

/* --- bytes and power cuts --- */

static void synced(unsigned life)
{
	char name[2] = { (char)('a' + life - 1), 0 };

	for (char c = 'a'; c < *name; c++) {
		char before[2] = { c, 0 };

		EQUAL(load(before), 1000 * (c - 'a' + 1));
		EQUAL(count_of(c, BIG), 1000 * (c - 'a' + 1));
	}
	if (life == 5)
		return;
	fill(name, *name, 1000 * (int)life);
	disk_sync(name);
	disk_sync("/");
	disk_cut_power();
}

static void what_was_synced_survives_every_power_cut(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(synced, 2 * SEEDS), 0);
}

enum { LOST, KEPT, TORN, GARBAGE };

static void overwrite(unsigned life)
{
	int old, new;

	if (life == 1) {
		fill("f", 'o', 8192);
		disk_sync("f");
		disk_sync("/");
		fill("f", 'n', 8192);
		disk_cut_power();
	}
	EQUAL(load("f"), 8192);
	old = count_of('o', 8192);
	new = count_of('n', 8192);
	seen[old + new < 8192 ? GARBAGE : !old ? KEPT : !new ? LOST : TORN]++;
	seen[4 + (big[8191] == 'n')] += old + new == 8192 && old &&new;
}

static void what_was_not_synced_is_kept_lost_torn_or_garbage(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(overwrite, SEEDS), 0);
	assert_true(seen[KEPT] > 5 && seen[LOST] > 5);
	assert_true(seen[TORN] > 5 && seen[GARBAGE] > 5);
	/* Of a torn one, the first or the last part. */
	assert_true(seen[4] && seen[5]);
}

static void tear(unsigned life)
{
	if (life == 1) {
		int fd;

		fill("f", 'o', BIG);
		disk_sync("f");
		disk_sync("/");
		memset(big, 'n', sizeof(big));
		fd = disk_open("f", O_WRONLY);
		EQUAL(disk_write(fd, big, 9000, 300), 9000);
		disk_cut_power();
	}
	EQUAL(load("f"), BIG);
	EQUAL(count_of('o', 300), 300);
	for (int i = 301; i < BIG; i++) {
		if (big[i] == big[i - 1] || i == 9300 || count_of('o', BIG) == BIG)
			continue;
		if (count_of('o', BIG) + count_of('n', BIG) < BIG)
			return;
		EQUAL(i % 512, 0);
		seen[i % 4096 != 0]++;
	}
}

static void a_write_is_torn_at_sectors_or_pages_only(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(tear, 2 * SEEDS), 0);
	assert_true(seen[0] && seen[1]);
}

static void two_writes(unsigned life)
{
	bool first, second;

	if (life == 1) {
		int fd;

		fill("f", 'o', 8192);
		disk_sync("f");
		disk_sync("/");
		fd = disk_open("f", O_WRONLY);
		memset(big, 'n', sizeof(big));
		EQUAL(disk_write(fd, big, 512, 0), 512);
		EQUAL(disk_write(fd, big, 512, 4096), 512);
		disk_cut_power();
	}
	EQUAL(load("f"), 8192);
	first = big[0] == 'n';
	second = big[4096] == 'n';
	seen[first + 2 * second]++;
}

static void writes_are_kept_or_lost_one_by_one_in_no_order(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(two_writes, SEEDS), 0);
	for (int i = 0; i < 4; i++)
		assert_true(seen[i]);
}

static void sizes(unsigned life)
{
	int fd, size;

	if (life == 1) {
		fill("short", 'o', 100);
		fill("long", 'o', 100);
		disk_sync("short");
		disk_sync("long");
		disk_sync("/");
		fd = disk_open("short", O_WRONLY);
		EQUAL(disk_truncate(fd, 10), 0);
		fd = disk_open("long", O_WRONLY);
		EQUAL(disk_truncate(fd, 5000), 0);
		disk_cut_power();
	}
	size = load("short");
	EQUAL(size == 10 || size == 100, true);
	EQUAL(count_of('o', size), size);
	seen[size == 10]++;
	size = load("long");
	EQUAL(size == 100 || size == 5000, true);
	EQUAL(count_of('o', size), 100);
	EQUAL(count_of(0, size), size - 100);
	seen[2 + (size == 5000)]++;
}

static void a_size_that_was_not_synced_is_the_old_or_the_new_one(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(sizes, SEEDS), 0);
	for (int i = 0; i < 4; i++)
		assert_true(seen[i]);
}

/* --- names and power cuts --- */

static void rename_only(unsigned life)
{
	if (life == 1) {
		disk_put_safe("old", "text");
		EQUAL(disk_rename("old", "new"), 0);
		disk_cut_power();
	}
	EQUAL(disk_has("old") + disk_has("new"), 1);
	EQUAL(disk_is(disk_has("new") ? "new" : "old", "text"), true);
	seen[disk_has("new")]++;
}

static void a_rename_without_its_directory_synced_is_sometimes_undone(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(rename_only, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

static void rename_synced(unsigned life)
{
	if (life == 1) {
		disk_put_safe("old", "text");
		EQUAL(disk_rename("old", "new"), 0);
		disk_sync("/");
		disk_cut_power();
	}
	EQUAL(disk_has("old"), false);
	EQUAL(disk_is("new", "text"), true);
}

static void a_rename_with_its_directory_synced_never_is(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(rename_synced, SEEDS), 0);
}

static void create(unsigned life)
{
	if (life == 1) {
		disk_put("f", "text");
		disk_sync("f");
		disk_cut_power();
	}
	if (disk_has("f"))
		EQUAL(disk_is("f", "text"), true);
	seen[disk_has("f")]++;
}

static void a_new_file_without_its_directory_synced_sometimes_vanishes(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(create, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

static void unlink_only(unsigned life)
{
	if (life == 1) {
		disk_put_safe("f", "text");
		EQUAL(disk_unlink("f", 0), 0);
		EQUAL(disk_has("f"), false);
		disk_cut_power();
	}
	if (disk_has("f"))
		EQUAL(disk_is("f", "text"), true);
	seen[disk_has("f")]++;
}

static void an_unlink_without_its_directory_synced_is_sometimes_undone(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(unlink_only, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

static void unlink_synced(unsigned life)
{
	if (life == 1) {
		disk_put_safe("f", "text");
		EQUAL(disk_unlink("f", 0), 0);
		disk_sync("/");
		disk_cut_power();
	}
	EQUAL(disk_has("f"), false);
}

static void an_unlink_with_its_directory_synced_never_is(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(unlink_synced, SEEDS), 0);
}

static void names_in_order(unsigned life)
{
	int count = 0;

	if (life == 1) {
		for (char name[2] = "a"; *name < 'f'; ++*name)
			disk_put(name, "x");
		EQUAL(disk_mkdir("f"), 0);
		disk_cut_power();
	}
	for (char name[2] = "a"; *name < 'g'; ++*name) {
		EQUAL(count == *name - 'a' || !disk_has(name), true);
		count += disk_has(name);
	}
	seen[count]++;
}

static void of_the_changes_of_a_directory_the_last_ones_are_lost(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(names_in_order, 2 * SEEDS), 0);
	for (int i = 0; i <= 6; i++)
		assert_true(seen[i]);
}

static void move_between(unsigned life)
{
	if (life == 1) {
		EQUAL(disk_mkdir("a"), 0);
		EQUAL(disk_mkdir("b"), 0);
		disk_put_safe("a/f", "text");
		disk_sync("a");
		disk_put("b/before", "x");
		EQUAL(disk_rename("a/f", "b/f"), 0);
		disk_put("a/after", "x");
		EQUAL(disk_rename("b/before", "a/before"), 0);
		if (weir_sim_choose("which", 2))
			disk_sync(weir_sim_choose("which", 2) ? "a" : "b");
		disk_cut_power();
	}
	EQUAL(disk_has("a/f") + disk_has("b/f"), 1);
	EQUAL(disk_is(disk_has("a/f") ? "a/f" : "b/f", "text"), true);
	EQUAL(disk_has("b/before") && disk_has("a/before"), false);
	EQUAL(disk_has("a/after") && disk_has("a/f"), false);
	seen[disk_has("b/f") + disk_has("a/before")]++;
}

static void a_rename_between_directories_is_never_half_done(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(move_between, 2 * SEEDS), 0);
	assert_true(seen[0] && seen[1] && seen[2]);
}

static void moved_and_synced(unsigned life)
{
	if (life == 1) {
		EQUAL(disk_mkdir("a"), 0);
		EQUAL(disk_mkdir("b"), 0);
		disk_put_safe("a/f", "text");
		disk_sync("a");
		EQUAL(disk_rename("a/f", "b/f"), 0);
		disk_sync("b");
		disk_cut_power();
	}
	EQUAL(disk_has("a/f"), false);
	EQUAL(disk_is("b/f", "text"), true);
}

static void of_which_either_directory_synced_is_enough(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(moved_and_synced, SEEDS), 0);
}

static void replace(unsigned life)
{
	if (life == 1) {
		disk_put_safe("f", "old");
		disk_put("new", "new");
		disk_sync("new");
		EQUAL(disk_rename("new", "f"), 0);
		disk_cut_power();
	}
	EQUAL(disk_is("f", "old") || disk_is("f", "new"), true);
	seen[disk_is("f", "new")]++;
}

static void a_file_replaced_by_a_synced_one_is_the_old_or_the_new_one(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(replace, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

static void replace_unsynced(unsigned life)
{
	if (life == 1) {
		disk_put_safe("f", "old");
		disk_put("new", "new");
		EQUAL(disk_rename("new", "f"), 0);
		disk_sync("/");
		disk_cut_power();
	}
	EQUAL(disk_is("f", "old"), false);
	seen[disk_is("f", "new")]++;
}

static void a_file_replaced_by_one_that_was_not_synced_may_be_neither(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(replace_unsynced, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

static void whole_directory(unsigned life)
{
	struct statx st;

	if (life == 1) {
		EQUAL(disk_mkdir("dir"), 0);
		disk_put("dir/f", "text");
		disk_sync("dir/f");
		disk_sync("dir");
		disk_cut_power();
	}
	if (disk_has("dir"))
		EQUAL(disk_is("dir/f", "text"), true);
	EQUAL(disk_statx("/", &st), 0);
	EQUAL(st.stx_nlink, 2 + disk_has("dir"));
	seen[disk_has("dir")]++;
}

static void a_directory_is_as_durable_as_its_name(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(whole_directory, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_synced_survives_every_power_cut),
		cmocka_unit_test(what_was_not_synced_is_kept_lost_torn_or_garbage),
		cmocka_unit_test(a_write_is_torn_at_sectors_or_pages_only),
		cmocka_unit_test(writes_are_kept_or_lost_one_by_one_in_no_order),
		cmocka_unit_test(a_size_that_was_not_synced_is_the_old_or_the_new_one),
		cmocka_unit_test(a_rename_without_its_directory_synced_is_sometimes_undone),
		cmocka_unit_test(a_rename_with_its_directory_synced_never_is),
		cmocka_unit_test(a_new_file_without_its_directory_synced_sometimes_vanishes),
		cmocka_unit_test(an_unlink_without_its_directory_synced_is_sometimes_undone),
		cmocka_unit_test(an_unlink_with_its_directory_synced_never_is),
		cmocka_unit_test(of_the_changes_of_a_directory_the_last_ones_are_lost),
		cmocka_unit_test(a_rename_between_directories_is_never_half_done),
		cmocka_unit_test(of_which_either_directory_synced_is_enough),
		cmocka_unit_test(a_file_replaced_by_a_synced_one_is_the_old_or_the_new_one),
		cmocka_unit_test(a_file_replaced_by_one_that_was_not_synced_may_be_neither),
		cmocka_unit_test(a_directory_is_as_durable_as_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
