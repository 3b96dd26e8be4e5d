/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A snapshot of a guest in one file: its memory in chunks, and its device state
 * in sections whose format is private to the hypervisor.
 *
 * Every byte is covered by a CRC-32C, which is verified before the byte is
 * given to the caller. A chunk of zeroes takes no space. Checksums detect
 * damage; they do not protect against a forged snapshot.
 *
 * The memory is the concatenation of the regions: an "offset" is a position in
 * it, in bytes, not in the file.
 *
 * Functions that can fail return -1 or NULL and set @err.
 */
#ifndef LAZYRESTORE_SNAPSHOT_H
#define LAZYRESTORE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include <lazyrestore/error.h>
#include <lazyrestore/source.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAZY_SNAP_CHUNK		4096	/* bytes; the smallest guest page */
#define LAZY_SNAP_NAME		16	/* bytes, with the terminating zero */
#define LAZY_SNAP_MAX_REGIONS	4096
#define LAZY_SNAP_MAX_SECTIONS	4096

/* Sum of the lengths of all sections, in bytes. */
#define LAZY_SNAP_MAX_STATE	(1ull << 30)

/* Size of the memory and of the file, in bytes: below 16 TiB. */
#define LAZY_SNAP_MAX_LENGTH	((1ull << 44) - LAZY_SNAP_CHUNK)

/**
 * struct lazy_snap_region - a range of guest memory
 * @guest: guest physical address, a multiple of LAZY_SNAP_CHUNK
 * @length: bytes, a multiple of LAZY_SNAP_CHUNK, not 0
 *
 * No member will be added: callers pass arrays of it.
 */
struct lazy_snap_region {
	uint64_t guest;
	uint64_t length;
};

/* ---- writing ---- */

/**
 * struct lazy_snap_writer - a snapshot that is being written
 *
 * Errors are kept: after a function other than lazy_snap_create() has failed,
 * all later calls for this writer fail with the same error, and so does
 * lazy_snap_commit().
 */
struct lazy_snap_writer;

/**
 * lazy_snap_create() - begin a snapshot
 * @path: name of the file; an existing file is replaced by lazy_snap_commit()
 * @regions: the guest's memory; copied
 * @nr: number of regions, 1 to LAZY_SNAP_MAX_REGIONS
 * @err: set on failure
 *
 * Until then the file is named @path.XXXXXXXXXXXXXXXX.part, which remains
 * after a crash. Only its owner can read it (mode 0600).
 *
 * Threads: any.
 *
 * Return: the writer, which lazy_snap_commit() or lazy_snap_abandon() frees; or
 * NULL.
 */
struct lazy_snap_writer *
lazy_snap_create(const char *path, const struct lazy_snap_region *regions,
		 size_t nr, struct lazy_error *err);

/**
 * lazy_snap_write() - add memory
 * @writer: from lazy_snap_create()
 * @offset: in the memory, a multiple of LAZY_SNAP_CHUNK
 * @data: the bytes, which must not change until the function returns
 * @length: a multiple of LAZY_SNAP_CHUNK
 * @err: set on failure
 *
 * Memory may be written in any order. A chunk that is written again replaces
 * the earlier one. Memory that is never written is zero.
 *
 * Threads: several at once for one writer, if their chunks differ.
 *
 * Return: 0, or -1.
 */
int lazy_snap_write(struct lazy_snap_writer *writer, uint64_t offset,
		    const void *data, size_t length, struct lazy_error *err);

/**
 * lazy_snap_write_section() - add the state of a device
 * @writer: from lazy_snap_create()
 * @name: unique; 1 to LAZY_SNAP_NAME - 1 printable ASCII characters without
 *	spaces
 * @data: the bytes
 * @length: number of bytes
 * @err: set on failure
 *
 * Threads: several at once for one writer.
 *
 * Return: 0, or -1.
 */
int lazy_snap_write_section(struct lazy_snap_writer *writer, const char *name,
			    const void *data, size_t length,
			    struct lazy_error *err);

/**
 * lazy_snap_commit() - finish the snapshot
 * @writer: freed, also on failure
 * @err: set on failure
 *
 * The file appears under its name, in one step, after all of it has reached
 * the disk. On failure a file of that name is what it was, except if only the
 * directory could not be written to the disk: then the name may be lost if
 * the host crashes.
 *
 * Threads: no other call for this writer may be in progress.
 *
 * Return: 0, or -1.
 */
int lazy_snap_commit(struct lazy_snap_writer *writer, struct lazy_error *err);

/**
 * lazy_snap_abandon() - discard an unfinished snapshot
 * @writer: freed; or NULL
 *
 * Threads: no other call for this writer may be in progress.
 */
void lazy_snap_abandon(struct lazy_snap_writer *writer);

/* ---- reading ---- */

/**
 * struct lazy_snap - an open snapshot
 *
 * If the file is truncated or changed while it is open, reads fail; nothing
 * that fails its checksum is returned, and no signal is raised.
 */
struct lazy_snap;

/**
 * lazy_snap_open() - open a snapshot
 * @path: name of the file
 * @err: set on failure
 *
 * Checks the header, the index and the sections, and the size of the file. The
 * chunk table is read and checked block by block when it is first needed, and
 * the memory when it is read; lazy_snap_verify() checks all of it in advance.
 * Takes 4 bytes of memory per MiB of the guest, and at most 8 MiB for
 * recently used blocks of the chunk table.
 *
 * Threads: any.
 *
 * Return: the snapshot, which lazy_snap_close() frees; or NULL.
 */
struct lazy_snap *lazy_snap_open(const char *path, struct lazy_error *err);

/**
 * lazy_snap_close() - free a snapshot
 * @snap: or NULL
 *
 * Threads: no other call for this snapshot may be in progress, and no source of
 * it in use.
 */
void lazy_snap_close(struct lazy_snap *snap);

/**
 * lazy_snap_length() - size of the memory
 * @snap: from lazy_snap_open()
 *
 * Threads: any.
 *
 * Return: bytes, a multiple of LAZY_SNAP_CHUNK.
 */
uint64_t lazy_snap_length(const struct lazy_snap *snap);

/**
 * lazy_snap_regions() - the guest's memory
 * @snap: from lazy_snap_open()
 * @nr: set to the number of regions
 *
 * Threads: any.
 *
 * Return: the regions, valid until lazy_snap_close().
 */
const struct lazy_snap_region *lazy_snap_regions(const struct lazy_snap *snap,
						 size_t *nr);

/**
 * lazy_snap_read() - read memory
 * @snap: from lazy_snap_open()
 * @offset: in the memory, a multiple of LAZY_SNAP_CHUNK
 * @buf: receives the bytes; its content is invalid on failure
 * @length: a multiple of LAZY_SNAP_CHUNK
 * @err: set on failure
 *
 * Threads: any number at once.
 *
 * Return: 0, or -1.
 */
int lazy_snap_read(struct lazy_snap *snap, uint64_t offset, void *buf,
		   size_t length, struct lazy_error *err);

/**
 * lazy_snap_zeros() - find zero memory without reading it
 * @snap: from lazy_snap_open()
 * @offset: in the memory, a multiple of LAZY_SNAP_CHUNK
 * @length: bytes to examine at most
 *
 * Threads: any number at once.
 *
 * Return: how many bytes from @offset on are known to be zero, at most @length.
 * 0 if the first chunk is not zero, is not in the snapshot, or if the chunk
 * table cannot be read there; lazy_snap_read() then reports why.
 */
uint64_t lazy_snap_zeros(struct lazy_snap *snap, uint64_t offset,
			 uint64_t length);

/**
 * lazy_snap_verify() - read and check all memory
 * @snap: from lazy_snap_open()
 * @err: set on failure
 *
 * Threads: any number at once.
 *
 * Return: 0, or -1.
 */
int lazy_snap_verify(struct lazy_snap *snap, struct lazy_error *err);

/**
 * lazy_snap_section() - find the state of a device
 * @snap: from lazy_snap_open()
 * @name: name of the section
 * @length: set to the number of bytes
 * @err: set on failure
 *
 * Threads: any number at once.
 *
 * Return: 0, or -1 if there is no such section.
 */
int lazy_snap_section(const struct lazy_snap *snap, const char *name,
		      uint64_t *length, struct lazy_error *err);

/**
 * lazy_snap_read_section() - read the state of a device
 * @snap: from lazy_snap_open()
 * @name: name of the section
 * @buf: receives the bytes; its content is invalid on failure
 * @length: expected length of the section
 * @err: set on failure
 *
 * Threads: any number at once.
 *
 * Return: 0, or -1; another length is a failure.
 */
int lazy_snap_read_section(const struct lazy_snap *snap, const char *name,
			   void *buf, size_t length, struct lazy_error *err);

/**
 * lazy_snap_source() - the memory as a source of a server
 * @snap: from lazy_snap_open(); must stay open while @source is used
 * @source: its @size is set by the caller, all other members by this function
 *
 * The source has no mapping: content needs its check. Its functions may be
 * called by several threads at once.
 *
 * Threads: any.
 */
void lazy_snap_source(struct lazy_snap *snap, struct lazy_source *source);

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_SNAPSHOT_H */
