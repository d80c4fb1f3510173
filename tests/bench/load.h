/* SPDX-License-Identifier: MIT */
/*
 * load.h - between the parts of the load generator: load.c (options, phases, report),
 * load_net.c (ring, connections, pace), load_answer.c (what an answer must be), load_stat.c
 * (latencies, and what the server's processes used).
 */
#ifndef WEIR_BENCH_LOAD_H
#define WEIR_BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_PIDS_MAX 16
#define LOAD_PERIOD 4093 /* of the bytes that an echo client sends: prime */

struct load_opts {
	bool http;
	struct sockaddr_in addr;
	unsigned conns;
	unsigned depth; /* requests in a batch */
	unsigned size;	/* echo: of a message; POST: of the body */
	const char *method;
	const char *path;
	const char *expect; /* a file that every body must equal, or NULL */
	double rate;	    /* requests a second, or 0: a batch as soon as one is answered */
	double seconds, warmup_seconds, hold_seconds;
	unsigned buf_size; /* of receive buffers */
	unsigned spin_us;  /* how long to look before sleeping */
	int pids[LOAD_PIDS_MAX];
	unsigned pid_count;
};

/* One connection. It has one batch of requests at a time, sent with one send. */
struct load_conn {
	int64_t due_ns;	    /* when the batch should have left */
	uint32_t waiting;   /* answers of the batch that are still to come; 0: idle */
	uint32_t send_left; /* bytes of the batch that are not known to be sent */
	uint32_t at;	    /* echo: where in the pattern the batch begins */
	uint32_t got;	    /* echo: bytes of the batch that came back */
	uint64_t body_left; /* HTTP, in_body: of the answer that is being received */
	char *head;	    /* HTTP: a head that did not come in one piece; or NULL */
	uint32_t head_size;
	bool in_body;
	bool dead;
};

extern struct load_opts load_opts;

/* Says it and exits with 1. */
__attribute__((noreturn, format(printf, 1, 2))) void load_die(const char *format, ...);

/* --- load_net.c --- */

struct load_counts {
	unsigned alive; /* connections without an error */
	uint64_t errors;
	unsigned waiting; /* connections with a batch in flight */
	int64_t spun_ns;  /* time spent looking, for spin_us and for the pace */
};

extern struct load_counts load_counts;

int64_t load_now_ns(void);
void load_connect_all(void);

/* Every connection sends one batch; returns how many were answered within limit_s. */
unsigned load_greet(double limit_s);

/* From now on, batches as the options say. */
void load_start(void);
void load_run(double seconds);

/* No more batches; waits until all are answered, at most limit_s. */
void load_drain(double limit_s);

/* The connection is wrong: counted, closed; the first one is explained on stderr. */
__attribute__((format(printf, 2, 3))) void load_fail(struct load_conn *conn, const char *format,
						     ...);

/* --- load_answer.c --- */

extern char *load_batch; /* what a batch sends; echo: from load_batch + conn->at */
extern uint32_t load_batch_size;

void load_answer_init(void);

/* Checks data that came on conn; returns how many answers it completed. */
unsigned load_answer(struct load_conn *conn, const char *data, uint32_t size);

/* --- load_stat.c --- */

struct load_usage {
	double cpu_s;
	uint64_t voluntary, involuntary; /* context switches */
};

/* What the processes of --pid have used. An error is fatal: nothing would be measured. */
struct load_usage load_server_usage(void);
double load_own_cpu_s(void);

/* Their memory: private resident bytes. */
int64_t load_server_memory(void);

/* Counts the system calls of the processes of --pid from now on; -1: not possible here. */
int load_syscalls_start(void);
int64_t load_syscalls(void);

void load_record(int64_t ns, unsigned count);
void load_record_reset(void);
uint64_t load_recorded(void);

/* p from 0 to 1; 1 is the greatest. */
double load_percentile_us(double p);

#endif
