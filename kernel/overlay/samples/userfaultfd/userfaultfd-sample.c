// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd-sample.c - a device whose memory supports userfaultfd
 *
 * Each open of /dev/userfaultfd-sample creates memory, which can be mapped,
 * shared or private, and registered with a userfaultfd, in every mode.
 *
 * The memory is in the page cache of an inode that only this driver uses: so
 * the core can check that a folio belongs to the mapped file. The ready-made
 * handler filemap_userfaultfd_request() would be enough; this driver has its
 * own, as an example, and counts the requests in
 * /sys/class/misc/userfaultfd-sample/asked.
 *
 * Locks: requests come under the mmap lock or the lock of the VMA, so a handler
 * takes neither. Memory is never truncated and no hole is punched, so no lock
 * is needed while folios are added.
 */
#include <linux/anon_inodes.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/sizes.h>
#include <linux/sysfs.h>
#include <linux/userfaultfd_request.h>

static unsigned long size = SZ_256M;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "bytes of memory behind each open of the device");

static atomic_t asked[UFFD_REQ_FAULT_UNDO + 1];

/*
 * The answers
 */

/* Allocate, fill, insert: in this order a page is never seen without content. */
static int sample_create(struct uffd_request *req, pgoff_t index)
{
	struct folio *folio = folio_alloc(GFP_HIGHUSER, 0);
	int err;

	if (!folio)
		return -ENOMEM;
	err = userfaultfd_fill_folio(req, folio, index);
	if (!err)
		err = userfaultfd_add_folio(req, folio, index);
	/* -EFAULT may mean that the core reads the source, and asks again. */
	if (err)
		folio_put(folio);
	return err;
}

static int sample_request(struct uffd_request *req)
{
	if (req->kind < ARRAY_SIZE(asked))
		atomic_inc(&asked[req->kind]);

	switch (req->kind) {
	case UFFD_REQ_GET_SUPPORTED:
		/* Each page can be made, found and protected by itself. */
		req->supported.modes = VM_UFFD_MISSING | VM_UFFD_MINOR |
				       VM_UFFD_WP;
		req->supported.granule = PAGE_SIZE;
		return 0;
	case UFFD_REQ_GET_PRESENT:
		/* Only look: nothing may be allocated, or waited for. */
		return userfaultfd_check_present(req->present.inode,
						 req->present.index);
	case UFFD_REQ_FAULT_RESOLVE:
		/* Lock and reference of each folio go to the core. */
		if (req->resolve.mode == UFFD_RESOLVE_MINOR)
			return userfaultfd_find_folios(&req->resolve);
		return userfaultfd_create_folios(req, sample_create);
	case UFFD_REQ_FAULT_UNDO:
		/* It could not be mapped: make it a hole again. */
		userfaultfd_remove_folio(req->undo.folio);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/*
 * The device
 */

/* A fault that userfaultfd is not involved in. */
static vm_fault_t sample_fault(struct vm_fault *vmf)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	struct folio *folio;

	if (vmf->pgoff >= size >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	folio = __filemap_get_folio(mapping, vmf->pgoff, FGP_LOCK | FGP_CREAT,
				    GFP_HIGHUSER);
	if (IS_ERR(folio))
		return vmf_error(PTR_ERR(folio));
	if (!folio_test_uptodate(folio)) {
		folio_zero_range(folio, 0, folio_size(folio));
		folio_mark_uptodate(folio);
		folio_mark_dirty(folio);
	}
	vmf->page = folio_file_page(folio, vmf->pgoff);
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct sample_vm_ops = {
	.fault = sample_fault,
	.userfaultfd_request = sample_request,
};

static int sample_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &sample_vm_ops;
	return 0;
}

/* The file of the memory's inode, which only this driver opens. */
static const struct file_operations sample_memory_fops = {
	.owner = THIS_MODULE,
};

static int sample_open(struct inode *inode, struct file *file)
{
	struct file *memory;

	memory = anon_inode_create_getfile("[userfaultfd-sample]",
					   &sample_memory_fops, NULL, O_RDWR,
					   NULL);
	if (IS_ERR(memory))
		return PTR_ERR(memory);
	i_size_write(file_inode(memory), size);
	/* There is no backing storage: reclaim must not free these pages. */
	mapping_set_unevictable(memory->f_mapping);
	file->private_data = memory;
	file->f_mapping = memory->f_mapping;
	return 0;
}

static int sample_release(struct inode *inode, struct file *file)
{
	fput(file->private_data);
	return 0;
}

/* A mapping holds its file, and the file holds this module (.owner). */
static const struct file_operations sample_fops = {
	.owner = THIS_MODULE,
	.open = sample_open,
	.release = sample_release,
	.mmap = sample_mmap,
};

/* The number of requests of each kind, in the order of the enum. */
static ssize_t asked_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%d %d %d %d\n",
			  atomic_read(&asked[UFFD_REQ_GET_SUPPORTED]),
			  atomic_read(&asked[UFFD_REQ_GET_PRESENT]),
			  atomic_read(&asked[UFFD_REQ_FAULT_RESOLVE]),
			  atomic_read(&asked[UFFD_REQ_FAULT_UNDO]));
}
static DEVICE_ATTR_RO(asked);

static struct attribute *sample_attrs[] = { &dev_attr_asked.attr, NULL };
ATTRIBUTE_GROUPS(sample);

static struct miscdevice sample_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "userfaultfd-sample",
	.mode = 0666,
	.fops = &sample_fops,
	.groups = sample_groups,
};
module_misc_device(sample_device);

MODULE_DESCRIPTION("A device whose memory supports userfaultfd");
MODULE_LICENSE("GPL");
/* As MODULE_IMPORT_NS() does, whose argument is a string since 6.13. */
MODULE_INFO(import_ns, "USERFAULTFD");
