// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The handler's end: takes over the memory of one hypervisor, and drives a
 * server until the hypervisor has finished.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handover.h"

#define ANSWER_MS	10000	/* limit of each wait for the hypervisor */
#define PROGRESS_MS	20	/* between two PROGRESS messages */

struct handler {
	int sock;
	struct lazy_server *server;
	const struct lazy_handover_options *options;
	struct lazy_handover_stats *stats;
	struct lazy_error *err;
	bool threads;
	bool alive;		/* ALIVE was received */
	bool reported_done;	/* DONE was sent */
	uint64_t reported;	/* ms, the last message */
	uint64_t reported_sum;	/* pages filled then */
};

static uint64_t count(struct handler *h)
{
	struct lazy_stats *now = &h->stats->now;

	now->size = sizeof(*now);
	if (h->server)
		lazy_server_stats(h->server, now);
	return now->demand + now->background + now->found;
}

static int report(struct handler *h, enum lazy__type type)
{
	struct lazy__message message = { .type = type };

	if (type == LAZY__FAILURE)
		message.err = *h->err;
	h->reported_sum = count(h);
	h->reported = lazy__now_ms();
	message.stats = *h->stats;
	return lazy__send_message(h->sock, &message);
}

/* ---- the loop ---- */

/*
 * Reads a message of the hypervisor. Returns 1 if it has finished or closed the
 * socket.
 */
static int receive(struct handler *h)
{
	struct lazy__message message;
	ssize_t n = lazy__receive_bytes(h->sock, &message, sizeof(message));

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return 1;
	if (n != sizeof(message) || message.type != LAZY__ALIVE)
		return lazy_error_set(h->err, LAZY_E_PROTOCOL,
				      "protocol error: unexpected message from the hypervisor");
	if (h->alive)
		return 0;
	h->alive = true;
	count(h);
	h->stats->alive = h->stats->now;
	if (h->options->background_when_alive)
		lazy_server_background(h->server, 1);
	return 0;
}

static bool is_filled(struct handler *h)
{
	return lazy_server_state(h->server, NULL) == LAZY_FILLED;
}

/* Progress, DONE, and a sign of life. */
static void report_progress(struct handler *h)
{
	uint64_t age = lazy__now_ms() - h->reported;

	if (!h->reported_done && is_filled(h)) {
		h->reported_done = !report(h, LAZY__FINISHED) ||
				   errno != EAGAIN;
		return;
	}
	if (age < PROGRESS_MS)
		return;
	/* Never block on a slow reader: drop the update. */
	if (age >= LAZY_HANDOVER_BEAT_MS / 2 ||
	    (!h->reported_done && h->reported_sum != count(h)))
		report(h, LAZY__PROGRESS);
}

/* How long to wait for the socket and the server, in ms. */
static int limit(const struct handler *h, int timeout)
{
	if (h->threads)
		return PROGRESS_MS;
	if (timeout < 0 || timeout > LAZY_HANDOVER_BEAT_MS / 2)
		return LAZY_HANDOVER_BEAT_MS / 2;
	return timeout;
}

/* Returns 1 if the hypervisor has finished or exited, -1 on a failure. */
static int serve(struct handler *h)
{
	struct pollfd fds[] = {
		{ .fd = h->sock },
		{ .fd = lazy_server_fd(h->server), .events = POLLIN },
	};
	int timeout = 0, ret;

	for (;;) {
		report_progress(h);
		/* DONE may have to wait until the hypervisor reads. */
		fds[0].events = POLLIN | (!h->reported_done && is_filled(h) ?
					  POLLOUT : 0);
		if (poll(fds, 2, limit(h, timeout)) < 0 && errno != EINTR)
			return lazy_error_set(h->err, LAZY_E_SYSTEM,
					      "poll: %m");
		if (fds[0].revents & ~POLLOUT) {
			ret = receive(h);
			if (ret)
				return ret;
		}
		if (!h->threads) {
			if (lazy_server_step(h->server, &timeout, h->err))
				return -1;
		} else if (lazy_server_state(h->server, h->err) ==
			   LAZY_FAILED) {
			return -1;
		}
	}
}

static int take_over(struct handler *h, const struct lazy_source *source,
		     const struct lazy__hello *hello, int uffd)
{
	struct lazy_server_config config = {};

	if (h->options->server)
		config = *h->options->server;
	config.size = sizeof(config);
	config.uffd = uffd;
	config.regions = hello->regions;
	config.region_size = sizeof(hello->regions[0]);
	config.nr_regions = hello->nr;
	config.source = source;
	if (h->options->background_when_alive)
		config.flags |= LAZY_NO_BACKGROUND;
	h->server = lazy_server_new(&config, h->err);
	if (!h->server)
		return -1;
	h->threads = h->options->threads;
	if (h->threads &&
	    lazy_server_start(h->server, h->options->threads, h->err))
		return -1;
	if (!report(h, LAZY__READY))
		return 0;
	errno = 0;
	return lazy_error_set(h->err, LAZY_E_GONE,
			      "lost the connection to the hypervisor");
}

/*
 * Sends the last message and reads all messages of the hypervisor: closing the
 * socket with messages unread could discard the last one. Afterwards nothing
 * can be sent in either direction.
 */
static void end_connection(struct handler *h, enum lazy__type last)
{
	uint64_t deadline = lazy__now_ms() + ANSWER_MS;
	char byte;

	while (report(h, last) && errno == EAGAIN && lazy__now_ms() < deadline)
		lazy__wait(h->sock, POLLOUT, ANSWER_MS);
	shutdown(h->sock, SHUT_RDWR);
	while (lazy__receive_bytes(h->sock, &byte, 1) > 0)
		;
}

int lazy_handover_serve(int sock, const struct lazy_source *source,
			const struct lazy_handover_options *options,
			struct lazy_handover_stats *stats,
			struct lazy_error *err)
{
	struct handler h = {
		.sock = sock, .options = options, .stats = stats, .err = err,
	};
	struct lazy__hello hello;
	int uffd, ret;

	*stats = (struct lazy_handover_stats) {};
	if (lazy__receive_hello(sock, &hello, &uffd, ANSWER_MS, err) < 0) {
		end_connection(&h, LAZY__FAILURE);
		return -1;
	}
	ret = take_over(&h, source, &hello, uffd);
	if (!ret)
		ret = serve(&h);
	if (h.server)
		lazy_server_stop(h.server);
	/*
	 * Report the failure before poisoning: the hypervisor stops the guest
	 * because of it, and not because of the SIGBUS.
	 */
	end_connection(&h, ret < 0 ? LAZY__FAILURE : LAZY__CLOSED);
	if (ret < 0 && h.server && !options->keep_waiting)
		lazy_server_poison(h.server, NULL);
	lazy_server_free(h.server);
	lazy__close_regions(&hello);
	close(uffd);
	return ret < 0 ? -1 : 0;
}
