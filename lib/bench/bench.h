/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The restore benchmark:
 *
 *	restore-bench.c	options, and the rows of the table
 *	run.c		one restore, in a process of its own
 *	methods.c	the ways to restore: the library, and three without it
 *	large.c		open and hand-over of a large guest
 *	host.c		counts system calls, describes the host, hides UFFDIO_FILL
 */
#ifndef LAZY_BENCH_H
#define LAZY_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define MAX_TOUCHING	16

enum method {
	LIBRARY,	/* lazyrestore */
	HAND,		/* a handler of 40 lines: read() and UFFDIO_COPY */
	MAP,		/* mmap(MAP_PRIVATE) of the file, no userfaultfd */
	READ,		/* all of the file is read before the first access */
};

enum pattern {
	NOTHING,	/* no access: measured until all memory is filled */
	SEQUENTIAL,	/* all pages in ascending order */
	RANDOM,		/* all pages at random */
	SPARSE,		/* one page of 128, at random */
};

/**
 * struct setup - one restore
 * @method: how
 * @pattern: the accesses
 * @touching: number of threads that access the memory
 * @threads: of the library; 0: one per processor
 * @around: bytes filled by one fault at most; 0: default; LAZY_AROUND_NONE
 * @background: the library fills in the background
 * @cold: the file is not in the page cache
 * @huge: MADV_HUGEPAGE for the memory
 * @count: count system calls, too
 */
struct setup {
	enum method method;
	enum pattern pattern;
	unsigned int touching;
	unsigned int threads;
	uint64_t around;
	bool background;
	bool cold;
	bool huge;
	bool count;
};

/**
 * struct result - of one restore
 * @seconds: until the last access, or until all memory is filled
 * @cpu: seconds of processor time of all threads
 * @pages: accessed, or filled
 * @faults: that the library has served
 * @calls: system calls of its threads; negative: not counted
 * @rss: bytes of this process that were added
 */
struct result {
	double seconds;
	double cpu;
	uint64_t pages;
	uint64_t faults;
	double calls;
	uint64_t rss;
};

struct memory {
	const struct setup *setup;
	const char *name;	/* of the file */
	size_t len;
	int fd;
	char *at;
	int uffd;
	const char *map;	/* of the file */
	struct lazy_server *server;
	struct lazy_memfile *file;
};

/* run.c */
double now(void);
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void make_file(const char *name, size_t len);
/* Calls @measure in a child process. */
struct result in_child(struct result (*measure)(const void *arg),
		       const void *arg);
struct result run(const char *name, size_t len, const struct setup *setup);

/* methods.c */
void prepare(struct memory *m);
void restore(struct memory *m);

/* large.c */
void make_snapshot(const char *name, uint64_t len);
struct result open_snapshot(const char *name, uint64_t len);
void make_large_file(const char *name, uint64_t len);
struct result open_memory_file(const char *name, uint64_t len);

/* host.c */
void describe_host(const char *file);
/*
 * Counts the system calls of threads that are started from now on. Returns a
 * descriptor, or -1 if this host has no tracepoints.
 */
int count_calls(void);
double calls_counted(int counter);
extern bool hide_fill;	/* the library sees a kernel without UFFDIO_FILL */

#endif /* LAZY_BENCH_H */
