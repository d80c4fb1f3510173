/* SPDX-License-Identifier: MIT */
/*
 * things.c - what bodies work on: files, sockets, buffer rings. Made by the ring itself where an
 * operation does it, as the runtime does.
 */
#include "tests/conformance/conform.h"

#include <stdio.h>

/* --- files --- */

const char *cf_path(struct cf *c, const char *name)
{
	size_t size = strlen(c->dir) + strlen(name) + 2;
	char *path = cf_mem(c, size);

	snprintf(path, size, "%s/%s", strcmp(c->dir, "/") ? c->dir : "", name);
	return path;
}

static int open_path(struct cf *c, const char *path, int flags)
{
	io_uring_prep_openat(cf_step(c), AT_FDCWD, path, flags, 0644);
	return cf_keep(c, cf_must(c, cf_do(c), path));
}

int cf_dir(struct cf *c)
{
	return open_path(c, c->dir, O_RDONLY | O_DIRECTORY);
}

int cf_open(struct cf *c, const char *name, int flags)
{
	return open_path(c, cf_path(c, name), flags);
}

int cf_file(struct cf *c, const char *name, const char *text)
{
	int fd = cf_open(c, name, O_RDWR | O_CREAT | O_EXCL);
	size_t size = strlen(text);

	if (!size || c->broken)
		return fd;
	io_uring_prep_write(cf_step(c), fd, text, (unsigned)size, 0);
	if (cf_do(c) != (int)size)
		cf_break(c, "BROKEN: a file cannot be written");
	return fd;
}

void cf_note_file(struct cf *c, int fd)
{
	char *text = cf_mem(c, 64);
	int n;

	io_uring_prep_read(cf_step(c), fd, text, 63, 0);
	n = cf_must(c, cf_do(c), "read");
	for (int i = 0; i < n; i++)
		if (!text[i])
			text[i] = '.';
	if (n >= 0)
		cf_note(c, "\"%.*s\"", n, text);
}

/* --- sockets --- */

int cf_socket(struct cf *c, int domain, int type)
{
	if (c->broken)
		return -1;
	return cf_keep(c, cf_must(c, c->kernel->ops->socket(c->kernel, domain, type, 0), "socket"));
}

void cf_bind(struct cf *c, int fd, int domain, const char *name, struct cf_addr *ret_addr)
{
	struct cf_addr *addr = ret_addr;
	const struct weir_kernel_ops *ops = c->kernel->ops;

	memset(addr, 0, sizeof(*addr));
	addr->any.sa_family = (sa_family_t)domain;
	addr->size = sizeof(addr->in);
	addr->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (domain == AF_UNIX) {
		memset(addr->un.sun_path, 0, sizeof(addr->un.sun_path));
		snprintf(addr->un.sun_path, sizeof(addr->un.sun_path), "%s", cf_path(c, name));
		addr->size = sizeof(addr->un);
	}
	if (c->broken)
		return;
	cf_must(c, ops->bind(c->kernel, fd, &addr->any, addr->size), "bind");
	if (domain == AF_INET)
		cf_must(c, ops->getsockname(c->kernel, fd, &addr->any, &addr->size), "getsockname");
}

int cf_listener(struct cf *c, int domain, struct cf_addr *ret_addr)
{
	int fd = cf_socket(c, domain, SOCK_STREAM);

	cf_bind(c, fd, domain, "listener", ret_addr);
	if (!c->broken)
		cf_must(c, c->kernel->ops->listen(c->kernel, fd, 64), "listen");
	return fd;
}

int cf_connect(struct cf *c, const struct cf_addr *addr)
{
	int fd = cf_socket(c, addr->any.sa_family, SOCK_STREAM);

	io_uring_prep_connect(cf_step(c), fd, &addr->any, addr->size);
	cf_must(c, cf_do(c), "connect");
	return fd;
}

int cf_accept(struct cf *c, int listener)
{
	io_uring_prep_accept(cf_step(c), listener, NULL, NULL, SOCK_CLOEXEC);
	return cf_keep(c, cf_must(c, cf_do(c), "accept"));
}

void cf_pair(struct cf *c, int domain, int fds[2])
{
	struct cf_addr addr;
	int listener = cf_listener(c, domain, &addr);

	fds[0] = cf_connect(c, &addr);
	fds[1] = cf_accept(c, listener);
	cf_close(c, listener);
	if (domain == AF_UNIX && !c->broken)
		cf_must(c, c->kernel->ops->unlink(c->kernel, addr.un.sun_path), "unlink");
}

void cf_send(struct cf *c, int fd, const char *text)
{
	size_t size = strlen(text);

	io_uring_prep_send(cf_step(c), fd, text, size, MSG_NOSIGNAL | MSG_WAITALL);
	if (cf_do(c) != (int)size)
		cf_break(c, "BROKEN: send");
}

void cf_recv(struct cf *c, int fd, const char *what, size_t size)
{
	char *text = cf_mem(c, size);
	int n;

	io_uring_prep_recv(cf_step(c), fd, text, size, 0);
	n = cf_do(c);
	if (n > 0)
		cf_note(c, "%s \"%.*s\"", what, n, text);
	else
		cf_note_res(c, what, n);
}

void cf_setsockopt(struct cf *c, int fd, int level, int name, int value)
{
	if (!c->broken)
		cf_must(c,
			c->kernel->ops->setsockopt(c->kernel, fd, level, name, &value,
						   sizeof(value)),
			"setsockopt");
}

/* --- buffer rings --- */

void cf_bufs(struct cf *c, struct cf_bufs *bufs, uint16_t bgid, unsigned count, unsigned size,
	     unsigned flags)
{
	struct io_uring_buf_reg reg = { .ring_entries = count, .bgid = bgid };

	memset(bufs, 0, sizeof(*bufs));
	c->memory_used = (c->memory_used + 4095) / 4096 * 4096;
	bufs->ring = cf_mem(c, 4096);
	bufs->memory = cf_mem(c, (size_t)count * size);
	bufs->count = count;
	bufs->size = size;
	bufs->bgid = bgid;
	io_uring_buf_ring_init(bufs->ring);
	reg.ring_addr = (uintptr_t)bufs->ring;
	reg.flags = (uint16_t)flags;
	cf_must(c, cf_register(c, IORING_REGISTER_PBUF_RING, &reg, 1), "buffer ring");
}

void cf_bufs_add(struct cf *c, struct cf_bufs *bufs, unsigned n)
{
	(void)c;
	for (unsigned i = 0; i < n; i++) {
		uint16_t bid = bufs->next++ % bufs->count;

		io_uring_buf_ring_add(bufs->ring, bufs->memory + (size_t)bid * bufs->size,
				      bufs->size, bid,
				      io_uring_buf_ring_mask(bufs->count), (int)i);
	}
	io_uring_buf_ring_advance(bufs->ring, (int)n);
}
