/* SPDX-License-Identifier: GPL-2.0 */
/*
 * folio_batch.h - the name that Linux 7.3 has for pagevec.h
 *
 * For 6.12 only. The rest of what differs is in mm/userfaultfd/compat.h.
 */
#ifndef _LINUX_FOLIO_BATCH_H
#define _LINUX_FOLIO_BATCH_H

#include <linux/pagevec.h>

#define FOLIO_BATCH_SIZE	PAGEVEC_SIZE

#endif
