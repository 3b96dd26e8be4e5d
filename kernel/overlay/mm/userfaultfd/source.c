// SPDX-License-Identifier: GPL-2.0-only
/*
 * source.c - the content of a new folio
 *
 * A new folio contains zeroes, or what is copied from user memory. The type
 * that makes the folio calls userfaultfd_fill_folio() between allocating and
 * inserting it, with locks held: it copies only from resident memory. For the
 * rest, the fill drops its locks and calls uffd_read_source().
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

#include "internal.h"

/* Bytes copied between two cond_resched(). */
#define UFFD_READ_MAX	(IS_ENABLED(CONFIG_HIGHMEM) ? PAGE_SIZE : SZ_64K)

/*
 * Copy @len resident bytes from user space to @offset of a folio. With the
 * locks of the destination held, a fault on the source could deadlock: two
 * processes that fill from each other's memory would each wait for the other's
 * mmap_lock behind a writer.
 */
static __always_inline
int uffd_copy_resident(struct folio *folio, size_t offset,
		       const void __user *from, size_t len)
{
	void *kaddr = kmap_local_folio(folio, offset);
	unsigned long left;

	pagefault_disable();
	left = copy_from_user(kaddr, from, len);
	pagefault_enable();

	kunmap_local(kaddr);
	return left ? -EFAULT : 0;
}

/* Copy what was read without locks to the start of a folio. */
static int uffd_copy_bounce(struct folio *folio, struct folio *bounce)
{
	long i, nr = folio_nr_pages(bounce);

	for (i = 0; i < nr; i++) {
		if (copy_mc_highpage(folio_page(folio, i), folio_page(bounce, i)))
			return -EHWPOISON;
		cond_resched();
	}
	return 0;
}

/* The content of a large folio, or of one whose start was read before. */
static noinline int uffd_copy_pages(struct uffd_source *source,
				    struct folio *folio, pgoff_t offset)
{
	const char __user *from = source->from + (offset << PAGE_SHIFT);
	const size_t size = folio_size(folio);
	size_t len, done = 0;
	int err;

	if (source->bounce && !offset) {
		err = uffd_copy_bounce(folio, source->bounce);
		if (err)
			return err;
		done = folio_size(source->bounce);
	}
	for (; done < size; done += len) {
		len = min(size - done, UFFD_READ_MAX);
		err = uffd_copy_resident(folio, done, from + done, len);
		if (err) {
			source->absent = size;
			return err;
		}
		cond_resched();
	}
	return 0;
}

/*
 * Copy @nr pages of content, which begin @offset pages after the start of the
 * source. A separate path for one page saves 3 % of a COPY of a range.
 */
static __always_inline int uffd_copy_folio(struct uffd_source *source,
					   struct folio *folio, long nr,
					   pgoff_t offset)
{
	if (unlikely(nr > 1 || source->bounce))
		return uffd_copy_pages(source, folio, offset);

	if (likely(!uffd_copy_resident(folio, 0,
				       source->from + (offset << PAGE_SHIFT),
				       PAGE_SIZE)))
		return 0;
	source->absent = PAGE_SIZE;
	return -EFAULT;
}

/* Zeroes, for a folio of @nr pages that will be mapped at @addr. */
static __always_inline void uffd_clear_folio(struct folio *folio, long nr,
					     unsigned long addr)
{
	long i = 0;

	do {
		clear_user_highpage(folio_page(folio, i), addr + i * PAGE_SIZE);
	} while (unlikely(++i < nr));
}

/**
 * userfaultfd_fill_folio() - give a new folio its content
 * @req: the UFFD_RESOLVE_MISSING request that the folio is made for.
 * @folio: the folio: new and not yet inserted anywhere, or locked and, since
 *	it is not uptodate, not in use.
 * @index: page offset of its first page in the file.
 *
 * Fills all of @folio and marks it uptodate. Except for a fault, @folio must
 * lie inside the requested range.
 *
 * Context: from the handler of @req only. Does not sleep on user memory.
 * Return: 0; -EFAULT if the user's memory is not resident: the handler releases
 * @folio and returns -EFAULT, and the core sends the request again; -EINVAL if
 * @folio extends beyond the range.
 */
int userfaultfd_fill_folio(struct uffd_request *req, struct folio *folio,
			   pgoff_t index)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct uffd_source *source = resolve->source;
	const pgoff_t offset = index - resolve->index;
	const long nr = folio_nr_pages(folio);

	/* A fault may be resolved by more than its page, a fill must not be. */
	if (WARN_ON_ONCE(!resolve->fault &&
			 offset + nr > resolve->nr_pages))
		return -EINVAL;

	if (source->from_user) {
		int err = uffd_copy_folio(source, folio, nr, offset);

		if (unlikely(err))
			return err;
		flush_dcache_folio(folio);
	} else {
		uffd_clear_folio(folio, nr, uffd_address(req->vma, index));
	}

	/* Orders the content before the entry that maps it. */
	folio_mark_uptodate(folio);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_fill_folio, "USERFAULTFD");

/**
 * uffd_read_source() - read the start of a source that is not resident
 * @source: the source; the next folio is filled from what was read.
 * @folio: where to read to.
 *
 * Context: no locks. May fault.
 * Return: 0, or -EFAULT.
 */
int uffd_read_source(struct uffd_source *source, struct folio *folio)
{
	long i, nr = folio_nr_pages(folio);
	unsigned long left = 0;

	for (i = 0; i < nr && !left; i++) {
		void *kaddr = kmap_local_folio(folio, i << PAGE_SHIFT);

		left = copy_from_user(kaddr, source->from + (i << PAGE_SHIFT),
				      PAGE_SIZE);
		kunmap_local(kaddr);
		cond_resched();
	}
	flush_dcache_folio(folio);
	source->bounce = folio;
	return left ? -EFAULT : 0;
}
