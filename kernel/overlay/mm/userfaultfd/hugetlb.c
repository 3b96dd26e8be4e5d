// SPDX-License-Identifier: GPL-2.0-only
/*
 * hugetlb.c - hugetlb's part in userfaultfd
 *
 * The answers to ->userfaultfd_request(), and the functions that the core calls
 * by name, to fill an entry and to wait for one.
 *
 * Filling an entry takes two more locks, in this order, inside those of the
 * mapping and outside the folio lock:
 *
 *	fault mutex of the page		excludes other faults and fills of it
 *	hugetlb's lock of the VMA	keeps the page table of the entry
 */
#include <linux/hugetlb.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_request.h>

#include "internal.h"

/*
 * Requests
 */

static int hugetlb_uffd_present(struct uffd_present *present)
{
	struct folio *folio;

	folio = filemap_get_folio(present->inode->i_mapping, present->index);
	if (IS_ERR(folio))
		return -ENOENT;
	folio_put(folio);
	return 0;
}

/*
 * Create a page; in a private mapping, it is not added to the file. It may
 * consume a reservation, which every error path restores.
 */
static int hugetlb_uffd_create(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct vm_area_struct *vma = req->vma;
	unsigned long addr = uffd_address(vma, resolve->index);
	const bool shared = vma->vm_flags & VM_SHARED;
	struct hstate *h = hstate_vma(vma);
	pgoff_t index = resolve->index >> huge_page_order(h);
	struct folio *folio;
	int err;

	if (shared && hugetlbfs_pagecache_present(h, vma, addr))
		return -EEXIST;
	/*
	 * The file may be truncated from here on, but truncation waits for the
	 * fault mutex, which is held here, before it looks for pages. Hole
	 * punching holds that mutex.
	 */
	if (shared && index >= i_size_read(resolve->inode) >> huge_page_shift(h))
		return -EFAULT;

	folio = alloc_hugetlb_folio(vma, addr, false);
	if (IS_ERR(folio))
		return -ENOMEM;

	err = userfaultfd_fill_folio(req, folio, resolve->index);
	if (err)
		goto give_back;

	if (shared) {
		err = hugetlb_add_to_page_cache(folio, resolve->inode->i_mapping,
						index);
		if (err)
			goto give_back;
	} else {
		folio_lock(folio);
		folio->index = resolve->index;
	}
	folio_batch_add(&resolve->folios, folio);
	return 0;

give_back:
	restore_reserve_on_error(h, vma, addr, folio);
	folio_put(folio);
	return err;
}

static int hugetlb_uffd_find(struct uffd_resolve *resolve)
{
	struct address_space *mapping = resolve->inode->i_mapping;
	struct folio *folio;

	for (;;) {
		folio = filemap_get_entry(mapping, resolve->index);
		if (unlikely(!folio))
			return -ENOENT;
		folio_lock(folio);
		if (likely(folio->mapping == mapping))
			break;
		/* It was migrated, or removed as poisoned: look up again. */
		uffd_release(folio);
	}
	folio_batch_add(&resolve->folios, folio);
	return 0;
}

/* Remove a page from the file. The fault mutex excludes hole punching. */
static void hugetlb_uffd_remove(struct hstate *h, struct inode *inode,
				struct folio *folio)
{
	folio_clear_dirty(folio);
	folio_clear_uptodate(folio);
	filemap_remove_folio(folio);

	spin_lock(&inode->i_lock);
	inode->i_blocks -= blocks_per_huge_page(h);
	spin_unlock(&inode->i_lock);
}

/*
 * A page that was added to the file stays there, as memory of the file, unless
 * it is bad: then it is removed with its reservation, as by memory_failure(), so
 * that another one can be added.
 */
static int hugetlb_uffd_undo(struct uffd_request *req)
{
	struct folio *folio = req->undo.folio;
	struct vm_area_struct *vma = req->vma;
	struct hstate *h = hstate_vma(vma);
	unsigned long addr;

	if (folio->mapping && !folio_test_hwpoison(folio))
		return 0;
	addr = uffd_address(vma, folio->index);
	if (folio->mapping)
		hugetlb_uffd_remove(h, folio->mapping->host, folio);
	restore_reserve_on_error(h, vma, addr, folio);
	return 0;
}

/**
 * hugetlb_userfaultfd_request() - hugetlb's answers
 * @req: the request.
 *
 * Context: FAULT_RESOLVE and FAULT_UNDO with the locks of the entry. Faults are
 * not resolved here: hugetlb_no_page() asks the core what a fault is, with the
 * page at hand, and does the rest itself.
 * Return: see &struct uffd_request.
 */
int hugetlb_userfaultfd_request(struct uffd_request *req)
{
	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		req->supported.modes = __VM_UFFD_FLAGS;
		req->supported.granule = uffd_hugetlb_size(req->vma);
		return 0;
	case UFFD_REQ_GET_PRESENT:
		return hugetlb_uffd_present(&req->present);
	case UFFD_REQ_FAULT_RESOLVE:
		if (req->resolve.mode == UFFD_RESOLVE_MINOR)
			return hugetlb_uffd_find(&req->resolve);
		return hugetlb_uffd_create(req);
	case UFFD_REQ_FAULT_UNDO:
		return hugetlb_uffd_undo(req);
	default:
		return -EOPNOTSUPP;
	}
}

/*
 * Entries
 */

/*
 * An entry and its locks: of @vma, for pages of @h, mapping @addr, a multiple
 * of their size.
 */
struct uffd_hugetlb_entry {
	struct vm_area_struct *vma;
	struct hstate *h;
	unsigned long addr;
	pte_t *pte;
	struct mutex *mutex;	/* of faults */
};

static void uffd_hugetlb_unlock(struct uffd_hugetlb_entry *entry)
{
	hugetlb_vma_unlock_read(entry->vma);
	mutex_unlock(entry->mutex);
}

/* Lock the entry at @addr, and create it if necessary; 0 or -ENOMEM. */
static __always_inline
int uffd_hugetlb_lock(struct uffd_hugetlb_entry *entry,
		      struct vm_area_struct *vma, unsigned long addr)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct hstate *h = hstate_vma(vma);
	pgoff_t index = linear_page_index(vma, addr) >> huge_page_order(h);
	u32 hash = hugetlb_fault_mutex_hash(mapping, index);

	entry->vma = vma;
	entry->h = h;
	entry->addr = addr;
	entry->mutex = &hugetlb_fault_mutex_table[hash];
	mutex_lock(entry->mutex);
	hugetlb_vma_lock_read(vma);

	/* Only if there is none: huge_pte_alloc() could share its table. */
	entry->pte = hugetlb_walk(vma, addr, huge_page_size(h));
	if (unlikely(!entry->pte))
		entry->pte = huge_pte_alloc(vma->vm_mm, vma, addr,
					    huge_page_size(h));
	if (likely(entry->pte))
		return 0;
	uffd_hugetlb_unlock(entry);
	return -ENOMEM;
}

/* May a fill write to the entry? */
static __always_inline bool uffd_hugetlb_free(const struct uffd_fill *fill,
					      struct uffd_hugetlb_entry *entry)
{
	pte_t pte = huge_ptep_get(entry->vma->vm_mm, entry->addr, entry->pte);

	return huge_pte_none(pte) ||
	       (!pte_present(pte) && uffd_replaces_marker(fill, pte));
}

static __always_inline void uffd_hugetlb_set(struct uffd_hugetlb_entry *entry, pte_t pte)
{
	set_huge_pte_at(entry->vma->vm_mm, entry->addr, entry->pte, pte,
			huge_page_size(entry->h));
	/* Nothing to flush: there was no entry before. */
	update_mmu_cache(entry->vma, entry->addr, entry->pte);
}

/* 0, or -EEXIST if the entry is in use. */
static int uffd_hugetlb_poison(const struct uffd_fill *fill,
			       struct uffd_hugetlb_entry *entry)
{
	int err = -EEXIST;
	spinlock_t *ptl;	/* of the page table */

	ptl = huge_pte_lock(entry->h, entry->vma->vm_mm, entry->pte);
	if (uffd_hugetlb_free(fill, entry)) {
		uffd_hugetlb_set(entry, make_pte_marker(PTE_MARKER_POISONED));
		err = 0;
	}
	spin_unlock(ptl);
	return err;
}

/*
 * Map a locked page, and give its reference to the entry. Returns 0; -EEXIST if
 * something else is mapped; or -EIO if the page is poisoned. On an error, the
 * reference remains with the caller.
 */
static __always_inline
int uffd_hugetlb_map(const struct uffd_fill *fill,
		     struct uffd_hugetlb_entry *entry, struct folio *folio)
{
	const bool found = uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE);
	struct vm_area_struct *vma = entry->vma;
	bool writable = vma->vm_flags & VM_WRITE;
	struct hstate *h = entry->h;
	spinlock_t *ptl;	/* of the page table */
	int err = 0;
	pte_t pte;

	/* A private mapping maps pages of the file read-only. */
	if ((fill->flags & MFILL_ATOMIC_WP) ||
	    (found && !(vma->vm_flags & VM_SHARED)))
		writable = false;

	ptl = huge_pte_lock(h, vma->vm_mm, entry->pte);
	if (folio_test_hwpoison(folio))
		err = -EIO;
	else if (!uffd_hugetlb_free(fill, entry))
		err = -EEXIST;
	if (err)
		goto unlock;

	if (folio->mapping)
		hugetlb_add_file_rmap(folio);
	else
		hugetlb_add_new_anon_rmap(folio, vma, entry->addr);

	/*
	 * Dirty, since this is the only copy of the content (a writable entry
	 * is dirty already); young, since a thread waits for the page.
	 */
	pte = hugetlb_make_pte(vma, folio, writable);
	if (!writable)
		pte = huge_pte_mkdirty(pte);
	if (fill->flags & MFILL_ATOMIC_WP)
		pte = huge_pte_mkuffd(pte);
	uffd_hugetlb_set(entry, pte);
	hugetlb_count_add(pages_per_huge_page(h), vma->vm_mm);
	if (!found)
		folio_set_hugetlb_migratable(folio);
unlock:
	spin_unlock(ptl);
	return err;
}

/* Find or create the page of an entry, and map it. */
static __always_inline
int uffd_hugetlb_fill_folio(struct uffd_fill *fill,
			    struct uffd_hugetlb_entry *entry)
{
	struct uffd_request req __uninitialized;
	struct folio *folio;
	int err;

	err = uffd_fill_resolve(fill, &req, pages_per_huge_page(entry->h), true);
	if (err)
		return err;

	folio = req.resolve.folios.folios[0];
	err = uffd_hugetlb_map(fill, entry, folio);
	if (!err) {
		folio_unlock(folio);
		return 0;
	}
	uffd_fill_give_back(fill, &req, 0);
	/* A new page that is bad can be replaced by another one. */
	if (err == -EIO && req.resolve.mode == UFFD_RESOLVE_MISSING)
		return -EUFFD_BAD_PAGE;
	return err;
}

/**
 * uffd_hugetlb_fill() - fill the next page of a fill
 * @fill: the fill; it advances by the page.
 *
 * Return: 0; -EEXIST if the entry or the offset of the file is in use; or
 * another errno.
 */
__always_inline int uffd_hugetlb_fill(struct uffd_fill *fill)
{
	struct uffd_hugetlb_entry entry __uninitialized;
	int err;

	err = uffd_hugetlb_lock(&entry, fill->vma, fill->addr);
	if (err)
		return err;
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		err = uffd_hugetlb_poison(fill, &entry);
	else if (uffd_fill_looks_first(fill) && !uffd_hugetlb_free(fill, &entry))
		err = -EEXIST;
	else
		err = uffd_hugetlb_fill_folio(fill, &entry);
	uffd_hugetlb_unlock(&entry);

	if (!err)
		uffd_fill_advance(fill, fill->addr + huge_page_size(entry.h));
	return err;
}

/**
 * uffd_hugetlb_spare() - a page to read the content for a mapping's page into
 * @vma: the mapping, locked.
 * @addr: address in it.
 *
 * Takes no reservation. To be given back with folio_put().
 *
 * Return: the page, or NULL.
 */
struct folio *uffd_hugetlb_spare(struct vm_area_struct *vma, unsigned long addr)
{
	struct hstate *h = hstate_vma(vma);
	gfp_t gfp = htlb_alloc_mask(h);
	struct mempolicy *policy;
	struct folio *folio;
	nodemask_t *nodes;
	int node;

	node = huge_node(vma, addr, gfp, &policy, &nodes);
	/* Only from the nodes' pools: another page is allocated right after. */
	folio = alloc_hugetlb_folio_nodemask(h, node, nodes, gfp, false);
	mpol_cond_put(policy);
	return folio;
}

/**
 * uffd_hugetlb_wait_begin() - before uffd_hugetlb_must_wait(); may sleep
 * @vma: the mapping of the fault.
 */
void uffd_hugetlb_wait_begin(struct vm_area_struct *vma)
{
	hugetlb_vma_lock_read(vma);
}

/**
 * uffd_hugetlb_wait_end() - after uffd_hugetlb_must_wait()
 * @vma: the mapping of the fault.
 */
void uffd_hugetlb_wait_end(struct vm_area_struct *vma)
{
	hugetlb_vma_unlock_read(vma);
}

/**
 * uffd_hugetlb_must_wait() - is there still a reason to wait for user space?
 * @vmf: the fault.
 * @reason: VM_UFFD_MISSING, VM_UFFD_MINOR or VM_UFFD_WP.
 *
 * Return: true if there is.
 */
bool uffd_hugetlb_must_wait(struct vm_fault *vmf, unsigned long reason)
{
	struct vm_area_struct *vma = vmf->vma;
	pte_t *ptep, pte;

	ptep = hugetlb_walk(vma, vmf->address, uffd_hugetlb_size(vma));
	if (!ptep)
		return true;

	/* Without the page table lock: a task that changes it later wakes us. */
	pte = huge_ptep_get(vma->vm_mm, vmf->address, ptep);
	if (huge_pte_none(pte) || pte_is_uffd_marker(pte))
		return true;
	/* Only a present entry has a bit for whether it is writable. */
	return (reason & VM_UFFD_WP) && pte_present(pte) && !huge_pte_write(pte);
}
