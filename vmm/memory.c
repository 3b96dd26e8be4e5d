// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's memory: one mapping of the selected memory type.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

/* Missing in headers older than mappable guest_memfd. */
#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS	244
#define GUEST_MEMFD_FLAG_MMAP		(1ULL << 0)
#define GUEST_MEMFD_FLAG_INIT_SHARED	(1ULL << 1)
#endif
/* Missing in headers of kernels that cannot fill it with pwrite(). */
#ifndef GUEST_MEMFD_FLAG_PWRITE
#define GUEST_MEMFD_FLAG_PWRITE		(1ULL << 30)
#endif

static int resize(int fd, size_t len)
{
	if (fd < 0 || !ftruncate(fd, len))
		return fd;
	close(fd);
	return -1;
}

static int open_shmem(int vm, size_t len)
{
	(void)vm;
	return resize(memfd_create("guest", MFD_CLOEXEC), len);
}

static int open_hugetlb(int vm, size_t len)
{
	(void)vm;
	return resize(memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB |
				   MFD_HUGE_2MB), len);
}

static int open_guest_memfd(int vm, size_t len)
{
	struct kvm_create_guest_memfd args = {
		.size = len,
		.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED |
			 GUEST_MEMFD_FLAG_PWRITE,
	};
	int known = ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS);

	if (known < 0 || (known & args.flags) != args.flags) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return ioctl(vm, KVM_CREATE_GUEST_MEMFD, &args);
}

static const struct kind kinds[] = {
	{ "anon", 4096, LAZY_COPY, false, NULL },
	{ "shmem", 4096, LAZY_PWRITE, true, open_shmem },
	{ "hugetlb", 2 << 20, LAZY_ALIAS, true, open_hugetlb },
	{ "guest_memfd", 4096, LAZY_PWRITE, true, open_guest_memfd },
};

#define NR_KINDS	(sizeof(kinds) / sizeof(*kinds))

const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < NR_KINDS; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

const char *kind_names(void)
{
	static char names[64];

	for (size_t i = 0, len = 0; i < NR_KINDS; i++)
		len += sprintf(names + len, "%s%s", i ? ", " : "",
			       kinds[i].name);
	return names;
}

int memory_make(struct memory *memory, const struct kind *kind, int vm,
		size_t len, struct lazy_error *err)
{
	int flags = MAP_SHARED;

	*memory = (struct memory) { .kind = kind, .len = len, .fd = -1 };
	if (!len || len > MAX_MEMORY || len % kind->granule)
		return because(err, "invalid size for %s memory: %zu bytes",
			       kind->name, len);
	if (kind->open) {
		memory->fd = kind->open(vm, len);
		if (memory->fd < 0)
			return because(err, "%s memory: %m", kind->name);
		fcntl(memory->fd, F_SETFD, FD_CLOEXEC);
	} else {
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	}
	memory->host = mmap(NULL, len, PROT_READ | PROT_WRITE, flags,
			    memory->fd, 0);
	if (memory->host == MAP_FAILED) {
		memory->host = NULL;
		return because(err, "cannot map %s memory: %m", kind->name);
	}
	return 0;
}

void memory_free(struct memory *memory)
{
	if (memory->host)
		munmap(memory->host, memory->len);
	if (memory->fd >= 0)
		close(memory->fd);
}
