// SPDX-License-Identifier: GPL-2.0-only
/*
 * pagecache.c - the parts of a handler for page cache memory
 *
 * A memory type builds its handler from these: look up, count the pages of a
 * hole, find folios.
 *
 * Called by handlers under the mmap lock or the lock of one VMA, and with locks
 * of the type that exclude hole punching.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"

/**
 * uffd_end_of_file() - the first page offset past the end of a file
 * @inode: the file.
 *
 * Return: the offset in units of PAGE_SIZE.
 */
pgoff_t uffd_end_of_file(struct inode *inode)
{
	return DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);
}

/* Lock @folio, if it is not locked and may be mapped. */
static bool uffd_trylock_folio(struct folio *folio,
			       struct address_space *mapping)
{
	if (!folio_trylock(folio))
		return false;
	/* Otherwise it was truncated, or has no content yet. */
	if (likely(folio->mapping == mapping && folio_test_uptodate(folio)))
		return true;
	folio_unlock(folio);
	return false;
}

/* What a file has at an offset. */
enum uffd_look {
	UFFD_LOOK_HOLE,
	UFFD_LOOK_UNFILLED,	/* a folio that is not uptodate: a hole, too */
	UFFD_LOOK_PRESENT,
};

/*
 * Look at offset @index. This takes no reference: if the folio is freed before
 * its flags are read, it leaves the file at this moment, and any answer is
 * right.
 */
static enum uffd_look uffd_look(struct inode *inode, pgoff_t index)
{
	enum uffd_look look = UFFD_LOOK_HOLE;
	struct folio *folio;

	rcu_read_lock();
	folio = xa_load(&inode->i_mapping->i_pages, index);
	if (folio) {
		look = UFFD_LOOK_UNFILLED;
		if (!xa_is_value(folio) &&
		    uffd_folio_flags(folio) & BIT(PG_uptodate))
			look = UFFD_LOOK_PRESENT;
	}
	rcu_read_unlock();
	return look;
}

/**
 * userfaultfd_check_present() - is there memory in the page cache?
 * @inode: the file, whose memory is all in the page cache.
 * @index: page offset in it.
 *
 * Answers UFFD_REQ_GET_PRESENT. A folio that is not uptodate is a hole.
 *
 * Context: from a handler. Does not sleep.
 * Return: 0 if there is memory, -ENOENT for a hole, -EINVAL past the end of the
 * file.
 */
int userfaultfd_check_present(struct inode *inode, pgoff_t index)
{
	if (index >= uffd_end_of_file(inode))
		return -EINVAL;
	return uffd_look(inode, index) == UFFD_LOOK_PRESENT ? 0 : -ENOENT;
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_check_present, "USERFAULTFD");

/**
 * uffd_count_hole() - as userfaultfd_count_hole(), with one more result
 * @req: a UFFD_RESOLVE_MISSING request.
 * @unfilled: out: whether the pages of the hole have folios.
 *
 * Return: as userfaultfd_count_hole().
 */
long uffd_count_hole(struct uffd_request *req, bool *unfilled)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct inode *inode = resolve->inode;
	unsigned long found = resolve->index;
	enum uffd_look look;
	pgoff_t end;

	*unfilled = false;
	if (!resolve->fault && !(req->vma->vm_flags & VM_SHARED))
		return resolve->nr_pages;

	end = min(found + resolve->nr_pages, uffd_end_of_file(inode));
	if (unlikely(found >= end))
		return -EFAULT;
	look = uffd_look(inode, found);
	if (unlikely(look == UFFD_LOOK_PRESENT))
		return -EEXIST;
	found++;
	if (unlikely(look == UFFD_LOOK_UNFILLED)) {
		*unfilled = true;
		while (found < end && uffd_look(inode, found) == look)
			found++;
		return found - resolve->index;
	}
	/* One walk for the rest of the range, which usually is a hole. */
	if (found == end || !xa_find(&inode->i_mapping->i_pages, &found,
				     end - 1, XA_PRESENT))
		found = end;
	return found - resolve->index;
}

/**
 * userfaultfd_count_hole() - how many pages can be created at once?
 * @req: a UFFD_RESOLVE_MISSING request.
 *
 * To be called before anything is allocated for @req. A hole may have folios
 * that are not uptodate: the pages counted either all have one, or none has.
 * For a fill of a private mapping the file does not matter: all pages count.
 *
 * Context: from a handler. Does not sleep.
 * Return: the length in pages of the hole at the start of the range, above 0;
 * -EEXIST if the file has memory there, -EFAULT if it ends before.
 */
long userfaultfd_count_hole(struct uffd_request *req)
{
	bool unfilled;

	return uffd_count_hole(req, &unfilled);
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_count_hole, "USERFAULTFD");

/**
 * userfaultfd_create_folios() - create a run of folios
 * @req: a UFFD_RESOLVE_MISSING request.
 * @create: creates the folio of one page at an offset and adds it to the
 *	answer, or returns an errno.
 *
 * Looks up first: no page is allocated, charged or accounted for an offset
 * where the file has memory. @create is called for each page of the hole at the
 * start of the range, until the answer is full or @create fails. Another thread
 * may fill the hole meanwhile, which @create has to detect.
 *
 * Context: from a handler. Sleeps if @create does.
 * Return: 0 if at least one folio was created, -EEXIST if the file has memory
 * at @req->resolve.index, -EFAULT if that is past the end of the file;
 * otherwise what @create returned.
 */
int userfaultfd_create_folios(struct uffd_request *req,
			      int (*create)(struct uffd_request *req,
					    pgoff_t index))
{
	struct folio_batch *folios = &req->resolve.folios;
	pgoff_t index = req->resolve.index;
	long nr = userfaultfd_count_hole(req);
	int err;

	if (unlikely(nr < 0))
		return nr;
	do {
		err = create(req, index++);
	} while (!err && --nr && folio_batch_space(folios));

	return folio_batch_count(folios) ? 0 : err;
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_create_folios, "USERFAULTFD");

/**
 * userfaultfd_find_folios_nowait() - find memory without waiting
 * @resolve: a UFFD_RESOLVE_MINOR request.
 *
 * Adds folios of the range to @resolve->folios, from the start up to a hole, a
 * folio that is swapped out, locked or not uptodate, or the end of the file.
 *
 * Context: from a handler. Does not sleep.
 * Return: 0 if a folio was found, -ENOENT if there is a hole at
 * @resolve->index, both of which are valid answers; -EAGAIN if the type has to
 * look up that offset itself.
 */
int userfaultfd_find_folios_nowait(struct uffd_resolve *resolve)
{
	struct address_space *mapping = resolve->inode->i_mapping;
	XA_STATE(xas, &mapping->i_pages, resolve->index);
	struct folio *folio;
	int err = -EAGAIN;
	pgoff_t end;

	end = min(resolve->index + resolve->nr_pages,
		  uffd_end_of_file(resolve->inode));
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
		/* Was it freed and reused before the reference was taken? */
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
