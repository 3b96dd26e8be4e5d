// SPDX-License-Identifier: GPL-2.0
/*
 * The state of a userfaultfd as seen from outside: the counters in its fdinfo
 * and its tracepoints. Both must match the calls exactly.
 */
#include "../kselftest_harness.h"
#include "uffd/fixture.h"

#include <assert.h>
#include <sys/mount.h>
#include <sys/wait.h>

/*
 * Counters
 */

struct counters {
	long missing, minor, wp;
	long waits, wakes;
	long copy, zeropage, move, writeprotect, cont, poison;
};

static const char *const counter_names[] = {
	"faults-missing:", "faults-minor:", "faults-wp:", "waits:", "wakes:",
	"pages-copy:", "pages-zeropage:", "pages-move:", "pages-writeprotect:",
	"pages-continue:", "pages-poison:",
};

#define NR_COUNTERS	(sizeof(counter_names) / sizeof(*counter_names))

static_assert(sizeof(struct counters) == NR_COUNTERS * sizeof(long),
	      "a name for each counter");

/* All of them; LAB_NO_NUMBER for a missing one */
static struct counters counters_of(int uffd)
{
	struct counters c;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", uffd);
	for (size_t i = 0; i < NR_COUNTERS; i++)
		((long *)&c)[i] = lab_number(path, counter_names[i]);
	return c;
}

/* The counters of @uffd: those that are named here, and 0 for all others */
#define EXPECT_COUNTERS(uffd, ...) do {					\
	struct counters __want = { __VA_ARGS__ };			\
	struct counters __have = counters_of(uffd);			\
	for (size_t __i = 0; __i < NR_COUNTERS; __i++) {		\
		EXPECT_EQ(((long *)&__want)[__i], ((long *)&__have)[__i]) {\
			TH_LOG("%s", counter_names[__i]);		\
		}							\
	}								\
} while (0)

/* In base pages, like all counters */
static long pages(const struct lab *l, long granules)
{
	return granules * l->m.page / LAB_PAGE;
}

FIXTURE_VARIANT(memory)
{
	const struct lab_type *type;
	__u64 modes;
};

FIXTURE(memory)
{
	struct lab l;
};

FIXTURE_SETUP(memory)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_setup(l, variant->type));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, variant->modes,
				  NULL));
}

FIXTURE_TEARDOWN(memory)
{
	lab_teardown(&self->l);
}

FIXTURE_VARIANT_ADD(memory, anon)
{
	.type = &lab_anon, .modes = LAB_MISSING | LAB_WP,
};

FIXTURE_VARIANT_ADD(memory, shmem)
{
	.type = &lab_memfd_shared, .modes = LAB_MISSING | LAB_WP | LAB_MINOR,
};

FIXTURE_VARIANT_ADD(memory, hugetlb)
{
	.type = &lab_hugetlb_shared,
	.modes = LAB_MISSING | LAB_WP | LAB_MINOR,
};

TEST_F(memory, nothing_counted_yet)
{
	EXPECT_COUNTERS(self->l.uffd, 0);
}

/* Complete, up to an obstacle, and not at all */
TEST_F(memory, pages_of_copy)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_COUNTERS(l->uffd, .copy = pages(l, 1));
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
				    l->m.len, 0, NULL));
	EXPECT_COUNTERS(l->uffd, .copy = pages(l, 3));
	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
				    l->m.page, 0, NULL));
	EXPECT_EQ(-EINVAL, lab_copy(l->uffd, page_at(l, 0) + 1, src_at(l, 0),
				    l->m.page, 0, NULL));
	EXPECT_COUNTERS(l->uffd, .copy = pages(l, 3));
}

TEST_F(memory, pages_of_all_others)
{
	const bool hugetlb = lab_is_hugetlb(&self->l.m);
	const bool minor = variant->modes & LAB_MINOR;
	struct lab *l = &self->l;
	struct counters want = { 0 };
	char *anon;

	ASSERT_EQ(hugetlb ? -EINVAL : 0,
		  lab_zeropage(l->uffd, page_at(l, 0), 2 * l->m.page, 0, NULL));
	want.zeropage = hugetlb ? 0 : pages(l, 2);

	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 3), l->m.page, 0, NULL));
	want.poison = pages(l, 1);

	if (minor)
		file_write(l, 4, 3);
	ASSERT_EQ(minor ? 0 : -EINVAL,
		  lab_continue(l->uffd, page_at(l, 4), 3 * l->m.page, 0, NULL));
	want.cont = minor ? pages(l, 3) : 0;

	ASSERT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.len,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	ASSERT_EQ(0, lab_writeprotect(l->uffd, l->m.area, l->m.page, 0));
	want.writeprotect = pages(l, PAGES + 1);

	if (variant->type == &lab_anon) {
		anon = mmap(NULL, l->m.page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, anon);
		*anon = 1;
		ASSERT_EQ(0, lab_move(l->uffd, page_at(l, 7), anon, l->m.page,
				      0, NULL));
		munmap(anon, l->m.page);
		want.move = pages(l, 1);
	}
	EXPECT_COUNTERS(l->uffd, .zeropage = want.zeropage, .move = want.move,
			.writeprotect = want.writeprotect, .cont = want.cont,
			.poison = want.poison);
}

/* Each kind of fault: counted when it waits, and when it is woken */
TEST_F(memory, faults)
{
	struct lab *l = &self->l;
	struct lab_touch t;
	long minor = 0;

	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);
	EXPECT_COUNTERS(l->uffd, .missing = 1, .waits = 1);
	/* Woken without a fill, it faults again. */
	ASSERT_EQ(0, lab_wake(l->uffd, page_at(l, 0), l->m.page));
	ASSERT_EQ(0, next_fault(l, 0));
	EXPECT_COUNTERS(l->uffd, .missing = 2, .waits = 2, .wakes = 1);
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_TOUCHED(&t, *src_at(l, 0));
	EXPECT_COUNTERS(l->uffd, .missing = 2, .waits = 2, .wakes = 2,
			.copy = pages(l, 1));

	EXPECT_FAULT(l, &t, page_at(l, 0), true, 7,
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 0), l->m.page, 0));
	EXPECT_TOUCHED(&t, 7);

	if (variant->modes & LAB_MINOR) {
		file_write(l, 1, 1);
		EXPECT_FAULT(l, &t, page_at(l, 1), false, 0,
			     UFFD_PAGEFAULT_FLAG_MINOR);
		ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 1), l->m.page, 0,
					  NULL));
		EXPECT_TOUCHED(&t, *src_at(l, 1));
		minor = 1;
	}
	EXPECT_COUNTERS(l->uffd, .missing = 2, .minor = minor, .wp = 1,
			.waits = 3 + minor, .wakes = 3 + minor,
			.copy = pages(l, 1), .writeprotect = pages(l, 1),
			.cont = pages(l, minor));
}

/* A fault that is not reported is not counted: no thread waits. */
TEST_F(memory, signals_are_no_faults)
{
	struct lab *l = &self->l;
	char value = 0;

	ASSERT_EQ(0, lab_reopen(l, UFFD_FEATURE_SIGBUS));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, variant->modes,
				  NULL));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 0), false, &value, NULL));
	EXPECT_COUNTERS(l->uffd, 0);
}

/* Each userfaultfd has its own counters. */
TEST_F(memory, of_each_userfaultfd)
{
	struct lab *l = &self->l;
	int other = lab_uffd_open(0);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_COUNTERS(l->uffd, .copy = pages(l, 1));
	EXPECT_COUNTERS(other, 0);
	close(other);
}

static void *read_fork_event(void *arg)
{
	struct uffd_msg msg = { 0 };
	int *uffd = arg;
	int err = lab_read_msg(*uffd, &msg, LAB_DEADLINE_MS);

	*uffd = err ? err : (int)msg.arg.fork.ufd;
	return NULL;
}

/* The counters of a forked child start at 0. */
TEST_F(memory, of_a_child)
{
	struct lab *l = &self->l;
	pthread_t thread;
	int child, status;
	pid_t pid;

	ASSERT_EQ(0, lab_reopen(l, UFFD_FEATURE_EVENT_FORK));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, variant->modes,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), l->m.page,
			      0, NULL));
	child = l->uffd;
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_fork_event, &child));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	ASSERT_EQ(0, lab_join(thread, LAB_DEADLINE_MS));
	ASSERT_LE(0, child);
	EXPECT_COUNTERS(child, 0);
	EXPECT_COUNTERS(l->uffd, .copy = pages(l, 1));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	close(child);
}

/*
 * Threads that count at the same time lose no count. They use the cheapest
 * call, protecting holes.
 */

#define THREADS		4

struct protector {
	pthread_t thread;
	int uffd;
	char *area;
	unsigned long n;
	int err;
};

static void *protect(void *arg)
{
	struct protector *p = arg;

	for (unsigned long i = 0; i < p->n && !p->err; i++)
		p->err = lab_writeprotect(p->uffd, p->area, LAB_PAGE,
					  UFFDIO_WRITEPROTECT_MODE_WP);
	return NULL;
}

TEST(threads_lose_nothing)
{
	struct protector p[THREADS];
	struct lab l;

	ASSERT_EQ(0, lab_setup(&l, &lab_anon));
	ASSERT_EQ(0, lab_register(l.uffd, l.m.area, l.m.len, LAB_WP, NULL));
	for (int i = 0; i < THREADS; i++) {
		p[i] = (struct protector) {
			.uffd = l.uffd, .area = page_at(&l, i),
			.n = lab_scale(2500),
		};
		ASSERT_EQ(0, pthread_create(&p[i].thread, NULL, protect, &p[i]));
	}
	for (int i = 0; i < THREADS; i++) {
		ASSERT_EQ(0, lab_join(p[i].thread, LAB_DEADLINE_MS));
		EXPECT_EQ(0, p[i].err);
	}
	EXPECT_COUNTERS(l.uffd, .writeprotect = THREADS * p[0].n);
	lab_teardown(&l);
}

/*
 * Tracepoints
 */

#define TRACEFS		"/sys/kernel/tracing"

FIXTURE_VARIANT(trace)
{
	const struct lab_type *type;
	const char *handler;
};

FIXTURE(trace)
{
	struct lab l;
	char dir[64];		/* a trace buffer for this test alone */
	unsigned long ino;
	unsigned long index;	/* page offset of the first page */
};

FIXTURE_SETUP(trace)
{
	struct lab *l = &self->l;
	struct stat st = { 0 };

	ASSERT_EQ(0, lab_setup(l, variant->type));
	if (access(TRACEFS "/events", F_OK) &&
	    mount("tracefs", TRACEFS, "tracefs", 0, NULL)) {
		SKIP(return, "no tracefs: %s", strerror(errno));
	}
	snprintf(self->dir, sizeof(self->dir), TRACEFS "/instances/uffd-%d",
		 getpid());
	ASSERT_EQ(0, mkdir(self->dir, 0700));
	ASSERT_EQ(0, lab_write(self->dir, "events/userfaultfd/enable", "1"));

	if (l->m.fd >= 0)
		ASSERT_EQ(0, fstat(l->m.fd, &st));
	self->ino = st.st_ino;
	self->index = l->m.fd >= 0 ? 0 : (uintptr_t)l->m.area / LAB_PAGE;
}

FIXTURE_TEARDOWN(trace)
{
	lab_teardown(&self->l);
	if (self->dir[0]) {
		lab_write(self->dir, "events/userfaultfd/enable", "0");
		EXPECT_EQ(0, rmdir(self->dir));
	}
}

FIXTURE_VARIANT_ADD(trace, anon)
{
	.type = &lab_anon, .handler = "uffd_anon_request",
};

FIXTURE_VARIANT_ADD(trace, shmem)
{
	.type = &lab_memfd_shared, .handler = "shmem_userfaultfd_request",
};

FIXTURE_VARIANT_ADD(trace, hugetlb)
{
	.type = &lab_hugetlb_shared, .handler = "hugetlb_userfaultfd_request",
};

/* Number of trace lines that have @event and @text */
static int lines_with(const char *dir, const char *event, const char *text)
{
	char path[80], line[512];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/trace", dir);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		n += line[0] != '#' && strstr(line, event) && strstr(line, text);
	fclose(f);
	return n;
}

#define EXPECT_LINES(n, event, ...) do {				\
	char __text[256];						\
	snprintf(__text, sizeof(__text), __VA_ARGS__);			\
	EXPECT_EQ(n, lines_with(self->dir, event ": ", __text)) {	\
		TH_LOG("%s: ... %s", event, __text);			\
	}								\
} while (0)

#define EXPECT_FILL_LINE(n, ioctl, i, nr, done, result)			\
	EXPECT_LINES(n, "userfaultfd_fill",				\
		     "ioctl=%s start=0x%lx len=0x%lx pages=%ld result=%d\n",\
		     ioctl, (unsigned long)page_at(l, i),		\
		     (unsigned long)(nr) * l->m.page, pages(l, done), result)

#define EXPECT_RESOLVE(n, mode, why, i, nr)				\
	EXPECT_LINES(n, "userfaultfd_resolve",				\
		     "handler=%s mode=%s for=%s ino=%lu index=0x%lx pages=%ld result=0\n",\
		     variant->handler, mode, why, self->ino,		\
		     self->index + pages(l, i), pages(l, nr))

#define EXPECT_TRACED_FAULT(n, mode, i, access)				\
	EXPECT_LINES(n, "userfaultfd_fault",				\
		     "mode=%s address=0x%lx access=%s\n", mode,		\
		     (unsigned long)page_at(l, i) + 5, access)

/* A fault, and the ioctls that resolve it or fail */
TEST_F(trace, fault_and_fill)
{
	struct lab *l = &self->l;
	struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_touch_start(&t, page_at(l, 1) + 5, true, 9));
	ASSERT_EQ(UFFD_PAGEFAULT_FLAG_WRITE, next_fault(l, 1));
	EXPECT_TRACED_FAULT(1, "missing", 1, "write");
	EXPECT_TRACED_FAULT(0, "missing", 1, "read");

	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_FILL_LINE(1, "copy", 1, 1, 1, 0);
	EXPECT_RESOLVE(1, "missing", "fill", 1, 1);

	ASSERT_EQ(UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE,
		  next_fault(l, 1));
	EXPECT_TRACED_FAULT(1, "wp", 1, "write");
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 1), l->m.page, 0));
	EXPECT_FILL_LINE(1, "writeprotect", 1, 1, 1, 0);
	EXPECT_TOUCHED(&t, 9);

	EXPECT_EQ(-EEXIST, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
				    l->m.page, 0, NULL));
	EXPECT_FILL_LINE(1, "copy", 1, 1, 0, -EEXIST);
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
				    2 * l->m.page, 0, NULL));
	EXPECT_FILL_LINE(1, "copy", 0, 2, 1, 0);
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 4), 2 * l->m.page, 0, NULL));
	EXPECT_FILL_LINE(1, "poison", 4, 2, 2, 0);
}

TEST_F(trace, minor_fault)
{
	struct lab *l = &self->l;
	struct lab_touch t;

	if (!lab_is_file(&l->m)) {
		EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
						LAB_MINOR, NULL));
		return;
	}
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR, NULL));
	file_write(l, 2, 2);
	ASSERT_EQ(0, lab_touch_start(&t, page_at(l, 2) + 5, false, 0));
	ASSERT_EQ(UFFD_PAGEFAULT_FLAG_MINOR, next_fault(l, 2));
	EXPECT_TRACED_FAULT(1, "minor", 2, "read");
	ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 2), 2 * l->m.page, 0,
				  NULL));
	EXPECT_FILL_LINE(1, "continue", 2, 2, 2, 0);
	/* hugetlb provides one page at a time. */
	if (lab_is_hugetlb(&l->m)) {
		EXPECT_RESOLVE(1, "minor", "fill", 2, 1);
		EXPECT_RESOLVE(1, "minor", "fill", 3, 1);
	} else {
		EXPECT_RESOLVE(1, "minor", "fill", 2, 2);
	}
	EXPECT_TOUCHED(&t, src_at(l, 2)[5]);
}

/*
 * What the kernel resolves by itself: hugetlb and private memory make no
 * request.
 */
TEST_F(trace, fault_without_wait)
{
	struct lab *l = &self->l;
	const int asked = variant->type == &lab_memfd_shared;
	const __u64 mode = lab_is_file(&l->m) ? LAB_MINOR : LAB_WP;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, mode, NULL));
	EXPECT_EQ(0, read_byte(page_at(l, 0)));
	EXPECT_RESOLVE(asked, "missing", "fault", 0, 1);
	EXPECT_LINES(0, "userfaultfd_fault", "ctx=");
}

TEST_F(trace, off)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_write(self->dir, "events/userfaultfd/enable", "0"));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_LINES(0, "", "userfaultfd_");
	ASSERT_EQ(0, lab_write(self->dir, "events/userfaultfd/enable", "1"));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_FILL_LINE(0, "copy", 1, 1, 1, 0);
	EXPECT_FILL_LINE(1, "copy", 2, 1, 1, 0);
}

TEST_HARNESS_MAIN
