/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small virtual machine monitor on /dev/kvm: boots Linux, saves it to a file,
 * and restores it, at once or on demand.
 *
 *	main.c		the commands
 *	memory.c	the guest's memory, of any kind
 *	machine.c	the KVM objects, and the loop of the vCPU
 *	boot.c		puts a bzImage into the memory, as its boot protocol wants
 *	uart.c		the serial port, the guest's only device outside of KVM
 *	state.c		what of the machine goes into a snapshot
 *	lazy.c		restores on demand, with a handler in another process
 *
 * The guest has one processor, at most 2 GiB of memory from address 0 on, the
 * interrupt controllers and the timer that KVM brings, and a serial port.
 */
#ifndef VMM_H
#define VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/lazy.h"
#include "../lib/reason.h"
#include "../lib/snapshot.h"

#define MAX_MEMORY	(2ULL << 30)

/* ---- memory.c ---- */

/* A kind of memory. A new one is a new line of the table in memory.c. */
struct kind {
	const char *name;
	size_t granule;			/* bytes filled at once */
	enum lazy_populate populate;	/* how MINOR fills it, if it can */
	bool minor;
	int (*open)(int vm, size_t len);	/* its file, or -1 and errno */
};

struct memory {
	const struct kind *kind;
	char *host;			/* where it is mapped */
	size_t len;
	int fd;				/* -1 if it has none */
};

const struct kind *find_kind(const char *name);
const char *kind_names(void);
int memory_make(struct memory *memory, const struct kind *kind, int vm,
		size_t len, struct reason *reason);
void memory_free(struct memory *memory);

/* ---- uart.c ---- */

#define UART_PORT	0x3f8
#define UART_IRQ	4

/* A 16550A. All that is in it is state that a snapshot keeps. */
struct uart {
	uint8_t ier, lcr, mcr, fcr, scr, dll, dlm;
	uint8_t thr_empty;		/* and the guest has not been told */
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

	/* What the guest says, line by line. */
	char line[256];
	size_t line_len;
	/* Called with each whole line; true stops the vCPU. */
	bool (*heard)(void *arg, const char *line);
	void *heard_arg;

	/* The vCPU's thread. */
	pthread_t thread;
	bool started;
	volatile bool stop;		/* somebody wants it to end */
	bool over;			/* it has ended: how is in why */
	bool good;			/* because of heard() */
	struct reason why;
	int ended;			/* an eventfd: readable when over */
};

int machine_make(struct machine *m, const struct kind *kind, size_t len,
		 struct reason *reason);
void machine_free(struct machine *m);
/* Starts the vCPU in a thread of its own. */
int machine_start(struct machine *m, struct reason *reason);
/* Makes it stop, wherever it is, and waits until it has. */
void machine_stop(struct machine *m);
/* The CPUID that KVM supports, less what a guest might take from KVM itself. */
struct kvm_cpuid2 *machine_cpuid(struct machine *m, struct reason *reason);

/* ---- boot.c ---- */

int boot_linux(struct machine *m, const char *kernel, const char *initrd,
	       const char *cmdline, struct reason *reason);

/* ---- state.c ---- */

int state_save(struct machine *m, const char *path, struct reason *reason);
/* All but the memory. */
int state_load(struct machine *m, const struct snapshot *snap,
	       struct reason *reason);
int state_load_memory(struct machine *m, const struct snapshot *snap,
		      struct reason *reason);

/* ---- lazy.c ---- */

/* A restore on demand, as the hypervisor sees it. */
struct lazy {
	int sock;			/* to the handler, -1: there is none;
					 * open until the vCPU has stopped
					 */
	int uffd;			/* open until all memory is there */
	pid_t handler;
	bool done;
	struct lazy_stats stats;
};

/* Arms the memory, starts a handler with these arguments and hands it over. */
int lazy_begin(struct lazy *lazy, struct machine *m, bool minor,
	       char *const handler_argv[], struct reason *reason);
/* Hears the handler, when the socket is readable. Fails if it has failed. */
int lazy_watch(struct lazy *lazy, struct machine *m, struct reason *reason);
/*
 * After the vCPU has stopped: ends the handler, which gives its statistics. Fails
 * if it has failed or gone.
 */
int lazy_end(struct lazy *lazy, struct reason *reason);

#endif /* VMM_H */
