/* SPDX-License-Identifier: MIT */
/*
 * weir_addr.h - where a service listens and whom it connects to, as text and as a
 * socket address.
 *
 *	tcp://127.0.0.1:8080	IPv4, always numeric
 *	tcp://[::1]:8080	IPv6 in brackets; [fe80::1%2] names interface number 2
 *	tcp://0.0.0.0:8080	every IPv4 address of this machine; [::] every IPv6 address
 *	unix:/run/app.sock	a path, absolute or relative, at most WEIR_ADDR_PATH_MAX bytes
 *	unix:@name		an abstract name of Linux: no file, gone with its last socket
 *
 * Port 0 in a listening address means: any free port.
 */
#ifndef WEIR_ADDR_H
#define WEIR_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "weir_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that the text of any address fits in, its NUL included. */
#define WEIR_ADDR_TEXT 128

/* The longest path or name of a Unix address. */
#define WEIR_ADDR_PATH_MAX 107

/* A value: copy it freely. */
struct weir_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in ip4;
		struct sockaddr_in6 ip6;
		struct sockaddr_un path;
	} sock;
	socklen_t size;		/* bytes of sock that count */
};

/*
 * Reads text. Host names are not resolved: the address must be numeric.
 * Returns 0, or -EINVAL with *ret_why (may be NULL) naming the part that is wrong and how
 * to write it; a literal. Any thread.
 */
WEIR_API int weir_addr_parse(const char *text, struct weir_addr *ret_addr, const char **ret_why);

/*
 * Writes addr as weir_addr_parse() reads it into text of size bytes; a Unix socket without
 * an address is "unix:". Bytes of a Unix address that do not print become '?'.
 * Returns 0, -ENOSPC when it does not fit (WEIR_ADDR_TEXT always does), -EINVAL for another family.
 * Any thread.
 */
WEIR_API int weir_addr_format(const struct weir_addr *addr, char *text, size_t size);

/* Takes what the kernel gave. Returns 0, or -EINVAL: another family, or size does not fit it. */
WEIR_API int weir_addr_from_sockaddr(const struct sockaddr *sock, size_t size,
				     struct weir_addr *ret_addr);

/* The port; 0 for a Unix address. Any thread. */
WEIR_API unsigned weir_addr_port(const struct weir_addr *addr);

#ifdef __cplusplus
}
#endif

#endif
