// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Which pages to fill for one fault, so that a fault is worth its cost, and no
 * memory is filled in vain:
 *
 *	in a sequence (the pages before it are filled): as many as there are
 *	before it, so twice as many as for the last fault, up to the limit;
 *	dense (blocks that are touched are usually touched again): everything
 *	that is absent in the limit around it;
 *	in a block that was touched before: that block;
 *	otherwise: the page.
 *
 * Whether accesses are dense is measured: some blocks (all, until they are
 * dense) get only the page at their first fault, and it is counted how many of
 * them are touched again.
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

/* The aligned group of @size pages around @page, without other regions. */
static void group(const struct lazy__region *r, uint64_t page, uint64_t size,
		  uint64_t *start, uint64_t *end)
{
	*start = page - (page - r->first) % size;
	*end = *start + size;
	if (*end > r->first + r->nr)
		*end = r->first + r->nr;
}

void lazy__around(struct lazy__worker *w, const struct lazy__pages *pages,
		  const struct lazy__region *r, uint64_t page,
		  uint64_t *start, uint64_t *end)
{
	struct lazy__around *a = &w->around;
	uint64_t limit = w->s->config.around >> r->shift, before;
	bool touched;

	*start = page;
	*end = page + 1;
	if (limit <= 1)
		return;
	before = limit < page - r->first ? limit : page - r->first;
	before = lazy__present_before(pages, page, before);
	if (before) {
		*end = page + before;
		if (*end > r->first + r->nr)
			*end = r->first + r->nr;
	} else if (a->dense && ++a->turn % PROBE_EVERY) {
		group(r, page, limit, start, end);
	} else {
		touched = touch_block(w->s, page);
		measure(a, touched);
		if (touched)
			group(r, page, limit < BLOCK ? limit : BLOCK, start,
			      end);
	}
}
