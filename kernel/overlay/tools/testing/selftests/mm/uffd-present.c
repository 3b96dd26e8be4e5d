// SPDX-License-Identifier: GPL-2.0
/*
 * Fills of ranges that have pages already: nothing is allocated, charged,
 * copied or read for a present page, markers are replaced or kept as
 * documented, and errnos of a memory type reach user space.
 */
#include "../kselftest_harness.h"
#include "uffd/fill.h"
#include <linux/mempolicy.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/*
 * Markers
 */

/* Every memory type that can be filled with zeroes */
LAB_FIXTURE(zeroes);
LAB_BASE_VARIANTS(zeroes);

/* Zero fills keep poison. */
TEST_F(zeroes, skip_poison)
{
	struct lab *l = &self->l;
	char value = 0;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 2), 2 * l->m.page, 0, NULL));
	EXPECT_FILL(l, _UFFDIO_ZEROPAGE, 0, PAGES, SKIP_PRESENT, PAGES - 2, 2, 0);
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 2), false, &value, NULL));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &value, NULL));
	EXPECT_FILL(l, _UFFDIO_POISON, 2, 2, SKIP_PRESENT, 0, 2, 0);
	EXPECT_TRUE(lab_all(page_at(l, 4), l->m.page, 0));
	EXPECT_FALSE(has_msg(l));
}

LAB_FIXTURE(marker);
LAB_ALL_VARIANTS(marker);

/* A write-protected hole is filled, not skipped. */
TEST_F(marker, protected_holes_are_filled)
{
	struct lab *l = &self->l;
	static const __u32 ops[] = { _UFFDIO_COPY, _UFFDIO_ZEROPAGE,
				     _UFFDIO_POISON };
	char value = 0;
	unsigned int i;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_UNPOPULATED));
	for (i = 0; i < 3; i++) {
		if (ops[i] == _UFFDIO_ZEROPAGE && lab_is_hugetlb(&l->m))
			continue;
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  LAB_MISSING | LAB_WP, NULL));
		ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 1),
					      2 * l->m.page,
					      UFFDIO_WRITEPROTECT_MODE_WP));
		EXPECT_FILL(l, ops[i], 0, PAGES, SKIP_PRESENT, PAGES, 0, 0);
		if (ops[i] == _UFFDIO_COPY) {
			EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
		} else if (ops[i] == _UFFDIO_ZEROPAGE) {
			EXPECT_TRUE(lab_all(page_at(l, 1), l->m.page, 0));
		} else {
			EXPECT_EQ(SIGBUS, lab_access(page_at(l, 1), false,
						     &value, NULL));
		}
		EXPECT_FALSE(has_msg(l));
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
	}
}

LAB_FIXTURE(zero_page);
LAB_VARIANT(zero_page, anon);

/* The zero page inherits the protection of its hole. */
TEST_F(zero_page, keeps_protection)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_WP_UNPOPULATED));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 1), l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	/* Without SKIP_PRESENT, ZEROPAGE fails as before. */
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 1), l->m.page, 0,
					NULL));
	EXPECT_FILL(l, _UFFDIO_ZEROPAGE, 0, 3, SKIP_PRESENT, 3, 0, 0);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 1), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_UFFD_WP));
}

/*
 * Sources
 */

#define HUGE		(2UL << 20)
#define BEHIND		16	/* pages behind the source */

FIXTURE(source) {
	int uffd;
	int file;
	char *area;
	char *map;
	char *src;
};

/* An aligned mapping of 2 MiB, at a fixed distance from @src */
FIXTURE_SETUP(source)
{
	lab_catch_signals();
	self->uffd = lab_uffd_open(BASE_FEATURES);
	ASSERT_LE(0, self->uffd);
	self->file = lab_file_memfd(HUGE);
	ASSERT_LE(0, self->file);
	self->map = mmap(NULL, 3 * HUGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	self->area = (char *)(((uintptr_t)self->map + HUGE - 1) & -HUGE);
	ASSERT_EQ(self->area, mmap(self->area, HUGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, self->file, 0));
	self->src = mmap(NULL, HUGE + BEHIND * LAB_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->src);
	ASSERT_EQ(0, madvise(self->src, HUGE + BEHIND * LAB_PAGE,
			     MADV_NOHUGEPAGE));
	ASSERT_EQ(0, lab_register(self->uffd, self->area, HUGE, LAB_MISSING,
				  NULL));
	/* The memory after the source waits for this same process. */
	ASSERT_EQ(0, lab_register(self->uffd, self->src + HUGE,
				  BEHIND * LAB_PAGE, LAB_MISSING, NULL));
}

FIXTURE_TEARDOWN(source)
{
	close(self->uffd);
	close(self->file);
	munmap(self->map, 3 * HUGE);
	munmap(self->src, HUGE + BEHIND * LAB_PAGE);
}

/* A fill of 2 MiB that cannot be one huge page reads its source and no more. */
TEST_F(source, nothing_behind_it)
{
	struct uffdio_fill_range r = { .start = (uintptr_t)self->area,
				       .len = HUGE,
				       .src = (uintptr_t)self->src };
	struct uffdio_fill f = { .ranges = (uintptr_t)&r, .count = 1,
				 .op = _UFFDIO_COPY, .mode = SKIP_PRESENT };
	char page[LAB_PAGE];
	struct uffd_msg msg;

	/* The first page of the file and that of the source are present. */
	memset(page, 7, sizeof(page));
	ASSERT_EQ((ssize_t)sizeof(page), pwrite(self->file, page, sizeof(page), 0));
	self->src[0] = 1;
	EXPECT_EQ(0, lab_ioctl(self->uffd, UFFDIO_FILL, &f));
	EXPECT_EQ(HUGE - LAB_PAGE, r.filled);
	EXPECT_EQ(LAB_PAGE, r.skipped);
	EXPECT_EQ(0U, r.error);
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 0));
	EXPECT_EQ(7, self->area[0]);
	EXPECT_TRUE(lab_all(self->area + LAB_PAGE, HUGE - LAB_PAGE, 0));
}

/*
 * Secrets
 */

#define SCAN	(2UL << 20)	/* bytes of physical memory read at once */
#define WORDS	8		/* at the start of a page, to identify it */

static bool has_pattern(const __u64 *page, __u64 seed)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		if (page[i] != lab_word(seed, i))
			return false;
	return true;
}

/* The pages of memory [from, end) that begin with the pattern of @seed */
static unsigned int scan_range(int mem, __u64 *buffer, __u64 seed, off_t from,
			       off_t end)
{
	unsigned int found = 0;
	size_t i, len;

	for (; from < end; from += len) {
		bool whole;

		len = end - from < (off_t)SCAN ? (size_t)(end - from) : SCAN;
		whole = pread(mem, buffer, len, from) == (ssize_t)len;
		for (i = 0; i < len; i += LAB_PAGE) {
			__u64 *page = buffer + i / sizeof(*buffer);

			/* Some pages are not in the direct map. */
			if (!whole && pread(mem, page, LAB_PAGE, from + i) !=
				      (ssize_t)LAB_PAGE)
				continue;
			found += has_pattern(page, seed);
			memset(page, 0, WORDS * sizeof(*page));
		}
	}
	return found;
}

/* All RAM above 1 MiB */
struct ram {
	unsigned long from[16];
	unsigned long end[16];
	unsigned int ranges;
};

static void find_ram(struct ram *ram)
{
	FILE *map = fopen("/proc/iomem", "r");
	unsigned long from, end;
	char line[128];

	ram->ranges = 0;
	while (map && ram->ranges < 16 && fgets(line, sizeof(line), map)) {
		if (!strstr(line, "System RAM") ||
		    sscanf(line, "%lx-%lx", &from, &end) != 2 || from < 1UL << 20)
			continue;
		ram->from[ram->ranges] = (from + LAB_PAGE - 1) & -LAB_PAGE;
		ram->end[ram->ranges++] = (end + 1) & -LAB_PAGE;
	}
	if (map)
		fclose(map);
}

/* Must not allocate: the page freed last is the next to be allocated. */
static int scan(int mem, __u64 *buffer, __u64 seed, const struct ram *ram)
{
	unsigned int i;
	int found = 0;

	for (i = 0; i < ram->ranges; i++)
		found += scan_range(mem, buffer, seed, ram->from[i], ram->end[i]);
	return found;
}

/* Does /dev/mem show the page? With CONFIG_STRICT_DEVMEM, RAM reads as zeroes. */
static bool shows(int mem, __u64 *buffer, __u64 *page, __u64 seed)
{
	off_t pfn = lab_pagemap(page) & ((1ULL << 55) - 1);
	bool found = pread(mem, buffer, LAB_PAGE, pfn * LAB_PAGE) ==
		     (ssize_t)LAB_PAGE && has_pattern(buffer, seed);

	memset(buffer, 0, LAB_PAGE);
	return found;
}

LAB_FIXTURE(secret);
LAB_VARIANT(secret, secretmem);

/* COPY into secret memory leaves no copy of the content behind. */
TEST_F(secret, leaves_no_copy)
{
	struct lab *l = &self->l;
	int mem = open("/dev/mem", O_RDONLY);
	__u64 *buffer, *source, seed, i;
	struct ram ram;
	int file;

	if (mem < 0)
		SKIP(return, "needs /dev/mem");
	ASSERT_EQ((ssize_t)sizeof(seed), getrandom(&seed, sizeof(seed), 0));
	buffer = mmap(NULL, SCAN, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, buffer);
	find_ram(&ram);
	file = lab_file_memfd(LAB_PAGE);
	ASSERT_LE(0, file);
	source = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, source);
	for (i = 0; i < LAB_PAGE / sizeof(*source); i++)
		source[i] = lab_word(seed, i);
	if (!shows(mem, buffer, source, seed))
		SKIP(return, "needs a /dev/mem that shows memory");
	/* Not mapped now: COPY has to read it without holding locks. */
	ASSERT_EQ(0, madvise(source, LAB_PAGE, MADV_DONTNEED));

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	/* The scan finds the source itself, which shows that it works. */
	EXPECT_LE(1, scan(mem, buffer, seed, &ram));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), source, LAB_PAGE, 0, NULL));
	memset(source, 0, LAB_PAGE);
	EXPECT_EQ(0, scan(mem, buffer, seed, &ram));
	EXPECT_TRUE(has_pattern((__u64 *)page_at(l, 1), seed));
	close(mem);
	close(file);
	munmap(source, LAB_PAGE);
	munmap(buffer, SCAN);
}

/*
 * Memory control groups
 */

#define COPIED	32
#define ROOM	8	/* pages below the limit, fewer than a batch */

FIXTURE(memcg) {
};

FIXTURE_VARIANT(memcg) {
	int flags;
};

FIXTURE_VARIANT_ADD(memcg, anon) { .flags = MAP_PRIVATE | MAP_ANONYMOUS };
FIXTURE_VARIANT_ADD(memcg, shmem) { .flags = MAP_SHARED | MAP_ANONYMOUS };

FIXTURE_SETUP(memcg)
{
}

FIXTURE_TEARDOWN(memcg)
{
}

/* Leaves ROOM pages below the limit of a group whose memory is locked. */
static int leave_room(const char *dir)
{
	static const char * const keys[] = { "anon ", "file ", "kernel " };
	char limit[32];
	long used = 0;
	unsigned int i;

	/* memory.current also counts what is charged ahead per CPU. */
	for (i = 0; i < 3; i++) {
		long n = lab_cgroup_number(dir, "memory.stat", keys[i]);

		if (n < 0)
			return -EIO;
		used += n;
	}
	snprintf(limit, sizeof(limit), "%ld", used + ROOM * LAB_PAGE);
	return lab_write(dir, "memory.max", limit);
}

/* In a child, since the OOM killer ends it if the test fails; 0 or a line. */
static int copy_one_hole(const char *dir, int flags, unsigned int hole)
{
	const size_t len = COPIED * LAB_PAGE;
	int uffd = lab_uffd_open(BASE_FEATURES);
	char *src, *area;
	unsigned int i;
	__s64 done;

	src = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	area = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (uffd < 0 || src == MAP_FAILED || area == MAP_FAILED ||
	    madvise(area, len, MADV_NOHUGEPAGE) ||
	    lab_register(uffd, area, len, LAB_MISSING, NULL))
		return __LINE__;
	lab_fill(src, len, 1);
	for (i = 0; i < COPIED; i++) {
		if (i != hole && lab_copy(uffd, area + i * LAB_PAGE,
					  src + i * LAB_PAGE, LAB_PAGE, 0, NULL))
			return __LINE__;
	}
	if (mlockall(MCL_CURRENT | MCL_ONFAULT) || leave_room(dir))
		return __LINE__;
	/* The hole is filled; the pages after it are present. */
	if (lab_copy(uffd, area + hole * LAB_PAGE, src + hole * LAB_PAGE,
		     len - hole * LAB_PAGE, 0, &done) !=
	    (hole == COPIED - 1 ? 0 : -EAGAIN) || done != LAB_PAGE)
		return __LINE__;
	if (lab_copy(uffd, area, src, len, 0, &done) != -EEXIST)
		return __LINE__;
	return memcmp(area, src, len) ? __LINE__ : 0;
}

/* COPY of a range with one hole allocates one page, not a full batch. */
TEST_F(memcg, one_hole)
{
	static const unsigned int holes[] = { 0, 7, COPIED - 1 };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		char dir[LAB_CGROUP_LEN];
		int status, pipes[2];
		pid_t child;
		int line = -1;

		ASSERT_EQ(0, pipe(pipes));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			line = lab_cgroup_enter(dir) ? __LINE__ :
			       copy_one_hole(dir, variant->flags, holes[i]);
			_exit(write(pipes[1], &line, sizeof(line)) < 0);
		}
		close(pipes[1]);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status) {
			TH_LOG("hole %u: killed", holes[i]);
		}
		EXPECT_LT(0, read(pipes[0], &line, sizeof(line)));
		EXPECT_EQ(0, line) {
			TH_LOG("hole %u: failed in line %d", holes[i], line);
		}
		close(pipes[0]);
		snprintf(dir, sizeof(dir), LAB_CGROUPS "/uffd-%d", child);
		EXPECT_EQ(0, rmdir(dir));
	}
}

/*
 * Errnos of a memory type
 */

/* Beyond the maximum file size: the errno of the type, no warning. */
TEST(type_errno)
{
	const off_t last = 0x7fffffffffffe000;
	int uffd = lab_uffd_open(BASE_FEATURES);
	char *area, value = 0;
	__s64 done = 0;
	int file;

	lab_catch_signals();
	ASSERT_LE(0, uffd);
	file = memfd_create("uffd-present", 0);
	ASSERT_LE(0, file);
	area = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file,
		    last);
	ASSERT_NE(MAP_FAILED, area);
	area = mremap(area, LAB_PAGE, 3 * LAB_PAGE, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, lab_register(uffd, area, 3 * LAB_PAGE,
				  LAB_MISSING | LAB_MINOR, NULL));
	EXPECT_EQ(-EFBIG, lab_continue(uffd, area + 2 * LAB_PAGE, LAB_PAGE, 0,
				       &done));
	EXPECT_EQ(-EFBIG, done);
	ASSERT_EQ(0, lab_register(uffd, area, 3 * LAB_PAGE, LAB_MISSING, NULL));
	EXPECT_EQ(SIGBUS, lab_access(area + 2 * LAB_PAGE, false, &value, NULL));
	ASSERT_EQ(0, lab_register(uffd, area, 3 * LAB_PAGE, LAB_MINOR, NULL));
	EXPECT_EQ(SIGBUS, lab_access(area + 2 * LAB_PAGE, true, &value, NULL));
	close(uffd);
	close(file);
	munmap(area, 3 * LAB_PAGE);
}

/*
 * Memory policy of the task, on a VM with two nodes
 */

FIXTURE(policy) {
	int uffd;
	char *src;
};

/* With a weight of 2 for the first node, every third page is on the second. */
#define WEIGHTS	"/sys/kernel/mm/mempolicy/weighted_interleave"

FIXTURE_VARIANT(policy) {
	int flags;
	int policy;
	int period;
};

FIXTURE_VARIANT_ADD(policy, anon) {
	.flags = MAP_PRIVATE | MAP_ANONYMOUS,
	.policy = MPOL_INTERLEAVE,
	.period = 2,
};
FIXTURE_VARIANT_ADD(policy, shmem) {
	.flags = MAP_SHARED | MAP_ANONYMOUS,
	.policy = MPOL_INTERLEAVE,
	.period = 2,
};
FIXTURE_VARIANT_ADD(policy, anon_weighted) {
	.flags = MAP_PRIVATE | MAP_ANONYMOUS,
	.policy = MPOL_WEIGHTED_INTERLEAVE,
	.period = 3,
};
FIXTURE_VARIANT_ADD(policy, shmem_weighted) {
	.flags = MAP_SHARED | MAP_ANONYMOUS,
	.policy = MPOL_WEIGHTED_INTERLEAVE,
	.period = 3,
};

FIXTURE_SETUP(policy)
{
	unsigned long nodes = 3;

	self->uffd = lab_uffd_open(BASE_FEATURES);
	ASSERT_LE(0, self->uffd);
	self->src = mmap(NULL, COPIED * LAB_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->src);
	lab_fill(self->src, COPIED * LAB_PAGE, 1);
	if (syscall(SYS_set_mempolicy, variant->policy, &nodes, 3UL))
		SKIP(return, "needs two NUMA nodes");
	if (variant->policy == MPOL_WEIGHTED_INTERLEAVE)
		ASSERT_EQ(0, lab_write(WEIGHTS, "node0", "2"));
}

FIXTURE_TEARDOWN(policy)
{
	syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0UL);
	if (variant->policy == MPOL_WEIGHTED_INTERLEAVE)
		lab_write(WEIGHTS, "node0", "0");
	close(self->uffd);
	munmap(self->src, COPIED * LAB_PAGE);
}

/* A range is interleaved page by page, like faults. */
TEST_F(policy, interleaved)
{
	const size_t len = COPIED * LAB_PAGE;
	int nodes[COPIED], i, second = 0;
	void *pages[COPIED];
	char *area;

	area = mmap(NULL, len, PROT_READ | PROT_WRITE, variant->flags, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	ASSERT_EQ(0, madvise(area, len, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, lab_register(self->uffd, area, len, LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_copy(self->uffd, area, self->src, len, 0, NULL));
	for (i = 0; i < COPIED; i++)
		pages[i] = area + i * LAB_PAGE;
	ASSERT_EQ(0, syscall(SYS_move_pages, 0, (long)COPIED, pages, NULL,
			     nodes, 0));
	for (i = 0; i < COPIED; i++) {
		EXPECT_LE(0, nodes[i]);
		EXPECT_EQ(nodes[i % variant->period], nodes[i]);
	}
	for (i = 0; i < variant->period; i++)
		second += nodes[i];
	EXPECT_EQ(1, second);
	munmap(area, len);
}

TEST_HARNESS_MAIN
