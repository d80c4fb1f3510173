/* SPDX-License-Identifier: MIT */
/*
 * test_known_bugs.c - bugs that other runtimes shipped and the ring must not have, as far as no
 * other unit's test is about them. Each test names the public report. tests/README.md lists all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/weir_coro.h"
#include "ring/uapi.h"
#include "ring/weir_probe.h"
#include "ring/weir_run.h"
#include "tests/support/ring_fixture.h"
#include "tests/support/script_kernel.h"

struct seen {
	struct weir_op op;
	unsigned count;
	int res;
};

static void seen_done(struct weir_op *op, int res, uint32_t flags)
{
	struct seen *seen = weir_container_of(op, struct seen, op);

	(void)flags;
	seen->count++;
	seen->res = res;
}

/* --- the end of a ring --- */

static struct seen left;
static char left_buf[16];
static int left_fds[2];

static int begin_and_leave(void *arg)
{
	(void)arg;
	assert_int_equal(pipe2(left_fds, O_CLOEXEC), 0);
	memset(&left, 0, sizeof(left));
	weir_op_init(&left.op, seen_done, "left behind");
	assert_int_equal(weir_op_read(&left.op, left_fds[0], left_buf, sizeof(left_buf), -1), 0);
	assert_int_equal(weir_yield(), 0);
	assert_true(weir_op_is_inflight(&left.op));
	return 0;
}

/*
 * cloud-hypervisor#8408, io_uring_setup(2): closing a ring does not end at once what is in flight
 * in it, and the kernel wrote into memory that was free.
 */
static void what_is_in_flight_has_ended_before_the_ring_is_closed(void **state)
{
	(void)state;
	assert_int_equal(on_ring(begin_and_leave, NULL), 0);
	assert_int_equal(left.count, 1);
	assert_int_equal(left.res, -ECANCELED);
	assert_false(weir_op_is_inflight(&left.op));
	assert_int_equal(write(left_fds[1], "late", 4), 4);
	assert_int_equal(left_buf[0], 0);
	close(left_fds[0]);
	close(left_fds[1]);
}

/* --- submission --- */

static int enter_error;

static int failing_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			 unsigned wait, unsigned flags, const void *arg, size_t size)
{
	if (enter_error)
		return enter_error;
	return script_enter(kernel, uring, submit, wait, flags, arg, size);
}

/*
 * tokio#8185: submit() failed after the entry was queued, and the buffer was freed; nixl#1942:
 * what a failed submit had queued was forgotten in flight.
 */
static void an_op_whose_submission_failed_is_in_flight_until_its_result(void **state)
{
	static const int errors[] = { -EINTR, -EAGAIN, -EBUSY, -ENOMEM };
	struct weir_kernel_ops ops = script_ops;

	(void)state;
	ops.ring_enter = failing_enter;
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct script *s = script_start(16, 4, 0);
		struct seen seen = { .count = 0 };

		s->kernel.ops = &ops;
		enter_error = errors[i];
		weir_op_init(&seen.op, seen_done, "op");
		assert_int_equal(weir_op_nop(&seen.op), 0);
		script_turn(s);
		script_turn(s);
		assert_true(weir_op_is_inflight(&seen.op));
		assert_int_equal(s->taken_count, 0);
		assert_int_equal(s->ring->taken[WEIR_TRANSIENT], 1);
		enter_error = 0;
		script_turn(s);
		assert_int_equal(s->taken_count, 1);	/* once, and not again */
		script_answer(s, 0, 7, 0);
		script_turn(s);
		assert_int_equal(seen.count, 1);
		assert_int_equal(seen.res, 7);
		script_stop(s);
	}
}

/* --- waking --- */

static void wake_task(struct weir_task *task)
{
	struct weir_driver *driver = weir__self->driver;

	(void)task;
	driver->ops->wake(driver, driver);
}

/* Helio: the wake of another core waited in the queue for the caller's next submission. */
static void a_wake_leaves_with_the_turn_that_made_it(void **state)
{
	struct script *s = script_start(16, 4, 0);
	struct weir_task task;

	(void)state;
	weir_task_init(&task, wake_task);
	weir_task_ready(&task);
	script_turn(s);
	assert_int_equal(s->taken_count, 1);
	assert_int_equal(s->taken[0].opcode, IORING_OP_MSG_RING);
	assert_true(s->taken[0].flags & IOSQE_CQE_SKIP_SUCCESS);
	script_stop(s);
}

static unsigned notified;

static int counting_notify(struct weir_kernel *kernel, struct io_uring *uring, uint64_t user_data)
{
	(void)kernel;
	(void)uring;
	(void)user_data;
	notified++;
	return 0;
}

/* glommio#261, Photon#261, dragonfly#2641: a wake that was lost is a stall without an end. */
static void a_wake_that_failed_is_made_another_way(void **state)
{
	struct script *s = script_start(16, 4, 0);
	struct weir_kernel_ops ops = script_ops;
	struct weir_task task;

	(void)state;
	ops.notify = counting_notify;
	s->kernel.ops = &ops;
	notified = 0;
	weir_task_init(&task, wake_task);
	weir_task_ready(&task);
	script_turn(s);
	assert_int_equal(notified, 0);
	script_answer(s, 0, -ENOMEM, 0);
	script_turn(s);
	assert_int_equal(notified, 1);
	assert_int_equal(s->ring->stale, 0);
	script_stop(s);
}

/* --- what idling costs --- */

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * WEIR_S + ts.tv_nsec;
}

/* dragonfly#2014: a mode in which idle servers burned a quarter of a core and more. */
static void an_idle_worker_makes_no_system_calls_and_uses_no_cpu(void)
{
	struct weir_ring_info before, after;
	int64_t cpu;

	assert_int_equal(weir_sleep(WEIR_MS), 0);
	assert_int_equal(weir_ring_info(&before), 0);
	cpu = cpu_ns();
	assert_int_equal(weir_sleep(200 * WEIR_MS), 0);
	cpu = cpu_ns() - cpu;
	assert_int_equal(weir_ring_info(&after), 0);
	assert_true(after.enters - before.enters <= 4);	/* one to sleep, and a few to fall asleep */
	assert_true(cpu < 20 * WEIR_MS);
}

static uint32_t enter_flags;
static uint32_t enters_that_waited;

static int modern_setup(struct weir_kernel *kernel, unsigned entries, struct io_uring *uring,
			struct io_uring_params *params)
{
	int r = script_setup(kernel, entries, uring, params);

	params->features |= IORING_FEAT_NO_IOWAIT;
	return r;
}

static int noting_enter(struct weir_kernel *kernel, struct io_uring *uring, unsigned submit,
			unsigned wait, unsigned flags, const void *arg, size_t size)
{
	enter_flags &= flags;
	enters_that_waited += wait != 0;
	return script_enter(kernel, uring, submit, wait, flags, arg, size);
}

/* dragonfly#2729, iggy#3507, libtorrent#7918: idle services were shown as 100 % iowait. */
static void waits_are_not_counted_as_iowait_where_the_kernel_allows(void **state)
{
	struct script *s = calloc(1, sizeof(*s));
	struct weir_kernel_ops ops = script_ops;
	struct weir_ring_opts ring_opts = { .kernel = &s->kernel, .depth = 16, .armed_max = 4 };

	(void)state;
	ops.ring_setup = modern_setup;
	ops.ring_enter = noting_enter;
	s->kernel.ops = &ops;
	s->now = WEIR_S;
	s->accept = SCRIPT_SQ;
	enter_flags = UINT32_MAX;
	assert_int_equal(weir__ring_create(&ring_opts, &s->ring), 0);
	assert_int_equal(weir__worker_init(&s->worker, &s->ring->driver, NULL), 0);
	assert_int_equal(s->ring->driver.ops->start(&s->ring->driver), 0);
	weir__worker_turn(&s->worker, s->now + 10 * WEIR_MS);
	assert_true(enters_that_waited > 0);
	assert_true(enter_flags & IORING_ENTER_NO_IOWAIT);
	script_stop(s);
}

/*
 * CVE-2024-22017: a ring made by root kept root's rights for a process that had given them up. A
 * kernel thread that polls would; without one an operation has the rights of who submits it.
 */
static void no_kernel_thread_polls_for_us(void)
{
	struct weir_ring_info info;

	assert_int_equal(weir_ring_info(&info), 0);
	assert_int_equal(info.setup_flags & (IORING_SETUP_SQPOLL | IORING_SETUP_IOPOLL), 0);
	assert_int_equal(info.refused_flags & IORING_SETUP_SQPOLL, 0);
}

/* --- readiness --- */

/* A multishot poll tells edges only: what was readable before and still is was never told again. */
static void a_poll_asked_again_tells_what_is_still_readable(void)
{
	struct seen seen = { .count = 0 };
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	weir_op_init(&seen.op, seen_done, "poll");
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(weir_op_poll(&seen.op, fds[0], POLLIN), 0);
		while (weir_op_is_inflight(&seen.op))
			assert_int_equal(weir_yield(), 0);
		assert_int_equal(seen.count, i);
		assert_true(seen.res & POLLIN);
	}
	close(fds[0]);
	close(fds[1]);
}

/* --- refused --- */

/* io_uring_setup gives EPERM, as in a container with the default profile of its engine. */
static int forbid_rings(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

static int note_refusal(const struct weir_probe_item *item, void *arg)
{
	bool *is_named = arg;

	if (item->state == WEIR_PROBE_REFUSED && strstr(item->value, "seccomp") &&
	    strstr(item->remedy, "io_uring_setup"))
		*is_named = true;
	return 0;
}

enum { NAMED = 0, NO_FILTER = 77, NOT_EPERM = 1, NOT_NAMED = 2, NOT_POLL = 3, ON_POLL = 4 };

static int tell_kernel(void *arg)
{
	struct weir_ring_info info;

	(void)arg;
	weir_ring_info(&info);
	return strcmp(info.kernel, "poll") || !strstr(info.kernel_reason, "seccomp") ? NOT_POLL :
										       ON_POLL;
}

static int be_refused(void)
{
	struct weir_opts opts = { .cores = 1, .no_signals = true, .kernel = "uring" };
	bool is_named = false;

	if (forbid_rings() < 0)
		return NO_FILTER;
	if (weir_run(&opts, tell_kernel, NULL) != -EPERM)
		return NOT_EPERM;
	opts.kernel = "auto";
	if (weir_run(&opts, tell_kernel, NULL) != ON_POLL)
		return NOT_POLL;
	return weir_probe(note_refusal, &is_named) == -ENOSYS && is_named ? NAMED : NOT_NAMED;
}

/* dragonfly#4042, glommio#569, zulip#39449: "weird error 1" where a container forbids io_uring. */
static void a_refusal_by_seccomp_is_named_and_served_by_the_poll_kernel(void **state)
{
	char sysctl[8];
	int status;
	pid_t pid;

	(void)state;
	weir__read_line("/proc/sys/kernel/io_uring_disabled", sysctl, sizeof(sysctl));
	if (sysctl[0] == '1' || sysctl[0] == '2') {
		print_message("skipped: the sysctl refuses io_uring before the filter does\n");
		skip();
	}
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(be_refused());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_FILTER) {
		print_message("skipped: no seccomp filters here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), NAMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_flight_has_ended_before_the_ring_is_closed),
		cmocka_unit_test(an_op_whose_submission_failed_is_in_flight_until_its_result),
		cmocka_unit_test(a_wake_leaves_with_the_turn_that_made_it),
		cmocka_unit_test(a_wake_that_failed_is_made_another_way),
		ring_test(an_idle_worker_makes_no_system_calls_and_uses_no_cpu),
		cmocka_unit_test(waits_are_not_counted_as_iowait_where_the_kernel_allows),
		ring_test(no_kernel_thread_polls_for_us),
		ring_test(a_poll_asked_again_tells_what_is_still_readable),
		cmocka_unit_test(a_refusal_by_seccomp_is_named_and_served_by_the_poll_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
