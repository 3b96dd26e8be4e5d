// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd on mappings of a guest_memfd: every kind of fault and every call,
 * as seen by the process and by a guest whose memory is the mapping. The fixture
 * "gmem" has a variant for each.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd_touch.h"

/* Faults and fills, by the process and by the guest */

FIXTURE(gmem)
{
	struct lab l;
};

FIXTURE_VARIANT(gmem)
{
	bool guest;
};

FIXTURE_VARIANT_ADD(gmem, user) {
	.guest = false,
};

FIXTURE_VARIANT_ADD(gmem, vcpu) {
	.guest = true,
};

FIXTURE_SETUP(gmem)
{
	by_guest = variant->guest;
	ASSERT_EQ(0, gmem_begin(&self->l));
}

FIXTURE_TEARDOWN(gmem)
{
	lab_teardown(&self->l);
}

TEST_F(gmem, missing)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_FAULTS(l, &w, 2, false, 0, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 2), src_at(l, 2), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 2));
	EXPECT_FILE(l, 2);

	EXPECT_FAULTS(l, &w, 3, true, 9, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 3), src_at(l, 3), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, 9);
	src_at(l, 3)[0] = 9;
	EXPECT_FILE(l, 3);
	EXPECT_FALSE(has_msg(l));
}

/* Allocated memory without content is a hole, not zeroes. */
TEST_F(gmem, missing_of_allocated)
{
	struct lab *l = &self->l;
	struct toucher w;

	ASSERT_EQ(0, allocate(l->m.fd, 0, PAGES));
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, i, 9, FAULT_MISSING);
		EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, i),
			  NULL, l->m.page, 0);
		ASSERT_TRUE(touch_waits(&w.t));
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, i),
			  l->m.page, 0);
		EXPECT_TOUCHED(&w.t, i ? 9 : first_of(l, i));
	}
	src_at(l, 1)[0] = 9;
	EXPECT_FILE(l, 0);
	EXPECT_FILE(l, 1);
	EXPECT_OP(DONE, l->uffd, ZEROPAGE, page_at(l, 2), NULL, l->m.page, 0);
	EXPECT_READS(l, 2, 0);
	EXPECT_TRUE(lab_all(alias_at(l, 2), l->m.page, 0));
	EXPECT_FALSE(has_msg(l));
}

TEST_F(gmem, minor)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 0, 4);
	EXPECT_ARMED(l, LAB_MINOR);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 1), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_FILE(l, 1);

	EXPECT_FAULTS(l, &w, 2, true, 9, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, 9);
	src_at(l, 2)[0] = 9;
	EXPECT_FILE(l, 2);
	EXPECT_FALSE(has_msg(l));
}

/* Changes that the handler makes before CONTINUE are visible after it. */
TEST_F(gmem, minor_of_changed)
{
	struct lab *l = &self->l;
	struct toucher w;

	memset(l->m.alias, 0x55, l->m.len);
	EXPECT_ARMED(l, LAB_MINOR);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	file_write(l, 0, PAGES);
	EXPECT_OP(DONE, l->uffd, CONTINUE, l->m.area, NULL, l->m.len, 0);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	for (int i = 0; i < PAGES; i++)
		EXPECT_READS(l, i, first_of(l, i));
	EXPECT_FALSE(has_msg(l));
}

/* With MINOR alone the kernel fills a hole, allocated or not. */
TEST_F(gmem, minor_not_of_holes)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, allocate(l->m.fd, 4, 4));
	EXPECT_ARMED(l, LAB_MINOR);
	EXPECT_READS(l, 0, 0);
	EXPECT_WRITES(l, 1, 9);
	EXPECT_READS(l, 4, 0);
	EXPECT_WRITES(l, 5, 9);
	EXPECT_FALSE(has_msg(l));
	EXPECT_EQ(9, alias_at(l, 1)[0]);
	EXPECT_EQ(9, alias_at(l, 5)[0]);
	EXPECT_TRUE(lab_all(alias_at(l, 0), l->m.page, 0));
	EXPECT_TRUE(lab_all(alias_at(l, 5) + 1, l->m.page - 1, 0));
}

TEST_F(gmem, missing_and_minor)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 0, 1);
	ASSERT_EQ(0, allocate(l->m.fd, 2, 1));
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_FAULTS(l, &w, 0, false, 0, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 0), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, first_of(l, 0));
	for (int i = 1; i < 3; i++) {
		EXPECT_FAULTS(l, &w, i, false, 0, FAULT_MISSING);
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, i),
			  l->m.page, 0);
		EXPECT_TOUCHED(&w.t, first_of(l, i));
	}
	EXPECT_FALSE(has_msg(l));
}

/*
 * Both have used the page before it is protected: cached translations must be
 * removed, above all those of the guest's second page table.
 */
TEST_F(gmem, wp)
{
	struct lab *l = &self->l;
	struct toucher w;
	int i;

	file_write(l, 0, PAGES);
	EXPECT_ARMED(l, LAB_WP);
	for (i = 0; i < PAGES; i++)
		EXPECT_WRITES(l, i, 1);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_WRITES(l, 2, 2);
	EXPECT_WRITES(l, 4, 2);
	EXPECT_READS(l, 3, 1);
	for (i = 3; i < 5; i++) {
		EXPECT_FAULTS(l, &w, 3, true, i, FAULT_WP);
		EXPECT_EQ(i == 3 ? 1 : 3, alias_at(l, 3)[0]);
		ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3),
					      l->m.page, 0));
		EXPECT_TOUCHED(&w.t, i);
		EXPECT_EQ(i, alias_at(l, 3)[0]);
		/* once more */
		ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3),
					      l->m.page,
					      UFFDIO_WRITEPROTECT_MODE_WP));
	}
	EXPECT_READS(l, 3, 4);
	EXPECT_FALSE(has_msg(l));
}

TEST_F(gmem, wp_of_filled)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 1, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR | LAB_WP);
	EXPECT_FAULTS(l, &w, 0, true, 9, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), src_at(l, 0), l->m.page,
		  UFFDIO_COPY_MODE_WP);
	/* After that, the write causes the other kind of fault. */
	ASSERT_EQ(FAULT_WP | UFFD_PAGEFAULT_FLAG_WRITE, next_fault(l, 0));
	ASSERT_TRUE(touch_waits(&w.t));
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 0), l->m.page, 0));
	EXPECT_TOUCHED(&w.t, 9);

	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 1), NULL, l->m.page,
		  UFFDIO_CONTINUE_MODE_WP);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_READS(l, 1, first_of(l, 1));
	EXPECT_FAULTS(l, &w, 1, true, 9, FAULT_WP);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 1), l->m.page, 0));
	EXPECT_TOUCHED(&w.t, 9);
	EXPECT_EQ(9, alias_at(l, 1)[0]);
	EXPECT_FALSE(has_msg(l));
}

/* Protection of an absent page applies when it is filled. */
TEST_F(gmem, wp_of_holes)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_WP);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.len,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_READS(l, 0, 0);
	EXPECT_FALSE(has_msg(l));
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, true, 9, FAULT_WP);
		ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, i),
					      l->m.page, 0));
		EXPECT_TOUCHED(&w.t, 9);
	}
	EXPECT_FALSE(has_msg(l));
}

/* Asynchronous: a write removes the protection, without a message. */
TEST_F(gmem, wp_async)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_reopen(l, UFFD_FEATURE_WP_ASYNC |
				   UFFD_FEATURE_WP_UNPOPULATED));
	file_write(l, 0, PAGES);
	EXPECT_ARMED(l, LAB_WP);
	for (int i = 0; i < PAGES; i++)
		EXPECT_WRITES(l, i, 1);
	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.len,
					      UFFDIO_WRITEPROTECT_MODE_WP));
		EXPECT_READS(l, 2, 1 + round);
		EXPECT_WRITES(l, 2, 2 + round);
		for (int i = 0; i < PAGES; i++)
			EXPECT_EQ(i != 2, lab_pm(page_at(l, i),
						 LAB_PM_UFFD_WP));
	}
	EXPECT_FALSE(has_msg(l));
}

/* A punched page is a hole, also for an address space that used it. */
TEST_F(gmem, punch)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, l->m.area, l->src, l->m.len, 0);
	for (int i = 0; i < PAGES; i++)
		EXPECT_WRITES(l, i, 1);
	ASSERT_EQ(0, make_hole(l->m.fd, 2, 2));
	EXPECT_READS(l, 1, 1);
	EXPECT_READS(l, 4, 1);
	for (int i = 2; i < 4; i++) {
		EXPECT_FAULTS(l, &w, i, i == 3, 9, FAULT_MISSING);
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, 7),
			  l->m.page, 0);
		EXPECT_TOUCHED(&w.t, i == 3 ? 9 : first_of(l, 7));
	}
	EXPECT_FALSE(has_msg(l));
}

/* Unmapping only makes the page minor again. */
TEST_F(gmem, zap)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_OP(DONE, l->uffd, COPY, l->m.area, l->src, l->m.len, 0);
	EXPECT_WRITES(l, 2, 9);
	ASSERT_EQ(0, madvise(page_at(l, 2), l->m.page, MADV_DONTNEED));
	EXPECT_FAULTS(l, &w, 2, false, 0, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, 9);
	EXPECT_FALSE(has_msg(l));
}

TEST_F(gmem, zeropage)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, i, 9, FAULT_MISSING);
		EXPECT_OP(DONE, l->uffd, ZEROPAGE, page_at(l, i), NULL,
			  l->m.page, 0);
		EXPECT_TOUCHED(&w.t, i ? 9 : 0);
		EXPECT_TRUE(lab_all(alias_at(l, i) + i, l->m.page - i, 0));
		EXPECT_EQ(i ? 9 : 0, alias_at(l, i)[0]);
	}
	EXPECT_FALSE(has_msg(l));
}

/* A poisoned page sends SIGBUS, like bad memory. */
TEST_F(gmem, poison)
{
	struct lab *l = &self->l;
	struct toucher w;
	int code = 0;
	char v = 0;

	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 1), NULL, l->m.page, 0);
	ASSERT_EQ(0, lab_touch_wait(&w.t, LAB_DEADLINE_MS));
	EXPECT_EQ(SIGBUS, w.t.sig);
	EXPECT_EQ(BUS_MCEERR_AR, w.t.code);
	for (int write = 0; write < 2; write++) {
		code = 0;
		EXPECT_EQ(SIGBUS, touch(l, 1, write, &v, &code));
		EXPECT_EQ(BUS_MCEERR_AR, code);
	}
	/* The file does not change. */
	EXPECT_EQ(0, alias_at(l, 1)[0]);
	EXPECT_FALSE(has_msg(l));
}

TEST_F(gmem, beyond_the_end)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	int code = 0, fd;
	char v = 0;

	fd = gmem_file(4 * page);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, remap(l, fd, 0));
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	/* No fault is reported there, and nothing can be filled. */
	EXPECT_EQ(by_guest ? EFAULT : SIGBUS, touch(l, 4, false, &v, &code));
	EXPECT_EQ(by_guest ? 0 : BUS_ADRERR, code);
	EXPECT_FALSE(has_msg(l));
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 4), l->src, page,
		  0);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, ZEROPAGE, page_at(l, 7), NULL, page,
		  0);
	EXPECT_OP(FAILED(-EINVAL), l->uffd, CONTINUE, page_at(l, 4), NULL, page,
		  0);
	EXPECT_OP(PARTIAL(2 * page), l->uffd, COPY, page_at(l, 2), src_at(l, 2),
		  4 * page, 0);
	EXPECT_READS(l, 3, first_of(l, 3));
	close(fd);
}

/* The mapping begins in the middle of the file. */
TEST_F(gmem, offset)
{
	struct lab *l = &self->l;
	struct toucher w;

	ASSERT_EQ(0, remap(l, l->m.fd, 4 * l->m.page));
	file_write(l, 5, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_FAULTS(l, &w, 0, false, 0, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), src_at(l, 4), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 4));
	EXPECT_TRUE(same_at(l, alias_at(l, 4), 4));
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 1), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, first_of(l, 5));
	EXPECT_FALSE(has_msg(l));
}

/* Memory that is not shared with the host initially: never mapped. */
TEST_F(gmem, without_init_shared)
{
	struct lab *l = &self->l;
	int code = 0, fd;
	char v = 0;

	gmem_flags = GUEST_MEMFD_FLAG_MMAP;
	fd = gmem_file(l->m.len);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, allocate(fd, 0, 4));
	ASSERT_EQ(0, remap(l, fd, 0));
	for (int i = 0; i < 2; i++) {
		for (int page = 3; page < 5; page++) {
			code = 0;
			EXPECT_EQ(by_guest ? EFAULT : SIGBUS,
				  touch(l, page, i, &v, &code));
			EXPECT_EQ(by_guest ? 0 : BUS_ADRERR, code);
		}
	}
	for (__u64 modes = LAB_MISSING; modes <= all_modes(&l->m); modes++)
		EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
						modes, NULL));
	close(fd);
}

/* When the last handler is gone, waiters continue: with zeroes. */
TEST_F(gmem, unregister_wakes)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MISSING);
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_TOUCHED(&w.t, 0);
}

TEST_F(gmem, close_wakes)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 0, PAGES);
	EXPECT_ARMED(l, LAB_MINOR);
	EXPECT_FAULTS(l, &w, 1, true, 9, FAULT_MINOR);
	close(l->uffd);
	l->uffd = -1;
	EXPECT_TOUCHED(&w.t, 9);
}

/* The mapping is unmapped while a thread waits. */
TEST_F(gmem, unmap)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MISSING);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	ASSERT_EQ(0, lab_wake(l->uffd, l->m.area, l->m.len));
	ASSERT_EQ(0, lab_touch_wait(&w.t, LAB_DEADLINE_MS));
	EXPECT_EQ(by_guest ? EFAULT : SIGSEGV, w.t.sig);
}

/* A page that the hardware (here: madvise) declares bad */
TEST_F(gmem, memory_failure)
{
	struct lab *l = &self->l;
	int code = 0;
	char v = 0;

	file_write(l, 0, PAGES);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 0), NULL, 6 * l->m.page,
		  0);
	for (int i = 0; i < 6; i++)
		EXPECT_WRITES(l, i, 1);
	/* This process gets SIGBUS, since it maps the page. */
	signal(SIGBUS, hwpoison_told);
	ASSERT_EQ(0, madvise(alias_at(l, 3), l->m.page, MADV_HWPOISON));
	ASSERT_EQ(0, madvise(alias_at(l, 7), l->m.page, MADV_HWPOISON));
	lab_catch_signals();
	EXPECT_EQ(-1, pwrite(l->m.fd, l->src, 1, 3 * l->m.page));
	EXPECT_EQ(EIO, errno);

	/* It is unmapped everywhere, and is never mapped again. */
	EXPECT_EQ(SIGBUS, touch(l, 3, false, &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	EXPECT_OP(FAILED(-EIO), l->uffd, CONTINUE, page_at(l, 7), NULL,
		  l->m.page, 0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, 7), l->src,
		  l->m.page, 0);
	EXPECT_WRITES(l, 2, 2);
	EXPECT_WRITES(l, 4, 2);
	EXPECT_FALSE(has_msg(l));

	/* Punching a hole there makes room for a good page. */
	ASSERT_EQ(0, make_hole(l->m.fd, 7, 1));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 7), l->src, l->m.page, 0);
	EXPECT_READS(l, 7, first_of(l, 0));
}

/* pwrite() fills pages that are not mapped, for CONTINUE to find. */
TEST_F(gmem, pwrite_then_continue)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MISSING);
	ASSERT_EQ((ssize_t)l->m.len, pwrite(l->m.fd, l->src, l->m.len, 0));
	ASSERT_TRUE(touch_waits(&w.t));
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 0), NULL, 2 * l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_FAULTS(l, &w, 2, true, 9, FAULT_MINOR);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, 9);

	/* A write is visible in existing mappings of the page. */
	ASSERT_EQ(1, pwrite(l->m.fd, "x", 1, 2 * l->m.page));
	EXPECT_READS(l, 2, 'x');
	EXPECT_FALSE(has_msg(l));
}

/* Only a vCPU */

FIXTURE(vcpu)
{
	struct lab l;
};

FIXTURE_SETUP(vcpu)
{
	by_guest = true;
	ASSERT_EQ(0, gmem_begin(&self->l));
}

FIXTURE_TEARDOWN(vcpu)
{
	lab_teardown(&self->l);
}

/* Here KVM waits for the page. */
TEST_F(vcpu, access_by_kvm)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 3, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	ASSERT_EQ(0, outs_start(&w, 3));
	ASSERT_EQ(FAULT_MINOR, next_fault(l, 3));
	ASSERT_TRUE(touch_waits(&w.t));
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 3), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, first_of(l, 3));

	ASSERT_EQ(0, outs_start(&w, 4));
	ASSERT_EQ(FAULT_MISSING, next_fault(l, 4));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 4), src_at(l, 4), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 4));
	EXPECT_FALSE(has_msg(l));
}

static void kicked(int sig)
{
	(void)sig;
}

/* A vCPU that waits for its page can be interrupted, and faults again. */
TEST_F(vcpu, kick)
{
	struct lab *l = &self->l;
	struct sigaction sa = { .sa_handler = kicked };
	struct toucher w;

	sigaction(SIGUSR1, &sa, NULL);
	EXPECT_ARMED(l, LAB_MISSING);
	for (int i = 0; i < 3; i++) {
		EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MISSING);
		ASSERT_EQ(0, pthread_kill(w.t.thread, SIGUSR1));
		ASSERT_EQ(0, lab_touch_wait(&w.t, LAB_DEADLINE_MS));
		EXPECT_EQ(EINTR, w.t.sig);
		EXPECT_FALSE(has_msg(l));
	}
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page,
		  0);
	EXPECT_READS(l, 1, first_of(l, 1));
}

/* A read-only slot: a write of the guest exits to the process. */
TEST_F(vcpu, read_only_slot)
{
	struct lab *l = &self->l;
	struct toucher w;

	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	ASSERT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_READONLY, -1));
	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_FALSE(has_msg(l));
}

/* The mapping outlives the VM, its descriptor, and the last one of the file. */
TEST(mapping_outlives_vm)
{
	struct lab l;
	struct toucher w;

	by_guest = true;
	ASSERT_EQ(0, gmem_begin(&l));
	EXPECT_ARMED(&l, LAB_MISSING | LAB_MINOR);
	EXPECT_OP(DONE, l.uffd, COPY, l.m.area, l.src, l.m.page, 0);
	EXPECT_WRITES(&l, 0, 9);
	by_guest = false;
	close(l.m.fd);
	l.m.fd = -1;
	kvm_vm_free(vm);

	EXPECT_READS(&l, 0, 9);
	EXPECT_FAULTS(&l, &w, 1, true, 9, FAULT_MISSING);
	EXPECT_OP(DONE, l.uffd, COPY, page_at(&l, 1), src_at(&l, 1), l.m.page,
		  0);
	EXPECT_TOUCHED(&w.t, 9);
	file_write(&l, 2, 1);
	EXPECT_FAULTS(&l, &w, 2, false, 0, FAULT_MINOR);
	EXPECT_OP(DONE, l.uffd, CONTINUE, page_at(&l, 2), NULL, l.m.page, 0);
	EXPECT_TOUCHED(&w.t, first_of(&l, 2));
	lab_teardown(&l);
}

TEST_HARNESS_MAIN
