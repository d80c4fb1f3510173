/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the inside of a simulated world, for the files of ring/sim/.
 *
 *	world	(sim.c, events.c, choices.c, faults.c, trace.c)	time, chance, the scheduler
 *	hosts	(host.c, fibers.c, fds.c)	a process: fibers, descriptors
 *	kernel	(kernel_sim.c, issue.c, profiles.c, owner.c)	the seam, on a soft ring
 *	network	(net*.c)	sockets between hosts
 *	disk	(disk*.c)	files, the page cache, what survives
 *
 * Nothing here is seen by two threads. Nothing depends on an address: what is hashed, ordered or
 * chosen is a number that counts from the beginning of the world.
 */
#ifndef WEIR_RING_SIM_SIM_H
#define WEIR_RING_SIM_SIM_H

#include "core/annotate.h"
#include "core/queue.h"
#include "core/runtime.h"
#include "core/switch.h"
#include "core/world.h"
#include "ring/sim/weir_sim.h"
#include "ring/soft/soft.h"

#define WEIR_SIM_HOSTS 32

/* --- events: what happens at a time --- */

struct weir_sim_event {
	int64_t at_ns;
	uint64_t serial;
	unsigned place;		/* in the heap, from 1; 0: not armed */
	void (*run)(struct weir_sim_event *event);
};

struct weir_sim_events {
	struct weir_sim_event **heap;
	unsigned count, size;
	uint64_t serial;
};

/* (Re)arms. The event is its owner's memory. */
void weir__sim_event_arm(struct weir_sim *sim, struct weir_sim_event *event, int64_t at_ns);
void weir__sim_event_disarm(struct weir_sim *sim, struct weir_sim_event *event);

/* --- choices --- */

/*
 * The only sources of chance. site is a short constant string without blanks ("recv-short");
 * host is whose it is, NULL: the world's. A value of 0 is the dull one.
 */
uint32_t weir__sim_choose(struct weir_sim *sim, const struct weir_sim_host *host,
			  const char *site, uint32_t n);
/* 1 with a probability of ppm / 1,000,000, else 0. */
bool weir__sim_chance(struct weir_sim *sim, const struct weir_sim_host *host, const char *site,
		      unsigned ppm);
/*
 * Whether the fault of class (one bit) strikes now, at its rate: not when it is not armed, healed,
 * or the host is reliable. site names where. A hit is counted and traced.
 */
bool weir__sim_fault(struct weir_sim *sim, const struct weir_sim_host *host, uint64_t one_class,
		     const char *site);
/* A delay from 0 to max_ns, most of them short (exponential); a choice. */
int64_t weir__sim_delay(struct weir_sim *sim, const struct weir_sim_host *host, const char *site,
			int64_t max_ns);

/* --- the trace --- */

/*
 * Adds to the hash and, when one is written, to the trace. name is constant text; a and b are
 * numbers that mean the same in each run (never addresses).
 */
void weir__sim_trace(struct weir_sim *sim, const struct weir_sim_host *host, const char *name,
		     int64_t a, int64_t b);

/* Ends the run: the invariant name is broken. The first counts. */
void weir__sim_fail(struct weir_sim *sim, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* --- files: what a descriptor stands for --- */

struct weir_sim_file;
struct weir_sim_req;

struct weir_sim_file_ops {
	const char *kind;	/* "tcp", "file", "eventfd" */
	/*
	 * Carries out req (its opcode is one that takes a descriptor). Result, -errno, or
	 * WEIR_SOFT_LATER after weir__sim_wait() or weir__sim_finish_in(). Called again when what
	 * it waits for is there. An opcode it has no meaning for: its errno (-EINVAL, -ENOTSOCK).
	 */
	int (*issue)(struct weir_sim_req *req);
	/* What poll(2) would say: POLLIN ... */
	unsigned (*poll)(struct weir_sim_file *file);
	/* The last reference is gone: frees it. dead: its process was killed. */
	void (*close)(struct weir_sim_file *file, bool dead);
};

struct weir_sim_file {
	const struct weir_sim_file_ops *ops;
	struct weir_sim_host *host;
	unsigned refs;		/* descriptors, slots, requests */
	uint64_t number; /* of its kind, from the beginning of the world: its name in traces */
	struct weir_node waiters;	/* requests armed on readiness */
	int flags;		/* O_NONBLOCK and the like */
};

/* Makes file's common part. One reference: the caller's. */
void weir__sim_file_init(struct weir_sim_file *file, const struct weir_sim_file_ops *ops,
			 struct weir_sim_host *host);
struct weir_sim_file *weir__sim_file_ref(struct weir_sim_file *file);
void weir__sim_file_put(struct weir_sim_file *file);
/* Its readiness may have changed: those waiting for any of mask are issued again. */
void weir__sim_file_wake(struct weir_sim_file *file, unsigned mask);

/* The lowest free descriptor for file, which takes the caller's reference; -EMFILE. */
int weir__sim_fd_add(struct weir_sim_host *host, struct weir_sim_file *file);
/* No reference is taken; NULL: no such descriptor. */
struct weir_sim_file *weir__sim_fd_get(struct weir_sim_host *host, int fd);
int weir__sim_fd_close(struct weir_sim_host *host, int fd);

/* --- requests --- */

/* What a vectored operation named when it was submitted: that memory may be gone after it. */
struct weir_sim_vec {
	struct msghdr msg;	/* of SENDMSG and RECVMSG; msg_iov is iov */
	struct msghdr *user;	/* where RECVMSG reports */
	int count;
	struct iovec iov[];
};

struct weir_sim_req {
	struct weir_soft_req soft;	/* first; soft.file is a struct weir_sim_file */
	struct weir_node waiter;	/* in file->waiters while armed on readiness */
	unsigned waits_for;		/* POLLIN ... */
	struct weir_sim_event later;
	int later_res;
	bool drawn;			/* whether it comes late was decided */
	bool in_wq;			/* it cannot be cancelled any more */
	bool hurried;			/* a cancel came too late: it must not wait */
	uint64_t guard;			/* hash of a buffer that is being sent */
	const char *owner;		/* who asked for it */
	int last_res;			/* of its last CQE but the NOTIF */
	struct weir_sim_vec *vec;	/* of a vectored operation */
	void *part;			/* the disk's or network's own, until its end */
	void (*part_free)(void *part);
};

static inline struct weir_sim_req *weir__sim_req(struct weir_soft_req *req)
{
	return weir_container_of(req, struct weir_sim_req, soft);
}

struct weir_sim_host *weir__sim_req_host(const struct weir_sim_req *req);

static inline struct weir_sim_file *weir__sim_req_file(const struct weir_sim_req *req)
{
	return req->soft.file;
}

/* In issue(): it is issued again when file is ready for any of mask. Returns WEIR_SOFT_LATER. */
int weir__sim_wait(struct weir_sim_req *req, unsigned mask);
/* In issue(): it finishes with res after ns, and cannot be cancelled meanwhile if started (as
 * io-wq). */
int weir__sim_finish_in(struct weir_sim_req *req, int64_t ns, int res);

/*
 * Where the bytes of a request are: READ, WRITE, SEND, RECV, their vectored, fixed and msg forms,
 * and IOSQE_BUFFER_SELECT (then at most want bytes of provided buffers; take them with
 * weir__soft_bufs_take() once the size is known). Fills iov (at least 16 for a bundle; iovecs
 * beyond max are -EINVAL) and returns how many, -EFAULT, -ENOBUFS. want: SIZE_MAX for all there is.
 */
int weir__sim_buffers(struct weir_sim_req *req, struct iovec *iov, int max, size_t want);
#define WEIR_SIM_IOVS 64
size_t weir__sim_iov_size(const struct iovec *iov, int count);
/* Copies at most size bytes between flat memory and iov from offset skip. Returns how many. */
size_t weir__sim_scatter(const struct iovec *iov, int count, size_t skip, const void *from,
			 size_t size);
size_t weir__sim_gather(const struct iovec *iov, int count, size_t skip, void *to, size_t size);

/* --- hosts --- */

enum weir_sim_fiber_state { FIBER_READY, FIBER_RUNS, FIBER_WAITS, FIBER_ENDED };

struct weir_sim_fiber {
	struct weir_node node;		/* of host->fibers */
	struct weir_node ready;		/* in sim->ready when READY */
	struct weir_sim_host *host;
	const char *name;
	unsigned core;			/* of a worker; 0 for main */
	enum weir_sim_fiber_state state;
	struct weir_context context;
	struct weir_notes notes;
	struct weir_worker *self;	/* its weir__self while it does not run */
	void *stack;
	size_t stack_size;
	void (*body)(struct weir_sim_fiber *fiber);
	void (*core_body)(void *ctx, unsigned index);
	void *core_ctx;
	struct weir_sim_event wakeup;	/* ends a wait */
	uint64_t number;
};

/* Stops the running fiber until it is woken or at_ns (WEIR_NEVER: only woken). */
void weir__sim_sleep(struct weir_sim *sim, int64_t at_ns);
void weir__sim_fiber_wake(struct weir_sim *sim, struct weir_sim_fiber *fiber);

struct weir_sim_ring {
	struct weir_soft soft;		/* first */
	struct weir_sim_host *host;
	struct weir_node node;		/* of host->rings */
	unsigned number;		/* among the host's */
	int fd;
	struct weir_sim_fiber *waiter;	/* sleeps in enter */
	struct weir_queue remote;	/* CQEs that others sent: struct weir_sim_remote */
	struct weir_sim_event run;	/* without DEFER_TASKRUN */
};

static inline struct weir_sim_ring *weir__sim_ring(struct weir_soft *soft)
{
	return weir_container_of(soft, struct weir_sim_ring, soft);
}

struct weir_sim_disk;
struct weir_sim_nic;

/* The seam as one process sees it. Kept until the world ends: what was killed may point to it. */
struct weir_sim_seam {
	struct weir_kernel kernel;
	struct weir__world world;
	struct weir__threads threads;
	struct weir_sim_host *host;
	struct weir_sim_seam *next;	/* of the world's */
};

/* memory.c: what a process holds. */
struct weir_sim_block {
	void *ptr;
	size_t size;
	bool is_map;
};

struct weir_sim_memory {
	struct weir_sim_block *slots;
	size_t slots_size, used, live;
};

struct weir_sim_host {
	struct weir_sim *sim;
	unsigned index;			/* from 0: address 10.0.0.(index + 1) */
	char name[32];
	char address[16];
	struct weir_sim_host_opts opts;
	int (*main)(void *arg);
	void *arg;
	bool is_workload;
	bool finished;			/* a workload: body has returned, or was refused for good */
	const struct weir_soft_profile *profile;
	int64_t wall_offset_ns;		/* wall clock minus virtual time */
	int64_t paused_until_ns;

	/* The process. */
	struct weir_sim_memory memory;
	int dies;			/* when it next sleeps. 1: killed, 2: its power cut */
	struct weir_sim_seam *seam;	/* what the process's weir__world and kernel are */
	bool running;
	bool terminated;		/* it was asked to end */
	unsigned life;			/* processes so far */
	int exit_code;
	struct weir_node fibers;
	unsigned fibers_count;
	struct weir_runtime *runtime;	/* while weir_run() runs, to be drained */
	struct weir_node rings;
	unsigned rings_made;
	struct weir_sim_file **fds;
	struct weir_node futexes;	/* requests that wait for a word */
	unsigned fds_size, fds_open;
	unsigned fds_hint;		/* none below is free */
	unsigned fd_closed;		/* last */
	struct weir_sim_event restart;
	struct weir_sim_event chaos;	/* next kill, pause, jump */

	struct weir_sim_disk *disk;	/* the machine's: outlives the process */
	struct weir_sim_nic *nic;
};

static inline struct weir_sim_host *weir__sim_host_of(struct weir_kernel *kernel)
{
	return weir_container_of(kernel, struct weir_sim_seam, kernel)->host;
}

struct weir_sim {
	const struct weir_sim_scenario *scenario;
	struct weir_sim_opts opts;
	struct weir_sim_report *report;
	int64_t now_ns;			/* monotonic; begins at 1000 s */
	int64_t began_ns;
	struct weir_sim_events events;
	struct weir_sim_host *hosts[WEIR_SIM_HOSTS];
	unsigned hosts_count;
	struct weir_node ready;		/* fibers */
	unsigned ready_count;
	struct weir_sim_fiber *current;
	struct weir_context scheduler;
	struct weir_notes scheduler_notes;
	struct weir_sim_seam *seams;
	uint64_t fiber_serial, file_serial;
	uint64_t random_state;
	bool healed;			/* the faults are over */
	bool over;			/* the result is known */
	bool ending;			/* the services are asked to drain */
	int64_t healed_ns;
	struct at *ats;			/* sim.c */
	bool inside;			/* our own allocations: none fails, none is the service's */
	uint64_t armed;			/* classes */
	unsigned ppm[WEIR_SIM_CLASSES];
	struct weir_sim_choices *choices;	/* choices.c */
	struct weir_sim_tracer *tracer;		/* trace.c */
	struct weir_sim_invariants *invariants;	/* invariant.c */
	struct weir_sim_net *net;		/* net.c */
};

/* The one that runs on this thread, or NULL. */
extern _Thread_local struct weir_sim *weir__sim;

/* --- what the parts provide to the kernel (kernel_sim.c) --- */

/* net.c: made with the world, and with each host. 0, -ENOMEM. */
int weir__sim_net_create(struct weir_sim *sim);
void weir__sim_net_destroy(struct weir_sim *sim);
int weir__sim_nic_create(struct weir_sim_host *host);
void weir__sim_nic_destroy(struct weir_sim_host *host);
/* The machine loses its power: connections are gone without a word. */
void weir__sim_nic_power_cut(struct weir_sim_host *host);
/* All faults of the network end: partitions, clogs, windows. */
void weir__sim_net_heal(struct weir_sim *sim);
/* IORING_OP_SOCKET makes a file (one reference), or -errno. */
int weir__sim_socket(struct weir_sim_host *host, int domain, int type, int protocol,
		     struct weir_sim_file **ret_file);
/* A request that waited for a socket is cancelled: what it owes is its notification, or nothing. */
void weir__sim_send_cancelled(struct weir_sim_req *req);
/* The seam's socket calls, as kernel.h says; fills those of ops. */
void weir__sim_net_ops(struct weir_kernel_ops *ops);

/* disk.c */
int weir__sim_disk_create(struct weir_sim_host *host);
void weir__sim_disk_destroy(struct weir_sim_host *host);
void weir__sim_disk_power_cut(struct weir_sim_host *host);
void weir__sim_disk_heal(struct weir_sim_host *host);
/* Operations with a path: OPENAT, OPENAT2, STATX, RENAMEAT, UNLINKAT, MKDIRAT, SYMLINKAT, LINKAT.
 */
int weir__sim_path_issue(struct weir_sim_req *req);
/* preadv2, pwritev2, statx, fstatfs, ftruncate, unlink, is_socket. */
void weir__sim_disk_ops(struct weir_kernel_ops *ops);
/* A path of an AF_UNIX address: a socket node in the disk. net.c asks; file is not referenced. */
int weir__sim_disk_bind(struct weir_sim_host *host, const char *path, struct weir_sim_file *file);
struct weir_sim_file *weir__sim_disk_lookup(struct weir_sim_host *host, const char *path);

/* profiles.c: by name; NULL: unknown. */
const struct weir_soft_profile *weir__sim_profile(const char *name);

#endif
