// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Messages of the userfaultfds: batches of faults, and the events that change
 * the state of pages. The kernel delivers faults before events.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core.h"

struct lazy__region *lazy__region_at(struct lazy_server *s, uint64_t address)
{
	size_t low = 0, high = s->nr;

	while (low < high) {
		size_t i = (low + high) / 2;
		struct lazy__region *r = &s->regions[i];

		if (address < r->is.address)
			high = i;
		else if (address - r->is.address < r->is.len)
			return r;
		else
			low = i + 1;
	}
	return NULL;
}

/* REMOVE or UNMAP of the pages that lie completely within [@start, @end). */
static void mark(struct lazy_server *s, size_t space, uint64_t start,
		 uint64_t end, enum lazy__page to)
{
	struct lazy__pages *pages = &s->spaces[space].pages;

	for (size_t i = 0; i < s->nr; i++) {
		struct lazy__region *r = &s->regions[i];
		uint64_t mask = r->is.granule - 1, from, to_page, absent;
		bool keep;

		if (end <= r->is.address)
			break;
		if (start >= r->is.address + r->is.len)
			continue;
		from = start <= r->is.address ? 0 :
		       (start - r->is.address + mask) >> r->shift;
		to_page = end - r->is.address >= r->is.len ? r->nr :
			  (end - r->is.address) >> r->shift;
		/* See LAZY_REGION_SHARED. */
		keep = to == LAZY__REMOVED &&
		       (r->is.flags & LAZY_REGION_SHARED) &&
		       !(r->is.flags & LAZY_REGION_DISCARD);
		while (from < to_page) {
			uint64_t page = r->first + from, nr = to_page - from;

			if (keep) {
				uint64_t skip = lazy__absent_run(pages, page, nr);

				if (skip) {
					from += skip;
					continue;
				}
				nr = lazy__next_absent(pages, page, page + nr) -
				     page;
			}
			absent = lazy__pages_set(pages, page, nr, to);
			if (!space) {
				s->removed += absent;
				s->discarded += nr - absent;
			}
			from += nr;
		}
	}
	if (!space)
		lazy__progress(s);
}

void lazy__drop_space(struct lazy_server *s, size_t i)
{
	struct lazy__space *space = &s->spaces[i];

	close(space->uffd);
	lazy__pages_free(&space->pages);
	space->uffd = -1;
	space->generation++;
	s->children--;
}

/*
 * The slots of children that have exited are used again: nothing reports the
 * exit of a process, so each fork looks for them.
 */
static size_t free_slot(struct lazy_server *s)
{
	size_t found = 0;

	for (size_t i = 1; i < s->nr_spaces; i++) {
		if (s->spaces[i].uffd >= 0 &&
		    !lazy__space_exists(s, s->spaces[i].uffd))
			lazy__drop_space(s, i);
		if (!found && s->spaces[i].uffd < 0)
			found = i;
	}
	if (!found && s->nr_spaces < LAZY__MAX_SPACES)
		found = s->nr_spaces++;
	return found;
}

static int add_child(struct lazy__worker *w, size_t parent, int uffd)
{
	struct lazy_server *s = w->s;
	size_t i = free_slot(s);
	struct lazy__space *child = &s->spaces[i];
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = i };

	if (!i) {
		close(uffd);
		return lazy_error_set(&w->err, LAZY_E_UNSUPPORTED,
				      "more than %d children at the same time",
				      LAZY__MAX_SPACES - 1);
	}
	if (lazy__pages_init(&child->pages, s->pages)) {
		close(uffd);
		return lazy_error_set(&w->err, LAZY_E_MEMORY, "out of memory");
	}
	child->uffd = uffd;
	fcntl(uffd, F_SETFL, O_RDWR | O_NONBLOCK);
	s->children++;
	lazy__pages_copy(&child->pages, &s->spaces[parent].pages);
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, uffd, &event))
		return lazy_error_set(&w->err, LAZY_E_SYSTEM, "epoll_ctl: %m");
	return 0;
}

static int take_event(struct lazy__worker *w, size_t space,
		      const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_REMOVE:
		mark(w->s, space, msg->arg.remove.start, msg->arg.remove.end,
		     LAZY__REMOVED);
		return 0;
	case UFFD_EVENT_UNMAP:
		mark(w->s, space, msg->arg.remove.start, msg->arg.remove.end,
		     LAZY__GONE);
		return 0;
	case UFFD_EVENT_FORK:
		return add_child(w, space, msg->arg.fork.ufd);
	default:
		return lazy_error_set(&w->err, LAZY_E_UNSUPPORTED,
				      "unsupported event %#x", msg->event);
	}
}

static int take_fault(struct lazy__worker *w, size_t space,
		      const struct uffd_msg *msg)
{
	struct lazy_server *s = w->s;
	uint64_t address = msg->arg.pagefault.address;
	uint64_t flags = msg->arg.pagefault.flags;
	struct lazy__region *r = lazy__region_at(s, address);
	struct lazy__fault fault = {
		.space = space,
		.generation = s->spaces[space].generation,
		.region = r,
		.missing = !(flags & UFFD_PAGEFAULT_FLAG_MINOR),
		.write = flags & UFFD_PAGEFAULT_FLAG_WP,
	};

	if (!r)
		return lazy_error_set(&w->err, LAZY_E_ARGUMENT,
				      "fault at %#llx, outside all regions",
				      (unsigned long long)address);
	if (fault.write && !(r->is.flags & LAZY_REGION_PROTECT))
		return lazy_error_set(&w->err, LAZY_E_UNSUPPORTED,
				      "unexpected write-protect fault");
	fault.page = r->first + ((address - r->is.address) >> r->shift);
	return lazy__serve_fault(w, &fault);
}

static ssize_t read_messages(struct lazy__worker *w, size_t space, bool block)
{
	struct iovec iov = { w->msgs, sizeof(w->msgs) };
	int uffd = w->s->spaces[space].uffd;
	ssize_t n;

	if (block) {
		/* lazy_server_stop() cancels the thread. */
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		n = read(uffd, w->msgs, sizeof(w->msgs));
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	} else if (w->s->has_nowait && !space) {
		/* The userfaultfds of children do not support RWF_NOWAIT. */
		n = preadv2(uffd, &iov, 1, -1, RWF_NOWAIT);
	} else {
		n = read(uffd, w->msgs, sizeof(w->msgs));
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return lazy_error_set(&w->err, LAZY_E_SYSTEM,
				      "cannot read the userfaultfd: %m");
	if (n % sizeof(w->msgs[0]))
		return lazy_error_set(&w->err, LAZY_E_SYSTEM,
				      "short read of the userfaultfd");
	return n / sizeof(w->msgs[0]);
}

static int serve_space(struct lazy__worker *w, size_t space, bool block)
{
	struct lazy_server *s = w->s;
	ssize_t nr;
	int ret = 0;

	lazy__exclude(s);
	if (s->spaces[space].uffd < 0) {
		lazy__unlock(s);
		return 0;
	}
	nr = read_messages(w, space, block);
	for (ssize_t i = 0; i < nr && !ret; i++)
		if (w->msgs[i].event != UFFD_EVENT_PAGEFAULT)
			ret = take_event(w, space, &w->msgs[i]);
	lazy__unlock(s);
	for (ssize_t i = 0; i < nr && !ret; i++)
		if (w->msgs[i].event == UFFD_EVENT_PAGEFAULT)
			ret = take_fault(w, space, &w->msgs[i]);
	return ret ? -1 : nr;
}

static int serve_children(struct lazy__worker *w)
{
	struct epoll_event ready[16];
	int n = epoll_wait(w->s->epoll, ready, 16, 0), sum = 0;

	for (int i = 0; i < n; i++) {
		int nr = ready[i].data.u64 ?
			 serve_space(w, ready[i].data.u64, false) : 0;

		if (nr < 0)
			return -1;
		sum += nr;
	}
	return sum;
}

int lazy__serve_messages(struct lazy__worker *w, bool block)
{
	int nr = serve_space(w, 0, block), more = 0;

	if (nr >= 0 && w->s->children)
		more = serve_children(w);
	return nr < 0 || more < 0 ? -1 : nr + more;
}

bool lazy__drain(struct lazy__worker *w)
{
	struct lazy_server *s = w->s;
	bool any = false;
	ssize_t nr;

	for (size_t space = 0; space < s->nr_spaces; space++) {
		if (s->spaces[space].uffd < 0)
			continue;
		do {
			nr = read_messages(w, space, false);
			any |= nr > 0;
			for (ssize_t i = 0; i < nr; i++)
				if (w->msgs[i].event != UFFD_EVENT_PAGEFAULT)
					take_event(w, space, &w->msgs[i]);
		} while (nr == LAZY__BATCH);
	}
	return any;
}
