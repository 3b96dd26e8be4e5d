/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A protocol between a hypervisor and a handler process, for hypervisors that
 * have none: the hypervisor hands over the userfaultfd of its memory, and gets
 * progress and failures. (The daemon uffd-serve does not use it.)
 *
 *	hypervisor				handler
 *	mmap, userfaultfd, REGISTER
 *	lazy_handover_send()
 *			-- hello, descriptors ----->	lazy_handover_serve()
 *			<-- READY -----------------
 *	runs the guest: faults
 *			-- userfaultfd ----------->	COPY, CONTINUE
 *	lazy_handover_receive()
 *			<-- PROGRESS --------------	at least once a second
 *	lazy_handover_alive()
 *			-- ALIVE ----------------->
 *			<-- DONE ------------------
 *	UNREGISTER
 *	lazy_handover_finish()
 *			-- end: shutdown(SHUT_WR) ->
 *			<-- CLOSED, or FAILED -----
 *	close						return
 *
 * ALIVE and DONE may arrive in either order, or cross. Neither end closes the
 * socket before it has read everything that its peer sent, so that no message
 * is lost. The socket is of type SOCK_SEQPACKET. Both ends run the same version
 * of the library on the same host.
 *
 * Duties of the hypervisor:
 *
 * - Create the userfaultfd with O_CLOEXEC, and keep its own descriptor open
 *   until DONE: when the last one is closed, the kernel resolves all faults
 *   with zeroes.
 * - Read the socket while the guest runs. After LAZY_EVENT_END, or if no
 *   message arrived for LAZY_HANDOVER_SILENCE_MS, no fault is served any more:
 *   stop the guest, and poison its memory with lazy_poison(), since a fault
 *   inside the kernel cannot be interrupted by a signal. After
 *   LAZY_EVENT_FAILED, the handler has poisoned it.
 *
 * The handler never waits for the hypervisor without a limit, and believes
 * nothing that it sends: see lazy_handover_serve().
 */
#ifndef LAZYRESTORE_HANDOVER_H
#define LAZYRESTORE_HANDOVER_H

#include <stddef.h>
#include <stdint.h>

#include <lazyrestore/error.h>
#include <lazyrestore/server.h>
#include <lazyrestore/source.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAZY_HANDOVER_MAX_REGIONS	16
/** LAZY_HANDOVER_BEAT_MS - a handler sends a message at least this often */
#define LAZY_HANDOVER_BEAT_MS		1000
/** LAZY_HANDOVER_SILENCE_MS - a handler that sends nothing for so long hangs */
#define LAZY_HANDOVER_SILENCE_MS	10000

/**
 * struct lazy_handover_stats - statistics of a handler
 * @now: now; final with CLOSED
 * @alive: as @now when the handler read the message of lazy_handover_alive(),
 *	which may be after all memory was filled; @alive.nanoseconds is then the
 *	time of it. All zero: not yet.
 */
struct lazy_handover_stats {
	struct lazy_stats now;
	struct lazy_stats alive;
};

/* ---- in the hypervisor ---- */

/**
 * enum lazy_event - a message from the handler
 * @LAZY_EVENT_END: no further message, the handler has exited, or sent
 *	something that is not a message; the error is set
 * @LAZY_EVENT_PROGRESS: it is alive, and pages may have been filled
 * @LAZY_EVENT_DONE: all pages are filled; the next step is
 *	lazy_handover_finish()
 * @LAZY_EVENT_FAILED: the handler cannot continue; the error is set
 * @LAZY_EVENT_NONE: no message at the moment
 */
enum lazy_event {
	LAZY_EVENT_END, LAZY_EVENT_PROGRESS, LAZY_EVENT_DONE,
	LAZY_EVENT_FAILED, LAZY_EVENT_NONE,
};

/**
 * lazy_handover_send() - give memory to a handler
 * @sock: socket connected to the handler
 * @uffd: the memory's userfaultfd, with all regions registered
 * @regions: the memory
 * @region_size: sizeof(struct lazy_region)
 * @nr: number of regions, at most LAZY_HANDOVER_MAX_REGIONS
 * @timeout_ms: how long to wait for the handler's answer
 * @err: set on failure
 *
 * Returns when the handler is ready to serve faults. The caller keeps ownership
 * of all descriptors.
 *
 * Threads: one at a time for each socket; the same applies to the other
 * functions of the hypervisor, except lazy_handover_alive().
 *
 * Return: 0, or -1 with @err set.
 */
int lazy_handover_send(int sock, int uffd, const struct lazy_region *regions,
		       size_t region_size, size_t nr, int timeout_ms,
		       struct lazy_error *err);

/**
 * lazy_handover_receive() - read the handler's next message
 * @sock: the socket passed to lazy_handover_send()
 * @stats: set by all events except LAZY_EVENT_END and LAZY_EVENT_NONE
 * @err: set by LAZY_EVENT_END and LAZY_EVENT_FAILED
 *
 * Never blocks.
 *
 * Return: the event.
 */
enum lazy_event lazy_handover_receive(int sock,
				      struct lazy_handover_stats *stats,
				      struct lazy_error *err);

/**
 * lazy_handover_alive() - tell the handler that the guest has resumed its work
 * @sock: the socket passed to lazy_handover_send()
 *
 * Only the first call counts. A handler with @background_when_alive starts to
 * fill in the background now. Never blocks.
 *
 * Threads: any, at any time before lazy_handover_finish().
 */
void lazy_handover_alive(int sock);

/**
 * lazy_handover_finish() - end the exchange
 * @sock: the socket passed to lazy_handover_send(); afterwards it can only be
 *	closed
 * @timeout_ms: how long to wait for the handler's last message
 * @stats: updated by each message that is read; final with the last one
 * @err: set on failure
 *
 * May be called before or after DONE. No fault is served afterwards, so the
 * guest must be stopped, or all its memory must be filled.
 *
 * Return: 0, or -1 if the handler failed, exited or did not answer in time.
 */
int lazy_handover_finish(int sock, int timeout_ms,
			 struct lazy_handover_stats *stats,
			 struct lazy_error *err);

/* ---- in the handler ---- */

/**
 * struct lazy_handover_options - how to serve; zero is the default of each
 * member except @size
 * @size: sizeof(struct lazy_handover_options)
 * @threads: number of threads that serve; 0: the calling thread
 * @server: flags, around, range, deadline, order and callbacks of the server;
 *	its other members are not used; or NULL
 * @background_when_alive: not 0: fill in the background only after
 *	lazy_handover_alive()
 * @keep_waiting: not 0: do not poison the memory after a failure
 */
struct lazy_handover_options {
	size_t size;
	unsigned int threads;
	const struct lazy_server_config *server;
	int background_when_alive;
	int keep_waiting;
};

/**
 * lazy_handover_serve() - take over memory, and serve it to the end
 * @sock: socket connected to the hypervisor
 * @source: the content
 * @options: how to serve
 * @stats: set, also on failure
 * @err: set on failure
 *
 * Verifies what the hypervisor sends: the number and the types of the
 * descriptors, the length of memory files, and the regions as described at
 * lazy_server_new(). The caller closes @sock, on which nothing can be sent
 * afterwards.
 *
 * Return: 0 when the hypervisor has called lazy_handover_finish() or has closed
 * its end of the socket, which it may do at any time; -1 on a failure, which
 * has been reported to the hypervisor.
 */
int lazy_handover_serve(int sock, const struct lazy_source *source,
			const struct lazy_handover_options *options,
			struct lazy_handover_stats *stats,
			struct lazy_error *err);

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_HANDOVER_H */
