// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd on mappings of a guest_memfd: every kind of fault and every call,
 * as seen by the process and by a guest whose memory is the mapping.
 *
 * What must be the same for both is tested with both: the fixture "gmem" has a
 * variant for each, and touch() is an access by this process or by a vCPU.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd.h"
#include <linux/mempolicy.h>
#include <sys/personality.h>
#include <sys/uio.h>
#include <sys/wait.h>
/* EXPECT_*() and struct lab; eight pages */
#include "../mm/uffd/expect.h"
#include "../mm/uffd/owner.h"

/* Whether the guest touches, or this process */
static bool by_guest;

static int guest_touch(const struct lab *l, unsigned int page, bool write,
		       char *value, int *code)
{
	struct order *o = order_of(0);
	int sig, err = 0;

	(void)l;
	o->op = write ? GUEST_WRITE : GUEST_READ;
	o->nr = 1;
	o->page[0] = page;
	o->first[0] = (unsigned char)*value;
	/* KVM_RUN reports bad memory by a signal to its caller. */
	sig = LAB_TRY(1, err = guest_run(0));
	if (!sig)
		sig = err;
	else if (code)
		*code = __atomic_load_n(&lab_signal_code, __ATOMIC_RELAXED);
	if (sig)
		guest_restart(0);
	*value = o->first[0];
	return sig;
}

/*
 * Reads or writes the first byte of a page. Returns 0, a signal, or the errno
 * of KVM_RUN.
 */
static int touch(const struct lab *l, unsigned int page, bool write,
		 char *value, int *code)
{
	if (by_guest)
		return guest_touch(l, page, write, value, code);
	return lab_access(page_at(l, page), write, value, code);
}

/*
 * The same by a thread; the other members of struct lab_touch serve for both.
 */
struct toucher {
	struct lab_touch t;
	const struct lab *l;
	unsigned int page;
};

static void *touch_fn(void *arg)
{
	struct toucher *w = arg;

	__atomic_store_n(&w->t.tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	w->t.sig = touch(w->l, w->page, w->t.write, &w->t.value, &w->t.code);
	return NULL;
}

static int touch_start(struct toucher *w, const struct lab *l,
		       unsigned int page, bool write, char value)
{
	memset(w, 0, sizeof(*w));
	w->l = l;
	w->page = page;
	w->t.write = write;
	w->t.value = value;
	return -pthread_create(&w->t.thread, NULL, touch_fn, w);
}

/*
 * A touch of page @i by a thread, which must be reported as a fault with @flags
 */
#define EXPECT_FAULTS(l, w, i, write_, value_, flags_) do {		\
	struct uffd_msg __m = { 0 };					\
	ASSERT_EQ(0, touch_start(w, l, i, write_, value_));		\
	ASSERT_EQ(0, lab_read_msg((l)->uffd, &__m, LAB_DEADLINE_MS));	\
	EXPECT_EQ(UFFD_EVENT_PAGEFAULT, __m.event);			\
	EXPECT_EQ((__u64)(flags_) | ((write_) ?				\
		  UFFD_PAGEFAULT_FLAG_WRITE : 0),			\
		  __m.arg.pagefault.flags);				\
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, i),			\
		  __m.arg.pagefault.address);				\
	EXPECT_EQ((__u32)(w)->t.tid, __m.arg.pagefault.feat.ptid);	\
	EXPECT_BLOCKED(&(w)->t);					\
} while (0)

#define FAULT_MISSING	0
#define FAULT_MINOR	UFFD_PAGEFAULT_FLAG_MINOR
#define FAULT_WP	UFFD_PAGEFAULT_FLAG_WP

/* A touch by this thread that causes no message */
#define EXPECT_TOUCH(l, i, write_, value_) do {				\
	char __v = (value_);						\
	EXPECT_EQ(0, touch(l, i, write_, &__v, NULL));			\
	EXPECT_EQ((unsigned char)(value_), (unsigned char)__v);		\
} while (0)
#define EXPECT_READS(l, i, value)	EXPECT_TOUCH(l, i, false, value)
#define EXPECT_WRITES(l, i, value)	EXPECT_TOUCH(l, i, true, value)

#define EXPECT_FILE(l, i) do {						\
	EXPECT_TRUE(same_at(l, alias_at(l, i), i));			\
	EXPECT_TRUE(same_at(l, page_at(l, i), i));			\
} while (0)

#define EXPECT_ARMED(l, modes)						\
	ASSERT_EQ(0, lab_register((l)->uffd, (l)->m.area, (l)->m.len,	\
				  modes, NULL))

static int gmem_begin(struct lab *l)
{
	int err;

	guest_make(VM_TYPE_DEFAULT, 1, PAGES);
	err = lab_setup(l, &lab_guest_memfd);
	if (err)
		return err;
	/*
	 * The next pages are likely to be these: not zero, unless they are
	 * cleared.
	 */
	memset(l->m.alias, 0x55, l->m.len);
	err = make_hole(l->m.fd, 0, PAGES);
	return err ? err : guest_plug(l->m.area, l->m.len, 0, -1);
}

static char first_of(const struct lab *l, unsigned int page)
{
	return src_at(l, page)[0];
}

/* Replaces the file of the area by another one; 0 or -errno. */
static int remap(struct lab *l, int fd, size_t offset)
{
	void *p;

	if (fd < 0)
		return fd;
	p = mmap(l->m.area, l->m.len, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, offset);
	return p == MAP_FAILED ? -errno : 0;
}

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
	EXPECT_DONE(l->uffd, COPY, page_at(l, 2), src_at(l, 2), l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 2));
	EXPECT_FILE(l, 2);

	EXPECT_FAULTS(l, &w, 3, true, 9, FAULT_MISSING);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 3), src_at(l, 3), l->m.page);
	EXPECT_TOUCHED(&w.t, 9);
	src_at(l, 3)[0] = 9;
	EXPECT_FILE(l, 3);
	EXPECT_NO_MSG(l);
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
		EXPECT_FAILED(-EFAULT, l->uffd, CONTINUE, page_at(l, i), NULL,
			      l->m.page);
		EXPECT_BLOCKED(&w.t);
		EXPECT_DONE(l->uffd, COPY, page_at(l, i), src_at(l, i),
			    l->m.page);
		EXPECT_TOUCHED(&w.t, i ? 9 : first_of(l, i));
	}
	src_at(l, 1)[0] = 9;
	EXPECT_FILE(l, 0);
	EXPECT_FILE(l, 1);
	EXPECT_DONE(l->uffd, ZEROPAGE, page_at(l, 2), NULL, l->m.page);
	EXPECT_READS(l, 2, 0);
	EXPECT_TRUE(lab_all(alias_at(l, 2), l->m.page, 0));
	EXPECT_NO_MSG(l);
}

TEST_F(gmem, minor)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 0, 4);
	EXPECT_ARMED(l, LAB_MINOR);
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 1), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_FILE(l, 1);

	EXPECT_FAULTS(l, &w, 2, true, 9, FAULT_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, 9);
	src_at(l, 2)[0] = 9;
	EXPECT_FILE(l, 2);
	EXPECT_NO_MSG(l);
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
	EXPECT_DONE(l->uffd, CONTINUE, l->m.area, NULL, l->m.len);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	for (int i = 0; i < PAGES; i++)
		EXPECT_READS(l, i, first_of(l, i));
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
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
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 0), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 0));
	for (int i = 1; i < 3; i++) {
		EXPECT_FAULTS(l, &w, i, false, 0, FAULT_MISSING);
		EXPECT_DONE(l->uffd, COPY, page_at(l, i), src_at(l, i),
			    l->m.page);
		EXPECT_TOUCHED(&w.t, first_of(l, i));
	}
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
}

TEST_F(gmem, wp_of_filled)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 1, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR | LAB_WP);
	EXPECT_FAULTS(l, &w, 0, true, 9, FAULT_MISSING);
	EXPECT_OP(0, l->m.page, l->uffd, COPY, page_at(l, 0), src_at(l, 0),
		  l->m.page, UFFDIO_COPY_MODE_WP);
	/* After that, the write causes the other kind of fault. */
	EXPECT_MSG(l, 0, FAULT_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_BLOCKED(&w.t);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 0), l->m.page, 0));
	EXPECT_TOUCHED(&w.t, 9);

	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	EXPECT_OP(0, l->m.page, l->uffd, CONTINUE, page_at(l, 1), NULL,
		  l->m.page, UFFDIO_CONTINUE_MODE_WP);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_READS(l, 1, first_of(l, 1));
	EXPECT_FAULTS(l, &w, 1, true, 9, FAULT_WP);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 1), l->m.page, 0));
	EXPECT_TOUCHED(&w.t, 9);
	EXPECT_EQ(9, alias_at(l, 1)[0]);
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, true, 9, FAULT_WP);
		ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, i),
					      l->m.page, 0));
		EXPECT_TOUCHED(&w.t, 9);
	}
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
}

/* A punched page is a hole, also for an address space that used it. */
TEST_F(gmem, punch)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_DONE(l->uffd, COPY, l->m.area, l->src, l->m.len);
	for (int i = 0; i < PAGES; i++)
		EXPECT_WRITES(l, i, 1);
	ASSERT_EQ(0, make_hole(l->m.fd, 2, 2));
	EXPECT_READS(l, 1, 1);
	EXPECT_READS(l, 4, 1);
	for (int i = 2; i < 4; i++) {
		EXPECT_FAULTS(l, &w, i, i == 3, 9, FAULT_MISSING);
		EXPECT_DONE(l->uffd, COPY, page_at(l, i), src_at(l, 7),
			    l->m.page);
		EXPECT_TOUCHED(&w.t, i == 3 ? 9 : first_of(l, 7));
	}
	EXPECT_NO_MSG(l);
}

/* Unmapping only makes the page minor again. */
TEST_F(gmem, zap)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_DONE(l->uffd, COPY, l->m.area, l->src, l->m.len);
	EXPECT_WRITES(l, 2, 9);
	ASSERT_EQ(0, madvise(page_at(l, 2), l->m.page, MADV_DONTNEED));
	EXPECT_FAULTS(l, &w, 2, false, 0, FAULT_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, 9);
	EXPECT_NO_MSG(l);
}

TEST_F(gmem, zeropage)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, i, 9, FAULT_MISSING);
		EXPECT_DONE(l->uffd, ZEROPAGE, page_at(l, i), NULL, l->m.page);
		EXPECT_TOUCHED(&w.t, i ? 9 : 0);
		EXPECT_TRUE(lab_all(alias_at(l, i) + i, l->m.page - i, 0));
		EXPECT_EQ(i ? 9 : 0, alias_at(l, i)[0]);
	}
	EXPECT_NO_MSG(l);
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
	EXPECT_DONE(l->uffd, POISON, page_at(l, 1), NULL, l->m.page);
	EXPECT_SIGNALLED(&w.t, SIGBUS, BUS_MCEERR_AR);
	for (int write = 0; write < 2; write++) {
		code = 0;
		EXPECT_EQ(SIGBUS, touch(l, 1, write, &v, &code));
		EXPECT_EQ(BUS_MCEERR_AR, code);
	}
	/* The file does not change. */
	EXPECT_EQ(0, alias_at(l, 1)[0]);
	EXPECT_NO_MSG(l);
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
	EXPECT_NO_MSG(l);
	EXPECT_FAILED(-EFAULT, l->uffd, COPY, page_at(l, 4), l->src, page);
	EXPECT_FAILED(-EFAULT, l->uffd, ZEROPAGE, page_at(l, 7), NULL, page);
	EXPECT_FAILED(-EINVAL, l->uffd, CONTINUE, page_at(l, 4), NULL, page);
	EXPECT_PARTIAL(2 * page, l->uffd, COPY, page_at(l, 2), src_at(l, 2),
		       4 * page);
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
	EXPECT_DONE(l->uffd, COPY, page_at(l, 0), src_at(l, 4), l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 4));
	EXPECT_TRUE(same_at(l, alias_at(l, 4), 4));
	EXPECT_FAULTS(l, &w, 1, false, 0, FAULT_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 1), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 5));
	EXPECT_NO_MSG(l);
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

static void hwpoison_told(int sig)
{
	(void)sig;
}

TEST_F(gmem, memory_failure)
{
	struct lab *l = &self->l;
	int code = 0;
	char v = 0;

	file_write(l, 0, PAGES);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 0), NULL, 6 * l->m.page);
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
	EXPECT_FAILED(-EIO, l->uffd, CONTINUE, page_at(l, 7), NULL, l->m.page);
	EXPECT_FAILED(-EEXIST, l->uffd, COPY, page_at(l, 7), l->src,
		      l->m.page);
	EXPECT_WRITES(l, 2, 2);
	EXPECT_WRITES(l, 4, 2);
	EXPECT_NO_MSG(l);

	/* Punching a hole there makes room for a good page. */
	ASSERT_EQ(0, make_hole(l->m.fd, 7, 1));
	EXPECT_DONE(l->uffd, COPY, page_at(l, 7), l->src, l->m.page);
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
	EXPECT_BLOCKED(&w.t);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 0), NULL, 2 * l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_FAULTS(l, &w, 2, true, 9, FAULT_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, 9);

	/* A write is visible in existing mappings of the page. */
	ASSERT_EQ(1, pwrite(l->m.fd, "x", 1, 2 * l->m.page));
	EXPECT_READS(l, 2, 'x');
	EXPECT_NO_MSG(l);
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

/* KVM reads the guest's memory itself, for the output. */
static void *outs_fn(void *arg)
{
	struct toucher *w = arg;
	struct order *o = order_of(0);

	o->op = GUEST_OUTS;
	o->nr = 1;
	o->page[0] = w->page;
	w->t.sig = guest_run(0);
	w->t.value = o->first[0];
	return NULL;
}

static int outs_start(struct toucher *w, unsigned int page)
{
	memset(w, 0, sizeof(*w));
	w->page = page;
	return -pthread_create(&w->t.thread, NULL, outs_fn, w);
}

/* Here KVM waits for the page. */
TEST_F(vcpu, access_by_kvm)
{
	struct lab *l = &self->l;
	struct toucher w;

	file_write(l, 3, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	ASSERT_EQ(0, outs_start(&w, 3));
	EXPECT_MSG(l, 3, FAULT_MINOR);
	EXPECT_BLOCKED(&w.t);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 3), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 3));

	ASSERT_EQ(0, outs_start(&w, 4));
	EXPECT_MSG(l, 4, FAULT_MISSING);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 4), src_at(l, 4), l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 4));
	EXPECT_NO_MSG(l);
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
		EXPECT_NO_MSG(l);
	}
	EXPECT_DONE(l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page);
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
	EXPECT_DONE(l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 1));
	EXPECT_NO_MSG(l);
}

/*
 * A slot that is bound to the file: the guest's accesses are resolved from the
 * file, those of KVM itself through the mapping.
 */

FIXTURE(bound)
{
	struct lab l;
};

FIXTURE_SETUP(bound)
{
	struct lab *l = &self->l;

	by_guest = true;
	ASSERT_EQ(0, gmem_begin(l));
	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	ASSERT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_GUEST_MEMFD,
				l->m.fd));
}

FIXTURE_TEARDOWN(bound)
{
	lab_teardown(&self->l);
}

TEST_F(bound, is_one_memory)
{
	struct lab *l = &self->l;

	EXPECT_READS(l, 0, 0);
	EXPECT_WRITES(l, 1, 9);
	EXPECT_EQ(9, page_at(l, 1)[0]);
	EXPECT_TRUE(lab_all(page_at(l, 1) + 1, l->m.page - 1, 0));
	file_write(l, 2, 1);
	EXPECT_READS(l, 2, first_of(l, 2));
	ASSERT_EQ(1, pwrite(l->m.fd, "x", 1, l->m.page));
	EXPECT_READS(l, 1, 'x');
	ASSERT_EQ(0, make_hole(l->m.fd, 1, 1));
	EXPECT_READS(l, 1, 0);
	EXPECT_EQ(0, page_at(l, 1)[0]);
}

/* Protection and MINOR concern page tables that the guest does not use. */
TEST_F(bound, guest_is_not_seen)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MINOR | LAB_WP);
	file_write(l, 2, 1);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_READS(l, 0, 0);
	EXPECT_WRITES(l, 1, 9);
	EXPECT_READS(l, 2, first_of(l, 2));
	EXPECT_WRITES(l, 2, 9);
	EXPECT_NO_MSG(l);

	/*
	 * Pages that it allocated are present for accesses through the mapping.
	 */
	by_guest = false;
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, false, 0, FAULT_MINOR);
		EXPECT_DONE(l->uffd, CONTINUE, page_at(l, i), NULL,
			    l->m.page);
		EXPECT_TOUCHED(&w.t, 9 * i);
	}
}

/*
 * Holes that are registered with MISSING: the guest exits before the access,
 * and continues there.
 */

static void order_begin(enum guest_op op, const __u32 *pages, __u32 nr)
{
	struct order *o = order_of(0);

	memset(o, 0, sizeof(*o));
	o->op = op;
	o->nr = nr;
	memcpy(o->page, pages, nr * sizeof(*pages));
}

#define ORDER(op, ...) do {						\
	const __u32 __pages[] = { __VA_ARGS__ };			\
	order_begin(op, __pages, ARRAY_SIZE(__pages));			\
} while (0)

/* Runs the guest until it reaches the hole at page @i. */
#define EXPECT_STOPS(i) do {						\
	const struct kvm_run *__run = vcpus[0]->run;			\
	EXPECT_EQ(EFAULT, guest_run(0));				\
	EXPECT_EQ(KVM_EXIT_MEMORY_FAULT, __run->exit_reason);		\
	EXPECT_EQ(GMEM_GPA + (i) * LAB_PAGE, __run->memory_fault.gpa);	\
	EXPECT_EQ(LAB_PAGE, __run->memory_fault.size);			\
	EXPECT_EQ(0, __run->memory_fault.flags);			\
} while (0)

/*
 * The n-th page of the order of the guest had the content of page @i of the
 * source.
 */
#define EXPECT_ORDER_READ(l, n, i) do {					\
	const struct order *__o = order_of(0);				\
	const __u64 *__src = (const __u64 *)src_at(l, i);		\
	EXPECT_EQ(__src[0], __o->first[n]);				\
	EXPECT_EQ(__src[GUEST_WORDS - 1], __o->last[n]);		\
} while (0)

TEST_F(bound, hole_read)
{
	struct lab *l = &self->l;

	file_write(l, 2, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	ORDER(GUEST_READ, 1, 2, 3);
	EXPECT_STOPS(1);
	/* No page was allocated, however often it tries. */
	EXPECT_STOPS(1);
	EXPECT_FAILED(-EFAULT, l->uffd, CONTINUE, page_at(l, 1), NULL,
		      l->m.page);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page);
	EXPECT_STOPS(3);
	EXPECT_DONE(l->uffd, ZEROPAGE, page_at(l, 3), NULL, l->m.page);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 1);
	EXPECT_ORDER_READ(l, 1, 2);
	EXPECT_EQ(0, order_of(0)->first[2]);
	EXPECT_EQ(0, order_of(0)->last[2]);
	EXPECT_NO_MSG(l);
}

TEST_F(bound, hole_write)
{
	struct lab *l = &self->l;

	EXPECT_ARMED(l, LAB_MISSING);
	ORDER(GUEST_WRITE, 1);
	order_of(0)->first[0] = 9;
	EXPECT_STOPS(1);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page);
	EXPECT_EQ(0, guest_run(0));
	src_at(l, 1)[0] = 9;
	EXPECT_FILE(l, 1);
	EXPECT_NO_MSG(l);
}

/* An allocated or punched page is a hole; one that write() filled is not. */
TEST_F(bound, hole_kinds)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, allocate(l->m.fd, 1, 1));
	EXPECT_ARMED(l, LAB_MISSING);
	ORDER(GUEST_READ, 1, 2, 3);
	EXPECT_STOPS(1);
	ASSERT_EQ(0, allocate(l->m.fd, 2, 1));
	EXPECT_DONE(l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page);
	EXPECT_STOPS(2);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 2), src_at(l, 2), l->m.page);
	EXPECT_STOPS(3);
	ASSERT_EQ((ssize_t)l->m.page, pwrite(l->m.fd, src_at(l, 3), l->m.page,
					     3 * l->m.page));
	EXPECT_EQ(0, guest_run(0));
	for (int i = 0; i < 3; i++)
		EXPECT_ORDER_READ(l, i, i + 1);

	ASSERT_EQ(0, make_hole(l->m.fd, 1, 1));
	ORDER(GUEST_READ, 2, 1);
	EXPECT_STOPS(1);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 1), src_at(l, 7), l->m.page);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 2);
	EXPECT_ORDER_READ(l, 1, 7);
	EXPECT_NO_MSG(l);
}

/* To wait for the monitor, userspace reads the page through the mapping. */
TEST_F(bound, hole_waits_by_mapping)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	ORDER(GUEST_READ, 5);
	EXPECT_STOPS(5);
	by_guest = false;
	EXPECT_FAULTS(l, &w, 5, false, 0, FAULT_MISSING);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 5), src_at(l, 5), l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 5));
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 5);
	EXPECT_NO_MSG(l);
}

/* Only if MISSING is registered, and only as long as it is */
TEST_F(bound, hole_not_armed)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 2), 2 * l->m.page,
				  LAB_MISSING, NULL));
	ORDER(GUEST_READ, 1, 4, 2);
	EXPECT_STOPS(2);
	EXPECT_EQ(0, order_of(0)->first[0]);
	EXPECT_EQ(0, order_of(0)->first[1]);
	ASSERT_EQ(0, lab_unregister(l->uffd, page_at(l, 2), l->m.page));
	EXPECT_EQ(0, guest_run(0));
	EXPECT_EQ(0, order_of(0)->first[2]);
	ORDER(GUEST_READ, 3);
	EXPECT_STOPS(3);
	close(l->uffd);
	l->uffd = -1;
	EXPECT_EQ(0, guest_run(0));
	EXPECT_EQ(0, order_of(0)->first[0]);
}

/* The offset in the file counts, not the one in the mapping. */
TEST_F(bound, hole_offset)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, remap(l, l->m.fd, 4 * l->m.page));
	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 0), l->m.page,
				  LAB_MISSING, NULL));
	ORDER(GUEST_READ, 0, 3, 5, 4);
	EXPECT_STOPS(4);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 0), src_at(l, 4), l->m.page);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_EQ(0, order_of(0)->first[0]);
	EXPECT_ORDER_READ(l, 3, 4);
}

/* A mapping of another process counts as well. */
TEST_F(bound, hole_of_another_process)
{
	struct lab *l = &self->l;
	int ready[2], go[2], uffd, status;
	pid_t child;
	char c = 0;
	void *p;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		p = mmap(NULL, l->m.len, PROT_READ, MAP_SHARED, l->m.fd, 0);
		uffd = lab_uffd_open(0);
		if (p == MAP_FAILED || uffd < 0 ||
		    lab_register(uffd, p, l->m.len, LAB_MISSING, NULL))
			_exit(1);
		if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(2);
		_exit(lab_copy(uffd, p, l->src, l->m.page, 0, NULL) ? 3 : 0);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ORDER(GUEST_READ, 0, 1);
	EXPECT_STOPS(0);
	ASSERT_EQ(1, write(go[1], &c, 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* The other page is not waited for any more. */
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 0);
	EXPECT_EQ(0, order_of(0)->first[1]);
}

static int pre_fault(__u64 page, __u64 nr, __u64 *left)
{
	struct kvm_pre_fault_memory range = {
		.gpa = GMEM_GPA + page * LAB_PAGE,
		.size = nr * LAB_PAGE,
	};
	int ret;

	ret = __vcpu_ioctl(vcpus[0], KVM_PRE_FAULT_MEMORY, &range);
	*left = range.size / LAB_PAGE;
	return ret ? -errno : 0;
}

TEST_F(bound, hole_pre_fault)
{
	struct lab *l = &self->l;
	__u64 left;

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY));
	file_write(l, 0, 2);
	EXPECT_ARMED(l, LAB_MISSING);
	/* Runs up to the hole, then returns the errno */
	EXPECT_EQ(0, pre_fault(0, 4, &left));
	EXPECT_EQ(2, left);
	EXPECT_EQ(-EFAULT, pre_fault(2, 2, &left));
	EXPECT_EQ(2, left);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 2), src_at(l, 2), l->m.page);
	EXPECT_EQ(0, pre_fault(2, 2, &left));
	EXPECT_EQ(1, left);
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_EQ(0, pre_fault(3, 1, &left));
	EXPECT_EQ(0, left);
	ORDER(GUEST_READ, 2, 3);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 2);
	EXPECT_EQ(0, order_of(0)->first[1]);
}

TEST_F(bound, access_by_kvm)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_WRITES(l, 3, 9);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	ASSERT_EQ(0, outs_start(&w, 3));
	EXPECT_MSG(l, 3, FAULT_MINOR);
	EXPECT_BLOCKED(&w.t);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 3), NULL, l->m.page);
	EXPECT_TOUCHED(&w.t, 9);
	ASSERT_EQ(0, outs_start(&w, 4));
	EXPECT_MSG(l, 4, FAULT_MISSING);
	EXPECT_DONE(l->uffd, COPY, page_at(l, 4), src_at(l, 4), l->m.page);
	EXPECT_TOUCHED(&w.t, first_of(l, 4));
	EXPECT_NO_MSG(l);
}

/* Without a mapping, punching a hole still removes pages from the guest. */
TEST_F(bound, hole_without_mapping)
{
	struct lab *l = &self->l;

	EXPECT_WRITES(l, 1, 9);
	EXPECT_WRITES(l, 2, 9);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	ASSERT_EQ(0, munmap(l->m.alias, l->m.len));
	l->m.alias = NULL;
	EXPECT_READS(l, 1, 9);
	ASSERT_EQ(0, make_hole(l->m.fd, 1, 1));
	EXPECT_READS(l, 1, 0);
	EXPECT_READS(l, 2, 9);
}

/* Mapping and binding are independent of each other. */
TEST_F(bound, comes_and_goes)
{
	struct lab *l = &self->l;
	int code = 0;
	char v = 0;

	EXPECT_WRITES(l, 1, 9);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	EXPECT_READS(l, 1, 9);
	EXPECT_WRITES(l, 2, 9);
	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	EXPECT_EQ(9, alias_at(l, 2)[0]);
	ASSERT_EQ(0, remap(l, l->m.fd, 0));
	EXPECT_EQ(9, page_at(l, 2)[0]);
	ASSERT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_GUEST_MEMFD,
				l->m.fd));
	EXPECT_READS(l, 2, 9);
	/*
	 * A mapping holds the file like its descriptor does; then the guest has
	 * nothing.
	 */
	close(l->m.fd);
	l->m.fd = -1;
	EXPECT_READS(l, 2, 9);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	EXPECT_READS(l, 2, 9);
	ASSERT_EQ(0, munmap(l->m.alias, l->m.len));
	l->m.alias = NULL;
	EXPECT_EQ(EFAULT, touch(l, 2, false, &v, &code));
}

TEST_F(bound, memory_failure)
{
	struct lab *l = &self->l;
	int code = 0;
	char v = 0;

	file_write(l, 0, PAGES);
	EXPECT_WRITES(l, 3, 9);
	signal(SIGBUS, hwpoison_told);
	ASSERT_EQ(0, madvise(alias_at(l, 3), l->m.page, MADV_HWPOISON));
	lab_catch_signals();
	EXPECT_EQ(EHWPOISON, touch(l, 3, false, &v, &code));
	EXPECT_EQ(KVM_EXIT_MEMORY_FAULT, vcpus[0]->run->exit_reason);
	EXPECT_WRITES(l, 4, 9);
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	ASSERT_EQ(0, make_hole(l->m.fd, 3, 1));
	EXPECT_READS(l, 3, 0);
}

/*
 * Any file can be bound if there is no private memory. If it can be mapped, the
 * guest's memory is in it, whatever the userspace address maps.
 */
TEST_F(bound, any_file)
{
	static const __u64 all[] = {
		0, GUEST_MEMFD_FLAG_MMAP, GUEST_MEMFD_FLAG_INIT_SHARED,
		GMEM_FLAGS,
	};
	struct lab *l = &self->l;
	int fd;

	for (int i = 0; i < (int)ARRAY_SIZE(all); i++) {
		bool in_file = all[i] & GUEST_MEMFD_FLAG_MMAP;

		ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
		gmem_flags = all[i];
		fd = gmem_file(l->m.len);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, guest_plug(l->m.area, l->m.len,
					KVM_MEM_GUEST_MEMFD, fd));
		memset(alias_at(l, 1), 5, l->m.page);
		EXPECT_READS(l, 1, in_file ? 0 : 5);
		EXPECT_WRITES(l, 1, 9);
		EXPECT_READS(l, 1, 9);
		EXPECT_EQ(in_file ? 5 : 9, alias_at(l, 1)[0]);
		ASSERT_EQ(0, make_hole(fd, 1, 1));
		EXPECT_READS(l, 1, in_file ? 0 : 9);
		close(fd);
	}
}

/* A descriptor that cannot be bound */
TEST_F(bound, bad_descriptor)
{
	struct lab *l = &self->l;
	int null = open("/dev/null", O_RDWR), closed = dup(null);
	struct kvm_vm *other = vm_create_barebones();
	int bad[] = {
		-1, closed, null, vm->fd, vm->kvm_fd, l->uffd,
		__vm_create_guest_memfd(other, l->m.len, GMEM_FLAGS),
	};

	ASSERT_LE(0, closed);
	close(closed);
	EXPECT_EQ(1, __vm_ioctl(vm, KVM_CHECK_EXTENSION,
				(void *)KVM_CAP_GUEST_MEMFD));
	/* The range is bound: EEXIST in mainline, EINVAL in some versions. */
	EXPECT_EQ(-1, __vm_set_user_memory_region2(vm, GMEM_SLOT + 1,
						   KVM_MEM_GUEST_MEMFD,
						   2 * GMEM_GPA, l->m.len,
						   l->m.area, l->m.fd, 0));
	EXPECT_TRUE(errno == EEXIST || errno == EINVAL);
	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	for (int i = 0; i < (int)ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len,
					      KVM_MEM_GUEST_MEMFD, bad[i]));
	/* The same for more than the file has */
	EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len + LAB_PAGE,
				      KVM_MEM_GUEST_MEMFD, l->m.fd));
	EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len,
				      KVM_MEM_GUEST_MEMFD |
				      KVM_MEM_LOG_DIRTY_PAGES, l->m.fd));
	EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len,
				      KVM_MEM_GUEST_MEMFD | KVM_MEM_READONLY,
				      l->m.fd));
	EXPECT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_GUEST_MEMFD,
				l->m.fd));
}

/* Rules that need no touch */

FIXTURE(file)
{
	struct lab l;
};

FIXTURE_SETUP(file)
{
	by_guest = false;
	ASSERT_EQ(0, gmem_begin(&self->l));
}

FIXTURE_TEARDOWN(file)
{
	lab_teardown(&self->l);
}

TEST_F(file, ioctls)
{
	struct lab *l = &self->l;
	__u64 modes, got;

	for (modes = LAB_MISSING; modes <= all_modes(&l->m); modes++) {
		if (modes & ~all_modes(&l->m))
			continue;
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, modes,
					  &got));
		EXPECT_EQ(expected_ioctls(&l->m, modes), got);
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	}
}

/* A present page is not filled again, mapped or not. */
TEST_F(file, present)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	file_write(l, 2, 2);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_DONE(l->uffd, CONTINUE, page_at(l, 3), NULL, page);
	for (int i = 2; i < 4; i++) {
		EXPECT_FAILED(-EEXIST, l->uffd, COPY, page_at(l, i), l->src,
			      page);
		EXPECT_FAILED(-EEXIST, l->uffd, ZEROPAGE, page_at(l, i), NULL,
			      page);
	}
	EXPECT_FAILED(-EEXIST, l->uffd, CONTINUE, page_at(l, 3), NULL, page);
	EXPECT_PARTIAL(2 * page, l->uffd, COPY, page_at(l, 0), l->src,
		       PAGES * page);
	EXPECT_PARTIAL(page, l->uffd, CONTINUE, page_at(l, 2), NULL, 4 * page);
	EXPECT_TRUE(same_at(l, alias_at(l, 2), 2));
	EXPECT_TRUE(same_at(l, alias_at(l, 3), 3));
}

/* If the file has a folio, with content or without, none is charged. */
TEST_F(file, looks_before_it_charges)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	struct owner o;

	file_write(l, 0, 2);
	ASSERT_EQ(0, allocate(l->m.fd, 2, 4));
	ASSERT_EQ(0, owner_start(&o, l));
	ASSERT_EQ(0, owner_limit(&o));
	EXPECT_FAILED(-EEXIST, o.uffd, COPY, page_at(l, 0), l->src, 2 * page);
	EXPECT_FAILED(-EEXIST, o.uffd, ZEROPAGE, page_at(l, 1), NULL, page);
	EXPECT_DONE(o.uffd, COPY, page_at(l, 2), src_at(l, 2), 3 * page);
	EXPECT_DONE(o.uffd, ZEROPAGE, page_at(l, 5), NULL, page);
	EXPECT_EQ(0, owner_limited(&o));
	for (int i = 0; i < 5; i++) {
		EXPECT_TRUE(same_at(l, alias_at(l, i), i));
	}
	EXPECT_TRUE(lab_all(alias_at(l, 5), page, 0));
	ASSERT_EQ(0, owner_end(&o));
	EXPECT_EQ(0, rmdir(o.group));
}

TEST_F(file, hole)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	file_write(l, 0, 2);
	ASSERT_EQ(0, allocate(l->m.fd, 3, 1));
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_FAILED(-EFAULT, l->uffd, CONTINUE, page_at(l, 2), NULL, page);
	EXPECT_FAILED(-EFAULT, l->uffd, CONTINUE, page_at(l, 3), NULL, page);
	EXPECT_PARTIAL(2 * page, l->uffd, CONTINUE, l->m.area, NULL,
		       4 * page);
	EXPECT_FAILED(-EINVAL, l->uffd, MOVE, page_at(l, 4), l->src, page);
}

/* A failed fill frees its folio; an existing one stays. */
TEST_F(file, bad_source)
{
	struct lab *l = &self->l;
	char *none = mmap(NULL, 2 * LAB_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, none);
	ASSERT_EQ(0, allocate(l->m.fd, 1, 1));
	EXPECT_ARMED(l, LAB_MISSING);
	for (int i = 0; i < 2; i++) {
		EXPECT_FAILED(-EFAULT, l->uffd, COPY, page_at(l, i), none,
			      l->m.page);
		EXPECT_DONE(l->uffd, COPY, page_at(l, i), src_at(l, i),
			    l->m.page);
		EXPECT_FILE(l, i);
	}
}

/* A source that is not in memory: COPY drops its locks and tries again. */
TEST_F(file, source_not_in_memory)
{
	struct lab *l = &self->l;
	struct copier c = { 0 };

	EXPECT_ARMED(l, LAB_MISSING);
	ASSERT_EQ(0, copier_start(&c, l));
	EXPECT_COPIED(&c, 0);
	EXPECT_FILE(l, 2);
}

/* Meanwhile the page was filled by another call. */
TEST_F(file, source_too_late)
{
	struct lab *l = &self->l;
	struct copier c = { 0 };

	EXPECT_ARMED(l, LAB_MISSING);
	ASSERT_EQ(0, copier_start(&c, l));
	memset(alias_at(l, 2), 7, l->m.page);
	EXPECT_COPIED(&c, -EEXIST);
	EXPECT_TRUE(lab_all(alias_at(l, 2), l->m.page, 7));
}

/* Meanwhile another file was mapped there. */
TEST_F(file, source_and_remap)
{
	struct lab *l = &self->l;
	struct copier c = { 0 };
	int fd = gmem_file(l->m.len);

	EXPECT_ARMED(l, LAB_MISSING);
	ASSERT_EQ(0, copier_start(&c, l));
	ASSERT_EQ(0, remap(l, fd, 0));
	EXPECT_ARMED(l, LAB_MISSING);
	EXPECT_COPIED(&c, -EAGAIN);
	close(fd);
}

/* pwrite() */

/* The content of page @i of the file, through the alias */
#define EXPECT_PAGE(l, i, n, rest) do {					\
	EXPECT_EQ(0, memcmp(alias_at(l, i), src_at(l, i), n));		\
	EXPECT_TRUE((size_t)(n) == (l)->m.page ||			\
		    lab_all(alias_at(l, i) + (n), (l)->m.page - (n),	\
			    rest));					\
} while (0)

/*
 * Part of a page of a hole: former content of the frame does not show, and the
 * page is complete.
 */
TEST_F(file, pwrite_part)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	ASSERT_EQ(100, pwrite(l->m.fd, src_at(l, 0), 100, 0));
	EXPECT_PAGE(l, 0, 100, 0);
	ASSERT_EQ(0, allocate(l->m.fd, 1, 1));
	ASSERT_EQ(100, pwrite(l->m.fd, src_at(l, 1), 100, page));
	EXPECT_PAGE(l, 1, 100, 0);
	/* From the middle of one page to the middle of another */
	ASSERT_EQ((ssize_t)(2 * page),
		  pwrite(l->m.fd, src_at(l, 3) - page / 2, 2 * page,
			 3 * page - page / 2));
	EXPECT_TRUE(lab_all(alias_at(l, 2), page / 2, 0));
	EXPECT_EQ(0, memcmp(alias_at(l, 3) - page / 2,
			    src_at(l, 3) - page / 2, 2 * page));
	EXPECT_TRUE(lab_all(alias_at(l, 4) + page / 2, page / 2, 0));
}

TEST_F(file, pwrite_over)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	memset(l->m.alias, 7, l->m.len);
	ASSERT_EQ(100, pwrite(l->m.fd, src_at(l, 0), 100, 0));
	EXPECT_PAGE(l, 0, 100, 7);
	ASSERT_EQ((ssize_t)page, pwrite(l->m.fd, src_at(l, 1), page, page));
	EXPECT_PAGE(l, 1, page, 7);
	EXPECT_PAGE(l, 2, 0, 7);
}

/* The file has the size that it was created with. */
TEST_F(file, pwrite_at_the_end)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	struct stat st;
	ssize_t n;

	n = pwrite(l->m.fd, src_at(l, 7), page + 1, 7 * page);
	EXPECT_EQ((ssize_t)page, n);
	EXPECT_PAGE(l, 7, page, 0);
	EXPECT_EQ(-1, pwrite(l->m.fd, l->src, 1, l->m.len));
	EXPECT_EQ(EFBIG, errno);
	EXPECT_EQ(-1, pwrite(l->m.fd, l->src, 1, l->m.len + page));
	EXPECT_EQ(EFBIG, errno);
	EXPECT_EQ(0, pwrite(l->m.fd, l->src, 0, l->m.len));
	ASSERT_EQ(0, fstat(l->m.fd, &st));
	EXPECT_EQ((off_t)l->m.len, st.st_size);
}

/* A source that ends in the middle: what was written before counts. */
TEST_F(file, pwrite_bad_source)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t n;

	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, mprotect(p + page, page, PROT_NONE));
	memcpy(p, src_at(l, 0), page);
	EXPECT_EQ(-1, pwrite(l->m.fd, p + page, page, 0));
	EXPECT_EQ(EFAULT, errno);
	/* No page was added: it is still a hole. */
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	EXPECT_FAILED(-EFAULT, l->uffd, CONTINUE, page_at(l, 0), NULL, page);
	n = pwrite(l->m.fd, p, 2 * page, 0);
	EXPECT_EQ((ssize_t)page, n);
	EXPECT_PAGE(l, 0, page, 0);
	EXPECT_FAILED(-EFAULT, l->uffd, CONTINUE, page_at(l, 1), NULL, page);
}

/* A source that itself waits for userfaultfd, in the file that is written */
TEST_F(file, pwrite_of_its_own_page)
{
	struct lab *l = &self->l;

	file_write(l, 0, 2);
	ASSERT_EQ((ssize_t)l->m.page,
		  pwrite(l->m.fd, alias_at(l, 0), l->m.page, 4 * l->m.page));
	EXPECT_EQ(0, memcmp(alias_at(l, 4), src_at(l, 0), l->m.page));
	/* A page to itself, and an absent one to a hole */
	ASSERT_EQ((ssize_t)l->m.page,
		  pwrite(l->m.fd, alias_at(l, 1), l->m.page, l->m.page));
	EXPECT_PAGE(l, 1, l->m.page, 0);
	ASSERT_EQ((ssize_t)l->m.page,
		  pwrite(l->m.fd, alias_at(l, 5), l->m.page, 6 * l->m.page));
	EXPECT_TRUE(lab_all(alias_at(l, 6), l->m.page, 0));
}

TEST_F(file, other_calls)
{
	struct lab *l = &self->l;
	struct iovec iov[] = { { src_at(l, 2), l->m.page },
			       { src_at(l, 3), l->m.page } };
	char byte = 0;

	/* write() uses the file position; writev() fills a run. */
	ASSERT_EQ(l->m.page, write(l->m.fd, src_at(l, 0), l->m.page));
	ASSERT_EQ(l->m.page, write(l->m.fd, src_at(l, 1), l->m.page));
	ASSERT_EQ(2 * l->m.page, writev(l->m.fd, iov, 2));
	EXPECT_EQ(0, memcmp(l->m.alias, l->src, 4 * l->m.page));
	/* Reading is still not supported, as for every guest_memfd. */
	EXPECT_EQ(-1, pread(l->m.fd, &byte, 1, 0));
	EXPECT_EQ(-1, ftruncate(l->m.fd, 0));
	EXPECT_EQ(-1, ftruncate(l->m.fd, 2 * l->m.len));
}

/* Flags, mmap(), lifetime */

static int create(__u64 flags)
{
	int fd = __vm_create_guest_memfd(vm, 2 * LAB_PAGE, flags);

	return fd < 0 ? -errno : fd;
}

static int map_of(int fd, int flags)
{
	void *p = mmap(NULL, 2 * LAB_PAGE, PROT_READ | PROT_WRITE, flags, fd,
		       0);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, 2 * LAB_PAGE);
	return 0;
}

TEST(flags)
{
	int fd, cap;

	vm = vm_create_barebones();
	cap = __vm_ioctl(vm, KVM_CHECK_EXTENSION,
			 (void *)KVM_CAP_GUEST_MEMFD_FLAGS);
	EXPECT_EQ((int)GMEM_FLAGS, cap);
	EXPECT_EQ(1U, kvm_check_cap(KVM_CAP_USER_MEMORY));
	EXPECT_EQ((int)GMEM_FLAGS, kvm_check_cap(KVM_CAP_GUEST_MEMFD_FLAGS));
	for (int bit = 0; bit < 64; bit++) {
		__u64 flag = 1ULL << bit;

		fd = create(flag);
		if (flag & GMEM_FLAGS) {
			EXPECT_LE(0, fd);
			close(fd);
			continue;
		}
		EXPECT_EQ(-EINVAL, fd);
		EXPECT_EQ(-EINVAL, create(flag | GMEM_FLAGS));
	}
}

#define EXPECT_ERRNO(want, call) do {					\
	errno = 0;							\
	EXPECT_EQ(-1, call);						\
	EXPECT_EQ(want, errno);						\
} while (0)

/* One of the eight sets of flags */
static __u64 flags_of(int i)
{
	return (i & 1 ? GUEST_MEMFD_FLAG_MMAP : 0) |
	       (i & 2 ? GUEST_MEMFD_FLAG_INIT_SHARED : 0) |
	       (i & 4 ? GUEST_MEMFD_FLAG_PWRITE : 0);
}

/* As in mainline, except for PWRITE */
TEST(errnos)
{
	char *none = mmap(NULL, LAB_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte = 'x';
	int fd;

	vm = vm_create_barebones();
	for (int i = 0; i < 8; i++) {
		bool map = flags_of(i) & GUEST_MEMFD_FLAG_MMAP;

		fd = create(flags_of(i));
		ASSERT_LE(0, fd);
		EXPECT_EQ(map ? 0 : -ENODEV, map_of(fd, MAP_SHARED));
		EXPECT_EQ(map ? 0 : -ENODEV, map_of(fd, MAP_SHARED_VALIDATE));
		EXPECT_EQ(map ? -EINVAL : -ENODEV, map_of(fd, MAP_PRIVATE));
		EXPECT_ERRNO(EINVAL, read(fd, &byte, 1));
		EXPECT_ERRNO(ESPIPE, pread(fd, &byte, 1, 0));
		EXPECT_ERRNO(ESPIPE, lseek(fd, 0, SEEK_SET));
		if (i >= 6) {
			EXPECT_EQ(1, write(fd, &byte, 1));
			EXPECT_EQ(1, pwrite(fd, &byte, 1, 0));
		} else {
			/*
			 * These errnos must not be those of memory: there is
			 * none yet.
			 */
			EXPECT_ERRNO(EINVAL, write(fd, &byte, 1));
			EXPECT_ERRNO(EINVAL, write(fd, &byte, 0));
			EXPECT_ERRNO(EINVAL, write(fd, none, 1));
			EXPECT_ERRNO(ESPIPE, pwrite(fd, &byte, 1, 0));
			EXPECT_ERRNO(ESPIPE, pwrite(fd, &byte, 1, LAB_PAGE * 2));
		}
		close(fd);
	}
}

/* A mapping is never executable. */
TEST(not_executable)
{
	const size_t len = 2 * LAB_PAGE;
	int fd;
	void *p;

	vm = vm_create_barebones();
	for (int i = 0; i < 8; i++) {
		fd = create(flags_of(i));
		ASSERT_LE(0, fd);
		for (int type = MAP_SHARED; type <= MAP_PRIVATE; type++) {
			p = mmap(NULL, len, PROT_READ | PROT_EXEC, type, fd, 0);
			EXPECT_EQ(MAP_FAILED, p);
			EXPECT_EQ(EPERM, errno);
		}
		close(fd);
	}

	fd = create(GMEM_FLAGS);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_ERRNO(EACCES, mprotect(p, len, PROT_READ | PROT_EXEC));
	EXPECT_EQ(0, mprotect(p, len, PROT_READ));
	munmap(p, len);

	/* READ_IMPLIES_EXEC does not request an impossible mapping. */
	ASSERT_LE(0, personality(READ_IMPLIES_EXEC));
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT_NE(MAP_FAILED, p);
	ASSERT_LE(0, personality(PER_LINUX));
	close(fd);
}

/*
 * A slot that is bound to the file and has a mapping of it, in a VM that can
 * have private memory, whose files are not shared. The guest has its pages, and
 * accesses through the mapping find none.
 */
TEST(bound_and_mapped)
{
	struct lab l;
	int code = 0;
	char v = 0;

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_VM_TYPES) &
		     BIT(KVM_X86_SW_PROTECTED_VM));
	guest_make(KVM_X86_SW_PROTECTED_VM, 1, PAGES);
	EXPECT_EQ((int)GUEST_MEMFD_FLAG_MMAP,
		  __vm_ioctl(vm, KVM_CHECK_EXTENSION,
			     (void *)KVM_CAP_GUEST_MEMFD_FLAGS));
	EXPECT_EQ(-EINVAL, create(GMEM_FLAGS));
	gmem_flags = GUEST_MEMFD_FLAG_MMAP;
	ASSERT_EQ(0, lab_setup(&l, &lab_guest_memfd));
	ASSERT_EQ(0, guest_plug(l.m.area, l.m.len, KVM_MEM_GUEST_MEMFD,
				l.m.fd));
	vm_mem_set_private(vm, GMEM_GPA, 4 * l.m.page);

	/* Private pages are in the file. */
	by_guest = true;
	EXPECT_WRITES(&l, 0, 9);
	EXPECT_READS(&l, 0, 9);
	EXPECT_READS(&l, 1, 0);
	/* So are shared ones, since the file can be mapped. */
	EXPECT_READS(&l, 4, 0);
	EXPECT_WRITES(&l, 4, 5);
	EXPECT_READS(&l, 4, 5);
	by_guest = false;
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(SIGBUS, touch(&l, i, i % 2, &v, &code));
		EXPECT_EQ(BUS_ADRERR, code);
	}
	EXPECT_EQ(-1, pwrite(l.m.fd, "x", 1, 0));

	/*
	 * A punch removes a page from the guest; a private page that becomes
	 * shared stays.
	 */
	by_guest = true;
	ASSERT_EQ(0, make_hole(l.m.fd, 0, 1));
	EXPECT_READS(&l, 0, 0);
	EXPECT_WRITES(&l, 1, 7);
	vm_mem_set_shared(vm, GMEM_GPA, 4 * l.m.page);
	EXPECT_READS(&l, 1, 7);
	ASSERT_EQ(0, make_hole(l.m.fd, 4, 1));
	EXPECT_READS(&l, 4, 0);
	vm_mem_set_private(vm, GMEM_GPA, 4 * l.m.page);
	EXPECT_READS(&l, 1, 7);

	/* After binding it again, the guest has the same memory as before. */
	ASSERT_EQ(0, guest_plug(l.m.area, 0, 0, -1));
	ASSERT_EQ(0, guest_plug(l.m.area, l.m.len, KVM_MEM_GUEST_MEMFD,
				l.m.fd));
	EXPECT_READS(&l, 1, 7);
	kvm_vm_free(vm);
	/* The mapping holds the file, which holds the rest of the VM. */
	EXPECT_EQ(SIGBUS, lab_access(page_at(&l, 1), false, &v, &code));
	lab_teardown(&l);
}

/*
 * Memory policy, on a machine with two nodes: the file allocates as mbind() of
 * the mapping requested, for every allocation and wherever the task runs.
 */

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
		EXPECT_DONE(l->uffd, COPY, page_at(l, 5), src_at(l, 5),
			    l->m.page);
		EXPECT_DONE(l->uffd, ZEROPAGE, page_at(l, 6), NULL, l->m.page);
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
		EXPECT_DONE(l->uffd, COPY, page_at(l, i), src_at(l, i),
			    l->m.page);
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

/* The mapping outlives the VM, its descriptor, and the last one of the file. */
TEST(mapping_outlives_vm)
{
	struct lab l;
	struct toucher w;

	by_guest = true;
	ASSERT_EQ(0, gmem_begin(&l));
	EXPECT_ARMED(&l, LAB_MISSING | LAB_MINOR);
	EXPECT_DONE(l.uffd, COPY, l.m.area, l.src, l.m.page);
	EXPECT_WRITES(&l, 0, 9);
	by_guest = false;
	close(l.m.fd);
	l.m.fd = -1;
	kvm_vm_free(vm);

	EXPECT_READS(&l, 0, 9);
	EXPECT_FAULTS(&l, &w, 1, true, 9, FAULT_MISSING);
	EXPECT_DONE(l.uffd, COPY, page_at(&l, 1), src_at(&l, 1), l.m.page);
	EXPECT_TOUCHED(&w.t, 9);
	file_write(&l, 2, 1);
	EXPECT_FAULTS(&l, &w, 2, false, 0, FAULT_MINOR);
	EXPECT_DONE(l.uffd, CONTINUE, page_at(&l, 2), NULL, l.m.page);
	EXPECT_TOUCHED(&w.t, first_of(&l, 2));
	lab_teardown(&l);
}

TEST_HARNESS_MAIN
