/* SPDX-License-Identifier: MIT */
/*
 * main.c - the weir command: finds the sub-command and runs it.
 *
 *	main.c		this table
 *	server.c	what the servers have in common: options, start, port file, admin
 *	serve.c hello.c echo.c		the servers
 *	tour.c		the guided tour: a server, its load, and what they measured
 *	overload*.c	a service that is asked for too much
 *	doctor.c	what this host offers
 *	sim.c sim/	services in a simulated world
 */
#include "tools/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/weir_core.h"
#include "ring/weir_run.h"

static const struct command commands[] = {
	{ "tour", "serve real files, load them, and show what was measured (about 20 s)",
	  tour_main },
	{ "overload", "ask a service for more than it can do, with and without admission",
	  overload_main },
	{ "serve", "serve a directory over HTTP", serve_main },
	{ "hello", "answer every GET with a fixed text over HTTP", hello_main },
	{ "echo", "send back whatever arrives over TCP or a Unix socket", echo_main },
	{ "sim", "run services in a simulated world under seeds and faults", sim_main },
	{ "doctor", "what this host offers, and the remedy for what it refuses", doctor_main },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

int usage_error(const char *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "weir %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (weir %s --help shows the options)\n", command);
	return EXIT_USAGE;
}

int check_kernel(const char *command, const char *asked)
{
	struct weir_opts opts = { .kernel = asked };

	if (!weir_opts_resolve(&opts, NULL))
		return EXIT_OK;
	return usage_error(command, "%s takes uring, poll or auto, not '%s'",
			   asked ? "--kernel" : "WEIR_KERNEL",
			   asked ? asked : getenv("WEIR_KERNEL"));
}

static void print_help(FILE *out)
{
	fprintf(out, "usage: weir COMMAND [OPTIONS]\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
	fprintf(out,
		"\nweir COMMAND --help shows a command's options; weir --version the version.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("weir %s\n", weir_version());
		return EXIT_OK;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "weir: there is no command '%s'; weir --help lists them\n", argv[1]);
	return EXIT_USAGE;
}
