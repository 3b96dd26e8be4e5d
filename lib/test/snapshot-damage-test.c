// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of damaged snapshots: whatever happens to the file, a byte that is
 * returned is the byte that was written, and nothing crashes. Also when the
 * file changes while it is open, and when its checksums were forged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "snapshot/crc32c.h"
#include "snapshot/format.h"
#include "snapfile.h"

static struct {
	char *bytes;		/* of the undamaged file */
	size_t len;
	struct snap_header header;
} pristine;

/* Makes the file "snap" and a copy of it in memory. */
static int make(void)
{
	struct stat st;
	int fd;

	make_snapshot("snap");
	fd = open("snap", O_RDWR);
	CHECK(fd >= 0 && !fstat(fd, &st));
	pristine.len = st.st_size;
	pristine.bytes = malloc(pristine.len);
	CHECK(pristine.bytes);
	CHECK_EQ(pristine.len, pread(fd, pristine.bytes, pristine.len, 0));
	memcpy(&pristine.header, pristine.bytes, sizeof(pristine.header));
	return fd;
}

static void restore(int fd)
{
	CHECK(!ftruncate(fd, pristine.len));
	CHECK_EQ(pristine.len, pwrite(fd, pristine.bytes, pristine.len, 0));
}

/* What became of a damaged file. */
enum outcome { GOOD, REFUSED, WRONG };

static enum outcome check_sections(const struct lazy_snap *snap)
{
	char one, two[2];

	if (lazy_snap_read_section(snap, "one", &one, 1, &err) ||
	    lazy_snap_read_section(snap, "two", two, 2, &err))
		return REFUSED;
	return one == '1' && !memcmp(two, "22", 2) ? GOOD : WRONG;
}

static enum outcome check_memory(struct lazy_snap *snap)
{
	enum outcome outcome = GOOD;
	char buf[CHUNK];

	if (lazy_snap_length(snap) != LENGTH)
		return WRONG;
	for (size_t i = 0; i < CHUNKS; i++) {
		if (lazy_snap_zeros(snap, i * CHUNK, CHUNK)) {
			if (!is_zero(i))
				return WRONG;
		} else if (lazy_snap_read(snap, i * CHUNK, buf, CHUNK, &err)) {
			outcome = REFUSED;
		} else if (memcmp(buf, memory + i * CHUNK, CHUNK)) {
			return WRONG;
		}
	}
	return outcome;
}

static enum outcome check(const char *path)
{
	struct lazy_snap *snap = lazy_snap_open(path, &err);
	enum outcome outcome, sections;

	if (!snap) {
		CHECK(err.code && *err.text && !strchr(err.text, '\n'));
		return REFUSED;
	}
	sections = check_sections(snap);
	outcome = check_memory(snap);
	lazy_snap_close(snap);
	return sections > outcome ? sections : outcome;
}

TEST(every_cut_is_seen_when_it_is_opened)
{
	int fd = make();

	CHECK_EQ(GOOD, check("snap"));
	for (off_t len = pristine.len - 1; len >= 0; len -= 61) {
		CHECK(!ftruncate(fd, len));
		CHECK(!lazy_snap_open("snap", &err), "%ld bytes", (long)len);
		CHECK(strstr(err.text, "truncated") ||
		      strstr(err.text, "too short"), "%s", err.text);
	}
	restore(fd);
	CHECK(!ftruncate(fd, pristine.len + 1));
	CHECK(!lazy_snap_open("snap", &err));
	CHECK(strstr(err.text, "too long"), "%s", err.text);
}

/* Is the byte covered by a checksum? Not the padding of header and sections. */
static bool is_covered(size_t at)
{
	const struct snap_section *s = (void *)(pristine.bytes +
		pristine.header.index + sizeof(regions));

	if (at < CHUNK)
		return at < sizeof(struct snap_header);
	for (uint32_t i = 0; i < pristine.header.nr_sections; i++)
		if (at >= s[i].at && at < s[i].at + CHUNK)
			return at < s[i].at + s[i].length;
	return true;
}

/* Of the header, the index, the chunk table, sections, and some of memory. */
TEST(every_flipped_bit_is_seen)
{
	int fd = make();

	for (size_t at = 0; at < pristine.len; at++) {
		char c = pristine.bytes[at] ^ 1 << at % 8;
		bool chunk = at >= CHUNK && at < pristine.header.index -
			     2 * CHUNK;

		if (chunk && at % CHUNK > 2 && at % CHUNK < CHUNK - 2)
			continue;
		CHECK_EQ(1, pwrite(fd, &c, 1, at));
		CHECK(check("snap") == (is_covered(at) ? REFUSED : GOOD),
		      "byte %zu", at);
		CHECK_EQ(1, pwrite(fd, pristine.bytes + at, 1, at));
	}
	CHECK_EQ(GOOD, check("snap"));
}

/* ---- random damage ---- */

static size_t below(size_t limit)
{
	return limit ? (((size_t)random() << 31) | random()) % limit : 0;
}

static void flip(char *bytes, size_t len)
{
	for (size_t nr = 1 + below(3); nr; nr--)
		bytes[below(len)] ^= 1 << below(8);
}

/* Random bytes, zeroes, or bytes of another place. */
static void overwrite(char *bytes, size_t len)
{
	size_t at = below(len), from = below(len), what = below(3);

	for (size_t nr = 1 + below(20000); nr && at < len; nr--, at++)
		bytes[at] = what == 0 ? random() : what == 1 ? 0 :
			    bytes[from++ % len];
}

static void swap_blocks(char *bytes, size_t len)
{
	size_t a = below(len / CHUNK) * CHUNK, b = below(len / CHUNK) * CHUNK;
	char block[CHUNK];

	memcpy(block, bytes + a, CHUNK);
	memcpy(bytes + a, bytes + b, CHUNK);
	memcpy(bytes + b, block, CHUNK);
}

static void swap_places(char *bytes, size_t len)
{
	size_t table = pristine.header.index - 2 * CHUNK;
	uint64_t *a = (void *)(bytes + table + below((len - table) / 8) * 8);
	uint64_t *b = (void *)(bytes + table + below((len - table) / 8) * 8);
	uint64_t place = *a;

	*a = *b;
	*b = place;
}

static void shift(char *bytes, size_t len)
{
	size_t at = below(len), by = 1 + below(100);

	if (at + by < len)
		memmove(bytes + at + by, bytes + at, len - at - by);
}

/* A number of the header, the index or the table becomes an extreme one. */
static void change_number(char *bytes, size_t len)
{
	static const uint64_t values[] = {
		0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32,
		1ull << 52, 1ull << 63, -4096ull, -1ull,
	};
	size_t table = pristine.header.index - 2 * CHUNK;
	size_t at = below(2) ? below(sizeof(struct snap_header) / 4) * 4 :
			       table + below((len - table) / 4) * 4;
	uint64_t v = values[below(11)];

	memcpy(bytes + at, &v, at + 8 <= len && below(2) ? 8 : 4);
}

TEST_WITHIN(none_of_8000_damaged_snapshots_is_accepted, 300)
{
	static void (*const damage[])(char *bytes, size_t len) = {
		flip, overwrite, swap_blocks, swap_places, shift, change_number,
	};
	int fd = make(), seen[3] = {};
	char *bytes = malloc(pristine.len);

	CHECK(bytes);
	srandom(13);
	for (int i = 0; i < (int)scaled(8000); i++) {
		size_t len = pristine.len;
		enum outcome outcome;

		memcpy(bytes, pristine.bytes, len);
		for (size_t nr = 1 + !below(4); nr; nr--)
			damage[below(6)](bytes, len);
		if (!below(10))
			len = below(len);
		CHECK(!ftruncate(fd, len));
		CHECK_EQ(len, pwrite(fd, bytes, len, 0));
		outcome = check("snap");
		CHECK(outcome != WRONG, "number %d", i);
		/* If it is accepted, no checksum covers what was changed. */
		for (size_t at = 0; outcome == GOOD && at < pristine.len; at++)
			CHECK(bytes[at] == pristine.bytes[at] ||
			      !is_covered(at), "number %d, byte %zu", i, at);
		seen[outcome]++;
	}
	note("%d refused, %d undamaged or damaged in unused bytes, 0 wrong",
	     seen[REFUSED], seen[GOOD]);
	CHECK(seen[REFUSED] > 6000);
	free(bytes);
}

/* ---- changes while the snapshot is open ---- */

TEST(a_file_that_is_truncated_while_it_is_open_fails)
{
	int fd = make();
	static char buf[LENGTH];
	struct lazy_snap *snap = open_snapshot("snap");

	/* One block of the table is in the cache, the other is not. */
	CHECK(!lazy_snap_read(snap, CHUNK, buf, CHUNK, &err));
	CHECK(!ftruncate(fd, 2 * CHUNK + 100));
	CHECK(lazy_snap_read(snap, CHUNK, buf, CHUNK, &err) == -1);
	CHECK(err.code == LAZY_E_SOURCE && err.os_errno == ENODATA, "%s",
	      err.text);
	CHECK(strstr(err.text, "memory at 0x1000"), "%s", err.text);
	CHECK(lazy_snap_read(snap, 512 * CHUNK, buf, CHUNK, &err) == -1);
	CHECK(strstr(err.text, "chunk table"), "%s", err.text);
	CHECK_EQ(0, lazy_snap_zeros(snap, 512 * CHUNK, CHUNK));
	CHECK(lazy_snap_read_section(snap, "two", buf, 2, &err) == -1);
	CHECK(lazy_snap_verify(snap, &err) == -1);

	/* A block that could not be read is not taken for one that was. */
	restore(fd);
	CHECK(!lazy_snap_read(snap, 0, buf, LENGTH, &err), "%s", err.text);
	CHECK(!memcmp(buf, memory, LENGTH));

	/* Overwritten in place: the table in the cache does not change. */
	memset(pristine.bytes + CHUNK, 0, pristine.len - CHUNK);
	restore(fd);
	CHECK(lazy_snap_read(snap, CHUNK, buf, CHUNK, &err) == -1);
	CHECK_EQ(LAZY_E_FORMAT, err.code);
	lazy_snap_close(snap);
}

static atomic_bool stop;
static atomic_long reads, failures;

static void *read_at_random(void *arg)
{
	unsigned int seed = (uintptr_t)&seed;
	char buf[8 * CHUNK];
	struct lazy_snap *snap = arg;
	struct lazy_error why;

	while (!stop) {
		size_t at = rand_r(&seed) % (CHUNKS - 8) * CHUNK;

		if (lazy_snap_read(snap, at, buf, sizeof(buf), &why))
			failures++;
		else
			CHECK(!memcmp(buf, memory + at, sizeof(buf)));
		reads++;
		if (lazy_snap_zeros(snap, at, CHUNK))
			CHECK(is_zero(at / CHUNK));
	}
	return NULL;
}

/* Reopened each time, so that the chunk table is read, too. */
TEST(a_file_that_changes_while_threads_read_gives_no_wrong_byte)
{
	int fd = make();
	char *bytes = malloc(pristine.len);
	pthread_t threads[2];

	CHECK(bytes);
	for (int round = 0; round < (int)scaled(30); round++) {
		struct lazy_snap *snap;

		restore(fd);
		snap = open_snapshot("snap");
		stop = false;
		for (int i = 0; i < 2; i++)
			CHECK(!pthread_create(&threads[i], NULL,
					      read_at_random, snap));
		for (int i = 0; i < 20; i++) {
			memcpy(bytes, pristine.bytes, pristine.len);
			overwrite(bytes + CHUNK, pristine.len - CHUNK);
			CHECK_EQ(pristine.len,
				 pwrite(fd, bytes, pristine.len, 0));
			CHECK(!ftruncate(fd, below(pristine.len)));
			restore(fd);
		}
		stop = true;
		for (int i = 0; i < 2; i++)
			CHECK(!pthread_join(threads[i], NULL));
		lazy_snap_close(snap);
	}
	note("%ld of %ld reads failed, 0 gave wrong bytes", (long)failures,
	     (long)reads);
	CHECK(failures && failures < reads);
	free(bytes);
}

/* ---- forged: all checksums are right ---- */

/* The parts of a file, in @bytes. */
struct forged {
	char *bytes;
	size_t len;
	struct snap_header *header;
	struct lazy_snap_region *regions;
	struct snap_section *sections;
	struct snap_place *blocks;
	struct snap_place *chunks;	/* of the first block */
};

static struct forged begin_forged(void)
{
	struct forged f = { .len = pristine.len, .bytes = malloc(pristine.len) };

	CHECK(f.bytes);
	memcpy(f.bytes, pristine.bytes, f.len);
	f.header = (void *)f.bytes;
	f.regions = (void *)(f.bytes + f.header->index);
	f.sections = (void *)(f.regions + 2);
	f.blocks = (void *)(f.sections + 2);
	f.chunks = (void *)(f.bytes + (size_t)f.blocks->at * CHUNK);
	return f;
}

/* Writes the file with checksums for what is in it. */
static void end_forged(struct forged *f, int fd)
{
	struct snap_header *h = f->header;

	f->blocks->crc = lazy_crc32c(0, f->chunks, CHUNK);
	h->index_crc = lazy_crc32c(0, f->regions,
				   f->len - pristine.header.index);
	h->crc = 0;
	h->crc = lazy_crc32c(0, h, sizeof(*h));
	CHECK(!ftruncate(fd, f->len));
	CHECK_EQ(f->len, pwrite(fd, f->bytes, f->len, 0));
	free(f->bytes);
}

#define FORGE(change)						\
	do {							\
		struct forged f = begin_forged();		\
		change;						\
		end_forged(&f, fd);				\
		CHECK(!lazy_snap_open("snap", &err), #change);	\
		CHECK_EQ(LAZY_E_FORMAT, err.code);		\
		restore(fd);					\
	} while (0)

TEST(forged_headers_are_refused)
{
	int fd = make();

	FORGE(f.header->version = 1);
	CHECK(strstr(err.text, "version 1"), "%s", err.text);
	FORGE(f.header->version = 3);
	FORGE(f.header->chunk_size = 0);
	FORGE(f.header->chunk_size = 8192);
	FORGE(f.header->nr_regions = 0);
	FORGE(f.header->nr_regions = 3);
	FORGE(f.header->nr_regions = 4097);
	FORGE(f.header->nr_regions = ~0);
	FORGE(f.header->nr_sections = 1);
	FORGE(f.header->nr_sections = ~0);
	FORGE(f.header->nr_chunks = 0);
	FORGE(f.header->nr_chunks--);
	FORGE(f.header->nr_chunks++);
	FORGE(f.header->nr_chunks += 512);
	FORGE(f.header->nr_chunks = ~0u);
	FORGE(f.header->nr_chunks = 1ull << 32);
	FORGE(f.header->nr_chunks += 1ull << 52);
	FORGE(f.header->nr_chunks = ~0ull);
	FORGE(f.header->index = 0);
	FORGE(f.header->index = CHUNK);
	FORGE(f.header->index += CHUNK);
	FORGE(f.header->index += 1);
	FORGE(f.header->index = -(uint64_t)CHUNK);
	FORGE(f.header->file_size++);
	FORGE(f.header->file_size = ~0ull);
}

TEST(forged_indexes_are_refused)
{
	int fd = make();

	FORGE(f.regions[0].length = 0);
	FORGE(f.regions[0].length += CHUNK);
	FORGE(f.regions[0].length -= CHUNK);
	FORGE(f.regions[0].length += 1);
	FORGE(f.regions[0].length = -(uint64_t)CHUNK);
	FORGE(f.regions[1].length = LENGTH);
	FORGE(f.regions[1].guest = 1);
	FORGE(f.regions[1].guest = -(uint64_t)CHUNK);
	FORGE(f.sections[0].at = 0);
	FORGE(f.sections[0].at += 1);
	FORGE(f.sections[1].at = f.sections[0].at);
	FORGE(f.sections[0].at = f.header->index + CHUNK);
	FORGE(f.sections[0].at = -(uint64_t)CHUNK);
	FORGE(f.sections[0].length = ~0ull);
	FORGE(f.sections[0].length = f.header->index);
	FORGE(f.sections[0].length = 0);
	FORGE(f.sections[0].crc++);
	FORGE(memset(f.sections[0].name, 'a', LAZY_SNAP_NAME));
	FORGE(f.sections[0].name[0] = 0);
	FORGE(f.sections[0].name[0] = '\n');
}

/* Opened, because nothing can be seen before the table is read. */
static void read_fails(int fd, struct forged *f, const char *reason)
{
	char buf[CHUNK];
	struct lazy_snap *snap;

	end_forged(f, fd);
	snap = open_snapshot("snap");
	CHECK(lazy_snap_read(snap, CHUNK, buf, CHUNK, &err) == -1);
	CHECK(strstr(err.text, reason), "%s", err.text);
	/* The other block is as it was. */
	CHECK(!lazy_snap_read(snap, 513 * CHUNK, buf, CHUNK, &err));
	lazy_snap_close(snap);
	restore(fd);
}

TEST(forged_places_give_no_wrong_byte)
{
	int fd = make();
	uint64_t end = pristine.header.index / CHUNK;
	uint64_t outside[] = { end, end + 1, 1 << 20, 0x7fffffff, ~0u };

	for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++) {
		struct forged f = begin_forged();

		f.chunks[1].at = outside[i];
		read_fails(fd, &f, "outside the file");
		f = begin_forged();
		f.blocks[0].at = outside[i];
		read_fails(fd, &f, "chunk table for memory at 0 ");
	}
	/* The place of another chunk, of a section, of the chunk table. */
	for (uint64_t at = 1; at < end; at++) {
		struct forged f = begin_forged();

		if (f.chunks[1].at == at) {
			free(f.bytes);
			continue;
		}
		f.chunks[1].at = at;
		read_fails(fd, &f, "checksum mismatch in memory at 0x1000");
	}
}

/* A sparse file of 8 TiB with a valid header must not take time or memory. */
TEST_WITHIN(a_huge_sparse_file_is_refused_at_once, 10)
{
	int fd = make();
	struct forged f = begin_forged();
	struct snap_header h = *f.header;

	h.index = 8ull << 40;
	h.nr_chunks = ~0u;
	h.nr_sections = 4096;
	h.nr_regions = 4096;
	h.file_size = h.index + 4096 * 56 + snap_blocks(h.nr_chunks) * 8;
	h.crc = 0;
	h.crc = lazy_crc32c(0, &h, sizeof(h));
	if (ftruncate(fd, h.file_size))
		SKIP("no file of this size: %s", strerror(errno));
	CHECK_EQ(sizeof(h), pwrite(fd, &h, sizeof(h), 0));
	CHECK(!lazy_snap_open("snap", &err));
	CHECK_EQ(LAZY_E_FORMAT, err.code);
	free(f.bytes);
}
