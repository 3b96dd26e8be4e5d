/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of most userfaultfd tests: one area of some memory type, a
 * userfaultfd, and a buffer with content.
 *
 * Each test program declares one fixture per group of types. Types that differ
 * in what they support (for example, only shmem has minor faults that a write
 * through a second mapping can prepare) are in different groups, so that no test
 * skips a type.
 *
 * These programs expect what Linux 6.12 does, also where that is surprising;
 * comments point out such places.
 *
 * A program includes kselftest_harness.h itself: the macros here use it, and the
 * C files of the helpers do not.
 *
 * EXPECT_*() and ASSERT_*() of the harness are two statements: as the body of
 * an if or a loop they need braces, although checkpatch warns about them.
 */
#ifndef UFFD_FIXTURE_H
#define UFFD_FIXTURE_H

#include "lab.h"
#include "variants.h"

/* 32-bit kernels have neither write protection nor minor faults. */
#define FEATURES_OF_64_BITS						\
	(sizeof(long) == 8 ? UFFD_FEATURE_PAGEFAULT_FLAG_WP |		\
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM |		\
			     UFFD_FEATURE_MINOR_HUGETLBFS |		\
			     UFFD_FEATURE_MINOR_SHMEM : 0)

/* Features that change neither faults nor events: enabled for every test */
#define BASE_FEATURES (FEATURES_OF_64_BITS |				\
		       UFFD_FEATURE_MISSING_HUGETLBFS |			\
		       UFFD_FEATURE_MISSING_SHMEM |			\
		       UFFD_FEATURE_THREAD_ID |				\
		       UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE)

/* Granules of an area. Most tests depend on there being eight. */
#ifndef PAGES
#define PAGES	8
#endif

struct lab {
	struct lab_mem m;
	int uffd;
	char *src;	/* m.len bytes of random content, present */
};

int lab_setup_pages(struct lab *l, const struct lab_type *type,
		    unsigned int pages);

static inline int lab_setup(struct lab *l, const struct lab_type *type)
{
	return lab_setup_pages(l, type, PAGES);
}

void lab_teardown(struct lab *l);

/* A fresh userfaultfd with other features */
int lab_reopen(struct lab *l, __u64 features);

/* Granule @i of the area, of its second mapping, of the source */
static inline char *page_at(const struct lab *l, unsigned int i)
{
	return l->m.area + i * l->m.page;
}

static inline char *alias_at(const struct lab *l, unsigned int i)
{
	return l->m.alias + i * l->m.page;
}

static inline char *src_at(const struct lab *l, unsigned int i)
{
	return l->src + i * l->m.page;
}

/* Whether granule @i, read through @p, has the content of the source */
static inline bool same_at(const struct lab *l, const char *p, unsigned int i)
{
	return !memcmp(p, src_at(l, i), l->m.page);
}

/* Writes granules [first, first + n) to the file; @area does not map them. */
void file_write(const struct lab *l, unsigned int first, unsigned int n);

/*
 * Swaps out the pages of a file: only the second mapping may map them. 0 when
 * none is in the page cache any more.
 */
int swap_out(void *addr, size_t len, int ms);

/*
 * The flags of the next message, if it is a fault at granule @i; otherwise
 * -ETIMEDOUT (there is none), -EPROTO (another event), -EFAULT (another address)
 */
__s64 next_fault(const struct lab *l, unsigned int i);

/* Whether a message is queued, or the userfaultfd cannot be read */
bool has_msg(const struct lab *l);

/* Whether a touch still waits. Takes LAB_QUIET_MS. */
bool touch_waits(struct lab_touch *t);

/*
 * Accesses by this thread that cause no message: the byte that was read, as a
 * char, or 0x100 + the signal; 0 or the signal of a write
 */
int read_byte(void *addr);
int write_byte(void *addr, char value);

#define BIT_OF(ioctl)	(1ULL << (ioctl))

/*
 * The mask has COPY, POISON and WAKE for every mode, and MOVE also for types
 * that never support it (shmem).
 */
__u64 expected_ioctls(const struct lab_mem *m, __u64 mode);

/* @pages: granules of the area; may depend on variant->type */
#define LAB_FIXTURE_PAGES(fixture, pages)				\
	FIXTURE_VARIANT(fixture)					\
	{								\
		const struct lab_type *type;				\
	};								\
	FIXTURE(fixture)						\
	{								\
		struct lab l;						\
	};								\
	FIXTURE_SETUP(fixture)						\
	{								\
		LAB_SKIP_IF(lab_lacking(variant->type));		\
		ASSERT_EQ(0, lab_setup_pages(&self->l, variant->type,	\
					     pages));			\
	}								\
	FIXTURE_TEARDOWN(fixture)					\
	{								\
		lab_teardown(&self->l);					\
	}

#define LAB_FIXTURE(fixture)	LAB_FIXTURE_PAGES(fixture, PAGES)

/*
 * Another thread touches @addr, which must be reported as a fault with @flags.
 * A macro, so that a failure reports the line of the test.
 */
#define EXPECT_FAULT(l, t, addr_, write_, value_, flags_) do {		\
	char *__a = (addr_);						\
	struct uffd_msg __m = { 0 };					\
	ASSERT_EQ(0, lab_touch_start(t, __a, write_, value_));		\
	ASSERT_EQ(0, lab_read_msg((l)->uffd, &__m, LAB_DEADLINE_MS));	\
	EXPECT_EQ(UFFD_EVENT_PAGEFAULT, __m.event);			\
	EXPECT_EQ((__u64)(flags_), __m.arg.pagefault.flags);		\
	EXPECT_EQ((__u64)(uintptr_t)__a & -(__u64)(l)->m.page,		\
		  __m.arg.pagefault.address);				\
	EXPECT_EQ((__u32)(t)->tid, __m.arg.pagefault.feat.ptid);	\
	ASSERT_EQ(0, lab_touch_sleeps(t, LAB_DEADLINE_MS));		\
} while (0)

/* The touch is over: it read (or wrote) @value. */
#define EXPECT_TOUCHED(t, value_) do {					\
	ASSERT_EQ(0, lab_touch_wait(t, LAB_DEADLINE_MS));		\
	EXPECT_EQ(0, (t)->sig);						\
	EXPECT_EQ((unsigned char)(value_), (unsigned char)(t)->value);	\
} while (0)

#endif /* UFFD_FIXTURE_H */
