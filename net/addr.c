/* SPDX-License-Identifier: MIT */
/*
 * addr.c - addresses as text.
 *
 * Strict on purpose: inet_pton() and not getaddrinfo() or inet_aton(), since "tcp://1:80" would
 * silently mean 0.0.0.1, and a name would block the core while it is looked up.
 */
#include "net/weir_addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == WEIR_ADDR_PATH_MAX + 1,
	      "a path and its NUL fit");
static_assert(WEIR_ADDR_TEXT > sizeof("unix:") + WEIR_ADDR_PATH_MAX + 1, "any text fits");

/* Reads decimal digits up to max; all of text. */
static bool read_number(const char *text, size_t size, unsigned long max, unsigned long *ret)
{
	unsigned long n = 0;

	if (!size || size > 10)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (unsigned long)(text[i] - '0');
	}
	*ret = n;
	return n <= max;
}

static const char *parse_port(const char *text, in_port_t *ret_port)
{
	unsigned long port;

	if (*text != ':')
		return "the port is missing: write tcp://127.0.0.1:8080 (port 0: any free one)";
	if (!read_number(text + 1, strlen(text + 1), 65535, &port))
		return "the port must be a number from 0 to 65535 and end the address";
	*ret_port = htons((uint16_t)port);
	return NULL;
}

static const char *parse_ip6(const char *text, struct sockaddr_in6 *ip6)
{
	const char *end = strchr(text, ']');
	const char *scope = end ? memchr(text, '%', (size_t)(end - text)) : NULL;
	char host[INET6_ADDRSTRLEN];
	unsigned long id = 0;
	size_t size;

	if (!end)
		return "the bracket after an IPv6 address is missing: write tcp://[::1]:8080";
	if (scope && !read_number(scope + 1, (size_t)(end - scope - 1), UINT32_MAX, &id))
		return "the interface of an IPv6 address must be its number: write [fe80::1%2]";
	size = (size_t)((scope ? scope : end) - text);
	if (size >= sizeof(host))
		return "the IPv6 address is too long: write tcp://[::1]:8080";
	memcpy(host, text, size);
	host[size] = '\0';
	ip6->sin6_family = AF_INET6;
	ip6->sin6_scope_id = (uint32_t)id;
	if (inet_pton(AF_INET6, host, &ip6->sin6_addr) != 1)
		return "the part in brackets is not an IPv6 address: write tcp://[::1]:8080";
	return parse_port(end + 1, &ip6->sin6_port);
}

static const char *parse_ip4(const char *text, struct sockaddr_in *ip4)
{
	size_t size = strcspn(text, ":");
	char host[INET_ADDRSTRLEN];

	if (strchr(text + size + (text[size] == ':'), ':'))
		return "an IPv6 address needs brackets: write tcp://[::1]:8080";
	if (!size)
		return "the host is missing: write tcp://127.0.0.1:8080 (0.0.0.0: all of them)";
	ip4->sin_family = AF_INET;
	if (size < sizeof(host)) {
		memcpy(host, text, size);
		host[size] = '\0';
		if (inet_pton(AF_INET, host, &ip4->sin_addr) == 1)
			return parse_port(text + size, &ip4->sin_port);
	}
	return "the host is not a numeric address (names are not looked up): write "
	       "tcp://127.0.0.1:8080 or tcp://[::1]:8080";
}

static const char *parse_tcp(const char *text, struct weir_addr *addr)
{
	if (*text == '[') {
		addr->size = sizeof(addr->sock.ip6);
		return parse_ip6(text + 1, &addr->sock.ip6);
	}
	addr->size = sizeof(addr->sock.ip4);
	return parse_ip4(text, &addr->sock.ip4);
}

static const char *parse_unix(const char *text, struct weir_addr *addr)
{
	size_t size = strlen(text);
	bool is_abstract = *text == '@';

	if (size <= is_abstract)
		return "the path is missing: write unix:/run/app.sock, or unix:@name";
	if (size > WEIR_ADDR_PATH_MAX)
		return "the path is longer than the 107 bytes of a Unix address: use a shorter "
		       "one, relative to the working directory, or unix:@name";
	addr->sock.path.sun_family = AF_UNIX;
	memcpy(addr->sock.path.sun_path, text, size);
	if (is_abstract)
		addr->sock.path.sun_path[0] = '\0';
	/* A path counts with its NUL, an abstract name without. */
	addr->size = (socklen_t)(PATH_OFFSET + size + !is_abstract);
	return NULL;
}

int weir_addr_parse(const char *text, struct weir_addr *ret_addr, const char **ret_why)
{
	struct weir_addr addr;
	const char *why;

	memset(&addr, 0, sizeof(addr));
	if (!text || !*text)
		why = "the address is empty: write tcp://127.0.0.1:8080 or unix:/run/app.sock";
	else if (!strncmp(text, "tcp://", 6))
		why = parse_tcp(text + 6, &addr);
	else if (!strncmp(text, "unix:", 5))
		why = parse_unix(text + 5, &addr);
	else
		why = "the address must begin with tcp:// or unix: (tcp://127.0.0.1:8080, "
		      "unix:/run/app.sock)";
	if (why) {
		if (ret_why)
			*ret_why = why;
		return -EINVAL;
	}
	*ret_addr = addr;
	return 0;
}

/* --- to text --- */

static int format_unix(const struct weir_addr *addr, char *text, size_t size)
{
	const char *path = addr->sock.path.sun_path;
	size_t count = addr->size - PATH_OFFSET;

	/* A path may come with its NUL, and what follows it is nothing. */
	if (count && path[0])
		count = strnlen(path, count);
	if (sizeof("unix:") + count > size)
		return -ENOSPC;
	memcpy(text, "unix:", 5);
	text += 5;
	for (size_t i = 0; i < count; i++) {
		unsigned char c = (unsigned char)path[i];

		text[i] = c < ' ' || c == 0x7f ? '?' : (char)c;
	}
	if (count && !path[0])
		text[0] = '@';
	text[count] = '\0';
	return 0;
}

int weir_addr_format(const struct weir_addr *addr, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	char scope[12] = "";
	int n;

	switch (addr->sock.any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &addr->sock.ip4.sin_addr, host, sizeof(host));
		n = snprintf(text, size, "tcp://%s:%u", host, ntohs(addr->sock.ip4.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &addr->sock.ip6.sin6_addr, host, sizeof(host));
		if (addr->sock.ip6.sin6_scope_id)
			snprintf(scope, sizeof(scope), "%%%u", addr->sock.ip6.sin6_scope_id);
		n = snprintf(text, size, "tcp://[%s%s]:%u", host, scope,
			     ntohs(addr->sock.ip6.sin6_port));
		break;
	case AF_UNIX:
		return format_unix(addr, text, size);
	default:
		return -EINVAL;
	}
	return (size_t)n < size ? 0 : -ENOSPC;
}

int weir_addr_from_sockaddr(const struct sockaddr *sock, size_t size, struct weir_addr *ret_addr)
{
	size_t min;

	if (size < sizeof(sock->sa_family) || size > sizeof(ret_addr->sock))
		return -EINVAL;
	switch (sock->sa_family) {
	case AF_INET:
		min = sizeof(struct sockaddr_in);
		break;
	case AF_INET6:
		min = sizeof(struct sockaddr_in6);
		break;
	case AF_UNIX:
		min = PATH_OFFSET;
		break;
	default:
		return -EINVAL;
	}
	if (size < min)
		return -EINVAL;
	memset(ret_addr, 0, sizeof(*ret_addr));
	memcpy(&ret_addr->sock, sock, size);
	ret_addr->size = (socklen_t)size;
	return 0;
}

unsigned weir_addr_port(const struct weir_addr *addr)
{
	switch (addr->sock.any.sa_family) {
	case AF_INET:
		return ntohs(addr->sock.ip4.sin_port);
	case AF_INET6:
		return ntohs(addr->sock.ip6.sin6_port);
	default:
		return 0;
	}
}
