/* SPDX-License-Identifier: MIT */
/*
 * echo.c - an echo service on every core: one coroutine per connection.
 *
 *	echo [ADDRESS]		default tcp://127.0.0.1:7000; SIGTERM drains
 */
#include <stdio.h>
#include <string.h>

#include <weir.h>

static void echo(struct weir_conn *conn, void *arg)
{
	char buf[4096];
	ssize_t n;

	(void)arg;
	while ((n = weir_conn_read(conn, buf, sizeof(buf))) > 0)
		if (weir_conn_write_all(conn, buf, (size_t)n) < 0)
			break;
}

static int service(void *arg)
{
	return weir_serve(arg, NULL, echo, NULL);
}

int main(int argc, char **argv)
{
	int r = weir_run(NULL, service, argc > 1 ? argv[1] : "tcp://127.0.0.1:7000");

	if (r < 0)
		fprintf(stderr, "echo: %s\n", strerror(-r));
	return r < 0;
}
