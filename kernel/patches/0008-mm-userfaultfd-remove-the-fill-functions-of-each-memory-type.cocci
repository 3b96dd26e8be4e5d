// From: Modular userfaultfd <uffd@localhost>
// Subject: mm/userfaultfd: remove the fill functions of each memory type
//
// COPY, ZEROPAGE, CONTINUE and POISON call vm_ops->userfaultfd_request()
// since the previous patch. Remove mfill_atomic*(), shmem_mfill_atomic_pte(),
// hugetlb_mfill_atomic_pte() and alloc_hugetlb_folio_vma(), which have no
// caller any more.
//
// Files: mm/userfaultfd.c mm/shmem.c mm/hugetlb.c
// Files: include/linux/userfaultfd_k.h include/linux/hugetlb.h

@ function @
identifier f = {
	mfill_file_over_size, mfill_atomic_install_pte,
	mfill_atomic_pte_copy, mfill_atomic_pte_zeroed_folio,
	mfill_atomic_pte_zeropage, mfill_atomic_pte_continue,
	mfill_atomic_pte_poison, mfill_atomic_pte, mfill_atomic,
	mfill_atomic_copy, mfill_atomic_zeropage,
	mfill_atomic_continue, mfill_atomic_poison,
	shmem_mfill_atomic_pte, mfill_atomic_hugetlb,
	hugetlb_mfill_atomic_pte, alloc_hugetlb_folio_vma };
type T;
@@
- T f(...) { ... }

@ prototype @
identifier f = {
	mfill_atomic_install_pte, mfill_atomic_copy,
	mfill_atomic_zeropage, mfill_atomic_continue,
	mfill_atomic_poison, mfill_atomic_hugetlb,
	hugetlb_mfill_atomic_pte };
type T;
@@
- T f(...);
