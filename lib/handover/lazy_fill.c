// SPDX-License-Identifier: GPL-2.0
/*
 * Fills pages: the userfaultfd ioctls, and the meaning of each result.
 *
 *	0		all pages are present, and their waiters woken
 *	progress	some pages are: continue with the next page; the next
 *			call reports why this one stopped
 *	-EEXIST		the next page is already present: wake its waiters and
 *			skip it
 *	-EAGAIN		the hypervisor's mappings are about to change: it waits
 *			until the handler has read the event
 *	-ENOMEM, -ENOSPC memory shortage, which may be temporary
 *	-ENOENT		the range is not in one registered mapping
 *	-EFAULT		(CONTINUE) the page was removed from the file again
 *	-ESRCH		the process has exited
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lazy_internal.h"

static enum outcome again(struct handler *h, int error)
{
	h->again = error;
	return TRY_AGAIN;
}

static enum outcome broken(struct handler *h, const char *what)
{
	because(h->reason, "%s: %m", what);
	return BROKEN;
}

static uint64_t offset_in(const struct region *r, uint64_t page)
{
	return (page - r->first) * r->is.granule;
}

/* The content of pages, or NULL with the reason set. */
static const char *content(struct handler *h, const struct region *r,
			   uint64_t page, uint64_t nr)
{
	uint64_t offset = r->is.offset + offset_in(r, page);
	size_t len = nr * r->is.granule;

	if (snap_is_zero(h->snap, offset, len))
		return h->zeroes;
	if (snap_read(h->snap, offset, h->buffer, len, h->reason))
		return NULL;
	return h->buffer;
}

static void wake(struct space *space, uint64_t address, uint64_t len)
{
	struct uffdio_range range = { address, len };

	/* Fails only if no fault can be waiting any more. */
	ioctl(space->uffd, UFFDIO_WAKE, &range);
}

/* A single call for a range. Returns the number of bytes filled, or -errno. */
static int64_t copy(struct space *space, uint64_t address, const char *from,
		    uint64_t len)
{
	struct uffdio_copy arg = {
		.dst = address,
		.src = (uintptr_t)from,
		.len = len,
	};

	if (!ioctl(space->uffd, UFFDIO_COPY, &arg))
		return len;
	return arg.copy > 0 ? arg.copy : -errno;
}

static int64_t zero(struct space *space, uint64_t address, uint64_t len)
{
	struct uffdio_zeropage arg = { .range = { address, len } };

	if (!ioctl(space->uffd, UFFDIO_ZEROPAGE, &arg))
		return len;
	return arg.zeropage > 0 ? arg.zeropage : -errno;
}

static int64_t proceed(struct space *space, uint64_t address, uint64_t len)
{
	struct uffdio_continue arg = { .range = { address, len } };

	if (!ioctl(space->uffd, UFFDIO_CONTINUE, &arg))
		return len;
	return arg.mapped > 0 ? arg.mapped : -errno;
}

/*
 * Copies @from, or maps the content of the file if @from is NULL. Copies into
 * file-backed memory end up in the file as well.
 */
static enum outcome install(struct handler *h, struct space *space,
			    struct region *r, uint64_t page, uint64_t nr,
			    const char *from, uint64_t *added)
{
	uint64_t granule = r->is.granule, at_once = nr, done = 0;

	while (done < nr) {
		uint64_t address = r->is.address + offset_in(r, page + done);
		uint64_t pages = at_once < nr - done ? at_once : nr - done;
		int64_t n;

		if (!from)
			n = proceed(space, address, pages * granule);
		else if (from == h->zeroes && r->is.zeropage)
			n = zero(space, address, pages * granule);
		else
			n = copy(space, address, from + done * granule,
				 pages * granule);
		if (n > 0) {
			n /= granule;
			memset(space->pages + page + done, FILLED, n);
			memset(h->populated + page + done, true, n);
			*added += n;
			done += n;
			continue;
		}
		errno = -n;
		switch (errno) {
		case EINTR:
			continue;
		case EEXIST:
			wake(space, address, granule);
			h->populated[page + done] = true;
			space->pages[page + done++] = FILLED;
			h->stats->found++;
			continue;
		case ENOENT:
			/* Part of the range may be mapped: retry by page. */
			if (pages > 1) {
				at_once = 1;
				continue;
			}
			wake(space, address, granule);
			space->pages[page + done++] = GONE;
			h->stats->removed++;
			continue;
		case EFAULT:
			if (from)
				return broken(h, "UFFDIO_COPY");
			/* The page was removed from the file. */
			h->populated[page + done] = false;
			return again(h, EFAULT);
		case EAGAIN:
		case ENOMEM:
		case ENOSPC:
			return again(h, -n);
		case ESRCH:
			return NO_SPACE_LEFT;
		default:
			return broken(h, from ? "UFFDIO_COPY or ZEROPAGE" :
					 "UFFDIO_CONTINUE");
		}
	}
	return FILLED_NOW;
}

/* Writes content to the memory's file, still unmapped in the guest. */
static enum outcome populate(struct handler *h, struct region *r,
			     uint64_t page, uint64_t nr)
{
	uint64_t offset = offset_in(r, page), len = nr * r->is.granule;
	const char *from = content(h, r, page, nr);

	if (!from)
		return BROKEN;
	if (r->is.populate == LAZY_ALIAS) {
		memcpy(r->alias + offset, from, len);
		len = 0;
	}
	for (offset += r->is.fd_offset; len;) {
		ssize_t n = pwrite(r->fd, from, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOMEM ||
			      errno == ENOSPC))
			return again(h, errno);
		if (n <= 0)
			return broken(h, "cannot write to the memory file");
		from += n;
		offset += n;
		len -= n;
	}
	memset(h->populated + page, true, nr);
	return FILLED_NOW;
}

enum outcome fill(struct handler *h, struct space *space, struct region *r,
		  uint64_t page, uint64_t nr, bool missing, uint64_t *added)
{
	uint64_t offset = r->is.offset + offset_in(r, page);
	const char *from = NULL;
	enum outcome outcome;

	*added = 0;
	if (space->pages[page] == REMOVED) {
		/* After a MINOR fault the file still has the page: keep it. */
		if (missing)
			from = h->zeroes;
	} else if (r->is.populate == LAZY_COPY) {
		from = content(h, r, page, nr);
		if (!from)
			return BROKEN;
	} else if (!h->populated[page] && missing && r->is.zeropage &&
		   snap_is_zero(h->snap, offset, nr * r->is.granule)) {
		/* ZEROPAGE fills the file and the page table in one step. */
		from = h->zeroes;
	} else if (!h->populated[page]) {
		outcome = populate(h, r, page, nr);
		if (outcome != FILLED_NOW)
			return outcome;
	}
	return install(h, space, r, page, nr, from, added);
}
