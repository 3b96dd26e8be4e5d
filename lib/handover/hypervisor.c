// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The hypervisor's end of the socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "handover.h"

static int send_hello(int sock, struct lazy__hello *hello, const int *fds,
		      size_t nr)
{
	union {
		char buf[CMSG_SPACE(LAZY__MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { hello, sizeof(*hello) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, nr * sizeof(int));
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*hello) ? 0 : -1;
}

/* Returns 1, 0 if there is no message, or -1 if there will be none. */
static int receive(int sock, struct lazy__message *message)
{
	ssize_t n = lazy__receive_bytes(sock, message, sizeof(*message));

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n != sizeof(*message))
		return -1;
	message->err.text[sizeof(message->err.text) - 1] = '\0';
	return 1;
}

static int lost(struct lazy_error *err)
{
	errno = 0;
	return lazy_error_set(err, LAZY_E_GONE,
			      "lost the connection to the handler");
}

static int failed(const struct lazy__message *message, struct lazy_error *err)
{
	errno = message->err.os_errno;
	return lazy_error_set(err, message->err.code, "the handler: %.200s",
			      message->err.text);
}

static int unexpected(struct lazy_error *err)
{
	return lazy_error_set(err, LAZY_E_PROTOCOL,
			      "protocol error: unexpected message from the handler");
}

int lazy_handover_send(int sock, int uffd, const struct lazy_region *regions,
		       size_t region_size, size_t nr, int timeout_ms,
		       struct lazy_error *err)
{
	struct lazy__hello hello = { .protocol = LAZY__PROTOCOL, .nr = nr };
	int fds[LAZY__MAX_FDS], nr_fds = 0;
	struct lazy__message message;

	if (!nr || nr > LAZY_HANDOVER_MAX_REGIONS ||
	    region_size > sizeof(struct lazy_region))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "%zu regions, must be 1 to %d",
				      nr, LAZY_HANDOVER_MAX_REGIONS);
	fds[nr_fds++] = uffd;
	for (size_t i = 0; i < nr; i++) {
		struct lazy_region *r = &hello.regions[i];

		memcpy(r, (const char *)regions + i * region_size, region_size);
		if (r->populate != LAZY_COPY)
			fds[nr_fds++] = r->fd;
		r->fd = -1;
	}
	if (send_hello(sock, &hello, fds, nr_fds))
		return lazy_error_set(err, LAZY_E_SYSTEM,
				      "cannot send to the handler: %m");
	if (!lazy__wait(sock, POLLIN, timeout_ms))
		return lazy_error_set(err, LAZY_E_TIMEOUT,
				      "timed out waiting for the handler");
	if (receive(sock, &message) != 1)
		return lost(err);
	if (message.type == LAZY__FAILURE)
		return failed(&message, err);
	return message.type == LAZY__READY ? 0 : unexpected(err);
}

enum lazy_event lazy_handover_receive(int sock,
				      struct lazy_handover_stats *stats,
				      struct lazy_error *err)
{
	struct lazy__message message;

	switch (receive(sock, &message)) {
	case 0:
		return LAZY_EVENT_NONE;
	case 1:
		break;
	default:
		lost(err);
		return LAZY_EVENT_END;
	}
	*stats = message.stats;
	switch (message.type) {
	case LAZY__PROGRESS:
		return LAZY_EVENT_PROGRESS;
	case LAZY__FINISHED:
		return LAZY_EVENT_DONE;
	case LAZY__FAILURE:
		failed(&message, err);
		return LAZY_EVENT_FAILED;
	default:
		unexpected(err);
		return LAZY_EVENT_END;
	}
}

void lazy_handover_alive(int sock)
{
	/* EAGAIN: the queue is full of earlier calls; only the first counts. */
	lazy__send_message(sock,
			   &(struct lazy__message) { .type = LAZY__ALIVE });
}

int lazy_handover_finish(int sock, int timeout_ms,
			 struct lazy_handover_stats *stats,
			 struct lazy_error *err)
{
	uint64_t now, deadline = lazy__now_ms() + timeout_ms;
	struct lazy__message message;
	int got;

	shutdown(sock, SHUT_WR);
	for (;;) {
		now = lazy__now_ms();
		if (!lazy__wait(sock, POLLIN,
				now < deadline ? deadline - now : 0))
			return lazy_error_set(err, LAZY_E_TIMEOUT,
					      "timed out waiting for the handler");
		got = receive(sock, &message);
		if (got < 0)
			return lost(err);
		if (!got)
			continue;
		*stats = message.stats;
		switch (message.type) {
		case LAZY__PROGRESS:
		case LAZY__FINISHED:
			/* Not for ever, however many of them there are. */
			if (now < deadline)
				continue;
			return lazy_error_set(err, LAZY_E_TIMEOUT,
					      "timed out waiting for the handler");
		case LAZY__CLOSED:
			return 0;
		case LAZY__FAILURE:
			return failed(&message, err);
		default:
			return unexpected(err);
		}
	}
}
