// SPDX-License-Identifier: GPL-2.0
/*
 * KVM as a module whose files outlive their VM: no part of KVM can be unloaded
 * while a guest_memfd is open, mapped or waited for. All of it can be unloaded
 * afterwards, and works after it was loaded again.
 *
 * No other process may use KVM meanwhile.
 */
#include "../kselftest_harness.h"
#include "guest_memfd_uffd.h"
/* EXPECT_*() and struct lab; eight pages */
#include "../mm/uffd/fixture.h"

#include <sys/wait.h>

static int unload(const char *module)
{
	return syscall(__NR_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

static int modprobe(const char *module)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execlp("modprobe", "modprobe", module, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return status;
}

static bool is_loaded(const char *module)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	return !access(path, F_OK);
}

FIXTURE(module)
{
	const char *vendor;
	struct lab l;
};

FIXTURE_SETUP(module)
{
	self->vendor = is_loaded("kvm_amd") ? "kvm_amd" : "kvm_intel";
	if (!is_loaded(self->vendor))
		SKIP(return, "KVM is not a module");
	guest_make(VM_TYPE_DEFAULT, 1, PAGES);
	ASSERT_EQ(0, lab_setup(&self->l, &lab_guest_memfd));
	ASSERT_EQ(0, guest_plug(self->l.m.area, self->l.m.len, 0, -1));
}

FIXTURE_TEARDOWN(module)
{
	lab_teardown(&self->l);
	EXPECT_EQ(0, modprobe(self->vendor));
}

/* The unload is refused and has no effect: the file still works. */
#define EXPECT_STAYS()							\
do {									\
	EXPECT_EQ(-EWOULDBLOCK, unload(self->vendor));			\
	EXPECT_EQ(-EWOULDBLOCK, unload("kvm"));				\
	EXPECT_TRUE(is_loaded(self->vendor));				\
	EXPECT_TRUE(is_loaded("kvm"));					\
} while (0)

#define EXPECT_GOES()							\
do {									\
	EXPECT_EQ(0, unload(self->vendor));				\
	EXPECT_EQ(0, unload("kvm"));					\
	EXPECT_FALSE(is_loaded("kvm"));					\
	EXPECT_EQ(0, modprobe(self->vendor));				\
	EXPECT_TRUE(is_loaded(self->vendor));				\
} while (0)

static void unmap(struct lab *l)
{
	munmap(l->m.area, l->m.len);
	munmap(l->m.alias, l->m.len);
	l->m.alias = NULL;
}

static void close_file(struct lab *l)
{
	close(l->m.fd);
	l->m.fd = -1;
}

TEST_F(module, open)
{
	struct lab *l = &self->l;

	unmap(l);
	kvm_vm_free(vm);
	EXPECT_STAYS();
	EXPECT_EQ(0, allocate(l->m.fd, 0, PAGES));
	EXPECT_EQ(0, make_hole(l->m.fd, 0, PAGES));
	EXPECT_STAYS();
	close_file(l);
	EXPECT_GOES();
}

TEST_F(module, mapped)
{
	struct lab *l = &self->l;

	kvm_vm_free(vm);
	close_file(l);
	EXPECT_STAYS();
	file_write(l, 0, PAGES);
	EXPECT_TRUE(same_at(l, page_at(l, 3), 3));
	EXPECT_STAYS();
	unmap(l);
	EXPECT_GOES();
}

/* A thread waits in KVM's handler, and nothing else uses KVM. */
TEST_F(module, waited_for)
{
	struct lab *l = &self->l;
	struct lab_touch t;

	munmap(l->m.alias, l->m.len);
	l->m.alias = NULL;
	kvm_vm_free(vm);
	close_file(l);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING | LAB_MINOR | LAB_WP, NULL));
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_STAYS();
	EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), l->m.page,
			      0, NULL));
	EXPECT_TOUCHED(&t, src_at(l, 3)[0]);
	EXPECT_STAYS();
	munmap(l->m.area, l->m.len);
	EXPECT_GOES();
}

/*
 * A running VM without a file holds the module as before; and it runs after a
 * reload.
 */
TEST_F(module, reloaded)
{
	struct lab *l = &self->l;

	unmap(l);
	close_file(l);
	EXPECT_STAYS();
	kvm_vm_free(vm);
	for (int i = 0; i < 3; i++) {
		EXPECT_GOES();
		guest_make(VM_TYPE_DEFAULT, 1, PAGES);
		l->m.fd = gmem_file(l->m.len);
		ASSERT_LE(0, l->m.fd);
		ASSERT_NE(MAP_FAILED,
			  mmap(l->m.area, l->m.len, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, l->m.fd, 0));
		ASSERT_EQ(0, guest_plug(l->m.area, l->m.len, 0, -1));
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  LAB_MISSING, NULL));
		EXPECT_EQ(0, lab_copy(l->uffd, page_at(l, i), src_at(l, i),
				      l->m.page, 0, NULL));
		order_of(0)->op = GUEST_READ;
		order_of(0)->nr = 1;
		order_of(0)->page[0] = i;
		EXPECT_EQ(0, guest_run(0));
		EXPECT_EQ(*(__u64 *)src_at(l, i), order_of(0)->first[0]);
		kvm_vm_free(vm);
		EXPECT_STAYS();
		munmap(l->m.area, l->m.len);
		close_file(l);
	}
	EXPECT_GOES();
}

TEST_HARNESS_MAIN
