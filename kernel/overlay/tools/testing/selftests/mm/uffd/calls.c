// SPDX-License-Identifier: GPL-2.0
/* See calls.h. */
#include "calls.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

int lab_uffd(int flags, __u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int err, fd = syscall(__NR_userfaultfd, flags);

	if (fd < 0)
		return -errno;
	if (!ioctl(fd, UFFDIO_API, &api))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int lab_uffd_open(__u64 features)
{
	return lab_uffd(O_CLOEXEC | O_NONBLOCK, features);
}

int lab_ioctl(int uffd, unsigned long cmd, void *arg)
{
	return ioctl(uffd, cmd, arg) ? -errno : 0;
}

int lab_register(int uffd, const void *start, size_t len, __u64 mode,
		 __u64 *ioctls)
{
	struct uffdio_register r = {
		.range = { (uintptr_t)start, len }, .mode = mode };
	int err = lab_ioctl(uffd, UFFDIO_REGISTER, &r);

	if (ioctls)
		*ioctls = r.ioctls;
	return err;
}

int lab_unregister(int uffd, const void *start, size_t len)
{
	struct uffdio_range r = { (uintptr_t)start, len };

	return lab_ioctl(uffd, UFFDIO_UNREGISTER, &r);
}

int lab_wake(int uffd, const void *start, size_t len)
{
	struct uffdio_range r = { (uintptr_t)start, len };

	return lab_ioctl(uffd, UFFDIO_WAKE, &r);
}

int lab_copy(int uffd, void *dst, const void *src, size_t len, __u64 mode,
	     __s64 *done)
{
	struct uffdio_copy c = {
		.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len,
		.mode = mode, .copy = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_COPY, &c);

	if (done)
		*done = c.copy;
	return err;
}

int lab_zeropage(int uffd, void *dst, size_t len, __u64 mode, __s64 *done)
{
	struct uffdio_zeropage z = {
		.range = { (uintptr_t)dst, len }, .mode = mode,
		.zeropage = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_ZEROPAGE, &z);

	if (done)
		*done = z.zeropage;
	return err;
}

int lab_continue(int uffd, void *dst, size_t len, __u64 mode, __s64 *done)
{
	struct uffdio_continue c = {
		.range = { (uintptr_t)dst, len }, .mode = mode,
		.mapped = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_CONTINUE, &c);

	if (done)
		*done = c.mapped;
	return err;
}

int lab_poison(int uffd, void *dst, size_t len, __u64 mode, __s64 *done)
{
	struct uffdio_poison p = {
		.range = { (uintptr_t)dst, len }, .mode = mode,
		.updated = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_POISON, &p);

	if (done)
		*done = p.updated;
	return err;
}

int lab_move(int uffd, void *dst, const void *src, size_t len, __u64 mode,
	     __s64 *done)
{
	struct uffdio_move m = {
		.dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = len,
		.mode = mode, .move = LAB_UNTOUCHED };
	int err = lab_ioctl(uffd, UFFDIO_MOVE, &m);

	if (done)
		*done = m.move;
	return err;
}

int lab_writeprotect(int uffd, void *start, size_t len, __u64 mode)
{
	struct uffdio_writeprotect w = {
		.range = { (uintptr_t)start, len }, .mode = mode };

	return lab_ioctl(uffd, UFFDIO_WRITEPROTECT, &w);
}

int lab_read_msg(int uffd, struct uffd_msg *msg, int ms)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	__u64 end = lab_now_ms() + ms;
	ssize_t n;

	for (;;) {
		__s64 left = end - lab_now_ms();

		n = read(uffd, msg, sizeof(*msg));
		if (n == sizeof(*msg))
			return 0;
		if (n >= 0)
			return -EIO;
		/* A fault may be woken between poll() and read(). */
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, left) < 0 && errno != EINTR)
			return -errno;
	}
}

const char * const op_name[] = { "COPY", "ZEROPAGE", "CONTINUE",
	"POISON", "MOVE", "WRITEPROTECT", "WAKE", "REGISTER", "UNREGISTER" };

int run_op(int uffd, enum op op, void *dst, const void *src, size_t len,
	   __u64 mode, __s64 *done)
{
	*done = LAB_UNTOUCHED;
	switch (op) {
	case COPY:
		return lab_copy(uffd, dst, src, len, mode, done);
	case ZEROPAGE:
		return lab_zeropage(uffd, dst, len, mode, done);
	case CONTINUE:
		return lab_continue(uffd, dst, len, mode, done);
	case POISON:
		return lab_poison(uffd, dst, len, mode, done);
	case MOVE:
		return lab_move(uffd, dst, src, len, mode, done);
	case WRITEPROTECT:
		return lab_writeprotect(uffd, dst, len, mode);
	case WAKE:
		return lab_wake(uffd, dst, len);
	case REGISTER:
		return lab_register(uffd, dst, len, mode, NULL);
	case UNREGISTER:
		return lab_unregister(uffd, dst, len);
	default:
		return -EOPNOTSUPP;
	}
}
