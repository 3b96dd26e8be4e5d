// SPDX-License-Identifier: GPL-2.0-only
/*
 * filemap.c - the ready-made answers of page cache memory
 *
 * filemap_userfaultfd_request() answers for a file whose only memory is its
 * page cache: a filesystem or driver joins with one line in its
 * vm_operations_struct. It is made of the parts in pagecache.c.
 *
 * Called by the userfaultfd core under the mmap lock or the lock of one VMA.
 * Taken here, outermost first: the invalidate lock of the mapping, shared,
 * while folios are looked up and added; folio locks; inside of them those of
 * the page cache.
 */
#include <linux/dax.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "internal.h"

/* Why the handler cannot be used for a mapping, or NULL */
static const char *filemap_uffd_flaw(struct address_space *mapping)
{
	const struct address_space_operations *ops = mapping->a_ops;

	if (mapping_inaccessible(mapping))
		return "its memory must not be touched by the kernel";
	if (!mapping_unevictable(mapping))
		return "its folios may be reclaimed";
	if (ops->writepages)
		return "its folios are written back";
	if (ops->readahead)
		return "its folios are read from somewhere";
	if (dax_mapping(mapping) || mapping_min_folio_order(mapping))
		return "its entries are not folios of one page";
	return NULL;
}

static int filemap_uffd_supported(struct uffd_request *req)
{
	struct address_space *mapping = req->vma->vm_file->f_mapping;
	const char *flaw = filemap_uffd_flaw(mapping);

	if (WARN_ONCE(flaw, "userfaultfd: %ps cannot be served as page cache: %s\n",
		      mapping->a_ops, flaw))
		return -EOPNOTSUPP;

	req->supported.modes = __VM_UFFD_FLAGS;
	req->supported.granule = PAGE_SIZE;
	return 0;
}

/*
 * Fill the existing folio at @index, if it was never filled: a write() may have
 * been interrupted, or the space was only reserved.
 */
static int filemap_uffd_fill_hole(struct uffd_request *req, pgoff_t index)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct address_space *mapping = resolve->inode->i_mapping;
	struct folio *folio;
	int err = -EEXIST;

	/* Wait for the folio lock only if no other folio lock is held. */
	folio = __filemap_get_folio(mapping, index, FGP_LOCK |
				    (folio_batch_count(&resolve->folios) ?
				     FGP_NOWAIT : 0), 0);
	if (IS_ERR(folio))
		return -EEXIST;
	if (folio_test_uptodate(folio) || folio_test_large(folio))
		goto release;

	err = -EFAULT;
	if (index >= uffd_end_of_file(resolve->inode))
		goto release;
	err = -EIO;
	if (folio_test_hwpoison(folio))
		goto release;
	err = userfaultfd_fill_folio(req, folio, index);
	if (err)
		goto release;

	folio_mark_dirty(folio);
	folio_batch_add(&resolve->folios, folio);
	return 0;
release:
	uffd_release(folio);
	return err;
}

/* A file with memory policies has ->get_policy(). */
static struct folio *filemap_uffd_alloc(struct uffd_request *req, pgoff_t index)
{
	const gfp_t gfp = mapping_gfp_mask(req->resolve.inode->i_mapping);
#ifdef CONFIG_NUMA
	struct vm_area_struct *vma = req->vma;

	if (vma->vm_ops->get_policy)
		return vma_alloc_folio(gfp, 0, vma, uffd_address(vma, index));
#endif
	return filemap_alloc_folio(gfp, 0, NULL);
}

static int filemap_uffd_create(struct uffd_request *req, pgoff_t index)
{
	struct folio *folio;
	int err;

	folio = filemap_uffd_alloc(req, index);
	if (!folio)
		return -ENOMEM;

	err = userfaultfd_fill_folio(req, folio, index);
	if (!err)
		err = userfaultfd_add_folio(req, folio, index);
	if (!err)
		return 0;

	folio_put(folio);
	return err == -EEXIST ? filemap_uffd_fill_hole(req, index) : err;
}

static int filemap_uffd_resolve(struct uffd_request *req)
{
	struct folio_batch *folios = &req->resolve.folios;
	pgoff_t index = req->resolve.index;
	bool unfilled;
	long nr;
	int err;

	if (req->resolve.mode == UFFD_RESOLVE_MINOR)
		return userfaultfd_find_folios(&req->resolve);

	nr = uffd_count_hole(req, &unfilled);
	if (nr < 0)
		return nr;
	do {
		/* If the hole has folios, fill these instead of allocating. */
		err = unfilled ? filemap_uffd_fill_hole(req, index) :
				 filemap_uffd_create(req, index);
		index++;
	} while (!err && --nr && folio_batch_space(folios));

	return folio_batch_count(folios) ? 0 : err;
}

/**
 * filemap_userfaultfd_request() - the ready-made answers of page cache memory
 * @req: the request.
 *
 * For a file whose only memory is its page cache: a hole reads as
 * zeroes, and a page stays until it is truncated. Supports every mode.
 * A filesystem or driver joins by one line in its vm_operations_struct::
 *
 *	.userfaultfd_request = filemap_userfaultfd_request,
 *
 * Requirements on the file's f_mapping:
 *
 * - mapping_set_unevictable(): reclaim does not remove its folios;
 * - no ->writepages() or ->readahead(): there is no backing
 *   storage;
 * - no ->read_folio(), or one that only clears: for a fault that user space does
 *   not resolve, the handler creates zeroes without calling it;
 * - if the file can be read, a ->read_iter() and ->splice_read() that do not
 *   allocate pages for holes. generic_file_read_iter() inserts a page of
 *   zeroes, and then there is no missing fault. See fs/ramfs/file-mmu.c;
 * - a ->dirty_folio(), such as noop_dirty_folio();
 * - a mapping_gfp_mask() for new folios, which are of one page each;
 * - the i_size of its host is the size of the memory; truncation sets it before
 *   it removes folios, and hole punching holds filemap_invalidate_lock();
 * - not AS_INACCESSIBLE, not DAX, no minimal folio order.
 *
 * Registration checks these conditions as far as it can: if a mapping does not
 * meet them, no mode is supported, and a warning is logged.
 *
 * A folio that is not uptodate is a hole. New folios are charged to the owner
 * of the mapping and are dirty.
 *
 * Return: see &struct uffd_request.
 */
int filemap_userfaultfd_request(struct uffd_request *req)
{
	struct address_space *mapping = req->vma->vm_file->f_mapping;
	int err;

	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		return filemap_uffd_supported(req);
	case UFFD_REQ_FAULT_UNDO:
		userfaultfd_remove_folio(req->undo.folio);
		return 0;
	case UFFD_REQ_GET_PRESENT:
	case UFFD_REQ_FAULT_RESOLVE:
		break;
	default:
		return -EOPNOTSUPP;
	}

	/* Wait for a running hole punch, and exclude others. */
	filemap_invalidate_lock_shared(mapping);
	if (req->kind == UFFD_REQ_GET_PRESENT)
		err = userfaultfd_check_present(req->present.inode,
						req->present.index);
	else
		err = filemap_uffd_resolve(req);
	filemap_invalidate_unlock_shared(mapping);
	return err;
}
EXPORT_SYMBOL_NS_GPL(filemap_userfaultfd_request, "USERFAULTFD");
