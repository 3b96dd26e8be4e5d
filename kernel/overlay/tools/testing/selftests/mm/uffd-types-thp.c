// SPDX-License-Identifier: GPL-2.0
/*
 * Transparent huge pages of anonymous memory: filled whole or in part, split,
 * protected, moved and inherited by a child. Charges, also of those of shmem.
 */
#include "../kselftest_harness.h"
#include "uffd/huge.h"
#include <sys/wait.h>

/* An area with MADV_HUGEPAGE */
FIXTURE(thp) {
	struct lab l;
	char dir[LAB_CGROUP_LEN];	/* its control group, or "" */
};

FIXTURE_SETUP(thp)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, setup_huge(l, &lab_anon));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_HUGEPAGE));
}

FIXTURE_TEARDOWN(thp)
{
	lab_teardown(&self->l);
	lab_cgroup_leave(self->dir);
}

/*
 * Huge pages that were allocated as such. Those that khugepaged makes of base
 * pages are not counted: it may run between a fill and the check.
 */
static long thp_made(void)
{
	return lab_number("/proc/vmstat", "thp_fault_alloc ");
}

static long thp_mapped_kb(void)
{
	return lab_number("/proc/self/smaps_rollup", "AnonHugePages:");
}

TEST_F(thp, missing_by_page)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	for (i = 0; i < 4; i++) {
		EXPECT_FAULT(l, &t, page_at(l, i), i & 1, src_at(l, i)[0],
			     i & 1 ? UFFD_PAGEFAULT_FLAG_WRITE : 0);
		EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, i), src_at(l, i),
				      l->m.page, 0, NULL));
		EXPECT_TOUCHED(&t, src_at(l, i)[0]);
	}
	/* No collapse while there are holes; after the fill there are none. */
	EXPECT_EQ(-1, madvise(l->m.area, LAB_HUGE, MADV_COLLAPSE));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 4), 508 * l->m.page, 0,
				  NULL));
	EXPECT_FALSE(has_msg(l));
	EXPECT_TRUE(same_pages(l, 0, 4));
}

TEST_F(thp, fills_whole)
{
	struct lab *l = &self->l;
	const long made = thp_made(), mapped = thp_mapped_kb();
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 700) + 7, false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
			      LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_TOUCHED(&t, src_at(l, 700)[7]);
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));
	/* As one range, up to the first present page */
	EXPECT_FAULT(l, &t, page_at(l, 3), true, src_at(l, 3)[0],
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0,
				    &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(made + 2, thp_made());
	EXPECT_EQ(mapped + (long)l->m.len / 1024, thp_mapped_kb());
	src_at(l, 9)[9]++;
	page_at(l, 9)[9]++;
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));

	expect_present(_metadata, l);
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
}

/* Zapping one page leaves the others, in a page table. */
TEST_F(thp, taken_apart)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	char v;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 4)));
	ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_DONTNEED));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 4)));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(same_pages(l, 0, 5));
	EXPECT_TRUE(same_pages(l, 6, l->m.pages - 6));
	EXPECT_FALSE(has_msg(l));
	EXPECT_FAULT(l, &t, page_at(l, 5), true, 5, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, 5);

	/* After all of it was zapped, a huge page can be filled again. */
	ASSERT_EQ(0, madvise(page_at(l, 512), LAB_HUGE, MADV_DONTNEED));
	EXPECT_FAULT(l, &t, page_at(l, 600), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
			      LAB_HUGE, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 600)[0]);
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(same_pages(l, 512, 512));
	ASSERT_EQ(0, madvise(page_at(l, 512), LAB_HUGE, MADV_DONTNEED));
	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 600), l->m.page, 0, NULL));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 600), false, &v, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 601), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 601), src_at(l, 601),
			      l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 601)[0]);
	EXPECT_FALSE(has_msg(l));
}

/* All of a huge page can be protected as one; for a part it is split. */
TEST_F(thp, protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));

	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), 2 * l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 5), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, write_byte(page_at(l, 2), src_at(l, 2)[0]));
	EXPECT_EQ(0, write_byte(page_at(l, 5), src_at(l, 5)[0]));
	EXPECT_FALSE(has_msg(l));
	EXPECT_FAULT(l, &t, page_at(l, 3), true, src_at(l, 3)[0],
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);

	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 512), LAB_HUGE,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(lab_pm(page_at(l, 601), LAB_PM_UFFD_WP));
	EXPECT_FAULT(l, &t, page_at(l, 600), true, src_at(l, 600)[0],
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 600), l->m.page, 0));
	EXPECT_TOUCHED(&t, src_at(l, 600)[0]);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(lab_pm(page_at(l, 601), LAB_PM_UFFD_WP));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));
}

/* MOVE of the whole huge page, or of one page of it */
TEST_F(thp, moves)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	struct lab_mem to;
	__s64 done;

	ASSERT_EQ(0, lab_mem_make(&to, &lab_anon, l->m.pages));
	ASSERT_EQ(0, lab_register(l->uffd, to.area, to.len, LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));

	EXPECT_EQ(0, lab_move(l->uffd, to.area, l->m.area, LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_TRUE(lab_mapped_whole(to.area));
	EXPECT_EQ(0, memcmp(to.area, l->src, LAB_HUGE));
	EXPECT_FAULT(l, &t, page_at(l, 7), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, LAB_HUGE, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 7)[0]);
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));

	EXPECT_EQ(0, lab_move(l->uffd, to.area + LAB_HUGE, page_at(l, 515),
			      l->m.page, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(same_at(l, to.area + LAB_HUGE, 515));
	EXPECT_FAULT(l, &t, page_at(l, 515), true, 3,
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 515), src_at(l, 515),
			      l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 3);
	page_at(l, 515)[0] = src_at(l, 515)[0];
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));
	lab_mem_drop(&to);
}

/* A child shares it, until one of the two writes. */
TEST_F(thp, forked)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	int status = -1;
	pid_t pid;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!same_pages(l, 0, l->m.pages))
			_exit(1);
		page_at(l, 3)[0]++;
		src_at(l, 3)[0]++;
		_exit(same_pages(l, 0, l->m.pages) ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_EQ(0, write_byte(page_at(l, 3), src_at(l, 3)[0]));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));
	ASSERT_EQ(0, madvise(page_at(l, 3), l->m.page, MADV_DONTNEED));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
}

TEST_F(thp, fills_not_whole)
{
	struct lab *l = &self->l;
	const long made = thp_made();
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
			      511 * l->m.page, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	/* As long as a huge page, but a part of two of them */
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 511), src_at(l, 511),
			      LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(same_pages(l, 0, 1023));
	EXPECT_FAULT(l, &t, page_at(l, 1023), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1023), src_at(l, 1023),
			      l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 1023)[0]);
	EXPECT_EQ(made, thp_made());
}

/* The page table of a former page is still there. */
TEST_F(thp, fills_a_table)
{
	struct lab *l = &self->l;
	const long made = thp_made();

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 515), l->src, l->m.page, 0,
			      NULL));
	ASSERT_EQ(0, madvise(page_at(l, 515), l->m.page, MADV_DONTNEED));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
			      LAB_HUGE, 0, NULL));
	EXPECT_TRUE(same_pages(l, 512, 512));
	EXPECT_EQ(made, thp_made());
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), LAB_HUGE,
			      0, NULL));
	EXPECT_EQ(made + 1, thp_made());
}

/* Cases for base pages: write protection is requested, or no huge pages */
TEST_F(thp, fills_small_on_request)
{
	struct lab *l = &self->l;
	const long made = thp_made();
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, madvise(page_at(l, 512), LAB_HUGE, MADV_NOHUGEPAGE));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), LAB_HUGE,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 511), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
			      LAB_HUGE, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(made, thp_made());
	EXPECT_FAULT(l, &t, page_at(l, 3), true, src_at(l, 3)[0],
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));
}

/*
 * A control group with room for the first pages, but for no huge page, gets
 * base pages. The source ends after them, so that nothing must be reclaimed.
 */
TEST_F(thp, fills_small_if_limited)
{
	static const char fallbacks[] = "thp_fault_fallback_charge ";
	const long failed = lab_number("/proc/vmstat", fallbacks);
	struct lab *l = &self->l;
	const size_t part = 100 * l->m.page;
	char limit[32];
	__s64 done;
	long all;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_cgroup_enter(self->dir));
	all = lab_cgroup_number(self->dir, "memory.current", "");
	ASSERT_LE(0, all);
	snprintf(limit, sizeof(limit), "%ld", all + (long)LAB_HUGE / 2);
	ASSERT_EQ(0, lab_write(self->dir, "memory.max", limit));
	ASSERT_EQ(0, mprotect(l->src + part, l->m.len - part, PROT_NONE));
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, l->m.area, l->src, LAB_HUGE, 0,
				    &done));
	EXPECT_EQ((__s64)part, done);
	EXPECT_EQ(failed + 1, lab_number("/proc/vmstat", fallbacks));
	EXPECT_FALSE(lab_mapped_whole(l->m.area));
	EXPECT_TRUE(same_pages(l, 0, 100));
}

TEST_F(thp, fills_from_absent)
{
	const long made = thp_made();

	fill_from_absent(_metadata, &self->l, true);
	EXPECT_EQ(made + 1, thp_made());
}

/* Zeroes need no memory: the zero page is mapped. */
TEST_F(thp, zeropage_by_page)
{
	struct lab *l = &self->l;
	const long made = thp_made(), mapped = thp_mapped_kb();
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_zeropage(l->uffd, l->m.area, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_EQ(made, thp_made());
	EXPECT_EQ(mapped, thp_mapped_kb());
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0));
}

/* The charges of huge pages */

FIXTURE(memcg_huge) {
	struct lab l;
	char dir[LAB_CGROUP_LEN];
};

FIXTURE_VARIANT(memcg_huge) {
	const struct lab_type *type;
	const char *keys[2];
};

FIXTURE_VARIANT_ADD(memcg_huge, anon) {
	.type = &lab_anon, .keys = { "anon ", "anon_thp " } };
FIXTURE_VARIANT_ADD(memcg_huge, shmem) {
	.type = &lab_huge_shared, .keys = { "shmem ", "shmem_thp " } };

FIXTURE_SETUP(memcg_huge)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, setup_huge(l, variant->type));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_HUGEPAGE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_cgroup_enter(self->dir));
}

FIXTURE_TEARDOWN(memcg_huge)
{
	lab_teardown(&self->l);
	lab_cgroup_leave(self->dir);
}

TEST_F(memcg_huge, charged_once)
{
	struct lab *l = &self->l;
	unsigned long i, n = lab_scale(2000);
	long before[2], all;

#define CHARGED(i) lab_cgroup_number(self->dir, "memory.stat", variant->keys[i])
#define ALL() lab_cgroup_number(self->dir, "memory.current", "")
	/* The first reading itself needs memory. */
	for (i = 0; i < 4; i++)
		before[i % 2] = CHARGED(i % 2);
	ASSERT_LE(0, before[0]);
	ASSERT_LE(0, before[1]);
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(before[0] + (long)l->m.len, CHARGED(0));
	EXPECT_EQ(before[1] + (long)l->m.len, CHARGED(1));
	for (i = 0; i < n; i++) {
		ASSERT_EQ(-EEXIST, lab_copy(l->uffd,
					    page_at(l, i % l->m.pages), l->src,
					    l->m.page, 0, NULL));
	}
	EXPECT_EQ(before[0] + (long)l->m.len, CHARGED(0));
	EXPECT_EQ(before[1] + (long)l->m.len, CHARGED(1));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, lab_is_shared(&l->m) ?
			     MADV_REMOVE : MADV_DONTNEED));
	EXPECT_EQ(before[0], CHARGED(0));
	EXPECT_EQ(before[1], CHARGED(1));

	/* Without content no page is added, and the allocated page is freed. */
	all = ALL();
	ASSERT_LE(0, all);
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(-EFAULT, lab_copy(l->uffd, l->m.area, NULL, LAB_HUGE,
					    0, NULL));
	}
	EXPECT_LT(ALL() - all, 4 * (long)LAB_HUGE);
	EXPECT_EQ(before[0], CHARGED(0));
#undef ALL
#undef CHARGED
}

TEST_HARNESS_MAIN
