/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hugetlb.h - what the userfaultfd core calls hugetlb by name for
 *
 * Like other types, hugetlb answers ->userfaultfd_request(). In addition, its
 * entries need the functions below: they are not reached by an ordinary walk,
 * have locks of their own, since their tables may be shared between processes,
 * and are accounted separately.
 */
#ifndef _MM_USERFAULTFD_HUGETLB_H
#define _MM_USERFAULTFD_HUGETLB_H

#include <linux/hugetlb.h>
#include <linux/userfaultfd_k.h>

struct uffd_fill;

/* Is it a mapping of hugetlb? */
static inline bool uffd_is_hugetlb(struct vm_area_struct *vma)
{
	return is_vm_hugetlb_page(vma);
}

/* The page size of a mapping of hugetlb, in bytes. */
static inline unsigned long uffd_hugetlb_size(struct vm_area_struct *vma)
{
	return huge_page_size(hstate_vma(vma));
}

/* A mapping was registered: some modes do not allow shared page tables. */
static inline void uffd_hugetlb_registered(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma) && uffd_disable_huge_pmd_share(vma))
		hugetlb_unshare_all_pmds(vma);
}

#ifdef CONFIG_HUGETLB_PAGE
int uffd_hugetlb_fill(struct uffd_fill *fill);
struct folio *uffd_hugetlb_spare(struct vm_area_struct *vma, unsigned long addr);
void uffd_hugetlb_wait_begin(struct vm_area_struct *vma);
void uffd_hugetlb_wait_end(struct vm_area_struct *vma);
bool uffd_hugetlb_must_wait(struct vm_fault *vmf, unsigned long reason);
#else
static inline int uffd_hugetlb_fill(struct uffd_fill *fill)
{
	return -EINVAL;
}

static inline struct folio *uffd_hugetlb_spare(struct vm_area_struct *vma,
					       unsigned long addr)
{
	return NULL;
}

static inline void uffd_hugetlb_wait_begin(struct vm_area_struct *vma)
{
}

static inline void uffd_hugetlb_wait_end(struct vm_area_struct *vma)
{
}

static inline bool uffd_hugetlb_must_wait(struct vm_fault *vmf,
					  unsigned long reason)
{
	return false;
}
#endif

#endif /* _MM_USERFAULTFD_HUGETLB_H */
