/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of userfaultfd with their results, for tests of errors; a COPY that
 * waits for its source while it holds no lock; layouts of structures.
 */
#ifndef UFFD_EXPECT_H
#define UFFD_EXPECT_H

#include "fixture.h"

/* What a call returned, and what it wrote to the field with its result */
struct result {
	int ret;
	__s64 done;
};

#define DONE_ALL	(LAB_UNTOUCHED - 1)

/* For EXPECT_OP(): the call succeeds, for all of the range */
#define DONE		((struct result){ 0, DONE_ALL })
/* It fails at the first page, and the result has the errno. */
#define FAILED(err)	((struct result){ err, err })
/* The arguments are invalid: the result is not written. */
#define REFUSED(err)	((struct result){ err, LAB_UNTOUCHED })
/* It stops after @bytes, which is the result. */
#define PARTIAL(bytes)	((struct result){ -EAGAIN, bytes })

/*
 * One call of run_op(): EXPECT_OP(FAILED(-EEXIST), uffd, COPY, dst, src, len, 0)
 */
#define EXPECT_OP(want_, uffd_, op_, dst_, src_, len_, mode_) do {	\
	struct result __want = want_;					\
	enum op __op = op_;						\
	size_t __len = len_;						\
	__s64 __done;							\
									\
	if (__want.done == DONE_ALL)					\
		__want.done = __len;					\
	EXPECT_EQ(__want.ret, run_op(uffd_, __op, dst_, src_, __len,	\
				     mode_, &__done))			\
		TH_LOG("%s", op_name[__op]);				\
	EXPECT_EQ(__want.done, __done)					\
		TH_LOG("%s", op_name[__op]);				\
} while (0)

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

/*
 * The same; returns 0 or the errno of COPY, or -EPROTO if it did not end or if
 * its result is neither that errno nor the whole length.
 */
int copier_result(struct copier *c);

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

/* The first entry that differs, or "" */
const char *layout_flaw(const struct layout *table, unsigned int entries);

#endif /* UFFD_EXPECT_H */
