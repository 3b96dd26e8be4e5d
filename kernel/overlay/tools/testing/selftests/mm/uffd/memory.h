/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory types, and areas of memory to register.
 *
 * memory.c holds the table of all memory types. A new type is one entry there
 * and one declaration here.
 */
#ifndef UFFD_MEMORY_H
#define UFFD_MEMORY_H

#include "util.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>

/* The same bits mean the same size to memfd_create(), mmap() and shmget(). */
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB		(21U << 26)
#define MFD_HUGE_1GB		(30U << 26)
#endif
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB		(21U << 26)
#define MAP_HUGE_1GB		(30U << 26)
#endif
#ifndef SHM_HUGE_2MB
#define SHM_HUGE_2MB		(21U << 26)
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

#define LAB_T_SHARED	1U	/* MAP_SHARED */
#define LAB_T_FILE	2U	/* backed by a file: lab_mem.fd, lab_mem.alias */
#define LAB_T_HUGETLB	4U	/* from the pool of huge pages */
#define LAB_T_SYSV	8U	/* a segment: shmget() and shmat() */
#define LAB_T_SECRET	16U	/* of memfd_secret(): not readable by others */
#define LAB_T_NO_HOLES	32U	/* neither allocated nor punched by fallocate() */
#define LAB_T_FIXED	64U	/* a file whose size cannot change */

/**
 * struct lab_mem - one area of memory of some type
 * @area:	what the test registers; 2 MiB aligned, or to @page, with
 *		inaccessible memory on both sides so that it never merges with
 *		a neighbor
 * @alias:	second, shared mapping of the same file; NULL without a file
 * @len:	bytes of @area and of @alias
 * @page:	granule in bytes
 * @pages:	@len in units of @page
 * @fd:		the file, or -1
 * @flags:	LAB_T_*
 */
struct lab_mem {
	char *area;
	char *alias;
	size_t len;
	size_t page;
	size_t pages;
	int fd;
	unsigned int flags;
	/* private: */
	char *reserve;
	size_t reserve_len;
};

/**
 * struct lab_type - a memory type
 * @name:	for messages
 * @flags:	LAB_T_*
 * @file:	returns a new file of @len bytes, or -errno; NULL if the area is
 *		mapped without a file of its own
 * @map_flags:	mmap() flags besides MAP_SHARED or MAP_PRIVATE and MAP_FIXED;
 *		shmget() flags of a segment
 * @path:	file to map if @file is NULL; may be NULL
 * @page:	granule in bytes, 0 for LAB_PAGE
 */
struct lab_type {
	const char *name;
	unsigned int flags;
	int (*file)(size_t len);
	int map_flags;
	const char *path;
	size_t page;
};

/* Returns @fd after it was sized, or -errno of the open or of the sizing. */
int lab_sized(int fd, size_t len);

int lab_file_memfd(size_t len);
int lab_file_hugetlb(size_t len);
int lab_file_gigantic(size_t len);

/* Opened with O_TMPFILE: no file is left behind, however the test ends. */
int lab_file_tmpfs(size_t len);

/* On a file system of its own, which disappears with the file */
int lab_file_on(const char *fs, const char *options, size_t len);

int lab_file_thp(size_t len);
int lab_file_ramfs(size_t len);
int lab_file_secret(size_t len);

/*
 * Each open file has memory of its own, larger than any test needs. Loads the
 * module of samples/userfaultfd if necessary.
 */
int lab_file_sample(size_t len);

/*
 * What this kernel does not have, although it may support the type: NULL, or the
 * reason to skip a test
 */
const char *lab_lacking(const struct lab_type *t);
const char *lab_lacking_swap(void);

/* In a test of kselftest_harness.h: skips it for this reason, if there is one. */
#define LAB_SKIP_IF(lacking) do {					\
	const char *__lacking = (lacking);				\
									\
	if (__lacking)							\
		SKIP(return, "%s", __lacking);				\
} while (0)

#define LAB_SHMEM_SHARED	(LAB_T_SHARED | LAB_T_FILE)
#define LAB_HUGETLB_SHARED	(LAB_SHMEM_SHARED | LAB_T_HUGETLB)

extern const struct lab_type lab_anon;
extern const struct lab_type lab_memfd_shared, lab_memfd_private;
extern const struct lab_type lab_tmpfs_shared, lab_tmpfs_private;
extern const struct lab_type lab_huge_shared, lab_huge_private;
extern const struct lab_type lab_anon_shared, lab_zero_shared, lab_sysv;
extern const struct lab_type lab_hugetlb_shared, lab_hugetlb_private;
extern const struct lab_type lab_map_hugetlb_shared, lab_map_hugetlb_private;
extern const struct lab_type lab_noreserve_shared, lab_noreserve_private;
extern const struct lab_type lab_gigantic_shared, lab_gigantic_private;
extern const struct lab_type lab_sysv_hugetlb;
extern const struct lab_type lab_ramfs_shared, lab_ramfs_private;
extern const struct lab_type lab_sample_shared, lab_sample_private;
extern const struct lab_type lab_secretmem;

static inline bool lab_is_shared(const struct lab_mem *m)
{
	return m->flags & LAB_T_SHARED;
}

static inline bool lab_is_file(const struct lab_mem *m)
{
	return m->flags & LAB_T_FILE;
}

static inline bool lab_is_hugetlb(const struct lab_mem *m)
{
	return m->flags & LAB_T_HUGETLB;
}

static inline bool lab_is_secret(const struct lab_mem *m)
{
	return m->flags & LAB_T_SECRET;
}

/* Whether fallocate() and MADV_REMOVE work on the file */
static inline bool lab_has_holes(const struct lab_mem *m)
{
	return lab_is_file(m) && !(m->flags & LAB_T_NO_HOLES);
}

/* Whether ftruncate() works on the file, and stat() counts its blocks */
static inline bool lab_has_size(const struct lab_mem *m)
{
	return lab_is_file(m) && !(m->flags & LAB_T_FIXED);
}

/*
 * Maps memory of type @t: at @addr, in place of what is mapped there, or at an
 * address that the kernel chooses if @addr is NULL. MAP_FAILED and errno on
 * failure.
 */
void *lab_map(const struct lab_type *t, void *addr, size_t len, int fd);

void lab_mem_drop(struct lab_mem *m);

/* Makes @pages granules of memory of type @t; 0 or -errno. */
int lab_mem_make(struct lab_mem *m, const struct lab_type *t, size_t pages);

/* 512-byte blocks that the file of @m occupies, or -errno */
long lab_blocks(const struct lab_mem *m);

/* 4 KiB pages that the file of @m occupies */
static inline long lab_file_pages(const struct lab_mem *m)
{
	long blocks = lab_blocks(m);

	return blocks < 0 ? blocks : blocks * 512 / (long)LAB_PAGE;
}

#endif /* UFFD_MEMORY_H */
