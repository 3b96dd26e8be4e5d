// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of the protocol between a hypervisor and a handler: what happens when
 * one end dies or hangs, and the last messages in each order.
 */
#define _GNU_SOURCE
#include "peer.h"

TEST(memory_is_filled)
{
	struct peer p;

	FOR_EACH_KIND(kind) {
		for (int threads = 0; threads < 3; threads++) {
			make_peer(&p, kind, 0);
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

TEST(a_handler_that_is_killed)
{
	struct lazy_error err;
	struct access a;
	struct peer p;

	FOR_EACH_KIND(kind) {
		make_peer(&p, kind, 0);
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

struct kernel_access {
	char *at;
	int from, ret, error;
	_Atomic bool done;
};

static void *read_to_memory(void *arg)
{
	struct kernel_access *a = arg;

	a->ret = read(a->from, a->at, 1);
	a->error = errno;
	a->done = true;
	return NULL;
}

static void ignored(int sig)
{
	(void)sig;
}

/* A signal does not end a system call that waits for a page; poison does. */
TEST(an_access_inside_the_kernel_is_released)
{
	struct kernel_access a = {};
	struct lazy_error err;
	pthread_t thread;
	struct peer p;
	int fds[2];

	sigaction(SIGUSR1, &(struct sigaction) { .sa_handler = ignored }, NULL);
	make_peer(&p, &kinds[0], 0);
	p.server.flags = LAZY_NO_BACKGROUND;
	hand_over(&p);
	kill(p.pid, SIGKILL);
	CHECK_EQ(LAZY_EVENT_END, next(&p));
	CHECK(!pipe(fds));
	CHECK_EQ(1, write(fds[1], "x", 1));
	a.at = p.m.at + PAGE;
	a.from = fds[0];
	CHECK(!pthread_create(&thread, NULL, read_to_memory, &a));
	usleep(SETTLE_MS * 1000);
	pthread_kill(thread, SIGUSR1);
	usleep(SETTLE_MS * 1000);
	CHECK(!a.done);
	CHECK(!lazy_poison(p.m.uffd, (uintptr_t)p.m.at, p.m.len, PAGE, &err),
	      "%s", err.text);
	for (int i = 0; i < LIMIT_MS && !a.done; i++)
		usleep(1000);
	CHECK(a.done);
	CHECK_EQ(-1, a.ret);
	CHECK(a.error == EFAULT || a.error == EHWPOISON, "%s",
	      strerror(a.error));
	pthread_join(thread, NULL);
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
