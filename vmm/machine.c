// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's hardware: a VM with one vCPU, KVM's interrupt controllers and
 * timer, and a serial port.
 *
 * The vCPU has its own thread, since it stays in KVM_RUN while another process
 * serves a fault. A signal interrupts KVM_RUN: machine_stop().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define KICK		SIGUSR1

/* Three pages that KVM needs on Intel, outside guest memory. */
#define TSS_ADDRESS	0xfffbd000
/* The first of KVM's own CPUID leaves. */
#define PV_LEAVES	0x40000000
#define MAX_LEAVES	256

/* The keyboard controller's port, and the command that resets a PC. */
#define I8042_PORT	0x64
#define I8042_RESET	0xfe

static void kicked(int sig)
{
	(void)sig;
}

struct kvm_cpuid2 *machine_cpuid(struct machine *m, struct reason *reason)
{
	struct kvm_cpuid2 *cpuid;
	uint32_t nr = 0;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_LEAVES * sizeof(*cpuid->entries));
	if (!cpuid) {
		because(reason, "%m");
		return NULL;
	}
	cpuid->nent = MAX_LEAVES;
	if (ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid)) {
		because(reason, "KVM_GET_SUPPORTED_CPUID: %m");
		free(cpuid);
		return NULL;
	}
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		/* Without kvmclock there is no clock page to restore. */
		if ((e->function & 0xffffff00) == PV_LEAVES)
			continue;
		/* KVM reports the APIC ID of the host processor. */
		if (e->function == 1)
			e->ebx &= 0x00ffffff;
		if (e->function == 0xb)
			e->edx = 0;
		cpuid->entries[nr++] = *e;
	}
	cpuid->nent = nr;
	return cpuid;
}

static int make_vm(struct machine *m, struct reason *reason)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return because(reason, "/dev/kvm: %m");
	if (ioctl(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return because(reason, "/dev/kvm: API version is not %d",
			       KVM_API_VERSION);
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		return because(reason, "KVM_CREATE_VM: %m");
	if (ioctl(m->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS))
		return because(reason, "KVM_SET_TSS_ADDR: %m");
	if (ioctl(m->vm, KVM_CREATE_IRQCHIP, 0))
		return because(reason, "KVM_CREATE_IRQCHIP: %m");
	if (ioctl(m->vm, KVM_CREATE_PIT2, &pit))
		return because(reason, "KVM_CREATE_PIT2: %m");
	return 0;
}

static int make_vcpu(struct machine *m, struct reason *reason)
{
	int len = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0 || len < 0)
		return because(reason, "KVM_CREATE_VCPU: %m");
	m->run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	if (m->run == MAP_FAILED) {
		m->run = NULL;
		return because(reason, "cannot map the vCPU: %m");
	}
	m->run_len = len;
	return 0;
}

static int add_memory(struct machine *m, struct reason *reason)
{
	struct kvm_userspace_memory_region slot = {
		.guest_phys_addr = 0,
		.memory_size = m->memory.len,
		.userspace_addr = (uintptr_t)m->memory.host,
	};

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return because(reason, "KVM_SET_USER_MEMORY_REGION: %m");
	return 0;
}

int machine_make(struct machine *m, const struct kind *kind, size_t len,
		 struct reason *reason)
{
	*m = (struct machine) {
		.kvm = -1, .vm = -1, .vcpu = -1, .ended = -1,
		.memory.fd = -1,
	};
	/* Without SA_RESTART: the signal must interrupt KVM_RUN. */
	sigaction(KICK, &(struct sigaction) { .sa_handler = kicked }, NULL);
	m->ended = eventfd(0, EFD_CLOEXEC);
	if (m->ended < 0)
		return because(reason, "eventfd: %m");
	if (make_vm(m, reason) ||
	    memory_make(&m->memory, kind, m->vm, len, reason) ||
	    add_memory(m, reason) || make_vcpu(m, reason))
		return -1;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void machine_free(struct machine *m)
{
	machine_stop(m);
	if (m->run)
		munmap(m->run, m->run_len);
	close_fd(m->vcpu);
	close_fd(m->vm);
	memory_free(&m->memory);
	close_fd(m->kvm);
	close_fd(m->ended);
}

/* ---- the vCPU ---- */

/* A byte from the guest. Returns true if it completes the line waited for. */
static bool guest_byte(struct machine *m, char c)
{
	if (c == '\r')
		return false;
	if (c != '\n') {
		if (m->line_len < sizeof(m->line) - 1)
			m->line[m->line_len++] = c;
		return false;
	}
	m->line[m->line_len] = '\0';
	m->line_len = 0;
	return m->on_line && m->on_line(m->on_line_arg, m->line);
}

static void set_irq(struct machine *m)
{
	struct kvm_irq_level irq = {
		.irq = UART_IRQ,
		.level = uart_irq(&m->uart),
	};

	if (irq.level == m->irq_raised)
		return;
	m->irq_raised = irq.level;
	ioctl(m->vm, KVM_IRQ_LINE, &irq);
}

/* Unassigned ports read as ones, except the RTC, which reads as idle. */
static uint8_t read_port(struct machine *m, uint16_t port)
{
	if (port >= UART_PORT && port < UART_PORT + 8)
		return uart_read(&m->uart, port - UART_PORT);
	return port == 0x71 ? 0 : 0xff;
}

/* Returns true, with the reason set, if the vCPU must stop. */
static bool serve_io(struct machine *m)
{
	uint8_t *data = (uint8_t *)m->run + m->run->io.data_offset;
	uint32_t len = m->run->io.size * m->run->io.count;
	uint16_t port = m->run->io.port;
	bool found = false;

	for (uint32_t i = 0; i < len; i++) {
		uint16_t this = port + i % m->run->io.size;
		int sent;

		if (m->run->io.direction == KVM_EXIT_IO_IN) {
			data[i] = read_port(m, this);
			continue;
		}
		if (this == I8042_PORT && data[i] == I8042_RESET) {
			because(&m->why, "the guest reset the VM");
			return true;
		}
		if (this < UART_PORT || this >= UART_PORT + 8)
			continue;
		sent = uart_write(&m->uart, this - UART_PORT, data[i]);
		found |= sent >= 0 && guest_byte(m, sent);
	}
	set_irq(m);
	if (found)
		m->good = true;
	return found;
}

/*
 * The next KVM_RUN completes the instruction that caused an exit; with
 * immediate_exit it does nothing else, so the state can be saved afterwards.
 */
static void finish_exit(struct machine *m)
{
	m->run->immediate_exit = 1;
	while (!ioctl(m->vcpu, KVM_RUN, 0))
		if (m->run->exit_reason == KVM_EXIT_IO)
			serve_io(m);
	m->run->immediate_exit = 0;
}

static void serve_mmio(struct machine *m)
{
	if (!m->run->mmio.is_write)
		memset(m->run->mmio.data, 0xff, sizeof(m->run->mmio.data));
}

/* Returns true if the vCPU must not run any more. */
static bool run_once(struct machine *m)
{
	if (ioctl(m->vcpu, KVM_RUN, 0)) {
		if (errno == EINTR || errno == EAGAIN)
			return false;
		because(&m->why, "KVM_RUN: %m");
		return true;
	}
	switch (m->run->exit_reason) {
	case KVM_EXIT_IO:
		if (!serve_io(m))
			return false;
		finish_exit(m);
		return true;
	case KVM_EXIT_MMIO:
		serve_mmio(m);
		return false;
	case KVM_EXIT_INTR:
		return false;
	case KVM_EXIT_SHUTDOWN:
		because(&m->why, "the guest crashed: triple fault");
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		because(&m->why, "KVM internal error %u",
			m->run->internal.suberror);
		return true;
	default:
		because(&m->why, "unexpected exit %u from the guest",
			m->run->exit_reason);
		return true;
	}
}

static void *vcpu_thread(void *arg)
{
	struct machine *m = arg;
	uint64_t one = 1;

	while (!m->stop && !run_once(m))
		;
	__atomic_store_n(&m->over, true, __ATOMIC_RELEASE);
	return write(m->ended, &one, sizeof(one)) < 0 ? m : NULL;
}

int machine_start(struct machine *m, struct reason *reason)
{
	int err;

	m->stop = m->over = m->good = false;
	m->why.text[0] = '\0';
	err = pthread_create(&m->thread, NULL, vcpu_thread, m);
	if (err) {
		errno = err;
		return because(reason, "cannot start the vCPU: %m");
	}
	m->started = true;
	return 0;
}

void machine_stop(struct machine *m)
{
	if (!m->started)
		return;
	m->stop = true;
	m->run->immediate_exit = 1;
	/* A signal just before KVM_RUN is lost, so repeat it. */
	while (!__atomic_load_n(&m->over, __ATOMIC_ACQUIRE)) {
		pthread_kill(m->thread, KICK);
		usleep(1000);
	}
	pthread_join(m->thread, NULL);
	m->run->immediate_exit = 0;
	m->started = false;
}
