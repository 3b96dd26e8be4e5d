// SPDX-License-Identifier: GPL-2.0
/* See fill.h. */
#include "fill.h"

int fill_ranges(int uffd, __u32 op, struct uffdio_fill_range *ranges,
		unsigned int count, __u64 mode, __u64 *done)
{
	struct uffdio_fill f = {
		.ranges = (uintptr_t)ranges, .count = count, .op = op,
		.mode = mode, .done = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_FILL, &f);

	if (done)
		*done = f.done;
	return err;
}

struct uffdio_fill_range range_of(const struct lab *l, __u32 op,
				  unsigned int first, unsigned int n)
{
	return (struct uffdio_fill_range) {
		.start = (uintptr_t)page_at(l, first),
		.len = n * l->m.page,
		.src = op == _UFFDIO_COPY ? (uintptr_t)src_at(l, first) : 0,
		.filled = LAB_UNTOUCHED, .skipped = LAB_UNTOUCHED, .error = ~0U };
}
