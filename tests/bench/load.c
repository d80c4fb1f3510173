/* SPDX-License-Identifier: MIT */
/*
 * load.c - the load generator of the comparisons: one thread, one ring, N connections,
 * echo or HTTP, closed loop or at a fixed rate, every answer checked.
 *
 *	load echo ADDR [--conns N] [--depth D] [--size BYTES] ...
 *	load http ADDR [--conns N] [--depth D] [--path PATH] ...
 *
 * ADDR is tcp://IPv4:PORT. It prints one line of JSON. Latency is measured from the moment a request
 * should have left (at a fixed rate: its place in the schedule), so a server that stalls is
 * charged for all that waited: no coordinated omission (Tene). With --depth D each
 * connection sends D requests at once and waits for all their answers; each is measured.
 *
 * Why not wrk: it measures nothing when requests are pipelined, and its own core is full
 * before a good server's is. What decides is the server's CPU time per request: --pid.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define BUFS 4096
#define BUF_SIZE 4096
#define GROUP 1
#define PATTERN 251		/* period of what an echo client sends */
#define DEPTH_MAX 64
#define PIDS_MAX 8
#define BUCKETS 2048		/* 32 per power of two */

enum kind { RECV, SEND };

struct conn {
	int fd;
	bool busy;
	bool dead;
	uint64_t sent_offset;	/* echo: bytes sent and received since the start, for the pattern */
	uint64_t got_offset;
	unsigned waiting;	/* answers that are still to come */
	unsigned send_left;	/* bytes of the batch that are not sent yet */
	int64_t due;		/* when the batch should have left */
	/* HTTP: where the parser is. */
	char head[1024];
	unsigned head_size;
	uint64_t body_left;
	bool in_body;
};

static struct {
	bool http;
	const char *path;
	struct sockaddr_in addr;
	unsigned conns, depth, size;
	double rate, seconds, warmup, hold;
	int pids[PIDS_MAX];
	unsigned pid_count;
} opt = { .path = "/", .conns = 64, .depth = 1, .size = 64, .seconds = 2, .warmup = 0.5 };

static struct io_uring ring;
static struct io_uring_buf_ring *buf_ring;
static char *bufs;
static struct conn *conns;
static char *request;		/* the batch that is sent */
static unsigned request_size;	/* of the whole batch */
static uint64_t body_size;	/* HTTP: of the first answer; all must be equal */
static bool have_body_size;

static uint64_t buckets[BUCKETS];
static uint64_t done_count, error_count;
static unsigned established, alive;
static int64_t max_ns;
static bool measuring;

/* At a fixed rate: batches are due one after the other. */
static int64_t next_due, interval;
static unsigned *idle_conns, idle_head, idle_count;	/* FIFO: everybody gets his turn */

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "load: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

/* --- histogram: 32 buckets per power of two, 3 % --- */

static unsigned bucket_of(uint64_t ns)
{
	unsigned power = ns < 32 ? 0 : 63 - (unsigned)__builtin_clzll(ns) - 4;
	unsigned index = power * 32 + (unsigned)(ns >> power);

	return index < BUCKETS ? index : BUCKETS - 1;
}

static double percentile_us(double p)
{
	uint64_t wanted = (uint64_t)((double)done_count * p), sum = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		sum += buckets[i];
		if (sum > wanted) {
			unsigned power = i < 64 ? 0 : i / 32 - 1;

			return (double)((uint64_t)(i - power * 32) << power) / 1000;
		}
	}
	return (double)max_ns / 1000;
}

static void record(int64_t ns)
{
	if (!measuring)
		return;
	buckets[bucket_of((uint64_t)ns)]++;
	done_count++;
	if (ns > max_ns)
		max_ns = ns;
}

/* --- the ring --- */

static struct io_uring_sqe *get_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (sqe)
		return sqe;
	io_uring_submit(&ring);
	return io_uring_get_sqe(&ring);
}

static void set_user_data(struct io_uring_sqe *sqe, enum kind kind, const struct conn *conn)
{
	sqe->user_data = (uint64_t)kind << 32 | (uint64_t)(conn - conns);
}

static void arm_recv(struct conn *conn)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	set_user_data(sqe, RECV, conn);
}

static void send_rest(struct conn *conn)
{
	struct io_uring_sqe *sqe = get_sqe();
	const char *from = request + (request_size - conn->send_left);

	if (!opt.http)	/* a batch begins where the pattern of this connection stands */
		from += (conn->sent_offset - (request_size - conn->send_left)) % PATTERN;
	io_uring_prep_send(sqe, conn->fd, from, conn->send_left, MSG_WAITALL | MSG_NOSIGNAL);
	set_user_data(sqe, SEND, conn);
}

static void start_batch(struct conn *conn, int64_t due)
{
	conn->busy = true;
	conn->due = due;
	conn->waiting = opt.depth;
	conn->send_left = request_size;
	send_rest(conn);
}

static void fail(struct conn *conn)
{
	error_count++;
	if (!conn->dead) {
		conn->dead = true;
		alive--;
		shutdown(conn->fd, SHUT_RDWR);
	}
}

static void push_idle(const struct conn *conn)
{
	idle_conns[(idle_head + idle_count++) % opt.conns] = (unsigned)(conn - conns);
}

static struct conn *pop_idle(void)
{
	struct conn *conn = &conns[idle_conns[idle_head]];

	idle_head = (idle_head + 1) % opt.conns;
	idle_count--;
	return conn;
}

/* A batch is answered: the next one, now or when it is due. */
static void batch_done(struct conn *conn)
{
	conn->busy = false;
	if (!interval)
		start_batch(conn, now_ns());
	else
		push_idle(conn);
}

static void one_answer(struct conn *conn, int64_t now)
{
	record(now - conn->due);
	if (!conn->waiting) {
		fail(conn);	/* more answers than requests */
		return;
	}
	if (!--conn->waiting)
		batch_done(conn);
}

/* --- answers --- */

static void got_echo(struct conn *conn, const char *data, unsigned size, int64_t now)
{
	while (size && !conn->dead) {
		unsigned in_message = (unsigned)(conn->got_offset % opt.size);
		unsigned n = opt.size - in_message;

		if (n > size)
			n = size;
		if (memcmp(data, request + conn->got_offset % PATTERN, n)) {
			fail(conn);
			return;
		}
		data += n;
		size -= n;
		conn->got_offset += n;
		if (in_message + n == opt.size)
			one_answer(conn, now);
	}
}

/* Reads the status and the length out of a whole head. */
static bool parse_head(struct conn *conn)
{
	const char *length;

	conn->head[conn->head_size] = '\0';
	if (strncmp(conn->head, "HTTP/1.1 200", 12))
		return false;
	length = strcasestr(conn->head, "\r\nContent-Length:");
	if (!length)
		return false;
	conn->body_left = strtoull(length + 17, NULL, 10);
	if (!have_body_size) {
		have_body_size = true;
		body_size = conn->body_left;
	}
	return conn->body_left == body_size;
}

static void got_http(struct conn *conn, const char *data, unsigned size, int64_t now)
{
	while (size && !conn->dead) {
		unsigned n;

		if (conn->in_body) {
			n = conn->body_left < size ? (unsigned)conn->body_left : size;
			conn->body_left -= n;
		} else {
			const char *end;
			unsigned had = conn->head_size;

			n = sizeof(conn->head) - 1 - had;
			n = n < size ? n : size;
			memcpy(conn->head + had, data, n);
			end = memmem(conn->head, had + n, "\r\n\r\n", 4);
			if (!end) {
				conn->head_size += n;
				if (conn->head_size == sizeof(conn->head) - 1)
					fail(conn);
				data += n;
				size -= n;
				continue;
			}
			conn->head_size = (unsigned)(end + 4 - conn->head);
			n = conn->head_size - had;
			if (!parse_head(conn)) {
				fail(conn);
				return;
			}
			conn->in_body = true;
		}
		data += n;
		size -= n;
		if (!conn->body_left) {
			conn->in_body = false;
			conn->head_size = 0;
			one_answer(conn, now);
		}
	}
}

static unsigned given_back;

static void recv_done(struct conn *conn, const struct io_uring_cqe *cqe, int64_t now)
{
	if (cqe->res > 0) {
		unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		const char *data = bufs + (size_t)id * BUF_SIZE;

		if (!conn->dead) {
			if (opt.http)
				got_http(conn, data, (unsigned)cqe->res, now);
			else
				got_echo(conn, data, (unsigned)cqe->res, now);
		}
		io_uring_buf_ring_add(buf_ring, bufs + (size_t)id * BUF_SIZE, BUF_SIZE,
				      (unsigned short)id, BUFS - 1, (int)given_back++);
	}
	if (cqe->flags & IORING_CQE_F_MORE)
		return;
	if (cqe->res > 0 || cqe->res == -ENOBUFS)
		arm_recv(conn);
	else if (!conn->dead)
		fail(conn);	/* the server ended it */
}

static void send_done(struct conn *conn, int res)
{
	if (res <= 0) {
		fail(conn);
		return;
	}
	conn->send_left -= (unsigned)res;
	conn->sent_offset += (unsigned)res;
	if (conn->send_left)
		send_rest(conn);
}

static void reap(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	int64_t now = now_ns();

	given_back = 0;
	io_uring_for_each_cqe(&ring, head, cqe) {
		struct conn *conn = &conns[(uint32_t)cqe->user_data];

		if (cqe->user_data >> 32 == RECV)
			recv_done(conn, cqe, now);
		else
			send_done(conn, cqe->res);
		count++;
	}
	io_uring_cq_advance(&ring, count);
	if (given_back)
		io_uring_buf_ring_advance(buf_ring, (int)given_back);
}

/* Starts what is due; returns when the next is. */
static int64_t run_schedule(int64_t now)
{
	while (interval && next_due <= now && idle_count) {
		start_batch(pop_idle(), next_due);
		next_due += interval;
	}
	return interval ? next_due : now + 100000000;
}

static void run_until(int64_t end)
{
	for (int64_t now = now_ns(); now < end && alive; now = now_ns()) {
		int64_t until = run_schedule(now);
		struct __kernel_timespec ts;
		struct io_uring_cqe *cqe;

		if (until > end)
			until = end;
		until -= now;
		if (until < 0 || !idle_count)
			until = end - now < 100000000 ? end - now : 100000000;
		ts.tv_sec = until / 1000000000;
		ts.tv_nsec = until % 1000000000;
		io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &ts, NULL);
		reap();
	}
}

/* --- set-up --- */

static void make_ring(void)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN |
						   IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
					  .cq_entries = 32768 };
	int r = io_uring_queue_init_params(4096, &ring, &params);

	if (r < 0)
		die("io_uring: %s", strerror(-r));
	io_uring_register_ring_fd(&ring);
	buf_ring = io_uring_setup_buf_ring(&ring, BUFS, GROUP, 0, &r);
	bufs = malloc((size_t)BUFS * BUF_SIZE);
	if (!buf_ring || !bufs)
		die("no memory for receive buffers");
	for (int i = 0; i < BUFS; i++)
		io_uring_buf_ring_add(buf_ring, bufs + (size_t)i * BUF_SIZE, BUF_SIZE,
				      (unsigned short)i, BUFS - 1, i);
	io_uring_buf_ring_advance(buf_ring, BUFS);
}

static void make_request(void)
{
	if (opt.http) {
		char one[512];
		int n = snprintf(one, sizeof(one), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
				 opt.path);

		request = malloc((size_t)n * opt.depth);
		for (unsigned i = 0; i < opt.depth; i++)
			memcpy(request + (size_t)i * n, one, n);
		request_size = (unsigned)n * opt.depth;
		return;
	}
	request_size = opt.size * opt.depth;
	request = malloc(request_size + PATTERN + opt.size);
	for (unsigned i = 0; i < request_size + PATTERN + opt.size; i++)
		request[i] = (char)(i % PATTERN);
}

static void connect_all(void)
{
	conns = calloc(opt.conns, sizeof(*conns));
	idle_conns = calloc(opt.conns, sizeof(*idle_conns));
	for (unsigned i = 0; i < opt.conns; i++) {
		int one = 1;

		conns[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (conns[i].fd < 0 ||
		    connect(conns[i].fd, (struct sockaddr *)&opt.addr, sizeof(opt.addr)) < 0)
			die("connection %u of %u: %s", i, opt.conns, strerror(errno));
		setsockopt(conns[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		arm_recv(&conns[i]);
		established++;
	}
	alive = established;
}

static double pids_cpu_s(void)
{
	double sum = 0;

	for (unsigned i = 0; i < opt.pid_count; i++) {
		struct timespec ts;
		clockid_t clock;

		if (!clock_getcpuclockid(opt.pids[i], &clock) && !clock_gettime(clock, &ts))
			sum += (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	}
	return sum;
}

static double own_cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Resident bytes that are the process's own. */
static long pids_rss(void)
{
	long sum = 0;

	for (unsigned i = 0; i < opt.pid_count; i++) {
		char path[64], line[128];
		FILE *file;
		long kib;

		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", opt.pids[i]);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "Private_Dirty: %ld", &kib) == 1)
				sum += kib * 1024;
		if (file)
			fclose(file);
	}
	return sum;
}

/* Every connection sends one request, then all are held. */
static void hold(long rss_before)
{
	double cpu;
	int64_t end = now_ns() + 20000000000;

	interval = INT64_MAX / 4;
	next_due = INT64_MAX / 2;
	for (unsigned i = 0; i < opt.conns; i++)
		start_batch(&conns[i], now_ns());
	while (idle_count < alive && now_ns() < end)
		run_until(now_ns() + 10000000);
	usleep(200000);
	cpu = pids_cpu_s();
	usleep((useconds_t)(opt.hold * 1e6));
	cpu = pids_cpu_s() - cpu;
	printf("{\"mode\":\"hold\",\"conns\":%u,\"answered\":%u,\"errors\":%lu,"
	       "\"bytes_per_conn\":%.0f,\"idle_cpu_percent\":%.3f}\n",
	       opt.conns, idle_count, (unsigned long)error_count,
	       (double)(pids_rss() - rss_before) / opt.conns, 100 * cpu / opt.hold);
}

static void measure(void)
{
	double server, client, elapsed;
	int64_t start;

	interval = opt.rate > 0 ? (int64_t)(1e9 * opt.depth / opt.rate) : 0;
	next_due = now_ns();
	for (unsigned i = 0; i < opt.conns; i++) {
		if (interval)
			push_idle(&conns[i]);
		else
			start_batch(&conns[i], now_ns());
	}
	run_until(now_ns() + (int64_t)(opt.warmup * 1e9));
	measuring = true;
	server = pids_cpu_s();
	client = own_cpu_s();
	start = now_ns();
	run_until(start + (int64_t)(opt.seconds * 1e9));
	elapsed = (double)(now_ns() - start) / 1e9;
	server = pids_cpu_s() - server;
	client = own_cpu_s() - client;
	printf("{\"mode\":\"%s\",\"conns\":%u,\"established\":%u,\"alive\":%u,\"depth\":%u,"
	       "\"requests\":%lu,\"errors\":%lu,\"seconds\":%.3f,\"rate\":%.0f,"
	       "\"server_us\":%.4f,\"server_busy\":%.3f,\"client_us\":%.4f,\"client_busy\":%.3f,"
	       "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
	       opt.http ? "http" : "echo", opt.conns, established, alive, opt.depth,
	       (unsigned long)done_count, (unsigned long)error_count, elapsed,
	       (double)done_count / elapsed, server * 1e6 / (double)done_count, server / elapsed,
	       client * 1e6 / (double)done_count, client / elapsed, percentile_us(0.5),
	       percentile_us(0.99), percentile_us(0.999), (double)max_ns / 1000);
}

static void parse_address(const char *text)
{
	char host[64];
	unsigned port;

	if (sscanf(text, "tcp://%63[0-9.]:%u", host, &port) != 2 || port > 65535)
		die("'%s' is not tcp://IPv4:PORT", text);
	opt.addr.sin_family = AF_INET;
	opt.addr.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, host, &opt.addr.sin_addr) != 1)
		die("'%s' is not an IPv4 address", host);
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "conns", 1, NULL, 'c' },   { "depth", 1, NULL, 'd' }, { "size", 1, NULL, 's' },
		{ "path", 1, NULL, 'p' },    { "rate", 1, NULL, 'r' },	{ "seconds", 1, NULL, 't' },
		{ "warm-up", 1, NULL, 'w' }, { "pid", 1, NULL, 'P' },	{ "hold", 1, NULL, 'H' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	if (argc < 3 || (strcmp(argv[1], "echo") && strcmp(argv[1], "http")))
		die("usage: load echo|http tcp://IPv4:PORT [--conns N] [--depth D] [--size BYTES] "
		    "[--path PATH] [--rate PER_SECOND] [--seconds S] [--warm-up S] [--pid PID]... "
		    "[--hold S]");
	opt.http = !strcmp(argv[1], "http");
	parse_address(argv[2]);
	while ((c = getopt_long(argc - 2, argv + 2, "", options, NULL)) != -1) {
		if (c == 'c')
			opt.conns = (unsigned)atoi(optarg);
		else if (c == 'd')
			opt.depth = (unsigned)atoi(optarg);
		else if (c == 's')
			opt.size = (unsigned)atoi(optarg);
		else if (c == 'p')
			opt.path = optarg;
		else if (c == 'r')
			opt.rate = atof(optarg);
		else if (c == 't')
			opt.seconds = atof(optarg);
		else if (c == 'w')
			opt.warmup = atof(optarg);
		else if (c == 'H')
			opt.hold = atof(optarg);
		else if (c == 'P' && opt.pid_count < PIDS_MAX)
			opt.pids[opt.pid_count++] = atoi(optarg);
		else
			exit(2);
	}
	if (!opt.conns || !opt.depth || opt.depth > DEPTH_MAX || !opt.size || opt.size > 65536)
		die("conns from 1, depth 1 to %d, size 1 to 65536", DEPTH_MAX);
}

int main(int argc, char **argv)
{
	long rss_before;

	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	make_ring();
	make_request();
	rss_before = pids_rss();
	connect_all();
	if (opt.hold > 0)
		hold(rss_before);
	else
		measure();
	return error_count || (!opt.hold && !done_count);
}
