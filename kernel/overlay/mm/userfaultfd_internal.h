/* SPDX-License-Identifier: GPL-2.0 */
/*
 * userfaultfd_internal.h - what the files of the userfaultfd core share
 *
 *	userfaultfd_request.c	asks memory types, checks what they answer
 *	userfaultfd_register.c	what a mapping may be registered with
 *	userfaultfd_fault.c	decides what a page fault on armed memory is
 *	userfaultfd_fill.c	COPY, ZEROPAGE, CONTINUE, POISON
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

#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

/**
 * struct uffd_source - what new memory shall contain
 * @from_user: copied from user memory, else zeroes.
 * @from: user address of the content of the first page of the range.
 * @bounce: a copy of the page at @from that was read without locks, or NULL.
 * @not_resident: set if reading @from failed because it was not in memory.
 */
struct uffd_source {
	bool from_user;
	const char __user *from;
	struct folio *bounce;
	bool not_resident;
};

typedef int (*uffd_handler_t)(struct uffd_request *req);

/* userfaultfd_request.c */
uffd_handler_t uffd_handler(struct vm_area_struct *vma);
int uffd_anon_request(struct uffd_request *req);
bool uffd_supported_sane(const struct uffd_supported *answer);
int uffd_supported(struct vm_area_struct *vma, struct uffd_supported *answer);
int uffd_present(struct vm_area_struct *vma, pgoff_t index);
const char *uffd_folio_flaw(struct folio *folio, pgoff_t index,
			    struct address_space *mapping);
int uffd_resolve(uffd_handler_t handler, struct uffd_request *req);
void uffd_release(struct folio *folio);
void uffd_undo(uffd_handler_t handler, struct vm_area_struct *vma,
	       struct folio *folio);

/* Where page @index of what @vma maps is found; anonymous memory has one, too. */
static inline unsigned long uffd_address(const struct vm_area_struct *vma,
					 pgoff_t index)
{
	return vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
}

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
	folio_batch_init(&req->resolve.folios);
	req->resolve.major = false;
}

/* userfaultfd.c */
pmd_t *mm_alloc_pmd(struct mm_struct *mm, unsigned long address);
struct vm_area_struct *uffd_mfill_lock(struct mm_struct *mm,
				       unsigned long start, unsigned long len);
void uffd_mfill_unlock(struct vm_area_struct *vma);
#ifdef CONFIG_HUGETLB_PAGE
ssize_t mfill_atomic_hugetlb(struct userfaultfd_ctx *ctx,
			     struct vm_area_struct *dst_vma,
			     unsigned long dst_start, unsigned long src_start,
			     unsigned long len, uffd_flags_t flags);
#else
static inline ssize_t mfill_atomic_hugetlb(struct userfaultfd_ctx *ctx,
					   struct vm_area_struct *dst_vma,
					   unsigned long dst_start,
					   unsigned long src_start,
					   unsigned long len,
					   uffd_flags_t flags)
{
	BUILD_BUG();
	return -EINVAL;
}
#endif

#endif /* _MM_USERFAULTFD_INTERNAL_H */
