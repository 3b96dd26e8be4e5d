// SPDX-License-Identifier: GPL-2.0-only
/*
 * map.c - page table entries of a fill
 *
 * Finds out whether a fill may write an entry of a page table, and writes it.
 * hugetlb.c does the same for larger pages.
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

/*
 * Does a page lie inside of the mapped file? With the page table lock held the
 * answer stays true until the entry is written: truncation sets the size first
 * and takes that lock to zap afterwards.
 */
static bool uffd_page_in_file(struct vm_area_struct *vma, pgoff_t index)
{
	if (!vma->vm_file)
		return true;
	return index < uffd_end_of_file(vma->vm_file->f_mapping->host);
}

/*
 * Is the entry free?
 */

/**
 * uffd_replaces_marker() - may a fill write to an entry that is a marker?
 * @fill: the fill.
 * @pte: an entry that is neither none nor present.
 *
 * As in 6.12, a page replaces any marker, and an entry without a folio replaces
 * none.
 *
 * Return: true if it may.
 */
bool uffd_replaces_marker(const struct uffd_fill *fill, pte_t pte)
{
	return pte_is_uffd_marker(pte) && !uffd_fill_special(fill);
}

/* May this fill write to the entry? */
static __always_inline bool uffd_entry_free(const struct uffd_fill *fill, pte_t pte)
{
	if (likely(pte_none(pte)))
		return true;
	return !pte_present(pte) && uffd_replaces_marker(fill, pte);
}

/**
 * uffd_check_entry() - is the entry for fill->addr free?
 * @fill: the fill.
 * @pmd: the entry of the page table that maps fill->addr.
 *
 * Return: 0, -EEXIST if it is in use, or -EUFFD_NO_TABLE.
 */
__always_inline int uffd_check_entry(const struct uffd_fill *fill, pmd_t *pmd)
{
	pte_t *pte = pte_offset_map(pmd, fill->addr);
	bool free;

	if (unlikely(!pte))
		return -EUFFD_NO_TABLE;
	free = uffd_entry_free(fill, ptep_get(pte));
	pte_unmap(pte);
	return free ? 0 : -EEXIST;
}

/*
 * Entries of folios
 */

/* The entry that maps a page; @in_file: whether it is one of the mapped file. */
static __always_inline
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
 * Map a new anonymous folio of one page. No other task can reach it: no folio
 * lock.
 */
static __always_inline
void uffd_map_anon(struct uffd_fill *fill, pte_t *pte, struct folio *folio)
{
	struct vm_area_struct *vma = fill->vma;

	folio_add_new_anon_rmap(folio, vma, fill->addr, RMAP_EXCLUSIVE);
	folio_add_lru_vma(folio, vma);
	set_pte_at(vma->vm_mm, fill->addr, pte,
		   uffd_page_entry(fill, folio_page(folio, 0), false));
	inc_mm_counter(vma->vm_mm, MM_ANONPAGES);
}

/*
 * Map the page of a file at @index, and unlock its folio. The entry gets the
 * reference that came with the folio.
 */
static __always_inline
void uffd_map_file(struct uffd_fill *fill, pte_t *pte, struct folio *folio,
		   pgoff_t index)
{
	struct page *page = folio_file_page(folio, index);
	struct vm_area_struct *vma = fill->vma;

	folio_add_file_rmap_pte(folio, page, vma);
	set_pte_at(vma->vm_mm, fill->addr, pte,
		   uffd_page_entry(fill, page, true));
	folio_unlock(folio);
	inc_mm_counter(vma->vm_mm, mm_counter_file(folio));
}

/**
 * uffd_map_folio() - map one page of a folio
 * @fill: the fill; it advances by the page.
 * @pmd: the entry of the page table that maps fill->addr.
 * @resolve: the answer with the folio.
 *
 * Return: 0; -EUFFD_NO_TABLE; -EEXIST if the entry is in use; -EFAULT if the
 * file ends before the page.
 */
__always_inline int uffd_map_folio(struct uffd_fill *fill, pmd_t *pmd,
				   struct uffd_resolve *resolve)
{
	struct folio *folio = resolve->folios.folios[0];
	struct vm_area_struct *vma = fill->vma;
	spinlock_t *ptl;	/* of the page table */
	int err = 0;
	pte_t *pte;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, fill->addr, &ptl);
	if (unlikely(!pte))
		return -EUFFD_NO_TABLE;

	if (unlikely(!uffd_page_in_file(vma, resolve->index)))
		err = -EFAULT;
	else if (unlikely(!uffd_entry_free(fill, ptep_get(pte))))
		err = -EEXIST;
	if (unlikely(err))
		goto unlock;

	if (folio->mapping)
		uffd_map_file(fill, pte, folio, resolve->index);
	else
		uffd_map_anon(fill, pte, folio);
	/* Nothing to flush: there was no entry before. */
	update_mmu_cache(vma, fill->addr, pte);
unlock:
	pte_unmap_unlock(pte, ptl);
	if (likely(!err))
		uffd_fill_advance(fill, fill->addr + PAGE_SIZE);
	return err;
}

/*
 * Entries without a folio
 */

/* The entry for fill->addr. */
static pte_t uffd_special_entry(const struct uffd_fill *fill)
{
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		return make_pte_marker(PTE_MARKER_POISONED);
	return pte_mkspecial(pfn_pte(zero_pfn(fill->addr),
				     fill->vma->vm_page_prot));
}

/**
 * uffd_map_special() - write an entry that needs no folio
 * @fill: the fill; it advances by the page.
 * @pmd: the entry of the page table that maps fill->addr.
 *
 * Return: 0; -EUFFD_NO_TABLE; -EEXIST if the entry is in use; -EFAULT if the
 * file ends before the page.
 */
__always_inline int uffd_map_special(struct uffd_fill *fill, pmd_t *pmd)
{
	struct vm_area_struct *vma = fill->vma;
	spinlock_t *ptl;	/* of the page table */
	int err = 0;
	pte_t *pte;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, fill->addr, &ptl);
	if (unlikely(!pte))
		return -EUFFD_NO_TABLE;

	if (!uffd_page_in_file(vma, linear_page_index(vma, fill->addr)))
		err = -EFAULT;
	else if (!uffd_entry_free(fill, ptep_get(pte)))
		err = -EEXIST;
	if (unlikely(err))
		goto unlock;

	set_pte_at(vma->vm_mm, fill->addr, pte, uffd_special_entry(fill));
	/* Nothing to flush: there was no entry before. */
	update_mmu_cache(vma, fill->addr, pte);
unlock:
	pte_unmap_unlock(pte, ptl);
	if (likely(!err))
		uffd_fill_advance(fill, fill->addr + PAGE_SIZE);
	return err;
}
