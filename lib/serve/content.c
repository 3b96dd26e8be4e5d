// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What the memory of all VMs is filled with. */
#include <stdlib.h>

#include <lazyrestore/memfile.h>
#include <lazyrestore/snapshot.h>

#include "serve.h"

struct content {
	struct lazy_source source;
	struct lazy_memfile *file;	/* one of these is NULL */
	struct lazy_snap *snap;
};

struct content *content_open(const struct options *options,
			     struct lazy_error *error)
{
	struct content *c = calloc(1, sizeof(*c));

	if (!c) {
		lazy_error_set(error, LAZY_E_MEMORY, "out of memory");
		return NULL;
	}
	c->source.size = sizeof(c->source);
	if (options->memory) {
		c->file = lazy_memfile_open(options->memory, options->base,
					    error);
		if (c->file)
			lazy_memfile_source(c->file, &c->source);
	} else {
		c->snap = lazy_snap_open(options->snapshot, error);
		if (c->snap)
			lazy_snap_source(c->snap, &c->source);
	}
	if (c->file || c->snap)
		return c;
	free(c);
	return NULL;
}

void content_close(struct content *c)
{
	lazy_memfile_close(c->file);
	lazy_snap_close(c->snap);
	free(c);
}

const struct lazy_source *content_source(const struct content *c)
{
	return &c->source;
}

/* The checksums of a snapshot detect changes when it is read. */
int content_unchanged(const struct content *c, struct lazy_error *error)
{
	return c->file ? lazy_memfile_unchanged(c->file, error) : 0;
}
