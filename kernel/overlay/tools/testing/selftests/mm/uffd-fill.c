// SPDX-License-Identifier: GPL-2.0
/*
 * UFFDIO_FILL, many ranges in one call, on every memory type: each range has
 * its own result, present pages are skipped on request, and invalid calls are
 * rejected. Also ZEROPAGE with write protection.
 */
#include "../kselftest_harness.h"
#include "uffd/fill.h"
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>

#define MAP_HUGE UFFDIO_FILL_MODE_MAP_HUGE

static const __u32 op_codes[FILLS] = { _UFFDIO_COPY, _UFFDIO_ZEROPAGE,
				       _UFFDIO_CONTINUE, _UFFDIO_POISON };

LAB_FIXTURE(fill);
LAB_ALL_VARIANTS(fill);

TEST_F(fill, every_operation)
{
	struct lab *l = &self->l;
	char *byte = page_at(l, 4);
	unsigned int op, i;
	__u64 done;

	for (op = 0; op < FILLS; op++) {
		const __u32 code = op_codes[op];
		struct uffdio_fill_range r[] = { range_of(l, code, 0, 2),
			range_of(l, code, 7, 1), range_of(l, code, 4, 1) };

		if (!applies(&l->m, op))
			continue;
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  op == CONTINUE ? LAB_MINOR :
					  LAB_MISSING, NULL));
		if (op == CONTINUE)
			file_write(l, 0, PAGES);
		EXPECT_EQ(0, fill_ranges(l->uffd, code, r, 3, 0, &done)) {
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
		/* Start over with new memory. */
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
		byte = page_at(l, 4);
	}
	EXPECT_FALSE(has_msg(l));
}

/* A range that fails does not keep the others from being filled. */
TEST_F(fill, own_results)
{
	struct lab *l = &self->l;
	const __u32 copy = _UFFDIO_COPY;
	struct uffdio_fill_range r[] = {
		range_of(l, copy, 0, 1), range_of(l, copy, 1, 3),
		range_of(l, copy, 2, 1), range_of(l, copy, 4, 1),
		range_of(l, copy, 5, 1), range_of(l, copy, 6, 1),
		range_of(l, copy, 7, 1),
	};
	__u64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, 7 * l->m.page,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	r[3].start++;
	r[4].reserved = 1;
	EXPECT_EQ(0, fill_ranges(l->uffd, copy, r, 7, 0, &done));
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

/* Present pages are not changed, and their waiters are woken. */
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
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_FILL(l, _UFFDIO_COPY, 0, PAGES, 0, 1, 0, EEXIST);
	ASSERT_TRUE(touch_waits(&t));
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
	EXPECT_FALSE(has_msg(l));
}

/* Poison counts as present. COPY without SKIP_PRESENT replaces it. */
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

/* Sources that must be faulted in, between present pages: page by page */
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
	EXPECT_EQ(0, fill_ranges(l->uffd, _UFFDIO_COPY, &r, 1, SKIP_PRESENT, NULL));
	EXPECT_RESULT(l, r, 4, 4, 0);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, there[i]), there[i]));
	}
	EXPECT_TRUE(lab_all(page_at(l, 0), l->m.page, 0));
	EXPECT_TRUE(lab_all(page_at(l, 3), l->m.page, 0));
	EXPECT_TRUE(lab_all(page_at(l, 5), 2 * l->m.page, 0));
	ASSERT_EQ(0, munmap(from, l->m.len));
}

/* An inaccessible source ends its range, and the result has the offset. */
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
	EXPECT_EQ(0, fill_ranges(l->uffd, _UFFDIO_COPY, r, 2, SKIP_PRESENT, NULL));
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
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 1), l->m.page));
	EXPECT_TOUCHED(&t, src_at(l, 1)[0]);
}

/* Only filled pages are protected. */
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
	EXPECT_FALSE(has_msg(l));
}

/* Types that map the zero page or allocate zero-filled pages */
LAB_FIXTURE(zeroes);
LAB_BASE_VARIANTS(zeroes);

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
	EXPECT_FALSE(has_msg(l));
}

/* Shared files: a present page need not be mapped. */
LAB_FIXTURE(file);
LAB_SHARED_VARIANTS(file);

TEST_F(file, skips_what_is_not_mapped)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	file_write(l, 2, 2);
	file_write(l, 6, 1);
	EXPECT_FILL(l, _UFFDIO_COPY, 0, PAGES, SKIP_PRESENT, 5, 3, 0);
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
	EXPECT_FALSE(has_msg(l));
}

/* CONTINUE skips mapped pages; a hole is an error. */
TEST_F(file, skips_up_to_a_hole)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	file_write(l, 0, 6);
	ASSERT_EQ(0, lab_continue(l->uffd, page_at(l, 1), 2 * l->m.page, 0,
				  NULL));
	EXPECT_FILL(l, _UFFDIO_CONTINUE, 0, PAGES, SKIP_PRESENT, 4, 2, EFAULT);
	EXPECT_FILL(l, _UFFDIO_CONTINUE, 0, PAGES, SKIP_PRESENT, 0, 6, EFAULT);
}

/*
 * Huge pages of files: mapped whole where MINOR is registered, only on request
 */

FIXTURE(huge) {
	struct lab l;
};

FIXTURE_SETUP(huge)
{
	ASSERT_EQ(0, lab_setup_pages(&self->l, &lab_huge_shared,
				     LAB_HUGE / LAB_PAGE));
	ASSERT_EQ(0, lab_reopen(&self->l,
				BASE_FEATURES | UFFD_FEATURE_MAP_HUGE));
}

FIXTURE_TEARDOWN(huge)
{
	lab_teardown(&self->l);
}

TEST_F(huge, on_request)
{
	static const struct {
		__u64 modes;
		__u32 op;
		__u64 mode;
		bool whole;
	} cases[] = {
		{ LAB_MISSING, _UFFDIO_COPY, 0, true },
		{ LAB_MISSING, _UFFDIO_ZEROPAGE, 0, true },
		{ LAB_MISSING | LAB_MINOR, _UFFDIO_COPY, 0, false },
		{ LAB_MISSING | LAB_MINOR, _UFFDIO_COPY, MAP_HUGE, true },
		{ LAB_MISSING | LAB_MINOR, _UFFDIO_ZEROPAGE, 0, false },
		{ LAB_MISSING | LAB_MINOR, _UFFDIO_ZEROPAGE, MAP_HUGE, true },
		{ LAB_MISSING | LAB_MINOR, _UFFDIO_CONTINUE, 0, false },
		{ LAB_MINOR, _UFFDIO_CONTINUE, 0, false },
		{ LAB_MINOR, _UFFDIO_CONTINUE, MAP_HUGE, true },
		{ LAB_MISSING | LAB_WP, _UFFDIO_COPY, 0, false },
		{ LAB_MISSING | LAB_WP, _UFFDIO_COPY, MAP_HUGE, false },
		{ LAB_MISSING | LAB_WP, _UFFDIO_ZEROPAGE, MAP_HUGE, false },
		{ LAB_MINOR | LAB_WP, _UFFDIO_CONTINUE, MAP_HUGE, false },
	};
	struct lab *l = &self->l;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  cases[i].modes, NULL));
		if (cases[i].op == _UFFDIO_CONTINUE)
			file_write(l, 0, 512);
		EXPECT_FILL(l, cases[i].op, 0, 512, cases[i].mode, 512, 0, 0);
		EXPECT_EQ(cases[i].whole, lab_mapped_whole(page_at(l, 0))) {
			TH_LOG("case %u", i);
		}
		if (cases[i].op == _UFFDIO_ZEROPAGE) {
			EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0));
		} else {
			EXPECT_EQ(0, memcmp(l->m.area, l->src, l->m.len));
		}
		EXPECT_FALSE(has_msg(l));
		/* Start over with new memory. */
		ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, &lab_huge_shared, 512));
	}
}

/* The interface itself */
LAB_FIXTURE(call);
LAB_VARIANT(call, anon);

TEST_F(call, refused)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_COPY, 0, 1);
	const struct uffdio_fill good = {
		.ranges = (uintptr_t)&r, .count = 1, .op = _UFFDIO_COPY,
		.done = LAB_UNTOUCHED };
	struct uffdio_fill bad[] = { good, good, good, good, good, good, good };
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	bad[0].count = 0;
	bad[1].op = _UFFDIO_MOVE;
	bad[2].op = 0x103;
	bad[3].mode = 8;
	bad[4].reserved[0] = 1;
	bad[5].reserved[1] = 1;
	bad[6].op = _UFFDIO_POISON;
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

/* A source for an operation without one */
TEST_F(call, no_source)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_ZEROPAGE, 0, 1);

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	r.src = (uintptr_t)l->src;
	EXPECT_EQ(0, fill_ranges(l->uffd, _UFFDIO_ZEROPAGE, &r, 1, 0, NULL));
	EXPECT_RESULT(l, r, 0, 0, EINVAL);
}

/* The array ends early, or the kernel cannot write the results. */
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
	EXPECT_EQ(-EFAULT, fill_ranges(l->uffd, _UFFDIO_COPY, r - 2, 3, 0, &done));
	EXPECT_EQ(2ULL, done);
	EXPECT_RESULT(l, r[-1], 1, 0, 0);
	EXPECT_EQ(-EFAULT, fill_ranges(l->uffd, _UFFDIO_COPY, r, 1, 0, &done));
	EXPECT_EQ(0ULL, done);
	r[-1] = range_of(l, _UFFDIO_COPY, 2, 1);
	ASSERT_EQ(0, mprotect(at, LAB_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, fill_ranges(l->uffd, _UFFDIO_COPY, r - 1, 1, 0, &done));
	EXPECT_EQ(0ULL, done);
	ASSERT_EQ(0, munmap(at, LAB_PAGE));
}

/* A pending event stops the call, and the result has the position. */
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
	EXPECT_EQ(-EAGAIN, fill_ranges(l->uffd, _UFFDIO_COPY, r, 2, SKIP_PRESENT, &done));
	EXPECT_EQ(0ULL, done);
	EXPECT_EQ(EAGAIN, (int)r[0].error);
	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	ASSERT_EQ(0, lab_join(thread, LAB_DEADLINE_MS));
	EXPECT_EQ(0, fill_ranges(l->uffd, _UFFDIO_COPY, r, 2, SKIP_PRESENT, &done));
	EXPECT_EQ(2ULL, done);
	EXPECT_TRUE(same_at(l, page_at(l, 1), 1));
}

/*
 * Signals: filling anonymous memory with zeroes needs page tables only, so a
 * range can be long enough to be interrupted.
 */
#define LONG_GIB	(sizeof(long) == 8 ? 32UL : 1UL)

static char *map_long(size_t len)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct totals {
	__u64 filled;
	__u64 skipped;
	__u64 failed;			/* ranges that could not be filled */
	unsigned long interrupted;	/* calls */
};

/* Fills, and continues after each signal; 0 or -errno */
static int fill_on(int uffd, __u32 op, struct uffdio_fill_range *r,
		   unsigned int count, __u64 mode, struct totals *t)
{
	memset(t, 0, sizeof(*t));
	for (;;) {
		struct uffdio_fill f = { .ranges = (uintptr_t)r,
			.count = count, .op = op, .mode = mode };
		int err = lab_ioctl(uffd, UFFDIO_FILL, &f);
		struct uffdio_fill_range *end = r + f.done;
		__u64 part;

		for (; r < end; r++) {
			t->filled += r->filled;
			t->skipped += r->skipped;
			t->failed += !!r->error;
		}
		if (err != -EINTR)
			return err;
		part = r->filled + r->skipped;
		if (r->error != EINTR || part >= r->len)
			return -EPROTO;
		/* Without progress a caller might never finish. */
		if (!f.done && !part)
			return -ETIME;
		count -= f.done;
		t->interrupted++;
		t->filled += r->filled;
		t->skipped += r->skipped;
		r->start += part;
		r->len -= part;
		r->src += op == _UFFDIO_COPY ? part : 0;
	}
}

static void nothing(int sig)
{
	(void)sig;
}

/* The call is not restarted, even with SA_RESTART. */
static int handle(int sig)
{
	struct sigaction sa = { .sa_handler = nothing, .sa_flags = SA_RESTART };

	return sigaction(sig, &sa, NULL);
}

/* A profiling timer: ranges end early, and the rest is filled in the end. */
TEST_F(call, timer)
{
	const struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
	const struct itimerval never = { };
	const size_t len = lab_scale(LONG_GIB << 10) << 20;
	struct lab *l = &self->l;
	char *p = map_long(len);
	const struct uffdio_fill_range whole[] = {
		{ .start = (uintptr_t)p, .len = len / 2 },
		{ .start = (uintptr_t)p + len / 2, .len = len / 2 } };
	struct uffdio_fill_range r[2];
	struct totals t;

	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, lab_register(l->uffd, p, len, LAB_MISSING, NULL));
	ASSERT_EQ(0, handle(SIGALRM));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &every, NULL));
	memcpy(r, whole, sizeof(r));
	EXPECT_EQ(0, fill_on(l->uffd, _UFFDIO_ZEROPAGE, r, 2, 0, &t));
	EXPECT_EQ(len, t.filled);
	EXPECT_EQ(0ULL, t.skipped + t.failed);
	EXPECT_LT(0UL, t.interrupted);
	TH_LOG("interrupted %lu times", t.interrupted);
	memcpy(r, whole, sizeof(r));
	EXPECT_EQ(0, fill_on(l->uffd, _UFFDIO_ZEROPAGE, r, 2, SKIP_PRESENT,
			     &t));
	EXPECT_EQ(len, t.skipped);
	EXPECT_EQ(0ULL, t.filled + t.failed);
	TH_LOG("interrupted %lu times", t.interrupted);
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
	ASSERT_EQ(0, munmap(p, len));
}

/* Signals that arrive faster than a range takes; some calls make no progress */
struct storm {
	pthread_t target;
	int stop;
};

static void *storm_fn(void *arg)
{
	struct storm *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		pthread_kill(s->target, SIGUSR1);
	return NULL;
}

#define STORM_RANGES	4096U

TEST_F(call, storm)
{
	struct lab *l = &self->l;
	const size_t len = STORM_RANGES * LAB_PAGE;
	static struct uffdio_fill_range r[STORM_RANGES];
	struct storm s = { .target = pthread_self() };
	char *p = map_long(len), *from = map_long(len);
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	pthread_t thread;
	struct totals t;
	unsigned int i;

	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, from);
	lab_fill(from, len, 7);
	for (i = 0; i < STORM_RANGES; i++) {
		r[i].start = (uintptr_t)p + i * LAB_PAGE;
		r[i].src = (uintptr_t)from + i * LAB_PAGE;
		r[i].len = LAB_PAGE;
		r[i].reserved = i % 4 == 3;	/* that is EINVAL */
	}
	ASSERT_EQ(0, lab_register(l->uffd, p, len, LAB_MISSING, NULL));
	ASSERT_EQ(0, handle(SIGUSR1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, storm_fn, &s));
	EXPECT_EQ(0, fill_on(l->uffd, _UFFDIO_COPY, r, STORM_RANGES, 0, &t));
	EXPECT_EQ(len / 4 * 3, t.filled);
	EXPECT_EQ(STORM_RANGES / 4ULL, t.failed);
	/*
	 * On a busy machine no signal may have arrived yet: EEXIST is progress.
	 */
	while (!t.interrupted && lab_now_ms() < end) {
		ASSERT_EQ(0, fill_on(l->uffd, _UFFDIO_COPY, r, STORM_RANGES, 0,
				     &t));
		ASSERT_EQ(STORM_RANGES, t.failed);
	}
	EXPECT_LT(0UL, t.interrupted);
	TH_LOG("interrupted %lu times", t.interrupted);
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, lab_join(thread, LAB_DEADLINE_MS));
	for (i = 0; i < STORM_RANGES; i++) {
		if (i % 4 == 3) {
			ASSERT_FALSE(lab_pm(p + i * LAB_PAGE, LAB_PM_PRESENT));
			ASSERT_EQ(EINVAL, (int)r[i].error);
		} else {
			ASSERT_EQ(0, memcmp(p + i * LAB_PAGE,
					    from + i * LAB_PAGE, LAB_PAGE));
		}
	}
	ASSERT_EQ(0, munmap(p, len));
	ASSERT_EQ(0, munmap(from, len));
}

/* A blocked signal is not pending. */
TEST_F(call, blocked_signal)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r[] = { range_of(l, _UFFDIO_COPY, 0, 3),
					 range_of(l, _UFFDIO_COPY, 4, 1) };
	sigset_t usr1;
	__u64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &usr1, NULL));
	ASSERT_EQ(0, raise(SIGUSR1));
	EXPECT_EQ(0, fill_ranges(l->uffd, _UFFDIO_COPY, r, 2, 0, &done));
	EXPECT_EQ(2ULL, done);
	EXPECT_RESULT(l, r[0], 3, 0, 0);
	EXPECT_RESULT(l, r[1], 1, 0, 0);
}

/* A process that fills one long range, and the process that disturbs it */
FIXTURE(process) {
	struct long_fill {
		struct uffdio_fill_range r;
		struct uffdio_fill f;
		__u64 total;
		long tables;		/* in KiB, before the call */
		int begun;
		int err;
	} *f;
	size_t len;
	pid_t pid;
	char dir[LAB_CGROUP_LEN];
};

FIXTURE_VARIANT(process) {
	int (*pause)(pid_t pid, const char *dir);
	int (*resume)(pid_t pid, const char *dir);
};

static void fill_long(struct long_fill *f, size_t len, const char *dir)
{
	int uffd = lab_uffd_open(BASE_FEATURES);
	char *p = map_long(len);

	/* Joining a control group takes long. */
	if (dir[0] && lab_write(dir, "cgroup.procs", "0"))
		_exit(3);
	if (!p || uffd < 0 || lab_register(uffd, p, len, LAB_MISSING, NULL))
		_exit(1);
	f->r = (struct uffdio_fill_range) {
		.start = (uintptr_t)p, .len = len };
	f->tables = lab_number("/proc/self/status", "VmPTE:");
	__atomic_store_n(&f->begun, 1, __ATOMIC_RELEASE);
	do {
		f->f = (struct uffdio_fill) {
			.ranges = (uintptr_t)&f->r, .count = 1,
			.op = _UFFDIO_ZEROPAGE };
		f->err = lab_ioctl(uffd, UFFDIO_FILL, &f->f);
		f->total += f->r.filled;
		f->r.start += f->r.filled;
		f->r.len -= f->r.filled;
	} while (f->err == -EINTR);
	_exit(f->err || f->r.error || f->total != len ? 2 : 0);
}

/* The process is in the middle of its range. */
static int wait_until_filling(struct long_fill *f, pid_t pid, size_t len)
{
	const long enough = len / 64 / LAB_PAGE * sizeof(long) / 1024;
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	while (lab_now_ms() < end) {
		if (__atomic_load_n(&f->begun, __ATOMIC_ACQUIRE) &&
		    lab_number(path, "VmPTE:") >= f->tables + enough)
			return 0;
		lab_sleep_ms(1);
	}
	return -ETIMEDOUT;
}

static int killed(pid_t pid, const char *dir)
{
	int status;

	(void)dir;
	if (kill(pid, SIGKILL) || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSIGNALED(status) ? 0 : -EPROTO;
}

static int stop(pid_t pid, const char *dir)
{
	int status;

	(void)dir;
	if (kill(pid, SIGSTOP) || waitpid(pid, &status, WUNTRACED) != pid)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -EPROTO;
}

static int proceed(pid_t pid, const char *dir)
{
	(void)dir;
	return kill(pid, SIGCONT) ? -errno : 0;
}

static int trace(pid_t pid, const char *dir)
{
	int status;

	(void)dir;
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) ||
	    waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -EPROTO;
}

static int detach(pid_t pid, const char *dir)
{
	(void)dir;
	return ptrace(PTRACE_DETACH, pid, NULL, NULL) ? -errno : 0;
}

static int cgroup_freeze(pid_t pid, const char *dir)
{
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	int err = lab_write(dir, "cgroup.freeze", "1");
	char path[LAB_CGROUP_LEN + 16];

	(void)pid;
	snprintf(path, sizeof(path), "%s/cgroup.events", dir);
	while (!err && lab_number(path, "frozen ") != 1) {
		lab_sleep_ms(1);
		err = lab_now_ms() > end ? -ETIMEDOUT : 0;
	}
	return err;
}

static int cgroup_thaw(pid_t pid, const char *dir)
{
	(void)pid;
	return lab_write(dir, "cgroup.freeze", "0");
}

FIXTURE_VARIANT_ADD(process, killed) { .pause = killed };
FIXTURE_VARIANT_ADD(process, stopped) {
	.pause = stop, .resume = proceed };
FIXTURE_VARIANT_ADD(process, traced) {
	.pause = trace, .resume = detach };
FIXTURE_VARIANT_ADD(process, frozen) {
	.pause = cgroup_freeze, .resume = cgroup_thaw };

FIXTURE_SETUP(process)
{
	self->len = lab_scale(LONG_GIB << 10) << 20;
	self->f = mmap(NULL, sizeof(*self->f), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->f);
	self->dir[0] = '\0';
	if (variant->pause == cgroup_freeze) {
		snprintf(self->dir, sizeof(self->dir), LAB_CGROUPS "/fill-%d",
			 getpid());
		ASSERT_EQ(0, mkdir(self->dir, 0755));
	}
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (!self->pid)
		fill_long(self->f, self->len, self->dir);
}

FIXTURE_TEARDOWN(process)
{
	if (self->pid > 0) {
		kill(self->pid, SIGKILL);
		waitpid(self->pid, NULL, 0);
	}
	if (self->dir[0])
		rmdir(self->dir);
}

TEST_F(process, in_a_range)
{
	struct long_fill *f = self->f;
	int status = -1;

	ASSERT_EQ(0, wait_until_filling(f, self->pid, self->len));
	ASSERT_EQ(0, variant->pause(self->pid, self->dir));
	/* It wrote its result, even if it was killed. */
	EXPECT_EQ(EINTR, (int)f->r.error);
	EXPECT_EQ(0ULL, f->f.done);
	EXPECT_LT(0ULL, f->r.filled);
	EXPECT_GT(self->len, f->r.filled);
	TH_LOG("%llu of %zu MiB", f->r.filled >> 20, self->len >> 20);
	if (!variant->resume) {
		self->pid = 0;
		return;
	}
	ASSERT_EQ(0, variant->resume(self->pid, self->dir));
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
	self->pid = 0;
	EXPECT_EQ(0, status);
	EXPECT_EQ(self->len, f->total);
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

/*
 * Features that depend on the architecture or the configuration are reported if
 * they work, and cannot be requested otherwise. The same applies to what they
 * enable.
 */
TEST_F(call, features_have_what_they_need)
{
	static const __u64 ours[] = {
		UFFD_FEATURE_QUERY, UFFD_FEATURE_ZEROPAGE_WP, UFFD_FEATURE_FILL,
		UFFD_FEATURE_SKIP_PRESENT, UFFD_FEATURE_MAP_HUGE };
	const __u64 always = UFFD_FEATURE_QUERY | UFFD_FEATURE_FILL |
			     UFFD_FEATURE_SKIP_PRESENT;
	const bool thp = !access("/sys/kernel/mm/transparent_hugepage", F_OK);
	const __u64 features = api_of(0).features;
	const bool minor = features & UFFD_FEATURE_MINOR_SHMEM;
	const bool wp = features & UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_ZEROPAGE, 0, 1);
	unsigned int i;
	__u64 done;

	EXPECT_EQ(always, features & always);
	EXPECT_EQ(wp, !!(features & UFFD_FEATURE_ZEROPAGE_WP));
	EXPECT_EQ(minor && thp, !!(features & UFFD_FEATURE_MAP_HUGE));
	for (i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
		EXPECT_EQ(features & ours[i] ? features : 0,
			  api_of(ours[i]).features);
	}
	if (wp)
		return;
	ASSERT_EQ(0, lab_reopen(l, 0));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, ZEROPAGE, l->m.area, NULL,
		  l->m.page, UFFDIO_ZEROPAGE_MODE_WP);
	EXPECT_EQ(-EINVAL, fill_ranges(l->uffd, _UFFDIO_ZEROPAGE, &r, 1,
				       UFFDIO_FILL_MODE_WP, &done));
	EXPECT_EQ((__u64)LAB_UNTOUCHED, done);
}

/* Without the feature, it is rejected like any unknown bit. */
TEST_F(call, map_huge_is_requested)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_COPY, 0, 1);
	__u64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(-EINVAL, fill_ranges(l->uffd, _UFFDIO_COPY, &r, 1, MAP_HUGE, &done));
	EXPECT_EQ((__u64)LAB_UNTOUCHED, done);
	EXPECT_EQ((__u64)LAB_UNTOUCHED, r.filled);
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, CONTINUE, l->m.area, NULL,
		  l->m.page, UFFDIO_CONTINUE_MODE_MAP_HUGE);

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_MAP_HUGE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, fill_ranges(l->uffd, _UFFDIO_COPY, &r, 1, MAP_HUGE, &done));
	EXPECT_RESULT(l, r, 1, 0, 0);
	EXPECT_EQ(-EINVAL, fill_ranges(l->uffd, _UFFDIO_POISON, &r, 1, MAP_HUGE, &done));
	/*
	 * With the feature it is known, but anonymous memory does not support
	 * CONTINUE.
	 */
	EXPECT_OP(FAILED(-EINVAL), l->uffd, CONTINUE, page_at(l, 1), NULL,
		  l->m.page, UFFDIO_CONTINUE_MODE_MAP_HUGE);
	/* Other ioctls do not accept it. */
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, COPY, page_at(l, 1), l->src,
		  l->m.page, MAP_HUGE);
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, ZEROPAGE, page_at(l, 1), NULL,
		  l->m.page, MAP_HUGE);
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, POISON, page_at(l, 1), NULL,
		  l->m.page, MAP_HUGE);
}

/* Without the feature, the ioctl is not reported. */
TEST_F(call, features)
{
	EXPECT_EQ(UFFD_API_IOCTLS, api_of(0).ioctls);
	EXPECT_EQ(UFFD_API_IOCTLS, api_of(UFFD_FEATURE_SKIP_PRESENT).ioctls);
	EXPECT_EQ(UFFD_API_IOCTLS | BIT_OF(_UFFDIO_FILL),
		  api_of(UFFD_FEATURE_FILL).ioctls);
	EXPECT_EQ(UFFD_API_IOCTLS | BIT_OF(_UFFDIO_FILL) | BIT_OF(_UFFDIO_QUERY),
		  api_of(UFFD_FEATURE_FILL | UFFD_FEATURE_QUERY).ioctls);
}

/* The process whose memory is filled has ended. */
TEST_F(call, ended)
{
	struct lab *l = &self->l;
	struct uffdio_fill_range r = range_of(l, _UFFDIO_COPY, 0, 1);
	int pair[2], pidfd, uffd = -1, fd, status;
	pid_t pid;
	struct uffdio_fill f = { .ranges = (uintptr_t)&r, .count = 1,
				 .op = _UFFDIO_COPY };

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

static const struct layout layouts[] = {
	SIZE_OF(uffdio_fill_range, 48),
	OFFSET_OF(uffdio_fill_range, start, 0),
	OFFSET_OF(uffdio_fill_range, len, 8),
	OFFSET_OF(uffdio_fill_range, src, 16),
	OFFSET_OF(uffdio_fill_range, filled, 24),
	OFFSET_OF(uffdio_fill_range, skipped, 32),
	OFFSET_OF(uffdio_fill_range, error, 40),
	OFFSET_OF(uffdio_fill_range, reserved, 44),
	SIZE_OF(uffdio_fill, 48),
	OFFSET_OF(uffdio_fill, ranges, 0),
	OFFSET_OF(uffdio_fill, count, 8),
	OFFSET_OF(uffdio_fill, op, 12),
	OFFSET_OF(uffdio_fill, mode, 16),
	OFFSET_OF(uffdio_fill, done, 24),
	OFFSET_OF(uffdio_fill, reserved, 32),
};

TEST(layout)
{
	EXPECT_STREQ("", layout_flaw(layouts, ARRAY_SIZE(layouts)));
	EXPECT_EQ(0xc030aa21U, UFFDIO_FILL);
}

TEST_HARNESS_MAIN
