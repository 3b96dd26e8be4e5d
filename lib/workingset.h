/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A working set: the pages that a guest asked for after it was restored, in that
 * order. The next restore of the same snapshot can bring them before it is
 * asked. It is advice: pages that it does not name are filled after those that
 * it does.
 *
 * As a file: a struct working_set_header, then an offset of eight bytes for each
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
 * struct working_set - some pages, in some order
 * @nr: of them
 * @offsets: in the snapshot's memory; from malloc()
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
 * @nr: of them
 */
struct working_set_header {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint64_t nr;
};

/**
 * working_set_add() - append a page
 * @set: zero at first
 * @offset: in the snapshot's memory
 *
 * Return: 0, or -1 if there is no memory.
 */
int working_set_add(struct working_set *set, uint64_t offset);

/**
 * working_set_save() - write a working set to a file
 * @set: to write
 * @path: of the file, which is replaced
 * @reason: set on failure
 */
int working_set_save(const struct working_set *set, const char *path,
		     struct reason *reason);

/**
 * working_set_load() - read a working set from a file
 * @set: is set; free it with working_set_free()
 * @path: of the file
 * @reason: set on failure
 */
int working_set_load(struct working_set *set, const char *path,
		     struct reason *reason);

/**
 * working_set_free() - free what is in a working set
 * @set: is empty afterwards
 */
void working_set_free(struct working_set *set);

#endif /* LAZY_WORKINGSET_H */
