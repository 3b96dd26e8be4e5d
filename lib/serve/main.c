// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* uffd-serve: the command line. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

#define USAGE		2	/* exit status */
#define MAX_THREADS	8
#define DEFAULT_THREADS	4	/* at most one for each processor */
#define MAX_UIDS	(sizeof(((struct options *)0)->uids) / sizeof(uid_t))

static const char help[] =
"Usage: uffd-serve --socket PATH --memory FILE [--base FILE] [OPTION...]\n"
"       uffd-serve --socket PATH --snapshot FILE [OPTION...]\n"
"\n"
"Restores virtual machines on demand: fills the guest memory of each VMM that\n"
"connects to PATH and hands over its userfaultfd, as Firecracker does.\n"
"\n"
"  --socket PATH     listen for VMMs on this Unix socket\n"
"  --memory FILE     raw memory file; with --base, a diff\n"
"  --base FILE       raw memory file that has what is a hole in the diff\n"
"  --snapshot FILE   snapshot of liblazyrestore\n"
"  --control PATH    answer requests for statistics on this Unix socket\n"
"  --allow-uid UID   also serve this user; may be repeated\n"
"  --signal SIGNAL   send this signal to a VMM that cannot be served\n"
"  --threads N       threads for each VM\n"
"  --timeout MS      how long a hand-over may take (10000)\n"
"  --no-background   fill only pages that are touched\n"
"  --no-sandbox      do not restrict system calls with seccomp\n"
"  --once            end after one VM; status 0: it was served to its end\n"
"  --help            print this text\n"
"  --version         print the version\n"
"\n"
"Prints \"listening on PATH\" when it is ready. SIGUSR1 prints statistics as\n"
"JSON. SIGTERM poisons what is not filled and ends.\n";

enum {
	SOCKET = 256, MEMORY, BASE, SNAPSHOT, CONTROL, ALLOW_UID, SIGNAL,
	THREADS, TIMEOUT, NO_BACKGROUND, NO_SANDBOX, ONCE, HELP, VERSION_OPTION,
};

static const struct option long_options[] = {
	{ "socket",	   required_argument, NULL, SOCKET },
	{ "memory",	   required_argument, NULL, MEMORY },
	{ "base",	   required_argument, NULL, BASE },
	{ "snapshot",	   required_argument, NULL, SNAPSHOT },
	{ "control",	   required_argument, NULL, CONTROL },
	{ "allow-uid",	   required_argument, NULL, ALLOW_UID },
	{ "signal",	   required_argument, NULL, SIGNAL },
	{ "threads",	   required_argument, NULL, THREADS },
	{ "timeout",	   required_argument, NULL, TIMEOUT },
	{ "no-background", no_argument,	      NULL, NO_BACKGROUND },
	{ "no-sandbox",	   no_argument,	      NULL, NO_SANDBOX },
	{ "once",	   no_argument,	      NULL, ONCE },
	{ "help",	   no_argument,	      NULL, HELP },
	{ "version",	   no_argument,	      NULL, VERSION_OPTION },
	{ }
};

static void __attribute__((noreturn)) usage(const char *why)
{
	if (why)
		say("%s", why);
	say("see uffd-serve --help");
	exit(USAGE);
}

static unsigned long number(const char *text, unsigned long min,
			    unsigned long max, const char *why)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n < min || n > max)
		usage(why);
	return n;
}

static int signal_number(const char *text)
{
	static const struct {
		const char *name;
		int number;
	} names[] = {
		{ "ABRT", SIGABRT }, { "BUS", SIGBUS }, { "HUP", SIGHUP },
		{ "INT", SIGINT }, { "KILL", SIGKILL }, { "QUIT", SIGQUIT },
		{ "TERM", SIGTERM }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
	};
	const char *name = strncmp(text, "SIG", 3) ? text : text + 3;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, name))
			return names[i].number;
	return number(text, 1, SIGRTMAX, "--signal needs a signal");
}

static unsigned int default_threads(void)
{
	cpu_set_t set;
	int nr = 1;

	if (!sched_getaffinity(0, sizeof(set), &set))
		nr = CPU_COUNT(&set);
	return nr < DEFAULT_THREADS ? nr : DEFAULT_THREADS;
}

static void allow_uid(struct options *o, const char *text)
{
	if (o->nr_uids == MAX_UIDS)
		usage("too many options --allow-uid");
	o->uids[o->nr_uids++] = number(text, 0, (uid_t)-2,
				       "--allow-uid needs a number");
	o->other_users = true;
}

static void parse(struct options *o, int argc, char **argv)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case SOCKET:
			o->socket = optarg;
			break;
		case MEMORY:
			o->memory = optarg;
			break;
		case BASE:
			o->base = optarg;
			break;
		case SNAPSHOT:
			o->snapshot = optarg;
			break;
		case CONTROL:
			o->control = optarg;
			break;
		case ALLOW_UID:
			allow_uid(o, optarg);
			break;
		case SIGNAL:
			o->signal = signal_number(optarg);
			break;
		case THREADS:
			o->threads = number(optarg, 1, MAX_THREADS,
					    "--threads needs a number from 1 to 8");
			break;
		case TIMEOUT:
			o->timeout_ms = number(optarg, 1, 3600000,
					       "--timeout needs 1 to 3600000 milliseconds");
			break;
		case NO_BACKGROUND:
			o->no_background = true;
			break;
		case NO_SANDBOX:
			o->no_sandbox = true;
			break;
		case ONCE:
			o->once = true;
			break;
		case HELP:
			fputs(help, stdout);
			exit(0);
		case VERSION_OPTION:
			puts("uffd-serve " VERSION);
			exit(0);
		default:
			say("invalid option or missing argument: %s",
			    argv[optind - 1]);
			usage(NULL);
		}
	}
	if (optind < argc)
		usage("unexpected argument");
	if (!o->socket)
		usage("--socket is missing");
	if (!o->memory == !o->snapshot)
		usage("one of --memory and --snapshot is needed");
	if (o->base && !o->memory)
		usage("--base needs --memory");
}

/* A socket must not become stdout. */
static void open_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct options options = {
		.uids = { geteuid() },
		.nr_uids = 1,
		.threads = default_threads(),
		.timeout_ms = 10000,
	};
	struct lazy_error error;
	struct content *content;
	int status;

	open_standard();
	parse(&options, argc, argv);
	if (access("/proc/self/fd", X_OK)) {
		say("needs /proc: %m");
		return 1;
	}
	content = content_open(&options, &error);
	if (!content) {
		say("%s", error.text);
		return 1;
	}
	status = listener_main(&options, content);
	content_close(content);
	return status;
}
