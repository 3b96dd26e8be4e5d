// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_filemap.c - parts of handlers for memory in the page cache
 *
 * What a memory type would otherwise write once more to answer
 * UFFD_REQ_FAULT_RESOLVE, where its pages live in the page cache of a file.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "userfaultfd_internal.h"

/* Lock @folio, if nobody else does and it is what a page table may get. */
static bool uffd_trylock_folio(struct folio *folio,
			       struct address_space *mapping)
{
	if (!folio_trylock(folio))
		return false;
	/* Else it was truncated, or is not written yet. */
	if (likely(folio->mapping == mapping && folio_test_uptodate(folio)))
		return true;
	folio_unlock(folio);
	return false;
}

/**
 * userfaultfd_find_folios() - find memory that is there, without waiting
 * @resolve: a UFFD_RESOLVE_MINOR request.
 *
 * Adds the folios of the range to @resolve->folios, from the front on and up
 * to the first offset where it is not as simple: a hole, swapped out, locked,
 * not uptodate, or the end of the file.
 *
 * Context: from a handler. Does not sleep.
 * Return: 0 if a folio was found, -ENOENT if there is a hole at
 * @resolve->index, both of which are valid answers; -EAGAIN if the type has to
 * see for itself what stands there.
 */
int userfaultfd_find_folios(struct uffd_resolve *resolve)
{
	struct address_space *mapping = resolve->inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, resolve->index);
	struct folio *folio;
	int err = -EAGAIN;
	pgoff_t end;

	end = min(resolve->index + resolve->nr_pages,
		  DIV_ROUND_UP(i_size_read(resolve->inode), PAGE_SIZE));
	if (unlikely(resolve->index >= end))
		return err;

	rcu_read_lock();
	for (folio = xas_load(&xas); ; folio = xas_next(&xas)) {
		if (unlikely(xas_retry(&xas, folio)))
			continue;
		if (!folio) {
			if (err)
				err = -ENOENT;
			break;
		}
		if (unlikely(xa_is_value(folio) || !folio_try_get(folio)))
			break;
		/* Freed and used again, before there was a reference? */
		if (unlikely(folio != xas_reload(&xas)) ||
		    !uffd_trylock_folio(folio, mapping)) {
			folio_put(folio);
			break;
		}
		err = 0;
		if (!folio_batch_add(&resolve->folios, folio) ||
		    folio_next_index(folio) >= end)
			break;
		if (folio_test_large(folio))
			xas_advance(&xas, folio_next_index(folio) - 1);
	}
	rcu_read_unlock();

	return err;
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_find_folios, USERFAULTFD);
