// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The state of each page: two bits, in two bitmaps that are mapped and not
 * touched until they are needed. Bits are changed atomically, so that threads
 * that fill neighboring pages need no lock; changes to a state other than
 * FILLED exclude all other threads (see layout).
 */
#include <sys/mman.h>

#include "core.h"

static _Atomic uint64_t *map_words(size_t words)
{
	void *p = mmap(NULL, words * sizeof(uint64_t), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int lazy__pages_init(struct lazy__pages *p, uint64_t nr)
{
	p->words = (nr + 63) / 64;
	p->filled = map_words(p->words);
	p->removed = map_words(p->words);
	if (p->filled && p->removed)
		return 0;
	lazy__pages_free(p);
	return -1;
}

void lazy__pages_free(struct lazy__pages *p)
{
	if (p->filled)
		munmap((void *)p->filled, p->words * sizeof(uint64_t));
	if (p->removed)
		munmap((void *)p->removed, p->words * sizeof(uint64_t));
	*p = (struct lazy__pages) {};
}

void lazy__pages_copy(struct lazy__pages *to, const struct lazy__pages *from)
{
	/* Words that are zero stay untouched. */
	for (size_t i = 0; i < from->words; i++) {
		if (from->filled[i])
			to->filled[i] = from->filled[i];
		if (from->removed[i])
			to->removed[i] = from->removed[i];
	}
}

enum lazy__page lazy__page(const struct lazy__pages *p, uint64_t page)
{
	uint64_t filled = atomic_load(&p->filled[page / 64]);
	uint64_t removed = atomic_load(&p->removed[page / 64]);

	return (filled >> page % 64 & 1) | (removed >> page % 64 & 1) << 1;
}

/* The bits of the pages [@page, @page + @nr) in the word of @page. */
static uint64_t mask_of(uint64_t page, uint64_t nr)
{
	uint64_t in_word = 64 - page % 64;

	if (nr > in_word)
		nr = in_word;
	return (nr == 64 ? ~0ULL : (1ULL << nr) - 1) << page % 64;
}

uint64_t lazy__pages_set(struct lazy__pages *p, uint64_t page, uint64_t nr,
			 enum lazy__page to)
{
	uint64_t absent = 0;

	while (nr) {
		uint64_t mask = mask_of(page, nr), i = page / 64;
		uint64_t filled, removed;

		/*
		 * FILLED is set before REMOVED is cleared: between the two,
		 * other threads see GONE and leave the page alone.
		 */
		filled = to & LAZY__FILLED ?
			 atomic_fetch_or(&p->filled[i], mask) :
			 atomic_fetch_and(&p->filled[i], ~mask);
		/* Do not touch memory for nothing. */
		removed = atomic_load(&p->removed[i]);
		if (to & LAZY__REMOVED)
			atomic_fetch_or(&p->removed[i], mask);
		else if (removed & mask)
			atomic_fetch_and(&p->removed[i], ~mask);
		absent += __builtin_popcountll(mask & ~filled & ~removed);
		page += __builtin_popcountll(mask);
		nr -= __builtin_popcountll(mask);
	}
	return absent;
}

/* The pages of a word that are not ABSENT. */
static uint64_t used(const struct lazy__pages *p, uint64_t i)
{
	return atomic_load_explicit(&p->filled[i], memory_order_relaxed) |
	       atomic_load_explicit(&p->removed[i], memory_order_relaxed);
}

uint64_t lazy__next_absent(const struct lazy__pages *p, uint64_t page,
			   uint64_t end)
{
	while (page < end) {
		uint64_t absent = ~used(p, page / 64) & ~0ULL << page % 64;

		if (absent) {
			page = (page & -64ULL) + __builtin_ctzll(absent);
			return page < end ? page : end;
		}
		page = (page & -64ULL) + 64;
	}
	return end;
}

uint64_t lazy__absent_run(const struct lazy__pages *p, uint64_t page,
			  uint64_t max)
{
	uint64_t at = page, end = page + max;

	while (at < end) {
		uint64_t taken = used(p, at / 64) & ~0ULL << at % 64;

		if (taken) {
			at = (at & -64ULL) + __builtin_ctzll(taken);
			return (at < end ? at : end) - page;
		}
		at = (at & -64ULL) + 64;
	}
	return max;
}

uint64_t lazy__present_before(const struct lazy__pages *p, uint64_t page,
			      uint64_t max)
{
	uint64_t nr = 0;

	while (nr < max &&
	       used(p, (page - nr - 1) / 64) >> (page - nr - 1) % 64 & 1)
		nr++;
	return nr;
}
