// SPDX-License-Identifier: GPL-2.0
/*
 * Regression tests of userfaultfd, each with the behavior that must not change.
 *
 *   droppable_*	memory that the kernel may drop cannot be registered
 *   owner_*		only the userfaultfd that armed a mapping disarms it
 *   change_*		fills work after an mremap() or a brk() that failed
 *   modes_*		registering again leaves exactly the requested modes
 *   unregister_*	UNREGISTER leaves neither a waiting thread nor a protected
 *			entry behind
 *   in_call_*		a fault inside a system call sleeps, signals or not
 *   removal_*		a removal that fails causes no event
 *   move_*		MOVE leaves its destination unprotected, and waits for
 *			a huge page that is being migrated
 *   truncated*		the pool of huge pages is consistent after truncation
 *			raced with faults and fills
 *   mremap_of_a_part.*	reservations of huge pages move with their part
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "uffd/lab.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE	0x08
#endif
#ifndef __NR_mseal
#define __NR_mseal	462
#endif

#define PAGES		4
#define TOUCH_MS	5000	/* longer than an access without a fault */
#define WP_ON		UFFDIO_WRITEPROTECT_MODE_WP
#define IOCTL_WP	_BITULL(_UFFDIO_WRITEPROTECT)

/* The modes that the mapping of @addr is armed with, as smaps shows them */
static int armed_modes(const void *addr)
{
	unsigned long from, to;
	bool here = false;
	char line[512];
	int modes = -ENOENT;
	FILE *f;

	f = fopen("/proc/self/smaps", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (!isupper(line[0]) &&
		    sscanf(line, "%lx-%lx", &from, &to) == 2)
			here = (uintptr_t)addr >= from && (uintptr_t)addr < to;
		if (!here || strncmp(line, "VmFlags:", 8))
			continue;
		modes = 0;
		if (strstr(line, " um"))
			modes |= LAB_MISSING;
		if (strstr(line, " uw"))
			modes |= LAB_WP;
		if (strstr(line, " ui"))
			modes |= LAB_MINOR;
		break;
	}
	fclose(f);
	return modes;
}

static bool entry_wp(const void *addr)
{
	return lab_pagemap(addr) & LAB_PM_UFFD_WP;
}

/* The result of an access: 0 it succeeded, 1 it was reported in @msg */
static int touch_or_msg(int uffd, struct lab_touch *t, struct uffd_msg *msg)
{
	__u64 end = lab_now_ms() + TOUCH_MS;
	int err;

	do {
		if (!lab_touch_wait(t, 5))
			return 0;
		err = lab_read_msg(uffd, msg, 0);
		if (!err)
			return 1;
		if (err != -ETIMEDOUT)
			return err;
	} while (lab_now_ms() < end);
	return -ETIMEDOUT;
}

static void *anon_pages(size_t pages, int flags)
{
	return mmap(NULL, pages * LAB_PAGE, PROT_READ | PROT_WRITE,
		    MAP_ANONYMOUS | flags, -1, 0);
}

/* MAP_DROPPABLE: registration checks the mapping, not only the modes */

FIXTURE(droppable)
{
	int uffd;
	char *area;	/* PAGES of anonymous memory, the last two droppable */
	char *drop;
};

FIXTURE_VARIANT(droppable)
{
	__u64 features;
};

FIXTURE_VARIANT_ADD(droppable, sync)
{
	.features = 0,
};

FIXTURE_VARIANT_ADD(droppable, wp_async)
{
	.features = UFFD_FEATURE_WP_ASYNC,
};

FIXTURE_SETUP(droppable)
{
	void *p;

	self->uffd = lab_uffd_open(variant->features);
	ASSERT_GE(self->uffd, 0);
	self->area = anon_pages(PAGES, MAP_PRIVATE);
	ASSERT_NE(MAP_FAILED, self->area);
	self->drop = self->area + 2 * LAB_PAGE;
	p = mmap(self->drop, 2 * LAB_PAGE, PROT_READ | PROT_WRITE,
		 MAP_ANONYMOUS | MAP_FIXED | MAP_DROPPABLE, -1, 0);
	if (p == MAP_FAILED && errno == EOPNOTSUPP)
		SKIP(return, "no MAP_DROPPABLE on this architecture");
	ASSERT_EQ(self->drop, p);
}

FIXTURE_TEARDOWN(droppable)
{
	munmap(self->area, PAGES * LAB_PAGE);
	close(self->uffd);
}

TEST_F(droppable, refused_in_every_mode)
{
	int modes;

	for (modes = 1; modes <= (LAB_MISSING | LAB_WP | LAB_MINOR); modes++) {
		EXPECT_EQ(-EINVAL, lab_register(self->uffd, self->drop,
						2 * LAB_PAGE, modes, NULL)) {
			TH_LOG("modes %d", modes);
		}
		EXPECT_EQ(0, armed_modes(self->drop));
		lab_unregister(self->uffd, self->drop, 2 * LAB_PAGE);
	}
}

TEST_F(droppable, refused_inside_a_range)
{
	EXPECT_EQ(-EINVAL, lab_register(self->uffd, self->area,
					PAGES * LAB_PAGE, LAB_WP, NULL));
	EXPECT_EQ(0, armed_modes(self->area));
	EXPECT_EQ(0, armed_modes(self->drop));
}

/* As for every mapping that cannot be registered */
TEST_F(droppable, unregister_refused)
{
	EXPECT_EQ(-EINVAL, lab_unregister(self->uffd, self->drop, LAB_PAGE));
	EXPECT_EQ(0, lab_unregister(self->uffd, self->area, LAB_PAGE));
}

/* Armed memory never becomes droppable, and droppable memory is never armed. */
TEST_F(droppable, replaces_armed_memory)
{
	void *p;

	ASSERT_EQ(0, lab_register(self->uffd, self->area, 2 * LAB_PAGE,
				  LAB_WP, NULL));
	p = mmap(self->area + LAB_PAGE, LAB_PAGE, PROT_READ | PROT_WRITE,
		 MAP_ANONYMOUS | MAP_FIXED | MAP_DROPPABLE, -1, 0);
	ASSERT_EQ(self->area + LAB_PAGE, p);
	EXPECT_EQ(LAB_WP, armed_modes(self->area));
	EXPECT_EQ(0, armed_modes(self->area + LAB_PAGE));
	/* A mapping that grows next to it is not merged with it. */
	EXPECT_EQ(-EINVAL, lab_register(self->uffd, self->area, 2 * LAB_PAGE,
					LAB_WP, NULL));
	EXPECT_EQ(0, armed_modes(self->area + LAB_PAGE));
}

TEST_F(droppable, other_memory_accepted)
{
	int modes;

	for (modes = 1; modes <= (LAB_MISSING | LAB_WP); modes++) {
		EXPECT_EQ(0, lab_register(self->uffd, self->area,
					  2 * LAB_PAGE, modes, NULL));
		EXPECT_EQ(modes, armed_modes(self->area));
		EXPECT_EQ(0, lab_unregister(self->uffd, self->area,
					    2 * LAB_PAGE));
	}
}

/*
 * Memory that userfaultfd cannot fill, here of a block device: WP alone, and
 * only with WP_ASYNC
 */
TEST_F(droppable, unserved_memory_as_before)
{
	char *p;
	int fd;

	fd = open("/dev/zram0", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "/dev/zram0: %s", strerror(errno));
	p = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(variant->features ? 0 : -EINVAL,
		  lab_register(self->uffd, p, LAB_PAGE, LAB_WP, NULL));
	EXPECT_EQ(-EINVAL, lab_register(self->uffd, p, LAB_PAGE,
					LAB_WP | LAB_MISSING, NULL));
	munmap(p, LAB_PAGE);
	close(fd);
}

/* The memory types with which the other faults are tested */

FIXTURE(memory)
{
	struct lab_mem m;
	char *src;	/* PAGES granules to copy from */
	int uffd;
	int other;	/* a second userfaultfd */
};

FIXTURE_VARIANT(memory)
{
	const struct lab_type *type;
};

FIXTURE_VARIANT_ADD(memory, anon)
{
	.type = &lab_anon,
};

FIXTURE_VARIANT_ADD(memory, memfd_shared)
{
	.type = &lab_memfd_shared,
};

FIXTURE_VARIANT_ADD(memory, memfd_private)
{
	.type = &lab_memfd_private,
};

FIXTURE_VARIANT_ADD(memory, hugetlb_shared)
{
	.type = &lab_hugetlb_shared,
};

FIXTURE_VARIANT_ADD(memory, hugetlb_private)
{
	.type = &lab_hugetlb_private,
};

FIXTURE_SETUP(memory)
{
	int err;

	lab_catch_signals();
	self->uffd = lab_uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				   UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
				   UFFD_FEATURE_WP_UNPOPULATED);
	ASSERT_GE(self->uffd, 0);
	self->other = lab_uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	ASSERT_GE(self->other, 0);
	err = lab_mem_make(&self->m, variant->type, PAGES);
	if (err == -ENOMEM && variant->type->flags & LAB_T_HUGETLB)
		SKIP(return, "too few huge pages in the pool");
	ASSERT_EQ(0, err);
	self->src = mmap(NULL, self->m.len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->src);
	lab_fill(self->src, self->m.len, 1);
}

FIXTURE_TEARDOWN(memory)
{
	/* Wakes threads that still wait for a fault. */
	close(self->uffd);
	close(self->other);
	if (self->src)
		munmap(self->src, self->m.len);
	lab_mem_drop(&self->m);
}

/* UNREGISTER: only by the owner */

TEST_F(memory, owner_alone_unregisters)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page,
			      UFFDIO_COPY_MODE_WP, NULL));

	EXPECT_EQ(-EINVAL, lab_unregister(self->other, m->area, m->len));
	EXPECT_EQ(-EINVAL, lab_unregister(self->other, m->area + m->page,
					  m->page));
	EXPECT_EQ(LAB_MISSING | LAB_WP, armed_modes(m->area));
	EXPECT_EQ(LAB_MISSING | LAB_WP, armed_modes(m->area + m->page));
	EXPECT_TRUE(entry_wp(m->area));

	/* Its handler still receives the faults. */
	ASSERT_EQ(0, lab_touch_start(&touch, m->area + m->page, false, 0));
	EXPECT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(0, lab_copy(self->uffd, m->area + m->page,
			      self->src + m->page, m->page, 0, NULL));
	EXPECT_EQ(0, lab_touch_wait(&touch, LAB_DEADLINE_MS));

	EXPECT_EQ(0, lab_unregister(self->uffd, m->area, m->len));
	EXPECT_EQ(0, armed_modes(m->area));
	EXPECT_FALSE(entry_wp(m->area));
}

/* With one foreign mapping in the range, nothing changes. */
TEST_F(memory, owner_refusal_changes_nothing)
{
	struct lab_mem *m = &self->m;

	ASSERT_EQ(0, lab_register(self->other, m->area, 2 * m->page,
				  LAB_WP, NULL));
	ASSERT_EQ(0, lab_register(self->uffd, m->area + 2 * m->page, m->page,
				  LAB_MISSING, NULL));

	EXPECT_EQ(-EINVAL, lab_unregister(self->other, m->area, m->len));
	EXPECT_EQ(LAB_WP, armed_modes(m->area));
	EXPECT_EQ(LAB_MISSING, armed_modes(m->area + 2 * m->page));

	EXPECT_EQ(-EINVAL, lab_unregister(self->uffd, m->area, m->len));
	EXPECT_EQ(LAB_WP, armed_modes(m->area));
	EXPECT_EQ(LAB_MISSING, armed_modes(m->area + 2 * m->page));

	/* REGISTER always rejected it, with its own errno. */
	EXPECT_EQ(-EBUSY, lab_register(self->uffd, m->area, m->len,
				       LAB_WP, NULL));
}

TEST_F(memory, owner_unregisters_what_is_not_armed)
{
	struct lab_mem *m = &self->m;

	EXPECT_EQ(0, lab_unregister(self->uffd, m->area, m->len));
	ASSERT_EQ(0, lab_register(self->uffd, m->area + m->page, m->page,
				  LAB_MISSING, NULL));
	EXPECT_EQ(0, lab_unregister(self->other, m->area, m->page));
	EXPECT_EQ(LAB_MISSING, armed_modes(m->area + m->page));
	EXPECT_EQ(0, lab_unregister(self->uffd, m->area, m->len));
	EXPECT_EQ(0, armed_modes(m->area + m->page));
	EXPECT_EQ(0, lab_unregister(self->uffd, m->area, m->len));

	/* After that the other can register it. */
	EXPECT_EQ(0, lab_register(self->other, m->area, m->len,
				  LAB_MISSING, NULL));
	EXPECT_EQ(0, lab_unregister(self->other, m->area, m->len));
}

/* REGISTER again: exactly the requested modes */

TEST_F(memory, modes_drop_wp)
{
	struct lab_mem *m = &self->m;
	char *hole = m->area + 3 * m->page;
	static struct lab_touch touch;
	struct uffd_msg msg;
	__u64 ioctls;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, &ioctls));
	EXPECT_EQ(IOCTL_WP, ioctls & IOCTL_WP);
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, 3 * m->page,
			      0, NULL));
	ASSERT_EQ(0, lab_writeprotect(self->uffd, m->area, m->len, WP_ON));
	ASSERT_TRUE(entry_wp(m->area));
	/* Protection is also in swap entries, if there is swap. */
	if (!lab_is_hugetlb(m))
		madvise(m->area + 2 * m->page, m->page, MADV_PAGEOUT);

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, &ioctls));
	EXPECT_EQ(0, ioctls & IOCTL_WP);
	EXPECT_EQ(LAB_MISSING, armed_modes(m->area));
	EXPECT_FALSE(entry_wp(m->area));
	EXPECT_FALSE(entry_wp(m->area + 2 * m->page));
	EXPECT_FALSE(entry_wp(hole));
	EXPECT_EQ(-ENOENT, lab_writeprotect(self->uffd, m->area, m->page, 0));

	ASSERT_EQ(0, lab_touch_start(&touch, m->area, true, 'x'));
	ASSERT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ('x', m->area[0]);
	EXPECT_EQ(self->src[2 * m->page + 1], m->area[2 * m->page + 1]);

	/* MISSING was requested again, and works. */
	ASSERT_EQ(0, lab_touch_start(&touch, hole, true, 'y'));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(UFFD_PAGEFAULT_FLAG_WRITE, msg.arg.pagefault.flags);
	EXPECT_EQ(0, lab_copy(self->uffd, hole, self->src, m->page, 0, NULL));
	EXPECT_EQ(0, lab_touch_wait(&touch, LAB_DEADLINE_MS));
}

/* Only the range is unprotected. */
TEST_F(memory, modes_drop_wp_of_a_part)
{
	struct lab_mem *m = &self->m;
	char *part = m->area + m->page;
	static struct lab_touch touch;
	struct uffd_msg msg;
	int i;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->len,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_register(self->uffd, part, m->page,
				  LAB_MISSING, NULL));

	for (i = 0; i < PAGES; i++) {
		char *p = m->area + i * m->page;

		EXPECT_EQ(p == part ? LAB_MISSING : LAB_MISSING | LAB_WP,
			  armed_modes(p));
		EXPECT_EQ(p != part, entry_wp(p));
	}
	ASSERT_EQ(0, lab_touch_start(&touch, part, true, 'x'));
	ASSERT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));

	ASSERT_EQ(0, lab_touch_start(&touch, m->area, true, 'x'));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE,
		  msg.arg.pagefault.flags);
	EXPECT_EQ(0, lab_writeprotect(self->uffd, m->area, m->page, 0));
	EXPECT_EQ(0, lab_touch_wait(&touch, LAB_DEADLINE_MS));

	/* The mappings are merged again, then unregistered part by part. */
	EXPECT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(LAB_MISSING, armed_modes(m->area + i * m->page));
		EXPECT_FALSE(entry_wp(m->area + i * m->page));
	}
}

/* A page must not become protected again unless it was protected since. */
TEST_F(memory, modes_wp_gone_and_back)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len, LAB_WP, NULL));
	m->area[0] = 'a';
	ASSERT_EQ(0, lab_writeprotect(self->uffd, m->area, m->len, WP_ON));
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	EXPECT_EQ(LAB_MISSING, armed_modes(m->area));
	EXPECT_FALSE(entry_wp(m->area));
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_FALSE(entry_wp(m->area));
	ASSERT_EQ(0, lab_touch_start(&touch, m->area, true, 'x'));
	EXPECT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
}

/* A waiter for a mode that is no longer registered must not wait forever. */
TEST_F(memory, modes_drop_wp_wakes)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_touch_start(&touch, m->area, true, 'x'));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ('x', m->area[0]);
}

TEST_F(memory, modes_drop_missing)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len, LAB_WP, NULL));
	EXPECT_EQ(LAB_WP, armed_modes(m->area));
	EXPECT_TRUE(entry_wp(m->area));
	ASSERT_EQ(0, lab_touch_start(&touch, m->area + m->page, false, 0));
	EXPECT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(0, touch.value);
}

TEST_F(memory, modes_drop_minor)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;

	if (!lab_is_file(m)) {
		EXPECT_EQ(-EINVAL, lab_register(self->uffd, m->area, m->len,
						LAB_MINOR, NULL));
		return;
	}
	lab_fill(m->alias, m->len, 1);
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_MINOR, NULL));
	ASSERT_EQ(0, lab_touch_start(&touch, m->area, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(UFFD_PAGEFAULT_FLAG_MINOR, msg.arg.pagefault.flags);

	/* The waiter continues, and later accesses do not wait. */
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	EXPECT_EQ(LAB_MISSING, armed_modes(m->area));
	ASSERT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(self->src[0], touch.value);
	ASSERT_EQ(0, lab_touch_start(&touch, m->area + m->page, false, 0));
	EXPECT_EQ(0, touch_or_msg(self->uffd, &touch, &msg));
}

/* Registering the same modes, or more, removes nothing. */
TEST_F(memory, modes_same_or_more)
{
	struct lab_mem *m = &self->m;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len, LAB_WP, NULL));
	m->area[0] = 'a';
	ASSERT_EQ(0, lab_writeprotect(self->uffd, m->area, m->page, WP_ON));
	EXPECT_EQ(0, lab_register(self->uffd, m->area, m->len, LAB_WP, NULL));
	EXPECT_EQ(LAB_WP, armed_modes(m->area));
	EXPECT_TRUE(entry_wp(m->area));
	EXPECT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_EQ(LAB_MISSING | LAB_WP, armed_modes(m->area));
	EXPECT_TRUE(entry_wp(m->area));
}

/* UNREGISTER wakes all waiters, for every kind of fault. */

/* A fault with the flags @fault waits at the first page, until UNREGISTER. */
static void unregister_wakes(struct __test_metadata *_metadata, int uffd,
			     struct lab_mem *m, bool write, __u64 fault)
{
	static struct lab_touch touch;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_touch_start(&touch, m->area, write, 'x'));
	ASSERT_EQ(1, touch_or_msg(uffd, &touch, &msg));
	EXPECT_EQ(fault, msg.arg.pagefault.flags);
	EXPECT_EQ(0, lab_unregister(uffd, m->area, m->len));
	ASSERT_EQ(0, lab_touch_wait(&touch, TOUCH_MS));
	EXPECT_EQ(0, touch.sig);
}

TEST_F(memory, unregister_wakes_missing)
{
	struct lab_mem *m = &self->m;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	unregister_wakes(_metadata, self->uffd, m, true,
			 UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ('x', m->area[0]);
	EXPECT_EQ(0, m->area[1]);
}

TEST_F(memory, unregister_wakes_minor)
{
	struct lab_mem *m = &self->m;

	if (!lab_is_file(m)) {
		EXPECT_EQ(-EINVAL, lab_register(self->uffd, m->area, m->len,
						LAB_MINOR, NULL));
		return;
	}
	lab_fill(m->alias, m->len, 1);
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MINOR, NULL));
	unregister_wakes(_metadata, self->uffd, m, false,
			 UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(self->src[0], m->area[0]);
}

TEST_F(memory, unregister_wakes_wp)
{
	struct lab_mem *m = &self->m;

	m->area[1] = 'a';
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len, LAB_WP, NULL));
	ASSERT_EQ(0, lab_writeprotect(self->uffd, m->area, m->len, WP_ON));
	unregister_wakes(_metadata, self->uffd, m, true,
			 UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ('x', m->area[0]);
	EXPECT_EQ('a', m->area[1]);
	EXPECT_FALSE(entry_wp(m->area));
}

/* Waiters outside of the range are not woken. */
TEST_F(memory, unregister_wakes_the_range)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch in, out;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_touch_start(&in, m->area, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &in, &msg));
	ASSERT_EQ(0, lab_touch_start(&out, m->area + m->page, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &out, &msg));

	EXPECT_EQ(0, lab_unregister(self->uffd, m->area, m->page));
	EXPECT_EQ(0, lab_touch_wait(&in, TOUCH_MS));
	EXPECT_EQ(-ETIMEDOUT, lab_touch_wait(&out, LAB_QUIET_MS));
	EXPECT_EQ(0, lab_copy(self->uffd, m->area + m->page, self->src,
			      m->page, 0, NULL));
	EXPECT_EQ(0, lab_touch_wait(&out, LAB_DEADLINE_MS));
	EXPECT_EQ(self->src[0], out.value);
}

/*
 * Races with UNREGISTER, in rounds: a thread calls @act while it runs. The area
 * is armed with WP and has entries, since the faulty kernel walks them while
 * faults and fills still pass: a longer walk lets more of them pass.
 */
#define RACE_BYTES	(8UL << 20)
#define RACE_ROUNDS	50	/* the faulty kernel needs up to 5 */
#define RACE_MS		500	/* fewer rounds on a slow machine */

struct race {
	struct lab_mem m;
	size_t holes;		/* pages at the beginning, for the thread */
	const char *src;
	int uffd;
	void (*act)(struct race *r);
	pthread_t thread;
	unsigned int round;	/* 0: no more rounds */
	unsigned int begun;
	unsigned int done;
};

static void *race_thread(void *arg)
{
	struct race *r = arg;
	unsigned int round;

	for (;;) {
		round = __atomic_load_n(&r->round, __ATOMIC_ACQUIRE);
		if (!round)
			return NULL;
		if (round == r->begun) {
			sched_yield();
			continue;
		}
		__atomic_store_n(&r->begun, round, __ATOMIC_RELEASE);
		r->act(r);
		__atomic_store_n(&r->done, round, __ATOMIC_RELEASE);
	}
}

/* Waits until @where shows that the thread is in this round. */
static bool race_reached(struct race *r, const unsigned int *where)
{
	__u64 end = lab_now_ms() + TOUCH_MS;

	while (__atomic_load_n(where, __ATOMIC_ACQUIRE) != r->round) {
		if (lab_now_ms() >= end)
			return false;
		sched_yield();
	}
	return true;
}

/* All pages are present except those of the thread. */
static void race_holes(struct race *r)
{
	size_t len = r->holes * r->m.page;

	madvise(r->m.area, len, MADV_DONTNEED);
	if (lab_is_file(&r->m))
		fallocate(r->m.fd, FALLOC_FL_PUNCH_HOLE |
			  FALLOC_FL_KEEP_SIZE, 0, len);
}

static int race_begin(struct race *r, const struct lab_type *type, int uffd,
		      const char *src, void (*act)(struct race *r))
{
	size_t page = type->flags & LAB_T_HUGETLB ? LAB_HUGE : LAB_PAGE;
	int err;

	memset(r, 0, sizeof(*r));
	r->uffd = uffd;
	r->src = src;
	r->act = act;
	r->holes = page == LAB_PAGE ? 32 : 1;
	err = lab_mem_make(&r->m, type, RACE_BYTES / page);
	if (err)
		return err;
	if (madvise(r->m.area, r->m.len, MADV_POPULATE_READ))
		return -errno;
	/* The round before the first one counts as over. */
	r->round = 1;
	r->begun = 1;
	r->done = 1;
	return -pthread_create(&r->thread, NULL, race_thread, r);
}

/* Arms the area, and starts the round of the thread. */
static int race_round(struct race *r)
{
	int err;

	race_holes(r);
	err = lab_register(r->uffd, r->m.area, r->m.len,
			   LAB_MISSING | LAB_WP, NULL);
	__atomic_store_n(&r->round, r->round + 1, __ATOMIC_RELEASE);
	return err;
}

static void race_end(struct race *r)
{
	__atomic_store_n(&r->round, 0, __ATOMIC_RELEASE);
	pthread_join(r->thread, NULL);
	lab_mem_drop(&r->m);
}

static void race_touch(struct race *r)
{
	size_t i;

	for (i = 0; i < r->holes; i++)
		__atomic_load_n(r->m.area + i * r->m.page, __ATOMIC_RELAXED);
}

/* The thread waits at a hole, is woken and reaches the next holes. */
TEST_F(memory, unregister_loses_no_fault)
{
	unsigned long rounds = lab_scale(RACE_ROUNDS), i;
	static struct race r;
	struct uffd_msg msg;
	__u64 end;

	ASSERT_EQ(0, race_begin(&r, variant->type, self->uffd, self->src,
				race_touch));
	end = lab_now_ms() + RACE_MS;
	for (i = 0; i < rounds && lab_now_ms() < end; i++) {
		ASSERT_EQ(0, race_round(&r));
		/* The point that it has reached in its first fault varies. */
		if (i % 2) {
			ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
		} else {
			ASSERT_TRUE(race_reached(&r, &r.begun));
		}
		ASSERT_EQ(0, lab_unregister(self->uffd, r.m.area, r.m.len));
		ASSERT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 0)) {
			TH_LOG("a fault was left behind in round %lu", i);
		}
		ASSERT_TRUE(race_reached(&r, &r.done)) {
			TH_LOG("the thread still waits in round %lu", i);
		}
	}
	TH_LOG("%lu rounds", i);
	race_end(&r);
}

static void race_copy_wp(struct race *r)
{
	size_t i;

	for (i = 0; i < r->holes; i++)
		lab_copy(r->uffd, r->m.area + i * r->m.page, r->src,
			 r->m.page, UFFDIO_COPY_MODE_WP, NULL);
}

TEST_F(memory, unregister_leaves_no_protection)
{
	unsigned long rounds = lab_scale(RACE_ROUNDS), i;
	static struct race r;
	size_t page;
	__u64 end;

	ASSERT_EQ(0, race_begin(&r, variant->type, self->uffd, self->src,
				race_copy_wp));
	end = lab_now_ms() + RACE_MS;
	for (i = 0; i < rounds && lab_now_ms() < end; i++) {
		ASSERT_EQ(0, race_round(&r));
		ASSERT_TRUE(race_reached(&r, &r.begun));
		ASSERT_EQ(0, lab_unregister(self->uffd, r.m.area, r.m.len));
		ASSERT_TRUE(race_reached(&r, &r.done));
		for (page = 0; page < r.holes; page++) {
			ASSERT_FALSE(entry_wp(r.m.area + page * r.m.page)) {
				TH_LOG("page %zu in round %lu", page, i);
			}
		}
	}
	TH_LOG("%lu rounds", i);
	race_end(&r);
}

/* A huge page of anonymous memory, of which a part changes its modes */
TEST(modes_drop_wp_in_a_huge_page)
{
	size_t pages = LAB_HUGE / LAB_PAGE, i;
	char *part, *end;
	struct lab_mem m;
	int uffd;

	uffd = lab_uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	ASSERT_GE(uffd, 0);
	ASSERT_EQ(0, lab_mem_make(&m, &lab_anon, pages));
	madvise(m.area, m.len, MADV_HUGEPAGE);
	lab_fill(m.area, m.len, 3);

	ASSERT_EQ(0, lab_register(uffd, m.area, m.len, LAB_MISSING | LAB_WP,
				  NULL));
	ASSERT_EQ(0, lab_writeprotect(uffd, m.area, m.len, WP_ON));
	part = m.area + 100 * LAB_PAGE;
	end = part + 7 * LAB_PAGE;
	ASSERT_EQ(0, lab_register(uffd, part, end - part, LAB_MISSING, NULL));
	for (i = 0; i < pages; i++) {
		char *p = m.area + i * LAB_PAGE;

		ASSERT_EQ(p < part || p >= end, entry_wp(p)) {
			TH_LOG("page %zu", i);
		}
	}
	ASSERT_EQ(0, lab_register(uffd, m.area, m.len, LAB_MISSING, NULL));
	for (i = 0; i < pages; i++) {
		ASSERT_FALSE(entry_wp(m.area + i * LAB_PAGE));
		ASSERT_EQ(lab_word(3, i * LAB_PAGE / 8),
			  *(__u64 *)(m.area + i * LAB_PAGE));
	}
	close(uffd);
	lab_mem_drop(&m);
}

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

/* Faults inside a system call, and signals */

struct in_call {
	pthread_t thread;
	int pipe[2];
	char *to;
	ssize_t got;
};

#define IN_CALL_TEXT	"read into registered memory"

static unsigned int signals_handled;

static void on_usr1(int sig)
{
	(void)sig;
	__atomic_add_fetch(&signals_handled, 1, __ATOMIC_RELAXED);
}

static int catch_usr1(void)
{
	struct sigaction sa = { .sa_handler = on_usr1 };

	__atomic_store_n(&signals_handled, 0, __ATOMIC_RELAXED);
	return sigaction(SIGUSR1, &sa, NULL);
}

static void *in_call_fn(void *arg)
{
	struct in_call *c = arg;

	c->got = read(c->pipe[0], c->to, sizeof(IN_CALL_TEXT));
	return NULL;
}

static int in_call_start(struct in_call *c, char *to)
{
	memset(c, 0, sizeof(*c));
	c->to = to;
	if (pipe(c->pipe) ||
	    write(c->pipe[1], IN_CALL_TEXT, sizeof(IN_CALL_TEXT)) < 0)
		return -errno;
	return -pthread_create(&c->thread, NULL, in_call_fn, c);
}

static void in_call_end(struct in_call *c)
{
	close(c->pipe[0]);
	close(c->pipe[1]);
}

static __u64 cpu_ms(pthread_t thread)
{
	struct timespec ts = {};
	clockid_t clock;

	if (!pthread_getcpuclockid(thread, &clock))
		clock_gettime(clock, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

TEST_F(memory, in_call_sleeps_despite_a_signal)
{
	struct lab_mem *m = &self->m;
	static struct in_call c;
	struct uffd_msg msg;
	__u64 cpu;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, in_call_start(&c, m->area));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
	cpu = cpu_ms(c.thread);
	ASSERT_EQ(0, pthread_kill(c.thread, SIGUSR1));
	/* Each retry of the fault would cause a message. */
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 200));
	lab_sleep_ms(200);
	EXPECT_GT(cpu + 50, cpu_ms(c.thread));
	EXPECT_EQ(0, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));

	EXPECT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page, 0,
			      NULL));
	ASSERT_EQ(0, lab_join(c.thread, TOUCH_MS));
	EXPECT_EQ(sizeof(IN_CALL_TEXT), c.got);
	EXPECT_STREQ(IN_CALL_TEXT, m->area);
	EXPECT_EQ(1, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));
	in_call_end(&c);
}

/* A signal that was pending before the fault */
TEST_F(memory, in_call_sleeps_with_a_signal_pending)
{
	struct lab_mem *m = &self->m;
	static struct in_call c;
	struct uffd_msg msg;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, in_call_start(&c, m->area));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
	ASSERT_EQ(0, pthread_kill(c.thread, SIGUSR1));
	/*
	 * The same call then waits for the protection, with the signal pending.
	 */
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
	EXPECT_TRUE(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 200));
	EXPECT_EQ(0, lab_writeprotect(self->uffd, m->area, m->page, 0));
	ASSERT_EQ(0, lab_join(c.thread, TOUCH_MS));
	EXPECT_EQ(sizeof(IN_CALL_TEXT), c.got);
	EXPECT_EQ(1, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));
	in_call_end(&c);
}

/* A fault of user mode returns to handle the signal, and is repeated. */
TEST_F(memory, in_user_mode_signals_are_handled)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;
	__u64 end;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_touch_start(&touch, m->area, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	ASSERT_EQ(0, pthread_kill(touch.thread, SIGUSR1));
	end = lab_now_ms() + TOUCH_MS;
	while (!__atomic_load_n(&signals_handled, __ATOMIC_RELAXED) &&
	       lab_now_ms() < end)
		lab_sleep_ms(1);
	EXPECT_EQ(1, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));
	EXPECT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page, 0,
			      NULL));
	EXPECT_EQ(0, lab_touch_wait(&touch, TOUCH_MS));
}

/* Writes to @ready when a thread waits inside a call, and stays alive. */
static void wait_in_call(int ready)
{
	static struct in_call c;
	struct uffd_msg msg;
	char *area = anon_pages(1, MAP_PRIVATE);
	int uffd = lab_uffd_open(0);

	if (area == MAP_FAILED || uffd < 0 ||
	    lab_register(uffd, area, LAB_PAGE, LAB_MISSING, NULL) ||
	    in_call_start(&c, area) || lab_read_msg(uffd, &msg, TOUCH_MS) ||
	    pthread_kill(c.thread, SIGUSR1) || write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

TEST(in_call_can_be_killed)
{
	__u64 end;
	int ready[2], status = 0;
	char byte;
	pid_t pid, got;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		wait_in_call(ready[1]);
	close(ready[1]);
	EXPECT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	end = lab_now_ms() + TOUCH_MS;
	do {
		got = waitpid(pid, &status, WNOHANG);
		lab_sleep_ms(1);
	} while (!got && lab_now_ms() < end);
	EXPECT_EQ(pid, got);
	EXPECT_TRUE(WIFSIGNALED(status));
	close(ready[0]);
}

/* Removals that fail */

FIXTURE(removal)
{
	struct lab_mem m;
	int uffd;
};

FIXTURE_VARIANT(removal)
{
	const struct lab_type *type;
};

#define REMOVAL_VARIANT(name_)						\
	FIXTURE_VARIANT_ADD(removal, name_) { .type = &lab_##name_ }

REMOVAL_VARIANT(anon);
REMOVAL_VARIANT(memfd_shared);
REMOVAL_VARIANT(memfd_private);
REMOVAL_VARIANT(tmpfs_shared);
REMOVAL_VARIANT(sysv);
REMOVAL_VARIANT(hugetlb_shared);
REMOVAL_VARIANT(ramfs_shared);
REMOVAL_VARIANT(sample_shared);

FIXTURE_SETUP(removal)
{
	self->uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_GE(self->uffd, 0);
	ASSERT_EQ(0, lab_mem_make(&self->m, variant->type, PAGES));
	ASSERT_EQ(0, lab_register(self->uffd, self->m.area, self->m.len,
				  LAB_MISSING, NULL));
}

FIXTURE_TEARDOWN(removal)
{
	close(self->uffd);
	lab_mem_drop(&self->m);
}

struct advice {
	pthread_t thread;
	char *start;
	size_t len;
	int advice;
	int err;
};

static void *advise_fn(void *arg)
{
	struct advice *a = arg;

	a->err = madvise(a->start, a->len, a->advice) ? -errno : 0;
	return NULL;
}

/* Whether the removal was reported to the monitor; its result is in *@err */
static bool announced(int uffd, char *start, size_t len, int advice, int *err)
{
	static struct advice a;
	__u64 end = lab_now_ms() + TOUCH_MS;
	struct uffd_msg msg;
	bool told = false;

	a = (struct advice) {
		.start = start, .len = len, .advice = advice };
	*err = -pthread_create(&a.thread, NULL, advise_fn, &a);
	if (*err)
		return false;
	do {
		if (!lab_read_msg(uffd, &msg, 0))
			told = msg.event == UFFD_EVENT_REMOVE &&
			       msg.arg.remove.start == (uintptr_t)start &&
			       msg.arg.remove.end == (uintptr_t)start + len;
		*err = -lab_join(a.thread, 5);
	} while (*err == -ETIMEDOUT && lab_now_ms() < end);
	if (!*err)
		*err = a.err;
	return told;
}

/* The result of MADV_REMOVE for the whole area */
static int removed(const struct lab_mem *m)
{
	if (!lab_is_file(m))
		return -EINVAL;
	if (!lab_is_shared(m))
		return -EACCES;
	if (!lab_has_size(m))
		return -ENODEV;		/* a device */
	return lab_has_holes(m) ? 0 : -EOPNOTSUPP;
}

#define EXPECT_ANNOUNCED_IF_DONE(want, start, len, advice) do {		\
	int _want = (want), _err;					\
	bool _told = announced(self->uffd, start, len, advice, &_err);	\
	EXPECT_EQ(_want, _err);						\
	EXPECT_EQ(!_want, _told);					\
} while (0)

TEST_F(removal, remove)
{
	struct lab_mem *m = &self->m;

	EXPECT_ANNOUNCED_IF_DONE(removed(m), m->area, m->len, MADV_REMOVE);
}

TEST_F(removal, free)
{
	struct lab_mem *m = &self->m;

	EXPECT_ANNOUNCED_IF_DONE(lab_is_file(m) ? -EINVAL : 0, m->area, m->len,
				 MADV_FREE);
}

TEST_F(removal, dontneed)
{
	struct lab_mem *m = &self->m;

	EXPECT_ANNOUNCED_IF_DONE(0, m->area, m->len, MADV_DONTNEED);
}

/* Files with seals */

static void removal_of(struct __test_metadata *_metadata, int fd, size_t len,
		       int seals, int want)
{
	struct { int uffd; } self_, *self = &self_;
	char *p;

	ASSERT_LE(0, fd);
	self->uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_LE(0, self->uffd);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, seals));
	ASSERT_EQ(0, lab_register(self->uffd, p, len, LAB_MISSING, NULL));
	EXPECT_ANNOUNCED_IF_DONE(want, p, len, MADV_REMOVE);
	close(self->uffd);
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
	struct { int uffd; } self_, *self = &self_;
	int fd = lab_file_memfd(LAB_PAGE);
	char *p, *q;

	ASSERT_LE(0, fd);
	self->uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_LE(0, self->uffd);
	p = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, last);
	ASSERT_NE(MAP_FAILED, p);
	q = mremap(p, LAB_PAGE, 3 * LAB_PAGE, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, q);
	ASSERT_EQ(0, lab_register(self->uffd, q, 3 * LAB_PAGE, LAB_MISSING,
				  NULL));
	EXPECT_ANNOUNCED_IF_DONE(0, q, LAB_PAGE, MADV_REMOVE);
	EXPECT_ANNOUNCED_IF_DONE(-EFBIG, q, 2 * LAB_PAGE, MADV_REMOVE);
	EXPECT_ANNOUNCED_IF_DONE(-EINVAL, q + 2 * LAB_PAGE, LAB_PAGE,
				 MADV_REMOVE);
	close(self->uffd);
	munmap(q, 3 * LAB_PAGE);
	close(fd);
}

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
