// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_fill.c - the engine behind COPY, ZEROPAGE, CONTINUE and POISON
 *
 * A fill walks its range. At each step the memory type hands out folios for
 * what lies ahead (found for CONTINUE, new for COPY and ZEROPAGE) and the
 * engine maps a run of them under one page table lock. Entries that need no
 * folio (zero page, poison) are written in the same way.
 *
 *	lock the mapping -> resolve -> map -> unlock
 *	      ^               |
 *	      '-- read the source without locks, if it is not in memory
 *
 * Called by the ioctls of fs/userfaultfd.c with a reference on the mm and
 * without locks; see userfaultfd_internal.h for those taken here.
 */
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <asm/tlbflush.h>

#include "internal.h"
#include "userfaultfd_internal.h"

/* Pages that are looked for, and mapped under one page table lock, at most. */
#define UFFD_FILL_RUN	16

/**
 * struct uffd_fill - a fill under way
 * @ctx: the userfaultfd.
 * @flags: what is done: an MFILL_ATOMIC_ mode and its options.
 * @start: first address of the range.
 * @end: address behind the range.
 * @addr: next address to fill; all before it is done.
 * @user: address of the content for @addr, with MFILL_ATOMIC_COPY.
 * @read_source: the content for @addr has to be read without locks.
 * @bounced: it was, and is in @bounce.
 * @bounce: a page to read it into, or NULL.
 * @vma: the mapping while it is locked.
 * @handler: who finds or makes the folios.
 * @file: a reference on the mapped file, taken when the locks are dropped so
 *	that no other file can be taken for it afterwards.
 * @pgoff: @start's page offset when the mapping was first locked.
 * @vm_flags: the mapping's UFFD_FILL_VM_FLAGS at that time.
 */
struct uffd_fill {
	struct userfaultfd_ctx *ctx;
	uffd_flags_t flags;
	unsigned long start;
	unsigned long end;
	unsigned long addr;
	const char __user *user;
	bool read_source;
	bool bounced;
	struct folio *bounce;
	struct vm_area_struct *vma;
	uffd_handler_t handler;
	struct file *file;
	pgoff_t pgoff;
	vm_flags_t vm_flags;
};

/* What must be the same after the locks were dropped and taken again. */
#define UFFD_FILL_VM_FLAGS	(__VM_UFFD_FLAGS | VM_SHARED | VM_HUGETLB)

/*
 * Content
 */

/* Copy a page from user space; with @fault off only if it is in memory. */
static int uffd_read_page(struct page *page, const void __user *from, bool fault)
{
	unsigned long left;
	void *kaddr = kmap_local_page(page);

	/*
	 * With the locks of the destination held a fault on the source could
	 * deadlock: two processes that fill from each other's memory would
	 * each wait for the other's mmap_lock behind a writer.
	 */
	if (!fault)
		pagefault_disable();
	left = copy_from_user(kaddr, from, PAGE_SIZE);
	if (!fault)
		pagefault_enable();

	kunmap_local(kaddr);
	return left ? -EFAULT : 0;
}

/**
 * userfaultfd_fill_folio() - give a new folio its content
 * @req: the UFFD_RESOLVE_MISSING request that the folio is made for.
 * @folio: the folio: new, not yet inserted anywhere.
 * @index: page offset of its first page in the file.
 *
 * Fills all of @folio and marks it uptodate. A folio that is filled from user
 * memory must lie inside of the range that was asked for.
 *
 * Context: from the handler of @req only. Does not sleep on user memory.
 * Return: 0; -EFAULT if the user's memory is not there right now, upon which
 * the handler gives back @folio, returns -EFAULT and is asked again;
 * -EINVAL if @folio reaches beyond the range.
 */
int userfaultfd_fill_folio(struct uffd_request *req, struct folio *folio,
			   pgoff_t index)
{
	struct uffd_resolve *resolve = &req->resolve;
	struct uffd_source *source = resolve->source;
	const char __user *from = source->from;
	unsigned long addr = uffd_address(req->vma, index);
	long i, nr = folio_nr_pages(folio);

	if (!source->from_user) {
		for (i = 0; i < nr; i++)
			clear_user_highpage(folio_page(folio, i),
					    addr + i * PAGE_SIZE);
		folio_mark_uptodate(folio);
		return 0;
	}

	if (WARN_ON_ONCE(index < resolve->index ||
			 index + nr > resolve->index + resolve->nr_pages))
		return -EINVAL;

	from += (index - resolve->index) << PAGE_SHIFT;
	for (i = 0; i < nr; i++, from += PAGE_SIZE) {
		struct page *page = folio_page(folio, i);

		if (source->bounce && from == source->from) {
			copy_highpage(page, folio_page(source->bounce, 0));
		} else if (uffd_read_page(page, from, false)) {
			source->not_resident = true;
			return -EFAULT;
		}
		flush_dcache_page(page);
	}
	/* The barrier in here puts the content before the entry that maps it. */
	folio_mark_uptodate(folio);
	return 0;
}
EXPORT_SYMBOL_NS_GPL(userfaultfd_fill_folio, USERFAULTFD);

/* Read the page at the front of the source, without locks. */
static int uffd_fill_bounce(struct uffd_fill *fill)
{
	if (!fill->bounce) {
		fill->bounce = folio_alloc(GFP_HIGHUSER, 0);
		if (!fill->bounce)
			return -ENOMEM;
	}
	fill->read_source = false;
	fill->bounced = true;
	return uffd_read_page(folio_page(fill->bounce, 0), fill->user, true);
}

/*
 * Page tables
 */

/* The page table of @addr, or an errno if pages cannot be mapped there. */
static int uffd_fill_pmd(struct mm_struct *mm, unsigned long addr, pmd_t **pmdp)
{
	pmd_t pmdval;

	/* A walk is good for a whole page table. */
	if (!*pmdp || !(addr & ~PMD_MASK)) {
		*pmdp = mm_alloc_pmd(mm, addr);
		if (unlikely(!*pmdp))
			return -ENOMEM;
	}

	pmdval = pmdp_get_lockless(*pmdp);
	if (unlikely(pmd_none(pmdval))) {
		if (unlikely(__pte_alloc(mm, *pmdp)))
			return -ENOMEM;
		pmdval = pmdp_get_lockless(*pmdp);
	}
	/* A huge entry is in the way: what it maps is there. */
	if (unlikely(!pmd_present(pmdval) || pmd_trans_huge(pmdval) ||
		     pmd_devmap(pmdval)))
		return -EEXIST;
	if (unlikely(pmd_bad(pmdval)))
		return -EFAULT;
	return 0;
}

/*
 * How many of @nr pages from @addr lie inside of the mapped file. With the
 * page table lock held the answer stays true until the entries are written:
 * truncation sets the size first and takes that lock to zap afterwards.
 */
static long uffd_pages_in_file(struct vm_area_struct *vma, unsigned long addr,
			       long nr)
{
	pgoff_t end, index;

	if (!vma->vm_file)
		return nr;

	end = DIV_ROUND_UP(i_size_read(file_inode(vma->vm_file)), PAGE_SIZE);
	index = linear_page_index(vma, addr);
	return index < end ? min_t(pgoff_t, nr, end - index) : 0;
}

/* @n pages at the front of the range are done. */
static void uffd_fill_advance(struct uffd_fill *fill, long n)
{
	fill->addr += n << PAGE_SHIFT;
	fill->user += n << PAGE_SHIFT;
	fill->bounced = false;
}

/*
 * Map up to @nr pages of a folio, from page offset @index on. Stops at an
 * entry that is in use, and at the end of the file. A marker is not in use:
 * the page that it stood for was not there, and now is.
 *
 * Takes one reference for each page but the first, which gets the reference
 * that came with the folio.
 *
 * Return: pages mapped, at least 1; or an errno.
 */
static long uffd_map_folio(struct uffd_fill *fill, pmd_t *pmd,
			   struct folio *folio, pgoff_t index, long nr)
{
	struct page *page = folio_file_page(folio, index);
	struct vm_area_struct *vma = fill->vma;
	const unsigned long addr = fill->addr;
	struct mm_struct *mm = vma->vm_mm;
	const bool in_file = folio->mapping;
	spinlock_t *ptl;	/* of the page table */
	pte_t entry, *pte;
	long n = 0;

	entry = pte_mkdirty(mk_pte(page, vma->vm_page_prot));
	/* A private mapping may look at the file, but not write to it. */
	if ((vma->vm_flags & VM_WRITE) &&
	    (!in_file || (vma->vm_flags & VM_SHARED)))
		entry = pte_mkwrite(entry, vma);
	if (fill->flags & MFILL_ATOMIC_WP)
		entry = pte_mkuffd_wp(entry);

	pte = pte_offset_map_lock(mm, pmd, addr, &ptl);
	if (unlikely(!pte))
		return -EAGAIN;

	nr = uffd_pages_in_file(vma, addr, nr);
	while (n < nr && pte_none_mostly(ptep_get(pte + n)))
		n++;
	if (unlikely(!n)) {
		pte_unmap_unlock(pte, ptl);
		return nr ? -EEXIST : -EFAULT;
	}

	if (n > 1)
		folio_ref_add(folio, n - 1);
	if (in_file) {
		folio_add_file_rmap_ptes(folio, page, n, vma);
	} else {
		folio_add_new_anon_rmap(folio, vma, addr, RMAP_EXCLUSIVE);
		folio_add_lru_vma(folio, vma);
	}
	/* After rmap, which is what tells anonymous from file memory. */
	add_mm_counter(mm, mm_counter(folio), n);

	/* Nothing to flush: there was no entry before. */
	set_ptes(mm, addr, pte, entry, n);
	update_mmu_cache_range(NULL, vma, addr, pte, n);
	pte_unmap_unlock(pte, ptl);
	return n;
}

static pte_t uffd_special_entry(const struct uffd_fill *fill, unsigned long addr)
{
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		return make_pte_marker(PTE_MARKER_POISONED);
	return pte_mkspecial(pfn_pte(my_zero_pfn(addr),
				     fill->vma->vm_page_prot));
}

/*
 * Write up to @nr entries that need no folio. Unlike a page, neither the zero
 * page nor poison replaces a marker.
 *
 * Return: 0 if at least one was written; or an errno.
 */
static int uffd_fill_special(struct uffd_fill *fill, pmd_t *pmd, long nr)
{
	struct vm_area_struct *vma = fill->vma;
	unsigned long addr = fill->addr;
	spinlock_t *ptl;	/* of the page table */
	pte_t *pte;
	long n;

	pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (unlikely(!pte))
		return -EAGAIN;

	nr = uffd_pages_in_file(vma, addr, nr);
	for (n = 0; n < nr && pte_none(ptep_get(pte + n)); n++) {
		set_pte_at(vma->vm_mm, addr, pte + n,
			   uffd_special_entry(fill, addr));
		addr += PAGE_SIZE;
	}
	/* Nothing to flush: there was no entry before. */
	if (n)
		update_mmu_cache_range(NULL, vma, fill->addr, pte, n);
	pte_unmap_unlock(pte, ptl);

	if (unlikely(!n))
		return nr ? -EEXIST : -EFAULT;
	uffd_fill_advance(fill, n);
	return 0;
}

/*
 * The walk
 */

/*
 * Fill up to @nr pages, all below @pmd, with folios.
 *
 * Return: 0 if at least one was filled; or an errno, with fill->read_source
 * set if only the source was missing.
 */
static int uffd_fill_folios(struct uffd_fill *fill, pmd_t *pmd, long nr)
{
	const bool find = uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE);
	pgoff_t index = linear_page_index(fill->vma, fill->addr);
	const pgoff_t first = index, end = index + nr;
	struct uffd_source source = {
		.from_user = uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_COPY),
		.from = fill->user,
		.bounce = fill->bounced ? fill->bounce : NULL,
	};
	struct uffd_request req __uninitialized;
	unsigned int i;
	int err;

	uffd_init_resolve(&req, fill->vma, index, nr, find ? NULL : &source);
	err = uffd_resolve(fill->handler, &req);
	if (unlikely(err)) {
		fill->read_source = source.not_resident;
		/* CONTINUE of a hole has always been -EFAULT. */
		return err == -ENOENT ? -EFAULT : err;
	}

	for (i = 0; i < folio_batch_count(&req.resolve.folios); i++) {
		struct folio *folio = req.resolve.folios.folios[i];
		long want = min(end, folio_next_index(folio)) - index;
		long n = 0;

		/* Behind the first obstacle nothing is mapped any more. */
		if (likely(!err && want > 0)) {
			n = uffd_map_folio(fill, pmd, folio, index, want);
			if (unlikely(n < want))
				err = n < 0 ? n : -EEXIST;
		}
		if (likely(n > 0)) {
			folio_unlock(folio);
			uffd_fill_advance(fill, n);
			index += n;
		} else if (find) {
			uffd_release(folio);
		} else {
			uffd_undo(fill->handler, fill->vma, folio);
		}
	}
	return index > first ? 0 : err;
}

/* Is there a zero page for this mapping, that no file has to know of? */
static bool uffd_fill_zero_page(const struct uffd_fill *fill)
{
	return uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_ZEROPAGE) &&
	       fill->handler == uffd_anon_request &&
	       !mm_forbids_zeropage(fill->vma->vm_mm);
}

/* Fill from fill->addr to the end, as far as it goes. */
static int uffd_fill_walk(struct uffd_fill *fill)
{
	const bool special = uffd_fill_zero_page(fill) ||
			uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON);
	pmd_t *pmd = NULL;
	long nr;
	int err;

	while (fill->addr < fill->end) {
		err = uffd_fill_pmd(fill->vma->vm_mm, fill->addr, &pmd);
		if (unlikely(err))
			return err;

		nr = (pmd_addr_end(fill->addr, fill->end) - fill->addr) >>
		     PAGE_SHIFT;
		nr = min(nr, UFFD_FILL_RUN);
		if (special)
			err = uffd_fill_special(fill, pmd, nr);
		else
			err = uffd_fill_folios(fill, pmd, nr);
		if (unlikely(err))
			return err;

		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/*
 * Choose who finds or makes the folios, if the mapping can be filled like this
 * at all. What it is armed with has been asked at registration.
 */
static int uffd_fill_choose(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;
	vm_flags_t modes = VM_UFFD_MISSING;
	struct uffd_supported supported;

	fill->handler = uffd_handler(vma);
	if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_CONTINUE))
		modes = VM_UFFD_MINOR;
	else if (uffd_flags_mode_is(fill->flags, MFILL_ATOMIC_POISON))
		modes |= VM_UFFD_MINOR;
	else if (!(vma->vm_flags & VM_SHARED))
		/* As after a fault and copy-on-write, but at once. */
		fill->handler = uffd_anon_request;

	if (vma->vm_flags & modes)
		return 0;
	uffd_supported(vma, &supported);
	return supported.modes & modes ? 0 : -EINVAL;
}

/* Is this still the mapping that the fill began with? */
static bool uffd_fill_same(const struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;

	return vma->vm_file == fill->file &&
	       linear_page_index(vma, fill->start) == fill->pgoff &&
	       (vma->vm_flags & UFFD_FILL_VM_FLAGS) == fill->vm_flags;
}

static void uffd_fill_unlock(struct uffd_fill *fill)
{
	up_read(&fill->ctx->map_changing_lock);
	uffd_mfill_unlock(fill->vma);
	fill->vma = NULL;
}

/* Lock the mapping; the first time, see what it is. */
static int uffd_fill_lock(struct uffd_fill *fill, bool first)
{
	struct vm_area_struct *vma;
	int err;

	vma = uffd_mfill_lock(fill->ctx->mm, fill->start,
			      fill->end - fill->start);
	if (IS_ERR(vma))
		return PTR_ERR(vma);
	fill->vma = vma;

	/*
	 * If the layout of memory is changing (fork, mremap, ...) and its
	 * monitor has not heard of it yet, the address may mean another page
	 * by now: let the user try again later.
	 */
	down_read(&fill->ctx->map_changing_lock);
	err = -EAGAIN;
	if (atomic_read(&fill->ctx->mmap_changing))
		goto unlock;

	if (!first) {
		if (!uffd_fill_same(fill))
			goto unlock;
		return 0;
	}

	err = -EINVAL;
	/* Shared anonymous memory is shmem and has vm_ops. */
	if (WARN_ON_ONCE(vma_is_anonymous(vma) && (vma->vm_flags & VM_SHARED)))
		goto unlock;
	if ((fill->flags & MFILL_ATOMIC_WP) && !userfaultfd_wp(vma))
		goto unlock;
	if (is_vm_hugetlb_page(vma))
		return 0;
	err = uffd_fill_choose(fill);
	if (err)
		goto unlock;
	return 0;
unlock:
	uffd_fill_unlock(fill);
	return err;
}

/* Remember what the mapping is before its locks are dropped. */
static void uffd_fill_remember(struct uffd_fill *fill)
{
	struct vm_area_struct *vma = fill->vma;

	if (!fill->file && vma->vm_file)
		fill->file = get_file(vma->vm_file);
	fill->pgoff = linear_page_index(vma, fill->start);
	fill->vm_flags = vma->vm_flags & UFFD_FILL_VM_FLAGS;
}

/**
 * userfaultfd_fill() - COPY, ZEROPAGE, CONTINUE or POISON a range
 * @ctx: the userfaultfd.
 * @start: first address, a multiple of PAGE_SIZE.
 * @len: bytes, a multiple of PAGE_SIZE; the range does not wrap.
 * @user: user address of the content, with MFILL_ATOMIC_COPY.
 * @flags: the MFILL_ATOMIC_ mode and its options.
 *
 * Context: process context, no locks, ctx->mm is pinned.
 * Return: bytes filled, if any were; else -EAGAIN if the mapping changed or is
 * changing, -ENOENT if the range is not in one registered mapping, -EINVAL if
 * that cannot be filled like this, -EEXIST if a page is there already, -EFAULT
 * if the source is not readable, the file ends before, or there is nothing to
 * CONTINUE, -ENOMEM, -EIO, -EINTR.
 */
ssize_t userfaultfd_fill(struct userfaultfd_ctx *ctx, unsigned long start,
			 unsigned long len, unsigned long user,
			 uffd_flags_t flags)
{
	struct uffd_fill fill = {
		.ctx = ctx,
		.flags = flags,
		.start = start,
		.end = start + len,
		.addr = start,
		.user = (const char __user *)user,
	};
	bool first = true;
	int err;

	if (uffd_flags_mode_is(flags, MFILL_ATOMIC_CONTINUE)) {
		/*
		 * Whoever writes to the page cache and then calls CONTINUE may
		 * expect that who reads through the new entry sees it. Pairs
		 * with the dependency of that read on the entry.
		 */
		smp_wmb();
	}

	for (;;) {
		err = uffd_fill_lock(&fill, first);
		if (err)
			break;
		/* Has its own loop, which also unlocks. */
		if (is_vm_hugetlb_page(fill.vma))
			return mfill_atomic_hugetlb(ctx, fill.vma, start, user,
						    len, flags);
		first = false;

		err = uffd_fill_walk(&fill);
		if (fill.read_source)
			uffd_fill_remember(&fill);
		uffd_fill_unlock(&fill);
		if (!fill.read_source)
			break;

		err = uffd_fill_bounce(&fill);
		if (err)
			break;
	}

	if (fill.bounce)
		folio_put(fill.bounce);
	if (fill.file)
		fput(fill.file);
	return fill.addr > start ? fill.addr - start : err;
}
