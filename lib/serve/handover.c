// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Receives a hand-over and checks it. The process that does so belongs to the
 * VM whose message it is, so a slow or hostile peer harms its own VM only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve.h"

#define MAX_MESSAGE	(16 << 20)	/* bytes: for 100,000 regions */
#define MAX_DESCRIPTORS	253		/* SCM_MAX_FD of the kernel */
#define MAX_PAGE_SIZE	(1UL << 30)

/* The array that is being received. */
struct message {
	struct framing framing;
	bool complete;
	char *text;
	size_t len, room;
};

static int store(struct message *m, char byte, struct lazy_error *error)
{
	char *text;

	if (m->len == m->room) {
		if (m->room >= MAX_MESSAGE)
			return lazy_error_set(error, LAZY_E_PROTOCOL,
				    "the message is longer than %d bytes",
				    MAX_MESSAGE);
		m->room = m->room ? 2 * m->room : 4096;
		text = realloc(m->text, m->room);
		if (!text)
			return lazy_error_set(error, LAZY_E_MEMORY,
					      "out of memory");
		m->text = text;
	}
	m->text[m->len++] = byte;
	return 0;
}

static int take_bytes(struct message *m, const char *bytes, size_t len,
		      struct lazy_error *error)
{
	for (size_t i = 0; i < len; i++) {
		int step = framing_step(&m->framing, bytes[i]);

		if (step < 0)
			return lazy_error_set(error, LAZY_E_PROTOCOL,
				    "the message is not a JSON array");
		/* An array after a complete one replaces it. */
		if (m->complete && m->framing.depth) {
			m->complete = false;
			m->len = 0;
		}
		if ((m->framing.depth || step) && store(m, bytes[i], error))
			return -1;
		if (step)
			m->complete = true;
	}
	return 0;
}

static int take_descriptors(struct msghdr *msg, int *uffd,
			    struct lazy_error *error)
{
	int fds[MAX_DESCRIPTORS];
	size_t nr = 0;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), nr * sizeof(int));
	}
	if (!nr && !(msg->msg_flags & MSG_CTRUNC))
		return 0;
	if (nr == 1 && !(msg->msg_flags & MSG_CTRUNC) && *uffd < 0 &&
	    lazy_is_userfaultfd(fds[0])) {
		*uffd = fds[0];
		return 0;
	}
	if (msg->msg_flags & MSG_CTRUNC)
		lazy_error_set(error, LAZY_E_SYSTEM,
		     "cannot receive the descriptors: too many open files");
	else if (nr > 1 || *uffd >= 0)
		lazy_error_set(error, LAZY_E_PROTOCOL,
		     "the message has more than one descriptor");
	else
		lazy_error_set(error, LAZY_E_PROTOCOL,
		     "the descriptor is not a userfaultfd");
	while (nr)
		close(fds[--nr]);
	return -1;
}

/* Returns the number of bytes taken, 0 at the end of the stream, or -1. */
static ssize_t receive(int sock, struct message *m, int *uffd,
		       struct lazy_error *error)
{
	union {
		char buf[CMSG_SPACE(MAX_DESCRIPTORS * sizeof(int))];
		struct cmsghdr align;
	} control;
	char bytes[16384];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot receive: %m");
	if (take_descriptors(&msg, uffd, error) ||
	    take_bytes(m, bytes, n, error))
		return -1;
	return n;
}

static int receive_all(int sock, int timeout_ms, struct message *m, int *uffd,
		       struct lazy_error *error)
{
	uint64_t end = now_ms() + timeout_ms;
	ssize_t n;

	while (!m->complete || *uffd < 0) {
		struct pollfd pollfd = { .fd = sock, .events = POLLIN };
		uint64_t now = now_ms();
		int ready = 0;

		if (now < end)
			ready = poll(&pollfd, 1, end - now);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return lazy_error_set(error, LAZY_E_SYSTEM,
					      "cannot poll: %m");
		if (!ready)
			return lazy_error_set(error, LAZY_E_TIMEOUT,
					      "timed out waiting for the %s",
					      m->complete ? "userfaultfd" :
							    "message");
		n = receive(sock, m, uffd, error);
		if (n < 0)
			return -1;
		if (!n)
			return lazy_error_set(error, LAZY_E_PROTOCOL,
					      m->complete ?
					      "the message came without a userfaultfd" :
					      "the connection ended before the message did");
	}
	return 0;
}

int handover_receive(int sock, int timeout_ms, struct handover *handover,
		     struct lazy_error *error)
{
	struct message m = {};
	int ret;

	*handover = (struct handover) { .uffd = -1 };
	ret = receive_all(sock, timeout_ms, &m, &handover->uffd, error);
	if (!ret)
		ret = handover_parse(m.text, m.len, handover, error);
	free(m.text);
	return ret;
}

static int by_address(const void *a, const void *b)
{
	const struct handover_region *l = a, *r = b;

	return (l->address > r->address) - (l->address < r->address);
}

static int by_offset(const void *a, const void *b)
{
	const struct handover_region *l = a, *r = b;

	return (l->offset > r->offset) - (l->offset < r->offset);
}

static int check_region(struct handover_region *r, uint64_t length,
			struct lazy_error *error)
{
	uint64_t page = sysconf(_SC_PAGESIZE), end;
	const char *why = NULL;

	if (r->page_size < page || r->page_size > MAX_PAGE_SIZE ||
	    r->page_size & (r->page_size - 1))
		why = "its page size is invalid";
	else if (!r->size)
		why = "it is empty";
	else if ((r->address | r->size) & (r->page_size - 1))
		why = "it is not aligned to its page size";
	else if (r->offset & (page - 1))
		why = "its offset is not aligned to a page";
	else if (__builtin_add_overflow(r->address, r->size, &end))
		why = "it ends behind the last address";
	else if (r->offset > length || r->size > length - r->offset)
		why = "it ends behind the end of the memory file";
	if (!why)
		return 0;
	return lazy_error_set(error, LAZY_E_PROTOCOL,
		    "the region at %#llx of %llu bytes is invalid: %s",
		    (unsigned long long)r->address, (unsigned long long)r->size,
		    why);
}

int handover_check(struct handover *handover, uint64_t length,
		   struct lazy_error *error)
{
	struct handover_region *r = handover->regions;

	for (size_t i = 0; i < handover->nr; i++)
		if (check_region(&r[i], length, error))
			return -1;
	qsort(r, handover->nr, sizeof(*r), by_offset);
	for (size_t i = 1; i < handover->nr; i++)
		if (r[i].offset - r[i - 1].offset < r[i - 1].size)
			return lazy_error_set(error, LAZY_E_PROTOCOL,
				    "regions overlap at offset %llu of the memory file",
				    (unsigned long long)r[i].offset);
	qsort(r, handover->nr, sizeof(*r), by_address);
	for (size_t i = 1; i < handover->nr; i++)
		if (r[i].address - r[i - 1].address < r[i - 1].size)
			return lazy_error_set(error, LAZY_E_PROTOCOL,
				    "regions overlap at address %#llx",
				    (unsigned long long)r[i].address);
	return 0;
}

void handover_free(struct handover *handover)
{
	free(handover->regions);
	if (handover->uffd >= 0)
		close(handover->uffd);
	*handover = (struct handover) { .uffd = -1 };
}
