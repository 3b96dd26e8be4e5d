// SPDX-License-Identifier: GPL-2.0-only
/*
 * resolve.c - the requests of a fill
 *
 * Requests the next pages of a fill, and gives back those that could not be
 * mapped. Called with the mapping locked.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"
#include <trace/events/userfaultfd.h>

/**
 * uffd_fill_resolve() - request the next pages of a fill
 * @fill: the fill.
 * @req: the request; set up and answered.
 * @nr_pages: how many pages from fill->addr on.
 * @hugetlb: whether they are of hugetlb.
 *
 * Return: as uffd_resolve(), but -EFAULT instead of -ENOENT if there is nothing
 * to CONTINUE.
 */
__always_inline
int uffd_fill_resolve(struct uffd_fill *fill, struct uffd_request *req,
		      unsigned long nr_pages, bool hugetlb)
{
	const bool find = uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE);
	int err;

	uffd_init_resolve(req, fill->vma,
			  linear_page_index(fill->vma, fill->addr), nr_pages,
			  find ? NULL : &fill->source);
	fill->source.absent = 0;
	/* An answer of the core itself needs no check. */
	if (!hugetlb && fill->handler == uffd_anon_request) {
		err = uffd_anon_resolve(req);
		trace_userfaultfd_resolve(fill->handler, req, err);
		return err;
	}
	err = uffd_resolve(fill->handler, req, hugetlb);
	return err == -ENOENT ? -EFAULT : err;
}

/**
 * uffd_fill_give_back() - give back folios that were not mapped
 * @fill: the fill.
 * @req: the request that was answered with them.
 * @first: index of the first of them in the answer.
 */
void uffd_fill_give_back(struct uffd_fill *fill, struct uffd_request *req,
			 unsigned int first)
{
	struct folio_batch *folios = &req->resolve.folios;
	unsigned int i;

	for (i = first; i < folio_batch_count(folios); i++) {
		if (req->resolve.mode == UFFD_RESOLVE_MINOR)
			uffd_release(folios->folios[i]);
		else if (fill->handler == uffd_anon_request)
			folio_put(folios->folios[i]);
		else
			uffd_undo(fill->handler, fill->vma, folios->folios[i]);
	}
}
