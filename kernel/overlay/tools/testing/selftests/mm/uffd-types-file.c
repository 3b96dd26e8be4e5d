// SPDX-License-Identifier: GPL-2.0
/*
 * Fills as seen in files and counters, and huge pages of shmem and of anonymous
 * memory.
 *
 * The kernel checks the counters of a process (RssAnon and so on) when the
 * process exits: after a fill that counts wrongly it logs "Bad rss-counter
 * state", which fails the boot of the test machine.
 */
#include "../kselftest_harness.h"
#include "uffd/fixture.h"
#include <sys/mount.h>
#include <sys/wait.h>

/* 4 KiB pages that the file of @m occupies */
static long file_pages(const struct lab_mem *m)
{
	long blocks = lab_blocks(m);

	return blocks < 0 ? blocks : blocks * 512 / (long)LAB_PAGE;
}

LAB_FIXTURE(shared);
LAB_SHMEM_SHARED_VARIANTS(shared);

/* Every way to fill and to fail, and the pages that the file has after each */
TEST_F(shared, blocks)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_EQ(0, file_pages(&l->m));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, 2 * page, 0,
			      NULL));
	EXPECT_EQ(2, file_pages(&l->m));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 2), 2 * page, 0, NULL));
	EXPECT_EQ(4, file_pages(&l->m));
	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 4), page, 0, NULL));
	EXPECT_EQ(4, file_pages(&l->m));

	/* Occupied, no source, no page, beyond the end */
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 0), l->src, page, 0,
				    NULL));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 1), page, 0,
					NULL));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 5), NULL, page, 0,
				    NULL));
	EXPECT_EQ(-EFAULT, lab_continue(l->uffd, page_at(l, 5), page, 0,
					NULL));
	ASSERT_EQ(0, ftruncate(l->m.fd, 6 * page));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 6), l->src, page, 0,
				    NULL));
	EXPECT_EQ(-EFAULT, lab_zeropage(l->uffd, page_at(l, 6), page, 0,
					NULL));
	EXPECT_EQ(4, file_pages(&l->m));

	/* In the file, not mapped */
	memcpy(alias_at(l, 5), l->src, page);
	EXPECT_EQ(5, file_pages(&l->m));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 5), l->src, page, 0,
				    NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), page, 0, NULL));
	EXPECT_EQ(5, file_pages(&l->m));

	ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, page, page));
	EXPECT_EQ(4, file_pages(&l->m));
	ASSERT_EQ(0, ftruncate(l->m.fd, 0));
	EXPECT_EQ(0, file_pages(&l->m));
}

/*
 * Fills that fail, thousands of times. One leaked page per round would be twice
 * the amount by which free memory may change for other reasons.
 */
TEST_F(shared, failures_leak_nothing)
{
	struct lab *l = &self->l;
	unsigned long i, n = lab_scale(3000);
	size_t page = l->m.page;
	long shmem, free;
	char *hole;

	/* Never present: every copy from it takes the path without locks. */
	hole = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, hole);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, ftruncate(l->m.fd, 7 * page));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, page, 0, NULL));
	shmem = lab_number("/proc/meminfo", "Shmem:");
	free = lab_number("/proc/meminfo", "MemFree:");
	ASSERT_LE(0, shmem);
	ASSERT_LE(0, free);
	for (i = 0; i < n; i++) {
		ASSERT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 0), l->src,
					    page, 0, NULL));
		ASSERT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 0), page,
						0, NULL));
		ASSERT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 7), l->src,
					    page, 0, NULL));
		ASSERT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 1), NULL,
					    page, 0, NULL));
		ASSERT_EQ(0, madvise(hole, page, MADV_DONTNEED));
		ASSERT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 0), hole,
					    page, 0, NULL));
	}
	shmem = lab_number("/proc/meminfo", "Shmem:") - shmem;
	free -= lab_number("/proc/meminfo", "MemFree:");
	EXPECT_LE(shmem, 512);
	EXPECT_LE(free, (long)n * 2 + 2048);
	EXPECT_EQ(1, file_pages(&l->m));
}

LAB_FIXTURE(private);
LAB_SHMEM_PRIVATE_VARIANTS(private);

/* Fills of a private mapping never extend the file. */
TEST_F(private, blocks)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, 2 * page, 0,
			      NULL));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 2), page, 0, NULL));
	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 3), page, 0, NULL));
	EXPECT_EQ(-EFAULT, lab_continue(l->uffd, page_at(l, 4), page, 0,
					NULL));
	EXPECT_EQ(0, file_pages(&l->m));
	file_write(l, 5, 1);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), page, 0, NULL));
	EXPECT_EQ(1, file_pages(&l->m));
}

/* Charges: the test process is in a control group of its own. */

FIXTURE(memcg) {
	struct lab l;
	char dir[LAB_CGROUP_LEN];
	long before;
};

FIXTURE_VARIANT(memcg) {
	const struct lab_type *type;
	const char *file;
	const char *key;
};

FIXTURE_SETUP(memcg)
{
	ASSERT_EQ(0, lab_setup(&self->l, variant->type));
	ASSERT_EQ(0, lab_cgroup_enter(self->dir));
}

FIXTURE_TEARDOWN(memcg)
{
	lab_teardown(&self->l);
	lab_cgroup_leave(self->dir);
}

#define CHARGE_VARIANT(kind, file_, key_)				\
	FIXTURE_VARIANT_ADD(memcg, kind) {				\
		.type = &lab_##kind, .file = file_, .key = key_ }

CHARGE_VARIANT(anon, "memory.stat", "anon ");
CHARGE_VARIANT(memfd_shared, "memory.stat", "shmem ");
CHARGE_VARIANT(memfd_private, "memory.stat", "anon ");
CHARGE_VARIANT(hugetlb_shared, "hugetlb.2MB.current", "");
CHARGE_VARIANT(hugetlb_private, "hugetlb.2MB.current", "");

TEST_F(memcg, charged_once)
{
	struct lab *l = &self->l;
	unsigned long i, n = lab_scale(2000);

#define CHARGED() lab_cgroup_number(self->dir, variant->file, variant->key)
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	/* Twice: the first reading itself needs memory of this process. */
	for (i = 0; i < 2; i++)
		self->before = CHARGED();
	ASSERT_LE(0, self->before);
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_EQ(self->before + (long)l->m.len, CHARGED());
	for (i = 0; i < n; i++) {
		ASSERT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, i % PAGES),
					    l->src, l->m.page, 0, NULL));
	}
	EXPECT_EQ(self->before + (long)l->m.len, CHARGED());
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, lab_is_shared(&l->m) ?
			     MADV_REMOVE : MADV_DONTNEED));
	EXPECT_EQ(self->before, CHARGED());
#undef CHARGED
}

/* Huge pages */

/* shmem with huge pages and room for one and a half of them */
static int file_full(size_t len)
{
	return lab_file_on("tmpfs", "huge=always,size=3M", len);
}

/* Area, second mapping and source have two huge pages each. */
static int setup_huge(struct lab *l, const struct lab_type *type)
{
	return lab_setup_pages(l, type, 2 * LAB_HUGE / LAB_PAGE);
}

/* Whether granules [first, first + n) of the area equal those of the source */
static bool same_pages(const struct lab *l, unsigned int first, unsigned int n)
{
	return !memcmp(page_at(l, first), src_at(l, first), n * l->m.page);
}

/*
 * Two huge pages from a source that is not accessible, then from one that was
 * never touched, and from one that ends at its page 300.
 */
static void fill_from_absent(struct __test_metadata *_metadata, struct lab *l,
			     bool whole)
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
	EXPECT_NO_MSG(l);
	munmap(from, part);
}

/* Their charges */

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

/* shmem */

FIXTURE(huge) {
	struct lab l;
	long holes;	/* khugepaged/max_ptes_none */
	long pause;	/* ms between two scans of khugepaged */
};

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged"

static int khugepaged_set(const char *name, long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", value);
	return lab_write(KHUGEPAGED, name, text);
}

/* khugepaged accounts the holes that it scans, even if it leaves them. */
static int khugepaged_holes(long holes)
{
	return khugepaged_set("max_ptes_none", holes);
}

/* It unmaps the pages of a file while it collapses them. */
static int khugepaged_pauses(long ms)
{
	return khugepaged_set("scan_sleep_millisecs", ms);
}

FIXTURE_VARIANT(huge) {
	const struct lab_type *type;
};

FIXTURE_VARIANT_ADD(huge, shared) { .type = &lab_huge_shared };
FIXTURE_VARIANT_ADD(huge, private) { .type = &lab_huge_private };

FIXTURE_SETUP(huge)
{
	self->pause = lab_number(KHUGEPAGED "/scan_sleep_millisecs", "");
	ASSERT_EQ(0, khugepaged_pauses(3600000));
	self->holes = lab_number(KHUGEPAGED "/max_ptes_none", "");
	ASSERT_EQ(0, khugepaged_holes(0));
	ASSERT_EQ(0, setup_huge(&self->l, variant->type));
}

FIXTURE_TEARDOWN(huge)
{
	lab_teardown(&self->l);
	EXPECT_EQ(0, khugepaged_holes(self->holes));
	EXPECT_EQ(0, khugepaged_pauses(self->pause));
}

/* A fill of a hole adds one base page. */
TEST_F(huge, fill_is_small)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
	EXPECT_EQ(lab_is_shared(&l->m), file_pages(&l->m));
	/* Its neighbors are still missing. */
	EXPECT_FAULT(l, &t, page_at(l, 4), true, 4, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 4);
	EXPECT_EQ(lab_is_shared(&l->m) ? 2 : 0, file_pages(&l->m));
	EXPECT_NO_MSG(l);
}

/*
 * With MINOR only, the kernel allocates a huge page for the hole. Linux 6.12
 * then maps a shared one with one entry, and nothing is left to report; if it
 * is mapped by pages, the others are minor faults.
 */
TEST_F(huge, hole_under_minor)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_ACCESS(page_at(l, 3), false, 0);
	EXPECT_NO_MSG(l);
	/* As large a folio as policy allows, like any other fault on a hole. */
	EXPECT_EQ(512, file_pages(&l->m));
	if (lab_pm(page_at(l, 4), LAB_PM_PRESENT)) {
		EXPECT_ACCESS(page_at(l, 4), false, 0);
		EXPECT_NO_MSG(l);
		return;
	}
	EXPECT_FAULT(l, &t, page_at(l, 4), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 0);
}

/* CONTINUE of one page of a huge page, and of all of it */
TEST_F(huge, continues_by_page)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;
	__s64 done;

	for (i = 0; i < l->m.pages; i++)
		alias_at(l, i)[i] = i;
	ASSERT_EQ((long)l->m.pages, file_pages(&l->m));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 100), false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 100), l->m.page, 0,
				  NULL));
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(100, page_at(l, 100)[100]);
	EXPECT_FAULT(l, &t, page_at(l, 101), false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 101), 411 * l->m.page,
				  0, &done));
	EXPECT_EQ((__s64)(411 * l->m.page), done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(-EEXIST, lab_continue(l->uffd, page_at(l, 511), l->m.page,
					0, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 512), 512 * l->m.page,
				  0, &done));
	for (i = 100; i < l->m.pages; i++) {
		ASSERT_EQ((char)i, page_at(l, i)[i]);
	}
	EXPECT_NO_MSG(l);
}

#define MAP_HUGE UFFDIO_CONTINUE_MODE_MAP_HUGE

/* A userfaultfd that may map huge pages of files whole, with MINOR */
static int reopen_map_huge(struct lab *l)
{
	return lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_MAP_HUGE);
}

/*
 * On request, CONTINUE of a whole shared huge page maps it by one entry. After
 * a part of it was unmapped, the rest is reported again.
 */
TEST_F(huge, continues_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	static struct lab_touch t;
	unsigned int i;
	__s64 done;

	for (i = 0; i < l->m.pages; i++)
		alias_at(l, i)[i] = i;
	ASSERT_EQ((long)l->m.pages, file_pages(&l->m));
	ASSERT_EQ(0, reopen_map_huge(l));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 100), false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, l->m.len, MAP_HUGE,
				  &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	for (i = 0; i < l->m.pages; i++) {
		ASSERT_EQ((char)i, page_at(l, i)[i]);
	}
	page_at(l, 9)[9] = 77;
	EXPECT_EQ(whole ? 77 : 9, alias_at(l, 9)[9]);
	EXPECT_NO_MSG(l);

	/* The file has it: the second mapping sees it. */
	EXPECT_EQ(-EEXIST, lab_continue(l->uffd, l->m.area, LAB_HUGE, MAP_HUGE,
					NULL));
	EXPECT_EQ(-EEXIST, lab_continue(l->uffd, page_at(l, 5), l->m.page, 0,
					NULL));
	EXPECT_EQ(-EEXIST, lab_poison(l->uffd, page_at(l, 5), l->m.page, 0,
				      NULL));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));

	ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_DONTNEED));
	EXPECT_FAULT(l, &t, page_at(l, 5) + 5, false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 5);
	if (whole) {
		EXPECT_FAULT(l, &t, page_at(l, 6) + 6, false, 0,
			     UFFD_PAGEFAULT_FLAG_MINOR);
		EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 6),
					  506 * l->m.page, 0, &done));
		EXPECT_EQ((__s64)(506 * l->m.page), done);
		EXPECT_TOUCHED(&t, 6);
	}
	EXPECT_ACCESS(page_at(l, 511) + 511, false, (char)511);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 6)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_NO_MSG(l);
}

/* Not by one entry: not requested, less than a huge page, or truncated */
TEST_F(huge, continues_not_whole)
{
	struct lab *l = &self->l;
	__s64 done;

	memset(l->m.alias, 1, l->m.len);
	ASSERT_EQ((long)l->m.pages, file_pages(&l->m));
	ASSERT_EQ(0, reopen_map_huge(l));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 1), 511 * l->m.page,
				  MAP_HUGE, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 1)));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 512), LAB_HUGE, 0,
				  &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len - l->m.page));
	EXPECT_EQ(-EAGAIN, lab_continue(l->uffd, page_at(l, 512), LAB_HUGE,
					MAP_HUGE, &done));
	EXPECT_EQ((__s64)(511 * l->m.page), done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
}

/* Write protection is per page, also if huge pages are requested. */
TEST_F(huge, continues_protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	memset(l->m.alias, 1, l->m.len);
	ASSERT_EQ(0, reopen_map_huge(l));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_WP, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE, MAP_HUGE,
				  NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 512), LAB_HUGE,
				  MAP_HUGE | UFFDIO_CONTINUE_MODE_WP, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(lab_pm(page_at(l, 600), LAB_PM_UFFD_WP));

	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), 2 * l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 5), LAB_PM_UFFD_WP));
	EXPECT_FAULT(l, &t, page_at(l, 3), true, 7, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_TOUCHED(&t, 7);
	EXPECT_ACCESS(page_at(l, 5), true, 8);
	EXPECT_EQ(1, page_at(l, 4)[0]);
	EXPECT_NO_MSG(l);
}

/*
 * Zapping one page of a filled huge page: the pages that stay mapped do not
 * fault. The area is filled as by a program that does not know of huge pages.
 */
static int protect_one(struct lab *l)
{
	return lab_writeprotect(l->uffd, page_at(l, 7), l->m.page,
				UFFDIO_WRITEPROTECT_MODE_WP);
}

static int mprotect_one(struct lab *l)
{
	return mprotect(page_at(l, 7), l->m.page, PROT_READ) ? -errno : 0;
}

static int forget_one(struct lab *l)
{
	return madvise(page_at(l, 7), l->m.page, MADV_DONTNEED) ? -errno : 0;
}

static int unregister_one(struct lab *l)
{
	return lab_unregister(l->uffd, page_at(l, 7), l->m.page);
}

static const struct change {
	const char *name;
	__u64 modes;
	int (*change)(struct lab *l);
} changes[] = {
	{ "WRITEPROTECT", LAB_MINOR | LAB_WP, protect_one },
	{ "mprotect with WP", LAB_MINOR | LAB_WP, mprotect_one },
	{ "mprotect", LAB_MINOR, mprotect_one },
	{ "MADV_DONTNEED", LAB_MINOR, forget_one },
	{ "MADV_DONTNEED with WP", LAB_MINOR | LAB_WP, forget_one },
	{ "UNREGISTER", LAB_MINOR, unregister_one },
	{ "COPY, mprotect", LAB_MISSING | LAB_MINOR, mprotect_one },
	{ "COPY, MADV_DONTNEED", LAB_MISSING | LAB_MINOR, forget_one },
	{ "COPY, WRITEPROTECT", LAB_MISSING | LAB_WP, protect_one },
};

TEST_F(huge, splits_without_faults)
{
	struct lab *l = &self->l;
	unsigned int i, n, gone;

	for (n = 0; n < sizeof(changes) / sizeof(*changes); n++) {
		const struct change *c = &changes[n];

		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  c->modes, NULL));
		if (c->modes & LAB_MISSING) {
			ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src,
					      LAB_HUGE, 0, NULL));
		} else {
			memcpy(l->m.alias, l->src, LAB_HUGE);
			ASSERT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE,
						  0, NULL));
		}
		EXPECT_FALSE(lab_mapped_whole(page_at(l, 0))) {
			TH_LOG("%s", c->name);
		}
		ASSERT_EQ(0, c->change(l));
		for (gone = 0, i = 0; i < 512; i++)
			gone += !lab_pm(page_at(l, i), LAB_PM_PRESENT);
		ASSERT_EQ(c->change == forget_one, gone) {
			TH_LOG("%s", c->name);
		}
		for (i = 0; i < 512; i++) {
			if (c->change == forget_one && i == 7)
				continue;
			ASSERT_TRUE(same_at(l, page_at(l, i), i));
		}
		EXPECT_NO_MSG(l);
		/* Start over with new memory. */
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, 1024));
	}
}

/* The same with a huge page that the caller requested: the others fault. */
TEST_F(huge, splits_with_faults)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	static struct lab_touch t;
	unsigned int n;

	ASSERT_EQ(0, reopen_map_huge(l));
	for (n = 0; n < 2; n++) {
		memcpy(l->m.alias, l->src, LAB_HUGE);
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  LAB_MINOR, NULL));
		ASSERT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE,
					  MAP_HUGE, NULL));
		EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
		ASSERT_EQ(0, (n ? mprotect_one : forget_one)(l));
		EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
		EXPECT_EQ(whole, !lab_pm(page_at(l, 6), LAB_PM_PRESENT));
		if (whole) {
			EXPECT_FAULT(l, &t, page_at(l, 6), false, 0,
				     UFFD_PAGEFAULT_FLAG_MINOR);
			EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 6),
						  l->m.page, MAP_HUGE, NULL));
			EXPECT_TOUCHED(&t, src_at(l, 6)[0]);
		}
		EXPECT_NO_MSG(l);
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, 1024));
	}
}

/*
 * COPY of a whole huge page allocates one and maps it by one entry. A private
 * mapping gets anonymous memory, to which the mount option does not apply.
 */
TEST_F(huge, fills_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	long pages = whole ? l->m.pages : 0;
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 700) + 7, false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TOUCHED(&t, src_at(l, 700)[7]);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(pages, file_pages(&l->m));
	src_at(l, 9)[9]++;
	page_at(l, 9)[9]++;
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	if (whole) {
		EXPECT_EQ(0, memcmp(l->m.alias, l->src, l->m.len));
	}
	EXPECT_NO_MSG(l);

	/* The file has it: the second mapping sees it. */
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, l->m.area, l->src, LAB_HUGE, 0,
				    NULL));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 5), l->src, l->m.page,
				    0, NULL));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 5), l->m.page, 0,
					NULL));
	EXPECT_EQ(-EEXIST, lab_poison(l->uffd, page_at(l, 5), l->m.page, 0,
				      NULL));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));

	ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_DONTNEED));
	if (whole) {
		/* The file has it, so the kernel maps it again. */
		EXPECT_ACCESS(page_at(l, 5) + 5, false, src_at(l, 5)[5]);
		EXPECT_NO_MSG(l);
		EXPECT_EQ(pages, file_pages(&l->m));
		ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_REMOVE));
		EXPECT_EQ(pages - 1, file_pages(&l->m));
	}
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 4)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_FAULT(l, &t, page_at(l, 5) + 5, false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[5]);
	EXPECT_EQ(pages, file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_NO_MSG(l);
}

/*
 * The part of a range that covers only some of a huge page is filled by pages.
 */
TEST_F(huge, fills_not_whole)
{
	struct lab *l = &self->l;
	bool shared = lab_is_shared(&l->m);
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
			      511 * l->m.page, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(shared ? 511 : 0, file_pages(&l->m));
	/* As long as a huge page, but a part of two of them */
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 511), src_at(l, 511),
			      LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(shared ? 1023 : 0, file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, 1023));
	EXPECT_FAULT(l, &t, page_at(l, 1023), true, 3,
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1023), src_at(l, 1023),
			      l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 3);
}

/* By pages up to the beginning of a huge page, which is filled whole */
TEST_F(huge, fills_up_to_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
			      1023 * l->m.page, 0, &done));
	EXPECT_EQ((__s64)(1023 * l->m.page), done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 1)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(whole ? 1023 : 0, file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 1, 1023));
}

/* The page table of a former page is still there. */
TEST_F(huge, fills_a_table)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 515), l->src, l->m.page, 0,
			      NULL));
	ASSERT_EQ(0, madvise(page_at(l, 515), l->m.page,
			     whole ? MADV_REMOVE : MADV_DONTNEED));
	EXPECT_EQ(0, file_pages(&l->m));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(whole ? (long)l->m.pages : 0, file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
}

/* A huge page that is truncated by the end of the file */
TEST_F(huge, fills_to_the_end)
{
	struct lab *l = &self->l;
	bool shared = lab_is_shared(&l->m);
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, ftruncate(l->m.fd, LAB_HUGE));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 512), l->src, LAB_HUGE,
				    0, &done));
	EXPECT_EQ(-EFAULT, done);
	EXPECT_EQ(0, file_pages(&l->m));
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len - l->m.page));
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
				    LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)(511 * l->m.page), done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(shared ? 511 : 0, file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 512, 511));
}

/* Write protection is per page: set by the fill, and set later. */
TEST_F(huge, fills_protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), LAB_HUGE,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 511), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
			      LAB_HUGE, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_FALSE(lab_pm(page_at(l, 512), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 515), 2 * l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 514), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 515), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 516), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 517), LAB_PM_UFFD_WP));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_NO_MSG(l);

	EXPECT_ACCESS(page_at(l, 517), true, 8);
	EXPECT_NO_MSG(l);
	EXPECT_FAULT(l, &t, page_at(l, 3), true, 6, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_TOUCHED(&t, 6);
	EXPECT_FAULT(l, &t, page_at(l, 515), true, 7, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 515), l->m.page, 0));
	EXPECT_TOUCHED(&t, 7);
	EXPECT_TRUE(same_at(l, page_at(l, 516), 516));
	EXPECT_NO_MSG(l);
}

/*
 * If no huge page can be allocated, the fill uses base pages, as far as
 * possible.
 */
TEST_F(huge, fills_what_fits)
{
	struct lab *l = &self->l;
	bool shared = lab_is_shared(&l->m);
	const struct lab_type full = {
		.name = "full", .flags = l->m.flags, .file = file_full };
	const unsigned int fit = shared ? 768 : 1024;
	__s64 done;

	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, &full, 1024));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(shared ? -EAGAIN : 0, lab_copy(l->uffd, l->m.area, l->src,
						 l->m.len, 0, &done));
	EXPECT_EQ((__s64)(fit * l->m.page), done);
	EXPECT_EQ(shared, lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(shared ? 768 : 0, file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, fit));
	EXPECT_EQ(shared ? -ENOMEM : -EEXIST,
		  lab_copy(l->uffd, page_at(l, 800), l->src, l->m.page, 0,
			   NULL));
}

TEST_F(huge, zeropage_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 700), false, 0, 0);
	EXPECT_EQ(0, lab_zeropage(l->uffd, l->m.area, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(whole ? (long)l->m.pages : 0, file_pages(&l->m));
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 512), LAB_HUGE, 0,
					NULL));
	EXPECT_ACCESS(page_at(l, 5), true, 5);
	if (whole) {
		EXPECT_EQ(5, alias_at(l, 5)[0]);
		alias_at(l, 5)[0] = 0;
		EXPECT_TRUE(lab_all(l->m.alias, l->m.len, 0));
	}
	EXPECT_NO_MSG(l);
}

TEST_F(huge, fills_from_absent)
{
	struct lab *l = &self->l;

	fill_from_absent(_metadata, l, lab_is_shared(&l->m));
	EXPECT_EQ(lab_is_shared(&l->m) ? 512 + 301 : 0, file_pages(&l->m));
}

/* Present as part of a huge page, but not mapped */
TEST_F(huge, missing_not_when_present)
{
	struct lab *l = &self->l;

	alias_at(l, 0)[0] = 1;
	ASSERT_EQ(512, file_pages(&l->m));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(lab_is_shared(&l->m) ? -EEXIST : 0,
		  lab_copy(l->uffd, page_at(l, 9), src_at(l, 1), l->m.page, 0,
			   NULL));
	EXPECT_ACCESS(page_at(l, 8), false, 0);
	EXPECT_NO_MSG(l);
}

/* A huge page that is swapped out in parts is still present. */
TEST_F(huge, minor_swapped_out)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned char vec[512];
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	unsigned int i;

	for (i = 0; i < 512; i++)
		alias_at(l, i)[i] = i + 1;
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	do {
		ASSERT_EQ(0, madvise(l->m.alias, LAB_HUGE, MADV_PAGEOUT));
		ASSERT_EQ(0, mincore(l->m.alias, LAB_HUGE, vec));
	} while (!lab_all(vec, sizeof(vec), 0) && lab_now_ms() < end);
	ASSERT_TRUE(lab_all(vec, sizeof(vec), 0));
	EXPECT_FAULT(l, &t, page_at(l, 7) + 7, false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE, 0, NULL));
	EXPECT_TOUCHED(&t, 8);
	for (i = 0; i < 512; i++) {
		ASSERT_EQ((char)(i + 1), page_at(l, i)[i]);
	}
}

/*
 * Collapsing a mapping with holes into a huge page would fill the holes: not
 * with MISSING, neither through this mapping nor through another.
 */
TEST_F(huge, collapse_fills_no_hole)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3),
			      4 * l->m.page, 0, NULL));
	EXPECT_EQ(-1, madvise(l->m.area, LAB_HUGE, MADV_COLLAPSE));
	if (lab_is_shared(&l->m)) {
		EXPECT_EQ(-1, madvise(l->m.alias, LAB_HUGE, MADV_COLLAPSE));
	}
	EXPECT_EQ(lab_is_shared(&l->m) ? 4 : 0, file_pages(&l->m));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
}

/* Anonymous memory with MADV_HUGEPAGE */

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
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);

	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, l->m.area, l->src, LAB_HUGE, 0,
				    NULL));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 5), l->src, l->m.page,
				    0, NULL));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 5), l->m.page, 0,
					NULL));
	EXPECT_EQ(-EEXIST, lab_poison(l->uffd, page_at(l, 5), l->m.page, 0,
				      NULL));
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
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
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
	EXPECT_ACCESS(page_at(l, 2), true, src_at(l, 2)[0]);
	EXPECT_ACCESS(page_at(l, 5), true, src_at(l, 5)[0]);
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
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
	EXPECT_ACCESS(page_at(l, 3), true, src_at(l, 3)[0]);
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
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

TEST_HARNESS_MAIN
