/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Areas of two huge pages, and fills of them.
 */
#ifndef UFFD_HUGE_H
#define UFFD_HUGE_H

#include "fixture.h"

/* Area, second mapping and source have two huge pages each. */
static inline int setup_huge(struct lab *l, const struct lab_type *type)
{
	return lab_setup_pages(l, type, 2 * LAB_HUGE / LAB_PAGE);
}

/* Whether granules [first, first + n) of the area equal those of the source */
static inline bool same_pages(const struct lab *l, unsigned int first,
			      unsigned int n)
{
	return !memcmp(page_at(l, first), src_at(l, first), n * l->m.page);
}

/*
 * Two huge pages from a source that is not accessible, then from one that was
 * never touched, and from one that ends at its page 300. Here and not in a C file,
 * since a failure reports the line of a check.
 */
static inline void fill_from_absent(struct __test_metadata *_metadata,
				    struct lab *l, bool whole)
{
	const size_t part = 300 * LAB_PAGE;
	static struct lab_touch t;
	__s64 done;
	char *from;

	from = mmap(NULL, LAB_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	ASSERT_NE(MAP_FAILED, from);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, l->m.area, from, LAB_HUGE, 0,
				    &done));
	EXPECT_EQ(-EFAULT, done);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));

	ASSERT_EQ(0, mprotect(from, LAB_HUGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, from, LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_all(l->m.area, LAB_HUGE, 0));

	memcpy(from, src_at(l, 512), part);
	ASSERT_EQ(0, munmap(from + part, LAB_HUGE - part));
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, page_at(l, 512), from, LAB_HUGE, 0,
				    &done));
	EXPECT_EQ((__s64)part, done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(same_pages(l, 512, 300));
	EXPECT_FAULT(l, &t, page_at(l, 812), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 812), src_at(l, 812),
			      l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 812)[0]);
	EXPECT_FALSE(has_msg(l));
	munmap(from, part);
}

/* Each fill of a page in the first huge page, which is present, fails. */
static inline void expect_present(struct __test_metadata *_metadata,
				  struct lab *l)
{
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, l->m.area, l->src, LAB_HUGE, 0,
				    NULL));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 5), l->src, l->m.page,
				    0, NULL));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 5), l->m.page, 0,
					NULL));
	EXPECT_EQ(-EEXIST, lab_poison(l->uffd, page_at(l, 5), l->m.page, 0,
				      NULL));
}

#endif /* UFFD_HUGE_H */
