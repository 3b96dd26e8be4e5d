// From: Modular userfaultfd <uffd@localhost>
// Subject: fs/userfaultfd: remove the must_wait helpers
//
// mm now checks whether a fault still has to wait. Remove
// userfaultfd_pte_must_wait() and userfaultfd_huge_must_wait(), which have no
// caller any more, and the include of hugetlb.h that only they needed.
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
