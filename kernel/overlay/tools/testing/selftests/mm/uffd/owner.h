/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that owns the memory, in a control group of its own, while another
 * process fills it.
 */
#ifndef UFFD_OWNER_H
#define UFFD_OWNER_H

#include "fixture.h"

/*
 * A child process with the same mappings and a control group of its own. It
 * registers the area with MISSING and waits. Fills through @uffd, its
 * userfaultfd, are charged to that group.
 */
struct owner {
	char group[LAB_CGROUP_LEN];
	pid_t pid;
	int uffd;
	int go;
};

int owner_start(struct owner *o, struct lab *l);

/* Ends the child; 0 if all its steps succeeded. */
int owner_end(struct owner *o);

/*
 * Sets the limit of the group to its usage. Pages that are charged ahead per CPU
 * are returned first: lowering memory.high does that without killing a task.
 */
int owner_limit(const struct owner *o);

/* How often a charge met the limit of the group */
long owner_limited(const struct owner *o);

#endif /* UFFD_OWNER_H */
