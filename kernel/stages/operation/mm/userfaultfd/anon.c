// SPDX-License-Identifier: GPL-2.0-only
/*
 * anon.c - anonymous memory's answers to userfaultfd
 *
 * Anonymous memory has no vm_operations_struct, so the core calls its handler
 * by name. The handler also creates the new pages of private file mappings,
 * which are never in the file.
 *
 * No other task can reach these folios before they are mapped, so they need
 * neither a lock nor a check.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>

#include "internal.h"

static int uffd_anon_create(struct uffd_request *req, pgoff_t index)
{
	struct folio *folio;
	int err;

	folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, req->vma,
				uffd_address(req->vma, index));
	if (!folio)
		return -ENOMEM;

	err = -ENOMEM;
	if (mem_cgroup_charge(folio, req->vma->vm_mm, GFP_KERNEL))
		goto put;
	err = userfaultfd_fill_folio(req, folio, index);
	if (err)
		goto put;

	folio_batch_add(&req->resolve.folios, folio);
	return 0;
put:
	folio_put(folio);
	return err;
}

/**
 * uffd_anon_resolve() - anonymous memory's answer to UFFD_REQ_FAULT_RESOLVE
 * @req: the request, for UFFD_RESOLVE_MISSING; resolve.nr_pages becomes the
 *	number of pages of the answer, which is one.
 *
 * The folio of the answer is not locked.
 *
 * Return: 0 with a folio, or an errno of &struct uffd_resolve.
 */
__always_inline int uffd_anon_resolve(struct uffd_request *req)
{
	/* CONTINUE on a file mapping, also a private one, asks the file. */
	if (req->resolve.mode != UFFD_RESOLVE_MISSING)
		return -EINVAL;
	req->resolve.nr_pages = 1;
	return uffd_anon_create(req, req->resolve.index);
}

/**
 * uffd_anon_supported() - anonymous memory's answer to UFFD_REQ_GET_SUPPORTED
 * @answer: filled in.
 */
__always_inline void uffd_anon_supported(struct uffd_supported *answer)
{
	answer->modes = VM_UFFD_MISSING | VM_UFFD_WP;
	answer->granule = PAGE_SIZE;
	answer->secret = false;
}

/**
 * uffd_anon_request() - anonymous memory's answers
 * @req: the request.
 *
 * Return: see &struct uffd_request.
 */
int uffd_anon_request(struct uffd_request *req)
{
	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		uffd_anon_supported(&req->supported);
		return 0;
	case UFFD_REQ_FAULT_RESOLVE:
		return uffd_anon_resolve(req);
	default:
		return -EOPNOTSUPP;
	}
}
