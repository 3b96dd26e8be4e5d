// SPDX-License-Identifier: GPL-2.0
/* Failure reasons, see reason.h. */
#include <stdarg.h>
#include <stdio.h>

#include "reason.h"

int because(struct reason *reason, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason->text, sizeof(reason->text), fmt, args);
	va_end(args);
	return -1;
}
