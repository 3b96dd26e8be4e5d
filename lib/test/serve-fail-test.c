// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of uffd-serve when something fails: memory files that change, a server
 * that is killed, signals, clients of the control socket. An access of the
 * guest gets the right bytes or SIGBUS: it never waits for ever, and never
 * reads zeroes in place of content.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <setjmp.h>

#include <lazyrestore/snapshot.h>

#include "daemon.h"

#define SIZE	(4 * MiB)

static struct daemon d;
static sigjmp_buf bus;

static void on_bus(int signal)
{
	siglongjmp(bus, signal);
}

enum access { RIGHT, POISONED, WRONG };

static enum access read_page(const struct fc *fc, size_t at)
{
	struct sigaction action = { .sa_handler = on_bus };

	sigaction(SIGBUS, &action, NULL);
	if (sigsetjmp(bus, 1))
		return POISONED;
	return compare(fc, 0, at) ? WRONG : RIGHT;
}

/* The number of poisoned pages, or -1 if a page is wrong. */
static int count_poisoned(const struct fc *fc)
{
	volatile int nr = 0;

	for (volatile size_t at = 0; at < SIZE; at += FC_PAGE)
		switch (read_page(fc, at)) {
		case RIGHT:
			break;
		case POISONED:
			nr++;
			break;
		case WRONG:
			return -1;
		}
	return nr;
}

static int failed_vmm(struct fc *fc)
{
	int nr = count_poisoned(fc);

	return nr < 0 ? VMM_WRONG : nr ? 0 : VMM_SETUP;
}

/* Pages that the guest has touched stay what they are. */
static volatile int *go;	/* shared with VMMs */

static int touch_and_wait(struct fc *fc)
{
	for (size_t at = 0; at < SIZE / 4; at += FC_PAGE)
		if (compare(fc, 0, at))
			return VMM_WRONG;
	*go = 1;
	while (*go < 2)
		msleep(1);
	alarm(10);
	return failed_vmm(fc);
}

static void make_go(void)
{
	go = mmap(NULL, FC_PAGE, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(go != MAP_FAILED);
}

/* Starts a VMM that has touched a part of its memory. */
static pid_t start_vmm(void)
{
	pid_t vmm;

	make_go();
	vmm = vmm_start(&(struct layout) {}, touch_and_wait);
	WAIT_FOR(*go == 1);
	return vmm;
}

static void start_daemon(const char *option, const char *value)
{
	daemon_start(&d, "--socket", "socket", "--control", "control",
		     "--memory", "memory", "--once", "--no-background", option,
		     value);
}

/* ---- files ---- */

static void file_fails(const char *path, off_t size)
{
	pid_t vmm = start_vmm();

	CHECK(!truncate(path, size));
	*go = 2;
	CHECK_STATUS(0, vmm);
	CHECK_STATUS(1, d.pid);
	CHECK_EQ(1, log_count(": failed: "));
	CHECK_EQ(0, log_count("cannot be poisoned"));
}

TEST(memory_file_is_truncated)
{
	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	file_fails("memory", SIZE / 2);
}

TEST(memory_file_is_truncated_to_nothing)
{
	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	file_fails("memory", 0);
}

TEST(memory_file_is_written_to)
{
	pid_t vmm;
	int fd;

	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	vmm = start_vmm();
	fd = open("memory", O_WRONLY);
	msleep(20);	/* the granularity of timestamps */
	CHECK_EQ(1, pwrite(fd, "x", 1, SIZE - 1));
	WAIT_FOR(log_count("was changed"));
	CHECK_STATUS(1, d.pid);
	*go = 2;
	CHECK_STATUS(0, vmm);
}

static void make_snapshot(const char *path)
{
	const struct lazy_snap_region region = { 0, SIZE };
	struct lazy_snap_writer *writer;
	struct lazy_error err;

	make_reference(SIZE);
	writer = lazy_snap_create(path, &region, 1, &err);
	CHECK(writer, "%s", err.text);
	CHECK(!lazy_snap_write(writer, 0, reference, SIZE, &err), "%s",
	      err.text);
	CHECK(!lazy_snap_commit(writer, &err), "%s", err.text);
}

TEST(snapshot)
{
	make_snapshot("snapshot");
	daemon_start(&d, "--socket", "socket", "--snapshot", "snapshot",
		     "--once");
	CHECK_STATUS(0, vmm_start(&(struct layout) {}, vmm_touch));
	CHECK_STATUS(0, d.pid);
}

TEST(snapshot_is_truncated)
{
	make_snapshot("snapshot");
	daemon_start(&d, "--socket", "socket", "--snapshot", "snapshot",
		     "--once", "--no-background");
	file_fails("snapshot", 0);
}

TEST(damaged_snapshot)
{
	int fd;

	make_snapshot("snapshot");
	fd = open("snapshot", O_RDWR);
	CHECK_EQ(8, pwrite(fd, "damaged!", 8, SIZE / 2 + 12345));
	daemon_start(&d, "--socket", "socket", "--snapshot", "snapshot",
		     "--once");
	CHECK_STATUS(0, vmm_start(&(struct layout) {}, failed_vmm));
	CHECK_STATUS(1, d.pid);
}

/* ---- the server is killed ---- */

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	FILE *file;
	int parent = -1;
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return -1;
	at = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	if (at && sscanf(at, ") %*c %d", &parent) != 1)
		parent = -1;
	fclose(file);
	return parent;
}

static pid_t child_of(pid_t parent)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t child = -1;

	while (child < 0 && (entry = readdir(proc)))
		if (atoi(entry->d_name) &&
		    parent_of(atoi(entry->d_name)) == parent)
			child = atoi(entry->d_name);
	closedir(proc);
	return child;
}

static pid_t server_pid(void)
{
	pid_t server = child_of(child_of(d.pid));

	CHECK(server > 0);
	return server;
}

TEST(server_is_killed)
{
	pid_t vmm;

	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	vmm = start_vmm();
	kill(server_pid(), SIGKILL);
	CHECK_STATUS(1, d.pid);
	*go = 2;
	CHECK_STATUS(0, vmm);
	CHECK_EQ(1, log_count("server was killed by signal 9"));
}

/* Kills the server while an access of the VMM waits for it. */
static void kill_server_of_access(pid_t vmm)
{
	pid_t server = server_pid();

	kill(server, SIGSTOP);
	msleep(50);
	*go = 2;
	msleep(50);
	kill(server, SIGKILL);
	CHECK_STATUS(0, vmm);
	CHECK_STATUS(1, d.pid);
}

TEST(server_is_killed_while_a_fault_waits)
{
	pid_t vmm;

	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	vmm = start_vmm();
	kill_server_of_access(vmm);
}

/* A page that is not filled around the first fault. */
static int write_memory(struct fc *fc)
{
	int fd = open("out", O_WRONLY | O_CREAT, 0600);
	ssize_t n;

	if (compare(fc, 0, 0))
		return VMM_WRONG;
	*go = 1;
	while (*go < 2)
		msleep(1);
	n = write(fd, fc->regions[0].memory + SIZE / 2, FC_PAGE);
	return n < 0 && (errno == EFAULT || errno == EHWPOISON) ? 0 : VMM_WRONG;
}

TEST(server_is_killed_while_a_system_call_waits)
{
	pid_t vmm;

	make_memory("memory", SIZE);
	make_go();
	start_daemon(NULL, NULL);
	vmm = vmm_start(&(struct layout) {}, write_memory);
	WAIT_FOR(*go == 1);
	kill_server_of_access(vmm);
}

TEST(other_vms_are_not_affected)
{
	pid_t first, second;

	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory",
		     "--no-background");
	first = start_vmm();
	kill(server_pid(), SIGKILL);
	second = vmm_start(&(struct layout) {}, vmm_touch);
	CHECK_STATUS(0, second);
	*go = 2;
	CHECK_STATUS(0, first);
	daemon_stop(&d);
}

/* ---- signals ---- */

TEST(sigterm_poisons)
{
	pid_t vmm;

	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	vmm = start_vmm();
	daemon_stop(&d);
	*go = 2;
	CHECK_STATUS(0, vmm);
	CHECK_EQ(1, log_count("failed: ended by a signal"));
}

TEST(vmm_is_signaled)
{
	pid_t vmm;

	make_memory("memory", SIZE);
	start_daemon("--signal", "SIGUSR2");
	vmm = start_vmm();
	CHECK(!truncate("memory", 0));
	CHECK_STATUS(-SIGUSR2, vmm);
	CHECK_STATUS(1, d.pid);
}

/* ---- the control socket ---- */

TEST(idle_clients_delay_nobody)
{
	int idle[64];

	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	for (int i = 0; i < 64; i++)
		CHECK((idle[i] = fc_connect("control")) >= 0);
	for (int i = 0; i < 32; i++)
		close(idle[i]);
	CHECK_STATUS(0, vmm_start(&(struct layout) {}, vmm_touch));
	CHECK_STATUS(0, d.pid);
}

TEST(unknown_requests)
{
	char answer[1024], request[256];

	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	control("restart\n", answer, sizeof(answer));
	CHECK(strstr(answer, "unknown request"), "%s", answer);
	memset(request, 'x', sizeof(request) - 1);
	request[sizeof(request) - 1] = '\0';
	control(request, answer, sizeof(answer));
	control("stats\r\n", answer, sizeof(answer));
	CHECK(!strcmp(answer, "{\"vms\":[]}\n"), "%s", answer);
	daemon_stop(&d);
}

/* ---- start ---- */

/* The exit status of a daemon that must not start. */
#define STATUS_OF(...)							\
	({								\
		daemon_exec(&d, (const char *const [])			\
				{ __VA_ARGS__, NULL });			\
		wait_status(d.pid);					\
	})

TEST(command_lines)
{
	make_memory("memory", SIZE);
	CHECK_EQ(0, STATUS_OF("--help"));
	CHECK_EQ(0, STATUS_OF("--version"));
	CHECK_EQ(2, STATUS_OF("--socket"));
	CHECK_EQ(2, STATUS_OF("--socket", "socket"));
	CHECK_EQ(2, STATUS_OF("--memory", "memory"));
	CHECK_EQ(2, STATUS_OF("--socket", "socket", "--base", "memory"));
	CHECK_EQ(2, STATUS_OF("--socket", "socket", "--memory", "memory",
			      "--snapshot", "memory"));
	CHECK_EQ(2, STATUS_OF("--socket", "socket", "--memory", "memory", "x"));
	CHECK_EQ(2, STATUS_OF("--socket", "socket", "--memory", "memory",
			      "--threads", "9"));
	CHECK_EQ(1, STATUS_OF("--socket", "socket", "--memory", "none"));
	CHECK_EQ(1, STATUS_OF("--socket", "socket", "--memory", "."));
	CHECK_EQ(1, STATUS_OF("--socket", "socket", "--memory", "/dev/zero"));
	CHECK_EQ(1, STATUS_OF("--socket", "socket", "--snapshot", "memory"));
	CHECK_EQ(1, STATUS_OF("--socket", "no/socket", "--memory", "memory"));
	CHECK_EQ(1, STATUS_OF("--socket", "memory", "--memory", "memory"));
	CHECK(!truncate("memory", SIZE / 2));
	make_memory("base", SIZE);
	CHECK_EQ(1, STATUS_OF("--socket", "socket", "--memory", "memory",
			      "--base", "base"));
}

TEST(a_stale_socket_is_replaced_and_one_in_use_is_not)
{
	struct daemon second;

	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory");
	daemon_exec(&second, (const char *const []) {
		    "--socket", "socket", "--memory", "memory", NULL });
	CHECK_STATUS(1, second.pid);
	CHECK_EQ(1, log_count("Address already in use"));
	kill(d.pid, SIGKILL);
	waitpid(d.pid, NULL, 0);
	CHECK(!access("socket", F_OK));
	daemon_start(&d, "--socket", "socket", "--memory", "memory");
	daemon_stop(&d);
	CHECK(access("socket", F_OK));
}

/* Every process has its seccomp filters. */
static int filters_of(pid_t pid)
{
	char path[64], line[256];
	FILE *file;
	int nr = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "Seccomp_filters: %d", &nr);
	if (file)
		fclose(file);
	return nr;
}

TEST(system_calls_are_restricted)
{
	pid_t vmm, server;

	if (SANITIZED)
		SKIP("sanitizers need more system calls");
	make_memory("memory", SIZE);
	start_daemon(NULL, NULL);
	vmm = start_vmm();
	server = server_pid();
	if (filters_of(d.pid) < 0)
		SKIP("this kernel does not count filters");
	CHECK_EQ(1, filters_of(d.pid));
	CHECK_EQ(2, filters_of(parent_of(server)));
	CHECK_EQ(3, filters_of(server));
	kill(vmm, SIGKILL);
	CHECK_STATUS(0, d.pid);
}
