/* SPDX-License-Identifier: MIT */
/*
 * bound.c - the registry of listening sockets, one for the process (its kernel keeps it), under
 * a mutex.
 *
 * Cores of one runtime that ask for the same address for the same service share an entry; the
 * first to ask binds and so decides what port 0 becomes. A core that asks for an entry a second
 * time gets a new one: that is another service.
 *
 * SO_REUSEPORT has a price: a second process of the same user would bind the same port without
 * an error and steal half of the connections. So the first core binds without it once,
 * which fails when anybody listens there, unless share_port asks for just that.
 */
#include "net/bound.h"

#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>

#include "core/alloc.h"

struct weir_bound {
	struct weir_bound *next;	/* of the kernel's */
	struct weir_kernel *kernel;
	const void *runtime;
	const void *tag;
	struct weir_addr asked;
	struct weir_addr real;
	unsigned refs;
	bool shared;
	int fd;				/* shared: the one socket */
	uint64_t cores[WEIR_BOUND_CORES / 64];	/* who listens */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_unix(const struct weir_addr *addr)
{
	return addr->sock.any.sa_family == AF_UNIX;
}

/* The file of a Unix socket; NULL for an abstract name and everything else. */
static const char *path_of(const struct weir_addr *addr)
{
	return is_unix(addr) && addr->sock.path.sun_path[0] ? addr->sock.path.sun_path : NULL;
}

static bool has_core(const struct weir_bound *bound, unsigned core)
{
	return bound->cores[core / 64] >> (core % 64) & 1;
}

static int set_flag(struct weir_kernel *kernel, int fd, int level, int name)
{
	static const int on = 1;

	return kernel->ops->setsockopt(kernel, fd, level, name, &on, sizeof(on));
}

static int set_options(const struct weir_bound_ask *ask, int fd, bool reuse_port)
{
	struct weir_kernel *kernel = ask->kernel;
	const struct weir_serve_opts *opts = ask->opts;
	int r;

	if (is_unix(ask->addr))
		return 0;
	r = set_flag(kernel, fd, SOL_SOCKET, SO_REUSEADDR);
	if (!r && reuse_port)
		r = set_flag(kernel, fd, SOL_SOCKET, SO_REUSEPORT);
	/* One listener for IPv4, one for IPv6: what is served is what was asked for. */
	if (!r && ask->addr->sock.any.sa_family == AF_INET6)
		r = set_flag(kernel, fd, IPPROTO_IPV6, IPV6_V6ONLY);
	/* Connections inherit it. */
	if (!r && !opts->nagle)
		r = set_flag(kernel, fd, IPPROTO_TCP, TCP_NODELAY);
	if (!r && opts->defer_s)
		r = kernel->ops->setsockopt(kernel, fd, IPPROTO_TCP, TCP_DEFER_ACCEPT,
					    &opts->defer_s, sizeof(opts->defer_s));
	return r;
}

/* A socket bound to addr. Returns the descriptor or -errno. */
static int make_bound(const struct weir_bound_ask *ask, const struct weir_addr *addr,
		      bool reuse_port)
{
	struct weir_kernel *kernel = ask->kernel;
	int fd = kernel->ops->socket(kernel, addr->sock.any.sa_family, SOCK_STREAM, 0);
	int r;

	if (fd < 0)
		return fd;
	r = set_options(ask, fd, reuse_port);
	if (!r)
		r = kernel->ops->bind(kernel, fd, &addr->sock.any, addr->size);
	if (r < 0) {
		kernel->ops->close(kernel, fd);
		return r;
	}
	return fd;
}

static int make_listening(const struct weir_bound_ask *ask, const struct weir_addr *addr,
			  bool reuse_port)
{
	struct weir_kernel *kernel = ask->kernel;
	int fd = make_bound(ask, addr, reuse_port);
	int r;

	if (fd < 0)
		return fd;
	r = kernel->ops->listen(kernel, fd, ask->opts->backlog);
	if (r < 0) {
		kernel->ops->close(kernel, fd);
		return r;
	}
	return fd;
}

/* Whether path is a socket without a listener. connect() refuses other files the same way. */
static bool is_stale(struct weir_kernel *kernel, const struct weir_addr *addr, const char *path)
{
	int fd, r;

	if (kernel->ops->is_socket(kernel, path) != 1)
		return false;
	fd = kernel->ops->socket(kernel, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	r = kernel->ops->connect(kernel, fd, &addr->sock.any, addr->size);
	kernel->ops->close(kernel, fd);
	return r == -ECONNREFUSED;
}

static int listen_unix(const struct weir_bound_ask *ask)
{
	const char *path = path_of(ask->addr);
	int fd = make_listening(ask, ask->addr, false);

	if (fd != -EADDRINUSE || !path || !is_stale(ask->kernel, ask->addr, path))
		return fd;
	ask->kernel->ops->unlink(ask->kernel, path);
	return make_listening(ask, ask->addr, false);
}

static int listen_first(const struct weir_bound_ask *ask)
{
	bool reuse_port = !ask->opts->shared || ask->opts->share_port;

	if (is_unix(ask->addr))
		return listen_unix(ask);
	if (reuse_port && !ask->opts->share_port && weir_addr_port(ask->addr)) {
		int fd = make_bound(ask, ask->addr, false);

		if (fd < 0)
			return fd;
		ask->kernel->ops->close(ask->kernel, fd);
	}
	return make_listening(ask, ask->addr, reuse_port);
}

static int read_name(struct weir_kernel *kernel, int fd, struct weir_addr *ret_addr)
{
	struct sockaddr_storage sock;
	socklen_t size = sizeof(sock);
	int r;

	memset(&sock, 0, sizeof(sock));
	r = kernel->ops->getsockname(kernel, fd, (struct sockaddr *)&sock, &size);
	return r < 0 ? r : weir_addr_from_sockaddr((struct sockaddr *)&sock, size, ret_addr);
}

static struct weir_bound *find(const struct weir_bound_ask *ask, bool shared)
{
	struct weir_bound *bound = ask->kernel->bound;

	for (; bound; bound = bound->next)
		if (bound->runtime == ask->runtime && bound->tag == ask->tag &&
		    bound->shared == shared && bound->asked.size == ask->addr->size &&
		    !memcmp(&bound->asked.sock, &ask->addr->sock, ask->addr->size) &&
		    !has_core(bound, ask->core))
			break;
	return bound;
}

static int join(struct weir_bound *bound, const struct weir_bound_ask *ask)
{
	int fd = bound->shared ? bound->fd : make_listening(ask, &bound->real, true);

	if (fd < 0)
		return fd;
	bound->cores[ask->core / 64] |= UINT64_C(1) << (ask->core % 64);
	bound->refs++;
	return fd;
}

/* Last: cores that ask several times find them in the same order. */
static void remember(struct weir_bound *bound)
{
	struct weir_bound **at = &bound->kernel->bound;

	while (*at)
		at = &(*at)->next;
	bound->next = NULL;
	*at = bound;
}

static void forget(struct weir_bound *bound)
{
	struct weir_bound **at = &bound->kernel->bound;

	while (*at != bound)
		at = &(*at)->next;
	*at = bound->next;
}

static int create(const struct weir_bound_ask *ask, bool shared, struct weir_bound **ret_bound)
{
	struct weir_bound *bound = weir__calloc(1, sizeof(*bound));
	int fd, r;

	if (!bound)
		return -ENOMEM;
	fd = listen_first(ask);
	r = fd < 0 ? fd : read_name(ask->kernel, fd, &bound->real);
	if (r < 0) {
		if (fd >= 0)
			ask->kernel->ops->close(ask->kernel, fd);
		weir__free(bound, sizeof(*bound));
		return r;
	}
	bound->kernel = ask->kernel;
	bound->runtime = ask->runtime;
	bound->tag = ask->tag;
	bound->asked = *ask->addr;
	bound->shared = shared;
	bound->fd = shared ? fd : -1;
	bound->refs = 1;
	bound->cores[ask->core / 64] = UINT64_C(1) << (ask->core % 64);
	remember(bound);
	*ret_bound = bound;
	return fd;
}

int weir__bound_get(const struct weir_bound_ask *ask, struct weir_bound **ret_bound, int *ret_fd)
{
	bool shared = ask->opts->shared || is_unix(ask->addr);
	struct weir_bound *bound;
	int fd;

	weir_precond(ask->core < WEIR_BOUND_CORES, -EINVAL);
	pthread_mutex_lock(&lock);
	bound = find(ask, shared);
	fd = bound ? join(bound, ask) : create(ask, shared, &bound);
	pthread_mutex_unlock(&lock);
	if (fd < 0)
		return fd;
	*ret_bound = bound;
	*ret_fd = fd;
	return 0;
}

void weir__bound_put(struct weir_bound *bound, unsigned core, int fd)
{
	struct weir_kernel *kernel = bound->kernel;
	bool last;

	pthread_mutex_lock(&lock);
	bound->cores[core / 64] &= ~(UINT64_C(1) << (core % 64));
	last = !--bound->refs;
	if (last) {
		forget(bound);
		/* Before the close: as long as we listen nobody else takes the path. */
		if (path_of(&bound->asked))
			kernel->ops->unlink(kernel, path_of(&bound->asked));
	}
	if (last || !bound->shared)
		kernel->ops->close(kernel, fd);
	pthread_mutex_unlock(&lock);
	if (last)
		weir__free(bound, sizeof(*bound));
}

const struct weir_addr *weir__bound_addr(const struct weir_bound *bound)
{
	return &bound->real;
}
