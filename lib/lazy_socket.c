// SPDX-License-Identifier: GPL-2.0
/*
 * The hypervisor's end of the socket, and what both ends use.
 *
 * A socket of AF_UNIX that is closed with messages unread makes the peer's next
 * call fail with ECONNRESET, also if messages for the peer are still queued.
 * So neither end closes before it has read everything that the other one sent:
 * the hypervisor ends the conversation by shutdown(SHUT_WR), the handler reads
 * up to that end, sends its last message, and closes; the hypervisor reads up
 * to that and closes. A handler that fails cannot wait for the hypervisor: it
 * forbids further messages by shutdown(SHUT_RD), and reads what has arrived.
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
	 * ECONNRESET, reported once: the peer was killed, or closed without
	 * reading all. Its messages are still queued, and are followed by 0.
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

/* The handler's next message; -1 if it has gone. */
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
		return because(reason, "%zu regions, and 1 to %d are possible",
			       nr, LAZY_MAX_REGIONS);
	memcpy(hello.regions, regions, nr * sizeof(*regions));
	fds[nr_fds++] = uffd;
	for (size_t i = 0; i < nr; i++)
		if (regions[i].populate != LAZY_COPY)
			fds[nr_fds++] = files[i];
	if (send_hello(sock, &hello, fds, nr_fds))
		return because(reason, "cannot reach the handler: %m");
	do {
		ready = poll(&pollfd, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return because(reason, "the handler does not answer");
	if (receive(sock, &message))
		return because(reason, "the handler has gone");
	if (message.says == SAYS_FAILED)
		return because(reason, "the handler: %s", message.reason.text);
	if (message.says != SAYS_READY)
		return because(reason, "the handler broke the protocol");
	return 0;
}

enum lazy_event lazy_receive(int sock, struct lazy_stats *stats,
			     struct reason *reason)
{
	struct message message;

	if (receive(sock, &message)) {
		because(reason, "the handler has gone");
		return LAZY_END;
	}
	*stats = message.stats;
	switch (message.says) {
	case SAYS_PROGRESS:
		return LAZY_PROGRESS;
	case SAYS_DONE:
		return LAZY_DONE;
	case SAYS_FAILED:
		because(reason, "the handler: %s", message.reason.text);
		return LAZY_FAILED;
	default:
		because(reason, "the handler broke the protocol");
		return LAZY_END;
	}
}

void lazy_alive(int sock)
{
	/* Full of earlier ones: only the first counts. */
	send_message(sock, &(struct message) { .says = SAYS_ALIVE });
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
			return because(reason, "the handler does not answer");
		}
		if (receive(sock, &message))
			return because(reason, "the handler has gone");
		*stats = message.stats;
		switch (message.says) {
		case SAYS_PROGRESS:
		case SAYS_DONE:
			continue;
		case SAYS_CLOSED:
			return 0;
		case SAYS_FAILED:
			return because(reason, "the handler: %s",
				       message.reason.text);
		default:
			return because(reason, "the handler broke the protocol");
		}
	}
}
