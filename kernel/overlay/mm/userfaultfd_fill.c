// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_fill.c - the engine behind COPY, ZEROPAGE, CONTINUE and POISON
 *
 * A fill walks its range. At each step it counts the free entries ahead, the
 * memory type hands out folios for them (found for CONTINUE, new for COPY and
 * ZEROPAGE) and the engine maps a run of them under one page table lock. Nothing
 * is allocated for an entry that is in use. Entries that need no folio (zero
 * page, poison) are written in the same way.
 *
 *	lock the mapping -> look -> resolve -> map -> unlock
 *	      ^                        |
 *	      '-- read the source without locks, if it is not in memory
 *
 * Called by the ioctls of fs/userfaultfd.c with a reference on the mm and
 * without locks; see userfaultfd_internal.h for those taken here.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/pgalloc.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <asm/tlbflush.h>

#include "internal.h"
#include "userfaultfd_internal.h"

/**
 * struct uffd_fill - a fill under way
 * @ctx: the userfaultfd.
 * @flags: what is done: an MFILL_ATOMIC_ mode and its options.
 * @start: first address of the range.
 * @end: address behind the range.
 * @until: address behind the part of it that comes first, else @end.
 * @addr: next address to fill; all before it is done.
 * @source: the content from @addr on, with MFILL_ATOMIC_COPY and _ZEROPAGE.
 * @spare: a folio to read the source into without locks, or NULL.
 * @vma: the mapping while it is locked, else NULL.
 * @handler: who finds or makes the folios.
 * @huge: its pages have entries of their own; see huge_entry.h.
 * @size: bytes of such a page.
 * @run: how many pages to ask for next: fewer after a page that the file had.
 * @file: a reference on the mapped file, taken when the locks are dropped so
 *	that no other file can be taken for it afterwards.
 * @pgoff: @start's page offset when the mapping was first locked.
 * @vm_flags: the mapping's UFFD_FILL_VM_FLAGS at that time.
 * @fetched: where the source was last read or touched without locks, if it was.
 * @secret: clear @spare before it is freed; see &struct uffd_supported.
 * @replaced: new pages that were declared bad before they were mapped.
 * @skipped: counts the bytes that were present, with MFILL_ATOMIC_SKIP.
 * @again: one walk did not do.
 */
struct uffd_fill {
	struct userfaultfd_ctx *ctx;
	uffd_flags_t flags;
	unsigned long start;
	unsigned long end;
	unsigned long until;
	unsigned long addr;
	struct uffd_source source;
	struct folio *spare;
	struct vm_area_struct *vma;
	uffd_handler_t handler;
	bool huge;
	unsigned long size;
	unsigned long run;
	struct file *file;
	pgoff_t pgoff;
	vm_flags_t vm_flags;
	unsigned long fetched;
	bool secret;
	unsigned int replaced;
	unsigned long *skipped;
	bool again;
};

/* Maximum number of pages mapped per page table lock hold. */
#define UFFD_FILL_RUN		64UL

/* How many new pages of one fill may be bad before it fails. */
#define UFFD_FILL_REPLACE	16

/* What must be the same after the locks were dropped and taken again. */
#define UFFD_FILL_VM_FLAGS	(__VM_UFFD_FLAGS | VM_SHARED)

/*
 * Content
 */

/*
 * Copy @len bytes from user space to @offset of a folio; with @fault off only
 * what is in memory: with the locks of the destination held a fault on the source
 * could deadlock. Two processes that fill from each other's memory would each
 * wait for the other's mmap_lock behind a writer.
 */
static __always_inline int uffd_read(struct folio *folio, size_t offset,
				     const void __user *from, size_t len,
				     bool fault)
{
	unsigned long left;
	void *kaddr = kmap_local_folio(folio, offset);

	if (!fault)
		pagefault_disable();
	left = copy_from_user(kaddr, from, len);
	if (!fault)
		pagefault_enable();

	kunmap_local(kaddr);
	return left ? -EFAULT : 0;
}

/* Copy what was read without locks to the front of a folio. */
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

/* Zeroes, for a folio of @nr pages that will be found at @addr. */
static __always_inline void uffd_clear_folio(struct folio *folio, long nr,
					     unsigned long addr)
{
	long i = 0;

	do {
		clear_user_highpage(folio_page(folio, i), addr + i * PAGE_SIZE);
	} while (unlikely(++i < nr));
}

/* How much is read at once: as long as the processor may be kept. */
#define UFFD_READ_MAX	(IS_ENABLED(CONFIG_HIGHMEM) ? PAGE_SIZE : SZ_64K)

/* The content of a large folio, or of one whose front was read before. */
static noinline int uffd_copy_pages(struct uffd_source *source,
				    struct folio *folio, pgoff_t offset)
{
	const char __user *from = source->from + (offset << PAGE_SHIFT);
	const size_t size = folio_size(folio);
	size_t len, done = 0;

	if (source->bounce && !offset) {
		int err = uffd_copy_bounce(folio, source->bounce);

		if (err)
			return err;
		done = folio_size(source->bounce);
	}
	for (; done < size; done += len) {
		len = min(size - done, UFFD_READ_MAX);
		if (uffd_read(folio, done, from + done, len, false)) {
			source->absent = size;
			return -EFAULT;
		}
		cond_resched();
	}
	return 0;
}

/* The content that is @offset pages behind the front of the source. */
static __always_inline int uffd_copy_folio(struct uffd_source *source,
					   struct folio *folio, pgoff_t offset)
{
	if (unlikely(folio_test_large(folio) || source->bounce))
		return uffd_copy_pages(source, folio, offset);

	if (likely(!uffd_read(folio, 0, source->from + (offset << PAGE_SHIFT),
			      PAGE_SIZE, false)))
		return 0;
	source->absent = PAGE_SIZE;
	return -EFAULT;
}

/**
 * userfaultfd_fill_folio() - give a new folio its content
 * @req: the UFFD_RESOLVE_MISSING request that the folio is made for.
 * @folio: the folio: new and not yet inserted anywhere, or locked and, since
 *	it is not uptodate, not seen by anybody.
 * @index: page offset of its first page in the file.
 *
 * Fills all of @folio and marks it uptodate. But for a fault, it must lie
 * inside of the range that was asked for.
 *
 * Context: from the handler of @req only. Does not sleep on user memory.
 * Return: 0; -EFAULT if the user's memory is not there right now, upon which
 * the handler gives back @folio, returns -EFAULT and is asked again;
 * -EINVAL if @folio reaches beyond the range.
 */
int userfaultfd_fill_folio(struct uffd_request *req, struct folio *folio,
			   pgoff_t index)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct uffd_source *source = resolve->source;
	const long nr = folio_nr_pages(folio);

	/* A fault may be resolved by more than its page, a fill must not. */
	if (WARN_ON_ONCE(!resolve->fault &&
			 index - resolve->index + nr > resolve->nr_pages))
		return -EINVAL;

	if (source->from_user) {
		int err = uffd_copy_folio(source, folio, index - resolve->index);

		if (unlikely(err))
			return err;
		flush_dcache_folio(folio);
	} else {
		uffd_clear_folio(folio, nr, uffd_address(req->vma, index));
	}

	/* The barrier in here puts the content before the entry that maps it. */
	folio_mark_uptodate(folio);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_fill_folio, USERFAULTFD);

/* Read the front of the source, without locks. */
static int uffd_fill_bounce(struct uffd_fill *fill)
{
	struct uffd_source *source = &fill->source;
	long i, nr;
	int err = 0;

	if (!fill->spare)
		return -ENOMEM;
	source->bounce = fill->spare;

	nr = folio_nr_pages(fill->spare);
	for (i = 0; i < nr && !err; i++) {
		err = uffd_read(fill->spare, i << PAGE_SHIFT,
				source->from + (i << PAGE_SHIFT), PAGE_SIZE, true);
		cond_resched();
	}
	flush_dcache_folio(fill->spare);
	return err;
}

/* Can this fill install entries without a folio (poison, zero page)? */
static __always_inline bool uffd_fill_special(const struct uffd_fill *fill)
{
	return uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON) ||
	       (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_ZEROPAGE) &&
		fill->handler == uffd_anon_request &&
		!mm_forbids_zeropage(fill->vma->vm_mm));
}

/*
 * Page tables
 */

/* Walk to @addr; where something is missing, make it. */
static __always_inline pmd_t *uffd_walk(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (likely(pgd_present(*pgd))) {
		p4d = p4d_offset(pgd, addr);
		if (likely(p4d_present(*p4d))) {
			pud = pud_offset(p4d, addr);
			if (likely(pud_present(*pud)))
				return pmd_offset(pud, addr);
		}
	}
	return mm_alloc_pmd(mm, addr);
}

/*
 * How many of @nr pages from page offset @index lie inside of the mapped file.
 * With the page table lock held the answer stays true until the entries are
 * written: truncation sets the size first and takes that lock to zap afterwards.
 */
static long uffd_pages_in_file(struct vm_area_struct *vma, pgoff_t index,
			       long nr)
{
	pgoff_t end;

	if (!vma->vm_file)
		return nr;

	end = DIV_ROUND_UP(i_size_read(vma->vm_file->f_mapping->host), PAGE_SIZE);
	return index < end ? min_t(pgoff_t, nr, end - index) : 0;
}

/* Everything before @addr is done. */
static void uffd_fill_advance(struct uffd_fill *fill, unsigned long addr)
{
	fill->source.from += addr - fill->addr;
	fill->source.bounce = NULL;
	fill->addr = addr;
}

/* The entry that maps @page. */
static __always_inline
pte_t uffd_page_entry(const struct uffd_fill *fill, struct page *page,
		      bool in_file)
{
	struct vm_area_struct *vma = fill->vma;
	pte_t entry = mk_pte(page, vma->vm_page_prot);
	const bool writable = pte_write(entry);

	/*
	 * page_mkwrite() relies on the first write faulting: such pages are
	 * mapped clean and read-only. The protection of the mapping would be
	 * writable if the file did not need that.
	 */
	if (in_file && !writable && vma_needs_dirty_tracking(vma))
		goto protect;

	entry = pte_mkdirty(entry);
	/* A private mapping may read the pages of the file, but not write to them. */
	if (!writable && (vma->vm_flags & VM_WRITE) &&
	    (!in_file || (vma->vm_flags & VM_SHARED)))
		entry = pte_mkwrite(entry, vma);
protect:
	if (fill->flags & MFILL_ATOMIC_WP)
		entry = pte_mkuffd_wp(entry);
	return entry;
}

/* May this fill write to an entry that is neither none nor present? */
static noinline bool uffd_marker_free(const struct uffd_fill *fill, pte_t pte)
{
	return is_pte_marker(pte) &&
	       uffd_replaces_marker(pte, fill->flags, uffd_fill_special(fill));
}

/* May this fill write to the entry? */
static __always_inline bool uffd_entry_free(const struct uffd_fill *fill,
					    pte_t pte)
{
	if (likely(pte_none(pte)))
		return true;
	return !pte_present(pte) && uffd_marker_free(fill, pte);
}

/* How many of @nr entries from @pte on are free. */
static __always_inline long uffd_free_entries(const struct uffd_fill *fill,
					      pte_t *pte, long nr)
{
	long n = 0;

	while (n < nr && uffd_entry_free(fill, ptep_get(pte + n)))
		n++;
	return n;
}

/*
 * Map @nr new anonymous folios of one page each. No other task can reach them:
 * no folio locks.
 */
static __always_inline
unsigned int uffd_map_anon(struct uffd_fill *fill, pte_t *pte,
			   struct folio **folios, long nr)
{
	struct vm_area_struct *vma = fill->vma;
	unsigned long addr = fill->addr;
	unsigned int i = 0;

	do {
		folio_add_new_anon_rmap(folios[i], vma, addr, RMAP_EXCLUSIVE);
		folio_add_lru_vma(folios[i], vma);
		set_pte_at(vma->vm_mm, addr, pte,
			   uffd_page_entry(fill, folio_page(folios[i], 0), false));
		addr += PAGE_SIZE;
		pte++;
	} while (++i < nr);
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, nr);
	return i;
}

/*
 * Map @nr pages of a file from @index on, and unlock their folios. Each takes a
 * reference, but the first of a folio, which gets the one that came with it.
 */
static __always_inline
unsigned int uffd_map_file(struct uffd_fill *fill, pte_t *pte,
			   struct folio **folios, pgoff_t index, long nr)
{
	struct vm_area_struct *vma = fill->vma;
	unsigned int i = 0;
	long left = nr;

	do {
		struct folio *folio = folios[i++];
		struct page *page = folio_file_page(folio, index);
		long n = 1;

		if (left > 1)
			n = min_t(long, left, folio_next_index(folio) - index);
		if (n > 1)
			folio_ref_add(folio, n - 1);
		folio_add_file_rmap_ptes(folio, page, n, vma);
		set_ptes(vma->vm_mm, uffd_address(vma, index), pte,
			 uffd_page_entry(fill, page, true), n);
		folio_unlock(folio);

		index += n;
		left -= n;
		pte += n;
	} while (left);
	/* All pages of a file are counted alike. */
	add_mm_counter(vma->vm_mm, mm_counter_file(folios[0]), nr);
	return i;
}

/*
 * Map a run of folios from fill->addr on, under one page table lock. Stops at
 * an entry that is in use, and at the end of the file.
 *
 * Return: how many folios were mapped, the last one maybe in part: 0 if the page
 * table is gone; or an errno.
 */
static __always_inline int uffd_map_folios(struct uffd_fill *fill, pmd_t *pmd,
					   struct uffd_resolve *resolve)
{
	struct folio **folios = resolve->folios.folios;
	struct vm_area_struct *vma = fill->vma;
	const unsigned long addr = fill->addr;
	spinlock_t *ptl;	/* of the page table */
	int mapped;
	pte_t *pte;
	long nr, n;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (unlikely(!pte))
		return 0;

	nr = uffd_pages_in_file(vma, resolve->index, resolve->nr_pages);
	n = uffd_free_entries(fill, pte, nr);
	if (unlikely(!n)) {
		mapped = nr ? -EEXIST : -EFAULT;
		goto unlock;
	}

	/* Nothing to flush: there was no entry before. */
	if (folios[0]->mapping)
		mapped = uffd_map_file(fill, pte, folios, resolve->index, n);
	else
		mapped = uffd_map_anon(fill, pte, folios, n);
	update_mmu_cache_range(NULL, vma, addr, pte, n);
	uffd_fill_advance(fill, addr + (n << PAGE_SHIFT));
unlock:
	pte_unmap_unlock(pte, ptl);
	return mapped;
}

/* The entry at @addr that replaces @old. */
static pte_t uffd_special_entry(const struct uffd_fill *fill, unsigned long addr,
				pte_t old)
{
	pte_t entry;

	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		return make_pte_marker(PTE_MARKER_POISONED);
	entry = pte_mkspecial(pfn_pte(my_zero_pfn(addr),
				      fill->vma->vm_page_prot));
	/* A hole that was write-protected stays so. */
	if ((fill->flags & MFILL_ATOMIC_WP) || pte_marker_uffd_wp(old))
		entry = pte_mkuffd_wp(entry);
	return entry;
}

/*
 * Write up to @nr entries that need no folio.
 *
 * Return: above 0 if at least one was written, 0 if there is no page table; or
 * an errno.
 */
static int uffd_map_special(struct uffd_fill *fill, pmd_t *pmd, long nr)
{
	struct vm_area_struct *vma = fill->vma;
	unsigned long addr = fill->addr;
	spinlock_t *ptl;	/* of the page table */
	pte_t *pte, old;
	long n;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (unlikely(!pte))
		return 0;

	nr = uffd_pages_in_file(vma, linear_page_index(vma, addr), nr);
	for (n = 0; n < nr; n++) {
		old = ptep_get(pte + n);
		if (!uffd_entry_free(fill, old))
			break;
		set_pte_at(vma->vm_mm, addr, pte + n,
			   uffd_special_entry(fill, addr, old));
		addr += PAGE_SIZE;
	}
	/* Nothing to flush: there was no entry before. */
	if (n)
		update_mmu_cache_range(NULL, vma, fill->addr, pte, n);
	pte_unmap_unlock(pte, ptl);

	if (unlikely(!n))
		return nr ? -EEXIST : -EFAULT;
	uffd_fill_advance(fill, addr);
	return 1;
}

/*
 * The walk
 */

/* Ask for the memory of the next @nr pages. */
static __always_inline int uffd_fill_resolve(struct uffd_fill *fill,
					     struct uffd_request *req, long nr,
					     bool huge)
{
	const bool find = uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE);
	int err;

	uffd_init_resolve(req, fill->vma,
			  linear_page_index(fill->vma, fill->addr), nr,
			  find ? NULL : &fill->source);
	fill->source.absent = 0;
	/* The core need not check what it makes itself. */
	if (!huge && fill->handler == uffd_anon_request)
		return uffd_anon_resolve(req);

	err = uffd_resolve(fill->handler, req, huge);
	/* CONTINUE of a hole has always been -EFAULT. */
	return unlikely(err == -ENOENT) ? -EFAULT : err;
}

/* Give back the folios of an answer from @first on, which were not mapped. */
static void uffd_fill_give_back(struct uffd_fill *fill,
				struct folio_batch *folios, unsigned int first)
{
	unsigned int i;

	for (i = first; i < folio_batch_count(folios); i++) {
		if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE))
			uffd_release(folios->folios[i]);
		else if (fill->handler != uffd_anon_request)
			uffd_undo(fill->handler, fill->vma, folios->folios[i]);
		else
			folio_put(folios->folios[i]);
	}
}

/*
 * Does an entry that is in use decide at once? A CONTINUE that does not skip
 * asks for its page first: if that is missing, the error is -EFAULT rather than
 * -EEXIST.
 */
static __always_inline bool uffd_fill_looks_first(const struct uffd_fill *fill)
{
	return !uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE) ||
	       (fill->flags & MFILL_ATOMIC_SKIP);
}

/* The next @len bytes are present: pass over them, if the fill may. */
static int uffd_fill_skip(struct uffd_fill *fill, unsigned long len)
{
	if (!(fill->flags & MFILL_ATOMIC_SKIP))
		return -EEXIST;
	*fill->skipped += len;
	uffd_fill_advance(fill, fill->addr + len);
	return 0;
}

/* The entry at fill->addr is in use: skip all such entries of the table. */
static noinline int uffd_fill_skip_entries(struct uffd_fill *fill, pmd_t *pmd)
{
	const unsigned long end = pmd_addr_end(fill->addr, fill->until);
	const long nr = (end - fill->addr) >> PAGE_SHIFT;
	pte_t *pte;
	long n = 0;

	if (!(fill->flags & MFILL_ATOMIC_SKIP))
		return -EEXIST;
	pte = pte_offset_map(pmd, fill->addr);
	if (!pte)
		return 0;
	while (n < nr && !uffd_entry_free(fill, ptep_get(pte + n)))
		n++;
	pte_unmap(pte);
	return uffd_fill_skip(fill, n << PAGE_SHIFT);
}

/* The page at fill->addr is in the file, but not mapped here. */
static noinline int uffd_fill_skip_in_file(struct uffd_fill *fill)
{
	/* It is likely not alone. */
	fill->run = 1;
	return uffd_fill_skip(fill, PAGE_SIZE);
}

/*
 * Fewer folios were mapped than the type handed out, or none.
 *
 * Return: as uffd_fill_folios().
 */
static noinline int uffd_fill_cut_short(struct uffd_fill *fill,
					struct folio_batch *folios, int mapped)
{
	uffd_fill_give_back(fill, folios, max(mapped, 0));
	fill->run = 1;
	/* The entry that is in the way will be skipped in the next step. */
	if (mapped == -EEXIST && (fill->flags & MFILL_ATOMIC_SKIP))
		return 1;
	return mapped;
}

/*
 * How many of the next @nr pages, all below @pmd, may be asked for?
 *
 * Return: 0 if the first one is present, -1 if there is no page table.
 */
static __always_inline long uffd_fill_look(const struct uffd_fill *fill,
					   pmd_t *pmd, long nr)
{
	pte_t *pte = pte_offset_map(pmd, fill->addr);

	if (unlikely(!pte))
		return -1;
	nr = uffd_free_entries(fill, pte, nr);
	pte_unmap(pte);
	return nr;
}

/*
 * Must the entry of a single page be looked at? A page of a shared mapping is not
 * present unless the file has it, and the type looks there before it allocates.
 */
static __always_inline bool uffd_fill_needs_look(const struct uffd_fill *fill)
{
	return fill->handler == uffd_anon_request ||
	       (fill->flags & MFILL_ATOMIC_SKIP);
}

/*
 * How many pages to ask for after an answer to @nr: twice as many, unless it met
 * an obstacle, such as the limit of a memory cgroup.
 */
static __always_inline
unsigned long uffd_fill_next_run(const struct uffd_fill *fill,
				 const struct uffd_resolve *resolve, long nr)
{
	if (unlikely(resolve->nr_pages < min(nr, PAGEVEC_SIZE)))
		return resolve->nr_pages;
	return min(2 * fill->run, UFFD_FILL_RUN);
}

/*
 * Fill up to @nr pages, all below @pmd, with folios.
 *
 * Return: above 0 after a step, which may have found that another look is needed;
 * 0 if there is no page table; or an errno, with fill->source.absent set if the
 * source was not resident.
 */
static __always_inline int uffd_fill_folios(struct uffd_fill *fill, pmd_t *pmd,
					    long nr)
{
	struct uffd_request req __uninitialized;
	struct folio_batch *folios = &req.resolve.folios;
	int ret;

	if (nr > 1 || uffd_fill_needs_look(fill)) {
		nr = uffd_fill_look(fill, pmd, nr);
		if (unlikely(nr < 0))
			return 0;
		if (unlikely(!nr)) {
			/* After progress neither error is reported. */
			if (uffd_fill_looks_first(fill) ||
			    fill->addr > fill->start)
				return uffd_fill_skip_entries(fill, pmd) ?: 1;
			nr = 1;
		}
	} else if (unlikely(pmd_none(pmdp_get_lockless(pmd)))) {
		return 0;
	}

	ret = uffd_fill_resolve(fill, &req, nr, false);
	if (unlikely(ret))
		return ret == -EEXIST ? uffd_fill_skip_in_file(fill) ?: 1 : ret;

	ret = uffd_map_folios(fill, pmd, &req.resolve);
	if (unlikely(ret != (int)folio_batch_count(folios)))
		return uffd_fill_cut_short(fill, folios, ret);
	if (fill->addr < fill->until)
		fill->run = uffd_fill_next_run(fill, &req.resolve, nr);
	return 1;
}

/* Fill the page of a huge entry, whose locks are held. */
static __always_inline int uffd_fill_huge_folio(struct uffd_fill *fill,
						struct huge_entry *entry)
{
	struct uffd_request req __uninitialized;
	int err;

	err = uffd_fill_resolve(fill, &req, fill->size >> PAGE_SHIFT, true);
	if (unlikely(err))
		return err;

	err = huge_entry_map(entry, req.resolve.folios.folios[0], fill->flags);
	if (likely(!err)) {
		folio_unlock(req.resolve.folios.folios[0]);
		return 0;
	}
	uffd_fill_give_back(fill, &req.resolve.folios, 0);
	/* A page that is bad, but new, can be replaced. */
	if (err == -EIO && req.resolve.mode == UFFD_RESOLVE_MISSING)
		err = -EUFFD_BAD_PAGE;
	return err;
}

/* Fill the next page of a mapping with huge entries. */
static __always_inline int uffd_fill_huge(struct uffd_fill *fill)
{
	struct huge_entry entry __uninitialized;
	int err;

	err = huge_entry_begin(&entry, fill->vma, fill->addr, fill->size);
	if (unlikely(err))
		return err;
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		err = huge_entry_poison(&entry, fill->flags);
	else if (uffd_fill_looks_first(fill) &&
		 !huge_entry_free(&entry, fill->flags))
		err = -EEXIST;
	else
		err = uffd_fill_huge_folio(fill, &entry);
	huge_entry_end(&entry);

	if (likely(!err))
		uffd_fill_advance(fill, fill->addr + fill->size);
	else if (err == -EEXIST)
		err = uffd_fill_skip(fill, fill->size);
	if (unlikely(err))
		return err;
	/* The next one may need the huge page that the source was read into. */
	if (unlikely(fill->spare)) {
		folio_put(fill->spare);
		fill->spare = NULL;
	}
	return 0;
}

/*
 * A fatal signal ends any fill. The others, and what is made known like one (a
 * stop, a trace, the freezer), end those that asked for it, after progress: a
 * caller that repeats the fill for the rest gets to its end.
 */
static noinline int uffd_fill_signal(const struct uffd_fill *fill)
{
	if (fatal_signal_pending(current) ||
	    (fill->flags & MFILL_ATOMIC_INTERRUPTIBLE &&
	     fill->addr > fill->start))
		return -EINTR;
	return 0;
}

/* Between two steps of a fill: let other tasks run, and look for signals. */
static __always_inline int uffd_fill_rest(const struct uffd_fill *fill)
{
	cond_resched();
	return unlikely(signal_pending(current)) ? uffd_fill_signal(fill) : 0;
}

/* The same walk as uffd_fill_walk(), one huge entry a step. */
static noinline int uffd_fill_walk_huge(struct uffd_fill *fill)
{
	int err;

	do {
		err = uffd_fill_huge(fill);
		if (unlikely(err) || fill->addr == fill->until)
			return err;
		err = uffd_fill_rest(fill);
	} while (likely(!err));
	return err;
}

/*
 * Can all of a page table's range be mapped by one entry? Write protection is for
 * each page, and a private mapping will copy a file's pages one at a time.
 *
 * To split the entry of a file's huge page is to unmap all of it: pages that
 * nothing was done to would be minor faults again, which is up to the caller, and
 * would no longer be seen as mapped where writes are tracked. Anonymous memory
 * keeps its pages mapped.
 */
static bool uffd_fill_may_map_whole(const struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
	    fill->until - fill->addr < PMD_SIZE || (fill->addr & ~PMD_MASK) ||
	    (fill->flags & MFILL_ATOMIC_WP) || uffd_fill_special(fill))
		return false;
	if (fill->handler == uffd_anon_request)
		return vma_is_anonymous(vma) && uffd_thp_allowed(vma);
	if (!(vma->vm_flags & VM_SHARED) || userfaultfd_wp(vma))
		return false;
	return !userfaultfd_minor(vma) || fill->flags & MFILL_ATOMIC_MAP_HUGE;
}

/*
 * Map the huge page at the front of an answer by one entry, if it is one.
 * @table is a page table, which may be needed for that, or NULL.
 */
static bool uffd_map_whole(struct uffd_fill *fill, pmd_t *pmd,
			   struct uffd_resolve *resolve, pgtable_t *table)
{
	struct folio *folio = resolve->folios.folios[0];
	struct vm_area_struct *vma = fill->vma;
	const long nr = PMD_SIZE >> PAGE_SHIFT;
	const bool in_file = folio->mapping;
	pte_t entry;

	if (folio_nr_pages(folio) != nr ||
	    (in_file && folio->index != resolve->index) ||
	    uffd_pages_in_file(vma, resolve->index, nr) != nr)
		return false;

	entry = uffd_page_entry(fill, &folio->page, in_file);
	/* What COPY made is not a copy of something, for reclaim. */
	if (in_file && pte_dirty(entry) && !pte_write(entry))
		folio_mark_dirty(folio);
	if (!uffd_thp_map(vma, fill->addr, pmd, folio, table, pte_write(entry)))
		return false;
	if (in_file)
		folio_unlock(folio);
	uffd_fill_advance(fill, fill->addr + PMD_SIZE);
	return true;
}

/* CONTINUE: map what is found, if it is a huge page. */
static int uffd_fill_whole_found(struct uffd_fill *fill, pmd_t *pmd)
{
	struct uffd_request req __uninitialized;
	pgtable_t table = NULL;
	int err;

	if (arch_needs_pgtable_deposit()) {
		table = pte_alloc_one(fill->vma->vm_mm);
		if (!table)
			return -ENOMEM;
	}
	/* One page is enough to find the huge page that it is a part of. */
	err = uffd_fill_resolve(fill, &req, 1, false);
	if (!err) {
		err = uffd_map_whole(fill, pmd, &req.resolve, &table);
		if (!err)
			uffd_fill_give_back(fill, &req.resolve.folios, 0);
	}
	if (table)
		pte_free(fill->vma->vm_mm, table);
	return err;
}

/*
 * COPY, ZEROPAGE: let a huge page be made. Whatever is handed out instead is
 * mapped as well.
 */
static int uffd_fill_whole_new(struct uffd_fill *fill, pmd_t *pmd)
{
	struct mm_struct *mm = fill->vma->vm_mm;
	struct uffd_request req __uninitialized;
	struct folio_batch *folios = &req.resolve.folios;
	pgtable_t table;
	int err;

	table = pte_alloc_one(mm);
	if (!table)
		return -ENOMEM;

	err = uffd_fill_resolve(fill, &req, PMD_SIZE >> PAGE_SHIFT, false);
	if (err)
		goto free;

	err = uffd_map_whole(fill, pmd, &req.resolve, &table);
	if (!err) {
		pmd_install(mm, pmd, &table);
		/* New anonymous memory is mapped whole, or not at all. */
		if (folios->folios[0]->mapping || !folio_test_large(folios->folios[0]))
			err = uffd_map_folios(fill, pmd, &req.resolve);
	}
	uffd_fill_give_back(fill, folios, max(err, 0));
free:
	if (table)
		pte_free(mm, table);
	/* Some page is present, or was declared bad: go on page by page. */
	return err == -EEXIST || err == -EUFFD_BAD_PAGE ? 0 : err;
}

/*
 * There is no page table: map a huge page, or make a table.
 *
 * Return: 0 if there is something to look at now, or an errno.
 */
static noinline int uffd_fill_no_table(struct uffd_fill *fill, pmd_t *pmd)
{
	const pmd_t pmdval = pmdp_get_lockless(pmd);
	int ret = 0;

	/* What a huge entry maps is present, also while it is being migrated. */
	if (!pmd_none(pmdval) && (!pmd_present(pmdval) || pmd_leaf(pmdval)))
		return uffd_fill_skip(fill, pmd_addr_end(fill->addr, fill->until) -
					    fill->addr);
	if (pmd_none(pmdval) && uffd_fill_may_map_whole(fill)) {
		ret = uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE) ?
		      uffd_fill_whole_found(fill, pmd) :
		      uffd_fill_whole_new(fill, pmd);
	}
	if (!ret && pte_alloc(fill->vma->vm_mm, pmd))
		return -ENOMEM;
	return min(ret, 0);
}

/* Fill from fill->addr on, as far as one answer or run goes. */
static __always_inline int uffd_fill_next(struct uffd_fill *fill, pmd_t *pmd)
{
	unsigned long nr = 1;
	int ret;

	if (fill->until - fill->addr > PAGE_SIZE) {
		nr = (pmd_addr_end(fill->addr, fill->until) - fill->addr) >>
		     PAGE_SHIFT;
		nr = min(nr, fill->run);
	}
	if (uffd_fill_special(fill)) {
		ret = uffd_map_special(fill, pmd, nr);
		if (unlikely(ret == -EEXIST))
			return uffd_fill_skip_entries(fill, pmd);
	} else {
		ret = uffd_fill_folios(fill, pmd, nr);
	}
	if (unlikely(!ret))
		return uffd_fill_no_table(fill, pmd);
	return min(ret, 0);
}

/* Fill from fill->addr to fill->until, as far as it goes. */
static __always_inline int uffd_fill_walk(struct uffd_fill *fill)
{
	pmd_t *pmd;
	int err;

	if (unlikely(fill->huge))
		return uffd_fill_walk_huge(fill);

	for (;;) {
		pmd = uffd_walk(fill->vma->vm_mm, fill->addr);
		if (unlikely(!pmd))
			return -ENOMEM;
		/* A walk is good for all of a page table. */
		do {
			err = uffd_fill_next(fill, pmd);
			if (unlikely(err) || fill->addr == fill->until)
				return err;
			err = uffd_fill_rest(fill);
			if (unlikely(err))
				return err;
		} while (fill->addr & ~PMD_MASK);
	}
}

/*
 * The mapping
 */

/* Could a mapping that is not armed with one of @modes be? */
static noinline bool uffd_could(struct vm_area_struct *vma, vm_flags_t modes)
{
	struct uffd_supported supported;

	uffd_supported(vma, &supported);
	return supported.modes & modes;
}

/* Memory with huge entries: whole pages, and there is no zero page. */
static noinline int uffd_fill_choose_huge(struct uffd_fill *fill)
{
	fill->huge = true;
	fill->size = huge_entry_size(fill->vma);
	fill->handler = uffd_handler(fill->vma);
	if (!IS_ALIGNED(fill->start | fill->end, fill->size) ||
	    uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_ZEROPAGE))
		return -EINVAL;
	return 0;
}

/*
 * Choose who finds or makes the folios, if the mapping can be filled like this
 * at all. What it is armed with has been asked at registration.
 */
static int uffd_fill_choose(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;
	vm_flags_t modes = VM_UFFD_MISSING;

	/* Shared anonymous memory is shmem and has vm_ops. */
	VM_WARN_ON_ONCE(vma_is_anonymous(vma) && (vma->vm_flags & VM_SHARED));
	if ((fill->flags & MFILL_ATOMIC_WP) && !userfaultfd_wp(vma))
		return -EINVAL;
	if (vma_has_huge_entries(vma))
		return uffd_fill_choose_huge(fill);

	fill->handler = uffd_handler(vma);
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE))
		modes = VM_UFFD_MINOR;
	else if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		modes |= VM_UFFD_MINOR;
	else if (!(vma->vm_flags & VM_SHARED))
		/* As after a fault and copy-on-write, but at once. */
		fill->handler = uffd_anon_request;

	if (likely(vma->vm_flags & modes))
		return 0;
	return uffd_could(vma, modes) ? 0 : -EINVAL;
}

static __always_inline void __uffd_fill_unlock(struct uffd_fill *fill)
{
	up_read(&fill->ctx->map_changing_lock);
	uffd_mfill_unlock(fill->vma);
}

static void uffd_fill_unlock(struct uffd_fill *fill)
{
	__uffd_fill_unlock(fill);
	fill->vma = NULL;
}

/* Lock the mapping, which has to have all of the range and to be armed. */
static __always_inline int uffd_fill_lock(struct uffd_fill *fill)
{
	struct vm_area_struct *vma;

	vma = uffd_mfill_lock(fill->ctx->mm, fill->start,
			      fill->end - fill->start);
	if (IS_ERR(vma)) {
		fill->vma = NULL;
		return PTR_ERR(vma);
	}
	fill->vma = vma;

	/*
	 * If the layout of memory is changing (fork, mremap, ...) and its
	 * monitor has not heard of it yet, the address may mean another page
	 * by now: let the user try again later.
	 */
	down_read(&fill->ctx->map_changing_lock);
	if (likely(!atomic_read(&fill->ctx->mmap_changing)))
		return 0;
	uffd_fill_unlock(fill);
	return -EAGAIN;
}

/* Is this still the mapping that the fill began with? */
static bool uffd_fill_same(const struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;

	return vma->vm_file == fill->file &&
	       linear_page_index(vma, fill->start) == fill->pgoff &&
	       (vma->vm_flags & UFFD_FILL_VM_FLAGS) == fill->vm_flags;
}

/* End a fill that was not done by one walk: the locks may be held or not. */
static noinline void uffd_fill_end(struct uffd_fill *fill)
{
	if (fill->vma)
		uffd_fill_unlock(fill);
	if (fill->spare) {
		if (fill->secret)
			folio_zero_segment(fill->spare, 0,
					   folio_size(fill->spare));
		folio_put(fill->spare);
	}
	if (fill->file)
		fput(fill->file);
}

/* Must the kernel keep no copy of what this mapping is filled with? */
static bool uffd_fill_secret(struct vm_area_struct *vma)
{
	struct uffd_supported supported;

	uffd_supported(vma, &supported);
	return supported.secret;
}

/*
 * Bring @size bytes of the source into memory, without locks. A page, or the page
 * of a huge entry, is read into a spare folio. The source of a transparent huge
 * page is only touched; if that was not enough, a small page is made next.
 */
static int uffd_fill_fetch(struct uffd_fill *fill, size_t size, bool first)
{
	if (!fill->huge && size > PAGE_SIZE && first)
		return fault_in_readable(fill->source.from, size) == size ?
		       -EFAULT : 0;

	if (!fill->huge)
		fill->until = fill->addr + PAGE_SIZE;
	return uffd_fill_bounce(fill);
}

/*
 * Drop the locks, get at the source, and take the locks again. On an error they
 * are not held.
 */
static int uffd_fill_reread(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;
	const bool first = !fill->spare || fill->addr != fill->fetched;
	const size_t size = fill->source.absent;
	int err;

	if (!fill->file && vma->vm_file)
		fill->file = get_file(vma->vm_file);
	fill->pgoff = linear_page_index(vma, fill->start);
	fill->vm_flags = vma->vm_flags & UFFD_FILL_VM_FLAGS;
	fill->fetched = fill->addr;
	if (!fill->spare) {
		fill->spare = fill->huge ? huge_entry_spare(vma, fill->addr) :
					   folio_alloc(GFP_HIGHUSER, 0);
		fill->secret = uffd_fill_secret(vma);
	}
	uffd_fill_unlock(fill);

	err = uffd_fill_fetch(fill, size, first);
	fill->source.absent = 0;
	/* Keep the retry loop killable. */
	if (!err && fatal_signal_pending(current))
		err = -EINTR;
	if (!err)
		err = uffd_fill_lock(fill);
	if (err || uffd_fill_same(fill))
		return err;

	uffd_fill_unlock(fill);
	return -EAGAIN;
}

/*
 * After a walk that did not get to fill->end, or not at once.
 *
 * Return: 0 to walk on, above 0 if there is nothing left to do, or an errno.
 */
static noinline int uffd_fill_again(struct uffd_fill *fill, int err)
{
	fill->again = true;
	if (err == -EFAULT && fill->source.absent)
		return uffd_fill_reread(fill);
	/* A new page was declared bad: no data is lost yet, so make another. */
	if (err == -EUFFD_BAD_PAGE)
		return ++fill->replaced < UFFD_FILL_REPLACE ?
		       uffd_fill_rest(fill) : -EIO;
	if (err)
		return err;
	if (fill->addr == fill->end)
		return 1;
	/* All of the part that was likely to be in memory: try twice as much. */
	fill->until += min(fill->until - fill->fetched, fill->end - fill->until);
	return uffd_fill_rest(fill);
}

/**
 * userfaultfd_fill() - COPY, ZEROPAGE, CONTINUE or POISON a range
 * @ctx: the userfaultfd.
 * @start: first address, a multiple of PAGE_SIZE.
 * @len: bytes, a multiple of PAGE_SIZE and not 0; the range does not wrap.
 * @user: user address of the content, with MFILL_ATOMIC_COPY.
 * @flags: the MFILL_ATOMIC_ mode and its options.
 * @skipped: pages that are present are passed over, and their bytes are added to
 *	this; NULL if the first of them ends the fill.
 *
 * Context: process context, no locks, ctx->mm is pinned.
 * Return: bytes filled or skipped, if any were; else -EAGAIN if the mapping
 * changed or is changing, -ENOENT if the range is not in one registered mapping,
 * -EINVAL if that cannot be filled like this, -EEXIST if a page is there already,
 * -EFAULT if the source is not readable, the file ends before, or there is
 * nothing to CONTINUE, -ENOMEM, -EIO, -EINTR if the process is being killed.
 */
ssize_t userfaultfd_fill(struct userfaultfd_ctx *ctx, unsigned long start,
			 unsigned long len, unsigned long user,
			 uffd_flags_t flags, unsigned long *skipped)
{
	struct uffd_fill fill __uninitialized;
	int err;

	fill.ctx = ctx;
	fill.flags = skipped ? flags | MFILL_ATOMIC_SKIP : flags;
	fill.start = start;
	fill.end = start + len;
	fill.until = fill.end;
	fill.addr = start;
	fill.source.from_user = uffd_flags_mode_is(flags, MFILL_ATOMIC_COPY);
	fill.source.from = (const char __user *)user;
	fill.source.bounce = NULL;
	fill.source.absent = 0;
	fill.spare = NULL;
	fill.huge = false;
	fill.run = UFFD_FILL_RUN;
	fill.file = NULL;
	fill.replaced = 0;
	fill.skipped = skipped;
	fill.again = false;

	if (uffd_flags_mode_is(flags, MFILL_ATOMIC_CONTINUE)) {
		/*
		 * Whoever writes to the page cache and then calls CONTINUE may
		 * expect that who reads through the new entry sees it. Pairs
		 * with the dependency of that read on the entry.
		 */
		smp_wmb();
	}

	err = uffd_fill_lock(&fill);
	if (unlikely(err))
		return err;
	err = uffd_fill_choose(&fill);
	while (likely(!err)) {
		err = uffd_fill_walk(&fill);
		if (likely(!err && !fill.again)) {
			__uffd_fill_unlock(&fill);
			return fill.addr - fill.start;
		}
		err = uffd_fill_again(&fill, err);
	}
	uffd_fill_end(&fill);
	return fill.addr > fill.start ? fill.addr - fill.start : err;
}
