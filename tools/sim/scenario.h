/* SPDX-License-Identifier: MIT */
/*
 * scenario.h - what the shipped scenarios of `weir sim` have in common. A scenario is a file here
 * and a line in scenarios.c; tests/sim/README.md says how to write one.
 *
 * The rules of a scenario: what its workload does is drawn (sizes, counts, pauses: 0 is the
 * dull value, so that a failing run shrinks); what it asks for is either right or an error for
 * which a fault is to blame; and after the faults everything works again.
 */
#ifndef WEIR_TOOLS_SIM_SCENARIO_H
#define WEIR_TOOLS_SIM_SCENARIO_H

#include <weir.h>

extern const struct weir_sim_scenario scenario_admit;
extern const struct weir_sim_scenario scenario_cancel;
extern const struct weir_sim_scenario scenario_chan;
extern const struct weir_sim_scenario scenario_commit;
extern const struct weir_sim_scenario scenario_drain;
extern const struct weir_sim_scenario scenario_echo_callback;
extern const struct weir_sim_scenario scenario_echo_coroutine;
extern const struct weir_sim_scenario scenario_echo_future;
extern const struct weir_sim_scenario scenario_emfile;
extern const struct weir_sim_scenario scenario_http;
extern const struct weir_sim_scenario scenario_mesh;
extern const struct weir_sim_scenario scenario_pool;
extern const struct weir_sim_scenario scenario_scope;
extern const struct weir_sim_scenario scenario_stream;

/* All of them, then NULL. */
extern const struct weir_sim_scenario *const weir_scenarios[];

/* How long the world is bad, and how long what was hit may take to recover. */
#define SCENARIO_FAULTS_NS (20 * WEIR_S)
#define SCENARIO_HEAL_NS (180 * WEIR_S)

/* --- drawing: from the seed, 0 the dull value --- */

/* low .. high, low the dull one. */
uint32_t scenario_draw(const char *site, uint32_t low, uint32_t high);

/* A number below 2^bits, each power of two as likely as the others: sizes. */
uint32_t scenario_draw_size(const char *site, unsigned bits);

/* True once in n. */
bool scenario_once_in(const char *site, uint32_t n);

/* Waits up to ms_max milliseconds. */
int scenario_pause(const char *site, uint32_t ms_max);

/* Depth, buffers, lanes: bounds small enough to be met. */
struct weir_opts scenario_opts(unsigned cores);

/* --- time --- */

/* Whether the faults are over. */
bool scenario_is_healed(void);

/* Waits for that. */
int scenario_wait_healed(void);

/*
 * A deadline by which everything has moved: the faults are over and what they held up has gone
 * on; whoever is not answered by then never will be.
 */
int64_t scenario_patience(void);

/* A workload that waits until the host called "subject" has ended. */
int scenario_wait_end(void *arg);

/* --- bytes: each stream has its own, that can be told apart at each place --- */

void scenario_fill(void *buf, size_t size, uint64_t stream, uint64_t at);
bool scenario_matches(const void *buf, size_t size, uint64_t stream, uint64_t at);
uint32_t scenario_hash(uint32_t hash, const void *data, size_t size);

/* --- coroutines and connections --- */

/* Runs fn on each of count elements of items at once, waits for all. The first result not 0. */
int scenario_crowd(unsigned count, weir_coro_fn fn, void *items, size_t item_size);

/* Waits for the end of coro, whatever else happens: it uses the caller's stack. Its result. */
int scenario_join(struct weir_coro *coro);

/* "tcp://10.0.0.N:port" of the host called name. */
const char *scenario_address(const char *name, unsigned port, char text[64]);

/*
 * Connects before scenario_patience(), again and again. An error only if a connection that was
 * asked for neither came nor failed, or none is to be had although the faults are over.
 */
int scenario_connect(const char *address, const struct weir_conn_opts *opts,
		     struct weir_conn **ret_conn);

#endif
