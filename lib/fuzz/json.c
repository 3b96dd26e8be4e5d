// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The message of Firecracker's hand-over, as uffd-serve takes it: its end in
 * the stream, the parser, the checks. What is accepted keeps to what the server
 * and lazy_poison() rely on.
 */
#include <lazyrestore/error.h>

#include "fuzz.h"
#include "serve/handover.h"

#define LENGTH	(1ULL << 30)	/* of the memory file */

static void check_accepted(const struct handover *h)
{
	ASSERT(h->nr);
	for (size_t i = 0; i < h->nr; i++) {
		const struct handover_region *r = &h->regions[i];

		ASSERT(r->size && r->size <= LENGTH);
		ASSERT(r->offset <= LENGTH - r->size);
		ASSERT(r->page_size >= 4096);
		ASSERT(!(r->page_size & (r->page_size - 1)));
		ASSERT(!((r->address | r->size) % r->page_size));
		ASSERT(!(r->offset % 4096));
		ASSERT(r->address + r->size > r->address);
		if (i)
			ASSERT(r[-1].address + r[-1].size <= r->address);
	}
}

/* The length of the array that the stream begins with, 0: none. */
static size_t frame(const uint8_t *data, size_t size)
{
	struct framing framing = {};

	for (size_t i = 0; i < size; i++) {
		int step = framing_step(&framing, data[i]);

		if (step < 0)
			return 0;
		if (step)
			return i + 1;
	}
	return 0;
}

FUZZ(data, size)
{
	struct handover handover = { .uffd = -1 };
	size_t len = frame(data, size);
	struct lazy_error error = {};
	/* Exactly as long as the text: reads behind it are found. */
	char *text = malloc(size + !size);
	int ret;

	memcpy(text, data, size);
	ret = handover_parse(text, size, &handover, &error);
	/* An array without anything behind it is found by both. */
	if (!ret)
		ASSERT(len && len <= size);
	else
		ASSERT(error.code && *error.text);
	if (!ret && !handover_check(&handover, LENGTH, &error))
		check_accepted(&handover);
	handover_free(&handover);
	free(text);
}
