/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pool of huge pages in tests of hugetlb: each test compares it with its
 * expected state, to the page, so that a page or a reservation that an error
 * path leaks or returns twice is detected.
 */
#ifndef UFFD_HUGETLB_H
#define UFFD_HUGETLB_H

#include "expect.h"

/* The control group of the test, which is a process of its own */
extern char group[LAB_CGROUP_LEN];

static inline struct lab_pool pool(const struct lab *l)
{
	return lab_pool(l->m.page, group);
}

/* @p after @pages were taken from it, @reserved of which were reserved before */
struct lab_pool taken(const struct lab *l, struct lab_pool p, long pages,
		      long reserved);

/* The pool of pages of @page_ bytes is as expected. */
#define EXPECT_POOL(page_, want_) do {					\
	struct lab_pool __want = (want_);				\
	struct lab_pool __is = lab_pool(page_, group);			\
	EXPECT_EQ(__want.total, __is.total);				\
	EXPECT_EQ(__want.free, __is.free);				\
	EXPECT_EQ(__want.reserved, __is.reserved);			\
	EXPECT_EQ(__want.surplus, __is.surplus);			\
	EXPECT_EQ(__want.charged, __is.charged);			\
	EXPECT_EQ(__want.charged_reserved, __is.charged_reserved);	\
} while (0)

/*
 * Reserves all pages of the pool that are not reserved yet, except @left pages,
 * until unhog().
 */
int hog(const struct lab *l, long left);

void unhog(void);

/* Removes granules from the file; the mappings stay. */
int punch_file(const struct lab *l, unsigned int first, unsigned int n);

static inline int arm(const struct lab *l, __u64 modes)
{
	return lab_register(l->uffd, l->m.area, l->m.len, modes, NULL);
}

/* Like LAB_FIXTURE(); checks that all pages are returned to the pool. */
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
		EXPECT_POOL(variant->type->page, self->start);		\
		lab_cgroup_leave(group);				\
	}

#endif /* UFFD_HUGETLB_H */
