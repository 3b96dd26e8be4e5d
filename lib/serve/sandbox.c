// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * seccomp filters: a list of system calls for each process. Everything else
 * kills the process, whose VM is then poisoned by its guard. No list has
 * execve(), socket(), connect() or ptrace(), and none can open a file to write
 * to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "serve.h"

#if defined(__x86_64__)
#define ARCH	AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH	AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH	AUDIT_ARCH_RISCV64
#endif

#ifdef ARCH

#define L	(1 << SANDBOX_LISTENER)
#define G	(1 << SANDBOX_GUARD)
#define S	(1 << SANDBOX_SERVER)

struct rule {
	int nr;			/* of the system call */
	int in;			/* the lists that have it */
	int arg;		/* index of an argument that is checked */
	uint32_t mask;		/* of that argument, 0: not checked */
	uint32_t value;		/* of the masked argument */
};

#define ALLOW(name, in)	{ SYS_##name, in, 0, 0, 0 }
#define ALLOW_IF(name, in, arg, mask, value)				\
	{ SYS_##name, in, arg, mask, value }

/* The most frequent ones first. */
static const struct rule rules[] = {
	/* Of ioctls only those of userfaultfd. */
	ALLOW_IF(ioctl, L | G | S, 1, 0xff00, 0xaa00),
	ALLOW(read, L | G | S),
	ALLOW(pread64, L | G | S),
	ALLOW(preadv2, L | G | S),
	ALLOW(ppoll, L | G | S),
	ALLOW(futex, L | G | S),
#ifdef SYS_poll
	ALLOW(poll, L | G | S),
#endif
#ifdef SYS_epoll_wait
	ALLOW(epoll_wait, L | G | S),
#endif
	ALLOW(epoll_pwait, L | G | S),
	ALLOW(write, L | G | S),
	ALLOW(writev, L | G | S),
	ALLOW(pwrite64, L | G | S),
	ALLOW(close, L | G | S),
	ALLOW(fcntl, L | G | S),
	ALLOW(fstat, L | G | S),
	ALLOW(newfstatat, L | G | S),
	ALLOW(lseek, L | G | S),
	ALLOW(epoll_create1, L | G | S),
	ALLOW(epoll_ctl, L | G | S),
	ALLOW(eventfd2, L | G | S),
	ALLOW(timerfd_create, L | G | S),
	ALLOW(timerfd_settime, L | G | S),
	/* No code is made at run time. */
	ALLOW_IF(mmap, L | G | S, 2, PROT_EXEC, 0),
	ALLOW_IF(mprotect, L | G | S, 2, PROT_EXEC, 0),
	ALLOW(munmap, L | G | S),
	ALLOW(mremap, L | G | S),
	ALLOW(madvise, L | G | S),
	ALLOW(mincore, L | G | S),
	ALLOW(brk, L | G | S),
	ALLOW(clone, L | G),
	/* The server starts threads, and no processes. */
	ALLOW_IF(clone, S, 0, CLONE_THREAD, CLONE_THREAD),
	ALLOW(set_robust_list, L | G | S),
	ALLOW(rseq, L | G | S),
	ALLOW(set_tid_address, L | G),
	ALLOW(rt_sigprocmask, L | G | S),
	ALLOW(rt_sigaction, L | G | S),
	ALLOW(rt_sigreturn, L | G | S),
	ALLOW(restart_syscall, L | G | S),
	ALLOW(sched_yield, L | G | S),
	ALLOW(sched_getaffinity, L | G | S),
	/* A thread binds itself. */
	ALLOW_IF(sched_setaffinity, L | G | S, 0, ~0U, 0),
	ALLOW(clock_gettime, L | G | S),
	ALLOW(clock_nanosleep, L | G | S),
	ALLOW(nanosleep, L | G | S),
	ALLOW(getrandom, L | G | S),
	ALLOW(getpid, L | G | S),
	ALLOW(sysinfo, L | G | S),	/* qsort() */
	ALLOW(gettid, L | G | S),
	ALLOW(tgkill, L | G | S),	/* abort() */
	ALLOW(exit, L | G | S),
	ALLOW(exit_group, L | G | S),
	ALLOW(pidfd_send_signal, L | G | S),
	/* To read, for /proc/self/fdinfo. */
	ALLOW_IF(openat, L | G, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY),
	/* The library asks the kernel what it can do. */
	ALLOW(userfaultfd, L | G),
	ALLOW(pidfd_open, L | G),
	ALLOW(wait4, L | G),
	ALLOW(kill, L | G),
	ALLOW(recvmsg, L | G),
	ALLOW(readlinkat, L | G),
#ifdef SYS_readlink
	ALLOW(readlink, L | G),
#endif
	ALLOW(prctl, L | G),
	ALLOW(seccomp, L | G),
	ALLOW(accept4, L),
	ALLOW(getsockopt, L),
	ALLOW(recvfrom, L),
	ALLOW(sendto, L),
	ALLOW(unlinkat, L),
#ifdef SYS_unlink
	ALLOW(unlink, L),
#endif
};

#define NR_RULES	(sizeof(rules) / sizeof(rules[0]))
#define OFFSET(field)	offsetof(struct seccomp_data, field)
/* The lower half of an argument, on little endian. */
#define ARG(n)		(OFFSET(args) + (n) * sizeof(uint64_t))

struct program {
	struct sock_filter code[8 + 6 * NR_RULES];
	unsigned short len;
};

static void add(struct program *p, unsigned short code, uint32_t k,
		uint8_t jt, uint8_t jf)
{
	p->code[p->len++] = (struct sock_filter)BPF_JUMP(code, k, jt, jf);
}

static void add_rule(struct program *p, const struct rule *r)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, r->nr, 0, r->mask ? 5 : 1);
	if (r->mask) {
		add(p, BPF_LD | BPF_W | BPF_ABS, ARG(r->arg), 0, 0);
		add(p, BPF_ALU | BPF_AND | BPF_K, r->mask, 0, 0);
		add(p, BPF_JMP | BPF_JEQ | BPF_K, r->value, 0, 1);
		add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
		add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	} else {
		add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
	}
}

static void build(struct program *p, enum sandbox which)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, OFFSET(arch), 0, 0);
	add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	add(p, BPF_LD | BPF_W | BPF_ABS, OFFSET(nr), 0, 0);
	for (size_t i = 0; i < NR_RULES; i++)
		if (rules[i].in & 1 << which)
			add_rule(p, &rules[i]);
	/* Its flags are in memory: libc uses clone() instead. */
	add(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
}

static void *wait_for_end(void *arg)
{
	pause();
	return arg;
}

/* pthread_cancel() opens and maps a library when it is called for the first
 * time, which the filters do not allow.
 */
static int load_unwinder(void)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, wait_for_end, NULL);
	if (errno)
		return -1;
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	return 0;
}

int sandbox_enter(enum sandbox which, struct lazy_error *error)
{
	struct program p = {};
	struct sock_fprog prog = { .filter = p.code };

	if (which == SANDBOX_LISTENER && load_unwinder())
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot start a thread: %m");
	build(&p, which);
	prog.len = p.len;
	/* Not dumpable: other processes of the user cannot trace this one. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot install the seccomp filter: %m");
	return 0;
}

#else

int sandbox_enter(enum sandbox which, struct lazy_error *error)
{
	(void)which;
	return lazy_error_set(error, LAZY_E_UNSUPPORTED,
			      "no seccomp filter for this processor: use --no-sandbox");
}

#endif
