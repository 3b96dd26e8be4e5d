// SPDX-License-Identifier: GPL-2.0
/*
 * hugetlb pages of 1 GiB under userfaultfd: the same rules as for 2 MiB (see
 * uffd-hugetlb.c) with an entry one level up and a granule that is expensive to
 * fill, hence few tests. The pool must have two pages, which an area and the
 * second mapping of its file reserve where it is private.
 */
#include "../kselftest_harness.h"

#define PAGES	1
#include "uffd/hugetlb.h"

/* A debug kernel under emulation takes a minute to copy a page. */
#define TIMEOUT_S	300

/*
 * 1 GiB to copy from that costs only 2 MiB of memory: one file, mapped
 * repeatedly.
 */
static char *source_make(void)
{
	int fd = lab_file_memfd(LAB_HUGE);
	char *p = mmap(NULL, LAB_GIGANTIC, PROT_NONE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t at;

	if (fd < 0 || p == MAP_FAILED)
		return NULL;
	for (at = 0; at < LAB_GIGANTIC; at += LAB_HUGE) {
		if (mmap(p + at, LAB_HUGE, PROT_READ | PROT_WRITE, MAP_SHARED |
			 MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED)
			return NULL;
	}
	close(fd);
	lab_fill(p, LAB_HUGE, 1);
	return p;
}

/* Checks a sample of pages, so that a shift or an omission is detected. */
static bool source_is(const struct lab *l, const char *p)
{
	size_t at;

	for (at = 0; at < LAB_GIGANTIC; at += LAB_HUGE - LAB_PAGE) {
		if (memcmp(p + at, l->src + at % LAB_HUGE, LAB_PAGE))
			return false;
	}
	return true;
}

struct gigantic {
	struct lab l;
	struct lab_pool start;
};

static void set_up(struct __test_metadata *_metadata, struct gigantic *self,
		   const struct lab_type *type)
{
	struct lab *l = &self->l;

	lab_catch_signals();
	l->uffd = -1;
	ASSERT_EQ(0, lab_cgroup_enter(group));
	self->start = lab_pool(LAB_GIGANTIC, group);
	ASSERT_EQ(2, self->start.free);
	ASSERT_LE(0, self->start.charged);
	ASSERT_EQ(0, lab_mem_make(&l->m, type, PAGES));
	l->src = source_make();
	ASSERT_NE(NULL, l->src);
	l->uffd = lab_uffd_open(BASE_FEATURES);
	ASSERT_LE(0, l->uffd);
}

static void tear_down(struct __test_metadata *_metadata,
		      struct gigantic *self)
{
	lab_teardown(&self->l);
	unhog();
	EXPECT_POOL(LAB_GIGANTIC, self->start);
	lab_cgroup_leave(group);
}

#define GIGANTIC_FIXTURE(fixture)					\
	FIXTURE(fixture)						\
	{								\
		struct gigantic g;					\
	};								\
	FIXTURE_VARIANT(fixture)					\
	{								\
		const struct lab_type *type;				\
	};								\
	FIXTURE_SETUP(fixture)						\
	{								\
		set_up(_metadata, &self->g, variant->type);		\
	}								\
	FIXTURE_TEARDOWN(fixture)					\
	{								\
		tear_down(_metadata, &self->g);			\
	}

GIGANTIC_FIXTURE(gigantic);
LAB_VARIANT(gigantic, gigantic_shared);
LAB_VARIANT(gigantic, gigantic_private);

TEST_F_TIMEOUT(gigantic, register_every_mode, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	__u64 mode, mask;

	for (mode = 1; mode < 8; mode++) {
		EXPECT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, mode,
					  &mask));
		EXPECT_EQ(expected_ioctls(&l->m, mode), mask);
		EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	}
}

/* An address that is aligned for 2 MiB is not for these. */
TEST_F_TIMEOUT(gigantic, granule, TIMEOUT_S)
{
	static const size_t small[] = { LAB_PAGE, LAB_HUGE };
	struct lab *l = &self->g.l;
	struct lab_pool before;
	unsigned int i;
	enum op op;

	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	for (i = 0; i < ARRAY_SIZE(small); i++) {
		EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, small[i],
						LAB_MISSING, NULL));
		for (op = 0; op < FILLS; op++) {
			before = pool(l);
			EXPECT_OP(FAILED(-EINVAL), l->uffd, op,
				  l->m.area + small[i], l->src, small[i], 0);
			EXPECT_OP(FAILED(-EINVAL), l->uffd, op, l->m.area,
				  l->src, small[i], 0);
			EXPECT_POOL(l->m.page, before);
		}
		EXPECT_OP(REFUSED(-EINVAL), l->uffd, WRITEPROTECT, l->m.area,
			  NULL, small[i], UFFDIO_WRITEPROTECT_MODE_WP);
	}
	EXPECT_OP(FAILED(-EINVAL), l->uffd, ZEROPAGE, l->m.area, NULL, l->m.len,
		  0);
}

/* All in one test: filling a page takes seconds. */
TEST_F_TIMEOUT(gigantic, copy_protected, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	struct lab_pool before = pool(l);
	char *at = l->m.area + 5 * LAB_HUGE;
	static struct lab_touch t;

	ASSERT_EQ(0, arm(l, LAB_MISSING | LAB_WP));
	EXPECT_FAULT(l, &t, at, false, 0, 0);
	EXPECT_OP(DONE, l->uffd, COPY, l->m.area, l->src, l->m.len,
		  UFFDIO_COPY_MODE_WP);
	EXPECT_TOUCHED(&t, l->src[0]);
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	EXPECT_TRUE(source_is(l, l->m.area));
	before = pool(l);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, l->m.area, l->src, l->m.len,
		  0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, POISON, l->m.area, NULL, l->m.len,
		  0);
	EXPECT_POOL(l->m.page, before);

	EXPECT_TRUE(lab_pm(at, LAB_PM_UFFD_WP));
	EXPECT_FAULT(l, &t, at, true, 3,
		     UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.len, 0));
	EXPECT_TOUCHED(&t, 3);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.len,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_TRUE(lab_pm(at, LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_FALSE(lab_pm(at, LAB_PM_UFFD_WP));
	EXPECT_EQ(0, write_byte(at, 4));
}

TEST_F_TIMEOUT(gigantic, minor_continue, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	struct lab_pool kept;
	static struct lab_touch t;
	char *at = l->m.area + 7 * LAB_HUGE;

	ASSERT_EQ(0, arm(l, LAB_MINOR));
	kept = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, l->m.area, NULL, l->m.len,
		  0);
	EXPECT_POOL(l->m.page, kept);
	l->m.alias[7 * LAB_HUGE] = 7;
	EXPECT_FAULT(l, &t, at, false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	kept = pool(l);
	EXPECT_OP(DONE, l->uffd, CONTINUE, l->m.area, NULL, l->m.len, 0);
	EXPECT_POOL(l->m.page, kept);
	EXPECT_TOUCHED(&t, 7);
	kept = pool(l);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, CONTINUE, l->m.area, NULL, l->m.len,
		  0);
	EXPECT_POOL(l->m.page, kept);
}

/*
 * Unlike for 2 MiB, a source that is not in memory takes a second page of the
 * pool: with none free, COPY fails although it has the page to fill.
 */
TEST_F_TIMEOUT(gigantic, absent_source, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	struct lab_pool kept;
	char *part = l->src + LAB_HUGE;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, mprotect(part, LAB_PAGE, PROT_NONE));
	kept = pool(l);
	EXPECT_OP(FAILED(lab_is_shared(&l->m) ? -EFAULT : -ENOMEM), l->uffd,
		  COPY, l->m.area, l->src, l->m.len, 0);
	EXPECT_POOL(l->m.page, kept);
	ASSERT_EQ(0, mprotect(part, LAB_PAGE, PROT_READ));
	ASSERT_EQ(0, madvise(part, LAB_PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, hog(l, 0));
	kept = pool(l);
	EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, l->m.area, l->src, l->m.len,
		  0);
	EXPECT_POOL(l->m.page, kept);
}

TEST_F_TIMEOUT(gigantic, poison, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	struct lab_pool before;
	int code = 0;
	char v;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	before = pool(l);
	EXPECT_OP(DONE, l->uffd, POISON, l->m.area, NULL, l->m.len, 0);
	EXPECT_EQ(SIGBUS, lab_access(l->m.area + 3 * LAB_HUGE, true,
				     &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	EXPECT_POOL(l->m.page, before);
}

GIGANTIC_FIXTURE(gigantic_file);
LAB_VARIANT(gigantic_file, gigantic_shared);

/* A private mapping can be filled there, which would take another minute. */
TEST_F_TIMEOUT(gigantic_file, end_of_file, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	struct lab_pool kept;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, ftruncate(l->m.fd, 0));
	kept = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, l->m.area, l->src, l->m.len,
		  0);
	EXPECT_POOL(l->m.page, kept);
}

/* Another mapping takes the last page. */
TEST_F_TIMEOUT(gigantic, pool_is_empty, TIMEOUT_S)
{
	struct lab *l = &self->g.l;
	struct lab_pool kept;
	int flags = lab_is_shared(&l->m) ? MAP_SHARED : MAP_PRIVATE;
	int fd = lab_file_gigantic(LAB_GIGANTIC);
	char *area;

	ASSERT_LE(0, fd);
	area = mmap(NULL, LAB_GIGANTIC, PROT_READ | PROT_WRITE,
		    flags | MAP_NORESERVE, fd, 0);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, hog(l, 0));
	ASSERT_EQ(0, lab_register(l->uffd, area, LAB_GIGANTIC, LAB_MISSING,
				  NULL));
	kept = pool(l);
	EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, area, l->src, LAB_GIGANTIC,
		  0);
	EXPECT_POOL(l->m.page, kept);
	munmap(area, LAB_GIGANTIC);
	close(fd);
}

TEST_HARNESS_MAIN
