// SPDX-License-Identifier: GPL-2.0
/*
 * A slot that is bound to a guest_memfd whose mapping is registered with
 * userfaultfd: the guest's accesses are resolved from the file, those of KVM
 * itself through the mapping.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd_touch.h"
#include <sys/wait.h>

FIXTURE(bound)
{
	struct lab l;
};

FIXTURE_SETUP(bound)
{
	struct lab *l = &self->l;

	by_guest = true;
	ASSERT_EQ(0, gmem_begin(l));
	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	ASSERT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_GUEST_MEMFD,
				l->m.fd));
}

FIXTURE_TEARDOWN(bound)
{
	lab_teardown(&self->l);
}

TEST_F(bound, is_one_memory)
{
	struct lab *l = &self->l;

	EXPECT_READS(l, 0, 0);
	EXPECT_WRITES(l, 1, 9);
	EXPECT_EQ(9, page_at(l, 1)[0]);
	EXPECT_TRUE(lab_all(page_at(l, 1) + 1, l->m.page - 1, 0));
	file_write(l, 2, 1);
	EXPECT_READS(l, 2, first_of(l, 2));
	ASSERT_EQ(1, pwrite(l->m.fd, "x", 1, l->m.page));
	EXPECT_READS(l, 1, 'x');
	ASSERT_EQ(0, make_hole(l->m.fd, 1, 1));
	EXPECT_READS(l, 1, 0);
	EXPECT_EQ(0, page_at(l, 1)[0]);
}

/* Protection and MINOR concern page tables that the guest does not use. */
TEST_F(bound, guest_is_not_seen)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MINOR | LAB_WP);
	file_write(l, 2, 1);
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 2), NULL, l->m.page, 0);
	ASSERT_EQ(0, lab_writeprotect(l->uffd, page_at(l, 2), l->m.page,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_READS(l, 0, 0);
	EXPECT_WRITES(l, 1, 9);
	EXPECT_READS(l, 2, first_of(l, 2));
	EXPECT_WRITES(l, 2, 9);
	EXPECT_FALSE(has_msg(l));

	/*
	 * Pages that it allocated are present for accesses through the mapping.
	 */
	by_guest = false;
	for (int i = 0; i < 2; i++) {
		EXPECT_FAULTS(l, &w, i, false, 0, FAULT_MINOR);
		EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, i), NULL,
			  l->m.page, 0);
		EXPECT_TOUCHED(&w.t, 9 * i);
	}
}

/*
 * Holes that are registered with MISSING: the guest exits before the access,
 * and continues there.
 */

static void order_begin(enum guest_op op, const __u32 *pages, __u32 nr)
{
	struct order *o = order_of(0);

	memset(o, 0, sizeof(*o));
	o->op = op;
	o->nr = nr;
	memcpy(o->page, pages, nr * sizeof(*pages));
}

#define ORDER(op, ...) do {						\
	const __u32 __pages[] = { __VA_ARGS__ };			\
	order_begin(op, __pages, ARRAY_SIZE(__pages));			\
} while (0)

/* Runs the guest until it reaches the hole at page @i. */
#define EXPECT_STOPS(i) do {						\
	const struct kvm_run *__run = vcpus[0]->run;			\
	EXPECT_EQ(EFAULT, guest_run(0));				\
	EXPECT_EQ(KVM_EXIT_MEMORY_FAULT, __run->exit_reason);		\
	EXPECT_EQ(GMEM_GPA + (i) * LAB_PAGE, __run->memory_fault.gpa);	\
	EXPECT_EQ(LAB_PAGE, __run->memory_fault.size);			\
	EXPECT_EQ(0, __run->memory_fault.flags);			\
} while (0)

/*
 * The n-th page of the order of the guest had the content of page @i of the
 * source.
 */
#define EXPECT_ORDER_READ(l, n, i) do {					\
	const struct order *__o = order_of(0);				\
	const __u64 *__src = (const __u64 *)src_at(l, i);		\
	EXPECT_EQ(__src[0], __o->first[n]);				\
	EXPECT_EQ(__src[GUEST_WORDS - 1], __o->last[n]);		\
} while (0)

TEST_F(bound, hole_read)
{
	struct lab *l = &self->l;

	file_write(l, 2, 1);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	ORDER(GUEST_READ, 1, 2, 3);
	EXPECT_STOPS(1);
	/* No page was allocated, however often it tries. */
	EXPECT_STOPS(1);
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 1), NULL,
		  l->m.page, 0);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page,
		  0);
	EXPECT_STOPS(3);
	EXPECT_OP(DONE, l->uffd, ZEROPAGE, page_at(l, 3), NULL, l->m.page, 0);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 1);
	EXPECT_ORDER_READ(l, 1, 2);
	EXPECT_EQ(0, order_of(0)->first[2]);
	EXPECT_EQ(0, order_of(0)->last[2]);
	EXPECT_FALSE(has_msg(l));
}

TEST_F(bound, hole_write)
{
	struct lab *l = &self->l;

	EXPECT_ARMED(l, LAB_MISSING);
	ORDER(GUEST_WRITE, 1);
	order_of(0)->first[0] = 9;
	EXPECT_STOPS(1);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page,
		  0);
	EXPECT_EQ(0, guest_run(0));
	src_at(l, 1)[0] = 9;
	EXPECT_FILE(l, 1);
	EXPECT_FALSE(has_msg(l));
}

/* An allocated or punched page is a hole; one that write() filled is not. */
TEST_F(bound, hole_kinds)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, allocate(l->m.fd, 1, 1));
	EXPECT_ARMED(l, LAB_MISSING);
	ORDER(GUEST_READ, 1, 2, 3);
	EXPECT_STOPS(1);
	ASSERT_EQ(0, allocate(l->m.fd, 2, 1));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page,
		  0);
	EXPECT_STOPS(2);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 2), src_at(l, 2), l->m.page,
		  0);
	EXPECT_STOPS(3);
	ASSERT_EQ((ssize_t)l->m.page, pwrite(l->m.fd, src_at(l, 3), l->m.page,
					     3 * l->m.page));
	EXPECT_EQ(0, guest_run(0));
	for (int i = 0; i < 3; i++)
		EXPECT_ORDER_READ(l, i, i + 1);

	ASSERT_EQ(0, make_hole(l->m.fd, 1, 1));
	ORDER(GUEST_READ, 2, 1);
	EXPECT_STOPS(1);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), src_at(l, 7), l->m.page,
		  0);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 2);
	EXPECT_ORDER_READ(l, 1, 7);
	EXPECT_FALSE(has_msg(l));
}

/* To wait for the monitor, userspace reads the page through the mapping. */
TEST_F(bound, hole_waits_by_mapping)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_ARMED(l, LAB_MISSING);
	ORDER(GUEST_READ, 5);
	EXPECT_STOPS(5);
	by_guest = false;
	EXPECT_FAULTS(l, &w, 5, false, 0, FAULT_MISSING);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 5), src_at(l, 5), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 5));
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 5);
	EXPECT_FALSE(has_msg(l));
}

/* Only if MISSING is registered, and only as long as it is */
TEST_F(bound, hole_not_armed)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 2), 2 * l->m.page,
				  LAB_MISSING, NULL));
	ORDER(GUEST_READ, 1, 4, 2);
	EXPECT_STOPS(2);
	EXPECT_EQ(0, order_of(0)->first[0]);
	EXPECT_EQ(0, order_of(0)->first[1]);
	ASSERT_EQ(0, lab_unregister(l->uffd, page_at(l, 2), l->m.page));
	EXPECT_EQ(0, guest_run(0));
	EXPECT_EQ(0, order_of(0)->first[2]);
	ORDER(GUEST_READ, 3);
	EXPECT_STOPS(3);
	close(l->uffd);
	l->uffd = -1;
	EXPECT_EQ(0, guest_run(0));
	EXPECT_EQ(0, order_of(0)->first[0]);
}

/* The offset in the file counts, not the one in the mapping. */
TEST_F(bound, hole_offset)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, remap(l, l->m.fd, 4 * l->m.page));
	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 0), l->m.page,
				  LAB_MISSING, NULL));
	ORDER(GUEST_READ, 0, 3, 5, 4);
	EXPECT_STOPS(4);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), src_at(l, 4), l->m.page,
		  0);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_EQ(0, order_of(0)->first[0]);
	EXPECT_ORDER_READ(l, 3, 4);
}

/* A mapping of another process counts as well. */
TEST_F(bound, hole_of_another_process)
{
	struct lab *l = &self->l;
	int ready[2], go[2], uffd, status;
	pid_t child;
	char c = 0;
	void *p;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		p = mmap(NULL, l->m.len, PROT_READ, MAP_SHARED, l->m.fd, 0);
		uffd = lab_uffd_open(0);
		if (p == MAP_FAILED || uffd < 0 ||
		    lab_register(uffd, p, l->m.len, LAB_MISSING, NULL))
			_exit(1);
		if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(2);
		_exit(lab_copy(uffd, p, l->src, l->m.page, 0, NULL) ? 3 : 0);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ORDER(GUEST_READ, 0, 1);
	EXPECT_STOPS(0);
	ASSERT_EQ(1, write(go[1], &c, 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* The other page is not waited for any more. */
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 0);
	EXPECT_EQ(0, order_of(0)->first[1]);
}

static int pre_fault(__u64 page, __u64 nr, __u64 *left)
{
	struct kvm_pre_fault_memory range = {
		.gpa = GMEM_GPA + page * LAB_PAGE,
		.size = nr * LAB_PAGE,
	};
	int ret;

	ret = __vcpu_ioctl(vcpus[0], KVM_PRE_FAULT_MEMORY, &range);
	*left = range.size / LAB_PAGE;
	return ret ? -errno : 0;
}

TEST_F(bound, hole_pre_fault)
{
	struct lab *l = &self->l;
	__u64 left;

	if (!kvm_check_cap(KVM_CAP_PRE_FAULT_MEMORY))
		SKIP(return, "needs KVM_CAP_PRE_FAULT_MEMORY");
	file_write(l, 0, 2);
	EXPECT_ARMED(l, LAB_MISSING);
	/* Runs up to the hole, then returns the errno */
	EXPECT_EQ(0, pre_fault(0, 4, &left));
	EXPECT_EQ(2, left);
	EXPECT_EQ(-EFAULT, pre_fault(2, 2, &left));
	EXPECT_EQ(2, left);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 2), src_at(l, 2), l->m.page,
		  0);
	EXPECT_EQ(0, pre_fault(2, 2, &left));
	EXPECT_EQ(1, left);
	ASSERT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
	EXPECT_EQ(0, pre_fault(3, 1, &left));
	EXPECT_EQ(0, left);
	ORDER(GUEST_READ, 2, 3);
	EXPECT_EQ(0, guest_run(0));
	EXPECT_ORDER_READ(l, 0, 2);
	EXPECT_EQ(0, order_of(0)->first[1]);
}

TEST_F(bound, access_by_kvm)
{
	struct lab *l = &self->l;
	struct toucher w;

	EXPECT_WRITES(l, 3, 9);
	EXPECT_ARMED(l, LAB_MISSING | LAB_MINOR);
	ASSERT_EQ(0, outs_start(&w, 3));
	ASSERT_EQ(FAULT_MINOR, next_fault(l, 3));
	ASSERT_TRUE(touch_waits(&w.t));
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 3), NULL, l->m.page, 0);
	EXPECT_TOUCHED(&w.t, 9);
	ASSERT_EQ(0, outs_start(&w, 4));
	ASSERT_EQ(FAULT_MISSING, next_fault(l, 4));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 4), src_at(l, 4), l->m.page,
		  0);
	EXPECT_TOUCHED(&w.t, first_of(l, 4));
	EXPECT_FALSE(has_msg(l));
}

/* Without a mapping, punching a hole still removes pages from the guest. */
TEST_F(bound, hole_without_mapping)
{
	struct lab *l = &self->l;

	EXPECT_WRITES(l, 1, 9);
	EXPECT_WRITES(l, 2, 9);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	ASSERT_EQ(0, munmap(l->m.alias, l->m.len));
	l->m.alias = NULL;
	EXPECT_READS(l, 1, 9);
	ASSERT_EQ(0, make_hole(l->m.fd, 1, 1));
	EXPECT_READS(l, 1, 0);
	EXPECT_READS(l, 2, 9);
}

/* Mapping and binding are independent of each other. */
TEST_F(bound, comes_and_goes)
{
	struct lab *l = &self->l;
	int code = 0;
	char v = 0;

	EXPECT_WRITES(l, 1, 9);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	EXPECT_READS(l, 1, 9);
	EXPECT_WRITES(l, 2, 9);
	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	EXPECT_EQ(9, alias_at(l, 2)[0]);
	ASSERT_EQ(0, remap(l, l->m.fd, 0));
	EXPECT_EQ(9, page_at(l, 2)[0]);
	ASSERT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_GUEST_MEMFD,
				l->m.fd));
	EXPECT_READS(l, 2, 9);
	/*
	 * A mapping holds the file like its descriptor does; then the guest has
	 * nothing.
	 */
	close(l->m.fd);
	l->m.fd = -1;
	EXPECT_READS(l, 2, 9);
	ASSERT_EQ(0, munmap(l->m.area, l->m.len));
	EXPECT_READS(l, 2, 9);
	ASSERT_EQ(0, munmap(l->m.alias, l->m.len));
	l->m.alias = NULL;
	EXPECT_EQ(EFAULT, touch(l, 2, false, &v, &code));
}

TEST_F(bound, memory_failure)
{
	struct lab *l = &self->l;
	int code = 0;
	char v = 0;

	file_write(l, 0, PAGES);
	EXPECT_WRITES(l, 3, 9);
	signal(SIGBUS, hwpoison_told);
	ASSERT_EQ(0, madvise(alias_at(l, 3), l->m.page, MADV_HWPOISON));
	lab_catch_signals();
	EXPECT_EQ(EHWPOISON, touch(l, 3, false, &v, &code));
	EXPECT_EQ(KVM_EXIT_MEMORY_FAULT, vcpus[0]->run->exit_reason);
	EXPECT_WRITES(l, 4, 9);
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	ASSERT_EQ(0, make_hole(l->m.fd, 3, 1));
	EXPECT_READS(l, 3, 0);
}

/*
 * Any file can be bound if there is no private memory. If it can be mapped, the
 * guest's memory is in it, whatever the userspace address maps.
 */
TEST_F(bound, any_file)
{
	static const __u64 all[] = {
		0, GUEST_MEMFD_FLAG_MMAP, GUEST_MEMFD_FLAG_INIT_SHARED,
		GMEM_FLAGS,
	};
	struct lab *l = &self->l;
	int fd;

	for (int i = 0; i < (int)ARRAY_SIZE(all); i++) {
		bool in_file = all[i] & GUEST_MEMFD_FLAG_MMAP;

		ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
		gmem_flags = all[i];
		fd = gmem_file(l->m.len);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, guest_plug(l->m.area, l->m.len,
					KVM_MEM_GUEST_MEMFD, fd));
		memset(alias_at(l, 1), 5, l->m.page);
		EXPECT_READS(l, 1, in_file ? 0 : 5);
		EXPECT_WRITES(l, 1, 9);
		EXPECT_READS(l, 1, 9);
		EXPECT_EQ(in_file ? 5 : 9, alias_at(l, 1)[0]);
		ASSERT_EQ(0, make_hole(fd, 1, 1));
		EXPECT_READS(l, 1, in_file ? 0 : 9);
		close(fd);
	}
}

/* A descriptor that cannot be bound */
TEST_F(bound, bad_descriptor)
{
	struct lab *l = &self->l;
	int null = open("/dev/null", O_RDWR), closed = dup(null);
	struct kvm_vm *other = vm_create_barebones();
	int bad[] = {
		-1, closed, null, vm->fd, vm->kvm_fd, l->uffd,
		__vm_create_guest_memfd(other, l->m.len, GMEM_FLAGS),
	};

	ASSERT_LE(0, closed);
	close(closed);
	EXPECT_EQ(1, __vm_ioctl(vm, KVM_CHECK_EXTENSION,
				(void *)KVM_CAP_GUEST_MEMFD));
	/* The range is bound: EEXIST in mainline, EINVAL in some versions. */
	EXPECT_EQ(-1, __vm_set_user_memory_region2(vm, GMEM_SLOT + 1,
						   KVM_MEM_GUEST_MEMFD,
						   2 * GMEM_GPA, l->m.len,
						   l->m.area, l->m.fd, 0));
	EXPECT_TRUE(errno == EEXIST || errno == EINVAL);
	ASSERT_EQ(0, guest_plug(l->m.area, 0, 0, -1));
	for (int i = 0; i < (int)ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len,
					      KVM_MEM_GUEST_MEMFD, bad[i]));
	/* The same for more than the file has */
	EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len + LAB_PAGE,
				      KVM_MEM_GUEST_MEMFD, l->m.fd));
	EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len,
				      KVM_MEM_GUEST_MEMFD |
				      KVM_MEM_LOG_DIRTY_PAGES, l->m.fd));
	EXPECT_EQ(-EINVAL, guest_plug(l->m.area, l->m.len,
				      KVM_MEM_GUEST_MEMFD | KVM_MEM_READONLY,
				      l->m.fd));
	EXPECT_EQ(0, guest_plug(l->m.area, l->m.len, KVM_MEM_GUEST_MEMFD,
				l->m.fd));
}

/*
 * A slot that is bound to the file and has a mapping of it, in a VM that can
 * have private memory, whose files are not shared. The guest has its pages, and
 * accesses through the mapping find none.
 */
TEST(bound_and_mapped)
{
	struct lab l;
	int code = 0;
	char v = 0;

	if (!(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM)))
		SKIP(return, "needs CONFIG_KVM_SW_PROTECTED_VM");
	guest_make(KVM_X86_SW_PROTECTED_VM, 1, PAGES);
	EXPECT_EQ((int)GUEST_MEMFD_FLAG_MMAP,
		  __vm_ioctl(vm, KVM_CHECK_EXTENSION,
			     (void *)KVM_CAP_GUEST_MEMFD_FLAGS));
	EXPECT_EQ(-EINVAL, gmem_file(2 * LAB_PAGE));
	gmem_flags = GUEST_MEMFD_FLAG_MMAP;
	ASSERT_EQ(0, lab_setup(&l, &lab_guest_memfd));
	ASSERT_EQ(0, guest_plug(l.m.area, l.m.len, KVM_MEM_GUEST_MEMFD,
				l.m.fd));
	vm_mem_set_private(vm, GMEM_GPA, 4 * l.m.page);

	/* Private pages are in the file. */
	by_guest = true;
	EXPECT_WRITES(&l, 0, 9);
	EXPECT_READS(&l, 0, 9);
	EXPECT_READS(&l, 1, 0);
	/* So are shared ones, since the file can be mapped. */
	EXPECT_READS(&l, 4, 0);
	EXPECT_WRITES(&l, 4, 5);
	EXPECT_READS(&l, 4, 5);
	by_guest = false;
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(SIGBUS, touch(&l, i, i % 2, &v, &code));
		EXPECT_EQ(BUS_ADRERR, code);
	}
	EXPECT_EQ(-1, pwrite(l.m.fd, "x", 1, 0));

	/*
	 * A punch removes a page from the guest; a private page that becomes
	 * shared stays.
	 */
	by_guest = true;
	ASSERT_EQ(0, make_hole(l.m.fd, 0, 1));
	EXPECT_READS(&l, 0, 0);
	EXPECT_WRITES(&l, 1, 7);
	vm_mem_set_shared(vm, GMEM_GPA, 4 * l.m.page);
	EXPECT_READS(&l, 1, 7);
	ASSERT_EQ(0, make_hole(l.m.fd, 4, 1));
	EXPECT_READS(&l, 4, 0);
	vm_mem_set_private(vm, GMEM_GPA, 4 * l.m.page);
	EXPECT_READS(&l, 1, 7);

	/* After binding it again, the guest has the same memory as before. */
	ASSERT_EQ(0, guest_plug(l.m.area, 0, 0, -1));
	ASSERT_EQ(0, guest_plug(l.m.area, l.m.len, KVM_MEM_GUEST_MEMFD,
				l.m.fd));
	EXPECT_READS(&l, 1, 7);
	kvm_vm_free(vm);
	/* The mapping holds the file, which holds the rest of the VM. */
	EXPECT_EQ(SIGBUS, lab_access(page_at(&l, 1), false, &v, &code));
	lab_teardown(&l);
}

TEST_HARNESS_MAIN
