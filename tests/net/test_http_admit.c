/* SPDX-License-Identifier: MIT */
/*
 * test_http_admit.c - requests that need a ticket, over real sockets: who is shed, who is reachable
 * anyway, and that a peer who leaves gives up his place.
 */
#include <stdio.h>

#include "core/weir_coro.h"
#include "net/http.h"
#include "tests/net/http_fixture.h"

#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define GET(path) "GET " path HOST "\r\n"

static struct weir_wait *held;	/* whoever came to /hold */
static int result;		/* of /fail */

static int hold(struct weir_http_req *req)
{
	struct weir_wait wait;

	weir__wait_init(&wait);
	held = &wait;
	weir__wait_park(&wait, "hold", NULL, WEIR_NEVER);
	held = NULL;
	return weir_http_reply(req, 200, NULL, "held", 4);
}

static int handle(struct weir_http_req *req, void *arg)
{
	struct http_server *server = arg;
	struct weir_ticket *ticket = weir_http_req_ticket(req);

	server->requests++;
	server->last = ticket != NULL;
	if (weir_http_req_is_path(req, "/fail"))
		return result;
	if (weir_http_req_is_path(req, "/early")) {
		assert_int_equal(weir_ticket_done(ticket, WEIR_TICKET_OK), 0);
		assert_null(weir_http_req_ticket(req));
		return hold(req);
	}
	if (weir_http_req_is_path(req, "/hold"))
		return hold(req);
	return weir_http_reply(req, 200, NULL, "hello", 5);
}

static const char *const always[] = { "/health", NULL };
static struct weir_admit admit;

static void begin(struct http_server *server, const struct weir_admit_opts *opts)
{
	assert_int_equal(weir_admit_init(&admit, opts), 0);
	*server = (struct http_server){
		.handler = handle,
		.opts = { .admit = &admit, .admit_always = always },
	};
	http_start(server);
}

static struct weir_admit_info look(void)
{
	struct weir_admit_info info;

	assert_int_equal(weir_admit_info(&admit, &info), 0);
	return info;
}

static void finish(struct http_server *server)
{
	http_wait_closed();
	assert_int_equal(http_stop(server), 0);
	assert_int_equal(weir_admit_fini(&admit), 0);
}

/* A connection whose request is being handled. */
static struct weir_conn *occupy(struct http_server *server, const char *request)
{
	struct weir_conn *conn = http_connect(server);

	http_say(conn, request);
	while (!held)
		assert_int_equal(weir_yield(), 0);
	return conn;
}

/* A connection whose request is in line. */
static struct weir_conn *stand_in_line(struct http_server *server, const char *request)
{
	struct weir_conn *conn = http_connect(server);
	unsigned waiting = look().waiting;

	http_say(conn, request);
	while (look().waiting == waiting)
		assert_int_equal(weir_yield(), 0);
	return conn;
}

static void end(struct weir_conn *conn, int status)
{
	char buf[1024];

	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), status);
	weir_conn_close(conn);
}

static const struct weir_admit_opts one = {
	.limiter = { .limit_initial = 1 }, .queue_max = 1,
};

static void who_is_shed_gets_503_with_retry_after_and_keeps_his_connection(void)
{
	struct http_server server;
	struct weir_conn *busy, *line, *conn;
	char buf[1024];

	begin(&server, &one);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/"));
	conn = http_connect(&server);
	for (int i = 0; i < 3; i++) {
		http_say(conn, "POST /" HOST "Content-Length: 4\r\n\r\nbody");
		assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 503);
		assert_non_null(strstr(buf, "\r\nRetry-After: 1\r\n"));
		assert_null(strstr(buf, "Connection: close"));
	}
	assert_int_equal(server.requests, 1);
	assert_int_equal(look().shed[WEIR_SHED_FULL], 3);
	weir__wait_wake(held, 0);
	end(busy, 200);
	end(line, 200);
	http_say(conn, GET("/"));
	end(conn, 200);
	assert_int_equal(look().admitted, 3);
	finish(&server);
}

static void retry_after_is_what_the_option_says_or_longer(void)
{
	struct http_server server;
	struct weir_conn *busy, *conn;
	char buf[1024];

	begin(&server, &one);
	weir_listener_stop(server.listener);
	assert_int_equal(http_join(&server), 0);
	server.opts.retry_after_ns = 2 * WEIR_S + 1;
	http_start(&server);
	busy = occupy(&server, GET("/hold"));
	weir_admit_stop(&admit);
	conn = http_connect(&server);
	http_say(conn, GET("/"));
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 503);
	assert_non_null(strstr(buf, "\r\nRetry-After: 3\r\n"));
	weir_conn_close(conn);
	weir__wait_wake(held, 0);
	end(busy, 200);
	finish(&server);
}

static void health_is_reachable_while_everything_is_full(void)
{
	struct http_server server;
	struct weir_conn *busy, *line, *conn;

	begin(&server, &one);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/"));
	conn = http_connect(&server);
	http_say(conn, GET("/health?x"));
	end(conn, 200);
	assert_false(server.last);	/* without a ticket */
	conn = http_connect(&server);
	http_say(conn, GET("/healthy"));
	end(conn, 503);
	weir__wait_wake(held, 0);
	end(busy, 200);
	end(line, 200);
	assert_true(server.last);
	finish(&server);
}

static void who_leaves_while_in_line_gives_up_his_place(void)
{
	struct http_server server;
	struct weir_conn *busy, *line, *next;

	begin(&server, &one);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/"));
	weir_conn_close(line);
	while (look().waiting)
		assert_int_equal(weir_yield(), 0);
	assert_int_equal(look().shed[WEIR_SHED_CANCELLED], 1);
	next = stand_in_line(&server, GET("/"));	/* the only place is free */
	weir__wait_wake(held, 0);
	end(busy, 200);
	end(next, 200);
	assert_int_equal(server.requests, 2);
	finish(&server);
}

static void who_leaves_with_requests_behind_is_noticed_too(void)
{
	struct http_server server;
	struct weir_conn *busy, *line;

	begin(&server, &one);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/") GET("/"));
	http_say(line, GET("/"));
	http_wait_received(3 * strlen(GET("/")));
	assert_int_equal(look().waiting, 1);
	weir_conn_abort(line);
	while (look().waiting)
		assert_int_equal(weir_yield(), 0);
	weir__wait_wake(held, 0);
	end(busy, 200);
	assert_int_equal(server.requests, 1);
	finish(&server);
}

/* He is not gone: he has said all, and no more. */
static void who_ends_his_half_before_there_is_a_line_is_answered(void)
{
	struct http_server server;
	struct weir_conn *conn, *others[2];
	char buf[1024];

	begin(&server, &one);
	for (int i = 0; i < 2; i++)
		others[i] = http_connect(&server);
	conn = http_connect(&server);
	http_wait_accepted(6);
	weir_conn_write_all(conn, GET("/"), strlen(GET("/")));
	weir_conn_shutdown(conn);
	for (int i = 0; i < 2; i++)	/* others are ready: it waits for them, with its ticket */
		http_say(others[i], GET("/"));
	assert_int_equal(http_hear(conn, buf, sizeof(buf), true), 200);
	weir_conn_close(conn);
	for (int i = 0; i < 2; i++)
		weir_conn_close(others[i]);
	finish(&server);
}

static void who_leaves_while_handled_gives_the_ticket_back(void)
{
	struct http_server server;
	struct weir_conn *busy, *line;

	begin(&server, &one);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/"));
	weir_conn_close(busy);
	weir__wait_wake(held, 0);
	end(line, 200);
	finish(&server);
	assert_int_equal(server.requests, 2);
}

static int class_of(struct weir_http_req *req, void *arg)
{
	struct weir_http_text text = weir_http_req_header(req, "Class");

	(void)arg;
	return text.data ? atoi(text.data) : WEIR_HTTP_NO_TICKET;
}

static void classes_are_the_functions_to_say(void)
{
	static const struct weir_admit_class classes[] = { { .queue_max = 1 }, { .queue_max = 1 } };
	const struct weir_admit_opts opts = {
		.limiter = { .limit_initial = 1 }, .classes = classes, .class_count = 2,
	};
	struct http_server server;
	struct weir_conn *busy, *lines[2], *conn;

	begin(&server, &opts);
	weir_listener_stop(server.listener);
	assert_int_equal(http_join(&server), 0);
	server.opts.admit_class = class_of;
	http_start(&server);
	busy = occupy(&server, "GET /hold" HOST "Class: 0\r\n\r\n");
	lines[0] = stand_in_line(&server, "GET /" HOST "Class: 0\r\n\r\n");
	lines[1] = stand_in_line(&server, "GET /" HOST "Class: 1\r\n\r\n");
	conn = http_connect(&server);
	http_say(conn, "GET /" HOST "Class: 1\r\n\r\n");
	end(conn, 503);
	conn = http_connect(&server);
	http_say(conn, GET("/"));
	end(conn, 200);
	conn = http_connect(&server);
	http_say(conn, "GET /" HOST "Class: 9\r\n\r\n");
	end(conn, 500);
	weir__wait_wake(held, 0);
	end(busy, 200);
	end(lines[0], 200);
	end(lines[1], 200);
	finish(&server);
}

static void a_handler_may_give_its_ticket_back_early(void)
{
	struct http_server server;
	struct weir_conn *busy, *conn;

	begin(&server, &one);
	busy = occupy(&server, GET("/early"));
	assert_int_equal(look().inflight, 0);
	conn = http_connect(&server);
	http_say(conn, GET("/"));
	end(conn, 200);
	weir__wait_wake(held, 0);
	end(busy, 200);
	finish(&server);
}

static void what_the_handler_returns_is_the_outcome(void)
{
	static const struct {
		int result, status;
		unsigned limit;		/* after ten */
	} cases[] = { { -ENOENT, 404, 100 }, { -EAGAIN, 503, 90 }, { -ENOBUFS, 503, 81 },
		      { -EIO, 500, 81 } };
	const struct weir_admit_opts opts = {
		.limiter = { .kind = WEIR_LIMITER_AIMD, .limit_initial = 100, .window_ns = 1 },
	};
	struct http_server server;
	struct weir_conn *conn;
	char buf[1024];

	begin(&server, &opts);
	conn = http_connect(&server);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		result = cases[i].result;
		for (int n = 0; n < 10; n++) {
			http_say(conn, GET("/fail"));
			assert_int_equal(http_hear(conn, buf, sizeof(buf), true),
					 cases[i].status);
		}
		assert_int_equal(look().limit, cases[i].limit);
	}
	weir_conn_close(conn);
	finish(&server);
}

static void a_deadline_of_requests_counts_in_line(void)
{
	struct http_server server;
	struct weir_conn *busy, *line;

	begin(&server, &one);
	weir_listener_stop(server.listener);
	assert_int_equal(http_join(&server), 0);
	server.opts.request_ns = 30 * WEIR_MS;
	http_start(&server);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/"));
	end(line, 503);
	assert_int_equal(look().shed[WEIR_SHED_DEADLINE], 1);
	weir__wait_wake(held, 0);
	end(busy, 200);
	finish(&server);
}

static void cancelling_the_server_sheds_the_line(void)
{
	struct http_server server;
	struct weir_conn *busy, *line;

	begin(&server, &one);
	busy = occupy(&server, GET("/hold"));
	line = stand_in_line(&server, GET("/"));
	weir_coro_cancel(server.coro);
	while (look().waiting)
		assert_int_equal(weir_yield(), 0);
	assert_int_equal(look().shed[WEIR_SHED_CANCELLED], 1);
	weir__wait_wake(held, 0);
	assert_int_equal(http_join(&server), -ECANCELED);
	weir_conn_close(busy);
	weir_conn_close(line);
	http_wait_closed();
	assert_int_equal(weir_admit_fini(&admit), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(who_is_shed_gets_503_with_retry_after_and_keeps_his_connection),
		ring_test(retry_after_is_what_the_option_says_or_longer),
		ring_test(health_is_reachable_while_everything_is_full),
		ring_test(who_leaves_while_in_line_gives_up_his_place),
		ring_test(who_leaves_with_requests_behind_is_noticed_too),
		ring_test(who_ends_his_half_before_there_is_a_line_is_answered),
		ring_test(who_leaves_while_handled_gives_the_ticket_back),
		ring_test(classes_are_the_functions_to_say),
		ring_test(a_handler_may_give_its_ticket_back_early),
		ring_test(what_the_handler_returns_is_the_outcome),
		ring_test(a_deadline_of_requests_counts_in_line),
		ring_test(cancelling_the_server_sheds_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
