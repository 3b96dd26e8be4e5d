// SPDX-License-Identifier: GPL-2.0-only
/*
 * anon.c - anonymous memory's answers to userfaultfd
 *
 * Anonymous memory has no vm_operations_struct, so the core calls its handler
 * by name. The handler also creates the new pages of private file mappings,
 * which are never in the file.
 *
 * No other task can reach these folios before they are mapped, so they need
 * neither a lock nor a check.
 */
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>

#include "internal.h"

/* Charge and fill a page, and add it to an answer. */
static __always_inline int uffd_anon_add(struct uffd_request *req,
					 struct folio *folio, pgoff_t index)
{
	struct folio_batch *folios = &req->resolve.folios;
	gfp_t gfp = GFP_KERNEL;
	int err;

	/*
	 * After the first page, a failed charge only ends the answer: once the
	 * pages before this one are mapped, reclaim can free memory.
	 */
	if (folio_batch_count(folios))
		gfp |= __GFP_NORETRY;
	if (mem_cgroup_charge(folio, req->vma->vm_mm, gfp))
		return -ENOMEM;
	err = userfaultfd_fill_folio(req, folio, index);
	if (err)
		return err;

	folio_batch_add(folios, folio);
	return 0;
}

static int uffd_anon_create(struct uffd_request *req, pgoff_t index)
{
	struct folio *folio;
	int err;

	folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, req->vma,
				uffd_address(req->vma, index));
	if (!folio)
		return -ENOMEM;

	err = uffd_anon_add(req, folio, index);
	if (err)
		folio_put(folio);
	return err;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static void uffd_anon_count_fallback(bool charge)
{
	count_vm_event(THP_FAULT_FALLBACK);
	count_mthp_stat(HPAGE_PMD_ORDER, MTHP_STAT_ANON_FAULT_FALLBACK);
	if (charge) {
		count_vm_event(THP_FAULT_FALLBACK_CHARGE);
		count_mthp_stat(HPAGE_PMD_ORDER,
				MTHP_STAT_ANON_FAULT_FALLBACK_CHARGE);
	}
}

/* A charged huge page without content. Tries as hard as a page fault. */
static struct folio *uffd_anon_alloc_pmd(struct vm_area_struct *vma,
					 unsigned long addr)
{
	gfp_t gfp = vma_thp_gfp_mask(vma);
	struct folio *folio;

	folio = vma_alloc_folio(gfp, HPAGE_PMD_ORDER, vma, addr);
	if (!folio) {
		uffd_anon_count_fallback(false);
		return NULL;
	}
	if (mem_cgroup_charge(folio, vma->vm_mm, gfp)) {
		uffd_anon_count_fallback(true);
		folio_put(folio);
		return NULL;
	}
	folio_throttle_swaprate(folio, gfp);
	return folio;
}
#else
static struct folio *uffd_anon_alloc_pmd(struct vm_area_struct *vma,
					 unsigned long addr)
{
	return NULL;
}
#endif

/* Create a huge page; -ENOMEM if none is available. */
static int uffd_anon_create_pmd(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct folio *folio;
	int err;

	folio = uffd_anon_alloc_pmd(req->vma,
				    uffd_address(req->vma, resolve->index));
	if (!folio)
		return -ENOMEM;

	err = userfaultfd_fill_folio(req, folio, resolve->index);
	if (err) {
		folio_put(folio);
		return err;
	}
	folio_batch_add(&resolve->folios, folio);
	return 0;
}

/* Does a memory policy choose the node of the mapping's pages? */
static bool uffd_anon_has_policy(struct vm_area_struct *vma)
{
#ifdef CONFIG_NUMA
	if (vma->vm_policy || (vma->vm_ops && vma->vm_ops->get_policy) ||
	    current->mempolicy)
		return true;
#endif
	return false;
}

/* Allocate the pages of an answer at once, from the nearest node. */
static int uffd_anon_create_bulk(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct page *pages[FOLIO_BATCH_SIZE] = {};
	unsigned long i, got;
	int err = -ENOMEM;

	got = alloc_pages_bulk(GFP_HIGHUSER_MOVABLE,
			       min(resolve->nr_pages, FOLIO_BATCH_SIZE), pages);
	for (i = 0; i < got; i++) {
		err = uffd_anon_add(req, page_folio(pages[i]), resolve->index + i);
		if (unlikely(err))
			break;
	}
	/* The first of these may be charged: no __free_page(). */
	while (unlikely(got > i))
		folio_put(page_folio(pages[--got]));
	return i ? 0 : err;
}

/* Allocate each page from the node that the memory policy chooses for it. */
static int uffd_anon_create_each(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	unsigned long i = 0;
	int err;

	do {
		err = uffd_anon_create(req, resolve->index + i);
	} while (!err && ++i < resolve->nr_pages &&
		 folio_batch_space(&resolve->folios));
	return i ? 0 : err;
}

/* Create as much of a range as an answer holds: a huge page, or small ones. */
static noinline int uffd_anon_create_range(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	int err;

	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
	    resolve->nr_pages == PMD_SIZE >> PAGE_SHIFT) {
		err = uffd_anon_create_pmd(req);
		if (err != -ENOMEM)
			return err;
	}
	if (uffd_anon_has_policy(req->vma))
		err = uffd_anon_create_each(req);
	else
		err = uffd_anon_create_bulk(req);
	resolve->nr_pages = folio_batch_count(&resolve->folios);
	return err;
}

/**
 * uffd_anon_resolve() - anonymous memory's answer to UFFD_REQ_FAULT_RESOLVE
 * @req: the request, for UFFD_RESOLVE_MISSING; resolve.nr_pages becomes the
 *	number of pages of the answer.
 *
 * The folios of the answer are not locked.
 *
 * Return: 0 with at least one folio, or an errno of &struct uffd_resolve.
 */
__always_inline int uffd_anon_resolve(struct uffd_request *req)
{
	/* CONTINUE on a file mapping, also a private one, asks the file. */
	if (req->resolve.mode != UFFD_RESOLVE_MISSING)
		return -EINVAL;
	if (req->resolve.nr_pages == 1)
		return uffd_anon_create(req, req->resolve.index);
	return uffd_anon_create_range(req);
}

/**
 * uffd_anon_supported() - anonymous memory's answer to UFFD_REQ_GET_SUPPORTED
 * @answer: filled in.
 */
__always_inline void uffd_anon_supported(struct uffd_supported *answer)
{
	answer->modes = VM_UFFD_MISSING | VM_UFFD_WP;
	answer->granule = PAGE_SIZE;
	answer->secret = false;
}

/**
 * uffd_anon_request() - anonymous memory's answers
 * @req: the request.
 *
 * Return: see &struct uffd_request.
 */
int uffd_anon_request(struct uffd_request *req)
{
	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		uffd_anon_supported(&req->supported);
		return 0;
	case UFFD_REQ_FAULT_RESOLVE:
		return uffd_anon_resolve(req);
	default:
		return -EOPNOTSUPP;
	}
}
