// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * How many pages to fill for one fault, so that a fault is worth its cost, and
 * no memory is filled in vain:
 *
 *	in a sequence (the fault is where the last fill ended): twice as much as
 *	the last time, up to the limit;
 *	dense (blocks that are touched are usually touched again): everything
 *	that is absent in the limit around it;
 *	in a block that was touched before: that block;
 *	otherwise: the page.
 *
 * Whether accesses are dense is measured: some blocks (all, until they are
 * dense) get only the page at their first fault, and it is counted how many of
 * them are touched again. Only absent pages next to the page are filled.
 */
#include "core.h"

#define BLOCK		16ULL		/* pages */
#define MIN_PROBES	64
#define MAX_PROBES	1024		/* then both counts are halved */
#define PROBE_EVERY	16		/* faults, if dense */

static bool touch_block(struct lazy_server *s, uint64_t page)
{
	return lazy__page(&s->blocks, page / BLOCK) ||
	       !lazy__pages_set(&s->blocks, page / BLOCK, 1, LAZY__FILLED);
}

static void measure(struct lazy__around *a, bool touched)
{
	if (touched)
		a->hits++;
	else
		a->probes++;
	if (a->probes > MAX_PROBES) {
		a->probes /= 2;
		a->hits /= 2;
	}
	if (a->probes < MIN_PROBES)
		return;
	if (a->hits * 4 >= a->probes)
		a->dense = true;
	else if (a->hits * 8 < a->probes)
		a->dense = false;
}

/* The absent pages around *@page within its aligned group of @size pages. */
static uint64_t within(const struct lazy__pages *pages,
		       const struct lazy__region *r, uint64_t *page,
		       uint64_t size)
{
	uint64_t in = (*page - r->first) % size, before, after;

	after = size - in;
	if (after > r->first + r->nr - *page)
		after = r->first + r->nr - *page;
	after = lazy__absent_run(pages, *page, after);
	before = lazy__absent_before(pages, *page, in);
	*page -= before;
	return before + after;
}

static uint64_t in_sequence(struct lazy__around *a,
			    const struct lazy__pages *pages,
			    const struct lazy__region *r, uint64_t page,
			    uint64_t limit)
{
	uint64_t nr = a->sequence * 2;

	if (nr > limit)
		nr = limit;
	a->sequence = nr;
	if (nr > r->first + r->nr - page)
		nr = r->first + r->nr - page;
	return lazy__absent_run(pages, page, nr);
}

uint64_t lazy__around(struct lazy__worker *w, const struct lazy__pages *pages,
		      const struct lazy__region *r, uint64_t *page)
{
	struct lazy__around *a = &w->around;
	uint64_t limit = w->s->config.around >> r->shift, nr = 1;
	bool touched;

	if (limit <= 1)
		return 1;
	if (*page == a->expected) {
		nr = in_sequence(a, pages, r, *page, limit);
	} else {
		a->sequence = 1;
		if (a->dense && ++a->turn % PROBE_EVERY) {
			nr = within(pages, r, page, limit);
		} else {
			touched = touch_block(w->s, *page);
			measure(a, touched);
			if (touched)
				nr = within(pages, r, page,
					    limit < BLOCK ? limit : BLOCK);
		}
	}
	a->expected = *page + nr;
	return nr;
}
