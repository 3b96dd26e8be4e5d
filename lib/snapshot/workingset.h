/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A working set: the pages that a guest accessed after it was restored, in
 * order of their faults. The next restore of the same snapshot can fill them
 * ahead of the faults. It is advice: pages that are not listed are filled after
 * those that are.
 *
 * File format: a struct working_set_header, then an eight-byte offset for each
 * page.
 */
#ifndef LAZY_WORKINGSET_H
#define LAZY_WORKINGSET_H

#include <stddef.h>
#include <stdint.h>

#include "reason.h"

#define WORKING_SET_MAGIC	"LAZYWSET"
#define WORKING_SET_VERSION	1

/**
 * struct working_set - an ordered list of pages
 * @nr: number of pages
 * @offsets: in the snapshot's memory; allocated with malloc()
 */
struct working_set {
	size_t nr;
	uint64_t *offsets;
};

/**
 * struct working_set_header - the first bytes of the file
 * @magic: WORKING_SET_MAGIC
 * @version: WORKING_SET_VERSION
 * @crc: of all offsets
 * @nr: number of offsets
 */
struct working_set_header {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint64_t nr;
};

/**
 * working_set_add() - append a page
 * @set: initialized to zero before the first call
 * @offset: in the snapshot's memory
 *
 * Return: 0, or -1 if out of memory.
 */
int working_set_add(struct working_set *set, uint64_t offset);

/**
 * working_set_save() - write a working set to a file
 * @set: the working set
 * @path: name of the file, which is replaced
 * @reason: set on failure
 */
int working_set_save(const struct working_set *set, const char *path,
		     struct reason *reason);

/**
 * working_set_load() - read a working set from a file
 * @set: filled in; free it with working_set_free()
 * @path: name of the file
 * @reason: set on failure
 */
int working_set_load(struct working_set *set, const char *path,
		     struct reason *reason);

/**
 * working_set_free() - free the content of a working set
 * @set: empty afterwards
 */
void working_set_free(struct working_set *set);

#endif /* LAZY_WORKINGSET_H */
