// SPDX-License-Identifier: GPL-2.0
/* See mappings.h. */
#include "mappings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif

static int map_fd_at(struct mapping *m, int fd, size_t len, int prot, int flags,
		     off_t offset)
{
	int err = 0;

	if (fd < 0)
		return fd;
	m->len = len;
	m->addr = mmap(NULL, len, prot, flags, fd, offset);
	if (m->addr == MAP_FAILED)
		err = -errno;
	close(fd);
	return err;
}

static int map_fd(struct mapping *m, int fd, size_t len, int prot, int flags)
{
	return map_fd_at(m, fd, len, prot, flags, 0);
}

static int map_nofile(struct mapping *m, size_t len, int prot, int flags)
{
	m->len = len;
	m->addr = mmap(NULL, len, prot, flags | MAP_ANONYMOUS, -1, 0);
	return m->addr == MAP_FAILED ? -errno : 0;
}

static int open_or(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

static int anon_none(struct mapping *m)
{
	return map_nofile(m, SMALL, PROT_NONE, MAP_PRIVATE);
}

static int anon_locked(struct mapping *m)
{
	return map_nofile(m, SMALL, RW, MAP_PRIVATE | MAP_LOCKED);
}

static int anon_growsdown(struct mapping *m)
{
	return map_nofile(m, SMALL, RW, MAP_PRIVATE | MAP_GROWSDOWN);
}

static int droppable(struct mapping *m)
{
	/* Takes the place of MAP_SHARED or MAP_PRIVATE */
	return map_nofile(m, SMALL, RW, MAP_DROPPABLE);
}

/* A memfd, mapped through a descriptor that cannot write */
static int map_rdonly(struct mapping *m, int flags)
{
	char path[40];
	int fd = lab_file_memfd(SMALL), ro;

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open_or(path, O_RDONLY);
	close(fd);
	return map_fd(m, ro, SMALL, PROT_READ, flags);
}

static int memfd_rdonly(struct mapping *m)
{
	return map_rdonly(m, MAP_SHARED);
}

/* The private mapping may become writable. */
static int memfd_rdonly_private(struct mapping *m)
{
	return map_rdonly(m, MAP_PRIVATE);
}

static int memfd_sealed(struct mapping *m)
{
	int fd = memfd_create("uffd-mappings", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	fd = lab_sized(fd, SMALL);
	if (fd < 0)
		return fd;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return map_fd(m, fd, SMALL, PROT_READ, MAP_SHARED);
}

static int zero_private(struct mapping *m)
{
	return map_fd(m, open_or("/dev/zero", O_RDWR), SMALL, RW, MAP_PRIVATE);
}

static int sysv_rdonly(struct mapping *m)
{
	int id = shmget(IPC_PRIVATE, SMALL, IPC_CREAT | 0600);
	int err = 0;

	if (id < 0)
		return -errno;
	m->len = SMALL;
	m->addr = shmat(id, NULL, SHM_RDONLY);
	if (m->addr == (void *)-1)
		err = -errno;
	shmctl(id, IPC_RMID, NULL);
	return err;
}

/*
 * A file whose type does not support userfaultfd: any block device. The mapping
 * is private, since the kernel may swap to the device.
 */
static int block_device(struct mapping *m)
{
	DIR *dir = opendir("/sys/block");
	struct dirent *entry;
	int err = -ENODEV;

	if (!dir)
		return -errno;
	while (err && (entry = readdir(dir))) {
		char path[300];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		err = map_fd(m, open_or(path, O_RDONLY), SMALL, RW,
			     MAP_PRIVATE);
	}
	closedir(dir);
	return err;
}

/* An area that the kernel mapped */
static int find_area(struct mapping *m, const char *name)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[256];
	int err = -ENOENT;

	if (!f)
		return -errno;
	while (err && fgets(line, sizeof(line), f)) {
		if (!strstr(line, name))
			continue;
		if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		m->addr = (void *)start;
		m->len = end - start;
		err = 0;
	}
	fclose(f);
	return err;
}

static int pfn_vvar(struct mapping *m)
{
	return find_area(m, "[vvar]");
}

static int kernel_vdso(struct mapping *m)
{
	return find_area(m, "[vdso]");
}

/* Page frames without struct page: the text screen of a PC */
static int pfn_mem(struct mapping *m)
{
	return map_fd_at(m, open_or("/dev/mem", O_RDWR), LAB_PAGE, RW,
			 MAP_SHARED, 0xb8000);
}

/* Kernel memory mapped to user space: the ring of a perf event ... */
static int perf_ring(struct mapping *m)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.size = sizeof(attr),
		.disabled = 1,
	};
	int fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1,
			 PERF_FLAG_FD_CLOEXEC);

	return map_fd(m, fd < 0 ? -errno : fd, SMALL, RW, MAP_SHARED);
}

/* ... and of an io_uring. */
static int uring(struct mapping *m)
{
	struct io_uring_params params = { 0 };
	int fd = syscall(__NR_io_uring_setup, 8, &params);

	return map_fd(m, fd < 0 ? -errno : fd, LAB_PAGE, RW, MAP_SHARED);
}

#define TYPE(kind, type_)						\
	[MAPPING_##kind] = { #kind, .type = &lab_##type_ }
#define MADE(kind)							\
	[MAPPING_##kind] = { #kind, .make = kind }
#define FOUND(kind)							\
	[MAPPING_##kind] = { #kind, .make = kind, .is_found = true }

const struct mapping_kind mapping_kinds[NR_MAPPING_KINDS] = {
	TYPE(anon_private, anon),
	MADE(anon_none),
	MADE(anon_locked),
	MADE(anon_growsdown),
	TYPE(anon_shared, anon_shared),
	TYPE(memfd_shared, memfd_shared),
	TYPE(memfd_private, memfd_private),
	MADE(memfd_rdonly),
	MADE(memfd_rdonly_private),
	MADE(memfd_sealed),
	TYPE(tmpfs_shared, tmpfs_shared),
	TYPE(tmpfs_private, tmpfs_private),
	TYPE(zero_shared, zero_shared),
	MADE(zero_private),
	TYPE(hugetlb_memfd_shared, hugetlb_shared),
	TYPE(hugetlb_memfd_private, hugetlb_private),
	TYPE(hugetlb_anon_shared, map_hugetlb_shared),
	TYPE(hugetlb_anon_private, map_hugetlb_private),
	TYPE(sysv, sysv),
	MADE(sysv_rdonly),
	TYPE(sysv_hugetlb, sysv_hugetlb),
	TYPE(ramfs_shared, ramfs_shared),
	TYPE(ramfs_private, ramfs_private),
	TYPE(secretmem, secretmem),
	MADE(block_device),
	MADE(droppable),
	MADE(pfn_mem),
	FOUND(pfn_vvar),
	FOUND(kernel_vdso),
	MADE(perf_ring),
	MADE(uring),
};

static int map_type(struct mapping *m, const struct lab_type *t)
{
	int fd = -1, err = 0;

	m->len = t->page ? t->page : SMALL;
	if (t->file)
		fd = t->file(m->len);
	else if (t->path)
		fd = open_or(t->path, O_RDWR);
	if ((t->file || t->path) && fd < 0)
		return fd;
	m->addr = lab_map(t, NULL, m->len, fd);
	if (m->addr == MAP_FAILED)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

int mapping_make(struct mapping *m, const struct mapping_kind *kind)
{
	return kind->type ? map_type(m, kind->type) : kind->make(m);
}

void mapping_drop(struct mapping *m, const struct mapping_kind *kind)
{
	if (!kind->is_found)
		munmap(m->addr, m->len);
}
