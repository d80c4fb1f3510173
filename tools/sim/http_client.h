/* SPDX-License-Identifier: MIT */
/*
 * http_client.h - reads HTTP/1.1 answers for the scenarios. Strict: what is not exactly an answer
 * as weir writes them fails the run.
 */
#ifndef WEIR_TOOLS_SIM_HTTP_CLIENT_H
#define WEIR_TOOLS_SIM_HTTP_CLIENT_H

#include <weir.h>

struct http_answer {
	int status;
	bool closes;		/* Connection: close */
	char *body;
	size_t size;
	void *memory;		/* free() it */
};

/*
 * Reads one. head_only: to a HEAD request. Returns 0, -EPIPE when the connection ended before the
 * answer did, or as weir_conn_read(); then nothing is the caller's.
 */
int http_read_answer(struct weir_conn *conn, bool head_only, struct http_answer *ret_answer);

#endif
