/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Removals of registered memory that fail must not be announced. The fixture
 * "removal" and its tests are defined here, for the programs that have memory
 * types for it. They include kselftest_harness.h first.
 */
#ifndef UFFD_REMOVAL_H
#define UFFD_REMOVAL_H

#include "lab.h"

struct advice {
	pthread_t thread;
	char *start;
	size_t len;
	int advice;
	int err;
};

static void *advise_fn(void *arg)
{
	struct advice *a = arg;

	a->err = madvise(a->start, a->len, a->advice) ? -errno : 0;
	return NULL;
}

/*
 * madvise() in a thread, while this one reads the messages. 0 or -errno, or
 * -EPROTO if the removal was announced although it failed, or the reverse.
 */
static int advise_watched(int uffd, char *start, size_t len, int advice)
{
	static struct advice a;
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	struct uffd_msg msg;
	bool told = false;
	int err;

	a = (struct advice) {
		.start = start, .len = len, .advice = advice };
	err = -pthread_create(&a.thread, NULL, advise_fn, &a);
	if (err)
		return -EPROTO;
	do {
		if (!lab_read_msg(uffd, &msg, 0))
			told = msg.event == UFFD_EVENT_REMOVE &&
			       msg.arg.remove.start == (uintptr_t)start &&
			       msg.arg.remove.end == (uintptr_t)start + len;
		err = -lab_join(a.thread, 5);
	} while (err == -ETIMEDOUT && lab_now_ms() < end);
	if (err || told == !!a.err)
		return -EPROTO;
	return a.err;
}

/* The result of MADV_REMOVE for the whole area */
static int removed(const struct lab_mem *m)
{
	if (!lab_is_file(m))
		return -EINVAL;
	if (!lab_is_shared(m))
		return -EACCES;
	if (!lab_has_size(m))
		return -ENODEV;		/* a device */
	return lab_has_holes(m) ? 0 : -EOPNOTSUPP;
}

FIXTURE(removal)
{
	struct lab_mem m;
	int uffd;
};

FIXTURE_VARIANT(removal)
{
	const struct lab_type *type;
};

#define REMOVAL_VARIANT(name_)						\
	FIXTURE_VARIANT_ADD(removal, name_) { .type = &lab_##name_ }

FIXTURE_SETUP(removal)
{
	self->uffd = lab_uffd_open(UFFD_FEATURE_EVENT_REMOVE);
	ASSERT_GE(self->uffd, 0);
	LAB_SKIP_IF(lab_lacking(variant->type));
	ASSERT_EQ(0, lab_mem_make(&self->m, variant->type, 4));
	ASSERT_EQ(0, lab_register(self->uffd, self->m.area, self->m.len,
				  LAB_MISSING, NULL));
}

FIXTURE_TEARDOWN(removal)
{
	close(self->uffd);
	lab_mem_drop(&self->m);
}

TEST_F(removal, remove)
{
	struct lab_mem *m = &self->m;

	EXPECT_EQ(removed(m), advise_watched(self->uffd, m->area, m->len,
					     MADV_REMOVE));
}

TEST_F(removal, free)
{
	struct lab_mem *m = &self->m;

	EXPECT_EQ(lab_is_file(m) ? -EINVAL : 0, advise_watched(self->uffd,
							       m->area, m->len,
							       MADV_FREE));
}

TEST_F(removal, dontneed)
{
	struct lab_mem *m = &self->m;

	EXPECT_EQ(0, advise_watched(self->uffd, m->area, m->len,
				    MADV_DONTNEED));
}

#endif /* UFFD_REMOVAL_H */
