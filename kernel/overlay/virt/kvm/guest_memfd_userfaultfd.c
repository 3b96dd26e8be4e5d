// SPDX-License-Identifier: GPL-2.0
/*
 * guest_memfd_userfaultfd.c - guest_memfd's answers to userfaultfd
 *
 * For mappings of shared guest memory; private memory is never mapped. Memory
 * is present once its folio is uptodate. What fallocate() allocated and nobody
 * has written yet is a hole, and a fill writes it where it is.
 *
 * Locks: the invalidate lock of the file, shared, while folios are looked up
 * and inserted, so that a hole punch that runs is waited for. The folios stay
 * locked beyond that, which holds off the next one.
 */
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

#include "kvm_mm.h"

static bool kvm_gmem_uffd_in_file(struct inode *inode, pgoff_t index)
{
	return index < i_size_read(inode) >> PAGE_SHIFT;
}

static int kvm_gmem_uffd_present(struct uffd_present *present)
{
	struct folio *folio;
	bool uptodate;

	if (!kvm_gmem_uffd_in_file(present->inode, present->index))
		return -EINVAL;
	folio = filemap_get_folio(present->inode->i_mapping, present->index);
	if (IS_ERR(folio))
		return -ENOENT;

	uptodate = folio_test_uptodate(folio);
	folio_put(folio);
	return uptodate ? 0 : -ENOENT;
}

/* Find memory; the first folio, and only that, is worth waiting for. */
static int kvm_gmem_uffd_find(struct uffd_resolve *resolve)
{
	int err = userfaultfd_find_folios(resolve);
	struct folio *folio;

	if (err != -EAGAIN)
		return err;
	if (!kvm_gmem_uffd_in_file(resolve->inode, resolve->index))
		return -EINVAL;
	folio = filemap_lock_folio(resolve->inode->i_mapping, resolve->index);
	if (IS_ERR(folio))
		return -ENOENT;
	if (!folio_test_uptodate(folio)) {
		folio_unlock(folio);
		folio_put(folio);
		return -ENOENT;
	}

	folio_batch_add(&resolve->folios, folio);
	return 0;
}

/* Insert a new folio, filled. Who maps memory pays for it, whoever fills it. */
static struct folio *kvm_gmem_uffd_insert(struct uffd_request *req,
					  pgoff_t index)
{
	struct address_space *mapping = req->resolve.inode->i_mapping;
	struct mem_cgroup *memcg, *old;
	struct folio *folio;
	int err;

	folio = filemap_alloc_folio(mapping_gfp_mask(mapping), 0);
	if (!folio)
		return ERR_PTR(-ENOMEM);

	err = userfaultfd_fill_folio(req, folio, index);
	if (!err) {
		memcg = get_mem_cgroup_from_mm(req->vma->vm_mm);
		old = set_active_memcg(memcg);
		err = filemap_add_folio(mapping, folio, index,
					mapping_gfp_mask(mapping));
		set_active_memcg(old);
		mem_cgroup_put(memcg);
	}
	if (!err)
		return folio;
	folio_put(folio);
	return ERR_PTR(err);
}

/* Fill the folio that was found at @index, locked, if it has no content yet. */
static int kvm_gmem_uffd_write(struct uffd_request *req, struct folio *folio,
			       pgoff_t index)
{
	int err;

	if (folio_test_uptodate(folio))
		err = -EEXIST;
	else if (folio_test_hwpoison(folio))
		err = -EIO;
	else
		err = userfaultfd_fill_folio(req, folio, index);
	if (err) {
		folio_unlock(folio);
		folio_put(folio);
	}
	return err;
}

static int kvm_gmem_uffd_create(struct uffd_request *req, pgoff_t index)
{
	struct uffd_resolve *resolve = &req->resolve;
	fgf_t wait = index == resolve->index ? 0 : FGP_NOWAIT;
	struct folio *folio;
	int err = 0;

	if (!kvm_gmem_uffd_in_file(resolve->inode, index))
		return -EFAULT;

	do {
		folio = __filemap_get_folio(resolve->inode->i_mapping, index,
					    FGP_LOCK | wait, 0);
		if (!IS_ERR(folio))
			err = kvm_gmem_uffd_write(req, folio, index);
		else if (PTR_ERR(folio) == -ENOENT)
			folio = kvm_gmem_uffd_insert(req, index);
	} while (folio == ERR_PTR(-EEXIST));

	if (IS_ERR(folio))
		return PTR_ERR(folio);
	if (!err) {
		folio_mark_dirty(folio);
		folio_batch_add(&resolve->folios, folio);
	}
	return err;
}

static int kvm_gmem_uffd_resolve(struct uffd_request *req)
{
	struct uffd_resolve *resolve = &req->resolve;
	pgoff_t index = resolve->index, end = index + resolve->nr_pages;
	int err;

	if (resolve->mode == UFFD_RESOLVE_MINOR)
		return kvm_gmem_uffd_find(resolve);
	do {
		err = kvm_gmem_uffd_create(req, index++);
	} while (!err && index < end && folio_batch_space(&resolve->folios));

	return folio_batch_count(&resolve->folios) ? 0 : err;
}

/* What fallocate() put there stays, and is a hole again. */
static int kvm_gmem_uffd_undo(struct uffd_undo *undo)
{
	if (!folio_test_checked(undo->folio))
		return generic_error_remove_folio(undo->folio->mapping,
						  undo->folio);
	folio_clear_uptodate(undo->folio);
	return 0;
}

/**
 * kvm_gmem_userfaultfd_request() - shared guest memory's answers
 * @req: the request.
 *
 * Return: see &struct uffd_request.
 */
int kvm_gmem_userfaultfd_request(struct uffd_request *req)
{
	struct address_space *mapping = req->vma->vm_file->f_mapping;
	int err;

	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		req->supported.modes = __VM_UFFD_FLAGS;
		req->supported.granule = PAGE_SIZE;
		return 0;
	case UFFD_REQ_GET_PRESENT:
		filemap_invalidate_lock_shared(mapping);
		err = kvm_gmem_uffd_present(&req->present);
		filemap_invalidate_unlock_shared(mapping);
		return err;
	case UFFD_REQ_FAULT_RESOLVE:
		filemap_invalidate_lock_shared(mapping);
		err = kvm_gmem_uffd_resolve(req);
		filemap_invalidate_unlock_shared(mapping);
		return err;
	case UFFD_REQ_FAULT_UNDO:
		return kvm_gmem_uffd_undo(&req->undo);
	default:
		return -EOPNOTSUPP;
	}
}

MODULE_IMPORT_NS(USERFAULTFD);
