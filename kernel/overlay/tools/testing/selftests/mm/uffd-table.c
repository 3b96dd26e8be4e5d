// SPDX-License-Identifier: GPL-2.0
/*
 * The compatibility table of userfaultfd registration: every kind of mapping
 * that a process can have, times every combination of modes, without and with
 * WP_ASYNC, and what the kernel answers to each.
 *
 * The output is tab-separated, holds no address and no other thing that
 * changes from run to run, so that two kernels are compared with diff. A kind
 * that cannot be made is an error and never a missing row.
 *
 * Columns, each row on a fresh mapping with a fresh userfaultfd:
 *   kind, modes, async		what is asked
 *   errno, ioctls		the registration
 *   over, over_ioctls		the same registration on top of it
 *   unregister			errno of UFFDIO_UNREGISTER, asked for in any case
 *   again, again_ioctls	the same registration once more, after that
 * The ioctls are the mask in hex, "-" where the registration failed.
 */
#include "uffd-lab.h"

#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <dirent.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/shm.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE	0x08
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif

#define SMALL	(2 * LAB_PAGE)
#define RW	(PROT_READ | PROT_WRITE)

/* A mapping of the kind, made anew for each row. */
struct mapping {
	void *addr;
	size_t len;
};

/*
 * Each maker returns 0 or -errno. A file is closed once it is mapped: nothing
 * outlives the unmapping but the mounts, which go with the namespace.
 */
static int map_fd(struct mapping *m, int fd, size_t len, int prot, int flags)
{
	int err = 0;

	if (fd < 0)
		return fd;
	m->len = len;
	m->addr = mmap(NULL, len, prot, flags, fd, 0);
	if (m->addr == MAP_FAILED)
		err = -errno;
	close(fd);
	return err;
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
	int fd = memfd_create("uffd-table", MFD_CLOEXEC | MFD_ALLOW_SEALING);

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

/* A ramfs of our own, mounted once and torn down with the mount namespace. */
static int ramfs_file(size_t len)
{
	static char dir[32] = "/tmp/uffd-table-XXXXXX";
	static bool mounted;
	char path[60];
	int fd;

	if (!mounted) {
		if (!mkdtemp(dir))
			return -errno;
		if (mount("uffd-table", dir, "ramfs", 0, NULL)) {
			int err = -errno;

			rmdir(dir);
			return err;
		}
		mounted = true;
	}
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open_or(path, O_RDWR | O_CREAT);
	if (fd < 0)
		return fd;
	unlink(path);
	return lab_sized(fd, len);
}

static int ramfs_shared(struct mapping *m)
{
	return map_fd(m, ramfs_file(SMALL), SMALL, RW, MAP_SHARED);
}

static int ramfs_private(struct mapping *m)
{
	return map_fd(m, ramfs_file(SMALL), SMALL, RW, MAP_PRIVATE);
}

static int secretmem(struct mapping *m)
{
	int fd = syscall(__NR_memfd_secret, O_CLOEXEC);

	return map_fd(m, lab_sized(fd, SMALL), SMALL, RW, MAP_SHARED);
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

/* Page frames without struct page: the memory of the first PCI device. */
static int pfn_pci(struct mapping *m)
{
	static const char bus[] = "/sys/bus/pci/devices";
	struct dirent **names;
	int n = scandir(bus, &names, NULL, alphasort);
	int err = -ENODEV;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		for (int bar = 0; err && bar < 6; bar++) {
			char path[400];
			struct stat st;

			snprintf(path, sizeof(path), "%s/%s/resource%d", bus,
				 names[i]->d_name, bar);
			if (stat(path, &st) || st.st_size < (off_t)LAB_PAGE)
				continue;
			err = map_fd(m, open_or(path, O_RDWR), LAB_PAGE, RW,
				     MAP_SHARED);
		}
		free(names[i]);
	}
	free(names);
	return err;
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

static const struct {
	const char *name;
	int (*make)(struct mapping *m);
} kinds[] = {
#define KIND(fn)	{ #fn, fn }
	KIND(anon_private),
	KIND(anon_none),
	KIND(anon_locked),
	KIND(anon_growsdown),
	KIND(anon_shared),
	KIND(memfd_shared),
	KIND(memfd_private),
	KIND(memfd_rdonly),
	KIND(memfd_rdonly_private),
	KIND(memfd_sealed),
	KIND(tmpfs_shared),
	KIND(tmpfs_private),
	KIND(zero_shared),
	KIND(zero_private),
	KIND(hugetlb_memfd_shared),
	KIND(hugetlb_memfd_private),
	KIND(hugetlb_anon_shared),
	KIND(hugetlb_anon_private),
	KIND(sysv),
	KIND(sysv_rdonly),
	KIND(sysv_hugetlb),
	KIND(ramfs_shared),
	KIND(ramfs_private),
	KIND(secretmem),
	KIND(droppable),
	KIND(pfn_pci),
	KIND(pfn_vvar),
	KIND(kernel_vdso),
	KIND(perf_ring),
	KIND(uring),
};

static void fatal(const char *kind, const char *what, int err)
{
	fflush(stdout);
	fprintf(stderr, "uffd-table: %s: cannot %s: %s\n", kind, what,
		strerror(-err));
	exit(1);
}

static const char *errno_name(int err)
{
	return err ? strerrorname_np(-err) : "0";
}

static void print_answer(int err, __u64 ioctls)
{
	if (err)
		printf("\t%s\t-", errno_name(err));
	else
		printf("\t0\t%llx", (unsigned long long)ioctls);
}

static const char *mode_names(__u64 modes)
{
	static char names[32];

	snprintf(names, sizeof(names), "%s%s%s",
		 modes & LAB_MISSING ? "|MISSING" : "",
		 modes & LAB_MINOR ? "|MINOR" : "",
		 modes & LAB_WP ? "|WP" : "");
	return names + 1;
}

static void row(size_t kind, __u64 modes, bool async)
{
	const char *name = kinds[kind].name;
	struct mapping m;
	__u64 ioctls = 0;
	int err, uffd;

	err = kinds[kind].make(&m);
	if (err)
		fatal(name, "make this mapping", err);
	uffd = lab_uffd_open(async ? UFFD_FEATURE_WP_ASYNC : 0);
	if (uffd < 0)
		fatal(name, "open a userfaultfd", uffd);

	printf("%s\t%s\t%s", name, mode_names(modes), async ? "async" : "sync");
	err = lab_register(uffd, m.addr, m.len, modes, &ioctls);
	print_answer(err, ioctls);
	err = lab_register(uffd, m.addr, m.len, modes, &ioctls);
	print_answer(err, ioctls);
	printf("\t%s", errno_name(lab_unregister(uffd, m.addr, m.len)));
	err = lab_register(uffd, m.addr, m.len, modes, &ioctls);
	print_answer(err, ioctls);
	putchar('\n');

	close(uffd);
	/* The kernel's own areas stay, they are looked up and not made. */
	if (kinds[kind].make != pfn_vvar && kinds[kind].make != kernel_vdso)
		munmap(m.addr, m.len);
}

int main(void)
{
	static const __u64 modes[] = {
		LAB_MISSING, LAB_MINOR, LAB_WP,
		LAB_MISSING | LAB_MINOR, LAB_MISSING | LAB_WP,
		LAB_MINOR | LAB_WP, LAB_MISSING | LAB_MINOR | LAB_WP,
	};

	/* so that the ramfs goes when we do */
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		fatal("ramfs", "have a mount namespace", -errno);

	puts("kind\tmodes\tasync\terrno\tioctls\tover\tover_ioctls\t"
	     "unregister\tagain\tagain_ioctls");
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		for (size_t async = 0; async < 2; async++)
			for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
				row(k, modes[i], async);
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
