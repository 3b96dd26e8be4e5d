// SPDX-License-Identifier: GPL-2.0
/*
 * The table of memory types, and the code that makes an area of one. See
 * memory.h.
 */
#include "memory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int lab_sized(int fd, size_t len)
{
	int err;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, len))
		return fd;
	err = errno;
	close(fd);
	return -err;
}

int lab_file_memfd(size_t len)
{
	return lab_sized(memfd_create("uffd-lab", MFD_CLOEXEC), len);
}

int lab_file_hugetlb(size_t len)
{
	return lab_sized(memfd_create("uffd-lab", MFD_CLOEXEC | MFD_HUGETLB |
				      MFD_HUGE_2MB), len);
}

int lab_file_gigantic(size_t len)
{
	return lab_sized(memfd_create("uffd-lab", MFD_CLOEXEC | MFD_HUGETLB |
				      MFD_HUGE_1GB), len);
}

int lab_file_tmpfs(size_t len)
{
	return lab_sized(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600),
			 len);
}

int lab_file_on(const char *fs, const char *options, size_t len)
{
	char dir[] = "/tmp/uffd-lab-XXXXXX";
	int fd = -1, err;

	if (!mkdtemp(dir))
		return -errno;
	if (mount("uffd-lab", dir, fs, 0, options)) {
		err = errno;
	} else {
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		err = errno;
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	errno = err;
	return lab_sized(fd, len);
}

int lab_file_thp(size_t len)
{
	return lab_file_on("tmpfs", "huge=always", len);
}

int lab_file_ramfs(size_t len)
{
	return lab_file_on("ramfs", NULL, len);
}

#ifndef __NR_memfd_secret
#define __NR_memfd_secret	447
#endif

int lab_file_secret(size_t len)
{
	return lab_sized(syscall(__NR_memfd_secret, O_CLOEXEC), len);
}

#define SAMPLE	"/dev/userfaultfd-sample"

int lab_file_sample(size_t len)
{
	int fd = open(SAMPLE, O_RDWR | O_CLOEXEC);

	(void)len;
	if (fd < 0 && errno == ENOENT) {
		if (system("modprobe userfaultfd-sample"))
			return -ENOENT;
		fd = open(SAMPLE, O_RDWR | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

/* The table of memory types */

const struct lab_type lab_anon = {
	.name = "anon",
	.map_flags = MAP_ANONYMOUS,
};

#define TYPE(type, flags_, ...)						\
	const struct lab_type lab_##type = {				\
		.name = #type,						\
		.flags = flags_,					\
		__VA_ARGS__						\
	}

/* The shared and the private mapping of one file */
#define TYPES(type, flags_, ...)					\
	TYPE(type##_shared, (flags_) | LAB_T_SHARED, __VA_ARGS__);	\
	TYPE(type##_private, flags_, __VA_ARGS__)

#define LAB_MAP_HUGETLB	(MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB)
#define LAB_SHM_HUGETLB	(SHM_HUGETLB | SHM_HUGE_2MB)
#define LAB_SAMPLE	(LAB_T_FILE | LAB_T_NO_HOLES | LAB_T_FIXED)

/* shmem; the files "huge" get huge pages for every hole */
TYPES(memfd, LAB_T_FILE, .file = lab_file_memfd);
TYPES(tmpfs, LAB_T_FILE, .file = lab_file_tmpfs);
TYPES(huge, LAB_T_FILE, .file = lab_file_thp);
TYPE(anon_shared, LAB_SHMEM_SHARED, .map_flags = MAP_ANONYMOUS);
TYPE(zero_shared, LAB_SHMEM_SHARED, .path = "/dev/zero");
TYPE(sysv, LAB_SHMEM_SHARED | LAB_T_SYSV, .map_flags = 0);

/* hugetlb */
#define LAB_HUGETLB		(LAB_T_FILE | LAB_T_HUGETLB)
#define LAB_SYSV_HUGETLB	(LAB_HUGETLB_SHARED | LAB_T_SYSV)
#define LAB_2M			.page = LAB_HUGE
#define LAB_2M_FILE		.file = lab_file_hugetlb, LAB_2M

TYPES(hugetlb, LAB_HUGETLB, LAB_2M_FILE);
TYPES(noreserve, LAB_HUGETLB, LAB_2M_FILE, .map_flags = MAP_NORESERVE);
TYPES(map_hugetlb, LAB_HUGETLB, .map_flags = LAB_MAP_HUGETLB, LAB_2M);
TYPE(sysv_hugetlb, LAB_SYSV_HUGETLB, .map_flags = LAB_SHM_HUGETLB, LAB_2M);
TYPES(gigantic, LAB_HUGETLB, .file = lab_file_gigantic, .page = LAB_GIGANTIC);

/* Files whose memory is all in their page cache */
#define LAB_SECRETMEM		(LAB_SAMPLE | LAB_T_SHARED | LAB_T_SECRET)

TYPES(ramfs, LAB_T_FILE | LAB_T_NO_HOLES, .file = lab_file_ramfs);
TYPES(sample, LAB_SAMPLE, .file = lab_file_sample);
TYPE(secretmem, LAB_SECRETMEM, .file = lab_file_secret);

const char *lab_lacking(const struct lab_type *t)
{
	if (t->file != lab_file_sample || !access(SAMPLE, F_OK) ||
	    !system("grep -qs /userfaultfd-sample.ko "
		    "/lib/modules/$(uname -r)/modules.dep"))
		return NULL;
	return "no module userfaultfd-sample";
}

const char *lab_lacking_swap(void)
{
	FILE *f = fopen("/proc/swaps", "re");
	int c, lines = 0;

	while (f && (c = getc(f)) != EOF)
		lines += c == '\n';
	if (f)
		fclose(f);
	/* The first is the heading. */
	return lines > 1 ? NULL : "no swap";
}

/* Shared memory without a name still has a file: the kernel shows it here. */
static int lab_file_behind(const void *area, size_t len)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
		 (unsigned long)area, (unsigned long)area + len);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Attaches a new segment, which is removed when it is detached. */
static void *lab_segment(void *addr, size_t len, int flags)
{
	int id = shmget(IPC_PRIVATE, len, IPC_CREAT | 0600 | flags);
	void *p;

	if (id < 0)
		return MAP_FAILED;
	p = shmat(id, addr, addr ? SHM_REMAP : 0);
	shmctl(id, IPC_RMID, NULL);
	return p;
}

void *lab_map(const struct lab_type *t, void *addr, size_t len, int fd)
{
	int flags = t->flags & LAB_T_SHARED ? MAP_SHARED : MAP_PRIVATE;

	if (t->flags & LAB_T_SYSV)
		return lab_segment(addr, len, t->map_flags);
	if (addr)
		flags |= MAP_FIXED;
	return mmap(addr, len, PROT_READ | PROT_WRITE, flags | t->map_flags, fd,
		    0);
}

void lab_mem_drop(struct lab_mem *m)
{
	if (m->alias)
		munmap(m->alias, m->len);
	if (m->reserve)
		munmap(m->reserve, m->reserve_len);
	if (m->fd >= 0)
		close(m->fd);
	memset(m, 0, sizeof(*m));
	m->fd = -1;
}

int lab_mem_make(struct lab_mem *m, const struct lab_type *t, size_t pages)
{
	int err, fd = -1;
	size_t align;
	void *p;

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	m->flags = t->flags;
	m->page = t->page ? t->page : LAB_PAGE;
	m->pages = pages;
	m->len = pages * m->page;

	if (t->file) {
		fd = t->file(m->len);
		if (fd < 0)
			return fd;
		m->fd = fd;
	} else if (t->path) {
		fd = open(t->path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}

	align = m->page > LAB_HUGE ? m->page : LAB_HUGE;
	m->reserve_len = m->len + 3 * align;
	p = mmap(NULL, m->reserve_len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	m->reserve = p;
	m->area = (char *)(((uintptr_t)p + 2 * align - 1) & -align);

	p = lab_map(t, m->area, m->len, fd);
	if (p == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	if (!t->file && fd >= 0) {
		close(fd);
		fd = -1;
	}
	if (t->flags & LAB_T_FILE) {
		if (m->fd < 0)
			m->fd = lab_file_behind(m->area, m->len);
		if (m->fd < 0) {
			err = m->fd;
			goto fail;
		}
		p = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED |
			 (t->map_flags & MAP_NORESERVE), m->fd, 0);
		if (p == MAP_FAILED) {
			err = -errno;
			goto fail;
		}
		m->alias = p;
	}
	return 0;
fail:
	if (fd >= 0 && fd != m->fd)
		close(fd);
	lab_mem_drop(m);
	return err;
}

long lab_blocks(const struct lab_mem *m)
{
	struct stat st;

	return fstat(m->fd, &st) ? -errno : st.st_blocks;
}
