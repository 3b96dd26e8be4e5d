/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Groups of memory types, as variants of a fixture. A fixture has the group of
 * types that support what its tests need, so that no test skips a type.
 */
#ifndef UFFD_VARIANTS_H
#define UFFD_VARIANTS_H

#define LAB_VARIANT(fixture, kind)					\
	FIXTURE_VARIANT_ADD(fixture, kind) { .type = &lab_##kind }

#define LAB_SHMEM_SHARED_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, memfd_shared);				\
	LAB_VARIANT(fixture, tmpfs_shared);				\
	LAB_VARIANT(fixture, anon_shared);				\
	LAB_VARIANT(fixture, zero_shared);				\
	LAB_VARIANT(fixture, sysv)

#define LAB_SHMEM_PRIVATE_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, memfd_private);				\
	LAB_VARIANT(fixture, tmpfs_private)

#define LAB_SHMEM_VARIANTS(fixture)					\
	LAB_SHMEM_SHARED_VARIANTS(fixture);				\
	LAB_SHMEM_PRIVATE_VARIANTS(fixture)

#define LAB_HUGETLB_SHARED_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, hugetlb_shared);				\
	LAB_VARIANT(fixture, map_hugetlb_shared);			\
	LAB_VARIANT(fixture, sysv_hugetlb)

#define LAB_HUGETLB_PRIVATE_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, hugetlb_private);				\
	LAB_VARIANT(fixture, map_hugetlb_private)

#define LAB_HUGETLB_VARIANTS(fixture)					\
	LAB_HUGETLB_SHARED_VARIANTS(fixture);				\
	LAB_HUGETLB_PRIVATE_VARIANTS(fixture)

/* Memory in base pages */
#define LAB_BASE_VARIANTS(fixture)					\
	LAB_VARIANT(fixture, anon);					\
	LAB_SHMEM_VARIANTS(fixture)

/* Files whose size can change, in base pages; their private mappings */
#define LAB_SIZED_VARIANTS(fixture)					\
	LAB_SHMEM_VARIANTS(fixture)

#define LAB_PRIVATE_VARIANTS(fixture)					\
	LAB_SHMEM_PRIVATE_VARIANTS(fixture)

/* Files that are open, so that they can be mapped again */
#define LAB_OPENED_VARIANTS(fixture)					\
	LAB_SHMEM_PRIVATE_VARIANTS(fixture);				\
	LAB_VARIANT(fixture, memfd_shared);				\
	LAB_VARIANT(fixture, tmpfs_shared);				\
	LAB_VARIANT(fixture, hugetlb_shared);				\
	LAB_VARIANT(fixture, hugetlb_private)

/* Shared mappings of files, files, and everything */
#define LAB_SHARED_VARIANTS(fixture)					\
	LAB_SHMEM_SHARED_VARIANTS(fixture);				\
	LAB_HUGETLB_SHARED_VARIANTS(fixture)

#define LAB_FILE_VARIANTS(fixture)					\
	LAB_SHMEM_VARIANTS(fixture);					\
	LAB_HUGETLB_VARIANTS(fixture)

#define LAB_ALL_VARIANTS(fixture)					\
	LAB_VARIANT(fixture, anon);					\
	LAB_FILE_VARIANTS(fixture)

#endif /* UFFD_VARIANTS_H */
