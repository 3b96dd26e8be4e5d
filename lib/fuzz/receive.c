// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Firecracker's hand-over on a socket: pieces of any length, with any number of
 * descriptors of any type. All descriptors but an accepted one are closed.
 *
 * Input: records of a length, a set of descriptors and bytes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lazyrestore/server.h>

#include "core/uapi.h"
#include "fuzz.h"
#include "serve/serve.h"
#include "test/sendfds.h"

static int uffd = -1, other = -1;

static void open_descriptors(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
	ASSERT(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api));
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	ASSERT(other >= 0);
}

/* Fails if the socket's buffer is full. */
static bool send_piece(int sock, const uint8_t *bytes, size_t len,
		       unsigned int set)
{
	int fds[4], nr = 0;

	for (int i = 0; i < 4; i++)
		if (set >> i & 1)
			fds[nr++] = i % 2 ? other : uffd;
	return send_fds(sock, bytes, len, fds, nr);
}

FUZZ(data, size)
{
	struct handover handover;
	struct lazy_error error;
	int pair[2], before;

	if (uffd < 0)
		open_descriptors();
	before = next_descriptor(other);
	ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	ASSERT(!fcntl(pair[0], F_SETFL, O_NONBLOCK));
	while (size > 2) {
		size_t len = data[0] + 1;
		unsigned int set = data[1];

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		if (!send_piece(pair[0], data, len, set))
			break;
		data += len;
		size -= len;
	}
	close(pair[0]);
	if (!handover_receive(pair[1], 1000, &handover, &error))
		ASSERT(handover.nr && handover.uffd >= 0 &&
		       lazy_is_userfaultfd(handover.uffd));
	handover_free(&handover);
	close(pair[1]);
	ASSERT(next_descriptor(other) == before);
}
