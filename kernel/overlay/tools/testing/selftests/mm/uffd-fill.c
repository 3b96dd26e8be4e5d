// SPDX-License-Identifier: GPL-2.0
/*
 * UFFDIO_FILL, many ranges in one call, on every kind of memory: each range has
 * its own result, what is there is passed over if that is asked for, and the rest
 * of the interface is what it says. And ZEROPAGE that write-protects.
 */
#include "uffd-calls.h"
#include <sys/wait.h>

#define SKIP_PRESENT UFFDIO_FILL_MODE_SKIP_PRESENT

static const __u32 what_of[FILLS] = { _UFFDIO_COPY, _UFFDIO_ZEROPAGE,
				      _UFFDIO_CONTINUE, _UFFDIO_POISON };

/* The ioctl; 0 or -errno. */
static int fill(struct lab *l, __u32 what, struct uffdio_fill_range *ranges,
		unsigned int count, __u64 mode, __u64 *done)
{
	struct uffdio_fill f = {
		.ranges = (uintptr_t)ranges, .count = count, .what = what,
		.mode = mode, .done = LAB_UNTOUCHED };
	int err = lab_ioctl(l->uffd, UFFDIO_FILL, &f);

	if (done)
		*done = f.done;
	return err;
}

/* Granules [first, first + n), with results that must not stay */
static struct uffdio_fill_range range_of(const struct lab *l, __u32 what,
					 unsigned int first, unsigned int n)
{
	return (struct uffdio_fill_range) {
		.start = (uintptr_t)page_at(l, first),
		.len = n * l->m.page,
		.src = what == _UFFDIO_COPY ? (uintptr_t)src_at(l, first) : 0,
		.filled = LAB_UNTOUCHED, .skipped = LAB_UNTOUCHED, .error = ~0U };
}

/* What became of a range, in granules */
#define EXPECT_RESULT(l, r, filled_, skipped_, error_) do {		\
	EXPECT_EQ((filled_) * (__u64)(l)->m.page, (r).filled);		\
	EXPECT_EQ((skipped_) * (__u64)(l)->m.page, (r).skipped);	\
	EXPECT_EQ(error_, (int)(r).error);				\
} while (0)

/* One range, all of the granules [first, first + n) */
#define EXPECT_FILL(l, what_, first, n, mode, filled_, skipped_, error_) do { \
	struct uffdio_fill_range __r = range_of(l, what_, first, n);	\
	__u64 __done;							\
	EXPECT_EQ(0, fill(l, what_, &__r, 1, mode, &__done));		\
	EXPECT_EQ(1ULL, __done);					\
	EXPECT_RESULT(l, __r, filled_, skipped_, error_);		\
} while (0)

LAB_FIXTURE(fill);
LAB_ALL_VARIANTS(fill);

TEST_F(fill, every_operation)
{
	struct lab *l = &self->l;
	char *byte = page_at(l, 4);
	unsigned int op, i;
	__u64 done;

	for (op = 0; op < FILLS; op++) {
		const __u32 what = what_of[op];
		struct uffdio_fill_range r[] = { range_of(l, what, 0, 2),
			range_of(l, what, 7, 1), range_of(l, what, 4, 1) };

		if (!applies(&l->m, op))
			continue;
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  op == CONTINUE ? LAB_MINOR :
					  LAB_MISSING, NULL));
		if (op == CONTINUE)
			write_file(l, 0, PAGES);
		EXPECT_EQ(0, fill(l, what, r, 3, 0, &done)) {
			TH_LOG("%s", op_name[op]);
		}
		EXPECT_EQ(3ULL, done);
		EXPECT_RESULT(l, r[0], 2, 0, 0);
		EXPECT_RESULT(l, r[1], 1, 0, 0);
		EXPECT_RESULT(l, r[2], 1, 0, 0);
		for (i = 0; i < PAGES; i++) {
			/* Granules that are not in a range */
			if (i == 2 || i == 3 || i == 5 || i == 6) {
				EXPECT_FALSE(lab_pm(page_at(l, i),
						    LAB_PM_PRESENT));
				continue;
			}
			if (op == COPY || op == CONTINUE) {
				EXPECT_TRUE(same_at(l, page_at(l, i), i));
			} else if (op == ZEROPAGE) {
				EXPECT_TRUE(lab_all(page_at(l, i), l->m.page,
						    0));
			}
		}
		if (op == POISON) {
			char value = 0;
			int code = 0;

			EXPECT_EQ(SIGBUS, lab_access(byte, false, &value,
						     &code));
			EXPECT_EQ(BUS_MCEERR_AR, code);
		}
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		/* As new */
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
		byte = page_at(l, 4);
	}
	EXPECT_NO_MSG(l);
}

/* A range that fails does not keep others from being filled. */
TEST_F(fill, own_results)
{
	struct lab *l = &self->l;
	const __u32 what = _UFFDIO_COPY;
	struct uffdio_fill_range r[] = {
		range_of(l, what, 0, 1), range_of(l, what, 1, 3),
		range_of(l, what, 2, 1), range_of(l, what, 4, 1),
		range_of(l, what, 5, 1), range_of(l, what, 6, 1),
		range_of(l, what, 7, 1),
	};
	__u64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, 7 * l->m.page,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	r[3].start++;
	r[4].reserved = 1;
	EXPECT_EQ(0, fill(l, what, r, 7, 0, &done));
	EXPECT_EQ(7ULL, done);
	EXPECT_RESULT(l, r[0], 1, 0, 0);
	EXPECT_RESULT(l, r[1], 1, 0, EEXIST);
	EXPECT_RESULT(l, r[2], 0, 0, EEXIST);
	EXPECT_RESULT(l, r[3], 0, 0, EINVAL);
	EXPECT_RESULT(l, r[4], 0, 0, EINVAL);
	EXPECT_RESULT(l, r[5], 1, 0, 0);
	EXPECT_RESULT(l, r[6], 0, 0, ENOENT);	/* not registered */
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	EXPECT_TRUE(same_at(l, page_at(l, 6), 6));
	EXPECT_FALSE(lab_pm(page_at(l, 3), LAB_PM_PRESENT));
	EXPECT_FALSE(lab_pm(page_at(l, 4), LAB_PM_PRESENT));
	EXPECT_FALSE(lab_pm(page_at(l, 5), LAB_PM_PRESENT));
}

/* What is there stays as it is, and who waits for it is woken. */
TEST_F(fill, skips)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 1), false, 0, 0);
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 3),
			      2 * l->m.page, UFFDIO_COPY_MODE_DONTWAKE, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 0), l->m.page,
			      0, NULL));
	EXPECT_BLOCKED(&t);
	EXPECT_FILL(l, _UFFDIO_COPY, 0, PAGES, 0, 1, 0, EEXIST);
	EXPECT_BLOCKED(&t);
	EXPECT_FILL(l, _UFFDIO_COPY, 1, PAGES - 1, SKIP_PRESENT, 4, 3, 0);
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	EXPECT_EQ(0, memcmp(page_at(l, 1), src_at(l, 3), 2 * l->m.page));
	EXPECT_EQ(0, memcmp(page_at(l, 5), src_at(l, 0), l->m.page));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_TRUE(same_at(l, page_at(l, 4), 4));
	EXPECT_TRUE(same_at(l, page_at(l, 6), 6));
	EXPECT_TRUE(same_at(l, page_at(l, 7), 7));
	EXPECT_FILL(l, _UFFDIO_COPY, 0, PAGES, SKIP_PRESENT, 0, 8, 0);
	EXPECT_FILL(l, _UFFDIO_COPY, 7, 1, 0, 0, 0, EEXIST);
	EXPECT_NO_MSG(l);
}

/* Poison is there, too; a page that COPY makes takes its place, as ever. */
TEST_F(fill, skips_poison)
{
	struct lab *l = &self->l;
	char value = 0;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_poison(l->uffd, page_at(l, 2), l->m.page, 0, NULL));
	EXPECT_FILL(l, _UFFDIO_POISON, 1, 3, SKIP_PRESENT, 2, 1, 0);
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &value, NULL));
	EXPECT_FILL(l, _UFFDIO_COPY, 0, PAGES, SKIP_PRESENT, 8, 0, 0);
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
}

/* Between what is there, sources that have to be fetched: page after page */
TEST_F(fill, skips_while_fetching)
{
	struct lab *l = &self->l;
	char *from = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const unsigned int there[] = { 1, 2, 4, 7 };
	unsigned int i;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_COPY, 0, PAGES);

	ASSERT_NE(MAP_FAILED, from);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, there[i]),
				      src_at(l, there[i]), l->m.page, 0, NULL));
	}
	r.src = (uintptr_t)from;
	EXPECT_EQ(0, fill(l, _UFFDIO_COPY, &r, 1, SKIP_PRESENT, NULL));
	EXPECT_RESULT(l, r, 4, 4, 0);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, there[i]), there[i]));
	}
	EXPECT_TRUE(lab_all(page_at(l, 0), l->m.page, 0));
	EXPECT_TRUE(lab_all(page_at(l, 3), l->m.page, 0));
	EXPECT_TRUE(lab_all(page_at(l, 5), 2 * l->m.page, 0));
	ASSERT_EQ(0, munmap(from, l->m.len));
}

/* A source that is not there ends its range, and says where. */
TEST_F(fill, unreadable_source)
{
	struct lab *l = &self->l;
	char *from = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_fill_range r[] = { range_of(l, _UFFDIO_COPY, 0, 4),
					 range_of(l, _UFFDIO_COPY, 4, 1) };

	ASSERT_NE(MAP_FAILED, from);
	ASSERT_EQ(0, munmap(from + 3 * l->m.page, l->m.len - 3 * l->m.page));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	r[0].src = (uintptr_t)from;
	EXPECT_EQ(0, fill(l, _UFFDIO_COPY, r, 2, SKIP_PRESENT, NULL));
	EXPECT_RESULT(l, r[0], 2, 1, EFAULT);
	EXPECT_RESULT(l, r[1], 1, 0, 0);
	ASSERT_EQ(0, munmap(from, 3 * l->m.page));
}

TEST_F(fill, does_not_wake)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 1), false, 0, 0);
	EXPECT_FILL(l, _UFFDIO_COPY, 0, 3, UFFDIO_FILL_MODE_DONTWAKE, 3, 0, 0);
	EXPECT_FILL(l, _UFFDIO_COPY, 0, 3, SKIP_PRESENT | UFFDIO_FILL_MODE_DONTWAKE,
		    0, 3, 0);
	EXPECT_BLOCKED(&t);
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 1), l->m.page));
	EXPECT_TOUCHED(&t, src_at(l, 1)[0]);
}

/* Only what is filled gets protected. */
TEST_F(fill, protects)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FILL(l, _UFFDIO_COPY, 0, 1, UFFDIO_FILL_MODE_WP, 0, 0, EINVAL);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1), l->m.page,
			      0, NULL));
	EXPECT_FILL(l, _UFFDIO_COPY, 0, 3, SKIP_PRESENT | UFFDIO_FILL_MODE_WP, 2, 1, 0);
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 1), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 2), LAB_PM_UFFD_WP));
	EXPECT_FAULT(l, &t, page_at(l, 2), true, 9, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page, 0));
	EXPECT_TOUCHED(&t, 9);
	EXPECT_NO_MSG(l);
}

/* Memory that has a zero page, or makes pages of zeroes */
LAB_FIXTURE(zeroes);
LAB_VARIANT(zeroes, anon);
LAB_SHMEM_VARIANTS(zeroes);
LAB_FILEMAP_VARIANTS(zeroes);

TEST_F(zeroes, protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	__s64 done = 0;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-EINVAL, lab_zeropage(l->uffd, l->m.area, l->m.page,
					UFFDIO_ZEROPAGE_MODE_WP, &done));
	EXPECT_EQ(-EINVAL, done);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_EQ(0, lab_zeropage(l->uffd, l->m.area, 2 * l->m.page,
				  UFFDIO_ZEROPAGE_MODE_WP, &done));
	EXPECT_EQ((__s64)(2 * l->m.page), done);
	EXPECT_FILL(l, _UFFDIO_ZEROPAGE, 2, 2, UFFDIO_FILL_MODE_WP, 2, 0, 0);
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_FALSE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(lab_pm(page_at(l, i), LAB_PM_UFFD_WP));
		EXPECT_TRUE(lab_all(page_at(l, i), l->m.page, 0));
		EXPECT_FAULT(l, &t, page_at(l, i), true, i + 1,
			     UFFD_PAGEFAULT_FLAG_WP |
			     UFFD_PAGEFAULT_FLAG_WRITE);
		EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, i),
					      l->m.page, 0));
		EXPECT_TOUCHED(&t, i + 1);
		EXPECT_TRUE(lab_all(page_at(l, i) + 1, l->m.page - 1, 0));
	}
	EXPECT_NO_MSG(l);
}

/* Shared files: what is there need not be mapped. */
LAB_FIXTURE(file);
LAB_SHMEM_SHARED_VARIANTS(file);
LAB_HUGETLB_SHARED_VARIANTS(file);
LAB_FILEMAP_SHARED_VARIANTS(file);

TEST_F(file, skips_what_is_not_mapped)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	write_file(l, 2, 2);
	write_file(l, 6, 1);
	EXPECT_FILL(l, _UFFDIO_COPY, 0, PAGES, SKIP_PRESENT, 5, 3, 0);
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
	EXPECT_NO_MSG(l);
}

/* CONTINUE passes over what is mapped; a hole is nothing to pass over. */
TEST_F(file, skips_up_to_a_hole)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	write_file(l, 0, 6);
	ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 1), 2 * l->m.page, 0,
				  NULL));
	EXPECT_FILL(l, _UFFDIO_CONTINUE, 0, PAGES, SKIP_PRESENT, 4, 2, EFAULT);
	EXPECT_FILL(l, _UFFDIO_CONTINUE, 0, PAGES, SKIP_PRESENT, 0, 6, EFAULT);
}

/* The interface itself */
LAB_FIXTURE(call);
LAB_VARIANT(call, anon);

TEST_F(call, refused)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_COPY, 0, 1);
	const struct uffdio_fill good = {
		.ranges = (uintptr_t)&r, .count = 1, .what = _UFFDIO_COPY,
		.done = LAB_UNTOUCHED };
	struct uffdio_fill bad[] = { good, good, good, good, good, good, good };
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	bad[0].count = 0;
	bad[1].what = _UFFDIO_MOVE;
	bad[2].what = 0x103;
	bad[3].mode = 8;
	bad[4].reserved[0] = 1;
	bad[5].reserved[1] = 1;
	bad[6].what = _UFFDIO_POISON;
	bad[6].mode = UFFDIO_FILL_MODE_WP;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-EINVAL, lab_ioctl(l->uffd, UFFDIO_FILL, &bad[i])) {
			TH_LOG("question %u", i);
		}
		EXPECT_EQ((__u64)LAB_UNTOUCHED, bad[i].done);
	}
	EXPECT_EQ((__u64)LAB_UNTOUCHED, r.filled);
	EXPECT_FALSE(lab_pm(page_at(l, 0), LAB_PM_PRESENT));
	EXPECT_EQ(-EFAULT, lab_ioctl(l->uffd, UFFDIO_FILL, NULL));
}

/* A source for what has none */
TEST_F(call, no_source)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_ZEROPAGE, 0, 1);

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	r.src = (uintptr_t)l->src;
	EXPECT_EQ(0, fill(l, _UFFDIO_ZEROPAGE, &r, 1, 0, NULL));
	EXPECT_RESULT(l, r, 0, 0, EINVAL);
}

/* The array ends in the middle, or cannot take an answer. */
TEST_F(call, bad_array)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range *r;
	char *at = mmap(NULL, 2 * LAB_PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u64 done;

	ASSERT_NE(MAP_FAILED, at);
	ASSERT_EQ(0, munmap(at + LAB_PAGE, LAB_PAGE));
	r = (void *)(at + LAB_PAGE);
	r[-2] = range_of(l, _UFFDIO_COPY, 0, 1);
	r[-1] = range_of(l, _UFFDIO_COPY, 1, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-EFAULT, fill(l, _UFFDIO_COPY, r - 2, 3, 0, &done));
	EXPECT_EQ(2ULL, done);
	EXPECT_RESULT(l, r[-1], 1, 0, 0);
	EXPECT_EQ(-EFAULT, fill(l, _UFFDIO_COPY, r, 1, 0, &done));
	EXPECT_EQ(0ULL, done);
	r[-1] = range_of(l, _UFFDIO_COPY, 2, 1);
	ASSERT_EQ(0, mprotect(at, LAB_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, fill(l, _UFFDIO_COPY, r - 1, 1, 0, &done));
	EXPECT_EQ(0ULL, done);
	ASSERT_EQ(0, munmap(at, LAB_PAGE));
}

/* While the monitor has not heard of a change: stop, and say where. */
static void *remove_fn(void *area)
{
	return madvise(area, LAB_PAGE, MADV_DONTNEED) ? area : NULL;
}

TEST_F(call, changing)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r[] = { range_of(l, _UFFDIO_COPY, 0, 1),
					 range_of(l, _UFFDIO_COPY, 1, 1) };
	struct uffd_msg msg;
	struct pollfd pfd;
	pthread_t thread;
	__u64 done;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, remove_fn, page_at(l, 7)));
	pfd = (struct pollfd) { .fd = l->uffd, .events = POLLIN };
	ASSERT_EQ(1, poll(&pfd, 1, LAB_DEADLINE_MS));
	EXPECT_EQ(-EAGAIN, fill(l, _UFFDIO_COPY, r, 2, SKIP_PRESENT, &done));
	EXPECT_EQ(0ULL, done);
	EXPECT_EQ(EAGAIN, (int)r[0].error);
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	ASSERT_EQ(0, lab_join(thread, LAB_DEADLINE_MS));
	EXPECT_EQ(0, fill(l, _UFFDIO_COPY, r, 2, SKIP_PRESENT, &done));
	EXPECT_EQ(2ULL, done);
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
}

static struct uffdio_api api_of(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (uffd >= 0) {
		if (ioctl(uffd, UFFDIO_API, &api))
			api.ioctls = ~0ULL;
		close(uffd);
	}
	return api;
}

/* Who does not ask for it does not see it. */
TEST_F(call, features)
{
	const __u64 all = UFFD_FEATURE_FILL | UFFD_FEATURE_SKIP_PRESENT |
			  UFFD_FEATURE_ZEROPAGE_WP;

	EXPECT_EQ(all, api_of(0).features & all);
	EXPECT_EQ(UFFD_API_IOCTLS, api_of(0).ioctls);
	EXPECT_EQ(UFFD_API_IOCTLS, api_of(UFFD_FEATURE_ZEROPAGE_WP).ioctls);
	EXPECT_EQ(UFFD_API_IOCTLS | BIT_OF(_UFFDIO_FILL),
		  api_of(UFFD_FEATURE_FILL).ioctls);
	EXPECT_EQ(UFFD_API_IOCTLS | BIT_OF(_UFFDIO_FILL) | BIT_OF(_UFFDIO_QUERY),
		  api_of(UFFD_FEATURE_FILL | UFFD_FEATURE_QUERY).ioctls);
}

/* The process that is filled has ended. */
TEST_F(call, ended)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_COPY, 0, 1);
	int pair[2], pidfd, uffd = -1, fd, status;
	pid_t pid;
	struct uffdio_fill f = { .ranges = (uintptr_t)&r, .count = 1,
				 .what = _UFFDIO_COPY };

	ASSERT_EQ(0, pipe(pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = lab_uffd_open(BASE_FEATURES);
		if (write(pair[1], &fd, sizeof(fd)) != sizeof(fd))
			_exit(1);
		pause();
		_exit(0);
	}
	ASSERT_EQ(sizeof(fd), read(pair[0], &fd, sizeof(fd)));
	pidfd = syscall(__NR_pidfd_open, pid, 0);
	ASSERT_LE(0, pidfd);
	uffd = syscall(__NR_pidfd_getfd, pidfd, fd, 0);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(-ESRCH, lab_ioctl(uffd, UFFDIO_FILL, &f));
	close(uffd);
	close(pidfd);
	close(pair[0]);
	close(pair[1]);
}

TEST_HARNESS_MAIN
