// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the guest: increments a counter, checks a pattern in its memory, and
 * prints both.
 *
 * Each page of the pattern holds words that depend on their address. Each tick
 * of the counter checks some of the pages, in scattered order as the accesses
 * of a program; then it sleeps, which needs a working timer. Output:
 *
 *	guest: ready
 *	guest: tick N, P pages checked, W wrong
 *	guest: pass N, P pages checked, W wrong		after each full pass
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGES		2048ULL		/* a power of two */
#define WORDS		(4096 / sizeof(uint64_t))
#define PER_TICK	64
#define STEP		1365ULL		/* odd: reaches every page */
#define TICK_NS		1000000

static uint64_t word(uint64_t page, uint64_t i)
{
	return (page << 32 | i) * 0x9e3779b97f4a7c15ULL;
}

static void write_page(uint64_t *pattern, uint64_t page)
{
	for (uint64_t i = 0; i < WORDS; i++)
		pattern[page * WORDS + i] = word(page, i);
}

/* Returns 1 if the page does not contain its pattern. */
static int wrong(const uint64_t *pattern, uint64_t page)
{
	for (uint64_t i = 0; i < WORDS; i++)
		if (pattern[page * WORDS + i] != word(page, i))
			return 1;
	return 0;
}

int main(void)
{
	uint64_t tick = 0, pass = 0, checked = 0, bad = 0, page = 0;
	const struct timespec pause = { 0, TICK_NS };
	uint64_t *pattern;

	setlinebuf(stdout);
	pattern = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pattern == MAP_FAILED) {
		perror("guest: mmap");
		return 1;
	}
	for (uint64_t i = 0; i < PAGES; i++)
		write_page(pattern, i);
	printf("guest: ready\n");

	for (;;) {
		for (int i = 0; i < PER_TICK; i++) {
			bad += wrong(pattern, page);
			page = (page + STEP) % PAGES;
		}
		checked += PER_TICK;
		printf("guest: tick %llu, %llu pages checked, %llu wrong\n",
		       (unsigned long long)++tick, (unsigned long long)checked,
		       (unsigned long long)bad);
		if (!(checked % PAGES))
			printf("guest: pass %llu, %llu pages checked, %llu wrong\n",
			       (unsigned long long)++pass,
			       (unsigned long long)checked,
			       (unsigned long long)bad);
		nanosleep(&pause, NULL);
	}
}
