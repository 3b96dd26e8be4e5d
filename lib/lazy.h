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
 *	lazy_finish()	-- end: shutdown(SHUT_WR) ----------->
 *			<-- CLOSED, or FAILED ---------------
 *	close						return
 *
 * ALIVE and DONE may come in either order, or cross. Neither end closes before it
 * has read all that the other one sent, so that no message is lost.
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
 * - Call lazy_finish() before it closes the socket, if it wants the statistics.
 *   It may close the socket without, at any time.
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
 *   left alone; FORK: the child's faults are served as well. All of this also
 *   after DONE, until the hypervisor finishes or closes the socket. Such events
 *   come only if the hypervisor asked for them in UFFDIO_API. REMAP is a failure.
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
 *	guest_memfd that was created with GUEST_MEMFD_FLAG_PWRITE
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
 * @nanoseconds: since the handler had the userfaultfd; no longer counted once all
 *	memory is filled
 * @alive_nanoseconds: when the handler read the message of lazy_alive(), which may
 *	be after all memory was filled; 0: not yet, and the next four mean nothing
 * @alive_demand: @demand then
 * @alive_background: @background then
 * @alive_found: @found then
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
	uint64_t alive_nanoseconds;
	uint64_t alive_demand;
	uint64_t alive_background;
	uint64_t alive_found;
	uint64_t alive_faults;
};

/* ---- in the hypervisor: lazy_socket.c ---- */

/**
 * enum lazy_event - a handler's message
 * @LAZY_END: none, the handler has gone; the reason is set
 * @LAZY_PROGRESS: pages were filled
 * @LAZY_DONE: all of them are; the next step is lazy_finish()
 * @LAZY_FAILED: the handler cannot go on; the reason is set
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
 * lazy_receive() - read the handler's next message, when @sock is readable
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
 * At any time before lazy_finish(), by any thread; only the first call counts. From
 * then on a handler that was told to wait fills in the background. Its statistics
 * keep the numbers of that moment. Never blocks.
 */
void lazy_alive(int sock);

/**
 * lazy_finish() - end the conversation
 * @sock: as of lazy_hand_over(); afterwards it is of no use but to be closed
 * @timeout_ms: for the handler's last message
 * @stats: set by each message that is read, the last one has all
 * @reason: set on failure
 *
 * At any time, before or after DONE. Faults are served no longer, so the guest has
 * been stopped or has all its memory. Returns -1 if the handler failed, has gone or
 * did not answer in time.
 */
int lazy_finish(int sock, int timeout_ms, struct lazy_stats *stats,
		struct reason *reason);

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
 * Returns 0 when the hypervisor has called lazy_finish() or has closed its end of
 * the socket, which it may do at any time; -1 on a failure, which the hypervisor
 * has been told. The caller closes @sock, on which nothing can be sent any more.
 */
int lazy_serve(int sock, const struct snapshot *snap,
	       const struct lazy_options *options, struct lazy_stats *stats,
	       struct reason *reason);

#endif /* LAZY_LAZY_H */
