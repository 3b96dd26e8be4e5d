// SPDX-License-Identifier: GPL-2.0
/*
 * Regression tests of threads that wait for userfaultfd, each with the behavior
 * that must not change.
 *
 *   unregister_*	UNREGISTER leaves neither a waiting thread nor a protected
 *			entry behind
 *   in_call_*		a fault inside a system call sleeps, signals or not
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "uffd/fixes.h"

MEMORY_FIXTURE()

/* UNREGISTER wakes all waiters, for every kind of fault. */

/* A fault with the flags @fault waits at the first page, until UNREGISTER. */
static void unregister_wakes(struct __test_metadata *_metadata, int uffd,
			     struct lab_mem *m, bool write, __u64 fault)
{
	static struct lab_touch touch;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_touch_start(&touch, m->area, write, 'x'));
	ASSERT_EQ(1, touch_or_msg(uffd, &touch, &msg));
	EXPECT_EQ(fault, msg.arg.pagefault.flags);
	EXPECT_EQ(0, lab_unregister(uffd, m->area, m->len));
	ASSERT_EQ(0, lab_touch_wait(&touch, TOUCH_MS));
	EXPECT_EQ(0, touch.sig);
}

TEST_F(memory, unregister_wakes_missing)
{
	struct lab_mem *m = &self->m;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	unregister_wakes(_metadata, self->uffd, m, true,
			 UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ('x', m->area[0]);
	EXPECT_EQ(0, m->area[1]);
}

TEST_F(memory, unregister_wakes_minor)
{
	struct lab_mem *m = &self->m;

	if (!lab_is_file(m)) {
		EXPECT_EQ(-EINVAL, lab_register(self->uffd, m->area, m->len,
						LAB_MINOR, NULL));
		return;
	}
	lab_fill(m->alias, m->len, 1);
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MINOR, NULL));
	unregister_wakes(_metadata, self->uffd, m, false,
			 UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(self->src[0], m->area[0]);
}

TEST_F(memory, unregister_wakes_wp)
{
	struct lab_mem *m = &self->m;

	m->area[1] = 'a';
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len, LAB_WP, NULL));
	ASSERT_EQ(0, lab_writeprotect(self->uffd, m->area, m->len, WP_ON));
	unregister_wakes(_metadata, self->uffd, m, true,
			 UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ('x', m->area[0]);
	EXPECT_EQ('a', m->area[1]);
	EXPECT_FALSE(entry_wp(m->area));
}

/* Waiters outside of the range are not woken. */
TEST_F(memory, unregister_wakes_the_range)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch in, out;
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_touch_start(&in, m->area, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &in, &msg));
	ASSERT_EQ(0, lab_touch_start(&out, m->area + m->page, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &out, &msg));

	EXPECT_EQ(0, lab_unregister(self->uffd, m->area, m->page));
	EXPECT_EQ(0, lab_touch_wait(&in, TOUCH_MS));
	EXPECT_EQ(-ETIMEDOUT, lab_touch_wait(&out, LAB_QUIET_MS));
	EXPECT_EQ(0, lab_copy(self->uffd, m->area + m->page, self->src,
			      m->page, 0, NULL));
	EXPECT_EQ(0, lab_touch_wait(&out, LAB_DEADLINE_MS));
	EXPECT_EQ(self->src[0], out.value);
}

/*
 * Races with UNREGISTER, in rounds: a thread calls @act while it runs. The area
 * is armed with WP and has entries, since the faulty kernel walks them while
 * faults and fills still pass: a longer walk lets more of them pass.
 */
#define RACE_BYTES	(8UL << 20)
#define RACE_ROUNDS	50	/* the faulty kernel needs up to 5 */
#define RACE_MS		500	/* fewer rounds on a slow machine */

struct race {
	struct lab_mem m;
	size_t holes;		/* pages at the beginning, for the thread */
	const char *src;
	int uffd;
	void (*act)(struct race *r);
	pthread_t thread;
	unsigned int round;	/* 0: no more rounds */
	unsigned int begun;
	unsigned int done;
};

static void *race_thread(void *arg)
{
	struct race *r = arg;
	unsigned int round;

	for (;;) {
		round = __atomic_load_n(&r->round, __ATOMIC_ACQUIRE);
		if (!round)
			return NULL;
		if (round == r->begun) {
			sched_yield();
			continue;
		}
		__atomic_store_n(&r->begun, round, __ATOMIC_RELEASE);
		r->act(r);
		__atomic_store_n(&r->done, round, __ATOMIC_RELEASE);
	}
}

/* Waits until @where shows that the thread is in this round. */
static bool race_reached(struct race *r, const unsigned int *where)
{
	__u64 end = lab_now_ms() + TOUCH_MS;

	while (__atomic_load_n(where, __ATOMIC_ACQUIRE) != r->round) {
		if (lab_now_ms() >= end)
			return false;
		sched_yield();
	}
	return true;
}

/* All pages are present except those of the thread. */
static void race_holes(struct race *r)
{
	size_t len = r->holes * r->m.page;

	madvise(r->m.area, len, MADV_DONTNEED);
	if (lab_is_file(&r->m))
		fallocate(r->m.fd, FALLOC_FL_PUNCH_HOLE |
			  FALLOC_FL_KEEP_SIZE, 0, len);
}

static int race_begin(struct race *r, const struct lab_type *type, int uffd,
		      const char *src, void (*act)(struct race *r))
{
	size_t page = type->flags & LAB_T_HUGETLB ? LAB_HUGE : LAB_PAGE;
	int err;

	memset(r, 0, sizeof(*r));
	r->uffd = uffd;
	r->src = src;
	r->act = act;
	r->holes = page == LAB_PAGE ? 32 : 1;
	err = lab_mem_make(&r->m, type, RACE_BYTES / page);
	if (err)
		return err;
	if (madvise(r->m.area, r->m.len, MADV_POPULATE_READ))
		return -errno;
	/* The round before the first one counts as over. */
	r->round = 1;
	r->begun = 1;
	r->done = 1;
	return -pthread_create(&r->thread, NULL, race_thread, r);
}

/* Arms the area, and starts the round of the thread. */
static int race_round(struct race *r)
{
	int err;

	race_holes(r);
	err = lab_register(r->uffd, r->m.area, r->m.len,
			   LAB_MISSING | LAB_WP, NULL);
	__atomic_store_n(&r->round, r->round + 1, __ATOMIC_RELEASE);
	return err;
}

static void race_end(struct race *r)
{
	__atomic_store_n(&r->round, 0, __ATOMIC_RELEASE);
	pthread_join(r->thread, NULL);
	lab_mem_drop(&r->m);
}

static void race_touch(struct race *r)
{
	size_t i;

	for (i = 0; i < r->holes; i++)
		__atomic_load_n(r->m.area + i * r->m.page, __ATOMIC_RELAXED);
}

/* The thread waits at a hole, is woken and reaches the next holes. */
TEST_F(memory, unregister_loses_no_fault)
{
	unsigned long rounds = lab_scale(RACE_ROUNDS), i;
	static struct race r;
	struct uffd_msg msg;
	__u64 end;

	ASSERT_EQ(0, race_begin(&r, variant->type, self->uffd, self->src,
				race_touch));
	end = lab_now_ms() + RACE_MS;
	for (i = 0; i < rounds && lab_now_ms() < end; i++) {
		ASSERT_EQ(0, race_round(&r));
		/* The point that it has reached in its first fault varies. */
		if (i % 2) {
			ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
		} else {
			ASSERT_TRUE(race_reached(&r, &r.begun));
		}
		ASSERT_EQ(0, lab_unregister(self->uffd, r.m.area, r.m.len));
		ASSERT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 0)) {
			TH_LOG("a fault was left behind in round %lu", i);
		}
		ASSERT_TRUE(race_reached(&r, &r.done)) {
			TH_LOG("the thread still waits in round %lu", i);
		}
	}
	TH_LOG("%lu rounds", i);
	race_end(&r);
}

static void race_copy_wp(struct race *r)
{
	size_t i;

	for (i = 0; i < r->holes; i++)
		lab_copy(r->uffd, r->m.area + i * r->m.page, r->src,
			 r->m.page, UFFDIO_COPY_MODE_WP, NULL);
}

TEST_F(memory, unregister_leaves_no_protection)
{
	unsigned long rounds = lab_scale(RACE_ROUNDS), i;
	static struct race r;
	size_t page;
	__u64 end;

	ASSERT_EQ(0, race_begin(&r, variant->type, self->uffd, self->src,
				race_copy_wp));
	end = lab_now_ms() + RACE_MS;
	for (i = 0; i < rounds && lab_now_ms() < end; i++) {
		ASSERT_EQ(0, race_round(&r));
		ASSERT_TRUE(race_reached(&r, &r.begun));
		ASSERT_EQ(0, lab_unregister(self->uffd, r.m.area, r.m.len));
		ASSERT_TRUE(race_reached(&r, &r.done));
		for (page = 0; page < r.holes; page++) {
			ASSERT_FALSE(entry_wp(r.m.area + page * r.m.page)) {
				TH_LOG("page %zu in round %lu", page, i);
			}
		}
	}
	TH_LOG("%lu rounds", i);
	race_end(&r);
}

/* Faults inside a system call, and signals */

struct in_call {
	pthread_t thread;
	int pipe[2];
	char *to;
	ssize_t got;
};

#define IN_CALL_TEXT	"read into registered memory"

static unsigned int signals_handled;

static void on_usr1(int sig)
{
	(void)sig;
	__atomic_add_fetch(&signals_handled, 1, __ATOMIC_RELAXED);
}

static int catch_usr1(void)
{
	struct sigaction sa = { .sa_handler = on_usr1 };

	__atomic_store_n(&signals_handled, 0, __ATOMIC_RELAXED);
	return sigaction(SIGUSR1, &sa, NULL);
}

static void *in_call_fn(void *arg)
{
	struct in_call *c = arg;

	c->got = read(c->pipe[0], c->to, sizeof(IN_CALL_TEXT));
	return NULL;
}

static int in_call_start(struct in_call *c, char *to)
{
	memset(c, 0, sizeof(*c));
	c->to = to;
	if (pipe(c->pipe) ||
	    write(c->pipe[1], IN_CALL_TEXT, sizeof(IN_CALL_TEXT)) < 0)
		return -errno;
	return -pthread_create(&c->thread, NULL, in_call_fn, c);
}

static void in_call_end(struct in_call *c)
{
	close(c->pipe[0]);
	close(c->pipe[1]);
}

static __u64 cpu_ms(pthread_t thread)
{
	struct timespec ts = {};
	clockid_t clock;

	if (!pthread_getcpuclockid(thread, &clock))
		clock_gettime(clock, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

TEST_F(memory, in_call_sleeps_despite_a_signal)
{
	struct lab_mem *m = &self->m;
	static struct in_call c;
	struct uffd_msg msg;
	__u64 cpu;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, in_call_start(&c, m->area));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
	cpu = cpu_ms(c.thread);
	ASSERT_EQ(0, pthread_kill(c.thread, SIGUSR1));
	/* Each retry of the fault would cause a message. */
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 200));
	lab_sleep_ms(200);
	EXPECT_GT(cpu + 50, cpu_ms(c.thread));
	EXPECT_EQ(0, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));

	EXPECT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page, 0,
			      NULL));
	ASSERT_EQ(0, lab_join(c.thread, TOUCH_MS));
	EXPECT_EQ(sizeof(IN_CALL_TEXT), c.got);
	EXPECT_STREQ(IN_CALL_TEXT, m->area);
	EXPECT_EQ(1, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));
	in_call_end(&c);
}

/* A signal that was pending before the fault */
TEST_F(memory, in_call_sleeps_with_a_signal_pending)
{
	struct lab_mem *m = &self->m;
	static struct in_call c;
	struct uffd_msg msg;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, in_call_start(&c, m->area));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
	ASSERT_EQ(0, pthread_kill(c.thread, SIGUSR1));
	/*
	 * The same call then waits for the protection, with the signal pending.
	 */
	ASSERT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page,
			      UFFDIO_COPY_MODE_WP, NULL));
	ASSERT_EQ(0, lab_read_msg(self->uffd, &msg, TOUCH_MS));
	EXPECT_TRUE(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	EXPECT_EQ(-ETIMEDOUT, lab_read_msg(self->uffd, &msg, 200));
	EXPECT_EQ(0, lab_writeprotect(self->uffd, m->area, m->page, 0));
	ASSERT_EQ(0, lab_join(c.thread, TOUCH_MS));
	EXPECT_EQ(sizeof(IN_CALL_TEXT), c.got);
	EXPECT_EQ(1, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));
	in_call_end(&c);
}

/* A fault of user mode returns to handle the signal, and is repeated. */
TEST_F(memory, in_user_mode_signals_are_handled)
{
	struct lab_mem *m = &self->m;
	static struct lab_touch touch;
	struct uffd_msg msg;
	__u64 end;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, lab_register(self->uffd, m->area, m->len,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_touch_start(&touch, m->area, false, 0));
	ASSERT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	ASSERT_EQ(0, pthread_kill(touch.thread, SIGUSR1));
	end = lab_now_ms() + TOUCH_MS;
	while (!__atomic_load_n(&signals_handled, __ATOMIC_RELAXED) &&
	       lab_now_ms() < end)
		lab_sleep_ms(1);
	EXPECT_EQ(1, __atomic_load_n(&signals_handled, __ATOMIC_RELAXED));
	EXPECT_EQ(1, touch_or_msg(self->uffd, &touch, &msg));
	EXPECT_EQ(0, lab_copy(self->uffd, m->area, self->src, m->page, 0,
			      NULL));
	EXPECT_EQ(0, lab_touch_wait(&touch, TOUCH_MS));
}

/* Writes to @ready when a thread waits inside a call, and stays alive. */
static void wait_in_call(int ready)
{
	static struct in_call c;
	struct uffd_msg msg;
	char *area = anon_pages(1, MAP_PRIVATE);
	int uffd = lab_uffd_open(0);

	if (area == MAP_FAILED || uffd < 0 ||
	    lab_register(uffd, area, LAB_PAGE, LAB_MISSING, NULL) ||
	    in_call_start(&c, area) || lab_read_msg(uffd, &msg, TOUCH_MS) ||
	    pthread_kill(c.thread, SIGUSR1) || write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

TEST(in_call_can_be_killed)
{
	__u64 end;
	int ready[2], status = 0;
	char byte;
	pid_t pid, got;

	ASSERT_EQ(0, catch_usr1());
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		wait_in_call(ready[1]);
	close(ready[1]);
	EXPECT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	end = lab_now_ms() + TOUCH_MS;
	do {
		got = waitpid(pid, &status, WNOHANG);
		lab_sleep_ms(1);
	} while (!got && lab_now_ms() < end);
	EXPECT_EQ(pid, got);
	EXPECT_TRUE(WIFSIGNALED(status));
	close(ready[0]);
}

TEST_HARNESS_MAIN
