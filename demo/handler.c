// SPDX-License-Identifier: GPL-2.0
/*
 * The handler: reads the faults of one client and resolves each from the file.
 *
 * Nothing here depends on the memory type: the flags of a fault select the
 * operation, the granule its size.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

/* Stale content of pages that are present before they are served. */
#define STALE	0xee

#define why(fmt, ...)	(snprintf(why, why_len, fmt, ##__VA_ARGS__), -1)

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/*
 * EAGAIN: the client's mappings are changing, so retry. EEXIST: the page is
 * already present, so only wake its waiters.
 */
static int resolve(struct served *s, unsigned long request, void *arg,
		   uint64_t addr)
{
	struct uffdio_range range = { addr, s->memory->granule };
	uint64_t deadline = now_ms() + DEADLINE_MS;

	while (ioctl(s->uffd, request, arg)) {
		if (errno == EEXIST)
			return ioctl(s->uffd, UFFDIO_WAKE, &range);
		if (errno != EAGAIN || now_ms() > deadline)
			return -1;
		sched_yield();
	}
	return 0;
}

/* The file's bytes for the granule at @offset, zeroes after the file's end. */
static int read_content(struct served *s, uint64_t offset)
{
	size_t done = 0;
	ssize_t n;

	do {
		n = pread(s->file, s->page + done, s->memory->granule - done,
			  offset + done);
		if (n < 0)
			return -1;
		done += n;
	} while (n && done < s->memory->granule);
	memset(s->page + done, 0, s->memory->granule - done);
	return 0;
}

static int serve_wp(struct served *s, uint64_t addr)
{
	struct uffdio_writeprotect wp = {
		.range = { addr, s->memory->granule },
	};

	s->wp++;
	return resolve(s, UFFDIO_WRITEPROTECT, &wp, addr);
}

static int serve_minor(struct served *s, uint64_t addr)
{
	struct uffdio_continue cont = {
		.range = { addr, s->memory->granule },
	};

	s->minor++;
	if (!s->alias) {
		errno = EPROTO;
		return -1;
	}
	if (read_content(s, addr - s->start))
		return -1;
	memcpy(s->alias + (addr - s->start), s->page, s->memory->granule);
	return resolve(s, UFFDIO_CONTINUE, &cont, addr);
}

static int serve_missing(struct served *s, uint64_t addr)
{
	struct uffdio_copy copy = {
		.dst = addr,
		.src = (uintptr_t)s->page,
		.len = s->memory->granule,
		.mode = s->mode->armed & UFFDIO_REGISTER_MODE_WP ?
			UFFDIO_COPY_MODE_WP : 0,
	};

	s->missing++;
	if (read_content(s, addr - s->start))
		return -1;
	return resolve(s, UFFDIO_COPY, &copy, addr);
}

static int serve_faults(struct served *s, char *why, size_t why_len)
{
	struct uffd_msg msgs[16];
	ssize_t n = read(s->uffd, msgs, sizeof(msgs));

	if (n < 0)
		return errno == EAGAIN ? 0 : why("read: %m");
	for (size_t i = 0; i < n / sizeof(msgs[0]); i++) {
		uint64_t flags = msgs[i].arg.pagefault.flags;
		uint64_t addr = msgs[i].arg.pagefault.address &
				~(uint64_t)(s->memory->granule - 1);

		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			return why("unexpected event %#x", msgs[i].event);
		if (addr - s->start >= s->len)
			return why("fault outside the mapping");

		if (flags & UFFD_PAGEFAULT_FLAG_WP) {
			if (serve_wp(s, addr))
				return why("UFFDIO_WRITEPROTECT: %m");
		} else if (flags & UFFD_PAGEFAULT_FLAG_MINOR) {
			if (serve_minor(s, addr))
				return why("UFFDIO_CONTINUE: %m");
		} else {
			if (serve_missing(s, addr))
				return why("UFFDIO_COPY: %m");
		}
	}
	return 0;
}

/* Waits for the client; meanwhile serves faults if @s has a userfaultfd. */
static int recv_or_serve(int sock, struct served *s, struct msghdr *msg,
			 char *why, size_t why_len)
{
	struct pollfd fds[] = {
		{ .fd = sock, .events = POLLIN },
		{ .fd = s->uffd, .events = POLLIN },	/* ignored if -1 */
	};

	for (;;) {
		int ready = poll(fds, 2, DEADLINE_MS);

		if (ready < 0)
			return why("poll: %m");
		if (!ready)
			return why("no progress for %d s",
				   DEADLINE_MS / 1000);
		if (fds[1].revents & ~POLLIN)
			return why("userfaultfd: unexpected poll events %#x", fds[1].revents);
		if (fds[1].revents && serve_faults(s, why, why_len))
			return -1;
		if (fds[0].revents) {
			ssize_t n = recvmsg(sock, msg, MSG_CMSG_CLOEXEC);

			if (n == (ssize_t)msg->msg_iov->iov_len)
				return 0;
			return why("the client died");
		}
	}
}

static int recv_hello(int sock, struct served *s, char *why, size_t why_len)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct hello hello;
	struct iovec iov = { &hello, sizeof(hello) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fds[2] = { -1, -1 };

	if (recv_or_serve(sock, s, &msg, why, why_len))
		return -1;
	if (hello.failure.step[0])
		return why("%s: %s", hello.failure.step,
			   strerror(hello.failure.error));
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return why("received no userfaultfd");
	memcpy(fds, CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
	s->uffd = fds[0];
	s->memory_fd = fds[1];
	s->start = hello.start;
	s->len = hello.len;
	s->ioctls = hello.ioctls;
	return 0;
}

/* For MINOR, the pages exist in the file with stale content. */
static int populate(struct served *s)
{
	s->alias = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED,
			s->memory_fd, 0);
	if (s->alias == MAP_FAILED) {
		s->alias = NULL;
		return -1;
	}
	memset(s->alias, STALE, s->len);
	return 0;
}

static int serve(int sock, struct served *s, struct result *result,
		 char *why, size_t why_len)
{
	struct iovec iov = { result, sizeof(*result) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (recv_hello(sock, s, why, why_len))
		return -1;
	s->page = aligned_alloc(s->memory->granule, s->memory->granule);
	if (!s->page)
		return why("out of memory");
	if (s->mode->armed & UFFDIO_REGISTER_MODE_MINOR && populate(s))
		return why("populate: %m");
	if (send(sock, "g", 1, MSG_NOSIGNAL) != 1)
		return why("the client died");
	if (recv_or_serve(sock, s, &msg, why, why_len))
		return -1;
	if (result->failure.step[0])
		return why("%s: %s", result->failure.step,
			   strerror(result->failure.error));
	return 0;
}

int serve_client(int sock, struct served *s, struct result *result,
		 char *why, size_t why_len)
{
	int ret;

	s->uffd = -1;
	s->memory_fd = -1;
	ret = serve(sock, s, result, why, why_len);
	if (s->alias)
		munmap(s->alias, s->len);
	free(s->page);
	if (s->memory_fd >= 0)
		close(s->memory_fd);
	if (s->uffd >= 0)
		close(s->uffd);
	return ret;
}
