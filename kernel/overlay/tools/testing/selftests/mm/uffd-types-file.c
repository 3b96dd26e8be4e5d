// SPDX-License-Identifier: GPL-2.0
/*
 * What fills leave behind in files and counters, and shmem with huge pages.
 *
 * The counters of a process (RssAnon and so on) are checked by the kernel when
 * the process ends: a fill that counts wrongly makes it log "Bad rss-counter
 * state", which whoever runs the tests looks for.
 */
#include "uffd-types.h"
#include <sys/mount.h>

/* 4 KiB pages that the file of @m occupies */
static long file_pages(const struct lab_mem *m)
{
	long blocks = lab_blocks(m);

	return blocks < 0 ? blocks : blocks * 512 / (long)LAB_PAGE;
}

LAB_FIXTURE(shared);
LAB_SHMEM_SHARED_VARIANTS(shared);

/* Every way to fill and to fail, and what the file occupies after each */
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

	/* Taken, no source, no page, past the end */
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
 * Fills that fail, by the thousand. One page lost in each round would be twice
 * of what free memory may differ by for other reasons.
 */
TEST_F(shared, failures_leak_nothing)
{
	struct lab *l = &self->l;
	unsigned long i, n = lab_scale(3000);
	size_t page = l->m.page;
	long shmem, free;
	char *hole;

	/* Never present: every copy from it takes the way without locks. */
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

/* Nothing that is done to a private mapping makes the file longer. */
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
	write_file(l, 5, 1);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), page, 0, NULL));
	EXPECT_EQ(1, file_pages(&l->m));
}

/* Charges: a cgroup of its own for the test's process */

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
	/* Twice: the first reading needs memory of this process itself. */
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

/*
 * shmem on a file system that gives huge pages to everybody who asks for a
 * page of a hole
 */
FIXTURE(huge) {
	struct lab l;
	long holes;	/* what khugepaged would fill */
};

#define KHUGEPAGED_HOLES	"/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"

/* khugepaged accounts the holes that it looks at, even if it leaves them. */
static bool khugepaged_holes(long holes)
{
	FILE *file = fopen(KHUGEPAGED_HOLES, "w");

	if (!file)
		return false;
	fprintf(file, "%ld", holes);
	return !fclose(file);
}

FIXTURE_VARIANT(huge) {
	int map;
};

FIXTURE_VARIANT_ADD(huge, shared) { .map = MAP_SHARED };
FIXTURE_VARIANT_ADD(huge, private) { .map = MAP_PRIVATE };

/* Area and second mapping are two huge pages each. */
FIXTURE_SETUP(huge)
{
	struct lab *l = &self->l;
	char dir[] = "/tmp/uffd-types.XXXXXX";
	int root;

	self->holes = lab_number(KHUGEPAGED_HOLES, "");
	ASSERT_TRUE(khugepaged_holes(0));
	ASSERT_EQ(0, lab_setup(l, &lab_anon));
	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, &lab_anon, 2 * LAB_HUGE / LAB_PAGE));
	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, mount("none", dir, "tmpfs", 0, "huge=always"));
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	EXPECT_EQ(0, umount2(dir, MNT_DETACH));
	EXPECT_EQ(0, rmdir(dir));
	ASSERT_LE(0, root);
	l->m.fd = openat(root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_LE(0, l->m.fd);
	close(root);
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len));
	l->m.flags = LAB_T_FILE | (variant->map == MAP_SHARED ? LAB_T_SHARED :
							       0);
	ASSERT_EQ(l->m.area, mmap(l->m.area, l->m.len, PROT_READ | PROT_WRITE,
				  variant->map | MAP_FIXED, l->m.fd, 0));
	l->m.alias = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE, MAP_SHARED,
			  l->m.fd, 0);
	ASSERT_NE(MAP_FAILED, l->m.alias);
}

FIXTURE_TEARDOWN(huge)
{
	lab_teardown(&self->l);
	EXPECT_TRUE(khugepaged_holes(self->holes));
}

/* A page filled into a hole is a page. */
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
	/* Its neighbours are still missing. */
	EXPECT_FAULT(l, &t, page_at(l, 4), true, 4, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 4);
	EXPECT_EQ(lab_is_shared(&l->m) ? 2 : 0, file_pages(&l->m));
	EXPECT_NO_MSG(l);
}

/*
 * Armed for MINOR only, the kernel makes a huge page of the hole. Linux 6.12
 * then maps a shared one with one entry, and nothing is left to report; where
 * it is mapped by page, the others are minor faults.
 */
TEST_F(huge, hole_under_minor)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_ACCESS(page_at(l, 3), false, 0);
	EXPECT_NO_MSG(l);
	/* As large a folio as policy allows, like any other fault of a hole. */
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

/* CONTINUE over a huge page, a page at a time and all of it */
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

/* Present as part of a huge page, not mapped */
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

/* A huge page that goes back to swap in pieces is still present. */
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
 * Collapsing a mapping with holes into a huge page would fill them: not where
 * MISSING watches, neither through the mapping itself nor through another.
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

/* Anonymous memory that wants huge pages */

LAB_FIXTURE(anon_huge);
LAB_VARIANT(anon_huge, anon);

TEST_F(anon_huge, missing_by_page)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;

	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, &lab_anon, LAB_HUGE / LAB_PAGE));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_HUGEPAGE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	for (i = 0; i < 4; i++) {
		EXPECT_FAULT(l, &t, page_at(l, i), i & 1, src_at(l, i)[0],
			     i & 1 ? UFFD_PAGEFAULT_FLAG_WRITE : 0);
		EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, i), src_at(l, i),
				      l->m.page, 0, NULL));
		EXPECT_TOUCHED(&t, src_at(l, i)[0]);
	}
	/* No collapse while there are holes, and then there are none. */
	EXPECT_EQ(-1, madvise(l->m.area, LAB_HUGE, MADV_COLLAPSE));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 4), 508 * l->m.page, 0,
				  NULL));
	EXPECT_NO_MSG(l);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
}

TEST_HARNESS_MAIN
