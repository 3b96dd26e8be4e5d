/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a race is run, counted, judged and ended, for the uffd-races*.c programs.
 * A race has workers, which are its sides, and a handler, which serves the
 * faults. The pages that it works on are in race-pages.h.
 *
 * The rule under test: no fault is lost and none is spurious. Where the order of
 * two racing sides decides which of two answers is right, both sides leave marks
 * that show which orders were possible. So every page of every round is judged,
 * and no result is excused as "a race".
 *
 * A race runs 100,000 operations (UFFD_TEST_SCALE percent of it); fewer within
 * the deadline is a failure. A watchdog ends a race without progress: then a
 * fault was lost. The counts are printed as KTAP comments, and a race continues
 * until they show that its sides have met.
 */
#ifndef UFFD_RACES_H
#define UFFD_RACES_H

#include "../../kselftest.h"
#include "lab.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPERATIONS	100000
#define DEADLINE_S	240
#define STALL_S		60
#define TIMEOUT_S	(DEADLINE_S + STALL_S)

#define MAX_THREADS	8

/* Counters, with the text that is printed for them */
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

/*
 * Each test runs in a process of its own, so the state of a race is global.
 */
extern atomic_ulong counts[NR_COUNTS];
extern atomic_ulong wrongs;
extern atomic_bool stop;

extern struct lab_mem mem;
extern int uffd;
extern size_t race_page;

#define ADD(c)		atomic_fetch_add_explicit(&counts[C_##c], 1,	\
						  memory_order_relaxed)
#define ADD_N(c, n)	atomic_fetch_add_explicit(&counts[C_##c], n,	\
						  memory_order_relaxed)
#define COUNT(c)	((unsigned long)counts[C_##c])

/* Reports a fault of the kernel; the race ends. */
__printf(1, 2) void wrong(const char *fmt, ...);

extern __thread __u64 random_state;

static inline __u64 rnd(void)
{
	__u64 x = random_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return random_state = x;
}

/* A short random delay, to vary how the sides of a race overlap */
void dither(void);

/*
 * The @nth pause of a loop that waits for another thread. It does not spin: on
 * an emulated CPU that would take the time of the other thread.
 */
void relax(unsigned int nth);

/* Starts a race over pages of @page bytes. */
void race_begin(size_t page);

/* Writes a setting of the system; false, and a line, if that fails. */
bool write_setting(const char *path, const char *value);

/* Closes the userfaultfd and unmaps the memory. */
void race_drop(void);

/*
 * A race is not over before each side did its share: @done operations count as
 * at most @times the operations of @side.
 */
static inline unsigned long share(unsigned long done, unsigned long times,
				  unsigned long side)
{
	return done < times * side ? done : times * side;
}

/* Whether the race continues */
bool more(unsigned long done, unsigned long wanted);

/* Prints the counts. True if enough was done and nothing was wrong. */
bool race_end(const char *name, unsigned long done, unsigned long wanted);

/* One side of a race, in a thread of its own; @nr is its number. */
typedef void (*work_fn)(unsigned int nr);

/* Starts @n threads of one side. */
void employ(work_fn fn, unsigned int n);

/* Waits for the @n threads that were started last, or for all. */
void join_last(unsigned int n);
void join_workers(void);

/* Returns when @n threads have called it. */
void meet(unsigned int n);

/* Starts the thread that reads the messages and calls @fn for each. */
void handler_start(void (*fn)(const struct uffd_msg *msg));

/* Stops it when all queued messages have been served. */
void handler_end(void);

#endif /* UFFD_RACES_H */
