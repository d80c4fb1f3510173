/* SPDX-License-Identifier: MIT */
/*
 * parts.h - the parts of the poll kernel: the soft ring's operations carried out by system calls
 * that do not wait, with epoll to say when to try again and a few threads for what
 * can only wait.
 *
 *	issue(req) --does not wait--> result
 *	issue(req) --would wait, and epoll knows the file--> on file->waiting --event--> issue again
 *	issue(req) --may wait for a disk--> in the pool's queue --> a thread --> mail --> result
 *
 * A ring belongs to its worker. Other threads reach it through its mail only: ring messages, and
 * what the pool's threads have finished.
 */
#ifndef WEIR_RING_POLL_PARTS_H
#define WEIR_RING_POLL_PARTS_H

#include <pthread.h>
#include <sys/epoll.h>

#include "ring/soft/soft.h"

#define WEIR_POLL_EVENTS 512	/* of one epoll_wait */
#define WEIR_POLL_THREADS 4	/* of one ring's pool */
#define WEIR_POLL_LETTERS 256	/* messages that wait for a ring which does not look */

enum weir_poll_kind {
	WEIR_POLL_UNKNOWN,
	WEIR_POLL_DISK,	   /* a regular file, a directory, a block device: may wait for a disk */
	WEIR_POLL_STREAM,  /* pipe, eventfd, terminal, stream socket */
	WEIR_POLL_PACKETS, /* a socket where a short receive does not mean that it is empty */
};

/*
 * What an operation or a slot refers to. A plain descriptor is the caller's, who may close it as
 * soon as the operation waits: so it is duplicated then, and epoll and the pool see the
 * duplicate only.
 */
struct weir_poll_file {
	struct weir_poll_file *next;	/* on ring->free_files */
	struct weir_poll_ring *ring;
	struct weir_node waiting;	/* of weir_poll_req.wait */
	int fd;
	unsigned refs;
	uint32_t watched;		/* events that epoll reports; 0: not added */
	uint8_t kind;
	bool owned;			/* fd is closed with the last reference */
	bool shared;			/* other descriptors of the same open file may live on */
	bool ended;			/* the peer closed, or an error is pending */
	bool nonblocking;		/* known to be */
};

struct weir_poll_req {
	struct weir_soft_req req;
	struct weir_node wait;		/* on file->waiting or ring->retries when linked */
	uint32_t events;		/* what it waits for */
	bool was_blocking;		/* connect: its file is made blocking again */
	struct weir_poll_file *other;	/* splice: where from */

	bool handed_over;		/* to the pool */
	bool begun;			/* by a thread; under the pool's lock */
	struct weir_node job;		/* on pool->queue, then ring->done */
	int job_fd, job_other_fd;
	int64_t job_res;
};

struct weir_poll_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct weir_node queue;		/* of weir_poll_req.job */
	unsigned queued;
	unsigned idle;			/* threads that wait for work */
	unsigned count;			/* threads */
	bool stopping;
	pthread_t threads[WEIR_POLL_THREADS];
};

struct weir_poll_letter {
	uint64_t user_data;
	int32_t res;
	uint32_t cflags;
};

struct weir_poll_ring {
	struct weir_soft soft;		/* first */
	int epoll, event;		/* descriptors; event is an eventfd that ends a wait */
	bool fresh;			/* epoll was looked at since the last enter that did not */
	bool no_pwait2;
	struct weir_poll_file *free_files;
	struct weir_poll_chunk *chunks;
	struct weir_node retries;	/* what no event will announce: tried again by time */
	int64_t retry_ns;		/* when */

	/* Any thread. */
	bool sleeping;			/* atomic: a letter must write to event */
	bool has_mail;			/* atomic */
	pthread_mutex_t lock;
	struct weir_node done;		/* under lock: of weir_poll_req.job */
	struct weir_poll_letter letters[WEIR_POLL_LETTERS];
	unsigned letter_count;		/* under lock */

	struct weir_poll_pool pool;
	struct epoll_event events[WEIR_POLL_EVENTS];
};

static inline struct weir_poll_ring *weir__poll_ring(struct weir_soft_req *req)
{
	return (struct weir_poll_ring *)(void *)req->soft;
}

static inline struct weir_poll_req *weir__poll_req(struct weir_soft_req *req)
{
	return (struct weir_poll_req *)(void *)req;
}

static inline struct weir_poll_file *weir__poll_file(const struct weir_poll_req *p)
{
	return p->req.file;
}

static inline int weir__poll_result(long r)
{
	return r < 0 ? -errno : (int)r;
}

/* --- ready.c: files, and waiting for them --- */

/* fd: the file's from now on, when owned. NULL: no memory, and fd is still the caller's. */
struct weir_poll_file *weir__poll_file_create(struct weir_poll_ring *ring, int fd, bool owned);
void weir__poll_file_ref(void *file);
void weir__poll_file_put(void *file);
/* Gives the file a descriptor of its own. 0 or -errno. */
int weir__poll_file_own(struct weir_poll_file *file);
void weir__poll_files_fini(struct weir_poll_ring *ring);

/* p is issued again once file has one of events. Returns WEIR_SOFT_LATER or -errno. */
int weir__poll_arm_on(struct weir_poll_req *p, struct weir_poll_file *file, uint32_t events);
static inline int weir__poll_arm(struct weir_poll_req *p, uint32_t events)
{
	return weir__poll_arm_on(p, weir__poll_file(p), events);
}
/* p is issued again in some milliseconds. Returns WEIR_SOFT_LATER. */
int weir__poll_retry(struct weir_poll_req *p);
/* Asks epoll until until_ns (0: does not wait), and marks what is ready. 0 or -EINTR. */
int weir__poll_look(struct weir_poll_ring *ring, int64_t until_ns);

/* --- pool.c: threads --- */

int weir__poll_pool_init(struct weir_poll_pool *pool);
void weir__poll_pool_fini(struct weir_poll_pool *pool);
/* p is carried out by a thread. Returns WEIR_SOFT_LATER, or the result where there is no thread. */
int weir__poll_hand_over(struct weir_poll_req *p);
/* 0: it was still queued. -EALREADY. */
int weir__poll_take_back(struct weir_poll_req *p);

/* --- mail.c: what other threads have for a ring --- */

/* Takes a letter for ring: 0, -EOVERFLOW, -EBADFD (disabled). Any thread. */
int weir__poll_write(struct weir_poll_ring *ring, struct weir_poll_letter letter);
/* p has been carried out by a thread of the pool. */
void weir__poll_return(struct weir_poll_req *p);
/* Empties the mail: CQEs of letters, results of jobs. */
void weir__poll_collect(struct weir_poll_ring *ring);
/* An IORING_OP_MSG_RING. */
int weir__poll_message(struct weir_soft_req *req);
/* Rings are found by the descriptor in their ring_fd. 0 or -ENOMEM. */
int weir__poll_address_add(struct weir_poll_ring *ring);
void weir__poll_address_remove(struct weir_poll_ring *ring);

/* --- what is done with files --- */

int weir__poll_issue(struct weir_soft_req *req);	/* issue.c: by opcode */
bool weir__poll_knows(unsigned opcode);
/* A thread of the pool, or the worker where there is none: res. */
int64_t weir__poll_carry_out(const struct weir_poll_req *p);	/* disk.c */
/* Its result has come to the worker: what the operation's is. */
int weir__poll_carried_out(struct weir_poll_req *p);

int weir__poll_transfer(struct weir_poll_req *p);
int weir__poll_disk(struct weir_poll_req *p);
int weir__poll_splice(struct weir_poll_req *p);
int weir__poll_close(struct weir_poll_req *p);

int weir__poll_recv(struct weir_poll_req *p);		/* net.c */
int weir__poll_recvmsg(struct weir_poll_req *p);
int weir__poll_send(struct weir_poll_req *p);
int weir__poll_sendmsg(struct weir_poll_req *p);
int weir__poll_accept(struct weir_poll_req *p);
int weir__poll_connect(struct weir_poll_req *p);
/* Whatever became of it: its file blocks again, if it did. */
void weir__poll_connect_end(struct weir_poll_req *p);
int weir__poll_socket(struct weir_poll_req *p);
int weir__poll_poll(struct weir_poll_req *p);

#endif
