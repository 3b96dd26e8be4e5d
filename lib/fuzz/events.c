// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Messages of a userfaultfd: faults and events in any order, at any address.
 * The kernel does not send such messages, but nothing in the server may depend
 * on that. Memory and userfaultfd are real; only its read() is replaced.
 *
 * Input: records of an operation, two arguments, and the number of steps of the
 * server behind it; or an operation and a message.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <lazyrestore/server.h>

#include "core/uapi.h"
#include "fuzz.h"

#define PAGE		4096UL
#define PAGES		64UL
#define SIZE		(PAGES * PAGE)
#define MAX_MESSAGES	64

static char content[SIZE] __attribute__((aligned(4096)));
static bool discarded[PAGES];
static char *memory;
static int uffd = -1;
static struct uffd_msg queue[MAX_MESSAGES];
static size_t queued;

/* ---- the userfaultfd ---- */

static ssize_t take(void *buf, size_t len)
{
	size_t nr = len / sizeof(queue[0]);

	if (!nr)
		errno = EINVAL;
	else if (!queued)
		errno = EAGAIN;
	if (!nr || !queued)
		return -1;
	if (nr > queued)
		nr = queued;
	memcpy(buf, queue, nr * sizeof(queue[0]));
	memmove(queue, queue + nr, (queued - nr) * sizeof(queue[0]));
	queued -= nr;
	return nr * sizeof(queue[0]);
}

ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);
ssize_t __real_preadv2(int fd, const struct iovec *iov, int nr, off_t offset,
		       int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int nr, off_t offset,
		       int flags);

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	return fd == uffd && uffd >= 0 ? take(buf, len) :
					 __real_read(fd, buf, len);
}

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int nr, off_t offset,
		       int flags)
{
	return fd == uffd && uffd >= 0 ? take(iov->iov_base, iov->iov_len) :
	       __real_preadv2(fd, iov, nr, offset, flags);
}

static int open_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);

	ASSERT(fd >= 0 && !ioctl(fd, UFFDIO_API, &api));
	return fd;
}

/* ---- messages ---- */

static void push(const struct uffd_msg *msg)
{
	struct uffd_msg *m = &queue[queued];

	if (queued == MAX_MESSAGES)
		return;
	*m = *msg;
	queued++;
	if (m->event == UFFD_EVENT_FORK)
		m->arg.fork.ufd = open_uffd(0);
	if (m->event != UFFD_EVENT_REMOVE && m->event != UFFD_EVENT_UNMAP)
		return;
	for (size_t i = 0; i < PAGES; i++)
		if (m->arg.remove.start <= (uintptr_t)memory + i * PAGE &&
		    m->arg.remove.end >= (uintptr_t)memory + (i + 1) * PAGE)
			discarded[i] = true;
}

static void push_record(unsigned int op, unsigned int a, unsigned int b)
{
	static const uint8_t events[] = {
		UFFD_EVENT_PAGEFAULT, UFFD_EVENT_PAGEFAULT, UFFD_EVENT_REMOVE,
		UFFD_EVENT_UNMAP, UFFD_EVENT_FORK, UFFD_EVENT_REMAP,
	};
	struct uffd_msg msg = { .event = events[op % 6] };
	uint64_t at = (uintptr_t)memory + a % (PAGES + 2) * PAGE;

	switch (msg.event) {
	case UFFD_EVENT_PAGEFAULT:
		msg.arg.pagefault.address = at + b * 8;
		msg.arg.pagefault.flags = b % 8;
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		msg.arg.remove.start = at + (b & 128);
		msg.arg.remove.end = at + b % 128 * (PAGE / 2);
		break;
	}
	push(&msg);
}

/* ---- the server ---- */

static struct lazy_server *start(void)
{
	struct lazy_source source = {
		.size = sizeof(source), .length = SIZE, .map = content,
	};
	struct lazy_region regions[2] = {
		{ .address = (uintptr_t)memory, .len = SIZE / 2,
		  .granule = PAGE, .fd = -1 },
		{ .address = (uintptr_t)memory + SIZE / 2, .len = SIZE / 2,
		  .offset = SIZE / 2, .granule = PAGE, .fd = -1 },
	};
	struct lazy_server_config config = {
		.size = sizeof(config),
		.uffd = uffd,
		.regions = regions,
		.region_size = sizeof(regions[0]),
		.nr_regions = 2,
		.source = &source,
		.range = 4 * PAGE,
	};
	struct lazy_error error;
	struct lazy_server *s = lazy_server_new(&config, &error);

	if (!s)
		fprintf(stderr, "%s\n", error.text);
	ASSERT(s);
	return s;
}

static void set_up(void)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	for (size_t i = 0; i < SIZE && !content[SIZE - 1]; i++)
		content[i] = 1 + i % 251;
	memset(discarded, 0, sizeof(discarded));
	queued = 0;
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT(memory != MAP_FAILED);
	/* Its memory is never discarded in fact: no message is real. */
	uffd = open_uffd(UFFD_FEATURE_EVENT_REMOVE);
	reg.range.start = (uintptr_t)memory;
	reg.range.len = SIZE;
	ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &reg));
}

/* Returns false once the server has failed. */
static bool step(struct lazy_server *s, unsigned int steps)
{
	struct lazy_error error = {};

	while (steps--)
		if (lazy_server_step(s, NULL, &error)) {
			ASSERT(error.code && *error.text);
			return false;
		}
	return true;
}

/* Pages that are present have their content, or zeroes if discarded. */
static void check_memory(void)
{
	static const char zeroes[PAGE];
	unsigned char present[PAGES];

	ASSERT(!mincore(memory, SIZE, present));
	for (size_t i = 0; i < PAGES; i++) {
		const char *at = memory + i * PAGE;

		if (!(present[i] & 1))
			continue;
		if (memcmp(at, content + i * PAGE, PAGE))
			ASSERT(discarded[i] && !memcmp(at, zeroes, PAGE));
	}
}

static void check_stats(struct lazy_server *s)
{
	struct lazy_stats stats = { .size = sizeof(stats) };

	lazy_server_stats(s, &stats);
	ASSERT(stats.pages == PAGES);
	ASSERT(stats.demand + stats.background + stats.found + stats.removed <=
	       PAGES);
	if (lazy_server_state(s, NULL) == LAZY_FILLED)
		ASSERT(stats.demand + stats.background + stats.found +
		       stats.removed == PAGES);
}

FUZZ(data, size)
{
	struct lazy_server *s;
	struct uffd_msg msg;
	bool good = true;
	int own;

	set_up();
	s = start();
	while (good && size >= 4) {
		if (data[0] % 8 == 7 && size >= 4 + sizeof(msg)) {
			memcpy(&msg, data + 4, sizeof(msg));
			push(&msg);
			data += sizeof(msg);
			size -= sizeof(msg);
		} else {
			push_record(data[0] % 8, data[1], data[2]);
		}
		good = step(s, data[3] % 8);
		data += 4;
		size -= 4;
	}
	if (good)
		step(s, 40);
	check_memory();
	check_stats(s);
	lazy_server_free(s);
	/* Descriptors of FORK messages that were not read. */
	for (size_t i = 0; i < queued; i++)
		if (queue[i].event == UFFD_EVENT_FORK)
			close(queue[i].arg.fork.ufd);
	own = uffd;
	uffd = -1;
	close(own);
	munmap(memory, SIZE);
}
