/* SPDX-License-Identifier: MIT */
/*
 * bare_epoll_echo.c - the yardstick of everything that is not io_uring: an echo server by
 * hand on level-triggered epoll, one recv and one send for each readiness.
 *
 *	bare_epoll_echo PORT_FILE
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512

static void echo(int fd)
{
	static char buf[16384];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0 && send(fd, buf, (size_t)n, MSG_NOSIGNAL) == n)
		return;
	close(fd);
}

static int listen_on_loopback(const char *port_file)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	FILE *file;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, size) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&addr, &size))
		return -1;
	file = fopen(port_file, "we");
	if (!file)
		return -1;
	fprintf(file, "tcp://127.0.0.1:%u\n", ntohs(addr.sin_port));
	fclose(file);
	return fd;
}

static void add(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(0);
	int listener = argc == 2 ? listen_on_loopback(argv[1]) : -1;

	if (listener < 0) {
		fprintf(stderr, "usage: bare_epoll_echo PORT_FILE\n");
		return 2;
	}
	add(epoll, listener);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd != listener)
				echo(fd);
			else if ((fd = accept4(listener, NULL, NULL, 0)) >= 0)
				add(epoll, fd);
		}
	}
}
