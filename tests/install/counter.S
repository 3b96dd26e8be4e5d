/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest of tests/install/post-copy, a boot sector. It increments the first
 * byte of each page from FIRST to LAST, over and over, and prints a letter for
 * each pass. So whenever it is stopped, all pages before the current one have
 * the same value, and all others the one before.
 */
#define FIRST	0x100000	/* 1 MiB */
#define LAST	0x2100000	/* 33 MiB */
#define PAGE	4096
#define COM1	0x3f8
#define PORT_A	0x92		/* bit 1 is A20 */

	.code16
	.globl	_start
_start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	inb	$PORT_A, %al
	orb	$2, %al
	outb	%al, $PORT_A
	lgdt	table
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$8, $protected

	.code32
protected:
	movw	$16, %ax
	movw	%ax, %ds
	movw	$COM1, %dx
pass:
	movl	$FIRST, %eax
page:
	incb	(%eax)
	addl	$PAGE, %eax
	cmpl	$LAST, %eax
	jb	page
	movb	$'B', %al
	outb	%al, %dx
	jmp	pass

	.balign	8
descriptors:
	.quad	0
	.quad	0x00cf9a000000ffff	/* code */
	.quad	0x00cf92000000ffff	/* data */
table:
	.word	. - descriptors - 1
	.long	descriptors

	.org	510
	.word	0xaa55
