// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Gives up: poisons what is absent, so that no access waits for ever or reads
 * zeroes, then unregisters the memory, so that no event waits for a reader.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "core.h"

#define LIMIT_NS	10000000000ULL	/* while mappings change */

/*
 * Poisons [@address, @address + @len) up to the first page that is present or
 * unmapped. Returns the number of bytes that are dealt with, or -1 and errno.
 */
static int64_t poison(int uffd, uint64_t address, uint64_t len,
		      uint64_t granule)
{
	struct uffdio_poison arg = { .range = { address, len } };

	if (!ioctl(uffd, UFFDIO_POISON, &arg))
		return len;
	if (arg.updated > 0)
		return arg.updated;
	if ((errno == ENOENT || errno == EFAULT) && len > granule)
		return poison(uffd, address, granule, granule);
	/* EFAULT: beyond the end of the file, where each access gets SIGBUS. */
	if (errno == EEXIST || errno == ENOENT || errno == EFAULT) {
		lazy__wake(uffd, address, granule);
		return granule;
	}
	return -1;
}

static int failed(struct lazy_error *err)
{
	if (errno == EINVAL || errno == ENOTTY)
		return lazy_error_set(err, LAZY_E_UNSUPPORTED,
				      "this kernel does not support UFFDIO_POISON");
	if (errno == ESRCH)
		return lazy_error_set(err, LAZY_E_GONE,
				      "the process whose memory it is has exited");
	return lazy_error_set(err, LAZY_E_SYSTEM, "UFFDIO_POISON: %m");
}

/*
 * While a change of the mappings is under way, the ioctls fail with EAGAIN: until
 * its event was read, and its owner has continued. The owner may begin the next
 * change some microseconds later. So a thread of its own reads events, and the
 * caller comes at any moment in between, also on a single processor.
 */
struct reader {
	struct lazy_server *s;
	pthread_t thread;
	_Atomic bool stop;
	bool runs;
};

static void *read_events(void *arg)
{
	struct reader *r = arg;

	while (!r->stop) {
		struct pollfd pollfd = { .fd = r->s->epoll, .events = POLLIN };

		poll(&pollfd, 1, 1);
		lazy__exclude(r->s);
		lazy__drain(&r->s->own);
		lazy__unlock(r->s);
	}
	return NULL;
}

/* With the lock of @r->s held, which protects what an event changes; or NULL. */
static void await_change(struct reader *r)
{
	if (!r) {
		usleep(20);
		return;
	}
	if (!r->runs)
		lazy__drain(&r->s->own);
	lazy__unlock(r->s);
	usleep(20);
	lazy__exclude(r->s);
}

static int poison_range(struct reader *r, int uffd, uint64_t address,
			uint64_t len, uint64_t granule, struct lazy_error *err)
{
	uint64_t since = lazy__now();

	while (len) {
		int64_t n = poison(uffd, address, len, granule);

		if (n > 0) {
			address += n;
			len -= n;
			since = lazy__now();
			continue;
		}
		if (errno == EINTR)
			continue;
		if ((errno != EAGAIN && errno != ENOMEM) ||
		    lazy__now() - since > LIMIT_NS)
			return failed(err);
		await_change(r);
	}
	return 0;
}

int lazy_poison(int uffd, uint64_t address, uint64_t len, uint64_t granule,
		struct lazy_error *err)
{
	return poison_range(NULL, uffd, address, len, granule, err);
}

static int poison_region(struct reader *reader, struct lazy__space *space,
			 const struct lazy__region *r, struct lazy_error *err)
{
	uint64_t page = r->first, end = page + r->nr, nr;

	for (; page < end; page += nr) {
		/* Present pages are skipped without a call. */
		for (nr = 0; page < end &&
		     lazy__page(&space->pages, page) == LAZY__FILLED; page++)
			;
		while (page + nr < end &&
		       lazy__page(&space->pages, page + nr) != LAZY__FILLED)
			nr++;
		if (nr && poison_range(reader, space->uffd,
				       lazy__address(r, page), nr << r->shift,
				       r->is.granule, err))
			return -1;
	}
	return 0;
}

static void unregister(struct lazy__space *space, const struct lazy__region *r)
{
	struct uffdio_range range = { r->is.address, r->is.len };

	/* Fails if part of it was unmapped: then page by page. */
	if (!ioctl(space->uffd, UFFDIO_UNREGISTER, &range) || errno == ESRCH)
		return;
	for (uint64_t i = 0; i < r->nr; i++) {
		range.start = lazy__address(r, r->first + i);
		range.len = r->is.granule;
		ioctl(space->uffd, UFFDIO_UNREGISTER, &range);
	}
}

/*
 * A change that began before the memory was unregistered may send its event only
 * now. After that, none can begin.
 */
static void await_last_change(struct reader *reader, struct lazy__space *space)
{
	const struct lazy__region *r = reader->s->regions;
	uint64_t since = lazy__now();

	while (poison(space->uffd, r->is.address, r->is.granule,
		      r->is.granule) < 0 && errno == EAGAIN &&
	       lazy__now() - since < LIMIT_NS)
		await_change(reader);
}

int lazy_server_poison(struct lazy_server *s, struct lazy_error *err)
{
	struct reader reader = { .s = s };
	struct lazy_error why;
	int ret = 0;

	if (s->nr_workers)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "the server has threads");
	lazy_error_set(&why, LAZY_E_GONE, "given up");
	lazy__fail(s, &why);
	reader.runs = s->events && !pthread_create(&reader.thread, NULL,
						   read_events, &reader);
	lazy__exclude(s);
	lazy__drain(&s->own);
	for (size_t i = 0; i < s->nr_spaces; i++) {
		struct lazy__space *space = &s->spaces[i];

		if (space->uffd < 0)
			continue;
		for (size_t j = 0; j < s->nr; j++) {
			struct lazy__region *r = &s->regions[j];

			/* A child that has exited is no failure. */
			if (poison_region(&reader, space, r, i ? NULL : err) && !i)
				ret = -1;
			else
				unregister(space, r);
		}
		lazy__drain(&s->own);
		await_last_change(&reader, space);
	}
	lazy__unlock(s);
	reader.stop = true;
	if (reader.runs)
		pthread_join(reader.thread, NULL);
	return ret;
}
