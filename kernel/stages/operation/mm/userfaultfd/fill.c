// SPDX-License-Identifier: GPL-2.0-only
/*
 * fill.c - the walk of COPY, ZEROPAGE, CONTINUE and POISON
 *
 * A fill walks its range page by page. At each step the memory type hands out a
 * folio (found for CONTINUE, new for COPY and ZEROPAGE), and the page is mapped.
 * No memory is allocated for an entry that is in use. Entries that need no folio
 * (zero page, poison) are written in the same way.
 *
 *	lock the mapping -> look -> resolve -> map -> unlock
 *	      ^                        |
 *	      '-- read the source without locks, if it is not resident
 *
 * Called by the ioctls of fs/userfaultfd.c with a reference on the mm and
 * without locks; see internal.h for those taken here.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pgalloc.h>
#include <linux/sched/signal.h>

#include "internal.h"

/* How many new pages of one fill may be bad before it fails. */
#define UFFD_FILL_REPLACE	16

/*
 * Steps
 */

/*
 * Must the entry of a page be looked at? A page of a shared mapping is not
 * present unless the file has it, and the type looks there before it allocates.
 */
static bool uffd_fill_needs_look(const struct uffd_fill *fill)
{
	return fill->handler == uffd_anon_request;
}

/*
 * Fill the page at fill->addr, below @pmd, with a folio.
 *
 * Return: 0; -EUFFD_NO_TABLE; or an errno, with fill->source.absent set if the
 * source was not resident.
 */
static __always_inline int uffd_fill_folio(struct uffd_fill *fill, pmd_t *pmd)
{
	struct uffd_request req __uninitialized;
	int err;

	if (uffd_fill_needs_look(fill)) {
		err = uffd_check_entry(fill, pmd);
		if (unlikely(err))
			return err;
	} else if (unlikely(pmd_none(pmdp_get_lockless(pmd)))) {
		return -EUFFD_NO_TABLE;
	}

	err = uffd_fill_resolve(fill, &req, 1, false);
	if (unlikely(err))
		return err;

	err = uffd_map_folio(fill, pmd, &req.resolve);
	if (unlikely(err))
		uffd_fill_give_back(fill, &req, 0);
	return err;
}

/* There is no page table: allocate one. */
static noinline int uffd_fill_no_table(struct uffd_fill *fill, pmd_t *pmd)
{
	const pmd_t pmdval = pmdp_get_lockless(pmd);

	/* The memory of a huge entry is present, even during migration. */
	if (!pmd_none(pmdval) && (!pmd_present(pmdval) || pmd_leaf(pmdval)))
		return -EEXIST;
	return pte_alloc(fill->vma->vm_mm, pmd) ? -ENOMEM : 0;
}

/* Fill the page at fill->addr; 0 also if another look is needed. */
static __always_inline int uffd_fill_next(struct uffd_fill *fill, pmd_t *pmd)
{
	int err;

	if (uffd_fill_special(fill))
		err = uffd_map_special(fill, pmd);
	else
		err = uffd_fill_folio(fill, pmd);
	return unlikely(err == -EUFFD_NO_TABLE) ?
	       uffd_fill_no_table(fill, pmd) : err;
}

/* Fill the next page of hugetlb. */
static __always_inline int uffd_fill_next_hugetlb(struct uffd_fill *fill)
{
	int err = uffd_hugetlb_fill(fill);

	/* The next one may need the huge page that the source was read into. */
	if (!err && fill->spare) {
		folio_put(fill->spare);
		fill->spare = NULL;
	}
	return err;
}

/*
 * The walk
 */

/* Between two steps of a fill: let other tasks run, and look for signals. */
static __always_inline int uffd_fill_rest(void)
{
	cond_resched();
	return unlikely(fatal_signal_pending(current)) ? -EINTR : 0;
}

static noinline int uffd_fill_walk_hugetlb(struct uffd_fill *fill)
{
	const unsigned long end = fill->start + fill->len;
	int err;

	do {
		err = uffd_fill_next_hugetlb(fill);
		if (err || fill->addr == end)
			return err;
		err = uffd_fill_rest();
	} while (!err);
	return err;
}

/* Fill from fill->addr to the end, as far as it goes. */
static __always_inline int uffd_fill_walk(struct uffd_fill *fill)
{
	const unsigned long end = fill->start + fill->len;
	pmd_t *pmd;
	int err;

	if (uffd_is_hugetlb(fill->vma))
		return uffd_fill_walk_hugetlb(fill);

	for (;;) {
		pmd = uffd_walk(fill->vma->vm_mm, fill->addr);
		if (unlikely(!pmd))
			return -ENOMEM;
		/* One walk covers a whole page table. */
		do {
			err = uffd_fill_next(fill, pmd);
			if (unlikely(err) || fill->addr == end)
				return err;
			err = uffd_fill_rest();
			if (unlikely(err))
				return err;
		} while (fill->addr & ~PMD_MASK);
	}
}

/*
 * The mapping
 */

/* hugetlb takes whole pages only, and has no zero page. */
static int uffd_fill_choose_hugetlb(const struct uffd_fill *fill)
{
	if (!IS_ALIGNED(fill->start | fill->len, uffd_hugetlb_size(fill->vma)) ||
	    uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_ZEROPAGE))
		return -EINVAL;
	return 0;
}

/*
 * Choose the handler that finds or creates the folios, if this operation is
 * possible on the mapping. Its modes were checked at registration.
 */
static __always_inline int uffd_fill_choose(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;
	vm_flags_t modes = VM_UFFD_MISSING;

	/* Shared anonymous memory is shmem and has vm_ops. */
	VM_WARN_ON_ONCE(vma_is_anonymous(vma) && (vma->vm_flags & VM_SHARED));
	if ((fill->flags & MFILL_ATOMIC_WP) && !userfaultfd_wp(vma))
		return -EINVAL;

	fill->handler = uffd_handler(vma);
	if (unlikely(uffd_is_hugetlb(vma)))
		return uffd_fill_choose_hugetlb(fill);

	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE))
		modes = VM_UFFD_MINOR;
	else if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		modes |= VM_UFFD_MINOR;
	else if (!(vma->vm_flags & VM_SHARED))
		/* The result is that of a fault and copy-on-write. */
		fill->handler = uffd_anon_request;

	if (likely(vma->vm_flags & modes))
		return 0;
	/* Not registered with these modes: it must support one of them. */
	return uffd_supports(vma, modes) ? 0 : -EINVAL;
}

/*
 * The source
 */

/*
 * Drop the locks, read the source at fill->addr into a spare folio, and take the
 * locks again; on an error they are not held.
 */
static int uffd_fill_reread(struct uffd_fill *fill)
{
	int err;

	if (!fill->spare)
		fill->spare = uffd_is_hugetlb(fill->vma) ?
			      uffd_hugetlb_spare(fill->vma, fill->addr) :
			      folio_alloc(GFP_HIGHUSER, 0);
	uffd_fill_pause(fill);

	fill->source.absent = 0;
	err = fill->spare ? uffd_read_source(&fill->source, fill->spare) :
			    -ENOMEM;
	if (err)
		return err;
	/* Keep the retry loop killable. */
	if (fatal_signal_pending(current))
		return -EINTR;
	return uffd_fill_resume(fill);
}

/*
 * A walk ended before the end of the range, with an errno.
 *
 * Return: 0 to walk on, or an errno.
 */
static noinline int uffd_fill_retry(struct uffd_fill *fill, int err)
{
	if (err == -EFAULT && fill->source.absent)
		return uffd_fill_reread(fill);
	/* A new page was declared bad: no data is lost, so create another. */
	if (err == -EUFFD_BAD_PAGE)
		return ++fill->replaced < UFFD_FILL_REPLACE ?
		       uffd_fill_rest() : -EIO;
	return err;
}

/**
 * userfaultfd_fill() - COPY, ZEROPAGE, CONTINUE or POISON a range
 * @ctx: the userfaultfd.
 * @start: first address, a multiple of PAGE_SIZE.
 * @len: bytes, a multiple of PAGE_SIZE and not 0; the range does not wrap.
 * @user: user address of the content, with MFILL_ATOMIC_COPY.
 * @flags: the MFILL_ATOMIC_ mode and its options.
 *
 * Context: process context, no locks, ctx->mm is pinned.
 * Return: bytes filled, if any were; otherwise -EAGAIN if the mapping changed or
 * is changing, -ENOENT if the range is not in one registered mapping, -EINVAL if
 * that cannot be filled like this, -EEXIST if a page is present, -EFAULT if the
 * source is not readable, the file ends before, or there is nothing to CONTINUE,
 * -ENOMEM, -EIO, -EINTR if the process is being killed.
 */
ssize_t userfaultfd_fill(struct userfaultfd_ctx *ctx, unsigned long start,
			 unsigned long len, unsigned long user,
			 uffd_flags_t flags)
{
	struct uffd_fill fill __uninitialized;
	int err;

	/* The result must not look like an errno; callers ask for the rest. */
	if (BITS_PER_LONG == 32 && len > LONG_MAX)
		len = SZ_1G;

	/* No initializer: it would clear all of it first. */
	fill.ctx = ctx;
	fill.flags = flags;
	fill.start = start;
	fill.len = len;
	fill.addr = start;
	fill.source.from_user = uffd_flags_mode_is(flags, MFILL_ATOMIC_COPY);
	fill.source.from = (const char __user *)user;
	fill.source.bounce = NULL;
	fill.source.absent = 0;
	fill.spare = NULL;
	fill.file = NULL;
	fill.replaced = 0;

	if (uffd_flags_mode_is(flags, MFILL_ATOMIC_CONTINUE)) {
		/*
		 * A program that writes to the page cache and then calls
		 * CONTINUE may expect that a read through the new entry returns
		 * what it wrote. Pairs with the dependency of that read on the
		 * entry.
		 */
		smp_wmb();
	}

	err = uffd_fill_lock(&fill);
	if (err)
		return err;
	err = uffd_fill_choose(&fill);
	while (!err) {
		err = uffd_fill_walk(&fill);
		if (likely(!err))
			break;
		err = uffd_fill_retry(&fill, err);
	}

	if (fill.vma)
		uffd_fill_unlock(&fill);
	if (unlikely(fill.file || fill.spare))
		uffd_fill_forget(&fill);
	return fill.addr > start ? fill.addr - start : err;
}
