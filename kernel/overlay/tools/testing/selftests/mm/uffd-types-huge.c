// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages of shmem: found, allocated and mapped by fills, by one entry where
 * that is possible, and what splits them.
 */
#include "../kselftest_harness.h"
#include "uffd/huge.h"

/* shmem with huge pages and room for one and a half of them */
static int file_full(size_t len)
{
	return lab_file_on("tmpfs", "huge=always,size=3M", len);
}

FIXTURE(huge) {
	struct lab l;
	long holes;	/* khugepaged/max_ptes_none */
	long pause;	/* ms between two scans of khugepaged */
};

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged"

static int khugepaged_set(const char *name, long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", value);
	return lab_write(KHUGEPAGED, name, text);
}

/* khugepaged accounts the holes that it scans, even if it leaves them. */
static int khugepaged_holes(long holes)
{
	return khugepaged_set("max_ptes_none", holes);
}

/* It unmaps the pages of a file while it collapses them. */
static int khugepaged_pauses(long ms)
{
	return khugepaged_set("scan_sleep_millisecs", ms);
}

FIXTURE_VARIANT(huge) {
	const struct lab_type *type;
};

FIXTURE_VARIANT_ADD(huge, shared) { .type = &lab_huge_shared };
FIXTURE_VARIANT_ADD(huge, private) { .type = &lab_huge_private };

FIXTURE_SETUP(huge)
{
	self->pause = lab_number(KHUGEPAGED "/scan_sleep_millisecs", "");
	ASSERT_EQ(0, khugepaged_pauses(3600000));
	self->holes = lab_number(KHUGEPAGED "/max_ptes_none", "");
	ASSERT_EQ(0, khugepaged_holes(0));
	ASSERT_EQ(0, setup_huge(&self->l, variant->type));
}

FIXTURE_TEARDOWN(huge)
{
	lab_teardown(&self->l);
	EXPECT_EQ(0, khugepaged_holes(self->holes));
	EXPECT_EQ(0, khugepaged_pauses(self->pause));
}

/* A fill of a hole adds one base page. */
TEST_F(huge, fill_is_small)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
	EXPECT_EQ(lab_is_shared(&l->m), lab_file_pages(&l->m));
	/* Its neighbors are still missing. */
	EXPECT_FAULT(l, &t, page_at(l, 4), true, 4, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_zeropage(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 4);
	EXPECT_EQ(lab_is_shared(&l->m) ? 2 : 0, lab_file_pages(&l->m));
	EXPECT_FALSE(has_msg(l));
}

/*
 * With MINOR only, the kernel allocates a huge page for the hole. Linux 6.12
 * then maps a shared one with one entry, and nothing is left to report; if it
 * is mapped by pages, the others are minor faults.
 */
TEST_F(huge, hole_under_minor)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(0, read_byte(page_at(l, 3)));
	EXPECT_FALSE(has_msg(l));
	/* As large a folio as policy allows, like any other fault on a hole. */
	EXPECT_EQ(512, lab_file_pages(&l->m));
	if (lab_pm(page_at(l, 4), LAB_PM_PRESENT)) {
		EXPECT_EQ(0, read_byte(page_at(l, 4)));
		EXPECT_FALSE(has_msg(l));
		return;
	}
	EXPECT_FAULT(l, &t, page_at(l, 4), false, 0, UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 4), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 0);
}

/* CONTINUE of one page of a huge page, and of all of it */
TEST_F(huge, continues_by_page)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned int i;
	__s64 done;

	for (i = 0; i < l->m.pages; i++)
		alias_at(l, i)[i] = i;
	ASSERT_EQ((long)l->m.pages, lab_file_pages(&l->m));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 100), false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 100), l->m.page, 0,
				  NULL));
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(100, page_at(l, 100)[100]);
	EXPECT_FAULT(l, &t, page_at(l, 101), false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 101), 411 * l->m.page,
				  0, &done));
	EXPECT_EQ((__s64)(411 * l->m.page), done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(-EEXIST, lab_continue(l->uffd, page_at(l, 511), l->m.page,
					0, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 512), 512 * l->m.page,
				  0, &done));
	for (i = 100; i < l->m.pages; i++) {
		ASSERT_EQ((char)i, page_at(l, i)[i]);
	}
	EXPECT_FALSE(has_msg(l));
}

#define MAP_HUGE UFFDIO_CONTINUE_MODE_MAP_HUGE

/* A userfaultfd that may map huge pages of files whole, with MINOR */
static int reopen_map_huge(struct lab *l)
{
	return lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_MAP_HUGE);
}

/*
 * On request, CONTINUE of a whole shared huge page maps it by one entry. After
 * a part of it was unmapped, the rest is reported again.
 */
TEST_F(huge, continues_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	static struct lab_touch t;
	unsigned int i;
	__s64 done;

	for (i = 0; i < l->m.pages; i++)
		alias_at(l, i)[i] = i;
	ASSERT_EQ((long)l->m.pages, lab_file_pages(&l->m));
	ASSERT_EQ(0, reopen_map_huge(l));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 100), false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, l->m.len, MAP_HUGE,
				  &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	for (i = 0; i < l->m.pages; i++) {
		ASSERT_EQ((char)i, page_at(l, i)[i]);
	}
	page_at(l, 9)[9] = 77;
	EXPECT_EQ(whole ? 77 : 9, alias_at(l, 9)[9]);
	EXPECT_FALSE(has_msg(l));

	/* The file has it: the second mapping sees it. */
	EXPECT_EQ(-EEXIST, lab_continue(l->uffd, l->m.area, LAB_HUGE, MAP_HUGE,
					NULL));
	EXPECT_EQ(-EEXIST, lab_continue(l->uffd, page_at(l, 5), l->m.page, 0,
					NULL));
	EXPECT_EQ(-EEXIST, lab_poison(l->uffd, page_at(l, 5), l->m.page, 0,
				      NULL));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));

	ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_DONTNEED));
	EXPECT_FAULT(l, &t, page_at(l, 5) + 5, false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 5), l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 5);
	if (whole) {
		EXPECT_FAULT(l, &t, page_at(l, 6) + 6, false, 0,
			     UFFD_PAGEFAULT_FLAG_MINOR);
		EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 6),
					  506 * l->m.page, 0, &done));
		EXPECT_EQ((__s64)(506 * l->m.page), done);
		EXPECT_TOUCHED(&t, 6);
	}
	EXPECT_EQ((char)511, read_byte(page_at(l, 511) + 511));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 6)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_FALSE(has_msg(l));
}

/* Not by one entry: not requested, less than a huge page, or truncated */
TEST_F(huge, continues_not_whole)
{
	struct lab *l = &self->l;
	__s64 done;

	memset(l->m.alias, 1, l->m.len);
	ASSERT_EQ((long)l->m.pages, lab_file_pages(&l->m));
	ASSERT_EQ(0, reopen_map_huge(l));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 1), 511 * l->m.page,
				  MAP_HUGE, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 1)));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 512), LAB_HUGE, 0,
				  &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len - l->m.page));
	EXPECT_EQ(-EAGAIN, lab_continue(l->uffd, page_at(l, 512), LAB_HUGE,
					MAP_HUGE, &done));
	EXPECT_EQ((__s64)(511 * l->m.page), done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
}

/* Write protection is per page, also if huge pages are requested. */
TEST_F(huge, continues_protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	memset(l->m.alias, 1, l->m.len);
	ASSERT_EQ(0, reopen_map_huge(l));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MINOR | LAB_WP, NULL));
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE, MAP_HUGE,
				  NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 512), LAB_HUGE,
				  MAP_HUGE | UFFDIO_CONTINUE_MODE_WP, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_TRUE(lab_pm(page_at(l, 600), LAB_PM_UFFD_WP));

	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), 2 * l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 3), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 5), LAB_PM_UFFD_WP));
	EXPECT_FAULT(l, &t, page_at(l, 3), true, 7, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_TOUCHED(&t, 7);
	EXPECT_EQ(0, write_byte(page_at(l, 5), 8));
	EXPECT_EQ(1, page_at(l, 4)[0]);
	EXPECT_FALSE(has_msg(l));
}

/*
 * Zapping one page of a filled huge page: the pages that stay mapped do not
 * fault. The area is filled as by a program that does not know of huge pages.
 */
static int protect_one(struct lab *l)
{
	return lab_writeprotect(l->uffd, page_at(l, 7), l->m.page,
				UFFDIO_WRITEPROTECT_MODE_WP);
}

static int mprotect_one(struct lab *l)
{
	return mprotect(page_at(l, 7), l->m.page, PROT_READ) ? -errno : 0;
}

static int forget_one(struct lab *l)
{
	return madvise(page_at(l, 7), l->m.page, MADV_DONTNEED) ? -errno : 0;
}

static int unregister_one(struct lab *l)
{
	return lab_unregister(l->uffd, page_at(l, 7), l->m.page);
}

static const struct change {
	const char *name;
	__u64 modes;
	int (*change)(struct lab *l);
} changes[] = {
	{ "WRITEPROTECT", LAB_MINOR | LAB_WP, protect_one },
	{ "mprotect with WP", LAB_MINOR | LAB_WP, mprotect_one },
	{ "mprotect", LAB_MINOR, mprotect_one },
	{ "MADV_DONTNEED", LAB_MINOR, forget_one },
	{ "MADV_DONTNEED with WP", LAB_MINOR | LAB_WP, forget_one },
	{ "UNREGISTER", LAB_MINOR, unregister_one },
	{ "COPY, mprotect", LAB_MISSING | LAB_MINOR, mprotect_one },
	{ "COPY, MADV_DONTNEED", LAB_MISSING | LAB_MINOR, forget_one },
	{ "COPY, WRITEPROTECT", LAB_MISSING | LAB_WP, protect_one },
};

/*
 * Unregisters the area: no protection is left, and the first huge page has the
 * content of the source, except for a hole at page @hole (-1: none). Then makes a
 * new area: a page table that is there already would keep fills from mapping a
 * huge page by one entry.
 */
static void start_over(struct __test_metadata *_metadata, struct lab *l,
		       const struct lab_type *type, int hole)
{
	int i;

	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_FALSE(has_msg(l));
	for (i = 0; i < 512; i++) {
		ASSERT_FALSE(lab_pm(page_at(l, i), LAB_PM_UFFD_WP));
		ASSERT_TRUE(i == hole ? lab_all(page_at(l, i), l->m.page, 0) :
					same_at(l, page_at(l, i), i));
	}
	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, type, 1024));
}

TEST_F(huge, splits_without_faults)
{
	struct lab *l = &self->l;
	unsigned int i, n, gone;
	bool in_file;

	for (n = 0; n < sizeof(changes) / sizeof(*changes); n++) {
		const struct change *c = &changes[n];

		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  c->modes, NULL));
		if (c->modes & LAB_MISSING) {
			ASSERT_EQ(0, lab_copy(l->uffd, l->m.area, l->src,
					      LAB_HUGE, 0, NULL));
		} else {
			memcpy(l->m.alias, l->src, LAB_HUGE);
			ASSERT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE,
						  0, NULL));
		}
		EXPECT_FALSE(lab_mapped_whole(page_at(l, 0))) {
			TH_LOG("%s", c->name);
		}
		ASSERT_EQ(0, c->change(l));
		for (gone = 0, i = 0; i < 512; i++)
			gone += !lab_pm(page_at(l, i), LAB_PM_PRESENT);
		ASSERT_EQ(c->change == forget_one, gone) {
			TH_LOG("%s", c->name);
		}
		for (i = 0; i < 512; i++) {
			if (c->change == forget_one && i == 7)
				continue;
			ASSERT_TRUE(same_at(l, page_at(l, i), i));
		}
		EXPECT_FALSE(has_msg(l));
		in_file = lab_is_shared(&l->m) || !(c->modes & LAB_MISSING);
		EXPECT_EQ(in_file ? 512 : 0, lab_file_pages(&l->m));
		/* What a private mapping forgets is not in the file. */
		start_over(_metadata, l, variant->type,
			   c->change == forget_one && !in_file ? 7 : -1);
	}
}

/* The same with a huge page that the caller requested: the others fault. */
TEST_F(huge, splits_with_faults)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	static struct lab_touch t;
	unsigned int n;

	ASSERT_EQ(0, reopen_map_huge(l));
	for (n = 0; n < 2; n++) {
		memcpy(l->m.alias, l->src, LAB_HUGE);
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  LAB_MINOR, NULL));
		ASSERT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE,
					  MAP_HUGE, NULL));
		EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
		ASSERT_EQ(0, (n ? mprotect_one : forget_one)(l));
		EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
		EXPECT_EQ(whole, !lab_pm(page_at(l, 6), LAB_PM_PRESENT));
		if (whole) {
			EXPECT_FAULT(l, &t, page_at(l, 6), false, 0,
				     UFFD_PAGEFAULT_FLAG_MINOR);
			EXPECT_EQ(0, lab_continue(l->uffd, page_at(l, 6),
						  l->m.page, MAP_HUGE, NULL));
			EXPECT_TOUCHED(&t, src_at(l, 6)[0]);
		}
		EXPECT_FALSE(has_msg(l));
		EXPECT_EQ(512, lab_file_pages(&l->m));
		start_over(_metadata, l, variant->type, -1);
	}
}

/*
 * COPY of a whole huge page allocates one and maps it by one entry. A private
 * mapping gets anonymous memory, to which the mount option does not apply.
 */
TEST_F(huge, fills_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	long pages = whole ? l->m.pages : 0;
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 700) + 7, false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TOUCHED(&t, src_at(l, 700)[7]);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(pages, lab_file_pages(&l->m));
	src_at(l, 9)[9]++;
	page_at(l, 9)[9]++;
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	if (whole) {
		EXPECT_EQ(0, memcmp(l->m.alias, l->src, l->m.len));
	}
	EXPECT_FALSE(has_msg(l));

	/* The file has it: the second mapping sees it. */
	expect_present(_metadata, l);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));

	ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_DONTNEED));
	if (whole) {
		/* The file has it, so the kernel maps it again. */
		EXPECT_EQ(src_at(l, 5)[5], read_byte(page_at(l, 5) + 5));
		EXPECT_FALSE(has_msg(l));
		EXPECT_EQ(pages, lab_file_pages(&l->m));
		ASSERT_EQ(0, madvise(page_at(l, 5), l->m.page, MADV_REMOVE));
		EXPECT_EQ(pages - 1, lab_file_pages(&l->m));
	}
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 4)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_FAULT(l, &t, page_at(l, 5) + 5, false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 5), src_at(l, 5), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 5)[5]);
	EXPECT_EQ(pages, lab_file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));
}

/*
 * The part of a range that covers only some of a huge page is filled by pages.
 */
TEST_F(huge, fills_not_whole)
{
	struct lab *l = &self->l;
	bool shared = lab_is_shared(&l->m);
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0),
			      511 * l->m.page, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(shared ? 511 : 0, lab_file_pages(&l->m));
	/* As long as a huge page, but a part of two of them */
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 511), src_at(l, 511),
			      LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)LAB_HUGE, done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(shared ? 1023 : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, 1023));
	EXPECT_FAULT(l, &t, page_at(l, 1023), true, 3,
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1023), src_at(l, 1023),
			      l->m.page, 0, NULL));
	EXPECT_TOUCHED(&t, 3);
}

/* By pages up to the beginning of a huge page, which is filled whole */
TEST_F(huge, fills_up_to_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 1), src_at(l, 1),
			      1023 * l->m.page, 0, &done));
	EXPECT_EQ((__s64)(1023 * l->m.page), done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 1)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(whole ? 1023 : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 1, 1023));
}

/* The page table of a former page is still there. */
TEST_F(huge, fills_a_table)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 515), l->src, l->m.page, 0,
			      NULL));
	ASSERT_EQ(0, madvise(page_at(l, 515), l->m.page,
			     whole ? MADV_REMOVE : MADV_DONTNEED));
	EXPECT_EQ(0, lab_file_pages(&l->m));
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.len, 0, NULL));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(whole ? (long)l->m.pages : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
}

/* A huge page that is truncated by the end of the file */
TEST_F(huge, fills_to_the_end)
{
	struct lab *l = &self->l;
	bool shared = lab_is_shared(&l->m);
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, ftruncate(l->m.fd, LAB_HUGE));
	EXPECT_EQ(-EFAULT, lab_copy(l->uffd, page_at(l, 512), l->src, LAB_HUGE,
				    0, &done));
	EXPECT_EQ(-EFAULT, done);
	EXPECT_EQ(0, lab_file_pages(&l->m));
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len - l->m.page));
	EXPECT_EQ(-EAGAIN, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
				    LAB_HUGE, 0, &done));
	EXPECT_EQ((__s64)(511 * l->m.page), done);
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(shared ? 511 : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 512, 511));
}

/* Write protection is per page: set by the fill, and set later. */
TEST_F(huge, fills_protected)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_WP, NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 0), src_at(l, 0), LAB_HUGE,
			      UFFDIO_COPY_MODE_WP, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 0)));
	EXPECT_TRUE(lab_pm(page_at(l, 0), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 511), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 512), src_at(l, 512),
			      LAB_HUGE, 0, NULL));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_FALSE(lab_pm(page_at(l, 512), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 515), 2 * l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 514), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 515), LAB_PM_UFFD_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 516), LAB_PM_UFFD_WP));
	EXPECT_FALSE(lab_pm(page_at(l, 517), LAB_PM_UFFD_WP));
	EXPECT_TRUE(same_pages(l, 0, l->m.pages));
	EXPECT_FALSE(has_msg(l));

	EXPECT_EQ(0, write_byte(page_at(l, 517), 8));
	EXPECT_FALSE(has_msg(l));
	EXPECT_FAULT(l, &t, page_at(l, 3), true, 6, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 3), l->m.page, 0));
	EXPECT_TOUCHED(&t, 6);
	EXPECT_FAULT(l, &t, page_at(l, 515), true, 7, UFFD_PAGEFAULT_FLAG_WP |
		     UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 515), l->m.page, 0));
	EXPECT_TOUCHED(&t, 7);
	EXPECT_TRUE(same_at(l, page_at(l, 516), 516));
	EXPECT_FALSE(has_msg(l));
}

/*
 * If no huge page can be allocated, the fill uses base pages, as far as
 * possible.
 */
TEST_F(huge, fills_what_fits)
{
	struct lab *l = &self->l;
	bool shared = lab_is_shared(&l->m);
	const struct lab_type full = {
		.name = "full", .flags = l->m.flags, .file = file_full };
	const unsigned int fit = shared ? 768 : 1024;
	__s64 done;

	lab_mem_drop(&l->m);
	ASSERT_EQ(0, lab_mem_make(&l->m, &full, 1024));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(shared ? -EAGAIN : 0, lab_copy(l->uffd, l->m.area, l->src,
						 l->m.len, 0, &done));
	EXPECT_EQ((__s64)(fit * l->m.page), done);
	EXPECT_EQ(shared, lab_mapped_whole(page_at(l, 0)));
	EXPECT_FALSE(lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(shared ? 768 : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(same_pages(l, 0, fit));
	EXPECT_EQ(shared ? -ENOMEM : -EEXIST,
		  lab_copy(l->uffd, page_at(l, 800), l->src, l->m.page, 0,
			   NULL));
}

TEST_F(huge, zeropage_whole)
{
	struct lab *l = &self->l;
	bool whole = lab_is_shared(&l->m);
	static struct lab_touch t;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 700), false, 0, 0);
	EXPECT_EQ(0, lab_zeropage(l->uffd, l->m.area, l->m.len, 0, &done));
	EXPECT_EQ((__s64)l->m.len, done);
	EXPECT_TOUCHED(&t, 0);
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 0)));
	EXPECT_EQ(whole, lab_mapped_whole(page_at(l, 512)));
	EXPECT_EQ(whole ? (long)l->m.pages : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(lab_all(l->m.area, l->m.len, 0));
	EXPECT_EQ(-EEXIST, lab_zeropage(l->uffd, page_at(l, 512), LAB_HUGE, 0,
					NULL));
	EXPECT_EQ(0, write_byte(page_at(l, 5), 5));
	if (whole) {
		EXPECT_EQ(5, alias_at(l, 5)[0]);
		alias_at(l, 5)[0] = 0;
		EXPECT_TRUE(lab_all(l->m.alias, l->m.len, 0));
	}
	EXPECT_FALSE(has_msg(l));
}

TEST_F(huge, fills_from_absent)
{
	struct lab *l = &self->l;

	fill_from_absent(_metadata, l, lab_is_shared(&l->m));
	EXPECT_EQ(lab_is_shared(&l->m) ? 512 + 301 : 0, lab_file_pages(&l->m));
}

/* Present as part of a huge page, but not mapped */
TEST_F(huge, missing_not_when_present)
{
	struct lab *l = &self->l;

	alias_at(l, 0)[0] = 1;
	ASSERT_EQ(512, lab_file_pages(&l->m));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(lab_is_shared(&l->m) ? -EEXIST : 0,
		  lab_copy(l->uffd, page_at(l, 9), src_at(l, 1), l->m.page, 0,
			   NULL));
	EXPECT_EQ(0, read_byte(page_at(l, 8)));
	EXPECT_FALSE(has_msg(l));
}

/* A huge page that is swapped out in parts is still present. */
TEST_F(huge, minor_swapped_out)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	unsigned char vec[512];
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	unsigned int i;

	LAB_SKIP_IF(lab_lacking_swap());
	for (i = 0; i < 512; i++)
		alias_at(l, i)[i] = i + 1;
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	do {
		ASSERT_EQ(0, madvise(l->m.alias, LAB_HUGE, MADV_PAGEOUT));
		ASSERT_EQ(0, mincore(l->m.alias, LAB_HUGE, vec));
	} while (!lab_all(vec, sizeof(vec), 0) && lab_now_ms() < end);
	ASSERT_TRUE(lab_all(vec, sizeof(vec), 0));
	EXPECT_FAULT(l, &t, page_at(l, 7) + 7, false, 0,
		     UFFD_PAGEFAULT_FLAG_MINOR);
	EXPECT_EQ(0, lab_continue(l->uffd, l->m.area, LAB_HUGE, 0, NULL));
	EXPECT_TOUCHED(&t, 8);
	for (i = 0; i < 512; i++) {
		ASSERT_EQ((char)(i + 1), page_at(l, i)[i]);
	}
}

/*
 * Collapsing a mapping with holes into a huge page would fill the holes: not
 * with MISSING, neither through this mapping nor through another.
 */
TEST_F(huge, collapse_fills_no_hole)
{
	struct lab *l = &self->l;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3),
			      4 * l->m.page, 0, NULL));
	EXPECT_EQ(-1, madvise(l->m.area, LAB_HUGE, MADV_COLLAPSE));
	if (lab_is_shared(&l->m)) {
		EXPECT_EQ(-1, madvise(l->m.alias, LAB_HUGE, MADV_COLLAPSE));
	}
	EXPECT_EQ(lab_is_shared(&l->m) ? 4 : 0, lab_file_pages(&l->m));
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 2), src_at(l, 2), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
}

TEST_HARNESS_MAIN
