// SPDX-License-Identifier: GPL-2.0
/*
 * What is specific to hugetlb under userfaultfd: the granule, the pool and its
 * reservations, control groups, poison of a huge page, and a COPY that drops
 * its locks. What it has in common with other types is in uffd-types*.
 *
 * After every test the pool is the same as before.
 */
#include "../kselftest_harness.h"
#include "uffd/hugetlb.h"
#include <linux/mempolicy.h>
#include <sys/wait.h>

/* Every hugetlb memory type, with its reservation */

HUGETLB_FIXTURE(pool);
LAB_HUGETLB_VARIANTS(pool);

TEST_F(pool, granule)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	enum op op;

	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area + LAB_PAGE,
					l->m.page, LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, LAB_PAGE,
					LAB_MISSING, NULL));
	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	file_write(l, 0, 1);
	for (op = 0; op < FILLS; op++) {
		kept = pool(l);
		EXPECT_OP(FAILED(-EINVAL), l->uffd, op, l->m.area + LAB_PAGE,
			  l->src, l->m.page, 0);
		EXPECT_POOL(l->m.page, kept);
		kept = pool(l);
		EXPECT_OP(FAILED(-EINVAL), l->uffd, op, l->m.area, l->src,
			  LAB_PAGE, 0);
		EXPECT_POOL(l->m.page, kept);
		/* Neither rounded nor done in part */
		kept = pool(l);
		EXPECT_OP(FAILED(-EINVAL), l->uffd, op, l->m.area, l->src,
			  l->m.page + LAB_PAGE, 0);
		EXPECT_POOL(l->m.page, kept);
	}
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, WRITEPROTECT, l->m.area, NULL,
		  LAB_PAGE, UFFDIO_WRITEPROTECT_MODE_WP);
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, WRITEPROTECT, l->m.area + LAB_PAGE,
		  NULL, l->m.page, UFFDIO_WRITEPROTECT_MODE_WP);
	EXPECT_EQ(-EINVAL, lab_unregister(l->uffd, l->m.area + LAB_PAGE,
					  l->m.page));
	/* A wake compares addresses only: any page will do. */
	EXPECT_EQ(0, lab_wake(l->uffd, l->m.area + LAB_PAGE, LAB_PAGE));
}

TEST_F(pool, no_zeropage)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	__u64 mode;

	for (mode = 1; mode < 8; mode++) {
		ASSERT_EQ(0, arm(l, mode));
		kept = pool(l);
		EXPECT_OP(FAILED(-EINVAL), l->uffd, ZEROPAGE, l->m.area, NULL,
			  l->m.len, 0);
		EXPECT_POOL(l->m.page, kept);
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	}
	/* The same if a page is present */
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	EXPECT_OP(DONE, l->uffd, COPY, l->m.area, l->src, l->m.page, 0);
	EXPECT_OP(FAILED(-EINVAL), l->uffd, ZEROPAGE, l->m.area, NULL,
		  l->m.page, 0);
}

/* A fill uses the reservation of its page. */
TEST_F(pool, copy_takes_the_reservation)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	struct lab_pool before = pool(l);
	unsigned int i;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), l->src, l->m.page, 0);
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	EXPECT_OP(PARTIAL(l->m.page), l->uffd, COPY, page_at(l, 0), l->src,
		  2 * l->m.page, 0);
	EXPECT_POOL(l->m.page, taken(l, before, 2, 2));
	/* Another mapping reserves the rest of the pool. */
	ASSERT_EQ(0, hog(l, 0));
	for (i = 2; i < PAGES; i++)
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, i),
			  l->m.page, 0);
	for (i = 2; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
	kept = pool(l);
	EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_POOL(l->m.page, kept);
}

TEST_F(pool, exists)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	struct lab_pool before;
	enum op op;

	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), l->src, page, 0);
	before = pool(l);
	for (op = 0; op < FILLS; op++) {
		/* The file has no page: this is checked first. */
		int want = op == CONTINUE && !lab_is_shared(&l->m) ?
			   -EFAULT : -EEXIST;

		if (op == ZEROPAGE)
			continue;
		EXPECT_OP(FAILED(want), l->uffd, op, page_at(l, 1), l->src,
			  page, 0);
		EXPECT_POOL(l->m.page, before);
	}
	EXPECT_OP(PARTIAL(page), l->uffd, POISON, page_at(l, 0), l->src,
		  2 * page, 0);
	EXPECT_POOL(l->m.page, before);
}

/* Written through the second mapping: in the file, not in this page table. */
TEST_F(pool, exists_in_the_file)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	size_t page = l->m.page;
	struct lab_pool before;

	file_write(l, 0, 2);
	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	before = pool(l);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 0), NULL, page, 0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, CONTINUE, page_at(l, 0), NULL, page,
		  0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 0), l->src, page,
		  0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, POISON, page_at(l, 0), NULL, page,
		  0);
	EXPECT_POOL(l->m.page, before);
	if (lab_is_shared(&l->m)) {
		kept = pool(l);
		EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 1), l->src,
			  page, 0);
		EXPECT_POOL(l->m.page, kept);
		EXPECT_OP(PARTIAL(page), l->uffd, CONTINUE, page_at(l, 1), NULL,
			  2 * page, 0);
		EXPECT_POOL(l->m.page, before);
	} else {
		/* A page of its own; the page of the file stays. */
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 5),
			  page, 0);
		EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
		EXPECT_TRUE(same_at(l, page_at(l, 1), 5));
		EXPECT_TRUE(same_at(l, alias_at(l, 1), 1));
	}
}

TEST_F(pool, continue_of_a_hole)
{
	struct lab *l = &self->l;
	struct lab_pool before;
	size_t page = l->m.page;

	file_write(l, 2, 1);
	ASSERT_EQ(0, arm(l, LAB_MINOR));
	before = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 0), NULL, page,
		  0);
	EXPECT_OP(PARTIAL(page), l->uffd, CONTINUE, page_at(l, 2), NULL,
		  2 * page, 0);
	EXPECT_POOL(l->m.page, before);
	/* With MINOR, the kernel fills the hole and uses the reservation. */
	ASSERT_EQ(0, hog(l, 0));
	EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
	EXPECT_FALSE(has_msg(l));
}

/*
 * Beyond the end of the file, shared memory cannot be filled, private memory
 * can.
 */
TEST_F(pool, end_of_file)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	struct lab_pool before;
	size_t page = l->m.page;
	int code = 0;
	char v;

	ASSERT_EQ(-1, ftruncate(l->m.fd, LAB_PAGE));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(0, ftruncate(l->m.fd, 3 * page));
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	before = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 3), NULL, page,
		  0);
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 4), true, &v, &code));
	EXPECT_EQ(BUS_ADRERR, code);
	EXPECT_FALSE(has_msg(l));
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 5), NULL, page, 0);
	EXPECT_POOL(l->m.page, before);
	if (lab_is_shared(&l->m)) {
		kept = pool(l);
		EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 3), l->src,
			  page, 0);
		EXPECT_POOL(l->m.page, kept);
		EXPECT_OP(PARTIAL(page), l->uffd, COPY, page_at(l, 2), l->src,
			  2 * page, 0);
	} else {
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 2), src_at(l, 2),
			  2 * page, 0);
		EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	}
}

/* Cases in which COPY has its page and cannot map it */
TEST_F(pool, source_not_readable)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	size_t page = l->m.page;
	struct lab_pool before = pool(l);
	char *bad = src_at(l, 1) + page / 2;
	unsigned int i;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, mprotect(bad, LAB_PAGE, PROT_NONE));
	for (i = 0; i < 4; i++) {
		kept = pool(l);
		EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 1),
			  src_at(l, 1), page, 0);
		EXPECT_POOL(l->m.page, kept);
	}
	EXPECT_OP(PARTIAL(page), l->uffd, COPY, page_at(l, 0), src_at(l, 0),
		  3 * page, 0);
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	/* The last reservation is still there. */
	ASSERT_EQ(0, hog(l, 0));
	kept = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 1), src_at(l, 1),
		  page, 0);
	EXPECT_POOL(l->m.page, kept);
	ASSERT_EQ(0, mprotect(bad, LAB_PAGE, PROT_READ));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), page, 0);
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
}

/* Reading the source takes an additional page, although none is free. */
TEST_F(pool, absent_source_and_no_free_page)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, hog(l, 0));
	ASSERT_EQ(0, madvise(l->src, l->m.len, MADV_DONTNEED));
	EXPECT_OP(DONE, l->uffd, COPY, l->m.area, l->src, l->m.len, 0);
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0));
}

/* DONTNEED of a private mapping returns the page, with its reservation. */
TEST_F(pool, dontneed)
{
	struct lab *l = &self->l;
	struct lab_pool before = pool(l), after;
	unsigned int i;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, hog(l, 0));
	before = pool(l);
	after = lab_is_shared(&l->m) ? taken(l, before, 1, 1) : before;
	for (i = 0; i < 3; i++) {
		int want = i && lab_is_shared(&l->m) ? -EEXIST : 0;

		EXPECT_EQ(want, lab_copy(l->uffd, page_at(l, 3), l->src,
					 l->m.page, 0, NULL));
		EXPECT_POOL(l->m.page, want ? after : taken(l, before, 1, 1));
		ASSERT_EQ(0, madvise(page_at(l, 3), l->m.page, MADV_DONTNEED));
		EXPECT_POOL(l->m.page, after);
	}
}

/* A reservation moves with its mapping. */
TEST_F(pool, mremap)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	struct lab_pool before;
	char *to;

	/* Free, aligned addresses */
	to = mmap(NULL, l->m.len + page, PROT_NONE, MAP_PRIVATE |
		  MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	to = (char *)(((uintptr_t)to + page - 1) & -page);
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), page, 0);
	ASSERT_EQ(0, hog(l, 0));
	before = pool(l);
	ASSERT_EQ(to, mremap(l->m.area, l->m.len, l->m.len, MREMAP_MAYMOVE |
			     MREMAP_FIXED, to));
	EXPECT_POOL(l->m.page, before);
	EXPECT_TRUE(same_at(l, to + page, 1));
	EXPECT_OP(FAILED(-ENOENT), l->uffd, COPY, to, l->src, page, 0);
	ASSERT_EQ(0, lab_register(l->uffd, to, l->m.len, LAB_MISSING, NULL));
	EXPECT_OP(DONE, l->uffd, COPY, to + 4 * page, src_at(l, 4), page, 0);
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	EXPECT_TRUE(same_at(l, to + 4 * page, 4));
	ASSERT_EQ(0, munmap(to, l->m.len));
}

/* A child inherits the pages at fork(); private reservations stay. */
TEST_F(pool, fork)
{
	struct lab *l = &self->l;
	int status = 0;
	pid_t pid;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), src_at(l, 0), l->m.page,
		  0);
	ASSERT_EQ(0, hog(l, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Not armed any more, so it stays a separate mapping */
		int uffd = lab_uffd_open(BASE_FEATURES);
		int err = lab_register(uffd, l->m.area, l->m.len, LAB_MISSING,
				       NULL);

		if (!err && !same_at(l, page_at(l, 0), 0))
			err = -EIO;
		if (!err)
			err = lab_copy(uffd, page_at(l, 1), src_at(l, 1),
				       l->m.page, 0, NULL);
		_exit(-err);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(lab_is_shared(&l->m) ? 0 : ENOMEM, WEXITSTATUS(status));
	EXPECT_EQ(lab_is_shared(&l->m) ? -EEXIST : 0,
		  lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page, 0,
			   NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
}

/* First the limit of the control group, then its removal */
TEST_F(pool, cgroup_limit)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	struct lab_pool before;

	file_write(l, 5, 1);
	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	/* One of them belongs to the file. */
	ASSERT_EQ(0, lab_write(group, "hugetlb.2MB.max", "6291456"));
	before = pool(l);
	EXPECT_OP(PARTIAL(2 * page), l->uffd, COPY, page_at(l, 0), l->src,
		  4 * page, 0);
	EXPECT_POOL(l->m.page, taken(l, before, 2, 2));
	before = pool(l);
	EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, page_at(l, 2), l->src, page,
		  0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 0), l->src, page,
		  0);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 5), NULL, page, 0);
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 6), NULL, page, 0);
	EXPECT_POOL(l->m.page, before);
	ASSERT_EQ(0, lab_write(group, "hugetlb.2MB.max", "max"));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 2), l->src, page, 0);
}

/* si_addr_lsb reports how much memory is lost. */
static int poison_lsb;

static void poison_told(int sig, siginfo_t *info, void *context)
{
	__atomic_store_n(&poison_lsb, info->si_addr_lsb, __ATOMIC_RELAXED);
	lab_on_signal(sig, info, context);
}

TEST_F(pool, poison)
{
	struct sigaction sa = { .sa_sigaction = poison_told,
				.sa_flags = SA_SIGINFO };
	struct lab *l = &self->l;
	struct lab_pool before = pool(l);
	char *last = page_at(l, 4) + l->m.page - 1;
	int code = 0;
	char v;

	sigaction(SIGBUS, &sa, NULL);
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 4), NULL, 2 * l->m.page, 0);
	EXPECT_EQ(SIGBUS, lab_access(last, false, &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	EXPECT_EQ(__builtin_ctzl(l->m.page),
		  __atomic_load_n(&poison_lsb, __ATOMIC_RELAXED));
	EXPECT_OP(FAILED(-EEXIST), l->uffd, POISON, page_at(l, 4), NULL,
		  l->m.page, 0);
	EXPECT_FALSE(has_msg(l));
	EXPECT_POOL(l->m.page, before);
	/* COPY replaces it, DONTNEED removes it. */
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 4), src_at(l, 4), l->m.page,
		  0);
	EXPECT_EQ(src_at(l, 4)[l->m.page - 1], read_byte(last));
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_DONTNEED));
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_EQ(0, read_byte(page_at(l, 5)));
}

/* COPY drops its locks to read the source: what can happen meanwhile */

TEST_F(pool, unmapped_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	EXPECT_EQ(-ENOENT, copier_result(&c));
}

TEST_F(pool, truncated_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, ftruncate(l->m.fd, 2 * l->m.page));
	EXPECT_EQ(lab_is_shared(&l->m) ? -EFAULT : 0, copier_result(&c));
	EXPECT_EQ(!c.ret, lab_pm(page_at(l, 2), LAB_PM_PRESENT));
}

/* There is no page to punch, only the reservation. */
TEST_F(pool, punched_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, punch_file(l, 2, 1));
	EXPECT_EQ(0, copier_result(&c));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
}

TEST_F(pool, written_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;
	struct lab_pool before;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	before = pool(l);
	ASSERT_EQ(0, copier_start(&c, l));
	memcpy(alias_at(l, 2), src_at(l, 5), l->m.page);
	EXPECT_EQ(lab_is_shared(&l->m) ? -EEXIST : 0, copier_result(&c));
	EXPECT_TRUE(same_at(l, page_at(l, 2), lab_is_shared(&l->m) ? 5 : 2));
	EXPECT_TRUE(same_at(l, alias_at(l, 2), 5));
	EXPECT_POOL(l->m.page, lab_is_shared(&l->m) ? taken(l, before, 1,
							    1) : taken(l,
								       before,
								       2, 2));
}

TEST_F(pool, poisoned_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, copier_start(&c, l));
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 2), NULL, l->m.page, 0);
	EXPECT_EQ(0, copier_result(&c));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
}

TEST_F(pool, source_gone_meanwhile)
{
	struct lab *l = &self->l;
	struct lab_pool before;
	static struct copier c;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	before = pool(l);
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, munmap(c.from, l->m.len));
	ASSERT_EQ(0, lab_wake(c.from_uffd, c.from, l->m.len));
	ASSERT_EQ(0, lab_join(c.thread, LAB_DEADLINE_MS));
	EXPECT_EQ(-EFAULT, c.ret);
	EXPECT_EQ(-EFAULT, c.done);
	EXPECT_POOL(l->m.page, before);
}

/*
 * Protection was requested while the mapping was armed with WP. Linux 6.12 does
 * not check again and protects the page; EINVAL as for other memory, or EAGAIN,
 * is valid too.
 */
TEST_F(pool, wp_gone_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c = { .mode = UFFDIO_COPY_MODE_WP };
	struct lab_pool before;

	ASSERT_EQ(0, arm(l, LAB_MISSING | LAB_WP));
	before = pool(l);
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, copier_end(&c));
	EXPECT_TRUE(!c.ret || c.ret == -EINVAL || c.ret == -EAGAIN);
	EXPECT_EQ(!c.ret, lab_pm(page_at(l, 2), LAB_PM_PRESENT));
	EXPECT_POOL(l->m.page, c.ret ? before : taken(l, before, 1, 1));
}

/*
 * Memory policy, on a machine with two nodes: the page that COPY fills comes
 * from the node of the mapping's policy, not from the node of the task.
 */

HUGETLB_FIXTURE(policy);
LAB_HUGETLB_VARIANTS(policy);

static long node_free(int node)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/free_hugepages",
		 node);
	return lab_number(path, "");
}

static int bind_to(const struct lab *l, unsigned int i, int node)
{
	unsigned long mask = 1UL << node;

	return syscall(__NR_mbind, page_at(l, i), l->m.page, MPOL_BIND, &mask,
		       8 * sizeof(mask), 0) ? -errno : 0;
}

TEST_F(policy, bind)
{
	struct lab *l = &self->l;
	unsigned int i;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "needs two nodes");
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	for (i = 0; i < PAGES; i++) {
		int node = i % 2;
		long here = node_free(node), there = node_free(!node);

		ASSERT_LT(0, here);
		ASSERT_LT(0, there);
		ASSERT_EQ(0, bind_to(l, i, node));
		/* Alternately with the locks dropped in between */
		if (i & 2) {
			ASSERT_EQ(0, madvise(src_at(l, i), l->m.page,
					     MADV_DONTNEED));
		}
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, i),
			  l->m.page, 0);
		EXPECT_EQ(here - 1, node_free(node));
		EXPECT_EQ(there, node_free(!node));
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
}

/* Without reservation: the first fill takes what is free. */

HUGETLB_FIXTURE(noreserve);
LAB_VARIANT(noreserve, noreserve_shared);
LAB_VARIANT(noreserve, noreserve_private);

TEST_F(noreserve, copy_takes_what_is_free)
{
	struct lab *l = &self->l;
	struct lab_pool before = pool(l);

	EXPECT_EQ(self->start.reserved, before.reserved);
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	EXPECT_OP(DONE, l->uffd, COPY, l->m.area, l->src, 2 * l->m.page, 0);
	EXPECT_POOL(l->m.page, taken(l, before, 2, 0));
	ASSERT_EQ(0, punch_file(l, 0, 1));
	EXPECT_POOL(l->m.page, taken(l, before, 1, 0));
	ASSERT_EQ(0, punch_file(l, 1, 1));
	EXPECT_POOL(l->m.page, before);
}

TEST_F(noreserve, errors)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	size_t page = l->m.page;

	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), l->src, page, 0);
	kept = pool(l);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 0), l->src, page,
		  0);
	EXPECT_POOL(l->m.page, kept);
	kept = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 1), NULL, page,
		  0);
	EXPECT_POOL(l->m.page, kept);
	ASSERT_EQ(0, mprotect(src_at(l, 2), page, PROT_NONE));
	kept = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 1), src_at(l, 2),
		  page, 0);
	EXPECT_POOL(l->m.page, kept);
	ASSERT_EQ(0, ftruncate(l->m.fd, 4 * page));
	if (lab_is_shared(&l->m)) {
		kept = pool(l);
		EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 4), l->src,
			  page, 0);
		EXPECT_POOL(l->m.page, kept);
	}
}

/* Another mapping reserves the whole pool. */
TEST_F(noreserve, pool_is_empty)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	struct lab_pool before;
	int code = 0;
	char v;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, hog(l, 1));
	before = pool(l);
	EXPECT_OP(PARTIAL(page), l->uffd, COPY, page_at(l, 0), l->src, 3 * page,
		  0);
	EXPECT_POOL(l->m.page, taken(l, before, 1, 0));
	before = pool(l);
	EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, page_at(l, 1), l->src, page,
		  0);
	/* The source has not been read at that point. */
	EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, page_at(l, 1), NULL, page, 0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 0), NULL, page, 0);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 1), NULL, page,
		  0);
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 2), NULL, page, 0);
	EXPECT_POOL(l->m.page, before);
	/* The kernel has no page either. */
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 1), false, &v, &code));
	EXPECT_EQ(BUS_ADRERR, code);
}

/* The page that was present is gone when COPY retries. */
TEST_F(noreserve, pool_emptied_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, hog(l, 0));
	EXPECT_EQ(-ENOMEM, copier_result(&c));
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_PRESENT));
}

/* COPY allocates surplus pages, and frees them if it fails. */
TEST_F(noreserve, surplus)
{
	static const char dir[] =
		"/sys/kernel/mm/hugepages/hugepages-2048kB";
	struct lab *l = &self->l;
	struct lab_pool kept;
	struct lab_pool before, more;

	ASSERT_EQ(0, arm(l, LAB_MISSING));
	ASSERT_EQ(0, hog(l, 0));
	ASSERT_EQ(0, lab_write(dir, "nr_overcommit_hugepages", "1"));
	before = pool(l);
	ASSERT_EQ(0, mprotect(src_at(l, 1), l->m.page, PROT_NONE));
	kept = pool(l);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 1), src_at(l, 1),
		  l->m.page, 0);
	EXPECT_POOL(l->m.page, kept);
	EXPECT_OP(PARTIAL(l->m.page), l->uffd, COPY, page_at(l, 2), src_at(l,
									   2),
		  2 * l->m.page, 0);
	more = taken(l, before, 1, 0);
	more.free++;
	more.total++;
	more.surplus++;
	EXPECT_POOL(l->m.page, more);
	kept = pool(l);
	EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, page_at(l, 3), src_at(l, 3),
		  l->m.page, 0);
	EXPECT_POOL(l->m.page, kept);
	ASSERT_EQ(0, punch_file(l, 2, 1));
	EXPECT_POOL(l->m.page, before);
	EXPECT_EQ(0, lab_write(dir, "nr_overcommit_hugepages", "0"));
}

/*
 * A page that the hardware (here: madvise) declared bad. The module
 * hwpoison-inject is needed to return it to the pool.
 */

HUGETLB_FIXTURE(hwpoison);
LAB_HUGETLB_VARIANTS(hwpoison);

static void hwpoison_told(int sig)
{
	(void)sig;
}

/* The page stays in the file and is no longer mapped. */
TEST_F(hwpoison, of_the_file)
{
	struct lab *l = &self->l;
	struct lab_pool kept;
	char pfn[24];

	file_write(l, 3, 1);
	snprintf(pfn, sizeof(pfn), "0x%llx",
		 lab_pagemap(alias_at(l, 3)) & ((1ULL << 55) - 1));
	ASSERT_EQ(0, arm(l, all_modes(&l->m)));
	/*
	 * This process gets SIGBUS, since it maps the page, and cannot ignore
	 * it.
	 */
	signal(SIGBUS, hwpoison_told);
	ASSERT_EQ(0, madvise(alias_at(l, 3), LAB_PAGE, MADV_HWPOISON));
	kept = pool(l);
	EXPECT_OP(FAILED(-EIO), l->uffd, CONTINUE, page_at(l, 3), NULL,
		  l->m.page, 0);
	EXPECT_POOL(l->m.page, kept);
	if (lab_is_shared(&l->m)) {
		kept = pool(l);
		EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 3), l->src,
			  l->m.page, 0);
		EXPECT_POOL(l->m.page, kept);
	}
	ASSERT_EQ(0, ftruncate(l->m.fd, 0));
	EXPECT_EQ(0, lab_write("/sys/kernel/debug/hwpoison", "unpoison-pfn",
			       pfn));
}

/* A private mapping of a file that has pages */

HUGETLB_FIXTURE(private);
LAB_HUGETLB_PRIVATE_VARIANTS(private);

TEST_F(private, file_page_is_not_missing)
{
	struct lab *l = &self->l;
	struct lab_pool before;

	file_write(l, 0, 2);
	ASSERT_EQ(0, arm(l, LAB_MISSING));
	before = pool(l);
	EXPECT_EQ(src_at(l, 0)[0], read_byte(page_at(l, 0)));
	EXPECT_POOL(l->m.page, before);
	EXPECT_EQ(0, write_byte(page_at(l, 0), 7));
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 7));
	EXPECT_POOL(l->m.page, taken(l, before, 2, 2));
	EXPECT_FALSE(has_msg(l));
	EXPECT_TRUE(same_at(l, alias_at(l, 0), 0));
}

/* CONTINUE maps it read-only; a write makes a copy from the reservation. */
TEST_F(private, continue_then_write)
{
	struct lab *l = &self->l;
	struct lab_pool before;

	file_write(l, 0, 1);
	ASSERT_EQ(0, arm(l, LAB_MINOR));
	ASSERT_EQ(0, hog(l, 0));
	before = pool(l);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 0), NULL, l->m.page, 0);
	EXPECT_POOL(l->m.page, before);
	EXPECT_EQ(0, write_byte(page_at(l, 0), 7));
	EXPECT_FALSE(has_msg(l));
	EXPECT_POOL(l->m.page, taken(l, before, 1, 1));
	EXPECT_TRUE(same_at(l, alias_at(l, 0), 0));
	/* A punch also removes the private copy, as before. */
	ASSERT_EQ(0, punch_file(l, 0, 1));
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));
}

TEST_HARNESS_MAIN
