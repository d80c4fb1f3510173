/* SPDX-License-Identifier: MIT */
/*
 * test_http_curl.c - the HTTP server as curl sees it: a client that we did not write.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/weir_http_files.h"
#include "tests/net/http_fixture.h"

extern char **environ;

static char dir[] = "/tmp/weir-curl-XXXXXX";
static struct weir_http_files *files;
static char output[2 << 20];

/* POST and PUT give back what was sent; everything else is files. */
static int handle(struct weir_http_req *req, void *arg)
{
	enum weir_http_method method = weir_http_req_method(req);
	char buf[4096];
	ssize_t n;
	int r;

	(void)arg;
	if (method != WEIR_HTTP_POST && method != WEIR_HTTP_PUT)
		return weir_http_files(req, files);
	n = weir_http_req_read(req, buf, sizeof(buf));
	r = n < 0 ? (int)n : weir_http_reply_start(req, 200, NULL, WEIR_HTTP_CHUNKED);
	while (!r && n) {
		r = n < 0 ? (int)n : weir_http_reply_write(req, buf, (size_t)n);
		if (!r)
			n = weir_http_req_read(req, buf, sizeof(buf));
	}
	return r < 0 ? r : weir_http_reply_end(req);
}

static struct http_server server = { .handler = handle, .opts = { .body_max = -1 } };

/* Runs "curl -sS args"; @/ in it is the URL of the server. Returns the exit code. */
static int curl(const char *args)
{
	char command[2048], *to = command + sprintf(command, "cd %s && curl -s -m 20 ", dir);
	char *const argv[] = { "sh", "-c", command, NULL };
	posix_spawn_file_actions_t actions;
	int status, fd;
	ssize_t n;
	pid_t pid;

	for (; *args; args++) {
		if (args[0] == '@' && args[1] == '/')
			to += sprintf(to, "http://%s", server.bound + strlen("tcp://"));
		else
			*to++ = *args;
	}
	*to = '\0';
	posix_spawn_file_actions_init(&actions);
	snprintf(output, sizeof(output), "%s/out", dir);
	posix_spawn_file_actions_addopen(&actions, 1, output, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_int_equal(posix_spawnp(&pid, "sh", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	while (!waitpid(pid, &status, WNOHANG))
		assert_int_equal(weir_sleep(WEIR_MS), 0);
	fd = open(output, O_RDONLY);
	n = read(fd, output, sizeof(output) - 1);
	output[n < 0 ? 0 : n] = '\0';
	close(fd);
	return WEXITSTATUS(status);
}

static void write_file(const char *name, size_t size)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	for (size_t i = 0; i < size; i++)
		fputc((char)('a' + i % 26), file);
	fclose(file);
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	write_file("small.txt", 26);
	write_file("large.bin", 1500000);
	write_file("mid.bin", 300000);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "small.txt", "large.bin", "mid.bin", "out", "got",
					     "tag" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static void begin(void)
{
	assert_int_equal(weir_http_files_create(dir, NULL, &files), 0);
	http_start(&server);
}

static void end(void)
{
	assert_int_equal(http_stop(&server), 0);
	weir_http_files_destroy(files);
}

#define ALPHABET "abcdefghijklmnopqrstuvwxyz"

static void curl_gets_files(void)
{
	begin();
	assert_int_equal(curl("@/small.txt"), 0);
	assert_string_equal(output, ALPHABET);
	assert_int_equal(curl("--http1.0 @/small.txt"), 0);
	assert_string_equal(output, ALPHABET);
	assert_int_equal(curl("-I @/small.txt"), 0);
	assert_non_null(strstr(output, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(output, "Content-Length: 26\r\n"));
	assert_int_equal(curl("-f @/nothing"), 22);
	/* Three on one connection, which stays. */
	assert_int_equal(curl("-w '%{num_connects}' @/small.txt @/small.txt @/small.txt"), 0);
	assert_string_equal(output, ALPHABET "1" ALPHABET "0" ALPHABET "0");
	assert_int_equal(curl("@/large.bin -o got && cmp got large.bin"), 0);
	assert_int_equal(curl("--compressed @/mid.bin -o got && cmp got mid.bin"), 0);
	end();
}

static void curl_resumes_and_revalidates(void)
{
	begin();
	assert_int_equal(curl("-r 3-5 @/small.txt"), 0);
	assert_string_equal(output, "def");
	assert_int_equal(curl("@/large.bin -r 0-999999 -o got"), 0);
	assert_int_equal(curl("-C - @/large.bin -o got && cmp got large.bin"), 0);
	assert_int_equal(curl("--etag-save tag @/small.txt"), 0);
	assert_int_equal(curl("--etag-compare tag @/small.txt -w '%{http_code}'"), 0);
	assert_string_equal(output, "304");
	assert_int_equal(curl("-z small.txt @/small.txt -w '%{http_code}'"), 0);
	assert_string_equal(output, "304");
	end();
}

static void curl_sends_bodies(void)
{
	begin();
	assert_int_equal(curl("-d 'a body' @/"), 0);
	assert_string_equal(output, "a body");
	assert_int_equal(curl("-H 'Transfer-Encoding: chunked' -d 'in chunks' @/"), 0);
	assert_string_equal(output, "in chunks");
	/* Large enough for curl to expect a 100 first. */
	assert_int_equal(curl("--data-binary @large.bin @/ -o got && cmp got large.bin"), 0);
	assert_int_equal(curl("-T large.bin @/x -o got && cmp got large.bin"), 0);
	assert_int_equal(curl("-H 'Expect: 100-continue' -T large.bin @/x -o got && "
			      "cmp got large.bin"),
			 0);
	assert_int_equal(curl("-T - @/x < mid.bin -o got && cmp got mid.bin"), 0);
	/* Refused without being read: the answer arrives all the same. */
	assert_int_equal(curl("-X DELETE -T large.bin @/x -w '%{http_code}' -o got"), 0);
	assert_string_equal(output, "405");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ring_test(curl_gets_files),
		ring_test(curl_resumes_and_revalidates),
		ring_test(curl_sends_bodies),
	};

	if (system("curl --version > /dev/null 2>&1")) {
		fprintf(stderr, "skipped: curl is not installed (apt install curl)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
