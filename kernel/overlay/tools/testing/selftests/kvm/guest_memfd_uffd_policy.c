// SPDX-License-Identifier: GPL-2.0
/*
 * Memory policy of a guest_memfd, on a machine with two nodes: the file
 * allocates as mbind() of the mapping requested, for every allocation and
 * wherever the task runs.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd_touch.h"
#include <linux/mempolicy.h>

FIXTURE(policy)
{
	struct lab l;
};

FIXTURE_VARIANT(policy)
{
	bool bound;
};

FIXTURE_VARIANT_ADD(policy, mapping) {
	.bound = false,
};

FIXTURE_VARIANT_ADD(policy, bound) {
	.bound = true,
};

FIXTURE_SETUP(policy)
{
	struct lab *l = &self->l;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	by_guest = true;
	ASSERT_EQ(0, gmem_begin(l));
	if (variant->bound) {
		ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
		ASSERT_EQ(0, guest_plug(l->m.area, l->m.len,
					KVM_MEM_GUEST_MEMFD, l->m.fd));
	}
}

FIXTURE_TEARDOWN(policy)
{
	lab_teardown(&self->l);
}

static int bind_to(const struct lab *l, unsigned int first, unsigned int nr,
		   int mode, unsigned long nodes, int flags)
{
	return syscall(__NR_mbind, page_at(l, first), nr * l->m.page, mode,
		       nodes ? &nodes : NULL, nodes ? 8 * sizeof(nodes) : 0,
		       flags) ? -errno : 0;
}

/* The node of a page, through the mapping without a policy */
static int node_of(const struct lab *l, unsigned int i)
{
	void *page = alias_at(l, i);
	int status = -EINVAL;

	/* It must be mapped to be looked up; it is present. */
	(void)READ_ONCE(*(char *)page);
	if (syscall(__NR_move_pages, 0, 1UL, &page, NULL, &status, 0))
		return -errno;
	return status;
}

TEST_F(policy, all_ways_to_allocate)
{
	struct lab *l = &self->l;

	for (int node = 0; node < 2; node++) {
		ASSERT_EQ(0, make_hole(l->m.fd, 0, PAGES));
		ASSERT_EQ(0, bind_to(l, 0, PAGES, MPOL_BIND, 1UL << node, 0));
		by_guest = true;
		EXPECT_WRITES(l, 0, 1);
		by_guest = false;
		EXPECT_WRITES(l, 1, 1);
		EXPECT_EQ(1, pwrite(l->m.fd, "x", 1, 2 * l->m.page));
		ASSERT_EQ(0, allocate(l->m.fd, 3, 1));
		alias_at(l, 4)[0] = 1;
		EXPECT_ARMED(l, LAB_MISSING);
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 5), src_at(l, 5),
			  l->m.page, 0);
		EXPECT_OP(DONE, l->uffd, ZEROPAGE, page_at(l, 6), NULL,
			  l->m.page, 0);
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		/* A fault that the kernel resolves in place of a handler */
		EXPECT_ARMED(l, LAB_MINOR);
		EXPECT_READS(l, 7, 0);
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		for (int i = 0; i < PAGES; i++)
			EXPECT_EQ(node, node_of(l, i));
	}
}

/*
 * Interleaving depends on the offset in the file, not on the order of faults.
 */
TEST_F(policy, interleave)
{
	struct lab *l = &self->l;
	int first;

	ASSERT_EQ(0, bind_to(l, 0, PAGES, MPOL_INTERLEAVE, 3, 0));
	by_guest = true;
	for (int i = PAGES - 2; i >= 0; i -= 2)
		EXPECT_WRITES(l, i, 1);
	EXPECT_ARMED(l, LAB_MISSING);
	for (int i = 1; i < PAGES; i += 4)
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, i),
			  l->m.page, 0);
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	first = node_of(l, 0);
	for (int i = 1; i < PAGES; i++)
		EXPECT_EQ(first ^ (i & 1), node_of(l, i));
}

/* The policy applies to a range of the file, and stays there. */
TEST_F(policy, of_the_file)
{
	struct lab *l = &self->l;
	unsigned long nodes = 0;
	int mode = -1;

	ASSERT_EQ(0, bind_to(l, 0, 4, MPOL_BIND, 1, 0));
	ASSERT_EQ(0, bind_to(l, 4, 4, MPOL_BIND, 2, 0));
	ASSERT_EQ(0, munmap(page_at(l, 0), l->m.len));
	for (int i = 0; i < PAGES; i++)
		alias_at(l, i)[0] = 1;
	for (int i = 0; i < PAGES; i++)
		EXPECT_EQ(i / 4, node_of(l, i));
	ASSERT_EQ(0, syscall(__NR_get_mempolicy, &mode, &nodes,
			     8 * sizeof(nodes), alias_at(l, 4), MPOL_F_ADDR));
	EXPECT_EQ(MPOL_BIND, mode);
	EXPECT_EQ(2, nodes);
	/* Present pages do not move, and cannot be forced to. */
	ASSERT_EQ(0, remap(l, l->m.fd, 0));
	by_guest = false;
	for (int i = 0; i < PAGES; i++)
		EXPECT_READS(l, i, 1);
	EXPECT_EQ(0, bind_to(l, 0, PAGES, MPOL_BIND, 2, 0));
	EXPECT_EQ(-EIO, bind_to(l, 0, PAGES, MPOL_BIND, 2,
				MPOL_MF_STRICT | MPOL_MF_MOVE_ALL));
	EXPECT_EQ(0, node_of(l, 0));
	EXPECT_EQ(0, bind_to(l, 0, PAGES, MPOL_DEFAULT, 0, 0));
	ASSERT_EQ(0, syscall(__NR_get_mempolicy, &mode, NULL, 0UL,
			     alias_at(l, 4), MPOL_F_ADDR));
	EXPECT_EQ(MPOL_DEFAULT, mode);
}

TEST_HARNESS_MAIN
