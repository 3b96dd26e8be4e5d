/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The demonstration: a file served lazily through userfaultfd.
 *
 * For each kind of memory and each mode it takes two processes, as a hypervisor
 * that restores a guest has them. The client makes the mapping and a
 * userfaultfd for it, hands the userfaultfd over and touches its memory. The
 * handler owns the file and fills what the client touches.
 *
 *	client (client.c)			handler (handler.c)
 *	mmap, userfaultfd, REGISTER
 *	     ---- struct hello, fds: userfaultfd, memory's file ---->
 *						MINOR: writes stale pages
 *	     <---- go ----------------------------------------------
 *	touches a page: fault
 *	     ---- userfaultfd: struct uffd_msg --------------------->
 *						COPY, CONTINUE or WRITEPROTECT
 *	... until all were touched
 *	     ---- struct result: sha256 of the memory -------------->
 */
#ifndef SERVE_H
#define SERVE_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long the handler waits for the client's next step. */
#define DEADLINE_MS	60000

/* One way to serve memory: what is armed, and so which ioctl resolves. */
struct mode {
	const char *name;
	uint64_t armed;			/* UFFDIO_REGISTER_MODE_* */
};

enum { MISSING, MINOR, MISSING_WP, NR_MODES };
extern const struct mode modes[NR_MODES];

/* One kind of memory. A new kind is a new line of the table in memory.c. */
struct memory {
	const char *name;
	size_t granule;			/* bytes filled per fault */
	int (*open)(size_t len);	/* its file, -1 and errno on failure; or NULL */
	int flags;			/* of the client's mmap() */
	unsigned int modes;		/* those that apply: bits 1 << MISSING ... */
	void *(*attach)(size_t len);	/* instead of mmap(), and like it; or NULL */
};

extern const struct memory memories[];
extern const size_t nr_memories;

#define SHA256_LEN	64		/* in hex digits */

/* A step of the client that failed: its name, "" if none did, and errno. */
struct failure {
	char step[24];
	int error;
};

struct hello {
	struct failure failure;
	uint64_t start, len;		/* of the mapping, bytes */
	uint64_t ioctls;		/* the kernel's answer to UFFDIO_REGISTER */
};

struct result {
	struct failure failure;
	char sha256[SHA256_LEN + 1];
};

/* What the handler has of the client's memory. */
struct served {
	const struct memory *memory;
	const struct mode *mode;
	uint64_t start, len;
	uint64_t ioctls;
	int file;			/* the content */
	int uffd;
	int memory_fd;			/* the memory's own file, or -1 */
	char *alias;			/* MINOR: it, mapped by the handler */
	char *page;			/* one granule of content */
	unsigned long missing, minor, wp;	/* faults served */
};

/*
 * Runs in a process of its own, never returns. @size bytes of content are
 * hashed; the memory is longer, up to the next whole granule.
 */
void client(int sock, const struct memory *memory, const struct mode *mode,
	    size_t size, unsigned int seed) __attribute__((noreturn));

/*
 * Serves one client until it reports a result or the deadline passes.
 * Returns 0 with *@result, or -1 with the reason in @why.
 */
int serve_client(int sock, struct served *served, struct result *result,
		 char *why, size_t why_len);

#endif /* SERVE_H */
