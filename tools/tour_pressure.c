/* SPDX-License-Identifier: MIT */
/*
 * tour_pressure.c - back-pressure shown: a producer that writes as fast as it can, over real
 * loopback TCP, to a consumer that reads at once, then to one that reads slowly. Nothing in
 * between drops or grows: the consumer's buffers fill to their quota, its receive is disarmed,
 * the TCP window closes, the producer's output reaches its mark, and the producer waits.
 */
#include <string.h>

#include "core/weir_coro.h"
#include "net/weir_listener.h"
#include "ring/weir_ring.h"
#include "ring/weir_run.h"
#include "tools/tour.h"

#define PIECE 8192
#define OUT_HIGH ((size_t)256 << 10)
#define BUFS 256
#define BUF_SIZE 4096
#define SLOW_PIECE ((size_t)64 << 10)
#define SLOW_NS (4 * WEIR_MS)

static struct tour_pressure *pressure;
static struct weir_conn *producer;
static bool slow, stop, listening;
static char address[WEIR_ADDR_TEXT];
static uint64_t received, wrong;

/* The stream repeats this; a prime, so that no lost buffer or page goes unnoticed. */
#define PERIOD 65521
static char pattern[PERIOD + SLOW_PIECE];

static void make_pattern(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < PERIOD; i++) {
		x = x * 1664525 + 1013904223;
		pattern[i] = (char)(x >> 24);
	}
	for (size_t i = PERIOD; i < sizeof(pattern); i++)
		pattern[i] = pattern[i - PERIOD];
}

static void consume(struct weir_conn *conn, void *arg)
{
	static char buf[SLOW_PIECE];
	ssize_t n;

	(void)arg;
	received = 0;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0) {
		wrong += memcmp(buf, pattern + received % PERIOD, (size_t)n) != 0;
		received += (uint64_t)n;
		if (slow && weir_sleep(SLOW_NS) < 0)
			break;
	}
}

static void on_listen(struct weir_listener *listener, void *arg)
{
	(void)arg;
	strcpy(address, weir_listener_address(listener));
	listening = true;
}

static int serve(void *arg)
{
	struct weir_serve_opts opts = { .name = "consumer", .on_listen = on_listen };

	(void)arg;
	return weir_serve("tcp://127.0.0.1:0", &opts, consume, NULL);
}

/* Writes until it is told to stop; returns the bytes that left. */
static uint64_t produce(void)
{
	struct weir_conn_opts opts = { .out_high = OUT_HIGH };
	int64_t end = weir_in(pressure->run_ns);
	uint64_t sent = 0;

	if (weir_connect(address, &opts, &producer) < 0)
		return 0;
	while (weir_clock() < end) {
		if (weir_conn_write_all(producer, pattern + sent % PERIOD, PIECE) < 0)
			break;
		sent += PIECE;
	}
	return sent;
}

/* Ends the stream and waits until the consumer has had all of it. */
static void finish(uint64_t sent)
{
	struct weir_conn *conn = producer;

	producer = NULL;
	weir_conn_shutdown(conn);
	while (received < sent && !weir_coro_is_cancelled())
		weir_sleep(WEIR_MS);
	weir_conn_close(conn);
}

/* Looks every millisecond at what the runtime holds. */
static int sample(void *arg)
{
	struct weir_ring_info info;

	(void)arg;
	while (!stop) {
		uint64_t held;

		weir_ring_info(&info);
		held = (uint64_t)info.bufs_lent * BUF_SIZE;
		if (producer)
			held += weir_conn_pending(producer);
		if (held > pressure->held_high)
			pressure->held_high = held;
		weir_sleep(WEIR_MS);
	}
	pressure->slots_high = info.inflight_high;
	return 0;
}

static int service(void *arg)
{
	struct weir_coro *server, *sampler;
	double seconds = (double)pressure->run_ns / 1e9;
	int64_t start;
	uint64_t sent;
	int r = weir_coro_spawn(NULL, serve, NULL, &server);

	(void)arg;
	if (r < 0)
		return r;
	while (!listening && weir_yield() == 0)
		;
	sent = produce();
	pressure->free_rate = (double)sent / seconds;
	finish(sent);
	slow = true;
	r = weir_coro_spawn(NULL, sample, NULL, &sampler);
	start = weir_clock();
	sent = produce();
	pressure->slowed_rate = (double)sent / seconds;
	pressure->consumer_rate = (double)received * 1e9 / (double)(weir_clock() - start);
	slow = false;		/* the consumer catches up: everything resumes */
	finish(sent);
	stop = true;
	if (!r)
		weir_coro_join(sampler, WEIR_NEVER, NULL);
	pressure->sent = sent;
	pressure->received = received;
	pressure->intact = sent && sent == received && !wrong;
	weir_drain();
	weir_coro_join(server, WEIR_NEVER, NULL);
	return r;
}

int tour_pressure(struct tour_pressure *p)
{
	struct weir_opts opts = { .cores = 1, .bufs = BUFS, .buf_size = BUF_SIZE, .no_pin = true };

	pressure = p;
	make_pattern();
	p->held_bound = (uint64_t)BUFS * BUF_SIZE + OUT_HIGH + PIECE;
	return weir_run(&opts, service, NULL);
}
