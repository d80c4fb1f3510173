/* SPDX-License-Identifier: MIT */
/*
 * service.c - the common part of the server commands.
 */
#include "tools/service.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/weir_coro.h"
#include "core/weir_credit.h"
#include "core/weir_mesh.h"
#include "futures/weir_scope.h"
#include "futures/weir_stream.h"
#include "ring/weir_ring.h"
#include "tools/command.h"

enum {
	OPT_LISTEN = 256, OPT_CORES, OPT_DEPTH, OPT_MAX_CONNS, OPT_PORT_FILE, OPT_ADMIN, OPT_IDLE,
	OPT_DRAIN, OPT_SPIN, OPT_BUFS, OPT_BUF_SIZE, OPT_STALL, OPT_KERNEL,
	OPT_HELP,
};

static const struct option common[] = {
	{ "listen", 1, NULL, OPT_LISTEN },	 { "cores", 1, NULL, OPT_CORES },
	{ "depth", 1, NULL, OPT_DEPTH },	 { "max-conns", 1, NULL, OPT_MAX_CONNS },
	{ "port-file", 1, NULL, OPT_PORT_FILE }, { "admin", 1, NULL, OPT_ADMIN },
	{ "idle-s", 1, NULL, OPT_IDLE },	 { "drain-s", 1, NULL, OPT_DRAIN },
	{ "spin-us", 1, NULL, OPT_SPIN },	 { "bufs", 1, NULL, OPT_BUFS },
	{ "buf-size", 1, NULL, OPT_BUF_SIZE },	 { "stall-ms", 1, NULL, OPT_STALL },
	{ "kernel", 1, NULL, OPT_KERNEL },	 { "help", 0, NULL, OPT_HELP },
};

#define COMMON_COUNT (sizeof(common) / sizeof(common[0]))

static const char common_help[] =
	"  --listen ADDR      tcp://127.0.0.1:8080, tcp://[::1]:0, unix:/path, unix:@name; may be\n"
	"                     repeated; port 0: any free port\n"
	"  --cores N          workers; default: the CPUs this process may use\n"
	"  --depth N          operations in flight per core, 16 to 32768; default 4096\n"
	"  --max-conns N      connections per core\n"
	"  --port-file FILE   where the bound addresses are written, once every core accepts\n"
	"  --admin ADDR       /metrics, /health, /inflight, /tasks, /tree, /streams by HTTP\n"
	"  --idle-s S         end connections that were idle so long\n"
	"  --drain-s S        grace after SIGTERM before everything is cancelled; default 10\n"
	"  --spin-us N        longest adaptive spin before a worker sleeps; default 50, 0: never\n"
	"  --bufs N           receive buffers per core, a power of two; default 2048\n"
	"  --buf-size BYTES   of each; default 4096\n"
	"  --kernel K         uring, poll (epoll and threads), or auto: poll where the host\n"
	"                     refuses io_uring; default: WEIR_KERNEL of the environment, or auto\n"
	"  --stall-ms N       report tasks that hold their core longer; default 100, 0: never\n"
	"\n"
	"SIGTERM drains and exits with 0, a second one cancels. SIGUSR1 dumps to stderr what is\n"
	"in flight and every coroutine.\n";

/* --- errors --- */

void service_error(struct service *service, const char *what, int error)
{
	const char *remedy = "";

	if (__atomic_exchange_n(&service->told, true, __ATOMIC_ACQ_REL))
		return;
	if (error == -EADDRINUSE)
		remedy = ": choose another port, or stop who listens there";
	else if (error == -EACCES)
		remedy = ": a port below 1024 and some directories need root";
	else if (error == -EADDRNOTAVAIL)
		remedy = ": this machine does not have that address";
	else if (error == -EMFILE)
		remedy = ": raise the limit of open files (ulimit -n)";
	fprintf(stderr, "weir %s: %s: %s%s\n", service->command, what, strerror(-error), remedy);
}

/* Whether the host refuses the kernel interface that was asked for; says why and the remedy. */
static bool kernel_is_refused(const struct service *service)
{
	struct weir_kernel_info info;

	if (weir_kernel_info(service->run.kernel, &info) == 0)
		return false;
	fprintf(stderr,
		"weir %s: this host cannot run it: io_uring: %s; remedy: %s, or --kernel poll (see "
		"weir doctor)\n",
		service->command, info.reason, info.remedy);
	return true;
}

/* Once, when it is not what everybody expects. */
static void tell_kernel(const struct service *service)
{
	struct weir_ring_info info;

	if (!weir_ring_info(&info) && strcmp(info.kernel, "uring") != 0)
		fprintf(stderr, "weir %s: runs on the %s kernel: %s\n", service->command,
			info.kernel, info.kernel_reason);
}

/* --- port file and listening --- */

static int write_port_file(struct service *service)
{
	char temporary[4096];
	FILE *file;
	bool ok;

	if (snprintf(temporary, sizeof(temporary), "%s.%d", service->port_file, (int)getpid()) >=
	    (int)sizeof(temporary))
		return -ENAMETOOLONG;
	file = fopen(temporary, "we");
	if (!file)
		return -errno;
	for (unsigned i = 0; i < service->address_count; i++)
		fprintf(file, "%s\n", service->addresses[i].bound);
	if (service->admin.text)
		fprintf(file, "admin %s\n", service->admin.bound);
	ok = !ferror(file);
	if (fclose(file) || !ok || rename(temporary, service->port_file)) {
		int error = -errno;

		unlink(temporary);
		return error;
	}
	return 0;
}

static unsigned listeners_wanted(const struct service *service)
{
	return service->address_count * service->run.cores + (service->admin.text != NULL);
}

void service_listening(struct weir_listener *listener, void *arg)
{
	struct service_address *address = arg;
	struct service *service = address->service;
	int r;

	if (weir_core() == 0)
		snprintf(address->bound, sizeof(address->bound), "%s",
			 weir_listener_address(listener));
	if (__atomic_add_fetch(&service->listening, 1, __ATOMIC_ACQ_REL) !=
	    listeners_wanted(service))
		return;
	tell_kernel(service);
	if (service->port_file && (r = write_port_file(service)) < 0) {
		service_error(service, service->port_file, r);
		weir_stop();
	}
}

/* --- one core --- */

static int serve_address(void *arg)
{
	struct service_address *address = arg;
	int r = address->service->serve(address);

	if (r < 0 && r != -ECANCELED) {
		service_error(address->service, address->text, r);
		weir_stop();
	}
	return r;
}

static int serve_admin(void *arg)
{
	struct service *service = arg;
	int r = admin_serve(service);

	if (r < 0 && r != -ECANCELED) {
		service_error(service, service->admin.text, r);
		weir_stop();
	}
	return r;
}

static int on_core(void *arg)
{
	struct service *service = arg;
	struct weir_coro_opts admin = { .name = "admin" }, listener = { .name = "listener" };
	struct weir_coro *coros[LISTEN_MAX + 1];
	unsigned count = 0;
	int r = 0, res;

	if (service->admin.text && weir_core() == 0)
		r = weir_coro_spawn(&admin, serve_admin, service, &coros[count++]);
	for (unsigned i = 0; !r && i < service->address_count; i++)
		r = weir_coro_spawn(&listener, serve_address, &service->addresses[i],
				    &coros[count++]);
	if (r)
		count--;
	weir_coro_shield();	/* the coroutines are cancelled themselves */
	while (count) {
		weir_coro_join(coros[--count], WEIR_NEVER, &res);
		if (!r && res != -ECANCELED)
			r = res;
	}
	weir_coro_unshield();
	return r;
}

static void print_stall(const struct weir_stall *stall, void *arg)
{
	const struct service *service = arg;

	fprintf(stderr, "weir %s: core %u: '%s' has held its core for %.0f ms:\n",
		service->command, stall->core, stall->name, (double)stall->held_ns / 1e6);
	backtrace_symbols_fd(stall->frames, stall->frame_count, STDERR_FILENO);
}

/* --- dump --- */

static int dump_op(const struct weir_inflight *op, void *arg)
{
	(void)arg;
	fprintf(stderr, "  op %-14s %s %-6d %-20s %.3f ms%s%s\n", op->opcode,
		op->direct ? "slot" : "fd  ", op->fd, op->name ? op->name : "-",
		(double)op->age_ns / 1e6, op->armed ? " armed" : "",
		op->cancelling ? " cancelling" : "");
	return 0;
}

static int dump_coro(const struct weir_coro_info *coro, void *arg)
{
	(void)arg;
	fprintf(stderr, "  coroutine %-24s %-10s %.3f ms, stack %zu of %zu touched%s\n", coro->name,
		coro->state, (double)(weir_now() - coro->since_ns) / 1e6, coro->stack_used,
		coro->stack_high, coro->cancelled ? ", cancelled" : "");
	return 0;
}

/* Members of scopes once more, below who waits for them. */
static int dump_node(const struct weir_tree_node *node, void *arg)
{
	(void)arg;
	if (node->depth)
		fprintf(stderr, "  %*s%s, %s for %.3f ms, in the scope of %s%s\n",
			(int)(2 * node->depth), "", node->name, node->state,
			(double)(weir_now() - node->since_ns) / 1e6, node->scope,
			node->cancelled ? ", cancelled" : "");
	return 0;
}

static int dump_stage(const char *arena, const struct weir_stage_info *stage, void *arg)
{
	char demand[24] = "passes through";

	(void)arg;
	if (stage->demand == WEIR_UNBOUNDED)
		strcpy(demand, "unbounded");
	else if (stage->demand >= 0)
		snprintf(demand, sizeof(demand), "%lld", (long long)stage->demand);
	fprintf(stderr, "  stream %s: %-16s %-6s demand %s, %llu sent, %u inside, %llu dropped\n",
		arena, stage->name, stage->state, demand, (unsigned long long)stage->items,
		stage->buffered, (unsigned long long)stage->dropped);
	return 0;
}

/* Seconds ago everybody in it began to wait: nobody will go on. */
static void dump_ring(void)
{
	struct weir_credit_ring ring;

	if (weir_credit_ring_find(WEIR_S, &ring))
		return;
	fprintf(stderr, "  a ring of waits:\n");
	for (unsigned i = 0; i < ring.count; i++)
		fprintf(stderr, "    coroutine %-24s waits for %-10s %.3f ms\n", ring.links[i].coro,
			ring.links[i].credit,
			(double)(weir_now() - ring.links[i].since_ns) / 1e6);
}

void dump_core(void *arg)
{
	struct weir_ring_info info;

	(void)arg;
	weir_ring_info(&info);
	fprintf(stderr,
		"weir: core %d: %u of %u slots taken (most ever %u), %u armed, %u parked, %u of %u "
		"buffers lent\n",
		weir_core(), info.inflight, info.depth, info.inflight_high, info.armed, info.parked,
		info.bufs_lent, info.bufs);
	weir_inflight_list(dump_op, NULL);
	weir_coro_list(dump_coro, NULL);
	weir_tree_list(dump_node, NULL);
	weir_stream_list(dump_stage, NULL);
	dump_ring();
}

/* --- command line --- */

static int number(struct service *service, const char *name, const char *text, long min, long max,
		  long *ret_value)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		return usage_error(service->command,
				   "--%s takes a number from %ld to %ld, not '%s'", name, min, max,
				   text);
	*ret_value = value;
	return 0;
}

static int check_address(struct service *service, const char *name, const char *text)
{
	struct weir_addr addr;
	const char *why;

	if (!weir_addr_parse(text, &addr, &why))
		return 0;
	return usage_error(service->command, "--%s %s: %s", name, text, why);
}

static int add_listen(struct service *service, const char *text)
{
	int code = check_address(service, "listen", text);

	if (code)
		return code;
	if (service->address_count == LISTEN_MAX)
		return usage_error(service->command, "--listen: at most %d addresses", LISTEN_MAX);
	service->addresses[service->address_count++].text = text;
	return 0;
}

static int take_common(struct service *service, int c, const char *value)
{
	struct weir_opts *run = &service->run;
	long n = 0;
	int code = 0;

	switch (c) {
	case OPT_LISTEN:
		return add_listen(service, value);
	case OPT_ADMIN:
		service->admin.text = value;
		return check_address(service, "admin", value);
	case OPT_PORT_FILE:
		service->port_file = value;
		return 0;
	case OPT_KERNEL:
		run->kernel = value;
		return 0;
	case OPT_CORES:
		code = number(service, "cores", value, 1, weir_cpus(), &n);
		run->cores = (unsigned)n;
		return code;
	case OPT_DEPTH:
		code = number(service, "depth", value, 16, 32768, &n);
		run->depth = (unsigned)n;
		return code;
	case OPT_MAX_CONNS:
		code = number(service, "max-conns", value, 1, 1 << 20, &n);
		run->conns_max = (unsigned)n;
		return code;
	case OPT_IDLE:
		code = number(service, "idle-s", value, 1, 1 << 30, &n);
		service->idle_ns = n * WEIR_S;
		return code;
	case OPT_DRAIN:
		code = number(service, "drain-s", value, 0, 1 << 30, &n);
		run->drain_ns = n ? n * WEIR_S : 1;
		return code;
	case OPT_SPIN:
		code = number(service, "spin-us", value, 0, 1000000, &n);
		run->spin_ns = n ? n * WEIR_US : -1;
		return code;
	case OPT_BUFS:
		code = number(service, "bufs", value, 8, 32768, &n);
		run->bufs = (unsigned)n;
		return code;
	case OPT_BUF_SIZE:
		code = number(service, "buf-size", value, 64, 1 << 20, &n);
		run->buf_size = (unsigned)n;
		return code;
	default:
		code = number(service, "stall-ms", value, 0, 1 << 30, &n);
		run->stall_ns = n ? n * WEIR_MS : -1;
		return code;
	}
}

static void merge_options(const struct service *service, struct option *all)
{
	unsigned n = 0;

	for (; service->options && service->options[n].name; n++)
		all[n] = service->options[n];
	memcpy(all + n, common, sizeof(common));
	memset(all + n + COMMON_COUNT, 0, sizeof(*all));
}

/* Returns -1 to go on, or the exit code. */
static int parse(struct service *service, int argc, char **argv)
{
	struct option all[64];
	int c, code;

	merge_options(service, all);
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", all, NULL)) != -1) {
		if (c == OPT_HELP) {
			printf("usage: weir %s\n\n%s", service->usage, common_help);
			return EXIT_OK;
		}
		if (c == '?')
			return usage_error(service->command, "there is no option '%s'",
					   argv[optind - 1]);
		if (c == ':')
			return usage_error(service->command, "%s needs a value", argv[optind - 1]);
		if (c >= 1000) {
			if (!service->option(service, c, optarg))
				return EXIT_USAGE;
			continue;
		}
		code = take_common(service, c, optarg);
		if (code)
			return code;
	}
	if (service->arguments) {
		code = service->arguments(service, argc - optind, argv + optind);
		if (code)
			return code;
	} else if (optind < argc) {
		return usage_error(service->command, "it takes no argument, but got '%s'",
				   argv[optind]);
	}
	return -1;
}

static int exit_code(struct service *service, int r)
{
	if (service->told)
		return EXIT_FAILED;
	if (r >= 0)
		return r ? EXIT_FAILED : EXIT_OK;
	if (!service->listening && kernel_is_refused(service))
		return EXIT_HOST;
	service_error(service, "cannot run", r);
	return EXIT_FAILED;
}

int service_main(struct service *service, int argc, char **argv)
{
	const char *why;
	int code = parse(service, argc, argv);
	int r;

	if (code >= 0)
		return code;
	if (!service->address_count)
		return usage_error(service->command, "--listen ADDR is needed");
	for (unsigned i = 0; i < service->address_count; i++)
		service->addresses[i].service = service;
	service->admin.service = service;
	service->run.on_stall = print_stall;
	service->run.on_dump = dump_core;
	service->run.arg = service;
	if (check_kernel(service->command, service->run.kernel))
		return EXIT_USAGE;
	if (weir_opts_resolve(&service->run, &why) < 0)
		return usage_error(service->command, "%s", why);
	r = weir_run(&service->run, on_core, service);
	if (service->port_file && service->listening)
		unlink(service->port_file);
	return exit_code(service, r);
}
