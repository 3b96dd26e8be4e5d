// SPDX-License-Identifier: GPL-2.0
/* See races.h. */
#include "races.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>

static const char * const count_names[] = {
#define X(name, text) \
	[C_##name] = text,
	COUNTS(X)
#undef X
};

atomic_ulong counts[NR_COUNTS];
atomic_ulong wrongs;
atomic_bool stop;
static __u64 started_ms;

struct lab_mem mem;
int uffd = -1;
size_t race_page;

void wrong(const char *fmt, ...)
{
	va_list args;
	char text[256];

	if (atomic_fetch_add(&wrongs, 1) >= 8)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("# error: %s\n", text);
	fflush(stdout);
}

static void print_counts(void)
{
	__u64 ms = lab_now_ms() - started_ms;

	for (int i = 0; i < NR_COUNTS; i++)
		if (counts[i])
			printf("#   %10lu %s\n", counts[i], count_names[i]);
	printf("#   %6llu.%03llu seconds\n", ms / 1000, ms % 1000);
	fflush(stdout);
}

__thread __u64 random_state;

void dither(void)
{
	unsigned int n = rnd() % 8;

	if (!n)
		sched_yield();
	for (unsigned int i = 0; i < n * 64; i++)
		asm volatile("" ::: "memory");
}

void relax(unsigned int nth)
{
	static const struct timespec nap = { .tv_nsec = 20000 };

	if (nth % 8 != 7)
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

static void seed_random(void)
{
	static atomic_ulong next;

	random_state = lab_word(lab_now_ms(), atomic_fetch_add(&next, 1)) | 1;
}

/* Ends a race that made no progress for a long time, with its counts. */
static void *watchdog(void *arg)
{
	unsigned long last = 0, sum;
	int quiet = 0;

	for (;;) {
		sleep(1);
		sum = 0;
		for (int i = 0; i < NR_COUNTS; i++)
			sum += counts[i];
		quiet = sum == last ? quiet + 1 : 0;
		last = sum;
		if (quiet < STALL_S)
			continue;
		printf("# error: no progress for %d s, a fault or a call is lost\n",
		       STALL_S);
		print_counts();
		_exit(KSFT_FAIL);
	}
	return arg;
}

void race_begin(size_t page)
{
	struct sigaction sa;
	pthread_t thread;

	/*
	 * The access helpers jump out of their handler without restoring the
	 * signal mask, which would cost a system call per access.
	 */
	lab_catch_signals();
	sigaction(SIGBUS, NULL, &sa);
	sa.sa_flags |= SA_NODEFER;
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);

	race_page = page;
	seed_random();
	started_ms = lab_now_ms();
	pthread_create(&thread, NULL, watchdog, NULL);
}

bool write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, value, strlen(value)) > 0;

	if (!done)
		printf("# cannot write %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return done;
}

void race_drop(void)
{
	if (uffd >= 0)
		close(uffd);
	lab_mem_drop(&mem);
}

bool more(unsigned long done, unsigned long wanted)
{
	return done < wanted && !wrongs &&
	       lab_now_ms() - started_ms < DEADLINE_S * 1000ULL;
}

bool race_end(const char *name, unsigned long done, unsigned long wanted)
{
	printf("# %s: %lu racing operations, at least %lu wanted\n",
	       name, done, wanted);
	print_counts();
	if (wrongs)
		printf("# %lu errors\n", wrongs);
	fflush(stdout);
	return done >= wanted && !wrongs;
}

struct worker {
	pthread_t thread;
	work_fn fn;
	unsigned int nr;
};

static struct worker workers[MAX_THREADS];
static unsigned int nr_workers;

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	seed_random();
	w->fn(w->nr);
	return NULL;
}

void employ(work_fn fn, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct worker *w = &workers[nr_workers++];

		w->fn = fn;
		w->nr = i;
		if (pthread_create(&w->thread, NULL, worker_main, w)) {
			wrong("cannot create a thread");
			_exit(KSFT_FAIL);
		}
	}
}

void join_last(unsigned int n)
{
	while (n--)
		pthread_join(workers[--nr_workers].thread, NULL);
}

void join_workers(void)
{
	join_last(nr_workers);
}

/* A barrier that yields, then sleeps: there are more threads than CPUs. */
struct gate {
	atomic_uint arrived;
	atomic_uint passed;
};

static struct gate gate;

void meet(unsigned int n)
{
	unsigned int passed = gate.passed;

	if (atomic_fetch_add(&gate.arrived, 1) + 1 == n) {
		gate.arrived = 0;
		gate.passed++;
		syscall(__NR_futex, &gate.passed, FUTEX_WAKE, MAX_THREADS,
			NULL, NULL, 0);
		return;
	}
	for (int i = 0; gate.passed == passed; i++) {
		if (i < 8)
			sched_yield();
		else
			syscall(__NR_futex, &gate.passed, FUTEX_WAIT, passed,
				NULL, NULL, 0);
	}
}

static void (*serve)(const struct uffd_msg *msg);
static pthread_t handler_thread;
static atomic_bool handler_stop;

static void *handler_main(void *arg)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msgs[16];
	ssize_t n;

	seed_random();
	for (;;) {
		n = read(uffd, msgs, sizeof(msgs));
		if (n > 0) {
			for (size_t i = 0; i < n / sizeof(*msgs); i++)
				serve(&msgs[i]);
			continue;
		}
		if (errno != EAGAIN)
			wrong("read of the userfaultfd: errno %d", errno);
		if (handler_stop)
			return arg;
		poll(&pfd, 1, 2);
	}
}

void handler_start(void (*fn)(const struct uffd_msg *msg))
{
	serve = fn;
	handler_stop = false;
	if (pthread_create(&handler_thread, NULL, handler_main, NULL)) {
		wrong("cannot create a thread");
		_exit(KSFT_FAIL);
	}
}

void handler_end(void)
{
	handler_stop = true;
	pthread_join(handler_thread, NULL);
}
