/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every kind of mapping that a process can have, those that userfaultfd serves
 * and those that it refuses. UFFD_KINDS(X) is a list of them: X(name) for each,
 * where name() makes such a mapping and returns 0 or -errno.
 *
 * What is made stays mapped until drop().
 */
#ifndef UFFD_KINDS_H
#define UFFD_KINDS_H

#include "uffd-lab.h"

#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <dirent.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE	0x08
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif

#define SMALL	(2 * LAB_PAGE)
#define RW	(PROT_READ | PROT_WRITE)

/* A mapping of some kind */
struct mapping {
	void *addr;
	size_t len;
};

/*
 * Each maker returns 0 or -errno. A file is closed once it is mapped: nothing
 * outlives the unmapping but the mounts, which go with the namespace.
 */
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

static int anon_private(struct mapping *m)
{
	return map_nofile(m, SMALL, RW, MAP_PRIVATE);
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

static int anon_shared(struct mapping *m)
{
	return map_nofile(m, SMALL, RW, MAP_SHARED);
}

static int droppable(struct mapping *m)
{
	/* a mapping type of its own, beside MAP_SHARED and MAP_PRIVATE */
	return map_nofile(m, SMALL, RW, MAP_DROPPABLE);
}

static int memfd_shared(struct mapping *m)
{
	return map_fd(m, lab_file_memfd(SMALL), SMALL, RW, MAP_SHARED);
}

static int memfd_private(struct mapping *m)
{
	return map_fd(m, lab_file_memfd(SMALL), SMALL, RW, MAP_PRIVATE);
}

/* A shared mapping through a descriptor that cannot write. */
static int memfd_rdonly(struct mapping *m)
{
	char path[40];
	int fd = lab_file_memfd(SMALL), ro;

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open_or(path, O_RDONLY);
	close(fd);
	return map_fd(m, ro, SMALL, PROT_READ, MAP_SHARED);
}

/* The same descriptor mapped privately may be written to. */
static int memfd_rdonly_private(struct mapping *m)
{
	char path[40];
	int fd = lab_file_memfd(SMALL), ro;

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open_or(path, O_RDONLY);
	close(fd);
	return map_fd(m, ro, SMALL, PROT_READ, MAP_PRIVATE);
}

static int memfd_sealed(struct mapping *m)
{
	int fd = memfd_create("uffd-kinds", MFD_CLOEXEC | MFD_ALLOW_SEALING);

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

static int tmpfs_shared(struct mapping *m)
{
	return map_fd(m, lab_file_tmpfs(SMALL), SMALL, RW, MAP_SHARED);
}

static int tmpfs_private(struct mapping *m)
{
	return map_fd(m, lab_file_tmpfs(SMALL), SMALL, RW, MAP_PRIVATE);
}

static int zero_shared(struct mapping *m)
{
	return map_fd(m, open_or("/dev/zero", O_RDWR), SMALL, RW, MAP_SHARED);
}

static int zero_private(struct mapping *m)
{
	return map_fd(m, open_or("/dev/zero", O_RDWR), SMALL, RW, MAP_PRIVATE);
}

static int hugetlb_memfd_shared(struct mapping *m)
{
	return map_fd(m, lab_file_hugetlb(LAB_HUGE), LAB_HUGE, RW, MAP_SHARED);
}

static int hugetlb_memfd_private(struct mapping *m)
{
	return map_fd(m, lab_file_hugetlb(LAB_HUGE), LAB_HUGE, RW, MAP_PRIVATE);
}

static int hugetlb_anon_shared(struct mapping *m)
{
	return map_nofile(m, LAB_HUGE, RW,
			  MAP_SHARED | MAP_HUGETLB | MAP_HUGE_2MB);
}

static int hugetlb_anon_private(struct mapping *m)
{
	return map_nofile(m, LAB_HUGE, RW,
			  MAP_PRIVATE | MAP_HUGETLB | MAP_HUGE_2MB);
}

static int map_segment(struct mapping *m, size_t len, int flags, int at)
{
	int id = shmget(IPC_PRIVATE, len, IPC_CREAT | 0600 | flags);
	int err = 0;

	if (id < 0)
		return -errno;
	m->len = len;
	m->addr = shmat(id, NULL, at);
	if (m->addr == (void *)-1)
		err = -errno;
	shmctl(id, IPC_RMID, NULL);
	return err;
}

static int sysv(struct mapping *m)
{
	return map_segment(m, SMALL, 0, 0);
}

static int sysv_rdonly(struct mapping *m)
{
	return map_segment(m, SMALL, 0, SHM_RDONLY);
}

static int sysv_hugetlb(struct mapping *m)
{
	return map_segment(m, LAB_HUGE, SHM_HUGETLB, 0);
}

static int ramfs_shared(struct mapping *m)
{
	return map_fd(m, lab_file_ramfs(SMALL), SMALL, RW, MAP_SHARED);
}

static int ramfs_private(struct mapping *m)
{
	return map_fd(m, lab_file_ramfs(SMALL), SMALL, RW, MAP_PRIVATE);
}

static int secretmem(struct mapping *m)
{
	return map_fd(m, lab_file_secret(SMALL), SMALL, RW, MAP_SHARED);
}

/*
 * A file of a type that does not know userfaultfd: any block device. Privately,
 * as it may be one that the kernel swaps to.
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

/* One of the areas that the kernel itself put into this process. */
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

/* Page frames without struct page: where a PC has its text screen. */
static int pfn_mem(struct mapping *m)
{
	return map_fd_at(m, open_or("/dev/mem", O_RDWR), LAB_PAGE, RW,
			 MAP_SHARED, 0xb8000);
}

/* Memory that the kernel writes and lends: pages of a perf ring ... */
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

/* The kernel's own areas stay: they are looked up and not made. */
static inline bool is_made(int (*make)(struct mapping *m))
{
	return make != pfn_vvar && make != kernel_vdso;
}

static inline void drop(struct mapping *m, int (*make)(struct mapping *m))
{
	if (is_made(make))
		munmap(m->addr, m->len);
}

#define UFFD_KINDS(X)							\
	X(anon_private)							\
	X(anon_none)							\
	X(anon_locked)							\
	X(anon_growsdown)						\
	X(anon_shared)							\
	X(memfd_shared)							\
	X(memfd_private)						\
	X(memfd_rdonly)							\
	X(memfd_rdonly_private)						\
	X(memfd_sealed)							\
	X(tmpfs_shared)							\
	X(tmpfs_private)						\
	X(zero_shared)							\
	X(zero_private)							\
	X(hugetlb_memfd_shared)						\
	X(hugetlb_memfd_private)					\
	X(hugetlb_anon_shared)						\
	X(hugetlb_anon_private)						\
	X(sysv)								\
	X(sysv_rdonly)							\
	X(sysv_hugetlb)							\
	X(ramfs_shared)							\
	X(ramfs_private)						\
	X(secretmem)							\
	X(block_device)							\
	X(droppable)							\
	X(pfn_mem)							\
	X(pfn_vvar)							\
	X(kernel_vdso)							\
	X(perf_ring)							\
	X(uring)

#endif /* UFFD_KINDS_H */
