/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of userfaultfd: faults that wait for user space, answers of memory
 * types, and results of ioctls.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM userfaultfd

#if !defined(_TRACE_USERFAULTFD_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_USERFAULTFD_H

#include <linux/mm.h>
#include <linux/tracepoint.h>
#include <linux/userfaultfd_k.h>
#include <linux/userfaultfd_request.h>

#define show_userfaultfd_reason(reason)					\
	__print_symbolic(reason,					\
		{ VM_UFFD_MISSING,		"missing" },		\
		{ VM_UFFD_MINOR,		"minor" },		\
		{ VM_UFFD_WP,			"wp" })

#define show_userfaultfd_ioctl(ioctl)					\
	__print_symbolic(ioctl,						\
		{ _UFFDIO_COPY,			"copy" },		\
		{ _UFFDIO_ZEROPAGE,		"zeropage" },		\
		{ _UFFDIO_MOVE,			"move" },		\
		{ _UFFDIO_WRITEPROTECT,		"writeprotect" },	\
		{ _UFFDIO_CONTINUE,		"continue" },		\
		{ _UFFDIO_POISON,		"poison" })

/**
 * userfaultfd_fault - a thread is about to wait for user space
 * @ctx: identifies the userfaultfd.
 * @vmf: the fault.
 * @reason: its kind, a VM_UFFD_ flag.
 */
TRACE_EVENT(userfaultfd_fault,

	TP_PROTO(struct userfaultfd_ctx *ctx, struct vm_fault *vmf,
		 unsigned long reason),

	TP_ARGS(ctx, vmf, reason),

	TP_STRUCT__entry(
		__field(void *,		ctx)
		__field(unsigned long,	address)
		__field(unsigned long,	reason)
		__field(bool,		write)
	),

	TP_fast_assign(
		__entry->ctx		= ctx;
		__entry->address	= vmf->real_address;
		__entry->reason		= reason;
		__entry->write		= vmf->flags & FAULT_FLAG_WRITE;
	),

	TP_printk("ctx=%p mode=%s address=0x%lx access=%s", __entry->ctx,
		  show_userfaultfd_reason(__entry->reason), __entry->address,
		  __entry->write ? "write" : "read")
);

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

/**
 * userfaultfd_fill - an ioctl that works on pages has ended
 * @ctx: identifies the userfaultfd.
 * @ioctl: the number of the ioctl, _UFFDIO_COPY to _UFFDIO_POISON.
 * @start: first address of the range.
 * @len: bytes of the range.
 * @result: bytes that were filled, or an errno.
 */
TRACE_EVENT(userfaultfd_fill,

	TP_PROTO(struct userfaultfd_ctx *ctx, unsigned int ioctl, __u64 start,
		 __u64 len, __s64 result),

	TP_ARGS(ctx, ioctl, start, len, result),

	TP_STRUCT__entry(
		__field(void *,		ctx)
		__field(unsigned int,	ioctl)
		__field(__u64,		start)
		__field(__u64,		len)
		__field(__s64,		result)
	),

	TP_fast_assign(
		__entry->ctx		= ctx;
		__entry->ioctl		= ioctl;
		__entry->start		= start;
		__entry->len		= len;
		__entry->result		= result;
	),

	TP_printk("ctx=%p ioctl=%s start=0x%llx len=0x%llx pages=%lld result=%lld",
		  __entry->ctx, show_userfaultfd_ioctl(__entry->ioctl),
		  __entry->start, __entry->len,
		  __entry->result > 0 ? __entry->result >> PAGE_SHIFT : 0,
		  __entry->result < 0 ? __entry->result : 0)
);

#endif /* _TRACE_USERFAULTFD_H */

#include <trace/define_trace.h>
