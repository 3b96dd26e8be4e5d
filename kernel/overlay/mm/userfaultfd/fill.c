// SPDX-License-Identifier: GPL-2.0-only
/*
 * fill.c - the walk of COPY, ZEROPAGE, CONTINUE and POISON
 *
 * A fill walks its range. At each step it counts the free entries ahead, the
 * memory type hands out folios for them (found for CONTINUE, new for COPY and
 * ZEROPAGE), and a run of them is mapped under one page table lock. No memory
 * is allocated for an entry that is in use. Entries that need no folio (zero
 * page, poison) are written in the same way.
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

/* Maximum number of pages mapped per page table lock hold. */
#define UFFD_FILL_RUN		64UL

/* How many new pages of one fill may be bad before it fails. */
#define UFFD_FILL_REPLACE	16

/*
 * Steps
 */

/* The next @len bytes are present: skip them, or -EEXIST if not allowed. */
static int uffd_fill_skip(struct uffd_fill *fill, unsigned long len)
{
	if (!(fill->flags & MFILL_ATOMIC_SKIP))
		return -EEXIST;
	*fill->skipped += len;
	uffd_fill_advance(fill, fill->addr + len);
	return 0;
}

/* The entry at fill->addr is in use: skip all such entries of the table. */
static noinline int uffd_fill_skip_entries(struct uffd_fill *fill, pmd_t *pmd)
{
	const unsigned long end = pmd_addr_end(fill->addr, fill->end);
	long used;

	if (!(fill->flags & MFILL_ATOMIC_SKIP))
		return -EEXIST;
	used = uffd_used_entries(fill, pmd, (end - fill->addr) >> PAGE_SHIFT);
	/* If there is no page table any more, the next step handles that. */
	return used < 0 ? 0 : uffd_fill_skip(fill, used << PAGE_SHIFT);
}

/* The page at fill->addr is in the file, but not mapped here. */
static noinline int uffd_fill_skip_in_file(struct uffd_fill *fill)
{
	/* The pages after it are probably in the file, too. */
	fill->run = 1;
	return uffd_fill_skip(fill, PAGE_SIZE);
}

/* Fewer folios were mapped than the type supplied; @mapped may be an errno. */
static noinline int uffd_fill_cut_short(struct uffd_fill *fill,
					struct uffd_request *req, long mapped)
{
	uffd_fill_give_back(fill, req, mapped < 0 ? 0 : mapped);
	fill->run = 1;
	/* The next step skips the entry that is in use. */
	if (mapped == -EEXIST && (fill->flags & MFILL_ATOMIC_SKIP))
		return 0;
	return mapped < 0 ? mapped : 0;
}

/*
 * Must the entry of a single page be looked at? A page of a shared mapping is
 * not present unless the file has it, and the type looks there before it
 * allocates.
 */
static bool uffd_fill_needs_look(const struct uffd_fill *fill)
{
	return fill->handler == uffd_anon_request ||
	       (fill->flags & MFILL_ATOMIC_SKIP);
}

/*
 * How many pages to request after an answer to a request for @nr: twice as many
 * as before. If the answer was short, as at the limit of a memory cgroup, no
 * more than it had.
 */
static unsigned long uffd_fill_next_run(const struct uffd_fill *fill,
					const struct uffd_resolve *resolve,
					long nr)
{
	if (resolve->nr_pages < min(nr, FOLIO_BATCH_SIZE))
		return resolve->nr_pages;
	return min(2 * fill->run, UFFD_FILL_RUN);
}

/* Is the source of the next page resident? */
static bool uffd_fill_source_resident(struct uffd_fill *fill)
{
	struct uffd_source *source = &fill->source;
	int err = 0;
	char byte __maybe_unused;

	if (source->from_user && !source->bounce) {
		pagefault_disable();
		err = get_user(byte, source->from);
		pagefault_enable();
	}
	if (unlikely(err))
		source->absent = PAGE_SIZE;
	return !err;
}

/*
 * Fill up to @nr pages, all below @pmd, with folios.
 *
 * Return: 0 to continue, even if no page was filled; -EUFFD_NO_TABLE; or an
 * errno, with fill->source.absent set if the source was not resident.
 */
static __always_inline int uffd_fill_folios(struct uffd_fill *fill, pmd_t *pmd,
					    long nr)
{
	struct uffd_request req __uninitialized;
	long mapped;
	int err;

	if (nr > 1 || uffd_fill_needs_look(fill)) {
		nr = uffd_free_entries(fill, pmd, nr);
		if (unlikely(nr < 0))
			return nr;
		if (unlikely(!nr)) {
			/* After progress, the error makes no difference. */
			if (uffd_fill_looks_first(fill) ||
			    fill->addr > fill->start)
				return uffd_fill_skip_entries(fill, pmd);
			nr = 1;
		}
	} else if (unlikely(pmd_none(pmdp_get_lockless(pmd)))) {
		return -EUFFD_NO_TABLE;
	}

	/* Otherwise a run of pages would be allocated in vain. */
	if (nr > 1 && unlikely(!uffd_fill_source_resident(fill)))
		return -EFAULT;

	err = uffd_fill_resolve(fill, &req, nr, false);
	if (unlikely(err))
		return err == -EEXIST ? uffd_fill_skip_in_file(fill) : err;

	mapped = uffd_map_folios(fill, pmd, &req.resolve);
	if (unlikely(mapped != folio_batch_count(&req.resolve.folios)))
		return uffd_fill_cut_short(fill, &req, mapped);
	if (fill->addr < fill->end)
		fill->run = uffd_fill_next_run(fill, &req.resolve, nr);
	return 0;
}

/* There is no page table: map a huge page, or allocate a table. */
static noinline int uffd_fill_no_table(struct uffd_fill *fill, pmd_t *pmd)
{
	const pmd_t pmdval = pmdp_get_lockless(pmd);
	int err = 0;

	/* The memory of a huge entry is present, even during migration. */
	if (!pmd_none(pmdval) && (!pmd_present(pmdval) || pmd_leaf(pmdval)))
		return uffd_fill_skip(fill, pmd_addr_end(fill->addr, fill->end) -
					    fill->addr);
	if (pmd_none(pmdval))
		err = uffd_thp_fill(fill, pmd);
	if (!err && pte_alloc(fill->vma->vm_mm, pmd))
		return -ENOMEM;
	return err;
}

/* Fill from fill->addr on, as far as one answer or run goes. */
static __always_inline int uffd_fill_next(struct uffd_fill *fill, pmd_t *pmd)
{
	unsigned long nr = 1;
	int err;

	if (fill->end - fill->addr > PAGE_SIZE) {
		nr = (pmd_addr_end(fill->addr, fill->end) - fill->addr) >>
		     PAGE_SHIFT;
		nr = min(nr, fill->run);
	}
	if (uffd_fill_special(fill)) {
		err = uffd_map_special(fill, pmd, nr);
		if (unlikely(err == -EEXIST))
			return uffd_fill_skip_entries(fill, pmd);
	} else {
		err = uffd_fill_folios(fill, pmd, nr);
	}
	return unlikely(err == -EUFFD_NO_TABLE) ?
	       uffd_fill_no_table(fill, pmd) : err;
}

/* Fill the next page of hugetlb. */
static __always_inline int uffd_fill_next_hugetlb(struct uffd_fill *fill)
{
	int err = uffd_hugetlb_fill(fill);

	if (err == -EEXIST)
		err = uffd_fill_skip(fill, uffd_hugetlb_size(fill->vma));
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

/*
 * A fatal signal ends every fill. Other signals, and what sets
 * TIF_SIGPENDING like one (a stop, a tracer, the freezer), end interruptible
 * fills, but only after progress: so a caller that repeats the call for the
 * rest reaches the end.
 */
static noinline int uffd_fill_signal(const struct uffd_fill *fill)
{
	if (fatal_signal_pending(current) ||
	    (fill->flags & MFILL_ATOMIC_INTERRUPTIBLE &&
	     fill->addr > fill->start))
		return -EINTR;
	return 0;
}

/* Between two steps of a fill: let other tasks run, and look for signals. */
static __always_inline int uffd_fill_rest(const struct uffd_fill *fill)
{
	cond_resched();
	return unlikely(signal_pending(current)) ? uffd_fill_signal(fill) : 0;
}

static noinline int uffd_fill_walk_hugetlb(struct uffd_fill *fill)
{
	int err;

	do {
		err = uffd_fill_next_hugetlb(fill);
		if (err || fill->addr == fill->end)
			return err;
		err = uffd_fill_rest(fill);
	} while (!err);
	return err;
}

/* Fill from fill->addr to fill->end, as far as it goes. */
static __always_inline int uffd_fill_walk(struct uffd_fill *fill)
{
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
			if (unlikely(err) || fill->addr == fill->end)
				return err;
			err = uffd_fill_rest(fill);
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
 * Drop the locks, make the source at fill->addr resident, and take the locks
 * again; on an error they are not held.
 *
 * The source is touched first. If it is not resident afterwards, as under memory
 * pressure, its first page is read into a spare folio, and only this page is
 * filled next. hugetlb reads all of it into a spare huge page at once.
 *
 * A touch makes several pages of a file resident, so as many are expected this
 * time as between the last two touches.
 */
static int uffd_fill_reread(struct uffd_fill *fill)
{
	const bool hugetlb = uffd_is_hugetlb(fill->vma);
	const bool touch = !hugetlb && fill->addr != fill->fetched;
	const unsigned long end = fill->start + fill->len;
	const size_t size = fill->source.absent;
	unsigned long expected = PAGE_SIZE;
	int err = 0;

	if (!touch && !fill->spare)
		fill->spare = hugetlb ?
			      uffd_hugetlb_spare(fill->vma, fill->addr) :
			      folio_alloc(GFP_HIGHUSER, 0);
	uffd_fill_pause(fill);

	fill->source.absent = 0;
	if (touch) {
		if (fault_in_readable(fill->source.from, size) == size)
			err = -EFAULT;
		if (fill->fetched >= fill->start)
			expected = fill->addr - fill->fetched;
	} else if (!fill->spare) {
		err = -ENOMEM;
	} else {
		err = uffd_read_source(&fill->source, fill->spare);
	}
	if (!hugetlb && (!touch || size == PAGE_SIZE))
		fill->end = fill->addr + min(expected, end - fill->addr);
	fill->fetched = fill->addr;

	if (err)
		return err;
	/* Keep the retry loop killable. */
	if (fatal_signal_pending(current))
		return -EINTR;
	return uffd_fill_resume(fill);
}

/*
 * A walk ended before the end of the range, with 0 or an errno.
 *
 * Return: 0 to walk on, or an errno.
 */
static noinline int uffd_fill_retry(struct uffd_fill *fill, int err)
{
	const unsigned long end = fill->start + fill->len;

	if (err == -EFAULT && fill->source.absent)
		return uffd_fill_reread(fill);
	/* A new page was declared bad: no data is lost, so create another. */
	if (err == -EUFFD_BAD_PAGE)
		return ++fill->replaced < UFFD_FILL_REPLACE ?
		       uffd_fill_rest(fill) : -EIO;
	if (err)
		return err;
	/* The part that was likely to be resident is done: try twice as much. */
	fill->end += min(fill->end - fill->fetched, end - fill->end);
	return uffd_fill_rest(fill);
}

/**
 * userfaultfd_fill() - COPY, ZEROPAGE, CONTINUE or POISON a range
 * @ctx: the userfaultfd.
 * @start: first address, a multiple of PAGE_SIZE.
 * @len: bytes, a multiple of PAGE_SIZE and not 0; the range does not wrap.
 * @user: user address of the content, with MFILL_ATOMIC_COPY.
 * @flags: the MFILL_ATOMIC_ mode and its options.
 * @skipped: with MFILL_ATOMIC_SKIP, present pages are skipped, and their bytes
 *	are added to this. Otherwise the first one ends the fill.
 *
 * Context: process context, no locks, ctx->mm is pinned.
 * Return: bytes filled or skipped, if any were; otherwise -EAGAIN if the
 * mapping changed or is changing, -ENOENT if the range is not in one registered
 * mapping, -EINVAL if that cannot be filled like this, -EEXIST if a page is
 * present, -EFAULT if the source is not readable, the file ends before, or
 * there is nothing to CONTINUE, -ENOMEM, -EIO, -EINTR if the process is being
 * killed.
 */
ssize_t userfaultfd_fill(struct userfaultfd_ctx *ctx, unsigned long start,
			 unsigned long len, unsigned long user,
			 uffd_flags_t flags, unsigned long *skipped)
{
	struct uffd_fill fill __uninitialized;
	int err;

	/* The result must not look like an errno; callers ask for the rest. */
	if (BITS_PER_LONG == 32 && len > LONG_MAX)
		len = SZ_1G;

	/* No initializer: it would clear all of it first, 22 words. */
	fill.ctx = ctx;
	fill.flags = flags;
	fill.start = start;
	fill.len = len;
	fill.end = start + len;
	fill.addr = start;
	fill.source.from_user = uffd_flags_mode_is(flags, MFILL_ATOMIC_COPY);
	fill.source.from = (const char __user *)user;
	fill.source.bounce = NULL;
	fill.source.absent = 0;
	fill.run = UFFD_FILL_RUN;
	fill.skipped = skipped;
	fill.spare = NULL;
	fill.file = NULL;
	fill.replaced = 0;
	fill.fetched = 0;

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
		if (likely(!err && fill.addr == start + len))
			break;
		err = uffd_fill_retry(&fill, err);
	}

	if (fill.vma)
		uffd_fill_unlock(&fill);
	if (unlikely(fill.file || fill.spare))
		uffd_fill_forget(&fill);
	return fill.addr > start ? fill.addr - start : err;
}
