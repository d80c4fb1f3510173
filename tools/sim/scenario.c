/* SPDX-License-Identifier: MIT */
/*
 * scenario.c - drawing, patience, bytes that can be told apart, and crowds.
 */
#include "tools/sim/scenario.h"

#include <stdio.h>
#include <stdlib.h>

#define GRACE_NS (100 * WEIR_S)

/* TCP itself gives a connect up after two minutes. */
#define CONNECT_NS (5 * WEIR_S)

/* --- drawing --- */

uint32_t scenario_draw(const char *site, uint32_t low, uint32_t high)
{
	return low + weir_sim_choose(site, high - low + 1);
}

uint32_t scenario_draw_size(const char *site, unsigned bits)
{
	uint32_t below = UINT32_C(1) << weir_sim_choose(site, bits + 1);

	return weir_sim_choose(site, below);
}

bool scenario_once_in(const char *site, uint32_t n)
{
	return weir_sim_choose(site, n) == n - 1;
}

int scenario_pause(const char *site, uint32_t ms_max)
{
	uint32_t ms = weir_sim_choose(site, ms_max + 1);

	return ms ? weir_sleep(ms * WEIR_MS) : 0;
}

struct weir_opts scenario_opts(unsigned cores)
{
	static const unsigned depths[] = { 256, 16, 64 };
	static const unsigned bufs[] = { 256, 8, 16, 64 };
	static const unsigned lanes[] = { 256, 16, 32 };

	return (struct weir_opts){
		.cores = cores,
		.depth = depths[weir_sim_choose("opts-depth", 3)],
		.conns_max = 256,
		.bufs = bufs[weir_sim_choose("opts-bufs", 4)],
		.buf_size = weir_sim_choose("opts-buf-size", 2) ? 256 : 4096,
		.coros_max = 1024,
		.futures_max = 4096,
		.mesh_depth = lanes[weir_sim_choose("opts-mesh-depth", 3)],
	};
}

/* --- time --- */

bool scenario_is_healed(void)
{
	return weir_sim_is_healed(weir_sim_world());
}

int scenario_wait_healed(void)
{
	int r = 0;

	while (!r && !scenario_is_healed())
		r = weir_sleep(100 * WEIR_MS);
	return r;
}

int64_t scenario_patience(void)
{
	int64_t bad_ns = SCENARIO_FAULTS_NS - weir_sim_now(weir_sim_world());

	return weir_in((bad_ns > 0 ? bad_ns : 0) + GRACE_NS);
}

int scenario_wait_end(void *arg)
{
	int r = 0;

	(void)arg;
	while (!r && weir_sim_is_running(weir_sim_find("subject")))
		r = weir_sleep(WEIR_S);
	return r;
}

/* --- bytes --- */

/* Byte number at of stream: eight at a time from one mixing. */
static uint64_t word_of(uint64_t stream, uint64_t number)
{
	uint64_t z = (stream + 1) * UINT64_C(0x9e3779b97f4a7c15) + number;

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ z >> 27;
}

static char byte_of(uint64_t stream, uint64_t at)
{
	return (char)(word_of(stream, at / 8) >> at % 8 * 8);
}

void scenario_fill(void *buf, size_t size, uint64_t stream, uint64_t at)
{
	for (size_t i = 0; i < size; i++)
		((char *)buf)[i] = byte_of(stream, at + i);
}

bool scenario_matches(const void *buf, size_t size, uint64_t stream, uint64_t at)
{
	for (size_t i = 0; i < size; i++)
		if (((const char *)buf)[i] != byte_of(stream, at + i))
			return false;
	return true;
}

/* FNV-1a, begun with 0. */
uint32_t scenario_hash(uint32_t hash, const void *data, size_t size)
{
	hash ^= 0x811c9dc5;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const unsigned char *)data)[i]) * 0x01000193;
	return hash ^ 0x811c9dc5;
}

/* --- coroutines and connections --- */

int scenario_join(struct weir_coro *coro)
{
	int res = 0;

	weir_coro_shield();
	weir_coro_join(coro, WEIR_NEVER, &res);
	weir_coro_unshield();
	return res;
}

int scenario_crowd(unsigned count, weir_coro_fn fn, void *items, size_t item_size)
{
	struct weir_coro **coros = calloc(count, sizeof(*coros));
	int first = coros || !count ? 0 : -ENOMEM;
	unsigned spawned = 0;

	while (!first && spawned < count) {
		first = weir_coro_spawn(NULL, fn, (char *)items + spawned * item_size,
					&coros[spawned]);
		spawned += !first;
	}
	while (spawned) {
		int res = scenario_join(coros[--spawned]);

		first = first ? first : res;
	}
	free(coros);
	return first;
}

const char *scenario_address(const char *name, unsigned port, char text[64])
{
	snprintf(text, 64, "tcp://%s:%u", weir_sim_host_address(weir_sim_find(name)), port);
	return text;
}

int scenario_connect(const char *address, const struct weir_conn_opts *opts,
		     struct weir_conn **ret_conn)
{
	int64_t until_ns = scenario_patience();
	int r;

	do {
		int64_t own_ns = weir_coro_set_deadline(weir_in(CONNECT_NS));

		r = weir_connect(address, opts, ret_conn);
		weir_coro_set_deadline(own_ns);
		if (!r || r == -ECANCELED)
			return r;
		if (weir_sleep(50 * WEIR_MS) < 0)
			return -ECANCELED;
	} while (weir_now() < until_ns);
	return r;
}
