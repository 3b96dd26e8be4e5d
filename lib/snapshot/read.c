// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Reads the memory of snapshots. The file is untrusted, and may change at any
 * time: bytes are checked in memory of this process, never in a mapping of the
 * file, which could change after the check and raises SIGBUS if the file is
 * truncated. The blocks of the chunk table that are in use are in a cache of
 * each process; what processes share is the page cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"
#include "snap.h"

/* Chunks that are read at once, so that they are checked in the CPU's cache. */
#define RUN	64

int lazy_snap_pread(int fd, void *buf, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (!n)
			errno = ENODATA;
		if (n <= 0)
			return -1;
		buf = (char *)buf + n;
		len -= n;
		at += n;
	}
	return 0;
}

/*
 * Reads and checks @nr chunks of the file that are contiguous and not zero.
 * @what and @chunk, the number of the first, are for messages.
 */
static int read_chunks(const struct lazy_snap *snap,
		       const struct snap_place *places, size_t nr, char *buf,
		       const char *what, uint64_t chunk, struct lazy_error *err)
{
	unsigned long long offset = chunk * LAZY_SNAP_CHUNK;

	if (places->at + nr > snap->header.index / LAZY_SNAP_CHUNK)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s at %#llx of the snapshot is outside the file",
				      what, offset);
	if (lazy_snap_pread(snap->fd, buf, nr * LAZY_SNAP_CHUNK,
			    (uint64_t)places->at * LAZY_SNAP_CHUNK))
		return lazy_error_set(err, LAZY_E_SOURCE,
				      "cannot read %s at %#llx of the snapshot: %m",
				      what, offset);
	for (size_t i = 0; i < nr; i++)
		if (lazy_crc32c(0, buf + i * LAZY_SNAP_CHUNK,
				LAZY_SNAP_CHUNK) != places[i].crc)
			return lazy_error_set(err, LAZY_E_FORMAT,
					      "checksum mismatch in %s at %#llx of the snapshot",
					      what,
					      offset + i * LAZY_SNAP_CHUNK);
	return 0;
}

/* The number of chunks from @chunk to the end of its block, at most @nr. */
static size_t within_block(uint64_t chunk, uint64_t nr)
{
	uint64_t left = SNAP_PER_BLOCK - chunk % SNAP_PER_BLOCK;

	return left < nr ? left : nr;
}

/* Copies the places of @nr chunks of one block, through the cache. */
static int get_places(struct lazy_snap *snap, uint64_t chunk, size_t nr,
		      struct snap_place *places, struct lazy_error *err)
{
	uint64_t block = chunk / SNAP_PER_BLOCK;
	struct snap_slot *slot = &snap->slots[block % SNAP_SLOTS];
	struct snap_place *cached = snap->cache[block % SNAP_SLOTS];
	int ret = 0;

	if (!snap->blocks[block].at) {
		memset(places, 0, nr * sizeof(*places));
		return 0;
	}
	pthread_mutex_lock(&slot->lock);
	if (slot->block != block + 1) {
		ret = read_chunks(snap, &snap->blocks[block], 1, (char *)cached,
				  "the chunk table for memory",
				  block * SNAP_PER_BLOCK, err);
		slot->block = ret ? 0 : block + 1;
	}
	if (!ret)
		memcpy(places, cached + chunk % SNAP_PER_BLOCK,
		       nr * sizeof(*places));
	pthread_mutex_unlock(&slot->lock);
	return ret;
}

/* The number of chunks, at most @nr, that are contiguous, or all zero. */
static size_t run_of(const struct snap_place *places, size_t nr)
{
	size_t i = 1;

	if (!places->at)
		while (i < nr && !places[i].at)
			i++;
	else
		while (i < nr && i < RUN && places[i].at == places->at + i)
			i++;
	return i;
}

static int read_places(const struct lazy_snap *snap, uint64_t chunk,
		       const struct snap_place *places, size_t nr, char *buf,
		       struct lazy_error *err)
{
	size_t run;

	for (size_t i = 0; i < nr; i += run) {
		char *to = buf + i * LAZY_SNAP_CHUNK;

		run = run_of(places + i, nr - i);
		if (!places[i].at)
			memset(to, 0, run * LAZY_SNAP_CHUNK);
		else if (read_chunks(snap, places + i, run, to, "memory",
				     chunk + i, err))
			return -1;
	}
	return 0;
}

int lazy_snap_read(struct lazy_snap *snap, uint64_t offset, void *buf,
		   size_t length, struct lazy_error *err)
{
	struct snap_place places[SNAP_PER_BLOCK];
	uint64_t chunk = offset / LAZY_SNAP_CHUNK;
	size_t left = length / LAZY_SNAP_CHUNK, nr;
	char *p = buf;

	if (offset % LAZY_SNAP_CHUNK || length % LAZY_SNAP_CHUNK ||
	    chunk > snap->header.nr_chunks ||
	    left > snap->header.nr_chunks - chunk)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "the snapshot has no %zu bytes of memory at %#llx",
				      length, (unsigned long long)offset);
	for (; left; left -= nr) {
		nr = within_block(chunk, left);
		if (get_places(snap, chunk, nr, places, err) ||
		    read_places(snap, chunk, places, nr, p, err))
			return -1;
		chunk += nr;
		p += nr * LAZY_SNAP_CHUNK;
	}
	return 0;
}

uint64_t lazy_snap_zeros(struct lazy_snap *snap, uint64_t offset,
			 uint64_t length)
{
	struct snap_place places[SNAP_PER_BLOCK];
	uint64_t first = offset / LAZY_SNAP_CHUNK, chunk = first, left;
	size_t nr, run;

	if (offset % LAZY_SNAP_CHUNK || first >= snap->header.nr_chunks)
		return 0;
	left = length / LAZY_SNAP_CHUNK;
	if (left > snap->header.nr_chunks - first)
		left = snap->header.nr_chunks - first;
	for (; left; left -= nr) {
		nr = within_block(chunk, left);
		if (snap->blocks[chunk / SNAP_PER_BLOCK].at) {
			if (get_places(snap, chunk, nr, places, NULL) ||
			    places->at)
				break;
			run = run_of(places, nr);
			if (run < nr) {
				chunk += run;
				break;
			}
		}
		chunk += nr;
	}
	return (chunk - first) * LAZY_SNAP_CHUNK;
}

int lazy_snap_verify(struct lazy_snap *snap, struct lazy_error *err)
{
	const uint64_t length = lazy_snap_length(snap);
	const size_t most = RUN * LAZY_SNAP_CHUNK;
	uint64_t at = 0;
	char *buf = malloc(most);
	int ret = 0;

	if (!buf)
		return lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
	while (!ret && at < length) {
		uint64_t zeros = lazy_snap_zeros(snap, at, length - at);
		size_t n = length - at < most ? length - at : most;

		if (!zeros)
			ret = lazy_snap_read(snap, at, buf, n, err);
		at += zeros ? zeros : n;
	}
	free(buf);
	return ret;
}

static int source_read(void *arg, uint64_t offset, void *buf, size_t len,
		       struct lazy_error *err)
{
	return lazy_snap_read(arg, offset, buf, len, err);
}

static uint64_t source_zeros(void *arg, uint64_t offset, uint64_t len)
{
	return lazy_snap_zeros(arg, offset, len);
}

void lazy_snap_source(struct lazy_snap *snap, struct lazy_source *source)
{
	source->arg = snap;
	source->length = lazy_snap_length(snap);
	source->read = source_read;
	source->zeros = source_zeros;
	source->map = NULL;
}
