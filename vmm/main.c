// SPDX-License-Identifier: GPL-2.0
/*
 * The commands. The exit status is 0 on success, 1 on failure, 2 on wrong
 * usage, 3 if the kernel does not support the memory type; the reason is one
 * line on stderr. The guest's output goes to stdout.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

static const char usage_text[] =
"usage: vmm run --kernel BZIMAGE --initrd CPIO --when TEXT --snapshot FILE\n"
"	boot a guest, and save it when it prints a line that contains TEXT\n"
"   --mem MIB		memory size (default 64)\n"
"   --memory TYPE	memory type: anon, shmem, hugetlb, guest_memfd\n"
"   --append ARGS	append to the kernel command line\n"
"\n"
"       vmm restore [--until TEXT] SNAPSHOT\n"
"	resume the guest until it prints a line that contains TEXT\n"
"   --memory TYPE	as above\n"
"   --lazy		run immediately, fill memory on demand: with COPY\n"
"   --minor		the same, with populate and CONTINUE\n"
"   --serve SOCKET	the same, by the daemon uffd-serve\n"
"   --order FILE		with --lazy: fill the pages of this working set first\n"
"   --record FILE	with --lazy: write the working set\n"
"   --no-background	with --lazy: fill only pages that fault\n"
"   --filled		with --lazy: run only after all memory is filled\n"
"   --trace FILE		with --lazy: a line per step: microseconds, pages on\n"
"			demand, pages in the background\n"
"   --compare		do not run; fill all memory, compare with the snapshot\n"
"   --progress LABEL	with --lazy: show a progress bar\n"
"   --stats FILE		write NAME=VALUE lines\n"
"\n"
"       vmm handler SNAPSHOT	the handler process, started by --lazy\n"
"       vmm verify SNAPSHOT	check all checksums\n"
"\n"
"   --timeout S		seconds to wait for TEXT (default 60)\n";

static struct {
	const char *kernel, *initrd, *append, *text, *snapshot;
	const char *order, *record, *trace, *progress, *stats, *serve;
	const struct kind *kind;
	size_t mib;
	int timeout;
	bool lazy, minor, no_background, filled, compare;
} opt = { .append = "", .mib = 64, .timeout = 60 };

/* The time that all measurements are relative to. */
static uint64_t start;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/*
 * Marks for the instruction counts of demo/guest: NOPs that its QEMU plugin
 * (lab/count.c) recognizes by their displacement.
 */
static inline void mark_restore(void)
{
	asm volatile("nopl 0x726d6d76(%%rax)" : : : "memory");
}

static inline void mark_first(void)
{
	asm volatile("nopl 0x666d6d76(%%rax)" : : : "memory");
}

/* Exit status of a failure. */
static int failure = 1;

static int print_failure(const struct lazy_error *err)
{
	fflush(stdout);
	fprintf(stderr, "vmm: %s\n", err->text);
	return failure;
}

/* ---- the guest's output ---- */

static struct {
	struct handler *handler;	/* or NULL */
	uint64_t first_ns;		/* until the first line, 0: none yet */
	char first[128], last[128];
} output;

/* Called in the vCPU's thread. */
static bool guest_line(void *arg, const char *line)
{
	(void)arg;
	if (!output.first_ns) {
		output.first_ns = now() - start;
		mark_first();
		if (output.handler)
			lazy_handover_alive(output.handler->sock);
		snprintf(output.first, sizeof(output.first), "%s", line);
	}
	snprintf(output.last, sizeof(output.last), "%s", line);
	if (!opt.progress) {
		puts(line);
		fflush(stdout);
	}
	return opt.text && strstr(line, opt.text);
}

static void show_bar(const struct lazy_stats *s)
{
	enum { WIDTH = 40 };
	char bar[WIDTH + 1] = "";
	uint64_t there = s->demand + s->background + s->found + s->removed;
	int full = s->pages ? there * WIDTH / s->pages : 0;

	/* The numbers come from another process. */
	if (full < 0 || full > WIDTH)
		full = WIDTH;
	memset(bar, '#', full);
	printf("\r\033[K%s [%-*s] %3d %%  %llu on demand, %llu in the background",
	       opt.progress, WIDTH, bar, full * 100 / WIDTH,
	       (unsigned long long)s->demand, (unsigned long long)s->background);
	fflush(stdout);
}

/* The instruction pointer helps to find the cause. */
static int too_late(struct machine *m, bool running, struct lazy_error *err)
{
	struct kvm_regs regs = {};

	if (!running)
		return because(err, "timed out after %d s filling the guest's memory",
			       opt.timeout);
	machine_stop(m);
	ioctl(m->vcpu, KVM_GET_REGS, &regs);
	return because(err, "timed out after %d s waiting for '%s'; guest at RIP %#llx, RFLAGS %#llx",
		       opt.timeout, opt.text, regs.rip, regs.rflags);
}

/*
 * Waits until the vCPU has stopped by itself and, with a handler, all memory is
 * filled. Any failure stops the vCPU.
 */
static int watch(struct machine *m, struct handler *h, bool running,
		 struct lazy_error *err)
{
	uint64_t deadline = now() + opt.timeout * 1000000000ULL;
	bool wait_fill = h && !opt.no_background;

	while (running || (wait_fill && !h->done)) {
		struct pollfd fds[] = {
			{ .fd = running ? m->ended : -1, .events = POLLIN },
			{
				.fd = h && !h->done ? h->sock : -1,
				.events = POLLIN,
			},
		};

		if (poll(fds, 2, 100) < 0 && errno != EINTR)
			return because(err, "poll: %m");
		if (h && !h->done) {
			if (handler_watch(h, m, err))
				return -1;
			if (opt.progress)
				show_bar(&h->stats.now);
		}
		if (running && m->over) {
			running = false;
			if (!m->good)
				return because(err, "%s", m->why.text);
		}
		if (now() > deadline)
			return too_late(m, running, err);
	}
	return 0;
}

/* ---- vmm run ---- */

static int run(struct machine *m, struct lazy_error *err)
{
	static const char cmdline[] =
		"console=ttyS0 loglevel=1 panic=-1 reboot=k acpi=off noapic pci=off no_timer_check kunit.enable=0 tsc=reliable";
	char *whole;
	int khz, ret;

	if (machine_make(m, opt.kind, opt.mib << 20, err))
		return -1;
	/* On a busy host the guest's own calibration would be wrong. */
	khz = ioctl(m->vcpu, KVM_GET_TSC_KHZ);
	if (khz <= 0)
		return because(err, "KVM_GET_TSC_KHZ: %m");
	if (asprintf(&whole, "%s tsc_early_khz=%d %s", cmdline, khz,
		     opt.append) < 0)
		return because(err, "out of memory");
	ret = boot_linux(m, opt.kernel, opt.initrd, whole, err);
	free(whole);
	if (ret)
		return -1;
	m->on_line = guest_line;
	if (machine_start(m, err) || watch(m, NULL, true, err))
		return -1;
	machine_stop(m);
	return state_save(m, opt.snapshot, err);
}

static int cmd_run(void)
{
	struct lazy_error err;
	struct machine m;
	int ret;

	ret = run(&m, &err);
	machine_free(&m);
	return ret ? print_failure(&err) : 0;
}

/* ---- vmm restore ---- */

static int compare(const struct machine *m, struct lazy_snap *snap,
		   struct lazy_error *err)
{
	uint64_t length = lazy_snap_length(snap);
	char chunk[LAZY_SNAP_CHUNK];

	for (uint64_t at = 0; at < length; at += sizeof(chunk)) {
		if (lazy_snap_read(snap, at, chunk, sizeof(chunk), err))
			return -1;
		if (memcmp(chunk, m->memory.host + at, sizeof(chunk)))
			return because(err, "memory at %#llx differs from the snapshot",
				       (unsigned long long)at);
	}
	return 0;
}

static int begin_lazy(struct handler *h, struct machine *m,
		      struct lazy_error *err)
{
	char *argv[16] = { "vmm", "handler" };
	int argc = 2;

	if (opt.order) {
		argv[argc++] = "--order";
		argv[argc++] = (char *)opt.order;
	}
	if (opt.record) {
		argv[argc++] = "--record";
		argv[argc++] = (char *)opt.record;
	}
	if (opt.trace) {
		argv[argc++] = "--trace";
		argv[argc++] = (char *)opt.trace;
	}
	if (opt.no_background)
		argv[argc++] = "--no-background";
	argv[argc++] = "--";
	argv[argc++] = (char *)opt.snapshot;
	return handler_begin(h, m, opt.minor, argv, err);
}

static int restore(struct machine *m, struct handler *h,
		   struct lazy_snap *snap, struct lazy_error *err)
{
	const struct lazy_snap_region *regions;
	size_t nr;
	int ret;

	regions = lazy_snap_regions(snap, &nr);
	if (nr != 1 || regions[0].guest)
		return because(err, "%s: memory is not a single region at address 0",
			       opt.snapshot);
	if (machine_make(m, opt.kind, lazy_snap_length(snap), err)) {
		if (err->os_errno == EOPNOTSUPP)
			failure = 3;
		return -1;
	}
	if (opt.serve)
		ret = handler_connect(h, m, opt.serve, err);
	else if (opt.lazy)
		ret = begin_lazy(h, m, err);
	else
		ret = state_load_memory(m, snap, err);
	if (ret)
		return -1;
	if (state_load(m, snap, err))
		return -1;
	if (opt.compare) {
		if (watch(m, opt.lazy ? h : NULL, false, err))
			return -1;
		return compare(m, snap, err);
	}
	m->on_line = guest_line;
	output.handler = opt.lazy ? h : NULL;
	if (opt.filled && watch(m, h, false, err))
		return -1;
	if (machine_start(m, err))
		return -1;
	return watch(m, opt.lazy ? h : NULL, true, err);
}

static int write_stats(const struct machine *m, const struct handler *h,
		       struct lazy_error *err)
{
	const struct lazy_stats *s = &h->stats.now, *alive = &h->stats.alive;
	FILE *file = fopen(opt.stats, "we");

	if (!file)
		return because(err, "%s: %m", opt.stats);
#define NUMBER(name, value) \
	fprintf(file, name "=%llu\n", (unsigned long long)(value))
	NUMBER("first_ns", output.first_ns);
	NUMBER("whole_ns", now() - start);
	NUMBER("pages", m->memory.len / m->memory.kind->granule);
	NUMBER("granule", m->memory.kind->granule);
	NUMBER("faults", s->faults);
	NUMBER("demand", s->demand);
	NUMBER("background", s->background);
	NUMBER("found", s->found);
	NUMBER("parked", s->parked);
	/* Only if they were measured. */
	if (alive->nanoseconds) {
		NUMBER("alive_faults", alive->faults);
		NUMBER("alive_demand", alive->demand);
		NUMBER("alive_background", alive->background);
		NUMBER("alive_found", alive->found);
	}
#undef NUMBER
	fprintf(file, "first='%s'\nlast='%s'\n", output.first, output.last);
	if (fclose(file))
		return because(err, "%s: %m", opt.stats);
	return 0;
}

static int cmd_restore(void)
{
	struct handler handler = { .sock = -1, .uffd = -1 };
	struct machine m = { .kvm = -1, .vm = -1, .vcpu = -1, .ended = -1,
			     .memory.fd = -1 };
	struct lazy_error err, end;
	struct lazy_snap *snap;
	int ret;

	mark_restore();
	snap = lazy_snap_open(opt.snapshot, &err);
	if (!snap)
		return print_failure(&err);
	ret = restore(&m, &handler, snap, &err);
	/*
	 * Stop the vCPU first: closing the userfaultfd would resolve its faults
	 * with zero-filled pages. If the handler failed, the vCPU may be waiting
	 * inside the kernel: see machine_stop().
	 */
	machine_stop(&m);
	if (opt.progress)
		fputs("\r\033[K", stdout);
	/* If both failed, report the first failure. */
	if (handler_end(&handler, ret, &end) && !ret)
		ret = because(&err, "%s", end.text);
	if (!ret && opt.stats)
		ret = write_stats(&m, &handler, &err);
	machine_free(&m);
	lazy_snap_close(snap);
	return ret ? print_failure(&err) : 0;
}

/* ---- vmm handler ---- */

/* What the callbacks of the server write. */
struct record {
	struct lazy_ws *set;
	FILE *trace;
};

/* Threads: one call at a time. */
static void record(void *arg, uint64_t offset)
{
	struct record *r = arg;

	/* A set that is full, or that memory is too short for, stays valid. */
	lazy_ws_add(r->set, offset);
}

static void trace(void *arg, const struct lazy_stats *s)
{
	struct record *r = arg;

	fprintf(r->trace, "%llu\t%llu\t%llu\n",
		(unsigned long long)s->nanoseconds / 1000,
		(unsigned long long)s->demand,
		(unsigned long long)s->background);
}

static int serve(struct lazy_snap *snap, struct lazy_ws *order,
		 struct record *r, struct lazy_error *err)
{
	struct lazy_source source = { .size = sizeof(source) };
	struct lazy_server_config server = { .arg = r };
	struct lazy_handover_options options = {
		.size = sizeof(options),
		.threads = 1,
		.server = &server,
		/* The VMM does it, after it has stopped the vCPU. */
		.keep_waiting = 1,
	};
	struct lazy_handover_stats stats;

	lazy_snap_source(snap, &source);
	server.order = lazy_ws_offsets(order, &server.nr_order);
	if (opt.no_background)
		server.flags |= LAZY_NO_BACKGROUND;
	/* The record is complete only if each page is filled by its fault. */
	if (opt.record) {
		server.on_fault = record;
		server.around = LAZY_AROUND_NONE;
		options.background_when_alive = true;
	}
	if (r->trace)
		server.on_fill = trace;
	return lazy_handover_serve(3, &source, &options, &stats, err);
}

static int handle(struct lazy_snap *snap, struct lazy_error *err)
{
	struct lazy_ws *order = lazy_ws_new();
	struct record r = { .set = lazy_ws_new() };
	int ret = 0;

	if (!order || !r.set)
		ret = because(err, "out of memory");
	/* It is advice: the restore succeeds without. */
	if (!ret && opt.order && lazy_ws_load(order, opt.order, err))
		fprintf(stderr, "vmm: without working set: %s\n", err->text);
	if (!ret && opt.trace) {
		r.trace = fopen(opt.trace, "we");
		if (!r.trace)
			ret = because(err, "%s: %m", opt.trace);
	}
	if (!ret)
		ret = serve(snap, order, &r, err);
	if (r.trace && fclose(r.trace) && !ret)
		ret = because(err, "%s: %m", opt.trace);
	if (!ret && opt.record)
		ret = lazy_ws_save(r.set, opt.record, err);
	lazy_ws_free(order);
	lazy_ws_free(r.set);
	return ret;
}

static int cmd_handler(void)
{
	struct lazy_error err;
	struct lazy_snap *snap = lazy_snap_open(opt.snapshot, &err);
	int ret;

	/* Otherwise the name would be "exe", from /proc/self/exe. */
	prctl(PR_SET_NAME, "vmm-handler");
	if (!snap)
		return print_failure(&err);
	ret = handle(snap, &err);
	lazy_snap_close(snap);
	return ret ? print_failure(&err) : 0;
}

static int cmd_verify(void)
{
	struct lazy_error err;
	struct lazy_snap *snap = lazy_snap_open(opt.snapshot, &err);
	int ret;

	if (!snap)
		return print_failure(&err);
	ret = lazy_snap_verify(snap, &err);
	lazy_snap_close(snap);
	return ret ? print_failure(&err) : 0;
}

/* ---- the command line ---- */

static int __attribute__((noreturn, format(printf, 1, 2)))
usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("vmm: ", stderr);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs("; see vmm --help\n", stderr);
	exit(2);
}

static const struct option options[] = {
	{ "kernel", 1, NULL, 'k' },
	{ "initrd", 1, NULL, 'i' },
	{ "when", 1, NULL, 'u' },
	{ "snapshot", 1, NULL, 's' },
	{ "mem", 1, NULL, 'M' },
	{ "memory", 1, NULL, 'm' },
	{ "append", 1, NULL, 'a' },
	{ "until", 1, NULL, 'u' },
	{ "lazy", 0, NULL, 'l' },
	{ "minor", 0, NULL, 'c' },
	{ "serve", 1, NULL, 'd' },
	{ "order", 1, NULL, 'o' },
	{ "record", 1, NULL, 'r' },
	{ "no-background", 0, NULL, 'b' },
	{ "filled", 0, NULL, 'f' },
	{ "trace", 1, NULL, 't' },
	{ "compare", 0, NULL, 'C' },
	{ "progress", 1, NULL, 'p' },
	{ "stats", 1, NULL, 'S' },
	{ "timeout", 1, NULL, 'T' },
	{ "help", 0, NULL, 'h' },
	{}
};

static void parse(int argc, char **argv)
{
	int c;

	opt.kind = find_kind("anon");
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'k': opt.kernel = optarg; break;
		case 'i': opt.initrd = optarg; break;
		case 'u': opt.text = optarg; break;
		case 's': opt.snapshot = optarg; break;
		case 'a': opt.append = optarg; break;
		case 'M': opt.mib = strtoul(optarg, NULL, 10); break;
		case 'm':
			opt.kind = find_kind(optarg);
			if (!opt.kind)
				usage("unknown memory type '%s', must be one of %s",
				      optarg, kind_names());
			break;
		case 'c': opt.lazy = opt.minor = true; break;
		case 'l': opt.lazy = true; break;
		case 'd': opt.serve = optarg; break;
		case 'o': opt.order = optarg; break;
		case 'r': opt.record = optarg; break;
		case 'b': opt.no_background = true; break;
		case 'f': opt.filled = true; break;
		case 't': opt.trace = optarg; break;
		case 'C': opt.compare = true; break;
		case 'p': opt.progress = optarg; break;
		case 'S': opt.stats = optarg; break;
		case 'T': opt.timeout = atoi(optarg); break;
		case 'h': fputs(usage_text, stdout); exit(0);
		default: exit(2);
		}
	}
	if (opt.minor && !opt.kind->minor)
		usage("%s memory has no file to populate", opt.kind->name);
	if (!opt.lazy && (opt.order || opt.record || opt.trace ||
			  opt.no_background || opt.filled || opt.progress) &&
	    strcmp(argv[0], "handler"))
		usage("these options require --lazy");
	if (opt.serve && (opt.lazy || opt.stats))
		usage("--serve cannot be used with --lazy or --stats");
	if (opt.compare && opt.no_background)
		usage("--compare and --no-background are mutually exclusive");
	if (opt.filled && (opt.no_background || opt.record))
		usage("--filled cannot be used with --no-background or --record");
	if (opt.timeout <= 0 || !opt.mib || opt.mib > MAX_MEMORY >> 20)
		usage("number out of range");
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	start = now();
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(command, "--help")) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (argc < 2)
		usage("missing command");
	parse(argc - 1, argv + 1);
	argc -= 1 + optind;
	argv += 1 + optind;
	if (!strcmp(command, "run")) {
		if (argc || !opt.kernel || !opt.initrd || !opt.text ||
		    !opt.snapshot)
			usage("run requires --kernel, --initrd, --when and --snapshot");
		return cmd_run();
	}
	if (argc != 1)
		usage("exactly one snapshot is required");
	opt.snapshot = argv[0];
	if (!strcmp(command, "restore")) {
		if (!opt.text && !opt.compare)
			usage("restore requires --until or --compare");
		return cmd_restore();
	}
	if (!strcmp(command, "handler"))
		return cmd_handler();
	if (!strcmp(command, "verify"))
		return cmd_verify();
	usage("unknown command '%s'", command);
}
