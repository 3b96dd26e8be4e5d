/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Internals of the server:
 *
 *	server.c	a server's life: new, step, state, free
 *	check.c		is this a userfaultfd, are the regions what they claim?
 *	pages.c		the state of each page
 *	events.c	reads messages: faults, REMOVE, UNMAP, FORK
 *	fault.c		serves faults, parks those that cannot be served yet
 *	around.c	how much to fill around a fault
 *	background.c	which range to fill next
 *	fill.c		fills pages: the ioctls and their results
 *	threads.c	threads of the server
 *	poison.c	gives up
 *
 * Locks, in this order:
 *
 *	populate	regions with a file are filled by one thread at a time,
 *			since nothing else prevents that a page is populated
 *			twice
 *	layout		shared: fill, with the state of the pages; exclusive:
 *			read an event and change the state. A REMOVE is
 *			completed by the kernel as soon as its event is read, so
 *			no fill may be under way that knows the old state. Taken
 *			only if the userfaultfd has events enabled.
 *	mutex		parked faults, background position, failure, callbacks
 */
#ifndef LAZY_CORE_H
#define LAZY_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <lazyrestore/server.h>

#include "uapi.h"

#define LAZY__PAGE		4096ULL
#define LAZY__MAX_THREADS	8
#define LAZY__BATCH		32	/* messages read at once */
#define LAZY__MAX_SPACES	1024	/* processes served at once */
#define LAZY__RETRY_MS		1
#define LAZY__MAX_BUFFER	(1ULL << 30)	/* the largest granule */

/* State of a page in one address space, as two bits. */
enum lazy__page {
	LAZY__ABSENT = 0,
	LAZY__FILLED = 1,	/* perhaps changed by the guest since */
	LAZY__REMOVED = 2,	/* discarded: zeroes from now on */
	LAZY__GONE = 3,		/* unmapped */
};

struct lazy__pages {
	_Atomic uint64_t *filled, *removed;	/* bit 0 and bit 1 of the state */
	size_t words;
};

/* An address space: of the process that was handed over, or of a child. */
struct lazy__space {
	int uffd;			/* -1: unused */
	uint32_t generation;		/* incremented when it is reused */
	struct lazy__pages pages;
};

struct lazy__region {
	struct lazy_region is;
	unsigned int shift;		/* of the granule */
	char *alias;			/* LAZY_ALIAS: mapping of the file */
	uint64_t first;			/* index of its first page, of all */
	uint64_t nr;			/* number of pages */
	bool doubtful;			/* EEXIST has to be verified */
};

struct lazy__fault {
	struct lazy__fault *next;
	size_t space;			/* index */
	uint32_t generation;
	struct lazy__region *region;
	uint64_t page;			/* index, of all regions */
	bool missing;			/* MISSING: not in the file either */
	bool write;			/* write-protect fault: it is present */
	bool returned;			/* came back after EEXIST and a wake */
	uint64_t since;			/* ns */
};

/* How much to fill around the faults that a thread serves: around.c. */
struct lazy__around {
	unsigned int probes, hits;
	unsigned int turn;
	bool dense;
};

/* What a thread needs to serve. */
struct lazy__worker {
	struct lazy_server *s;
	pthread_t thread;
	char *buffer;			/* content that was read */
	size_t buffer_len;
	struct lazy__around around;
	struct uffd_msg msgs[LAZY__BATCH];
	struct lazy_error err;
	int again;			/* errno of the last LAZY__AGAIN */
};

struct lazy_server {
	struct lazy_server_config config;
	struct lazy_source source;
	struct lazy__region *regions;	/* sorted by address */
	size_t nr;
	uint64_t pages;			/* of all regions */
	bool events;			/* other messages than faults may arrive */
	bool has_fill;			/* UFFDIO_FILL with SKIP_PRESENT */
	bool has_nowait;		/* RWF_NOWAIT works on the userfaultfd */
	uint64_t nowhere;		/* address of an inaccessible page */
	uint64_t started;		/* ns */
	char *zeroes;			/* a read-only mapping of zeroes */
	size_t zeroes_len;
	int epoll;			/* of all userfaultfds */
	int changed;			/* eventfd: the state has changed */
	int stop;			/* eventfd: the threads have to end */

	pthread_mutex_t populate;
	struct lazy__pages populated;	/* bit 0: content is in the file */

	pthread_rwlock_t layout;
	struct lazy__space *spaces;
	size_t nr_spaces;

	pthread_mutex_t mutex;
	struct lazy__fault *parked, **parked_tail;
	_Atomic unsigned int nr_parked;
	/* Pages whose waiters were woken although EEXIST is doubtful. */
	struct { uint64_t page, since; } suspects[64];
	unsigned int nr_suspects;
	size_t next_ordered;
	struct lazy__region *next_region;
	uint64_t next_page;
	uint64_t wrapped;		/* ns, the last time at the end */
	unsigned int nr_ahead;		/* threads that fill a claimed range */
	struct lazy_error failure;
	_Atomic int state;		/* enum lazy_state */
	_Atomic uint64_t filled_at;	/* ns since started */
	_Atomic uint64_t stuck_since;	/* ns, the background; 0: it is not */
	_Atomic uint64_t progressed;	/* pages at the last lazy__progress() */
	_Atomic bool background;

	struct lazy__pages blocks;	/* around.c: FILLED: was probed */

	_Atomic uint64_t demand, in_background, found, removed, bytes, faults,
			 nr_parks, discarded, children, writes;

	struct lazy__worker own;	/* of lazy_server_step() */
	struct lazy__worker *workers;	/* threads.c */
	unsigned int nr_workers;	/* that were started, of @threads */
	unsigned int threads;
	_Atomic bool stopping;
};

/* pages.c */
int lazy__pages_init(struct lazy__pages *p, uint64_t nr);
void lazy__pages_free(struct lazy__pages *p);
void lazy__pages_copy(struct lazy__pages *to, const struct lazy__pages *from);
enum lazy__page lazy__page(const struct lazy__pages *p, uint64_t page);
/* Sets the state of @nr pages; returns how many were ABSENT before. */
uint64_t lazy__pages_set(struct lazy__pages *p, uint64_t page, uint64_t nr,
			 enum lazy__page to);
/* The first page in [@page, @end) that is ABSENT, or @end. */
uint64_t lazy__next_absent(const struct lazy__pages *p, uint64_t page,
			   uint64_t end);
/* The number of ABSENT pages from @page on, at most @max. */
uint64_t lazy__absent_run(const struct lazy__pages *p, uint64_t page,
			  uint64_t max);
/* The number of pages directly before @page that are not ABSENT, at most @max. */
uint64_t lazy__present_before(const struct lazy__pages *p, uint64_t page,
			      uint64_t max);

/* check.c */
int lazy__check_config(struct lazy_server *s, struct lazy_error *err);
int lazy__check_registered(struct lazy_server *s, struct lazy_error *err);
/* The features of UFFDIO_API, or -1. */
int64_t lazy__uffd_features(int fd);
bool lazy__space_exists(struct lazy_server *s, int uffd);

/* events.c */
struct lazy__region *lazy__region_at(struct lazy_server *s, uint64_t address);
/*
 * Reads a batch of messages and serves its faults. Returns the number of
 * messages, or -1 with the error of @w set.
 */
int lazy__serve_messages(struct lazy__worker *w, bool block);
void lazy__drop_space(struct lazy_server *s, size_t i);
/* Reads and applies messages without serving faults. Were there any? */
bool lazy__drain(struct lazy__worker *w);

/* fault.c */
int lazy__serve_fault(struct lazy__worker *w, struct lazy__fault *fault);
int lazy__serve_parked(struct lazy__worker *w);
void lazy__free_parked(struct lazy_server *s);

/* around.c */
/* Sets the range to fill for a fault at @page, which it includes. */
void lazy__around(struct lazy__worker *w, const struct lazy__pages *pages,
		  const struct lazy__region *r, uint64_t page,
		  uint64_t *start, uint64_t *end);

/* background.c */
/* 1: a range was filled, 0: nothing to do (or not yet), -1: failed. */
int lazy__fill_ahead(struct lazy__worker *w);

/* fill.c */
enum lazy__outcome {
	LAZY__DONE,		/* all pages are present, their waiters woken */
	LAZY__AGAIN,		/* some are not; a retry may succeed */
	LAZY__DOUBT,		/* EEXIST that is not reliable */
	LAZY__NO_SPACE,		/* the address space no longer exists */
	LAZY__BROKEN,		/* the error of the worker is set */
};

enum lazy__cause {
	LAZY__DEMAND,		/* for a fault */
	LAZY__AROUND,		/* around a fault: up to the first present page */
	LAZY__AHEAD,		/* in the background */
};

/*
 * Fills @nr pages of the same state, and wakes their waiters. @missing: as far
 * as the caller knows they are not in the file either. The caller holds layout
 * shared.
 */
enum lazy__outcome lazy__fill(struct lazy__worker *w, struct lazy__space *space,
			      struct lazy__region *r, uint64_t page,
			      uint64_t nr, bool missing,
			      enum lazy__cause cause);
/* Lifts the write protection of a page, and wakes its waiters. */
enum lazy__outcome lazy__unprotect(struct lazy__worker *w,
				   struct lazy__space *space,
				   struct lazy__region *r, uint64_t page);
void lazy__wake(int uffd, uint64_t address, uint64_t len);

/* server.c */
uint64_t lazy__now(void);
bool lazy__overdue(const struct lazy_server *s, uint64_t since);
void lazy__fail(struct lazy_server *s, const struct lazy_error *err);
void lazy__progress(struct lazy_server *s);
/*
 * Serves messages and parked faults, or fills a range. Returns the time in ms
 * until there may be more to do (0, or -1 for no limit), -2 on failure.
 */
int lazy__work(struct lazy__worker *w);
int lazy__worker_init(struct lazy__worker *w, struct lazy_server *s);
void lazy__worker_free(struct lazy__worker *w);
static inline void lazy__share(struct lazy_server *s)
{
	if (s->events)
		pthread_rwlock_rdlock(&s->layout);
}

static inline void lazy__exclude(struct lazy_server *s)
{
	if (s->events)
		pthread_rwlock_wrlock(&s->layout);
}

static inline void lazy__unlock(struct lazy_server *s)
{
	if (s->events)
		pthread_rwlock_unlock(&s->layout);
}

static inline uint64_t lazy__address(const struct lazy__region *r,
				     uint64_t page)
{
	return r->is.address + ((page - r->first) << r->shift);
}

static inline uint64_t lazy__offset(const struct lazy__region *r,
				    uint64_t page)
{
	return r->is.offset + ((page - r->first) << r->shift);
}

#endif /* LAZY_CORE_H */
