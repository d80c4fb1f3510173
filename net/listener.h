/* SPDX-License-Identifier: MIT */
/*
 * listener.h - from a connection to the listener that accepted it.
 */
#ifndef WEIR_NET_LISTENER_H
#define WEIR_NET_LISTENER_H

#include "net/conn.h"
#include "net/weir_listener.h"

/* As weir_listener_create(); cores meet at one address only for the same tag. */
int weir__listener_create(const char *address, const struct weir_serve_opts *opts,
			  const struct weir_listener_events *events, void *arg, const void *tag,
			  struct weir_listener **ret_listener);

/* arg of the listener that accepted conn. */
void *weir__conn_listener_arg(const struct weir_conn *conn);

/* Closes a descriptor that became nobody's: of the process, or in the ring's own table. */
void weir__fd_drop(struct weir_ring *ring, int fd, bool is_direct);

/* conn, just accepted, could not be served: ends it and counts it as refused. */
void weir__conn_refuse(struct weir_conn *conn);

#endif
