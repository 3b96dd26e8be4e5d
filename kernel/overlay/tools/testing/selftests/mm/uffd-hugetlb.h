/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of hugetlb share: the pool of huge pages, to the page, before
 * and after whatever is done. A page or a reservation that an error path keeps
 * or gives back twice shows at once.
 */
#ifndef UFFD_HUGETLB_H
#define UFFD_HUGETLB_H

#include "uffd-calls.h"

/* The control group of the test, which is a process of its own */
static char group[LAB_CGROUP_LEN];

static inline struct lab_pool pool(const struct lab *l)
{
	return lab_pool(l->m.page, group);
}

/* @p after @pages were taken from it, @reserved of which were promised before */
static inline struct lab_pool taken(const struct lab *l, struct lab_pool p,
				    long pages, long reserved)
{
	p.free -= pages;
	p.reserved -= reserved;
	p.charged += pages * l->m.page;
	p.charged_reserved += (pages - reserved) * l->m.page;
	return p;
}

#define EXPECT_POOL_OF(page_, want_) do {				\
	struct lab_pool __want = (want_);				\
	struct lab_pool __is = lab_pool(page_, group);			\
	EXPECT_EQ(__want.total, __is.total);				\
	EXPECT_EQ(__want.free, __is.free);				\
	EXPECT_EQ(__want.reserved, __is.reserved);			\
	EXPECT_EQ(__want.surplus, __is.surplus);			\
	EXPECT_EQ(__want.charged, __is.charged);			\
	EXPECT_EQ(__want.charged_reserved, __is.charged_reserved);	\
} while (0)

#define EXPECT_POOL(l, want)	EXPECT_POOL_OF((l)->m.page, want)

/* Whatever the statements do, the pool is as it was. */
#define EXPECT_KEEPS_POOL(l, ...) do {					\
	struct lab_pool __before = pool(l);				\
	__VA_ARGS__;							\
	EXPECT_POOL(l, __before);					\
} while (0)

static void *hogged;
static size_t hogged_len;

/*
 * Reserves all of the pool that nobody has a reservation for, but @left pages,
 * until unhog().
 */
static inline int hog(const struct lab *l, long left)
{
	struct lab_pool p = pool(l);
	long n = p.free - p.reserved - left;
	int size = l->m.page == LAB_GIGANTIC ? MAP_HUGE_1GB : MAP_HUGE_2MB;
	void *all;

	if (n <= 0)
		return n ? -ENOMEM : 0;
	all = mmap(NULL, n * l->m.page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_HUGETLB | size, -1, 0);
	if (all == MAP_FAILED)
		return -errno;
	hogged = all;
	hogged_len = n * l->m.page;
	return 0;
}

static inline void unhog(void)
{
	if (hogged)
		munmap(hogged, hogged_len);
	hogged = NULL;
}

/* Without the pages behind it; the mappings stay. */
static inline int punch(const struct lab *l, unsigned int first,
			unsigned int n)
{
	return fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 first * l->m.page, n * l->m.page) ? -errno : 0;
}

static inline int arm(const struct lab *l, __u64 modes)
{
	return lab_register(l->uffd, l->m.area, l->m.len, modes, NULL);
}

/* Like LAB_FIXTURE(), and what is taken from the pool is given back. */
#define HUGETLB_FIXTURE(fixture)					\
	FIXTURE_VARIANT(fixture)					\
	{								\
		const struct lab_type *type;				\
	};								\
	FIXTURE(fixture)						\
	{								\
		struct lab l;						\
		struct lab_pool start;					\
	};								\
	FIXTURE_SETUP(fixture)						\
	{								\
		ASSERT_EQ(0, lab_cgroup_enter(group));			\
		self->start = lab_pool(variant->type->page, group);	\
		ASSERT_LT(0, self->start.free);				\
		ASSERT_LE(0, self->start.charged);			\
		ASSERT_EQ(0, lab_setup(&self->l, variant->type));	\
	}								\
	FIXTURE_TEARDOWN(fixture)					\
	{								\
		lab_teardown(&self->l);					\
		unhog();						\
		EXPECT_POOL_OF(variant->type->page, self->start);	\
		lab_cgroup_leave(group);				\
	}

#endif /* UFFD_HUGETLB_H */
