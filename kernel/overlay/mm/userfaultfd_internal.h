/* SPDX-License-Identifier: GPL-2.0 */
/*
 * userfaultfd_internal.h - what the files of the userfaultfd core share
 *
 *	userfaultfd_request.c	asks memory types, checks what they answer
 *	userfaultfd_register.c	what a mapping may be registered with
 *	userfaultfd_fault.c	decides what a page fault on armed memory is
 *	userfaultfd_fill.c	COPY, ZEROPAGE, CONTINUE, POISON
 *	userfaultfd_thp.c	huge pages of a fill
 *	userfaultfd_filemap.c	a handler for page cache memory, and its parts
 *	userfaultfd.c		sets up mappings; write protection, MOVE
 *
 * Locking, outermost first:
 *
 *	mmap_lock, or the lock of one VMA	the mapping stays as it is
 *	  ctx->map_changing_lock (read)		no fork, mremap, ... under way
 *	    locks of the memory type		inside of userfaultfd_request()
 *	      folio lock			content and file stay together
 *	        page table lock			entry, and file size, stay
 *
 * A page fault comes with the first one. Fills take the first two, and let go
 * of both to read a source that is not in memory.
 */
#ifndef _MM_USERFAULTFD_INTERNAL_H
#define _MM_USERFAULTFD_INTERNAL_H

#include <linux/log2.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/tracepoint-defs.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

#include "huge_entry.h"

/**
 * struct uffd_source - what new memory shall contain
 * @from_user: copied from user memory, else zeroes.
 * @from: user address of the content of the first page of the range.
 * @bounce: a copy of the page at @from that was read without locks, or NULL.
 * @absent: bytes of a folio that could not be filled in this request, as its
 *	source was not resident; else 0.
 */
struct uffd_source {
	bool from_user;
	const char __user *from;
	struct folio *bounce;
	size_t absent;
};

/*
 * A new page was declared bad before it was mapped, and was taken back. Not for
 * user space; a type cannot return it, see uffd_errno_valid().
 */
#define EUFFD_BAD_PAGE		600

typedef int (*uffd_handler_t)(struct uffd_request *req);

/* userfaultfd_request.c */
int uffd_anon_request(struct uffd_request *req);
int uffd_anon_create(struct uffd_request *req, pgoff_t index);
int uffd_anon_create_range(struct uffd_request *req);
int uffd_unsupported(uffd_handler_t handler, struct uffd_supported *answer,
		     bool answered);
int uffd_present(struct vm_area_struct *vma, pgoff_t index);
bool uffd_errno_valid(int err);
bool uffd_folio_referenced(struct folio *folio);
int uffd_check_errno(uffd_handler_t handler, int err);
int uffd_cut_off(uffd_handler_t handler, struct uffd_request *req,
		 unsigned int good, const char *flaw);
int uffd_no_answer(uffd_handler_t handler, struct uffd_request *req, int err);
void uffd_trace_resolve(uffd_handler_t handler, struct uffd_request *req,
			int err);
void uffd_release(struct folio *folio);
void uffd_undo(uffd_handler_t handler, struct vm_area_struct *vma,
	       struct folio *folio);

/* Where page @index of what @vma maps is found; anonymous memory has one, too. */
static inline unsigned long uffd_address(const struct vm_area_struct *vma,
					 pgoff_t index)
{
	return vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
}

/* Has the task a memory policy, which may treat each page differently? */
static inline bool uffd_task_has_policy(void)
{
#ifdef CONFIG_NUMA
	return current->mempolicy;
#else
	return false;
#endif
}

/**
 * uffd_replaces_marker() - may a fill replace a marker?
 * @pte: a marker, which stands where no page is.
 * @flags: the MFILL_ATOMIC_ mode and options of the fill.
 * @special: the fill writes entries without a folio.
 *
 * Pages have always replaced every marker, and other entries none. For a fill that
 * skips what is present, a write-protected hole is a hole, and zeroes of whatever
 * kind do not undo poison.
 */
static inline bool uffd_replaces_marker(pte_t pte, uffd_flags_t flags,
					bool special)
{
	const pte_marker marker = pte_marker_get(pte_to_swp_entry(pte));

	if (!(flags & MFILL_ATOMIC_SKIP))
		return !special;
	return marker == PTE_MARKER_UFFD_WP ||
	       uffd_flags_mode_is(flags, MFILL_ATOMIC_COPY) ||
	       uffd_flags_mode_is(flags, MFILL_ATOMIC_CONTINUE);
}

/* Does @folio begin at @index and end before @end? */
static inline bool uffd_folio_within(struct folio *folio, pgoff_t index,
				     pgoff_t end)
{
	return folio->index == index && folio_next_index(folio) <= end;
}

/**
 * uffd_folio_flaw() - what is wrong with a folio that a type handed out
 * @folio: the folio.
 * @index: page offset that it must hold.
 * @end: page offset that it must not reach beyond; 0 if it may.
 * @mapping: the file that it must belong to; NULL for new anonymous memory.
 *
 * Return: a word for the warning, or NULL if it may be mapped.
 */
static inline const char *uffd_folio_flaw(struct folio *folio, pgoff_t index,
					  pgoff_t end,
					  struct address_space *mapping)
{
	if (unlikely(!folio_test_locked(folio)))
		return "unlocked";
	if (unlikely(!folio_test_uptodate(folio)))
		return "not uptodate";
	if (unlikely(folio->mapping != mapping))
		return "foreign";
	/* Not in the swap cache, as it has this mapping: ->index is its place. */
	if (unlikely(index - folio->index >= folio_nr_pages(folio)))
		return "misplaced";
	if (unlikely(!uffd_folio_referenced(folio)))
		return "unreferenced";
	if (unlikely(end && !uffd_folio_within(folio, index, end)))
		return "too large";
	return NULL;
}

/*
 * A folio without flaw or poison: the usual case in one look. What seems
 * unreferenced may still turn out not to be. With @huge it is of a type that is
 * part of mm, which does not forget its references, and whose pages are
 * poisoned as a whole.
 */
static __always_inline bool uffd_folio_good(struct folio *folio, pgoff_t index,
					    pgoff_t end,
					    struct address_space *mapping,
					    bool huge)
{
	const unsigned long set = BIT(PG_locked) | BIT(PG_uptodate);
	const unsigned long flags = READ_ONCE(folio->flags);
	long nr;

	if ((flags & (set | __PG_HWPOISON)) != set)
		return false;
	smp_rmb();	/* as in folio_test_uptodate() */
	if (folio->mapping != mapping)
		return false;
	if (!(flags & BIT(PG_head)))
		return folio->index == index && (!mapping ||
		       folio_ref_count(folio) > atomic_read(&folio->_mapcount) +
						(flags & BIT(PG_lru) ? 2 : 3));
	nr = folio_nr_pages(folio);
	if (index - folio->index >= nr ||
	    (end && !uffd_folio_within(folio, index, end)))
		return false;
	return huge || (folio_ref_count(folio) > folio_large_mapcount(folio) +
						 (mapping ? nr : 0) &&
			!folio_test_has_hwpoisoned(folio));
}

DECLARE_TRACEPOINT(userfaultfd_resolve);

/*
 * Requests are filled in field by field, and are declared __uninitialized: to
 * clear the whole union, with its room for folios, would cost more than most
 * answers.
 */
static inline void uffd_init_resolve(struct uffd_request *req,
				     struct vm_area_struct *vma, pgoff_t index,
				     unsigned long nr_pages,
				     struct uffd_source *source)
{
	req->kind = UFFD_REQ_FAULT_RESOLVE;
	req->vma = vma;
	req->resolve.inode = vma->vm_file ? vma->vm_file->f_mapping->host : NULL;
	req->resolve.index = index;
	req->resolve.nr_pages = nr_pages;
	req->resolve.mode = source ? UFFD_RESOLVE_MISSING : UFFD_RESOLVE_MINOR;
	req->resolve.source = source;
	req->resolve.fault = false;
	folio_batch_init(&req->resolve.folios);
	req->resolve.major = false;
}

/**
 * uffd_handler() - who answers requests about a mapping
 * @vma: the mapping.
 *
 * Return: the handler, or NULL if this memory does not know userfaultfd.
 */
static inline uffd_handler_t uffd_handler(struct vm_area_struct *vma)
{
	if (vma_is_anonymous(vma))
		return uffd_anon_request;
	return vma->vm_ops->userfaultfd_request;
}

/* Does an answer to UFFD_REQ_GET_SUPPORTED make sense? */
static inline bool uffd_supported_sane(struct vm_area_struct *vma,
				       const struct uffd_supported *answer)
{
	if (unlikely(answer->modes & ~__VM_UFFD_FLAGS))
		return false;
	/* Who has huge entries is part of mm, and knows their size. */
	return answer->granule == PAGE_SIZE || vma_has_huge_entries(vma);
}

/* What anonymous memory supports. */
static inline void uffd_anon_supported(struct uffd_supported *answer)
{
	answer->modes = VM_UFFD_MISSING | VM_UFFD_WP;
	answer->granule = PAGE_SIZE;
	answer->secret = false;
}

/**
 * uffd_supported() - what userfaultfd can do on a mapping
 * @vma: the mapping.
 * @answer: filled in; no modes and PAGE_SIZE on error.
 *
 * Return: 0, or -EOPNOTSUPP if the type does not know userfaultfd, or -EIO if
 * its answer makes no sense.
 */
static __always_inline int uffd_supported(struct vm_area_struct *vma,
					  struct uffd_supported *answer)
{
	struct uffd_request req __uninitialized;
	uffd_handler_t handler;

	/* No need to ask oneself. */
	if (vma_is_anonymous(vma)) {
		uffd_anon_supported(answer);
		return 0;
	}

	handler = vma->vm_ops->userfaultfd_request;
	if (!handler)
		return uffd_unsupported(handler, answer, false);

	req.kind = UFFD_REQ_GET_SUPPORTED;
	req.vma = vma;
	req.supported.secret = false;
	if (handler(&req))
		return uffd_unsupported(handler, answer, false);

	*answer = req.supported;
	if (unlikely(!uffd_supported_sane(vma, answer)))
		return uffd_unsupported(handler, answer, true);

	/* Only anonymous memory can do without markers for absent pages. */
	if (!IS_ENABLED(CONFIG_PTE_MARKER_UFFD_WP))
		answer->modes &= ~VM_UFFD_WP;
	return 0;
}

/**
 * uffd_resolve() - ask a type for memory, and check what it hands out
 * @handler: who is asked.
 * @req: a request set up by uffd_init_resolve().
 * @huge: whether the mapping has huge entries.
 *
 * The answer is cut off before the first page that may not be mapped, and
 * resolve.nr_pages is then how many pages of the range may be.
 *
 * Return: 0 with at least one folio in @req that may be mapped: locked,
 * referenced, uptodate, in the right file, at the right offset; or an errno of
 * &struct uffd_resolve without any folio; for a poisoned page -EIO, or
 * -EHWPOISON to a fault, or -EUFFD_BAD_PAGE to a fill that made it; -EIO, with a
 * warning, for a folio or an errno that is not as it should be.
 */
static __always_inline int uffd_resolve(uffd_handler_t handler,
					struct uffd_request *req, bool huge)
{
	struct uffd_resolve *resolve = &req->resolve;
	const bool fill = resolve->source && !resolve->fault;
	struct address_space *mapping = NULL;
	pgoff_t index = resolve->index, end = 0;
	const char *flaw = "no";
	unsigned int i = 0;
	int err;

	/* What is there may be larger than what is asked for, new must not. */
	if (fill)
		end = index + resolve->nr_pages;
	/* What a private mapping is filled with is not the file's. */
	if (!fill || (req->vma->vm_flags & VM_SHARED))
		mapping = req->vma->vm_file->f_mapping;

	err = handler(req);
	if (unlikely(err))
		return uffd_no_answer(handler, req, err);

	for (; i < folio_batch_count(&resolve->folios); i++) {
		struct folio *folio = resolve->folios.folios[i];

		if (unlikely(!uffd_folio_good(folio, index, end, mapping, huge))) {
			flaw = uffd_folio_flaw(folio, index, end, mapping);
			return uffd_cut_off(handler, req, i, flaw);
		}
		index = folio_next_index(folio);
	}
	if (unlikely(!i))
		return uffd_cut_off(handler, req, i, flaw);

	resolve->nr_pages = min(resolve->nr_pages, index - resolve->index);
	if (tracepoint_enabled(userfaultfd_resolve))
		uffd_trace_resolve(handler, req, 0);
	return 0;
}

/**
 * uffd_anon_resolve() - anonymous memory's answer to UFFD_REQ_FAULT_RESOLVE
 * @req: the request; for UFFD_RESOLVE_MISSING, as nothing else can be.
 *
 * The answer needs no check, and nobody else knows of its folios: they are not
 * locked. resolve.nr_pages is how far they reach.
 *
 * Return: 0 with at least one folio, or an errno of &struct uffd_resolve.
 */
static __always_inline int uffd_anon_resolve(struct uffd_request *req)
{
	int err = likely(req->resolve.nr_pages == 1) ?
		  uffd_anon_create(req, req->resolve.index) :
		  uffd_anon_create_range(req);

	if (tracepoint_enabled(userfaultfd_resolve))
		uffd_trace_resolve(uffd_anon_request, req, err);
	return err;
}

/* userfaultfd_thp.c */
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
bool uffd_thp_allowed(struct vm_area_struct *vma);
struct folio *uffd_thp_alloc(struct vm_area_struct *vma, unsigned long addr);
bool uffd_thp_map(struct vm_area_struct *vma, unsigned long addr, pmd_t *pmd,
		  struct folio *folio, pgtable_t *table, bool write);
#else
static inline bool uffd_thp_allowed(struct vm_area_struct *vma)
{
	return false;
}

static inline struct folio *uffd_thp_alloc(struct vm_area_struct *vma,
					   unsigned long addr)
{
	return NULL;
}

static inline bool uffd_thp_map(struct vm_area_struct *vma, unsigned long addr,
				pmd_t *pmd, struct folio *folio,
				pgtable_t *table, bool write)
{
	return false;
}
#endif

/* userfaultfd.c */
pmd_t *mm_alloc_pmd(struct mm_struct *mm, unsigned long address);
struct vm_area_struct *uffd_lock_vma(struct mm_struct *mm,
				     unsigned long address);

static inline void uffd_mfill_unlock(struct vm_area_struct *vma)
{
#ifdef CONFIG_PER_VMA_LOCK
	vma_end_read(vma);
#else
	mmap_read_unlock(vma->vm_mm);
#endif
}

/**
 * uffd_mfill_lock() - lock a mapping that is to be filled
 * @mm: the address space.
 * @start: first address of the range.
 * @len: bytes of the range.
 *
 * Return: the mapping, locked for reading; -ENOENT if the range does not lie
 * in one registered mapping; -ENOMEM.
 */
static inline struct vm_area_struct *uffd_mfill_lock(struct mm_struct *mm,
						     unsigned long start,
						     unsigned long len)
{
	struct vm_area_struct *vma = uffd_lock_vma(mm, start);

	if (IS_ERR(vma) || likely(start + len <= vma->vm_end &&
				  vma->vm_userfaultfd_ctx.ctx))
		return vma;

	uffd_mfill_unlock(vma);
	return ERR_PTR(-ENOENT);
}

#endif /* _MM_USERFAULTFD_INTERNAL_H */
