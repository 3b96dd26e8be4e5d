/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Messages, and functions shared by both ends:
 *
 *	message.c	sends and receives messages
 *	hypervisor.c	the hypervisor's end
 *	handler.c	the handler's end: the loop
 *	hello.c		the handler's end: receives and verifies the hello
 */
#ifndef LAZY_HANDOVER_INTERNAL_H
#define LAZY_HANDOVER_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include <lazyrestore/handover.h>

#define LAZY__PROTOCOL	3
#define LAZY__MAX_FDS	(1 + LAZY_HANDOVER_MAX_REGIONS)

/*
 * The hypervisor's first message. It carries the userfaultfd, then the file of
 * each region that is not filled with LAZY_COPY.
 */
struct lazy__hello {
	uint32_t protocol;
	uint32_t nr;
	struct lazy_region regions[LAZY_HANDOVER_MAX_REGIONS];
};

/* All other messages. The handler's last one is CLOSED or FAILED. */
enum lazy__type {
	LAZY__READY, LAZY__PROGRESS, LAZY__FINISHED, LAZY__FAILURE,
	LAZY__ALIVE, LAZY__CLOSED,
};

struct lazy__message {
	uint32_t type;
	uint32_t reserved;
	struct lazy_handover_stats stats;
	struct lazy_error err;
};

/*
 * Returns 0, or -1 and errno: EAGAIN if the peer reads too slowly, any other
 * error if the connection is lost. Never blocks.
 */
int lazy__send_message(int sock, const struct lazy__message *message);

/*
 * Receives up to @len bytes, as recv() does, and never blocks; 0 if the peer
 * has closed its end and all messages that it sent before have been received.
 */
ssize_t lazy__receive_bytes(int sock, void *buf, size_t len);

/* Waits for @events on @sock. Returns false after @timeout_ms. */
bool lazy__wait(int sock, short events, int timeout_ms);

uint64_t lazy__now_ms(void);

/*
 * Receives the hello. Returns the number of regions, whose descriptors and
 * *@uffd the caller closes; or -1 with none left open.
 */
int lazy__receive_hello(int sock, struct lazy__hello *hello, int *uffd,
			int timeout_ms, struct lazy_error *err);
void lazy__close_regions(struct lazy__hello *hello);

#endif /* LAZY_HANDOVER_INTERNAL_H */
