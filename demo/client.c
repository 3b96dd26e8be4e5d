// SPDX-License-Identifier: GPL-2.0
/*
 * The client: the process whose memory is served.
 *
 * It has no access to the file. It touches every page once, in random order,
 * and reports the sha256 of the content. It has no timeouts: the handler kills
 * it after a deadline, and it dies with the handler.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"

static int fail(struct failure *failure, const char *step)
{
	failure->error = errno;
	snprintf(failure->step, sizeof(failure->step), "%s", step);
	return -1;
}

/* Creates and registers the memory. fds: the userfaultfd, the memory's file. */
static int set_up(const struct memory *memory, const struct mode *mode,
		  struct hello *hello, int fds[2])
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_register reg = { .mode = mode->armed };
	void *mem;

	fds[1] = -1;
	if (memory->open) {
		fds[1] = memory->open(hello->len);
		if (fds[1] < 0)
			return fail(&hello->failure, "open");
	}
	if (memory->attach)
		mem = memory->attach(hello->len);
	else
		mem = mmap(NULL, hello->len, PROT_READ | PROT_WRITE,
			   memory->flags, fds[1], 0);
	if (mem == MAP_FAILED)
		return fail(&hello->failure, "mmap");
	hello->start = (uintptr_t)mem;

	fds[0] = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fds[0] < 0)
		return fail(&hello->failure, "userfaultfd");
	if (ioctl(fds[0], UFFDIO_API, &api))
		return fail(&hello->failure, "UFFDIO_API");

	reg.range.start = hello->start;
	reg.range.len = hello->len;
	if (ioctl(fds[0], UFFDIO_REGISTER, &reg))
		return fail(&hello->failure, "UFFDIO_REGISTER");
	hello->ioctls = reg.ioctls;
	return 0;
}

static int send_hello(int sock, struct hello *hello, const int fds[2])
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { hello, sizeof(*hello) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!hello->failure.step[0]) {
		size_t len = (fds[1] < 0 ? 1 : 2) * sizeof(int);
		struct cmsghdr *cmsg;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(len);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(len);
		memcpy(CMSG_DATA(cmsg), fds, len);
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* A random permutation of 0 .. nr - 1. */
static size_t *shuffled(size_t nr, unsigned int seed)
{
	size_t *order = malloc(nr * sizeof(*order));

	if (!order)
		return NULL;
	srandom(seed);
	for (size_t i = 0; i < nr; i++) {
		size_t j = random() % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	return order;
}

/*
 * Reads every page once and, with write protection, writes to it: one fault for
 * each access. Once all pages are unprotected, restores the written bytes, so
 * that the content can be compared.
 */
static int touch(volatile char *mem, const struct memory *memory,
		 size_t len, bool write, unsigned int seed)
{
	size_t nr = len / memory->granule;
	size_t *order = shuffled(nr, seed);

	if (!order)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		volatile char *page = mem + order[i] * memory->granule;
		char byte = *page;

		if (write)
			*page = ~byte;
	}
	for (size_t i = 0; write && i < nr; i++)
		mem[i * memory->granule] = ~mem[i * memory->granule];
	free(order);
	return 0;
}

/* Computes the hash in a separate program, independent of the test. */
static int sha256(const char *mem, size_t size, char sum[SHA256_LEN + 1])
{
	static char *const argv[] = { "sha256sum", NULL }, *const env[] = { NULL };
	posix_spawn_file_actions_t actions;
	int in[2], out[2], status, err;
	size_t done;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, env);
	if (err) {
		errno = err;
		return -1;
	}
	close(in[0]);
	close(out[1]);
	for (done = 0; done < size;) {
		ssize_t n = write(in[1], mem + done, size - done);

		if (n < 0)
			return -1;
		done += n;
	}
	close(in[1]);
	for (done = 0; done < SHA256_LEN;) {
		ssize_t n = read(out[0], sum + done, SHA256_LEN - done);

		if (n <= 0)
			break;
		done += n;
	}
	/* The rest of its output fits into the pipe, so it can exit. */
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	if (status || done < SHA256_LEN) {
		errno = EPROTO;
		return -1;
	}
	return 0;
}

static bool is_zero(const char *mem, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (mem[i])
			return false;
	return true;
}

static void use(const struct memory *memory, const struct mode *mode,
		char *mem, size_t size, size_t len, unsigned int seed,
		struct result *result)
{
	bool write = mode->armed & UFFDIO_REGISTER_MODE_WP;

	if (touch(mem, memory, len, write, seed)) {
		fail(&result->failure, "malloc");
	} else if (sha256(mem, size, result->sha256)) {
		fail(&result->failure, "sha256sum");
	} else if (!is_zero(mem + size, len - size)) {
		errno = EUCLEAN;
		fail(&result->failure, "no zeroes after the end");
	}
}

void client(int sock, const struct memory *memory, const struct mode *mode,
	    size_t size, unsigned int seed)
{
	size_t granules = (size + memory->granule - 1) / memory->granule;
	struct hello hello = { .len = granules * memory->granule };
	struct result result = {};
	int fds[2];
	char go;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (set_up(memory, mode, &hello, fds) | send_hello(sock, &hello, fds))
		_exit(1);
	/* From here on only the handler has the userfaultfd open. */
	close(fds[0]);
	if (recv(sock, &go, 1, 0) != 1)
		_exit(1);
	use(memory, mode, (char *)(uintptr_t)hello.start, size, hello.len, seed,
	    &result);
	send(sock, &result, sizeof(result), MSG_NOSIGNAL);
	_exit(0);
}
