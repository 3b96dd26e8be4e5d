// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_thp.c - transparent huge pages in a fill
 *
 * A fill that has all of an empty page table's range may map a huge page there,
 * by one entry: one that CONTINUE found, or one that COPY or ZEROPAGE made.
 *
 * Called by userfaultfd_fill.c with the mapping locked, mmap_changing checked,
 * and the folio, if it is a file's, locked.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pgalloc.h>
#include <linux/rmap.h>

#include "internal.h"
#include "userfaultfd_internal.h"

static void uffd_thp_count_fallback(bool charge)
{
	count_vm_event(THP_FAULT_FALLBACK);
	count_mthp_stat(HPAGE_PMD_ORDER, MTHP_STAT_ANON_FAULT_FALLBACK);
	if (charge) {
		count_vm_event(THP_FAULT_FALLBACK_CHARGE);
		count_mthp_stat(HPAGE_PMD_ORDER,
				MTHP_STAT_ANON_FAULT_FALLBACK_CHARGE);
	}
}

/**
 * uffd_thp_allowed() - may anonymous memory have a huge page here?
 * @vma: an anonymous mapping that has all of the page's range.
 *
 * Return: what a page fault would go by: mapping, process and system setting.
 */
bool uffd_thp_allowed(struct vm_area_struct *vma)
{
	return thp_vma_allowable_order(vma, vma->vm_flags,
				       TVA_IN_PF | TVA_ENFORCE_SYSFS, PMD_ORDER);
}

/**
 * uffd_thp_alloc() - a huge page for anonymous memory
 * @vma: the mapping, which may have one.
 * @addr: where.
 *
 * With as much effort as a page fault takes, so it may well fail.
 *
 * Return: the folio, charged and without content, or NULL.
 */
struct folio *uffd_thp_alloc(struct vm_area_struct *vma, unsigned long addr)
{
	gfp_t gfp = vma_thp_gfp_mask(vma);
	struct folio *folio;

	folio = vma_alloc_folio(gfp, HPAGE_PMD_ORDER, vma, addr, true);
	if (!folio) {
		uffd_thp_count_fallback(false);
		return NULL;
	}
	if (mem_cgroup_charge(folio, vma->vm_mm, gfp)) {
		uffd_thp_count_fallback(true);
		folio_put(folio);
		return NULL;
	}
	folio_throttle_swaprate(folio, gfp);
	return folio;
}

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
	entry = mk_huge_pmd(&folio->page, vma->vm_page_prot);
	entry = maybe_pmd_mkwrite(pmd_mkdirty(entry), vma);
	folio_add_new_anon_rmap(folio, vma, addr, RMAP_EXCLUSIVE);
	folio_add_lru_vma(folio, vma);
	/* Whoever splits the page must not need memory for it. */
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
	vm_fault_t ret = do_set_pmd(&vmf, &folio->page);

	*table = vmf.prealloc_pte;
	return !ret;
}

/**
 * uffd_thp_map() - map a huge page by one entry
 * @vma: the mapping.
 * @addr: where, the first address of a page table.
 * @pmd: the entry that shall map it.
 * @folio: the page, whose reference goes to the entry: a new one without a file,
 *	or of the mapped file, locked, and inside of it.
 * @table: a page table, which is taken if it is needed, and is NULL then. That of
 *	a file's may be NULL before, unless arch_needs_pgtable_deposit().
 * @write: whether a file's page may be written to.
 *
 * Return: false if it cannot be: the folio is not like that, or something is in
 * the way.
 */
bool uffd_thp_map(struct vm_area_struct *vma, unsigned long addr, pmd_t *pmd,
		  struct folio *folio, pgtable_t *table, bool write)
{
	if (folio_order(folio) != HPAGE_PMD_ORDER)
		return false;
	if (folio->mapping)
		return uffd_thp_map_file(vma, addr, pmd, folio, table, write);
	return uffd_thp_map_anon(vma, addr, pmd, folio, table);
}
