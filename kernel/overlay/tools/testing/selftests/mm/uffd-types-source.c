// SPDX-License-Identifier: GPL-2.0
/*
 * UFFDIO_COPY from a source that is not in memory. The kernel cannot wait for
 * it while holding its locks: it drops them, reads the source, takes the locks
 * again, and must check everything again.
 */
#include "../kselftest_harness.h"
#include "uffd/expect.h"

LAB_FIXTURE(mem);
LAB_ALL_VARIANTS(mem);

TEST_F(mem, never_touched)
{
	struct lab *l = &self->l;
	__s64 done;

	ASSERT_EQ(0, madvise(l->src, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0));
}

/* Present and absent parts, in one call */
TEST_F(mem, swapped_out)
{
	struct lab *l = &self->l;
	unsigned int i;
	__s64 done;
	char *copy;

	LAB_SKIP_IF(lab_lacking_swap());
	copy = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, copy);
	memcpy(copy, l->src, l->m.len);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	for (i = 1; i < PAGES; i += 2) {
		ASSERT_EQ(0, swap_out(copy + i * l->m.page, LAB_PAGE,
				      LAB_DEADLINE_MS));
	}
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, copy, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
}

TEST_F(mem, private_file)
{
	struct lab *l = &self->l;
	int fd = lab_file_memfd(l->m.len);
	unsigned int i;
	char *copy;

	ASSERT_LE(0, fd);
	ASSERT_EQ((ssize_t)l->m.len, pwrite(fd, l->src, l->m.len, 0));
	copy = mmap(NULL, l->m.len, PROT_READ, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, copy);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, copy, l->m.len, 0, NULL));
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
	close(fd);
}

/* Beyond the end of a file, poisoned */
TEST_F(mem, bad_source)
{
	struct lab *l = &self->l;
	int fd = lab_file_memfd(LAB_PAGE);
	__s64 done;
	char *bad;

	ASSERT_LE(0, fd);
	bad = mmap(NULL, 2 * l->m.page, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, bad);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 0), bad + l->m.page,
				    l->m.page, 0, &done));
	EXPECT_EQ(-EFAULT, done);
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 0), page_at(l, 1),
				    l->m.page, 0, &done));
	EXPECT_EQ(-EFAULT, done);
	close(fd);
}

TEST_F(mem, served_by_another)
{
	struct lab *l = &self->l;
	static struct copier c;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_TRUE(touch_waits(&t));
	/* No lock is held meanwhile: other pages and other calls work. */
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	ASSERT_EQ(0, munmap(page_at(l, 7), l->m.page));
	EXPECT_EQ(0, copier_result(&c));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
}

/* One userfaultfd serves both the source and the destination. */
TEST_F(mem, served_by_the_same)
{
	struct lab *l = &self->l;
	static struct copier c;
	struct uffd_msg msg = { 0 };

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	c.l = l;
	c.len = l->m.page;
	c.from = page_at(l, 1);		/* hence page 3 */
	ASSERT_EQ(0, pthread_create(&c.thread, NULL, copier_fn, &c));
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 3), msg.arg.pagefault.address);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	ASSERT_EQ(0, pthread_join(c.thread, NULL));
	EXPECT_EQ(0, c.ret);
	EXPECT_TRUE(same_at(l, page_at(l, 2), 3));
}

TEST_F(mem, unmapped_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, munmap(page_at(l, 2), l->m.page));
	EXPECT_EQ(-ENOENT, copier_result(&c));
}

TEST_F(mem, unregistered_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_EQ(-ENOENT, copier_result(&c));
	EXPECT_EQ(0, read_byte(page_at(l, 2)));
}

TEST_F(mem, other_memory_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(page_at(l, 2), mmap(page_at(l, 2), l->m.page,
				      PROT_READ | PROT_WRITE, MAP_PRIVATE |
				      MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(-ENOENT, copier_result(&c));
	EXPECT_EQ(0, read_byte(page_at(l, 2)));
}

/* Types of which a test can open another file */
LAB_FIXTURE(opened);
LAB_OPENED_VARIANTS(opened);

/*
 * Another file of the same type, with the same registration. Linux 6.12 only
 * checks the registration and fills the new file; EAGAIN, as of later kernels,
 * is valid too. In no case is the old file filled.
 */
TEST_F(opened, other_file_meanwhile)
{
	struct lab *l = &self->l;
	int flags = lab_is_shared(&l->m) ? MAP_SHARED : MAP_PRIVATE;
	static struct copier c;
	int fd;

	fd = variant->type->file(l->m.len);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(l->m.area, mmap(l->m.area, l->m.len, PROT_READ | PROT_WRITE,
				  flags | MAP_FIXED, fd, 0));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_end(&c));
	EXPECT_EQ(0, lab_blocks(&l->m));
	if (c.ret == -EAGAIN) {
		EXPECT_EQ(-EAGAIN, c.done);
		EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2),
				      l->m.page, 0, NULL));
	} else {
		EXPECT_EQ(0, c.ret);
		EXPECT_EQ((__s64)l->m.page, c.done);
	}
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	close(fd);
}

TEST_F(mem, filled_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_EQ(-EEXIST, copier_result(&c));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 5));
}

static void *dontneed_fn(void *arg)
{
	const struct lab *l = arg;

	madvise(page_at(l, 6), l->m.page, MADV_DONTNEED);
	return NULL;
}

TEST_F(mem, event_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;
	struct pollfd pfd;
	struct uffd_msg msg;
	pthread_t thread;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, pthread_create(&thread, NULL, dontneed_fn, l));
	pfd = (struct pollfd) { .fd = l->uffd, .events = POLLIN };
	ASSERT_EQ(1, poll(&pfd, 1, LAB_DEADLINE_MS));
	EXPECT_EQ(-EAGAIN, copier_result(&c));
	EXPECT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
}

/* The source itself disappears. */
TEST_F(mem, source_unmapped_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, munmap(c.from, l->m.len));
	ASSERT_EQ(0, lab_wake(c.from_uffd, c.from, l->m.len));
	ASSERT_EQ(0, lab_join(c.thread, LAB_DEADLINE_MS));
	EXPECT_EQ(-EFAULT, c.ret);
	EXPECT_EQ(-EFAULT, c.done);
	/* Nothing was left behind. */
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
}

/* Part of the range is done when it happens. */
TEST_F(mem, partial)
{
	struct lab *l = &self->l;
	static struct copier c;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	c.len = 3 * l->m.page;
	ASSERT_EQ(0, copier_start(&c, l));
	/* Granule 3 is present now. */
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 5), l->m.page,
			      0, NULL));
	ASSERT_EQ(0, copier_end(&c));
	EXPECT_EQ(-EAGAIN, c.ret);
	EXPECT_EQ((__s64)l->m.page, c.done);
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 5));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 4), src_at(l, 4), l->m.page,
			      0, &done));
}

LAB_FIXTURE(base);
LAB_BASE_VARIANTS(base);

/*
 * EINVAL, or EAGAIN from a kernel that compares with the previous state. Not
 * for hugetlb, where Linux 6.12 does not check again and protects the page.
 */
TEST_F(base, wp_gone_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c = { .mode = UFFDIO_COPY_MODE_WP };

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_end(&c));
	EXPECT_TRUE(c.ret == -EINVAL || c.ret == -EAGAIN);
	EXPECT_EQ(c.ret, c.done);
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_PRESENT));
}

/* Files whose size can change */

LAB_FIXTURE(sized);
LAB_SIZED_VARIANTS(sized);

TEST_F(sized, truncated_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, ftruncate(l->m.fd, 2 * l->m.page));
	EXPECT_EQ(-EFAULT, copier_result(&c));
	EXPECT_EQ(0, lab_blocks(&l->m));
}

/*
 * Meanwhile present in the file: a shared fill sees it, a private fill does
 * not.
 */
TEST_F(sized, written_meanwhile)
{
	struct lab *l = &self->l;
	static struct copier c;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, copier_start(&c, l));
	memcpy(alias_at(l, 2), src_at(l, 5), l->m.page);
	EXPECT_EQ(lab_is_shared(&l->m) ? -EEXIST : 0, copier_result(&c));
	EXPECT_TRUE(same_at(l, page_at(l, 2), lab_is_shared(&l->m) ? 5 : 2));
	EXPECT_TRUE(same_at(l, alias_at(l, 2), 5));
	EXPECT_EQ((long)(l->m.page / 512), lab_blocks(&l->m));
}

TEST_HARNESS_MAIN
