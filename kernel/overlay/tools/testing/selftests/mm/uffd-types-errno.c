// SPDX-License-Identifier: GPL-2.0
/*
 * Every error that the userfaultfd calls return for each memory type, with the
 * field that reports the partial progress:
 *
 *	arguments rejected	the field is not written
 *	failed at once		ioctl() and the field report the same error
 *	failed on the way	ioctl() returns EAGAIN, the field has the bytes
 *
 * Not tested, since no test can cause them: EINTR of a fill needs a fatal
 * signal, and ENOMEM of a memory cgroup comes with the OOM killer.
 */
#include "../kselftest_harness.h"
#include "uffd/expect.h"
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <linux/capability.h>

/* A userfaultfd without memory */

FIXTURE(api) {
	int uffd;
};

FIXTURE_SETUP(api)
{
	self->uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, self->uffd);
}

FIXTURE_TEARDOWN(api)
{
	close(self->uffd);
}

TEST_F(api, before_the_handshake)
{
	struct pollfd pfd = { .fd = self->uffd, .events = POLLIN };
	struct uffd_msg msg;
	char *page = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_EQ(-EINVAL, lab_register(self->uffd, page, LAB_PAGE,
					LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_wake(self->uffd, page, LAB_PAGE));
	EXPECT_EQ(-1, read(self->uffd, &msg, sizeof(msg)));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLERR, pfd.revents);
}

TEST_F(api, handshake)
{
	struct uffdio_api api = { .api = UFFD_API + 1, .features = 0 };

	/* A rejected call clears the struct, and a retry is possible. */
	api.ioctls = 1;
	EXPECT_EQ(-EINVAL, lab_ioctl(self->uffd, UFFDIO_API, &api));
	EXPECT_TRUE(lab_all(&api, sizeof(api), 0));
	api.api = UFFD_API;
	api.features = 1ULL << 62;
	EXPECT_EQ(-EINVAL, lab_ioctl(self->uffd, UFFDIO_API, &api));
	EXPECT_TRUE(lab_all(&api, sizeof(api), 0));
	EXPECT_EQ(-EFAULT, lab_ioctl(self->uffd, UFFDIO_API, NULL));

	api.api = UFFD_API;
	EXPECT_EQ(0, lab_ioctl(self->uffd, UFFDIO_API, &api));
	/* More features and ioctls may be added; these stay. */
	EXPECT_EQ(0U, BASE_FEATURES & ~api.features);
	EXPECT_EQ(1ULL << _UFFDIO_REGISTER | 1ULL << _UFFDIO_UNREGISTER |
		  1ULL << _UFFDIO_API, api.ioctls);

	/* Only once */
	api.features = 0;
	EXPECT_EQ(-EINVAL, lab_ioctl(self->uffd, UFFDIO_API, &api));
	EXPECT_EQ(-EINVAL, lab_ioctl(self->uffd, _IO(UFFDIO, 0x3e), NULL));
}

TEST_F(api, read_and_poll)
{
	struct pollfd pfd = { .fd = self->uffd, .events = POLLIN };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffd_msg msg;

	ASSERT_EQ(0, lab_ioctl(self->uffd, UFFDIO_API, &api));
	/* poll() works only with O_NONBLOCK. */
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLERR, pfd.revents);
	ASSERT_EQ(0, fcntl(self->uffd, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	EXPECT_EQ(-1, read(self->uffd, &msg, sizeof(msg) - 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, read(self->uffd, &msg, sizeof(msg)));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(api, system_call_flags)
{
	EXPECT_EQ(-EINVAL, lab_uffd(2, 0));
	EXPECT_EQ(-EINVAL, lab_uffd(1 << 30, 0));
}

/* The device returns the same descriptor to every process that may open it. */
TEST_F(api, device)
{
	struct uffdio_api api = { .api = UFFD_API };
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	ASSERT_LE(0, dev);
	EXPECT_EQ(-EINVAL, lab_ioctl(dev, USERFAULTFD_IOC_NEW + 1, NULL));
	EXPECT_EQ(-1, ioctl(dev, USERFAULTFD_IOC_NEW, 2));
	EXPECT_EQ(EINVAL, errno);
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, lab_ioctl(fd, UFFDIO_API, &api));
	close(fd);
	close(dev);
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	return syscall(__NR_capset, &h, d) ? -errno : 0;
}

TEST_F(api, without_privilege)
{
	const char *path = "/proc/sys/vm/unprivileged_userfaultfd";
	int sysctl = open(path, O_RDWR | O_CLOEXEC), fd;
	char old[2] = { 0 };

	ASSERT_LE(0, sysctl);
	ASSERT_EQ(1, pread(sysctl, old, 1, 0));
	ASSERT_EQ(1, pwrite(sysctl, "0", 1, 0));
	EXPECT_EQ(0, drop_capabilities());
	EXPECT_EQ(-EPERM, lab_uffd(0, 0));
	fd = lab_uffd(UFFD_USER_MODE_ONLY, 0);
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(-EPERM, lab_uffd(UFFD_USER_MODE_ONLY,
				   UFFD_FEATURE_EVENT_FORK));
	/* The file was opened with privilege. */
	EXPECT_EQ(1, pwrite(sysctl, old, 1, 0));
	if (old[0] == '1') {
		fd = lab_uffd(0, 0);
		EXPECT_LE(0, fd);
		close(fd);
	}
	close(sysctl);
}

/* Every memory type */

LAB_FIXTURE(mem);
LAB_ALL_VARIANTS(mem);

/* Ranges that every call rejects. The mode is valid for each. */
TEST_F(mem, bad_range)
{
	struct lab *l = &self->l;
	const struct {
		const char *what;
		char *start;
		size_t len;
	} bad[] = {
		{ "unaligned start", l->m.area + 1, l->m.page },
		{ "unaligned length", l->m.area, l->m.page + 1 },
		{ "no length", l->m.area, 0 },
		{ "kernel address", (char *)-l->m.page, l->m.page },
		{ "length past user space", l->m.area, 1UL << 63 },
		{ "wraps", l->m.area, -l->m.page },
	};
	unsigned int i;
	enum op op;
	__u64 mode;
	__s64 done;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  all_modes(&l->m), NULL));
	for (op = 0; op < OPS; op++) {
		mode = op == REGISTER ? LAB_MISSING : 0;
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			EXPECT_EQ(-EINVAL, run_op(l->uffd, op, bad[i].start,
						  l->src, bad[i].len, mode,
						  &done))
				TH_LOG("%s: %s", op_name[op], bad[i].what);
			EXPECT_EQ(LAB_UNTOUCHED, done)
				TH_LOG("%s: %s", op_name[op], bad[i].what);
		}
	}
	/* Sources: COPY accepts any alignment, MOVE does not. */
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, COPY, l->m.area,
		  (void *)-l->m.page, l->m.page, 0);
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, MOVE, l->m.area,
		  (void *)-l->m.page, l->m.page, 0);
	EXPECT_OP(REFUSED(-EINVAL), l->uffd, MOVE, l->m.area, l->src + 1,
		  l->m.page, 0);
	EXPECT_EQ(0, lab_copy(l->uffd, l->m.area, l->src, l->m.page, 0, NULL));
}

TEST_F(mem, bad_mode)
{
	struct lab *l = &self->l;
	const struct {
		enum op op;
		__u64 mode;
	} bad[] = {
		{ COPY, 1 << 2 }, { COPY, 1ULL << 63 },
		{ ZEROPAGE, 1 << 2 }, { ZEROPAGE, 1ULL << 63 },
		{ CONTINUE, 1 << 2 }, { CONTINUE, 1ULL << 63 },
		/* May be the mode of a feature, which is not requested */
		{ CONTINUE, 1 << 16 },
		{ POISON, 1 << 1 }, { POISON, 1ULL << 63 },
		{ MOVE, 1 << 2 }, { MOVE, 1ULL << 63 },
		{ WRITEPROTECT, 1 << 2 }, { WRITEPROTECT, 1ULL << 63 },
		{ WRITEPROTECT, UFFDIO_WRITEPROTECT_MODE_WP |
				UFFDIO_WRITEPROTECT_MODE_DONTWAKE },
		{ REGISTER, 0 }, { REGISTER, 1 << 3 },
		{ REGISTER, LAB_MISSING | 1ULL << 63 },
	};
	unsigned int i;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  all_modes(&l->m), NULL));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_OP(REFUSED(-EINVAL), l->uffd, bad[i].op, l->m.area,
			  l->src, l->m.page, bad[i].mode);
}

/* The arguments cannot be read, or the results cannot be written. */
TEST_F(mem, bad_pointer)
{
	struct lab *l = &self->l;
	static const unsigned long cmd[] = {
		UFFDIO_REGISTER, UFFDIO_UNREGISTER, UFFDIO_WAKE, UFFDIO_COPY,
		UFFDIO_ZEROPAGE, UFFDIO_CONTINUE, UFFDIO_POISON, UFFDIO_MOVE,
		UFFDIO_WRITEPROTECT };
	static struct lab_touch t;
	struct uffdio_register *r;
	struct uffdio_copy *c;
	unsigned int i;
	void *arg;

	for (i = 0; i < ARRAY_SIZE(cmd); i++) {
		EXPECT_EQ(-EFAULT, lab_ioctl(l->uffd, cmd[i], NULL));
	}

	arg = mmap(NULL, LAB_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, arg);

	/* It is registered anyway. */
	r = arg;
	*r = (struct uffdio_register) {
		.range = { (uintptr_t)l->m.area, l->m.len },
		.mode = LAB_MISSING };
	ASSERT_EQ(0, mprotect(arg, LAB_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, lab_ioctl(l->uffd, UFFDIO_REGISTER, r));
	EXPECT_FAULT(l, &t, page_at(l, 0), false, 0, 0);

	/* It is filled anyway, but waiters are not woken. */
	ASSERT_EQ(0, mprotect(arg, LAB_PAGE, PROT_READ | PROT_WRITE));
	c = arg;
	*c = (struct uffdio_copy) {
		.dst = (uintptr_t)l->m.area, .src = (uintptr_t)l->src,
		.len = l->m.page };
	ASSERT_EQ(0, mprotect(arg, LAB_PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, lab_ioctl(l->uffd, UFFDIO_COPY, c));
	EXPECT_TRUE(same_at(l, page_at(l, 0), 0));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, page_at(l, 0), l->m.page));
	EXPECT_TOUCHED(&t, src_at(l, 0)[0]);
}

/* Nothing is registered, or less than the range */
TEST_F(mem, not_registered)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	enum op op;

	if (l->m.alias)
		file_write(l, 0, PAGES);
	for (op = 0; op < FILLS; op++)
		EXPECT_OP(FAILED(-ENOENT), l->uffd, op, page_at(l, 0), l->src,
			  page, 0);
	EXPECT_OP(REFUSED(-ENOENT), l->uffd, WRITEPROTECT, page_at(l, 0), NULL,
		  page, UFFDIO_WRITEPROTECT_MODE_WP);
	EXPECT_OP(REFUSED(0), l->uffd, WAKE, page_at(l, 0), NULL, page, 0);

	/* Pages 1 to 6, of which 4 is unmapped: three ways to stop there */
	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 1), 6 * page,
				  all_modes(&l->m), NULL));
	ASSERT_EQ(0, munmap(page_at(l, 4), page));
	for (op = 0; op < FILLS; op++) {
		EXPECT_OP(FAILED(-ENOENT), l->uffd, op, page_at(l, 0), l->src,
			  2 * page, 0);
		EXPECT_OP(FAILED(-ENOENT), l->uffd, op, page_at(l, 6), l->src,
			  2 * page, 0);
		EXPECT_OP(FAILED(-ENOENT), l->uffd, op, page_at(l, 3), l->src,
			  2 * page, 0);
		EXPECT_OP(FAILED(-ENOENT), l->uffd, op, page_at(l, 4), l->src,
			  page, 0);
	}
	/* Write protection continues over mappings and holes. */
	EXPECT_OP(REFUSED(0), l->uffd, WRITEPROTECT, page_at(l, 1), NULL,
		  6 * page, UFFDIO_WRITEPROTECT_MODE_WP);
	EXPECT_OP(REFUSED(-ENOENT), l->uffd, WRITEPROTECT, page_at(l, 4), NULL,
		  page, UFFDIO_WRITEPROTECT_MODE_WP);
	EXPECT_OP(REFUSED(-ENOENT), l->uffd, WRITEPROTECT, page_at(l, 6), NULL,
		  2 * page, UFFDIO_WRITEPROTECT_MODE_WP);

	/* Two mappings, both registered: each fill still stops between them. */
	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 5), page, LAB_WP, NULL));
	ASSERT_EQ(0, mprotect(page_at(l, 6), page, PROT_READ));
	for (op = 0; op < FILLS; op++)
		EXPECT_OP(FAILED(-ENOENT), l->uffd, op, page_at(l, 5), l->src,
			  2 * page, 0);
}

/* Registration has its own rules for ranges. */
TEST_F(mem, register_range)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	int other = lab_uffd_open(BASE_FEATURES);

	ASSERT_LE(0, other);
	/* Nothing is mapped there. */
	ASSERT_EQ(0, munmap(page_at(l, 3), 2 * page));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, page_at(l, 3), 2 * page,
					LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_unregister(l->uffd, page_at(l, 3), 2 * page));
	/* One part is mapped. */
	EXPECT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	/*
	 * One part is registered by another userfaultfd, and another part by
	 * none.
	 */
	EXPECT_EQ(-EBUSY, lab_register(other, page_at(l, 7), page, LAB_MISSING,
				       NULL));
	EXPECT_EQ(0, lab_unregister(l->uffd, page_at(l, 0), page));
	EXPECT_EQ(-EBUSY, lab_register(other, l->m.area, l->m.len, LAB_WP,
				       NULL));
	EXPECT_EQ(0, lab_register(other, l->m.area, page, LAB_MISSING, NULL));
	/*
	 * A fill works through any userfaultfd, if the range is registered with
	 * one.
	 */
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 0), l->src, page, 0);
	EXPECT_OP(DONE, other, COPY, page_at(l, 1), l->src, page, 0);
	close(other);
}

TEST_F(mem, exists)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	size_t page = l->m.page;
	struct uffd_msg msg;
	enum op op;

	for (op = 0; op < FILLS; op++) {
		if (!applies(&l->m, op))
			continue;
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  all_modes(&l->m), NULL));
		if (op == CONTINUE)
			file_write(l, 0, PAGES);
		ASSERT_EQ(0, op == CONTINUE ?
			  lab_continue(l->uffd, page_at(l, 3), page, 0, NULL) :
			  lab_copy(l->uffd, page_at(l, 3), src_at(l, 3), page,
				   0, NULL));
		EXPECT_OP(FAILED(-EEXIST), l->uffd, op, page_at(l, 3), l->src,
			  page, 0);
		EXPECT_OP(FAILED(-EEXIST), l->uffd, op, page_at(l, 3), l->src,
			  4 * page, 0);
		/* Only waiters of filled pages are woken. */
		ASSERT_EQ(0, lab_touch_start(&t, page_at(l, 5), false, 0));
		ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
		EXPECT_OP(PARTIAL(3 * page), l->uffd, op, page_at(l, 0), l->src,
			  PAGES * page, 0);
		ASSERT_TRUE(touch_waits(&t));
		EXPECT_TRUE(same_at(l, page_at(l, 3), 3));

		EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		EXPECT_EQ(0, lab_wake(l->uffd, l->m.area, l->m.len));
		ASSERT_EQ(0, lab_touch_wait(&t, LAB_DEADLINE_MS));
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
	}
}

/* POISON never replaces a page, nor other poison. */
TEST_F(mem, poison_exists)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  LAB_MISSING, NULL));
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 1), NULL, l->m.page, 0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, POISON, page_at(l, 1), NULL,
		  l->m.page, 0);
	EXPECT_OP(PARTIAL(l->m.page), l->uffd, POISON, page_at(l, 0), NULL,
		  2 * l->m.page, 0);
}

TEST_F(mem, source_not_readable)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	static struct lab_touch t;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	ASSERT_EQ(0, mprotect(src_at(l, 3), page, PROT_NONE));
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 3), src_at(l, 3),
		  page, 0);
	/* The last byte of it */
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 3), src_at(l,
									2) + 1,
		  page, 0);
	EXPECT_FAULT(l, &t, page_at(l, 3), false, 0, 0);
	EXPECT_OP(PARTIAL(3 * page), l->uffd, COPY, page_at(l, 0), src_at(l, 0),
		  PAGES * page, 0);
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	ASSERT_TRUE(touch_waits(&t));
	ASSERT_EQ(0, munmap(src_at(l, 3), page));
	EXPECT_OP(FAILED(-EFAULT), l->uffd, COPY, page_at(l, 3), src_at(l, 3),
		  page, 0);
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 3), src_at(l, 4), page, 0);
	EXPECT_TOUCHED(&t, src_at(l, 4)[0]);
}

TEST_F(mem, wp_mode_without_wp)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_OP(FAILED(-EINVAL), l->uffd, COPY, l->m.area, l->src, l->m.page,
		  UFFDIO_COPY_MODE_WP);
	EXPECT_OP(FAILED(-EINVAL), l->uffd, CONTINUE, l->m.area, l->src,
		  l->m.page, UFFDIO_CONTINUE_MODE_WP);
	EXPECT_OP(REFUSED(-ENOENT), l->uffd, WRITEPROTECT, l->m.area, l->src,
		  l->m.page, 0);
}

/* A thread in madvise(), which waits until its event is read */
static void *dontneed_fn(void *arg)
{
	const struct lab *l = arg;

	madvise(l->m.area, l->m.page, MADV_DONTNEED);
	return NULL;
}

/*
 * While the event is unread, every fill returns EAGAIN. This is checked before
 * the arguments.
 */
TEST_F(mem, mappings_change)
{
	struct lab *l = &self->l;
	struct pollfd pfd;
	struct uffd_msg msg;
	pthread_t thread;
	enum op op;

	ASSERT_EQ(0, lab_reopen(l, BASE_FEATURES | UFFD_FEATURE_EVENT_REMOVE));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
				  all_modes(&l->m), NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, dontneed_fn, l));
	pfd = (struct pollfd) { .fd = l->uffd, .events = POLLIN };
	ASSERT_EQ(1, poll(&pfd, 1, LAB_DEADLINE_MS));

	for (op = 0; op <= MOVE; op++) {
		EXPECT_OP(FAILED(-EAGAIN), l->uffd, op, page_at(l, 1), l->src,
			  l->m.page, 0);
		EXPECT_OP(FAILED(-EAGAIN), l->uffd, op, page_at(l, 1) + 1,
			  l->src, 0, 0);
	}
	EXPECT_OP(REFUSED(-EAGAIN), l->uffd, WRITEPROTECT, page_at(l, 1), NULL,
		  l->m.page, 0);
	EXPECT_OP(REFUSED(0), l->uffd, WAKE, page_at(l, 1), NULL, l->m.page, 0);

	ASSERT_EQ(0, lab_read_msg(l->uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	EXPECT_EQ(0, pthread_join(thread, NULL));
	EXPECT_OP(DONE, l->uffd, COPY, page_at(l, 1), l->src, l->m.page, 0);
}

/* A child registers memory, hands over its userfaultfd and exits. */
static int child_uffd(struct lab *l, pid_t *pid, int hold)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int sk[2], fd;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sk))
		return -errno;
	*pid = fork();
	if (*pid < 0)
		return -errno;
	if (!*pid) {
		fd = lab_uffd_open(BASE_FEATURES);
		if (lab_register(fd, l->m.area, l->m.len, all_modes(&l->m),
				 NULL))
			_exit(1);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		if (sendmsg(sk[1], &msg, 0) != 1)
			_exit(2);
		/* Touches what the test fills, until the test releases it. */
		if (hold) {
			if (memcmp(page_at(l, 1), src_at(l, 1), l->m.page))
				_exit(3);
			for (;;)
				pause();
		}
		_exit(0);
	}
	close(sk[1]);
	if (recvmsg(sk[0], &msg, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	close(sk[0]);
	c = CMSG_FIRSTHDR(&msg);
	if (!c)
		return -EIO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

TEST_F(mem, process_is_gone)
{
	struct lab *l = &self->l;
	int status, uffd;
	enum op op;
	pid_t pid;

	uffd = child_uffd(l, &pid, false);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	for (op = 0; op < FILLS; op++)
		EXPECT_OP(REFUSED(-ESRCH), uffd, op, l->m.area, l->src,
			  l->m.page, 0);
	EXPECT_OP(REFUSED(-ESRCH), uffd, WRITEPROTECT, l->m.area, NULL,
		  l->m.page, 0);
	/* Two have their own errnos, and one does not check. */
	EXPECT_OP(REFUSED(-ENOMEM), uffd, REGISTER, l->m.area, NULL, l->m.page,
		  LAB_MISSING);
	EXPECT_OP(REFUSED(-ENOMEM), uffd, UNREGISTER, l->m.area, NULL,
		  l->m.page, 0);
	EXPECT_OP(REFUSED(0), uffd, WAKE, l->m.area, NULL, l->m.page, 0);
	close(uffd);
}

/* Fills the memory of another process, from memory of this one. */
TEST_F(mem, other_process)
{
	struct lab *l = &self->l;
	struct uffd_msg msg = { 0 };
	int status, uffd;
	pid_t pid;

	uffd = child_uffd(l, &pid, true);
	ASSERT_LE(0, uffd);
	EXPECT_EQ(0, lab_read_msg(uffd, &msg, LAB_DEADLINE_MS));
	EXPECT_EQ((__u64)(uintptr_t)page_at(l, 1), msg.arg.pagefault.address);
	/* MOVE only works within a process. */
	EXPECT_OP(REFUSED(-EINVAL), uffd, MOVE, page_at(l, 1), src_at(l, 1),
		  l->m.page, 0);
	EXPECT_OP(DONE, uffd, COPY, page_at(l, 1), src_at(l, 1), l->m.page, 0);
	/* The child exits by itself if the content is wrong. */
	lab_sleep_ms(LAB_QUIET_MS);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(uffd);
}

/* Files */

LAB_FIXTURE(file);
LAB_FILE_VARIANTS(file);

TEST_F(file, continue_of_a_hole)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	file_write(l, 0, 3);
	file_write(l, 4, 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	EXPECT_OP(FAILED(-EFAULT), l->uffd, CONTINUE, page_at(l, 3), NULL, page,
		  0);
	EXPECT_OP(PARTIAL(3 * page), l->uffd, CONTINUE, page_at(l, 0), NULL,
		  5 * page, 0);
	/* Nothing was made. */
	if (lab_has_size(&l->m)) {
		EXPECT_EQ((long)(4 * page / 512), lab_blocks(&l->m));
	}
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 4), NULL, page, 0);
}

/* Present in the file, not mapped: shared fills fail, private fills do not. */
TEST_F(file, exists_in_the_file)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	enum op op;

	for (op = COPY; op <= ZEROPAGE; op++) {
		if (!applies(&l->m, op))
			continue;
		lab_mem_drop(&l->m);
		ASSERT_EQ(0, lab_mem_make(&l->m, variant->type, PAGES));
		file_write(l, 3, 1);
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  LAB_MISSING, NULL));
		if (!lab_is_shared(&l->m)) {
			EXPECT_OP(DONE, l->uffd, op, page_at(l, 3), l->src,
				  page, 0);
		} else {
			EXPECT_OP(FAILED(-EEXIST), l->uffd, op, page_at(l, 3),
				  l->src, page, 0);
			EXPECT_OP(PARTIAL(page), l->uffd, op, page_at(l, 2),
				  l->src, 2 * page, 0);
			EXPECT_TRUE(same_at(l, alias_at(l, 3), 3));
		}
		ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
	}
	/* Poison belongs to the mapping in both cases. */
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 3), NULL, page, 0);
	EXPECT_TRUE(same_at(l, alias_at(l, 3), 3));
}

/* Files whose size can change */

LAB_FIXTURE(sized);
LAB_SIZED_VARIANTS(sized);

/*
 * The end of the file is rounded up to pages: page 3 of this file has one byte
 * and is inside, page 4 is not. CONTINUE returns a different errno.
 */
TEST_F(sized, end_of_file)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	int want, code = 0;
	enum op op;
	char v;

	for (op = 0; op < FILLS; op++) {
		want = op == CONTINUE ? -EINVAL : -EFAULT;
		ASSERT_EQ(0, ftruncate(l->m.fd, 3 * page + 1));
		if (op == CONTINUE)
			memset(l->m.alias, 1, 3 * page + 1);
		ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len,
					  LAB_MISSING, NULL));
		EXPECT_OP(FAILED(want), l->uffd, op, page_at(l, 4), l->src,
			  page, 0);
		EXPECT_OP(PARTIAL(2 * page), l->uffd, op, page_at(l, 2), l->src,
			  4 * page, 0);
		EXPECT_OP(FAILED(want), l->uffd, op, page_at(l, 7), l->src,
			  page, 0);
		/* No fault is reported beyond the end. */
		EXPECT_EQ(SIGBUS, lab_access(page_at(l, 4), false, &v, &code));
		EXPECT_EQ(BUS_ADRERR, code);
		EXPECT_FALSE(has_msg(l));

		EXPECT_EQ(0, lab_unregister(l->uffd, l->m.area, l->m.len));
		ASSERT_EQ(0, madvise(l->m.area, l->m.len, MADV_DONTNEED));
		ASSERT_EQ(0, ftruncate(l->m.fd, 0));
	}
}

/* shmem */

LAB_FIXTURE(shmem);
LAB_SHMEM_VARIANTS(shmem);

static void hwpoison_told(int sig)
{
	(void)sig;
}

/* A page that the hardware (here: madvise) declared bad is never mapped. */
TEST_F(shmem, hwpoison)
{
	struct lab *l = &self->l;
	int code = 0;
	__u64 pfn;
	FILE *f;
	char v;

	file_write(l, 0, PAGES);
	pfn = lab_pagemap(alias_at(l, 3)) & ((1ULL << 55) - 1);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MINOR,
				  NULL));
	/*
	 * This process gets SIGBUS, since it maps the page, and cannot ignore
	 * it.
	 */
	signal(SIGBUS, hwpoison_told);
	ASSERT_EQ(0, madvise(alias_at(l, 3), l->m.page, MADV_HWPOISON));
	EXPECT_OP(FAILED(-EIO), l->uffd, CONTINUE, page_at(l, 3), NULL,
		  l->m.page, 0);
	EXPECT_OP(PARTIAL(3 * l->m.page), l->uffd, CONTINUE, page_at(l, 0),
		  NULL, PAGES * l->m.page, 0);

	/*
	 * A fault does not map it either, where the kernel maps present pages.
	 */
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	lab_catch_signals();
	EXPECT_EQ(SIGBUS, lab_access(page_at(l, 3), false, &v, &code));
	EXPECT_EQ(BUS_MCEERR_AR, code);
	EXPECT_FALSE(has_msg(l));

	/* The page is not really bad; unpoison it if the kernel can. */
	ASSERT_EQ(0, ftruncate(l->m.fd, 0));
	f = fopen("/sys/kernel/debug/hwpoison/unpoison-pfn", "we");
	if (f) {
		fprintf(f, "0x%llx\n", pfn);
		fclose(f);
	}
}

/* Shared shmem, on a file system with a limit */

FIXTURE(full) {
	struct lab l;
	int root;
};

/* Four pages; the mount is only reachable through the descriptor. */
FIXTURE_SETUP(full)
{
	struct lab *l = &self->l;
	char dir[] = "/tmp/uffd-types.XXXXXX";

	ASSERT_EQ(0, lab_setup(l, &lab_anon));
	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, mount("none", dir, "tmpfs", 0, "size=16384"));
	self->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	EXPECT_EQ(0, umount2(dir, MNT_DETACH));
	EXPECT_EQ(0, rmdir(dir));
	ASSERT_LE(0, self->root);
	l->m.fd = openat(self->root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
			 0600);
	ASSERT_LE(0, l->m.fd);
	ASSERT_EQ(0, ftruncate(l->m.fd, l->m.len));
	l->m.flags = LAB_SHMEM_SHARED;
	ASSERT_EQ(l->m.area, mmap(l->m.area, l->m.len, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, l->m.fd, 0));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
}

FIXTURE_TEARDOWN(full)
{
	lab_teardown(&self->l);
	close(self->root);
}

static long free_pages(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) ? -errno : (long)st.f_bfree;
}

TEST_F(full, copy_and_zeropage)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	unsigned int i;
	enum op op;

	for (op = COPY; op <= ZEROPAGE; op++) {
		ASSERT_EQ(4, free_pages(self->root));
		EXPECT_OP(PARTIAL(4 * page), l->uffd, op, l->m.area, l->src,
			  PAGES * page, 0);
		EXPECT_EQ(0, free_pages(self->root));
		for (i = 0; i < 20; i++)
			EXPECT_OP(FAILED(-ENOMEM), l->uffd, op, page_at(l, 4),
				  l->src, page, 0);
		/* A present page needs no space. (Stock: -ENOMEM) */
		EXPECT_OP(FAILED(-EEXIST), l->uffd, op, page_at(l, 0), l->src,
			  page, 0);
		EXPECT_EQ((long)(4 * page / 512), lab_blocks(&l->m));

		/*
		 * One page freed allows one fill; a fill that fails uses no
		 * space.
		 */
		ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, 0, page));
		EXPECT_EQ(1, free_pages(self->root));
		for (i = 0; i < 20; i++)
			EXPECT_OP(FAILED(-EEXIST), l->uffd, op, page_at(l, 1),
				  l->src, page, 0);
		EXPECT_EQ(1, free_pages(self->root));
		EXPECT_OP(DONE, l->uffd, op, page_at(l, 4), l->src, page, 0);
		EXPECT_EQ(0, free_pages(self->root));

		ASSERT_EQ(0, fallocate(l->m.fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, 0, l->m.len));
	}
}

/* The same if the content was read while no lock was held */
TEST_F(full, copy_from_absent_source)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;
	unsigned int i;

	ASSERT_EQ(0, madvise(l->src, l->m.len, MADV_DONTNEED));
	EXPECT_OP(PARTIAL(4 * page), l->uffd, COPY, l->m.area, l->src,
		  PAGES * page, 0);
	for (i = 4; i < PAGES; i++)
		EXPECT_OP(FAILED(-ENOMEM), l->uffd, COPY, page_at(l, i),
			  src_at(l, i), page, 0);
	EXPECT_EQ(0, free_pages(self->root));
	EXPECT_EQ((long)(4 * page / 512), lab_blocks(&l->m));
}

/* POISON needs no memory, and CONTINUE uses existing memory. */
TEST_F(full, poison_and_continue)
{
	struct lab *l = &self->l;
	size_t page = l->m.page;

	EXPECT_OP(PARTIAL(4 * page), l->uffd, COPY, l->m.area, l->src,
		  PAGES * page, 0);
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 4), NULL, page, 0);
	ASSERT_EQ(0, madvise(l->m.area, 4 * page, MADV_DONTNEED));
	EXPECT_OP(DONE, l->uffd, CONTINUE, page_at(l, 0), NULL, 4 * page, 0);
	EXPECT_EQ(0, free_pages(self->root));
}

/* Anonymous memory: what it rejects, and MOVE */

LAB_FIXTURE(anon);
LAB_VARIANT(anon, anon);

TEST_F(anon, continue_never)
{
	struct lab *l = &self->l;

	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_OP(FAILED(-EINVAL), l->uffd, CONTINUE, l->m.area, NULL,
		  l->m.page, 0);
}

/* One entry for 2 MiB is not replaced, not even if it maps the zero page. */
TEST_F(anon, exists_as_huge_page)
{
	struct lab *l = &self->l;
	char *huge;
	enum op op;

	huge = mmap(NULL, 2 * LAB_HUGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, huge);
	huge = (char *)(((uintptr_t)huge + LAB_HUGE - 1) & -LAB_HUGE);
	ASSERT_EQ(0, madvise(huge, LAB_HUGE, MADV_HUGEPAGE));
	huge[0] = 1;
	ASSERT_LT(0, lab_number("/proc/self/smaps_rollup", "AnonHugePages:"));
	ASSERT_EQ(0, lab_register(l->uffd, huge, LAB_HUGE, LAB_MISSING, NULL));
	for (op = 0; op < FILLS; op++)
		EXPECT_OP(FAILED(op == CONTINUE ? -EINVAL : -EEXIST), l->uffd,
			  op, huge + 5 * LAB_PAGE, l->src, LAB_PAGE, 0);
	EXPECT_EQ(1, huge[0]);
	EXPECT_LT(0, lab_number("/proc/self/smaps_rollup", "AnonHugePages:"));
}

TEST_F(anon, move)
{
	struct lab *l = &self->l;
	static struct lab_touch t;
	char *copy;
	unsigned int i;
	__s64 done;

	copy = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, copy);
	memcpy(copy, l->src, l->m.len);
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_FAULT(l, &t, page_at(l, 2), false, 0, 0);
	EXPECT_OP(DONE, l->uffd, MOVE, page_at(l, 2), copy + 2 * l->m.page,
		  l->m.page, 0);
	EXPECT_TOUCHED(&t, src_at(l, 2)[0]);
	EXPECT_TRUE(same_at(l, page_at(l, 2), 2));
	/* A moved page is gone from the source. */
	EXPECT_FALSE(lab_pm(copy + 2 * l->m.page, LAB_PM_PRESENT));
	EXPECT_EQ(0, read_byte(copy + 2 * l->m.page));
	/* The rest in one call, over the hole: the zero page is a page, too. */
	EXPECT_EQ(-EAGAIN, lab_move(l->uffd, l->m.area, copy, l->m.len, 0,
				    &done));
	EXPECT_EQ((__s64)(2 * l->m.page), done);
	EXPECT_FAULT(l, &t, page_at(l, 3), true, 3, UFFD_PAGEFAULT_FLAG_WRITE);
	EXPECT_EQ(0, lab_move(l->uffd, page_at(l, 3), copy + 3 * l->m.page,
			      5 * l->m.page, UFFDIO_MOVE_MODE_DONTWAKE,
			      &done));
	ASSERT_TRUE(touch_waits(&t));
	EXPECT_EQ(0, lab_wake(l->uffd, l->m.area, l->m.len));
	EXPECT_TOUCHED(&t, 3);
	page_at(l, 3)[0] = src_at(l, 3)[0];
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
}

TEST_F(anon, move_swapped_out)
{
	struct lab *l = &self->l;
	char *copy;
	unsigned int i;

	LAB_SKIP_IF(lab_lacking_swap());
	copy = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, copy);
	memcpy(copy, l->src, l->m.len);
	ASSERT_EQ(0, swap_out(copy, l->m.len, LAB_DEADLINE_MS));
	ASSERT_TRUE(lab_pm(copy, LAB_PM_SWAP));
	ASSERT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	EXPECT_OP(DONE, l->uffd, MOVE, l->m.area, copy, l->m.len, 0);
	EXPECT_TRUE(lab_pm(l->m.area, LAB_PM_SWAP));
	for (i = 0; i < PAGES; i++) {
		EXPECT_TRUE(same_at(l, page_at(l, i), i));
	}
}

TEST_F(anon, move_errors)
{
	struct lab *l = &self->l;
	const size_t page = l->m.page;
	struct lab_mem shm;
	char *copy, *with;
	pid_t pid;
	__s64 done;

	ASSERT_EQ(0, lab_mem_make(&shm, &lab_memfd_shared, PAGES));
	memset(shm.area, 1, shm.len);
	copy = mmap(NULL, l->m.len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, copy);
	memcpy(copy, l->src, l->m.len);

	/* Unlike other fills: EINVAL if nothing is registered */
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, l->m.area, copy, page, 0);
	ASSERT_EQ(0, lab_register(l->uffd, page_at(l, 0), 6 * page,
				  LAB_MISSING, NULL));
	ASSERT_EQ(0, lab_register(l->uffd, shm.area, shm.len, LAB_MISSING,
				  NULL));

	/* Beyond the mapping, at either end; shared memory, at either end */
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, page_at(l, 5), copy, 2 * page,
		  0);
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, l->m.area, shm.area, page, 0);
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, shm.area, copy, page, 0);
	/* Not mapped */
	ASSERT_EQ(0, munmap(page_at(l, 4), page));
	EXPECT_OP(FAILED(-ENOENT), l->uffd, MOVE, page_at(l, 4), copy, page, 0);
	EXPECT_OP(FAILED(-ENOENT), l->uffd, MOVE, page_at(l, 0), page_at(l, 4),
		  page, 0);

	/* Different protection, not writable, locked memory */
	ASSERT_EQ(0, mprotect(copy, page, PROT_READ));
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, page_at(l, 0), copy, page, 0);
	ASSERT_EQ(0, mprotect(page_at(l, 0), page, PROT_READ));
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, page_at(l, 0), copy, page, 0);
	ASSERT_EQ(0, mprotect(page_at(l, 0), page, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, mprotect(copy, page, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, mlock(copy, page));
	EXPECT_OP(FAILED(-EINVAL), l->uffd, MOVE, page_at(l, 0), copy, page, 0);
	ASSERT_EQ(0, munlock(copy, page));

	/* A hole in the source: an error, or counted as moved on request */
	ASSERT_EQ(0, madvise(copy + page, page, MADV_DONTNEED));
	EXPECT_OP(FAILED(-ENOENT), l->uffd, MOVE, page_at(l, 1), copy + page,
		  page, 0);
	EXPECT_EQ(0, lab_move(l->uffd, page_at(l, 1), copy + page, page,
			      UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, &done));
	EXPECT_EQ((__s64)page, done);
	EXPECT_FALSE(lab_pm(page_at(l, 1), LAB_PM_PRESENT));
	EXPECT_OP(PARTIAL(page), l->uffd, MOVE, page_at(l, 0), copy, 3 * page,
		  0);

	/* The destination is in use: a page, poison */
	EXPECT_OP(FAILED(-EEXIST), l->uffd, MOVE, page_at(l, 0),
		  copy + 2 * page, page, 0);
	EXPECT_OP(DONE, l->uffd, POISON, page_at(l, 1), NULL, page, 0);
	EXPECT_OP(FAILED(-EEXIST), l->uffd, MOVE, page_at(l, 1),
		  copy + 2 * page, page, 0);
	/* Poison at the source */
	EXPECT_OP(FAILED(-EFAULT), l->uffd, MOVE, page_at(l, 2), page_at(l, 1),
		  page, 0);

	/* A page that another process shares */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (;;)
			pause();
	}
	with = copy + 3 * page;
	EXPECT_OP(FAILED(-EBUSY), l->uffd, MOVE, page_at(l, 3), with, page, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* No longer shared: it takes a write to establish that. */
	with[0] = 1;
	EXPECT_OP(DONE, l->uffd, MOVE, page_at(l, 3), with, page, 0);
	lab_mem_drop(&shm);
}

/* Registration of memory that cannot be written or is not supported */

LAB_FIXTURE(refuse);
LAB_VARIANT(refuse, memfd_shared);
LAB_VARIANT(refuse, tmpfs_shared);

/* Shared and read-only forever: a fill would write to the file. */
TEST_F(refuse, read_only_file)
{
	struct lab *l = &self->l;
	char path[40], *ro;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->m.fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ro = mmap(NULL, l->m.len, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, ro);
	EXPECT_EQ(-EPERM, lab_register(l->uffd, ro, l->m.len, LAB_MISSING,
				       NULL));
	EXPECT_EQ(-EPERM, lab_register(l->uffd, ro, l->m.len, LAB_MINOR,
				       NULL));
	EXPECT_EQ(-EPERM, lab_register(l->uffd, ro, l->m.len, LAB_WP, NULL));
	EXPECT_EQ(0, lab_unregister(l->uffd, ro, l->m.len));
	/* A private mapping of it only changes its own memory. */
	ASSERT_EQ(ro, mmap(ro, l->m.len, PROT_READ, MAP_PRIVATE | MAP_FIXED,
			   fd, 0));
	EXPECT_EQ(0, lab_register(l->uffd, ro, l->m.len, LAB_MISSING, NULL));
	EXPECT_OP(DONE, l->uffd, COPY, ro, l->src, l->m.page, 0);
	EXPECT_TRUE(same_at(l, ro, 0));
	/* Read-only at the moment */
	ASSERT_EQ(0, mprotect(l->m.area, l->m.len, PROT_READ));
	EXPECT_EQ(0, lab_register(l->uffd, l->m.area, l->m.len, LAB_MISSING,
				  NULL));
	close(fd);
}

TEST_F(refuse, sealed_file)
{
	static const int seals[] = { F_SEAL_WRITE, F_SEAL_FUTURE_WRITE };
	struct lab *l = &self->l;
	unsigned int i;
	char *ro;
	int fd;

	for (i = 0; i < ARRAY_SIZE(seals); i++) {
		fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ftruncate(fd, l->m.len));
		ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, seals[i]));
		ro = mmap(NULL, l->m.len, PROT_READ, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, ro);
		EXPECT_EQ(-EPERM, lab_register(l->uffd, ro, l->m.len,
					       LAB_MISSING, NULL));
		munmap(ro, l->m.len);
		close(fd);
	}
}

/* A small disk in compressed memory: its page cache is written back. */
#define ZRAM	"/sys/class/zram-control"

static int open_disk(char *id)
{
	char path[40];
	int fd;

	snprintf(id, 8, "%ld", lab_number(ZRAM "/hot_add", ""));
	snprintf(path, sizeof(path), "/sys/block/zram%s", id);
	if (lab_write(path, "disksize", "64K"))
		return -ENODEV;
	snprintf(path, sizeof(path), "/dev/zram%s", id);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* udev opens each new disk, and a disk that is open cannot be removed. */
static int remove_disk(const char *id)
{
	__u64 end = lab_now_ms() + LAB_DEADLINE_MS;
	int err;

	do {
		err = lab_write(ZRAM, "hot_remove", id);
		if (err != -EBUSY)
			break;
		lab_sleep_ms(1);
	} while (lab_now_ms() < end);
	return err;
}

/* Memory without support for userfaultfd, alone and next to supported memory */
TEST_F(refuse, other_memory)
{
	struct lab *l = &self->l;
	char id[8];
	int fd, async;

	if (access(ZRAM, F_OK))
		SKIP(return, "needs zram");
	fd = open_disk(id);
	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, mmap(page_at(l, 4), 4 * l->m.page,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, fd, 0));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, page_at(l, 4), l->m.page,
					LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, page_at(l, 4), l->m.page,
					LAB_WP, NULL));
	EXPECT_EQ(-EINVAL, lab_register(l->uffd, l->m.area, l->m.len,
					LAB_MISSING, NULL));
	EXPECT_EQ(-EINVAL, lab_unregister(l->uffd, l->m.area, l->m.len));
	/* None of it was registered. */
	EXPECT_EQ(0, read_byte(page_at(l, 0)));
	EXPECT_FALSE(has_msg(l));

	/*
	 * Asynchronous write protection works on every memory, but as the only
	 * mode.
	 */
	async = lab_uffd_open(UFFD_FEATURE_WP_ASYNC);
	ASSERT_LE(0, async);
	EXPECT_EQ(0, lab_register(async, l->m.area, l->m.len, LAB_WP, NULL));
	EXPECT_EQ(0, lab_writeprotect(async, l->m.area, l->m.len,
				      UFFDIO_WRITEPROTECT_MODE_WP));
	EXPECT_TRUE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, write_byte(page_at(l, 4), 1));
	EXPECT_FALSE(lab_pm(page_at(l, 4), LAB_PM_UFFD_WP));
	EXPECT_EQ(0, read_byte(page_at(l, 6)));
	EXPECT_TRUE(lab_pm(page_at(l, 6), LAB_PM_UFFD_WP));
	EXPECT_OP(FAILED(-EINVAL), async, COPY, page_at(l, 5), l->src,
		  l->m.page, 0);
	EXPECT_OP(FAILED(-EINVAL), async, CONTINUE, page_at(l, 5), l->src,
		  l->m.page, 0);
	EXPECT_EQ(0, lab_unregister(async, l->m.area, l->m.len));
	EXPECT_EQ(-EINVAL, lab_register(async, page_at(l, 4), l->m.page,
					LAB_WP | LAB_MISSING, NULL));
	close(async);
	ASSERT_EQ(0, munmap(page_at(l, 4), 4 * l->m.page));
	close(fd);
	EXPECT_EQ(0, remove_disk(id));
}

TEST_HARNESS_MAIN
