/* SPDX-License-Identifier: MIT */
/*
 * bare_epoll_echo.c - the yardstick of everything that is not io_uring: an echo server by
 * hand on level-triggered epoll, one recv and one send for each readiness, all through one
 * buffer that stays in the cache.
 *
 * Level-triggered, because edge-triggered needs a second recv to see EAGAIN. What a peer does
 * not take at once is kept, and nothing more is read from it until it does.
 *
 *	bare_epoll_echo --port-file FILE [--buf-size BYTES]
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/bare.h"

#define EVENTS 512

/* What is left to send to a connection; NULL while nothing is. */
struct rest {
	size_t offset, size;
	char data[];
};

static struct rest **rests; /* by fd */
static char *buf;
static size_t buf_size;
static int epoll, listener, fd_max;

static void want(int fd, int how, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (epoll_ctl(epoll, how, fd, &event))
		bare_die("epoll_ctl", errno);
}

static void end(int fd)
{
	free(rests[fd]);
	rests[fd] = NULL;
	close(fd);
}

static void keep(int fd, size_t sent, size_t size)
{
	struct rest *rest = malloc(sizeof(*rest) + size - sent);

	if (!rest) {
		end(fd);
		return;
	}
	*rest = (struct rest){ .size = size - sent };
	memcpy(rest->data, buf + sent, rest->size);
	rests[fd] = rest;
	want(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void send_rest(int fd)
{
	struct rest *rest = rests[fd];
	ssize_t n = send(fd, rest->data + rest->offset, rest->size - rest->offset, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		end(fd);
		return;
	}
	if (n > 0)
		rest->offset += (size_t)n;
	if (rest->offset < rest->size)
		return;
	free(rest);
	rests[fd] = NULL;
	want(fd, EPOLL_CTL_MOD, EPOLLIN);
}

static void echo(int fd)
{
	ssize_t got = recv(fd, buf, buf_size, 0), sent;

	if (got <= 0) {
		if (got == 0 || errno != EAGAIN)
			end(fd);
		return;
	}
	sent = send(fd, buf, (size_t)got, MSG_NOSIGNAL);
	if (sent == got)
		return;
	if (sent < 0 && errno != EAGAIN)
		end(fd);
	else
		keep(fd, sent < 0 ? 0 : (size_t)sent, (size_t)got);
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (fd < fd_max)
			want(fd, EPOLL_CTL_ADD, EPOLLIN);
		else
			close(fd);
	}
}

int main(int argc, char **argv)
{
	struct bare_opts opts = { .buf_count = 1, .buf_size = 16384 };
	struct epoll_event events[EVENTS];

	bare_options(argc, argv, &opts);
	buf_size = opts.buf_size;
	buf = malloc(buf_size);
	fd_max = (int)bare_raise_nofile();
	rests = calloc((size_t)fd_max, sizeof(*rests));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!buf || !rests || epoll < 0)
		bare_die("memory", ENOMEM);
	listener = bare_listen(opts.port_file, SOCK_NONBLOCK);
	want(listener, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				accept_all();
			else if (rests[fd])
				send_rest(fd);
			else
				echo(fd);
		}
	}
}
