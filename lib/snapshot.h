/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A snapshot of a guest in one file: its memory, chunk by chunk, and the state
 * of its devices as sections that only the hypervisor understands.
 *
 *	0		struct snap_header
 *			chunks and sections, in the order they were written
 *	tables		struct snap_region[], struct snap_section[],
 *			struct snap_chunk[]
 *	file_size
 *
 * Everything is covered by a CRC-32C: the header and the tables by those in the
 * header, each section and each chunk by the one in its table entry. A chunk of
 * zeroes takes no space. All numbers are little endian.
 *
 * snap_open() looks at all but the memory, so that a file that was cut short,
 * or whose device state is not what was saved, is refused before a guest runs.
 * Each chunk is checked whenever it is read, which is what a lazy restore does
 * while the guest runs; snap_verify() does it for the whole memory beforehand.
 */
#ifndef LAZY_SNAPSHOT_H
#define LAZY_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reason.h"

#define SNAP_MAGIC	"LAZYSNAP"
#define SNAP_VERSION	1
#define SNAP_CHUNK	4096		/* bytes; the smallest page of a guest */
#define SNAP_NAME	16
#define SNAP_MAX_TABLE	4096		/* regions, sections */

/**
 * struct snap_header - the first bytes of the file
 * @magic: SNAP_MAGIC without a zero at its end
 * @version: SNAP_VERSION; another one is refused
 * @crc: of this header, with this member zero
 * @chunk_size: bytes covered by one checksum: SNAP_CHUNK
 * @nr_regions: entries of the first table
 * @nr_sections: entries of the second one
 * @tables_crc: of all three tables
 * @nr_chunks: entries of the third one: memory in chunks
 * @tables: offset of the tables
 * @file_size: bytes; a file of another size was cut short
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
 * @guest: its guest physical address
 * @len: bytes, a multiple of the chunk size
 *
 * The regions one after the other are the snapshot's memory: "offset" means
 * a place there, not in the file.
 */
struct snap_region {
	uint64_t guest;
	uint64_t len;
};

/**
 * struct snap_section - state of a device
 * @name: ends with a zero
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
 * struct snap_chunk - a piece of memory
 * @where: offset in the file, 0 if all bytes are zero
 * @crc: of its bytes, if it is in the file
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
 * @path: of the file; what is there stays until snap_commit()
 * @regions: the guest's memory
 * @nr: of them
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
 * In any order. What is never written is zero.
 */
int snap_write_memory(struct snap_writer *writer, uint64_t offset,
		      const void *data, size_t len, struct reason *reason);

/**
 * snap_write_section() - add the state of a device
 * @writer: from snap_create()
 * @name: shorter than SNAP_NAME, and used only once
 * @data: the bytes
 * @len: of them
 * @reason: set on failure
 */
int snap_write_section(struct snap_writer *writer, const char *name,
		       const void *data, size_t len, struct reason *reason);

/**
 * snap_commit() - finish the snapshot
 * @writer: is freed, also on failure
 * @reason: set on failure
 *
 * The file appears under its name when all of it is on the disk, and not
 * before.
 */
int snap_commit(struct snap_writer *writer, struct reason *reason);

/**
 * snap_abandon() - leave no file
 * @writer: is freed
 */
void snap_abandon(struct snap_writer *writer);

/* ---- reading ---- */

/**
 * struct snapshot - an open snapshot; read it, but change nothing
 * @header: as in the file
 * @regions: the guest's memory
 * @sections: the devices
 * @chunks: where the memory is
 * @len: of the memory, bytes
 * @fd: of the file
 * @tables: what the three tables point into
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
 * snap_open() - open a snapshot and check all of it but the memory
 * @path: of the file
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
 * snap_read() - read memory, and check it
 * @snap: from snap_open()
 * @offset: in the snapshot's memory, a multiple of SNAP_CHUNK
 * @buf: gets the bytes
 * @len: a multiple of SNAP_CHUNK
 * @reason: set on failure; nothing in @buf may be used then
 */
int snap_read(const struct snapshot *snap, uint64_t offset, void *buf,
	      size_t len, struct reason *reason);

/**
 * snap_is_zero() - is this memory zero, as far as one sees without reading it?
 * @snap: from snap_open()
 * @offset: as of snap_read()
 * @len: as of snap_read()
 */
bool snap_is_zero(const struct snapshot *snap, uint64_t offset, size_t len);

/**
 * snap_verify() - read and check all memory
 * @snap: from snap_open()
 * @reason: set on failure
 */
int snap_verify(const struct snapshot *snap, struct reason *reason);

/**
 * snap_section() - find the state of a device
 * @snap: from snap_open()
 * @name: of the section
 *
 * Return: its entry, or NULL.
 */
const struct snap_section *snap_section(const struct snapshot *snap,
					const char *name);

/**
 * snap_read_section() - read the state of a device
 * @snap: from snap_open()
 * @name: of the section
 * @buf: gets the bytes
 * @len: how many there must be
 * @reason: set on failure
 */
int snap_read_section(const struct snapshot *snap, const char *name,
		      void *buf, size_t len, struct reason *reason);

#endif /* LAZY_SNAPSHOT_H */
