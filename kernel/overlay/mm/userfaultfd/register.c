// SPDX-License-Identifier: GPL-2.0-only
/*
 * register.c - what may be registered, and why other memory may not
 *
 * Combines what a memory type supports with what the core requires of every
 * mapping, first for one mapping, then for a range. The result is a reason,
 * enum uffd_refusal. UFFDIO_REGISTER converts it to an errno, UFFDIO_QUERY
 * returns it unchanged, so the two cannot disagree.
 *
 * Called by ioctls with mmap_lock held: for writing to register and unregister,
 * for reading by UFFDIO_QUERY.
 */
#include <linux/mm.h>

#include "internal.h"

/* The result for one mapping. Inline: most callers check many mappings. */
static __always_inline
enum uffd_refusal uffd_vma_refusal(struct vm_area_struct *vma,
				   unsigned long modes, bool wp_async,
				   unsigned long *granule)
{
	struct uffd_supported supported __uninitialized;

	/* Droppable memory may vanish at any time, so no mode can be honored. */
	if (unlikely(vma->vm_flags & VM_DROPPABLE))
		return UFFD_REFUSAL_DROPPABLE;

	if (unlikely(vma->vm_flags & (VM_SPECIAL | VM_SHADOW_STACK)) &&
	    ((vma->vm_flags & VM_SHADOW_STACK) || !uffd_is_hugetlb(vma)))
		return UFFD_REFUSAL_SPECIAL;

	uffd_supported(vma, &supported);
	*granule = supported.granule;

	/* Asynchronous protection needs no handler: the core does it alone. */
	if (wp_async && modes == VM_UFFD_WP)
		return UFFD_REFUSAL_NONE;

	if (unlikely(!supported.modes))
		return UFFD_REFUSAL_TYPE;
	return modes & ~supported.modes ? UFFD_REFUSAL_MODE : UFFD_REFUSAL_NONE;
}

/**
 * userfaultfd_refusal() - why a mapping may not be registered with these modes
 * @vma: the mapping.
 * @vm_flags: requested modes, as VM_UFFD_ flags; other flags are ignored.
 * @wp_async: whether write protection is the asynchronous kind.
 * @granule: out, if the memory type was asked: the page size in bytes that
 *	ranges must respect.
 *
 * If no mode is requested, checks whether the type supports any.
 *
 * Context: mmap_lock held.
 * Return: UFFD_REFUSAL_NONE if it may, otherwise the reason.
 */
enum uffd_refusal userfaultfd_refusal(struct vm_area_struct *vma,
				      unsigned long vm_flags, bool wp_async,
				      unsigned long *granule)
{
	return uffd_vma_refusal(vma, vm_flags & __VM_UFFD_FLAGS, wp_async,
				granule);
}

/* Checks the next mapping of a range. Those before it may be registered. */
static __always_inline
enum uffd_refusal uffd_next_refusal(struct uffd_range *range,
				    struct vm_area_struct *vma)
{
	struct userfaultfd_ctx *owner = vma->vm_userfaultfd_ctx.ctx;
	unsigned long granule = PAGE_SIZE;
	enum uffd_refusal refusal;

	VM_WARN_ON_ONCE(!owner ^ !(vma->vm_flags & __VM_UFFD_FLAGS));

	refusal = uffd_vma_refusal(vma, range->modes, range->wp_async, &granule);
	range->granule = max(range->granule, granule);
	if (unlikely(refusal))
		return vma == range->vma ? refusal : UFFD_REFUSAL_MIXED;

	/* The range has to start at a page boundary of the first mapping. */
	if (vma == range->vma && !IS_ALIGNED(range->start, granule))
		return UFFD_REFUSAL_MISALIGNED;

	/*
	 * COPY fills holes of a file even if the mapping has no PROT_WRITE, so
	 * the process needs write permission to a file that it maps shared. If
	 * it has that permission, the file has no write seal, and none can be
	 * added as long as the mapping exists.
	 */
	if (unlikely(!(vma->vm_flags & VM_MAYWRITE)))
		return UFFD_REFUSAL_READ_ONLY;

	/* It has to end at a page boundary of the last one. */
	if (range->end <= vma->vm_end && !IS_ALIGNED(range->end, granule))
		return UFFD_REFUSAL_MISALIGNED;

	/* A mapping belongs to at most one userfaultfd. */
	if (owner && owner != range->ctx)
		return UFFD_REFUSAL_OWNED;

	range->dropped |= vma->vm_flags & __VM_UFFD_FLAGS & ~range->modes;
	return UFFD_REFUSAL_NONE;
}

/**
 * userfaultfd_range_refusal() - why a range may not be registered
 * @range: the range and the requested modes; receives the result as well.
 *
 * Unmapped parts of the range are ignored, but something must be mapped.
 *
 * Context: mmap_lock held.
 * Return: UFFD_REFUSAL_NONE if it may, otherwise the reason why the mapping at
 * @range->refused may not.
 */
enum uffd_refusal userfaultfd_range_refusal(struct uffd_range *range)
{
	VMA_ITERATOR(vmi, range->ctx->mm, range->start);
	struct vm_area_struct *vma = vma_find(&vmi, range->end);
	enum uffd_refusal refusal;

	range->vma = vma;
	range->granule = PAGE_SIZE;
	range->dropped = 0;
	range->refused = range->start;
	if (unlikely(!vma))
		return UFFD_REFUSAL_NOT_MAPPED;

	do {
		cond_resched();
		refusal = uffd_next_refusal(range, vma);
		if (unlikely(refusal)) {
			range->refused = max(range->start, vma->vm_start);
			return refusal;
		}
	} for_each_vma_range(vmi, vma, range->end);
	return UFFD_REFUSAL_NONE;
}
