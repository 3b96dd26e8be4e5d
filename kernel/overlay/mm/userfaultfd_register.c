// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_register.c - what a mapping may be registered with
 *
 * Puts what a memory type says it supports together with what the core wants
 * of any mapping. Called by the REGISTER and UNREGISTER ioctls with mmap_lock
 * held for writing.
 */
#include <linux/mm.h>

#include "userfaultfd_internal.h"

/**
 * vma_can_userfault() - may a mapping be registered with these modes?
 * @vma: the mapping.
 * @vm_flags: the modes wanted, as VM_UFFD_ flags; other flags are ignored.
 * @wp_async: whether write protection is the asynchronous kind.
 * @granule: out, if it may: the page size in bytes that ranges must respect.
 *
 * No mode at all asks whether the type could serve any.
 *
 * Context: mmap_lock held.
 */
bool vma_can_userfault(struct vm_area_struct *vma, unsigned long vm_flags,
		       bool wp_async, unsigned long *granule)
{
	const unsigned long modes = vm_flags & __VM_UFFD_FLAGS;
	struct uffd_supported supported __uninitialized;

	/* Droppable memory may vanish at any time: no mode can promise more. */
	if (vma->vm_flags & (VM_SHADOW_STACK | VM_DROPPABLE))
		return false;

	if ((vma->vm_flags & VM_SPECIAL) && !vma_has_huge_entries(vma))
		return false;

	uffd_supported(vma, &supported);
	*granule = supported.granule;

	/* Nobody waits for asynchronous protection: the core does it alone. */
	if (wp_async && modes == VM_UFFD_WP)
		return true;

	return supported.modes && !(modes & ~supported.modes);
}

/**
 * userfaultfd_ioctls() - the ioctls that work on a registered range
 * @modes: the modes it is registered with, as VM_UFFD_ flags.
 * @granule: the largest page size of the mappings in it, in bytes.
 *
 * There is no zero page, and no MOVE, for pages larger than PAGE_SIZE.
 *
 * Return: the mask for &struct uffdio_register.ioctls.
 */
__u64 userfaultfd_ioctls(unsigned long modes, unsigned long granule)
{
	__u64 ioctls = granule == PAGE_SIZE ? UFFD_API_RANGE_IOCTLS :
					      UFFD_API_RANGE_IOCTLS_BASIC;

	if (!(modes & VM_UFFD_WP))
		ioctls &= ~((__u64)1 << _UFFDIO_WRITEPROTECT);
	if (!(modes & VM_UFFD_MINOR))
		ioctls &= ~((__u64)1 << _UFFDIO_CONTINUE);
	return ioctls;
}
