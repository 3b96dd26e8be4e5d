// SPDX-License-Identifier: GPL-2.0
/*
 * When this module is loaded, it causes the fault that its parameter names, for
 * the lab to detect. Only the lab's own tests load it.
 */
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/smp.h>

static char *what = "nothing";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "nothing, warn, oops, hang, log, leak, pages or lock");

static void spin_forever(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

/* Objects without a pointer to them */
static noinline void leak_objects(void)
{
	int i;

	for (i = 0; i < 100; i++)
		if (!kmalloc(333, GFP_KERNEL))
			return;
}

/* 64 MiB, more than the lab tolerates */
static void leak_pages(void)
{
	int i;

	for (i = 0; i < 16; i++)
		if (!alloc_pages(GFP_KERNEL, 10))
			return;
}

static DEFINE_MUTEX(lock_a);
static DEFINE_MUTEX(lock_b);

/* A possible deadlock of two threads */
static void take_locks_both_ways(void)
{
	mutex_lock(&lock_a);
	mutex_lock(&lock_b);
	mutex_unlock(&lock_b);
	mutex_unlock(&lock_a);

	mutex_lock(&lock_b);
	mutex_lock(&lock_a);
	mutex_unlock(&lock_a);
	mutex_unlock(&lock_b);
}

static void log_message(void)
{
	pr_err("BUG: the lab's own test\n");
	dump_stack();
}

static int __init splat_init(void)
{
	if (!strcmp(what, "warn"))
		WARN(1, "the lab's own test\n");
	else if (!strcmp(what, "oops"))
		*(volatile int *)8 = 1;
	else if (!strcmp(what, "hang"))
		on_each_cpu(spin_forever, NULL, 0);
	else if (!strcmp(what, "log"))
		log_message();
	else if (!strcmp(what, "leak"))
		leak_objects();
	else if (!strcmp(what, "pages"))
		leak_pages();
	else if (!strcmp(what, "lock"))
		take_locks_both_ways();
	return 0;
}
module_init(splat_init);

static void __exit splat_exit(void)
{
}
module_exit(splat_exit);

MODULE_DESCRIPTION("The lab's test of itself");
MODULE_LICENSE("GPL");
/* Out of tree, but it must not taint: the lab tests taint separately. */
MODULE_INFO(intree, "Y");
