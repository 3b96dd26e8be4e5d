// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Messages. If an AF_UNIX socket is closed with unread messages, the peer's
 * next call fails with ECONNRESET, even if messages for the peer are still
 * queued. Neither end therefore closes the socket before it has read everything
 * that the other end sent: the hypervisor calls shutdown(SHUT_WR); the handler
 * reads up to that end of file, sends its last message and closes; the
 * hypervisor reads that message and closes. A failing handler cannot wait for
 * the hypervisor: it prevents further messages by shutdown(SHUT_RD) and reads
 * those that have arrived.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "handover.h"

int lazy__send_message(int sock, const struct lazy__message *message)
{
	ssize_t n;

	do {
		n = send(sock, message, sizeof(*message),
			 MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*message) ? 0 : -1;
}

ssize_t lazy__receive_bytes(int sock, void *buf, size_t len)
{
	ssize_t n;

	/*
	 * ECONNRESET is reported once if the peer was killed, or closed the
	 * socket with unread messages. The peer's own messages are still queued
	 * and are followed by end of file.
	 */
	do {
		n = recv(sock, buf, len, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	return n;
}

uint64_t lazy__now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

bool lazy__wait(int sock, short events, int timeout_ms)
{
	struct pollfd pollfd = { .fd = sock, .events = events };
	uint64_t deadline = lazy__now_ms() + timeout_ms, now;
	int ready;

	do {
		now = lazy__now_ms();
		ready = poll(&pollfd, 1, now < deadline ? deadline - now : 0);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}
