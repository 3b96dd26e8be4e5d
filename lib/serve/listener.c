// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Accepts VMMs and starts a process for each. It holds nothing of a VM but a
 * page of numbers that only the VM's own process inherits, and reads nothing
 * that a VMM sends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"

#define END_MS		10000	/* for all VMs, on SIGTERM */

struct child {
	pid_t pid;
	struct report *report;
	struct child *next;
};

struct listener {
	const struct options *options;
	const struct content *content;
	struct path_socket socket, control;
	struct control_client clients[CONTROL_CLIENTS];
	struct child *children;
	int signals;		/* signalfd */
	bool ending;
	uint64_t kill_at;	/* once ending: see now_ms() */
	int status;		/* exit status */
};

static char *all_reports(void *arg, size_t *len)
{
	const struct listener *l = arg;
	size_t room = sizeof("{\"vms\":[]}\n");
	char *text, *at;

	for (const struct child *c = l->children; c; c = c->next)
		room += REPORT_MAX + 1;
	text = malloc(room);
	if (!text)
		return NULL;
	at = stpcpy(text, "{\"vms\":[");
	for (const struct child *c = l->children; c; c = c->next) {
		at += report_print(c->report, c->pid, at);
		if (c->next)
			*at++ = ',';
	}
	at = stpcpy(at, "]}\n");
	*len = at - text;
	return text;
}

static void print_reports(struct listener *l)
{
	size_t len = 0;
	char *text = all_reports(l, &len);

	if (!text || write(STDOUT_FILENO, text, len) < 0)
		say("cannot print statistics: %m");
	free(text);
}

static int vm_process(struct listener *l, int sock, pid_t vmm,
		      struct report *report)
{
	struct vm vm = {
		.options = l->options,
		.content = l->content,
		.sock = sock,
		.vmm = vmm,
		.report = report,
	};

	close(l->socket.fd);
	if (l->control.fd >= 0)
		close(l->control.fd);
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (l->clients[i].fd >= 0)
			control_close(&l->clients[i]);
	return guard_main(&vm, l->signals);
}

static void start_vm(struct listener *l, int sock, pid_t vmm)
{
	struct child *child = calloc(1, sizeof(*child));
	struct report *report = report_new();
	pid_t pid = -1;

	if (child && report) {
		report->vmm = vmm;
		pid = fork();
	}
	if (!pid)
		_exit(vm_process(l, sock, vmm, report));
	if (pid < 0) {
		say("VMM %d: refused: cannot start a process: %m", vmm);
		if (report)
			munmap(report, sizeof(*report));
		free(child);
		return;
	}
	/* Not for the processes of other VMs. */
	madvise(report, sizeof(*report), MADV_DONTFORK);
	*child = (struct child) { pid, report, l->children };
	l->children = child;
}

static void accept_vmm(struct listener *l)
{
	pid_t vmm;
	int sock = socket_accept(&l->socket, l->options->uids,
			       l->options->nr_uids, &vmm);

	if (sock < 0)
		return;
	start_vm(l, sock, vmm);
	close(sock);
}

static void accept_control(struct listener *l)
{
	pid_t pid;
	int fd = socket_accept(&l->control, l->options->uids,
			     l->options->nr_uids, &pid);

	if (fd < 0)
		return;
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		if (l->clients[i].fd >= 0)
			continue;
		l->clients[i] = (struct control_client) {
			.fd = fd, .until = now_ms() + CONTROL_TIMEOUT_MS,
		};
		return;
	}
	close(fd);
}

static void signal_children(const struct listener *l, int signal)
{
	for (const struct child *c = l->children; c; c = c->next)
		kill(c->pid, signal);
}

/* The VMs are told as well: see vm_give_up(). */
static void end(struct listener *l)
{
	if (l->ending)
		return;
	l->ending = true;
	l->kill_at = now_ms() + END_MS;
	socket_close(&l->socket);
	signal_children(l, SIGTERM);
}

static void child_ended(struct listener *l, const struct child *c, int status)
{
	if (WIFSIGNALED(status) && !l->ending)
		say("process %d was killed by signal %d", c->pid,
		    WTERMSIG(status));
	if (!l->options->once || l->ending ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == VM_REFUSED))
		return;
	l->status = WIFEXITED(status) ? WEXITSTATUS(status) : VM_FAILED;
	end(l);
}

static void reap(struct listener *l)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child **at = &l->children, *c;

		while (*at && (*at)->pid != pid)
			at = &(*at)->next;
		c = *at;
		if (!c)
			continue;
		*at = c->next;
		child_ended(l, c, status);
		munmap(c->report, sizeof(*c->report));
		free(c);
	}
}

static void take_signal(struct listener *l)
{
	struct signalfd_siginfo info;

	if (read(l->signals, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		reap(l);
		break;
	case SIGUSR1:
		print_reports(l);
		break;
	default:
		end(l);
	}
}

/* With --once only one VM at a time is served. */
static bool may_accept(const struct listener *l)
{
	return !l->ending && !(l->options->once && l->children);
}

enum { SIGNALS, SOCKET, CONTROL, CLIENTS, NR_FDS = CLIENTS + CONTROL_CLIENTS };

static void prepare(const struct listener *l, struct pollfd *fds)
{
	fds[SIGNALS] = (struct pollfd) { l->signals, POLLIN, 0 };
	fds[SOCKET] = (struct pollfd) {
		may_accept(l) ? l->socket.fd : -1, POLLIN, 0,
	};
	fds[CONTROL] = (struct pollfd) { l->control.fd, POLLIN, 0 };
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		fds[CLIENTS + i] = (struct pollfd) {
			l->clients[i].fd,
			l->clients[i].answer ? POLLOUT : POLLIN, 0,
		};
}

static int timeout(const struct listener *l)
{
	uint64_t next = l->ending ? l->kill_at : UINT64_MAX, now = now_ms();

	for (int i = 0; i < CONTROL_CLIENTS; i++)
		if (l->clients[i].fd >= 0 && l->clients[i].until < next)
			next = l->clients[i].until;
	if (next == UINT64_MAX)
		return -1;
	return next > now ? next - now : 0;
}

static int serve(struct listener *l)
{
	struct pollfd fds[NR_FDS];

	while (!l->ending || l->children) {
		prepare(l, fds);
		if (poll(fds, NR_FDS, timeout(l)) < 0 && errno != EINTR) {
			say("cannot poll: %m");
			return 1;
		}
		if (fds[SIGNALS].revents)
			take_signal(l);
		if (fds[SOCKET].revents && may_accept(l))
			accept_vmm(l);
		for (int i = 0; i < CONTROL_CLIENTS; i++)
			if (l->clients[i].fd >= 0 &&
			    (fds[CLIENTS + i].revents ||
			     now_ms() >= l->clients[i].until))
				control_step(&l->clients[i], all_reports, l);
		if (fds[CONTROL].revents)
			accept_control(l);
		if (l->ending && now_ms() >= l->kill_at)
			signal_children(l, SIGKILL);
	}
	return l->status;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_SETMASK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int start(struct listener *l, struct lazy_error *error)
{
	/* Other users can only connect if they may open the path. */
	mode_t mode = l->options->other_users ? 0666 : 0600;

	l->signals = open_signals();
	if (l->signals < 0)
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot receive signals: %m");
	if (socket_listen(l->options->socket, mode, &l->socket, error) ||
	    (l->options->control &&
	     socket_listen(l->options->control, mode, &l->control, error)))
		return -1;
	return l->options->no_sandbox ? 0 :
	       sandbox_enter(SANDBOX_LISTENER, error);
}

int listener_main(const struct options *options, const struct content *content)
{
	struct listener l = {
		.options = options,
		.content = content,
		.socket.fd = -1,
		.control.fd = -1,
	};
	struct lazy_error error;
	int status;

	for (int i = 0; i < CONTROL_CLIENTS; i++)
		l.clients[i].fd = -1;
	if (start(&l, &error)) {
		say("%s", error.text);
		status = 1;
	} else {
		printf("listening on %s\n", options->socket);
		fflush(stdout);
		status = serve(&l);
	}
	socket_close(&l.socket);
	socket_close(&l.control);
	return status;
}
