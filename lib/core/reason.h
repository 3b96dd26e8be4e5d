/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Human-readable failure reasons. Functions of this library that take a struct
 * reason return 0, or -1 with the reason set; they print nothing.
 */
#ifndef LAZY_REASON_H
#define LAZY_REASON_H

/**
 * struct reason - why the last call failed
 * @text: one line without a newline, truncated if necessary
 */
struct reason {
	char text[240];
};

/**
 * because() - set a reason
 * @reason: is set; an earlier reason is replaced
 * @fmt: format as for printf(); %m is the message of errno
 *
 * Return: -1, so that a caller can return it.
 */
int because(struct reason *reason, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* LAZY_REASON_H */
