/* SPDX-License-Identifier: GPL-2.0 */
/*
 * internal.h - what the files of the userfaultfd core share
 *
 * Each file calls only files below it, except that handlers give back folios by
 * uffd_release() of request.c. build.c compiles most of them as one unit.
 *
 *	query.c				UFFDIO_QUERY
 *	register.c	fault.c		what may be registered; what a fault is
 *	fill.c				COPY, ZEROPAGE, CONTINUE, POISON: the walk
 *	lock.c				the locks of a fill
 *	thp.c		hugetlb.c	huge pages of a fill
 *	map.c				page table entries of a fill
 *	resolve.c			the requests of a fill
 *	request.c			asks a memory type, and checks its answer
 *	anon.c		filemap.c	answers of anonymous and page cache memory
 *	source.c	pagecache.c	content and page cache, for handlers
 *
 * ../userfaultfd.c, which sets up mappings, protects them and moves pages,
 * locks a mapping for a fill.
 *
 * Two memory types are built in and called by name: anonymous memory, which
 * has no vm_operations_struct, and hugetlb, whose entries need other locks.
 * Every other type only answers requests.
 *
 * Locking, outermost first, and what cannot change under each lock:
 *
 *	mmap_lock, or the lock of one VMA	the mapping
 *	  ctx->map_changing_lock (read)		no fork, mremap, ... under way
 *	    locks of the memory type		inside of userfaultfd_request()
 *	      folio lock			content, and place in the file
 *	        page table lock			the entry, and the file size
 *
 * A page fault holds the first one. Fills take the first two, and release both
 * to read a source that is not resident.
 */
#ifndef _MM_USERFAULTFD_INTERNAL_H
#define _MM_USERFAULTFD_INTERNAL_H

#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

#include "../internal.h"
#include "hugetlb.h"

typedef int (*uffd_handler_t)(struct uffd_request *req);

/*
 * Internal errnos. They never reach user space, and a type cannot return them:
 * see uffd_errno_valid().
 */
#define EUFFD_BAD_PAGE		600	/* a new page was declared bad */
#define EUFFD_NO_TABLE		601	/* there is no page table */

/**
 * struct uffd_source - the content of new memory
 * @from_user: true if it is copied from user memory, false if it is zeroes.
 * @from: user address of the content of the first page of the range.
 * @bounce: a copy of the page at @from that was read without locks, or NULL.
 * @absent: bytes of a folio that could not be filled in this request, since its
 *	source was not resident; otherwise 0.
 */
struct uffd_source {
	bool from_user;
	const char __user *from;
	struct folio *bounce;
	size_t absent;
};

/**
 * struct uffd_fill - a fill under way
 * @ctx: the userfaultfd.
 * @flags: what is done: an MFILL_ATOMIC_ mode and its options.
 * @start: first address of the range.
 * @len: bytes of the range.
 * @end: end address of the part of the range that is filled now.
 * @addr: next address to fill; everything before it is done.
 * @source: the content from @addr on, with MFILL_ATOMIC_COPY and _ZEROPAGE.
 * @vma: the mapping while it is locked, otherwise NULL.
 * @handler: finds or creates the folios.
 * @run: number of pages to request next: fewer after a page that the file had.
 * @skipped: counts the bytes that were present, with MFILL_ATOMIC_SKIP.
 * @spare: a folio to read the source into without locks, or NULL.
 * @secret: clear @spare before it is freed; see &struct uffd_supported.
 * @fetched: value of @addr when the source was last read or touched without
 *	locks, or 0.
 * @file: a reference on the mapped file, taken when the locks are dropped: as
 *	long as it is held, no other file can have the same address.
 * @pgoff: page offset of @start when the locks were dropped.
 * @vm_flags: those flags of the mapping at that time that must not change.
 * @replaced: counts new pages that were declared bad before they were mapped.
 */
struct uffd_fill {
	struct userfaultfd_ctx *ctx;
	uffd_flags_t flags;
	unsigned long start;
	unsigned long len;
	unsigned long end;
	unsigned long addr;
	struct uffd_source source;
	struct vm_area_struct *vma;
	uffd_handler_t handler;
	unsigned long run;
	unsigned long *skipped;
	struct folio *spare;
	bool secret;
	unsigned long fetched;
	struct file *file;
	pgoff_t pgoff;
	vm_flags_t vm_flags;
	unsigned int replaced;
};

/**
 * uffd_folio_flags() - read the flags of a folio once
 * @folio: the folio.
 *
 * Unlike folio_flags(), for a folio without a reference too, which may become a
 * part of another one at any time.
 *
 * Return: the flags.
 */
static inline unsigned long uffd_folio_flags(const struct folio *folio)
{
	return READ_ONCE(*(const unsigned long *)&folio->flags);
}

/* The address where @vma maps page @index of its file or anonymous memory. */
static inline unsigned long uffd_address(const struct vm_area_struct *vma,
					 pgoff_t index)
{
	return vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
}

/* source.c */
int uffd_read_source(struct uffd_source *source, struct folio *folio);

/* pagecache.c */
pgoff_t uffd_end_of_file(struct inode *inode);
long uffd_count_hole(struct uffd_request *req, bool *unfilled);

/* anon.c */
void uffd_anon_supported(struct uffd_supported *answer);
int uffd_anon_request(struct uffd_request *req);
int uffd_anon_resolve(struct uffd_request *req);

/* request.c */
int uffd_supported(struct vm_area_struct *vma, struct uffd_supported *answer);
bool uffd_supports(struct vm_area_struct *vma, vm_flags_t modes);
bool uffd_supported_sane(struct vm_area_struct *vma,
			 const struct uffd_supported *answer);
int uffd_present(struct vm_area_struct *vma, pgoff_t index);
int uffd_resolve(uffd_handler_t handler, struct uffd_request *req, bool hugetlb);
void uffd_undo(uffd_handler_t handler, struct vm_area_struct *vma,
	       struct folio *folio);
void uffd_release(struct folio *folio);
const char *uffd_folio_flaw(struct folio *folio, pgoff_t index, pgoff_t end,
			    struct address_space *mapping);
bool uffd_errno_valid(int err);

/**
 * uffd_handler() - the function that answers requests about a mapping
 * @vma: the mapping.
 *
 * Return: the handler, or NULL if this memory does not support userfaultfd.
 */
static inline uffd_handler_t uffd_handler(struct vm_area_struct *vma)
{
	if (vma_is_anonymous(vma))
		return uffd_anon_request;
	return vma->vm_ops->userfaultfd_request;
}

/*
 * Requests are filled in field by field, and are declared __uninitialized:
 * clearing the union, with its room for folios, takes 32 stores, which is more
 * than 1 % of a fill of one page.
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

/* resolve.c */
int uffd_fill_resolve(struct uffd_fill *fill, struct uffd_request *req,
		      unsigned long nr_pages, bool hugetlb);
void uffd_fill_give_back(struct uffd_fill *fill, struct uffd_request *req,
			 unsigned int first);

/* map.c */
pmd_t *uffd_walk(struct mm_struct *mm, unsigned long addr);
long uffd_free_entries(const struct uffd_fill *fill, pmd_t *pmd, long nr);
long uffd_used_entries(const struct uffd_fill *fill, pmd_t *pmd, long nr);
long uffd_map_folios(struct uffd_fill *fill, pmd_t *pmd,
		     struct uffd_resolve *resolve);
int uffd_map_special(struct uffd_fill *fill, pmd_t *pmd, long nr);
bool uffd_replaces_marker(const struct uffd_fill *fill, pte_t pte);
pte_t uffd_page_entry(const struct uffd_fill *fill, struct page *page,
		      bool in_file);
long uffd_pages_in_file(struct vm_area_struct *vma, pgoff_t index, long nr);

/* Can this fill install entries without a folio (poison, zero page)? */
static inline bool uffd_fill_special(const struct uffd_fill *fill)
{
	return uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON) ||
	       (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_ZEROPAGE) &&
		fill->handler == uffd_anon_request &&
		!mm_forbids_zeropage(fill->vma->vm_mm));
}

/*
 * Does the fill look at an entry before it requests the page? A CONTINUE that
 * does not skip requests it first: if the entry is in use and the page missing,
 * the error is -EFAULT, not -EEXIST.
 */
static inline bool uffd_fill_looks_first(const struct uffd_fill *fill)
{
	return !uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE) ||
	       (fill->flags & MFILL_ATOMIC_SKIP);
}

/* Everything before @addr is done. */
static inline void uffd_fill_advance(struct uffd_fill *fill, unsigned long addr)
{
	fill->source.from += addr - fill->addr;
	fill->source.bounce = NULL;
	fill->addr = addr;
}

/* thp.c */
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
int uffd_thp_fill(struct uffd_fill *fill, pmd_t *pmd);
#else
static inline int uffd_thp_fill(struct uffd_fill *fill, pmd_t *pmd)
{
	return 0;
}
#endif

/* lock.c */
int uffd_fill_lock(struct uffd_fill *fill);
void uffd_fill_unlock(struct uffd_fill *fill);
void uffd_fill_pause(struct uffd_fill *fill);
int uffd_fill_resume(struct uffd_fill *fill);
void uffd_fill_forget(struct uffd_fill *fill);

/* ../userfaultfd.c */
pmd_t *mm_alloc_pmd(struct mm_struct *mm, unsigned long address);
struct vm_area_struct *uffd_lock_vma(struct mm_struct *mm,
				     unsigned long address);

#endif /* _MM_USERFAULTFD_INTERNAL_H */
