// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The background: fills the pages of the order first, then all others. Threads
 * claim one range after another. What could not be filled is tried again when
 * the end is reached and no thread fills a range: two threads never read and
 * fill the same range.
 */
#include <errno.h>

#include "core.h"

/* The page that holds an offset of the source, or NULL. */
static struct lazy__region *page_of(struct lazy_server *s, uint64_t offset,
				    uint64_t *page)
{
	for (size_t i = 0; i < s->nr; i++) {
		struct lazy__region *r = &s->regions[i];

		if (offset - r->is.offset < r->is.len) {
			*page = r->first + ((offset - r->is.offset) >> r->shift);
			return r;
		}
	}
	return NULL;
}

/* The number of pages up to the next multiple of the range in memory. */
static uint64_t limit_of(const struct lazy_server *s,
			 const struct lazy__region *r, uint64_t page)
{
	uint64_t range = s->config.range;
	uint64_t nr = (range - lazy__address(r, page) % range) >> r->shift;

	return nr ?: 1;
}

/*
 * The next page of the order, and those that follow it in the order and in
 * memory.
 */
static uint64_t next_in_order(struct lazy_server *s, struct lazy__region **in,
			      uint64_t *page)
{
	const uint64_t *order = s->config.order;
	const struct lazy__pages *pages = &s->spaces[0].pages;
	struct lazy__region *r;
	uint64_t max, nr;

	for (; s->next_ordered < s->config.nr_order; s->next_ordered++) {
		r = page_of(s, order[s->next_ordered], page);
		if (!r || lazy__page(pages, *page) != LAZY__ABSENT)
			continue;
		max = limit_of(s, r, *page);
		if (max > r->first + r->nr - *page)
			max = r->first + r->nr - *page;
		max = lazy__absent_run(pages, *page, max);
		for (nr = 1; nr < max; nr++) {
			size_t next = s->next_ordered + nr;

			if (next >= s->config.nr_order ||
			    order[next] != order[next - 1] + r->is.granule)
				break;
		}
		s->next_ordered += nr;
		*in = r;
		return nr;
	}
	return 0;
}

static uint64_t next_in_memory(struct lazy_server *s, struct lazy__region **in,
			       uint64_t *page)
{
	const struct lazy__pages *pages = &s->spaces[0].pages;
	struct lazy__region *r = s->next_region;
	uint64_t at, max;

	at = lazy__next_absent(pages, s->next_page, s->pages);
	s->next_page = at;
	if (at == s->pages)
		return 0;
	while (at >= r->first + r->nr)
		r++;
	max = limit_of(s, r, at);
	if (max > r->first + r->nr - at)
		max = r->first + r->nr - at;
	*in = r;
	*page = at;
	max = lazy__absent_run(pages, at, max);
	s->next_region = r;
	s->next_page = at + max;
	return max;
}

/* Returns the number of pages of the next range, 0 if there is none now. */
static uint64_t claim(struct lazy_server *s, struct lazy__region **in,
		      uint64_t *page)
{
	uint64_t nr, time;

	pthread_mutex_lock(&s->mutex);
	nr = next_in_order(s, in, page) ?: next_in_memory(s, in, page);
	if (!nr && !s->nr_ahead) {
		time = lazy__now();
		if (time - s->wrapped > LAZY__RETRY_MS * 1000000ULL) {
			s->wrapped = time;
			s->next_page = 0;
			s->next_region = s->regions;
			nr = next_in_memory(s, in, page);
		}
	}
	if (nr)
		s->nr_ahead++;
	pthread_mutex_unlock(&s->mutex);
	return nr;
}

static void unclaim(struct lazy_server *s)
{
	pthread_mutex_lock(&s->mutex);
	s->nr_ahead--;
	pthread_mutex_unlock(&s->mutex);
}

int lazy__fill_ahead(struct lazy__worker *w)
{
	struct lazy_server *s = w->s;
	enum lazy__outcome outcome;
	struct lazy__region *r;
	uint64_t page, nr;

	if (!s->background || s->state != LAZY_SERVING)
		return 0;
	lazy__share(s);
	nr = claim(s, &r, &page);
	if (!nr) {
		lazy__unlock(s);
		return 0;
	}
	outcome = lazy__fill(w, &s->spaces[0], r, page, nr, true, LAZY__AHEAD);
	unclaim(s);
	lazy__unlock(s);
	switch (outcome) {
	case LAZY__DONE:
		s->stuck_since = 0;
		return 1;
	case LAZY__DOUBT:
		w->again = ENOMEM;
		/* fall through */
	case LAZY__AGAIN:
		if (!s->stuck_since)
			s->stuck_since = lazy__now();
		if (!lazy__overdue(s, s->stuck_since))
			return 0;
		errno = w->again;
		return lazy_error_set(&w->err, LAZY_E_TIMEOUT,
				      "timed out filling memory at %#llx: %m",
				      (unsigned long long)lazy__offset(r, page));
	case LAZY__NO_SPACE:
		return lazy_error_set(&w->err, LAZY_E_GONE,
				      "the process whose memory is filled has exited");
	default:
		return -1;
	}
}
