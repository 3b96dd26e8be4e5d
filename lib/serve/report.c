// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Messages, and the statistics of a VM. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "serve.h"

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

/* The phase last: the numbers of a VM that is filled are complete. */
void report_write(struct report *r, enum phase phase,
		  const struct lazy_stats *stats)
{
	uint64_t words[REPORT_WORDS];

	if (stats) {
		memcpy(words, stats, sizeof(words));
		for (size_t i = 0; i < REPORT_WORDS; i++)
			r->words[i] = words[i];
	}
	r->phase = phase;
}

size_t report_print(const struct report *report, pid_t pid, char *buf)
{
	static const char *const phases[] = {
		"hand-over", "serving", "filled", "failed",
	};
	unsigned int phase = report->phase;
	uint64_t words[REPORT_WORDS];
	struct lazy_stats stats;
	int n;

	for (size_t i = 0; i < REPORT_WORDS; i++)
		words[i] = report->words[i];
	memcpy(&stats, words, sizeof(words));
	n = snprintf(buf, REPORT_MAX,
		     "{\"pid\":%d,\"vmm\":%llu,\"phase\":\"%s\",\"pages\":%llu,"
		     "\"demand\":%llu,\"background\":%llu,\"found\":%llu,"
		     "\"removed\":%llu,\"bytes\":%llu,\"faults\":%llu,"
		     "\"parked\":%llu,\"discarded\":%llu,\"children\":%llu,"
		     "\"nanoseconds\":%llu}", pid, (unsigned long long)report->vmm,
		     phases[phase % 4], (unsigned long long)stats.pages,
		     (unsigned long long)stats.demand,
		     (unsigned long long)stats.background,
		     (unsigned long long)stats.found,
		     (unsigned long long)stats.removed,
		     (unsigned long long)stats.bytes,
		     (unsigned long long)stats.faults,
		     (unsigned long long)stats.parked,
		     (unsigned long long)stats.discarded,
		     (unsigned long long)stats.children,
		     (unsigned long long)stats.nanoseconds);
	return n < REPORT_MAX ? n : REPORT_MAX - 1;
}
