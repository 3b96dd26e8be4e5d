// SPDX-License-Identifier: GPL-2.0-only
/*
 * query.c - UFFDIO_QUERY: what UFFDIO_REGISTER would return
 *
 * For each mode, calls the function that decides for UFFDIO_REGISTER, and
 * reports its result. Nothing changes, so the mmap_lock is held for reading
 * only. Once it is released, the result may be outdated.
 *
 * Called by the ioctl in fs/userfaultfd.c.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "internal.h"

/* Why @range may not be registered with @mode and query->modes_with. */
static enum uffd_refusal uffd_query_refusal(struct uffdio_query *query,
					    struct uffd_range *range, __u64 mode)
{
	enum uffd_refusal refusal;

	range->modes = userfaultfd_mode_flags(query->modes_with | mode);
	if (!range->modes) {
		range->refused = range->start;
		return UFFD_REFUSAL_MODE;
	}
	refusal = userfaultfd_range_refusal(range);
	query->granule = max_t(__u64, query->granule, range->granule);
	return refusal;
}

/**
 * userfaultfd_query() - report what UFFDIO_REGISTER would return
 * @ctx: the userfaultfd.
 * @query: the query from user space; answered in place.
 * @valid: whether its range consists of whole pages in the address space.
 *
 * Context: process context, no locks.
 * Return: 0; -EINVAL if a flag, a mode or a reserved field is not known, -ESRCH
 * if the address space is gone, -EINTR.
 */
int userfaultfd_query(struct userfaultfd_ctx *ctx, struct uffdio_query *query,
		      bool valid)
{
	struct uffd_range range = {
		.ctx = ctx,
		.start = query->range.start,
		.end = query->range.start + query->range.len,
		.wp_async = ctx->features & UFFD_FEATURE_WP_ASYNC,
	};
	enum uffd_refusal refusal = UFFD_REFUSAL_RANGE;
	int bit;

	if (query->flags || query->modes_with & ~UFFD_API_REGISTER_MODES ||
	    memchr_inv(query->reserved, 0, sizeof(query->reserved)))
		return -EINVAL;
	if (!PAGE_ALIGNED(query->range.start | query->range.len))
		refusal = UFFD_REFUSAL_MISALIGNED;

	if (!mmget_not_zero(ctx->mm))
		return -ESRCH;
	if (mmap_read_lock_killable(ctx->mm)) {
		mmput(ctx->mm);
		return -EINTR;
	}

	query->modes = 0;
	query->granule = PAGE_SIZE;
	memset(query->answer, 0, sizeof(query->answer));
	for (bit = 0; bit < UFFDIO_QUERY_MODES; bit++) {
		struct uffdio_query_mode *answer = &query->answer[bit];

		if (valid)
			refusal = uffd_query_refusal(query, &range, BIT_ULL(bit));
		answer->refusal = refusal;
		if (refusal) {
			answer->address = valid ? range.refused :
						  query->range.start;
			continue;
		}
		answer->ioctls = userfaultfd_ioctls(range.modes, range.granule);
		query->modes |= BIT_ULL(bit);
	}

	mmap_read_unlock(ctx->mm);
	mmput(ctx->mm);
	return 0;
}
