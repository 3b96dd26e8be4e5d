// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Tests of snapshots: data is read back as written, by any number of threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "snapshot/crc32c.h"
#include "snapfile.h"

#define THREADS	4
#define GIB	(1ull << 30)

/* A second way to compute it: bit by bit. */
static uint32_t crc_by_bits(uint32_t crc, const unsigned char *p, size_t len)
{
	for (crc = ~crc; len--; p++) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

TEST(the_checksum_is_crc32c)
{
	const unsigned char *p = (unsigned char *)memory;

	/* The check value from the definition of CRC-32C. */
	CHECK_EQ(0xe3069283, lazy_crc32c(0, "123456789", 9));
	fill_memory();
	p += CHUNK;
	for (int i = 0; i < 1000; i++) {
		size_t len = random() % 9000, at = random() % 100;
		size_t half = random() % (len + 1);
		uint32_t crc = random(), expected = crc_by_bits(crc, p + at, len);

		CHECK_EQ(expected, lazy_crc32c(crc, p + at, len));
		crc = lazy_crc32c(crc, p + at, half);
		CHECK_EQ(expected, lazy_crc32c(crc, p + at + half, len - half));
	}
}

TEST(what_is_written_is_read)
{
	const struct lazy_snap_region *r;
	static char buf[LENGTH];
	struct lazy_snap *snap;
	uint64_t length;
	size_t nr;

	make_snapshot("snap");
	snap = open_snapshot("snap");
	CHECK_EQ(LENGTH, lazy_snap_length(snap));
	r = lazy_snap_regions(snap, &nr);
	CHECK(nr == 2 && !memcmp(r, regions, sizeof(regions)));
	CHECK(!lazy_snap_verify(snap, &err), "%s", err.text);
	CHECK(!lazy_snap_read(snap, 0, buf, LENGTH, &err), "%s", err.text);
	CHECK(!memcmp(buf, memory, LENGTH));
	for (size_t i = 0; i < CHUNKS; i++) {
		CHECK(!lazy_snap_read(snap, i * CHUNK, buf, CHUNK, &err));
		CHECK(!memcmp(buf, memory + i * CHUNK, CHUNK));
	}
	CHECK(!lazy_snap_section(snap, "two", &length, &err));
	CHECK_EQ(2, length);
	CHECK(!lazy_snap_read_section(snap, "two", buf, 2, &err));
	CHECK(!memcmp(buf, "22", 2));
	lazy_snap_close(snap);
}

TEST(zeros_are_known)
{
	struct lazy_snap *snap;

	make_snapshot("snap");
	snap = open_snapshot("snap");
	for (size_t i = 0; i < CHUNKS; i++) {
		size_t run = 0;

		while (i + run < CHUNKS && is_zero(i + run))
			run++;
		CHECK_EQ(run * CHUNK,
			 lazy_snap_zeros(snap, i * CHUNK, ~0ull));
		CHECK_EQ(run ? CHUNK : 0,
			 lazy_snap_zeros(snap, i * CHUNK, CHUNK + 1));
	}
	CHECK_EQ(0, lazy_snap_zeros(snap, 1, CHUNK));
	CHECK_EQ(0, lazy_snap_zeros(snap, LENGTH, CHUNK));
	CHECK_EQ(0, lazy_snap_zeros(snap, -(uint64_t)CHUNK, CHUNK));
	lazy_snap_close(snap);
}

TEST(a_snapshot_is_a_source)
{
	struct lazy_source source = { .size = sizeof(source) };
	struct lazy_snap *snap;
	static char buf[LENGTH];

	make_snapshot("snap");
	snap = open_snapshot("snap");
	lazy_snap_source(snap, &source);
	CHECK_EQ(sizeof(source), source.size);
	CHECK_EQ(LENGTH, source.length);
	CHECK(!source.map);
	CHECK(!source.read(source.arg, 0, buf, LENGTH, &err));
	CHECK(!memcmp(buf, memory, LENGTH));
	CHECK_EQ(CHUNK, source.zeros(source.arg, 0, LENGTH));
	lazy_snap_close(snap);
}

TEST(what_is_not_there_is_refused)
{
	static char buf[2 * CHUNK];
	struct lazy_snap *snap;
	uint64_t length;

	make_snapshot("snap");
	snap = open_snapshot("snap");
	CHECK(lazy_snap_read(snap, LENGTH, buf, CHUNK, &err));
	CHECK_EQ(LAZY_E_ARGUMENT, err.code);
	CHECK(lazy_snap_read(snap, LENGTH - CHUNK, buf, 2 * CHUNK, &err));
	CHECK(lazy_snap_read(snap, -(uint64_t)CHUNK, buf, 2 * CHUNK, &err));
	CHECK(lazy_snap_read(snap, 1, buf, CHUNK, &err));
	CHECK(lazy_snap_read(snap, 0, buf, CHUNK + 1, &err));
	CHECK(lazy_snap_read_section(snap, "two", buf, 3, &err));
	CHECK(lazy_snap_read_section(snap, "three", buf, 2, &err));
	CHECK(lazy_snap_section(snap, "three", &length, &err));
	CHECK_EQ(LAZY_E_ARGUMENT, err.code);
	lazy_snap_close(snap);

	CHECK(!lazy_snap_open("nonesuch", &err));
	CHECK(err.code == LAZY_E_SYSTEM && err.os_errno == ENOENT);
	CHECK(!mkfifo("fifo", 0600));
	CHECK(!lazy_snap_open("fifo", &err));
	CHECK_EQ(LAZY_E_FORMAT, err.code);
	CHECK(!lazy_snap_open(".", &err));
	CHECK_EQ(LAZY_E_FORMAT, err.code);
	CHECK(!lazy_snap_open(".", NULL));
}

TEST(a_descriptor_limit_is_reported)
{
	struct rlimit before, limit = { 3, 3 };

	make_snapshot("snap");
	CHECK(!getrlimit(RLIMIT_NOFILE, &before));
	limit.rlim_max = before.rlim_max;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	CHECK(!lazy_snap_open("snap", &err));
	CHECK(err.code == LAZY_E_SYSTEM && err.os_errno == EMFILE, "%s",
	      err.text);
	CHECK(!lazy_snap_create("snap2", regions, 2, &err));
	CHECK(err.code == LAZY_E_SYSTEM && err.os_errno == EMFILE, "%s",
	      err.text);
	CHECK(!setrlimit(RLIMIT_NOFILE, &before));
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static long resident_kib(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%*d %ld", &pages) != 1)
		FAIL("cannot read /proc/self/statm");
	fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* A snapshot of @length bytes with content at every multiple of @step. */
static void make_sparse(const char *path, uint64_t length, uint64_t step)
{
	struct lazy_snap_region region = { 0, length };
	struct lazy_snap_writer *w = lazy_snap_create(path, &region, 1, &err);
	uint64_t content[CHUNK / 8];

	CHECK(w, "%s", err.text);
	memset(content, 1, sizeof(content));
	for (uint64_t at = 0; at < length; at += step) {
		content[0] = at;
		CHECK(!lazy_snap_write(w, at, content, CHUNK, &err), "%s",
		      err.text);
	}
	CHECK(!lazy_snap_commit(w, &err), "%s", err.text);
}

/*
 * The limits are half of what the start of a restore may take. Every slot of
 * the cache is used. The writer is another process, whose memory must not count.
 */
TEST(opening_256_gib_is_quick_and_small)
{
	const uint64_t length = 256 * GIB, step = 33 * 2 << 20;
	uint64_t content[CHUNK / 8];
	struct lazy_snap *snap;
	double best = 1, start;
	long before, after;
	pid_t pid = fork();

	if (!pid) {
		make_sparse("snap", length, step);
		exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	for (int i = 0; i < 5; i++) {
		before = resident_kib();
		start = seconds();
		snap = open_snapshot("snap");
		start = seconds() - start;
		best = start < best ? start : best;
		for (uint64_t at = 0; at < length; at += step) {
			CHECK(!lazy_snap_read(snap, at, content, CHUNK, &err));
			CHECK_EQ(at, content[0]);
		}
		after = resident_kib();
		lazy_snap_close(snap);
	}
	note("open: %.2f ms, resident after reads all over it: %ld KiB",
	     best * 1e3, after - before);
	CHECK(best < 0.025);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	CHECK(after - before < 16 << 10);
#endif
}

/* ---- threads ---- */

struct thread {
	pthread_t id;
	unsigned int nr;
	struct lazy_snap *snap;
	struct lazy_snap_writer *writer;
};

static void run_threads(struct thread *threads, void *(*run)(void *))
{
	for (unsigned int i = 0; i < THREADS; i++) {
		threads[i].nr = i;
		CHECK(!pthread_create(&threads[i].id, NULL, run, &threads[i]));
	}
	for (unsigned int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i].id, NULL));
}

static void *read_all_over(void *arg)
{
	struct thread *t = arg;
	uint64_t content[CHUNK / 8], length = lazy_snap_length(t->snap);
	unsigned int seed = t->nr;

	for (int i = 0; i < 3000; i++) {
		/* Blocks that are 4 GiB apart have the same slot of the cache. */
		uint64_t at = rand_r(&seed) % (length / (4 * GIB)) * 4 * GIB +
			      rand_r(&seed) % 4 * (2ull << 20);
		struct lazy_error why;

		CHECK(!lazy_snap_read(t->snap, at, content, CHUNK, &why), "%s",
		      why.text);
		CHECK_EQ(at, content[0]);
		CHECK_EQ((2 << 20) - CHUNK,
			 lazy_snap_zeros(t->snap, at + CHUNK, GIB));
	}
	return NULL;
}

TEST(threads_share_the_cache)
{
	struct thread threads[THREADS] = {};
	struct lazy_snap_region region = { 0, 64 * GIB };
	struct lazy_snap_writer *w;
	uint64_t content[CHUNK / 8] = {};

	w = lazy_snap_create("snap", &region, 1, &err);
	CHECK(w, "%s", err.text);
	for (uint64_t i = 0; i < 16; i++) {
		for (uint64_t j = 0; j < 5; j++) {
			content[0] = i * 4 * GIB + j * (2 << 20);
			content[1] = 1;
			CHECK(!lazy_snap_write(w, content[0], content, CHUNK,
					       &err));
		}
	}
	CHECK(!lazy_snap_commit(w, &err));
	for (int i = 0; i < THREADS; i++)
		threads[i].snap = i ? threads[0].snap : open_snapshot("snap");
	run_threads(threads, read_all_over);
	lazy_snap_close(threads[0].snap);
}

static void *write_a_part(void *arg)
{
	struct thread *t = arg;
	struct lazy_error why;
	char name[16];

	for (size_t i = t->nr; i < CHUNKS; i += THREADS)
		CHECK(!lazy_snap_write(t->writer, i * CHUNK, memory + i * CHUNK,
				       CHUNK, &why), "%s", why.text);
	for (int i = 0; i < 20; i++) {
		sprintf(name, "%u-%d", t->nr, i);
		CHECK(!lazy_snap_write_section(t->writer, name, name,
					       strlen(name), &why));
	}
	return NULL;
}

TEST(threads_write_one_snapshot)
{
	struct thread threads[THREADS] = {};
	static char buf[LENGTH];
	struct lazy_snap *snap;

	fill_memory();
	threads[0].writer = lazy_snap_create("snap", regions, 2, &err);
	CHECK(threads[0].writer, "%s", err.text);
	for (int i = 1; i < THREADS; i++)
		threads[i].writer = threads[0].writer;
	run_threads(threads, write_a_part);
	CHECK(!lazy_snap_commit(threads[0].writer, &err), "%s", err.text);
	snap = open_snapshot("snap");
	CHECK(!lazy_snap_read(snap, 0, buf, LENGTH, &err), "%s", err.text);
	CHECK(!memcmp(buf, memory, LENGTH));
	CHECK(!lazy_snap_read_section(snap, "3-19", buf, 4, &err));
	CHECK(!memcmp(buf, "3-19", 4));
	lazy_snap_close(snap);
}
