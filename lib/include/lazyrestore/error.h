/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Failures: a code for programs, the errno of the system call that failed, and
 * a line of text for people. The library prints nothing.
 */
#ifndef LAZYRESTORE_ERROR_H
#define LAZYRESTORE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum lazy_code - the cause of a failure
 * @LAZY_OK: none
 * @LAZY_E_SYSTEM: a system call failed, see os_errno
 * @LAZY_E_ARGUMENT: an argument is invalid, for example a region that is not
 *	registered with the userfaultfd
 * @LAZY_E_MEMORY: out of memory in this process
 * @LAZY_E_PROTOCOL: a message of a peer is malformed or unexpected
 * @LAZY_E_SOURCE: the source of the content cannot be read, or is corrupt
 * @LAZY_E_FORMAT: a file is not of the expected format, or is damaged
 * @LAZY_E_TIMEOUT: a deadline passed
 * @LAZY_E_GONE: the peer, or the process whose memory is filled, has exited
 * @LAZY_E_UNSUPPORTED: this kernel, or this library, does not support it
 */
enum lazy_code {
	LAZY_OK = 0,
	LAZY_E_SYSTEM = 1,
	LAZY_E_ARGUMENT = 2,
	LAZY_E_MEMORY = 3,
	LAZY_E_PROTOCOL = 4,
	LAZY_E_SOURCE = 5,
	LAZY_E_FORMAT = 6,
	LAZY_E_TIMEOUT = 7,
	LAZY_E_GONE = 8,
	LAZY_E_UNSUPPORTED = 9,
};

/**
 * struct lazy_error - why a call failed
 * @code: enum lazy_code
 * @os_errno: errno of the system call that failed, or 0
 * @text: one line without a newline, truncated if necessary
 *
 * The size of this structure never changes. A function that fails sets all of
 * it; a function that succeeds leaves it unchanged.
 */
struct lazy_error {
	int code;
	int os_errno;
	char text[240];
};

/**
 * lazy_error_set() - set an error
 * @err: is set; an earlier error is replaced; may be NULL
 * @code: enum lazy_code
 * @fmt: format as for printf(); %m is the message of errno
 *
 * For sources and other callbacks. @os_errno is set to errno if @code is
 * LAZY_E_SYSTEM, LAZY_E_SOURCE or LAZY_E_GONE, otherwise to 0.
 *
 * Threads: any, with different @err.
 *
 * Return: -1, so that a caller can return it.
 */
int lazy_error_set(struct lazy_error *err, enum lazy_code code,
		   const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif

#endif /* LAZYRESTORE_ERROR_H */
