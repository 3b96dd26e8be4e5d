// SPDX-License-Identifier: GPL-2.0
/* See fixture.h. */
#include "fixture.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int lab_setup_pages(struct lab *l, const struct lab_type *type,
		    unsigned int pages)
{
	int err;

	lab_catch_signals();
	l->src = NULL;
	l->uffd = -1;
	err = lab_mem_make(&l->m, type, pages);
	if (err)
		return err;
	/* One page more, for sources that are not aligned */
	l->src = mmap(NULL, l->m.len + LAB_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l->src == MAP_FAILED)
		return -errno;
	lab_fill(l->src, l->m.len + LAB_PAGE, 1);
	l->uffd = lab_uffd_open(BASE_FEATURES);
	return l->uffd < 0 ? l->uffd : 0;
}

void lab_teardown(struct lab *l)
{
	/*
	 * First, since it wakes a thread that a failed test has left waiting.
	 */
	if (l->uffd >= 0)
		close(l->uffd);
	if (l->src && l->src != MAP_FAILED)
		munmap(l->src, l->m.len + LAB_PAGE);
	lab_mem_drop(&l->m);
}

int lab_reopen(struct lab *l, __u64 features)
{
	close(l->uffd);
	l->uffd = lab_uffd_open(features);
	return l->uffd < 0 ? l->uffd : 0;
}

void file_write(const struct lab *l, unsigned int first, unsigned int n)
{
	memcpy(alias_at(l, first), src_at(l, first), n * l->m.page);
}

int swap_out(void *addr, size_t len, int ms)
{
	__u64 end = lab_now_ms() + ms;
	unsigned char vec[64];
	size_t i, n = len / LAB_PAGE, in;

	if (n > sizeof(vec))
		return -EINVAL;
	do {
		if (madvise(addr, len, MADV_PAGEOUT) && errno != EAGAIN)
			return -errno;
		if (mincore(addr, len, vec))
			return -errno;
		for (in = 0, i = 0; i < n; i++)
			in += vec[i] & 1;
		if (!in)
			return 0;
		lab_sleep_ms(1);
	} while (lab_now_ms() < end);
	return -ETIMEDOUT;
}

__s64 next_fault(const struct lab *l, unsigned int i)
{
	struct uffd_msg msg = { 0 };
	int err = lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS);

	if (err)
		return err;
	if (msg.event != UFFD_EVENT_PAGEFAULT)
		return -EPROTO;
	if (msg.arg.pagefault.address != (uintptr_t)page_at(l, i))
		return -EFAULT;
	return msg.arg.pagefault.flags;
}

bool has_msg(const struct lab *l)
{
	struct uffd_msg msg;

	return lab_read_msg(l->uffd, &msg, 0) != -ETIMEDOUT;
}

bool touch_waits(struct lab_touch *t)
{
	return lab_touch_wait(t, LAB_QUIET_MS) == -ETIMEDOUT;
}

int read_byte(void *addr)
{
	char value = 0;
	int sig = lab_access(addr, false, &value, NULL);

	return sig ? 0x100 + sig : value;
}

int write_byte(void *addr, char value)
{
	return lab_access(addr, true, &value, NULL);
}

__u64 expected_ioctls(const struct lab_mem *m, __u64 mode)
{
	__u64 mask = BIT_OF(_UFFDIO_WAKE) | BIT_OF(_UFFDIO_COPY) |
		     BIT_OF(_UFFDIO_POISON);

	if (!lab_is_hugetlb(m))
		mask |= BIT_OF(_UFFDIO_ZEROPAGE) | BIT_OF(_UFFDIO_MOVE);
	if (mode & LAB_WP)
		mask |= BIT_OF(_UFFDIO_WRITEPROTECT);
	if (mode & LAB_MINOR)
		mask |= BIT_OF(_UFFDIO_CONTINUE);
	return mask;
}
