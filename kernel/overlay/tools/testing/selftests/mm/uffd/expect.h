/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of userfaultfd with their results, for tests of errors; a COPY that
 * waits for its source while it holds no lock; layouts of structures.
 *
 * EXPECT_OP() checks one call: the return value and the field with the result.
 * The macros after it are its four cases:
 *
 *	EXPECT_DONE	succeeds for all of the range
 *	EXPECT_REFUSED	invalid arguments: the result is not written
 *	EXPECT_FAILED	fails at the first page, and the result has the errno
 *	EXPECT_PARTIAL	-EAGAIN, and the result has the bytes done
 */
#ifndef UFFD_EXPECT_H
#define UFFD_EXPECT_H

#include "fixture.h"

#define EXPECT_OP(want_, want_done_, uffd_, op_, dst_, src_, len_, mode_) \
do {									\
	__s64 __done;							\
	EXPECT_EQ(want_, run_op(uffd_, op_, dst_, src_, len_, mode_,	\
				&__done))				\
		TH_LOG("%s", op_name[op_]);				\
	EXPECT_EQ((__s64)(want_done_), __done)				\
		TH_LOG("%s", op_name[op_]);				\
} while (0)

#define EXPECT_DONE(uffd, op, dst, src, len)				\
	EXPECT_OP(0, (__s64)(len), uffd, op, dst, src, len, 0)
#define EXPECT_REFUSED(err, uffd, op, dst, src, len, mode)		\
	EXPECT_OP(err, LAB_UNTOUCHED, uffd, op, dst, src, len, mode)
#define EXPECT_FAILED(err, uffd, op, dst, src, len)			\
	EXPECT_OP(err, err, uffd, op, dst, src, len, 0)
#define EXPECT_PARTIAL(bytes, uffd, op, dst, src, len)			\
	EXPECT_OP(-EAGAIN, bytes, uffd, op, dst, src, len, 0)

/* Whether this memory type supports this fill at all */
bool applies(const struct lab_mem *m, enum op op);

__u64 all_modes(const struct lab_mem *m);

/*
 * A thread that copies granule 2 of @from to granule 2 of the area. A second
 * userfaultfd serves @from, so COPY waits, and holds no lock, until
 * copier_end().
 */
struct copier {
	pthread_t thread;
	struct lab *l;
	char *from;
	int from_uffd;
	__u64 mode;
	size_t len;
	int ret;
	__s64 done;
};

/* The thread, for a copier whose source the test serves itself */
void *copier_fn(void *arg);

/* Returns when COPY waits for its source. */
int copier_start(struct copier *c, struct lab *l);

/* Serves the source and waits until COPY returns. */
int copier_end(struct copier *c);

#define EXPECT_COPIED(c, err) do {					\
	int __err = (err);						\
	ASSERT_EQ(0, copier_end(c));					\
	EXPECT_EQ(__err, (c)->ret);					\
	EXPECT_EQ(__err ? __err : (__s64)(c)->len, (c)->done);		\
} while (0)

/*
 * The layout of structures that the kernel shares with user space, as a table of
 * sizes and offsets: 32-bit and 64-bit processes must see the same one.
 */
struct layout {
	const char *what;
	size_t is;
	size_t want;
};

#define SIZE_OF(type, want)	{ #type, sizeof(struct type), want }
#define OFFSET_OF(type, member, want)					\
	{ #type "." #member, offsetof(struct type, member), want }

#define EXPECT_LAYOUT(table) do {					\
	for (size_t __i = 0; __i < sizeof(table) / sizeof(*(table)); __i++) { \
		EXPECT_EQ((table)[__i].want, (table)[__i].is) {		\
			TH_LOG("%s", (table)[__i].what);		\
		}							\
	}								\
} while (0)

#endif /* UFFD_EXPECT_H */
