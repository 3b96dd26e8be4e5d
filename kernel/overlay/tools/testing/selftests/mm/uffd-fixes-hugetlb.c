// SPDX-License-Identifier: GPL-2.0
/*
 * Regression tests of hugetlb, each with the behavior that must not change.
 *
 *   truncated*		the pool of huge pages is consistent after truncation
 *			raced with faults and fills
 *   mremap_of_a_part.*	reservations of huge pages move with their part
 */
#define _GNU_SOURCE
#include "../kselftest_harness.h"
#include "uffd/fixes.h"

/* Truncation, while COPY has a page that is not in the file yet */

static bool stop_truncating;

static void *truncate_fn(void *arg)
{
	struct lab_mem *m = arg;

	while (!__atomic_load_n(&stop_truncating, __ATOMIC_RELAXED)) {
		if (ftruncate(m->fd, 0) || ftruncate(m->fd, m->len))
			return arg;
		/* Another mapping reserves the pages again. */
		if (lab_map(&lab_hugetlb_shared, m->alias, m->len, m->fd) ==
		    MAP_FAILED)
			return arg;
	}
	return NULL;
}

TEST(truncated_while_copied)
{
	long reserved = lab_pool_number(LAB_HUGE, "resv_hugepages");
	long free = lab_pool_number(LAB_HUGE, "free_hugepages");
	unsigned long i, n = lab_scale(400);
	__u64 end = lab_now_ms() + 5000;
	struct lab_mem m;
	pthread_t thread;
	void *failed;
	char *src;
	int uffd, err;

	/* Negative if an earlier run caused an underflow */
	EXPECT_LE(0, reserved);
	ASSERT_EQ(0, lab_mem_make(&m, &lab_hugetlb_shared, PAGES));
	src = mmap(NULL, m.len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, src);
	uffd = lab_uffd_open(UFFD_FEATURE_MISSING_HUGETLBFS);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, lab_register(uffd, m.area, m.len, LAB_MISSING, NULL));
	__atomic_store_n(&stop_truncating, false, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_create(&thread, NULL, truncate_fn, &m));
	/* Truncation may delay COPY for a long time. */
	for (i = 0; i < n && lab_now_ms() < end; i++) {
		err = lab_copy(uffd, m.area + i % PAGES * m.page, src, m.page,
			       0, NULL);
		EXPECT_TRUE(!err || err == -EFAULT || err == -EEXIST) {
			TH_LOG("errno %d", -err);
		}
	}
	EXPECT_LE(10, i);
	__atomic_store_n(&stop_truncating, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &failed));
	EXPECT_EQ(NULL, failed);
	close(uffd);
	munmap(src, m.len);
	lab_mem_drop(&m);
	EXPECT_EQ(reserved, lab_pool_number(LAB_HUGE, "resv_hugepages"));
	EXPECT_EQ(free, lab_pool_number(LAB_HUGE, "free_hugepages"));
}

/*
 * The same on mounts of hugetlbfs, and for page faults. A mount with a minimum
 * size keeps returned pages up to its minimum, and the rest is returned to the
 * pool.
 */

static const char *mount_options;

static int file_on_mount(size_t len)
{
	return lab_file_on("hugetlbfs", mount_options, len);
}

static const struct lab_type lab_on_mount = {
	.name = "hugetlb_on_mount",
	.flags = LAB_HUGETLB_SHARED,
	.file = file_on_mount,
	.page = LAB_HUGE,
};

static unsigned long truncations;

static void *count_truncations(void *arg)
{
	struct lab_mem *m = arg;

	while (!__atomic_load_n(&stop_truncating, __ATOMIC_RELAXED)) {
		if (ftruncate(m->fd, 0) || ftruncate(m->fd, m->len))
			return arg;
		/* Another mapping reserves the pages again. */
		if (lab_map(&lab_hugetlb_shared, m->alias, m->len, m->fd) ==
		    MAP_FAILED)
			return arg;
		__atomic_fetch_add(&truncations, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

FIXTURE(truncated)
{
	struct lab_mem m;
	pthread_t thread;
	long reserved;
	long free;
	__u64 end;
};

FIXTURE_VARIANT(truncated)
{
	const char *options;
};

FIXTURE_VARIANT_ADD(truncated, plain)
{
	.options = "pagesize=2M",
};

FIXTURE_VARIANT_ADD(truncated, min_of_one)
{
	.options = "pagesize=2M,min_size=2M",
};

FIXTURE_VARIANT_ADD(truncated, min_of_all)
{
	.options = "pagesize=2M,min_size=8M",
};

FIXTURE_VARIANT_ADD(truncated, min_and_max)
{
	.options = "pagesize=2M,min_size=4M,size=16M",
};

FIXTURE_SETUP(truncated)
{
	lab_catch_signals();
	mount_options = variant->options;
	self->reserved = lab_pool_number(LAB_HUGE, "resv_hugepages");
	self->free = lab_pool_number(LAB_HUGE, "free_hugepages");
	ASSERT_EQ(0, lab_mem_make(&self->m, &lab_on_mount, PAGES));
	__atomic_store_n(&stop_truncating, false, __ATOMIC_RELAXED);
	__atomic_store_n(&truncations, 0, __ATOMIC_RELAXED);
	self->end = lab_now_ms() + 3000;
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, count_truncations,
				    &self->m));
}

/* The mount is gone with the file, and so are its pages. */
FIXTURE_TEARDOWN(truncated)
{
	void *failed;

	__atomic_store_n(&stop_truncating, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(self->thread, &failed));
	EXPECT_EQ(NULL, failed);
	EXPECT_LE(10, truncations);
	TH_LOG("%lu truncations", truncations);
	lab_mem_drop(&self->m);
	EXPECT_EQ(self->reserved, lab_pool_number(LAB_HUGE, "resv_hugepages"));
	EXPECT_EQ(self->free, lab_pool_number(LAB_HUGE, "free_hugepages"));
}

static bool truncated_enough(__u64 end)
{
	return __atomic_load_n(&truncations, __ATOMIC_RELAXED) >=
	       lab_scale(10000) || lab_now_ms() >= end;
}

TEST_F(truncated, while_faulted)
{
	struct lab_mem *m = &self->m;
	unsigned long i = 0;
	char v = 1;
	int sig;

	do {
		sig = lab_access(m->area + i++ % PAGES * m->page, true, &v,
				 NULL);
		ASSERT_TRUE(!sig || sig == SIGBUS);
	} while (!truncated_enough(self->end));
}

TEST_F(truncated, while_filled)
{
	struct lab_mem *m = &self->m;
	unsigned long i = 0;
	int uffd, err;
	char *src;

	src = mmap(NULL, m->page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, src);
	uffd = lab_uffd_open(UFFD_FEATURE_MISSING_HUGETLBFS);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, lab_register(uffd, m->area, m->len, LAB_MISSING, NULL));
	do {
		/*
		 * Always with a resident source: a COPY that fails after it
		 * allocated, while the file is mapped, is a separate fault (see
		 * docs/design.md, known faults).
		 */
		err = lab_copy(uffd, m->area + i++ % PAGES * m->page, src,
			       m->page, 0, NULL);
		ASSERT_TRUE(!err || err == -EFAULT || err == -EEXIST) {
			TH_LOG("errno %d", -err);
		}
	} while (!truncated_enough(self->end));
	close(uffd);
	munmap(src, m->page);
}

/* mremap() of a part: each page of a private mapping keeps its reservation. */

FIXTURE(mremap_of_a_part)
{
	long reserved;
	char *to;	/* free addresses, aligned */
	char *area;
};

FIXTURE_VARIANT(mremap_of_a_part)
{
	unsigned int first;	/* page that moves */
	unsigned int pages;	/* pages that move */
};

FIXTURE_VARIANT_ADD(mremap_of_a_part, front)
{
	.first = 0,
	.pages = 1,
};

FIXTURE_VARIANT_ADD(mremap_of_a_part, middle)
{
	.first = 1,
	.pages = 2,
};

FIXTURE_VARIANT_ADD(mremap_of_a_part, end)
{
	.first = 2,
	.pages = 2,
};

FIXTURE_VARIANT_ADD(mremap_of_a_part, all)
{
	.first = 0,
	.pages = PAGES,
};

FIXTURE_SETUP(mremap_of_a_part)
{
	char *p;

	lab_catch_signals();
	self->reserved = lab_pool_number(LAB_HUGE, "resv_hugepages");
	p = mmap(NULL, (2 * PAGES + 1) * LAB_HUGE, PROT_NONE, MAP_PRIVATE |
		 MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	self->area = (char *)(((uintptr_t)p + LAB_HUGE - 1) & -LAB_HUGE);
	self->to = self->area + PAGES * LAB_HUGE;
	ASSERT_EQ(self->area, lab_map(&lab_map_hugetlb_private, self->area,
				      PAGES * LAB_HUGE, -1));
	ASSERT_EQ(self->reserved + PAGES,
		  lab_pool_number(LAB_HUGE, "resv_hugepages"));
}

FIXTURE_TEARDOWN(mremap_of_a_part)
{
	munmap(self->area, 2 * PAGES * LAB_HUGE);
	EXPECT_EQ(self->reserved, lab_pool_number(LAB_HUGE, "resv_hugepages"));
}

static char *page_after_move(const char *area, char *to, unsigned int first,
			     unsigned int pages, unsigned int i)
{
	if (i >= first && i < first + pages)
		return to + (i - first) * LAB_HUGE;
	return (char *)area + i * LAB_HUGE;
}

/* Some of the pages exist before the move, and some are added after it. */
TEST_F(mremap_of_a_part, keeps_reservations)
{
	const unsigned int first = variant->first, pages = variant->pages;
	long left = PAGES;
	unsigned int i;
	char *p, v;

	for (i = 0; i < PAGES; i += 2) {
		self->area[i * LAB_HUGE] = i + 1;
		left--;
	}
	ASSERT_EQ(self->to, mremap(self->area + first * LAB_HUGE,
				   pages * LAB_HUGE, pages * LAB_HUGE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, self->to));
	EXPECT_EQ(self->reserved + left,
		  lab_pool_number(LAB_HUGE, "resv_hugepages"));
	for (i = 0; i < PAGES; i++) {
		p = page_after_move(self->area, self->to, first, pages, i);
		v = i + 1;
		EXPECT_EQ(0, lab_access(p, i % 2, &v, NULL));
		EXPECT_EQ(i + 1, (unsigned int)v);
		left -= i % 2;
		EXPECT_EQ(self->reserved + left,
			  lab_pool_number(LAB_HUGE, "resv_hugepages")) {
			TH_LOG("page %u", i);
		}
	}
}

/*
 * Unmapping untouched pages, in either place, returns exactly their
 * reservations.
 */
TEST_F(mremap_of_a_part, gives_back)
{
	const unsigned int first = variant->first, pages = variant->pages;
	long left = PAGES;
	unsigned int i;
	char *p;

	ASSERT_EQ(self->to, mremap(self->area + first * LAB_HUGE,
				   pages * LAB_HUGE, pages * LAB_HUGE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, self->to));
	for (i = 0; i < PAGES; i++) {
		p = page_after_move(self->area, self->to, first, pages, i);
		EXPECT_EQ(0, munmap(p, LAB_HUGE));
		EXPECT_EQ(self->reserved + --left,
			  lab_pool_number(LAB_HUGE, "resv_hugepages")) {
			TH_LOG("page %u", i);
		}
	}
}

TEST_HARNESS_MAIN
