// SPDX-License-Identifier: GPL-2.0
/*
 * How the userfaultfd core handles a memory type that gives wrong answers (the
 * module of hostile.c): the caller gets an errno, a thread that touches the
 * memory gets a signal, one warning is logged, and nothing else happens. Each
 * test announces its warning to PID 1 of the VM (lab/init.c). If another warning
 * occurs, or none, or two, the test fails.
 *
 * At the end of each test the same memory is served correctly: nothing is still
 * locked, and no page table has wrong entries.
 */
#include "../kselftest_harness.h"
#include "uffd/expect.h"
#include <sys/wait.h>

static int lab_file_hostile(size_t len)
{
	int fd = open("/dev/hostile", O_RDWR | O_CLOEXEC);

	(void)len;
	return fd < 0 ? -errno : fd;
}

static const struct lab_type lab_hostile_shared = {
	.name = "hostile",
	.flags = LAB_SHMEM_SHARED | LAB_T_NO_HOLES | LAB_T_FIXED,
	.file = lab_file_hostile,
};

/* From now on the memory gives the answer @how. */
static int behave(const struct lab *l, const char *how)
{
	return write(l->m.fd, how, strlen(how)) < 0 ? -errno : 0;
}

/* Announces one warning of the kernel that contains @text. */
static int announce(const char *text)
{
	int fd, err = lab_write("/sys/kernel/debug", "clear_warn_once", "1");

	if (err)
		return err;
	fd = open("/lab/expected", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return -errno;
	err = dprintf(fd, "%s\n", text) < 0 ? -errno : 0;
	close(fd);
	return err;
}

FIXTURE(hostile) {
	struct lab l;
};

FIXTURE_SETUP(hostile)
{
	ASSERT_EQ(0, lab_setup(&self->l, &lab_hostile_shared));
}

/* Page 6, which no test touches, is served at that point. */
FIXTURE_TEARDOWN(hostile)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, behave(l, "right"));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 6), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 6), src_at(l, 6), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 6)[0]);
	EXPECT_TRUE(same_at(l, alias_at(l, 6), 6));
	lab_teardown(l);
}

/* A fill of one page, twice: rejected both times, and nothing is mapped. */
#define EXPECT_BAD(err, l, op, i) do {					\
	EXPECT_OP(FAILED(err), (l)->uffd, op, page_at(l, i),		\
		  src_at(l, i), (l)->m.page, 0);			\
	EXPECT_OP(FAILED(err), (l)->uffd, op, page_at(l, i),		\
		  src_at(l, i), (l)->m.page, 0);			\
	EXPECT_FALSE(lab_pm(page_at(l, i), LAB_PM_PRESENT));		\
} while (0)

/* A touch that makes no request: it has no page. */
#define EXPECT_NO_PAGE(l, i) do {					\
	int __code = 0;							\
	char __v;							\
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, i), false, &__v, &__code)); \
	EXPECT_EQ(BUS_ADRERR, __code);					\
	EXPECT_FALSE(lab_pm(page_at(l, i), LAB_PM_PRESENT));		\
	EXPECT_FALSE(has_msg(l));					\
} while (0)

/* Answers that are wrong for every fill, and for every fault */

FIXTURE(bad) {
	struct lab l;
};

FIXTURE_VARIANT(bad) {
	const char *how;
	const char *warning;
};

FIXTURE_VARIANT_ADD(bad, unlocked) {
	.how = "unlocked", .warning = "handed out unlocked folio" };
FIXTURE_VARIANT_ADD(bad, stale) {
	.how = "stale", .warning = "handed out not uptodate folio" };
FIXTURE_VARIANT_ADD(bad, freed) {
	.how = "freed", .warning = "handed out unreferenced folio" };
FIXTURE_VARIANT_ADD(bad, foreign) {
	.how = "foreign", .warning = "handed out foreign folio" };
FIXTURE_VARIANT_ADD(bad, misplaced) {
	.how = "misplaced", .warning = "handed out misplaced folio" };
FIXTURE_VARIANT_ADD(bad, nothing) {
	.how = "nothing", .warning = "handed out no folio" };
FIXTURE_VARIANT_ADD(bad, internal_errno) {
	.how = "internal errno", .warning = "returned -512" };
FIXTURE_VARIANT_ADD(bad, positive_errno) {
	.how = "positive errno", .warning = "returned 5" };

FIXTURE_SETUP(bad)
{
	ASSERT_EQ(0, lab_setup(&self->l, &lab_hostile_shared));
	ASSERT_EQ(0, lab_register(self->l.uffd, self->l.m.area, self->l.m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	ASSERT_EQ(0, announce(variant->warning));
	ASSERT_EQ(0, behave(&self->l, variant->how));
}

FIXTURE_TEARDOWN(bad)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, behave(l, "right"));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 6), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 6), src_at(l, 6), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 6)[0]);
	lab_teardown(l);
}

/* Each on a page of its own: some leave one in the file. */
TEST_F(bad, copy)
{
	struct lab *l = &self->l;

	EXPECT_OP(FAILED(-EIO), l->uffd, COPY, page_at(l, 0), src_at(l, 0),
		  l->m.page, 0);
	EXPECT_OP(FAILED(-EIO), l->uffd, COPY, page_at(l, 2), src_at(l, 2),
		  l->m.page, 0);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_PRESENT));
}

TEST_F(bad, zeropage)
{
	struct lab *l = &self->l;

	EXPECT_OP(FAILED(-EIO), l->uffd, ZEROPAGE, page_at(l, 0), NULL,
		  l->m.page, 0);
	EXPECT_OP(FAILED(-EIO), l->uffd, ZEROPAGE, page_at(l, 2), NULL,
		  l->m.page, 0);
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_PRESENT));
}

TEST_F(bad, continue_)
{
	struct lab *l = &self->l;

	file_write(l, 0, 4);
	EXPECT_OP(FAILED(-EIO), l->uffd, CONTINUE, page_at(l, 0), NULL,
		  l->m.page, 0);
	EXPECT_OP(FAILED(-EIO), l->uffd, CONTINUE, page_at(l, 2), NULL,
		  l->m.page, 0);
	EXPECT_FALSE(lab_pm(page_at(l, 2), LAB_PM_PRESENT));
}

/* Present memory, and a hole that the kernel fills itself */
TEST_F(bad, fault)
{
	struct lab *l = &self->l;

	file_write(l, 0, 2);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_NO_PAGE(l, 0);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_NO_PAGE(l, 3);
}

/* Correct up to a page: the pages before it are mapped. */
TEST_F(hostile, foreign_behind_a_good_one)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, announce("handed out foreign folio"));
	ASSERT_EQ(0, behave(l, "foreign second"));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), l->src, 3 * l->m.page, 0);
	EXPECT_EQ(0, memcmp(l->m.area, l->src, 3 * l->m.page));
	EXPECT_EQ(0, memcmp(l->m.alias, l->src, 3 * l->m.page));
}

/*
 * A larger folio than requested is wrong for a fill of a page, but may be right
 * for a fault.
 */
TEST_F(hostile, too_large)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	ASSERT_EQ(0, announce("handed out too large folio"));
	ASSERT_EQ(0, behave(l, "large"));
	EXPECT_OP(FAILED(-EIO), l->uffd, COPY, page_at(l, 0), l->src, l->m.page,
		  0);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));
	EXPECT_EQ(0, read_byte(page_at(l, 4)));
	EXPECT_FALSE(has_msg(l));
	/* For a range that contains it, it is right. */
	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, &lab_hostile_shared, PAGES));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, behave(l, "large"));
	EXPECT_OP(DONE, l->uffd, ZEROPAGE, page_at(l, 0), NULL, 4 * l->m.page,
		  0);
	EXPECT_TRUE(lab_all(l->m.area, 4 * l->m.page, 0));
}

/* The core does not read the source beyond the request, either. */
TEST_F(hostile, too_large_to_be_filled)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, announce("userfaultfd_fill_folio"));
	ASSERT_EQ(0, behave(l, "large filled"));
	EXPECT_BAD(-EINVAL, l, COPY, 0);
	EXPECT_BAD(-EINVAL, l, ZEROPAGE, 0);
}

TEST_F(hostile, cannot_look)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	ASSERT_EQ(0, announce("returned -512"));
	ASSERT_EQ(0, behave(l, "cannot look"));
	EXPECT_NO_PAGE(l, 0);
	EXPECT_NO_PAGE(l, 1);
}

/* An unforeseen errno reaches user space, without a warning. */
TEST_F(hostile, errno_of_its_own)
{
	struct lab *l = &self->l;
	char value = 0;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR, NULL));
	ASSERT_EQ(0, behave(l, "unable"));
	EXPECT_EQ(-EOPNOTSUPP, lab_copy(l->uffd, page_at(l, 0), l->src,
					l->m.page, 0, NULL));
	EXPECT_EQ(-EOPNOTSUPP, lab_copy(l->uffd, page_at(l, 0), l->src,
					l->m.len, 0, NULL));
	EXPECT_EQ(-EOPNOTSUPP, lab_zeropage(l->uffd, page_at(l, 0), l->m.page,
					    0, NULL));
	EXPECT_EQ(-EOPNOTSUPP, lab_continue(l->uffd, page_at(l, 0), l->m.len, 0,
					    NULL));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 0), false, &value, NULL));
}

/* A type that claims impossible support cannot be registered. */
TEST_F(hostile, claims_more)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, announce("claims modes"));
	ASSERT_EQ(0, behave(l, "claims more"));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
					LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
					LAB_WP, NULL));
}

/* Small folios for a large granule: the core has no entries for that. */
TEST_F(hostile, too_small)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, announce("claims modes"));
	ASSERT_EQ(0, behave(l, "claims huge"));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
					LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
					LAB_MISSING, NULL));
}

/* The ready-made handler checks the mapping that it is used for. */
TEST_F(hostile, reclaimable)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, announce("cannot be served as page cache: its folios may be reclaimed"));
	ASSERT_EQ(0, behave(l, "reclaimable"));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
					LAB_MISSING, NULL));
	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, &lab_hostile_shared, PAGES));
}

/*
 * A page allocated beyond the new end of the file must be removed: here it
 * stays.
 */
TEST_F(hostile, cannot_undo)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, announce("cannot undo"));
	ASSERT_EQ(0, behave(l, "cannot undo"));
	EXPECT_BAD(-EFAULT, l, COPY, 0);
}

/*
 * A handler that reads beyond the page that the core fetched would make it
 * fetch forever. So the next request is for that page only.
 */
TEST_F(hostile, endless_retry)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, announce("userfaultfd_fill_folio"));
	ASSERT_EQ(0, behave(l, "again"));
	ASSERT_EQ(0, madvise(l->src, l->m.len, MADV_DONTNEED));
	EXPECT_OP(FAILED(-EINVAL), l->uffd, COPY, page_at(l, 0), l->src,
		  2 * l->m.page, 0);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));
	lab_fill(l->src, l->m.len, 1);
}

/* A handler may sleep. That delays users of the same mapping, and no others. */

struct slow {
	struct lab *l;
	int ret;
};

static void *slow_copy(void *arg)
{
	struct slow *s = arg;

	s->ret = lab_copy(s->l->uffd, page_at(s->l, 0), s->l->src,
			  s->l->m.page, 0, NULL);
	return NULL;
}

/* Another process, which uses its memory for @ms and then exits. */
static pid_t start_neighbor(unsigned int ms)
{
	__u64 end = lab_now_ms() + ms;
	pid_t pid = fork();
	char *p;

	if (pid)
		return pid;
	while (lab_now_ms() < end) {
		p = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(1);
		p[0] = 1;
		munmap(p, LAB_PAGE);
		lab_sleep_ms(1);
	}
	_exit(0);
}

TEST_F(hostile, sleeps)
{
	static struct slow s;
	pthread_t thread;

	s.l = &self->l;
	ASSERT_EQ(0, lab_register(s.l->uffd, s.l->m.area, s.l->m.len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, behave(s.l, "sleeps"));
	ASSERT_EQ(0, pthread_create(&thread, NULL, slow_copy, &s));
	ASSERT_EQ(0, lab_join(thread, LAB_DEADLINE_MS));
	EXPECT_EQ(0, s.ret);
	EXPECT_TRUE(same_at(s.l, page_at(s.l, 0), 0));
}

TEST_F_TIMEOUT(hostile, takes_a_minute, 120)
{
	static struct slow s;
	__u64 begin = lab_now_ms();
	pthread_t thread;
	pid_t neighbor;
	int i, status;

	s.l = &self->l;
	ASSERT_EQ(0, lab_register(s.l->uffd, s.l->m.area, s.l->m.len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, behave(s.l, "minute"));
	neighbor = start_neighbor(3000);
	ASSERT_LE(0, neighbor);
	ASSERT_EQ(0, pthread_create(&thread, NULL, slow_copy, &s));
	/* The file can still be used, through another mapping. */
	for (i = 0; i < 10; i++) {
		alias_at(s.l, 1 + i % 4)[0] = i;
		lab_sleep_ms(100);
	}
	ASSERT_EQ(neighbor, waitpid(neighbor, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_GT(30000ULL, lab_now_ms() - begin);

	EXPECT_EQ(ETIMEDOUT, lab_join(thread, 100));
	ASSERT_EQ(0, lab_join(thread, 60000 + LAB_DEADLINE_MS));
	/* About a minute, by the emulated clock of the VM */
	EXPECT_LE(50000ULL, lab_now_ms() - begin);
	EXPECT_EQ(0, s.ret);
	EXPECT_TRUE(same_at(s.l, page_at(s.l, 0), 0));
}

TEST_HARNESS_MAIN
