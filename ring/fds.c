/* SPDX-License-Identifier: MIT */
/*
 * fds.c - descriptors over Unix sockets. A message is one byte with the descriptors beside it: a
 * stream socket keeps such bytes apart, for no read passes over a message with descriptors.
 */
#include <string.h>
#include <sys/socket.h>

#include "core/world.h"
#include "ring/ring.h"
#include "ring/weir_fds.h"

/* A message and its memory, on the stack of who waits. */
struct message {
	struct msghdr header;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr align;
		char control[CMSG_SPACE(WEIR_FDS_MAX * sizeof(int))];
	};
};

static void message_init(struct message *message)
{
	memset(message, 0, sizeof(*message));
	message->iov = (struct iovec){ &message->byte, 1 };
	message->header.msg_iov = &message->iov;
	message->header.msg_iovlen = 1;
	message->header.msg_control = message->control;
	message->header.msg_controllen = sizeof(message->control);
}

int weir_fds_send(int socket, const int *fds, unsigned count, int64_t deadline_ns)
{
	struct message message;
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	struct cmsghdr *control;
	int r;

	if (!fds || !count || count > WEIR_FDS_MAX)
		return -EINVAL;
	if (weir__world)
		return -ENOSYS;
	message_init(&message);
	message.header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	control = CMSG_FIRSTHDR(&message.header);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(control), fds, count * sizeof(int));
	r = weir__op_begin(&w, "fds_send", deadline_ns, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_sendmsg(sqe, socket, &message.header, MSG_NOSIGNAL);
	r = weir__op_end(&w, sqe, deadline_ns);
	return r < 0 ? r : 0;
}

/* The descriptors of a message into fds, at most WEIR_FDS_MAX. Returns how many. */
static unsigned take_fds(struct message *message, int *fds)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(&message->header);
	unsigned count = 0;

	for (; control; control = CMSG_NXTHDR(&message->header, control)) {
		size_t size = control->cmsg_len - CMSG_LEN(0);

		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + count, CMSG_DATA(control), size);
		count += (unsigned)(size / sizeof(int));
	}
	return count;
}

static void close_fds(struct weir_ring *ring, const int *fds, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		ring->kernel->ops->close(ring->kernel, fds[i]);
}

int weir_fds_receive(int socket, int *ret_fds, unsigned max, int64_t deadline_ns)
{
	int fds[WEIR_FDS_MAX];
	struct message message;
	struct weir_op_wait w;
	struct io_uring_sqe *sqe;
	unsigned count;
	int r;

	if (!ret_fds || !max)
		return -EINVAL;
	if (weir__world)
		return -ENOSYS;
	message_init(&message);
	r = weir__op_begin(&w, "fds_receive", deadline_ns, &sqe);
	if (r < 0)
		return r;
	io_uring_prep_recvmsg(sqe, socket, &message.header, MSG_CMSG_CLOEXEC);
	r = weir__op_end(&w, sqe, deadline_ns);
	if (r <= 0)
		return r ? r : -EPIPE;
	count = take_fds(&message, fds);
	if (!count || count > max || (message.header.msg_flags & MSG_CTRUNC)) {
		close_fds(w.ring, fds, count);
		return -EPROTO;
	}
	memcpy(ret_fds, fds, count * sizeof(int));
	return (int)count;
}
