/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the uffd-races*.c programs share: how a race is run, counted, judged
 * and ended. A race has workers, which are its sides, and a handler, which
 * serves the faults.
 *
 * The rule under test: no fault is lost and none is invented. Where the order
 * of two racing sides decides which of two answers is right, both sides leave
 * marks that tell which orders were possible, so that every page of every
 * round is judged and nothing is excused as "a race".
 *
 * A race runs 100,000 operations (UFFD_TEST_SCALE percent of it); fewer within
 * the deadline is a failure. A watchdog ends a race in which nothing moves any
 * more: that is a lost fault. The counts are printed as KTAP comments, and a
 * race goes on until they say that its sides have met.
 */
#ifndef UFFD_RACES_H
#define UFFD_RACES_H

#include "uffd-lab.h"
#include "../kselftest_harness.h"

#include <linux/fs.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define OPERATIONS	100000
#define DEADLINE_S	240
#define STALL_S		60
#define TIMEOUT_S	(DEADLINE_S + STALL_S)

/* A race of huge pages says so before it includes this. */
#ifndef PAGE
#define PAGE		LAB_PAGE
#endif
#define WORDS		(PAGE / sizeof(__u64))
#define BLOCK		32	/* pages between two meetings of the sides */
#define MAX_PAGES	4096
#define MAX_THREADS	8

/* What is counted and printed. */
#define COUNTS(X)						\
	X(TOUCHED, "pages touched")				\
	X(POPULATED, "pages populated")				\
	X(MISSING, "missing faults")				\
	X(MINOR, "minor faults")				\
	X(WP, "write-protect faults")				\
	X(WAS_PRESENT, "present before the touch")		\
	X(WAS_HOLE, "absent after the touch")			\
	X(MET, "populated during the touch")			\
	X(KERNEL_MADE, "made by the kernel")			\
	X(REPEATED, "reported again")				\
	X(STOPPED, "exits of a guest at holes")			\
	X(FILLED, "pages filled")				\
	X(EEXIST, "EEXIST")					\
	X(EFAULT, "EFAULT")					\
	X(ENOENT, "ENOENT")					\
	X(EAGAIN, "EAGAIN")					\
	X(EINVAL, "EINVAL")					\
	X(ESRCH, "ESRCH")					\
	X(POISONED, "pages poisoned")				\
	X(OVER_POISON, "fills over poison")			\
	X(SIGBUS, "SIGBUS")					\
	X(SIGSEGV, "SIGSEGV")					\
	X(PUNCHED, "holes punched")				\
	X(TRUNCATED, "size changes")				\
	X(PAGED_OUT, "page-out calls")				\
	X(SWAPPED_OUT, "pages swapped out")			\
	X(ZAPPED, "zaps")					\
	X(REMAPPED, "remaps")					\
	X(UNMAPPED, "unmaps")					\
	X(EV_REMOVE, "REMOVE events")				\
	X(EV_REMAP, "REMAP events")				\
	X(EV_UNMAP, "UNMAP events")				\
	X(EV_FORK, "FORK events")				\
	X(FORKS, "forks")					\
	X(WRITES, "writes")					\
	X(COLLECTED, "dirty pages collected")			\
	X(COLLAPSE_TRIED, "collapses tried")			\
	X(COLLAPSED, "collapses done")				\
	X(SCANS, "full scans of khugepaged")			\
	X(WHOLE, "huge pages mapped whole")			\
	X(CLOSED, "userfaultfds closed")			\
	X(UNREGISTERED, "ranges unregistered")			\
	X(WAITED, "closed on a waiting fault")			\
	X(EXITED, "processes ended")				\
	X(KILLED, "processes killed")

#define X(name, ...) C_##name,
enum { COUNTS(X) NR_COUNTS };
#undef X

static const char * const count_names[] = {
#define X(name, text) \
	[C_##name] = text,
	COUNTS(X)
#undef X
};

/*
 * Each test runs in a process of its own, so the state of a race is global.
 */
static atomic_ulong counts[NR_COUNTS];
static atomic_ulong wrongs;
static atomic_bool stop;
static __u64 started_ms;

static struct lab_mem mem;
static int uffd = -1;

#define ADD(c)		atomic_fetch_add_explicit(&counts[C_##c], 1,	\
						  memory_order_relaxed)
#define ADD_N(c, n)	atomic_fetch_add_explicit(&counts[C_##c], n,	\
						  memory_order_relaxed)
#define COUNT(c)	((unsigned long)counts[C_##c])

static inline __printf(1, 2) void wrong(const char *fmt, ...)
{
	va_list args;
	char text[256];

	if (atomic_fetch_add(&wrongs, 1) >= 8)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("# wrong: %s\n", text);
	fflush(stdout);
}

static inline void print_counts(void)
{
	__u64 ms = lab_now_ms() - started_ms;

	for (int i = 0; i < NR_COUNTS; i++)
		if (counts[i])
			printf("#   %10lu %s\n", counts[i], count_names[i]);
	printf("#   %6llu.%03llu seconds\n", ms / 1000, ms % 1000);
	fflush(stdout);
}

static __thread __u64 random_state;

static inline __u64 rnd(void)
{
	__u64 x = random_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return random_state = x;
}

/* Shifts the sides of a race against each other. */
static inline void dither(void)
{
	unsigned int n = rnd() % 8;

	if (!n)
		sched_yield();
	for (unsigned int i = 0; i < n * 64; i++)
		asm volatile("" ::: "memory");
}

/*
 * The @nth pause of somebody who waits for another thread. The CPUs may well be
 * virtual ones that wait for a turn themselves: to spin would take it from who
 * is waited for.
 */
static inline void relax(unsigned int nth)
{
	static const struct timespec nap = { .tv_nsec = 20000 };

	if (nth % 8 != 7)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

static inline void seed_random(void)
{
	static atomic_ulong next;

	random_state = lab_word(lab_now_ms(), atomic_fetch_add(&next, 1)) | 1;
}

/* Nothing moved for a long time: say what was seen and end the test. */
static inline void *watchdog(void *arg)
{
	unsigned long last = 0, sum;
	int quiet = 0;

	for (;;) {
		sleep(1);
		sum = 0;
		for (int i = 0; i < NR_COUNTS; i++)
			sum += counts[i];
		quiet = sum == last ? quiet + 1 : 0;
		last = sum;
		if (quiet < STALL_S)
			continue;
		printf("# wrong: nothing moved for %d s, a fault or a call is lost\n",
		       STALL_S);
		print_counts();
		_exit(KSFT_FAIL);
	}
	return arg;
}

static inline void race_begin(void)
{
	struct sigaction sa;
	pthread_t thread;

	/*
	 * The access helpers jump out of their handler without restoring the
	 * signal mask, which would cost a system call per access.
	 */
	lab_catch_signals();
	sigaction(SIGBUS, NULL, &sa);
	sa.sa_flags |= SA_NODEFER;
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);

	seed_random();
	started_ms = lab_now_ms();
	pthread_create(&thread, NULL, watchdog, NULL);
}

static inline void race_drop(void)
{
	if (uffd >= 0)
		close(uffd);
	lab_mem_drop(&mem);
}

/*
 * A race is not over before each side has had its share: so many operations
 * @done count for no more than @times what @side did.
 */
static inline unsigned long share(unsigned long done, unsigned long times,
				  unsigned long side)
{
	return done < times * side ? done : times * side;
}

/* Is the race to go on? */
static inline bool more(unsigned long done, unsigned long wanted)
{
	return done < wanted && !wrongs &&
	       lab_now_ms() - started_ms < DEADLINE_S * 1000ULL;
}

static inline bool race_end(const char *name, unsigned long done,
			    unsigned long wanted)
{
	printf("# %s: %lu racing operations, at least %lu wanted\n",
	       name, done, wanted);
	print_counts();
	if (wrongs)
		printf("# %lu things were wrong\n", wrongs);
	fflush(stdout);
	return done >= wanted && !wrongs;
}

/* Threads */

typedef void (*work_fn)(unsigned int nr);

struct worker {
	pthread_t thread;
	work_fn fn;
	unsigned int nr;
};

static struct worker workers[MAX_THREADS];
static unsigned int nr_workers;

static inline void *worker_main(void *arg)
{
	struct worker *w = arg;

	seed_random();
	w->fn(w->nr);
	return NULL;
}

static inline void employ(work_fn fn, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct worker *w = &workers[nr_workers++];

		w->fn = fn;
		w->nr = i;
		if (pthread_create(&w->thread, NULL, worker_main, w)) {
			wrong("cannot create a thread");
			_exit(KSFT_FAIL);
		}
	}
}

static inline void join_workers(void)
{
	while (nr_workers)
		pthread_join(workers[--nr_workers].thread, NULL);
}

/*
 * A barrier that yields and then sleeps, for the threads outnumber the CPUs.
 */
struct gate {
	atomic_uint arrived;
	atomic_uint passed;
};

static struct gate gate;

static inline void meet(unsigned int n)
{
	unsigned int passed = gate.passed;

	if (atomic_fetch_add(&gate.arrived, 1) + 1 == n) {
		gate.arrived = 0;
		gate.passed++;
		syscall(__NR_futex, &gate.passed, FUTEX_WAKE, MAX_THREADS,
			NULL, NULL, 0);
		return;
	}
	for (int i = 0; gate.passed == passed; i++) {
		if (i < 8)
			sched_yield();
		else
			syscall(__NR_futex, &gate.passed, FUTEX_WAIT, passed,
				NULL, NULL, 0);
	}
}

/* The handler: one thread that reads the messages and calls serve(). */

static void (*serve)(const struct uffd_msg *msg);
static pthread_t handler_thread;
static atomic_bool handler_stop;

static inline void *handler_main(void *arg)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msgs[16];
	ssize_t n;

	seed_random();
	for (;;) {
		n = read(uffd, msgs, sizeof(msgs));
		if (n > 0) {
			for (size_t i = 0; i < n / sizeof(*msgs); i++)
				serve(&msgs[i]);
			continue;
		}
		if (errno != EAGAIN)
			wrong("read of the userfaultfd: errno %d", errno);
		if (handler_stop)
			return arg;
		poll(&pfd, 1, 2);
	}
}

static inline void handler_start(void (*fn)(const struct uffd_msg *msg))
{
	serve = fn;
	handler_stop = false;
	if (pthread_create(&handler_thread, NULL, handler_main, NULL)) {
		wrong("cannot create a thread");
		_exit(KSFT_FAIL);
	}
}

/* Returns when every message that was queued has been served. */
static inline void handler_end(void)
{
	handler_stop = true;
	pthread_join(handler_thread, NULL);
}

/* Content: all words of a page are the same and tell page and source. */

enum { ZERO, SERVED, COPY_A, COPY_B, POPULATED };

static inline __u64 stamp(size_t page, unsigned int source)
{
	return source == ZERO ? 0 : (__u64)source << 56 | (page + 1) << 8 | source;
}

static inline void stamp_pages(void *p, size_t page, size_t n,
			       unsigned int source)
{
	__u64 *w = p;

	for (size_t i = 0; i < n * WORDS; i++)
		w[i] = stamp(page + i / WORDS, source);
}

static inline __u64 word(const void *base, size_t page, size_t nr)
{
	return __atomic_load_n((__u64 *)base + page * WORDS + nr,
			       __ATOMIC_ACQUIRE);
}

/* Are words [@from, WORDS) of @page all @value? */
static inline bool words_are(const void *base, size_t page, size_t from,
			     __u64 value)
{
	const __u64 *w = (const __u64 *)base + page * WORDS;

	for (size_t i = from; i < WORDS; i++)
		if (w[i] != value)
			return false;
	return true;
}

static inline void write_page(size_t page, unsigned int source)
{
	__u64 buf[WORDS];

	stamp_pages(buf, page, 1, source);
	if (pwrite(mem.fd, buf, PAGE, page * PAGE) != PAGE)
		wrong("pwrite of page %zu: errno %d", page, errno);
}

static inline void punch(size_t page, size_t n)
{
	if (fallocate(mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      page * PAGE, n * PAGE))
		wrong("a hole of %zu pages at %zu: errno %d", n, page, errno);
}

/* Empties the area and what is behind it. */
static inline void wipe(void)
{
	if (madvise(mem.area, mem.len, MADV_DONTNEED))
		wrong("MADV_DONTNEED: errno %d", errno);
	if (lab_is_file(&mem))
		punch(0, mem.pages);
}

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

static inline int copy_page(size_t page, unsigned int source)
{
	__u64 buf[WORDS];

	stamp_pages(buf, page, 1, source);
	return lab_copy(uffd, at(page), buf, PAGE, 0, NULL);
}

static inline void wake_page(size_t page)
{
	int err = lab_wake(uffd, at(page), PAGE);

	if (err)
		wrong("wake of page %zu: errno %d", page, -err);
}

/*
 * Counts what a fill of one page returned; the faulter of a page that was not
 * filled is woken to try again. False if the answer is not among @allowed.
 */
static inline bool settle(size_t page, int err, const int *allowed)
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
		/* An event is under way: let it, before this comes again. */
		ADD(EAGAIN);
		sched_yield();
		break;
	}
	if (!legal)
		wrong("fill of page %zu: errno %d", page, -err);
	wake_page(page);
	return legal;
}

#define ERRNOS(...)	((const int[]){ __VA_ARGS__, 0 })

/*
 * What the judge is told about each page: the marks of the sides, begun and
 * done, as they were at the touch, and how often it was reported. Two more
 * marks say which side has come to the page.
 */
struct page_log {
	atomic_uchar toucher, populator;
	atomic_uchar begun, done;
	unsigned char was_done, was_begun;	/* at the touch */
	atomic_ushort missing, minor;
};

static struct page_log page_log[MAX_PAGES];

static inline void forget_log(void)
{
	memset(page_log, 0, sizeof(page_log));
}

/* With MINOR armed, a hole is the kernel's and not served: it reads as zeroes. */
static bool minor_armed;

static inline unsigned long faults(void)
{
	return COUNT(MISSING) + COUNT(MINOR);
}

static inline bool poke(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, value, strlen(value)) > 0;

	if (!done)
		printf("# cannot write %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return done;
}

/*
 * A few pages that everybody works on, which move through the area. The
 * sides then meet all the time.
 */

#define WINDOW		16

static atomic_ulong window;

static inline size_t hot_page(void)
{
	return (window % (mem.pages / WINDOW)) * WINDOW + rnd() % WINDOW;
}

/* A run of hot pages that stays within the window */
static inline size_t hot_run(size_t *n)
{
	size_t page = hot_page();
	size_t left = WINDOW - page % WINDOW;

	*n = 1 + rnd() % 8;
	if (*n > left)
		*n = left;
	return page;
}

/*
 * Touching what is there costs nothing and tells nothing, and so does taking
 * away what is not there. So both sides leave a trace of what they are about
 * to do, before they do it, and go for the pages where the other one is at.
 */
enum { TOUCH_ME = 1, POPULATE_ME = 2 };

static atomic_uchar trace[MAX_PAGES];

/* A hot page on which @what is to be done; sometimes just any */
static inline size_t traced_page(unsigned char what)
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

/* A run of hot pages to take away, and what is to be done about it next */
static inline size_t untraced_run(size_t *n, unsigned char next)
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

/* Some words of a page, each of which must be one of two values */
static inline void check_hot(size_t page, __u64 v1, __u64 v2)
{
	for (size_t i = 0; i < WORDS; i += WORDS / 8) {
		__u64 v = word(mem.area, page, i);

		if (v != v1 && v != v2)
			wrong("word %zu of page %zu is %llx", i, page, v);
	}
	ADD(TOUCHED);
}

/* Runs the workers until the operations are done. */
static bool window_stays;

static inline void run_until(unsigned long (*done)(void),
			     unsigned long wanted)
{
	while (more(done(), wanted)) {
		lab_sleep_ms(20);
		window += !window_stays;
	}
	stop = true;
	join_workers();
	handler_end();
}

static inline void hot_touch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = traced_page(TOUCH_ME);
		__u64 v = stamp(page, SERVED);

		check_hot(page, v, minor_armed ? ZERO : v);
	}
}

/* Does something that a signal may end: 0, or the signal. */
#define TRY(what)							\
({									\
	struct lab_env env;						\
	int sig = sigsetjmp(env.buf, 0);				\
									\
	if (!sig) {							\
		lab_signal_env = &env;					\
		what;							\
	}								\
	lab_signal_env = NULL;						\
	sig;								\
})

/* Reads two words of a page: 0, or the signal. */
static inline int read_ends(size_t page, __u64 *first, __u64 *last)
{
	return TRY(*first = word(mem.area, page, 0);
		   *last = word(mem.area, page, WORDS - 1));
}

/*
 * With WP armed, all pages are protected and some of them written, once, while
 * others take them away. Protection outlives that: exactly the written ones are
 * reported, exactly once, and the others stay protected.
 */

static unsigned int round_nr;
static atomic_ushort wp_faults[MAX_PAGES];
static __u64 written[MAX_PAGES];

static inline bool to_write(size_t page)
{
	return lab_word(round_nr, page) % 4;
}

static inline int protect_round(void)
{
	round_nr++;
	memset(wp_faults, 0, sizeof(wp_faults));
	return lab_writeprotect(uffd, mem.area, mem.len,
				UFFDIO_WRITEPROTECT_MODE_WP);
}

static inline void write_once(size_t page)
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

static inline void unprotect_serve(const struct uffd_msg *msg)
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

static inline void judge_write(size_t page, bool is_protected)
{
	if (wp_faults[page] != to_write(page) || is_protected == to_write(page))
		wrong("page %zu, %s: %d faults, %sprotected", page,
		      to_write(page) ? "written" : "not written",
		      wp_faults[page], is_protected ? "" : "not ");
	if (word(mem.area, page, 0) != written[page])
		wrong("page %zu: a write was lost", page);
}

/* A round should not be longer than what is wanted of all of them. */
static inline size_t round_pages(size_t pages)
{
	size_t n = lab_scale(pages) / BLOCK * BLOCK;

	return n > pages ? pages : n < 8 * BLOCK ? 8 * BLOCK : n;
}

/*
 * Each race is a fixture of its own, whose variants are its memory types; with
 * @set_up and @tear_down, what it needs changed in the system.
 */
#define RACE_AMID(name, set_up, tear_down)				\
	FIXTURE(name) { };						\
	FIXTURE_SETUP(name) { race_begin(); set_up; }			\
	FIXTURE_TEARDOWN(name) { tear_down; race_drop(); }

#define RACE(name)	RACE_AMID(name, (void)0, (void)0)

#define MAKE(type, pages, features, modes)				\
do {									\
	ASSERT_EQ(0, lab_mem_make(&mem, type, pages));			\
	uffd = lab_uffd_open(features);					\
	ASSERT_LE(0, uffd);						\
	ASSERT_EQ(0, lab_register(uffd, mem.area, mem.len, modes, NULL)); \
} while (0)

#endif /* UFFD_RACES_H */
