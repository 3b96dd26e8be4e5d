// SPDX-License-Identifier: GPL-2.0-only
/*
 * map.c - page table entries of a fill
 *
 * Finds out which entries of a page table a fill may write, and writes them: a
 * run of them under one page table lock. hugetlb.c and thp.c do the same for
 * larger pages.
 *
 * Called with the mapping locked, and with the folios of a file locked.
 */
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/pgalloc.h>
#include <linux/rmap.h>
#include <linux/swapops.h>
#include <asm/tlbflush.h>

#include "internal.h"

/**
 * uffd_walk() - walk to the entry of a page table
 * @mm: the address space.
 * @addr: address that the table maps.
 *
 * Return: the entry, which may have any value; NULL if there is no memory for
 * the tables above it.
 */
__always_inline pmd_t *uffd_walk(struct mm_struct *mm, unsigned long addr)
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

/**
 * uffd_pages_in_file() - how many pages lie inside of the mapped file?
 * @vma: the mapping.
 * @index: page offset of the first one.
 * @nr: how many pages are asked about.
 *
 * With the page table lock held the answer stays true until the entries are
 * written: truncation sets the size first and takes that lock to zap
 * afterwards.
 *
 * Return: up to @nr.
 */
long uffd_pages_in_file(struct vm_area_struct *vma, pgoff_t index, long nr)
{
	pgoff_t end;

	if (!vma->vm_file)
		return nr;

	end = DIV_ROUND_UP(i_size_read(vma->vm_file->f_mapping->host), PAGE_SIZE);
	return index < end ? min_t(pgoff_t, nr, end - index) : 0;
}

/*
 * Which entries are free?
 */

/**
 * uffd_replaces_marker() - may a fill write to an entry that is a marker?
 * @fill: the fill.
 * @pte: an entry that is neither none nor present.
 *
 * As in 6.12, a page replaces any marker, and an entry without a folio replaces
 * none. A fill that skips present pages always replaces the marker of a
 * write-protected hole; only COPY and CONTINUE replace poison.
 *
 * Return: true if it may.
 */
bool uffd_replaces_marker(const struct uffd_fill *fill, pte_t pte)
{
	if (!pte_is_uffd_marker(pte))
		return false;
	if (!(fill->flags & MFILL_ATOMIC_SKIP))
		return !uffd_fill_special(fill);
	return pte_is_uffd_wp_marker(pte) ||
	       uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_COPY) ||
	       uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE);
}

/* May this fill write to the entry? */
static __always_inline bool uffd_entry_free(const struct uffd_fill *fill, pte_t pte)
{
	if (likely(pte_none(pte)))
		return true;
	return !pte_present(pte) && uffd_replaces_marker(fill, pte);
}

/* How many of @nr entries from @pte on are free, or in use. */
static __always_inline
long uffd_count_entries(const struct uffd_fill *fill, pte_t *pte, long nr,
			bool free)
{
	long n = 0;

	while (n < nr && uffd_entry_free(fill, ptep_get(pte + n)) == free)
		n++;
	return n;
}

/**
 * uffd_free_entries() - how many entries from fill->addr on are free?
 * @fill: the fill.
 * @pmd: the entry of the page table that maps fill->addr.
 * @nr: how many entries are asked about, all of this table.
 *
 * Return: up to @nr, or -EUFFD_NO_TABLE.
 */
__always_inline
long uffd_free_entries(const struct uffd_fill *fill, pmd_t *pmd, long nr)
{
	pte_t *pte = pte_offset_map(pmd, fill->addr);

	if (unlikely(!pte))
		return -EUFFD_NO_TABLE;
	nr = uffd_count_entries(fill, pte, nr, true);
	pte_unmap(pte);
	return nr;
}

/**
 * uffd_used_entries() - how many entries from fill->addr on are in use?
 * @fill: the fill.
 * @pmd: the entry of the page table that maps fill->addr.
 * @nr: how many entries are asked about, all of this table.
 *
 * Return: up to @nr, or -EUFFD_NO_TABLE.
 */
long uffd_used_entries(const struct uffd_fill *fill, pmd_t *pmd, long nr)
{
	pte_t *pte = pte_offset_map(pmd, fill->addr);

	if (!pte)
		return -EUFFD_NO_TABLE;
	nr = uffd_count_entries(fill, pte, nr, false);
	pte_unmap(pte);
	return nr;
}

/*
 * Entries of folios
 */

/**
 * uffd_page_entry() - the entry that maps a page
 * @fill: the fill.
 * @page: the page.
 * @in_file: whether it belongs to the mapped file.
 *
 * Return: the entry.
 */
__always_inline
pte_t uffd_page_entry(const struct uffd_fill *fill, struct page *page,
		      bool in_file)
{
	struct vm_area_struct *vma = fill->vma;
	pte_t entry = mk_pte(page, vma->vm_page_prot);
	const bool writable = pte_write(entry);

	/*
	 * page_mkwrite() relies on the first write faulting: such pages are
	 * mapped clean and read-only. If vm_page_prot is writable, the file
	 * does not need that.
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
		entry = pte_mkuffd(entry);
	return entry;
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
 * Map @nr pages of a file from @index on, and unlock their folios. Each page
 * takes a reference, except the first of a folio: it gets that of the answer.
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
	/* All pages of a file have the same counter. */
	add_mm_counter(vma->vm_mm, mm_counter_file(folios[0]), nr);
	return i;
}

/**
 * uffd_map_folios() - map a run of folios under one page table lock
 * @fill: the fill; it advances by the pages that were mapped.
 * @pmd: the entry of the page table that maps fill->addr.
 * @resolve: the answer with the folios.
 *
 * Stops at an entry that is in use, and at the end of the file.
 *
 * Return: how many folios were mapped, above 0, the last one perhaps in part;
 * -EUFFD_NO_TABLE; -EEXIST if the first entry is in use; -EFAULT if the file
 * ends before it.
 */
__always_inline long uffd_map_folios(struct uffd_fill *fill, pmd_t *pmd,
				     struct uffd_resolve *resolve)
{
	struct folio **folios = resolve->folios.folios;
	struct vm_area_struct *vma = fill->vma;
	const unsigned long addr = fill->addr;
	spinlock_t *ptl;	/* of the page table */
	long nr, n, mapped;
	pte_t *pte;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (unlikely(!pte))
		return -EUFFD_NO_TABLE;

	nr = uffd_pages_in_file(vma, resolve->index, resolve->nr_pages);
	n = uffd_count_entries(fill, pte, nr, true);
	if (unlikely(!n)) {
		pte_unmap_unlock(pte, ptl);
		return nr ? -EEXIST : -EFAULT;
	}

	/* Nothing to flush: there was no entry before. */
	if (folios[0]->mapping)
		mapped = uffd_map_file(fill, pte, folios, resolve->index, n);
	else
		mapped = uffd_map_anon(fill, pte, folios, n);
	update_mmu_cache_range(NULL, vma, addr, pte, n);
	pte_unmap_unlock(pte, ptl);

	uffd_fill_advance(fill, addr + (n << PAGE_SHIFT));
	return mapped;
}

/*
 * Entries without a folio
 */

/* The entry at @addr that replaces @old. */
static pte_t uffd_special_entry(const struct uffd_fill *fill, unsigned long addr,
				pte_t old)
{
	pte_t entry;

	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		return make_pte_marker(PTE_MARKER_POISONED);
	entry = pte_mkspecial(pfn_pte(zero_pfn(addr),
				      fill->vma->vm_page_prot));
	/* A hole that was write-protected stays so. */
	if ((fill->flags & MFILL_ATOMIC_WP) || pte_is_uffd_wp_marker(old))
		entry = pte_mkuffd(entry);
	return entry;
}

/**
 * uffd_map_special() - write entries that need no folio
 * @fill: the fill; it advances by the entries that were written.
 * @pmd: the entry of the page table that maps fill->addr.
 * @nr: how many to write at most, all of this table.
 *
 * Return: 0; -EUFFD_NO_TABLE; -EEXIST if the first entry is in use; -EFAULT if
 * the file ends before it.
 */
__always_inline int uffd_map_special(struct uffd_fill *fill, pmd_t *pmd, long nr)
{
	struct vm_area_struct *vma = fill->vma;
	unsigned long addr = fill->addr;
	spinlock_t *ptl;	/* of the page table */
	pte_t *pte, old;
	long n;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (unlikely(!pte))
		return -EUFFD_NO_TABLE;

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
	return 0;
}
