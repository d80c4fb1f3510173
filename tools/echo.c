/* SPDX-License-Identifier: MIT */
/*
 * echo.c - weir echo: sends back whatever arrives, in each of the three styles.
 */
#include <stdlib.h>
#include <string.h>

#include "core/weir_coro.h"
#include "net/weir_conn_async.h"
#include "tools/command.h"
#include "tools/service.h"

enum { OPT_STYLE = 1000 };

enum style { COROUTINE, ASYNC, CALLBACK };

#define OUT_HIGH ((size_t)256 << 10)

static enum style style;

static struct weir_serve_opts serve_opts(const struct service_address *address)
{
	return (struct weir_serve_opts){
		.name = "echo",
		.conn = { .idle_ns = address->service->idle_ns, .out_high = OUT_HIGH },
		.on_listen = service_listening,
	};
}

/* --- coroutine: one for each connection, nothing but a lease on its stack --- */

static void echo_coroutine(struct weir_conn *conn, void *arg)
{
	struct weir_lease lease;

	(void)arg;
	while (weir_conn_lease(conn, &lease) > 0) {
		int r = weir_conn_write_all(conn, lease.data, lease.size);

		weir_conn_release(conn, &lease);
		if (r < 0)
			break;
	}
}

/* --- callback: no coroutine; above the high mark the input is paused --- */

static void callback_data(struct weir_conn *conn, const char *data, size_t size, int res)
{
	(void)res;
	if (!size || weir_conn_write_try(conn, data, size) < 0) {
		weir_conn_close(conn);
		return;
	}
	if (weir_conn_pending(conn) > OUT_HIGH)
		weir_conn_pause(conn);
}

static void callback_writable(struct weir_conn *conn)
{
	weir_conn_resume(conn);
}

static const struct weir_conn_events callback_events = { callback_data, callback_writable };

static void callback_accept(struct weir_conn *conn, void *arg)
{
	(void)arg;
	weir_conn_set_events(conn, &callback_events);
}

/* --- async: a chain of futures that starts itself anew --- */

struct async_echo {
	struct weir_conn *conn;
	char buf[4096];
};

static void async_read(struct async_echo *echo);

static ssize_t async_written(struct weir_result *result, void *arg)
{
	struct async_echo *echo = arg;

	if (result->res > 0) {
		async_read(echo);
	} else {
		weir_conn_close(echo->conn);
		free(echo);
	}
	return 0;
}

static ssize_t async_got(struct weir_result *result, void *arg)
{
	struct async_echo *echo = arg;

	if (result->res <= 0)
		return result->res ? result->res : -EPIPE;
	return weir_follow(result,
			   weir_conn_write_async(echo->conn, echo->buf, (size_t)result->res));
}

static void async_read(struct async_echo *echo)
{
	struct weir_future *got = weir_conn_read_async(echo->conn, echo->buf, sizeof(echo->buf));

	weir_future_drop(
		weir_recover(weir_then(weir_then(got, async_got, echo), async_written, echo),
			     async_written, echo));
}

static void async_accept(struct weir_conn *conn, void *arg)
{
	struct async_echo *echo = malloc(sizeof(*echo));

	(void)arg;
	if (!echo) {
		weir_conn_abort(conn);
		return;
	}
	echo->conn = conn;
	async_read(echo);
}

/* --- the command --- */

/* A listener with callbacks does not block: this coroutine waits for its end. */
struct ended {
	struct service_address *address;
	struct weir_promise promise;
};

static void callback_end(void *arg)
{
	weir_promise_resolve(&((struct ended *)arg)->promise, 0);
}


static int serve_events(struct service_address *address, void (*accept)(struct weir_conn *, void *))
{
	const struct weir_listener_events events = { .on_accept = accept, .on_end = callback_end };
	struct weir_serve_opts opts = serve_opts(address);
	struct ended ended = { .address = address };
	struct weir_listener *listener;
	struct weir_future *future;
	int r = weir_promise_create(&ended.promise, &future);

	if (r < 0)
		return r;
	opts.on_listen = NULL;
	r = weir_listener_create(address->text, &opts, &events, &ended, &listener);
	if (r < 0) {
		weir_promise_drop(&ended.promise);
		weir_future_drop(future);
		return r;
	}
	service_listening(listener, address);
	weir_coro_shield();	/* the listener refers to this stack until its end */
	weir_await(future, WEIR_NEVER, NULL);
	weir_coro_unshield();
	return 0;
}

static int serve(struct service_address *address)
{
	struct weir_serve_opts opts = serve_opts(address);

	if (style == CALLBACK)
		return serve_events(address, callback_accept);
	if (style == ASYNC)
		return serve_events(address, async_accept);
	return weir_serve(address->text, &opts, echo_coroutine, address);
}

static bool take_option(struct service *service, int c, const char *value)
{
	static const char *const names[] = { "coroutine", "async", "callback" };

	(void)c;
	for (int i = 0; i < 3; i++)
		if (!strcmp(value, names[i])) {
			style = (enum style)i;
			return true;
		}
	usage_error(service->command, "--style is coroutine, async or callback, not '%s'", value);
	return false;
}

int echo_main(int argc, char **argv)
{
	static const struct option options[] = { { "style", 1, NULL, OPT_STYLE }, { 0 } };
	static struct service service = {
		.command = "echo",
		.usage = "echo --listen ADDR [OPTIONS]\n\n"
			 "Sends back whatever arrives.\n\n"
			 "  --style STYLE      coroutine (default), async (futures) or callback",
		.serve = serve,
		.option = take_option,
		.options = options,
	};

	return service_main(&service, argc, argv);
}
