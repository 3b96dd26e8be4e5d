// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd_userfaultfd.c - guest_memfd's answers to userfaultfd
 *
 * For mappings of shared guest memory; private memory is never mapped. All that
 * a file has is its page cache, and a folio that is not uptodate is a hole,
 * though fallocate() allocated it: that is what the ready-made handler serves,
 * under the invalidate lock of the file.
 *
 * Left to say here is what is peculiar. The mapping is AS_INACCESSIBLE, since
 * the folios cannot be migrated and truncation must not touch them, which shared
 * memory could bear. And a fill writes what fallocate() put there where it is,
 * so to take that back is not to remove it.
 */
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

#include "kvm_mm.h"

/* kvm_gmem_allocate() has marked what it put there: that is a hole again. */
static void kvm_gmem_uffd_undo(struct folio *folio)
{
	if (folio_test_checked(folio))
		folio_clear_uptodate(folio);
	else
		userfaultfd_remove_folio(folio);
}

/**
 * kvm_gmem_userfaultfd_request() - shared guest memory's answers
 * @req: the request.
 *
 * Return: see &struct uffd_request.
 */
int kvm_gmem_userfaultfd_request(struct uffd_request *req)
{
	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		req->supported.modes = __VM_UFFD_FLAGS;
		req->supported.granule = PAGE_SIZE;
		return 0;
	case UFFD_REQ_FAULT_UNDO:
		kvm_gmem_uffd_undo(req->undo.folio);
		return 0;
	default:
		return filemap_userfaultfd_request(req);
	}
}

MODULE_IMPORT_NS(USERFAULTFD);
