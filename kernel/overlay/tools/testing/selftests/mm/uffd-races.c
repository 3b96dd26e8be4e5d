// SPDX-License-Identifier: GPL-2.0
/*
 * Races of userfaultfd over the content of a file: a fault or a fill against
 * populate, other fills, hole punch, truncate and swap. uffd/races.h describes
 * how a race is judged.
 */
#include "../kselftest_harness.h"
#include "uffd/race-pages.h"

/*
 * 1. Populate against faults
 *
 * A populator writes pages through a second mapping: by a store, by write() and
 * by fallocate(). Other threads touch them for the first time in the armed one.
 * Each page has two marks: begun is set before the populator starts on it, done
 * after. A touch that began after done saw a present page, one that was over
 * before begun saw a hole; in between both answers are right.
 */

enum { BY_STORE, BY_WRITE, BY_FALLOCATE, WAYS };
#define TOUCHERS	3

static unsigned int way(size_t page)
{
	return (page * 7 + round_nr) % WAYS;
}

/*
 * write() copies bytes from the front: a concurrent reader may see a word whose
 * front is new and whose end is old.
 */
static bool torn(__u64 v, __u64 before, __u64 after)
{
	for (unsigned int bits = 8; bits < 64; bits += 8) {
		__u64 front = (1ULL << bits) - 1;

		if (v == ((after & front) | (before & ~front)))
			return true;
	}
	return false;
}

/* Valid words while both sides are at work, and after done */
static bool populated_word_ok(size_t page, __u64 v, bool done)
{
	bool rewritten = way(page) != BY_FALLOCATE;

	if (v == stamp(page, POPULATED))
		return rewritten;
	if (done && rewritten)
		return false;
	if (way(page) == BY_WRITE &&
	    torn(v, missing_armed ? stamp(page, SERVED) : ZERO,
		 stamp(page, POPULATED)))
		return true;
	return v == ZERO || (missing_armed && v == stamp(page, SERVED));
}

/*
 * Both sides process a block in the same order. In turn one of them is slower,
 * or they wait a little for each other at every page, so that either one comes
 * first at times, and at times they coincide.
 */
static size_t block_order(size_t start)
{
	return lab_word(round_nr, start) % BLOCK;
}

enum { TOUCHERS_LAG, POPULATOR_LAGS, TOGETHER };

static void lag(size_t page, unsigned int turn, atomic_uchar *mine,
		atomic_uchar *others)
{
	unsigned int now = page / BLOCK % 3;
	unsigned int n = now == turn ? rnd() % 16 : 0;

	*mine = true;
	if (now == TOGETHER) {
		for (n = 0; n < 1024 && !*others; n++)
			;
		return;
	}
	do {
		dither();
	} while (n--);
}

static void populate_touch(unsigned int nr)
{
	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		size_t mask = block_order(start);

		meet(TOUCHERS + 1);
		for (size_t k = 0; k < BLOCK; k++) {
			size_t page = start + (k ^ mask);
			struct page_log *l = &page_log[page];
			__u64 v;

			if (page % TOUCHERS != nr)
				continue;
			lag(page, TOUCHERS_LAG, &l->toucher, &l->populator);
			l->was_done = l->done;
			v = word(mem.area, page, 0);
			l->was_begun = l->begun;
			if (!populated_word_ok(page, v, l->was_done))
				wrong("page %zu holds %llx, was_done %d was_begun %d",
				      page, v, l->was_done, l->was_begun);
			ADD(TOUCHED);
		}
	}
}

static void populate_make(unsigned int nr)
{
	(void)nr;
	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		size_t mask = block_order(start);

		meet(TOUCHERS + 1);
		for (size_t k = 0; k < BLOCK; k++) {
			size_t page = start + (k ^ mask);
			struct page_log *l = &page_log[page];

			lag(page, POPULATOR_LAGS, &l->populator, &l->toucher);
			l->begun = true;
			switch (way(page)) {
			case BY_STORE:
				__atomic_store_n((__u64 *)mem.alias + page * WORDS,
						 stamp(page, POPULATED),
						 __ATOMIC_RELEASE);
				break;
			case BY_WRITE:
				write_page(page, POPULATED);
				break;
			case BY_FALLOCATE:
				if (fallocate(mem.fd, 0, page * PAGE, PAGE))
					wrong("fallocate: errno %d", errno);
				break;
			}
			l->done = true;
			ADD(POPULATED);
		}
	}
}

/* The content after the first word, which a store may have set */
static bool populated_page_ok(size_t page)
{
	__u64 first = word(mem.alias, page, 0);
	__u64 rest = way(page) == BY_WRITE ? stamp(page, POPULATED) :
		     word(mem.alias, page, 1);

	return populated_word_ok(page, first, true) &&
	       (rest == ZERO || populated_word_ok(page, rest, false)) &&
	       (way(page) != BY_FALLOCATE || first == rest) &&
	       words_are(mem.alias, page, 1, rest) &&
	       words_are(mem.area, page, 1, rest) &&
	       word(mem.area, page, 0) == first;
}

static void populate_judge(size_t page)
{
	populate_judge_faults(page);
	if (!populated_page_ok(page))
		wrong("page %zu ends as %llx %llx, armed %llx %llx, way %u",
		      page, word(mem.alias, page, 0), word(mem.alias, page, 1),
		      word(mem.area, page, 0), word(mem.area, page, 1),
		      way(page));
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

	MAKE(&lab_memfd_shared, round_pages(MAX_PAGES), 0, variant->modes);
	missing_armed = variant->modes & LAB_MISSING;
	while (more(populate_ops(), wanted)) {
		round_nr++;
		forget_log();
		handler_start(populate_serve);
		employ(populate_touch, TOUCHERS);
		employ(populate_make, 1);
		join_workers();
		handler_end();
		for (size_t i = 0; i < mem.pages; i++)
			populate_judge(i);
		if (lab_blocks(&mem) != (long)(mem.len / 512))
			wrong("%ld blocks for %zu pages", lab_blocks(&mem),
			      mem.pages);
		wipe();
	}
	ASSERT_TRUE(race_end("populate", populate_ops(), wanted));
	EXPECT_EQ(COUNT(TOUCHED), COUNT(WAS_PRESENT) + COUNT(WAS_HOLE) +
				  COUNT(MET));
}

/*
 * The same with two armed mappings of one file and no other thread: the first
 * touch of a page makes the kernel allocate it, the second one finds it and is
 * a minor fault. So each page is reported exactly once in any order, and
 * reported + made = touched.
 */

static char *twin;

static void twin_touch(unsigned int nr)
{
	char *base = nr ? twin : mem.area;

	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		meet(2);
		for (size_t page = start; page < start + BLOCK; page++) {
			dither();
			if (word(base, page, 0) != ZERO)
				wrong("page %zu is not zero", page);
			ADD(TOUCHED);
		}
	}
}

static void twin_serve(const struct uffd_msg *msg)
{
	__u64 address = msg->arg.pagefault.address;
	char *base = address - (uintptr_t)twin < mem.len ? twin : mem.area;
	size_t page = (address - (uintptr_t)base) / PAGE;
	int err;

	if (!is_minor(msg))
		wrong("page %zu: not a minor fault", page);
	page_log[page].minor++;
	ADD(MINOR);
	err = lab_continue(uffd, base + page * PAGE, PAGE, 0, NULL);
	if (err)
		wrong("continue of page %zu: errno %d", page, -err);
}

RACE(twins)

TEST_F_TIMEOUT(twins, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE(&lab_memfd_shared, round_pages(MAX_PAGES), 0, LAB_MINOR);
	twin = mmap(NULL, mem.len, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0);
	ASSERT_NE(MAP_FAILED, twin);
	ASSERT_EQ(0, lab_register(uffd, twin, mem.len, LAB_MINOR, NULL));
	while (more(COUNT(TOUCHED), wanted)) {
		forget_log();
		handler_start(twin_serve);
		employ(twin_touch, 2);
		join_workers();
		handler_end();
		for (size_t i = 0; i < mem.pages; i++)
			if (page_log[i].minor != 1)
				wrong("page %zu: %d minor faults in two mappings",
				      i, page_log[i].minor);
		ADD_N(KERNEL_MADE, lab_blocks(&mem) / 8);
		wipe();
	}
	ASSERT_TRUE(race_end("twins", COUNT(TOUCHED), wanted));
	EXPECT_EQ(COUNT(TOUCHED), COUNT(MINOR) + COUNT(KERNEL_MADE));
}

/*
 * 2. Fill against fill
 *
 * Several threads fill the same pages, each with a different operation, a few
 * pages at a time. Each page is filled by exactly one of them, and the others
 * get an error; the page has the complete content of the winner. In a file,
 * every fourth page is in the page cache before, for CONTINUE to find.
 */

enum { BY_COPY_A, BY_COPY_B, BY_ZEROPAGE, BY_POISON, BY_CONTINUE, FILLERS };

static const unsigned int fill_source[] = {
	[BY_COPY_A] = COPY_A,
	[BY_COPY_B] = COPY_B,
	[BY_ZEROPAGE] = ZERO,
	[BY_CONTINUE] = POPULATED,
};

#define FILL_MAX	8	/* pages per call */

static atomic_uchar winners[MAX_PAGES];	/* one bit for each filler */
static unsigned int nr_fillers;

static bool cached_before(size_t page)
{
	return lab_is_file(&mem) && page % 4 == 1;
}

static int fill(unsigned int how, size_t page, size_t n, __s64 *done)
{
	static __thread __u64 src[FILL_MAX * WORDS];

	switch (how) {
	case BY_COPY_A:
	case BY_COPY_B:
		stamp_pages(src, page, n, fill_source[how]);
		return lab_copy(uffd, at(page), src, n * PAGE, 0, done);
	case BY_ZEROPAGE:
		return lab_zeropage(uffd, at(page), n * PAGE, 0, done);
	case BY_CONTINUE:
		return lab_continue(uffd, at(page), n * PAGE, 0, done);
	default:
		return lab_poison(uffd, at(page), n * PAGE, 0, done);
	}
}

/* Fills [@page, @end) as far as the other fills allow. */
static void fill_range(unsigned int how, size_t page, size_t end)
{
	while (page < end) {
		__s64 done;
		int err = fill(how, page, end - page, &done);

		if (done > 0) {
			if (err != (page + done / PAGE == end ? 0 : -EAGAIN))
				wrong("filler %u: %lld bytes at %zu, errno %d",
				      how, done, page, -err);
			ADD_N(FILLED, done / PAGE);
			for (; done > 0; done -= PAGE)
				winners[page++] |= 1 << how;
			continue;
		}
		if (err != done)
			wrong("filler %u: errno %d, field %lld", how, -err, done);
		if (err == -EEXIST)
			ADD(EEXIST);
		else if (err == -EFAULT && how == BY_CONTINUE)
			ADD(EFAULT);
		else
			wrong("filler %u at page %zu: errno %d", how, page, -err);
		page++;
	}
}

static void fill_all(unsigned int nr)
{
	for (size_t start = 0; start < mem.pages; start += BLOCK) {
		size_t end = start + BLOCK, page = start, n;

		meet(nr_fillers);
		for (; page < end; page += n) {
			/*
			 * Poisoning is fast: it gets few pages, or it would win
			 * all.
			 */
			if (nr == BY_POISON) {
				n = 8;
				fill_range(nr, page + 3, page + 4);
				continue;
			}
			n = 1 + rnd() % FILL_MAX;
			if (n > end - page)
				n = end - page;
			dither();
			fill_range(nr, page, page + n);
		}
	}
}

static void fill_judge(size_t page)
{
	unsigned int w = winners[page], how;
	unsigned int filled = w & ~(1 << BY_POISON);
	int code = 0;
	char byte;

	if (!w || (filled & (filled - 1))) {
		wrong("page %zu: winners %x", page, w);
		return;
	}
	if (w & 1 << BY_POISON)
		ADD(POISONED);
	if (!filled) {
		if (lab_access(at(page), false, &byte, &code) != SIGBUS ||
		    code != BUS_MCEERR_AR)
			wrong("page %zu is poisoned and can be read", page);
		return;
	}
	/*
	 * A fill may overwrite a poison marker in 6.12; then the page is judged
	 * as if there had never been a marker.
	 */
	if (w != filled)
		ADD(OVER_POISON);
	how = __builtin_ctz(filled);
	if (!words_are(mem.area, page, 0, stamp(page, fill_source[how])))
		wrong("page %zu: filler %u won, and it begins %llx", page, how,
		      word(mem.area, page, 0));
}

/* The page frames that a file has, from stat() */
static void fill_judge_blocks(void)
{
	long pages = 0;

	if (!lab_is_file(&mem))
		return;
	for (size_t i = 0; i < mem.pages; i++)
		pages += cached_before(i) || (lab_is_shared(&mem) &&
			 winners[i] & ~(1 << BY_POISON));
	if (lab_blocks(&mem) != pages * 8)
		wrong("the file has %ld blocks, %ld pages were filled",
		      lab_blocks(&mem), pages);
}

/*
 * Allocated memory in pages: anonymous and shared, as counted for the whole
 * system, and the memory charged to this process. The latter includes a leaked
 * page: one that is in no page table and no file but not free.
 */
struct usage {
	long anon;
	long shmem;
	long charged;
};

#define CGROUP		"/sys/fs/cgroup/uffd-races"

/* Charges all memory that this process uses from now on to a control group. */
static bool charge_begin(void)
{
	return write_setting("/sys/fs/cgroup/cgroup.subtree_control", "+memory") &&
	       (!mkdir(CGROUP, 0755) || errno == EEXIST) &&
	       write_setting(CGROUP "/cgroup.procs", "0");
}

static void charge_end(void)
{
	write_setting("/sys/fs/cgroup/cgroup.procs", "0");
	rmdir(CGROUP);
}

static bool usage(struct usage *u)
{
	/* Flush the per-CPU lists of pages and counters. */
	if (!write_setting("/proc/sys/vm/drop_caches", "1") ||
	    !write_setting("/proc/sys/vm/stat_refresh", "1"))
		return false;
	u->anon = lab_number("/proc/vmstat", "nr_anon_pages ");
	u->shmem = lab_number("/proc/vmstat", "nr_shmem ");
	u->charged = (lab_number(CGROUP "/memory.current", "") -
		      lab_cgroup_number(CGROUP, "memory.stat", "kernel ")) /
		     (long)PAGE;
	return true;
}

static void fill_round(void)
{
	for (size_t i = 0; i < mem.pages; i++) {
		winners[i] = 0;
		if (cached_before(i))
			write_page(i, POPULATED);
	}
	employ(fill_all, nr_fillers);
	join_workers();
	for (size_t i = 0; i < mem.pages; i++)
		fill_judge(i);
	fill_judge_blocks();
	wipe();
}

RACE(fill)

FIXTURE_VARIANT(fill)
{
	const struct lab_type *type;
	__u64 modes;
	unsigned int fillers;
};

FIXTURE_VARIANT_ADD(fill, anon) {
	.type = &lab_anon,
	.modes = LAB_MISSING,
	.fillers = BY_CONTINUE,
};

FIXTURE_VARIANT_ADD(fill, shmem) {
	.type = &lab_memfd_shared,
	.modes = LAB_MISSING | LAB_MINOR,
	.fillers = FILLERS,
};

FIXTURE_VARIANT_ADD(fill, shmem_private) {
	.type = &lab_memfd_private,
	.modes = LAB_MISSING | LAB_MINOR,
	.fillers = FILLERS,
};

TEST_F_TIMEOUT(fill, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);
	struct usage before, after;

	ASSERT_TRUE(charge_begin());
	MAKE(variant->type, round_pages(1024), 0, variant->modes);
	nr_fillers = variant->fillers;
	/* The first round allocates what stays: stacks, slabs, page tables. */
	fill_round();
	ASSERT_TRUE(usage(&before));
	while (more(COUNT(FILLED), wanted))
		fill_round();
	ASSERT_TRUE(usage(&after));
	charge_end();
	printf("# anonymous pages %ld -> %ld, shared %ld -> %ld, charged %ld -> %ld\n",
	       before.anon, after.anon, before.shmem, after.shmem,
	       before.charged, after.charged);
	ASSERT_TRUE(race_end("fill", COUNT(FILLED), wanted));
	EXPECT_NE(0UL, COUNT(FILLED));
	EXPECT_NE(0UL, COUNT(EEXIST));
	EXPECT_NE(0UL, COUNT(POISONED));
	EXPECT_GE(before.anon + 64, after.anon);
	EXPECT_GE(before.shmem + 64, after.shmem);
	EXPECT_GE(before.charged + 256, after.charged);
}

/*
 * 3. Fault against hole punch
 *
 * MISSING: every page that is read was served, also if holes are punched.
 * MINOR: pages are written through the file and found, or the kernel allocates
 * them in a hole. The punch itself must end although there are always new
 * faults.
 */

static atomic_ulong longest_ms;

/*
 * Through the second mapping, word by word, of which each reader sees the old
 * or the new one; write() copies bytes.
 */
static void populate_words(size_t page)
{
	for (size_t i = 0; i < WORDS; i++)
		__atomic_store_n((__u64 *)mem.alias + page * WORDS + i,
				 stamp(page, SERVED), __ATOMIC_RELAXED);
	ADD(POPULATED);
}

static void hot_populate(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = traced_page(POPULATE_ME);

		/* Before or after the punch, so that the touch races with it */
		if (rnd() % 2)
			trace[page] = TOUCH_ME;
		populate_words(page);
		trace[page] = TOUCH_ME;
	}
}

static void hot_punch(unsigned int nr)
{
	while (!stop) {
		size_t n, page;
		__u64 start;

		page = untraced_run(&n, minor_armed && rnd() % 2 ? POPULATE_ME :
								   TOUCH_ME);
		start = lab_now_ms();

		switch (rnd() % 3) {
		case 0:
			punch(page, n);
			break;
		case 1:
			if (madvise(mem.alias + page * PAGE, n * PAGE,
				    MADV_REMOVE))
				wrong("MADV_REMOVE: errno %d", errno);
			break;
		default:
			if (madvise(at(page), n * PAGE, MADV_REMOVE))
				wrong("MADV_REMOVE, armed: errno %d", errno);
		}
		ADD(PUNCHED);
		start = lab_now_ms() - start;
		if (start > longest_ms)
			longest_ms = start;
		dither();
	}
	(void)nr;
}

static void hot_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	int err;

	if (is_minor(msg)) {
		ADD(MINOR);
		if (!minor_armed)
			wrong("minor fault on page %zu", page);
		/* EFAULT: a hole; EINVAL: beyond the end of the file */
		err = lab_continue(uffd, at(page), PAGE, 0, NULL);
		settle(page, err, window_stays ? ERRNOS(EEXIST, EFAULT, EINVAL) :
						 ERRNOS(EEXIST, EFAULT));
	} else {
		ADD(MISSING);
		if (!missing_armed)
			wrong("missing fault on page %zu", page);
		settle(page, copy_page(page, SERVED), ERRNOS(EEXIST, EFAULT));
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
	__u64 modes;
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

	MAKE(&lab_memfd_shared, 1024, 0, variant->modes);
	missing_armed = variant->modes & LAB_MISSING;
	minor_armed = variant->modes & LAB_MINOR;
	handler_start(hot_serve);
	employ(hot_touch, 2);
	employ(hot_punch, 1);
	employ(hot_populate, minor_armed);
	run_until(punch_ops, wanted);
	printf("# the longest punch took %lu ms\n", longest_ms);
	ASSERT_TRUE(race_end("punch", punch_ops(), wanted));
	EXPECT_NE(0UL, COUNT(FILLED));
	EXPECT_GT(20000UL, (unsigned long)longest_ms);
}

/*
 * 4. Fault against truncate
 *
 * The file shrinks and grows, by whole pages and in the middle of one. A
 * sequence number is odd while the size changes; a touch that saw an even one
 * before and after knows the size and thus whether SIGBUS is right.
 */

static atomic_uint size_seq;
static atomic_ulong size_pages;

#define CUT	(mem.pages / 2)	/* only this page is ever cut in the middle */

static void truncate_touch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = traced_page(TOUCH_ME);
		unsigned int seq = size_seq;
		size_t size = size_pages;
		__u64 first = 0, last = 0, v = stamp(page, SERVED);
		int sig = read_ends(page, &first, &last);

		if (seq % 2 == 0 && seq == size_seq &&
		    sig != (page < size ? 0 : SIGBUS))
			wrong("page %zu of a file of %zu pages: signal %d",
			      page, size, sig);
		if (sig == SIGBUS)
			ADD(SIGBUS);
		else if (sig)
			wrong("page %zu: signal %d", page, sig);
		else
			ADD(TOUCHED);
		if (sig)
			continue;
		if ((first != v && (!minor_armed || first != ZERO)) ||
		    (last != v && last != ZERO) ||
		    (last == ZERO && !minor_armed && page != CUT))
			wrong("page %zu holds %llx ... %llx", page, first, last);
	}
}

static void set_size(size_t bytes)
{
	/* A few touches where SIGBUS is the answer, more where a fault is. */
	for (size_t i = 0; i < (bytes == mem.len ? WINDOW : 6); i++)
		trace[CUT + i] = TOUCH_ME;
	size_seq++;
	if (ftruncate(mem.fd, bytes))
		wrong("ftruncate to %zu: errno %d", bytes, errno);
	size_pages = (bytes + PAGE - 1) / PAGE;
	size_seq++;
	ADD(TRUNCATED);
}

static void truncate_work(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		if (rnd() % 2)
			set_size((CUT + rnd() % WINDOW) * PAGE);
		else
			set_size(CUT * PAGE + PAGE / 2);
		for (unsigned int i = rnd() % 8; i; i--)
			sched_yield();
		set_size(mem.len);
		for (unsigned int i = rnd() % 8; minor_armed && i; i--)
			populate_words(CUT + rnd() % WINDOW);
		for (unsigned int i = rnd() % 16; i; i--)
			sched_yield();
	}
}

static unsigned long truncate_ops(void)
{
	unsigned long n = faults() + COUNT(SIGBUS) + COUNT(TRUNCATED);

	n = share(n, 16, faults());
	n = share(n, 16, COUNT(SIGBUS));
	return share(n, 16, COUNT(TRUNCATED));
}

RACE(truncate)

FIXTURE_VARIANT(truncate)
{
	__u64 modes;
};

FIXTURE_VARIANT_ADD(truncate, missing) {
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(truncate, minor) {
	.modes = LAB_MINOR,
};

FIXTURE_VARIANT_ADD(truncate, missing_minor) {
	.modes = LAB_MISSING | LAB_MINOR,
};

TEST_F_TIMEOUT(truncate, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE(&lab_memfd_shared, 256, 0, variant->modes);
	missing_armed = variant->modes & LAB_MISSING;
	minor_armed = variant->modes & LAB_MINOR;
	size_pages = mem.pages;
	window = CUT / WINDOW;
	window_stays = true;
	handler_start(hot_serve);
	employ(truncate_touch, 2);
	employ(truncate_work, 1);
	run_until(truncate_ops, wanted);
	ASSERT_TRUE(race_end("truncate", truncate_ops(), wanted));
}

/*
 * 5. Fault against swap
 *
 * All pages are populated and paged out while they are touched. A page in swap
 * is present: with MINOR, each first touch of a round is a minor fault, and the
 * content is the same as before. It is reported again only if the page was
 * paged out again before the touch was over.
 */

#define SWAP_PAGES	2048

static void swap_out(size_t page, size_t n)
{
	if (madvise(at(page), n * PAGE, MADV_PAGEOUT))
		wrong("MADV_PAGEOUT: errno %d", errno);
	ADD(PAGED_OUT);
}

/* At the pages being touched, where most races are */
static atomic_ulong swap_at;

static void swap_work(unsigned int nr)
{
	unsigned int n = 0;
	size_t last = -1;

	(void)nr;
	while (!stop) {
		size_t page = swap_at / 4;

		if (page == last) {
			relax(n++);
			continue;
		}
		n = 0;
		last = page;
		swap_out(page * 4, 4);
	}
}

static void swap_touch(unsigned int nr)
{
	for (size_t page = nr; page < mem.pages; page += 2) {
		__u64 v = stamp(page, POPULATED);

		swap_at = page;
		if (word(mem.area, page, 0) != v ||
		    word(mem.area, page, WORDS - 1) != v)
			wrong("page %zu came back as %llx", page,
			      word(mem.area, page, 0));
		ADD(TOUCHED);
		dither();
	}
}

static void swap_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	if (!is_minor(msg))
		wrong("page %zu: not a minor fault", page);
	page_log[page].minor++;
	ADD(MINOR);
	settle(page, lab_continue(uffd, at(page), PAGE, 0, NULL), ERRNOS(0));
}

/* One round: the threads run to their end while another one pages out. */
static void swap_round(work_fn fn, unsigned int n,
		       void (*server)(const struct uffd_msg *msg))
{
	stop = false;
	handler_start(server);
	employ(swap_work, 1);
	employ(fn, n);
	join_last(n);
	stop = true;
	join_workers();
	handler_end();
}

static unsigned long swapped_before;

static unsigned long swapped_out(void)
{
	return lab_number("/proc/vmstat", "pswpout ") - swapped_before;
}

static unsigned long swap_ops(void)
{
	unsigned long n = COUNT(MINOR) + COUNT(WP);

	return share(share(n + COUNT(SWAPPED_OUT), 4, n), 4, COUNT(SWAPPED_OUT));
}

RACE(swap_minor)

FIXTURE_VARIANT(swap_minor)
{
	const struct lab_type *type;
};

FIXTURE_VARIANT_ADD(swap_minor, shmem) {
	.type = &lab_memfd_shared,
};

FIXTURE_VARIANT_ADD(swap_minor, shmem_private) {
	.type = &lab_memfd_private,
};

TEST_F_TIMEOUT(swap_minor, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	LAB_SKIP_IF(lab_lacking_swap());
	MAKE(variant->type, round_pages(SWAP_PAGES), 0, LAB_MINOR);
	for (size_t i = 0; i < mem.pages; i++)
		write_page(i, POPULATED);
	swapped_before = swapped_out();
	while (more(swap_ops(), wanted)) {
		forget_log();
		swap_round(swap_touch, 2, swap_serve);
		for (size_t i = 0; i < mem.pages; i++) {
			if (!page_log[i].minor)
				wrong("page %zu: touched and not reported", i);
			ADD_N(REPEATED, page_log[i].minor - 1);
		}
		if (lab_blocks(&mem) != (long)(mem.len / 512))
			wrong("%ld blocks for %zu pages", lab_blocks(&mem),
			      mem.pages);
		/* All pages that the next round touches first are in swap. */
		swap_out(0, mem.pages);
		if (madvise(mem.area, mem.len, MADV_DONTNEED))
			wrong("MADV_DONTNEED: errno %d", errno);
		counts[C_SWAPPED_OUT] = swapped_out();
	}
	ASSERT_TRUE(race_end("swap_minor", swap_ops(), wanted));
}

/*
 * With WP, all pages are protected and some of them written, once, while they
 * are paged out. Swap entries keep the protection: exactly the written pages
 * are reported, exactly once, and the others stay protected.
 */

static void swap_write(unsigned int nr)
{
	for (size_t page = nr; page < mem.pages; page += 2) {
		swap_at = page;
		write_once(page);
		dither();
	}
}

static void swap_wp_judge(void)
{
	static __u64 pagemap[SWAP_PAGES];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t size = mem.pages * sizeof(*pagemap);
	ssize_t n = pread(fd, pagemap, size,
			  (uintptr_t)mem.area / PAGE * sizeof(*pagemap));

	close(fd);
	if (n != size)
		wrong("pagemap: %zd bytes", n);
	for (size_t i = 0; i < mem.pages; i++)
		judge_write(i, pagemap[i] & LAB_PM_UFFD_WP);
}

RACE(swap_wp)

FIXTURE_VARIANT(swap_wp)
{
	const struct lab_type *type;
};

FIXTURE_VARIANT_ADD(swap_wp, anon) {
	.type = &lab_anon,
};

FIXTURE_VARIANT_ADD(swap_wp, shmem) {
	.type = &lab_memfd_shared,
};

FIXTURE_VARIANT_ADD(swap_wp, shmem_private) {
	.type = &lab_memfd_private,
};

TEST_F_TIMEOUT(swap_wp, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	LAB_SKIP_IF(lab_lacking_swap());
	MAKE(variant->type, round_pages(SWAP_PAGES),
	     UFFD_FEATURE_WP_HUGETLBFS_SHMEM, LAB_WP);
	for (size_t i = 0; i < mem.pages; i++)
		*(__u64 *)at(i) = 0;
	swapped_before = swapped_out();
	while (more(swap_ops(), wanted)) {
		ASSERT_EQ(0, protect_round());
		swap_round(swap_write, 2, unprotect_serve);
		swap_wp_judge();
		counts[C_SWAPPED_OUT] = swapped_out();
	}
	ASSERT_TRUE(race_end("swap_wp", swap_ops(), wanted));
	EXPECT_EQ(COUNT(WRITES), COUNT(WP));
}

TEST_HARNESS_MAIN
