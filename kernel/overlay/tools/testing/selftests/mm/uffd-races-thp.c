// SPDX-License-Identifier: GPL-2.0
/*
 * Races of userfaultfd with transparent huge pages: faults and fills against
 * collapse, fills of huge pages against splitting, against fills of a part of
 * them, and against memory failure. uffd/races.h describes how a race is judged.
 */
#include "../kselftest_harness.h"
#include "uffd/race-pages.h"

/*
 * 1. Fill against collapse
 *
 * MADV_COLLAPSE and khugepaged try to collapse touched and filled pages to huge
 * pages. With MISSING they must not fill holes: every touch of a hole is
 * reported. With MINOR and all pages present they may, but the first touch of
 * each page must still be reported: no page may be mapped before. (Except by
 * MADV_COLLAPSE of the armed mapping itself, which maps its huge page. So with
 * MINOR only the second mapping is collapsed.)
 */

#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define HUGE_PAGES	(LAB_HUGE / PAGE)

static const struct {
	const char *path;
	const char *value;
} thp_settings[] = {
	{ THP "enabled", "madvise" },
	{ THP "shmem_enabled", "advise" },
	{ THP "khugepaged/scan_sleep_millisecs", "1" },
	{ THP "khugepaged/alloc_sleep_millisecs", "1" },
	{ THP "khugepaged/pages_to_scan", "4096" },
};

#define NR_THP	(sizeof(thp_settings) / sizeof(*thp_settings))

static char thp_saved[NR_THP][64];

/* The value of a setting: the word in brackets, or all of it */
static bool thp_read(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, value, size - 1);
	char *chosen;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	value[n] = '\0';
	chosen = strchr(value, '[');
	if (chosen) {
		memmove(value, chosen + 1, strlen(chosen));
		value[strcspn(value, "]")] = '\0';
	}
	return true;
}

static bool thp_begin(void)
{
	for (size_t i = 0; i < NR_THP; i++)
		if (!thp_read(thp_settings[i].path, thp_saved[i],
			      sizeof(thp_saved[i])) ||
		    !write_setting(thp_settings[i].path, thp_settings[i].value))
			return false;
	return true;
}

static void thp_end(void)
{
	for (size_t i = 0; i < NR_THP; i++)
		if (*thp_saved[i])
			write_setting(thp_settings[i].path, thp_saved[i]);
}

static char *collapse_alias;	/* like mem.alias, but aligned */
static bool all_there;

static bool there_before(size_t page)
{
	return all_there || (lab_is_file(&mem) && page % 2);
}

static bool collapse(char *base, size_t huge)
{
	bool done;

	done = !madvise(base + huge * LAB_HUGE, LAB_HUGE, MADV_COLLAPSE);
	ADD(COLLAPSE_TRIED);
	if (done)
		ADD(COLLAPSED);
	return done;
}

static void collapse_work(unsigned int nr)
{
	size_t huge = 0;

	(void)nr;
	while (!stop) {
		unsigned long next = COUNT(TOUCHED) + rnd() % 32;

		huge = (huge + 1) % (mem.len / LAB_HUGE);
		collapse(collapse_alias && (all_there || rnd() % 2) ?
			 collapse_alias : mem.area, huge);
		for (unsigned int n = 0; !stop && COUNT(TOUCHED) < next; n++)
			relax(n);
	}
}

static void collapse_touch(unsigned int nr)
{
	/* The two threads start at opposite ends and meet. */
	for (size_t i = 0; i < mem.pages / 2; i++) {
		size_t page = nr ? i : mem.pages - 1 - i;

		check_hot(page, stamp(page, SERVED), stamp(page, SERVED));
	}
}

static void collapse_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	if (is_minor(msg)) {
		page_log[page].minor++;
		ADD(MINOR);
		settle(page, lab_continue(uffd, at(page), PAGE, 0, NULL),
		       ERRNOS(EEXIST, EAGAIN));
	} else {
		page_log[page].missing++;
		ADD(MISSING);
		settle(page, copy_page(page, SERVED), ERRNOS(EAGAIN));
	}
}

static void collapse_judge(size_t page)
{
	struct page_log *l = &page_log[page];

	if (all_there ? !l->minor || l->missing :
	    l->minor || l->missing != !there_before(page))
		wrong("page %zu, %s: %d missing and %d minor faults", page,
		      there_before(page) ? "present" : "hole", l->missing,
		      l->minor);
	if (l->minor > 1)
		ADD_N(REPEATED, l->minor - 1);
	if (!words_are(mem.area, page, 0, stamp(page, SERVED)))
		wrong("page %zu ends as %llx", page, word(mem.area, page, 0));
}

static void collapse_round(void)
{
	memset(page_log, 0, sizeof(page_log));
	for (size_t i = 0; i < mem.pages; i++)
		if (there_before(i))
			write_page(i, SERVED);
	stop = false;
	handler_start(collapse_serve);
	employ(collapse_work, 1);
	employ(collapse_touch, 2);
	/* the touching threads, which were started last */
	join_last(2);
	stop = true;
	join_workers();
	/*
	 * Now no page is missing: this may succeed, and must not change the
	 * content.
	 */
	for (size_t i = 0; i < mem.len / LAB_HUGE; i++)
		collapse(collapse_alias ? collapse_alias : mem.area, i);
	for (size_t i = 0; i < mem.pages; i++)
		collapse_judge(i);
	handler_end();
	wipe();
}

static unsigned long collapse_ops(void)
{
	unsigned long n = share(faults(), OPERATIONS, COUNT(COLLAPSED));

	return share(n, OPERATIONS, COUNT(SCANS));
}

static char *map_aligned(int fd, size_t len)
{
	char *p = mmap(NULL, len + LAB_HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return p;
	p = (char *)(((uintptr_t)p + LAB_HUGE - 1) & -LAB_HUGE);
	return mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		    0);
}

#define THP_RACE(name) \
	RACE_AMID(name, ASSERT_TRUE(thp_begin()) thp_end(), thp_end())

THP_RACE(collapse)

FIXTURE_VARIANT(collapse)
{
	const struct lab_type *type;
	__u64 modes;
};

FIXTURE_VARIANT_ADD(collapse, anon_missing) {
	.type = &lab_anon,
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(collapse, shmem_missing) {
	.type = &lab_memfd_shared,
	.modes = LAB_MISSING,
};

FIXTURE_VARIANT_ADD(collapse, shmem_minor) {
	.type = &lab_memfd_shared,
	.modes = LAB_MINOR,
};

TEST_F_TIMEOUT(collapse, race, TIMEOUT_S)
{
	static const char scans_path[] = THP "khugepaged/full_scans";
	unsigned long wanted = lab_scale(OPERATIONS);
	long before = lab_number(scans_path, "");

	MAKE(variant->type, 2 * HUGE_PAGES, 0, variant->modes);
	all_there = variant->modes & LAB_MINOR;
	if (lab_is_file(&mem)) {
		collapse_alias = map_aligned(mem.fd, mem.len);
		ASSERT_NE(MAP_FAILED, collapse_alias);
		ASSERT_EQ(0, madvise(collapse_alias, mem.len, MADV_HUGEPAGE));
	}
	ASSERT_EQ(0, madvise(mem.area, mem.len, MADV_HUGEPAGE));
	while (more(collapse_ops(), wanted)) {
		collapse_round();
		counts[C_SCANS] = lab_number(scans_path, "") - before;
	}
	ASSERT_TRUE(race_end("collapse", collapse_ops(), wanted));
}

/*
 * 2. Huge pages that are continued whole, against splitting
 *
 * One side continues a huge page at a time and zaps it again. Others touch
 * pages, and the last one punches holes, rewrites the pages, and collapses them
 * to huge pages again. Each word must be that of the file.
 */

static size_t whole_page(void)
{
	return rnd() % mem.pages;
}

static void whole_continue(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t huge = rnd() % (mem.len / LAB_HUGE);
		size_t page = huge * HUGE_PAGES, n = HUGE_PAGES;
		__s64 done = 0;
		int err;

		err = lab_continue(uffd, at(page), LAB_HUGE,
				   UFFDIO_CONTINUE_MODE_MAP_HUGE, &done);
		if (err && err != -EEXIST && err != -EFAULT && err != -EINVAL &&
		    err != -EAGAIN)
			wrong("continue of huge page %zu: errno %d", huge, -err);
		if (!err && lab_mapped_whole(at(page)))
			ADD(WHOLE);
		if (done > 0)
			ADD_N(FILLED, done / PAGE);
		/* All of it, or some pages. */
		if (rnd() % 2) {
			page = whole_page();
			n = 1 + rnd() % (HUGE_PAGES - page % HUGE_PAGES);
		}
		if (madvise(at(page), n * PAGE, MADV_DONTNEED))
			wrong("MADV_DONTNEED: errno %d", errno);
		ADD(ZAPPED);
	}
}

static void whole_touch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = whole_page();
		__u64 first = 0, last = 0, v = stamp(page, SERVED);
		int sig = read_ends(page, &first, &last);

		/* The huge page is truncated. */
		if (sig == SIGBUS) {
			ADD(SIGBUS);
			continue;
		}
		if (sig || (first != v && first != ZERO) ||
		    (last != v && last != ZERO))
			wrong("page %zu holds %llx ... %llx, signal %d", page,
			      first, last, sig);
		ADD(TOUCHED);
	}
}

static void whole_take_apart(unsigned int nr)
{
	__u64 buf[WORDS];

	(void)nr;
	while (!stop) {
		size_t page = whole_page(), n = 1 + rnd() % 8;
		unsigned long next = COUNT(WHOLE) + rnd() % 4;

		/* Leave it huge for a while. */
		for (unsigned int i = 0; !stop && i < 64 && COUNT(WHOLE) < next; i++)
			relax(i);
		if (n > mem.pages - page)
			n = mem.pages - page;
		if (rnd() % 8 == 0) {
			/*
			 * Truncates a huge page in the middle, and extends the
			 * file again.
			 */
			if (ftruncate(mem.fd, (page + 1) * PAGE))
				wrong("ftruncate: errno %d", errno);
			if (ftruncate(mem.fd, mem.len))
				wrong("ftruncate: errno %d", errno);
			n = mem.pages - page;
			ADD(TRUNCATED);
		} else {
			punch(page, n);
			ADD(PUNCHED);
		}
		for (; n; n--, page++) {
			stamp_pages(buf, page, 1, SERVED);
			for (size_t i = 0; i < WORDS; i++)
				__atomic_store_n((__u64 *)mem.alias + page * WORDS + i,
						 buf[i], __ATOMIC_RELAXED);
		}
		for (size_t i = 0; i < mem.len / LAB_HUGE; i++)
			collapse(collapse_alias, i);
	}
}

static void whole_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	ADD(MINOR);
	if (!is_minor(msg))
		wrong("page %zu: not a minor fault", page);
	/*
	 * EINVAL and EFAULT: it was truncated, or punched. EAGAIN: the page
	 * table was removed for a huge page.
	 */
	settle(page, lab_continue(uffd, at(page), PAGE, 0, NULL),
	       ERRNOS(EEXIST, EFAULT, EINVAL, EAGAIN));
}

static unsigned long whole_ops(void)
{
	unsigned long n = COUNT(TOUCHED);

	n = share(n, 500, COUNT(WHOLE));
	return share(n, 500, COUNT(PUNCHED) + COUNT(TRUNCATED));
}

THP_RACE(whole)

TEST_F_TIMEOUT(whole, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE(&lab_memfd_shared, 2 * HUGE_PAGES, UFFD_FEATURE_MAP_HUGE,
	     LAB_MINOR);
	collapse_alias = map_aligned(mem.fd, mem.len);
	ASSERT_NE(MAP_FAILED, collapse_alias);
	ASSERT_EQ(0, madvise(collapse_alias, mem.len, MADV_HUGEPAGE));
	ASSERT_EQ(0, madvise(mem.area, mem.len, MADV_HUGEPAGE));
	for (size_t i = 0; i < mem.pages; i++)
		write_page(i, SERVED);
	for (size_t i = 0; i < mem.len / LAB_HUGE; i++)
		collapse(collapse_alias, i);
	handler_start(whole_serve);
	employ(whole_continue, 1);
	employ(whole_touch, 2);
	employ(whole_take_apart, 1);
	run_until(whole_ops, wanted);
	ASSERT_TRUE(race_end("whole", whole_ops(), wanted));
}

/*
 * 3. Huge pages that are filled whole, against fills of a part of them
 *
 * Two sides fill a huge page or some pages of it, and a touch of a missing page
 * is served with that page. The last side splits a huge page, collapses it
 * again, so that there is no page table, and zaps it. Every fill of a page has
 * the same content, or the page was declared bad and causes SIGBUS.
 *
 * A hole in the file is as large as a huge page: a smaller one reads as zeroes
 * before it is punched, and permanently if the huge page cannot be split.
 */

static char *new_source;
/* Fills of a whole huge page that are running */
static atomic_uint new_filling[2];
/* Whether only a fill of the whole huge page may begin */
static atomic_bool new_whole_only[2];

/* All of a huge page, or some pages of it */
static size_t new_run(size_t *n)
{
	size_t page = whole_page();

	if (new_whole_only[page / HUGE_PAGES] || rnd() % 2) {
		*n = HUGE_PAGES;
		return page / HUGE_PAGES * HUGE_PAGES;
	}
	*n = 1 + rnd() % (HUGE_PAGES - page % HUGE_PAGES);
	return page;
}

static void new_advise(void *p, size_t n, int advice)
{
	if (madvise(p, n * PAGE, advice))
		wrong("madvise(%d) of %zu pages: errno %d", advice, n, errno);
}

static void new_fill(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t n, page = new_run(&n);
		bool all = n == HUGE_PAGES;
		__s64 done = 0;
		int err;

		if (rnd() % 16 == 0)
			new_advise(new_source + page * PAGE, n, MADV_PAGEOUT);
		new_filling[page / HUGE_PAGES] += all;
		err = lab_copy(uffd, at(page), new_source + page * PAGE,
			       n * PAGE, 0, &done);
		new_filling[page / HUGE_PAGES] -= all;
		if (err && err != -EEXIST && err != -EAGAIN)
			wrong("fill of %zu pages at %zu: errno %d", n, page,
			      -err);
		if (!err && all && lab_mapped_whole(at(page)))
			ADD(WHOLE);
		if (done > 0)
			ADD_N(FILLED, done / PAGE);
		for (unsigned int k = rnd() % 8; k; k--)
			relax(k);
	}
}

static void new_access(size_t page, bool write)
{
	__u64 v = stamp(page, SERVED);

	/* A write writes the same value. */
	if (write)
		__atomic_store_n((__u64 *)at(page) + 1, v, __ATOMIC_RELAXED);
	check_hot(page, v, v);
}

static void new_touch(unsigned int nr)
{
	(void)nr;
	while (!stop)
		if (LAB_TRY(0, new_access(whole_page(), rnd() % 4 == 0)))
			ADD(SIGBUS);
}

static void new_check(size_t page)
{
	if (!words_are(mem.area, page, 0, stamp(page, SERVED)))
		wrong("page %zu holds something else", page);
}

/* Each of them stays lost until the VM reboots. */
#define NEW_BAD		64

/*
 * Declares a page bad, which maps it; the calling thread gets a signal at once.
 */
static void new_fail(size_t page)
{
	/* It can be bad already, or its huge page cannot be split. */
	if (madvise(at(page), PAGE, MADV_HWPOISON) && errno != EHWPOISON &&
	    errno != EFAULT && errno != EBUSY)
		wrong("MADV_HWPOISON of page %zu: errno %d", page, errno);
}

/* Protects pages until a write to one of them faults. */
static void new_protect(size_t page, size_t n)
{
	unsigned long next = COUNT(WP) + 1;
	int err = lab_writeprotect(uffd, at(page), n * PAGE,
				   UFFDIO_WRITEPROTECT_MODE_WP);

	for (unsigned int k = rnd() % 256; k && !stop; k--) {
		if (COUNT(WP) >= next)
			break;
		relax(k);
	}
	if (!err)
		err = lab_writeprotect(uffd, at(page), n * PAGE, 0);
	if (err)
		wrong("protect %zu pages at %zu: errno %d", n, page, -err);
}

static void new_take_apart(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t n, page = new_run(&n);
		size_t huge = page / HUGE_PAGES;
		bool whole_only = rnd() % 2;
		unsigned long next;

		switch (rnd() % 4) {
		case 0:
			new_advise(at(page), n, MADV_DONTNEED);
			ADD(ZAPPED);
			break;
		case 1:
			new_advise(at(page), n, MADV_PAGEOUT);
			ADD(PAGED_OUT);
			break;
		case 2:
			/*
			 * Where a file is registered with it, nothing is
			 * collapsed.
			 */
			if (!lab_is_file(&mem))
				new_protect(page, n);
			break;
		case 3:
			if (COUNT(POISONED) < NEW_BAD && LAB_TRY(0, new_fail(page)))
				ADD(POISONED);
			break;
		}
		page = huge * HUGE_PAGES;
		for (size_t i = page; i < page + HUGE_PAGES; i++)
			if (LAB_TRY(0, new_check(i)))
				ADD(SIGBUS);
		collapse(mem.area, huge);
		/*
		 * The fills of some pages are faster: every other time, one of
		 * the whole huge page comes first.
		 */
		new_whole_only[huge] = whole_only;
		next = COUNT(WHOLE) + 1;
		new_advise(at(page), HUGE_PAGES, lab_is_file(&mem) ?
			   MADV_REMOVE : MADV_DONTNEED);
		ADD(ZAPPED);
		for (unsigned int i = whole_only ? 1024 : 64; i && !stop; i--) {
			if (COUNT(WHOLE) >= next)
				break;
			relax(i);
		}
		new_whole_only[huge] = false;
	}
}

static void new_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	if (is_wp(msg)) {
		unprotect_serve(msg);
		return;
	}
	ADD(MISSING);
	/*
	 * A fill of a huge page takes longer than this one, which often waits
	 * for it.
	 */
	for (unsigned int i = rnd() % 256; i && !stop; i--) {
		if (!new_filling[page / HUGE_PAGES])
			break;
		relax(i);
	}
	for (unsigned int i = 0; new_whole_only[page / HUGE_PAGES] && !stop; i++)
		relax(i);
	settle(page, copy_page(page, SERVED), ERRNOS(EEXIST, EAGAIN));
}

static unsigned long new_ops(void)
{
	unsigned long n = share(COUNT(TOUCHED), 800, COUNT(WHOLE));

	n = share(n, 500, COUNT(ZAPPED));
	n = share(n, 500, COUNT(MISSING));
	n = share(n, OPERATIONS / (NEW_BAD / 2), COUNT(POISONED));
	return lab_is_file(&mem) ? n : share(n, OPERATIONS, COUNT(WP));
}

THP_RACE(whole_new)

FIXTURE_VARIANT(whole_new)
{
	const struct lab_type *type;
	__u64 modes;
};

FIXTURE_VARIANT_ADD(whole_new, anon) {
	.type = &lab_anon,
	.modes = LAB_MISSING | LAB_WP,
};

FIXTURE_VARIANT_ADD(whole_new, shmem) {
	.type = &lab_memfd_shared,
	.modes = LAB_MISSING,
};

TEST_F_TIMEOUT(whole_new, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE(variant->type, 2 * HUGE_PAGES, 0, variant->modes);
	ASSERT_EQ(0, madvise(mem.area, mem.len, MADV_HUGEPAGE));
	new_source = mmap(NULL, mem.len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, new_source);
	stamp_pages(new_source, 0, mem.pages, SERVED);
	handler_start(new_serve);
	employ(new_fill, 2);
	employ(new_touch, 2);
	employ(new_take_apart, 1);
	run_until(new_ops, wanted);
	ASSERT_TRUE(race_end("whole_new", new_ops(), wanted));
}

TEST_HARNESS_MAIN
