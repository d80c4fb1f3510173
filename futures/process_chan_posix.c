/* SPDX-License-Identifier: MIT */
/*
 * process_chan_posix.c - the memory, the bells and the pidfds of channels between processes. Bells
 * are the two ends of a socket pair and not eventfds: whether a call on them waits is said in each
 * call (MSG_DONTWAIT), and not by a flag of the file, which the peer could take away.
 */
#include "futures/process_chan.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

void weir__process_chan_close_fds(const int fds[WEIR_PROCESS_CHAN_FDS])
{
	unsigned i;

	for (i = 0; i < WEIR_PROCESS_CHAN_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int weir__process_chan_open(size_t size, int ret_fds[WEIR_PROCESS_CHAN_FDS])
{
	int fds[WEIR_PROCESS_CHAN_FDS] = { -1, -1, -1 };
	int r = 0;

	fds[0] = memfd_create("weir", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fds[0] < 0 || ftruncate(fds[0], (off_t)size) < 0 ||
	    fcntl(fds[0], F_ADD_SEALS, SEALS) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds + 1) < 0)
		r = -errno;
	if (r < 0)
		weir__process_chan_close_fds(fds);
	else
		memcpy(ret_fds, fds, sizeof(fds));
	return r;
}

/* A peer whose bell is full will hear it; one that is gone will not, and its death is told. */
void weir__process_chan_ring(int bell)
{
	ssize_t n = send(bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)n;
}

bool weir__process_chan_quiet(int bell)
{
	char rings[256];

	return recv(bell, rings, sizeof(rings), MSG_DONTWAIT) != 0;
}

int weir__process_chan_map(int fd, void **ret_memory, size_t *ret_size)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat status;
	void *memory;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) < 0 ||
	    status.st_size <= 0 || status.st_size > WEIR_PROCESS_CHAN_SIZE_MAX)
		return -EPROTO;
	memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_memory = memory;
	*ret_size = (size_t)status.st_size;
	return 0;
}

void weir__process_chan_unmap(void *memory, size_t size)
{
	munmap(memory, size);
}

uint32_t weir__process_self(void)
{
	return (uint32_t)getpid();
}

int weir__process_open(uint32_t pid)
{
	long fd = syscall(SYS_pidfd_open, (pid_t)pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

/* A zombie is not. */
bool weir__process_is_alive(uint32_t pid)
{
	struct pollfd ended = { .fd = pid ? weir__process_open(pid) : -1, .events = POLLIN };
	bool is_alive = ended.fd >= 0 && poll(&ended, 1, 0) == 0;

	if (ended.fd >= 0)
		close(ended.fd);
	return is_alive;
}

void weir__process_close(int pidfd)
{
	close(pidfd);
}
