/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A raw memory file holds the guest's memory byte by byte, as Firecracker
 * writes it. Holes of a sparse file are zeroes. A diff is a sparse file of the
 * same size that holds the pages that changed since the base was written: its
 * holes are filled from the base.
 *
 * The file must not be changed while a guest is restored from it. A file that
 * was truncated makes reads fail, it does not raise SIGBUS in read().
 */
#ifndef LAZYRESTORE_MEMFILE_H
#define LAZYRESTORE_MEMFILE_H

#include <lazyrestore/error.h>
#include <lazyrestore/source.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lazy_memfile;

/**
 * lazy_memfile_open() - open a raw memory file
 * @path: name of the file, or of the diff
 * @base: name of the base, or NULL if @path is not a diff
 * @error: set on failure
 *
 * Reads which parts of the files are holes. A diff on a file system that does
 * not report holes is rejected, as far as that can be detected.
 *
 * Threads: any.
 *
 * Return: the memory file, which lazy_memfile_close() frees, or NULL.
 */
struct lazy_memfile *lazy_memfile_open(const char *path, const char *base,
				       struct lazy_error *error);

/**
 * lazy_memfile_source() - the memory file as a source of a server
 * @file: from lazy_memfile_open(); must stay open while @source is used
 * @source: its @size is set by the caller, all other members by this function
 *
 * The source may be used by several threads at once. It includes a mapping
 * unless the diff has too many pieces for one. The kernel reports -EFAULT when
 * it copies from a page of the mapping that was truncated; reading such a page
 * directly raises SIGBUS.
 *
 * Threads: any.
 */
void lazy_memfile_source(const struct lazy_memfile *file,
			 struct lazy_source *source);

/**
 * lazy_memfile_unchanged() - check that the files were not written to
 * @file: from lazy_memfile_open()
 * @error: set on failure
 *
 * Compares size and modification time with those at lazy_memfile_open().
 *
 * Threads: any.
 *
 * Return: 0, or -1 with @error set if a file was changed.
 */
int lazy_memfile_unchanged(const struct lazy_memfile *file,
			   struct lazy_error *error);

/**
 * lazy_memfile_close() - close a memory file
 * @file: or NULL; no source of it is used any more
 */
void lazy_memfile_close(struct lazy_memfile *file);

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_MEMFILE_H */
