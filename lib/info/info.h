/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* uffd-info: the memory types, and one mapping of each. */
#ifndef UFFD_INFO_H
#define UFFD_INFO_H

#include <stddef.h>

/**
 * struct mapping - memory of one type
 * @start: its address
 * @size: its length in bytes: one page of its type
 * @failed: the step that failed, with @errno, if there is no mapping; or NULL
 * @error: errno of that step
 */
struct mapping {
	void *start;
	size_t size;
	const char *failed;
	int error;
};

/**
 * struct memory - a memory type
 * @name: as it is printed
 * @map: makes a mapping of @argument, whose pages are not populated
 * @argument: depends on @map
 */
struct memory {
	const char *name;
	void (*map)(struct mapping *m, unsigned long argument);
	unsigned long argument;
};

/* Ends with an entry without a name. */
extern const struct memory memory_types[];

/* Maps a page of the file @path: shared, or private if it cannot be written. */
void map_path(struct mapping *m, const char *path);

/* Does nothing if there is no mapping. */
void unmap(struct mapping *m);

#endif /* UFFD_INFO_H */
