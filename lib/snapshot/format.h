/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The file format of snapshots, version 2. Internal.
 *
 *	0	struct snap_header, padded to a chunk
 *		chunks, sections and blocks of the chunk table, in the order
 *		in which they were written, each at a multiple of a chunk
 *	index	struct snap_region[], struct snap_section[],
 *		struct snap_place[]: the blocks of the chunk table
 *	end
 *
 * The chunk table is a tree of two levels. The index has the place of each of
 * its blocks; a block has the places of SNAP_PER_BLOCK chunks, 2 MiB of memory.
 * A block and a chunk are read and checked in the same way. A place of zero
 * stands for zeroes, of a chunk or of 2 MiB.
 *
 *	header.index_crc --> index --> blocks --> chunks
 *
 * Opening a snapshot reads the header and the index, which is 1 MiB for a
 * guest of 256 GiB. All numbers are little endian.
 *
 * Version 1 had one table with one checksum, which had to be read completely.
 * It is not read any more: it was only ever written by this project's own
 * demonstration, and a second reader would be a second parser to trust.
 */
#ifndef LAZY_FORMAT_H
#define LAZY_FORMAT_H

#include <lazyrestore/snapshot.h>

#define SNAP_MAGIC	"LAZYSNAP"
#define SNAP_VERSION	2
#define SNAP_PER_BLOCK	(LAZY_SNAP_CHUNK / sizeof(struct snap_place))
#define SNAP_MAX_CHUNKS	(LAZY_SNAP_MAX_LENGTH / LAZY_SNAP_CHUNK)

/**
 * struct snap_header - the first bytes of the file
 * @magic: SNAP_MAGIC without its terminating zero
 * @version: SNAP_VERSION; other versions are rejected
 * @crc: of this header, computed with this member zero
 * @chunk_size: bytes covered by one checksum: LAZY_SNAP_CHUNK
 * @nr_regions: entries of the first table of the index
 * @nr_sections: entries of the second table of the index
 * @index_crc: of the index
 * @nr_chunks: size of the memory in chunks
 * @index: offset of the index in the file, a multiple of a chunk
 * @file_size: in bytes; compared with the real size to detect truncation
 */
struct snap_header {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint32_t chunk_size;
	uint32_t nr_regions;
	uint32_t nr_sections;
	uint32_t index_crc;
	uint64_t nr_chunks;
	uint64_t index;
	uint64_t file_size;
};

/**
 * struct snap_section - state of one device
 * @name: terminated and padded with zeroes
 * @at: offset in the file, a multiple of a chunk
 * @length: bytes
 * @crc: of these bytes
 * @reserved: zero
 *
 * Sections are sorted by @at and do not overlap.
 */
struct snap_section {
	char name[LAZY_SNAP_NAME];
	uint64_t at;
	uint64_t length;
	uint32_t crc;
	uint32_t reserved;
};

/**
 * struct snap_place - where a chunk of memory or of the chunk table is
 * @at: offset in the file, in chunks; 0: all bytes are zero
 * @crc: of its bytes, if @at is not 0
 */
struct snap_place {
	uint32_t at;
	uint32_t crc;
};

static inline uint64_t snap_blocks(uint64_t nr_chunks)
{
	return (nr_chunks + SNAP_PER_BLOCK - 1) / SNAP_PER_BLOCK;
}

/* Reads at most LAZY_SNAP_NAME bytes. Names appear in messages: no controls. */
static inline int snap_valid_name(const char *name)
{
	size_t i = 0;

	while (i < LAZY_SNAP_NAME && name[i] > ' ' && name[i] <= '~')
		i++;
	return i && i < LAZY_SNAP_NAME && !name[i];
}

#endif /* LAZY_FORMAT_H */
