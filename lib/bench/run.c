// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* One restore: a process with fresh memory, accesses, and their time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lazyrestore/server.h>

#include "bench.h"

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double processor_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void die(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "restore-bench: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	_exit(1);
}

/* ---- the file ---- */

static uint64_t word_of(uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ULL;
}

void make_file(const char *name, size_t len)
{
	static uint64_t words[PAGE / sizeof(uint64_t)];
	FILE *file = fopen(name, "w");

	if (!file)
		die("%s: %s", name, strerror(errno));
	for (uint64_t page = 0; page < len / PAGE; page++) {
		for (size_t i = 0; i < PAGE / sizeof(uint64_t); i++)
			words[i] = word_of(page) + i;
		if (!fwrite(words, PAGE, 1, file))
			die("%s: %s", name, strerror(errno));
	}
	if (fflush(file) || fsync(fileno(file)) || fclose(file))
		die("%s: %s", name, strerror(errno));
}

/* ---- accesses ---- */

static pthread_barrier_t barrier;

struct touching {
	pthread_t thread;
	const struct memory *m;
	const uint32_t *pages;
	size_t nr;
};

static void *touch(void *arg)
{
	struct touching *t = arg;

	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < t->nr; i++) {
		uint64_t word;

		memcpy(&word, t->m->at + t->pages[i] * PAGE, sizeof(word));
		if (word != word_of(t->pages[i]))
			die("wrong content of page %u", t->pages[i]);
	}
	return NULL;
}

static uint32_t *list_pages(const struct memory *m, size_t *nr)
{
	size_t all = m->len / PAGE;
	uint32_t *pages = malloc(all * sizeof(*pages));
	uint64_t seed = 88172645463325252ULL;

	if (!pages)
		die("out of memory");
	for (size_t i = 0; i < all; i++)
		pages[i] = i;
	for (size_t i = all - 1; i && m->setup->pattern != SEQUENTIAL; i--) {
		uint32_t other, page = pages[i];

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		other = seed % (i + 1);
		pages[i] = pages[other];
		pages[other] = page;
	}
	*nr = m->setup->pattern == SPARSE ? all / 128 : all;
	return pages;
}

/* Starts the threads, which wait for the barrier. */
static void start_touching(const struct memory *m, struct touching *threads,
			   const uint32_t *pages, size_t nr)
{
	unsigned int count = m->setup->touching;

	pthread_barrier_init(&barrier, NULL, count + 1);
	for (unsigned int i = 0; i < count; i++) {
		threads[i] = (struct touching) {
			.m = m,
			.pages = pages + nr * i / count,
			.nr = nr * (i + 1) / count - nr * i / count,
		};
		if (pthread_create(&threads[i].thread, NULL, touch,
				   &threads[i]))
			die("cannot start a thread");
	}
}

/* ---- one restore ---- */

struct order {
	const char *name;
	size_t len;
	const struct setup *setup;
};

static void set_cache(const struct memory *m)
{
	static char buffer[1 << 20];
	off_t at = 0;

	if (m->setup->cold) {
		if (posix_fadvise(m->fd, 0, 0, POSIX_FADV_DONTNEED))
			die("posix_fadvise: %s", strerror(errno));
		return;
	}
	while (pread(m->fd, buffer, sizeof(buffer), at) > 0)
		at += sizeof(buffer);
}

static struct result measure(const void *arg)
{
	const struct order *order = arg;
	struct memory m = {
		.setup = order->setup, .name = order->name, .len = order->len,
	};
	struct lazy_stats stats = { .size = sizeof(stats) };
	struct touching threads[MAX_TOUCHING];
	struct result result = { .calls = -1 };
	uint32_t *pages;
	int counter = -1;
	double start, cpu;

	m.fd = open(m.name, O_RDONLY | O_CLOEXEC);
	if (m.fd < 0)
		die("%s: %s", m.name, strerror(errno));
	pages = list_pages(&m, &result.pages);
	set_cache(&m);
	prepare(&m);
	start_touching(&m, threads, pages, result.pages);
	if (m.setup->count)
		counter = count_calls();
	cpu = processor_time();
	start = now();
	restore(&m);
	pthread_barrier_wait(&barrier);
	for (unsigned int i = 0; i < m.setup->touching; i++)
		pthread_join(threads[i].thread, NULL);
	result.seconds = now() - start;
	result.cpu = processor_time() - cpu;
	if (counter >= 0)
		result.calls = calls_counted(counter);
	if (m.server) {
		lazy_server_stats(m.server, &stats);
		result.faults = stats.faults;
	}
	return result;
}

struct result in_child(struct result (*function)(const void *arg),
		       const void *arg)
{
	struct result result;
	int fds[2], status;
	pid_t pid;

	if (pipe(fds))
		die("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		result = function(arg);
		if (write(fds[1], &result, sizeof(result)) != sizeof(result))
			die("write: %s", strerror(errno));
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &result, sizeof(result)) != sizeof(result))
		die("a restore failed");
	close(fds[0]);
	waitpid(pid, &status, 0);
	return result;
}

struct result run(const char *name, size_t len, const struct setup *setup)
{
	struct order order = { name, len, setup };

	return in_child(measure, &order);
}
