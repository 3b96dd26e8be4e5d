/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A working set: the pages that a guest accessed after it was restored, in
 * order of their faults. The next restore of the same snapshot can fill them
 * ahead of the faults.
 *
 * It is advice. Pages that are not listed are filled after those that are, so a
 * working set that cannot be loaded must not end a restore: lazy_ws_load()
 * leaves a valid set in every case.
 *
 * Threads: all functions are reentrant; a set may be read by several threads
 * at once, and changed by one thread while no other uses it.
 */
#ifndef LAZYRESTORE_WORKINGSET_H
#define LAZYRESTORE_WORKINGSET_H

#include <stddef.h>
#include <stdint.h>

#include <lazyrestore/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Maximum number of pages: 64 GiB in pages of 4 KiB. */
#define LAZY_WS_MAX	(1u << 24)

/**
 * struct lazy_ws - an ordered list of pages
 */
struct lazy_ws;

/**
 * lazy_ws_new() - create an empty working set
 *
 * Return: the set, which lazy_ws_free() frees; or NULL if out of memory.
 */
struct lazy_ws *lazy_ws_new(void);

/**
 * lazy_ws_free() - free a working set
 * @set: or NULL
 */
void lazy_ws_free(struct lazy_ws *set);

/**
 * lazy_ws_add() - append a page
 * @set: from lazy_ws_new()
 * @offset: of the page in the snapshot's memory, in bytes
 *
 * Return: 0, or -1 if the set has LAZY_WS_MAX pages or memory is short; the
 * set is then unchanged, and a recorder should go on without.
 */
int lazy_ws_add(struct lazy_ws *set, uint64_t offset);

/**
 * lazy_ws_offsets() - the pages
 * @set: from lazy_ws_new(); or NULL, which is an empty set
 * @nr: set to the number of pages
 *
 * After lazy_ws_load() the offsets are what the file contains: any number may
 * occur, also more than once.
 *
 * Return: their offsets in the snapshot's memory, in bytes, in the order of
 * lazy_ws_add(); valid until the set is changed or freed.
 */
const uint64_t *lazy_ws_offsets(const struct lazy_ws *set, size_t *nr);

/**
 * lazy_ws_save() - write a working set to a file
 * @set: the working set
 * @path: name of the file, which is replaced in one step
 * @err: set on failure
 *
 * Return: 0, or -1; a file of that name is then what it was, as with
 * lazy_snap_commit().
 */
int lazy_ws_save(const struct lazy_ws *set, const char *path,
		 struct lazy_error *err);

/**
 * lazy_ws_load() - read a working set from a file
 * @set: from lazy_ws_new(); its pages are replaced
 * @path: name of the file
 * @err: set on failure
 *
 * Return: 0, or -1 with @set empty: the file is missing, damaged, too long, or
 * of another version. Continue without.
 */
int lazy_ws_load(struct lazy_ws *set, const char *path,
		 struct lazy_error *err);

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_WORKINGSET_H */
