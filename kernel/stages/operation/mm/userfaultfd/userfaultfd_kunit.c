// SPDX-License-Identifier: GPL-2.0-only
/*
 * userfaultfd_kunit.c - tests of the rules of vm_ops->userfaultfd_request()
 *
 * The memory type exists only here; each test sets its answers. What the core
 * does with user memory and page tables is tested from user space, in
 * tools/testing/selftests/mm/. Only the case of a page table that has gone is
 * tested here.
 *
 * A wrong answer causes a warning, and the test kernels panic on warnings.
 * Therefore the checks are tested here, not the warnings that follow from them.
 */
#include <kunit/test.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/pgalloc.h>

#include "internal.h"

/* The memory type under test: one file, one mapping of it, one folio. */
struct uffd_test {
	struct inode inode;
	struct address_space mapping;
	struct file file;
	struct vm_area_struct vma;
	struct uffd_supported supported;
	struct folio *folio;
	struct folio *next;
	int err;
	int asked;
	int undone;
};

static struct uffd_test *uffd_test_of(struct vm_area_struct *vma)
{
	return container_of(vma, struct uffd_test, vma);
}

static int uffd_test_request(struct uffd_request *req)
{
	struct uffd_test *t = uffd_test_of(req->vma);

	t->asked++;
	if (t->err)
		return t->err;
	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		req->supported = t->supported;
		return 0;
	case UFFD_REQ_GET_PRESENT:
		return t->folio ? 0 : -ENOENT;
	case UFFD_REQ_FAULT_RESOLVE:
		folio_get(t->folio);
		folio_lock(t->folio);
		folio_batch_add(&req->resolve.folios, t->folio);
		if (t->next) {
			folio_get(t->next);
			folio_lock(t->next);
			folio_batch_add(&req->resolve.folios, t->next);
		}
		return 0;
	case UFFD_REQ_FAULT_UNDO:
		t->undone++;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static const struct vm_operations_struct uffd_test_ops = {
	.userfaultfd_request = uffd_test_request,
};

static const struct vm_operations_struct uffd_test_no_ops;

#define UFFD_TEST_INDEX	8

/* A folio at @index of the file, with the references of a page cache */
static struct folio *uffd_test_add(struct uffd_test *t, unsigned int order,
				   pgoff_t index)
{
	struct folio *folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, order);

	if (!folio)
		return NULL;
	folio_ref_add(folio, folio_nr_pages(folio));
	folio->mapping = &t->mapping;
	folio->index = index;
	folio_mark_uptodate(folio);
	folio_set_lru(folio);
	return folio;
}

/* Removes it. It must be unlocked and have no other reference. */
static void uffd_test_remove(struct kunit *test, struct folio *folio)
{
	KUNIT_EXPECT_FALSE(test, folio_test_locked(folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), folio_nr_pages(folio) + 1);
	folio->mapping = NULL;
	folio_clear_lru(folio);
	folio_put_refs(folio, folio_nr_pages(folio) + 1);
}

static int uffd_test_init(struct kunit *test)
{
	struct uffd_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->mapping.host = &t->inode;
	t->file.f_mapping = &t->mapping;
	t->vma.vm_start = SZ_1M;
	t->vma.vm_end = SZ_2M;
	t->vma.vm_file = &t->file;
	t->vma.vm_ops = &uffd_test_ops;
	t->supported.modes = VM_UFFD_MISSING;
	t->supported.granule = PAGE_SIZE;

	t->folio = uffd_test_add(t, 0, UFFD_TEST_INDEX);
	KUNIT_ASSERT_NOT_NULL(test, t->folio);
	test->priv = t;
	return 0;
}

static void uffd_test_exit(struct kunit *test)
{
	struct uffd_test *t = test->priv;

	if (t && t->folio)
		uffd_test_remove(test, t->folio);
}

/*
 * GET_SUPPORTED
 */

static void uffd_test_sane(struct kunit *test)
{
	static const struct {
		vm_flags_t modes;
		unsigned long granule;
		bool sane;
	} cases[] = {
		{ 0, PAGE_SIZE, true },
		{ VM_UFFD_MISSING, PAGE_SIZE, true },
		{ __VM_UFFD_FLAGS, PAGE_SIZE, true },
		/* Only hugetlb may have another page size. */
		{ __VM_UFFD_FLAGS, PMD_SIZE, false },
		{ VM_UFFD_MISSING | VM_SHARED, PAGE_SIZE, false },
		{ VM_UFFD_MISSING, 0, false },
		{ VM_UFFD_MISSING, PAGE_SIZE / 2, false },
		{ VM_UFFD_MISSING, 3 * PAGE_SIZE, false },
		{ VM_UFFD_MISSING, PAGE_SIZE + 1, false },
	};
	struct uffd_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct uffd_supported answer = {
			.modes = cases[i].modes,
			.granule = cases[i].granule,
		};

		KUNIT_EXPECT_EQ_MSG(test, uffd_supported_sane(&t->vma, &answer),
				    cases[i].sane, "case %u", i);
	}
}

/* May the mapping be registered? Only then is there a page size. */
static bool uffd_test_can(struct uffd_test *t, vm_flags_t modes, bool wp_async)
{
	unsigned long granule = 0;

	return !userfaultfd_refusal(&t->vma, modes, wp_async, &granule) &&
	       granule >= PAGE_SIZE;
}

/* Modes are accepted if and only if the type supports each of them. */
static void uffd_test_modes(struct kunit *test)
{
	static const vm_flags_t modes[] = {
		VM_UFFD_MISSING, VM_UFFD_MINOR, VM_UFFD_WP,
		VM_UFFD_MISSING | VM_UFFD_MINOR, VM_UFFD_MISSING | VM_UFFD_WP,
		VM_UFFD_MINOR | VM_UFFD_WP, __VM_UFFD_FLAGS,
	};
	struct uffd_test *t = test->priv;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		t->supported.modes = modes[i];
		for (j = 0; j < ARRAY_SIZE(modes); j++)
			KUNIT_EXPECT_EQ(test,
					uffd_test_can(t, modes[j], false),
					!(modes[j] & ~modes[i]));
		/* No mode: is any supported? Other flags are ignored. */
		KUNIT_EXPECT_TRUE(test, uffd_test_can(t, 0, false));
		KUNIT_EXPECT_TRUE(test, uffd_test_can(t, VM_READ | VM_SHARED, false));
	}
	t->supported.modes = 0;
	KUNIT_EXPECT_FALSE(test, uffd_test_can(t, 0, false));
}

/* The reason of a rejection, or UFFD_REFUSAL_NONE */
static enum uffd_refusal uffd_test_why(struct uffd_test *t, vm_flags_t modes,
				       bool wp_async)
{
	unsigned long granule;

	return userfaultfd_refusal(&t->vma, modes, wp_async, &granule);
}

static void uffd_test_refused(struct kunit *test)
{
	static const struct {
		vm_flags_t flag;
		enum uffd_refusal why;
	} never[] = {
		{ VM_DROPPABLE, UFFD_REFUSAL_DROPPABLE },
		{ VM_SHADOW_STACK, UFFD_REFUSAL_SPECIAL },
		{ VM_IO, UFFD_REFUSAL_SPECIAL },
		{ VM_PFNMAP, UFFD_REFUSAL_SPECIAL },
		{ VM_MIXEDMAP, UFFD_REFUSAL_SPECIAL },
		{ VM_DONTEXPAND, UFFD_REFUSAL_SPECIAL },
	};
	struct uffd_test *t = test->priv;
	unsigned int i;

	t->supported.modes = __VM_UFFD_FLAGS;
	for (i = 0; i < ARRAY_SIZE(never); i++) {
		if (!never[i].flag)
			continue;
		vm_flags_init(&t->vma, never[i].flag);
		KUNIT_EXPECT_EQ(test, uffd_test_why(t, VM_UFFD_MISSING, false),
				never[i].why);
		/* This mode needs no support by the type. */
		KUNIT_EXPECT_EQ(test, uffd_test_why(t, VM_UFFD_WP, true),
				never[i].why);
	}
	/* The type was not asked for any of this. */
	KUNIT_EXPECT_EQ(test, t->asked, 0);
}

static void uffd_test_no_handler(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_supported answer;

	t->vma.vm_ops = &uffd_test_no_ops;
	KUNIT_EXPECT_EQ(test, uffd_supported(&t->vma, &answer), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, answer.modes, 0);
	KUNIT_EXPECT_EQ(test, answer.granule, PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, uffd_test_can(t, VM_UFFD_MISSING, false));
	KUNIT_EXPECT_FALSE(test, uffd_test_can(t, 0, true));
	/* Asynchronous write protection works on any memory, but only alone. */
	KUNIT_EXPECT_TRUE(test, uffd_test_can(t, VM_UFFD_WP, true));
	KUNIT_EXPECT_FALSE(test, uffd_test_can(t, VM_UFFD_WP, false));
	KUNIT_EXPECT_FALSE(test, uffd_test_can(t, VM_UFFD_WP | VM_UFFD_MISSING, true));
}

/* A type that returns an error supports nothing. */
static void uffd_test_no_answer(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_supported answer;

	t->err = -EIO;
	KUNIT_EXPECT_EQ(test, uffd_supported(&t->vma, &answer), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, answer.modes, 0);
	KUNIT_EXPECT_EQ(test, answer.granule, PAGE_SIZE);
}

static void uffd_test_ioctls(struct kunit *test)
{
	const __u64 wp = (__u64)1 << _UFFDIO_WRITEPROTECT;
	const __u64 minor = (__u64)1 << _UFFDIO_CONTINUE;
	const __u64 small = UFFD_API_RANGE_IOCTLS & ~(wp | minor);
	const __u64 huge = UFFD_API_RANGE_IOCTLS_BASIC & ~(wp | minor);
	const struct {
		vm_flags_t modes;
		__u64 extra;
	} cases[] = {
		{ VM_UFFD_MISSING, 0 },
		{ VM_UFFD_WP, wp },
		{ VM_UFFD_MINOR, minor },
		{ __VM_UFFD_FLAGS, wp | minor },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ(test, userfaultfd_ioctls(cases[i].modes, PAGE_SIZE),
				small | cases[i].extra);
		KUNIT_EXPECT_EQ(test, userfaultfd_ioctls(cases[i].modes, PMD_SIZE),
				huge | cases[i].extra);
	}
	KUNIT_EXPECT_TRUE(test, small & ((__u64)1 << _UFFDIO_ZEROPAGE));
	KUNIT_EXPECT_FALSE(test, huge & ((__u64)1 << _UFFDIO_ZEROPAGE));
}

/*
 * FAULT_RESOLVE
 */

static void uffd_test_flaws(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct address_space other = {};
	struct folio *folio = t->folio;
	const pgoff_t index = UFFD_TEST_INDEX;

	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index, 0, &t->mapping),
			   "unlocked");
	folio_lock(folio);
	KUNIT_EXPECT_NULL(test, uffd_folio_flaw(folio, index, 0, &t->mapping));

	folio_clear_uptodate(folio);
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index, 0, &t->mapping),
			   "not uptodate");
	folio_mark_uptodate(folio);

	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index, 0, &other),
			   "foreign");
	/* A page cache folio is not anonymous, and the reverse. */
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index, 0, NULL), "foreign");
	folio->mapping = NULL;
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index, 0, &t->mapping),
			   "foreign");
	KUNIT_EXPECT_NULL(test, uffd_folio_flaw(folio, index, 0, NULL));
	folio->mapping = &t->mapping;

	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index - 1, 0, &t->mapping),
			   "misplaced");
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index + 1, 0, &t->mapping),
			   "misplaced");

	/* One reference is that of the page cache. */
	folio_put(folio);
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, index, 0, &t->mapping),
			   "unreferenced");
	folio_get(folio);
	folio_unlock(folio);
}

/* A large folio is valid for every offset that it covers, and for no other. */
static void uffd_test_large(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct folio *folio = uffd_test_add(t, 2, 4);
	pgoff_t index;

	KUNIT_ASSERT_NOT_NULL(test, folio);
	folio_lock(folio);
	for (index = 0; index < 12; index++)
		KUNIT_EXPECT_EQ_MSG(test,
				    !uffd_folio_flaw(folio, index, 0, &t->mapping),
				    index >= 4 && index < 8, "index %lu", index);

	/* A new one must lie inside the range. */
	KUNIT_EXPECT_NULL(test, uffd_folio_flaw(folio, 4, 8, &t->mapping));
	KUNIT_EXPECT_NULL(test, uffd_folio_flaw(folio, 4, 9, &t->mapping));
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, 4, 7, &t->mapping),
			   "too large");
	KUNIT_EXPECT_STREQ(test, uffd_folio_flaw(folio, 5, 9, &t->mapping),
			   "too large");
	folio_unlock(folio);
	uffd_test_remove(test, folio);
}

static void uffd_test_resolve(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_request req;

	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 1, NULL);
	KUNIT_ASSERT_EQ(test, uffd_resolve(uffd_test_request, &req, false), 0);
	KUNIT_ASSERT_EQ(test, folio_batch_count(&req.resolve.folios), 1);
	KUNIT_EXPECT_PTR_EQ(test, req.resolve.folios.folios[0], t->folio);
	KUNIT_EXPECT_TRUE(test, folio_test_locked(t->folio));
	KUNIT_EXPECT_EQ(test, folio_ref_count(t->folio), 3);
	uffd_release(t->folio);
}

/* An invalid folio after the first one ends the answer, and is given back. */
static void uffd_test_cut_off(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_request req;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");

	t->next = uffd_test_add(t, 0, UFFD_TEST_INDEX + 1);
	KUNIT_ASSERT_NOT_NULL(test, t->next);

	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 2, NULL);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), 0);
	KUNIT_EXPECT_EQ(test, folio_batch_count(&req.resolve.folios), 2);
	uffd_release(t->folio);
	uffd_release(t->next);

	SetPageHWPoison(folio_page(t->next, 0));
	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 2, NULL);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), 0);
	KUNIT_EXPECT_EQ(test, folio_batch_count(&req.resolve.folios), 1);
	uffd_release(t->folio);
	ClearPageHWPoison(folio_page(t->next, 0));

	uffd_test_remove(test, t->next);
}

/* A poisoned page is not a bug of the type: -EIO, and no folio is kept. */
static void uffd_test_poisoned(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_request req;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");

	SetPageHWPoison(folio_page(t->folio, 0));
	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 1, NULL);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), -EIO);
	KUNIT_EXPECT_EQ(test, folio_batch_count(&req.resolve.folios), 0);
	ClearPageHWPoison(folio_page(t->folio, 0));
}

/* A poisoned new page goes back to the type; a fault gets -EHWPOISON. */
static void uffd_test_poisoned_new(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_source source = {};
	struct uffd_request req;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");

	vm_flags_init(&t->vma, VM_SHARED);
	SetPageHWPoison(folio_page(t->folio, 0));
	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 1, &source);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false),
			-EUFFD_BAD_PAGE);
	KUNIT_EXPECT_EQ(test, folio_batch_count(&req.resolve.folios), 0);
	KUNIT_EXPECT_EQ(test, t->undone, 1);

	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 1, &source);
	req.resolve.fault = true;
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false),
			-EHWPOISON);
	KUNIT_EXPECT_EQ(test, t->undone, 1);
	ClearPageHWPoison(folio_page(t->folio, 0));
}

/* New folios after a poisoned one go back to the type as well. */
static void uffd_test_poisoned_ahead(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_source source = {};
	struct uffd_request req;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");

	t->next = uffd_test_add(t, 0, UFFD_TEST_INDEX + 1);
	KUNIT_ASSERT_NOT_NULL(test, t->next);
	vm_flags_init(&t->vma, VM_SHARED);

	SetPageHWPoison(folio_page(t->folio, 0));
	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 2, &source);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false),
			-EUFFD_BAD_PAGE);
	KUNIT_EXPECT_EQ(test, t->undone, 2);
	ClearPageHWPoison(folio_page(t->folio, 0));

	/* A folio before it can be mapped. */
	SetPageHWPoison(folio_page(t->next, 0));
	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 2, &source);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), 0);
	KUNIT_EXPECT_EQ(test, req.resolve.nr_pages, 1);
	KUNIT_EXPECT_EQ(test, t->undone, 3);
	uffd_release(t->folio);
	ClearPageHWPoison(folio_page(t->next, 0));
	uffd_test_remove(test, t->next);
}

/* A poisoned page of a large folio does not affect its other pages. */
static void uffd_test_poisoned_in_large(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct folio *small = t->folio, *large;
	struct uffd_request req;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) ||
	    !IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "needs memory failure and large folios");

	large = uffd_test_add(t, 2, 4);
	KUNIT_ASSERT_NOT_NULL(test, large);
	SetPageHWPoison(folio_page(large, 1));
	folio_set_has_hwpoisoned(large);
	t->folio = large;

	uffd_init_resolve(&req, &t->vma, 4, 4, NULL);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), 0);
	KUNIT_EXPECT_EQ(test, req.resolve.nr_pages, 1);
	uffd_release(large);

	uffd_init_resolve(&req, &t->vma, 5, 3, NULL);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), -EIO);

	uffd_init_resolve(&req, &t->vma, 7, 1, NULL);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false), 0);
	KUNIT_EXPECT_EQ(test, req.resolve.nr_pages, 1);
	uffd_release(large);

	ClearPageHWPoison(folio_page(large, 1));
	folio_clear_has_hwpoisoned(large);
	uffd_test_remove(test, large);
	t->folio = small;
}

static void uffd_test_errno(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_request req;

	/* A type may return any of these, also -EAGAIN and -EINTR. */
	for (t->err = -ERESTARTSYS + 1; t->err < 0; t->err++) {
		uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 1, NULL);
		KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_request, &req, false),
				t->err);
		KUNIT_EXPECT_EQ(test, uffd_present(&t->vma, 0), t->err);
	}
	/* Internal errnos of the kernel, and values that are no errno */
	KUNIT_EXPECT_FALSE(test, uffd_errno_valid(-ERESTARTSYS));
	KUNIT_EXPECT_FALSE(test, uffd_errno_valid(-EUFFD_BAD_PAGE));
	KUNIT_EXPECT_FALSE(test, uffd_errno_valid(-MAX_ERRNO));
	KUNIT_EXPECT_FALSE(test, uffd_errno_valid(-MAX_ERRNO - 1));
	KUNIT_EXPECT_FALSE(test, uffd_errno_valid(1));
	KUNIT_EXPECT_TRUE(test, uffd_errno_valid(-EFBIG));
	KUNIT_EXPECT_TRUE(test, uffd_errno_valid(0));
}

static void uffd_test_present(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct folio *folio = t->folio;

	KUNIT_EXPECT_EQ(test, uffd_present(&t->vma, UFFD_TEST_INDEX), 0);
	t->folio = NULL;
	KUNIT_EXPECT_EQ(test, uffd_present(&t->vma, UFFD_TEST_INDEX), -ENOENT);
	t->folio = folio;
}

/* A folio that could not be mapped is taken back by its type. */
static void uffd_test_undo(struct kunit *test)
{
	struct uffd_test *t = test->priv;

	folio_get(t->folio);
	folio_lock(t->folio);
	uffd_undo(uffd_test_request, &t->vma, t->folio);
	KUNIT_EXPECT_EQ(test, t->undone, 1);
}

/*
 * The request itself
 */

/* Every field of the request is set. */
static void uffd_test_init_resolve(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_source source = {};
	struct uffd_request req;

	memset(&req, 0xff, sizeof(req));
	uffd_init_resolve(&req, &t->vma, 5, 3, &source);
	KUNIT_EXPECT_EQ(test, req.kind, UFFD_REQ_FAULT_RESOLVE);
	KUNIT_EXPECT_PTR_EQ(test, req.vma, &t->vma);
	KUNIT_EXPECT_PTR_EQ(test, req.resolve.inode, &t->inode);
	KUNIT_EXPECT_EQ(test, req.resolve.index, 5);
	KUNIT_EXPECT_EQ(test, req.resolve.nr_pages, 3);
	KUNIT_EXPECT_EQ(test, req.resolve.mode, UFFD_RESOLVE_MISSING);
	KUNIT_EXPECT_PTR_EQ(test, req.resolve.source, &source);
	KUNIT_EXPECT_EQ(test, folio_batch_count(&req.resolve.folios), 0);
	KUNIT_EXPECT_FALSE(test, req.resolve.fault);
	KUNIT_EXPECT_FALSE(test, req.resolve.major);

	memset(&req, 0xff, sizeof(req));
	t->vma.vm_file = NULL;
	uffd_init_resolve(&req, &t->vma, 0, 1, NULL);
	KUNIT_EXPECT_NULL(test, req.resolve.inode);
	KUNIT_EXPECT_EQ(test, req.resolve.mode, UFFD_RESOLVE_MINOR);
	KUNIT_EXPECT_NULL(test, req.resolve.source);
}

/* Anonymous memory answers by the same rules. */
static void uffd_test_anon(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_request req;

	t->vma.vm_ops = NULL;
	KUNIT_EXPECT_TRUE(test, uffd_handler(&t->vma) == uffd_anon_request);
	KUNIT_EXPECT_TRUE(test, uffd_test_can(t, VM_UFFD_MISSING | VM_UFFD_WP, false));
	KUNIT_EXPECT_FALSE(test, uffd_test_can(t, VM_UFFD_MINOR, false));

	/* It has no memory to find, and nothing to take back. */
	uffd_init_resolve(&req, &t->vma, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, uffd_anon_request(&req), -EINVAL);
	req.kind = UFFD_REQ_GET_PRESENT;
	KUNIT_EXPECT_EQ(test, uffd_anon_request(&req), -EOPNOTSUPP);
	req.kind = UFFD_REQ_FAULT_UNDO;
	KUNIT_EXPECT_EQ(test, uffd_anon_request(&req), -EOPNOTSUPP);
	req.kind = UFFD_REQ_FAULT_UNDO + 1;
	KUNIT_EXPECT_EQ(test, uffd_anon_request(&req), -EOPNOTSUPP);
}

static void uffd_test_fill_zeroes(struct kunit *test)
{
	struct uffd_test *t = test->priv;
	struct uffd_source source = {};
	struct uffd_request req;
	struct folio *folio = folio_alloc(GFP_KERNEL, 0);

	KUNIT_ASSERT_NOT_NULL(test, folio);
	memset(folio_address(folio), 0xff, PAGE_SIZE);
	uffd_init_resolve(&req, &t->vma, UFFD_TEST_INDEX, 1, &source);
	KUNIT_EXPECT_EQ(test, userfaultfd_fill_folio(&req, folio,
						     UFFD_TEST_INDEX), 0);
	KUNIT_EXPECT_TRUE(test, folio_test_uptodate(folio));
	KUNIT_EXPECT_NULL(test, memchr_inv(folio_address(folio), 0, PAGE_SIZE));
	folio_put(folio);
}

/*
 * hugetlb
 */

#ifdef CONFIG_HUGETLB_PAGE

/* Hands out a bad page, which is good again once it was taken back. */
static int uffd_test_bad_huge_page(struct uffd_request *req)
{
	int err = hugetlb_userfaultfd_request(req);

	if (!err && req->kind == UFFD_REQ_FAULT_RESOLVE)
		folio_set_hwpoison(req->resolve.folios.folios[0]);
	if (!err && req->kind == UFFD_REQ_FAULT_UNDO)
		folio_clear_hwpoison(req->undo.folio);
	return err;
}

/*
 * A bad page leaves the file, and takes its reservation with it, as in
 * memory_failure(). A good one that was not mapped stays in the file. In a
 * private mapping, both are freed, and the reservation is restored.
 */
static void uffd_test_hugetlb(struct kunit *test, unsigned long flags)
{
	struct hstate *h = &default_hstate;
	const unsigned long size = huge_page_size(h);
	const unsigned long free = h->free_huge_pages;
	const unsigned long reserved = h->resv_huge_pages;
	const bool shared = flags == MAP_SHARED;
	struct uffd_source source = {};
	struct vm_area_struct *vma;
	struct uffd_request req;
	unsigned long addr;
	struct file *file;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE");

	file = hugetlb_file_setup("kunit", size, VM_NORESERVE,
				  HUGETLB_ANONHUGE_INODE, 0);
	if (IS_ERR(file))
		kunit_skip(test, "needs hugetlbfs");
	addr = kunit_vm_mmap(test, file, 0, size, PROT_READ | PROT_WRITE, flags, 0);
	fput(file);
	if (!addr || IS_ERR_VALUE(addr))
		kunit_skip(test, "needs hugepages=1");

	mmap_read_lock(current->mm);
	vma = vma_lookup(current->mm, addr);
	KUNIT_EXPECT_EQ(test, h->resv_huge_pages, reserved + 1);

	uffd_init_resolve(&req, vma, 0, pages_per_huge_page(h), &source);
	KUNIT_EXPECT_EQ(test, uffd_resolve(uffd_test_bad_huge_page, &req, true),
			-EUFFD_BAD_PAGE);
	KUNIT_EXPECT_EQ(test, uffd_present(vma, 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, file_inode(file)->i_blocks, 0);
	KUNIT_EXPECT_EQ(test, h->resv_huge_pages, reserved + !shared);
	KUNIT_EXPECT_EQ(test, h->free_huge_pages, free);

	uffd_init_resolve(&req, vma, 0, pages_per_huge_page(h), &source);
	if (!uffd_resolve(hugetlb_userfaultfd_request, &req, true))
		uffd_undo(hugetlb_userfaultfd_request, vma,
			  req.resolve.folios.folios[0]);
	else
		KUNIT_FAIL(test, "no page\n");
	KUNIT_EXPECT_EQ(test, uffd_present(vma, 0), shared ? 0 : -ENOENT);
	KUNIT_EXPECT_EQ(test, h->resv_huge_pages, reserved + !shared);
	KUNIT_EXPECT_EQ(test, h->free_huge_pages, free - shared);
	mmap_read_unlock(current->mm);

	KUNIT_EXPECT_EQ(test, vm_munmap(addr, size), 0);
	flush_delayed_fput();
	KUNIT_EXPECT_EQ(test, h->resv_huge_pages, reserved);
	KUNIT_EXPECT_EQ(test, h->free_huge_pages, free);
}

static void uffd_test_hugetlb_shared(struct kunit *test)
{
	uffd_test_hugetlb(test, MAP_SHARED);
}

static void uffd_test_hugetlb_private(struct kunit *test)
{
	uffd_test_hugetlb(test, MAP_PRIVATE);
}

#endif /* CONFIG_HUGETLB_PAGE */

/*
 * Page tables
 */

/*
 * A table can be retracted between any two looks, and come back empty. Each
 * look says that there is none, and only an entry that it found in use is
 * -EEXIST.
 */
static void uffd_test_no_table(struct kunit *test)
{
	struct mm_struct *mm = kunit_kzalloc(test, sizeof(*mm), GFP_KERNEL);
	struct uffd_test *t = test->priv;
	struct uffd_fill fill = {
		.vma = &t->vma,
		.handler = uffd_anon_request,
		.addr = SZ_1M,
	};
	struct uffd_resolve resolve = { .index = UFFD_TEST_INDEX, .nr_pages = 1 };
	pgtable_t table;
	pmd_t pmd = {};

	KUNIT_ASSERT_NOT_NULL(test, mm);
	spin_lock_init(&mm->page_table_lock);
	t->vma.vm_mm = mm;
	t->vma.vm_file = NULL;
	fill.flags = uffd_flags_set_mode(0, MFILL_ATOMIC_ZEROPAGE);
	folio_batch_init(&resolve.folios);
	folio_batch_add(&resolve.folios, t->folio);

	KUNIT_EXPECT_EQ(test, uffd_check_entry(&fill, &pmd), -EUFFD_NO_TABLE);
	KUNIT_EXPECT_EQ(test, uffd_map_special(&fill, &pmd), -EUFFD_NO_TABLE);
	KUNIT_EXPECT_EQ(test, uffd_map_folio(&fill, &pmd, &resolve),
			-EUFFD_NO_TABLE);
	KUNIT_EXPECT_EQ(test, fill.addr, SZ_1M);

	table = pte_alloc_one(mm);
	KUNIT_ASSERT_TRUE(test, table);
	pmd_populate(mm, &pmd, table);
	KUNIT_EXPECT_EQ(test, uffd_check_entry(&fill, &pmd), 0);
	KUNIT_EXPECT_EQ(test, uffd_map_special(&fill, &pmd), 0);
	KUNIT_EXPECT_EQ(test, fill.addr, SZ_1M + PAGE_SIZE);

	fill.addr = SZ_1M;
	KUNIT_EXPECT_EQ(test, uffd_check_entry(&fill, &pmd), -EEXIST);
	KUNIT_EXPECT_EQ(test, uffd_map_special(&fill, &pmd), -EEXIST);
	KUNIT_EXPECT_EQ(test, uffd_map_folio(&fill, &pmd, &resolve), -EEXIST);
	pte_free(mm, table);
}

static struct kunit_case uffd_test_cases[] = {
	KUNIT_CASE(uffd_test_sane),
	KUNIT_CASE(uffd_test_modes),
	KUNIT_CASE(uffd_test_refused),
	KUNIT_CASE(uffd_test_no_handler),
	KUNIT_CASE(uffd_test_no_answer),
	KUNIT_CASE(uffd_test_ioctls),
	KUNIT_CASE(uffd_test_flaws),
	KUNIT_CASE(uffd_test_large),
	KUNIT_CASE(uffd_test_resolve),
	KUNIT_CASE(uffd_test_cut_off),
	KUNIT_CASE(uffd_test_poisoned),
	KUNIT_CASE(uffd_test_poisoned_new),
	KUNIT_CASE(uffd_test_poisoned_ahead),
	KUNIT_CASE(uffd_test_poisoned_in_large),
	KUNIT_CASE(uffd_test_errno),
	KUNIT_CASE(uffd_test_present),
	KUNIT_CASE(uffd_test_undo),
	KUNIT_CASE(uffd_test_init_resolve),
	KUNIT_CASE(uffd_test_anon),
	KUNIT_CASE(uffd_test_fill_zeroes),
#ifdef CONFIG_HUGETLB_PAGE
	KUNIT_CASE(uffd_test_hugetlb_shared),
	KUNIT_CASE(uffd_test_hugetlb_private),
#endif
	KUNIT_CASE(uffd_test_no_table),
	{}
};

static struct kunit_suite uffd_test_suite = {
	.name = "userfaultfd",
	.init = uffd_test_init,
	.exit = uffd_test_exit,
	.test_cases = uffd_test_cases,
};

kunit_test_suite(uffd_test_suite);

MODULE_DESCRIPTION("Tests of the rules of vm_ops->userfaultfd_request()");
MODULE_LICENSE("GPL");
