// SPDX-License-Identifier: GPL-2.0
/*
 * serve FILE SHA256: serves FILE through userfaultfd on every memory type, in
 * every mode that applies, and prints one table.
 *
 * SHA256 is the expected hash of the content. Exits 0 if every row matched, 1
 * if a row did not match or could not run, 2 on wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

#define WHY_LEN		80

static const struct {
	unsigned int nr;
	const char *name;
} ioctl_names[] = {
	{ _UFFDIO_WAKE, "wake" },
	{ _UFFDIO_COPY, "copy" },
	{ _UFFDIO_ZEROPAGE, "zeropage" },
	{ _UFFDIO_MOVE, "move" },
	{ _UFFDIO_CONTINUE, "continue" },
	{ _UFFDIO_WRITEPROTECT, "writeprotect" },
	{ _UFFDIO_POISON, "poison" },
};

/* Formats a mask of ioctls: names, and the unnamed rest as a number. */
static const char *decode(uint64_t ioctls)
{
	static char buf[128];
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(ioctl_names) / sizeof(*ioctl_names); i++) {
		uint64_t bit = 1ULL << ioctl_names[i].nr;

		if (!(ioctls & bit))
			continue;
		len += sprintf(buf + len, "%s%s", len ? " " : "",
			       ioctl_names[i].name);
		ioctls &= ~bit;
	}
	if (ioctls)
		sprintf(buf + len, "%s%#llx", len ? " " : "",
			(unsigned long long)ioctls);
	return buf;
}

/* Starts a client process. Returns the handler's end of the socket, or -1. */
static int start_client(pid_t *pid, const struct served *s, size_t size,
			unsigned int seed)
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -1;
	fflush(stdout);
	*pid = fork();
	if (*pid < 0)
		return -1;
	if (!*pid) {
		close(s->file);
		close(sock[0]);
		client(sock[1], s->memory, s->mode, size, seed);
	}
	close(sock[1]);
	return sock[0];
}

/*
 * Every page must fault exactly once, and once more with write protection:
 * fewer faults were lost, more faults are spurious.
 */
static bool faults_add_up(const struct served *s)
{
	unsigned long pages = s->len / s->memory->granule;
	bool minor = s->mode->armed & UFFDIO_REGISTER_MODE_MINOR;
	bool wp = s->mode->armed & UFFDIO_REGISTER_MODE_WP;

	return s->missing == (minor ? 0 : pages) &&
	       s->minor == (minor ? pages : 0) &&
	       s->wp == (wp ? pages : 0);
}

/* Serves one client and sets the verdict: "match", or the failure. */
static bool run(struct served *s, size_t size, const char *sha256,
		unsigned int seed, char *verdict)
{
	struct result result = {};
	int sock, ret, status;
	pid_t pid;

	sock = start_client(&pid, s, size, seed);
	if (sock < 0) {
		snprintf(verdict, WHY_LEN, "fork: %m");
		return false;
	}
	ret = serve_client(sock, s, &result, verdict, WHY_LEN);
	close(sock);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (ret) {
		size_t len = strlen(verdict);

		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			snprintf(verdict + len, WHY_LEN - len, ", signal %d",
				 WTERMSIG(status));
		return false;
	}
	if (strcmp(result.sha256, sha256)) {
		strcpy(verdict, "MISMATCH");
		return false;
	}
	if (!faults_add_up(s)) {
		snprintf(verdict, WHY_LEN, "match, but %lu missing, %lu minor, %lu wp",
			 s->missing, s->minor, s->wp);
		return false;
	}
	strcpy(verdict, "match");
	return true;
}

static void print_row(const struct served *s, const char *verdict)
{
	size_t granule = s->memory->granule;
	bool mega = granule >= 1 << 20;

	printf("%-16s  %-10s  %-43s  %3zu%c %6zu %7lu  %s\n",
	       s->memory->name, s->mode->name, decode(s->ioctls),
	       granule >> (mega ? 20 : 10), mega ? 'M' : 'K',
	       (size_t)s->len / granule, s->missing + s->minor + s->wp, verdict);
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - start->tv_sec + (now.tv_nsec - start->tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
	unsigned int rows = 0, good = 0, seed;
	unsigned long faults = 0;
	char verdict[WHY_LEN];
	struct timespec start;
	struct utsname uts;
	struct stat st;
	int file;

	if (argc != 3) {
		fprintf(stderr, "usage: serve FILE SHA256\n");
		return 2;
	}
	file = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &st) || uname(&uts) ||
	    getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) {
		fprintf(stderr, "serve: %s: %m\n", argv[1]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	/* memfd_secret pages count as locked memory. */
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
	clock_gettime(CLOCK_MONOTONIC, &start);

	printf("booted  Linux %s; every page is touched in random order, seed %#x\n\n",
	       uts.release, seed);
	printf("%-16s  %-10s  %-43s  %4s %6s %7s  %s\n", "memory", "modes",
	       "ioctls (reported by the kernel)", "page", "pages", "faults",
	       "content");
	for (size_t i = 0; i < nr_memories; i++) {
		for (int mode = 0; mode < NR_MODES; mode++) {
			struct served s = {
				.memory = &memories[i],
				.mode = &modes[mode],
				.file = file,
			};

			if (!(memories[i].modes & 1 << mode))
				continue;
			rows++;
			good += run(&s, st.st_size, argv[2], seed, verdict);
			faults += s.missing + s.minor + s.wp;
			print_row(&s, verdict);
			fflush(stdout);
		}
	}
	printf("\n%u of %u match, %lu faults served in %.1f s\n", good, rows,
	       faults, seconds_since(&start));
	return good == rows ? 0 : 1;
}
