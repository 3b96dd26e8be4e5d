// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * uffd-info: prints what userfaultfd of the running kernel offers for each
 * memory type. A kernel with UFFDIO_QUERY is asked; on others, a mapping of each
 * type is registered with each mode.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../core/uapi.h"
#include "info.h"

#define USAGE		2	/* exit status */
#define NR_MODES	3	/* MISSING, WP, MINOR: bits 0 to 2 */

static const char help[] =
"Usage: uffd-info [--try] [FILE...]\n"
"\n"
"Prints the features of userfaultfd of the running kernel, and for each memory\n"
"type, and each FILE, the modes that it can be registered with.\n"
"\n"
"  --try      register mappings even if the kernel has UFFDIO_QUERY\n"
"  --help     print this text\n"
"  --version  print the version\n";

/* The name of each bit. The bits from 24 on are those of this project. */
static const char * const features[64] = {
	"PAGEFAULT_FLAG_WP", "EVENT_FORK", "EVENT_REMAP", "EVENT_REMOVE",
	"MISSING_HUGETLBFS", "MISSING_SHMEM", "EVENT_UNMAP", "SIGBUS",
	"THREAD_ID", "MINOR_HUGETLBFS", "MINOR_SHMEM", "EXACT_ADDRESS",
	"WP_HUGETLBFS_SHMEM", "WP_UNPOPULATED", "POISON", "WP_ASYNC", "MOVE",
	[24] = "QUERY", "ZEROPAGE_WP", "FILL", "SKIP_PRESENT", "MAP_HUGE",
};

static const char * const modes[64] = { "MISSING", "WP", "MINOR" };

static const char * const ioctls[64] = {
	[2] = "wake", "copy", "zeropage", "move", "writeprotect", "continue",
	"poison", [0x20] = "query", "fill",
};

static const char * const refusals[] = {
	[UFFD_REFUSAL_RANGE] = "not a range of the address space",
	[UFFD_REFUSAL_MISALIGNED] = "not aligned to its pages",
	[UFFD_REFUSAL_NOT_MAPPED] = "not mapped",
	[UFFD_REFUSAL_DROPPABLE] = "may be dropped by the kernel",
	[UFFD_REFUSAL_SPECIAL] = "a special mapping",
	[UFFD_REFUSAL_TYPE] = "no support of the memory type",
	[UFFD_REFUSAL_MODE] = "no support of the mode",
	[UFFD_REFUSAL_MIXED] = "several memory types",
	[UFFD_REFUSAL_READ_ONLY] = "not writable",
	[UFFD_REFUSAL_OWNED] = "registered with another userfaultfd",
};

/**
 * struct offer - what the kernel offers for one mapping
 * @modes: bits of uffdio_register.mode
 * @ioctls: of all modes
 * @granule: page size in bytes
 * @why: if there is no mode, the reason for the first
 */
struct offer {
	__u64 modes;
	__u64 ioctls;
	__u64 granule;
	const char *why;
};

#define INDENT		18
#define COLUMNS		80

/* The names of bits, in lines of at most @columns that begin at INDENT. */
static void print_bits(__u64 bits, const char * const *names, size_t columns)
{
	size_t column = INDENT;

	for (int bit = 0; bit < 64; bit++) {
		char number[16];
		const char *name = names[bit];

		if (!(bits >> bit & 1))
			continue;
		snprintf(number, sizeof(number), "bit-%d", bit);
		if (!name)
			name = number;
		if (column > INDENT && column + 1 + strlen(name) > columns) {
			printf("\n%*s", INDENT, "");
			column = INDENT;
		} else if (column > INDENT) {
			column += printf(" ");
		}
		column += printf("%s", name);
	}
	printf("\n");
}

/* ---- access to userfaultfd ---- */

static int open_call(int flags)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);
}

static int open_device(void)
{
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd, err;

	if (dev < 0)
		return -1;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	err = errno;
	close(dev);
	errno = err;
	return fd;
}

/*
 * Prints which ways of access this user has, and returns the descriptor of the
 * first, or -1.
 */
static int open_userfaultfd(void)
{
	static const char * const names[] = {
		"system call", "user faults only", "/dev/userfaultfd",
	};
	int first = -1;

	for (int i = 0; i < 3; i++) {
		int fd = i == 2 ? open_device() :
			open_call(i ? UFFD_USER_MODE_ONLY : 0);

		printf("%-*s%s\n", INDENT, names[i], fd < 0 ? strerror(errno) : "yes");
		if (fd < 0)
			continue;
		if (first < 0)
			first = fd;
		else
			close(fd);
	}
	return first;
}

/* ---- what the kernel offers ---- */

/* False with errno if the kernel cannot be asked. */
static bool query(int uffd, const struct mapping *m, struct offer *offer)
{
	struct uffdio_query q = {
		.range = { (uintptr_t)m->start, m->size },
	};
	__u32 refusal;

	if (ioctl(uffd, UFFDIO_QUERY, &q))
		return false;
	*offer = (struct offer){ .modes = q.modes, .granule = q.granule };
	for (int bit = 0; bit < UFFDIO_QUERY_MODES; bit++)
		offer->ioctls |= q.answer[bit].ioctls;
	refusal = q.answer[0].refusal;
	offer->why = refusal < sizeof(refusals) / sizeof(*refusals) ?
		refusals[refusal] : "a reason that is newer than uffd-info";
	return true;
}

static bool try(int uffd, const struct mapping *m, struct offer *offer)
{
	*offer = (struct offer){ .granule = m->size };
	for (int bit = 0; bit < NR_MODES; bit++) {
		struct uffdio_register r = {
			.range = { (uintptr_t)m->start, m->size },
			.mode = 1ULL << bit,
		};

		if (ioctl(uffd, UFFDIO_REGISTER, &r)) {
			if (!bit)
				offer->why = strerror(errno);
			continue;
		}
		offer->modes |= r.mode;
		offer->ioctls |= r.ioctls;
		if (ioctl(uffd, UFFDIO_UNREGISTER, &r.range))
			return false;
	}
	return true;
}

static void print_size(__u64 bytes)
{
	static const char units[] = " KMGT";
	int unit = 0;

	for (; bytes >= 1024 && units[unit + 1]; bytes /= 1024)
		unit++;
	printf("%3llu%c ", (unsigned long long)bytes, units[unit]);
}

/* Prints a row, and removes the mapping. */
static bool row(const char *name, int uffd, bool by_query, struct mapping *m)
{
	struct offer offer;
	bool known;

	printf("%-17s ", name);
	if (m->failed) {
		printf("   - -                - %s: %s\n", m->failed,
		       strerror(m->error));
		return true;
	}
	known = by_query ? query(uffd, m, &offer) : try(uffd, m, &offer);
	if (!known) {
		printf("   ? %s\n", strerror(errno));
		unmap(m);
		return false;
	}
	unmap(m);
	print_size(offer.granule);
	if (offer.modes) {
		char text[64] = "";

		for (int bit = 0; bit < NR_MODES; bit++)
			if (offer.modes >> bit & 1)
				snprintf(text + strlen(text),
					 sizeof(text) - strlen(text), "%s%s",
					 *text ? "|" : "", modes[bit]);
		printf("%-16s ", text);
		print_bits(offer.ioctls, ioctls, SIZE_MAX);
	} else {
		printf("none             - %s\n", offer.why);
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "try",     no_argument, NULL, 't' },
		{ "help",    no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ }
	};
	struct uffdio_api api = { .api = UFFD_API };
	bool by_query, only_try = false, good = true;
	struct utsname system;
	int uffd, option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 't':
			only_try = true;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		case 'v':
			puts("uffd-info " VERSION);
			return 0;
		default:
			fputs("see uffd-info --help\n", stderr);
			return USAGE;
		}
	}

	uname(&system);
	printf("%-*s%s\n", INDENT, "kernel", system.release);
	uffd = open_userfaultfd();
	if (uffd < 0)
		return 1;
	if (ioctl(uffd, UFFDIO_API, &api)) {
		fprintf(stderr, "uffd-info: UFFDIO_API: %s\n", strerror(errno));
		return 1;
	}
	printf("%-*s", INDENT, "features");
	print_bits(api.features, features, COLUMNS);

	by_query = !only_try && api.features >> 24 & 1;
	printf("%-*s%s\n\n", INDENT, "modes found by",
	       by_query ? "UFFDIO_QUERY" : "registration");
	printf("memory            page modes            ioctls\n");
	for (const struct memory *type = memory_types; type->name; type++) {
		struct mapping m = { };

		type->map(&m, type->argument);
		good &= row(type->name, uffd, by_query, &m);
	}
	for (; optind < argc; optind++) {
		struct mapping m = { };

		map_path(&m, argv[optind]);
		good &= row(argv[optind], uffd, by_query, &m) && !m.failed;
	}
	close(uffd);
	return fflush(stdout) || !good;
}
