// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_request.c - asks memory types, and checks what they answer
 *
 * The core's side of vm_ops->userfaultfd_request(): who answers for a mapping,
 * what its answer allows, and whether a folio that it hands out may be mapped.
 * Nothing that a type returns is used before it went through here.
 *
 * Called by registration (mmap_lock held for writing), page faults and fills
 * (mmap_lock or the lock of the VMA held for reading).
 */
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"
#include "userfaultfd_internal.h"

/**
 * uffd_handler() - who answers requests about a mapping
 * @vma: the mapping.
 *
 * Return: the handler, or NULL if this memory does not know userfaultfd.
 */
uffd_handler_t uffd_handler(struct vm_area_struct *vma)
{
	if (vma_is_anonymous(vma))
		return uffd_anon_request;
	return vma->vm_ops->userfaultfd_request;
}

/* hugetlb does not answer requests yet: its own fill loop serves it. */
static bool uffd_hugetlb_supported(struct vm_area_struct *vma,
				   struct uffd_supported *answer)
{
	if (!is_vm_hugetlb_page(vma))
		return false;

	answer->modes = __VM_UFFD_FLAGS;
	answer->granule = vma_kernel_pagesize(vma);
	return true;
}

/**
 * uffd_supported_sane() - does an answer to UFFD_REQ_GET_SUPPORTED make sense?
 * @answer: the answer.
 */
bool uffd_supported_sane(const struct uffd_supported *answer)
{
	return !(answer->modes & ~__VM_UFFD_FLAGS) &&
	       answer->granule >= PAGE_SIZE && is_power_of_2(answer->granule);
}

/**
 * uffd_supported() - what userfaultfd can do on a mapping
 * @vma: the mapping.
 * @answer: filled in; no modes and PAGE_SIZE on error.
 *
 * Return: 0, or -EOPNOTSUPP if the type does not know userfaultfd, or -EIO if
 * its answer makes no sense.
 */
int uffd_supported(struct vm_area_struct *vma, struct uffd_supported *answer)
{
	struct uffd_request req __uninitialized;
	uffd_handler_t handler;
	int err;

	answer->modes = 0;
	answer->granule = PAGE_SIZE;
	if (uffd_hugetlb_supported(vma, answer))
		return 0;

	handler = uffd_handler(vma);
	if (!handler)
		return -EOPNOTSUPP;

	req.kind = UFFD_REQ_GET_SUPPORTED;
	req.vma = vma;
	req.supported = *answer;
	err = handler(&req);
	if (err)
		return -EOPNOTSUPP;
	if (WARN_ONCE(!uffd_supported_sane(&req.supported),
		      "userfaultfd: %ps claims modes %lx, granule %lu\n",
		      handler, req.supported.modes, req.supported.granule))
		return -EIO;

	*answer = req.supported;
	/* Only anonymous memory can do without markers for absent pages. */
	if (!IS_ENABLED(CONFIG_PTE_MARKER_UFFD_WP) && !vma_is_anonymous(vma))
		answer->modes &= ~VM_UFFD_WP;
	return 0;
}

/* An errno that a type may return; anything else would confuse user space. */
static int uffd_check_errno(uffd_handler_t handler, int err)
{
	if (WARN_ONCE(err > 0 || err < -MAX_ERRNO,
		      "userfaultfd: %ps returned %d\n", handler, err))
		return -EIO;
	return err;
}

/**
 * uffd_present() - is there memory at an offset of a mapped file?
 * @vma: a mapping of a type that supports MINOR.
 * @index: page offset in the file.
 *
 * Return: see &struct uffd_present.
 */
int uffd_present(struct vm_area_struct *vma, pgoff_t index)
{
	uffd_handler_t handler = uffd_handler(vma);
	struct uffd_request req __uninitialized;

	req.kind = UFFD_REQ_GET_PRESENT;
	req.vma = vma;
	req.present.inode = vma->vm_file->f_mapping->host;
	req.present.index = index;
	return uffd_check_errno(handler, handler(&req));
}

/**
 * uffd_release() - give back a folio that a type handed out
 * @folio: the folio, locked and with the reference that came with it.
 */
void uffd_release(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

/**
 * uffd_undo() - let a type take back a new folio that could not be mapped
 * @handler: who made the folio.
 * @vma: the mapping it was made for.
 * @folio: the folio, still locked; it is unlocked and dropped.
 */
void uffd_undo(uffd_handler_t handler, struct vm_area_struct *vma,
	       struct folio *folio)
{
	struct uffd_request req __uninitialized;

	/* Outside of a page cache there is nothing that the put won't undo. */
	if (folio->mapping) {
		req.kind = UFFD_REQ_FAULT_UNDO;
		req.vma = vma;
		req.undo.folio = folio;
		WARN_ONCE(handler(&req), "userfaultfd: %ps cannot undo\n",
			  handler);
	}
	uffd_release(folio);
}

/**
 * uffd_folio_flaw() - what is wrong with a folio that a type handed out
 * @folio: the folio.
 * @index: page offset that it must hold.
 * @mapping: the file that it must belong to; NULL for new anonymous memory.
 *
 * Return: one word for the warning, or NULL if it may be mapped.
 */
const char *uffd_folio_flaw(struct folio *folio, pgoff_t index,
			    struct address_space *mapping)
{
	if (unlikely(!folio_test_locked(folio)))
		return "unlocked";
	if (unlikely(!folio_test_uptodate(folio)))
		return "not uptodate";
	if (unlikely(folio->mapping != mapping))
		return "foreign";
	if (unlikely(!folio_contains(folio, index)))
		return "misplaced";
	return NULL;
}

/* Drop whatever a type handed out, even if it is not what it should be. */
static void uffd_discard(struct folio_batch *folios)
{
	unsigned int i;

	for (i = 0; i < folio_batch_count(folios); i++) {
		if (folio_test_locked(folios->folios[i]))
			folio_unlock(folios->folios[i]);
		folio_put(folios->folios[i]);
	}
	folio_batch_reinit(folios);
}

/**
 * uffd_resolve() - ask a type for memory, and check what it hands out
 * @handler: who is asked.
 * @req: a request set up by uffd_init_resolve().
 *
 * Return: 0 with at least one folio in @req that may be mapped: locked,
 * referenced, uptodate, in the right file, at the right offset; or an errno of
 * &struct uffd_resolve without any folio; -EIO for a poisoned page and, with
 * a warning, for a folio that is not as it should be.
 */
int uffd_resolve(uffd_handler_t handler, struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct address_space *mapping = NULL;
	pgoff_t index = resolve->index;
	const char *flaw = NULL;
	struct folio *folio;
	unsigned int i;
	int err;

	err = handler(req);
	if (unlikely(err))
		return uffd_check_errno(handler, err);

	if (handler != uffd_anon_request)
		mapping = req->vma->vm_file->f_mapping;
	if (unlikely(!folio_batch_count(&resolve->folios)))
		flaw = "no";

	for (i = 0; i < folio_batch_count(&resolve->folios); i++) {
		folio = resolve->folios.folios[i];
		flaw = uffd_folio_flaw(folio, index, mapping);
		if (unlikely(flaw))
			break;
		if (unlikely(PageHWPoison(folio_file_page(folio, index)))) {
			err = -EIO;
			break;
		}
		index = folio_next_index(folio);
	}

	if (WARN_ONCE(flaw, "userfaultfd: %ps handed out %s folio for %lu+%lu\n",
		      handler, flaw, resolve->index, resolve->nr_pages))
		err = -EIO;
	if (unlikely(err))
		uffd_discard(&resolve->folios);
	return err;
}

/* A new page of anonymous memory, charged but not yet known to anybody. */
static int uffd_anon_resolve(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct vm_area_struct *vma = req->vma;
	struct folio *folio;
	int err;

	if (resolve->mode != UFFD_RESOLVE_MISSING)
		return -EINVAL;

	folio = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma,
				uffd_address(vma, resolve->index), false);
	if (!folio)
		return -ENOMEM;

	err = userfaultfd_fill_folio(req, folio, resolve->index);
	if (err)
		goto put;

	err = -ENOMEM;
	if (mem_cgroup_charge(folio, vma->vm_mm, GFP_KERNEL))
		goto put;

	__folio_set_locked(folio);
	/* What rmap will say, too; the file's folios have it already. */
	folio->index = resolve->index;
	folio_batch_add(&resolve->folios, folio);
	return 0;
put:
	folio_put(folio);
	return err;
}

/**
 * uffd_anon_request() - anonymous memory's answers
 * @req: the request.
 *
 * Also creates the pages of private file mappings: what such a mapping is
 * filled with is never seen by the file.
 *
 * Return: see &struct uffd_request.
 */
int uffd_anon_request(struct uffd_request *req)
{
	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		req->supported.modes = VM_UFFD_MISSING | VM_UFFD_WP;
		req->supported.granule = PAGE_SIZE;
		return 0;
	case UFFD_REQ_FAULT_RESOLVE:
		return uffd_anon_resolve(req);
	default:
		return -EOPNOTSUPP;
	}
}
