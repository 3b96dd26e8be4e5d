// SPDX-License-Identifier: GPL-2.0
/*
 * A memory type that gives wrong answers, to test how the userfaultfd core
 * handles them. Only that test loads this module.
 *
 * Each open file of /dev/hostile has memory of its own, which is served
 * correctly until the name of a wrong answer is written to the file; see the
 * table.
 */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/userfaultfd_request.h>

#define MEMORY	SZ_1M

struct hostile {
	int (*wrong)(struct uffd_request *req);	/* instead of the right answer */
	struct file *memory;
	struct file *other;	/* for folios that belong to another file */
};

/* Finds the open file that a request is about. */
static struct hostile *hostile_of(struct uffd_request *req)
{
	return req->vma->vm_file->private_data;
}

/*
 * The right answers
 */

static int create(struct uffd_request *req, pgoff_t index)
{
	struct folio *folio = folio_alloc(GFP_HIGHUSER, 0);
	int err;

	if (!folio)
		return -ENOMEM;
	err = userfaultfd_fill_folio(req, folio, index);
	if (!err)
		err = userfaultfd_add_folio(req, folio, index);
	if (err)
		folio_put(folio);
	return err;
}

static int right(struct uffd_request *req)
{
	if (req->kind == UFFD_REQ_FAULT_RESOLVE &&
	    req->resolve.mode == UFFD_RESOLVE_MISSING)
		return userfaultfd_create_folios(req, create);
	return filemap_userfaultfd_request(req);
}

/* One folio, found or allocated, at any offset */
static struct folio *right_folio(struct uffd_request *req)
{
	req->resolve.nr_pages = 1;
	return right(req) ? NULL : req->resolve.folios.folios[0];
}

/*
 * Wrong answers to UFFD_REQ_FAULT_RESOLVE
 */

static int unlocked(struct uffd_request *req)
{
	struct folio *folio = right_folio(req);

	if (folio)
		folio_unlock(folio);
	return 0;
}

static int stale(struct uffd_request *req)
{
	struct folio *folio = right_folio(req);

	if (folio)
		folio_clear_uptodate(folio);
	return 0;
}

/* The page cache has the only reference: the folio is freed with it. */
static int freed(struct uffd_request *req)
{
	struct folio *folio = right_folio(req);

	if (folio)
		folio_put(folio);
	return 0;
}

/* Answers with the folio at @index of @mapping. */
static int hand_out(struct uffd_request *req, struct address_space *mapping,
		    pgoff_t index)
{
	struct folio *folio;

	folio = __filemap_get_folio(mapping, index, FGP_LOCK | FGP_CREAT,
				    GFP_HIGHUSER);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	folio_mark_uptodate(folio);
	folio_batch_add(&req->resolve.folios, folio);
	return 0;
}

/* Of another file, at the same offset. */
static int foreign(struct uffd_request *req)
{
	return hand_out(req, hostile_of(req)->other->f_mapping,
			req->resolve.index);
}

/* The first page is right, the next one is of another file. */
static int foreign_second(struct uffd_request *req)
{
	if (!right_folio(req))
		return -EFAULT;
	req->resolve.index++;
	foreign(req);
	req->resolve.index--;
	req->resolve.nr_pages = 2;
	return 0;
}

/* Of the right file, but one page farther. */
static int misplaced(struct uffd_request *req)
{
	return hand_out(req, req->resolve.inode->i_mapping,
			req->resolve.index + 1);
}

/* Four pages for every request. */
static int large(struct uffd_request *req)
{
	struct folio *folio = folio_alloc(GFP_HIGHUSER | __GFP_ZERO, 2);
	int err;

	if (!folio)
		return -ENOMEM;
	folio_mark_uptodate(folio);
	err = userfaultfd_add_folio(req, folio,
				    round_down(req->resolve.index, 4));
	if (err)
		folio_put(folio);
	return err;
}

/* The same, with the request to fill it. */
static int large_filled(struct uffd_request *req)
{
	struct folio *folio = folio_alloc(GFP_HIGHUSER, 2);
	int err;

	if (!folio)
		return -ENOMEM;
	err = userfaultfd_fill_folio(req, folio, req->resolve.index);
	folio_put(folio);
	return err;
}

static int nothing(struct uffd_request *req)
{
	return 0;
}

static int internal_errno(struct uffd_request *req)
{
	return -512;	/* ERESTARTSYS, which must not reach user space */
}

static int cannot_look(struct uffd_request *req)
{
	return -512;
}

static int positive_errno(struct uffd_request *req)
{
	return 5;
}

static int unable(struct uffd_request *req)
{
	return -EOPNOTSUPP;
}

/*
 * Reports that the source is not in memory, which is true of its second page
 * only: the core reads the first.
 */
static int again(struct uffd_request *req)
{
	struct folio *folio = folio_alloc(GFP_HIGHUSER, 0);
	int err;

	if (!folio)
		return -ENOMEM;
	err = userfaultfd_fill_folio(req, folio, req->resolve.index + 1);
	folio_put(folio);
	return err;
}

static int sleeps(struct uffd_request *req)
{
	msleep(300);
	return right(req);
}

static int minute(struct uffd_request *req)
{
	msleep(60 * MSEC_PER_SEC);
	return right(req);
}

/* Wrong answers to other kinds of requests */

static int claims_more(struct uffd_request *req)
{
	req->supported.modes = VM_UFFD_MISSING | VM_SHARED;
	req->supported.granule = PAGE_SIZE;
	return 0;
}

/* Folios of one page are too small for this granule. */
static int claims_huge(struct uffd_request *req)
{
	req->supported.modes = VM_UFFD_MISSING;
	req->supported.granule = PMD_SIZE;
	return 0;
}

/* The file ends before the requested page, which nevertheless stays. */
static int cannot_undo(struct uffd_request *req)
{
	int err;

	if (req->kind == UFFD_REQ_FAULT_UNDO)
		return -EBUSY;
	err = right(req);
	if (!err)
		i_size_write(req->resolve.inode, 0);
	return err;
}

static const struct {
	const char *name;
	enum uffd_request_kind kind;
	int (*answer)(struct uffd_request *req);
} table[] = {
	{ "unlocked", UFFD_REQ_FAULT_RESOLVE, unlocked },
	{ "stale", UFFD_REQ_FAULT_RESOLVE, stale },
	{ "freed", UFFD_REQ_FAULT_RESOLVE, freed },
	{ "foreign", UFFD_REQ_FAULT_RESOLVE, foreign },
	{ "foreign second", UFFD_REQ_FAULT_RESOLVE, foreign_second },
	{ "misplaced", UFFD_REQ_FAULT_RESOLVE, misplaced },
	{ "large", UFFD_REQ_FAULT_RESOLVE, large },
	{ "large filled", UFFD_REQ_FAULT_RESOLVE, large_filled },
	{ "nothing", UFFD_REQ_FAULT_RESOLVE, nothing },
	{ "internal errno", UFFD_REQ_FAULT_RESOLVE, internal_errno },
	{ "positive errno", UFFD_REQ_FAULT_RESOLVE, positive_errno },
	{ "unable", UFFD_REQ_FAULT_RESOLVE, unable },
	{ "again", UFFD_REQ_FAULT_RESOLVE, again },
	{ "sleeps", UFFD_REQ_FAULT_RESOLVE, sleeps },
	{ "minute", UFFD_REQ_FAULT_RESOLVE, minute },
	{ "cannot look", UFFD_REQ_GET_PRESENT, cannot_look },
	{ "claims more", UFFD_REQ_GET_SUPPORTED, claims_more },
	{ "claims huge", UFFD_REQ_GET_SUPPORTED, claims_huge },
	{ "cannot undo", UFFD_REQ_FAULT_RESOLVE, cannot_undo },
	{ "cannot undo", UFFD_REQ_FAULT_UNDO, cannot_undo },
};

static int hostile_request(struct uffd_request *req)
{
	int (*wrong)(struct uffd_request *req) = READ_ONCE(hostile_of(req)->wrong);
	unsigned int i;

	for (i = 0; wrong && i < ARRAY_SIZE(table); i++)
		if (table[i].answer == wrong && table[i].kind == req->kind)
			return wrong(req);
	return right(req);
}

/*
 * The device
 */

static ssize_t hostile_write(struct file *file, const char __user *from,
			     size_t len, loff_t *pos)
{
	struct hostile *hostile = file->private_data;
	char name[32] = "";
	unsigned int i;

	if (len >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, from, len))
		return -EFAULT;

	if (!strcmp(name, "reclaimable")) {
		mapping_clear_unevictable(hostile->memory->f_mapping);
		return len;
	}
	if (!strcmp(name, "right")) {
		i_size_write(file_inode(hostile->memory), MEMORY);
		WRITE_ONCE(hostile->wrong, NULL);
		return len;
	}
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (!strcmp(name, table[i].name)) {
			WRITE_ONCE(hostile->wrong, table[i].answer);
			return len;
		}
	}
	return -EINVAL;
}

static vm_fault_t hostile_fault(struct vm_fault *vmf)
{
	struct folio *folio;

	folio = __filemap_get_folio(vmf->vma->vm_file->f_mapping, vmf->pgoff,
				    FGP_LOCK | FGP_CREAT, GFP_HIGHUSER);
	if (IS_ERR(folio))
		return vmf_error(PTR_ERR(folio));
	if (!folio_test_uptodate(folio)) {
		folio_zero_range(folio, 0, folio_size(folio));
		folio_mark_uptodate(folio);
	}
	vmf->page = folio_file_page(folio, vmf->pgoff);
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct hostile_vm_ops = {
	.fault = hostile_fault,
	.userfaultfd_request = hostile_request,
};

static int hostile_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &hostile_vm_ops;
	return 0;
}

static const struct file_operations memory_fops = { .owner = THIS_MODULE };

static struct file *new_memory(void)
{
	struct file *memory = anon_inode_create_getfile("[hostile]",
					&memory_fops, NULL, O_RDWR, NULL);

	if (IS_ERR(memory))
		return memory;
	i_size_write(file_inode(memory), MEMORY);
	mapping_set_unevictable(memory->f_mapping);
	mapping_set_large_folios(memory->f_mapping);
	return memory;
}

static int hostile_open(struct inode *inode, struct file *file)
{
	struct hostile *hostile = kzalloc(sizeof(*hostile), GFP_KERNEL);
	int err;

	if (!hostile)
		return -ENOMEM;
	hostile->memory = new_memory();
	err = PTR_ERR_OR_ZERO(hostile->memory);
	if (err)
		goto free;
	hostile->other = new_memory();
	err = PTR_ERR_OR_ZERO(hostile->other);
	if (err)
		goto put;
	file->private_data = hostile;
	file->f_mapping = hostile->memory->f_mapping;
	return 0;
put:
	fput(hostile->memory);
free:
	kfree(hostile);
	return err;
}

static int hostile_release(struct inode *inode, struct file *file)
{
	struct hostile *hostile = file->private_data;

	fput(hostile->other);
	fput(hostile->memory);
	kfree(hostile);
	return 0;
}

static const struct file_operations hostile_fops = {
	.owner = THIS_MODULE,
	.open = hostile_open,
	.release = hostile_release,
	.write = hostile_write,
	.mmap = hostile_mmap,
};

static struct miscdevice hostile_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hostile",
	.fops = &hostile_fops,
};
module_misc_device(hostile_device);

MODULE_DESCRIPTION("Wrong answers to vm_ops->userfaultfd_request()");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(USERFAULTFD);
/* Out of tree, but it must not taint: the lab tests taint separately. */
MODULE_INFO(intree, "Y");
