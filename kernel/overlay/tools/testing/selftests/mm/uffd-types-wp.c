// SPDX-License-Identifier: GPL-2.0
/*
 * Write protection by userfaultfd for each memory type: synchronous (a write
 * waits until it is allowed) and asynchronous (a write is recorded), and the
 * protection of pages that leave the page table.
 */
#include "../kselftest_harness.h"
#include "uffd/fixture.h"
#include <linux/fs.h>

#define WP_WRITE (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE)
#define PROTECT	UFFDIO_WRITEPROTECT_MODE_WP

/* Every page present in the area with the content of the source */
static void populate(const struct lab *l)
{
	memcpy(l->m.area, l->src, l->m.len);
}

/* Registered for @mode, all of it protected */
static int protect_all(const struct lab *l, __u64 mode)
{
	int err = lab_register(l->uffd, l->m.area, l->m.len, mode, NULL);

	return err ? err : lab_writeprotect(l->uffd, l->m.area, l->m.len,
					    PROTECT);
}

/* A write that is reported, then allowed */
#define EXPECT_WP_FAULT(l, i, value) do {				\
	static struct lab_touch __t;					\
	EXPECT_FAULT(l, &__t, page_at(l, i), true, value, WP_WRITE);	\
	EXPECT_EQ(0, lab_writeprotect((l)->uffd, page_at(l, i),		\
				      (l)->m.page, 0));			\
	EXPECT_TOUCHED(&__t, value);					\
} while (0)

LAB_FIXTURE(mem);
LAB_ALL_VARIANTS(mem);

TEST_F(mem, write_waits)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	EXPECT_FAULT(l, &t, page_at(l, 2) + 7, true, 0x12, WP_WRITE);
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_DONTWAKE));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 2), l->m.page));
	EXPECT_TOUCHED(&t, 0x12);
	EXPECT_EQ(0x12, page_at(l, 2)[7]);

	/* This page is unprotected now, the others are not. */
	EXPECT_EQ(0, write_byte(page_at(l, 2), 1));
	EXPECT_FALSE(has_msg(l));
	EXPECT_WP_FAULT(l, 1, 1);
	EXPECT_WP_FAULT(l, 3, 3);
	/* Once more */
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page,
				      PROTECT));
	EXPECT_WP_FAULT(l, 2, 2);
}

TEST_F(mem, shown_in_pagemap)
{
	struct lab *l = &self->l;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_FALSE(lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
}

TEST_F(mem, unregister_lifts)
{
	struct lab *l = &self->l;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, 4 * l->m.page));
	EXPECT_EQ(0, write_byte(page_at(l, 3), 1));
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_UFFD_WP));
	EXPECT_FALSE(has_msg(l));
	EXPECT_WP_FAULT(l, 4, 1);
}

TEST_F(mem, close_lifts)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_FAULT(l, &t, page_at(l, 0), true, 5, WP_WRITE);
	close(l->uffd);
	l->uffd = -1;
	EXPECT_TOUCHED(&t, 5);
	EXPECT_EQ(0, write_byte(page_at(l, 1), 1));
}

/* mprotect() does not change this protection. */
TEST_F(mem, survives_mprotect)
{
	struct lab *l = &self->l;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	ASSERT_EQ(0, mprotect(l->m.area, l->m.len, PROT_READ));
	ASSERT_EQ(0, mprotect(l->m.area, l->m.len, PROT_READ | PROT_WRITE));
	EXPECT_WP_FAULT(l, 5, 1);
}

/* read(2) into protected memory */
static void *reader_fn(void *arg)
{
	struct lab_touch *t = arg;
	int fd[2];

	t->sig = -1;
	if (pipe(fd) || write(fd[1], &t->value, 1) != 1)
		return NULL;
	t->sig = read(fd[0], t->addr, 1) == 1 ? 0 : errno;
	close(fd[0]);
	close(fd[1]);
	return NULL;
}

TEST_F(mem, write_by_the_kernel)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	t.addr = page_at(l, 6);
	t.value = 0x66;
	ASSERT_EQ(0, pthread_create(&t.thread, NULL, reader_fn, &t));
	ASSERT_EQ(WP_WRITE, next_fault(l, 6));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 6), l->m.page, 0));
	EXPECT_TOUCHED(&t, 0x66);
	EXPECT_EQ(0x66, page_at(l, 6)[0]);
}

TEST_F(mem, copy_protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	/* First the page is missing, then it is protected. */
	EXPECT_FAULT(l, &t, page_at(l, 1), true, 0x11,
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
			      3 * l->m.page, UFFDIO_COPY_MODE_WP, &done));
	EXPECT_EQ((__s64)(3 * l->m.page), done);
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	ASSERT_EQ(WP_WRITE, next_fault(l, 1));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 1), l->m.page, 0));
	EXPECT_TOUCHED(&t, 0x11);
	EXPECT_WP_FAULT(l, 0, 1);
	EXPECT_WP_FAULT(l, 2, 1);
}

/*
 * A hole: anonymous memory is protected only with WP_UNPOPULATED; files always
 * are, by a marker in the page table.
 */
TEST_F(mem, unpopulated)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, protect_all(l, LAB_WP));
	if (lab_is_file(&l->m)) {
		EXPECT_WP_FAULT(l, 0, 1);
		/* A read maps the page, protected. */
		EXPECT_EQ(0, read_byte(page_at(l, 1)));
		EXPECT_FALSE(has_msg(l));
		EXPECT_WP_FAULT(l, 1, 2);
	} else {
		EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
		EXPECT_FALSE(has_msg(l));
	}

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES |
				UFFD_FEATURE_WP_UNPOPULATED));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_WP_FAULT(l, 2, 1);
	EXPECT_EQ(0, read_byte(page_at(l, 3)));
	EXPECT_WP_FAULT(l, 3, 2);
	/* Unprotected before there was a page */
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 4), l->m.page, 0));
	EXPECT_EQ(0, write_byte(page_at(l, 4), 1));
	EXPECT_FALSE(has_msg(l));
}

/*
 * Missing and protected. The fill decides: without MODE_WP the marker is
 * removed, with it the page is protected.
 */
TEST_F(mem, fill_over_marker)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES |
				UFFD_FEATURE_WP_UNPOPULATED));
	ASSERT_EQ(0, protect_all(l, LAB_MISSING | LAB_WP));
	EXPECT_FAULT(l, &t, page_at(l, 0), true, 9, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, 9);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_WP_FAULT(l, 1, 1);

	/* POISON never replaces a marker. */
	EXPECT_EQ(-EEXIST, lab_poison(l->uffd, page_at(l, 2), l->m.page, 0,
				      NULL));
	if (lab_is_hugetlb(&l->m))
		return;
	/*
	 * ZEROPAGE replaces it if it allocates a page, not if it maps the zero
	 * page.
	 */
	EXPECT_EQ(lab_is_shared(&l->m) ? 0 : -EEXIST,
		  lab_zeropage(l->uffd, page_at(l, 3), l->m.page, 0, &done));
	EXPECT_EQ(lab_is_shared(&l->m) ? (__s64)l->m.page : -EEXIST, done);
	EXPECT_EQ(!lab_is_shared(&l->m),
		  lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
}

/*
 * After it was zapped, a page of a file stays protected. Anonymous memory does
 * not.
 */
TEST_F(mem, dontneed)
{
	struct lab *l = &self->l;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	if (lab_is_file(&l->m)) {
		EXPECT_WP_FAULT(l, 0, 1);
		EXPECT_EQ(lab_is_shared(&l->m) ? src_at(l, 0)[1] : 0,
			  page_at(l, 0)[1]);
	} else {
		EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
		EXPECT_FALSE(has_msg(l));
	}
}

/* A child is not registered, and does not affect the parent. */
TEST_F(mem, fork_without_event)
{
	struct lab *l = &self->l;
	int status;
	pid_t pid;

	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (lab_pm(page_at(l, 1), LAB_PM_UFFD_WP))
			_exit(1);
		page_at(l, 0)[0] = 0x55;
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(has_msg(l));
	EXPECT_EQ(lab_is_shared(&l->m) ? 0x55 : src_at(l, 0)[0],
		  page_at(l, 0)[0]);
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_WP_FAULT(l, 0, 1);
	EXPECT_WP_FAULT(l, 1, 1);
}

/* Asynchronous: no thread waits, and the bit in pagemap shows the write. */

static long scan(void *start, size_t len, __u64 flags, struct page_region *r,
		 unsigned int n)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .flags = flags,
		.start = (uintptr_t)start, .end = (uintptr_t)start + len,
		.vec = (uintptr_t)r, .vec_len = n,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN };
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, PAGEMAP_SCAN, &arg);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret;
}

#define EXPECT_REGION(l, r, first, end_) do {				\
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, first), (r)->start);	\
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, end_), (r)->end);	\
} while (0)

TEST_F(mem, async)
{
	struct lab *l = &self->l;
	struct page_region r[PAGES] = { 0 };

	populate(l);
	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_ASYNC));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_EQ(0, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 1));
	EXPECT_EQ(0, write_byte(page_at(l, 2), 1));
	EXPECT_EQ(0, write_byte(page_at(l, 5), 1));
	EXPECT_EQ(src_at(l, 6)[0], read_byte(page_at(l, 6)));
	EXPECT_FALSE(has_msg(l));
	EXPECT_FALSE(lab_pm(page_at(l, 1), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 6), LAB_PM_UFFD_WP));

	/* Finds the written pages and protects them again. */
	EXPECT_EQ(2, scan(l->m.area, l->m.len, PM_SCAN_WP_MATCHING |
			  PM_SCAN_CHECK_WPASYNC, r, PAGES));
	EXPECT_REGION(l, &r[0], 1, 3);
	EXPECT_REGION(l, &r[1], 5, 6);
	EXPECT_EQ(0, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_EQ(0, write_byte(page_at(l, 2), 2));
	EXPECT_EQ(1, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_REGION(l, &r[0], 2, 3);
}

/* Holes count as well. */
TEST_F(mem, async_unpopulated)
{
	struct lab *l = &self->l;
	struct page_region r[PAGES] = { 0 };

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_ASYNC));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_EQ(0, read_byte(page_at(l, 3)));
	EXPECT_EQ(0, write_byte(page_at(l, 4), 4));
	EXPECT_FALSE(has_msg(l));
	EXPECT_EQ(1, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_REGION(l, &r[0], 4, 5);
}

/* Together with MISSING: one is reported, the other recorded. */
TEST_F(mem, async_and_missing)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_ASYNC));
	ASSERT_EQ(0, protect_all(l, LAB_WP | LAB_MISSING));
	EXPECT_FAULT(l, &t, page_at(l, 0), true, 1, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_TOUCHED(&t, 1);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_FALSE(has_msg(l));
}

/* Base pages can be swapped out. */

LAB_FIXTURE(base);
LAB_VARIANT(base, anon);
LAB_SHMEM_VARIANTS(base);

TEST_F(base, swapped_out)
{
	struct lab *l = &self->l;
	unsigned int i;

	LAB_SKIP_IF(lab_lacking_swap());
	populate(l);
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	ASSERT_EQ(0, swap_out(l->m.area, l->m.len, LAB_DEADLINE_MS));
	for (i = 0; i < PAGES; i++) {
		EXPECT_FALSE(lab_pm(page_at(l, i), LAB_PM_PRESENT));
		EXPECT_TRUE(lab_pm(page_at(l, i), LAB_PM_UFFD_WP));
	}
	/*
	 * Swapped in by a read and by a write, and unprotected while swapped
	 * out
	 */
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	EXPECT_FALSE(has_msg(l));
	EXPECT_WP_FAULT(l, 0, 1);
	EXPECT_WP_FAULT(l, 1, 1);
	EXPECT_EQ(src_at(l, 1)[1], page_at(l, 1)[1]);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 7), l->m.page, 0));
	EXPECT_EQ(0, write_byte(page_at(l, 7), 1));
	EXPECT_EQ(src_at(l, 7)[1], page_at(l, 7)[1]);
	EXPECT_FALSE(has_msg(l));
}

/* Protected only after it was swapped out */
TEST_F(base, protected_while_swapped_out)
{
	struct lab *l = &self->l;
	unsigned int i;

	LAB_SKIP_IF(lab_lacking_swap());
	populate(l);
	ASSERT_EQ(0, swap_out(l->m.area, l->m.len, LAB_DEADLINE_MS));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(lab_pm(page_at(l, i), LAB_PM_UFFD_WP));
	}
	EXPECT_WP_FAULT(l, 0, 1);
	EXPECT_EQ(src_at(l, 0)[1], page_at(l, 0)[1]);
}

TEST_F(base, async_swapped_out)
{
	struct lab *l = &self->l;
	struct page_region r[PAGES] = { 0 };

	LAB_SKIP_IF(lab_lacking_swap());
	populate(l);
	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_ASYNC));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	ASSERT_EQ(0, swap_out(l->m.area, l->m.len, LAB_DEADLINE_MS));
	EXPECT_EQ(0, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_EQ(0, write_byte(page_at(l, 2), 2));
	EXPECT_EQ(src_at(l, 4)[0], read_byte(page_at(l, 4)));
	EXPECT_EQ(1, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_REGION(l, &r[0], 2, 3);
	EXPECT_FALSE(has_msg(l));
}

/* Files: CONTINUE and the second mapping */

LAB_FIXTURE(file);
LAB_FILE_VARIANTS(file);

TEST_F(file, continue_protected)
{
	struct lab *l = &self->l;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_WP, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 0), 4 * l->m.page,
				  UFFDIO_CONTINUE_MODE_WP, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_TRUE(lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
	EXPECT_WP_FAULT(l, 3, 0x33);
	EXPECT_EQ(lab_is_shared(&l->m) ? 0x33 : src_at(l, 3)[0],
		  alias_at(l, 3)[0]);
}

/*
 * Protected and not mapped: first a minor fault, then the write; CONTINUE
 * decides.
 */
TEST_F(file, minor_over_marker)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, protect_all(l, LAB_MINOR | LAB_WP));
	EXPECT_FAULT(l, &t, page_at(l, 0), true, 1,
		     UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 0), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 1);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 1), l->m.page,
				  UFFDIO_CONTINUE_MODE_WP, NULL));
	EXPECT_WP_FAULT(l, 1, 1);
}

/* The mapping is protected, the file is not. */
TEST_F(file, other_mapping_is_free)
{
	struct lab *l = &self->l;

	file_write(l, 0, PAGES);
	EXPECT_EQ(src_at(l, 0)[0], read_byte(page_at(l, 0)));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	alias_at(l, 0)[0] = 0x71;
	alias_at(l, 1)[0] = 0x72;
	EXPECT_FALSE(has_msg(l));
	EXPECT_EQ(0x71, page_at(l, 0)[0]);
	EXPECT_EQ(0x72, page_at(l, 1)[0]);
	EXPECT_WP_FAULT(l, 0, 0x73);
	EXPECT_WP_FAULT(l, 1, 0x74);
	EXPECT_EQ(lab_is_shared(&l->m) ? 0x73 : 0x71, alias_at(l, 0)[0]);
	EXPECT_EQ(lab_is_shared(&l->m) ? 0x74 : 0x72, alias_at(l, 1)[0]);
}

/* Huge pages that are mapped by one entry */

FIXTURE(huge) {
	struct lab l;
};

FIXTURE_VARIANT(huge) {
	const struct lab_type *type;
};

/* The fixture of the other tests, with one huge page instead of eight pages */
FIXTURE_SETUP(huge)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_setup(l, variant->type));
	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, LAB_HUGE / LAB_PAGE));
	memset(l->m.area, 0x5a, l->m.len);
	/* Works with every setting of transparent huge pages */
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_COLLAPSE));
	l->m.area[0] = 0x5a;
}

FIXTURE_TEARDOWN(huge)
{
	lab_teardown(&self->l);
}

LAB_VARIANT(huge, anon);
LAB_VARIANT(huge, memfd_shared);
LAB_VARIANT(huge, anon_shared);

TEST_F(huge, write_waits)
{
	struct lab *l = &self->l;
	const char *key = lab_is_file(&l->m) ? "ShmemPmdMapped:" :
					       "AnonHugePages:";

	ASSERT_EQ((long)LAB_HUGE / 1024,
		  lab_number("/proc/self/smaps_rollup", key));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 511), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0x5a));
	/* Page by page */
	EXPECT_WP_FAULT(l, 100, 1);
	EXPECT_EQ(0, write_byte(page_at(l, 100) + 1, 1));
	EXPECT_FALSE(has_msg(l));
	EXPECT_WP_FAULT(l, 101, 1);
	EXPECT_WP_FAULT(l, 99, 1);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.len, 0));
	EXPECT_EQ(0, write_byte(page_at(l, 300), 0x5a));
	EXPECT_TRUE(lab_all(page_at(l, 102), 410 * l->m.page, 0x5a));
}

/* One page of it is protected. */
TEST_F(huge, a_part)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_WP, NULL));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 7), l->m.page,
				      PROTECT));
	EXPECT_EQ(0, write_byte(page_at(l, 6), 0x5a));
	EXPECT_EQ(0, write_byte(page_at(l, 8), 0x5a));
	EXPECT_FALSE(has_msg(l));
	EXPECT_WP_FAULT(l, 7, 0x5a);
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0x5a));
}

TEST_F(huge, async)
{
	struct lab *l = &self->l;
	struct page_region r[PAGES] = { 0 };

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_ASYNC));
	ASSERT_EQ(0, protect_all(l, LAB_WP));
	EXPECT_EQ(0, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_EQ(0, write_byte(page_at(l, 100), 1));
	EXPECT_FALSE(has_msg(l));
	EXPECT_EQ(1, scan(l->m.area, l->m.len, 0, r, PAGES));
	EXPECT_REGION(l, &r[0], 100, 101);
}

TEST_HARNESS_MAIN
