// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Usage: restore-bench [-F] [-n RUNS] [-m MEGABYTES] [-o TEXT] [DIRECTORY]
 *
 * Measures lazy restores with the library, and the same without it, on the
 * kernel that it runs on. Each restore is a process of its own; the ways to
 * restore alternate, RUNS times (default 9), so that a busy host disturbs all
 * of them. Prints the minimum and the median of each, and then compares minima,
 * of the time (got) and of the processor time (CPU), which other load disturbs
 * less. The file (default 256 MiB; four times as much for accesses to few
 * pages) is made in DIRECTORY (default: the current one), which should be on a
 * disk. -o selects rows whose names contain TEXT. With -F the library sees a
 * kernel without UFFDIO_FILL.
 *
 * The status is 0 if all was measured, whether or not it is as wanted, 77 if
 * there is no userfaultfd here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lazyrestore/server.h>

#include "bench.h"

#define MAX_RUNS	101
#define LARGE		(256ULL << 30)

/* A way to restore, with its results. */
struct series {
	const char *name;
	struct setup setup;
	size_t nr;
	double seconds[MAX_RUNS];
	double cpu;		/* minimum */
	struct result last;
};

enum {
	HAND_1, LIB_1, LIB_1_ALL, HAND_2, LIB_2, LIB_2_ALL, HAND_4, LIB_4,
	LIB_4_ALL, HAND_16, LIB_16, LIB_16_ALL,
	HAND_SEQUENTIAL, AROUND_SEQUENTIAL, MAP_SEQUENTIAL,
	AROUND_RANDOM, MAP_RANDOM,
	HAND_SPARSE, AROUND_SPARSE, MAP_SPARSE,
	READ_WARM, FILL_WARM, FILL_HUGE, READ_COLD, FILL_COLD,
	NR_SERIES,
};

#define BY(how, which, number, ...)					\
	.setup = { .method = how, .pattern = which, .touching = number,	\
		   __VA_ARGS__ }
#define ONE_PAGE	.around = LAZY_AROUND_NONE, .count = true

#define ONE(number)							\
	[HAND_ ## number] = {						\
		.name = "random, " #number " accessing, by hand",	\
		BY(HAND, RANDOM, number) },				\
	[LIB_ ## number] = {						\
		.name = "random, " #number " accessing, one thread",	\
		BY(LIBRARY, RANDOM, number, .threads = 1, ONE_PAGE) },	\
	[LIB_ ## number ## _ALL] = {					\
		.name = "random, " #number " accessing, thread per processor", \
		BY(LIBRARY, RANDOM, number, ONE_PAGE) }

static struct series series[NR_SERIES] = {
	ONE(1), ONE(2), ONE(4), ONE(16),
	[HAND_SEQUENTIAL] = { .name = "sequential, by hand",
			      BY(HAND, SEQUENTIAL, 1) },
	[AROUND_SEQUENTIAL] = { .name = "sequential, fault-around",
				BY(LIBRARY, SEQUENTIAL, 1, .count = true) },
	[MAP_SEQUENTIAL] = { .name = "sequential, mmap(MAP_PRIVATE)",
			     BY(MAP, SEQUENTIAL, 1) },
	[AROUND_RANDOM] = { .name = "random, fault-around",
			    BY(LIBRARY, RANDOM, 1, .count = true) },
	[MAP_RANDOM] = { .name = "random, mmap(MAP_PRIVATE)",
			 BY(MAP, RANDOM, 1) },
	[HAND_SPARSE] = { .name = "sparse, by hand", BY(HAND, SPARSE, 1) },
	[AROUND_SPARSE] = { .name = "sparse, fault-around",
			    BY(LIBRARY, SPARSE, 1, .count = true) },
	[MAP_SPARSE] = { .name = "sparse, mmap(MAP_PRIVATE)",
			 BY(MAP, SPARSE, 1) },
	[READ_WARM] = { .name = "all, eager read()", BY(READ, NOTHING, 0) },
	[FILL_WARM] = { .name = "all, background",
			BY(LIBRARY, NOTHING, 0, .background = true) },
	[FILL_HUGE] = { .name = "all, background, MADV_HUGEPAGE",
			BY(LIBRARY, NOTHING, 0, .background = true,
			   .huge = true) },
	[READ_COLD] = { .name = "all, eager read(), cold file",
			BY(READ, NOTHING, 0, .cold = true) },
	[FILL_COLD] = { .name = "all, background, cold file",
			BY(LIBRARY, NOTHING, 0, .background = true,
			   .cold = true) },
};

/* Wanted: @of takes at most 1 / @factor of the time of @against. */
static const struct wanted {
	const char *name;
	int of, against;
	double factor;
} wanted[] = {
	/* The library as it is by default, and as the handler by hand. */
	{ "one page a fault, against by hand", LIB_1_ALL, HAND_1, 1.1 },
	{ "one page a fault, one thread, against by hand", LIB_1, HAND_1, 1 },
	{ "fault-around, sequential, against by hand",
	  AROUND_SEQUENTIAL, HAND_SEQUENTIAL, 4 },
	{ "fault-around, random, against by hand", AROUND_RANDOM, HAND_1, 4 },
	{ "fault-around, sparse, against by hand",
	  AROUND_SPARSE, HAND_SPARSE, 0.9 },
	{ "thread per processor against one, 1 accessing",
	  LIB_1_ALL, LIB_1, 1 },
	{ "thread per processor against one, 2 accessing",
	  LIB_2_ALL, LIB_2, 1 },
	{ "thread per processor against one, 4 accessing",
	  LIB_4_ALL, LIB_4, 1 },
	{ "thread per processor against one, 16 accessing",
	  LIB_16_ALL, LIB_16, 1 },
	{ "background against an eager read()", FILL_WARM, READ_WARM, 0.9 },
	{ "background, cold file, against read()", FILL_COLD, READ_COLD,
	  1 / 1.2 },
};

#define NR_WANTED	(sizeof(wanted) / sizeof(wanted[0]))

static bool selected(const char *text, size_t i)
{
	if (!text || strstr(series[i].name, text))
		return true;
	for (size_t j = 0; j < NR_WANTED; j++)
		if (strstr(wanted[j].name, text) &&
		    (wanted[j].of == (int)i || wanted[j].against == (int)i))
			return true;
	return false;
}

static struct result restore_once(const struct series *s, size_t len,
				  bool count)
{
	struct setup setup = s->setup;

	setup.count &= count;
	return run("restore-bench.memory",
		   setup.pattern == SPARSE ? 4 * len : len, &setup);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_series(struct series *s)
{
	double *seconds = s->seconds;

	qsort(seconds, s->nr, sizeof(*seconds), by_value);
	printf("%-44s %8.1f %8.1f %9.0f %8.1f", s->name, seconds[0] * 1e3,
	       seconds[s->nr / 2] * 1e3, s->last.pages / seconds[0] / 1e3,
	       s->cpu * 1e3);
	if (!s->setup.count)
		printf("\n");
	else if (s->last.calls < 0)
		printf(" %8llu        ?\n",
		       (unsigned long long)s->last.faults);
	else
		printf(" %8llu %8.2f\n", (unsigned long long)s->last.faults,
		       s->last.calls / s->last.faults);
}

static void print_verdict(const char *name, const char *want, const char *got,
			  const char *cpu, bool kept)
{
	printf("%-54s %9s %9s %9s  %s\n", name, want, got, cpu,
	       kept ? "kept" : "missed");
}

/* A fault takes two; the few calls of the start of the server count as well. */
static void print_calls(const char *name, const struct series *s)
{
	char got[32] = "?";

	if (!s->nr)
		return;
	if (s->last.calls >= 0)
		snprintf(got, sizeof(got), "%.2f",
			 s->last.calls / s->last.faults);
	print_verdict(name, "<= 2.01", got, "", s->last.calls >= 0 &&
		      s->last.calls <= 2.01 * s->last.faults);
}

static void print_wanted(void)
{
	char want[32], got[32], cpu[32];

	printf("\n%-54s %9s %9s %9s\n", "comparison of minima", "wanted", "got",
	       "CPU");
	for (size_t i = 0; i < NR_WANTED; i++) {
		const struct wanted *w = &wanted[i];
		double ratio;

		if (!series[w->of].nr || !series[w->against].nr)
			continue;
		ratio = series[w->against].seconds[0] / series[w->of].seconds[0];
		snprintf(want, sizeof(want), ">= %.2f", w->factor);
		snprintf(got, sizeof(got), "%.2f", ratio);
		snprintf(cpu, sizeof(cpu), "%.2f",
			 series[w->against].cpu / series[w->of].cpu);
		print_verdict(w->name, want, got, cpu, ratio >= w->factor);
	}
	print_calls("system calls per fault, one page a fault, 1 accessing",
		    &series[LIB_1]);
	print_calls("system calls per fault, one page a fault, 16 accessing",
		    &series[LIB_16_ALL]);
}

/* ---- a large guest ---- */

static void measure_large(const char *kind, const char *name,
			  struct result (*open)(const char *, uint64_t),
			  size_t runs)
{
	double seconds[MAX_RUNS];
	uint64_t rss = 0;
	char title[64], got[32];

	for (size_t i = 0; i < runs; i++) {
		struct result result = open(name, LARGE);

		seconds[i] = result.seconds;
		rss = result.rss > rss ? result.rss : rss;
	}
	qsort(seconds, runs, sizeof(*seconds), by_value);
	snprintf(title, sizeof(title), "256 GiB to the first fault, %s", kind);
	snprintf(got, sizeof(got), "%.1f ms", seconds[runs / 2] * 1e3);
	print_verdict(title, "< 50 ms", got, "", seconds[runs / 2] < 0.05);
	snprintf(title, sizeof(title), "256 GiB to the first fault, %s", kind);
	snprintf(got, sizeof(got), "%.1f MiB", rss / 1048576.0);
	print_verdict(title, "< 32 MiB", got, "", rss < 32 << 20);
}

static void large_guest(size_t runs)
{
	make_snapshot("restore-bench.snap", LARGE);
	measure_large("snapshot", "restore-bench.snap", open_snapshot, runs);
	unlink("restore-bench.snap");
	make_large_file("restore-bench.large", LARGE);
	measure_large("memory file", "restore-bench.large", open_memory_file,
		      runs);
	unlink("restore-bench.large");
}

static size_t number(const char *text, size_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || !value || value > max)
		die("'%s' is not a number from 1 to %zu", text, max);
	return value;
}

int main(int argc, char **argv)
{
	size_t runs = 9, len = 256UL << 20;
	const char *only = NULL;
	struct result result;
	int option, uffd;

	while ((option = getopt(argc, argv, "Fn:m:o:")) != -1) {
		switch (option) {
		case 'F':
			hide_fill = true;
			break;
		case 'n':
			runs = number(optarg, MAX_RUNS);
			break;
		case 'm':
			len = number(optarg, 1 << 20) << 20;
			break;
		case 'o':
			only = optarg;
			break;
		default:
			die("usage: restore-bench [-F] [-n RUNS] [-m MEGABYTES] [-o TEXT] [DIRECTORY]");
		}
	}
	if (optind < argc && chdir(argv[optind]))
		die("%s: %s", argv[optind], strerror(errno));
	setvbuf(stdout, NULL, _IOLBF, 0);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd < 0) {
		printf("nothing measured: userfaultfd: %s\n", strerror(errno));
		return 77;
	}
	close(uffd);
	make_file("restore-bench.memory", 4 * len);
	describe_host("restore-bench.memory");
	printf("restores   %zu of each, of %zu MiB\n\n", runs, len >> 20);
	printf("%-44s %8s %8s %9s %8s %8s %8s\n", "", "minimum", "median",
	       "1000", "CPU", "", "calls");
	printf("%-44s %8s %8s %9s %8s %8s %8s\n", "accesses", "ms", "ms",
	       "pages/s", "ms", "faults", "a fault");
	for (size_t n = 0; n < runs; n++)
		for (size_t i = 0; i < NR_SERIES; i++) {
			struct series *s = &series[i];

			if (!selected(only, i))
				continue;
			result = restore_once(s, len, false);
			if (!s->nr || result.cpu < s->cpu)
				s->cpu = result.cpu;
			s->seconds[s->nr++] = result.seconds;
		}
	/* Counting takes time, so it is done apart. */
	for (size_t i = 0; i < NR_SERIES; i++)
		if (series[i].nr)
			series[i].last = restore_once(&series[i], len, true);
	unlink("restore-bench.memory");
	for (size_t i = 0; i < NR_SERIES; i++)
		if (series[i].nr)
			print_series(&series[i]);
	print_wanted();
	if (!only)
		large_guest(runs);
	return 0;
}
