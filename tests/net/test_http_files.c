/* SPDX-License-Identifier: MIT */
/*
 * test_http_files.c - static files: paths, conditions, ranges, the cache and its bound,
 * files that change.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/http_files.h"
#include "tests/net/http_fixture.h"

static char root[] = "/tmp/weir-files-XXXXXX";
static struct weir_http_files *files;
static char answer[4 << 20];

static int serve_files(struct weir_http_req *req, void *arg)
{
	(void)arg;
	return weir_http_files(req, files);
}

static struct http_server server = { .handler = serve_files };

/* --- a tree --- */

static const char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static void write_file(const char *name, const char *data, size_t size)
{
	int fd = open(path_of(name), O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static void replace_file(const char *from, const char *to)
{
	char path[4096];

	strcpy(path, path_of(from));
	assert_int_equal(rename(path, path_of(to)), 0);
}

static void set_time(const char *name, time_t seconds)
{
	struct timespec times[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };

	assert_int_equal(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

static int make_tree(void **state)
{
	static char large[3 << 20];

	(void)state;
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)('a' + i % 26);
	mkdir(path_of("sub"), 0755);
	mkdir(path_of("no index"), 0755);
	mkdir(path_of(".well-known"), 0755);
	mkdir(path_of(".git"), 0755);
	write_file("index.html", "<p>root", 7);
	write_file("sub/index.html", "<p>sub", 6);
	write_file("sub/a.txt", "text", 4);
	write_file("a b%.txt", "odd", 3);
	write_file("empty.css", "", 0);
	write_file("no_extension", "?", 1);
	write_file(".hidden", "secret", 6);
	write_file(".git/config", "secret", 6);
	write_file(".well-known/x", "known", 5);
	write_file("page", large, 3000);
	write_file("mid.bin", large, 100 << 10);
	write_file("large.bin", large, sizeof(large));
	write_file("digits", "0123456789", 10);
	set_time("digits", 784111777);
	if (symlink("/etc/passwd", path_of("outside")) || symlink("digits", path_of("inside")))
		return -1;
	return mkfifo(path_of("fifo"), 0644);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int remove_tree(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- a server of it --- */

static void begin(const struct weir_http_files_opts *opts)
{
	assert_int_equal(weir_http_files_create(root, opts, &files), 0);
	http_start(&server);
}

static void end(void)
{
	assert_int_equal(http_stop(&server), 0);
	weir_http_files_destroy(files);
	assert_int_equal(http_net()->refs.in_use, 0);
}

/* Returns the status; the whole answer is in answer. */
static int ask_with(const char *method, const char *target, const char *headers)
{
	size_t before = http_net()->conns.in_use;
	struct weir_conn *conn = http_connect(&server);
	static char request[8192];

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target,
		 headers);
	http_say(conn, request);
	weir_conn_shutdown(conn);
	http_hear_all(conn, answer, sizeof(answer));
	weir_conn_close(conn);
	while (http_net()->conns.in_use > before)
		assert_int_equal(weir_yield(), 0);
	return strlen(answer) > 12 ? atoi(answer + 9) : 0;
}

static int ask(const char *target)
{
	return ask_with("GET", target, "");
}

static const char *body(void)
{
	const char *end_of_head = strstr(answer, "\r\n\r\n");

	return end_of_head ? end_of_head + 4 : "no head";
}

/* The value of a header of the answer; "" without. */
static const char *header(const char *name)
{
	static char value[256];
	char line[64], *at, *end_of_line;

	value[0] = '\0';
	snprintf(line, sizeof(line), "\r\n%s: ", name);
	at = strstr(answer, line);
	if (at && at < body()) {
		at += strlen(line);
		end_of_line = strstr(at, "\r\n");
		snprintf(value, sizeof(value), "%.*s", (int)(end_of_line - at), at);
	}
	return value;
}

static struct weir_http_files_info info(void)
{
	struct weir_http_files_info info;

	weir_http_files_info(files, &info);
	return info;
}

/* --- files and paths --- */

static void files_are_served_with_type_length_and_version(void)
{
	begin(NULL);
	for (int i = 0; i < 2; i++) {	/* from disk, then from memory */
		assert_int_equal(ask("/sub/a.txt"), 200);
		assert_string_equal(body(), "text");
		assert_string_equal(header("Content-Type"), "text/plain; charset=utf-8");
		assert_string_equal(header("Content-Length"), "4");
		assert_int_equal(ask("/digits"), 200);
		assert_string_equal(body(), "0123456789");
		assert_string_equal(header("Content-Type"), "application/octet-stream");
		assert_string_equal(header("Last-Modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
		assert_int_equal(header("ETag")[0], '"');
		assert_int_equal(ask("/empty.css"), 200);
		assert_string_equal(header("Content-Length"), "0");
		assert_string_equal(header("Content-Type"), "text/css; charset=utf-8");
		assert_string_equal(body(), "");
		assert_int_equal(ask_with("HEAD", "/sub/a.txt", ""), 200);
		assert_string_equal(header("Content-Length"), "4");
		assert_string_equal(body(), "");
		assert_int_equal(ask_with("HEAD", "/large.bin", ""), 200);
		assert_string_equal(header("Content-Length"), "3145728");
		assert_string_equal(body(), "");
	}
	assert_int_equal(info().loads, 2);
	end();
}

static void large_files_arrive_whole(void)
{
	const char *got;

	begin(NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask("/mid.bin"), 200);
		assert_int_equal(strlen(body()), 100 << 10);
		assert_int_equal(ask("/large.bin"), 200);
		got = body();
		assert_int_equal(strlen(got), 3 << 20);
		for (size_t at = 0; at < 3 << 20; at++)
			if (got[at] != (char)('a' + at % 26))
				fail();
	}
	assert_int_equal(info().loads, 1);
	assert_int_equal(info().used, 100 << 10);
	assert_int_equal(info().streams, 0);
	end();
}

static void paths_mean_what_they_say(void)
{
	static const struct {
		const char *target;
		int status;
		const char *body;
	} cases[] = {
		{ "/", 200, "<p>root" },
		{ "/?query", 200, "<p>root" },
		{ "/index.html", 200, "<p>root" },
		{ "/sub/", 200, "<p>sub" },
		{ "/sub/../index.html", 200, "<p>root" },
		{ "/sub/..", 200, "<p>root" },
		{ "/./sub/./a.txt", 200, "text" },
		{ "//sub///a.txt", 200, "text" },
		{ "/%73ub/%61.txt", 200, "text" },
		{ "/sub/%2e%2e/index.html", 200, "<p>root" },
		{ "/a%20b%25.txt", 200, "odd" },
		{ "/sub/.", 200, "<p>sub" },
		{ "/..", 400, NULL },
		{ "/../etc/passwd", 400, NULL },
		{ "/sub/../../etc/passwd", 400, NULL },
		{ "/%2e%2e/etc/passwd", 400, NULL },
		{ "/%2e%2e%2fetc%2fpasswd", 400, NULL },
		{ "/sub%2fa.txt", 400, NULL },
		{ "/index.html%00.txt", 400, NULL },
		{ "/%0aindex.html", 400, NULL },
		{ "/%", 400, NULL },
		{ "/%4", 400, NULL },
		{ "/%4g", 400, NULL },
		{ "/%252e%252e/etc/passwd", 404, NULL },
		{ "/nothing", 404, NULL },
		{ "/index.html/", 404, NULL },
		{ "/index.html/x", 404, NULL },
		{ "/no%20index/", 404, NULL },
		{ "/.hidden", 404, NULL },
		{ "/.git/config", 404, NULL },
		{ "/sub/.well-known/x", 404, NULL },
		{ "/.well-known/x", 200, "known" },
		{ "/outside", 404, NULL },
		{ "/inside", 404, NULL },
		{ "/fifo", 403, NULL },
		{ "/%ff", 404, NULL },
	};

	begin(NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = ask(cases[i].target);

		if (status != cases[i].status)
			fail_msg("%s: %d and not %d", cases[i].target, status, cases[i].status);
		if (cases[i].body)
			assert_string_equal(body(), cases[i].body);
	}
	end();
}

static void a_path_that_is_too_long_does_not_exist(void)
{
	static char target[6000];

	begin(NULL);
	memset(target, 'a', sizeof(target) - 1);
	target[0] = '/';
	target[300] = '\0';
	assert_int_equal(ask(target), 404);
	target[300] = 'a';
	assert_int_equal(ask(target), 404);
	end();
}

static void a_directory_without_its_slash_is_redirected(void)
{
	begin(NULL);
	assert_int_equal(ask("/sub"), 301);
	assert_string_equal(header("Location"), "/sub/");
	assert_int_equal(ask("/sub?x=y"), 301);
	assert_string_equal(header("Location"), "/sub/?x=y");
	assert_int_equal(ask("/no%20index"), 301);
	assert_string_equal(header("Location"), "/no%20index/");
	/* "//host" in a Location would be another host. */
	assert_int_equal(ask("//sub"), 301);
	assert_string_equal(header("Location"), "/sub/");
	end();
}

static void other_methods_are_not_allowed(void)
{
	begin(NULL);
	assert_int_equal(ask_with("POST", "/digits", ""), 405);
	assert_string_equal(header("Allow"), "GET, HEAD");
	assert_int_equal(ask_with("DELETE", "/digits", ""), 405);
	assert_int_equal(ask_with("OPTIONS", "*", ""), 405);
	assert_int_equal(access(path_of("digits"), F_OK), 0);
	end();
}

static void dotfiles_and_links_are_served_when_asked_for(void)
{
	const struct weir_http_files_opts opts = { .dotfiles = true, .symlinks = true,
						   .index = "a.txt",
						   .cache_control = "max-age=60" };

	begin(&opts);
	assert_int_equal(ask("/.hidden"), 200);
	assert_int_equal(ask("/inside"), 200);
	assert_string_equal(body(), "0123456789");
	assert_int_equal(ask("/outside"), 404);
	assert_int_equal(ask("/sub/"), 200);
	assert_string_equal(body(), "text");
	assert_string_equal(header("Cache-Control"), "max-age=60");
	end();
}

/* --- conditions and ranges --- */

/* Copies text to headers, tag for each '$' in it. */
static void with_tag(const char *text, const char *tag, char *headers)
{
	for (; *text; text++) {
		if (*text == '$')
			headers = stpcpy(headers, tag);
		else
			*headers++ = *text;
	}
	*headers = '\0';
}

static void conditions_are_evaluated_in_their_order(void)
{
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define OLDER "Sun, 06 Nov 1994 08:49:36 GMT"
	static const struct {
		const char *headers;	/* $: the tag */
		int status;
	} cases[] = {
		{ "If-None-Match: $\r\n", 304 },
		{ "If-None-Match: W/$\r\n", 304 },
		{ "If-None-Match: \"x\", $\r\n", 304 },
		{ "If-None-Match: \"x,y\",$\r\n", 304 },
		{ "If-None-Match: *\r\n", 304 },
		{ "If-None-Match: \"x\"\r\n", 200 },
		{ "If-None-Match: x\r\n", 200 },
		{ "If-None-Match: \"x\r\n", 200 },
		{ "If-Modified-Since: " SAME "\r\n", 304 },
		{ "If-Modified-Since: " OLDER "\r\n", 200 },
		{ "If-Modified-Since: yesterday\r\n", 200 },
		/* A tag decides, whatever the date says. */
		{ "If-None-Match: \"x\"\r\nIf-Modified-Since: " SAME "\r\n", 200 },
		{ "If-Modified-Since: " OLDER "\r\nIf-None-Match: $\r\n", 304 },
		{ "If-Match: $\r\n", 200 },
		{ "If-Match: *\r\n", 200 },
		{ "If-Match: \"x\"\r\n", 412 },
		{ "If-Match: W/$\r\n", 412 },
		{ "If-Unmodified-Since: " SAME "\r\n", 200 },
		{ "If-Unmodified-Since: " OLDER "\r\n", 412 },
		{ "If-Unmodified-Since: tomorrow\r\n", 200 },
		{ "If-Match: $\r\nIf-Unmodified-Since: " OLDER "\r\n", 200 },
		{ "If-Match: \"x\"\r\nIf-None-Match: $\r\n", 412 },
	};
	char tag[128], headers[512];

	begin(NULL);
	assert_int_equal(ask("/digits"), 200);
	strcpy(tag, header("ETag"));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status;

		with_tag(cases[i].headers, tag, headers);
		status = ask_with("GET", "/digits", headers);
		if (status != cases[i].status)
			fail_msg("%s: %d and not %d", headers, status, cases[i].status);
		if (status == 304) {
			assert_string_equal(header("ETag"), tag);
			assert_string_equal(body(), "");
			assert_string_equal(header("Content-Length"), "");
		}
	}
	end();
}

static void a_single_range_is_served(void)
{
	static const struct {
		const char *headers;
		int status;
		const char *range, *body;
	} cases[] = {
		{ "Range: bytes=0-0\r\n", 206, "bytes 0-0/10", "0" },
		{ "Range: bytes=2-4\r\n", 206, "bytes 2-4/10", "234" },
		{ "Range: bytes=7-\r\n", 206, "bytes 7-9/10", "789" },
		{ "Range: bytes=-3\r\n", 206, "bytes 7-9/10", "789" },
		{ "Range: bytes=-30\r\n", 206, "bytes 0-9/10", "0123456789" },
		{ "Range: bytes=8-99\r\n", 206, "bytes 8-9/10", "89" },
		{ "Range: bytes=10-\r\n", 416, "bytes */10", "" },
		{ "Range: bytes=10-5\r\n", 416, "bytes */10", "" },
		{ "Range: bytes=-0\r\n", 416, "bytes */10", "" },
		{ "Range: bytes=5-4\r\n", 200, "", "0123456789" },
		{ "Range: bytes=0-1,3-4\r\n", 200, "", "0123456789" },
		{ "Range: bytes=\r\n", 200, "", "0123456789" },
		{ "Range: bytes=-\r\n", 200, "", "0123456789" },
		{ "Range: bytes=a-b\r\n", 200, "", "0123456789" },
		{ "Range: lines=1-2\r\n", 200, "", "0123456789" },
		{ "Range: bytes=0-18446744073709551616\r\n", 200, "", "0123456789" },
		{ "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n", 200, "", "0123456789" },
		{ "Range: bytes=0-1\r\nIf-Range: " OLDER "\r\n", 200, "", "0123456789" },
		{ "Range: bytes=0-1\r\nIf-Range: " SAME "\r\n", 206, "bytes 0-1/10", "01" },
	};

	begin(NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = ask_with("GET", "/digits", cases[i].headers);

		if (status != cases[i].status)
			fail_msg("%s: %d and not %d", cases[i].headers, status, cases[i].status);
		assert_string_equal(header("Content-Range"), cases[i].range);
		assert_string_equal(body(), cases[i].body);
	}
	/* From disk. */
	assert_int_equal(ask_with("GET", "/large.bin", "Range: bytes=3000000-3000003\r\n"), 206);
	assert_string_equal(header("Content-Length"), "4");
	assert_memory_equal(body(), "qrst", 4);
	assert_int_equal(ask_with("GET", "/empty.css", "Range: bytes=0-\r\n"), 416);
	/* Of HEAD a range means nothing. */
	assert_int_equal(ask_with("HEAD", "/digits", "Range: bytes=0-0\r\n"), 200);
	end();
}

/* --- the cache --- */

static void a_changed_file_is_noticed_in_time(void)
{
	const struct weir_http_files_opts opts = { .fresh_ns = 20 * WEIR_MS };
	int64_t begun;

	begin(&opts);
	write_file("changing", "one", 3);
	assert_int_equal(ask("/changing"), 200);
	assert_string_equal(body(), "one");
	/* Replaced by rename, as a deployment does; then in place; then gone. */
	write_file("new", "two", 3);
	replace_file("new", "changing");
	begun = weir_now();
	while (ask("/changing") == 200 && strcmp(body(), "two"))
		assert_true(weir_now() - begun < 5 * WEIR_S);
	write_file("changing", "three", 5);
	begun = weir_now();
	while (ask("/changing") == 200 && strcmp(body(), "three"))
		assert_true(weir_now() - begun < 5 * WEIR_S);
	unlink(path_of("changing"));
	begun = weir_now();
	while (ask("/changing") != 404)
		assert_true(weir_now() - begun < 5 * WEIR_S);
	end();
}

static void a_fresh_entry_asks_the_file_system_nothing(void)
{
	begin(NULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(ask("/digits"), 200);
	assert_int_equal(info().loads, 1);
	assert_true(info().hits >= 98);
	assert_true(info().checks <= 1);
	end();
}

static void the_cache_holds_its_bound(void)
{
	const struct weir_http_files_opts opts = { .cache_size = 250 << 10, .entries_max = 8 };
	static char data[100 << 10];
	char name[32];

	begin(&opts);
	memset(data, 'x', sizeof(data));
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		write_file(name, data, sizeof(data));
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 12; i++) {
			snprintf(name, sizeof(name), "/many%d", i);
			assert_int_equal(ask(name), 200);
			assert_int_equal(strlen(body()), sizeof(data));
			assert_true(info().used <= 250 << 10);
			assert_true(info().entries <= 8);
		}
	/* What is used most recently stays. */
	assert_int_equal(info().used, 200 << 10);
	end();
}

static void what_the_cache_cannot_hold_is_read_each_time(void)
{
	const struct weir_http_files_opts opts = { .cache_size = 1 };

	begin(&opts);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask("/mid.bin"), 200);
		assert_int_equal(strlen(body()), 100 << 10);
	}
	assert_int_equal(info().loads, 0);
	end();
}

static void a_cold_file_is_read_once_however_many_ask(void)
{
	static const char request[] = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
	struct weir_conn *conns[20];
	char buf[4096];

	begin(NULL);
	for (int i = 0; i < 20; i++)
		conns[i] = http_connect(&server);
	http_wait_accepted(40);
	for (int i = 0; i < 20; i++)
		assert_int_equal(weir_conn_write_all(conns[i], request, strlen(request)), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(http_hear(conns[i], buf, sizeof(buf), true), 200);
		weir_conn_close(conns[i]);
	}
	assert_int_equal(info().loads, 1);
	end();
}

/* nginx with tcp_nopush waits for acknowledgements between pipelined files. */
static void pipelined_files_do_not_stall(void)
{
	struct weir_conn *conn;
	char all[16 * 40] = "";
	int64_t begun;

	begin(NULL);
	for (int i = 0; i < 16; i++)
		strcat(all, i % 2 ? "GET /mid.bin HTTP/1.1\r\nHost: a\r\n\r\n" :
				    "GET /digits HTTP/1.1\r\nHost: a\r\n\r\n");
	conn = http_connect(&server);
	begun = weir_now();
	for (int round = 0; round < 10; round++) {
		http_say(conn, all);
		for (int i = 0; i < 16; i++)
			assert_int_equal(http_hear(conn, answer, sizeof(answer), true), 200);
	}
	/* A single delayed acknowledgement would be 40 ms. */
	assert_true(weir_now() - begun < 10 * 40 * WEIR_MS);
	weir_conn_close(conn);
	end();
}

/* --- files that change while they are sent --- */

/* Has the head and the first bytes of large.bin, and the server waits for room. */
static struct weir_conn *begin_large(const char *name)
{
	struct weir_conn *conn = http_connect(&server);
	char request[64], c;

	snprintf(request, sizeof(request), "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", name);
	http_say(conn, request);
	assert_int_equal(weir_conn_read_exact(conn, &c, 1), 1);
	weir_conn_pause(conn);
	return conn;
}

static void a_file_that_changes_while_it_is_sent_is_cut(const char *what)
{
	static char data[24 << 20];
	struct weir_conn *conn;
	ssize_t n;
	size_t got = 1;

	begin(NULL);
	write_file("victim", data, sizeof(data));
	conn = begin_large("victim");
	while (info().streams != 1)
		assert_int_equal(weir_yield(), 0);
	if (!strcmp(what, "truncated"))
		assert_int_equal(truncate(path_of("victim"), 1000), 0);
	else
		write_file("victim", what, strlen(what));
	weir_conn_resume(conn);
	while ((n = weir_conn_read(conn, answer, sizeof(answer))) > 0)
		got += (size_t)n;
	assert_true(got < sizeof(data));
	weir_conn_close(conn);
	end();
}

static void a_file_that_shrinks_while_it_is_sent_is_cut(void)
{
	a_file_that_changes_while_it_is_sent_is_cut("truncated");
}

static void a_file_that_is_rewritten_while_it_is_sent_is_cut(void)
{
	a_file_that_changes_while_it_is_sent_is_cut("other content");
}

/* The open file is the old one, whole: what is there under its name does not matter. */
static void a_file_that_is_replaced_while_it_is_sent_arrives_whole(void)
{
	static char data[4 << 20];
	struct weir_conn *conn;
	size_t got = 1;
	ssize_t n;

	begin(NULL);
	memset(data, 'o', sizeof(data));
	write_file("victim", data, sizeof(data));
	conn = begin_large("victim");
	write_file("new", "new", 3);
	replace_file("new", "victim");
	weir_conn_resume(conn);
	while (got < sizeof(data) && (n = weir_conn_read(conn, answer, sizeof(answer))) > 0)
		got += (size_t)n;
	assert_true(got >= sizeof(data));
	weir_conn_close(conn);
	end();
}

static void too_many_streams_are_refused(void)
{
	const struct weir_http_files_opts opts = { .streams_max = 1 };
	struct weir_conn *conn;

	begin(&opts);
	conn = begin_large("large.bin");
	while (info().streams != 1)
		assert_int_equal(weir_yield(), 0);
	assert_true(ask("/large.bin") != 200 || strlen(body()) < 3 << 20);
	assert_int_equal(ask("/digits"), 200);
	weir_conn_abort(conn);
	http_wait_closed();
	assert_int_equal(ask("/large.bin"), 200);
	assert_int_equal(strlen(body()), 3 << 20);
	end();
}

/* --- the rest --- */

static void a_root_that_is_none_is_refused(void)
{
	const struct weir_http_files_opts slash = { .index = "a/b" }, nothing = { .index = "" };
	const struct weir_http_files_opts split = { .cache_control = "a\r\nb" };
	struct weir_http_files *none = NULL;

	assert_int_equal(weir_http_files_create("/nonexistent", NULL, &none), -ENOENT);
	assert_int_equal(weir_http_files_create("/etc/passwd", NULL, &none), -ENOTDIR);
	assert_int_equal(weir_http_files_create(root, &slash, &none), -EINVAL);
	assert_int_equal(weir_http_files_create(root, &nothing, &none), -EINVAL);
	assert_int_equal(weir_http_files_create(root, &split, &none), -EINVAL);
	assert_null(none);
	weir_http_files_destroy(NULL);
}

static void types_are_found_by_extension(void **state)
{
	static const struct {
		const char *name, *type;
	} cases[] = {
		{ "a.html", "text/html; charset=utf-8" },
		{ "A.HTML", "text/html; charset=utf-8" },
		{ "a.tar.gz", "application/gzip" },
		{ "x/y.7z", "application/x-7z-compressed" },
		{ "a.zst", "application/zstd" },
		{ "a.woff2", "font/woff2" },
		{ "a.webmanifest", "application/manifest+json" },
		{ "a.js", "text/javascript; charset=utf-8" },
		{ "html", "application/octet-stream" },
		{ "a.", "application/octet-stream" },
		{ ".html/x", "application/octet-stream" },
		{ "", "application/octet-stream" },
		{ "a.extensionthatislong", "application/octet-stream" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(weir_http_type(cases[i].name, strlen(cases[i].name)),
				    cases[i].type);
}

/* Whatever comes out never climbs, never has an empty or dot segment, and comes out again. */
static void random_paths_stay_below_the_root(void **state)
{
	static const char alphabet[] = "/../..%2e%2f%00ab%25%41.";
	struct weir_http_files dummy = { .opts = { .dotfiles = true } };
	unsigned seed = 3;

	(void)state;
	for (int round = 0; round < 300000; round++) {
		char text[40] = "/", path[WEIR_FILES_PATH_MAX], again[WEIR_FILES_PATH_MAX];
		char encoded[200];
		size_t size = 1, wanted = 1 + (unsigned)rand_r(&seed) % 38;
		int n;

		while (size < wanted)
			text[size++] = alphabet[(unsigned)rand_r(&seed) % (sizeof(alphabet) - 1)];
		n = weir__files_path(&dummy, (struct weir_http_text){ text, size }, path);
		if (n < 0)
			continue;
		assert_int_equal(strlen(path), n);
		assert_true(path[0] != '/' && !strstr(path, "//") && !strstr(path, "/../"));
		assert_true(strncmp(path, "../", 3) && strcmp(path, "..") && strcmp(path, "."));
		encoded[0] = '/';
		size = 1 + weir__files_path_encode(path, (size_t)n, encoded + 1);
		assert_int_equal(weir__files_path(&dummy, (struct weir_http_text){ encoded, size },
						  again),
				 n);
		assert_string_equal(path, again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(files_are_served_with_type_length_and_version),
		ring_test(large_files_arrive_whole),
		ring_test(paths_mean_what_they_say),
		ring_test(a_path_that_is_too_long_does_not_exist),
		ring_test(a_directory_without_its_slash_is_redirected),
		ring_test(other_methods_are_not_allowed),
		ring_test(dotfiles_and_links_are_served_when_asked_for),
		ring_test(conditions_are_evaluated_in_their_order),
		ring_test(a_single_range_is_served),
		ring_test(a_changed_file_is_noticed_in_time),
		ring_test(a_fresh_entry_asks_the_file_system_nothing),
		ring_test(the_cache_holds_its_bound),
		ring_test(what_the_cache_cannot_hold_is_read_each_time),
		ring_test(a_cold_file_is_read_once_however_many_ask),
		ring_test(pipelined_files_do_not_stall),
		ring_test(a_file_that_shrinks_while_it_is_sent_is_cut),
		ring_test(a_file_that_is_rewritten_while_it_is_sent_is_cut),
		ring_test(a_file_that_is_replaced_while_it_is_sent_arrives_whole),
		ring_test(too_many_streams_are_refused),
		ring_test(a_root_that_is_none_is_refused),
		cmocka_unit_test(types_are_found_by_extension),
		cmocka_unit_test(random_paths_stay_below_the_root),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
