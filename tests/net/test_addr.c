/* SPDX-License-Identifier: MIT */
/*
 * test_addr.c - addresses as text: what is read is written back, what is wrong is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/weir_addr.h"

static void written_as_it_was_read(void **state)
{
	static const char *const texts[] = {
		"tcp://127.0.0.1:80",	  "tcp://0.0.0.0:0",	  "tcp://[::1]:8080",
		"tcp://[::]:65535",	  "tcp://[fe80::1%2]:80", "unix:/run/app.sock",
		"unix:relative path.sock", "unix:@name",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct weir_addr addr;
		char text[WEIR_ADDR_TEXT];
		const char *why = "";

		assert_int_equal(weir_addr_parse(texts[i], &addr, &why), 0);
		assert_int_equal(weir_addr_format(&addr, text, sizeof(text)), 0);
		assert_string_equal(text, texts[i]);
	}
}

static void an_abstract_name_has_no_nul_at_its_end(void **state)
{
	struct weir_addr addr;

	(void)state;
	assert_int_equal(weir_addr_parse("unix:@ab", &addr, NULL), 0);
	assert_int_equal(addr.size, offsetof(struct sockaddr_un, sun_path) + 3);
	assert_int_equal(addr.sock.path.sun_path[0], 0);
	assert_int_equal(weir_addr_port(&addr), 0);
	assert_int_equal(weir_addr_parse("tcp://[::1]:81", &addr, NULL), 0);
	assert_int_equal(weir_addr_port(&addr), 81);
}

/* The words of the reason that must name the wrong part. */
static const struct {
	const char *text;
	const char *word;
} wrong[] = {
	{ "", "empty" },
	{ "127.0.0.1:80", "must begin with" },
	{ "http://127.0.0.1:80", "must begin with" },
	{ "tcp:127.0.0.1:80", "must begin with" },
	{ "TCP://127.0.0.1:80", "must begin with" },
	{ "tcp://", "host is missing" },
	{ "tcp://:80", "host is missing" },
	{ "tcp://127.0.0.1", "port is missing" },
	{ "tcp://127.0.0.1:", "port must be" },
	{ "tcp://127.0.0.1:65536", "port must be" },
	{ "tcp://127.0.0.1:4294967376", "port must be" },
	{ "tcp://127.0.0.1:99999999999999999999", "port must be" },
	{ "tcp://127.0.0.1:-1", "port must be" },
	{ "tcp://127.0.0.1:+80", "port must be" },
	{ "tcp://127.0.0.1: 80", "port must be" },
	{ "tcp://127.0.0.1:80 ", "port must be" },
	{ "tcp://127.0.0.1:80/", "port must be" },
	{ "tcp://127.0.0.1:http", "port must be" },
	{ "tcp://*:80", "not a numeric address" },
	{ "tcp://localhost:80", "names are not looked up" },
	{ "tcp://1:80", "not a numeric address" },
	{ "tcp://127.0.0.1.1:80", "not a numeric address" },
	{ "tcp://256.0.0.1:80", "not a numeric address" },
	{ "tcp://255.255.255.255.255.255:80", "not a numeric address" },
	{ "tcp:// 127.0.0.1:80", "not a numeric address" },
	{ "tcp://::1:80", "needs brackets" },
	{ "tcp://[::1:80", "bracket" },
	{ "tcp://[]:80", "not an IPv6 address" },
	{ "tcp://[127.0.0.1]:80", "not an IPv6 address" },
	{ "tcp://[::1]", "port is missing" },
	{ "tcp://[::1]80", "port is missing" },
	{ "tcp://[::1]:x", "port must be" },
	{ "tcp://[fe80::1%eth0]:80", "its number" },
	{ "tcp://[fe80::1%]:80", "its number" },
	{ "tcp://[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:80", "too long" },
	{ "unix:", "path is missing" },
	{ "unix:@", "path is missing" },
};

static void each_bad_address_is_named_with_its_remedy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct weir_addr addr = { .size = 7 };
		const char *why = NULL;

		assert_int_equal(weir_addr_parse(wrong[i].text, &addr, &why), -EINVAL);
		assert_non_null(why);
		if (!strstr(why, wrong[i].word))
			fail_msg("%s: \"%s\" says nothing of \"%s\"", wrong[i].text, why,
				 wrong[i].word);
		assert_int_equal(addr.size, 7);
	}
	assert_int_equal(weir_addr_parse(NULL, NULL, NULL), -EINVAL);
}

static void a_unix_path_of_107_bytes_fits_and_one_more_does_not(void **state)
{
	char text[5 + WEIR_ADDR_PATH_MAX + 2];
	char back[WEIR_ADDR_TEXT];
	struct weir_addr addr;
	const char *why = "";

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "unix:/", 6);
	text[5 + WEIR_ADDR_PATH_MAX] = '\0';
	assert_int_equal(weir_addr_parse(text, &addr, &why), 0);
	assert_int_equal(weir_addr_format(&addr, back, sizeof(back)), 0);
	assert_string_equal(text, back);
	assert_int_equal(weir_addr_format(&addr, back, strlen(text)), -ENOSPC);
	text[5 + WEIR_ADDR_PATH_MAX] = 'x';
	text[5 + WEIR_ADDR_PATH_MAX + 1] = '\0';
	assert_int_equal(weir_addr_parse(text, &addr, &why), -EINVAL);
	assert_non_null(strstr(why, "107"));
}

static void what_the_kernel_gives_is_checked(void **state)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX, .sun_path = "a\nb" };
	struct sockaddr_in ip4 = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct sockaddr other = { .sa_family = AF_PACKET };
	char text[WEIR_ADDR_TEXT];
	struct weir_addr addr;

	(void)state;
	assert_int_equal(weir_addr_from_sockaddr((void *)&ip4, sizeof(ip4) - 1, &addr), -EINVAL);
	assert_int_equal(weir_addr_from_sockaddr((void *)&ip4, 1, &addr), -EINVAL);
	assert_int_equal(weir_addr_from_sockaddr(&other, sizeof(other), &addr), -EINVAL);
	assert_int_equal(weir_addr_from_sockaddr((void *)&path, 4096, &addr), -EINVAL);
	assert_int_equal(weir_addr_from_sockaddr((void *)&path, sizeof(path), &addr), 0);
	assert_int_equal(weir_addr_format(&addr, text, sizeof(text)), 0);
	assert_string_equal(text, "unix:a?b");
	/* The peer of an unbound Unix socket has a family and nothing else. */
	assert_int_equal(weir_addr_from_sockaddr((void *)&path, 2, &addr), 0);
	assert_int_equal(weir_addr_format(&addr, text, sizeof(text)), 0);
	assert_string_equal(text, "unix:");
	assert_int_equal(weir_addr_format(&addr, text, 5), -ENOSPC);
}

/* Whatever is accepted must survive the way back; whatever is refused must say why. */
static void random_text_is_refused_with_a_reason_or_read_for_good(void **state)
{
	static const char alphabet[] = "tcpunix:/[]@%.*0123456789abcdef \x01\xff";
	static const char *const starts[] = { "", "tcp://", "tcp://[", "unix:", "tcp://1.2.3.4:" };
	unsigned seed = 7;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		const char *start = starts[rand_r(&seed) % 5];
		char text[192], back[WEIR_ADDR_TEXT];
		size_t size = strlen(start), end = size + (unsigned)rand_r(&seed) % 40;
		struct weir_addr addr, again;
		const char *why = NULL;

		memcpy(text, start, size);
		while (size < end)
			text[size++] = alphabet[(unsigned)rand_r(&seed) % (sizeof(alphabet) - 1)];
		text[size] = '\0';
		if (weir_addr_parse(text, &addr, &why) < 0) {
			assert_non_null(why);
			continue;
		}
		assert_int_equal(weir_addr_format(&addr, back, sizeof(back)), 0);
		if (strchr(back, '?'))
			continue;
		assert_int_equal(weir_addr_parse(back, &again, &why), 0);
		assert_int_equal(addr.size, again.size);
		assert_memory_equal(&addr.sock, &again.sock, addr.size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_as_it_was_read),
		cmocka_unit_test(an_abstract_name_has_no_nul_at_its_end),
		cmocka_unit_test(each_bad_address_is_named_with_its_remedy),
		cmocka_unit_test(a_unix_path_of_107_bytes_fits_and_one_more_does_not),
		cmocka_unit_test(what_the_kernel_gives_is_checked),
		cmocka_unit_test(random_text_is_refused_with_a_reason_or_read_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
