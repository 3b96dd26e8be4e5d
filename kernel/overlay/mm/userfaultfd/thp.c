// SPDX-License-Identifier: GPL-2.0-only
/*
 * thp.c - transparent huge pages in a fill
 *
 * If a fill covers everything that a page table would map, and there is no page
 * table yet, it may map a huge page there by one entry: a page that CONTINUE
 * found, or a new one of COPY or ZEROPAGE.
 *
 * Called by fill.c with the mapping locked and mmap_changing checked.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pgalloc.h>
#include <linux/rmap.h>

#include "internal.h"

/* May anonymous memory have a huge page here? The rules are those of faults. */
static bool uffd_thp_allowed(struct vm_area_struct *vma)
{
	return thp_vma_allowable_order(vma, vma->vm_flags,
				       TVA_PAGEFAULT, PMD_ORDER);
}

/*
 * Can one entry map the whole range of a page table? Not with write protection,
 * which works on single pages, and not for a file's pages in a private mapping,
 * which are copied one at a time.
 *
 * Splitting the entry of a file's huge page unmaps all of it. With MINOR, pages
 * that were not touched raise minor faults again, so the caller must have
 * requested it. With WP, they would no longer count as mapped when writes are
 * tracked. Anonymous memory stays mapped when its entry is split.
 */
static bool uffd_thp_possible(const struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;

	if (fill->end - fill->addr < PMD_SIZE || (fill->addr & ~PMD_MASK) ||
	    (fill->flags & MFILL_ATOMIC_WP) || uffd_fill_special(fill))
		return false;
	if (fill->handler == uffd_anon_request)
		return vma_is_anonymous(vma) && uffd_thp_allowed(vma);
	if (!(vma->vm_flags & VM_SHARED) || userfaultfd_wp(vma))
		return false;
	return !userfaultfd_minor(vma) || fill->flags & MFILL_ATOMIC_MAP_HUGE;
}

/* Map an anonymous huge page. @table is consumed: it is kept for a split. */
static bool uffd_thp_map_anon(struct vm_area_struct *vma, unsigned long addr,
			      pmd_t *pmd, struct folio *folio, pgtable_t *table)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = pmd_lock(mm, pmd);
	pmd_t entry;

	if (unlikely(!pmd_none(*pmd))) {
		spin_unlock(ptl);
		return false;
	}
	entry = folio_mk_pmd(folio, vma->vm_page_prot);
	entry = maybe_pmd_mkwrite(pmd_mkdirty(entry), vma);
	folio_add_new_anon_rmap(folio, vma, addr, RMAP_EXCLUSIVE);
	folio_add_lru_vma(folio, vma);
	/* Splitting the page must not need memory. */
	pgtable_trans_huge_deposit(mm, pmd, *table);
	*table = NULL;
	mm_inc_nr_ptes(mm);
	set_pmd_at(mm, addr, pmd, entry);
	update_mmu_cache_pmd(vma, addr, pmd);
	add_mm_counter(mm, MM_ANONPAGES, HPAGE_PMD_NR);
	deferred_split_folio(folio, false);
	spin_unlock(ptl);

	count_vm_event(THP_FAULT_ALLOC);
	count_mthp_stat(HPAGE_PMD_ORDER, MTHP_STAT_ANON_FAULT_ALLOC);
	count_memcg_event_mm(mm, THP_FAULT_ALLOC);
	return true;
}

static bool uffd_thp_map_file(struct vm_area_struct *vma, unsigned long addr,
			      pmd_t *pmd, struct folio *folio, pgtable_t *table,
			      bool write)
{
	struct vm_fault vmf = {
		.vma = vma,
		.address = addr,
		.pmd = pmd,
		.prealloc_pte = *table,
		.flags = write ? FAULT_FLAG_WRITE : 0,
	};
	vm_fault_t ret = do_set_pmd(&vmf, folio, &folio->page);

	*table = vmf.prealloc_pte;
	return !ret;
}

/*
 * If the first folio of an answer is a huge page, map it by one entry. @table
 * is a page table or NULL, and becomes NULL if it was used. For a file's page
 * it may be NULL unless arch_needs_pgtable_deposit().
 */
static bool uffd_thp_map(struct uffd_fill *fill, pmd_t *pmd,
			 struct uffd_resolve *resolve, pgtable_t *table)
{
	struct folio *folio = resolve->folios.folios[0];
	struct vm_area_struct *vma = fill->vma;
	const bool in_file = folio->mapping;
	bool mapped;
	pte_t entry;

	if (folio_order(folio) != HPAGE_PMD_ORDER ||
	    (in_file && folio->index != resolve->index) ||
	    uffd_pages_in_file(vma, resolve->index, HPAGE_PMD_NR) != HPAGE_PMD_NR)
		return false;

	entry = uffd_page_entry(fill, &folio->page, in_file);
	if (in_file) {
		/* Reclaim must not drop it: this is the only copy. */
		if (pte_dirty(entry) && !pte_write(entry))
			folio_mark_dirty(folio);
		mapped = uffd_thp_map_file(vma, fill->addr, pmd, folio, table,
					   pte_write(entry));
		if (mapped)
			folio_unlock(folio);
	} else {
		mapped = uffd_thp_map_anon(vma, fill->addr, pmd, folio, table);
	}
	if (mapped)
		uffd_fill_advance(fill, fill->addr + PMD_SIZE);
	return mapped;
}

/* CONTINUE: map the page that is found, if it is a huge page. */
static int uffd_thp_fill_found(struct uffd_fill *fill, pmd_t *pmd)
{
	struct mm_struct *mm = fill->vma->vm_mm;
	struct uffd_request req __uninitialized;
	pgtable_t table = NULL;
	int err;

	if (arch_needs_pgtable_deposit()) {
		table = pte_alloc_one(mm);
		if (!table)
			return -ENOMEM;
	}
	/* One page is enough to find the huge page that it is a part of. */
	err = uffd_fill_resolve(fill, &req, 1, false);
	if (!err && !uffd_thp_map(fill, pmd, &req.resolve, &table))
		uffd_fill_give_back(fill, &req, 0);
	if (table)
		pte_free(mm, table);
	return err;
}

/*
 * COPY, ZEROPAGE: request a new huge page. If the answer has small pages
 * instead, these are mapped.
 */
static int uffd_thp_fill_new(struct uffd_fill *fill, pmd_t *pmd)
{
	struct mm_struct *mm = fill->vma->vm_mm;
	struct uffd_request req __uninitialized;
	struct folio *folio;
	pgtable_t table;
	long mapped = 0;
	int err;

	table = pte_alloc_one(mm);
	if (!table)
		return -ENOMEM;

	err = uffd_fill_resolve(fill, &req, HPAGE_PMD_NR, false);
	if (err)
		goto free;

	folio = req.resolve.folios.folios[0];
	if (uffd_thp_map(fill, pmd, &req.resolve, &table)) {
		mapped = 1;
	} else {
		pmd_install(mm, pmd, &table);
		/* A large anonymous folio is not mapped by its pages. */
		if (folio->mapping || !folio_test_large(folio))
			mapped = uffd_map_folios(fill, pmd, &req.resolve);
	}
	uffd_fill_give_back(fill, &req, mapped < 0 ? 0 : mapped);
	if (mapped < 0)
		err = mapped;
free:
	if (table)
		pte_free(mm, table);
	return err;
}

/**
 * uffd_thp_fill() - fill the range of a page table by a huge page, if possible
 * @fill: the fill; it advances by the pages that were mapped, which may be none.
 * @pmd: the entry for fill->addr, which was none.
 *
 * Return: 0 to look again, or an errno.
 */
noinline int uffd_thp_fill(struct uffd_fill *fill, pmd_t *pmd)
{
	int err;

	if (!uffd_thp_possible(fill))
		return 0;
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE))
		return uffd_thp_fill_found(fill, pmd);

	err = uffd_thp_fill_new(fill, pmd);
	/* A page is present, or was declared bad: continue page by page. */
	if (err == -EEXIST || err == -EUFFD_BAD_PAGE || err == -EUFFD_NO_TABLE)
		return 0;
	return err;
}
