// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of what happens to memory while it is filled: discarded, unmapped,
 * forked; and of a pool of huge pages that is too small.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/wait.h>

#include "memory.h"

static bool is_zero(const struct memory *m, size_t page)
{
	const char *at = m->at + page * m->kind->granule;

	return !*at && !memcmp(at, at + 1, m->kind->granule - 1);
}

/* MADV_DONTNEED discards anonymous memory, MADV_REMOVE that of a file. */
static int discard(struct memory *m, size_t page, size_t nr)
{
	return madvise(m->at + page * m->kind->granule, nr * m->kind->granule,
		       m->fd < 0 ? MADV_DONTNEED : MADV_REMOVE);
}

/* Page 1 before it is filled, page 0 after it, page 3 after DONE. */
TEST(discarded_pages_are_zero)
{
	struct lazy_stats s;
	struct memory m;

	FOR_EACH_KIND(kind) {
		for (int threads = 0; threads < 3; threads++) {
			make_memory(&m, kind, UFFD_FEATURE_EVENT_REMOVE);
			m.config.flags = LAZY_NO_BACKGROUND;
			m.config.around = LAZY_AROUND_NONE;
			m.region.flags |= LAZY_REGION_DISCARD;
			serve(&m, threads);
			CHECK(is_same(&m, 0));
			CHECK(!discard(&m, 0, 2));
			CHECK(is_zero(&m, 0), "%s", kind->name);
			CHECK(is_zero(&m, 1), "%s", kind->name);
			lazy_server_background(m.server, 1);
			CHECK(reaches(&m, LAZY_FILLED));
			s = stats_of(&m);
			CHECK_EQ(1, s.removed);
			CHECK_EQ(1, s.discarded);
			CHECK_EQ(s.pages, s.demand + s.background + s.found +
					  s.removed);
			/* It still serves. */
			CHECK(is_same(&m, 3));
			CHECK(!discard(&m, 3, 1));
			CHECK(is_zero(&m, 3), "%s", kind->name);
			end(&m);
		}
	}
}

/*
 * MADV_FREE of shared memory sends REMOVE and fails; MADV_DONTNEED keeps the
 * content of the file. Neither may lose the content of a page that is not
 * filled yet.
 */
TEST(shared_memory_keeps_its_content)
{
	struct memory m;

	FOR_EACH_KIND(kind) {
		if (kind->memfd < 0)
			continue;
		make_memory(&m, kind, UFFD_FEATURE_EVENT_REMOVE);
		m.config.flags = LAZY_NO_BACKGROUND;
		m.config.around = LAZY_AROUND_NONE;
		serve(&m, 0);
		CHECK(is_same(&m, 0));
		CHECK_EQ(-1, madvise(m.at, 2 * m.kind->granule, MADV_FREE));
		CHECK(is_same(&m, 0), "%s", kind->name);
		CHECK(is_same(&m, 1), "%s", kind->name);
		CHECK(!madvise(m.at + m.kind->granule, 2 * m.kind->granule,
			       MADV_DONTNEED));
		CHECK(is_same(&m, 2), "%s", kind->name);
		CHECK(is_same(&m, 1), "%s", kind->name);
		end(&m);
	}
}

/* A balloon: pages are discarded and touched by other threads meanwhile. */
static void *balloon(void *arg)
{
	struct memory *m = arg;

	for (size_t i = 0; i < m->kind->pages; i += 2)
		CHECK(!discard(m, i, 1));
	return NULL;
}

TEST(a_balloon_while_threads_fill)
{
	struct memory m;
	pthread_t thread;

	for (int round = 0; round < (int)scaled(30); round++) {
		make_memory(&m, &kinds[round % 2], UFFD_FEATURE_EVENT_REMOVE);
		m.region.flags |= LAZY_REGION_DISCARD;
		m.config.range = 4 * PAGE;
		serve(&m, round % 5);
		CHECK(!pthread_create(&thread, NULL, balloon, &m));
		for (size_t i = 1; i < m.kind->pages; i += 2)
			CHECK(is_same(&m, i), "page %zu", i);
		pthread_join(thread, NULL);
		CHECK(reaches(&m, LAZY_FILLED));
		for (size_t i = 0; i < m.kind->pages; i += 2)
			CHECK(is_zero(&m, i), "page %zu, round %d", i, round);
		end(&m);
	}
}

/* 64 GiB: the cost of an event must not depend on the size of the guest. */
TEST(large_memory_starts_fast_and_events_are_cheap)
{
	struct memory m;
	uint64_t start, took;
	const size_t len = 64UL << 30, nr = scaled(2000);

	make_memory(&m, &kinds[0], UFFD_FEATURE_EVENT_REMOVE);
	m.at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(m.at != MAP_FAILED);
	CHECK(register_range(m.uffd, m.at, len, false) >= 0);
	m.region.address = (uintptr_t)m.at;
	m.region.len = m.source.length = len;
	m.config.flags = LAZY_NO_BACKGROUND;
	start = now_ms();
	serve(&m, 0);
	CHECK(is_slow() || now_ms() - start < 50, "%llu ms",
	      (unsigned long long)(now_ms() - start));
	start = now_ms();
	for (size_t i = 0; i < nr; i++)
		CHECK(!discard(&m, i * 8000, 1));
	took = now_ms() - start;
	CHECK(is_slow() || took < 1000, "%llu ms for 2000 pages",
	      (unsigned long long)took);
	/* The last event may not be counted yet. */
	usleep(SETTLE_MS * 1000);
	CHECK_EQ(nr, stats_of(&m).removed);
	halt(&m);
	lazy_server_free(m.server);
}

TEST(unmapped_pages_are_left_alone)
{
	struct memory m;

	FOR_EACH_KIND(kind) {
		for (int event = 0; event < 2; event++) {
			size_t last = kind->pages - 1;

			make_memory(&m, kind,
				    event ? UFFD_FEATURE_EVENT_UNMAP : 0);
			m.config.flags = LAZY_NO_BACKGROUND;
			serve(&m, event);
			CHECK(!munmap(m.at + last * m.kind->granule,
				      m.kind->granule));
			lazy_server_background(m.server, 1);
			CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
			CHECK_EQ(1, stats_of(&m).removed);
			for (size_t j = 0; j < last; j++)
				CHECK(is_same(&m, j));
			end(&m);
		}
	}
}

/* Returns the status of a child that compares all memory. */
static int child_compares(struct memory *m)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		alarm(is_slow() ? 200 : 20);
		for (size_t i = 0; i < m->kind->pages; i++)
			if (!is_same(m, i))
				_exit(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

TEST(children_are_served_one_after_another)
{
	struct memory m;

	for (int threads = 0; threads < 3; threads++) {
		make_memory(&m, &kinds[threads], UFFD_FEATURE_EVENT_FORK);
		m.config.flags = LAZY_NO_BACKGROUND;
		serve(&m, threads);
		CHECK(is_same(&m, 0));
		for (int i = 0; i < (int)scaled(50); i++)
			CHECK(!child_compares(&m), "child %d: %s", i,
			      lazy_server_state(m.server, &m.err) ==
			      LAZY_FAILED ? m.err.text : "wrong, or a timeout");
		CHECK(stats_of(&m).children < 3, "%llu children",
		      (unsigned long long)stats_of(&m).children);
		check_content(&m);
		end(&m);
	}
}

/* ---- a pool of huge pages that is too small ---- */

static const struct kind short_pool[] = {
	{ "private hugetlb", HUGE, 4, -1, MAP_HUGETLB | MAP_NORESERVE, LAZY_COPY },
	{ "hugetlb, COPY", HUGE, 4, MFD_HUGETLB, MAP_NORESERVE, LAZY_COPY },
};

static char *take_pool(size_t leave, size_t *len)
{
	size_t nr = free_huge_pages();
	char *taken;

	if (nr < 6)
		SKIP("needs 6 free huge pages");
	*len = (nr - leave) * HUGE;
	taken = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		     MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	CHECK(taken != MAP_FAILED);
	CHECK_EQ(leave, free_huge_pages());
	return taken;
}

static void wait_for_background(struct memory *m, uint64_t pages)
{
	uint64_t deadline = now_ms() + LIMIT_MS;

	while (stats_of(m).background != pages) {
		CHECK(now_ms() < deadline, "%llu pages in the background",
		      (unsigned long long)stats_of(m).background);
		usleep(1000);
	}
}

/* Threads do not fill pages in the order of their addresses. */
static char *absent_page(const struct memory *m)
{
	unsigned char there;
	size_t i = m->kind->pages;

	do {
		CHECK(i--, "no page is absent");
		CHECK(!mincore(m->at + i * m->kind->granule, PAGE, &there));
	} while (there & 1);
	return m->at + i * m->kind->granule;
}

/*
 * On stock kernels UFFDIO_COPY answers EEXIST: memory must not be reported as
 * filled, and is filled when the pool has pages again.
 */
TEST(an_exhausted_pool_is_not_content)
{
	struct access a;
	struct memory m;
	size_t len;
	char *taken;

	for (int i = 0; i < 2; i++) {
		for (int threads = 0; threads < 3; threads++) {
			taken = take_pool(2, &len);
			make_memory(&m, &short_pool[i], 0);
			serve(&m, threads);
			wait_for_background(&m, 2);
			start_access(&a, absent_page(&m));
			CHECK(!is_done(&a, SETTLE_MS), "%s", m.kind->name);
			CHECK_EQ(LAZY_SERVING, lazy_server_state(m.server, NULL));
			CHECK(!munmap(taken, len));
			CHECK(is_done(&a, LIMIT_MS) && !a.sigbus);
			CHECK(reaches(&m, LAZY_FILLED), "%s: %s", m.kind->name,
			      m.err.text);
			check_content(&m);
			end(&m);
		}
	}
}

TEST(an_exhausted_pool_is_a_failure_in_the_end)
{
	struct access a;
	struct memory m;
	size_t len;
	char *taken;

	for (int i = 0; i < 2; i++) {
		for (int background = 0; background < 2; background++) {
			taken = take_pool(2, &len);
			make_memory(&m, &short_pool[i], 0);
			m.config.flags = background ? 0 : LAZY_NO_BACKGROUND;
			m.config.deadline_ms = 2 * SETTLE_MS;
			serve(&m, 1);
			if (!background) {
				CHECK(is_same(&m, 0) && is_same(&m, 1));
				start_access(&a, m.at + 3 * HUGE);
			}
			CHECK(reaches(&m, LAZY_FAILED), "%s", m.kind->name);
			CHECK_EQ(LAZY_E_TIMEOUT, m.err.code);
			if (!background)
				CHECK(!a.done);
			lazy_server_stop(m.server);
			CHECK(!lazy_server_poison(m.server, &m.err), "%s",
			      m.err.text);
			if (!background)
				CHECK(is_done(&a, LIMIT_MS) && a.sigbus);
			munmap(taken, len);
			end(&m);
		}
	}
}

/*
 * Replaces ioctl() of libc. UFFDIO_COPY to @false_at fails with EEXIST although
 * the page is absent: the answer of some stock kernels, on every kernel. An
 * UFFDIO_COPY that has filled pages returns @late_ms late, as on a busy machine.
 */
static _Atomic uint64_t false_at;
static _Atomic unsigned int late_ms;

int ioctl(int fd, unsigned long request, ...)
{
	const struct uffdio_copy *copy;
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	copy = arg;
	if (request == UFFDIO_COPY && false_at && copy->dst == false_at) {
		errno = EEXIST;
		return -1;
	}
	ret = syscall(SYS_ioctl, fd, request, arg);
	if (request == UFFDIO_COPY && !ret && late_ms)
		usleep(late_ms * 1000);
	return ret;
}

TEST(a_false_eexist_is_not_content)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct access a;
	struct memory m;
	int fd;

	if (free_huge_pages() < 4)
		SKIP("needs 4 free huge pages");
	fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api) &&
	    api.features & UFFD_FEATURE_FILL)
		SKIP("this kernel gives no such answer");
	close(fd);
	FOR_EACH_KIND(kind) {
		if (kind->granule != HUGE || kind->populate != LAZY_COPY)
			continue;
		for (int threads = 0; threads < 3; threads++) {
			make_memory(&m, kind, 0);
			false_at = (uintptr_t)m.at + HUGE;
			serve(&m, threads);
			wait_for_background(&m, 3);
			start_access(&a, m.at + HUGE);
			CHECK(!is_done(&a, SETTLE_MS), "%s", m.kind->name);
			CHECK_EQ(LAZY_SERVING, lazy_server_state(m.server, NULL));
			false_at = 0;
			CHECK(is_done(&a, LIMIT_MS) && !a.sigbus);
			CHECK(reaches(&m, LAZY_FILLED), "%s", m.kind->name);
			check_content(&m);
			end(&m);
		}
	}
}

/* A thread that reached the end does not fill what another one is filling. */
TEST(two_threads_fill_nothing_twice)
{
	struct memory m;

	FOR_EACH_KIND(kind) {
		if (kind->populate != LAZY_COPY)
			continue;
		make_memory(&m, kind, 0);
		late_ms = 20;
		serve(&m, 2);
		CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
		late_ms = 0;
		CHECK_EQ(kind->pages, stats_of(&m).background);
		CHECK_EQ(0, stats_of(&m).found);
		check_content(&m);
		end(&m);
	}
}

/* Pages that the server did not fill are kept, and their waiters woken. */
TEST(present_pages_are_kept)
{
	struct uffdio_copy copy = { .mode = UFFDIO_COPY_MODE_DONTWAKE };
	struct memory m;
	struct access a;
	char *other;

	FOR_EACH_KIND(kind) {
		/* For a private hugetlb page there is no proof. */
		if (kind->populate != LAZY_COPY ||
		    kind->map & MAP_HUGETLB)
			continue;
		make_memory(&m, kind, 0);
		start_access(&a, m.at + m.kind->granule);
		usleep(SETTLE_MS * 1000);
		other = mmap(NULL, m.kind->granule, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(other, 0x77, m.kind->granule);
		copy.dst = (uintptr_t)m.at + m.kind->granule;
		copy.src = (uintptr_t)other;
		copy.len = m.kind->granule;
		CHECK(!ioctl(m.uffd, UFFDIO_COPY, &copy));
		CHECK(!is_done(&a, SETTLE_MS));
		serve(&m, 0);
		CHECK(is_done(&a, LIMIT_MS));
		CHECK_EQ(0x77, a.saw);
		CHECK(reaches(&m, LAZY_FILLED), "%s", kind->name);
		CHECK_EQ(1, stats_of(&m).found);
		end(&m);
	}
}
