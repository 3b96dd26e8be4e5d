// SPDX-License-Identifier: GPL-2.0
/*
 * Registered memory whose mapping, file or process changes: fork, mremap,
 * munmap, madvise, truncation and hole punching, with and without the events
 * that report them, one at a time and under load.
 */
#include "../kselftest_harness.h"
#include "uffd/fixture.h"
#include <sys/prctl.h>

LAB_FIXTURE(mem);
LAB_ALL_VARIANTS(mem);

/* A system call that may wait until its event was read */
struct call {
	pthread_t thread;
	long (*fn)(struct call *c);
	const struct lab *l;
	long ret;
	int error;
	char *to;
	int advice;
	unsigned int first, n;
};

static void *call_fn(void *arg)
{
	struct call *c = arg;

	c->ret = c->fn(c);
	c->error = errno;
	return NULL;
}

static int call_start(struct call *c, const struct lab *l,
		      long (*fn)(struct call *c))
{
	c->l = l;
	c->fn = fn;
	return pthread_create(&c->thread, NULL, call_fn, c);
}

static int call_wait(struct call *c, int ms)
{
	return lab_join(c->thread, ms);
}

#define EXPECT_CALL_ENDS(c, ret_) do {					\
	ASSERT_EQ(0, call_wait(c, LAB_DEADLINE_MS));			\
	EXPECT_EQ(ret_, (c)->ret);					\
} while (0)

/*
 * Not exit(): the cleanup of the harness must not run twice. The process of the
 * test may die while its child waits for a page.
 */
static pid_t start_child(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static int wait_child(pid_t pid, int ms)
{
	__u64 end = lab_now_ms() + ms;
	int status;
	pid_t ret;

	do {
		ret = waitpid(pid, &status, WNOHANG);
		if (ret == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) :
			       -EINTR;
		if (ret < 0)
			return -errno;
		lab_sleep_ms(1);
	} while (lab_now_ms() < end);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -ETIMEDOUT;
}

/* Without the event, the memory of a child is not armed. */
TEST_F(mem, fork_without_event)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	pid_t pid;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_EQ(0, lab_poison(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	pid = start_child();
	ASSERT_LE(0, pid);
	if (!pid) {
		char v;

		if (page_at(l, 0)[0] || !same_at(l, page_at(l, 1), 1))
			_exit(1);
		/* Page tables of shared memory are not inherited. */
		if (lab_access(page_at(l, 2), false, &v, NULL) !=
		    (lab_is_shared(&l->m) ? 0 : SIGBUS))
			_exit(2);
		page_at(l, 3)[0] = 0x33;
		_exit(0);
	}
	ASSERT_EQ(0, wait_child(pid, LAB_DEADLINE_MS));
	EXPECT_FALSE(has_msg(l));
	if (lab_is_shared(&l->m)) {
		EXPECT_EQ(0x33, read_byte(page_at(l, 3)));
		return;
	}
	/*
	 * Not page 3: in a file, the child's page is there for both processes.
	 */
	EXPECT_FAULT(l, &t, page_at(l, 4), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 4), src_at(l, 4), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 4)[0]);
}

/* Serves a fork event and the two faults of the child that follow. */
struct fork_server {
	pthread_t thread;
	struct lab *l;
	int step;	/* number of steps done; negative: the step that failed */
	int child_uffd;
};

static void *fork_server_fn(void *arg)
{
	struct fork_server *s = arg;
	struct lab *l = s->l;
	struct uffd_msg msg;
	char *p = page_at(l, 1);

	s->step = -1;
	if (lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS) ||
	    msg.event != UFFD_EVENT_FORK)
		return NULL;
	s->child_uffd = msg.arg.fork.ufd;

	s->step = -2;
	if (lab_read_msg(s->child_uffd, &msg, LAB_DEADLINE_MS) ||
	    msg.event != UFFD_EVENT_PAGEFAULT ||
	    msg.arg.pagefault.address != (uintptr_t)p ||
	    msg.arg.pagefault.flags)
		return NULL;
	if (lab_copy(s->child_uffd, p, src_at(l, 1), l->m.page, 0, NULL))
		return NULL;

	s->step = -3;
	p = page_at(l, 2);
	if (lab_read_msg(s->child_uffd, &msg, LAB_DEADLINE_MS) ||
	    msg.arg.pagefault.address != (uintptr_t)p ||
	    msg.arg.pagefault.flags !=
	    (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE))
		return NULL;
	if (lab_writeprotect(s->child_uffd, p, l->m.page, 0))
		return NULL;
	s->step = 3;
	return NULL;
}

/*
 * With it, a userfaultfd for the child arrives, which is armed and protected
 * alike.
 */
TEST_F(mem, fork_with_event)
{
	struct lab *l = &self->l;
	static struct fork_server s;
	static struct lab_touch t;
	pid_t pid;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_FORK));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	s.l = l;
	ASSERT_EQ(0, pthread_create(&s.thread, NULL, fork_server_fn, &s));
	pid = start_child();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!same_at(l, page_at(l, 1), 1))
			_exit(1);
		page_at(l, 2)[0] = 0x22;
		_exit(page_at(l, 2)[1] == src_at(l, 2)[1] ? 0 : 2);
	}
	EXPECT_EQ(0, wait_child(pid, LAB_DEADLINE_MS));
	ASSERT_EQ(0, pthread_join(s.thread, NULL));
	EXPECT_EQ(3, s.step);
	close(s.child_uffd);

	/* The protection of the parent is separate. */
	EXPECT_FAULT(l, &t, page_at(l, 2), true, 1,
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page, 0));
	EXPECT_TOUCHED(&t, 1);
}

static long do_mremap(struct call *c)
{
	const struct lab *l = c->l;

	return (long)mremap(l->m.area, l->m.len, l->m.len,
			    MREMAP_MAYMOVE | MREMAP_FIXED, c->to);
}

/* Free addresses with the size and the alignment of the area */
static char *other_place(const struct lab *l)
{
	char *p = mmap(NULL, l->m.len + LAB_HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	return (char *)(((uintptr_t)p + LAB_HUGE - 1) & -LAB_HUGE);
}

TEST_F(mem, mremap_with_event)
{
	struct lab *l = &self->l;
	static struct call c;
	static struct lab_touch t;
	struct uffd_msg msg = { 0 };

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMAP));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	c.to = other_place(l);
	ASSERT_NE(NULL, c.to);
	ASSERT_EQ(0, call_start(&c, l, do_mremap));
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_REMAP, msg.event);
	EXPECT_EQ((__u64)(uintptr_t)l->m.area, msg.arg.remap.from);
	EXPECT_EQ((__u64)(uintptr_t)c.to, msg.arg.remap.to);
	EXPECT_EQ((__u64)l->m.len, msg.arg.remap.len);
	EXPECT_CALL_ENDS(&c, (long)c.to);

	EXPECT_EQ(-ENOENT, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
				    l->m.page, 0, NULL));
	l->m.area = c.to;
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	EXPECT_FAULT(l, &t, page_at(l, 2), true, 2,
		     UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page, 0));
	EXPECT_TOUCHED(&t, 2);
	EXPECT_FAULT(l, &t, page_at(l, 1), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 1)[0]);
}

/* Without it, moved memory is no longer registered. */
TEST_F(mem, mremap_without_event)
{
	struct lab *l = &self->l;
	static struct call c;
	char v;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 3), l->m.page, 0, NULL));
	c.to = other_place(l);
	ASSERT_NE(NULL, c.to);
	ASSERT_EQ(0, call_start(&c, l, do_mremap));
	EXPECT_CALL_ENDS(&c, (long)c.to);
	l->m.area = c.to;
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	EXPECT_EQ(0, write_byte(page_at(l, 2), 1));
	EXPECT_EQ(0, read_byte(page_at(l, 1)));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, NULL));
	EXPECT_FALSE(has_msg(l));
	EXPECT_EQ(-ENOENT, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
				    l->m.page, 0, NULL));
}

static long do_munmap(struct call *c)
{
	return munmap(page_at(c->l, c->first), c->n * c->l->m.page);
}

TEST_F(mem, munmap_with_event)
{
	struct lab *l = &self->l;
	static struct call c = { .first = 2, .n = 3 };
	static struct lab_touch t;
	struct uffd_msg msg = { 0 };

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_UNMAP));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, call_start(&c, l, do_munmap));
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_UNMAP, msg.event);
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 2), msg.arg.remove.start);
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 5), msg.arg.remove.end);
	EXPECT_CALL_ENDS(&c, 0);
	EXPECT_EQ(-ENOENT, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3),
				    l->m.page, 0, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 5), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[0]);
}

/* Memory is unmapped while a thread waits for it */
TEST_F(mem, munmap_under_a_fault)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	ASSERT_EQ(0, munmap(page_at(l, 3), l->m.page));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 3), l->m.page));
	ASSERT_EQ(0, lab_touch_wait(&t, LAB_DEADLINE_MS));
	EXPECT_EQ(SIGSEGV, t.sig);
	EXPECT_EQ(SEGV_MAPERR, t.code);
}

static long do_madvise(struct call *c)
{
	return madvise(page_at(c->l, c->first), c->n * c->l->m.page,
		       c->advice);
}

TEST_F(mem, dontneed_with_event)
{
	struct lab *l = &self->l;
	static struct call c = { .first = 1, .n = 2, .advice = MADV_DONTNEED };
	static struct lab_touch t;
	struct uffd_msg msg = { 0 };

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	ASSERT_EQ(0, call_start(&c, l, do_madvise));
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 1), msg.arg.remove.start);
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 3), msg.arg.remove.end);
	EXPECT_CALL_ENDS(&c, 0);
	if (lab_is_shared(&l->m)) {
		/* The file still has it. */
		EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
		EXPECT_FALSE(has_msg(l));
		return;
	}
	EXPECT_FAULT(l, &t, page_at(l, 2), true, 1, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, 1);
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
}

LAB_FIXTURE(file);
LAB_FILE_VARIANTS(file);

/*
 * Unregistering wakes only waiters of missing pages; those of minor faults need
 * a WAKE.
 */
TEST_F(file, unregister_minor)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 0, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_EQ(0, lab_wake(l->uffd, l->m.area, l->m.len));
	EXPECT_TOUCHED(&t, src_at(l, 0)[0]);
}

/* Shared files lose what is removed through the mapping or the file. */

LAB_FIXTURE(shared);
LAB_SHMEM_SHARED_VARIANTS(shared);
LAB_HUGETLB_SHARED_VARIANTS(shared);

TEST_F(shared, remove_with_event)
{
	struct lab *l = &self->l;
	static struct call c = { .first = 1, .n = 2, .advice = MADV_REMOVE };
	static struct lab_touch t;
	struct uffd_msg msg = { 0 };

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	ASSERT_EQ(0, call_start(&c, l, do_madvise));
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 1), msg.arg.remove.start);
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 3), msg.arg.remove.end);
	EXPECT_CALL_ENDS(&c, 0);
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
}

/* Changes of the file cause no events. */
TEST_F(shared, punch_hole)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, l->m.page, 2 * l->m.page));
	EXPECT_FALSE(has_msg(l));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	/* Punched again while a thread waits for the page */
	ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, 0, l->m.len));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
}

/* Punching a hole drops protection: the next page is a different one. */
TEST_F(shared, punch_hole_minor)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	file_write(l, 0, PAGES);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_MISSING, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	/*
	 * The page of a minor fault is removed: after a wake, it is a missing
	 * fault.
	 */
	ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, 0, l->m.len));
	EXPECT_EQ(-EFAULT, lab_continue(l->uffd, page_at(l, 2), l->m.page, 0,
					NULL));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 2), l->m.page));
	ASSERT_EQ(0, next_fault(l, 2));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
}

TEST_F(shared, truncate)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	int code = 0;
	char v;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, 4 * l->m.page, 0,
			      NULL));
	EXPECT_FAULT(l, &t, page_at(l, 6), false, 0, 0);
	ASSERT_EQ(0, ftruncate(l->m.fd, 2 * l->m.page));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, &code));
	EXPECT_EQ(BUS_ADRERR, code);
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 6), src_at(l, 6),
				    l->m.page, 0, NULL));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 6), l->m.page));
	ASSERT_EQ(0, lab_touch_wait(&t, LAB_DEADLINE_MS));
	EXPECT_EQ(SIGBUS, t.sig);
	EXPECT_EQ(BUS_ADRERR, t.code);
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));

	/* Extended again: holes */
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
}

/* Only a truncation removes the private pages of a mapping. */

LAB_FIXTURE(private);
LAB_SHMEM_PRIVATE_VARIANTS(private);

TEST_F(private, punch_and_truncate)
{
	struct lab *l = &self->l;
	char v;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, 0, l->m.len));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	ASSERT_EQ(0, ftruncate(l->m.fd, 2 * l->m.page));
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, NULL));
	EXPECT_FALSE(has_msg(l));
}

/*
 * Under load. Two threads read and write pages at random, one serves them, and
 * the test removes the pages in every possible way. A byte that is read must
 * always be that of the source.
 */
struct load {
	struct lab *l;
	bool stop_touch, stop_serve;
	unsigned long touched, signals, wrong, served, again, exist, gone;
	unsigned long events;
};

static unsigned int rnd(unsigned int *seed, unsigned int n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % n;
}

static void *load_touch(void *arg)
{
	struct load *d = arg;
	struct lab *l = d->l;
	unsigned int seed = (uintptr_t)&seed;

	while (!__atomic_load_n(&d->stop_touch, __ATOMIC_RELAXED)) {
		size_t at = rnd(&seed, PAGES) * l->m.page + rnd(&seed, 4096);
		char v = l->src[at];

		/* A write writes the same value. */
		if (lab_access(l->m.area + at, rnd(&seed, 2), &v, NULL))
			__atomic_add_fetch(&d->signals, 1, __ATOMIC_RELAXED);
		else if (v != l->src[at])
			__atomic_add_fetch(&d->wrong, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&d->touched, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * A fault during a change of the mappings is postponed until the event was
 * read. If it were woken, the thread would fault again at once, and as read()
 * returns faults before events, the event would never be read.
 */
static void *load_serve(void *arg)
{
	struct load *d = arg;
	struct lab *l = d->l;
	struct uffd_msg msg;
	unsigned int later = 0;		/* one bit per page */
	unsigned int i;
	int err;

	while (!__atomic_load_n(&d->stop_serve, __ATOMIC_RELAXED)) {
		if (!lab_read_msg(l->uffd, &msg, later ? 0 : 50)) {
			if (msg.event != UFFD_EVENT_PAGEFAULT) {
				d->events++;
				continue;
			}
			i = (msg.arg.pagefault.address -
			     (uintptr_t)l->m.area) / l->m.page;
		} else if (later) {
			i = __builtin_ctz(later);
		} else {
			continue;
		}
		later &= ~(1U << i);
		err = lab_copy(l->uffd, page_at(l, i), src_at(l, i),
			       l->m.page, 0, NULL);
		if (err == -EAGAIN) {
			d->again++;
			later |= 1U << i;
			continue;
		}
		if (!err) {
			__atomic_add_fetch(&d->served, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (err == -EEXIST)
			d->exist++;
		else
			d->gone++;
		lab_wake(l->uffd, page_at(l, i), l->m.page);
	}
	return NULL;
}

TEST_F(mem, load)
{
	struct lab *l = &self->l;
	static struct load d;
	pthread_t touch[2], serve;
	unsigned int i, first, n, seed = 1;
	__u64 end;
	pid_t pid;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	d.l = l;
	ASSERT_EQ(0, pthread_create(&serve, NULL, load_serve, &d));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&touch[i], NULL, load_touch, &d));
	}
	end = lab_now_ms() + LAB_DEADLINE_MS;
	while (!__atomic_load_n(&d.served, __ATOMIC_RELAXED)) {
		ASSERT_LT(lab_now_ms(), end);
		lab_sleep_ms(1);
	}

	end = lab_now_ms() + lab_scale(500);
	for (i = 0; i < 10 || lab_now_ms() < end; i++) {
		first = rnd(&seed, PAGES);
		n = 1 + rnd(&seed, PAGES - first);
		switch (rnd(&seed, 6)) {
		case 0:
		case 1:
			EXPECT_EQ(0, madvise(page_at(l, first), n * l->m.page,
					     MADV_DONTNEED));
			break;
		case 2:
			if (!lab_is_shared(&l->m) || !lab_has_holes(&l->m))
				break;
			EXPECT_EQ(0, madvise(page_at(l, first), n * l->m.page,
					     MADV_REMOVE));
			break;
		case 3:
			if (!lab_has_holes(&l->m))
				break;
			EXPECT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
					       FALLOC_FL_KEEP_SIZE,
					       first * l->m.page,
					       n * l->m.page));
			break;
		case 4:
			if (!lab_has_size(&l->m))
				break;
			EXPECT_EQ(0, ftruncate(l->m.fd, first * l->m.page));
			EXPECT_EQ(0, ftruncate(l->m.fd, l->m.len));
			break;
		case 5:
			/*
			 * A private huge page that is shared with a child needs
			 * a second one, which this pool does not have.
			 */
			if (lab_is_hugetlb(&l->m))
				break;
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid)
				_exit(0);
			EXPECT_EQ(0, wait_child(pid, LAB_DEADLINE_MS));
			break;
		}
	}
	/* The touching threads end first, since their faults must be served. */
	__atomic_store_n(&d.stop_touch, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, lab_join(touch[i], LAB_DEADLINE_MS));
	}
	__atomic_store_n(&d.stop_serve, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, lab_join(serve, LAB_DEADLINE_MS));
	TH_LOG("touched %lu served %lu again %lu exist %lu gone %lu events %lu signals %lu",
	       d.touched, d.served, d.again, d.exist, d.gone, d.events,
	       d.signals);
	EXPECT_EQ(0UL, d.wrong);
	if (!lab_is_file(&l->m)) {
		EXPECT_EQ(0UL, d.signals);
	}
	EXPECT_LT(0UL, d.served);
	EXPECT_LT(0UL, d.events);
}

TEST_HARNESS_MAIN
