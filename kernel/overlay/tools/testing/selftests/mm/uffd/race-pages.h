/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pages of a race: their content, faults and fills, the window in which all
 * sides meet, and rounds of write protection.
 */
#ifndef UFFD_RACE_PAGES_H
#define UFFD_RACE_PAGES_H

#include "races.h"

/*
 * Bytes of a page. A program of huge pages defines PAGE before it includes this.
 * The functions in race-pages.c use race_page, which race_begin() sets.
 */
#ifndef PAGE
#define PAGE		LAB_PAGE
#endif
#define WORDS		(PAGE / sizeof(__u64))
#define BLOCK		32	/* pages between two meetings of the sides */
#define MAX_PAGES	4096

/* Content: all words of a page are equal and identify the page and its source. */
enum { ZERO, SERVED, COPY_A, COPY_B, POPULATED };

static inline __u64 stamp(size_t page, unsigned int source)
{
	return source == ZERO ? 0 : (__u64)source << 56 | (page + 1) << 8 | source;
}

void stamp_pages(void *p, size_t page, size_t n, unsigned int source);

static inline __u64 word(const void *base, size_t page, size_t nr)
{
	return __atomic_load_n((__u64 *)base + page * WORDS + nr,
			       __ATOMIC_ACQUIRE);
}

/* Whether words [@from, WORDS) of @page are all @value */
bool words_are(const void *base, size_t page, size_t from, __u64 value);

void write_page(size_t page, unsigned int source);
void punch(size_t page, size_t n);

/* Empties the area and the file behind it. */
void wipe(void);

static inline void *at(size_t page)
{
	return mem.area + page * PAGE;
}

static inline size_t page_of(const struct uffd_msg *msg)
{
	return (msg->arg.pagefault.address - (uintptr_t)mem.area) / PAGE;
}

static inline bool is_wp(const struct uffd_msg *msg)
{
	return msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP;
}

static inline bool is_minor(const struct uffd_msg *msg)
{
	return msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR;
}

int copy_page(size_t page, unsigned int source);
void wake_page(size_t page);

/*
 * Counts the result of a fill of one page. If the page was not filled, wakes the
 * faulting thread, which tries again. False if the error is not in @allowed.
 */
bool settle(size_t page, int err, const int *allowed);

#define ERRNOS(...)	((const int[]){ __VA_ARGS__, 0 })

/*
 * What happened to each page: the marks of the populating side, begun and done,
 * at the time of the touch, and how often the page was reported. Two more marks
 * show which side has reached the page.
 */
struct page_log {
	atomic_uchar toucher, populator;
	atomic_uchar begun, done;
	unsigned char was_done, was_begun;	/* at the touch */
	atomic_ushort missing, minor;
};

extern struct page_log page_log[MAX_PAGES];

void forget_log(void);

/*
 * Without MISSING, MINOR leaves holes to the kernel: they read as zeroes and
 * cause no message.
 */
extern bool missing_armed, minor_armed;

static inline unsigned long faults(void)
{
	return COUNT(MISSING) + COUNT(MINOR);
}

/*
 * The race of touches with a thread that populates the pages: each page is
 * touched once, and its log shows whether the touch found a page, a hole, or
 * may have found either. populate_judge_faults() checks the reported faults.
 */
void populate_serve(const struct uffd_msg *msg);
void populate_judge_faults(size_t page);
unsigned long populate_ops(void);

/*
 * A window of a few pages, which moves through the area. All sides work within
 * it, so that they meet all the time.
 */

#define WINDOW		16

extern atomic_ulong window;

static inline size_t hot_page(void)
{
	return (window % (mem.pages / WINDOW)) * WINDOW + rnd() % WINDOW;
}

/* A run of hot pages that stays within the window */
size_t hot_run(size_t *n);

/*
 * Touching a present page and removing an absent one test nothing. So both sides
 * leave a trace of their next step before they take it, and choose the pages
 * where the other side is.
 */
enum { TOUCH_ME = 1, POPULATE_ME = 2 };

extern atomic_uchar trace[MAX_PAGES];

/* A hot page with the trace @what; sometimes a random one */
size_t traced_page(unsigned char what);

/* A run of hot pages to remove, which get the trace @next */
size_t untraced_run(size_t *n, unsigned char next);

/* Checks some words of a page: each must be one of two values. */
void check_hot(size_t page, __u64 v1, __u64 v2);

/* The window does not move */
extern bool window_stays;

/* Runs the workers until the operations are done. */
void run_until(unsigned long (*done)(void), unsigned long wanted);
void hot_touch(unsigned int nr);

/* Reads two words of a page: 0, or the signal. */
int read_ends(size_t page, __u64 *first, __u64 *last);

/*
 * A round of write protection: all pages are protected and some of them written,
 * once, while other threads zap them. Protection survives that: each written page
 * is reported exactly once, and the others stay protected.
 */

extern unsigned int round_nr;
extern atomic_ushort wp_faults[MAX_PAGES];
extern __u64 written[MAX_PAGES];

static inline bool to_write(size_t page)
{
	return lab_word(round_nr, page) % 4;
}

int protect_round(void);
void write_once(size_t page);
void unprotect_serve(const struct uffd_msg *msg);
void judge_write(size_t page, bool is_protected);

/* Pages per round: fewer when the race is scaled down */
size_t round_pages(size_t pages);

/*
 * Each race is a fixture of its own. Its variants are memory types. @set_up and
 * @tear_down change and restore settings of the system.
 */
#define RACE_AMID(name, set_up, tear_down)				\
	FIXTURE(name) { };						\
	FIXTURE_SETUP(name) { race_begin(PAGE); set_up; }			\
	FIXTURE_TEARDOWN(name) { tear_down; race_drop(); }

#define RACE(name)	RACE_AMID(name, (void)0, (void)0)

#define MAKE(type, pages, features, modes)				\
do {									\
	ASSERT_EQ(0, lab_mem_make(&mem, type, pages));			\
	uffd = lab_uffd_open(features);					\
	ASSERT_LE(0, uffd);						\
	ASSERT_EQ(0, lab_register(uffd, mem.area, mem.len, modes, NULL)); \
} while (0)

#endif /* UFFD_RACE_PAGES_H */
