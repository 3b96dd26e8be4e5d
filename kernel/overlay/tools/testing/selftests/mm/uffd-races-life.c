// SPDX-License-Identifier: GPL-2.0
/*
 * Races of userfaultfd over the address space: a fault or a fill against
 * MADV_DONTNEED, mremap, munmap, fork, and against the end of the
 * registration or of the process. uffd/races.h describes how a race is judged.
 */
#include "../kselftest_harness.h"
#include "uffd/race-pages.h"

/*
 * 1. Fault and fill against MADV_DONTNEED of anonymous memory, without and
 * with REMOVE events, which make fills return EAGAIN while one is pending.
 */

static void hot_zap(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t n, page = untraced_run(&n, TOUCH_ME);

		if (madvise(at(page), n * PAGE, MADV_DONTNEED))
			wrong("MADV_DONTNEED: errno %d", errno);
		ADD(ZAPPED);
		dither();
	}
}

static void hot_fill(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = hot_page();

		settle(page, copy_page(page, SERVED), ERRNOS(EEXIST, EAGAIN));
		dither();
	}
}

static void zap_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	if (msg->event == UFFD_EVENT_REMOVE) {
		ADD(EV_REMOVE);
		return;
	}
	ADD(MISSING);
	settle(page, copy_page(page, SERVED), ERRNOS(EEXIST, EAGAIN));
}

static unsigned long zap_ops(void)
{
	return share(faults(), 8, COUNT(ZAPPED));
}

RACE(dontneed)

FIXTURE_VARIANT(dontneed)
{
	__u64 features;
};

FIXTURE_VARIANT_ADD(dontneed, plain) {
	.features = 0,
};

FIXTURE_VARIANT_ADD(dontneed, events) {
	.features = UFFD_FEATURE_EVENT_REMOVE,
};

TEST_F_TIMEOUT(dontneed, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE(&lab_anon, 1024, variant->features, LAB_MISSING);
	handler_start(zap_serve);
	employ(hot_touch, 2);
	employ(hot_zap, 1);
	employ(hot_fill, 1);
	run_until(zap_ops, wanted);
	ASSERT_TRUE(race_end("dontneed", zap_ops(), wanted));
	EXPECT_EQ(variant->features ? COUNT(ZAPPED) : 0, COUNT(EV_REMOVE));
}

/*
 * 2. Fault and fill against mremap and munmap
 *
 * A few slots of address space, whose mappings change: a fresh armed mapping is
 * moved over the old one in the slot, one is moved away and back, or the slot
 * is unmapped. A touch of a slot finds the page that is served there or no
 * mapping, and nothing else.
 */

#define SLOTS		4
#define SLOT_PAGES	16
#define SLOT_LEN	(SLOT_PAGES * PAGE)

static char *slot_at(unsigned int slot)
{
	/* Every other slot stays free, so that mappings are never adjacent. */
	return mem.area + 2 * slot * SLOT_LEN;
}

#define SCRATCH		slot_at(SLOTS)

static size_t slot_page(void)
{
	return 2 * SLOT_PAGES * (rnd() % SLOTS) + rnd() % SLOT_PAGES;
}

/* Inaccessible rather than free: no other mapping may be placed here. */
static void slot_block(char *slot)
{
	if (mmap(slot, SLOT_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		wrong("mmap: errno %d", errno);
}

static void slot_move(char *from, char *to)
{
	if (mremap(from, SLOT_LEN, SLOT_LEN, MREMAP_MAYMOVE | MREMAP_FIXED,
		   to) != to)
		wrong("mremap: errno %d", errno);
	ADD(REMAPPED);
}

static void slot_renew(char *slot)
{
	void *p = mmap(NULL, SLOT_LEN, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	err = p == MAP_FAILED ? -errno :
	      lab_register(uffd, p, SLOT_LEN, LAB_MISSING, NULL);
	if (err)
		wrong("a fresh mapping: errno %d", -err);
	for (size_t i = 0; i < SLOT_PAGES; i++)
		trace[(slot - mem.area) / PAGE + i] = TOUCH_ME;
	slot_move(p, slot);
}

static void remap_work(unsigned int nr)
{
	bool there[SLOTS] = { false };

	(void)nr;
	while (!stop) {
		unsigned int i = rnd() % SLOTS;
		char *slot = slot_at(i);

		switch (there[i] ? rnd() % 4 : 0) {
		case 0:
		case 1:
			slot_renew(slot);
			there[i] = true;
			break;
		case 2:
			slot_move(slot, SCRATCH);
			slot_move(SCRATCH, slot);
			slot_block(SCRATCH);
			break;
		case 3:
			if (munmap(slot, SLOT_LEN))
				wrong("munmap: errno %d", errno);
			slot_block(slot);
			there[i] = false;
			ADD(UNMAPPED);
			break;
		}
		for (unsigned int k = rnd() % 16; k; k--)
			relax(k);
	}
}

/*
 * A page in a slot that is not filled yet; the traces of a slot are set when it
 * is renewed.
 */
static size_t slot_traced_page(void)
{
	for (unsigned int i = 0; i < 64 && !stop; i++) {
		size_t page = slot_page();

		if (atomic_exchange(&trace[page], 0))
			return page;
		if (i % 8 == 7)
			relax(i / 8);
	}
	return slot_page();
}

static void remap_touch(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = slot_traced_page();
		__u64 first = 0, last = 0, v = stamp(page, SERVED);
		int sig = read_ends(page, &first, &last);

		if (sig == SIGSEGV)
			ADD(SIGSEGV);
		else if (sig || first != v || last != v)
			wrong("page %zu: signal %d, %llx ... %llx", page, sig,
			      first, last);
		else
			ADD(TOUCHED);
	}
}

static void remap_fill(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		size_t page = slot_page();

		settle(page, copy_page(page, SERVED),
		       ERRNOS(EEXIST, EAGAIN, ENOENT));
		for (unsigned int k = rnd() % 8; k; k--)
			relax(k);
	}
}

static void remap_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);

	switch (msg->event) {
	case UFFD_EVENT_REMAP:
		ADD(EV_REMAP);
		break;
	case UFFD_EVENT_UNMAP:
		ADD(EV_UNMAP);
		break;
	default:
		ADD(MISSING);
		if (page >= mem.pages)
			wrong("fault outside: %llx", msg->arg.pagefault.address);
		else
			settle(page, copy_page(page, SERVED),
			       ERRNOS(EEXIST, EAGAIN, ENOENT));
	}
}

static unsigned long remap_ops(void)
{
	unsigned long n = share(faults(), 32, COUNT(REMAPPED));

	return share(n, OPERATIONS, COUNT(SIGSEGV));
}

RACE(remap)

TEST_F_TIMEOUT(remap, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	MAKE(&lab_anon, 2 * SLOT_PAGES * (SLOTS + 1), UFFD_FEATURE_EVENT_REMAP |
	     UFFD_FEATURE_EVENT_UNMAP, LAB_MISSING);
	ASSERT_EQ(0, lab_unregister(uffd, mem.area, mem.len));
	ASSERT_EQ(0, mprotect(mem.area, mem.len, PROT_NONE));
	handler_start(remap_serve);
	employ(remap_touch, 2);
	employ(remap_work, 1);
	employ(remap_fill, 1);
	run_until(remap_ops, wanted);
	ASSERT_TRUE(race_end("remap", remap_ops(), wanted));
	EXPECT_EQ(COUNT(REMAPPED), COUNT(EV_REMAP));
	EXPECT_LE(COUNT(UNMAPPED), COUNT(EV_UNMAP));
}

/*
 * 3. Write protection against writers and fork
 *
 * The typical use: writers count up in their pages, a tracker protects them,
 * collects the dirty pages and copies them. In the end its copy must equal the
 * memory; a difference is a lost write. Meanwhile the process forks, which
 * copies page tables and write-protects for its own purpose.
 */

#define TRACKED		512
#define WRITERS		4

static __u64 copied[TRACKED], wrote[TRACKED];
static atomic_uchar dirty[TRACKED];
static int pagemap_fd;
static bool fork_writes;

static void tracked_write(unsigned int nr)
{
	while (!stop) {
		size_t page = rnd() % (TRACKED / WRITERS) * WRITERS + nr;

		wrote[page]++;
		__atomic_fetch_add((__u64 *)at(page), 1, __ATOMIC_SEQ_CST);
		ADD(WRITES);
		if (rnd() % 8 == 0)
			sched_yield();
	}
}

static void tracked_fork(unsigned int nr)
{
	(void)nr;
	while (!stop) {
		unsigned long next = COUNT(COLLECTED) + 256;
		size_t page = rnd() % TRACKED;
		int status = -1;
		pid_t pid = fork();

		if (!pid) {
			__u64 v = word(mem.area, page, 0);

			/* The child is not registered and has its own copy. */
			if (fork_writes) {
				*(__u64 *)at(page) = ~0ULL;
				v = word(mem.area, page, 0) + 1;
			}
			_exit(fork_writes ? v != 0 : 0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			wrong("fork: %d, status %x", pid, status);
		ADD(FORKS);
		while (!stop && COUNT(COLLECTED) < next)
			lab_sleep_ms(1);
	}
}

/*
 * First unprotect, then mark, then wake: a mark must not be collected, and the
 * page protected again, before the page was unprotected for it.
 */
static void tracked_serve(const struct uffd_msg *msg)
{
	size_t page = page_of(msg);
	int err;

	if (!is_wp(msg))
		wrong("page %zu: not a write-protect fault", page);
	err = lab_writeprotect(uffd, at(page), PAGE,
			       UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
	if (err)
		wrong("unprotect page %zu: errno %d", page, -err);
	dirty[page] = true;
	ADD(WP);
	wake_page(page);
}

static void collect(size_t page)
{
	copied[page] = word(mem.area, page, 0);
	ADD(COLLECTED);
}

static void collect_sync(void)
{
	for (size_t page = 0; page < TRACKED; page++) {
		int err;

		if (!atomic_exchange(&dirty[page], 0))
			continue;
		err = lab_writeprotect(uffd, at(page), PAGE,
				       UFFDIO_WRITEPROTECT_MODE_WP);
		if (err)
			wrong("protect page %zu: errno %d", page, -err);
		collect(page);
	}
}

/* Finds the written pages and protects them, in one system call. */
static void collect_async(void)
{
	static struct page_region regions[TRACKED];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)mem.area,
		.end = (uintptr_t)mem.area + mem.len,
		.vec = (uintptr_t)regions,
		.vec_len = TRACKED,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int n = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);

	if (n < 0)
		wrong("PAGEMAP_SCAN: errno %d", errno);
	for (int i = 0; i < n; i++)
		for (__u64 a = regions[i].start; a < regions[i].end; a += PAGE)
			collect((a - (uintptr_t)mem.area) / PAGE);
}

static unsigned long collected(void)
{
	return share(COUNT(COLLECTED), OPERATIONS, COUNT(FORKS));
}

RACE(track)

FIXTURE_VARIANT(track)
{
	const struct lab_type *type;
	bool async;
};

FIXTURE_VARIANT_ADD(track, anon_sync) {
	.type = &lab_anon,
	.async = false,
};

FIXTURE_VARIANT_ADD(track, anon_async) {
	.type = &lab_anon,
	.async = true,
};

FIXTURE_VARIANT_ADD(track, shmem_sync) {
	.type = &lab_memfd_shared,
	.async = false,
};

FIXTURE_VARIANT_ADD(track, shmem_async) {
	.type = &lab_memfd_shared,
	.async = true,
};

TEST_F_TIMEOUT(track, race, TIMEOUT_S)
{
	void (*collect_dirty)(void) = variant->async ? collect_async :
						       collect_sync;
	unsigned long wanted = lab_scale(OPERATIONS);
	unsigned int n = 0;

	MAKE(variant->type, TRACKED, UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
	     (variant->async ? UFFD_FEATURE_WP_ASYNC : 0), LAB_WP);
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, pagemap_fd);
	for (size_t i = 0; i < TRACKED; i++)
		*(__u64 *)at(i) = 0;
	fork_writes = !lab_is_shared(&mem);
	ASSERT_EQ(0, lab_writeprotect(uffd, mem.area, mem.len,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	handler_start(tracked_serve);
	employ(tracked_write, WRITERS);
	employ(tracked_fork, 1);
	while (more(collected(), wanted)) {
		collect_dirty();
		relax(n++);
	}
	stop = true;
	join_workers();
	handler_end();
	collect_dirty();
	for (size_t i = 0; i < TRACKED; i++)
		if (word(mem.area, i, 0) != wrote[i] || copied[i] != wrote[i])
			wrong("page %zu: %llu writes, memory has %llu, tracker %llu",
			      i, wrote[i], word(mem.area, i, 0), copied[i]);
	ASSERT_TRUE(race_end("track", collected(), wanted));
	EXPECT_EQ(variant->async, COUNT(WP) == 0);
	/* Each report makes a page dirty, which is collected once. */
	if (!variant->async)
		EXPECT_EQ(COUNT(WP), COUNT(COLLECTED));
}

/*
 * 4. Close, unregister and exit while faults wait
 *
 * No handler serves. Each fault that waits is woken when the userfaultfd is
 * closed, or its range unregistered, and then resolved by the kernel; no thread
 * keeps waiting.
 *
 * In 6.12 UNREGISTER needs a WAKE after it. It does not wake minor and
 * write-protect faults. It wakes missing faults before it has locked the VMA: a
 * thread that is quick faults again under the VMA lock, finds the range still
 * armed and waits again, forever.
 */

#define CLOSERS		4	/* touching threads */
#define CLOSE_EACH	4	/* pages per thread and round */
#define CLOSE_PAGES	(CLOSERS * CLOSE_EACH)

static __u64 close_modes;

static void close_touch(unsigned int nr)
{
	for (;;) {
		meet(CLOSERS + 1);
		if (stop)
			return;
		for (size_t i = 0; i < CLOSE_EACH; i++) {
			size_t page = nr * CLOSE_EACH + i;
			__u64 v = minor_armed ? stamp(page, POPULATED) : ZERO;

			if (word(mem.area, page, 0) != v)
				wrong("page %zu holds %llx", page,
				      word(mem.area, page, 0));
			ADD(TOUCHED);
		}
		meet(CLOSERS + 1);
	}
}

/* Causes one or more faults, and checks whether they wait. */
static bool fault_waits(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static void close_round(bool unregister)
{
	int err;

	if (madvise(mem.area, mem.len, MADV_DONTNEED))
		wrong("MADV_DONTNEED: errno %d", errno);
	if (lab_is_file(&mem) && !minor_armed)
		punch(0, mem.pages);
	uffd = lab_uffd_open(0);
	err = uffd < 0 ? uffd : lab_register(uffd, mem.area, mem.len,
					     close_modes, NULL);
	if (err)
		wrong("open and register: errno %d", -err);
	meet(CLOSERS + 1);
	for (unsigned int i = rnd() % 8; i; i--)
		sched_yield();
	if (fault_waits(uffd))
		ADD(WAITED);
	if (unregister) {
		err = lab_unregister(uffd, mem.area, mem.len);
		if (err)
			wrong("unregister: errno %d", -err);
		ADD(UNREGISTERED);
		/* Before it is closed, which would wake all waiters anyway. */
		meet(CLOSERS + 1);
	}
	close(uffd);
	uffd = -1;
	ADD(CLOSED);
	if (!unregister)
		meet(CLOSERS + 1);
}

static unsigned long close_ops(void)
{
	return share(COUNT(TOUCHED), OPERATIONS, COUNT(WAITED));
}

RACE(close)

FIXTURE_VARIANT(close)
{
	const struct lab_type *type;
	__u64 modes;
	bool unregister;
};

FIXTURE_VARIANT_ADD(close, anon) {
	.type = &lab_anon,
	.modes = LAB_MISSING,
	.unregister = false,
};

FIXTURE_VARIANT_ADD(close, shmem_minor) {
	.type = &lab_memfd_shared,
	.modes = LAB_MINOR,
	.unregister = false,
};

FIXTURE_VARIANT_ADD(close, unregister_anon) {
	.type = &lab_anon,
	.modes = LAB_MISSING,
	.unregister = true,
};

FIXTURE_VARIANT_ADD(close, unregister_shmem) {
	.type = &lab_memfd_shared,
	.modes = LAB_MISSING,
	.unregister = true,
};

FIXTURE_VARIANT_ADD(close, unregister_shmem_minor) {
	.type = &lab_memfd_shared,
	.modes = LAB_MINOR,
	.unregister = true,
};

TEST_F_TIMEOUT(close, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(OPERATIONS);

	ASSERT_EQ(0, lab_mem_make(&mem, variant->type, CLOSE_PAGES));
	close_modes = variant->modes;
	minor_armed = close_modes & LAB_MINOR;
	for (size_t i = 0; minor_armed && i < mem.pages; i++)
		write_page(i, POPULATED);
	employ(close_touch, CLOSERS);
	while (more(close_ops(), wanted))
		close_round(variant->unregister);
	stop = true;
	meet(CLOSERS + 1);
	join_workers();
	ASSERT_TRUE(race_end("close", close_ops(), wanted));
}

/*
 * A process exits, by itself or killed, while its threads wait for pages. Its
 * parent serves some of them, since it has the child's userfaultfd from a FORK
 * event, and may get ESRCH: that memory is gone. A process is expensive, so the
 * pages that it requests are counted, and fewer are required.
 */

#define EXIT_THREADS	4
#define EXIT_OPERATIONS	(OPERATIONS / 10)

static int exit_uffd = -1;

/* The parent's handler: receives the child's userfaultfd, serves its faults. */
static void exit_serve(const struct uffd_msg *msg)
{
	if (msg->event == UFFD_EVENT_FORK) {
		exit_uffd = msg->arg.fork.ufd;
		fcntl(exit_uffd, F_SETFL, O_NONBLOCK);
		ADD(EV_FORK);
	} else if (msg->event != UFFD_EVENT_PAGEFAULT) {
		wrong("event %x", msg->event);
	}
}

/* The page after which the child exits, while other threads wait for theirs */
static size_t exit_at;

static void *exit_touch(void *arg)
{
	for (size_t i = 0; i < mem.pages / EXIT_THREADS; i++) {
		size_t page = (size_t)arg + i * EXIT_THREADS;

		if (word(mem.area, page, 0) != stamp(page, SERVED))
			_exit(2);
		if (page == exit_at)
			_exit(0);
	}
	return NULL;
}

static void exit_child(void)
{
	pthread_t thread;

	for (size_t i = 0; i < EXIT_THREADS; i++)
		if (pthread_create(&thread, NULL, exit_touch, (void *)i))
			_exit(3);
	for (;;)
		pause();
}

/* Serves the child until @n pages were requested or the child is gone. */
static void exit_serve_child(pid_t pid, unsigned int n)
{
	struct pollfd pfd = { .fd = exit_uffd, .events = POLLIN };
	siginfo_t info = { 0 };
	struct uffd_msg msg;
	int err;

	while (n) {
		if (read(exit_uffd, &msg, sizeof(msg)) != sizeof(msg)) {
			/* No message: check whether the child still exists. */
			if (!poll(&pfd, 1, 1) &&
			    !waitid(P_PID, pid, &info,
				    WEXITED | WNOHANG | WNOWAIT) &&
			    info.si_pid == pid)
				return;
			continue;
		}
		if (msg.event != UFFD_EVENT_PAGEFAULT) {
			wrong("child's event %x", msg.event);
			return;
		}
		ADD(MISSING);
		n--;
		uffd = exit_uffd;
		err = copy_page(page_of(&msg), SERVED);
		if (!err)
			ADD(FILLED);
		else if (err == -ESRCH)
			ADD(ESRCH);
		else if (err == -EEXIST)
			ADD(EEXIST);
		else
			wrong("fill in a child: errno %d", -err);
	}
}

static void exit_round(void)
{
	bool by_itself = rnd() % 2;
	int own = uffd, status;
	pid_t pid;

	exit_at = by_itself ? rnd() % mem.pages : mem.pages;
	handler_start(exit_serve);
	pid = fork();
	if (!pid)
		exit_child();
	handler_end();
	if (pid < 0 || exit_uffd < 0) {
		wrong("fork: %d, userfaultfd %d", pid, exit_uffd);
		return;
	}
	exit_serve_child(pid, by_itself ? mem.pages : 1 + rnd() % mem.pages);
	uffd = own;
	if (!by_itself)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid ||
	    (by_itself ? status : !WIFSIGNALED(status)))
		wrong("child: status %x", status);
	if (by_itself)
		ADD(EXITED);
	else
		ADD(KILLED);
	close(exit_uffd);
	exit_uffd = -1;
}

static unsigned long exit_ops(void)
{
	unsigned long n = share(COUNT(MISSING), OPERATIONS, COUNT(KILLED));

	return share(n, OPERATIONS, COUNT(EXITED));
}

RACE(exit)

TEST_F_TIMEOUT(exit, race, TIMEOUT_S)
{
	unsigned long wanted = lab_scale(EXIT_OPERATIONS);

	MAKE(&lab_anon, 64, UFFD_FEATURE_EVENT_FORK, LAB_MISSING);
	while (more(exit_ops(), wanted))
		exit_round();
	ASSERT_TRUE(race_end("exit", exit_ops(), wanted));
	EXPECT_EQ(COUNT(EV_FORK), COUNT(EXITED) + COUNT(KILLED));
}

TEST_HARNESS_MAIN
