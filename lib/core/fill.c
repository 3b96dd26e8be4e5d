// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Fills pages: the userfaultfd ioctls, and the meaning of each result.
 *
 *	0		all pages are present, and their waiters woken
 *	progress	some pages are: continue with the next page; the next
 *			call reports why this one stopped
 *	-EEXIST		the next page is already present: wake its waiters and
 *			skip it. Not reliable for hugetlb: see verify().
 *	-EAGAIN		the mappings are about to change: their owner waits
 *			until its event is read
 *	-ENOMEM, -ENOSPC memory shortage, which may be temporary
 *	-ENOENT		the range is not in one registered mapping
 *	-EFAULT		COPY: the source cannot be read; CONTINUE: the page was
 *			removed from the file again
 *	-ESRCH		the process has exited
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core.h"

static enum lazy__outcome again(struct lazy__worker *w, int error)
{
	w->again = error;
	return LAZY__AGAIN;
}

static enum lazy__outcome broken(struct lazy__worker *w, const char *what)
{
	lazy_error_set(&w->err, LAZY_E_SYSTEM, "%s: %m", what);
	return LAZY__BROKEN;
}

void lazy__wake(int uffd, uint64_t address, uint64_t len)
{
	struct uffdio_range range = { address, len };

	/* Fails only if no fault can be waiting any more. */
	ioctl(uffd, UFFDIO_WAKE, &range);
}

/* A single call for a range. These return the bytes filled, or -errno. */
static int64_t copy(int uffd, uint64_t address, const char *from, uint64_t len,
		    bool protect)
{
	struct uffdio_copy arg = {
		.dst = address,
		.src = (uintptr_t)from,
		.len = len,
		.mode = protect ? UFFDIO_COPY_MODE_WP : 0,
	};

	if (!ioctl(uffd, UFFDIO_COPY, &arg))
		return len;
	return arg.copy > 0 ? arg.copy : -errno;
}

static int64_t zero(int uffd, uint64_t address, uint64_t len)
{
	struct uffdio_zeropage arg = { .range = { address, len } };

	if (!ioctl(uffd, UFFDIO_ZEROPAGE, &arg))
		return len;
	return arg.zeropage > 0 ? arg.zeropage : -errno;
}

static int64_t proceed(int uffd, uint64_t address, uint64_t len, bool protect)
{
	struct uffdio_continue arg = {
		.range = { address, len },
		.mode = protect ? UFFDIO_CONTINUE_MODE_WP : 0,
	};

	if (!ioctl(uffd, UFFDIO_CONTINUE, &arg))
		return len;
	return arg.mapped > 0 ? arg.mapped : -errno;
}

enum operation { COPY, ZERO, CONTINUE };

static int64_t call(int uffd, enum operation op, uint64_t address,
		    const char *from, uint64_t len, bool protect)
{
	switch (op) {
	case COPY:
		return copy(uffd, address, from, len, protect);
	case ZERO:
		return zero(uffd, address, len);
	default:
		return proceed(uffd, address, len, protect);
	}
}

/*
 * The same by UFFDIO_FILL, which skips present pages and wakes their waiters:
 * no call fails for them. The bytes that it returns include @skipped.
 */
static int64_t call_skipping(int uffd, enum operation op, uint64_t address,
			     const char *from, uint64_t len, bool protect,
			     uint64_t *skipped)
{
	static const uint32_t ops[] = {
		[COPY] = _UFFDIO_COPY,
		[ZERO] = _UFFDIO_ZEROPAGE,
		[CONTINUE] = _UFFDIO_CONTINUE,
	};
	struct uffdio_fill_range range = {
		.start = address,
		.len = len,
		.src = op == COPY ? (uintptr_t)from : 0,
	};
	struct uffdio_fill arg = {
		.ranges = (uintptr_t)&range,
		.count = 1,
		.op = ops[op],
		.mode = UFFDIO_FILL_MODE_SKIP_PRESENT |
			(protect ? UFFDIO_FILL_MODE_WP : 0),
	};
	int error = ioctl(uffd, UFFDIO_FILL, &arg) ? errno : (int)range.error;

	*skipped = range.skipped;
	return range.filled + range.skipped ? : (uint64_t)-error;
}

static bool protects(const struct lazy__region *r)
{
	return r->is.flags & LAZY_REGION_PROTECT;
}

enum lazy__outcome lazy__unprotect(struct lazy__worker *w,
				   struct lazy__space *space,
				   struct lazy__region *r, uint64_t page)
{
	struct uffdio_writeprotect arg = {
		.range = { lazy__address(r, page), r->is.granule },
	};

	while (ioctl(space->uffd, UFFDIO_WRITEPROTECT, &arg)) {
		switch (errno) {
		case EINTR:
			continue;
		case EAGAIN:
		case ENOMEM:
			return again(w, errno);
		case ENOENT:
			/* It was unmapped. */
			lazy__wake(space->uffd, arg.range.start, arg.range.len);
			return LAZY__DONE;
		case ESRCH:
			return LAZY__NO_SPACE;
		default:
			return broken(w, "UFFDIO_WRITEPROTECT");
		}
	}
	return LAZY__DONE;
}

/*
 * The pages [@page, @page + @nr) are filled now, @found of them before this
 * call. Pages of children are not counted.
 */
static void filled(struct lazy__worker *w, struct lazy__space *space,
		   uint64_t page, uint64_t nr, uint64_t found,
		   _Atomic uint64_t *count)
{
	struct lazy_server *s = w->s;
	uint64_t absent;

	absent = lazy__pages_set(&space->pages, page, nr, LAZY__FILLED);
	if (space != s->spaces || !absent)
		return;
	/* Another thread may have filled and counted what was found. */
	if (found > absent)
		found = absent;
	s->found += found;
	*count += absent - found;
}

/*
 * Is a page really present? If the pool of huge pages is exhausted, UFFDIO_COPY
 * answers EEXIST for an absent page on stock kernels. UFFDIO_CONTINUE does not
 * allocate: for a shared mapping it answers EFAULT if the file has no page. For
 * a private mapping it knows nothing.
 */
static enum lazy__outcome verify(struct lazy__worker *w,
				 struct lazy__space *space,
				 struct lazy__region *r, uint64_t page)
{
	int64_t n;

	if (!r->doubtful || lazy__page(&space->pages, page) == LAZY__FILLED)
		return LAZY__DONE;
	if (!(r->is.flags & LAZY_REGION_SHARED))
		return LAZY__DOUBT;
	n = proceed(space->uffd, lazy__address(r, page), r->is.granule,
		    protects(r));
	if (n > 0 || n == -EEXIST)
		return LAZY__DONE;
	return again(w, n == -EFAULT ? ENOMEM : -n);
}

/*
 * EFAULT of COPY: the source is a mapping of a file that was truncated, or
 * cannot be read.
 */
static enum lazy__outcome unreadable(struct lazy__worker *w)
{
	errno = EFAULT;
	lazy_error_set(&w->err, LAZY_E_SOURCE, "cannot read the source: %m");
	return LAZY__BROKEN;
}

static enum lazy__outcome install(struct lazy__worker *w,
				  struct lazy__space *space,
				  struct lazy__region *r, uint64_t page,
				  uint64_t nr, enum operation op,
				  const char *from, enum lazy__cause cause)
{
	struct lazy_server *s = w->s;
	_Atomic uint64_t *count = cause == LAZY__AHEAD ?
				  &s->in_background : &s->demand;
	uint64_t at_once = nr, done = 0;
	enum lazy__outcome outcome;

	while (done < nr) {
		uint64_t address = lazy__address(r, page + done);
		uint64_t pages = at_once < nr - done ? at_once : nr - done;
		uint64_t len = pages << r->shift, skipped = 0;
		const char *src = op == COPY ? from + (done << r->shift) : NULL;
		int64_t n;

		n = pages > 1 && s->has_fill ?
		    call_skipping(space->uffd, op, address, src, len,
				  protects(r), &skipped) :
		    call(space->uffd, op, address, src, len, protects(r));
		if (n > 0) {
			n >>= r->shift;
			skipped >>= r->shift;
			if (r->is.populate != LAZY_COPY)
				lazy__pages_set(&s->populated, page + done, n,
						LAZY__FILLED);
			filled(w, space, page + done, n, skipped, count);
			s->bytes += (n - skipped) << r->shift;
			done += n;
			continue;
		}
		switch (-n) {
		case EINTR:
			continue;
		case EEXIST:
			outcome = verify(w, space, r, page + done);
			if (outcome != LAZY__DONE)
				return outcome;
			lazy__wake(space->uffd, address, r->is.granule);
			if (r->is.populate != LAZY_COPY)
				lazy__pages_set(&s->populated, page + done, 1,
						LAZY__FILLED);
			filled(w, space, page + done++, 1, 1, count);
			/* Another thread fills this range: leave it to it. */
			if (cause == LAZY__AROUND)
				return LAZY__DONE;
			continue;
		case ENOENT:
			/* Part of the range may be mapped: retry by page. */
			if (pages > 1) {
				at_once = 1;
				continue;
			}
			lazy__wake(space->uffd, address, r->is.granule);
			if (lazy__pages_set(&space->pages, page + done++, 1,
					    LAZY__GONE) && space == s->spaces)
				s->removed++;
			continue;
		case EFAULT:
			if (op == COPY)
				return unreadable(w);
			/* The page was removed from the file. */
			lazy__pages_set(&s->populated, page + done, 1,
					LAZY__ABSENT);
			return again(w, EFAULT);
		case EAGAIN:
		case ENOMEM:
		case ENOSPC:
			return again(w, -n);
		case ESRCH:
			return LAZY__NO_SPACE;
		default:
			errno = -n;
			return broken(w, op == COPY ? "UFFDIO_COPY" :
				      op == ZERO ? "UFFDIO_ZEROPAGE" :
				      "UFFDIO_CONTINUE");
		}
	}
	return LAZY__DONE;
}

/* The content of pages that are not known to be zero, or NULL. */
static const char *content(struct lazy__worker *w, const struct lazy__region *r,
			   uint64_t page, uint64_t nr)
{
	const struct lazy_source *source = &w->s->source;
	uint64_t offset = lazy__offset(r, page);

	if (source->map)
		return (const char *)source->map + offset;
	if (!source->read(source->arg, offset, w->buffer, nr << r->shift,
			  &w->err))
		return w->buffer;
	if (!w->err.code)
		w->err.code = LAZY_E_SOURCE;
	return NULL;
}

/* Writes content to the memory's file, still unmapped in the guest. */
static enum lazy__outcome populate(struct lazy__worker *w,
				   struct lazy__region *r, uint64_t page,
				   uint64_t nr, const char *from)
{
	uint64_t offset = (page - r->first) << r->shift, len = nr << r->shift;
	struct iovec local, remote;
	ssize_t n;

	while (len) {
		if (r->is.populate == LAZY_PWRITE) {
			n = pwrite(r->is.fd, from, len,
				   r->is.fd_offset + offset);
		} else {
			/*
			 * Not memcpy(): EFAULT instead of SIGBUS if either file
			 * is too short, or no huge page is left.
			 */
			local = (struct iovec) { r->alias + offset, len };
			remote = (struct iovec) { (char *)from, len };
			n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOMEM ||
			      errno == ENOSPC || errno == EFAULT))
			return again(w, errno);
		if (n <= 0)
			return broken(w, "cannot write to the memory file");
		from += n;
		offset += n;
		len -= n;
	}
	lazy__pages_set(&w->s->populated, page, nr, LAZY__FILLED);
	return LAZY__DONE;
}

/* Fills pages that are all zero, or all to be read. */
static enum lazy__outcome fill_run(struct lazy__worker *w,
				   struct lazy__space *space,
				   struct lazy__region *r, uint64_t page,
				   uint64_t nr, bool zeroes, bool missing,
				   enum lazy__cause cause)
{
	/* ZEROPAGE cannot protect. */
	enum operation op = zeroes && !protects(r) &&
			    r->is.flags & LAZY_REGION_ZEROPAGE ? ZERO : COPY;
	const char *from = w->s->zeroes;
	enum lazy__outcome outcome;
	bool removed = lazy__page(&space->pages, page) == LAZY__REMOVED;

	if (removed && !missing)
		/* A MINOR fault: the file still has the page. Keep it. */
		return install(w, space, r, page, nr, CONTINUE, NULL, cause);
	if (removed || r->is.populate == LAZY_COPY || (op == ZERO && missing &&
	    lazy__page(&w->s->populated, page) == LAZY__ABSENT)) {
		/* ZEROPAGE fills the file and the page table in one step. */
		if (!zeroes) {
			from = content(w, r, page, nr);
			if (!from)
				return LAZY__BROKEN;
		}
		return install(w, space, r, page, nr, op, from, cause);
	}
	while (nr) {
		uint64_t run;

		/* Pages in the file are mapped, and never written again. */
		run = lazy__absent_run(&w->s->populated, page, nr);
		if (run) {
			if (!zeroes)
				from = content(w, r, page, run);
			if (!from)
				return LAZY__BROKEN;
			outcome = populate(w, r, page, run, from);
			if (outcome != LAZY__DONE)
				return outcome;
		} else {
			run = lazy__next_absent(&w->s->populated, page,
						page + nr) - page;
		}
		outcome = install(w, space, r, page, run, CONTINUE, NULL, cause);
		if (outcome != LAZY__DONE)
			return outcome;
		page += run;
		nr -= run;
	}
	return LAZY__DONE;
}

/* The number of pages from @page on that are alike: known zeroes, or not. */
static uint64_t alike(struct lazy__worker *w, const struct lazy__region *r,
		      uint64_t page, uint64_t nr, bool *zeroes)
{
	const struct lazy_source *source = &w->s->source;
	uint64_t offset = lazy__offset(r, page), run = 0;

	*zeroes = false;
	if (source->zeros)
		run = source->zeros(source->arg, offset, nr << r->shift) >>
		      r->shift;
	*zeroes = run;
	if (run) {
		if (run > nr)
			run = nr;
		if (run > w->s->zeroes_len >> r->shift)
			run = w->s->zeroes_len >> r->shift;
		return run;
	}
	/* The buffer limits what is read at once. */
	if (!source->map && nr > w->buffer_len >> r->shift)
		nr = w->buffer_len >> r->shift;
	for (run = 1; source->zeros && run < nr; run++)
		if (source->zeros(source->arg, offset + (run << r->shift),
				  r->is.granule) >= r->is.granule)
			break;
	return source->zeros ? run : nr;
}

enum lazy__outcome lazy__fill(struct lazy__worker *w, struct lazy__space *space,
			      struct lazy__region *r, uint64_t page,
			      uint64_t nr, bool missing, enum lazy__cause cause)
{
	bool lock = r->is.populate != LAZY_COPY, zeroes;
	enum lazy__page state = lazy__page(&space->pages, page);
	enum lazy__outcome outcome = LAZY__DONE;

	if (lock)
		pthread_mutex_lock(&w->s->populate);
	while (nr && outcome == LAZY__DONE) {
		uint64_t run = 1;

		if (state == LAZY__REMOVED)
			zeroes = true;
		else
			run = alike(w, r, page, nr, &zeroes);
		outcome = fill_run(w, space, r, page, run, zeroes, missing,
				   cause);
		page += run;
		nr -= run;
	}
	if (lock)
		pthread_mutex_unlock(&w->s->populate);
	lazy__progress(w->s);
	return outcome;
}
