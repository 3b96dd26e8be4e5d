/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * For tests of the server: memory of each type, registered with a userfaultfd,
 * and a server that fills it, driven by a thread of the test (threads = 0) or by
 * threads of its own. A test program includes this once.
 */
#ifndef LAZY_TEST_MEMORY_H
#define LAZY_TEST_MEMORY_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <lazyrestore/server.h>

#include "core/uapi.h"
#include "ktap.h"

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define SETTLE_MS	50	/* long enough for a woken thread to continue */
#define LIMIT_MS	(is_slow() ? 200000 : 20000)

struct kind {
	const char *name;
	size_t granule, pages;
	int memfd;		/* flags of memfd_create(), -1: anonymous */
	int map;		/* additional flags of mmap() */
	enum lazy_populate populate;
};

static const struct kind kinds[] = {
	{ "anon", PAGE, 512, -1, 0, LAZY_COPY },
	{ "shmem, COPY", PAGE, 512, 0, 0, LAZY_COPY },
	{ "shmem, pwrite()", PAGE, 512, 0, 0, LAZY_PWRITE },
	{ "shmem, alias", PAGE, 512, 0, 0, LAZY_ALIAS },
	{ "hugetlb, COPY", HUGE, 4, MFD_HUGETLB, 0, LAZY_COPY },
	{ "hugetlb, alias", HUGE, 4, MFD_HUGETLB, 0, LAZY_ALIAS },
	{ "private hugetlb", HUGE, 4, -1, MAP_HUGETLB, LAZY_COPY },
};

#define NR_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

struct memory {
	const struct kind *kind;
	size_t len;
	char *at;		/* the memory */
	char *content;		/* what it has to become */
	int fd, uffd;
	struct lazy_region region;
	struct lazy_source source;
	struct lazy_server_config config;
	struct lazy_server *server;
	unsigned int threads;
	pthread_t driver;
	_Atomic bool stop;
	int fail_at;		/* page that cannot be read, -1: none */
	struct lazy_error err;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* ---- the source ---- */

static int source_read(void *arg, uint64_t offset, void *buf, size_t len,
		       struct lazy_error *err)
{
	const struct memory *m = arg;

	if (m->fail_at >= 0 && offset < (m->fail_at + 1) * m->kind->granule &&
	    offset + len > m->fail_at * m->kind->granule) {
		errno = EIO;
		return lazy_error_set(err, LAZY_E_SOURCE, "damaged");
	}
	memcpy(buf, m->content + offset, len);
	return 0;
}

static uint64_t source_zeros(void *arg, uint64_t offset, uint64_t len)
{
	const struct memory *m = arg;
	uint64_t start = offset;

	/* make_content() leaves every fifth page zero. */
	while (offset < start + len && offset / m->kind->granule % 5 == 2)
		offset += m->kind->granule - offset % m->kind->granule;
	return offset - start < len ? offset - start : len;
}

static void make_content(char *content, size_t len, size_t granule)
{
	for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
		uint64_t word = (at + 1) * 0x9e3779b97f4a7c15ULL;

		if (at / granule % 5 == 2)
			word = 0;
		memcpy(content + at, &word, sizeof(word));
	}
}

/* ---- the memory ---- */

static inline size_t free_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
			"r");
	size_t nr = 0;

	if (f && fscanf(f, "%zu", &nr) != 1)
		nr = 0;
	if (f)
		fclose(f);
	return nr;
}

/*
 * The pool of most hosts is empty. Then hugetlb is not tested there, which is
 * noted: the VM has a pool.
 */
static inline bool has_pages(const struct kind *kind)
{
	if (kind->granule != HUGE || free_huge_pages() >= kind->pages)
		return true;
	note("%s: not tested, needs %zu free huge pages", kind->name,
	     kind->pages);
	return false;
}

#define FOR_EACH_KIND(kind)						\
	for (const struct kind *kind = kinds; kind < kinds + NR_KINDS; kind++) \
		if (has_pages(kind))

static int register_range(int uffd, void *at, size_t len, bool minor)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)at, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING |
			(minor ? UFFDIO_REGISTER_MODE_MINOR : 0),
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -1;
	return !!(reg.ioctls & 1ULL << _UFFDIO_ZEROPAGE);
}

static int new_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		SKIP("userfaultfd: %s", strerror(errno));
	CHECK(!ioctl(fd, UFFDIO_API, &api), "UFFDIO_API: %s", strerror(errno));
	return fd;
}

/* Memory of @kind, registered; the configuration may be changed before serve(). */
static void make_memory(struct memory *m, const struct kind *kind,
			uint64_t features)
{
	bool minor = kind->populate != LAZY_COPY;
	int zeropage;

	*m = (struct memory) { .kind = kind, .fd = -1, .fail_at = -1 };
	m->len = kind->granule * kind->pages;
	m->content = mmap(NULL, m->len, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(m->content != MAP_FAILED);
	make_content(m->content, m->len, kind->granule);
	if (kind->memfd >= 0) {
		m->fd = memfd_create("memory", kind->memfd);
		CHECK(m->fd >= 0 && !ftruncate(m->fd, m->len));
	}
	m->at = mmap(NULL, m->len, PROT_READ | PROT_WRITE, kind->map |
		     (m->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
		     m->fd, 0);
	CHECK(m->at != MAP_FAILED, "%s: %s", kind->name, strerror(errno));
	/* Huge pages come by faults that are served, not by the kernel. */
	madvise(m->at, m->len, MADV_NOHUGEPAGE);
	m->uffd = new_uffd(features);
	zeropage = register_range(m->uffd, m->at, m->len, minor);
	CHECK(zeropage >= 0, "%s: UFFDIO_REGISTER: %s", kind->name,
	      strerror(errno));
	m->region = (struct lazy_region) {
		.address = (uintptr_t)m->at,
		.len = m->len,
		.granule = kind->granule,
		.fd = m->fd,
		.populate = kind->populate,
		.flags = (zeropage ? LAZY_REGION_ZEROPAGE : 0) |
			 (m->fd >= 0 ? LAZY_REGION_SHARED : 0),
	};
	m->source = (struct lazy_source) {
		.size = sizeof(m->source),
		.arg = m,
		.length = m->len,
		.read = source_read,
		.zeros = source_zeros,
	};
	m->config = (struct lazy_server_config) {
		.size = sizeof(m->config),
		.uffd = m->uffd,
		.regions = &m->region,
		.region_size = sizeof(m->region),
		.nr_regions = 1,
		.source = &m->source,
		.deadline_ms = LIMIT_MS,
	};
}

/* ---- the server ---- */

static void *drive(void *arg)
{
	struct memory *m = arg;
	struct pollfd fd = {
		.fd = lazy_server_fd(m->server), .events = POLLIN,
	};
	struct lazy_error err;
	int ms = 0;

	/* A failure is seen by lazy_server_state(). */
	while (!m->stop && !lazy_server_step(m->server, &ms, &err))
		if (ms)
			poll(&fd, 1, ms > 0 && ms < 10 ? ms : 10);
	return NULL;
}

static inline void serve(struct memory *m, unsigned int threads)
{
	m->threads = threads;
	m->server = lazy_server_new(&m->config, &m->err);
	CHECK(m->server, "%s: %s", m->kind->name, m->err.text);
	if (threads)
		CHECK(!lazy_server_start(m->server, threads, &m->err), "%s",
		      m->err.text);
	else
		CHECK(!pthread_create(&m->driver, NULL, drive, m));
}

static inline struct lazy_stats stats_of(struct memory *m)
{
	struct lazy_stats stats = { .size = sizeof(stats) };

	lazy_server_stats(m->server, &stats);
	return stats;
}

/* Waits for the state, and checks the counts meanwhile. */
static inline bool reaches(struct memory *m, enum lazy_state state)
{
	uint64_t deadline = now_ms() + LIMIT_MS;
	struct lazy_stats s;

	do {
		s = stats_of(m);
		CHECK(s.demand + s.background + s.found + s.removed <= s.pages,
		      "%llu + %llu + %llu + %llu of %llu pages",
		      (unsigned long long)s.demand,
		      (unsigned long long)s.background,
		      (unsigned long long)s.found,
		      (unsigned long long)s.removed,
		      (unsigned long long)s.pages);
		if (lazy_server_state(m->server, &m->err) == state)
			return true;
		usleep(200);
	} while (now_ms() < deadline);
	return false;
}

static inline void halt(struct memory *m)
{
	if (m->threads) {
		lazy_server_stop(m->server);
	} else if (!m->stop) {
		m->stop = true;
		pthread_join(m->driver, NULL);
	}
}

static inline void end(struct memory *m)
{
	halt(m);
	lazy_server_free(m->server);
	/* First, since its events are no longer read. */
	close(m->uffd);
	munmap(m->at, m->len);
	munmap(m->content, m->len);
	if (m->fd >= 0)
		close(m->fd);
}

static inline bool is_same(const struct memory *m, size_t page)
{
	return !memcmp(m->at + page * m->kind->granule,
		       m->content + page * m->kind->granule, m->kind->granule);
}

static inline void check_content(const struct memory *m)
{
	for (size_t i = 0; i < m->kind->pages; i++)
		CHECK(is_same(m, i), "%s, page %zu", m->kind->name, i);
}

/* ---- a thread that accesses memory ---- */

struct access {
	pthread_t thread;
	volatile char *at;
	int advice;		/* for madvise() of a page, -1: read the byte */
	size_t len;
	char saw;
	int ret, error;
	_Atomic bool done, sigbus;
};

static _Thread_local sigjmp_buf access_jump;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(access_jump, 1);
}

static void *do_access(void *arg)
{
	struct access *a = arg;

	if (a->advice >= 0) {
		a->ret = madvise((void *)a->at, a->len, a->advice);
		a->error = errno;
	} else if (sigsetjmp(access_jump, 1)) {
		a->sigbus = true;
	} else {
		a->saw = *a->at;
	}
	a->done = true;
	return NULL;
}

static inline void start_access(struct access *a, char *at)
{
	*a = (struct access) { .at = at, .advice = -1 };
	signal(SIGBUS, on_sigbus);
	CHECK(!pthread_create(&a->thread, NULL, do_access, a));
	pthread_detach(a->thread);
}

static inline void start_advice(struct access *a, char *at, size_t len,
				int advice)
{
	*a = (struct access) { .at = at, .len = len, .advice = advice };
	CHECK(!pthread_create(&a->thread, NULL, do_access, a));
	pthread_detach(a->thread);
}

static inline bool is_done(struct access *a, int ms)
{
	for (; !a->done && ms > 0; ms--)
		usleep(1000);
	return a->done;
}

#endif /* LAZY_TEST_MEMORY_H */
