// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A server's life: it takes over memory, serves by steps, reports its state,
 * and gives back what it took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core.h"

#define AROUND		(256 << 10)
#define RANGE		(512 << 10)
#define HUGE_RANGE	(2 << 20)	/* UFFDIO_FILL maps it as a huge page */
#define DEADLINE_MS	10000
#define ZEROES		(2 << 20)

uint64_t lazy__now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

bool lazy__overdue(const struct lazy_server *s, uint64_t since)
{
	return lazy__now() - since > s->config.deadline_ms * 1000000ULL;
}

static void set_state(struct lazy_server *s, enum lazy_state state)
{
	s->state = state;
	eventfd_write(s->changed, 1);
}

void lazy__fail(struct lazy_server *s, const struct lazy_error *err)
{
	pthread_mutex_lock(&s->mutex);
	if (s->state != LAZY_FAILED) {
		s->failure = *err;
		set_state(s, LAZY_FAILED);
	}
	pthread_mutex_unlock(&s->mutex);
}

void lazy__progress(struct lazy_server *s)
{
	uint64_t sum = s->demand + s->in_background + s->found + s->removed;
	struct lazy_stats stats = { .size = sizeof(stats) };
	int serving = LAZY_SERVING;

	if (s->config.on_fill && sum != atomic_exchange(&s->progressed, sum)) {
		pthread_mutex_lock(&s->mutex);
		lazy_server_stats(s, &stats);
		s->config.on_fill(s->config.arg, &stats);
		pthread_mutex_unlock(&s->mutex);
	}
	if (sum < s->pages || s->state != LAZY_SERVING)
		return;
	s->filled_at = lazy__now() - s->started;
	if (atomic_compare_exchange_strong(&s->state, &serving, LAZY_FILLED))
		eventfd_write(s->changed, 1);
}

/* ---- taking over ---- */

int lazy__worker_init(struct lazy__worker *w, struct lazy_server *s)
{
	uint64_t len = s->config.range > s->config.around ? s->config.range :
							    s->config.around;

	w->s = s;
	if (s->source.map)
		return 0;
	for (size_t i = 0; i < s->nr; i++)
		if (s->regions[i].is.granule > len)
			len = s->regions[i].is.granule;
	w->buffer_len = (len + LAZY__PAGE - 1) & -LAZY__PAGE;
	w->buffer = aligned_alloc(LAZY__PAGE, w->buffer_len);
	return w->buffer ? 0 : -1;
}

void lazy__worker_free(struct lazy__worker *w)
{
	free(w->buffer);
	w->buffer = NULL;
}

/* Does this kernel have UFFDIO_FILL? A kernel that has it has no false EEXIST. */
static bool kernel_has_fill(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK |
			 1 /* UFFD_USER_MODE_ONLY */);
	bool has = false;

	if (fd < 0)
		return false;
	if (!ioctl(fd, UFFDIO_API, &api))
		has = api.features & UFFD_FEATURE_FILL &&
		      api.features & UFFD_FEATURE_SKIP_PRESENT;
	close(fd);
	return has;
}

/*
 * Does RWF_NOWAIT work on a userfaultfd (Linux 6.10)? A buffer that is too
 * short for a message is refused after the flag was looked at.
 */
static bool has_nowait(int uffd)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return preadv2(uffd, &iov, 1, -1, RWF_NOWAIT) < 0 && errno == EINVAL;
}

static int map_regions(struct lazy_server *s, struct lazy_error *err)
{
	bool files = false;

	s->zeroes_len = ZEROES;
	for (size_t i = 0; i < s->nr; i++) {
		struct lazy__region *r = &s->regions[i];

		if (r->is.granule > s->zeroes_len)
			s->zeroes_len = r->is.granule;
		r->doubtful = r->is.granule > LAZY__PAGE && !s->has_fill;
		files |= r->is.populate != LAZY_COPY;
		if (r->is.populate != LAZY_ALIAS)
			continue;
		r->alias = mmap(NULL, r->is.len, PROT_READ | PROT_WRITE,
				MAP_SHARED, r->is.fd, r->is.fd_offset);
		if (r->alias == MAP_FAILED) {
			r->alias = NULL;
			return lazy_error_set(err, LAZY_E_SYSTEM,
					      "cannot map region %zu: %m", i);
		}
	}
	/* Untouched anonymous memory: reads of it take no memory. */
	s->zeroes = mmap(NULL, s->zeroes_len, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->zeroes == MAP_FAILED) {
		s->zeroes = NULL;
		return lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
	}
	if (files && lazy__pages_init(&s->populated, s->pages))
		return lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
	return 0;
}

static int allocate(struct lazy_server *s, struct lazy_error *err)
{
	/* One bit for 16 pages, in a mapping like the others. */
	struct lazy__pages blocks;

	s->spaces = calloc(LAZY__MAX_SPACES, sizeof(*s->spaces));
	if (!s->spaces)
		return lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
	s->nr_spaces = 1;
	s->spaces[0].uffd = s->config.uffd;
	if (lazy__pages_init(&s->spaces[0].pages, s->pages) ||
	    lazy__worker_init(&s->own, s) ||
	    lazy__pages_init(&blocks, s->pages / 16 + 1))
		return lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
	s->blocks = blocks;
	return 0;
}

static int open_descriptors(struct lazy_server *s, struct lazy_error *err)
{
	struct epoll_event event = { .events = EPOLLIN };
	int flags = fcntl(s->config.uffd, F_GETFL);

	/* read() must not block while there is other work. */
	if (flags < 0 ||
	    fcntl(s->config.uffd, F_SETFL, flags | O_NONBLOCK))
		return lazy_error_set(err, LAZY_E_SYSTEM,
				      "cannot make the userfaultfd non-blocking: %m");
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll < 0 || s->changed < 0 || s->stop < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->config.uffd, &event))
		return lazy_error_set(err, LAZY_E_SYSTEM,
				      "cannot watch the userfaultfd: %m");
	return 0;
}

static void init_locks(struct lazy_server *s)
{
	pthread_rwlockattr_t attr;

	/* Threads that fill must not starve the one that reads an event. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr,
			PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->layout, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&s->populate, NULL);
	pthread_mutex_init(&s->mutex, NULL);
}

static void take_config(struct lazy_server *s,
			const struct lazy_server_config *config)
{
	struct lazy_server_config *c = &s->config;

	memcpy(c, config, config->size < sizeof(*c) ? config->size : sizeof(*c));
	if (c->source)
		memcpy(&s->source, c->source,
		       c->source->size < sizeof(s->source) ?
		       c->source->size : sizeof(s->source));
	c->around = c->around ?: AROUND;
	c->range = c->range ?: s->has_fill ? HUGE_RANGE : RANGE;
	if (c->around > LAZY__MAX_BUFFER)
		c->around = LAZY__MAX_BUFFER;
	if (c->range > LAZY__MAX_BUFFER)
		c->range = LAZY__MAX_BUFFER;
	c->deadline_ms = c->deadline_ms ?: DEADLINE_MS;
	s->background = !(c->flags & LAZY_NO_BACKGROUND);
}

struct lazy_server *lazy_server_new(const struct lazy_server_config *config,
				    struct lazy_error *err)
{
	struct lazy_server *s = calloc(1, sizeof(*s));

	if (!s) {
		lazy_error_set(err, LAZY_E_MEMORY, "out of memory");
		return NULL;
	}
	s->epoll = s->changed = s->stop = -1;
	s->parked_tail = &s->parked;
	s->started = lazy__now();
	init_locks(s);
	s->has_fill = kernel_has_fill();
	take_config(s, config);
	if (lazy__check_config(s, err) || map_regions(s, err) ||
	    allocate(s, err) || open_descriptors(s, err) ||
	    lazy__check_registered(s, err)) {
		lazy_server_free(s);
		return NULL;
	}
	s->has_nowait = has_nowait(s->config.uffd);
	s->next_region = s->regions;
	/* Only pointers that stay valid. */
	s->config.regions = NULL;
	s->config.source = &s->source;
	return s;
}

void lazy_server_free(struct lazy_server *s)
{
	if (!s)
		return;
	lazy_server_stop(s);
	lazy__free_parked(s);
	for (size_t i = 1; i < s->nr_spaces; i++)
		if (s->spaces[i].uffd >= 0 && s->spaces[i].pages.filled)
			lazy__drop_space(s, i);
	if (s->spaces)
		lazy__pages_free(&s->spaces[0].pages);
	lazy__pages_free(&s->populated);
	lazy__pages_free(&s->blocks);
	for (size_t i = 0; i < s->nr; i++)
		if (s->regions[i].alias)
			munmap(s->regions[i].alias, s->regions[i].is.len);
	if (s->zeroes)
		munmap(s->zeroes, s->zeroes_len);
	if (s->nowhere)
		munmap((void *)(uintptr_t)s->nowhere, LAZY__PAGE);
	if (s->epoll >= 0)
		close(s->epoll);
	if (s->changed >= 0)
		close(s->changed);
	if (s->stop >= 0)
		close(s->stop);
	lazy__worker_free(&s->own);
	pthread_rwlock_destroy(&s->layout);
	pthread_mutex_destroy(&s->populate);
	pthread_mutex_destroy(&s->mutex);
	free(s->spaces);
	free(s->regions);
	free(s);
}

/* ---- serving ---- */

int lazy__work(struct lazy__worker *w)
{
	struct lazy_server *s = w->s;
	int nr = lazy__serve_messages(w, false), ahead = 0;

	if (nr < 0 || lazy__serve_parked(w))
		return -2;
	if (!nr)
		ahead = lazy__fill_ahead(w);
	if (ahead < 0)
		return -2;
	if (ahead || (nr && s->background && s->state == LAZY_SERVING))
		return 0;
	if (s->nr_parked || (s->background && s->state == LAZY_SERVING))
		return LAZY__RETRY_MS;
	return -1;
}

int lazy_server_step(struct lazy_server *s, int *timeout_ms,
		     struct lazy_error *err)
{
	int ms;

	if (s->state == LAZY_FAILED) {
		lazy_server_state(s, err);
		return -1;
	}
	if (s->nr_workers)
		return lazy_error_set(err, LAZY_E_ARGUMENT,
				      "the server has threads");
	ms = lazy__work(&s->own);
	if (ms == -2) {
		lazy__fail(s, &s->own.err);
		if (err)
			*err = s->own.err;
		return -1;
	}
	if (timeout_ms)
		*timeout_ms = ms;
	return 0;
}

int lazy_server_fd(const struct lazy_server *s)
{
	return s->nr_workers ? s->changed : s->epoll;
}

enum lazy_state lazy_server_state(struct lazy_server *s,
				  struct lazy_error *err)
{
	enum lazy_state state;
	eventfd_t value;

	pthread_mutex_lock(&s->mutex);
	eventfd_read(s->changed, &value);
	state = s->state;
	if (state == LAZY_FAILED && err)
		*err = s->failure;
	pthread_mutex_unlock(&s->mutex);
	return state;
}

void lazy_server_stats(struct lazy_server *s, struct lazy_stats *stats)
{
	struct lazy_stats now = {
		.size = stats->size,
		.pages = s->pages,
		.demand = s->demand,
		.background = s->in_background,
		.found = s->found,
		.removed = s->removed,
		.bytes = s->bytes,
		.faults = s->faults,
		.parked = s->nr_parks,
		.discarded = s->discarded,
		.children = s->children,
		.nanoseconds = s->filled_at ?: lazy__now() - s->started,
		.writes = s->writes,
	};

	memcpy(stats, &now, stats->size < sizeof(now) ? stats->size :
							sizeof(now));
}
