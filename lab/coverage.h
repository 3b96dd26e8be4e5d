/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before each file of mm/userfaultfd in the coverage kernel. gcov counts
 * every inlined copy of a branch apart, so the core's own functions are compiled
 * once there; those of the headers, which may need to be inlined, as ever.
 */
#include <linux/kernel.h>
#include <asm/tlbflush.h>
#include <linux/dax.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/pgalloc.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>
#include <kunit/test.h>
/* For the tracepoints, which are created in request.c */
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/trace_events.h>

#undef __always_inline
#define __always_inline noinline
