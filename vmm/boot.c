// SPDX-License-Identifier: GPL-2.0
/*
 * Loads a bzImage according to Documentation/arch/x86/boot.rst and sets the
 * vCPU to its 64-bit entry point. Layout of the memory:
 *
 *	0x01000		GDT
 *	0x07000		boot_params, the "zero page"
 *	0x09000		page tables: identity mapping of the first 4 GiB
 *	0x20000		command line
 *	0x100000	kernel, which decompresses itself to its final address
 *	end of memory	initramfs, right below
 */
#define _GNU_SOURCE
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

#define GDT		0x1000ULL
#define ZERO_PAGE	0x7000ULL
#define PAGE_TABLES	0x9000ULL
#define CMDLINE		0x20000ULL
#define LOW_END		0x9fc00ULL	/* end of a PC's conventional memory */
#define HIGH_MEMORY	0x100000ULL

#define ENTRY_64	0x200		/* from the start of the kernel */
#define E820_RAM	1

#define PRESENT_WRITE	0x003ULL
#define HUGE_ENTRY	0x080ULL

#define CR0_PE_PG	0x80000011ULL	/* PE, ET, PG */
#define CR4_PAE		0x20ULL
#define EFER_LME_LMA	0x500ULL

struct file {
	char *data;
	size_t len;
};

static int map_file(struct file *file, const char *path, struct lazy_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return because(err, "%s: %m", path);
	if (fstat(fd, &st)) {
		close(fd);
		return because(err, "%s: %m", path);
	}
	file->len = st.st_size;
	file->data = mmap(NULL, file->len, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file->data == MAP_FAILED)
		return because(err, "%s: %m", path);
	return 0;
}

static void describe_memory(struct boot_params *params, size_t len)
{
	params->e820_entries = 2;
	params->e820_table[0] = (struct boot_e820_entry) {
		.addr = 0, .size = LOW_END, .type = E820_RAM,
	};
	params->e820_table[1] = (struct boot_e820_entry) {
		.addr = HIGH_MEMORY, .size = len - HIGH_MEMORY,
		.type = E820_RAM,
	};
}

static int load(struct machine *m, const struct file *kernel,
		const struct file *initrd, const char *cmdline,
		struct lazy_error *err)
{
	struct boot_params *params = (void *)(m->memory.host + ZERO_PAGE);
	const struct setup_header *hdr;
	uint64_t initrd_at, unpacked;
	size_t setup;

	if (kernel->len < sizeof(*params))
		return because(err, "the kernel file is too short");
	hdr = &((const struct boot_params *)kernel->data)->hdr;
	if (hdr->boot_flag != 0xaa55 || memcmp(&hdr->header, "HdrS", 4) ||
	    hdr->version < 0x20c || !(hdr->xloadflags & XLF_KERNEL_64))
		return because(err, "the kernel is not a 64-bit bzImage");
	setup = (hdr->setup_sects + 1) * 512;
	if (setup > kernel->len || strlen(cmdline) > hdr->cmdline_size)
		return because(err, "the kernel file is truncated or its command line is too long");

	unpacked = hdr->pref_address + hdr->init_size;
	initrd_at = (m->memory.len - initrd->len) & ~0xfffULL;
	if (initrd->len > m->memory.len || initrd_at < unpacked ||
	    HIGH_MEMORY + kernel->len > initrd_at)
		return because(err, "the guest needs more memory than %zu MiB",
			       m->memory.len >> 20);

	memset(params, 0, sizeof(*params));
	memcpy(&params->hdr, hdr, sizeof(*hdr));
	params->hdr.type_of_loader = 0xff;
	params->hdr.cmd_line_ptr = CMDLINE;
	params->hdr.ramdisk_image = initrd_at;
	params->hdr.ramdisk_size = initrd->len;
	describe_memory(params, m->memory.len);
	strcpy(m->memory.host + CMDLINE, cmdline);
	memcpy(m->memory.host + HIGH_MEMORY, kernel->data + setup,
	       kernel->len - setup);
	memcpy(m->memory.host + initrd_at, initrd->data, initrd->len);
	return 0;
}

/* The first 4 GiB, in pages of 2 MiB. */
static void make_page_tables(struct machine *m)
{
	uint64_t *table = (uint64_t *)(m->memory.host + PAGE_TABLES);
	uint64_t *pud = table + 512, *pmd = pud + 512;

	table[0] = (PAGE_TABLES + 0x1000) | PRESENT_WRITE;
	for (int i = 0; i < 4; i++)
		pud[i] = (PAGE_TABLES + 0x2000 + i * 0x1000ULL) | PRESENT_WRITE;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pmd[i] = i << 21 | HUGE_ENTRY | PRESENT_WRITE;
}

/* A flat segment, for the GDT and for the vCPU. */
static struct kvm_segment make_segment(struct machine *m, uint16_t selector,
				       uint8_t type, bool code)
{
	uint64_t *gdt = (uint64_t *)(m->memory.host + GDT);

	gdt[selector / 8] = 0x00c0930000000000ULL + 0xffff + (0xfULL << 48);
	if (code)
		gdt[selector / 8] = 0x00a09b0000000000ULL + 0xffff +
				    (0xfULL << 48);
	return (struct kvm_segment) {
		.limit = ~0u, .selector = selector, .type = type, .present = 1,
		.db = !code, .s = 1, .l = code, .g = 1,
	};
}

static int set_registers(struct machine *m, struct lazy_error *err)
{
	struct kvm_regs regs = {
		.rip = HIGH_MEMORY + ENTRY_64,
		.rsi = ZERO_PAGE,
		.rflags = 2,
	};
	struct kvm_sregs sregs;
	struct kvm_segment data;

	if (ioctl(m->vcpu, KVM_GET_SREGS, &sregs))
		return because(err, "KVM_GET_SREGS: %m");
	data = make_segment(m, 0x18, 0x3, false);
	sregs.cs = make_segment(m, 0x10, 0xb, true);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = GDT;
	sregs.gdt.limit = 4 * 8 - 1;
	make_page_tables(m);
	sregs.cr3 = PAGE_TABLES;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 = CR0_PE_PG;
	sregs.efer = EFER_LME_LMA;
	if (ioctl(m->vcpu, KVM_SET_SREGS, &sregs) ||
	    ioctl(m->vcpu, KVM_SET_REGS, &regs))
		return because(err, "cannot set the vCPU's registers: %m");
	return 0;
}

int boot_linux(struct machine *m, const char *kernel, const char *initrd,
	       const char *cmdline, struct lazy_error *err)
{
	struct file image, root;
	struct kvm_cpuid2 *cpuid;
	int ret;

	if (map_file(&image, kernel, err))
		return -1;
	if (map_file(&root, initrd, err)) {
		munmap(image.data, image.len);
		return -1;
	}
	ret = load(m, &image, &root, cmdline, err);
	munmap(image.data, image.len);
	munmap(root.data, root.len);
	if (ret)
		return -1;

	cpuid = machine_cpuid(m, err);
	if (!cpuid)
		return -1;
	ret = ioctl(m->vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	if (ret)
		return because(err, "KVM_SET_CPUID2: %m");
	return set_registers(m, err);
}
