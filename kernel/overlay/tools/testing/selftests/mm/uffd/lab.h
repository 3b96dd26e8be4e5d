/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All helpers that need no test harness: they neither judge nor print nor exit.
 * A function that can fail returns 0 or -errno, so that a test compares it with
 * the expected value. A function that can block takes a deadline in milliseconds
 * and returns -ETIMEDOUT. Also the system headers that most programs need.
 */
#ifndef UFFD_LAB_H
#define UFFD_LAB_H

#include "util.h"
#include "memory.h"
#include "calls.h"
#include "access.h"
#include "system.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Seconds until the harness ends a test as hung. Its 30 s are too few for a
 * debug kernel on a busy emulated machine.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	240

#endif /* UFFD_LAB_H */
