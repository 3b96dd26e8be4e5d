// SPDX-License-Identifier: GPL-2.0-only
/*
 * lock.c - the locks of a fill
 *
 * A fill holds the lock of its mapping and ctx->map_changing_lock. It releases
 * both to read a source that is not resident, takes them again, and then checks
 * that the mapping is still the same.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mm.h>

#include "internal.h"

/* What must be the same after the locks were dropped and taken again. */
#define UFFD_FILL_VM_FLAGS	(__VM_UFFD_FLAGS | VM_SHARED)

/**
 * uffd_fill_unlock() - unlock the mapping
 * @fill: the fill; fill->vma becomes NULL.
 */
__always_inline void uffd_fill_unlock(struct uffd_fill *fill)
{
	up_read(&fill->ctx->map_changing_lock);
#ifdef CONFIG_PER_VMA_LOCK
	vma_end_read(fill->vma);
#else
	mmap_read_unlock(fill->vma->vm_mm);
#endif
	fill->vma = NULL;
}

/**
 * uffd_fill_lock() - lock the mapping
 * @fill: the fill, without locks.
 *
 * Return: 0; -ENOENT if the range is not in one registered mapping; -ENOMEM;
 * -EAGAIN if the layout of memory is changing.
 */
__always_inline int uffd_fill_lock(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = uffd_lock_vma(fill->ctx->mm, fill->start);
	int err;

	if (IS_ERR(vma))
		return PTR_ERR(vma);
	fill->vma = vma;
	down_read(&fill->ctx->map_changing_lock);

	err = -ENOENT;
	if (unlikely(fill->start + fill->len > vma->vm_end ||
		     !vma->vm_userfaultfd_ctx.ctx))
		goto unlock;
	/*
	 * While the layout of memory is changing (fork, mremap, ...) and the
	 * monitor has not been notified yet, it may take the address for that
	 * of another page: the caller has to retry later.
	 */
	err = -EAGAIN;
	if (unlikely(atomic_read(&fill->ctx->mmap_changing)))
		goto unlock;
	return 0;
unlock:
	uffd_fill_unlock(fill);
	return err;
}

/**
 * uffd_fill_pause() - unlock the mapping, and remember what it maps
 * @fill: the fill; it keeps a reference on the mapped file.
 */
noinline void uffd_fill_pause(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;
	struct uffd_supported supported;

	if (!fill->file && vma->vm_file)
		fill->file = get_file(vma->vm_file);
	fill->pgoff = linear_page_index(vma, fill->start);
	fill->vm_flags = vma->vm_flags & UFFD_FILL_VM_FLAGS;
	uffd_supported(vma, &supported);
	fill->secret = supported.secret;
	uffd_fill_unlock(fill);
}

/* Is this still the mapping that uffd_fill_pause() unlocked? */
static bool uffd_fill_same(const struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;

	return vma->vm_file == fill->file &&
	       linear_page_index(vma, fill->start) == fill->pgoff &&
	       (vma->vm_flags & UFFD_FILL_VM_FLAGS) == fill->vm_flags;
}

/**
 * uffd_fill_resume() - lock the mapping again
 * @fill: the fill, after uffd_fill_pause().
 *
 * Return: as uffd_fill_lock(); -EAGAIN if it is another mapping now.
 */
noinline int uffd_fill_resume(struct uffd_fill *fill)
{
	int err = uffd_fill_lock(fill);

	if (err || uffd_fill_same(fill))
		return err;
	uffd_fill_unlock(fill);
	return -EAGAIN;
}

/**
 * uffd_fill_forget() - release what was needed to read the source
 * @fill: the fill, which has ended.
 */
noinline void uffd_fill_forget(struct uffd_fill *fill)
{
	if (fill->spare) {
		if (fill->secret)
			folio_zero_segment(fill->spare, 0,
					   folio_size(fill->spare));
		folio_put(fill->spare);
	}
	if (fill->file)
		fput(fill->file);
}
