// SPDX-License-Identifier: GPL-2.0
/*
 * Races of userfaultfd over huge pages of hugetlb: faults and fills against
 * each other, against zaps, hole punch and unmapping, also in page tables that
 * two processes share. uffd/races.h describes how a race is judged.
 *
 * Filling or allocating a huge page takes milliseconds under emulation. So most
 * operations are those that copy nothing: CONTINUE, POISON, write protection
 * and zaps. After every race the pool of huge pages is the same as before.
 */
#include "../kselftest_harness.h"

#define PAGE	LAB_HUGE
#include "uffd/race-pages.h"

/* The first of the HOT pages that are worked on */
#define HOT	16
static size_t hot;

static size_t some_page(void)
{
	return hot + rnd() % HOT;
}

static size_t some_run(size_t *n)
{
	size_t page = rnd() % HOT;

	*n = 1 + rnd() % 4;
	if (*n > HOT - page)
		*n = HOT - page;
	return hot + page;
}

/* The content of a page is in its first and its last word. */
static void mark(void *base, size_t page, unsigned int source)
{
	__u64 *w = (__u64 *)base + page * WORDS;

	__atomic_store_n(w, stamp(page, source), __ATOMIC_RELAXED);
	__atomic_store_n(w + WORDS - 1, stamp(page, source), __ATOMIC_RELAXED);
}

static int copy_marked(size_t page)
{
	static __thread char *src;

	if (!src) {
		src = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (src == MAP_FAILED) {
			wrong("no memory");
			_exit(KSFT_FAIL);
		}
	}
	mark(src - page * PAGE, page, SERVED);
	return lab_copy(uffd, at(page), src, PAGE, 0, NULL);
}

static void zap(size_t page, size_t n)
{
	if (madvise(at(page), n * PAGE, MADV_DONTNEED))
		wrong("MADV_DONTNEED: errno %d", errno);
	ADD(ZAPPED);
}

static struct lab_pool pool_before;

static bool pool_begin(void)
{
	pool_before = lab_pool(LAB_HUGE, "");
	return pool_before.total > 0;
}

/* Frees all memory: then the pool must have all its pages. */
static bool pool_end(void)
{
	struct lab_pool p;

	race_drop();
	uffd = -1;
	p = lab_pool(LAB_HUGE, "");
	printf("# pool: %ld of %ld free, %ld reserved, %ld surplus; before: %ld of %ld, %ld, %ld\n",
	       p.free, p.total, p.reserved, p.surplus, pool_before.free,
	       pool_before.total, pool_before.reserved, pool_before.surplus);
	return !memcmp(&p, &pool_before, sizeof(p));
}

/*
 * 1. Fill against fill against fault
 *
 * All pages are in the file. Two threads touch each of them once, the handler
 * and others continue them and some are poisoned, all at the same time. The
 * first fill maps the page, and all others get an error; a poison marker may be
 * overwritten and a page never.
 */

#define TOUCHERS	2
#define FILLERS		2

static atomic_ushort continued[HOT], poisoned[HOT], reported[HOT];

static void count_fill(int err, __s64 done, size_t page, atomic_ushort *won)
{
	if (done > 0) {
		ADD_N(FILLED, done / PAGE);
		for (; done > 0; done -= PAGE)
			won[page++]++;
	} else if (err == -EEXIST) {
		ADD(EEXIST);
	} else {
		wrong("fill of page %zu: errno %d", page, -err);
	}
}

static void fill_touch(unsigned int nr)
{
	for (size_t i = 0; i < HOT; i++) {
		size_t page = i ^ (nr * 5);
		__u64 first, last;
		int sig;

		dither();
		sig = read_ends(page, &first, &last);
		ADD(TOUCHED);
		if (!sig && (first != stamp(page, POPULATED) || last != first))
			wrong("page %zu holds %llx ... %llx", page, first, last);
		if (!sig)
			continue;
		ADD(SIGBUS);
		if (sig != SIGBUS || !poisoned[page])
			wrong("page %zu: signal %d", page, sig);
	}
}

static void fill_continue(unsigned int nr)
{
	size_t page, n;
	__s64 done;
	int err;

	for (page = 0; page < HOT; page += n) {
		n = 1 + rnd() % 3;
		if (n > HOT - page)
			n = HOT - page;
		dither();
		err = lab_continue(uffd, at(page), n * PAGE, 0, &done);
		count_fill(err, done, page, continued);
		/* Past the page of another fill, which this call skips alone */
		if (done != (__s64)(n * PAGE))
			n = done > 0 ? done / PAGE : 1;
	}
	(void)nr;
}

/*
 * From the other end, or it would rarely be the first one. Marked as poisoned
 * before: the touch may be as fast.
 */
static void fill_poison(unsigned int nr)
{
	for (size_t i = rnd() % 4; i < HOT; i += 4) {
		size_t page = HOT - 1 - i;
		__s64 done;
		int err;

		poisoned[page]++;
		err = lab_poison(uffd, at(page), PAGE, 0, &done);
		if (!err)
			ADD(POISONED);
		else if (err == -EEXIST)
			ADD(EEXIST);
		else
			wrong("poison of page %zu: errno %d", page, -err);
		dither();
	}
	(void)nr;
}

static void fill_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	__s64 done;
	int err;

	ADD(MINOR);
	reported[page]++;
	if (!is_minor(msg))
		wrong("page %zu: not a minor fault", page);
	err = lab_continue(uffd, at(page), PAGE, 0, &done);
	count_fill(err, done, page, continued);
	if (err)
		wake_page(page);
}

static void fill_judge(size_t page)
{
	if (continued[page] != 1)
		wrong("page %zu was mapped %d times", page, continued[page]);
	if (reported[page] > TOUCHERS)
		wrong("page %zu was reported %d times", page, reported[page]);
	if (word(mem.area, page, 0) != stamp(page, POPULATED))
		wrong("page %zu ends as %llx", page, word(mem.area, page, 0));
}

static unsigned long fill_ops(void)
{
	unsigned long n = COUNT(FILLED) + COUNT(EEXIST) + COUNT(MINOR) +
			  COUNT(POISONED) + COUNT(ZAPPED);

	return share(share(n, 32, COUNT(MINOR)), OPERATIONS, COUNT(POISONED));
}

RACE(fill)

FIXTURE_VARIANT(fill)
{
	const struct lab_type *type;
};

FIXTURE_VARIANT_ADD(fill, shared) {
	.type = &lab_hugetlb_shared,
};

FIXTURE_VARIANT_ADD(fill, private) {
	.type = &lab_hugetlb_private,
};

TEST_F_TIMEOUT(fill, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	ASSERT_TRUE(pool_begin());
	MAKE(variant->type, HOT, 0, LAB_MINOR);
	for (size_t i = 0; i < HOT; i++)
		mark(mem.alias, i, POPULATED);
	while (more(fill_ops(), wanted)) {
		memset(continued, 0, sizeof(continued));
		memset(poisoned, 0, sizeof(poisoned));
		memset(reported, 0, sizeof(reported));
		handler_start(fill_serve);
		employ(fill_poison, 1);
		employ(fill_touch, TOUCHERS);
		employ(fill_continue, FILLERS);
		join_workers();
		handler_end();
		for (size_t i = 0; i < HOT; i++)
			fill_judge(i);
		zap(0, HOT);
	}
	ASSERT_TRUE(race_end("fill", fill_ops(), wanted));
	EXPECT_TRUE(pool_end());
}

/*
 * 2. All operations against each other
 *
 * Touches, zaps and fills of a few pages, while holes are punched into the
 * file, pages are put into it and the mapping is replaced. With MISSING alone
 * every page that is read was served.
 */

static bool unmapping;
static __u64 armed_modes;

static bool content_ok(size_t page, __u64 v)
{
	return v == stamp(page, SERVED) ||
	       (minor_armed && (v == ZERO || v == stamp(page, POPULATED)));
}

static void churn_touch(unsigned int nr)
{
	while (!stop) {
		size_t n, page = some_page();
		__u64 first, last;
		int sig = read_ends(page, &first, &last);

		if (sig == SIGBUS)
			ADD(SIGBUS);
		else if (sig == SIGSEGV && unmapping)
			ADD(SIGSEGV);
		else if (sig)
			wrong("page %zu: signal %d", page, sig);
		else if (!content_ok(page, first) || !content_ok(page, last))
			wrong("page %zu holds %llx ... %llx", page, first, last);
		else
			ADD(TOUCHED);
		/* Present pages are of no more interest: zap some. */
		if (sig == SIGSEGV) {
			sched_yield();
		} else if (rnd() % 2) {
			page = some_run(&n);
			zap(page, n);
		}
	}
	(void)nr;
}

/* Fills without a waiter; some are too early and some too late. */
static void churn_fill(unsigned int nr)
{
	for (unsigned int i = 0; !stop; i++) {
		size_t n, page = some_run(&n);
		__s64 done;
		int err;

		if (minor_armed && rnd() % 4)
			err = lab_continue(uffd, at(page), n * PAGE, 0, &done);
		else
			err = lab_poison(uffd, at(page), n * PAGE, 0, &done);
		if (done > 0)
			ADD_N(FILLED, done / PAGE);
		else if (err == -EEXIST)
			ADD(EEXIST);
		else if (err == -EFAULT && minor_armed)
			ADD(EFAULT);
		else if (err == -ENOENT && unmapping)
			ADD(ENOENT);
		else
			wrong("fill of page %zu: errno %d", page, -err);
		relax(i);
	}
	(void)nr;
}

/* Punched pages must be allocated again, which takes time. */
static void churn_punch(unsigned int nr)
{
	for (unsigned int i = 0; !stop; i++) {
		size_t n, page = some_run(&n);

		if (rnd() % 2)
			punch(page, n);
		else if (madvise(mem.alias + page * PAGE, n * PAGE,
				 MADV_REMOVE))
			wrong("MADV_REMOVE: errno %d", errno);
		ADD(PUNCHED);
		if (minor_armed && rnd() % 2) {
			mark(mem.alias, page, POPULATED);
			ADD(POPULATED);
		}
		for (unsigned int k = 0; k < 16 && !stop; k++)
			relax(7);
	}
	(void)nr;
}

/*
 * Maps the same memory again in place of the old mapping. It is not accessible
 * before it is armed.
 */
static void churn_unmap(unsigned int nr)
{
	while (!stop) {
		int flags = lab_is_shared(&mem) ? MAP_SHARED : MAP_PRIVATE;
		void *p = mmap(mem.area, mem.len, PROT_NONE, flags | MAP_FIXED |
			       MAP_NORESERVE, mem.fd, 0);
		int err;

		if (p == MAP_FAILED) {
			wrong("mmap: errno %d", errno);
			break;
		}
		err = lab_register(uffd, mem.area, mem.len, armed_modes, NULL);
		if (err)
			wrong("register: errno %d", -err);
		if (mprotect(mem.area, mem.len, PROT_READ | PROT_WRITE))
			wrong("mprotect: errno %d", errno);
		ADD(UNMAPPED);
		for (unsigned int k = 0; k < 32 && !stop; k++)
			relax(7);
	}
	(void)nr;
}

static void churn_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	const int *errnos = unmapping ?
			    ERRNOS(EEXIST, ENOENT) : ERRNOS(EEXIST);
	const int *minor_errnos = unmapping ?
				  ERRNOS(EEXIST, EFAULT, ENOENT) :
				  ERRNOS(EEXIST, EFAULT);

	if (is_minor(msg)) {
		ADD(MINOR);
		if (!minor_armed)
			wrong("minor fault on page %zu", page);
		settle(page, lab_continue(uffd, at(page), PAGE, 0, NULL),
		       minor_errnos);
		return;
	}
	ADD(MISSING);
	if (!missing_armed)
		wrong("missing fault on page %zu", page);
	if (rnd() % 16)
		settle(page, lab_poison(uffd, at(page), PAGE, 0, NULL), errnos);
	else
		settle(page, copy_marked(page), errnos);
}

static unsigned long churn_ops(void)
{
	unsigned long n = faults() + COUNT(ZAPPED) + COUNT(PUNCHED) +
			  COUNT(FILLED) + COUNT(EEXIST) + COUNT(EFAULT) +
			  COUNT(ENOENT) + COUNT(UNMAPPED);

	n = share(n, 64, faults());
	if (lab_is_shared(&mem))
		n = share(n, 512, COUNT(PUNCHED));
	return unmapping ? share(n, 512, COUNT(UNMAPPED)) : n;
}

static void churn_employ(void)
{
	handler_start(churn_serve);
	employ(churn_touch, 2);
	employ(churn_fill, 1);
	/*
	 * Linux 6.12 takes the reservations of a private mapping for the lock
	 * of a shared one, if a punch meets a fault there (trylock in
	 * hugetlb_unmap_file_folio()).
	 */
	if (lab_is_shared(&mem))
		employ(churn_punch, 1);
	if (unmapping)
		employ(churn_unmap, 1);
}

RACE(churn)

FIXTURE_VARIANT(churn)
{
	const struct lab_type *type;
	__u64 modes;
	bool unmapping;
};

#define CHURN(name, type_, modes_, unmapping_)				\
	FIXTURE_VARIANT_ADD(churn, name) {				\
		.type = &lab_hugetlb_##type_,				\
		.modes = modes_,					\
		.unmapping = unmapping_ }

CHURN(missing, shared, LAB_MISSING, false);
CHURN(missing_private, private, LAB_MISSING, false);
CHURN(minor, shared, LAB_MINOR, false);
CHURN(minor_private, private, LAB_MINOR, false);
CHURN(missing_minor_unmap, shared, LAB_MISSING | LAB_MINOR, true);

static void churn_set(__u64 modes, bool unmaps)
{
	armed_modes = modes;
	missing_armed = modes & LAB_MISSING;
	minor_armed = modes & LAB_MINOR;
	unmapping = unmaps;
}

TEST_F_TIMEOUT(churn, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	ASSERT_TRUE(pool_begin());
	MAKE(variant->type, HOT, 0, variant->modes);
	churn_set(variant->modes, variant->unmapping);
	for (size_t i = 0; i < HOT && minor_armed; i++)
		mark(mem.alias, i, POPULATED);
	churn_employ();
	run_until(churn_ops, wanted);
	ASSERT_TRUE(race_end("churn", churn_ops(), wanted));
	EXPECT_NE(0UL, COUNT(FILLED));
	EXPECT_TRUE(pool_end());
}

/*
 * 3. Page tables that two processes share
 *
 * If both processes map and register 1 GiB of a file in the same way, the
 * kernel shares one page table: a fill, poison or zap by one of them applies to
 * the other. A process that replaces its mapping, and registers it again,
 * leaves the table and joins it again.
 *
 * This needs a lock per table, which a kernel for less than four processors
 * does not have (SPLIT_PTE_PTLOCKS).
 */

#define TABLE	(LAB_GIGANTIC / PAGE)

/* State that both processes share */
struct both {
	atomic_bool filled;
	atomic_bool looked;
	atomic_bool shared;
	atomic_bool over;
	atomic_ulong done;
};

static struct both *both;

static bool tables_are_shared(void)
{
	return lab_number("/sys/devices/system/cpu/kernel_max", "") >= 3;
}

/* The other process fills one page and finds another one. */
static void check_shared(void)
{
	while (!both->filled)
		relax(7);
	if (copy_marked(hot + 1))
		wrong("the second process cannot fill");
	both->shared = lab_pm(at(hot), LAB_PM_PRESENT);
	both->looked = true;
}

static void other_process(void)
{
	/* Threads and registrations are not inherited. */
	close(uffd);
	race_begin(PAGE);
	uffd = lab_uffd_open(0);
	if (uffd < 0 || lab_register(uffd, mem.area, mem.len, LAB_MISSING, NULL))
		wrong("the second process cannot register");
	check_shared();
	churn_employ();
	while (!both->over && !wrongs) {
		both->done = churn_ops();
		lab_sleep_ms(20);
	}
	stop = true;
	join_workers();
	handler_end();
	_exit(race_end("the other process", churn_ops(), 1) ? 0 : KSFT_FAIL);
}

static unsigned long both_ops(void)
{
	return share(share(churn_ops() + both->done, 8, churn_ops()), 8,
		     both->done);
}

RACE(shared_table)

FIXTURE_VARIANT(shared_table)
{
	bool unmapping;
};

FIXTURE_VARIANT_ADD(shared_table, stays) {
	.unmapping = false,
};

FIXTURE_VARIANT_ADD(shared_table, unmap) {
	.unmapping = true,
};

TEST_F_TIMEOUT(shared_table, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);
	int status = -1;
	pid_t pid;

	if (!tables_are_shared())
		SKIP(return, "a kernel for less than four processors");
	ASSERT_TRUE(pool_begin());
	both = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, both);
	MAKE(&lab_noreserve_shared, 2 * TABLE, 0, LAB_MISSING);
	/* The first table that this mapping covers completely */
	hot = (-(uintptr_t)mem.area & (LAB_GIGANTIC - 1)) / PAGE;
	churn_set(LAB_MISSING, variant->unmapping);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		other_process();
	ASSERT_EQ(0, copy_marked(hot));
	both->filled = true;
	/* Before the page can be zapped */
	for (int i = 0; i < 1000 && !both->looked; i++)
		lab_sleep_ms(20);
	ASSERT_TRUE(both->looked);
	churn_employ();
	run_until(both_ops, wanted);
	both->over = true;
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(both->shared);
	ASSERT_TRUE(race_end("shared_table", both_ops(), wanted));
	EXPECT_TRUE(pool_end());
}

/*
 * 4. Write protection against zaps, which keep it. A quarter of the operations:
 * each flushes the TLBs of all processors, which takes milliseconds.
 */

#define WP_PAGES	64

static void wp_write(unsigned int nr)
{
	for (size_t page = nr; page < mem.pages; page += 2) {
		write_once(page);
		dither();
	}
}

static void wp_zap(unsigned int nr)
{
	for (unsigned int i = 0; i < WP_PAGES; i++) {
		zap(rnd() % WP_PAGES, 1);
		relax(i);
	}
	(void)nr;
}

static unsigned long wp_ops(void)
{
	return share(COUNT(WP) + COUNT(ZAPPED), 4, COUNT(WP));
}

RACE(wp)

TEST_F_TIMEOUT(wp, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS / 4);

	ASSERT_TRUE(pool_begin());
	MAKE(&lab_hugetlb_shared, WP_PAGES, UFFD_FEATURE_WP_HUGETLBFS_SHMEM, LAB_WP);
	for (size_t i = 0; i < mem.pages; i++)
		*(__u64 *)at(i) = 0;
	while (more(wp_ops(), wanted)) {
		ASSERT_EQ(0, protect_round());
		handler_start(unprotect_serve);
		employ(wp_write, 2);
		employ(wp_zap, 1);
		join_workers();
		handler_end();
		for (size_t i = 0; i < mem.pages; i++)
			judge_write(i, lab_pm(at(i), LAB_PM_UFFD_WP));
	}
	ASSERT_TRUE(race_end("wp", wp_ops(), wanted));
	EXPECT_EQ(COUNT(WRITES), COUNT(WP));
	EXPECT_TRUE(pool_end());
}

TEST_HARNESS_MAIN
