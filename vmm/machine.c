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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define KICK		SIGUSR1
#define STOP_MS		2000	/* until memory is released */
#define RELEASED_MS	60000	/* long enough on a busy host */

/* Three pages that KVM needs on Intel, outside guest memory. */
#define TSS_ADDRESS	0xfffbd000
/* The first of KVM's own CPUID leaves. */
#define PV_LEAVES	0x40000000
#define MAX_LEAVES	256

/* The keyboard controller's port, and the command that resets a PC. */
#define I8042_PORT	0x64
#define I8042_RESET	0xfe

/* Written by two threads, and read by the kernel. */
static void set_immediate_exit(struct machine *m, uint8_t value)
{
	__atomic_store_n(&m->run->immediate_exit, value, __ATOMIC_RELAXED);
}

static void kicked(int sig)
{
	(void)sig;
}

struct kvm_cpuid2 *machine_cpuid(struct machine *m, struct lazy_error *err)
{
	struct kvm_cpuid2 *cpuid;
	uint32_t nr = 0;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_LEAVES * sizeof(*cpuid->entries));
	if (!cpuid) {
		because(err, "%m");
		return NULL;
	}
	cpuid->nent = MAX_LEAVES;
	if (ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid)) {
		because(err, "KVM_GET_SUPPORTED_CPUID: %m");
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

static int make_vm(struct machine *m, struct lazy_error *err)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return because(err, "/dev/kvm: %m");
	if (ioctl(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return because(err, "/dev/kvm: API version is not %d",
			       KVM_API_VERSION);
	m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		return because(err, "KVM_CREATE_VM: %m");
	if (ioctl(m->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS))
		return because(err, "KVM_SET_TSS_ADDR: %m");
	if (ioctl(m->vm, KVM_CREATE_IRQCHIP, 0))
		return because(err, "KVM_CREATE_IRQCHIP: %m");
	if (ioctl(m->vm, KVM_CREATE_PIT2, &pit))
		return because(err, "KVM_CREATE_PIT2: %m");
	return 0;
}

static int make_vcpu(struct machine *m, struct lazy_error *err)
{
	int len = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0 || len < 0)
		return because(err, "KVM_CREATE_VCPU: %m");
	m->run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	if (m->run == MAP_FAILED) {
		m->run = NULL;
		return because(err, "cannot map the vCPU: %m");
	}
	m->run_len = len;
	return 0;
}

static int add_memory(struct machine *m, struct lazy_error *err)
{
	struct kvm_userspace_memory_region slot = {
		.guest_phys_addr = 0,
		.memory_size = m->memory.len,
		.userspace_addr = (uintptr_t)m->memory.host,
	};

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return because(err, "KVM_SET_USER_MEMORY_REGION: %m");
	return 0;
}

int machine_make(struct machine *m, const struct kind *kind, size_t len,
		 struct lazy_error *err)
{
	*m = (struct machine) {
		.kvm = -1, .vm = -1, .vcpu = -1, .ended = -1,
		.memory.fd = -1,
	};
	/* Without SA_RESTART: the signal must interrupt KVM_RUN. */
	sigaction(KICK, &(struct sigaction) { .sa_handler = kicked }, NULL);
	m->ended = eventfd(0, EFD_CLOEXEC);
	if (m->ended < 0)
		return because(err, "eventfd: %m");
	if (make_vm(m, err) ||
	    memory_make(&m->memory, kind, m->vm, len, err) ||
	    add_memory(m, err) || make_vcpu(m, err))
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
	set_immediate_exit(m, 1);
	while (!ioctl(m->vcpu, KVM_RUN, 0))
		if (m->run->exit_reason == KVM_EXIT_IO)
			serve_io(m);
	set_immediate_exit(m, 0);
}

/* Returns true if the vCPU must not run any more. */
static bool serve_mmio(struct machine *m)
{
	/* KVM could not access it, for example because it is poisoned. */
	if (m->run->mmio.phys_addr < m->memory.len) {
		because(&m->why, "the guest's memory at %#llx cannot be accessed",
			(unsigned long long)m->run->mmio.phys_addr);
		return true;
	}
	if (!m->run->mmio.is_write)
		memset(m->run->mmio.data, 0xff, sizeof(m->run->mmio.data));
	return false;
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
		return serve_mmio(m);
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
	sigset_t sigbus;

	/*
	 * KVM raises it for poisoned memory, and retries the access until the
	 * vCPU is stopped.
	 */
	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	pthread_sigmask(SIG_BLOCK, &sigbus, NULL);
	while (!m->stop && !run_once(m))
		;
	m->over = true;
	return write(m->ended, &one, sizeof(one)) < 0 ? m : NULL;
}

int machine_start(struct machine *m, struct lazy_error *err)
{
	m->stop = m->over = m->good = false;
	m->why.text[0] = '\0';
	errno = pthread_create(&m->thread, NULL, vcpu_thread, m);
	if (errno)
		return because(err, "cannot start the vCPU: %m");
	m->started = true;
	return 0;
}

/* Returns false if the vCPU does not stop in time. */
static bool stops(struct machine *m, int timeout_ms)
{
	/* A signal just before KVM_RUN is lost, so repeat it. */
	for (; !m->over && timeout_ms > 0; timeout_ms--) {
		pthread_kill(m->thread, KICK);
		usleep(1000);
	}
	return m->over;
}

void machine_stop(struct machine *m)
{
	if (!m->started)
		return;
	m->stop = true;
	set_immediate_exit(m, 1);
	if (!stops(m, STOP_MS)) {
		if (m->release)
			m->release(m);
		if (!stops(m, RELEASED_MS)) {
			/* The exit kills a thread that waits for a page. */
			fputs("vmm: the vCPU does not stop\n", stderr);
			_exit(1);
		}
	}
	pthread_join(m->thread, NULL);
	set_immediate_exit(m, 0);
	m->started = false;
}
