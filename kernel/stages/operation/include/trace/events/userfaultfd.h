/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of userfaultfd: answers of memory types.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM userfaultfd

#if !defined(_TRACE_USERFAULTFD_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_USERFAULTFD_H

#include <linux/mm.h>
#include <linux/tracepoint.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

/**
 * userfaultfd_resolve - a memory type answered UFFD_REQ_FAULT_RESOLVE
 * @handler: the handler of the type.
 * @req: the request, and the answer after it was checked.
 * @err: 0, or an errno.
 */
TRACE_EVENT(userfaultfd_resolve,

	TP_PROTO(int (*handler)(struct uffd_request *req),
		 struct uffd_request *req, int err),

	TP_ARGS(handler, req, err),

	TP_STRUCT__entry(
		__field(void *,		handler)
		__field(unsigned long,	ino)
		__field(unsigned long,	index)
		__field(unsigned long,	pages)
		__field(bool,		missing)
		__field(bool,		fault)
		__field(int,		err)
	),

	TP_fast_assign(
		__entry->handler	= handler;
		__entry->ino		= req->resolve.inode ?
					  req->resolve.inode->i_ino : 0;
		__entry->index		= req->resolve.index;
		__entry->pages		= err ? 0 : req->resolve.nr_pages;
		__entry->missing	= req->resolve.mode == UFFD_RESOLVE_MISSING;
		__entry->fault		= req->resolve.fault;
		__entry->err		= err;
	),

	TP_printk("handler=%ps mode=%s for=%s ino=%lu index=0x%lx pages=%lu result=%d",
		  __entry->handler, __entry->missing ? "missing" : "minor",
		  __entry->fault ? "fault" : "fill", __entry->ino,
		  __entry->index, __entry->pages, __entry->err)
);

#endif /* _TRACE_USERFAULTFD_H */

#include <trace/define_trace.h>
