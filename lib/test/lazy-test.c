// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the handler: it fills each memory type, in each way, with the
 * content of the snapshot; it loses no fault when mappings change, memory is
 * short or a page is already present; and after it fails, the guest never runs
 * on zero-filled pages. Prints KTAP.
 *
 * The test program is the hypervisor, the handler its child. While the handler
 * is stopped (SIGSTOP), faults and events queue up in a known order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "../lazy_internal.h"

#define HUGE		(2UL << 20)
#define SETTLE_MS	50	/* long enough for a woken thread to continue */
#define TIMEOUT_MS	20000

struct kind {
	size_t granule;
	size_t pages;
	bool file;
	enum lazy_populate populate;
};

FIXTURE(lazy) {
	struct kind kind;
	char path[64];
	size_t len;
	char *content;		/* memory content in the snapshot */
	char *memory;
	int fd, uffd, sock;
	pid_t handler;
	struct lazy_region region;
	struct lazy_options options;
	struct lazy_stats stats;
	struct reason reason;
};

FIXTURE_VARIANT(lazy) {
	struct kind kind;
};

#define KIND(name, ...)							\
	FIXTURE_VARIANT_ADD(lazy, name) { .kind = { __VA_ARGS__ } }

KIND(anon_copy, 4096, 64, false, LAZY_COPY);
KIND(shmem_copy, 4096, 64, true, LAZY_COPY);
KIND(shmem_pwrite, 4096, 64, true, LAZY_PWRITE);
KIND(shmem_alias, 4096, 64, true, LAZY_ALIAS);
KIND(hugetlb_copy, HUGE, 3, true, LAZY_COPY);
KIND(hugetlb_alias, HUGE, 3, true, LAZY_ALIAS);

/* In the handler: its socket, and its statistics, shared with the test. */
static int handler_sock;
static struct lazy_stats *served;

/* Content that depends on its position; page 2 and some others are zero. */
static void make_content(char *content, size_t len, size_t granule)
{
	for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
		uint64_t word = (at + 1) * 0x9e3779b97f4a7c15ULL;

		if (at / granule % 5 == 2)
			word = 0;
		memcpy(content + at, &word, sizeof(word));
	}
}

FIXTURE_SETUP(lazy)
{
	struct snap_region region = {};
	struct snap_writer *w;

	self->kind = variant->kind;
	self->len = self->kind.granule * self->kind.pages;
	sprintf(self->path, "/tmp/lazy-test.%d", getpid());
	self->content = mmap(NULL, self->len, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->content);
	make_content(self->content, self->len, self->kind.granule);
	region.len = self->len;
	w = snap_create(self->path, &region, 1, &self->reason);
	ASSERT_NE(NULL, w);
	ASSERT_EQ(0, snap_write_memory(w, 0, self->content, self->len,
				       &self->reason));
	ASSERT_EQ(0, snap_commit(w, &self->reason));

	self->fd = -1;
	if (self->kind.file) {
		self->fd = memfd_create("memory", self->kind.granule == HUGE ?
					MFD_HUGETLB | MFD_HUGE_2MB : 0);
		ASSERT_LE(0, self->fd);
		ASSERT_EQ(0, ftruncate(self->fd, self->len));
	}
	self->memory = mmap(NULL, self->len, PROT_READ | PROT_WRITE,
			    self->kind.file ? MAP_SHARED :
			    MAP_PRIVATE | MAP_ANONYMOUS, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	self->options.deadline_ms = TIMEOUT_MS;
	self->uffd = self->sock = -1;
	served = mmap(NULL, sizeof(*served), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, served);
}

FIXTURE_TEARDOWN(lazy)
{
	if (self->handler > 0) {
		kill(self->handler, SIGKILL);
		waitpid(self->handler, NULL, 0);
	}
	/* Wakes a thread left by a failed test. */
	if (self->uffd >= 0)
		close(self->uffd);
	if (self->fd >= 0)
		close(self->fd);
	unlink(self->path);
}

/* ---- the hypervisor's part ---- */

static int arm(struct lazy_region *region, int *uffd, void *memory, size_t len,
	       const struct kind *kind, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = {
		.range = { (uintptr_t)memory, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING |
			(kind->populate == LAZY_COPY ? 0 :
			 UFFDIO_REGISTER_MODE_MINOR),
	};

	*uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*uffd < 0 || ioctl(*uffd, UFFDIO_API, &api) ||
	    ioctl(*uffd, UFFDIO_REGISTER, &reg))
		return -1;
	*region = (struct lazy_region) {
		.address = (uintptr_t)memory,
		.len = len,
		.granule = kind->granule,
		.populate = kind->populate,
		.zeropage = !!(reg.ioctls & 1ULL << _UFFDIO_ZEROPAGE),
	};
	return 0;
}

/* Starts a handler and returns the socket to it. It exits with its result. */
static pid_t start_handler(int *sock, const char *path,
			   const struct lazy_options *options)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	pid = fork();
	if (!pid) {
		struct lazy_stats stats;
		struct reason reason;
		struct snapshot *snap = snap_open(path, &reason);

		close(pair[0]);
		handler_sock = pair[1];
		_exit(!snap || lazy_serve(pair[1], snap, options,
					  served ?: &stats, &reason));
	}
	close(pair[1]);
	*sock = pair[0];
	return pid;
}

/* Receives messages up to the first other than PROGRESS: is it @wanted? */
static bool receives(int sock, enum lazy_event wanted, struct lazy_stats *stats,
		 struct reason *reason)
{
	struct pollfd pollfd = { .fd = sock, .events = POLLIN };
	enum lazy_event event;

	do {
		if (poll(&pollfd, 1, TIMEOUT_MS) != 1)
			return false;
		event = lazy_receive(sock, stats, reason);
	} while (event == LAZY_PROGRESS);
	return event == wanted;
}

#define SERVE(features) do {						\
	/* Before the memory is armed: fork() would be an event. */	\
	self->handler = start_handler(&self->sock, self->path,		\
				      &self->options);			\
	ASSERT_LT(0, self->handler);					\
	ASSERT_EQ(0, arm(&self->region, &self->uffd, self->memory,	\
			 self->len, &self->kind, features));		\
	ASSERT_EQ(0, lazy_hand_over(self->sock, self->uffd,		\
				    &self->region, &self->fd, 1,	\
				    TIMEOUT_MS, &self->reason)) {	\
		TH_LOG("%s", self->reason.text);			\
	}								\
} while (0)

#define RECEIVE(event) \
	ASSERT_TRUE(receives(self->sock, event, &self->stats,		\
			     &self->reason)) {				\
		TH_LOG("%s", self->reason.text);			\
	}

/* The handler exits with this status and leaves no unread messages. */
#define HANDLER_ENDS(with) do {						\
	int status, error = -1;						\
	socklen_t len = sizeof(error);					\
									\
	ASSERT_EQ(self->handler, waitpid(self->handler, &status, 0));	\
	self->handler = 0;						\
	EXPECT_EQ((with) << 8, status);					\
	ASSERT_EQ(0, getsockopt(self->sock, SOL_SOCKET, SO_ERROR,	\
				&error, &len));				\
	EXPECT_EQ(0, error);						\
} while (0)

static char *page(const char *base, const struct kind *kind, size_t i)
{
	return (char *)base + i * kind->granule;
}

/* A thread that accesses a byte of memory or calls madvise() on it. */
struct doer {
	pthread_t thread;
	char *at;
	size_t len;
	int advice;		/* for madvise(), -1: access the byte */
	char saw;
	int done;
};

static void *do_it(void *arg)
{
	struct doer *d = arg;

	if (d->advice >= 0)
		madvise(d->at, d->len, d->advice);
	else
		d->saw = *(volatile char *)d->at;
	__atomic_store_n(&d->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void start_touch(struct doer *d, char *at)
{
	*d = (struct doer) { .at = at, .advice = -1 };
	pthread_create(&d->thread, NULL, do_it, d);
}

static bool is_done(struct doer *d, int ms)
{
	for (; ms >= 0; ms--) {
		if (__atomic_load_n(&d->done, __ATOMIC_ACQUIRE))
			return true;
		usleep(1000);
	}
	return false;
}

/* Stops the handler and waits until it has stopped. */
static void stop(pid_t handler)
{
	kill(handler, SIGSTOP);
	waitpid(handler, NULL, WUNTRACED);
}

#define SAME(i) \
	memcmp(page(self->memory, &self->kind, i),			\
	       page(self->content, &self->kind, i), self->kind.granule)

/* ---- filling memory ---- */

TEST_F(lazy, all_is_filled_without_faults)
{
	SERVE(0);
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(self->kind.pages, self->stats.background);
	EXPECT_EQ(0, self->stats.demand);
	EXPECT_EQ(0, memcmp(self->memory, self->content, self->len));
}

TEST_F(lazy, each_page_is_filled_when_it_is_asked_for)
{
	self->options.no_background = true;
	SERVE(0);
	for (size_t i = 0; i < self->kind.pages; i++) {
		ASSERT_EQ(0, SAME(i * 11 % self->kind.pages));
	}
	/* All pages are filled. */
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(self->kind.pages, self->stats.demand);
	EXPECT_EQ(self->kind.pages, self->stats.faults);
	EXPECT_EQ(0, self->stats.background);
}

TEST_F(lazy, what_was_written_stays)
{
	self->options.background_when_alive = true;
	SERVE(0);
	for (size_t i = 0; i < self->kind.pages; i += 2) {
		page(self->memory, &self->kind, i)[7] = ~page(self->content,
							    &self->kind, i)[7];
	}
	lazy_alive(self->sock);
	RECEIVE(LAZY_DONE);
	EXPECT_EQ((self->kind.pages + 1) / 2, self->stats.alive_demand);
	EXPECT_EQ(self->kind.pages / 2, self->stats.background);
	for (size_t i = 0; i < self->kind.pages; i++) {
		if (!(i % 2))
			page(self->content, &self->kind, i)[7] ^= 0xff;
		ASSERT_EQ(0, SAME(i));
	}
}

TEST_F(lazy, the_hypervisor_may_go_at_any_time)
{
	int status;

	self->options.no_background = true;
	SERVE(0);
	ASSERT_EQ(0, SAME(0));
	close(self->sock);
	ASSERT_EQ(self->handler, waitpid(self->handler, &status, 0));
	self->handler = 0;
	EXPECT_EQ(0, status);
}

/* ---- no fault is lost ---- */

TEST_F(lazy, a_page_that_is_there_has_its_waiters_woken)
{
	struct doer d[2];

	self->options.no_background = true;
	SERVE(0);
	stop(self->handler);
	/* Both wait for the same page; the second fault finds it present. */
	start_touch(&d[0], page(self->memory, &self->kind, 1));
	start_touch(&d[1], page(self->memory, &self->kind, 1) + 1);
	usleep(SETTLE_MS * 1000);
	EXPECT_FALSE(is_done(&d[0], 0));
	kill(self->handler, SIGCONT);
	ASSERT_TRUE(is_done(&d[0], TIMEOUT_MS));
	ASSERT_TRUE(is_done(&d[1], TIMEOUT_MS));
	close(self->sock);
	ASSERT_EQ(self->handler, waitpid(self->handler, NULL, 0));
	self->handler = 0;
}

/* Another thread fills the page without waking; the handler must wake. */
TEST_F(lazy, a_page_that_another_one_filled_is_kept)
{
	struct uffdio_copy copy = { .mode = UFFDIO_COPY_MODE_DONTWAKE };
	struct doer d;
	char *other;

	if (self->kind.populate != LAZY_COPY)
		return;		/* only the handler writes to the file */
	self->options.no_background = true;
	SERVE(0);
	other = aligned_alloc(self->kind.granule, self->kind.granule);
	memset(other, 0x77, self->kind.granule);
	stop(self->handler);
	start_touch(&d, page(self->memory, &self->kind, 1));
	usleep(SETTLE_MS * 1000);
	copy.dst = (uintptr_t)page(self->memory, &self->kind, 1);
	copy.src = (uintptr_t)other;
	copy.len = self->kind.granule;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_COPY, &copy));
	EXPECT_FALSE(is_done(&d, SETTLE_MS));
	kill(self->handler, SIGCONT);
	ASSERT_TRUE(is_done(&d, TIMEOUT_MS));
	EXPECT_EQ(0x77, d.saw);
	free(other);
}

/* Runs the process on the first processor, with real-time priority. */
static int alone(pid_t pid, int priority)
{
	struct sched_param param = { .sched_priority = priority };
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	return sched_setaffinity(pid, sizeof(first), &first) ||
	       sched_setscheduler(pid, SCHED_FIFO, &param);
}

/*
 * From before its event is read until it runs again, madvise() keeps the
 * mappings marked as changing. On a single processor, with the handler at a
 * higher priority, each fill until then fails with EAGAIN.
 */
TEST_F(lazy, a_fault_is_parked_while_mappings_change)
{
	struct doer touch, remove;
	char *gone = page(self->memory, &self->kind, 0);

	self->options.no_background = true;
	SERVE(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_EQ(0, SAME(0));
	ASSERT_EQ(0, alone(self->handler, 2));
	ASSERT_EQ(0, alone(0, 1));
	stop(self->handler);
	start_touch(&touch, page(self->memory, &self->kind, 1));
	remove = (struct doer) {
		.at = gone, .len = self->kind.granule, .advice = MADV_DONTNEED,
	};
	pthread_create(&remove.thread, NULL, do_it, &remove);
	usleep(SETTLE_MS * 1000);
	EXPECT_FALSE(is_done(&touch, 0));
	EXPECT_FALSE(is_done(&remove, 0));
	kill(self->handler, SIGCONT);
	ASSERT_TRUE(is_done(&touch, TIMEOUT_MS));
	ASSERT_TRUE(is_done(&remove, TIMEOUT_MS));
	EXPECT_EQ(0, SAME(1));
	/* The discarded page: zeroes, or the content of the file. */
	if (self->kind.file) {
		EXPECT_EQ(0, SAME(0));
	} else {
		EXPECT_EQ(0, *gone);
	}
	for (size_t i = 1; i < self->kind.pages; i++) {
		EXPECT_EQ(0, SAME(i));
	}
	RECEIVE(LAZY_DONE);
	EXPECT_LE(1, self->stats.parked);
	EXPECT_EQ(1, self->stats.removed);
}

TEST_F(lazy, what_was_removed_is_not_restored)
{
	char *gone = page(self->memory, &self->kind, 1);

	self->options.background_when_alive = true;
	SERVE(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_EQ(0, madvise(gone, self->kind.granule, self->kind.file ?
			     MADV_REMOVE : MADV_DONTNEED));
	EXPECT_EQ(0, *gone);
	EXPECT_EQ(0, memcmp(gone, gone + 1, self->kind.granule - 1));
	lazy_alive(self->sock);
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(1, self->stats.removed);
	EXPECT_EQ(0, *gone);
	EXPECT_EQ(0, SAME(0));
}

TEST_F(lazy, what_was_unmapped_is_left_alone)
{
	size_t last = self->kind.pages - 1;

	self->options.background_when_alive = true;
	SERVE(UFFD_FEATURE_EVENT_UNMAP);
	ASSERT_EQ(0, munmap(page(self->memory, &self->kind, last),
			    self->kind.granule));
	lazy_alive(self->sock);
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(1, self->stats.removed);
	EXPECT_EQ(last, self->stats.background);
	EXPECT_EQ(0, memcmp(self->memory, self->content,
			    last * self->kind.granule));
}

/* The same without the event: the handler gets ENOENT. */
TEST_F(lazy, silently_unmapped_range)
{
	self->options.background_when_alive = true;
	SERVE(0);
	ASSERT_EQ(0, munmap(page(self->memory, &self->kind, 1),
			    self->kind.granule));
	lazy_alive(self->sock);
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(1, self->stats.removed);
	EXPECT_EQ(0, SAME(0));
	EXPECT_EQ(0, SAME(self->kind.pages - 1));
}

TEST_F(lazy, a_child_is_served_as_well)
{
	int status;
	pid_t pid;

	self->options.background_when_alive = true;
	SERVE(UFFD_FEATURE_EVENT_FORK);
	ASSERT_EQ(0, SAME(0));
	pid = fork();
	if (!pid) {
		for (size_t i = 0; i < self->kind.pages; i++)
			if (SAME(i))
				_exit(1);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	for (size_t i = 0; i < self->kind.pages; i++) {
		ASSERT_EQ(0, SAME(i));
	}
	/* For a file, all pages are present by now. */
	lazy_alive(self->sock);
	RECEIVE(LAZY_DONE);
}

/* ---- the order ---- */

/* In the handler: the order in which pages of a shared mapping appear. */
struct watch {
	char *memory;
	size_t pages;
	size_t nr;
	uint8_t order[64];
	uint8_t seen[64];
};

static void see(void *arg, const struct lazy_stats *stats)
{
	struct watch *w = arg;
	unsigned char there[64];

	mincore(w->memory, w->pages * 4096, there);
	for (size_t i = 0; i < w->pages; i++)
		if (there[i] & 1 && !w->seen[i]) {
			w->seen[i] = 1;
			w->order[w->nr++] = i;
		}
}

TEST_F(lazy, a_working_set_is_filled_first_in_its_order)
{
	static const uint64_t wanted[] = { 60, 7, 8, 9, 33, 1 };
	struct working_set order = {};
	struct watch *w;

	if (!self->kind.file || self->kind.granule == HUGE)
		return;		/* mincore() reports only the page cache */
	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, w);
	w->pages = self->kind.pages;
	w->memory = mmap(NULL, self->len, PROT_READ, MAP_SHARED, self->fd, 0);
	for (size_t i = 0; i < 6; i++) {
		ASSERT_EQ(0, working_set_add(&order, wanted[i] * 4096));
	}
	/* The working set of another snapshot may list larger offsets. */
	ASSERT_EQ(0, working_set_add(&order, self->len + 4096));
	self->options.order = &order;
	self->options.range = 4096;
	self->options.progress = see;
	self->options.arg = w;
	SERVE(0);
	RECEIVE(LAZY_DONE);
	ASSERT_EQ(self->kind.pages, w->nr);
	for (size_t i = 0; i < 6; i++) {
		EXPECT_EQ(wanted[i], w->order[i]);
	}
	EXPECT_EQ(0, w->order[6]);
	EXPECT_EQ(2, w->order[7]);
	EXPECT_EQ(0, memcmp(self->memory, self->content, self->len));
}

TEST_F(lazy, what_is_asked_for_is_recorded)
{
	static const size_t asked[] = { 1, 0, 2 };
	struct working_set record = {}, back;
	char path[80];
	int sock[2];
	pid_t pid;

	/* The record is in the handler's memory: the handler saves it. */
	sprintf(path, "%s.set", self->path);
	self->options.no_background = true;
	self->options.record = &record;
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock));
	pid = fork();
	if (!pid) {
		struct snapshot *snap = snap_open(self->path, &self->reason);

		close(sock[0]);
		_exit(lazy_serve(sock[1], snap, &self->options, &self->stats,
				 &self->reason) ||
		      working_set_save(&record, path, &self->reason));
	}
	close(sock[1]);
	ASSERT_EQ(0, arm(&self->region, &self->uffd, self->memory, self->len,
			 &self->kind, 0));
	ASSERT_EQ(0, lazy_hand_over(sock[0], self->uffd, &self->region,
				    &self->fd, 1, TIMEOUT_MS, &self->reason));
	for (size_t i = 0; i < 3; i++) {
		ASSERT_EQ(0, SAME(asked[i]));
	}
	close(sock[0]);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_EQ(0, working_set_load(&back, path, &self->reason)) {
		TH_LOG("%s", self->reason.text);
	}
	unlink(path);
	/* All pages if they are huge; the handler may then finish first. */
	ASSERT_EQ(3, back.nr);
	for (size_t i = 0; i < 3; i++) {
		EXPECT_EQ(asked[i] * self->kind.granule, back.offsets[i]);
	}
}

/* ---- failures ---- */

TEST_F(lazy, nobody_runs_on_zeroes_when_the_handler_is_killed)
{
	struct uffdio_range range;
	struct doer d;

	self->options.no_background = true;
	SERVE(0);
	ASSERT_EQ(0, SAME(0));
	stop(self->handler);
	start_touch(&d, page(self->memory, &self->kind, 1));
	kill(self->handler, SIGKILL);
	RECEIVE(LAZY_END);
	EXPECT_NE(NULL, strstr(self->reason.text, "lost the connection"));
	EXPECT_FALSE(is_done(&d, SETTLE_MS));
	/* Only the hypervisor can resolve it, after stopping the guest. */
	range.start = (uintptr_t)self->memory;
	range.len = self->len;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_UNREGISTER, &range));
	EXPECT_TRUE(is_done(&d, TIMEOUT_MS));
}

#define DAMAGE(call) do {						\
	struct snapshot *snap;						\
	int fd;								\
									\
	snap = snap_open(self->path, &self->reason);			\
	ASSERT_NE(NULL, snap);						\
	fd = open(self->path, O_RDWR);					\
	ASSERT_EQ(0, call);						\
	close(fd);							\
	snap_close(snap);						\
} while (0)

static int damage(int fd, uint64_t at)
{
	return pwrite(fd, "damage", 6, at) == 6 ? 0 : -1;
}

TEST_F(lazy, a_wrong_checksum_reaches_nobody)
{
	struct doer d;

	self->options.no_background = true;
	SERVE(0);
	DAMAGE(damage(fd, snap->chunks[self->kind.granule / SNAP_CHUNK].where));
	ASSERT_EQ(0, SAME(0));
	start_touch(&d, page(self->memory, &self->kind, 1));
	RECEIVE(LAZY_FAILED);
	EXPECT_NE(NULL, strstr(self->reason.text, "checksum mismatch"));
	EXPECT_FALSE(is_done(&d, SETTLE_MS));
}

TEST_F(lazy, a_file_that_is_cut_short_meanwhile_reaches_nobody)
{
	struct doer d;

	self->options.no_background = true;
	SERVE(0);
	DAMAGE(ftruncate(fd, 4096 + 512));
	start_touch(&d, page(self->memory, &self->kind, 1));
	RECEIVE(LAZY_FAILED);
	EXPECT_NE(NULL, strstr(self->reason.text, "cannot read memory"));
	EXPECT_FALSE(is_done(&d, SETTLE_MS));
}

TEST_F(lazy, a_region_that_the_snapshot_has_not_is_refused)
{
	self->handler = start_handler(&self->sock, self->path, &self->options);
	ASSERT_EQ(0, arm(&self->region, &self->uffd, self->memory, self->len,
			 &self->kind, 0));
	self->region.offset = self->kind.granule;
	ASSERT_EQ(-1, lazy_hand_over(self->sock, self->uffd, &self->region,
				     &self->fd, 1, TIMEOUT_MS, &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "not in the snapshot"));
}

TEST_F(lazy, another_protocol_is_refused)
{
	self->handler = start_handler(&self->sock, self->path, &self->options);
	/* The second message is never read. */
	stop(self->handler);
	ASSERT_EQ(5, send(self->sock, "hello", 5, 0));
	ASSERT_EQ(5, send(self->sock, "hello", 5, 0));
	kill(self->handler, SIGCONT);
	HANDLER_ENDS(1);
	RECEIVE(LAZY_FAILED);
}

/* ---- the last messages, in each order ---- */

/*
 * In the handler: after @pages pages were filled, notifies the test and waits
 * for a message (POLLIN) or for end of file (POLLRDHUP).
 */
struct pause {
	uint64_t pages;
	short events;
	int reached[2];		/* a pipe */
};

static void pause_at(void *arg, const struct lazy_stats *stats)
{
	const struct pause *p = arg;
	struct pollfd pollfd = { .fd = handler_sock, .events = p->events };

	if (stats->demand + stats->background != p->pages)
		return;
	if (write(p->reached[1], "", 1) != 1 ||
	    poll(&pollfd, 1, TIMEOUT_MS) != 1)
		_exit(2);
}

#define PAUSE(nr, what)							\
	struct pause pause = { .pages = nr, .events = what };		\
									\
	ASSERT_EQ(0, pipe2(pause.reached, O_CLOEXEC));			\
	self->options.progress = pause_at;				\
	self->options.arg = &pause

#define WAIT_FOR_PAUSE()						\
	ASSERT_EQ(1, read(pause.reached[0], &(char){ 0 }, 1))

#define FINISH()							\
	ASSERT_EQ(0, lazy_finish(self->sock, TIMEOUT_MS, &self->stats,	\
				 &self->reason)) {			\
		TH_LOG("%s", self->reason.text);			\
	}

TEST_F(lazy, alive_before_done)
{
	self->options.background_when_alive = true;
	SERVE(0);
	ASSERT_EQ(0, SAME(0));
	lazy_alive(self->sock);
	RECEIVE(LAZY_DONE);
	FINISH();
	EXPECT_NE(0, self->stats.alive_nanoseconds);
	EXPECT_EQ(1, self->stats.alive_faults);
	EXPECT_EQ(1, self->stats.alive_demand);
	EXPECT_EQ(0, self->stats.alive_background);
	HANDLER_ENDS(0);
}

/* ALIVE is sent first, and read only after DONE was sent. */
TEST_F(lazy, alive_crosses_done)
{
	PAUSE(self->kind.pages, POLLIN);

	SERVE(0);
	WAIT_FOR_PAUSE();
	lazy_alive(self->sock);
	/* Long enough for a handler that (wrongly) closes after DONE. */
	usleep(SETTLE_MS * 1000);
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(0, self->stats.alive_nanoseconds);
	FINISH();
	EXPECT_NE(0, self->stats.alive_nanoseconds);
	EXPECT_EQ(self->kind.pages, self->stats.alive_background);
	HANDLER_ENDS(0);
}

TEST_F(lazy, alive_after_done)
{
	SERVE(0);
	RECEIVE(LAZY_DONE);
	usleep(SETTLE_MS * 1000);
	lazy_alive(self->sock);
	FINISH();
	EXPECT_NE(0, self->stats.alive_nanoseconds);
	EXPECT_EQ(self->kind.pages, self->stats.alive_background);
	HANDLER_ENDS(0);
}

TEST_F(lazy, finish_without_alive)
{
	SERVE(0);
	RECEIVE(LAZY_DONE);
	FINISH();
	EXPECT_EQ(0, self->stats.alive_nanoseconds);
	EXPECT_EQ(self->kind.pages, self->stats.background);
	HANDLER_ENDS(0);
}

TEST_F(lazy, finish_before_done)
{
	self->options.no_background = true;
	SERVE(0);
	ASSERT_EQ(0, SAME(0));
	lazy_alive(self->sock);
	FINISH();
	EXPECT_EQ(1, self->stats.demand);
	EXPECT_EQ(1, self->stats.alive_demand);
	HANDLER_ENDS(0);
}

/* The hypervisor finishes before DONE is sent; the handler notices later. */
TEST_F(lazy, finish_crosses_done)
{
	PAUSE(self->kind.pages, POLLRDHUP);

	SERVE(0);
	WAIT_FOR_PAUSE();
	lazy_alive(self->sock);
	FINISH();
	EXPECT_EQ(self->kind.pages, self->stats.background);
	EXPECT_EQ(self->kind.pages, self->stats.alive_background);
	HANDLER_ENDS(0);
}

/* Two faults are queued: ALIVE is sent after the first one is served. */
TEST_F(lazy, alive_crosses_failed)
{
	struct doer d[2];
	PAUSE(1, POLLIN);

	self->options.no_background = true;
	SERVE(0);
	DAMAGE(damage(fd, snap->chunks[self->kind.granule / SNAP_CHUNK].where));
	stop(self->handler);
	start_touch(&d[0], page(self->memory, &self->kind, 0));
	usleep(SETTLE_MS * 1000);
	start_touch(&d[1], page(self->memory, &self->kind, 1));
	usleep(SETTLE_MS * 1000);
	kill(self->handler, SIGCONT);
	WAIT_FOR_PAUSE();
	lazy_alive(self->sock);
	HANDLER_ENDS(1);
	RECEIVE(LAZY_FAILED);
	EXPECT_NE(NULL, strstr(self->reason.text, "checksum mismatch"));
	EXPECT_FALSE(is_done(&d[1], SETTLE_MS));
}

TEST_F(lazy, finish_crosses_failed)
{
	struct doer d[2];
	PAUSE(1, POLLRDHUP);

	self->options.no_background = true;
	SERVE(0);
	DAMAGE(damage(fd, snap->chunks[self->kind.granule / SNAP_CHUNK].where));
	stop(self->handler);
	start_touch(&d[0], page(self->memory, &self->kind, 0));
	usleep(SETTLE_MS * 1000);
	start_touch(&d[1], page(self->memory, &self->kind, 1));
	usleep(SETTLE_MS * 1000);
	kill(self->handler, SIGCONT);
	WAIT_FOR_PAUSE();
	ASSERT_EQ(-1, lazy_finish(self->sock, TIMEOUT_MS, &self->stats,
				  &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "checksum mismatch"));
	HANDLER_ENDS(1);
}

/* Reads all messages before DONE and leaves DONE unread. */
static bool wait_for_done(int sock)
{
	struct pollfd pollfd = { .fd = sock, .events = POLLIN };
	struct message message;

	for (;;) {
		if (poll(&pollfd, 1, TIMEOUT_MS) != 1 ||
		    recv(sock, &message, sizeof(message), MSG_PEEK) !=
		    sizeof(message))
			return false;
		if (message.type == MESSAGE_DONE)
			return true;
		recv(sock, &message, sizeof(message), 0);
	}
}

TEST_F(lazy, done_is_read_though_the_handler_is_killed)
{
	SERVE(0);
	ASSERT_TRUE(wait_for_done(self->sock));
	stop(self->handler);
	lazy_alive(self->sock);
	kill(self->handler, SIGKILL);
	ASSERT_EQ(self->handler, waitpid(self->handler, NULL, 0));
	self->handler = 0;
	RECEIVE(LAZY_DONE);
	EXPECT_EQ(-1, lazy_finish(self->sock, TIMEOUT_MS, &self->stats,
				  &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "lost the connection"));
}

/* The hypervisor closes the socket with DONE unread. */
TEST_F(lazy, alive_is_read_after_the_hypervisor_closed)
{
	int status;

	SERVE(0);
	ASSERT_TRUE(wait_for_done(self->sock));
	stop(self->handler);
	lazy_alive(self->sock);
	close(self->sock);
	kill(self->handler, SIGCONT);
	ASSERT_EQ(self->handler, waitpid(self->handler, &status, 0));
	self->handler = 0;
	EXPECT_EQ(0, status);
	EXPECT_NE(0, served->alive_nanoseconds);
	EXPECT_EQ(self->kind.pages, served->alive_background);
}

TEST_F(lazy, a_handler_that_does_not_answer)
{
	SERVE(0);
	RECEIVE(LAZY_DONE);
	stop(self->handler);
	lazy_alive(self->sock);
	ASSERT_EQ(-1, lazy_finish(self->sock, SETTLE_MS, &self->stats,
				  &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "timed out waiting"));
}

/* In the handler: after all pages are filled, leaves no room for DONE. */
static void fill_the_socket(void *arg, const struct lazy_stats *stats)
{
	const struct message progress = {
		.type = MESSAGE_PROGRESS,
		.stats = *stats,
	};

	if (stats->background != *(size_t *)arg)
		return;
	while (!send_message(handler_sock, &progress))
		;
}

/* DONE has to wait, but the faults of a child must still be served. */
TEST_F(lazy, a_hypervisor_that_does_not_read)
{
	int status, go[2];
	pid_t pid;

	self->options.background_when_alive = true;
	self->options.progress = fill_the_socket;
	self->options.arg = &self->kind.pages;
	ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
	SERVE(UFFD_FEATURE_EVENT_FORK);
	pid = fork();
	if (!pid) {
		if (read(go[0], &status, 1) != 1)
			_exit(2);
		for (size_t i = 0; i < self->kind.pages; i++)
			if (SAME(i))
				_exit(1);
		_exit(0);
	}
	lazy_alive(self->sock);
	while (__atomic_load_n(&served->background, __ATOMIC_RELAXED) <
	       self->kind.pages)
		usleep(1000);
	/* Long enough for a handler that (wrongly) waits to send DONE. */
	usleep(SETTLE_MS * 1000);
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	RECEIVE(LAZY_DONE);
	FINISH();
	HANDLER_ENDS(0);
}

/* ---- memory shortage ---- */

/*
 * Huge pages without a reservation: the handler cannot fill one while the pool
 * is exhausted.
 */
FIXTURE(shortage) {
	char path[64];
	char *memory, *taken;
	size_t taken_len;
	int uffd, sock;
	pid_t handler;
	struct lazy_region region;
	struct lazy_options options;
	struct lazy_stats stats;
	struct reason reason;
	struct doer d;
};

static const struct kind huge = { HUGE, 1, false, LAZY_COPY };

static size_t free_pool(void)
{
	size_t nr = 0;
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
			"r");

	if (f && fscanf(f, "%zu", &nr) != 1)
		nr = 0;
	if (f)
		fclose(f);
	return nr;
}

FIXTURE_SETUP(shortage)
{
	static char chunk[SNAP_CHUNK] = "content";
	const struct snap_region region = { 0, HUGE };
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE;
	struct snap_writer *w;

	sprintf(self->path, "/tmp/lazy-test.%d", getpid());
	w = snap_create(self->path, &region, 1, &self->reason);
	ASSERT_NE(NULL, w);
	ASSERT_EQ(0, snap_write_memory(w, 0, chunk, SNAP_CHUNK, &self->reason));
	ASSERT_EQ(0, snap_commit(w, &self->reason));

	self->taken_len = free_pool() * HUGE;
	ASSERT_LT(0, self->taken_len);
	self->taken = mmap(NULL, self->taken_len, PROT_READ | PROT_WRITE,
			   flags | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->taken);
	/* Otherwise the handler would inherit them. */
	ASSERT_EQ(0, madvise(self->taken, self->taken_len, MADV_DONTFORK));
	ASSERT_EQ(0, free_pool());
	self->memory = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, flags, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	self->options.no_background = true;
	ASSERT_EQ(0, arm(&self->region, &self->uffd, self->memory, HUGE, &huge,
			 0));
}

FIXTURE_TEARDOWN(shortage)
{
	kill(self->handler, SIGKILL);
	waitpid(self->handler, NULL, 0);
	close(self->uffd);
	unlink(self->path);
}

TEST_F(shortage, a_fault_waits_for_memory)
{
	self->handler = start_handler(&self->sock, self->path, &self->options);
	ASSERT_EQ(0, lazy_hand_over(self->sock, self->uffd, &self->region, NULL,
				    1, TIMEOUT_MS, &self->reason));
	start_touch(&self->d, self->memory);
	/* Long enough for the handler to try, even on a slow host. */
	EXPECT_FALSE(is_done(&self->d, 10 * SETTLE_MS));
	ASSERT_EQ(0, munmap(self->taken, self->taken_len));
	ASSERT_TRUE(is_done(&self->d, TIMEOUT_MS));
	EXPECT_EQ('c', self->d.saw);
	ASSERT_TRUE(receives(self->sock, LAZY_DONE, &self->stats,
			     &self->reason));
	EXPECT_LT(0, self->stats.parked);
	EXPECT_EQ(1, self->stats.demand);
}

TEST_F(shortage, but_not_for_ever)
{
	self->options.deadline_ms = SETTLE_MS;
	self->handler = start_handler(&self->sock, self->path, &self->options);
	ASSERT_EQ(0, lazy_hand_over(self->sock, self->uffd, &self->region, NULL,
				    1, TIMEOUT_MS, &self->reason));
	start_touch(&self->d, self->memory);
	ASSERT_TRUE(receives(self->sock, LAZY_FAILED, &self->stats,
			     &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "timed out filling"));
	EXPECT_FALSE(is_done(&self->d, SETTLE_MS));
	/* After the last close of the userfaultfd the kernel fills the page. */
	ASSERT_EQ(0, munmap(self->taken, self->taken_len));
}

TEST_HARNESS_MAIN
