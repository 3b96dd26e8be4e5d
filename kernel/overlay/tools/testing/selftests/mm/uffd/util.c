// SPDX-License-Identifier: GPL-2.0
/* See util.h. */
#include "util.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

unsigned long lab_scale(unsigned long n)
{
	const char *s = getenv("UFFD_TEST_SCALE");
	unsigned long percent = s ? strtoul(s, NULL, 10) : 100;

	n = n * percent / 100;
	return n ? n : 1;
}

__u64 lab_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

void lab_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

__u64 lab_word(__u64 seed, __u64 index)
{
	__u64 z = (seed << 32) + index * 0x9e3779b97f4a7c15ULL + 1;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void lab_fill(void *p, size_t len, __u64 seed)
{
	__u64 *w = p;
	size_t i;

	for (i = 0; i < len / sizeof(*w); i++)
		w[i] = lab_word(seed, i);
}

bool lab_all(const void *p, size_t len, unsigned char byte)
{
	const unsigned char *c = p;

	return c[0] == byte && !memcmp(c, c + 1, len - 1);
}
