// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of working sets: they are read back as written, and a damaged file
 * leaves an empty set that works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <lazyrestore/workingset.h>

#include "ktap.h"

#define PAGES	100

static struct lazy_error err;

static uint64_t offset_of(size_t i)
{
	return i * 37 % PAGES << 12;
}

static bool is_expected(const struct lazy_ws *set, size_t expected)
{
	size_t nr;
	const uint64_t *offsets = lazy_ws_offsets(set, &nr);

	for (size_t i = 0; i < nr && i < expected; i++)
		if (offsets[i] != offset_of(i))
			return false;
	return nr == expected;
}

static void add(struct lazy_ws *set, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		CHECK(!lazy_ws_add(set, offset_of(i)));
}

/* A set of @nr pages, saved to the file "set". */
static struct lazy_ws *saved(size_t nr)
{
	struct lazy_ws *set = lazy_ws_new();

	CHECK(set);
	add(set, 0, nr);
	CHECK(!lazy_ws_save(set, "set", &err), "%s", err.text);
	return set;
}

TEST(a_set_is_read_back)
{
	struct lazy_ws *set = saved(PAGES);

	CHECK(!lazy_ws_load(set, "set", &err), "%s", err.text);
	CHECK(is_expected(set, PAGES));
	lazy_ws_free(set);
}

TEST(an_empty_set_is_read_back)
{
	struct lazy_ws *set = saved(0);

	CHECK(!lazy_ws_load(set, "set", &err), "%s", err.text);
	CHECK(is_expected(set, 0));
	CHECK(is_expected(NULL, 0));
	add(set, 0, 1);
	CHECK(is_expected(set, 1));
	lazy_ws_free(set);
}

/* Of any length, also one that is not a power of two. */
TEST(a_loaded_set_can_be_extended)
{
	for (size_t nr = 0; nr < PAGES; nr++) {
		struct lazy_ws *set = saved(nr);

		CHECK(!lazy_ws_load(set, "set", &err), "%s", err.text);
		add(set, nr, 3 * PAGES);
		CHECK(is_expected(set, 3 * PAGES), "%zu loaded", nr);
		lazy_ws_free(set);
	}
}

/* A load that must fail, and leaves an empty set that can be used. */
static void refused(struct lazy_ws *set, const char *path, const char *reason)
{
	err = (struct lazy_error) {};
	CHECK(lazy_ws_load(set, path, &err) == -1, "%s accepted", path);
	CHECK(err.code && strstr(err.text, reason), "%s", err.text);
	CHECK(is_expected(set, 0));
	add(set, 0, PAGES);
	CHECK(is_expected(set, PAGES));
}

TEST(a_missing_set_leaves_an_empty_one)
{
	struct lazy_ws *set = saved(PAGES);

	CHECK(!mkfifo("fifo", 0600));
	refused(set, "nonesuch", "No such file");
	CHECK_EQ(ENOENT, err.os_errno);
	refused(set, "/", "not a regular file");
	refused(set, "fifo", "not a regular file");
	refused(set, "/dev/zero", "not a regular file");
	lazy_ws_free(set);
}

TEST(a_torn_set_leaves_an_empty_one)
{
	struct lazy_ws *set = saved(PAGES);
	struct stat st;

	CHECK(!stat("set", &st));
	for (off_t len = st.st_size - 1; len >= 0; len--) {
		CHECK(!truncate("set", len));
		refused(set, "set", len < 24 ? "not a working set" : "size");
	}
	/* Also if the tail is lost and the size is not. */
	lazy_ws_free(set);
	set = saved(PAGES);
	CHECK(!truncate("set", 400) && !truncate("set", st.st_size));
	refused(set, "set", "checksum");
	CHECK(!truncate("set", st.st_size + 1));
	refused(set, "set", "size");
	lazy_ws_free(set);
}

TEST(every_flipped_bit_is_seen)
{
	struct lazy_ws *set = saved(PAGES);
	int fd = open("set", O_RDWR);
	struct stat st;
	char c;

	CHECK(fd >= 0 && !fstat(fd, &st));
	for (off_t bit = 0; bit < 8 * st.st_size; bit++) {
		CHECK_EQ(1, pread(fd, &c, 1, bit / 8));
		c ^= 1 << bit % 8;
		CHECK_EQ(1, pwrite(fd, &c, 1, bit / 8));
		refused(set, "set", "");
		c ^= 1 << bit % 8;
		CHECK_EQ(1, pwrite(fd, &c, 1, bit / 8));
	}
	CHECK(!lazy_ws_load(set, "set", &err));
	close(fd);
	lazy_ws_free(set);
}

/* A sparse file of 1 TiB whose header agrees with its size. */
TEST(a_huge_count_is_refused)
{
	struct lazy_ws *set = saved(PAGES);
	uint64_t counts[] = { LAZY_WS_MAX + 1, 1ull << 37, 1ull << 61,
			      (1ull << 61) + PAGES, ~0ull };
	int fd = open("set", O_RDWR);

	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		CHECK_EQ(8, pwrite(fd, &counts[i], 8, 16));
		CHECK(!ftruncate(fd, 24 + (counts[i] * 8 & ((1ull << 40) - 1))));
		refused(set, "set", "size");
	}
	close(fd);
	lazy_ws_free(set);
}

TEST(a_full_set_stays_valid)
{
	struct lazy_ws *set = lazy_ws_new();
	size_t nr;

	CHECK(set);
	for (size_t i = 0; i < LAZY_WS_MAX; i++)
		CHECK(!lazy_ws_add(set, i));
	CHECK_EQ(-1ull, lazy_ws_add(set, 0));
	CHECK_EQ(LAZY_WS_MAX - 1, lazy_ws_offsets(set, &nr)[LAZY_WS_MAX - 1]);
	CHECK_EQ(LAZY_WS_MAX, nr);
	lazy_ws_free(set);
}

TEST(a_failed_save_keeps_the_old_set)
{
	struct rlimit limit = { 64, RLIM_INFINITY };
	struct lazy_ws *set = saved(PAGES);

	add(set, PAGES, 2 * PAGES);
	signal(SIGXFSZ, SIG_IGN);
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	CHECK(lazy_ws_save(set, "set", &err) == -1);
	CHECK_EQ(LAZY_E_SYSTEM, err.code);
	CHECK_EQ(EFBIG, err.os_errno);
	CHECK(!lazy_ws_load(set, "set", &err), "%s", err.text);
	CHECK(is_expected(set, PAGES));
	lazy_ws_free(set);
}
