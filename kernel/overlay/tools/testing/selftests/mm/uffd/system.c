// SPDX-License-Identifier: GPL-2.0
/* See system.h. */
#include "system.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

__u64 lab_pagemap(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	__u64 entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)addr / LAB_PAGE * sizeof(entry)) != sizeof(entry))
		entry = 0;
	close(fd);
	return entry;
}

bool lab_mapped_whole(const void *addr)
{
	struct page_region region = {};
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)addr,
		.end = (uintptr_t)addr + LAB_PAGE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_HUGE | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_HUGE,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int n = fd < 0 ? -1 : ioctl(fd, PAGEMAP_SCAN, &arg);

	if (fd >= 0)
		close(fd);
	return n == 1;
}

long lab_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long n = LAB_NO_NUMBER;
	char line[256], *end;

	if (!f)
		return n;
	while (n == LAB_NO_NUMBER && fgets(line, sizeof(line), f)) {
		unsigned long long value;

		if (strncmp(line, key, strlen(key)))
			continue;
		value = strtoull(line + strlen(key), &end, 10);
		if (end != line + strlen(key))
			n = value;
	}
	fclose(f);
	return n;
}

int lab_write(const char *dir, const char *name, const char *value)
{
	char path[128];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int lab_cgroup_enter(char *dir)
{
	int err;

	dir[0] = '\0';
	err = lab_write(LAB_CGROUPS, "cgroup.subtree_control",
			"+memory +hugetlb");
	if (err)
		return err;
	snprintf(dir, LAB_CGROUP_LEN, LAB_CGROUPS "/uffd-%d", getpid());
	if (!mkdir(dir, 0755))
		return lab_write(dir, "cgroup.procs", "0");
	err = -errno;
	dir[0] = '\0';
	return err;
}

void lab_cgroup_leave(char *dir)
{
	if (!dir[0])
		return;
	lab_write(LAB_CGROUPS, "cgroup.procs", "0");
	rmdir(dir);
}

long lab_cgroup_number(const char *dir, const char *file, const char *key)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/cpu.stat", dir);
	if (lab_number(path, "usage_usec ") == LAB_NO_NUMBER)
		return LAB_NO_NUMBER;
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return lab_number(path, key);
}

long lab_pool_number(size_t page, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", page >> 10,
		 name);
	return lab_number(path, "");
}

static long lab_pool_charge(size_t page, const char *group, const char *name)
{
	char path[LAB_CGROUP_LEN + 32];

	snprintf(path, sizeof(path), "%s/hugetlb.%s.%s", group,
		 page == LAB_GIGANTIC ? "1GB" : "2MB", name);
	return lab_number(path, "");
}

struct lab_pool lab_pool(size_t page, const char *group)
{
	return (struct lab_pool) {
		.total = lab_pool_number(page, "nr_hugepages"),
		.free = lab_pool_number(page, "free_hugepages"),
		.reserved = lab_pool_number(page, "resv_hugepages"),
		.surplus = lab_pool_number(page, "surplus_hugepages"),
		.charged = lab_pool_charge(page, group, "current"),
		.charged_reserved = lab_pool_charge(page, group,
						    "rsvd.current"),
	};
}
