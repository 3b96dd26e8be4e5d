/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Accesses to memory that may end in a signal, by this thread or by another.
 */
#ifndef UFFD_ACCESS_H
#define UFFD_ACCESS_H

#include "util.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/types.h>

struct lab_env {
	sigjmp_buf buf;
};

extern __thread struct lab_env *lab_signal_env;
extern __thread int lab_signal_code;
/*
 * Runs a statement that may end in a signal: 0, or the signal, whose si_code is
 * then in lab_signal_code. @save_mask: whether to restore the signal mask, which
 * takes a system call.
 */
#define LAB_TRY(save_mask, ...)						\
({									\
	struct lab_env __env;						\
	int __sig = sigsetjmp(__env.buf, save_mask);			\
									\
	if (!__sig) {							\
		lab_signal_env = &__env;				\
		__VA_ARGS__;						\
	}								\
	lab_signal_env = NULL;						\
	__sig;								\
})

/* The handler of SIGBUS and SIGSEGV, which lab_catch_signals() installs */
void lab_on_signal(int sig, siginfo_t *info, void *context);

void lab_catch_signals(void);

/*
 * Reads the byte at @addr into *@value, or writes *@value to it. Returns 0 or
 * the signal that the access got, whose si_code is then in *@code (may be
 * NULL). Call lab_catch_signals() before.
 */
int lab_access(void *addr, bool write, char *value, int *code);

/*
 * The same access by another thread, for faults that the test serves. After a
 * timeout the thread still uses the struct, which must then stay valid.
 */
struct lab_touch {
	pthread_t thread;
	char *addr;
	bool write;
	char value;
	int sig;
	int code;
	pid_t tid;
};

int lab_touch_start(struct lab_touch *t, void *addr, bool write, char value);

/* Waits up to @ms for a thread to end; 0 or an errno, not negated */
int lab_join(pthread_t thread, int ms);

/* 0 when the access is over, with or without a signal; -ETIMEDOUT before */
int lab_touch_wait(struct lab_touch *t, int ms);

/*
 * Waits up to @ms until an access sleeps in its fault; 0 or -errno. The message
 * of a fault can be read before the fault has looked at the page once more: if
 * the page is filled meanwhile, the access ends without a wakeup.
 */
int lab_touch_sleeps(struct lab_touch *t, int ms);

#endif /* UFFD_ACCESS_H */
