/* SPDX-License-Identifier: MIT */
/*
 * command.h - one sub-command of weir: a row in main.c's table, a file of its own.
 */
#ifndef WEIR_TOOLS_COMMAND_H
#define WEIR_TOOLS_COMMAND_H

/* Exit codes, sysexits(3) for the host's refusal. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_HOST = 78,		/* EX_CONFIG: this host cannot run weir; `weir doctor` says why */
};

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns an exit code */
};

int doctor_main(int argc, char **argv);
int echo_main(int argc, char **argv);
int hello_main(int argc, char **argv);
int overload_main(int argc, char **argv);
int serve_main(int argc, char **argv);
int sim_main(int argc, char **argv);
int tour_main(int argc, char **argv);

/* One line on stderr, "weir NAME: ...", and EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Whether asked, a --kernel, is one; NULL: WEIR_KERNEL. EXIT_OK, or EXIT_USAGE, told. */
int check_kernel(const char *command, const char *asked);

#endif
