// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the frequency of the host's time stamp counter in kHz, which is also
 * the frequency in VMs emulated by QEMU.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define NS	50000000	/* duration; enough for five digits */

/* Reads both clocks at the same time: the best of several attempts. */
static uint64_t now(uint64_t *tsc)
{
	uint64_t best = UINT64_MAX, ns = 0;
	struct timespec ts;

	for (int i = 0; i < 16; i++) {
		uint64_t before = __rdtsc(), took;

		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		took = __rdtsc() - before;
		if (took >= best)
			continue;
		best = took;
		*tsc = before + took / 2;
		ns = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	}
	return ns;
}

int main(void)
{
	struct timespec ts = { .tv_nsec = NS };
	uint64_t begin_tsc, end_tsc, begin, end;

	begin = now(&begin_tsc);
	nanosleep(&ts, NULL);
	end = now(&end_tsc);
	printf("%.0f\n", (end_tsc - begin_tsc) * 1e6 / (end - begin));
	return 0;
}
