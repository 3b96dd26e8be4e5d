// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The host: what the results depend on, its count of system calls, its ioctls. */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench.h"

#define FEATURE_FILL	(1ULL << 26)	/* of our kernel */

/* The first line of a file, or "unknown". */
static const char *line_of(const char *name)
{
	static char line[256];
	FILE *file = fopen(name, "r");

	if (!file || !fgets(line, sizeof(line), file))
		strcpy(line, "unknown");
	if (file)
		fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static const char *processor(void)
{
	static char line[256];
	FILE *file = fopen("/proc/cpuinfo", "r");
	char *name = NULL;

	while (!name && file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "model name", 10))
			name = strchr(line, ':');
	if (file)
		fclose(file);
	if (!name)
		return "unknown processor";
	name[strcspn(name, "\n")] = '\0';
	return name + 2;
}

void describe_host(const char *name)
{
	struct utsname system;
	struct statfs fs;
	double load = 0;
	cpu_set_t cpus;

	uname(&system);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	getloadavg(&load, 1);
	printf("host       %s %s, %d processors, load %.1f\n", system.sysname,
	       system.release, CPU_COUNT(&cpus), load);
	printf("processor  %s%s\n", processor(),
	       strstr(line_of("/sys/hypervisor/type"), "unknown") ? "" :
	       ", a VM");
	printf("huge pages %s\n",
	       line_of("/sys/kernel/mm/transparent_hugepage/enabled"));
	if (!statfs(name, &fs))
		printf("files      on a file system of type %#lx\n",
		       (unsigned long)fs.f_type);
}

/* The number of the tracepoint at the entry of each system call, or -1. */
static int tracepoint(void)
{
	static const char name[] =
		"/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";
	int id = atoi(line_of(name));

	/* Not mounted: mount it, seen by this process alone. */
	if (!id && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL))
		id = atoi(line_of(name));
	return id ?: -1;
}

int count_calls(void)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_TRACEPOINT,
		.config = tracepoint(),
		.inherit = 1,
	};

	if ((int)attr.config < 0)
		return -1;
	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

double calls_counted(int counter)
{
	uint64_t count;

	if (read(counter, &count, sizeof(count)) != sizeof(count))
		return -1;
	return count;
}

bool hide_fill;

/* Replaces ioctl() of libc. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	ret = syscall(SYS_ioctl, fd, request, arg);
	if (!ret && request == UFFDIO_API && hide_fill)
		((struct uffdio_api *)arg)->features &= ~FEATURE_FILL;
	return ret;
}
