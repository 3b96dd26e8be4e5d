/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The demonstration: a file served lazily through userfaultfd.
 *
 * Each memory type and mode is run by two processes, as in a hypervisor that
 * restores a guest. The client creates the mapping and a userfaultfd for it,
 * hands the userfaultfd over and touches its memory. The handler owns the file
 * and fills the pages that the client touches.
 *
 *	client (client.c)			handler (handler.c)
 *	mmap, userfaultfd, REGISTER
 *	     ---- struct hello, fds: userfaultfd, memory's file ---->
 *						MINOR: writes stale pages
 *	     <---- go ----------------------------------------------
 *	touches a page: fault
 *	     ---- userfaultfd: struct uffd_msg --------------------->
 *						COPY, CONTINUE or WRITEPROTECT
 *	... until all pages were touched
 *	     ---- struct result: sha256 of the memory -------------->
 */
#ifndef SERVE_H
#define SERVE_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maximum time that the handler waits for the client's next step. */
#define DEADLINE_MS	60000

/* A mode of registration; it selects the ioctl that resolves the faults. */
struct mode {
	const char *name;
	uint64_t armed;			/* UFFDIO_REGISTER_MODE_* */
};

enum { MISSING, MINOR, MISSING_WP, NR_MODES };
extern const struct mode modes[NR_MODES];

/* A memory type: an entry of the table in memory.c. */
struct memory {
	const char *name;
	size_t granule;			/* bytes filled per fault */
	int (*open)(size_t len);	/* its file, -1 and errno on failure; or NULL */
	int flags;			/* of the client's mmap() */
	unsigned int modes;		/* bits 1 << MISSING ... that apply */
	void *(*attach)(size_t len);	/* replaces mmap(), or NULL */
};

extern const struct memory memories[];
extern const size_t nr_memories;

#define SHA256_LEN	64		/* in hex digits */

/* The client's failed step, "" if none failed, and its errno. */
struct failure {
	char step[24];
	int error;
};

struct hello {
	struct failure failure;
	uint64_t start, len;		/* of the mapping, bytes */
	uint64_t ioctls;		/* as reported by UFFDIO_REGISTER */
};

struct result {
	struct failure failure;
	char sha256[SHA256_LEN + 1];
};

/* The handler's view of the client's memory. */
struct served {
	const struct memory *memory;
	const struct mode *mode;
	uint64_t start, len;
	uint64_t ioctls;
	int file;			/* the content */
	int uffd;
	int memory_fd;			/* the memory's own file, or -1 */
	unsigned long missing, minor, wp;	/* faults served */
};

/*
 * Runs in a separate process and never returns. Hashes @size bytes of content;
 * the memory is rounded up to a multiple of the granule.
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
