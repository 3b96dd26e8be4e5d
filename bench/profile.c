// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin that counts the instructions executed by each kernel function of
 * the VM, between the marks that bench/workloads.c sets around a measurement.
 * bench/profile builds and uses it:
 *
 *	-plugin profile.so,symbols=FILE,counts=FILE
 *
 * The symbols are the output of `nm -n vmlinux`. The counts are written as a
 * table of tab-separated values: function, count; only for functions that ran.
 * The last line is for page table locks: the total number of instructions that
 * they were held for, and the number of acquisitions.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../lab/qemu_plugin.h"

/* nopl MARK(%rax), as in bench/workloads.c */
static const uint8_t mark_begin[] = { 0x0f, 0x1f, 0x80, 'u', 'f', 'f', 'd' };
static const uint8_t mark_end[] = { 0x0f, 0x1f, 0x80, 'd', 'f', 'f', 'u' };

/* The first entry is for everything outside the kernel. */
static struct function {
	uint64_t at;
	uint64_t now;		/* count since the start of the VM */
	uint64_t before;	/* count at the last begin mark */
	uint64_t sum;		/* sum between marks */
	char name[64];
} *functions;
static size_t count;
static const char *counts_path;

/*
 * A page table lock: the address that _raw_spin_lock() writes to when called by
 * __pte_offset_map_lock(). It is held until a zero byte is written there.
 */
static struct {
	bool wanted;		/* the next lock taken is a page table lock */
	uint64_t at;		/* its address while it is held, otherwise 0 */
	uint64_t since;
	uint64_t held;		/* instructions between marks */
	uint64_t taken;		/* number of acquisitions */
} lock;
static uint64_t executed;	/* instructions, of all functions */
static bool measuring;

static struct function *function_at(uint64_t address)
{
	size_t low = 0, high = count;

	/* The last function that starts at or before the address. */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (functions[middle].at <= address)
			low = middle;
		else
			high = middle;
	}
	return &functions[low];
}

static void want_lock(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	lock.wanted = true;
}

static void take_lock(unsigned int vcpu, qemu_plugin_meminfo_t info,
		      uint64_t address, void *data)
{
	(void)vcpu;
	(void)info;
	(void)data;
	if (!lock.wanted)
		return;
	lock.wanted = false;
	lock.at = address;
	lock.since = executed;
}

static void drop_lock(unsigned int vcpu, qemu_plugin_meminfo_t info,
		      uint64_t address, void *data)
{
	(void)vcpu;
	(void)info;
	(void)data;
	if (address != lock.at)
		return;
	lock.at = 0;
	if (!measuring)
		return;
	lock.held += executed - lock.since;
	lock.taken++;
}

/* movb $0 to memory, which releases a spinlock, among other uses */
static bool clears_byte(const struct qemu_plugin_insn *insn)
{
	const uint8_t *bytes = qemu_plugin_insn_data(insn);
	size_t size = qemu_plugin_insn_size(insn);
	size_t prefix = (bytes[0] & 0xf0) == 0x40;

	return bytes[prefix] == 0xc6 && !bytes[size - 1];
}

static void follow_lock(struct qemu_plugin_insn *insn, const struct function *f)
{
	if (!strcmp(f->name, "__pte_offset_map_lock"))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, want_lock,
				QEMU_PLUGIN_CB_NO_REGS, NULL);
	if (!strcmp(f->name, "_raw_spin_lock"))
		qemu_plugin_register_vcpu_mem_cb(insn, take_lock,
				QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, NULL);
	else if (clears_byte(insn))
		qemu_plugin_register_vcpu_mem_cb(insn, drop_lock,
				QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, NULL);
}

static void begin(unsigned int vcpu, void *data)
{
	size_t i;

	(void)vcpu;
	(void)data;
	measuring = true;
	for (i = 0; i < count; i++)
		functions[i].before = functions[i].now;
}

static void end(unsigned int vcpu, void *data)
{
	size_t i;

	(void)vcpu;
	(void)data;
	measuring = false;
	for (i = 0; i < count; i++)
		functions[i].sum += functions[i].now - functions[i].before;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		struct function *f = function_at(qemu_plugin_insn_vaddr(insn));

		qemu_plugin_register_vcpu_insn_exec_inline(insn,
				QEMU_PLUGIN_INLINE_ADD_U64, &f->now, 1);
		qemu_plugin_register_vcpu_insn_exec_inline(insn,
				QEMU_PLUGIN_INLINE_ADD_U64, &executed, 1);
		follow_lock(insn, f);
		if (qemu_plugin_insn_is(insn, mark_begin, sizeof(mark_begin)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin,
					QEMU_PLUGIN_CB_NO_REGS, NULL);
		else if (qemu_plugin_insn_is(insn, mark_end, sizeof(mark_end)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end,
					QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

static void write_counts(qemu_plugin_id_t id, void *data)
{
	FILE *out = fopen(counts_path, "w");
	size_t i;

	(void)id;
	(void)data;
	if (!out) {
		perror(counts_path);
		return;
	}
	for (i = 0; i < count; i++)
		if (functions[i].sum)
			fprintf(out, "%s\t%llu\n", functions[i].name,
				(unsigned long long)functions[i].sum);
	fprintf(out, "(lock)\t%llu\t%llu\n", (unsigned long long)lock.held,
		(unsigned long long)lock.taken);
	fclose(out);
}

static bool add_function(uint64_t at, const char *name)
{
	struct function *more;

	more = realloc(functions, (count + 1) * sizeof(*functions));
	if (!more)
		return false;
	functions = more;
	memset(&functions[count], 0, sizeof(*functions));
	functions[count].at = at;
	snprintf(functions[count].name, sizeof(functions->name), "%s", name);
	count++;
	return true;
}

static bool read_symbols(const char *path)
{
	FILE *in = fopen(path, "r");
	unsigned long long at;
	char line[1024], type, name[512];
	bool good = add_function(0, "(user space)");

	if (!in)
		return false;
	while (good && fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%llx %c %511s", &at, &type, name) != 3 ||
		    !strchr("tTwW", type) || at < 1ULL << 63)
			continue;
		/* Of several names for an address, use the first. */
		if (functions[count - 1].at != at)
			good = add_function(at, name);
	}
	fclose(in);
	return good && count > 1;
}

QEMU_PLUGIN_EXPORT int
qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
		    int argc, char **argv)
{
	const char *symbols = NULL;
	int i;

	(void)info;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "symbols=", 8))
			symbols = argv[i] + 8;
		else if (!strncmp(argv[i], "counts=", 7))
			counts_path = strdup(argv[i] + 7);
	}
	if (!symbols || !counts_path || !read_symbols(symbols)) {
		fprintf(stderr, "profile: missing or unusable symbols=FILE,counts=FILE\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, write_counts, NULL);
	return 0;
}
