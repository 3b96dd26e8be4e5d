/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Files that appear under their name complete, or not at all. Internal. */
#ifndef LAZY_NEWFILE_H
#define LAZY_NEWFILE_H

#include <stddef.h>
#include <stdint.h>

#include <lazyrestore/error.h>

/**
 * struct newfile - a file that is being written
 * @fd: of the file
 * @dir: of its directory
 * @path: as given by the caller, for messages
 * @name: last component of @path
 * @temporary: name until newfile_commit()
 */
struct newfile {
	int fd;
	int dir;
	char *path;
	const char *name;
	char *temporary;
};

#pragma GCC visibility push(hidden)

/**
 * lazy_newfile_create() - create a file under a temporary name
 * @file: is set
 * @path: name that the file will have
 * @err: set on failure
 *
 * Return: 0, or -1; lazy_newfile_abandon() is then not needed.
 */
int lazy_newfile_create(struct newfile *file, const char *path,
			struct lazy_error *err);

/**
 * lazy_newfile_write() - write all of a buffer
 * @file: the file
 * @data: the bytes
 * @len: number of bytes
 * @at: offset in the file
 * @err: set on failure
 *
 * Return: 0, or -1.
 */
int lazy_newfile_write(const struct newfile *file, const void *data, size_t len,
		       uint64_t at, struct lazy_error *err);

/**
 * lazy_newfile_commit() - give the file its name
 * @file: freed, also on failure
 * @err: set on failure
 *
 * First the content reaches the disk, then the name.
 *
 * Return: 0, or -1 with the file removed.
 */
int lazy_newfile_commit(struct newfile *file, struct lazy_error *err);

/**
 * lazy_newfile_abandon() - remove the file
 * @file: freed
 */
void lazy_newfile_abandon(struct newfile *file);

#pragma GCC visibility pop

#endif /* LAZY_NEWFILE_H */
