/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the uffd-*.c test programs of this directory share: the kinds of memory
 * that userfaultfd serves, each with a constructor, and thin wrappers of the
 * userfaultfd calls.
 *
 * Nothing in here judges, prints or exits. A function that can fail returns 0
 * or -errno, so that a test compares it with what it expects, and a function
 * that can block takes a deadline in milliseconds and returns -ETIMEDOUT.
 */
#ifndef UFFD_LAB_H
#define UFFD_LAB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/const.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Long enough for a debug kernel under emulation, short enough to see. */
#define LAB_DEADLINE_MS		20000
/* How long a test watches for something that must not happen. */
#define LAB_QUIET_MS		30

#define LAB_PAGE		4096UL
#define LAB_HUGE		(2UL << 20)
#define LAB_GIGANTIC		(1024UL << 20)

/* The same bits mean the same size to memfd_create(), mmap() and shmget(). */
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB		(21U << 26)
#define MFD_HUGE_1GB		(30U << 26)
#endif
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB		(21U << 26)
#define MAP_HUGE_1GB		(30U << 26)
#endif
#ifndef SHM_HUGE_2MB
#define SHM_HUGE_2MB		(21U << 26)
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

/* Later in the series than some programs that use it */
#ifndef UFFD_FEATURE_MAP_HUGE
#define UFFD_FEATURE_MAP_HUGE		_BITUL(28)
#define UFFDIO_CONTINUE_MODE_MAP_HUGE	_BITULL(16)
#endif

#define LAB_MISSING		UFFDIO_REGISTER_MODE_MISSING
#define LAB_WP			UFFDIO_REGISTER_MODE_WP
#define LAB_MINOR		UFFDIO_REGISTER_MODE_MINOR

/*
 * Loop lengths and running times are given for a release kernel; the
 * environment variable UFFD_TEST_SCALE (percent) adapts them. Never 0.
 */
static inline unsigned long lab_scale(unsigned long n)
{
	const char *s = getenv("UFFD_TEST_SCALE");
	unsigned long percent = s ? strtoul(s, NULL, 10) : 100;

	n = n * percent / 100;
	return n ? n : 1;
}

static inline __u64 lab_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static inline void lab_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/*
 * Content. Every 8 bytes differ from their neighbours and depend on the seed,
 * so that a page which is torn, shifted or of another source is noticed.
 */
static inline __u64 lab_word(__u64 seed, __u64 index)
{
	__u64 z = (seed << 32) + index * 0x9e3779b97f4a7c15ULL + 1;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline void lab_fill(void *p, size_t len, __u64 seed)
{
	__u64 *w = p;
	size_t i;

	for (i = 0; i < len / sizeof(*w); i++)
		w[i] = lab_word(seed, i);
}

static inline bool lab_all(const void *p, size_t len, unsigned char byte)
{
	const unsigned char *c = p;

	return c[0] == byte && !memcmp(c, c + 1, len - 1);
}

/* The kinds of memory */

#define LAB_T_SHARED	1U	/* MAP_SHARED */
#define LAB_T_FILE	2U	/* backed by a file: lab_mem.fd, lab_mem.alias */
#define LAB_T_HUGETLB	4U	/* from the pool of huge pages */
#define LAB_T_SYSV	8U	/* a segment: shmget() and shmat() */
#define LAB_T_SECRET	16U	/* of memfd_secret(): nobody else may read it */
#define LAB_T_NO_HOLES	32U	/* neither allocated nor punched by fallocate() */
#define LAB_T_FIXED	64U	/* a file whose size stays */

/**
 * struct lab_mem - one area of memory of some kind
 * @area:	what the test registers; 2 MiB aligned, or to @page, with
 *		inaccessible memory on both sides so that it never merges with
 *		a neighbour
 * @alias:	a second, shared mapping of the same file; NULL without file
 * @len:	bytes of @area and of @alias
 * @page:	granule in bytes
 * @pages:	@len in units of @page
 * @fd:		the file, or -1
 * @flags:	LAB_T_*
 */
struct lab_mem {
	char *area;
	char *alias;
	size_t len;
	size_t page;
	size_t pages;
	int fd;
	unsigned int flags;
	/* private: */
	char *reserve;
	size_t reserve_len;
};

/**
 * struct lab_type - a kind of memory
 * @name:	for messages
 * @flags:	LAB_T_*
 * @file:	returns a new file of @len bytes, or -errno; NULL if the area is
 *		mapped without a file of its own
 * @map_flags:	mmap() flags besides MAP_SHARED or MAP_PRIVATE and MAP_FIXED;
 *		shmget() flags of a segment
 * @path:	file to map where @file is NULL, may be NULL
 * @page:	granule in bytes, 0 for LAB_PAGE
 */
struct lab_type {
	const char *name;
	unsigned int flags;
	int (*file)(size_t len);
	int map_flags;
	const char *path;
	size_t page;
};

static inline int lab_sized(int fd, size_t len)
{
	int err;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, len))
		return fd;
	err = errno;
	close(fd);
	return -err;
}

static inline int lab_file_memfd(size_t len)
{
	return lab_sized(memfd_create("uffd-lab", MFD_CLOEXEC), len);
}

static inline int lab_file_hugetlb(size_t len)
{
	return lab_sized(memfd_create("uffd-lab", MFD_CLOEXEC | MFD_HUGETLB |
				      MFD_HUGE_2MB), len);
}

static inline int lab_file_gigantic(size_t len)
{
	return lab_sized(memfd_create("uffd-lab", MFD_CLOEXEC | MFD_HUGETLB |
				      MFD_HUGE_1GB), len);
}

/* O_TMPFILE leaves nothing behind, however the test ends. */
static inline int lab_file_tmpfs(size_t len)
{
	return lab_sized(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
			 len);
}

/* On a file system of its own, which goes with the file */
static inline int lab_file_on(const char *fs, const char *options, size_t len)
{
	char dir[] = "/tmp/uffd-lab-XXXXXX";
	int fd = -1, err;

	if (!mkdtemp(dir))
		return -errno;
	if (mount("uffd-lab", dir, fs, 0, options)) {
		err = errno;
	} else {
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		err = errno;
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	errno = err;
	return lab_sized(fd, len);
}

static inline int lab_file_ramfs(size_t len)
{
	return lab_file_on("ramfs", NULL, len);
}

#ifndef __NR_memfd_secret
#define __NR_memfd_secret	447
#endif

static inline int lab_file_secret(size_t len)
{
	return lab_sized(syscall(__NR_memfd_secret, O_CLOEXEC), len);
}

/*
 * Each open is memory of its own, of a size that is larger than any test's. Loads
 * the module of samples/userfaultfd, if need be.
 */
static inline int lab_file_sample(size_t len)
{
	static const char path[] = "/dev/userfaultfd-sample";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	(void)len;
	if (fd < 0 && errno == ENOENT) {
		if (system("modprobe userfaultfd-sample"))
			return -ENOENT;
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

#define LAB_SHMEM_SHARED	(LAB_T_SHARED | LAB_T_FILE)

static const struct lab_type lab_anon = { "anon", 0, NULL, MAP_ANONYMOUS, NULL };
static const struct lab_type lab_memfd_shared = {
	"memfd_shared", LAB_SHMEM_SHARED, lab_file_memfd, 0, NULL };
static const struct lab_type lab_memfd_private = {
	"memfd_private", LAB_T_FILE, lab_file_memfd, 0, NULL };
static const struct lab_type lab_tmpfs_shared = {
	"tmpfs_shared", LAB_SHMEM_SHARED, lab_file_tmpfs, 0, NULL };
static const struct lab_type lab_tmpfs_private = {
	"tmpfs_private", LAB_T_FILE, lab_file_tmpfs, 0, NULL };
static const struct lab_type lab_anon_shared = {
	"anon_shared", LAB_SHMEM_SHARED, NULL, MAP_ANONYMOUS, NULL };
static const struct lab_type lab_zero_shared = {
	"zero_shared", LAB_SHMEM_SHARED, NULL, 0, "/dev/zero" };
static const struct lab_type lab_sysv = {
	"sysv", LAB_SHMEM_SHARED | LAB_T_SYSV, NULL, 0, NULL };

#define LAB_HUGETLB_SHARED	(LAB_SHMEM_SHARED | LAB_T_HUGETLB)
#define LAB_HUGETLB_PRIVATE	(LAB_T_FILE | LAB_T_HUGETLB)
#define LAB_MAP_HUGETLB		(MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB)

static const struct lab_type lab_hugetlb_shared = {
	"hugetlb_shared", LAB_HUGETLB_SHARED, lab_file_hugetlb, 0, NULL,
	LAB_HUGE };
static const struct lab_type lab_hugetlb_private = {
	"hugetlb_private", LAB_HUGETLB_PRIVATE, lab_file_hugetlb, 0, NULL,
	LAB_HUGE };
static const struct lab_type lab_map_hugetlb_shared = {
	"map_hugetlb_shared", LAB_HUGETLB_SHARED, NULL, LAB_MAP_HUGETLB, NULL,
	LAB_HUGE };
static const struct lab_type lab_map_hugetlb_private = {
	"map_hugetlb_private", LAB_HUGETLB_PRIVATE, NULL, LAB_MAP_HUGETLB, NULL,
	LAB_HUGE };
static const struct lab_type lab_sysv_hugetlb = {
	"sysv_hugetlb", LAB_HUGETLB_SHARED | LAB_T_SYSV, NULL,
	SHM_HUGETLB | SHM_HUGE_2MB, NULL, LAB_HUGE };
static const struct lab_type lab_gigantic_shared = {
	"gigantic_shared", LAB_HUGETLB_SHARED, lab_file_gigantic, 0, NULL,
	LAB_GIGANTIC };
static const struct lab_type lab_gigantic_private = {
	"gigantic_private", LAB_HUGETLB_PRIVATE, lab_file_gigantic, 0, NULL,
	LAB_GIGANTIC };

#define LAB_RAMFS		(LAB_T_FILE | LAB_T_NO_HOLES)
#define LAB_SAMPLE		(LAB_T_FILE | LAB_T_NO_HOLES | LAB_T_FIXED)

static const struct lab_type lab_ramfs_shared = {
	"ramfs_shared", LAB_RAMFS | LAB_T_SHARED, lab_file_ramfs, 0, NULL };
static const struct lab_type lab_ramfs_private = {
	"ramfs_private", LAB_RAMFS, lab_file_ramfs, 0, NULL };
static const struct lab_type lab_secretmem = {
	"secretmem", LAB_SAMPLE | LAB_T_SHARED | LAB_T_SECRET,
	lab_file_secret, 0, NULL };
static const struct lab_type lab_sample_shared = {
	"sample_shared", LAB_SAMPLE | LAB_T_SHARED, lab_file_sample, 0, NULL };
static const struct lab_type lab_sample_private = {
	"sample_private", LAB_SAMPLE, lab_file_sample, 0, NULL };

static inline bool lab_is_shared(const struct lab_mem *m)
{
	return m->flags & LAB_T_SHARED;
}

static inline bool lab_is_file(const struct lab_mem *m)
{
	return m->flags & LAB_T_FILE;
}

static inline bool lab_is_hugetlb(const struct lab_mem *m)
{
	return m->flags & LAB_T_HUGETLB;
}

static inline bool lab_is_secret(const struct lab_mem *m)
{
	return m->flags & LAB_T_SECRET;
}

/* Whether fallocate() works on the file, and so MADV_REMOVE */
static inline bool lab_has_holes(const struct lab_mem *m)
{
	return lab_is_file(m) && !(m->flags & LAB_T_NO_HOLES);
}

/* Whether ftruncate() does, and stat() counts blocks */
static inline bool lab_has_size(const struct lab_mem *m)
{
	return lab_is_file(m) && !(m->flags & LAB_T_FIXED);
}

/* Shared memory without a name still has a file: the kernel shows it here. */
static inline int lab_file_behind(const void *area, size_t len)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)area, (unsigned long)area + len);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Attaches a new segment in place of what is at @addr. It goes with its area. */
static inline void *lab_segment(void *addr, size_t len, int flags)
{
	int id = shmget(IPC_PRIVATE, len, IPC_CREAT | 0600 | flags);
	void *p;

	if (id < 0)
		return MAP_FAILED;
	p = shmat(id, addr, SHM_REMAP);
	shmctl(id, IPC_RMID, NULL);
	return p;
}

static inline void *lab_map(const struct lab_type *t, void *addr, size_t len,
			    int fd)
{
	int flags = t->flags & LAB_T_SHARED ? MAP_SHARED : MAP_PRIVATE;

	if (t->flags & LAB_T_SYSV)
		return lab_segment(addr, len, t->map_flags);
	return mmap(addr, len, PROT_READ | PROT_WRITE,
		    flags | MAP_FIXED | t->map_flags, fd, 0);
}

static inline void lab_mem_drop(struct lab_mem *m)
{
	if (m->alias)
		munmap(m->alias, m->len);
	if (m->reserve)
		munmap(m->reserve, m->reserve_len);
	if (m->fd >= 0)
		close(m->fd);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

/* Makes @pages granules of memory of kind @t. */
static inline int lab_mem_make(struct lab_mem *m, const struct lab_type *t,
			       size_t pages)
{
	int err, fd = -1;
	size_t align;
	void *p;

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	m->flags = t->flags;
	m->page = t->page ? t->page : LAB_PAGE;
	m->pages = pages;
	m->len = pages * m->page;

	if (t->file) {
		fd = t->file(m->len);
		if (fd < 0)
			return fd;
		m->fd = fd;
	} else if (t->path) {
		fd = open(t->path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}

	align = m->page > LAB_HUGE ? m->page : LAB_HUGE;
	m->reserve_len = m->len + 3 * align;
	p = mmap(NULL, m->reserve_len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	m->reserve = p;
	m->area = (char *)(((uintptr_t)p + 2 * align - 1) & -align);

	p = lab_map(t, m->area, m->len, fd);
	if (p == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	if (!t->file && fd >= 0) {
		close(fd);
		fd = -1;
	}
	if (t->flags & LAB_T_FILE) {
		if (m->fd < 0)
			m->fd = lab_file_behind(m->area, m->len);
		if (m->fd < 0) {
			err = m->fd;
			goto fail;
		}
		p = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED |
			 (t->map_flags & MAP_NORESERVE), m->fd, 0);
		if (p == MAP_FAILED) {
			err = -errno;
			goto fail;
		}
		m->alias = p;
	}
	return 0;
fail:
	if (fd >= 0 && fd != m->fd)
		close(fd);
	lab_mem_drop(m);
	return err;
}

/* 512-byte blocks that the file of @m occupies, or -errno */
static inline long lab_blocks(const struct lab_mem *m)
{
	struct stat st;

	return fstat(m->fd, &st) ? -errno : st.st_blocks;
}

/* The calls */

/* A userfaultfd with @features on, or -errno. @flags as the system call's. */
static inline int lab_uffd(int flags, __u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int err, fd = syscall(__NR_userfaultfd, flags);

	if (fd < 0)
		return -errno;
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* The one that tests want: read() never blocks, poll() works. */
static inline int lab_uffd_open(__u64 features)
{
	return lab_uffd(O_CLOEXEC | O_NONBLOCK, features);
}

static inline int lab_ioctl(int uffd, unsigned long cmd, void *arg)
{
	return ioctl(uffd, cmd, arg) ? -errno : 0;
}

/* @ioctls: the mask that the kernel answered with; may be NULL */
static inline int lab_register(int uffd, const void *start, size_t len,
			       __u64 mode, __u64 *ioctls)
{
	struct uffdio_register r = {
		.range = { (uintptr_t)start, len }, .mode = mode };
	int err = lab_ioctl(uffd, UFFDIO_REGISTER, &r);

	if (ioctls)
		*ioctls = r.ioctls;
	return err;
}

static inline int lab_unregister(int uffd, const void *start, size_t len)
{
	struct uffdio_range r = { (uintptr_t)start, len };

	return lab_ioctl(uffd, UFFDIO_UNREGISTER, &r);
}

static inline int lab_wake(int uffd, const void *start, size_t len)
{
	struct uffdio_range r = { (uintptr_t)start, len };

	return lab_ioctl(uffd, UFFDIO_WAKE, &r);
}

/*
 * The fills. @done, may be NULL, receives the field that the kernel fills in:
 * bytes done, or -errno of the first page. It starts as LAB_UNTOUCHED.
 */
#define LAB_UNTOUCHED	0x5555555555555555LL

static inline int lab_copy(int uffd, void *dst, const void *src, size_t len,
			   __u64 mode, __s64 *done)
{
	struct uffdio_copy c = {
		.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len,
		.mode = mode, .copy = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_COPY, &c);

	if (done)
		*done = c.copy;
	return err;
}

static inline int lab_zeropage(int uffd, void *dst, size_t len, __u64 mode,
			       __s64 *done)
{
	struct uffdio_zeropage z = {
		.range = { (uintptr_t)dst, len }, .mode = mode,
		.zeropage = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_ZEROPAGE, &z);

	if (done)
		*done = z.zeropage;
	return err;
}

static inline int lab_continue(int uffd, void *dst, size_t len, __u64 mode,
			       __s64 *done)
{
	struct uffdio_continue c = {
		.range = { (uintptr_t)dst, len }, .mode = mode,
		.mapped = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_CONTINUE, &c);

	if (done)
		*done = c.mapped;
	return err;
}

static inline int lab_poison(int uffd, void *dst, size_t len, __u64 mode,
			     __s64 *done)
{
	struct uffdio_poison p = {
		.range = { (uintptr_t)dst, len }, .mode = mode,
		.updated = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_POISON, &p);

	if (done)
		*done = p.updated;
	return err;
}

static inline int lab_move(int uffd, void *dst, const void *src, size_t len,
			   __u64 mode, __s64 *done)
{
	struct uffdio_move m = {
		.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len,
		.mode = mode, .move = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_MOVE, &m);

	if (done)
		*done = m.move;
	return err;
}

/* @mode: UFFDIO_WRITEPROTECT_MODE_WP protects, 0 lifts and wakes */
static inline int lab_writeprotect(int uffd, void *start, size_t len,
				   __u64 mode)
{
	struct uffdio_writeprotect w = {
		.range = { (uintptr_t)start, len }, .mode = mode };

	return lab_ioctl(uffd, UFFDIO_WRITEPROTECT, &w);
}

/* Waits for one message. */
static inline int lab_read_msg(int uffd, struct uffd_msg *msg, int ms)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	__u64 end = lab_now_ms() + ms;
	ssize_t n;

	for (;;) {
		__s64 left = end - lab_now_ms();

		n = read(uffd, msg, sizeof(*msg));
		if (n == sizeof(*msg))
			return 0;
		if (n >= 0)
			return -EIO;
		/* A fault may be woken between poll() and read(). */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, left) < 0 && errno != EINTR)
			return -errno;
	}
}

/* One access to memory that may be answered with a signal */

struct lab_env {
	sigjmp_buf buf;
};

static __thread struct lab_env *lab_signal_env;
static __thread int lab_signal_code;

static inline void lab_on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!lab_signal_env) {
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	__atomic_store_n(&lab_signal_code, info->si_code, __ATOMIC_RELAXED);
	siglongjmp(lab_signal_env->buf, sig);
}

static inline void lab_catch_signals(void)
{
	struct sigaction sa = { .sa_sigaction = lab_on_signal,
				.sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

/*
 * Reads the byte at @addr into *@value, or writes *@value to it. Returns 0 or
 * the signal that the access got, whose si_code is then in *@code (may be
 * NULL). lab_catch_signals() must have been called.
 */
static inline int lab_access(void *addr, bool write, char *value, int *code)
{
	char *p = addr;
	struct lab_env env;
	int sig;

	sig = sigsetjmp(env.buf, 1);
	if (!sig) {
		lab_signal_env = &env;
		if (write)
			__atomic_store_n(p, *value, __ATOMIC_RELAXED);
		else
			*value = __atomic_load_n(p, __ATOMIC_RELAXED);
	} else if (code) {
		*code = __atomic_load_n(&lab_signal_code, __ATOMIC_RELAXED);
	}
	lab_signal_env = NULL;
	return sig;
}

/*
 * The same access in a thread of its own, for faults that somebody else must
 * serve. Not freed by a timeout: the struct must then live on.
 */
struct lab_touch {
	pthread_t thread;
	char *addr;
	bool write;
	char value;
	int sig;
	int code;
	pid_t tid;
};

static inline void *lab_touch_fn(void *arg)
{
	struct lab_touch *t = arg;

	__atomic_store_n(&t->tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	t->sig = lab_access(t->addr, t->write, &t->value, &t->code);
	return NULL;
}

static inline int lab_touch_start(struct lab_touch *t, void *addr, bool write,
				  char value)
{
	memset(t, 0, sizeof(*t));
	t->addr = addr;
	t->write = write;
	t->value = value;
	return -pthread_create(&t->thread, NULL, lab_touch_fn, t);
}

/* Waits up to @ms for a thread to end; 0 or an errno, not negated */
static inline int lab_join(pthread_t thread, int ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += ms % 1000 * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	return pthread_timedjoin_np(thread, NULL, &ts);
}

/* 0 once the access is over, whatever it got; call until then */
static inline int lab_touch_wait(struct lab_touch *t, int ms)
{
	return -lab_join(t->thread, ms);
}

/* What the kernel says about memory */

#define LAB_PM_PRESENT	_BITULL(63)
#define LAB_PM_SWAP	_BITULL(62)
#define LAB_PM_FILE	_BITULL(61)
#define LAB_PM_UFFD_WP	_BITULL(57)

/* The entry of /proc/self/pagemap of @addr; 0 if it cannot be read */
static inline __u64 lab_pagemap(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)addr / LAB_PAGE * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry;
}

/* Whether pagemap shows the bit @flag, a LAB_PM_*, for @addr */
static inline bool lab_pm(const void *addr, __u64 flag)
{
	return lab_pagemap(addr) & flag;
}

/* Is @addr mapped by an entry for a whole huge page? */
static inline bool lab_mapped_whole(const void *addr)
{
	struct page_region region = {};
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + LAB_PAGE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_HUGE | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_HUGE,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int n = fd < 0 ? -1 : ioctl(fd, PAGEMAP_SCAN, &arg);

	if (fd >= 0)
		close(fd);
	return n == 1;
}

/*
 * A number behind @key ("Shmem:") in a file such as /proc/meminfo, or
 * LAB_NO_NUMBER. The kernel prints most counters as unsigned long, even one
 * that underflowed. That is read as the negative number that it stands for:
 * strtol() returns LONG_MAX for all of them, so that two of them look the same.
 */
#define LAB_NO_NUMBER	LONG_MIN

static inline long lab_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long n = LAB_NO_NUMBER;
	char line[256], *end;

	if (!f)
		return n;
	while (n == LAB_NO_NUMBER && fgets(line, sizeof(line), f)) {
		unsigned long long value;

		if (strncmp(line, key, strlen(key)))
			continue;
		value = strtoull(line + strlen(key), &end, 10);
		if (end != line + strlen(key))
			n = value;
	}
	fclose(f);
	return n;
}

/* Writes @value to the file @name of the directory @dir; 0 or -errno */
static inline int lab_write(const char *dir, const char *name,
			    const char *value)
{
	char path[128];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/*
 * A control group of this process alone, with all that it uses from now on.
 * The directory is @dir, which is empty where there is none; 0 or -errno.
 */
#define LAB_CGROUPS	"/sys/fs/cgroup"
#define LAB_CGROUP_LEN	64

static inline int lab_cgroup_enter(char *dir)
{
	int err;

	dir[0] = '\0';
	err = lab_write(LAB_CGROUPS, "cgroup.subtree_control",
			"+memory +hugetlb");
	if (err)
		return err;
	snprintf(dir, LAB_CGROUP_LEN, LAB_CGROUPS "/uffd-%d", getpid());
	if (!mkdir(dir, 0755))
		return lab_write(dir, "cgroup.procs", "0");
	err = -errno;
	dir[0] = '\0';
	return err;
}

static inline void lab_cgroup_leave(char *dir)
{
	if (!dir[0])
		return;
	lab_write(LAB_CGROUPS, "cgroup.procs", "0");
	rmdir(dir);
}

/*
 * A number of the control group @dir, or LAB_NO_NUMBER. Statistics of memory
 * are added up over the processors now and then; to read cpu.stat does it at
 * once, for all.
 */
static inline long lab_cgroup_number(const char *dir, const char *file,
				     const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/cpu.stat", dir);
	if (lab_number(path, "usage_usec ") == LAB_NO_NUMBER)
		return LAB_NO_NUMBER;
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return lab_number(path, key);
}

/*
 * The pool of huge pages of one size, in pages, and what the control group of
 * this process is charged from it, in bytes. Without a group, LAB_NO_NUMBER.
 */
struct lab_pool {
	long total;
	long free;
	long reserved;
	long surplus;
	long charged;
	long charged_reserved;
};

static inline long lab_pool_number(size_t page, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", page >> 10,
		 name);
	return lab_number(path, "");
}

static inline long lab_pool_charge(size_t page, const char *group,
				   const char *name)
{
	char path[LAB_CGROUP_LEN + 32];

	snprintf(path, sizeof(path), "%s/hugetlb.%s.%s", group,
		 page == LAB_GIGANTIC ? "1GB" : "2MB", name);
	return lab_number(path, "");
}

static inline struct lab_pool lab_pool(size_t page, const char *group)
{
	return (struct lab_pool) {
		.total = lab_pool_number(page, "nr_hugepages"),
		.free = lab_pool_number(page, "free_hugepages"),
		.reserved = lab_pool_number(page, "resv_hugepages"),
		.surplus = lab_pool_number(page, "surplus_hugepages"),
		.charged = lab_pool_charge(page, group, "current"),
		.charged_reserved = lab_pool_charge(page, group,
						    "rsvd.current"),
	};
}

#endif /* UFFD_LAB_H */
