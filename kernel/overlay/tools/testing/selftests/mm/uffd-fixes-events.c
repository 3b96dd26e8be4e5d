// SPDX-License-Identifier: GPL-2.0
/*
 * Regression tests of the events of userfaultfd, each with the behavior that
 * must not change.
 *
 *   change_*		fills work after an mremap() or a brk() that failed
 *   removal_*		a removal that fails causes no event
 */
#define _GNU_SOURCE
#include <sys/resource.h>

#include "../kselftest_harness.h"
#include "uffd/fixes.h"
#include "uffd/removal.h"

#ifndef __NR_mseal
#define __NR_mseal	462
#endif

/* Changes of the address space that fail */

FIXTURE(change)
{
	char *area;	/* PAGES of anonymous memory, armed with MISSING */
	char *heap;	/* two pages that brk() added */
	char *src;
	int uffd;
};

static char *sys_brk(const void *to)
{
	return (char *)syscall(__NR_brk, to);
}

FIXTURE_SETUP(change)
{
	char *end;

	self->uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMAP |
				   UFFD_FEATURE_EVENT_UNMAP);
	ASSERT_GE(self->uffd, 0);
	self->src = anon_pages(1, MAP_PRIVATE);
	self->area = anon_pages(PAGES, MAP_PRIVATE);
	ASSERT_NE(MAP_FAILED, self->src);
	ASSERT_NE(MAP_FAILED, self->area);
	lab_fill(self->src, LAB_PAGE, 1);
	ASSERT_EQ(0, lab_register(self->uffd, self->area, PAGES * LAB_PAGE,
				  LAB_MISSING, NULL));

	/* Then malloc() has enough memory, and only the test uses brk(). */
	free(malloc(64 << 10));
	end = sys_brk(NULL);
	self->heap = (char *)(((uintptr_t)end + LAB_PAGE - 1) & -LAB_PAGE);
	end = self->heap + 2 * LAB_PAGE;
	ASSERT_EQ(end, sys_brk(end));
	ASSERT_EQ(0, lab_register(self->uffd, self->heap, LAB_PAGE,
				  LAB_MISSING, NULL));
}

FIXTURE_TEARDOWN(change)
{
	/* First, so that no event waits for a reader. */
	close(self->uffd);
}

/* No event was reported, and no fill is delayed. */
#define EXPECT_FILLS_WORK(at) do {					\
	char *_at = (at);						\
	struct uffd_msg _msg;						\
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &_msg, 0));	\
	EXPECT_EQ(0, lab_copy(self->uffd, _at, self->src, LAB_PAGE,	\
			      0, NULL));				\
	EXPECT_EQ(0, lab_zeropage(self->uffd, self->area + 3 * LAB_PAGE, \
				  LAB_PAGE, 0, NULL));			\
} while (0)

TEST_F(change, brk_fails)
{
	char *end = self->heap + 2 * LAB_PAGE;

	/* The armed page could be unmapped, the sealed one after it cannot. */
	if (syscall(__NR_mseal, self->heap + LAB_PAGE, LAB_PAGE, 0UL))
		SKIP(return, "no mseal(): %s", strerror(errno));
	EXPECT_EQ(end, sys_brk(self->heap));
	EXPECT_EQ(end, sys_brk(NULL));
	EXPECT_EQ(LAB_MISSING, armed_modes(self->heap));
	EXPECT_FILLS_WORK(self->heap);
}

struct shrink {
	char *to;
	char *got;
};

static void *shrink_brk(void *arg)
{
	struct shrink *s = arg;

	s->got = sys_brk(s->to);
	return NULL;
}

TEST_F(change, brk_succeeds)
{
	struct shrink s = { .to = self->heap };
	struct uffd_msg msg;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, shrink_brk, &s));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_UNMAP, msg.event);
	EXPECT_EQ((uintptr_t)self->heap, msg.arg.remove.start);
	EXPECT_EQ((uintptr_t)self->heap + 2 * LAB_PAGE, msg.arg.remove.end);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(self->heap, s.got);
	EXPECT_FILLS_WORK(self->area);
}

TEST_F(change, mremap_fails)
{
	struct rlimit all, none = { 0, RLIM_INFINITY };
	void *p;

	/* No address space for the larger mapping */
	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &all));
	none.rlim_max = all.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &none));
	p = mremap(self->area, PAGES * LAB_PAGE, 1024 * LAB_PAGE,
		   MREMAP_MAYMOVE);
	EXPECT_EQ(0, setrlimit(RLIMIT_AS, &all));
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_FILLS_WORK(self->area);

	/* To its own address */
	p = mremap(self->area, 2 * LAB_PAGE, 2 * LAB_PAGE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, self->area + LAB_PAGE);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(0, lab_copy(self->uffd, self->area + LAB_PAGE, self->src,
			      LAB_PAGE, 0, NULL));
}

struct move {
	char *from;
	char *to;
};

static void *move_area(void *arg)
{
	struct move *m = arg;

	m->to = mremap(m->from, PAGES * LAB_PAGE, PAGES * LAB_PAGE,
		       MREMAP_MAYMOVE | MREMAP_FIXED, m->to);
	return NULL;
}

TEST_F(change, mremap_succeeds)
{
	struct move m = { .from = self->area };
	bool remap = false, unmap = false;
	struct uffd_msg msg;
	pthread_t thread;
	char *to;
	int i;

	to = anon_pages(PAGES, MAP_PRIVATE);
	ASSERT_NE(MAP_FAILED, to);
	m.to = to;
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_area, &m));
	/*
	 * The move is reported: the new place, and that the old one is
	 * unmapped.
	 */
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, LAB_DEADLINE_MS));
		if (msg.event == UFFD_EVENT_REMAP)
			remap = msg.arg.remap.to == (uintptr_t)to;
		if (msg.event == UFFD_EVENT_UNMAP)
			unmap = msg.arg.remove.start == (uintptr_t)self->area;
	}
	EXPECT_TRUE(remap);
	EXPECT_TRUE(unmap);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(to, m.to);
	self->area = to;
	EXPECT_FILLS_WORK(self->area);
}

/* Removals that fail */

REMOVAL_VARIANT(anon);
REMOVAL_VARIANT(memfd_shared);
REMOVAL_VARIANT(memfd_private);
REMOVAL_VARIANT(tmpfs_shared);
REMOVAL_VARIANT(hugetlb_shared);

/* Files with seals */

static void removal_of(struct __test_metadata *_metadata, int fd, size_t len,
		       int seals, int want)
{
	char *p;
	int uffd;

	ASSERT_LE(0, fd);
	uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_LE(0, uffd);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, seals));
	ASSERT_EQ(0, lab_register(uffd, p, len, LAB_MISSING, NULL));
	EXPECT_EQ(want, advise_watched(uffd, p, len, MADV_REMOVE));
	close(uffd);
	munmap(p, len);
	close(fd);
}

static int sealable(size_t len, int flags)
{
	return lab_sized(memfd_create("uffd-fixes", MFD_CLOEXEC |
				      MFD_ALLOW_SEALING | flags), len);
}

TEST(removal_sealed)
{
	removal_of(_metadata, sealable(LAB_PAGE, 0), LAB_PAGE,
		   F_SEAL_FUTURE_WRITE, -EPERM);
	removal_of(_metadata, sealable(LAB_HUGE, MFD_HUGETLB | MFD_HUGE_2MB),
		   LAB_HUGE, F_SEAL_FUTURE_WRITE, -EPERM);
}

TEST(removal_otherwise_sealed)
{
	removal_of(_metadata, sealable(LAB_PAGE, 0), LAB_PAGE,
		   F_SEAL_SHRINK | F_SEAL_GROW, 0);
}

/* The last possible page of a file, and two beyond it */
TEST(removal_too_far)
{
	off_t last = (1ULL << 63) - 2 * LAB_PAGE;
	int uffd, fd = lab_file_memfd(LAB_PAGE);
	char *p, *q;

	ASSERT_LE(0, fd);
	uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_LE(0, uffd);
	p = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, last);
	ASSERT_NE(MAP_FAILED, p);
	q = mremap(p, LAB_PAGE, 3 * LAB_PAGE, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, q);
	ASSERT_EQ(0, lab_register(uffd, q, 3 * LAB_PAGE, LAB_MISSING, NULL));
	EXPECT_EQ(0, advise_watched(uffd, q, LAB_PAGE, MADV_REMOVE));
	EXPECT_EQ(-EFBIG, advise_watched(uffd, q, 2 * LAB_PAGE, MADV_REMOVE));
	EXPECT_EQ(-EINVAL, advise_watched(uffd, q + 2 * LAB_PAGE, LAB_PAGE,
					  MADV_REMOVE));
	close(uffd);
	munmap(q, 3 * LAB_PAGE);
	close(fd);
}

TEST_HARNESS_MAIN
