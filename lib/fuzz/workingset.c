// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Working set files, with checksums that are computed as zero as in
 * snapshot.c. What was loaded can be extended.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include <lazyrestore/workingset.h>

#include "fuzz.h"

uint32_t __wrap_lazy_crc32c(uint32_t crc, const void *data, size_t len);

uint32_t __wrap_lazy_crc32c(uint32_t crc, const void *data, size_t len)
{
	const volatile char *at = data;

	/* All of it has to be readable. */
	for (size_t i = 0; i < len; i++)
		(void)at[i];
	return crc & 0;
}

FUZZ(data, size)
{
	struct lazy_ws *set = lazy_ws_new();
	struct lazy_error error = {};
	const uint64_t *offsets;
	volatile uint64_t last;
	size_t before, nr;
	char path[64];
	int fd = memfd_create("set", MFD_CLOEXEC), ret;

	ASSERT(set && fd >= 0);
	ASSERT(write(fd, data, size) == (ssize_t)size);
	sprintf(path, "/proc/self/fd/%d", fd);
	ASSERT(!lazy_ws_add(set, 1));
	ret = lazy_ws_load(set, path, &error);
	offsets = lazy_ws_offsets(set, &before);
	ASSERT(!ret || (!before && error.code && *error.text));
	ASSERT(before <= size / sizeof(*offsets));
	for (int i = 0; i < 70; i++)
		ASSERT(!lazy_ws_add(set, i));
	offsets = lazy_ws_offsets(set, &nr);
	ASSERT(nr == before + 70);
	for (size_t i = 0; i < nr; i++)
		last = offsets[i];
	ASSERT(last == 69);
	lazy_ws_free(set);
	close(fd);
}
