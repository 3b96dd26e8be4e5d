// SPDX-License-Identifier: GPL-2.0
/*
 * The workloads of `make bench`: every userfaultfd operation, and ordinary
 * faults, which must not become slower. Runs in a VM that QEMU emulates with
 * -icount shift=0,sleep=off: one instruction takes one TSC tick, so the
 * difference of two RDTSC is a number of instructions. This is checked first;
 * on any other system the program refuses to run.
 *
 *	workloads [-n SAMPLES] [-m NAME] [-l] [-x] [PART-OF-A-NAME...]
 *
 * -l lists the names. -x requires exact names; without it, the "reference"
 * workloads always run, which measure the work that some of the others include.
 * -m marks only the samples of this workload, for bench/profile.
 *
 * Prints a table of tab-separated values, one line per sample:
 *
 *	name class unit units work bytes count
 *
 * UNITS units took COUNT instructions. WORK, "copy" or "clear", means that each
 * unit includes copying or clearing BYTES bytes, which is unavoidable.
 *
 * A sample is
 *
 *	map, prepare, register, arm;	not counted
 *	action on each step of the area	counted
 *	unmap				not counted
 *
 * and is reproducible to the last digits because
 *
 *  - there is one processor, and a SCHED_FIFO process is not preempted;
 *  - kernel threads get time to settle before each sample;
 *  - a sample begins just after a timer tick, and all but the longest samples
 *    end before the next one;
 *  - all areas are at fixed addresses, so that page tables are laid out alike,
 *    and a page beyond each area keeps the upper levels: only the lowest level
 *    is allocated and freed;
 *  - the first run of each workload, which fills caches, is discarded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/kvm.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define KIB(n)		((size_t)(n) << 10)
#define MIB(n)		((size_t)(n) << 20)
#define PAGE		KIB(4)
#define HUGE		MIB(2)
#define AROUND		KIB(64)		/* mapped by one fault-around */
#define RUN		KIB(16)		/* the first three pages form a run */
#define PAIR		KIB(8)		/* the first page is a hole */
#define MANY		KIB(128)	/* the same, or all pages are present */
#define AREA_MAX	MIB(16)
#define ANCHOR		MIB(512)	/* from the beginning of an area */

/* Fixed addresses, each with separate page tables. */
#define AREA_AT		((char *)(1UL << 44))
#define ALIAS_AT	((char *)(2UL << 44))
#define SOURCE_AT	((char *)(3UL << 44))
#define ELSEWHERE_AT	((char *)(4UL << 44))
#define FILE_SOURCE_AT	((char *)(6UL << 44))

#define RAMFS		"/tmp/bench-ramfs"
#define CGROUP		"/tmp/bench-cgroup"
#define THP_SHMEM	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define RT_RUNTIME	"/proc/sys/kernel/sched_rt_runtime_us"

#define MISSING		UFFDIO_REGISTER_MODE_MISSING
#define MINOR		UFFDIO_REGISTER_MODE_MINOR
#define WP		UFFDIO_REGISTER_MODE_WP

enum memory {
	NOTHING, ANON, ANON_HUGE, SHMEM, SHMEM_PRIVATE, SHMEM_HUGE, SYSV, FILES,
	FILES_PRIVATE, HUGETLB, GUEST_MEMFD,
};

enum work { NO_WORK, COPY, CLEAR };

struct workload {
	const char *name;
	const char *class;
	enum memory memory;
	enum work work;
	size_t size;		/* of the area */
	size_t step;		/* bytes per action; 0: the whole area */
	size_t per;		/* bytes per reported unit; 0: one action */
	size_t moved;		/* bytes of work per unit; 0: the whole unit */
	size_t room;		/* limit of its memory cgroup; 0: root cgroup */
	unsigned int repeat;	/* passes over the area; 0: one */
	__u64 modes;		/* registered modes; 0: not registered */
	__u64 features;
	void (*prepare)(void);
	void (*arm)(void);
	void (*before)(char *at, size_t len);	/* not counted */
	void (*action)(char *at, size_t len);
	void (*handler)(char *at, size_t len);	/* resolves each userfault */
	__u64 flags;				/* that each fault must have */
};

/* State of the current workload. */
static const struct workload *now;
static char *source;
static int file = -1;
static int uffd = -1;
static int vm = -1;		/* GUEST_MEMFD: the owner of the memory */
static bool fill_many;		/* the kernel has UFFDIO_FILL */
static __u64 map_huge;		/* CONTINUE mode that maps whole huge pages */
static bool fill_skips;		/* the same, with SKIP_PRESENT */

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	fflush(stdout);
	fprintf(stderr, "workloads: ");
	if (now)
		fprintf(stderr, "%s: ", now->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(1);
}

static void spit(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("cannot write %s to %s", text, path);
	close(fd);
}

/* ---- the clock ---- */

static inline uint64_t count(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/*
 * Begin and end marks for bench/profile: NOPs that its QEMU plugin recognizes
 * by their displacement. They are outside the counted section.
 */
static inline void mark_begin(void)
{
	asm volatile("nopl 0x64666675(%%rax)" : : : "memory");
}

static inline void mark_end(void)
{
	asm volatile("nopl 0x75666664(%%rax)" : : : "memory");
}

static bool warm;	/* the sample counts */

/* 2000 instructions, plus a few around them, must take as many counts. */
static void check_clock(void)
{
	uint64_t begin, n, best = UINT64_MAX;
	unsigned long loops;
	int i;

	for (i = 0; i < 10; i++) {
		loops = 1000;
		begin = count();
		asm volatile("1: dec %0; jnz 1b" : "+r"(loops) : : "cc");
		n = count() - begin;
		if (n < best)
			best = n;
	}
	if (best < 2000 || best > 2020) {
		fprintf(stderr,
			"workloads: 2000 instructions take %llu counts: no instruction counting here\n",
			(unsigned long long)best);
		exit(1);
	}
	printf("# clock\t2000 instructions and a reading: %llu counts\n",
	       (unsigned long long)best);
}

/*
 * Lets kernel threads settle, then waits for a timer tick, which shows as a
 * longer interval between two clock reads. The next tick is then far away.
 */
static void settle(void)
{
	struct timespec rest = { .tv_nsec = 20000000 };
	uint64_t last, next;
	int limit = 10000000;

	nanosleep(&rest, NULL);
	last = count();
	while (limit--) {
		next = count();
		if (next - last > 500)
			return;
		last = next;
	}
	errno = ETIME;
	die("no timer tick");
}

/* ---- memory ---- */

static bool has_file(void)
{
	return now->memory >= SHMEM && now->memory != SYSV;
}

static bool is_private(void)
{
	return now->memory == ANON || now->memory == ANON_HUGE ||
	       now->memory == SHMEM_PRIVATE || now->memory == FILES_PRIVATE;
}

static void map_at(char *at, size_t size, int flags, int fd)
{
	char *p;

	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	p = mmap(at, size, PROT_READ | PROT_WRITE,
		 flags | MAP_FIXED_NOREPLACE, fd, 0);
	if (p != at)
		die("cannot map %zu bytes", size);
}

static void map_sysv(void)
{
	int id = shmget(IPC_PRIVATE, now->size, IPC_CREAT | 0600);

	if (id < 0 || shmat(id, AREA_AT, 0) != AREA_AT ||
	    shmat(id, ALIAS_AT, 0) != ALIAS_AT || shmctl(id, IPC_RMID, NULL))
		die("cannot attach a segment");
}

/* A guest_memfd needs a VM, but no vCPU. */
#define GMEM_FLAGS	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static void open_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR);

	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (kvm >= 0)
		close(kvm);
}

static void close_vm(void)
{
	if (vm >= 0)
		close(vm);
	vm = -1;
}

static int open_guest_memfd(size_t size)
{
	struct kvm_create_guest_memfd args = {
		.size = size, .flags = GMEM_FLAGS,
	};

	open_vm();
	return vm < 0 ? -1 : ioctl(vm, KVM_CREATE_GUEST_MEMFD, &args);
}

/* Does this kernel support it? KVM may be missing. */
static bool has_guest_memfd(void)
{
	int known;

	open_vm();
	known = vm < 0 ? 0 : ioctl(vm, KVM_CHECK_EXTENSION,
				   KVM_CAP_GUEST_MEMFD_FLAGS);
	close_vm();
	return known > 0 && (known & GMEM_FLAGS) == GMEM_FLAGS;
}

/*
 * Maps the area, and the same file again without userfaultfd. For anonymous
 * memory the two mappings are independent.
 */
static void map(void)
{
	int kind = is_private() ? MAP_PRIVATE : MAP_SHARED;
	int huge;

	switch (now->memory) {
	case NOTHING:
		return;
	case SYSV:
		map_sysv();
		return;
	case SHMEM:
	case SHMEM_PRIVATE:
	case SHMEM_HUGE:
		file = memfd_create("bench", 0);
		break;
	case HUGETLB:
		file = memfd_create("bench", MFD_HUGETLB | MFD_HUGE_2MB);
		break;
	case FILES:
	case FILES_PRIVATE:
		file = open(RAMFS "/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
		break;
	case GUEST_MEMFD:
		file = open_guest_memfd(now->size);
		break;
	default:
		break;
	}
	/* Only a guest_memfd has a fixed size. */
	if (has_file() && (file < 0 || (now->memory != GUEST_MEMFD &&
					ftruncate(file, now->size))))
		die("cannot create a file");
	map_at(AREA_AT, now->size, kind, file);
	map_at(ALIAS_AT, now->size, file < 0 ? MAP_PRIVATE : MAP_SHARED, file);
	if (now->memory == HUGETLB || now->memory == GUEST_MEMFD)
		return;
	huge = now->memory == ANON_HUGE || now->memory == SHMEM_HUGE;
	if (madvise(AREA_AT, now->size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) ||
	    madvise(ALIAS_AT, now->size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("cannot set the huge page policy");
}

static void unmap(void)
{
	if (now->memory == NOTHING)
		return;
	if (now->memory == SYSV) {
		shmdt(AREA_AT);
		shmdt(ALIAS_AT);
		return;
	}
	munmap(AREA_AT, now->size);
	munmap(ALIAS_AT, now->size);
	if (file >= 0) {
		if (now->memory != GUEST_MEMFD && ftruncate(file, 0))
			die("cannot truncate");
		close(file);
	}
	file = -1;
	close_vm();
}

/* ---- preparation of an area ---- */

/* All pages are in the file, none is mapped in the area. */
static void fill_file(void)
{
	if (madvise(ALIAS_AT, now->size, MADV_POPULATE_WRITE))
		die("cannot fill");
}

/* The same, and the area is the only mapping. */
static void fill_file_alone(void)
{
	fill_file();
	if (madvise(ALIAS_AT, now->size, MADV_DONTNEED))
		die("cannot unmap the second mapping");
}

/*
 * Maps a file as the source of COPY, as a restore does: its pages are in the
 * page cache, but not in the page table.
 */
static void map_source_file(void)
{
	static int from = -1;

	if (from < 0) {
		from = memfd_create("source", 0);
		if (from < 0 || ftruncate(from, AREA_MAX) ||
		    fallocate(from, 0, 0, AREA_MAX))
			die("cannot create the source");
	}
	munmap(FILE_SOURCE_AT, AREA_MAX);
	map_at(FILE_SOURCE_AT, now->size, MAP_PRIVATE, from);
}

static void fill_area(void)
{
	if (madvise(AREA_AT, now->size, MADV_POPULATE_WRITE))
		die("cannot fill");
}

static void read_area(void)
{
	if (madvise(AREA_AT, now->size, MADV_POPULATE_READ))
		die("cannot read");
}

/*
 * In each unit of the area, which has several pages, the first page is a hole
 * and the others are present.
 */
static void write_around_holes(char *area)
{
	size_t off;

	for (off = 0; off < now->size; off += PAGE)
		if (off % now->per)
			area[off] = 1;
}

static void fill_area_around_holes(void)
{
	write_around_holes(AREA_AT);
}

static void fill_file_around_holes(void)
{
	write_around_holes(ALIAS_AT);
}

/* All pages are in the file; all pages except the holes are mapped. */
static void map_around_holes(void)
{
	fill_file();
	write_around_holes(AREA_AT);
}

/* ---- userfaultfd ---- */

static int try_uffd(struct uffdio_api *api)
{
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	return uffd < 0 ? -1 : ioctl(uffd, UFFDIO_API, api);
}

/* On the stock kernel, without the features of the patched kernel. */
#define OURS	((__u64)UFFD_FEATURE_MAP_HUGE)

static void open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = now->features };
	bool opened = !try_uffd(&api);

	if (!opened && (now->features & OURS)) {
		close(uffd);
		api = (struct uffdio_api) {
			.api = UFFD_API, .features = now->features & ~OURS };
		opened = !try_uffd(&api);
		map_huge = 0;
	} else {
		map_huge = UFFDIO_CONTINUE_MODE_MAP_HUGE;
	}
	if (!opened)
		die("cannot open a userfaultfd");
	fill_many = api.features & UFFD_FEATURE_FILL;
	fill_skips = fill_many && api.features & UFFD_FEATURE_SKIP_PRESENT;
}

static void uffd_register(char *at, size_t len)
{
	struct uffdio_register arg = {
		.range = { (unsigned long)at, len }, .mode = now->modes,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &arg))
		die("UFFDIO_REGISTER");
}

static void uffd_unregister(char *at, size_t len)
{
	struct uffdio_range arg = { (unsigned long)at, len };

	if (ioctl(uffd, UFFDIO_UNREGISTER, &arg))
		die("UFFDIO_UNREGISTER");
}

static void uffd_wake(char *at, size_t len)
{
	struct uffdio_range arg = { (unsigned long)at, len };

	if (ioctl(uffd, UFFDIO_WAKE, &arg))
		die("UFFDIO_WAKE");
}

static void do_copy_from(char *from, char *at, size_t len, __u64 mode)
{
	struct uffdio_copy arg = {
		.dst = (unsigned long)at, .len = len, .mode = mode,
		.src = (unsigned long)from + (at - AREA_AT),
	};

	if (ioctl(uffd, UFFDIO_COPY, &arg) || arg.copy != (__s64)len)
		die("UFFDIO_COPY");
}

static void do_copy(char *at, size_t len, __u64 mode)
{
	do_copy_from(source, at, len, mode);
}

static void uffd_copy(char *at, size_t len)
{
	do_copy(at, len, 0);
}

static void uffd_copy_file(char *at, size_t len)
{
	do_copy_from(FILE_SOURCE_AT, at, len, 0);
}

static void uffd_copy_wp(char *at, size_t len)
{
	do_copy(at, len, UFFDIO_COPY_MODE_WP);
}

static void uffd_zeropage(char *at, size_t len)
{
	struct uffdio_zeropage arg = { .range = { (unsigned long)at, len } };

	if (ioctl(uffd, UFFDIO_ZEROPAGE, &arg) || arg.zeropage != (__s64)len)
		die("UFFDIO_ZEROPAGE");
}

static void do_continue(char *at, size_t len, __u64 mode)
{
	struct uffdio_continue arg = {
		.range = { (unsigned long)at, len }, .mode = mode,
	};

	if (ioctl(uffd, UFFDIO_CONTINUE, &arg) || arg.mapped != (__s64)len)
		die("UFFDIO_CONTINUE");
}

static void uffd_continue(char *at, size_t len)
{
	do_continue(at, len, 0);
}

/* With UFFD_FEATURE_MAP_HUGE */
static void uffd_continue_huge(char *at, size_t len)
{
	do_continue(at, len, map_huge);
}

/* Three pages of each RUN, in as few calls as possible */
static struct uffdio_fill_range runs[AREA_MAX / RUN];

static void make_runs(void)
{
	size_t i;

	for (i = 0; i < now->size / RUN; i++)
		runs[i] = (struct uffdio_fill_range) {
			.start = (unsigned long)(AREA_AT + i * RUN),
			.len = 3 * PAGE,
		};
}

static void uffd_continue_runs(char *at, size_t len)
{
	struct uffdio_fill arg = {
		.ranges = (unsigned long)runs, .count = len / RUN,
		.op = _UFFDIO_CONTINUE,
	};
	size_t i;

	if (fill_many) {
		if (ioctl(uffd, UFFDIO_FILL, &arg) || arg.done != arg.count ||
		    runs[arg.count - 1].filled != 3 * PAGE)
			die("UFFDIO_FILL");
		return;
	}
	for (i = 0; i < len / RUN; i++)
		uffd_continue(at + i * RUN, 3 * PAGE);
}

/*
 * Holes among present pages: returns the bytes filled before the first present
 * page, or -EEXIST if that is the first page.
 */
static __s64 try_copy(char *at, size_t len)
{
	struct uffdio_copy arg = {
		.dst = (unsigned long)at, .len = len,
		.src = (unsigned long)source + (at - AREA_AT),
	};

	ioctl(uffd, UFFDIO_COPY, &arg);
	return arg.copy;
}

static __s64 try_zeropage(char *at, size_t len)
{
	struct uffdio_zeropage arg = { .range = { (unsigned long)at, len } };

	ioctl(uffd, UFFDIO_ZEROPAGE, &arg);
	return arg.zeropage;
}

static __s64 try_continue(char *at, size_t len)
{
	struct uffdio_continue arg = { .range = { (unsigned long)at, len } };

	ioctl(uffd, UFFDIO_CONTINUE, &arg);
	return arg.mapped;
}

static void expect(__s64 got, __s64 wanted, const char *what)
{
	if (got == wanted)
		return;
	errno = got < 0 ? -got : EPROTO;
	die("%s: %lld bytes instead of %lld", what, got, wanted);
}

static void uffd_copy_one_hole(char *at, size_t len)
{
	expect(try_copy(at, len), PAGE, "UFFDIO_COPY");
}

static void uffd_copy_no_hole(char *at, size_t len)
{
	expect(try_copy(at, len), -EEXIST, "UFFDIO_COPY");
}

static void step_over_present(char *at, size_t len,
			      __s64 (*fill)(char *at, size_t len))
{
	size_t done, filled = 0;
	__s64 n;

	for (done = 0; done < len; done += PAGE) {
		n = fill(at + done, len - done);
		if (n == -EEXIST)
			continue;
		expect(n, PAGE, "a hole");
		filled += PAGE;
	}
	expect(filled, len / now->per * PAGE, "all holes");
}

static void uffd_copy_stepping(char *at, size_t len)
{
	step_over_present(at, len, try_copy);
}

static void uffd_zeropage_stepping(char *at, size_t len)
{
	step_over_present(at, len, try_zeropage);
}

static void uffd_continue_stepping(char *at, size_t len)
{
	step_over_present(at, len, try_continue);
}

/* The same in one call, of which @holes bytes are filled. */
static void fill_skipping(char *at, size_t len, int what, size_t holes)
{
	struct uffdio_fill_range range = {
		.start = (unsigned long)at, .len = len,
		.src = what == _UFFDIO_COPY ?
			(unsigned long)source + (at - AREA_AT) : 0,
	};
	struct uffdio_fill arg = {
		.ranges = (unsigned long)&range, .count = 1, .op = what,
		.mode = UFFDIO_FILL_MODE_SKIP_PRESENT,
	};

	if (ioctl(uffd, UFFDIO_FILL, &arg))
		die("UFFDIO_FILL");
	errno = range.error;
	if (range.filled != holes || range.skipped != len - holes)
		die("UFFDIO_FILL: %llu bytes filled, %llu skipped",
		    range.filled, range.skipped);
}

static void fill_copy_holes(char *at, size_t len)
{
	if (fill_skips)
		fill_skipping(at, len, _UFFDIO_COPY, len / now->per * PAGE);
	else
		uffd_copy_stepping(at, len);
}

static void fill_copy_all(char *at, size_t len)
{
	if (fill_skips)
		fill_skipping(at, len, _UFFDIO_COPY, len);
	else
		uffd_copy(at, len);
}

static void skip_copy(char *at, size_t len)
{
	fill_skipping(at, len, _UFFDIO_COPY, 0);
}

static void skip_zeropage(char *at, size_t len)
{
	fill_skipping(at, len, _UFFDIO_ZEROPAGE, 0);
}

static void skip_continue(char *at, size_t len)
{
	fill_skipping(at, len, _UFFDIO_CONTINUE, 0);
}

static void skip_poison(char *at, size_t len)
{
	fill_skipping(at, len, _UFFDIO_POISON, 0);
}

/* Of this kernel */
static bool has_fill_that_skips(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	const __u64 wanted = UFFD_FEATURE_FILL | UFFD_FEATURE_SKIP_PRESENT;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		die("cannot open a userfaultfd");
	close(fd);
	return (api.features & wanted) == wanted;
}

static void uffd_poison(char *at, size_t len)
{
	struct uffdio_poison arg = { .range = { (unsigned long)at, len } };

	if (ioctl(uffd, UFFDIO_POISON, &arg) || arg.updated != (__s64)len)
		die("UFFDIO_POISON");
}

static void uffd_move(char *at, size_t len)
{
	struct uffdio_move arg = {
		.dst = (unsigned long)at, .len = len,
		.src = (unsigned long)ALIAS_AT + (at - AREA_AT),
	};

	if (ioctl(uffd, UFFDIO_MOVE, &arg) || arg.move != (__s64)len)
		die("UFFDIO_MOVE");
}

static void write_protect(char *at, size_t len, __u64 mode)
{
	struct uffdio_writeprotect arg = {
		.range = { (unsigned long)at, len }, .mode = mode,
	};

	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &arg))
		die("UFFDIO_WRITEPROTECT");
}

static void uffd_protect(char *at, size_t len)
{
	write_protect(at, len, UFFDIO_WRITEPROTECT_MODE_WP);
}

static void uffd_unprotect(char *at, size_t len)
{
	write_protect(at, len, 0);
}

static void protect_area(void)
{
	uffd_protect(AREA_AT, now->size);
}

/* ---- operations without userfaultfd ---- */

static void touch_read(char *at, size_t len)
{
	(void)len;
	(void)*(volatile char *)at;
}

static void touch_write(char *at, size_t len)
{
	(void)len;
	*(volatile char *)at = 1;
}

static void populate_read(char *at, size_t len)
{
	if (madvise(at, len, MADV_POPULATE_READ))
		die("MADV_POPULATE_READ");
}

static void populate_write(char *at, size_t len)
{
	if (madvise(at, len, MADV_POPULATE_WRITE))
		die("MADV_POPULATE_WRITE");
}

static void read_file(char *at, size_t len)
{
	if (pread(file, source, len, at - AREA_AT) != (ssize_t)len)
		die("pread");
}

static void write_file(char *at, size_t len)
{
	if (pwrite(file, source, len, at - AREA_AT) != (ssize_t)len)
		die("pwrite");
}

static void allocate(char *at, size_t len)
{
	if (fallocate(file, 0, at - AREA_AT, len))
		die("fallocate");
}

static void punch(char *at, size_t len)
{
	if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      at - AREA_AT, len))
		die("cannot punch a hole");
}

static void map_and_unmap(char *at, size_t len)
{
	(void)at;
	map_at(ELSEWHERE_AT, len, MAP_PRIVATE, -1);
	munmap(ELSEWHERE_AT, len);
}

static void move_mapping(char *from, char *to, size_t len)
{
	if (mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		die("mremap");
}

static void move_there_and_back(char *at, size_t len)
{
	move_mapping(at, ELSEWHERE_AT, len);
	move_mapping(ELSEWHERE_AT, at, len);
}

static void fork_and_wait(char *at, size_t len)
{
	pid_t pid = fork();

	(void)at;
	(void)len;
	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		die("fork");
}

/* ---- references ---- */

static void copy_by_itself(char *at, size_t len)
{
	char *from = source + (at - AREA_AT);

	asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(len)
		     : : "memory");
}

static void clear_by_itself(char *at, size_t len)
{
	asm volatile("rep stosb" : "+D"(at), "+c"(len) : "a"(0) : "memory");
}

static void do_nothing(char *at, size_t len)
{
	(void)at;
	(void)len;
}

/* ---- the handler of userfaults ---- */

static volatile bool stopping;
static unsigned long served;

static void interrupt(int sig)
{
	(void)sig;
}

static void *serve(void *unused)
{
	struct uffd_msg msg;
	char *at;

	(void)unused;
	for (;;) {
		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg)) {
			if (errno == EINTR && stopping)
				return NULL;
			die("cannot read an event");
		}
		if (msg.event != UFFD_EVENT_PAGEFAULT ||
		    (msg.arg.pagefault.flags & ~UFFD_PAGEFAULT_FLAG_WRITE) !=
		    now->flags)
			die("unexpected event %#x with flags %#llx", msg.event,
			    (unsigned long long)msg.arg.pagefault.flags);
		at = (char *)(msg.arg.pagefault.address & -now->step);
		now->handler(at, now->step);
		served++;
	}
}

/* ---- a memory cgroup with a low limit ---- */

static void enter_cgroup(void)
{
	char room[32];

	if (!now->room)
		return;
	spit(CGROUP "/cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP "/bench", 0700))
		die("cannot make a cgroup");
	snprintf(room, sizeof(room), "%zu", now->room);
	spit(CGROUP "/bench/memory.max", room);
	spit(CGROUP "/bench/cgroup.procs", "0");
}

/* Its charges are gone once the area is unmapped. */
static void leave_cgroup(void)
{
	if (!now->room)
		return;
	spit(CGROUP "/cgroup.procs", "0");
}

static void remove_cgroup(void)
{
	if (now->room && rmdir(CGROUP "/bench"))
		die("cannot remove the cgroup");
}

/* ---- a sample ---- */

static size_t step_of(const struct workload *w)
{
	return w->step ?: w->size;
}

static unsigned long units_of(const struct workload *w)
{
	return w->size / (w->per ?: step_of(w)) * (w->repeat ?: 1);
}

static uint64_t act(void)
{
	unsigned int round, rounds = now->repeat ?: 1;
	size_t off, step = step_of(now);
	uint64_t begin, sum = 0;

	if (!now->before) {
		begin = count();
		for (round = 0; round < rounds; round++)
			for (off = 0; off < now->size; off += step)
				now->action(AREA_AT + off, step);
		return count() - begin;
	}
	for (round = 0; round < rounds; round++) {
		for (off = 0; off < now->size; off += step) {
			now->before(AREA_AT + off, step);
			begin = count();
			now->action(AREA_AT + off, step);
			sum += count() - begin;
		}
	}
	return sum;
}

/* The one workload that is profiled, or NULL: all */
static const char *marked;

static uint64_t sample(void)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	pthread_t server;
	bool marks;
	uint64_t n;

	map();
	if (now->prepare)
		now->prepare();
	if (now->modes) {
		open_uffd();
		/* Otherwise its cost would be part of the sample. */
		if (!now->before)
			uffd_register(AREA_AT, now->size);
	}
	if (now->arm)
		now->arm();
	if (now->handler) {
		stopping = false;
		served = 0;
		if (pthread_create(&server, NULL, serve, NULL))
			die("cannot start the handler");
	}

	enter_cgroup();
	settle();
	marks = warm && (!marked || !strcmp(now->name, marked));
	if (marks)
		mark_begin();
	n = act();
	if (marks)
		mark_end();
	leave_cgroup();

	if (now->handler) {
		/* Repeat the signal: just before the read() it is lost. */
		stopping = true;
		do {
			pthread_kill(server, SIGUSR1);
			nanosleep(&moment, NULL);
		} while (pthread_tryjoin_np(server, NULL));
		if (served != units_of(now)) {
			errno = ENOMSG;
			die("%lu faults for %lu touches", served,
			    units_of(now));
		}
	}
	unmap();
	remove_cgroup();
	if (uffd >= 0)
		close(uffd);
	uffd = -1;
	return n;
}

/* ---- the list ---- */

/* Limit 1.02 of stock: operations, and faults of registered memory */
#define OP(n, m)	.name = n, .class = "operation", .memory = m
/* Limit 1.000 of stock: without userfaultfd there must be no cost */
#define PLAIN(n, m)	.name = n, .class = "ordinary", .memory = m
/* Memory types added by the patches: compared with shmem */
#define JOINED(n, m)	.name = n, .class = "joined", .memory = m
/*
 * Only on the patched kernel, with absolute limits in bench/report: skipping a
 * page that is mapped, or that is only in the file
 */
#define SKIP_MAPPED(n, m)						\
	.name = n, .class = "skip-mapped", .memory = m
#define SKIP_UNMAPPED(n, m)						\
	.name = n, .class = "skip-unmapped", .memory = m
/* Without a limit, by the length of the range */
#define LENGTH(n, m)	.name = n, .class = "length", .memory = m
/* The cost of copying and clearing, which is unavoidable */
#define REFERENCE(n, m)	.name = n, .class = "reference", .memory = m

/* An action on the whole area, or on every page; reported per page. */
#define RANGE		.size = MIB(16), .per = PAGE
#define PAGES		.size = MIB(16), .step = PAGE
#define HUGE_RANGE	.size = MIB(16), .per = HUGE
#define HUGE_PAGES	.size = MIB(16), .step = HUGE
/* Short enough to end before the next timer tick. */
#define TOUCHES		.size = MIB(1), .step = PAGE
#define FAULTS		.size = KIB(512), .step = PAGE
#define SHORT_RANGE	.size = MIB(1), .per = PAGE
#define ONE_HUGE	.size = HUGE, .step = HUGE
/* Calls for ranges with one hole in 32 pages, in two pages, or none */
#define ONE_IN_MANY	.size = HUGE, .step = MANY, .per = MANY, .moved = PAGE
#define ONE_IN_TWO	.size = HUGE, .per = PAIR, .moved = PAGE
#define NONE_IN_MANY	.size = HUGE, .step = MANY
#define SKIPPED		.size = HUGE, .per = PAGE
#define CALLS(n)	.size = MIB(16), .repeat = n

/* The same pages, with n pages per call */
#define AT_ONCE(n, name, memory, ...)					\
	{ LENGTH(name ", " #n " at once", memory), .size = HUGE,	\
	  .step = (n) * PAGE, .per = PAGE, __VA_ARGS__ }
#define BY_LENGTH(...)							\
	AT_ONCE(1, __VA_ARGS__), AT_ONCE(2, __VA_ARGS__),		\
	AT_ONCE(4, __VA_ARGS__), AT_ONCE(8, __VA_ARGS__),		\
	AT_ONCE(16, __VA_ARGS__), AT_ONCE(32, __VA_ARGS__),		\
	AT_ONCE(64, __VA_ARGS__), AT_ONCE(128, __VA_ARGS__),		\
	AT_ONCE(256, __VA_ARGS__), AT_ONCE(512, __VA_ARGS__)

static const struct workload workloads[] = {
	{ REFERENCE("copy of 4 KiB, rep movsb", ANON), TOUCHES,
	  .prepare = fill_area, .action = copy_by_itself },
	{ REFERENCE("clear of 4 KiB, rep stosb", ANON), TOUCHES,
	  .prepare = fill_area, .action = clear_by_itself },
	{ REFERENCE("nothing", ANON), TOUCHES, .action = do_nothing },

	/* The operations */
	{ OP("CONTINUE shmem, range", SHMEM), RANGE, .modes = MINOR,
	  .prepare = fill_file, .action = uffd_continue },
	{ OP("CONTINUE shmem, range, not mapped elsewhere", SHMEM), RANGE,
	  .modes = MINOR, .prepare = fill_file_alone,
	  .action = uffd_continue },
	{ OP("CONTINUE shmem, page by page", SHMEM), PAGES, .modes = MINOR,
	  .prepare = fill_file, .action = uffd_continue },
	{ OP("CONTINUE shmem in huge folios, range", SHMEM_HUGE), HUGE_RANGE,
	  .modes = MINOR, .prepare = fill_file, .action = uffd_continue },
	{ OP("CONTINUE shmem in huge folios, MAP_HUGE", SHMEM_HUGE),
	  HUGE_RANGE, .modes = MINOR, .features = UFFD_FEATURE_MAP_HUGE,
	  .prepare = fill_file, .action = uffd_continue_huge },
	{ OP("CONTINUE shmem private, range", SHMEM_PRIVATE), RANGE,
	  .modes = MINOR, .prepare = fill_file, .action = uffd_continue },
	{ OP("CONTINUE shmem private, page by page", SHMEM_PRIVATE), PAGES,
	  .modes = MINOR, .prepare = fill_file, .action = uffd_continue },
	{ OP("CONTINUE shmem, runs of three pages", SHMEM),
	  .size = MIB(16), .per = RUN, .modes = MINOR, .prepare = fill_file,
	  .arm = make_runs, .action = uffd_continue_runs },
	{ OP("CONTINUE hugetlb, range", HUGETLB), HUGE_RANGE, .modes = MINOR,
	  .prepare = fill_file, .action = uffd_continue },
	{ OP("CONTINUE hugetlb, page by page", HUGETLB), HUGE_PAGES,
	  .modes = MINOR, .prepare = fill_file, .action = uffd_continue },

	{ OP("COPY anon, range", ANON), RANGE, .work = COPY, .modes = MISSING,
	  .action = uffd_copy },
	{ OP("COPY anon, page by page", ANON), PAGES, .work = COPY,
	  .modes = MISSING, .action = uffd_copy },
	{ OP("COPY anon from a file, range", ANON), RANGE, .work = COPY,
	  .modes = MISSING, .prepare = map_source_file,
	  .action = uffd_copy_file },
	{ OP("COPY anon from a file, page by page", ANON), PAGES,
	  .work = COPY, .modes = MISSING, .prepare = map_source_file,
	  .action = uffd_copy_file },
	{ OP("COPY anon write-protected, range", ANON), RANGE, .work = COPY,
	  .modes = MISSING | WP, .action = uffd_copy_wp },
	{ OP("COPY anon in huge pages, range", ANON_HUGE), HUGE_RANGE,
	  .work = COPY, .modes = MISSING, .action = uffd_copy },
	{ OP("COPY shmem, range", SHMEM), RANGE, .work = COPY,
	  .modes = MISSING, .action = uffd_copy },
	{ OP("COPY shmem, page by page", SHMEM), PAGES, .work = COPY,
	  .modes = MISSING, .action = uffd_copy },
	{ OP("COPY shmem write-protected, range", SHMEM), RANGE, .work = COPY,
	  .modes = MISSING | WP, .action = uffd_copy_wp },
	{ OP("COPY shmem in huge pages, range", SHMEM_HUGE), HUGE_RANGE,
	  .work = COPY, .modes = MISSING, .action = uffd_copy },
	{ OP("COPY shmem private, range", SHMEM_PRIVATE), RANGE, .work = COPY,
	  .modes = MISSING, .action = uffd_copy },
	{ OP("COPY hugetlb, range", HUGETLB), HUGE_RANGE, .work = COPY,
	  .modes = MISSING, .action = uffd_copy },

	{ OP("ZEROPAGE anon, range", ANON), RANGE, .modes = MISSING,
	  .action = uffd_zeropage },
	{ OP("ZEROPAGE anon, page by page", ANON), PAGES, .modes = MISSING,
	  .action = uffd_zeropage },
	{ OP("ZEROPAGE shmem, range", SHMEM), RANGE, .work = CLEAR,
	  .modes = MISSING, .action = uffd_zeropage },
	{ OP("ZEROPAGE shmem, page by page", SHMEM), PAGES, .work = CLEAR,
	  .modes = MISSING, .action = uffd_zeropage },
	{ OP("ZEROPAGE shmem private, range", SHMEM_PRIVATE), RANGE,
	  .modes = MISSING, .action = uffd_zeropage },

	{ OP("POISON anon, range", ANON), RANGE, .modes = MISSING,
	  .action = uffd_poison },
	{ OP("POISON anon, page by page", ANON), PAGES, .modes = MISSING,
	  .action = uffd_poison },
	{ OP("POISON shmem, range", SHMEM), RANGE, .modes = MISSING,
	  .action = uffd_poison },
	{ OP("POISON shmem, page by page", SHMEM), PAGES, .modes = MISSING,
	  .action = uffd_poison },
	{ OP("POISON hugetlb, range", HUGETLB), HUGE_RANGE, .modes = MISSING,
	  .action = uffd_poison },

	{ OP("WRITEPROTECT anon, protect, range", ANON), RANGE, .modes = WP,
	  .prepare = fill_area, .action = uffd_protect },
	{ OP("WRITEPROTECT anon, protect, page by page", ANON), PAGES,
	  .modes = WP, .prepare = fill_area, .action = uffd_protect },
	{ OP("WRITEPROTECT anon, unprotect, range", ANON), RANGE, .modes = WP,
	  .prepare = fill_area, .arm = protect_area,
	  .action = uffd_unprotect },
	{ OP("WRITEPROTECT shmem, protect, range", SHMEM), RANGE, .modes = WP,
	  .prepare = fill_area, .action = uffd_protect },
	{ OP("WRITEPROTECT shmem, protect, page by page", SHMEM), PAGES,
	  .modes = WP, .prepare = fill_area, .action = uffd_protect },
	{ OP("WRITEPROTECT shmem, unprotect, range", SHMEM), RANGE,
	  .modes = WP, .prepare = fill_area, .arm = protect_area,
	  .action = uffd_unprotect },
	{ OP("WRITEPROTECT hugetlb, protect, range", HUGETLB), HUGE_RANGE,
	  .modes = WP, .prepare = fill_area, .action = uffd_protect },

	{ OP("MOVE anon, range", ANON), SHORT_RANGE, .modes = MISSING,
	  .prepare = fill_file, .action = uffd_move },
	{ OP("WAKE, no waiters", SHMEM), CALLS(64), .modes = MISSING,
	  .action = uffd_wake },
	{ OP("REGISTER anon", ANON), CALLS(64), .modes = MISSING,
	  .before = uffd_unregister, .action = uffd_register },
	{ OP("UNREGISTER anon", ANON), CALLS(64), .modes = MISSING,
	  .before = uffd_register, .action = uffd_unregister },
	{ OP("REGISTER shmem", SHMEM), CALLS(64), .modes = MISSING | MINOR,
	  .before = uffd_unregister, .action = uffd_register },
	{ OP("UNREGISTER shmem", SHMEM), CALLS(64), .modes = MISSING | MINOR,
	  .before = uffd_register, .action = uffd_unregister },
	{ OP("REGISTER hugetlb", HUGETLB), CALLS(64),
	  .modes = MISSING | MINOR, .before = uffd_unregister,
	  .action = uffd_register },
	{ OP("UNREGISTER hugetlb", HUGETLB), CALLS(64),
	  .modes = MISSING | MINOR, .before = uffd_register,
	  .action = uffd_unregister },

	/* The whole access; the handler runs on the same processor */
	{ OP("minor fault and CONTINUE, shmem", SHMEM), FAULTS,
	  .modes = MINOR, .prepare = fill_file, .action = touch_read,
	  .handler = uffd_continue, .flags = UFFD_PAGEFAULT_FLAG_MINOR },
	{ OP("minor fault and CONTINUE, shmem private", SHMEM_PRIVATE),
	  FAULTS, .modes = MINOR, .prepare = fill_file,
	  .action = touch_read, .handler = uffd_continue,
	  .flags = UFFD_PAGEFAULT_FLAG_MINOR },
	{ OP("minor fault and CONTINUE, hugetlb", HUGETLB), HUGE_PAGES,
	  .modes = MINOR, .prepare = fill_file, .action = touch_read,
	  .handler = uffd_continue, .flags = UFFD_PAGEFAULT_FLAG_MINOR },
	{ OP("missing fault and COPY, anon", ANON), FAULTS, .work = COPY,
	  .modes = MISSING, .action = touch_write, .handler = uffd_copy },
	{ OP("missing fault and COPY, shmem", SHMEM), FAULTS, .work = COPY,
	  .modes = MISSING, .action = touch_write, .handler = uffd_copy },
	{ OP("missing fault and COPY, hugetlb", HUGETLB), ONE_HUGE,
	  .work = COPY, .modes = MISSING, .action = touch_write,
	  .handler = uffd_copy },
	{ OP("missing fault and ZEROPAGE, anon", ANON), FAULTS,
	  .modes = MISSING, .action = touch_read,
	  .handler = uffd_zeropage },
	{ OP("missing fault and ZEROPAGE, shmem", SHMEM), FAULTS,
	  .work = CLEAR, .modes = MISSING, .action = touch_read,
	  .handler = uffd_zeropage },
	{ OP("write-protect fault and unprotect, anon", ANON), FAULTS,
	  .modes = WP, .prepare = fill_area, .arm = protect_area,
	  .action = touch_write, .handler = uffd_unprotect,
	  .flags = UFFD_PAGEFAULT_FLAG_WP },
	{ OP("write-protect fault and unprotect, shmem", SHMEM), FAULTS,
	  .modes = WP, .prepare = fill_area, .arm = protect_area,
	  .action = touch_write, .handler = uffd_unprotect,
	  .flags = UFFD_PAGEFAULT_FLAG_WP },

	BY_LENGTH("CONTINUE shmem", SHMEM, .modes = MINOR,
		  .prepare = fill_file, .action = uffd_continue),
	BY_LENGTH("COPY anon", ANON, .work = COPY, .modes = MISSING,
		  .action = uffd_copy),
	BY_LENGTH("COPY shmem", SHMEM, .work = COPY, .modes = MISSING,
		  .action = uffd_copy),

	/* Faults of registered memory that the kernel resolves itself */
	{ OP("armed WP: write to a hole, anon", ANON), TOUCHES, .work = CLEAR,
	  .modes = WP, .action = touch_write },
	{ OP("armed WP: write to a hole, shmem", SHMEM), TOUCHES,
	  .work = CLEAR, .modes = WP, .action = touch_write },
	{ OP("armed WP: read of a cached page, shmem", SHMEM), TOUCHES,
	  .modes = WP, .prepare = fill_file, .action = touch_read },
	{ OP("armed WP_ASYNC: write to protected, anon", ANON), TOUCHES,
	  .modes = WP, .features = UFFD_FEATURE_WP_ASYNC,
	  .prepare = fill_area, .arm = protect_area, .action = touch_write },
	{ OP("armed WP_ASYNC: write to protected, shmem", SHMEM), TOUCHES,
	  .modes = WP, .features = UFFD_FEATURE_WP_ASYNC,
	  .prepare = fill_area, .arm = protect_area, .action = touch_write },
	{ OP("armed MINOR: write to a hole, shmem", SHMEM), TOUCHES,
	  .work = CLEAR, .modes = MINOR, .action = touch_write },
	{ OP("armed MISSING: read of a cached page, shmem", SHMEM),
	  .size = MIB(1), .step = AROUND, .modes = MISSING,
	  .prepare = fill_file, .action = touch_read },
	{ OP("armed MISSING: write to a cached page, shmem", SHMEM), TOUCHES,
	  .modes = MISSING, .prepare = fill_file, .action = touch_write },

	/* Holes among pages that are present, or none */
	{ OP("COPY anon, 32 pages, one hole", ANON), ONE_IN_MANY,
	  .work = COPY, .modes = MISSING, .prepare = fill_area_around_holes,
	  .action = uffd_copy_one_hole },
	{ OP("COPY shmem, 32 pages, one hole", SHMEM), ONE_IN_MANY,
	  .work = COPY, .modes = MISSING, .prepare = fill_area_around_holes,
	  .action = uffd_copy_one_hole },
	{ OP("COPY shmem, 32 pages, one hole, others in the file", SHMEM),
	  ONE_IN_MANY, .work = COPY, .modes = MISSING,
	  .prepare = fill_file_around_holes, .action = uffd_copy_one_hole },
	{ OP("COPY anon, 32 pages, all present", ANON), NONE_IN_MANY,
	  .modes = MISSING, .prepare = fill_area,
	  .action = uffd_copy_no_hole },
	{ OP("COPY shmem, 32 pages, all present", SHMEM), NONE_IN_MANY,
	  .modes = MISSING, .prepare = fill_area,
	  .action = uffd_copy_no_hole },
	{ OP("COPY shmem, 32 pages, all in the file", SHMEM), NONE_IN_MANY,
	  .modes = MISSING, .prepare = fill_file,
	  .action = uffd_copy_no_hole },
	{ OP("COPY anon, page by page, all present", ANON), TOUCHES,
	  .modes = MISSING, .prepare = fill_area,
	  .action = uffd_copy_no_hole },
	{ OP("COPY shmem, page by page, all present", SHMEM), TOUCHES,
	  .modes = MISSING, .prepare = fill_area,
	  .action = uffd_copy_no_hole },
	{ OP("COPY shmem, page by page, all in the file", SHMEM), TOUCHES,
	  .modes = MISSING, .prepare = fill_file,
	  .action = uffd_copy_no_hole },
	{ OP("COPY hugetlb, page by page, all present", HUGETLB), HUGE_PAGES,
	  .modes = MISSING, .prepare = fill_area,
	  .action = uffd_copy_no_hole },
	{ OP("COPY hugetlb, page by page, all in the file", HUGETLB),
	  HUGE_PAGES, .modes = MISSING, .prepare = fill_file,
	  .action = uffd_copy_no_hole },
	{ OP("COPY anon, every second page, over EEXIST", ANON), ONE_IN_TWO,
	  .work = COPY, .modes = MISSING, .prepare = fill_area_around_holes,
	  .action = uffd_copy_stepping },
	{ OP("COPY shmem, every second page, over EEXIST", SHMEM),
	  ONE_IN_TWO, .work = COPY, .modes = MISSING,
	  .prepare = fill_area_around_holes, .action = uffd_copy_stepping },
	{ OP("COPY shmem, every second page in the file, over EEXIST", SHMEM),
	  ONE_IN_TWO, .work = COPY, .modes = MISSING,
	  .prepare = fill_file_around_holes, .action = uffd_copy_stepping },
	{ OP("COPY shmem private, every second page, over EEXIST",
	     SHMEM_PRIVATE), ONE_IN_TWO, .work = COPY, .modes = MISSING,
	  .prepare = fill_area_around_holes, .action = uffd_copy_stepping },
	{ OP("ZEROPAGE anon, every second page, over EEXIST", ANON),
	  ONE_IN_TWO, .modes = MISSING, .prepare = fill_area_around_holes,
	  .action = uffd_zeropage_stepping },
	{ OP("ZEROPAGE shmem, every second page, over EEXIST", SHMEM),
	  ONE_IN_TWO, .work = CLEAR, .modes = MISSING,
	  .prepare = fill_area_around_holes,
	  .action = uffd_zeropage_stepping },
	{ OP("CONTINUE shmem, every second page, over EEXIST", SHMEM),
	  ONE_IN_TWO, .modes = MINOR, .prepare = map_around_holes,
	  .action = uffd_continue_stepping },

	/* One call of UFFDIO_FILL, which skips present pages */
	{ OP("COPY anon, every second page, skipped", ANON), ONE_IN_TWO,
	  .work = COPY, .modes = MISSING, .prepare = fill_area_around_holes,
	  .action = fill_copy_holes },
	{ OP("COPY shmem, every second page, skipped", SHMEM), ONE_IN_TWO,
	  .work = COPY, .modes = MISSING, .prepare = fill_area_around_holes,
	  .action = fill_copy_holes },
	{ OP("COPY shmem, every second page in the file, skipped", SHMEM),
	  ONE_IN_TWO, .work = COPY, .modes = MISSING,
	  .prepare = fill_file_around_holes, .action = fill_copy_holes },
	{ OP("COPY anon, all holes, none to skip", ANON), SHORT_RANGE,
	  .work = COPY, .modes = MISSING, .action = fill_copy_all },
	{ OP("COPY shmem, all holes, none to skip", SHMEM), SHORT_RANGE,
	  .work = COPY, .modes = MISSING, .action = fill_copy_all },
	{ SKIP_MAPPED("skip in COPY, anon", ANON), SKIPPED,
	  .modes = MISSING, .prepare = fill_area, .action = skip_copy },
	{ SKIP_MAPPED("skip in COPY, shmem", SHMEM), SKIPPED,
	  .modes = MISSING, .prepare = fill_area, .action = skip_copy },
	{ SKIP_MAPPED("skip in ZEROPAGE, anon", ANON), SKIPPED,
	  .modes = MISSING, .prepare = fill_area, .action = skip_zeropage },
	{ SKIP_MAPPED("skip in ZEROPAGE, shmem", SHMEM), SKIPPED,
	  .modes = MISSING, .prepare = fill_area, .action = skip_zeropage },
	{ SKIP_MAPPED("skip in POISON, shmem", SHMEM), SKIPPED,
	  .modes = MISSING, .prepare = fill_area, .action = skip_poison },
	{ SKIP_MAPPED("skip in CONTINUE, shmem", SHMEM), SKIPPED,
	  .modes = MINOR, .prepare = fill_area, .action = skip_continue },
	{ SKIP_UNMAPPED("skip in COPY, shmem, in the file", SHMEM), SKIPPED,
	  .modes = MISSING, .prepare = fill_file, .action = skip_copy },
	{ SKIP_UNMAPPED("skip in ZEROPAGE, shmem, in the file", SHMEM),
	  SKIPPED, .modes = MISSING, .prepare = fill_file,
	  .action = skip_zeropage },

	/* Without userfaultfd */
	{ PLAIN("write fault, anon", ANON), TOUCHES, .work = CLEAR,
	  .action = touch_write },
	{ PLAIN("read fault, anon (zero page)", ANON), TOUCHES,
	  .action = touch_read },
	{ PLAIN("write after read, anon", ANON), TOUCHES, .work = CLEAR,
	  .prepare = read_area, .action = touch_write },
	{ PLAIN("write fault, anon huge page", ANON_HUGE), ONE_HUGE,
	  .work = CLEAR, .action = touch_write },
	{ PLAIN("populate for writing, anon", ANON), SHORT_RANGE,
	  .work = CLEAR, .action = populate_write },
	{ PLAIN("write to a hole, shmem", SHMEM), TOUCHES, .work = CLEAR,
	  .action = touch_write },
	{ PLAIN("read of a hole, shmem", SHMEM), TOUCHES, .work = CLEAR,
	  .action = touch_read },
	{ PLAIN("write to a cached page, shmem", SHMEM), TOUCHES,
	  .prepare = fill_file, .action = touch_write },
	{ PLAIN("read of a cached page, shmem, fault-around", SHMEM),
	  .size = MIB(1), .step = AROUND, .prepare = fill_file,
	  .action = touch_read },
	{ PLAIN("populate for reading, cached, shmem", SHMEM), SHORT_RANGE,
	  .prepare = fill_file, .action = populate_read },
	{ PLAIN("populate for writing, cached, shmem", SHMEM), SHORT_RANGE,
	  .prepare = fill_file, .action = populate_write },
	{ PLAIN("populate for writing, holes, shmem", SHMEM), SHORT_RANGE,
	  .work = CLEAR, .action = populate_write },
	{ PLAIN("write to a hole, shmem huge page", SHMEM_HUGE), ONE_HUGE,
	  .work = CLEAR, .action = touch_write },
	{ PLAIN("write to a cached page, shmem private (COW)", SHMEM_PRIVATE),
	  TOUCHES, .prepare = fill_file, .action = touch_write },
	{ PLAIN("read of a cached page, shmem private", SHMEM_PRIVATE),
	  .size = MIB(1), .step = AROUND, .prepare = fill_file,
	  .action = touch_read },
	{ PLAIN("write to a hole, SysV segment", SYSV), TOUCHES,
	  .work = CLEAR, .action = touch_write },
	{ PLAIN("write to a cached page, SysV segment", SYSV), TOUCHES,
	  .prepare = fill_file, .action = touch_write },
	{ PLAIN("write to a hole, ramfs file", FILES), TOUCHES,
	  .work = CLEAR, .action = touch_write },
	{ PLAIN("write to a cached page, ramfs file", FILES), TOUCHES,
	  .prepare = fill_file, .action = touch_write },
	{ PLAIN("read of a cached page, ramfs file, fault-around", FILES),
	  .size = MIB(1), .step = AROUND, .prepare = fill_file,
	  .action = touch_read },
	{ PLAIN("write to a cached page, ramfs private (COW)", FILES_PRIVATE),
	  TOUCHES, .prepare = fill_file, .action = touch_write },
	{ PLAIN("write to a hole, hugetlb", HUGETLB), ONE_HUGE,
	  .work = CLEAR, .action = touch_write },
	{ PLAIN("write to a cached page, hugetlb", HUGETLB), HUGE_PAGES,
	  .prepare = fill_file, .action = touch_write },
	{ PLAIN("write() to a hole, shmem", SHMEM), TOUCHES, .work = COPY,
	  .action = write_file },
	{ PLAIN("read() of a cached page, shmem", SHMEM), TOUCHES,
	  .work = COPY, .prepare = fill_file, .action = read_file },
	{ PLAIN("fallocate, shmem", SHMEM), SHORT_RANGE,
	  .action = allocate },
	{ PLAIN("hole punch, shmem", SHMEM), SHORT_RANGE,
	  .prepare = fill_file_alone, .action = punch },
	{ PLAIN("mmap and munmap", NOTHING), CALLS(64),
	  .action = map_and_unmap },
	{ PLAIN("mremap there and back", ANON), CALLS(64),
	  .action = move_there_and_back },
	{ PLAIN("fork, exit and wait", SHMEM), CALLS(2), .prepare = fill_area,
	  .action = fork_and_wait },

	/*
	 * The same as for shmem, with guest_memfd. After the others, since a
	 * process that has created a VM keeps its list of MMU notifiers.
	 */
	{ JOINED("CONTINUE guest_memfd, range", GUEST_MEMFD), RANGE,
	  .modes = MINOR, .prepare = fill_file, .action = uffd_continue },
	{ JOINED("CONTINUE guest_memfd, page by page", GUEST_MEMFD), PAGES,
	  .modes = MINOR, .prepare = fill_file, .action = uffd_continue },
	{ JOINED("COPY guest_memfd, range", GUEST_MEMFD), RANGE, .work = COPY,
	  .modes = MISSING, .action = uffd_copy },
	{ JOINED("COPY guest_memfd, page by page", GUEST_MEMFD), PAGES,
	  .work = COPY, .modes = MISSING, .action = uffd_copy },
	{ JOINED("minor fault and CONTINUE, guest_memfd", GUEST_MEMFD), FAULTS,
	  .modes = MINOR, .prepare = fill_file, .action = touch_read,
	  .handler = uffd_continue, .flags = UFFD_PAGEFAULT_FLAG_MINOR },
	{ JOINED("missing fault and COPY, guest_memfd", GUEST_MEMFD), FAULTS,
	  .work = COPY, .modes = MISSING, .action = touch_write,
	  .handler = uffd_copy },
	{ JOINED("COPY guest_memfd, every second page, over EEXIST",
		 GUEST_MEMFD), ONE_IN_TWO, .work = COPY, .modes = MISSING,
	  .prepare = fill_area_around_holes, .action = uffd_copy_stepping },
	{ SKIP_MAPPED("skip in COPY, guest_memfd", GUEST_MEMFD), SKIPPED,
	  .modes = MISSING, .prepare = fill_area, .action = skip_copy },
	{ SKIP_UNMAPPED("skip in COPY, guest_memfd, in the file",
			GUEST_MEMFD), SKIPPED,
	  .modes = MISSING, .prepare = fill_file, .action = skip_copy },

	/*
	 * Each page is charged to a cgroup with a low limit. After all others,
	 * since the first cgroup enables checks that stay enabled.
	 */
	{ OP("COPY anon in a memory cgroup, range", ANON), SHORT_RANGE,
	  .work = COPY, .modes = MISSING, .room = MIB(2),
	  .action = uffd_copy },
	{ OP("COPY anon in a memory cgroup, page by page", ANON), TOUCHES,
	  .work = COPY, .modes = MISSING, .room = MIB(2),
	  .action = uffd_copy },
	{ OP("COPY anon in a memory cgroup, 32 pages, one hole", ANON),
	  ONE_IN_MANY, .work = COPY, .modes = MISSING, .room = KIB(512),
	  .prepare = fill_area_around_holes, .action = uffd_copy_one_hole },
	{ OP("COPY shmem in a memory cgroup, range", SHMEM), SHORT_RANGE,
	  .work = COPY, .modes = MISSING, .room = MIB(2),
	  .action = uffd_copy },
	{ OP("COPY shmem in a memory cgroup, page by page", SHMEM), TOUCHES,
	  .work = COPY, .modes = MISSING, .room = MIB(2),
	  .action = uffd_copy },
	{ OP("COPY shmem in a memory cgroup, 32 pages, one hole", SHMEM),
	  ONE_IN_MANY, .work = COPY, .modes = MISSING, .room = KIB(512),
	  .prepare = fill_area_around_holes, .action = uffd_copy_one_hole },
};

#define COUNT	(sizeof(workloads) / sizeof(*workloads))

static const char *unit_of(const struct workload *w)
{
	switch (w->per ?: w->step) {
	case PAGE:
		return "4 KiB page";
	case RUN:
		return "run of 3 pages";
	case PAIR:
		return "hole and page";
	case MANY:
		return "call, 32 pages";
	case AROUND:
		return "fault, 16 pages";
	case HUGE:
		return "2 MiB page";
	default:
		return "call";
	}
}

static void measure(int samples)
{
	static const char *const work[] = { "none", "copy", "clear" };
	uint64_t n[samples];
	int i;

	warm = false;
	sample();
	warm = true;
	for (i = 0; i < samples; i++)
		n[i] = sample();
	for (i = 0; i < samples; i++)
		printf("%s\t%s\t%s\t%lu\t%s\t%zu\t%llu\n", now->name,
		       now->class, unit_of(now), units_of(now),
		       work[now->work],
		       now->work ? (now->moved ?: now->per ?: now->step) : 0,
		       (unsigned long long)n[i]);
	/* A serial line that is still sending would interrupt the sample. */
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
}

/* Also when a workload failed. */
static void tear_down(void)
{
	umount2(RAMFS, MNT_DETACH);
	rmdir(RAMFS);
	umount2(CGROUP, MNT_DETACH);
	rmdir(CGROUP);
	spit(THP_SHMEM, "never");
}

static void anchor(char *area)
{
	map_at(area + ANCHOR, PAGE, MAP_PRIVATE, -1);
	area[ANCHOR] = 1;
}

static void set_up(void)
{
	struct sched_param fifo = { .sched_priority = 1 };
	struct sigaction sa = { .sa_handler = interrupt };
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	spit(RT_RUNTIME, "-1");
	spit(THP_SHMEM, "advise");
	if (sched_setaffinity(0, sizeof(first), &first) ||
	    sched_setscheduler(0, SCHED_FIFO, &fifo))
		die("cannot set the scheduling policy");
	sigaction(SIGUSR1, &sa, NULL);
	if (mkdir(RAMFS, 0700) || mount("ramfs", RAMFS, "ramfs", 0, NULL))
		die("cannot mount a ramfs");
	if (mkdir(CGROUP, 0700) ||
	    mount("cgroup2", CGROUP, "cgroup2", 0, NULL))
		die("cannot mount cgroups");
	atexit(tear_down);

	anchor(AREA_AT);
	anchor(ALIAS_AT);
	anchor(ELSEWHERE_AT);
	source = SOURCE_AT;
	map_at(source, AREA_MAX, MAP_PRIVATE, -1);
	if (madvise(source, AREA_MAX, MADV_NOHUGEPAGE))
		die("cannot set the huge page policy");
	memset(source, 0x5a, AREA_MAX);
}

static bool exact;

static bool is_reference(const struct workload *w)
{
	return !strcmp(w->class, "reference");
}

static bool is_skip(const struct workload *w)
{
	return !strncmp(w->class, "skip-", 5);
}

/* Does this kernel support the workload? */
static bool possible(const struct workload *w)
{
	static int has_it = -1, has_skip = -1;

	if (w->memory == GUEST_MEMFD && has_it < 0)
		has_it = has_guest_memfd();
	if (is_skip(w) && has_skip < 0)
		has_skip = has_fill_that_skips();
	return (w->memory != GUEST_MEMFD || has_it) &&
	       (!is_skip(w) || has_skip);
}

static bool named(const struct workload *w, char **parts)
{
	if (!*parts || (!exact && is_reference(w)))
		return true;
	for (; *parts; parts++)
		if (exact ? !strcmp(w->name, *parts) :
			    !!strstr(w->name, *parts))
			return true;
	return false;
}

static bool wanted(const struct workload *w, char **parts)
{
	return named(w, parts) && possible(w);
}

int main(int argc, char **argv)
{
	bool list = false;
	int c, samples = 5, chosen = 0, found = 0;
	size_t i;

	while ((c = getopt(argc, argv, "n:m:lx")) != -1) {
		if (c == 'n') {
			samples = atoi(optarg);
		} else if (c == 'm') {
			marked = optarg;
		} else if (c == 'l') {
			list = true;
		} else if (c == 'x') {
			exact = true;
		} else {
			fprintf(stderr, "usage: %s [-n SAMPLES] [-m NAME] [-l] [-x] [PART-OF-A-NAME...]\n",
				argv[0]);
			return 2;
		}
	}
	if (samples < 1)
		samples = 1;

	for (i = 0; i < COUNT; i++) {
		if (!named(&workloads[i], argv + optind))
			continue;
		chosen += possible(&workloads[i]);
		found += marked ? !strcmp(workloads[i].name, marked) :
				  exact || !is_reference(&workloads[i]);
	}
	if (!found) {
		fprintf(stderr, "workloads: no workload matches\n");
		return 2;
	}
	for (i = 0; list && i < COUNT; i++)
		if (wanted(&workloads[i], argv + optind))
			puts(workloads[i].name);
	if (list)
		return 0;

	check_clock();
	set_up();
	printf("# workloads\t%d\n", chosen);
	for (i = 0; i < COUNT; i++) {
		now = &workloads[i];
		if (wanted(now, argv + optind))
			measure(samples);
	}
	return 0;
}
