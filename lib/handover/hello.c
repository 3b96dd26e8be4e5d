// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Receives the hello of a hypervisor. Descriptors and numbers are verified:
 * exactly one userfaultfd, and a regular file that is long enough for each
 * region that needs one. The server verifies the regions.
 *
 * A memory file that is truncated later makes fills fail (no SIGBUS: the server
 * does not access the mapping of it directly).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handover.h"

#define SCM_MAX		253	/* descriptors in one message of the kernel */

struct received {
	ssize_t len;
	int fds[SCM_MAX];
	size_t nr_fds;
	bool truncated;
};

void lazy__close_regions(struct lazy__hello *hello)
{
	for (size_t i = 0; i < LAZY_HANDOVER_MAX_REGIONS; i++)
		if (hello->regions[i].fd >= 0)
			close(hello->regions[i].fd);
}

static void receive(int sock, struct lazy__hello *hello, struct received *got)
{
	union {
		char buf[CMSG_SPACE(SCM_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { hello, sizeof(*hello) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;

	got->nr_fds = 0;
	do {
		got->len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	} while (got->len < 0 && errno == EINTR);
	if (got->len < 0)
		return;
	for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		size_t nr = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS || got->nr_fds + nr > SCM_MAX)
			continue;
		memcpy(got->fds + got->nr_fds, CMSG_DATA(cmsg),
		       nr * sizeof(int));
		got->nr_fds += nr;
	}
	got->truncated = msg.msg_flags & MSG_CTRUNC;
}

static int check_message(const struct lazy__hello *hello,
			 const struct received *got, struct lazy_error *err)
{
	size_t wanted = 1;

	if (got->len < 0)
		return lazy_error_set(err, LAZY_E_SYSTEM, "cannot receive: %m");
	errno = 0;
	if (!got->len)
		return lazy_error_set(err, LAZY_E_GONE,
				      "lost the connection to the hypervisor");
	/* For example, the limit of this process. */
	if (got->truncated)
		return lazy_error_set(err, LAZY_E_SYSTEM,
				      "cannot receive all descriptors: is their limit reached?");
	if (got->len != sizeof(*hello) || hello->protocol != LAZY__PROTOCOL)
		return lazy_error_set(err, LAZY_E_PROTOCOL,
				      "protocol versions differ");
	if (!hello->nr || hello->nr > LAZY_HANDOVER_MAX_REGIONS)
		return lazy_error_set(err, LAZY_E_PROTOCOL,
				      "%u regions, must be 1 to %d", hello->nr,
				      LAZY_HANDOVER_MAX_REGIONS);
	for (size_t i = 0; i < hello->nr; i++)
		wanted += hello->regions[i].populate != LAZY_COPY;
	if (got->nr_fds != wanted)
		return lazy_error_set(err, LAZY_E_PROTOCOL,
				      "received %zu descriptors, must be %zu",
				      got->nr_fds, wanted);
	if (!lazy_is_userfaultfd(got->fds[0]))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "received a descriptor that is not a userfaultfd");
	return 0;
}

static int check_file(const struct lazy_region *r, size_t i,
		      struct lazy_error *err)
{
	struct stat st;

	if (fstat(r->fd, &st) || !S_ISREG(st.st_mode))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu: not a memory file", i);
	if (r->fd_offset > (uint64_t)st.st_size ||
	    r->len > st.st_size - r->fd_offset)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu: the memory file is too short", i);
	return 0;
}

int lazy__receive_hello(int sock, struct lazy__hello *hello, int *uffd,
			int timeout_ms, struct lazy_error *err)
{
	struct received got;
	size_t used = 1;
	int ret;

	if (!lazy__wait(sock, POLLIN, timeout_ms))
		return lazy_error_set(err, LAZY_E_TIMEOUT,
				      "timed out waiting for the hypervisor");
	receive(sock, hello, &got);
	ret = check_message(hello, &got, err);
	for (size_t i = 0; i < LAZY_HANDOVER_MAX_REGIONS; i++)
		hello->regions[i].fd = -1;
	for (size_t i = 0; !ret && i < hello->nr; i++) {
		if (hello->regions[i].populate == LAZY_COPY)
			continue;
		hello->regions[i].fd = got.fds[used++];
		ret = check_file(&hello->regions[i], i, err);
	}
	if (!ret) {
		*uffd = got.fds[0];
		return hello->nr;
	}
	while (got.nr_fds)
		close(got.fds[--got.nr_fds]);
	return -1;
}
