/* SPDX-License-Identifier: MIT */
/*
 * tour_load.c - the tour's load: coroutines with a connection each ask for random files
 * and compare every byte of the answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/weir_coro.h"
#include "net/weir_listener.h"
#include "ring/weir_run.h"
#include "tools/tour.h"

#define HEAD_MAX 1024

/* One connection's input: what was received and not consumed yet. */
struct client {
	struct weir_conn *conn;
	char *buf;
	size_t start, end, size;
};

static struct tour_load *load;
static bool measuring, over;

/* Bytes [start, end) end with a whole head: its size, 0 when more is needed. */
static size_t head_size(const struct client *client)
{
	const char *from = client->buf + client->start;
	const char *end = memmem(from, client->end - client->start, "\r\n\r\n", 4);

	return end ? (size_t)(end - from) + 4 : 0;
}

static int receive(struct client *client)
{
	ssize_t n;

	if (client->start) {
		memmove(client->buf, client->buf + client->start, client->end - client->start);
		client->end -= client->start;
		client->start = 0;
	}
	if (client->end == client->size)
		return -EMSGSIZE;
	n = weir_conn_read(client->conn, client->buf + client->end, client->size - client->end);
	if (n <= 0)
		return n ? (int)n : -EPIPE;
	client->end += (size_t)n;
	client->buf[client->end] = '\0';	/* numbers in it are read as text */
	return 0;
}

/* Reads a head; returns the length of the body that follows, or -errno. */
static int64_t read_head(struct client *client)
{
	const char *head, *length;
	size_t size;
	int64_t body;

	while (!(size = head_size(client))) {
		int r = receive(client);

		if (r < 0)
			return r;
	}
	head = client->buf + client->start;
	length = memmem(head, size, "\r\nContent-Length: ", 18);
	if (strncmp(head, "HTTP/1.1 200 ", 13) || !length)
		return -EPROTO;
	body = strtoll(length + 18, NULL, 10);
	client->start += size;
	return body;
}

static int read_body(struct client *client, const struct tour_file *file)
{
	uint32_t done = 0;

	while (done < file->size) {
		size_t n = client->end - client->start;
		int r;

		if (!n) {
			r = receive(client);
			if (r < 0)
				return r;
			continue;
		}
		n = n < file->size - done ? n : file->size - done;
		if (memcmp(client->buf + client->start, file->content + done, n))
			return -EPROTO;
		client->start += n;
		done += (uint32_t)n;
	}
	return 0;
}

static int request(struct client *client, const struct tour_file *file)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: tour\r\n\r\n", file->name);
	int r = weir_conn_write_all(client->conn, text, (size_t)n);
	int64_t size;

	if (r < 0)
		return r;
	size = read_head(client);
	if (size < 0)
		return (int)size;
	return size == file->size ? read_body(client, file) : -EPROTO;
}

static int run_client(void *arg)
{
	struct client client = { .size = 64 << 10 };
	int r = weir_connect(load->address, NULL, &client.conn);

	(void)arg;
	client.buf = malloc(client.size + 1);
	if (!client.buf && !r)
		r = -ENOMEM;
	while (!r && !over) {
		const struct tour_file *file = &load->files[weir_random() % TOUR_FILES];
		int64_t start = weir_clock();

		r = request(&client, file);
		if (measuring && !r) {
			weir_histogram_observe(load->latency, (uint64_t)(weir_clock() - start));
			load->requests++;
			load->bytes += file->size;
		}
	}
	load->errors += r < 0;
	if (client.conn)
		weir_conn_close(client.conn);
	free(client.buf);
	return r;
}

/* Shows the rate while it waits. */
static void watch(int64_t end_ns)
{
	uint64_t before = load->requests;

	while (weir_now() < end_ns && !weir_coro_is_cancelled()) {
		int64_t left = end_ns - weir_now();

		if (left < WEIR_S / 2) {
			weir_sleep(left);
			return;
		}
		weir_sleep(WEIR_S / 2);
		load->progress((double)(end_ns - weir_now()) / 1e9,
			       (double)(load->requests - before) * 2);
		before = load->requests;
	}
}

static int service(void *arg)
{
	const struct weir_coro_opts opts = { .name = "client" };
	struct weir_coro **clients = calloc(load->conns, sizeof(*clients));
	unsigned count = 0;
	int64_t start;
	int r = clients ? 0 : -ENOMEM;

	(void)arg;
	while (!r && count < load->conns) {
		r = weir_coro_spawn(&opts, run_client, NULL, &clients[count]);
		count += !r;
	}
	if (!r) {
		weir_sleep(load->warmup_ns);
		load->begin(load->arg);
		measuring = true;
		start = weir_clock();
		watch(weir_in(load->run_ns));
		measuring = false;
		load->seconds = (double)(weir_clock() - start) / 1e9;
	}
	over = true;
	while (count)
		weir_coro_join(clients[--count], WEIR_NEVER, NULL);
	free(clients);
	return r;
}

int tour_load(struct tour_load *l)
{
	struct weir_opts opts = { .cores = 1, .no_pin = true };

	int r = weir_histogram_create(&l->latency);

	load = l;
	return r < 0 ? r : weir_run(&opts, service, NULL);
}

int tour_get(const char *address, const char *path, char **ret_body)
{
	struct weir_conn *conn;
	size_t size = 0, room = 1 << 20;
	char *buf = malloc(room + 1), *body;
	char text[256];
	ssize_t n;
	int r = buf ? weir_connect(address, NULL, &conn) : -ENOMEM;

	if (r < 0) {
		free(buf);
		return r;
	}
	snprintf(text, sizeof(text), "GET %s HTTP/1.0\r\n\r\n", path);
	r = weir_conn_write_all(conn, text, strlen(text));
	while (!r && size < room && (n = weir_conn_read(conn, buf + size, room - size)) != 0) {
		if (n < 0)
			r = (int)n;
		else
			size += (size_t)n;
	}
	weir_conn_close(conn);
	buf[size] = '\0';
	body = strstr(buf, "\r\n\r\n");
	if (!r && !body)
		r = -EPROTO;
	if (r < 0) {
		free(buf);
		return r;
	}
	memmove(buf, body + 4, strlen(body + 4) + 1);
	*ret_body = buf;
	return 0;
}
