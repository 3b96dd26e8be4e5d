// SPDX-License-Identifier: GPL-2.0
/* See fixes.h. */
#include "fixes.h"

#include <ctype.h>

int armed_modes(const void *addr)
{
	unsigned long from, to;
	bool here = false;
	char line[512];
	int modes = -ENOENT;
	FILE *f;

	f = fopen("/proc/self/smaps", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (!isupper(line[0]) &&
		    sscanf(line, "%lx-%lx", &from, &to) == 2)
			here = (uintptr_t)addr >= from && (uintptr_t)addr < to;
		if (!here || strncmp(line, "VmFlags:", 8))
			continue;
		modes = 0;
		if (strstr(line, " um"))
			modes |= LAB_MISSING;
		if (strstr(line, " uw"))
			modes |= LAB_WP;
		if (strstr(line, " ui"))
			modes |= LAB_MINOR;
		break;
	}
	fclose(f);
	return modes;
}

int touch_or_msg(int uffd, struct lab_touch *t, struct uffd_msg *msg)
{
	__u64 end = lab_now_ms() + TOUCH_MS;
	int err;

	do {
		if (!lab_touch_wait(t, 5))
			return 0;
		err = lab_read_msg(uffd, msg, 0);
		if (!err)
			return 1;
		if (err != -ETIMEDOUT)
			return err;
	} while (lab_now_ms() < end);
	return -ETIMEDOUT;
}

void *anon_pages(size_t pages, int flags)
{
	return mmap(NULL, pages * LAB_PAGE, PROT_READ | PROT_WRITE,
		    MAP_ANONYMOUS | flags, -1, 0);
}
