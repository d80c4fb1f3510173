/* SPDX-License-Identifier: MIT */
/*
 * http_text.c - the parts of HTTP that are text and nothing else: names of statuses,
 * dates, numbers, header fields.
 */
#include <string.h>
#include <strings.h>

#include "net/http.h"

/* RFC 9110 section 15, and 428, 429, 431, 511 of RFC 6585. */
static const struct {
	int status;
	const char *name;
} statuses[] = {
	{ 100, "Continue" },
	{ 101, "Switching Protocols" },
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 203, "Non-Authoritative Information" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 206, "Partial Content" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 402, "Payment Required" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 511, "Network Authentication Required" },
};

const char *weir_http_status_name(int status)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].status == status)
			return statuses[i].name;
	return "";
}

char *weir__http_put_number(char *to, uint64_t n)
{
	char digits[20];
	unsigned count = 0;

	do {
		digits[count++] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	while (count)
		*to++ = digits[--count];
	return to;
}

/* --- dates --- */

static const char days[] = "ThuFriSatSunMonTueWed";	/* 1970 began on a Thursday */
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void put_two(char *to, unsigned n)
{
	to[0] = (char)('0' + n / 10 % 10);
	to[1] = (char)('0' + n % 10);
}

/*
 * Days since 1970 to year, month, day and back: Hinnant, "chrono-compatible low-level date
 * algorithms", for years after 0.
 */
static void civil_from_days(int64_t z, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
	uint64_t days_since_0 = (uint64_t)(z + 719468);
	unsigned era = (unsigned)(days_since_0 / 146097);
	unsigned doe = (unsigned)(days_since_0 % 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*ret_day = doy - (153 * mp + 2) / 5 + 1;
	*ret_month = mp < 10 ? mp + 3 : mp - 9;
	*ret_year = yoe + era * 400 + (*ret_month <= 2);
}

static int64_t days_from_civil(unsigned year, unsigned month, unsigned day)
{
	unsigned y = year - (month <= 2);
	unsigned era = y / 400;
	unsigned yoe = y % 400;
	unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return (int64_t)era * 146097 + doe - 719468;
}

/* The last second of the year 9999: four digits. */
#define SECONDS_MAX INT64_C(253402300799)

void weir_http_date_format(int64_t seconds, char text[WEIR_HTTP_DATE_SIZE])
{
	unsigned year, month, day, rest;
	int64_t at = seconds < 0 ? 0 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds;

	civil_from_days(at / 86400, &year, &month, &day);
	rest = (unsigned)(at % 86400);
	memcpy(text, "Thu, 01 Jan 1970 00:00:00 GMT", WEIR_HTTP_DATE_SIZE);
	memcpy(text, days + at / 86400 % 7 * 3, 3);
	put_two(text + 5, day);
	memcpy(text + 8, months + (month - 1) * 3, 3);
	put_two(text + 12, year / 100);
	put_two(text + 14, year % 100);
	put_two(text + 17, rest / 3600);
	put_two(text + 20, rest / 60 % 60);
	put_two(text + 23, rest % 60);
}

static bool read_digits(const char *from, unsigned count, unsigned *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < count; i++) {
		if (from[i] < '0' || from[i] > '9')
			return false;
		*ret = *ret * 10 + (unsigned)(from[i] - '0');
	}
	return true;
}

static unsigned month_of(const char *text)
{
	for (unsigned i = 0; i < 12; i++)
		if (!memcmp(text, months + i * 3, 3))
			return i + 1;
	return 0;
}

int weir_http_date_parse(struct weir_http_text text, int64_t *ret_seconds)
{
	const char *t = text.data;
	unsigned day, month, year, hour, minute, second;
	char again[WEIR_HTTP_DATE_SIZE];
	int64_t seconds;

	if (text.size != WEIR_HTTP_DATE_SIZE)
		return -EINVAL;
	month = month_of(t + 8);
	if (!month || !read_digits(t + 5, 2, &day) || !read_digits(t + 12, 4, &year) ||
	    !read_digits(t + 17, 2, &hour) || !read_digits(t + 20, 2, &minute) ||
	    !read_digits(t + 23, 2, &second) || year < 1970 || hour > 23 || minute > 59)
		return -EINVAL;
	seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
	/* Whatever else may be wrong (the weekday, the 31st of June, a separator) shows here. */
	weir_http_date_format(seconds, again);
	if (memcmp(again, t, WEIR_HTTP_DATE_SIZE))
		return -EINVAL;
	*ret_seconds = seconds;
	return 0;
}

/* --- header fields --- */

/* RFC 9110 5.6.2. */
static bool is_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_name(const char *name, size_t size)
{
	static const char *const ours[] = { "Content-Length", "Transfer-Encoding", "Connection",
					    "Date" };

	if (!size)
		return false;
	for (size_t i = 0; i < size; i++)
		if (!is_token_char((unsigned char)name[i]))
			return false;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (!strcasecmp(name, ours[i]))
			return false;
	return true;
}

static bool is_value(const char *value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)value[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

void weir_http_fields_init(struct weir_http_fields *fields, char *buf, size_t size)
{
	*fields = (struct weir_http_fields){ .text_ = buf, .max_ = (uint32_t)size };
}

int weir_http_fields_add_text(struct weir_http_fields *fields, const char *name,
			      struct weir_http_text value)
{
	size_t name_size = name ? strlen(name) : 0;
	char *to = fields->text_ + fields->size_;

	if (fields->error_)
		return fields->error_;
	if (!is_name(name, name_size) || !is_value(value.data, value.size))
		return fields->error_ = -EINVAL;
	if (name_size + value.size + 4 > fields->max_ - fields->size_)
		return fields->error_ = -ENOSPC;
	memcpy(to, name, name_size);
	to += name_size;
	memcpy(to, ": ", 2);
	memcpy(to + 2, value.data, value.size);
	memcpy(to + 2 + value.size, "\r\n", 2);
	fields->size_ += (uint32_t)(name_size + value.size + 4);
	return 0;
}

int weir_http_fields_add(struct weir_http_fields *fields, const char *name, const char *value)
{
	struct weir_http_text text = { value, value ? strlen(value) : 0 };

	if (!value)
		return fields->error_ = -EINVAL;
	return weir_http_fields_add_text(fields, name, text);
}
