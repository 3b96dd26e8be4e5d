/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest_memfd_uffd_*.c programs share: a guest with a guest_memfd for
 * memory, and vCPUs that access it on request.
 *
 * A guest_memfd is one more memory type for ../mm/uffd/lab.h, so the helpers
 * there work for it too. The guest has it in a memory slot whose userspace
 * address is the armed mapping:
 *
 *	guest physical		host virtual
 *	GMEM_GPA, slot 1   -->	lab_mem.area	armed			\ the same
 *				lab_mem.alias	never armed		/ file
 *	0, slot 0	   -->	anonymous	the program itself, page tables
 *
 * The guest runs this same program, from guest_main() on. It executes an order,
 * reports, and waits for the next one: see struct order.
 *
 * Each test runs in a process of its own, so the VM is global.
 */
#ifndef GUEST_MEMFD_UFFD_H
#define GUEST_MEMFD_UFFD_H

#include "../mm/uffd/lab.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define GMEM_SLOT	1
#define GMEM_GPA	0x100000000ULL
#define GMEM_FLAGS	(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED | \
			 GUEST_MEMFD_FLAG_PWRITE)

#define NR_VCPUS	2
#define GUEST_WORDS	(LAB_PAGE / sizeof(__u64))
/* The port of OUTS; the byte written there becomes the value of the order. */
#define GUEST_PORT	0x80

/* What the guest does with each page of an order */
enum guest_op {
	GUEST_READ,	/* its first and its last word */
	GUEST_WRITE,	/* the first byte */
	GUEST_ADD,	/* 1 to the first word */
	GUEST_OUTS,	/* output of the first byte: KVM reads it itself */
};

#define ORDER_MAX	32

/**
 * struct order - what a vCPU is to do in one run
 * @op: with each page
 * @nr: number of pages
 * @page: which ones, in units of the guest's pages within the slot
 * @first: first word, as read; for GUEST_WRITE, the byte to write
 * @last: last word, as read
 * @before: the mark of the page as it was before the access, see guest_marks
 * @after: and after it
 */
struct order {
	__u32 op;
	__u32 nr;
	__u32 page[ORDER_MAX];
	__u64 first[ORDER_MAX];
	__u64 last[ORDER_MAX];
	__u8 before[ORDER_MAX];
	__u8 after[ORDER_MAX];
};

/*
 * In the guest; the host accesses them through order_of() and marks(). A mark
 * is a byte per page, by which the host reports its progress to the guest.
 */
#define GUEST_PAGES	512

static struct order guest_orders[NR_VCPUS];
static __u8 guest_marks[GUEST_PAGES];

static void guest_access(struct order *o, __u32 i, __u64 *p)
{
	switch (READ_ONCE(o->op)) {
	case GUEST_READ:
		WRITE_ONCE(o->first[i], READ_ONCE(p[0]));
		WRITE_ONCE(o->last[i], READ_ONCE(p[GUEST_WORDS - 1]));
		break;
	case GUEST_WRITE:
		WRITE_ONCE(*(__u8 *)p, READ_ONCE(o->first[i]));
		break;
	case GUEST_ADD:
		__atomic_fetch_add(p, 1, __ATOMIC_RELAXED);
		break;
	case GUEST_OUTS:
		asm volatile("outsb" : "+S" (p) : "d" (GUEST_PORT) : "memory");
		break;
	}
}

static void guest_main(unsigned int nr)
{
	struct order *o = &guest_orders[nr];

	for (;;) {
		for (__u32 i = 0; i < READ_ONCE(o->nr); i++) {
			__u32 page = READ_ONCE(o->page[i]);

			/* The processor keeps this order. */
			WRITE_ONCE(o->before[i], READ_ONCE(guest_marks[page]));
			guest_access(o, i, (__u64 *)(GMEM_GPA +
						     page * LAB_PAGE));
			WRITE_ONCE(o->after[i], READ_ONCE(guest_marks[page]));
		}
		GUEST_SYNC(nr);
	}
}

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpus[NR_VCPUS];
static struct kvm_regs guest_begin[NR_VCPUS];

static inline struct order *order_of(unsigned int nr)
{
	return addr_gva2hva(vm, (vm_vaddr_t)&guest_orders[nr]);
}

static inline __u8 *marks(void)
{
	return addr_gva2hva(vm, (vm_vaddr_t)guest_marks);
}

/* Makes a VM of the KVM type @type with its program, but without its memory. */
static inline void guest_make(unsigned long type, unsigned int nr_vcpus,
			      size_t pages)
{
	struct vm_shape shape = VM_SHAPE_DEFAULT;

	shape.type = type;
	vm = __vm_create_with_vcpus(shape, nr_vcpus, pages, guest_main, vcpus);
	for (unsigned int i = 0; i < nr_vcpus; i++) {
		vcpu_args_set(vcpus[i], 1, i);
		vcpu_regs_get(vcpus[i], &guest_begin[i]);
	}
	virt_map(vm, GMEM_GPA, GMEM_GPA, pages);
}

/* Puts the memory at @hva, and the bound range of @fd, into the slot. */
static inline int guest_plug(void *hva, size_t len, __u32 flags, int fd)
{
	return __vm_set_user_memory_region2(vm, GMEM_SLOT, flags, GMEM_GPA, len,
					    hva, fd, 0) ? -errno : 0;
}

/* Starts from the beginning, after an order that failed. */
static inline void guest_restart(unsigned int nr)
{
	vcpu_regs_set(vcpus[nr], &guest_begin[nr]);
}

/*
 * Runs a vCPU until its order is done. Returns 0, or the errno of KVM_RUN if
 * the guest stopped at an access, or -1 for another exit.
 */
static inline int guest_run(unsigned int nr)
{
	struct kvm_run *run = vcpus[nr]->run;
	struct ucall uc;

	for (;;) {
		if (__vcpu_run(vcpus[nr]))
			return errno;
		if (run->exit_reason != KVM_EXIT_IO ||
		    run->io.port != GUEST_PORT)
			break;
		order_of(nr)->first[0] = *((__u8 *)run + run->io.data_offset);
	}
	if (get_ucall(vcpus[nr], &uc) == UCALL_SYNC)
		return 0;
	printf("# vCPU %u: exit reason %u, ucall %llu\n", nr, run->exit_reason,
	       (unsigned long long)uc.cmd);
	return -1;
}

/* The memory type; a new file needs a VM. */
static __u64 gmem_flags = GMEM_FLAGS;

static inline int gmem_file(size_t len)
{
	int fd = __vm_create_guest_memfd(vm, len, gmem_flags);

	return fd < 0 ? -errno : fd;
}

static const struct lab_type lab_guest_memfd = {
	.name = "guest_memfd",
	.flags = LAB_SHMEM_SHARED,
	.file = gmem_file,
};

static inline int make_hole(int fd, size_t page, size_t nr)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 page * LAB_PAGE, nr * LAB_PAGE) ? -errno : 0;
}

/* Allocates pages without content. */
static inline int allocate(int fd, size_t page, size_t nr)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, page * LAB_PAGE,
			 nr * LAB_PAGE) ? -errno : 0;
}

#endif /* GUEST_MEMFD_UFFD_H */
