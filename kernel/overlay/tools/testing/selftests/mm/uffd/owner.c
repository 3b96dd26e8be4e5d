// SPDX-License-Identifier: GPL-2.0
/* See owner.h. */
#include "owner.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void owner_child(struct lab *l, struct owner *o, int ready, int go)
{
	char c;
	int fd;

	if (lab_write(o->group, "cgroup.procs", "0"))
		_exit(1);
	fd = lab_uffd_open(BASE_FEATURES);
	if (lab_register(fd, l->m.area, l->m.len, LAB_MISSING, NULL))
		_exit(2);
	if (write(ready, &fd, sizeof(fd)) != sizeof(fd))
		_exit(3);
	_exit(read(go, &c, 1) == 1 ? 0 : 4);
}

int owner_start(struct owner *o, struct lab *l)
{
	int ready[2], go[2], fd, pidfd, err = -EIO;

	snprintf(o->group, sizeof(o->group), LAB_CGROUPS "/uffd-%d", getpid());
	if (lab_write(LAB_CGROUPS, "cgroup.subtree_control", "+memory") ||
	    mkdir(o->group, 0755) || pipe(ready) || pipe(go))
		return -errno;
	o->pid = fork();
	if (!o->pid) {
		close(go[1]);
		owner_child(l, o, ready[1], go[0]);
	}
	close(ready[1]);
	close(go[0]);
	o->go = go[1];
	if (o->pid < 0 || read(ready[0], &fd, sizeof(fd)) != sizeof(fd))
		goto close;
	err = 0;
	pidfd = syscall(__NR_pidfd_open, o->pid, 0);
	o->uffd = syscall(__NR_pidfd_getfd, pidfd, fd, 0);
	if (o->uffd < 0)
		err = -errno;
	close(pidfd);
close:
	close(ready[0]);
	return err;
}

int owner_end(struct owner *o)
{
	int status = -1;

	close(o->uffd);
	if (write(o->go, "", 1) != 1 || waitpid(o->pid, &status, 0) != o->pid)
		return -errno;
	close(o->go);
	return status;
}

int owner_limit(const struct owner *o)
{
	char path[LAB_CGROUP_LEN + 32], max[24];
	int err, tries = 100;
	long now;

	snprintf(path, sizeof(path), "%s/memory.current", o->group);
	/* Keep its pages out of swap. */
	lab_write(o->group, "memory.swap.max", "0");
	err = lab_write(o->group, "memory.high", "0");
	if (!err)
		err = lab_write(o->group, "memory.high", "max");
	if (err)
		return err;
	do {
		now = lab_number(path, "");
		snprintf(max, sizeof(max), "%ld", now);
		err = lab_write(o->group, "memory.max", max);
		lab_sleep_ms(5);
	} while (!err && lab_number(path, "") != now && --tries);
	return tries ? err : -ETIMEDOUT;
}

long owner_limited(const struct owner *o)
{
	return lab_cgroup_number(o->group, "memory.events", "max ");
}
