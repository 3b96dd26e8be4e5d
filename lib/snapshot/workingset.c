// SPDX-License-Identifier: GPL-2.0
/* Working sets, see workingset.h. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "crc32c.h"
#include "workingset.h"

int working_set_add(struct working_set *set, uint64_t offset)
{
	/* Double the capacity whenever the number is a power of two. */
	if (!(set->nr & (set->nr - 1))) {
		uint64_t *more = realloc(set->offsets, (set->nr ? set->nr * 2 : 1) *
					 sizeof(*more));

		if (!more)
			return -1;
		set->offsets = more;
	}
	set->offsets[set->nr++] = offset;
	return 0;
}

void working_set_free(struct working_set *set)
{
	free(set->offsets);
	*set = (struct working_set) {};
}

int working_set_save(const struct working_set *set, const char *path,
		     struct reason *reason)
{
	struct working_set_header h = {
		.version = WORKING_SET_VERSION,
		.crc = crc32c(set->offsets, set->nr * sizeof(*set->offsets)),
		.nr = set->nr,
	};
	FILE *file = fopen(path, "we");
	bool good;

	if (!file)
		return because(reason, "%s: %m", path);
	memcpy(h.magic, WORKING_SET_MAGIC, sizeof(h.magic));
	good = fwrite(&h, sizeof(h), 1, file) == 1 &&
	       fwrite(set->offsets, sizeof(*set->offsets), set->nr, file) == set->nr;
	if (fclose(file) || !good)
		return because(reason, "%s: cannot write: %m", path);
	return 0;
}

static int load(struct working_set *set, FILE *file, struct reason *reason)
{
	struct working_set_header h;
	struct stat st;

	if (fread(&h, sizeof(h), 1, file) != 1 ||
	    memcmp(h.magic, WORKING_SET_MAGIC, sizeof(h.magic)))
		return because(reason, "not a working set");
	if (h.version != WORKING_SET_VERSION)
		return because(reason, "unsupported version %u (expected %u)",
			       h.version, WORKING_SET_VERSION);
	if (fstat(fileno(file), &st) ||
	    h.nr != (st.st_size - sizeof(h)) / sizeof(*set->offsets))
		return because(reason, "file size does not match its header");
	set->offsets = malloc(h.nr * sizeof(*set->offsets) ?: 1);
	if (!set->offsets)
		return because(reason, "%m");
	set->nr = fread(set->offsets, sizeof(*set->offsets), h.nr, file);
	if (set->nr != h.nr ||
	    crc32c(set->offsets, h.nr * sizeof(*set->offsets)) != h.crc) {
		working_set_free(set);
		return because(reason, "checksum mismatch");
	}
	return 0;
}

int working_set_load(struct working_set *set, const char *path,
		     struct reason *reason)
{
	FILE *file = fopen(path, "re");
	struct reason why;
	int ret;

	*set = (struct working_set) {};
	if (!file)
		return because(reason, "%s: %m", path);
	ret = load(set, file, &why);
	fclose(file);
	return ret ? because(reason, "%s: %s", path, why.text) : 0;
}
