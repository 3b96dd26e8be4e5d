/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Accesses to a guest_memfd by this process or by a vCPU, as the tests choose.
 *
 * What must be the same for both is tested with both: touch() is an access by
 * one or the other. Included after kselftest_harness.h.
 */
#ifndef GUEST_MEMFD_UFFD_TOUCH_H
#define GUEST_MEMFD_UFFD_TOUCH_H

#include "guest_memfd_uffd.h"
/* EXPECT_*() and struct lab; eight pages */
#include "../mm/uffd/expect.h"

/* Whether the guest touches, or this process */
static bool by_guest;

static inline int guest_touch(const struct lab *l, unsigned int page,
			      bool write, char *value, int *code)
{
	struct order *o = order_of(0);
	int sig, err = 0;

	(void)l;
	o->op = write ? GUEST_WRITE : GUEST_READ;
	o->nr = 1;
	o->page[0] = page;
	o->first[0] = (unsigned char)*value;
	/* KVM_RUN reports bad memory by a signal to its caller. */
	sig = LAB_TRY(1, err = guest_run(0));
	if (!sig)
		sig = err;
	else if (code)
		*code = __atomic_load_n(&lab_signal_code, __ATOMIC_RELAXED);
	if (sig)
		guest_restart(0);
	*value = o->first[0];
	return sig;
}

/*
 * Reads or writes the first byte of a page. Returns 0, a signal, or the errno
 * of KVM_RUN.
 */
static inline int touch(const struct lab *l, unsigned int page, bool write,
			char *value, int *code)
{
	if (by_guest)
		return guest_touch(l, page, write, value, code);
	return lab_access(page_at(l, page), write, value, code);
}

/*
 * The same by a thread; the other members of struct lab_touch serve for both.
 */
struct toucher {
	struct lab_touch t;
	const struct lab *l;
	unsigned int page;
};

static inline void *touch_fn(void *arg)
{
	struct toucher *w = arg;

	__atomic_store_n(&w->t.tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	w->t.sig = touch(w->l, w->page, w->t.write, &w->t.value, &w->t.code);
	return NULL;
}

static inline int touch_start(struct toucher *w, const struct lab *l,
			      unsigned int page, bool write, char value)
{
	memset(w, 0, sizeof(*w));
	w->l = l;
	w->page = page;
	w->t.write = write;
	w->t.value = value;
	return -pthread_create(&w->t.thread, NULL, touch_fn, w);
}

/*
 * A touch of page @i by a thread, which must be reported as a fault with @flags
 */
#define EXPECT_FAULTS(l, w, i, write_, value_, flags_) do {		\
	struct uffd_msg __m = { 0 };					\
	ASSERT_EQ(0, touch_start(w, l, i, write_, value_));		\
	ASSERT_EQ(0, lab_read_msg((l)->uffd, &__m, LAB_DEADLINE_MS));	\
	EXPECT_EQ(UFFD_EVENT_PAGEFAULT, __m.event);			\
	EXPECT_EQ((__u64)(flags_) | ((write_) ?				\
		  UFFD_PAGEFAULT_FLAG_WRITE : 0),			\
		  __m.arg.pagefault.flags);				\
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, i),			\
		  __m.arg.pagefault.address);				\
	EXPECT_EQ((__u32)(w)->t.tid, __m.arg.pagefault.feat.ptid);	\
	ASSERT_TRUE(touch_waits(&(w)->t));				\
} while (0)

#define FAULT_MISSING	0
#define FAULT_MINOR	UFFD_PAGEFAULT_FLAG_MINOR
#define FAULT_WP	UFFD_PAGEFAULT_FLAG_WP

/* A touch by this thread that causes no message */
#define EXPECT_TOUCH(l, i, write_, value_) do {				\
	char __v = (value_);						\
	EXPECT_EQ(0, touch(l, i, write_, &__v, NULL));			\
	EXPECT_EQ((unsigned char)(value_), (unsigned char)__v);		\
} while (0)
#define EXPECT_READS(l, i, value)	EXPECT_TOUCH(l, i, false, value)
#define EXPECT_WRITES(l, i, value)	EXPECT_TOUCH(l, i, true, value)

#define EXPECT_FILE(l, i) do {						\
	EXPECT_TRUE(same_at(l, alias_at(l, i), i));			\
	EXPECT_TRUE(same_at(l, page_at(l, i), i));			\
} while (0)

#define EXPECT_ARMED(l, modes)						\
	ASSERT_EQ(0, lab_register((l)->uffd, (l)->m.area, (l)->m.len,	\
				  modes, NULL))

static inline int gmem_begin(struct lab *l)
{
	int err;

	guest_make(VM_TYPE_DEFAULT, 1, PAGES);
	err = lab_setup(l, &lab_guest_memfd);
	if (err)
		return err;
	/*
	 * The next pages are likely to be these: not zero, unless they are
	 * cleared.
	 */
	memset(l->m.alias, 0x55, l->m.len);
	err = make_hole(l->m.fd, 0, PAGES);
	return err ? err : guest_plug(l->m.area, l->m.len, 0, -1);
}

static inline char first_of(const struct lab *l, unsigned int page)
{
	return src_at(l, page)[0];
}

/* Replaces the file of the area by another one; 0 or -errno. */
static inline int remap(struct lab *l, int fd, size_t offset)
{
	void *p;

	if (fd < 0)
		return fd;
	p = mmap(l->m.area, l->m.len, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, fd, offset);
	return p == MAP_FAILED ? -errno : 0;
}

/* The signal of memory failure to a process that maps the page */
static inline void hwpoison_told(int sig)
{
	(void)sig;
}

/* KVM reads the guest's memory itself, for the output. */
static inline void *outs_fn(void *arg)
{
	struct toucher *w = arg;
	struct order *o = order_of(0);

	o->op = GUEST_OUTS;
	o->nr = 1;
	o->page[0] = w->page;
	w->t.sig = guest_run(0);
	w->t.value = o->first[0];
	return NULL;
}

static inline int outs_start(struct toucher *w, unsigned int page)
{
	memset(w, 0, sizeof(*w));
	w->page = page;
	return -pthread_create(&w->t.thread, NULL, outs_fn, w);
}

#endif /* GUEST_MEMFD_UFFD_TOUCH_H */
