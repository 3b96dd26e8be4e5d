// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of the protocol between a hypervisor (the test) and a handler (a child
 * of it): what is refused, what happens when one end dies or hangs, and the
 * last messages in each order.
 */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "handover/handover.h"
#include "memory.h"

/* Results of the handler, in memory shared with it. */
struct served {
	struct lazy_handover_stats stats;
	struct lazy_error err;
};

struct peer {
	struct memory m;
	struct lazy_server_config server;
	struct lazy_handover_options options;
	int sock;
	pid_t pid;
	struct served *served;
	struct lazy_handover_stats stats;
	struct lazy_error err;
};

static void make_peer(struct peer *p, const struct kind *kind,
		      uint64_t features)
{
	*p = (struct peer) { .sock = -1 };
	make_memory(&p->m, kind, features);
	p->options = (struct lazy_handover_options) {
		.size = sizeof(p->options), .server = &p->server,
	};
	p->server.around = LAZY_AROUND_NONE;
	p->served = mmap(NULL, sizeof(*p->served), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(p->served != MAP_FAILED);
}

/* @prepare: called in the handler with its socket; or NULL. */
static void start_peer(struct peer *p, void (*prepare)(int sock))
{
	int sock[2], ret;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock));
	p->sock = sock[0];
	p->pid = fork();
	if (p->pid) {
		close(sock[1]);
		return;
	}
	close(sock[0]);
	close(p->m.uffd);
	if (prepare)
		prepare(sock[1]);
	ret = lazy_handover_serve(sock[1], &p->m.source, &p->options,
				  &p->served->stats, &p->served->err);
	_exit(!!ret);
}

static int try_send(struct peer *p)
{
	return lazy_handover_send(p->sock, p->m.uffd, &p->m.region,
				  sizeof(p->m.region), 1, LIMIT_MS, &p->err);
}

static void hand_over(struct peer *p)
{
	start_peer(p, NULL);
	CHECK(!try_send(p), "%s: %s", p->m.kind->name, p->err.text);
}

/* The next message that is no PROGRESS. */
static enum lazy_event next(struct peer *p)
{
	uint64_t deadline = now_ms() + LIMIT_MS;
	enum lazy_event event;

	do {
		lazy__wait(p->sock, POLLIN, LIMIT_MS);
		event = lazy_handover_receive(p->sock, &p->stats, &p->err);
	} while ((event == LAZY_EVENT_PROGRESS || event == LAZY_EVENT_NONE) &&
		 now_ms() < deadline);
	return event;
}

/* The handler must end by itself, without a signal. */
static void ends(struct peer *p, int status)
{
	uint64_t deadline = now_ms() + LIMIT_MS;
	int is = -1;

	while (waitpid(p->pid, &is, WNOHANG) != p->pid) {
		CHECK(now_ms() < deadline, "the handler does not end");
		usleep(1000);
	}
	CHECK(is == status << 8, "status %#x: %s", is, p->served->err.text);
}

static void finish(struct peer *p)
{
	CHECK(!lazy_handover_finish(p->sock, LIMIT_MS, &p->stats, &p->err),
	      "%s", p->err.text);
	ends(p, 0);
}

static void free_peer(struct peer *p)
{
	close(p->sock);
	close(p->m.uffd);
	munmap(p->m.at, p->m.len);
	munmap(p->m.content, p->m.len);
	munmap(p->served, sizeof(*p->served));
	if (p->m.fd >= 0)
		close(p->m.fd);
}

TEST(memory_is_filled)
{
	struct peer p;

	for (size_t i = 0; i < NR_KINDS; i++) {
		if (kinds[i].granule == HUGE && free_huge_pages() < 4)
			SKIP("needs 4 free huge pages");
		for (int threads = 0; threads < 3; threads++) {
			make_peer(&p, &kinds[i], 0);
			p.options.threads = threads;
			hand_over(&p);
			check_content(&p.m);
			CHECK_EQ(LAZY_EVENT_DONE, next(&p));
			finish(&p);
			CHECK_EQ(p.stats.now.pages, p.stats.now.demand +
				 p.stats.now.background + p.stats.now.found);
			CHECK_EQ(p.m.kind->pages, p.stats.now.pages);
			free_peer(&p);
		}
	}
}

/* ---- what is refused ---- */

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
	for (size_t i = 0; i < NR_KINDS; i++) {
		if (kinds[i].populate == LAZY_COPY ||
		    (kinds[i].granule == HUGE && free_huge_pages() < 4))
			continue;
		make_peer(&p, &kinds[i], 0);
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

/* ---- failures, and ends that hang or die ---- */

TEST(a_page_that_cannot_be_read)
{
	struct lazy_error err;
	struct access a;
	struct peer p;

	for (int keep_waiting = 0; keep_waiting < 2; keep_waiting++) {
		make_peer(&p, &kinds[0], 0);
		p.server.flags = LAZY_NO_BACKGROUND;
		p.options.keep_waiting = keep_waiting;
		p.options.threads = keep_waiting;
		p.m.fail_at = 1;
		hand_over(&p);
		CHECK(is_same(&p.m, 0));
		start_access(&a, p.m.at + PAGE);
		CHECK_EQ(LAZY_EVENT_FAILED, next(&p));
		CHECK(!strcmp(p.err.text, "the handler: damaged"), "%s",
		      p.err.text);
		CHECK_EQ(LAZY_E_SOURCE, p.err.code);
		CHECK_EQ(EIO, p.err.os_errno);
		ends(&p, 1);
		if (keep_waiting) {
			CHECK(!is_done(&a, SETTLE_MS));
			CHECK(!lazy_poison(p.m.uffd, (uintptr_t)p.m.at, p.m.len,
					   PAGE, &err), "%s", err.text);
		}
		CHECK(is_done(&a, LIMIT_MS) && a.sigbus);
		CHECK(is_same(&p.m, 0));
		free_peer(&p);
	}
}

/* An access inside the kernel cannot be interrupted, but released. */
TEST(a_handler_that_is_killed)
{
	struct lazy_error err;
	struct access a;
	struct peer p;

	for (size_t i = 0; i < NR_KINDS; i++) {
		if (kinds[i].granule == HUGE && free_huge_pages() < 4)
			continue;
		make_peer(&p, &kinds[i], 0);
		p.server.flags = LAZY_NO_BACKGROUND;
		hand_over(&p);
		CHECK(is_same(&p.m, 0));
		kill(p.pid, SIGSTOP);
		start_access(&a, p.m.at + p.m.kind->granule);
		kill(p.pid, SIGKILL);
		CHECK_EQ(LAZY_EVENT_END, next(&p));
		CHECK_EQ(LAZY_E_GONE, p.err.code);
		CHECK(!is_done(&a, SETTLE_MS));
		CHECK(!lazy_poison(p.m.uffd, (uintptr_t)p.m.at, p.m.len,
				   p.m.kind->granule, &err), "%s", err.text);
		CHECK(is_done(&a, LIMIT_MS) && a.sigbus, "%s", p.m.kind->name);
		CHECK(is_same(&p.m, 0));
		CHECK_EQ(p.pid, waitpid(p.pid, NULL, 0));
		free_peer(&p);
	}
}

/* A handler without work gives a sign of life; no message is no failure. */
TEST(silence_is_noticed)
{
	uint64_t start;
	struct peer p;

	for (int threads = 0; threads < 2; threads++) {
		make_peer(&p, &kinds[0], 0);
		p.server.flags = LAZY_NO_BACKGROUND;
		p.options.threads = threads;
		hand_over(&p);
		CHECK_EQ(LAZY_EVENT_NONE,
			 lazy_handover_receive(p.sock, &p.stats, &p.err));
		for (int i = 0; i < 3; i++) {
			start = now_ms();
			CHECK(lazy__wait(p.sock, POLLIN, LIMIT_MS));
			CHECK(is_slow() ||
			      now_ms() - start <= LAZY_HANDOVER_BEAT_MS);
			CHECK_EQ(LAZY_EVENT_PROGRESS,
				 lazy_handover_receive(p.sock, &p.stats,
						       &p.err));
		}
		kill(p.pid, SIGSTOP);
		while (lazy_handover_receive(p.sock, &p.stats, &p.err) ==
		       LAZY_EVENT_PROGRESS)
			;
		CHECK(!lazy__wait(p.sock, POLLIN, 2 * LAZY_HANDOVER_BEAT_MS));
		kill(p.pid, SIGCONT);
		finish(&p);
		free_peer(&p);
	}
}

TEST(a_handler_that_does_not_answer)
{
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	start_peer(&p, NULL);
	kill(p.pid, SIGSTOP);
	CHECK_EQ(-1, lazy_handover_send(p.sock, p.m.uffd, &p.m.region,
					sizeof(p.m.region), 1, SETTLE_MS,
					&p.err));
	CHECK_EQ(LAZY_E_TIMEOUT, p.err.code);
	kill(p.pid, SIGCONT);
	CHECK_EQ(LAZY_EVENT_END, next(&p));	/* READY comes too late */
	finish(&p);

	hand_over(&p);
	CHECK_EQ(LAZY_EVENT_DONE, next(&p));
	kill(p.pid, SIGSTOP);
	CHECK_EQ(-1, lazy_handover_finish(p.sock, SETTLE_MS, &p.stats, &p.err));
	CHECK_EQ(LAZY_E_TIMEOUT, p.err.code);
}

static void shrink_buffer(int sock)
{
	CHECK(!setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &(int) { 0 },
			  sizeof(int)));
}

/* The socket is full, DONE has to wait, and faults are served. */
TEST(a_hypervisor_that_does_not_read)
{
	struct peer p;

	for (int threads = 0; threads < 2; threads++) {
		make_peer(&p, &kinds[0], 0);
		p.server.flags = LAZY_NO_BACKGROUND;
		p.options.threads = threads;
		start_peer(&p, shrink_buffer);
		CHECK(!try_send(&p), "%s", p.err.text);
		for (size_t i = 0; i < p.m.kind->pages; i++) {
			CHECK(is_same(&p.m, i));
			if (i % 16 == 0)
				usleep(25000);
		}
		usleep(SETTLE_MS * 1000);
		CHECK_EQ(LAZY_EVENT_DONE, next(&p));
		finish(&p);
		CHECK_EQ(p.m.kind->pages, p.stats.now.demand);
		free_peer(&p);
	}
}

/* ---- events after all memory is filled ---- */

TEST(discards_after_done)
{
	struct access a;
	struct peer p;

	make_peer(&p, &kinds[0], UFFD_FEATURE_EVENT_REMOVE);
	hand_over(&p);
	CHECK_EQ(LAZY_EVENT_DONE, next(&p));
	usleep(SETTLE_MS * 1000);
	start_advice(&a, p.m.at + PAGE, PAGE, MADV_DONTNEED);
	CHECK(is_done(&a, LIMIT_MS) && !a.ret);
	start_access(&a, p.m.at + PAGE);
	CHECK(is_done(&a, LIMIT_MS));
	CHECK_EQ(0, a.saw);
	finish(&p);
	CHECK_EQ(1, p.stats.now.discarded);
}

/* ---- the last messages ---- */

TEST(alive_before_done)
{
	struct peer p;

	for (int threads = 0; threads < 2; threads++) {
		make_peer(&p, &kinds[0], 0);
		p.options.threads = threads;
		p.options.background_when_alive = 1;
		hand_over(&p);
		CHECK(is_same(&p.m, 0));
		/* A fault is counted after its waiters are woken. */
		usleep(SETTLE_MS * 1000);
		lazy_handover_alive(p.sock);
		lazy_handover_alive(p.sock);
		CHECK_EQ(LAZY_EVENT_DONE, next(&p));
		finish(&p);
		CHECK(p.stats.alive.nanoseconds);
		CHECK_EQ(1, p.stats.alive.faults);
		CHECK_EQ(1, p.stats.alive.demand);
		CHECK_EQ(0, p.stats.alive.background);
		free_peer(&p);
	}
}

TEST(alive_after_done_or_never)
{
	struct peer p;

	for (int alive = 0; alive < 2; alive++) {
		make_peer(&p, &kinds[0], 0);
		hand_over(&p);
		CHECK_EQ(LAZY_EVENT_DONE, next(&p));
		usleep(SETTLE_MS * 1000);
		if (alive)
			lazy_handover_alive(p.sock);
		finish(&p);
		CHECK_EQ(alive, !!p.stats.alive.nanoseconds);
		CHECK_EQ(alive ? p.m.kind->pages : 0, p.stats.alive.background);
		CHECK_EQ(p.m.kind->pages, p.stats.now.background);
		free_peer(&p);
	}
}

TEST(finish_before_done)
{
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	p.server.flags = LAZY_NO_BACKGROUND;
	hand_over(&p);
	CHECK(is_same(&p.m, 0));
	lazy_handover_alive(p.sock);
	finish(&p);
	CHECK_EQ(1, p.stats.now.demand);
	CHECK_EQ(1, p.stats.alive.demand);
}

/* Reads all messages before DONE and leaves DONE unread. */
static void wait_for_done(struct peer *p)
{
	struct lazy__message message = {};

	while (message.type != LAZY__FINISHED) {
		CHECK(lazy__wait(p->sock, POLLIN, LIMIT_MS));
		CHECK_EQ(sizeof(message), recv(p->sock, &message,
					       sizeof(message), MSG_PEEK));
		if (message.type != LAZY__FINISHED)
			recv(p->sock, &message, sizeof(message), 0);
	}
}

TEST(done_is_read_though_the_handler_was_killed)
{
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	hand_over(&p);
	wait_for_done(&p);
	kill(p.pid, SIGSTOP);
	lazy_handover_alive(p.sock);
	kill(p.pid, SIGKILL);
	CHECK_EQ(p.pid, waitpid(p.pid, NULL, 0));
	CHECK_EQ(LAZY_EVENT_DONE, next(&p));
	CHECK_EQ(-1, lazy_handover_finish(p.sock, LIMIT_MS, &p.stats, &p.err));
	CHECK_EQ(LAZY_E_GONE, p.err.code);
}

TEST(alive_is_read_after_the_hypervisor_closed)
{
	struct peer p;

	make_peer(&p, &kinds[0], 0);
	hand_over(&p);
	wait_for_done(&p);
	kill(p.pid, SIGSTOP);
	lazy_handover_alive(p.sock);
	close(p.sock);
	kill(p.pid, SIGCONT);
	ends(&p, 0);
	CHECK(p.served->stats.alive.nanoseconds);
	CHECK_EQ(p.m.kind->pages, p.served->stats.alive.background);
}
