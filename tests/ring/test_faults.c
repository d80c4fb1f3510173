/* SPDX-License-Identifier: MIT */
/*
 * test_faults.c - what a service does with its ring, with the Nth allocation, set-up call,
 * operation, enter, transfer or wake of it failing: it goes on or gives an error, and leaves
 * nothing behind.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "ring/weir_commit.h"
#include "ring/weir_file.h"
#include "ring/weir_run.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/nth.h"
#include "tests/support/ring_fixture.h"

static char root_path[] = "/tmp/weir-test-faults-XXXXXX";

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root_path) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root_path);
	return system(command);
}

static const char *in_root(const char *name, char path[64])
{
	snprintf(path, 64, "%s/%s", root_path, name);
	return path;
}

static int on_small_ring(int (*body)(void *))
{
	struct ring_fixture fixture = ring_fixture_small();

	fixture.timeout_ns = NTH_WAIT_NS;
	return on_ring_with(&fixture, body, NULL);
}

static int first_error(int a, int b)
{
	return a < 0 ? a : b;
}

/* --- ops in callback form --- */

#define NOPS 24

static struct {
	struct weir_op ops[NOPS];
	struct weir_slot_wait slot;
	unsigned begun, done;
	int res;
} nops;

static void nop_done(struct weir_op *op, int res, uint32_t flags)
{
	(void)op;
	(void)flags;
	nops.done++;
	nops.res = first_error(nops.res, res);
}

static void nops_begin(struct weir_slot_wait *slot)
{
	while (nops.begun < NOPS) {
		weir_op_init(&nops.ops[nops.begun], nop_done, NULL);
		if (weir_op_nop(&nops.ops[nops.begun]) < 0) {
			weir_slot_wait(slot, nops_begin);
			return;
		}
		nops.begun++;
	}
}

static int ops_beyond_the_depth(void *arg)
{
	int r = 0;

	(void)arg;
	memset(&nops, 0, sizeof(nops));
	nops_begin(&nops.slot);
	while (!r && nops.done < NOPS)
		r = weir_sleep(10 * WEIR_US);
	weir_assert(nops.done == nops.begun);
	return first_error(r, nops.res);
}

static int ops(void *arg)
{
	(void)arg;
	return on_small_ring(ops_beyond_the_depth);
}

/* --- files --- */

static int write_and_read(struct weir_file *file)
{
	char data[700], back[700];
	struct weir_stat stat;
	int r;

	memset(data, 'w', sizeof(data));
	r = weir_file_write_all(file, data, sizeof(data), 0);
	if (!r)
		r = weir_file_sync(file);
	if (!r)
		r = weir_file_read_exact(file, back, sizeof(back), 0);
	if (!r && memcmp(data, back, sizeof(data)))
		r = -EPROTO;
	if (!r)
		r = weir_file_allocate(file, 0, 0, 8192);
	if (!r)
		r = weir_file_truncate(file, 100);
	if (!r)
		r = weir_file_stat(file, &stat);
	if (!r && stat.size != 100)
		r = -EPROTO;
	return r;
}

static int with_file(struct weir_dir *dir)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT | O_TRUNC };
	struct weir_file *file;
	int r = weir_file_open(dir, "sub/file", &opts, &file);

	if (r < 0)
		return r;
	r = write_and_read(file);
	return first_error(r, weir_file_close(file));
}

static int direct_file(struct weir_dir *dir)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_CREAT | O_TRUNC, .direct = true };
	struct weir_file *file;
	char *page;
	int r = weir_file_open(dir, "sub/direct", &opts, &file);

	if (r < 0)
		return r == -EINVAL ? 0 : r;	/* a file system without O_DIRECT */
	page = weir_aligned_alloc(4096);
	r = page ? 0 : -ENOMEM;
	if (!r) {
		memset(page, 'd', 4096);
		r = weir_file_write_all(file, page, 4096, 0);
	}
	if (!r)
		r = weir_file_read_exact(file, page, 4096, 0);
	weir_aligned_free(page, 4096);
	return first_error(r, weir_file_close(file));
}

static int in_directory(void *arg)
{
	struct weir_dir *dir;
	int r = weir_dir_open(NULL, root_path, 0, &dir);

	(void)arg;
	if (r < 0)
		return r;
	r = weir_path_mkdir(dir, "sub", 0700);
	if (r == -EEXIST)	/* of a run whose rmdir failed */
		r = 0;
	if (!r)
		r = with_file(dir);
	if (!r)
		r = direct_file(dir);
	if (!r)
		r = weir_path_rename(dir, "sub/file", "sub/other");
	if (!r)
		r = weir_dir_sync(dir);
	return first_error(r, weir_dir_close(dir));
}

static int files(void *arg)
{
	(void)arg;
	return on_small_ring(in_directory);
}

/* --- group commit --- */

#define WRITERS 8
#define APPENDS 2
#define RECORD 100

static int append(void *arg)
{
	struct weir_commit *log = arg;
	char record[RECORD];
	int r = 0;

	memset(record, 'r', sizeof(record));
	for (int i = 0; i < APPENDS && !r; i++)
		r = weir_commit_append(log, record, sizeof(record), NULL);
	return r;
}

static int with_writers(struct weir_commit *log)
{
	struct weir_coro *coros[WRITERS];
	unsigned count = 0;
	int r = 0;

	while (!r && count < WRITERS)
		r = weir_coro_spawn(NULL, append, log, &coros[count++]);
	if (r < 0)
		count--;
	for (unsigned i = 0; i < count; i++) {
		int res = 0;

		/* They write to the log: it cannot go before they have ended. */
		weir_coro_shield();
		weir_coro_join(coros[i], WEIR_NEVER, &res);
		weir_coro_unshield();
		r = first_error(r, res);
	}
	return r;
}

static int with_log(void *arg)
{
	const struct weir_open_opts open_opts = { .flags = O_RDWR | O_CREAT | O_TRUNC };
	const struct weir_commit_opts opts = { .group_size = 4 * RECORD };
	struct weir_commit *log;
	struct weir_file *file;
	char path[64];
	int r = weir_file_open(NULL, in_root("log", path), &open_opts, &file);

	(void)arg;
	if (r < 0)
		return r;
	r = weir_commit_create(file, 0, &opts, &log);
	if (!r) {
		struct weir_commit_info info;
		struct weir_stat stat;

		r = with_writers(log);
		weir_commit_info(log, &info);
		r = first_error(r, weir_commit_destroy(log));
		if (!r)
			r = weir_file_stat(file, &stat);
		if (!r && stat.size != WRITERS * APPENDS * RECORD)
			r = -EPROTO;
		if (!r && info.durable != WRITERS * APPENDS * RECORD)
			r = -EPROTO;
	}
	return first_error(r, weir_file_close(file));
}

static int group_commit(void *arg)
{
	(void)arg;
	return on_small_ring(with_log);
}

/* --- a whole runtime --- */

static int read_here(void *arg)
{
	char text[16];
	int r, fds[2];

	(void)arg;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	r = write(fds[1], "hello", 5) == 5 ? 0 : -EIO;
	if (!r) {
		struct weir_op_wait w;
		struct io_uring_sqe *sqe;

		r = weir__op_begin(&w, "read", nth_in(), &sqe);
		if (!r) {
			io_uring_prep_read(sqe, fds[0], text, sizeof(text), 0);
			r = weir__op_end(&w, sqe, nth_in());
		}
	}
	close(fds[0]);
	close(fds[1]);
	if (r < 0)
		return r;
	return r > 5 ? -EPROTO : 0;
}

static int service(void *arg)
{
	unsigned other = (unsigned)(weir_core() + 1) % weir_core_count();
	int res = 0;
	int r = read_here(arg);

	for (int i = 0; i < 3 && !r; i++) {
		r = weir_call(other, read_here, arg, nth_in(), &res);
		r = r ? r : res;
	}
	if (!r)
		r = weir_sleep(20 * WEIR_US);
	return r;
}

static int run(void *arg)
{
	const struct weir_opts opts = {
		.cores = weir_cpus() < 2 ? 1 : 2,
		.depth = 16,
		.conns_max = 16,
		.bufs = 8,
		.buf_size = 256,
		.coros_max = 64,
		.mesh_depth = 16,
		.spin_ns = -1,
		.no_pin = true,
	};

	return weir_run(&opts, service, arg);
}

/*
 * The read that wakes a core was cancelled when its work had ended: the core that rested last could
 * not tell the others, which slept for ever.
 */
static void a_runtime_ends_where_the_kernel_wakes_nobody_without_a_ring(void **state)
{
	(void)state;
	fault_install();
	fault.no_notify = true;
	alarm(NTH_ALARM_S);
	for (int i = 0; i < 20; i++)
		assert_int_equal(run(NULL), 0);
	alarm(0);
	fault_remove();
}

/* 0: it ended before that; 1: with the kernel's error; else something is wrong. */
static int run_until_refused(unsigned dead_at)
{
	int r;

	fault_install();
	fault.dead_at = dead_at;
	alarm(NTH_ALARM_S);
	r = run(NULL);
	if (fault.enters < dead_at)
		return r ? 2 : 0;
	return r == -EPERM ? 1 : 3;
}

/*
 * A filter that is installed later may refuse what worked until then. What is in flight then keeps
 * its memory: in a process of its own, so that this is not taken for a leak.
 */
static void a_kernel_that_refuses_to_go_on_ends_the_runtime_with_its_error(void **state)
{
	unsigned dead_at = 0;
	int status;

	(void)state;
	do {
		pid_t pid = fork();

		dead_at += 1 + dead_at / 8;
		assert_true(pid >= 0);
		if (!pid)
			_exit(run_until_refused(dead_at));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	} while (WEXITSTATUS(status));
	assert_true(dead_at > 4);
}

/* --- the tests --- */

#define allocations_of(scenario)                                                                  \
	static void each_allocation_of_##scenario##_may_fail(void **state)                        \
	{                                                                                         \
		(void)state;                                                                      \
		nth_allocations(#scenario, scenario, NULL);                                       \
	}
#define kernel_of(scenario)                                                                       \
	static void each_call_operation_and_enter_of_##scenario##_may_fail(void **state)          \
	{                                                                                         \
		(void)state;                                                                      \
		nth_calls(#scenario, FAULT_CALL, scenario, NULL);                                 \
		nth_calls(#scenario, FAULT_SQE, scenario, NULL);                                  \
		nth_calls(#scenario, FAULT_ENTER, scenario, NULL);                                \
		nth_calls(#scenario, FAULT_SHORT, scenario, NULL);                                \
		nth_calls(#scenario, FAULT_WAKE, scenario, NULL);                                 \
	}

allocations_of(ops)
allocations_of(files)
allocations_of(group_commit)
allocations_of(run)
kernel_of(ops)
kernel_of(files)
kernel_of(group_commit)
kernel_of(run)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_runtime_ends_where_the_kernel_wakes_nobody_without_a_ring),
		cmocka_unit_test(a_kernel_that_refuses_to_go_on_ends_the_runtime_with_its_error),
		cmocka_unit_test(each_allocation_of_ops_may_fail),
		cmocka_unit_test(each_allocation_of_files_may_fail),
		cmocka_unit_test(each_allocation_of_group_commit_may_fail),
		cmocka_unit_test(each_allocation_of_run_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_ops_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_files_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_group_commit_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_run_may_fail),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
