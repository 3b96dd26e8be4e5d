// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Failures, see error.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <lazyrestore/error.h>

int lazy_error_set(struct lazy_error *err, enum lazy_code code,
		   const char *fmt, ...)
{
	int saved = errno;
	va_list args;

	if (!err)
		return -1;
	err->code = code;
	err->os_errno = code == LAZY_E_SYSTEM || code == LAZY_E_SOURCE ||
			code == LAZY_E_GONE ? saved : 0;
	va_start(args, fmt);
	errno = saved;
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return -1;
}
