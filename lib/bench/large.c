// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Open and hand-over of a large guest: from the first system call to a server
 * that has served its first fault, with the memory that this takes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lazyrestore/lazyrestore.h>

#include "bench.h"

#define EVERY	(16UL << 20)	/* distance of the chunks in the snapshot */

/* Resident memory of this process in bytes. */
static uint64_t resident(void)
{
	unsigned long total, pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &total, &pages) != 2)
		die("cannot read /proc/self/statm");
	fclose(file);
	return pages * PAGE;
}

void make_snapshot(const char *name, uint64_t len)
{
	struct lazy_snap_region region = { 0, len };
	struct lazy_snap_writer *writer;
	static char chunk[LAZY_SNAP_CHUNK];
	struct lazy_error err;

	writer = lazy_snap_create(name, &region, 1, &err);
	if (!writer)
		die("%s", err.text);
	for (uint64_t at = 0; at < len; at += EVERY) {
		memcpy(chunk, &at, sizeof(at));
		chunk[sizeof(at)] = 1;
		if (lazy_snap_write(writer, at, chunk, sizeof(chunk), &err))
			die("%s", err.text);
	}
	if (lazy_snap_commit(writer, &err))
		die("%s", err.text);
}

/* A raw memory file with the same content, the rest of which are holes. */
void make_large_file(const char *name, uint64_t len)
{
	static char page[PAGE];
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, len))
		die("%s: %s", name, strerror(errno));
	for (uint64_t at = 0; at < len; at += EVERY) {
		memcpy(page, &at, sizeof(at));
		page[sizeof(at)] = 1;
		if (pwrite(fd, page, sizeof(page), at) != sizeof(page))
			die("%s: %s", name, strerror(errno));
	}
	close(fd);
}

static void start_server(int uffd, char *at, uint64_t len,
			 const struct lazy_source *source)
{
	struct lazy_region region = {
		.address = (uintptr_t)at, .len = len, .granule = PAGE, .fd = -1,
	};
	struct lazy_server_config config = {
		.size = sizeof(config), .uffd = uffd,
		.flags = LAZY_NO_BACKGROUND,
		.regions = &region, .region_size = sizeof(region),
		.nr_regions = 1, .source = source,
	};
	struct lazy_error err;
	struct lazy_server *server = lazy_server_new(&config, &err);

	if (!server || lazy_server_start(server, 0, &err))
		die("%s", err.text);
}

/* Memory as a hypervisor has it when the restore begins. */
static char *guest_memory(uint64_t len, int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	char *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct uffdio_register reg = {
		.range = { (uintptr_t)at, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	*uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (at == MAP_FAILED || *uffd < 0 || ioctl(*uffd, UFFDIO_API, &api) ||
	    ioctl(*uffd, UFFDIO_REGISTER, &reg))
		die("memory of %llu bytes: %s", (unsigned long long)len,
		    strerror(errno));
	return at;
}

static struct result first_fault(const char *name, uint64_t len, bool snapshot)
{
	struct lazy_source source = { .size = sizeof(source) };
	struct lazy_memfile *file = NULL;
	struct lazy_snap *snap = NULL;
	struct result result = { .pages = 1 };
	uint64_t before;
	struct lazy_error err;
	double start;
	char *at;
	int uffd;

	at = guest_memory(len, &uffd);
	before = resident();
	start = now();
	if (snapshot)
		snap = lazy_snap_open(name, &err);
	else
		file = lazy_memfile_open(name, NULL, &err);
	if (!snap && !file)
		die("%s", err.text);
	if (snapshot)
		lazy_snap_source(snap, &source);
	else
		lazy_memfile_source(file, &source);
	start_server(uffd, at, len, &source);
	if (!*(volatile char *)(at + len / 2 + sizeof(uint64_t)))
		die("wrong content of a large guest");
	result.seconds = now() - start;
	result.rss = resident() - before;
	return result;
}

struct large {
	const char *name;
	uint64_t len;
	bool snapshot;
};

static struct result open_large(const void *arg)
{
	const struct large *large = arg;

	return first_fault(large->name, large->len, large->snapshot);
}

struct result open_snapshot(const char *name, uint64_t len)
{
	return in_child(open_large, &(struct large) { name, len, true });
}

struct result open_memory_file(const char *name, uint64_t len)
{
	return in_child(open_large, &(struct large) { name, len, false });
}
