// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Snapshot files. All checksums are computed as zero here, which is their value
 * in the corpus: the fuzzer gets behind them, as a forged file does.
 *
 * Input: a header, and what follows at the offset of one chunk.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include <lazyrestore/snapshot.h>

#include "fuzz.h"
#include "snapshot/format.h"

#define PART	(64 * LAZY_SNAP_CHUNK)

uint32_t __wrap_lazy_crc32c(uint32_t crc, const void *data, size_t len);

uint32_t __wrap_lazy_crc32c(uint32_t crc, const void *data, size_t len)
{
	const volatile char *at = data;

	/* All of it has to be readable. */
	for (size_t i = 0; i < len; i += 16)
		(void)at[i];
	if (len)
		(void)at[len - 1];
	return crc & 0;
}

/* A file of the input. */
static int make_file(const uint8_t *data, size_t size, char *path)
{
	const size_t head = sizeof(struct snap_header);
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	size_t first = size < head ? size : head;

	ASSERT(fd >= 0);
	ASSERT(pwrite(fd, data, first, 0) == (ssize_t)first);
	if (size > head)
		ASSERT(pwrite(fd, data + head, size - head, LAZY_SNAP_CHUNK) ==
		       (ssize_t)(size - head));
	sprintf(path, "/proc/self/fd/%d", fd);
	return fd;
}

static void read_memory(struct lazy_snap *snap)
{
	uint64_t length = lazy_snap_length(snap), n;
	char *buf = malloc(PART);
	struct lazy_error error;

	ASSERT(length && length % LAZY_SNAP_CHUNK == 0);
	n = length < PART ? length : PART;
	ASSERT(lazy_snap_zeros(snap, 0, length) <= length);
	ASSERT(lazy_snap_zeros(snap, length - n, n) <= n);
	lazy_snap_read(snap, 0, buf, n, &error);
	lazy_snap_read(snap, length - n, buf, n, &error);
	ASSERT(lazy_snap_read(snap, length, buf, LAZY_SNAP_CHUNK, &error));
	free(buf);
}

static void read_sections(struct lazy_snap *snap)
{
	static const char *const names[] = { "a", "one", "" };
	struct lazy_error error;
	uint64_t length;
	char *buf;

	for (size_t i = 0; i < 3; i++) {
		if (lazy_snap_section(snap, names[i], &length, &error))
			continue;
		ASSERT(length < 1 << 20);
		buf = malloc(length + 1);
		lazy_snap_read_section(snap, names[i], buf, length, &error);
		ASSERT(lazy_snap_read_section(snap, names[i], buf, length + 1,
					      &error));
		free(buf);
	}
}

static void check_regions(const struct lazy_snap *snap)
{
	const struct lazy_snap_region *regions;
	uint64_t sum = 0;
	size_t nr;

	regions = lazy_snap_regions(snap, &nr);
	for (size_t i = 0; i < nr; i++)
		sum += regions[i].length;
	ASSERT(sum == lazy_snap_length(snap));
}

FUZZ(data, size)
{
	struct lazy_error error = {};
	struct lazy_snap *snap;
	char path[64];
	int fd = make_file(data, size, path);

	snap = lazy_snap_open(path, &error);
	if (snap) {
		check_regions(snap);
		read_memory(snap);
		read_sections(snap);
		if (lazy_snap_length(snap) <= 1 << 24)
			lazy_snap_verify(snap, &error);
	} else {
		ASSERT(error.code && *error.text);
	}
	lazy_snap_close(snap);
	close(fd);
}
