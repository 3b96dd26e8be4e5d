// SPDX-License-Identifier: GPL-2.0
/* See access.h. */
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__thread struct lab_env *lab_signal_env;
__thread int lab_signal_code;

void lab_on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (!lab_signal_env) {
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	__atomic_store_n(&lab_signal_code, info->si_code, __ATOMIC_RELAXED);
	siglongjmp(lab_signal_env->buf, sig);
}

void lab_catch_signals(void)
{
	struct sigaction sa = { .sa_sigaction = lab_on_signal,
				.sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

int lab_access(void *addr, bool write, char *value, int *code)
{
	char *p = addr;
	int sig = LAB_TRY(1, {
		if (write)
			__atomic_store_n(p, *value, __ATOMIC_RELAXED);
		else
			*value = __atomic_load_n(p, __ATOMIC_RELAXED);
	});

	if (sig && code)
		*code = __atomic_load_n(&lab_signal_code, __ATOMIC_RELAXED);
	return sig;
}

static void *lab_touch_fn(void *arg)
{
	struct lab_touch *t = arg;

	__atomic_store_n(&t->tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	t->sig = lab_access(t->addr, t->write, &t->value, &t->code);
	return NULL;
}

int lab_touch_start(struct lab_touch *t, void *addr, bool write, char value)
{
	memset(t, 0, sizeof(*t));
	t->addr = addr;
	t->write = write;
	t->value = value;
	return -pthread_create(&t->thread, NULL, lab_touch_fn, t);
}

int lab_join(pthread_t thread, int ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += ms % 1000 * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	return pthread_timedjoin_np(thread, NULL, &ts);
}

int lab_touch_wait(struct lab_touch *t, int ms)
{
	return -lab_join(t->thread, ms);
}

int lab_touch_sleeps(struct lab_touch *t, int ms)
{
	char path[64], where[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/wchan",
		 __atomic_load_n(&t->tid, __ATOMIC_ACQUIRE));
	for (; ms > 0; ms--) {
		fd = open(path, O_RDONLY);
		if (fd < 0)
			return -errno;
		len = read(fd, where, sizeof(where));
		close(fd);
		if (len > 0 && where[0] != '0')
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}
