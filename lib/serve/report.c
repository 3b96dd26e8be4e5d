// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Messages, and the statistics of a VM. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "serve.h"

#define LOAD_TRIES	1000

/* One write(), so that lines of several processes do not mix. */
void say(const char *fmt, ...)
{
	char line[1024] = "uffd-serve: ";
	size_t len = strlen(line);
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

struct report *report_new(void)
{
	struct report *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return r == MAP_FAILED ? NULL : r;
}

void report_write(struct report *r, enum phase phase,
		  const struct lazy_stats *stats)
{
	uint32_t sequence = r->sequence;

	/* Pairs with report_read(): odd, then the numbers, then even. */
	__atomic_store_n(&r->sequence, sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	r->phase = phase;
	if (stats)
		r->stats = *stats;
	__atomic_store_n(&r->sequence, sequence + 2, __ATOMIC_RELEASE);
}

/* A writer that died or is hostile must not stop the reader. */
static void report_read(const struct report *r, struct report *copy)
{
	for (int i = 0; i < LOAD_TRIES; i++) {
		uint32_t sequence = __atomic_load_n(&r->sequence,
						    __ATOMIC_ACQUIRE);

		memcpy(copy, r, sizeof(*copy));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(sequence & 1) &&
		    sequence == __atomic_load_n(&r->sequence, __ATOMIC_RELAXED))
			return;
	}
}

size_t report_print(const struct report *report, pid_t pid, char *buf)
{
	static const char *const phases[] = {
		"hand-over", "serving", "filled", "failed",
	};
	struct report r;
	int n;

	report_read(report, &r);
	n = snprintf(buf, REPORT_MAX,
		     "{\"pid\":%d,\"vmm\":%llu,\"phase\":\"%s\",\"pages\":%llu,"
		     "\"demand\":%llu,\"background\":%llu,\"found\":%llu,"
		     "\"removed\":%llu,\"bytes\":%llu,\"faults\":%llu,"
		     "\"parked\":%llu,\"discarded\":%llu,\"children\":%llu,"
		     "\"nanoseconds\":%llu}", pid, (unsigned long long)r.vmm,
		     phases[r.phase % 4], (unsigned long long)r.stats.pages,
		     (unsigned long long)r.stats.demand,
		     (unsigned long long)r.stats.background,
		     (unsigned long long)r.stats.found,
		     (unsigned long long)r.stats.removed,
		     (unsigned long long)r.stats.bytes,
		     (unsigned long long)r.stats.faults,
		     (unsigned long long)r.stats.parked,
		     (unsigned long long)r.stats.discarded,
		     (unsigned long long)r.stats.children,
		     (unsigned long long)r.stats.nanoseconds);
	return n < REPORT_MAX ? n : REPORT_MAX - 1;
}
