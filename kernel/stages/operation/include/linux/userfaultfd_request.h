/* SPDX-License-Identifier: GPL-2.0 */
/*
 * userfaultfd_request.h - how a memory type joins userfaultfd
 *
 * A memory type (a filesystem, a driver, a hypervisor) joins by implementing
 * one operation in its vm_operations_struct:
 *
 *	int (*userfaultfd_request)(struct uffd_request *req);
 *
 * The type reports which modes it supports, and supplies folios. The core does
 * everything else: system calls, waiting, waking, copying from the user's
 * buffer, and every access to a page table.
 *
 *	UFFDIO_REGISTER ---> GET_SUPPORTED	which modes, which page size?
 *	page fault -------.
 *			  +> GET_PRESENT	is there memory at this offset?
 *			  +> FAULT_RESOLVE	hand out folios of this range
 *	UFFDIO_COPY,      |
 *	ZEROPAGE,	  |
 *	CONTINUE ---------+> FAULT_RESOLVE	the same, filled from user space
 *			  '> FAULT_UNDO		take back what was not mapped
 *
 * Handlers are made of the parts at the end of this file.
 *
 * Anonymous memory has no vm_operations_struct; a handler in the core answers
 * for it.
 */
#ifndef _LINUX_USERFAULTFD_REQUEST_H
#define _LINUX_USERFAULTFD_REQUEST_H

#include <linux/folio_batch.h>
#include <linux/mm_types.h>
#include <linux/types.h>

struct address_space;
struct inode;
struct uffd_source;

/**
 * enum uffd_request_kind - what the core requests from a memory type
 * @UFFD_REQ_GET_SUPPORTED: answered in &uffd_request.supported.
 * @UFFD_REQ_GET_PRESENT: asked in &uffd_request.present.
 * @UFFD_REQ_FAULT_RESOLVE: asked and answered in &uffd_request.resolve.
 * @UFFD_REQ_FAULT_UNDO: asked in &uffd_request.undo.
 *
 * A handler returns -EOPNOTSUPP for an unknown kind. It implements the kinds
 * that its modes need: GET_PRESENT for MINOR, FAULT_UNDO for MISSING, and
 * FAULT_RESOLVE for both. An errno reaches user space unchanged, even one that
 * is not listed with its kind. A value that is no errno, or that is internal to
 * the kernel (-ERESTARTSYS and up), is a bug of the type: it causes a warning,
 * and the caller gets -EIO.
 */
enum uffd_request_kind {
	UFFD_REQ_GET_SUPPORTED,
	UFFD_REQ_GET_PRESENT,
	UFFD_REQ_FAULT_RESOLVE,
	UFFD_REQ_FAULT_UNDO,
};

/**
 * struct uffd_supported - what userfaultfd can do on a mapping
 * @modes: out: the modes, a bitwise OR of VM_UFFD_MISSING, VM_UFFD_MINOR and
 *	VM_UFFD_WP. VM_UFFD_WP means synchronous write protection; the
 *	asynchronous kind needs no support by the type.
 * @granule: out: bytes of the smallest page that the type maps: PAGE_SIZE,
 *	since only hugetlb has entries of another size. Registered ranges are
 *	multiples of it.
 * @secret: out: the kernel must not keep a copy of the content: a bounce page
 *	that it was read into is cleared before it is freed. False unless the
 *	type sets it.
 *
 * The answer holds for the whole mapping and for as long as it exists.
 * Must not sleep for I/O and must not touch folios.
 *
 * Return: 0; anything else means that nothing is supported.
 */
struct uffd_supported {
	vm_flags_t modes;
	unsigned long granule;
	bool secret;
};

/**
 * struct uffd_present - is there memory at this offset?
 * @inode: in: the file.
 * @index: in: page offset in the file, in units of PAGE_SIZE.
 *
 * Decides whether a first touch is a minor fault or finds a hole. Memory that
 * was swapped out is present. Since a file can change at any time, the answer
 * may be outdated when it is used. The type must not allocate, lock folios or
 * start I/O here; it may wait for a running hole punch or truncation.
 *
 * Return: 0 if present, -ENOENT for a hole, -EINVAL past the end of the file.
 */
struct uffd_present {
	struct inode *inode;
	pgoff_t index;
};

/**
 * enum uffd_resolve_mode - where resolved memory comes from
 * @UFFD_RESOLVE_MINOR: find memory of the file; never allocate a new page.
 * @UFFD_RESOLVE_MISSING: allocate, fill and insert; never hand out memory that
 *	existed before.
 */
enum uffd_resolve_mode {
	UFFD_RESOLVE_MINOR,
	UFFD_RESOLVE_MISSING,
};

/**
 * struct uffd_resolve - hand out the memory of a range of a file
 * @inode: in: the file.
 * @index: in: first page offset, in units of PAGE_SIZE.
 * @nr_pages: in: length of the range in pages, at least 1. All of it lies in
 *	the mapping and below one page table.
 * @mode: in: find or create.
 * @source: in: for UFFD_RESOLVE_MISSING, what the new memory must contain;
 *	only ever passed on to userfaultfd_fill_folio(). NULL otherwise.
 * @fault: in: true for a page fault that the kernel resolves by itself, as
 *	->fault() would: the range is one page, new memory contains zeroes, and
 *	a new folio may begin before the range and end after it. False for a
 *	fill, for which new folios must lie inside the range.
 * @folios: out: the folios, in order and without a gap: the first one holds
 *	@index, each next one starts where the one before it ends. They may
 *	cover less than the range, or more if they existed before; one folio is
 *	enough.
 * @major: out: true if a fault needed I/O, which makes it a major one. The
 *	type counts PGMAJFAULT, as ->fault() does.
 *
 * Every folio comes locked, uptodate, in @inode's page cache, and with one
 * reference that now belongs to the core. @inode is the host of the file's
 * f_mapping, and its size ends the memory. For memory with pages larger than
 * PAGE_SIZE, the folio of a fill of a private mapping is in no page cache, and
 * has ->index set. The core unlocks each folio, and either keeps the reference
 * for the page table entry or drops it.
 *
 * Look up before allocating: on a mapping armed with MINOR alone, most faults
 * find memory. The answer to these is -EEXIST, which makes them minor faults.
 *
 * A new folio is filled by userfaultfd_fill_folio() after it was allocated and
 * before it is inserted, so that it is never visible without its content. The
 * type accounts the folio, charges it to the memory cgroup of req->vma->vm_mm
 * and adds it to the LRU. A folio that is in the page cache but not uptodate
 * counts as a hole, and may be filled in place, with its lock held.
 *
 * The type may sleep to allocate or read. While it holds the lock of a folio,
 * it must not wait for that of another, nor for a hole punch or truncation: a
 * second folio is locked with folio_trylock(), or left out.
 *
 * An error after the first folio is not returned: the answer ends there, and
 * the core requests the rest again.
 *
 * Return: 0, and at least one folio; or, without any folio,
 * -ENOENT (MINOR) there is a hole at @index; -EEXIST (MISSING) there is memory;
 * -EINVAL (MINOR) or -EFAULT (MISSING) @index is past the end of the file;
 * -ENOMEM no memory; -ENOSPC or -EDQUOT a limit was reached (-ENOMEM would make
 * a fault retry); -EACCES or -EPERM user space may not access it; -EIO or
 * -EHWPOISON the data is lost; what userfaultfd_fill_folio() returned.
 */
struct uffd_resolve {
	struct inode *inode;
	pgoff_t index;
	unsigned long nr_pages;
	enum uffd_resolve_mode mode;
	struct uffd_source *source;
	bool fault;
	struct folio_batch folios;
	bool major;
};

/**
 * struct uffd_undo - take back a folio that could not be mapped
 * @folio: in: a new folio of the last UFFD_RESOLVE_MISSING, still locked.
 *
 * The folio was never mapped. The type reverses its accounting and removes the
 * folio from the page cache, unless it may stay there as memory of the file; a
 * hwpoisoned folio must not stay, as the core asks for another one. Lock and
 * reference remain with the core.
 *
 * Return: 0.
 */
struct uffd_undo {
	struct folio *folio;
};

/**
 * struct uffd_request - a request of the userfaultfd core to a memory type
 * @kind: which member of the union is valid; all others are undefined.
 * @vma: the mapping that the request is about. It cannot change or disappear
 *	during the request. Must not be modified.
 * @supported: for UFFD_REQ_GET_SUPPORTED.
 * @present: for UFFD_REQ_GET_PRESENT.
 * @resolve: for UFFD_REQ_FAULT_RESOLVE.
 * @undo: for UFFD_REQ_FAULT_UNDO.
 *
 * Context: process context, may sleep. Under the mmap lock or the lock of
 * @vma, so the type must not take either. No folio or page table lock is
 * held, except for the lock of the folio in FAULT_UNDO.
 */
struct uffd_request {
	enum uffd_request_kind kind;
	struct vm_area_struct *vma;
	union {
		struct uffd_supported supported;
		struct uffd_present present;
		struct uffd_resolve resolve;
		struct uffd_undo undo;
	};
};

/* Parts of a handler, in the order in which it needs them. */
int userfaultfd_check_present(struct inode *inode, pgoff_t index);
long userfaultfd_count_hole(struct uffd_request *req);
int userfaultfd_create_folios(struct uffd_request *req,
			      int (*create)(struct uffd_request *req,
					    pgoff_t index));
int userfaultfd_find_folios_nowait(struct uffd_resolve *resolve);
int userfaultfd_fill_folio(struct uffd_request *req, struct folio *folio,
			   pgoff_t index);

#endif /* _LINUX_USERFAULTFD_REQUEST_H */
