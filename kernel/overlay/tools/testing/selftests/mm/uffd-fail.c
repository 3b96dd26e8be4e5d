// SPDX-License-Identifier: GPL-2.0
/*
 * Fills in which an allocation fails: each one in turn, on every memory type. A
 * fill must report what it did, and leave nothing behind that disturbs the same
 * fill afterwards. Needs a kernel with fault injection (CONFIG_FAILSLAB and
 * CONFIG_FAIL_PAGE_ALLOC).
 */
/* Few pages: each allocation of a fill costs a run of it. */
#define PAGES	3

#include "../kselftest_harness.h"
#include "uffd/fill.h"
#include "uffd/huge.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define PAGE_ALLOC	"/sys/kernel/debug/fail_page_alloc"
#define SLAB		"/sys/kernel/debug/failslab"

/* More allocations than any fill makes */
#define MOST	2000

#define TIMEOUT_S	240

/* Open all the time: opening it allocates. */
static int fail_fd = -1;

/* All allocations may fail. NULL, or the reason why none can. */
static const char *allow_failures(void)
{
	static const struct {
		const char *dir, *name, *value;
	} settings[] = {
		{ PAGE_ALLOC, "ignore-gfp-highmem", "N" },
		{ PAGE_ALLOC, "ignore-gfp-wait", "N" },
		{ PAGE_ALLOC, "min-order", "0" },
		{ PAGE_ALLOC, "verbose", "0" },
		{ SLAB, "ignore-gfp-wait", "N" },
		{ SLAB, "verbose", "0" },
	};
	unsigned int i;

	fail_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (fail_fd < 0)
		return "no fault injection in this kernel";
	for (i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		if (lab_write(settings[i].dir, settings[i].name,
			      settings[i].value))
			return "no fault injection in allocations";
	return NULL;
}

/* The @n-th allocation of this thread from now on fails. */
static void fail_nth(unsigned int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	if (pwrite(fail_fd, text, strlen(text), 0) < 0)
		abort();
}

/* Ends that. Returns whether an allocation has failed. */
static bool failed(void)
{
	char left = '0';

	if (pread(fail_fd, &left, 1, 0) != 1)
		abort();
	fail_nth(0);
	return left == '0';
}

/* Granules of the area that are filled as @op would do. */
static unsigned int filled(const struct lab *l, enum op op)
{
	unsigned int i, n = 0;

	for (i = 0; i < l->m.pages; i++) {
		if (!lab_pm(page_at(l, i), LAB_PM_PRESENT) && op != POISON)
			continue;
		if (op == POISON)
			n += read_byte(page_at(l, i)) == 0x100 + SIGBUS;
		else if (op == ZEROPAGE)
			n += lab_all(page_at(l, i), l->m.page, 0);
		else
			n += same_at(l, page_at(l, i), i);
	}
	return n;
}

static int set_up(struct lab *l, const struct lab_type *type, enum op op,
		  unsigned int pages)
{
	int err = lab_setup_pages(l, type, pages);

	if (err)
		return err;
	madvise(l->m.area, l->m.len, MADV_HUGEPAGE);
	if (op == CONTINUE)
		file_write(l, 0, pages);
	return lab_register(l->uffd, l->m.area, l->m.len, op == CONTINUE ?
			    LAB_MINOR : LAB_MISSING, NULL);
}

/*
 * Fills the area while the @n-th allocation fails, and then what is left of it.
 * Returns whether an allocation failed.
 */
static bool fill_once(struct __test_metadata *_metadata, struct lab *l,
		      enum op op, unsigned int n)
{
	size_t part = 0;
	__s64 done;
	bool hit;
	int err;

	fail_nth(n);
	err = run_op(l->uffd, op, l->m.area, l->src, l->m.len, 0, &done);
	hit = failed();
	if (!err) {
		/* Some allocations can fail without an effect. */
		EXPECT_EQ((__s64)l->m.len, done);
		part = l->m.len;
	} else if (err == -EAGAIN) {
		EXPECT_TRUE(hit);
		EXPECT_LT(0, done);
		EXPECT_GT((__s64)l->m.len, done);
		part = done;
	} else {
		EXPECT_TRUE(hit);
		EXPECT_EQ(-ENOMEM, err);
		EXPECT_EQ(-ENOMEM, done);
	}
	EXPECT_EQ(0UL, part % l->m.page);
	if (part < l->m.len) {
		EXPECT_FALSE(lab_pm(l->m.area + part, LAB_PM_PRESENT));
		EXPECT_EQ(0, run_op(l->uffd, op, l->m.area + part,
				    l->src + part, l->m.len - part, 0,
				    &done));
		EXPECT_EQ((__s64)(l->m.len - part), done);
	}
	EXPECT_EQ(l->m.pages, filled(l, op)) {
		TH_LOG("%s, allocation %u", op_name[op], n);
	}
	return hit;
}

/*
 * Every allocation of a fill of @pages granules fails once, and a sample of those
 * after the first 32. Returns how many that were.
 */
static unsigned int fill_all(struct __test_metadata *_metadata, struct lab *l,
			     const struct lab_type *type, enum op op,
			     unsigned int pages)
{
	unsigned int n, hits = 0;
	bool hit = true;

	for (n = 1; hit && n < MOST; n += 1 + n / 32) {
		EXPECT_EQ(0, set_up(l, type, op, pages)) {
			return 0;
		}
		hit = fill_once(_metadata, l, op, n);
		hits += hit;
		lab_teardown(l);
	}
	EXPECT_FALSE(hit);
	return hits;
}

FIXTURE(fill)
{
	struct lab l;
};

FIXTURE_VARIANT(fill)
{
	const struct lab_type *type;
};

FIXTURE_SETUP(fill)
{
	LAB_SKIP_IF(allow_failures());
	LAB_SKIP_IF(lab_lacking(variant->type));
}

FIXTURE_TEARDOWN(fill)
{
	close(fail_fd);
}

LAB_ALL_VARIANTS(fill);

TEST_F_TIMEOUT(fill, each_allocation, TIMEOUT_S)
{
	const struct lab_mem m = { .flags = variant->type->flags };
	unsigned int n = 0;
	enum op op;

	for (op = 0; op < FILLS; op++)
		if (applies(&m, op))
			n += fill_all(_metadata, &self->l, variant->type, op,
				      PAGES);
	/* Otherwise nothing was tested. */
	EXPECT_LT(0U, n);
}

/* A huge page */
FIXTURE(huge)
{
	struct lab l;
};

FIXTURE_VARIANT(huge)
{
	const struct lab_type *type;
};

FIXTURE_SETUP(huge)
{
	LAB_SKIP_IF(allow_failures());
}

FIXTURE_TEARDOWN(huge)
{
	close(fail_fd);
}

LAB_VARIANT(huge, anon);
LAB_VARIANT(huge, huge_shared);
LAB_VARIANT(huge, huge_private);

TEST_F_TIMEOUT(huge, each_allocation, TIMEOUT_S)
{
	EXPECT_LT(0U, fill_all(_metadata, &self->l, variant->type, COPY,
			       LAB_HUGE / LAB_PAGE));
}

TEST_HARNESS_MAIN
