/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* All of the library. */
#ifndef LAZYRESTORE_LAZYRESTORE_H
#define LAZYRESTORE_LAZYRESTORE_H

#include <lazyrestore/error.h>
#include <lazyrestore/source.h>
#include <lazyrestore/server.h>
#include <lazyrestore/handover.h>
#include <lazyrestore/memfile.h>
#include <lazyrestore/snapshot.h>
#include <lazyrestore/workingset.h>
#include <lazyrestore/memfile.h>

#define LAZYRESTORE_VERSION	"0.1.0"

#endif /* LAZYRESTORE_LAZYRESTORE_H */
