/* SPDX-License-Identifier: MIT */
/*
 * conn_parts.h - the seams inside a connection: input (conn_in.c), output (conn_out.c)
 * and life (conn.c) call each other only through these.
 */
#ifndef WEIR_NET_CONN_PARTS_H
#define WEIR_NET_CONN_PARTS_H

#include "net/conn.h"

/* --- input --- */

void weir__conn_recv_done(struct weir_op *op, int res, uint32_t flags);

/* Puts the receive in flight when nothing speaks against it. */
void weir__conn_arm(struct weir_conn *conn);

/* Asks for its end. */
void weir__conn_disarm(struct weir_conn *conn);

/* After what is queued the input ends with res. */
void weir__conn_end_input(struct weir_conn *conn, int res);

/* Gives back every buffer that is queued. */
void weir__conn_drop_input(struct weir_conn *conn);

/* --- output --- */

void weir__conn_send_done(struct weir_op *op, int res, uint32_t flags);
void weir__conn_flush_run(struct weir_task *task);
void weir__conn_slot_run(struct weir_slot_wait *wait);

/* Gives up everything queued; not while a send is in flight. */
void weir__conn_drop_output(struct weir_conn *conn);

/* Writing is over: res for everybody who writes now or later. */
void weir__conn_fail_output(struct weir_conn *conn, int res);

/* --- life --- */

/* While closing: takes the next step that is possible now. conn may be gone afterwards. */
void weir__conn_proceed_close(struct weir_conn *conn);

#endif
