// SPDX-License-Identifier: GPL-2.0
/*
 * What userfaultfd does for each memory type: registration, the faults that it
 * reports, and what each ioctl puts into memory. Errors are in
 * uffd-types-errno.c, write protection in uffd-types-wp.c, changing mappings
 * and files in uffd-types-life.c, files and accounting in uffd-types-file.c, huge
 * pages in uffd-types-huge.c and uffd-types-thp.c.
 */
#include "../kselftest_harness.h"
#include "uffd/fixture.h"

/* Every memory type */

LAB_FIXTURE(mem);
LAB_ALL_VARIANTS(mem);

TEST_F(mem, register_every_mode)
{
	struct lab *l = &self->l;
	__u64 mode, mask;

	for (mode = 1; mode < 8; mode++) {
		int want = (mode & LAB_MINOR) && !lab_is_file(&l->m) ?
			   -EINVAL : 0;

		mask = 0;
		EXPECT_EQ(want, lab_register(l->uffd, l->m.area, l->m.len,
					     mode, &mask))
			TH_LOG("mode %llu", mode);
		EXPECT_EQ(want ? 0ULL : expected_ioctls(&l->m, mode), mask)
			TH_LOG("mode %llu", mode);
		/* Also if nothing is registered */
		EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	}

	/* Nothing is registered any more: the kernel resolves this fault. */
	EXPECT_EQ(0, read_byte(page_at(l, 0)));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 1));
	EXPECT_FALSE(has_msg(l));
}

/* More modes than before, and different modes */
TEST_F(mem, register_again)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	__u64 mask = 0;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-ENOENT, lab_writeprotect(l->uffd, l->m.area, l->m.len,
					    UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, &mask));
	EXPECT_EQ(expected_ioctls(&l->m, LAB_MISSING | LAB_WP), mask);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), true, 7,
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 0), l->m.page, 0));
	EXPECT_TOUCHED(&t, 7);
	EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_WP, NULL));
	/* MISSING is gone. */
	EXPECT_EQ(0, read_byte(page_at(l, 1)));
	EXPECT_FALSE(has_msg(l));
}

/* A part of a mapping: the rest does not change. */
TEST_F(mem, register_a_part)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	size_t page = l->m.page;

	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 2), 4 * page,
				  LAB_MISSING, NULL));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 1));
	EXPECT_EQ(0, read_byte(page_at(l, 6)));
	EXPECT_FALSE(has_msg(l));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), page, 0,
			      NULL));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);

	/* Then the middle of it is unregistered. */
	EXPECT_EQ(0, lab_unregister(l->uffd, page_at(l, 3), 2 * page));
	EXPECT_EQ(0, read_byte(page_at(l, 3)));
	EXPECT_EQ(0, write_byte(page_at(l, 4), 1));
	EXPECT_FAULT(l, &t, page_at(l, 5), true, 9, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), page, 0,
			      NULL));
	EXPECT_TOUCHED(&t, 9);
}

TEST_F(mem, missing_read)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 3) + 100, false, 0, 0);
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, &done));
	EXPECT_EQ((__s64)l->m.page, done);
	EXPECT_TOUCHED(&t, src_at(l, 3)[100]);
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_FALSE(has_msg(l));
}

TEST_F(mem, missing_write)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 7) + 8, true, 0x77,
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 7), src_at(l, 7), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, 0x77);
	EXPECT_EQ(0x77, page_at(l, 7)[8]);
	page_at(l, 7)[8] = src_at(l, 7)[8];
	EXPECT_TRUE(same_at(l, page_at(l, 7), 7));
}

/* Two threads, one page: two messages, one fill. */
TEST_F(mem, missing_twice)
{
	struct lab *l = &self->l;
	static struct lab_touch a, b;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &a, page_at(l, 0), false, 0, 0);
	EXPECT_FAULT(l, &b, page_at(l, 0) + 1, false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&a, src_at(l, 0)[0]);
	EXPECT_TOUCHED(&b, src_at(l, 0)[1]);
	EXPECT_FALSE(has_msg(l));
}

/* A fault that is resolved before its message was read leaves no message. */
TEST_F(mem, served_unread)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	struct pollfd pfd = { .fd = l->uffd, .events = POLLIN };

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_touch_start(&t, page_at(l, 0), false, 0));
	ASSERT_EQ(1, poll(&pfd, 1, LAB_DEADLINE_MS));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 0)[0]);
	EXPECT_FALSE(has_msg(l));
}

TEST_F(mem, copy_all)
{
	struct lab *l = &self->l;
	unsigned int i;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
		EXPECT_EQ(0, write_byte(page_at(l, i), i));
	}
	EXPECT_FALSE(has_msg(l));
}

/* Only the destination must be aligned. */
TEST_F(mem, copy_unaligned_source)
{
	struct lab *l = &self->l;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src + 13, 2 * l->m.page,
			      0, &done));
	EXPECT_EQ((__s64)(2 * l->m.page), done);
	EXPECT_EQ(0, memcmp(l->m.area, l->src + 13, 2 * l->m.page));
}

/* A fill works in any mode, also if that mode does not report the fault. */
TEST_F(mem, copy_in_any_mode)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 0), l->m.page, LAB_WP,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
	if (lab_is_file(&l->m)) {
		ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 1), l->m.page,
					  LAB_MINOR, NULL));
		EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
				      l->m.page, 0, NULL));
		EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
	}
	EXPECT_FALSE(has_msg(l));
}

/* A mapping that the program cannot write to can still be filled. */
TEST_F(mem, copy_without_prot_write)
{
	struct lab *l = &self->l;
	char v = 1;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, mprotect(l->m.area, l->m.len, PROT_READ));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	EXPECT_EQ(SIGSEGV, lab_access(page_at(l, 0), true, &v, NULL));
	EXPECT_EQ(0, mprotect(l->m.area, l->m.len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, write_byte(page_at(l, 0), 2));
}

TEST_F(mem, dontwake_and_wake)
{
	struct lab *l = &self->l;
	static struct lab_touch t, u;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 1), false, 0, 0);
	EXPECT_FAULT(l, &u, page_at(l, 2), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
			      2 * l->m.page, UFFDIO_COPY_MODE_DONTWAKE, NULL));
	ASSERT_TRUE(touch_waits(&t));
	/* Not this page */
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 3), l->m.page));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 1), l->m.page));
	EXPECT_TOUCHED(&t, src_at(l, 1)[0]);
	ASSERT_TRUE(touch_waits(&u));
	/* Also on both sides of it */
	EXPECT_EQ(0, lab_wake(l->uffd, l->m.area, l->m.len));
	EXPECT_TOUCHED(&u, src_at(l, 2)[0]);
}

/* A wake-up without a fill makes the thread fault again. */
TEST_F(mem, wake_unserved)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 4), true, 4, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 4), l->m.page));
	ASSERT_EQ(UFFD_PAGEFAULT_FLAG_WRITE, next_fault(l, 4));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 4), src_at(l, 4), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, 4);
}

TEST_F(mem, poison)
{
	struct lab *l = &self->l;
	static struct lab_touch t, u;
	int code = 0;
	__s64 done;
	char v;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 1), false, 0, 0);
	EXPECT_FAULT(l, &u, page_at(l, 2), true, 1, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 1), l->m.page, 0, &done));
	EXPECT_EQ((__s64)l->m.page, done);
	ASSERT_EQ(0, lab_touch_wait(&t, LAB_DEADLINE_MS));
	EXPECT_EQ(SIGBUS, t.sig);
	EXPECT_EQ(BUS_MCEERR_AR, t.code);

	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 2), 2 * l->m.page,
				UFFDIO_POISON_MODE_DONTWAKE, NULL));
	ASSERT_TRUE(touch_waits(&u));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 2), l->m.page));
	ASSERT_EQ(0, lab_touch_wait(&u, LAB_DEADLINE_MS));
	EXPECT_EQ(SIGBUS, u.sig);
	EXPECT_EQ(BUS_MCEERR_AR, u.code);

	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	EXPECT_FALSE(has_msg(l));

	/* Dropping the entries drops poison, like other content. */
	EXPECT_EQ(0, madvise(page_at(l, 3), l->m.page, MADV_DONTNEED));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
}

/* System calls report poison as EFAULT (a read) or EHWPOISON (pinning). */
TEST_F(mem, poison_kernel_access)
{
	struct lab *l = &self->l;
	int fd[2];

	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 0), l->m.page, 0, NULL));
	EXPECT_EQ(-1, write(fd[1], page_at(l, 0), 1));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, madvise(page_at(l, 0), l->m.page, MADV_POPULATE_READ));
	/* Pages of secret memory are never pinned. */
	EXPECT_EQ(lab_is_secret(&l->m) ? EINVAL : EHWPOISON, errno);
}

/*
 * Filling over poison: the check for an occupied entry accepts all markers,
 * including poison, so COPY maps the page there.
 */
TEST_F(mem, poison_then_copy)
{
	struct lab *l = &self->l;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 0), l->m.page, 0, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, &done));
	EXPECT_EQ((__s64)l->m.page, done);
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
}

/* The kernel accesses the memory on behalf of the program. */
static void *writer_fn(void *arg)
{
	struct lab_touch *t = arg;
	int fd[2];

	t->sig = -1;
	if (pipe(fd))
		return NULL;
	t->sig = write(fd[1], t->addr, 1) == 1 ? 0 : errno;
	if (!t->sig && read(fd[0], &t->value, 1) != 1)
		t->sig = -1;
	close(fd[0]);
	close(fd[1]);
	return NULL;
}

TEST_F(mem, missing_in_the_kernel)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	t.addr = page_at(l, 5);
	ASSERT_EQ(0, pthread_create(&t.thread, NULL, writer_fn, &t));
	ASSERT_EQ(0, next_fault(l, 5));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[0]);
}

/* UFFD_USER_MODE_ONLY: accesses by the kernel fail instead of waiting. */
TEST_F(mem, user_mode_only)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	close(l->uffd);
	l->uffd = lab_uffd(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY,
			   BASE_FEATURES);
	ASSERT_LE(0, l->uffd);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	t.addr = page_at(l, 5);
	ASSERT_EQ(0, pthread_create(&t.thread, NULL, writer_fn, &t));
	ASSERT_EQ(0, lab_touch_wait(&t, LAB_DEADLINE_MS));
	EXPECT_EQ(EFAULT, t.sig);
	EXPECT_FALSE(has_msg(l));

	EXPECT_FAULT(l, &t, page_at(l, 5), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[0]);
}

/* UFFD_FEATURE_SIGBUS: a signal instead of a message */
TEST_F(mem, sigbus_feature)
{
	struct lab *l = &self->l;
	int fd[2], code = 0;
	char v = 1;

	ASSERT_EQ(0, pipe(fd));
	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_SIGBUS));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 0), false, &v, &code));
	EXPECT_EQ(BUS_ADRERR, code);
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 0), true, &v, NULL));
	EXPECT_EQ(-1, write(fd[1], page_at(l, 0), 1));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, madvise(page_at(l, 0), l->m.page, MADV_POPULATE_READ));
	EXPECT_EQ(lab_is_secret(&l->m) ? EINVAL : EFAULT, errno);

	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_EQ(src_at(l, 0)[0], read_byte(page_at(l, 0)));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 0), true, &v, NULL));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 0), l->m.page, 0));
	EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
	EXPECT_FALSE(has_msg(l));
}

TEST_F(mem, exact_address)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	struct uffd_msg msg = { 0 };

	ASSERT_EQ(0, lab_reopen(l, UFFD_FEATURE_EXACT_ADDRESS));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_touch_start(&t, page_at(l, 1) + 123, false, 0));
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 1) + 123,
		  msg.arg.pagefault.address);
	/* UFFD_FEATURE_THREAD_ID was not asked for. */
	EXPECT_EQ(0U, msg.arg.pagefault.feat.ptid);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 1)[123]);
}

/*
 * When the userfaultfd is closed, the kernel resolves the faults of its
 * waiters.
 */
TEST_F(mem, close_and_unregister_wake)
{
	struct lab *l = &self->l;
	static struct lab_touch t, u;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);
	EXPECT_FAULT(l, &u, page_at(l, 4), true, 5, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_unregister(l->uffd, page_at(l, 0), 4 * l->m.page));
	EXPECT_TOUCHED(&t, 0);
	ASSERT_TRUE(touch_waits(&u));
	close(l->uffd);
	l->uffd = -1;
	EXPECT_TOUCHED(&u, 5);
	EXPECT_EQ(0, read_byte(page_at(l, 5)));
}

/* A present page is not a missing page. */
TEST_F(mem, missing_not_when_present)
{
	struct lab *l = &self->l;

	memcpy(page_at(l, 0), src_at(l, 0), l->m.page);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
	EXPECT_FALSE(has_msg(l));
}

/* Types with base pages */

LAB_FIXTURE(base);
LAB_BASE_VARIANTS(base);

TEST_F(base, zeropage)
{
	struct lab *l = &self->l;
	static struct lab_touch t, u;
	unsigned int i;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);
	EXPECT_FAULT(l, &u, page_at(l, 1), true, 9, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 0), l->m.page, 0,
				  &done));
	EXPECT_EQ((__s64)l->m.page, done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 1), 7 * l->m.page,
				  UFFDIO_ZEROPAGE_MODE_DONTWAKE, &done));
	EXPECT_EQ((__s64)(7 * l->m.page), done);
	ASSERT_TRUE(touch_waits(&u));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 1), l->m.page));
	EXPECT_TOUCHED(&u, 9);
	for (i = 2; i < PAGES; i++) {
		EXPECT_TRUE(lab_all(page_at(l, i), l->m.page, 0));
	}
	/* Writable, and not a zero page that others share */
	EXPECT_EQ(0, write_byte(page_at(l, 7), 1));
	EXPECT_EQ(0, read_byte(page_at(l, 6)));
	EXPECT_FALSE(has_msg(l));
}

/* Files: minor faults and CONTINUE */

LAB_FIXTURE(file);
LAB_FILE_VARIANTS(file);

TEST_F(file, minor_read)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	__s64 done;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 3) + 9, false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 3), l->m.page, 0,
				  &done));
	EXPECT_EQ((__s64)l->m.page, done);
	EXPECT_TOUCHED(&t, src_at(l, 3)[9]);
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	/* Not the pages around it */
	EXPECT_FAULT(l, &t, page_at(l, 4), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	/* Content written before CONTINUE is visible after it. */
	alias_at(l, 4)[0] = 0x42;
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 0x42);
	EXPECT_FALSE(has_msg(l));
}

TEST_F(file, minor_write)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 2), true, 0x22,
		     UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 0x22);
	EXPECT_FALSE(has_msg(l));
	/* The private mapping now has its own copy. */
	EXPECT_EQ(lab_is_shared(&l->m) ? 0x22 : src_at(l, 2)[0],
		  alias_at(l, 2)[0]);
}

TEST_F(file, continue_all)
{
	struct lab *l = &self->l;
	unsigned int i;
	__s64 done;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_MISSING, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
		/* It is the page of the file, also in a private mapping. */
		alias_at(l, i)[0] = i;
		EXPECT_EQ(i, read_byte(page_at(l, i)));
	}
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(0, write_byte(page_at(l, i), 0x80 + i));
		EXPECT_EQ(lab_is_shared(&l->m) ? 0x80 + i : i,
			  (unsigned char)alias_at(l, i)[0]);
	}
	EXPECT_FALSE(has_msg(l));
}

/* CONTINUE does not require MINOR. */
TEST_F(file, continue_in_any_mode)
{
	struct lab *l = &self->l;

	file_write(l, 0, 2);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 0), l->m.page, 0, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	/* Present but not mapped, with MISSING only: the kernel maps it. */
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
	EXPECT_FALSE(has_msg(l));
}

TEST_F(file, continue_dontwake)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 0, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 0), l->m.page,
				  UFFDIO_CONTINUE_MODE_DONTWAKE, NULL));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 0), l->m.page));
	EXPECT_TOUCHED(&t, src_at(l, 0)[0]);
}

/* MINOR alone never reports a hole: the kernel allocates the page. */
TEST_F(file, minor_hole)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(0, read_byte(page_at(l, 0)));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 5));
	EXPECT_TRUE(lab_all(page_at(l, 1) + 1, l->m.page - 1, 0));
	EXPECT_FALSE(has_msg(l));
	if (lab_is_shared(&l->m)) {
		EXPECT_EQ(5, alias_at(l, 1)[0]);
	}
}

TEST_F(file, minor_and_missing)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 1, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_MISSING, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 0)[0]);

	EXPECT_FAULT(l, &t, page_at(l, 1), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 1)[0]);

	/* A hole that is filled through the file while the thread waits */
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	file_write(l, 2, 1);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	EXPECT_FALSE(has_msg(l));
}

/* Files that support fallocate() */

LAB_FIXTURE(allocated);
LAB_SHMEM_VARIANTS(allocated);
LAB_HUGETLB_VARIANTS(allocated);

/*
 * Allocated means present: fallocate() adds a page without content, and
 * touching it is a minor fault, not a missing one.
 */
TEST_F(allocated, minor)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, fallocate(l->m.fd, 0, 0, 2 * l->m.page));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_MISSING, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 1, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 0), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 0);
	EXPECT_TRUE(lab_all(page_at(l, 0), l->m.page, 0));
	/* Without a previous fault */
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	EXPECT_TRUE(lab_all(page_at(l, 1), l->m.page, 0));
	EXPECT_FALSE(has_msg(l));
}

/* shmem, with its second mapping */

LAB_FIXTURE(shmem);
LAB_SHMEM_VARIANTS(shmem);

/* A page in swap is present as well. */
TEST_F(shmem, minor_swapped_out)
{
	struct lab *l = &self->l;
	static struct lab_touch t, u;
	unsigned int i;

	LAB_SKIP_IF(lab_lacking_swap());
	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_MISSING, NULL));
	ASSERT_EQ(0, swap_out(l->m.alias, l->m.len, LAB_DEADLINE_MS));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_FAULT(l, &u, page_at(l, 1), true, 0x31,
		     UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, l->m.len, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 0)[0]);
	EXPECT_TOUCHED(&u, 0x31);
	for (i = 0; i < PAGES; i++) {
		if (i != 1) {
			EXPECT_TRUE(same_at(l, page_at(l, i), i));
		}
	}
	EXPECT_FALSE(has_msg(l));
}

/* ... and not a missing page */
TEST_F(shmem, missing_not_when_swapped_out)
{
	struct lab *l = &self->l;
	unsigned int i;

	LAB_SKIP_IF(lab_lacking_swap());
	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, swap_out(l->m.alias, l->m.len, LAB_DEADLINE_MS));
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
	EXPECT_FALSE(has_msg(l));
}

/* fault-around maps neighboring pages, but not where MINOR is registered. */
TEST_F(shmem, no_fault_around)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	for (i = 0; i < PAGES; i++) {
		EXPECT_FAULT(l, &t, page_at(l, i), false, 0,
			     UFFD_PAGEFAULT_FLAG_MINOR);
		EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, i), l->m.page, 0,
					  NULL));
		EXPECT_TOUCHED(&t, src_at(l, i)[0]);
	}
}

/* A page that write(2) reads, or that is mapped in advance by the kernel */
TEST_F(shmem, minor_in_the_kernel)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 5, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	t.addr = page_at(l, 5);
	ASSERT_EQ(0, pthread_create(&t.thread, NULL, writer_fn, &t));
	ASSERT_EQ(UFFD_PAGEFAULT_FLAG_MINOR, next_fault(l, 5));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[0]);
}

/* The mapping is armed, not the file: read(2) and write(2) do not wait. */
TEST_F(shmem, file_access_is_free)
{
	struct lab *l = &self->l;
	char buf[16];

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_MISSING, NULL));
	EXPECT_EQ(16, pread(l->m.fd, buf, 16, 0));
	EXPECT_TRUE(lab_all(buf, 16, 0));
	EXPECT_EQ(16, pwrite(l->m.fd, l->src, 16, 0));
	EXPECT_EQ(16, pread(l->m.fd, buf, 16, 0));
	EXPECT_EQ(0, memcmp(buf, l->src, 16));
	EXPECT_FALSE(has_msg(l));
}

/* Shared: the fill goes to the file. */

LAB_FIXTURE(shared);
LAB_SHARED_VARIANTS(shared);

TEST_F(shared, fill_reaches_the_file)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
			      2 * l->m.page, 0, NULL));
	EXPECT_TRUE(same_at(l, alias_at(l, 1), 1));
	EXPECT_TRUE(same_at(l, alias_at(l, 2), 2));
	alias_at(l, 1)[5] = 1;
	EXPECT_EQ(1, page_at(l, 1)[5]);
}

/* Private file mappings */

LAB_FIXTURE(private);
LAB_PRIVATE_VARIANTS(private);

/*
 * COPY and ZEROPAGE allocate memory of the mapping; the file does not change.
 */
TEST_F(private, fill_is_anonymous)
{
	struct lab *l = &self->l;
	char v;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 3));
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_FILE));
	EXPECT_EQ(0, lab_blocks(&l->m));
	EXPECT_EQ(1, pread(l->m.fd, &v, 1, 0));
	EXPECT_EQ(0, v);
	/* After it was dropped, it is missing again. */
	EXPECT_EQ(0, madvise(page_at(l, 0), l->m.page, MADV_DONTNEED));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
}

/* Only pages in the mapping count as existing, not pages in the file. */
TEST_F(private, fill_hides_the_file)
{
	struct lab *l = &self->l;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 0), 1));
	EXPECT_TRUE(same_at(l, alias_at(l, 0), 0));
	EXPECT_TRUE(lab_all(page_at(l, 1), l->m.page, 0));
	EXPECT_TRUE(same_at(l, alias_at(l, 1), 1));
	EXPECT_FALSE(has_msg(l));
}

/* CONTINUE maps the page of the file, read-only; a write copies it. */
TEST_F(private, continue_is_of_the_file)
{
	struct lab *l = &self->l;

	file_write(l, 0, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 0), l->m.page, 0, NULL));
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_FILE));
	EXPECT_EQ(0, write_byte(page_at(l, 0), 0x11));
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_FILE));
	EXPECT_TRUE(same_at(l, alias_at(l, 0), 0));
	alias_at(l, 0)[1] = 0x12;
	EXPECT_EQ(src_at(l, 0)[1], page_at(l, 0)[1]);
	EXPECT_FALSE(has_msg(l));
}

/* Private pages that were swapped out are simply present. */
TEST_F(private, own_pages_swapped_out)
{
	struct lab *l = &self->l;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_EQ(0, madvise(l->m.area, l->m.len, MADV_PAGEOUT));
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
	EXPECT_FALSE(has_msg(l));
}

/*
 * Many pages in one call, each with its own content. Where an entry has 64 bits
 * and an unsigned long has 32, an entry computed from the previous one could be
 * truncated. The last granule stays a hole.
 */
#define MANY(type)	((type)->page ? 3 : 32)

LAB_FIXTURE_PAGES(many, MANY(variant->type));
LAB_ALL_VARIANTS(many);

LAB_FIXTURE_PAGES(many_zeroes, MANY(variant->type));
LAB_BASE_VARIANTS(many_zeroes);

LAB_FIXTURE_PAGES(many_in_a_file, MANY(variant->type));
LAB_FILE_VARIANTS(many_in_a_file);

/* How many of the first @n granules, read through @area, have wrong content */
static unsigned int wrong_granules(const struct lab *l, const char *area,
				   unsigned int n)
{
	unsigned int i, wrong = 0;

	for (i = 0; i < n; i++)
		wrong += !same_at(l, area + i * l->m.page, i);
	return wrong;
}

TEST_F(many, copy)
{
	struct lab *l = &self->l;
	const unsigned int n = l->m.pages - 1;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, n * l->m.page, 0,
			      &done));
	EXPECT_EQ((__s64)(n * l->m.page), done);
	EXPECT_EQ(0, wrong_granules(l, l->m.area, n));
	if (lab_is_shared(&l->m)) {
		EXPECT_EQ(0, wrong_granules(l, l->m.alias, n));
	}
	EXPECT_FALSE(lab_pm(page_at(l, n), LAB_PM_PRESENT));
}

TEST_F(many_zeroes, zeropage)
{
	struct lab *l = &self->l;
	const unsigned int n = l->m.pages - 1;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_zeropage(l->uffd, l->m.area, n * l->m.page, 0, NULL));
	for (i = 0; i < n; i++) {
		EXPECT_TRUE(lab_all(page_at(l, i), l->m.page, 0));
	}
	memcpy(l->m.area, l->src, n * l->m.page);
	EXPECT_EQ(0, wrong_granules(l, l->m.area, n));
	if (lab_is_shared(&l->m)) {
		EXPECT_EQ(0, wrong_granules(l, l->m.alias, n));
	}
	EXPECT_FALSE(lab_pm(page_at(l, n), LAB_PM_PRESENT));
}

TEST_F(many_in_a_file, continues)
{
	struct lab *l = &self->l;
	const unsigned int n = l->m.pages - 1;

	file_write(l, 0, n);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	ASSERT_EQ(0, lab_continue(l->uffd, l->m.area, n * l->m.page, 0, NULL));
	EXPECT_EQ(0, wrong_granules(l, l->m.area, n));
	EXPECT_FALSE(lab_pm(page_at(l, n), LAB_PM_PRESENT));
}

TEST_HARNESS_MAIN
