/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * linux/userfaultfd.h, completed: headers of distributions are often older than
 * the kernel. UFFDIO_QUERY and UFFDIO_FILL are extensions of the modular
 * userfaultfd kernel.
 */
#ifndef LAZY_UAPI_H
#define LAZY_UAPI_H

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define _UFFDIO_POISON		(0x08)
#define UFFDIO_POISON		_IOWR(UFFDIO, _UFFDIO_POISON, \
				      struct uffdio_poison)
#endif
#ifndef UFFDIO_POISON_MODE_DONTWAKE
#define UFFDIO_POISON_MODE_DONTWAKE	((__u64)1 << 0)
#endif

#ifndef UFFDIO_CONTINUE_MODE_WP
#define UFFDIO_CONTINUE_MODE_WP		((__u64)1 << 1)
#endif

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW	_IO(0xAA, 0x00)
#endif

#ifndef UFFDIO_QUERY
enum uffd_refusal {
	UFFD_REFUSAL_NONE,
	UFFD_REFUSAL_RANGE,
	UFFD_REFUSAL_MISALIGNED,
	UFFD_REFUSAL_NOT_MAPPED,
	UFFD_REFUSAL_DROPPABLE,
	UFFD_REFUSAL_SPECIAL,
	UFFD_REFUSAL_TYPE,
	UFFD_REFUSAL_MODE,
	UFFD_REFUSAL_MIXED,
	UFFD_REFUSAL_READ_ONLY,
	UFFD_REFUSAL_OWNED,
};

#define UFFDIO_QUERY_MODES	8

struct uffdio_query_mode {
	__u64 ioctls;
	__u64 address;
	__u32 refusal;
	__u32 reserved;
};

struct uffdio_query {
	struct uffdio_range range;
	__u64 flags;
	__u64 modes_with;
	__u64 modes;
	__u64 granule;
	struct uffdio_query_mode answer[UFFDIO_QUERY_MODES];
	__u64 reserved[4];
};
#define _UFFDIO_QUERY		(0x20)
#define UFFDIO_QUERY		_IOWR(UFFDIO, _UFFDIO_QUERY, struct uffdio_query)
#endif

#ifndef UFFDIO_FILL
struct uffdio_fill_range {
	__u64 start;
	__u64 len;
	__u64 src;
	__u64 filled;
	__u64 skipped;
	__u32 error;
	__u32 reserved;
};

struct uffdio_fill {
	__u64 ranges;
	__u32 count;
	__u32 op;
	__u64 mode;
	__u64 done;
	__u64 reserved[2];
};
#define _UFFDIO_FILL		(0x21)
#define UFFDIO_FILL		_IOWR(UFFDIO, _UFFDIO_FILL, struct uffdio_fill)
#define UFFDIO_FILL_MODE_WP		((__u64)1 << 1)
#define UFFDIO_FILL_MODE_SKIP_PRESENT	((__u64)1 << 2)
#define UFFD_FEATURE_FILL		(1 << 26)
#define UFFD_FEATURE_SKIP_PRESENT	(1 << 27)
#endif

#endif /* LAZY_UAPI_H */
