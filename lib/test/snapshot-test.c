// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of snapshots and working sets: data is read back as written, and
 * damaged files are rejected with a reason. Prints KTAP.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "../crc32c.h"
#include "../snapshot.h"
#include "../workingset.h"

#define CHUNKS	8
#define LEN	(CHUNKS * SNAP_CHUNK)

FIXTURE(snapshot) {
	char path[64];
	char memory[LEN];
	struct reason reason;
};

/* Every fourth chunk is zero; two sections. */
FIXTURE_SETUP(snapshot)
{
	const struct snap_region regions[] = {
		{ 0, 5 * SNAP_CHUNK }, { 1 << 20, 3 * SNAP_CHUNK },
	};
	struct snap_writer *w;

	sprintf(self->path, "/tmp/snapshot-test.%d", getpid());
	srandom(1);
	for (int i = 0; i < LEN; i++)
		self->memory[i] = i / SNAP_CHUNK % 4 ? random() : 0;
	w = snap_create(self->path, regions, 2, &self->reason);
	ASSERT_NE(NULL, w);
	ASSERT_EQ(0, snap_write_section(w, "one", "1", 1, &self->reason));
	/* In two parts, in reverse order. */
	ASSERT_EQ(0, snap_write_memory(w, LEN / 2, self->memory + LEN / 2,
				       LEN / 2, &self->reason));
	ASSERT_EQ(0, snap_write_section(w, "two", "22", 2, &self->reason));
	ASSERT_EQ(0, snap_write_memory(w, 0, self->memory, LEN / 2,
				       &self->reason));
	ASSERT_EQ(-1, access(self->path, F_OK));
	ASSERT_EQ(0, snap_commit(w, &self->reason));
}

FIXTURE_TEARDOWN(snapshot)
{
	unlink(self->path);
}

TEST(the_checksum_is_crc32c)
{
	char data[99];

	/* The check value from the definition of CRC-32C. */
	ASSERT_EQ(0xe3069283, crc32c("123456789", 9));
	memset(data, 0, sizeof(data));
	EXPECT_NE(crc32c(data, 98), crc32c(data, 99));
}

TEST_F(snapshot, what_is_written_is_read)
{
	struct snapshot *s = snap_open(self->path, &self->reason);
	char buf[LEN];

	ASSERT_NE(NULL, s) { TH_LOG("%s", self->reason.text); }
	ASSERT_EQ(LEN, s->len);
	ASSERT_EQ(2, s->header.nr_regions);
	EXPECT_EQ(1 << 20, s->regions[1].guest);
	ASSERT_EQ(0, snap_verify(s, &self->reason));
	ASSERT_EQ(0, snap_read(s, 0, buf, LEN, &self->reason));
	EXPECT_EQ(0, memcmp(buf, self->memory, LEN));
	ASSERT_EQ(0, snap_read(s, SNAP_CHUNK, buf, SNAP_CHUNK, &self->reason));
	EXPECT_EQ(0, memcmp(buf, self->memory + SNAP_CHUNK, SNAP_CHUNK));
	EXPECT_TRUE(snap_is_zero(s, 0, SNAP_CHUNK));
	EXPECT_FALSE(snap_is_zero(s, 0, LEN));
	ASSERT_EQ(0, snap_read_section(s, "two", buf, 2, &self->reason));
	EXPECT_EQ(0, memcmp(buf, "22", 2));
	snap_close(s);
}

TEST_F(snapshot, what_is_not_there_is_refused)
{
	struct snapshot *s = snap_open(self->path, &self->reason);
	char buf[2 * SNAP_CHUNK];

	ASSERT_NE(NULL, s);
	EXPECT_EQ(-1, snap_read(s, LEN, buf, SNAP_CHUNK, &self->reason));
	EXPECT_EQ(-1, snap_read(s, LEN - SNAP_CHUNK, buf, 2 * SNAP_CHUNK,
				&self->reason));
	EXPECT_EQ(-1, snap_read(s, 1, buf, SNAP_CHUNK, &self->reason));
	EXPECT_EQ(-1, snap_read_section(s, "two", buf, 3, &self->reason));
	EXPECT_EQ(-1, snap_read_section(s, "three", buf, 2, &self->reason));
	snap_close(s);
	EXPECT_EQ(NULL, snap_open("/tmp/nonesuch", &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "No such file"));
	EXPECT_EQ(NULL, snap_open("/tmp", &self->reason));
}

/* Does opening and reading the whole file report an error? */
static bool refused(const char *path, struct reason *reason)
{
	struct snapshot *s = snap_open(path, reason);
	int ret;

	if (!s)
		return true;
	ret = snap_verify(s, reason);
	snap_close(s);
	return ret;
}

TEST_F(snapshot, every_cut_is_seen_before_memory_is_read)
{
	struct stat st;

	ASSERT_EQ(0, stat(self->path, &st));
	for (off_t len = st.st_size - 1; len >= 0; len -= 61) {
		ASSERT_EQ(0, truncate(self->path, len));
		ASSERT_EQ(NULL, snap_open(self->path, &self->reason)) {
			TH_LOG("truncated to %ld of %ld bytes", (long)len,
			       (long)st.st_size);
		}
		ASSERT_TRUE(strstr(self->reason.text, "truncated") ||
			    strstr(self->reason.text, "not a snapshot"));
	}
}

TEST_F(snapshot, what_is_too_long_is_refused)
{
	struct stat st;

	ASSERT_EQ(0, stat(self->path, &st));
	ASSERT_EQ(0, truncate(self->path, st.st_size + 1));
	ASSERT_EQ(NULL, snap_open(self->path, &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "too long"));
}

/* Flips a bit, checks the file, and flips the bit back. */
static bool flip_is_refused(const char *path, int fd, off_t at,
			    struct reason *reason)
{
	char c;
	bool seen;

	if (pread(fd, &c, 1, at) != 1)
		return false;
	c ^= 0x10;
	if (pwrite(fd, &c, 1, at) != 1)
		return false;
	seen = refused(path, reason);
	c ^= 0x10;
	return pwrite(fd, &c, 1, at) == 1 && seen;
}

TEST_F(snapshot, every_flipped_bit_is_seen)
{
	struct snapshot *s = snap_open(self->path, &self->reason);
	struct snap_header h;
	int fd;

	ASSERT_NE(NULL, s);
	h = s->header;
	fd = open(self->path, O_RDWR);
	ASSERT_LE(0, fd);
	for (size_t i = 0; i < sizeof(h); i++) {
		ASSERT_TRUE(flip_is_refused(self->path, fd, i, &self->reason)) {
			TH_LOG("byte %zu of the header", i);
		}
	}
	for (uint64_t i = h.tables; i < h.file_size; i++) {
		ASSERT_TRUE(flip_is_refused(self->path, fd, i, &self->reason)) {
			TH_LOG("byte %llu of the tables",
			       (unsigned long long)(i - h.tables));
		}
	}
	for (uint32_t i = 0; i < h.nr_sections; i++) {
		ASSERT_TRUE(flip_is_refused(self->path, fd,
					    s->sections[i].where, &self->reason));
		EXPECT_NE(NULL, strstr(self->reason.text, s->sections[i].name));
	}
	for (uint64_t i = 0; i < h.nr_chunks; i++) {
		if (!s->chunks[i].where)
			continue;
		ASSERT_TRUE(flip_is_refused(self->path, fd, s->chunks[i].where +
					    4095, &self->reason));
		EXPECT_NE(NULL, strstr(self->reason.text, "checksum mismatch"));
	}
	ASSERT_FALSE(refused(self->path, &self->reason));
	snap_close(s);
	close(fd);
}

TEST_F(snapshot, another_version_is_named)
{
	uint32_t version = SNAP_VERSION + 1;
	int fd = open(self->path, O_RDWR);

	ASSERT_EQ(4, pwrite(fd, &version, 4, 8));
	close(fd);
	ASSERT_EQ(NULL, snap_open(self->path, &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "version 2"));
}

TEST_F(snapshot, what_is_abandoned_leaves_what_was_there)
{
	const struct snap_region region = { 0, SNAP_CHUNK };
	struct snap_writer *w;

	w = snap_create(self->path, &region, 1, &self->reason);
	ASSERT_NE(NULL, w);
	EXPECT_EQ(-1, snap_write_memory(w, SNAP_CHUNK, self->memory, SNAP_CHUNK,
					&self->reason));
	snap_abandon(w);
	EXPECT_FALSE(refused(self->path, &self->reason));
}

TEST_F(snapshot, a_working_set_comes_back_or_is_refused)
{
	struct working_set set = {}, back;
	int fd;

	for (uint64_t i = 0; i < 100; i++) {
		ASSERT_EQ(0, working_set_add(&set, (i * 37 % 100) << 12));
	}
	ASSERT_EQ(0, working_set_save(&set, self->path, &self->reason));
	ASSERT_EQ(0, working_set_load(&back, self->path, &self->reason));
	ASSERT_EQ(100, back.nr);
	EXPECT_EQ(0, memcmp(set.offsets, back.offsets, 800));
	working_set_free(&back);

	fd = open(self->path, O_RDWR);
	ASSERT_EQ(1, pwrite(fd, "x", 1, 100));
	EXPECT_EQ(-1, working_set_load(&back, self->path, &self->reason));
	EXPECT_NE(NULL, strstr(self->reason.text, "checksum mismatch"));
	ASSERT_EQ(0, ftruncate(fd, 100));
	EXPECT_EQ(-1, working_set_load(&back, self->path, &self->reason));
	ASSERT_EQ(0, ftruncate(fd, 10));
	EXPECT_EQ(-1, working_set_load(&back, self->path, &self->reason));
	close(fd);
	working_set_free(&set);
}

TEST_HARNESS_MAIN
