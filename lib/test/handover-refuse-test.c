// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Tests of what a handler refuses, before and after a hand-over. */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "peer.h"

/* Sends a hello, with any descriptors, to a new handler, which must refuse it. */
static void refuses_hello(struct peer *p, const struct lazy__hello *hello,
			  size_t len, const int *fds, size_t nr,
			  int code, const char *reason)
{
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (void *)hello, len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = nr ? &control : NULL,
		.msg_controllen = nr ? CMSG_SPACE(nr * sizeof(int)) : 0,
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	if (nr) {
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr * sizeof(int));
	}
	CHECK_EQ(len, sendmsg(p->sock, &msg, 0));
	CHECK_EQ(LAZY_EVENT_FAILED, next(p));
	CHECK(strstr(p->err.text, reason), "\"%s\" instead of \"%s\"",
	      p->err.text, reason);
	CHECK_EQ(code, p->err.code);
	ends(p, 1);
	close(p->sock);
}

static struct lazy__hello hello_of(const struct peer *p)
{
	return (struct lazy__hello) {
		.protocol = LAZY__PROTOCOL, .nr = 1, .regions = { p->m.region },
	};
}

TEST(wrong_numbers_of_descriptors)
{
	static const int counts[] = { 2, 17, 18, 19, 40, 253 };
	struct lazy__hello hello;
	struct peer p;
	int fds[253];

	make_peer(&p, &kinds[0], 0);
	hello = hello_of(&p);
	for (size_t i = 0; i < 253; i++)
		fds[i] = p.m.uffd;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		char reason[64];

		start_peer(&p, NULL);
		sprintf(reason, "received %d descriptors, must be 1", counts[i]);
		refuses_hello(&p, &hello, sizeof(hello), fds, counts[i],
			      LAZY_E_PROTOCOL, reason);
	}
	start_peer(&p, NULL);
	refuses_hello(&p, &hello, sizeof(hello), NULL, 0, LAZY_E_PROTOCOL,
		      "received 0 descriptors");
	hand_over(&p);
	check_content(&p.m);
	finish(&p);
}

/* A forged FORK event in a pipe must not be read. */
TEST(a_descriptor_that_is_not_a_userfaultfd)
{
	struct uffd_msg fork_event = {
		.event = UFFD_EVENT_FORK, .arg.fork.ufd = 0,
	};
	struct lazy__hello hello;
	struct peer p;
	int fds[2], others[4];

	make_peer(&p, &kinds[0], 0);
	hello = hello_of(&p);
	CHECK(!pipe(fds));
	CHECK_EQ(sizeof(fork_event), write(fds[1], &fork_event,
					   sizeof(fork_event)));
	others[0] = fds[0];
	others[1] = eventfd(1, 0);
	others[2] = memfd_create("[userfaultfd]", 0);
	others[3] = open("/dev/zero", O_RDWR);
	for (int i = 0; i < 4; i++) {
		start_peer(&p, NULL);
		refuses_hello(&p, &hello, sizeof(hello), &others[i], 1,
			      LAZY_E_ARGUMENT, "not a userfaultfd");
	}
	/* Nothing was read from it. */
	CHECK_EQ(sizeof(fork_event), read(fds[0], &fork_event,
					  sizeof(fork_event)));
}

TEST(malformed_hellos)
{
	struct lazy__hello hello;
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	start_peer(&p, NULL);
	refuses_hello(&p, (void *)"hello", 5, NULL, 0, LAZY_E_PROTOCOL,
		      "protocol versions differ");
	hello = hello_of(&p);
	hello.protocol++;
	start_peer(&p, NULL);
	refuses_hello(&p, &hello, sizeof(hello), &p.m.uffd, 1, LAZY_E_PROTOCOL,
		      "protocol versions differ");
	for (uint64_t nr = 0; nr <= UINT32_MAX; nr = nr * 3 + 17) {
		hello = hello_of(&p);
		hello.nr = nr;
		start_peer(&p, NULL);
		refuses_hello(&p, &hello, sizeof(hello), &p.m.uffd, 1,
			      LAZY_E_PROTOCOL, "regions, must be 1 to 16");
	}
	hello = hello_of(&p);
	hello.regions[0].offset = PAGE;
	start_peer(&p, NULL);
	refuses_hello(&p, &hello, sizeof(hello), &p.m.uffd, 1, LAZY_E_ARGUMENT,
		      "not in the source");
	/* The hypervisor goes before it has sent anything. */
	start_peer(&p, NULL);
	shutdown(p.sock, SHUT_WR);
	CHECK_EQ(LAZY_EVENT_FAILED, next(&p));
	CHECK_EQ(LAZY_E_GONE, p.err.code);
	ends(&p, 1);
}

TEST(memory_files_that_are_none_or_too_short)
{
	struct lazy__hello hello;
	struct peer p;
	int fds[2], ends_of_pipe[2];

	CHECK(!pipe(ends_of_pipe));
	FOR_EACH_KIND(kind) {
		if (kind->populate == LAZY_COPY)
			continue;
		make_peer(&p, kind, 0);
		hello = hello_of(&p);
		fds[0] = p.m.uffd;
		fds[1] = ends_of_pipe[1];
		start_peer(&p, NULL);
		refuses_hello(&p, &hello, sizeof(hello), fds, 2,
			      LAZY_E_ARGUMENT, "not a memory file");
		fds[1] = p.m.fd;
		CHECK(!ftruncate(p.m.fd, p.m.len - p.m.kind->granule));
		start_peer(&p, NULL);
		refuses_hello(&p, &hello, sizeof(hello), fds, 2,
			      LAZY_E_ARGUMENT, "memory file is too short");
		CHECK(!ftruncate(p.m.fd, p.m.len));
		hello.regions[0].fd_offset = 1ULL << 62;
		start_peer(&p, NULL);
		refuses_hello(&p, &hello, sizeof(hello), fds, 2,
			      LAZY_E_ARGUMENT, "memory file is too short");
		free_peer(&p);
	}
}

/* The handler must not be killed by SIGBUS. */
TEST(a_memory_file_that_is_truncated_later)
{
	struct access a;
	struct peer p;

	make_peer(&p, &kinds[3], 0);
	p.server.flags = LAZY_NO_BACKGROUND;
	p.server.deadline_ms = 2 * SETTLE_MS;
	hand_over(&p);
	CHECK(is_same(&p.m, 0));
	/* After it has checked the file, while it has a fault to serve. */
	kill(p.pid, SIGSTOP);
	start_access(&a, p.m.at + PAGE);
	usleep(SETTLE_MS * 1000);
	CHECK(!ftruncate(p.m.fd, 0));
	kill(p.pid, SIGCONT);
	if (next(&p) == LAZY_EVENT_FAILED)
		ends(&p, 1);
	else
		finish(&p);
	CHECK(is_done(&a, LIMIT_MS) && a.sigbus);
}

static void limit_descriptors(int sock)
{
	struct rlimit limit = { 64, 64 };

	(void)sock;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(0) >= 0)
		;
}

TEST(a_descriptor_limit_is_not_a_protocol_error)
{
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	start_peer(&p, limit_descriptors);
	CHECK_EQ(-1, try_send(&p));
	CHECK_EQ(LAZY_E_SYSTEM, p.err.code);
	CHECK(strstr(p.err.text, "limit"), "%s", p.err.text);
	ends(&p, 1);
}

TEST(unexpected_messages)
{
	struct lazy__message message = { .type = LAZY__READY };
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	hand_over(&p);
	CHECK(!lazy__send_message(p.sock, &message));
	while (next(&p) == LAZY_EVENT_DONE)
		;
	CHECK_EQ(LAZY_E_PROTOCOL, p.err.code);
	ends(&p, 1);
}
