// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_fault.c - what a page fault on armed memory is
 *
 * The page fault code calls userfaultfd_fault() instead of ->fault() where a
 * mapping is armed with MISSING or MINOR. The memory type is asked whether it
 * has the page; the answer and the armed modes decide:
 *
 *		MISSING		MINOR			MISSING | MINOR
 *	present	mapped		minor fault		minor fault
 *	hole	missing fault	made by the kernel	missing fault
 *
 * A hole that another thread fills while the kernel makes its page is present
 * memory: a minor fault. MINOR never fires on a hole.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"
#include "userfaultfd_internal.h"

/*
 * Find, or with a @source create, the page of a fault, as ->fault() would: in
 * a folio of whatever size the type likes best.
 */
static int uffd_fault_resolve(struct vm_fault *vmf, struct uffd_source *source,
			      vm_fault_t *ret)
{
	struct uffd_request req __uninitialized;
	int err;

	uffd_init_resolve(&req, vmf->vma, vmf->pgoff, 1, source);
	req.resolve.fault = true;
	err = uffd_resolve(uffd_handler(vmf->vma), &req);
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
 * Context: as ->fault(): under the mmap lock or the VMA lock, which are
 * released if user space has to act.
 * Return: as ->fault(): VM_FAULT_LOCKED with a referenced page in @vmf,
 * VM_FAULT_RETRY after user space was waited for, or an error.
 */
vm_fault_t userfaultfd_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct uffd_source zeroes = {};
	vm_fault_t ret = 0;
	int err;

	if (!userfaultfd_minor(vma)) {
		/* Present memory is mapped. */
		err = uffd_fault_resolve(vmf, NULL, &ret);
		if (err == -ENOENT)
			return handle_userfault(vmf, VM_UFFD_MISSING);
	} else if (!userfaultfd_missing(vma)) {
		/* Holes are filled. */
		err = uffd_fault_resolve(vmf, &zeroes, &ret);
		if (err == -EEXIST)
			return handle_userfault(vmf, VM_UFFD_MINOR);
	} else {
		err = uffd_present(vma, vmf->pgoff);
		if (!err)
			return handle_userfault(vmf, VM_UFFD_MINOR);
		if (err == -ENOENT)
			return handle_userfault(vmf, VM_UFFD_MISSING);
	}
	return err ? vmf_error(err) : ret;
}
