/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - names of Linux 7.3 for what they are in 6.12
 *
 * For 6.12 only: the files of this directory are written for mainline, and the
 * Makefile includes this file before each of them.
 */
#ifndef _MM_USERFAULTFD_COMPAT_H
#define _MM_USERFAULTFD_COMPAT_H

#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swapops.h>

/* Namespaces of exported symbols are strings. */
#undef EXPORT_SYMBOL_NS_GPL
#define EXPORT_SYMBOL_NS_GPL(sym, ns)	__EXPORT_SYMBOL(sym, "GPL", ns)

/* Whether the folio is huge is not an argument. */
#undef vma_alloc_folio
#define vma_alloc_folio(gfp, order, vma, addr)				\
	alloc_hooks(vma_alloc_folio_noprof(gfp, order, vma, addr, (order) > 0))

/* The memory policy is an argument; NULL is that of the task. */
#undef filemap_alloc_folio
#define filemap_alloc_folio(gfp, order, policy)				\
	alloc_hooks(filemap_alloc_folio_noprof(gfp, order))

#define alloc_pages_bulk(gfp, nr, array)				\
	alloc_pages_bulk_array(gfp, nr, array)

#define zero_pfn(addr)			my_zero_pfn(addr)

/* The bit is shared with RWP, so its name has no WP. */
#define pte_mkuffd(pte)			pte_mkuffd_wp(pte)
#define huge_pte_mkuffd(pte)		huge_pte_mkuffd_wp(pte)

/* 6.12 has no other markers. */
#define pte_is_uffd_marker(pte)		is_pte_marker(pte)
#define pte_is_uffd_wp_marker(pte)	pte_marker_uffd_wp(pte)

#define folio_mk_pmd(folio, prot)	mk_huge_pmd(&(folio)->page, prot)
#define do_set_pmd(vmf, folio, page)	do_set_pmd(vmf, page)
#define TVA_PAGEFAULT			(TVA_IN_PF | TVA_ENFORCE_SYSFS)

#define mapping_rmap_tree_foreach(vma, mapping, first, last)		\
	vma_interval_tree_foreach(vma, &(mapping)->i_mmap, first, last)

#endif
