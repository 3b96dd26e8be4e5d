/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small virtual machine monitor for /dev/kvm: boots Linux, saves it to a
 * file, and restores it, at once or on demand.
 *
 *	main.c		the commands
 *	memory.c	the guest's memory, of each type
 *	machine.c	the KVM objects and the vCPU loop
 *	boot.c		loads a bzImage according to its boot protocol
 *	uart.c		the serial port, the only device outside KVM
 *	state.c		saves and restores the state of the VM
 *	lazy.c		restores on demand, with a handler process
 *
 * The guest has one processor, at most 2 GiB of memory at address 0, KVM's
 * in-kernel interrupt controllers and timer, and a serial port.
 */
#ifndef VMM_H
#define VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <lazyrestore/lazyrestore.h>

#define MAX_MEMORY	(2ULL << 30)

/* Failures of the VMM are texts for people: all have the same code. */
#define because(err, fmt, ...) \
	lazy_error_set(err, LAZY_E_SYSTEM, fmt, ##__VA_ARGS__)

/* ---- memory.c ---- */

/* A memory type: an entry of the table in memory.c. */
struct kind {
	const char *name;
	size_t granule;			/* bytes filled per fault */
	enum lazy_populate populate;	/* for MINOR; LAZY_COPY: no MINOR */
	bool minor;
	int (*open)(int vm, size_t len);	/* its file, or -1 and errno */
};

struct memory {
	const struct kind *kind;
	char *host;			/* address of the mapping */
	size_t len;
	int fd;				/* -1 if it has none */
};

const struct kind *find_kind(const char *name);
const char *kind_names(void);
int memory_make(struct memory *memory, const struct kind *kind, int vm,
		size_t len, struct lazy_error *err);
void memory_free(struct memory *memory);

/* ---- uart.c ---- */

#define UART_PORT	0x3f8
#define UART_IRQ	4

/* A 16550A. All members are saved in snapshots. */
struct uart {
	uint8_t ier, lcr, mcr, fcr, scr, dll, dlm;
	uint8_t thr_empty;		/* interrupt pending for the guest */
};

uint8_t uart_read(struct uart *uart, uint16_t reg);
/* Returns the byte that was sent, or -1. */
int uart_write(struct uart *uart, uint16_t reg, uint8_t value);
bool uart_irq(const struct uart *uart);

/* ---- machine.c ---- */

struct machine {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	size_t run_len;
	struct memory memory;
	struct uart uart;
	bool irq_raised;

	/* The guest's output, line by line. */
	char line[256];
	size_t line_len;
	/* Called for each complete line; returning true stops the vCPU. */
	bool (*on_line)(void *arg, const char *line);
	void *on_line_arg;

	/* The vCPU's thread. */
	pthread_t thread;
	bool started;
	_Atomic bool stop;		/* set to stop the vCPU */
	_Atomic bool over;		/* it has stopped: the next two are set */
	bool good;			/* stopped by on_line() */
	struct lazy_error why;
	int ended;			/* eventfd, readable when over */

	/*
	 * Called by machine_stop() if the vCPU does not stop, since it waits
	 * inside the kernel for a page of memory; or NULL.
	 */
	void (*release)(struct machine *m);
	struct handler *handler;	/* of release() */
};

int machine_make(struct machine *m, const struct kind *kind, size_t len,
		 struct lazy_error *err);
void machine_free(struct machine *m);
/* Starts the vCPU in a thread of its own. */
int machine_start(struct machine *m, struct lazy_error *err);
/* Stops the vCPU and waits until it has stopped. */
void machine_stop(struct machine *m);
/* The CPUID that KVM supports, without paravirtual features. */
struct kvm_cpuid2 *machine_cpuid(struct machine *m, struct lazy_error *err);

/* ---- boot.c ---- */

int boot_linux(struct machine *m, const char *kernel, const char *initrd,
	       const char *cmdline, struct lazy_error *err);

/* ---- state.c ---- */

int state_save(struct machine *m, const char *path, struct lazy_error *err);
/* Everything except the memory. */
int state_load(struct machine *m, struct lazy_snap *snap,
	       struct lazy_error *err);
int state_load_memory(struct machine *m, struct lazy_snap *snap,
		      struct lazy_error *err);

/* ---- lazy.c ---- */

/* The handler of an on-demand restore. */
struct handler {
	int sock;			/* -1 if there is none; open until the
					 * vCPU has stopped
					 */
	int uffd;			/* open until all memory is filled */
	pid_t pid;
	bool done;			/* all memory is filled */
	uint64_t heard;			/* ms, its last message */
	struct lazy_handover_stats stats;
};

/* Registers the memory, starts a handler with @argv, hands over. */
int handler_begin(struct handler *h, struct machine *m, bool minor,
		  char *const argv[], struct lazy_error *err);
/*
 * Registers the memory, and hands it over to a daemon that listens on @path, in
 * the way of Firecracker: see uffd-serve(1). There are no messages of it.
 */
int handler_connect(struct handler *h, struct machine *m, const char *path,
		    struct lazy_error *err);
/*
 * Reads a message of the handler, if there is one; to be called ten times a
 * second until it is done. Fails if the handler failed, exited or hangs.
 */
int handler_watch(struct handler *h, struct machine *m, struct lazy_error *err);
/*
 * After the vCPU has stopped: ends the handler and gets its statistics. Fails
 * if the handler has failed or exited. @failed: the restore has failed already.
 */
int handler_end(struct handler *h, bool failed, struct lazy_error *err);

#endif /* VMM_H */
