// SPDX-License-Identifier: GPL-2.0
/*
 * Saves the state of the VM to a snapshot and restores it in the required
 * order.
 *
 * Most of the state consists of structures that one ioctl reads and another
 * ioctl writes: a table row each. Rows are in the order of the restore: CPUID
 * before state that depends on it, the local APIC before the MSR of its timer,
 * events and mp_state last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm.h"

#define MSR_TSC_DEADLINE	0x6e0

static const struct part {
	const char *name;
	bool vcpu;			/* of the vCPU, otherwise of the VM */
	unsigned long get, set;
	size_t len;
	uint32_t chip;			/* chip_id of KVM_GET_IRQCHIP */
} parts[] = {
	{ "sregs2", true, KVM_GET_SREGS2, KVM_SET_SREGS2, sizeof(struct kvm_sregs2), 0 },
	{ "regs", true, KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), 0 },
	{ "xcrs", true, KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), 0 },
	{ "debugregs", true, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	  sizeof(struct kvm_debugregs), 0 },
	{ "pic-master", false, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP,
	  sizeof(struct kvm_irqchip), KVM_IRQCHIP_PIC_MASTER },
	{ "pic-slave", false, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP,
	  sizeof(struct kvm_irqchip), KVM_IRQCHIP_PIC_SLAVE },
	{ "ioapic", false, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP,
	  sizeof(struct kvm_irqchip), KVM_IRQCHIP_IOAPIC },
	{ "pit", false, KVM_GET_PIT2, KVM_SET_PIT2, sizeof(struct kvm_pit_state2), 0 },
	{ "clock", false, KVM_GET_CLOCK, KVM_SET_CLOCK, sizeof(struct kvm_clock_data), 0 },
	{ "lapic", true, KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), 0 },
	{ "events", true, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	  sizeof(struct kvm_vcpu_events), 0 },
	{ "mp-state", true, KVM_GET_MP_STATE, KVM_SET_MP_STATE,
	  sizeof(struct kvm_mp_state), 0 },
};

#define NR_PARTS	(sizeof(parts) / sizeof(*parts))

static int call(struct machine *m, const struct part *part, unsigned long request,
		void *data)
{
	return ioctl(part->vcpu ? m->vcpu : m->vm, request, data);
}

static int save_part(struct machine *m, struct lazy_snap_writer *w,
		     const struct part *part, struct lazy_error *err)
{
	union {
		struct kvm_irqchip chip;
		struct kvm_sregs2 sregs2;
		struct kvm_lapic_state lapic;
		struct kvm_xcrs xcrs;
		char bytes[1024];
	} data = {};

	if (part->chip || part->get == KVM_GET_IRQCHIP)
		data.chip.chip_id = part->chip;
	if (call(m, part, part->get, &data))
		return because(err, "cannot read %s: %m", part->name);
	return lazy_snap_write_section(w, part->name, &data, part->len, err);
}

static int load_part(struct machine *m, struct lazy_snap *snap,
		     const struct part *part, struct lazy_error *err)
{
	char data[2048];

	if (lazy_snap_read_section(snap, part->name, data, part->len, err))
		return -1;
	/* The clock continues from its saved value. */
	if (part->set == KVM_SET_CLOCK)
		((struct kvm_clock_data *)data)->flags = 0;
	if (call(m, part, part->set, data))
		return because(err, "cannot restore %s: %m", part->name);
	return 0;
}

/* ---- state of variable size ---- */

static int save_cpuid(struct machine *m, struct lazy_snap_writer *w,
		      struct lazy_error *err)
{
	struct kvm_cpuid2 *cpuid = machine_cpuid(m, err);
	int ret;

	if (!cpuid)
		return -1;
	ret = lazy_snap_write_section(w, "cpuid", cpuid, sizeof(*cpuid) +
				 cpuid->nent * sizeof(*cpuid->entries), err);
	free(cpuid);
	return ret;
}

/* Reads a section of any length, which the caller frees. */
static void *read_any(struct lazy_snap *snap, const char *name,
		      size_t *len, struct lazy_error *err)
{
	uint64_t length;
	void *data;

	if (lazy_snap_section(snap, name, &length, err))
		return NULL;
	*len = length;
	data = malloc(*len ?: 1);
	if (!data)
		because(err, "%m");
	else if (!lazy_snap_read_section(snap, name, data, *len, err))
		return data;
	free(data);
	return NULL;
}

static int load_cpuid(struct machine *m, struct lazy_snap *snap,
		      struct lazy_error *err)
{
	struct kvm_cpuid2 *cpuid;
	size_t len;
	int ret;

	cpuid = read_any(snap, "cpuid", &len, err);
	if (!cpuid)
		return -1;
	if (len < sizeof(*cpuid) || len != sizeof(*cpuid) + cpuid->nent *
	    sizeof(*cpuid->entries))
		ret = because(err, "section cpuid is invalid");
	else if (ioctl(m->vcpu, KVM_SET_CPUID2, cpuid))
		ret = because(err, "cannot restore cpuid: %m");
	else
		ret = 0;
	free(cpuid);
	return ret;
}

/* The FPU registers and all other XSAVE state. */
static size_t xsave_len(struct machine *m)
{
	int len = ioctl(m->vm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return len > (int)sizeof(struct kvm_xsave) ? (size_t)len :
						     sizeof(struct kvm_xsave);
}

static int save_xsave(struct machine *m, struct lazy_snap_writer *w,
		      struct lazy_error *err)
{
	size_t len = xsave_len(m);
	void *data = calloc(1, len);
	int ret;

	if (!data)
		return because(err, "%m");
	if (ioctl(m->vcpu, len > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 :
		  KVM_GET_XSAVE, data))
		ret = because(err, "cannot read xsave: %m");
	else
		ret = lazy_snap_write_section(w, "xsave", data, len, err);
	free(data);
	return ret;
}

static int load_xsave(struct machine *m, struct lazy_snap *snap,
		      struct lazy_error *err)
{
	size_t len = xsave_len(m);
	void *data = malloc(len);
	int ret;

	if (!data)
		return because(err, "%m");
	ret = lazy_snap_read_section(snap, "xsave", data, len, err);
	if (!ret && ioctl(m->vcpu, KVM_SET_XSAVE, data))
		ret = because(err, "cannot restore xsave: %m");
	free(data);
	return ret;
}

static struct kvm_msr_list *msr_list(struct machine *m, struct lazy_error *err)
{
	struct kvm_msr_list probe = {}, *list;

	/* Fails with E2BIG and sets the number. */
	ioctl(m->kvm, KVM_GET_MSR_INDEX_LIST, &probe);
	list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(*list->indices));
	if (!list) {
		because(err, "%m");
		return NULL;
	}
	list->nmsrs = probe.nmsrs;
	if (ioctl(m->kvm, KVM_GET_MSR_INDEX_LIST, list)) {
		because(err, "KVM_GET_MSR_INDEX_LIST: %m");
		free(list);
		return NULL;
	}
	return list;
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/* Reads the MSRs that this vCPU has: KVM's list covers all vCPU models. */
static int save_msrs(struct machine *m, struct lazy_snap_writer *w,
		     struct lazy_error *err)
{
	struct kvm_msr_list *list = msr_list(m, err);
	struct kvm_msr_entry *msrs;
	size_t nr = 0;
	int ret;

	if (!list)
		return -1;
	msrs = calloc(list->nmsrs, sizeof(*msrs));
	for (uint32_t i = 0; msrs && i < list->nmsrs; i++) {
		struct one_msr one = {
			.head.nmsrs = 1,
			.entry.index = list->indices[i],
		};

		if (ioctl(m->vcpu, KVM_GET_MSRS, &one) == 1)
			msrs[nr++] = one.entry;
	}
	ret = msrs ? lazy_snap_write_section(w, "msrs", msrs, nr * sizeof(*msrs),
					err) : because(err, "%m");
	free(msrs);
	free(list);
	return ret;
}

static int load_msr(struct machine *m, const struct kvm_msr_entry *msr,
		    struct lazy_error *err)
{
	struct one_msr one = { .head.nmsrs = 1, .entry = *msr };

	if (ioctl(m->vcpu, KVM_SET_MSRS, &one) == 1)
		return 0;
	/* A read-only MSR is fine if it already has the value. */
	one.entry.data = ~msr->data;
	if (ioctl(m->vcpu, KVM_GET_MSRS, &one) == 1 &&
	    one.entry.data == msr->data)
		return 0;
	return because(err, "cannot restore MSR %#x", msr->index);
}

/* The TSC deadline takes effect only after the local APIC is restored. */
static int load_msrs(struct machine *m, struct lazy_snap *snap,
		     bool deadline, struct lazy_error *err)
{
	struct kvm_msr_entry *msrs;
	size_t len;
	int ret = 0;

	msrs = read_any(snap, "msrs", &len, err);
	if (!msrs)
		return -1;
	for (size_t i = 0; !ret && i < len / sizeof(*msrs); i++)
		if ((msrs[i].index == MSR_TSC_DEADLINE) == deadline)
			ret = load_msr(m, &msrs[i], err);
	free(msrs);
	return ret;
}

/* ---- complete state ---- */

int state_save(struct machine *m, const char *path, struct lazy_error *err)
{
	const struct lazy_snap_region region = { 0, m->memory.len };
	struct lazy_snap_writer *w = lazy_snap_create(path, &region, 1, err);

	if (!w)
		return -1;
	for (size_t i = 0; i < NR_PARTS; i++)
		if (save_part(m, w, &parts[i], err))
			goto fail;
	if (save_cpuid(m, w, err) || save_xsave(m, w, err) ||
	    save_msrs(m, w, err) ||
	    lazy_snap_write_section(w, "uart", &m->uart, sizeof(m->uart), err) ||
	    lazy_snap_write(w, 0, m->memory.host, m->memory.len, err))
		goto fail;
	return lazy_snap_commit(w, err);
fail:
	lazy_snap_abandon(w);
	return -1;
}

int state_load(struct machine *m, struct lazy_snap *snap,
	       struct lazy_error *err)
{
	if (load_cpuid(m, snap, err) || load_xsave(m, snap, err))
		return -1;
	for (size_t i = 0; i < NR_PARTS; i++) {
		if (parts[i].get == KVM_GET_VCPU_EVENTS &&
		    load_msrs(m, snap, true, err))
			return -1;
		if (load_part(m, snap, &parts[i], err))
			return -1;
		if (parts[i].get == KVM_GET_DEBUGREGS &&
		    load_msrs(m, snap, false, err))
			return -1;
	}
	if (lazy_snap_read_section(snap, "uart", &m->uart, sizeof(m->uart), err))
		return -1;
	m->irq_raised = uart_irq(&m->uart);
	return 0;
}

int state_load_memory(struct machine *m, struct lazy_snap *snap,
		      struct lazy_error *err)
{
	uint64_t length = lazy_snap_length(snap), at = 0, zeros;

	/* New memory is zero, so skip zero pages of the snapshot. */
	while (at < length) {
		zeros = lazy_snap_zeros(snap, at, length - at);
		if (!zeros && lazy_snap_read(snap, at, m->memory.host + at,
					     LAZY_SNAP_CHUNK, err))
			return -1;
		at += zeros ?: LAZY_SNAP_CHUNK;
	}
	return 0;
}
