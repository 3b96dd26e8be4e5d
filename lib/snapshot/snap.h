/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * An open snapshot. Internal:
 *
 *	open.c	header, index, sections: checked when the snapshot is opened
 *	read.c	chunk table, memory: checked when they are read
 *
 * All of it is constant after lazy_snap_open(), except for the cache.
 */
#ifndef LAZY_SNAP_H
#define LAZY_SNAP_H

#include <pthread.h>

#include "format.h"

/* Blocks in the cache: 8 MiB, the places of 4 GiB of memory. */
#define SNAP_SLOTS	2048

/**
 * struct snap_slot - an entry of the cache
 * @lock: protects @block, and the block in the cache
 * @block: number of the block plus 1, 0: none
 *
 * A block can only be in the slot of its number modulo SNAP_SLOTS.
 */
struct snap_slot {
	pthread_mutex_t lock;
	uint64_t block;
};

/**
 * struct lazy_snap - an open snapshot
 * @fd: of the file
 * @header: as in the file
 * @index: allocation that holds the three tables
 * @regions: the guest's memory
 * @sections: state of the devices
 * @blocks: where the blocks of the chunk table are
 * @slots: SNAP_SLOTS entries of the cache
 * @cache: their blocks; a mapping, so that unused ones take no memory
 */
struct lazy_snap {
	int fd;
	struct snap_header header;
	void *index;
	const struct lazy_snap_region *regions;
	const struct snap_section *sections;
	const struct snap_place *blocks;
	struct snap_slot *slots;
	struct snap_place (*cache)[SNAP_PER_BLOCK];
};

#pragma GCC visibility push(hidden)

/**
 * lazy_snap_pread() - read bytes of the file
 * @snap: the snapshot
 * @buf: receives the bytes
 * @len: number of bytes
 * @at: offset in the file
 *
 * Return: 0, or -1 and errno, ENODATA if the file is too short.
 */
int lazy_snap_pread(int fd, void *buf, size_t len,
		    uint64_t at);

#pragma GCC visibility pop

#endif /* LAZY_SNAP_H */
