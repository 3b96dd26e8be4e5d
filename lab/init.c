// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test VM: prepares the system, runs the jobs one after another,
 * checks the state that they leave behind, and reports it.
 *
 * lab/boot packs this program and the jobs into the initramfs:
 *
 *	/lab/jobs/list	one line per job: NAME TIMEOUT, in seconds
 *	/lab/jobs/NAME	a shell script
 *
 * Four serial lines keep the output streams apart:
 *
 *	ttyS0	the kernel log, and messages of this program
 *	ttyS1	the output of the jobs, byte for byte
 *	ttyS2	the report, see below
 *	ttyS3	a tar archive of /out, if lab.out is on the command line
 *
 * The report consists of lines. Offsets are bytes on ttyS1.
 *
 *	ready
 *	start NAME OFFSET
 *	bad NAME TEXT			NAME caused the failure TEXT
 *	log NAME TEXT			one more line of the kernel message whose
 *					first line was the last
 *					"bad NAME kernel log: ..."
 *	late NAME			NAME has run for longer than its TIMEOUT
 *	end NAME exit|signal|timeout VALUE MILLISECONDS OFFSET
 *	out BYTES			length of the archive on ttyS3
 *	fatal TEXT			this program cannot continue
 *	verdict good|bad		always the last line
 *
 * A report that does not end in a verdict means that the VM crashed or hung.
 *
 * Parameters on the kernel's command line:
 *
 *	lab.modules=A,B	modules to load
 *	lab.swap=MIB	size of the compressed swap device, 0 for none
 *	lab.slack=MIB	tolerated decrease of free memory
 *	lab.taint=MASK	taint flags that are not an error
 *	lab.optional	go on without what this kernel lacks: tests skip
 *	lab.expect	jobs announce the warnings that they cause
 *	lab.out		send /out
 *	lab.tty		ttyS3 is a terminal for the job
 *
 * A job announces a warning by a line in /lab/expected, before it occurs: a
 * substring of the warning's message. Each announced warning must then occur
 * exactly once, and any other warning is an error.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <linux/serial.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>

#define HUGE_POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

#define EXPECTED	"/lab/expected"

/* Set by a warning */
#define TAINT_WARN	(1L << 9)
/* Set by KUnit, which is built in */
#define TAINT_TEST	(1L << 18)

/* A flag of /proc/PID/stat: kernel thread */
#define PF_KTHREAD	0x00200000UL

/* Time for the state to settle after the end of a job */
#define SETTLE_MS	3000
#define KILL_MS		10000

/* Lines of a kernel message that are reported. */
#define SPLAT_LINES	15

static const char *step = "start";	/* current step, for messages */
static const char *job = "boot";	/* the job that failures belong to */
static int report_fd = -1;
static int output_fd = -1;
static int kmsg_fd = -1;
static bool verdict = true;
static long patience = 1;		/* timeout factor, 10 on a debug kernel */
static long taint_allowed = TAINT_TEST;
static char cmdline[4096];

/* State that must be unchanged after each job. */
static struct state {
	long tainted;
	long huge_total, huge_free, huge_reserved, huge_surplus;
	long mem_free_kb;
} baseline;

/* ---- the report ---- */

static void report(const char *fmt, ...)
{
	char line[1024];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len++] = '\n';

	if (report_fd >= 0 && write(report_fd, line, len) == len)
		tcdrain(report_fd);
}

static void bad(const char *fmt, ...)
{
	char text[768];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	verdict = false;
	printf("init: %s: %s\n", job, text);
	report("bad %s %s", job, text);
}

static void __attribute__((noreturn)) power_off(void)
{
	/* A reset makes QEMU exit; powering off may need a missing driver. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

/* Reports an error of this program and ends the VM. */
static void __attribute__((noreturn)) fatal(const char *fmt, ...)
{
	char text[768], why[128] = "";
	int error = errno;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	if (error)
		snprintf(why, sizeof(why), ": %s", strerror(error));
	printf("init: %s: %s%s\n", step, text, why);
	report("fatal %s: %s%s", step, text, why);
	report("verdict bad");
	power_off();
}

/* ---- helpers ---- */

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* Reads a file, up to @size bytes, and strips the last newline. -1 on error. */
static ssize_t slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, len = 0;

	if (fd < 0)
		return -1;
	while ((n = read(fd, buf + len, size - 1 - len)) > 0)
		len += n;
	close(fd);
	if (n < 0)
		return -1;
	buf[len] = '\0';
	if (len && buf[len - 1] == '\n')
		buf[--len] = '\0';
	return len;
}

static bool spit(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good;

	if (fd < 0)
		return false;
	good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return good;
}

static void must_spit(const char *path, const char *text)
{
	if (!spit(path, text))
		fatal("cannot write %s to %s", text, path);
}

/* Underflowed counters are printed as unsigned; returns them as negative. */
static long number_in(const char *path)
{
	char buf[64];

	if (slurp(path, buf, sizeof(buf)) < 0)
		fatal("cannot read %s", path);
	return strtoull(buf, NULL, 10);
}

/* The value of a parameter on the kernel's command line, or NULL. */
static const char *parameter(const char *name)
{
	static char value[256];
	size_t len = strlen(name);
	const char *p = cmdline;

	if (!*cmdline && slurp("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		fatal("cannot read /proc/cmdline");
	while ((p = strstr(p, name))) {
		bool begins = p == cmdline || p[-1] == ' ';

		p += len;
		if (!begins || (*p && *p != ' ' && *p != '='))
			continue;
		snprintf(value, sizeof(value), "%.*s",
			 *p == '=' ? (int)strcspn(p + 1, " ") : 0, p + 1);
		return value;
	}
	return NULL;
}

/* For kernels that the lab did not configure */
static bool may_lack(const char *what)
{
	if (!parameter("lab.optional"))
		return false;
	printf("init: this kernel has no %s\n", what);
	return true;
}

/* Runs a system program. */
static bool run(int out, char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		fatal("cannot fork");
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		fatal("cannot wait for %s", argv[0]);
	return !status;
}

static void must_run(int out, char *const argv[])
{
	if (run(out, argv))
		return;
	errno = 0;
	fatal("%s %s failed", argv[0], argv[1]);
}

/* ---- preparing the system ---- */

static void mount_file_systems(void)
{
	static const struct {
		const char *type, *where, *options;
	} table[] = {
		{ "proc",	"/proc",		NULL },
		{ "devtmpfs",	"/dev",			"mode=0755" },
		{ "sysfs",	"/sys",			NULL },
		{ "debugfs",	"/sys/kernel/debug",	NULL },
		{ "cgroup2",	"/sys/fs/cgroup",	NULL },
		{ "devpts",	"/dev/pts",		"ptmxmode=0666" },
		{ "tmpfs",	"/dev/shm",		"mode=1777" },
		{ "hugetlbfs",	"/dev/hugepages",	"mode=1777" },
		{ "tmpfs",	"/tmp",			"mode=1777" },
		{ "tmpfs",	"/out",			NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		mkdir(table[i].where, 0755);
		/* The kernel may have mounted /dev already. */
		if (mount(table[i].type, table[i].where, table[i].type, 0,
			  table[i].options) && errno != EBUSY &&
		    !may_lack(table[i].type))
			fatal("cannot mount %s", table[i].where);
	}
}

/*
 * Each line has its own interrupt, which must be configured as there is no
 * ACPI. The change takes effect when the line is opened again.
 */
static void set_interrupt(const char *path, int irq)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct serial_struct serial;

	if (fd < 0 || ioctl(fd, TIOCGSERIAL, &serial))
		fatal("cannot open %s", path);
	serial.irq = irq;
	if (ioctl(fd, TIOCSSERIAL, &serial))
		fatal("cannot set the interrupt of %s", path);
	close(fd);
}

/* Opens a line in raw mode. The interrupt is the one set in lab/boot. */
static int open_line(const char *path, int irq)
{
	struct termios tio;
	int fd;

	set_interrupt(path, irq);
	fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || tcgetattr(fd, &tio))
		fatal("cannot open %s", path);
	cfmakeraw(&tio);
	cfsetspeed(&tio, B115200);
	tio.c_cflag |= CLOCAL;
	if (tcsetattr(fd, TCSANOW, &tio))
		fatal("cannot set up %s", path);
	return fd;
}

/* The number of bytes sent through a line. */
static long sent(int fd)
{
	struct serial_icounter_struct count = { 0 };

	tcdrain(fd);
	if (ioctl(fd, TIOCGICOUNT, &count))
		fatal("cannot count the bytes sent");
	return count.tx;
}

static void open_channels(void)
{
	int console = open("/dev/console", O_RDWR);

	if (console >= 0) {
		dup2(console, STDIN_FILENO);
		dup2(console, STDOUT_FILENO);
		dup2(console, STDERR_FILENO);
	}
	setlinebuf(stdout);
	report_fd = open_line("/dev/ttyS2", 6);
	output_fd = open_line("/dev/ttyS1", 3);
	if (parameter("lab.tty"))
		set_interrupt("/dev/ttyS3", 7);
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg_fd < 0)
		fatal("cannot open /dev/kmsg");
}

static void load_modules(void)
{
	char names[256], *name, *rest = names;

	snprintf(names, sizeof(names), "%s", parameter("lab.modules") ?: "");
	while ((name = strsep(&rest, ",")))
		if (*name)
			must_run(STDOUT_FILENO, (char *[]){ "/bin/modprobe",
							    name, NULL });
}

static void swap_on(void)
{
	const char *size = parameter("lab.swap") ?: "256";
	char bytes[32];

	if (!atoi(size))
		return;
	/* A module, in a distribution's configuration */
	if (access("/sys/block/zram0", F_OK) &&
	    !run(STDOUT_FILENO, (char *[]){ "/bin/modprobe", "zram", NULL }) &&
	    may_lack("zram, so no swap"))
		return;
	snprintf(bytes, sizeof(bytes), "%sM", size);
	must_spit("/sys/block/zram0/disksize", bytes);
	must_run(STDOUT_FILENO, (char *[]){ "/bin/mkswap", "/dev/zram0", NULL });
	if (swapon("/dev/zram0", 0))
		fatal("cannot swap to /dev/zram0");
}

static void set_up_kernel(void)
{
	static const char *const controllers[] = { "+memory", "+hugetlb" };
	size_t i;

	taint_allowed |= strtol(parameter("lab.taint") ?: "0", NULL, 0);
	must_spit("/proc/sys/vm/unprivileged_userfaultfd", "1");
	for (i = 0; i < sizeof(controllers) / sizeof(*controllers); i++)
		if (!spit("/sys/fs/cgroup/cgroup.subtree_control",
			  controllers[i]) && !may_lack(controllers[i]))
			fatal("cannot enable %s in control groups",
			      controllers[i]);
	/* Leaks are only scanned for at the end; scans in between cost time. */
	if (spit(KMEMLEAK, "scan=off"))
		patience = 10;
}

/* ---- checks ---- */

/*
 * Free memory in KiB: of the zones, and of the per-CPU page lists, which may
 * hold a hundred megabytes.
 */
static long free_memory(void)
{
	static char info[65536];
	char *line, *rest = info;
	long number, pages = 0;

	if (slurp("/proc/zoneinfo", info, sizeof(info)) < 0)
		fatal("cannot read /proc/zoneinfo");
	while ((line = strsep(&rest, "\n")))
		if (sscanf(line, " pages free %ld", &number) == 1 ||
		    sscanf(line, " count: %ld", &number) == 1)
			pages += number;
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void read_state(struct state *s)
{
	s->tainted = number_in("/proc/sys/kernel/tainted");
	s->huge_total = number_in(HUGE_POOL "nr_hugepages");
	s->huge_free = number_in(HUGE_POOL "free_hugepages");
	s->huge_reserved = number_in(HUGE_POOL "resv_hugepages");
	s->huge_surplus = number_in(HUGE_POOL "surplus_hugepages");
	s->mem_free_kb = free_memory();
}

static bool same_pool(const struct state *a, const struct state *b)
{
	return a->huge_total == b->huge_total && a->huge_free == b->huge_free &&
	       a->huge_reserved == b->huge_reserved &&
	       a->huge_surplus == b->huge_surplus;
}

static void check_pool(void)
{
	long deadline = now_ms() + SETTLE_MS * patience;
	struct state s;

	do {
		read_state(&s);
		if (same_pool(&s, &baseline))
			return;
		sleep_ms(20);
	} while (now_ms() < deadline);
	bad("huge pages: %ld of %ld free, %ld reserved, %ld surplus; before: %ld of %ld, %ld, %ld",
	    s.huge_free, s.huge_total, s.huge_reserved, s.huge_surplus,
	    baseline.huge_free, baseline.huge_total, baseline.huge_reserved,
	    baseline.huge_surplus);
	baseline = s;
}

static void check_taint(void)
{
	long tainted = number_in("/proc/sys/kernel/tainted") & ~taint_allowed;

	if (tainted & ~baseline.tainted)
		bad("the kernel is tainted: %ld", tainted);
	baseline.tainted |= tainted;
}

/* Is this the first line of a kernel message that reports an error? */
static bool is_splat(const char *text)
{
	static const char *const splats[] = {
		"WARNING:", "BUG:", "kernel BUG", "Oops",
		"UBSAN:", "KCSAN:", "general protection fault",
		"unable to handle", "refcount_t:",
		"suspicious RCU usage", "INFO: rcu", "detected stall",
		"INFO: task", "INFO: possible", "INFO: trying to register",
		"INFO: inconsistent", "*** DEADLOCK ***", "soft lockup",
		"Bad page", "Bad rss-counter", "unreferenced object",
	};
	size_t i;

	for (i = 0; i < sizeof(splats) / sizeof(*splats); i++)
		if (strstr(text, splats[i]))
			return true;
	return false;
}

/* The announced warnings, NULL once the warning has occurred. */
static char *expected[256];
static int nr_expected;
static int pardoned;	/* announced messages without their "WARNING:" line yet */

static void read_expected(void)
{
	static char lines[16384];
	char *line, *rest = lines;

	nr_expected = 0;
	pardoned = 0;
	if (!parameter("lab.expect") || slurp(EXPECTED, lines, sizeof(lines)) < 0)
		return;
	while ((line = strsep(&rest, "\n")))
		if (*line && nr_expected < (int)(sizeof(expected) / sizeof(*expected)))
			expected[nr_expected++] = line;
	unlink(EXPECTED);
}

/*
 * Is this line part of an announced warning? If a warning has a message, that is
 * logged first; the line that begins with "WARNING:" follows.
 */
static bool is_expected(const char *text)
{
	bool begins = !strncmp(text, "WARNING:", 8);
	int i;

	/* Only warnings can be announced. */
	if (is_splat(text) && !begins)
		return false;
	if (begins && pardoned) {
		pardoned--;
		return true;
	}
	for (i = 0; i < nr_expected; i++) {
		if (!expected[i] || !strstr(text, expected[i]))
			continue;
		expected[i] = NULL;
		taint_allowed |= TAINT_WARN;
		pardoned += !begins;
		return true;
	}
	return false;
}

static void check_expected(void)
{
	int i;

	for (i = 0; i < nr_expected; i++)
		if (expected[i])
			bad("the kernel did not warn: %s", expected[i]);
}

/* Is this line of a kernel message worth reporting? */
static bool is_informative(const char *text)
{
	static const char *const noise[] = {
#include "noise.h"
	};
	size_t i;

	text += strspn(text, " ");
	for (i = 0; i < sizeof(noise) / sizeof(*noise); i++)
		if (!strncmp(text, noise[i], strlen(noise[i])))
			return false;
	return text[strspn(text, "-=")] != '\0';
}

/*
 * Reads the new records of the kernel log. The first message that is a splat is
 * reported, up to SPLAT_LINES lines of it.
 */
static void check_log(void)
{
	char record[8192], *text;
	int lines = 0;
	ssize_t n;

	for (;;) {
		n = read(kmsg_fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE) {
			bad("the kernel log overflowed");
			continue;
		}
		if (n <= 0)
			return;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		text[strcspn(text, "\n")] = '\0';
		if (!lines) {
			if (is_expected(text) || !is_splat(text))
				continue;
			bad("kernel log: %s", text);
			lines++;
		} else if (lines < SPLAT_LINES && is_informative(text)) {
			report("log %s %s", job, text);
			lines++;
		}
	}
}

/* Calls @what for every process except this one and kernel threads. */
static int for_each_process(void (*what)(pid_t pid, const char *name))
{
	char path[64], stat[1024], *name, *end;
	unsigned long flags;
	struct dirent *d;
	int count = 0;
	DIR *proc;

	proc = opendir("/proc");
	if (!proc)
		fatal("cannot read /proc");
	while ((d = readdir(proc))) {
		pid_t pid = atoi(d->d_name);
		char state;

		if (pid <= 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		if (slurp(path, stat, sizeof(stat)) < 0)
			continue;
		name = strchr(stat, '(');
		end = strrchr(stat, ')');
		if (!name || !end ||
		    sscanf(end + 1, " %c %*d %*d %*d %*d %*d %lu",
			   &state, &flags) != 2 ||
		    state == 'Z' || flags & PF_KTHREAD)
			continue;
		*end = '\0';
		count++;
		if (what)
			what(pid, name + 1);
	}
	closedir(proc);
	return count;
}

static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static bool wait_until_alone(long ms)
{
	long deadline = now_ms() + ms;

	for (;;) {
		reap();
		if (!for_each_process(NULL))
			return true;
		if (now_ms() >= deadline)
			return false;
		sleep_ms(10);
	}
}

static void say_left(pid_t pid, const char *name)
{
	bad("left process %d (%s) behind", pid, name);
}

static void say_unkillable(pid_t pid, const char *name)
{
	bad("process %d (%s) cannot be killed", pid, name);
}

static void remove_processes(bool expected)
{
	if (!expected && !wait_until_alone(SETTLE_MS * patience))
		for_each_process(say_left);
	kill(-1, SIGKILL);
	if (!wait_until_alone(KILL_MS * patience)) {
		for_each_process(say_unkillable);
		spit("/proc/sysrq-trigger", "w");
	}
}

/* Empties these directories for the next job. */
static void renew_temporary(void)
{
	static const char *const where[] = { "/tmp", "/dev/shm" };
	size_t i;

	for (i = 0; i < sizeof(where) / sizeof(*where); i++) {
		if (umount(where[i])) {
			bad("cannot unmount %s: %s", where[i], strerror(errno));
			continue;
		}
		if (mount("tmpfs", where[i], "tmpfs", 0, "mode=1777"))
			fatal("cannot mount %s", where[i]);
	}
}

static void read_baseline(void)
{
	check_log();
	check_taint();
	spit("/proc/sys/vm/drop_caches", "3");
	read_state(&baseline);
	baseline.tainted &= ~taint_allowed;
	report("ready");
}

/* ---- the jobs ---- */

static void __attribute__((noreturn)) become(const char *script)
{
	static char *const env[] = {
		"PATH=/bin:/sbin:/usr/bin", "HOME=/", "TERM=dumb", NULL
	};
	int nothing = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(nothing, STDIN_FILENO);
	dup2(output_fd, STDOUT_FILENO);
	dup2(output_fd, STDERR_FILENO);
	if (nothing > STDERR_FILENO)
		close(nothing);
	if (chdir("/"))
		_exit(127);
	execle("/bin/sh", "sh", script, NULL, env);
	_exit(127);
}

/* Returns false if the job did not end by itself in time. */
static bool wait_for(pid_t pid, long ms, int *status)
{
	long left, deadline = now_ms() + ms;
	struct timespec ts;
	siginfo_t info;
	sigset_t chld;
	pid_t reaped;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		/* Also reaps orphans of the job. */
		while ((reaped = waitpid(-1, status, WNOHANG)) > 0)
			if (reaped == pid)
				return true;
		left = deadline - now_ms();
		if (left <= 0)
			return false;
		ts.tv_sec = left / 1000;
		ts.tv_nsec = left % 1000 * 1000000;
		sigtimedwait(&chld, &info, &ts);
	}
}

/*
 * A job may be late only because the host is busy, which the VM cannot tell from
 * its clock. So it is reported as late and continues: lab/boot measures the
 * processor time of the VM, and ends the VM if that exceeds the timeout. Without
 * lab/boot, the job is killed after this many more of its timeouts.
 */
#define LATE	9

static void run_job(const char *name, long seconds)
{
	long begin = now_ms(), value;
	char script[PATH_MAX];
	const char *how;
	bool ended;
	int status;
	pid_t pid;

	job = name;
	snprintf(script, sizeof(script), "/lab/jobs/%s", name);
	report("start %s %ld", name, sent(output_fd));
	pid = fork();
	if (pid < 0)
		fatal("cannot fork");
	if (pid == 0)
		become(script);

	ended = wait_for(pid, seconds * 1000, &status);
	if (!ended) {
		report("late %s", name);
		/* Write the stacks of all tasks and processors to the log. */
		spit("/proc/sysrq-trigger", "l");
		spit("/proc/sysrq-trigger", "t");
		ended = wait_for(pid, LATE * seconds * 1000, &status);
	}
	if (!ended) {
		how = "timeout";
		value = seconds;
	} else if (WIFEXITED(status)) {
		how = "exit";
		value = WEXITSTATUS(status);
	} else {
		how = "signal";
		value = WTERMSIG(status);
	}
	begin = now_ms() - begin;
	remove_processes(!strcmp(how, "timeout"));
	renew_temporary();
	check_pool();
	read_expected();
	check_log();
	check_expected();
	check_taint();
	report("end %s %s %ld %ld %ld", name, how, value, begin,
	       sent(output_fd));
	job = "after";
}

static void run_jobs(void)
{
	FILE *list = fopen("/lab/jobs/list", "re");
	char line[256], name[128];
	sigset_t chld;
	long seconds;

	if (!list)
		fatal("cannot read /lab/jobs/list");
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	while (fgets(line, sizeof(line), list)) {
		if (sscanf(line, "%127s %ld", name, &seconds) != 2) {
			errno = EINVAL;
			fatal("malformed line in the job list: %s", line);
		}
		run_job(name, seconds);
	}
	fclose(list);
}

/* ---- the end ---- */

/* Leaked pages are in no list: only the total of free memory shows them. */
static void check_memory(void)
{
	long slack = atol(parameter("lab.slack") ?: "32") * 1024;
	long lost, deadline = now_ms() + SETTLE_MS * patience;
	struct state s;

	do {
		spit("/proc/sys/vm/drop_caches", "3");
		read_state(&s);
		lost = baseline.mem_free_kb - s.mem_free_kb;
		if (lost <= slack)
			break;
		sleep_ms(200);
	} while (now_ms() < deadline);
	printf("init: %ld KiB less memory is free than at the start\n", lost);
	if (lost > slack)
		bad("%ld KiB less memory is free than at the start", lost);
}

static void check_leaks(void)
{
	static char leaks[65536];
	char *p = leaks;
	int i, count = 0;

	if (access(KMEMLEAK, F_OK))
		return;
	for (i = 0; i < 2; i++) {
		/* kmemleak reports only objects older than five seconds. */
		sleep_ms(5500);
		if (!spit(KMEMLEAK, "scan"))
			fatal("cannot start a kmemleak scan");
	}
	if (slurp(KMEMLEAK, leaks, sizeof(leaks)) < 0)
		fatal("cannot read %s", KMEMLEAK);
	if (!*leaks)
		return;
	puts(leaks);
	while ((p = strstr(p, "unreferenced object"))) {
		count++;
		p++;
	}
	bad("kmemleak: %d unreferenced objects, the first: %.*s", count,
	    (int)strcspn(leaks, "\n"), leaks);
}

static void send_files(void)
{
	int fd;

	if (!parameter("lab.out"))
		return;
	fd = open_line("/dev/ttyS3", 7);
	must_run(fd, (char *[]){ "/bin/tar", "-c", "-C", "/out", ".", NULL });
	report("out %ld", sent(fd));
	close(fd);
}

static void check_all(void)
{
	check_memory();
	check_leaks();
	check_pool();
	check_taint();
	check_log();
}

static void give_verdict(void)
{
	report("verdict %s", verdict ? "good" : "bad");
	power_off();
}

static const struct {
	const char *name;
	void (*run)(void);
} steps[] = {
	{ "mount file systems",		mount_file_systems },
	{ "open the channels",		open_channels },
	{ "load modules",		load_modules },
	{ "turn swap on",		swap_on },
	{ "set up the kernel",		set_up_kernel },
	{ "read the baseline",		read_baseline },
	{ "run the jobs",		run_jobs },
	{ "send files",			send_files },
	{ "check the final state",	check_all },
	{ "give the verdict",		give_verdict },
};

int main(void)
{
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		step = steps[i].name;
		steps[i].run();
	}
	fatal("no step left");
}
