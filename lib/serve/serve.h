/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * uffd-serve: private to its files.
 *
 *	main.c		command line
 *	listener.c	accepts VMMs, and starts a process for each
 *	control.c	answers requests for statistics
 *	socket.c	Unix sockets: stale paths, credentials of peers
 *	guard.c		the process of a VM: takes over, poisons
 *	vm.c		serves one VM, in a child of that process
 *	handover.c	receives Firecracker's message; json.c parses it
 *	content.c	memory file or snapshot
 *	report.c	statistics
 *	sandbox.c	seccomp
 *
 *	listener --- guard --- server threads	(of VM 1)
 *		\--- guard --- server threads	(of VM 2)
 *
 * The listener has nothing of a VM. The guard only waits: if the server is
 * killed, it poisons what was not filled.
 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include <lazyrestore/error.h>
#include <lazyrestore/server.h>
#include <lazyrestore/source.h>

#include "handover.h"

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* ---- main.c ---- */

/**
 * struct options - the command line
 * @socket: path of the socket for VMMs
 * @control: path of the control socket, or NULL
 * @memory: raw memory file, or NULL
 * @base: base of the memory file, or NULL
 * @snapshot: snapshot of this library, or NULL
 * @uids: users whose VMMs are served
 * @nr_uids: number of them
 * @threads: threads for each VM
 * @timeout_ms: for the hand-over
 * @signal: sent to the VMM on failure, or 0
 * @other_users: @uids has not only our own
 * @once: end after one VM
 * @no_background: fill pages only when they are touched
 * @no_sandbox: no seccomp filter
 */
struct options {
	const char *socket, *control;
	const char *memory, *base, *snapshot;
	uid_t uids[64];
	size_t nr_uids;
	unsigned int threads;
	int timeout_ms;
	int signal;
	bool other_users, once, no_background, no_sandbox;
};

/* ---- content.c ---- */

struct content;

/**
 * content_open() - open the memory file or the snapshot
 * @options: names of the files
 * @error: set on failure
 *
 * Return: the content, which content_close() frees, or NULL.
 */
struct content *content_open(const struct options *options,
			     struct lazy_error *error);

/** content_source() - the content as a source of pages */
const struct lazy_source *content_source(const struct content *content);

/** content_unchanged() - 0, or -1 with @error set if a file was changed */
int content_unchanged(const struct content *content, struct lazy_error *error);

/** content_close() - close the files */
void content_close(struct content *content);

/* ---- report.c ---- */

/**
 * say() - print a line on stderr, with the name of the program
 * @fmt: format as for printf()
 */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * enum phase - of a VM
 * @PHASE_HANDOVER: waiting for the message of the VMM
 * @PHASE_SERVING: not all memory is filled
 * @PHASE_FILLED: all memory is filled
 * @PHASE_FAILED: what was missing is poisoned
 */
enum phase { PHASE_HANDOVER, PHASE_SERVING, PHASE_FILLED, PHASE_FAILED };

/**
 * struct report - statistics of a VM, in memory shared with the listener
 * @phase: enum phase
 * @vmm: pid of the VMM
 * @words: of struct lazy_stats; each is replaced on its own
 *
 * The listener does not trust it: it only prints the numbers.
 */
#define REPORT_WORDS	(sizeof(struct lazy_stats) / sizeof(uint64_t))
struct report {
	_Atomic uint32_t phase;
	_Atomic uint64_t vmm;
	_Atomic uint64_t words[REPORT_WORDS];
};

/** report_new() - allocate a report that children inherit, or NULL */
struct report *report_new(void);

/** report_write() - replace the phase and the statistics */
void report_write(struct report *report, enum phase phase,
		  const struct lazy_stats *stats);

/**
 * report_print() - a report as a JSON object
 * @report: may be written by another process meanwhile
 * @pid: of the process that serves the VM
 * @buf: at least REPORT_MAX bytes
 *
 * Return: number of bytes without the terminating zero.
 */
#define REPORT_MAX	640
size_t report_print(const struct report *report, pid_t pid, char *buf);

/* ---- guard.c ---- */

/**
 * struct vm - a VM
 * @options: the command line
 * @content: its memory
 * @sock: the connection of its VMM
 * @vmm: pid of the VMM, 0 if it is not visible
 * @pidfd: of the VMM, or -1
 * @report: receives the statistics
 * @handover: the userfaultfd and the regions
 * @regions: the regions, as the library takes them; NULL: not received
 */
struct vm {
	const struct options *options;
	const struct content *content;
	int sock;
	pid_t vmm;
	int pidfd;
	struct report *report;
	struct handover *handover;
	struct lazy_region *regions;
};

/**
 * guard_main() - the process of a VM
 * @vm: its options, content, sock, vmm and report are set
 * @signals: signalfd for SIGCHLD, SIGINT, SIGTERM and SIGUSR1, which are
 *	blocked
 *
 * Return: exit status: 0 if the VM has ended, VM_REFUSED if the hand-over was
 * refused, VM_FAILED if it could not be served up to its end.
 */
#define VM_FAILED	1
#define VM_REFUSED	3
int guard_main(struct vm *vm, int signals);

/* ---- vm.c ---- */

/**
 * vm_serve() - serve a VM until it ends
 * @vm: all members are set
 * @signals: as for guard_main()
 *
 * Return: exit status, as for guard_main().
 */
int vm_serve(struct vm *vm, int signals);

/**
 * vm_give_up() - poison what is not filled, and signal the VMM
 * @vm: regions may be NULL: not known
 * @server: stopped, or NULL
 * @what: "refused" or "failed", is printed
 * @why: is printed
 *
 * Does neither if no userfaultfd was received.
 */
void vm_give_up(struct vm *vm, struct lazy_server *server, const char *what,
		const char *why);

/* ---- listener.c ---- */

/**
 * listener_main() - serve VMs until a signal ends it
 * @options: the command line
 * @content: the memory
 *
 * Return: exit status.
 */
int listener_main(const struct options *options, const struct content *content);

/* ---- socket.c ---- */

/**
 * struct path_socket - a listening socket that has a path
 * @fd: the socket, -1: none
 * @path: its path
 * @dev: device of the path, to remove no other
 * @ino: inode of the path
 */
struct path_socket {
	int fd;
	const char *path;
	dev_t dev;
	ino_t ino;
};

/**
 * socket_listen() - listen on a path
 * @path: a socket that no process listens on is replaced, anything else is not
 * @mode: permissions of the path
 * @socket: set
 * @error: set on failure
 *
 * Return: 0, or -1 with @error set.
 */
int socket_listen(const char *path, mode_t mode, struct path_socket *socket,
		  struct lazy_error *error);

/** socket_close() - close the socket, and remove its path if it is ours */
void socket_close(struct path_socket *socket);

/**
 * socket_accept() - accept a connection and check the credentials of its peer
 * @socket: the listening socket
 * @uids: users that may connect
 * @nr: number of them
 * @pid: set to the process that connected, 0 if it is not visible
 *
 * Return: the connection, or -1: none, or one that was refused and reported.
 */
int socket_accept(const struct path_socket *socket, const uid_t *uids,
		  size_t nr, pid_t *pid);

/* ---- control.c ---- */

#define CONTROL_CLIENTS		8
#define CONTROL_REQUEST		64	/* bytes */
#define CONTROL_TIMEOUT_MS	5000

/**
 * struct control_client - a connection to the control socket
 * @fd: the connection, -1: free
 * @until: when it is closed, see now_ms()
 * @len: bytes of @request
 * @request: what it has sent
 * @answer: allocated, NULL: the request is not complete
 * @answer_len: in bytes
 * @sent: bytes of it that were sent
 */
struct control_client {
	int fd;
	uint64_t until;
	size_t len;
	char request[CONTROL_REQUEST];
	char *answer;
	size_t answer_len, sent;
};

/**
 * typedef control_answer - statistics of all VMs
 * @arg: passed by the caller
 * @len: set to the length of the answer
 *
 * Return: JSON, allocated with malloc(), or NULL.
 */
typedef char *control_answer(void *arg, size_t *len);

/**
 * control_step() - continue with a client
 * @client: readable or writable, or its time is over
 * @answer: called once the request is complete
 * @arg: passed to @answer
 *
 * Never blocks. Closes the connection when it is done, which frees the client.
 */
void control_step(struct control_client *client, control_answer *answer,
		  void *arg);

/** control_close() - free a client */
void control_close(struct control_client *client);

/* ---- sandbox.c ---- */

/**
 * enum sandbox - what a process may do
 * @SANDBOX_LISTENER: accept connections, and start processes
 * @SANDBOX_GUARD: receive a hand-over, and start the server
 * @SANDBOX_SERVER: fill memory, in threads
 */
enum sandbox { SANDBOX_LISTENER, SANDBOX_GUARD, SANDBOX_SERVER };

/**
 * sandbox_enter() - allow only the system calls that the process needs
 * @which: enum sandbox; each one allows a part of what the one before it does
 * @error: set on failure
 *
 * Any other system call kills the process.
 *
 * Return: 0, or -1 with @error set.
 */
int sandbox_enter(enum sandbox which, struct lazy_error *error);

#endif /* SERVE_SERVE_H */
