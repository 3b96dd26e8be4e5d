/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of the uffd-types*.c programs: one area of some kind of memory,
 * a userfaultfd and a buffer with content. A fixture is declared per group of
 * kinds, since what applies to a group differs (only shmem has minor faults
 * that can be made by a write through a second mapping, and so on), so that no
 * test has to skip.
 *
 * What these programs expect is what Linux 6.12 does, also where that is
 * surprising; such places say so.
 *
 * EXPECT_*() and ASSERT_*() of the harness are two statements: as the body of
 * an if or a loop they need braces, whatever checkpatch says.
 */
#ifndef UFFD_TYPES_H
#define UFFD_TYPES_H

#include "../kselftest_harness.h"
#include "uffd-lab.h"
#include <sys/wait.h>

/* 32-bit kernels have neither write protection nor minor faults. */
#define FEATURES_OF_64_BITS						\
	(sizeof(long) == 8 ? UFFD_FEATURE_PAGEFAULT_FLAG_WP |		\
			     UFFD_FEATURE_WP_HUGETLBFS_SHMEM |		\
			     UFFD_FEATURE_MINOR_HUGETLBFS |		\
			     UFFD_FEATURE_MINOR_SHMEM : 0)

/* Features that change no fault and no event: on for every test. */
#define BASE_FEATURES (FEATURES_OF_64_BITS |				\
		       UFFD_FEATURE_MISSING_HUGETLBFS |			\
		       UFFD_FEATURE_MISSING_SHMEM |			\
		       UFFD_FEATURE_THREAD_ID |				\
		       UFFD_FEATURE_POISON | UFFD_FEATURE_MOVE)

/* Granules of an area. Tests know that there are eight. */
#ifndef PAGES
#define PAGES	8
#endif

struct lab {
	struct lab_mem m;
	int uffd;
	char *src;	/* m.len bytes of random content, present */
};

static inline int lab_setup_pages(struct lab *l, const struct lab_type *type,
				  unsigned int pages)
{
	int err;

	lab_catch_signals();
	l->src = NULL;
	l->uffd = -1;
	err = lab_mem_make(&l->m, type, pages);
	if (err)
		return err;
	/* One page more, for sources that are not aligned */
	l->src = mmap(NULL, l->m.len + LAB_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l->src == MAP_FAILED)
		return -errno;
	lab_fill(l->src, l->m.len + LAB_PAGE, 1);
	l->uffd = lab_uffd_open(BASE_FEATURES);
	return l->uffd < 0 ? l->uffd : 0;
}

static inline int lab_setup(struct lab *l, const struct lab_type *type)
{
	return lab_setup_pages(l, type, PAGES);
}

static inline void lab_teardown(struct lab *l)
{
	/* First of all, so that a thread which a failed test left wakes. */
	if (l->uffd >= 0)
		close(l->uffd);
	if (l->src && l->src != MAP_FAILED)
		munmap(l->src, l->m.len + LAB_PAGE);
	lab_mem_drop(&l->m);
}

/* A fresh userfaultfd with other features */
static inline int lab_reopen(struct lab *l, __u64 features)
{
	close(l->uffd);
	l->uffd = lab_uffd_open(features);
	return l->uffd < 0 ? l->uffd : 0;
}

/* Granule @i of the area, of its second mapping, of the source */
static inline char *page_at(const struct lab *l, unsigned int i)
{
	return l->m.area + i * l->m.page;
}

static inline char *alias_at(const struct lab *l, unsigned int i)
{
	return l->m.alias + i * l->m.page;
}

static inline char *src_at(const struct lab *l, unsigned int i)
{
	return l->src + i * l->m.page;
}

/* Whether granule @i, read through @p, has the content of the source */
static inline bool same_at(const struct lab *l, const char *p, unsigned int i)
{
	return !memcmp(p, src_at(l, i), l->m.page);
}

/* Makes granules [first, first + n) of the file present, not mapped in area */
static inline void write_file(const struct lab *l, unsigned int first,
			      unsigned int n)
{
	memcpy(alias_at(l, first), src_at(l, first), n * l->m.page);
}

static inline void write_file_if_any(const struct lab *l)
{
	if (l->m.alias)
		write_file(l, 0, PAGES);
}

/*
 * Pushes the file's pages out to swap: the second mapping must be the only one
 * that maps them. 0 when none is in the page cache any more.
 */
static inline int swap_out(void *addr, size_t len, int ms)
{
	__u64 end = lab_now_ms() + ms;
	unsigned char vec[64];
	size_t i, n = len / LAB_PAGE, in;

	if (n > sizeof(vec))
		return -EINVAL;
	do {
		if (madvise(addr, len, MADV_PAGEOUT) && errno != EAGAIN)
			return -errno;
		if (mincore(addr, len, vec))
			return -errno;
		for (in = 0, i = 0; i < n; i++)
			in += vec[i] & 1;
		if (!in)
			return 0;
		lab_sleep_ms(1);
	} while (lab_now_ms() < end);
	return -ETIMEDOUT;
}

/*
 * A child with the same mappings and a control group of its own, which arms the
 * area with MISSING and then waits: fills through @uffd, its userfaultfd, are
 * charged to that group.
 */
struct owner {
	char group[LAB_CGROUP_LEN];
	pid_t pid;
	int uffd;
	int go;
};

static inline void owner_child(struct lab *l, struct owner *o, int ready,
			       int go)
{
	char c;
	int fd;

	if (lab_write(o->group, "cgroup.procs", "0"))
		_exit(1);
	fd = lab_uffd_open(BASE_FEATURES);
	if (lab_register(fd, l->m.area, l->m.len, LAB_MISSING, NULL))
		_exit(2);
	if (write(ready, &fd, sizeof(fd)) != sizeof(fd))
		_exit(3);
	_exit(read(go, &c, 1) == 1 ? 0 : 4);
}

static inline int owner_start(struct owner *o, struct lab *l)
{
	int ready[2], go[2], fd, pidfd, err = -EIO;

	snprintf(o->group, sizeof(o->group), LAB_CGROUPS "/uffd-%d", getpid());
	if (lab_write(LAB_CGROUPS, "cgroup.subtree_control", "+memory") ||
	    mkdir(o->group, 0755) || pipe(ready) || pipe(go))
		return -errno;
	o->pid = fork();
	if (!o->pid) {
		close(go[1]);
		owner_child(l, o, ready[1], go[0]);
	}
	close(ready[1]);
	close(go[0]);
	o->go = go[1];
	if (o->pid < 0 || read(ready[0], &fd, sizeof(fd)) != sizeof(fd))
		goto close;
	err = 0;
	pidfd = syscall(__NR_pidfd_open, o->pid, 0);
	o->uffd = syscall(__NR_pidfd_getfd, pidfd, fd, 0);
	if (o->uffd < 0)
		err = -errno;
	close(pidfd);
close:
	close(ready[0]);
	return err;
}

/* Ends the child; 0 if it did all that it was to do. */
static inline int owner_end(struct owner *o)
{
	int status = -1;

	close(o->uffd);
	if (write(o->go, "", 1) != 1 || waitpid(o->pid, &status, 0) != o->pid)
		return -errno;
	close(o->go);
	return status;
}

/*
 * Lets the group have no page more. What the processors keep in stock for it is
 * given back first, soon: to lower "high" does that, and kills nothing.
 */
static inline int owner_limit(const struct owner *o)
{
	char path[LAB_CGROUP_LEN + 32], max[24];
	int err, tries = 100;
	long now;

	snprintf(path, sizeof(path), "%s/memory.current", o->group);
	/* Nothing that it has goes to swap, now or later. */
	lab_write(o->group, "memory.swap.max", "0");
	err = lab_write(o->group, "memory.high", "0");
	if (!err)
		err = lab_write(o->group, "memory.high", "max");
	if (err)
		return err;
	do {
		now = lab_number(path, "");
		snprintf(max, sizeof(max), "%ld", now);
		err = lab_write(o->group, "memory.max", max);
		lab_sleep_ms(5);
	} while (!err && lab_number(path, "") != now && --tries);
	return tries ? err : -ETIMEDOUT;
}

/* How often the group was at its limit when a page was to be charged */
static inline long owner_limited(const struct owner *o)
{
	return lab_cgroup_number(o->group, "memory.events", "max ");
}

#define BIT_OF(ioctl)	(1ULL << (ioctl))

/*
 * The mask names COPY, POISON and WAKE whatever the mode, and MOVE also where
 * it is never possible (shmem).
 */
static inline __u64 expected_ioctls(const struct lab_mem *m, __u64 mode)
{
	__u64 mask = BIT_OF(_UFFDIO_WAKE) | BIT_OF(_UFFDIO_COPY) |
		     BIT_OF(_UFFDIO_POISON);

	if (!lab_is_hugetlb(m))
		mask |= BIT_OF(_UFFDIO_ZEROPAGE) | BIT_OF(_UFFDIO_MOVE);
	if (mode & LAB_WP)
		mask |= BIT_OF(_UFFDIO_WRITEPROTECT);
	if (mode & LAB_MINOR)
		mask |= BIT_OF(_UFFDIO_CONTINUE);
	return mask;
}

#define LAB_FIXTURE(fixture)						\
	FIXTURE_VARIANT(fixture)					\
	{								\
		const struct lab_type *type;				\
	};								\
	FIXTURE(fixture)						\
	{								\
		struct lab l;						\
	};								\
	FIXTURE_SETUP(fixture)						\
	{								\
		ASSERT_EQ(0, lab_setup(&self->l, variant->type));	\
	}								\
	FIXTURE_TEARDOWN(fixture)					\
	{								\
		lab_teardown(&self->l);					\
	}

#define LAB_VARIANT(fixture, kind)					\
	FIXTURE_VARIANT_ADD(fixture, kind) { .type = &lab_##kind }

#define LAB_SHMEM_SHARED_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, memfd_shared);				\
	LAB_VARIANT(fixture, tmpfs_shared);				\
	LAB_VARIANT(fixture, anon_shared);				\
	LAB_VARIANT(fixture, zero_shared);				\
	LAB_VARIANT(fixture, sysv)

#define LAB_SHMEM_PRIVATE_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, memfd_private);				\
	LAB_VARIANT(fixture, tmpfs_private)

#define LAB_SHMEM_VARIANTS(fixture)					\
	LAB_SHMEM_SHARED_VARIANTS(fixture);				\
	LAB_SHMEM_PRIVATE_VARIANTS(fixture)

#define LAB_HUGETLB_SHARED_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, hugetlb_shared);				\
	LAB_VARIANT(fixture, map_hugetlb_shared);			\
	LAB_VARIANT(fixture, sysv_hugetlb)

#define LAB_HUGETLB_PRIVATE_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, hugetlb_private);				\
	LAB_VARIANT(fixture, map_hugetlb_private)

#define LAB_HUGETLB_VARIANTS(fixture)					\
	LAB_HUGETLB_SHARED_VARIANTS(fixture);				\
	LAB_HUGETLB_PRIVATE_VARIANTS(fixture)

/* Files whose memory is all in their page cache */
#define LAB_FILEMAP_SHARED_VARIANTS(fixture)				\
	LAB_VARIANT(fixture, ramfs_shared);				\
	LAB_VARIANT(fixture, secretmem);				\
	LAB_VARIANT(fixture, sample_shared)

#define LAB_FILEMAP_VARIANTS(fixture)					\
	LAB_FILEMAP_SHARED_VARIANTS(fixture);				\
	LAB_VARIANT(fixture, ramfs_private);				\
	LAB_VARIANT(fixture, sample_private)

#define LAB_ALL_VARIANTS(fixture)					\
	LAB_VARIANT(fixture, anon);					\
	LAB_SHMEM_VARIANTS(fixture);					\
	LAB_HUGETLB_VARIANTS(fixture);					\
	LAB_FILEMAP_VARIANTS(fixture)

/*
 * A touch of @addr, in a thread, that must be reported as a fault of @flags.
 * A macro, so that a failure names the line of the test.
 */
#define EXPECT_FAULT(l, t, addr_, write_, value_, flags_) do {		\
	char *__a = (addr_);						\
	struct uffd_msg __m = { 0 };					\
	ASSERT_EQ(0, lab_touch_start(t, __a, write_, value_));		\
	ASSERT_EQ(0, lab_read_msg((l)->uffd, &__m, LAB_DEADLINE_MS));	\
	EXPECT_EQ(UFFD_EVENT_PAGEFAULT, __m.event);			\
	EXPECT_EQ((__u64)(flags_), __m.arg.pagefault.flags);		\
	EXPECT_EQ((__u64)(uintptr_t)__a & -(__u64)(l)->m.page,		\
		  __m.arg.pagefault.address);				\
	EXPECT_EQ((__u32)(t)->tid, __m.arg.pagefault.feat.ptid);	\
} while (0)

/* The next message: a fault of @flags at granule @i */
#define EXPECT_MSG(l, i, flags_) do {					\
	struct uffd_msg __m = { 0 };					\
	ASSERT_EQ(0, lab_read_msg((l)->uffd, &__m, LAB_DEADLINE_MS));	\
	EXPECT_EQ(UFFD_EVENT_PAGEFAULT, __m.event);			\
	EXPECT_EQ((__u64)(flags_), __m.arg.pagefault.flags);		\
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, i),			\
		  __m.arg.pagefault.address);				\
} while (0)

/* The touch is over: with @value read (or written), or with signal @sig. */
#define EXPECT_TOUCHED(t, value_) do {					\
	ASSERT_EQ(0, lab_touch_wait(t, LAB_DEADLINE_MS));		\
	EXPECT_EQ(0, (t)->sig);						\
	EXPECT_EQ((unsigned char)(value_), (unsigned char)(t)->value);	\
} while (0)

#define EXPECT_SIGNALLED(t, sig_, code_) do {				\
	ASSERT_EQ(0, lab_touch_wait(t, LAB_DEADLINE_MS));		\
	EXPECT_EQ(sig_, (t)->sig);					\
	EXPECT_EQ(code_, (t)->code);					\
} while (0)

#define EXPECT_BLOCKED(t)						\
	ASSERT_EQ(-ETIMEDOUT, lab_touch_wait(t, LAB_QUIET_MS))

/* An access by this thread that nobody has to serve */
#define EXPECT_ACCESS(addr_, write_, value_) do {			\
	char __v = (value_);						\
	EXPECT_EQ(0, lab_access(addr_, write_, &__v, NULL));		\
	EXPECT_EQ((unsigned char)(value_), (unsigned char)__v);		\
} while (0)

#define EXPECT_NO_MSG(l) do {						\
	struct uffd_msg __m;						\
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg((l)->uffd, &__m, 0));	\
} while (0)

#endif /* UFFD_TYPES_H */
