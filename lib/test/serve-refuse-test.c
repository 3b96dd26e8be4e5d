// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of uffd-serve with hand-overs that have to be refused: messages,
 * descriptors and peers. Each is refused for the stated reason, the memory of
 * the VMM is poisoned where the message named it, and the daemon then serves
 * another VMM.
 */
#define _GNU_SOURCE
#include <setjmp.h>

#include "daemon.h"

#define SIZE		(1 * MiB)
#define OWN_FD		(-2)	/* the userfaultfd */

static struct daemon d;
static sigjmp_buf bus;

static void on_bus(int signal)
{
	siglongjmp(bus, signal);
}

/* Does an access get SIGBUS? It hangs if the memory is not poisoned. */
static bool is_poisoned(const volatile char *at)
{
	struct sigaction action = { .sa_handler = on_bus };

	sigaction(SIGBUS, &action, NULL);
	if (sigsetjmp(bus, 1))
		return true;
	(void)*at;
	return false;
}

static void start(void)
{
	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory", "--once",
		     "--timeout", "300");
}

static void good_vmm_and_end(void)
{
	pid_t vmm = vmm_start(&(struct layout) {}, vmm_touch);

	CHECK_STATUS(0, vmm);
	CHECK_STATUS(0, d.pid);
}

/* ---- messages ---- */

struct bad {
	const char *message;	/* @: address of the memory, #: length */
	const char *reason;
	bool poisoned;		/* the message names the memory */
};

#define REGION(more)	"[{\"base_host_virt_addr\":@," more "}]"
#define OF_SIZE(more)	REGION("\"size\":#," more)
#define PAGES		"\"page_size\":4096,\"page_size_kib\":4096"

static const struct bad messages[] = {
	{ "hello", "not a JSON array", false },
	{ "{}", "not a JSON array", false },
	{ "\1\2\3", "not a JSON array", false },
	{ "[", "ended before the message did", false },
	{ "[{\"size\":\"]}]", "ended before the message did", false },
	{ "[]", "no regions", false },
	{ "[1]", "expected an object", false },
	{ "[[]]", "expected an object", false },
	{ "[{}]", "without base_host_virt_addr", false },
	{ OF_SIZE("\"offset\":0," PAGES) "]", "not a JSON array", false },
	{ REGION("\"offset\":0," PAGES), "without size", false },
	{ OF_SIZE(PAGES), "without offset", false },
	{ OF_SIZE("\"offset\":-4096," PAGES), "not negative", false },
	{ OF_SIZE("\"offset\":1e3," PAGES), "expected an integer", false },
	{ OF_SIZE("\"offset\":0.5," PAGES), "expected an integer", false },
	{ OF_SIZE("\"offset\":\"0\"," PAGES), "not negative", false },
	{ OF_SIZE("\"offset\":00," PAGES), "leading zero", false },
	{ OF_SIZE("\"offset\":18446744073709551616," PAGES), "out of range",
	  false },
	{ OF_SIZE("\"offset\":0,\"offset\":0," PAGES), "twice", false },
	{ OF_SIZE("\"offset\":0," PAGES ",,\"a\":0"), "invalid at byte",
	  false },
	{ OF_SIZE("\"offset\":0,\"x\":\"\\u00g0\""), "invalid escape", false },
	{ OF_SIZE("\"offset\":0,\"page_size\":0"), "page size is invalid",
	  false },
	{ OF_SIZE("\"offset\":0,\"page_size\":4"), "page size is invalid",
	  false },
	{ OF_SIZE("\"offset\":0,\"page_size\":12288"), "page size is invalid",
	  false },
	{ OF_SIZE("\"offset\":0,\"page_size\":2097152"), "not aligned", false },
	{ OF_SIZE("\"offset\":0,\"page_size\":8192"), "page size", false },
	{ OF_SIZE("\"offset\":1," PAGES), "not aligned to a page", true },
	{ OF_SIZE("\"offset\":4096," PAGES),
	  "behind the end of the memory file", true },
	{ OF_SIZE("\"offset\":18446744073709547520," PAGES),
	  "behind the end of the memory file", true },
	{ REGION("\"size\":0,\"offset\":0," PAGES), "it is empty", false },
	{ REGION("\"size\":4097,\"offset\":0," PAGES), "not aligned to its",
	  false },
	{ REGION("\"size\":18446744073709547520,\"offset\":0," PAGES),
	  "behind the last address", false },
	{ "[{\"base_host_virt_addr\":65536,\"size\":4096,\"offset\":0," PAGES
	  "}]", "not registered", false },
	{ "[{\"base_host_virt_addr\":@,\"size\":#,\"offset\":0," PAGES "},"
	  "{\"base_host_virt_addr\":65536,\"size\":4096,\"offset\":4096," PAGES
	  "}]", "regions overlap at offset 4096", true },
	{ "[{\"base_host_virt_addr\":@,\"size\":8192,\"offset\":0," PAGES "},"
	  "{\"base_host_virt_addr\":@,\"size\":4096,\"offset\":8192," PAGES
	  "}]", "regions overlap at address", true },
};

static void fill_in(char *text, const char *message, const struct fc *fc)
{
	for (; *message; message++) {
		if (*message == '@')
			text += sprintf(text, "%lu", (unsigned long)
					fc->regions[0].memory);
		else if (*message == '#')
			text += sprintf(text, "%zu", fc->regions[0].size);
		else
			*text++ = *message;
	}
	*text = '\0';
}

static int bad_vmm(const struct bad *bad)
{
	static char text[4096];
	struct fc fc;
	int sock;

	vmm_prepare(&fc, &(struct layout) {});
	fill_in(text, bad->message, &fc);
	sock = fc_connect("socket");
	if (sock < 0 || !fc_send(sock, text, strlen(text), fc.uffd))
		return VMM_SETUP;
	/* The end of the connection: it was refused. */
	shutdown(sock, SHUT_WR);
	alarm(5);
	recv(sock, text, 1, 0);
	if (!bad->poisoned)
		return 0;
	return is_poisoned(fc.regions[0].memory) ? 0 : VMM_WRONG;
}

TEST(bad_messages)
{
	pid_t vmm;

	start();
	for (size_t i = 0; i < sizeof(messages) / sizeof(struct bad); i++) {
		const struct bad *bad = &messages[i];
		int before = log_count(bad->reason);

		vmm = fork();
		if (!vmm)
			_exit(bad_vmm(bad));
		if (wait_status(vmm) || log_count(bad->reason) != before + 1) {
			print_log();
			FAIL("not refused with \"%s\", or not poisoned: %s",
			     bad->reason, bad->message);
		}
	}
	CHECK_EQ(0, log_count("serving"));
	good_vmm_and_end();
}

/* Only a part of the region is registered. */
TEST(region_registered_in_part)
{
	struct uffdio_range range;
	struct fc fc;
	pid_t vmm;

	start();
	vmm = fork();
	if (!vmm) {
		vmm_prepare(&fc, &(struct layout) {});
		range.start = (uintptr_t)fc.regions[0].memory + SIZE / 2;
		range.len = FC_PAGE;
		if (ioctl(fc.uffd, UFFDIO_UNREGISTER, &range) ||
		    !fc_hand_over(&fc, "socket"))
			_exit(VMM_SETUP);
		alarm(5);
		_exit(is_poisoned(fc.regions[0].memory) ? 0 : VMM_WRONG);
	}
	CHECK_STATUS(0, vmm);
	WAIT_FOR(log_count("not registered"));
	good_vmm_and_end();
}

TEST(message_without_an_end)
{
	char block[65536];
	int sock;

	start();
	memset(block, '[', sizeof(block));
	sock = fc_connect("socket");
	CHECK(sock >= 0);
	while (send(sock, block, sizeof(block), MSG_NOSIGNAL) > 0)
		;
	WAIT_FOR(log_count("longer than") || log_count("timed out"));
	good_vmm_and_end();
}

TEST(peer_that_sends_nothing)
{
	int sock;

	start();
	sock = fc_connect("socket");
	CHECK(sock >= 0);
	WAIT_FOR(log_count("timed out waiting for the message"));
	good_vmm_and_end();
}

/* ---- descriptors ---- */

static int without_api(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC | 1);
}

/* Sends a right message with other descriptors. */
static void send_descriptors(const int *fds, size_t nr)
{
	struct fc fc;
	int own[8], sock;

	vmm_prepare(&fc, &(struct layout) {});
	for (size_t i = 0; i < nr; i++)
		own[i] = fds[i] == OWN_FD ? fc.uffd : fds[i];
	fc_message(&fc);
	sock = fc_connect("socket");
	_exit(sock >= 0 && send_fds(sock, fc.message, strlen(fc.message),
				       own, nr) ? 0 : VMM_SETUP);
}

static void refuse_descriptors(const char *reason, const int *fds, size_t nr)
{
	pid_t vmm;

	start();
	vmm = fork();
	if (!vmm)
		send_descriptors(fds, nr);
	CHECK_STATUS(0, vmm);
	WAIT_FOR(log_count(reason));
	CHECK_EQ(0, log_count("serving"));
	good_vmm_and_end();
}

TEST(no_descriptor)
{
	refuse_descriptors("came without a userfaultfd", NULL, 0);
}

TEST(two_descriptors)
{
	refuse_descriptors("more than one descriptor",
			   (int []) { OWN_FD, OWN_FD }, 2);
}

TEST(a_pipe)
{
	int fds[2];

	CHECK(!pipe(fds));
	refuse_descriptors("not a userfaultfd", fds, 1);
}

TEST(a_memfd_with_the_name_of_a_userfaultfd)
{
	int fd = memfd_create("anon_inode:[userfaultfd]", 0);

	CHECK(fd >= 0);
	refuse_descriptors("not a userfaultfd", &fd, 1);
}

TEST(a_userfaultfd_that_was_not_initialized)
{
	int fd = without_api();

	CHECK(fd >= 0);
	refuse_descriptors(": refused: ", &fd, 1);
}

TEST(a_userfaultfd_of_a_process_that_has_exited)
{
	struct fc fc;
	int pair[2], sock;
	pid_t vmm;

	start();
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	vmm = fork();
	if (!vmm) {
		vmm_prepare(&fc, &(struct layout) {});
		fc_message(&fc);
		sock = fc_connect("socket");
		/* The descriptor is received after the process has exited. */
		_exit(sock >= 0 && fc_send(sock, fc.message, 5, fc.uffd) &&
		      fc_send(sock, fc.message + 5, strlen(fc.message + 5),
			      -1) ? 0 : VMM_SETUP);
	}
	CHECK_STATUS(0, vmm);
	WAIT_FOR(log_count(": refused: ") || log_count(": ended: "));
}

/* ---- peers ---- */

#define NOBODY	65534

static pid_t connect_as_nobody(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(setgid(NOBODY) || setuid(NOBODY) ||
		      fc_connect("socket") < 0);
	return pid;
}

static void open_directory(void)
{
	if (geteuid())
		SKIP("needs root");
	CHECK(!chmod(".", 0755));
}

TEST(other_users_cannot_open_the_socket)
{
	open_directory();
	start();
	CHECK_STATUS(1, connect_as_nobody());
	good_vmm_and_end();
}

TEST(users_that_are_not_allowed)
{
	open_directory();
	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory", "--once",
		     "--allow-uid", "12345");
	CHECK_STATUS(0, connect_as_nobody());
	WAIT_FOR(log_count("of user 65534: not allowed"));
	good_vmm_and_end();
}

/* Daemon and VMM without any privilege. */
TEST(served_without_privileges)
{
	open_directory();
	CHECK(!chown(".", NOBODY, NOBODY));
	CHECK(!setgid(NOBODY) && !setuid(NOBODY));
	if (access(daemon_program(), X_OK))
		SKIP("%s cannot be executed by others", daemon_program());
	start();
	good_vmm_and_end();
}
