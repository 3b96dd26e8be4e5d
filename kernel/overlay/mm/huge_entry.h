/* SPDX-License-Identifier: GPL-2.0 */
/*
 * huge_entry.h - page table entries of hugetlb, for the userfaultfd core
 *
 * The one seam between the two. What hugetlb has in common with other memory
 * it answers in ->userfaultfd_request(). What is left is here: its entries are
 * not found by an ordinary walk, have locks of their own, since tables of them
 * may be shared between processes, and are accounted in another way. Internal
 * to mm: no module has entries like these.
 *
 * Between huge_entry_begin() and huge_entry_end() two more locks are held, in
 * this order, inside of those of the mapping and outside of the folio lock:
 *
 *	fault mutex of the page		no fault or fill of it besides ours
 *	hugetlb's lock of the VMA	the table that the entry is in stays
 *
 * hugetlb's handler resolves only there.
 */
#ifndef _MM_HUGE_ENTRY_H
#define _MM_HUGE_ENTRY_H

#include <linux/hugetlb.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

/**
 * struct huge_entry - an entry and what has to be unlocked after its use
 * @vma: the mapping.
 * @h: the size of its pages.
 * @addr: the address that it maps, a multiple of the mapping's page size.
 * @pte: the entry.
 * @mutex: the fault mutex.
 */
struct huge_entry {
	struct vm_area_struct *vma;
	struct hstate *h;
	unsigned long addr;
	pte_t *pte;
	struct mutex *mutex;	/* of faults */
};

/* Does a mapping have entries of this kind? */
static inline bool vma_has_huge_entries(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma);
}

/* How many bytes an entry of the mapping maps. */
static inline unsigned long huge_entry_size(struct vm_area_struct *vma)
{
	return huge_page_size(hstate_vma(vma));
}

/* A mapping was registered: some modes rule out that tables are shared. */
static inline void huge_entry_armed(struct vm_area_struct *vma)
{
	if (vma_has_huge_entries(vma) && uffd_disable_huge_pmd_share(vma))
		hugetlb_unshare_all_pmds(vma);
}

#ifdef CONFIG_HUGETLB_PAGE
/* Unlock an entry. */
static inline void huge_entry_end(struct huge_entry *entry)
{
	hugetlb_vma_unlock_read(entry->vma);
	mutex_unlock(entry->mutex);
}

/**
 * huge_entry_begin() - lock an entry, and make it if need be
 * @entry: filled in.
 * @vma: the mapping, locked.
 * @addr: address, a multiple of @size.
 * @size: huge_entry_size() of @vma.
 *
 * Return: 0, or -ENOMEM and nothing is locked.
 */
static inline int huge_entry_begin(struct huge_entry *entry,
				   struct vm_area_struct *vma,
				   unsigned long addr, unsigned long size)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct hstate *h = hstate_vma(vma);
	pgoff_t index = linear_page_index(vma, addr) >> huge_page_order(h);
	u32 hash = hugetlb_fault_mutex_hash(mapping, index);

	entry->vma = vma;
	entry->h = h;
	entry->addr = addr;
	entry->mutex = &hugetlb_fault_mutex_table[hash];
	mutex_lock(entry->mutex);
	hugetlb_vma_lock_read(vma);

	/* One that is there need not be made, which could share its table. */
	entry->pte = hugetlb_walk(vma, addr, size);
	if (unlikely(!entry->pte))
		entry->pte = huge_pte_alloc(vma->vm_mm, vma, addr, size);
	if (likely(entry->pte))
		return 0;
	huge_entry_end(entry);
	return -ENOMEM;
}

bool huge_entry_free(struct huge_entry *entry, uffd_flags_t flags);
int huge_entry_poison(struct huge_entry *entry, uffd_flags_t flags);
int huge_entry_map(struct huge_entry *entry, struct folio *folio,
		   uffd_flags_t flags);
struct folio *huge_entry_spare(struct vm_area_struct *vma, unsigned long addr);
void huge_entry_wait_begin(struct vm_area_struct *vma);
void huge_entry_wait_end(struct vm_area_struct *vma);
bool huge_entry_must_wait(struct vm_fault *vmf, unsigned long reason);
#else
static inline int huge_entry_begin(struct huge_entry *entry,
				   struct vm_area_struct *vma,
				   unsigned long addr, unsigned long size)
{
	return -EINVAL;
}

static inline void huge_entry_end(struct huge_entry *entry)
{
}

static inline bool huge_entry_free(struct huge_entry *entry, uffd_flags_t flags)
{
	return false;
}

static inline int huge_entry_poison(struct huge_entry *entry, uffd_flags_t flags)
{
	return -EINVAL;
}

static inline int huge_entry_map(struct huge_entry *entry, struct folio *folio,
				 uffd_flags_t flags)
{
	return -EINVAL;
}

static inline struct folio *huge_entry_spare(struct vm_area_struct *vma,
					     unsigned long addr)
{
	return NULL;
}

static inline void huge_entry_wait_begin(struct vm_area_struct *vma)
{
}

static inline void huge_entry_wait_end(struct vm_area_struct *vma)
{
}

static inline bool huge_entry_must_wait(struct vm_fault *vmf,
					unsigned long reason)
{
	return false;
}
#endif

#endif /* _MM_HUGE_ENTRY_H */
