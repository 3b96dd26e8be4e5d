// SPDX-License-Identifier: GPL-2.0
/*
 * The memory types that are served, and the modes that apply to each.
 *
 * MINOR needs a second mapping of the pages, that is, a file that the handler
 * can map.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "serve.h"

#define PAGE_4K		(4UL << 10)
#define PAGE_2M		(2UL << 20)

const struct mode modes[NR_MODES] = {
	[MISSING]    = { "MISSING", UFFDIO_REGISTER_MODE_MISSING },
	[MINOR]	     = { "MINOR", UFFDIO_REGISTER_MODE_MINOR },
	[MISSING_WP] = { "MISSING|WP", UFFDIO_REGISTER_MODE_MISSING |
				       UFFDIO_REGISTER_MODE_WP },
};

static int resize(int fd, size_t len)
{
	if (fd < 0 || !ftruncate(fd, len))
		return fd;
	close(fd);
	return -1;
}

static int open_memfd(size_t len)
{
	return resize(memfd_create("served", MFD_CLOEXEC), len);
}

static int open_tmpfs(size_t len)
{
	return resize(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
		      len);
}

static int open_hugetlb(size_t len)
{
	return resize(memfd_create("served", MFD_CLOEXEC | MFD_HUGETLB |
				   MFD_HUGE_2MB), len);
}

/* Mounts a private instance, which disappears with its file. */
static int open_ramfs(size_t len)
{
	char dir[] = "/tmp/served-XXXXXX";
	int fd = -1;

	if (!mkdtemp(dir))
		return -1;
	if (!mount("served", dir, "ramfs", 0, NULL)) {
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	return resize(fd, len);
}

static int open_secret(size_t len)
{
	return resize(syscall(SYS_memfd_secret, O_CLOEXEC), len);
}

/* The device of samples/userfaultfd, which has a fixed size. */
static int open_sample(size_t len)
{
	(void)len;
	return open("/dev/userfaultfd-sample", O_RDWR | O_CLOEXEC);
}

/* A System V segment, which is removed with its last user. */
static void *attach_segment(size_t len, int flags)
{
	int id = shmget(IPC_PRIVATE, len, IPC_CREAT | 0600 | flags);
	void *mem;

	if (id < 0)
		return MAP_FAILED;
	mem = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	return mem;
}

static void *attach_sysv(size_t len)
{
	return attach_segment(len, 0);
}

static void *attach_sysv_hugetlb(size_t len)
{
	return attach_segment(len, SHM_HUGETLB | MAP_HUGE_2MB /* the same bits */);
}

#define NO_MINOR	(1 << MISSING | 1 << MISSING_WP)
#define ALL		(NO_MINOR | 1 << MINOR)

const struct memory memories[] = {
	{ "anonymous", PAGE_4K, NULL, MAP_PRIVATE | MAP_ANONYMOUS, NO_MINOR, NULL },
	{ "anon shared", PAGE_4K, NULL, MAP_SHARED | MAP_ANONYMOUS, NO_MINOR, NULL },
	{ "memfd", PAGE_4K, open_memfd, MAP_SHARED, ALL, NULL },
	{ "memfd private", PAGE_4K, open_memfd, MAP_PRIVATE, ALL, NULL },
	{ "tmpfs file", PAGE_4K, open_tmpfs, MAP_SHARED, ALL, NULL },
	{ "SysV segment", PAGE_4K, NULL, 0, NO_MINOR, attach_sysv },
	{ "hugetlb memfd", PAGE_2M, open_hugetlb, MAP_SHARED, ALL, NULL },
	{ "hugetlb private", PAGE_2M, open_hugetlb, MAP_PRIVATE, ALL, NULL },
	{ "MAP_HUGETLB", PAGE_2M, NULL,
	  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, NO_MINOR, NULL },
	{ "SysV SHM_HUGETLB", PAGE_2M, NULL, 0, NO_MINOR, attach_sysv_hugetlb },
	{ "ramfs file", PAGE_4K, open_ramfs, MAP_SHARED, ALL, NULL },
	{ "ramfs private", PAGE_4K, open_ramfs, MAP_PRIVATE, ALL, NULL },
	{ "memfd_secret", PAGE_4K, open_secret, MAP_SHARED, ALL, NULL },
	{ "sample module", PAGE_4K, open_sample, MAP_SHARED, ALL, NULL },
};

const size_t nr_memories = sizeof(memories) / sizeof(memories[0]);
