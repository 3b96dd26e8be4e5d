// SPDX-License-Identifier: GPL-2.0
/*
 * The handler: takes over the memory of one client, and lets the library fill
 * each page from the file when it is touched.
 *
 * Nothing here depends on the memory type, except the way to fill it: with COPY,
 * or for MINOR through a second mapping of its file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <lazyrestore/server.h>

#include "serve.h"

/* Stale content of pages that are present before they are served. */
#define STALE	0xee

#define why(fmt, ...)	(snprintf(why, why_len, fmt, ##__VA_ARGS__), -1)

static bool is_minor(const struct served *s)
{
	return s->mode->armed & UFFDIO_REGISTER_MODE_MINOR;
}

/* The file's bytes, zeroes after the file's end. */
static int read_file(void *arg, uint64_t offset, void *buf, size_t len,
		     struct lazy_error *err)
{
	const struct served *s = arg;
	size_t done = 0;
	ssize_t n;

	do {
		n = pread(s->file, (char *)buf + done, len - done,
			  offset + done);
		if (n < 0)
			return lazy_error_set(err, LAZY_E_SOURCE, "pread: %m");
		done += n;
	} while (n && done < len);
	memset((char *)buf + done, 0, len - done);
	return 0;
}

/* Waits for a message of the client; meanwhile serves faults. */
static int receive(int sock, struct lazy_server *server, struct msghdr *msg,
		   char *why, size_t why_len)
{
	struct pollfd fds[] = {
		{ .fd = sock, .events = POLLIN },
		{ .fd = server ? lazy_server_fd(server) : -1, .events = POLLIN },
	};
	struct lazy_stats stats = { .size = sizeof(stats) };
	uint64_t faults = 0;
	time_t progress = time(NULL);
	int timeout = -1;

	for (;;) {
		if (server && lazy_server_step(server, &timeout, NULL)) {
			struct lazy_error err;

			lazy_server_state(server, &err);
			return why("%s", err.text);
		}
		if (poll(fds, 2, timeout < 0 ? 1000 : timeout) < 0)
			return why("poll: %m");
		if (fds[0].revents) {
			ssize_t n = recvmsg(sock, msg, MSG_CMSG_CLOEXEC);

			if (n == (ssize_t)msg->msg_iov->iov_len)
				return 0;
			return why("the client died");
		}
		if (server)
			lazy_server_stats(server, &stats);
		if (stats.faults + stats.writes != faults) {
			faults = stats.faults + stats.writes;
			progress = time(NULL);
		}
		if (time(NULL) - progress > DEADLINE_MS / 1000)
			return why("no progress for %d s", DEADLINE_MS / 1000);
	}
}

static int recv_hello(int sock, struct served *s, char *why, size_t why_len)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct hello hello;
	struct iovec iov = { &hello, sizeof(hello) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fds[2] = { -1, -1 };

	if (receive(sock, NULL, &msg, why, why_len))
		return -1;
	if (hello.failure.step[0])
		return why("%s: %s", hello.failure.step,
			   strerror(hello.failure.error));
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return why("received no userfaultfd");
	memcpy(fds, CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
	s->uffd = fds[0];
	s->memory_fd = fds[1];
	s->start = hello.start;
	s->len = hello.len;
	s->ioctls = hello.ioctls;
	return 0;
}

/* For MINOR, the pages exist in the file with stale content. */
static int make_stale(const struct served *s)
{
	char *alias = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED,
			   s->memory_fd, 0);

	if (alias == MAP_FAILED)
		return -1;
	memset(alias, STALE, s->len);
	return munmap(alias, s->len);
}

static struct lazy_server *take_over(struct served *s, struct lazy_error *err)
{
	const struct lazy_source source = {
		.size = sizeof(source),
		.arg = s,
		.length = s->len,
		.read = read_file,
	};
	const struct lazy_region region = {
		.address = s->start,
		.len = s->len,
		.granule = s->memory->granule,
		.fd = s->memory_fd,
		.populate = is_minor(s) ? LAZY_ALIAS : LAZY_COPY,
		.flags = s->mode->armed & UFFDIO_REGISTER_MODE_WP ?
			 LAZY_REGION_PROTECT : 0,
	};
	const struct lazy_server_config config = {
		.size = sizeof(config),
		.uffd = s->uffd,
		.flags = LAZY_NO_BACKGROUND,
		.regions = &region,
		.region_size = sizeof(region),
		.nr_regions = 1,
		.source = &source,
		/* One fault for each page. */
		.around = LAZY_AROUND_NONE,
	};

	return lazy_server_new(&config, err);
}

static void count(struct served *s, struct lazy_server *server)
{
	struct lazy_stats stats = { .size = sizeof(stats) };

	lazy_server_stats(server, &stats);
	*(is_minor(s) ? &s->minor : &s->missing) = stats.faults;
	s->wp = stats.writes;
}

static int serve(int sock, struct served *s, struct lazy_server *server,
		 struct result *result, char *why, size_t why_len)
{
	struct iovec iov = { result, sizeof(*result) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (send(sock, "g", 1, MSG_NOSIGNAL) != 1)
		return why("the client died");
	if (receive(sock, server, &msg, why, why_len))
		return -1;
	count(s, server);
	if (result->failure.step[0])
		return why("%s: %s", result->failure.step,
			   strerror(result->failure.error));
	return 0;
}

int serve_client(int sock, struct served *s, struct result *result,
		 char *why, size_t why_len)
{
	struct lazy_server *server;
	struct lazy_error err;
	int ret = -1;

	s->uffd = -1;
	s->memory_fd = -1;
	if (recv_hello(sock, s, why, why_len)) {
		ret = -1;
	} else if (is_minor(s) && make_stale(s)) {
		ret = why("cannot write stale pages: %m");
	} else {
		server = take_over(s, &err);
		ret = server ? serve(sock, s, server, result, why, why_len) :
			       why("%s", err.text);
		lazy_server_free(server);
	}
	if (s->memory_fd >= 0)
		close(s->memory_fd);
	if (s->uffd >= 0)
		close(s->uffd);
	return ret;
}
