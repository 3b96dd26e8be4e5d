// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Tests of what lazy_server_new() refuses, each with its reason. */
#define _GNU_SOURCE
#include "memory.h"

static void refuses(struct memory *m, const char *reason)
{
	m->err.text[0] = '\0';
	CHECK(!lazy_server_new(&m->config, &m->err), "not refused: %s", reason);
	CHECK_EQ(LAZY_E_ARGUMENT, m->err.code);
	CHECK(strstr(m->err.text, reason), "\"%s\" instead of \"%s\"",
	      m->err.text, reason);
}

static void accepts(struct memory *m)
{
	serve(m, 0);
	CHECK(reaches(m, LAZY_FILLED), "%s", m->err.text);
	end(m);
}

TEST(a_descriptor_that_is_not_a_userfaultfd)
{
	struct memory m;
	int pipe_fds[2], file = open("/proc/self/exe", O_RDONLY);

	CHECK(!pipe(pipe_fds));
	make_memory(&m, &kinds[0], 0);
	m.config.uffd = pipe_fds[0];
	refuses(&m, "not a userfaultfd");
	m.config.uffd = file;
	refuses(&m, "not a userfaultfd");
	m.config.uffd = memfd_create("anon_inode:[userfaultfd]", 0);
	refuses(&m, "not a userfaultfd");
	m.config.uffd = -1;
	refuses(&m, "not a userfaultfd");
	m.config.uffd = m.uffd;
	accepts(&m);
}

TEST(a_wrong_page_size)
{
	static const uint64_t sizes[] = { 0, 1, 2048, 4095, 8192, HUGE,
					  1ULL << 31, 1ULL << 63 };
	struct memory m;

	make_memory(&m, &kinds[0], 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		m.region.granule = sizes[i];
		m.region.address = (uintptr_t)m.at;
		m.err.text[0] = '\0';
		CHECK(!lazy_server_new(&m.config, &m.err));
		CHECK_EQ(LAZY_E_ARGUMENT, m.err.code);
	}
	if (free_huge_pages() < 4)
		SKIP("needs 4 free huge pages");
	make_memory(&m, &kinds[4], 0);
	m.region.granule = PAGE;
	refuses(&m, "wrong page size");
	m.region.granule = 2 * HUGE;
	m.region.address &= -2 * HUGE;
	CHECK(!lazy_server_new(&m.config, &m.err));
	m.region.granule = HUGE;
	m.region.address = (uintptr_t)m.at;
	accepts(&m);
}

/* Two huge pages in one aligned range of anonymous memory. */
TEST(a_page_size_that_is_too_large)
{
	static const struct kind aligned = { "anon", PAGE, 2048, -1, 0, LAZY_COPY };
	struct memory m;

	make_memory(&m, &aligned, 0);
	m.region.address = (m.region.address + HUGE - 1) & -HUGE;
	m.region.len = HUGE;
	m.region.granule = HUGE;
	refuses(&m, "wrong page size");
}

TEST(regions_that_overlap_or_are_unaligned)
{
	struct lazy_region regions[3];
	struct memory m;

	make_memory(&m, &kinds[0], 0);
	for (int i = 0; i < 3; i++) {
		regions[i] = m.region;
		regions[i].address += (2 - i) * 8 * PAGE;
		regions[i].offset = (2 - i) * 8 * PAGE;
		regions[i].len = 8 * PAGE;
	}
	m.config.regions = regions;
	m.config.nr_regions = 3;
	regions[1].len += PAGE;
	refuses(&m, "overlap");
	regions[1].len -= PAGE;
	regions[0].address++;
	refuses(&m, "not aligned");
	regions[0].address--;
	regions[2].offset++;
	refuses(&m, "not in the source");
	regions[2].offset = -PAGE;
	refuses(&m, "not in the source");
	regions[2].offset = m.len - 7 * PAGE;
	refuses(&m, "not in the source");
	regions[2].offset = 0;
	regions[0].len = 0;
	refuses(&m, "not aligned");
	regions[0].len = -PAGE;
	refuses(&m, "out of range");
	m.config.nr_regions = 0;
	refuses(&m, "no regions");
}

TEST(memory_that_is_not_registered)
{
	struct uffdio_range range;
	struct memory m;

	make_memory(&m, &kinds[0], 0);
	range.start = (uintptr_t)m.at + 77 * PAGE;
	range.len = PAGE;
	CHECK(!ioctl(m.uffd, UFFDIO_UNREGISTER, &range));
	refuses(&m, "not registered");
	range.start = (uintptr_t)m.at;
	range.len = m.len;
	CHECK(!ioctl(m.uffd, UFFDIO_UNREGISTER, &range));
	refuses(&m, "not registered");
	CHECK(!munmap(m.at, m.len));
	refuses(&m, "not registered");
}

/* Several mappings, all of them registered, are one region. */
TEST(several_mappings_in_one_region)
{
	struct memory m;

	make_memory(&m, &kinds[0], 0);
	for (size_t i = 5; i < 50; i += 3)
		CHECK(!madvise(m.at + i * PAGE, PAGE, MADV_DONTDUMP));
	accepts(&m);
}

TEST(a_region_without_its_file)
{
	struct memory m;

	make_memory(&m, &kinds[2], 0);
	m.region.fd = -1;
	refuses(&m, "no memory file");
	m.region.populate = 7;
	refuses(&m, "unknown way");
}

TEST(many_regions)
{
	static struct lazy_region regions[256];
	struct memory m;

	make_memory(&m, &kinds[0], 0);
	for (size_t i = 0; i < 256; i++) {
		size_t at = i * 37 % 256;

		regions[i] = m.region;
		regions[i].address += at * 2 * PAGE;
		regions[i].offset = at * 2 * PAGE;
		regions[i].len = 2 * PAGE;
	}
	m.config.regions = regions;
	m.config.nr_regions = 256;
	serve(&m, 2);
	CHECK(reaches(&m, LAZY_FILLED));
	check_content(&m);
	end(&m);
}
