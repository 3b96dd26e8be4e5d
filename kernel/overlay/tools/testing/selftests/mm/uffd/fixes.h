/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the regression tests of userfaultfd, ../uffd-fixes-*.c, share: the modes
 * that a mapping is registered with, an access that may be reported, and one
 * fixture of stock memory types.
 */
#ifndef UFFD_FIXES_H
#define UFFD_FIXES_H

#include "lab.h"

#define PAGES		4
#define TOUCH_MS	5000	/* longer than an access without a fault */
#define WP_ON		UFFDIO_WRITEPROTECT_MODE_WP

/* The modes that the mapping of @addr is armed with, as smaps shows them */
int armed_modes(const void *addr);

static inline bool entry_wp(const void *addr)
{
	return lab_pm(addr, LAB_PM_UFFD_WP);
}

/* The result of an access: 0 it succeeded, 1 it was reported in @msg */
int touch_or_msg(int uffd, struct lab_touch *t, struct uffd_msg *msg);

/* Anonymous memory, or MAP_FAILED; @flags: for mmap() */
void *anon_pages(size_t pages, int flags);

/* The fixture "memory": an area of each memory type, and two userfaultfds */
#define MEMORY_FIXTURE()						\
	FIXTURE(memory)							\
	{								\
		struct lab_mem m;					\
		char *src;	/* PAGES granules to copy from */	\
		int uffd;						\
		int other;	/* a second userfaultfd */		\
	};								\
	FIXTURE_VARIANT(memory)						\
	{								\
		const struct lab_type *type;				\
	};								\
	FIXTURE_VARIANT_ADD(memory, anon) { .type = &lab_anon };	\
	FIXTURE_VARIANT_ADD(memory, memfd_shared) {			\
		.type = &lab_memfd_shared };				\
	FIXTURE_VARIANT_ADD(memory, memfd_private) {			\
		.type = &lab_memfd_private };				\
	FIXTURE_VARIANT_ADD(memory, hugetlb_shared) {			\
		.type = &lab_hugetlb_shared };				\
	FIXTURE_VARIANT_ADD(memory, hugetlb_private) {			\
		.type = &lab_hugetlb_private };				\
	FIXTURE_SETUP(memory)						\
	{								\
		int err;						\
									\
		lab_catch_signals();					\
		self->uffd = lab_uffd_open(				\
				UFFD_FEATURE_PAGEFAULT_FLAG_WP |	\
				UFFD_FEATURE_WP_HUGETLBFS_SHMEM |	\
				UFFD_FEATURE_WP_UNPOPULATED);		\
		ASSERT_GE(self->uffd, 0);				\
		self->other = lab_uffd_open(				\
				UFFD_FEATURE_PAGEFAULT_FLAG_WP);	\
		ASSERT_GE(self->other, 0);				\
		err = lab_mem_make(&self->m, variant->type, PAGES);	\
		if (err == -ENOMEM && variant->type->flags & LAB_T_HUGETLB) \
			SKIP(return, "too few huge pages in the pool"); \
		ASSERT_EQ(0, err);					\
		self->src = mmap(NULL, self->m.len,			\
				 PROT_READ | PROT_WRITE,		\
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);	\
		ASSERT_NE(MAP_FAILED, self->src);			\
		lab_fill(self->src, self->m.len, 1);			\
	}								\
	FIXTURE_TEARDOWN(memory)					\
	{								\
		/* Wakes threads that still wait for a fault. */	\
		close(self->uffd);					\
		close(self->other);					\
		if (self->src)						\
			munmap(self->src, self->m.len);			\
		lab_mem_drop(&self->m);					\
	}

#endif /* UFFD_FIXES_H */
