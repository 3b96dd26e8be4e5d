// SPDX-License-Identifier: GPL-2.0
/*
 * Memory types whose memory is entirely in the page cache, and which use the
 * ready-made handler of userfaultfd or parts of it: ramfs, secretmem, and the
 * device of samples/userfaultfd. What they have in common with other types is
 * tested in uffd-types*.c. Here: fills are kept and accounted, each of the
 * three types keeps its own rules, and the module stays loaded while it is in
 * use.
 */
#include "../kselftest_harness.h"
#include "uffd/owner.h"
#include "uffd/removal.h"
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

LAB_FIXTURE(filemap);
LAB_FILEMAP_SHARED_VARIANTS(filemap);

static int drop_caches(void)
{
	return lab_write("/proc/sys/vm", "drop_caches", "3");
}

/* The types that stock 6.12 supports are in uffd-fixes-events.c. */
REMOVAL_VARIANT(sysv);
REMOVAL_VARIANT(ramfs_shared);
REMOVAL_VARIANT(sample_shared);

/* A fill cannot be read again from a backing store, so it must be kept. */
TEST_F(filemap, fills_stay)
{
	struct lab *l = &self->l;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, drop_caches());
	posix_fadvise(l->m.fd, 0, l->m.len, POSIX_FADV_DONTNEED);
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, alias_at(l, i), i));
	}
	/* The same holds for a write to a page that CONTINUE mapped. */
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	ASSERT_EQ(0, lab_continue(l->uffd, l->m.area, l->m.len, 0, NULL));
	EXPECT_EQ(0, write_byte(page_at(l, 2), 0x22));
	ASSERT_EQ(0, munmap(l->m.alias, l->m.len));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, drop_caches());
	ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	EXPECT_EQ(0x22, page_at(l, 2)[0]);
}

/*
 * A hole that was read is a clean page of zeroes: it may be reclaimed, and is
 * then a hole again.
 */
TEST_F(filemap, holes_read)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(0, read_byte(page_at(l, 0)));
	EXPECT_EQ(0, write_byte(page_at(l, 1), 1));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, drop_caches());
	EXPECT_EQ(0, alias_at(l, 0)[0]);
	EXPECT_EQ(1, alias_at(l, 1)[0]);
	EXPECT_FALSE(has_msg(l));
}

/* mlock() of secret memory fails: it would have to read it. */
LAB_FIXTURE(lockable);
LAB_VARIANT(lockable, ramfs_shared);
LAB_VARIANT(lockable, sample_shared);

/* mlock() before and after a fill */
TEST_F(lockable, mlock)
{
	struct lab *l = &self->l;
	long before = lab_number("/proc/self/status", "VmLck:");

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, 2 * l->m.page, 0,
			      NULL));
	ASSERT_EQ(0, mlock(page_at(l, 0), 2 * l->m.page));
	ASSERT_EQ(0, mlock2(page_at(l, 4), 2 * l->m.page, MLOCK_ONFAULT));
	EXPECT_EQ(before + 16, lab_number("/proc/self/status", "VmLck:"));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 4), src_at(l, 4),
			      2 * l->m.page, 0, NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 5), 5));
	ASSERT_EQ(0, munlock(l->m.area, l->m.len));
}

/*
 * The fill is charged to the owner of the mapping, not to the process that
 * fills.
 */

#define CHARGED	64	/* pages */

/* Replaces the memory by a larger area; returns content for all of it. */
static char *more_memory(struct lab *l, const struct lab_type *type)
{
	char *src;

	lab_mem_drop(&l->m);
	if (lab_mem_make(&l->m, type, CHARGED))
		return NULL;
	src = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return src == MAP_FAILED ? NULL : src;
}

TEST_F(filemap, charged_to_the_owner)
{
	struct lab *l = &self->l;
	char *src = more_memory(l, variant->type);
	struct owner o;
	long before;

	ASSERT_NE(NULL, src);
	ASSERT_EQ(0, owner_start(&o, l));
	before = lab_cgroup_number(o.group, "memory.stat", "file ");
	EXPECT_LE(0, before);
	EXPECT_EQ(0, lab_copy(o.uffd, l->m.area, src, l->m.len, 0, NULL));
	EXPECT_EQ(before + (long)(CHARGED * LAB_PAGE),
		  lab_cgroup_number(o.group, "memory.stat", "file "));
	ASSERT_EQ(0, owner_end(&o));
	lab_mem_drop(&l->m);
	EXPECT_EQ(0, rmdir(o.group));
	munmap(src, CHARGED * LAB_PAGE);
	ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
}

/*
 * A fill of memory that the file has allocates no page, not even temporarily.
 */
TEST_F(filemap, looks_before_it_charges)
{
	const size_t half = CHARGED / 2 * LAB_PAGE;
	struct lab *l = &self->l;
	char *src = more_memory(l, variant->type);
	struct owner o;
	long before;

	ASSERT_NE(NULL, src);
	/*
	 * The second half is present in the file; the owner has mapped nothing.
	 */
	memset(l->m.alias + half, 1, half);
	ASSERT_EQ(0, owner_start(&o, l));
	ASSERT_EQ(0, owner_limit(&o));
	before = lab_cgroup_number(o.group, "memory.stat", "file ");
	EXPECT_LE(0, before);
	EXPECT_EQ(-EEXIST, lab_copy(o.uffd, l->m.area + half, src, half, 0,
				    NULL));
	EXPECT_EQ(-EEXIST, lab_copy(o.uffd, l->m.area + half, src, LAB_PAGE, 0,
				    NULL));
	EXPECT_EQ(-EEXIST, lab_zeropage(o.uffd, l->m.area + half, half, 0,
					NULL));
	EXPECT_EQ(0, owner_limited(&o));
	EXPECT_EQ(before, lab_cgroup_number(o.group, "memory.stat", "file "));
	/*
	 * A limit that the hole needs is enough for a range that begins in the
	 * hole.
	 */
	ASSERT_EQ(0, lab_write(o.group, "memory.max", "max"));
	EXPECT_EQ(-EAGAIN, lab_copy(o.uffd, l->m.area + half - 2 * LAB_PAGE,
				    src, half, 0, NULL));
	EXPECT_EQ(before + (long)(2 * LAB_PAGE),
		  lab_cgroup_number(o.group, "memory.stat", "file "));
	ASSERT_EQ(0, owner_end(&o));
	lab_mem_drop(&l->m);
	EXPECT_EQ(0, rmdir(o.group));
	munmap(src, CHARGED * LAB_PAGE);
	ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
}

/* ramfs */

LAB_FIXTURE(ramfs);
LAB_VARIANT(ramfs, ramfs_shared);

static __u64 mtime(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_mtim.tv_sec * 1000000000ULL +
				    st.st_mtim.tv_nsec;
}

/*
 * The first write to a page calls page_mkwrite(), however the page was mapped.
 */
TEST_F(ramfs, first_write_counts)
{
	struct lab *l = &self->l;
	unsigned int i;
	__u64 before;

	file_write(l, 1, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, l->m.page, 0,
			      NULL));
	ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	ASSERT_EQ(0, lab_zeropage(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	/* Protecting and unprotecting it does not make it writable. */
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 3), l->src, l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	for (i = 0; i < 4; i++) {
		before = mtime(l->m.fd);
		lab_sleep_ms(20);
		EXPECT_EQ(0, write_byte(page_at(l, i), i));
		EXPECT_LT(before, mtime(l->m.fd))
			TH_LOG("page %u", i);
		EXPECT_EQ(i, (unsigned char)alias_at(l, i)[0]);
	}
	EXPECT_FALSE(has_msg(l));
}

/* read(2) and write(2) of filled pages, and fills of written pages */
TEST_F(ramfs, file_and_memory)
{
	struct lab *l = &self->l;
	char *buf = malloc(l->m.page);

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_EQ((ssize_t)l->m.page, pread(l->m.fd, buf, l->m.page,
					    l->m.page));
	EXPECT_TRUE(same_at(l, buf, 1));
	/* Part of a page that was a hole */
	EXPECT_EQ(10, pwrite(l->m.fd, src_at(l, 2), 10, 2 * l->m.page));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2),
				    l->m.page, 0, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	EXPECT_EQ(0, memcmp(page_at(l, 2), src_at(l, 2), 10));
	EXPECT_TRUE(lab_all(page_at(l, 2) + 10, l->m.page - 10, 0));
	EXPECT_EQ((long)(2 * l->m.page / 512), lab_blocks(&l->m));
	EXPECT_FALSE(has_msg(l));
	free(buf);
}

/*
 * Ways to read a file without its mapping. Each reads @len bytes from the
 * beginning, and returns the number of bytes read, or -errno.
 */

static ssize_t by_pread(int fd, char *buf, size_t len)
{
	ssize_t n = pread(fd, buf, len, 0);

	return n < 0 ? -errno : n;
}

/* In parts that begin and end at odd offsets */
static ssize_t by_parts(int fd, char *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	do {
		n = pread(fd, buf + done, len - done < 777 ? len - done : 777,
			  done);
		done += n > 0 ? n : 0;
	} while (n > 0 && done < len);
	return n < 0 ? -errno : (ssize_t)done;
}

static ssize_t by_readv(int fd, char *buf, size_t len)
{
	struct iovec to[] = {
		{ buf, 100 },
		{ buf + 100, 3 * LAB_PAGE },
		{ buf + 100 + 3 * LAB_PAGE, len - 100 - 3 * LAB_PAGE },
	};
	ssize_t n = preadv(fd, to, 3, 0);

	return n < 0 ? -errno : n;
}

static ssize_t by_splice(int fd, char *buf, size_t len)
{
	size_t done = 0;
	loff_t from = 0;
	int pipefd[2];
	ssize_t n;

	if (pipe(pipefd))
		return -errno;
	do {
		n = splice(fd, &from, pipefd[1], NULL, len - done, 0);
		if (n > 0)
			n = read(pipefd[0], buf + done, n);
		done += n > 0 ? n : 0;
	} while (n > 0 && done < len);
	n = n < 0 ? -errno : (ssize_t)done;
	close(pipefd[0]);
	close(pipefd[1]);
	return n;
}

static ssize_t by_sendfile(int fd, char *buf, size_t len)
{
	int to = memfd_create("uffd-filemap", MFD_CLOEXEC);
	off_t from = 0;
	ssize_t n;

	if (to < 0)
		return -errno;
	n = sendfile(to, fd, &from, len);
	n = n < 0 ? -errno : pread(to, buf, len, 0);
	close(to);
	return n;
}

static const struct {
	const char *name;
	ssize_t (*read)(int fd, char *buf, size_t len);
} readers[] = {
	{ "pread", by_pread },
	{ "pread in parts", by_parts },
	{ "preadv", by_readv },
	{ "splice", by_splice },
	{ "sendfile", by_sendfile },
};

/* Pages that exist are read as they are, holes as zeroes. */
#define EXPECT_CONTENT(l, buf, present) do {				\
	unsigned int __i;						\
	for (__i = 0; __i < PAGES; __i++) {				\
		char *__p = (buf) + __i * LAB_PAGE;			\
		EXPECT_TRUE((present) & 1 << __i ?			\
			    same_at(l, __p, __i) :			\
			    lab_all(__p, LAB_PAGE, 0))			\
			TH_LOG("page %u", __i);				\
	}								\
} while (0)

/* A read leaves the hole: the next access is a missing fault. */
TEST_F(ramfs, reading_leaves_holes)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	char *buf = malloc(l->m.len);
	unsigned int i;
	long blocks;

	file_write(l, 1, 1);
	file_write(l, 5, 2);
	blocks = lab_blocks(&l->m);
	EXPECT_EQ((long)(3 * LAB_PAGE / 512), blocks);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	for (i = 0; i < ARRAY_SIZE(readers); i++) {
		memset(buf, 0x55, l->m.len);
		EXPECT_EQ((ssize_t)l->m.len,
			  readers[i].read(l->m.fd, buf, l->m.len))
			TH_LOG("%s", readers[i].name);
		EXPECT_CONTENT(l, buf, 1 << 1 | 1 << 5 | 1 << 6);
		EXPECT_EQ(blocks, lab_blocks(&l->m))
			TH_LOG("%s", readers[i].name);
	}
	EXPECT_EQ(0, posix_fadvise(l->m.fd, 0, l->m.len, POSIX_FADV_WILLNEED));
	EXPECT_EQ(0, readahead(l->m.fd, 0, l->m.len));
	EXPECT_EQ(0, madvise(l->m.alias, l->m.len, MADV_WILLNEED));
	EXPECT_EQ(0, madvise(l->m.area, l->m.len, MADV_WILLNEED));
	EXPECT_EQ(blocks, lab_blocks(&l->m));
	EXPECT_FALSE(has_msg(l));

	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);
	/* The hole is one page long. */
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, page_at(l, 0), l->src,
				    2 * LAB_PAGE, 0, NULL));
	EXPECT_TOUCHED(&t, l->src[0]);
	EXPECT_FAULT(l, &t, page_at(l, 5), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), 2 * LAB_PAGE, 0,
				  NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[0]);
	free(buf);
}

/* Reads stop at the end of the file and at the end of the buffer. */
TEST_F(ramfs, reading_holes_at_the_end)
{
	struct lab *l = &self->l;
	const size_t size = 2 * LAB_PAGE + 100;
	char *buf = mmap(NULL, 5 * LAB_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int i;

	ASSERT_NE(MAP_FAILED, buf);
	ASSERT_EQ(0, ftruncate(l->m.fd, size));
	for (i = 0; i < ARRAY_SIZE(readers); i++) {
		memset(buf, 0x55, 5 * LAB_PAGE);
		EXPECT_EQ((ssize_t)size,
			  readers[i].read(l->m.fd, buf, 4 * LAB_PAGE))
			TH_LOG("%s", readers[i].name);
		EXPECT_TRUE(lab_all(buf, size, 0));
		EXPECT_TRUE(lab_all(buf + size, 5 * LAB_PAGE - size, 0x55))
			TH_LOG("%s", readers[i].name);
	}
	EXPECT_EQ(0, pread(l->m.fd, buf, LAB_PAGE, size));
	EXPECT_EQ(0, pread(l->m.fd, buf, LAB_PAGE, 1L << 40));
	EXPECT_EQ(0, pread(l->m.fd, buf, 0, 0));
	EXPECT_EQ(1, pread(l->m.fd, buf, LAB_PAGE, size - 1));
	/* If the buffer ends earlier, the read returns what fits. */
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len));
	ASSERT_EQ(0, munmap(buf + 4 * LAB_PAGE, LAB_PAGE));
	EXPECT_EQ((ssize_t)(LAB_PAGE + 10),
		  pread(l->m.fd, buf + 3 * LAB_PAGE - 10, 3 * LAB_PAGE, 7));
	EXPECT_EQ(-1, pread(l->m.fd, buf + 4 * LAB_PAGE, LAB_PAGE, 7));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, lab_blocks(&l->m));
	munmap(buf, 4 * LAB_PAGE);
}

/* A page with the readahead mark is not a hole. */
TEST_F(ramfs, reading_after_readahead)
{
	const size_t len = 3 * LAB_HUGE;
	int fd = lab_file_ramfs(len);
	struct stat st;
	char *buf, *p;

	ASSERT_LE(0, fd);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	buf = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_NE(MAP_FAILED, buf);
	/* A fault makes pages around it, and marks one of them. */
	ASSERT_EQ(0, madvise(p, len, MADV_HUGEPAGE));
	EXPECT_EQ(0, p[0]);
	ASSERT_EQ(0, fstat(fd, &st));
	if (st.st_blocks == LAB_PAGE / 512)
		SKIP(goto out, "no readahead without transparent huge pages");
	lab_fill(p, len, 5);
	EXPECT_EQ((ssize_t)len, by_pread(fd, buf, len));
	EXPECT_EQ(0, memcmp(p, buf, len));
	memset(buf, 0, len);
	EXPECT_EQ((ssize_t)len, by_splice(fd, buf, len));
	EXPECT_EQ(0, memcmp(p, buf, len));
out:
	munmap(p, len);
	munmap(buf, len);
	close(fd);
}

/* secretmem */

LAB_FIXTURE(secret);
LAB_VARIANT(secret, secretmem);

/* Filled content is as secret as content that the owner wrote. */
TEST_F(secret, stays_secret)
{
	struct lab *l = &self->l;
	char buf[16];
	struct iovec to = { buf, sizeof(buf) }, from = { NULL, sizeof(buf) };
	unsigned int i;
	int fd[2], mem;

	file_write(l, 1, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, l->m.page, 0,
			      NULL));
	ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 1), l->m.page, 0, NULL));
	ASSERT_EQ(0, lab_zeropage(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	ASSERT_EQ(0, pipe(fd));
	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	for (i = 0; i < 3; i++) {
		from.iov_base = page_at(l, i);
		EXPECT_EQ(-1, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(-1, process_vm_writev(getpid(), &to, 1, &from, 1, 0));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(-1, pread(mem, buf, 1, (uintptr_t)page_at(l, i)));
		EXPECT_EQ(EIO, errno);
		EXPECT_EQ(-1, vmsplice(fd[1], &from, 1, 0));
		EXPECT_EQ(EFAULT, errno);
	}
	/* The owner can read it, through the page table. */
	EXPECT_EQ(1, write(fd[1], page_at(l, 0), 1));
	close(mem);
}

/*
 * Fills count against the limit of locked memory (RLIMIT_MEMLOCK), as faults
 * do.
 */
TEST_F(secret, limit)
{
	struct lab *l = &self->l;
	struct rlimit old, four = { 4 * LAB_PAGE, 4 * LAB_PAGE };
	char v;

	ASSERT_EQ(0, getrlimit(RLIMIT_MEMLOCK, &old));
	four.rlim_max = old.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &four));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0,
				    NULL));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_EQ(-ENOSPC, lab_copy(l->uffd, page_at(l, 4), l->src, l->m.page,
				    0, NULL));
	/* The limit does not matter if the file has the memory already. */
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 0), l->m.page, 0,
					NULL));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 0), l->src, l->m.len, 0,
				    NULL));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 3), l->src, l->m.page,
				    0, NULL));
	/*
	 * A fault over the limit does not report out of memory, armed or not.
	 */
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 4), false, &v, NULL));
	EXPECT_EQ(SIGBUS, lab_access(alias_at(l, 4), false, &v, NULL));

	/* One more page is possible, and not two. */
	four.rlim_cur += LAB_PAGE;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &four));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 0), l->m.page, 0,
					NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 4), l->src, l->m.page, 0,
			      NULL));
	EXPECT_EQ(-ENOSPC, lab_copy(l->uffd, page_at(l, 5), l->src, l->m.page,
				    0, NULL));
	EXPECT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &old));
}

/* The sample module */

LAB_FIXTURE(sample);
LAB_VARIANT(sample, sample_shared);

#define ASKED	"/sys/class/misc/userfaultfd-sample/asked"

struct asked {
	long supported;
	long present;
	long resolve;
	long undo;
};

static struct asked asked(void)
{
	FILE *f = fopen(ASKED, "re");
	struct asked a = { -1, -1, -1, -1 };

	if (!f)
		return a;
	if (fscanf(f, "%ld %ld %ld %ld", &a.supported, &a.present, &a.resolve,
		   &a.undo) != 4)
		a.supported = -1;
	fclose(f);
	return a;
}

#define EXPECT_ASKED(a_, supported_, present_, resolve_) do {		\
	struct asked __now = asked();					\
	EXPECT_EQ((a_).supported + (supported_), __now.supported);	\
	EXPECT_EQ((a_).present + (present_), __now.present);		\
	EXPECT_EQ((a_).resolve + (resolve_), __now.resolve);		\
	EXPECT_EQ((a_).undo, __now.undo);				\
	(a_) = __now;							\
} while (0)

/* The requests that each event makes */
TEST_F(sample, what_it_is_asked)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	struct asked a = asked();

	ASSERT_LE(0, a.supported);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_ASKED(a, 1, 0, 0);
	/* Looking is enough to identify the type of the fault. */
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);
	EXPECT_ASKED(a, 0, 1, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), l->src, l->m.page, 0,
			      NULL));
	EXPECT_TOUCHED(&t, l->src[0]);
	EXPECT_ASKED(a, 0, 0, 1);
	/* A range is one request. */
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 1), 7 * l->m.page, 0,
				  NULL));
	EXPECT_ASKED(a, 0, 0, 1);
	EXPECT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, l->m.len, 0, NULL));
	EXPECT_ASKED(a, 0, 0, 1);
	/* Poison and write protection only concern the page table. */
	EXPECT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	EXPECT_EQ(0, lab_poison(l->uffd, l->m.area, l->m.len, 0, NULL));
	EXPECT_ASKED(a, 0, 0, 0);
}

/* Memory without userfaultfd makes no requests. */
TEST_F(sample, not_armed)
{
	struct lab *l = &self->l;
	struct asked a = asked();

	EXPECT_EQ(0, write_byte(page_at(l, 0), 1));
	EXPECT_EQ(1, alias_at(l, 0)[0]);
	EXPECT_EQ(0, read_byte(page_at(l, 1)));
	EXPECT_ASKED(a, 0, 0, 0);
}

TEST_F(sample, each_open_is_its_own)
{
	struct lab *l = &self->l;
	struct lab_mem other;

	ASSERT_EQ(0, lab_mem_make(&other, variant->type, PAGES));
	page_at(l, 0)[0] = 1;
	EXPECT_EQ(0, other.area[0]);
	other.area[0] = 2;
	EXPECT_EQ(1, page_at(l, 0)[0]);
	lab_mem_drop(&other);
}

static int load(void)
{
	const char *how = getenv("UFFD_LOAD_SAMPLE");

	return system(how ? how : "modprobe userfaultfd-sample");
}

static int unload(void)
{
	return syscall(__NR_delete_module, "userfaultfd_sample", O_NONBLOCK) ?
	       -errno : 0;
}

/* An open file and a mapping keep the module loaded, armed or not. */
TEST_F(sample, unload)
{
	struct lab *l = &self->l;
	char *area = l->m.area;

	EXPECT_EQ(-EAGAIN, unload());
	ASSERT_EQ(0, munmap(l->m.alias, l->m.len));
	close(l->m.fd);
	EXPECT_EQ(-EAGAIN, unload());
	ASSERT_EQ(0, lab_register(l->uffd, area, l->m.len, LAB_MISSING, NULL));
	EXPECT_EQ(-EAGAIN, unload());
	EXPECT_EQ(0, lab_copy(l->uffd, area, l->src, l->m.page, 0, NULL));
	EXPECT_TRUE(same_at(l, area, 0));
	/* The userfaultfd stays open: it does not hold the module. */
	ASSERT_EQ(0, munmap(area, l->m.len));
	l->m.alias = NULL;
	l->m.fd = -1;
	EXPECT_EQ(0, unload());
	EXPECT_EQ(-1, access(ASKED, F_OK));
	EXPECT_EQ(-ENOENT, lab_copy(l->uffd, area, l->src, l->m.page, 0, NULL));
	EXPECT_EQ(0, load());
}

TEST_HARNESS_MAIN
