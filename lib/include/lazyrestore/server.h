/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The server: given a userfaultfd, the regions that are registered with it and
 * a source, it fills memory when it is touched, and the rest in the background.
 * It knows no protocol and no file format, and never waits for a peer.
 *
 *	struct lazy_server *s = lazy_server_new(&config, &err);
 *
 * in the event loop of the caller	or in threads of its own
 *
 *	poll(lazy_server_fd(s))			lazy_server_start(s, 2, &err);
 *	lazy_server_step(s, &ms, &err)		poll(lazy_server_fd(s))
 *						lazy_server_state(s, &err)
 *						lazy_server_stop(s);
 *
 *	lazy_server_free(s);
 *
 * It serves until it is told to stop, also after all memory is filled: then
 * events of the userfaultfd (REMOVE, UNMAP, FORK) still have to be read, or
 * the process that caused them waits for ever.
 *
 * Guarantees:
 *
 * - Faults have priority over the background. No fault is lost: one that cannot
 *   be served yet (EAGAIN while mappings change, memory shortage) is retried;
 *   one that is older than the deadline is a failure.
 * - No page is written twice: changes by the guest are kept. If a page is
 *   present already, its waiters are woken. On kernels where that answer is not
 *   reliable for hugetlb, it is verified, see lazy_server_new().
 * - Content that the source did not deliver never reaches the guest.
 * - REMOVE: discarded pages are filled with zeroes from then on. UNMAP: the
 *   range is left alone. FORK: the faults of the child are served as well.
 *   These events arrive only if the owner of the userfaultfd enabled them.
 *   REMAP is a failure.
 *
 * After a failure nothing is filled any more: the faults that wait, wait until
 * lazy_server_poison(), or until their process is killed. When the last
 * descriptor of a userfaultfd is closed, the kernel resolves all faults with
 * zeroes, so keep it open until the guest is stopped or poisoned.
 */
#ifndef LAZYRESTORE_SERVER_H
#define LAZYRESTORE_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include <lazyrestore/error.h>
#include <lazyrestore/source.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum lazy_populate - how the pages of a region are filled
 * @LAZY_COPY: with UFFDIO_COPY; any memory type
 * @LAZY_PWRITE: with pwrite() to the memory's file, then UFFDIO_CONTINUE: shmem,
 *	guest_memfd created with GUEST_MEMFD_FLAG_PWRITE
 * @LAZY_ALIAS: through a mapping of the memory's file in this process, then
 *	UFFDIO_CONTINUE: shmem, hugetlb
 *
 * Regions that are filled with COPY are registered for MISSING, all others for
 * MISSING and MINOR.
 */
enum lazy_populate { LAZY_COPY = 0, LAZY_PWRITE = 1, LAZY_ALIAS = 2 };

/**
 * LAZY_REGION_ZEROPAGE - UFFDIO_REGISTER reported _UFFDIO_ZEROPAGE for the
 * region: pages of zeroes are filled with it, without memory where the kernel
 * maps its shared zero page.
 */
#define LAZY_REGION_ZEROPAGE	(1U << 0)
/**
 * LAZY_REGION_SHARED - the memory is a shared mapping (of shmem, hugetlb,
 * guest_memfd). A REMOVE event of shared memory does not prove that the content
 * was discarded (madvise(MADV_DONTNEED) keeps the content of a file, and
 * MADV_FREE sends the event although it fails), so a page that was not filled
 * before the event still gets the content of the source. Implied unless
 * the region is filled with LAZY_COPY.
 */
#define LAZY_REGION_SHARED	(1U << 1)
/**
 * LAZY_REGION_DISCARD - the caller knows that REMOVE always discards content
 * (MADV_REMOVE): zeroes also in the case described at LAZY_REGION_SHARED.
 */
#define LAZY_REGION_DISCARD	(1U << 2)
/**
 * LAZY_REGION_PROTECT - the region is registered for WP as well: pages are
 * filled write-protected. The first write to each is a fault, which lifts the
 * protection of that page.
 */
#define LAZY_REGION_PROTECT	(1U << 3)

/**
 * struct lazy_region - a range of memory in the process that is filled
 * @address: its start in that process, a multiple of @granule
 * @len: length in bytes, a multiple of @granule
 * @offset: of its first byte in the source, a multiple of 4096
 * @granule: page size of the mapping in bytes: 4096, or the size of its hugetlb
 *	pages
 * @fd: the memory's file, -1 for LAZY_COPY
 * @fd_offset: of its first byte in @fd, a multiple of @granule
 * @populate: enum lazy_populate
 * @flags: LAZY_REGION_ bits
 */
struct lazy_region {
	uint64_t address;
	uint64_t len;
	uint64_t offset;
	uint64_t granule;
	uint64_t fd_offset;
	int fd;
	uint32_t populate;
	uint32_t flags;
	uint32_t reserved;
};

/**
 * struct lazy_stats - progress; pages are granules of their region
 * @size: sizeof(struct lazy_stats), set by the caller
 * @pages: total number of pages in all regions
 * @demand: pages filled because of a fault, those around it included
 * @background: pages filled ahead of any fault
 * @found: pages that were present already when they were to be filled
 * @removed: pages discarded (REMOVE) or unmapped before they were filled
 * @bytes: of content that was filled
 * @faults: fault messages served, those of children included
 * @parked: number of times a fault was queued for a retry
 * @discarded: pages discarded or unmapped after they were filled
 * @children: forked processes served at the moment
 * @nanoseconds: since lazy_server_new(); stops when all memory is filled
 * @writes: write-protect faults served, which @faults does not include
 *
 * Each page is counted once in @demand, @background, @found or @removed: their
 * sum is at most @pages, and equal to it when all memory is filled.
 */
struct lazy_stats {
	size_t size;
	uint64_t pages;
	uint64_t demand;
	uint64_t background;
	uint64_t found;
	uint64_t removed;
	uint64_t bytes;
	uint64_t faults;
	uint64_t parked;
	uint64_t discarded;
	uint64_t children;
	uint64_t nanoseconds;
	uint64_t writes;
};

/** LAZY_NO_BACKGROUND - fill in the background only after
 * lazy_server_background().
 */
#define LAZY_NO_BACKGROUND	(1U << 0)

/** LAZY_AROUND_NONE - value of @around: only the page that was touched. */
#define LAZY_AROUND_NONE	1

/**
 * struct lazy_server_config - what to serve; zero is the default of all members
 * from @around on
 * @size: sizeof(struct lazy_server_config), set by the caller
 * @uffd: the userfaultfd, with all regions registered
 * @regions: the memory
 * @region_size: sizeof(struct lazy_region)
 * @nr_regions: number of regions, at least 1
 * @source: the content
 * @around: maximum number of bytes filled by one fault (default 256 KiB). The
 *	actual number is adapted to the faults, and only pages are filled that
 *	are absent.
 * @range: maximum number of bytes filled at once in the background, which is
 *	how long a fault may have to wait. Ranges end at its multiples in memory.
 *	The default is 512 KiB; 2 MiB if the kernel has UFFDIO_FILL, which maps
 *	that as a huge page where a fault would
 * @deadline_ms: maximum age of a fault that cannot be served (default 10000)
 * @flags: LAZY_NO_BACKGROUND
 * @order: offsets in the source that are filled first in the background, in
 *	this order; or NULL
 * @nr_order: number of entries of @order
 * @arg: passed to the callbacks
 * @on_fault: called for each fault that was the first of its page, with the
 *	offset of the page in the source; or NULL
 * @on_fill: called after pages were filled, with the progress; or NULL
 *
 * The caller keeps ownership of all descriptors. They, @order and what the
 * source points to must stay valid until lazy_server_free(); @regions and this
 * structure may go.
 *
 * Threads: the callbacks are called by a thread that serves, one call at a time
 * and without the possibility to call the server except lazy_server_stats().
 */
struct lazy_server_config {
	size_t size;
	int uffd;
	uint32_t flags;
	const struct lazy_region *regions;
	size_t region_size;
	size_t nr_regions;
	const struct lazy_source *source;
	uint64_t around;
	uint64_t range;
	unsigned int deadline_ms;
	const uint64_t *order;
	size_t nr_order;
	void *arg;
	void (*on_fault)(void *arg, uint64_t offset);
	void (*on_fill)(void *arg, const struct lazy_stats *stats);
};

/**
 * enum lazy_state - state of a server
 * @LAZY_SERVING: not all memory is filled
 * @LAZY_FILLED: all memory is filled; events are still served
 * @LAZY_FAILED: nothing is served any more
 */
enum lazy_state { LAZY_SERVING = 0, LAZY_FILLED = 1, LAZY_FAILED = 2 };

struct lazy_server;

/**
 * lazy_server_new() - take over memory
 * @config: what to serve
 * @err: set on failure
 *
 * Verifies that the descriptor is a userfaultfd, and that each region is valid,
 * registered with it over its whole length, of the stated granule, within the
 * source, and does not overlap another one. (The registered modes cannot be
 * seen: a region without MISSING is not detected.) Makes the userfaultfd
 * non-blocking, also for other processes that share it.
 *
 * Some kernels before Linux 6.14 answer EEXIST to UFFDIO_COPY when the pool is
 * exhausted, as if the page were present. On kernels that may have this fault
 * the answer counts only if UFFDIO_CONTINUE confirms it (shared mappings) or
 * the fault does not come back; a page of a private mapping that is not touched
 * stays unfilled, and its restore fails at the deadline.
 *
 * Return: the server, or NULL: LAZY_E_ARGUMENT, _MEMORY, _SYSTEM, _UNSUPPORTED.
 */
struct lazy_server *lazy_server_new(const struct lazy_server_config *config,
				    struct lazy_error *err);

/**
 * lazy_server_free() - free a server
 * @s: the server, stopped; or NULL
 *
 * Closes the userfaultfds of children. Those of the caller stay open.
 */
void lazy_server_free(struct lazy_server *s);

/**
 * lazy_server_fd() - a descriptor to poll for POLLIN
 * @s: the server
 *
 * With lazy_server_step(): readable when there are faults or events. With
 * threads: readable when lazy_server_state() has changed since its last call.
 *
 * Return: the descriptor, which belongs to the server.
 */
int lazy_server_fd(const struct lazy_server *s);

/**
 * lazy_server_step() - do some of the work
 * @s: the server, without threads of its own
 * @timeout_ms: set to how long the caller may wait for lazy_server_fd() before
 *	the next step: 0 if there is more to do, -1 without a limit; may be NULL
 * @err: set on failure
 *
 * Reads a batch of faults and events, serves them, and if there are none fills
 * one range in the background. Never blocks, except in the source.
 *
 * Threads: one at a time.
 *
 * Return: 0, or -1 if the server has failed: then and from now on. LAZY_E_GONE
 * if the process whose memory is filled has exited.
 */
int lazy_server_step(struct lazy_server *s, int *timeout_ms,
		     struct lazy_error *err);

/**
 * lazy_server_start() - serve in threads
 * @s: the server
 * @threads: number of threads, 0: one per processor, at most 8
 * @err: set on failure
 *
 * From now until lazy_server_stop(), lazy_server_step() must not be called.
 *
 * A fault is served fastest on the processor on which it happened. If there is a
 * thread for each processor that the caller may run on, then each thread is
 * bound to one, unless the background fills memory.
 *
 * Return: 0, or -1: LAZY_E_SYSTEM, LAZY_E_ARGUMENT.
 */
int lazy_server_start(struct lazy_server *s, unsigned int threads,
		      struct lazy_error *err);

/**
 * lazy_server_stop() - end the threads
 * @s: the server
 *
 * Waits for the threads, each of which finishes the fault or range that it is
 * at. Faults that were read and not served are kept: the server can be
 * started again, or continued with lazy_server_step().
 */
void lazy_server_stop(struct lazy_server *s);

/**
 * lazy_server_state() - the state
 * @s: the server
 * @err: set if it has failed; may be NULL
 *
 * Threads: any.
 *
 * Return: enum lazy_state.
 */
enum lazy_state lazy_server_state(struct lazy_server *s,
				  struct lazy_error *err);

/**
 * lazy_server_background() - fill in the background from now on, or do not
 * @s: the server
 * @on: not 0: fill
 *
 * Threads: any.
 */
void lazy_server_background(struct lazy_server *s, int on);

/**
 * lazy_server_stats() - progress
 * @s: the server
 * @stats: set; its @size is set by the caller
 *
 * Threads: any. While threads serve, the members are of slightly different
 * times.
 */
void lazy_server_stats(struct lazy_server *s, struct lazy_stats *stats);

/**
 * lazy_server_poison() - give up
 * @s: the server, whose threads are stopped
 * @err: set on failure
 *
 * Poisons (UFFDIO_POISON) every page that is not filled, so that no access
 * waits for ever or reads zeroes: it gets SIGBUS, or EFAULT or EHWPOISON inside
 * a system call. A thread reads events meanwhile. The server has failed
 * afterwards.
 *
 * Return: 0, or -1: LAZY_E_UNSUPPORTED before Linux 6.6, LAZY_E_SYSTEM. Then
 * the process whose memory this is has to be killed.
 */
int lazy_server_poison(struct lazy_server *s, struct lazy_error *err);

/**
 * lazy_poison() - poison the absent pages of a range
 * @uffd: a userfaultfd with which the range is registered
 * @address: start of the range
 * @len: in bytes
 * @granule: page size of the mapping
 * @err: set on failure
 *
 * For the process whose memory it is, when its server has died. Pages that are
 * present stay. Takes a system call for each of them.
 *
 * Return: as for lazy_server_poison().
 */
int lazy_poison(int uffd, uint64_t address, uint64_t len, uint64_t granule,
		struct lazy_error *err);

/**
 * lazy_is_userfaultfd() - verify a descriptor that a peer has sent
 * @fd: the descriptor
 *
 * Needs /proc.
 *
 * Return: 1 if it is a userfaultfd, otherwise 0.
 */
int lazy_is_userfaultfd(int fd);

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_SERVER_H */
