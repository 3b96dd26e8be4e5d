/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Restoring a guest on demand: one process runs the guest, another one fills
 * its memory from a snapshot as the guest touches it.
 *
 *	hypervisor				handler
 *	mmap, userfaultfd, REGISTER
 *	lazy_hand_over() -- hello, fds: userfaultfd, files -->	lazy_serve()
 *			<-- READY ---------------------------
 *	runs the guest: faults
 *			-- userfaultfd: struct uffd_msg ----->
 *						COPY, or populate and CONTINUE
 *	lazy_receive()	<-- PROGRESS ------------------------
 *	lazy_alive()	-- ALIVE ---------------------------->
 *			<-- DONE ----------------------------
 *	UNREGISTER
 *
 * The socket is of type SOCK_SEQPACKET. Both ends run the same version of this
 * library on the same machine.
 *
 * What the hypervisor has to do:
 *
 * - Create the userfaultfd O_NONBLOCK and O_CLOEXEC, and keep it open itself
 *   until DONE. If the last one who holds it dies, the kernel lets all waiters
 *   go on with pages of zeroes; as long as the hypervisor holds it they wait.
 * - Register regions that are filled with COPY for MISSING, all others for
 *   MISSING and MINOR.
 * - Watch the socket while the guest runs. Its end before DONE, or FAILED, means
 *   that no further fault will be served: the guest must be stopped.
 *
 * What the handler promises:
 *
 * - Faults come first. Between them the rest is filled in ranges, in the order
 *   of a working set if it has one.
 * - No fault is lost. One that cannot be served yet (-EAGAIN while the
 *   hypervisor's mappings change, memory that is short) waits in a queue and is
 *   tried again; if it is older than a deadline, that is a failure.
 * - A page that is there already (-EEXIST) still has its waiters woken.
 * - Memory is never written twice: what the guest may have changed stays.
 * - No byte is given to the guest whose checksum was not right.
 * - REMOVE: what was given up is filled with zeroes from then on; UNMAP: it is
 *   left alone; FORK: the child's faults are served as well, also after DONE,
 *   until the hypervisor closes the socket. Such events come only if the
 *   hypervisor asked for them in UFFDIO_API. REMAP is a failure.
 */
#ifndef LAZY_LAZY_H
#define LAZY_LAZY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reason.h"
#include "snapshot.h"
#include "workingset.h"

#define LAZY_MAX_REGIONS	16

/**
 * enum lazy_populate - how the pages of a region are filled
 * @LAZY_COPY: with UFFDIO_COPY; memory of any kind
 * @LAZY_PWRITE: with pwrite() to the memory's file, then UFFDIO_CONTINUE: shmem,
 *	guest_memfd
 * @LAZY_ALIAS: through a mapping of the memory's file in the handler, then
 *	UFFDIO_CONTINUE: shmem, hugetlb
 */
enum lazy_populate { LAZY_COPY, LAZY_PWRITE, LAZY_ALIAS };

/**
 * struct lazy_region - a mapping of guest memory in the hypervisor
 * @address: where it is mapped there
 * @len: bytes, a multiple of @granule
 * @offset: of its first byte in the snapshot's memory, see snapshot.h
 * @fd_offset: of its first byte in the memory's file; unused for LAZY_COPY
 * @granule: page size of the mapping, which is what one fault fills: a power of
 *	two, SNAP_CHUNK at least
 * @populate: enum lazy_populate
 * @zeropage: not 0: pages of zeroes may be filled with UFFDIO_ZEROPAGE, which
 *	needs no memory where the kernel has one page of zeroes for all: what
 *	UFFDIO_REGISTER answered says whether the region knows it
 */
struct lazy_region {
	uint64_t address;
	uint64_t len;
	uint64_t offset;
	uint64_t fd_offset;
	uint32_t granule;
	uint32_t populate;
	uint32_t zeropage;
	uint32_t reserved;
};

/**
 * struct lazy_stats - how far it is; pages are granules of their region
 * @pages: of all regions
 * @demand: filled because of a fault
 * @background: filled before anybody asked
 * @found: were there already when they were to be filled
 * @faults: messages of the userfaultfd that were served
 * @parked: times that a fault had to wait for another try
 * @removed: pages that were given up (REMOVE) or went away (UNMAP)
 * @nanoseconds: since the handler had the userfaultfd
 * @alive_demand: @demand when lazy_alive() was called
 * @alive_background: @background then
 * @alive_faults: @faults then
 */
struct lazy_stats {
	uint64_t pages;
	uint64_t demand;
	uint64_t background;
	uint64_t found;
	uint64_t faults;
	uint64_t parked;
	uint64_t removed;
	uint64_t nanoseconds;
	uint64_t alive_demand;
	uint64_t alive_background;
	uint64_t alive_faults;
};

/* ---- in the hypervisor: lazy_socket.c ---- */

/**
 * enum lazy_event - what a handler says
 * @LAZY_END: nothing any more, it has gone; the reason is set
 * @LAZY_PROGRESS: pages were filled
 * @LAZY_DONE: all of them are; nothing will follow but LAZY_END
 * @LAZY_FAILED: it cannot go on; the reason is set
 */
enum lazy_event { LAZY_END, LAZY_PROGRESS, LAZY_DONE, LAZY_FAILED };

/**
 * lazy_hand_over() - give guest memory to a handler
 * @sock: connected to it
 * @uffd: the memory's userfaultfd, with all regions registered
 * @regions: the memory
 * @files: a file for each region, -1 where it is filled with COPY
 * @nr: of both, LAZY_MAX_REGIONS at most
 * @timeout_ms: for the handler's answer
 * @reason: set on failure
 *
 * Returns when the handler is ready to serve faults. All descriptors stay the
 * caller's.
 */
int lazy_hand_over(int sock, int uffd, const struct lazy_region *regions,
		   const int *files, size_t nr, int timeout_ms,
		   struct reason *reason);

/**
 * lazy_receive() - hear what the handler says, when @sock is readable
 * @sock: as of lazy_hand_over()
 * @stats: set by all but LAZY_END
 * @reason: set by LAZY_END and LAZY_FAILED
 */
enum lazy_event lazy_receive(int sock, struct lazy_stats *stats,
			     struct reason *reason);

/**
 * lazy_alive() - tell the handler that the guest does its work again
 * @sock: as of lazy_hand_over()
 *
 * From here on a handler that was told to wait fills in the background, and its
 * statistics keep what it took until here.
 */
void lazy_alive(int sock);

/* ---- in the handler: lazy_handler.c ---- */

/**
 * struct lazy_options - how to serve; all zero is good
 * @range: bytes filled at once in the background (64 KiB); a page at least
 * @deadline_ms: how old a fault may become (10000)
 * @order: fill these pages first; or NULL
 * @record: gets the pages that were asked for, in that order; or NULL
 * @no_background: fill what is asked for, and nothing else
 * @background_when_alive: fill nothing else before lazy_alive()
 * @progress: is called after each page or range that was filled; or NULL
 * @arg: for @progress
 */
struct lazy_options {
	size_t range;
	unsigned int deadline_ms;
	const struct working_set *order;
	struct working_set *record;
	bool no_background;
	bool background_when_alive;
	void (*progress)(void *arg, const struct lazy_stats *stats);
	void *arg;
};

/**
 * lazy_serve() - fill a guest's memory
 * @sock: connected to the hypervisor
 * @snap: where the memory comes from
 * @options: how
 * @stats: set, also on failure
 * @reason: set on failure
 *
 * Returns 0 when all memory is filled, or when the hypervisor has closed its
 * end of the socket, which is its right at any time. The hypervisor has been
 * told of a failure.
 */
int lazy_serve(int sock, const struct snapshot *snap,
	       const struct lazy_options *options, struct lazy_stats *stats,
	       struct reason *reason);

#endif /* LAZY_LAZY_H */
