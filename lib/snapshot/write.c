// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Writes snapshots: the data in the order of the calls, then the chunk table,
 * the index, and the header. The file has a temporary name until it is
 * complete.
 *
 * The lock of a writer protects the tables and the end of the file. Checksums
 * are computed and data is written outside of it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "format.h"
#include "newfile.h"

/* Number of chunks that are written at once. */
#define BATCH	64

struct lazy_snap_writer {
	struct newfile file;
	pthread_mutex_t lock;
	struct lazy_error failed;	/* the first failure */
	struct snap_header header;
	uint64_t end;			/* of the data, in chunks */
	uint64_t state;			/* bytes in all sections */
	struct lazy_snap_region *regions;
	struct snap_section *sections;
	struct snap_place *chunks;
};

static const char zeroes[LAZY_SNAP_CHUNK];

/* Passes on the first failure, so that commit cannot succeed after one. */
static int check_failed(struct lazy_snap_writer *w, struct lazy_error *err)
{
	int code;

	pthread_mutex_lock(&w->lock);
	code = w->failed.code;
	if (code && err)
		*err = w->failed;
	pthread_mutex_unlock(&w->lock);
	return code ? -1 : 0;
}

static int fail(struct lazy_snap_writer *w, const struct lazy_error *why,
		struct lazy_error *err)
{
	pthread_mutex_lock(&w->lock);
	if (!w->failed.code)
		w->failed = *why;
	pthread_mutex_unlock(&w->lock);
	if (err)
		*err = *why;
	return -1;
}

static void free_writer(struct lazy_snap_writer *w)
{
	pthread_mutex_destroy(&w->lock);
	free(w->regions);
	free(w->sections);
	free(w->chunks);
	free(w);
}

void lazy_snap_abandon(struct lazy_snap_writer *w)
{
	if (!w)
		return;
	lazy_newfile_abandon(&w->file);
	free_writer(w);
}

static int check_regions(const char *path,
			 const struct lazy_snap_region *regions, size_t nr,
			 uint64_t *length, struct lazy_error *err)
{
	*length = 0;
	if (!nr || nr > LAZY_SNAP_MAX_REGIONS)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "%s: %zu regions of memory, must be 1 to %d",
				      path, nr, LAZY_SNAP_MAX_REGIONS);
	for (size_t i = 0; i < nr; i++) {
		const struct lazy_snap_region *r = &regions[i];

		if (!r->length || r->length % LAZY_SNAP_CHUNK ||
		    r->guest % LAZY_SNAP_CHUNK ||
		    r->guest + r->length < r->guest ||
		    r->length > LAZY_SNAP_MAX_LENGTH - *length)
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "%s: region %zu is empty, unaligned or too long",
					      path, i);
		*length += r->length;
	}
	return 0;
}

struct lazy_snap_writer *
lazy_snap_create(const char *path, const struct lazy_snap_region *regions,
		 size_t nr, struct lazy_error *err)
{
	struct lazy_snap_writer *w;
	uint64_t length;

	if (check_regions(path, regions, nr, &length, err))
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w) {
		lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory", path);
		return NULL;
	}
	pthread_mutex_init(&w->lock, NULL);
	w->header = (struct snap_header) {
		.version = SNAP_VERSION,
		.chunk_size = LAZY_SNAP_CHUNK,
		.nr_regions = nr,
		.nr_chunks = length / LAZY_SNAP_CHUNK,
	};
	memcpy(w->header.magic, SNAP_MAGIC, sizeof(w->header.magic));
	w->end = 1;		/* chunk 0 is the header's */
	w->regions = calloc(nr, sizeof(*w->regions));
	/* Of whole blocks. Pages of it that stay zero take no memory. */
	w->chunks = calloc(snap_blocks(w->header.nr_chunks), LAZY_SNAP_CHUNK);
	if (!w->regions || !w->chunks) {
		lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory", path);
		goto fail;
	}
	memcpy(w->regions, regions, nr * sizeof(*regions));
	if (lazy_newfile_create(&w->file, path, err))
		goto fail;
	return w;
fail:
	free_writer(w);
	return NULL;
}

/* Reserves @nr chunks at the end of the file. Needs the lock. */
static bool extend(struct lazy_snap_writer *w, uint64_t nr, uint64_t *at)
{
	if (nr > SNAP_MAX_CHUNKS - w->end)
		return false;
	*at = w->end;
	w->end += nr;
	return true;
}

/*
 * Gives chunks a place. A chunk that is written again keeps it, unless it was
 * or becomes zero.
 */
static bool place(struct lazy_snap_writer *w, struct snap_place *table,
		  struct snap_place *chunks, const bool *zero, size_t nr)
{
	uint64_t at;
	size_t i;

	pthread_mutex_lock(&w->lock);
	for (i = 0; i < nr; i++) {
		if (zero[i]) {
			at = 0;
			chunks[i].crc = 0;
		} else if (table[i].at) {
			at = table[i].at;
		} else if (!extend(w, 1, &at)) {
			break;
		}
		chunks[i].at = at;
		table[i] = chunks[i];
	}
	pthread_mutex_unlock(&w->lock);
	return i == nr;
}

/* The number of chunks, at most @nr, that are contiguous in the file. */
static size_t run_of(const struct snap_place *chunks, size_t nr)
{
	size_t i = 1;

	while (i < nr && chunks->at && chunks[i].at == chunks->at + i)
		i++;
	return i;
}

static int write_batch(struct lazy_snap_writer *w, uint64_t first,
		       const char *data, size_t nr, struct lazy_error *err)
{
	struct snap_place chunks[BATCH];
	bool zero[BATCH];
	size_t run;

	for (size_t i = 0; i < nr; i++) {
		const char *p = data + i * LAZY_SNAP_CHUNK;

		zero[i] = !memcmp(p, zeroes, LAZY_SNAP_CHUNK);
		if (!zero[i])
			chunks[i].crc = lazy_crc32c(0, p, LAZY_SNAP_CHUNK);
	}
	if (!place(w, w->chunks + first, chunks, zero, nr))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "%s: the snapshot is too long",
				      w->file.path);
	for (size_t i = 0; i < nr; i += run) {
		run = run_of(chunks + i, nr - i);
		if (!zero[i] &&
		    lazy_newfile_write(&w->file, data + i * LAZY_SNAP_CHUNK,
				       run * LAZY_SNAP_CHUNK,
				       (uint64_t)chunks[i].at * LAZY_SNAP_CHUNK,
				       err))
			return -1;
	}
	return 0;
}

int lazy_snap_write(struct lazy_snap_writer *w, uint64_t offset,
		    const void *data, size_t length, struct lazy_error *err)
{
	uint64_t first = offset / LAZY_SNAP_CHUNK;
	size_t left = length / LAZY_SNAP_CHUNK;
	const char *p = data;
	struct lazy_error why;

	if (check_failed(w, err))
		return -1;
	if (offset % LAZY_SNAP_CHUNK || length % LAZY_SNAP_CHUNK ||
	    first > w->header.nr_chunks || left > w->header.nr_chunks - first) {
		lazy_error_set(&why, LAZY_E_ARGUMENT,
			       "%s: no chunks at %#llx", w->file.path,
			       (unsigned long long)offset);
		return fail(w, &why, err);
	}
	while (left) {
		size_t nr = left < BATCH ? left : BATCH;

		if (write_batch(w, first, p, nr, &why))
			return fail(w, &why, err);
		first += nr;
		left -= nr;
		p += nr * LAZY_SNAP_CHUNK;
	}
	return 0;
}

/* Adds the section to the table. Needs the lock. */
static int add_section(struct lazy_snap_writer *w, const char *name,
		       size_t length, uint32_t crc, uint64_t *at,
		       struct lazy_error *err)
{
	uint64_t chunks = length / LAZY_SNAP_CHUNK +
			  !!(length % LAZY_SNAP_CHUNK);
	uint32_t nr = w->header.nr_sections;
	struct snap_section *s;

	if (!snap_valid_name(name))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "%s: invalid name of a section",
				      w->file.path);
	if (nr == LAZY_SNAP_MAX_SECTIONS ||
	    length > LAZY_SNAP_MAX_STATE - w->state)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "%s: cannot add section %s: too many, or too much state",
				      w->file.path, name);
	for (uint32_t i = 0; i < nr; i++)
		if (!strcmp(w->sections[i].name, name))
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "%s: duplicate section %s",
					      w->file.path, name);
	s = realloc(w->sections, (nr + 1) * sizeof(*s));
	if (!s)
		return lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory",
				      w->file.path);
	w->sections = s;
	if (!extend(w, chunks, at))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "%s: the snapshot is too long",
				      w->file.path);
	*at *= LAZY_SNAP_CHUNK;
	s[nr] = (struct snap_section) { .at = *at, .length = length, .crc = crc };
	strcpy(s[nr].name, name);
	w->header.nr_sections++;
	w->state += length;
	return 0;
}

int lazy_snap_write_section(struct lazy_snap_writer *w, const char *name,
			    const void *data, size_t length,
			    struct lazy_error *err)
{
	uint32_t crc = lazy_crc32c(0, data, length);
	struct lazy_error why;
	uint64_t at = 0;
	int ret;

	if (check_failed(w, err))
		return -1;
	pthread_mutex_lock(&w->lock);
	ret = add_section(w, name, length, crc, &at, &why);
	pthread_mutex_unlock(&w->lock);
	if (ret || lazy_newfile_write(&w->file, data, length, at, &why))
		return fail(w, &why, err);
	return 0;
}

/* Writes the blocks of the chunk table that are not zero. */
static int write_blocks(struct lazy_snap_writer *w, struct snap_place *blocks,
			struct lazy_error *err)
{
	uint64_t nr = snap_blocks(w->header.nr_chunks), at;

	for (uint64_t i = 0; i < nr; i++) {
		const void *block = w->chunks + i * SNAP_PER_BLOCK;

		if (!memcmp(block, zeroes, LAZY_SNAP_CHUNK))
			continue;
		if (!extend(w, 1, &at))
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "%s: the snapshot is too long",
					      w->file.path);
		blocks[i].at = at;
		blocks[i].crc = lazy_crc32c(0, block, LAZY_SNAP_CHUNK);
		if (lazy_newfile_write(&w->file, block, LAZY_SNAP_CHUNK,
				       at * LAZY_SNAP_CHUNK, err))
			return -1;
	}
	return 0;
}

/* Appends a table to the index. */
static int append(struct lazy_snap_writer *w, const void *data, size_t len,
		  struct lazy_error *err)
{
	struct snap_header *h = &w->header;

	if (lazy_newfile_write(&w->file, data, len, h->file_size, err))
		return -1;
	h->index_crc = lazy_crc32c(h->index_crc, data, len);
	h->file_size += len;
	return 0;
}

static int write_index(struct lazy_snap_writer *w,
		       const struct snap_place *blocks, struct lazy_error *err)
{
	struct snap_header *h = &w->header;

	h->index = w->end * LAZY_SNAP_CHUNK;
	h->file_size = h->index;
	if (append(w, w->regions, h->nr_regions * sizeof(*w->regions), err) ||
	    append(w, w->sections, h->nr_sections * sizeof(*w->sections), err) ||
	    append(w, blocks, snap_blocks(h->nr_chunks) * sizeof(*blocks), err))
		return -1;
	h->crc = lazy_crc32c(0, h, sizeof(*h));
	return lazy_newfile_write(&w->file, h, sizeof(*h), 0, err);
}

int lazy_snap_commit(struct lazy_snap_writer *w, struct lazy_error *err)
{
	struct snap_place *blocks = NULL;
	int ret = -1;

	if (check_failed(w, err))
		goto fail;
	blocks = calloc(snap_blocks(w->header.nr_chunks), sizeof(*blocks));
	if (!blocks) {
		lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory",
			       w->file.path);
		goto fail;
	}
	if (write_blocks(w, blocks, err) || write_index(w, blocks, err))
		goto fail;
	ret = lazy_newfile_commit(&w->file, err);
	free(blocks);
	free_writer(w);
	return ret;
fail:
	free(blocks);
	lazy_snap_abandon(w);
	return ret;
}
