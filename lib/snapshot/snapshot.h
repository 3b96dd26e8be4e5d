/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A snapshot of a guest in one file: its memory in chunks, and its device state
 * in sections whose format is private to the hypervisor.
 *
 *	0		struct snap_header
 *			chunks and sections, in the order of the writes
 *	tables		struct snap_region[], struct snap_section[],
 *			struct snap_chunk[]
 *	file_size
 *
 * Everything is covered by a CRC-32C: the header and the tables by checksums in
 * the header, each section and each chunk by the checksum in its table entry. A
 * chunk of zeroes takes no space. All numbers are little endian.
 *
 * snap_open() checks everything except the memory, so a truncated file, or one
 * whose device state was altered, is rejected before the guest runs. Each chunk
 * is checked when it is read, in a lazy restore while the guest runs;
 * snap_verify() checks the whole memory in advance.
 */
#ifndef LAZY_SNAPSHOT_H
#define LAZY_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reason.h"

#define SNAP_MAGIC	"LAZYSNAP"
#define SNAP_VERSION	1
#define SNAP_CHUNK	4096		/* bytes; the smallest guest page */
#define SNAP_NAME	16
#define SNAP_MAX_TABLE	4096		/* regions, sections */

/**
 * struct snap_header - the first bytes of the file
 * @magic: SNAP_MAGIC without its terminating zero
 * @version: SNAP_VERSION; other versions are rejected
 * @crc: of this header, computed with this member zero
 * @chunk_size: bytes covered by one checksum: SNAP_CHUNK
 * @nr_regions: entries of the first table
 * @nr_sections: entries of the second table
 * @tables_crc: of all three tables
 * @nr_chunks: entries of the third table, which is the memory size in chunks
 * @tables: offset of the tables
 * @file_size: in bytes; compared with the real size to detect truncation
 */
struct snap_header {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint32_t chunk_size;
	uint32_t nr_regions;
	uint32_t nr_sections;
	uint32_t tables_crc;
	uint64_t nr_chunks;
	uint64_t tables;
	uint64_t file_size;
};

/**
 * struct snap_region - a range of guest memory
 * @guest: guest physical address
 * @len: bytes, a multiple of the chunk size
 *
 * The concatenated regions are the snapshot's memory: an "offset" is a position
 * in this memory, not in the file.
 */
struct snap_region {
	uint64_t guest;
	uint64_t len;
};

/**
 * struct snap_section - state of one device
 * @name: zero-terminated
 * @where: offset in the file
 * @len: bytes
 * @crc: of these bytes
 * @reserved: zero
 */
struct snap_section {
	char name[SNAP_NAME];
	uint64_t where;
	uint64_t len;
	uint32_t crc;
	uint32_t reserved;
};

/**
 * struct snap_chunk - SNAP_CHUNK bytes of memory
 * @where: offset in the file, 0 if all bytes are zero
 * @crc: of the bytes, if @where is not 0
 * @reserved: zero
 */
struct snap_chunk {
	uint64_t where;
	uint32_t crc;
	uint32_t reserved;
};

/* ---- writing ---- */

struct snap_writer;

/**
 * snap_create() - begin a snapshot
 * @path: name of the file; an existing file is replaced by snap_commit()
 * @regions: the guest's memory
 * @nr: number of regions
 * @reason: set on failure
 *
 * Return: the writer, which snap_commit() or snap_abandon() frees; or NULL.
 */
struct snap_writer *snap_create(const char *path,
				const struct snap_region *regions, size_t nr,
				struct reason *reason);

/**
 * snap_write_memory() - add memory
 * @writer: from snap_create()
 * @offset: in the snapshot's memory, a multiple of SNAP_CHUNK
 * @data: the bytes
 * @len: a multiple of SNAP_CHUNK
 * @reason: set on failure
 *
 * Memory may be written in any order. Memory that is never written is zero.
 *
 * Return: 0, or -1 with @reason set.
 */
int snap_write_memory(struct snap_writer *writer, uint64_t offset,
		      const void *data, size_t len, struct reason *reason);

/**
 * snap_write_section() - add the state of a device
 * @writer: from snap_create()
 * @name: shorter than SNAP_NAME, and unique
 * @data: the bytes
 * @len: number of bytes
 * @reason: set on failure
 *
 * Return: 0, or -1 with @reason set.
 */
int snap_write_section(struct snap_writer *writer, const char *name,
		       const void *data, size_t len, struct reason *reason);

/**
 * snap_commit() - finish the snapshot
 * @writer: freed, also on failure
 * @reason: set on failure
 *
 * The file appears under its name only after all of it has reached the disk.
 *
 * Return: 0, or -1 with @reason set.
 */
int snap_commit(struct snap_writer *writer, struct reason *reason);

/**
 * snap_abandon() - discard an unfinished snapshot
 * @writer: freed
 */
void snap_abandon(struct snap_writer *writer);

/* ---- reading ---- */

/**
 * struct snapshot - an open snapshot; read-only for callers
 * @header: as in the file
 * @regions: the guest's memory
 * @sections: the devices
 * @chunks: location of the memory in the file
 * @len: size of the memory in bytes
 * @fd: of the file
 * @tables: allocation that holds the three tables
 */
struct snapshot {
	struct snap_header header;
	const struct snap_region *regions;
	const struct snap_section *sections;
	const struct snap_chunk *chunks;
	uint64_t len;
	int fd;
	void *tables;
};

/**
 * snap_open() - open a snapshot and check everything except the memory
 * @path: name of the file
 * @reason: set on failure
 *
 * Return: the snapshot, which snap_close() frees; or NULL.
 */
struct snapshot *snap_open(const char *path, struct reason *reason);

/**
 * snap_close() - free a snapshot
 * @snap: or NULL
 */
void snap_close(struct snapshot *snap);

/**
 * snap_read() - read memory and verify its checksums
 * @snap: from snap_open()
 * @offset: in the snapshot's memory, a multiple of SNAP_CHUNK
 * @buf: receives the bytes; its content is invalid on failure
 * @len: a multiple of SNAP_CHUNK
 * @reason: set on failure
 *
 * Return: 0, or -1 with @reason set.
 */
int snap_read(const struct snapshot *snap, uint64_t offset, void *buf,
	      size_t len, struct reason *reason);

/**
 * snap_is_zero() - check for zero memory without reading it
 * @snap: from snap_open()
 * @offset: as for snap_read()
 * @len: as for snap_read()
 *
 * Return: true if the chunk table marks the whole range as zero.
 */
bool snap_is_zero(const struct snapshot *snap, uint64_t offset, size_t len);

/**
 * snap_verify() - read and check all memory
 * @snap: from snap_open()
 * @reason: set on failure
 *
 * Return: 0, or -1 with @reason set.
 */
int snap_verify(const struct snapshot *snap, struct reason *reason);

/**
 * snap_section() - find the state of a device
 * @snap: from snap_open()
 * @name: name of the section
 *
 * Return: the section's table entry, or NULL.
 */
const struct snap_section *snap_section(const struct snapshot *snap,
					const char *name);

/**
 * snap_read_section() - read the state of a device
 * @snap: from snap_open()
 * @name: name of the section
 * @buf: receives the bytes
 * @len: expected length of the section
 * @reason: set on failure
 *
 * Return: 0, or -1 with @reason set.
 */
int snap_read_section(const struct snapshot *snap, const char *name,
		      void *buf, size_t len, struct reason *reason);

#endif /* LAZY_SNAPSHOT_H */
