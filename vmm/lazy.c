// SPDX-License-Identifier: GPL-2.0
/*
 * On-demand restore: registers the guest's memory, starts the handler process,
 * passes it the userfaultfd, and monitors it from then on.
 *
 * The VMM keeps its own descriptor of the userfaultfd open until all memory is
 * filled. If the handler dies, the vCPU therefore keeps waiting instead of
 * running on zero-filled pages, until the VMM notices the closed socket and
 * stops it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm.h"

#define HANDLER_FD	3		/* the socket in the handler */
#define ANSWER_MS	60000		/* long enough on a busy host */

/* Also reports the ioctls that UFFDIO_REGISTER returned. */
static int arm(struct lazy *lazy, struct machine *m, bool minor,
	       struct lazy_region *region, struct reason *reason)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)m->memory.host, m->memory.len },
		.mode = UFFDIO_REGISTER_MODE_MISSING |
			(minor ? UFFDIO_REGISTER_MODE_MINOR : 0),
	};

	/* KVM faults in kernel mode, so no UFFD_USER_MODE_ONLY. */
	lazy->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (lazy->uffd < 0)
		return because(reason, "userfaultfd: %m");
	if (ioctl(lazy->uffd, UFFDIO_API, &api))
		return because(reason, "UFFDIO_API: %m");
	if (ioctl(lazy->uffd, UFFDIO_REGISTER, &reg))
		return because(reason, "UFFDIO_REGISTER on %s memory: %m",
			       m->memory.kind->name);
	region->zeropage = !!(reg.ioctls & 1ULL << _UFFDIO_ZEROPAGE);
	return 0;
}

static int start_handler(struct lazy *lazy, char *const argv[],
			 struct reason *reason)
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return because(reason, "socketpair: %m");
	lazy->sock = sock[0];
	lazy->handler = fork();
	if (!lazy->handler) {
		/* dup2() onto the same fd would leave it close-on-exec. */
		if (sock[1] == HANDLER_FD)
			fcntl(HANDLER_FD, F_SETFD, 0);
		else
			dup2(sock[1], HANDLER_FD);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(sock[1]);
	if (lazy->handler < 0)
		return because(reason, "cannot start the handler: %m");
	return 0;
}

int lazy_begin(struct lazy *lazy, struct machine *m, bool minor,
	       char *const handler_argv[], struct reason *reason)
{
	struct lazy_region region = {
		.address = (uintptr_t)m->memory.host,
		.len = m->memory.len,
		.granule = m->memory.kind->granule,
		.populate = minor ? m->memory.kind->populate : LAZY_COPY,
	};

	if (start_handler(lazy, handler_argv, reason) ||
	    arm(lazy, m, minor, &region, reason))
		return -1;
	return lazy_hand_over(lazy->sock, lazy->uffd, &region, &m->memory.fd,
			      1, ANSWER_MS, reason);
}

/* All memory is filled: no more faults, so unregister it. */
static int disarm(struct lazy *lazy, struct machine *m, struct reason *reason)
{
	struct uffdio_range range = {
		(uintptr_t)m->memory.host, m->memory.len,
	};

	if (ioctl(lazy->uffd, UFFDIO_UNREGISTER, &range))
		return because(reason, "UFFDIO_UNREGISTER: %m");
	close(lazy->uffd);
	lazy->uffd = -1;
	return 0;
}

int lazy_watch(struct lazy *lazy, struct machine *m, struct reason *reason)
{
	struct reason why;

	switch (lazy_receive(lazy->sock, &lazy->stats, &why)) {
	case LAZY_PROGRESS:
		return 0;
	case LAZY_DONE:
		lazy->done = true;
		return disarm(lazy, m, reason);
	default:
		return because(reason, "%s; guest stopped with %llu of %llu pages filled",
			       why.text, (unsigned long long)
			       (lazy->stats.demand + lazy->stats.background +
				lazy->stats.found),
			       (unsigned long long)lazy->stats.pages);
	}
}

/* Returns the handler's exit status; kills it if it does not end. */
static int wait_for_handler(pid_t handler)
{
	struct pollfd pollfd = { .events = POLLIN };
	int status;

	pollfd.fd = syscall(SYS_pidfd_open, handler, 0);
	if (pollfd.fd < 0 || poll(&pollfd, 1, ANSWER_MS) != 1)
		kill(handler, SIGKILL);
	if (pollfd.fd >= 0)
		close(pollfd.fd);
	waitpid(handler, &status, 0);
	return status;
}

int lazy_end(struct lazy *lazy, struct reason *reason)
{
	int ret = 0, status = 0;

	if (lazy->sock >= 0) {
		ret = lazy_finish(lazy->sock, ANSWER_MS, &lazy->stats, reason);
		close(lazy->sock);
	}
	if (lazy->uffd >= 0)
		close(lazy->uffd);
	if (lazy->handler > 0)
		status = wait_for_handler(lazy->handler);
	/* For example, writing the working set failed. */
	if (!ret && status)
		return because(reason, "the handler exited with status %#x",
			       status);
	return ret;
}
