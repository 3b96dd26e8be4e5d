// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Raw memory files, as a source of pages. Which pages of a file are data is
 * read once (SEEK_DATA, SEEK_HOLE) into a bitmap, so that zeroes and the choice
 * between a diff and its base take no system call later. Nothing changes after
 * lazy_memfile_open(), so there are no locks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lazyrestore/memfile.h>

#define BITS		64
#define MAX_PIECES	16384	/* the kernel allows 65530 mappings */

/* One of the two files. */
struct file {
	int fd;
	const char *name;	/* for messages: "memory file" or "base" */
	struct stat stat;
	uint64_t *data;		/* bitmap: pages that are not holes */
	size_t pieces;		/* ranges of data */
};

struct lazy_memfile {
	struct lazy_source source;
	struct file top;	/* the memory file, or the diff */
	struct file base;	/* fd -1: none */
	uint64_t page;		/* bytes */
	uint64_t nr;		/* pages */
};

static bool is_data(const struct file *f, uint64_t page)
{
	return f->fd >= 0 && f->data[page / BITS] >> page % BITS & 1;
}

static void mark(struct file *f, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t bit = from % BITS, nr = BITS - bit;

		if (nr > to - from)
			nr = to - from;
		f->data[from / BITS] |= (~0ULL >> (BITS - nr)) << bit;
		from += nr;
	}
}

/* A page that is data only in part is data. */
static int find_data(struct lazy_memfile *m, struct file *f,
		     struct lazy_error *error)
{
	off_t size = f->stat.st_size, data, hole = 0;

	f->data = calloc((m->nr + BITS - 1) / BITS, sizeof(*f->data));
	if (!f->data)
		return lazy_error_set(error, LAZY_E_MEMORY, "out of memory");
	while (hole < size) {
		data = lseek(f->fd, hole, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			return lazy_error_set(error, LAZY_E_SYSTEM,
					      "cannot find the holes of the %s: %m",
					      f->name);
		if (data >= size)
			break;
		hole = lseek(f->fd, data, SEEK_HOLE);
		if (hole <= data)
			return lazy_error_set(error, LAZY_E_SYSTEM,
					      "cannot find the holes of the %s: %m",
					      f->name);
		if (hole > size)
			hole = size;
		mark(f, data / m->page, (hole + m->page - 1) / m->page);
		f->pieces++;
	}
	return 0;
}

static int open_file(struct file *f, const char *path, const char *name,
		     struct lazy_error *error)
{
	f->name = name;
	/* O_NONBLOCK: do not wait for the writer of a FIFO. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0 || fstat(f->fd, &f->stat))
		return lazy_error_set(error, LAZY_E_SYSTEM,
				      "cannot open the %s %s: %m", name, path);
	if (!S_ISREG(f->stat.st_mode))
		return lazy_error_set(error, LAZY_E_FORMAT,
				      "the %s %s is not a regular file", name, path);
	if (!f->stat.st_size)
		return lazy_error_set(error, LAZY_E_FORMAT,
				      "the %s %s is empty", name, path);
	return 0;
}

/* Number of pages from @page on, at most @max, that are all data or all not. */
static uint64_t alike(const struct file *f, uint64_t page, uint64_t max)
{
	bool data = is_data(f, page);
	uint64_t nr = 1;

	if (f->fd < 0)
		return max;
	while (nr < max) {
		uint64_t at = page + nr;

		if (at % BITS == 0 && max - nr >= BITS &&
		    f->data[at / BITS] == (data ? ~0ULL : 0))
			nr += BITS;
		else if (is_data(f, at) == data)
			nr++;
		else
			break;
	}
	return nr;
}

/*
 * Number of pages from @page on, at most @max, that come from the same place.
 * @from: set to the file, or NULL for zeroes
 */
static uint64_t run(const struct lazy_memfile *m, uint64_t page, uint64_t max,
		    const struct file **from)
{
	uint64_t nr = alike(&m->top, page, max);

	if (is_data(&m->top, page)) {
		*from = &m->top;
		return nr;
	}
	*from = is_data(&m->base, page) ? &m->base : NULL;
	return alike(&m->base, page, nr);
}

static int read_file(const struct file *f, uint64_t offset, char *buf,
		     size_t len, struct lazy_error *error)
{
	while (len) {
		ssize_t n = pread(f->fd, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lazy_error_set(error, LAZY_E_SOURCE,
					      "cannot read the %s: %m", f->name);
		if (!n) {
			errno = 0;
			return lazy_error_set(error, LAZY_E_SOURCE,
					      "the %s was truncated", f->name);
		}
		buf += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int memfile_read(void *arg, uint64_t offset, void *buf, size_t len,
			struct lazy_error *error)
{
	const struct lazy_memfile *m = arg;
	const struct file *from;

	while (len) {
		uint64_t within = offset % m->page;
		uint64_t pages = (within + len + m->page - 1) / m->page;
		size_t n = run(m, offset / m->page, pages, &from) * m->page -
			   within;

		if (n > len)
			n = len;
		if (!from)
			memset(buf, 0, n);
		else if (read_file(from, offset, buf, n, error))
			return -1;
		buf = (char *)buf + n;
		offset += n;
		len -= n;
	}
	return 0;
}

static uint64_t memfile_zeros(void *arg, uint64_t offset, uint64_t len)
{
	const struct lazy_memfile *m = arg;
	uint64_t within = offset % m->page;
	uint64_t pages = (within + len + m->page - 1) / m->page, nr;
	const struct file *from;

	if (!len)
		return 0;
	nr = run(m, offset / m->page, pages, &from) * m->page - within;
	if (from)
		return 0;
	return nr < len ? nr : len;
}

/* Maps the pieces of the diff over a mapping of the base. */
static void map(struct lazy_memfile *m)
{
	const struct file *bottom = m->base.fd >= 0 ? &m->base : &m->top;
	const struct file *from;
	uint64_t nr, size = m->source.length;
	char *at;

	if (m->base.fd >= 0 && m->top.pieces > MAX_PIECES)
		return;
	at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, bottom->fd, 0);
	if (at == MAP_FAILED)
		return;
	for (uint64_t page = 0; m->base.fd >= 0 && page < m->nr; page += nr) {
		nr = run(m, page, m->nr - page, &from);
		if (from != &m->top)
			continue;
		if (mmap(at + page * m->page, nr * m->page, PROT_READ,
			 MAP_PRIVATE | MAP_FIXED, m->top.fd,
			 page * m->page) == MAP_FAILED) {
			munmap(at, size);
			return;
		}
	}
	m->source.map = at;
}

static int open_base(struct lazy_memfile *m, const char *path,
		     struct lazy_error *error)
{
	if (open_file(&m->base, path, "base", error))
		return -1;
	if (m->base.stat.st_size != m->top.stat.st_size)
		return lazy_error_set(error, LAZY_E_FORMAT,
				      "the diff has %llu bytes, its base has %llu",
				      (unsigned long long)m->top.stat.st_size,
				      (unsigned long long)m->base.stat.st_size);
	if (find_data(m, &m->base, error))
		return -1;
	/* One piece of data, and yet blocks are missing. */
	if (m->top.stat.st_blocks * 512ULL < m->source.length &&
	    m->top.pieces == 1 && is_data(&m->top, 0) &&
	    is_data(&m->top, m->nr - 1))
		return lazy_error_set(error, LAZY_E_UNSUPPORTED,
				      "the file system of the diff does not report its holes");
	return 0;
}

struct lazy_memfile *lazy_memfile_open(const char *path, const char *base,
				       struct lazy_error *error)
{
	struct lazy_memfile *m = calloc(1, sizeof(*m));

	if (!m) {
		lazy_error_set(error, LAZY_E_MEMORY, "out of memory");
		return NULL;
	}
	m->top.fd = m->base.fd = -1;
	m->page = sysconf(_SC_PAGESIZE);
	if (open_file(&m->top, path, base ? "diff" : "memory file", error))
		goto fail;
	m->nr = (m->top.stat.st_size + m->page - 1) / m->page;
	m->source = (struct lazy_source) {
		.arg = m,
		.length = m->top.stat.st_size,
		.read = memfile_read,
		.zeros = memfile_zeros,
	};
	if (find_data(m, &m->top, error) ||
	    (base && open_base(m, base, error)))
		goto fail;
	map(m);
	return m;
fail:
	lazy_memfile_close(m);
	return NULL;
}

void lazy_memfile_source(const struct lazy_memfile *m,
			 struct lazy_source *source)
{
	source->arg = m->source.arg;
	source->length = m->source.length;
	source->read = m->source.read;
	source->zeros = m->source.zeros;
	source->map = m->source.map;
}

static int check_unchanged(const struct file *f, struct lazy_error *error)
{
	struct stat now;

	if (f->fd < 0)
		return 0;
	if (fstat(f->fd, &now))
		return lazy_error_set(error, LAZY_E_SOURCE,
				      "cannot check the %s: %m", f->name);
	if (now.st_size == f->stat.st_size &&
	    now.st_mtim.tv_sec == f->stat.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == f->stat.st_mtim.tv_nsec)
		return 0;
	errno = 0;
	return lazy_error_set(error, LAZY_E_SOURCE,
			      "the %s was changed while it was in use", f->name);
}

int lazy_memfile_unchanged(const struct lazy_memfile *m,
			   struct lazy_error *error)
{
	if (check_unchanged(&m->top, error))
		return -1;
	return check_unchanged(&m->base, error);
}

static void close_file(struct file *f)
{
	free(f->data);
	if (f->fd >= 0)
		close(f->fd);
}

void lazy_memfile_close(struct lazy_memfile *m)
{
	if (!m)
		return;
	if (m->source.map)
		munmap((void *)m->source.map, m->source.length);
	close_file(&m->top);
	close_file(&m->base);
	free(m);
}
