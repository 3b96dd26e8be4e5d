/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every kind of mapping that a process can have: the memory types of memory.c,
 * and variations and special mappings, which userfaultfd mostly rejects.
 */
#ifndef UFFD_MAPPINGS_H
#define UFFD_MAPPINGS_H

#include "lab.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE	0x08
#endif

#define SMALL	(2 * LAB_PAGE)
#define RW	(PROT_READ | PROT_WRITE)

struct mapping {
	void *addr;
	size_t len;
};

/**
 * struct mapping_kind - how one kind of mapping is made
 * @name:	in the table of uffd-table and as a variant of fixtures
 * @type:	memory type to map, or NULL
 * @make:	maps it if @type is NULL; 0 or -errno
 * @is_found:	an area that the kernel mapped: it is not made and stays
 */
struct mapping_kind {
	const char *name;
	const struct lab_type *type;
	int (*make)(struct mapping *m);
	bool is_found;
};

/* X(name) for each kind, in the order of the table */
#define MAPPING_KINDS(X)						\
	X(anon_private)							\
	X(anon_none)							\
	X(anon_locked)							\
	X(anon_growsdown)						\
	X(anon_shared)							\
	X(memfd_shared)							\
	X(memfd_private)						\
	X(memfd_rdonly)							\
	X(memfd_rdonly_private)						\
	X(memfd_sealed)							\
	X(tmpfs_shared)							\
	X(tmpfs_private)						\
	X(zero_shared)							\
	X(zero_private)							\
	X(hugetlb_memfd_shared)						\
	X(hugetlb_memfd_private)					\
	X(hugetlb_anon_shared)						\
	X(hugetlb_anon_private)						\
	X(sysv)								\
	X(sysv_rdonly)							\
	X(sysv_hugetlb)							\
	X(ramfs_shared)							\
	X(ramfs_private)						\
	X(secretmem)							\
	X(block_device)							\
	X(droppable)							\
	X(pfn_mem)							\
	X(pfn_vvar)							\
	X(kernel_vdso)							\
	X(perf_ring)							\
	X(uring)

#define MAPPING_INDEX(name)	MAPPING_##name,
enum { MAPPING_KINDS(MAPPING_INDEX) NR_MAPPING_KINDS };
#undef MAPPING_INDEX

extern const struct mapping_kind mapping_kinds[NR_MAPPING_KINDS];

/*
 * Makes a mapping; 0 or -errno. Its file is closed: only mounts remain, and they
 * disappear with their last file.
 */
int mapping_make(struct mapping *m, const struct mapping_kind *kind);

void mapping_drop(struct mapping *m, const struct mapping_kind *kind);

#endif /* UFFD_MAPPINGS_H */
