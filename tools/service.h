/* SPDX-License-Identifier: MIT */
/*
 * service.h - what the server commands share: options, the start on every core, the port
 * file, dumps, stalls, the admin address, exit codes.
 */
#ifndef WEIR_TOOLS_SERVICE_H
#define WEIR_TOOLS_SERVICE_H

#include <getopt.h>

#include "net/weir_listener.h"
#include "ring/weir_run.h"

#define LISTEN_MAX 16

struct service;

/* One address of a service. */
struct service_address {
	struct service *service;
	const char *text;
	char bound[WEIR_ADDR_TEXT];
};

struct service {
	const char *command;		/* "echo" */
	const char *usage;		/* what --help prints before the common options */
	/* Serves one address on this core until it drains; on_listen must be service_listening. */
	int (*serve)(struct service_address *address);
	/* Takes an option of the command's own; returns false for one that it does not know. */
	bool (*option)(struct service *service, int c, const char *value);
	const struct option *options;	/* of its own, getopt_long, val >= 1000; may be NULL */
	int (*arguments)(struct service *service, int argc,
			 char **argv); /* what is left; NULL: none */
	void *user;

	struct service_address addresses[LISTEN_MAX];
	unsigned address_count;
	const char *port_file;
	struct service_address admin;	/* text NULL: none */
	int64_t idle_ns;
	struct weir_opts run;

	unsigned listening;		/* atomic: listeners that accept, on all cores */
	bool told;			/* atomic: the first error was printed */
};

/* Parses the command line and runs the service. Returns the exit code. */
int service_main(struct service *service, int argc, char **argv);

/* For on_listen: arg is the struct service_address. */
void service_listening(struct weir_listener *listener, void *arg);

/* Prints "weir COMMAND: what: why" once, whichever core comes first. */
void service_error(struct service *service, const char *what, int error);

/* Serves service->admin on this core until it drains. */
int admin_serve(struct service *service);

/* Writes what is in flight and every coroutine of this core to stderr. */
void dump_core(void *arg);

#endif
