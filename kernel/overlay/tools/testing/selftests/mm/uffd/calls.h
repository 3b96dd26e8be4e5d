/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Thin wrappers of the userfaultfd calls. Each returns 0 or -errno.
 */
#ifndef UFFD_CALLS_H
#define UFFD_CALLS_H

#include "util.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#define LAB_MISSING		UFFDIO_REGISTER_MODE_MISSING
#define LAB_WP			UFFDIO_REGISTER_MODE_WP
#define LAB_MINOR		UFFDIO_REGISTER_MODE_MINOR

/* A userfaultfd with @features, or -errno. @flags: see userfaultfd(2) */
int lab_uffd(int flags, __u64 features);

/* The usual one: read() never blocks and poll() works. */
int lab_uffd_open(__u64 features);

int lab_ioctl(int uffd, unsigned long cmd, void *arg);

/* @ioctls: receives the mask that the kernel returns; may be NULL */
int lab_register(int uffd, const void *start, size_t len, __u64 mode,
		 __u64 *ioctls);

int lab_unregister(int uffd, const void *start, size_t len);
int lab_wake(int uffd, const void *start, size_t len);

/*
 * The fills. @done (may be NULL) receives the field that the kernel writes:
 * bytes done, or -errno of the first page. It starts as LAB_UNTOUCHED.
 */
#define LAB_UNTOUCHED	0x5555555555555555LL

int lab_copy(int uffd, void *dst, const void *src, size_t len, __u64 mode,
	     __s64 *done);
int lab_zeropage(int uffd, void *dst, size_t len, __u64 mode, __s64 *done);
int lab_continue(int uffd, void *dst, size_t len, __u64 mode, __s64 *done);
int lab_poison(int uffd, void *dst, size_t len, __u64 mode, __s64 *done);
int lab_move(int uffd, void *dst, const void *src, size_t len, __u64 mode,
	     __s64 *done);

/* @mode: UFFDIO_WRITEPROTECT_MODE_WP protects, 0 unprotects and wakes */
int lab_writeprotect(int uffd, void *start, size_t len, __u64 mode);

/* Waits up to @ms for one message; -ETIMEDOUT if there is none. */
int lab_read_msg(int uffd, struct uffd_msg *msg, int ms);

/* The calls by name, for tables of cases and loops */
enum op { COPY, ZEROPAGE, CONTINUE, POISON, FILLS, MOVE = FILLS, WRITEPROTECT,
	  WAKE, REGISTER, UNREGISTER, OPS };

extern const char * const op_name[];
int run_op(int uffd, enum op op, void *dst, const void *src, size_t len,
	   __u64 mode, __s64 *done);

#endif /* UFFD_CALLS_H */
