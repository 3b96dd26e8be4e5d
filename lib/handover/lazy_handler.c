// SPDX-License-Identifier: GPL-2.0
/*
 * The handler: takes over the memory of one hypervisor and fills it.
 *
 * Each iteration of serve() first reads all events, then serves all faults,
 * then fills one range in the background, so a fault waits for at most one
 * range. A fault that cannot be served yet is parked until the events have been
 * read again, since -EAGAIN persists until then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lazy_internal.h"

#define DEADLINE_MS	10000
#define RANGE		(64 << 10)
#define PROGRESS_NS	20000000	/* between two PROGRESS messages */
#define RETRY_MS	1

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- the queues ---- */

static void queue_init(struct queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void queue_add(struct queue *q, struct fault *fault)
{
	fault->next = NULL;
	*q->tail = fault;
	q->tail = &fault->next;
}

static struct fault *queue_take(struct queue *q)
{
	struct fault *fault = q->head;

	if (fault) {
		q->head = fault->next;
		if (!q->head)
			q->tail = &q->head;
	}
	return fault;
}

static void queue_free(struct queue *q)
{
	struct fault *fault;

	while ((fault = queue_take(q)))
		free(fault);
}

/* ---- taking over ---- */

static int receive_hello(struct handler *h, struct hello *hello, int *fds,
			 size_t *nr_fds)
{
	union {
		char buf[CMSG_SPACE((1 + LAZY_MAX_REGIONS) * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { hello, sizeof(*hello) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t n;

	*nr_fds = 0;
	do {
		n = recvmsg(h->sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return because(h->reason, "cannot receive: %m");
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET &&
	    cmsg->cmsg_type == SCM_RIGHTS) {
		*nr_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(cmsg), *nr_fds * sizeof(int));
	}
	if (!n)
		return because(h->reason, "lost the connection to the hypervisor");
	if (n != sizeof(*hello) || msg.msg_flags & MSG_CTRUNC ||
	    hello->protocol != LAZY_PROTOCOL)
		return because(h->reason, "protocol versions differ");
	return 0;
}

static int check_region(struct handler *h, const struct lazy_region *is,
			size_t i)
{
	uint64_t mask = is->granule - 1ULL;

	if (is->granule < SNAP_CHUNK || is->granule & mask ||
	    !is->len || (is->len | is->address | is->fd_offset) & mask ||
	    is->address + is->len < is->address || is->populate > LAZY_ALIAS)
		return because(h->reason, "region %zu is invalid", i);
	if (is->offset % SNAP_CHUNK || is->offset > h->snap->len ||
	    is->len > h->snap->len - is->offset)
		return because(h->reason, "region %zu is not in the snapshot", i);
	return 0;
}

/* Takes ownership of the descriptors, which hand_back() closes. */
static int add_regions(struct handler *h, const struct hello *hello,
		       const int *fds, size_t nr_fds)
{
	size_t used = 0;

	h->nr_spaces = nr_fds > 0;
	if (nr_fds)
		h->spaces[0].uffd = fds[used++];
	h->nr = hello->nr <= LAZY_MAX_REGIONS ? hello->nr : 0;
	for (size_t i = 0; i < h->nr; i++) {
		struct region *r = &h->regions[i];

		r->is = hello->regions[i];
		r->fd = -1;
		if (r->is.populate != LAZY_COPY && used < nr_fds)
			r->fd = fds[used++];
	}
	while (used < nr_fds)
		close(fds[used++]);
	if (!h->nr_spaces || !h->nr)
		return because(h->reason, "received no userfaultfd or no regions");

	for (size_t i = 0; i < h->nr; i++) {
		struct region *r = &h->regions[i];

		if (check_region(h, &r->is, i))
			return -1;
		r->first = h->stats->pages;
		r->nr = r->is.len / r->is.granule;
		h->stats->pages += r->nr;
		if (r->is.populate == LAZY_COPY)
			continue;
		if (r->fd < 0)
			return because(h->reason, "received no file for region %zu", i);
		if (r->is.populate != LAZY_ALIAS)
			continue;
		r->alias = mmap(NULL, r->is.len, PROT_READ | PROT_WRITE,
				MAP_SHARED, r->fd, r->is.fd_offset);
		if (r->alias == MAP_FAILED) {
			r->alias = NULL;
			return because(h->reason, "cannot map region %zu: %m", i);
		}
	}
	return 0;
}

static int allocate(struct handler *h)
{
	size_t longest = h->range, huge = 2 << 20;

	for (size_t i = 0; i < h->nr; i++)
		if (h->regions[i].is.granule > longest)
			longest = h->regions[i].is.granule;
	h->spaces[0].pages = calloc(h->stats->pages, 1);
	h->populated = calloc(h->stats->pages, 1);
	h->buffer = aligned_alloc(longest < huge ? SNAP_CHUNK : huge,
				  (longest + SNAP_CHUNK - 1) & -SNAP_CHUNK);
	h->zeroes = calloc(longest, 1);
	if (!h->spaces[0].pages || !h->populated || !h->buffer || !h->zeroes)
		return because(h->reason, "out of memory");
	return 0;
}

static int take_over(struct handler *h)
{
	struct pollfd pollfd = { .fd = h->sock, .events = POLLIN };
	int fds[1 + LAZY_MAX_REGIONS], ready, flags;
	struct hello hello;
	size_t nr_fds;

	do {
		ready = poll(&pollfd, 1, DEADLINE_MS);
	} while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return because(h->reason, "timed out waiting for the hypervisor");
	if (receive_hello(h, &hello, fds, &nr_fds)) {
		while (nr_fds)
			close(fds[--nr_fds]);
		return -1;
	}
	if (add_regions(h, &hello, fds, nr_fds) || allocate(h))
		return -1;
	/* read() must not block while there is other work. */
	flags = fcntl(h->spaces[0].uffd, F_GETFL);
	if (flags < 0 || fcntl(h->spaces[0].uffd, F_SETFL, flags | O_NONBLOCK))
		return because(h->reason, "cannot make the userfaultfd non-blocking: %m");
	h->started = now();
	if (send_message(h->sock, &(struct message) { .type = MESSAGE_READY }))
		return because(h->reason, "lost the connection to the hypervisor");
	return 0;
}

static void drop_space(struct handler *h, size_t i)
{
	close(h->spaces[i].uffd);
	free(h->spaces[i].pages);
	h->spaces[i] = (struct space) { .uffd = -1 };
}

static void hand_back(struct handler *h)
{
	queue_free(&h->faults);
	queue_free(&h->parked);
	for (size_t i = 0; i < h->nr_spaces; i++)
		if (h->spaces[i].uffd >= 0)
			drop_space(h, i);
	for (size_t i = 0; i < h->nr; i++) {
		if (h->regions[i].alias)
			munmap(h->regions[i].alias, h->regions[i].is.len);
		if (h->regions[i].fd >= 0)
			close(h->regions[i].fd);
	}
	free(h->populated);
	free(h->buffer);
	free(h->zeroes);
}

/* ---- events ---- */

static struct region *region_at(struct handler *h, uint64_t address)
{
	for (size_t i = 0; i < h->nr; i++)
		if (address - h->regions[i].is.address < h->regions[i].is.len)
			return &h->regions[i];
	return NULL;
}

static int add_fault(struct handler *h, size_t space,
		     const struct uffd_msg *msg)
{
	uint64_t address = msg->arg.pagefault.address;
	struct region *r = region_at(h, address);
	struct fault *fault;

	if (!r)
		return because(h->reason, "fault at %#llx, outside all regions",
			       (unsigned long long)address);
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
		return because(h->reason, "unexpected write-protect fault");
	fault = malloc(sizeof(*fault));
	if (!fault)
		return because(h->reason, "out of memory");
	*fault = (struct fault) {
		.space = space,
		.region = r,
		.page = r->first + (address - r->is.address) / r->is.granule,
		.missing = !(msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR),
		.since = now(),
	};
	queue_add(&h->faults, fault);
	return 0;
}

/* Sets the state of the pages that lie completely within [@start, @end). */
static void mark(struct handler *h, struct space *space, uint64_t start,
		 uint64_t end, enum page as)
{
	for (size_t i = 0; i < h->nr; i++) {
		struct region *r = &h->regions[i];

		for (uint64_t n = 0; n < r->nr; n++) {
			uint64_t at = r->is.address + n * r->is.granule;

			if (at < start || at + r->is.granule > end)
				continue;
			space->pages[r->first + n] = as;
			h->stats->removed++;
		}
	}
}

static int add_child(struct handler *h, const struct space *parent, int uffd)
{
	struct space *child = &h->spaces[h->nr_spaces];

	if (h->nr_spaces == LAZY_MAX_SPACES) {
		close(uffd);
		return because(h->reason, "more than %d children",
			       LAZY_MAX_SPACES - 1);
	}
	child->uffd = uffd;
	child->pages = malloc(h->stats->pages);
	h->nr_spaces++;
	if (!child->pages)
		return because(h->reason, "out of memory");
	memcpy(child->pages, parent->pages, h->stats->pages);
	return 0;
}

static int take_event(struct handler *h, size_t space,
		      const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		return add_fault(h, space, msg);
	case UFFD_EVENT_REMOVE:
		mark(h, &h->spaces[space], msg->arg.remove.start,
		     msg->arg.remove.end, REMOVED);
		return 0;
	case UFFD_EVENT_UNMAP:
		mark(h, &h->spaces[space], msg->arg.remove.start,
		     msg->arg.remove.end, GONE);
		return 0;
	case UFFD_EVENT_FORK:
		return add_child(h, &h->spaces[space], msg->arg.fork.ufd);
	default:
		return because(h->reason, "unsupported event %#x",
			       msg->event);
	}
}

/* Reads events until the queue is empty. */
static int read_events(struct handler *h, size_t space)
{
	struct uffd_msg msgs[16];

	for (;;) {
		ssize_t n = read(h->spaces[space].uffd, msgs, sizeof(msgs));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return because(h->reason, "cannot read the userfaultfd: %m");
		for (size_t i = 0; i < n / sizeof(msgs[0]); i++)
			if (take_event(h, space, &msgs[i]))
				return -1;
	}
}

/* ---- filling ---- */

static void progressed(struct handler *h)
{
	struct message message = { .type = MESSAGE_PROGRESS };
	uint64_t time = now() - h->started;

	if (h->options->progress) {
		h->stats->nanoseconds = time;
		h->options->progress(h->options->arg, h->stats);
	}
	if (h->done || time - h->reported < PROGRESS_NS)
		return;
	h->reported = time;
	h->stats->nanoseconds = time;
	message.stats = *h->stats;
	/* Never block on a slow reader: drop the update. */
	send_message(h->sock, &message);
}

static bool overdue(struct handler *h, uint64_t since)
{
	unsigned int deadline = h->options->deadline_ms ?: DEADLINE_MS;

	return now() - since > deadline * 1000000ULL;
}

static int too_late(struct handler *h, const struct region *r, uint64_t page)
{
	errno = h->again;
	return because(h->reason, "timed out filling memory at %#llx: %m",
		       (unsigned long long)(r->is.offset + (page - r->first) *
					    r->is.granule));
}

/* Returns 0, 1 if the hypervisor has exited, or -1 with the reason set. */
static int serve_fault(struct handler *h, struct fault *fault)
{
	struct space *space = &h->spaces[fault->space];
	struct region *r = fault->region;
	enum outcome outcome;
	uint64_t added;

	if (space->uffd < 0) {
		free(fault);
		return 0;
	}
	outcome = fill(h, space, r, fault->page, 1, fault->missing, &added);
	if (added) {
		h->stats->demand += added;
		if (h->options->record &&
		    working_set_add(h->options->record, r->is.offset +
				    (fault->page - r->first) * r->is.granule)) {
			free(fault);
			return because(h->reason, "out of memory");
		}
	}
	switch (outcome) {
	case FILLED_NOW:
		h->stats->faults++;
		free(fault);
		progressed(h);
		return 0;
	case TRY_AGAIN:
		h->stats->parked++;
		queue_add(&h->parked, fault);
		return overdue(h, fault->since) ?
		       too_late(h, r, fault->page) : 0;
	case NO_SPACE_LEFT:
		if (!fault->space) {
			free(fault);
			return 1;
		}
		drop_space(h, fault->space);
		free(fault);
		return 0;
	default:
		free(fault);
		return -1;
	}
}

static int serve_faults(struct handler *h)
{
	struct fault *fault;

	while ((fault = queue_take(&h->faults))) {
		int ret = serve_fault(h, fault);

		if (ret)
			return ret;
	}
	return 0;
}

/* The page that holds an offset of the snapshot's memory, or -1. */
static int64_t page_of(struct handler *h, uint64_t offset, struct region **in)
{
	for (size_t i = 0; i < h->nr; i++) {
		struct region *r = &h->regions[i];

		if (offset - r->is.offset < r->is.len) {
			*in = r;
			return r->first +
			       (offset - r->is.offset) / r->is.granule;
		}
	}
	return -1;
}

/* Whether a page can be filled with UFFDIO_ZEROPAGE. */
static bool zeropage(struct handler *h, const struct region *r, uint64_t page)
{
	return r->is.zeropage &&
	       snap_is_zero(h->snap, r->is.offset + (page - r->first) *
			    r->is.granule, r->is.granule);
}

/*
 * The number of consecutive pages of @r from @page on, at most @max, that are
 * absent and can be filled by the same operation.
 */
static uint64_t run_of(struct handler *h, const struct region *r,
		       uint64_t page, uint64_t max)
{
	const uint8_t *pages = h->spaces[0].pages;
	bool zero = zeropage(h, r, page);
	uint64_t nr = 1;

	while (nr < max && page + nr < r->first + r->nr &&
	       pages[page + nr] == ABSENT &&
	       h->populated[page + nr] == h->populated[page] &&
	       zeropage(h, r, page + nr) == zero)
		nr++;
	return nr;
}

/*
 * The next page of the working set, extended by the pages that follow it both
 * in the working set and in memory. Returns their number, 0 at the end of the
 * working set.
 */
static uint64_t next_in_order(struct handler *h, struct region **in,
			      uint64_t *page)
{
	const struct working_set *order = h->options->order;
	uint64_t nr, max;
	int64_t found;

	for (; order && h->next_ordered < order->nr; h->next_ordered++) {
		found = page_of(h, order->offsets[h->next_ordered], in);
		if (found < 0 || h->spaces[0].pages[found] != ABSENT)
			continue;
		*page = found;
		max = h->range / (*in)->is.granule ?: 1;
		max = run_of(h, *in, found, max);
		for (nr = 1; nr < max; nr++) {
			size_t next = h->next_ordered + nr;

			if (next >= order->nr || order->offsets[next] !=
			    order->offsets[next - 1] + (*in)->is.granule)
				break;
		}
		return nr;
	}
	return 0;
}

/* The next range to fill in the background. Returns 0 if there is none. */
static uint64_t next_range(struct handler *h, struct region **in,
			   uint64_t *page)
{
	uint64_t nr = next_in_order(h, in, page);
	struct region *r = h->regions;

	if (nr)
		return nr;
	for (; h->next_page < h->stats->pages; h->next_page++) {
		if (h->spaces[0].pages[h->next_page] != ABSENT)
			continue;
		while (h->next_page >= r->first + r->nr)
			r++;
		*in = r;
		*page = h->next_page;
		return run_of(h, r, *page, h->range / r->is.granule ?: 1);
	}
	return 0;
}

static bool may_fill_ahead(const struct handler *h)
{
	if (h->options->no_background)
		return false;
	return h->alive || !h->options->background_when_alive;
}

/* Returns 0, 1 if the hypervisor has exited, or -1 with the reason set. */
static int fill_ahead(struct handler *h, struct region *r, uint64_t page,
		      uint64_t nr)
{
	enum outcome outcome;
	uint64_t added;

	outcome = fill(h, &h->spaces[0], r, page, nr, true, &added);
	h->stats->background += added;
	if (added)
		progressed(h);
	if (added || outcome != TRY_AGAIN)
		h->stuck_since = 0;
	else if (!h->stuck_since)
		h->stuck_since = now();
	switch (outcome) {
	case FILLED_NOW:
		return 0;
	case TRY_AGAIN:
		if (h->stuck_since && overdue(h, h->stuck_since))
			return too_late(h, r, page);
		return 0;
	case NO_SPACE_LEFT:
		return 1;
	default:
		return -1;
	}
}

/* ---- the loop ---- */

/*
 * Reads a message of the hypervisor. Returns 1 if it has finished or closed the
 * socket.
 */
static int receive_from_hypervisor(struct handler *h)
{
	struct lazy_stats *s = h->stats;
	struct message message;
	ssize_t n;

	n = receive_bytes(h->sock, &message, sizeof(message), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return 1;
	if (n != sizeof(message) || message.type != MESSAGE_ALIVE)
		return because(h->reason, "protocol error: unexpected message from the hypervisor");
	if (!h->alive) {
		h->alive = true;
		s->alive_nanoseconds = now() - h->started;
		s->alive_demand = s->demand;
		s->alive_background = s->background;
		s->alive_found = s->found;
		s->alive_faults = s->faults;
	}
	return 0;
}

/* Waits for messages and events, and reads them. Returns 1 as above. */
static int take_in(struct handler *h, int timeout_ms)
{
	struct pollfd fds[1 + LAZY_MAX_SPACES] = {
		{
			.fd = h->sock,
			.events = POLLIN |
				  (h->done && !h->reported_done ? POLLOUT : 0),
		},
	};
	size_t nr = h->nr_spaces;
	int ret;

	for (size_t i = 0; i < nr; i++)
		fds[1 + i] = (struct pollfd) {
			.fd = h->spaces[i].uffd, .events = POLLIN,
		};
	ret = poll(fds, 1 + nr, timeout_ms);
	if (ret < 0)
		return errno == EINTR ? 0 : because(h->reason, "poll: %m");
	for (size_t i = 0; i < nr; i++)
		if (fds[1 + i].revents && read_events(h, i))
			return -1;
	return fds[0].revents & ~POLLOUT ? receive_from_hypervisor(h) : 0;
}

static void unpark(struct handler *h)
{
	struct fault *fault;

	while ((fault = queue_take(&h->parked)))
		queue_add(&h->faults, fault);
}

static int report(struct handler *h, enum message_type type)
{
	struct message message = { .type = type, .reason = *h->reason };

	if (h->started && !h->done)
		h->stats->nanoseconds = now() - h->started;
	message.stats = *h->stats;
	return send_message(h->sock, &message);
}

/*
 * Sends the last message and reads all messages of the hypervisor: closing the
 * socket with messages unread could discard the last one. Afterwards nothing
 * can be sent in either direction.
 */
static void end_connection(struct handler *h, enum message_type last)
{
	unsigned int deadline = h->options->deadline_ms ?: DEADLINE_MS;
	struct pollfd pollfd = { .fd = h->sock, .events = POLLOUT };
	char byte;

	while (report(h, last) && errno == EAGAIN)
		if (poll(&pollfd, 1, deadline) == 0)
			break;
	shutdown(h->sock, SHUT_RDWR);
	while (receive_bytes(h->sock, &byte, 1, MSG_DONTWAIT) > 0)
		;
}

/* Returns 1 if the hypervisor has finished or exited, -1 on a failure. */
static int serve(struct handler *h)
{
	for (;;) {
		struct region *r;
		uint64_t page, nr = next_range(h, &r, &page);
		int timeout = -1, ret;

		if (!nr && !h->parked.head && !h->done) {
			h->stats->nanoseconds = now() - h->started;
			h->done = true;
		}
		if (h->done && !h->reported_done)
			h->reported_done = !report(h, MESSAGE_DONE) ||
					   errno != EAGAIN;
		if (!may_fill_ahead(h))
			nr = 0;
		if (h->parked.head || h->stuck_since)
			timeout = RETRY_MS;
		else if (nr)
			timeout = 0;
		ret = take_in(h, timeout);
		if (ret)
			return ret;
		unpark(h);
		if (h->faults.head) {
			ret = serve_faults(h);
			if (ret)
				return ret;
			/* This may have filled the next range as well. */
			continue;
		}
		if (!nr)
			continue;
		/* An event may have changed the next range. */
		nr = next_range(h, &r, &page);
		ret = nr ? fill_ahead(h, r, page, nr) : 0;
		if (ret)
			return ret;
	}
}

int lazy_serve(int sock, const struct snapshot *snap,
	       const struct lazy_options *options, struct lazy_stats *stats,
	       struct reason *reason)
{
	struct handler h = {
		.sock = sock,
		.snap = snap,
		.options = options,
		.stats = stats,
		.reason = reason,
		.range = options->range ?: RANGE,
	};
	int ret;

	*stats = (struct lazy_stats) {};
	reason->text[0] = '\0';
	queue_init(&h.faults);
	queue_init(&h.parked);
	ret = take_over(&h);
	if (!ret)
		ret = serve(&h);
	/* Report the failure before closing the userfaultfd. */
	end_connection(&h, ret < 0 ? MESSAGE_FAILED : MESSAGE_CLOSED);
	hand_back(&h);
	return ret < 0 ? -1 : 0;
}
