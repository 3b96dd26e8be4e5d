// SPDX-License-Identifier: GPL-2.0
/* See expect.h. */
#include "expect.h"

#include <sys/mman.h>

bool applies(const struct lab_mem *m, enum op op)
{
	if (op == ZEROPAGE)
		return !lab_is_hugetlb(m);
	if (op == CONTINUE)
		return lab_is_file(m);
	return true;
}

__u64 all_modes(const struct lab_mem *m)
{
	return LAB_MISSING | LAB_WP | (lab_is_file(m) ? LAB_MINOR : 0);
}

void *copier_fn(void *arg)
{
	struct copier *c = arg;

	c->ret = lab_copy(c->l->uffd, page_at(c->l, 2),
			  c->from + 2 * c->l->m.page, c->len, c->mode,
			  &c->done);
	return NULL;
}

int copier_start(struct copier *c, struct lab *l)
{
	struct uffd_msg msg;
	int err;

	c->l = l;
	if (!c->len)
		c->len = l->m.page;
	c->from = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->from == MAP_FAILED)
		return -errno;
	c->from_uffd = lab_uffd_open(BASE_FEATURES);
	if (c->from_uffd < 0)
		return c->from_uffd;
	err = lab_register(c->from_uffd, c->from, l->m.len, LAB_MISSING, NULL);
	if (err)
		return err;
	err = pthread_create(&c->thread, NULL, copier_fn, c);
	if (err)
		return -err;
	err = lab_read_msg(c->from_uffd, &msg, LAB_DEADLINE_MS);
	if (err)
		return err;
	return msg.arg.pagefault.address ==
	       (uintptr_t)c->from + 2 * l->m.page ? 0 : -EIO;
}

int copier_end(struct copier *c)
{
	struct lab *l = c->l;
	int err;

	err = lab_copy(c->from_uffd, c->from + 2 * l->m.page, src_at(l, 2),
		       c->len, 0, NULL);
	if (err)
		return err;
	return -lab_join(c->thread, LAB_DEADLINE_MS);
}

int copier_result(struct copier *c)
{
	if (copier_end(c))
		return -EPROTO;
	return c->done == (c->ret ? c->ret : (__s64)c->len) ? c->ret : -EPROTO;
}

const char *layout_flaw(const struct layout *table, unsigned int entries)
{
	unsigned int i;

	for (i = 0; i < entries; i++)
		if (table[i].is != table[i].want)
			return table[i].what;
	return "";
}
