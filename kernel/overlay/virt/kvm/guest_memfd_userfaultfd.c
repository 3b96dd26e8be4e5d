// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd_userfaultfd.c - guest_memfd's answers to userfaultfd
 *
 * For mappings of shared guest memory; private memory is never mapped. The
 * memory of a file is all in its page cache, and a folio that is not uptodate
 * is a hole, even if fallocate() allocated it. The ready-made handler supports
 * that, under the invalidate lock of the file.
 *
 * Two answers differ. The mapping is AS_INACCESSIBLE, since the folios cannot
 * be migrated and truncation must not touch them: the ready-made handler would
 * reject it, although shared memory is accessible. And a fill writes to the
 * folio that fallocate() allocated, which has to stay in the file when the fill
 * is undone.
 */
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

#include "kvm_mm.h"

/* A folio that kvm_gmem_allocate() has marked becomes a hole again. */
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

/* As MODULE_IMPORT_NS() does, whose argument is a string since 6.13. */
MODULE_INFO(import_ns, "USERFAULTFD");
