// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault.c - which kind of fault a page fault on armed memory is
 *
 * The page fault code calls userfaultfd_fault() instead of ->fault() if a
 * mapping is armed with MISSING or MINOR. The memory type is asked whether it
 * has the page; the answer and the armed modes decide:
 *
 *		MISSING		MINOR			MISSING | MINOR
 *	present	mapped		minor fault		minor fault
 *	hole	missing fault	filled by the kernel	missing fault
 *
 * userfaultfd_reason() implements this table. hugetlb, whose faults take other
 * locks, calls it after its own look-up.
 *
 * If another thread fills the hole while the kernel allocates a page, the
 * memory is present, and the fault is a minor fault. A hole never raises one.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"

/* The content of holes that the kernel fills by itself */
static struct uffd_source uffd_zeroes;

/*
 * Find the page of a fault, or create it if there is a @source, as ->fault()
 * would: in a folio of any size that the type prefers.
 */
static __always_inline
int uffd_fault_resolve(struct vm_fault *vmf, struct uffd_source *source,
		       vm_fault_t *ret)
{
	struct uffd_request req __uninitialized;
	int err;

	uffd_init_resolve(&req, vmf->vma, vmf->pgoff, 1, source);
	req.resolve.fault = true;
	err = uffd_resolve(uffd_handler(vmf->vma), &req, false);
	if (err)
		return err;

	vmf->page = folio_file_page(req.resolve.folios.folios[0], vmf->pgoff);
	*ret = VM_FAULT_LOCKED | (req.resolve.major ? VM_FAULT_MAJOR : 0);
	return 0;
}

/**
 * userfaultfd_fault() - a fault on a mapping armed with MISSING or MINOR
 * @vmf: the fault; an entry of a file mapping that is not present.
 *
 * Context: as ->fault(): under the mmap lock or the VMA lock, which is released
 * if user space has to resolve the fault.
 * Return: as ->fault(): VM_FAULT_LOCKED with a referenced page in @vmf,
 * VM_FAULT_RETRY after user space was waited for, or an error.
 */
vm_fault_t userfaultfd_fault(struct vm_fault *vmf)
{
	const vm_flags_t both = VM_UFFD_MISSING | VM_UFFD_MINOR;
	const vm_flags_t armed = vmf->vma->vm_flags & both;
	const bool make = armed == VM_UFFD_MINOR;
	vm_fault_t ret = 0;
	int err;

	if (armed == both) {
		/* It is a minor or a missing fault in any case. */
		err = uffd_present(vmf->vma, vmf->pgoff);
		if (!err || err == -ENOENT)
			return handle_userfault(vmf, userfaultfd_reason(vmf->vma, !err));
		return vmf_error(err);
	}

	/* Armed with MISSING, present memory is mapped; with MINOR, a hole filled. */
	err = uffd_fault_resolve(vmf, make ? &uffd_zeroes : NULL, &ret);
	if (err == (make ? -EEXIST : -ENOENT))
		return handle_userfault(vmf, armed);
	return err ? vmf_error(err) : ret;
}

/**
 * userfaultfd_wait_begin() - before userfaultfd_must_wait()
 * @vma: the mapping of the fault.
 *
 * Keeps its page tables from being freed. May sleep, so this is called before
 * the task state is set.
 */
void userfaultfd_wait_begin(struct vm_area_struct *vma)
{
	if (uffd_is_hugetlb(vma))
		uffd_hugetlb_wait_begin(vma);
}

/**
 * userfaultfd_wait_end() - after userfaultfd_must_wait()
 * @vma: the mapping of the fault.
 */
void userfaultfd_wait_end(struct vm_area_struct *vma)
{
	if (uffd_is_hugetlb(vma))
		uffd_hugetlb_wait_end(vma);
}

/**
 * userfaultfd_must_wait() - is there still a reason to wait for user space?
 * @vmf: a fault that has been queued for the monitor.
 * @reason: VM_UFFD_MISSING, VM_UFFD_MINOR or VM_UFFD_WP.
 *
 * The page may have been resolved before the fault was queued, and then no
 * wakeup follows. The entry is read without the page table lock: a task that
 * changes it later wakes this one.
 *
 * Context: the mmap lock or the lock of the VMA, between
 * userfaultfd_wait_begin() and userfaultfd_wait_end(). Does not sleep.
 * Return: true if there is.
 */
bool userfaultfd_must_wait(struct vm_fault *vmf, unsigned long reason)
{
	const bool wp = reason & VM_UFFD_WP;
	unsigned long addr = vmf->address;
	pmd_t *pmd, pmdval;
	bool wait = true;
	pte_t *pte, ptent;

	assert_fault_locked(vmf);
	if (uffd_is_hugetlb(vmf->vma))
		return uffd_hugetlb_must_wait(vmf, reason);

	pmd = mm_find_pmd(vmf->vma->vm_mm, addr);
	if (!pmd)
		return true;

	/* The page table may be created or freed meanwhile. */
	do {
		pmdval = pmdp_get_lockless(pmd);
		if (pmd_none(pmdval))
			return true;
		if (!pmd_present(pmdval))
			return false;
		if (pmd_leaf(pmdval))
			return wp && !pmd_write(pmdval);
		pte = pte_offset_map(pmd, addr);
	} while (!pte);

	ptent = ptep_get(pte);
	/* Only a present entry has a bit for whether it is writable. */
	if (!pte_none(ptent) && !pte_is_uffd_marker(ptent))
		wait = wp && pte_present(ptent) && !pte_write(ptent);
	pte_unmap(pte);
	return wait;
}
