/* SPDX-License-Identifier: MIT */
/*
 * http_admit.c - an HTTP service that computes, and stays well when it is asked for too much: what
 * it cannot answer in time it refuses, with 503 and Retry-After; /health is always answered.
 *
 *	http_admit [ADDRESS]	default tcp://127.0.0.1:8080; SIGTERM drains
 *
 * A GET of /batch is of a lower class: it goes after the others, but gets a tenth at least.
 */
#include <stdio.h>
#include <string.h>

#include <weir.h>

#define WORK_NS (2 * WEIR_MS)
#define PATIENCE_NS WEIR_S

enum { USERS, BATCH, CLASSES };

static const struct weir_admit_class classes[CLASSES] = {
	[USERS] = { .name = "users", .priority = 0, .queue_max = 256 },
	[BATCH] = { .name = "batch", .priority = 1, .share_percent = 10, .queue_max = 64 },
};

static const char *const always[] = { "/health", NULL };

static int class_of(struct weir_http_req *req, void *arg)
{
	(void)arg;
	return weir_http_req_is_path(req, "/batch") ? BATCH : USERS;
}

static int answer(struct weir_http_req *req, void *arg)
{
	int64_t end_ns = weir_clock() + WORK_NS;

	(void)arg;
	if (weir_http_req_is_path(req, "/health"))
		return weir_http_reply(req, 200, NULL, "well\n", 5);
	while (weir_clock() < end_ns)	/* it computes */
		;
	return weir_http_reply(req, 200, NULL, "42\n", 3);
}

static int service(void *arg)
{
	struct weir_admit_opts admit_opts = {
		.limiter = { .kind = WEIR_LIMITER_FIXED, .limit_initial = 1 }, /* it never waits */
		.order = WEIR_ADMIT_LIFO,
		.target_ns = 2 * WORK_NS,
		.interval_ns = 20 * WORK_NS,
		.classes = classes,
		.class_count = CLASSES,
	};
	struct weir_admit admit;
	struct weir_http_opts opts = {
		.admit = &admit,
		.admit_class = class_of,
		.admit_always = always,
		.request_ns = PATIENCE_NS,
	};
	int r = weir_admit_init(&admit, &admit_opts);

	if (r)
		return r;
	r = weir_http_serve(arg, &opts, answer, NULL);
	weir_admit_fini(&admit);
	return r;
}

int main(int argc, char **argv)
{
	int r = weir_run(NULL, service, argc > 1 ? argv[1] : "tcp://127.0.0.1:8080");

	if (r < 0)
		fprintf(stderr, "http_admit: %s\n", strerror(-r));
	return r < 0;
}
