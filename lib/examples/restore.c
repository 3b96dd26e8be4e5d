// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * A complete lazy restore: the memory in a file is used at once, each page is
 * loaded when it is touched, and the others in the background.
 *
 *	cc restore.c $(pkg-config --cflags --libs lazyrestore) -o restore
 *	./restore FILE
 */
#include <err.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lazyrestore/lazyrestore.h>

/*
 * The guest, to be replaced by a real one: compares each page with the file, in
 * descending order, while the background fills memory in ascending order.
 */
static void run(const char *memory, uint64_t length, int file)
{
	char page[4096];

	for (uint64_t at = length; at; at -= sizeof(page))
		if (pread(file, page, 4096, at - 4096) != 4096 ||
		    memcmp(page, memory + at - 4096, 4096))
			errx(1, "wrong page below %#llx", (unsigned long long)at);
}

int main(int argc, char **argv)
{
	struct lazy_stats stats = { .size = sizeof(stats) };
	struct lazy_source source = { .size = sizeof(source) };
	struct uffdio_api api = { .api = UFFD_API };
	struct lazy_memfile *file;
	struct lazy_server *server;
	struct lazy_error error;

	if (argc != 2)
		errx(1, "usage: %s FILE", argv[0]);
	file = lazy_memfile_open(argv[1], NULL, &error);
	if (!file)
		errx(1, "%s", error.text);
	lazy_memfile_source(file, &source);

	/* Memory, and a userfaultfd that it is registered with */
	void *memory = mmap(NULL, source.length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_register reg = {
		.range = { (uintptr_t)memory, source.length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	if (memory == MAP_FAILED || uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg))
		err(1, "userfaultfd");

	/* A server for it, which may as well be in another process */
	struct lazy_region region = {
		.address = (uintptr_t)memory, .len = source.length,
		.granule = 4096, .fd = -1, .flags = LAZY_REGION_ZEROPAGE,
	};
	struct lazy_server_config config = {
		.size = sizeof(config), .uffd = uffd,
		.regions = &region, .region_size = sizeof(region),
		.nr_regions = 1, .source = &source,
	};
	server = lazy_server_new(&config, &error);
	if (!server || lazy_server_start(server, 0, &error))
		errx(1, "%s", error.text);

	run((const char *)memory, source.length, open(argv[1], O_RDONLY));

	lazy_server_stop(server);
	if (lazy_server_state(server, &error) == LAZY_FAILED)
		errx(1, "%s", error.text);
	lazy_server_stats(server, &stats);
	printf("%llu pages intact, %llu faults\n",
	       (unsigned long long)stats.pages, (unsigned long long)stats.faults);
	lazy_server_free(server);
	lazy_memfile_close(file);
	return 0;
}
