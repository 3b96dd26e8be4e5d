/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The snapshot of the tests: two regions of memory, two blocks of the chunk
 * table, two sections.
 */
#ifndef LAZY_TEST_SNAPFILE_H
#define LAZY_TEST_SNAPFILE_H

#include <stdbool.h>

#include <lazyrestore/snapshot.h>

#include "ktap.h"

#define CHUNK	LAZY_SNAP_CHUNK
#define CHUNKS	522
#define LENGTH	(CHUNKS * CHUNK)

static const struct lazy_snap_region regions[] = {
	{ 0, 512 * CHUNK }, { 1 << 30, 10 * CHUNK },
};

static char memory[LENGTH];
static struct lazy_error err;

static bool is_zero(size_t chunk)
{
	return chunk < 505 && chunk % 13 != 1;
}

static void fill_memory(void)
{
	srandom(1);
	for (size_t i = 0; i < LENGTH; i++)
		memory[i] = is_zero(i / CHUNK) ? 0 : random();
}

/* Writes the file @path. */
static void make_snapshot(const char *path)
{
	struct lazy_snap_writer *w;

	fill_memory();
	w = lazy_snap_create(path, regions, 2, &err);
	CHECK(w, "%s", err.text);
	CHECK(!lazy_snap_write_section(w, "one", "1", 1, &err));
	/* In two parts, in reverse order. */
	CHECK(!lazy_snap_write(w, LENGTH / 2, memory + LENGTH / 2, LENGTH / 2,
			       &err));
	CHECK(!lazy_snap_write_section(w, "two", "22", 2, &err));
	CHECK(!lazy_snap_write(w, 0, memory, LENGTH / 2, &err));
	CHECK(access(path, F_OK));
	CHECK(!lazy_snap_commit(w, &err), "%s", err.text);
}

static struct lazy_snap *open_snapshot(const char *path)
{
	struct lazy_snap *snap = lazy_snap_open(path, &err);

	CHECK(snap, "%s", err.text);
	return snap;
}

#endif /* LAZY_TEST_SNAPFILE_H */
