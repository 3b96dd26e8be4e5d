// SPDX-License-Identifier: GPL-2.0
/*
 * UFFDIO_QUERY predicts what UFFDIO_REGISTER does, for every kind of mapping
 * and every set of modes, and each reason for a refusal occurs once.
 *
 * The kernel decides both with one function, so the comparison alone could miss
 * an error in both: what registration does is stated by uffd-types and compared
 * with the unmodified kernel by uffd-table.
 */
#include "../kselftest_harness.h"
#include "uffd/expect.h"
#include "uffd/mappings.h"

#include <sys/wait.h>

#define ALL_MODES	(LAB_MISSING | LAB_WP | LAB_MINOR)

/* The bits of uffdio_register.mode, as numbers */
enum { MISSING_BIT, WP_BIT, MINOR_BIT, NR_BITS };

static int query(int uffd, const void *start, size_t len, __u64 with,
		 struct uffdio_query *q)
{
	/*
	 * Fields that the kernel must write are filled, so that an omission
	 * shows.
	 */
	memset(q, 0xaa, sizeof(*q));
	q->range.start = (uintptr_t)start;
	q->range.len = len;
	q->flags = 0;
	q->modes_with = with;
	memset(q->reserved, 0, sizeof(q->reserved));
	return lab_ioctl(uffd, UFFDIO_QUERY, q);
}

static int errno_of(__u32 refusal)
{
	switch (refusal) {
	case UFFD_REFUSAL_NONE:
		return 0;
	case UFFD_REFUSAL_READ_ONLY:
		return -EPERM;
	case UFFD_REFUSAL_OWNED:
		return -EBUSY;
	default:
		return -EINVAL;
	}
}

/* The rules that do not depend on the memory: every field was written. */
static bool well_formed(const struct uffdio_query *q)
{
	__u64 modes = 0;

	for (int bit = 0; bit < UFFDIO_QUERY_MODES; bit++) {
		const struct uffdio_query_mode *a = &q->answer[bit];
		bool yes = a->refusal == UFFD_REFUSAL_NONE;

		if (a->reserved || a->refusal > UFFD_REFUSAL_OWNED)
			return false;
		if (yes ? !a->ioctls || a->address : a->ioctls)
			return false;
		if (yes)
			modes |= 1ULL << bit;
		else if (q->range.len && a->address - q->range.start >= q->range.len)
			return false;
	}
	for (size_t i = 0; i < sizeof(q->reserved) / sizeof(*q->reserved); i++)
		if (q->reserved[i])
			return false;
	/* Unknown modes are refused. */
	return !q->flags && q->modes == modes && !(modes & ~ALL_MODES) &&
	       q->granule >= LAB_PAGE && !(q->granule & (q->granule - 1));
}

/*
 * Asks about each mode together with each set of other modes, then registers
 * and compares. Nothing stays registered. NULL if all agree, or what does not.
 */
static const char *disagrees(int uffd, const void *start, size_t len)
{
	for (__u64 with = 0; with <= ALL_MODES; with++) {
		struct uffdio_query q, again;

		if (query(uffd, start, len, with, &q))
			return "a question was an error";
		if (!well_formed(&q))
			return "an answer is not well-formed";
		for (int bit = 0; bit < NR_BITS; bit++) {
			const struct uffdio_query_mode *a = &q.answer[bit];
			__u64 ioctls = 0;
			int err = lab_register(uffd, start, len,
					       with | 1ULL << bit, &ioctls);

			if (err != errno_of(a->refusal))
				return "not what registration does";
			if (err)
				continue;
			if (ioctls != a->ioctls)
				return "not the ioctls of the registration";
			/*
			 * A registration of this userfaultfd does not change
			 * the answer.
			 */
			if (query(uffd, start, len, with, &again) ||
			    memcmp(&q, &again, sizeof(q)))
				return "another answer once it is registered";
			if (lab_unregister(uffd, start, len))
				return "cannot be unregistered";
		}
	}
	return NULL;
}

#define EXPECT_AGREEMENT(uffd, start, len) do {				\
	const char *__d = disagrees(uffd, start, len);			\
	EXPECT_EQ(NULL, __d) {						\
		TH_LOG("%s", __d);					\
	}								\
} while (0)

/*
 * Each kind of mapping
 */

FIXTURE_VARIANT(kind)
{
	const struct mapping_kind *kind;
};

FIXTURE(kind)
{
	struct mapping m;
	int uffd[2];	/* synchronous and asynchronous write protection */
};

FIXTURE_SETUP(kind)
{
	ASSERT_EQ(0, mapping_make(&self->m, variant->kind));
	self->uffd[0] = lab_uffd_open(0);
	ASSERT_LE(0, self->uffd[0]);
	self->uffd[1] = lab_uffd_open(UFFD_FEATURE_WP_ASYNC);
	ASSERT_LE(0, self->uffd[1]);
}

FIXTURE_TEARDOWN(kind)
{
	close(self->uffd[0]);
	close(self->uffd[1]);
	mapping_drop(&self->m, variant->kind);
}

#define KIND_VARIANT(name)						\
	FIXTURE_VARIANT_ADD(kind, name)					\
	{								\
		.kind = &mapping_kinds[MAPPING_##name],			\
	};
MAPPING_KINDS(KIND_VARIANT)

TEST_F(kind, as_registered)
{
	EXPECT_AGREEMENT(self->uffd[0], self->m.addr, self->m.len);
	EXPECT_AGREEMENT(self->uffd[1], self->m.addr, self->m.len);
}

/* A part of it, and ranges of partial pages */
TEST_F(kind, as_registered_in_part)
{
	char *addr = self->m.addr;
	size_t len = self->m.len;

	for (int i = 0; i < 2; i++) {
		int uffd = self->uffd[i];

		EXPECT_AGREEMENT(uffd, addr, LAB_PAGE);
		EXPECT_AGREEMENT(uffd, addr + len - LAB_PAGE, LAB_PAGE);
		EXPECT_AGREEMENT(uffd, addr + 1, LAB_PAGE);
		EXPECT_AGREEMENT(uffd, addr, len - 1);
		EXPECT_AGREEMENT(uffd, addr, 0);
	}
}

/*
 * Each reason
 */

FIXTURE(why)
{
	char *area;	/* free addresses, with a gap on both sides */
	int uffd;
};

#define AREA	(4 * LAB_HUGE)

FIXTURE_SETUP(why)
{
	char *p;

	p = mmap(NULL, AREA + 3 * LAB_HUGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, munmap(p, AREA + 3 * LAB_HUGE));
	self->area = (char *)(((uintptr_t)p + 2 * LAB_HUGE - 1) & -LAB_HUGE);
	self->uffd = lab_uffd_open(0);
	ASSERT_LE(0, self->uffd);
}

FIXTURE_TEARDOWN(why)
{
	close(self->uffd);
	munmap(self->area, AREA);
}

/* Maps anonymous memory at @offset of the area. */
#define MAP_AT(offset, len, flags)					\
	ASSERT_EQ(self->area + (offset),				\
		  mmap(self->area + (offset), len, RW, MAP_ANONYMOUS |	\
		       MAP_FIXED_NOREPLACE | (flags), -1, 0))

#define ANON		MAP_PRIVATE
#define SHMEM		MAP_SHARED
#define HUGETLB		(MAP_PRIVATE | MAP_HUGETLB | MAP_HUGE_2MB)

/* The reason for one mode, and the address to blame */
#define EXPECT_WHY(start, len, bit, refusal_, address_) do {		\
	struct uffdio_query __q;					\
	ASSERT_EQ(0, query(self->uffd, start, len, 0, &__q));		\
	EXPECT_EQ((__u32)(refusal_), __q.answer[bit].refusal);		\
	EXPECT_EQ((__u64)(uintptr_t)(address_), __q.answer[bit].address);\
} while (0)

/* A reason that holds for all modes, at the beginning of the range */
#define EXPECT_WHY_NOT(start, len, refusal) do {			\
	for (int __bit = 0; __bit < NR_BITS; __bit++)			\
		EXPECT_WHY(start, len, __bit, refusal, start);		\
	EXPECT_AGREEMENT(self->uffd, start, len);			\
} while (0)

#define EXPECT_GRANULE(start, len, granule_) do {			\
	struct uffdio_query __q;					\
	ASSERT_EQ(0, query(self->uffd, start, len, 0, &__q));		\
	EXPECT_EQ((__u64)(granule_), __q.granule);			\
} while (0)

TEST_F(why, none)
{
	MAP_AT(0, SMALL, SHMEM);
	for (int bit = 0; bit < NR_BITS; bit++) {
		EXPECT_WHY(self->area, SMALL, bit, UFFD_REFUSAL_NONE, 0);
	}
	EXPECT_GRANULE(self->area, SMALL, LAB_PAGE);
	EXPECT_AGREEMENT(self->uffd, self->area, SMALL);
}

TEST_F(why, range)
{
	MAP_AT(0, SMALL, ANON);
	EXPECT_WHY_NOT(self->area, 0, UFFD_REFUSAL_RANGE);
	/* Beyond the end of the address space, and wrapping around */
	EXPECT_WHY_NOT((char *)-LAB_PAGE, LAB_PAGE, UFFD_REFUSAL_RANGE);
	EXPECT_WHY_NOT(self->area, -LAB_PAGE, UFFD_REFUSAL_RANGE);
	EXPECT_WHY_NOT(self->area, (size_t)1 << (sizeof(size_t) == 8 ? 60 : 31),
		       UFFD_REFUSAL_RANGE);
}

TEST_F(why, misaligned)
{
	char *area = self->area;

	MAP_AT(0, SMALL, ANON);
	EXPECT_WHY_NOT(area + 1, LAB_PAGE, UFFD_REFUSAL_MISALIGNED);
	EXPECT_WHY_NOT(area, LAB_PAGE + 1, UFFD_REFUSAL_MISALIGNED);
	EXPECT_GRANULE(area + 1, LAB_PAGE, LAB_PAGE);

	/* The granule reports the alignment that is needed. */
	MAP_AT(LAB_HUGE, LAB_HUGE, HUGETLB);
	area += LAB_HUGE;
	EXPECT_WHY_NOT(area, LAB_PAGE, UFFD_REFUSAL_MISALIGNED);
	EXPECT_GRANULE(area, LAB_PAGE, LAB_HUGE);
	EXPECT_WHY_NOT(area + LAB_PAGE, LAB_HUGE - LAB_PAGE,
		       UFFD_REFUSAL_MISALIGNED);
	EXPECT_GRANULE(area + LAB_PAGE, LAB_HUGE - LAB_PAGE, LAB_HUGE);
}

TEST_F(why, not_mapped)
{
	EXPECT_WHY_NOT(self->area, AREA, UFFD_REFUSAL_NOT_MAPPED);
	EXPECT_WHY_NOT(self->area + LAB_PAGE, LAB_PAGE, UFFD_REFUSAL_NOT_MAPPED);

	/* One mapping in the range is enough, as for a registration. */
	MAP_AT(LAB_HUGE, SMALL, ANON);
	EXPECT_WHY(self->area, AREA, MISSING_BIT, UFFD_REFUSAL_NONE, 0);
	EXPECT_AGREEMENT(self->uffd, self->area, AREA);
}

/* A kind of mapping that is refused for one reason in all modes */
#define EXPECT_KIND_REFUSED(name, refusal) do {				\
	const struct mapping_kind *__k = &mapping_kinds[MAPPING_##name]; \
	struct mapping __m;						\
	ASSERT_EQ(0, mapping_make(&__m, __k));				\
	EXPECT_WHY_NOT(__m.addr, __m.len, refusal);			\
	mapping_drop(&__m, __k);					\
} while (0)

TEST_F(why, droppable)
{
	EXPECT_KIND_REFUSED(droppable, UFFD_REFUSAL_DROPPABLE);
}

TEST_F(why, special)
{
	EXPECT_KIND_REFUSED(pfn_mem, UFFD_REFUSAL_SPECIAL);
	EXPECT_KIND_REFUSED(pfn_vvar, UFFD_REFUSAL_SPECIAL);
	EXPECT_KIND_REFUSED(kernel_vdso, UFFD_REFUSAL_SPECIAL);
}

TEST_F(why, type)
{
	const struct mapping_kind *kind = &mapping_kinds[MAPPING_block_device];
	struct mapping m;

	EXPECT_KIND_REFUSED(block_device, UFFD_REFUSAL_TYPE);

	/*
	 * Asynchronous write protection needs no support, but must be the only
	 * mode.
	 */
	close(self->uffd);
	self->uffd = lab_uffd_open(UFFD_FEATURE_WP_ASYNC);
	ASSERT_LE(0, self->uffd);
	ASSERT_EQ(0, mapping_make(&m, kind));
	EXPECT_WHY(m.addr, m.len, WP_BIT, UFFD_REFUSAL_NONE, 0);
	EXPECT_WHY(m.addr, m.len, MISSING_BIT, UFFD_REFUSAL_TYPE, m.addr);
	EXPECT_AGREEMENT(self->uffd, m.addr, m.len);
	mapping_drop(&m, kind);
}

TEST_F(why, mode)
{
	struct uffdio_query q;

	MAP_AT(0, SMALL, ANON);
	EXPECT_WHY(self->area, SMALL, MINOR_BIT, UFFD_REFUSAL_MODE, self->area);
	EXPECT_WHY(self->area, SMALL, MISSING_BIT, UFFD_REFUSAL_NONE, 0);
	EXPECT_WHY(self->area, SMALL, WP_BIT, UFFD_REFUSAL_NONE, 0);
	EXPECT_AGREEMENT(self->uffd, self->area, SMALL);

	/* Together with a mode that is refused, all modes are. */
	ASSERT_EQ(0, query(self->uffd, self->area, SMALL, LAB_MINOR, &q));
	EXPECT_EQ(0, q.modes);
	EXPECT_EQ(UFFD_REFUSAL_MODE, q.answer[MISSING_BIT].refusal);
	ASSERT_EQ(0, query(self->uffd, self->area, SMALL, LAB_WP, &q));
	EXPECT_EQ(LAB_MISSING | LAB_WP, q.modes);

	/* The same applies to an unknown mode. */
	for (int bit = NR_BITS; bit < UFFDIO_QUERY_MODES; bit++) {
		EXPECT_EQ(UFFD_REFUSAL_MODE, q.answer[bit].refusal);
		EXPECT_EQ((__u64)(uintptr_t)self->area, q.answer[bit].address);
	}
}

TEST_F(why, mixed)
{
	char *area = self->area, *second = area + SMALL, *third = area + LAB_HUGE;

	/* Shared memory first, then private memory */
	MAP_AT(0, SMALL, SHMEM);
	MAP_AT(SMALL, SMALL, ANON);
	EXPECT_WHY(area, 2 * SMALL, MINOR_BIT, UFFD_REFUSAL_MIXED, second);
	EXPECT_WHY(area, 2 * SMALL, MISSING_BIT, UFFD_REFUSAL_NONE, 0);
	EXPECT_GRANULE(area, 2 * SMALL, LAB_PAGE);
	EXPECT_AGREEMENT(self->uffd, area, 2 * SMALL);

	/* The address to blame does not depend on where the range begins. */
	EXPECT_WHY(area + LAB_PAGE, SMALL, MINOR_BIT, UFFD_REFUSAL_MIXED, second);
	EXPECT_WHY(second + LAB_PAGE, LAB_PAGE, MINOR_BIT, UFFD_REFUSAL_MODE,
		   second + LAB_PAGE);

	/*
	 * Pages of two sizes: the larger one determines ioctls and alignment.
	 */
	MAP_AT(LAB_HUGE, LAB_HUGE, HUGETLB);
	EXPECT_WHY(area, 2 * LAB_HUGE, MISSING_BIT, UFFD_REFUSAL_NONE, 0);
	EXPECT_WHY(area, 2 * LAB_HUGE, MINOR_BIT, UFFD_REFUSAL_MIXED, second);
	EXPECT_WHY(area, LAB_HUGE + LAB_PAGE, MISSING_BIT,
		   UFFD_REFUSAL_MISALIGNED, third);
	EXPECT_GRANULE(area, 2 * LAB_HUGE, LAB_HUGE);
	EXPECT_AGREEMENT(self->uffd, area, 2 * LAB_HUGE);
	EXPECT_AGREEMENT(self->uffd, area, LAB_HUGE + LAB_PAGE);

	/* Supported memory, then memory that no mode supports */
	ASSERT_EQ(0, munmap(third, LAB_HUGE));
	MAP_AT(LAB_HUGE, SMALL, MAP_DROPPABLE);
	for (int bit = MISSING_BIT; bit <= WP_BIT; bit++) {
		EXPECT_WHY(area, 2 * LAB_HUGE, bit, UFFD_REFUSAL_MIXED, third);
	}
	EXPECT_AGREEMENT(self->uffd, area, 2 * LAB_HUGE);
}

TEST_F(why, read_only)
{
	EXPECT_KIND_REFUSED(memfd_rdonly, UFFD_REFUSAL_READ_ONLY);
	EXPECT_KIND_REFUSED(memfd_sealed, UFFD_REFUSAL_READ_ONLY);
}

TEST_F(why, owned)
{
	int other = lab_uffd_open(0);

	ASSERT_LE(0, other);
	MAP_AT(0, 2 * SMALL, SHMEM);
	ASSERT_EQ(0, lab_register(other, self->area + SMALL, SMALL, LAB_WP, NULL));
	EXPECT_WHY_NOT(self->area + SMALL, SMALL, UFFD_REFUSAL_OWNED);
	EXPECT_WHY(self->area, 2 * SMALL, MISSING_BIT, UFFD_REFUSAL_OWNED,
		   self->area + SMALL);
	EXPECT_AGREEMENT(self->uffd, self->area, 2 * SMALL);
	EXPECT_AGREEMENT(self->uffd, self->area, SMALL);

	/* The owner can register it again. */
	EXPECT_AGREEMENT(other, self->area + SMALL, SMALL);
	close(other);
	EXPECT_AGREEMENT(self->uffd, self->area, 2 * SMALL);
}

/*
 * The call itself
 */

#define EXPECT_BAD(field, value) do {					\
	struct uffdio_query __q, __before;				\
	ASSERT_EQ(0, query(self->uffd, self->area, SMALL, 0, &__q));	\
	__q.field = (value);						\
	__before = __q;							\
	EXPECT_EQ(-EINVAL, lab_ioctl(self->uffd, UFFDIO_QUERY, &__q));	\
	EXPECT_EQ(0, memcmp(&__q, &__before, sizeof(__q)));		\
} while (0)

/* Reserved values are errors, so that they can get a meaning later. */
TEST_F(why, question_without_meaning)
{
	MAP_AT(0, SMALL, ANON);
	EXPECT_BAD(flags, 1);
	EXPECT_BAD(flags, 1ULL << 63);
	EXPECT_BAD(modes_with, ALL_MODES + 1);
	EXPECT_BAD(modes_with, 1ULL << 63);
	EXPECT_BAD(reserved[0], 1);
	EXPECT_BAD(reserved[3], 1ULL << 63);
}

TEST_F(why, memory_of_the_question)
{
	struct uffdio_query *q = (void *)self->area;

	EXPECT_EQ(-EFAULT, lab_ioctl(self->uffd, UFFDIO_QUERY, NULL));
	MAP_AT(0, LAB_PAGE, ANON);
	EXPECT_EQ(0, query(self->uffd, self->area, LAB_PAGE, 0, q));
	/* The end of the struct is not mapped, or not writable. */
	EXPECT_EQ(-EFAULT, lab_ioctl(self->uffd, UFFDIO_QUERY,
				     self->area + LAB_PAGE - sizeof(*q) + 8));
	ASSERT_EQ(0, mprotect(q, LAB_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, lab_ioctl(self->uffd, UFFDIO_QUERY, q));
}

/* Without the feature, the mask of ioctls is the same as before. */
TEST(announced)
{
	const __u64 ours = 1ULL << _UFFDIO_QUERY;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_query q;
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	ASSERT_LE(0, fd);
	/* Like all but the first call, it needs UFFDIO_API before. */
	EXPECT_EQ(-EINVAL, query(fd, &q, LAB_PAGE, 0, &q));
	ASSERT_EQ(0, lab_ioctl(fd, UFFDIO_API, &api));
	EXPECT_EQ(UFFD_API_IOCTLS, api.ioctls);
	EXPECT_EQ(0, UFFD_API_IOCTLS & ours);
	EXPECT_TRUE(api.features & UFFD_FEATURE_QUERY);
	close(fd);

	fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, fd);
	api.features = UFFD_FEATURE_QUERY;
	ASSERT_EQ(0, lab_ioctl(fd, UFFDIO_API, &api));
	EXPECT_EQ(UFFD_API_IOCTLS | ours, api.ioctls);
	close(fd);
}

/* A userfaultfd refers to the process that opened it, while that lives. */
TEST_F(why, other_process)
{
	struct uffdio_query q;
	int uffd, pidfd, status, pipefd[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/*
		 * Memory that only the child has, and the number of its
		 * descriptor
		 */
		void *p = mmap(self->area, SMALL, RW, MAP_PRIVATE |
			       MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		uffd = p == self->area ? lab_uffd_open(0) : -1;
		if (write(pipefd[1], &uffd, sizeof(uffd)) == sizeof(uffd))
			pause();
		_exit(1);
	}
	ASSERT_EQ(sizeof(uffd), read(pipefd[0], &uffd, sizeof(uffd)));
	ASSERT_LE(0, uffd);
	pidfd = syscall(__NR_pidfd_open, pid, 0);
	ASSERT_LE(0, pidfd);
	uffd = syscall(__NR_pidfd_getfd, pidfd, uffd, 0);
	ASSERT_LE(0, uffd);

	EXPECT_WHY(self->area, SMALL, MISSING_BIT, UFFD_REFUSAL_NOT_MAPPED,
		   self->area);
	ASSERT_EQ(0, query(uffd, self->area, SMALL, 0, &q));
	EXPECT_EQ(LAB_MISSING | LAB_WP, q.modes);

	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(-ESRCH, query(uffd, self->area, SMALL, 0, &q));
	close(uffd);
	close(pidfd);
}

/* Queries while another thread registers, unregisters and unmaps */

struct changer {
	int uffd;
	char *area;
	bool stop;
	int err;
};

static void *change(void *arg)
{
	struct changer *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED) && !c->err) {
		c->err = lab_register(c->uffd, c->area, 2 * SMALL, LAB_MISSING,
				      NULL);
		if (!c->err)
			c->err = lab_unregister(c->uffd, c->area + SMALL, SMALL);
		if (mmap(c->area, 2 * SMALL, RW, MAP_FIXED | MAP_SHARED |
			 MAP_ANONYMOUS, -1, 0) != c->area)
			c->err = -errno;
	}
	return NULL;
}

TEST_F(why, while_it_changes)
{
	struct changer c = { .area = self->area };
	unsigned long n = lab_scale(20000);
	struct uffdio_query q;
	pthread_t thread;

	MAP_AT(0, 2 * SMALL, SHMEM);
	c.uffd = lab_uffd_open(0);
	ASSERT_LE(0, c.uffd);
	ASSERT_EQ(0, pthread_create(&thread, NULL, change, &c));
	while (n--) {
		const struct uffdio_query_mode *a = q.answer;

		ASSERT_EQ(0, query(self->uffd, self->area, 2 * SMALL, 0, &q));
		ASSERT_TRUE(well_formed(&q));
		/* One lookup: all modes have the same answer. */
		ASSERT_TRUE(!a->refusal || a->refusal == UFFD_REFUSAL_OWNED);
		ASSERT_EQ(a->refusal, a[WP_BIT].refusal);
		ASSERT_EQ(a->address, a[MINOR_BIT].address);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, lab_join(thread, LAB_DEADLINE_MS));
	EXPECT_EQ(0, c.err);
	close(c.uffd);
}

static const struct layout layouts[] = {
	SIZE_OF(uffdio_query_mode, 24),
	OFFSET_OF(uffdio_query_mode, ioctls, 0),
	OFFSET_OF(uffdio_query_mode, address, 8),
	OFFSET_OF(uffdio_query_mode, refusal, 16),
	OFFSET_OF(uffdio_query_mode, reserved, 20),
	SIZE_OF(uffdio_query, 272),
	OFFSET_OF(uffdio_query, range, 0),
	OFFSET_OF(uffdio_query, flags, 16),
	OFFSET_OF(uffdio_query, modes_with, 24),
	OFFSET_OF(uffdio_query, modes, 32),
	OFFSET_OF(uffdio_query, granule, 40),
	OFFSET_OF(uffdio_query, answer, 48),
	OFFSET_OF(uffdio_query, reserved, 240),
};

TEST(layout)
{
	EXPECT_STREQ("", layout_flaw(layouts, ARRAY_SIZE(layouts)));
	EXPECT_EQ(0xc110aa20U, UFFDIO_QUERY);
}

TEST_HARNESS_MAIN
