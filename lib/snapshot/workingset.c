// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Working sets, see workingset.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lazyrestore/workingset.h>

#include "crc32c.h"
#include "newfile.h"
#include "snap.h"

#define MAGIC	"LAZYWSET"
#define VERSION	2

/**
 * struct header - the first bytes of the file; the offsets follow
 * @magic: MAGIC without its terminating zero
 * @version: VERSION; version 1 did not cover the header with a checksum
 * @crc: of this header, computed with this member zero, and of the offsets
 * @nr: number of offsets
 */
struct header {
	char magic[8];
	uint32_t version;
	uint32_t crc;
	uint64_t nr;
};

struct lazy_ws {
	uint64_t *offsets;
	size_t nr;
	size_t capacity;
};

struct lazy_ws *lazy_ws_new(void)
{
	return calloc(1, sizeof(struct lazy_ws));
}

void lazy_ws_free(struct lazy_ws *set)
{
	if (set)
		free(set->offsets);
	free(set);
}

int lazy_ws_add(struct lazy_ws *set, uint64_t offset)
{
	if (set->nr == LAZY_WS_MAX)
		return -1;
	if (set->nr == set->capacity) {
		size_t more = set->capacity ? 2 * set->capacity : 64;
		uint64_t *offsets = realloc(set->offsets,
					    more * sizeof(*offsets));

		if (!offsets)
			return -1;
		set->offsets = offsets;
		set->capacity = more;
	}
	set->offsets[set->nr++] = offset;
	return 0;
}

const uint64_t *lazy_ws_offsets(const struct lazy_ws *set, size_t *nr)
{
	*nr = set ? set->nr : 0;
	return set ? set->offsets : NULL;
}

static uint32_t checksum(const struct header *h, const uint64_t *offsets)
{
	struct header copy = *h;

	copy.crc = 0;
	return lazy_crc32c(lazy_crc32c(0, &copy, sizeof(copy)), offsets,
			   h->nr * sizeof(*offsets));
}

int lazy_ws_save(const struct lazy_ws *set, const char *path,
		 struct lazy_error *err)
{
	struct header h = { .version = VERSION, .nr = set->nr };
	struct newfile file;

	memcpy(h.magic, MAGIC, sizeof(h.magic));
	h.crc = checksum(&h, set->offsets);
	if (lazy_newfile_create(&file, path, err))
		return -1;
	if (!lazy_newfile_write(&file, &h, sizeof(h), 0, err) &&
	    !lazy_newfile_write(&file, set->offsets,
				set->nr * sizeof(*set->offsets), sizeof(h), err))
		return lazy_newfile_commit(&file, err);
	lazy_newfile_abandon(&file);
	return -1;
}

static int load(struct lazy_ws *set, int fd, const char *path,
		struct lazy_error *err)
{
	struct header h;
	struct stat st;

	if (fstat(fd, &st))
		return lazy_error_set(err, LAZY_E_SYSTEM, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: not a regular file", path);
	if ((uint64_t)st.st_size < sizeof(h) || lazy_snap_pread(fd, &h, sizeof(h), 0) ||
	    memcmp(h.magic, MAGIC, sizeof(h.magic)))
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: not a working set", path);
	if (h.version != VERSION)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: working set of version %u, only version %u is supported",
				      path, h.version, VERSION);
	if (h.nr > LAZY_WS_MAX ||
	    h.nr * sizeof(*set->offsets) != st.st_size - sizeof(h))
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: size of the file does not match its header",
				      path);
	if (!h.nr)
		set->offsets = NULL;
	else
		set->offsets = malloc(h.nr * sizeof(*set->offsets));
	if (h.nr && !set->offsets)
		return lazy_error_set(err, LAZY_E_MEMORY, "%s: out of memory",
				      path);
	if (lazy_snap_pread(fd, set->offsets, h.nr * sizeof(*set->offsets),
			    sizeof(h)))
		return lazy_error_set(err, LAZY_E_SOURCE, "%s: %m", path);
	if (checksum(&h, set->offsets) != h.crc)
		return lazy_error_set(err, LAZY_E_FORMAT,
				      "%s: checksum mismatch", path);
	set->nr = h.nr;
	set->capacity = h.nr;
	return 0;
}

int lazy_ws_load(struct lazy_ws *set, const char *path, struct lazy_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int ret;

	free(set->offsets);
	*set = (struct lazy_ws) {};
	if (fd < 0)
		return lazy_error_set(err, LAZY_E_SYSTEM, "%s: %m", path);
	ret = load(set, fd, path, err);
	close(fd);
	if (ret) {
		free(set->offsets);
		*set = (struct lazy_ws) {};
	}
	return ret;
}
