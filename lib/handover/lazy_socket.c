// SPDX-License-Identifier: GPL-2.0
/*
 * The hypervisor's end of the socket, and functions shared by both ends.
 *
 * If an AF_UNIX socket is closed with unread messages, the peer's next call
 * fails with ECONNRESET, even if messages for the peer are still queued.
 * Neither end therefore closes the socket before it has read everything that
 * the other end sent: the hypervisor calls shutdown(SHUT_WR); the handler reads
 * up to that end of file, sends its last message and closes; the hypervisor
 * reads that message and closes. A failing handler cannot wait for the
 * hypervisor: it prevents further messages by shutdown(SHUT_RD) and reads those
 * that have arrived.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lazy_internal.h"

int send_message(int sock, const struct message *message)
{
	ssize_t n;

	do {
		n = send(sock, message, sizeof(*message),
			 MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*message) ? 0 : -1;
}

ssize_t receive_bytes(int sock, void *buf, size_t len, int flags)
{
	ssize_t n;

	/*
	 * ECONNRESET is reported once if the peer was killed, or closed the
	 * socket with unread messages. The peer's own messages are still queued
	 * and are followed by end of file.
	 */
	do {
		n = recv(sock, buf, len, flags);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	return n;
}

static int send_hello(int sock, struct hello *hello, const int *fds, size_t nr)
{
	union {
		char buf[CMSG_SPACE((1 + LAZY_MAX_REGIONS) * sizeof(int))];
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

/* Receives the handler's next message. Returns -1 at end of file. */
static int receive(int sock, struct message *message)
{
	if (receive_bytes(sock, message, sizeof(*message), 0) !=
	    sizeof(*message))
		return -1;
	message->reason.text[sizeof(message->reason.text) - 1] = '\0';
	return 0;
}

int lazy_hand_over(int sock, int uffd, const struct lazy_region *regions,
		   const int *files, size_t nr, int timeout_ms,
		   struct reason *reason)
{
	struct hello hello = { .protocol = LAZY_PROTOCOL, .nr = nr };
	struct pollfd pollfd = { .fd = sock, .events = POLLIN };
	int fds[1 + LAZY_MAX_REGIONS], nr_fds = 0, ready;
	struct message message;

	if (!nr || nr > LAZY_MAX_REGIONS)
		return because(reason, "%zu regions, must be 1 to %d",
			       nr, LAZY_MAX_REGIONS);
	memcpy(hello.regions, regions, nr * sizeof(*regions));
	fds[nr_fds++] = uffd;
	for (size_t i = 0; i < nr; i++)
		if (regions[i].populate != LAZY_COPY)
			fds[nr_fds++] = files[i];
	if (send_hello(sock, &hello, fds, nr_fds))
		return because(reason, "cannot send to the handler: %m");
	do {
		ready = poll(&pollfd, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return because(reason, "timed out waiting for the handler");
	if (receive(sock, &message))
		return because(reason, "lost the connection to the handler");
	if (message.type == MESSAGE_FAILED)
		return because(reason, "the handler: %s", message.reason.text);
	if (message.type != MESSAGE_READY)
		return because(reason, "protocol error: unexpected message from the handler");
	return 0;
}

enum lazy_event lazy_receive(int sock, struct lazy_stats *stats,
			     struct reason *reason)
{
	struct message message;

	if (receive(sock, &message)) {
		because(reason, "lost the connection to the handler");
		return LAZY_END;
	}
	*stats = message.stats;
	switch (message.type) {
	case MESSAGE_PROGRESS:
		return LAZY_PROGRESS;
	case MESSAGE_DONE:
		return LAZY_DONE;
	case MESSAGE_FAILED:
		because(reason, "the handler: %s", message.reason.text);
		return LAZY_FAILED;
	default:
		because(reason, "protocol error: unexpected message from the handler");
		return LAZY_END;
	}
}

void lazy_alive(int sock)
{
	/* EAGAIN: the queue is full of earlier calls; only the first counts. */
	send_message(sock, &(struct message) { .type = MESSAGE_ALIVE });
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int lazy_finish(int sock, int timeout_ms, struct lazy_stats *stats,
		struct reason *reason)
{
	struct pollfd pollfd = { .fd = sock, .events = POLLIN };
	int64_t left, deadline = now_ms() + timeout_ms;
	struct message message;

	shutdown(sock, SHUT_WR);
	for (;;) {
		left = deadline - now_ms();
		if (left < 0)
			left = 0;
		switch (poll(&pollfd, 1, left)) {
		case -1:
			if (errno == EINTR)
				continue;
			return because(reason, "poll: %m");
		case 0:
			return because(reason, "timed out waiting for the handler");
		}
		if (receive(sock, &message))
			return because(reason, "lost the connection to the handler");
		*stats = message.stats;
		switch (message.type) {
		case MESSAGE_PROGRESS:
		case MESSAGE_DONE:
			continue;
		case MESSAGE_CLOSED:
			return 0;
		case MESSAGE_FAILED:
			return because(reason, "the handler: %s",
				       message.reason.text);
		default:
			return because(reason, "protocol error: unexpected message from the handler");
		}
	}
}
