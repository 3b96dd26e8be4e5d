// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Checks before a server takes over: the descriptor and the regions come from
 * another process, and are not believed.
 *
 * The mappings of that process cannot be seen, but UFFDIO_COPY from an
 * inaccessible source fails without a change, and tells why:
 *
 *	ENOENT	the range is not within one mapping registered with this
 *		userfaultfd
 *	EINVAL	the range is not aligned to the pages of the mapping
 *	ESRCH	the process has exited
 *	EFAULT	none of these (EEXIST, ENOMEM and ENOSPC as well)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core.h"

int64_t lazy__uffd_features(int fd)
{
	unsigned long long features;
	char path[64], link[64], line[128];
	int64_t found = -1;
	ssize_t n;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -1;
	link[n] = '\0';
	if (strcmp(link, "anon_inode:[userfaultfd]"))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "API: %*x:%llx:", &features) == 1)
			found = features & INT32_MAX;
	fclose(file);
	return found;
}

int lazy_is_userfaultfd(int fd)
{
	return lazy__uffd_features(fd) >= 0;
}

/* Returns the errno of a copy from nowhere. */
static int probe(struct lazy_server *s, int uffd, uint64_t address,
		 uint64_t len)
{
	struct uffdio_copy copy = {
		.dst = address,
		.src = s->nowhere,
		.len = len,
		.mode = UFFDIO_COPY_MODE_DONTWAKE,
	};

	do {
		errno = 0;
	} while (ioctl(uffd, UFFDIO_COPY, &copy) && errno == EINTR);
	return errno;
}

/*
 * EAGAIN: the owner waits for an event to be read, for example because it
 * discarded memory since it registered it.
 */
static int probe_settled(struct lazy_server *s, uint64_t address, uint64_t len)
{
	int error;

	while ((error = probe(s, s->config.uffd, address, len)) == EAGAIN &&
	       !lazy__overdue(s, s->started))
		if (lazy__serve_messages(&s->own, false) < 0)
			break;
	return error;
}

bool lazy__space_exists(struct lazy_server *s, int uffd)
{
	const struct lazy__region *r = &s->regions[0];

	return probe(s, uffd, r->is.address, r->is.granule) != ESRCH;
}

/*
 * The range may consist of several mappings: if it is not within one, both of
 * its halves have to be. Returns 0, or an errno with @where set.
 */
static int probe_range(struct lazy_server *s, const struct lazy__region *r,
		       uint64_t address, uint64_t len, uint64_t *where)
{
	int error = probe_settled(s, address, len);
	uint64_t half = len / 2 & -r->is.granule;

	*where = address;
	switch (error) {
	case EFAULT:
	case EEXIST:
	case ENOMEM:
	case ENOSPC:
		return 0;
	case ENOENT:
		if (!half)
			return ENOENT;
		error = probe_range(s, r, address, half, where);
		return error ?: probe_range(s, r, address + half, len - half,
					    where);
	default:
		return error ?: EINVAL;
	}
}

/*
 * An inaccessible page, at a low address: the kernel checks that the source of
 * a copy, as long as the longest region, is within the address space.
 */
static int reserve_nowhere(struct lazy_server *s, struct lazy_error *err)
{
	for (uint64_t at = 1 << 16; at < 1 << 28; at += 1 << 16) {
		void *p = mmap((void *)(uintptr_t)at, LAZY__PAGE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS |
			       MAP_FIXED_NOREPLACE, -1, 0);

		if (p == MAP_FAILED)
			continue;
		s->nowhere = (uintptr_t)p;
		if (s->nowhere == at)
			return 0;
		munmap(p, LAZY__PAGE);
		s->nowhere = 0;
	}
	return lazy_error_set(err, LAZY_E_SYSTEM, "cannot reserve a page: %m");
}

int lazy__check_registered(struct lazy_server *s, struct lazy_error *err)
{
	if (reserve_nowhere(s, err))
		return -1;
	for (size_t i = 0; i < s->nr; i++) {
		const struct lazy__region *r = &s->regions[i];
		uint64_t where;

		errno = probe_range(s, r, r->is.address, r->is.len, &where);
		switch (errno) {
		case 0:
			break;
		case ENOENT:
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "region %zu: not registered with the userfaultfd at %#llx",
					      i, (unsigned long long)where);
		case EINVAL:
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "region %zu: wrong page size: %llu",
					      i, (unsigned long long)r->is.granule);
		case EAGAIN:
			return lazy_error_set(err, LAZY_E_TIMEOUT,
					      "timed out reading the events of the userfaultfd");
		default:
			return lazy_error_set(err, LAZY_E_SYSTEM,
					      "region %zu: UFFDIO_COPY: %m", i);
		}
		/* Smaller or larger pages than those of the mapping? */
		if (probe_settled(s, r->is.address, r->is.granule) == EINVAL ||
		    (r->is.granule > LAZY__PAGE &&
		     probe_settled(s, r->is.address + r->is.granule / 2,
				   r->is.granule / 2) != EINVAL))
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "region %zu: wrong page size: %llu",
					      i, (unsigned long long)r->is.granule);
	}
	return 0;
}

static int check_region(struct lazy_server *s, const struct lazy_region *r,
			size_t i, struct lazy_error *err)
{
	uint64_t mask = r->granule - 1;

	if (r->granule < LAZY__PAGE || r->granule & mask ||
	    r->granule > LAZY__MAX_BUFFER)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu: wrong page size: %llu", i,
				      (unsigned long long)r->granule);
	if (!r->len || (r->len | r->address | r->fd_offset) & mask)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu is not aligned to its pages", i);
	if (!r->address || r->address + r->len < r->address ||
	    r->fd_offset + r->len > INT64_MAX || r->fd_offset > INT64_MAX)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu: address or length out of range", i);
	if (r->offset % LAZY__PAGE || r->offset > s->source.length ||
	    r->len > s->source.length - r->offset)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu is not in the source", i);
	if (r->populate > LAZY_ALIAS ||
	    (r->populate != LAZY_COPY && r->fd < 0))
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "region %zu: no memory file, or unknown way to populate", i);
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct lazy__region *x = a, *y = b;

	return x->is.address < y->is.address ? -1 :
	       x->is.address > y->is.address;
}

/* Copies the regions, sorted, to the server. */
int lazy__check_config(struct lazy_server *s, struct lazy_error *err)
{
	const struct lazy_server_config *c = &s->config;
	size_t len = c->region_size;
	int64_t features;

	if (!c->regions || !c->nr_regions || c->nr_regions > 65536 || !len)
		return lazy_error_set(err, LAZY_E_ARGUMENT, "no regions");
	if (!c->source || (!s->source.read && !s->source.map))
		return lazy_error_set(err, LAZY_E_ARGUMENT, "no source");
	if (len > sizeof(struct lazy_region))
		len = sizeof(struct lazy_region);
	features = lazy__uffd_features(c->uffd);
	if (features < 0)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "descriptor %d is not a userfaultfd",
				      c->uffd);
	s->events = features & (UFFD_FEATURE_EVENT_FORK |
				UFFD_FEATURE_EVENT_REMAP |
				UFFD_FEATURE_EVENT_REMOVE |
				UFFD_FEATURE_EVENT_UNMAP);
	s->regions = calloc(c->nr_regions, sizeof(*s->regions));
	if (!s->regions)
		return lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
	for (size_t i = 0; i < c->nr_regions; i++) {
		struct lazy__region *r = &s->regions[i];

		memcpy(&r->is, (const char *)c->regions + i * c->region_size,
		       len);
		if (check_region(s, &r->is, i, err))
			return -1;
		if (r->is.populate != LAZY_COPY)
			r->is.flags |= LAZY_REGION_SHARED;
	}
	s->nr = c->nr_regions;
	qsort(s->regions, s->nr, sizeof(*s->regions), by_address);
	for (size_t i = 0; i < s->nr; i++) {
		struct lazy__region *r = &s->regions[i];

		if (i && r->is.address - r[-1].is.address < r[-1].is.len)
			return lazy_error_set(err, LAZY_E_ARGUMENT,
					      "regions overlap at %#llx",
					      (unsigned long long)r->is.address);
		r->shift = __builtin_ctzll(r->is.granule);
		r->first = s->pages;
		r->nr = r->is.len >> r->shift;
		s->pages += r->nr;
	}
	return 0;
}
