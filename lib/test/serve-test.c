// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Tests of uffd-serve with well-behaved VMMs: every byte that a guest reads is
 * right, for memory files, layouts and messages of every form.
 */
#define _GNU_SOURCE
#include "daemon.h"

#define SIZE	(8 * MiB)

static struct daemon d;

static void serve(const struct layout *layout, int (*run)(struct fc *fc))
{
	pid_t vmm;
	int status;

	daemon_start(&d, "--socket", "socket", "--memory", "memory", "--once");
	vmm = vmm_start(layout, run);
	status = wait_status(vmm);
	if (status == VMM_NO_MEMORY)
		SKIP("no huge pages");
	if (status)
		print_log();
	CHECK_EQ(0, status);
	CHECK_STATUS(0, d.pid);
	CHECK(access("socket", F_OK), "the socket was not removed");
}

TEST(one_region)
{
	make_memory("memory", SIZE);
	serve(&(struct layout) {}, vmm_touch);
}

TEST(forty_regions)
{
	make_memory("memory", SIZE);
	serve(&(struct layout) { .nr = 40, .size = SIZE / 40 & -FC_PAGE },
	      vmm_touch);
}

static long pool_size(void)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "r");
	long nr = 0;

	if (f && fscanf(f, "%ld", &nr) != 1)
		nr = 0;
	if (f)
		fclose(f);
	return nr;
}

/* Only root can set it. */
static void set_pool_size(long nr)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	if (!f)
		return;
	fprintf(f, "%ld\n", nr);
	fclose(f);
}

TEST(huge_pages)
{
	long before = pool_size();

	if (before < 8)
		set_pool_size(8);
	if (pool_size() < 4)
		SKIP("needs 4 huge pages");
	make_memory("memory", 4 * FC_HUGE);
	serve(&(struct layout) { .nr = 2, .size = 2 * FC_HUGE,
				 .page_size = FC_HUGE }, vmm_touch);
	if (before < 8)
		set_pool_size(before);
}

TEST(a_file_that_is_one_hole)
{
	make_memory("memory", SIZE);
	memset(reference, 0, SIZE);
	CHECK(!truncate("memory", 0) && !truncate("memory", SIZE));
	serve(&(struct layout) {}, vmm_touch);
}

/* The diff has other pages, a page of zeroes, and holes. */
static void make_diff(void)
{
	int fd = open("diff", O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	for (size_t at = 0; at < SIZE; at += FC_PAGE) {
		if (at / FC_PAGE % 7 > 2)
			continue;
		if (at / FC_PAGE % 7 == 2)
			memset(reference + at, 0, FC_PAGE);
		else
			make_page(reference + at, at, 1);
		CHECK_EQ(FC_PAGE, pwrite(fd, reference + at, FC_PAGE, at));
	}
	close(fd);
}

TEST(diff_over_base)
{
	make_memory("base", SIZE);
	make_diff();
	daemon_start(&d, "--socket", "socket", "--memory", "diff", "--base",
		     "base", "--once");
	CHECK_STATUS(0, vmm_start(&(struct layout) {}, vmm_touch));
	CHECK_STATUS(0, d.pid);
}

/* Waits until all memory is filled. */
static void wait_filled(void)
{
	char answer[4096];
	int waited = 0;

	do {
		msleep(10);
		control("stats\n", answer, sizeof(answer));
	} while (!strstr(answer, "\"filled\"") && (waited += 10) < WAIT_MS);
	if (waited >= WAIT_MS)
		_exit(VMM_SETUP);
}

/* Discards the pages of a range, reads zeroes, and keeps what it writes. */
static int balloon(struct fc *fc, size_t from, size_t to)
{
	static const char zeroes[FC_PAGE];
	char *memory = fc->regions[0].memory;

	if (madvise(memory + from, to - from, MADV_DONTNEED))
		return VMM_SETUP;
	memset(reference + from, 0, to - from);
	for (size_t at = from; at < to; at += FC_PAGE)
		if (memcmp(memory + at, zeroes, FC_PAGE))
			return VMM_WRONG;
	memset(memory + from, 7, FC_PAGE);
	memset(reference + from, 7, FC_PAGE);
	return 0;
}

static int balloon_while_filling(struct fc *fc)
{
	int ret = 0;

	for (size_t at = 0; !ret && at < SIZE; at += 16 * FC_PAGE)
		ret = balloon(fc, at, at + 8 * FC_PAGE);
	return ret ?: vmm_touch(fc);
}

static int balloon_afterwards(struct fc *fc)
{
	int ret = vmm_touch(fc);

	wait_filled();
	for (int i = 0; !ret && i < 50; i++)
		ret = balloon(fc, i * 32 * FC_PAGE, (i * 32 + 16) * FC_PAGE);
	return ret ?: vmm_touch(fc);
}

TEST(balloon_while_memory_is_filled)
{
	make_memory("memory", SIZE);
	serve(&(struct layout) {}, balloon_while_filling);
}

/* madvise() waits until the daemon has read its event. */
static void *discard(void *arg)
{
	struct fc *fc = arg;

	madvise(fc->regions[0].memory, SIZE / 2, MADV_DONTNEED);
	return NULL;
}

TEST(balloon_before_the_hand_over)
{
	pthread_t thread;
	struct fc fc;
	pid_t vmm;

	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory", "--once");
	vmm = fork();
	if (!vmm) {
		vmm_prepare(&fc, &(struct layout) {});
		pthread_create(&thread, NULL, discard, &fc);
		msleep(50);
		if (!fc_hand_over(&fc, "socket"))
			_exit(VMM_SETUP);
		pthread_join(thread, NULL);
		memset(reference, 0, SIZE / 2);
		_exit(vmm_touch(&fc));
	}
	CHECK_STATUS(0, vmm);
	CHECK_STATUS(0, d.pid);
}

TEST(balloon_after_all_memory_is_filled)
{
	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory",
		     "--control", "control", "--once");
	CHECK_STATUS(0, vmm_start(&(struct layout) {}, balloon_afterwards));
	CHECK_STATUS(0, d.pid);
}

TEST(without_background)
{
	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory", "--once",
		     "--no-background", "--threads", "1");
	CHECK_STATUS(0, vmm_start(&(struct layout) {}, vmm_touch));
	CHECK_STATUS(0, d.pid);
	CHECK_EQ(1, log_count(" 0 in the background"));
}

TEST(two_vmms_at_once_and_more_later)
{
	pid_t vmms[3];

	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++)
			vmms[i] = vmm_start(&(struct layout) {}, vmm_touch);
		for (int i = 0; i < 3; i++)
			CHECK_STATUS(0, vmms[i]);
	}
	WAIT_FOR(log_count(": ended: ") == 9);
	daemon_stop(&d);
}

/* ---- the message ---- */

enum way {
	BYTE_BY_BYTE, DESCRIPTOR_LAST, WITHOUT_DESCRIPTOR_FIRST, LONG,
	KEPT_OPEN,
};

static enum way way;

static bool send_in_a_way(struct fc *fc, int sock)
{
	const char *message = fc_message(fc);
	size_t len = strlen(message);
	bool sent = true;

	switch (way) {
	case BYTE_BY_BYTE:
		for (size_t i = 0; sent && i < len; i++) {
			sent = fc_send(sock, message + i, 1, i ? -1 : fc->uffd);
			if (i % 16 == 0)
				msleep(1);
		}
		return sent;
	case DESCRIPTOR_LAST:
		sent = fc_send(sock, message, len - 1, -1);
		msleep(20);
		return sent && fc_send(sock, message + len - 1, 1, fc->uffd);
	case WITHOUT_DESCRIPTOR_FIRST:
		sent = fc_send(sock, message, len, -1);
		msleep(20);
		return sent && fc_send(sock, message, len, fc->uffd);
	case LONG:
		for (int i = 0; sent && i < 1000; i++)
			sent = fc_send(sock, "\n \t        ", 10, -1);
		return sent && fc_send(sock, message, len, fc->uffd);
	case KEPT_OPEN:
		return fc_send(sock, message, len, fc->uffd);
	}
	return false;
}

static void handed_over_in(enum way which)
{
	struct fc fc;
	pid_t vmm;
	int sock;

	way = which;
	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory", "--once");
	vmm = fork();
	if (!vmm) {
		vmm_prepare(&fc, &(struct layout) { .nr = 3,
						    .size = SIZE / 4 });
		sock = fc_connect("socket");
		if (sock < 0 || !send_in_a_way(&fc, sock))
			_exit(VMM_SETUP);
		if (way != KEPT_OPEN)
			close(sock);
		_exit(vmm_touch(&fc));
	}
	CHECK_STATUS(0, vmm);
	CHECK_STATUS(0, d.pid);
}

TEST(message_byte_by_byte)
{
	handed_over_in(BYTE_BY_BYTE);
}

TEST(descriptor_with_the_last_byte)
{
	handed_over_in(DESCRIPTOR_LAST);
}

TEST(first_message_without_descriptor)
{
	handed_over_in(WITHOUT_DESCRIPTOR_FIRST);
}

TEST(white_space_before_the_message)
{
	handed_over_in(LONG);
}

TEST(connection_kept_open)
{
	handed_over_in(KEPT_OPEN);
}

/* ---- statistics ---- */

static int hold(struct fc *fc)
{
	int ret = vmm_touch(fc);

	pause();
	return ret;
}

TEST(statistics_add_up)
{
	static char answer[8192];
	pid_t vmm;

	make_memory("memory", SIZE);
	daemon_start(&d, "--socket", "socket", "--memory", "memory",
		     "--control", "control");
	CHECK(control("stats\n", answer, sizeof(answer)) > 0);
	CHECK(!strcmp(answer, "{\"vms\":[]}\n"), "%s", answer);
	vmm = vmm_start(&(struct layout) {}, hold);
	WAIT_FOR(control("", answer, sizeof(answer)) &&
		 strstr(answer, "\"filled\""));
	CHECK_EQ(vmm, json_number(answer, "vmm"));
	CHECK_EQ(SIZE / FC_PAGE, json_number(answer, "pages"));
	CHECK_EQ(SIZE / FC_PAGE, json_number(answer, "demand") +
		 json_number(answer, "background") +
		 json_number(answer, "found") + json_number(answer, "removed"));
	kill(d.pid, SIGUSR1);
	CHECK(daemon_line(&d));
	CHECK_EQ(SIZE / FC_PAGE, json_number(d.line, "pages"));
	kill(json_number(answer, "pid"), SIGUSR1);
	CHECK(daemon_line(&d));
	CHECK_EQ(SIZE / FC_PAGE, json_number(d.line, "pages"));
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	WAIT_FOR(control("stats\n", answer, sizeof(answer)) &&
		 !strcmp(answer, "{\"vms\":[]}\n"));
	daemon_stop(&d);
}
