/* SPDX-License-Identifier: MIT */
/*
 * test_no_memory.c - the same work again and again, with the first, second, third ...
 * allocation failing, until it needs no more: every refusal is a result, nothing is
 * leaked, and what was started has ended.
 */
#include "on_worker.h"

#include "futures/weir_call_async.h"
#include "futures/weir_chan.h"
#include "futures/weir_retry.h"
#include "futures/weir_scope.h"
#include "futures/weir_share.h"
#include "futures/weir_stream_from.h"
#include "futures/weir_stream_ops.h"
#include "futures/weir_stream_to.h"

#define PAIRS 2000	/* several chunks of the slabs */

static struct {
	unsigned left;		/* allocations that succeed; 0: the next one fails */
	bool armed;
	bool failed;
	size_t bytes;		/* that were not freed */
} memory;

static void *limited_alloc(void *arg, size_t size, size_t align)
{
	void *ptr;

	(void)arg;
	if (memory.armed && memory.left-- == 0) {
		memory.failed = true;
		return NULL;
	}
	ptr = aligned_alloc(align, (size + align - 1) / align * align);
	if (ptr)
		memory.bytes += size;
	return ptr;
}

static void limited_free(void *arg, void *ptr, size_t size)
{
	(void)arg;
	memory.bytes -= size;
	free(ptr);
}

static unsigned values_given, values_dropped;

static void drop(void *value)
{
	(void)value;
	values_dropped++;
}

static ssize_t step(struct weir_result *result, void *arg)
{
	(void)arg;
	return result->res;
}

static bool is_defined(ssize_t res)
{
	return res >= 0 || res == -ENOMEM || res == -ECANCELED;
}

static int number;

/* A pair, its future with a link and a deadline on it. */
static bool make(struct weir_promise *promise, struct weir_future **ret_part)
{
	struct weir_future *future;
	int r = weir_promise_create(promise, &future);

	if (r) {
		assert_int_equal(r, -ENOMEM);
		return false;
	}
	*ret_part = weir_timeout(weir_then(future, step, NULL), weir_in(WEIR_S));
	return true;
}

static void work(void)
{
	static struct weir_promise promises[PAIRS];
	static struct weir_future *parts[PAIRS];
	static const enum weir_how hows[] = { WEIR_ALL, WEIR_ANY };
	struct weir_future *joins[2], *future;
	unsigned count = 0;

	memory.armed = true;
	while (count < PAIRS && make(&promises[count], &parts[count]))
		count++;
	for (unsigned i = 0; i < 2; i++)
		joins[i] = weir_join(hows[i], parts + i * count / 2, count / 2, NULL);
	if (count % 2)
		weir_future_drop(parts[count - 1]);
	future = weir_finally(weir_all_settled(joins, 2, NULL), step, NULL);
	memory.armed = false;

	for (unsigned i = 0; i < count; i++) {
		values_given++;
		if (weir_promise_resolve_value(&promises[i], 1, &number, drop) < 0)
			values_dropped++;	/* still ours */
	}
	assert_true(is_defined(weir_await(future, WEIR_NEVER, NULL)));
	turns(4);
	assert_int_equal(values_given, values_dropped);
}

/* --- what starts futures itself --- */

#define ROUNDS 300	/* of each kind: several chunks */
#define KINDS 7

static struct weir_promise begun[ROUNDS * KINDS * 4];
static unsigned begun_count;

/* A future that settle_begun() settles. */
static struct weir_future *begin(unsigned index, void *arg)
{
	struct weir_future *future;
	int r;

	(void)arg;
	assert_true(begun_count < sizeof(begun) / sizeof(*begun));
	r = weir_promise_create(&begun[begun_count], &future);
	if (r)
		return weir_future_of(r);
	begun_count++;
	return index == 1 ? weir_then(future, step, NULL) : future;
}

static struct weir_future *begin_again(unsigned index, void *arg)
{
	return index ? begin(index, arg) : weir_future_of(-EAGAIN);
}

static struct weir_future *begin_key(const void *key, size_t key_size, void *arg)
{
	(void)key;
	(void)key_size;
	return begin(0, arg);
}

static int call_back(void *arg)
{
	(void)arg;
	return 1;
}

static void settle_begun(void)
{
	for (unsigned i = 0; i < begun_count; i++) {
		values_given++;
		if (weir_promise_resolve_value(&begun[i], 1, &number, drop) < 0)
			values_dropped++;
	}
	begun_count = 0;
}

/* Two readers of one share, and its handle given back. */
static void share_between(struct weir_future **parts)
{
	struct weir_future *future = begin(0, NULL);
	struct weir_share *share;
	int r = weir_share_create(future, &share);

	if (r) {
		parts[0] = future;
		parts[1] = weir_future_of(r);
		return;
	}
	parts[0] = weir_share_read(share);
	parts[1] = weir_share_read(share);
	assert_int_equal(weir_share_release(share), 0);
}

static void start_one_of_each(struct weir_memo *memo, unsigned i, struct weir_future **parts)
{
	const struct weir_retry_opts opts = { .delay_ns = 1, .delay_ns_max = 1 };

	parts[0] = weir_map(3, 2, begin, NULL, NULL);
	parts[1] = weir_retry(&opts, begin_again, NULL);
	parts[2] = weir_hedge(i % 2, begin, NULL);
	parts[3] = memo ? weir_memo_get(memo, &i, sizeof(i)) : weir_future_of(-ENOMEM);
	parts[4] = weir_call_async(0, call_back, NULL, WEIR_NEVER);
	share_between(parts + 5);
}

static void start_work(void)
{
	static struct weir_future *parts[ROUNDS * KINDS];
	const struct weir_memo_opts opts = { .start = begin_key, .ttl_ns = WEIR_NEVER };
	struct weir_memo *memo = NULL;
	struct weir_future *future;

	begun_count = 0;
	memory.armed = true;
	if (weir_memo_create(&opts, &memo))
		memo = NULL;
	for (unsigned i = 0; i < ROUNDS; i++)
		start_one_of_each(memo, i, parts + i * KINDS);
	future = weir_all_settled(parts, ROUNDS * KINDS, NULL);
	while (!weir_future_is_settled(future)) {
		turns(3);
		settle_begun();
		weir_sleep(WEIR_MS);
	}
	memory.armed = false;
	assert_true(is_defined(weir_await(future, WEIR_NEVER, NULL)));
	assert_int_equal(weir_memo_destroy(memo), 0);
	turns(4);
	assert_int_equal(values_given, values_dropped);
}

/* --- scopes, channels, streams --- */

#define CROWD 60	/* coroutines */

static void drop_item(struct weir_item item)
{
	drop(item.ptr);
}

static int emit_some(struct weir_emitter *emitter, void *arg)
{
	int r = 0;

	(void)arg;
	for (unsigned i = 0; i < 5 && !r; i++) {
		values_given++;
		r = weir_emit(emitter, weir_item_ptr(&number, 0));
		if (r < 0)
			values_dropped++;
	}
	return r;
}

static struct weir_stream *inner_stream(struct weir_arena *arena, struct weir_item item, void *arg)
{
	(void)item;
	(void)arg;
	return weir_stream_generate(arena, emit_some, NULL, drop_item);
}

static int look_at(struct weir_item item, void *arg)
{
	(void)item;
	(void)arg;
	return weir_sleep(1);
}

static int read_streams(void *arg)
{
	const struct weir_inner_opts opts = { .streams = 2, .drop = drop_item };
	struct weir_stream *stream;
	struct weir_arena *arena;
	ssize_t n;
	int r = weir_arena_create(NULL, &arena);

	(void)arg;
	if (r)
		return r;
	stream = weir_stream_generate(arena, emit_some, NULL, drop_item);
	n = weir_await(weir_stream_each(weir_stream_flat_map(stream, inner_stream, NULL, &opts), 2,
					look_at, NULL),
		       WEIR_NEVER, NULL);
	assert_true(is_defined(n) || n == -ENOBUFS);
	return n < 0 ? (int)n : 0;
}

static void drop_sent(void *item, void *arg)
{
	(void)arg;
	drop(item);
}

static int use_channels(void *arg)
{
	static const enum weir_chan_kind kinds[] = { WEIR_QUEUE, WEIR_BROADCAST,
						     WEIR_WATCH };
	int r = 0;

	for (unsigned i = 0; i < 3 && !r; i++) {
		const struct weir_chan_opts opts = { .item_size = 8, .capacity = 4,
						     .kind = kinds[i], .drop = drop_sent };
		struct weir_chan *chan;
		uint64_t item = 1;

		r = weir_chan_create(&opts, &chan);
		if (r)
			break;
		assert_int_equal(weir_chan_send(chan, &item, WEIR_NEVER), 0);
		values_given++;
		assert_int_equal(weir_chan_destroy(chan), 0);
	}
	return r;
}

static int member(void *arg)
{
	int r = use_channels(arg);

	return r ? r : read_streams(arg);
}

static void talk_work(void)
{
	struct weir_scope_result result = { 0 };
	struct weir_scope scope;
	unsigned started = 0;
	int r;

	memory.armed = true;
	r = weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER);
	assert_true(!r || r == -ENOMEM);
	while (!r && started < CROWD && !weir_scope_go(&scope, member, NULL))
		started++;
	if (!r) {
		r = weir_scope_join(&scope, &result);
		assert_true(is_defined(r) || r == -ENOBUFS);
		assert_int_equal(result.started, started);
	}
	memory.armed = false;
	turns(4);
	assert_int_equal(values_given, values_dropped);
}

static void run_until_nothing_fails(void **state)
{
	const struct weir_allocator limited = { .alloc = limited_alloc, .free = limited_free };
	void *body = *state;
	unsigned n = 0;

	assert_int_equal(weir_set_allocator(&limited), 0);
	do {
		memory.left = n++;
		memory.failed = false;
		values_given = 0;
		values_dropped = 0;
		on_worker_run(&body);
		assert_int_equal(memory.bytes, 0);
	} while (memory.failed);
	assert_true(n > 8);
	assert_int_equal(weir_set_allocator(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{
			.name = "each_allocation_may_fail_and_nothing_is_lost",
			.test_func = run_until_nothing_fails,
			.initial_state = (void *)(uintptr_t)work,
		},
		{
			.name = "so_may_those_of_what_starts_futures_itself",
			.test_func = run_until_nothing_fails,
			.initial_state = (void *)(uintptr_t)start_work,
		},
		{
			.name = "so_may_those_of_scopes_channels_and_streams",
			.test_func = run_until_nothing_fails,
			.initial_state = (void *)(uintptr_t)talk_work,
		},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
