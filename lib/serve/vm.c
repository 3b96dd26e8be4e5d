// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Serves one VM: threads of the library fill its memory, this thread watches
 * them, the VMM and the signals. The VM has ended when its address space is
 * gone, which is not the end of the connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "serve.h"

#define TICK_MIN_MS	50
#define TICK_MAX_MS	1000
#define LOW_ADDRESS	65536	/* vm.mmap_min_addr: no guest memory */

static struct lazy_server *new_server(struct vm *vm, struct lazy_error *error)
{
	struct lazy_server_config config = {
		.size = sizeof(config),
		.uffd = vm->handover->uffd,
		.flags = vm->options->no_background ? LAZY_NO_BACKGROUND : 0,
		.regions = vm->regions,
		.region_size = sizeof(*vm->regions),
		.nr_regions = vm->handover->nr,
		.source = content_source(vm->content),
	};

	return lazy_server_new(&config, error);
}

/*
 * CONTINUE maps what a file already has, so it changes nothing here; it fails
 * with ESRCH once the address space is gone.
 */
static bool is_gone(const struct vm *vm)
{
	struct uffdio_continue probe = {
		.range = { LOW_ADDRESS, sysconf(_SC_PAGESIZE) },
	};

	return ioctl(vm->handover->uffd, UFFDIO_CONTINUE, &probe) &&
	       errno == ESRCH;
}

/*
 * Without a server: nothing is known about the regions, so each is tried.
 * Poison stays when memory is no longer registered, and the VMM no longer waits
 * for a reader of its events. Memory that it discards from now on is zero, as
 * it has to be.
 */
static int poison_regions(struct vm *vm, struct lazy_error *error)
{
	int ret = 0;

	for (size_t i = 0; i < vm->handover->nr; i++) {
		const struct lazy_region *r = &vm->regions[i];
		struct uffdio_range range = { r->address, r->len };

		if (lazy_poison(vm->handover->uffd, r->address, r->len,
				r->granule, error))
			ret = -1;
		ioctl(vm->handover->uffd, UFFDIO_UNREGISTER, &range);
	}
	return ret;
}

static int poison(struct vm *vm, struct lazy_server *server,
		  struct lazy_error *error)
{
	struct lazy_server *own = NULL;
	int ret;

	if (!server)
		server = own = new_server(vm, error);
	ret = server ? lazy_server_poison(server, error) :
		       poison_regions(vm, error);
	lazy_server_free(own);
	return ret;
}

void vm_give_up(struct vm *vm, struct lazy_server *server, const char *what,
		const char *why)
{
	struct lazy_error error;

	say("VMM %d: %s: %s", vm->vmm, what, why);
	report_write(vm->report, PHASE_FAILED, NULL);
	/* Not a VMM: it has not handed over a userfaultfd. */
	if (vm->handover->uffd < 0 || is_gone(vm))
		return;
	if (vm->regions && poison(vm, server, &error))
		say("VMM %d: its memory cannot be poisoned: %s", vm->vmm,
		    error.text);
	if (vm->options->signal && vm->pidfd >= 0 &&
	    syscall(SYS_pidfd_send_signal, vm->pidfd, vm->options->signal,
		    NULL, 0))
		say("VMM %d: cannot send signal %d: %m", vm->vmm,
		    vm->options->signal);
}

static void update(struct vm *vm, struct lazy_server *server,
		   enum lazy_state state, struct lazy_stats *stats)
{
	stats->size = sizeof(*stats);
	lazy_server_stats(server, stats);
	report_write(vm->report, state == LAZY_FILLED ? PHASE_FILLED :
		     PHASE_SERVING, stats);
}

/* Returns the signal that was sent to this process, or 0. */
static int take_signal(int signals)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	return info.ssi_signo;
}

static void print_report(const struct vm *vm)
{
	char line[REPORT_MAX + 1];
	size_t len = report_print(vm->report, getpid(), line);

	line[len++] = '\n';
	if (write(STDOUT_FILENO, line, len) < 0)
		say("cannot write to stdout: %m");
}

static int ended(struct vm *vm, const struct lazy_stats *stats)
{
	say("VMM %d: ended: %llu pages, %llu on demand, %llu in the background, %llu faults",
	    vm->vmm, (unsigned long long)stats->pages,
	    (unsigned long long)stats->demand,
	    (unsigned long long)stats->background,
	    (unsigned long long)stats->faults);
	return 0;
}

static int failed(struct vm *vm, struct lazy_server *server,
		  const char *why)
{
	lazy_server_stop(server);
	vm_give_up(vm, server, "failed", why);
	return VM_FAILED;
}

/* Waits less as long as numbers change, or the VMM is about to be gone. */
static int next_tick(int tick, bool busy)
{
	if (busy)
		return TICK_MIN_MS;
	return 2 * tick < TICK_MAX_MS ? 2 * tick : TICK_MAX_MS;
}

static int watch(struct vm *vm, struct lazy_server *server, int signals)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = lazy_server_fd(server), .events = POLLIN },
		{ .fd = vm->pidfd, .events = POLLIN },
	};
	struct lazy_stats stats = {};
	struct lazy_error error;
	int tick = TICK_MIN_MS;

	for (;;) {
		enum lazy_state state = lazy_server_state(server, &error);
		uint64_t filled = stats.bytes;

		update(vm, server, state, &stats);
		if (is_gone(vm))
			return ended(vm, &stats);
		if (state == LAZY_FAILED)
			return failed(vm, server, error.text);
		if (state == LAZY_SERVING &&
		    content_unchanged(vm->content, &error))
			return failed(vm, server, error.text);
		if (poll(fds, 3, tick) < 0 && errno != EINTR)
			return failed(vm, server, "cannot poll");
		/* It has exited, but its address space may still exist. */
		if (fds[2].revents)
			fds[2].fd = -1;
		tick = next_tick(tick, stats.bytes != filled || fds[2].revents);
		if (!(fds[0].revents & POLLIN))
			continue;
		switch (take_signal(signals)) {
		case SIGUSR1:
			update(vm, server, state, &stats);
			print_report(vm);
			break;
		case SIGTERM:
		case SIGINT:
			return failed(vm, server, "ended by a signal");
		}
	}
}

int vm_serve(struct vm *vm, int signals)
{
	struct lazy_error error;
	struct lazy_server *server;
	int status;

	prctl(PR_SET_NAME, "uffd-serve-vm");
	server = new_server(vm, &error);
	if (!server) {
		vm_give_up(vm, NULL, "refused", error.text);
		return VM_REFUSED;
	}
	say("VMM %d: serving %zu regions", vm->vmm, vm->handover->nr);
	if ((!vm->options->no_sandbox &&
	     sandbox_enter(SANDBOX_SERVER, &error)) ||
	    lazy_server_start(server, vm->options->threads, &error))
		status = failed(vm, server, error.text);
	else
		status = watch(vm, server, signals);
	lazy_server_stop(server);
	lazy_server_free(server);
	return status;
}
