// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Test of uffd-serve with the real firecracker: boots a kernel, takes a
 * snapshot, and restores it through the daemon. Needs firecracker on PATH,
 * /dev/kvm, and an uncompressed kernel named by $FIRECRACKER_KERNEL. The guest
 * needs no root file system: that its kernel runs is enough.
 */
#define _GNU_SOURCE
#include "daemon.h"

#define BOOT_MS		2000

static struct daemon d;

/* Is the program on PATH? */
static bool have(const char *program)
{
	const char *dirs = getenv("PATH") ?: "";
	char path[4096];

	while (*dirs) {
		int len = strcspn(dirs, ":");

		snprintf(path, sizeof(path), "%.*s/%s", len, dirs, program);
		if (!access(path, X_OK))
			return true;
		dirs += len + (dirs[len] == ':');
	}
	return false;
}

static pid_t start_firecracker(const char *api)
{
	pid_t pid = fork();
	int log;

	CHECK(pid >= 0);
	if (!pid) {
		log = open("firecracker.log", O_WRONLY | O_CREAT | O_APPEND,
			   0600);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		execlp("firecracker", "firecracker", "--api-sock", api, NULL);
		_exit(127);
	}
	WAIT_FOR(!access(api, F_OK));
	return pid;
}

/* The answer to a request, which must be a success. */
static const char *request(const char *api, const char *method,
			   const char *path, const char *body)
{
	static char answer[8192];
	char text[4096];
	int sock = -1, len;
	ssize_t n;

	WAIT_FOR((sock = fc_connect(api)) >= 0);
	len = snprintf(text, sizeof(text),
		       "%s %s HTTP/1.1\r\nHost: localhost\r\n"
		       "Accept: application/json\r\n"
		       "Content-Type: application/json\r\n"
		       "Content-Length: %zu\r\n\r\n%s", method, path,
		       strlen(body), body);
	CHECK_EQ(len, send(sock, text, len, MSG_NOSIGNAL));
	/* Answers are short, and the connection stays open. */
	n = recv(sock, answer, sizeof(answer) - 1, 0);
	CHECK(n > 0);
	answer[n] = '\0';
	close(sock);
	CHECK(!strncmp(answer, "HTTP/1.1 20", 11), "%s %s: %s", method, path,
	      answer);
	return answer;
}

static void make_snapshot(const char *kernel)
{
	pid_t pid = start_firecracker("api1");
	char body[4096];

	request("api1", "PUT", "/machine-config",
		"{\"vcpu_count\":1,\"mem_size_mib\":128}");
	snprintf(body, sizeof(body), "{\"kernel_image_path\":\"%s\","
		 "\"boot_args\":\"console=ttyS0 reboot=k panic=0\"}", kernel);
	request("api1", "PUT", "/boot-source", body);
	request("api1", "PUT", "/actions",
		"{\"action_type\":\"InstanceStart\"}");
	msleep(BOOT_MS);
	request("api1", "PATCH", "/vm", "{\"state\":\"Paused\"}");
	request("api1", "PUT", "/snapshot/create",
		"{\"snapshot_type\":\"Full\",\"snapshot_path\":\"state\","
		"\"mem_file_path\":\"memory\"}");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST(restored_by_firecracker)
{
	const char *kernel = getenv("FIRECRACKER_KERNEL");
	char answer[4096];
	pid_t pid;

	if (!have("firecracker"))
		SKIP("firecracker is not on PATH");
	if (access("/dev/kvm", R_OK | W_OK))
		SKIP("/dev/kvm cannot be used");
	if (!kernel || access(kernel, R_OK))
		SKIP("FIRECRACKER_KERNEL does not name a kernel");
	make_snapshot(kernel);
	daemon_start(&d, "--socket", "socket", "--memory", "memory",
		     "--control", "control", "--once");
	pid = start_firecracker("api2");
	request("api2", "PUT", "/snapshot/load",
		"{\"snapshot_path\":\"state\",\"mem_backend\":"
		"{\"backend_type\":\"Uffd\",\"backend_path\":\"socket\"},"
		"\"resume_vm\":true}");
	WAIT_FOR(control("stats\n", answer, sizeof(answer)) &&
		 strstr(answer, "\"filled\""));
	CHECK_EQ(pid, json_number(answer, "vmm"));
	CHECK_EQ(128 * MiB / FC_PAGE, json_number(answer, "pages"));
	CHECK(json_number(answer, "faults") > 0);
	CHECK(strstr(request("api2", "GET", "/", ""), "Running"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_STATUS(0, d.pid);
}
