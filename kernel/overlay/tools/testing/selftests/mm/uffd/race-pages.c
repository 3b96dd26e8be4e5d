// SPDX-License-Identifier: GPL-2.0
/* See race-pages.h. */
#include "races.h"

#define PAGE	race_page
#include "race-pages.h"

#include <fcntl.h>

void stamp_pages(void *p, size_t page, size_t n, unsigned int source)
{
	__u64 *w = p;

	for (; n; n--, page++)
		for (size_t i = 0; i < WORDS; i++)
			*w++ = stamp(page, source);
}

bool words_are(const void *base, size_t page, size_t from, __u64 value)
{
	const __u64 *w = (const __u64 *)base + page * WORDS;

	for (size_t i = from; i < WORDS; i++)
		if (w[i] != value)
			return false;
	return true;
}

void write_page(size_t page, unsigned int source)
{
	__u64 buf[WORDS];

	stamp_pages(buf, page, 1, source);
	if (pwrite(mem.fd, buf, PAGE, page * PAGE) != (ssize_t)PAGE)
		wrong("pwrite of page %zu: errno %d", page, errno);
}

void punch(size_t page, size_t n)
{
	if (fallocate(mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      page * PAGE, n * PAGE))
		wrong("a hole of %zu pages at %zu: errno %d", n, page, errno);
}

void wipe(void)
{
	if (madvise(mem.area, mem.len, MADV_DONTNEED))
		wrong("MADV_DONTNEED: errno %d", errno);
	if (lab_is_file(&mem))
		punch(0, mem.pages);
}

int copy_page(size_t page, unsigned int source)
{
	__u64 buf[WORDS];

	stamp_pages(buf, page, 1, source);
	return lab_copy(uffd, at(page), buf, PAGE, 0, NULL);
}

void wake_page(size_t page)
{
	int err = lab_wake(uffd, at(page), PAGE);

	if (err)
		wrong("wake of page %zu: errno %d", page, -err);
}

bool settle(size_t page, int err, const int *allowed)
{
	bool legal = !err;

	for (; *allowed; allowed++)
		legal |= err == -*allowed;
	switch (err) {
	case 0:
		ADD(FILLED);
		return true;
	case -EEXIST:
		ADD(EEXIST);
		break;
	case -EFAULT:
		ADD(EFAULT);
		break;
	case -ENOENT:
		ADD(ENOENT);
		break;
	case -EINVAL:
		ADD(EINVAL);
		break;
	case -EAGAIN:
		/* An event is being delivered: let it proceed. */
		ADD(EAGAIN);
		sched_yield();
		break;
	}
	if (!legal)
		wrong("fill of page %zu: errno %d", page, -err);
	wake_page(page);
	return legal;
}

struct page_log page_log[MAX_PAGES];

void forget_log(void)
{
	memset(page_log, 0, sizeof(page_log));
}

bool missing_armed, minor_armed;

void populate_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	struct page_log *l = &page_log[page];

	if (is_minor(msg)) {
		l->minor++;
		ADD(MINOR);
		settle(page, lab_continue(uffd, at(page), PAGE, 0, NULL),
		       ERRNOS(0));
	} else {
		l->missing++;
		ADD(MISSING);
		settle(page, copy_page(page, SERVED), ERRNOS(EEXIST));
	}
}

void populate_judge_faults(size_t page)
{
	struct page_log *l = &page_log[page];
	bool bad = l->missing > 1 || l->minor > 1;

	if (l->was_done) {
		ADD(WAS_PRESENT);
		bad |= l->minor != 1 || l->missing;
	} else if (!l->was_begun) {
		ADD(WAS_HOLE);
		bad |= l->minor || l->missing != missing_armed;
	} else {
		ADD(MET);
		bad |= missing_armed ? !(l->missing | l->minor) : l->missing;
	}
	if (!l->minor && !l->missing)
		ADD(KERNEL_MADE);
	if (bad)
		wrong("page %zu: %d missing and %d minor faults, was_done %d was_begun %d",
		      page, l->missing, l->minor, l->was_done, l->was_begun);
}

unsigned long populate_ops(void)
{
	unsigned long n = COUNT(TOUCHED);

	/* Each case occurred, or the sides did not race. */
	n = share(n, OPERATIONS, COUNT(WAS_PRESENT));
	n = share(n, OPERATIONS, COUNT(WAS_HOLE));
	return share(n, OPERATIONS, COUNT(MET));
}

atomic_ulong window;

size_t hot_run(size_t *n)
{
	size_t page = hot_page();
	size_t left = WINDOW - page % WINDOW;

	*n = 1 + rnd() % 8;
	if (*n > left)
		*n = left;
	return page;
}

atomic_uchar trace[MAX_PAGES];

size_t traced_page(unsigned char what)
{
	for (unsigned int n = 0;; n++) {
		size_t page = hot_page();
		size_t base = page / WINDOW * WINDOW;

		if (rnd() % 32 == 0)
			return page;
		for (size_t i = 0; i < WINDOW; i++) {
			unsigned char is = what;

			page = base + (page + 1) % WINDOW;
			if (atomic_compare_exchange_strong(&trace[page], &is, 0))
				return page;
		}
		if (stop)
			return page;
		relax(n);
	}
}

size_t untraced_run(size_t *n, unsigned char next)
{
	for (unsigned int nth = 0;; nth++) {
		size_t page = hot_run(n);
		unsigned int taken = 0;

		for (size_t i = 0; i < *n; i++)
			taken += trace[page + i] != 0;
		if (taken < *n || stop || rnd() % 32 == 0) {
			for (size_t i = 0; i < *n; i++)
				trace[page + i] = next;
			return page;
		}
		relax(nth);
	}
}

void check_hot(size_t page, __u64 v1, __u64 v2)
{
	for (size_t i = 0; i < WORDS; i += WORDS / 8) {
		__u64 v = word(mem.area, page, i);

		if (v != v1 && v != v2)
			wrong("word %zu of page %zu is %llx", i, page, v);
	}
	ADD(TOUCHED);
}

bool window_stays;

void run_until(unsigned long (*done)(void), unsigned long wanted)
{
	while (more(done(), wanted)) {
		lab_sleep_ms(20);
		window += !window_stays;
	}
	stop = true;
	join_workers();
	handler_end();
}

void hot_touch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = traced_page(TOUCH_ME);
		__u64 v = stamp(page, SERVED);

		check_hot(page, v, minor_armed ? ZERO : v);
	}
}

int read_ends(size_t page, __u64 *first, __u64 *last)
{
	return LAB_TRY(0, *first = word(mem.area, page, 0);
			  *last = word(mem.area, page, WORDS - 1));
}

unsigned int round_nr;
atomic_ushort wp_faults[MAX_PAGES];
__u64 written[MAX_PAGES];

int protect_round(void)
{
	round_nr++;
	memset(wp_faults, 0, sizeof(wp_faults));
	return lab_writeprotect(uffd, mem.area, mem.len,
				UFFDIO_WRITEPROTECT_MODE_WP);
}

void write_once(size_t page)
{
	if (to_write(page)) {
		written[page]++;
		__atomic_fetch_add((__u64 *)at(page), 1, __ATOMIC_RELAXED);
		ADD(WRITES);
	} else if (word(mem.area, page, 0) != written[page]) {
		wrong("page %zu holds %llx instead of %llx", page,
		      word(mem.area, page, 0), written[page]);
	}
}

void unprotect_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	int err;

	if (!is_wp(msg))
		wrong("page %zu: not a write-protect fault", page);
	wp_faults[page]++;
	ADD(WP);
	err = lab_writeprotect(uffd, at(page), PAGE, 0);
	if (err)
		wrong("unprotect page %zu: errno %d", page, -err);
}

void judge_write(size_t page, bool is_protected)
{
	if (wp_faults[page] != to_write(page) || is_protected == to_write(page))
		wrong("page %zu, %s: %d faults, %sprotected", page,
		      to_write(page) ? "written" : "not written",
		      wp_faults[page], is_protected ? "" : "not ");
	if (word(mem.area, page, 0) != written[page])
		wrong("page %zu: a write was lost", page);
}

size_t round_pages(size_t pages)
{
	size_t n = lab_scale(pages) / BLOCK * BLOCK;

	return n > pages ? pages : n < 8 * BLOCK ? 8 * BLOCK : n;
}
