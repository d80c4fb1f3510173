/* SPDX-License-Identifier: MIT */
/*
 * ring_fixture.h - runs a function as a coroutine on one worker with a ring of the host's
 * kernel (host_kernel.h), without weir_run(): for tests of ring/ and net/ below the runtime.
 *
 *	static int body(void *arg) { ... return 0; }
 *
 *	assert_int_equal(on_ring(body, NULL), 0);
 *
 * or, as an entry of cmocka's table, ring_test(body) for a void body(void): include cmocka.h
 * before.
 */
#ifndef WEIR_TESTS_RING_FIXTURE_H
#define WEIR_TESTS_RING_FIXTURE_H

#include <stdlib.h>

#include "core/weir_coro.h"
#include "core/worker.h"
#include "ring/ring.h"
#include "tests/support/host_kernel.h"

/* What a test may change before on_ring(): sizes, or the kernel, to make its calls fail. */
struct ring_fixture {
	struct weir_ring_opts ring;
	struct weir_worker_opts worker;
	int64_t timeout_ns;		/* the body's deadline, from its start; 0: 30 s */
};

static inline struct ring_fixture ring_fixture_defaults(void)
{
	return (struct ring_fixture){
		.ring = {
			.kernel = host_kernel(),
			.depth = 256,
			.armed_max = 256,
			.direct_max = 256,
			.bufs = 64,
			.buf_size = 4096,
			.sq_size = 256,
			.cq_size = 2048,
		},
	};
}

/* So small that runs are short and every bound is met. */
static inline struct ring_fixture ring_fixture_small(void)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	fixture.ring.depth = 8;
	fixture.ring.armed_max = 16;
	fixture.ring.direct_max = 16;
	fixture.ring.bufs = 8;
	fixture.ring.buf_size = 256;
	fixture.ring.sq_size = 8;
	fixture.ring.cq_size = 64;
	fixture.worker.coros.coros_max = 64;
	return fixture;
}

struct ring_fixture_call {
	int (*fn)(void *arg);
	void *arg;
	int res;
};

static inline int ring_fixture_body(void *arg)
{
	struct ring_fixture_call *call = arg;

	call->res = call->fn(call->arg);
	return 0;
}

/*
 * Runs fn(arg) in a coroutine called "test". Returns what it returned, or what starting the
 * ring or the worker failed with.
 */
static inline int on_ring_with(const struct ring_fixture *fixture, int (*fn)(void *), void *arg)
{
	struct ring_fixture_call call = { .fn = fn, .arg = arg, .res = -ECANCELED };
	struct weir_coro_opts coro_opts = { .name = "test", .detached = true };
	struct weir_worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) & ~(size_t)63);
	struct weir_ring *ring;
	int r = worker ? weir__ring_create(&fixture->ring, &ring) : -ENOMEM;

	if (r < 0)
		goto free_worker;
	r = weir__worker_init(worker, &ring->driver, &fixture->worker);
	if (r < 0)
		goto free_ring;
	r = ring->driver.ops->start(&ring->driver);
	if (r < 0)
		goto fini_worker;
	coro_opts.deadline_ns = weir_in(fixture->timeout_ns ? fixture->timeout_ns : 30 * WEIR_S);
	r = weir_coro_spawn(&coro_opts, ring_fixture_body, &call, NULL);
	if (!r)
		r = weir__worker_loop(worker);
	if (!r)
		r = call.res;
	ring->driver.ops->stop(&ring->driver);
fini_worker:
	weir__worker_fini(worker);
free_ring:
	weir__ring_destroy(ring);
free_worker:
	free(worker);
	return r;
}

/* The same with the defaults. */
static inline int on_ring(int (*fn)(void *), void *arg)
{
	struct ring_fixture fixture = ring_fixture_defaults();

	return on_ring_with(&fixture, fn, arg);
}

static const char *ring_test_skipped;

/* In a body: `return ring_test_skip("why")`: the host lacks what the test needs. */
static inline void ring_test_skip(const char *why)
{
	ring_test_skipped = why;
}

static inline int ring_test_body(void *arg)
{
	void (*const *body)(void) = arg;

	(*body)();
	return 0;
}

static inline void ring_test_run(void **state)
{
	void (*body)(void) = (void (*)(void))(uintptr_t)*state;

	ring_test_skipped = NULL;
	if (on_ring(ring_test_body, &body) != 0)
		abort();
	if (ring_test_skipped) {
		print_message("skipped: %s\n", ring_test_skipped);
		skip();
	}
}

/* An entry of cmocka's table: body, a void (*)(void), runs in a coroutine. */
#define ring_test(body)                                                                           \
	{                                                                                         \
		.name = #body, .test_func = ring_test_run,                                        \
		.initial_state = (void *)(uintptr_t)(body),                                       \
	}

#endif
