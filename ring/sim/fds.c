/* SPDX-License-Identifier: MIT */
/*
 * fds.c - a process's descriptors: numbers for files, the lowest free one first, as POSIX
 * has it. With the fault REUSE armed the numbers are handed out again at once anyway; what it
 * changes is that the one closed last comes first.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ring/sim/world.h"

#define FIRST 3		/* 0, 1 and 2 are not ours */

void weir__sim_file_init(struct weir_sim_file *file, const struct weir_sim_file_ops *ops,
			 struct weir_sim_host *host)
{
	file->ops = ops;
	file->host = host;
	file->refs = 1;
	file->number = ++host->sim->file_serial;
	weir__list_init(&file->waiters);
}

struct weir_sim_file *weir__sim_file_ref(struct weir_sim_file *file)
{
	file->refs++;
	return file;
}

static void put(struct weir_sim_file *file, bool dead)
{
	weir_assert(file->refs);
	if (--file->refs)
		return;
	weir_assert(weir__list_is_empty(&file->waiters));
	file->ops->close(file, dead);
}

void weir__sim_file_put(struct weir_sim_file *file)
{
	put(file, false);
}

void weir__sim_file_wake(struct weir_sim_file *file, unsigned mask)
{
	struct weir_node *next;

	for (struct weir_node *node = file->waiters.next; node != &file->waiters; node = next) {
		struct weir_sim_req *req = weir_container_of(node, struct weir_sim_req, waiter);

		next = node->next;
		if (!(req->waits_for & mask) && !(mask & (POLLERR | POLLHUP | POLLRDHUP)))
			continue;
		weir__node_remove(node);
		weir__soft_ready(&req->soft);
	}
}

static bool grow(struct weir_sim_host *host)
{
	unsigned size = host->fds_size ? host->fds_size * 2 : 64;
	void *fds;

	if (size > host->opts.fds_max)
		size = host->opts.fds_max;
	if (size <= host->fds_size)
		return false;
	fds = realloc(host->fds, size * sizeof(struct weir_sim_file *));
	if (!fds)
		return false;
	host->fds = fds;
	memset(host->fds + host->fds_size, 0,
	       (size - host->fds_size) * sizeof(struct weir_sim_file *));
	host->fds_size = size;
	return true;
}

static unsigned lowest(const struct weir_sim_host *host)
{
	unsigned fd = host->fds_hint > FIRST ? host->fds_hint : FIRST;

	while (fd < host->fds_size && host->fds[fd])
		fd++;
	return fd;
}

int weir__sim_fd_add(struct weir_sim_host *host, struct weir_sim_file *file)
{
	unsigned fd = host->fd_closed;

	if (!(host->sim->armed & WEIR_SIM_REUSE) || fd < FIRST || fd >= host->fds_size ||
	    host->fds[fd]) {
		fd = lowest(host);
		host->fds_hint = fd + 1;
	} else {
		host->sim->report->hits[__builtin_ctzll(WEIR_SIM_REUSE)]++;
	}
	if (fd >= host->opts.fds_max || (fd >= host->fds_size && !grow(host)))
		return -EMFILE;
	host->fds[fd] = file;
	host->fds_open++;
	return (int)fd;
}

struct weir_sim_file *weir__sim_fd_get(struct weir_sim_host *host, int fd)
{
	return fd >= 0 && (unsigned)fd < host->fds_size ? host->fds[fd] : NULL;
}

int weir__sim_fd_close(struct weir_sim_host *host, int fd)
{
	struct weir_sim_file *file = weir__sim_fd_get(host, fd);

	if (!file)
		return -EBADF;
	host->fds[fd] = NULL;
	host->fds_open--;
	host->fd_closed = (unsigned)fd;
	if ((unsigned)fd < host->fds_hint && !weir__rule_is_broken(WEIR_RULE_FD_LOWEST))
		host->fds_hint = (unsigned)fd;
	weir__sim_file_put(file);
	return 0;
}

void weir__sim_fds_close_all(struct weir_sim_host *host, bool dead)
{
	for (unsigned fd = 0; fd < host->fds_size; fd++) {
		struct weir_sim_file *file = host->fds[fd];

		host->fds[fd] = NULL;
		if (file)
			put(file, dead);
	}
	free(host->fds);
	host->fds = NULL;
	host->fds_size = 0;
	host->fds_open = 0;
	host->fds_hint = 0;
	host->fd_closed = 0;
}
