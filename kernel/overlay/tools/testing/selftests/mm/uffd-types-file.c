// SPDX-License-Identifier: GPL-2.0
/*
 * Fills as seen in the size of files, in counters and in charges.
 *
 * The kernel checks the counters of a process (RssAnon and so on) when the
 * process exits: after a fill that counts wrongly it logs "Bad rss-counter
 * state", which fails the boot of the test machine.
 */
#include "../kselftest_harness.h"
#include "uffd/fixture.h"

LAB_FIXTURE(shared);
LAB_SHMEM_SHARED_VARIANTS(shared);

/* Every way to fill and to fail, and the pages that the file has after each */
TEST_F(shared, blocks)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_EQ(0, lab_file_pages(&l->m));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, 2 * page, 0,
			      NULL));
	EXPECT_EQ(2, lab_file_pages(&l->m));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 2), 2 * page, 0, NULL));
	EXPECT_EQ(4, lab_file_pages(&l->m));
	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 4), page, 0, NULL));
	EXPECT_EQ(4, lab_file_pages(&l->m));

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
	EXPECT_EQ(4, lab_file_pages(&l->m));

	/* In the file, not mapped */
	memcpy(alias_at(l, 5), l->src, page);
	EXPECT_EQ(5, lab_file_pages(&l->m));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 5), l->src, page, 0,
				    NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), page, 0, NULL));
	EXPECT_EQ(5, lab_file_pages(&l->m));

	ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, page, page));
	EXPECT_EQ(4, lab_file_pages(&l->m));
	ASSERT_EQ(0, ftruncate(l->m.fd, 0));
	EXPECT_EQ(0, lab_file_pages(&l->m));
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
	EXPECT_EQ(1, lab_file_pages(&l->m));
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
	EXPECT_EQ(0, lab_file_pages(&l->m));
	file_write(l, 5, 1);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), page, 0, NULL));
	EXPECT_EQ(1, lab_file_pages(&l->m));
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

TEST_HARNESS_MAIN
