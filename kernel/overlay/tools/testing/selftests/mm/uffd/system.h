/* SPDX-License-Identifier: GPL-2.0 */
/*
 * State of the system: page table entries, counters, control groups and the
 * pools of huge pages.
 */
#ifndef UFFD_SYSTEM_H
#define UFFD_SYSTEM_H

#include "util.h"

#include <limits.h>

#define LAB_PM_PRESENT	_BITULL(63)
#define LAB_PM_SWAP	_BITULL(62)
#define LAB_PM_FILE	_BITULL(61)
#define LAB_PM_UFFD_WP	_BITULL(57)

/* The entry of /proc/self/pagemap of @addr; 0 if it cannot be read */
__u64 lab_pagemap(const void *addr);

/* Whether pagemap shows the bit @flag, a LAB_PM_*, for @addr */
static inline bool lab_pm(const void *addr, __u64 flag)
{
	return lab_pagemap(addr) & flag;
}

/* Whether @addr is mapped by an entry for a whole huge page */
bool lab_mapped_whole(const void *addr);

/*
 * The number after @key ("Shmem:") in a file such as /proc/meminfo, or
 * LAB_NO_NUMBER. The kernel prints most counters as unsigned long, even
 * after an underflow. Such a value is read as the negative number that it
 * stands for: strtol() would return LONG_MAX for all of them.
 */
#define LAB_NO_NUMBER	LONG_MIN

long lab_number(const char *path, const char *key);

/* Writes @value to the file @name of the directory @dir; 0 or -errno */
int lab_write(const char *dir, const char *name, const char *value);

/*
 * Moves this process to a new control group, which is charged for all that it
 * uses from now on. @dir receives the directory, or "" on failure. 0 or -errno.
 */
#define LAB_CGROUPS	"/sys/fs/cgroup"
#define LAB_CGROUP_LEN	64

int lab_cgroup_enter(char *dir);
void lab_cgroup_leave(char *dir);

/*
 * A number of the control group @dir, or LAB_NO_NUMBER. Memory statistics are
 * flushed from the per-CPU counters only now and then; reading cpu.stat flushes
 * them.
 */
long lab_cgroup_number(const char *dir, const char *file, const char *key);

/*
 * The pool of huge pages of one size, in pages, and what the control group of
 * this process is charged for them, in bytes. Without a group, LAB_NO_NUMBER.
 */
struct lab_pool {
	long total;
	long free;
	long reserved;
	long surplus;
	long charged;
	long charged_reserved;
};

/* One file of /sys/kernel/mm/hugepages, for pages of @page bytes */
long lab_pool_number(size_t page, const char *name);

struct lab_pool lab_pool(size_t page, const char *group);

#endif /* UFFD_SYSTEM_H */
