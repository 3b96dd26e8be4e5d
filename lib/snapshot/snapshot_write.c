// SPDX-License-Identifier: GPL-2.0
/*
 * Writes snapshots: first the data, in the order of the calls, then the tables,
 * then the header. The file has a temporary name until it is complete.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"
#include "snapshot.h"

struct snap_writer {
	struct snap_header header;
	struct snap_region *regions;
	struct snap_section *sections;
	struct snap_chunk *chunks;
	uint64_t end;			/* of the data written so far */
	char *path, *temporary;
	int fd;
};

static const char zeroes[SNAP_CHUNK];

static int write_at(struct snap_writer *w, const void *data, size_t len,
		    uint64_t where, struct reason *reason)
{
	while (len) {
		ssize_t n = pwrite(w->fd, data, len, where);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return because(reason, "%s: cannot write: %m", w->path);
		data = (const char *)data + n;
		len -= n;
		where += n;
	}
	return 0;
}

static void free_writer(struct snap_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->regions);
	free(w->sections);
	free(w->chunks);
	free(w->path);
	free(w->temporary);
	free(w);
}

void snap_abandon(struct snap_writer *w)
{
	if (w->fd >= 0)
		unlink(w->temporary);
	free_writer(w);
}

static int prepare(struct snap_writer *w, const char *path,
		   const struct snap_region *regions, size_t nr,
		   struct reason *reason)
{
	uint64_t len = 0;

	if (!nr || nr > SNAP_MAX_TABLE)
		return because(reason, "%s: %zu regions of memory, must be 1 to %d",
			       path, nr, SNAP_MAX_TABLE);
	for (size_t i = 0; i < nr; i++) {
		if (!regions[i].len || regions[i].len % SNAP_CHUNK ||
		    regions[i].guest % SNAP_CHUNK)
			return because(reason, "%s: region %zu is not a multiple of the chunk size",
				       path, i);
		len += regions[i].len;
	}
	w->header = (struct snap_header) {
		.version = SNAP_VERSION,
		.chunk_size = SNAP_CHUNK,
		.nr_regions = nr,
		.nr_chunks = len / SNAP_CHUNK,
	};
	memcpy(w->header.magic, SNAP_MAGIC, sizeof(w->header.magic));
	w->end = SNAP_CHUNK;
	w->regions = calloc(nr, sizeof(*w->regions));
	w->chunks = calloc(w->header.nr_chunks, sizeof(*w->chunks));
	w->path = strdup(path);
	if (!w->regions || !w->chunks || !w->path ||
	    asprintf(&w->temporary, "%s.%d.part", path, getpid()) < 0)
		return because(reason, "%s: %m", path);
	memcpy(w->regions, regions, nr * sizeof(*regions));
	w->fd = open(w->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (w->fd < 0)
		return because(reason, "%s: %m", path);
	return 0;
}

struct snap_writer *snap_create(const char *path,
				const struct snap_region *regions, size_t nr,
				struct reason *reason)
{
	struct snap_writer *w = calloc(1, sizeof(*w));

	if (!w) {
		because(reason, "%s: %m", path);
		return NULL;
	}
	w->fd = -1;
	if (prepare(w, path, regions, nr, reason)) {
		free_writer(w);
		return NULL;
	}
	return w;
}

int snap_write_memory(struct snap_writer *w, uint64_t offset,
		      const void *data, size_t len, struct reason *reason)
{
	uint64_t i = offset / SNAP_CHUNK;
	const char *p = data;

	if (offset % SNAP_CHUNK || len % SNAP_CHUNK ||
	    i > w->header.nr_chunks ||
	    len / SNAP_CHUNK > w->header.nr_chunks - i)
		return because(reason, "%s: no chunks at %#llx", w->path,
			       (unsigned long long)offset);
	for (; len; i++, p += SNAP_CHUNK, len -= SNAP_CHUNK) {
		struct snap_chunk *chunk = &w->chunks[i];

		if (!memcmp(p, zeroes, SNAP_CHUNK)) {
			*chunk = (struct snap_chunk) {};
			continue;
		}
		/* A chunk that is written again keeps its place. */
		if (!chunk->where) {
			chunk->where = w->end;
			w->end += SNAP_CHUNK;
		}
		chunk->crc = crc32c(p, SNAP_CHUNK);
		if (write_at(w, p, SNAP_CHUNK, chunk->where, reason))
			return -1;
	}
	return 0;
}

int snap_write_section(struct snap_writer *w, const char *name,
		       const void *data, size_t len, struct reason *reason)
{
	uint32_t nr = w->header.nr_sections;
	struct snap_section *s;

	if (nr == SNAP_MAX_TABLE || strlen(name) >= SNAP_NAME)
		return because(reason, "%s: cannot add section %s: name too long or table full",
			       w->path, name);
	for (uint32_t i = 0; i < nr; i++)
		if (!strcmp(w->sections[i].name, name))
			return because(reason, "%s: duplicate section %s", w->path,
				       name);
	s = realloc(w->sections, (nr + 1) * sizeof(*s));
	if (!s)
		return because(reason, "%s: %m", w->path);
	w->sections = s;
	s[nr] = (struct snap_section) {
		.where = w->end,
		.len = len,
		.crc = crc32c(data, len),
	};
	strcpy(s[nr].name, name);
	if (write_at(w, data, len, w->end, reason))
		return -1;
	/* Keep chunks aligned. */
	w->end += (len + SNAP_CHUNK - 1) / SNAP_CHUNK * SNAP_CHUNK;
	w->header.nr_sections++;
	return 0;
}

static int write_tables(struct snap_writer *w, struct reason *reason)
{
	struct snap_header *h = &w->header;
	size_t regions = h->nr_regions * sizeof(*w->regions);
	size_t sections = h->nr_sections * sizeof(*w->sections);
	size_t chunks = h->nr_chunks * sizeof(*w->chunks);
	size_t len = regions + sections + chunks;
	char *tables = malloc(len);
	int ret;

	if (!tables)
		return because(reason, "%s: %m", w->path);
	memcpy(tables, w->regions, regions);
	if (sections)
		memcpy(tables + regions, w->sections, sections);
	memcpy(tables + regions + sections, w->chunks, chunks);
	h->tables = w->end;
	h->file_size = w->end + len;
	h->tables_crc = crc32c(tables, len);
	h->crc = 0;
	h->crc = crc32c(h, sizeof(*h));
	ret = write_at(w, tables, len, h->tables, reason);
	free(tables);
	return ret ?: write_at(w, h, sizeof(*h), 0, reason);
}

int snap_commit(struct snap_writer *w, struct reason *reason)
{
	if (write_tables(w, reason))
		goto fail;
	if (fsync(w->fd) || rename(w->temporary, w->path)) {
		because(reason, "%s: %m", w->path);
		goto fail;
	}
	free_writer(w);
	return 0;
fail:
	snap_abandon(w);
	return -1;
}
