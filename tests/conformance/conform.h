/* SPDX-License-Identifier: MIT */
/*
 * conform.h - what a conformance case is written with. A body drives one ring of a kernel (struct
 * weir_kernel, whichever) and notes what it sees; the text of its notes is the outcome, and
 * the case lists all outcomes that are legal. So nothing in a body asserts, and nothing in it knows
 * on which kernel it runs.
 *
 * Errors stick: once something that a body takes for granted has failed, that is noted and all
 * other calls do nothing. A body needs no error handling.
 *
 * CQEs are noted as `name result`, the name being that of their SQE; `+` after the result is
 * F_MORE, then follow `notif`, `buf N`, `part` (F_BUF_MORE) and, in cases that ask for it,
 * `nonempty`.
 */
#ifndef WEIR_TESTS_CONFORMANCE_CONFORM_H
#define WEIR_TESTS_CONFORMANCE_CONFORM_H

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

#include "ring/kernel.h"

#define CF_NAMES 32
#define CF_STASH 512
#define CF_FDS 64
#define CF_MEMORY (4U << 20)
#define CF_TEXT 2048

struct cf;

/* --- cases --- */

/* Where an outcome is legal; 0: everywhere. */
#define CF_ON_URING 1U
#define CF_ON_SIM 2U
#define CF_ON_POLL 4U
/* Legal, but chance alone decides: the simulated kernel need not be seen to reach it. */
#define CF_RARE 8U

struct cf_outcome {
	const char *text;
	unsigned where;
};

/* Set-up flags of the ring: the runtime's, or hardly any. A case runs with each it allows. */
#define CF_DEFER 1U
#define CF_PLAIN 2U

struct cf_case {
	const char *name;
	void (*body)(struct cf *c);
	const struct cf_outcome *legal;	/* ends with a NULL text */
	int arg;			/* for a body of several cases */
	unsigned sq, cq;		/* sizes of the ring; 0: 64 and 256 */
	unsigned rings;			/* CF_DEFER, CF_PLAIN; 0: both */
	unsigned arms;			/* CF_ON_...; 0: all */
	unsigned since;			/* first kernel: 600 + 12 for 6.12 */
	uint8_t ops[4];			/* it needs these operations; 0: no more */
	/* What chance must not do: cut a submission in two; let an operation begin late. */
	bool whole, prompt;
};

#define CF_LEGAL(...) .legal = (const struct cf_outcome[]){ __VA_ARGS__, { .text = NULL } }
/* Of CF_LEGAL: reached; reached or not; legal in some places only. */
#define WILL(text_) { .text = text_ }
#define MAY(text_) { .text = text_, .where = CF_RARE }
#define ONLY(where_, text_) { .text = text_, .where = where_ }
#define CF_CASE(body_, ...) { .name = #body_, .body = body_, __VA_ARGS__ }
#define CF_CASE_ARG(body_, suffix, arg_, ...) \
	{ .name = #body_ "_" #suffix, .body = body_, .arg = arg_, __VA_ARGS__ }

/*
 * The poll kernel knows what the runtime uses, and not more; and it reads paths, vectors and
 * message headers until the operation has ended (ring/poll/README.md).
 */
#define NOT_POLL .arms = CF_ON_URING | CF_ON_SIM

/* A list of cases ends with one that has no name. */
extern const struct cf_case cf_cases_ring[], cf_cases_link[], cf_cases_cancel[], cf_cases_time[],
	cf_cases_poll[], cf_cases_message[], cf_cases_direct[], cf_cases_file[], cf_cases_path[],
	cf_cases_stream[], cf_cases_end[], cf_cases_accept[], cf_cases_recv[], cf_cases_bufs[],
	cf_cases_zc[], cf_cases_dgram[], cf_cases_wake[];

/* --- rings --- */

struct cf_cqe {
	unsigned name;
	int res;
	uint32_t flags;
};

struct cf_ring {
	struct io_uring uring;
	bool made;
	struct cf_cqe stash[CF_STASH];	/* came while another was waited for */
	unsigned stashed;
};

struct cf {
	struct weir_kernel *kernel;
	const struct cf_case *test;
	const char *dir;		/* an empty directory */
	unsigned setup_flags;		/* IORING_SETUP_* of rings */
	int64_t wait_ns;		/* how long for what must come */
	int (*limit_fds)(unsigned room);	/* only so many descriptors more; 0, -errno */

	struct cf_ring ring, other;
	struct cf_ring *at;		/* the one that calls below are about */
	const char *names[CF_NAMES];
	bool gives_fd[CF_NAMES];
	unsigned names_count;
	int last_res;			/* of the last CQE noted */
	uint32_t show;			/* flags of CQEs to note besides the usual */
	int fds[CF_FDS];
	unsigned fds_count;
	char *memory;
	size_t memory_used;
	struct io_uring_sqe scratch;

	char text[CF_TEXT];
	size_t size;
	bool broken;
	const char *skipped;
};

/* Runs the body; text and skipped are the result. kernel to limit_fds are set. */
void cf_run(struct cf *c);

/* --- for bodies --- */

/* Adds to the outcome, after a "; ". */
void cf_note(struct cf *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, and the body is over. */
void cf_break(struct cf *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Breaks unless r >= 0. Returns r. */
int cf_must(struct cf *c, int r, const char *what);
/* Notes `what 0`, `what -EBADF`. */
void cf_note_res(struct cf *c, const char *what, int64_t res);
/* The case cannot be run here. */
void cf_skip(struct cf *c, const char *reason);
/* "-EBADF" or a number. The last 4 stay valid. */
const char *cf_res(int64_t res);

/* A ring like the first (made with the first use), of these sizes, with flags besides. */
void cf_ring_make(struct cf *c, struct cf_ring *ring, unsigned sq, unsigned cq, unsigned flags);
void cf_ring_end(struct cf *c, struct cf_ring *ring);
/* What follows is about ring. */
void cf_use(struct cf *c, struct cf_ring *ring);
int cf_register(struct cf *c, unsigned opcode, const void *arg, unsigned count);

/* The next SQE, cleared; its CQEs are noted under name (constant text). Never NULL. */
struct io_uring_sqe *cf_sqe(struct cf *c, const char *name);
/* The same for an operation that makes a descriptor: noted as "fd". */
struct io_uring_sqe *cf_sqe_fd(struct cf *c, const char *name);
/* The user_data of SQEs called name. */
uint64_t cf_data(struct cf *c, const char *name);
/* Submits, and asks for no completions. Returns how many were taken. */
int cf_submit(struct cf *c);
/* How many CQEs are in the queue's memory. */
unsigned cf_ready(struct cf *c);
/* Submits, waits for n CQEs and notes them, by name. */
void cf_await(struct cf *c, unsigned n);
/* In the order in which they came. */
void cf_await_in_order(struct cf *c, unsigned n);
/* CQEs up to the first of name without F_MORE; those of name are noted, the others kept. */
void cf_await_end(struct cf *c, const char *name);
/* Waits for n CQEs and forgets them. */
void cf_drop(struct cf *c, unsigned n);
/* Submits; waits a moment; notes what came, or "quiet". */
void cf_quiet(struct cf *c);

/* For preparation: an SQE whose CQE is not noted; cf_do() submits and waits: its result. */
struct io_uring_sqe *cf_step(struct cf *c);
int cf_do(struct cf *c);

/* Zeroed memory that outlives the ring. Aligned to 64. */
void *cf_mem(struct cf *c, size_t size);
/* fd is closed in the end. Returns it. */
int cf_keep(struct cf *c, int fd);
/* Closes it now. */
void cf_close(struct cf *c, int fd);

/* --- files --- */

/* dir/name */
const char *cf_path(struct cf *c, const char *name);
int cf_dir(struct cf *c);
int cf_open(struct cf *c, const char *name, int flags);
/* A new file with this text, open for both. */
int cf_file(struct cf *c, const char *name, const char *text);
/* Notes the first bytes of a file. */
void cf_note_file(struct cf *c, int fd);

/* --- sockets --- */

struct cf_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	};
	socklen_t size;
};

int cf_socket(struct cf *c, int domain, int type);
/* Of AF_INET any port of 127.0.0.1; of AF_UNIX the path dir/name. */
void cf_bind(struct cf *c, int fd, int domain, const char *name, struct cf_addr *ret_addr);
int cf_listener(struct cf *c, int domain, struct cf_addr *ret_addr);
int cf_connect(struct cf *c, const struct cf_addr *addr);
int cf_accept(struct cf *c, int listener);
/* Two ends of a stream. */
void cf_pair(struct cf *c, int domain, int fds[2]);
/* Sends text, all of it. */
void cf_send(struct cf *c, int fd, const char *text);
/* Receives what is there, at most size, into memory: notes `what "text"`, or the result. */
void cf_recv(struct cf *c, int fd, const char *what, size_t size);
void cf_setsockopt(struct cf *c, int fd, int level, int name, int value);

/* --- buffer rings --- */

struct cf_bufs {
	struct io_uring_buf_ring *ring;
	char *memory;
	unsigned count, size;
	uint16_t bgid;
	uint16_t next;			/* bid */
};

/* A ring of so many places, which holds no buffer yet. flags: IOU_PBUF_RING_INC. */
void cf_bufs(struct cf *c, struct cf_bufs *bufs, uint16_t bgid, unsigned count, unsigned size,
	     unsigned flags);
/* Puts the next n buffers into it. */
void cf_bufs_add(struct cf *c, struct cf_bufs *bufs, unsigned n);

#endif
