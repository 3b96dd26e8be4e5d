// SPDX-License-Identifier: GPL-2.0
/*
 * The compatibility table of userfaultfd registration: every kind of mapping
 * that a process can have, times every combination of modes, without and with
 * WP_ASYNC, and what the kernel answers to each.
 *
 * The output is tab-separated, holds no address and no other thing that
 * changes from run to run, so that two kernels are compared with diff. A kind
 * that cannot be made is an error and never a missing row.
 *
 * Columns, each row on a fresh mapping with a fresh userfaultfd:
 *   kind, modes, async		what is asked
 *   errno, ioctls		the registration
 *   over, over_ioctls		the same registration on top of it
 *   unregister			errno of UFFDIO_UNREGISTER, asked for in any case
 *   again, again_ioctls	the same registration once more, after that
 * The ioctls are the mask in hex, "-" where the registration failed.
 */
#include "uffd/mappings.h"

static void fatal(const char *kind, const char *what, int err)
{
	fflush(stdout);
	fprintf(stderr, "uffd-table: %s: cannot %s: %s\n", kind, what,
		strerror(-err));
	exit(1);
}

static const char *errno_name(int err)
{
	return err ? strerrorname_np(-err) : "0";
}

static void print_answer(int err, __u64 ioctls)
{
	if (err)
		printf("\t%s\t-", errno_name(err));
	else
		printf("\t0\t%llx", (unsigned long long)ioctls);
}

static const char *mode_names(__u64 modes)
{
	static char names[32];

	snprintf(names, sizeof(names), "%s%s%s",
		 modes & LAB_MISSING ? "|MISSING" : "",
		 modes & LAB_MINOR ? "|MINOR" : "",
		 modes & LAB_WP ? "|WP" : "");
	return names + 1;
}

static void row(const struct mapping_kind *kind, __u64 modes, bool async)
{
	const char *name = kind->name;
	struct mapping m;
	__u64 ioctls = 0;
	int err, uffd;

	err = mapping_make(&m, kind);
	if (err)
		fatal(name, "make this mapping", err);
	uffd = lab_uffd_open(async ? UFFD_FEATURE_WP_ASYNC : 0);
	if (uffd < 0)
		fatal(name, "open a userfaultfd", uffd);

	printf("%s\t%s\t%s", name, mode_names(modes), async ? "async" : "sync");
	err = lab_register(uffd, m.addr, m.len, modes, &ioctls);
	print_answer(err, ioctls);
	err = lab_register(uffd, m.addr, m.len, modes, &ioctls);
	print_answer(err, ioctls);
	printf("\t%s", errno_name(lab_unregister(uffd, m.addr, m.len)));
	err = lab_register(uffd, m.addr, m.len, modes, &ioctls);
	print_answer(err, ioctls);
	putchar('\n');

	close(uffd);
	mapping_drop(&m, kind);
}

int main(void)
{
	static const __u64 modes[] = {
		LAB_MISSING, LAB_MINOR, LAB_WP,
		LAB_MISSING | LAB_MINOR, LAB_MISSING | LAB_WP,
		LAB_MINOR | LAB_WP, LAB_MISSING | LAB_MINOR | LAB_WP,
	};

	puts("kind\tmodes\tasync\terrno\tioctls\tover\tover_ioctls\t"
	     "unregister\tagain\tagain_ioctls");
	for (size_t k = 0; k < NR_MAPPING_KINDS; k++)
		for (size_t async = 0; async < 2; async++)
			for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
				row(&mapping_kinds[k], modes[i], async);
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
