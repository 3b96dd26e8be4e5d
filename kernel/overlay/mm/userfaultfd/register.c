// SPDX-License-Identifier: GPL-2.0-only
/*
 * register.c - what may be registered, and why other memory may not
 *
 * Puts what a memory type says it supports together with what the core wants
 * of any mapping, first for one mapping, then for a range of them. The answer
 * is a reason, enum uffd_refusal: UFFDIO_REGISTER makes an errno of it,
 * UFFDIO_QUERY tells it as it is, so the two cannot disagree.
 *
 * Called by ioctls with mmap_lock held: for writing by those that register and
 * unregister, for reading by the one that only asks.
 */
#include <linux/mm.h>

#include "internal.h"

/* The answer for one mapping; all callers but one have many to ask for. */
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
 * @vm_flags: the modes wanted, as VM_UFFD_ flags; other flags are ignored.
 * @wp_async: whether write protection is the asynchronous kind.
 * @granule: out, if the memory type was asked: the page size in bytes that
 *	ranges must respect.
 *
 * No mode at all asks whether the type could serve any.
 *
 * Context: mmap_lock held.
 * Return: UFFD_REFUSAL_NONE if it may.
 */
enum uffd_refusal userfaultfd_refusal(struct vm_area_struct *vma,
				      unsigned long vm_flags, bool wp_async,
				      unsigned long *granule)
{
	return uffd_vma_refusal(vma, vm_flags & __VM_UFFD_FLAGS, wp_async,
				granule);
}

/* The next mapping of a range, behind some that may be registered or none. */
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

	/* The range has to begin with a whole page of the first mapping. */
	if (vma == range->vma && !IS_ALIGNED(range->start, granule))
		return UFFD_REFUSAL_MISALIGNED;

	/*
	 * COPY fills holes of a file even without PROT_WRITE, so the process
	 * must have write permission to what it maps shared. Where it has,
	 * there is no write seal, and none can be taken as long as the mapping
	 * exists.
	 */
	if (unlikely(!(vma->vm_flags & VM_MAYWRITE)))
		return UFFD_REFUSAL_READ_ONLY;

	/* And to end with a whole page of the last one. */
	if (range->end <= vma->vm_end && !IS_ALIGNED(range->end, granule))
		return UFFD_REFUSAL_MISALIGNED;

	/* Only one userfaultfd gets the faults of a mapping. */
	if (owner && owner != range->ctx)
		return UFFD_REFUSAL_OWNED;

	range->dropped |= vma->vm_flags & __VM_UFFD_FLAGS & ~range->modes;
	return UFFD_REFUSAL_NONE;
}

/**
 * userfaultfd_range_refusal() - why a range may not be registered
 * @range: the range, and the modes wanted; the answer goes there, too.
 *
 * Parts of the range where nothing is mapped do not matter, as long as
 * something is.
 *
 * Context: mmap_lock held.
 * Return: UFFD_REFUSAL_NONE if it may; else why the mapping at @range->refused
 * may not.
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
