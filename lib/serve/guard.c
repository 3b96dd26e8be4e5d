// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The process of a VM. It takes over the memory, starts the server as a child
 * and waits. If the server is killed, by a signal or its seccomp filter, the
 * guard still holds the userfaultfd and poisons what was not filled.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD	77		/* Linux 6.5 */
#endif

/*
 * Of the process that connected. Without SO_PEERPIDFD it may have exited and
 * its pid may belong to another process, but only if that happened since the
 * connection was accepted.
 */
static int open_pidfd(int sock, pid_t vmm)
{
	socklen_t len = sizeof(int);
	int fd;

	if (vmm <= 0)
		return -1;
	if (!getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	return syscall(SYS_pidfd_open, vmm, 0);
}

/* The regions are set, even if they are refused: they have to be poisoned. */
static int take_regions(struct vm *vm, struct lazy_error *error)
{
	const struct lazy_source *source = content_source(vm->content);
	struct handover *h = vm->handover;
	int ret = handover_check(h, source->length, error);

	vm->regions = calloc(h->nr, sizeof(*vm->regions));
	if (!vm->regions)
		return lazy_error_set(error, LAZY_E_MEMORY, "out of memory");
	for (size_t i = 0; i < h->nr; i++)
		vm->regions[i] = (struct lazy_region) {
			.address = h->regions[i].address,
			.len = h->regions[i].size,
			.offset = h->regions[i].offset,
			.granule = h->regions[i].page_size,
			.fd = -1,
			.populate = LAZY_COPY,
		};
	return ret;
}

static int take_over(struct vm *vm, struct lazy_error *error)
{
	/* First the regions, so that a failure can poison them. */
	if (handover_receive(vm->sock, vm->options->timeout_ms, vm->handover,
			     error) ||
	    take_regions(vm, error))
		return -1;
	return content_unchanged(vm->content, error);
}

/* Returns the exit status of the server, or VM_FAILED if it was killed. */
static int wait_for(struct vm *vm, pid_t server, int signals)
{
	struct signalfd_siginfo info;
	char why[64];
	int status;

	for (;;) {
		if (read(signals, &info, sizeof(info)) != sizeof(info))
			continue;
		if (info.ssi_signo != SIGCHLD) {
			kill(server, info.ssi_signo);
			continue;
		}
		if (waitpid(server, &status, WNOHANG) == server)
			break;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	snprintf(why, sizeof(why), "its server was killed by signal %d",
		 WTERMSIG(status));
	vm_give_up(vm, NULL, "failed", why);
	return VM_FAILED;
}

int guard_main(struct vm *vm, int signals)
{
	struct handover handover = { .uffd = -1 };
	sigset_t end, before;
	struct lazy_error error;
	pid_t server;

	prctl(PR_SET_NAME, "uffd-serve-gd");
	vm->handover = &handover;
	vm->pidfd = open_pidfd(vm->sock, vm->vmm);
	if (!vm->options->no_sandbox && sandbox_enter(SANDBOX_GUARD, &error)) {
		vm_give_up(vm, NULL, "refused", error.text);
		return VM_REFUSED;
	}
	/* SIGTERM may end a hand-over. */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_UNBLOCK, &end, &before);
	if (take_over(vm, &error)) {
		vm_give_up(vm, NULL, "refused", error.text);
		return VM_REFUSED;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);

	server = fork();
	if (!server)
		_exit(vm_serve(vm, signals));
	if (server < 0) {
		vm_give_up(vm, NULL, "failed", "cannot start its server");
		return VM_FAILED;
	}
	/* The connection ends with the server. */
	close(vm->sock);
	return wait_for(vm, server, signals);
}
