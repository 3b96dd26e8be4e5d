// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Files that appear under their name complete, or not at all; see newfile.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "newfile.h"

static void free_file(struct newfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->dir >= 0)
		close(file->dir);
	free(file->path);
	free(file->temporary);
}

/* Opens the directory of @path; all later steps are relative to it. */
static int open_directory(struct newfile *file)
{
	const char *slash = strrchr(file->path, '/');
	char *dir;

	file->name = slash ? slash + 1 : file->path;
	if (!*file->name) {
		errno = slash ? EISDIR : ENOENT;
		return -1;
	}
	/* With the slash, so that the root directory has a name. */
	dir = slash ? strndup(file->path, slash + 1 - file->path) : strdup(".");
	if (!dir)
		return -1;
	file->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	return file->dir < 0 ? -1 : 0;
}

static int create_temporary(struct newfile *file)
{
	uint64_t unique;

	if (getrandom(&unique, sizeof(unique), 0) != sizeof(unique))
		return -1;
	if (asprintf(&file->temporary, "%s.%016llx.part", file->name,
		     (unsigned long long)unique) < 0) {
		file->temporary = NULL;
		return -1;
	}
	file->fd = openat(file->dir, file->temporary,
			  O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return file->fd < 0 ? -1 : 0;
}

int lazy_newfile_create(struct newfile *file, const char *path,
			struct lazy_error *err)
{
	*file = (struct newfile) { .fd = -1, .dir = -1, .path = strdup(path) };
	if (file->path && !open_directory(file) && !create_temporary(file))
		return 0;
	lazy_error_set(err, LAZY_E_SYSTEM, "%s: cannot create: %m", path);
	free_file(file);
	return -1;
}

int lazy_newfile_write(const struct newfile *file, const void *data, size_t len,
		       uint64_t at, struct lazy_error *err)
{
	while (len) {
		ssize_t n = pwrite(file->fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (!n)
			errno = EIO;
		if (n <= 0)
			return lazy_error_set(err, LAZY_E_SYSTEM,
					      "%s: cannot write: %m",
					      file->path);
		data = (const char *)data + n;
		len -= n;
		at += n;
	}
	return 0;
}

int lazy_newfile_commit(struct newfile *file, struct lazy_error *err)
{
	int ret = 0;

	if (fsync(file->fd) ||
	    renameat(file->dir, file->temporary, file->dir, file->name)) {
		lazy_error_set(err, LAZY_E_SYSTEM, "%s: cannot write: %m",
			       file->path);
		lazy_newfile_abandon(file);
		return -1;
	}
	/* EINVAL: the file system writes directories in its own time. */
	if (fsync(file->dir) && errno != EINVAL)
		ret = lazy_error_set(err, LAZY_E_SYSTEM,
				     "%s: cannot write its directory: %m",
				     file->path);
	free_file(file);
	return ret;
}

void lazy_newfile_abandon(struct newfile *file)
{
	unlinkat(file->dir, file->temporary, 0);
	free_file(file);
}
