/* SPDX-License-Identifier: MIT */
/*
 * serve.c - weir serve: a directory over HTTP.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net/weir_http_files.h"
#include "tools/command.h"
#include "tools/service.h"

/* One address on one core. */
struct site {
	struct service_address *address;
	struct weir_http_files *files;
};

static void listening(struct weir_listener *listener, void *arg)
{
	service_listening(listener, ((struct site *)arg)->address);
}

static int answer(struct weir_http_req *req, void *arg)
{
	return weir_http_files(req, ((struct site *)arg)->files);
}

static int serve(struct service_address *address)
{
	struct weir_http_opts opts = {
		.idle_ns = address->service->idle_ns,
		.serve = { .name = "serve", .on_listen = listening },
	};
	struct site site = { .address = address };
	int r = weir_http_files_create(address->service->user, NULL, &site.files);

	if (r < 0) {
		service_error(address->service, address->service->user, r);
		return r;
	}
	r = weir_http_serve(address->text, &opts, answer, &site);
	weir_http_files_destroy(site.files);
	return r;
}

static int take_directory(struct service *service, int argc, char **argv)
{
	int fd;

	if (argc != 1)
		return usage_error("serve", "name one directory to serve, not %d", argc);
	fd = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return usage_error("serve", "%s: %s: name a directory that can be read", argv[0],
				   strerror(errno));
	close(fd);
	service->user = argv[0];
	if (!service->address_count)
		service->addresses[service->address_count++].text = "tcp://127.0.0.1:8080";
	return 0;
}

int serve_main(int argc, char **argv)
{
	static struct service service = {
		.command = "serve",
		.usage =
			"serve [OPTIONS] DIR\n\n"
			"Serves the files below DIR, by default on tcp://127.0.0.1:8080.\n",
		.serve = serve,
		.arguments = take_directory,
	};

	return service_main(&service, argc, argv);
}
