// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of the writer of snapshots: a file appears under its name only if all
 * of it was written, and after it is on the disk.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "snapfile.h"

/* ---- system calls of the library that the test sees ---- */

static char calls[16];		/* f: file, d: directory synced, r: renamed */
static char failing;		/* one of these */
static bool no_random;

static int call(char what)
{
	size_t nr = strlen(calls);

	if (nr < sizeof(calls) - 1)
		calls[nr] = what;
	errno = EIO;
	return what == failing ? -1 : 0;
}

int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || call(S_ISDIR(st.st_mode) ? 'd' : 'f'))
		return -1;
	return syscall(SYS_fsync, fd);
}

int renameat(int from, const char *old, int to, const char *new)
{
	if (call('r'))
		return -1;
	return syscall(SYS_renameat2, from, old, to, new, 0);
}

ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	if (!no_random)
		return syscall(SYS_getrandom, buf, len, flags);
	memset(buf, 0, len);
	return len;
}

/* ---- */

/* The number of files in the working directory. */
static int files(void)
{
	DIR *dir = opendir(".");
	int nr = 0;

	CHECK(dir);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr - 2;
}

/* A writer with all of the memory. */
static struct lazy_snap_writer *begin(const char *path)
{
	struct lazy_snap_writer *w = lazy_snap_create(path, regions, 2, &err);

	CHECK(w, "%s", err.text);
	fill_memory();
	CHECK(!lazy_snap_write(w, 0, memory, LENGTH, &err), "%s", err.text);
	return w;
}

static void is_good(const char *path)
{
	struct lazy_snap *snap = open_snapshot(path);

	CHECK(!lazy_snap_verify(snap, &err), "%s", err.text);
	lazy_snap_close(snap);
}

TEST(content_then_name_then_directory_reach_the_disk)
{
	struct lazy_snap_writer *w = begin("snap");
	char path[64];
	struct stat st;

	CHECK_EQ(1, files());
	CHECK(!lazy_snap_commit(w, &err));
	CHECK(!strcmp(calls, "frd"), "%s", calls);
	CHECK(!stat("snap", &st));
	CHECK_EQ(0600, st.st_mode & 07777);
	CHECK_EQ(1, files());
	/* By an absolute path, in place of the first. */
	CHECK(getcwd(path, sizeof(path) - 5));
	CHECK(!lazy_snap_commit(begin(strcat(path, "/snap")), &err));
	CHECK_EQ(1, files());
	is_good("snap");
}

TEST(a_failure_of_the_disk_fails_the_commit)
{
	struct lazy_snap_writer *w;

	for (const char *step = "fr"; *step; step++) {
		w = begin("snap");
		failing = *step;
		CHECK(lazy_snap_commit(w, &err) == -1, "%c", failing);
		CHECK(err.code == LAZY_E_SYSTEM && err.os_errno == EIO);
		CHECK_EQ(0, files());
	}
	failing = 'd';
	CHECK(lazy_snap_commit(begin("snap"), &err) == -1);
	CHECK(strstr(err.text, "directory"), "%s", err.text);
}

TEST(the_temporary_file_is_new)
{
	struct lazy_snap_writer *w;

	no_random = true;
	CHECK(!symlink("/etc/passwd", "snap.0000000000000000.part"));
	CHECK(!lazy_snap_create("snap", regions, 2, &err));
	CHECK(err.code == LAZY_E_SYSTEM && err.os_errno == EEXIST, "%s",
	      err.text);
	CHECK(!unlink("snap.0000000000000000.part"));
	w = begin("snap");
	CHECK(!access("snap.0000000000000000.part", F_OK));
	CHECK(!lazy_snap_create("snap", regions, 2, &err));
	CHECK(!lazy_snap_commit(w, &err));
	CHECK_EQ(1, files());
}

TEST(a_commit_after_a_failed_write_fails)
{
	struct rlimit limit = { 64 * CHUNK, RLIM_INFINITY };
	struct lazy_snap_writer *w;
	struct lazy_error first;

	make_snapshot("snap");
	w = lazy_snap_create("snap", regions, 2, &err);
	CHECK(w);
	signal(SIGXFSZ, SIG_IGN);
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	memset(memory, 1, LENGTH);
	CHECK(lazy_snap_write(w, 0, memory, LENGTH, &first) == -1);
	CHECK(first.code == LAZY_E_SYSTEM && first.os_errno == EFBIG);
	limit.rlim_cur = RLIM_INFINITY;
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	/* There is space again, but the error stays. */
	CHECK(lazy_snap_write(w, 0, memory, LENGTH, &err) == -1);
	CHECK(lazy_snap_write_section(w, "one", "1", 1, &err) == -1);
	CHECK(lazy_snap_commit(w, &err) == -1);
	CHECK(!memcmp(&err, &first, sizeof(err)), "%s", err.text);
	CHECK_EQ(1, files());
	is_good("snap");
}

TEST(invalid_arguments_fail_the_commit)
{
	static const char *names[] = {
		"", "a name of 16 ch", "name-of-16-chars", "new\nline", "one",
	};
	struct lazy_snap_writer *w;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		w = lazy_snap_create("snap", regions, 2, &err);
		CHECK(!lazy_snap_write_section(w, "one", "", 0, &err));
		CHECK(lazy_snap_write_section(w, names[i], "", 0, &err) == -1,
		      "%s", names[i]);
		CHECK_EQ(LAZY_E_ARGUMENT, err.code);
		CHECK(lazy_snap_commit(w, &err) == -1);
	}
	for (int i = 0; i < 5; i++) {
		uint64_t offsets[] = { 1, 0, LENGTH, LENGTH - CHUNK, -CHUNK };
		size_t lengths[] = { CHUNK, 1, CHUNK, 2 * CHUNK, 2 * CHUNK };

		w = lazy_snap_create("snap", regions, 2, &err);
		CHECK(lazy_snap_write(w, offsets[i], memory, lengths[i],
				      &err) == -1);
		CHECK_EQ(LAZY_E_ARGUMENT, err.code);
		CHECK(lazy_snap_commit(w, NULL) == -1);
	}
	CHECK_EQ(0, files());
}

TEST(invalid_regions_are_refused)
{
	static const struct lazy_snap_region bad[][2] = {
		{ { 0, 0 }, { CHUNK, CHUNK } },
		{ { 0, CHUNK }, { CHUNK, 1 } },
		{ { 1, CHUNK }, { CHUNK, CHUNK } },
		{ { -(uint64_t)CHUNK, 2 * CHUNK }, { CHUNK, CHUNK } },
		{ { 0, 1ull << 63 }, { 0, 1ull << 63 } },
		{ { 0, LAZY_SNAP_MAX_LENGTH }, { 0, CHUNK } },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK(!lazy_snap_create("snap", bad[i], 2, &err), "%zu", i);
		CHECK_EQ(LAZY_E_ARGUMENT, err.code);
	}
	CHECK(!lazy_snap_create("snap", regions, 0, &err));
	CHECK(!lazy_snap_create("snap", regions, 4097, &err));
	CHECK(!lazy_snap_create("nonesuch/snap", regions, 2, &err));
	CHECK(err.code == LAZY_E_SYSTEM && err.os_errno == ENOENT);
	CHECK(!lazy_snap_create("snap/", regions, 2, &err));
	CHECK(!lazy_snap_create("", regions, 2, &err));
	CHECK_EQ(0, files());
}

TEST(a_chunk_can_be_written_again)
{
	static char buf[LENGTH];
	struct lazy_snap_writer *w = begin("snap");
	struct lazy_snap *snap;

	/* Zero to content, content to zero, content to content. */
	for (size_t i = 0; i < LENGTH; i++)
		memory[i] = i / CHUNK % 3 ? i / CHUNK : 0;
	CHECK(!lazy_snap_write(w, 0, memory, LENGTH, &err));
	CHECK(!lazy_snap_commit(w, &err));
	snap = open_snapshot("snap");
	CHECK(!lazy_snap_read(snap, 0, buf, LENGTH, &err), "%s", err.text);
	CHECK(!memcmp(buf, memory, LENGTH));
	lazy_snap_close(snap);
}

TEST(an_abandoned_snapshot_leaves_nothing)
{
	make_snapshot("snap");
	lazy_snap_abandon(begin("snap"));
	lazy_snap_abandon(NULL);
	CHECK_EQ(1, files());
	is_good("snap");
}
