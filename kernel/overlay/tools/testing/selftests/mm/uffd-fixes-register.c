// SPDX-License-Identifier: GPL-2.0
/*
 * Regression tests of the registration of userfaultfd, each with the behavior
 * that must not change.
 *
 *   droppable_*	memory that the kernel may drop cannot be registered
 *   owner_*		only the userfaultfd that armed a mapping disarms it
 *   modes_*		registering again leaves exactly the requested modes
 */
#include "../kselftest_harness.h"
#include "uffd/fixes.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE	0x08
#endif

#define IOCTL_WP	_BITULL(_UFFDIO_WRITEPROTECT)

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

/* The other faults, on each memory type */

MEMORY_FIXTURE()

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

TEST_HARNESS_MAIN
