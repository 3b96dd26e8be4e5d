/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * For fuzz targets. Each is one file with a function that libFuzzer calls with
 * inputs derived from those in corpus/TARGET:
 *
 *	FUZZ(data, size) { ... }
 *
 * A failed ASSERT(), a report of a sanitizer, a crash and a hang are faults.
 */
#ifndef LAZY_FUZZ_H
#define LAZY_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ(data, size)						\
	static void fuzz_one(const uint8_t *data, size_t size);		\
	int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr);	\
	int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr)	\
	{								\
		fuzz_one(bytes, nr);					\
		return 0;						\
	}								\
	static void fuzz_one(const uint8_t *data, size_t size)

#define ASSERT(condition)						\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s:%d: not true: %s\n",	\
				__FILE__, __LINE__, #condition);	\
			abort();					\
		}							\
	} while (0)

#endif /* LAZY_FUZZ_H */
