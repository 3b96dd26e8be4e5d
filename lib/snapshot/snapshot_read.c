// SPDX-License-Identifier: GPL-2.0
/*
 * Reads snapshots. The file is untrusted: each number is checked against the
 * file size before it is used, and each byte against its checksum.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "snapshot.h"

/* Returns the number of bytes read, which is less than @len at EOF, or -1. */
static ssize_t read_at(int fd, void *buf, size_t len, uint64_t where)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  where + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += n;
	}
	return done;
}

static int read_header(struct snapshot *snap, struct reason *reason)
{
	struct snap_header *h = &snap->header, copy;
	struct stat st;
	ssize_t n;

	if (fstat(snap->fd, &st))
		return because(reason, "%m");
	if (!S_ISREG(st.st_mode))
		return because(reason, "not a regular file");
	n = read_at(snap->fd, h, sizeof(*h), 0);
	if (n < 0)
		return because(reason, "%m");
	if (n < (ssize_t)sizeof(h->magic) ||
	    memcmp(h->magic, SNAP_MAGIC, sizeof(h->magic)))
		return because(reason, "not a snapshot");
	if (n < (ssize_t)sizeof(*h))
		return because(reason, "truncated within the header");
	if (h->version != SNAP_VERSION)
		return because(reason, "unsupported version %u (expected %u)",
			       h->version, SNAP_VERSION);
	copy = *h;
	copy.crc = 0;
	if (crc32c(&copy, sizeof(copy)) != h->crc)
		return because(reason, "checksum mismatch in the header");
	if ((uint64_t)st.st_size < h->file_size)
		return because(reason, "truncated: %llu of %llu bytes",
			       (unsigned long long)st.st_size,
			       (unsigned long long)h->file_size);
	if ((uint64_t)st.st_size > h->file_size)
		return because(reason, "%llu bytes too long",
			       (unsigned long long)st.st_size -
			       (unsigned long long)h->file_size);
	return 0;
}

static int read_tables(struct snapshot *snap, struct reason *reason)
{
	const struct snap_header *h = &snap->header;
	uint64_t regions, sections, chunks, len;

	if (h->chunk_size != SNAP_CHUNK || !h->nr_regions ||
	    h->nr_regions > SNAP_MAX_TABLE || h->nr_sections > SNAP_MAX_TABLE ||
	    h->tables > h->file_size ||
	    h->nr_chunks > h->file_size / sizeof(*snap->chunks))
		return because(reason, "invalid header");
	regions = h->nr_regions * sizeof(*snap->regions);
	sections = h->nr_sections * sizeof(*snap->sections);
	chunks = h->nr_chunks * sizeof(*snap->chunks);
	len = regions + sections + chunks;
	if (len != h->file_size - h->tables)
		return because(reason, "size of the tables does not match the header");
	snap->tables = malloc(len);
	if (!snap->tables)
		return because(reason, "%m");
	if (read_at(snap->fd, snap->tables, len, h->tables) != (ssize_t)len)
		return because(reason, "cannot read the tables: %m");
	if (crc32c(snap->tables, len) != h->tables_crc)
		return because(reason, "checksum mismatch in the tables");
	snap->regions = snap->tables;
	snap->sections = (const void *)((char *)snap->tables + regions);
	snap->chunks = (const void *)((char *)snap->sections + sections);
	return 0;
}

static bool inside(const struct snap_header *h, uint64_t where, uint64_t len)
{
	return where >= sizeof(*h) && where <= h->tables &&
	       len <= h->tables - where;
}

static int check_tables(struct snapshot *snap, struct reason *reason)
{
	const struct snap_header *h = &snap->header;
	uint64_t memory = h->nr_chunks * SNAP_CHUNK;

	for (uint32_t i = 0; i < h->nr_regions; i++) {
		const struct snap_region *r = &snap->regions[i];

		if (!r->len || r->len % SNAP_CHUNK || r->guest % SNAP_CHUNK ||
		    r->guest + r->len < r->guest || r->len > memory - snap->len)
			return because(reason, "region %u is invalid", i);
		snap->len += r->len;
	}
	if (snap->len != memory)
		return because(reason, "%llu chunks for %llu bytes of memory",
			       (unsigned long long)h->nr_chunks,
			       (unsigned long long)snap->len);
	for (uint64_t i = 0; i < h->nr_chunks; i++)
		if (snap->chunks[i].where &&
		    !inside(h, snap->chunks[i].where, SNAP_CHUNK))
			return because(reason, "chunk %llu is outside the file",
				       (unsigned long long)i);
	return 0;
}

static int check_sections(struct snapshot *snap, struct reason *reason)
{
	for (uint32_t i = 0; i < snap->header.nr_sections; i++) {
		const struct snap_section *s = &snap->sections[i];
		void *data;
		bool good;

		if (memchr(s->name, '\0', SNAP_NAME) == NULL ||
		    !inside(&snap->header, s->where, s->len))
			return because(reason, "section %u is outside the file",
				       i);
		data = malloc(s->len ?: 1);
		if (!data)
			return because(reason, "section %s: %m", s->name);
		good = read_at(snap->fd, data, s->len, s->where) ==
		       (ssize_t)s->len && crc32c(data, s->len) == s->crc;
		free(data);
		if (!good)
			return because(reason, "checksum mismatch in section %s",
				       s->name);
	}
	return 0;
}

struct snapshot *snap_open(const char *path, struct reason *reason)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));
	struct reason why;

	if (!snap) {
		because(reason, "%s: %m", path);
		return NULL;
	}
	snap->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (snap->fd < 0) {
		because(reason, "%s: %m", path);
	} else if (read_header(snap, &why) || read_tables(snap, &why) ||
		   check_tables(snap, &why) || check_sections(snap, &why)) {
		because(reason, "%s: %s", path, why.text);
	} else {
		return snap;
	}
	snap_close(snap);
	return NULL;
}

void snap_close(struct snapshot *snap)
{
	if (!snap)
		return;
	if (snap->fd >= 0)
		close(snap->fd);
	free(snap->tables);
	free(snap);
}

static bool in_memory(const struct snapshot *snap, uint64_t offset, size_t len)
{
	return !(offset % SNAP_CHUNK) && !(len % SNAP_CHUNK) &&
	       offset <= snap->len && len <= snap->len - offset;
}

/*
 * The number of chunks from @chunk on, at most @nr, that are contiguous in the
 * file, or all zero.
 */
static size_t run_of(const struct snap_chunk *chunk, size_t nr)
{
	size_t i;

	for (i = 1; i < nr; i++)
		if (chunk[i].where != (chunk->where ? chunk->where +
				       i * SNAP_CHUNK : 0))
			break;
	return i;
}

int snap_read(const struct snapshot *snap, uint64_t offset, void *buf,
	      size_t len, struct reason *reason)
{
	const struct snap_chunk *chunk = snap->chunks + offset / SNAP_CHUNK;
	char *p = buf;
	size_t run;

	if (!in_memory(snap, offset, len))
		return because(reason, "the snapshot has no memory at %#llx",
			       (unsigned long long)offset);
	for (; len; len -= run * SNAP_CHUNK, chunk += run) {
		run = run_of(chunk, len / SNAP_CHUNK);
		if (!chunk->where) {
			memset(p, 0, run * SNAP_CHUNK);
			p += run * SNAP_CHUNK;
			continue;
		}
		/* If the file has shrunk, pread() does not set errno. */
		errno = ENODATA;
		if (read_at(snap->fd, p, run * SNAP_CHUNK, chunk->where) !=
		    (ssize_t)(run * SNAP_CHUNK))
			return because(reason, "cannot read memory at %#llx of the snapshot: %m",
				       (unsigned long long)(chunk - snap->chunks) *
				       SNAP_CHUNK);
		for (size_t i = 0; i < run; i++, p += SNAP_CHUNK)
			if (crc32c(p, SNAP_CHUNK) != chunk[i].crc)
				return because(reason, "checksum mismatch in memory at %#llx of the snapshot",
					       (unsigned long long)
					       (chunk + i - snap->chunks) *
					       SNAP_CHUNK);
	}
	return 0;
}

bool snap_is_zero(const struct snapshot *snap, uint64_t offset, size_t len)
{
	if (!in_memory(snap, offset, len))
		return false;
	for (uint64_t i = offset / SNAP_CHUNK;
	     i < (offset + len) / SNAP_CHUNK; i++)
		if (snap->chunks[i].where)
			return false;
	return true;
}

int snap_verify(const struct snapshot *snap, struct reason *reason)
{
	char chunk[SNAP_CHUNK];

	for (uint64_t i = 0; i < snap->header.nr_chunks; i++)
		if (snap->chunks[i].where &&
		    snap_read(snap, i * SNAP_CHUNK, chunk, SNAP_CHUNK, reason))
			return -1;
	return 0;
}

const struct snap_section *snap_section(const struct snapshot *snap,
					const char *name)
{
	for (uint32_t i = 0; i < snap->header.nr_sections; i++)
		if (!strcmp(snap->sections[i].name, name))
			return &snap->sections[i];
	return NULL;
}

int snap_read_section(const struct snapshot *snap, const char *name,
		      void *buf, size_t len, struct reason *reason)
{
	const struct snap_section *s = snap_section(snap, name);

	if (!s)
		return because(reason, "the snapshot has no section %s", name);
	if (s->len != len)
		return because(reason, "section %s has %llu bytes (expected %zu)",
			       name, (unsigned long long)s->len, len);
	if (read_at(snap->fd, buf, len, s->where) != (ssize_t)len ||
	    crc32c(buf, len) != s->crc)
		return because(reason, "section %s changed while being read",
			       name);
	return 0;
}
