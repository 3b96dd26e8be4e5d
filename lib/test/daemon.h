/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Runs uffd-serve for a test, and VMMs that are processes which play
 * Firecracker. The working directory is the test's own.
 */
#ifndef LAZY_TEST_DAEMON_H
#define LAZY_TEST_DAEMON_H

#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "firecracker.h"
#include "ktap.h"

#define MiB		(1UL << 20)
#define WAIT_MS		10000

/* ---- content ---- */

static char *reference;		/* what the guest must read */
static size_t reference_size;

/* Depends on the position; some pages are zero. */
static inline void make_page(char *page, uint64_t offset, uint64_t salt)
{
	for (size_t at = 0; at < FC_PAGE; at += sizeof(uint64_t)) {
		uint64_t word = (offset + at + 1 + salt) *
				0x9e3779b97f4a7c15ULL;

		memcpy(page + at, &word, sizeof(word));
	}
}

static inline bool is_hole(uint64_t offset)
{
	return offset / FC_PAGE % 5 == 2;
}

static inline void make_reference(size_t size)
{
	reference_size = size;
	reference = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(reference != MAP_FAILED);
	for (size_t at = 0; at < size; at += FC_PAGE)
		if (!is_hole(at))
			make_page(reference + at, at, 0);
}

/* A sparse file with the pages of the reference. */
static inline void make_memory(const char *path, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	make_reference(size);
	CHECK(fd >= 0 && !ftruncate(fd, size));
	for (size_t at = 0; at < size; at += FC_PAGE)
		if (!is_hole(at))
			CHECK_EQ(FC_PAGE, pwrite(fd, reference + at, FC_PAGE,
						 at));
	close(fd);
}

/* ---- the daemon ---- */

struct daemon {
	pid_t pid;
	int out;		/* its stdout */
	char line[4096];	/* the last line of it */
};

/* The program beside the directory of the tests, or $UFFD_SERVE. */
static inline const char *daemon_program(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);

	if (getenv("UFFD_SERVE"))
		return getenv("UFFD_SERVE");
	CHECK(n > 0);
	path[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/uffd-serve");
	return path;
}

/* Sanitizers need more system calls than the filters allow. */
#ifndef __has_feature
#define __has_feature(name)	0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||	\
	__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED	1
#else
#define SANITIZED	0
#endif

/* Its stderr goes to the file "log". */
static inline void daemon_exec(struct daemon *d, const char *const *args)
{
	const char *argv[32] = { daemon_program() };
	int out[2], log, nr = 1;

	if (SANITIZED)
		argv[nr++] = "--no-sandbox";
	while (*args)
		argv[nr++] = *args++;
	CHECK(!pipe2(out, O_CLOEXEC));
	d->pid = fork();
	CHECK(d->pid >= 0);
	if (!d->pid) {
		log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(out[1], STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		execv(argv[0], (char **)argv);
		_exit(127);
	}
	close(out[1]);
	d->out = out[0];
}

/* Returns false at the end of the output, or after WAIT_MS. */
static inline bool daemon_line(struct daemon *d)
{
	struct pollfd pollfd = { .fd = d->out, .events = POLLIN };
	size_t len = 0;

	while (len < sizeof(d->line) - 1 && poll(&pollfd, 1, WAIT_MS) > 0 &&
	       read(d->out, d->line + len, 1) == 1) {
		if (d->line[len++] != '\n')
			continue;
		d->line[len - 1] = '\0';
		return true;
	}
	return false;
}

static inline void print_log(void)
{
	char line[512];
	FILE *log = fopen("log", "r");

	while (log && fgets(line, sizeof(line), log)) {
		line[strcspn(line, "\n")] = '\0';
		note("log: %s", line);
	}
	if (log)
		fclose(log);
}

#define daemon_start(d, ...)						\
	daemon_start_args(d, (const char *const []) { __VA_ARGS__, NULL })

static inline void daemon_start_args(struct daemon *d, const char *const *args)
{
	daemon_exec(d, args);
	if (daemon_line(d) && !strncmp(d->line, "listening on ", 13))
		return;
	print_log();
	FAIL("the daemon does not listen");
}

/* Number of lines of the log that contain @text. */
static inline int log_count(const char *text)
{
	char line[1024];
	FILE *log = fopen("log", "r");
	int nr = 0;

	while (log && fgets(line, sizeof(line), log))
		nr += !!strstr(line, text);
	if (log)
		fclose(log);
	return nr;
}

static inline void msleep(unsigned int ms)
{
	usleep(ms * 1000);
}

#define WAIT_FOR(condition)						\
	do {								\
		int waited = 0;						\
									\
		for (; !(condition) && waited < WAIT_MS; waited += 10)	\
			msleep(10);					\
		if (waited >= WAIT_MS) {				\
			print_log();					\
			FAIL("timed out waiting for: %s", #condition);	\
		}							\
	} while (0)

/* Exit status, or minus the signal. */
static inline int wait_status(pid_t pid)
{
	int status;

	for (int waited = 0; waited < WAIT_MS; waited += 5) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) :
			       -WTERMSIG(status);
		msleep(5);
	}
	print_log();
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	FAIL("process %d does not end", pid);
}

#define CHECK_STATUS(expected, pid)					\
	do {								\
		int status_ = wait_status(pid);				\
									\
		if (status_ != (expected)) {				\
			print_log();					\
			FAIL("%s ended with %d, not %d", #pid, status_,	\
			     (int)(expected));				\
		}							\
		if (SANITIZED && log_count("Sanitizer: ")) {		\
			print_log();					\
			FAIL("a sanitizer has found something");	\
		}							\
	} while (0)

static inline void daemon_stop(struct daemon *d)
{
	kill(d->pid, SIGTERM);
	CHECK_STATUS(0, d->pid);
	close(d->out);
}

/* The answer of the control socket to @request. */
static inline size_t control(const char *request, char *answer, size_t room)
{
	int sock = fc_connect("control");
	size_t len = 0;
	ssize_t n;

	CHECK(sock >= 0);
	CHECK_EQ(strlen(request), send(sock, request, strlen(request),
				       MSG_NOSIGNAL));
	shutdown(sock, SHUT_WR);
	while ((n = recv(sock, answer + len, room - 1 - len, 0)) > 0)
		len += n;
	answer[len] = '\0';
	close(sock);
	return len;
}

/* A number of the first VM in JSON, or -1. */
static inline long long json_number(const char *json, const char *name)
{
	char key[64];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(json, key);
	return at ? atoll(at + strlen(key)) : -1;
}

static inline long long control_number(const char *name)
{
	char answer[16384];

	control("stats\n", answer, sizeof(answer));
	return json_number(answer, name);
}

/* ---- VMMs ---- */

#define VMM_WRONG	10	/* a byte is wrong */
#define VMM_SETUP	11
#define VMM_NO_MEMORY	12	/* huge pages */

struct layout {
	size_t nr;		/* regions, all of the same size */
	size_t size;		/* of a region, 0: all of the reference */
	size_t page_size;	/* 0: FC_PAGE */
};

/* Maps and registers memory in the process of a VMM. */
static inline void vmm_prepare(struct fc *fc, const struct layout *layout)
{
	*fc = (struct fc) {
		.page_size = layout->page_size ?: FC_PAGE, .uffd = -1,
	};
	for (size_t i = 0; i < (layout->nr ?: 1); i++)
		if (!fc_map(fc, layout->size ?: reference_size))
			_exit(VMM_NO_MEMORY);
	if (!fc_register(fc))
		_exit(VMM_SETUP);
}

/* A process that hands its memory over and then runs @run. */
static inline pid_t vmm_start(const struct layout *layout,
			      int (*run)(struct fc *fc))
{
	static struct fc fc;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	vmm_prepare(&fc, layout);
	if (!fc_hand_over(&fc, "socket"))
		_exit(VMM_SETUP);
	_exit(run(&fc));
}

static inline int compare(const struct fc *fc, size_t region, size_t at)
{
	const struct fc_region *r = &fc->regions[region];

	return memcmp(r->memory + at, reference + r->offset + at, FC_PAGE);
}

struct toucher {
	struct fc *fc;
	unsigned int seed;
	pthread_t thread;
	int wrong;
};

/* Touches all pages in a random order, and verifies every byte. */
static inline void *touch(void *arg)
{
	struct toucher *t = arg;
	size_t nr = t->fc->size / FC_PAGE;
	size_t *order = malloc(nr * sizeof(*order));

	for (size_t i = 0; i < nr; i++) {
		size_t j = rand_r(&t->seed) % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (size_t i = 0; i < nr; i++) {
		size_t at = order[i] * FC_PAGE, region = 0;

		while (at >= t->fc->regions[region].size)
			at -= t->fc->regions[region++].size;
		t->wrong += !!compare(t->fc, region, at);
	}
	free(order);
	return NULL;
}

static inline int vmm_touch_threads(struct fc *fc, unsigned int nr)
{
	struct toucher touchers[16];
	int wrong = 0;

	for (unsigned int i = 0; i < nr; i++) {
		touchers[i] = (struct toucher) {
			.fc = fc, .seed = getpid() + i,
		};
		pthread_create(&touchers[i].thread, NULL, touch, &touchers[i]);
	}
	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(touchers[i].thread, NULL);
		wrong += touchers[i].wrong;
	}
	return wrong ? VMM_WRONG : 0;
}

static inline int vmm_touch(struct fc *fc)
{
	return vmm_touch_threads(fc, 4);
}

#endif /* LAZY_TEST_DAEMON_H */
