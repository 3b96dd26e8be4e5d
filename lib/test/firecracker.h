/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Plays Firecracker: maps guest memory, registers it and hands it over, byte
 * for byte as its vmm crate does when a snapshot is loaded with a backend of
 * type Uffd (persist.rs: guest_memory_from_uffd(), send_uffd_handshake()).
 */
#ifndef LAZY_TEST_FIRECRACKER_H
#define LAZY_TEST_FIRECRACKER_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "sendfds.h"

#define FC_PAGE		4096UL
#define FC_HUGE		(2UL << 20)
#define FC_MAX_REGIONS	64

struct fc_region {
	char *memory;
	size_t size;
	uint64_t offset;
};

struct fc {
	struct fc_region regions[FC_MAX_REGIONS];
	size_t nr;
	size_t size;			/* of all regions */
	size_t page_size;
	int uffd;
	char message[FC_MAX_REGIONS * 160];
};

/*
 * The offset follows from the sizes of the regions before. Huge pages are
 * reserved, other than by Firecracker: returns false if there are none.
 */
static inline bool fc_map(struct fc *fc, size_t size)
{
	struct fc_region *r = &fc->regions[fc->nr];

	r->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS |
			 (fc->page_size == FC_HUGE ? MAP_HUGETLB :
						     MAP_NORESERVE), -1, 0);
	if (r->memory == MAP_FAILED)
		return false;
	r->size = size;
	r->offset = fc->size;
	fc->size += size;
	fc->nr++;
	return true;
}

/* UffdBuilder: require EVENT_REMOVE, close_on_exec, non_blocking. */
static inline int fc_userfaultfd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	/* Without a privilege only faults of user mode are served. */
	if (uffd < 0 && errno == EPERM)
		uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK |
			       UFFD_USER_MODE_ONLY);
	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		return -1;
	}
	return uffd;
}

static inline bool fc_register(struct fc *fc)
{
	fc->uffd = fc_userfaultfd();
	for (size_t i = 0; i < fc->nr && fc->uffd >= 0; i++) {
		struct uffdio_register reg = {
			.range = {
				(uintptr_t)fc->regions[i].memory,
				fc->regions[i].size,
			},
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(fc->uffd, UFFDIO_REGISTER, &reg))
			return false;
	}
	return fc->uffd >= 0;
}

/* serde_json::to_string() of GuestRegionUffdMapping[]. */
static inline const char *fc_message(struct fc *fc)
{
	char *at = fc->message;

	*at++ = '[';
	for (size_t i = 0; i < fc->nr; i++)
		at += sprintf(at, "%s{\"base_host_virt_addr\":%lu,\"size\":%zu,"
			      "\"offset\":%lu,\"page_size\":%zu,"
			      "\"page_size_kib\":%zu}", i ? "," : "",
			      (unsigned long)fc->regions[i].memory,
			      fc->regions[i].size,
			      (unsigned long)fc->regions[i].offset,
			      fc->page_size, fc->page_size);
	strcpy(at, "]");
	return fc->message;
}

static inline int fc_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	if (sock >= 0 && connect(sock, (struct sockaddr *)&address,
				 sizeof(address))) {
		close(sock);
		return -1;
	}
	return sock;
}

/* UnixStream::send_with_fds(): one sendmsg(). */
static inline bool fc_send(int sock, const void *bytes, size_t len, int fd)
{
	return send_fds(sock, bytes, len, &fd, fd >= 0);
}

/*
 * All of it. Firecracker closes the connection at once, and keeps the
 * userfaultfd as long as it lives.
 */
static inline bool fc_hand_over(struct fc *fc, const char *path)
{
	const char *message = fc_message(fc);
	int sock = fc_connect(path);
	bool sent = sock >= 0 && fc_send(sock, message, strlen(message),
					 fc->uffd);

	if (sock >= 0)
		close(sock);
	return sent;
}

#endif /* LAZY_TEST_FIRECRACKER_H */
