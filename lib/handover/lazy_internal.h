/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Internals of the handler, private to these files:
 *
 *	lazy_socket.c	messages, both ends
 *	lazy_handler.c	the loop: events, faults, background
 *	lazy_fill.c	filling pages: the ioctls and their results
 *
 * A handler is single-threaded, so there are no locks.
 */
#ifndef LAZY_INTERNAL_H
#define LAZY_INTERNAL_H

#include <sys/types.h>

#include "lazy.h"

#define LAZY_PROTOCOL	2
#define LAZY_MAX_SPACES	16	/* the hypervisor and its children */

/* The hypervisor's first message, which carries the descriptors. */
struct hello {
	uint32_t protocol;
	uint32_t nr;
	struct lazy_region regions[LAZY_MAX_REGIONS];
};

/* All other messages. The handler's last one is CLOSED or FAILED. */
enum message_type {
	MESSAGE_READY, MESSAGE_PROGRESS, MESSAGE_DONE, MESSAGE_FAILED,
	MESSAGE_ALIVE, MESSAGE_CLOSED,
};

struct message {
	uint32_t type;
	uint32_t reserved;
	struct lazy_stats stats;
	struct reason reason;
};

/*
 * Returns 0, or -1 and errno: EAGAIN if the peer reads too slowly, any other
 * error if the connection is lost. Never blocks.
 */
int send_message(int sock, const struct message *message);

/*
 * Receives up to @len bytes, as recv() does; 0 if the peer has closed its end
 * and all messages that it sent before have been received.
 */
ssize_t receive_bytes(int sock, void *buf, size_t len, int flags);

/*
 * State of a page in one address space. A page that is FILLED may have been
 * changed by the guest and is never filled again.
 */
enum page {
	ABSENT,
	FILLED,
	REMOVED,		/* discarded: reads as zeroes */
	GONE,			/* unmapped */
};

/* The address space of the hypervisor, or of a child that it forked. */
struct space {
	int uffd;
	uint8_t *pages;		/* enum page of each page of each region */
};

struct region {
	struct lazy_region is;
	int fd;			/* of the memory's file, or -1 */
	char *alias;		/* LAZY_ALIAS: mapping of the file */
	uint64_t first;		/* index of its first page, over all regions */
	uint64_t nr;		/* number of pages */
};

/* A fault that waits to be served. */
struct fault {
	size_t space;		/* index */
	struct region *region;
	uint64_t page;		/* index over all regions */
	bool missing;		/* MISSING fault: no page in the file either */
	uint64_t since;		/* nanoseconds */
	struct fault *next;
};

struct queue {
	struct fault *head, **tail;
};

struct handler {
	int sock;
	const struct snapshot *snap;
	const struct lazy_options *options;
	struct lazy_stats *stats;
	struct reason *reason;
	uint64_t started;	/* nanoseconds, 0: not yet */
	uint64_t reported;	/* last progress message, ns since started */
	bool alive;		/* lazy_alive() was called */
	bool done;		/* the hypervisor's memory is filled */
	bool reported_done;	/* DONE was sent */

	struct region regions[LAZY_MAX_REGIONS];
	size_t nr;
	struct space spaces[LAZY_MAX_SPACES];	/* the first: the hypervisor's */
	size_t nr_spaces;
	/*
	 * Pages whose content is in the region's file. The file is shared by
	 * all address spaces, so this array is as well.
	 */
	uint8_t *populated;

	struct queue faults, parked;

	/* Background: position in the order, and afterwards in the memory. */
	size_t next_ordered;
	uint64_t next_page;
	uint64_t stuck_since;	/* no progress since then, 0: not stuck */
	int again;		/* errno of the last TRY_AGAIN */

	size_t range;		/* bytes filled at once in the background */
	char *buffer;		/* a range or a granule, the longer of them */
	char *zeroes;		/* of the same length */
};

/* Result of an attempt to fill. */
enum outcome {
	FILLED_NOW,		/* all pages are present, their waiters woken */
	TRY_AGAIN,		/* some pages are not; a retry may succeed */
	NO_SPACE_LEFT,		/* the address space no longer exists */
	BROKEN,			/* the reason is set */
};

/**
 * fill() - fill pages and wake their waiters
 * @h: the handler
 * @space: the address space to fill
 * @r: the region
 * @page: index of the first page, over all regions
 * @nr: number of pages, all with the same enum page, and all populated or none
 * @missing: as far as the caller knows, the pages are not in the file either
 * @added: set to the number of pages that this call added
 *
 * Return: enum outcome.
 */
enum outcome fill(struct handler *h, struct space *space, struct region *r,
		  uint64_t page, uint64_t nr, bool missing, uint64_t *added);

#endif /* LAZY_INTERNAL_H */
