/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A source: where the content of memory comes from. */
#ifndef LAZYRESTORE_SOURCE_H
#define LAZYRESTORE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include <lazyrestore/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct lazy_source - the content of memory
 * @size: sizeof(struct lazy_source), set by the caller
 * @arg: passed to the callbacks
 * @length: in bytes; offsets are below it
 * @read: reads @len bytes at @offset to @buf. Offset and length are multiples
 *	of the page size of the processor (4096), and the range is within
 *	@length. Returns 0, or -1 with the error set; the content of @buf is not
 *	used then. Verifies checksums, if there are any. May be NULL if @map is
 *	not.
 * @zeros: returns how many bytes from @offset on are known to be zero without
 *	reading them: 0 if not known, at most @len. NULL: never known.
 * @map: all of the content as a readable mapping of @length bytes, from which
 *	pages are copied without a call of @read; NULL if the content has to be
 *	checked or converted. If the file behind the mapping is truncated, the
 *	restore fails with LAZY_E_SOURCE; no SIGBUS is raised.
 *
 * The source must stay valid until lazy_server_free().
 *
 * Threads: @read and @zeros are called by every thread that serves, also at the
 * same time.
 */
struct lazy_source {
	size_t size;
	void *arg;
	uint64_t length;
	int (*read)(void *arg, uint64_t offset, void *buf, size_t len,
		    struct lazy_error *err);
	uint64_t (*zeros)(void *arg, uint64_t offset, uint64_t len);
	const void *map;
};

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_SOURCE_H */
