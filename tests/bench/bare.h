/* SPDX-License-Identifier: MIT */
/*
 * bare.h - what the bare servers have in common that is not measured: options, the listener,
 * and saying where it listens.
 */
#ifndef WEIR_BENCH_BARE_H
#define WEIR_BENCH_BARE_H

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

struct bare_opts {
	const char *port_file;
	unsigned buf_count; /* a power of two */
	unsigned buf_size;
	unsigned spin_us;
};

static inline void bare_usage(const char *program)
{
	fprintf(stderr,
		"usage: %s --port-file FILE [--bufs COUNT] [--buf-size BYTES] [--spin-us US]\n"
		"Listens on a free port of 127.0.0.1 and writes tcp://127.0.0.1:PORT to FILE. "
		"COUNT is a power of two to 32768, BYTES is 64 to 1048576.\n",
		program);
	exit(2);
}

static inline void bare_options(int argc, char **argv, struct bare_opts *opts)
{
	static const struct option longs[] = {
		{ "port-file", 1, NULL, 'p' }, { "bufs", 1, NULL, 'n' },
		{ "buf-size", 1, NULL, 'b' },  { "spin-us", 1, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'p')
			opts->port_file = optarg;
		else if (c == 'n')
			opts->buf_count = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'b')
			opts->buf_size = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 's')
			opts->spin_us = (unsigned)strtoul(optarg, NULL, 10);
		else
			bare_usage(argv[0]);
	}
	if (!opts->port_file || optind != argc || !opts->buf_count || opts->buf_count > 32768 ||
	    opts->buf_count & (opts->buf_count - 1) || opts->buf_size < 64 ||
	    opts->buf_size > 1048576)
		bare_usage(argv[0]);
}

static inline __attribute__((noreturn)) void bare_die(const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(error));
	exit(1);
}

/* As many descriptors as we may have; returns how many that is. */
static inline unsigned bare_raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 1024;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur < 1048576 ? (unsigned)limit.rlim_cur : 1048576;
}

/* A listener on a free port of 127.0.0.1; accepted sockets inherit TCP_NODELAY. */
static inline int bare_listen(const char *port_file, int flags)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), one = 1;
	FILE *file;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, size) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&addr, &size))
		bare_die("listen on 127.0.0.1", errno);
	file = fopen(port_file, "we");
	if (!file || fprintf(file, "tcp://127.0.0.1:%u\n", ntohs(addr.sin_port)) < 0 ||
	    fclose(file))
		bare_die(port_file, errno);
	return fd;
}

#endif
