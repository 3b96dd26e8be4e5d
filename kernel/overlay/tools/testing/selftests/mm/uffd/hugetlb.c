// SPDX-License-Identifier: GPL-2.0
/* See hugetlb.h. */
#include "hugetlb.h"

#include <fcntl.h>
#include <sys/mman.h>

char group[LAB_CGROUP_LEN];
static void *hogged;
static size_t hogged_len;

struct lab_pool taken(const struct lab *l, struct lab_pool p, long pages,
		      long reserved)
{
	p.free -= pages;
	p.reserved -= reserved;
	p.charged += pages * l->m.page;
	p.charged_reserved += (pages - reserved) * l->m.page;
	return p;
}

int hog(const struct lab *l, long left)
{
	struct lab_pool p = pool(l);
	long n = p.free - p.reserved - left;
	int size = l->m.page == LAB_GIGANTIC ? MAP_HUGE_1GB : MAP_HUGE_2MB;
	void *all;

	if (n <= 0)
		return n ? -ENOMEM : 0;
	all = mmap(NULL, n * l->m.page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_HUGETLB | size, -1, 0);
	if (all == MAP_FAILED)
		return -errno;
	hogged = all;
	hogged_len = n * l->m.page;
	return 0;
}

void unhog(void)
{
	if (hogged)
		munmap(hogged, hogged_len);
	hogged = NULL;
}

int punch_file(const struct lab *l, unsigned int first, unsigned int n)
{
	return fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 first * l->m.page, n * l->m.page) ? -errno : 0;
}
