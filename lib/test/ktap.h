/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The frame of a test program, which includes this once:
 *
 *	TEST(a_name)
 *	{
 *		CHECK(condition, "details: %d", detail);
 *		CHECK_EQ(expected, actual);
 *	}
 *
 * Each test is a process of its own, with an empty directory of its own as its
 * working directory; a crash, a hang and a sanitizer's report fail only this
 * test. Prints KTAP. Exit status: 0, or 1 if a test failed. An argument selects
 * the tests whose names contain it. On a slow machine UFFD_TEST_SCALE, in
 * percent, reduces repetitions and turns off limits of durations.
 */
#ifndef LAZY_TEST_KTAP_H
#define LAZY_TEST_KTAP_H

#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_TIMEOUT	60	/* seconds */
#define TEST_SKIPPED	77	/* exit status of a test's process */

struct test {
	const char *name;
	void (*run)(void);
	unsigned int timeout;
	struct test *next;
};

static struct test *tests, **last_test = &tests;
static char *skip_reason;	/* shared with the test's process */

#define TEST_WITHIN(title, seconds)					\
	static void title(void);					\
	static struct test title##_test = { #title, title, seconds, NULL }; \
	static void __attribute__((constructor)) title##_add(void)	\
	{								\
		*last_test = &title##_test;				\
		last_test = &title##_test.next;				\
	}								\
	static void title(void)

#define TEST(title)	TEST_WITHIN(title, TEST_TIMEOUT)

static inline unsigned int scale(void)
{
	const char *percent = getenv("UFFD_TEST_SCALE");
	int value = percent ? atoi(percent) : 100;

	return value > 0 && value < 100 ? value : 100;
}

/* A number of repetitions. */
static inline unsigned int scaled(unsigned int nr)
{
	return nr * scale() / 100 ?: 1;
}

/* Is this machine slow? Then durations prove nothing. */
static inline bool is_slow(void)
{
	return scale() < 100;
}

static inline void __attribute__((format(printf, 1, 2)))
note(const char *fmt, ...)
{
	va_list args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* The test fails and ends. */
#define FAIL(fmt, ...)							\
	do {								\
		note("%s:%d: " fmt, __FILE__, __LINE__, ##__VA_ARGS__);	\
		_exit(1);						\
	} while (0)

#define CHECK(condition, ...)						\
	do {								\
		if (!(condition)) {					\
			note("%s:%d: not true: %s", __FILE__, __LINE__,	\
			     #condition);				\
			__VA_OPT__(note(__VA_ARGS__);)			\
			_exit(1);					\
		}							\
	} while (0)

#define CHECK_EQ(expected, actual)					\
	do {								\
		unsigned long long want = (expected), is = (actual);	\
									\
		if (want != is)						\
			FAIL("%s is %#llx, not %#llx", #actual, is, want); \
	} while (0)

/* The test cannot run here. */
#define SKIP(...)							\
	do {								\
		snprintf(skip_reason, 256, __VA_ARGS__);		\
		_exit(TEST_SKIPPED);					\
	} while (0)

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* Returns the wait status of the test's process. */
static int run_test(const struct test *test)
{
	char dir[] = "/tmp/lazyrestore-test.XXXXXX";
	int status = 1 << 8;
	pid_t pid;

	if (!mkdtemp(dir)) {
		note("cannot create a directory in /tmp");
		return status;
	}
	pid = fork();
	if (!pid) {
		if (setpgid(0, 0) || chdir(dir))
			_exit(1);
		alarm(is_slow() ? 10 * test->timeout : test->timeout);
		test->run();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		note("cannot run a process");
	/* The processes that a test has left behind. */
	if (pid > 0)
		kill(-pid, SIGKILL);
	nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	return status;
}

int main(int argc, char **argv)
{
	int nr = 0, failed = 0, status;
	struct test *test;

	for (test = tests; test; test = test->next)
		nr += argc < 2 || strstr(test->name, argv[1]);
	skip_reason = mmap(NULL, 256, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skip_reason == MAP_FAILED)
		return 1;
	printf("TAP version 13\n1..%d\n", nr);
	nr = 0;
	for (test = tests; test; test = test->next) {
		if (argc > 1 && !strstr(test->name, argv[1]))
			continue;
		fflush(stdout);
		status = run_test(test);
		nr++;
		if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED) {
			printf("ok %d %s # SKIP %s\n", nr, test->name,
			       skip_reason);
			continue;
		}
		if (WIFSIGNALED(status))
			note("%s", WTERMSIG(status) == SIGALRM ? "timeout" :
			     strsignal(WTERMSIG(status)));
		printf("%s %d %s\n", status ? "not ok" : "ok", nr, test->name);
		failed += !!status;
	}
	printf("# %d of %d tests failed\n", failed, nr);
	return !!failed;
}

#endif /* LAZY_TEST_KTAP_H */
