/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the handler share, and nobody else.
 *
 *	lazy_socket.c	messages, both ends
 *	lazy_handler.c	the loop: events, faults, background
 *	lazy_fill.c	filling pages: the ioctls and what they answer
 *
 * A handler is one thread, so there are no locks.
 */
#ifndef LAZY_INTERNAL_H
#define LAZY_INTERNAL_H

#include <sys/types.h>

#include "lazy.h"

#define LAZY_PROTOCOL	2
#define LAZY_MAX_SPACES	16	/* the hypervisor, and what it forks */

/* The first message, from the hypervisor; with it come the descriptors. */
struct hello {
	uint32_t protocol;
	uint32_t nr;
	struct lazy_region regions[LAZY_MAX_REGIONS];
};

/* All others. CLOSED is the handler's last one, unless it is FAILED. */
enum says {
	SAYS_READY, SAYS_PROGRESS, SAYS_DONE, SAYS_FAILED, SAYS_ALIVE,
	SAYS_CLOSED,
};

struct message {
	uint32_t says;
	uint32_t reserved;
	struct lazy_stats stats;
	struct reason reason;
};

/*
 * Returns 0, or -1 and errno: EAGAIN if the peer reads too slowly, anything
 * else if it has gone. Never blocks.
 */
int send_message(int sock, const struct message *message);

/*
 * Receives up to @len bytes, as recv() does; 0 if the peer has closed its end.
 * What the peer sent before that always comes first.
 */
ssize_t receive_bytes(int sock, void *buf, size_t len, int flags);

/*
 * What is known of a page in one address space. A page that is FILLED may have
 * been changed by the guest and is never filled again.
 */
enum page {
	ABSENT,
	FILLED,
	REMOVED,		/* given up: zeroes, if it is asked for */
	GONE,			/* unmapped */
};

/* An address space: the hypervisor's, or that of a child that it forked. */
struct space {
	int uffd;
	uint8_t *pages;		/* enum page of each page of each region */
};

struct region {
	struct lazy_region is;
	int fd;			/* of the memory's file, or -1 */
	char *alias;		/* LAZY_ALIAS: it, mapped */
	uint64_t first;		/* number of its first page among all */
	uint64_t nr;		/* of pages */
};

/* A fault that waits to be served. */
struct fault {
	size_t space;		/* index */
	struct region *region;
	uint64_t page;		/* among all */
	bool missing;		/* there was no page, not even in the file */
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
	uint64_t told;		/* of progress, nanoseconds since then */
	bool alive;		/* lazy_alive() was called */
	bool done;		/* the hypervisor's memory is filled ... */
	bool told_done;		/* ... and it was told so */

	struct region regions[LAZY_MAX_REGIONS];
	size_t nr;
	struct space spaces[LAZY_MAX_SPACES];	/* the first: the hypervisor's */
	size_t nr_spaces;
	/*
	 * Which pages of a region with a file have their content there. The
	 * file is everybody's, so this is, too.
	 */
	uint8_t *populated;

	struct queue faults, parked;

	/* The background: where it is in the order, and then in the memory. */
	size_t next_ordered;
	uint64_t next_page;
	uint64_t stuck_since;	/* no progress there, 0: not stuck */
	int again;		/* errno of the last TRY_AGAIN */

	size_t range;		/* bytes, of the background */
	char *buffer;		/* of a range or a granule, what is longer */
	char *zeroes;		/* the same */
};

/* What came of an attempt to fill. */
enum outcome {
	FILLED_NOW,		/* all pages are there, their waiters woken */
	TRY_AGAIN,		/* some are not, and may be later */
	NO_SPACE_LEFT,		/* the address space itself has gone */
	BROKEN,			/* the reason is set */
};

/**
 * fill() - fill pages, and wake who waits for them
 * @h: the handler
 * @space: whose page tables
 * @r: the region
 * @page: the first one, among all
 * @nr: how many, all of the same enum page, and all populated or none
 * @missing: there is no page, not even in the file, as far as the caller knows
 * @added: is set to how many are there because of this call
 */
enum outcome fill(struct handler *h, struct space *space, struct region *r,
		  uint64_t page, uint64_t nr, bool missing, uint64_t *added);

#endif /* LAZY_INTERNAL_H */
