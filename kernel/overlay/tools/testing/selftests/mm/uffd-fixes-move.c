// SPDX-License-Identifier: GPL-2.0
/*
 * Regression tests of UFFDIO_MOVE, each with the behavior that must not change:
 * it leaves its destination unprotected, and waits for a huge page that is being
 * migrated.
 */
#include "../kselftest_harness.h"
#include "uffd/fixes.h"

/* MOVE and write protection: the destination is not protected. */

enum moved {
	MOVED_PAGE,
	MOVED_ZERO,
	MOVED_SWAPPED,
	MOVED_HUGE,
	MOVED_HUGE_ZERO,
};

FIXTURE(move)
{
	struct lab_mem from, to;
	int uffd;
};

FIXTURE_VARIANT(move)
{
	enum moved what;
	__u64 modes;		/* of the destination */
	__u64 features;
};

#define MOVE_VARIANTS(name_, what_)					\
FIXTURE_VARIANT_ADD(move, name_##_sync) {				\
	.what = what_, .modes = LAB_MISSING | LAB_WP };			\
FIXTURE_VARIANT_ADD(move, name_##_async) {				\
	.what = what_, .modes = LAB_MISSING | LAB_WP,			\
	.features = UFFD_FEATURE_WP_ASYNC };				\
FIXTURE_VARIANT_ADD(move, name_##_no_wp) {				\
	.what = what_, .modes = LAB_MISSING }

MOVE_VARIANTS(page, MOVED_PAGE);
MOVE_VARIANTS(zero, MOVED_ZERO);
MOVE_VARIANTS(swapped, MOVED_SWAPPED);
MOVE_VARIANTS(huge, MOVED_HUGE);
MOVE_VARIANTS(huge_zero, MOVED_HUGE_ZERO);

FIXTURE_SETUP(move)
{
	bool huge = variant->what >= MOVED_HUGE;
	size_t pages = huge ? LAB_HUGE / LAB_PAGE : 1;

	self->uffd = lab_uffd_open(UFFD_FEATURE_MOVE | variant->features |
				   UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, lab_mem_make(&self->from, &lab_anon, pages));
	ASSERT_EQ(0, lab_mem_make(&self->to, &lab_anon, pages));
	if (!huge)
		return;
	ASSERT_EQ(0, madvise(self->from.area, LAB_HUGE, MADV_HUGEPAGE));
	ASSERT_EQ(0, madvise(self->to.area, LAB_HUGE, MADV_HUGEPAGE));
}

FIXTURE_TEARDOWN(move)
{
	close(self->uffd);
	lab_mem_drop(&self->from);
	lab_mem_drop(&self->to);
}

static int page_out(char *addr)
{
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;

	do {
		if (madvise(addr, LAB_PAGE, MADV_PAGEOUT) && errno != EAGAIN)
			return -errno;
		if (lab_pagemap(addr) & LAB_PM_SWAP)
			return 0;
		lab_sleep_ms(1);
	} while (lab_now_ms() < end);
	return -ETIMEDOUT;
}

TEST_F(move, drops_wp)
{
	bool zero = variant->what == MOVED_ZERO ||
		    variant->what == MOVED_HUGE_ZERO;
	char *from = self->from.area, *to = self->to.area;
	size_t len = self->from.len;
	static struct lab_touch touch;
	struct uffd_msg msg;

	if (variant->what == MOVED_SWAPPED)
		LAB_SKIP_IF(lab_lacking_swap());
	if (!zero)
		lab_fill(from, len, 1);
	else
		ASSERT_EQ(0, madvise(from, len, MADV_POPULATE_READ));
	ASSERT_EQ(variant->what >= MOVED_HUGE, lab_mapped_whole(from));
	ASSERT_EQ(0, lab_register(self->uffd, from, len, LAB_WP, NULL));
	ASSERT_EQ(0, lab_writeprotect(self->uffd, from, len, WP_ON));
	if (variant->what == MOVED_SWAPPED)
		ASSERT_EQ(0, page_out(from));
	ASSERT_TRUE(entry_wp(from));
	ASSERT_EQ(0, lab_register(self->uffd, to, len, variant->modes, NULL));

	ASSERT_EQ(0, lab_move(self->uffd, to, from, len, 0, NULL));
	EXPECT_FALSE(entry_wp(from));
	EXPECT_FALSE(entry_wp(to));
	EXPECT_EQ(variant->what >= MOVED_HUGE, lab_mapped_whole(to));
	/* Nor is it if write protection is registered later. */
	EXPECT_EQ(0, lab_register(self->uffd, to, len, LAB_MISSING | LAB_WP,
				  NULL));
	EXPECT_FALSE(entry_wp(to));
	ASSERT_EQ(0, lab_touch_start(&touch, to + 8, true, 'x'));
	EXPECT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(zero ? 0 : lab_word(1, 0), *(__u64 *)to);
	EXPECT_EQ('x', to[8]);
}

/* A protected hole counts as in use, and stays protected. */
TEST(move_onto_a_protected_hole)
{
	struct lab_mem from, to;
	int uffd;

	uffd = lab_uffd_open(UFFD_FEATURE_MOVE | UFFD_FEATURE_WP_UNPOPULATED);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, lab_mem_make(&from, &lab_anon, 1));
	ASSERT_EQ(0, lab_mem_make(&to, &lab_anon, 1));
	lab_fill(from.area, LAB_PAGE, 1);
	ASSERT_EQ(0, lab_register(uffd, to.area, LAB_PAGE,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_writeprotect(uffd, to.area, LAB_PAGE, WP_ON));
	EXPECT_EQ(-EEXIST, lab_move(uffd, to.area, from.area, LAB_PAGE, 0,
				    NULL));
	EXPECT_TRUE(entry_wp(to.area));
	EXPECT_EQ(lab_word(1, 0), *(__u64 *)from.area);
	close(uffd);
	lab_mem_drop(&from);
	lab_mem_drop(&to);
}

/* A huge page that is migrated between nodes while it is moved */

#define NODE_1		"/sys/devices/system/node/node1"
#define MIGRATIONS	50

struct migration {
	char *areas[2];
	bool stop;
	unsigned long done;
};

static void *migrate_fn(void *arg)
{
	struct migration *g = arg;
	int node = 0;

	while (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED)) {
		int nodes[2] = { node, node }, status[2] = { -1, -1 };

		syscall(__NR_move_pages, 0, 2UL, g->areas, nodes, status,
			2 /* MPOL_MF_MOVE */);
		if (status[0] == node || status[1] == node)
			__atomic_add_fetch(&g->done, 1, __ATOMIC_RELAXED);
		node = !node;
	}
	return NULL;
}

TEST(move_migrating)
{
	unsigned long n, wanted = lab_scale(MIGRATIONS);
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	static struct migration g;
	struct lab_mem m[2];
	pthread_t thread;
	int uffd, i;

	if (access(NODE_1, F_OK))
		SKIP(return, "needs two nodes");
	uffd = lab_uffd_open(UFFD_FEATURE_MOVE);
	ASSERT_LE(0, uffd);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, lab_mem_make(&m[i], &lab_anon,
					  LAB_HUGE / LAB_PAGE));
		ASSERT_EQ(0, madvise(m[i].area, LAB_HUGE, MADV_HUGEPAGE));
		g.areas[i] = m[i].area;
	}
	lab_fill(m[0].area, LAB_HUGE, 1);
	ASSERT_TRUE(lab_mapped_whole(m[0].area));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, lab_register(uffd, m[i].area, LAB_HUGE,
					  LAB_MISSING, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, migrate_fn, &g));
	for (n = 0; __atomic_load_n(&g.done, __ATOMIC_RELAXED) < wanted &&
	     lab_now_ms() < end; n++) {
		ASSERT_EQ(0, lab_move(uffd, m[!(n & 1)].area, m[n & 1].area,
				      LAB_HUGE, 0, NULL)) {
			TH_LOG("move %lu, %lu migrations", n, g.done);
		}
	}
	__atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	TH_LOG("%lu moves, %lu migrations", n, g.done);
	EXPECT_LE(wanted, g.done);
	EXPECT_TRUE(lab_mapped_whole(m[n & 1].area));
	for (i = 0; i < (int)(LAB_HUGE / 8); i++)
		ASSERT_EQ(lab_word(1, i), ((__u64 *)m[n & 1].area)[i]);
	close(uffd);
	lab_mem_drop(&m[0]);
	lab_mem_drop(&m[1]);
}

TEST_HARNESS_MAIN
