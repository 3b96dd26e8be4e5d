/* SPDX-License-Identifier: GPL-2.0 */
/*
 * On-demand restore of a guest: one process runs the guest, another process
 * fills its memory from a snapshot as the guest touches it.
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
 * ALIVE and DONE may arrive in either order, or cross. Neither end closes the
 * socket before it has read everything that its peer sent, so that no message
 * is lost.
 *
 * The socket is of type SOCK_SEQPACKET. Both ends run the same version of this
 * library on the same host.
 *
 * Duties of the hypervisor:
 *
 * - Create the userfaultfd with O_NONBLOCK and O_CLOEXEC, and keep its own
 *   descriptor open until DONE. When the last descriptor is closed, the kernel
 *   resolves all waiting faults with zero-filled pages; as long as the
 *   hypervisor keeps its descriptor open, the faults wait.
 * - Register regions that are filled with COPY for MISSING, all others for
 *   MISSING and MINOR.
 * - Watch the socket while the guest runs. End of file before DONE, or FAILED,
 *   means that no further fault will be served: the guest must be stopped.
 * - Call lazy_finish() before closing the socket if the statistics are needed.
 *   Otherwise the socket may be closed at any time.
 *
 * Guarantees of the handler:
 *
 * - Faults have priority. Between faults the other pages are filled in ranges,
 *   in the order of a working set if there is one.
 * - No fault is lost. A fault that cannot be served yet (-EAGAIN while the
 *   hypervisor's mappings change, memory shortage) waits in a queue and is
 *   retried; a fault that is older than the deadline is a failure.
 * - If a page is already present (-EEXIST), its waiters are still woken.
 * - Memory is never written twice: changes made by the guest are kept.
 * - Every byte given to the guest has passed its checksum.
 * - REMOVE: discarded pages are filled with zeroes from then on; UNMAP: the
 *   range is left alone; FORK: the child's faults are served as well. This also
 *   holds after DONE, until the hypervisor finishes or closes the socket. These
 *   events arrive only if the hypervisor enabled them with UFFDIO_API. REMAP is
 *   a failure.
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
 * @LAZY_COPY: with UFFDIO_COPY; any memory type
 * @LAZY_PWRITE: with pwrite() to the memory's file, then UFFDIO_CONTINUE: shmem,
 *	guest_memfd created with GUEST_MEMFD_FLAG_PWRITE
 * @LAZY_ALIAS: through a mapping of the memory's file in the handler, then
 *	UFFDIO_CONTINUE: shmem, hugetlb
 */
enum lazy_populate { LAZY_COPY, LAZY_PWRITE, LAZY_ALIAS };

/**
 * struct lazy_region - a mapping of guest memory in the hypervisor
 * @address: start of the mapping in the hypervisor
 * @len: length in bytes, a multiple of @granule
 * @offset: of its first byte in the snapshot's memory, see snapshot.h
 * @fd_offset: of its first byte in the memory's file; unused for LAZY_COPY
 * @granule: page size of the mapping, and the number of bytes that one fault
 *	fills: a power of two, at least SNAP_CHUNK
 * @populate: enum lazy_populate
 * @zeropage: not 0: zero pages may be filled with UFFDIO_ZEROPAGE, which needs
 *	no memory where the kernel maps its shared zero page. Set it if
 *	UFFDIO_REGISTER reported the ioctl for this region.
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
 * struct lazy_stats - progress; pages are granules of their region
 * @pages: total number of pages in all regions
 * @demand: pages filled because of a fault
 * @background: pages filled ahead of any fault
 * @found: pages that were already present when they were to be filled
 * @faults: userfaultfd fault messages served
 * @parked: number of times a fault was queued for a retry
 * @removed: pages that were discarded (REMOVE) or unmapped (UNMAP)
 * @nanoseconds: since the handler received the userfaultfd; stops once all
 *	memory is filled
 * @alive_nanoseconds: when the handler read the message of lazy_alive(), which
 *	may be after all memory was filled; 0: not yet, and the next four
 *	members are not valid
 * @alive_demand: @demand at that time
 * @alive_background: @background at that time
 * @alive_found: @found at that time
 * @alive_faults: @faults at that time
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
 * enum lazy_event - a message from the handler
 * @LAZY_END: no message, the handler has exited; the reason is set
 * @LAZY_PROGRESS: pages were filled
 * @LAZY_DONE: all pages are filled; the next step is lazy_finish()
 * @LAZY_FAILED: the handler cannot continue; the reason is set
 */
enum lazy_event { LAZY_END, LAZY_PROGRESS, LAZY_DONE, LAZY_FAILED };

/**
 * lazy_hand_over() - give guest memory to a handler
 * @sock: socket connected to the handler
 * @uffd: the memory's userfaultfd, with all regions registered
 * @regions: the memory
 * @files: a file for each region, -1 for regions that are filled with COPY
 * @nr: number of regions and files, at most LAZY_MAX_REGIONS
 * @timeout_ms: how long to wait for the handler's answer
 * @reason: set on failure
 *
 * Returns when the handler is ready to serve faults. The caller keeps ownership
 * of all descriptors.
 *
 * Return: 0, or -1 with @reason set.
 */
int lazy_hand_over(int sock, int uffd, const struct lazy_region *regions,
		   const int *files, size_t nr, int timeout_ms,
		   struct reason *reason);

/**
 * lazy_receive() - read the handler's next message once @sock is readable
 * @sock: the socket passed to lazy_hand_over()
 * @stats: set by all events except LAZY_END
 * @reason: set by LAZY_END and LAZY_FAILED
 *
 * Return: the event.
 */
enum lazy_event lazy_receive(int sock, struct lazy_stats *stats,
			     struct reason *reason);

/**
 * lazy_alive() - tell the handler that the guest has resumed its work
 * @sock: the socket passed to lazy_hand_over()
 *
 * May be called at any time before lazy_finish(), by any thread; only the first
 * call counts. A handler with @background_when_alive starts to fill in the
 * background now. The alive_ members of the statistics record this moment.
 * Never blocks.
 */
void lazy_alive(int sock);

/**
 * lazy_finish() - shut down the connection
 * @sock: the socket passed to lazy_hand_over(); afterwards it can only be
 * 	closed
 * @timeout_ms: how long to wait for the handler's last message
 * @stats: updated by each message that is read; final with the last one
 * @reason: set on failure
 *
 * May be called before or after DONE. No fault is served afterwards, so the
 * guest must be stopped, or all its memory must be filled.
 *
 * Return: 0, or -1 if the handler failed, exited or did not answer in time.
 */
int lazy_finish(int sock, int timeout_ms, struct lazy_stats *stats,
		struct reason *reason);

/* ---- in the handler: lazy_handler.c ---- */

/**
 * struct lazy_options - how to serve; zero selects the default of each member
 * @range: bytes filled at once in the background (default 64 KiB), at least one
 *	page
 * @deadline_ms: maximum age of a fault (default 10000)
 * @order: fill these pages first; or NULL
 * @record: receives the faulted pages in the order of the faults; or NULL
 * @no_background: fill only pages that fault
 * @background_when_alive: fill only pages that fault until lazy_alive()
 * @progress: called after each page or range that was filled; or NULL
 * @arg: passed to @progress
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
 * @sock: socket connected to the hypervisor
 * @snap: the snapshot that holds the memory's content
 * @options: how to serve
 * @stats: set, also on failure
 * @reason: set on failure
 *
 * The caller closes @sock, on which nothing can be sent afterwards.
 *
 * Return: 0 when the hypervisor has called lazy_finish() or has closed its end
 * of the socket, which it may do at any time; -1 on a failure, which has been
 * reported to the hypervisor.
 */
int lazy_serve(int sock, const struct snapshot *snap,
	       const struct lazy_options *options, struct lazy_stats *stats,
	       struct reason *reason);

#endif /* LAZY_LAZY_H */
