/* SPDX-License-Identifier: MIT */
/*
 * hello.c - weir hello: a fixed text on GET, the body given back on POST.
 */
#include "net/weir_http.h"
#include "tools/command.h"
#include "tools/service.h"

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
	static const char text[] = "Hello, World!";

	(void)arg;
	if (weir_http_req_method(req) == WEIR_HTTP_POST)
		return give_back(req);
	return weir_http_reply(req, 200, &plain, text, sizeof(text) - 1);
}

static int serve(struct service_address *address)
{
	struct weir_http_opts opts = {
		.idle_ns = address->service->idle_ns,
		.serve = { .name = "hello", .on_listen = service_listening },
	};

	return weir_http_serve(address->text, &opts, hello, address);
}

int hello_main(int argc, char **argv)
{
	static struct service service = {
		.command = "hello",
		.usage = "hello --listen ADDR [OPTIONS]\n\n"
			 "Answers GET and HEAD with a fixed text and gives back what is posted.\n",
		.serve = serve,
	};

	weir_http_fields_init(&plain, plain_text, sizeof(plain_text));
	weir_http_fields_add(&plain, "Content-Type", "text/plain");
	return service_main(&service, argc, argv);
}
