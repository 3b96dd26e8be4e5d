// SPDX-License-Identifier: GPL-2.0
/*
 * Races of userfaultfd on the memory of a running guest: two vCPUs and this
 * process touch a guest_memfd while it is filled, written, punched, protected
 * and unmapped. ../mm/uffd/races.h describes how a race is judged.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd.h"
#include "../mm/uffd/race-pages.h"

/* Two vCPUs, and this process */
#define TOUCHERS	(NR_VCPUS + 1)

/* Whether the guest's slot is bound to the file, so that it exits at holes */
static bool bound;

/* Waits for the handler like a process: by touching the page. */
static bool stopped_at_hole(const struct kvm_run *run)
{
	if (!bound || run->exit_reason != KVM_EXIT_MEMORY_FAULT)
		return false;
	(void)word(mem.area, (run->memory_fault.gpa - GMEM_GPA) / PAGE, 0);
	ADD(STOPPED);
	return true;
}

/*
 * One run of a vCPU over some pages. A thread cannot fail a test of the
 * harness, so it fails the race.
 */
static struct order *run_order(unsigned int nr, enum guest_op op,
			       const size_t *pages, unsigned int n)
{
	struct order *o = order_of(nr);
	int err;

	o->op = op;
	o->nr = n;
	for (unsigned int i = 0; i < n; i++)
		o->page[i] = pages[i];
	do {
		err = guest_run(nr);
	} while (err == EFAULT && stopped_at_hole(vcpus[nr]->run));
	if (err)
		wrong("vCPU %u: errno %d", nr, err);
	return o;
}

/* Whether @v is one of the two, or partly written; write() copies bytes. */
static bool either(__u64 v, __u64 a, __u64 b)
{
	for (; v != a && v != b; v >>= 8, a >>= 8, b >>= 8) {
		__u8 byte = v;

		if (byte != (__u8)a && byte != (__u8)b)
			return false;
	}
	return true;
}

#define MAKE_GUEST(pages, features, modes) do {				\
	guest_make(VM_TYPE_DEFAULT, NR_VCPUS, pages);			\
	MAKE(&lab_guest_memfd, pages, features, modes);			\
	ASSERT_EQ(0, guest_plug(mem.area, mem.len,			\
				bound ? KVM_MEM_GUEST_MEMFD : 0,	\
				mem.fd));				\
} while (0)

/*
 * 1. A guest runs while its memory is populated
 *
 * Each page is touched once. Its mark is BEGUN before it is written and DONE
 * after, so that a touch that began after DONE saw a present page, and one that
 * was over before BEGUN saw a hole; in between both answers are right. So each
 * fault is known in advance, and there must be no second and no additional one.
 */

enum { BEGUN = 1, DONE = 2 };

static void populate_saw(size_t page, __u64 first, __u64 last,
			 unsigned char before, unsigned char after)
{
	struct page_log *l = &page_log[page];
	__u64 done = stamp(page, POPULATED), made = done;

	l->was_done = before == DONE;
	l->was_begun = after != 0;
	if (!l->was_done)
		made = missing_armed ? stamp(page, SERVED) : ZERO;
	if (!either(first, made, done) || !either(last, made, done))
		wrong("page %zu holds %llx ... %llx, mark %d then %d", page,
		      first, last, before, after);
	ADD(TOUCHED);
}

static void populate_touch(unsigned int nr)
{
	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		size_t pages[BLOCK], mask = lab_word(round_nr, start) % BLOCK;
		unsigned int n = 0;
		struct order *o;

		for (size_t k = 0; k < BLOCK; k++) {
			size_t page = start + (k ^ mask);

			if (page % TOUCHERS == nr)
				pages[n++] = page;
		}
		meet(TOUCHERS + 1);
		if (nr < NR_VCPUS) {
			o = run_order(nr, GUEST_READ, pages, n);
			for (unsigned int i = 0; i < n; i++)
				populate_saw(pages[i], o->first[i], o->last[i],
					     o->before[i], o->after[i]);
			continue;
		}
		for (unsigned int i = 0; i < n; i++) {
			__u8 *mark = &marks()[pages[i]];
			unsigned char before = READ_ONCE(*mark);
			__u64 first = word(mem.area, pages[i], 0);
			__u64 last = word(mem.area, pages[i], WORDS - 1);

			populate_saw(pages[i], first, last, before,
				     READ_ONCE(*mark));
			dither();
		}
	}
}

/* In turn before the touching threads, behind them, and at the same time */
static void populate_make(unsigned int nr)
{
	(void)nr;
	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		size_t mask = lab_word(round_nr, start) % BLOCK;
		unsigned int turn = start / BLOCK % 3;

		meet(TOUCHERS + 1);
		for (size_t k = 0; k < BLOCK; k++) {
			size_t page = start + (k ^ mask);
			__u8 *mark = &marks()[page];

			if (turn)
				relax(turn == 1 ? 7 : k);
			WRITE_ONCE(*mark, BEGUN);
			write_page(page, POPULATED);
			WRITE_ONCE(*mark, DONE);
			ADD(POPULATED);
		}
	}
}

static void populate_judge(size_t page)
{
	populate_judge_faults(page);
	if (!words_are(mem.area, page, 0, stamp(page, POPULATED)) ||
	    !words_are(mem.alias, page, 0, stamp(page, POPULATED)))
		wrong("page %zu ends as %llx ... %llx", page,
		      word(mem.area, page, 0), word(mem.area, page, WORDS - 1));
}

RACE(populate)

FIXTURE_VARIANT(populate)
{
	__u64 modes;
};

FIXTURE_VARIANT_ADD(populate, minor) {
	.modes = LAB_MINOR,
};

FIXTURE_VARIANT_ADD(populate, missing_minor) {
	.modes = LAB_MISSING | LAB_MINOR,
};

TEST_F_TIMEOUT(populate, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE_GUEST(GUEST_PAGES, 0, variant->modes);
	missing_armed = variant->modes & LAB_MISSING;
	while (more(populate_ops(), wanted)) {
		round_nr++;
		forget_log();
		memset(marks(), 0, GUEST_PAGES);
		handler_start(populate_serve);
		employ(populate_touch, TOUCHERS);
		employ(populate_make, 1);
		join_workers();
		handler_end();
		for (size_t i = 0; i < mem.pages; i++)
			populate_judge(i);
		wipe();
	}
	ASSERT_TRUE(race_end("populate", populate_ops(), wanted));
	EXPECT_EQ(COUNT(TOUCHED), COUNT(WAS_PRESENT) + COUNT(WAS_HOLE) +
				  COUNT(MET));
}

/*
 * 2. A guest is restored on demand
 *
 * Faults are served as they come, while the rest is filled in the background,
 * in runs. The second fill of a page fails, so each page is filled exactly once
 * by COPY and mapped exactly once by CONTINUE, and every access sees the right
 * content.
 */

static bool by_continue;
static atomic_uchar filled[GUEST_PAGES];

/* Each thread touches all pages in an order of its own. */
static size_t restore_page(unsigned int nr, size_t k)
{
	return (k * (2 * nr + 3) * 37 + lab_word(round_nr, nr)) % mem.pages;
}

static void restore_touch(unsigned int nr)
{
	size_t pages[ORDER_MAX];
	struct order *o;

	meet(TOUCHERS + 1);
	for (size_t k = 0; k < mem.pages; k += ORDER_MAX) {
		for (size_t i = 0; i < ORDER_MAX; i++)
			pages[i] = restore_page(nr, k + i);
		if (nr < NR_VCPUS) {
			o = run_order(nr, GUEST_READ, pages, ORDER_MAX);
			for (size_t i = 0; i < ORDER_MAX; i++)
				if (o->first[i] != stamp(pages[i], SERVED) ||
				    o->last[i] != stamp(pages[i], SERVED))
					wrong("a guest sees %llx ... %llx in page %zu",
					      o->first[i], o->last[i], pages[i]);
			ADD_N(TOUCHED, ORDER_MAX);
			continue;
		}
		for (size_t i = 0; i < ORDER_MAX; i++)
			check_hot(pages[i], stamp(pages[i], SERVED),
				  stamp(pages[i], SERVED));
	}
}

static int restore_fill(size_t page, size_t n, __s64 *done)
{
	static __thread __u64 src[8 * WORDS];

	stamp_pages(src, page, n, SERVED);
	if (!by_continue)
		return lab_copy(uffd, at(page), src, n * PAGE, 0, done);
	/* Writing it twice changes nothing. */
	if (pwrite(mem.fd, src, n * PAGE, page * PAGE) != (ssize_t)(n * PAGE))
		wrong("pwrite of %zu pages at %zu: errno %d", n, page, errno);
	return lab_continue(uffd, at(page), n * PAGE, 0, done);
}

static void restore_count(size_t page, __s64 done)
{
	for (; done > 0; done -= PAGE) {
		filled[page++]++;
		ADD(FILLED);
	}
}

static void restore_rest(unsigned int nr)
{
	size_t page = 0, n;
	__s64 done;
	int err;

	(void)nr;
	meet(TOUCHERS + 1);
	while (page < mem.pages) {
		n = 1 + rnd() % 8;
		if (n > mem.pages - page)
			n = mem.pages - page;
		/*
		 * Slower than the touching threads, or no fault would be left.
		 */
		relax(7);
		err = restore_fill(page, n, &done);
		restore_count(page, done);
		if (done > 0) {
			page += done / PAGE;
			continue;
		}
		if (err != -EEXIST || done != err)
			wrong("fill of %zu pages at %zu: errno %d, field %lld",
			      n, page, -err, done);
		ADD(EEXIST);
		/* A thread may wait for a page that is present. */
		wake_page(page++);
	}
}

static void restore_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	__s64 done;
	int err;

	if (is_minor(msg)) {
		ADD(MINOR);
		if (!by_continue)
			wrong("minor fault on page %zu", page);
	} else {
		ADD(MISSING);
	}
	err = restore_fill(page, 1, &done);
	restore_count(page, done);
	settle(page, err, ERRNOS(EEXIST));
}

static unsigned long restore_ops(void)
{
	unsigned long n = COUNT(TOUCHED);

	n = share(n, 64, COUNT(MISSING) + COUNT(MINOR));
	return share(n, OPERATIONS, COUNT(EEXIST));
}

RACE(restore)

FIXTURE_VARIANT(restore)
{
	bool bound;
	bool by_continue;
	__u64 modes;
};

FIXTURE_VARIANT_ADD(restore, copy) {
	.by_continue = false,
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(restore, bound_copy) {
	.bound = true,
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(restore, pwrite_and_continue) {
	.by_continue = true,
	.modes = LAB_MISSING | LAB_MINOR,
};

TEST_F_TIMEOUT(restore, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	bound = variant->bound;
	MAKE_GUEST(GUEST_PAGES, 0, variant->modes);
	by_continue = variant->by_continue;
	while (more(restore_ops(), wanted)) {
		round_nr++;
		memset((void *)filled, 0, sizeof(filled));
		handler_start(restore_serve);
		employ(restore_touch, TOUCHERS);
		employ(restore_rest, 1);
		join_workers();
		handler_end();
		for (size_t i = 0; i < mem.pages; i++) {
			if (filled[i] != 1)
				wrong("page %zu was filled %d times", i,
				      filled[i]);
			if (!words_are(mem.alias, i, 0, stamp(i, SERVED)))
				wrong("page %zu ends as %llx", i,
				      word(mem.alias, i, 0));
		}
		wipe();
	}
	ASSERT_TRUE(race_end("restore", restore_ops(), wanted));
	EXPECT_EQ(bound, COUNT(STOPPED) != 0);
}

/*
 * 3. Holes are punched while the guest runs
 *
 * MISSING: every page that is read was served, also if holes are punched.
 * MINOR: pages are written and found, or allocated by the kernel.
 */

static void punch_saw(size_t page, __u64 first, __u64 last)
{
	__u64 v = stamp(page, SERVED), made = minor_armed ? ZERO : v;

	if (!either(first, v, made) || !either(last, v, made))
		wrong("page %zu holds %llx ... %llx", page, first, last);
	ADD(TOUCHED);
}

static void punch_touch(unsigned int nr)
{
	size_t pages[8];
	struct order *o;

	while (!stop) {
		unsigned int n = 1 + rnd() % 8;

		for (unsigned int i = 0; i < n; i++)
			pages[i] = traced_page(TOUCH_ME);
		if (nr < NR_VCPUS) {
			o = run_order(nr, GUEST_READ, pages, n);
			for (unsigned int i = 0; i < n; i++)
				punch_saw(pages[i], o->first[i], o->last[i]);
			continue;
		}
		for (unsigned int i = 0; i < n; i++)
			punch_saw(pages[i], word(mem.area, pages[i], 0),
				  word(mem.area, pages[i], WORDS - 1));
	}
}

static void punch_populate(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = traced_page(POPULATE_ME);

		/* Before or after the punch, so that the touch races with it */
		if (rnd() % 2)
			trace[page] = TOUCH_ME;
		write_page(page, SERVED);
		trace[page] = TOUCH_ME;
		ADD(POPULATED);
	}
}

static void punch_punch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t n, page;

		page = untraced_run(&n, minor_armed && rnd() % 2 ? POPULATE_ME :
								   TOUCH_ME);
		switch (rnd() % 3) {
		case 0:
			punch(page, n);
			break;
		case 1:
			if (madvise(at(page), n * PAGE, MADV_REMOVE))
				wrong("MADV_REMOVE: errno %d", errno);
			break;
		default:
			/* and allocated again at once, without content */
			punch(page, n);
			if (allocate(mem.fd, page, n))
				wrong("fallocate: errno %d", errno);
		}
		ADD(PUNCHED);
		dither();
	}
}

static void punch_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	if (is_minor(msg)) {
		ADD(MINOR);
		if (!minor_armed)
			wrong("minor fault on page %zu", page);
		/* EFAULT: it is a hole meanwhile */
		settle(page, lab_continue(uffd, at(page), PAGE, 0, NULL),
		       ERRNOS(EEXIST, EFAULT));
	} else {
		ADD(MISSING);
		if (!missing_armed)
			wrong("missing fault on page %zu", page);
		settle(page, copy_page(page, SERVED), ERRNOS(EEXIST));
	}
}

static unsigned long punch_ops(void)
{
	unsigned long n = faults() + COUNT(PUNCHED);

	return share(share(n, 8, faults()), 8, COUNT(PUNCHED));
}

RACE(punch)

FIXTURE_VARIANT(punch)
{
	bool bound;
	__u64 modes;
};

FIXTURE_VARIANT_ADD(punch, bound_missing) {
	.bound = true,
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(punch, missing) {
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(punch, minor) {
	.modes = LAB_MINOR,
};

FIXTURE_VARIANT_ADD(punch, missing_minor) {
	.modes = LAB_MISSING | LAB_MINOR,
};

TEST_F_TIMEOUT(punch, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	bound = variant->bound;
	MAKE_GUEST(GUEST_PAGES, 0, variant->modes);
	missing_armed = variant->modes & LAB_MISSING;
	minor_armed = variant->modes & LAB_MINOR;
	handler_start(punch_serve);
	employ(punch_touch, TOUCHERS);
	employ(punch_punch, 1);
	employ(punch_populate, minor_armed);
	run_until(punch_ops, wanted);
	ASSERT_TRUE(race_end("punch", punch_ops(), wanted));
	EXPECT_NE(0UL, COUNT(FILLED));
	EXPECT_EQ(bound, COUNT(STOPPED) != 0);
}

/*
 * 4. Memory of a running guest is write-protected
 *
 * In each round all pages are protected, after the guest has used them. Then
 * some pages are written, each by one thread, while others zap them. Exactly
 * the written pages are reported, exactly once.
 */

static void protect_write(unsigned int nr)
{
	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		size_t wanted[BLOCK], others[BLOCK];
		unsigned int n = 0, m = 0;
		struct order *o;

		for (size_t page = start; page < start + BLOCK; page++) {
			if (page % TOUCHERS != nr)
				continue;
			if (to_write(page))
				wanted[n++] = page;
			else
				others[m++] = page;
		}
		if (nr == NR_VCPUS) {
			while (n)
				write_once(wanted[--n]);
			while (m)
				write_once(others[--m]);
			continue;
		}
		run_order(nr, GUEST_ADD, wanted, n);
		for (unsigned int i = 0; i < n; i++)
			written[wanted[i]]++;
		ADD_N(WRITES, n);
		o = run_order(nr, GUEST_READ, others, m);
		for (unsigned int i = 0; i < m; i++)
			if (o->first[i] != written[others[i]])
				wrong("a guest sees %llx in page %zu, not %llx",
				      o->first[i], others[i],
				      written[others[i]]);
	}
}

static void protect_zap(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = rnd() % mem.pages, n = 1 + rnd() % 8;

		if (n > mem.pages - page)
			n = mem.pages - page;
		if (madvise(at(page), n * PAGE, MADV_DONTNEED))
			wrong("MADV_DONTNEED: errno %d", errno);
		ADD(ZAPPED);
		relax(page);
	}
}

static unsigned long protect_ops(void)
{
	return share(COUNT(WRITES), 16, COUNT(ZAPPED));
}

RACE(protect)

TEST_F_TIMEOUT(protect, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE_GUEST(GUEST_PAGES, 0, LAB_WP);
	while (more(protect_ops(), wanted)) {
		ASSERT_EQ(0, protect_round());
		stop = false;
		handler_start(unprotect_serve);
		employ(protect_zap, 1);
		employ(protect_write, TOUCHERS);
		join_last(TOUCHERS);
		stop = true;
		join_workers();
		handler_end();
		for (size_t i = 0; i < mem.pages; i++)
			judge_write(i, lab_pm(at(i), LAB_PM_UFFD_WP));
	}
	ASSERT_TRUE(race_end("protect", protect_ops(), wanted));
	EXPECT_EQ(COUNT(WRITES), COUNT(WP));
}

/*
 * 5. Memory fails while holes are punched
 *
 * Memory failure runs with the page locked, and a hole punch locks the pages of
 * a range that it holds: both must finish, repeatedly. (A page that was
 * declared bad stays lost to the VM, so there are few of them.)
 */

static void failure_told(int sig)
{
	(void)sig;
}

static void failure_poison(unsigned int nr)
{
	static __u64 buf[WORDS];

	(void)nr;
	for (size_t page = 0; !stop; page = (page + 1) % WINDOW) {
		char *alias = mem.alias + page * PAGE;

		relax(page);
		/* This remains of a page that was bad. */
		if (madvise(alias, PAGE, MADV_DONTNEED))
			wrong("MADV_DONTNEED: errno %d", errno);
		if (pwrite(mem.fd, buf, PAGE, page * PAGE) != PAGE) {
			if (errno != EIO)
				wrong("pwrite of page %zu: errno %d", page,
				      errno);
			continue;
		}
		/*
		 * Busy: the page was removed before it could be declared bad.
		 */
		if (!madvise(alias, PAGE, MADV_HWPOISON))
			ADD(POISONED);
		else if (errno != EBUSY)
			wrong("MADV_HWPOISON of page %zu: errno %d", page,
			      errno);
	}
}

static void failure_punch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = rnd() % WINDOW;

		punch(page, 1 + rnd() % (WINDOW - page));
		ADD(PUNCHED);
		dither();
		if (rnd() % 2)
			relax(7);
	}
}

static unsigned long failure_ops(void)
{
	return share(COUNT(PUNCHED), 5, COUNT(POISONED));
}

RACE(failure)

TEST_F_TIMEOUT(failure, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS / 10);

	MAKE_GUEST(GUEST_PAGES, 0, LAB_MINOR);
	signal(SIGBUS, failure_told);
	handler_start(punch_serve);
	employ(failure_poison, 1);
	employ(failure_punch, 1);
	run_until(failure_ops, wanted);
	ASSERT_TRUE(race_end("failure", failure_ops(), wanted));
	/* Good pages are still served. */
	punch(0, mem.pages);
	write_page(1, SERVED);
	ASSERT_EQ(0, lab_continue(uffd, at(1), PAGE, 0, NULL));
	EXPECT_TRUE(words_are(mem.area, 1, 0, stamp(1, SERVED)));
}

TEST_HARNESS_MAIN
