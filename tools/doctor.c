/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - weir doctor: every flag, operation, limit and policy that matters to weir
 * on this host, found by trying, with the exact remedy for each refusal.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ring/weir_probe.h"
#include "ring/weir_run.h"
#include "tools/command.h"

static const char *const kinds[] = { "host", "limit", "setup", "feature", "opcode" };
static const char *const states[] = { "ok", "missing", "REFUSED" };

struct report {
	int last_kind;
	unsigned missing;
	bool first;		/* JSON: no comma yet */
};

static int print_text(const struct weir_probe_item *item, void *arg)
{
	struct report *report = arg;

	if ((int)item->kind != report->last_kind)
		printf("%s%s\n", report->last_kind < 0 ? "" : "\n", kinds[item->kind]);
	report->last_kind = (int)item->kind;
	report->missing += item->state == WEIR_PROBE_MISSING;
	printf("  %-7s %-26s %-24s %s\n", states[item->state], item->name, item->value,
	       item->since[0] ? item->since : "");
	if (item->remedy[0])
		printf("          remedy: %s\n", item->remedy);
	return 0;
}

/* Our own strings and the kernel's release: quotes and backslashes are all that can need it. */
static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar((unsigned char)*text < 0x20 ? ' ' : *text);
	}
	putchar('"');
}

static void print_json_field(const char *name, const char *value)
{
	printf(",\"%s\":", name);
	print_json_string(value);
}

static int print_json(const struct weir_probe_item *item, void *arg)
{
	struct report *report = arg;

	printf("%s\n  {\"kind\":\"%s\"", report->first ? "" : ",", kinds[item->kind]);
	report->first = false;
	print_json_field("name", item->name);
	print_json_field("state", states[item->state]);
	print_json_field("value", item->value);
	print_json_field("since", item->since);
	print_json_field("remedy", item->remedy);
	putchar('}');
	return 0;
}

static void print_verdict(const struct report *report, const char *kernel, int r)
{
	struct weir_kernel_info info;

	if (weir_kernel_info(kernel, &info) < 0) {
		printf("\nweir cannot run here with --kernel %s: %s.\n", kernel ? kernel : "auto",
		       info.reason);
		return;
	}
	printf("\nweir runs here on the %s kernel: %s.\n", info.name, info.reason);
	if (r < 0)
		printf("See REFUSED above for what would allow io_uring.\n");
	else if (report->missing)
		printf("%u item%s missing would make it faster or larger.\n", report->missing,
		       report->missing == 1 ? "" : "s");
}

static void print_json_end(const char *kernel, int r)
{
	struct weir_kernel_info info;
	bool usable = weir_kernel_info(kernel, &info) == 0;

	printf("\n],\"usable\":%s,\"io_uring\":%s", usable ? "true" : "false",
	       r < 0 ? "false" : "true");
	print_json_field("kernel", info.name);
	print_json_field("reason", info.reason);
	printf("}\n");
}

int doctor_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct report report = { .last_kind = -1, .first = true };
	struct weir_kernel_info info;
	const char *kernel = NULL;
	bool json = false;
	int c, r;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			printf("usage: weir doctor [--json] [--kernel uring|poll|auto]\n\n"
			       "Tries everything weir uses on this host.\n"
			       "Exit code 0: weir can run here on that kernel interface; 78: it "
			       "cannot.\n");
			return EXIT_OK;
		}
		if (c == 'k') {
			kernel = optarg;
			continue;
		}
		if (c != 'j')
			return usage_error("doctor", "unknown option '%s'", argv[optind - 1]);
		json = true;
	}
	if (optind < argc)
		return usage_error("doctor", "it takes no argument, but got '%s'", argv[optind]);
	if (check_kernel("doctor", kernel))
		return EXIT_USAGE;
	if (json)
		printf("{\"items\":[");
	r = weir_probe(json ? print_json : print_text, &report);
	if (json)
		print_json_end(kernel, r);
	else
		print_verdict(&report, kernel, r);
	return weir_kernel_info(kernel, &info) < 0 ? EXIT_HOST : EXIT_OK;
}
