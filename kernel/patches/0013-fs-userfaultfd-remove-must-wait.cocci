// From: Modular userfaultfd <uffd@localhost>
// Subject: fs/userfaultfd: remove what looked at page tables
//
// Whether a fault has to wait is seen in mm now.
//
// Files: fs/userfaultfd.c

@@
@@
- #include <linux/hugetlb.h>

@ function @
identifier f = { userfaultfd_pte_must_wait, userfaultfd_huge_must_wait };
type T;
@@
- T f(...) { ... }
