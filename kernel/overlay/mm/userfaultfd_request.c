// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_request.c - asks memory types, and checks what they answer
 *
 * The core's side of vm_ops->userfaultfd_request(): who answers for a mapping,
 * what its answer allows, and whether a folio that it hands out may be mapped.
 * Nothing that a type returns is used before it went through here.
 *
 * Called by registration (mmap_lock held for writing), page faults and fills
 * (mmap_lock or the lock of the VMA held for reading).
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>

#include "internal.h"
#include "userfaultfd_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/userfaultfd.h>

/**
 * uffd_unsupported() - give the answer of a type that does not support anything
 * @handler: who was asked, or NULL.
 * @answer: what it said; overwritten.
 * @answered: whether it said something, which makes no sense.
 *
 * Return: -EIO, with a warning, if it did; else -EOPNOTSUPP.
 */
int uffd_unsupported(uffd_handler_t handler, struct uffd_supported *answer,
		     bool answered)
{
	WARN_ONCE(answered, "userfaultfd: %ps claims modes %lx, granule %lu\n",
		  handler, answer->modes, answer->granule);
	answer->modes = 0;
	answer->granule = PAGE_SIZE;
	answer->secret = false;
	return answered ? -EIO : -EOPNOTSUPP;
}

/**
 * uffd_errno_valid() - may a type return this?
 * @err: what it returned.
 *
 * A filesystem or driver can fail in ways that the core does not foresee, and
 * user space gets its errno as it is.
 *
 * Return: false for what is no errno, or is one that the kernel keeps to itself
 * (-ERESTARTSYS and up): only a broken type returns that.
 */
bool uffd_errno_valid(int err)
{
	return err <= 0 && err > -ERESTARTSYS;
}

/**
 * uffd_check_errno() - an errno that a type may return
 * @handler: who returned it.
 * @err: what it returned.
 *
 * Return: @err; -EIO, with a warning, if that must not reach user space.
 */
int uffd_check_errno(uffd_handler_t handler, int err)
{
	if (WARN_ONCE(!uffd_errno_valid(err),
		      "userfaultfd: %ps returned %d\n", handler, err))
		return -EIO;
	return err;
}

/**
 * uffd_no_answer() - a type handed out nothing
 * @handler: who was asked.
 * @req: the request.
 * @err: what it returned.
 *
 * Return: @err, or -EIO as uffd_check_errno().
 */
int uffd_no_answer(uffd_handler_t handler, struct uffd_request *req, int err)
{
	err = uffd_check_errno(handler, err);
	trace_userfaultfd_resolve(handler, req, err);
	return err;
}

/**
 * uffd_trace_resolve() - trace an answer
 * @handler: who gave it.
 * @req: the request.
 * @err: 0 if it is as it should be, or an errno.
 *
 * Apart, so that whoever asks has no more than a no-op for it.
 */
void uffd_trace_resolve(uffd_handler_t handler, struct uffd_request *req,
			int err)
{
	trace_userfaultfd_resolve(handler, req, err);
}

/**
 * uffd_present() - is there memory at an offset of a mapped file?
 * @vma: a mapping of a type that supports MINOR.
 * @index: page offset in the file.
 *
 * Return: see &struct uffd_present.
 */
int uffd_present(struct vm_area_struct *vma, pgoff_t index)
{
	uffd_handler_t handler = uffd_handler(vma);
	struct uffd_request req __uninitialized;

	req.kind = UFFD_REQ_GET_PRESENT;
	req.vma = vma;
	req.present.inode = vma->vm_file->f_mapping->host;
	req.present.index = index;
	return uffd_check_errno(handler, handler(&req));
}

/**
 * uffd_release() - give back a folio that a type handed out
 * @folio: the folio, locked and with the reference that came with it.
 */
void uffd_release(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/**
 * uffd_undo() - let a type take back a new folio that could not be mapped
 * @handler: who made the folio.
 * @vma: the mapping it was made for.
 * @folio: the folio, still locked; it is unlocked and dropped.
 */
void uffd_undo(uffd_handler_t handler, struct vm_area_struct *vma,
	       struct folio *folio)
{
	struct uffd_request req __uninitialized;

	req.kind = UFFD_REQ_FAULT_UNDO;
	req.vma = vma;
	req.undo.folio = folio;
	WARN_ONCE(handler(&req), "userfaultfd: %ps cannot undo\n", handler);
	uffd_release(folio);
}

/**
 * uffd_folio_referenced() - does a reference on a folio belong to the core?
 * @folio: the folio.
 *
 * It is one beside those of the page cache and of page tables. Others may have
 * some as well, so not each one that is missing is seen. That of a folio on its
 * way to the LRU can be waited for.
 *
 * Whoever maps a folio counts the reference first and the entry after it; whoever
 * unmaps it does so in reverse. So there is never too little, but it may seem so
 * to who reads one of them before that and one after: look again.
 *
 * Context: may sleep.
 * Return: false if one is missing for certain.
 */
bool uffd_folio_referenced(struct folio *folio)
{
	long refs, wanted = 1;
	int tries = 10;

	if (folio->mapping) {
		wanted += folio_nr_pages(folio);
		if (!folio_test_large(folio) && !folio_test_lru(folio))
			lru_add_drain_all();
	}
	do {
		refs = folio_ref_count(folio);
		smp_rmb();	/* that of the reference, then that of the entry */
		refs -= folio_mapcount(folio);
	} while (refs < wanted && --tries);
	return refs >= wanted;
}

/* Did a fill make the folios of this answer? No page table has seen them. */
static bool uffd_made_by_fill(const struct uffd_resolve *resolve)
{
	return resolve->mode == UFFD_RESOLVE_MISSING && !resolve->fault;
}

/* Let the type take back a folio that a fill made, if it is as it should be. */
static bool uffd_taken_back(uffd_handler_t handler, struct uffd_request *req,
			    struct folio *folio)
{
	struct address_space *mapping = NULL;

	if (!uffd_made_by_fill(&req->resolve))
		return false;
	if (req->vma->vm_flags & VM_SHARED)
		mapping = req->vma->vm_file->f_mapping;
	if (uffd_folio_flaw(folio, folio->index, 0, mapping))
		return false;
	uffd_undo(handler, req->vma, folio);
	return true;
}

/*
 * Drop what a type handed out from @first on. A flawed folio may have come
 * without a reference to put.
 */
static void uffd_discard(uffd_handler_t handler, struct uffd_request *req,
			 unsigned int first)
{
	struct folio_batch *folios = &req->resolve.folios;
	unsigned int i;

	for (i = first; i < folio_batch_count(folios); i++) {
		struct folio *folio = folios->folios[i];
		bool referenced;

		if (uffd_taken_back(handler, req, folio))
			continue;
		referenced = uffd_folio_referenced(folio);

		if (folio_test_locked(folio))
			folio_unlock(folio);
		if (referenced)
			folio_put(folio);
	}
	folios->nr = first;
}

/**
 * uffd_cut_off() - end an answer before a page that may not be mapped
 * @handler: who gave the answer.
 * @req: the request.
 * @good: the number of folios at the front that are as they should be.
 * @flaw: what is wrong with the next one, or NULL if a page of it is poisoned.
 *
 * Return: 0 if something is left, else -EIO; for a poisoned page -EHWPOISON to a
 * fault, and -EUFFD_BAD_PAGE to a fill that made it.
 */
int uffd_cut_off(uffd_handler_t handler, struct uffd_request *req,
		 unsigned int good, const char *flaw)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct folio_batch *folios = &resolve->folios;
	pgoff_t index = resolve->index;
	int err;

	if (good)
		index = folio_next_index(folios->folios[good - 1]);

	if (!WARN_ONCE(flaw, "userfaultfd: %ps handed out %s folio for %lu+%lu\n",
		       handler, flaw, resolve->index, resolve->nr_pages)) {
		struct folio *folio = folios->folios[good];
		const pgoff_t first = index, end = folio_next_index(folio);

		while (index < end &&
		       !PageHWPoison(folio_file_page(folio, index)))
			index++;
		/* A new folio is mapped as a whole, or replaced. */
		if (index == end ||
		    (index > first && !uffd_made_by_fill(resolve)))
			good++;
		else
			index = first;
	}

	uffd_discard(handler, req, good);
	resolve->nr_pages = min(resolve->nr_pages, index - resolve->index);
	if (good)
		err = 0;
	else if (flaw)
		err = -EIO;
	else if (uffd_made_by_fill(resolve))
		err = -EUFFD_BAD_PAGE;
	else
		err = resolve->fault ? -EHWPOISON : -EIO;
	trace_userfaultfd_resolve(handler, req, err);
	return err;
}

/* Add a page to an answer: charged, filled, and not reachable by other tasks. */
static __always_inline int uffd_anon_add(struct uffd_request *req,
					 struct folio *folio, pgoff_t index)
{
	struct folio_batch *folios = &req->resolve.folios;
	gfp_t gfp = GFP_KERNEL;
	int err;

	/*
	 * Behind the first page the answer may end: reclaim can find memory
	 * once the pages ahead of this one are mapped.
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

/**
 * uffd_anon_create() - make a page of anonymous memory
 * @req: the request, to whose answer it is added.
 * @index: where.
 *
 * Return: 0, or an errno of &struct uffd_resolve.
 */
int uffd_anon_create(struct uffd_request *req, pgoff_t index)
{
	struct folio *folio;
	int err;

	folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, req->vma,
				uffd_address(req->vma, index), false);
	if (!folio)
		return -ENOMEM;

	err = uffd_anon_add(req, folio, index);
	if (err)
		folio_put(folio);
	return err;
}

/* -ENOMEM if there is no huge page. */
static int uffd_anon_create_huge(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct folio *folio;
	int err;

	folio = uffd_thp_alloc(req->vma, uffd_address(req->vma, resolve->index));
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

/* Does no memory policy choose the node of the mapping's pages? */
static bool uffd_anon_no_policy(struct vm_area_struct *vma)
{
#ifdef CONFIG_NUMA
	if (vma->vm_policy || (vma->vm_ops && vma->vm_ops->get_policy))
		return false;
#endif
	return !uffd_task_has_policy();
}

/* As many pages at once as there is room for, from the nearest node. */
static int uffd_anon_create_many(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct page *pages[PAGEVEC_SIZE] = {};
	unsigned long i, got;
	int err = -ENOMEM;

	got = alloc_pages_bulk_array(GFP_HIGHUSER_MOVABLE,
				     min(resolve->nr_pages, PAGEVEC_SIZE), pages);
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

/**
 * uffd_anon_create_range() - make as much of a range as an answer holds
 * @req: the request; resolve.nr_pages becomes how far the answer reaches.
 *
 * One huge page if that is asked for and can be allocated, or small ones.
 *
 * Return: 0, or an errno of &struct uffd_resolve.
 */
int uffd_anon_create_range(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	int err;

	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
	    resolve->nr_pages == PMD_SIZE >> PAGE_SHIFT) {
		err = uffd_anon_create_huge(req);
		if (err != -ENOMEM)
			return err;
	}
	if (uffd_anon_no_policy(req->vma))
		err = uffd_anon_create_many(req);
	else
		err = userfaultfd_create_folios(req, uffd_anon_create);
	resolve->nr_pages = folio_batch_count(&resolve->folios);
	return err;
}

/**
 * uffd_anon_request() - anonymous memory's answers
 * @req: the request.
 *
 * Also creates the pages of private file mappings: what such a mapping is
 * filled with is never seen by the file.
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
		/* What a private mapping has of a file is the file's to find. */
		if (req->resolve.mode != UFFD_RESOLVE_MISSING)
			return -EINVAL;
		return uffd_anon_resolve(req);
	default:
		return -EOPNOTSUPP;
	}
}
