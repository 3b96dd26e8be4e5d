// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Opens snapshots: header, index and sections. The file is untrusted: each
 * number is checked against the size of the file before it is used, and each
 * byte against its checksum.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "snap.h"

#define CACHE_SIZE	(SNAP_SLOTS * LAZY_SNAP_CHUNK)

static int read_header(struct lazy_snap *snap, const char *path,
		       struct lazy_error *err)
{
	struct snap_header *h = &snap->header, copy;
	struct stat st;

	if (fstat(snap->fd, &st))
		return lazy_error_set(err, LAZY_E_SYSTEM, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: not a regular file", path);
	if ((uint64_t)st.st_size < sizeof(*h))
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: too short for a snapshot", path);
	if (lazy_snap_pread(snap->fd, h, sizeof(*h), 0))
		return lazy_error_set(err, LAZY_E_SOURCE,
				      "%s: cannot read the header: %m", path);
	if (memcmp(h->magic, SNAP_MAGIC, sizeof(h->magic)))
		return lazy_error_set(err, LAZY_E_FORMAT, "%s: not a snapshot",
				      path);
	if (h->version != SNAP_VERSION)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: snapshot of version %u, only version %u is supported",
				      path, h->version, SNAP_VERSION);
	copy = *h;
	copy.crc = 0;
	if (lazy_crc32c(0, &copy, sizeof(copy)) != h->crc)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: checksum mismatch in the header",
				      path);
	if ((uint64_t)st.st_size != h->file_size)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: %s: %llu bytes instead of %llu",
				      path,
				      (uint64_t)st.st_size < h->file_size ?
				      "truncated" : "too long",
				      (unsigned long long)st.st_size,
				      (unsigned long long)h->file_size);
	return 0;
}

static int read_index(struct lazy_snap *snap, const char *path,
		      struct lazy_error *err)
{
	const struct snap_header *h = &snap->header;
	uint64_t regions, sections, blocks, len;

	if (h->chunk_size != LAZY_SNAP_CHUNK || !h->nr_regions ||
	    h->nr_regions > LAZY_SNAP_MAX_REGIONS ||
	    h->nr_sections > LAZY_SNAP_MAX_SECTIONS ||
	    !h->nr_chunks || h->nr_chunks > SNAP_MAX_CHUNKS ||
	    h->index < LAZY_SNAP_CHUNK || h->index % LAZY_SNAP_CHUNK ||
	    h->index / LAZY_SNAP_CHUNK > SNAP_MAX_CHUNKS ||
	    h->index > h->file_size)
		return lazy_error_set(err, LAZY_E_FORMAT, "%s: invalid header",
				      path);
	regions = h->nr_regions * sizeof(*snap->regions);
	sections = h->nr_sections * sizeof(*snap->sections);
	blocks = snap_blocks(h->nr_chunks) * sizeof(*snap->blocks);
	len = regions + sections + blocks;
	if (len != h->file_size - h->index)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: the size of the index does not match the header",
				      path);
	snap->index = malloc(len);
	if (!snap->index)
		return lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory",
				      path);
	if (lazy_snap_pread(snap->fd, snap->index, len, h->index))
		return lazy_error_set(err, LAZY_E_SOURCE,
				      "%s: cannot read the index: %m", path);
	if (lazy_crc32c(0, snap->index, len) != h->index_crc)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: checksum mismatch in the index",
				      path);
	snap->regions = snap->index;
	snap->sections = (const void *)((char *)snap->index + regions);
	snap->blocks = (const void *)((char *)snap->sections + sections);
	return 0;
}

static int check_regions(const struct lazy_snap *snap, const char *path,
			 struct lazy_error *err)
{
	uint64_t left = snap->header.nr_chunks * LAZY_SNAP_CHUNK;

	for (uint32_t i = 0; i < snap->header.nr_regions; i++) {
		const struct lazy_snap_region *r = &snap->regions[i];

		if (!r->length || r->length % LAZY_SNAP_CHUNK ||
		    r->guest % LAZY_SNAP_CHUNK ||
		    r->guest + r->length < r->guest || r->length > left)
			return lazy_error_set(err, LAZY_E_FORMAT,
					      "%s: region %u is invalid",
					      path, i);
		left -= r->length;
	}
	if (left)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: the regions are too short", path);
	return 0;
}

/* Reads all of a section, in parts, into @buf or only to check it. */
static int read_section(const struct lazy_snap *snap,
			const struct snap_section *s, char *buf,
			struct lazy_error *err)
{
	char part[16 * LAZY_SNAP_CHUNK];
	uint32_t crc = 0;
	size_t n;

	for (uint64_t done = 0; done < s->length; done += n) {
		char *to = buf ? buf + done : part;

		n = s->length - done < sizeof(part) ? s->length - done :
						      sizeof(part);
		if (lazy_snap_pread(snap->fd, to, n, s->at + done))
			return lazy_error_set(err, LAZY_E_SOURCE,
					      "cannot read section %s: %m",
					      s->name);
		crc = lazy_crc32c(crc, to, n);
	}
	if (crc != s->crc)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "checksum mismatch in section %s",
				      s->name);
	return 0;
}

static int check_sections(const struct lazy_snap *snap, const char *path,
			  struct lazy_error *err)
{
	const struct snap_header *h = &snap->header;
	uint64_t end = LAZY_SNAP_CHUNK, state = LAZY_SNAP_MAX_STATE;
	struct lazy_error why;

	for (uint32_t i = 0; i < h->nr_sections; i++) {
		const struct snap_section *s = &snap->sections[i];

		if (!snap_valid_name(s->name) ||
		    s->at < end || s->at % LAZY_SNAP_CHUNK ||
		    s->at > h->index || s->length > h->index - s->at ||
		    s->length > state)
			return lazy_error_set(err, LAZY_E_FORMAT,
					      "%s: section %u is invalid",
					      path, i);
		if (read_section(snap, s, NULL, &why))
			return lazy_error_set(err, why.code, "%s: %s", path,
					      why.text);
		end = s->at + s->length;
		state -= s->length;
	}
	return 0;
}

static int make_cache(struct lazy_snap *snap, const char *path,
		      struct lazy_error *err)
{
	void *cache = mmap(NULL, CACHE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (cache != MAP_FAILED)
		snap->cache = cache;
	snap->slots = calloc(SNAP_SLOTS, sizeof(*snap->slots));
	if (!snap->cache || !snap->slots)
		return lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory",
				      path);
	for (size_t i = 0; i < SNAP_SLOTS; i++)
		pthread_mutex_init(&snap->slots[i].lock, NULL);
	return 0;
}

struct lazy_snap *lazy_snap_open(const char *path, struct lazy_error *err)
{
	struct lazy_snap *snap = calloc(1, sizeof(*snap));

	if (!snap) {
		lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory", path);
		return NULL;
	}
	/* A FIFO must not block until it is written to. */
	snap->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (snap->fd < 0)
		lazy_error_set(err, LAZY_E_SYSTEM, "%s: %m", path);
	else if (!read_header(snap, path, err) &&
		 !read_index(snap, path, err) &&
		 !check_regions(snap, path, err) &&
		 !check_sections(snap, path, err) &&
		 !make_cache(snap, path, err))
		return snap;
	lazy_snap_close(snap);
	return NULL;
}

void lazy_snap_close(struct lazy_snap *snap)
{
	if (!snap)
		return;
	if (snap->fd >= 0)
		close(snap->fd);
	if (snap->cache)
		munmap(snap->cache, CACHE_SIZE);
	free(snap->slots);
	free(snap->index);
	free(snap);
}

uint64_t lazy_snap_length(const struct lazy_snap *snap)
{
	return snap->header.nr_chunks * LAZY_SNAP_CHUNK;
}

const struct lazy_snap_region *lazy_snap_regions(const struct lazy_snap *snap,
						 size_t *nr)
{
	*nr = snap->header.nr_regions;
	return snap->regions;
}

static const struct snap_section *find_section(const struct lazy_snap *snap,
					       const char *name,
					       struct lazy_error *err)
{
	for (uint32_t i = 0; i < snap->header.nr_sections; i++)
		if (!strcmp(snap->sections[i].name, name))
			return &snap->sections[i];
	lazy_error_set(err, LAZY_E_ARGUMENT, "the snapshot has no section %s",
		       name);
	return NULL;
}

int lazy_snap_section(const struct lazy_snap *snap, const char *name,
		      uint64_t *length, struct lazy_error *err)
{
	const struct snap_section *s = find_section(snap, name, err);

	if (!s)
		return -1;
	*length = s->length;
	return 0;
}

int lazy_snap_read_section(const struct lazy_snap *snap, const char *name,
			   void *buf, size_t length, struct lazy_error *err)
{
	const struct snap_section *s = find_section(snap, name, err);

	if (!s)
		return -1;
	if (s->length != length)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "section %s has %llu bytes, not %zu",
				      name, (unsigned long long)s->length,
				      length);
	return read_section(snap, s, buf, err);
}
