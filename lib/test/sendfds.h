/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Descriptors in a message, for tests and fuzz targets. */
#ifndef LAZY_TEST_SENDFDS_H
#define LAZY_TEST_SENDFDS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEND_FDS_MAX	32

/* One message with @nr descriptors, at most SEND_FDS_MAX */
static inline bool send_fds(int sock, const void *bytes, size_t len,
			    const int *fds, size_t nr)
{
	union {
		char buf[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (void *)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nr) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nr * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The number that the next descriptor gets; @fd is any open one. */
static inline int next_descriptor(int fd)
{
	int next = dup(fd);

	close(next);
	return next;
}

#endif /* LAZY_TEST_SENDFDS_H */
