// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin that counts all instructions of a VM with one emulation thread,
 * and records the count at each mark of vmm/main.c. demo/guest builds and uses
 * it:
 *
 *	-plugin count.so,marks=FILE
 *
 * FILE receives a line for each mark: name, tab, count.
 */
#include <stdio.h>

#include "qemu_plugin.h"

/* nopl MARK(%rax), as in vmm/main.c */
static const struct mark {
	const char *name;
	uint8_t bytes[7];
} marks[] = {
	{ "restore", { 0x0f, 0x1f, 0x80, 'v', 'm', 'm', 'r' } },
	{ "first", { 0x0f, 0x1f, 0x80, 'v', 'm', 'm', 'f' } },
};
static uint64_t count;
static FILE *out;

static void passed(unsigned int vcpu, void *mark)
{
	(void)vcpu;
	fprintf(out, "%s\t%llu\n", ((const struct mark *)mark)->name,
		(unsigned long long)count);
	fflush(out);
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t i, j, n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_insn_exec_inline(insn,
				QEMU_PLUGIN_INLINE_ADD_U64, &count, 1);
		for (j = 0; j < sizeof(marks) / sizeof(*marks); j++)
			if (qemu_plugin_insn_is(insn, marks[j].bytes,
						sizeof(marks[j].bytes)))
				qemu_plugin_register_vcpu_insn_exec_cb(insn,
						passed, QEMU_PLUGIN_CB_NO_REGS,
						(void *)&marks[j]);
	}
}

QEMU_PLUGIN_EXPORT int
qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
		    int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "marks=", 6) ||
	    !(out = fopen(argv[0] + 6, "we"))) {
		fprintf(stderr, "count: missing or unusable marks=FILE\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
