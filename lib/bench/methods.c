// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The ways to restore memory: with the library, and three without it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lazyrestore/lazyrestore.h>

#include "bench.h"

static void fresh_memory(struct memory *m)
{
	/* At the start of a huge page, as hypervisors do. */
	m->at = mmap(NULL, m->len + HUGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->at == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	m->at += -(uintptr_t)m->at & (HUGE - 1);
}

static void register_memory(struct memory *m)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)m->at, m->len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	m->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (m->uffd < 0 || ioctl(m->uffd, UFFDIO_API, &api) ||
	    ioctl(m->uffd, UFFDIO_REGISTER, &reg))
		die("userfaultfd: %s", strerror(errno));
}

/* ---- by hand ---- */

static void *handle(void *arg)
{
	struct memory *m = arg;
	struct uffd_msg msg;

	while (read(m->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		uint64_t address = msg.arg.pagefault.address & -PAGE;
		struct uffdio_copy copy = {
			.dst = address,
			.src = (uintptr_t)m->map + address - (uintptr_t)m->at,
			.len = PAGE,
		};

		if (ioctl(m->uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
			die("UFFDIO_COPY: %s", strerror(errno));
	}
	die("read: %s", strerror(errno));
}

static void start_by_hand(struct memory *m)
{
	pthread_t thread;

	m->map = mmap(NULL, m->len, PROT_READ, MAP_PRIVATE, m->fd, 0);
	if (m->map == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	if (pthread_create(&thread, NULL, handle, m))
		die("cannot start a thread");
}

/* ---- with the library ---- */

static void new_server(struct memory *m)
{
	struct lazy_source source = { .size = sizeof(source) };
	struct lazy_region region = {
		.address = (uintptr_t)m->at,
		.len = m->len,
		.granule = PAGE,
		.fd = -1,
		.flags = LAZY_REGION_ZEROPAGE,
	};
	struct lazy_server_config config = {
		.size = sizeof(config),
		.uffd = m->uffd,
		.flags = m->setup->background ? 0 : LAZY_NO_BACKGROUND,
		.regions = &region,
		.region_size = sizeof(region),
		.nr_regions = 1,
		.source = &source,
		.around = m->setup->around,
	};
	struct lazy_error err;

	m->file = lazy_memfile_open(m->name, NULL, &err);
	if (!m->file)
		die("%s", err.text);
	lazy_memfile_source(m->file, &source);
	m->server = lazy_server_new(&config, &err);
	if (!m->server)
		die("%s", err.text);
}

static void start_server(struct memory *m)
{
	struct lazy_error err;

	if (lazy_server_start(m->server, m->setup->threads, &err))
		die("%s", err.text);
}

static void wait_until_filled(struct memory *m)
{
	struct pollfd fd = { lazy_server_fd(m->server), POLLIN, 0 };
	enum lazy_state state;
	struct lazy_error err;

	while ((state = lazy_server_state(m->server, &err)) == LAZY_SERVING)
		poll(&fd, 1, -1);
	if (state == LAZY_FAILED)
		die("%s", err.text);
}

/* ---- for all ---- */

static void read_all(struct memory *m)
{
	for (size_t done = 0; done < m->len; ) {
		size_t chunk = 1 << 20;
		ssize_t n = pread(m->fd, m->at + done,
				  m->len - done < chunk ? m->len - done : chunk,
				  done);

		if (n <= 0)
			die("read: %s", strerror(errno));
		done += n;
	}
}

/* Not measured. */
void prepare(struct memory *m)
{
	if (m->setup->method == MAP)
		return;
	fresh_memory(m);
	if (m->setup->method == READ) {
		/* As for the others: pages, not huge pages. */
		madvise(m->at, m->len, MADV_NOHUGEPAGE);
		return;
	}
	if (m->setup->huge)
		madvise(m->at, m->len, MADV_HUGEPAGE);
	register_memory(m);
	if (m->setup->method == LIBRARY)
		new_server(m);
}

/* Up to the first access; without accesses, until all memory is filled. */
void restore(struct memory *m)
{
	switch (m->setup->method) {
	case MAP:
		m->at = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			     m->fd, 0);
		if (m->at == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		break;
	case READ:
		read_all(m);
		break;
	case HAND:
		start_by_hand(m);
		break;
	case LIBRARY:
		start_server(m);
		if (m->setup->pattern == NOTHING)
			wait_until_filled(m);
	}
}
