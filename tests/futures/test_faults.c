/* SPDX-License-Identifier: MIT */
/*
 * test_faults.c - futures over a real ring and between cores, with the Nth allocation, operation or
 * call failing: every future settles, and what was started has ended.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "core/weir_coro.h"
#include "core/weir_mesh.h"
#include "futures/weir_file_async.h"
#include "futures/weir_future.h"
#include "futures/weir_op_async.h"
#include "ring/weir_run.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/nth.h"
#include "tests/support/ring_fixture.h"

static int on_small_ring(int (*body)(void *))
{
	struct ring_fixture fixture = ring_fixture_small();

	fixture.timeout_ns = NTH_WAIT_NS;
	return on_ring_with(&fixture, body, NULL);
}

static int error_of(ssize_t res)
{
	return res < 0 ? (int)res : 0;
}

/* No future may be left when a scenario has awaited what it made. */
static int nothing_left(int r)
{
	struct weir_futures_info info;

	if (weir_futures_info(&info) == 0 && info.count)
		return -EPROTO;
	return r;
}

/* --- combinators --- */

static ssize_t pass(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static ssize_t go_on(struct weir_result *result, void *arg)
{
	(void)arg;
	return weir_follow(result, weir_future_of(result->res));
}

/* A pair that is resolved at once, when there was room for it. */
static struct weir_future *resolved(void)
{
	struct weir_promise promise;
	struct weir_future *future;
	int r = weir_promise_create(&promise, &future);

	if (r < 0)
		return weir_future_of(r);
	future = weir_then(future, go_on, NULL);
	future = weir_recover(future, pass, NULL);
	weir_promise_resolve(&promise, 1);
	return weir_finally(future, pass, NULL);
}

/* One that nobody resolves: the deadline ends it. */
static struct weir_future *broken(void)
{
	struct weir_promise promise;
	struct weir_future *future;
	int r = weir_promise_create(&promise, &future);

	if (r < 0)
		return weir_future_of(r);
	weir_promise_drop(&promise);
	return weir_timeout(future, nth_in());
}

static int combine(void *arg)
{
	struct weir_future *parts[4] = { resolved(), broken(), resolved(), broken() };
	struct weir_future *joins[2];
	int r;

	(void)arg;
	joins[0] = weir_any(parts, 2);
	joins[1] = weir_all_settled(parts + 2, 2, NULL);
	r = error_of(weir_await(weir_all(joins, 2), nth_in(), NULL));
	return nothing_left(r);
}

static int combinators(void *arg)
{
	(void)arg;
	return on_small_ring(combine);
}

/* --- ops --- */

#define PAIRS 12	/* more than the ring is deep */

static int start_recv(struct weir_op *op, const struct weir_op_args *args)
{
	return weir_op_recv(op, args->fd, args->buf, args->size);
}

static int start_send(struct weir_op *op, const struct weir_op_args *args)
{
	return weir_op_send(op, args->fd, args->buf, args->size);
}

/* Receives that nothing comes to, until the sends; and one that loses a race. */
static int talk(const int *fds)
{
	static char in[PAIRS + 1][8], out[8] = "future";
	struct weir_future *parts[PAIRS + 1], *loser[2];
	struct weir_op_args args = { .fd = fds[0] };

	for (unsigned i = 0; i < PAIRS; i++) {
		args.buf = i % 2 ? out : in[i];
		args.fd = fds[i % 2];
		args.size = sizeof(out);
		parts[i] = weir_op_async(i % 2 ? start_send : start_recv, &args, "talk");
	}
	args.fd = fds[1];
	args.buf = in[PAIRS];
	loser[0] = weir_op_async(start_recv, &args, "loser");
	loser[1] = weir_future_of(0);
	parts[PAIRS] = weir_race(loser, 2);
	return error_of(weir_await(weir_timeout(weir_all(parts, PAIRS + 1), nth_in()), WEIR_NEVER,
				   NULL));
}

static int with_socketpair(void *arg)
{
	int fds[2], r;

	(void)arg;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	r = talk(fds);
	close(fds[0]);
	close(fds[1]);
	return nothing_left(r);
}

static int ops(void *arg)
{
	(void)arg;
	return on_small_ring(with_socketpair);
}

/* --- files --- */

static int with_file(struct weir_file *file)
{
	static char page[2][512];
	struct weir_future *parts[2];
	int r;

	for (unsigned i = 0; i < 2; i++)
		parts[i] = weir_file_write_async(file, page[i], sizeof(page[i]), i * 512);
	r = error_of(weir_await(weir_all(parts, 2), nth_in(), NULL));
	if (r < 0)
		return r;
	for (unsigned i = 0; i < 2; i++)
		parts[i] = weir_then(weir_file_read_async(file, page[i], sizeof(page[i]), i * 512),
				     pass, NULL);
	return error_of(weir_await(weir_all(parts, 2), nth_in(), NULL));
}

static int with_open_file(void *arg)
{
	const struct weir_open_opts opts = { .flags = O_RDWR | O_TMPFILE, .mode = 0600 };
	struct weir_file *file;
	int r = weir_file_open(NULL, "/tmp", &opts, &file), closed;

	(void)arg;
	if (r < 0)
		return r;
	r = with_file(file);
	closed = weir_file_close(file);
	return nothing_left(r < 0 ? r : closed);
}

static int files(void *arg)
{
	(void)arg;
	return on_small_ring(with_open_file);
}

/* --- between cores --- */

/* A promise that travels: in memory that lives until it has arrived. */
struct errand {
	struct weir_promise promise;
};

static void resolve_there(void *arg)
{
	struct errand *errand = arg;

	weir_promise_resolve_any(&errand->promise, 7, NULL, NULL);
}

static int send_errand(void)
{
	unsigned other = (unsigned)(weir_core() + 1) % weir_core_count();
	struct weir_future *future;
	struct errand errand;
	int r = weir_promise_create_any(&errand.promise, &future);

	if (r < 0)
		return r;
	r = weir_post(other, resolve_there, &errand, nth_in());
	if (r < 0) {
		weir_promise_drop(&errand.promise);
		weir_future_drop(future);
		return r;
	}
	/* It uses our stack there. */
	weir_coro_shield();
	r = error_of(weir_await(future, WEIR_NEVER, NULL));
	weir_coro_unshield();
	return r;
}

static int errands(void *arg)
{
	int r = 0;

	(void)arg;
	for (int i = 0; i < 4 && !r; i++)
		r = send_errand();
	return r;
}

static int between_cores(void *arg)
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
		.stall_ns = -1,
		.no_pin = true,
		.no_signals = true,
	};

	return weir_run(&opts, errands, arg);
}

/* --- the tests --- */

#define faults_of(scenario)                                                                       \
	static void each_allocation_of_##scenario##_may_fail(void **state)                        \
	{                                                                                         \
		(void)state;                                                                      \
		nth_allocations(#scenario, scenario, NULL);                                       \
	}                                                                                         \
	static void each_call_operation_and_enter_of_##scenario##_may_fail(void **state)          \
	{                                                                                         \
		(void)state;                                                                      \
		nth_calls(#scenario, FAULT_CALL, scenario, NULL);                                 \
		nth_calls(#scenario, FAULT_SQE, scenario, NULL);                                  \
		nth_calls(#scenario, FAULT_ENTER, scenario, NULL);                                \
	}

faults_of(combinators)
faults_of(ops)
faults_of(files)
faults_of(between_cores)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_of_combinators_may_fail),
		cmocka_unit_test(each_allocation_of_ops_may_fail),
		cmocka_unit_test(each_allocation_of_files_may_fail),
		cmocka_unit_test(each_allocation_of_between_cores_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_combinators_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_ops_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_files_may_fail),
		cmocka_unit_test(each_call_operation_and_enter_of_between_cores_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
