// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Serves faults. A fault that cannot be served yet is parked: EAGAIN persists
 * until events were read, and a memory shortage may pass.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

static int park(struct lazy__worker *w, const struct lazy__fault *fault)
{
	struct lazy_server *s = w->s;
	struct lazy__fault *parked = malloc(sizeof(*parked));

	if (!parked)
		return lazy_error_set(&w->err, LAZY_E_MEMORY, "out of memory");
	*parked = *fault;
	parked->next = NULL;
	if (!parked->since)
		parked->since = lazy__now();
	s->nr_parks++;
	pthread_mutex_lock(&s->mutex);
	*s->parked_tail = parked;
	s->parked_tail = &parked->next;
	s->nr_parked++;
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

/*
 * EEXIST that is not reliable: if the page is present, its waiters need to be
 * woken; if it is not, the fault comes back, and is then a shortage. Returns
 * the time of the first such fault of the page, or 0 for the first.
 */
static uint64_t suspect(struct lazy_server *s, uint64_t page)
{
	uint64_t since = 0;
	unsigned int i;

	pthread_mutex_lock(&s->mutex);
	for (i = 0; i < s->nr_suspects; i++)
		if (s->suspects[i].page == page)
			since = s->suspects[i].since;
	if (!since) {
		if (i == sizeof(s->suspects) / sizeof(s->suspects[0]))
			i = page % i;
		else
			s->nr_suspects++;
		s->suspects[i].page = page;
		s->suspects[i].since = lazy__now();
	}
	pthread_mutex_unlock(&s->mutex);
	return since;
}

static int too_late(struct lazy__worker *w, const struct lazy__fault *fault)
{
	errno = w->again;
	return lazy_error_set(&w->err, LAZY_E_TIMEOUT,
			      "timed out filling memory at %#llx: %m",
			      (unsigned long long)
			      lazy__offset(fault->region, fault->page));
}

/*
 * Fills the page, and those around it. In a sequence that is one call, since
 * the next access is to the next page. Otherwise the page comes first, so that
 * the guest continues while the others are filled.
 */
static enum lazy__outcome fill_around(struct lazy__worker *w,
				      struct lazy__space *space,
				      const struct lazy__fault *fault)
{
	const struct lazy__pages *pages = &space->pages;
	uint64_t page = fault->page, start = page, end = page + 1, at, nr = 1;
	struct lazy__region *r = fault->region;
	enum lazy__outcome outcome;

	/* Pages around it are absent as well, so they are MISSING, too. */
	if (fault->missing && lazy__page(pages, page) == LAZY__ABSENT)
		lazy__around(w, pages, r, page, &start, &end);
	if (start == page && end > page + 1)
		nr = lazy__absent_run(pages, page, end - page) ?: 1;
	outcome = lazy__fill(w, space, r, page, nr, fault->missing,
			     LAZY__DEMAND);
	for (at = start; outcome == LAZY__DONE; at += nr) {
		at = lazy__next_absent(pages, at, end);
		if (at == end)
			break;
		nr = lazy__absent_run(pages, at, end - at);
		outcome = lazy__fill(w, space, r, at, nr, true, LAZY__AROUND);
		/* The page is filled: the others can wait. */
		if (outcome == LAZY__AGAIN || outcome == LAZY__DOUBT)
			return LAZY__DONE;
	}
	return outcome;
}

static void report(struct lazy_server *s, const struct lazy__fault *fault)
{
	if (!s->config.on_fault || fault->space)
		return;
	pthread_mutex_lock(&s->mutex);
	s->config.on_fault(s->config.arg,
			   lazy__offset(fault->region, fault->page));
	pthread_mutex_unlock(&s->mutex);
}

int lazy__serve_fault(struct lazy__worker *w, struct lazy__fault *fault)
{
	struct lazy_server *s = w->s;
	struct lazy__space *space = &s->spaces[fault->space];
	struct lazy__region *r = fault->region;
	enum lazy__outcome outcome;
	bool first, filled;

	lazy__share(s);
	if (space->uffd < 0 || space->generation != fault->generation) {
		lazy__unlock(s);
		return 0;
	}
	first = !fault->write &&
		lazy__page(&space->pages, fault->page) == LAZY__ABSENT;
	outcome = fault->write ? lazy__unprotect(w, space, r, fault->page) :
				 fill_around(w, space, fault);
	filled = lazy__page(&space->pages, fault->page) & LAZY__FILLED;
	if (outcome == LAZY__DOUBT && !fault->returned)
		lazy__wake(space->uffd, lazy__address(r, fault->page),
			   r->is.granule);
	lazy__unlock(s);
	if (first && filled)
		report(s, fault);

	switch (outcome) {
	case LAZY__DONE:
		break;
	case LAZY__AGAIN:
		/* Pages around it may be missing, not this one. */
		if (first && filled)
			break;
		if (fault->since && lazy__overdue(s, fault->since))
			return too_late(w, fault);
		return park(w, fault);
	case LAZY__DOUBT:
		w->again = ENOMEM;
		if (!fault->returned) {
			fault->since = suspect(s, fault->page);
			if (!fault->since)
				return 0;
			fault->returned = true;
		}
		if (lazy__overdue(s, fault->since))
			return too_late(w, fault);
		return park(w, fault);
	case LAZY__NO_SPACE:
		if (!fault->space)
			return lazy_error_set(&w->err, LAZY_E_GONE,
					      "the process whose memory is filled has exited");
		lazy__exclude(s);
		if (space->generation == fault->generation)
			lazy__drop_space(s, fault->space);
		lazy__unlock(s);
		return 0;
	case LAZY__BROKEN:
		return -1;
	}
	*(fault->write ? &s->writes : &s->faults) += 1;
	return 0;
}

int lazy__serve_parked(struct lazy__worker *w)
{
	struct lazy_server *s = w->s;
	struct lazy__fault *list, *fault;
	int ret = 0;

	if (!s->nr_parked)
		return 0;
	pthread_mutex_lock(&s->mutex);
	list = s->parked;
	s->parked = NULL;
	s->parked_tail = &s->parked;
	s->nr_parked = 0;
	pthread_mutex_unlock(&s->mutex);
	while ((fault = list)) {
		list = fault->next;
		if (!ret)
			ret = lazy__serve_fault(w, fault);
		free(fault);
	}
	return ret;
}

void lazy__free_parked(struct lazy_server *s)
{
	struct lazy__fault *fault;

	while ((fault = s->parked)) {
		s->parked = fault->next;
		free(fault);
	}
	s->parked_tail = &s->parked;
	s->nr_parked = 0;
}
