// SPDX-License-Identifier: GPL-2.0-only
/*
 * request.c - asks a memory type, and checks its answer
 *
 * The core's side of vm_ops->userfaultfd_request(): what a type supports, and
 * whether a folio that it supplies may be mapped. No answer of a type is used
 * before it was checked here.
 *
 * Called by registration (mmap_lock held for writing), page faults and fills
 * (mmap_lock or the lock of the VMA held for reading).
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/userfaultfd.h>
#undef CREATE_TRACE_POINTS	/* the header defined it again */

/**
 * uffd_errno_valid() - may a type return this?
 * @err: what it returned.
 *
 * A filesystem or driver can fail in ways that the core does not foresee, so
 * its errno reaches user space unchanged.
 *
 * Return: false for a value that is no errno, or that is internal to the kernel
 * (-ERESTARTSYS and up): only a broken type returns that.
 */
bool uffd_errno_valid(int err)
{
	return err <= 0 && err > -ERESTARTSYS;
}

/* @err, or -EIO, with a warning, if it must not reach user space. */
static int uffd_check_errno(uffd_handler_t handler, int err)
{
	if (WARN_ONCE(!uffd_errno_valid(err),
		      "userfaultfd: %ps returned %d\n", handler, err))
		return -EIO;
	return err;
}

/*
 * GET_SUPPORTED
 */

/**
 * uffd_supported_sane() - does an answer to UFFD_REQ_GET_SUPPORTED make sense?
 * @vma: the mapping.
 * @answer: the answer.
 *
 * Return: true if it does.
 */
bool uffd_supported_sane(struct vm_area_struct *vma,
			 const struct uffd_supported *answer)
{
	if (answer->modes & ~__VM_UFFD_FLAGS)
		return false;
	return answer->granule == PAGE_SIZE || uffd_is_hugetlb(vma);
}

/**
 * uffd_supported() - what userfaultfd can do on a mapping
 * @vma: the mapping.
 * @answer: filled in; no modes and PAGE_SIZE on error.
 *
 * Return: 0; -EOPNOTSUPP if the type does not support userfaultfd; -EIO, with a
 * warning, if its answer makes no sense.
 */
int uffd_supported(struct vm_area_struct *vma, struct uffd_supported *answer)
{
	uffd_handler_t handler = uffd_handler(vma);
	struct uffd_request req __uninitialized;
	int err = -EOPNOTSUPP;

	if (vma_is_anonymous(vma)) {
		uffd_anon_supported(answer);
		return 0;
	}

	req.kind = UFFD_REQ_GET_SUPPORTED;
	req.vma = vma;
	req.supported.secret = false;
	if (unlikely(!handler || handler(&req)))
		goto nothing;

	*answer = req.supported;
	if (WARN_ONCE(!uffd_supported_sane(vma, answer),
		      "userfaultfd: %ps claims modes %lx, granule %lu\n",
		      handler, answer->modes, answer->granule)) {
		err = -EIO;
		goto nothing;
	}
	/* Only anonymous memory can do without markers for absent pages. */
	if (!IS_ENABLED(CONFIG_PTE_MARKER_UFFD_WP))
		answer->modes &= ~VM_UFFD_WP;
	return 0;
nothing:
	answer->modes = 0;
	answer->granule = PAGE_SIZE;
	answer->secret = false;
	return err;
}

/**
 * uffd_supports() - can a mapping be registered with one of some modes?
 * @vma: the mapping.
 * @modes: the modes, as VM_UFFD_ flags.
 *
 * Return: true if it can.
 */
noinline bool uffd_supports(struct vm_area_struct *vma, vm_flags_t modes)
{
	struct uffd_supported supported;

	uffd_supported(vma, &supported);
	return supported.modes & modes;
}

/*
 * GET_PRESENT
 */

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

/*
 * FAULT_UNDO
 */

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
 * @handler: made the folio.
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

/*
 * FAULT_RESOLVE
 */

/*
 * Is a reference on @folio left for the core? If a page of it is mapped after
 * the references were read and before the entries are, one only seems to be
 * missing: read them again. A folio on its way to the LRU has one more, which
 * can be waited for. Other references may hide a missing one.
 */
static noinline bool uffd_folio_referenced_slow(struct folio *folio)
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
		smp_rmb();	/* the reference first, then its entry */
		refs -= folio_mapcount(folio);
	} while (refs < wanted && --tries);
	return refs >= wanted;
}

/*
 * As above, decided by reading the counts once in the usual case. Besides those
 * of the page cache and of page tables, a folio on its way to the LRU has one
 * more reference.
 */
static __always_inline bool uffd_folio_referenced(struct folio *folio,
						  unsigned long flags)
{
	bool enough;

	if (flags & BIT(PG_head))
		enough = folio_ref_count(folio) > folio_large_mapcount(folio) +
			 (folio->mapping ? folio_nr_pages(folio) : 0);
	else
		enough = !folio->mapping ||
			 folio_ref_count(folio) > atomic_read(&folio->_mapcount) +
						  (flags & BIT(PG_lru) ? 2 : 3);
	return likely(enough) || uffd_folio_referenced_slow(folio);
}

/*
 * The rule for a folio that a type supplied, whose flags are @flags. The caller
 * reads the flags once, since this runs for each folio of a range: that saves
 * 7 % of a CONTINUE of a range. For hugetlb, which is part of mm, the reference
 * is not checked.
 */
static __always_inline
const char *uffd_find_flaw(struct folio *folio, unsigned long flags,
			   pgoff_t index, pgoff_t end,
			   struct address_space *mapping, bool hugetlb)
{
	unsigned long nr = 1;

	if (unlikely(!(flags & BIT(PG_locked))))
		return "unlocked";
	if (unlikely(!(flags & BIT(PG_uptodate))))
		return "not uptodate";
	smp_rmb();	/* as in folio_test_uptodate() */
	if (unlikely(folio->mapping != mapping))
		return "foreign";
	/* Not in the swap cache, as it has this mapping: ->index is its place. */
	if (flags & BIT(PG_head))
		nr = folio_nr_pages(folio);
	if (unlikely(index - folio->index >= nr))
		return "misplaced";
	if (unlikely(!hugetlb && !uffd_folio_referenced(folio, flags)))
		return "unreferenced";
	if (unlikely(end && (folio->index != index || index + nr > end)))
		return "too large";
	return NULL;
}

/**
 * uffd_folio_flaw() - what is wrong with a folio that a type handed out
 * @folio: the folio.
 * @index: page offset that it must hold.
 * @end: page offset that it must not reach beyond, and then it must begin at
 *	@index; 0 if neither matters.
 * @mapping: the file that it must belong to; NULL for new anonymous memory.
 *
 * Context: may sleep.
 * Return: a word for the warning, or NULL if it may be mapped.
 */
const char *uffd_folio_flaw(struct folio *folio, pgoff_t index, pgoff_t end,
			    struct address_space *mapping)
{
	return uffd_find_flaw(folio, uffd_folio_flags(folio), index, end,
			      mapping, false);
}

/* Is a page of @folio poisoned? A page of hugetlb is poisoned as a whole. */
static __always_inline
bool uffd_folio_poisoned(struct folio *folio, unsigned long flags, bool hugetlb)
{
	if (flags & __PG_HWPOISON)
		return true;
	return !hugetlb && unlikely(flags & BIT(PG_head)) &&
	       folio_test_has_hwpoisoned(folio);
}

/* Are the folios of this answer new, for a fill? Then none is mapped yet. */
static bool uffd_made_by_fill(const struct uffd_resolve *resolve)
{
	return resolve->mode == UFFD_RESOLVE_MISSING && !resolve->fault;
}

/* The file that folios of an answer must belong to. */
static struct address_space *uffd_answer_mapping(const struct uffd_request *req)
{
	/* New pages of a private mapping are in no file. */
	if (uffd_made_by_fill(&req->resolve) && !(req->vma->vm_flags & VM_SHARED))
		return NULL;
	return req->vma->vm_file->f_mapping;
}

/*
 * Drop the folios of an answer from @first on. New ones go back to the type;
 * a flawed folio may have come without a reference to put.
 */
static void uffd_discard(uffd_handler_t handler, struct uffd_request *req,
			 unsigned int first)
{
	struct address_space *mapping = uffd_answer_mapping(req);
	struct folio_batch *folios = &req->resolve.folios;
	unsigned int i;

	for (i = first; i < folio_batch_count(folios); i++) {
		struct folio *folio = folios->folios[i];
		bool referenced;

		if (uffd_made_by_fill(&req->resolve) &&
		    !uffd_folio_flaw(folio, folio->index, 0, mapping)) {
			uffd_undo(handler, req->vma, folio);
			continue;
		}
		referenced = uffd_folio_referenced_slow(folio);
		if (folio_test_locked(folio))
			folio_unlock(folio);
		if (referenced)
			folio_put(folio);
	}
	folios->nr = first;
}

/*
 * How many pages of @folio from @index on can be mapped before a poisoned one?
 * A new folio is mapped as a whole, or replaced.
 */
static pgoff_t uffd_count_healthy(const struct uffd_resolve *resolve,
				  struct folio *folio, pgoff_t index)
{
	const pgoff_t end = folio_next_index(folio);
	pgoff_t next = index;

	while (next < end && !PageHWPoison(folio_file_page(folio, next)))
		next++;
	return next == end || !uffd_made_by_fill(resolve) ? next - index : 0;
}

/*
 * End an answer before the first page that must not be mapped. It is in the
 * folio after the first @good ones, which has a @flaw or a poisoned page.
 */
static noinline int uffd_cut_off(uffd_handler_t handler,
				 struct uffd_request *req, unsigned int good,
				 const char *flaw)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct folio_batch *folios = &resolve->folios;
	pgoff_t index = resolve->index;

	if (good)
		index = folio_next_index(folios->folios[good - 1]);

	if (!WARN_ONCE(flaw, "userfaultfd: %ps handed out %s folio for %lu+%lu\n",
		       handler, flaw, resolve->index, resolve->nr_pages)) {
		pgoff_t nr = uffd_count_healthy(resolve, folios->folios[good],
						index);

		index += nr;
		good += nr > 0;
	}

	uffd_discard(handler, req, good);
	resolve->nr_pages = min(resolve->nr_pages, index - resolve->index);
	if (good)
		return 0;
	if (flaw)
		return -EIO;
	if (uffd_made_by_fill(resolve))
		return -EUFFD_BAD_PAGE;
	return resolve->fault ? -EHWPOISON : -EIO;
}

static __always_inline int uffd_check_answer(uffd_handler_t handler,
					     struct uffd_request *req,
					     bool hugetlb)
{
	struct address_space *mapping = uffd_answer_mapping(req);
	struct uffd_resolve *resolve = &req->resolve;
	pgoff_t index = resolve->index, end = 0;
	unsigned int i;

	/* A folio that is found may extend beyond the range, a new one not. */
	if (uffd_made_by_fill(resolve))
		end = index + resolve->nr_pages;

	for (i = 0; i < folio_batch_count(&resolve->folios); i++) {
		struct folio *folio = resolve->folios.folios[i];
		const unsigned long flags = uffd_folio_flags(folio);
		const char *flaw = uffd_find_flaw(folio, flags, index, end,
						  mapping, hugetlb);

		if (unlikely(flaw || uffd_folio_poisoned(folio, flags, hugetlb)))
			return uffd_cut_off(handler, req, i, flaw);
		index = folio->index +
			(flags & BIT(PG_head) ? folio_nr_pages(folio) : 1);
	}
	if (unlikely(!i))
		return uffd_cut_off(handler, req, 0, "no");

	resolve->nr_pages = min(resolve->nr_pages, index - resolve->index);
	return 0;
}

/**
 * uffd_resolve() - ask a type for memory, and check what it hands out
 * @handler: the handler of the type.
 * @req: a request set up by uffd_init_resolve().
 * @hugetlb: whether the memory is of hugetlb.
 *
 * The answer is cut off before the first page that may not be mapped, and
 * resolve.nr_pages becomes how many pages of the range may be.
 *
 * Return: 0 with at least one folio in @req that may be mapped: locked,
 * referenced, uptodate, in the right file, at the right offset; or an errno of
 * &struct uffd_resolve without any folio; for a poisoned page -EIO, or
 * -EHWPOISON to a fault, or -EUFFD_BAD_PAGE to a fill that made it; -EIO, with
 * a warning, for a folio or an errno that breaks the rules.
 */
__always_inline int uffd_resolve(uffd_handler_t handler,
				 struct uffd_request *req, bool hugetlb)
{
	int err = handler(req);

	if (likely(!err))
		err = uffd_check_answer(handler, req, hugetlb);
	else
		err = uffd_check_errno(handler, err);
	trace_userfaultfd_resolve(handler, req, err);
	return err;
}
