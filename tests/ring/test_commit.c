/* SPDX-License-Identifier: MIT */
/*
 * test_commit.c - group commit, on real files of the real kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "ring/files.h"
#include "ring/weir_commit.h"
#include "tests/support/bent_kernel.h"
#include "tests/support/ring_fixture.h"

#define WRITERS 16
#define ROUNDS 50

static struct bent bent;
static char path[64];

static int make_path(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/weir-test-commit-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

static struct weir_file *open_log(bool direct)
{
	const struct weir_open_opts opts = { .flags = O_RDWR, .direct = direct };
	struct weir_file *file;

	assert_int_equal(weir_file_open(NULL, path, &opts, &file), 0);
	return file;
}

static struct weir_commit *create(struct weir_file *file, const struct weir_commit_opts *opts)
{
	struct weir_commit *log;

	assert_int_equal(weir_commit_create(file, 0, opts, &log), 0);
	return log;
}

static struct weir_commit_info info(const struct weir_commit *log)
{
	struct weir_commit_info info;

	weir_commit_info(log, &info);
	return info;
}

/* One append in a coroutine of its own. */
struct writer {
	struct weir_commit *log;
	const void *data;
	size_t size;
	int64_t offset;
	int res;
	enum weir_verdict verdict;
	struct weir_coro *coro;
};

static int do_append(void *arg)
{
	struct writer *writer = arg;

	writer->offset = -1;
	writer->res = weir_commit_append(writer->log, writer->data, writer->size, &writer->offset);
	writer->verdict = weir_verdict();
	return writer->res;
}

static void go(struct writer *writer)
{
	writer->res = 1;
	assert_int_equal(weir_coro_spawn(NULL, do_append, writer, &writer->coro), 0);
}

static int join(struct writer *writer)
{
	assert_int_equal(weir_coro_join(writer->coro, WEIR_NEVER, NULL), 0);
	return writer->res;
}

/* The bytes of the file, as others see them. */
static size_t contents(char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, size);

	close(fd);
	assert_true(n >= 0);
	return (size_t)n;
}

static void an_append_is_in_the_file_when_it_returns(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);
	char buf[32] = "";
	int64_t offset = -1;

	assert_int_equal(weir_commit_append(log, "hello ", 6, &offset), 0);
	assert_int_equal(offset, 0);
	assert_int_equal(weir_commit_append(log, "world", 5, &offset), 0);
	assert_int_equal(offset, 6);
	assert_int_equal(contents(buf, sizeof(buf)), 11);
	assert_string_equal(buf, "hello world");
	assert_int_equal(info(log).durable, 11);
	assert_int_equal(weir_commit_append(log, "!", 1, NULL), 0);
	assert_int_equal(weir_commit_destroy(log), 0);
	assert_int_equal(weir_file_close(file), 0);
}

/* Record i of writer w: its own number, so that a mix-up shows. */
struct record {
	uint32_t writer;
	uint32_t round;
	char filler[56];
};

struct load {
	struct weir_commit *log;
	uint32_t writer;
	int64_t offsets[ROUNDS];
};

static int write_rounds(void *arg)
{
	struct load *load = arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct record record = { .writer = load->writer, .round = i };
		int r = weir_commit_append(load->log, &record, sizeof(record), &load->offsets[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void check_load(const struct load *load, const char *data, size_t size)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct record record;

		assert_true(load->offsets[i] + sizeof(record) <= size);
		memcpy(&record, data + load->offsets[i], sizeof(record));
		assert_int_equal(record.writer, load->writer);
		assert_int_equal(record.round, i);
		assert_true(!i || load->offsets[i] > load->offsets[i - 1]);
	}
}

static void run_writers(const struct weir_commit_opts *opts)
{
	static char data[WRITERS * ROUNDS * sizeof(struct record)];
	static struct load loads[WRITERS];
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, opts);
	struct weir_coro *coros[WRITERS];
	struct weir_commit_info levels;
	int res;

	for (uint32_t i = 0; i < WRITERS; i++) {
		loads[i] = (struct load){ .log = log, .writer = i };
		assert_int_equal(weir_coro_spawn(NULL, write_rounds, &loads[i], &coros[i]), 0);
	}
	for (uint32_t i = 0; i < WRITERS; i++) {
		assert_int_equal(weir_coro_join(coros[i], WEIR_NEVER, &res), 0);
		assert_int_equal(res, 0);
	}
	levels = info(log);
	assert_int_equal(levels.appends, WRITERS * ROUNDS);
	assert_int_equal(levels.durable, sizeof(data));
	assert_int_equal(levels.end, sizeof(data));
	assert_int_equal(levels.waiting + levels.parked, 0);
	if (!opts)
		assert_in_range(levels.groups, ROUNDS, ROUNDS * 2);
	assert_int_equal(contents(data, sizeof(data)), sizeof(data));
	for (uint32_t i = 0; i < WRITERS; i++)
		check_load(&loads[i], data, sizeof(data));
	assert_int_equal(weir_commit_destroy(log), 0);
	weir_file_close(file);
}

static void many_writers_share_a_write_and_lose_nothing(void)
{
	run_writers(NULL);
}

static void full_groups_park_writers_and_lose_nothing(void)
{
	const struct weir_commit_opts few = { .group_count = 3 };
	const struct weir_commit_opts small = { .group_size = 2 * sizeof(struct record) + 7 };

	run_writers(&few);
	assert_int_equal(truncate(path, 0), 0);
	run_writers(&small);
}

static void writers_park_in_line_when_the_group_is_full(void)
{
	const struct weir_commit_opts opts = { .group_size = 100 };
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, &opts);
	char data[100] = "";
	static const size_t sizes[4] = { 40, 40, 90, 10 };
	struct writer writers[4];

	for (int i = 0; i < 4; i++)
		writers[i] = (struct writer){ .log = log, .data = data, .size = sizes[i] };
	for (int i = 0; i < 4; i++)
		go(&writers[i]);
	weir_yield();
	/* The third has no room, and the fourth, which has, does not overtake it. */
	assert_int_equal(info(log).waiting, 2);
	assert_int_equal(info(log).parked, 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(join(&writers[i]), 0);
	assert_int_equal(writers[0].offset, 0);
	assert_int_equal(writers[1].offset, 40);
	assert_int_equal(writers[2].offset, 80);
	assert_int_equal(writers[3].offset, 170);
	assert_int_equal(weir_commit_append(log, data, 101, NULL), -EMSGSIZE);
	assert_int_equal(weir_commit_append(log, data, 100, NULL), 0);
	weir_commit_destroy(log);
	weir_file_close(file);
}

static void cancelling_in_line_appends_nothing(void)
{
	const struct weir_commit_opts opts = { .group_count = 1 };
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, &opts);
	struct writer first = { .log = log, .data = "first", .size = 5 };
	struct writer second = { .log = log, .data = "second", .size = 6 };
	struct writer third = { .log = log, .data = "third", .size = 5 };
	char buf[32] = "";

	go(&first);
	go(&second);
	go(&third);
	weir_yield();
	weir_coro_cancel(first.coro);	/* has its place */
	weir_coro_cancel(second.coro);	/* is in line */
	assert_int_equal(join(&first), 0);
	assert_int_equal(join(&second), -ECANCELED);
	assert_int_equal(second.verdict, WEIR_NOT_STARTED);
	assert_int_equal(second.offset, -1);
	assert_int_equal(join(&third), 0);
	assert_int_equal(third.offset, 5);
	assert_int_equal(contents(buf, sizeof(buf)), 10);
	assert_string_equal(buf, "firstthird");
	weir_commit_destroy(log);
	weir_file_close(file);
}

static void an_append_of_nothing_waits_for_what_was_before(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);
	struct writer writer = { .log = log, .data = "data", .size = 4 };
	int64_t offset = -1;

	assert_int_equal(weir_commit_append(log, NULL, 0, &offset), 0);
	assert_int_equal(offset, 0);
	go(&writer);
	weir_yield();
	assert_int_equal(weir_commit_append(log, NULL, 0, &offset), 0);
	assert_int_equal(offset, 4);
	assert_int_equal(info(log).durable, 4);
	assert_int_equal(join(&writer), 0);
	weir_commit_destroy(log);
	weir_file_close(file);
}

static void a_log_goes_on_where_it_is_told(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log;
	int64_t offset;
	char buf[16] = "";

	assert_int_equal(weir_file_write_all(file, "0123456789", 10, 0), 0);
	assert_int_equal(weir_commit_create(file, -1, NULL, &log), 0);
	assert_int_equal(weir_commit_append(log, "ab", 2, &offset), 0);
	assert_int_equal(offset, 10);
	assert_int_equal(weir_commit_destroy(log), 0);
	assert_int_equal(weir_commit_create(file, 4, NULL, &log), 0);
	assert_int_equal(weir_commit_append(log, "cd", 2, &offset), 0);
	assert_int_equal(offset, 4);
	assert_int_equal(weir_commit_destroy(log), 0);
	assert_int_equal(weir_commit_create(file, -2, NULL, &log), -EINVAL);
	contents(buf, sizeof(buf));
	assert_string_equal(buf, "0123cd6789ab");
	weir_file_close(file);
}

/* fsyncgate; and PostgreSQL's answer to it: what is not known to be on disk is not retried. */
static void a_failed_write_fails_the_log_for_everybody_and_for_good(void)
{
	const struct weir_commit_opts opts = { .group_count = 2 };
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, &opts);
	struct writer writers[5];

	assert_int_equal(weir_commit_append(log, "good", 4, NULL), 0);
	bent.opcode = IORING_OP_WRITE;
	bent.res = -EIO;
	for (int i = 0; i < 5; i++) {
		writers[i] = (struct writer){ .log = log, .data = "lost", .size = 4 };
		go(&writers[i]);
	}
	for (int i = 0; i < 5; i++) {
		assert_int_equal(join(&writers[i]), -EIO);
		assert_int_equal(writers[i].offset, -1);
	}
	assert_int_equal(bent.hits, 1);
	bent.opcode = 0;
	assert_int_equal(weir_commit_append(log, "late", 4, NULL), -EIO);
	assert_int_equal(info(log).durable, 4);
	assert_int_equal(info(log).error, -EIO);
	assert_true(weir_file_is_failed(file));
	assert_int_equal(weir_file_sync(file), -EIO);
	assert_int_equal(weir_commit_destroy(log), -EIO);
	assert_int_equal(weir_file_close(file), 0);
}

static void a_full_disk_fails_the_log_with_its_error(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);

	bent.opcode = IORING_OP_WRITE;
	bent.res = -ENOSPC;
	assert_int_equal(weir_commit_append(log, "lost", 4, NULL), -ENOSPC);
	assert_int_equal(weir_commit_append(log, "late", 4, NULL), -ENOSPC);
	assert_int_equal(weir_commit_destroy(log), -ENOSPC);
	weir_file_close(file);
}

/* A short write is not done. */
static void short_writes_are_continued(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);
	char out[1000], in[1000];

	bent.size_max = 300;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7);
	assert_int_equal(weir_commit_append(log, out, sizeof(out), NULL), 0);
	assert_int_equal(contents(in, sizeof(in)), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(info(log).groups, 1);
	weir_commit_destroy(log);
	weir_file_close(file);
}

static void a_write_that_moves_nothing_is_an_error_and_no_loop(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);

	bent.opcode = IORING_OP_WRITE;
	bent.res = 0;
	assert_int_equal(weir_commit_append(log, "lost", 4, NULL), -EIO);
	weir_commit_destroy(log);
	weir_file_close(file);
}

/* What is acknowledged was written with RWF_DSYNC, each time. */
static int enter_that_looks(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			    unsigned wait, unsigned flags, const void *arg, size_t size)
{
	unsigned head = *uring->sq.khead;

	for (unsigned i = 0; i < submit; i++) {
		const struct io_uring_sqe *sqe =
			&uring->sq.sqes[(head + i) & uring->sq.ring_mask];

		if (sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITE_FIXED) {
			assert_int_equal(sqe->rw_flags, RWF_DSYNC);
			bent.hits++;
		}
	}
	return bent_enter(kernel, uring, submit, wait, flags, arg, size);
}

static void every_group_is_written_through(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);

	bent.ops.ring_enter = enter_that_looks;
	for (int i = 0; i < 5; i++)
		assert_int_equal(weir_commit_append(log, "data", 4, NULL), 0);
	assert_int_equal(bent.hits, 5);
	weir_commit_destroy(log);
	weir_file_close(file);
}

static int do_destroy(void *arg)
{
	return weir_commit_destroy(arg);
}

static void destroy_answers_everybody_and_refuses_new_appends(void)
{
	const struct weir_commit_opts opts = { .group_count = 1 };
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, &opts);
	struct writer writers[3];
	struct weir_coro *closer;
	int res;

	for (int i = 0; i < 3; i++) {
		writers[i] = (struct writer){ .log = log, .data = "data", .size = 4 };
		go(&writers[i]);
	}
	weir_yield();
	assert_int_equal(weir_coro_spawn(NULL, do_destroy, log, &closer), 0);
	weir_yield();
	weir_coro_cancel(closer);	/* does not end its wait */
	assert_int_equal(weir_commit_append(log, "late", 4, NULL), -EBADF);
	assert_int_equal(weir_commit_destroy(log), -EBUSY);
	for (int i = 0; i < 3; i++)
		assert_int_equal(join(&writers[i]), 0);
	assert_int_equal(weir_coro_join(closer, WEIR_NEVER, &res), 0);
	assert_int_equal(res, 0);
	assert_int_equal(weir_commit_destroy(NULL), 0);
	weir_file_close(file);
}

static void a_log_without_a_slot_waits_for_one(void)
{
	struct weir_file *file = open_log(false);
	struct weir_commit *log = create(file, NULL);
	struct weir_ring *ring = weir__ring_self();
	struct writer writer = { .log = log, .data = "data", .size = 4 };
	unsigned limit = ring->limit[WEIR_TRANSIENT];

	ring->limit[WEIR_TRANSIENT] = 0;
	go(&writer);
	for (int i = 0; i < 5; i++)
		weir_sleep(100 * WEIR_US);
	assert_int_equal(writer.res, 1);
	assert_int_equal(info(log).waiting, 1);
	ring->limit[WEIR_TRANSIENT] = limit;
	weir_sleep(100 * WEIR_US);	/* a turn, in which the ring looks for free slots */
	assert_int_equal(join(&writer), 0);
	weir_commit_destroy(log);
	weir_file_close(file);
}

static void a_recycled_log_keeps_its_size(void)
{
	static char old[256 << 10];
	struct weir_file *file = open_log(false);
	struct weir_commit *log;
	struct weir_stat stat;

	assert_int_equal(weir_file_write_all(file, old, sizeof(old), 0), 0);
	assert_int_equal(weir_file_sync(file), 0);
	log = create(file, NULL);
	assert_int_equal(weir_commit_append(log, "data", 4, NULL), 0);
	assert_int_equal(weir_commit_destroy(log), 0);
	assert_int_equal(weir_file_stat(file, &stat), 0);
	assert_int_equal(stat.size, sizeof(old));
	weir_file_close(file);
}

static void a_direct_log_takes_whole_blocks(void)
{
	const struct weir_open_opts opts = { .flags = O_RDWR, .direct = true };
	const struct weir_commit_opts odd = { .group_size = 5000 };
	struct weir_file *file;
	struct weir_commit *log;
	static char block[4096], in[8192];
	struct weir_stat stat;
	int64_t offset;

	if (weir_file_open(NULL, path, &opts, &file) == -EINVAL)
		return ring_test_skip("no O_DIRECT here");
	assert_int_equal(weir_file_stat(file, &stat), 0);
	if (stat.offset_align > 1)
		assert_int_equal(weir_commit_create(file, 0, &odd, &log), -EINVAL);
	log = create(file, NULL);
	memset(block, 'b', sizeof(block));
	assert_int_equal(weir_commit_append(log, block, 4096, &offset), 0);
	assert_int_equal(weir_commit_append(log, block, 4096, &offset), 0);
	assert_int_equal(offset, 4096);
#ifndef WEIR_DEBUG
	if (stat.offset_align > 1)
		assert_int_equal(weir_commit_append(log, block, 1, &offset), -EINVAL);
#endif
	assert_int_equal(contents(in, sizeof(in)), sizeof(in));
	assert_memory_equal(in + 4096, block, 4096);
	assert_int_equal(weir_commit_destroy(log), 0);
	assert_int_equal(weir_file_close(file), 0);
}

/* Runs the body in *state on a bent kernel. */
static void on_bent(void **state)
{
	struct ring_fixture fixture = ring_fixture_defaults();
	void (*body)(void) = (void (*)(void))(uintptr_t)*state;

	bent_init(&bent);
	fixture.ring.kernel = &bent.kernel;
	assert_int_equal(on_ring_with(&fixture, ring_test_body, &body), 0);
}

#define on_file(body, run)                                                                        \
	{                                                                                         \
		.name = #body, .test_func = run, .setup_func = make_path,                         \
		.teardown_func = remove_path, .initial_state = (void *)(uintptr_t)(body),         \
	}
#define real(body) on_file(body, ring_test_run)
#define bent(body) on_file(body, on_bent)

int main(void)
{
	const struct CMUnitTest tests[] = {
		real(an_append_is_in_the_file_when_it_returns),
		real(many_writers_share_a_write_and_lose_nothing),
		real(full_groups_park_writers_and_lose_nothing),
		real(writers_park_in_line_when_the_group_is_full),
		real(cancelling_in_line_appends_nothing),
		real(an_append_of_nothing_waits_for_what_was_before),
		real(a_log_goes_on_where_it_is_told),
		bent(a_failed_write_fails_the_log_for_everybody_and_for_good),
		bent(a_full_disk_fails_the_log_with_its_error),
		bent(short_writes_are_continued),
		bent(a_write_that_moves_nothing_is_an_error_and_no_loop),
		bent(every_group_is_written_through),
		real(destroy_answers_everybody_and_refuses_new_appends),
		real(a_log_without_a_slot_waits_for_one),
		real(a_recycled_log_keeps_its_size),
		real(a_direct_log_takes_whole_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
