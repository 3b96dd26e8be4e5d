/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Time, scale and content: the smallest helpers of the userfaultfd tests.
 */
#ifndef UFFD_UTIL_H
#define UFFD_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/const.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Long enough for a debug kernel under emulation */
#define LAB_DEADLINE_MS		20000
/* How long a test waits for something that must not happen */
#define LAB_QUIET_MS		30

#define LAB_PAGE		4096UL
#define LAB_HUGE		(2UL << 20)
#define LAB_GIGANTIC		(1024UL << 20)

/*
 * Loop lengths and running times are given for a release kernel; the
 * environment variable UFFD_TEST_SCALE (percent) adapts them. Never returns 0.
 */
unsigned long lab_scale(unsigned long n);

__u64 lab_now_ms(void);
void lab_sleep_ms(unsigned int ms);

/*
 * Content. Every 8 bytes differ from their neighbors and depend on the seed, so
 * that a torn or shifted page, or one from another source, is detected.
 */
__u64 lab_word(__u64 seed, __u64 index);

void lab_fill(void *p, size_t len, __u64 seed);
bool lab_all(const void *p, size_t len, unsigned char byte);

#endif /* UFFD_UTIL_H */
