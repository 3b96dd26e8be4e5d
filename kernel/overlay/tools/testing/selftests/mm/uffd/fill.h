/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctl UFFDIO_FILL, with the results of its ranges.
 */
#ifndef UFFD_FILL_H
#define UFFD_FILL_H

#include "expect.h"

#define SKIP_PRESENT	UFFDIO_FILL_MODE_SKIP_PRESENT

/* @done: receives the number of ranges done; may be NULL. 0 or -errno */
int fill_ranges(int uffd, __u32 op, struct uffdio_fill_range *ranges,
		unsigned int count, __u64 mode, __u64 *done);

/* Granules [first, first + n), with results that the kernel must overwrite */
struct uffdio_fill_range range_of(const struct lab *l, __u32 op,
				  unsigned int first, unsigned int n);

/* The result of a range, in granules */
#define EXPECT_RESULT(l, r, filled_, skipped_, error_) do {		\
	EXPECT_EQ((filled_) * (__u64)(l)->m.page, (r).filled);		\
	EXPECT_EQ((skipped_) * (__u64)(l)->m.page, (r).skipped);	\
	EXPECT_EQ(error_, (int)(r).error);				\
} while (0)

/* Fills one range: all of the granules [first, first + n) */
#define EXPECT_FILL(l, op_, first, n, mode, filled_, skipped_, error_) do { \
	struct uffdio_fill_range __r = range_of(l, op_, first, n);	\
	__u64 __done;							\
	EXPECT_EQ(0, fill_ranges((l)->uffd, op_, &__r, 1, mode, &__done)); \
	EXPECT_EQ(1ULL, __done);					\
	EXPECT_RESULT(l, __r, filled_, skipped_, error_);		\
} while (0)

#endif /* UFFD_FILL_H */
