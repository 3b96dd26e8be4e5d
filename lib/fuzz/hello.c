// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The hello of a hypervisor in the library's own protocol, with descriptors of
 * any number and type, and then the checks of a server that is given what was
 * accepted.
 *
 * Input: a set of descriptors, the bytes of the hello.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/uapi.h"
#include "fuzz.h"
#include "handover/handover.h"
#include "test/sendfds.h"

#define FDS	8

static int uffd = -1, fds[FDS];

static void open_descriptors(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
	ASSERT(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api));
	for (int i = 0; i < FDS; i++) {
		fds[i] = i % 4 == 0 ? uffd :
			 i % 4 == 1 ? open("/dev/null", O_RDWR | O_CLOEXEC) :
				      memfd_create("memory", MFD_CLOEXEC);
		ASSERT(fds[i] >= 0);
		if (i % 4 > 1)
			ASSERT(!ftruncate(fds[i], 1 << 20));
	}
}

static void send_hello(int sock, const uint8_t *bytes, size_t len,
		       unsigned int set)
{
	int sent[FDS], nr = 0;

	for (int i = 0; i < FDS; i++)
		if (set >> i & 1)
			sent[nr++] = fds[i];
	ASSERT(send_fds(sock, bytes, len, sent, nr));
}

static void take_over(const struct lazy__hello *hello, int own, int nr)
{
	static const char content[1 << 20];
	const struct lazy_source source = {
		.size = sizeof(source),
		.length = sizeof(content),
		.map = content,
	};
	const struct lazy_server_config config = {
		.size = sizeof(config),
		.uffd = own,
		.regions = hello->regions,
		.region_size = sizeof(hello->regions[0]),
		.nr_regions = nr,
		.source = &source,
	};
	struct lazy_error error;

	/* Nothing is registered with this userfaultfd. */
	ASSERT(!lazy_server_new(&config, &error));
	ASSERT(error.code && *error.text);
}

FUZZ(data, size)
{
	struct lazy__hello hello;
	struct lazy_error error = {};
	int pair[2], own, nr, before;

	if (!size)
		return;
	if (uffd < 0)
		open_descriptors();
	before = next_descriptor(uffd);
	ASSERT(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	send_hello(pair[0], data + 1, size - 1, data[0]);
	nr = lazy__receive_hello(pair[1], &hello, &own, 0, &error);
	if (nr > 0) {
		ASSERT(lazy_is_userfaultfd(own));
		take_over(&hello, own, nr);
		lazy__close_regions(&hello);
		close(own);
	} else {
		ASSERT(nr < 0 && error.code && *error.text);
	}
	close(pair[0]);
	close(pair[1]);
	ASSERT(next_descriptor(uffd) == before);
}
