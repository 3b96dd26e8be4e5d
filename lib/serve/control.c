// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The control socket. A client sends "stats" and a newline, or only closes its
 * side, and receives JSON. It cannot delay the listener: whatever is not sent
 * or read in time is dropped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve.h"

void control_close(struct control_client *c)
{
	close(c->fd);
	free(c->answer);
	*c = (struct control_client) { .fd = -1 };
}

static bool is_request(const struct control_client *c, const char *name)
{
	size_t len = c->len;

	if (len && c->request[len - 1] == '\n')
		len--;
	if (len && c->request[len - 1] == '\r')
		len--;
	return len == strlen(name) && !memcmp(c->request, name, len);
}

static void prepare(struct control_client *c, control_answer *answer, void *arg)
{
	static const char unknown[] = "{\"error\":\"unknown request\"}\n";

	if (is_request(c, "stats") || is_request(c, "")) {
		c->answer = answer(arg, &c->answer_len);
	} else {
		c->answer = strdup(unknown);
		c->answer_len = sizeof(unknown) - 1;
	}
	if (!c->answer)
		control_close(c);
}

/* Returns true once the request is complete. */
static bool receive(struct control_client *c)
{
	size_t room = sizeof(c->request) - c->len;
	ssize_t n = recv(c->fd, c->request + c->len, room, MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			control_close(c);
		return false;
	}
	c->len += n;
	return !n || (size_t)n == room || memchr(c->request, '\n', c->len);
}

static void send_answer(struct control_client *c)
{
	ssize_t n = send(c->fd, c->answer + c->sent, c->answer_len - c->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->sent += n;
	if (n < 0 || c->sent == c->answer_len)
		control_close(c);
}

void control_step(struct control_client *c, control_answer *answer, void *arg)
{
	if (now_ms() >= c->until) {
		control_close(c);
		return;
	}
	if (!c->answer && receive(c))
		prepare(c, answer, arg);
	if (c->answer)
		send_answer(c);
}
