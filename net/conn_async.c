/* SPDX-License-Identifier: MIT */
/*
 * conn_async.c - a connection's reads and writes as futures, on the same input and output as
 * the direct style: a read is a reader that resolves a promise, a write a lent piece of output
 * whose release resolves one.
 */
#include "net/conn_parts.h"

#include "net/weir_conn_async.h"

/* Makes both, or gives the future that says why not in *ret_future. */
static struct weir_conn_async *make(struct weir_conn *conn, struct weir_future **ret_future,
				    const char *origin)
{
	struct weir_conn_async *async = weir__slab_get(&conn->net->asyncs);
	int r = -ENOBUFS;

	if (async) {
		r = weir_promise_create_at(&async->promise, ret_future, origin);
		if (!r) {
			async->conn = conn;
			return async;
		}
		weir__slab_put(&conn->net->asyncs, async);
	}
	*ret_future = weir_future_of(r);
	return NULL;
}

static void settle(struct weir_conn_async *async, ssize_t res)
{
	struct weir_promise promise = async->promise;

	weir__slab_put(&async->conn->net->asyncs, async);
	weir_promise_resolve(&promise, res);
}

static void read_done(struct weir_reader *reader, int res)
{
	settle(weir_container_of(reader, struct weir_conn_async, reader), res);
}

static void read_cancel(void *arg)
{
	struct weir_conn_async *async = arg;

	async->conn->reader = NULL;
	settle(async, -ECANCELED);
}

struct weir_future *weir_conn_read_async(struct weir_conn *conn, void *buf, size_t size)
{
	struct weir_future *future;
	struct weir_conn_async *async;
	int r;

	if (!size)
		return weir_future_of(-EINVAL);
	async = make(conn, &future, WEIR_HERE);
	if (!async)
		return future;
	async->reader = (struct weir_reader){ .done = read_done, .buf = buf, .size = size };
	r = weir__conn_read_start(conn, &async->reader);
	if (r == -EINPROGRESS)
		weir_promise_on_cancel(&async->promise, read_cancel, async);
	else
		settle(async, r);
	return future;
}

static void write_released(void *arg)
{
	struct weir_conn_async *async = arg;

	settle(async, async->conn->out_res ? async->conn->out_res : (ssize_t)async->size);
}

static void write_cancel(void *arg)
{
	(void)arg;	/* what is queued leaves: half of it may have */
}

struct weir_future *weir_conn_write_async(struct weir_conn *conn, const void *buf, size_t size)
{
	struct weir_future *future;
	struct weir_conn_async *async = make(conn, &future, WEIR_HERE);
	int r;

	if (!async)
		return future;
	async->size = size;
	weir_promise_on_cancel(&async->promise, write_cancel, async);
	r = weir_conn_write_ref(conn, buf, size, write_released, async);
	if (r < 0)
		settle(async, r);
	return future;
}
