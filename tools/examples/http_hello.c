/* SPDX-License-Identifier: MIT */
/*
 * http_hello.c - an HTTP service on every core: greets, and gives back what was posted.
 *
 *	http_hello [ADDRESS]	default tcp://127.0.0.1:8080; SIGTERM drains
 */
#include <stdio.h>
#include <string.h>

#include <weir.h>

static char plain_text[64];
static struct weir_http_fields plain;

static int give_back(struct weir_http_req *req)
{
	char buf[4096];
	ssize_t n = weir_http_req_read(req, buf, sizeof(buf));	/* before the answer begins */
	int r;

	if (n < 0)
		return (int)n;
	r = weir_http_reply_start(req, 200, &plain, weir_http_req_body_size(req));
	while (!r && n > 0) {
		r = weir_http_reply_write(req, buf, (size_t)n);
		if (!r)
			n = weir_http_req_read(req, buf, sizeof(buf));
	}
	if (r < 0 || n < 0)
		return r < 0 ? r : (int)n;
	return weir_http_reply_end(req);
}

static int hello(struct weir_http_req *req, void *arg)
{
	(void)arg;
	if (weir_http_req_method(req) == WEIR_HTTP_POST)
		return give_back(req);
	return weir_http_reply(req, 200, &plain, "Hello, World!\n", 14);
}

static int service(void *arg)
{
	return weir_http_serve(arg, NULL, hello, NULL);
}

int main(int argc, char **argv)
{
	int r;

	weir_http_fields_init(&plain, plain_text, sizeof(plain_text));
	weir_http_fields_add(&plain, "Content-Type", "text/plain");
	r = weir_run(NULL, service, argc > 1 ? argv[1] : "tcp://127.0.0.1:8080");
	if (r < 0)
		fprintf(stderr, "http_hello: %s\n", strerror(-r));
	return r < 0;
}
