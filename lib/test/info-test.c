// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * uffd-info, on a kernel with UFFDIO_QUERY and on one without it: its table is
 * compared with registrations that are made here, and what the kernel answers
 * with what registrations show.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "../core/uapi.h"
#include "ktap.h"

#define ROWS	10	/* memory types */

static char output[16384];

/* The program beside the directory of the tests. */
static const char *program(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);

	CHECK(n > 0);
	path[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(path, '/') = '\0';
	return strcat(path, "/uffd-info");
}

/* Runs uffd-info with up to two arguments. Returns its exit status. */
static int run(const char *first, const char *second)
{
	const char *path = program();
	size_t size = 0;
	ssize_t n;
	int pipes[2], status;
	pid_t pid;

	CHECK(!pipe(pipes));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		execl(path, "uffd-info", first, second, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	while ((n = read(pipes[0], output + size,
			 sizeof(output) - 1 - size)) > 0)
		size += n;
	output[size] = '\0';
	close(pipes[0]);
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status), "%s", output);
	return WEXITSTATUS(status);
}

/* The rest of the line that begins with @name. */
static const char *line(const char *name)
{
	static char rest[1024];
	const char *at = output;
	size_t length = strlen(name);

	while (at) {
		if (!strncmp(at, name, length) && at[length] == ' ') {
			at += length + strspn(at + length, " ");
			snprintf(rest, sizeof(rest), "%.*s",
				 (int)strcspn(at, "\n"), at);
			return rest;
		}
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	FAIL("there is no line '%s' in:\n%s", name, output);
}

/* The table alone. */
static const char *table(void)
{
	const char *start = strstr(output, "\nmemory ");

	CHECK(start, "%s", output);
	return start;
}

static int open_uffd(__u64 *features)
{
	struct uffdio_api api = { .api = UFFD_API };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0)
		SKIP("userfaultfd: %s", strerror(errno));
	CHECK(!ioctl(uffd, UFFDIO_API, &api));
	*features = api.features;
	return uffd;
}

static bool has_query(void)
{
	__u64 features;

	close(open_uffd(&features));
	return features >> 24 & 1;
}

TEST(first_lines)
{
	struct utsname system;

	CHECK(!uname(&system));
	CHECK_EQ(0, run(NULL, NULL));
	CHECK(!strcmp(line("kernel"), system.release), "%s", output);
	CHECK(!strcmp(line("system call"), "yes"), "%s", output);
	CHECK(strstr(line("features"), "EVENT_FORK"), "%s", output);
	CHECK(!strcmp(line("modes found by"),
		      has_query() ? "UFFDIO_QUERY" : "registration"),
	      "%s", output);
}

/* Each type has one row. */
TEST(rows)
{
	const char *at;
	int rows = 0;

	CHECK_EQ(0, run(NULL, NULL));
	for (at = strchr(table() + 1, '\n'); at && at[1]; at = strchr(at + 1, '\n'))
		rows++;
	CHECK_EQ(ROWS, rows);
}

/* Two memory types whose modes are the same on all kernels from 5.19. */
TEST(known_modes)
{
	CHECK_EQ(0, run(NULL, NULL));
	CHECK(strstr(line("anonymous"), "4K MISSING|WP "), "%s", output);
	CHECK(strstr(line("anonymous"), " wake copy zeropage "), "%s", output);
	CHECK(!strstr(line("anonymous"), "continue"), "%s", output);
	CHECK(strstr(line("memfd"), "4K MISSING|WP|MINOR "), "%s", output);
	CHECK(strstr(line("memfd"), " continue"), "%s", output);
}

/* Only the modular kernel supports it. */
TEST(secretmem)
{
	CHECK_EQ(0, run(NULL, NULL));
	if (strstr(line("memfd_secret"), "memfd_secret:"))
		SKIP("%s", line("memfd_secret"));
	if (has_query())
		CHECK(strstr(line("memfd_secret"), "4K MISSING|WP"), "%s",
		      output);
	else
		CHECK(strstr(line("memfd_secret"), "none"), "%s", output);
}

/* What the kernel answers is what registration does. */
TEST(query_and_registration_agree)
{
	char asked[sizeof(output)], *row, *end, *why;

	if (!has_query())
		SKIP("the kernel has no UFFDIO_QUERY");
	CHECK_EQ(0, run(NULL, NULL));
	strcpy(asked, table());
	CHECK_EQ(0, run("--try", NULL));
	CHECK(!strcmp(line("modes found by"), "registration"), "%s", output);
	/* Reasons of the kernel are better than an errno: not compared. */
	for (row = asked + 1; *row; row = end + 1) {
		end = strchr(row, '\n');
		CHECK(end);
		why = strstr(row, " none ");
		if (why && why < end)
			*strchr(why + 6, '-') = '\0';
		else
			*end = '\0';
		CHECK(strstr(output, row), "'%s' is not in:\n%s", row, output);
	}
}

TEST(file)
{
	int fd = open("/dev/shm/info-test", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		SKIP("/dev/shm: %s", strerror(errno));
	close(fd);
	CHECK_EQ(0, run("/dev/shm/info-test", NULL));
	unlink("/dev/shm/info-test");
	CHECK(strstr(line("/dev/shm/info-test"), "4K MISSING|WP|MINOR "), "%s",
	      output);
}

TEST(file_that_is_missing)
{
	CHECK_EQ(1, run("--try", "missing"));
	CHECK(strstr(line("missing"), "No such file"), "%s", output);
	/* The other rows are complete. */
	line("private file");
}

/* A kernel without userfaultfd, or a user without the permission. */
TEST(without_permission)
{
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		SKIP("cannot become another user: %s", strerror(errno));
	CHECK(run(NULL, NULL) <= 1);
	if (syscall(SYS_userfaultfd, O_CLOEXEC) >= 0)
		SKIP("vm.unprivileged_userfaultfd is set");
	CHECK(!strcmp(line("system call"), "Operation not permitted"), "%s",
	      output);
	CHECK(!strcmp(line("user faults only"), "yes"), "%s", output);
	line("private file");
}

TEST(command_line)
{
	CHECK_EQ(2, run("--bad", NULL));
	CHECK_EQ(0, run("--help", NULL));
	CHECK(strstr(output, "Usage: uffd-info "), "%s", output);
	CHECK_EQ(0, run("--version", NULL));
	CHECK(!strncmp(output, "uffd-info ", 10), "%s", output);
}
