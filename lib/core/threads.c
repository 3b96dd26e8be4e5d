// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Threads of the server. All of them do the same: serve what there is to serve,
 * fill a range in the background if there is nothing, and wait if there is
 * nothing to fill.
 *
 * A thread waits in read() of the userfaultfd, so that a fault takes two system
 * calls. Nothing but a message ends that read(), so lazy_server_stop() cancels
 * the thread: only there is it enabled. If other messages than faults may
 * arrive, or RWF_NOWAIT does not work, a thread waits in poll() instead.
 *
 * The kernel wakes all waiting threads for each fault. On the processor of the
 * fault a thread starts at once, since the guest's thread sleeps there; another
 * processor may have to leave its idle state first, twice for each fault. So
 * that there is a thread on each processor, each is bound to one, but not while
 * threads fill in the background: then they have work wherever they run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "core.h"

static bool blocking(const struct lazy_server *s)
{
	return s->has_nowait && !s->events;
}

/* Not polled then: an entry in the epoll set would cost time in each fault. */
static void make_blocking(struct lazy_server *s, bool on)
{
	struct epoll_event event = { .events = EPOLLIN };
	int flags = fcntl(s->config.uffd, F_GETFL);
	struct lazy_error err;

	if (epoll_ctl(s->epoll, on ? EPOLL_CTL_DEL : EPOLL_CTL_ADD,
		      s->config.uffd, &event) && !on && errno != EEXIST) {
		lazy_error_set(&err, LAZY_E_SYSTEM,
			       "cannot watch the userfaultfd: %m");
		lazy__fail(s, &err);
	}
	if (flags >= 0)
		fcntl(s->config.uffd, F_SETFL, on ? flags & ~O_NONBLOCK :
						    flags | O_NONBLOCK);
}

/* Returns false if the thread has to end. */
static bool wait_for_work(struct lazy__worker *w, int timeout_ms)
{
	struct lazy_server *s = w->s;
	struct pollfd fds[] = {
		{ .fd = s->stop, .events = POLLIN },
		{ .fd = s->epoll, .events = POLLIN },
	};

	/* A blocking userfaultfd cannot be polled. */
	if (blocking(s))
		return poll(fds, 1, timeout_ms) == 0;
	poll(fds, 2, timeout_ms);
	return !fds[0].revents;
}

/* If there is a thread for each processor. Faults are served without, too. */
static void bind_to_processor(const struct lazy__worker *w)
{
	const struct lazy_server *s = w->s;
	size_t nr = w - s->workers;
	cpu_set_t cpus, one;
	int cpu;

	if (s->background || sched_getaffinity(0, sizeof(cpus), &cpus) ||
	    (unsigned int)CPU_COUNT(&cpus) != s->threads)
		return;
	for (cpu = 0; !CPU_ISSET(cpu, &cpus) || nr--; cpu++)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void *run(void *arg)
{
	struct lazy__worker *w = arg;
	struct lazy_server *s = w->s;
	int ms = 0;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	bind_to_processor(w);
	while (s->state != LAZY_FAILED && !s->stopping) {
		if (ms < 0 && blocking(s))
			ms = lazy__serve_messages(w, true) < 0 ? -2 : -1;
		else
			ms = lazy__work(w);
		if (ms == -2) {
			lazy__fail(s, &w->err);
			break;
		}
		if (s->nr_parked && ms < 0)
			ms = LAZY__RETRY_MS;
		if (ms > 0 || (ms < 0 && !blocking(s)))
			if (!wait_for_work(w, ms))
				break;
	}
	return NULL;
}

static int start(struct lazy_server *s, unsigned int threads,
		 struct lazy_error *err)
{
	s->stopping = false;
	s->threads = threads;
	make_blocking(s, blocking(s));
	while (s->nr_workers < threads) {
		struct lazy__worker *w = &s->workers[s->nr_workers];

		errno = pthread_create(&w->thread, NULL, run, w);
		if (errno) {
			lazy_error_set(err, LAZY_E_SYSTEM,
				       "cannot start a thread: %m");
			return -1;
		}
		s->nr_workers++;
	}
	return 0;
}

int lazy_server_start(struct lazy_server *s, unsigned int threads,
		      struct lazy_error *err)
{
	cpu_set_t cpus;

	if (s->nr_workers)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "the server has threads");
	if (!threads && !sched_getaffinity(0, sizeof(cpus), &cpus))
		threads = CPU_COUNT(&cpus);
	if (!threads)
		threads = 1;
	if (threads > LAZY__MAX_THREADS)
		threads = LAZY__MAX_THREADS;
	if (!s->workers) {
		s->workers = calloc(LAZY__MAX_THREADS, sizeof(*s->workers));
		if (!s->workers)
			return lazy_error_set(err, LAZY_E_MEMORY,
					      "out of memory");
	}
	for (unsigned int i = 0; i < threads; i++)
		if (!s->workers[i].s && lazy__worker_init(&s->workers[i], s)) {
			s->workers[i].s = NULL;
			return lazy_error_set(err, LAZY_E_MEMORY,
					      "out of memory");
		}
	if (!start(s, threads, err))
		return 0;
	lazy_server_stop(s);
	return -1;
}

/*
 * A thread that is cancelled may just have read faults. Waking all waiters
 * makes these faults arrive again.
 */
static void wake_all(struct lazy_server *s)
{
	for (size_t i = 0; i < s->nr; i++)
		lazy__wake(s->config.uffd, s->regions[i].is.address,
			   s->regions[i].is.len);
}

static void stop(struct lazy_server *s)
{
	eventfd_t value;

	s->stopping = true;
	eventfd_write(s->stop, 1);
	for (unsigned int i = 0; i < s->nr_workers; i++) {
		pthread_cancel(s->workers[i].thread);
		pthread_join(s->workers[i].thread, NULL);
	}
	eventfd_read(s->stop, &value);
	make_blocking(s, false);
	if (blocking(s))
		wake_all(s);
	s->nr_workers = 0;
}

void lazy_server_stop(struct lazy_server *s)
{
	if (s->nr_workers)
		stop(s);
	if (!s->workers)
		return;
	for (unsigned int i = 0; i < LAZY__MAX_THREADS; i++)
		lazy__worker_free(&s->workers[i]);
	free(s->workers);
	s->workers = NULL;
}

void lazy_server_background(struct lazy_server *s, int on)
{
	unsigned int threads = s->nr_workers;

	s->background = on;
	s->stuck_since = 0;
	/* The threads may be waiting without a limit: restart them. */
	if (on && threads && s->state == LAZY_SERVING) {
		struct lazy_error err;

		stop(s);
		if (start(s, threads, &err))
			lazy__fail(s, &err);
	}
}
