/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * For tests of the protocol: the hypervisor is the test, the handler a child of
 * it. A test program includes this once.
 */
#ifndef LAZY_TEST_PEER_H
#define LAZY_TEST_PEER_H

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

static inline void make_peer(struct peer *p, const struct kind *kind,
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
static inline void start_peer(struct peer *p, void (*prepare)(int sock))
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

static inline int try_send(struct peer *p)
{
	return lazy_handover_send(p->sock, p->m.uffd, &p->m.region,
				  sizeof(p->m.region), 1, LIMIT_MS, &p->err);
}

static inline void hand_over(struct peer *p)
{
	start_peer(p, NULL);
	CHECK(!try_send(p), "%s: %s", p->m.kind->name, p->err.text);
}

/* The next message that is no PROGRESS. */
static inline enum lazy_event next(struct peer *p)
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
static inline void ends(struct peer *p, int status)
{
	uint64_t deadline = now_ms() + LIMIT_MS;
	int is = -1;

	while (waitpid(p->pid, &is, WNOHANG) != p->pid) {
		CHECK(now_ms() < deadline, "the handler does not end");
		usleep(1000);
	}
	CHECK(is == status << 8, "status %#x: %s", is, p->served->err.text);
}

static inline void finish(struct peer *p)
{
	CHECK(!lazy_handover_finish(p->sock, LIMIT_MS, &p->stats, &p->err),
	      "%s", p->err.text);
	ends(p, 0);
}

static inline void free_peer(struct peer *p)
{
	close(p->sock);
	close(p->m.uffd);
	munmap(p->m.at, p->m.len);
	munmap(p->m.content, p->m.len);
	munmap(p->served, sizeof(*p->served));
	if (p->m.fd >= 0)
		close(p->m.fd);
}

#endif /* LAZY_TEST_PEER_H */
