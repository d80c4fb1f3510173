/* SPDX-License-Identifier: MIT */
/*
 * test_disk_faults.c - the simulated disk when something fails: a process, an fsync, a transfer,
 * the device; and what is written through meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/disk_cuts.h"

/* --- processes and hosts --- */

static void killed(unsigned life)
{
	if (life == 1) {
		disk_put_safe("f", "old text");
		disk_put("f", "new");
		disk_put("unsynced", "text");
		EQUAL(disk_rename("unsynced", "renamed"), 0);
		disk_die();
	}
	if (life == 2) {
		EQUAL(disk_is("f", "new"), true);
		EQUAL(disk_is("renamed", "text"), true);
		EQUAL(disk_has("unsynced"), false);
		disk_cut_power();
	}
	seen[disk_is("f", "new")]++;
	seen[2 + disk_has("renamed")]++;
}

static void a_kill_keeps_the_page_cache_and_the_power_cut_after_it_does_not(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(killed, SEEDS), 0);
	for (int i = 0; i < 4; i++)
		assert_true(seen[i]);
}

static unsigned both_ended;

static int both_main(void *arg)
{
	char other[2] = { *(char *)arg == 'a' ? 'b' : 'a', 0 };

	bare_begin();
	for (int i = 0; i < 10; i++) {
		disk_put(arg, arg);
		disk_put("f", arg);
		bare_sleep(WEIR_MS);
		EQUAL(disk_is("f", arg), true);
		EQUAL(disk_has(other), false);
	}
	bare_end();
	both_ended++;
	return 0;
}

static int build_both(struct weir_sim *sim, void *arg)
{
	static char names[2][2] = { "a", "b" };

	(void)arg;
	weir_sim_host(sim, "a", NULL, both_main, names[0]);
	weir_sim_host(sim, "b", NULL, both_main, names[1]);
	return 0;
}

static void the_disks_of_two_hosts_are_two(void **state)
{
	struct weir_sim_scenario scenario = { .name = "both", .build = build_both };
	struct weir_sim_opts opts = { .faults_given = true };

	(void)state;
	both_ended = 0;
	assert_int_equal(weir_sim_run(&scenario, &opts, &disk_report), 0);
	assert_int_equal(both_ended, 2);
}

/* --- written through --- */

enum { LOST, KEPT, OTHER };

static void write_through(unsigned life)
{
	int fd;

	if (life == 1) {
		fill("f", 'o', 8192);
		disk_sync("f");
		disk_sync("/");
		memset(big, 'n', sizeof(big));
		fd = disk_open("f", O_WRONLY | O_DSYNC);
		EQUAL(disk_write(fd, big, 1000, 100), 1000);
		fd = disk_open("f", O_WRONLY);
		EQUAL(disk_write_with(fd, big, 1000, 9000, RWF_DSYNC), 1000);
		EQUAL(disk_write_with(fd, big, 1000, 11000, RWF_SYNC), 1000);
		disk_cut_power();
	}
	EQUAL(load("f"), 12000);
	EQUAL(count_of('n', 12000), 3000);
	EQUAL(count_of('o', 12000), 8192 - 1000);
	EQUAL(big[100] == 'n' && big[9000] == 'n' && big[11999] == 'n', true);
}

static void what_was_written_through_survives(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(write_through, SEEDS), 0);
}

static void write_one_through(unsigned life)
{
	int fd;

	if (life == 1) {
		fill("f", 'o', 8192);
		disk_sync("f");
		disk_sync("/");
		fd = disk_open("f", O_WRONLY);
		memset(big, 'u', sizeof(big));
		EQUAL(disk_write(fd, big, 1024, 0), 1024);
		memset(big, 'n', sizeof(big));
		EQUAL(disk_write_with(fd, big, 512, 512, RWF_DSYNC), 512);
		memset(big, 'l', sizeof(big));
		EQUAL(disk_write(fd, big, 10, 600), 10);
		disk_cut_power();
	}
	EQUAL(load("f"), 8192);
	EQUAL(count_of('n', 8192) >= 502, true);
	EQUAL(big[512], 'n');
	seen[big[0] == 'u' ? KEPT : big[0] == 'o' ? LOST : OTHER]++;
	seen[4 + (big[600] == 'l')]++;
}

static void it_does_not_make_durable_what_was_written_elsewhere(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(write_one_through, SEEDS), 0);
	assert_true(seen[KEPT] && seen[LOST] && seen[OTHER] && seen[4] && seen[5]);
}

static void size_through(unsigned life)
{
	int fd;

	if (life == 1) {
		fill("f", 'o', 8192);
		disk_sync("f");
		disk_sync("/");
		fd = disk_open("f", O_WRONLY);
		EQUAL(disk_truncate(fd, 100), 0);
		EQUAL(disk_write_with(fd, "n", 1, 200, RWF_DSYNC), 1);
		disk_cut_power();
	}
	EQUAL(load("f"), 201);
	EQUAL(count_of('o', 201), 100);
	EQUAL(count_of(0, 201), 100);
}

static void but_the_size(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(size_through, SEEDS), 0);
}

static void range(unsigned life)
{
	struct io_uring_sqe *sqe;

	if (life == 1) {
		int fd;

		disk_put_safe("f", "old");
		disk_put("f", "new");
		fd = disk_open("f", O_RDONLY);
		sqe = bare_sqe();
		io_uring_prep_sync_file_range(sqe, fd, 0, 0, 7);
		EQUAL(bare_do(sqe).res, 0);
		disk_cut_power();
	}
	seen[disk_is("f", "new")]++;
}

static void a_sync_of_a_range_promises_nothing(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(range, SEEDS), 0);
	assert_true(seen[0] && seen[1]);
}

/* --- fsync that fails --- */

static void fsyncs_fail(bool yes)
{
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FSYNC, yes ? 1000000 : 0);
}

static void fail_once(unsigned life)
{
	int fd;

	if (life == 1) {
		disk_put_safe("f", "old");
		fd = disk_open("f", O_RDWR);
		EQUAL(disk_write(fd, "new", 3, 0), 3);
		fsyncs_fail(true);
		EQUAL(disk_fsync(fd), -EIO);
		fsyncs_fail(false);
		EQUAL(disk_is("f", "new"), true);
		EQUAL(disk_fsync(fd), 0);
		EQUAL(disk_is("f", "new"), true);
		disk_cut_power();
	}
	EQUAL(disk_is("f", "old"), true);
}

static void an_fsync_fails_once_then_succeeds_with_the_data_gone(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(fail_once, SEEDS), 0);
}

static void tell_all(unsigned life)
{
	int a, b, c;

	(void)life;
	disk_put("f", "x");
	a = disk_open("f", O_RDWR);
	b = disk_open("f", O_RDONLY);
	EQUAL(disk_fsync(b), 0);
	fsyncs_fail(true);
	EQUAL(disk_fsync(a), -EIO);
	fsyncs_fail(false);
	c = disk_open("f", O_RDONLY);
	EQUAL(disk_fsync(c), 0);
	EQUAL(disk_fsync(b), -EIO);
	EQUAL(disk_fsync(b), 0);
	EQUAL(disk_fsync(a), 0);
	EQUAL(disk_write(a, "y", 1, 0), 1);
	fsyncs_fail(true);
	EQUAL(disk_fsync(c), -EIO);
	fsyncs_fail(false);
	EQUAL(disk_fsync(a), -EIO);
	EQUAL(disk_fsync(a), 0);
	disk_put("other", "x");
	disk_sync("other");
}

static void every_open_file_is_told_of_it_once(void **state)
{
	(void)state;
	assert_int_equal(disk_play(tell_all), 0);
}

static void fail_through(unsigned life)
{
	int fd;

	if (life == 1) {
		disk_put_safe("f", "old");
		fd = disk_open("f", O_RDWR | O_DSYNC);
		fsyncs_fail(true);
		EQUAL(disk_write(fd, "new", 3, 0), -EIO);
		EQUAL(disk_write_with(fd, "new", 3, 0, RWF_DSYNC), -EIO);
		fsyncs_fail(false);
		EQUAL(disk_fsync(fd), 0);
		disk_cut_power();
	}
	EQUAL(disk_is("f", "old"), true);
}

static void a_write_through_fails_as_an_fsync_does(void **state)
{
	(void)state;
	assert_int_equal(disk_play_many(fail_through, SEEDS / 2), 0);
}

/* --- a disk that is bad --- */

static void errors(unsigned life)
{
	static const int writes[] = { EIO, ENOSPC, EDQUOT, EROFS };
	int fd, r;

	(void)life;
	disk_put("f", "text");
	fd = disk_open("f", O_RDWR);
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FILE_ERROR, 1000000);
	EQUAL(disk_read(fd, big, 4, 0), -EIO);
	r = disk_write(fd, "x", 1, 0);
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FILE_ERROR, 0);
	for (int i = 0; i < 4; i++)
		seen[i] += r == -writes[i];
	EQUAL(disk_read(fd, big, 4, 0), 4);
	EQUAL(big[0], 't');
	if (disk_write(fd, "x", 1, 0) == 1) {
		EQUAL(disk_mkdir("dir"), 0);
		seen[4]++;
		return;
	}
	seen[5]++;
	EQUAL(disk_write(fd, "x", 1, 0), r);
	EQUAL(disk_mkdir("dir"), r);
	EQUAL(disk_open("new", O_RDWR | O_CREAT), r);
	EQUAL(disk_fsync(fd), r == -EIO ? r : 0);
}

static void a_write_fails_once_or_until_the_disk_has_healed(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(errors, SEEDS), 0);
	for (int i = 0; i < 6; i++)
		assert_true(seen[i]);
}

static void in_parts(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);
	int r;

	(void)life;
	memset(big, 'x', sizeof(big));
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FILE_SHORT, 1000000);
	r = disk_write(fd, big, 100, 0);
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FILE_SHORT, 0);
	EQUAL(r < 100 && (r > 0 || r == -EINTR || r == -EAGAIN), true);
	EQUAL(disk_size_of("f"), r < 0 ? 0 : r);
	seen[r > 0 ? 0 : r == -EINTR ? 1 : 2]++;
	EQUAL(disk_write(fd, big, 100, 0), 100);
	memset(big, 'y', sizeof(big));
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FILE_SHORT, 1000000);
	r = disk_read(fd, big, 100, 0);
	weir_sim_rate(weir_sim_world(), WEIR_SIM_FILE_SHORT, 0);
	EQUAL(r < 100 && (r > 0 || r == -EINTR || r == -EAGAIN), true);
	EQUAL(count_of('x', 100), r < 0 ? 0 : r);
	seen[r > 0 ? 3 : r == -EINTR ? 4 : 5]++;
}

static void transfers_are_sometimes_of_a_part_or_interrupted(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(in_parts, SEEDS), 0);
	for (int i = 0; i < 6; i++)
		assert_true(seen[i]);
}

static int64_t sync_takes_ns(int fd)
{
	int64_t from_ns = weir_sim_now(weir_sim_world());

	disk_fsync(fd);
	return weir_sim_now(weir_sim_world()) - from_ns;
}

static void slow(unsigned life)
{
	int fd = disk_open("f", O_RDWR | O_CREAT);
	int64_t ns = sync_takes_ns(fd);

	(void)life;
	EQUAL(ns > 50 * WEIR_US && ns < WEIR_MS, true);
	fsyncs_fail(true);
	for (int i = 0; i < 50; i++) {
		ns = sync_takes_ns(fd);
		EQUAL(ns < 6 * WEIR_S, true);
		seen[ns > WEIR_S ? 2 : ns > 10 * WEIR_MS]++;
	}
}

static void a_slow_device_takes_up_to_seconds_of_virtual_time(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(slow, SEEDS), 0);
	assert_true(seen[0] && seen[1] && seen[2]);
}

static void cold(unsigned life)
{
	struct io_uring_sqe *sqe;
	int fd, r;

	(void)life;
	disk_put("f", "text");
	fd = disk_open("f", O_RDONLY);
	weir_sim_rate(weir_sim_world(), WEIR_SIM_LATE, 500000);
	sqe = bare_sqe();
	io_uring_prep_read(sqe, fd, big, 4, 0);
	sqe->rw_flags = RWF_NOWAIT;
	r = bare_do(sqe).res;
	EQUAL(r == 4 || r == -EAGAIN, true);
	seen[r == 4]++;
	EQUAL(disk_read(fd, big, 4, 0), 4);
}

static void a_read_that_may_not_wait_finds_some_pages_cold(void **state)
{
	(void)state;
	forget();
	assert_int_equal(disk_play_many(cold, SEEDS), 0);
	assert_true(seen[0] > 5 && seen[1] > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kill_keeps_the_page_cache_and_the_power_cut_after_it_does_not),
		cmocka_unit_test(the_disks_of_two_hosts_are_two),
		cmocka_unit_test(what_was_written_through_survives),
		cmocka_unit_test(it_does_not_make_durable_what_was_written_elsewhere),
		cmocka_unit_test(but_the_size),
		cmocka_unit_test(a_sync_of_a_range_promises_nothing),
		cmocka_unit_test(an_fsync_fails_once_then_succeeds_with_the_data_gone),
		cmocka_unit_test(every_open_file_is_told_of_it_once),
		cmocka_unit_test(a_write_through_fails_as_an_fsync_does),
		cmocka_unit_test(a_write_fails_once_or_until_the_disk_has_healed),
		cmocka_unit_test(transfers_are_sometimes_of_a_part_or_interrupted),
		cmocka_unit_test(a_slow_device_takes_up_to_seconds_of_virtual_time),
		cmocka_unit_test(a_read_that_may_not_wait_finds_some_pages_cold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
