// SPDX-License-Identifier: GPL-2.0
/*
 * On-demand restore: registers the guest's memory, starts the handler process,
 * passes it the userfaultfd, and monitors it from then on.
 *
 * The VMM keeps its own descriptor of the userfaultfd open until all memory is
 * filled. If the handler dies or hangs, the vCPU therefore keeps waiting instead
 * of running on zero-filled pages, until the VMM notices and stops it. A vCPU
 * that waits inside the kernel, where no signal interrupts it, is released by
 * poisoning the memory: it is stopped already and does not run again.
 *
 * With a daemon, none of this is necessary: it poisons what it cannot fill.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define HANDLER_FD	3		/* the socket in the handler */
#define ANSWER_MS	60000		/* long enough on a busy host */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* Also reports the ioctls that UFFDIO_REGISTER returned. */
static int arm(struct handler *h, struct machine *m, bool minor,
	       struct lazy_region *region, struct lazy_error *err)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)m->memory.host, m->memory.len },
		.mode = UFFDIO_REGISTER_MODE_MISSING |
			(minor ? UFFDIO_REGISTER_MODE_MINOR : 0),
	};

	/* KVM faults in kernel mode, so no UFFD_USER_MODE_ONLY. */
	h->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h->uffd < 0)
		return because(err, "userfaultfd: %m");
	if (ioctl(h->uffd, UFFDIO_API, &api))
		return because(err, "UFFDIO_API: %m");
	if (ioctl(h->uffd, UFFDIO_REGISTER, &reg))
		return because(err, "UFFDIO_REGISTER on %s memory: %m",
			       m->memory.kind->name);
	if (reg.ioctls & 1ULL << _UFFDIO_ZEROPAGE)
		region->flags |= LAZY_REGION_ZEROPAGE;
	return 0;
}

static int start_handler(struct handler *h, char *const argv[],
			 struct lazy_error *err)
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return because(err, "socketpair: %m");
	h->sock = sock[0];
	h->pid = fork();
	if (!h->pid) {
		/* dup2() onto the same fd would leave it close-on-exec. */
		if (sock[1] == HANDLER_FD)
			fcntl(HANDLER_FD, F_SETFD, 0);
		else
			dup2(sock[1], HANDLER_FD);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(sock[1]);
	if (h->pid < 0)
		return because(err, "cannot start the handler: %m");
	return 0;
}

/* Called if the vCPU does not stop. */
static void release(struct machine *m)
{
	const struct handler *h = m->handler;
	struct lazy_error err;

	if (h->uffd >= 0 &&
	    lazy_poison(h->uffd, (uintptr_t)m->memory.host, m->memory.len,
			m->memory.kind->granule, &err))
		fprintf(stderr, "vmm: %s\n", err.text);
}

int handler_begin(struct handler *h, struct machine *m, bool minor,
		  char *const argv[], struct lazy_error *err)
{
	struct lazy_region region = {
		.address = (uintptr_t)m->memory.host,
		.len = m->memory.len,
		.granule = m->memory.kind->granule,
		.populate = minor ? m->memory.kind->populate : LAZY_COPY,
		.fd = m->memory.fd,
		.flags = m->memory.fd >= 0 ? LAZY_REGION_SHARED : 0,
	};

	if (start_handler(h, argv, err) || arm(h, m, minor, &region, err))
		return -1;
	m->handler = h;
	m->release = release;
	h->heard = now_ms();
	return lazy_handover_send(h->sock, h->uffd, &region, sizeof(region), 1,
				  ANSWER_MS, err);
}

static int send_with_fd(int sock, int fd, char *text, struct lazy_error *err)
{
	struct iovec part = { .iov_base = text, .iov_len = strlen(text) };
	char space[CMSG_SPACE(sizeof(fd))] = "";
	struct msghdr msg = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&msg);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != (ssize_t)part.iov_len)
		return because(err, "cannot hand the memory over: %m");
	return 0;
}

int handler_connect(struct handler *h, struct machine *m, const char *path,
		    struct lazy_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct lazy_region region = {};
	char text[160];
	int sock, ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return because(err, "%s: the path is too long", path);
	strcpy(address.sun_path, path);
	snprintf(text, sizeof(text),
		 "[{\"base_host_virt_addr\":%llu,\"size\":%zu,\"offset\":0,\"page_size\":%zu}]",
		 (unsigned long long)(uintptr_t)m->memory.host, m->memory.len,
		 (size_t)m->memory.kind->granule);
	if (arm(h, m, false, &region, err))
		return -1;
	m->handler = h;
	m->release = release;

	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return because(err, "socket: %m");
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)))
		ret = because(err, "%s: %m", path);
	else
		ret = send_with_fd(sock, h->uffd, text, err);
	close(sock);
	return ret;
}

/* All memory is filled: no more faults, so unregister it. */
static int disarm(struct handler *h, struct machine *m, struct lazy_error *err)
{
	struct uffdio_range range = {
		(uintptr_t)m->memory.host, m->memory.len,
	};

	if (ioctl(h->uffd, UFFDIO_UNREGISTER, &range))
		return because(err, "UFFDIO_UNREGISTER: %m");
	close(h->uffd);
	h->uffd = -1;
	return 0;
}

static int lost(const struct handler *h, const char *why,
		struct lazy_error *err)
{
	const struct lazy_stats *s = &h->stats.now;

	return because(err, "%.120s; guest stopped with %llu of %llu pages filled",
		       why, (unsigned long long)(s->demand + s->background +
						 s->found),
		       (unsigned long long)s->pages);
}

int handler_watch(struct handler *h, struct machine *m, struct lazy_error *err)
{
	struct lazy_error why;

	switch (lazy_handover_receive(h->sock, &h->stats, &why)) {
	case LAZY_EVENT_NONE:
		if (now_ms() - h->heard < LAZY_HANDOVER_SILENCE_MS)
			return 0;
		return lost(h, "the handler does not respond", err);
	case LAZY_EVENT_PROGRESS:
		h->heard = now_ms();
		return 0;
	case LAZY_EVENT_DONE:
		h->done = true;
		return disarm(h, m, err);
	default:
		return lost(h, why.text, err);
	}
}

/* Returns the handler's exit status; kills it if it does not end. */
static int wait_for_exit(pid_t handler, int timeout_ms)
{
	struct pollfd pollfd = { .events = POLLIN };
	int status;

	pollfd.fd = syscall(SYS_pidfd_open, handler, 0);
	if (pollfd.fd < 0 || poll(&pollfd, 1, timeout_ms) != 1)
		kill(handler, SIGKILL);
	if (pollfd.fd >= 0)
		close(pollfd.fd);
	waitpid(handler, &status, 0);
	return status;
}

int handler_end(struct handler *h, bool failed, struct lazy_error *err)
{
	/* After a failure its answer is not needed, and may never come. */
	int timeout_ms = failed ? 1000 : ANSWER_MS;
	int ret = 0, status = 0;

	if (h->sock >= 0) {
		ret = lazy_handover_finish(h->sock, timeout_ms, &h->stats, err);
		close(h->sock);
	}
	if (h->uffd >= 0)
		close(h->uffd);
	if (h->pid > 0)
		status = wait_for_exit(h->pid, timeout_ms);
	/* For example, writing the working set failed. */
	if (!ret && status)
		return because(err, "the handler exited with status %#x",
			       status);
	return ret;
}
