/* SPDX-License-Identifier: MIT */
/*
 * resolve.c - getaddrinfo(3) blocks for as long as it likes: here it does so on threads, two at a
 * time, while the worker goes on.
 *
 *	resolve NAME...		prints "NAME: ADDRESS" or "NAME: why not", in the order of the names
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include <weir.h>

#define NAMES_MAX 64

struct name {
	const char *text;
	char address[NI_MAXHOST];
	int error;
};

static struct weir_pool *pool;
static struct name names[NAMES_MAX];
static unsigned count;

/* On a thread: may block. */
static int look_up(void *arg)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct name *name = arg;
	struct addrinfo *found;
	int r = getaddrinfo(name->text, NULL, &hints, &found);

	if (r)
		return r;
	r = getnameinfo(found->ai_addr, found->ai_addrlen, name->address, sizeof(name->address),
			NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(found);
	return r;
}

/* A coroutine for each name: waits for a thread, and for the answer. */
static int resolve(void *arg)
{
	struct name *name = arg;
	int r = weir_pool_run(pool, 0, look_up, name, weir_in(10 * WEIR_S), &name->error);

	if (r == -ETIMEDOUT)
		name->error = EAI_AGAIN;
	return r;
}

static int service(void *arg)
{
	static const struct weir_pool_class classes[] = { { .name = "dns", .threads_max = 2 } };
	const struct weir_pool_opts opts = { .classes = classes, .class_count = 1 };
	struct weir_scope scope;
	int r = weir_pool_create(&opts, &pool);

	(void)arg;
	if (r < 0)
		return r;
	weir_scope_open(&scope, WEIR_COLLECT, WEIR_NEVER);
	for (unsigned i = 0; i < count && !r; i++)
		r = weir_scope_go(&scope, resolve, &names[i]);
	weir_scope_join(&scope, NULL);
	for (unsigned i = 0; i < count; i++)
		printf("%s: %s\n", names[i].text,
		       names[i].error ? gai_strerror(names[i].error) : names[i].address);
	weir_pool_destroy(pool);
	return r;
}

int main(int argc, char **argv)
{
	const struct weir_opts opts = { .cores = 1 };
	int r;

	if (argc < 2 || argc > NAMES_MAX + 1) {
		fprintf(stderr, "usage: resolve NAME... (1 to %d names)\n", NAMES_MAX);
		return 2;
	}
	for (count = 0; count < (unsigned)argc - 1; count++)
		names[count].text = argv[count + 1];
	r = weir_run(&opts, service, NULL);
	if (r < 0)
		fprintf(stderr, "resolve: %s\n", strerror(-r));
	return r < 0;
}
