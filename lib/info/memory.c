// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * uffd-info: makes a mapping of each memory type. No page is populated, so
 * hugetlb needs no page in its pool.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "info.h"

/* linux/kvm.h, completed: guest_memfd that can be mapped */
#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};
#define KVM_CREATE_GUEST_MEMFD	_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#endif
#ifndef GUEST_MEMFD_FLAG_MMAP
#define GUEST_MEMFD_FLAG_MMAP		(1ULL << 0)
#define GUEST_MEMFD_FLAG_INIT_SHARED	(1ULL << 1)
#endif

#define HUGE_SHIFT	26	/* MAP_HUGE_SHIFT, MFD_HUGE_SHIFT */
#define HUGE(bits)	((bits) << HUGE_SHIFT)

static size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static void fail(struct mapping *m, const char *what)
{
	m->failed = what;
	m->error = errno;
	m->start = NULL;
}

static void map(struct mapping *m, size_t size, int prot, int flags, int fd)
{
	m->size = size;
	m->start = mmap(NULL, size, prot, flags | MAP_NORESERVE, fd, 0);
	if (m->start == MAP_FAILED)
		fail(m, "mmap");
}

/* Maps a page of a descriptor, and closes it. */
static void map_and_close(struct mapping *m, int fd, size_t size, int flags)
{
	map(m, size, PROT_READ | PROT_WRITE, flags, fd);
	close(fd);
}

static void map_anonymous(struct mapping *m, unsigned long flags)
{
	map(m, page_size(), PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1);
}

/* @bits: 0, or the page size of hugetlb as a power of two */
static void map_memfd(struct mapping *m, unsigned long bits)
{
	size_t size = bits ? 1UL << bits : page_size();
	int fd = memfd_create("uffd-info", MFD_CLOEXEC |
			      (bits ? MFD_HUGETLB | HUGE(bits) : 0));

	if (fd < 0) {
		fail(m, "memfd_create");
	} else if (ftruncate(fd, size)) {
		fail(m, "ftruncate");
		close(fd);
	} else {
		map_and_close(m, fd, size, MAP_SHARED);
	}
}

static void map_hugetlb(struct mapping *m, unsigned long bits)
{
	map(m, 1UL << bits, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE(bits), -1);
}

static void map_sysv(struct mapping *m, unsigned long unused)
{
	int id = shmget(IPC_PRIVATE, page_size(), IPC_CREAT | 0600);

	(void)unused;
	m->size = page_size();
	if (id < 0) {
		fail(m, "shmget");
		return;
	}
	m->start = shmat(id, NULL, 0);
	if (m->start == (void *)-1)
		fail(m, "shmat");
	shmctl(id, IPC_RMID, NULL);
}

static void map_secret(struct mapping *m, unsigned long unused)
{
	int fd = syscall(SYS_memfd_secret, O_CLOEXEC);

	(void)unused;
	if (fd < 0) {
		fail(m, "memfd_secret");
	} else if (ftruncate(fd, page_size())) {
		fail(m, "ftruncate");
		close(fd);
	} else {
		map_and_close(m, fd, page_size(), MAP_SHARED);
	}
}

static void map_guest_memfd(struct mapping *m, unsigned long unused)
{
	struct kvm_create_guest_memfd guest = {
		.size = page_size(),
		.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	int kvm, vm, fd;

	(void)unused;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		fail(m, "/dev/kvm");
		return;
	}
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0) {
		fail(m, "KVM_CREATE_VM");
	} else {
		fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &guest);
		if (fd < 0)
			fail(m, "KVM_CREATE_GUEST_MEMFD");
		else
			map_and_close(m, fd, page_size(), MAP_SHARED);
		close(vm);
	}
	close(kvm);
}

static void map_executable(struct mapping *m, unsigned long unused)
{
	(void)unused;
	map_path(m, "/proc/self/exe");
}

void map_path(struct mapping *m, const char *path)
{
	size_t size = page_size();
	struct statfs fs;
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC)
			size = fs.f_bsize;
		map_and_close(m, fd, size, MAP_SHARED);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fail(m, "open");
		return;
	}
	map_and_close(m, fd, size, MAP_PRIVATE);
}

void unmap(struct mapping *m)
{
	/* shmdt() is munmap() of a segment. */
	if (m->start)
		munmap(m->start, m->size);
	m->start = NULL;
}

const struct memory memory_types[] = {
	{ "anonymous",		map_anonymous,	MAP_PRIVATE },
	{ "shared anonymous",	map_anonymous,	MAP_SHARED },
	{ "memfd",		map_memfd,	0 },
	{ "SysV segment",	map_sysv,	0 },
	{ "hugetlb 2M",		map_hugetlb,	21 },
	{ "hugetlb 2M memfd",	map_memfd,	21 },
	{ "hugetlb 1G",		map_hugetlb,	30 },
	{ "memfd_secret",	map_secret,	0 },
	{ "guest_memfd",	map_guest_memfd, 0 },
	{ "private file",	map_executable,	0 },
	{ }
};
