/* SPDX-License-Identifier: MIT */
/*
 * test_disk_life.c - how many files a simulated disk has, and how long: a file is there while a
 * name, a descriptor or a power cut can lead to it, and no longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ring/sim/disk.h"
#include "tests/sim/disk_host.h"

static struct weir_sim_disk *disk(void)
{
	return weir_sim_self()->disk;
}

/* In the memory of the simulator: also those that are gone. */
static unsigned count_inodes(void)
{
	unsigned count = 0;

	for (const struct weir_sim_inode *i = disk()->inodes; i; i = i->next)
		count++;
	return count;
}

/* --- as many as there may be --- */

static void many(unsigned life)
{
	int fd;

	(void)life;
	EQUAL(disk_mkdir("dir"), 0);
	disk_put("dir/a", "x");
	EQUAL(disk_open("dir/b", O_RDWR | O_CREAT), -ENOSPC);
	EQUAL(disk_mkdir("b"), -ENOSPC);
	EQUAL(disk_open("/", O_RDWR | O_TMPFILE), -ENOSPC);
	EQUAL(disk_rename("dir/a", "a"), 0);
	EQUAL(disk_unlink("dir", AT_REMOVEDIR), 0);
	fd = disk_open("b", O_RDWR | O_CREAT);
	CHECK(fd >= 0);
	EQUAL(disk_open("c", O_RDWR | O_CREAT), -ENOSPC);
	EQUAL(disk_unlink("b", 0), 0);
	EQUAL(disk_open("c", O_RDWR | O_CREAT), -ENOSPC);
	bare_close(fd);
	fd = disk_open("/", O_RDWR | O_TMPFILE);
	CHECK(fd >= 0);
	EQUAL(disk_open("c", O_RDWR | O_CREAT), -ENOSPC);
	bare_close(fd);
	disk_put("c", "x");
	EQUAL(disk_rename("c", "a"), 0);
	disk_put("b", "x");
	EQUAL(disk_open("d", O_RDWR | O_CREAT), -ENOSPC);
	EQUAL(disk_unlink("a", 0), 0);
	EQUAL(disk_unlink("b", 0), 0);
	EQUAL(disk()->files, 1);
}

static void a_disk_has_so_many_files_and_no_more(void **state)
{
	int r;

	(void)state;
	disk_opts.files_max = 3;
	r = disk_play(many);
	disk_opts.files_max = 0;
	assert_int_equal(r, 0);
}

static void fewer(unsigned life)
{
	(void)life;
	EQUAL(disk_mkdir("dir"), 0);
	EQUAL(disk_mkdir("b"), disk_opts.files_max == 2 ? -ENOSPC : 0);
	EQUAL(disk_mkdir("c"), disk_opts.files_max <= 3 ? -ENOSPC : 0);
	EQUAL(disk_mkdir("d"), -ENOSPC);
}

static void one_less_or_one_more_when_it_may(void **state)
{
	int r = 0;

	(void)state;
	for (disk_opts.files_max = 2; !r && disk_opts.files_max <= 4; disk_opts.files_max++)
		r = disk_play(fewer);
	disk_opts.files_max = 0;
	assert_int_equal(r, 0);
}

/* --- and no longer --- */

static void come_and_go(unsigned life)
{
	for (int i = 0; i < 200; i++) {
		disk_put("dir/f", "text");
		disk_put("dir/new", "text");
		EQUAL(disk_rename("dir/new", "dir/f"), 0);
		EQUAL(disk_mkdir("dir/sub"), 0);
		disk_put("dir/sub/g", "text");
		EQUAL(disk_rename("dir/sub/g", "dir/g"), 0);
		EQUAL(disk_unlink("dir/sub", AT_REMOVEDIR), 0);
		EQUAL(disk_unlink("dir/g", 0), 0);
		if (i % 8 == 7)
			disk_sync("dir");
		EQUAL(count_inodes() < 40, true);
	}
	disk_sync("dir");
	EQUAL(count_inodes(), 3);
	if (life < 3)
		disk_cut_power();
}

static void begin_to_come_and_go(unsigned life)
{
	if (life == 1) {
		EQUAL(disk_mkdir("dir"), 0);
		disk_sync("/");
	}
	come_and_go(life);
}

static void what_nothing_leads_to_any_more_is_forgotten(void **state)
{
	(void)state;
	assert_int_equal(disk_play(begin_to_come_and_go), 0);
}

static void lose_a_tree(unsigned life)
{
	if (life == 1) {
		EQUAL(disk_mkdir("a"), 0);
		EQUAL(disk_mkdir("a/b"), 0);
		EQUAL(disk_mkdir("a/b/c"), 0);
		disk_put("a/b/c/f", "text");
		disk_sync("a/b/c/f");
		disk_sync("a/b/c");
		disk_sync("a/b");
		disk_sync("a");
		EQUAL(disk()->files, 5);
		disk_cut_power();
	}
	EQUAL(count_inodes(), disk_has("a") ? 5 : 1);
	EQUAL(disk()->files, count_inodes());
	EQUAL(disk()->used, disk_has("a") ? WEIR_SIM_PAGE : 0);
}

static void a_tree_that_a_power_cut_took_is_forgotten(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(lose_a_tree, 50), 0);
}

/* --- whatever is done --- */

#define INODES 256

struct census {
	const struct weir_sim_inode *inode;
	unsigned refs, links;
};

static struct census people[INODES];

static struct census *person(const struct weir_sim_inode *inode)
{
	for (unsigned i = 0; i < INODES; i++) {
		if (!people[i].inode)
			people[i].inode = inode;
		if (people[i].inode == inode)
			return &people[i];
	}
	weir_sim_check(false, "fewer files");
	return NULL;
}

static bool lives(const struct weir_sim_inode *inode)
{
	for (const struct weir_sim_inode *i = disk()->inodes; i; i = i->next)
		if (i == inode)
			return true;
	return false;
}

static void count_names(const struct weir_sim_inode *dir)
{
	for (unsigned i = 0; i < dir->names.count; i++) {
		person(dir->names.list[i].inode)->refs++;
		person(dir->names.list[i].inode)->links++;
	}
	for (unsigned i = 0; i < dir->safe_names.count; i++)
		person(dir->safe_names.list[i].inode)->refs++;
	for (struct weir_link *link = dir->names_log.head; link; link = link->next) {
		const struct weir_sim_rename *rename =
			weir_container_of(link, struct weir_sim_rename, link);

		if (rename->inode)
			person(rename->inode)->refs++;
		EQUAL(!rename->mate || lives(rename->mate), true);
	}
}

/* Everything that is counted is counted right. */
static void count_all(void)
{
	unsigned files = 0;
	uint64_t used = 0;

	memset(people, 0, sizeof(people));
	for (const struct weir_sim_inode *i = disk()->inodes; i; i = i->next) {
		count_names(i);
		person(i)->refs += i->opens;
		if (i->parent)
			person(i->parent)->refs++;
	}
	for (const struct weir_sim_inode *i = disk()->inodes; i; i = i->next) {
		struct census *p = person(i);
		unsigned own = S_ISDIR(i->mode) && p->links ? 1 : 0;

		files += !i->is_gone;
		used += i->now.pages_used * WEIR_SIM_PAGE;
		EQUAL(i->refs, p->refs);
		EQUAL(i->refs > 0, true);
		EQUAL(i->links, i == disk()->root ? 2 : p->links + own);
		EQUAL(i->is_gone, !i->links && !i->opens);
	}
	EQUAL(disk()->files, files);
	EQUAL(disk()->used, used);
}

static const char *draw_path(void)
{
	static const char *const paths[] = { "a",   "b",   "a/a", "a/b",   "b/a",
					     "b/b", "c/a", "c",	  "c/a/b", "a/b/a" };

	return paths[weir_sim_choose("path", 10)];
}

static int held[4] = { -1, -1, -1, -1 };

static void hold_one(void)
{
	unsigned i = weir_sim_choose("hold", 4);

	if (held[i] >= 0)
		bare_close(held[i]);
	held[i] = disk_open(draw_path(), O_RDONLY);
}

static void do_one(void)
{
	int fd;

	switch (weir_sim_choose("what", 7)) {
	case 0:
		disk_mkdir(draw_path());
		return;
	case 1:
		fd = disk_open(draw_path(), O_WRONLY | O_CREAT | O_TRUNC);
		if (fd >= 0) {
			disk_write(fd, "text", 4, 0);
			bare_close(fd);
		}
		return;
	case 2:
		disk_rename(draw_path(), draw_path());
		return;
	case 3:
		disk_unlink(draw_path(), 0);
		return;
	case 4:
		disk_unlink(draw_path(), AT_REMOVEDIR);
		return;
	case 5:
		hold_one();
		return;
	default:
		fd = weir_sim_choose("root", 2) ? disk_open("/", O_RDONLY)
						: disk_open(draw_path(), O_RDONLY);
		if (fd >= 0) {
			disk_fsync(fd);
			bare_close(fd);
		}
	}
}

static void anything(unsigned life)
{
	count_all();
	for (int i = 0; i < 4; i++)
		held[i] = -1;
	for (int i = 0; i < 60; i++) {
		do_one();
		count_all();
	}
	if (life == 4)
		return;
	if (weir_sim_choose("kill", 3))
		disk_cut_power();
	disk_die();
}

static void whatever_is_done_all_is_counted_right(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(anything, 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_has_so_many_files_and_no_more),
		cmocka_unit_test(one_less_or_one_more_when_it_may),
		cmocka_unit_test(what_nothing_leads_to_any_more_is_forgotten),
		cmocka_unit_test(a_tree_that_a_power_cut_took_is_forgotten),
		cmocka_unit_test(whatever_is_done_all_is_counted_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
