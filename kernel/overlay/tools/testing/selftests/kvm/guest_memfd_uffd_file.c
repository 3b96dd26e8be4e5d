// SPDX-License-Identifier: GPL-2.0
/*
 * The file of a guest_memfd: fills of its pages, write(), flags, errnos.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd_touch.h"
#include "../mm/uffd/owner.h"
#include <sys/personality.h>
#include <sys/uio.h>

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
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 3), NULL, page, 0);
	for (int i = 2; i < 4; i++) {
		EXPECT_OP(FAILED(-EEXIST), l->uffd, COPY, page_at(l, i), l->src,
			  page, 0);
		EXPECT_OP(FAILED(-EEXIST), l->uffd, ZEROPAGE, page_at(l, i),
			  NULL, page, 0);
	}
	EXPECT_OP(FAILED(-EEXIST), l->uffd, CONTINUE, page_at(l, 3), NULL, page,
		  0);
	EXPECT_OP(PARTIAL(2 * page), l->uffd, COPY, page_at(l, 0), l->src,
		  PAGES * page, 0);
	EXPECT_OP(PARTIAL(page), l->uffd, CONTINUE, page_at(l, 2), NULL,
		  4 * page, 0);
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
	EXPECT_OP(FAILED(-EEXIST), o.uffd, COPY, page_at(l, 0), l->src,
		  2 * page, 0);
	EXPECT_OP(FAILED(-EEXIST), o.uffd, ZEROPAGE, page_at(l, 1), NULL, page,
		  0);
	EXPECT_OP(DONE, o.uffd, COPY, page_at(l, 2), src_at(l, 2), 3 * page, 0);
	EXPECT_OP(DONE, o.uffd, ZEROPAGE, page_at(l, 5), NULL, page, 0);
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
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 2), NULL, page,
		  0);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 3), NULL, page,
		  0);
	EXPECT_OP(PARTIAL(2 * page), l->uffd, CONTINUE, l->m.area, NULL,
		  4 * page, 0);
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, page_at(l, 4), l->src, page,
		  0);
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
		EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, i), none,
			  l->m.page, 0);
		EXPECT_OP(DONE, l->uffd, COPY, page_at(l, i), src_at(l, i),
			  l->m.page, 0);
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
	EXPECT_EQ(0, copier_result(&c));
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
	EXPECT_EQ(-EEXIST, copier_result(&c));
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
	EXPECT_EQ(-EAGAIN, copier_result(&c));
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
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 0), NULL, page,
		  0);
	n = pwrite(l->m.fd, p, 2 * page, 0);
	EXPECT_EQ((ssize_t)page, n);
	EXPECT_PAGE(l, 0, page, 0);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 1), NULL, page,
		  0);
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

/* Flags and mmap() */

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

TEST_HARNESS_MAIN
