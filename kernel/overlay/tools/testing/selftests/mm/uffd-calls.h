/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the uffd-*.c programs that test errors share: the calls of userfaultfd
 * by name, so that a table or a loop goes through them, with what each says
 * when it fails; and a COPY that waits in the middle, while no lock is held.
 */
#ifndef UFFD_CALLS_H
#define UFFD_CALLS_H

#include "uffd-types.h"

enum op { COPY, ZEROPAGE, CONTINUE, POISON, FILLS, MOVE = FILLS, WRITEPROTECT,
	  WAKE, REGISTER, UNREGISTER, OPS };

static const char * const op_name[] = { "COPY", "ZEROPAGE", "CONTINUE",
	"POISON", "MOVE", "WRITEPROTECT", "WAKE", "REGISTER", "UNREGISTER" };

static inline int run_op(int uffd, enum op op, void *dst, const void *src,
			 size_t len, __u64 mode, __s64 *done)
{
	*done = LAB_UNTOUCHED;
	switch (op) {
	case COPY:
		return lab_copy(uffd, dst, src, len, mode, done);
	case ZEROPAGE:
		return lab_zeropage(uffd, dst, len, mode, done);
	case CONTINUE:
		return lab_continue(uffd, dst, len, mode, done);
	case POISON:
		return lab_poison(uffd, dst, len, mode, done);
	case MOVE:
		return lab_move(uffd, dst, src, len, mode, done);
	case WRITEPROTECT:
		return lab_writeprotect(uffd, dst, len, mode);
	case WAKE:
		return lab_wake(uffd, dst, len);
	case REGISTER:
		return lab_register(uffd, dst, len, mode, NULL);
	case UNREGISTER:
		return lab_unregister(uffd, dst, len);
	default:
		return -EOPNOTSUPP;
	}
}

/* What a fill that fails says, see above */
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

/* Whether this fill exists for this memory at all */
static inline bool applies(const struct lab_mem *m, enum op op)
{
	if (op == ZEROPAGE)
		return !lab_is_hugetlb(m);
	if (op == CONTINUE)
		return lab_is_file(m);
	return true;
}

static inline __u64 all_modes(const struct lab_mem *m)
{
	return LAB_MISSING | LAB_WP | (lab_is_file(m) ? LAB_MINOR : 0);
}

/*
 * The source is served by a second userfaultfd, so that a test can do what it
 * likes while COPY waits: granule 2 of the area is to be filled from granule 2
 * of @from.
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

static inline void *copier_fn(void *arg)
{
	struct copier *c = arg;

	c->ret = lab_copy(c->l->uffd, page_at(c->l, 2),
			  c->from + 2 * c->l->m.page, c->len, c->mode,
			  &c->done);
	return NULL;
}

static inline int copier_start(struct copier *c, struct lab *l)
{
	struct uffd_msg msg;
	int err;

	c->l = l;
	if (!c->len)
		c->len = l->m.page;
	c->from = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->from == MAP_FAILED)
		return -errno;
	c->from_uffd = lab_uffd_open(BASE_FEATURES);
	if (c->from_uffd < 0)
		return c->from_uffd;
	err = lab_register(c->from_uffd, c->from, l->m.len, LAB_MISSING, NULL);
	if (err)
		return err;
	err = pthread_create(&c->thread, NULL, copier_fn, c);
	if (err)
		return -err;
	err = lab_read_msg(c->from_uffd, &msg, LAB_DEADLINE_MS);
	if (err)
		return err;
	return msg.arg.pagefault.address ==
	       (uintptr_t)c->from + 2 * l->m.page ? 0 : -EIO;
}

/* Serves the source and waits for COPY. */
static inline int copier_end(struct copier *c)
{
	struct lab *l = c->l;
	int err;

	err = lab_copy(c->from_uffd, c->from + 2 * l->m.page, src_at(l, 2),
		       c->len, 0, NULL);
	if (err)
		return err;
	return -lab_join(c->thread, LAB_DEADLINE_MS);
}

#define EXPECT_COPIED(c, err) do {					\
	int __err = (err);						\
	ASSERT_EQ(0, copier_end(c));					\
	EXPECT_EQ(__err, (c)->ret);					\
	EXPECT_EQ(__err ? __err : (__s64)(c)->len, (c)->done);		\
} while (0)

#endif /* UFFD_CALLS_H */
